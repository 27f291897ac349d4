/* Vector floating point (V 13, 14.3, 14.4): softfloat.h over elements, rounded by frm; its slides and moves.
 * Plain arithmetic is the host's where it can be (vec_fphost.h); if a NaN comes out, all is done again exactly.
 *
 * Elements are 32 or 64 bits. A bad frm makes every one of these instructions illegal (V 13). Sources are a (vs2),
 * b (vs1 or f[rs1]) and d (vd). Only active elements are computed: the others raise no flags. */
#include "softfloat.h"
#include "vec.h"
#include "vec_fphost.h"

#define EXEC(_op, _call)                                                                           \
    enum rv_exec exec_##_op(struct rv_hart *h, const struct rv_insn *i)                            \
    {                                                                                              \
        return _call;                                                                              \
    }

/* out = f(a, b, d) for the active elements of [vstart, vl). */
typedef void (*fp_kernel)(const struct vec *c, void *out, const void *a, const void *b, const void *d,
                          enum sf_round rm, unsigned *flags);

/* By element type: [0] 32 bits, [1] 64; of widening and narrowing ones there is only the first. */
struct fp_kernels {
    fp_kernel k[2];
    enum vec_fphost host;
};

static bool fp_size_ok(const struct rv_hart *h, unsigned size)
{
    return (size == VEC_32) || (size == VEC_64 && rv_isa_has(&h->isa, RV_EXT_ZVE64D));
}

/* vtype and frm allow floating point at all. */
static bool fp_begin(struct vec *c, struct rv_hart *h, const struct rv_insn *i)
{
    return vec_begin(c, h, i) && h->frm <= SF_RMM;
}

static void note_flags(struct rv_hart *h, unsigned flags)
{
    if (!flags)
        return;
    h->fflags |= (uint8_t)flags;
    h->fs_dirty = 1;
}

static uint64_t scalar(const struct vec *c, unsigned size)
{
    uint64_t f = c->h->f[c->i->rs1];

    return size == VEC_32 ? sf_unbox(f) : f;
}

/* vs1's group, or buf filled with f[rs1]. */
static const void *fp_operand(const struct vec *c, bool vector, union vec_buf *buf)
{
    if (vector)
        return vec_reg(c->h, c->i->rs1);
    vec_splat(buf, scalar(c, c->sew), c->sew, c->vl);
    return buf;
}

/* --- shapes --- */

static bool same_size(const struct vec *c, bool vector)
{
    return vec_not_mask(c, c->i->rd) && vec_aligned(c->i->rd, c->lmul) && vec_source_ok(c, c->i->rs2, c->lmul) &&
           (!vector || vec_source_ok(c, c->i->rs1, c->lmul));
}

static enum rv_exec compute(const struct vec *c, bool vector, fp_kernel kernel, enum vec_fphost host, unsigned out_size)
{
    union vec_buf out, operand;
    struct rv_hart *h = c->h;
    const void *a = vec_reg(h, c->i->rs2), *b = fp_operand(c, vector, &operand), *d = vec_reg(h, c->i->rd);
    enum sf_round rm = (enum sf_round)h->frm;
    unsigned flags = 0;
    bool nan;

    if (!host || !vec_fphost(host, c->sew, c, &out, a, b, d, rm, &flags, &nan) || nan) {
        flags = 0;
        kernel(c, &out, a, b, d, rm, &flags);
    }
    vec_merge(c, c->i->rd, &out, out_size);
    note_flags(h, flags);
    return vec_end(h);
}

static enum rv_exec single(struct rv_hart *h, const struct rv_insn *i, bool vector, struct fp_kernels kernels)
{
    struct vec c;

    if (!fp_begin(&c, h, i) || !fp_size_ok(h, c.sew) || !same_size(&c, vector))
        return rv_illegal(h, i);
    return compute(&c, vector, kernels.k[c.sew - VEC_32], kernels.host, c.sew);
}

/* vs1 is no register but part of the opcode. */
static enum rv_exec unary(struct rv_hart *h, const struct rv_insn *i, struct fp_kernels kernels)
{
    return single(h, i, false, kernels);
}

/* vd of 64 bits, the sources of 32. */
static enum rv_exec widening(struct rv_hart *h, const struct rv_insn *i, bool vector, enum vec_wide wide,
                             fp_kernel kernel, enum vec_fphost host)
{
    struct vec c;

    if (!fp_begin(&c, h, i) || c.sew != VEC_32 || !fp_size_ok(h, VEC_64) || !vec_wide_destination(&c) ||
        !vec_wide_sources(&c, vector, wide))
        return rv_illegal(h, i);
    return compute(&c, vector, kernel, host, VEC_64);
}

