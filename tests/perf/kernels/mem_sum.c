/* Reading: sums of words and of bytes. */
#include "perf.h"

enum { WORDS = 1 << 17, ROUNDS = 2000 };

PERF_KERNEL(env)
{
    uint64_t *a = perf_alloc(env, WORDS * sizeof *a), seed = 19, sum = 0;
    for (unsigned i = 0; i < WORDS; i++)
        a[i] = perf_random(&seed);
    for (unsigned round = 0; round < ROUNDS; round++) {
        for (unsigned i = 0; i < WORDS; i += 4)
            sum += a[i] ^ a[i + 1] ^ a[i + 2] ^ a[i + 3];
        const uint8_t *byte = (const uint8_t *)a;
        for (unsigned i = 0; i < WORDS; i++)
            sum += byte[i];
        PERF_CLOBBER();
    }
    return sum;
}
