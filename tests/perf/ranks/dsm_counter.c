/* All harts add to one word as fast as they can. */
#include "ranks/ranks.h"

static page_t page;

PERF_KERNEL(env)
{
    uint64_t start = ranks_now(), count = 0;

    (void)env;
    while (!ranks_over(start))
        for (unsigned i = 0; i < 64; i++, count++)
            __atomic_fetch_add(&page.word[0], 1, __ATOMIC_RELAXED);
    return count;
}
