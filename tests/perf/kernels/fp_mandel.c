/* The Mandelbrot set: short dependent chains and a floating-point exit test. */
#include "perf.h"

enum { SIZE = 460, LIMIT = 300 };

static unsigned escape(double cr, double ci)
{
    double zr = 0, zi = 0;
    unsigned n = 0;
    for (; n < LIMIT && zr * zr + zi * zi <= 4.0; n++) {
        double t = zr * zr - zi * zi + cr;
        zi = 2 * zr * zi + ci;
        zr = t;
    }
    return n;
}

PERF_KERNEL(env)
{
    uint64_t sum = env->used;
    for (unsigned y = 0; y < SIZE; y++)
        for (unsigned x = 0; x < SIZE; x++)
            sum = perf_mix(sum, escape(3.0 * x / SIZE - 2.2, 2.4 * y / SIZE - 1.2));
    return sum;
}
