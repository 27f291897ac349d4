/* Calls and returns: Fibonacci, Ackermann and Takeuchi without memory. */
#include "perf.h"

enum { ROUNDS = 53 };

static __attribute__((noinline)) uint64_t fib(uint64_t n)
{
    return n < 2 ? n : fib(n - 1) + fib(n - 2);
}

static __attribute__((noinline)) uint64_t ackermann(uint64_t m, uint64_t n)
{
    if (m == 0)
        return n + 1;
    return ackermann(m - 1, n == 0 ? 1 : ackermann(m, n - 1));
}

static __attribute__((noinline)) int64_t takeuchi(int64_t x, int64_t y, int64_t z)
{
    if (y >= x)
        return z;
    return takeuchi(takeuchi(x - 1, y, z), takeuchi(y - 1, z, x), takeuchi(z - 1, x, y));
}

PERF_KERNEL(env)
{
    uint64_t sum = env->used;
    for (unsigned round = 0; round < ROUNDS; round++) {
        uint64_t n = 27, m = 2;
        PERF_OPAQUE(n);
        PERF_OPAQUE(m);
        sum = perf_mix(sum, fib(n));
        sum = perf_mix(sum, ackermann(m, 300));
        sum = perf_mix(sum, (uint64_t)takeuchi(18, 12, 6));
    }
    return sum;
}
