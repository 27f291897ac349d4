/* Vector integer arithmetic: single-width, widening, narrowing, comparisons, carries (V 11).
 *
 * A row at the end makes four kernels (one an element type, for the compiler to vectorise) out of an
 * expression over a (vs2), b (vs1, rs1 or the immediate) and d (vd), and exec functions out of those. */
#include "vec.h"

/* --- shapes --- */

/* vd, vs2 and vs1 of one size. */
static bool same_size(const struct vec *c, enum vec_form form)
{
    return vec_not_mask(c, c->i->rd) && vec_aligned(c->i->rd, c->lmul) && vec_source_ok(c, c->i->rs2, c->lmul) &&
           (form != VEC_VV || vec_source_ok(c, c->i->rs1, c->lmul));
}

static enum rv_exec single(struct rv_hart *h, const struct rv_insn *i, enum vec_form form,
                           const vec_kernel kernels[VEC_SIZES])
{
    union vec_buf out, operand;
    struct vec c;

    if (!vec_begin(&c, h, i) || !same_size(&c, form))
        return rv_illegal(h, i);
    kernels[c.sew](&out, vec_reg(h, i->rs2), vec_operand(&c, form, c.sew, &operand), vec_reg(h, i->rd), c.vl);
    vec_merge(&c, i->rd, &out, c.sew);
    return vec_end(h);
}

/* vmulh and its kin of 64 bits are part of V, not of Zve64 (V 18.2). */
static enum rv_exec high_half(struct rv_hart *h, const struct rv_insn *i, enum vec_form form,
                              const vec_kernel kernels[VEC_SIZES])
{
    struct vec c;

    if (vec_begin(&c, h, i) && c.sew == VEC_64 && !rv_isa_has(&h->isa, RV_EXT_V))
        return rv_illegal(h, i);
    return single(h, i, form, kernels);
}

static enum rv_exec widening(struct rv_hart *h, const struct rv_insn *i, enum vec_form form, enum vec_wide wide,
                             const vec_kernel kernels[VEC_SIZES])
{
    union vec_buf out, operand;
    struct vec c;

    if (!vec_begin(&c, h, i) || !vec_wide_destination(&c) || !vec_wide_sources(&c, form == VEC_VV, wide))
        return rv_illegal(h, i);
    kernels[c.sew](&out, vec_reg(h, i->rs2), vec_operand(&c, form, c.sew, &operand), vec_reg(h, i->rd), c.vl);
    vec_merge(&c, i->rd, &out, c.sew + 1);
    return vec_end(h);
}

/* vs2 twice as wide as vd. */
static enum rv_exec narrowing(struct rv_hart *h, const struct rv_insn *i, enum vec_form form,
                              const vec_kernel kernels[VEC_SIZES])
{
    union vec_buf out, operand;
    struct vec c;

    if (!vec_begin(&c, h, i) || !vec_can_narrow(&c, form))
        return rv_illegal(h, i);
    kernels[c.sew](&out, vec_reg(h, i->rs2), vec_operand(&c, form, c.sew, &operand), NULL, c.vl);
    vec_merge(&c, i->rd, &out, c.sew);
    return vec_end(h);
}

/* A mask in vd, which may be v0. */
static bool mask_result(const struct vec *c, enum vec_form form)
{
    const struct rv_insn *i = c->i;

    return vec_mask_source_ok(c, i->rs2) && (form != VEC_VV || vec_mask_source_ok(c, i->rs1));
}

static enum rv_exec compare(struct rv_hart *h, const struct rv_insn *i, enum vec_form form,
                            const vec_test tests[VEC_SIZES])
{
    union vec_buf out, operand;
    struct vec c;

    if (!vec_begin(&c, h, i) || !mask_result(&c, form))
        return rv_illegal(h, i);
    tests[c.sew](out.b, vec_reg(h, i->rs2), vec_operand(&c, form, c.sew, &operand), c.vl);
    vec_merge_mask(&c, i->rd, out.b);
    return vec_end(h);
}

/* --- kernels --- */

