/* Decoded RISC-V instructions: what the decoder makes, the interpreter executes and the JIT translates.
 *
 * insn.decode -> [mkdecode at build time] -> rv_ops.h (enum rv_op) + decode tables
 *
 * One spec line per encoding. A 16-bit instruction decodes to the op of the 32-bit instruction it
 * stands for (len tells), so execution and translation know only one set. Op names are the
 * mnemonics with '.' written as '_': RV_OP_add, RV_OP_fadd_d, RV_OP_amoadd_w, RV_OP_lr_w. */
#ifndef CPU_RISCV_INSN_H
#define CPU_RISCV_INSN_H

#include <stdbool.h>
#include <stdint.h>

#include "cpu/riscv.h"
#include "rv_ops.h" /* generated: enum rv_op { RV_OP_illegal = 0, RV_OP_lui, ..., RV_OP_COUNT } */

struct rv_insn {
    uint16_t op;
    uint8_t len;            /* 2 or 4 */
    uint8_t rd, rs1, rs2, rs3; /* register numbers; CSR immediates (zimm) are in rs1; V: rs3 is nf */
    uint8_t rm;             /* FP rounding mode field; aq << 1 | rl for A and Zacas; V: the bit vm */
    int32_t imm;            /* sign-extended immediate; shamt; CSR number; lui/auipc: imm << 12 */
    uint32_t raw;           /* as fetched (low 16 bits only when len == 2): mtval of illegal */
};

enum {
    RV_OPF_BRANCH = 1 << 0, /* conditional, pc-relative */
    RV_OPF_JUMP = 1 << 1,   /* jal, jalr */
    RV_OPF_LOAD = 1 << 2,
    RV_OPF_STORE = 1 << 3,
    RV_OPF_ATOMIC = 1 << 4,
    RV_OPF_FP = 1 << 5,     /* needs FS != Off */
    RV_OPF_SYSTEM = 1 << 6, /* may change privilege, translation or interrupts: ends a block */
    RV_OPF_RD_F = 1 << 7,   /* rd is an f register */
    RV_OPF_RS1_F = 1 << 8,
    RV_OPF_RS2_F = 1 << 9,
    RV_OPF_VECTOR = 1 << 10, /* needs VS != Off; rd is a vector register, but for */
    RV_OPF_RD_X = 1 << 11    /* these, and those with RD_F */
};

/* By the flags of an op: is rd an x register? */
static inline bool rv_writes_x(unsigned flags)
{
    if (flags & RV_OPF_VECTOR)
        return flags & RV_OPF_RD_X;
    return !(flags & (RV_OPF_RD_F | RV_OPF_STORE | RV_OPF_BRANCH));
}

struct rv_hart;

/* What executing one instruction led to. pc handling is the caller's, by this value:
 * exec functions see h->pc = their own address. */
enum rv_exec {
    RV_NEXT, /* done; pc += len (after a CSR instruction h->tlb may be another) */
    RV_JUMP, /* done; h->pc is already the target */
    RV_SYNC, /* as NEXT, and translation, privilege or interrupt state may have changed */
    RV_JSYNC,/* as JUMP, likewise (mret, sret) */
    RV_TRAP, /* not done: h->trap_cause and h->trap_tval say why; h->pc unchanged */
    RV_STOP  /* as NEXT for pc, then leave to the executor: h->stop_reason (wfi, pause, ...);
              * with RV_STOP_EXCLUSIVE nothing was done and pc stays */
};

typedef enum rv_exec (*rv_exec_fn)(struct rv_hart *h, const struct rv_insn *i);

struct rv_op_info {
    const char *name; /* mnemonic */
    rv_exec_fn exec;  /* the interpreter's semantics, never NULL */
    uint16_t flags;   /* RV_OPF_* */
    uint8_t ext;      /* enum rv_ext the op needs (exec is reached only when the hart has it) */
    uint8_t size;     /* access size of loads, stores, atomics */
};

extern const struct rv_op_info rv_op_info[RV_OP_COUNT];

/* Decodes one instruction; raw holds 32 bits (upper half ignored when the low two bits say 16-bit).
 * Unknown, reserved or disabled encodings give RV_OP_illegal. Pure. Context: any. */
void rv_decode(uint32_t raw, const struct rv_isa *isa, struct rv_insn *out);

static inline unsigned rv_insn_len(uint32_t raw)
{
    return (raw & 3) == 3 ? 4 : 2;
}

#endif
