/* I, M, Zba, Zbb, Zbs, Zicond. Operations without effect but on x0 vanish. */
#include "trans.h"

static bool emit2(struct trans *t, const struct trans_row *row, ir_ref a, ir_ref b)
{
    if (!ir_host_has(t->host, (enum ir_op)row->op, (enum ir_type)row->type, row->aux))
        return false;
    if (t->i->rd) {
        struct ir_insn *n =
            ir_emit(t->r, (enum ir_op)row->op, (enum ir_type)row->type, t->i->rd, a, b);
        n->aux = row->aux;
        n->cc = row->aux;
    }
    return true;
}

static bool reg_reg(struct trans *t, const struct trans_row *row)
{
    return emit2(t, row, trans_x(t, t->i->rs1), trans_x(t, t->i->rs2));
}

static bool reg_imm(struct trans *t, const struct trans_row *row)
{
    return emit2(t, row, trans_x(t, t->i->rs1), trans_imm(t));
}

static bool reg_only(struct trans *t, const struct trans_row *row)
{
    return emit2(t, row, trans_x(t, t->i->rs1), IR_NONE);
}

static bool constant(struct trans *t, int64_t value)
{
    if (t->i->rd)
        ir_emit(t->r, IR_MOV, IR_I64, t->i->rd, ir_const(t->r, value), IR_NONE);
    return true;
}

static bool load_upper(struct trans *t, const struct trans_row *row)
{
    (void)row;
    return constant(t, t->i->imm);
}

static bool pc_upper(struct trans *t, const struct trans_row *row)
{
    (void)row;
    if (t->i->rd)
        ir_pc(t->r, t->i->rd, t->pc + t->i->imm);
    return true;
}

/* slli.uw: the low word, zero-extended, shifted */
static bool shift_uw(struct trans *t, const struct trans_row *row)
{
    ir_ref low = ir_temp(t->r, IR_I64);

    (void)row;
    if (!t->i->rd)
        return true;
    ir_emit(t->r, IR_ZEXT32, IR_I64, low, trans_x(t, t->i->rs1), IR_NONE);
    ir_emit(t->r, IR_SHL, IR_I64, t->i->rd, low, trans_imm(t));
    return true;
}

/* Only an order that x86 does not keep by itself needs an instruction: earlier stores before later
 * loads. imm: fm << 8 | pred << 4 | succ, bits i o r w. */
static bool fence(struct trans *t, const struct trans_row *row)
{
    unsigned imm = (unsigned)t->i->imm, pred = imm >> 4 & 15, succ = imm & 15;
    bool tso = (imm >> 8 & 15) == 8;

    (void)row;
    if ((pred & 5) && (succ & 10) && !tso)
        ir_emit(t->r, IR_FENCE, IR_I64, IR_NONE, IR_NONE, IR_NONE);
    return true;
}

#define R(name, op, type, aux) [RV_OP_##name] = {reg_reg, IR_##op, IR_##type, aux}
#define I(name, op, type, aux) [RV_OP_##name] = {reg_imm, IR_##op, IR_##type, aux}
#define U(name, op, type, aux) [RV_OP_##name] = {reg_only, IR_##op, IR_##type, aux}
/* clang-format off */
const struct trans_row trans_int_rows[RV_OP_COUNT] = {
    [RV_OP_lui] = {load_upper, 0, 0, 0}, [RV_OP_auipc] = {pc_upper, 0, 0, 0},
    [RV_OP_fence] = {fence, 0, 0, 0},
    I(addi, ADD, I64, 0), I(slti, SET, I64, IR_LT), I(sltiu, SET, I64, IR_LTU),
    I(xori, XOR, I64, 0), I(ori, OR, I64, 0), I(andi, AND, I64, 0),
    I(slli, SHL, I64, 0), I(srli, SHR, I64, 0), I(srai, SAR, I64, 0),
    R(add, ADD, I64, 0), R(sub, SUB, I64, 0), R(sll, SHL, I64, 0), R(slt, SET, I64, IR_LT),
    R(sltu, SET, I64, IR_LTU), R(xor, XOR, I64, 0), R(srl, SHR, I64, 0), R(sra, SAR, I64, 0),
    R(or, OR, I64, 0), R(and, AND, I64, 0),
    I(addiw, ADD, I32, 0), I(slliw, SHL, I32, 0), I(srliw, SHR, I32, 0), I(sraiw, SAR, I32, 0),
    R(addw, ADD, I32, 0), R(subw, SUB, I32, 0), R(sllw, SHL, I32, 0), R(srlw, SHR, I32, 0),
    R(sraw, SAR, I32, 0),
    R(mul, MUL, I64, 0), R(mulh, MULH, I64, 0), R(mulhu, MULHU, I64, 0),
    R(mulhsu, MULHSU, I64, 0), R(div, DIV, I64, 0), R(divu, DIVU, I64, 0), R(rem, REM, I64, 0),
    R(remu, REMU, I64, 0), R(mulw, MUL, I32, 0), R(divw, DIV, I32, 0), R(divuw, DIVU, I32, 0),
    R(remw, REM, I32, 0), R(remuw, REMU, I32, 0),
    R(add_uw, SHADD_UW, I64, 0), R(sh1add, SHADD, I64, 1), R(sh2add, SHADD, I64, 2),
    R(sh3add, SHADD, I64, 3), R(sh1add_uw, SHADD_UW, I64, 1), R(sh2add_uw, SHADD_UW, I64, 2),
    R(sh3add_uw, SHADD_UW, I64, 3), [RV_OP_slli_uw] = {shift_uw, 0, 0, 0},
    R(andn, ANDN, I64, 0), R(orn, ORN, I64, 0), R(xnor, XNOR, I64, 0),
    U(clz, CLZ, I64, 0), U(ctz, CTZ, I64, 0), U(cpop, POPCNT, I64, 0),
    U(clzw, CLZ, I32, 0), U(ctzw, CTZ, I32, 0), U(cpopw, POPCNT, I32, 0),
    R(max, MAX, I64, 0), R(maxu, MAXU, I64, 0), R(min, MIN, I64, 0), R(minu, MINU, I64, 0),
    U(sext_b, SEXT8, I64, 0), U(sext_h, SEXT16, I64, 0), U(zext_h, ZEXT16, I64, 0),
    R(rol, ROL, I64, 0), R(ror, ROR, I64, 0), I(rori, ROR, I64, 0),
    R(rolw, ROL, I32, 0), R(rorw, ROR, I32, 0), I(roriw, ROR, I32, 0),
    U(orc_b, ORCB, I64, 0), U(rev8, BSWAP, I64, 0),
    R(bclr, BCLR, I64, 0), R(bext, BEXT, I64, 0), R(binv, BINV, I64, 0), R(bset, BSET, I64, 0),
    I(bclri, BCLR, I64, 0), I(bexti, BEXT, I64, 0), I(binvi, BINV, I64, 0), I(bseti, BSET, I64, 0),
    R(czero_eqz, CZERO, I64, IR_EQ), R(czero_nez, CZERO, I64, IR_NE),
};
/* clang-format on */
