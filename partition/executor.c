/* Executors: pick a vCPU that wants a turn, run it for a budget, park it when it idles, sleep when all do.
 *
 *   kick -> ready (and urgent, when it waits for a turn) -> pick -> turn -> settle: ready | parked | resting
 *   parked: until a kick, or its deadline in the heap     resting: it spins, until the word it waits for changes, or
 *                                                          the others have done something
 *   an executor that shall not work (its core is another rank's): hands on what it has and sleeps until it shall
 *
 * Nothing here looks at all vCPUs. Whoever runs or moves a vCPU has taken its seat; kicks only set bits. */
#include "partition/executor.h"

#include <sched.h>
#include <stdio.h>

#include "ready_set.h"
#include "sim-core/alloc.h"
#include "sim-core/heap.h"
#include "sim-core/lock.h"
#include "sim-core/log.h"
#include "sim-core/timer.h"

enum {
    DEFAULT_BUDGET = 50000,
    SPIN_NS = 20000,
    SPIN_MAX_NS = 200000, /* with a core to itself, on several ranks, where waiting goes round */
    DESCHEDULED_NS = 30000, /* between two looks at the clock: another thread had the core */
    /* A turn that gave up after so few instructions was one of waiting. */
    SPIN_INSNS = 6000,
    REST_AFTER = 3, /* such turns in a row */
    /* Budgets of others that get something done before those that spin are asked again: a budget takes 10 us and more, a
     * look of one that spins up to 1 us when its state is in no cache. Those of whom it is known what they wait for are
     * asked when it comes, and seldom besides: a timer of theirs may be due. */
    REST_BUDGETS = 16,
    REST_BUDGETS_KNOWN = 128,
    /* Between two looks at what they wait for, when nobody else is there; longer each time. */
    REST_SLEEP_NS = 50000,
    REST_SLEEP_MAX_NS = 800000,
    BUDGET_NS = 30000, /* a budget takes about so long */
    /* Budgets that a turn may have while nobody urgent comes: who computes fills the host's caches only once in the while.
     * About 4 ms, as the ticks of most kernels; less when very many want their turns. What comes in between leaves it the rest. */
    TURN_BUDGETS = 128,
    TURN_BUDGETS_LEAST = 8,
    TURN_NS = 5000000, /* but no longer, after the least: an interpreter's budget takes 1 ms */
    ROUND_BUDGETS = 8192, /* of all vCPUs of an executor */
    TIMER_BUDGETS = 32, /* between two looks at timers in a turn: about 1 ms */
    /* What a vCPU of another executor holds is mostly free again in a microsecond, and another vCPU's turn costs tens: so
     * long, and so often in a row, is it waited for. */
    LINGER_NS = 8000,
    LINGERS = 16,
    /* Instructions that urgent turns may have for each turn in order, and what one counts at least. */
    URGENT_INSNS = 8 * DEFAULT_BUDGET,
    URGENT_LEAST = 500,
    /* A turn that ends in a section which others may wait for goes on until it is left, at most so often and so long. */
    GRACES = 8,
    GRACE_BUDGET = 2000,
    STEAL_TRIES = 8
};

/* Owner: its thread. Others: the ready sets (atomic), and woken. */
struct executor {
    struct vcpu_waker waker; /* first */
    struct executor_group *group;
    struct sim_thread thread;
    unsigned index;
    struct sim_mutex lock; /* sleeping */
    struct sim_cond cond;
    _Atomic bool woken;
    _Atomic bool sleeping;
    _Atomic unsigned nr; /* vCPUs it has */
    /* By vCPU index. A vCPU that has gone to another executor may still be in them: whoever finds it passes it on. */
    struct ready_set ready;
    struct ready_set urgent;  /* were kicked while they waited for a turn */
    struct ready_set resting; /* not ready, but may be asked when there is nothing better */
    struct heap heap;       /* of deadlines when parked; may be out of date, never late */
    struct heap_node *node; /* by vCPU index */
    struct vcpu_watch *watch; /* by vCPU index: what those that rest wait for */
    uint32_t cursor;        /* the last turn in order */
    uint64_t turn_ns;       /* when the turn began */
    unsigned left;          /* budgets that the one at the cursor has left: its turn was interrupted */
    bool is_urgent;         /* the turn is out of order */
    int64_t urgent_insns;   /* that turns out of order may have until the next in order */
    _Atomic uint32_t turn;  /* whose turn it is, or READY_NONE */
    unsigned useful;        /* budgets used since those that rest were asked */
    unsigned since_all;     /* budgets since all of them were, also those of whom it is known what they wait for */
    uint64_t rest_ns;       /* the last sleep while all rested; 0: somebody has done something since */
    _Atomic bool napping;   /* in sim->ranks->nap */
    _Atomic bool works;     /* it takes turns; the first always does */
    uint64_t spin_ns;
    _Atomic uint64_t cpu_ns;
    _Atomic uint64_t turns; /* ever; of spare executors only */
};

