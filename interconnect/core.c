/* Sending and receiving: ic_send -> transport or outbox; ic_poll -> transport -> handler.
 *
 * The turn is the one lock of the data path. ic_send tries to take it and then hands the message to the
 * transport; when another thread has it the message goes to the peer's outbox, and that thread takes it along
 * when it leaves. Nothing waits for the turn. Leaving and queueing meet as in Dekker's algorithm:
 *
 *   sender                       holder
 *   queue; pushed = true         turn = nobody
 *   turn free? take it, push     pushed? take the turn again, push
 *
 * Order of a pair: a message goes past the outbox only when the outbox is empty, and only the holder of the turn
 * takes messages out. */
#include <stdio.h>
#include <string.h>

#include "core_priv.h"
#include "sim-core/alloc.h"
#include "sim-core/log.h"

/* Its address tells threads apart. */
static _Thread_local char this_thread;

static bool turn_mine(struct ic *ic)
{
    return atomic_load_explicit(&ic->turn, memory_order_relaxed) == &this_thread;
}

bool ic_turn_take(struct ic *ic)
{
    const void *nobody = NULL;

    return atomic_load_explicit(&ic->turn, memory_order_relaxed) == NULL &&
           atomic_compare_exchange_strong_explicit(&ic->turn, &nobody, &this_thread,
                                                   memory_order_seq_cst, memory_order_relaxed);
}

void ic_turn_leave(struct ic *ic)
{
    for (;;) {
        atomic_store_explicit(&ic->turn, NULL, memory_order_seq_cst);
        if (!atomic_load_explicit(&ic->pushed, memory_order_seq_cst) || !ic_turn_take(ic))
            return;
        ic_push(ic);
    }
}

/* These must pass when a window is closed: they open it, or say who is there. */
static bool is_windowed(unsigned type)
{
    return type > IC_CONTROL_LAST_UNWINDOWED;
}

/* A counter that only the holder of the turn writes. */
static void add(_Atomic uint64_t *counter, uint64_t n)
{
    atomic_store_explicit(counter, atomic_load_explicit(counter, memory_order_relaxed) + n,
                          memory_order_relaxed);
}

/* Gives the message to the transport, with the credits that are due. In turn. */
static bool pass_on(struct ic *ic, struct ic_peer *p, struct ic_parts *m)
{
    bool windowed = is_windowed(m->wire.type);

    if (windowed && !p->window)
        return false;
    m->wire.credits = (uint16_t)p->owed;
    if (!ic->transport->ops->try_send(ic->transport, p->rank, m))
        return false;
    p->owed = 0;
    p->window -= windowed;
    add(&ic->handler[m->wire.type].sent, 1);
    add(&ic->handler[m->wire.type].sent_bytes, m->wire.len);
    if (p->bell)
        ic_bell_ring(p);
    return true;
}

static void queue(struct ic *ic, struct ic_peer *p, const struct ic_parts *m)
{
    sim_mutex_lock(&ic->outbox_lock);
    struct ic_note *note = ic_note_get(ic, m->wire.len);
    note->wire = m->wire;
    if (m->head_len)
        memcpy(note->data, m->head, m->head_len);
    if (m->body_len)
        memcpy(note->data + m->head_len, m->body, m->body_len);
    ic_queue_add(&p->outbox, note);
    atomic_fetch_add_explicit(&p->backlog, 1, memory_order_relaxed);
    atomic_fetch_add_explicit(&ic->backlog, 1, memory_order_relaxed);
    sim_mutex_unlock(&ic->outbox_lock);
}

static struct ic_note *outbox_first(struct ic *ic, struct ic_peer *p)
{
    sim_mutex_lock(&ic->outbox_lock);
    struct ic_note *note = p->outbox.first;
    sim_mutex_unlock(&ic->outbox_lock);
    return note;
}

static void outbox_drop_first(struct ic *ic, struct ic_peer *p)
{
    sim_mutex_lock(&ic->outbox_lock);
    ic_note_put(ic, ic_queue_take(&p->outbox));
    atomic_fetch_sub_explicit(&p->backlog, 1, memory_order_relaxed);
    atomic_fetch_sub_explicit(&ic->backlog, 1, memory_order_relaxed);
    sim_mutex_unlock(&ic->outbox_lock);
}

