/* Saving and restoring: KVM's ioctls <-> plain structs <-> tables for the checkpoint.
 *
 *   pre_save: KVM -> struct -> image        image -> struct -> post_load: KVM
 *
 * The order of writing is KVM's: what decides how the next is understood comes first (EFER and CR4 in sregs, the APIC's
 * timer mode before the MSR that arms it, time before deadlines). */
#include <errno.h>
#include <string.h>

#include "hkvm_priv.h"
#include "sim-core/alloc.h"
#include "sim-core/log.h"

enum { MSR_TSC_DEADLINE = 0x6e0 };

static enum sim_status failed(const struct hkvm_vcpu *h, const char *what)
{
    sim_error("KVM: vCPU %u: %s: %m", h->apic_id, what);
    return SIM_ERR_IO;
}

/* --- what one ioctl moves --- */

#define PART(get, set, member) {get, set, #set, offsetof(struct hkvm_regs_state, member), false}
static const struct part {
    unsigned long get, set;
    const char *name;
    size_t offset;
    bool kvm_apic; /* not where the APICs are ours */
} parts[] = {
    PART(KVM_GET_SREGS, KVM_SET_SREGS, sregs),
    PART(KVM_GET_REGS, KVM_SET_REGS, regs),
    PART(KVM_GET_XCRS, KVM_SET_XCRS, xcrs),
    PART(KVM_GET_XSAVE, KVM_SET_XSAVE, xsave),
    {KVM_GET_LAPIC, KVM_SET_LAPIC, "KVM_SET_LAPIC", offsetof(struct hkvm_regs_state, lapic), true},
    PART(KVM_GET_DEBUGREGS, KVM_SET_DEBUGREGS, debugregs),
};
/* After the MSRs. */
static const struct part late_parts[] = {
    PART(KVM_GET_VCPU_EVENTS, KVM_SET_VCPU_EVENTS, events),
    PART(KVM_GET_MP_STATE, KVM_SET_MP_STATE, mp_state),
};
#undef PART

static enum sim_status move(struct hkvm_vcpu *h, const struct part *p, unsigned n, void *state, bool set)
{
    for (unsigned i = 0; i < n; i++)
        if (!(p[i].kvm_apic && h->m->own_apics) &&
            ioctl(h->fd, set ? p[i].set : p[i].get, (char *)state + p[i].offset) < 0)
            return failed(h, p[i].name);
    return SIM_OK;
}

/* --- MSRs --- */

struct msr_list {
    struct kvm_msrs head;
    struct kvm_msr_entry entry[HKVM_MAX_MSRS];
};

bool hkvm_msr_read(struct hkvm_vcpu *h, uint32_t index, uint64_t *value)
{
    struct msr_list list = {.head.nmsrs = 1, .entry[0].index = index};

    if (ioctl(h->fd, KVM_GET_MSRS, &list) != 1)
        return false;
    *value = list.entry[0].data;
    return true;
}

bool hkvm_msr_write(struct hkvm_vcpu *h, uint32_t index, uint64_t value)
{
    struct msr_list list = {.head.nmsrs = 1, .entry[0] = {.index = index, .data = value}};

    return ioctl(h->fd, KVM_SET_MSRS, &list) == 1;
}

/* All at once; an MSR that the list has and the vCPU refuses is left out. */
static enum sim_status get_msrs(struct hkvm_vcpu *h, struct hkvm_regs_state *s)
{
    struct msr_list list = {0};
    uint32_t next = 0;

    s->nr_msrs = 0;
    while (next < h->m->nr_msrs) {
        uint32_t n = h->m->nr_msrs - next;
        list.head.nmsrs = n;
        for (uint32_t i = 0; i < n; i++)
            list.entry[i] = (struct kvm_msr_entry){.index = h->m->msr[next + i]};
        int done = ioctl(h->fd, KVM_GET_MSRS, &list);
        if (done < 0)
            return failed(h, "KVM_GET_MSRS");
        for (uint32_t i = 0; i < (uint32_t)done; i++) {
            s->msr_index[s->nr_msrs] = list.entry[i].index;
            s->msr_value[s->nr_msrs++] = list.entry[i].data;
        }
        next += (uint32_t)done + 1;
    }
    return SIM_OK;
}

/* KVM stopped at this MSR. Harmless when it has the value anyway, or is nothing here and was nothing there. */
static enum sim_status check_refused(struct hkvm_vcpu *h, uint32_t index, uint64_t value)
{
    uint64_t now;

    if (hkvm_msr_read(h, index, &now) ? now == value : value == 0)
        return SIM_OK;
    sim_error("KVM: vCPU %u: this host refuses 0x%llx in MSR 0x%x", h->apic_id, (unsigned long long)value, index);
    return SIM_ERR_FORMAT;
}

static enum sim_status set_msrs(struct hkvm_vcpu *h, const struct hkvm_regs_state *s, bool deadline)
{
    struct msr_list list = {0};
    uint32_t n = 0, next = 0;

