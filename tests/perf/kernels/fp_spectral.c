/* The spectral norm of an infinite matrix: a division per element. */
#include "perf.h"

enum { N = 90, ROUNDS = 600 };

static double element(unsigned i, unsigned j)
{
    return 1.0 / ((i + j) * (i + j + 1) / 2 + i + 1);
}

static void apply(double *out, const double *in, int transposed)
{
    for (unsigned i = 0; i < N; i++) {
        double s = 0;
        for (unsigned j = 0; j < N; j++)
            s += (transposed ? element(j, i) : element(i, j)) * in[j];
        out[i] = s;
    }
}

PERF_KERNEL(env)
{
    double *u = perf_alloc(env, N * sizeof *u), *v = perf_alloc(env, N * sizeof *v);
    double *t = perf_alloc(env, N * sizeof *t), uv = 0, vv = 0;
    for (unsigned i = 0; i < N; i++)
        u[i] = 1;
    for (unsigned round = 0; round < ROUNDS; round++) {
        apply(t, u, 0), apply(v, t, 1);
        apply(t, v, 0), apply(u, t, 1);
        for (unsigned i = 0; i < N; i++) /* keeps the iteration in range */
            u[i] /= v[0], t[i] = v[i] / v[0];
    }
    for (unsigned i = 0; i < N; i++) {
        uv += u[i] * t[i];
        vv += t[i] * t[i];
    }
    return perf_bits(__builtin_sqrt(uv / vv));
}
