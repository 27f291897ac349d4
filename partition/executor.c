/* Executors: pick a runnable vCPU, run it for a budget, park it when it idles, sleep when all do. */
#include "partition/executor.h"

#include <sched.h>
#include <stdio.h>

#include "sim-core/alloc.h"
#include "sim-core/lock.h"
#include "sim-core/log.h"
#include "sim-core/timer.h"

enum {
    DEFAULT_BUDGET = 50000,
    SPIN_NS = 20000,
    SPIN_MAX_NS = 200000, /* with a core to itself, on several ranks, where waiting goes round */
    DESCHEDULED_NS = 30000 /* between two looks at the clock: another thread had the core */
};

/* Owner: its thread. `vcpus`, `nr`, `cursor` and `current` change under `lock`, because a sibling that
 * is out of work takes vCPUs from here. */
struct executor {
    struct vcpu_waker waker; /* first */
    struct executor_group *group;
    struct sim_thread thread;
    unsigned index;
    struct sim_mutex lock;
    struct sim_cond cond;
    _Atomic bool woken;
    bool sleeping;
    struct vcpu **vcpus;
    _Atomic unsigned nr;
    unsigned cursor;
    struct vcpu *current; /* being run: cannot be taken */
    _Atomic bool napping; /* in sim->ranks->nap */
    uint64_t spin_ns;
    _Atomic uint64_t cpu_ns;
};

struct executor_group {
    struct sim *sim;
    struct executor_config config;
    struct executor *ex;
    unsigned nr;
    _Atomic uint8_t *idle; /* by vCPU index; written by its executor */
    _Atomic unsigned sleepers;
    bool started;
    /* Pausing: executors park between two turns. `pausing` is written under pause_lock. */
    struct sim_mutex pause_lock;
    struct sim_cond pause_cond;
    _Atomic bool pausing;
    unsigned parked; /* or ended */
};

static void executor_wake(struct vcpu_waker *w)
{
    struct executor *ex = (struct executor *)w;

    if (atomic_exchange_explicit(&ex->woken, true, memory_order_seq_cst))
        return; /* it has not looked yet */
    sim_mutex_lock(&ex->lock);
    if (ex->sleeping)
        sim_cond_signal(&ex->cond);
    sim_mutex_unlock(&ex->lock);
    /* N2: after woken; pairs with N1 */
    struct sim *sim = ex->group->sim;
    if (atomic_load_explicit(&ex->napping, memory_order_seq_cst))
        sim->ranks->wake(sim->ranks_opaque);
}

static bool runnable(struct executor_group *g, struct vcpu *v, vtime_t now)
{
    _Atomic uint8_t *idle = &g->idle[v->index];

    if (*idle && (v->ops->has_work(v) || v->ops->deadline(v) <= now))
        *idle = 0;
    return !*idle;
}

/* The next runnable vCPU after the cursor, marked current; NULL when all are parked. */
static struct vcpu *pick(struct executor *ex, vtime_t now)
{
    struct vcpu *found = NULL;

    sim_mutex_lock(&ex->lock);
    for (unsigned i = 0; i < ex->nr && !found; i++) {
        ex->cursor = ex->cursor + 1 < ex->nr ? ex->cursor + 1 : 0;
        if (runnable(ex->group, ex->vcpus[ex->cursor], now))
            found = ex->vcpus[ex->cursor];
    }
    ex->current = found;
    sim_mutex_unlock(&ex->lock);
    return found;
}

/* Takes a vCPU that is runnable but waits for its turn from a sibling. */
static struct vcpu *take_from(struct executor *ex, struct executor *victim)
{
    struct vcpu *taken = NULL;

    sim_mutex_lock(&victim->lock);
    for (unsigned i = 0; i < victim->nr && victim->current && !taken; i++) {
        struct vcpu *v = victim->vcpus[i];
        if (v == victim->current || ex->group->idle[v->index])
            continue;
        taken = v;
        victim->vcpus[i] = victim->vcpus[--victim->nr];
        /* From here kicks come to us; what was posted before is seen when we run it. */
        atomic_store_explicit(&v->waker, &ex->waker, memory_order_seq_cst);
    }
    sim_mutex_unlock(&victim->lock);
    return taken;
}

