/* vCPUs that go to another executor: to one that has nothing to do, and from one that shall not work. */
#include "executor_priv.h"

enum {
    STEAL_TRIES = 8
};

static void move(struct executor *to, struct executor *from, struct vcpu *v)
{
    /* From here kicks come to us; what was posted before is seen when we run it. */
    atomic_store_explicit(&v->waker, &to->waker, memory_order_seq_cst);
    ready_set_take(&from->ready, v->index);
    ready_set_take(&from->urgent, v->index);
    ready_set_take(&from->resting, v->index);
    atomic_fetch_sub_explicit(&from->nr, 1, memory_order_relaxed);
    atomic_fetch_add_explicit(&to->nr, 1, memory_order_relaxed);
    ready_set_add(&to->ready, v->index);
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
        if (!seat_take(g, n))
            continue;
        struct vcpu *v = g->sim->vcpus[n];
        bool good = executor_has(victim, v) && !g->seat[n].spins && ready_set_has(&victim->ready, n);
        if (good)
            move(ex, victim, v);
        seat_leave(g, n);
        if (good)
            return true;
    }
    return false;
}

bool executor_take_work(struct executor *ex)
{
    struct executor_group *g = ex->group;

    for (unsigned i = 1; i < g->nr; i++)
        if (take_from(ex, &g->ex[(ex->index + i) % g->nr]))
            return true;
    return false;
}

/* When vCPUs wait for their turn here while a sibling sleeps, it shall come and take one. */
void executor_offer_work(struct executor *ex, uint32_t n)
{
    struct executor_group *g = ex->group;

    if (!atomic_load_explicit(&g->sleepers, memory_order_relaxed) || ready_set_next(&ex->ready, n) == n)
        return;
    for (unsigned k = 1; k < g->nr; k++) {
        struct executor *sibling = &g->ex[(ex->index + k) % g->nr];
        if (executor_works(sibling) && (atomic_load_explicit(&sibling->sleeping, memory_order_relaxed) ||
                               atomic_load_explicit(&sibling->napping, memory_order_relaxed))) {
            executor_rouse(sibling);
            return;
        }
    }
}

/* --- standing aside --- */

/* The one with the fewest vCPUs among those that work; not `but`, which may be told to work at any time. */
struct executor *executor_least(struct executor_group *g, const struct executor *but)
{
    struct executor *best = &g->ex[0];

    for (unsigned i = 1; i < g->nr; i++)
        if (&g->ex[i] != but && executor_works(&g->ex[i]) && atomic_load_explicit(&g->ex[i].nr, memory_order_relaxed) <
                                    atomic_load_explicit(&best->nr, memory_order_relaxed))
            best = &g->ex[i];
    return best;
}

/* Whoever has its seat is about to take it away, or looks at its deadline: then it is asked again. */
static bool hand_on(struct executor *ex, struct vcpu *v)
{
    struct executor_group *g = ex->group;
    struct executor *to = executor_least(g, ex);

    if (!seat_take(g, v->index))
        return false;
    bool had = executor_has(ex, v);
    if (had)
        move(to, ex, v); /* ready, too: it parks itself where it is now */
    seat_leave(g, v->index);
    if (had)
        executor_rouse(to);
    return true;
}

static void hand_on_all(struct executor *ex)
{
    struct sim *sim = ex->group->sim;

    for (uint32_t i = 0; i < sim->nr_vcpus; i++) {
        executor_put_deadline(ex, i, VTIME_NEVER);
        while (executor_has(ex, sim->vcpus[i]) && !hand_on(ex, sim->vcpus[i]))
            sim_thread_yield();
    }
    /* Kicks that came here after their vCPU had left, and vCPUs of a sibling that saw us work when it began to stand aside, too. */
    for (uint32_t n; (n = ready_set_next(&ex->ready, READY_NONE)) != READY_NONE;) {
        struct vcpu *v = sim->vcpus[n];
        if (!executor_has(ex, v))
            executor_pass_on(ex, v);
        else if (!hand_on(ex, v))
            sim_thread_yield();
    }
}

/* Its core is another rank's: no turn, no look at messages, no deadline. */
void executor_stand_aside(struct executor *ex)
{
    atomic_store_explicit(&ex->turn, READY_NONE, memory_order_relaxed);
    /* Cleared before looking, as in find_work. */
    atomic_store_explicit(&ex->woken, false, memory_order_seq_cst);
    hand_on_all(ex);
    if (!executor_works(ex) && !executor_must_park(ex->group) && !sim_ending(ex->group->sim))
        executor_doze(ex, VTIME_NEVER);
}
