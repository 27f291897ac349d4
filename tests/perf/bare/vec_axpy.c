/* y += a * x over 32-bit floats, in groups of 8 registers. */
#include "vec.h"

enum { N = 20000, ROUNDS = 600 };

static void axpy(float *y, const float *x, float a, size_t n)
{
    size_t vl;

    __asm__ volatile(VEC("1: vsetvli %3, %2, e32, m8, ta, ma\n"
                         "vle32.v v0, (%1)\n"
                         "vle32.v v8, (%0)\n"
                         "sub %2, %2, %3\n"
                         "slli %3, %3, 2\n"
                         "add %1, %1, %3\n"
                         "vfmacc.vf v8, %4, v0\n"
                         "vse32.v v8, (%0)\n"
                         "add %0, %0, %3\n"
                         "bnez %2, 1b")
                     : "+r"(y), "+r"(x), "+r"(n), "=&r"(vl)
                     : "f"(a)
                     : "memory");
}

PERF_KERNEL(env)
{
    float *x = perf_alloc(env, N * sizeof *x), *y = perf_alloc(env, N * sizeof *y);
    uint64_t seed = 52, sum = 0;

    for (unsigned i = 0; i < N; i++) {
        x[i] = (float)(int32_t)perf_random(&seed) * 0x1p-31f;
        y[i] = (float)(int32_t)perf_random(&seed) * 0x1p-31f;
    }
    for (unsigned round = 0; round < ROUNDS; round++)
        axpy(y, x, (float)(int)(round % 7 - 3) * 0.37f, N - round % 5);
    for (unsigned i = 0; i < N; i++)
        sum = perf_mix(sum, perf_bits((double)y[i]));
    return sum;
}
