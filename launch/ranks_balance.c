/* The decision alone; ranks_load.c measures and acts. */
#include "ranks_balance.h"

#define MS 1000000ull

enum {
    ROOM_PERCENT = 90,     /* a rank that is busier has no room for another hart */
    FULL_PERCENT = 95,
    IDLE_PERCENT = 50,
    WAITING_PERCENT = 25,  /* of the interval: less is not worth a move */
    ACTIVE_PERCENT = 1,    /* a hart that does something */
    BUSY_PERCENT = 20
};

static const uint64_t backoff_first = 2000 * MS, backoff_last = 64000 * MS;

struct load {
    uint64_t busy_ns, waits;
    uint32_t active, busy; /* harts */
};

static uint64_t percent(uint64_t ns, unsigned n)
{
    return ns / 100 * n;
}

static struct load load_of(const struct balance_input *in, uint32_t rank)
{
    struct load l = {0};

    for (uint32_t i = 0; i < in->nr_harts; i++) {
        const struct balance_hart *h = &in->hart[i];
        if (h->rank != rank)
            continue;
        l.busy_ns += h->busy_ns;
        l.waits += h->waits;
        l.active += h->busy_ns > percent(in->interval_ns, ACTIVE_PERCENT);
        l.busy += h->busy_ns > percent(in->interval_ns, BUSY_PERCENT);
    }
    return l;
}

static uint64_t capacity(const struct balance_input *in, uint32_t rank)
{
    return in->rank[rank].executors * in->interval_ns;
}

/* The hart of a rank that waits most often; nr_harts: none does anything. */
static uint32_t most_waiting(const struct balance_input *in, uint32_t rank)
{
    uint32_t best = in->nr_harts;

    for (uint32_t i = 0; i < in->nr_harts; i++)
        if (in->hart[i].rank == rank && in->hart[i].waits &&
            (best == in->nr_harts || in->hart[i].waits > in->hart[best].waits))
            best = i;
    return best;
}

static uint32_t busiest(const struct balance_input *in, uint32_t rank)
{
    uint32_t best = in->nr_harts;

    for (uint32_t i = 0; i < in->nr_harts; i++)
        if (in->hart[i].rank == rank &&
            (best == in->nr_harts || in->hart[i].busy_ns > in->hart[best].busy_ns))
            best = i;
    return best;
}

/* --- bringing together --- */

static bool suffers(const struct balance_input *in, uint32_t rank)
{
    uint64_t wait = in->rank[rank].wait_ns;

    return wait > load_of(in, rank).busy_ns && wait > percent(in->interval_ns, WAITING_PERCENT);
}

/* Where the suffering are: the rank with most active harts, the first of equals (it has the devices). */
static uint32_t centre(const struct balance_input *in)
{
    uint32_t best = 0;

    for (uint32_t r = 1; r < in->nr_ranks; r++)
        if (load_of(in, r).active > load_of(in, best).active)
            best = r;
    return best;
}

static bool bring_together(const struct balance_input *in, struct balance_move *move)
{
    uint32_t to = centre(in);

    for (uint32_t r = 0; r < in->nr_ranks; r++) {
        if (r == to || !suffers(in, r))
            continue;
        uint32_t hart = most_waiting(in, r);
        if (hart == in->nr_harts)
            continue;
        if (load_of(in, to).busy_ns + in->hart[hart].busy_ns > percent(capacity(in, to), ROOM_PERCENT))
            continue;
        *move = (struct balance_move){hart, to};
        return true;
    }
    return false;
}

/* --- spreading --- */

static uint32_t idlest(const struct balance_input *in)
{
    uint32_t best = 0;

    for (uint32_t r = 1; r < in->nr_ranks; r++)
        if (load_of(in, r).busy_ns * in->rank[best].executors <
            load_of(in, best).busy_ns * in->rank[r].executors)
            best = r;
    return best;
}

static bool spread(const struct balance_input *in, struct balance_move *move)
{
    uint32_t to = idlest(in);

    if (load_of(in, to).busy_ns > percent(capacity(in, to), IDLE_PERCENT))
        return false;
    for (uint32_t r = 0; r < in->nr_ranks; r++) {
        struct load l = load_of(in, r);
        if (r == to || l.busy <= in->rank[r].executors ||
            l.busy_ns < percent(capacity(in, r), FULL_PERCENT))
            continue;
        *move = (struct balance_move){busiest(in, r), to};
        return true;
    }
    return false;
}

/* --- both, with memory --- */

/* Harts that wait soon after a spread: it was a mistake, and is not to be repeated soon. */
static void learn(struct balance *b, uint64_t now)
{
    if (!b->spread_at_ns || now - b->spread_at_ns > backoff_first)
        return;
    b->backoff_ns = b->backoff_ns ? b->backoff_ns * 2 : backoff_first;
    if (b->backoff_ns > backoff_last)
        b->backoff_ns = backoff_last;
    b->spread_not_before_ns = now + b->backoff_ns;
    b->spread_at_ns = 0;
}

bool balance_decide(struct balance *b, const struct balance_input *in, struct balance_move *move)
{
    if (bring_together(in, move)) {
        learn(b, in->now_ns);
        return true;
    }
    if (in->now_ns < b->spread_not_before_ns || !spread(in, move))
        return false;
    b->spread_at_ns = in->now_ns;
    return true;
}
