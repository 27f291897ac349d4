/* A counter that each hart uses now and then, and computes for some 50 us in between. */
#include "ranks/ranks.h"

enum { WORK = 50000 };

static page_t page;

PERF_KERNEL(env)
{
    uint64_t start = ranks_now(), count = 0, x = env->hart;

    while (!ranks_over(start)) {
        __atomic_fetch_add(&page.word[0], 1, __ATOMIC_RELAXED);
        for (unsigned i = 0; i < WORK; i++) {
            x = x * 3 + i;
            PERF_OPAQUE(x);
        }
        count++;
    }
    return count;
}
