/* The decision alone; ranks_load.c measures and acts. */
#include "ranks_balance.h"

#include "sim-core/alloc.h"

#define MS 1000000ull

enum {
    ROOM_PERCENT = 90,    /* a rank that is busier has no room for another hart */
    FULL_PERCENT = 95,
    IDLE_PERCENT = 50,
    SHARING_PERCENT = 25, /* of a spread hart's time: it waits for those that it left */
    NEAR_PERCENT = 10,    /* of a hart's time: it waits for others of its pool */
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
    uint32_t executors;    /* of a pool */
};

/* The input, and what it comes to for each rank and for each pool (at the pool's first rank). */
struct survey {
    const struct balance_input *in;
    struct load *rank, *pool;
};

static uint64_t percent(uint64_t ns, unsigned n)
{
    return ns / 100 * n;
}

static bool same_pool(const struct survey *s, uint32_t a, uint32_t b)
{
    return s->in->pool[a] == s->in->pool[b];
}

static void add_load(struct load *l, const struct balance_input *in, const struct balance_hart *h)
{
    l->busy_ns += h->busy_ns;
    l->active += h->busy_ns > percent(in->interval_ns, ACTIVE_PERCENT);
    l->busy += h->busy_ns > percent(in->interval_ns, BUSY_PERCENT);
}

static struct survey survey_make(const struct balance_input *in)
{
    struct survey s = {in, sim_new_array(struct load, in->nr_ranks), sim_new_array(struct load, in->nr_ranks)};

    for (uint32_t r = 0; r < in->nr_ranks; r++)
        s.pool[in->pool[r]].executors += in->executors[r];
    for (uint32_t i = 0; i < in->nr_harts; i++) {
        add_load(&s.rank[in->hart[i].rank], in, &in->hart[i]);
        add_load(&s.pool[in->pool[in->hart[i].rank]], in, &in->hart[i]);
    }
    return s;
}

static void survey_fini(struct survey *s)
{
    sim_free(s->pool);
    sim_free(s->rank);
}

static const struct load *pool_of(const struct survey *s, uint32_t rank)
{
    return &s->pool[s->in->pool[rank]];
}

static uint64_t capacity(const struct survey *s, uint32_t rank)
{
    return pool_of(s, rank)->executors * s->in->interval_ns;
}

/* --- bringing together --- */

/* Would the hart be better off on another rank? A spread hart goes back by a rule of its own. */
static bool suffers(const struct balance *b, const struct survey *s, uint32_t hart, uint32_t to)
{
    const struct balance_hart *h = &s->in->hart[hart];

    if (h->rank == to || h->wait_ns <= percent(s->in->interval_ns, WAITING_PERCENT))
        return false;
    if (same_pool(s, h->rank, to))
        return h->wait_ns > percent(h->busy_ns + h->wait_ns, NEAR_PERCENT);
    if (b->spread_at_ns && b->spread_hart == hart && h->rank == b->spread_to)
        return false;
    return h->wait_ns > h->busy_ns;
}

/* Host time that a hart would bring to the pool of a rank. */
static uint64_t brings(const struct survey *s, uint32_t hart, uint32_t to)
{
    return same_pool(s, s->in->hart[hart].rank, to) ? 0 : s->in->hart[hart].busy_ns;
}

/* ... that all who suffer elsewhere would. */
static uint64_t would_bring(const struct balance *b, const struct survey *s, uint32_t rank)
{
    uint64_t ns = 0;

    for (uint32_t i = 0; i < s->in->nr_harts; i++)
        if (suffers(b, s, i, rank))
            ns += brings(s, i, rank);
    return ns;
}

static bool has_room(const struct survey *s, uint32_t rank, uint64_t more_ns)
{
    return !more_ns || pool_of(s, rank)->busy_ns + more_ns <= percent(capacity(s, rank), ROOM_PERCENT);
}

