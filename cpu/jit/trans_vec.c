/* Vectors: what a host has instructions for, on whole register groups of the type that the last vset* chose.
 *
 * The type is only foreseen: each operation compares the hart's vkey, which says type, vl = VLMAX, vstart = 0 and
 * VS dirty at once, and leaves everything else to the interpreter's function (IR_VSET and so on, ir/ops.def).
 * MIN_BYTES to MAX_BYTES; the rest is VCALL or EXEC. */
#include "trans_vec.h"

enum { MXCSR_MODES = 4 };
enum { CSR_VL = 0xc20, CSR_VTYPE = 0xc21, CSR_VLENB = 0xc22 };

/* ---- configuration ---- */

void trans_vec_executed(struct trans *t)
{
    if (t->i->op == RV_OP_vsetvli || t->i->op == RV_OP_vsetivli)
        t->vtype = (uint64_t)t->i->imm;
}

static bool set_type(struct trans *t, ir_ref avl)
{
    struct type y;

    /* ELEN is the decoder's: without Zve64x a SEW of 64 is left to the interpreter's function */
    if (!ir_host_has(t->host, IR_VSET, IR_I64, 0) || !type_of((uint64_t)t->i->imm, t->vlenb, &y) ||
        (!rv_isa_has(t->isa, RV_EXT_ZVE64X) && (y.sew == 3 || (int)y.sew > y.lmul + 2)))
        return false;
    struct ir_vec *v = ir_emit_vec(t->r, IR_VSET, IR_I64, t->i->rd, avl);
    v->key = rv_vkey((uint64_t)t->i->imm);
    v->bytes = (uint16_t)(y.bytes >> y.sew);
    v->a = t->i->imm;
    t->vtype = (uint64_t)t->i->imm;
    return true;
}

/* rd = rs1 = x0 keeps vl. */
static bool vsetvli(struct trans *t, const struct trans_row *row)
{
    (void)row;
    if (!t->i->rs1 && !t->i->rd)
        return false;
    return set_type(t, t->i->rs1 ? (ir_ref)t->i->rs1 : ir_const(t->r, INT64_MAX));
}

static bool vsetivli(struct trans *t, const struct trans_row *row)
{
    (void)row;
    return set_type(t, ir_const(t->r, t->i->rs1));
}

/* csrr of a field of the state */
bool trans_vec_csr(struct trans *t)
{
    int32_t field = t->i->imm == CSR_VL      ? (int32_t)offsetof(struct rv_hart, vl)
                    : t->i->imm == CSR_VTYPE ? (int32_t)offsetof(struct rv_hart, vtype)
                                             : (int32_t)offsetof(struct rv_hart, vlenb);

    if (t->i->imm < CSR_VL || t->i->imm > CSR_VLENB || t->i->rs1 || !t->i->rd || !rv_isa_has(t->isa, RV_EXT_ZVE32X) ||
        !ir_host_has(t->host, IR_VGET, IR_I64, 0))
        return false;
    ir_emit_vec(t->r, IR_VGET, IR_I64, t->i->rd, IR_NONE)->a = field;
    return true;
}

/* ---- elements ---- */

enum source { FROM_V, FROM_X, FROM_I, FROM_F, FROM_NOWHERE };

static bool float_ok(struct trans *t, unsigned sew)
{
    t->uses_fp = true;
    return t->fp_on && t->frm < MXCSR_MODES && (sew == 2 || (sew == 3 && rv_isa_has(t->isa, RV_EXT_ZVE64D)));
}

/* The scalar operand of the instruction, if there is one. */
static ir_ref scalar(struct trans *t, enum source from, unsigned sew)
{
    switch (from) {
    case FROM_X: return trans_x(t, t->i->rs1);
    case FROM_I: return trans_imm(t);
    case FROM_F: return trans_fp_operand(t, t->i->rs1, sew == 2 ? IR_F32 : IR_F64);
    default: return ir_const(t->r, 0);
    }
}

/* Under a mask, v0 is neither source ... */
static bool mask_sources_ok(const struct trans *t, const struct trans_row *row)
{
    return t->i->rm || (t->i->rs2 && (row->type != FROM_V || t->i->rs1));
}

/* ... nor destination. */
static bool mask_ok(const struct trans *t, const struct trans_row *row)
{
    return mask_sources_ok(t, row) && (t->i->rm || t->i->rd);
}

/* op of the row: enum ir_vop; type: enum source; aux: log2 of how much smaller the elements of vs2 are. May the
 * operation on the foreseen type be emitted? */
static bool operands_ok(struct trans *t, const struct trans_row *row, const struct type *y)
{
    bool is_float = (row->op >= IR_V_FADD && row->op <= IR_V_FWSUB_W) || (row->op >= IR_V_FSGNJ && row->op <= IR_V_FNEG) ||
                    (row->op >= IR_V_FEQ && row->op <= IR_V_FGE);
    enum source from = (enum source)row->type;

    if (!mask_ok(t, row) || !host_has(t, row->op, y->sew) || !aligned(t->i->rs2, y->lmul - row->aux) ||
        (from == FROM_V && !aligned(t->i->rs1, y->lmul)))
        return false;
    if ((!t->i->rm || y->bytes < PIECE) && (row->op == IR_V_FDIV || row->op == IR_V_FRDIV) && !host_has(t, IR_V_LANES, y->sew))
        return false; /* 0 / 0 in the other lanes */
    return !(is_float || from == FROM_F) || float_ok(t, y->sew);
}

