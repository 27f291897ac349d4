/* LR/SC pairs: the compare-and-swap loops that compilers make. */
#include "perf.h"

enum { STEPS = 75000000 };

PERF_KERNEL(env)
{
    uint64_t *word = perf_alloc(env, 8 * sizeof *word), sum = 0;
    for (unsigned i = 0; i < STEPS; i++) {
        uint64_t *p = &word[i & 7], old = __atomic_load_n(p, __ATOMIC_RELAXED);
        while (!__atomic_compare_exchange_n(p, &old, old * 3 + i, 0, __ATOMIC_ACQ_REL, __ATOMIC_RELAXED))
            ;
    }
    for (unsigned i = 0; i < 8; i++)
        sum = perf_mix(sum, word[i]);
    return sum;
}
