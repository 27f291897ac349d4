/* Large bitmaps whose memory comes as it is touched. Bits are set and read by any thread. */
#ifndef CHECKPOINT_BITMAP_H
#define CHECKPOINT_BITMAP_H

#include <stdatomic.h>
#include <sys/mman.h>

#include "sim-core/types.h"

typedef _Atomic uint64_t bitmap_word;

static inline size_t bitmap_bytes(uint64_t nr_bits)
{
    return (size_t)((nr_bits + 63) / 64 + 1) * sizeof(bitmap_word);
}

static inline bitmap_word *bitmap_create(uint64_t nr_bits)
{
    void *p = mmap(NULL, bitmap_bytes(nr_bits), PROT_READ | PROT_WRITE,
                   MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);

    return p == MAP_FAILED ? NULL : p;
}

static inline void bitmap_destroy(bitmap_word *map, uint64_t nr_bits)
{
    if (map)
        munmap((void *)map, bitmap_bytes(nr_bits));
}

static inline bool bitmap_get(bitmap_word *map, uint64_t bit)
{
    return atomic_load_explicit(&map[bit / 64], memory_order_acquire) >> (bit % 64) & 1;
}

/* Sets the bits of `mask` in a word and returns which of them were clear before. */
static inline uint64_t bitmap_claim(bitmap_word *map, uint64_t word, uint64_t mask)
{
    return mask & ~atomic_fetch_or_explicit(&map[word], mask, memory_order_acq_rel);
}

#endif