/* The floating-point side of a conversion between sizes has fp_size, the narrow side sew. */
static enum rv_exec convert_wider(struct rv_hart *h, const struct rv_insn *i, unsigned sew, unsigned fp_size,
                                  fp_kernel kernel)
{
    struct vec c;

    if (!fp_begin(&c, h, i) || c.sew != sew || !fp_size_ok(h, fp_size) || !vec_wide_destination(&c) ||
        !vec_narrow_source(&c, i->rs2))
        return rv_illegal(h, i);
    return compute(&c, false, kernel, VEC_HOST_NONE, sew + 1);
}

static enum rv_exec convert_narrower(struct rv_hart *h, const struct rv_insn *i, unsigned sew, unsigned fp_size,
                                     fp_kernel kernel)
{
    struct vec c;

    if (!fp_begin(&c, h, i) || c.sew != sew || !fp_size_ok(h, fp_size) || !vec_can_narrow(&c, VEC_VX))
        return rv_illegal(h, i);
    return compute(&c, false, kernel, VEC_HOST_NONE, sew);
}

static bool size_is(const struct rv_hart *h, unsigned sew)
{
    return (h->vtype >> 3 & 7) == sew;
}

/* --- kernels: expressions over A, B, D, rm and flags --- */

#define KERNEL(_name, _out, _a, _b, _d, _expr)                                                     \
    static void _name(const struct vec *c, void *out, const void *pa, const void *pb,              \
                      const void *pd, enum sf_round rm, unsigned *flags)                           \
    {                                                                                              \
        (void)pb, (void)pd, (void)rm, (void)flags;                                                 \
        VEC_FOR (c, n) {                                                                           \
            _a A = ((const _a *)pa)[n];                                                            \
            SIM_UNUSED _b B = ((const _b *)pb)[n];                                                 \
            SIM_UNUSED _d D = ((const _d *)pd)[n];                                                 \
            ((_out *)out)[n] = (_out)(_expr);                                                      \
        }                                                                                          \
    }
