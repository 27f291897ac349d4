/* Semantics of F and D: one line an op, values by softfloat.h.
 *
 * Every op is illegal with mstatus.FS Off, and those with an rm field when it (or with rm = 7 frm)
 * names no rounding mode. Singles are read through their NaN box; moves, stores and sign injection
 * copy bits. Whatever writes an f register or a flag makes FS dirty. */
#include "exec.h"
#include "mem.h"
#include "softfloat.h"

#define SIGN32 0x80000000u
#define SIGN64 0x8000000000000000ull

/* The rounding mode of an instruction in *rm; false: the instruction is illegal. */
static inline bool fp_rounding(const struct rv_hart *h, const struct rv_insn *i, enum sf_round *rm)
{
    *rm = (enum sf_round)(i->rm == 7 ? h->frm : i->rm);
    return h->fp_on && *rm <= SF_RMM;
}

static inline enum rv_exec fp_done(struct rv_hart *h, unsigned flags)
{
    if (flags) {
        h->fflags |= (uint8_t)flags;
        h->fs_dirty = 1;
    }
    return RV_NEXT;
}

static inline void set_d(struct rv_hart *h, unsigned rd, uint64_t value)
{
    h->f[rd] = value;
    h->fs_dirty = 1;
}

static inline void set_s(struct rv_hart *h, unsigned rd, uint32_t value)
{
    set_d(h, rd, sf_box(value));
}

/* To x registers: 32-bit results are sign-extended, unsigned ones too. */
static inline void set_w(struct rv_hart *h, unsigned rd, uint32_t value)
{
    rv_set_x(h, rd, (uint64_t)(int32_t)value);
}

static inline void set_x(struct rv_hart *h, unsigned rd, uint64_t value)
{
    rv_set_x(h, rd, value);
}

/* --- loads and stores --- */

static enum rv_exec fp_load(struct rv_hart *h, const struct rv_insn *i, unsigned size)
{
    uint64_t value;

    if (!h->fp_on)
        return rv_illegal(h, i);
    if (!rv_load(h, h->x[i->rs1] + (uint64_t)(int64_t)i->imm, size, &value))
        return RV_TRAP;
    set_d(h, i->rd, size == 4 ? sf_box((uint32_t)value) : value);
    return RV_NEXT;
}

static enum rv_exec fp_store(struct rv_hart *h, const struct rv_insn *i, unsigned size)
{
    if (!h->fp_on)
        return rv_illegal(h, i);
    return rv_store(h, h->x[i->rs1] + (uint64_t)(int64_t)i->imm, size, h->f[i->rs2]) ? RV_NEXT
                                                                                      : RV_TRAP;
}

enum rv_exec exec_flw(struct rv_hart *h, const struct rv_insn *i)
{
    return fp_load(h, i, 4);
}

enum rv_exec exec_fld(struct rv_hart *h, const struct rv_insn *i)
{
    return fp_load(h, i, 8);
}

enum rv_exec exec_fsw(struct rv_hart *h, const struct rv_insn *i)
{
    return fp_store(h, i, 4);
}

enum rv_exec exec_fsd(struct rv_hart *h, const struct rv_insn *i)
{
    return fp_store(h, i, 8);
}

/* --- the rest: value expressions over the operands, rm and &flags --- */

#define S1 sf_unbox(h->f[i->rs1])
#define S2 sf_unbox(h->f[i->rs2])
#define S3 sf_unbox(h->f[i->rs3])
#define D1 h->f[i->rs1]
#define D2 h->f[i->rs2]
#define D3 h->f[i->rs3]
#define X1 h->x[i->rs1]

#define ROUNDED(_op, _set, _value)                                                                 \
    enum rv_exec exec_##_op(struct rv_hart *h, const struct rv_insn *i)                            \
    {                                                                                              \
        enum sf_round rm;                                                                          \
        unsigned flags = 0;                                                                        \
                                                                                                   \
        if (!fp_rounding(h, i, &rm))                                                               \
            return rv_illegal(h, i);                                                               \
        _set(h, i->rd, _value);                                                                    \
        return fp_done(h, flags);                                                                  \
    }

#define EXACT(_op, _set, _value)                                                                   \
    enum rv_exec exec_##_op(struct rv_hart *h, const struct rv_insn *i)                            \
    {                                                                                              \
        unsigned flags = 0;                                                                        \
                                                                                                   \
        if (!h->fp_on)                                                                             \
            return rv_illegal(h, i);                                                               \
        _set(h, i->rd, _value);                                                                    \
        return fp_done(h, flags);                                                                  \
    }

ROUNDED(fadd_s, set_s, sf32_add(S1, S2, rm, &flags))
ROUNDED(fadd_d, set_d, sf64_add(D1, D2, rm, &flags))
ROUNDED(fsub_s, set_s, sf32_sub(S1, S2, rm, &flags))
ROUNDED(fsub_d, set_d, sf64_sub(D1, D2, rm, &flags))
ROUNDED(fmul_s, set_s, sf32_mul(S1, S2, rm, &flags))
ROUNDED(fmul_d, set_d, sf64_mul(D1, D2, rm, &flags))
ROUNDED(fdiv_s, set_s, sf32_div(S1, S2, rm, &flags))
ROUNDED(fdiv_d, set_d, sf64_div(D1, D2, rm, &flags))
ROUNDED(fsqrt_s, set_s, sf32_sqrt(S1, rm, &flags))
ROUNDED(fsqrt_d, set_d, sf64_sqrt(D1, rm, &flags))

