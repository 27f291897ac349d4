/* All ranks of a machine standing still together, and what is done meanwhile: harts change their rank.
 *
 *   rank 0: FREEZE -> every rank: executors pause, messages to vCPUs are held, QUIET to all others
 *           a rank that has everybody's QUIET knows that nothing is under way to it -> FROZEN -> rank 0
 *   move:   MOVE (harts, new ranks) to all -> the old rank saves the hart -> HART -> the new rank loads it -> MOVED
 *   images: FLUSH -> every rank: held messages leave and are handled, pages that harts had asked for come -> QUIET, FROZEN:
 *           every page has one keeper, every hart has what it was told
 *   rank 0: THAW -> every rank: held messages leave for where their harts are now, executors go on
 *
 * Channels keep their order, so a QUIET comes after all that its sender sent before. Devices go on; what they
 * tell harts is held. Pages move on demand: a hart that moves takes none along. */
#include <string.h>

#include "kvm/hkvm.h"
#include "ranks_priv.h"
#include "sim-core/alloc.h"
#include "sim-core/log.h"
#include "sim-core/vcpu.h"

enum { SETTLE_NAP_NS = 100 * 1000 };

struct frozen_message {
    uint32_t round, refused;
};

struct hart_message {
    uint32_t hart, len;
    uint8_t state[];
};

void ranks_set_world(struct ranks *r, struct world *world)
{
    r->world = world;
}

void ranks_freeze_init(struct ranks *r)
{
    r->last_held = &r->held;
}

void ranks_freeze_fini(struct ranks *r)
{
    while (r->held) {
        struct held_message *m = r->held;
        r->held = m->next;
        sim_free(m);
    }
    sim_free((void *)r->owner);
}

/* --- holding --- */

bool ranks_hold_locked(struct ranks *r, const struct vcpu *target, const void *msg, uint32_t len)
{
    if (SIM_LIKELY(!r->holding))
        return false;
    struct held_message *m = sim_zalloc(sizeof *m + len);

    m->target = target;
    m->len = len;
    memcpy(m->data, msg, len);
    *r->last_held = m;
    r->last_held = &m->next;
    return true;
}

static void hold(struct ranks *r)
{
    sim_mutex_lock(&r->lock);
    r->holding = true;
    sim_mutex_unlock(&r->lock);
}

/* Those for harts of other ranks leave under the lock, so that nothing overtakes them; *own gets the rest. */
static void let_go_locked(struct ranks *r, struct held_message **own)
{
    struct held_message *m = r->held;

    while (m) {
        struct held_message *next = m->next;
        if (m->target->remote) {
            ranks_send_to_vcpu(r, m->target, m->data, m->len);
            sim_free(m);
        } else {
            m->next = NULL;
            *own = m;
            own = &m->next;
        }
        m = next;
    }
    r->held = NULL;
    r->last_held = &r->held;
    r->holding = false;
}

static void deliver(struct ranks *r, struct held_message *m)
{
    while (m) {
        struct held_message *next = m->next;
        m->target->ops->deliver(r->sim->vcpus[m->target->index], r->sim->rank, m->data, m->len);
        sim_free(m);
        m = next;
    }
}

static void let_go(struct ranks *r)
{
    struct held_message *own = NULL;

    sim_mutex_lock(&r->lock);
    let_go_locked(r, &own);
    sim_mutex_unlock(&r->lock);
    deliver(r, own);
}

/* Takes out what is held for a hart. */
static struct held_message *take_held_locked(struct ranks *r, const struct vcpu *v)
{
    struct held_message *taken = NULL, **last = &taken;

    for (struct held_message **at = &r->held; *at;) {
        struct held_message *m = *at;
        if (m->target != v) {
            at = &m->next;
            continue;
        }
        *at = m->next;
        m->next = NULL;
        *last = m;
        last = &m->next;
    }
    for (r->last_held = &r->held; *r->last_held; r->last_held = &(*r->last_held)->next)
        ;
    return taken;
}

