/* Which loops only wait: for memory that somebody else writes, an interrupt, or a lock.
 *
 * A loop whose rounds compute nothing from earlier rounds, and write nothing, does the same again and again until
 * something else changes: polling loops, loops of LR and branch, retries of a CAS, test-and-set by AMOSWAP. Translated
 * code leaves it after a short chunk of budget; the interpreter runs a round of it, and when that changed nothing the hart
 * gives way (jit.c): here nobody can tell the retry of an LR/SC that fails from one that is not needed. A loop that
 * counts, walks a list or stores is none. */
#include "scan.h"

#include "jit_priv.h"

static bool goes_back_to(const struct scan_insn *n, unsigned head)
{
    return (n->end == SCAN_BRANCH || n->end == SCAN_JUMP) && (int)n->offset + n->insn.imm == (int)head;
}

/* The last instruction of the short loop in one piece that begins at `head`; -1: there is none. */
static int end_of_loop(const struct scan *s, unsigned head)
{
    for (unsigned n = head; n < s->nr && n < head + SPIN_MAX_LOOP; n++) {
        if (n > head && s->insn[n].offset != s->insn[n - 1].offset + s->insn[n - 1].insn.len)
            break;
        if (goes_back_to(&s->insn[n], s->insn[head].offset))
            return (int)n;
    }
    return -1;
}

/* Does it leave everything but rd as it was, when it was executed with the same operands before? */
static bool repeats(const struct scan_insn *n)
{
    unsigned flags = rv_op_info[n->insn.op].flags;

    switch (n->insn.op) {
    case RV_OP_amoadd_w:
    case RV_OP_amoadd_d:
    case RV_OP_amoxor_w:
    case RV_OP_amoxor_d: return !n->insn.rs2;
    default: break;
    }
    if (n->end == SCAN_EXEC || (flags & (RV_OPF_FP | RV_OPF_VECTOR)) ||
        ((flags & RV_OPF_JUMP) && n->end != SCAN_JUMP))
        return false;
    return !(flags & RV_OPF_STORE) || (flags & RV_OPF_ATOMIC);
}

static uint32_t written_by(const struct rv_insn *i)
{
    return rv_writes_x(rv_op_info[i->op].flags) ? (1u << i->rd) & ~1u : 0;
}

static bool is_cas(unsigned op)
{
    return op == RV_OP_amocas_w || op == RV_OP_amocas_d || op == RV_OP_amocas_q;
}

static uint32_t read_by(const struct rv_insn *i)
{
    uint32_t rd = is_cas(i->op) ? 1u << i->rd : 0;

    return (1u << i->rs1 | 1u << i->rs2 | 1u << i->rs3 | rd) & ~1u;
}

bool jit_loop_spins(const struct scan *s, unsigned head)
{
    int end = end_of_loop(s, head);
    uint32_t written = 0, fresh = 0;

    for (int n = (int)head; n <= end; n++) {
        if (!repeats(&s->insn[n]))
            return false;
        written |= written_by(&s->insn[n].insn);
    }
    for (int n = (int)head; n <= end; n++) {
        if (read_by(&s->insn[n].insn) & written & ~fresh)
            return false; /* from the round before */
        fresh |= written_by(&s->insn[n].insn);
    }
    return end >= 0;
}
