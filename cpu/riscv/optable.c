/* rv_op_info: name, semantics, flags and access size of every op, from the generated rows. */
#include "exec.h"

/* Until their files are here, the semantics of F, D and SYSTEM may be missing. */
#if !__has_include("exec_fp.c")
#define RV_WEAK_F(op) __attribute__((weak)) enum rv_exec exec_##op(struct rv_hart *h, const struct rv_insn *i);
#else
#define RV_WEAK_F(op)
#endif
#if !__has_include("exec_system.c")
#define RV_WEAK_S(op) __attribute__((weak)) enum rv_exec exec_##op(struct rv_hart *h, const struct rv_insn *i);
#else
#define RV_WEAK_S(op)
#endif
#define RV_WEAK(op, ext) RV_WEAK_##ext(op)
#define RV_WEAK_D(op) RV_WEAK_F(op)
#define RV_WEAK_ZICSR(op) RV_WEAK_S(op)
#define RV_WEAK_ZIFENCEI(op) RV_WEAK_S(op)
#define RV_WEAK_ZIHINTPAUSE(op) RV_WEAK_S(op)
#define RV_WEAK_ZAWRS(op) RV_WEAK_S(op)
#define RV_WEAK_SVINVAL(op) RV_WEAK_S(op)
#define RV_WEAK_I(op)
#define RV_WEAK_M(op)
#define RV_WEAK_A(op)
#define RV_WEAK_ZACAS(op)
#define RV_WEAK_ZBA(op)
#define RV_WEAK_ZBB(op)
#define RV_WEAK_ZBS(op)
#define RV_WEAK_ZICOND(op)
#define RV_WEAK_ZICBOM(op)
#define RV_WEAK_ZICBOZ(op)
RV_OPS(RV_WEAK)
RV_WEAK_S(fence)
RV_WEAK_S(ecall)
RV_WEAK_S(ebreak)
RV_WEAK_S(mret)
RV_WEAK_S(wfi)

#define RV_GEN_OP_INFO
#include "rv_decode.inc"