    for (uint32_t i = 0; i < s->nr_msrs; i++)
        if ((s->msr_index[i] == MSR_TSC_DEADLINE) == deadline)
            list.entry[n++] = (struct kvm_msr_entry){.index = s->msr_index[i], .data = s->msr_value[i]};
    while (next < n) {
        list.head.nmsrs = n - next;
        int done = ioctl(h->fd, KVM_SET_MSRS, &list);
        if (done < 0)
            return failed(h, "KVM_SET_MSRS");
        if ((uint32_t)done == list.head.nmsrs)
            return SIM_OK;
        SIM_TRY(check_refused(h, list.entry[done].index, list.entry[done].data));
        next += (uint32_t)done + 1;
        memmove(list.entry, list.entry + done + 1, (n - next) * sizeof list.entry[0]);
    }
    return SIM_OK;
}

/* --- CPUID: saved with the vCPU, since a guest that moves must not lose what it has seen --- */

struct cpuid_list {
    struct kvm_cpuid2 head;
    struct kvm_cpuid_entry2 entry[HKVM_MAX_CPUID];
};
_Static_assert(sizeof(struct kvm_cpuid_entry2) == sizeof(uint32_t[10]), "an entry is ten words");

static enum sim_status get_cpuid(struct hkvm_vcpu *h, struct hkvm_regs_state *s)
{
    struct cpuid_list list = {.head.nent = HKVM_MAX_CPUID};

    if (ioctl(h->fd, KVM_GET_CPUID2, &list) < 0)
        return failed(h, "KVM_GET_CPUID2");
    s->nr_cpuid = list.head.nent;
    memset(s->cpuid, 0, sizeof s->cpuid);
    memcpy(s->cpuid, list.entry, s->nr_cpuid * sizeof list.entry[0]);
    return SIM_OK;
}

/* Only into a vCPU that has another one: KVM takes none after the first run. */
static enum sim_status set_cpuid(struct hkvm_vcpu *h, const struct hkvm_regs_state *s)
{
    struct hkvm_regs_state *now = sim_new(struct hkvm_regs_state);
    struct cpuid_list list = {.head.nent = s->nr_cpuid};
    enum sim_status status = get_cpuid(h, now);
    bool same = now->nr_cpuid == s->nr_cpuid && memcmp(now->cpuid, s->cpuid, sizeof s->cpuid) == 0;

    sim_free(now);
    if (status != SIM_OK || same)
        return status;
    memcpy(list.entry, s->cpuid, s->nr_cpuid * sizeof list.entry[0]);
    return ioctl(h->fd, KVM_SET_CPUID2, &list) < 0 ? failed(h, "KVM_SET_CPUID2") : SIM_OK;
}

/* --- a vCPU --- */

enum sim_status hkvm_vcpu_get(struct hkvm_vcpu *h, struct hkvm_regs_state *s)
{
    SIM_TRY(move(h, parts, SIM_ARRAY_LEN(parts), s, false));
    SIM_TRY(move(h, late_parts, SIM_ARRAY_LEN(late_parts), s, false));
    SIM_TRY(get_cpuid(h, s));
    return get_msrs(h, s);
}

enum sim_status hkvm_vcpu_set(struct hkvm_vcpu *h, const struct hkvm_regs_state *s)
{
    h->run->ready_for_interrupt_injection = 0; /* was of the state before */
    SIM_TRY(set_cpuid(h, s));
    SIM_TRY(move(h, parts, SIM_ARRAY_LEN(parts), (void *)s, true));
    SIM_TRY(set_msrs(h, s, false));
    SIM_TRY(set_msrs(h, s, true));
    return move(h, late_parts, SIM_ARRAY_LEN(late_parts), (void *)s, true);
}

static void vcpu_pre_save(void *object)
{
    struct hkvm_vcpu *h = object;

    if (hkvm_vcpu_get(h, &h->state) != SIM_OK)
        sim_request_end(h->vcpu.sim, SIM_END_ERROR, 70);
}

/* A CPU that comes from elsewhere is the same one after a reset. */
static void keep_cpuid(struct hkvm_vcpu *h)
{
    h->initial.nr_cpuid = h->state.nr_cpuid;
    memcpy(h->initial.cpuid, h->state.cpuid, sizeof h->initial.cpuid);
}

static enum sim_status vcpu_post_load(void *object)
{
    struct hkvm_vcpu *h = object;

    if (h->state.nr_msrs > HKVM_MAX_MSRS || h->state.nr_cpuid > HKVM_MAX_CPUID) {
        sim_error("saved state of vCPU %u: %u MSRs and %u leaves of CPUID are too many", h->apic_id, h->state.nr_msrs,
                  h->state.nr_cpuid);
        return SIM_ERR_FORMAT;
    }
    if (h->m->own_apics)
        hkvm_interrupts_tell(h);
    SIM_TRY(hkvm_vcpu_set(h, &h->state));
    keep_cpuid(h);
    hkvm_lines_raise_again(h->m); /* with the last vCPU all is there that they go through */
    return SIM_OK;
}

