/* Vector fixed point: saturating, averaging and scaling arithmetic, rounded by vxrm (V 12).
 *
 * Each instruction is an exact value (E: a type that holds it), which is rounded and then clamped to the range
 * of its elements or wraps. */
#include "vec.h"

/* sat: a byte an element, 1 where it was clamped. same: all elements of b are equal. */
typedef void (*fixed_kernel)(void *out, const void *a, const void *b, uint8_t *sat, unsigned vxrm, bool same,
                             unsigned n);

enum { RNU, RNE, RDN, ROD };

#define ROUND(_name, _type)                                                                        \
    /* v / 2^shift, rounded as vxrm says (V 3.8) */                                                \
    static inline _type _name(_type v, unsigned shift, unsigned vxrm)                              \
    {                                                                                              \
        _type down = v >> shift, lost = v & (((_type)1 << shift) - 1);                             \
        _type half = shift ? (_type)1 << (shift - 1) : 0;                                          \
                                                                                                   \
        if (vxrm == RNU)                                                                           \
            return down + (_type)((v >> (shift - (shift != 0))) & (shift != 0));                   \
        switch (lost ? vxrm : (unsigned)RDN) {                                                     \
        case RNE: return down + (lost > half || (lost == half && (down & 1)));                     \
        case ROD: return down | 1;                                                                 \
        default: return down;                                                                      \
        }                                                                                          \
    }
ROUND(round_32, int32_t)
ROUND(round_64, int64_t)
ROUND(round_128, __int128)

#define FIXED(_name, _out, _a, _b, _round, E, BITS, _expr, _store)                                 \
    static void _name(void *restrict out, const void *restrict pa, const void *restrict pb,        \
                      uint8_t *restrict sat, unsigned mode, bool same, unsigned n)                 \
    {                                                                                              \
        if (same && mode == RNU) {                                                                 \
            FIXED_LOOP(_out, _a, _b, _round, E, BITS, _expr, _store, RNU, 0)                       \
        } else {                                                                                   \
            FIXED_LOOP(_out, _a, _b, _round, E, BITS, _expr, _store, mode, k)                      \
        }                                                                                          \
    }
/* What is usual (a shift or another scalar, vxrm as it is after reset) is a loop that the compiler can vectorise. */
#define FIXED_LOOP(_out, _a, _b, _round, E, BITS, _expr, _store, _mode, _at)                       \
    for (unsigned k = 0; k < n; k++) {                                                             \
        SIM_UNUSED const unsigned vxrm = _mode;                                                    \
        _a a = ((const _a *)pa)[k];                                                                \
        _b b = ((const _b *)pb)[_at];                                                              \
        E v = _expr(E, _round, BITS);                                                              \
        _store(E, _out, BITS)                                                                      \
    }
#define WRAP(E, _out, BITS)                                                                           \
    sat[k] = 0;                                                                                    \
    ((_out *)out)[k] = (_out)v;
#define CLAMP(_out, _lo, _hi)                                                                      \
    sat[k] = (v < (_lo)) | (v > (_hi));                                                               \
    ((_out *)out)[k] = (_out)(v < (_lo) ? (_lo) : v > (_hi) ? (_hi) : v);
#define CLAMP_U(E, _out, BITS) CLAMP(_out, 0, UINT64_MAX >> (64 - BITS))
#define CLAMP_S(E, _out, BITS) CLAMP(_out, (E)(INT64_MIN >> (64 - BITS)), (E)(INT64_MAX >> (64 - BITS)))
/* the limits fit the signed type in which 8 to 32 bits are computed */
#define CLAMP_U_SMALL(E, _out, BITS) CLAMP(_out, 0, (E)(UINT64_MAX >> (64 - BITS)))

