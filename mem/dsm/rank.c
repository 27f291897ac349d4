/* The rank side: acquire, and the answers of others, interpreted from protocol.def. */
#include <string.h>

#include "dsm_priv.h"

typedef void action_fn(struct dsm *d, struct dsm_record *r, struct rank_input *in);

static void do_nothing(struct dsm *d, struct dsm_record *r, struct rank_input *in)
{
    (void)d, (void)r, (void)in;
}

static void do_hit(struct dsm *d, struct dsm_record *r, struct rank_input *in)
{
    (void)d, (void)r;
    in->hit = true;
}

static void request(struct dsm *d, struct dsm_record *r, enum dsm_message type, uint8_t run)
{
    r->acks_known = false;
    r->acks_due = r->acks_got = 0;
    r->clean = false;
    r->run = run;
    messages_send(d, dsm_home(d, r->page), type,
                  (struct dsm_wire){.page = r->page, .requester = (uint16_t)d->me, .run = run});
}

static void put_off(struct dsm *d, struct dsm_record *r)
{
    r->put_off = true;
    d->nr_put_off++;
}

/* The copy may have gone since, so that it is the state that says what is wanted. */
void rank_ask_now(struct dsm *d, struct dsm_record *r)
{
    r->put_off = false;
    d->nr_put_off--;
    request(d, r, r->state == RANK_IS ? MSG_GET_S : MSG_GET_E, 0);
}

static void do_get_s(struct dsm *d, struct dsm_record *r, struct rank_input *in)
{
    d->stats.gets_shared++;
    if (SIM_UNLIKELY(move_puts_off(d, in->urgent)))
        put_off(d, r);
    else
        request(d, r, MSG_GET_S, 0);
}

static void do_get_e(struct dsm *d, struct dsm_record *r, struct rank_input *in)
{
    d->stats.gets_exclusive++;
    if (SIM_UNLIKELY(move_puts_off(d, in->urgent)))
        put_off(d, r);
    else
        request(d, r, MSG_GET_E, run_ask(d, r->page));
}

static void do_copy(struct dsm *d, struct dsm_record *r, struct rank_input *in)
{
    uint8_t *bytes = d->config.bytes + (r->page << GUEST_PAGE_BITS);

    d->stats.pages_in++;
    r->clean = in->wire->clean;
    if (in->body)
        memcpy(bytes, in->body, GUEST_PAGE_SIZE);
    else
        memset(bytes, 0, GUEST_PAGE_SIZE);
    if (!in->body)
        d->stats.zero_pages++;
}

static void do_wake(struct dsm *d, struct dsm_record *r, struct rank_input *in)
{
    (void)in;
    waiters_wake(d, r);
}

static void do_done(struct dsm *d, struct dsm_record *r, struct rank_input *in)
{
    (void)in;
    messages_send(d, dsm_home(d, r->page), MSG_DONE,
                  (struct dsm_wire){
                      .page = r->page, .requester = (uint16_t)d->me, .clean = r->clean, .run = r->run});
}

/* WAIT is done by the caller that has a waiter; REVOKE, SEND and ACK by the batch (batch.c). */
static action_fn *const actions[DO_NR] = {
    [DO_NOP] = do_nothing,    [DO_HIT] = do_hit,        [DO_WAIT] = do_nothing,
    [DO_GET_S] = do_get_s,    [DO_GET_E] = do_get_e,    [DO_COPY] = do_copy,
    [DO_WAKE] = do_wake,      [DO_DONE] = do_done,      [DO_REVOKE] = do_nothing,
    [DO_SEND_S] = do_nothing, [DO_SEND_E] = do_nothing, [DO_ACK] = do_nothing};

void rank_handle(struct dsm *d, struct dsm_record *r, enum rank_event event, struct rank_input *in)
{
    const struct protocol_row *row = &protocol_rank[r->state][event];

    if (!row->known) {
        dsm_fail(d, "%s of %s for page 0x%llx, which is in state %s here", rank_event_name[event],
                 ic_rank_name(d->config.ic, in->from), (unsigned long long)r->page,
                 rank_state_name[r->state]);
        return;
    }
    /* The bytes come before the state that lets others read them. */
    if (protocol_row_does(row, DO_COPY))
        do_copy(d, r, in);
    record_set_state(d, r, (enum rank_state)row->next);
    for (unsigned i = 0; i < PROTOCOL_ACTIONS; i++)
        if (row->action[i] != DO_COPY)
            actions[row->action[i]](d, r, in);
}

/* Counts ACKs; says whether `plain` is the event, or the next one: none is missing any more. */
static enum rank_event counted(struct dsm_record *r, enum rank_event plain)
{
    return r->acks_known && r->acks_got == r->acks_due ? plain + 1 : plain;
}