static struct ir_vec *emit_elements(struct trans *t, const struct trans_row *row, const struct type *y)
{
    enum source from = (enum source)row->type;
    struct ir_vec *v = ir_emit_vec(t->r, IR_VOP, IR_I64, IR_NONE, scalar(t, from, y->sew));

    *v = (struct ir_vec){.op = row->op, .size = (uint8_t)y->sew, .key = rv_vkey(t->vtype),
                         .scalar = from != FROM_V && from != FROM_NOWHERE,
                         .masked = !t->i->rm, .d = place(t, t->i->rd), .a = place(t, t->i->rs2),
                         .b = place(t, t->i->rs1), .mask = place(t, 0)};
    set_bytes(v, y->bytes);
    return v;
}

static bool elements(struct trans *t, const struct trans_row *row)
{
    struct type y;

    if (!foresee(t, &y) || !operands_ok(t, row, &y) || !aligned(t->i->rd, y.lmul))
        return false;
    emit_elements(t, row, &y)->elements = true;
    return true;
}

/* By a scalar; aux of the row: the operation by a vector, for sizes that the host has no other for. */
static bool shift(struct trans *t, const struct trans_row *row)
{
    struct trans_row by_scalar = *row, by_vector = *row;

    by_vector.op = row->aux;
    by_scalar.aux = by_vector.aux = 0;
    return elements(t, &by_scalar) || elements(t, &by_vector);
}

/* v0 chooses between vs2 and the other operand. */
static bool merge(struct trans *t, const struct trans_row *row)
{
    struct type y;

    if (!foresee(t, &y) || !operands_ok(t, row, &y) || !aligned(t->i->rd, y.lmul))
        return false;
    struct ir_vec *v = emit_elements(t, row, &y);
    v->elements = v->merge = true;
    return true;
}

/* vmv<nr>r; aux of the row: registers */
static bool move_registers(struct trans *t, const struct trans_row *row)
{
    struct type y;

    if (!type_of(t->vtype, t->vlenb, &y) || (t->i->rd | t->i->rs2) & (row->aux - 1u) || !host_has(t, IR_V_COPY, y.sew))
        return false;
    struct ir_vec *v = ir_emit_vec(t->r, IR_VOP, IR_I64, IR_NONE, ir_const(t->r, 0));
    *v = (struct ir_vec){.op = IR_V_COPY, .any_length = true, .size = (uint8_t)y.sew, .key = rv_vkey(t->vtype),
                         .bytes = (uint16_t)(row->aux * t->vlenb), .d = place(t, t->i->rd), .b = place(t, t->i->rs2)};
    return true;
}

/* vfsgnjn of a register with itself is what compilers negate with. */
static bool sign_inverted(struct trans *t, const struct trans_row *row)
{
    struct trans_row negation = *row;

    negation.op = IR_V_FNEG;
    return elements(t, row->type == FROM_V && t->i->rs1 == t->i->rs2 ? &negation : row);
}

/* aux of the row: log2 of how much larger */
static bool extend(struct trans *t, const struct trans_row *row)
{
    unsigned regs;
    struct type y;

    if (!foresee(t, &y) || !operands_ok(t, row, &y) || !aligned(t->i->rd, y.lmul) || y.sew < row->aux ||
        y.lmul - row->aux < -3)
        return false;
    regs = y.lmul > 0 ? 1u << y.lmul : 1;
    if (t->i->rs2 >= t->i->rd && t->i->rs2 < t->i->rd + regs)
        return false; /* overlapping, or reserved */
    if (t->i->rd >= t->i->rs2 && t->i->rd < t->i->rs2 + (regs >> row->aux ? regs >> row->aux : 1))
        return false;
    emit_elements(t, row, &y)->elements = true;
    return true;
}

static bool apart(unsigned reg, unsigned group, int lmul)
{
    unsigned nr = lmul > 0 ? 1u << lmul : 1;

    return reg < group || reg >= group + nr;
}

/* Where the mask is written before all is read, it must be apart; else it may be the source. Under a mask, other lanes
 * of floating point would raise flags. */
static bool compare(struct trans *t, const struct trans_row *row)
{
    struct type y;

    if (!foresee(t, &y) || !aligned(t->i->rs2, y.lmul) || (row->type == FROM_V && !aligned(t->i->rs1, y.lmul)) ||
        !host_has(t, row->op, y.sew) || !mask_sources_ok(t, row) ||
        (!t->i->rm && row->op >= IR_V_FEQ && y.bytes < PIECE && !host_has(t, IR_V_LANES, y.sew)) ||
        (row->op >= IR_V_FEQ && !float_ok(t, y.sew)))
        return false;
    bool one_piece = y.bytes <= 32;
    if (!apart(t->i->rd, t->i->rs2, y.lmul) && !(one_piece && t->i->rd == t->i->rs2))
        return false;
    if (row->type == FROM_V && !apart(t->i->rd, t->i->rs1, y.lmul) && !(one_piece && t->i->rd == t->i->rs1))
        return false;
    emit_elements(t, row, &y);
    return true;
}

