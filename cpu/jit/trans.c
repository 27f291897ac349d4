/* Finding an op's row, and the fallback: the interpreter's function. */
#include "trans.h"

#include <string.h>

void trans_block_begin(struct trans *t)
{
    t->fs_dirty = false;
    t->boxed = 0;
    memset(t->single, 0, sizeof t->single);
}

/* After an instruction that the interpreter's function ran, nothing is known of what it wrote. */
static void forget(struct trans *t)
{
    unsigned flags = rv_op_info[t->i->op].flags;

    if (flags & RV_OPF_RD_F) {
        t->boxed &= ~(1u << t->i->rd);
        t->single[t->i->rd] = IR_NONE;
    }
    if (flags & RV_OPF_SYSTEM)
        t->fs_dirty = false; /* a CSR write may have made FS clean */
}

void trans_exec(struct trans *t, bool end)
{
    ir_ref dst = IR_NONE;
    unsigned flags = rv_op_info[t->i->op].flags;

    if (flags & RV_OPF_RD_F)
        dst = trans_f(t->i->rd);
    else if (rv_writes_x(flags) && t->i->rd)
        dst = t->i->rd;
    if (flags & RV_OPF_FP)
        t->uses_fp = true;
    if (flags & RV_OPF_VECTOR)
        trans_vec_executed(t);
    ir_emit(t->r, end ? IR_EXEC_END : IR_EXEC, IR_I64, dst, IR_NONE, IR_NONE);
    forget(t);
}

uint8_t trans_mem_kind(unsigned op)
{
    if (!(rv_op_info[op].flags & (RV_OPF_LOAD | RV_OPF_STORE)))
        return 0;
    return trans_mem_rows[op].fn ? trans_mem_rows[op].aux : trans_fp_rows[op].aux;
}

void trans_insn(struct trans *t)
{
    static const struct trans_row *const tables[] = {trans_int_rows, trans_mem_rows, trans_fp_rows,
                                                    trans_vec_rows, trans_vec_mem_rows, trans_csr_rows};

    for (unsigned n = 0; n < SIM_ARRAY_LEN(tables); n++) {
        const struct trans_row *row = &tables[n][t->i->op];
        if (!row->fn)
            continue;
        if (row->fn(t, row))
            return;
        break;
    }
    if (!trans_vec_call(t))
        trans_exec(t, false);
}
