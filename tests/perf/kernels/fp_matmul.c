/* A dense product of double matrices, one element at a time. */
#include "perf.h"

enum { N = 88, ROUNDS = 29 };

PERF_KERNEL(env)
{
    double *a = perf_alloc(env, N * N * sizeof *a), *b = perf_alloc(env, N * N * sizeof *b);
    double *c = perf_alloc(env, N * N * sizeof *c);
    uint64_t seed = 13, sum = 0;
    for (unsigned i = 0; i < N * N; i++) {
        a[i] = (double)(perf_random(&seed) >> 44) / 65536;
        b[i] = (double)(perf_random(&seed) >> 44) / 4096 - 100;
    }
    for (unsigned round = 0; round < ROUNDS; round++) {
        for (unsigned i = 0; i < N; i++)
            for (unsigned j = 0; j < N; j++) {
                double s = 0;
                for (unsigned k = 0; k < N; k++)
                    s += a[i * N + k] * b[k * N + j];
                c[i * N + j] = s;
            }
        a[round] = c[round] / 1000;
    }
    for (unsigned i = 0; i < N * N; i += 7)
        sum = perf_mix(sum, perf_bits(c[i]));
    return sum;
}
