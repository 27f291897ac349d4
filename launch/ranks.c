/* The ranks of one machine: how a rank is set up, joined with the others, loaded and ended, and the seams through
 * which the folders below reach other ranks. ranks.h has the picture; ranks_*.c have what stands by itself. */
#include "ranks.h"

#include <stdio.h>
#include <string.h>

#include "kvm/hkvm.h"
#include "loader.h"
#include "mem/dsm.h"
#include "partition/bind.h"
#include "partition/plan.h"
#include "placement.h"
#include "ranks_priv.h"
#include "run.h"
#include "sim-core/alloc.h"
#include "sim-core/log.h"
#include "sim-core/timer.h"
#include "sim-core/vcpu.h"

struct vcpu_message {
    uint32_t vcpu, len;
    uint8_t data[];
};

struct end_message {
    int32_t why, code;
};

/* --- the end of the run --- */

static void break_run(struct ranks *r)
{
    atomic_store_explicit(&r->broken, true, memory_order_release);
    if (r->dsm)
        dsm_stop(r->dsm);
    if (r->coherence)
        hkvm_coherence_give_up(r->coherence);
    sim_request_end(r->sim, SIM_END_ERROR, EXIT_CODE_RANK_LOST);
}

static void on_lost(void *opaque, rank_t rank, const char *why)
{
    (void)rank;
    (void)why; /* logged by the interconnect */
    break_run(opaque);
}

static void on_protocol_failure(void *opaque, const char *why)
{
    (void)why;
    break_run(opaque);
}

/* Another rank cannot go on: it has said why. */
static void on_abort(void *opaque, rank_t from, const void *data, uint32_t len)
{
    struct ranks *r = opaque;
    int32_t code;

    (void)from;
    if (len != sizeof code)
        return;
    memcpy(&code, data, sizeof code);
    atomic_store_explicit(&r->abort_code, code, memory_order_relaxed);
    ic_give_up(r->ic);
    break_run(r);
}

void ranks_abort(struct ranks *r, int code)
{
    const int32_t told = code;

    if (!ranks_failed(r) && r->started)
        ic_broadcast(r->ic, MSG_ABORT, &told, sizeof told);
}

bool ranks_are_lost(const struct ranks *r)
{
    return ranks_failed(r);
}

int ranks_abort_code(const struct ranks *r)
{
    return atomic_load_explicit(&r->abort_code, memory_order_relaxed);
}

static void on_want_end(void *opaque, rank_t from, const void *data, uint32_t len)
{
    struct ranks *r = opaque;
    struct end_message m;

    (void)from;
    if (len != sizeof m)
        return;
    memcpy(&m, data, sizeof m);
    sim_request_end(r->sim, (enum sim_end)m.why, m.code);
}

static void on_end(void *opaque, rank_t from, const void *data, uint32_t len)
{
    struct ranks *r = opaque;
    struct end_message m;

    if (len != sizeof m || from != 0)
        return;
    memcpy(&m, data, sizeof m);
    atomic_store_explicit(&r->decided, (1ull << 63) | (uint64_t)(uint32_t)m.why << 32 | (uint32_t)m.code,
                          memory_order_release);
    sim_request_end(r->sim, (enum sim_end)m.why, m.code);
}

static enum sim_end decide(struct ranks *r, int *code)
{
    enum sim_end why = sim_wait_end(r->sim, code);
    const struct end_message m = {why, *code};

    ic_broadcast(r->ic, MSG_END, &m, sizeof m);
    return why;
}

/* Rank 0's word counts, so that all ranks reset or all end. */
static enum sim_end obey(struct ranks *r, int *code)
{
    enum sim_end why = sim_wait_end(r->sim, code);
    const struct end_message m = {why, *code};
    uint64_t decided;
    unsigned spins = 0;

    ic_send_small(r->ic, 0, MSG_WANT_END, &m, sizeof m);
    while (!(decided = atomic_load_explicit(&r->decided, memory_order_acquire)) && !ranks_failed(r))
        r->sim->ranks->wait(r, &spins);
    if (!decided)
        return why;
    atomic_store_explicit(&r->decided, 0, memory_order_relaxed);
    *code = (int)(uint32_t)decided;
    return (enum sim_end)(decided >> 32 & 0xff);
}

enum sim_end ranks_wait_end(struct ranks *r, int *code)
{
    enum sim_end why = ic_rank(r->ic) == 0 ? decide(r, code) : obey(r, code);

