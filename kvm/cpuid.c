/* What the guest is told of its CPU: what the host and its KVM support, less what cannot be saved, moved or shared, and
 * with the machine's topology (one package, a core for each vCPU).
 *
 * A KVM that runs ring 3 on the CPU itself without help (README.md) shows ring 3 the host's own CPUID whatever is said
 * here. */
#include <string.h>

#include "hkvm_priv.h"
#include "sim-core/alloc.h"
#include "sim-core/log.h"

enum reg { EAX, EBX, ECX, EDX };
enum { ANY = UINT32_MAX };

#define BIT(n) (1u << (n))

/* Taken away from what the host supports. */
static const struct {
    uint32_t function, index;
    enum reg reg;
    uint32_t bits;
} hidden[] = {
    /* DTES64, MONITOR, DS-CPL, VMX, EST, TM2, PDCM */
    {0x1, ANY, ECX, BIT(2) | BIT(3) | BIT(4) | BIT(5) | BIT(7) | BIT(8) | BIT(15)},
    /* AMX: state above 4 KiB; ARCH_CAPABILITIES, CORE_CAPABILITIES */
    {0x7, 0, EDX, BIT(22) | BIT(24) | BIT(25) | BIT(29) | BIT(30)},
    {0xa, ANY, EAX, UINT32_MAX},                                    /* performance counters */
    {0xa, ANY, EBX, UINT32_MAX},
    {0xa, ANY, EDX, UINT32_MAX},
    {0xd, 0, EAX, BIT(17) | BIT(18)},                               /* AMX in XCR0 */
    {0xd, 1, EAX, BIT(3) | BIT(4)},                                 /* XSAVES, XFD */
    {0x40000001, ANY, EAX, ~(BIT(0) | BIT(1) | BIT(3) | BIT(24))},  /* of KVM's paravirtualization only the clock */
    {0x80000001, ANY, ECX, BIT(2)},                                 /* SVM */
};

static uint32_t *reg_of(struct kvm_cpuid_entry2 *e, enum reg reg)
{
    switch (reg) {
    case EAX:
        return &e->eax;
    case EBX:
        return &e->ebx;
    case ECX:
        return &e->ecx;
    default:
        return &e->edx;
    }
}

static void hide(struct kvm_cpuid_entry2 *e)
{
    for (size_t i = 0; i < SIM_ARRAY_LEN(hidden); i++)
        if (hidden[i].function == e->function && (hidden[i].index == ANY || hidden[i].index == e->index))
            *reg_of(e, hidden[i].reg) &= ~hidden[i].bits;
}

static unsigned bits_for(uint32_t n)
{
    unsigned bits = 0;

    while (BIT(bits) < n)
        bits++;
    return bits;
}

/* Leaf 0xb: level 0 threads of a core, level 1 cores of the package. */
static void set_topology_level(struct kvm_cpuid_entry2 *e, uint32_t apic_id, uint32_t nr)
{
    const unsigned thread = 1, core = 2;

    e->eax = e->ebx = e->ecx = 0;
    e->edx = apic_id;
    e->ecx = e->index & 0xff;
    if (e->index == 0) {
        e->ebx = 1;
        e->ecx |= thread << 8;
    } else if (e->index == 1) {
        e->eax = bits_for(nr);
        e->ebx = nr;
        e->ecx |= core << 8;
    }
}

/* Leaves 4 (Intel) and 0x8000001d (AMD): who shares a cache. The last one is all CPUs' on one host, and else a core's own: an
 * operating system that was told so of CPUs of two NUMA nodes would find that its tables contradict each other. */
static void set_cache_sharing(struct kvm_cpuid_entry2 *e, uint32_t nr, bool spread)
{
    enum { SHARING_SHIFT = 14, LEVEL_SHIFT = 5, LAST_LEVEL = 3 };
    const uint32_t sharing = 0xfffu << SHARING_SHIFT, level = e->eax >> LEVEL_SHIFT & 7;

    e->eax &= ~sharing;
    if (level >= LAST_LEVEL && !spread)
        e->eax |= (BIT(bits_for(nr)) - 1) << SHARING_SHIFT;
}