/* Owner: who has taken it. */
struct seat {
    _Atomic bool taken;
    uint8_t spins; /* turns in a row that were spent waiting */
};

struct executor_group {
    struct sim *sim;
    struct executor_config config;
    struct executor *ex;
    unsigned nr_own, nr; /* the others are spare ones, on cores that other ranks lend */
    struct seat *seat; /* by vCPU index */
    /* Counted time: turns in the order of the vCPUs and nothing else, so that the cursor says how it goes on. */
    bool in_order;
    _Atomic unsigned sleepers;
    _Atomic bool listening; /* one of them is in sim->ranks->nap */
    bool started;
    /* Pausing: executors park between two turns. `pausing` is written under pause_lock. */
    struct sim_mutex pause_lock;
    struct sim_cond pause_cond;
    _Atomic bool pausing;
    unsigned parked; /* or ended */
};

/* --- waking --- */

static void rouse(struct executor *ex)
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
    rouse(ex);
}

static bool has(const struct executor *ex, const struct vcpu *v)
{
    return atomic_load_explicit(&v->waker, memory_order_seq_cst) == &ex->waker;
}

static void forget(struct executor *ex, uint32_t n)
{
    ready_set_remove(&ex->ready, n);
    ready_set_remove(&ex->urgent, n);
    ready_set_remove(&ex->resting, n);
}

/* --- seats --- */

static bool take_seat(struct executor_group *g, uint32_t n)
{
    return !atomic_exchange_explicit(&g->seat[n].taken, true, memory_order_acquire);
}

static void leave_seat(struct executor_group *g, uint32_t n)
{
    atomic_store_explicit(&g->seat[n].taken, false, memory_order_release);
}

/* A kick came here after the vCPU had left. */
static void pass_on(struct executor *ex, struct vcpu *v)
{
    struct vcpu_waker *w = atomic_load_explicit(&v->waker, memory_order_seq_cst);

    forget(ex, v->index);
    if (w)
        w->wake(w, v);
}

/* vCPU n for a turn; NULL: it is not here any more, or is being moved. */
static struct vcpu *claim(struct executor *ex, uint32_t n)
{
    struct executor_group *g = ex->group;
    struct vcpu *v = g->sim->vcpus[n];

    if (!take_seat(g, n))
        return NULL;
    if (has(ex, v) && ready_set_has(&ex->ready, n)) {
        ready_set_remove(&ex->urgent, n);
        ready_set_remove(&ex->resting, n);
        return v;
    }
    leave_seat(g, n);
    if (!has(ex, v))
        pass_on(ex, v);
    return NULL;
}

/* --- deadlines --- */

static bool is_parked(const struct executor *ex, const struct vcpu *v)
{
    return has(ex, v) && !ready_set_has(&ex->ready, v->index);
}

static void put_deadline(struct executor *ex, uint32_t n, vtime_t t)
{
    heap_remove(&ex->heap, &ex->node[n]);
    if (t != VTIME_NEVER)
        heap_insert(&ex->heap, &ex->node[n], t);
}

