/* F and D. A region that has any of it is good for one (FS on, frm) only, which its entry checks; so
 * a dynamic rounding mode is known here, and it is the one MXCSR has when it is not RMM.
 *
 * Singles: an operand that is not known to be boxed goes through FUNBOX into a temp. */
#include "trans.h"

enum { RM_RTZ = 1, RM_RMM = 4, RM_DYN = 7, MXCSR_MODES = 4 };

/* Before the operation: FS is dirty when it writes an f register. */
static void mark_dirty(struct trans *t)
{
    if (!t->fs_dirty)
        ir_emit(t->r, IR_FDIRTY, IR_I64, IR_NONE, IR_NONE, IR_NONE);
    t->fs_dirty = true;
}

static bool fp_usable(struct trans *t)
{
    t->uses_fp = true;
    return t->fp_on;
}

static unsigned rounding(const struct trans *t)
{
    return t->i->rm == RM_DYN ? t->frm : t->i->rm;
}

/* Is the instruction's rounding mode the one that MXCSR has? */
static bool native_rounding(struct trans *t)
{
    return fp_usable(t) && rounding(t) == t->frm && t->frm < MXCSR_MODES;
}

/* An operand as a value of `type`. */
ir_ref trans_fp_operand(struct trans *t, unsigned reg, enum ir_type type)
{
    if (type != IR_F32 || (t->boxed >> reg & 1))
        return trans_f(reg);
    if (!t->single[reg]) {
        t->single[reg] = ir_temp(t->r, IR_F32);
        ir_emit(t->r, IR_FUNBOX, IR_F32, t->single[reg], trans_f(reg), IR_NONE);
    }
    return t->single[reg];
}

void trans_fp_wrote(struct trans *t, enum ir_type type)
{
    unsigned reg = t->i->rd;

    t->single[reg] = IR_NONE;
    if (type == IR_F32)
        t->boxed |= 1u << reg;
    else
        t->boxed &= ~(1u << reg);
}

static bool emit_f(struct trans *t, enum ir_op op, enum ir_type type, uint8_t aux, ir_ref a, ir_ref b,
                   ir_ref c)
{
    mark_dirty(t);
    struct ir_insn *n = ir_emit(t->r, op, type, trans_f(t->i->rd), a, b);
    n->src[2] = c;
    n->aux = aux;
    return true;
}

/* Is the type of the row one the host can do it for? Operands come after this check: FUNBOX has no
 * effect of its own, but would be wasted. */
static bool host_has(const struct trans *t, const struct trans_row *row)
{
    return ir_host_has(t->host, (enum ir_op)row->op, (enum ir_type)row->type, row->aux);
}

static bool arith(struct trans *t, const struct trans_row *row)
{
    enum ir_type type = (enum ir_type)row->type;

    if (!native_rounding(t))
        return false;
    ir_ref a = trans_fp_operand(t, t->i->rs1, type);
    ir_ref b = row->op == IR_FSQRT ? IR_NONE : trans_fp_operand(t, t->i->rs2, type);
    emit_f(t, (enum ir_op)row->op, type, 0, a, b, IR_NONE);
    trans_fp_wrote(t, type);
    return true;
}

static bool fused(struct trans *t, const struct trans_row *row)
{
    enum ir_type type = (enum ir_type)row->type;

    if (!native_rounding(t) || !host_has(t, row))
        return false;
    ir_ref a = trans_fp_operand(t, t->i->rs1, type), b = trans_fp_operand(t, t->i->rs2, type);
    ir_ref c = trans_fp_operand(t, t->i->rs3, type);
    emit_f(t, (enum ir_op)row->op, type, 0, a, b, c);
    trans_fp_wrote(t, type);
    return true;
}

/* min, max, sign injection: no rounding */
static bool exact2(struct trans *t, const struct trans_row *row)
{
    enum ir_type type = (enum ir_type)row->type;

    if (!fp_usable(t))
        return false;
    ir_ref a = trans_fp_operand(t, t->i->rs1, type), b = trans_fp_operand(t, t->i->rs2, type);
    emit_f(t, (enum ir_op)row->op, type, row->aux, a, b, IR_NONE);
    trans_fp_wrote(t, type);
    return true;
}