/* The hart is here from now on. What was held for it comes first; later messages find it here. */
static void arrive(struct ranks *r, struct vcpu *v)
{
    for (;;) {
        sim_mutex_lock(&r->lock);
        struct held_message *m = take_held_locked(r, v);
        if (!m)
            v->remote = false;
        sim_mutex_unlock(&r->lock);
        if (!m)
            return;
        deliver(r, m);
    }
}

/* --- freezing --- */

/* Of the two that may see that the round is over, a thread that polls and the I/O thread, one says it. */
static void tell_frozen(struct ranks *r)
{
    sim_mutex_lock(&r->lock);
    const struct frozen_message m = {r->rounds, r->refuses};
    bool over = r->here && r->quiet >= r->rounds * (r->sim->nr_ranks - 1);
    if (over)
        r->here = false;
    sim_mutex_unlock(&r->lock);
    if (over)
        ic_send_small(r->ic, 0, MSG_FROZEN, &m, sizeof m);
}

/* This rank has done its part of a round, and what it sent has left. */
static void end_round(struct ranks *r)
{
    ic_broadcast(r->ic, MSG_QUIET, NULL, 0);
    sim_mutex_lock(&r->lock);
    r->rounds++;
    r->refuses = !r->paused;
    r->here = true;
    sim_mutex_unlock(&r->lock);
    tell_frozen(r);
}

/* On the I/O thread, for executors are waited for. But not for a guest reset: that waits for all ranks to come to it, and
 * one that stands still already cannot. Whoever is in it refuses. */
static void freeze_here(void *opaque)
{
    struct ranks *r = opaque;

    /* Who stands still already is in no reset. */
    if (world_try_pause(r->world)) {
        r->paused++;
        hold(r);
    }
    end_round(r);
}

static bool pages_are_settled(struct ranks *r)
{
    return (!r->coherence || hkvm_coherence_is_settled(r->coherence)) && dsm_is_settled(r->dsm);
}

/* What was held goes to its harts, which do not run, and pages that were asked for come. */
static void settle_here(void *opaque)
{
    struct ranks *r = opaque;

    let_go(r);
    while (!pages_are_settled(r) && !ranks_failed(r) && !sim_ending(r->sim))
        ranks_nap(r, SETTLE_NAP_NS);
    end_round(r);
}

static void on_freeze(void *opaque, rank_t from, const void *data, uint32_t len)
{
    struct ranks *r = opaque;

    (void)data;
    if (from == 0 && len == 0)
        sim_io_post(r->sim->io, freeze_here, r);
}

static void on_flush(void *opaque, rank_t from, const void *data, uint32_t len)
{
    struct ranks *r = opaque;

    (void)data;
    if (from == 0 && len == 0)
        sim_io_post(r->sim->io, settle_here, r);
}

static void on_quiet(void *opaque, rank_t from, const void *data, uint32_t len)
{
    struct ranks *r = opaque;

    (void)from;
    (void)data;
    (void)len;
    sim_mutex_lock(&r->lock);
    r->quiet++;
    sim_mutex_unlock(&r->lock);
    tell_frozen(r);
}

static void on_frozen(void *opaque, rank_t from, const void *data, uint32_t len)
{
    struct ranks *r = opaque;

    struct frozen_message m;

    (void)from;
    if (len != sizeof m)
        return;
    memcpy(&m, data, sizeof m);
    sim_mutex_lock(&r->lock);
    if (m.round == r->round) { /* a freeze that was given up may be answered late */
        r->refused |= m.refused != 0;
        atomic_fetch_add_explicit(&r->frozen, 1, memory_order_release);
    }
    sim_mutex_unlock(&r->lock);
}

static void thaw_here(void *opaque)
{
    struct ranks *r = opaque;

    let_go(r);
    if (!r->paused) /* it had refused */
        return;
    r->paused--;
    world_resume(r->world);
}