/* --- operands of two sizes --- */

static bool has_wider(const struct trans *t, const struct type *y)
{
    return y->lmul < 3 && y->sew < (rv_isa_has(t->isa, RV_EXT_ZVE64X) ? 3u : 2u);
}

/* aux of the row: vs2 is as wide as vd. Operands that overlap are left to the interpreter's function. */
static bool widen(struct trans *t, const struct trans_row *row)
{
    const struct rv_insn *i = t->i;
    struct type y;

    if (!type_of(t->vtype, t->vlenb, &y) || !has_wider(t, &y) || !mask_ok(t, row) || !host_has(t, row->op, y.sew + 1) ||
        2 * y.bytes < MIN_BYTES || 2 * y.bytes > MAX_BYTES)
        return false;
    int wide = y.lmul + 1, a = row->aux ? wide : y.lmul;
    if (!aligned(i->rd, wide) || !aligned(i->rs2, a) || (!row->aux && !groups_apart(i->rd, wide, i->rs2, a)))
        return false;
    if (row->type == FROM_V && (!aligned(i->rs1, y.lmul) || !groups_apart(i->rd, wide, i->rs1, y.lmul) ||
                                (row->aux && !groups_apart(i->rs2, wide, i->rs1, y.lmul))))
        return false;
    struct ir_vec *v = emit_elements(t, row, &y);
    v->size++;
    set_bytes(v, 2 * y.bytes);
    v->elements = true;
    return true;
}

/* Conversions to or from integers of 16 bits: the floats have 32. */
static bool float_type_ok(struct trans *t, const struct type *y)
{
    return y->sew == 1 ? float_ok(t, 2) : y->sew == 2 && rv_isa_has(t->isa, RV_EXT_ZVE64D) && float_ok(t, 2);
}

static bool widen_float(struct trans *t, const struct trans_row *row)
{
    struct type y;

    return type_of(t->vtype, t->vlenb, &y) && float_type_ok(t, &y) && widen(t, row);
}

/* vd may be the lower part of vs2: no piece is written before it is read. */
static bool narrow(struct trans *t, const struct trans_row *row)
{
    const struct rv_insn *i = t->i;
    struct type y;

    if (row->type == FROM_V && (!type_of(t->vtype, t->vlenb, &y) || !aligned(i->rs1, y.lmul) ||
                                !groups_apart(i->rs1, y.lmul, i->rs2, y.lmul + 1)))
        return false;
    if (!foresee(t, &y) || !has_wider(t, &y) || !mask_ok(t, row) || !host_has(t, row->op, y.sew) ||
        !aligned(i->rd, y.lmul) || !aligned(i->rs2, y.lmul + 1) ||
        (i->rd != i->rs2 && !groups_apart(i->rd, y.lmul, i->rs2, y.lmul + 1)))
        return false;
    emit_elements(t, row, &y)->elements = true;
    return true;
}

/* By a scalar: as shift(). */
static bool narrow_x(struct trans *t, const struct trans_row *row)
{
    struct trans_row by_vector = *row;

    by_vector.op = row->aux;
    return narrow(t, row) || narrow(t, &by_vector);
}

static bool narrow_float(struct trans *t, const struct trans_row *row)
{
    struct type y;

    return type_of(t->vtype, t->vlenb, &y) && float_type_ok(t, &y) && narrow(t, row);
}

static bool reduce(struct trans *t, const struct trans_row *row)
{
    struct type y;

    if (!foresee(t, &y) || !aligned(t->i->rs2, y.lmul) ||
        !host_has(t, row->op, y.sew))
        return false;
    emit_elements(t, row, &y);
    return true;
}

static bool reduce_wide(struct trans *t, const struct trans_row *row)
{
    struct type y;

    /* a fraction may have a sum that is too large for it */
    return type_of(t->vtype, t->vlenb, &y) && y.sew < (rv_isa_has(t->isa, RV_EXT_ZVE64X) ? 3u : 2u) && reduce(t, row);
}

/* In order; of a few. */
static bool sum_floats(struct trans *t, const struct trans_row *row)
{
    struct type y;

    return foresee(t, &y) && y.bytes >> y.sew <= IR_V_MAX_SUM && t->i->rm && float_ok(t, y.sew) && reduce(t, row);
}

static bool sum_wide(struct trans *t, const struct trans_row *row)
{
    struct type y;

    return type_of(t->vtype, t->vlenb, &y) && y.sew == 2 && rv_isa_has(t->isa, RV_EXT_ZVE64D) && sum_floats(t, row);
}

static bool reduce_floats(struct trans *t, const struct trans_row *row)
{
    struct type y;

    return foresee(t, &y) && float_ok(t, y.sew) && reduce(t, row);
}

