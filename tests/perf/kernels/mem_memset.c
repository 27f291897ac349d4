/* Clearing and filling: stores only. */
#include "perf.h"

enum { WORDS = 1 << 18, ROUNDS = 1800 };

PERF_KERNEL(env)
{
    uint64_t *a = perf_alloc(env, WORDS * sizeof *a), sum = 0;
    for (unsigned round = 0; round < ROUNDS; round++) {
        uint64_t value = round % 2 ? 0 : round * 0x0101010101010101u;
        for (uint64_t *p = a; p < a + WORDS; p += 8)
            p[0] = p[1] = p[2] = p[3] = p[4] = p[5] = p[6] = p[7] = value;
        PERF_CLOBBER();
        sum = perf_mix(sum, a[round * 1000 % WORDS]);
    }
    return sum;
}
