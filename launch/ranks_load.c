/* Balancing the ranks of a machine while it runs (unless -rebalance off; homes: harts stay).
 *
 *   every rank, each interval: what its harts did -> LOAD -> rank 0
 *   rank 0, when all have said: balance_decide (ranks_balance.h) -> ranks_move_harts
 *                               part_lend (partition/lend.h) -> LEND -> every rank: which of its executors work
 *   now and then: homes of memory (ranks_homes.c)
 *
 * All on the I/O threads. A report is of its sender's own interval; that they do not begin together does not matter. */
#include <string.h>

#include "partition/lend.h"
#include "ranks_balance.h"
#include "ranks_priv.h"
#include "sim-core/alloc.h"
#include "sim-core/vcpu.h"

enum {
    INTERVAL_NS = 25000000,
    ACTIVE_NS = 60000, /* of an interval: a hart that does something, even where hundreds share a core */
    MAX_HARTS_TOLD = 2048
};

struct load_message {
    uint32_t nr_harts, reserved;
    struct load_hart {
        uint64_t hart, busy_ns, wait_ns;
    } hart[];
};

/* What was seen of a hart at the end of the last interval: sums since the start. */
struct seen {
    uint64_t busy_ns, wait_ns;
};

/* `hart` and `told` are rank 0's, under `lock`: handlers write them. So is `works`, of every rank. */
struct ranks_load {
    struct ranks *ranks;
    struct sim_io_timer *timer;
    bool harts_move; /* those of KVM stay */
    struct seen *seen; /* by hart */
    struct sim_mutex lock;
    struct balance_hart *hart;
    bool *told;
    bool *works; /* this rank's executors and spare ones, as rank 0 has said */

    /* Rank 0's, on its I/O thread. */
    uint32_t *executors, *pool; /* by rank */
    struct balance balance;
    struct part_load *load; /* by rank */
    uint32_t *user, *last_user; /* of each core (partition/lend.h) */
};

/* --- measuring --- */

/* Written by executors as plain words; a value of the last turn is as good, and one that is half old makes a difference
 * below zero at worst (since). */
__attribute__((no_sanitize("thread"))) static struct seen look(const struct vcpu *v, uint64_t now_ns)
{
    const volatile struct vcpu_stats *s = &v->stats;
    uint64_t parked_ns = s->parked_ns, away_ns = s->away_ns, run_ns = s->run_ns;

    return (struct seen){
        .busy_ns = run_ns - away_ns,
        .wait_ns = s->wait_ns + away_ns + (parked_ns && parked_ns < now_ns ? now_ns - parked_ns : 0),
    };
}

static uint64_t since(uint64_t now, uint64_t last)
{
    return (int64_t)(now - last) > 0 ? now - last : 0;
}

static void tell(struct ranks_load *l)
{
    struct ranks *r = l->ranks;
    struct load_message *m =
        sim_zalloc(sizeof *m + sizeof m->hart[0] * (size_t)(r->sim->nr_vcpus + 1));
    uint64_t now_ns = sim_host_ns();

    for (uint32_t i = 0; i < r->sim->nr_vcpus; i++) {
        struct seen now = look(r->sim->vcpus[i], now_ns), *last = &l->seen[i];
        if (!r->sim->vcpus[i]->remote && m->nr_harts < MAX_HARTS_TOLD)
            m->hart[m->nr_harts++] = (struct load_hart){i, since(now.busy_ns, last->busy_ns),
                                                        since(now.wait_ns, last->wait_ns)};
        *last = now;
    }
    ic_send_small(r->ic, 0, MSG_LOAD, m, (uint32_t)(sizeof *m + m->nr_harts * sizeof m->hart[0]));
    sim_free(m);
}

static void on_load(void *opaque, rank_t from, const void *data, uint32_t len)
{
    struct ranks *r = opaque;
    struct ranks_load *l = r->load;
    const struct load_message *m = data;

    if (!l || r->sim->rank != 0 || len < sizeof *m ||
        len != sizeof *m + (uint64_t)m->nr_harts * sizeof m->hart[0])
        return;
    sim_mutex_lock(&l->lock);
    for (uint32_t i = 0; i < m->nr_harts; i++)
        if (m->hart[i].hart < r->sim->nr_vcpus)
            l->hart[m->hart[i].hart] =
                (struct balance_hart){(uint32_t)from, m->hart[i].busy_ns, m->hart[i].wait_ns};
    l->told[from] = true;
    sim_mutex_unlock(&l->lock);
}

