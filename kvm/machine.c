/* A VM: memory slots from the machine's RAM, KVM's interrupt controllers, writes that become events. */
#include <errno.h>
#include <string.h>
#include <unistd.h>

#include "hkvm_priv.h"
#include "sim-core/alloc.h"
#include "sim-core/log.h"

/* A guest's instructions cannot be counted: a budget is time, at a guess of one instruction a nanosecond, and not less
 * than makes the entry (30 to 50 us on a slow host) small. Bounds what vCPUs of the same thread wait for. */
enum { SLICE_NS = 4000000 };

/* Three pages that KVM needs on Intel hosts for real mode, and one for its identity map: below the BIOS at the end of 4
 * GiB, where no machine has RAM. */
enum { IDENTITY_MAP = 0xfffbc000, TSS = 0xfffbd000 };

static enum sim_status failed(const char *what)
{
    sim_error("KVM: %s: %m", what);
    return SIM_ERR_IO;
}

/* --- setting up --- */

static enum sim_status add_slots(struct hkvm_machine *m)
{
    const struct mem_region *r;
    uint32_t slot = 0;

    for (unsigned i = 0; (r = mem_nth(m->space, i)); i++) {
        struct kvm_userspace_memory_region k = {.slot = slot,
                                                .guest_phys_addr = r->base,
                                                .memory_size = r->size,
                                                .userspace_addr = (uintptr_t)(m->space->vram + r->ram_offset)};
        if (r->ops)
            continue;
        if (ioctl(m->vm, KVM_SET_USER_MEMORY_REGION, &k) < 0) {
            sim_error("KVM: RAM of 0x%llx bytes at 0x%llx is refused: %m", (unsigned long long)r->size,
                      (unsigned long long)r->base);
            return SIM_ERR_IO;
        }
        slot++;
    }
    return SIM_OK;
}

static enum sim_status add_irqchips(struct hkvm_machine *m)
{
    struct kvm_pit_config pit = {.flags = KVM_PIT_SPEAKER_DUMMY};
    __u64 identity = IDENTITY_MAP;

    if (ioctl(m->vm, KVM_CHECK_EXTENSION, KVM_CAP_SET_IDENTITY_MAP_ADDR) > 0 &&
        ioctl(m->vm, KVM_SET_IDENTITY_MAP_ADDR, &identity) < 0)
        return failed("KVM_SET_IDENTITY_MAP_ADDR");
    if (ioctl(m->vm, KVM_CHECK_EXTENSION, KVM_CAP_SET_TSS_ADDR) > 0 &&
        ioctl(m->vm, KVM_SET_TSS_ADDR, (unsigned long)(uint32_t)TSS) < 0)
        return failed("KVM_SET_TSS_ADDR");
    if (m->own_apics)
        return hkvm_interrupts_create(m);
    if (ioctl(m->vm, KVM_CREATE_IRQCHIP, 0) < 0)
        return failed("KVM_CREATE_IRQCHIP");
    if (ioctl(m->vm, KVM_CREATE_PIT2, &pit) < 0)
        return failed("KVM_CREATE_PIT2");
    return SIM_OK;
}

/* The MSRs that belong to a vCPU's state: the host's KVM lists them. */
static enum sim_status list_msrs(struct hkvm_machine *m)
{
    struct {
        struct kvm_msr_list head;
        __u32 index[HKVM_MAX_MSRS];
    } list = {.head.nmsrs = HKVM_MAX_MSRS};

    if (ioctl(m->kvm, KVM_GET_MSR_INDEX_LIST, &list) < 0)
        return failed("KVM_GET_MSR_INDEX_LIST");
    m->nr_msrs = list.head.nmsrs;
    memcpy(m->msr, list.index, m->nr_msrs * sizeof m->msr[0]);
    return SIM_OK;
}

static void offer_doorbells(struct hkvm_machine *m);

static enum sim_status set_up(struct hkvm_machine *m)
{
    m->vm = ioctl(m->kvm, KVM_CREATE_VM, 0);
    if (m->vm < 0)
        return failed("KVM_CREATE_VM");
    SIM_TRY(add_irqchips(m));
    SIM_TRY(add_slots(m));
    SIM_TRY(list_msrs(m));
    offer_doorbells(m);
    hkvm_machine_clock_follow(m); /* on one rank, too: it may go on over several */
    return hkvm_vm_get(m, &m->initial);
}

static enum sim_status check_config(const struct hkvm_config *config, const struct hkvm_report *host)
{
    uint32_t max = host->max_vcpus < HKVM_MAX_VCPUS ? host->max_vcpus : HKVM_MAX_VCPUS;