/* a*b+c, a*b-c, -(a*b)+c, -(a*b)-c */
ROUNDED(fmadd_s, set_s, sf32_fma(S1, S2, S3, rm, &flags))
ROUNDED(fmadd_d, set_d, sf64_fma(D1, D2, D3, rm, &flags))
ROUNDED(fmsub_s, set_s, sf32_fma(S1, S2, S3 ^ SIGN32, rm, &flags))
ROUNDED(fmsub_d, set_d, sf64_fma(D1, D2, D3 ^ SIGN64, rm, &flags))
ROUNDED(fnmsub_s, set_s, sf32_fma(S1 ^ SIGN32, S2, S3, rm, &flags))
ROUNDED(fnmsub_d, set_d, sf64_fma(D1 ^ SIGN64, D2, D3, rm, &flags))
ROUNDED(fnmadd_s, set_s, sf32_fma(S1 ^ SIGN32, S2, S3 ^ SIGN32, rm, &flags))
ROUNDED(fnmadd_d, set_d, sf64_fma(D1 ^ SIGN64, D2, D3 ^ SIGN64, rm, &flags))

EXACT(fmin_s, set_s, sf32_min(S1, S2, &flags))
EXACT(fmin_d, set_d, sf64_min(D1, D2, &flags))
EXACT(fmax_s, set_s, sf32_max(S1, S2, &flags))
EXACT(fmax_d, set_d, sf64_max(D1, D2, &flags))

EXACT(fsgnj_s, set_s, (S1 & ~SIGN32) | (S2 & SIGN32))
EXACT(fsgnj_d, set_d, (D1 & ~SIGN64) | (D2 & SIGN64))
EXACT(fsgnjn_s, set_s, (S1 & ~SIGN32) | (~S2 & SIGN32))
EXACT(fsgnjn_d, set_d, (D1 & ~SIGN64) | (~D2 & SIGN64))
EXACT(fsgnjx_s, set_s, S1 ^ (S2 & SIGN32))
EXACT(fsgnjx_d, set_d, D1 ^ (D2 & SIGN64))

EXACT(feq_s, set_x, sf32_eq(S1, S2, &flags))
EXACT(feq_d, set_x, sf64_eq(D1, D2, &flags))
EXACT(flt_s, set_x, sf32_lt(S1, S2, &flags))
EXACT(flt_d, set_x, sf64_lt(D1, D2, &flags))
EXACT(fle_s, set_x, sf32_le(S1, S2, &flags))
EXACT(fle_d, set_x, sf64_le(D1, D2, &flags))
EXACT(fclass_s, set_x, sf32_class(S1))
EXACT(fclass_d, set_x, sf64_class(D1))

EXACT(fmv_x_w, set_w, (uint32_t)D1)
EXACT(fmv_x_d, set_x, D1)
EXACT(fmv_w_x, set_s, (uint32_t)X1)
EXACT(fmv_d_x, set_d, X1)

ROUNDED(fcvt_w_s, set_w, (uint32_t)sf32_to_i32(S1, rm, &flags))
ROUNDED(fcvt_w_d, set_w, (uint32_t)sf64_to_i32(D1, rm, &flags))
ROUNDED(fcvt_wu_s, set_w, sf32_to_u32(S1, rm, &flags))
ROUNDED(fcvt_wu_d, set_w, sf64_to_u32(D1, rm, &flags))
ROUNDED(fcvt_l_s, set_x, (uint64_t)sf32_to_i64(S1, rm, &flags))
ROUNDED(fcvt_l_d, set_x, (uint64_t)sf64_to_i64(D1, rm, &flags))
ROUNDED(fcvt_lu_s, set_x, sf32_to_u64(S1, rm, &flags))
ROUNDED(fcvt_lu_d, set_x, sf64_to_u64(D1, rm, &flags))

ROUNDED(fcvt_s_w, set_s, sf32_from_i32((int32_t)X1, rm, &flags))
ROUNDED(fcvt_d_w, set_d, sf64_from_i32((int32_t)X1, rm, &flags))
ROUNDED(fcvt_s_wu, set_s, sf32_from_u32((uint32_t)X1, rm, &flags))
ROUNDED(fcvt_d_wu, set_d, sf64_from_u32((uint32_t)X1, rm, &flags))
ROUNDED(fcvt_s_l, set_s, sf32_from_i64((int64_t)X1, rm, &flags))
ROUNDED(fcvt_d_l, set_d, sf64_from_i64((int64_t)X1, rm, &flags))
ROUNDED(fcvt_s_lu, set_s, sf32_from_u64(X1, rm, &flags))
ROUNDED(fcvt_d_lu, set_d, sf64_from_u64(X1, rm, &flags))

ROUNDED(fcvt_s_d, set_s, sf64_to_f32(D1, rm, &flags))
ROUNDED(fcvt_d_s, set_d, sf32_to_f64(S1, &flags)) /* exact, but a bad rm is still illegal */