static bool compare(struct trans *t, const struct trans_row *row)
{
    enum ir_type type = (enum ir_type)row->type;

    if (!fp_usable(t))
        return false;
    ir_ref a = trans_fp_operand(t, t->i->rs1, type), b = trans_fp_operand(t, t->i->rs2, type);
    /* Also with rd = x0: the flags count. */
    struct ir_insn *n = ir_emit(t->r, IR_FCMP, type, t->i->rd, a, b);
    n->cc = row->aux;
    return true;
}

/* to an integer; aux of the row: enum ir_cvt */
static bool to_int(struct trans *t, const struct trans_row *row)
{
    enum ir_type type = (enum ir_type)row->type;
    uint8_t aux = row->aux;

    if (!fp_usable(t))
        return false;
    if (rounding(t) == RM_RTZ)
        aux |= IR_CVT_TRUNC;
    else if (!native_rounding(t))
        return false;
    if (!host_has(t, row))
        return false;
    ir_ref a = trans_fp_operand(t, t->i->rs1, type);
    struct ir_insn *n = ir_emit(t->r, IR_FTOI, type, t->i->rd, a, IR_NONE);
    n->aux = aux;
    return true;
}

static bool from_int(struct trans *t, const struct trans_row *row)
{
    enum ir_type type = (enum ir_type)row->type;
    bool exact = type == IR_F64 && row->aux <= IR_CVT_U32;

    if (!fp_usable(t) || !host_has(t, row))
        return false;
    if (exact ? rounding(t) > RM_RMM : !native_rounding(t))
        return false;
    emit_f(t, IR_ITOF, type, row->aux, trans_x(t, t->i->rs1), IR_NONE, IR_NONE);
    trans_fp_wrote(t, type);
    return true;
}

static bool widen(struct trans *t, const struct trans_row *row)
{
    (void)row;
    if (!fp_usable(t) || rounding(t) > RM_RMM)
        return false;
    emit_f(t, IR_FWIDEN, IR_F64, 0, trans_fp_operand(t, t->i->rs1, IR_F32), IR_NONE, IR_NONE);
    trans_fp_wrote(t, IR_F64);
    return true;
}

static bool narrow(struct trans *t, const struct trans_row *row)
{
    (void)row;
    if (!native_rounding(t))
        return false;
    emit_f(t, IR_FNARROW, IR_F32, 0, trans_f(t->i->rs1), IR_NONE, IR_NONE);
    trans_fp_wrote(t, IR_F32);
    return true;
}

/* fmv.x.*: bits, no box is looked at */
static bool bits_to_x(struct trans *t, const struct trans_row *row)
{
    if (!fp_usable(t))
        return false;
    if (t->i->rd)
        ir_emit(t->r, IR_FBITS, (enum ir_type)row->type, t->i->rd, trans_f(t->i->rs1), IR_NONE);
    return true;
}

static bool bits_from_x(struct trans *t, const struct trans_row *row)
{
    if (!fp_usable(t))
        return false;
    emit_f(t, IR_BITSF, (enum ir_type)row->type, 0, trans_x(t, t->i->rs1), IR_NONE, IR_NONE);
    trans_fp_wrote(t, (enum ir_type)row->type);
    return true;
}

/* FS becomes dirty only when the load has not trapped. */
static bool load(struct trans *t, const struct trans_row *row)
{
    if (!fp_usable(t))
        return false;
    struct ir_insn *n = ir_emit(t->r, IR_LOAD, (enum ir_type)row->type, trans_f(t->i->rd),
                                trans_x(t, t->i->rs1), IR_NONE);
    n->aux = row->aux;
    n->imm = t->i->imm;
    mark_dirty(t);
    trans_fp_wrote(t, (enum ir_type)row->type);
    return true;
}