/* The deadline that vCPU n has now; never, when it is not parked here. */
static vtime_t deadline_now(struct executor *ex, uint32_t n)
{
    struct executor_group *g = ex->group;
    struct vcpu *v = g->sim->vcpus[n];
    vtime_t t = VTIME_NEVER;

    if (!take_seat(g, n))
        return t; /* a sibling has it */
    if (is_parked(ex, v))
        t = v->ops->deadline(v);
    leave_seat(g, n);
    return t;
}

/* The first deadline of a parked vCPU; what stands before it in the heap is out of date and goes. */
static vtime_t first_deadline(struct executor *ex)
{
    struct heap_node *first;

    while ((first = heap_first(&ex->heap))) {
        uint32_t n = (uint32_t)(first - ex->node);
        vtime_t t = deadline_now(ex, n);
        if (t <= first->key)
            return t;
        put_deadline(ex, n, t);
    }
    return VTIME_NEVER;
}

static void expire(struct executor *ex, vtime_t now)
{
    const struct heap_node *first;

    while ((first = heap_first(&ex->heap)) && first->key <= now && first_deadline(ex) <= now) {
        uint32_t n = (uint32_t)(heap_first(&ex->heap) - ex->node);
        heap_remove(&ex->heap, &ex->node[n]);
        ready_set_add(&ex->ready, n);
        ready_set_add(&ex->urgent, n);
    }
}

/* --- picking --- */

static bool take_work(struct executor *ex);

/* The one whose turn was interrupted. */
static struct vcpu *pick_interrupted(struct executor *ex)
{
    struct vcpu *v = ex->left && ready_set_has(&ex->ready, ex->cursor) ? claim(ex, ex->cursor) : NULL;

    if (!v)
        ex->left = 0;
    return v;
}

/* The next one in order. */
static struct vcpu *pick_next(struct executor *ex)
{
    uint32_t n = ex->cursor;

    for (uint32_t first = READY_NONE; (n = ready_set_next(&ex->ready, n)) != READY_NONE && n != first;) {
        struct vcpu *v = claim(ex, n);
        if (v) {
            ex->cursor = n;
            return v;
        }
        first = first == READY_NONE ? n : first;
    }
    return NULL;
}

/* One that was kicked. Those together get no more done than the others: whoever kicks all the time does not keep them
 * away. Many that do little, as timer interrupts of idle vCPUs, have their turns one after the other. */
static struct vcpu *pick_urgent(struct executor *ex)
{
    uint32_t n;

    if (ex->urgent_insns <= 0 || ex->group->in_order ||
        (n = ready_set_next(&ex->urgent, ex->cursor)) == READY_NONE)
        return NULL;
    ready_set_remove(&ex->urgent, n);
    return claim(ex, n);
}

/* --- resting --- */

enum asked { ASK_READY /* who need not spin any more */, ASK_UNKNOWN /* and of whom that is not known */, ASK_ALL };

static bool has_come(const struct executor *ex, uint32_t n)
{
    return ex->watch[n].word && vcpu_watch_is_over(&ex->watch[n]);
}

static bool is_asked(const struct executor *ex, uint32_t n, enum asked whom)
{
    return whom == ASK_ALL || has_come(ex, n) || (whom == ASK_UNKNOWN && !ex->watch[n].word);
}

/* The next of those that rest after n who is asked; READY_NONE: there is none, up to the last of them. */
static uint32_t next_asked(const struct executor *ex, uint32_t n, enum asked whom)
{
    uint32_t before;

    do {
        before = n;
        n = ready_set_next(&ex->resting, n);
        if (n == READY_NONE || (before != READY_NONE && n <= before))
            return READY_NONE;
    } while (!is_asked(ex, n, whom));
    return n;
}

/* Before others go on: locks are handed over in the order in which they were asked for, and all wait for the one whose turn
 * it is. One whose word has changed may also go on where there is nothing to do. */
static void end_rest(struct executor *ex, uint32_t n)
{
    struct executor_group *g = ex->group;

    if (has_come(ex, n) && take_seat(g, n)) {
        g->seat[n].spins = 0;
        leave_seat(g, n);
    }
    ready_set_remove(&ex->resting, n);
    ready_set_add(&ex->ready, n);
    ready_set_add(&ex->urgent, n);
}