static void set_topology(struct kvm_cpuid_entry2 *e, const struct hkvm_cpuid_place *at)
{
    const uint32_t apic_id = at->apic_id, nr = at->nr_vcpus;

    switch (e->function) {
    case 0x1:
        e->ebx = (e->ebx & 0xffff) | BIT(bits_for(nr)) << 16 | apic_id << 24;
        e->edx = nr > 1 ? e->edx | BIT(28) : e->edx & ~BIT(28);
        e->ecx |= BIT(31); /* a hypervisor is there */
        return;
    case 0x4: /* bits 31:26: cores of the package */
        e->eax = (e->eax & 0x3ffffff) | (BIT(bits_for(nr)) - 1) << 26;
        set_cache_sharing(e, nr, at->spread);
        return;
    case 0xb:
        set_topology_level(e, apic_id, nr);
        return;
    case 0x80000006: /* AMD's older CPUs have no leaf 0x8000001d: there an L3 is eight APIC ids' */
        e->edx = at->spread ? 0 : e->edx;
        return;
    case 0x8000001d:
        set_cache_sharing(e, nr, at->spread);
        return;
    case 0x80000008: /* AMD: cores of the package */
        e->ecx = nr > 1 ? bits_for(nr) << 12 | (nr - 1) : 0;
        return;
    case 0x8000001e: /* AMD: APIC id, core, node */
        e->eax = apic_id;
        e->ebx = apic_id;
        e->ecx = 0;
        return;
    }
}

/* Leaves that only tell topology in a newer way, or describe what is hidden. */
static bool is_left_out(uint32_t function)
{
    return function == 0x1f || function == 0x14 || function == 0x1d || function == 0x1e;
}

/* KVM gives leaf 0xb's first level only on some hosts: both are needed. */
static uint32_t need_topology_leaf(struct kvm_cpuid_entry2 *entry, uint32_t nr, uint32_t index)
{
    for (uint32_t i = 0; i < nr; i++)
        if (entry[i].function == 0xb && entry[i].index == index)
            return nr;
    if (nr == HKVM_MAX_CPUID)
        return nr;
    entry[nr] = (struct kvm_cpuid_entry2){.function = 0xb, .index = index, .flags = KVM_CPUID_FLAG_SIGNIFCANT_INDEX};
    return nr + 1;
}

/* What KVM's APICs have and ours have not: x2APIC, and a timer with TSC deadlines. */
static void hide_apic(struct kvm_cpuid_entry2 *e)
{
    if (e->function == 0x1)
        e->ecx &= ~(BIT(21) | BIT(24));
}

uint32_t hkvm_cpuid_apply(struct kvm_cpuid_entry2 entry[HKVM_MAX_CPUID], uint32_t nr, const struct hkvm_cpuid_place *at)
{
    uint32_t n = 0;

    for (uint32_t i = 0; i < nr; i++)
        if (!is_left_out(entry[i].function))
            entry[n++] = entry[i];
    n = need_topology_leaf(entry, n, 0);
    n = need_topology_leaf(entry, n, 1);
    for (uint32_t i = 0; i < n; i++) {
        hide(&entry[i]);
        set_topology(&entry[i], at);
        if (at->own_apics)
            hide_apic(&entry[i]);
    }
    return n;
}

struct cpuid_list {
    struct kvm_cpuid2 head;
    struct kvm_cpuid_entry2 entry[HKVM_MAX_CPUID];
};

enum sim_status hkvm_cpuid_set(struct hkvm_vcpu *h)
{
    struct cpuid_list *list = sim_new(struct cpuid_list);
    const char *what = "KVM_GET_SUPPORTED_CPUID";

    list->head.nent = HKVM_MAX_CPUID;
    int ret = ioctl(h->m->kvm, KVM_GET_SUPPORTED_CPUID, list);
    if (ret == 0) {
        const struct hkvm_cpuid_place at = {.apic_id = h->apic_id,
                                            .nr_vcpus = h->m->nr_vcpus,
                                            .own_apics = h->m->own_apics,
                                            .spread = h->m->is_remote != NULL};
        list->head.nent = hkvm_cpuid_apply(list->entry, list->head.nent, &at);
        what = "KVM_SET_CPUID2";
        ret = ioctl(h->fd, KVM_SET_CPUID2, list);
    }
    if (ret < 0)
        sim_error("KVM: vCPU %u: %s: %m", h->apic_id, what);
    sim_free(list);
    return ret < 0 ? SIM_ERR_IO : SIM_OK;
}
