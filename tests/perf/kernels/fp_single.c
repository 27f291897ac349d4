/* Single precision: a FIR filter with a recursive tail, NaN-boxed registers. */
#include "perf.h"

enum { SAMPLES = 4096, TAPS = 24, ROUNDS = 540 };

PERF_KERNEL(env)
{
    float *in = perf_alloc(env, (SAMPLES + TAPS) * sizeof *in), *out = perf_alloc(env, SAMPLES * sizeof *out);
    float tap[TAPS], last = 0;
    uint64_t seed = 15, sum = 0;
    for (unsigned i = 0; i < TAPS; i++)
        tap[i] = 1.0f / (float)(i + 2);
    for (unsigned i = 0; i < SAMPLES + TAPS; i++)
        in[i] = (float)(int32_t)perf_random(&seed) / 65536.0f;
    for (unsigned round = 0; round < ROUNDS; round++)
        for (unsigned i = 0; i < SAMPLES; i++) {
            float s = last * 0.25f;
            for (unsigned k = 0; k < TAPS; k++)
                s += in[i + k] * tap[k];
            last = s;
            out[i] = s;
        }
    for (unsigned i = 0; i < SAMPLES; i++)
        sum = perf_mix(sum, (uint64_t)(int64_t)out[i]);
    return sum;
}
