/* ChaCha20: sixteen words of state that want to stay in registers. */
#include "perf.h"

enum { BLOCKS = 1300000 };

static inline uint32_t rotl(uint32_t x, unsigned n)
{
    return x << n | x >> (32 - n);
}

static inline void quarter(uint32_t *x, unsigned a, unsigned b, unsigned c, unsigned d)
{
    x[a] += x[b], x[d] = rotl(x[d] ^ x[a], 16);
    x[c] += x[d], x[b] = rotl(x[b] ^ x[c], 12);
    x[a] += x[b], x[d] = rotl(x[d] ^ x[a], 8);
    x[c] += x[d], x[b] = rotl(x[b] ^ x[c], 7);
}

static void block(uint32_t *out, const uint32_t *in)
{
    uint32_t x[16];
    for (unsigned i = 0; i < 16; i++)
        x[i] = in[i];
    for (unsigned round = 0; round < 10; round++) {
        quarter(x, 0, 4, 8, 12), quarter(x, 1, 5, 9, 13);
        quarter(x, 2, 6, 10, 14), quarter(x, 3, 7, 11, 15);
        quarter(x, 0, 5, 10, 15), quarter(x, 1, 6, 11, 12);
        quarter(x, 2, 7, 8, 13), quarter(x, 3, 4, 9, 14);
    }
    for (unsigned i = 0; i < 16; i++)
        out[i] ^= x[i] + in[i];
}

PERF_KERNEL(env)
{
    uint32_t *state = perf_alloc(env, 64), *out = perf_alloc(env, 64);
    uint64_t seed = 8, sum = 0;
    for (unsigned i = 0; i < 16; i++)
        state[i] = (uint32_t)perf_random(&seed);
    for (unsigned n = 0; n < BLOCKS; n++) {
        block(out, state);
        state[12]++;
    }
    for (unsigned i = 0; i < 16; i++)
        sum = perf_mix(sum, out[i]);
    return sum;
}
