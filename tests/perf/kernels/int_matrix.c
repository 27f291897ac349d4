/* Integer matrices: products of 16-bit elements with 32-bit sums, scaling, bit-field extraction. */
#include "perf.h"

enum { N = 40, ROUNDS = 1600 };

static void multiply(int32_t *c, const int16_t *a, const int16_t *b)
{
    for (unsigned i = 0; i < N; i++)
        for (unsigned j = 0; j < N; j++) {
            int32_t sum = 0;
            for (unsigned k = 0; k < N; k++)
                sum += a[i * N + k] * b[k * N + j];
            c[i * N + j] = sum;
        }
}

static void multiply_fields(int32_t *c, const int16_t *a, const int16_t *b)
{
    for (unsigned i = 0; i < N; i++)
        for (unsigned j = 0; j < N; j++) {
            int32_t sum = 0;
            for (unsigned k = 0; k < N; k++) {
                int32_t p = a[i * N + k] * b[k * N + j];
                sum += ((p >> 2) & 15) * ((p >> 5) & 127);
            }
            c[i * N + j] = sum;
        }
}

static void add_constant(int16_t *a, int16_t value)
{
    for (unsigned i = 0; i < N * N; i++)
        a[i] = (int16_t)(a[i] + value);
}

PERF_KERNEL(env)
{
    int16_t *a = perf_alloc(env, N * N * sizeof *a), *b = perf_alloc(env, N * N * sizeof *b);
    int32_t *c = perf_alloc(env, N * N * sizeof *c);
    uint64_t seed = 2, sum = 0;
    for (unsigned i = 0; i < N * N; i++) {
        a[i] = (int16_t)perf_random(&seed);
        b[i] = (int16_t)(perf_random(&seed) & 0xff);
    }
    for (unsigned round = 0; round < ROUNDS; round++) {
        multiply(c, a, b);
        sum = perf_mix(sum, (uint32_t)c[round % (N * N)]);
        multiply_fields(c, a, b);
        sum = perf_mix(sum, (uint32_t)c[round * 7 % (N * N)]);
        add_constant(a, (int16_t)round);
    }
    return sum;
}
