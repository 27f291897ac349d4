/* Balancing the ranks of a machine while it runs (unless -rebalance off).
 *
 *   every rank, each interval: what its harts did -> LOAD -> rank 0
 *   rank 0, when all have said: balance_decide (ranks_balance.h) -> ranks_move_harts
 *
 * All on the I/O threads. A report is of its sender's own interval; that they do not begin together does not matter. */
#include <string.h>

#include "ranks_balance.h"
#include "ranks_priv.h"
#include "sim-core/alloc.h"
#include "sim-core/vcpu.h"

enum { INTERVAL_NS = 25000000, MAX_HARTS_TOLD = 2048 };

struct load_message {
    uint32_t executors, nr_harts;
    struct load_hart {
        uint64_t hart, busy_ns, wait_ns;
    } hart[];
};

/* What was seen of a hart at the end of the last interval: sums since the start. */
struct seen {
    uint64_t busy_ns, wait_ns;
};

/* `executors`, `hart` and `told` are rank 0's, under `lock`: handlers write them. */
struct ranks_load {
    struct ranks *ranks;
    struct sim_io_timer *timer;
    struct seen *seen; /* by hart */
    struct sim_mutex lock;
    uint32_t *executors;
    struct balance_hart *hart;
    bool *told;
    struct balance balance;
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

    m->executors = ranks_nr_executors(r);
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
    l->executors[from] = m->executors;
    for (uint32_t i = 0; i < m->nr_harts; i++)
        if (m->hart[i].hart < r->sim->nr_vcpus)
            l->hart[m->hart[i].hart] =
                (struct balance_hart){(uint32_t)from, m->hart[i].busy_ns, m->hart[i].wait_ns};
    l->told[from] = true;
    sim_mutex_unlock(&l->lock);
}

/* --- acting --- */

static bool all_told_locked(const struct ranks_load *l)
{
    for (uint32_t i = 0; i < l->ranks->sim->nr_ranks; i++)
        if (!l->told[i])
            return false;
    return true;
}

static unsigned decide(struct ranks_load *l, struct balance_move *move)
{
    struct ranks *r = l->ranks;
    const struct balance_input in = {.now_ns = sim_host_ns(),
                                     .interval_ns = INTERVAL_NS,
                                     .executors = l->executors,
                                     .nr_ranks = r->sim->nr_ranks,
                                     .device_rank = r->plan->device_rank,
                                     .hart = l->hart,
                                     .nr_harts = r->sim->nr_vcpus};
    unsigned advised = 0;

    sim_mutex_lock(&l->lock);
    if (all_told_locked(l)) {
        advised = balance_decide(&l->balance, &in, move, RANKS_MOVES);
        memset(l->told, 0, r->sim->nr_ranks * sizeof l->told[0]);
    }
    sim_mutex_unlock(&l->lock);
    return advised;
}

static void balance_ranks(struct ranks_load *l)
{
    struct ranks *r = l->ranks;
    struct balance_move advice[RANKS_MOVES];
    struct ranks_move move[RANKS_MOVES];
    unsigned nr = decide(l, advice);
    uint64_t pause_ns;

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
    tell(l);
    if (r->sim->rank == 0)
        balance_ranks(l);
}

/* --- life --- */

void ranks_load_register(struct ranks *r)
{
    ic_register(r->ic, MSG_LOAD, "load", on_load, r);
}

void ranks_load_start(struct ranks *r)
{
    struct ranks_load *l = sim_new(struct ranks_load);

    l->ranks = r;
    l->seen = sim_new_array(struct seen, r->sim->nr_vcpus);
    l->executors = sim_new_array(uint32_t, r->sim->nr_ranks);
    l->hart = sim_new_array(struct balance_hart, r->sim->nr_vcpus);
    l->told = sim_new_array(bool, r->sim->nr_ranks);
    sim_mutex_init(&l->lock, SIM_RANK_RANKS);
    r->load = l;
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
    sim_mutex_fini(&l->lock);
    sim_free(l->told);
    sim_free(l->hart);
    sim_free(l->executors);
    sim_free(l->seen);
    sim_free(l);
    r->load = NULL;
}