static enum rank_event event_of(struct dsm_record *r, enum dsm_message type,
                                const struct dsm_wire *wire)
{
    switch (type) {
    case MSG_DATA_S:
        return ON_DATA_S;
    case MSG_ACK:
        r->acks_got++;
        return counted(r, ON_ACK);
    case MSG_FWD_S:
        return ON_FWD_S;
    case MSG_FWD_E:
        return ON_FWD_E;
    case MSG_INV:
        return ON_INV;
    default: /* DATA_E, GRANT */
        r->acks_known = true;
        r->acks_due = wire->acks;
        return counted(r, type == MSG_DATA_E ? ON_DATA_E : ON_GRANT);
    }
}

static bool is_request(enum rank_event event)
{
    return event == ON_FWD_S || event == ON_FWD_E || event == ON_INV;
}

void rank_receive(struct dsm *d, rank_t from, enum dsm_message type, const struct dsm_wire *wire,
                  const uint8_t *body)
{
    struct dsm_record *r = record_get(d, wire->page);
    enum rank_event event = event_of(r, type, wire);
    struct rank_input in = {.from = from, .wire = wire, .body = body};

    if (wire->marked && d->config.ops->put_mark)
        d->config.ops->put_mark(d->config.opaque, r->page);
    if (type == MSG_DATA_E && wire->run > r->run)
        dsm_fail(d, "%s gives %u pages behind page 0x%llx, %u were asked for", ic_rank_name(d->config.ic, from),
                 (unsigned)wire->run, (unsigned long long)r->page, (unsigned)r->run);
    else if (type == MSG_DATA_E)
        run_answered(d, r, wire->run);
    if (!is_request(event))
        rank_handle(d, r, event, &in);
    else if (r->requested || !protocol_rank[r->state][event].known)
        dsm_fail(d, "%s of %s for page 0x%llx, which is in state %s here%s", rank_event_name[event],
                 ic_rank_name(d->config.ic, from), (unsigned long long)r->page,
                 rank_state_name[r->state], r->requested ? " and asked for" : "");
    else
        request_add(d, r,
                    &(struct dsm_request){wire->page, wire->requester, wire->acks, (uint8_t)event, wire->run});
    record_put(d, r);
}

static bool is_enough(enum dsm_state state, bool write)
{
    return state >= (write ? DSM_EXCLUSIVE : DSM_SHARED);
}

/* The first use of a page, the first write of an exclusive one and the first use of one fetched ahead are noted, which
 * takes the lock. One look at the word: it may change meanwhile. */
static bool is_enough_at_once(const struct dsm *d, uint64_t page, bool write)
{
    SIM_ASSERT(page < d->config.nr_pages);
    /* A1, as in dsm_page_state */
    uint32_t word = atomic_load_explicit(&d->word[page], memory_order_acquire), state = word & DSM_WORD_STATE;

    return state && is_enough((enum dsm_state)(state - 1), write) && (!write || word & DSM_WORD_WRITTEN) &&
           !(word & DSM_WORD_AHEAD);
}

/* A waiter in the middle of an instruction that has waited before keeps every page it finds. */
static void keep(struct dsm *d, uint64_t page, struct dsm_waiter *w)
{
    struct dsm_record *r = record_get(d, page);

    waiter_hold(d, r, w);
    record_put(d, r);
}

static enum dsm_result acquire_locked(struct dsm *d, uint64_t page, bool write, uint32_t waiter)
{
    struct dsm_waiter *w = waiter_find(d, waiter);
    struct rank_input in = {.from = d->me};

    /* Readable is not enough: to hold it would only keep those waiting who are served first. */
    if (write && w && dsm_page_state(d, page) == DSM_SHARED)
        waiter_drop_hold(d, w, page);
    struct dsm_record *r = record_get(d, page);
    rank_handle(d, r, write ? ON_WRITE : ON_READ, &in);
    if (!in.hit) {
        habit_missed(d, page, write);
        waiter_wait(d, r, waiter, write);
    }
    if (stream_is_ahead(d, page))
        stream_used(d, w, page, write);
    else if (!in.hit)
        stream_missed(d, waiter_find(d, waiter), page, write);
    /* What the home had to say on the spot may be that the page is there. */
    messages_handle_local(d);
    bool enough = is_enough(dsm_page_state(d, page), write);
    if (enough)
        (write ? record_written : record_used)(d, page);
    if (enough && w && atomic_load_explicit(&w->nr_holds, memory_order_relaxed))
        keep(d, page, w);
    r = record_find(d, page);
    if (r)
        record_put(d, r);
    return enough ? DSM_OK : DSM_WAIT;
}

static bool holds_something(const struct dsm *d, uint32_t waiter)
{
    const struct dsm_waiter *w = waiter_find(d, waiter);

    return w && atomic_load_explicit(&w->nr_holds, memory_order_relaxed);
}

enum dsm_result dsm_acquire(struct dsm *d, uint64_t page, bool write, uint32_t waiter)
{
    if (is_enough_at_once(d, page, write) && !holds_something(d, waiter))
        return DSM_OK;
    dsm_enter(d);
    enum dsm_result result = acquire_locked(d, page, write, waiter);
    dsm_leave(d);
    return result;
}
