/* An executor none of whose vCPUs wants a turn: it looks for a while, then sleeps. */
#include "executor_priv.h"
#include "sim-core/timer.h"

enum {
    SPIN_MAX_NS = 200000, /* with a core to itself, on several ranks, where waiting goes round */
    DESCHEDULED_NS = 30000, /* between two looks at the clock: another thread had the core */
    /* Between two looks at what they wait for, when nobody else is there; longer each time. */
    REST_SLEEP_NS = 50000,
    REST_SLEEP_MAX_NS = 800000
};

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
void executor_doze(struct executor *ex, vtime_t until)
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
void executor_sleep(struct executor *ex, vtime_t until)
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
    executor_doze(ex, until);
    atomic_fetch_sub_explicit(&ex->group->sleepers, 1, memory_order_relaxed);
}

/* One of those that rest can go on, or somebody woke this executor, before a short spin or the time is over. Who else wants
 * the core has it meanwhile: that may be who is waited for. Such time does not count. */
static bool rest_ends_soon(const struct executor *ex, vtime_t until)
{
    const struct sim_clock *clock = &ex->group->sim->clock;
    uint64_t spun = 0, now = sim_host_ns(), last;

    do {
        if (atomic_load_explicit(&ex->woken, memory_order_acquire) ||
            executor_next_asked(ex, READY_NONE, ASK_READY) != READY_NONE || until <= sim_clock_now(clock))
            return true;
        sim_thread_yield();
        last = now;
        now = sim_host_ns();
        spun += now - last < DESCHEDULED_NS ? now - last : DESCHEDULED_NS / 10;
    } while (spun < ex->rest_spin_ns);
    return false;
}

/* A wait that a longer spin would have spared a sleep makes the next spin longer; one that it would not have, half as long:
 * it may have been a hiccup of the host. */
uint64_t executor_fit_rest_spin(uint64_t spin_ns, uint64_t waited_ns)
{
    uint64_t fit = waited_ns > SPIN_MAX_NS ? spin_ns / 2 : waited_ns > SPIN_MAX_NS / 2 ? SPIN_MAX_NS : 2 * waited_ns;

    return fit < REST_SPIN_NS ? REST_SPIN_NS : fit;
}

void executor_rest_is_over(struct executor *ex, bool by_word)
{
    if (by_word && ex->rest_from_ns)
        ex->rest_spin_ns = executor_fit_rest_spin(ex->rest_spin_ns, sim_host_ns() - ex->rest_from_ns);
    ex->rest_ns = ex->rest_from_ns = 0;
}

/* All that are here rest or are parked, and of each that rests it is known what it waits for. The time counts as budgets
 * of others. */
void executor_watch_resting(struct executor *ex)
{
    vtime_t deadline = executor_first_deadline(ex), now;

    if (!ex->rest_from_ns)
        ex->rest_from_ns = sim_host_ns();
    if (!ex->rest_ns && rest_ends_soon(ex, deadline))
        return;
    now = sim_clock_now(&ex->group->sim->clock);
    if (deadline <= now)
        return;
    ex->rest_ns = !ex->rest_ns ? REST_SLEEP_NS : ex->rest_ns < REST_SLEEP_MAX_NS ? 2 * ex->rest_ns : ex->rest_ns;
    uint64_t sleep_ns = deadline - now < ex->rest_ns ? deadline - now : ex->rest_ns;
    atomic_fetch_add_explicit(&ex->group->sleepers, 1, memory_order_relaxed);
    executor_doze(ex, now + sleep_ns);
    atomic_fetch_sub_explicit(&ex->group->sleepers, 1, memory_order_relaxed);
    ex->since_all += 1 + (unsigned)(sleep_ns / BUDGET_NS);
}