    r->ended = !ranks_failed(r);
    if (r->ended)
        return why;
    *code = ranks_abort_code(r) ? ranks_abort_code(r) : EXIT_CODE_RANK_LOST;
    return SIM_END_ERROR;
}

/* --- the seam of sim-core --- */

enum { SPINS = 300, NAP_NS = 1000000, CROWD = 2048 };

static void ranks_wait(void *opaque, unsigned *spins);

/* A guest that floods others with interrupts goes at their pace: what waits to leave needs memory, and pages wait
 * behind it. */
static void await_room(struct ranks *r)
{
    unsigned spins = 0;

    while (ic_backlog(r->ic) > CROWD / 2 && !ranks_failed(r) && !sim_ending(r->sim))
        ranks_wait(r, &spins);
}

static bool ranks_poll(void *opaque)
{
    struct ranks *r = opaque;
    const struct ranks *outer = ranks_serve_begin(r);
    bool came = ic_poll(r->ic) != 0;

    dsm_tick(r->dsm);
    ranks_serve_end(r, outer);
    if (SIM_UNLIKELY(ic_backlog(r->ic) > CROWD))
        await_room(r);
    return came;
}

static void ranks_wait(void *opaque, unsigned *spins)
{
    struct ranks *r = opaque;

    if (ic_poll(r->ic)) {
        *spins = 0;
        return;
    }
    dsm_tick(r->dsm);
    if (++*spins < SPINS)
        sim_cpu_relax();
    else
        ic_nap(r->ic, NAP_NS);
}

void ranks_nap(void *opaque, uint64_t max_ns)
{
    struct ranks *r = opaque;
    const struct ranks *outer = ranks_serve_begin(r);
    uint64_t held = dsm_patience_ns(r->dsm), limit = held < NAP_NS ? held : NAP_NS;

    ic_nap(r->ic, max_ns < limit ? max_ns : limit);
    dsm_tick(r->dsm);
    ranks_serve_end(r, outer);
}

static void ranks_wake(void *opaque)
{
    struct ranks *r = opaque;

    ic_wake(r->ic);
}

static uint32_t rank_of(void *opaque, const struct vcpu *v)
{
    const struct ranks *r = opaque;

    return atomic_load_explicit(&r->owner[v->index], memory_order_relaxed);
}

static void send_to_rank(const struct ranks *r, uint32_t rank, const struct vcpu *v, const void *msg, uint32_t len)
{
    const struct vcpu_message head = {v->index, len};

    ic_send(r->ic, (rank_t)rank, MSG_VCPU, &head, sizeof head, msg, len);
}

void ranks_send_to_vcpu(struct ranks *r, const struct vcpu *target, const void *msg, uint32_t len)
{
    send_to_rank(r, rank_of(r, target), target, msg, len);
}

/* Under the lock: what leaves before a freeze holds the rest is under way before the freeze is announced, and a
 * hart that comes here finds what was said before. */
static void ranks_post(void *opaque, const struct vcpu *target, const void *msg, uint32_t len)
{
    struct ranks *r = opaque;

    sim_mutex_lock(&r->lock);
    bool here = !target->remote;
    if (!here && !ranks_hold_locked(r, target, msg, len))
        ranks_send_to_vcpu(r, target, msg, len);
    sim_mutex_unlock(&r->lock);
    if (here)
        target->ops->deliver(r->sim->vcpus[target->index], r->sim->rank, msg, len);
}

static void ranks_tell(void *opaque, uint32_t rank, const struct vcpu *v, const void *msg, uint32_t len)
{
    const struct ranks *r = opaque;

    send_to_rank(r, rank, v, msg, len);
}

static const struct sim_ranks_ops ranks_ops = {
    .poll = ranks_poll, .wait = ranks_wait, .nap = ranks_nap, .wake = ranks_wake,
    .post = ranks_post, .tell = ranks_tell, .rank_of = rank_of};

static void on_vcpu(void *opaque, rank_t from, const void *data, uint32_t len)
{
    struct ranks *r = opaque;
    const struct vcpu_message *m = data;

    if (len < sizeof *m || len != sizeof *m + m->len || m->vcpu >= r->sim->nr_vcpus) {
        sim_warn("%s sent a broken vCPU message of %u bytes", ic_rank_name(r->ic, from), len);
        return;
    }
    struct vcpu *v = r->sim->vcpus[m->vcpu];
    v->ops->deliver(v, (uint32_t)from, m->data, m->len);
}

