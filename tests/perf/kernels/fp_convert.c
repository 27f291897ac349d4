/* Conversions, comparisons, minima and sign operations between integers, floats and doubles. */
#include "perf.h"

enum { VALUES = 4096, ROUNDS = 1100 };

/* The instruction itself: compilers only emit it under -ffast-math. */
static double maximum(double a, double b)
{
    __asm__("fmax.d %0, %1, %2" : "=f"(a) : "f"(a), "f"(b));
    return a;
}

PERF_KERNEL(env)
{
    int64_t *in = perf_alloc(env, VALUES * sizeof *in);
    uint64_t seed = 17, sum = 0;
    for (unsigned i = 0; i < VALUES; i++)
        in[i] = (int64_t)perf_random(&seed) >> 20;
    for (unsigned round = 0; round < ROUNDS; round++) {
        double low = 1e30, high = -1e30;
        float narrow = 0;
        for (unsigned i = 0; i < VALUES; i++) {
            double d = (double)in[i] * 0.37 + round;
            low = d < low ? d : low;
            high = maximum(high, d);
            narrow += (float)d;
            sum += (uint64_t)(int64_t)d + (uint32_t)(int32_t)(d / 1e6);
            sum ^= (uint64_t)(__builtin_copysign(d, -1.0) < (double)narrow);
        }
        sum = perf_mix(sum, perf_bits(high - low));
        sum = perf_mix(sum, (uint64_t)(int64_t)narrow);
    }
    return sum;
}
