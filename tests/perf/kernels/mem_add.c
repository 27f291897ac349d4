/* STREAM add: c = a + b, over arrays larger than the second-level cache. */
#include "perf.h"

enum { N = 250000, ROUNDS = 220 };

PERF_KERNEL(env)
{
    double *a = perf_alloc(env, N * sizeof *a), *b = perf_alloc(env, N * sizeof *b);
    double *c = perf_alloc(env, N * sizeof *c);
    uint64_t sum = 0;
    for (unsigned i = 0; i < N; i++) {
        a[i] = i;
        b[i] = 0.5 * i;
        c[i] = 2.0 * i;
    }
    for (unsigned round = 0; round < ROUNDS; round++) {
        for (unsigned i = 0; i < N; i++)
            c[i] = a[i] + b[i];
        PERF_CLOBBER();
    }
    for (unsigned i = 0; i < N; i += 1021)
        sum = perf_mix(sum, perf_bits(a[i]) ^ perf_bits(b[i]) ^ perf_bits(c[i]));
    return sum;
}