/* --- coherent memory --- */

static rank_t home_of(void *opaque, uint64_t page)
{
    const struct ranks *r = opaque;
    gpa_t gpa = mem_page_gpa(r->space, page);

    return (rank_t)part_plan_home(r->plan, gpa >> GUEST_PAGE_BITS);
}

static void revoke_pages(void *opaque, unsigned nr, const uint64_t page[], const uint8_t to[])
{
    struct ranks *r = opaque;
    enum { BATCH = 64 };
    gpa_t gpa[BATCH];
    bool write_only[BATCH];

    for (unsigned done = 0, n; done < nr; done += n) {
        n = nr - done < BATCH ? nr - done : BATCH;
        for (unsigned i = 0; i < n; i++) {
            /* A page that is still in an image comes from there before it leaves. */
            sim_guard_before(&r->space->guard, page[done + i] << GUEST_PAGE_BITS, GUEST_PAGE_SIZE, false);
            gpa[i] = mem_page_gpa(r->space, page[done + i]);
            write_only[i] = to[done + i] == DSM_SHARED;
        }
        if (r->coherence)
            hkvm_enforce_ops.revoke(r->coherence, n, page + done, to + done);
        else
            rv_machine_revoke(r->machine->cpus, n, gpa, write_only);
    }
}

/* W1: a vCPU that is about to park says so before it looks whether it still waits; we do it the other way
 * round. Pairs with W2 in executors' has_work. */
static void granted(void *opaque, uint64_t page)
{
    struct ranks *r = opaque;

    if (r->coherence) {
        hkvm_enforce_ops.granted(r->coherence, page);
        return;
    }
    sim_fence();
    for (uint32_t i = 0; i < r->sim->nr_vcpus; i++) {
        struct vcpu *v = r->sim->vcpus[i];
        if (!v->remote && atomic_load_explicit(&v->awaits_page, memory_order_relaxed) &&
            !dsm_waiting(r->dsm, i))
            vcpu_kick(v);
    }
}

/* --- for a checkpoint, which saves each page once (mem/dsm.h) --- */

static void page_moves(void *opaque, uint64_t page, bool keeps)
{
    const struct ranks *r = opaque;

    sim_guard_moves(&r->space->guard, page, keeps);
}

static bool take_mark(void *opaque, uint64_t page)
{
    const struct ranks *r = opaque;

    return mem_take_dirty(r->space, page << GUEST_PAGE_BITS);
}

static void put_mark(void *opaque, uint64_t page)
{
    const struct ranks *r = opaque;

    mem_put_dirty(r->space, page << GUEST_PAGE_BITS);
}

static const struct dsm_enforce_ops enforce_ops = {.revoke = revoke_pages,
                                                   .granted = granted,
                                                   .failed = on_protocol_failure,
                                                   .moves = page_moves,
                                                   .take_mark = take_mark,
                                                   .put_mark = put_mark};

enum sim_status ranks_create(struct sim *sim, const struct config *config, struct ic *ic,
                             struct ranks **out)
{
    struct ranks *r = sim_new(struct ranks);

    r->sim = sim;
    r->config = config;
    r->ic = ic;
    ranks_mmio_init(r);
    r->topology = sim_new_array(struct part_topology *, (size_t)ic_nr_ranks(ic));
    sim_mutex_init(&r->lock, SIM_RANK_RANKS);
    ranks_freeze_init(r);
    ic_on_lost(ic, on_lost, r);
    enum sim_status status = ranks_agree(r);
    if (status != SIM_OK) {
        ranks_destroy(r);
        return status;
    }
    *out = r;
    return SIM_OK;
}

void ranks_destroy(struct ranks *r)
{
    if (!r)
        return;
    ranks_mmio_fini(r);
    ranks_load_destroy(r);
    ranks_image_destroy(r);
    ranks_migrate_destroy(r);
    dsm_destroy(r->dsm);
    hkvm_coherence_destroy(r->coherence);
    part_plan_destroy(r->plan);
    for (rank_t i = 0; i < ic_nr_ranks(r->ic); i++)
        part_topology_destroy(r->topology[i]);
    sim_free(r->topology);
    ranks_freeze_fini(r);
    sim_mutex_fini(&r->lock);
    sim_free(r);
}

