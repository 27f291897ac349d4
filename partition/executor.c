/* Executors: pick a vCPU that wants a turn, run it for a budget, park it when it idles, sleep when all do.
 *
 *   kick -> ready (and urgent, when it waits for a turn) -> pick -> turn -> settle: ready | parked | resting
 *   parked: until a kick, or its deadline in the heap     resting: it spins, until the word it waits for changes, or
 *                                                          the others have done something
 *   an executor that shall not work (its core is another rank's): hands on what it has and sleeps until it shall
 *
 * Nothing here looks at all vCPUs. Whoever runs or moves a vCPU has taken its seat; kicks only set bits. */
#include <sched.h>
#include <stdio.h>

#include "executor_priv.h"
#include "sim-core/alloc.h"

void executor_rouse(struct executor *ex)
{
    if (atomic_load_explicit(&ex->woken, memory_order_seq_cst) ||
        atomic_exchange_explicit(&ex->woken, true, memory_order_seq_cst))
        return; /* it has not looked yet */
    /* S1: after woken; pairs with S2 */
    if (atomic_load_explicit(&ex->sleeping, memory_order_seq_cst)) {
        sim_mutex_lock(&ex->lock);
        sim_cond_signal(&ex->cond);
        sim_mutex_unlock(&ex->lock);
    }
    /* N2: after woken; pairs with N1 */
    struct sim *sim = ex->group->sim;
    if (atomic_load_explicit(&ex->napping, memory_order_seq_cst))
        sim->ranks->wake(sim->ranks_opaque);
}

static void executor_wake(struct vcpu_waker *w, struct vcpu *v)
{
    struct executor *ex = (struct executor *)w;

    if (ready_set_add(&ex->ready, v->index) ||
        !atomic_load_explicit(&ex->group->seat[v->index].taken, memory_order_relaxed))
        ready_set_add(&ex->urgent, v->index);
    executor_rouse(ex);
}

static void count_parked(struct executor_group *g)
{
    g->parked++;
    sim_cond_broadcast(&g->pause_cond);
}

static void park(struct executor_group *g)
{
    sim_mutex_lock(&g->pause_lock);
    count_parked(g);
    while (atomic_load_explicit(&g->pausing, memory_order_relaxed))
        sim_cond_wait(&g->pause_cond, &g->pause_lock);
    g->parked--;
    sim_mutex_unlock(&g->pause_lock);
}

void executor_group_add(struct executor_group *g, struct vcpu *v)
{
    struct executor *ex = executor_least(g, NULL);

    for (unsigned i = 0; i < g->nr; i++)
        if (executor_has(&g->ex[i], v))
            return;
    atomic_fetch_add_explicit(&ex->nr, 1, memory_order_relaxed);
    g->seat[v->index].spins = 0;
    v->stats.parked_ns = 0; /* of when it was here before */
    ready_set_add(&ex->ready, v->index);
    atomic_store_explicit(&v->waker, &ex->waker, memory_order_seq_cst);
    vcpu_kick(v);
}

void executor_group_remove(struct executor_group *g, struct vcpu *v)
{
    for (unsigned i = 0; i < g->nr; i++)
        if (executor_has(&g->ex[i], v))
            atomic_fetch_sub_explicit(&g->ex[i].nr, 1, memory_order_relaxed);
    vcpu_detach_waker(v);
    for (unsigned i = 0; i < g->nr; i++)
        executor_forget(&g->ex[i], v->index);
}

void executor_group_pause(struct executor_group *g)
{
    sim_mutex_lock(&g->pause_lock);
    atomic_store_explicit(&g->pausing, true, memory_order_release);
    sim_mutex_unlock(&g->pause_lock);
    for (unsigned i = 0; i < g->nr; i++)
        executor_rouse(&g->ex[i]);
    sim_mutex_lock(&g->pause_lock);
    while (g->started && g->parked < g->nr)
        sim_cond_wait(&g->pause_cond, &g->pause_lock);
    sim_mutex_unlock(&g->pause_lock);
}

void executor_group_set_works(struct executor_group *g, const bool *does)
{
    for (unsigned i = 1; i < g->nr; i++)
        if (atomic_exchange_explicit(&g->ex[i].works, does[i], memory_order_seq_cst) != does[i])
            executor_rouse(&g->ex[i]);
}

