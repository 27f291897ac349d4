/* The built-in SBI (RISC-V SBI specification 2.0): what M-mode firmware would do for an S-mode kernel,
 * served in the executor when a hart executes ECALL in S mode.
 *
 *   rv_take_trap (ECALL from S, h->sbi) -> rv_sbi_ecall -> extension table -> function
 *
 * Arguments a0-a5, function a6, extension a7; returns error in a0 and value in a1. Remote fences are
 * posted to all targets first and waited for afterwards, so their cost does not add up. */
#include <string.h>

#include "hart.h"
#include "mem.h"
#include "sim-core/sim.h"

enum sbi_error {
    SBI_SUCCESS = 0,
    SBI_ERR_FAILED = -1,
    SBI_ERR_NOT_SUPPORTED = -2,
    SBI_ERR_INVALID_PARAM = -3,
    SBI_ERR_DENIED = -4,
    SBI_ERR_INVALID_ADDRESS = -5,
    SBI_ERR_ALREADY_AVAILABLE = -6,
    SBI_ERR_ALREADY_STARTED = -7,
    SBI_ERR_ALREADY_STOPPED = -8
};

enum {
    SBI_SPEC_VERSION = 2 << 24, /* 2.0 */
    SBI_IMPL_ID = 0x50415254,   /* "PART": not registered */
    SBI_IMPL_VERSION = 1
};

enum { HSM_STARTED = 0, HSM_STOPPED = 1, HSM_START_PENDING = 2, HSM_SUSPENDED = 4 };
enum { HSM_SUSPEND_RETENTIVE = 0, HSM_SUSPEND_NON_RETENTIVE = 0x80000000u };

struct sbi_call {
    struct rv_hart *h;
    const uint64_t *arg; /* a0..a5 */
    uint64_t fid;
    uint64_t value;      /* a1 on return */
    enum rv_exec next;   /* what the hart does afterwards */
    bool no_return;      /* a0 and a1 are not written: the state was replaced */
};

typedef enum sbi_error (*sbi_fn)(struct sbi_call *c);

static enum sbi_error sbi_probe(struct sbi_call *c);

/* --- Base (chapter 4) --- */

static enum sbi_error sbi_base(struct sbi_call *c)
{
    switch (c->fid) {
    case 0: c->value = SBI_SPEC_VERSION; return SBI_SUCCESS;
    case 1: c->value = SBI_IMPL_ID; return SBI_SUCCESS;
    case 2: c->value = SBI_IMPL_VERSION; return SBI_SUCCESS;
    case 3: return sbi_probe(c);
    case 4: /* mvendorid */
    case 5: /* marchid */
    case 6: /* mimpid */
        c->value = 0;
        return SBI_SUCCESS;
    default: return SBI_ERR_NOT_SUPPORTED;
    }
}

/* --- harts named by a mask --- */

/* A mask that names a hart which does not exist is an invalid parameter. */
static bool mask_valid(struct rv_machine *m, const struct rv_hart_mask *mask)
{
    int there = 0;

    if (mask->base == UINT64_MAX)
        return true;
    for (uint32_t at = 0; rv_mask_next(m, mask, &at);)
        there++;
    return there == __builtin_popcountll(mask->bits);
}

static enum sbi_error send_ipi(struct rv_machine *m, const struct rv_hart_mask *mask)
{
    if (!mask_valid(m, mask))
        return SBI_ERR_INVALID_PARAM;
    struct rv_hart *h;

    for (uint32_t at = 0; (h = rv_mask_next(m, mask, &at));) {
        struct irq_line ssip = rv_hart_irq(&h->vcpu, 1);
        irq_set(&ssip, true);
    }
    return SBI_SUCCESS;
}

static void fence_self(struct rv_hart *h, uint32_t flags, const struct rv_fence_range *range)
{
    if (flags & RV_REQ_FENCE_I) {
        rv_tlb_flush_jumps(h);
        sim_sync_code();
    }
    if (range)
        rv_tlb_flush_range(h, range);
}

