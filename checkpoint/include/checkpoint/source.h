/* A space of the running machine, whose blocks images and migrations are made of: what it is, and its bytes. */
#ifndef CHECKPOINT_SOURCE_H
#define CHECKPOINT_SOURCE_H

#include <stdbool.h>
#include <stdint.h>

#include "sim-core/guard.h"
#include "sim-core/status.h"

/* Blocks [block, block + nr) of the image are blocks [local, local + nr) of the space. */
struct ckpt_range {
    uint64_t block, local, nr;
};

/* A space of the running machine: guest RAM, the overlay of a drive. Plain data, lives as long as who uses it. */
struct ckpt_source {
    const char *name;
    uint8_t *bytes;     /* where it is in memory; NULL: it is in a descriptor */
    int fd;             /* holes read as zero; not used when it is in memory */
    uint64_t nr_blocks; /* of memory, or the descriptor */
    const struct ckpt_range *range; /* sorted by local; blocks outside are not saved */
    unsigned nr_ranges;
    bool sparse;        /* untouched blocks are holes, and need not be mentioned in a full image */
    void *opaque;
    /* Optional, for what is in memory: the blocks [*first, *end) at or behind *first, and before what *end was, that may be other
     * than zero; false: no more. */
    bool (*next_data)(void *opaque, uint64_t *first, uint64_t *end);
    /* Was the (local) block written since the last snapshot? Clears the mark. */
    bool (*take_dirty)(void *opaque, uint64_t local);
    /* Optional: is there a mark? */
    bool (*is_dirty)(void *opaque, uint64_t local);
    void (*set_guard)(void *opaque, struct sim_guard *guard);
    /* Optional: is this part to write the block, at the cut? (Of several ranks the keeper of a page does.) What
     * changes later the guard hears of (sim_guard_moves). */
    bool (*owns)(void *opaque, uint64_t local);
};

/* The range that has the block of the space, or of the image; NULL: none. */
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

/* The bytes of (local) blocks [local, local + nr). What goes wrong is said, with `what` ("checkpoint") in front: SIM_ERR_IO; memory
 * cannot fail. Context: any; the caller sees to it that nobody writes meanwhile. */
enum sim_status ckpt_source_read(const struct ckpt_source *s, uint64_t local, uint64_t nr, uint8_t *to, const char *what) SIM_MUST_CHECK;
enum sim_status ckpt_source_write(const struct ckpt_source *s, uint64_t local, uint64_t nr, const uint8_t *data, const char *what) SIM_MUST_CHECK;
/* Makes them zero. */
enum sim_status ckpt_source_clear(const struct ckpt_source *s, uint64_t local, uint64_t nr, const char *what) SIM_MUST_CHECK;
/* As next_data; everything where nobody can tell. */
bool ckpt_source_next_data(const struct ckpt_source *s, uint64_t *first, uint64_t *end);

#endif