#define KERNEL(_name, _out, _a, _b, _d, _expr)                                                     \
    static void _name(void *restrict out, const void *restrict pa, const void *restrict pb,        \
                      const void *restrict pd, unsigned n)                                         \
    {                                                                                              \
        (void)pd;                                                                                  \
        for (unsigned k = 0; k < n; k++) {                                                         \
            SIM_UNUSED _a a = ((const _a *)pa)[k];                                                 \
            SIM_UNUSED _b b = ((const _b *)pb)[k];                                                 \
            ((_out *)out)[k] = (_out)(_expr);                                                      \
        }                                                                                          \
    }
#define KERNEL_D(_name, _out, _a, _b, _d, _expr)                                                   \
    static void _name(void *restrict out, const void *restrict pa, const void *restrict pb,        \
                      const void *restrict pd, unsigned n)                                         \
    {                                                                                              \
        for (unsigned k = 0; k < n; k++) {                                                         \
            _a a = ((const _a *)pa)[k];                                                            \
            _b b = ((const _b *)pb)[k];                                                            \
            _d d = ((const _d *)pd)[k];                                                            \
            ((_out *)out)[k] = (_out)(_expr);                                                      \
        }                                                                                          \
    }
#define TEST(_name, _t, _expr)                                                                     \
    static void _name(uint8_t *restrict out, const void *restrict pa, const void *restrict pb,     \
                      unsigned n)                                                                  \
    {                                                                                              \
        for (unsigned k = 0; k < n; k++) {                                                         \
            _t a = ((const _t *)pa)[k], b = ((const _t *)pb)[k];                                   \
            out[k] = (_expr);                                                                      \
        }                                                                                          \
    }

/* In expressions: W, arithmetic without promotion; D, twice the width; BITS. One kernel a size, s: signed. */
#define FOUR(_name) {_name##_0, _name##_1, _name##_2, _name##_3}
#define THREE(_name) {_name##_0, _name##_1, _name##_2, NULL}