static enum sbi_error fence(struct rv_hart *self, const struct rv_hart_mask *mask, uint32_t flags,
                            const struct rv_fence_range *range)
{
    struct rv_machine *m = self->machine;
    struct rv_hart *h;

    if (!mask_valid(m, mask))
        return SBI_ERR_INVALID_PARAM;
    for (uint32_t at = 0; (h = rv_mask_next(m, mask, &at));) {
        if (h == self)
            fence_self(h, flags, range);
        else if (!h->vcpu.remote)
            rv_request_fence(self, h, flags, range);
    }
    rv_remote_fence(self, mask, flags, range);
    for (uint32_t at = 0; (h = rv_mask_next(m, mask, &at));)
        if (h != self && !h->vcpu.remote)
            rv_request_wait(self, h);
    rv_remote_fence_wait(self);
    return SBI_SUCCESS;
}

/* --- Timer (chapter 6), IPI (7), RFENCE (8) --- */

static enum sbi_error sbi_time(struct sbi_call *c)
{
    if (c->fid != 0)
        return SBI_ERR_NOT_SUPPORTED;
    c->h->stimecmp = c->arg[0];
    rv_timer_update(c->h);
    c->next = RV_SYNC;
    return SBI_SUCCESS;
}

static enum sbi_error sbi_ipi(struct sbi_call *c)
{
    struct rv_hart_mask mask = {c->arg[0], c->arg[1]};

    return c->fid == 0 ? send_ipi(c->h->machine, &mask) : SBI_ERR_NOT_SUPPORTED;
}

/* As sfence.vma takes it: as wide as satp's. */
static uint64_t asid_of(uint64_t arg)
{
    return arg & 0xffff;
}

static enum sbi_error sbi_rfence(struct sbi_call *c)
{
    struct rv_hart_mask mask = {c->arg[0], c->arg[1]};
    struct rv_fence_range range = {c->arg[2], c->arg[3], RV_ASID_ANY};

    c->next = RV_SYNC;
    switch (c->fid) {
    case 0: return fence(c->h, &mask, RV_REQ_FENCE_I, NULL);
    case 2: range.asid = asid_of(c->arg[4]); break;
    case 1: break;
    default: return SBI_ERR_NOT_SUPPORTED; /* hfence: no hypervisor extension */
    }
    /* start and size 0, or size -1: the whole address space (8.2) */
    if ((range.va == 0 && range.size == 0) || range.size == UINT64_MAX)
        range.size = UINT64_MAX;
    return fence(c->h, &mask, 0, &range);
}

/* --- Hart state management (chapter 9) --- */

/* Stopped and pending are read together: a hart that starts clears the one and then the other. */
static uint64_t hsm_state(struct rv_hart *h)
{
    sim_mutex_lock(&h->req.lock);
    bool pending = h->req.flags & RV_REQ_HSM_START;
    bool stopped = __atomic_load_n(&h->stopped, __ATOMIC_ACQUIRE);
    sim_mutex_unlock(&h->req.lock);
    if (pending)
        return HSM_START_PENDING;
    if (stopped)
        return HSM_STOPPED;
    return __atomic_load_n(&h->waiting, __ATOMIC_ACQUIRE) == RV_WAIT_SUSPENDED ? HSM_SUSPENDED
                                                                              : HSM_STARTED;
}

static enum sbi_error hart_start(struct sbi_call *c)
{
    struct vcpu *v = rv_machine_hart(c->h->machine, c->arg[0]);

    if (!v)
        return SBI_ERR_INVALID_PARAM;
    if (!mem_ram_ptr(c->h->machine->space, c->arg[1], 2))
        return SBI_ERR_INVALID_ADDRESS;
    return rv_hart_request_start(rv_hart_of(v), c->arg[1], c->arg[2]) ? SBI_SUCCESS
                                                                      : SBI_ERR_ALREADY_AVAILABLE;
}

