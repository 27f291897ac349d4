/* See vec_fphost.h. Compiled so that no operation is moved, speculated or folded (CMakeLists.txt). */
#include "vec_fphost.h"

#include <fenv.h>
#include <math.h>

enum { WORTHWHILE = 3 /* elements */ };

static bool begin(fenv_t *env, const struct vec *c, enum sf_round rm)
{
    static const int mode[] = {[SF_RNE] = FE_TONEAREST, [SF_RTZ] = FE_TOWARDZERO, [SF_RDN] = FE_DOWNWARD,
                               [SF_RUP] = FE_UPWARD};

    if (rm == SF_RMM || c->vl < c->start + WORTHWHILE)
        return false;
    feholdexcept(env);
    fesetround(mode[rm]);
    return true;
}

static void end(const fenv_t *env, unsigned *flags)
{
    static const struct {
        int host;
        unsigned guest;
    } map[] = {{FE_INEXACT, SF_NX}, {FE_UNDERFLOW, SF_UF}, {FE_OVERFLOW, SF_OF}, {FE_DIVBYZERO, SF_DZ}, {FE_INVALID, SF_NV}};
    int raised = fetestexcept(FE_ALL_EXCEPT);

    fesetenv(env);
    for (unsigned n = 0; n < SIM_ARRAY_LEN(map); n++)
        *flags |= raised & map[n].host ? map[n].guest : 0;
}

/* True: a result is a NaN. */
typedef bool (*kernel)(const struct vec *c, void *out, const void *a, const void *b, const void *d);

#define KERNEL(_name, _t, _expr)                                                                   \
    static bool _name(const struct vec *c, void *out, const void *pa, const void *pb, const void *pd) \
    {                                                                                              \
        (void)pb, (void)pd;                                                                        \
        VEC_FOR (c, n) {                                                                           \
            _t A = ((const _t *)pa)[n];                                                            \
            SIM_UNUSED _t B = ((const _t *)pb)[n], D = ((const _t *)pd)[n];                        \
            _t r = _expr;                                                                          \
            ((_t *)out)[n] = r;                                                                    \
            if (SIM_UNLIKELY(isnan(r)))                                                            \
                return true;                                                                       \
        }                                                                                          \
        return false;                                                                              \
    }
#define BOTH(_name, _expr32, _expr64)                                                              \
    KERNEL(_name##_32, float, _expr32)                                                             \
    KERNEL(_name##_64, double, _expr64)

BOTH(k_add, A + B, A + B)
BOTH(k_sub, A - B, A - B)
BOTH(k_rsub, B - A, B - A)
BOTH(k_mul, A *B, A *B)
BOTH(k_div, A / B, A / B)
BOTH(k_rdiv, B / A, B / A)
BOTH(k_sqrt, sqrtf(A), sqrt(A))
BOTH(k_macc, fmaf(A, B, D), fma(A, B, D))
BOTH(k_nmacc, fmaf(-A, B, -D), fma(-A, B, -D))
BOTH(k_msac, fmaf(A, B, -D), fma(A, B, -D))
BOTH(k_nmsac, fmaf(-A, B, D), fma(-A, B, D))
BOTH(k_madd, fmaf(D, B, A), fma(D, B, A))
BOTH(k_nmadd, fmaf(-D, B, -A), fma(-D, B, -A))
BOTH(k_msub, fmaf(D, B, -A), fma(D, B, -A))
BOTH(k_nmsub, fmaf(-D, B, A), fma(-D, B, A))

#define ROW(_op, _name) [VEC_HOST_##_op] = {_name##_32, _name##_64}
static const kernel kernels[VEC_HOST_COUNT][2] = {
    ROW(ADD, k_add),     ROW(SUB, k_sub),     ROW(RSUB, k_rsub),   ROW(MUL, k_mul),     ROW(DIV, k_div),
    ROW(RDIV, k_rdiv),   ROW(SQRT, k_sqrt),   ROW(MACC, k_macc),   ROW(NMACC, k_nmacc), ROW(MSAC, k_msac),
    ROW(NMSAC, k_nmsac), ROW(MADD, k_madd),   ROW(NMADD, k_nmadd), ROW(MSUB, k_msub),   ROW(NMSUB, k_nmsub),
};

bool vec_fphost(enum vec_fphost op, unsigned size, const struct vec *c, void *out, const void *a, const void *b,
                const void *d, enum sf_round rm, unsigned *flags, bool *nan)
{
    kernel k = kernels[op][size - VEC_32];
    fenv_t env;

    if (!k || !begin(&env, c, rm))
        return false;
    *nan = k(c, out, a, b, d);
    end(&env, flags);
    return true;
}

static bool sum_32(const struct vec *c, const float *a, uint64_t *acc)
{
    float sum;

    memcpy(&sum, acc, sizeof sum);
    VEC_FOR (c, n)
        sum += a[n];
    *acc = 0;
    memcpy(acc, &sum, sizeof sum);
    return isnan(sum);
}

static bool sum_64(const struct vec *c, const double *a, uint64_t *acc)
{
    double sum;

    memcpy(&sum, acc, sizeof sum);
    VEC_FOR (c, n)
        sum += a[n];
    memcpy(acc, &sum, sizeof sum);
    return isnan(sum);
}

bool vec_fphost_sum(unsigned size, const struct vec *c, const void *a, uint64_t *acc, enum sf_round rm, unsigned *flags,
                    bool *nan)
{
    fenv_t env;

    if (!begin(&env, c, rm))
        return false;
    *nan = size == VEC_32 ? sum_32(c, a, acc) : sum_64(c, a, acc);
    end(&env, flags);
    return true;
}
