/* A store: a directory of images, its lock, and the manifests that make images exist.
 *
 *   ckpt_store_open -> ckpt_store_begin (folder, id) -> writers fill it -> ckpt_store_commit (manifest, last)
 *   readers: ckpt_image_open (image.h)
 *
 * One writer at a time has a store; readers need no lock. All functions: any one thread, may block on the disk. */
#ifndef CHECKPOINT_STORE_H
#define CHECKPOINT_STORE_H

#include "checkpoint/writer.h"
#include "sim-core/status.h"
#include "sim-core/types.h"

enum { CKPT_ID_BYTES = 16, CKPT_NAME_BYTES = 16 };

struct ckpt_store;

/* Opens `path` (created when missing, not its parents) for writing and locks it. SIM_ERR_BUSY, naming the other
 * process, when somebody else writes there. */
enum sim_status ckpt_store_open(const char *path, struct ckpt_store **out) SIM_MUST_CHECK;
void ckpt_store_close(struct ckpt_store *s); /* NULL is allowed */

/* An image of the store by name ("000007"), or its identity in a manifest. */
struct ckpt_ref {
    char name[CKPT_NAME_BYTES];
    uint8_t id[CKPT_ID_BYTES];
};

/* The image being made. */
struct ckpt_new {
    struct ckpt_ref ref;
    int folder;
    char *path;
};

/* Makes the folder of the next image; removes what dead writers left. */
enum sim_status ckpt_store_begin(struct ckpt_store *s, struct ckpt_new *out) SIM_MUST_CHECK;
/* Closes it; without a commit before, removes it. */
void ckpt_store_end(struct ckpt_store *s, struct ckpt_new *image);

/* What a manifest says. Strings are owned by it (ckpt_manifest_fini). */
struct ckpt_manifest {
    struct ckpt_ref self;
    bool incremental;
    struct ckpt_ref parent;
    int64_t created;   /* seconds since 1970 */
    char *machine;     /* JSON text: the configuration */
    uint64_t guest_insns, guest_ns;
    uint32_t nr_harts;
    struct ckpt_part *part;
    uint32_t nr_parts;
};
/* Writes the manifest: from here on the image exists. */
enum sim_status ckpt_store_commit(struct ckpt_store *s, const struct ckpt_new *image,
                                  const struct ckpt_manifest *m) SIM_MUST_CHECK;
void ckpt_manifest_fini(struct ckpt_manifest *m);
/* Reads and checks DIR/NAME/manifest.json. SIM_ERR_NOTFOUND without a message when there is none. */
enum sim_status ckpt_manifest_read(int folder, const char *path,
                                   struct ckpt_manifest *out) SIM_MUST_CHECK;
/* The same from bytes (tests, fuzzing). */
enum sim_status ckpt_manifest_parse(const char *text, size_t len, const char *path,
                                    struct ckpt_manifest *out) SIM_MUST_CHECK;

/* The names of the folders that look like images, oldest first; complete or not. *name is allocated. */
enum sim_status ckpt_store_list(const char *path, struct ckpt_ref **ref, uint32_t *nr) SIM_MUST_CHECK;
/* Removes incomplete images, and complete ones but the `keep` newest and what those need. Returns how many complete
 * ones went in *removed. */
enum sim_status ckpt_store_prune(struct ckpt_store *s, uint32_t keep,
                                 uint32_t *removed) SIM_MUST_CHECK;
/* The same, but keeps those that are named, such as are newer than all of these, and what they need. */
enum sim_status ckpt_store_prune_but(struct ckpt_store *s, const char *const *names, uint32_t nr,
                                     uint32_t *removed) SIM_MUST_CHECK;

/* "00112233..." of an id; `text` has 2 * CKPT_ID_BYTES + 1 bytes. */
void ckpt_id_format(const uint8_t id[CKPT_ID_BYTES], char *text);

#endif