/* --- acting --- */

/* Own executors and spare ones. */
static uint32_t nr_workers(const struct ranks *r, uint32_t rank)
{
    return r->plan->rank[rank].nr_executors + r->plan->rank[rank].nr_spares;
}

static void apply_works(struct ranks_load *l)
{
    if (!l->ranks->plan->nr_spares)
        return;
    sim_mutex_lock(&l->lock);
    world_set_works(l->ranks->world, l->works);
    sim_mutex_unlock(&l->lock);
}

/* What all harts of each rank did. */
static void add_up_locked(struct ranks_load *l)
{
    const struct ranks *r = l->ranks;
    uint64_t ns = 0;

    memset(l->load, 0, r->sim->nr_ranks * sizeof l->load[0]);
    for (uint32_t rank = 0; rank < r->sim->nr_ranks; rank++, ns = 0) {
        for (uint32_t i = 0; i < r->sim->nr_vcpus; i++)
            if (l->hart[i].rank == rank) {
                uint64_t used_ns = l->hart[i].busy_ns + l->hart[i].wait_ns;
                l->load[rank].harts += used_ns > ACTIVE_NS;
                ns += used_ns;
            }
        l->load[rank].core_percent = (uint32_t)(ns / (INTERVAL_NS / 100));
    }
}

static bool all_told_locked(const struct ranks_load *l)
{
    for (uint32_t i = 0; i < l->ranks->sim->nr_ranks; i++)
        if (!l->told[i])
            return false;
    return true;
}

/* *advised is written when all have told. */
static bool decide(struct ranks_load *l, struct balance_move *move, unsigned *advised)
{
    struct ranks *r = l->ranks;
    const struct balance_input in = {.now_ns = sim_host_ns(),
                                     .interval_ns = INTERVAL_NS,
                                     .executors = l->executors,
                                     .pool = l->pool,
                                     .nr_ranks = r->sim->nr_ranks,
                                     .device_rank = r->plan->device_rank,
                                     .hart = l->hart,
                                     .nr_harts = r->sim->nr_vcpus};

    sim_mutex_lock(&l->lock);
    bool all = all_told_locked(l);
    if (all) {
        *advised = balance_decide(&l->balance, &in, move, RANKS_MOVES);
        for (unsigned i = 0; i < *advised; i++)
            l->hart[move[i].hart].rank = move[i].to; /* whose core it will need */
        add_up_locked(l);
        memset(l->told, 0, r->sim->nr_ranks * sizeof l->told[0]);
    }
    sim_mutex_unlock(&l->lock);
    return all;
}

/* --- lending cores --- */

static void on_lend(void *opaque, rank_t from, const void *data, uint32_t len)
{
    struct ranks *r = opaque;
    struct ranks_load *l = r->load;

    if (!l || from != 0 || len != nr_workers(r, r->sim->rank))
        return;
    sim_mutex_lock(&l->lock);
    memcpy(l->works, data, len);
    sim_mutex_unlock(&l->lock);
    apply_works(l);
}

static void tell_who_works(struct ranks_load *l, uint32_t rank)
{
    bool *works = sim_new_array(bool, nr_workers(l->ranks, rank));

    part_lend_works(l->ranks->plan, l->user, rank, works);
    ic_send_small(l->ranks->ic, (rank_t)rank, MSG_LEND, works, nr_workers(l->ranks, rank));
    sim_free(works);
}

/* Does the rank use other cores than before? */
static bool is_affected(const struct ranks_load *l, uint32_t rank)
{
    const struct part_plan *plan = l->ranks->plan;

    for (uint32_t i = 0; i < nr_workers(l->ranks, rank); i++) {
        uint32_t core = part_plan_core_of(plan, rank, i);
        if ((l->user[core] == rank) != (l->last_user[core] == rank))
            return true;
    }
    return false;
}

static void lend_cores(struct ranks_load *l)
{
    const struct part_plan *plan = l->ranks->plan;
    size_t bytes = plan->nr_executors * sizeof l->user[0];

    memcpy(l->last_user, l->user, bytes);
    part_lend(plan, l->load, l->user);
    if (memcmp(l->last_user, l->user, bytes) == 0)
        return;
    l->ranks->loans++;
    for (uint32_t i = 0; i < plan->nr_ranks; i++)
        if (is_affected(l, i))
            tell_who_works(l, i);
}