static enum sbi_error hart_status(struct sbi_call *c)
{
    struct vcpu *v = rv_machine_hart(c->h->machine, c->arg[0]);

    if (!v)
        return SBI_ERR_INVALID_PARAM;
    c->value = hsm_state(rv_hart_of(v));
    return SBI_SUCCESS;
}

static enum sbi_error hart_stop(struct sbi_call *c)
{
    /* Others hear of the stop and of the next start in this order. */
    sim_mutex_lock(&c->h->req.lock);
    __atomic_store_n(&c->h->stopped, 1, __ATOMIC_RELEASE);
    rv_remote_tell_state(c->h, RV_TOLD_STOPPED);
    sim_mutex_unlock(&c->h->req.lock);
    c->h->stop_reason = RV_STOP_WFI;
    c->next = RV_STOP;
    return SBI_SUCCESS;
}

/* The hart waits for an interrupt and then goes on: after the ECALL (retentive), or at `resume` as
 * if started (non-retentive: 9.4, table 9). */
static void suspend(struct sbi_call *c, bool retentive, uint64_t resume, uint64_t opaque)
{
    struct rv_hart *h = c->h;

    if (!retentive) {
        h->x[10] = h->hartid;
        h->x[11] = opaque;
        h->satp = 0;
        h->mstatus &= ~(uint64_t)2; /* sstatus.SIE */
        h->pc = resume - 4;         /* RV_STOP goes on after the ECALL's four bytes */
        rv_tlb_select(h);
        c->no_return = true;
    }
    h->stop_reason = RV_STOP_WFI;
    __atomic_store_n(&h->waiting, RV_WAIT_SUSPENDED, __ATOMIC_RELEASE);
    rv_remote_tell_state(h, RV_TOLD_SUSPENDED);
    c->next = RV_STOP;
}

static enum sbi_error hart_suspend(struct sbi_call *c)
{
    uint32_t type = (uint32_t)c->arg[0];

    if (type != HSM_SUSPEND_RETENTIVE && type != HSM_SUSPEND_NON_RETENTIVE)
        return (type & 0x7fffffff) < 0x10000000 ? SBI_ERR_INVALID_PARAM : SBI_ERR_NOT_SUPPORTED;
    if (type == HSM_SUSPEND_NON_RETENTIVE && !mem_ram_ptr(c->h->machine->space, c->arg[1], 2))
        return SBI_ERR_INVALID_ADDRESS;
    suspend(c, type == HSM_SUSPEND_RETENTIVE, c->arg[1], c->arg[2]);
    return SBI_SUCCESS;
}

static enum sbi_error sbi_hsm(struct sbi_call *c)
{
    switch (c->fid) {
    case 0: return hart_start(c);
    case 1: return hart_stop(c);
    case 2: return hart_status(c);
    case 3: return hart_suspend(c);
    default: return SBI_ERR_NOT_SUPPORTED;
    }
}

/* --- System reset (10), debug console (12), system suspend (13) --- */

static enum sbi_error end_run(struct sbi_call *c, enum sim_end why, int code)
{
    sim_request_end(c->h->machine->sim, why, code);
    c->h->stop_reason = RV_STOP_WFI;
    c->next = RV_STOP;
    return SBI_SUCCESS;
}

static enum sbi_error sbi_srst(struct sbi_call *c)
{
    uint32_t type = (uint32_t)c->arg[0], reason = (uint32_t)c->arg[1];

    if (c->fid != 0)
        return SBI_ERR_NOT_SUPPORTED;
    if (type > 2 || reason > 1)
        return type < 0xf0000000u && type > 2 ? SBI_ERR_INVALID_PARAM : SBI_ERR_NOT_SUPPORTED;
    if (type == 0)
        return end_run(c, SIM_END_POWEROFF, reason == 1 ? 1 : 0);
    return end_run(c, SIM_END_RESET, 0);
}

