/* Guest time: follows the host clock, or counts instructions. */
#include "sim-core/clock.h"

#include "sim-core/compiler.h"
#include "sim-core/lock.h"

void sim_clock_init(struct sim_clock *c, enum sim_clock_mode mode)
{
    c->mode = mode;
    atomic_init(&c->host_base_ns, sim_host_ns());
    atomic_init(&c->stopped, false);
    c->stopped_ns = 0;
    atomic_init(&c->virt_ns, 0);
    c->ps_per_insn = 1000;
    c->carry_ps = 0;
}

vtime_t sim_clock_now(const struct sim_clock *c)
{
    if (c->mode == SIM_CLOCK_HOST) {
        if (SIM_UNLIKELY(atomic_load_explicit(&c->stopped, memory_order_acquire)))
            return c->stopped_ns;
        return sim_host_ns() - atomic_load_explicit(&c->host_base_ns, memory_order_relaxed);
    }
    return atomic_load_explicit(&c->virt_ns, memory_order_relaxed);
}

void sim_clock_stop(struct sim_clock *c)
{
    if (c->mode != SIM_CLOCK_HOST || atomic_load_explicit(&c->stopped, memory_order_relaxed))
        return;
    c->stopped_ns = sim_clock_now(c);
    atomic_store_explicit(&c->stopped, true, memory_order_release);
}

void sim_clock_go(struct sim_clock *c)
{
    if (!atomic_load_explicit(&c->stopped, memory_order_relaxed))
        return;
    atomic_store_explicit(&c->host_base_ns, sim_host_ns() - c->stopped_ns, memory_order_relaxed);
    atomic_store_explicit(&c->stopped, false, memory_order_release);
}

void sim_clock_go_with(struct sim_clock *c, uint64_t host_base_ns)
{
    atomic_store_explicit(&c->host_base_ns, host_base_ns, memory_order_relaxed);
    atomic_store_explicit(&c->stopped, false, memory_order_release);
}

void sim_clock_set(struct sim_clock *c, vtime_t now)
{
    c->stopped_ns = now;
    atomic_store_explicit(&c->virt_ns, now, memory_order_relaxed);
}

void sim_clock_charge(struct sim_clock *c, uint64_t insns)
{
    if (c->mode != SIM_CLOCK_VIRTUAL)
        return;
    c->carry_ps += insns * c->ps_per_insn;
    atomic_fetch_add_explicit(&c->virt_ns, c->carry_ps / 1000, memory_order_relaxed);
    c->carry_ps %= 1000;
}

void sim_clock_skip_to(struct sim_clock *c, vtime_t t)
{
    if (c->mode == SIM_CLOCK_VIRTUAL && t > atomic_load_explicit(&c->virt_ns, memory_order_relaxed))
        atomic_store_explicit(&c->virt_ns, t, memory_order_relaxed);
}