void ic_drop_outbox(struct ic *ic, struct ic_peer *p)
{
    while (outbox_first(ic, p))
        outbox_drop_first(ic, p);
}

static void push_peer(struct ic *ic, struct ic_peer *p)
{
    struct ic_note *note;

    while ((note = outbox_first(ic, p))) {
        struct ic_parts m = {.wire = note->wire, .head = note->data, .head_len = note->wire.len};
        if (atomic_load_explicit(&p->lost, memory_order_relaxed) || pass_on(ic, p, &m))
            outbox_drop_first(ic, p);
        else
            return;
    }
}

void ic_push(struct ic *ic)
{
    atomic_store_explicit(&ic->pushed, false, memory_order_seq_cst);
    for (rank_t r = 0; r < ic->nr && atomic_load_explicit(&ic->backlog, memory_order_relaxed); r++)
        if (atomic_load_explicit(&ic->peer[r].backlog, memory_order_relaxed))
            push_peer(ic, &ic->peer[r]);
}

static void send_in_turn(struct ic *ic, struct ic_peer *p, struct ic_parts *m)
{
    if (atomic_load_explicit(&p->backlog, memory_order_relaxed) || !pass_on(ic, p, m))
        queue(ic, p, m);
}

/* Another thread has the turn: it will look at `pushed` when it leaves, or has left meanwhile. */
static void send_by_outbox(struct ic *ic, struct ic_peer *p, const struct ic_parts *m)
{
    queue(ic, p, m);
    atomic_store_explicit(&ic->pushed, true, memory_order_seq_cst);
    if (ic_turn_take(ic)) {
        ic_push(ic);
        ic_turn_leave(ic);
    }
}

void ic_send(struct ic *ic, rank_t to, unsigned type, const void *head, uint32_t head_len,
             const void *body, uint32_t body_len)
{
    struct ic_peer *p = &ic->peer[to];
    struct ic_parts m = {.wire = {.type = (uint16_t)type, .len = head_len + body_len},
                         .head = head,
                         .head_len = head_len,
                         .body = body,
                         .body_len = body_len};

    SIM_BUG_ON(to < 0 || to >= ic->nr, "message of type %u to rank %d of %d", type, to, ic->nr);
    SIM_BUG_ON(type >= IC_TYPES || (uint64_t)head_len + body_len > IC_MESSAGE_MAX,
               "message of type %u, %u + %u bytes", type, head_len, body_len);
    if (atomic_load_explicit(&p->lost, memory_order_relaxed))
        return;
    if (turn_mine(ic)) {
        send_in_turn(ic, p, &m);
    } else if (ic_turn_take(ic)) {
        send_in_turn(ic, p, &m);
        ic_turn_leave(ic);
    } else {
        send_by_outbox(ic, p, &m);
    }
}

void ic_broadcast(struct ic *ic, unsigned type, const void *head, uint32_t len)
{
    for (rank_t r = 0; r < ic->nr; r++)
        if (r != ic->rank)
            ic_send_small(ic, r, type, head, len);
}

uint32_t ic_backlog(const struct ic *ic)
{
    return atomic_load_explicit(&ic->backlog, memory_order_relaxed);
}

bool ic_send_urgent(struct ic *ic, rank_t to, unsigned type, const void *head, uint32_t len)
{
    struct ic_parts m = {
        .wire = {.type = (uint16_t)type, .len = len}, .head = head, .head_len = len};

    SIM_ASSERT(!is_windowed(type));
    return pass_on(ic, &ic->peer[to], &m);
}

static void give_credits(struct ic *ic, struct ic_peer *p)
{
    if (!ic_send_urgent(ic, p->rank, IC_CONTROL_CREDIT, NULL, 0))
        ic->credit_late = true;
}

static void give_late_credits(struct ic *ic)
{
    ic->credit_late = false;
    for (rank_t r = 0; r < ic->nr; r++)
        if (ic->peer[r].owed >= IC_WINDOW / 2)
            give_credits(ic, &ic->peer[r]);
}

/* --- receiving --- */

static void hold(struct ic *ic, struct ic_peer *p, const struct ic_wire *wire)
{
    sim_mutex_lock(&ic->outbox_lock);
    struct ic_note *note = ic_note_get(ic, wire->len);
    sim_mutex_unlock(&ic->outbox_lock);
    note->wire = *wire;
    memcpy(note->data, wire + 1, wire->len);
    ic->nr_held += !p->held.first;
    ic_queue_add(&p->held, note);
}