static uint32_t centre(const struct balance *b, const struct survey *s)
{
    uint32_t best = s->in->device_rank;

    if (has_room(s, best, would_bring(b, s, best)))
        return best;
    for (uint32_t r = 0; r < s->in->nr_ranks; r++)
        if (s->rank[r].active > s->rank[best].active)
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
static uint32_t next_sufferer(const struct balance *b, const struct survey *s, uint32_t to,
                              const struct balance_move *move, unsigned nr)
{
    uint32_t best = s->in->nr_harts;

    for (uint32_t i = 0; i < s->in->nr_harts; i++)
        if (suffers(b, s, i, to) && !is_moved(move, nr, i) &&
            (best == s->in->nr_harts || s->in->hart[i].wait_ns > s->in->hart[best].wait_ns))
            best = i;
    return best;
}

static unsigned bring_together(const struct balance *b, const struct survey *s,
                               struct balance_move *move, unsigned max)
{
    uint32_t to = centre(b, s), hart;
    uint64_t brought_ns = 0;
    unsigned nr = 0;

    while (nr < max && (hart = next_sufferer(b, s, to, move, nr)) < s->in->nr_harts) {
        brought_ns += brings(s, hart, to);
        if (!has_room(s, to, brought_ns))
            break;
        move[nr++] = (struct balance_move){hart, to};
    }
    return nr;
}

/* --- spreading --- */

/* Of the pool. */
static uint32_t busiest(const struct survey *s, uint32_t rank)
{
    uint32_t best = s->in->nr_harts;

    for (uint32_t i = 0; i < s->in->nr_harts; i++)
        if (same_pool(s, s->in->hart[i].rank, rank) &&
            (best == s->in->nr_harts || s->in->hart[i].busy_ns > s->in->hart[best].busy_ns))
            best = i;
    return best;
}

static uint32_t idlest(const struct survey *s)
{
    uint32_t best = 0;

    for (uint32_t r = 1; r < s->in->nr_ranks; r++)
        if (pool_of(s, r)->busy_ns * pool_of(s, best)->executors < pool_of(s, best)->busy_ns * pool_of(s, r)->executors)
            best = r;
    return best;
}

static bool is_crowded(const struct survey *s, uint32_t rank)
{
    const struct load *l = pool_of(s, rank);

    return l->busy > l->executors && l->busy_ns >= percent(capacity(s, rank), FULL_PERCENT);
}

/* nr_ranks: none. */
static uint32_t crowded(const struct survey *s)
{
    uint32_t r = 0;

    while (r < s->in->nr_ranks && !is_crowded(s, r))
        r++;
    return r;
}

static bool spread(const struct survey *s, struct balance_move *move)
{
    uint32_t to = idlest(s), from = crowded(s);

    if (from == s->in->nr_ranks || same_pool(s, from, to) || pool_of(s, to)->busy_ns > percent(capacity(s, to), IDLE_PERCENT))
        return false;
    *move = (struct balance_move){busiest(s, from), to};
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

static void watch_spread(struct balance *b, const struct survey *s)
{
    const struct balance_hart *h = &s->in->hart[b->spread_hart];

    if (!b->spread_at_ns || h->rank != b->spread_to)
        return;
    b->seen_there_ns += s->in->interval_ns;
    uint64_t nr = b->seen_there_ns / s->in->interval_ns;
    b->mean_busy_ns = mean(b->mean_busy_ns, h->busy_ns, nr);
    b->mean_wait_ns = mean(b->mean_wait_ns, h->wait_ns, nr);
}

static bool shares(const struct survey *s, uint64_t busy_ns, uint64_t wait_ns)
{
    return wait_ns > percent(busy_ns + wait_ns, SHARING_PERCENT) && wait_ns > percent(s->in->interval_ns, WAITING_PERCENT);
}

/* It has had time to settle, and still waits for those that it left. */
static bool take_back(struct balance *b, const struct survey *s, struct balance_move *move)
{
    const struct balance_hart *h = &s->in->hart[b->spread_hart];

    if (!b->spread_at_ns || b->seen_there_ns <= grace_ns(b) || !shares(s, b->mean_busy_ns, b->mean_wait_ns) ||
        !shares(s, h->busy_ns, h->wait_ns))
        return false;
    *move = (struct balance_move){b->spread_hart, b->spread_from};
    learn(b, s->in->now_ns);
    return true;
}

static void look_around(struct balance *b, const struct survey *s)
{
    watch_spread(b, s);
    if (is_open(b) || crowded(s) < s->in->nr_ranks)
        b->crowd_at_ns = s->in->now_ns;
    else if (s->in->now_ns - b->crowd_at_ns > calm)
        b->backoff_ns = b->spread_not_before_ns = 0;
}

static unsigned decide(struct balance *b, const struct survey *s, struct balance_move *move, unsigned max)
{
    look_around(b, s);
    if (max && take_back(b, s, move))
        return 1;
    unsigned nr = bring_together(b, s, move, max);

    if (nr || !max)
        return nr;
    if (s->in->now_ns < b->spread_not_before_ns || !spread(s, move))
        return 0;
    b->spread_hart = move->hart;
    b->spread_from = s->in->hart[move->hart].rank;
    b->spread_to = move->to;
    b->spread_at_ns = s->in->now_ns;
    b->seen_there_ns = 0;
    return 1;
}

unsigned balance_decide(struct balance *b, const struct balance_input *in, struct balance_move *move, unsigned max)
{
    struct survey s = survey_make(in);
    unsigned nr = decide(b, &s, move, max);

    survey_fini(&s);
    return nr;
}