uint64_t executor_group_spare_turns(const struct executor_group *g)
{
    uint64_t sum = 0;

    for (unsigned i = g->nr_own; i < g->nr; i++)
        sum += atomic_load_explicit(&g->ex[i].turns, memory_order_relaxed);
    return sum;
}

void executor_group_resume(struct executor_group *g)
{
    sim_mutex_lock(&g->pause_lock);
    atomic_store_explicit(&g->pausing, false, memory_order_release);
    sim_cond_broadcast(&g->pause_cond);
    sim_mutex_unlock(&g->pause_lock);
}

uint32_t executor_group_cursor(const struct executor_group *g)
{
    return g->ex[0].cursor;
}

/* Nobody was ready: looks again, takes a sibling's, or sleeps. */
static void find_work(struct executor *ex)
{
    atomic_store_explicit(&ex->turn, READY_NONE, memory_order_relaxed);
    /* Cleared before looking: a wake after this is seen by executor_sleep. */
    atomic_store_explicit(&ex->woken, false, memory_order_seq_cst);
    if (executor_must_park(ex->group) || sim_ending(ex->group->sim))
        return;
    if (executor_next_asked(ex, READY_NONE, ASK_READY) != READY_NONE)
        return; /* its word has just come */
    /* A sibling may be about to take who is ready, or have taken who came here while others rest: those are asked before
     * this executor sleeps, for nobody wakes it for them. */
    if (ready_set_next(&ex->ready, READY_NONE) != READY_NONE || executor_next_asked(ex, READY_NONE, ASK_UNKNOWN) != READY_NONE)
        sim_thread_yield();
    else if (executor_take_work(ex))
        return;
    else if (ready_set_next(&ex->resting, READY_NONE) != READY_NONE)
        executor_watch_resting(ex);
    else
        executor_sleep(ex, executor_first_deadline(ex));
}

static void *executor_main(void *arg)
{
    struct executor *ex = arg;
    struct sim *sim = ex->group->sim;
    const struct executor_config *config = &ex->group->config;
    uint64_t cpu_before = sim_thread_cpu_ns();

    if (config->on_start)
        config->on_start(config->on_start_opaque, ex->index);
    while (!sim_ending(sim)) {
        if (executor_must_park(ex->group)) {
            park(ex->group);
            continue;
        }
        if (!executor_works(ex)) {
            executor_stand_aside(ex);
            continue;
        }
        struct vcpu *v = executor_pick(ex);
        if (v)
            executor_turn(ex, v);
        else
            find_work(ex);
    }
    atomic_fetch_add_explicit(&ex->cpu_ns, sim_thread_cpu_ns() - cpu_before, memory_order_relaxed);
    sim_mutex_lock(&ex->group->pause_lock);
    count_parked(ex->group); /* for good */
    sim_mutex_unlock(&ex->group->pause_lock);
    return NULL;
}

static unsigned host_cpus(void)
{
    cpu_set_t set;

    if (sched_getaffinity(0, sizeof set, &set) < 0)
        return 1;
    return (unsigned)CPU_COUNT(&set);
}

static unsigned count_local(const struct sim *sim)
{
    unsigned n = 0;

    for (uint32_t i = 0; i < sim->nr_vcpus; i++)
        n += !sim->vcpus[i]->remote;
    return n;
}

static void init_sets(struct executor *ex, uint32_t nr_vcpus)
{
    ready_set_init(&ex->ready, nr_vcpus);
    ready_set_init(&ex->urgent, nr_vcpus);
    ready_set_init(&ex->resting, nr_vcpus);
    ex->node = sim_new_array(struct heap_node, nr_vcpus + 1);
    ex->watch = sim_new_array(struct vcpu_watch, nr_vcpus + 1);
    for (uint32_t i = 0; i < nr_vcpus; i++)
        ex->node[i].pos = HEAP_OUT;
}

static void executor_init(struct executor *ex, struct executor_group *g, unsigned index)
{
    ex->waker.wake = executor_wake;
    ex->spin_ns = SPIN_NS;
    ex->rest_spin_ns = REST_SPIN_NS;
    ex->group = g;
    ex->index = index;
    atomic_init(&ex->works, index < g->nr_own);
    sim_mutex_init(&ex->lock, SIM_RANK_EXECUTOR);
    sim_cond_init(&ex->cond);
    init_sets(ex, g->sim->nr_vcpus);
    atomic_init(&ex->turn, READY_NONE);
    for (uint32_t i = 0, n = 0; i < g->sim->nr_vcpus; i++) {
        struct vcpu *v = g->sim->vcpus[i];
        if (v->remote || n++ % g->nr_own != index)
            continue;
        ready_set_add(&ex->ready, i);
        ex->nr++;
        atomic_store_explicit(&v->waker, &ex->waker, memory_order_release);
    }
}

