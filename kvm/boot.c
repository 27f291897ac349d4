/* The state in which the boot CPU begins: long mode with the caller's page tables, or flat protected mode. */
#include <string.h>

#include "hkvm_priv.h"
#include "sim-core/log.h"

enum {
    CR0_PE = 1 << 0, CR0_MP = 1 << 1, CR0_ET = 1 << 4, CR0_NE = 1 << 5, CR0_WP = 1 << 16,
    CR4_PAE = 1 << 5, CR4_OSFXSR = 1 << 9, CR4_OSXMMEXCPT = 1 << 10,
    EFER_LME = 1 << 8, EFER_LMA = 1 << 10,
    RFLAGS_FIXED = 2
};
#define CR0_PG (1ull << 31)

/* Linux' boot protocol names the selectors: 0x10 code, 0x18 data; behind them a TSS, which must be some. */
enum { SEL_CODE = 0x10, SEL_DATA = 0x18, SEL_TSS = 0x20 };
enum { TYPE_CODE = 0xb, TYPE_DATA = 0x3, TYPE_TSS = 0xb };

static uint64_t descriptor(const struct kvm_segment *s)
{
    uint64_t limit = s->g ? s->limit >> 12 : s->limit;

    return (limit & 0xffff) | (s->base & 0xffffff) << 16 | (uint64_t)s->type << 40 | (uint64_t)s->s << 44 |
           (uint64_t)s->dpl << 45 | (uint64_t)s->present << 47 | (limit >> 16 & 0xf) << 48 | (uint64_t)s->l << 53 |
           (uint64_t)s->db << 54 | (uint64_t)s->g << 55 | (uint64_t)(s->base >> 24 & 0xff) << 56;
}

static enum sim_status write_gdt(struct mem_space *space, gpa_t gdt, const struct kvm_sregs *s)
{
    uint64_t table[HKVM_GDT_BYTES / 8] = {0};

    table[SEL_CODE / 8] = descriptor(&s->cs);
    table[SEL_DATA / 8] = descriptor(&s->ds);
    if (mem_ram_ptr(space, gdt, sizeof table) && mem_write(space, gdt, table, sizeof table) == MEM_OK)
        return SIM_OK;
    sim_error("the GDT of the boot CPU at 0x%llx is not in RAM", (unsigned long long)gdt);
    return SIM_ERR_RANGE;
}

static void set_segments(struct kvm_sregs *s, bool wide)
{
    const struct kvm_segment code = {.limit = UINT32_MAX, .selector = SEL_CODE, .type = TYPE_CODE, .present = 1,
                                     .s = 1, .l = wide, .db = !wide, .g = 1};
    const struct kvm_segment data = {.limit = UINT32_MAX, .selector = SEL_DATA, .type = TYPE_DATA, .present = 1,
                                     .s = 1, .db = 1, .g = 1};

    s->cs = code;
    s->ds = s->es = s->fs = s->gs = s->ss = data;
    s->tr = (struct kvm_segment){.limit = 0x67, .selector = SEL_TSS, .type = TYPE_TSS, .present = 1};
    s->ldt = (struct kvm_segment){.unusable = 1};
}

static void set_control(struct kvm_sregs *s, const struct hkvm_entry *e)
{
    s->cr0 = CR0_PE | CR0_ET;
    s->cr4 = 0;
    s->efer = 0;
    if (e->mode != HKVM_ENTRY_LONG)
        return;
    s->cr0 |= CR0_MP | CR0_NE | CR0_WP | CR0_PG;
    s->cr3 = e->cr3;
    s->cr4 = CR4_PAE | CR4_OSFXSR | CR4_OSXMMEXCPT;
    s->efer = EFER_LME | EFER_LMA;
}

enum sim_status hkvm_vcpu_boot(struct vcpu *v, const struct hkvm_entry *e)
{
    struct hkvm_vcpu *h = hkvm_vcpu_of(v);
    struct kvm_regs r = {.rip = e->rip, .rbx = e->rbx, .rsi = e->rsi, .rflags = RFLAGS_FIXED};
    struct kvm_sregs s;

    if (ioctl(h->fd, KVM_GET_SREGS, &s) < 0) {
        sim_error("KVM: vCPU %u: KVM_GET_SREGS: %m", h->apic_id);
        return SIM_ERR_IO;
    }
    set_segments(&s, e->mode == HKVM_ENTRY_LONG);
    set_control(&s, e);
    s.gdt = (struct kvm_dtable){.base = e->gdt, .limit = HKVM_GDT_BYTES - 1};
    s.idt = (struct kvm_dtable){.limit = 0};
    SIM_TRY(write_gdt(h->m->space, e->gdt, &s));
    if (ioctl(h->fd, KVM_SET_SREGS, &s) == 0 && ioctl(h->fd, KVM_SET_REGS, &r) == 0)
        return SIM_OK;
    sim_error("KVM: vCPU %u refuses to begin at 0x%llx: %m", h->apic_id, (unsigned long long)e->rip);
    return SIM_ERR_IO;
}
