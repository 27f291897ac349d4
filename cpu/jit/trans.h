/* RISC-V instructions -> IR. One row per op in trans_*.c: a function and its parameters.
 *
 * A row's function returns false when this instance is not for it (a rounding mode, a missing host
 * feature): the caller emits EXEC, which runs the interpreter's function. */
#ifndef CPU_JIT_TRANS_H
#define CPU_JIT_TRANS_H

#include "backend.h"
#include "hart.h"
#include "insn.h"
#include "ir.h"

struct trans {
    struct ir_region *r;
    const struct ir_host *host;
    /* of the hart it is for; the region is good for every hart with the same */
    bool alone;        /* the machine has one hart */
    bool fp_on;
    uint8_t frm;
    bool uses_fp;      /* out: the region depends on fp_on and frm */
    bool uses_priv;    /* out: it depends on the hart's privilege */
    uint8_t priv;
    /* the instruction */
    int64_t pc;        /* offset in the page */
    const struct rv_insn *i;
    uint64_t sc_mark;  /* LR: offset of the SC that may follow, or RV_SC_NONE; 0: run it by EXEC */
    const struct rv_isa *isa;
    uint64_t vtype;    /* what a vector instruction will probably find; code checks it */
    unsigned vlenb;
    /* known inside the block */
    bool fs_dirty;     /* already marked */
    uint32_t boxed;    /* f registers that hold a boxed single */
    ir_ref single[32]; /* f register -> temp with its unboxed value, or IR_NONE */
};

struct trans_row {
    bool (*fn)(struct trans *t, const struct trans_row *row);
    uint8_t op, type, aux;
};

extern const struct trans_row trans_int_rows[RV_OP_COUNT];
extern const struct trans_row trans_mem_rows[RV_OP_COUNT];
extern const struct trans_row trans_fp_rows[RV_OP_COUNT];
extern const struct trans_row trans_vec_rows[RV_OP_COUNT];
extern const struct trans_row trans_vec_mem_rows[RV_OP_COUNT];
extern const struct trans_row trans_csr_rows[RV_OP_COUNT];

/* enum ir_mem of a load or store */
uint8_t trans_mem_kind(unsigned op);
void trans_block_begin(struct trans *t);
/* One instruction that does not end the block. */
void trans_insn(struct trans *t);
/* EXEC for the instruction, or EXEC_END. */
void trans_exec(struct trans *t, bool end);

/* csrr of vl, vtype, vlenb: trans_vec.c. False: not here. */
bool trans_vec_csr(struct trans *t);
/* The interpreter's function runs a vector instruction: what is known of vtype then. */
void trans_vec_executed(struct trans *t);
/* By that function called directly, if nothing but vectors and memory changes. */
bool trans_vec_call(struct trans *t);
/* An f register as a value of `type`: trans_fp.c. */
ir_ref trans_fp_operand(struct trans *t, unsigned reg, enum ir_type type);
void trans_fp_wrote(struct trans *t, enum ir_type type);

static inline ir_ref trans_x(struct trans *t, unsigned reg)
{
    return reg ? (ir_ref)reg : ir_const(t->r, 0);
}
static inline ir_ref trans_f(unsigned reg)
{
    return (ir_ref)(32 + reg);
}
static inline ir_ref trans_imm(struct trans *t)
{
    return ir_const(t->r, t->i->imm);
}

#endif
