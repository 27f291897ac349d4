/* The progress thread: polls while nobody else does, and sleeps as long as it can.
 *
 *   others poll (ic->polls moves) -> looks again after WATCH_NS, later when they poll without a pause: it is their core
 *   nobody polls                  -> polls; nothing for SPIN_NS -> arms the bell, looks once more, sleeps
 *   rung, or every TICK_NS        -> polls; the tick is run by whoever polls next, at the latest here when the next is due
 *   others are in ic_nap          -> leaves the bell to them, and looks again after WATCH_NS
 *
 * Bell and message meet as in Dekker's algorithm: the sleeper arms and then looks for messages, the sender
 * sends and then looks whether the bell is armed. The first that rings disarms it: one system call for a sleep. */
#include <string.h>
#include <unistd.h>

#include "core_priv.h"
#include "sim-core/log.h"

enum {
    SPIN_NS = 20000,
    RESTLESS_NS = 50000, /* something is under way that only polls bring on */
    WATCH_NS = 1000000,
    WATCH_MAX_NS = 4 * WATCH_NS,
    STEADY_NS = 20000, /* between two polls of one that does nothing but run guest code on a core of its own */
    LOOK_MAX_NS = 8 * WATCH_NS,
    LAST_WORDS_NS = 200000000,
    FIRST_NAP_NS = 20000 /* doubles while nothing comes, up to nap_cap_ns */
};

static void ring(const struct ic_peer *p)
{
    atomic_fetch_add_explicit(&p->bell->rung, 1, memory_order_seq_cst);
    if (p->bell_out < 0)
        sim_word_wake(&p->bell->rung);
    else if (write(p->bell_out, "", 1) < 0) {
        /* full: it has enough to wake up for; closed: it is gone */
    }
}

void ic_bell_ring(const struct ic_peer *p)
{
    sim_fence();
    if (SIM_UNLIKELY(atomic_load_explicit(&p->bell->armed, memory_order_relaxed)) &&
        atomic_exchange_explicit(&p->bell->armed, 0, memory_order_seq_cst))
        ring(p);
}

static struct ic_bell *own_bell(struct ic *ic)
{
    return ic->peer[ic->rank].bell;
}

static void ring_own(struct ic *ic)
{
    ring(&ic->peer[ic->rank]);
}

/* Sleeps until the bell was rung more often than `rung`, or, listening, data came over TCP. */
static void sleep_for(struct ic *ic, uint32_t rung, bool listen, uint64_t max_ns)
{
    if (ic->bell_in >= 0)
        ic_sockets_sleep(ic, listen, max_ns);
    else
        sim_word_wait(&own_bell(ic)->rung, rung, sim_host_ns() + max_ns);
}

static void arm(struct ic *ic)
{
    atomic_store_explicit(&own_bell(ic)->armed, 1, memory_order_seq_cst);
    sim_fence();
}

void ic_wake(struct ic *ic)
{
    ring_own(ic);
}

static unsigned nap(struct ic *ic, uint64_t max_ns)
{
    struct ic_bell *bell = own_bell(ic);
    uint32_t rung = atomic_load_explicit(&bell->rung, memory_order_acquire);
    bool restless = true; /* somebody else has the turn and may not be looking for messages */
    unsigned n = 0;

    arm(ic);
    if (ic_turn_take(ic)) {
        n = ic_poll_in_turn(ic, IC_POLL_BATCH);
        restless = ic->transport->ops->busy(ic->transport) ||
                   atomic_load_explicit(&ic->backlog, memory_order_relaxed);
        ic_turn_leave(ic);
    }
    if (n)
        return n;
    if (max_ns > ic->nap_cap_ns)
        max_ns = ic->nap_cap_ns;
    if (restless && max_ns > RESTLESS_NS)
        max_ns = RESTLESS_NS;
    sleep_for(ic, rung, true, max_ns);
    return 0;
}

unsigned ic_nap(struct ic *ic, uint64_t max_ns)
{
    atomic_fetch_add_explicit(&ic->nappers, 1, memory_order_relaxed);
    unsigned n = nap(ic, max_ns);
    atomic_fetch_sub_explicit(&ic->nappers, 1, memory_order_relaxed);
    return n;
}

/* How often other threads have polled since the last question. */
static uint32_t others_poll(struct ic *ic, uint32_t *seen)
{
    uint32_t polls = atomic_load_explicit(&ic->polls, memory_order_relaxed), moved = polls - *seen;

    *seen = polls;
    return moved;
}

/* A poll that does not count as one of those others. */
static unsigned poll_for_others(struct ic *ic)
{
    unsigned n = 0;

    if (ic_turn_take(ic)) {
        n = ic_poll_in_turn(ic, IC_POLL_BATCH);
        ic_turn_leave(ic);
    }
    return n;
}

/* What comes over TCP does not ring, so while it leaves polling to others the progress thread must be told. */
unsigned ic_rest(struct ic *ic)
{
    arm(ic);
    unsigned n = poll_for_others(ic);
    if (!n && ic->nr_ears) {
        atomic_store_explicit(&ic->rested, true, memory_order_seq_cst);
        if (atomic_load_explicit(&ic->watching, memory_order_seq_cst))
            ring_own(ic);
    }
    return n;
}

/* Others poll: sleeps for a while, unless one of them has just stopped. */
static void watch(struct ic *ic, uint32_t rung, uint64_t max_ns)
{
    atomic_store_explicit(&ic->watching, true, memory_order_seq_cst);
    if (!atomic_exchange_explicit(&ic->rested, false, memory_order_seq_cst))
        sleep_for(ic, rung, false, max_ns);
    atomic_store_explicit(&ic->watching, false, memory_order_seq_cst);
}