static void handle(struct ic *ic, struct ic_peer *p, const struct ic_wire *wire, const void *data)
{
    struct ic_handler *h = &ic->handler[wire->type];

    SIM_BUG_ON(!h->fn, "%s sent a message of type %u, which nobody handles", p->name, wire->type);
    add(&h->received, 1);
    add(&h->received_bytes, wire->len);
    h->fn(h->opaque, p->rank, data, wire->len);
}

static unsigned handle_held(struct ic *ic)
{
    unsigned n = 0;

    for (rank_t r = 0; r < ic->nr; r++) {
        struct ic_note *note;
        while ((note = ic_queue_take(&ic->peer[r].held))) {
            handle(ic, &ic->peer[r], &note->wire, note->data);
            sim_mutex_lock(&ic->outbox_lock);
            ic_note_put(ic, note);
            sim_mutex_unlock(&ic->outbox_lock);
            n++;
        }
    }
    ic->nr_held = 0;
    return n;
}

/* Before ic_start a rank may send us what we have no handler for yet: we are still starting. Messages of
 * the interconnect itself are never held, so that the start can go on. */
static bool must_hold(const struct ic *ic, const struct ic_peer *p, unsigned type)
{
    return !atomic_load_explicit(&ic->started, memory_order_relaxed) && type >= IC_TYPE_PARTITION &&
           (p->held.first || !ic->handler[type].fn);
}

static void receive(struct ic *ic, const struct ic_arrived *a)
{
    struct ic_peer *p = &ic->peer[a->from];
    const struct ic_wire *wire = a->wire;

    p->heard = true;
    if (a->size < sizeof *wire || a->size - sizeof *wire != wire->len || wire->type >= IC_TYPES) {
        ic_lose(ic, p->rank, "it sent a message that is not ours: another version of the program?");
        return;
    }
    p->window += wire->credits;
    if (SIM_UNLIKELY(atomic_load_explicit(&p->lost, memory_order_relaxed)))
        return; /* it was given up and came back: the run ends without it */
    if (must_hold(ic, p, wire->type))
        hold(ic, p, wire);
    else
        handle(ic, p, wire, wire + 1);
    if (is_windowed(wire->type) && ++p->owed >= IC_WINDOW / 2)
        give_credits(ic, p);
}

unsigned ic_poll_in_turn(struct ic *ic, unsigned max)
{
    struct ic_arrived a;
    unsigned n = 0;

    if (SIM_UNLIKELY(ic->nr_held &&
                     atomic_load_explicit(&ic->started, memory_order_acquire)))
        n += handle_held(ic);
    for (; n < max && ic->transport->ops->try_recv(ic->transport, &a); n++) {
        receive(ic, &a);
        ic->transport->ops->release(ic->transport);
    }
    if (n && ic->batch_end)
        ic->batch_end(ic->batch_end_opaque);
    if (SIM_UNLIKELY(atomic_load_explicit(&ic->tick_due, memory_order_relaxed)))
        ic_tick(ic);
    if (SIM_UNLIKELY(ic->credit_late))
        give_late_credits(ic);
    if (SIM_UNLIKELY(atomic_load_explicit(&ic->backlog, memory_order_relaxed)))
        ic_push(ic);
    return n;
}

unsigned ic_poll(struct ic *ic)
{
    SIM_BUG_ON(turn_mine(ic), "a message handler polls");
    if (!ic_turn_take(ic))
        return 0;
    atomic_store_explicit(&ic->polls, atomic_load_explicit(&ic->polls, memory_order_relaxed) + 1,
                          memory_order_relaxed);
    unsigned n = ic_poll_in_turn(ic, IC_POLL_BATCH);
    ic_turn_leave(ic);
    return n;
}

/* --- the object --- */

struct ic *ic_create(struct ic_transport *t, rank_t rank, rank_t nr, const struct ic_config *config)
{
    static const struct ic_config usual = {.start_timeout_ns = 30000000000u,
                                           .warn_after_ns = 2000000000u,
                                           .lost_after_ns = 30000000000u};
    struct ic *ic = sim_new(struct ic);

