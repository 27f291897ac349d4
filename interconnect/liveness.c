/* Who is still there. The tick, four times a second, is run by whoever polls:
 *
 *   process of a rank of this host gone (pidfd)   -> lost
 *   connection error, malformed message           -> lost (the transport or the core says so)
 *   nothing heard, by ticks of ours               -> warning, later lost
 *   a rank says that another is lost              -> lost
 *
 * Silence counts from a rank's first heartbeat (its progress thread has started) to its good-bye. It is counted in
 * our ticks, not by the clock: who was stopped itself must not take the time for the others' silence.
 *
 * All ranks learn of a loss; the lowest one that is left logs it. Of silence each host warns once. */
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "core_priv.h"
#include "sim-core/log.h"

struct lost_message {
    rank_t rank;
    char reason[IC_REASON];
};

static bool is_lost(struct ic *ic, rank_t r)
{
    return atomic_load_explicit(&ic->peer[r].lost, memory_order_relaxed);
}

static bool said_bye(struct ic *ic, rank_t r)
{
    return atomic_load_explicit(&ic->peer[r].bye, memory_order_relaxed);
}

static rank_t lowest_left(struct ic *ic)
{
    rank_t r = 0;

    while (r < ic->nr && r != ic->rank && is_lost(ic, r))
        r++;
    return r;
}

/* The first loss ends the run: one message is enough. */
static void announce(struct ic *ic, rank_t rank, const char *reason)
{
    if (atomic_load_explicit(&ic->a_rank_is_lost, memory_order_relaxed))
        return;
    snprintf(ic->why, sizeof ic->why, "%s is lost: %s", rank < 0 ? "a rank" : ic->peer[rank].name, reason);
    if (lowest_left(ic) == ic->rank)
        sim_error("%s", ic->why);
    atomic_store_explicit(&ic->a_rank_is_lost, true, memory_order_release);
    if (ic->on_lost)
        ic->on_lost(ic->on_lost_opaque, rank, ic->why);
}

static bool mark_lost(struct ic *ic, rank_t rank, const char *reason)
{
    struct ic_peer *p = &ic->peer[rank];

    if (is_lost(ic, rank) || said_bye(ic, rank) ||
        atomic_load_explicit(&ic->stopped, memory_order_acquire))
        return false;
    atomic_store_explicit(&p->lost, true, memory_order_relaxed);
    ic_drop_outbox(ic, p);
    announce(ic, rank, reason);
    return true;
}

static struct lost_message lost_message(rank_t rank, const char *reason)
{
    struct lost_message m = {.rank = rank};

    snprintf(m.reason, sizeof m.reason, "%s", reason);
    return m;
}

void ic_lose(struct ic *ic, rank_t rank, const char *reason)
{
    struct lost_message m = lost_message(rank, reason);

    if (!mark_lost(ic, rank, reason))
        return;
    for (rank_t r = 0; r < ic->nr; r++)
        if (r != ic->rank && !is_lost(ic, r) && !said_bye(ic, r))
            ic_send_small(ic, r, IC_CONTROL_LOST, &m, sizeof m);
}

void ic_suspect(struct ic *ic, rank_t rank, const char *reason)
{
    if (*ic->suspect_reason)
        return;
    ic->suspect = rank >= 0 && rank < ic->nr ? rank : -1;
    snprintf(ic->suspect_reason, sizeof ic->suspect_reason, "%s", reason);
    atomic_store_explicit(&ic->tick_due, true, memory_order_relaxed);
}

static void lose_suspect(struct ic *ic)
{
    if (ic->suspect >= 0)
        ic_lose(ic, ic->suspect, ic->suspect_reason);
    else if (!atomic_load_explicit(&ic->stopped, memory_order_acquire))
        announce(ic, -1, ic->suspect_reason);
    *ic->suspect_reason = 0;
}

static void on_lost_message(void *opaque, rank_t from, const void *data, uint32_t len)
{
    struct ic *ic = opaque;
    const struct lost_message *m = data;
    char reason[IC_REASON + 64];

    if (len != sizeof *m || m->rank < 0 || m->rank >= ic->nr)
        return;
    if (m->rank == ic->rank)
        snprintf(reason, sizeof reason, "rank %d has given it up: %.*s", from, IC_REASON - 1, m->reason);
    else
        snprintf(reason, sizeof reason, "%.*s", IC_REASON - 1, m->reason);
    mark_lost(ic, m->rank, reason);
}

static void on_heartbeat(void *opaque, rank_t from, const void *data, uint32_t len)
{
    struct ic *ic = opaque;

    (void)data, (void)len;
    ic->peer[from].beats = true;
}