/* _expr(bits, uint, sign bit) */
#define BOTH(_name, _expr) BOTH_HOST(_name, _expr, NONE)
#define BOTH_HOST(_name, _expr, _host)                                                             \
    KERNEL(_name##_32, uint32_t, uint32_t, uint32_t, uint32_t, _expr(32, 0x80000000u))             \
    KERNEL(_name##_64, uint64_t, uint64_t, uint64_t, uint64_t, _expr(64, 1ull << 63))              \
    static const struct fp_kernels _name = {{_name##_32, _name##_64}, VEC_HOST_##_host};

#define EXEC_VV(_op, _kernels) EXEC(_op##_vv, single(h, i, true, _kernels))
#define EXEC_VF(_op, _kernels) EXEC(_op##_vf, single(h, i, false, _kernels))
#define EXEC_VV_VF(_op, _kernels) EXEC_VV(_op, _kernels) EXEC_VF(_op, _kernels)

#define ADD(N, S) sf##N##_add(A, B, rm, flags)
#define SUB(N, S) sf##N##_sub(A, B, rm, flags)
#define RSUB(N, S) sf##N##_sub(B, A, rm, flags)
#define MUL(N, S) sf##N##_mul(A, B, rm, flags)
#define DIV(N, S) sf##N##_div(A, B, rm, flags)
#define RDIV(N, S) sf##N##_div(B, A, rm, flags)
#define SQRT(N, S) sf##N##_sqrt(A, rm, flags)
#define MIN(N, S) sf##N##_min(A, B, flags)
#define MAX(N, S) sf##N##_max(A, B, flags)
#define SGNJ(N, S) (A & ~(S)) | (B & (S))
#define SGNJN(N, S) (A & ~(S)) | (~B & (S))
#define SGNJX(N, S) A ^ (B & (S))
#define CLASS(N, S) sf##N##_class(A)
BOTH_HOST(k_add, ADD, ADD)
BOTH_HOST(k_sub, SUB, SUB)
BOTH_HOST(k_rsub, RSUB, RSUB)
BOTH_HOST(k_mul, MUL, MUL)
BOTH_HOST(k_div, DIV, DIV)
BOTH_HOST(k_rdiv, RDIV, RDIV)
BOTH_HOST(k_sqrt, SQRT, SQRT)
BOTH(k_min, MIN)
BOTH(k_max, MAX)
BOTH(k_sgnj, SGNJ)
BOTH(k_sgnjn, SGNJN)
BOTH(k_sgnjx, SGNJX)
BOTH(k_class, CLASS)
EXEC_VV_VF(vfadd, k_add)
EXEC_VV_VF(vfsub, k_sub)
EXEC_VF(vfrsub, k_rsub)
EXEC_VV_VF(vfmul, k_mul)
EXEC_VV_VF(vfdiv, k_div)
EXEC_VF(vfrdiv, k_rdiv)
EXEC_VV_VF(vfmin, k_min)
EXEC_VV_VF(vfmax, k_max)
EXEC_VV_VF(vfsgnj, k_sgnj)
EXEC_VV_VF(vfsgnjn, k_sgnjn)
EXEC_VV_VF(vfsgnjx, k_sgnjx)
EXEC(vfsqrt_v, unary(h, i, k_sqrt))
EXEC(vfclass_v, unary(h, i, k_class))

/* acc: the product of the sources and vd; add: vs2 is what is added, vd a factor */
#define MACC(N, S) sf##N##_fma(A, B, D, rm, flags)
#define NMACC(N, S) sf##N##_fma(A ^ (S), B, D ^ (S), rm, flags)
#define MSAC(N, S) sf##N##_fma(A, B, D ^ (S), rm, flags)
#define NMSAC(N, S) sf##N##_fma(A ^ (S), B, D, rm, flags)
#define MADD(N, S) sf##N##_fma(D, B, A, rm, flags)
#define NMADD(N, S) sf##N##_fma(D ^ (S), B, A ^ (S), rm, flags)
#define MSUB(N, S) sf##N##_fma(D, B, A ^ (S), rm, flags)
#define NMSUB(N, S) sf##N##_fma(D ^ (S), B, A, rm, flags)
BOTH_HOST(k_macc, MACC, MACC)
BOTH_HOST(k_nmacc, NMACC, NMACC)
BOTH_HOST(k_msac, MSAC, MSAC)
BOTH_HOST(k_nmsac, NMSAC, NMSAC)
BOTH_HOST(k_madd, MADD, MADD)
BOTH_HOST(k_nmadd, NMADD, NMADD)
BOTH_HOST(k_msub, MSUB, MSUB)
BOTH_HOST(k_nmsub, NMSUB, NMSUB)
EXEC_VV_VF(vfmacc, k_macc)
EXEC_VV_VF(vfnmacc, k_nmacc)
EXEC_VV_VF(vfmsac, k_msac)
EXEC_VV_VF(vfnmsac, k_nmsac)
EXEC_VV_VF(vfmadd, k_madd)
EXEC_VV_VF(vfnmadd, k_nmadd)
EXEC_VV_VF(vfmsub, k_msub)
EXEC_VV_VF(vfnmsub, k_nmsub)

/* Widening to 64 bits is exact, so what follows rounds once. */
#define A64 sf32_to_f64(A, flags)
#define B64 sf32_to_f64(B, flags)
#define SIGN64 (1ull << 63)
#define WIDE(_name, _a, _expr) KERNEL(_name, uint64_t, _a, uint32_t, uint64_t, _expr)
WIDE(k_wadd, uint32_t, sf64_add(A64, B64, rm, flags))
WIDE(k_wsub, uint32_t, sf64_sub(A64, B64, rm, flags))
WIDE(k_wadd_w, uint64_t, sf64_add(A, B64, rm, flags))
WIDE(k_wsub_w, uint64_t, sf64_sub(A, B64, rm, flags))
WIDE(k_wmul, uint32_t, sf64_mul(A64, B64, rm, flags))
WIDE(k_wmacc, uint32_t, sf64_fma(A64, B64, D, rm, flags))
WIDE(k_wnmacc, uint32_t, sf64_fma(A64 ^ SIGN64, B64, D ^ SIGN64, rm, flags))
WIDE(k_wmsac, uint32_t, sf64_fma(A64, B64, D ^ SIGN64, rm, flags))
WIDE(k_wnmsac, uint32_t, sf64_fma(A64 ^ SIGN64, B64, D, rm, flags))
#define EXEC_WIDE(_op, _wide, _kernel, _host)                                                      \
    EXEC(_op##_vv, widening(h, i, true, _wide, _kernel, VEC_HOST_##_host))                         \
    EXEC(_op##_vf, widening(h, i, false, _wide, _kernel, VEC_HOST_##_host))
#define EXEC_WIDE_A(_op, _kernel, _host)                                                           \
    EXEC(_op##_wv, widening(h, i, true, WIDE_A, _kernel, VEC_HOST_##_host))                        \
    EXEC(_op##_wf, widening(h, i, false, WIDE_A, _kernel, VEC_HOST_##_host))
EXEC_WIDE(vfwadd, WIDE_NONE, k_wadd, WADD)
EXEC_WIDE(vfwsub, WIDE_NONE, k_wsub, WSUB)
EXEC_WIDE_A(vfwadd, k_wadd_w, WADD_W)
EXEC_WIDE_A(vfwsub, k_wsub_w, WSUB_W)
EXEC_WIDE(vfwmul, WIDE_NONE, k_wmul, WMUL)
EXEC_WIDE(vfwmacc, WIDE_D, k_wmacc, WMACC)
EXEC_WIDE(vfwnmacc, WIDE_D, k_wnmacc, WNMACC)
EXEC_WIDE(vfwmsac, WIDE_D, k_wmsac, WMSAC)
EXEC_WIDE(vfwnmsac, WIDE_D, k_wnmsac, WNMSAC)

/* --- conversions --- */

#define TO_XU(N, S) sf##N##_to_u##N(A, rm, flags)
#define TO_X(N, S) sf##N##_to_i##N(A, rm, flags)
#define TO_XU_RTZ(N, S) sf##N##_to_u##N(A, SF_RTZ, flags)
#define TO_X_RTZ(N, S) sf##N##_to_i##N(A, SF_RTZ, flags)
#define FROM_XU(N, S) sf##N##_from_u##N(A, rm, flags)
#define FROM_X(N, S) sf##N##_from_i##N((int##N##_t)A, rm, flags)
BOTH(k_to_xu, TO_XU)
BOTH(k_to_x, TO_X)
BOTH(k_to_xu_rtz, TO_XU_RTZ)
BOTH(k_to_x_rtz, TO_X_RTZ)
BOTH(k_from_xu, FROM_XU)
BOTH(k_from_x, FROM_X)
EXEC(vfcvt_xu_f_v, unary(h, i, k_to_xu))
EXEC(vfcvt_x_f_v, unary(h, i, k_to_x))
EXEC(vfcvt_rtz_xu_f_v, unary(h, i, k_to_xu_rtz))
EXEC(vfcvt_rtz_x_f_v, unary(h, i, k_to_x_rtz))
EXEC(vfcvt_f_xu_v, unary(h, i, k_from_xu))
EXEC(vfcvt_f_x_v, unary(h, i, k_from_x))

#define CONVERT(_name, _out, _a, _expr) KERNEL(_name, _out, _a, uint8_t, uint8_t, _expr)
CONVERT(k_w_xu, uint64_t, uint32_t, sf32_to_u64(A, rm, flags))
CONVERT(k_w_x, uint64_t, uint32_t, sf32_to_i64(A, rm, flags))
CONVERT(k_w_xu_rtz, uint64_t, uint32_t, sf32_to_u64(A, SF_RTZ, flags))
CONVERT(k_w_x_rtz, uint64_t, uint32_t, sf32_to_i64(A, SF_RTZ, flags))
CONVERT(k_w_f, uint64_t, uint32_t, sf32_to_f64(A, flags))
CONVERT(k_w_from_u16, uint32_t, uint16_t, sf32_from_u32(A, rm, flags))
CONVERT(k_w_from_i16, uint32_t, int16_t, sf32_from_i32(A, rm, flags))
CONVERT(k_w_from_u32, uint64_t, uint32_t, sf64_from_u32(A, rm, flags))
CONVERT(k_w_from_i32, uint64_t, int32_t, sf64_from_i32(A, rm, flags))
EXEC(vfwcvt_xu_f_v, convert_wider(h, i, VEC_32, VEC_32, k_w_xu))
EXEC(vfwcvt_x_f_v, convert_wider(h, i, VEC_32, VEC_32, k_w_x))
EXEC(vfwcvt_rtz_xu_f_v, convert_wider(h, i, VEC_32, VEC_32, k_w_xu_rtz))
EXEC(vfwcvt_rtz_x_f_v, convert_wider(h, i, VEC_32, VEC_32, k_w_x_rtz))
EXEC(vfwcvt_f_f_v, convert_wider(h, i, VEC_32, VEC_64, k_w_f))
EXEC(vfwcvt_f_xu_v, size_is(h, VEC_16) ? convert_wider(h, i, VEC_16, VEC_32, k_w_from_u16)
                                       : convert_wider(h, i, VEC_32, VEC_64, k_w_from_u32))
EXEC(vfwcvt_f_x_v, size_is(h, VEC_16) ? convert_wider(h, i, VEC_16, VEC_32, k_w_from_i16)
                                      : convert_wider(h, i, VEC_32, VEC_64, k_w_from_i32))

/* To 16 bits: what does not fit raises the invalid flag alone. */
static int64_t to_16(uint32_t a, int64_t min, int64_t max, enum sf_round rm, unsigned *flags)
{
    unsigned raised = 0;
    int64_t v = sf32_to_i64(a, rm, &raised);

    if (v >= min && v <= max && !(raised & SF_NV)) {
        *flags |= raised;
        return v;
    }
    *flags |= SF_NV;
    return v < min ? min : max;
}

/* Towards zero, and the last bit set when that was not exact: rounding again later is then as rounding once. */
static uint32_t to_f32_odd(uint64_t a, unsigned *flags)
{
    unsigned raised = 0;
    uint32_t v = sf64_to_f32(a, SF_RTZ, &raised);

    *flags |= raised;
    return raised & SF_NX ? v | 1 : v;
}

CONVERT(k_n_xu_16, uint16_t, uint32_t, to_16(A, 0, UINT16_MAX, rm, flags))
CONVERT(k_n_x_16, uint16_t, uint32_t, to_16(A, INT16_MIN, INT16_MAX, rm, flags))
CONVERT(k_n_xu_16_rtz, uint16_t, uint32_t, to_16(A, 0, UINT16_MAX, SF_RTZ, flags))
CONVERT(k_n_x_16_rtz, uint16_t, uint32_t, to_16(A, INT16_MIN, INT16_MAX, SF_RTZ, flags))
CONVERT(k_n_xu_32, uint32_t, uint64_t, sf64_to_u32(A, rm, flags))
CONVERT(k_n_x_32, uint32_t, uint64_t, sf64_to_i32(A, rm, flags))
CONVERT(k_n_xu_32_rtz, uint32_t, uint64_t, sf64_to_u32(A, SF_RTZ, flags))
CONVERT(k_n_x_32_rtz, uint32_t, uint64_t, sf64_to_i32(A, SF_RTZ, flags))
CONVERT(k_n_from_xu, uint32_t, uint64_t, sf32_from_u64(A, rm, flags))
CONVERT(k_n_from_x, uint32_t, int64_t, sf32_from_i64(A, rm, flags))
CONVERT(k_n_f, uint32_t, uint64_t, sf64_to_f32(A, rm, flags))
CONVERT(k_n_f_odd, uint32_t, uint64_t, to_f32_odd(A, flags))
#define EXEC_TO_INT(_op, _kernel_16, _kernel_32)                                                   \
    EXEC(_op, size_is(h, VEC_16) ? convert_narrower(h, i, VEC_16, VEC_32, _kernel_16)              \
                                 : convert_narrower(h, i, VEC_32, VEC_64, _kernel_32))
EXEC_TO_INT(vfncvt_xu_f_w, k_n_xu_16, k_n_xu_32)
EXEC_TO_INT(vfncvt_x_f_w, k_n_x_16, k_n_x_32)
EXEC_TO_INT(vfncvt_rtz_xu_f_w, k_n_xu_16_rtz, k_n_xu_32_rtz)
EXEC_TO_INT(vfncvt_rtz_x_f_w, k_n_x_16_rtz, k_n_x_32_rtz)
EXEC(vfncvt_f_xu_w, convert_narrower(h, i, VEC_32, VEC_32, k_n_from_xu))
EXEC(vfncvt_f_x_w, convert_narrower(h, i, VEC_32, VEC_32, k_n_from_x))
EXEC(vfncvt_f_f_w, convert_narrower(h, i, VEC_32, VEC_64, k_n_f))
EXEC(vfncvt_rod_f_f_w, convert_narrower(h, i, VEC_32, VEC_64, k_n_f_odd))

/* --- estimates to 7 bits (V 13.9, 13.10): tables by leading bits of the significand --- */

/* ((2 / x) - 1) * 128 for the middle of each of 128 parts of [1, 2) */
static const uint8_t recip_table[128] = {
    127, 125, 123, 121, 119, 117, 116, 114, 112, 110, 109, 107, 105, 104, 102, 100, 99, 97, 96, 94, 93, 91,
    90, 88, 87, 85, 84, 83, 81, 80, 79, 77, 76, 75, 74, 72, 71, 70, 69, 68, 66, 65, 64, 63,
    62, 61, 60, 59, 58, 57, 56, 55, 54, 53, 52, 51, 50, 49, 48, 47, 46, 45, 44, 43, 42, 41,
    40, 40, 39, 38, 37, 36, 35, 35, 34, 33, 32, 31, 31, 30, 29, 28, 28, 27, 26, 25, 25, 24,
    23, 23, 22, 21, 21, 20, 19, 19, 18, 17, 17, 16, 15, 15, 14, 14, 13, 12, 12, 11, 11, 10,
    9, 9, 8, 8, 7, 7, 6, 5, 5, 4, 4, 3, 3, 2, 2, 1, 1, 0,
};
/* ((2 / sqrt(x)) - 1) * 128 for the middle of each of 64 parts of [2, 4), then of [1, 2) */
static const uint8_t rsqrt_table[128] = {
    52, 51, 50, 48, 47, 46, 44, 43, 42, 41, 40, 39, 38, 36, 35, 34, 33, 32, 31, 30, 30, 29,
    28, 27, 26, 25, 24, 23, 23, 22, 21, 20, 19, 19, 18, 17, 16, 16, 15, 14, 14, 13, 12, 12,
    11, 10, 10, 9, 9, 8, 7, 7, 6, 6, 5, 4, 4, 3, 3, 2, 2, 1, 1, 0, 127, 125,
    123, 121, 119, 118, 116, 114, 113, 111, 109, 108, 106, 105, 103, 102, 100, 99, 97, 96, 95, 93, 92, 91,
    90, 88, 87, 86, 85, 84, 83, 82, 80, 79, 78, 77, 76, 75, 74, 73, 72, 71, 70, 70, 69, 68,
    67, 66, 65, 64, 63, 63, 62, 61, 60, 59, 59, 58, 57, 56, 56, 55, 54, 53,
};

struct fp_format {
    unsigned exp_bits, frac_bits;
};
static const struct fp_format format_32 = {8, 23}, format_64 = {11, 52};

struct parts {
    bool sign;
    int64_t exp; /* biased; below 0 after normalising a subnormal */
    uint64_t frac;
};

static struct parts take_apart(const struct fp_format *f, uint64_t bits)
{
    struct parts p = {.sign = bits >> (f->exp_bits + f->frac_bits) & 1,
                      .exp = (int64_t)(bits >> f->frac_bits & ((1u << f->exp_bits) - 1)),
                      .frac = bits & ((1ull << f->frac_bits) - 1)};

    if (p.exp || !p.frac)
        return p;
    for (; !(p.frac >> (f->frac_bits - 1)); p.frac <<= 1)
        p.exp--;
    p.frac = p.frac << 1 & ((1ull << f->frac_bits) - 1);
    return p;
}

static uint64_t put_together(const struct fp_format *f, bool sign, uint64_t exp, uint64_t frac)
{
    return (uint64_t)sign << (f->exp_bits + f->frac_bits) | exp << f->frac_bits | frac;
}

static uint64_t exp_max(const struct fp_format *f)
{
    return (1u << f->exp_bits) - 1;
}

static uint64_t quiet_nan(const struct fp_format *f)
{
    return put_together(f, false, exp_max(f), 1ull << (f->frac_bits - 1));
}

/* Of fclass */
enum { NEG_INF = 1 << 0, NEG_ZERO = 1 << 3, POS_ZERO = 1 << 4, POS_INF = 1 << 7, SNAN = 1 << 8, QNAN = 1 << 9 };
enum { NEGATIVE = NEG_INF | 1 << 1 | 1 << 2 };

static uint64_t estimate_rsqrt(const struct fp_format *f, uint64_t bits, unsigned class, unsigned *flags)
{
    if (class & (NEGATIVE | SNAN)) {
        *flags |= SF_NV;
        return quiet_nan(f);
    }
    if (class & QNAN)
        return quiet_nan(f);
    if (class & POS_INF)
        return 0;
    if (class & (NEG_ZERO | POS_ZERO)) {
        *flags |= SF_DZ;
        return put_together(f, class == NEG_ZERO, exp_max(f), 0);
    }
    struct parts p = take_apart(f, bits);
    unsigned index = (unsigned)((p.exp & 1) << 6 | (int64_t)(p.frac >> (f->frac_bits - 6)));
    int64_t bias = (int64_t)(exp_max(f) >> 1);

    return put_together(f, false, (uint64_t)((3 * bias - 1 - p.exp) / 2),
                        (uint64_t)rsqrt_table[index] << (f->frac_bits - 7));
}

/* The reciprocal of a number below 2^-(bias + 1) is too large: an infinity, or by rm the largest number. */
static uint64_t recip_overflow(const struct fp_format *f, bool sign, enum sf_round rm, unsigned *flags)
{
    *flags |= SF_OF | SF_NX;
    if (rm == SF_RTZ || (rm == SF_RDN && !sign) || (rm == SF_RUP && sign))
        return put_together(f, sign, exp_max(f) - 1, (1ull << f->frac_bits) - 1);
    return put_together(f, sign, exp_max(f), 0);
}

static uint64_t estimate_recip(const struct fp_format *f, uint64_t bits, unsigned class, enum sf_round rm,
                               unsigned *flags)
{
    struct parts p = take_apart(f, bits);

    if (class & (SNAN | QNAN)) {
        *flags |= class & SNAN ? SF_NV : 0u;
        return quiet_nan(f);
    }
    if (class & (NEG_INF | POS_INF))
        return put_together(f, p.sign, 0, 0);
    if (class & (NEG_ZERO | POS_ZERO)) {
        *flags |= SF_DZ;
        return put_together(f, p.sign, exp_max(f), 0);
    }
    if (p.exp < -1)
        return recip_overflow(f, p.sign, rm, flags);
    int64_t exp = (int64_t)exp_max(f) - 2 - p.exp; /* 2 * bias - 1 - exp */
    uint64_t frac = (uint64_t)recip_table[p.frac >> (f->frac_bits - 7)] << (f->frac_bits - 7);
    if (exp <= 0) { /* subnormal: the leading one becomes part of the fraction */
        frac = (frac >> 1 | 1ull << (f->frac_bits - 1)) >> -exp;
        exp = 0;
    }
    return put_together(f, p.sign, (uint64_t)exp, frac);
}

#define RSQRT(N, S) estimate_rsqrt(&format_##N, A, sf##N##_class(A), flags)
#define RECIP(N, S) estimate_recip(&format_##N, A, sf##N##_class(A), rm, flags)
BOTH(k_rsqrt7, RSQRT)
BOTH(k_rec7, RECIP)
EXEC(vfrsqrt7_v, unary(h, i, k_rsqrt7))
EXEC(vfrec7_v, unary(h, i, k_rec7))

/* --- comparisons: a mask in vd, which may be v0 --- */

typedef void (*fp_test)(const struct vec *c, uint8_t *out, const void *a, const void *b, unsigned *flags);

struct fp_tests {
    fp_test t[2];
};

#define TEST(_name, _t, _expr)                                                                     \
    static void _name(const struct vec *c, uint8_t *out, const void *pa, const void *pb,           \
                      unsigned *flags)                                                             \
    {                                                                                              \
        VEC_FOR (c, n) {                                                                           \
            _t A = ((const _t *)pa)[n], B = ((const _t *)pb)[n];                                   \
            out[n] = (_expr);                                                                      \
        }                                                                                          \
    }
#define TESTS(_name, _expr)                                                                        \
    TEST(_name##_32, uint32_t, _expr(32))                                                          \
    TEST(_name##_64, uint64_t, _expr(64))                                                          \
    static const struct fp_tests _name = {{_name##_32, _name##_64}};

static enum rv_exec compare(struct rv_hart *h, const struct rv_insn *i, bool vector, struct fp_tests tests)
{
    union vec_buf out, operand;
    unsigned flags = 0;
    struct vec c;

    if (!fp_begin(&c, h, i) || !fp_size_ok(h, c.sew) || !vec_mask_source_ok(&c, i->rs2) ||
        (vector && !vec_mask_source_ok(&c, i->rs1)))
        return rv_illegal(h, i);
    tests.t[c.sew - VEC_32](&c, out.b, vec_reg(h, i->rs2), fp_operand(&c, vector, &operand), &flags);
    vec_merge_mask(&c, i->rd, out.b);
    note_flags(h, flags);
    return vec_end(h);
}

#define EQ(N) sf##N##_eq(A, B, flags)
#define NE(N) !sf##N##_eq(A, B, flags)
#define LT(N) sf##N##_lt(A, B, flags)
#define LE(N) sf##N##_le(A, B, flags)
#define GT(N) sf##N##_lt(B, A, flags)
#define GE(N) sf##N##_le(B, A, flags)
TESTS(t_eq, EQ)
TESTS(t_ne, NE)
TESTS(t_lt, LT)
TESTS(t_le, LE)
TESTS(t_gt, GT)
TESTS(t_ge, GE)
EXEC(vmfeq_vv, compare(h, i, true, t_eq))
EXEC(vmfeq_vf, compare(h, i, false, t_eq))
EXEC(vmfne_vv, compare(h, i, true, t_ne))
EXEC(vmfne_vf, compare(h, i, false, t_ne))
EXEC(vmflt_vv, compare(h, i, true, t_lt))
EXEC(vmflt_vf, compare(h, i, false, t_lt))
EXEC(vmfle_vv, compare(h, i, true, t_le))
EXEC(vmfle_vf, compare(h, i, false, t_le))
EXEC(vmfgt_vf, compare(h, i, false, t_gt))
EXEC(vmfge_vf, compare(h, i, false, t_ge))

/* --- reductions: in order of elements, the unordered ones too --- */

typedef uint64_t (*fp_fold)(uint64_t acc, uint64_t a, enum sf_round rm, unsigned *flags);

#define FOLD(_name, _expr)                                                                         \
    static uint64_t _name(uint64_t acc, uint64_t a, enum sf_round rm, unsigned *flags)             \
    {                                                                                              \
        (void)rm;                                                                                  \
        return _expr;                                                                              \
    }
#define FOLD32(_name, _fn, ...)                                                                    \
    FOLD(_name##_32, sf32_##_fn((uint32_t)acc, (uint32_t)a, __VA_ARGS__))                          \
    FOLD(_name##_64, sf64_##_fn(acc, a, __VA_ARGS__))                                              \
    static const fp_fold _name[2] = {_name##_32, _name##_64};
FOLD32(f_add, add, rm, flags)
FOLD32(f_min, min, flags)
FOLD32(f_max, max, flags)
FOLD(f_wadd_32, sf64_add(acc, sf32_to_f64((uint32_t)a, flags), rm, flags))
static const fp_fold f_wadd[2] = {f_wadd_32, NULL};

static enum rv_exec reduce(struct rv_hart *h, const struct rv_insn *i, unsigned wider, const fp_fold folds[2])
{
    unsigned flags = 0;
    struct vec c;

    if (!fp_begin(&c, h, i) || c.start || !fp_size_ok(h, c.sew) || !vec_aligned(i->rs2, c.lmul) ||
        (wider && (c.sew != VEC_32 || !fp_size_ok(h, VEC_64))))
        return rv_illegal(h, i);
    const void *a = vec_reg(h, i->rs2);
    uint64_t first = vec_get(vec_reg(h, i->rs1), 0, c.sew + wider), acc = first;
    enum sf_round rm = (enum sf_round)h->frm;
    bool nan;
    if (folds != f_add || !vec_fphost_sum(c.sew, &c, a, &acc, rm, &flags, &nan) || nan) {
        flags = 0;
        acc = first;
        VEC_FOR (&c, n)
            acc = folds[c.sew - VEC_32](acc, vec_get(a, n, c.sew), rm, &flags);
    }
    if (c.vl)
        vec_put(vec_reg(h, i->rd), 0, c.sew + wider, acc);
    note_flags(h, flags);
    return vec_end(h);
}

EXEC(vfredusum_vs, reduce(h, i, 0, f_add))
EXEC(vfredosum_vs, reduce(h, i, 0, f_add))
EXEC(vfredmin_vs, reduce(h, i, 0, f_min))
EXEC(vfredmax_vs, reduce(h, i, 0, f_max))
EXEC(vfwredusum_vs, reduce(h, i, 1, f_wadd))
EXEC(vfwredosum_vs, reduce(h, i, 1, f_wadd))

/* --- moves --- */

/* v0 chooses the scalar; vfmv.v.f is the same with nothing to choose. */
static enum rv_exec choose(struct rv_hart *h, const struct rv_insn *i)
{
    union vec_buf out;
    struct vec c;

    if (!fp_begin(&c, h, i) || !fp_size_ok(h, c.sew) || !same_size(&c, false))
        return rv_illegal(h, i);
    vec_splat(&out, scalar(&c, c.sew), c.sew, c.vl);
    if (!c.all) {
        const void *a = vec_reg(h, i->rs2);
        for (unsigned n = 0; n < c.vl; n++)
            if (!vec_bit(c.v0, n))
                vec_put(&out, n, c.sew, vec_get(a, n, c.sew));
        c.all = true;
    }
    vec_merge(&c, i->rd, &out, c.sew);
    return vec_end(h);
}

EXEC(vfmerge_vfm, choose(h, i))
EXEC(vfmv_v_f, choose(h, i))

enum rv_exec exec_vfmv_f_s(struct rv_hart *h, const struct rv_insn *i)
{
    struct vec c;

    if (!fp_begin(&c, h, i) || !fp_size_ok(h, c.sew))
        return rv_illegal(h, i);
    uint64_t value = vec_get(vec_reg(h, i->rs2), 0, c.sew);
    h->f[i->rd] = c.sew == VEC_32 ? sf_box((uint32_t)value) : value;
    h->fs_dirty = 1;
    return vec_end(h);
}

enum rv_exec exec_vfmv_s_f(struct rv_hart *h, const struct rv_insn *i)
{
    struct vec c;

    if (!fp_begin(&c, h, i) || !fp_size_ok(h, c.sew))
        return rv_illegal(h, i);
    if (c.start < c.vl)
        vec_put(vec_reg(h, i->rd), 0, c.sew, scalar(&c, c.sew));
    return vec_end(h);
}

static enum rv_exec slide_1_f(struct rv_hart *h, const struct rv_insn *i, bool up)
{
    struct vec c;

    if (!fp_begin(&c, h, i) || !fp_size_ok(h, c.sew))
        return rv_illegal(h, i);
    return vec_slide_1(&c, up, scalar(&c, c.sew));
}

EXEC(vfslide1up_vf, slide_1_f(h, i, true))
EXEC(vfslide1down_vf, slide_1_f(h, i, false))
