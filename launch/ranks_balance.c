/* The decision alone; ranks_load.c measures and acts. */
#include "ranks_balance.h"

#define MS 1000000ull

enum {
    ROOM_PERCENT = 90,    /* a rank that is busier has no room for another hart */
    FULL_PERCENT = 95,
    IDLE_PERCENT = 50,
    WAITING_PERCENT = 6,  /* of the interval: less is not worth a move */
    ACTIVE_PERCENT = 1,   /* a hart that does something */
    BUSY_PERCENT = 20
};

/* After a spread: its hart must fetch what it works on, that is no reason to take it back. */
static const uint64_t grace = 60 * MS;
static const uint64_t backoff_first = 2000 * MS, backoff_last = 64000 * MS;

struct load {
    uint64_t busy_ns;
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
        l.active += h->busy_ns > percent(in->interval_ns, ACTIVE_PERCENT);
        l.busy += h->busy_ns > percent(in->interval_ns, BUSY_PERCENT);
    }
    return l;
}

static uint64_t capacity(const struct balance_input *in, uint32_t rank)
{
    return in->executors[rank] * in->interval_ns;
}

/* --- bringing together --- */

static bool suffers(const struct balance *b, const struct balance_input *in, uint32_t hart)
{
    const struct balance_hart *h = &in->hart[hart];

    if (b->spread_at_ns && b->spread_hart == hart && in->now_ns - b->spread_at_ns < grace)
        return false;
    return h->wait_ns > h->busy_ns && h->wait_ns > percent(in->interval_ns, WAITING_PERCENT);
}

/* Host time that all who suffer elsewhere would bring to a rank. */
static uint64_t would_bring(const struct balance *b, const struct balance_input *in, uint32_t rank)
{
    uint64_t ns = 0;

    for (uint32_t i = 0; i < in->nr_harts; i++)
        if (in->hart[i].rank != rank && suffers(b, in, i))
            ns += in->hart[i].busy_ns;
    return ns;
}

static bool has_room(const struct balance_input *in, uint32_t rank, uint64_t more_ns)
{
    return load_of(in, rank).busy_ns + more_ns <= percent(capacity(in, rank), ROOM_PERCENT);
}

static uint32_t centre(const struct balance *b, const struct balance_input *in)
{
    uint32_t best = in->device_rank;

    if (has_room(in, best, would_bring(b, in, best)))
        return best;
    for (uint32_t r = 0; r < in->nr_ranks; r++)
        if (load_of(in, r).active > load_of(in, best).active)
            best = r;
    return best;
}

static bool is_moved(const struct balance_move *move, unsigned nr, uint32_t hart)
{
    for (unsigned i = 0; i < nr; i++)
        if (move[i].hart == hart)
            return true;
    return false;
}

/* Who suffers most among those that are elsewhere and not moved yet; nr_harts: nobody. */
static uint32_t next_sufferer(const struct balance *b, const struct balance_input *in, uint32_t to,
                              const struct balance_move *move, unsigned nr)
{
    uint32_t best = in->nr_harts;

    for (uint32_t i = 0; i < in->nr_harts; i++)
        if (in->hart[i].rank != to && suffers(b, in, i) && !is_moved(move, nr, i) &&
            (best == in->nr_harts || in->hart[i].wait_ns > in->hart[best].wait_ns))
            best = i;
    return best;
}

static unsigned bring_together(const struct balance *b, const struct balance_input *in,
                               struct balance_move *move, unsigned max)
{
    uint32_t to = centre(b, in), hart;
    uint64_t brought_ns = 0;
    unsigned nr = 0;

    while (nr < max && (hart = next_sufferer(b, in, to, move, nr)) < in->nr_harts) {
        brought_ns += in->hart[hart].busy_ns;
        if (!has_room(in, to, brought_ns))
            break;
        move[nr++] = (struct balance_move){hart, to};
    }
    return nr;
}

/* --- spreading --- */

static uint32_t busiest(const struct balance_input *in, uint32_t rank)
{
    uint32_t best = in->nr_harts;

    for (uint32_t i = 0; i < in->nr_harts; i++)
        if (in->hart[i].rank == rank &&
            (best == in->nr_harts || in->hart[i].busy_ns > in->hart[best].busy_ns))
            best = i;
    return best;
}

static uint32_t idlest(const struct balance_input *in)
{
    uint32_t best = 0;

    for (uint32_t r = 1; r < in->nr_ranks; r++)
        if (load_of(in, r).busy_ns * in->executors[best] < load_of(in, best).busy_ns * in->executors[r])
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
        if (r == to || l.busy <= in->executors[r] || l.busy_ns < percent(capacity(in, r), FULL_PERCENT))
            continue;
        *move = (struct balance_move){busiest(in, r), to};
        return true;
    }
    return false;
}

/* --- both, with memory --- */

/* A spread hart that comes back soon: it was a mistake, and is not to be repeated soon. */
static void learn(struct balance *b, uint64_t now)
{
    if (now - b->spread_at_ns <= backoff_first) {
        b->backoff_ns = b->backoff_ns ? b->backoff_ns * 2 : backoff_first;
        if (b->backoff_ns > backoff_last)
            b->backoff_ns = backoff_last;
        b->spread_not_before_ns = now + b->backoff_ns;
    }
    b->spread_at_ns = 0;
}

unsigned balance_decide(struct balance *b, const struct balance_input *in, struct balance_move *move, unsigned max)
{
    unsigned nr = bring_together(b, in, move, max);

    if (nr) {
        if (b->spread_at_ns && is_moved(move, nr, b->spread_hart))
            learn(b, in->now_ns);
        return nr;
    }
    if (!max || in->now_ns < b->spread_not_before_ns || !spread(in, move))
        return 0;
    b->spread_hart = move->hart;
    b->spread_at_ns = in->now_ns;
    return 1;
}
