/* Traps and interrupts (Priv. 3.1.6-3.1.16, 4.1): delegation, status stack, vectors, and the hart's
 * interrupt lines.
 *
 *   exec -> RV_TRAP -> rv_take_trap -> M or S vector | built-in SBI
 *   line -> irq_pins + vcpu_kick -> run loop -> rv_take_interrupt
 *
 * mip = irq_pins | mip_soft | timer_pending. SSIP is an edge: a line sets it in irq_pins, software
 * clears it there. */
#include "csr_bits.h"
#include "hart.h"
#include "observe.h"

static uint64_t vector(uint64_t tvec, uint64_t cause)
{
    uint64_t base = tvec & ~3ull;

    if ((tvec & 1) && (cause & MCAUSE_INTERRUPT))
        return base + 4 * (cause & ~MCAUSE_INTERRUPT);
    return base;
}

static void trap_to_s(struct rv_hart *h, uint64_t cause, uint64_t tval)
{
    uint64_t s = h->mstatus & ~(MSTATUS_SPP | MSTATUS_SPIE | MSTATUS_SIE);

    if (h->priv == RV_S)
        s |= MSTATUS_SPP;
    if (h->mstatus & MSTATUS_SIE)
        s |= MSTATUS_SPIE;
    h->mstatus = s;
    h->scause = cause;
    h->sepc = h->pc;
    h->stval = tval;
    h->priv = RV_S;
    h->pc = vector(h->stvec, cause);
}

static void trap_to_m(struct rv_hart *h, uint64_t cause, uint64_t tval)
{
    uint64_t s = h->mstatus & ~(MSTATUS_MPP | MSTATUS_MPIE | MSTATUS_MIE);

    s |= (uint64_t)h->priv << MSTATUS_MPP_SHIFT;
    if (h->mstatus & MSTATUS_MIE)
        s |= MSTATUS_MPIE;
    h->mstatus = s;
    h->mcause = cause;
    h->mepc = h->pc;
    h->mtval = tval;
    h->priv = RV_M;
    h->pc = vector(h->mtvec, cause);
}

static void enter_trap(struct rv_hart *h, uint64_t cause, uint64_t tval, uint64_t delegated)
{
    bool to_s = h->priv != RV_M && (delegated >> (cause & 63) & 1);

    h->res_addr = RV_NO_RES;
    if (to_s)
        trap_to_s(h, cause, tval);
    else
        trap_to_m(h, cause, tval);
    rv_tlb_select(h);
}

/* The instruction was not executed; the run loop goes on with it. */
static SIM_COLD enum rv_exec give_up(struct rv_hart *h)
{
    h->stop_reason = h->trap_cause == RV_CAUSE_WAIT ? RV_STOP_WAIT : RV_STOP_MMIO;
    return RV_STOP;
}

/* The ECALL is done when rv_sbi_ecall returns; it may have changed anything of the hart. */
static enum rv_exec serve_sbi(struct rv_hart *h)
{
    enum rv_exec next = rv_sbi_ecall(h);

    if (SIM_UNLIKELY(next == RV_TRAP))
        return give_up(h);
    if (next != RV_JUMP && next != RV_JSYNC)
        h->pc += 4;
    h->pc &= ~1ull; /* a resume address is the guest's choice */
    rv_timer_update(h);
    return next == RV_STOP ? RV_STOP : RV_JSYNC;
}

enum rv_exec rv_take_trap(struct rv_hart *h)
{
    if (SIM_UNLIKELY(h->trap_cause >= RV_CAUSE_WAIT))
        return give_up(h);
    if (SIM_UNLIKELY(h->observe & RV_OBSERVE_TRAPS))
        rv_observe_trap(h, h->trap_cause, h->trap_tval);
    h->count.traps++;
    h->budget--;
    h->minstret_offset--; /* charged, but not retired */
    if (h->sbi && h->trap_cause == RV_EXC_ECALL_S)
        return serve_sbi(h);
    enter_trap(h, h->trap_cause, h->trap_tval, h->medeleg);
    return RV_JSYNC;
}

/* --- interrupts --- */

