/* A hart as a vCPU: the run loop that executors call (sim-core/vcpu.h).
 *
 *   run: enter -> { kick off, requests, end?, timer, stopped/waiting?, interrupt, engine } -> leave
 *   run_exclusive: an LR/SC sequence with other accesses in it, every other vCPU stopped */
#include "csr_bits.h"
#include "hart.h"
#include "observe.h"
#include "sim-core/alloc.h"

enum {
    EXCLUSIVE_INSNS = 64,
    HELD_INSNS = 256, /* while a page is held for us that others may want */
    /* Guest code runs by chunks; between two of them are looks at requests, the timer and messages of other ranks. They cost
     * 0.1 us and more, so a chunk shall take a while, of however many instructions that is. */
    CHUNK_NS = 25000,
    /* Whoever asks for a page waits half the span between two looks at messages: short while messages come, longer look by
     * look when none do. */
    LOOK_MIN_NS = 2000,
    LOOK_MAX_NS = 10000,
    CHUNK_INSNS_MIN = 256,
    CHUNK_INSNS_MAX = 1 << 17
};

/* Folds what was charged into h->insns and grants `budget` more. */
static void refill(struct rv_hart *h, uint64_t budget)
{
    h->insns = rv_insns(h);
    h->slice = h->budget = (int64_t)budget;
}

static enum rv_stop_reason engine(struct rv_hart *h)
{
    return h->machine->jit ? jit_run(h) : rv_interp_run(h);
}

static void stop_waiting(struct rv_hart *h)
{
    bool suspended = h->waiting == RV_WAIT_SUSPENDED;

    __atomic_store_n(&h->waiting, RV_WAIT_NOT, __ATOMIC_RELAXED);
    if (suspended)
        rv_remote_tell_state(h, RV_TOLD_STARTED);
}

/* Nothing to do until an interrupt or a request comes. The store precedes the look at the pins:
 * pairs with drive_line in trap.c. */
static bool idle(struct rv_hart *h)
{
    if (h->stopped)
        return true;
    if (h->waiting && rv_interrupt_pending(h))
        stop_waiting(h);
    return h->waiting;
}

/* The store precedes the next look at the pins, in idle(). */
static void wait_for_interrupt(struct rv_hart *h)
{
    uint8_t how = h->waiting ? h->waiting : RV_WAIT_WFI;

    __atomic_store_n(&h->waiting, how, __ATOMIC_SEQ_CST);
}

/* --- chunks --- */

static uint64_t chunk_size(struct rv_hart *h)
{
    bool ranks = h->machine->sim->ranks != NULL;

    if (rv_counts_time(h))
        return RV_CHUNK_INSNS;
    if (ranks && h->holds_pages)
        return HELD_INSNS;
    if (!h->chunk)
        h->chunk = ranks ? CHUNK_INSNS_MIN : RV_CHUNK_INSNS;
    return h->chunk;
}

/* A chunk of so many instructions took ns: the next one shall take its span. */
static void fit_chunk(struct rv_hart *h, uint64_t insns, uint64_t ns)
{
    uint64_t span = h->machine->sim->ranks ? h->look_ns : CHUNK_NS;
    uint64_t chunk = insns * span / (ns ? ns : 1), most = 4 * insns;

    chunk = chunk < most ? chunk : most;
    h->chunk = (uint32_t)(chunk < CHUNK_INSNS_MIN ? CHUNK_INSNS_MIN : chunk > CHUNK_INSNS_MAX ? CHUNK_INSNS_MAX : chunk);
}

/* What remained of a budget, or a chunk cut short, tells little. */
static void measure_chunk(struct rv_hart *h, uint64_t insns, bool whole, uint64_t *began)
{
    if (rv_counts_time(h) || !whole || h->holds_pages || insns < h->chunk / 2) {
        *began = 0;
        return;
    }
    uint64_t now = sim_host_ns();

    if (*began)
        fit_chunk(h, insns, now - *began);
    *began = now;
}

static void fit_span(struct rv_hart *h, bool came)
{
    uint32_t longer = h->look_ns + h->look_ns / 4;

    h->look_ns = came ? LOOK_MIN_NS : longer < LOOK_MAX_NS ? longer : LOOK_MAX_NS;
}

/* Handlers may wait for every running vCPU, so this one does not count meanwhile. */
static void poll_ranks(struct rv_hart *h, uint64_t *began)
{
    struct sim *sim = h->machine->sim;

    if (!h->look_ns)
        h->look_ns = LOOK_MAX_NS;
    if (!*began)
        *began = sim_host_ns();
    if (*began - h->polled_ns < sim->poll_interval_ns)
        return;
    h->polled_ns = *began;
    vcpu_leave(&h->vcpu);
    bool came = sim_poll(sim);
    vcpu_enter(&h->vcpu);
    fit_span(h, came);
    if (came)
        *began = sim_host_ns();
}

/* The instruction that accesses a device, alone; while it does the hart is not running (mem.c). */
static enum rv_stop_reason step_mmio(struct rv_hart *h)
{
    h->mmio_step = 1;
    enum rv_exec result = rv_interp_step(h);
    h->mmio_step = 0;
    return result == RV_STOP ? (enum rv_stop_reason)h->stop_reason : RV_STOP_NONE;
}

static enum vcpu_exit wait_for_page(struct rv_hart *h)
{
    h->holds_pages = 1;
    /* W2: before the executor asks has_work */
    atomic_store_explicit(&h->vcpu.awaits_page, true, memory_order_seq_cst);
    return VCPU_EXIT_WAIT;
}

static void release_pages(struct rv_hart *h)
{
    h->holds_pages = 0;
    mem_page_release(h->machine->space, h->vcpu.index);
}