enum sim_status ranks_plan(struct ranks *r, uint32_t nr_harts, const struct part_range *ram,
                           unsigned nr_ram)
{
    const struct placement_machine machine = {nr_harts, ram, nr_ram};

    SIM_TRY(placement_make(r->config, &machine, (const struct part_topology *const *)r->topology,
                           (uint32_t)ic_nr_ranks(r->ic), &r->plan));
    r->owner = sim_zalloc(nr_harts * sizeof r->owner[0]);
    for (uint32_t i = 0; i < nr_harts; i++)
        atomic_init(&r->owner[i], part_plan_hart(r->plan, i).rank);
    return SIM_OK;
}

const struct part_plan *ranks_get_plan(const struct ranks *r)
{
    return r->plan;
}

bool ranks_hart_is_remote(void *ranks, uint32_t index)
{
    const struct ranks *r = ranks;

    return part_plan_hart(r->plan, index).rank != (uint32_t)ic_rank(r->ic);
}

bool ranks_has_devices(const struct ranks *r)
{
    return r->plan->device_rank == (uint32_t)ic_rank(r->ic);
}

unsigned ranks_nr_executors(const struct ranks *r)
{
    return r->plan->rank[ic_rank(r->ic)].nr_executors;
}

unsigned ranks_nr_spares(const struct ranks *r)
{
    return r->plan->rank[ic_rank(r->ic)].nr_spares;
}

bool ranks_has_own_cores(const struct ranks *r)
{
    return r->plan->rank[ic_rank(r->ic)].bound;
}

static const struct part_topology *own_topology(const struct ranks *r)
{
    return r->topology[ic_rank(r->ic)];
}

bool ranks_binds(const struct ranks *r)
{
    return config_binds(r->config);
}

void ranks_bind_executor(void *ranks, unsigned executor)
{
    const struct ranks *r = ranks;

    (void)part_bind_thread(r->plan, own_topology(r), (uint32_t)ic_rank(r->ic), executor);
}

/* --- connecting, loading, parting --- */

static void on_boot(void *opaque, rank_t from, const void *data, uint32_t len)
{
    struct ranks *r = opaque;

    if (from != 0 || len != sizeof r->boot)
        return;
    memcpy(&r->boot, data, sizeof r->boot);
    atomic_store_explicit(&r->boot_came, true, memory_order_release);
}

enum clock_change { CLOCK_STARTS, CLOCK_STOPS, CLOCK_GOES_ON };

struct clock_message {
    uint64_t base; /* host_base_ns of rank 0 */
    uint32_t change, reserved;
};

static void go_with(struct ranks *r, uint64_t base)
{
    sim_clock_go_with(&r->sim->clock, base - (uint64_t)ic_clock_offset_ns(r->ic, NULL));
}

static void on_clock(void *opaque, rank_t from, const void *data, uint32_t len)
{
    struct ranks *r = opaque;
    struct clock_message m;

    if (from != 0 || len != sizeof m)
        return;
    memcpy(&m, data, sizeof m);
    if (m.change == CLOCK_STARTS) {
        atomic_store_explicit(&r->clock_base, m.base, memory_order_release);
    } else if (m.change == CLOCK_STOPS) {
        sim_time_stop(r->sim);
        machine_clock_stop(r->machine);
    } else {
        go_with(r, m.base);
        machine_clock_go(r->machine);
        sim_timers_shifted(r->sim);
    }
}

static void tell_clock(struct ranks *r, enum clock_change change)
{
    const struct clock_message m = {
        .base = atomic_load_explicit(&r->sim->clock.host_base_ns, memory_order_relaxed), .change = change};

    ic_broadcast(r->ic, MSG_CLOCK, &m, sizeof m);
}

static void on_settled(void *opaque, rank_t from, const void *data, uint32_t len)
{
    struct ranks *r = opaque;

    (void)from, (void)data, (void)len;
    atomic_fetch_add_explicit(&r->settled, 1, memory_order_release);
}