static bool take_work(struct executor *ex)
{
    struct executor_group *g = ex->group;
    struct vcpu *taken = NULL;

    for (unsigned i = 1; i < g->nr && !taken; i++)
        taken = take_from(ex, &g->ex[(ex->index + i) % g->nr]);
    if (!taken)
        return false;
    sim_mutex_lock(&ex->lock);
    ex->vcpus[ex->nr++] = taken;
    sim_mutex_unlock(&ex->lock);
    return true;
}

static bool has_waiting_vcpu(struct executor *ex)
{
    bool waiting = false;

    sim_mutex_lock(&ex->lock);
    for (unsigned i = 0; i < ex->nr && !waiting; i++)
        waiting = ex->vcpus[i] != ex->current && !ex->group->idle[ex->vcpus[i]->index];
    sim_mutex_unlock(&ex->lock);
    return waiting;
}

/* When vCPUs wait for their turn here while a sibling sleeps, it shall come and take one. */
static void offer_work(struct executor *ex)
{
    struct executor_group *g = ex->group;

    if (!atomic_load_explicit(&g->sleepers, memory_order_relaxed) || !has_waiting_vcpu(ex))
        return;
    for (unsigned k = 1; k < g->nr; k++) {
        struct executor *sibling = &g->ex[(ex->index + k) % g->nr];
        if (__atomic_load_n(&sibling->sleeping, __ATOMIC_RELAXED)) {
            executor_wake(&sibling->waker);
            return;
        }
    }
}

static vtime_t earliest_deadline(struct executor *ex)
{
    vtime_t first = VTIME_NEVER;

    sim_mutex_lock(&ex->lock);
    for (unsigned i = 0; i < ex->nr; i++) {
        vtime_t t = ex->vcpus[i]->ops->deadline(ex->vcpus[i]);
        if (t < first)
            first = t;
    }
    sim_mutex_unlock(&ex->lock);
    return first;
}

/* A short spin before sleeping: a wake-up through the host kernel costs more than it lasts. It ends early when
 * somebody else got the core meanwhile: that may be who is waited for. False: time is up. */
static bool spin(struct executor *ex, vtime_t until)
{
    struct sim *sim = ex->group->sim;
    uint64_t start = sim_host_ns(), now = start, last = start;

    while (now - start < ex->spin_ns && now - last < DESCHEDULED_NS &&
           !atomic_load_explicit(&ex->woken, memory_order_acquire)) {
        if (until <= sim_clock_now(&sim->clock))
            return false;
        sim_poll(sim);
        sim_cpu_relax();
        last = now;
        now = sim_host_ns();
    }
    return true;
}

/* A sleep that a longer spin would have spared makes the next spin longer; one that it would not have, short again. */
static void fit_spin(struct executor *ex, uint64_t slept_ns)
{
    if (slept_ns > SPIN_MAX_NS || !ex->group->config.own_cores)
        ex->spin_ns = SPIN_NS;
    else if (ex->spin_ns < SPIN_MAX_NS)
        ex->spin_ns *= 2;
}

/* Sleeps where messages of other ranks wake it too. */
static void nap(struct executor *ex, vtime_t until)
{
    struct sim *sim = ex->group->sim;
    uint64_t begin_ns = sim_host_ns();

    /* N1: announced before woken is read; pairs with N2 */
    atomic_store_explicit(&ex->napping, true, memory_order_seq_cst);
    while (!atomic_load_explicit(&ex->woken, memory_order_seq_cst)) {
        vtime_t now = sim_clock_now(&sim->clock);
        if (until <= now)
            break;
        sim->ranks->nap(sim->ranks_opaque, until - now);
    }
    atomic_store_explicit(&ex->napping, false, memory_order_relaxed);
    fit_spin(ex, sim_host_ns() - begin_ns);
}

/* Sleeps until woken or guest time reaches `until`. In virtual time the clock jumps there, or to the
 * next timer of a device. */
