/* The guest's clocks that are KVM's: kvmclock and TSCs. They stand while the machine does, and on several ranks they are in
 * step: each rank makes them follow the simulation's clock, which is one for all ranks.
 *
 *   kvmclock := guest time        TSC := guest time at the TSC's rate, by an offset to the host's (exact on one host)
 *
 * So they are made anew whenever the simulation's clock goes on: what one adjusts about the other (NTP) is made up for then.
 * Some hosts give every guest their own TSC (hkvm_has_fixed_tsc): there it is in step on one host, and nobody can set it. */
#include <string.h>
#include <x86intrin.h>

#include "hkvm_priv.h"
#include "sim-core/log.h"

enum { MSR_TSC = 0x10 };

/* --- standing --- */

void hkvm_machine_clock_stop(struct hkvm_machine *m)
{
    struct kvm_clock_data clock = {0};

    m->stopped_clock_ns = ioctl(m->vm, KVM_GET_CLOCK, &clock) < 0 ? 0 : clock.clock;
    for (uint32_t i = 0; i < m->nr_added; i++)
        if (m->vcpu[i]->vcpu.remote || !hkvm_msr_read(m->vcpu[i], MSR_TSC, &m->vcpu[i]->stopped_tsc))
            m->vcpu[i]->stopped_tsc = 0;
}

/* On several ranks each heard of the stop at a moment of its own, and hears of this at another. */
void hkvm_machine_clock_go(struct hkvm_machine *m)
{
    struct kvm_clock_data clock = {.clock = m->stopped_clock_ns};

    if (m->is_remote) {
        hkvm_machine_clock_follow(m);
        return;
    }
    for (uint32_t i = 0; i < m->nr_added; i++)
        if (m->vcpu[i]->stopped_tsc && !hkvm_msr_write(m->vcpu[i], MSR_TSC, m->vcpu[i]->stopped_tsc))
            sim_warn("KVM: vCPU %u: its TSC ran on while the machine stood still", m->vcpu[i]->apic_id);
    if (clock.clock && ioctl(m->vm, KVM_SET_CLOCK, &clock) < 0)
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
    struct kvm_clock_data clock = {0};

    for (uint32_t i = 0; i < m->nr_added; i++)
        if (!m->vcpu[i]->vcpu.remote)
            set_tsc(m->vcpu[i]);
    clock.clock = sim_clock_now(&m->sim->clock);
    if (ioctl(m->vm, KVM_SET_CLOCK, &clock) < 0)
        sim_warn("KVM: the guest's clock is not in step with those of other ranks: %m");
}