#define PLAIN(_name, _u, _expr)                                                                    \
    KERNEL(_name##_0, vec_u0, vec_##_u##0, vec_##_u##0, vec_u0, _expr(vec_w0, vec_d##_u##0, 8))    \
    KERNEL(_name##_1, vec_u1, vec_##_u##1, vec_##_u##1, vec_u1, _expr(vec_w1, vec_d##_u##1, 16))   \
    KERNEL(_name##_2, vec_u2, vec_##_u##2, vec_##_u##2, vec_u2, _expr(vec_w2, vec_d##_u##2, 32))   \
    KERNEL(_name##_3, vec_u3, vec_##_u##3, vec_##_u##3, vec_u3, _expr(vec_w3, vec_d##_u##3, 64))   \
    static const vec_kernel _name[VEC_SIZES] = FOUR(_name);
#define THREE_OPERANDS(_name, _expr)                                                               \
    KERNEL_D(_name##_0, vec_u0, vec_u0, vec_u0, vec_u0, _expr(vec_w0, vec_du0, 8))                 \
    KERNEL_D(_name##_1, vec_u1, vec_u1, vec_u1, vec_u1, _expr(vec_w1, vec_du1, 16))                \
    KERNEL_D(_name##_2, vec_u2, vec_u2, vec_u2, vec_u2, _expr(vec_w2, vec_du2, 32))                \
    KERNEL_D(_name##_3, vec_u3, vec_u3, vec_u3, vec_u3, _expr(vec_w3, vec_du3, 64))                \
    static const vec_kernel _name[VEC_SIZES] = FOUR(_name);
/* D is the unsigned type of vd's elements, which is what to compute in; _a and _b: types of the sources. */
#define WIDE(_name, _kernel, _a, _b, _expr)                                                        \
    _kernel(_name##_0, vec_du0, vec_##_a##0, vec_##_b##0, vec_du0, _expr(vec_du0))                 \
    _kernel(_name##_1, vec_du1, vec_##_a##1, vec_##_b##1, vec_du1, _expr(vec_du1))                 \
    _kernel(_name##_2, vec_du2, vec_##_a##2, vec_##_b##2, vec_du2, _expr(vec_du2))                 \
    static const vec_kernel _name[VEC_SIZES] = THREE(_name);
#define NARROW(_name, _a, _expr)                                                                   \
    KERNEL(_name##_0, vec_u0, vec_d##_a##0, vec_u0, vec_u0, _expr(16))                             \
    KERNEL(_name##_1, vec_u1, vec_d##_a##1, vec_u1, vec_u1, _expr(32))                             \
    KERNEL(_name##_2, vec_u2, vec_d##_a##2, vec_u2, vec_u2, _expr(64))                             \
    static const vec_kernel _name[VEC_SIZES] = THREE(_name);
#define TESTS(_name, _u, _expr)                                                                    \
    TEST(_name##_0, vec_##_u##0, _expr)                                                            \
    TEST(_name##_1, vec_##_u##1, _expr)                                                            \
    TEST(_name##_2, vec_##_u##2, _expr)                                                            \
    TEST(_name##_3, vec_##_u##3, _expr)                                                            \
    static const vec_test _name[VEC_SIZES] = FOUR(_name);

/* --- the instructions: a function an operand form --- */

#define EXEC(_op, _call)                                                                           \
    enum rv_exec exec_##_op(struct rv_hart *h, const struct rv_insn *i)                            \
    {                                                                                              \
        return _call;                                                                              \
    }
#define EXEC_VV(_op, _shape, ...) EXEC(_op##_vv, _shape(h, i, VEC_VV, __VA_ARGS__))
#define EXEC_VX(_op, _shape, ...) EXEC(_op##_vx, _shape(h, i, VEC_VX, __VA_ARGS__))
#define EXEC_VI(_op, _shape, ...) EXEC(_op##_vi, _shape(h, i, VEC_VI, __VA_ARGS__))
#define EXEC_VV_VX(_op, ...) EXEC_VV(_op, __VA_ARGS__) EXEC_VX(_op, __VA_ARGS__)
#define EXEC_VX_VI(_op, ...) EXEC_VX(_op, __VA_ARGS__) EXEC_VI(_op, __VA_ARGS__)
#define EXEC_ALL(_op, ...) EXEC_VV_VX(_op, __VA_ARGS__) EXEC_VI(_op, __VA_ARGS__)

#define ADD(W, D, BITS) (W) a + (W)b
#define SUB(W, D, BITS) (W) a - (W)b
#define RSUB(W, D, BITS) (W) b - (W)a
#define AND(W, D, BITS) a & b
#define OR(W, D, BITS) a | b
#define XOR(W, D, BITS) a ^ b
#define MIN(W, D, BITS) a < b ? a : b
#define MAX(W, D, BITS) a > b ? a : b
#define SLL(W, D, BITS) (W) a << (b & (BITS - 1))
#define SRA(W, D, BITS) a >> (b & (BITS - 1))
#define MUL(W, D, BITS) (W) a *(W)b
#define MULH(W, D, BITS) (D) a *(D)b >> BITS
/* signed times unsigned: b is the unsigned one */
#define MULHSU(W, D, BITS) ((D)a * (D)(b < 0 ? (D)b + ((D)1 << BITS) : (D)b)) >> BITS
PLAIN(k_add, u, ADD)
PLAIN(k_sub, u, SUB)
PLAIN(k_rsub, u, RSUB)
PLAIN(k_and, u, AND)
PLAIN(k_or, u, OR)
PLAIN(k_xor, u, XOR)
PLAIN(k_minu, u, MIN)
PLAIN(k_min, s, MIN)
PLAIN(k_maxu, u, MAX)
PLAIN(k_max, s, MAX)
PLAIN(k_sll, u, SLL)
PLAIN(k_srl, u, SRA)
PLAIN(k_sra, s, SRA)
PLAIN(k_mul, u, MUL)
PLAIN(k_mulhu, u, MULH)
PLAIN(k_mulh, s, MULH)
PLAIN(k_mulhsu, s, MULHSU)
EXEC_ALL(vadd, single, k_add)
EXEC_VV_VX(vsub, single, k_sub)
EXEC_VX_VI(vrsub, single, k_rsub)
EXEC_ALL(vand, single, k_and)
EXEC_ALL(vor, single, k_or)
EXEC_ALL(vxor, single, k_xor)
EXEC_VV_VX(vminu, single, k_minu)
EXEC_VV_VX(vmin, single, k_min)
EXEC_VV_VX(vmaxu, single, k_maxu)
EXEC_VV_VX(vmax, single, k_max)
EXEC_ALL(vsll, single, k_sll)
EXEC_ALL(vsrl, single, k_srl)
EXEC_ALL(vsra, single, k_sra)
EXEC_VV_VX(vmul, single, k_mul)
EXEC_VV_VX(vmulhu, high_half, k_mulhu)
EXEC_VV_VX(vmulh, high_half, k_mulh)
EXEC_VV_VX(vmulhsu, high_half, k_mulhsu)

/* As the scalar instructions: all ones or the dividend for a zero divisor; MIN / -1 is MIN, the rest 0. */
#define DIVU(W, D, BITS) b ? a / b : ~(W)0
#define REMU(W, D, BITS) b ? a % b : a
#define DIV(W, D, BITS) b == 0 ? ~(W)0 : b == -1 ? 0 - (W)a : (W)(a / b)
#define REM(W, D, BITS) b == 0 ? (W)a : b == -1 ? 0 : (W)(a % b)
PLAIN(k_divu, u, DIVU)
PLAIN(k_remu, u, REMU)
PLAIN(k_div, s, DIV)
PLAIN(k_rem, s, REM)
EXEC_VV_VX(vdivu, single, k_divu)
EXEC_VV_VX(vdiv, single, k_div)
EXEC_VV_VX(vremu, single, k_remu)
EXEC_VV_VX(vrem, single, k_rem)

#define MACC(W, D, BITS) (W) d + (W)a *(W)b
#define NMSAC(W, D, BITS) (W) d - (W)a *(W)b
#define MADD(W, D, BITS) (W) a + (W)d *(W)b
#define NMSUB(W, D, BITS) (W) a - (W)d *(W)b
THREE_OPERANDS(k_macc, MACC)
THREE_OPERANDS(k_nmsac, NMSAC)
THREE_OPERANDS(k_madd, MADD)
THREE_OPERANDS(k_nmsub, NMSUB)
EXEC_VV_VX(vmacc, single, k_macc)
EXEC_VV_VX(vnmsac, single, k_nmsac)
EXEC_VV_VX(vmadd, single, k_madd)
EXEC_VV_VX(vnmsub, single, k_nmsub)

#define WADD(D) (D) a + (D)b
#define WSUB(D) (D) a - (D)b
/* uint16_t factors would be multiplied as int */
#define WMUL(D) (D)((uint64_t)(D)a * (D)b)
#define WMACC(D) (D)(d + (uint64_t)(D)a * (D)b)
WIDE(k_waddu, KERNEL, u, u, WADD)
WIDE(k_wadd, KERNEL, s, s, WADD)
WIDE(k_wsubu, KERNEL, u, u, WSUB)
WIDE(k_wsub, KERNEL, s, s, WSUB)
WIDE(k_waddu_w, KERNEL, du, u, WADD)
WIDE(k_wadd_w, KERNEL, ds, s, WADD)
WIDE(k_wsubu_w, KERNEL, du, u, WSUB)
WIDE(k_wsub_w, KERNEL, ds, s, WSUB)
WIDE(k_wmulu, KERNEL, u, u, WMUL)
WIDE(k_wmul, KERNEL, s, s, WMUL)
WIDE(k_wmulsu, KERNEL, s, u, WMUL)
WIDE(k_wmaccu, KERNEL_D, u, u, WMACC)
WIDE(k_wmacc, KERNEL_D, s, s, WMACC)
WIDE(k_wmaccsu, KERNEL_D, u, s, WMACC)
WIDE(k_wmaccus, KERNEL_D, s, u, WMACC)
#define EXEC_WV_WX(_op, _kernels)                                                                  \
    EXEC(_op##_wv, widening(h, i, VEC_VV, WIDE_A, _kernels))                                         \
    EXEC(_op##_wx, widening(h, i, VEC_VX, WIDE_A, _kernels))
EXEC_VV_VX(vwaddu, widening, WIDE_NONE, k_waddu)
EXEC_VV_VX(vwadd, widening, WIDE_NONE, k_wadd)
EXEC_VV_VX(vwsubu, widening, WIDE_NONE, k_wsubu)
EXEC_VV_VX(vwsub, widening, WIDE_NONE, k_wsub)
EXEC_WV_WX(vwaddu, k_waddu_w)
EXEC_WV_WX(vwadd, k_wadd_w)
EXEC_WV_WX(vwsubu, k_wsubu_w)
EXEC_WV_WX(vwsub, k_wsub_w)
EXEC_VV_VX(vwmulu, widening, WIDE_NONE, k_wmulu)
EXEC_VV_VX(vwmul, widening, WIDE_NONE, k_wmul)
EXEC_VV_VX(vwmulsu, widening, WIDE_NONE, k_wmulsu)
EXEC_VV_VX(vwmaccu, widening, WIDE_D, k_wmaccu)
EXEC_VV_VX(vwmacc, widening, WIDE_D, k_wmacc)
EXEC_VV_VX(vwmaccsu, widening, WIDE_D, k_wmaccsu)
EXEC_VX(vwmaccus, widening, WIDE_D, k_wmaccus)

#define NSR(BITS) a >> (b & (BITS - 1))
NARROW(k_nsrl, u, NSR)
NARROW(k_nsra, s, NSR)
#define EXEC_NARROW(_op, _kernels)                                                                 \
    EXEC(_op##_wv, narrowing(h, i, VEC_VV, _kernels))                                              \
    EXEC(_op##_wx, narrowing(h, i, VEC_VX, _kernels))                                              \
    EXEC(_op##_wi, narrowing(h, i, VEC_VI, _kernels))
EXEC_NARROW(vnsrl, k_nsrl)
EXEC_NARROW(vnsra, k_nsra)

TESTS(t_eq, u, a == b)
TESTS(t_ne, u, a != b)
TESTS(t_ltu, u, a < b)
TESTS(t_lt, s, a < b)
TESTS(t_leu, u, a <= b)
TESTS(t_le, s, a <= b)
TESTS(t_gtu, u, a > b)
TESTS(t_gt, s, a > b)
EXEC_ALL(vmseq, compare, t_eq)
EXEC_ALL(vmsne, compare, t_ne)
EXEC_VV_VX(vmsltu, compare, t_ltu)
EXEC_VV_VX(vmslt, compare, t_lt)
EXEC_ALL(vmsleu, compare, t_leu)
EXEC_ALL(vmsle, compare, t_le)
EXEC_VX_VI(vmsgtu, compare, t_gtu)
EXEC_VX_VI(vmsgt, compare, t_gt)

/* --- carries: v0 is an operand, not a mask --- */

static bool same_size_any(const struct vec *c, enum vec_form form)
{
    return vec_not_mask(c, c->i->rd) && vec_aligned(c->i->rd, c->lmul) && vec_aligned(c->i->rs2, c->lmul) &&
           (form != VEC_VV || vec_aligned(c->i->rs1, c->lmul));
}

static enum rv_exec with_carry(struct rv_hart *h, const struct rv_insn *i, enum vec_form form, bool subtract)
{
    union vec_buf out, operand;
    struct vec c;

    if (!vec_begin(&c, h, i) || !same_size_any(&c, form))
        return rv_illegal(h, i);
    const vec_kernel *kernels = subtract ? k_sub : k_add;
    kernels[c.sew](&out, vec_reg(h, i->rs2), vec_operand(&c, form, c.sew, &operand), NULL, c.vl);
    for (unsigned n = 0; n < c.vl; n++)
        if (vec_bit(c.v0, n))
            vec_put(&out, n, c.sew, vec_get(&out, n, c.sew) + (subtract ? UINT64_MAX : 1));
    c.all = true;
    vec_merge(&c, i->rd, &out, c.sew);
    return vec_end(h);
}

/* rm (vm) set: no carry comes in. */
static enum rv_exec carry_out(struct rv_hart *h, const struct rv_insn *i, enum vec_form form, bool subtract)
{
    union vec_buf out, operand;
    struct vec c;

    if (!vec_begin(&c, h, i) || !mask_result(&c, form))
        return rv_illegal(h, i);
    const void *va = vec_reg(h, i->rs2), *vb = vec_operand(&c, form, c.sew, &operand);
    uint64_t max = UINT64_MAX >> (64 - (8 << c.sew));
    for (unsigned n = 0; n < c.vl; n++) {
        uint64_t a = vec_get(va, n, c.sew), b = vec_get(vb, n, c.sew);
        uint64_t room = subtract ? a : max - a; /* for b and what comes in */

        out.b[n] = b > room || (!c.all && vec_bit(c.v0, n) && b == room);
    }
    c.all = true;
    vec_merge_mask(&c, i->rd, out.b);
    return vec_end(h);
}

EXEC(vadc_vvm, with_carry(h, i, VEC_VV, false))
EXEC(vadc_vxm, with_carry(h, i, VEC_VX, false))
EXEC(vadc_vim, with_carry(h, i, VEC_VI, false))
EXEC(vsbc_vvm, with_carry(h, i, VEC_VV, true))
EXEC(vsbc_vxm, with_carry(h, i, VEC_VX, true))
EXEC(vmadc_vvm, carry_out(h, i, VEC_VV, false))
EXEC(vmadc_vxm, carry_out(h, i, VEC_VX, false))
EXEC(vmadc_vim, carry_out(h, i, VEC_VI, false))
EXEC_ALL(vmadc, carry_out, false)
EXEC(vmsbc_vvm, carry_out(h, i, VEC_VV, true))
EXEC(vmsbc_vxm, carry_out(h, i, VEC_VX, true))
EXEC_VV_VX(vmsbc, carry_out, true)

/* --- extension: vd's elements are 2^shift times as wide as vs2's --- */

static enum rv_exec extend(struct rv_hart *h, const struct rv_insn *i, unsigned shift, bool is_signed)
{
    union vec_buf out;
    struct vec c;

    if (!vec_begin(&c, h, i) || c.sew < shift || !vec_emul_ok(c.lmul - (int)shift) || !vec_not_mask(&c, i->rd) ||
        !vec_aligned(i->rd, c.lmul) || !vec_source_ok(&c, i->rs2, c.lmul - (int)shift) ||
        !vec_overlap_ok(i->rd, c.lmul, i->rs2, c.lmul - (int)shift))
        return rv_illegal(h, i);
    const void *src = vec_reg(h, i->rs2);
    unsigned from = c.sew - shift;
    for (unsigned n = 0; n < c.vl; n++)
        vec_put(&out, n, c.sew, is_signed ? (uint64_t)vec_get_signed(src, n, from) : vec_get(src, n, from));
    vec_merge(&c, i->rd, &out, c.sew);
    return vec_end(h);
}

EXEC(vzext_vf2, extend(h, i, 1, false))
EXEC(vsext_vf2, extend(h, i, 1, true))
EXEC(vzext_vf4, extend(h, i, 2, false))
EXEC(vsext_vf4, extend(h, i, 2, true))
EXEC(vzext_vf8, extend(h, i, 3, false))
EXEC(vsext_vf8, extend(h, i, 3, true))

/* --- merge and move --- */

/* v0 chooses the second operand; all elements are written. vmv.v.* is the same with nothing to choose. */
static enum rv_exec choose(struct rv_hart *h, const struct rv_insn *i, enum vec_form form)
{
    union vec_buf out, operand;
    struct vec c;

    if (!vec_begin(&c, h, i) || !same_size(&c, form))
        return rv_illegal(h, i);
    const void *a = vec_reg(h, i->rs2), *b = vec_operand(&c, form, c.sew, &operand);
    if (c.all) {
        vec_merge(&c, i->rd, b, c.sew);
        return vec_end(h);
    }
    VEC_SIZED(c.sew, {
        for (unsigned n = 0; n < c.vl; n++)
            ((T *)(void *)&out)[n] = ((const T *)(vec_bit(c.v0, n) ? b : a))[n];
    })
    c.all = true;
    vec_merge(&c, i->rd, &out, c.sew);
    return vec_end(h);
}

EXEC(vmerge_vvm, choose(h, i, VEC_VV))
EXEC(vmerge_vxm, choose(h, i, VEC_VX))
EXEC(vmerge_vim, choose(h, i, VEC_VI))
EXEC(vmv_v_v, choose(h, i, VEC_VV))
EXEC(vmv_v_x, choose(h, i, VEC_VX))
EXEC(vmv_v_i, choose(h, i, VEC_VI))