/* --- each interval --- */

static void balance_ranks(struct ranks_load *l)
{
    struct ranks *r = l->ranks;
    struct balance_move advice[RANKS_MOVES];
    struct ranks_move move[RANKS_MOVES];
    unsigned nr = 0;
    uint64_t pause_ns;

    if (!decide(l, advice, &nr))
        return;
    if (r->plan->nr_spares)
        lend_cores(l);
    for (unsigned i = 0; i < nr; i++)
        move[i] = (struct ranks_move){advice[i].hart, advice[i].to};
    if (nr && ranks_move_harts(r, move, nr, &pause_ns) == SIM_OK)
        r->hart_moves += nr;
}

static void on_interval(void *opaque)
{
    struct ranks_load *l = opaque;
    struct ranks *r = l->ranks;

    sim_io_timer_arm(l->timer, sim_host_ns() + INTERVAL_NS);
    if (ranks_failed(r) || sim_ending(r->sim)) /* a guest's reset, perhaps */
        return;
    if (l->harts_move) {
        tell(l);
        apply_works(l); /* the guest's reset makes new executors */
        if (r->sim->rank == 0)
            balance_ranks(l);
    }
    ranks_homes_tick(r);
}

/* --- life --- */

void ranks_load_register(struct ranks *r)
{
    ic_register(r->ic, MSG_LOAD, "load", on_load, r);
    ic_register(r->ic, MSG_LEND, "lend", on_lend, r);
    ranks_homes_register(r);
}

/* Ranks of a host that lend each other cores are one pool. */
static uint32_t first_of_pool(const struct part_plan *plan, uint32_t rank)
{
    uint32_t first = 0;

    if (!plan->rank[rank].nr_spares)
        return rank;
    while (plan->rank[first].host != plan->rank[rank].host || !plan->rank[first].nr_spares)
        first++;
    return first;
}

static void decider_init(struct ranks_load *l)
{
    const struct part_plan *plan = l->ranks->plan;

    l->executors = sim_new_array(uint32_t, plan->nr_ranks);
    l->pool = sim_new_array(uint32_t, plan->nr_ranks);
    l->load = sim_new_array(struct part_load, plan->nr_ranks);
    l->user = sim_new_array(uint32_t, plan->nr_executors);
    l->last_user = sim_new_array(uint32_t, plan->nr_executors);
    part_lend_nothing(plan, l->user);
    part_lend_works(plan, l->user, l->ranks->sim->rank, l->works);
    for (uint32_t i = 0; i < plan->nr_ranks; i++) {
        l->executors[i] = plan->rank[i].nr_executors;
        l->pool[i] = first_of_pool(plan, i);
    }
}

static void decider_fini(struct ranks_load *l)
{
    sim_free(l->last_user);
    sim_free(l->user);
    sim_free(l->load);
    sim_free(l->pool);
    sim_free(l->executors);
}

void ranks_load_start(struct ranks *r)
{
    struct ranks_load *l = sim_new(struct ranks_load);

    l->ranks = r;
    l->harts_move = r->config->rebalance && r->machine->cpus;
    l->seen = sim_new_array(struct seen, r->sim->nr_vcpus);
    l->hart = sim_new_array(struct balance_hart, r->sim->nr_vcpus);
    l->told = sim_new_array(bool, r->sim->nr_ranks);
    l->works = sim_new_array(bool, nr_workers(r, r->sim->rank));
    decider_init(l);
    sim_mutex_init(&l->lock, SIM_RANK_RANKS);
    r->load = l;
    ranks_homes_start(r);
    l->timer = sim_io_timer_create(r->sim->io, on_interval, l);
    sim_io_timer_arm(l->timer, sim_host_ns() + INTERVAL_NS);
}

void ranks_load_stop(struct ranks *r)
{
    struct ranks_load *l = r->load;

    if (l && l->timer)
        sim_io_timer_destroy(l->timer);
    if (l)
        l->timer = NULL;
}

void ranks_load_destroy(struct ranks *r)
{
    struct ranks_load *l = r->load;

    if (!l)
        return;
    ranks_homes_destroy(r);
    sim_mutex_fini(&l->lock);
    sim_free(l->told);
    sim_free(l->hart);
    sim_free(l->works);
    decider_fini(l);
    sim_free(l->seen);
    sim_free(l);
    r->load = NULL;
}
