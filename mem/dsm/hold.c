/* Requests of other ranks (FWD, INV) that wait because the page is held or pinned here, or has just come and stays.
 *
 *   request_add -> [held, pinned, stays: in d->requests] -> requests_take (batch.c)
 *   retired, unpin -> hold_released -> kick; hold_ns over, stayed long enough -> the next dsm_tick
 *
 * A hold ends with the instruction the page came for; hold_ns bounds it (two ranks that hold what the other wants
 * get out of it by time, which differs from rank to rank and from hold to hold). A stay begins when that
 * instruction has retired and is a few times as long as the page's way, or nothing (habit.c). */
#include "dsm_priv.h"

/* base .. 1.5 x base */
static uint64_t with_jitter(struct dsm *d, uint64_t base)
{
    d->jitter = d->jitter * 6364136223846793005u + 1442695040888963407u;
    return base + (base / 2 * (d->jitter >> 48) >> 16);
}

void hold_start(struct dsm *d, struct dsm_record *r)
{
    r->hold_until = dsm_now(d) + with_jitter(d, habit_hold_ns(d, r->page));
}

void hold_break(struct dsm *d, struct dsm_record *r)
{
    if (r->holds) {
        d->stats.hold_timeouts++;
        habit_hold_failed(d, r->page);
    }
    r->holds = 0;
    r->hold_id = ++d->last_hold_id;
    r->hold_until = 0;
}

static bool is_held(const struct dsm_record *r)
{
    return r->holds || r->pinners;
}

/* A page that is readable is pinned for reading only. Who waits here to pin it for writing as well may be the one who has
 * pinned it (a buffer's header and its status in one page), and is served after the request. So that goes first; until the
 * page comes back the bytes stay as they are, and those a device was given to read are no others when it has. */
static bool is_pinned(const struct dsm_record *r)
{
    return r->pins && (r->state == RANK_E || !r->pinners_to_write);
}

/* What takes nothing away from this rank never waits. */
static bool takes_something(const struct dsm_record *r)
{
    return protocol_row_does(&protocol_rank[r->state][r->request.event], DO_REVOKE);
}

/* When the request of a record may go: 0 now, UINT64_MAX not before something happens. */
static uint64_t may_go_at(struct dsm *d, const struct dsm_record *r)
{
    if (!takes_something(r))
        return 0;
    if (is_pinned(r))
        return UINT64_MAX;
    return is_held(r) ? r->hold_until : habit_stays_until(d, r->page);
}

static void kick(struct dsm *d)
{
    atomic_store_explicit(&d->kicked, true, memory_order_seq_cst);
    messages_send_tick(d);
}

/* Now, or at a time that nobody waits for yet: the request was put off for a pin. */
void hold_released(struct dsm *d, struct dsm_record *r)
{
    uint64_t at = r->requested ? may_go_at(d, r) : UINT64_MAX;

    if (at == 0 || at < atomic_load_explicit(&d->next_try, memory_order_relaxed))
        kick(d);
}

void request_add(struct dsm *d, struct dsm_record *r, const struct dsm_request *request)
{
    r->requested = true;
    r->request_met_hold = false;
    r->request = *request;
    r->request_next = d->requests;
    d->requests = r;
    atomic_fetch_add_explicit(&d->nr_requests, 1, memory_order_relaxed);
    /* The poll that brought it ends with dsm_tick. */
    atomic_store_explicit(&d->kicked, true, memory_order_seq_cst);
}

static void note_hold(struct dsm *d, struct dsm_record *r)
{
    if (!r->request_met_hold)
        d->stats.held++;
    r->request_met_hold = true;
}

unsigned requests_take(struct dsm *d, struct dsm_record *out[DSM_BATCH])
{
    uint64_t now = dsm_now(d), next = UINT64_MAX;
    struct dsm_record **link = &d->requests;
    unsigned n = 0;

    atomic_store_explicit(&d->kicked, false, memory_order_seq_cst);
    while (*link && n < DSM_BATCH) {
        struct dsm_record *r = *link;
        uint64_t at = may_go_at(d, r);
        if (at <= now) {
            *link = r->request_next;
            r->requested = false;
            out[n++] = r;
            continue;
        }
        note_hold(d, r);
        if (at < next)
            next = at;
        link = &r->request_next;
    }
    atomic_fetch_sub_explicit(&d->nr_requests, n, memory_order_relaxed);
    atomic_store_explicit(&d->next_try, next, memory_order_relaxed);
    return n;
}
