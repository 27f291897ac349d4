/* False sharing: each hart stores to a word of its own, all in one page. */
#include "ranks/ranks.h"

static page_t page;

PERF_KERNEL(env)
{
    uint64_t start = ranks_now(), count = 0;

    while (!ranks_over(start))
        for (unsigned i = 0; i < 64; i++, count++)
            page.word[env->hart * 16] = count;
    return count;
}
