/* vCPUs that only count, and executors over them. */
#ifndef EXECUTOR_RIG_H
#define EXECUTOR_RIG_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <string.h>
#include <time.h>

#include "executor_priv.h"
#include "sim-core/alloc.h"

/* A vCPU that works for `work` turns, then idles until given more. */
struct counter {
    struct vcpu vcpu;
    _Atomic int work;
    _Atomic int turns;
    _Atomic bool want_exclusive, was_exclusive, overlapped;
    _Atomic uint64_t deadline;
    _Atomic bool waits; /* turns end with VCPU_EXIT_WAIT */
    bool keeps_deadline; /* though it is over */
    bool busy_host; /* each turn takes 1 ms of host time */
    _Atomic int section; /* turns that it is still in a section which others wait for */
    _Atomic bool had_small_budget;
    bool spins;     /* every turn is a look at something that has not come */
    struct watched *word; /* what a spinning one waits for; one that computes changes it now and then */
    struct order *order;  /* NULL: nobody wants to know */
    struct counter *kicks; /* in its third turn, or in each */
    bool kicks_always, uncounted /* instructions */;
};

/* A word that one vCPU changes and another waits for; both are run by one executor. */
struct watched {
    _Atomic uint32_t value;
    int changed_at;    /* turns of who changes it */
    uint32_t seen;     /* by the other */
    int latest;        /* turns from a change until the other saw it, at most */
};

/* Who had the first turns of one executor. */
struct order {
    _Atomic int nr;
    uint8_t index[1024];
};

enum { CHANGES_EVERY = 1000 };

static inline void change_or_see(struct counter *c)
{
    struct watched *w = c->word;
    int turns = atomic_load(&c->turns);

    if (!c->spins && turns % CHANGES_EVERY == 0) {
        w->changed_at = turns;
        atomic_fetch_add(&w->value, 1);
    } else if (c->spins && w->seen != atomic_load(&w->value)) {
        int late = atomic_load(&c->kicks->turns) - w->changed_at;
        w->seen = atomic_load(&w->value);
        w->latest = late > w->latest ? late : w->latest;
    }
    if (c->spins)
        c->vcpu.watch = (struct vcpu_watch){.word = &w->value, .value = w->seen, .size = 4};
}

static inline void note_turn(struct counter *c)
{
    int n = atomic_load(&c->order->nr);

    if (n < (int)sizeof c->order->index) {
        c->order->index[n] = (uint8_t)c->vcpu.index;
        atomic_store(&c->order->nr, n + 1);
    }
}

/* One that idles has something to do then. */
static inline void kick_other(struct counter *c)
{
    if (!c->kicks_always && atomic_load(&c->turns) != 3)
        return;
    if (atomic_load(&c->kicks->work) <= 0)
        atomic_store(&c->kicks->work, 1);
    vcpu_kick(&c->kicks->vcpu);
}

static _Atomic int in_guest;

static inline enum vcpu_exit counter_run(struct vcpu *v, uint64_t budget)
{
    struct counter *c = SIM_CONTAINER_OF(v, struct counter, vcpu);

    vcpu_enter(v);
    atomic_store(&v->kick, 0);
    atomic_fetch_add(&in_guest, 1);
    atomic_fetch_add(&c->turns, 1);
    if (c->word)
        change_or_see(c);
    if (c->order)
        note_turn(c);
    if (c->kicks && !c->word)
        kick_other(c);
    if (budget == 2000)
        atomic_store(&c->had_small_budget, true);
    if (atomic_load(&c->section) > 0)
        atomic_fetch_sub(&c->section, 1);
    v->stats.insns += c->uncounted ? 0 : c->spins ? 10 : budget;
    for (uint64_t end = sim_host_ns() + 1000000; c->busy_host && sim_host_ns() < end;)
        sim_cpu_relax();
    atomic_fetch_sub(&in_guest, 1);
    vcpu_leave(v);
    if (atomic_exchange(&c->want_exclusive, false))
        return VCPU_EXIT_EXCLUSIVE;
    if (!c->keeps_deadline && atomic_load(&c->deadline) <= sim_clock_now(&v->sim->clock))
        atomic_store(&c->deadline, VTIME_NEVER);
    if (atomic_load(&c->waits))
        return VCPU_EXIT_WAIT;
    if (atomic_load(&c->work) <= 0)
        return VCPU_EXIT_IDLE;
    atomic_fetch_sub(&c->work, 1);
    return c->spins ? VCPU_EXIT_YIELD : VCPU_EXIT_BUDGET;
}

