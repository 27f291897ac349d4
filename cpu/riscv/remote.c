/* Harts that run on other ranks: what crosses over instead of a function call.
 *
 *   line, start:    rv_remote_* -> sim_ranks_ops.post -> ops->deliver there -> the local function
 *   remote fence:   one FENCE message a rank -> its harts are asked and awaited -> FENCE_DONE -> acks_due
 *   written mtime:  the rank of the device tells all others
 *   HSM state:      the rank that runs a hart tells all others when it is to start, stops or is suspended; they keep a copy. States are
 *                   numbered: after a move the news come another way, and may overtake older ones
 *
 * A message names harts by index, which is the same on all ranks. */
#include <string.h>

#include "hart.h"
#include "sim-core/log.h"

enum message_kind {
    MSG_LINE, MSG_START, MSG_STATE, MSG_TIME, MSG_FENCE, MSG_FENCE_DONE, MSG_KINDS
};

/* One layout for all; what a kind does not use is 0. */
struct message {
    uint32_t kind;
    uint32_t hart;   /* index: whose state changed; who fences */
    uint32_t number; /* mip bit; request flags; enum rv_told_state */
    uint32_t level;  /* of the line; has_range */
    struct rv_hart_mask mask;
    struct rv_fence_range range;
    uint64_t pc, a1; /* pc: also the offset of the time, and the number of a state */
};

static void post(const struct rv_hart *target, const struct message *m)
{
    struct sim *sim = target->machine->sim;

    sim->ranks->post(sim->ranks_opaque, &target->vcpu, m, sizeof *m);
}

/* `about` is the hart that gets it there. */
static void tell(uint32_t rank, const struct rv_hart *about, const struct message *m)
{
    struct sim *sim = about->machine->sim;

    sim->ranks->tell(sim->ranks_opaque, rank, &about->vcpu, m, sizeof *m);
}

/* Also those that have no harts at the moment. */
static void tell_ranks(const struct rv_hart *about, const struct message *m)
{
    const struct sim *sim = about->machine->sim;

    for (uint32_t rank = 0; rank < sim->nr_ranks; rank++)
        if (rank != sim->rank)
            tell(rank, about, m);
}

static uint32_t rank_of(const struct rv_hart *h)
{
    struct sim *sim = h->machine->sim;

    return sim->ranks->rank_of(sim->ranks_opaque, &h->vcpu);
}

void rv_remote_line(struct rv_hart *target, uint32_t mip_bit, bool level)
{
    const struct message m = {.kind = MSG_LINE, .number = mip_bit, .level = level};

    post(target, &m);
}

void rv_remote_start(struct rv_hart *target, uint64_t pc, uint64_t a1)
{
    const struct message m = {.kind = MSG_START, .pc = pc, .a1 = a1};

    post(target, &m);
}

/* --- one message a rank --- */

enum { MAX_RANKS = 4096 };

/* Ranks that were met already. */
struct rank_set {
    uint64_t bits[MAX_RANKS / 64];
};

static bool first_time(struct rank_set *set, uint32_t rank)
{
    uint64_t bit = 1ull << (rank % 64);
    bool first = !(set->bits[rank / 64 % (MAX_RANKS / 64)] & bit);

    set->bits[rank / 64 % (MAX_RANKS / 64)] |= bit;
    return first;
}

/* Asks each other rank that has harts which the mask names, and counts them. */
static void ask_ranks(struct rv_machine *machine, const struct rv_hart_mask *mask,
                      const struct message *m, _Atomic uint32_t *count)
{
    struct rank_set met;

    memset(&met, 0, sizeof met);
    for (uint32_t i = 0; i < machine->nr_harts; i++) {
        struct rv_hart *h = machine->harts[i];
        if (!h->vcpu.remote || !rv_mask_has(mask, h->hartid) || !first_time(&met, rank_of(h)))
            continue;
        atomic_fetch_add_explicit(count, 1, memory_order_relaxed);
        tell(rank_of(h), h, m);
    }
}

void rv_remote_tell_state(struct rv_hart *h, enum rv_told_state state)
{
    if (!h->machine->sim->ranks)
        return;
    const struct message m = {
        .kind = MSG_STATE, .hart = h->vcpu.index, .number = state, .pc = ++h->state_nr};
    tell_ranks(h, &m);
}

void rv_machine_tell_states(struct rv_machine *m)
{
    for (uint32_t i = 0; i < m->nr_harts; i++) {
        struct rv_hart *h = m->harts[i];
        if (!h->vcpu.remote)
            rv_remote_tell_state(h, __atomic_load_n(&h->stopped, __ATOMIC_SEQ_CST));
    }
}

