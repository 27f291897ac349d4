/* The sieve of Eratosthenes on bytes: strided stores, then a counting scan. */
#include "perf.h"

enum { LIMIT = 1 << 20, ROUNDS = 60 };

PERF_KERNEL(env)
{
    uint8_t *composite = perf_alloc(env, LIMIT);
    uint64_t sum = 0;
    for (unsigned round = 0; round < ROUNDS; round++) {
        for (unsigned i = 0; i < LIMIT; i++)
            composite[i] = 0;
        for (unsigned p = 2; p * p < LIMIT; p++)
            if (!composite[p])
                for (unsigned m = p * p; m < LIMIT; m += p)
                    composite[m] = 1;
        unsigned primes = 0;
        for (unsigned i = 2; i < LIMIT; i++)
            primes += !composite[i];
        sum = perf_mix(sum, primes + round);
    }
    return sum;
}
