/* memcpy of many sizes and alignments, copying words as a C library does. */
#include "perf.h"

enum { BUFFER = 2000000, ROUNDS = 1000 };

static void copy(uint8_t *to, const uint8_t *from, size_t n)
{
    if (((uintptr_t)to ^ (uintptr_t)from) % 8 == 0) {
        for (; n && (uintptr_t)to % 8; n--)
            *to++ = *from++;
        for (; n >= 64; n -= 64, to += 64, from += 64) {
            const uint64_t *f = (const uint64_t *)(const void *)from;
            uint64_t *t = (uint64_t *)(void *)to;
            uint64_t w0 = f[0], w1 = f[1], w2 = f[2], w3 = f[3];
            uint64_t w4 = f[4], w5 = f[5], w6 = f[6], w7 = f[7];
            t[0] = w0, t[1] = w1, t[2] = w2, t[3] = w3;
            t[4] = w4, t[5] = w5, t[6] = w6, t[7] = w7;
        }
        for (; n >= 8; n -= 8, to += 8, from += 8)
            *(uint64_t *)(void *)to = *(const uint64_t *)(const void *)from;
    }
    for (; n; n--) {
        *to++ = *from++;
        PERF_CLOBBER(); /* stays a byte loop */
    }
}

PERF_KERNEL(env)
{
    uint8_t *a = perf_alloc(env, BUFFER), *b = perf_alloc(env, BUFFER);
    uint64_t seed = 18, sum = 0;
    for (unsigned i = 0; i < BUFFER; i += 8)
        *(uint64_t *)(void *)(a + i) = perf_random(&seed);
    for (unsigned round = 0; round < ROUNDS; round++) {
        copy(b, a, BUFFER);
        for (unsigned i = 0; i < 200; i++) {
            size_t size = perf_random(&seed) % 1500, at = perf_random(&seed) % (BUFFER / 2);
            copy(a + at, b + BUFFER / 2 + (at & 7), size & ~(size_t)7);
        }
    }
    for (unsigned i = 0; i < BUFFER; i += 8 * 509)
        sum = perf_mix(sum, *(uint64_t *)(void *)(a + i));
    return sum;
}
