/* Blocks of an image <-> blocks of a descriptor. */
#ifndef CHECKPOINT_RANGES_H
#define CHECKPOINT_RANGES_H

#include "checkpoint/snapshot.h"

/* The range that has the local block, or NULL: it is not saved. */
static inline const struct ckpt_range *range_of_local(const struct ckpt_source *s, uint64_t local)
{
    for (unsigned i = 0; i < s->nr_ranges; i++)
        if (local - s->range[i].local < s->range[i].nr)
            return &s->range[i];
    return NULL;
}

static inline const struct ckpt_range *range_of_block(const struct ckpt_source *s, uint64_t block)
{
    for (unsigned i = 0; i < s->nr_ranges; i++)
        if (block - s->range[i].block < s->range[i].nr)
            return &s->range[i];
    return NULL;
}

/* One more than the highest block of the image. */
static inline uint64_t range_end(const struct ckpt_source *s)
{
    uint64_t end = 0;

    for (unsigned i = 0; i < s->nr_ranges; i++)
        if (s->range[i].block + s->range[i].nr > end)
            end = s->range[i].block + s->range[i].nr;
    return end;
}

#endif
