/* Floating point by SSE (AVX where there is one). MXCSR has the guest's rounding mode and gathers its
 * flags; what is left to do here is what RISC-V defines differently:
 *
 *   NaN results are canonical          ucomis x, x | jp: a constant (the flags are right already)
 *   FMA with a NaN result, min and max of NaN, conversions out of range
 *                                      the interpreter's function, out of line
 *   single values are NaN-boxed        scalar instructions keep the upper half of their first source
 *
 * xmm0 and xmm1 are scratch. */
#include "x86_priv.h"

static bool is_double(const struct ir_insn *i)
{
    return i->type == IR_F64;
}

static uint32_t scalar(const struct ir_insn *i, uint32_t packed)
{
    return is_double(i) ? X86_SD(packed) : X86_SS(packed);
}

/* dst = a op b; dst may be any register. `b` is a register or memory. */
static void op3(struct emit *e, uint32_t op, unsigned dst, unsigned a, struct opnd b)
{
    if (emit_has(e, X86_HAS_AVX)) {
        if (b.place == IN_REG)
            x86_vrr(&e->a, op, 0, dst, a, b.reg);
        else
            x86_vrm(&e->a, op, 0, dst, a, b.mem);
        return;
    }
    unsigned t = b.place == IN_REG && b.reg == dst && a != dst ? XMM1 : dst;
    emit_fmove(e, t, a);
    if (b.place == IN_REG)
        x86_rr(&e->a, op, 0, t, b.reg);
    else
        x86_rm(&e->a, op, 0, t, b.mem);
    emit_fmove(e, dst, t);
}

static struct opnd reg_opnd(unsigned reg)
{
    return (struct opnd){.place = IN_REG, .reg = reg};
}

/* Bitwise with a constant: dst = a op constant */
static void op_const(struct emit *e, uint32_t op, unsigned dst, unsigned a, const uint8_t *constant)
{
    if (emit_has(e, X86_HAS_AVX)) {
        emit_vrip(e, op, 0, dst, a, constant);
    } else {
        emit_fmove(e, dst, a);
        emit_rip(e, op, 0, dst, constant);
    }
}

static void ucomis(struct emit *e, bool dbl, unsigned a, unsigned b)
{
    x86_rr(&e->a, dbl ? X86_UCOMISD : X86_UCOMISS, 0, a, b);
}

static void canonical_nan(struct emit *e, bool dbl, unsigned xmm)
{
    ucomis(e, dbl, xmm, xmm);
    struct cold *c = emit_cold(e, COLD_FIX);
    c->from[0] = x86_jcc(&e->a, X86_P);
    c->back = e->a.p;
    c->reg = (uint8_t)xmm;
    c->constant = dbl ? e->rt->k_nan64 : e->rt->k_nan32;
}

void emit_fmov(struct emit *e, const struct ir_insn *i)
{
    struct opnd s = emit_opnd(e, i->src[0]);
    unsigned d = emit_fdst(e, i->dst, XMM0);

    if (s.place == IN_REG)
        d = s.reg;
    else
        x86_rm(&e->a, X86_MOVQ_LOAD, 0, d, s.mem);
    emit_fput(e, i->dst, d);
}

void emit_farith(struct emit *e, const struct ir_insn *i)
{
    static const uint32_t packed[] = {[IR_FADD] = X86_ADDPS, [IR_FSUB] = X86_SUBPS,
                                      [IR_FMUL] = X86_MULPS, [IR_FDIV] = X86_DIVPS};
    unsigned d = emit_fdst(e, i->dst, XMM0);
    unsigned a = emit_fin_reg(e, i->src[0], XMM0);

    op3(e, scalar(i, packed[i->op]), d, a, emit_opnd(e, i->src[1]));
    canonical_nan(e, is_double(i), d);
    emit_fput(e, i->dst, d);
}

void emit_fsqrt(struct emit *e, const struct ir_insn *i)
{
    unsigned d = emit_fdst(e, i->dst, XMM0);
    unsigned a = emit_fin_reg(e, i->src[0], XMM0);

    op3(e, scalar(i, X86_SQRTPS), d, a, reg_opnd(a));
    canonical_nan(e, is_double(i), d);
    emit_fput(e, i->dst, d);
}

/* Computed beside its destination: the out-of-line function needs all sources. */
void emit_fma(struct emit *e, const struct ir_insn *i)
{
    static const uint32_t op[] = {[IR_FMADD] = X86_VFMADD231, [IR_FMSUB] = X86_VFMSUB231,
                                  [IR_FNMSUB] = X86_VFNMADD231, [IR_FNMADD] = X86_VFNMSUB231};
    struct opnd c = emit_opnd(e, i->src[2]), b = emit_opnd(e, i->src[1]);
    unsigned a = emit_fin_reg(e, i->src[0], XMM1);

    if (c.place == IN_REG)
        emit_fmove(e, XMM0, c.reg);
    else
        x86_rm(&e->a, X86_MOVQ_LOAD, 0, XMM0, c.mem);
    if (b.place == IN_REG)
        x86_vrr(&e->a, op[i->op], is_double(i), XMM0, a, b.reg);
    else
        x86_vrm(&e->a, op[i->op], is_double(i), XMM0, a, b.mem);
    ucomis(e, is_double(i), XMM0, XMM0);
    struct cold *cold = emit_cold(e, COLD_EXEC);
    cold->from[0] = x86_jcc(&e->a, X86_P);
    emit_fput(e, i->dst, XMM0);
    cold->done = e->a.p;
}

