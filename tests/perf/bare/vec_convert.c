/* 16-bit samples of two channels, interleaved: a strided load of each, to floats, a filter over neighbours (slides), back to
 * integers with rounding, clipped to 16 bits. */
#include "vec.h"

enum { N = 6000, ROUNDS = 60 };

/* out[k] = clip(gain * (x[k] + 0.5 * x[k + 1] in the group)), x = every second sample */
static void filter(int16_t *out, const int16_t *samples, float gain, size_t n)
{
    size_t vl;

    __asm__ volatile(VEC("li t1, 4\n"
                         "fmv.w.x ft1, zero\n"
                         "1: vsetvli %3, %2, e16, m2, ta, ma\n"
                         "vlse16.v v2, (%1), t1\n"
                         "sub %2, %2, %3\n"
                         "vwadd.vx v4, v2, zero\n"
                         "vsetvli zero, zero, e32, m4, ta, ma\n"
                         "vfcvt.f.x.v v4, v4\n"
                         "vfslide1down.vf v8, v4, ft1\n"
                         "vfmacc.vf v4, %5, v8\n"
                         "vfmul.vf v4, v4, %4\n"
                         "vfcvt.x.f.v v4, v4\n"
                         "vsetvli zero, zero, e16, m2, ta, ma\n"
                         "vnclip.wi v2, v4, 0\n"
                         "vse16.v v2, (%0)\n"
                         "slli t0, %3, 2\n"
                         "add %1, %1, t0\n"
                         "slli t0, %3, 1\n"
                         "add %0, %0, t0\n"
                         "bnez %2, 1b")
                     : "+r"(out), "+r"(samples), "+r"(n), "=&r"(vl)
                     : "f"(gain), "f"(0.5f)
                     : "t0", "t1", "ft1", "memory");
}

PERF_KERNEL(env)
{
    int16_t *in = perf_alloc(env, 2 * N * sizeof *in), *out = perf_alloc(env, N * sizeof *out);
    uint64_t seed = 60, sum = 0;

    for (unsigned i = 0; i < 2 * N; i++)
        in[i] = (int16_t)perf_random(&seed);
    for (unsigned round = 0; round < ROUNDS; round++) {
        filter(out, in + round % 2, 0.25f + (float)(int)(round % 16) * 0.125f, N - 1 - round % 7);
        for (unsigned i = 0; i < N; i += 41)
            sum = perf_mix(sum, (uint16_t)out[i]);
    }
    return sum;
}