/* By the carry in v0, which is not a mask. */
static bool carry(struct trans *t, const struct trans_row *row)
{
    struct type y;

    if (!foresee(t, &y) || !t->i->rd || !aligned(t->i->rd, y.lmul) || !aligned(t->i->rs2, y.lmul) ||
        !host_has(t, row->op, y.sew) || (row->type == FROM_V && !aligned(t->i->rs1, y.lmul)))
        return false;
    struct ir_vec *v = emit_elements(t, row, &y);
    v->masked = false;
    v->elements = true;
    return true;
}

/* The same to a mask. */
static bool carry_out(struct trans *t, const struct trans_row *row)
{
    struct type y;
    const struct rv_insn *i = t->i;

    if (!foresee(t, &y) || !aligned(i->rs2, y.lmul) || !host_has(t, row->op, y.sew) || !apart(i->rd, i->rs2, y.lmul) ||
        (row->type == FROM_V && (!aligned(i->rs1, y.lmul) || !apart(i->rd, i->rs1, y.lmul))))
        return false;
    emit_elements(t, row, &y)->masked = false;
    return true;
}

static bool vid(struct trans *t, const struct trans_row *row)
{
    struct type y;

    if (!foresee(t, &y) || !aligned(t->i->rd, y.lmul) || (!t->i->rm && !t->i->rd) || !host_has(t, row->op, y.sew))
        return false;
    emit_elements(t, row, &y)->elements = true;
    return true;
}

/* The mask that is counted is apart from the counts. */
static bool iota(struct trans *t, const struct trans_row *row)
{
    struct type y;

    return foresee(t, &y) && apart(t->i->rs2, t->i->rd, y.lmul) && vid(t, row);
}

/* vd is apart from all sources. */
static bool apart_ok(const struct trans *t, const struct trans_row *row, const struct type *y)
{
    const struct rv_insn *i = t->i;

    return aligned(i->rd, y->lmul) && aligned(i->rs2, y->lmul) && i->rd != i->rs2 && mask_ok(t, row) &&
           host_has(t, row->op, y->sew);
}

static bool pick(struct trans *t, const struct trans_row *row)
{
    struct type y;

    if (!foresee(t, &y) || !apart_ok(t, row, &y))
        return false;
    emit_elements(t, row, &y)->elements = true;
    return true;
}

static bool slide(struct trans *t, const struct trans_row *row)
{
    enum { MAX_SLIDE = 256 };
    struct type y;

    if (!foresee(t, &y) || y.bytes > MAX_SLIDE || !aligned(t->i->rd, y.lmul) || !aligned(t->i->rs2, y.lmul) ||
        !mask_ok(t, row) || !host_has(t, row->op, y.sew) || (row->op == IR_V_SLIDEUP && t->i->rd == t->i->rs2))
        return false;
    emit_elements(t, row, &y);
    return true;
}

/* aux of the row: indices of 16 bits */
static bool gather(struct trans *t, const struct trans_row *row)
{
    enum { MAX_TABLE = 128 };
    const struct rv_insn *i = t->i;
    struct type y;

    if (!foresee(t, &y) || y.bytes > MAX_TABLE || !apart_ok(t, row, &y))
        return false;
    int emul = row->aux ? 1 - (int)y.sew + y.lmul : y.lmul;
    if (emul < -3 || emul > 3 || !aligned(i->rs1, emul) || !groups_apart(i->rd, y.lmul, i->rs1, emul) ||
        (row->aux && !groups_apart(i->rs2, y.lmul, i->rs1, emul)))
        return false;
    emit_elements(t, row, &y)->elements = true;
    return true;
}

static bool compress(struct trans *t, const struct trans_row *row)
{
    struct type y;

    if (!t->i->rm || !foresee(t, &y) || !apart_ok(t, row, &y) || !apart(t->i->rs1, t->i->rd, y.lmul))
        return false;
    emit_elements(t, row, &y);
    return true;
}

/* aux of the row: of one mask, as far as a word goes */
static bool masks(struct trans *t, const struct trans_row *row)
{
    bool masked = !t->i->rm;
    struct type y;

    if ((masked && !row->aux) || !type_of(t->vtype, t->vlenb, &y) || !host_has(t, row->op, y.sew))
        return false;
    unsigned bits = y.bytes >> y.sew;
    if (row->aux && (bits > 64 || t->i->rd == t->i->rs2 || (masked && !t->i->rd)))
        return false;
    struct ir_vec *v = ir_emit_vec(t->r, IR_VOP, IR_I64, IR_NONE, ir_const(t->r, 0));
    *v = (struct ir_vec){.op = row->op, .key = rv_vkey(t->vtype), .bytes = (uint16_t)bits, .masked = masked,
                         .mask = place(t, 0), .d = place(t, t->i->rd), .a = place(t, t->i->rs2), .b = place(t, t->i->rs1)};
    return true;
}

