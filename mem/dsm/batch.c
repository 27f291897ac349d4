/* Batches: all requests that may go now, one revoke for all of them, then their bytes.
 *
 *   [lock] requests -> states of the table -> [unlock] -> ops->revoke -> bytes are read -> DATA |
 * ACK
 *
 * Nobody changes such a page between the lock and the sending: its home starts nothing before the
 * requester has said DONE, and the own vCPUs have lost it with the revoke. */
#include "dsm_priv.h"

struct due {
    struct dsm_request request;
    uint8_t send; /* DO_SEND_S, DO_SEND_E, DO_ACK */
    bool clean, kept; /* `kept`: until now, by this rank */
    uint8_t run;      /* pages that go along */
};

struct batch {
    unsigned nr, nr_revoke;
    struct due due[DSM_BATCH];
    uint64_t page[DSM_BATCH];
    uint8_t to[DSM_BATCH];
};

static void add_revoke(struct dsm *d, struct batch *b, struct dsm_record *r)
{
    enum dsm_state to = dsm_page_state(d, r->page);

    hold_break(d, r);
    if (to == DSM_INVALID)
        stream_taken(d, r->page);
    b->page[b->nr_revoke] = r->page;
    b->to[b->nr_revoke++] = (uint8_t)to;
    if (to == DSM_INVALID)
        d->stats.invalidations++;
    else
        d->stats.downgrades++;
}

static uint8_t what_to_send(const struct protocol_row *row)
{
    static const uint8_t sends[] = {DO_SEND_S, DO_SEND_E, DO_ACK};

    for (unsigned i = 0; i < SIM_ARRAY_LEN(sends); i++)
        if (protocol_row_does(row, sends[i]))
            return sends[i];
    return DO_NOP;
}

static void add(struct dsm *d, struct batch *b, struct dsm_record *r)
{
    struct dsm_request request = r->request;
    const struct protocol_row *row = &protocol_rank[r->state][request.event];
    bool mine = r->state == RANK_E, clean = mine && !record_is_written(d, r->page), kept = dsm_keeps(d, r->page);

    rank_handle(d, r, (enum rank_event)request.event,
                &(struct rank_input){.from = request.requester});
    if (row->known) {
        if (mine)
            habit_taken(d, r->page);
        if (protocol_row_does(row, DO_REVOKE))
            add_revoke(d, b, r);
        b->due[b->nr++] = (struct due){request, what_to_send(row), clean, kept && !dsm_keeps(d, r->page),
                                       run_give(d, &request)};
    }
    record_put(d, r);
}

static void collect(struct dsm *d, struct batch *b)
{
    struct dsm_record *record[DSM_BATCH];

    dsm_enter(d);
    unsigned n = requests_take(d, record);
    b->nr = b->nr_revoke = 0;
    for (unsigned i = 0; i < n; i++)
        add(d, b, record[i]);
    for (unsigned i = 0; i < b->nr; i++)
        d->stats.pages_out += b->due[i].send != DO_ACK;
    d->stats.revoke_batches += b->nr_revoke != 0;
    dsm_leave(d);
}

/* The mark goes with the page to who keeps it now. Nobody sets it any more: the revoke is over. */
static bool take_mark(struct dsm *d, const struct due *due)
{
    return due->kept && d->config.ops->take_mark &&
           d->config.ops->take_mark(d->config.opaque, due->request.page);
}

static void send(struct dsm *d, const struct due *due)
{
    const struct dsm_request *q = &due->request;

    const struct dsm_wire wire = {.page = q->page,
                                  .requester = (uint16_t)q->requester,
                                  .acks = q->acks,
                                  .clean = due->clean,
                                  .run = due->run,
                                  .marked = take_mark(d, due)};

    if (due->send == DO_ACK)
        messages_send(d, q->requester, MSG_ACK, wire);
    else
        messages_send_page(d, q->requester, due->send == DO_SEND_S ? MSG_DATA_S : MSG_DATA_E, wire);
}

static bool flush_batch(struct dsm *d)
{
    struct batch b;

    collect(d, &b);
    if (b.nr_revoke) {
        /* The words say less now. A vCPU that saw more of them counts as running, since before. */
        sim_fence();
        d->config.ops->revoke(d->config.opaque, b.nr_revoke, b.page, b.to);
    }
    for (unsigned i = 0; i < b.nr; i++)
        send(d, &b.due[i]);
    return b.nr == DSM_BATCH;
}

static bool has_reason(const struct dsm *d)
{
    return atomic_load_explicit(&d->kicked, memory_order_seq_cst) ||
           dsm_now(d) >= atomic_load_explicit(&d->next_try, memory_order_relaxed);
}

static bool has_requests(const struct dsm *d)
{
    return atomic_load_explicit(&d->nr_requests, memory_order_relaxed);
}

/* A thread at a time. One that finds another at it may go: that one looks at `kicked` afterwards.
 */
static void flush(struct dsm *d)
{
    while (has_requests(d) && has_reason(d)) {
        if (atomic_exchange_explicit(&d->flushing, true, memory_order_seq_cst))
            return;
        while (flush_batch(d))
            ;
        atomic_store_explicit(&d->flushing, false, memory_order_seq_cst);
    }
}

void dsm_tick(struct dsm *d)
{
    if (SIM_UNLIKELY(has_requests(d)))
        flush(d);
}

uint64_t dsm_patience_ns(struct dsm *d)
{
    if (!has_requests(d))
        return UINT64_MAX;
    if (atomic_load_explicit(&d->kicked, memory_order_seq_cst))
        return 0;
    uint64_t now = dsm_now(d), next = atomic_load_explicit(&d->next_try, memory_order_relaxed);
    return next == UINT64_MAX ? next : next > now ? next - now : 0; /* pinned: for ever */
}
