/* The decision alone; ranks_load.c measures and acts. */
#include "ranks_balance.h"

#define MS 1000000ull

enum {
    ROOM_PERCENT = 90,    /* a rank that is busier has no room for another hart */
    FULL_PERCENT = 95,
    IDLE_PERCENT = 50,
    SHARING_PERCENT = 25, /* of a spread hart's time: it waits for those that it left */
    WAITING_PERCENT = 6,  /* of the interval: less is not worth a move */
    ACTIVE_PERCENT = 1,   /* a hart that does something */
    BUSY_PERCENT = 20
};

static const uint64_t backoff_first = 1000 * MS, backoff_last = 64000 * MS;
static const uint64_t calm = 2000 * MS; /* without a crowd: what was learned is of another program */

/* How long a spread hart may wait: it must fetch what it works on. */
static uint64_t grace_ns(const struct balance *b)
{
    return 50 * MS + b->backoff_ns / 32;
}

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

/* A spread hart goes back by a rule of its own. */
static bool suffers(const struct balance *b, const struct balance_input *in, uint32_t hart)
{
    const struct balance_hart *h = &in->hart[hart];

    if (b->spread_at_ns && b->spread_hart == hart && h->rank == b->spread_to)
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

static bool is_crowded(const struct balance_input *in, uint32_t rank)
{
    struct load l = load_of(in, rank);

    return l.busy > in->executors[rank] && l.busy_ns >= percent(capacity(in, rank), FULL_PERCENT);
}

/* nr_ranks: none. */
static uint32_t crowded(const struct balance_input *in)
{
    uint32_t r = 0;

    while (r < in->nr_ranks && !is_crowded(in, r))
        r++;
    return r;
}

static bool spread(const struct balance_input *in, struct balance_move *move)
{
    uint32_t to = idlest(in), from = crowded(in);

    if (from == in->nr_ranks || from == to || load_of(in, to).busy_ns > percent(capacity(in, to), IDLE_PERCENT))
        return false;
    *move = (struct balance_move){busiest(in, from), to};
    return true;
}

/* --- both, with memory --- */

/* A spread is being judged. */
static bool is_open(const struct balance *b)
{
    return b->spread_at_ns && b->seen_there_ns <= grace_ns(b) + backoff_first;
}

/* A spread hart that comes back soon: it was a mistake, and is not to be repeated soon. */
static void learn(struct balance *b, uint64_t now)
{
    if (is_open(b)) {
        b->backoff_ns = b->backoff_ns ? b->backoff_ns * 2 : backoff_first;
        if (b->backoff_ns > backoff_last)
            b->backoff_ns = backoff_last;
        b->spread_not_before_ns = now + b->backoff_ns;
    }
    b->spread_at_ns = 0;
}

/* Over about the last 16 intervals, or as many as there are. */
static uint64_t mean(uint64_t old, uint64_t value, uint64_t nr)
{
    uint64_t n = nr < 16 ? nr : 16;

    return (old * (n - 1) + value) / n;
}

static void watch_spread(struct balance *b, const struct balance_input *in)
{
    const struct balance_hart *h = &in->hart[b->spread_hart];

    if (!b->spread_at_ns || h->rank != b->spread_to)
        return;
    b->seen_there_ns += in->interval_ns;
    uint64_t nr = b->seen_there_ns / in->interval_ns;
    b->mean_busy_ns = mean(b->mean_busy_ns, h->busy_ns, nr);
    b->mean_wait_ns = mean(b->mean_wait_ns, h->wait_ns, nr);
}

static bool shares(const struct balance_input *in, uint64_t busy_ns, uint64_t wait_ns)
{
    return wait_ns > percent(busy_ns + wait_ns, SHARING_PERCENT) && wait_ns > percent(in->interval_ns, WAITING_PERCENT);
}

/* It has had time to settle, and still waits for those that it left. */
static bool take_back(struct balance *b, const struct balance_input *in, struct balance_move *move)
{
    const struct balance_hart *h = &in->hart[b->spread_hart];

    if (!b->spread_at_ns || b->seen_there_ns <= grace_ns(b) || !shares(in, b->mean_busy_ns, b->mean_wait_ns) ||
        !shares(in, h->busy_ns, h->wait_ns))
        return false;
    *move = (struct balance_move){b->spread_hart, b->spread_from};
    learn(b, in->now_ns);
    return true;
}

static void look_around(struct balance *b, const struct balance_input *in)
{
    watch_spread(b, in);
    if (is_open(b) || crowded(in) < in->nr_ranks)
        b->crowd_at_ns = in->now_ns;
    else if (in->now_ns - b->crowd_at_ns > calm)
        b->backoff_ns = b->spread_not_before_ns = 0;
}

unsigned balance_decide(struct balance *b, const struct balance_input *in, struct balance_move *move, unsigned max)
{
    look_around(b, in);
    if (max && take_back(b, in, move))
        return 1;
    unsigned nr = bring_together(b, in, move, max);

    if (nr || !max)
        return nr;
    if (in->now_ns < b->spread_not_before_ns || !spread(in, move))
        return 0;
    b->spread_hart = move->hart;
    b->spread_from = in->hart[move->hart].rank;
    b->spread_to = move->to;
    b->spread_at_ns = in->now_ns;
    b->seen_there_ns = 0;
    return 1;
}
