/* Five bodies under gravity: divisions, square roots and long chains of double arithmetic. */
#include "perf.h"

enum { BODIES = 5, STEPS = 360000 };

struct body {
    double x[3], v[3], mass;
};

static void attract(struct body *a, struct body *b, double dt)
{
    double d[3], square = 0;
    for (unsigned k = 0; k < 3; k++) {
        d[k] = a->x[k] - b->x[k];
        square += d[k] * d[k];
    }
    double pull = dt / (square * __builtin_sqrt(square));
    for (unsigned k = 0; k < 3; k++) {
        a->v[k] -= d[k] * b->mass * pull;
        b->v[k] += d[k] * a->mass * pull;
    }
}

static void advance(struct body *b, double dt)
{
    for (unsigned i = 0; i < BODIES; i++)
        for (unsigned j = i + 1; j < BODIES; j++)
            attract(&b[i], &b[j], dt);
    for (unsigned i = 0; i < BODIES; i++)
        for (unsigned k = 0; k < 3; k++)
            b[i].x[k] += dt * b[i].v[k];
}

PERF_KERNEL(env)
{
    struct body *b = perf_alloc(env, BODIES * sizeof *b);
    uint64_t seed = 12, sum = 0;
    for (unsigned i = 0; i < BODIES; i++) {
        b[i].mass = 1.0 / (1 + i);
        for (unsigned k = 0; k < 3; k++) {
            b[i].x[k] = (double)(perf_random(&seed) >> 40) / (1 << 20) + 3.0 * i;
            b[i].v[k] = (double)(perf_random(&seed) >> 40) / (1 << 26);
        }
    }
    for (unsigned step = 0; step < STEPS; step++)
        advance(b, 0.001);
    for (unsigned i = 0; i < BODIES; i++)
        for (unsigned k = 0; k < 3; k++)
            sum = perf_mix(sum, perf_bits(b[i].x[k]));
    return sum;
}