static bool ask(struct executor *ex, enum asked whom)
{
    bool any = false;

    for (uint32_t n = READY_NONE; (n = next_asked(ex, n, whom)) != READY_NONE; any = true)
        end_rest(ex, n);
    return any;
}

static void ask_resting(struct executor *ex)
{
    enum asked whom = ex->since_all >= REST_BUDGETS_KNOWN ? ASK_ALL : ex->useful >= REST_BUDGETS ? ASK_UNKNOWN : ASK_READY;

    if (whom != ASK_READY)
        ex->useful = 0;
    if (whom == ASK_ALL)
        ex->since_all = 0;
    ask(ex, whom);
}

/* Nobody is ready. When all spin: somebody else may hold what they wait for. */
static bool end_rest_of_all(struct executor *ex)
{
    bool all_spin = !ex->useful;

    if (ready_set_next(&ex->resting, READY_NONE) == READY_NONE)
        return false;
    if (all_spin && take_work(ex))
        return true;
    if (all_spin && next_asked(ex, READY_NONE, ASK_UNKNOWN) != READY_NONE)
        sim_thread_yield();
    ex->useful = 0;
    return ask(ex, ASK_UNKNOWN);
}

/* A vCPU for a turn, its seat taken; NULL when all are parked. */
static struct vcpu *pick(struct executor *ex)
{
    struct vcpu *v;

    if (heap_first(&ex->heap))
        expire(ex, sim_clock_now(&ex->group->sim->clock));
    ask_resting(ex);
    v = pick_urgent(ex);
    ex->is_urgent = v != NULL;
    if (!v)
        v = pick_interrupted(ex);
    if (!v)
        v = pick_next(ex);
    if (!v && end_rest_of_all(ex))
        v = pick_next(ex);
    return v;
}

/* --- sharing work --- */

static void move(struct executor *to, struct executor *from, struct vcpu *v)
{
    /* From here kicks come to us; what was posted before is seen when we run it. */
    atomic_store_explicit(&v->waker, &to->waker, memory_order_seq_cst);
    forget(from, v->index);
    atomic_fetch_sub_explicit(&from->nr, 1, memory_order_relaxed);
    atomic_fetch_add_explicit(&to->nr, 1, memory_order_relaxed);
    ready_set_add(&to->ready, v->index);
}

static bool works(const struct executor *ex)
{
    return SIM_LIKELY(atomic_load_explicit(&ex->works, memory_order_acquire));
}

/* Takes a vCPU that waits for its turn, and does not just spin, from a sibling that is busy. */
static bool take_from(struct executor *ex, struct executor *victim)
{
    struct executor_group *g = ex->group;
    uint32_t turn = atomic_load_explicit(&victim->turn, memory_order_relaxed), n = turn;

    for (unsigned i = 0; turn != READY_NONE && i < STEAL_TRIES; i++) {
        n = ready_set_next(&victim->ready, n);
        if (n == READY_NONE || n == turn)
            return false;
        if (!take_seat(g, n))
            continue;
        struct vcpu *v = g->sim->vcpus[n];
        bool good = has(victim, v) && !g->seat[n].spins && ready_set_has(&victim->ready, n);
        if (good)
            move(ex, victim, v);
        leave_seat(g, n);
        if (good)
            return true;
    }
    return false;
}

static bool take_work(struct executor *ex)
{
    struct executor_group *g = ex->group;

    for (unsigned i = 1; i < g->nr; i++)
        if (take_from(ex, &g->ex[(ex->index + i) % g->nr]))
            return true;
    return false;
}

/* When vCPUs wait for their turn here while a sibling sleeps, it shall come and take one. */
static void offer_work(struct executor *ex, uint32_t n)
{
    struct executor_group *g = ex->group;

    if (!atomic_load_explicit(&g->sleepers, memory_order_relaxed) || ready_set_next(&ex->ready, n) == n)
        return;
    for (unsigned k = 1; k < g->nr; k++) {
        struct executor *sibling = &g->ex[(ex->index + k) % g->nr];
        if (works(sibling) && (atomic_load_explicit(&sibling->sleeping, memory_order_relaxed) ||
                               atomic_load_explicit(&sibling->napping, memory_order_relaxed))) {
            rouse(sibling);
            return;
        }
    }
}