/* Upwards, vd is apart. */
static bool slide_1(struct trans *t, const struct trans_row *row)
{
    struct type y;

    if ((!t->i->rm && (!t->i->rd || !t->i->rs2)) || !foresee(t, &y) || !aligned(t->i->rd, y.lmul) ||
        !aligned(t->i->rs2, y.lmul) || !host_has(t, row->op, y.sew) || (row->op == IR_V_SLIDE1UP && t->i->rd == t->i->rs2) ||
        (row->type == FROM_F && !float_ok(t, y.sew)))
        return false;
    emit_elements(t, row, &y)->scalar = false; /* it is not wanted in all elements */
    return true;
}

/* vfirst, vcpop: the mask has VLMAX bits */
static bool mask_to_x(struct trans *t, const struct trans_row *row)
{
    struct type y;

    if (!type_of(t->vtype, t->vlenb, &y) || !host_has(t, row->op, y.sew))
        return false;
    struct ir_vec *v = ir_emit_vec(t->r, IR_VOP, IR_I64, t->i->rd, ir_const(t->r, 0));
    *v = (struct ir_vec){.op = row->op, .key = rv_vkey(t->vtype), .bytes = (uint16_t)(y.bytes >> y.sew),
                         .a = place(t, t->i->rs2), .masked = !t->i->rm, .mask = place(t, 0)};
    return true;
}

/* type of the row: 1 = f register */
static bool to_scalar(struct trans *t, const struct trans_row *row)
{
    struct type y;

    if (!type_of(t->vtype, t->vlenb, &y) || !host_has(t, row->op, y.sew) || (row->type && !float_ok(t, y.sew)))
        return false;
    struct ir_vec *v = ir_emit_vec(t->r, IR_VOP, IR_I64, row->type ? trans_f(t->i->rd) : t->i->rd,
                                   ir_const(t->r, 0));
    *v = (struct ir_vec){.op = row->op, .any_length = true, .size = (uint8_t)y.sew, .key = rv_vkey(t->vtype),
                         .bytes = (uint16_t)y.bytes, .a = place(t, t->i->rs2)};
    if (!row->type)
        return true;
    ir_emit(t->r, IR_FDIRTY, IR_I64, IR_NONE, IR_NONE, IR_NONE);
    trans_fp_wrote(t, y.sew == 2 ? IR_F32 : IR_F64);
    return true;
}

static bool from_scalar(struct trans *t, const struct trans_row *row)
{
    struct type y;

    if (!type_of(t->vtype, t->vlenb, &y) || !host_has(t, row->op, y.sew) || (row->type == FROM_F && !float_ok(t, y.sew)))
        return false;
    ir_ref s = scalar(t, (enum source)row->type, y.sew);
    struct ir_vec *v = ir_emit_vec(t->r, IR_VOP, IR_I64, IR_NONE, s);
    *v = (struct ir_vec){.op = row->op, .size = (uint8_t)y.sew, .key = rv_vkey(t->vtype),
                         .bytes = (uint16_t)y.bytes, .d = place(t, t->i->rd)};
    return true;
}

/* ---- all else ---- */

static int32_t x_place(unsigned reg)
{
    return reg ? (int32_t)offsetof(struct rv_hart, x) + 8 * (int32_t)reg : 0;
}

/* The interpreter's function, with as little around it as vectors need. */
bool trans_vec_call(struct trans *t)
{
    enum { OPIVX = 4, OPFVF = 5, OPMVX = 6, OP_V = 0x57 };
    const struct rv_insn *i = t->i;
    unsigned flags = rv_op_info[i->op].flags, form = i->raw >> 12 & 7;
    bool memory = (i->raw & 0x7f) != OP_V, f = !memory && form == OPFVF, x = memory || form == OPIVX || form == OPMVX;

    if (!(flags & RV_OPF_VECTOR) || flags & (RV_OPF_SYSTEM | RV_OPF_RD_X | RV_OPF_RD_F) ||
        !ir_host_has(t->host, IR_VCALL, IR_I64, 0))
        return false;
    if (flags & RV_OPF_FP)
        t->uses_fp = true;
    struct ir_vec *v = ir_emit_vec(t->r, IR_VCALL, IR_I64, IR_NONE,
                                   f ? trans_f(i->rs1) : x ? trans_x(t, i->rs1) : ir_const(t->r, 0));
    t->r->insn[t->r->nr_insns - 1].src[1] = memory ? trans_x(t, i->rs2) : ir_const(t->r, 0);
    v->a = f ? (int32_t)offsetof(struct rv_hart, f) + 8 * i->rs1 : x ? x_place(i->rs1) : 0;
    v->b = memory ? x_place(i->rs2) : 0;
    return true;
}