    ic->config = config ? *config : usual;
    if (!ic->config.start_timeout_ns)
        ic->config.start_timeout_ns = usual.start_timeout_ns;
    if (!ic->config.warn_after_ns)
        ic->config.warn_after_ns = usual.warn_after_ns;
    if (!ic->config.lost_after_ns)
        ic->config.lost_after_ns = usual.lost_after_ns;
    ic->transport = t;
    t->ic = ic;
    ic->version = PARTITA_VERSION;
    ic->rank = rank;
    ic->nr = nr;
    sim_mutex_init(&ic->outbox_lock, SIM_RANK_INTERCONNECT);
    ic->peer = sim_new_array(struct ic_peer, nr);
    for (rank_t r = 0; r < nr; r++) {
        struct ic_peer *p = &ic->peer[r];
        p->rank = r;
        p->window = IC_WINDOW;
        p->pidfd = p->bell_out = -1;
        ic_queue_init(&p->outbox);
        ic_queue_init(&p->held);
        snprintf(p->name, sizeof p->name, "rank %d", r);
    }
    ic->nap_cap_ns = IC_TICK_NS;
    ic->bell_in = -1;
    ic_collective_init(ic);
    ic_clock_init(ic);
    ic_liveness_init(ic);
    return ic;
}

void ic_set_identity(struct ic *ic, rank_t rank, const char *host, int pid)
{
    struct ic_peer *p = &ic->peer[rank];

    snprintf(p->host, sizeof p->host, "%s", host);
    snprintf(p->name, sizeof p->name, "rank %d (host %s, pid %d)", rank, p->host, pid);
}

static void free_queue(struct ic_queue *q)
{
    struct ic_note *note;

    while ((note = ic_queue_take(q)))
        sim_free(note);
}

void ic_destroy(struct ic *ic)
{
    if (!ic)
        return;
    SIM_BUG_ON(ic->progress.started, "ic_destroy before ic_stop");
    bool orderly = !ic->disorderly && !atomic_load_explicit(&ic->a_rank_is_lost, memory_order_acquire);
    ic->transport->ops->destroy(ic->transport, orderly);
    ic_liveness_fini(ic);
    ic_collective_fini(ic);
    for (rank_t r = 0; r < ic->nr; r++) {
        free_queue(&ic->peer[r].outbox);
        free_queue(&ic->peer[r].held);
    }
    ic_notes_free(ic);
    sim_mutex_fini(&ic->outbox_lock);
    sim_free(ic->peer);
    sim_free(ic);
}

void ic_register(struct ic *ic, unsigned type, const char *name, ic_handler_fn *fn, void *opaque)
{
    SIM_BUG_ON(type >= IC_TYPES || ic->handler[type].fn, "message type %u (%s) registered twice", type,
               name);
    ic->handler[type].name = name;
    ic->handler[type].fn = fn;
    ic->handler[type].opaque = opaque;
}

rank_t ic_rank(const struct ic *ic)
{
    return ic->rank;
}

rank_t ic_nr_ranks(const struct ic *ic)
{
    return ic->nr;
}

const char *ic_rank_name(const struct ic *ic, rank_t rank)
{
    return rank >= 0 && rank < ic->nr ? ic->peer[rank].name : "no rank";
}

bool ic_same_host(const struct ic *ic, rank_t a, rank_t b)
{
    return !strcmp(ic->peer[a].host, ic->peer[b].host);
}

uint64_t ic_poll_interval_ns(const struct ic *ic)
{
    return ic->poll_interval_ns;
}

void ic_set_batch_end(struct ic *ic, void (*fn)(void *opaque), void *opaque)
{
    ic->batch_end = fn;
    ic->batch_end_opaque = opaque;
}

void ic_on_lost(struct ic *ic, void (*fn)(void *opaque, rank_t rank, const char *why), void *opaque)
{
    ic->on_lost = fn;
    ic->on_lost_opaque = opaque;
}

void ic_counters(const struct ic *ic, struct ic_counter out[IC_TYPES])
{
    for (unsigned i = 0; i < IC_TYPES; i++) {
        const struct ic_handler *h = &ic->handler[i];
        out[i] = (struct ic_counter){
            .name = h->name,
            .sent = atomic_load_explicit(&h->sent, memory_order_relaxed),
            .sent_bytes = atomic_load_explicit(&h->sent_bytes, memory_order_relaxed),
            .received = atomic_load_explicit(&h->received, memory_order_relaxed),
            .received_bytes = atomic_load_explicit(&h->received_bytes, memory_order_relaxed)};
    }
}
