/* Semantics of RV64I, M and Zicond: one line per instruction where that is all there is to say.
 *
 * a, b, imm: RV_EXEC_COMPUTE in exec.h. Contract: insn.h. */
#include "exec.h"
#include "mem.h"

typedef __int128 i128;
typedef unsigned __int128 u128;

/* The low word, sign-extended, as the *W instructions leave it. */
static inline uint64_t word(uint64_t v)
{
    return (uint64_t)(int64_t)(int32_t)v;
}

enum rv_exec exec_illegal(struct rv_hart *h, const struct rv_insn *i)
{
    return rv_illegal(h, i);
}

/* ---- RV64I: computing ---- */

RV_EXEC_COMPUTE(lui, imm)
RV_EXEC_COMPUTE(auipc, h->pc + imm)

RV_EXEC_COMPUTE(addi, a + imm)
RV_EXEC_COMPUTE(slti, (int64_t)a < (int64_t)imm)
RV_EXEC_COMPUTE(sltiu, a < imm)
RV_EXEC_COMPUTE(xori, a ^ imm)
RV_EXEC_COMPUTE(ori, a | imm)
RV_EXEC_COMPUTE(andi, a & imm)
RV_EXEC_COMPUTE(slli, a << imm)
RV_EXEC_COMPUTE(srli, a >> imm)
RV_EXEC_COMPUTE(srai, (int64_t)a >> imm)

RV_EXEC_COMPUTE(add, a + b)
RV_EXEC_COMPUTE(sub, a - b)
RV_EXEC_COMPUTE(sll, a << (b & 63))
RV_EXEC_COMPUTE(slt, (int64_t)a < (int64_t)b)
RV_EXEC_COMPUTE(sltu, a < b)
RV_EXEC_COMPUTE(xor, a ^ b)
RV_EXEC_COMPUTE(srl, a >> (b & 63))
RV_EXEC_COMPUTE(sra, (int64_t)a >> (b & 63))
RV_EXEC_COMPUTE(or, a | b)
RV_EXEC_COMPUTE(and, a & b)

RV_EXEC_COMPUTE(addiw, word(a + imm))
RV_EXEC_COMPUTE(slliw, word(a << imm))
RV_EXEC_COMPUTE(srliw, word((uint32_t)a >> imm))
RV_EXEC_COMPUTE(sraiw, (int32_t)a >> imm)
RV_EXEC_COMPUTE(addw, word(a + b))
RV_EXEC_COMPUTE(subw, word(a - b))
RV_EXEC_COMPUTE(sllw, word(a << (b & 31)))
RV_EXEC_COMPUTE(srlw, word((uint32_t)a >> (b & 31)))
RV_EXEC_COMPUTE(sraw, (int32_t)a >> (b & 31))

/* ---- M ---- No trap: division by zero and overflow have defined results (Unpriv. 13.2). */

static inline int64_t div_s64(int64_t a, int64_t b)
{
    if (b == 0)
        return -1;
    return b == -1 ? (int64_t)-(uint64_t)a : a / b;
}

static inline int64_t rem_s64(int64_t a, int64_t b)
{
    if (b == 0)
        return a;
    return b == -1 ? 0 : a % b;
}

RV_EXEC_COMPUTE(mul, a * b)
RV_EXEC_COMPUTE(mulh, (i128)(int64_t)a * (int64_t)b >> 64)
RV_EXEC_COMPUTE(mulhsu, (i128)(int64_t)a * (i128)b >> 64)
RV_EXEC_COMPUTE(mulhu, (u128)a * b >> 64)
RV_EXEC_COMPUTE(div, div_s64((int64_t)a, (int64_t)b))
RV_EXEC_COMPUTE(divu, b ? a / b : UINT64_MAX)
RV_EXEC_COMPUTE(rem, rem_s64((int64_t)a, (int64_t)b))
RV_EXEC_COMPUTE(remu, b ? a % b : a)
RV_EXEC_COMPUTE(mulw, word(a * b))
RV_EXEC_COMPUTE(divw, word((uint64_t)div_s64((int32_t)a, (int32_t)b)))
RV_EXEC_COMPUTE(divuw, word((uint32_t)b ? (uint32_t)a / (uint32_t)b : UINT32_MAX))
RV_EXEC_COMPUTE(remw, word((uint64_t)rem_s64((int32_t)a, (int32_t)b)))
RV_EXEC_COMPUTE(remuw, word((uint32_t)b ? (uint32_t)a % (uint32_t)b : (uint32_t)a))

