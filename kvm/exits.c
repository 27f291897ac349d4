/* Why KVM_RUN came back, and what is done about it: accesses go to regions of the memory space, ends end the run. */
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "hkvm_priv.h"
#include "sim-core/log.h"

/* --- accesses --- */

/* The largest piece at `gpa` that a region takes: a power of two, aligned. */
static unsigned piece(gpa_t gpa, unsigned len)
{
    unsigned size = 8;

    while (size > len || gpa % size)
        size /= 2;
    return size;
}

/* As on a PC: what nobody decodes reads as ones, and writes are lost. */
static void read_bytes(struct mem_space *s, gpa_t gpa, uint8_t *data, unsigned len)
{
    while (len) {
        unsigned size = piece(gpa, len);
        uint64_t value;
        if (mem_mmio_read(s, gpa, size, &value) != MEM_OK)
            value = UINT64_MAX;
        memcpy(data, &value, size);
        gpa += size, data += size, len -= size;
    }
}

static void write_bytes(struct mem_space *s, gpa_t gpa, const uint8_t *data, unsigned len)
{
    while (len) {
        unsigned size = piece(gpa, len);
        uint64_t value = 0;
        memcpy(&value, data, size);
        (void)mem_mmio_write(s, gpa, size, value);
        gpa += size, data += size, len -= size;
    }
}

static bool exit_mmio(struct hkvm_vcpu *h, enum vcpu_exit *why)
{
    struct kvm_run *run = h->run;
    uint64_t offset = run->mmio.phys_addr - HKVM_APIC_BASE;

    (void)why;
    h->io_pending = true;
    if (h->m->own_apics && offset < APIC_BYTES)
        hkvm_interrupts_access(h, (uint32_t)offset, run->mmio.data, run->mmio.len, run->mmio.is_write);
    else if (run->mmio.is_write)
        write_bytes(h->m->space, run->mmio.phys_addr, run->mmio.data, run->mmio.len);
    else
        read_bytes(h->m->space, run->mmio.phys_addr, run->mmio.data, run->mmio.len);
    return true;
}

/* String instructions bring several items for one port. */
static bool exit_io(struct hkvm_vcpu *h, enum vcpu_exit *why)
{
    struct kvm_run *run = h->run;
    gpa_t port = HKVM_PORT_WINDOW + run->io.port;
    uint8_t *data = (uint8_t *)run + run->io.data_offset;

    (void)why;
    h->io_pending = true;
    for (uint32_t i = 0; i < run->io.count; i++, data += run->io.size) {
        if (run->io.direction == KVM_EXIT_IO_OUT)
            write_bytes(h->m->space, port, data, run->io.size);
        else
            read_bytes(h->m->space, port, data, run->io.size);
    }
    return true;
}

/* Only where the APICs are ours. */
static bool exit_halt(struct hkvm_vcpu *h, enum vcpu_exit *why)
{
    (void)why;
    hkvm_interrupts_halt(h);
    return true;
}

/* --- ends --- */

static bool end(struct hkvm_vcpu *h, enum vcpu_exit *why, enum sim_end how, int code)
{
    sim_request_end(h->vcpu.sim, how, code);
    *why = VCPU_EXIT_END;
    return false;
}

/* A triple fault: a PC resets. */
static bool exit_shutdown(struct hkvm_vcpu *h, enum vcpu_exit *why)
{
    return end(h, why, SIM_END_RESET, 0);
}

static bool exit_system_event(struct hkvm_vcpu *h, enum vcpu_exit *why)
{
    bool off = h->run->system_event.type == KVM_SYSTEM_EVENT_SHUTDOWN;

    return end(h, why, off ? SIM_END_POWEROFF : SIM_END_RESET, 0);
}

enum { EXIT_CODE_INTERNAL = 70 };

