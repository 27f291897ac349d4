/* SYSTEM instructions and fences: ECALL, EBREAK, xRET, WFI, SFENCE.VMA and Svinval, Zicsr, Zawrs,
 * Zihintpause. */
#include "csr_bits.h"
#include "exec.h"
#include "sim-core/compiler.h"

enum rv_exec exec_ecall(struct rv_hart *h, const struct rv_insn *i)
{
    (void)i;
    return rv_trap(h, RV_EXC_ECALL_U + h->priv, 0);
}

enum rv_exec exec_ebreak(struct rv_hart *h, const struct rv_insn *i)
{
    (void)i;
    return rv_trap(h, RV_EXC_BREAKPOINT, h->pc);
}

/* --- returns from traps (Priv. 3.3.2) --- */

enum rv_exec exec_mret(struct rv_hart *h, const struct rv_insn *i)
{
    uint64_t s = h->mstatus;
    uint8_t to = (uint8_t)sim_bits(s, MSTATUS_MPP_SHIFT, 2);

    if (h->priv != RV_M)
        return rv_illegal(h, i);
    s = s & MSTATUS_MPIE ? s | MSTATUS_MIE : s & ~MSTATUS_MIE;
    s = (s | MSTATUS_MPIE) & ~MSTATUS_MPP;
    if (!rv_isa_has(&h->isa, RV_EXT_U))
        s |= MSTATUS_MPP; /* the least privileged mode there is */
    if (to != RV_M)
        s &= ~MSTATUS_MPRV;
    h->mstatus = s;
    h->priv = to;
    h->pc = h->mepc;
    rv_tlb_select(h);
    return RV_JSYNC;
}

enum rv_exec exec_sret(struct rv_hart *h, const struct rv_insn *i)
{
    uint64_t s = h->mstatus;
    uint8_t to = s & MSTATUS_SPP ? RV_S : RV_U;

    if (h->priv == RV_U || (h->priv == RV_S && (s & MSTATUS_TSR)))
        return rv_illegal(h, i);
    s = s & MSTATUS_SPIE ? s | MSTATUS_SIE : s & ~MSTATUS_SIE;
    s = (s | MSTATUS_SPIE) & ~(MSTATUS_SPP | MSTATUS_MPRV);
    h->mstatus = s;
    h->priv = to;
    h->pc = h->sepc;
    rv_tlb_select(h);
    return RV_JSYNC;
}

/* --- waiting --- */

static enum rv_exec stop(struct rv_hart *h, enum rv_stop_reason reason)
{
    h->stop_reason = reason;
    return RV_STOP;
}

/* TW makes waiting below M illegal (Priv. 3.1.6.5); U mode has no WFI when there is S (3.3.3). */
enum rv_exec exec_wfi(struct rv_hart *h, const struct rv_insn *i)
{
    if (h->priv != RV_M && (h->mstatus & MSTATUS_TW))
        return rv_illegal(h, i);
    if (h->priv == RV_U && rv_isa_has(&h->isa, RV_EXT_S))
        return rv_illegal(h, i);
    return stop(h, RV_STOP_WFI);
}

enum rv_exec exec_wrs_sto(struct rv_hart *h, const struct rv_insn *i)
{
    (void)i;
    return h->res_addr == RV_NO_RES ? RV_NEXT : stop(h, RV_STOP_WRS);
}

/* We never wait long, so TW's "bounded time" is always kept. */
enum rv_exec exec_wrs_nto(struct rv_hart *h, const struct rv_insn *i)
{
    return exec_wrs_sto(h, i);
}

enum rv_exec exec_pause(struct rv_hart *h, const struct rv_insn *i)
{
    (void)i;
    return stop(h, RV_STOP_PAUSE);
}

/* --- fences --- */

enum rv_exec exec_fence(struct rv_hart *h, const struct rv_insn *i)
{
    (void)h, (void)i;
    sim_fence();
    return RV_NEXT;
}

/* Translations follow stores by themselves, and the next fetch sees memory; but this core may have fetched host code
 * before it was patched. */
enum rv_exec exec_fence_i(struct rv_hart *h, const struct rv_insn *i)
{
    (void)h, (void)i;
    sim_sync_code();
    return RV_SYNC;
}

/* Priv. 4.2.1; the ASID is 16 bits wide */
enum rv_exec exec_sfence_vma(struct rv_hart *h, const struct rv_insn *i)
{
    struct rv_fence_range range = {0, UINT64_MAX, RV_ASID_ANY};

    if (h->priv == RV_U || (h->priv == RV_S && (h->mstatus & MSTATUS_TVM)))
        return rv_illegal(h, i);
    if (i->rs1) {
        range.va = h->x[i->rs1] & GUEST_PAGE_MASK;
        range.size = GUEST_PAGE_SIZE;
    }
    if (i->rs2)
        range.asid = h->x[i->rs2] & 0xffff;
    rv_tlb_flush_range(h, &range);
    return RV_SYNC;
}

enum rv_exec exec_sinval_vma(struct rv_hart *h, const struct rv_insn *i)
{
    return exec_sfence_vma(h, i);
}

/* The invalidation itself has already ordered everything. */
enum rv_exec exec_sfence_w_inval(struct rv_hart *h, const struct rv_insn *i)
{
    return h->priv == RV_U ? rv_illegal(h, i) : RV_NEXT;
}

enum rv_exec exec_sfence_inval_ir(struct rv_hart *h, const struct rv_insn *i)
{
    return h->priv == RV_U ? rv_illegal(h, i) : RV_NEXT;
}

/* --- Zicsr: CSRRW does not read for rd = x0, CSRRS and CSRRC do not write for rs1 = 0 --- */

static enum rv_exec csr_swap(struct rv_hart *h, const struct rv_insn *i, uint64_t value)
{
    uint64_t old;
    enum rv_exec result =
        rv_csr_rmw(h, i, (unsigned)i->imm & 0xfff, i->rd ? &old : NULL, true, UINT64_MAX, value);

    if (result != RV_TRAP && i->rd)
        h->x[i->rd] = old;
    return result;
}

static enum rv_exec csr_change(struct rv_hart *h, const struct rv_insn *i, uint64_t mask,
                               uint64_t bits)
{
    uint64_t old;
    enum rv_exec result =
        rv_csr_rmw(h, i, (unsigned)i->imm & 0xfff, &old, i->rs1 != 0, mask, bits);

    if (result != RV_TRAP)
        rv_set_x(h, i->rd, old);
    return result;
}

enum rv_exec exec_csrrw(struct rv_hart *h, const struct rv_insn *i)
{
    return csr_swap(h, i, h->x[i->rs1]);
}

enum rv_exec exec_csrrs(struct rv_hart *h, const struct rv_insn *i)
{
    return csr_change(h, i, h->x[i->rs1], UINT64_MAX);
}

enum rv_exec exec_csrrc(struct rv_hart *h, const struct rv_insn *i)
{
    return csr_change(h, i, h->x[i->rs1], 0);
}

enum rv_exec exec_csrrwi(struct rv_hart *h, const struct rv_insn *i)
{
    return csr_swap(h, i, i->rs1);
}

enum rv_exec exec_csrrsi(struct rv_hart *h, const struct rv_insn *i)
{
    return csr_change(h, i, i->rs1, UINT64_MAX);
}

enum rv_exec exec_csrrci(struct rv_hart *h, const struct rv_insn *i)
{
    return csr_change(h, i, i->rs1, 0);
}
