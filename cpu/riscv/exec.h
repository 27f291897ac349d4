/* The semantics of every op of the tables: exec_<op>(), contract in insn.h (enum rv_exec).
 * Who has them: exec_int.c (I, M, Zicond), exec_bitmanip.c (Zb*), exec_atomic.c (A, Zacas),
 * exec_cbo.c (Zicbo*), exec_fp.c (F, D), exec_system.c (SYSTEM and fences), vec*.c (V: vec.h). */
#ifndef CPU_RISCV_EXEC_H
#define CPU_RISCV_EXEC_H

#include "hart.h"
#include "sim-core/compiler.h"

#define RV_EXEC_DECLARE(op, ext)                                                                   \
    enum rv_exec exec_##op(struct rv_hart *h, const struct rv_insn *i);
RV_OPS(RV_EXEC_DECLARE)
#undef RV_EXEC_DECLARE
enum rv_exec exec_illegal(struct rv_hart *h, const struct rv_insn *i);

/* Writes to x0 do not stick. */
static inline void rv_set_x(struct rv_hart *h, unsigned rd, uint64_t value)
{
    h->x[rd] = value;
    h->x[0] = 0;
}

/* Operands and result of an instruction that only computes: `expr` may use a, b (the values of rs1
 * and rs2) and imm (sign-extended, or the shift amount). */
#define RV_EXEC_COMPUTE(op, expr)                                                                  \
    enum rv_exec exec_##op(struct rv_hart *h, const struct rv_insn *i)                             \
    {                                                                                              \
        SIM_UNUSED const uint64_t a = h->x[i->rs1], b = h->x[i->rs2];                              \
        SIM_UNUSED const uint64_t imm = (uint64_t)(int64_t)i->imm;                                 \
                                                                                                   \
        rv_set_x(h, i->rd, (uint64_t)(expr));                                                      \
        return RV_NEXT;                                                                            \
    }

#endif
