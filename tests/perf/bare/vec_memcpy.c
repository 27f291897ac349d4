/* memcpy with vectors of bytes, groups of 8 registers: large blocks, and small ones of any alignment. */
#include "vec.h"

enum { BUFFER = 60000, ROUNDS = 5000 };

static void copy(uint8_t *to, const uint8_t *from, size_t n)
{
    size_t vl;

    __asm__ volatile(VEC("1: vsetvli %3, %2, e8, m8, ta, ma\n"
                         "vle8.v v0, (%1)\n"
                         "add %1, %1, %3\n"
                         "sub %2, %2, %3\n"
                         "vse8.v v0, (%0)\n"
                         "add %0, %0, %3\n"
                         "bnez %2, 1b")
                     : "+r"(to), "+r"(from), "+r"(n), "=&r"(vl)::"memory");
}

PERF_KERNEL(env)
{
    uint8_t *a = perf_alloc(env, BUFFER), *b = perf_alloc(env, BUFFER);
    uint64_t seed = 51, sum = 0;

    for (unsigned i = 0; i < BUFFER; i += 8)
        *(uint64_t *)(void *)(a + i) = perf_random(&seed);
    for (unsigned round = 0; round < ROUNDS; round++) {
        copy(b, a, BUFFER);
        for (unsigned i = 0; i < 10; i++) {
            size_t size = 1 + perf_random(&seed) % 1500, at = perf_random(&seed) % (BUFFER / 2);
            copy(a + at, b + BUFFER / 2 + at % 61, size);
        }
    }
    for (unsigned i = 0; i < BUFFER; i += 8 * 7)
        sum = perf_mix(sum, *(uint64_t *)(void *)(a + i));
    return sum;
}
