/* Dot products of 64-bit floats: multiply and add in groups of 4 registers, one sum at the end. */
#include "vec.h"

enum { N = 10000, ROUNDS = 1000 };

static double dot(const double *x, const double *y, size_t n)
{
    size_t vl, vlmax;
    double sum;

    __asm__ volatile(VEC("vsetvli %5, zero, e64, m4, ta, ma\n"
                         "vmv.v.i v8, 0\n"
                         "1: vsetvli %4, %3, e64, m4, tu, ma\n"
                         "vle64.v v0, (%1)\n"
                         "vle64.v v4, (%2)\n"
                         "sub %3, %3, %4\n"
                         "slli %4, %4, 3\n"
                         "add %1, %1, %4\n"
                         "add %2, %2, %4\n"
                         "vfmacc.vv v8, v0, v4\n"
                         "bnez %3, 1b\n"
                         "vsetvli zero, %5, e64, m4, ta, ma\n"
                         "vmv.v.i v0, 0\n"
                         "vfredusum.vs v0, v8, v0\n"
                         "vfmv.f.s %0, v0")
                     : "=f"(sum), "+r"(x), "+r"(y), "+r"(n), "=&r"(vl), "=&r"(vlmax)::"memory");
    return sum;
}

PERF_KERNEL(env)
{
    double *x = perf_alloc(env, N * sizeof *x), *y = perf_alloc(env, N * sizeof *y);
    uint64_t seed = 53, sum = 0;

    for (unsigned i = 0; i < N; i++) {
        /* small integers: the sum does not depend on the order, so every VLEN gives the same */
        x[i] = (double)(perf_random(&seed) % 1000);
        y[i] = (double)(perf_random(&seed) % 1000);
    }
    for (unsigned round = 0; round < ROUNDS; round++)
        sum = perf_mix(sum, perf_bits(dot(x + round % 11, y + round % 13, N - 20 - round % 7)));
    return sum;
}