static void on_thaw(void *opaque, rank_t from, const void *data, uint32_t len)
{
    struct ranks *r = opaque;

    (void)data;
    if (from == 0 && len == 0)
        sim_io_post(r->sim->io, thaw_here, r);
}

/* Rank 0 waits, and serves its devices to harts that have to end their turn. */
static bool await(struct ranks *r, _Atomic uint32_t *count, uint32_t n)
{
    while (atomic_load_explicit(count, memory_order_acquire) < n) {
        if (ranks_failed(r) || sim_ending(r->sim))
            return false;
        ranks_nap(r, 1000000);
    }
    return true;
}

static enum sim_status do_round(struct ranks *r, enum message_type type, void (*here)(void *opaque))
{
    sim_mutex_lock(&r->lock);
    atomic_store_explicit(&r->frozen, 0, memory_order_relaxed);
    r->refused = false;
    r->round++;
    sim_mutex_unlock(&r->lock);
    ic_broadcast(r->ic, type, NULL, 0);
    here(r);
    if (!await(r, &r->frozen, r->sim->nr_ranks))
        return SIM_ERR_IO;
    sim_mutex_lock(&r->lock);
    bool refused = r->refused;
    sim_mutex_unlock(&r->lock);
    return refused ? SIM_ERR_BUSY : SIM_OK;
}

enum sim_status ranks_freeze(struct ranks *r)
{
    return do_round(r, MSG_FREEZE, freeze_here);
}

enum sim_status ranks_freeze_settle(struct ranks *r)
{
    return do_round(r, MSG_FLUSH, settle_here);
}

void ranks_thaw(struct ranks *r)
{
    ic_broadcast(r->ic, MSG_THAW, NULL, 0);
    thaw_here(r);
}

/* --- moving a hart; all ranks are frozen --- */

static void send_hart(struct ranks *r, struct vcpu *v, rank_t to)
{
    struct state_buf buf = {0};
    struct hart_message head = {.hart = v->index};

    mem_page_release(r->space, v->index);
    v->remote = true;
    sim_fence(); /* lines that are driven from now on follow it */
    state_save(v->ops->state, rv_hart_state_object(v), &buf);
    head.len = (uint32_t)buf.len;
    world_remove(r->world, v);
    ic_send(r->ic, to, MSG_HART, &head, sizeof head, buf.data, head.len);
    state_buf_fini(&buf);
}

static void move_one(struct ranks *r, const struct ranks_move *m)
{
    if (m->hart >= r->sim->nr_vcpus || m->to >= r->sim->nr_ranks)
        return;
    struct vcpu *v = r->sim->vcpus[m->hart];
    atomic_store_explicit(&r->owner[m->hart], m->to, memory_order_relaxed);
    if (!v->remote && m->to != r->sim->rank)
        send_hart(r, v, (rank_t)m->to);
}

static void on_move(void *opaque, rank_t from, const void *data, uint32_t len)
{
    const struct ranks_move *m = data;

    if (from != 0)
        return;
    for (uint32_t i = 0; i < len / sizeof *m; i++)
        move_one(opaque, &m[i]);
}

static void on_hart(void *opaque, rank_t from, const void *data, uint32_t len)
{
    struct ranks *r = opaque;
    const struct hart_message *m = data;
    size_t used;

    if (len < sizeof *m || len != sizeof *m + m->len || m->hart >= r->sim->nr_vcpus ||
        !r->sim->vcpus[m->hart]->remote) {
        sim_warn("%s sent a broken hart of %u bytes", ic_rank_name(r->ic, from), len);
        return;
    }
    struct vcpu *v = r->sim->vcpus[m->hart];
    if (state_load(v->ops->state, rv_hart_state_object(v), m->state, m->len, &used) != SIM_OK) {
        sim_request_end(r->sim, SIM_END_ERROR, 70);
        return;
    }
    atomic_store_explicit(&r->owner[m->hart], r->sim->rank, memory_order_relaxed);
    arrive(r, v);
    world_add(r->world, v);
    ic_send_small(r->ic, 0, MSG_MOVED, NULL, 0);
}

