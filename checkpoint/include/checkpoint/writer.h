/* Writing one part of an image: blocks and sections of one rank.
 *
 *   ckpt_writer_blocks -> zero? seen before? -> chunk of 64 -> compressor threads -> part-N.data
 *   ckpt_writer_section, ckpt_writer_hot --------------------------------------> part-N.index
 *   ckpt_writer_finish: all written and synced; what the manifest must know (ckpt_part)
 *
 * One thread feeds a writer; an error sticks, is logged once, and comes out of finish. */
#ifndef CHECKPOINT_WRITER_H
#define CHECKPOINT_WRITER_H

#include "sim-core/status.h"
#include "sim-core/types.h"

enum { CKPT_BLOCK = 4096 };

/* What the manifest says of a part. Plain data: ranks send it to rank 0. */
struct ckpt_part {
    uint32_t part;
    uint32_t nr_sections;
    uint64_t data_bytes, index_bytes, index_xxh3;
    uint64_t nr_blocks;  /* mentioned, of which: */
    uint64_t nr_zero, nr_equal;
    uint64_t guest_bytes; /* of the blocks that were given */
};

struct ckpt_writer_config {
    int folder;          /* the image's folder, open; stays the caller's */
    const char *path;    /* its name, for messages; borrowed */
    uint8_t id[16];      /* of the image */
    uint32_t part;
    int level;           /* zstd; 0: the default, -1 */
    unsigned nr_threads; /* compressors; 0: one more than cores; at most 4 in any case */
};

struct ckpt_writer;

enum sim_status ckpt_writer_create(const struct ckpt_writer_config *config,
                                   struct ckpt_writer **out) SIM_MUST_CHECK;
/* Blocks given from now on belong to space `name` (shorter than 32 bytes), which has nr_blocks. A space may be
 * begun once. */
void ckpt_writer_space(struct ckpt_writer *w, const char *name, uint64_t nr_blocks);
/* `nr` blocks from `block` on, copied. May block for compressors and for the disk. Blocks may come in any order, each
 * once. */
void ckpt_writer_blocks(struct ckpt_writer *w, uint64_t block, unsigned nr, const void *data);
/* Appends an object's saved state under `name`; bytes are copied. */
void ckpt_writer_section(struct ckpt_writer *w, const char *name, const void *data, size_t len);
/* The next `nr` blocks of ram that a restore should bring first. */
void ckpt_writer_hot(struct ckpt_writer *w, uint64_t block, uint32_t nr);
/* What went wrong so far (racy look, for giving up early). */
enum sim_status ckpt_writer_status(const struct ckpt_writer *w);
/* Bytes given and bytes written so far; racy, for progress. */
void ckpt_writer_progress(const struct ckpt_writer *w, uint64_t *given, uint64_t *stored);
/* Completes and syncs the files. Frees the writer in any case. */
enum sim_status ckpt_writer_finish(struct ckpt_writer *w, struct ckpt_part *out) SIM_MUST_CHECK;
/* Gives up; the files stay behind, incomplete. */
void ckpt_writer_abort(struct ckpt_writer *w);

#endif