uint64_t rv_mip(const struct rv_hart *h)
{
    return atomic_load_explicit(&h->irq_pins, memory_order_seq_cst) | h->mip_soft |
           h->timer_pending;
}

static bool timer_on(const struct rv_hart *h)
{
    return h->sbi || (h->menvcfg & ENVCFG_STCE);
}

void rv_timer_update(struct rv_hart *h)
{
    bool due = timer_on(h) && h->stimecmp != UINT64_MAX &&
               rv_machine_time(h->machine) >= h->stimecmp;

    h->timer_pending = due ? MIP_STIP : 0;
}

/* STIP wakes a hart only if it is enabled in mie. */
vtime_t rv_timer_deadline(const struct rv_hart *h)
{
    if (h->stopped || !timer_on(h) || h->stimecmp == UINT64_MAX || !(h->mie & MIP_STIP))
        return VTIME_NEVER;
    return rv_machine_tick_to_ns(h->machine, h->stimecmp);
}

bool rv_interrupt_pending(const struct rv_hart *h)
{
    return (rv_mip(h) & h->mie) != 0;
}

/* The pending interrupts that the current privilege and xIE let through, of the highest level. */
static uint64_t deliverable(const struct rv_hart *h)
{
    uint64_t pending = rv_mip(h) & h->mie;
    uint64_t to_m = pending & ~h->mideleg, to_s = pending & h->mideleg;

    if (to_m && (h->priv != RV_M || (h->mstatus & MSTATUS_MIE)))
        return to_m;
    if (to_s && (h->priv == RV_U || (h->priv == RV_S && (h->mstatus & MSTATUS_SIE))))
        return to_s;
    return 0;
}

bool rv_interrupt_deliverable(const struct rv_hart *h)
{
    return deliverable(h) != 0;
}

bool rv_take_interrupt(struct rv_hart *h)
{
    static const uint8_t priority[] = {11, 3, 7, 9, 1, 5}; /* Priv. 3.1.9 */
    uint64_t pending = deliverable(h);

    if (SIM_LIKELY(!pending))
        return false;
    for (unsigned i = 0; i < SIM_ARRAY_LEN(priority); i++) {
        if (pending >> priority[i] & 1) {
            h->count.interrupts++;
            if (SIM_UNLIKELY(h->observe & RV_OBSERVE_TRAPS))
                rv_observe_trap(h, MCAUSE_INTERRUPT | priority[i], 0);
            enter_trap(h, MCAUSE_INTERRUPT | priority[i], 0, h->mideleg);
            return true;
        }
    }
    return false;
}

/* A hart that left for another rank while its pins were written may have been saved before: the change follows
 * it. (It is marked as remote, then saved; we write, then look at the mark.) */
static void follow(struct rv_hart *h, uint32_t number, bool level)
{
    if (SIM_UNLIKELY(h->vcpu.remote))
        rv_remote_line(h, number, level);
}

static void drive_line(void *opaque, uint32_t number, bool level)
{
    struct rv_hart *h = opaque;

    if (h->vcpu.remote) {
        rv_remote_line(h, number, level);
        return;
    }
    rv_drive_line_here(h, number, level);
    follow(h, number, level);
}

/* A rising line kicks the hart only if that may change what it does. A hart that is about to look
 * the other way stores mie or waiting first and reads irq_pins then, we do it in reverse. */
void rv_drive_line_here(struct rv_hart *h, uint32_t number, bool level)
{
    uint64_t bit = 1ull << (number & 63);

    if (!level) {
        if (bit != MIP_SSIP)
            atomic_fetch_and_explicit(&h->irq_pins, ~bit, memory_order_seq_cst);
        return;
    }
    if (atomic_fetch_or_explicit(&h->irq_pins, bit, memory_order_seq_cst) & bit)
        return;
    if ((__atomic_load_n(&h->mie, __ATOMIC_SEQ_CST) & bit) ||
        __atomic_load_n(&h->waiting, __ATOMIC_SEQ_CST))
        vcpu_kick(&h->vcpu);
}

struct irq_line rv_hart_irq(struct vcpu *v, uint32_t mip_bit)
{
    return (struct irq_line){.set = drive_line, .opaque = rv_hart_of(v), .number = mip_bit};
}
