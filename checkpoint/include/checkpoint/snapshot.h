/* The blocks of one space as they were at one instant, read while others go on writing.
 *
 *   frozen world: ckpt_snapshot_begin -> source->set_guard(the snapshot)
 *   guest:   first write to a block -> guard: not taken yet? -> its bytes are copied aside -> the write
 *   reader:  ckpt_snapshot_next: 64 blocks at a time, from the space or from what was put aside
 *   the end: guard removed; the snapshot's memory stays until ckpt_snapshot_end in a frozen world
 *
 * Each block is taken once, by whoever claims it first. Bitmaps are allocated as they are touched, so that beginning
 * takes no longer for more memory. */
#ifndef CHECKPOINT_SNAPSHOT_H
#define CHECKPOINT_SNAPSHOT_H

#include "checkpoint/writer.h"
#include "sim-core/guard.h"

/* Blocks [block, block + nr) of the image are blocks [local, local + nr) of the descriptor. */
struct ckpt_range {
    uint64_t block, local, nr;
};

/* A space of the running machine: guest RAM, the overlay of a drive. Plain data, lives as long as the snapshot. */
struct ckpt_source {
    const char *name;
    int fd;             /* holes read as zero */
    uint64_t nr_blocks; /* of the descriptor */
    const struct ckpt_range *range; /* sorted by local; blocks outside are not saved */
    unsigned nr_ranges;
    bool sparse;        /* untouched blocks are holes, and need not be mentioned in a full image */
    void *opaque;
    /* Was the (local) block written since the last snapshot? Clears the mark. */
    bool (*take_dirty)(void *opaque, uint64_t local);
    /* Optional: is there a mark? */
    bool (*is_dirty)(void *opaque, uint64_t local);
    void (*set_guard)(void *opaque, struct sim_guard *guard);
    /* Optional: is this part to write the block, at the cut? (Of several ranks the keeper of a page does.) What
     * changes later the guard hears of (sim_guard_moves). */
    bool (*owns)(void *opaque, uint64_t local);
};

/* The range that has the block of the descriptor, or of the image; NULL: none. */
static inline const struct ckpt_range *ckpt_range_of_local(const struct ckpt_source *s, uint64_t local)
{
    for (unsigned i = 0; i < s->nr_ranges; i++)
        if (local - s->range[i].local < s->range[i].nr)
            return &s->range[i];
    return NULL;
}

static inline const struct ckpt_range *ckpt_range_of_block(const struct ckpt_source *s, uint64_t block)
{
    for (unsigned i = 0; i < s->nr_ranges; i++)
        if (block - s->range[i].block < s->range[i].nr)
            return &s->range[i];
    return NULL;
}

/* One more than the highest block of the image. */
static inline uint64_t ckpt_range_end(const struct ckpt_source *s)
{
    uint64_t end = 0;

    for (unsigned i = 0; i < s->nr_ranges; i++)
        if (s->range[i].block + s->range[i].nr > end)
            end = s->range[i].block + s->range[i].nr;
    return end;
}

struct ckpt_snapshot;

/* Begins; `incremental` takes only dirty blocks. Both ways the marks are clear afterwards, as far as next has come; after
 * an error the next image must be a full one. Context: frozen world. */
enum sim_status ckpt_snapshot_begin(const struct ckpt_source *source, bool incremental,
                                    struct ckpt_snapshot **out) SIM_MUST_CHECK;

/* Gives blocks to the writer (whose current space is this one) until about `max` have been given; *done says that there
 * are no more. Context: one thread. */
enum sim_status ckpt_snapshot_next(struct ckpt_snapshot *s, struct ckpt_writer *w, unsigned max,
                                   bool *done) SIM_MUST_CHECK;
/* For progress: blocks looked at, of how many. */
void ckpt_snapshot_progress(const struct ckpt_snapshot *s, uint64_t *done, uint64_t *total);
/* Removes the guard: writers need not wait for the reader any more. Context: any. */
void ckpt_snapshot_release(struct ckpt_snapshot *s);
/* Frees; released. Context: frozen world, or nobody can be inside the guard any more. NULL is allowed. */
void ckpt_snapshot_end(struct ckpt_snapshot *s);

#endif