static void put_char(struct rv_machine *m, uint8_t ch)
{
    if (m->config.sbi_ops && m->config.sbi_ops->putc)
        m->config.sbi_ops->putc(m->config.sbi_opaque, ch);
}

static int get_char(struct rv_machine *m)
{
    if (m->config.sbi_ops && m->config.sbi_ops->getc)
        return m->config.sbi_ops->getc(m->config.sbi_opaque);
    return -1;
}

/* At most one page a call: the caller loops on the returned count, and interrupts stay prompt. */
static enum sbi_error console_write(struct sbi_call *c)
{
    struct rv_machine *m = c->h->machine;
    uint8_t buf[4096];
    uint64_t len = c->arg[0] < sizeof buf ? c->arg[0] : sizeof buf;

    if (c->arg[2] || (len && (!mem_ram_ptr(m->space, c->arg[1], c->arg[0]) ||
                              mem_read(m->space, c->arg[1], buf, len) != MEM_OK)))
        return SBI_ERR_INVALID_PARAM;
    for (uint64_t i = 0; i < len; i++)
        put_char(m, buf[i]);
    c->value = len;
    return SBI_SUCCESS;
}

static enum sbi_error console_read(struct sbi_call *c)
{
    struct rv_machine *m = c->h->machine;
    uint64_t done = 0;

    if (c->arg[2] || (c->arg[0] && !mem_ram_ptr(m->space, c->arg[1], c->arg[0])))
        return SBI_ERR_INVALID_PARAM;
    while (done < c->arg[0] && done < 4096) {
        int ch = get_char(m);
        if (ch < 0)
            break;
        uint8_t byte = (uint8_t)ch;
        if (mem_write(m->space, c->arg[1] + done, &byte, 1) != MEM_OK)
            return SBI_ERR_FAILED;
        done++;
    }
    c->value = done;
    return SBI_SUCCESS;
}

static enum sbi_error sbi_dbcn(struct sbi_call *c)
{
    switch (c->fid) {
    case 0: return console_write(c);
    case 1: return console_read(c);
    case 2: put_char(c->h->machine, (uint8_t)c->arg[0]); return SBI_SUCCESS;
    default: return SBI_ERR_NOT_SUPPORTED;
    }
}

static enum sbi_error sbi_susp(struct sbi_call *c)
{
    struct rv_machine *m = c->h->machine;

    if (c->fid != 0)
        return SBI_ERR_NOT_SUPPORTED;
    if ((uint32_t)c->arg[0] != 0)
        return (uint32_t)c->arg[0] < 0x80000000u ? SBI_ERR_INVALID_PARAM : SBI_ERR_NOT_SUPPORTED;
    if (!mem_ram_ptr(m->space, c->arg[1], 2))
        return SBI_ERR_INVALID_ADDRESS;
    for (uint32_t i = 0; i < m->nr_harts; i++)
        if (m->harts[i] != c->h && hsm_state(m->harts[i]) != HSM_STOPPED)
            return SBI_ERR_DENIED;
    suspend(c, false, c->arg[1], c->arg[2]);
    return SBI_SUCCESS;
}

/* --- inside and outside ---
 * On several ranks a call may wait for others (fences, the console's memory and device), and they for this hart:
 * it does not count as running meanwhile. */

static void go_out(struct rv_hart *h)
{
    if (h->machine->sim->ranks)
        vcpu_leave(&h->vcpu);
}

/* Guest code may go on at once, and pages may have been revoked meanwhile without a kick. But a hart that has just
 * stopped may have been started again: that waits for the run loop, or its new pc would be moved past an ECALL. */
static void come_in(struct rv_hart *h)
{
    if (!h->machine->sim->ranks)
        return;
    vcpu_enter(&h->vcpu);
    if (!h->stopped)
        rv_requests_serve(h);
}

/* --- Legacy extensions (chapter 5): the error is the only return value --- */