/* min(a, b) | min(b, a): equal operands are the same bits, or zeros of either sign. */
void emit_fminmax(struct emit *e, const struct ir_insn *i)
{
    bool min = i->op == IR_FMIN;
    unsigned a = emit_fin_reg(e, i->src[0], XMM0);
    unsigned b = emit_fin_reg(e, i->src[1], XMM1);
    uint32_t op = scalar(i, min ? X86_MINPS : X86_MAXPS);

    ucomis(e, is_double(i), a, b);
    struct cold *cold = emit_cold(e, COLD_EXEC);
    cold->from[0] = x86_jcc(&e->a, X86_P);
    if (emit_has(e, X86_HAS_AVX) && a != XMM0) {
        x86_vrr(&e->a, op, 0, XMM0, a, b);
        x86_vrr(&e->a, op, 0, XMM1, b, a);
    } else if (emit_has(e, X86_HAS_AVX) && b != XMM1) {
        x86_vrr(&e->a, op, 0, XMM1, b, a);
        x86_vrr(&e->a, op, 0, XMM0, a, b);
    } else {
        x86_rm(&e->a, X86_MOVQ_STORE, 0, a, emit_state(e->t->result));
        emit_fmove(e, XMM1, b);
        emit_fmove(e, XMM0, a);
        x86_rr(&e->a, op, 0, XMM0, XMM1);
        x86_rm(&e->a, op, 0, XMM1, emit_state(e->t->result));
    }
    x86_rr(&e->a, min ? X86_ORPD : X86_ANDPD, 0, XMM0, XMM1);
    emit_fput(e, i->dst, XMM0);
    cold->done = e->a.p;
}

/* aux: 0 sign of b, 1 its opposite, 2 xor of both */
void emit_fsgnj(struct emit *e, const struct ir_insn *i)
{
    const uint8_t *sign = is_double(i) ? e->rt->k_sign64 : e->rt->k_sign32;
    const uint8_t *rest = is_double(i) ? e->rt->k_abs64 : e->rt->k_abs32;
    unsigned d = emit_fdst(e, i->dst, XMM0);
    unsigned a = emit_fin_reg(e, i->src[0], XMM0);

    if (i->src[0] == i->src[1]) { /* move, negate, absolute value */
        if (i->aux == 0)
            emit_fmove(e, d, a);
        else
            op_const(e, i->aux == 1 ? X86_XORPD : X86_ANDPD, d, a, i->aux == 1 ? sign : rest);
        emit_fput(e, i->dst, d);
        return;
    }
    unsigned b = emit_fin_reg(e, i->src[1], XMM1);
    op_const(e, X86_ANDPD, XMM1, b, sign);
    if (i->aux == 1)
        emit_rip(e, X86_XORPD, 0, XMM1, sign);
    if (i->aux == 2) {
        op3(e, X86_XORPD, d, a, reg_opnd(XMM1));
    } else {
        op_const(e, X86_ANDPD, XMM0, a, rest);
        op3(e, X86_ORPD, d, XMM0, reg_opnd(XMM1));
    }
    emit_fput(e, i->dst, d);
}

void emit_fcmp(struct emit *e, const struct ir_insn *i)
{
    unsigned a = emit_fin_reg(e, i->src[0], XMM0), b = emit_fin_reg(e, i->src[1], XMM1);
    unsigned d = emit_dst(e, i->dst, RAX);

    if (i->cc == IR_EQ) {
        ucomis(e, is_double(i), a, b);
        x86_setcc(&e->a, X86_NP, RAX);
        x86_setcc(&e->a, X86_E, RCX);
        x86_rr(&e->a, X86_AND, 0, RAX, RCX);
    } else {
        x86_rr(&e->a, is_double(i) ? X86_COMISD : X86_COMISS, 0, b, a);
        x86_setcc(&e->a, i->cc == IR_LT ? X86_A : X86_AE, RAX);
    }
    x86_rr8(&e->a, X86_MOVZX8, d, RAX);
    emit_put(e, i->dst, d);
}

void emit_funbox(struct emit *e, const struct ir_insn *i)
{
    struct opnd s = emit_opnd(e, i->src[0]);
    unsigned d = emit_fdst(e, i->dst, XMM0);

    if (s.place == IN_REG) {
        x86_rr(&e->a, X86_MOVD_FROM_X, 1, s.reg, RAX);
        emit_fmove(e, d, s.reg);
        x86_shift_i(&e->a, X86_SHR_N, 1, RAX, 32);
        x86_ri(&e->a, X86_CMP, 0, RAX, -1);
    } else {
        struct x86_mem upper = s.mem;
        upper.disp += 4;
        x86_rm(&e->a, X86_MOVQ_LOAD, 0, d, s.mem);
        x86_mi(&e->a, X86_CMP, 0, upper, -1);
    }
    struct cold *c = emit_cold(e, COLD_FIX);
    c->from[0] = x86_jcc(&e->a, X86_NE);
    c->back = e->a.p;
    c->reg = (uint8_t)d;
    c->constant = e->rt->k_nan32;
    emit_fput(e, i->dst, d);
}

