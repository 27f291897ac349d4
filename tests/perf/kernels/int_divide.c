/* Division, remainder and high products: gcd, modular powers, decimal printing. */
#include "perf.h"

enum { ROUNDS = 910000 };

static uint64_t gcd(uint64_t a, uint64_t b)
{
    while (b) {
        uint64_t t = a % b;
        a = b;
        b = t;
    }
    return a;
}

static uint64_t power(uint64_t base, uint32_t exponent, uint32_t modulus)
{
    uint64_t result = 1;
    for (base %= modulus; exponent; exponent >>= 1) {
        if (exponent & 1)
            result = result * base % modulus;
        base = base * base % modulus;
    }
    return result;
}

static unsigned digits(char *out, uint64_t value)
{
    unsigned n = 0;
    do
        out[n++] = (char)('0' + value % 10);
    while (value /= 10);
    return n;
}

PERF_KERNEL(env)
{
    char *text = perf_alloc(env, 32);
    uint64_t seed = 9, sum = 0;
    for (unsigned round = 0; round < ROUNDS; round++) {
        uint64_t a = perf_random(&seed), b = perf_random(&seed);
        sum = perf_mix(sum, gcd(a, b));
        sum = perf_mix(sum, power(a, (uint32_t)b & 0xffff, (uint32_t)(b >> 32) | 1));
        sum += digits(text, a) + (uint8_t)text[3];
        sum ^= (uint64_t)((unsigned __int128)a * b >> 64);
    }
    return sum;
}
