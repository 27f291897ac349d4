/* What this host's KVM can do: by opening it, making a VM, and asking for capabilities. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "hkvm_priv.h"

enum { KVM_API = 12 };

static const struct {
    int number;
    const char *name, *use;
    bool needed;
} capabilities[] = {
    {KVM_CAP_USER_MEMORY, "USER_MEMORY", "guest RAM is the machine's memory", true},
    {KVM_CAP_IRQCHIP, "IRQCHIP", "interrupt controllers in the kernel", true},
    {KVM_CAP_PIT2, "PIT2", "the PC's timer", true},
    {KVM_CAP_EXT_CPUID, "EXT_CPUID", "the guest's CPUID", true},
    {KVM_CAP_MP_STATE, "MP_STATE", "several vCPUs, saved and restored", true},
    {KVM_CAP_IMMEDIATE_EXIT, "IMMEDIATE_EXIT", "an access that is under way is finished before a save", true},
    {KVM_CAP_VCPU_EVENTS, "VCPU_EVENTS", "exceptions under way are saved", true},
    {KVM_CAP_DEBUGREGS, "DEBUGREGS", "debug registers are saved", true},
    {KVM_CAP_XSAVE, "XSAVE", "vector registers are saved", true},
    {KVM_CAP_XCRS, "XCRS", "vector registers are saved", true},
    {KVM_CAP_ADJUST_CLOCK, "ADJUST_CLOCK", "kvmclock is saved", true},
    {KVM_CAP_SYNC_MMU, "SYNC_MMU", "guest RAM may be moved and taken away", true},
    {KVM_CAP_SET_TSS_ADDR, "SET_TSS_ADDR", "real mode on some hosts", false},
    {KVM_CAP_TSC_DEADLINE_TIMER, "TSC_DEADLINE_TIMER", "the guest's fastest timer", false},
    {KVM_CAP_IOEVENTFD, "IOEVENTFD", "virtio notifications without an exit (ioeventfd=on)", false},
    {KVM_CAP_IRQFD, "IRQFD", "virtio interrupts without a system call (not used)", false},
    {KVM_CAP_SYNC_REGS, "SYNC_REGS", "registers without system calls (not used)", false},
    {KVM_CAP_TSC_CONTROL, "TSC_CONTROL", "hosts of other clock rates take a restored guest (not used yet)", false},
};

/* Is KVM that of a host without svm and vmx? Such a one runs only ring 3 on the CPU itself. Asked of the host's CPUID
 * (by way of the kernel's list), and used for advice only. */
static bool host_lacks_virtualization(void)
{
    char line[8192];
    bool lacks = false;
    FILE *f = fopen("/proc/cpuinfo", "re");

    while (f && fgets(line, sizeof line, f))
        if (strncmp(line, "flags", 5) == 0) {
            lacks = !strstr(line, " svm") && !strstr(line, " vmx");
            break;
        }
    if (f)
        fclose(f);
    return lacks;
}

static bool access_tsc(int vcpu, unsigned long request, uint64_t *value)
{
    enum { MSR_TSC = 0x10 };
    struct {
        struct kvm_msrs head;
        struct kvm_msr_entry entry;
    } list = {.head.nmsrs = 1, .entry = {.index = MSR_TSC, .data = *value}};
    bool ok = ioctl(vcpu, request, &list) == 1;

    *value = list.entry.data;
    return ok;
}

/* A KVM without svm and vmx may not be able to give a guest another TSC than the CPU's. */
static bool vm_has_fixed_tsc(int vm)
{
    const uint64_t far = 1ull << 42; /* half an hour or more */
    int vcpu = ioctl(vm, KVM_CREATE_VCPU, 0);
    uint64_t then = 0, now = 0;

    if (vcpu < 0)
        return false;
    bool ok = access_tsc(vcpu, KVM_GET_MSRS, &then);
    uint64_t wanted = then + far;
    ok = ok && access_tsc(vcpu, KVM_SET_MSRS, &wanted) && access_tsc(vcpu, KVM_GET_MSRS, &now);
    close(vcpu);
    return !ok || now - then < far;
}

static int fail(struct hkvm_report *out, enum hkvm_state state, int fd)
{
    out->state = state;
    if (fd >= 0)
        close(fd);
    return -1;
}

static int open_device(struct hkvm_report *out)
{
    int fd = open("/dev/kvm", O_RDWR | O_CLOEXEC);
    bool missing = fd < 0 && (errno == ENOENT || errno == ENXIO || errno == ENODEV);

    if (fd >= 0)
        return fd;
    snprintf(out->why, sizeof out->why, "/dev/kvm: %m%s",
             missing           ? " (no kvm module is loaded, or this container has not been given it)"
             : errno == EACCES ? " (its owner is root or the group kvm)"
                               : "");
    return fail(out, missing ? HKVM_MISSING : HKVM_REFUSED, -1);
}

static bool ask(int vm, struct hkvm_report *out)
{
    bool all = true;

    _Static_assert(SIM_ARRAY_LEN(capabilities) < SIM_ARRAY_LEN(out->cap), "one row ends the list");
    for (size_t i = 0; i < SIM_ARRAY_LEN(capabilities); i++) {
        struct hkvm_capability *c = &out->cap[i];
        *c = (struct hkvm_capability){capabilities[i].name, capabilities[i].use, capabilities[i].needed,
                                      ioctl(vm, KVM_CHECK_EXTENSION, capabilities[i].number) > 0};
        if (c->needed && !c->there && all) {
            snprintf(out->why, sizeof out->why, "this host's KVM has no KVM_CAP_%s (%s)", c->name, c->use);
            all = false;
        }
    }
    int max = ioctl(vm, KVM_CHECK_EXTENSION, KVM_CAP_MAX_VCPUS);
    out->max_vcpus = max > 0 ? (uint32_t)max : 4;
    return all;
}

int hkvm_open(struct hkvm_report *out)
{
    *out = (struct hkvm_report){.state = HKVM_WORKS};
    int fd = open_device(out);

    if (fd < 0)
        return -1;
    int version = ioctl(fd, KVM_GET_API_VERSION, 0);
    if (version != KVM_API) {
        snprintf(out->why, sizeof out->why, "/dev/kvm speaks version %d of KVM's interface, not %d", version, KVM_API);
        return fail(out, HKVM_REFUSED, fd);
    }
    int vm = ioctl(fd, KVM_CREATE_VM, 0);
    if (vm < 0) {
        snprintf(out->why, sizeof out->why, "/dev/kvm opens but creates no VM: %m");
        return fail(out, HKVM_REFUSED, fd);
    }
    bool all = ask(vm, out);
    close(vm);
    out->interprets_ring0 = host_lacks_virtualization();
    return all ? fd : fail(out, HKVM_LACKING, fd);
}

bool hkvm_has_fixed_tsc(void)
{
    struct hkvm_report report;
    int fd = hkvm_open(&report), vm = fd < 0 ? -1 : ioctl(fd, KVM_CREATE_VM, 0);
    bool fixed = vm >= 0 && vm_has_fixed_tsc(vm);

    if (vm >= 0)
        close(vm);
    if (fd >= 0)
        close(fd);
    return fixed;
}

void hkvm_probe(struct hkvm_report *out)
{
    int fd = hkvm_open(out);

    if (fd >= 0)
        close(fd);
}