/* One pass: requests, timer, interrupts, then guest code until it stops or *left is used up.
 * *began: when this pass did, or 0. Returns true with *why when run() is over. */
static bool run_once(struct rv_hart *h, uint64_t *left, uint64_t *began, enum vcpu_exit *why)
{
    if (h->machine->sim->ranks)
        poll_ranks(h, began);
    uint64_t most = chunk_size(h), chunk = *left < most ? *left : most;

    /* Cleared before looking: a kick after this makes the engine leave again. */
    vcpu_clear_kick(&h->vcpu);
    rv_requests_serve(h);
    *why = VCPU_EXIT_END;
    if (sim_ending(h->machine->sim))
        return true;
    rv_timer_update(h);
    *why = VCPU_EXIT_IDLE;
    if (idle(h)) {
        rv_tlb_trim(h);
        return true;
    }
    *why = VCPU_EXIT_BUDGET;
    if (!*left)
        return true;
    rv_take_interrupt(h);
    refill(h, chunk);
    enum rv_stop_reason reason = engine(h);
    if (SIM_UNLIKELY(h->observe) && reason >= RV_STOP_EXCLUSIVE)
        rv_observe_given_up(h);
    if (reason == RV_STOP_MMIO)
        reason = step_mmio(h);
    uint64_t used = (uint64_t)(h->slice - h->budget);
    measure_chunk(h, used, used >= chunk, began);
    *left = used < *left ? *left - used : 0;
    if (h->holds_pages && used)
        release_pages(h);
    switch (reason) {
    case RV_STOP_WFI: wait_for_interrupt(h); return false;
    case RV_STOP_WRS: rv_watch_reservation(h); *why = VCPU_EXIT_YIELD; return true;
    case RV_STOP_PAUSE: rv_watch_loop(h); *why = VCPU_EXIT_YIELD; return true;
    case RV_STOP_EXCLUSIVE: *why = VCPU_EXIT_EXCLUSIVE; return true;
    case RV_STOP_WAIT: *why = wait_for_page(h); return true;
    default: return false;
    }
}

static void leave(struct rv_hart *h)
{
    refill(h, 0);
    h->vcpu.stats.insns = h->insns;
    h->res_addr = RV_NO_RES;
    rv_tlb_end_turn(h);
    vcpu_leave(&h->vcpu);
}

static enum vcpu_exit hart_run(struct vcpu *v, uint64_t budget)
{
    struct rv_hart *h = rv_hart_of(v);
    uint64_t began = 0;
    enum vcpu_exit why;

    atomic_store_explicit(&v->awaits_page, false, memory_order_relaxed);
    v->watch.word = NULL;
    vcpu_enter(v);
    rv_tlb_begin_turn(h);
    while (!run_once(h, &budget, &began, &why))
        ;
    leave(h);
    return why;
}

/* The LR first, then up to its SC, a trap, or the limit. */
static enum vcpu_exit hart_run_exclusive(struct vcpu *v)
{
    struct rv_hart *h = rv_hart_of(v);
    enum rv_exec result = RV_NEXT;

    vcpu_enter(v);
    rv_tlb_begin_turn(h);
    rv_requests_serve(h);
    refill(h, EXCLUSIVE_INSNS);
    h->exclusive = 1;
    do
        result = rv_interp_step(h);
    while (h->budget > 0 && h->res_addr != RV_NO_RES && result != RV_STOP);
    h->exclusive = 0;
    enum vcpu_exit why = VCPU_EXIT_BUDGET;
    if (result == RV_STOP && h->stop_reason == RV_STOP_WFI)
        wait_for_interrupt(h);
    if (result == RV_STOP && h->stop_reason == RV_STOP_WAIT)
        why = wait_for_page(h);
    if (result == RV_STOP && h->stop_reason == RV_STOP_WRS) {
        rv_watch_reservation(h);
        why = VCPU_EXIT_YIELD;
    }
    leave(h);
    return why;
}

static bool hart_has_work(struct vcpu *v)
{
    struct rv_hart *h = rv_hart_of(v);

    if (atomic_load_explicit(&v->kick, memory_order_seq_cst))
        return true;
    if (__atomic_load_n(&h->stopped, __ATOMIC_SEQ_CST) ||
        mem_page_waiting(h->machine->space, v->index))
        return false;
    return !__atomic_load_n(&h->waiting, __ATOMIC_SEQ_CST) ||
           (rv_mip(h) & __atomic_load_n(&h->mie, __ATOMIC_SEQ_CST));
}

/* Kernels keep interrupts off while they hold what an interrupt handler may want. */
static bool hart_may_hold_lock(struct vcpu *v)
{
    const struct rv_hart *h = rv_hart_of(v);

    if (h->priv == RV_U)
        return false;
    return !(h->mstatus & (h->priv == RV_S ? MSTATUS_SIE : MSTATUS_MIE));
}

static vtime_t hart_deadline(struct vcpu *v)
{
    return rv_timer_deadline(rv_hart_of(v));
}

static void hart_destroy(struct vcpu *v)
{
    struct rv_hart *h = rv_hart_of(v);

    sim_free(h->decoded);
    sim_mutex_fini(&h->req.lock);
    sim_free(h);
}

const struct vcpu_ops rv_vcpu_ops = {
    .name = "riscv",
    .run = hart_run,
    .run_exclusive = hart_run_exclusive,
    .has_work = hart_has_work,
    .may_hold_lock = hart_may_hold_lock,
    .deadline = hart_deadline,
    .destroy = hart_destroy,
    .deliver = rv_remote_deliver,
    .state = &rv_hart_state,
};