/* Something was heard of the peer. */
static void end_silence(struct ic_peer *p)
{
    if (p->warned)
        sim_info("%s is back after %.1f s", p->name, (double)p->silent_ns / 1e9);
    p->heard = p->warned = false;
    p->silent_ns = 0;
}

static void on_bye(void *opaque, rank_t from, const void *data, uint32_t len)
{
    struct ic *ic = opaque;

    (void)data, (void)len;
    end_silence(&ic->peer[from]); /* no tick looks at it any more */
    atomic_store_explicit(&ic->peer[from].bye, true, memory_order_relaxed);
    atomic_fetch_add_explicit(&ic->nr_byes, 1, memory_order_release);
}

static void on_credit(void *opaque, rank_t from, const void *data, uint32_t len)
{
    (void)opaque, (void)from, (void)data, (void)len; /* the core has taken the credits */
}

static bool process_gone(const struct ic_peer *p)
{
    struct pollfd fd = {.fd = p->pidfd, .events = POLLIN};

    return p->pidfd >= 0 && poll(&fd, 1, 0) == 1;
}

static bool is_silent(struct ic *ic, const struct ic_peer *p)
{
    return p->silent_ns >= ic->config.warn_after_ns;
}

/* One warning from each host is enough. */
static bool speaks_for_host(struct ic *ic)
{
    for (rank_t r = 0; r < ic->rank; r++)
        if (ic_same_host(ic, r, ic->rank) && !is_lost(ic, r) && !is_silent(ic, &ic->peer[r]))
            return false;
    return true;
}

static void listen_to(struct ic *ic, struct ic_peer *p, uint64_t elapsed_ns)
{
    char reason[IC_REASON];

    if (p->heard) {
        end_silence(p);
        return;
    }
    if (!p->beats)
        return;
    p->silent_ns += elapsed_ns;
    if (p->silent_ns >= ic->config.lost_after_ns) {
        snprintf(reason, sizeof reason, "nothing was heard of it for %.1f s: it hangs%s", (double)p->silent_ns / 1e9,
                 ic_same_host(ic, p->rank, ic->rank) ? "" : ", or the network between its host and this one is blocked");
        ic_lose(ic, p->rank, reason);
        /* Should it come back it must not go on alone. */
        struct lost_message m = lost_message(p->rank, reason);
        ic_send_urgent(ic, p->rank, IC_CONTROL_LOST, &m, sizeof m);
    } else if (is_silent(ic, p) && !p->warned && speaks_for_host(ic)) {
        p->warned = true;
        sim_warn("nothing was heard of %s for %.1f s; waiting for it up to %.0f s", p->name,
                 (double)p->silent_ns / 1e9, (double)ic->config.lost_after_ns / 1e9);
    }
}

static void check(struct ic *ic, struct ic_peer *p, uint64_t elapsed_ns)
{
    if (p->rank == ic->rank || is_lost(ic, p->rank) || said_bye(ic, p->rank))
        return;
    if (process_gone(p)) {
        ic_lose(ic, p->rank, "its process ended");
        return;
    }
    listen_to(ic, p, elapsed_ns);
    if (atomic_load_explicit(&ic->started, memory_order_relaxed))
        ic_send_urgent(ic, p->rank, IC_CONTROL_HEARTBEAT, NULL, 0);
}

void ic_tick(struct ic *ic)
{
    uint64_t now = sim_host_ns(), elapsed = now - ic->last_tick_ns;

    atomic_store_explicit(&ic->tick_due, false, memory_order_relaxed);
    if (elapsed > IC_TICK_NS)
        elapsed = IC_TICK_NS;
    ic->last_tick_ns = now;
    if (*ic->suspect_reason)
        lose_suspect(ic);
    ic_sockets_check(ic);
    for (rank_t r = 0; r < ic->nr; r++)
        check(ic, &ic->peer[r], elapsed);
}

/* Without pidfds (Linux before 5.3) silence tells. */
void ic_watch_process(struct ic *ic, rank_t rank, int pid)
{
    ic->peer[rank].pidfd = (int)syscall(SYS_pidfd_open, pid, 0);
}

void ic_liveness_init(struct ic *ic)
{
    ic->last_tick_ns = sim_host_ns();
    ic_register(ic, IC_CONTROL_CREDIT, "credit", on_credit, ic);
    ic_register(ic, IC_CONTROL_HEARTBEAT, "heartbeat", on_heartbeat, ic);
    ic_register(ic, IC_CONTROL_BYE, "bye", on_bye, ic);
    ic_register(ic, IC_CONTROL_LOST, "lost", on_lost_message, ic);
}

void ic_liveness_fini(struct ic *ic)
{
    for (rank_t r = 0; r < ic->nr; r++)
        if (ic->peer[r].pidfd >= 0)
            close(ic->peer[r].pidfd);
}