static void register_handlers(struct ranks *r)
{
    static const struct {
        enum message_type type;
        const char *name;
        ic_handler_fn *fn;
    } handlers[] = {
        {MSG_VCPU, "vcpu", on_vcpu},
        {MSG_WANT_END, "want-end", on_want_end},
        {MSG_END, "end", on_end},
        {MSG_BOOT, "boot", on_boot},
        {MSG_ABORT, "abort", on_abort},
        {MSG_SETTLED, "settled", on_settled},
        {MSG_CLOCK, "clock", on_clock},
    };

    for (size_t i = 0; i < SIM_ARRAY_LEN(handlers); i++)
        ic_register(r->ic, handlers[i].type, handlers[i].name, handlers[i].fn, r);
    ranks_mmio_register(r);
    ranks_load_register(r);
    ranks_freeze_register(r);
    ranks_image_register(r);
    ranks_migrate_register(r);
}

static enum sim_status create_dsm(struct ranks *r)
{
    const struct dsm_config config = {
        .ic = r->ic,
        .nr_pages = r->space->ram_size >> GUEST_PAGE_BITS,
        .bytes = r->space->ram,
        .home = home_of,
        .home_opaque = r,
        .ops = &enforce_ops,
        .opaque = r,
        .blank = !r->config->tree.fdt, /* else the homes bring them from the image */
        .hold_max_ns = r->machine->kvm ? HKVM_HOLD_MAX_NS : 0,
    };

    if (r->machine->kvm)
        SIM_TRY(hkvm_coherence_create(r->space, r->ic, &r->coherence));
    if (r->coherence)
        hkvm_machine_set_coherence(r->machine->kvm, r->coherence);
    SIM_TRY(dsm_create(&config, &r->dsm));
    mem_set_dsm(r->space, r->dsm);
    if (!ranks_has_devices(r))
        mem_set_remote(r->space, &ranks_remote_ops, r);
    return SIM_OK;
}

/* "one machine on 2 ranks: harts 0-1 on rank 0 (host n1, pid 4711), ..." */
static void say_plan(const struct ranks *r)
{
    char text[512];
    size_t len = 0;

    for (uint32_t i = 0; i < r->plan->nr_ranks && len < sizeof text; i++) {
        const struct part_rank *rank = &r->plan->rank[i];
        len += (size_t)snprintf(text + len, sizeof text - len, "%s hart%s %u", i ? "," : "",
                                rank->nr_harts > 1 ? "s" : "", rank->first_hart);
        if (rank->nr_harts > 1 && len < sizeof text)
            len += (size_t)snprintf(text + len, sizeof text - len, "-%u", rank->first_hart + rank->nr_harts - 1);
        if (len < sizeof text)
            len += (size_t)snprintf(text + len, sizeof text - len, " on %s", ic_rank_name(r->ic, (rank_t)i));
    }
    sim_info("one machine on %u ranks:%s", r->plan->nr_ranks, text);
}

enum sim_status ranks_connect(struct ranks *r, struct machine *m)
{
    struct sim *sim = r->sim;

    r->machine = m;
    r->space = m->space;
    if (ranks_binds(r)) /* before the first page is there */
        (void)part_place_memory(r->plan, own_topology(r), (uint32_t)ic_rank(r->ic), m->space->ram,
                                m->space->ram_size);
    SIM_TRY(create_dsm(r));
    register_handlers(r);
    sim->ranks = &ranks_ops;
    sim->ranks_opaque = r;
    sim->rank = (uint32_t)ic_rank(r->ic);
    sim->nr_ranks = (uint32_t)ic_nr_ranks(r->ic);
    sim->poll_interval_ns = ic_poll_interval_ns(r->ic);
    SIM_TRY(ic_start(r->ic));
    r->started = true;
    if (r->coherence)
        SIM_TRY(hkvm_coherence_start(r->coherence, r->dsm));
    SIM_TRY(ic_barrier(r->ic));
    if (ic_rank(r->ic) == 0)
        say_plan(r);
    return SIM_OK;
}

/* One round: all that the others sent before it has come. */
static enum sim_status settle_once(struct ranks *r)
{
    uint32_t due = ++r->settling * (r->sim->nr_ranks - 1);
    unsigned spins = 0;

    ic_broadcast(r->ic, MSG_SETTLED, NULL, 0);
    while (atomic_load_explicit(&r->settled, memory_order_acquire) < due) {
        if (ranks_failed(r))
            return SIM_ERR_IO;
        ranks_wait(r, &spins);
    }
    return SIM_OK;
}

