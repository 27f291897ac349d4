/* LU factorisation with partial pivoting: compares, divisions, row updates. */
#include "perf.h"

enum { N = 80, ROUNDS = 310 };

static double magnitude(double x)
{
    return x < 0 ? -x : x;
}

static unsigned pivot(const double *a, unsigned column)
{
    unsigned best = column;
    for (unsigned i = column + 1; i < N; i++)
        if (magnitude(a[i * N + column]) > magnitude(a[best * N + column]))
            best = i;
    return best;
}

static void factor(double *a)
{
    for (unsigned k = 0; k < N; k++) {
        unsigned p = pivot(a, k);
        for (unsigned j = 0; j < N && p != k; j++) {
            double swap = a[k * N + j];
            a[k * N + j] = a[p * N + j];
            a[p * N + j] = swap;
        }
        for (unsigned i = k + 1; i < N; i++) {
            double m = a[i * N + k] / a[k * N + k];
            a[i * N + k] = m;
            for (unsigned j = k + 1; j < N; j++)
                a[i * N + j] -= m * a[k * N + j];
        }
    }
}

PERF_KERNEL(env)
{
    double *a = perf_alloc(env, N * N * sizeof *a);
    uint64_t seed = 16, sum = 0;
    for (unsigned round = 0; round < ROUNDS; round++) {
        for (unsigned i = 0; i < N * N; i++)
            a[i] = (double)(int64_t)perf_random(&seed) / 4e18;
        factor(a);
        for (unsigned i = 0; i < N; i++)
            sum = perf_mix(sum, perf_bits(a[i * N + i]));
    }
    return sum;
}
