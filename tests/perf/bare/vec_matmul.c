/* Matrix product of 32-bit floats: a row of C in groups of 4 registers, scalar times row of B. */
#include "vec.h"

enum { N = 128, ROUNDS = 10 };

/* c[0..n) += sum of a[k] * b[k][0..n) */
static void row(float *c, const float *a, const float *b, size_t n, size_t depth)
{
    size_t vl, k;
    const float *ak, *bk;

    __asm__ volatile(VEC("1: vsetvli %3, %4, e32, m4, ta, ma\n"
                         "vle32.v v8, (%0)\n"
                         "mv %6, %1\n"
                         "mv %7, %2\n"
                         "mv %5, %8\n"
                         "2: flw ft0, 0(%6)\n"
                         "vle32.v v0, (%7)\n"
                         "addi %6, %6, 4\n"
                         "addi %5, %5, -1\n"
                         "vfmacc.vf v8, ft0, v0\n"
                         "add %7, %7, %9\n"
                         "bnez %5, 2b\n"
                         "vse32.v v8, (%0)\n"
                         "sub %4, %4, %3\n"
                         "slli %3, %3, 2\n"
                         "add %0, %0, %3\n"
                         "add %2, %2, %3\n"
                         "bnez %4, 1b")
                     : "+r"(c), "+r"(a), "+r"(b), "=&r"(vl), "+r"(n), "=&r"(k), "=&r"(ak), "=&r"(bk)
                     : "r"(depth), "r"(N * sizeof(float))
                     : "ft0", "memory");
}

PERF_KERNEL(env)
{
    float(*a)[N] = perf_alloc(env, sizeof(float[N][N])), (*b)[N] = perf_alloc(env, sizeof(float[N][N]));
    float(*c)[N] = perf_alloc(env, sizeof(float[N][N]));
    uint64_t seed = 54, sum = 0;

    for (unsigned i = 0; i < N; i++) {
        for (unsigned k = 0; k < N; k++) {
            a[i][k] = (float)(int32_t)perf_random(&seed) * 0x1p-31f;
            b[i][k] = (float)(int32_t)perf_random(&seed) * 0x1p-31f;
        }
    }
    for (unsigned round = 0; round < ROUNDS; round++)
        for (unsigned i = 0; i < N; i++)
            row(c[i], a[i], b[0], N, N);
    for (unsigned i = 0; i < N; i++)
        for (unsigned k = 0; k < N; k++)
            sum = perf_mix(sum, perf_bits((double)c[i][k]));
    return sum;
}