void *hkvm_vcpu_state_object(struct vcpu *v)
{
    return hkvm_vcpu_of(v);
}

#define VCPU_ARRAY(kind, member) \
    {#member, offsetof(struct hkvm_vcpu, state.member), kind, 1, \
     sizeof(((struct hkvm_regs_state *)0)->member) / (kind), 0, NULL, 0}
static const struct state_field vcpu_fields[] = {
    VCPU_ARRAY(STATE_U64, regs),      VCPU_ARRAY(STATE_U8, sregs),      VCPU_ARRAY(STATE_U8, xsave),
    VCPU_ARRAY(STATE_U8, xcrs),       VCPU_ARRAY(STATE_U8, lapic),      VCPU_ARRAY(STATE_U8, events),
    VCPU_ARRAY(STATE_U8, debugregs),  VCPU_ARRAY(STATE_U32, mp_state),  VCPU_ARRAY(STATE_U32, nr_msrs),
    VCPU_ARRAY(STATE_U32, msr_index), VCPU_ARRAY(STATE_U64, msr_value), VCPU_ARRAY(STATE_U32, nr_cpuid),
    VCPU_ARRAY(STATE_U32, cpuid),
    {"apic", offsetof(struct hkvm_vcpu, apic), STATE_STRUCT, 2, 1, sizeof(struct apic), &apic_state, 0}, STATE_END};
#undef VCPU_ARRAY

const struct state_desc hkvm_vcpu_state = {.name = "kvm-x86-vcpu",
                                           .version = 2,
                                           .fields = vcpu_fields,
                                           .pre_save = vcpu_pre_save,
                                           .post_load = vcpu_post_load};

/* --- the VM --- */

static enum sim_status vm_failed(const char *what)
{
    sim_error("KVM: %s: %m", what);
    return SIM_ERR_IO;
}

static enum sim_status get_irqchips(struct hkvm_machine *m, struct hkvm_vm_state *s)
{
    for (uint32_t i = 0; i < SIM_ARRAY_LEN(s->irqchip); i++) {
        struct kvm_irqchip chip = {.chip_id = i};
        if (ioctl(m->vm, KVM_GET_IRQCHIP, &chip) < 0)
            return vm_failed("KVM_GET_IRQCHIP");
        memcpy(s->irqchip[i], &chip.chip, sizeof s->irqchip[i]);
    }
    return ioctl(m->vm, KVM_GET_PIT2, s->pit) < 0 ? vm_failed("KVM_GET_PIT2") : SIM_OK;
}

static enum sim_status set_irqchips(struct hkvm_machine *m, const struct hkvm_vm_state *s)
{
    for (uint32_t i = 0; i < SIM_ARRAY_LEN(s->irqchip); i++) {
        struct kvm_irqchip chip = {.chip_id = i};
        memcpy(&chip.chip, s->irqchip[i], sizeof s->irqchip[i]);
        if (ioctl(m->vm, KVM_SET_IRQCHIP, &chip) < 0)
            return vm_failed("KVM_SET_IRQCHIP");
    }
    return ioctl(m->vm, KVM_SET_PIT2, s->pit) < 0 ? vm_failed("KVM_SET_PIT2") : SIM_OK;
}

enum sim_status hkvm_vm_get(struct hkvm_machine *m, struct hkvm_vm_state *s)
{
    if (!m->own_apics)
        SIM_TRY(get_irqchips(m, s));
    return hkvm_clock_get(m, s) ? SIM_OK : vm_failed("KVM_GET_CLOCK");
}

enum sim_status hkvm_vm_set(struct hkvm_machine *m, const struct hkvm_vm_state *s)
{
    if (!m->own_apics)
        SIM_TRY(set_irqchips(m, s));
    hkvm_lines_rest(m);
    return hkvm_clock_set(m, s) ? SIM_OK : vm_failed("KVM_SET_CLOCK");
}

static void vm_pre_save(void *object)
{
    struct hkvm_machine *m = object;

    if (hkvm_vm_get(m, &m->state) != SIM_OK)
        sim_request_end(m->sim, SIM_END_ERROR, 70);
}

static enum sim_status vm_post_load(void *object)
{
    struct hkvm_machine *m = object;

    return hkvm_vm_set(m, &m->state);
}

static const struct state_field vm_fields[] = {
    STATE_ARRAY(struct hkvm_machine, STATE_U8, state.irqchip), STATE_ARRAY(struct hkvm_machine, STATE_U8, state.pit),
    STATE_SCALAR(struct hkvm_machine, STATE_U64, state.clock_ns),
    {"state.clock_ahead_ns", offsetof(struct hkvm_machine, state.clock_ahead_ns), STATE_U64, 2, 1, 0, NULL, 0}, STATE_END};

static const struct state_desc vm_state = {
    .name = "kvm-vm", .version = 2, .fields = vm_fields, .pre_save = vm_pre_save, .post_load = vm_post_load};

const struct state_desc *hkvm_machine_state_desc(void)
{
    return &vm_state;
}