#define VV(name, op, fn) [RV_OP_##name##_vv] = {fn, IR_V_##op, FROM_V, 0}
#define VX(name, op, fn) [RV_OP_##name##_vx] = {fn, IR_V_##op, FROM_X, 0}
#define VI(name, op, fn) [RV_OP_##name##_vi] = {fn, IR_V_##op, FROM_I, 0}
#define VF(name, op) [RV_OP_##name##_vf] = {elements, IR_V_##op, FROM_F, 0}
#define VV_VX(name, op) VV(name, op, elements), VX(name, op, elements)
#define VX_VI(name, op) VX(name, op, elements), VI(name, op, elements)
#define VV_VF(name, op) VV(name, op, elements), VF(name, op)
#define COMPARE(name, op) VV(name, op, compare), VX(name, op, compare), VI(name, op, compare)
#define COMPARE_F(name, op) VV(name, op, compare), [RV_OP_##name##_vf] = {compare, IR_V_##op, FROM_F, 0}
#define WIDE(name, op) VV(name, op, widen), VX(name, op, widen)
#define WIDE_W(name, op)                                                                           \
    [RV_OP_##name##_wv] = {widen, IR_V_##op##_W, FROM_V, 1}, [RV_OP_##name##_wx] = {widen, IR_V_##op##_W, FROM_X, 1}
#define NARROW(name, op)                                                                           \
    [RV_OP_##name##_wv] = {narrow, IR_V_##op##V, FROM_V, 0},                                        \
    [RV_OP_##name##_wx] = {narrow_x, IR_V_##op, FROM_X, IR_V_##op##V},                              \
    [RV_OP_##name##_wi] = {narrow_x, IR_V_##op, FROM_I, IR_V_##op##V}
#define CLIP(name, op)                                                                             \
    [RV_OP_##name##_wv] = {narrow, IR_V_##op, FROM_V, 0}, [RV_OP_##name##_wx] = {narrow, IR_V_##op, FROM_X, 0}, \
    [RV_OP_##name##_wi] = {narrow, IR_V_##op, FROM_I, 0}
#define SHIFT(name, op)                                                                            \
    VV(name, op##V, elements), [RV_OP_##name##_vx] = {shift, IR_V_##op, FROM_X, IR_V_##op##V},      \
    [RV_OP_##name##_vi] = {shift, IR_V_##op, FROM_I, IR_V_##op##V}
#define CARRY(name, op)                                                                            \
    [RV_OP_##name##_vvm] = {carry, IR_V_##op, FROM_V, 0}, [RV_OP_##name##_vxm] = {carry, IR_V_##op, FROM_X, 0}
#define CARRY_OUT(name, op)                                                                        \
    VV(name, op, carry_out), VX(name, op, carry_out), [RV_OP_##name##_vvm] = {carry_out, IR_V_##op##C, FROM_V, 0}, \
    [RV_OP_##name##_vxm] = {carry_out, IR_V_##op##C, FROM_X, 0}
#define MASKS(name, op) [RV_OP_##name##_mm] = {masks, IR_V_##op, 0, 0}
#define FWIDE(name, op)                                                                            \
    VV(name, op, widen_float), [RV_OP_##name##_vf] = {widen_float, IR_V_##op, FROM_F, 0}
#define FWIDE_W(name, op)                                                                          \
    [RV_OP_##name##_wv] = {widen_float, IR_V_##op##_W, FROM_V, 1}, [RV_OP_##name##_wf] = {widen_float, IR_V_##op##_W, FROM_F, 1}
#define CONVERT(name, op)                                                                          \
    [RV_OP_vfcvt_##name##_v] = {elements, IR_V_CVT_##op, FROM_NOWHERE, 0},                          \
    [RV_OP_vfwcvt_##name##_v] = {widen_float, IR_V_CVTW_##op, FROM_NOWHERE, 0},                     \
    [RV_OP_vfncvt_##name##_w] = {narrow_float, IR_V_CVTN_##op, FROM_NOWHERE, 0}
#define REDUCE(name, op) [RV_OP_##name##_vs] = {reduce, IR_V_##op, FROM_V, 0}
#define MOVE(nr) [RV_OP_vmv##nr##r_v] = {move_registers, IR_V_COPY, 0, nr}
#define EXTEND(n, log2)                                                                            \
    [RV_OP_vzext_vf##n] = {extend, IR_V_ZEXT##n, FROM_NOWHERE, log2},                              \
    [RV_OP_vsext_vf##n] = {extend, IR_V_SEXT##n, FROM_NOWHERE, log2}
/* clang-format off */
const struct trans_row trans_vec_rows[RV_OP_COUNT] = {
    [RV_OP_vsetvli] = {vsetvli, 0, 0, 0}, [RV_OP_vsetivli] = {vsetivli, 0, 0, 0},
    MOVE(1), MOVE(2), MOVE(4), MOVE(8), EXTEND(2, 1), EXTEND(4, 2), EXTEND(8, 3),
    VV_VX(vadd, ADD), VI(vadd, ADD, elements), VV_VX(vsub, SUB), VX_VI(vrsub, RSUB),
    VV_VX(vand, AND), VI(vand, AND, elements), VV_VX(vor, OR), VI(vor, OR, elements),
    VV_VX(vxor, XOR), VI(vxor, XOR, elements), VV_VX(vmul, MUL),
    VV_VX(vdivu, DIVU), VV_VX(vdiv, DIV), VV_VX(vremu, REMU), VV_VX(vrem, REM),
    VV_VX(vmin, MIN), VV_VX(vmax, MAX), VV_VX(vminu, MINU), VV_VX(vmaxu, MAXU),
    VV_VX(vsaddu, SADDU), VI(vsaddu, SADDU, elements), VV_VX(vsadd, SADD), VI(vsadd, SADD, elements),
    VV_VX(vssrl, SSRL), VI(vssrl, SSRL, elements), VV_VX(vssra, SSRA), VI(vssra, SSRA, elements),
    VV_VX(vsmul, SMUL),
    CLIP(vnclipu, NCLIPU), CLIP(vnclip, NCLIP),
    VV_VX(vaaddu, AADDU), VV_VX(vaadd, AADD), VV_VX(vasubu, ASUBU), VV_VX(vasub, ASUB),
    VV_VX(vssubu, SSUBU), VV_VX(vssub, SSUB),
    CONVERT(f_x, FI), CONVERT(f_xu, FU), CONVERT(x_f, IF), CONVERT(xu_f, UF), CONVERT(rtz_x_f, IFZ), CONVERT(rtz_xu_f, UFZ),
    [RV_OP_vfwcvt_f_f_v] = {widen_float, IR_V_CVTW_FF, FROM_NOWHERE, 0},
    [RV_OP_vfncvt_f_f_w] = {narrow_float, IR_V_CVTN_FF, FROM_NOWHERE, 0},
    SHIFT(vsll, SLL), SHIFT(vsrl, SRL), SHIFT(vsra, SRA), VV_VX(vmulh, MULH), VV_VX(vmulhu, MULHU), VV_VX(vmulhsu, MULHSU),
    VV_VF(vfmin, FMIN), VV_VF(vfmax, FMAX),
    WIDE(vwmulsu, WMULSU), WIDE(vwmaccsu, WMACCSU), VX(vwmaccus, WMACCUS, widen),
    FWIDE(vfwadd, FWADD), FWIDE(vfwsub, FWSUB), FWIDE(vfwmul, FWMUL), FWIDE_W(vfwadd, FWADD), FWIDE_W(vfwsub, FWSUB),
    FWIDE(vfwmacc, FWMACC), FWIDE(vfwmsac, FWMSAC), FWIDE(vfwnmsac, FWNMSAC), FWIDE(vfwnmacc, FWNMACC),
    VV_VX(vmacc, MACC), VV_VX(vnmsac, NMSAC), VV_VX(vmadd, MADD), VV_VX(vnmsub, NMSUB),
    [RV_OP_vmv_v_v] = {elements, IR_V_COPY, FROM_V, 0}, [RV_OP_vmv_v_x] = {elements, IR_V_COPY, FROM_X, 0},
    [RV_OP_vmerge_vvm] = {merge, IR_V_COPY, FROM_V, 0}, [RV_OP_vmerge_vxm] = {merge, IR_V_COPY, FROM_X, 0},
    [RV_OP_vmerge_vim] = {merge, IR_V_COPY, FROM_I, 0}, [RV_OP_vfmerge_vfm] = {merge, IR_V_COPY, FROM_F, 0},
    [RV_OP_vmv_v_i] = {elements, IR_V_COPY, FROM_I, 0}, [RV_OP_vfmv_v_f] = {elements, IR_V_COPY, FROM_F, 0},
    COMPARE(vmseq, EQ), COMPARE(vmsne, NE), COMPARE(vmsle, LE), COMPARE(vmsleu, LEU),
    VV(vmsltu, LTU, compare), VX(vmsltu, LTU, compare), VX(vmsgtu, GTU, compare), VI(vmsgtu, GTU, compare),
    COMPARE_F(vmfeq, FEQ), COMPARE_F(vmfne, FNE), COMPARE_F(vmflt, FLT), COMPARE_F(vmfle, FLE),
    [RV_OP_vmfgt_vf] = {compare, IR_V_FGT, FROM_F, 0}, [RV_OP_vmfge_vf] = {compare, IR_V_FGE, FROM_F, 0},
    WIDE(vwaddu, WADDU), WIDE(vwadd, WADD), WIDE(vwsubu, WSUBU), WIDE(vwsub, WSUB), WIDE(vwmulu, WMULU),
    WIDE(vwmul, WMUL), WIDE(vwmaccu, WMACCU), WIDE(vwmacc, WMACC),
    WIDE_W(vwaddu, WADDU), WIDE_W(vwadd, WADD), WIDE_W(vwsubu, WSUBU), WIDE_W(vwsub, WSUB),
    NARROW(vnsrl, NSRL), NARROW(vnsra, NSRA),
    [RV_OP_vwredsumu_vs] = {reduce_wide, IR_V_WREDSUMU, FROM_V, 0}, [RV_OP_vwredsum_vs] = {reduce_wide, IR_V_WREDSUM, FROM_V, 0},
    [RV_OP_vfredmin_vs] = {reduce_floats, IR_V_FREDMIN, FROM_V, 0},
    [RV_OP_vfredmax_vs] = {reduce_floats, IR_V_FREDMAX, FROM_V, 0},
    [RV_OP_vfwredusum_vs] = {sum_wide, IR_V_FWREDSUM, FROM_V, 0}, [RV_OP_vfwredosum_vs] = {sum_wide, IR_V_FWREDSUM, FROM_V, 0},
    [RV_OP_vfredusum_vs] = {sum_floats, IR_V_FREDSUM, FROM_V, 0}, [RV_OP_vfredosum_vs] = {sum_floats, IR_V_FREDSUM, FROM_V, 0},
    REDUCE(vredsum, REDSUM), REDUCE(vredand, REDAND), REDUCE(vredor, REDOR), REDUCE(vredxor, REDXOR),
    REDUCE(vredmin, REDMIN), REDUCE(vredmax, REDMAX), REDUCE(vredminu, REDMINU), REDUCE(vredmaxu, REDMAXU),
    CARRY(vadc, ADC), [RV_OP_vadc_vim] = {carry, IR_V_ADC, FROM_I, 0}, CARRY(vsbc, SBC),
    CARRY_OUT(vmadc, MADC), [RV_OP_vmadc_vi] = {carry_out, IR_V_MADC, FROM_I, 0},
    [RV_OP_vmadc_vim] = {carry_out, IR_V_MADCC, FROM_I, 0}, CARRY_OUT(vmsbc, MSBC),
    [RV_OP_viota_m] = {iota, IR_V_IOTA, FROM_NOWHERE, 0},
    [RV_OP_vid_v] = {vid, IR_V_ID, FROM_NOWHERE, 0},
    [RV_OP_vrgather_vv] = {gather, IR_V_GATHER, FROM_V, 0}, [RV_OP_vrgatherei16_vv] = {gather, IR_V_GATHER16, FROM_V, 1},
    [RV_OP_vrgather_vx] = {pick, IR_V_PICK, FROM_X, 0}, [RV_OP_vrgather_vi] = {pick, IR_V_PICK, FROM_I, 0},
    [RV_OP_vcompress_vm] = {compress, IR_V_COMPRESS, FROM_V, 0},
    VX(vslideup, SLIDEUP, slide), VI(vslideup, SLIDEUP, slide),
    VX(vslidedown, SLIDEDOWN, slide), VI(vslidedown, SLIDEDOWN, slide),
    MASKS(vmand, MAND), MASKS(vmnand, MNAND), MASKS(vmandn, MANDN), MASKS(vmxor, MXOR), MASKS(vmor, MOR), MASKS(vmnor, MNOR),
    MASKS(vmorn, MORN), MASKS(vmxnor, MXNOR), [RV_OP_vmsbf_m] = {masks, IR_V_MSBF, 0, 1},
    [RV_OP_vmsif_m] = {masks, IR_V_MSIF, 0, 1}, [RV_OP_vmsof_m] = {masks, IR_V_MSOF, 0, 1},
    [RV_OP_vslide1up_vx] = {slide_1, IR_V_SLIDE1UP, FROM_X, 0},
    [RV_OP_vslide1down_vx] = {slide_1, IR_V_SLIDE1DOWN, FROM_X, 0},
    [RV_OP_vfslide1up_vf] = {slide_1, IR_V_SLIDE1UP, FROM_F, 0},
    [RV_OP_vfslide1down_vf] = {slide_1, IR_V_SLIDE1DOWN, FROM_F, 0},
    VV(vmslt, LT, compare), VX(vmslt, LT, compare), VX(vmsgt, GT, compare), VI(vmsgt, GT, compare),
    VV_VF(vfadd, FADD), VV_VF(vfsub, FSUB), VF(vfrsub, FRSUB), VV_VF(vfmul, FMUL), VV_VF(vfdiv, FDIV),
    VF(vfrdiv, FRDIV), [RV_OP_vfsqrt_v] = {elements, IR_V_FSQRT, FROM_NOWHERE, 0},
    VV_VF(vfmacc, FMACC), VV_VF(vfmsac, FMSAC), VV_VF(vfnmsac, FNMSAC), VV_VF(vfnmacc, FNMACC),
    VV_VF(vfmadd, FMADD), VV_VF(vfmsub, FMSUB), VV_VF(vfnmsub, FNMSUB), VV_VF(vfnmadd, FNMADD),
    VV_VF(vfsgnj, FSGNJ), VV_VF(vfsgnjx, FSGNJX), 
    [RV_OP_vfsgnjn_vv] = {sign_inverted, IR_V_FSGNJN, FROM_V, 0}, [RV_OP_vfsgnjn_vf] = {sign_inverted, IR_V_FSGNJN, FROM_F, 0},
    [RV_OP_vfirst_m] = {mask_to_x, IR_V_FIRST, 0, 0}, [RV_OP_vcpop_m] = {mask_to_x, IR_V_COUNT, 0, 0},
    [RV_OP_vmv_x_s] = {to_scalar, IR_V_TO_SCALAR, 0, 0}, [RV_OP_vfmv_f_s] = {to_scalar, IR_V_TO_SCALAR, 1, 0},
    [RV_OP_vmv_s_x] = {from_scalar, IR_V_FROM_SCALAR, FROM_X, 0},
    [RV_OP_vfmv_s_f] = {from_scalar, IR_V_FROM_SCALAR, FROM_F, 0},
};
/* clang-format on */