/* Out of range and NaN give the host's "indefinite" (0x80..0, unsigned: all ones); the flags are those
 * of RISC-V, the value may not be: the interpreter's function decides. */
void emit_ftoi(struct emit *e, const struct ir_insn *i)
{
    bool trunc = i->aux & IR_CVT_TRUNC;
    unsigned cvt = i->aux & 3;
    int w = cvt == IR_CVT_I64 || cvt == IR_CVT_U64;
    bool is_unsigned = cvt == IR_CVT_U32 || cvt == IR_CVT_U64;
    unsigned s = emit_fin_reg(e, i->src[0], XMM0);

    if (is_unsigned)
        x86_cvt2usi(&e->a, is_double(i), trunc, w, RAX, s);
    else if (is_double(i))
        x86_rr(&e->a, trunc ? X86_CVTTSD2SI : X86_CVTSD2SI, w, RAX, s);
    else
        x86_rr(&e->a, trunc ? X86_CVTTSS2SI : X86_CVTSS2SI, w, RAX, s);
    x86_ri(&e->a, X86_CMP, w, RAX, is_unsigned ? -1 : 1);
    struct cold *c = emit_cold(e, COLD_EXEC);
    c->from[0] = x86_jcc(&e->a, is_unsigned ? X86_E : X86_O);
    if (!w)
        x86_rr(&e->a, X86_MOVSXD, 1, RAX, RAX);
    emit_put(e, i->dst, RAX);
    c->done = e->a.p;
}

void emit_itof(struct emit *e, const struct ir_insn *i)
{
    unsigned cvt = i->aux & 3;
    unsigned s = emit_in_reg(e, i->src[0], RAX);

    /* The first source of the conversion gives the upper half: zero, or the box. */
    if (is_double(i))
        x86_rr(&e->a, X86_XORPD, 0, XMM0, XMM0);
    else
        emit_rip(e, X86_MOVQ_LOAD, 0, XMM0, e->rt->k_box);
    if (cvt == IR_CVT_U64) {
        x86_cvtusi2(&e->a, is_double(i), 1, XMM0, XMM0, s);
    } else {
        if (cvt == IR_CVT_U32) {
            x86_mov32(&e->a, RAX, s);
            s = RAX;
        }
        x86_rr(&e->a, is_double(i) ? X86_CVTSI2SD : X86_CVTSI2SS, cvt != IR_CVT_I32, XMM0, s);
    }
    emit_fput(e, i->dst, XMM0);
}

void emit_fcvt(struct emit *e, const struct ir_insn *i)
{
    unsigned s = emit_fin_reg(e, i->src[0], XMM1);
    bool widen = i->op == IR_FWIDEN;

    if (widen)
        x86_rr(&e->a, X86_XORPD, 0, XMM0, XMM0);
    else
        emit_rip(e, X86_MOVQ_LOAD, 0, XMM0, e->rt->k_box);
    x86_rr(&e->a, widen ? X86_CVTSS2SD : X86_CVTSD2SS, 0, XMM0, s);
    canonical_nan(e, widen, XMM0);
    emit_fput(e, i->dst, XMM0);
}

void emit_fbits(struct emit *e, const struct ir_insn *i)
{
    struct opnd s = emit_opnd(e, i->src[0]);
    unsigned d = emit_dst(e, i->dst, RAX);

    if (s.place == IN_REG && is_double(i)) {
        x86_rr(&e->a, X86_MOVD_FROM_X, 1, s.reg, d);
    } else if (s.place == IN_REG) {
        x86_rr(&e->a, X86_MOVD_FROM_X, 0, s.reg, d);
        x86_rr(&e->a, X86_MOVSXD, 1, d, d);
    } else {
        x86_rm(&e->a, is_double(i) ? X86_MOV_LOAD : X86_MOVSXD, 1, d, s.mem);
    }
    emit_put(e, i->dst, d);
}

void emit_bitsf(struct emit *e, const struct ir_insn *i)
{
    unsigned s = emit_in_reg(e, i->src[0], RAX);
    unsigned d = emit_fdst(e, i->dst, XMM0);

    x86_rr(&e->a, X86_MOVD_TO_X, is_double(i), d, s);
    if (!is_double(i))
        emit_rip(e, X86_ORPD, 0, d, e->rt->k_box);
    emit_fput(e, i->dst, d);
}

void emit_fdirty(struct emit *e, const struct ir_insn *i)
{
    (void)i;
    x86_store_imm(&e->a, 1, emit_state(e->t->fs_dirty), 1);
}