static bool store(struct trans *t, const struct trans_row *row)
{
    if (!fp_usable(t))
        return false;
    struct ir_insn *n = ir_emit(t->r, IR_STORE, (enum ir_type)row->type, IR_NONE,
                                trans_x(t, t->i->rs1), trans_f(t->i->rs2));
    n->aux = row->aux;
    n->imm = t->i->imm;
    return true;
}

#define SD(fn, name, op, aux)                                                                      \
    [RV_OP_##name##_s] = {fn, op, IR_F32, aux}, [RV_OP_##name##_d] = {fn, op, IR_F64, aux}
/* clang-format off */
const struct trans_row trans_fp_rows[RV_OP_COUNT] = {
    SD(arith, fadd, IR_FADD, 0), SD(arith, fsub, IR_FSUB, 0), SD(arith, fmul, IR_FMUL, 0),
    SD(arith, fdiv, IR_FDIV, 0), SD(arith, fsqrt, IR_FSQRT, 0),
    SD(fused, fmadd, IR_FMADD, 0), SD(fused, fmsub, IR_FMSUB, 0), SD(fused, fnmsub, IR_FNMSUB, 0),
    SD(fused, fnmadd, IR_FNMADD, 0),
    SD(exact2, fmin, IR_FMIN, 0), SD(exact2, fmax, IR_FMAX, 0), SD(exact2, fsgnj, IR_FSGNJ, 0),
    SD(exact2, fsgnjn, IR_FSGNJ, 1), SD(exact2, fsgnjx, IR_FSGNJ, 2),
    SD(compare, feq, IR_FCMP, IR_EQ), SD(compare, flt, IR_FCMP, IR_LT),
    SD(compare, fle, IR_FCMP, IR_LE),
    SD(to_int, fcvt_w, IR_FTOI, IR_CVT_I32), SD(to_int, fcvt_wu, IR_FTOI, IR_CVT_U32),
    SD(to_int, fcvt_l, IR_FTOI, IR_CVT_I64), SD(to_int, fcvt_lu, IR_FTOI, IR_CVT_U64),
    [RV_OP_fcvt_s_w] = {from_int, IR_ITOF, IR_F32, IR_CVT_I32},
    [RV_OP_fcvt_s_wu] = {from_int, IR_ITOF, IR_F32, IR_CVT_U32},
    [RV_OP_fcvt_s_l] = {from_int, IR_ITOF, IR_F32, IR_CVT_I64},
    [RV_OP_fcvt_s_lu] = {from_int, IR_ITOF, IR_F32, IR_CVT_U64},
    [RV_OP_fcvt_d_w] = {from_int, IR_ITOF, IR_F64, IR_CVT_I32},
    [RV_OP_fcvt_d_wu] = {from_int, IR_ITOF, IR_F64, IR_CVT_U32},
    [RV_OP_fcvt_d_l] = {from_int, IR_ITOF, IR_F64, IR_CVT_I64},
    [RV_OP_fcvt_d_lu] = {from_int, IR_ITOF, IR_F64, IR_CVT_U64},
    [RV_OP_fcvt_d_s] = {widen, IR_FWIDEN, IR_F64, 0},
    [RV_OP_fcvt_s_d] = {narrow, IR_FNARROW, IR_F32, 0},
    [RV_OP_fmv_x_w] = {bits_to_x, IR_FBITS, IR_F32, 0},
    [RV_OP_fmv_x_d] = {bits_to_x, IR_FBITS, IR_F64, 0},
    [RV_OP_fmv_w_x] = {bits_from_x, IR_BITSF, IR_F32, 0},
    [RV_OP_fmv_d_x] = {bits_from_x, IR_BITSF, IR_F64, 0},
    [RV_OP_flw] = {load, IR_LOAD, IR_F32, IR_MF32}, [RV_OP_fld] = {load, IR_LOAD, IR_F64, IR_MF64},
    [RV_OP_fsw] = {store, IR_STORE, IR_F32, IR_MF32},
    [RV_OP_fsd] = {store, IR_STORE, IR_F64, IR_MF64},
};
/* clang-format on */
