/* The saved state of a hart: every architectural field, nothing that can be derived.
 *
 * Taken with the world frozen between two instructions: slice == budget == 0, no reservation. */
#include <stddef.h>

#include "csr_bits.h"
#include "hart.h"
#include "sim-core/log.h"
#include "sim-core/state.h"

#define U8(m) STATE_SCALAR(struct rv_hart, STATE_U8, m)
#define U64(m) STATE_SCALAR(struct rv_hart, STATE_U64, m)
/* Since version 2: vectors */
#define V2(type, m, n) {#m, offsetof(struct rv_hart, m), type, 2, n, 0, NULL, 0}
/* gcc's __builtin_clear_padding overlooks it */
#define GAP(a, b)                                                                                  \
    {"padding between " #a " and " #b, offsetof(struct rv_hart, a) + sizeof(((struct rv_hart *)0)->a), \
     offsetof(struct rv_hart, b) - offsetof(struct rv_hart, a) - sizeof(((struct rv_hart *)0)->a)},
#define U64S(m) STATE_ARRAY(struct rv_hart, STATE_U64, m)

static const struct state_field fields[] = {
    U64S(x), U64S(f), U64(pc), U8(frm), U8(fflags), U8(fs_dirty), U8(priv), U8(waiting),
    U8(stopped), U64(insns),
    U64(mstatus), U64(medeleg), U64(mideleg), U64(mie), U64(mtvec), U64(mcounteren), U64(mscratch),
    U64(mepc), U64(mcause), U64(mtval), U64(menvcfg), U64(mcountinhibit),
    U64(stvec), U64(scounteren), U64(sscratch), U64(sepc), U64(scause), U64(stval), U64(satp),
    U64(senvcfg), U64(stimecmp), U64(mcycle_offset), U64(minstret_offset),
    U64S(pmpaddr), STATE_ARRAY(struct rv_hart, STATE_U8, pmpcfg),
    U64(irq_pins), U64(mip_soft),
    V2(STATE_U8, v, 32 * RV_VLENB_MAX), V2(STATE_U64, vl, 1), V2(STATE_U64, vtype, 1), V2(STATE_U64, vstart, 1),
    V2(STATE_U8, vs_dirty, 1), V2(STATE_U8, vxrm, 1), V2(STATE_U8, vxsat, 1),
    STATE_END,
};

/* A start that the hart has not seen yet is part of its state. */
static void pre_save(void *object)
{
    rv_requests_serve(object);
}

static enum sim_status refuse(const struct rv_hart *h, const char *what)
{
    sim_error("saved state of hart %llu: %s", (unsigned long long)h->hartid, what);
    return SIM_ERR_FORMAT;
}

static enum sim_status post_load(void *object)
{
    struct rv_hart *h = object;

    if (h->priv != RV_U && h->priv != RV_S && h->priv != RV_M)
        return refuse(h, "impossible privilege");
    if (h->x[0] != 0)
        return refuse(h, "x0 is not zero");
    if (h->frm > 7 || h->fflags > 31)
        return refuse(h, "impossible fcsr");
    if ((h->pc | h->mepc | h->sepc) & 1)
        return refuse(h, "odd program counter");
    if (sim_bits(h->mstatus, MSTATUS_MPP_SHIFT, 2) == 2)
        return refuse(h, "impossible mstatus");
    if (!rv_satp_legal(h, h->satp))
        return refuse(h, "impossible satp");
    if (!rv_vec_state_legal(h))
        return refuse(h, "impossible vector state");
    rv_requests_drop(h);
    h->slice = h->budget = 0;
    h->res_addr = RV_NO_RES;
    h->vcpu.stats.insns = h->insns;
    rv_fp_sync(h);
    rv_vec_sync(h);
    rv_pmp_update(h);
    rv_tlb_flush_all(h);
    rv_tlb_select(h);
    rv_timer_update(h);
    return SIM_OK;
}

