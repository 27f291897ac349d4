/* Atomic memory operations, as locks, counters and reference counts use them. */
#include "perf.h"

enum { STEPS = 29000000 };

PERF_KERNEL(env)
{
    uint64_t *word = perf_alloc(env, 8 * sizeof *word);
    uint32_t *lock = perf_alloc(env, sizeof *lock);
    for (unsigned i = 0; i < STEPS; i++) {
        while (__atomic_exchange_n(lock, 1u, __ATOMIC_ACQUIRE))
            ;
        __atomic_fetch_add(&word[i & 7], i, __ATOMIC_RELAXED);
        __atomic_fetch_or(&word[(i + 3) & 7], 1u, __ATOMIC_ACQ_REL);
        __atomic_store_n(lock, 0u, __ATOMIC_RELEASE);
    }
    uint64_t sum = 0;
    for (unsigned i = 0; i < 8; i++)
        sum = perf_mix(sum, word[i]);
    return sum;
}
