/* The last hart fills 64 MiB; then hart 0 reads them from end to end. Counts pages read in RANKS_TICKS. */
#include "ranks/ranks.h"

enum { PAGES = 16384 };

static page_t flag;

static void fill(volatile uint64_t *p)
{
    for (unsigned i = 0; i < PAGES * 512; i += 64)
        p[i] = i + 1;
    ranks_store(&flag.word[0], (uintptr_t)p);
}

PERF_KERNEL(env)
{
    uint64_t sum = 0;
    volatile uint64_t *p;

    if (env->hart == env->harts - 1)
        fill(perf_alloc(env, PAGES * sizeof(page_t)));
    if (env->hart)
        return 0;
    while (!(p = (volatile uint64_t *)ranks_load(&flag.word[0])))
        ;
    uint64_t start = ranks_now();
    for (unsigned i = 0; i < PAGES * 512; i += 8)
        sum += p[i];
    PERF_OPAQUE(sum);
    return (uint64_t)PAGES * RANKS_TICKS / (ranks_now() - start);
}