static inline enum vcpu_exit counter_run_exclusive(struct vcpu *v)
{
    struct counter *c = SIM_CONTAINER_OF(v, struct counter, vcpu);

    if (atomic_load(&in_guest) != 0)
        atomic_store(&c->overlapped, true);
    atomic_store(&c->was_exclusive, true);
    return VCPU_EXIT_BUDGET;
}

static inline bool counter_has_work(struct vcpu *v)
{
    return atomic_load(&SIM_CONTAINER_OF(v, struct counter, vcpu)->work) > 0;
}

static inline vtime_t counter_deadline(struct vcpu *v)
{
    return atomic_load(&SIM_CONTAINER_OF(v, struct counter, vcpu)->deadline);
}

static inline bool counter_may_hold_lock(struct vcpu *v)
{
    return atomic_load(&SIM_CONTAINER_OF(v, struct counter, vcpu)->section) > 0;
}

static const struct vcpu_ops counter_ops = {.name = "counter",
                                            .may_hold_lock = counter_may_hold_lock,
                                            .run = counter_run,
                                            .run_exclusive = counter_run_exclusive,
                                            .has_work = counter_has_work,
                                            .deadline = counter_deadline};

enum { NR_COUNTERS = 32 };

struct fixture {
    const struct sim_ranks_ops *ranks; /* NULL: one rank */
    struct sim *sim;
    struct counter c[NR_COUNTERS];
    struct executor_group *group;
    struct start_log *log;
    unsigned spares;
};

/* What on_start was told. */
struct start_log {
    struct fixture *fixture;
    _Atomic int calls[4];
    _Atomic bool late; /* a vCPU had a turn before */
};

static inline void log_start(void *opaque, unsigned executor)
{
    struct start_log *log = opaque;

    atomic_fetch_add(&log->calls[executor], 1);
    if (atomic_load(&log->fixture->c[executor].turns) != 0)
        atomic_store(&log->late, true);
}

static inline void create(struct fixture *f, unsigned harts, unsigned threads)
{
    struct executor_config config = {.nr_threads = threads,
                                     .nr_spare = f->spares,
                                     .budget = 1000,
                                     .on_start = f->log ? log_start : NULL,
                                     .on_start_opaque = f->log};

    assert_int_equal(sim_create(&f->sim), SIM_OK);
    f->sim->ranks = f->ranks;
    f->sim->ranks_opaque = f;
    for (unsigned i = 0; i < harts; i++) {
        f->c[i].vcpu.ops = &counter_ops;
        atomic_store(&f->c[i].deadline, VTIME_NEVER);
        sim_add_vcpu(f->sim, &f->c[i].vcpu);
    }
    assert_int_equal(executor_group_create(f->sim, &config, &f->group), SIM_OK);
}

static inline void start(struct fixture *f, unsigned harts, unsigned threads)
{
    create(f, harts, threads);
    assert_int_equal(executor_group_start(f->group), SIM_OK);
}

static inline void stop(struct fixture *f)
{
    sim_request_end(f->sim, SIM_END_POWEROFF, 0);
    executor_group_stop(f->group);
    executor_group_destroy(f->group);
    sim_destroy(f->sim);
}

enum { LOOK_NS = 20000 }; /* between two looks: whoever is waited for may need the core */

static inline bool eventually(_Atomic int *value, int at_least)
{
    for (uint64_t end = sim_host_ns() + 60000000000u; sim_host_ns() < end;) {
        if (atomic_load(value) >= at_least)
            return true;
        sim_thread_sleep(LOOK_NS);
    }
    return false;
}

#endif
