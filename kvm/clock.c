/* The guest's clocks that are KVM's: kvmclock and TSCs. They stand while the machine does, and whenever they go on they follow the
 * simulation's clock, by which devices keep time:
 *
 *   one rank      kvmclock := guest time + what it was ahead when both went last     TSC: where it stood
 *   several       kvmclock := guest time    TSC := guest time at the TSC's rate, by an offset to the host's (exact on one host)
 *
 * So it does not matter how long anything takes between one clock's stop or start and the other's: no move and no image lets them
 * part. What one adjusts about the other as they go (NTP) stays on one rank, since a guest's clock must not go back, and is made up for
 * on several. Some hosts give every guest their own TSC (hkvm_has_fixed_tsc): there it is in step on one host, and nobody can set it. */
#include <string.h>
#include <x86intrin.h>

#include "hkvm_priv.h"
#include "sim-core/log.h"

enum { MSR_TSC = 0x10 };

/* --- kvmclock beside the simulation's --- */

/* How often both are read: the closest two count, so that no thread that had to wait between them does harm. */
enum { LOOKS = 8 };

static bool clock_stands(const struct hkvm_machine *m)
{
    return atomic_load_explicit(&m->sim->clock.stopped, memory_order_acquire);
}

/* Both go. Not less than it is ahead: a guest's clock must not go back. */
static bool measure(struct hkvm_machine *m)
{
    vtime_t closest = VTIME_NEVER;

    for (unsigned i = 0; i < LOOKS; i++) {
        struct kvm_clock_data clock = {0};
        vtime_t before = sim_clock_now(&m->sim->clock);
        if (ioctl(m->vm, KVM_GET_CLOCK, &clock) < 0)
            return false;
        vtime_t took = sim_clock_now(&m->sim->clock) - before;
        if (took < closest) {
            closest = took;
            m->clock_ahead_ns = clock.clock - before;
        }
    }
    return true;
}

bool hkvm_clock_get(struct hkvm_machine *m, struct hkvm_vm_state *s)
{
    if (!clock_stands(m) && !measure(m))
        return false;
    s->clock_ahead_ns = m->clock_ahead_ns;
    s->clock_ns = sim_clock_now(&m->sim->clock) + m->clock_ahead_ns;
    return true;
}

/* kvmclock is as far ahead as it shall be. No vCPU runs: done again when this thread had to wait meanwhile. */
static bool set_clock(struct hkvm_machine *m)
{
    enum { SOON_NS = 50000 };
    vtime_t began, took = SOON_NS + 1;

    for (unsigned i = 0; i < LOOKS && took > SOON_NS; i++) {
        began = sim_clock_now(&m->sim->clock);
        struct kvm_clock_data clock = {.clock = began + m->clock_ahead_ns};
        if (ioctl(m->vm, KVM_SET_CLOCK, &clock) < 0)
            return false;
        took = sim_clock_now(&m->sim->clock) - began;
    }
    return true;
}

bool hkvm_clock_set(struct hkvm_machine *m, const struct hkvm_vm_state *s)
{
    const bool is_known = s->clock_ahead_ns != HKVM_AHEAD_UNKNOWN;

    m->clock_ahead_ns = is_known ? s->clock_ahead_ns : s->clock_ns - sim_clock_now(&m->sim->clock);
    return set_clock(m);
}

/* --- standing --- */

void hkvm_machine_clock_stop(struct hkvm_machine *m)
{
    struct hkvm_vm_state now;

    if (!hkvm_clock_get(m, &now))
        sim_warn("KVM: the guest's clock cannot be read: %m");
    for (uint32_t i = 0; i < m->nr_added; i++)
        if (m->vcpu[i]->vcpu.remote || !hkvm_msr_read(m->vcpu[i], MSR_TSC, &m->vcpu[i]->stopped_tsc))
            m->vcpu[i]->stopped_tsc = 0;
}

/* On several ranks each heard of the stop at a moment of its own, and hears of this at another. */
void hkvm_machine_clock_go(struct hkvm_machine *m)
{
    if (m->is_remote) {
        hkvm_machine_clock_follow(m);
        return;
    }
    for (uint32_t i = 0; i < m->nr_added; i++)
        if (m->vcpu[i]->stopped_tsc && !hkvm_msr_write(m->vcpu[i], MSR_TSC, m->vcpu[i]->stopped_tsc))
            sim_warn("KVM: vCPU %u: its TSC ran on while the machine stood still", m->vcpu[i]->apic_id);
    if (!set_clock(m))
        sim_warn("KVM: the guest's clock ran on while the machine stood still: %m");
}

/* --- in step --- */

static uint64_t ticks_of(vtime_t ns, uint32_t khz)
{
    return (uint64_t)((unsigned __int128)ns * khz / 1000000);
}

/* Where the offset cannot be said the TSC is written, which is exact to some microseconds. */
static void set_tsc(struct hkvm_vcpu *h)
{
    int khz = ioctl(h->fd, KVM_GET_TSC_KHZ, 0);
    uint64_t host = __rdtsc(), wanted = ticks_of(sim_clock_now(&h->vcpu.sim->clock), khz > 0 ? (uint32_t)khz : 0);
    uint64_t offset = wanted - host;
    const struct kvm_device_attr attr = {.group = KVM_VCPU_TSC_CTRL, .attr = KVM_VCPU_TSC_OFFSET, .addr = (uintptr_t)&offset};

    if (khz > 0 && ioctl(h->fd, KVM_SET_DEVICE_ATTR, &attr) < 0 && !hkvm_msr_write(h, MSR_TSC, wanted))
        sim_warn("KVM: vCPU %u: its TSC is not in step with those of other ranks: %m", h->apic_id);
}

void hkvm_machine_clock_follow(struct hkvm_machine *m)
{
    for (uint32_t i = 0; i < m->nr_added; i++)
        if (!m->vcpu[i]->vcpu.remote)
            set_tsc(m->vcpu[i]);
    m->clock_ahead_ns = 0;
    if (!set_clock(m))
        sim_warn("KVM: the guest's clock is not in step with those of other ranks: %m");
}