static void executor_fini(struct executor *ex)
{
    ready_set_fini(&ex->ready);
    ready_set_fini(&ex->urgent);
    ready_set_fini(&ex->resting);
    heap_fini(&ex->heap);
    sim_free(ex->node);
    sim_free(ex->watch);
    sim_cond_fini(&ex->cond);
    sim_mutex_fini(&ex->lock);
}

enum sim_status executor_group_create(struct sim *sim, const struct executor_config *config,
                                      struct executor_group **out)
{
    struct executor_group *g = sim_new(struct executor_group);

    g->sim = sim;
    g->config = *config;
    if (!g->config.budget)
        g->config.budget = DEFAULT_BUDGET;
    g->nr_own = config->nr_threads ? config->nr_threads : host_cpus();
    unsigned local = count_local(sim);
    /* On several ranks vCPUs come and go: the plan has said how many threads there shall be. */
    if (g->nr_own > local && !sim->ranks)
        g->nr_own = local ? local : 1;
    g->nr = g->nr_own + config->nr_spare;
    g->ex = sim_new_array(struct executor, g->nr);
    g->seat = sim_new_array(struct seat, sim->nr_vcpus + 1);
    g->in_order = sim->clock.mode == SIM_CLOCK_VIRTUAL;
    sim_set_turns(sim, g->nr);
    sim_mutex_init(&g->pause_lock, SIM_RANK_EXECUTOR);
    sim_cond_init(&g->pause_cond);
    for (unsigned i = 0; i < g->nr; i++)
        executor_init(&g->ex[i], g, i);
    if (g->nr_own == 1 && config->cursor < sim->nr_vcpus)
        g->ex[0].cursor = config->cursor;
    *out = g;
    return SIM_OK;
}

/* Those from `first` on did not start: who waits for all to park does not wait for them. */
static void give_up_start(struct executor_group *g, unsigned first)
{
    sim_mutex_lock(&g->pause_lock);
    for (unsigned i = first; i < g->nr; i++)
        count_parked(g);
    sim_mutex_unlock(&g->pause_lock);
    sim_request_end(g->sim, SIM_END_ERROR, 70);
    executor_group_stop(g);
}

enum sim_status executor_group_start(struct executor_group *g)
{
    sim_mutex_lock(&g->pause_lock);
    g->started = true;
    sim_mutex_unlock(&g->pause_lock);
    for (unsigned i = 0; i < g->nr; i++) {
        char name[16];
        snprintf(name, sizeof name, "exec%u", i);
        enum sim_status status =
            sim_thread_start(&g->ex[i].thread, name, executor_main, &g->ex[i]);
        if (status != SIM_OK) {
            give_up_start(g, i);
            return status;
        }
    }
    return SIM_OK;
}

void executor_group_stop(struct executor_group *g)
{
    if (!g->started)
        return;
    for (unsigned i = 0; i < g->nr; i++)
        executor_rouse(&g->ex[i]);
    for (unsigned i = 0; i < g->nr; i++)
        sim_thread_join(&g->ex[i].thread);
    g->started = false;
}

void executor_group_destroy(struct executor_group *g)
{
    if (!g)
        return;
    executor_group_stop(g);
    /* All first: a kick may have read the executor that a vCPU was taken from. */
    for (uint32_t i = 0; i < g->sim->nr_vcpus; i++)
        vcpu_detach_waker(g->sim->vcpus[i]);
    sim_set_turns(g->sim, 0);
    for (unsigned i = 0; i < g->nr; i++)
        executor_fini(&g->ex[i]);
    sim_cond_fini(&g->pause_cond);
    sim_mutex_fini(&g->pause_lock);
    sim_free(g->seat);
    sim_free(g->ex);
    sim_free(g);
}

unsigned executor_group_nr_threads(const struct executor_group *g)
{
    return g->nr_own;
}

uint64_t executor_group_cpu_ns(const struct executor_group *g)
{
    uint64_t sum = 0;

    for (unsigned i = 0; i < g->nr; i++)
        sum += atomic_load_explicit(&g->ex[i].cpu_ns, memory_order_relaxed);
    return sum;
}
