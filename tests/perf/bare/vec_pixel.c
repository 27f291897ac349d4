/* Blends two images of bytes: widening products, a narrowing clip with rounding, a saturating sum. */
#include "vec.h"

enum { N = 30000, ROUNDS = 60 };

/* to = saturate((to * (256 - alpha) + from * alpha) / 256 + light) */
static void blend(uint8_t *to, const uint8_t *from, unsigned alpha, unsigned light, size_t n)
{
    size_t vl;

    __asm__ volatile(VEC("csrwi vxrm, 0\n"
                         "1: vsetvli %3, %2, e8, m2, ta, ma\n"
                         "vle8.v v2, (%0)\n"
                         "vle8.v v4, (%1)\n"
                         "sub %2, %2, %3\n"
                         "add %1, %1, %3\n"
                         "vwmulu.vx v8, v2, %5\n"
                         "vwmaccu.vx v8, %4, v4\n"
                         "vnclipu.wi v2, v8, 8\n"
                         "vsaddu.vx v2, v2, %6\n"
                         "vse8.v v2, (%0)\n"
                         "add %0, %0, %3\n"
                         "bnez %2, 1b")
                     : "+r"(to), "+r"(from), "+r"(n), "=&r"(vl)
                     : "r"(alpha), "r"(256 - alpha), "r"(light)
                     : "memory");
}

PERF_KERNEL(env)
{
    uint8_t *a = perf_alloc(env, N), *b = perf_alloc(env, N);
    uint64_t seed = 58, sum = 0;

    for (unsigned i = 0; i < N; i++) {
        a[i] = (uint8_t)perf_random(&seed);
        b[i] = (uint8_t)perf_random(&seed);
    }
    for (unsigned round = 0; round < ROUNDS; round++) {
        blend(a, b, 40 + round * 3 % 200, round % 4, N - round % 13);
        blend(b, a, 200 - round * 7 % 190, 0, N - round % 11);
    }
    for (unsigned i = 0; i < N; i++)
        sum = perf_mix(sum, a[i] + b[i]);
    return sum;
}