void rv_remote_tell_time(struct rv_machine *machine, uint64_t offset)
{
    const struct message m = {.kind = MSG_TIME, .pc = offset};

    if (machine->sim->ranks)
        tell_ranks(machine->harts[0], &m);
}

void rv_remote_fence(struct rv_hart *self, const struct rv_hart_mask *mask, uint32_t flags,
                     const struct rv_fence_range *range)
{
    struct message m = {.kind = MSG_FENCE, .hart = self->vcpu.index, .number = flags, .mask = *mask};

    if (!self->machine->sim->ranks)
        return;
    if (range) {
        m.level = 1;
        m.range = *range;
    }
    ask_ranks(self->machine, mask, &m, &self->acks_due);
}

void rv_remote_fence_wait(struct rv_hart *self)
{
    struct sim *sim = self->machine->sim;
    unsigned spins = 0;

    if (!sim->ranks)
        return;
    uint64_t since = sim_host_ns();
    /* F1: pairs with F2 */
    while (atomic_load_explicit(&self->acks_due, memory_order_acquire) && !sim_ending(sim))
        sim->ranks->wait(sim->ranks_opaque, &spins);
    self->vcpu.stats.away_ns += sim_host_ns() - since;
}

/* --- the other end --- */

/* Asks all first, so that their safepoints do not add up. */
static void fence_here(struct rv_machine *machine, const struct message *m)
{
    struct rv_hart *h;

    for (uint32_t at = 0; (h = rv_mask_next(machine, &m->mask, &at));)
        if (!h->vcpu.remote)
            rv_request_fence(NULL, h, m->number, m->level ? &m->range : NULL);
    for (uint32_t at = 0; (h = rv_mask_next(machine, &m->mask, &at));)
        if (!h->vcpu.remote)
            rv_request_wait(NULL, h);
}

/* The answer goes where the question came from: that the asker has moved there this rank may hear later. */
static void on_fence(struct rv_hart *h, uint32_t from, const struct message *m)
{
    const struct message done = {.kind = MSG_FENCE_DONE, .hart = m->hart};

    fence_here(h->machine, m);
    tell(from, h->machine->harts[m->hart], &done);
}

static void on_line(struct rv_hart *h, uint32_t from, const struct message *m)
{
    (void)from;
    rv_drive_line_here(h, m->number & 63, m->level);
}

static void on_start(struct rv_hart *h, uint32_t from, const struct message *m)
{
    (void)from;
    (void)rv_hart_request_start_here(h, m->pc, m->a1); /* started already: its rank has told, or will */
}

static void on_state(struct rv_hart *h, uint32_t from, const struct message *m)
{
    struct rv_hart *of = h->machine->harts[m->hart];

    (void)from;
    if (!of->vcpu.remote || (int64_t)(m->pc - of->state_nr) <= 0)
        return;
    of->state_nr = m->pc;
    __atomic_store_n(&of->waiting, m->number == RV_TOLD_SUSPENDED ? RV_WAIT_SUSPENDED : RV_WAIT_NOT, __ATOMIC_SEQ_CST);
    __atomic_store_n(&of->stopped, m->number == RV_TOLD_STOPPED, __ATOMIC_SEQ_CST);
}

static void on_time(struct rv_hart *h, uint32_t from, const struct message *m)
{
    (void)from;
    rv_time_moved(h->machine, m->pc);
}

static void on_fence_done(struct rv_hart *h, uint32_t from, const struct message *m)
{
    struct rv_hart *of = h->machine->harts[m->hart];

    (void)from;
    /* F2: the fence has taken effect; pairs with F1 */
    if (atomic_load_explicit(&of->acks_due, memory_order_relaxed))
        atomic_fetch_sub_explicit(&of->acks_due, 1, memory_order_release);
}

void rv_remote_deliver(struct vcpu *v, uint32_t from_rank, const void *msg, uint32_t len)
{
    static void (*const handlers[MSG_KINDS])(struct rv_hart *, uint32_t from, const struct message *) = {
        [MSG_LINE] = on_line, [MSG_START] = on_start, [MSG_STATE] = on_state,
        [MSG_TIME] = on_time, [MSG_FENCE] = on_fence, [MSG_FENCE_DONE] = on_fence_done,
    };
    struct rv_hart *h = rv_hart_of(v);
    struct message m;

    if (len != sizeof m) {
        sim_warn("rank %u sent a message of %u bytes to hart %u: ignored", from_rank, len, v->index);
        return;
    }
    memcpy(&m, msg, sizeof m);
    if (m.kind >= MSG_KINDS || m.hart >= h->machine->nr_harts) {
        sim_warn("rank %u sent message %u for hart %u to hart %u: ignored", from_rank, m.kind, m.hart,
                 v->index);
        return;
    }
    handlers[m.kind](h, from_rank, &m);
}