/* The first round brings the last requests, the second their answers. */
enum sim_status ranks_settle(struct ranks *r)
{
    r->ended = false; /* it was a reset */
    SIM_TRY(settle_once(r));
    /* S2: the I/O thread may be at one; pairs with S1 */
    while (atomic_load_explicit(&r->nr_requests, memory_order_acquire)) {
        ranks_serve_end(r, ranks_serve_begin(r));
        sim_thread_yield();
    }
    return settle_once(r);
}

static enum sim_status load_and_tell(struct ranks *r)
{
    SIM_TRY(loader_load(r->machine));
    ic_broadcast(r->ic, MSG_BOOT, &r->machine->boot, sizeof r->machine->boot);
    return SIM_OK;
}

static enum sim_status await_boot(struct ranks *r)
{
    unsigned spins = 0;

    while (!atomic_load_explicit(&r->boot_came, memory_order_acquire)) {
        if (ranks_failed(r))
            return SIM_ERR_IO;
        ranks_wait(r, &spins);
    }
    atomic_store_explicit(&r->boot_came, false, memory_order_relaxed);
    r->machine->boot = r->boot;
    return SIM_OK;
}

/* What the first rank cannot load it says; the others hear of it by ranks_abort. */
enum sim_status ranks_load(struct ranks *r)
{
    SIM_TRY(ic_barrier(r->ic)); /* all executors stand still, all harts are reset */
    SIM_TRY(ic_rank(r->ic) == 0 ? load_and_tell(r) : await_boot(r));
    loader_start_harts(r->machine);
    SIM_TRY(ic_barrier(r->ic));
    machine_clock_follow(r->machine);
    return SIM_OK;
}

enum sim_status ranks_barrier(struct ranks *r)
{
    return ic_barrier(r->ic);
}

enum sim_status ranks_gather(struct ranks *r, const void *mine, uint32_t len, void **all)
{
    uint32_t *lens = sim_new_array(uint32_t, r->sim->nr_ranks);
    enum sim_status status = ic_gather(r->ic, mine, len, all, lens);

    sim_free(lens);
    return status;
}

bool ranks_is_beside_first(const struct ranks *r)
{
    return ic_same_host(r->ic, ic_rank(r->ic), 0);
}

static enum sim_status follow_clock(struct ranks *r)
{
    unsigned spins = 0;
    uint64_t base;

    while (!(base = atomic_load_explicit(&r->clock_base, memory_order_acquire))) {
        if (ranks_failed(r))
            return SIM_ERR_IO;
        ranks_wait(r, &spins);
    }
    go_with(r, base);
    machine_clock_follow(r->machine);
    return SIM_OK;
}

enum sim_status ranks_start_clocks(struct ranks *r)
{
    if (ic_rank(r->ic) != 0)
        return follow_clock(r);
    sim_clock_go(&r->sim->clock);
    tell_clock(r, CLOCK_STARTS);
    machine_clock_follow(r->machine);
    return SIM_OK;
}

enum sim_status ranks_stop(struct ranks *r)
{
    enum sim_status status = ranks_freeze(r);

    if (status != SIM_OK) {
        ranks_thaw(r);
        return status;
    }
    ranks_stop_clocks(r);
    return SIM_OK;
}

void ranks_stop_clocks(struct ranks *r)
{
    sim_time_stop(r->sim);
    tell_clock(r, CLOCK_STOPS);
    machine_clock_stop(r->machine);
}

/* Their clocks go before their harts: messages keep their order. */
void ranks_cont(struct ranks *r)
{
    sim_clock_go(&r->sim->clock);
    sim_timers_shifted(r->sim);
    tell_clock(r, CLOCK_GOES_ON);
    machine_clock_go(r->machine);
    ranks_thaw(r);
}

/* vCPUs of other ranks may be in the kernel and wait there for our pages: those come until all stand still. */
static void part_with_pages(struct ranks *r)
{
    if (!r->ended || ic_barrier(r->ic) != SIM_OK)
        hkvm_coherence_give_up(r->coherence);
    hkvm_coherence_stop(r->coherence);
}

void ranks_disconnect(struct ranks *r)
{
    if (!r->started)
        return;
    if (r->coherence)
        part_with_pages(r);
    dsm_stop(r->dsm);
    ic_stop(r->ic);
    r->started = false;
    r->sim->ranks = NULL;
    mem_set_dsm(r->space, NULL);
    mem_set_remote(r->space, NULL, NULL);
}