    if (config->nr_vcpus >= 1 && config->nr_vcpus <= max)
        return SIM_OK;
    sim_error("KVM: a machine has 1 to %u vCPUs here, not %u", max, config->nr_vcpus);
    return SIM_ERR_RANGE;
}

enum sim_status hkvm_machine_create(const struct hkvm_config *config, struct hkvm_machine **out)
{
    struct hkvm_report host;
    int kvm = hkvm_open(&host);

    if (kvm < 0) {
        sim_error("KVM is not available: %s", host.why);
        return SIM_ERR_UNSUPPORTED;
    }
    struct hkvm_machine *m = sim_new(struct hkvm_machine);

    *m = (struct hkvm_machine){.sim = config->sim,
                               .space = config->space,
                               .nr_vcpus = config->nr_vcpus,
                               .slice_ns = config->slice_ns ? config->slice_ns : SLICE_NS,
                               .own_apics = config->own_apics,
                               .is_remote = config->is_remote,
                               .is_remote_opaque = config->is_remote_opaque,
                               .kvm = kvm,
                               .vm = -1,
                               .state.clock_ahead_ns = HKVM_AHEAD_UNKNOWN};
    m->vcpu = sim_new_array(struct hkvm_vcpu *, config->nr_vcpus);
    hkvm_lines_init(m);
    enum sim_status status = check_config(config, &host);
    if (status == SIM_OK)
        status = set_up(m);
    if (status != SIM_OK) {
        hkvm_machine_destroy(m);
        return status;
    }
    *out = m;
    return SIM_OK;
}

void hkvm_machine_destroy(struct hkvm_machine *m)
{
    if (!m)
        return;
    mem_set_doorbells(m->space, NULL, NULL);
    hkvm_protect_destroy(m->protect);
    for (uint32_t i = 0; i < m->nr_added; i++)
        hkvm_vcpu_destroy(m->vcpu[i]);
    hkvm_lines_close(m);
    if (m->vm >= 0)
        close(m->vm);
    close(m->kvm);
    hkvm_interrupts_destroy(m);
    sim_free(m->vcpu);
    sim_free(m);
}

enum sim_status hkvm_machine_add_vcpu(struct hkvm_machine *m, struct vcpu **out)
{
    struct hkvm_vcpu *h;

    SIM_BUG_ON(m->nr_added == m->nr_vcpus, "more than %u vCPUs", m->nr_vcpus);
    SIM_TRY(hkvm_vcpu_create(m, m->nr_added, &h));
    sim_add_vcpu(m->sim, &h->vcpu);
    m->vcpu[m->nr_added++] = h;
    *out = &h->vcpu;
    return SIM_OK;
}

static enum sim_status reset_vcpu(struct hkvm_vcpu *h)
{
    apic_reset(&h->apic, h->apic_id == 0);
    return h->vcpu.remote ? SIM_OK : hkvm_vcpu_set(h, &h->initial);
}

/* kvmclock goes on: a reset does not turn time back. */
enum sim_status hkvm_machine_reset(struct hkvm_machine *m)
{
    struct hkvm_vm_state s;

    SIM_TRY(hkvm_vm_get(m, &s));
    uint64_t ahead = s.clock_ahead_ns;
    s = m->initial;
    s.clock_ahead_ns = ahead;
    SIM_TRY(hkvm_vm_set(m, &s));
    hkvm_machine_renew_slots(m); /* memory is loaded anew */
    for (uint32_t i = 0; i < m->nr_added; i++)
        SIM_TRY(reset_vcpu(m->vcpu[i]));
    return SIM_OK;
}

/* --- writes that become events --- */

static bool set_doorbell(void *opaque, gpa_t gpa, unsigned size, uint64_t value, int eventfd, bool on)
{
    struct hkvm_machine *m = opaque;
    struct kvm_ioeventfd k = {.datamatch = value,
                              .addr = gpa,
                              .len = size,
                              .fd = eventfd,
                              .flags = KVM_IOEVENTFD_FLAG_DATAMATCH | (on ? 0 : KVM_IOEVENTFD_FLAG_DEASSIGN)};

    return ioctl(m->vm, KVM_IOEVENTFD, &k) == 0;
}

static const struct mem_doorbell_ops doorbells = {.set = set_doorbell};

/* Over ranks a device serves vCPUs of several VMs: their notifications are messages. */
static void offer_doorbells(struct hkvm_machine *m)
{
    if (!m->is_remote && ioctl(m->vm, KVM_CHECK_EXTENSION, KVM_CAP_IOEVENTFD) > 0)
        mem_set_doorbells(m->space, &doorbells, m);
}
