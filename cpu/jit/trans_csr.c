/* CSRs that a kernel touches at every trap: words of the hart, and the interrupt enable in sstatus.
 * The rest, and what has consequences, is EXEC. */
#include "csr_bits.h"
#include "trans.h"

enum { CSR_SSTATUS = 0x100 };

static unsigned csr_of(const struct trans *t)
{
    return (unsigned)t->i->imm & 0xfff;
}

static void get(struct trans *t, ir_ref dst, size_t offset)
{
    ir_emit(t->r, IR_GETW, IR_I64, dst, IR_NONE, IR_NONE)->imm = (int32_t)offset;
}

static void set(struct trans *t, size_t offset, uint64_t mask, ir_ref value)
{
    ir_ref legal = value;

    if (mask != UINT64_MAX) {
        legal = ir_temp(t->r, IR_I64);
        ir_emit(t->r, IR_AND, IR_I64, legal, value, ir_const(t->r, (int64_t)mask));
    }
    ir_emit(t->r, IR_SETW, IR_I64, IR_NONE, legal, IR_NONE)->imm = (int32_t)offset;
}

static bool swap(struct trans *t, ir_ref value)
{
    size_t offset;
    uint64_t mask;

    if (!rv_csr_is_word(t->isa, t->priv, csr_of(t), true, &offset, &mask))
        return false;
    t->uses_priv = true;
    ir_ref old = t->i->rd ? ir_temp(t->r, IR_I64) : IR_NONE;
    if (old != IR_NONE)
        get(t, old, offset);
    set(t, offset, mask, value);
    if (old != IR_NONE)
        ir_emit(t->r, IR_MOV, IR_I64, t->i->rd, old, IR_NONE);
    return true;
}

static bool csrrw(struct trans *t, const struct trans_row *row)
{
    (void)row;
    return swap(t, trans_x(t, t->i->rs1));
}

static bool csrrwi(struct trans *t, const struct trans_row *row)
{
    (void)row;
    return swap(t, ir_const(t->r, t->i->rs1));
}

/* Only while no extension's state can be dirty: a write makes FS dirty if FP state is, and a read
 * shows it. */
static bool status_is_plain(struct trans *t)
{
    if (t->fp_on || !rv_isa_has(t->isa, RV_EXT_S) || rv_isa_has(t->isa, RV_EXT_ZVE32X))
        return false;
    t->uses_fp = true;
    return true;
}

static bool read_status(struct trans *t)
{
    if (!status_is_plain(t))
        return false;
    t->uses_priv = true;
    ir_ref word = ir_temp(t->r, IR_I64);
    get(t, word, offsetof(struct rv_hart, mstatus));
    ir_emit(t->r, IR_AND, IR_I64, t->i->rd, word, ir_const(t->r, (int64_t)rv_sstatus_view()));
    return true;
}

static bool read(struct trans *t)
{
    size_t offset;
    uint64_t mask;

    if (csr_of(t) == CSR_SSTATUS)
        return t->priv >= RV_S && read_status(t);
    if (!rv_csr_is_word(t->isa, t->priv, csr_of(t), false, &offset, &mask))
        return false;
    t->uses_priv = true;
    get(t, t->i->rd, offset);
    return true;
}

/* aux of the row: set, not clear */
static bool change(struct trans *t, ir_ref bits, bool set_bits)
{
    if (csr_of(t) != CSR_SSTATUS || t->priv < RV_S || !status_is_plain(t))
        return false;
    if (ir_is_const(bits) && (ir_const_value(t->r, bits) & ~(int64_t)MSTATUS_SIE))
        return false;
    t->uses_priv = true;
    struct ir_insn *mask = ir_emit(t->r, IR_MASK, IR_I64, t->i->rd, bits, IR_NONE);
    mask->aux = set_bits;
    mask->imm = ir_is_const(bits); /* these bits only: what is mapped stays */
    t->fs_dirty = false; /* as after EXEC, which it may be */
    return true;
}

static bool by_register(struct trans *t, const struct trans_row *row)
{
    if (t->i->rs1)
        return change(t, t->i->rs1, row->aux);
    if (!t->i->rd)
        return false;
    return trans_vec_csr(t) || read(t);
}

static bool by_immediate(struct trans *t, const struct trans_row *row)
{
    return t->i->rs1 && change(t, ir_const(t->r, t->i->rs1), row->aux);
}

/* clang-format off */
const struct trans_row trans_csr_rows[RV_OP_COUNT] = {
    [RV_OP_csrrw] = {csrrw, 0, 0, 0}, [RV_OP_csrrwi] = {csrrwi, 0, 0, 0},
    [RV_OP_csrrs] = {by_register, 0, 0, 1}, [RV_OP_csrrc] = {by_register, 0, 0, 0},
    [RV_OP_csrrsi] = {by_immediate, 0, 0, 1}, [RV_OP_csrrci] = {by_immediate, 0, 0, 0},
};
/* clang-format on */
