/* Balancing the ranks of a machine while it runs (unless -rebalance off).
 *
 *   every rank, each interval: what its harts did -> LOAD -> rank 0
 *   rank 0, when all have said: balance_decide (ranks_balance.h) -> ranks_move_hart
 *
 * All on the I/O threads. A report is of its sender's own interval; that they do not begin together does not matter. */
#include <string.h>

#include "ranks_balance.h"
#include "ranks_priv.h"
#include "sim-core/alloc.h"
#include "sim-core/vcpu.h"

enum { INTERVAL_NS = 50000000, MAX_HARTS_TOLD = 2048 };

struct load_message {
    uint64_t wait_ns;
    uint32_t executors, nr_harts;
    struct load_hart {
        uint32_t hart, waits;
        uint64_t busy_ns;
    } hart[];
};

/* What was seen of a hart at the end of the last interval. */
struct seen {
    uint64_t waits, busy_ns;
};

/* `rank`, `hart` and `told` are rank 0's, under `lock`: handlers write them. */
struct ranks_load {
    struct ranks *ranks;
    struct sim_io_timer *timer;
    struct seen *seen; /* by hart */
    uint64_t wait_ns;
    struct sim_mutex lock;
    struct balance_rank *rank;
    struct balance_hart *hart;
    bool *told;
    struct balance balance;
};

/* --- measuring --- */

/* Written by executors as plain words; a value of the last turn is as good. */
__attribute__((no_sanitize("thread"))) static struct seen look(const struct vcpu *v)
{
    return (struct seen){
        .waits = *(const volatile uint64_t *)&v->stats.exits[VCPU_EXIT_WAIT],
        .busy_ns = *(const volatile uint64_t *)&v->stats.run_ns,
    };
}

static void tell(struct ranks_load *l)
{
    struct ranks *r = l->ranks;
    struct load_message *m =
        sim_zalloc(sizeof *m + sizeof m->hart[0] * (size_t)(r->sim->nr_vcpus + 1));
    struct dsm_stats dsm;

    dsm_get_stats(r->dsm, &dsm);
    m->wait_ns = dsm.wait_ns_total - l->wait_ns;
    l->wait_ns = dsm.wait_ns_total;
    m->executors = ranks_nr_executors(r);
    for (uint32_t i = 0; i < r->sim->nr_vcpus; i++) {
        struct seen now = look(r->sim->vcpus[i]), *last = &l->seen[i];
        if (!r->sim->vcpus[i]->remote && m->nr_harts < MAX_HARTS_TOLD)
            m->hart[m->nr_harts++] = (struct load_hart){i, (uint32_t)(now.waits - last->waits),
                                                        now.busy_ns - last->busy_ns};
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
    l->rank[from] = (struct balance_rank){m->executors, m->wait_ns};
    for (uint32_t i = 0; i < m->nr_harts; i++)
        if (m->hart[i].hart < r->sim->nr_vcpus)
            l->hart[m->hart[i].hart] =
                (struct balance_hart){(uint32_t)from, m->hart[i].waits, m->hart[i].busy_ns};
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

static bool decide(struct ranks_load *l, struct balance_move *move)
{
    struct ranks *r = l->ranks;
    const struct balance_input in = {.now_ns = sim_host_ns(),
                                     .interval_ns = INTERVAL_NS,
                                     .rank = l->rank,
                                     .nr_ranks = r->sim->nr_ranks,
                                     .hart = l->hart,
                                     .nr_harts = r->sim->nr_vcpus};
    bool advised = false;

    sim_mutex_lock(&l->lock);
    if (all_told_locked(l)) {
        advised = balance_decide(&l->balance, &in, move);
        memset(l->told, 0, r->sim->nr_ranks * sizeof l->told[0]);
    }
    sim_mutex_unlock(&l->lock);
    return advised;
}

static void on_interval(void *opaque)
{
    struct ranks_load *l = opaque;
    struct ranks *r = l->ranks;
    struct balance_move move;
    uint64_t pause_ns;

    sim_io_timer_arm(l->timer, sim_host_ns() + INTERVAL_NS);
    if (ranks_failed(r) || sim_ending(r->sim)) /* a guest's reset, perhaps */
        return;
    tell(l);
    if (r->sim->rank == 0 && decide(l, &move) &&
        ranks_move_hart(r, move.hart, move.to, &pause_ns) == SIM_OK)
        r->hart_moves++;
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
    l->rank = sim_new_array(struct balance_rank, r->sim->nr_ranks);
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
    sim_free(l->rank);
    sim_free(l->seen);
    sim_free(l);
    r->load = NULL;
}
