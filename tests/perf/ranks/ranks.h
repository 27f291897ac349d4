/* Harts on different ranks that want the same pages: what the kernels here share.
 *
 * A kernel does one thing again and again for RANKS_TICKS of guest time, which all harts begin at the same moment, and
 * returns how often it did it (not a checksum). Words that are to share a page, or not, are laid out by page_t. */
#ifndef RANKS_H
#define RANKS_H

#include "bare/bare.h"

#define RANKS_TICKS 3000000u /* 0.3 s: virt's timebase is 10 MHz */

typedef union {
    volatile uint64_t word[512];
    unsigned char bytes[4096];
} __attribute__((aligned(4096))) page_t;

static inline uint64_t ranks_now(void)
{
    return bare_csr_read(time);
}

/* Looked at often, and a CSR costs more than what is measured: the caller asks every so many rounds. */
static inline int ranks_over(uint64_t start)
{
    return ranks_now() - start >= RANKS_TICKS;
}

static inline void ranks_store(volatile uint64_t *p, uint64_t value)
{
    __atomic_store_n(p, value, __ATOMIC_RELEASE);
}

static inline uint64_t ranks_load(volatile uint64_t *p)
{
    return __atomic_load_n(p, __ATOMIC_ACQUIRE);
}

/* Waits until *p is `value` or the time is up: then false. */
static inline int ranks_await(volatile uint64_t *p, uint64_t value, uint64_t start)
{
    for (unsigned looks = 1; ranks_load(p) != value; looks++)
        if (looks % 32 == 0 && ranks_over(start))
            return 0;
    return 1;
}

#endif
