/* Strict alternation: one store of a word that all harts watch, then the next hart's turn. Counts hand-overs. */
#include "ranks/ranks.h"

static page_t page;

PERF_KERNEL(env)
{
    uint64_t start = ranks_now(), count = 0;

    if (env->harts < 2) /* nobody to hand it to */
        return 0;
    for (uint64_t turn = env->hart; ranks_await(&page.word[0], turn, start); turn += env->harts, count++)
        ranks_store(&page.word[0], turn + 1);
    return count;
}