/* --- sleeping --- */

static bool must_park(const struct executor_group *g)
{
    return SIM_UNLIKELY(atomic_load_explicit(&g->pausing, memory_order_acquire));
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

/* Sleeps where messages of other ranks wake it too. One executor at a time: what wakes one there wakes all. Who runs
 * vCPUs looks for messages as well, and when nobody does the interconnect's own thread. */
static void nap(struct executor *ex, vtime_t until)
{
    struct sim *sim = ex->group->sim;
    uint64_t begin_ns = sim_host_ns();

    /* N1: announced before woken is read; pairs with N2 */
    atomic_store_explicit(&ex->napping, true, memory_order_seq_cst);
    atomic_fetch_add_explicit(&ex->group->sleepers, 1, memory_order_relaxed);
    while (!atomic_load_explicit(&ex->woken, memory_order_seq_cst)) {
        vtime_t now = sim_clock_now(&sim->clock);
        if (until <= now)
            break;
        sim->ranks->nap(sim->ranks_opaque, until - now);
    }
    atomic_fetch_sub_explicit(&ex->group->sleepers, 1, memory_order_relaxed);
    atomic_store_explicit(&ex->napping, false, memory_order_relaxed);
    fit_spin(ex, sim_host_ns() - begin_ns);
}

/* Sleeps where only siblings, kicks and the host's clock, at the guest's time `until`, wake it. */
static void doze(struct executor *ex, vtime_t until)
{
    const struct sim_clock *clock = &ex->group->sim->clock;

    /* A guest may ask for a time that the host's clock never reaches. */
    if (until > VTIME_NEVER - clock->host_base_ns)
        until = VTIME_NEVER;
    sim_mutex_lock(&ex->lock);
    /* S2: announced before woken is read; pairs with S1 */
    atomic_store_explicit(&ex->sleeping, true, memory_order_seq_cst);
    while (!atomic_load_explicit(&ex->woken, memory_order_seq_cst)) {
        if (until == VTIME_NEVER) {
            sim_cond_wait(&ex->cond, &ex->lock);
        } else if (!sim_cond_wait_until(&ex->cond, &ex->lock, clock->host_base_ns + until)) {
            break;
        }
    }
    atomic_store_explicit(&ex->sleeping, false, memory_order_relaxed);
    sim_mutex_unlock(&ex->lock);
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
    if (ex->group->sim->ranks && !atomic_exchange_explicit(&ex->group->listening, true, memory_order_relaxed)) {
        nap(ex, until);
        atomic_store_explicit(&ex->group->listening, false, memory_order_relaxed);
        return;
    }
    atomic_fetch_add_explicit(&ex->group->sleepers, 1, memory_order_relaxed);
    doze(ex, until);
    atomic_fetch_sub_explicit(&ex->group->sleepers, 1, memory_order_relaxed);
}

/* One of those that rest can go on, or somebody woke this executor, before the time of a short spin is over. */
static bool rest_ends_soon(const struct executor *ex)
{
    uint64_t start = sim_host_ns(), now = start, last = start;

    while (now - start < SPIN_NS && now - last < DESCHEDULED_NS) {
        if (atomic_load_explicit(&ex->woken, memory_order_acquire) || next_asked(ex, READY_NONE, ASK_READY) != READY_NONE)
            return true;
        sim_cpu_relax();
        last = now;
        now = sim_host_ns();
    }
    return false;
}

/* All that are here rest, and of each it is known what it waits for. The time counts as budgets of others. */
static void watch_resting(struct executor *ex)
{
    if (!ex->rest_ns && rest_ends_soon(ex))
        return;
    ex->rest_ns = !ex->rest_ns ? REST_SLEEP_NS : ex->rest_ns < REST_SLEEP_MAX_NS ? 2 * ex->rest_ns : ex->rest_ns;
    atomic_fetch_add_explicit(&ex->group->sleepers, 1, memory_order_relaxed);
    doze(ex, sim_clock_now(&ex->group->sim->clock) + ex->rest_ns);
    atomic_fetch_sub_explicit(&ex->group->sleepers, 1, memory_order_relaxed);
    ex->since_all += 1 + (unsigned)(ex->rest_ns / BUDGET_NS);
}

/* --- standing aside --- */

/* The one with the fewest vCPUs among those that work; not `but`, which may be told to work at any time. */
static struct executor *least(struct executor_group *g, const struct executor *but)
{
    struct executor *best = &g->ex[0];

    for (unsigned i = 1; i < g->nr; i++)
        if (&g->ex[i] != but && works(&g->ex[i]) && atomic_load_explicit(&g->ex[i].nr, memory_order_relaxed) <
                                    atomic_load_explicit(&best->nr, memory_order_relaxed))
            best = &g->ex[i];
    return best;
}

/* Whoever has its seat is about to take it away, or looks at its deadline: then it is asked again. */
static bool hand_on(struct executor *ex, struct vcpu *v)
{
    struct executor_group *g = ex->group;
    struct executor *to = least(g, ex);

    if (!take_seat(g, v->index))
        return false;
    bool had = has(ex, v);
    if (had)
        move(to, ex, v); /* ready, too: it parks itself where it is now */
    leave_seat(g, v->index);
    if (had)
        rouse(to);
    return true;
}

static void hand_on_all(struct executor *ex)
{
    struct sim *sim = ex->group->sim;

    for (uint32_t i = 0; i < sim->nr_vcpus; i++) {
        put_deadline(ex, i, VTIME_NEVER);
        while (has(ex, sim->vcpus[i]) && !hand_on(ex, sim->vcpus[i]))
            sim_thread_yield();
    }
    /* Kicks that came here after their vCPU had left, and vCPUs of a sibling that saw us work when it began to stand aside, too. */
    for (uint32_t n; (n = ready_set_next(&ex->ready, READY_NONE)) != READY_NONE;) {
        struct vcpu *v = sim->vcpus[n];
        if (!has(ex, v))
            pass_on(ex, v);
        else if (!hand_on(ex, v))
            sim_thread_yield();
    }
}

/* Its core is another rank's: no turn, no look at messages, no deadline. */
static void stand_aside(struct executor *ex)
{
    atomic_store_explicit(&ex->turn, READY_NONE, memory_order_relaxed);
    /* Cleared before looking, as in find_work. */
    atomic_store_explicit(&ex->woken, false, memory_order_seq_cst);
    hand_on_all(ex);
    if (!works(ex) && !must_park(ex->group) && !sim_ending(ex->group->sim))
        doze(ex, VTIME_NEVER);
}

/* --- turns --- */

/* What has been cleared is looked at again: a kick before that may have found it still set. */
static void park_vcpu(struct executor *ex, struct vcpu *v)
{
    ready_set_remove(&ex->ready, v->index);
    put_deadline(ex, v->index, v->ops->deadline(v));
    if (v->ops->has_work(v))
        ready_set_add(&ex->ready, v->index);
}

static void rest(struct executor *ex, struct vcpu *v)
{
    ex->watch[v->index] = v->watch;
    ready_set_add(&ex->resting, v->index);
    ready_set_remove(&ex->ready, v->index);
    if (atomic_load_explicit(&v->kick, memory_order_seq_cst))
        ready_set_add(&ex->ready, v->index);
}

static bool timer_is_due(const struct executor *ex)
{
    const struct heap_node *first = heap_first(&ex->heap);

    return first && first->key <= sim_clock_now(&ex->group->sim->clock);
}

/* Has somebody come who shall not wait for the end of a turn? */
static bool others_press(const struct executor *ex, unsigned left)
{
    enum asked whom = ex->useful >= REST_BUDGETS ? ASK_UNKNOWN : ASK_READY;

    return ready_set_next(&ex->urgent, READY_NONE) != READY_NONE || next_asked(ex, READY_NONE, whom) != READY_NONE ||
           (left % TIMER_BUDGETS == 0 && timer_is_due(ex));
}

/* May the vCPU that has used up a budget have another in the same turn? */
static bool goes_on(const struct executor *ex, unsigned left)
{
    return left && !must_park(ex->group) && works(ex) && !sim_ending(ex->group->sim) && !others_press(ex, left);
}

static unsigned turn_budgets(const struct executor *ex)
{
    unsigned share = ROUND_BUDGETS / (atomic_load_explicit(&ex->nr, memory_order_relaxed) + 1);

    if (ex->group->in_order)
        return 1;
    return share > TURN_BUDGETS ? TURN_BUDGETS : share < TURN_BUDGETS_LEAST ? TURN_BUDGETS_LEAST : share;
}

static bool in_section(const struct executor *ex, struct vcpu *v)
{
    return !ex->group->in_order && v->ops->may_hold_lock && v->ops->may_hold_lock(v);
}

/* Does another executor run something? */
static bool others_run(const struct executor *ex)
{
    const struct executor_group *g = ex->group;

    for (unsigned i = 0; i < g->nr; i++)
        if (i != ex->index && atomic_load_explicit(&g->ex[i].turn, memory_order_relaxed) != READY_NONE)
            return true;
    return false;
}

/* The vCPU spins. Has what it waits for come when its turn is held for a moment? */
static bool lingers(const struct executor *ex, const struct vcpu *v)
{
    if (!v->watch.word || ex->group->in_order || !others_run(ex))
        return false;
    for (uint64_t end = sim_host_ns() + LINGER_NS; sim_host_ns() < end; sim_cpu_relax())
        if (vcpu_watch_is_over(&v->watch) || atomic_load_explicit(&v->kick, memory_order_relaxed))
            return true;
    return false;
}

static enum vcpu_exit run_budgets(struct executor *ex, struct vcpu *v, unsigned *left)
{
    enum vcpu_exit why;
    unsigned lingered = 0, used = 0;

    for (;;) {
        why = v->ops->run(v, ex->group->config.budget);
        if (why == VCPU_EXIT_YIELD && lingered++ < LINGERS && lingers(ex, v))
            continue;
        ex->useful++;
        ex->since_all++;
        --*left;
        if (++used >= TURN_BUDGETS_LEAST && sim_host_ns() - ex->turn_ns > TURN_NS)
            *left = 0;
        if (why != VCPU_EXIT_BUDGET || !goes_on(ex, *left))
            return why;
        lingered = 0;
    }
}

static enum vcpu_exit run_in_order(struct executor *ex, struct vcpu *v)
{
    if (!ex->left)
        ex->left = turn_budgets(ex);
    enum vcpu_exit why = run_budgets(ex, v, &ex->left);

    if (why != VCPU_EXIT_BUDGET)
        ex->left = 0;
    ex->urgent_insns = URGENT_INSNS;
    return why;
}

static enum vcpu_exit run_urgent(struct executor *ex, struct vcpu *v)
{
    uint64_t before = v->stats.insns;
    unsigned left = turn_budgets(ex);
    enum vcpu_exit why = run_budgets(ex, v, &left);

    ex->urgent_insns -= (int64_t)(v->stats.insns - before) + URGENT_LEAST;
    return why;
}

static enum vcpu_exit run(struct executor *ex, struct vcpu *v)
{
    enum vcpu_exit why = ex->is_urgent ? run_urgent(ex, v) : run_in_order(ex, v);

    for (unsigned n = 0; why == VCPU_EXIT_BUDGET && n < GRACES && in_section(ex, v); n++)
        why = v->ops->run(v, GRACE_BUDGET);
    if (why == VCPU_EXIT_EXCLUSIVE) {
        sim_exclusive_begin(v->sim, v);
        why = v->ops->run_exclusive(v);
        sim_exclusive_end(v->sim);
    }
    return why;
}

static void settle(struct executor *ex, struct vcpu *v, enum vcpu_exit why, uint64_t insns)
{
    struct seat *seat = &ex->group->seat[v->index];
    bool spun = why == VCPU_EXIT_YIELD && insns < SPIN_INSNS;

    seat->spins = !spun ? 0 : seat->spins < REST_AFTER ? seat->spins + 1 : REST_AFTER;
    ex->useful -= spun;
    if (!spun)
        ex->rest_ns = 0;
    if (why == VCPU_EXIT_IDLE || why == VCPU_EXIT_WAIT)
        park_vcpu(ex, v);
    else if ((seat->spins == REST_AFTER || (spun && v->watch.word)) && !ex->group->in_order)
        rest(ex, v);
    else if (spun && ex->group->in_order)
        sim_thread_yield(); /* somebody else may hold what it waits for */
}

static void end_wait(struct vcpu *v, uint64_t now_ns)
{
    if (!v->stats.parked_ns)
        return;
    v->stats.wait_ns += now_ns - v->stats.parked_ns;
    v->stats.parked_ns = 0;
}

static void turn(struct executor *ex, struct vcpu *v)
{
    uint64_t before = v->stats.insns, begin_ns = sim_host_ns();

    if (SIM_UNLIKELY(ex->index >= ex->group->nr_own))
        atomic_fetch_add_explicit(&ex->turns, 1, memory_order_relaxed);
    end_wait(v, begin_ns);
    ex->turn_ns = begin_ns;
    atomic_store_explicit(&ex->turn, v->index, memory_order_relaxed);
    sim_turn_begin(v->sim, ex->index, v);
    enum vcpu_exit why = run(ex, v);
    v->stats.exits[why]++;
    uint64_t insns = v->stats.insns - before, end_ns = sim_host_ns();
    v->stats.run_ns += end_ns - begin_ns;
    if (why == VCPU_EXIT_WAIT)
        v->stats.parked_ns = end_ns;
    sim_clock_charge(&v->sim->clock, insns);
    sim_timers_run(v->sim);
    settle(ex, v, why, insns);
    leave_seat(ex->group, v->index);
    if (why == VCPU_EXIT_BUDGET)
        offer_work(ex, v->index);
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

void executor_group_add(struct executor_group *g, struct vcpu *v)
{
    struct executor *ex = least(g, NULL);

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
        if (has(&g->ex[i], v))
            atomic_fetch_sub_explicit(&g->ex[i].nr, 1, memory_order_relaxed);
    vcpu_detach_waker(v);
    for (unsigned i = 0; i < g->nr; i++)
        forget(&g->ex[i], v->index);
}

void executor_group_pause(struct executor_group *g)
{
    sim_mutex_lock(&g->pause_lock);
    atomic_store_explicit(&g->pausing, true, memory_order_release);
    sim_mutex_unlock(&g->pause_lock);
    for (unsigned i = 0; i < g->nr; i++)
        rouse(&g->ex[i]);
    sim_mutex_lock(&g->pause_lock);
    while (g->started && g->parked < g->nr)
        sim_cond_wait(&g->pause_cond, &g->pause_lock);
    sim_mutex_unlock(&g->pause_lock);
}

void executor_group_set_works(struct executor_group *g, const bool *does)
{
    for (unsigned i = 1; i < g->nr; i++)
        if (atomic_exchange_explicit(&g->ex[i].works, does[i], memory_order_seq_cst) != does[i])
            rouse(&g->ex[i]);
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
    if (must_park(ex->group) || sim_ending(ex->group->sim))
        return;
    /* A sibling may be about to take who is ready, or have taken who came here while others rest: those are asked before
     * this executor sleeps, for nobody wakes it for them. */
    if (ready_set_next(&ex->ready, READY_NONE) != READY_NONE || next_asked(ex, READY_NONE, ASK_UNKNOWN) != READY_NONE)
        sim_thread_yield();
    else if (take_work(ex))
        return;
    else if (ready_set_next(&ex->resting, READY_NONE) != READY_NONE)
        watch_resting(ex);
    else
        executor_sleep(ex, first_deadline(ex));
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
        if (must_park(ex->group)) {
            park(ex->group);
            continue;
        }
        if (!works(ex)) {
            stand_aside(ex);
            continue;
        }
        struct vcpu *v = pick(ex);
        if (v)
            turn(ex, v);
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
        rouse(&g->ex[i]);
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