static void on_moved(void *opaque, rank_t from, const void *data, uint32_t len)
{
    struct ranks *r = opaque;

    (void)from;
    (void)data;
    (void)len;
    atomic_fetch_add_explicit(&r->moved, 1, memory_order_release);
}

static enum sim_status check_move(const struct ranks *r, const struct ranks_move *m)
{
    if (r->sim->rank == 0 && m->hart < r->sim->nr_vcpus && m->to < r->sim->nr_ranks)
        return SIM_OK;
    sim_error("move hart %u to rank %u: there are harts 0-%u and ranks 0-%u", m->hart, m->to,
              r->sim->nr_vcpus - 1, r->sim->nr_ranks - 1);
    return SIM_ERR_INVALID;
}

/* Those that are where they shall be are left out; returns how many are left. */
static unsigned needed(const struct ranks *r, const struct ranks_move *move, unsigned nr, struct ranks_move *out)
{
    unsigned n = 0;

    for (unsigned i = 0; i < nr; i++)
        if (ranks_hart_rank(r, move[i].hart) != move[i].to)
            out[n++] = move[i];
    return n;
}

static enum sim_status move_frozen(struct ranks *r, const struct ranks_move *move, unsigned nr)
{
    const uint32_t bytes = (uint32_t)(nr * sizeof move[0]);

    atomic_store_explicit(&r->moved, 0, memory_order_relaxed);
    ic_broadcast(r->ic, MSG_MOVE, move, bytes);
    ic_send_small(r->ic, 0, MSG_MOVE, move, bytes);
    return await(r, &r->moved, nr) ? SIM_OK : SIM_ERR_IO;
}

enum sim_status ranks_move_harts(struct ranks *r, const struct ranks_move *move, unsigned nr, uint64_t *pause_ns)
{
    struct ranks_move due[RANKS_MOVES];
    uint64_t start = sim_host_ns();

    *pause_ns = 0;
    if (!r->machine->cpus) {
        sim_error("move-hart: vCPUs on KVM stay on their rank");
        return SIM_ERR_UNSUPPORTED;
    }
    SIM_BUG_ON(nr > RANKS_MOVES, "%u harts to move", nr);
    for (unsigned i = 0; i < nr; i++)
        SIM_TRY(check_move(r, &move[i]));
    nr = needed(r, move, nr, due);
    if (!nr)
        return SIM_OK;
    enum sim_status status = ranks_freeze(r);
    if (status == SIM_OK)
        status = move_frozen(r, due, nr);
    ranks_thaw(r);
    *pause_ns = sim_host_ns() - start;
    return status;
}

uint32_t ranks_hart_rank(const struct ranks *r, uint32_t hart)
{
    return atomic_load_explicit(&r->owner[hart], memory_order_relaxed);
}

void ranks_freeze_register(struct ranks *r)
{
    static const struct {
        enum message_type type;
        const char *name;
        ic_handler_fn *fn;
    } handlers[] = {
        {MSG_FREEZE, "freeze", on_freeze}, {MSG_QUIET, "quiet", on_quiet},
        {MSG_FROZEN, "frozen", on_frozen}, {MSG_THAW, "thaw", on_thaw},
        {MSG_MOVE, "move", on_move},       {MSG_HART, "hart", on_hart},
        {MSG_MOVED, "moved", on_moved},    {MSG_FLUSH, "flush", on_flush},
    };

    for (size_t i = 0; i < SIM_ARRAY_LEN(handlers); i++)
        ic_register(r->ic, handlers[i].type, handlers[i].name, handlers[i].fn, r);
}