STATE_LAYOUT(hart, struct rv_hart,
              STATE_DERIVED(struct rv_hart, tlb) STATE_DERIVED(struct rv_hart, code_tlb)
              STATE_DERIVED(struct rv_hart, budget) STATE_DERIVED(struct rv_hart, mxcsr)
              STATE_DERIVED(struct rv_hart, vlenb) STATE_DERIVED(struct rv_hart, vs_on)
              STATE_DERIVED(struct rv_hart, vkey) STATE_DERIVED(struct rv_hart, vkey_any)
              STATE_DERIVED(struct rv_hart, vsplat) STATE_DERIVED(struct rv_hart, vmask) STATE_DERIVED(struct rv_hart, v_end)
              STATE_DERIVED(struct rv_hart, fp_on) STATE_DERIVED(struct rv_hart, res_addr)
              STATE_DERIVED(struct rv_hart, res_value) STATE_DERIVED(struct rv_hart, res_size)
              STATE_DERIVED(struct rv_hart, res_sc) STATE_DERIVED(struct rv_hart, host_sp)
              STATE_DERIVED(struct rv_hart, jit_scratch)
              STATE_DERIVED(struct rv_hart, cbo_zero_on) STATE_DERIVED(struct rv_hart, code_base)
              STATE_DERIVED(struct rv_hart, indirect_from)
              STATE_DERIVED(struct rv_hart, trap_cause) STATE_DERIVED(struct rv_hart, stop_reason)
              STATE_DERIVED(struct rv_hart, trap_tval) STATE_DERIVED(struct rv_hart, vcpu)
              STATE_DERIVED(struct rv_hart, machine) STATE_DERIVED(struct rv_hart, isa)
              STATE_DERIVED(struct rv_hart, hartid) STATE_DERIVED(struct rv_hart, exclusive)
              STATE_DERIVED(struct rv_hart, mmio_step) STATE_DERIVED(struct rv_hart, holds_pages)
              STATE_DERIVED(struct rv_hart, sbi) STATE_DERIVED(struct rv_hart, slice)
              STATE_DERIVED(struct rv_hart, isa_class) STATE_PADDING(struct rv_hart, isa_class)
              STATE_DERIVED(struct rv_hart, misa) STATE_DERIVED(struct rv_hart, mseccfg)
              STATE_DERIVED(struct rv_hart, timer_pending) STATE_DERIVED(struct rv_hart, pmp)
              STATE_DERIVED(struct rv_hart, nr_pmp) STATE_DERIVED(struct rv_hart, tlb_pool)
              STATE_DERIVED(struct rv_hart, tlb_key) STATE_DERIVED(struct rv_hart, tlb_holds)
              STATE_DERIVED(struct rv_hart, tlb_stamp)
              STATE_DERIVED(struct rv_hart, waits) STATE_DERIVED(struct rv_hart, spun)
              STATE_DERIVED(struct rv_hart, counters) STATE_DERIVED(struct rv_hart, observe)
              STATE_DERIVED(struct rv_hart, observe_class) STATE_DERIVED(struct rv_hart, watch_privs)
              STATE_DERIVED(struct rv_hart, watch_lo) STATE_DERIVED(struct rv_hart, watch_hi)
              STATE_DERIVED(struct rv_hart, observing) STATE_PADDING(struct rv_hart, sbi)
              STATE_DERIVED(struct rv_hart, walk_ram) STATE_DERIVED(struct rv_hart, decoded)
              STATE_DERIVED(struct rv_hart, decoded_mask)
              STATE_DERIVED(struct rv_hart, jit) STATE_DERIVED(struct rv_hart, req)
              STATE_DERIVED(struct rv_hart, revokes_seen) STATE_DERIVED(struct rv_hart, acks_due)
              STATE_DERIVED(struct rv_hart, state_nr)
              STATE_DERIVED(struct rv_hart, polled_ns) STATE_DERIVED(struct rv_hart, look_ns)
              STATE_DERIVED(struct rv_hart, chunk) STATE_DERIVED(struct rv_hart, shares_code) STATE_DERIVED(struct rv_hart, count)
              GAP(count, v) STATE_PADDING(struct rv_hart, nr_pmp) STATE_PADDING(struct rv_hart, decoded_mask) STATE_PADDING(struct rv_hart, acks_due)
              STATE_PADDING(struct rv_hart, shares_code));
const struct state_desc rv_hart_state = {
    .name = "riscv-hart",
    .version = 2,
    .fields = fields,
    STATE_LAYOUT_OF(hart, struct rv_hart),
    .pre_save = pre_save,
    .post_load = post_load,
};
