/* Sums of absolute differences of bytes (widening sums, one reduction a row), and the largest of 32-bit integers. */
#include "vec.h"

enum { ROW = 256, ROWS = 120, ROUNDS = 800 };

static uint64_t differences(const uint8_t *a, const uint8_t *b, size_t n)
{
    size_t vl, vlmax;
    uint64_t sum;

    __asm__ volatile(VEC("vsetvli %5, zero, e16, m4, ta, ma\n"
                         "vmv.v.i v8, 0\n"
                         "1: vsetvli %4, %3, e8, m2, tu, ma\n"
                         "vle8.v v2, (%1)\n"
                         "vle8.v v4, (%2)\n"
                         "sub %3, %3, %4\n"
                         "add %1, %1, %4\n"
                         "add %2, %2, %4\n"
                         "vmaxu.vv v6, v2, v4\n"
                         "vminu.vv v2, v2, v4\n"
                         "vsub.vv v6, v6, v2\n"
                         "vwaddu.wv v8, v8, v6\n"
                         "bnez %3, 1b\n"
                         "vsetvli zero, %5, e16, m4, ta, ma\n"
                         "vmv.v.i v4, 0\n"
                         "vwredsumu.vs v4, v8, v4\n"
                         "vsetivli zero, 1, e32, m1, ta, ma\n"
                         "vmv.x.s %0, v4")
                     : "=&r"(sum), "+r"(a), "+r"(b), "+r"(n), "=&r"(vl), "=&r"(vlmax)::"memory");
    return sum;
}

static int64_t largest(const int32_t *a, size_t n)
{
    size_t vl;
    int64_t result;

    __asm__ volatile(VEC("lw %3, 0(%1)\n"
                         "vsetivli zero, 1, e32, m1, ta, ma\n"
                         "vmv.s.x v1, %3\n"
                         "1: vsetvli %3, %2, e32, m4, ta, ma\n"
                         "vle32.v v4, (%1)\n"
                         "sub %2, %2, %3\n"
                         "slli %3, %3, 2\n"
                         "add %1, %1, %3\n"
                         "vredmax.vs v1, v4, v1\n"
                         "bnez %2, 1b\n"
                         "vmv.x.s %0, v1")
                     : "=&r"(result), "+r"(a), "+r"(n), "=&r"(vl)::"memory");
    return result;
}

PERF_KERNEL(env)
{
    uint8_t *a = perf_alloc(env, ROW * ROWS), *b = perf_alloc(env, ROW * ROWS);
    uint64_t seed = 59, sum = 0;

    for (unsigned i = 0; i < ROW * ROWS; i += 8) {
        *(uint64_t *)(void *)(a + i) = perf_random(&seed);
        *(uint64_t *)(void *)(b + i) = perf_random(&seed);
    }
    for (unsigned round = 0; round < ROUNDS; round++) {
        for (unsigned row = 0; row < ROWS; row++)
            sum = perf_mix(sum, differences(a + row * ROW, b + row * ROW, ROW - round % 9));
        sum = perf_mix(sum, (uint64_t)largest((const int32_t *)(const void *)a, ROW * ROWS / 4 - round));
    }
    return sum;
}