static void executor_sleep(struct executor *ex, vtime_t until)
{
    struct sim_clock *clock = &ex->group->sim->clock;
    vtime_t timer = sim_timers_next(ex->group->sim);

    until = timer < until ? timer : until;
    if (clock->mode == SIM_CLOCK_VIRTUAL && until != VTIME_NEVER && ex->group->nr == 1) {
        sim_clock_skip_to(clock, until);
        sim_timers_run(ex->group->sim);
        return;
    }
    /* A short spin first: a wake-up through the host kernel costs more than it lasts. */
    if (!spin(ex, until))
        return;
    if (ex->group->sim->ranks) {
        nap(ex, until);
        return;
    }
    /* A guest may ask for a time that the host's clock never reaches. */
    if (until > VTIME_NEVER - clock->host_base_ns)
        until = VTIME_NEVER;
    sim_mutex_lock(&ex->lock);
    __atomic_store_n(&ex->sleeping, true, __ATOMIC_RELAXED);
    atomic_fetch_add_explicit(&ex->group->sleepers, 1, memory_order_relaxed);
    while (!atomic_load_explicit(&ex->woken, memory_order_seq_cst)) {
        if (until == VTIME_NEVER) {
            sim_cond_wait(&ex->cond, &ex->lock);
        } else if (!sim_cond_wait_until(&ex->cond, &ex->lock, clock->host_base_ns + until)) {
            break;
        }
    }
    atomic_fetch_sub_explicit(&ex->group->sleepers, 1, memory_order_relaxed);
    __atomic_store_n(&ex->sleeping, false, __ATOMIC_RELAXED);
    sim_mutex_unlock(&ex->lock);
}

/* One turn of one vCPU; true when it may have got something done. */
static bool turn(struct executor *ex, struct vcpu *v)
{
    uint64_t before = v->stats.insns, begin_ns = sim_host_ns();
    enum vcpu_exit why = v->ops->run(v, ex->group->config.budget);

    if (why == VCPU_EXIT_EXCLUSIVE) {
        sim_exclusive_begin(v->sim, v);
        why = v->ops->run_exclusive(v);
        sim_exclusive_end(v->sim);
    }
    v->stats.exits[why]++;
    v->stats.run_ns += sim_host_ns() - begin_ns;
    sim_clock_charge(&v->sim->clock, v->stats.insns - before);
    sim_timers_run(v->sim);
    ex->group->idle[v->index] = why == VCPU_EXIT_IDLE || why == VCPU_EXIT_WAIT;
    if (why == VCPU_EXIT_BUDGET)
        offer_work(ex);
    return why != VCPU_EXIT_YIELD;
}

/* --- pausing --- */

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

static bool must_park(const struct executor_group *g)
{
    return SIM_UNLIKELY(atomic_load_explicit(&g->pausing, memory_order_acquire));
}

void executor_group_add(struct executor_group *g, struct vcpu *v)
{
    struct executor *ex = &g->ex[0];

    for (unsigned i = 1; i < g->nr; i++)
        if (g->ex[i].nr < ex->nr)
            ex = &g->ex[i];
    sim_mutex_lock(&ex->lock);
    ex->vcpus[ex->nr++] = v;
    g->idle[v->index] = 0;
    sim_mutex_unlock(&ex->lock);
    atomic_store_explicit(&v->waker, &ex->waker, memory_order_seq_cst);
    vcpu_kick(v);
}

static void remove_from(struct executor *ex, const struct vcpu *v)
{
    sim_mutex_lock(&ex->lock);
    for (unsigned i = 0; i < ex->nr; i++)
        if (ex->vcpus[i] == v)
            ex->vcpus[i] = ex->vcpus[--ex->nr];
    sim_mutex_unlock(&ex->lock);
}

void executor_group_remove(struct executor_group *g, struct vcpu *v)
{
    vcpu_detach_waker(v);
    for (unsigned i = 0; i < g->nr; i++)
        remove_from(&g->ex[i], v);
}

void executor_group_pause(struct executor_group *g)
{
    sim_mutex_lock(&g->pause_lock);
    atomic_store_explicit(&g->pausing, true, memory_order_release);
    sim_mutex_unlock(&g->pause_lock);
    for (unsigned i = 0; i < g->nr; i++)
        executor_wake(&g->ex[i].waker);
    sim_mutex_lock(&g->pause_lock);
    while (g->started && g->parked < g->nr)
        sim_cond_wait(&g->pause_cond, &g->pause_lock);
    sim_mutex_unlock(&g->pause_lock);
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
    const struct executor *ex = &g->ex[0];

    return ex->cursor < ex->nr ? ex->vcpus[ex->cursor]->index : 0;
}

