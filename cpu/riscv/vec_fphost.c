/* See vec_fphost.h. Compiled so that no operation is moved, speculated or folded (CMakeLists.txt). */
#include "vec_fphost.h"

#include <math.h>

#include "backend.h"

enum { WORTHWHILE = 2 /* elements */ };

/* *saved: what the caller had. */
static bool begin(uint32_t *saved, const struct vec *c, enum sf_round rm)
{
    if (rm == SF_RMM || c->vl < c->start + WORTHWHILE)
        return false;
    *saved = ir_host_fp_get();
    ir_host_fp_set(ir_host_fp_control(rm));
    return true;
}

static void end(uint32_t saved, unsigned *flags)
{
    *flags |= ir_host_fp_flags(ir_host_fp_get());
    ir_host_fp_set(saved);
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

/* Sources of 32 bits become 64 exactly, the result is rounded once. */
#define WIDE(_name, _a, _expr)                                                                     \
    static bool _name(const struct vec *c, void *out, const void *pa, const void *pb, const void *pd) \
    {                                                                                              \
        VEC_FOR (c, n) {                                                                           \
            double A = (double)((const _a *)pa)[n], B = (double)((const float *)pb)[n];            \
            SIM_UNUSED double D = ((const double *)pd)[n];                                         \
            double r = _expr;                                                                      \
            ((double *)out)[n] = r;                                                                \
            if (SIM_UNLIKELY(isnan(r)))                                                            \
                return true;                                                                       \
        }                                                                                          \
        return false;                                                                              \
    }
WIDE(k_wadd, float, A + B)
WIDE(k_wsub, float, A - B)
WIDE(k_wadd_w, double, A + B)
WIDE(k_wsub_w, double, A - B)
WIDE(k_wmul, float, A *B)
WIDE(k_wmacc, float, fma(A, B, D))
WIDE(k_wnmacc, float, fma(-A, B, -D))
WIDE(k_wmsac, float, fma(A, B, -D))
WIDE(k_wnmsac, float, fma(-A, B, D))

#define ROW(_op, _name) [VEC_HOST_##_op] = {_name##_32, _name##_64}
static const kernel kernels[VEC_HOST_COUNT][2] = {
    ROW(ADD, k_add),     ROW(SUB, k_sub),     ROW(RSUB, k_rsub),   ROW(MUL, k_mul),     ROW(DIV, k_div),
    ROW(RDIV, k_rdiv),   ROW(SQRT, k_sqrt),   ROW(MACC, k_macc),   ROW(NMACC, k_nmacc), ROW(MSAC, k_msac),
    [VEC_HOST_WADD] = {k_wadd, NULL}, [VEC_HOST_WSUB] = {k_wsub, NULL}, [VEC_HOST_WADD_W] = {k_wadd_w, NULL},
    [VEC_HOST_WSUB_W] = {k_wsub_w, NULL}, [VEC_HOST_WMUL] = {k_wmul, NULL}, [VEC_HOST_WMACC] = {k_wmacc, NULL},
    [VEC_HOST_WNMACC] = {k_wnmacc, NULL}, [VEC_HOST_WMSAC] = {k_wmsac, NULL}, [VEC_HOST_WNMSAC] = {k_wnmsac, NULL},
    ROW(NMSAC, k_nmsac), ROW(MADD, k_madd),   ROW(NMADD, k_nmadd), ROW(MSUB, k_msub),   ROW(NMSUB, k_nmsub),
};

bool vec_fphost(enum vec_fphost op, unsigned size, const struct vec *c, void *out, const void *a, const void *b,
                const void *d, enum sf_round rm, unsigned *flags, bool *nan)
{
    kernel k = kernels[op][size - VEC_32];
    uint32_t saved;

    if (!k || !begin(&saved, c, rm))
        return false;
    *nan = k(c, out, a, b, d);
    end(saved, flags);
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
    uint32_t saved;

    if (!begin(&saved, c, rm))
        return false;
    *nan = size == VEC_32 ? sum_32(c, a, acc) : sum_64(c, a, acc);
    end(saved, flags);
    return true;
}
