/* A radix-2 FFT, forward and back: butterflies over strided pairs. */
#include "perf.h"

enum { BITS = 11, N = 1 << BITS, ROUNDS = 390 };

struct complex {
    double re, im;
};

static void reorder(struct complex *a)
{
    for (unsigned i = 0, j = 0; i < N; i++) {
        if (i < j) {
            struct complex swap = a[i];
            a[i] = a[j];
            a[j] = swap;
        }
        unsigned bit = N >> 1;
        for (; j & bit; bit >>= 1)
            j ^= bit;
        j |= bit;
    }
}

static void transform(struct complex *a, const struct complex *root, double sign)
{
    reorder(a);
    for (unsigned half = 1; half < N; half *= 2)
        for (unsigned start = 0; start < N; start += 2 * half)
            for (unsigned k = 0; k < half; k++) {
                struct complex w = root[k * (N / 2 / half)];
                struct complex *lo = &a[start + k], *hi = lo + half;
                double re = hi->re * w.re - hi->im * sign * w.im;
                double im = hi->re * sign * w.im + hi->im * w.re;
                hi->re = lo->re - re, hi->im = lo->im - im;
                lo->re += re, lo->im += im;
            }
}

/* Roots of unity by half-angle square roots: no libm, and the same bits everywhere. */
static void make_roots(struct complex *root)
{
    root[0] = (struct complex){1, 0};
    double c = -1; /* cos of the current angle, pi at first */
    for (unsigned step = N / 2; step > 1; step /= 2) {
        double s = __builtin_sqrt((1 - c) / 2);
        c = __builtin_sqrt((1 + c) / 2);
        unsigned at = step / 2;
        root[at] = (struct complex){c, s};
        for (unsigned i = step; i + at < N / 2; i += step) {
            struct complex r = root[i];
            root[i + at] = (struct complex){r.re * c - r.im * s, r.re * s + r.im * c};
        }
    }
}

PERF_KERNEL(env)
{
    struct complex *a = perf_alloc(env, N * sizeof *a), *root = perf_alloc(env, N / 2 * sizeof *root);
    uint64_t seed = 14, sum = 0;
    make_roots(root);
    for (unsigned i = 0; i < N; i++)
        a[i] = (struct complex){(double)(perf_random(&seed) >> 50), 0};
    for (unsigned round = 0; round < ROUNDS; round++) {
        transform(a, root, 1);
        transform(a, root, -1);
        for (unsigned i = 0; i < N; i++)
            a[i].re /= N, a[i].im /= N;
    }
    for (unsigned i = 0; i < N; i += 5)
        sum = perf_mix(sum, perf_bits(a[i].re));
    return sum;
}