/* The mask is read through the caller's address space, so inside (rv_sbi_ecall); NULL means all harts. */
static bool legacy_mask(struct sbi_call *c, struct rv_hart_mask *mask)
{
    *mask = (struct rv_hart_mask){0, c->arg[0] ? 0 : UINT64_MAX};
    if (!c->arg[0])
        return true;
    come_in(c->h);
    bool ok = rv_load(c->h, c->arg[0], 8, &mask->bits);
    go_out(c->h);
    return ok;
}

static enum sbi_error legacy_fence(struct sbi_call *c, uint64_t eid)
{
    struct rv_fence_range range = {c->arg[1], c->arg[2], eid == 7 ? asid_of(c->arg[3]) : RV_ASID_ANY};
    struct rv_hart_mask mask;

    if (!legacy_mask(c, &mask)) {
        if (c->h->trap_cause == RV_CAUSE_WAIT)
            c->next = RV_TRAP; /* the page that has the mask is on its way */
        return SBI_ERR_INVALID_ADDRESS;
    }
    c->next = RV_SYNC;
    if (eid == 4)
        return send_ipi(c->h->machine, &mask);
    if (eid == 5)
        return fence(c->h, &mask, RV_REQ_FENCE_I, NULL);
    if ((range.va == 0 && range.size == 0) || range.size == UINT64_MAX)
        range.size = UINT64_MAX;
    return fence(c->h, &mask, 0, &range);
}

static int64_t sbi_legacy(struct sbi_call *c, uint64_t eid)
{
    switch (eid) {
    case 0: c->fid = 0; return sbi_time(c);
    case 1: put_char(c->h->machine, (uint8_t)c->arg[0]); return SBI_SUCCESS;
    case 2: return get_char(c->h->machine);
    case 3: /* clear_ipi */
        atomic_fetch_and_explicit(&c->h->irq_pins, ~(uint64_t)2, memory_order_seq_cst);
        return SBI_SUCCESS;
    case 8: return end_run(c, SIM_END_POWEROFF, 0);
    default: return legacy_fence(c, eid);
    }
}

/* --- dispatch --- */

static const struct sbi_extension {
    uint64_t eid;
    sbi_fn fn;
} extensions[] = {
    {0x10, sbi_base},       {0x54494d45, sbi_time}, {0x735049, sbi_ipi},    {0x52464e43, sbi_rfence},
    {0x48534d, sbi_hsm},    {0x53525354, sbi_srst}, {0x4442434e, sbi_dbcn}, {0x53555350, sbi_susp},
};

static const struct sbi_extension *find_extension(uint64_t eid)
{
    for (unsigned i = 0; i < SIM_ARRAY_LEN(extensions); i++)
        if (extensions[i].eid == eid)
            return &extensions[i];
    return NULL;
}

static enum sbi_error sbi_probe(struct sbi_call *c)
{
    c->value = c->arg[0] <= 8 || find_extension(c->arg[0]) != NULL;
    return SBI_SUCCESS;
}

static enum rv_exec serve(struct rv_hart *h)
{
    uint64_t arg[6], eid = h->x[17];
    struct sbi_call c = {.h = h, .arg = arg, .fid = h->x[16], .next = RV_NEXT};

    memcpy(arg, &h->x[10], sizeof arg);
    if (eid <= 8) {
        uint64_t error = (uint64_t)sbi_legacy(&c, eid);
        if (c.next != RV_TRAP)
            h->x[10] = error;
        return c.next;
    }
    const struct sbi_extension *ext = find_extension(eid);
    int64_t error = ext ? ext->fn(&c) : SBI_ERR_NOT_SUPPORTED;
    if (!c.no_return) {
        h->x[10] = (uint64_t)error;
        h->x[11] = c.value;
    }
    return c.next;
}

enum rv_exec rv_sbi_ecall(struct rv_hart *h)
{
    go_out(h);
    enum rv_exec next = serve(h);
    come_in(h);
    return next;
}
