/* A lock by LR/SC, taken for one addition beside it, as often as it can be had. */
#include "ranks/ranks.h"

static page_t page;

static int try_lock(volatile uint64_t *lock)
{
    uint64_t old, failed = 1;

    __asm__ volatile("lr.d.aq %0, (%2)\n\t"
                     "bnez %0, 1f\n\t"
                     "sc.d %1, %3, (%2)\n"
                     "1:"
                     : "=&r"(old), "+&r"(failed)
                     : "r"(lock), "r"(1ull)
                     : "memory");
    return !old && !failed;
}

PERF_KERNEL(env)
{
    uint64_t start = ranks_now(), count = 0;

    (void)env;
    while (!ranks_over(start))
        for (unsigned i = 0; i < 16; i++) {
            if (!try_lock(&page.word[0]))
                continue;
            page.word[8]++;
            count++;
            ranks_store(&page.word[0], 0);
        }
    return count;
}
