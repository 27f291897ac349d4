/* Between manifest.c and store.c. */
#ifndef CHECKPOINT_MANIFEST_H
#define CHECKPOINT_MANIFEST_H

#include "checkpoint/store.h"

enum { MANIFEST_MAX_BYTES = 64 << 20 };

/* The file's bytes; allocated. */
char *manifest_format(const struct ckpt_manifest *m, size_t *len);
/* Six digits or more: what ckpt_store_begin makes. */
bool manifest_is_image_name(const char *name);

#endif