/* Runs each runnable vCPU once; false when all are parked. */
static bool round_of_turns(struct executor *ex)
{
    struct sim *sim = ex->group->sim;
    bool any = false, progress = false;

    for (unsigned i = 0; i < ex->nr && !sim_ending(sim) && !must_park(ex->group); i++) {
        struct vcpu *v = pick(ex, sim_clock_now(&sim->clock));
        if (!v)
            break;
        any = true;
        progress |= turn(ex, v);
    }
    sim_mutex_lock(&ex->lock);
    ex->current = NULL;
    sim_mutex_unlock(&ex->lock);
    if (any && !progress)
        sim_thread_yield(); /* all spin: somebody else may hold what they wait for */
    return any;
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
        /* Cleared before looking: a wake after this is seen by executor_sleep. */
        atomic_store_explicit(&ex->woken, false, memory_order_seq_cst);
        if (must_park(ex->group)) {
            park(ex->group);
            continue;
        }
        /* A round that was cut short by a pause says nothing about who could run. */
        if (!round_of_turns(ex) && !must_park(ex->group) && !take_work(ex) && !sim_ending(sim))
            executor_sleep(ex, earliest_deadline(ex));
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

static void executor_init(struct executor *ex, struct executor_group *g, unsigned index)
{
    ex->waker.wake = executor_wake;
    ex->spin_ns = SPIN_NS;
    ex->group = g;
    ex->index = index;
    sim_mutex_init(&ex->lock, SIM_RANK_EXECUTOR);
    sim_cond_init(&ex->cond);
    ex->vcpus = sim_new_array(struct vcpu *, g->sim->nr_vcpus + 1);
    for (uint32_t i = 0, n = 0; i < g->sim->nr_vcpus; i++) {
        struct vcpu *v = g->sim->vcpus[i];
        if (v->remote || n++ % g->nr != index)
            continue;
        atomic_store_explicit(&v->waker, &ex->waker, memory_order_release);
        ex->vcpus[ex->nr++] = v;
    }
}

enum sim_status executor_group_create(struct sim *sim, const struct executor_config *config,
                                      struct executor_group **out)
{
    struct executor_group *g = sim_new(struct executor_group);

    g->sim = sim;
    g->config = *config;
    if (!g->config.budget)
        g->config.budget = DEFAULT_BUDGET;
    g->nr = config->nr_threads ? config->nr_threads : host_cpus();
    unsigned local = count_local(sim);
    if (g->nr > local)
        g->nr = local ? local : 1;
    g->ex = sim_new_array(struct executor, g->nr);
    g->idle = sim_zalloc(sim->nr_vcpus + 1);
    sim_mutex_init(&g->pause_lock, SIM_RANK_EXECUTOR);
    sim_cond_init(&g->pause_cond);
    for (unsigned i = 0; i < g->nr; i++)
        executor_init(&g->ex[i], g, i);
    if (g->nr == 1 && config->cursor < g->ex[0].nr)
        g->ex[0].cursor = config->cursor;
    *out = g;
    return SIM_OK;
}

enum sim_status executor_group_start(struct executor_group *g)
{
    g->started = true;
    for (unsigned i = 0; i < g->nr; i++) {
        char name[16];
        snprintf(name, sizeof name, "exec%u", i);
        enum sim_status status =
            sim_thread_start(&g->ex[i].thread, name, executor_main, &g->ex[i]);
        if (status != SIM_OK) {
            sim_request_end(g->sim, SIM_END_ERROR, 70);
            executor_group_stop(g);
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
        executor_wake(&g->ex[i].waker);
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
    for (unsigned i = 0; i < g->nr; i++) {
        sim_free(g->ex[i].vcpus);
        sim_cond_fini(&g->ex[i].cond);
        sim_mutex_fini(&g->ex[i].lock);
    }
    sim_cond_fini(&g->pause_cond);
    sim_mutex_fini(&g->pause_lock);
    sim_free((void *)g->idle);
    sim_free(g->ex);
    sim_free(g);
}

unsigned executor_group_nr_threads(const struct executor_group *g)
{
    return g->nr;
}

uint64_t executor_group_cpu_ns(const struct executor_group *g)
{
    uint64_t sum = 0;

    for (unsigned i = 0; i < g->nr; i++)
        sum += atomic_load_explicit(&g->ex[i].cpu_ns, memory_order_relaxed);
    return sum;
}
