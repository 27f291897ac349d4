/* Kicking, waiting for and stopping vCPUs: the safepoint protocol of vcpu.h. */
#include "sim-core/vcpu.h"

#include "sim-core/log.h"

static void set_kick(struct vcpu *v)
{
    atomic_store_explicit(&v->kick, 1, memory_order_seq_cst);
    if (v->ops && v->ops->interrupt)
        v->ops->interrupt(v);
}

void vcpu_kick(struct vcpu *v)
{
    set_kick(v);
    /* K1: announced before the waker is read; pairs with K2 */
    atomic_fetch_add_explicit(&v->kicking, 1, memory_order_seq_cst);
    struct vcpu_waker *w = atomic_load_explicit(&v->waker, memory_order_seq_cst);

    if (w)
        w->wake(w, v);
    atomic_fetch_sub_explicit(&v->kicking, 1, memory_order_release);
}

static bool is_running(const struct vcpu *v)
{
    return atomic_load_explicit(&v->running, memory_order_seq_cst);
}

void vcpu_kick_running(struct vcpu *v)
{
    /* W1: the request is visible before we look at running; pairs with E1 */
    if (is_running(v))
        set_kick(v);
}

void vcpu_detach_waker(struct vcpu *v)
{
    /* K2: a kick that still saw the waker has been counted; pairs with K1 */
    atomic_store_explicit(&v->waker, NULL, memory_order_seq_cst);
    while (atomic_load_explicit(&v->kicking, memory_order_seq_cst))
        sim_thread_yield();
}

static bool other_is_exclusive(const struct vcpu *v)
{
    struct vcpu *x = atomic_load_explicit(&v->sim->exclusive, memory_order_seq_cst);

    return x && x != v;
}

void vcpu_enter(struct vcpu *v)
{
    for (;;) {
        /* E1: running is visible before we look at kick or exclusive; pairs with W1 and X1 */
        atomic_store_explicit(&v->running, 1, memory_order_seq_cst);
        if (SIM_LIKELY(!other_is_exclusive(v)))
            return;
        atomic_store_explicit(&v->running, 0, memory_order_seq_cst);
        /* Sleep until the exclusive one is done. */
        sim_mutex_lock(&v->sim->exclusive_lock);
        sim_mutex_unlock(&v->sim->exclusive_lock);
    }
}

void vcpu_leave(struct vcpu *v)
{
    atomic_store_explicit(&v->running, 0, memory_order_release);
}

void vcpu_clear_kick(struct vcpu *v)
{
    /* C1: cleared before exclusive is read; pairs with X2. Otherwise X2's kick could get lost, and the
     * exclusive one would wait until we leave for another reason. */
    atomic_store_explicit(&v->kick, 0, memory_order_seq_cst);
    if (SIM_LIKELY(!other_is_exclusive(v)))
        return;
    vcpu_leave(v);
    vcpu_enter(v);
}

/* Spins briefly, then gives the core away: the other vCPU's thread may need this one. */
static void relax(unsigned *spins)
{
    if (++*spins < 2000)
        sim_cpu_relax();
    else
        sim_thread_yield();
}

void vcpu_wait(struct vcpu *self, struct vcpu *target, bool (*served)(struct vcpu *, void *),
               void *opaque)
{
    bool was_running = self && atomic_load_explicit(&self->running, memory_order_relaxed);
    unsigned spins = 0;

    /* W1: the request is visible before we look at running; pairs with E1 */
    if (target == self || !is_running(target))
        return;
    set_kick(target);
    if (was_running)
        vcpu_leave(self);
    while (is_running(target) && !served(target, opaque))
        relax(&spins);
    if (was_running)
        vcpu_enter(self);
}

/* --- who is running --- */

void sim_set_turns(struct sim *sim, uint32_t nr)
{
    for (uint32_t i = 0; i < SIM_MAX_TURNS; i++)
        atomic_store_explicit(&sim->turn[i].vcpu, NULL, memory_order_relaxed);
    atomic_store_explicit(&sim->nr_turns, nr <= SIM_MAX_TURNS ? nr : 0, memory_order_seq_cst);
}

void sim_turn_begin(struct sim *sim, uint32_t n, struct vcpu *v)
{
    v->turn = n < SIM_MAX_TURNS ? n + 1 : 0;
    /* T1: before it runs; pairs with T2 */
    if (n < SIM_MAX_TURNS)
        atomic_store_explicit(&sim->turn[n].vcpu, v, memory_order_seq_cst);
}

static struct vcpu *turn_of(const struct sim *sim, uint32_t n)
{
    return atomic_load_explicit(&sim->turn[n].vcpu, memory_order_seq_cst);
}

struct vcpu *sim_next_running(const struct sim *sim, uint32_t *at)
{
    /* T2: who is not seen here is told later to run; pairs with T1 */
    uint32_t nr = atomic_load_explicit(&sim->nr_turns, memory_order_seq_cst);

    while (*at < (nr ? nr : sim->nr_vcpus)) {
        struct vcpu *v = nr ? turn_of(sim, *at) : sim->vcpus[*at];
        ++*at;
        if (v && is_running(v))
            return v;
    }
    return NULL;
}

void sim_exclusive_begin(struct sim *sim, struct vcpu *self)
{
    static struct vcpu outsider; /* an identity only: a non-vCPU thread is exclusive */
    unsigned spins = 0;
    struct vcpu *v;

    SIM_BUG_ON(self && atomic_load_explicit(&self->running, memory_order_relaxed),
               "vCPU %u asks for exclusiveness while running", self->index);
    sim_mutex_lock(&sim->exclusive_lock);
    /* X1: visible before we look at running; pairs with E1 */
    atomic_store_explicit(&sim->exclusive, self ? self : &outsider, memory_order_seq_cst);
    /* X2: the kicks come after it; pairs with C1 */
    for (uint32_t at = 0; (v = sim_next_running(sim, &at));)
        if (v != self)
            set_kick(v);
    for (uint32_t at = 0; (v = sim_next_running(sim, &at));)
        while (v != self && is_running(v))
            relax(&spins);
}

void sim_exclusive_end(struct sim *sim)
{
    atomic_store_explicit(&sim->exclusive, NULL, memory_order_seq_cst);
    sim_mutex_unlock(&sim->exclusive_lock);
}
