/* An index file in memory: checked once, then read through these. */
#ifndef CHECKPOINT_INDEX_H
#define CHECKPOINT_INDEX_H

#include "format.h"
#include "sim-core/status.h"

struct index_section {
    const char *name; /* allocated */
    const uint8_t *data;
    uint32_t len;
};

/* Pointers into `bytes`, which the index owns. */
struct index {
    uint8_t *bytes;
    size_t len;
    const struct format_index_header *header;
    const struct format_space *space;
    const struct format_extent *extent;
    const struct format_chunk *chunk;
    const struct format_hot *hot;
    struct index_section *section;
};

/* Takes the bytes over, also on failure. Every count, offset and order that FORMAT.md promises is checked, so that
 * readers need not. `path` is for messages. */
enum sim_status index_parse(uint8_t *bytes, size_t len, const char *path,
                            struct index *out) SIM_MUST_CHECK;
void index_fini(struct index *x);

#endif
