/* y += a * x where x > t, over 32-bit floats in groups of 4 registers, as compilers make it of an if in a loop: compare,
 * then load, multiply and store under the mask. */
#include "vec.h"

enum { N = 20000, ROUNDS = 150 };

static void update(float *y, const float *x, float a, float t, size_t n)
{
    size_t vl;

    __asm__ volatile(VEC("1: vsetvli %3, %2, e32, m4, ta, mu\n"
                         "vle32.v v4, (%1)\n"
                         "sub %2, %2, %3\n"
                         "vmfgt.vf v0, v4, %5\n"
                         "vle32.v v8, (%0), v0.t\n"
                         "slli %3, %3, 2\n"
                         "add %1, %1, %3\n"
                         "vfmacc.vf v8, %4, v4, v0.t\n"
                         "vse32.v v8, (%0), v0.t\n"
                         "add %0, %0, %3\n"
                         "bnez %2, 1b")
                     : "+r"(y), "+r"(x), "+r"(n), "=&r"(vl)
                     : "f"(a), "f"(t)
                     : "memory");
}

PERF_KERNEL(env)
{
    float *x = perf_alloc(env, N * sizeof *x), *y = perf_alloc(env, N * sizeof *y);
    uint64_t seed = 56, sum = 0;

    for (unsigned i = 0; i < N; i++) {
        x[i] = (float)(int32_t)perf_random(&seed) * 0x1p-31f;
        y[i] = (float)(int32_t)perf_random(&seed) * 0x1p-31f;
    }
    for (unsigned round = 0; round < ROUNDS; round++)
        update(y, x, (float)(int)(round % 7 - 3) * 0.37f, (float)(int)(round % 5 - 2) * 0.3f, N - round % 5);
    for (unsigned i = 0; i < N; i++)
        sum = perf_mix(sum, perf_bits((double)y[i]));
    return sum;
}