void hkvm_broken(struct hkvm_vcpu *h, const char *fmt, ...)
{
    struct kvm_regs r = {0};
    struct kvm_sregs s = {0};
    char text[200];
    va_list args;

    va_start(args, fmt);
    vsnprintf(text, sizeof text, fmt, args);
    va_end(args);
    if (h->fd < 0 || ioctl(h->fd, KVM_GET_REGS, &r) < 0 || ioctl(h->fd, KVM_GET_SREGS, &s) < 0)
        snprintf(text + strlen(text), sizeof text - strlen(text), " (registers cannot be read)");
    sim_error("KVM: vCPU %u cannot go on: %s; rip 0x%llx rsp 0x%llx rflags 0x%llx ring %u, cr0 0x%llx cr2 0x%llx "
              "cr3 0x%llx cr4 0x%llx efer 0x%llx",
              h->apic_id, text, r.rip, r.rsp, r.rflags, s.cs.selector & 3, s.cr0, s.cr2, s.cr3, s.cr4, s.efer);
    sim_request_end(h->vcpu.sim, SIM_END_ERROR, EXIT_CODE_INTERNAL);
}

static bool broken(struct hkvm_vcpu *h, enum vcpu_exit *why, const char *text)
{
    hkvm_broken(h, "%s", text);
    *why = VCPU_EXIT_END;
    return false;
}

/* The bytes of the instruction that KVM could not emulate, when it tells them. */
static void instruction_bytes(const struct kvm_run *run, char *text, size_t size)
{
    const uint64_t told = KVM_INTERNAL_ERROR_EMULATION_FLAG_INSTRUCTION_BYTES;
    unsigned n = run->emulation_failure.insn_size;

    text[0] = 0;
    if (run->internal.ndata < 2 || !(run->emulation_failure.flags & told))
        return;
    for (unsigned i = 0; i < n && i < sizeof run->emulation_failure.insn_bytes; i++)
        snprintf(text + strlen(text), size - strlen(text), " %02x", run->emulation_failure.insn_bytes[i]);
}

static bool exit_internal_error(struct hkvm_vcpu *h, enum vcpu_exit *why)
{
    const struct kvm_run *run = h->run;
    char text[160], bytes[64];

    if (run->internal.suberror == KVM_INTERNAL_ERROR_EMULATION) {
        instruction_bytes(run, bytes, sizeof bytes);
        snprintf(text, sizeof text, "an instruction that this host's KVM cannot emulate%s%s",
                 bytes[0] ? ":" : "", bytes);
    } else {
        snprintf(text, sizeof text, "internal error %u of KVM", run->internal.suberror);
    }
    return broken(h, why, text);
}

static bool exit_fail_entry(struct hkvm_vcpu *h, enum vcpu_exit *why)
{
    char text[100];

    snprintf(text, sizeof text, "the CPU refuses to enter the guest, reason 0x%llx",
             (unsigned long long)h->run->fail_entry.hardware_entry_failure_reason);
    return broken(h, why, text);
}

static bool exit_nothing(struct hkvm_vcpu *h, enum vcpu_exit *why)
{
    (void)h, (void)why;
    return true;
}

static const struct {
    uint32_t reason;
    bool (*handle)(struct hkvm_vcpu *h, enum vcpu_exit *why);
} exits[] = {
    {KVM_EXIT_MMIO, exit_mmio},
    {KVM_EXIT_IO, exit_io},
    {KVM_EXIT_INTR, exit_nothing},
    {KVM_EXIT_IRQ_WINDOW_OPEN, exit_nothing},
    {KVM_EXIT_SET_TPR, exit_nothing},
    {KVM_EXIT_HLT, exit_halt},
    {KVM_EXIT_SHUTDOWN, exit_shutdown},
    {KVM_EXIT_SYSTEM_EVENT, exit_system_event},
    {KVM_EXIT_INTERNAL_ERROR, exit_internal_error},
    {KVM_EXIT_FAIL_ENTRY, exit_fail_entry},
};

bool hkvm_exit(struct hkvm_vcpu *h, enum vcpu_exit *why)
{
    char text[60];

    h->io_pending = false;
    for (size_t i = 0; i < SIM_ARRAY_LEN(exits); i++)
        if (exits[i].reason == h->run->exit_reason)
            return exits[i].handle(h, why);
    snprintf(text, sizeof text, "exit reason %u, which nothing handles", h->run->exit_reason);
    return broken(h, why, text);
}
