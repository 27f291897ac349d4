/* Products of complex numbers that lie as pairs of 32-bit floats: segment loads and stores, groups of 2 registers. */
#include "vec.h"

enum { N = 8000, ROUNDS = 300 };

/* z[k] = x[k] * y[k] */
static void multiply(float *z, const float *x, const float *y, size_t n)
{
    size_t vl;

    __asm__ volatile(VEC("1: vsetvli %4, %3, e32, m2, ta, ma\n"
                         "vlseg2e32.v v4, (%1)\n"
                         "vlseg2e32.v v8, (%2)\n"
                         "sub %3, %3, %4\n"
                         "slli %4, %4, 3\n"
                         "add %1, %1, %4\n"
                         "add %2, %2, %4\n"
                         "vfmul.vv v12, v4, v8\n"
                         "vfmul.vv v14, v4, v10\n"
                         "vfnmsac.vv v12, v6, v10\n"
                         "vfmacc.vv v14, v6, v8\n"
                         "vsseg2e32.v v12, (%0)\n"
                         "add %0, %0, %4\n"
                         "bnez %3, 1b")
                     : "+r"(z), "+r"(x), "+r"(y), "+r"(n), "=&r"(vl)::"memory");
}

PERF_KERNEL(env)
{
    float *x = perf_alloc(env, 2 * N * sizeof *x), *y = perf_alloc(env, 2 * N * sizeof *y);
    float *z = perf_alloc(env, 2 * N * sizeof *z);
    uint64_t seed = 57, sum = 0;

    for (unsigned i = 0; i < 2 * N; i++) {
        x[i] = (float)(int32_t)perf_random(&seed) * 0x1p-31f;
        y[i] = (float)(int32_t)perf_random(&seed) * 0x1p-31f;
    }
    for (unsigned round = 0; round < ROUNDS; round++) {
        multiply(z, x + 2 * (round % 3), y, N - round % 7 - 3);
        for (unsigned i = 0; i < 2 * N; i += 97)
            sum = perf_mix(sum, perf_bits((double)z[i]));
    }
    return sum;
}