/* How long to leave it to others, who polled so often in the last such span. One that was without a core for a part of it
 * may be so again, and then messages wait for our next look. */
static uint64_t next_watch(uint64_t watch_ns, uint32_t polls)
{
    if (polls < watch_ns / STEADY_NS)
        return WATCH_NS;
    return watch_ns < WATCH_MAX_NS ? 2 * watch_ns : WATCH_MAX_NS;
}

/* Polls until nothing has come for a moment: what asks one thing often asks another. */
static void serve(struct ic *ic)
{
    for (uint64_t quiet = sim_host_ns() + SPIN_NS; sim_host_ns() < quiet; sim_thread_yield())
        if (poll_for_others(ic))
            quiet = sim_host_ns() + SPIN_NS;
}

/* A thread in ic_nap hears the bell itself: sleeps for a while, longer from time to time. */
static bool others_nap(struct ic *ic, uint64_t *look_ns)
{
    if (!atomic_load_explicit(&ic->nappers, memory_order_relaxed)) {
        *look_ns = WATCH_NS;
        return false;
    }
    sim_thread_sleep(*look_ns);
    if (*look_ns < LOOK_MAX_NS)
        *look_ns *= 2;
    return true;
}

/* The last tick was not run: who naps, or polled a moment ago, does not get a core. Others must not take that for our
 * silence. */
static void tick(struct ic *ic)
{
    if (atomic_exchange_explicit(&ic->tick_due, true, memory_order_relaxed))
        poll_for_others(ic);
}

static void *progress_main(void *arg)
{
    struct ic *ic = arg;
    struct ic_bell *bell = own_bell(ic);
    uint64_t next_tick = 0, nap_ns = FIRST_NAP_NS, look_ns = WATCH_NS, watch_ns = WATCH_NS;
    uint32_t polls = 0, rung = atomic_load_explicit(&bell->rung, memory_order_acquire);
    bool watched = false; /* the last time: polls are those of that span */

    while (!atomic_load_explicit(&ic->progress_stop, memory_order_acquire)) {
        uint64_t now = sim_host_ns();
        uint32_t rung_now = atomic_load_explicit(&bell->rung, memory_order_acquire);
        if (now >= next_tick) {
            tick(ic);
            next_tick = now + IC_TICK_NS;
        }
        if (others_nap(ic, &look_ns)) {
            rung = rung_now;
            watched = false;
            continue;
        }
        uint32_t polled = others_poll(ic, &polls);
        if (polled && rung == rung_now) {
            watch_ns = watched ? next_watch(watch_ns, polled) : WATCH_NS;
            watched = true;
            watch(ic, rung, watch_ns);
            continue;
        }
        watched = false;
        if (rung != rung_now || nap(ic, nap_ns)) {
            serve(ic);
            nap_ns = FIRST_NAP_NS;
        } else if (nap_ns < IC_TICK_NS) {
            nap_ns *= 2;
        }
        rung = rung_now;
    }
    return NULL;
}

enum sim_status ic_start(struct ic *ic)
{
    atomic_store_explicit(&ic->started, true, memory_order_release);
    if (ic->manual)
        return SIM_OK;
    return sim_thread_start(&ic->progress, "ic-progress", progress_main, ic);
}

static bool all_said_bye(struct ic *ic)
{
    return atomic_load_explicit(&ic->nr_byes, memory_order_acquire) == (uint32_t)ic->nr - 1;
}

/* Nothing of ours is under way any more. */
static bool all_left(struct ic *ic)
{
    bool left = false;

    if (ic_turn_take(ic)) {
        ic_push(ic);
        left = !atomic_load_explicit(&ic->backlog, memory_order_relaxed) &&
               !ic->transport->ops->busy(ic->transport);
        ic_turn_leave(ic);
    }
    return left;
}

static void warn_of_silent_leavers(struct ic *ic)
{
    for (rank_t r = 0; r < ic->nr; r++)
        if (r != ic->rank && !atomic_load_explicit(&ic->peer[r].bye, memory_order_relaxed))
            sim_warn("%s does not end; leaving without it", ic_rank_name(ic, r));
}

static void say_bye(struct ic *ic)
{
    uint64_t deadline = sim_host_ns() + ic->config.lost_after_ns;

    ic->leaving = true;
    ic_broadcast(ic, IC_CONTROL_BYE, NULL, 0);
    enum sim_status status = ic_wait(ic, all_said_bye, deadline);
    if (status == SIM_INPROGRESS)
        warn_of_silent_leavers(ic);
    if (status == SIM_OK)
        status = ic_wait(ic, all_left, deadline);
    if (status == SIM_OK)
        return;
    ic->disorderly = true;
    /* The others must still learn why. */
    for (deadline = sim_host_ns() + LAST_WORDS_NS; !all_left(ic) && sim_host_ns() < deadline;)
        ic_nap(ic, RESTLESS_NS);
}

void ic_stop(struct ic *ic)
{
    if (!atomic_load_explicit(&ic->started, memory_order_relaxed))
        return;
    if (!ic->manual)
        say_bye(ic);
    atomic_store_explicit(&ic->stopped, true, memory_order_release);
    atomic_store_explicit(&ic->progress_stop, true, memory_order_release);
    ring_own(ic);
    sim_thread_join(&ic->progress);
}
