/* Guest-time timers: a thin layer over the I/O loop's, or a heap that the executor serves. */
#include "sim-core/timer.h"

#include "sim-core/heap.h"
#include "sim-core/alloc.h"
#include "sim-core/log.h"
#include "sim-core/vcpu.h"

struct sim_timer {
    struct sim *sim;
    struct heap_node node;     /* VIRTUAL */
    struct sim_io_timer *host; /* HOST */
    vtime_t deadline;          /* HOST: as armed last; under the timers' lock, as what `host` is armed for */
    struct sim_timer *next, **link; /* of all timers; under the timers' lock */
    void (*fn)(void *opaque);
    void *opaque;
};

/* Owner: `lock`. Devices arm under their own lock, hence the rank. */
struct sim_timers {
    struct sim_mutex lock;
    struct heap heap;
    struct sim_timer *all;
    _Atomic vtime_t next; /* key of the heap's first; written under lock */
};

struct sim_timers *sim_timers_create(void)
{
    struct sim_timers *ts = sim_new(struct sim_timers);

    sim_mutex_init(&ts->lock, SIM_RANK_TIMER);
    atomic_init(&ts->next, VTIME_NEVER);
    return ts;
}

void sim_timers_destroy(struct sim_timers *ts)
{
    SIM_BUG_ON(ts->heap.nr, "a simulation is destroyed with %u armed timers", ts->heap.nr);
    heap_fini(&ts->heap);
    sim_mutex_fini(&ts->lock);
    sim_free(ts);
}

/* Once fired it is not armed: a shift of the clock must not fire it again. */
static void host_fired(void *opaque)
{
    struct sim_timer *t = opaque;

    sim_mutex_lock(&t->sim->timers->lock);
    if (t->deadline <= sim_clock_now(&t->sim->clock))
        t->deadline = VTIME_NEVER;
    sim_mutex_unlock(&t->sim->timers->lock);
    t->fn(t->opaque);
}

struct sim_timer *sim_timer_create(struct sim *sim, void (*fn)(void *opaque), void *opaque)
{
    struct sim_timer *t = sim_new(struct sim_timer);

    *t = (struct sim_timer){.sim = sim, .node = {0, HEAP_OUT}, .fn = fn, .opaque = opaque,
                            .deadline = VTIME_NEVER};
    t->host = sim_io_timer_create(sim->io, host_fired, t);
    sim_mutex_lock(&sim->timers->lock);
    t->next = sim->timers->all;
    t->link = &sim->timers->all;
    if (t->next)
        t->next->link = &t->next;
    sim->timers->all = t;
    sim_mutex_unlock(&sim->timers->lock);
    return t;
}

static void unlist(struct sim_timer *t)
{
    sim_mutex_lock(&t->sim->timers->lock);
    *t->link = t->next;
    if (t->next)
        t->next->link = t->link;
    sim_mutex_unlock(&t->sim->timers->lock);
}

static void set_next(struct sim_timers *ts)
{
    const struct heap_node *first = heap_first(&ts->heap);

    atomic_store_explicit(&ts->next, first ? first->key : VTIME_NEVER, memory_order_release);
}

static void place(struct sim_timer *t, vtime_t deadline)
{
    struct sim_timers *ts = t->sim->timers;

    sim_mutex_lock(&ts->lock);
    heap_remove(&ts->heap, &t->node);
    if (deadline != VTIME_NEVER)
        heap_insert(&ts->heap, &t->node, deadline);
    set_next(ts);
    sim_mutex_unlock(&ts->lock);
}

static void arm_host_locked(struct sim_timer *t)
{
    const struct sim_clock *clock = &t->sim->clock;
    uint64_t base = atomic_load_explicit(&clock->host_base_ns, memory_order_relaxed);

    if (t->deadline > VTIME_NEVER - base || atomic_load_explicit(&clock->stopped, memory_order_relaxed))
        sim_io_timer_cancel(t->host); /* never, or not before the clock goes on */
    else
        sim_io_timer_arm(t->host, base + t->deadline);
}

void sim_timer_arm(struct sim_timer *t, vtime_t deadline)
{
    if (t->sim->clock.mode == SIM_CLOCK_VIRTUAL) {
        place(t, deadline);
        return;
    }
    sim_mutex_lock(&t->sim->timers->lock);
    t->deadline = deadline;
    arm_host_locked(t);
    sim_mutex_unlock(&t->sim->timers->lock);
}

void sim_timer_arm_from_outside(struct sim_timer *t, vtime_t deadline)
{
    struct sim *sim = t->sim;

    sim_timer_arm(t, deadline);
    if (sim->clock.mode == SIM_CLOCK_VIRTUAL && sim->nr_vcpus)
        vcpu_kick(sim->vcpus[0]); /* one executor runs all */
}

void sim_timers_shifted(struct sim *sim)
{
    struct sim_timers *ts = sim->timers;

    if (sim->clock.mode != SIM_CLOCK_HOST)
        return;
    sim_mutex_lock(&ts->lock);
    for (struct sim_timer *t = ts->all; t; t = t->next)
        arm_host_locked(t);
    sim_mutex_unlock(&ts->lock);
}

void sim_time_stop(struct sim *sim)
{
    sim_clock_stop(&sim->clock);
    sim_timers_shifted(sim);
}

void sim_timer_cancel(struct sim_timer *t)
{
    sim_timer_arm(t, VTIME_NEVER);
}

void sim_timer_destroy(struct sim_timer *t)
{
    place(t, VTIME_NEVER);
    unlist(t);
    sim_io_timer_destroy(t->host);
    sim_free(t);
}

vtime_t sim_timers_next(const struct sim *sim)
{
    return atomic_load_explicit(&sim->timers->next, memory_order_acquire);
}

void sim_timers_run(struct sim *sim)
{
    struct sim_timers *ts = sim->timers;
    vtime_t now = sim_clock_now(&sim->clock);

    if (sim_timers_next(sim) > now)
        return;
    sim_mutex_lock(&ts->lock);
    /* At most one round: a timer that arms itself for the past again waits for the next turn. */
    for (uint32_t left = ts->heap.nr; left && heap_first(&ts->heap); left--) {
        struct heap_node *n = heap_first(&ts->heap);
        if (n->key > now)
            break;
        struct sim_timer *t = SIM_CONTAINER_OF(n, struct sim_timer, node);
        heap_remove(&ts->heap, n);
        set_next(ts);
        sim_mutex_unlock(&ts->lock);
        t->fn(t->opaque);
        sim_mutex_lock(&ts->lock);
    }
    sim_mutex_unlock(&ts->lock);
}