/* ---- Zicond ---- */

RV_EXEC_COMPUTE(czero_eqz, b == 0 ? 0 : a)
RV_EXEC_COMPUTE(czero_nez, b != 0 ? 0 : a)

/* ---- jumps and branches ---- */

/* Goes to target, an even address. Without C it must be a multiple of four: the trap is the
 * jump's own, and its rd stays as it was (Unpriv. 2.5). */
static inline enum rv_exec jump(struct rv_hart *h, uint64_t target)
{
    if ((target & 2) && !rv_isa_has(&h->isa, RV_EXT_C))
        return rv_trap(h, RV_EXC_INSN_MISALIGNED, target);
    h->pc = target;
    return RV_JUMP;
}

static inline enum rv_exec jump_and_link(struct rv_hart *h, const struct rv_insn *i,
                                         uint64_t target)
{
    uint64_t link = h->pc + i->len;
    enum rv_exec r = jump(h, target);

    if (r == RV_JUMP)
        rv_set_x(h, i->rd, link);
    return r;
}

enum rv_exec exec_jal(struct rv_hart *h, const struct rv_insn *i)
{
    return jump_and_link(h, i, h->pc + (uint64_t)(int64_t)i->imm);
}

enum rv_exec exec_jalr(struct rv_hart *h, const struct rv_insn *i)
{
    h->indirect_from = h->pc;
    return jump_and_link(h, i, (h->x[i->rs1] + (uint64_t)(int64_t)i->imm) & ~1ull);
}

#define BRANCH(op, taken)                                                                          \
    enum rv_exec exec_##op(struct rv_hart *h, const struct rv_insn *i)                             \
    {                                                                                              \
        const uint64_t a = h->x[i->rs1], b = h->x[i->rs2];                                         \
                                                                                                   \
        return (taken) ? jump(h, h->pc + (uint64_t)(int64_t)i->imm) : RV_NEXT;                     \
    }

BRANCH(beq, a == b)
BRANCH(bne, a != b)
BRANCH(blt, (int64_t)a < (int64_t)b)
BRANCH(bge, (int64_t)a >= (int64_t)b)
BRANCH(bltu, a < b)
BRANCH(bgeu, a >= b)

/* ---- loads and stores ---- */

#define LOAD(op, size, type)                                                                       \
    enum rv_exec exec_##op(struct rv_hart *h, const struct rv_insn *i)                             \
    {                                                                                              \
        uint64_t v;                                                                                \
                                                                                                   \
        if (!rv_load(h, h->x[i->rs1] + (uint64_t)(int64_t)i->imm, size, &v))                       \
            return RV_TRAP;                                                                        \
        rv_set_x(h, i->rd, (uint64_t)(int64_t)(type)v);                                            \
        return RV_NEXT;                                                                            \
    }

LOAD(lb, 1, int8_t)
LOAD(lh, 2, int16_t)
LOAD(lw, 4, int32_t)
LOAD(ld, 8, int64_t)
LOAD(lbu, 1, uint8_t)
LOAD(lhu, 2, uint16_t)
LOAD(lwu, 4, uint32_t)

#define STORE(op, size)                                                                            \
    enum rv_exec exec_##op(struct rv_hart *h, const struct rv_insn *i)                             \
    {                                                                                              \
        if (!rv_store(h, h->x[i->rs1] + (uint64_t)(int64_t)i->imm, size, h->x[i->rs2]))            \
            return RV_TRAP;                                                                        \
        return RV_NEXT;                                                                            \
    }

STORE(sb, 1)
STORE(sh, 2)
STORE(sw, 4)
STORE(sd, 8)
