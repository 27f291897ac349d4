/* Dependent loads along one cycle through a block of memory. */
#ifndef CHASE_H
#define CHASE_H

#include "perf.h"

/* A linear congruential sequence of full period (multiplier 1 mod 4, odd increment): every word is
 * visited once a round, in an order that no prefetcher follows. */
static inline void chase_link(uint64_t *next, size_t n)
{
    for (size_t i = 0; i < n; i++)
        next[i] = (i * 0x5851f42d4c957f2du + 0x14057b7ef767814fu) & (n - 1);
}

static inline uint64_t chase(struct perf_env *env, size_t bytes, unsigned long steps)
{
    size_t n = bytes / sizeof(uint64_t);
    uint64_t *next = perf_alloc(env, bytes), at = 0;
    chase_link(next, n);
    for (unsigned long s = 0; s < steps; s++)
        at = next[at];
    return at;
}

#endif
