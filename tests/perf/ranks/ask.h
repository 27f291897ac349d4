/* Hart 0 asks and awaits the answer of hart 1: two flags. Counts answers; other harts do nothing. */
#include "ranks/ranks.h"

static inline uint64_t ask(const struct perf_env *env, volatile uint64_t *question, volatile uint64_t *answer)
{
    uint64_t start = ranks_now(), count = 0;

    while (env->hart < 2) {
        if (env->hart == 0)
            ranks_store(question, count + 1);
        if (!ranks_await(env->hart ? question : answer, count + 1, start))
            break;
        count++;
        if (env->hart)
            ranks_store(answer, count);
    }
    return count;
}
