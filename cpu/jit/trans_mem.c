/* Loads, stores, AMO, LR/SC, Zacas. */
#include "lrsc.h"
#include "trans.h"

static bool load(struct trans *t, const struct trans_row *row)
{
    struct ir_insn *n = ir_emit(t->r, IR_LOAD, IR_I64, t->i->rd, trans_x(t, t->i->rs1), IR_NONE);

    n->aux = row->aux;
    n->imm = t->i->imm;
    return true;
}

static bool store(struct trans *t, const struct trans_row *row)
{
    ir_ref value = trans_x(t, t->i->rs2);
    struct ir_insn *n = ir_emit(t->r, IR_STORE, IR_I64, IR_NONE, trans_x(t, t->i->rs1), value);

    n->aux = row->aux;
    n->imm = t->i->imm;
    return true;
}

static uint8_t kind_of(const struct trans_row *row)
{
    return row->type == IR_I32 ? IR_S32 : IR_M64;
}

static bool amo(struct trans *t, const struct trans_row *row)
{
    ir_ref value = trans_x(t, t->i->rs2);
    struct ir_insn *n = ir_emit(t->r, IR_AMO, (enum ir_type)row->type, t->i->rd,
                                trans_x(t, t->i->rs1), value);

    n->cc = row->aux;
    n->aux = kind_of(row);
    return true;
}

static bool amocas(struct trans *t, const struct trans_row *row)
{
    ir_ref expected = trans_x(t, t->i->rd), value = trans_x(t, t->i->rs2);
    struct ir_insn *n = ir_emit(t->r, IR_CAS, (enum ir_type)row->type, t->i->rd,
                                trans_x(t, t->i->rs1), expected);

    n->src[2] = value;
    n->aux = kind_of(row);
    return true;
}

/* The value of hart.res_sc for an SC at an offset of the page, or for one of RV_SC_*. */
static ir_ref sc_mark(struct trans *t, uint64_t mark)
{
    bool special = mark == RV_SC_NONE || mark == RV_SC_ALONE;

    return special ? ir_const(t->r, (int64_t)mark) : ir_pc(t->r, IR_NONE, (int64_t)mark);
}

static bool load_reserved(struct trans *t, const struct trans_row *row)
{
    uint64_t mark = t->alone ? RV_SC_ALONE : t->sc_mark;

    if (!mark)
        return false;
    ir_ref sc = sc_mark(t, mark), address = trans_x(t, t->i->rs1);
    struct ir_insn *n = ir_emit(t->r, IR_LR, (enum ir_type)row->type, t->i->rd, address, sc);

    n->aux = kind_of(row);
    return true;
}

static bool store_conditional(struct trans *t, const struct trans_row *row)
{
    ir_ref value = trans_x(t, t->i->rs2), address = trans_x(t, t->i->rs1);
    ir_ref mark = sc_mark(t, t->alone ? RV_SC_ALONE : (uint64_t)t->pc);
    struct ir_insn *n = ir_emit(t->r, IR_SC, (enum ir_type)row->type, t->i->rd, address, value);

    n->src[2] = mark;
    n->aux = kind_of(row);
    return true;
}

static bool zero_block(struct trans *t, const struct trans_row *row)
{
    (void)row;
    if (!t->i->rs1)
        return false;
    ir_emit(t->r, IR_ZERO64, IR_I64, IR_NONE, t->i->rs1, IR_NONE)->aux = IR_U8;
    return true;
}

#define L(name, kind) [RV_OP_##name] = {load, 0, 0, IR_##kind}
#define S(name, kind) [RV_OP_##name] = {store, 0, 0, IR_##kind}
#define AMO(name, kind)                                                                            \
    [RV_OP_##name##_w] = {amo, 0, IR_I32, IR_##kind}, [RV_OP_##name##_d] = {amo, 0, IR_I64, IR_##kind}
/* clang-format off */
const struct trans_row trans_mem_rows[RV_OP_COUNT] = {
    L(lb, S8), L(lbu, U8), L(lh, S16), L(lhu, U16), L(lw, S32), L(lwu, U32), L(ld, M64),
    S(sb, U8), S(sh, U16), S(sw, U32), S(sd, M64),
    AMO(amoswap, SWAP), AMO(amoadd, AADD), AMO(amoand, AAND), AMO(amoor, AOR), AMO(amoxor, AXOR),
    AMO(amomin, AMIN), AMO(amomax, AMAX), AMO(amominu, AMINU), AMO(amomaxu, AMAXU),
    [RV_OP_amocas_w] = {amocas, 0, IR_I32, 0}, [RV_OP_amocas_d] = {amocas, 0, IR_I64, 0},
    [RV_OP_cbo_zero] = {zero_block, 0, 0, 0},
    [RV_OP_lr_w] = {load_reserved, 0, IR_I32, 0}, [RV_OP_lr_d] = {load_reserved, 0, IR_I64, 0},
    [RV_OP_sc_w] = {store_conditional, 0, IR_I32, 0},
    [RV_OP_sc_d] = {store_conditional, 0, IR_I64, 0},
};
/* clang-format on */
