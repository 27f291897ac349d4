/* The semantics of every op of the tables: exec_<op>(), contract in insn.h (enum rv_exec).
 * Who has them: exec_int.c (I, M, Zicond), exec_bitmanip.c (Zb*), exec_atomic.c (A, Zacas),
 * exec_cbo.c (Zicbo*), exec_fp.c (F, D), exec_system.c (SYSTEM and fences). */
#ifndef CPU_RISCV_EXEC_H
#define CPU_RISCV_EXEC_H

#include "hart.h"

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

#endif