#define FIXED4(_name, _u, _expr, _small, _store)                                                   \
    FIXED(_name##_0, vec_##_u##0, vec_##_u##0, vec_##_u##0, round_32, int32_t, 8, _expr, _small)   \
    FIXED(_name##_1, vec_##_u##1, vec_##_u##1, vec_##_u##1, round_32, int32_t, 16, _expr, _small)  \
    FIXED(_name##_2, vec_##_u##2, vec_##_u##2, vec_##_u##2, round_64, int64_t, 32, _expr, _small)  \
    FIXED(_name##_3, vec_##_u##3, vec_##_u##3, vec_##_u##3, round_128, __int128, 64, _expr, _store) \
    static const fixed_kernel _name[VEC_SIZES] = {_name##_0, _name##_1, _name##_2, _name##_3};
#define FIXED_NARROW(_name, _u, _expr, _small, _store)                                             \
    FIXED(_name##_0, vec_##_u##0, vec_d##_u##0, vec_u0, round_32, int32_t, 8, _expr, _small)       \
    FIXED(_name##_1, vec_##_u##1, vec_d##_u##1, vec_u1, round_64, int64_t, 16, _expr, _small)      \
    FIXED(_name##_2, vec_##_u##2, vec_d##_u##2, vec_u2, round_128, __int128, 32, _expr, _store)    \
    static const fixed_kernel _name[VEC_SIZES] = {_name##_0, _name##_1, _name##_2, NULL};

static void note_saturation(const struct vec *c, const uint8_t *sat)
{
    if (c->all && !c->start) {
        uint8_t any = 0;

        for (unsigned n = 0; n < c->vl; n++)
            any |= sat[n];
        c->h->vxsat |= any;
        return;
    }
    VEC_FOR (c, n)
        c->h->vxsat |= sat[n];
}

static enum rv_exec finish(const struct vec *c, enum vec_form form, const fixed_kernel kernels[VEC_SIZES])
{
    union vec_buf out, operand, sat;
    struct rv_hart *h = c->h;

    kernels[c->sew](&out, vec_reg(h, c->i->rs2), vec_operand(c, form, c->sew, &operand), sat.b, h->vxrm,
                    form != VEC_VV, c->vl);
    note_saturation(c, sat.b);
    vec_merge(c, c->i->rd, &out, c->sew);
    return vec_end(h);
}

static enum rv_exec fixed(struct rv_hart *h, const struct rv_insn *i, enum vec_form form,
                          const fixed_kernel kernels[VEC_SIZES])
{
    struct vec c;

    if (!vec_begin(&c, h, i) || !vec_not_mask(&c, i->rd) || !vec_aligned(i->rd, c.lmul) ||
        !vec_source_ok(&c, i->rs2, c.lmul) || (form == VEC_VV && !vec_source_ok(&c, i->rs1, c.lmul)))
        return rv_illegal(h, i);
    return finish(&c, form, kernels);
}

/* vsmul of 64 bits is part of V, not of Zve64 (V 18.2). */
static enum rv_exec multiply(struct rv_hart *h, const struct rv_insn *i, enum vec_form form,
                             const fixed_kernel kernels[VEC_SIZES])
{
    struct vec c;

    if (vec_begin(&c, h, i) && c.sew == VEC_64 && !rv_isa_has(&h->isa, RV_EXT_V))
        return rv_illegal(h, i);
    return fixed(h, i, form, kernels);
}

static enum rv_exec clip(struct rv_hart *h, const struct rv_insn *i, enum vec_form form,
                         const fixed_kernel kernels[VEC_SIZES])
{
    struct vec c;

    if (!vec_begin(&c, h, i) || !vec_can_narrow(&c, form))
        return rv_illegal(h, i);
    return finish(&c, form, kernels);
}

/* --- the instructions --- */

#define ADD(E, _round, BITS) (E) a + (E)b
#define SUB(E, _round, BITS) (E) a - (E)b
#define AVERAGE(E, _round, BITS) _round((E)a + (E)b, 1, vxrm)
#define AVERAGE_SUB(E, _round, BITS) _round((E)a - (E)b, 1, vxrm)
#define MUL(E, _round, BITS) _round((E)a * (E)b, BITS - 1, vxrm)
#define SHIFT(E, _round, BITS) _round((E)a, (unsigned)b & (BITS - 1), vxrm)
#define NARROW(E, _round, BITS) _round((E)a, (unsigned)b & (2 * BITS - 1), vxrm)
FIXED4(k_saddu, u, ADD, CLAMP_U_SMALL, CLAMP_U)
FIXED4(k_sadd, s, ADD, CLAMP_S, CLAMP_S)
FIXED4(k_ssubu, u, SUB, CLAMP_U_SMALL, CLAMP_U)
FIXED4(k_ssub, s, SUB, CLAMP_S, CLAMP_S)
FIXED4(k_aaddu, u, AVERAGE, WRAP, WRAP)
FIXED4(k_aadd, s, AVERAGE, WRAP, WRAP)
FIXED4(k_asubu, u, AVERAGE_SUB, WRAP, WRAP)
FIXED4(k_asub, s, AVERAGE_SUB, WRAP, WRAP)
FIXED4(k_smul, s, MUL, CLAMP_S, CLAMP_S)
FIXED4(k_ssrl, u, SHIFT, WRAP, WRAP)
FIXED4(k_ssra, s, SHIFT, WRAP, WRAP)
FIXED_NARROW(k_clipu, u, NARROW, CLAMP_U_SMALL, CLAMP_U)
FIXED_NARROW(k_clip, s, NARROW, CLAMP_S, CLAMP_S)

#define EXEC(_op, _call)                                                                           \
    enum rv_exec exec_##_op(struct rv_hart *h, const struct rv_insn *i)                            \
    {                                                                                              \
        return _call;                                                                              \
    }
#define EXEC_VV_VX(_op, _shape, _kernels)                                                          \
    EXEC(_op##_vv, _shape(h, i, VEC_VV, _kernels))                                                 \
    EXEC(_op##_vx, _shape(h, i, VEC_VX, _kernels))
#define EXEC_ALL(_op, _shape, _kernels)                                                            \
    EXEC_VV_VX(_op, _shape, _kernels)                                                              \
    EXEC(_op##_vi, _shape(h, i, VEC_VI, _kernels))
#define EXEC_CLIP(_op, _kernels)                                                                   \
    EXEC(_op##_wv, clip(h, i, VEC_VV, _kernels))                                                   \
    EXEC(_op##_wx, clip(h, i, VEC_VX, _kernels))                                                   \
    EXEC(_op##_wi, clip(h, i, VEC_VI, _kernels))

EXEC_ALL(vsaddu, fixed, k_saddu)
EXEC_ALL(vsadd, fixed, k_sadd)
EXEC_VV_VX(vssubu, fixed, k_ssubu)
EXEC_VV_VX(vssub, fixed, k_ssub)
EXEC_VV_VX(vaaddu, fixed, k_aaddu)
EXEC_VV_VX(vaadd, fixed, k_aadd)
EXEC_VV_VX(vasubu, fixed, k_asubu)
EXEC_VV_VX(vasub, fixed, k_asub)
EXEC_VV_VX(vsmul, multiply, k_smul)
EXEC_ALL(vssrl, fixed, k_ssrl)
EXEC_ALL(vssra, fixed, k_ssra)
EXEC_CLIP(vnclipu, k_clipu)
EXEC_CLIP(vnclip, k_clip)
