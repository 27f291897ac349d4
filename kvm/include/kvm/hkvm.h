/* vCPUs on the host's KVM: the third kind behind sim-core's vcpu_ops, for x86-64 machines on x86-64 hosts.
 *
 *   struct mem_space (RAM)  -> memory slots            vcpu->ops->run -> KVM_RUN -> exit -> mem_mmio_*
 *   irq_line of a device    -> KVM_IRQ_LINE | irqfd    vcpu_kick      -> a signal ends KVM_RUN
 *
 * PIC, IOAPIC, PIT and local APICs are KVM's own, or (own_apics) local APICs are ours, and the IOAPIC a device as others are:
 * so on several ranks, since what KVM's APICs send stays in their VM. I/O ports are a window of the memory space, so that devices
 * need not know which kind of access reached them: port P is at HKVM_PORT_WINDOW + P, where no x86 CPU can address
 * memory.
 *
 * Everything is decided by opening /dev/kvm, creating a VM and asking for capabilities, never by CPU flags: a KVM
 * without svm or vmx exists (and cannot do everything: README.md). Where this program was built without KVM every
 * function is there, and says so. */
#ifndef KVM_HKVM_H
#define KVM_HKVM_H

#include "mem/dsm.h"
#include "mem/space.h"
#include "sim-core/irq.h"
#include "sim-core/vcpu.h"

#define HKVM_PORT_WINDOW (1ull << 56)

/* Where the registers of interrupt controllers are that are ours. */
#define HKVM_APIC_BASE 0xfee00000ull
#define HKVM_IOAPIC_BASE 0xfec00000ull
#define HKVM_IOAPIC_EOI (HKVM_IOAPIC_BASE + 0x40) /* takes the vector of a level-triggered interrupt that has ended */

enum {
    HKVM_NR_PORTS = 0x10000,
    HKVM_MAX_VCPUS = 254, /* 8-bit APIC ids */
    HKVM_NR_GSIS = 24     /* pins of the IOAPIC; the lowest 16 reach the PIC too */
};

/* --- what this host can do --- */

enum hkvm_state {
    HKVM_WORKS,
    HKVM_NOT_BUILT, /* another architecture, or no linux/kvm.h */
    HKVM_MISSING,   /* no /dev/kvm */
    HKVM_REFUSED,   /* it does not open, or creates no VM */
    HKVM_LACKING    /* a capability is missing that nothing replaces */
};

struct hkvm_report {
    enum hkvm_state state;
    char why[200];            /* one sentence; empty when it works */
    bool interprets_ring0;    /* guest kernels run in KVM's instruction emulator: slow, and not all of them */
    uint32_t max_vcpus;
    /* Capabilities that are of use when there; name NULL ends the list. */
    struct hkvm_capability {
        const char *name, *use;
        bool needed, there;
    } cap[24];
};

/* Opens /dev/kvm and makes a VM of no memory, which is gone when this returns. Logs nothing. Context: any; may block. */
void hkvm_probe(struct hkvm_report *out);
/* Where KVM works: do guests see the host's TSC, which nobody can set? In a restored guest it jumps. Takes a while (makes a
 * vCPU). */
bool hkvm_has_fixed_tsc(void);

/* --- a machine --- */

struct hkvm_machine;

struct hkvm_config {
    struct sim *sim;
    struct mem_space *space; /* RAM sealed; borrowed */
    uint32_t nr_vcpus;       /* 1..HKVM_MAX_VCPUS: CPUID tells the topology */
    uint64_t slice_ns;       /* how long a turn is at least; 0: short, for vCPUs that share a thread */
    bool own_apics;          /* a vCPU that halts leaves its thread to others. There is no PIC and no PIT */
    /* Those of other ranks (own_apics): known here, and never run. NULL: all are here. */
    bool (*is_remote)(void *opaque, uint32_t index);
    void *is_remote_opaque;
};

/* VM, memory slots, interrupt controllers, PIT. Logs why not. Context: launch. */
enum sim_status hkvm_machine_create(const struct hkvm_config *config, struct hkvm_machine **out) SIM_MUST_CHECK;
/* With its vCPUs. Executors have stopped. NULL is allowed. */
void hkvm_machine_destroy(struct hkvm_machine *m);
/* Adds the next vCPU to the simulation; its index in the machine is its APIC id. The first one is the boot CPU, the
 * others wait for INIT and SIPI. The machine owns it. */
enum sim_status hkvm_machine_add_vcpu(struct hkvm_machine *m, struct vcpu **out) SIM_MUST_CHECK;
/* Everything of KVM as after power-on: vCPUs, interrupt controllers, PIT. Executors stopped. */
enum sim_status hkvm_machine_reset(struct hkvm_machine *m) SIM_MUST_CHECK;

/* The guest's clocks (kvmclock, TSCs) stand from stop to go. Where nobody can set the TSC (hkvm_has_fixed_tsc), or for less
 * than a second, TSCs run on. On several ranks `go` is hkvm_machine_clock_follow. Context: no vCPU runs in between; `stop` before
 * the simulation's clock is stopped (or when the machine's state has been loaded), `go` when that goes on already. */
void hkvm_machine_clock_stop(struct hkvm_machine *m);
void hkvm_machine_clock_go(struct hkvm_machine *m);
/* The guest's clocks become the simulation's time, so that those of all ranks are in step. Context: before vCPUs run. */
void hkvm_machine_clock_follow(struct hkvm_machine *m);

/* A pin of KVM's IOAPIC (below 16: and of the PIC). Not with own_apics. No line when `gsi` is none of them. */
struct irq_line hkvm_machine_irq(struct hkvm_machine *m, uint32_t gsi);
/* The same pin as one of edges, which is what the guest must have been told of it: each irq_set(high) is an interrupt, by a write to
 * an eventfd (irqfd) or, where the host refuses that (a warning says so), by two ioctls; irq_set(low) is nothing. None is lost for a
 * device that says `high` again when it is loaded with something unacknowledged; one too many may come. Sent from any thread.
 * Context: launch, before vCPUs run. */
struct irq_line hkvm_machine_edge_irq(struct hkvm_machine *m, uint32_t gsi);
/* How many edges have gone by eventfd. Context: any. */
uint64_t hkvm_machine_edges_by_eventfd(const struct hkvm_machine *m);

/* --- where the boot CPU begins --- */

struct hkvm_entry {
    enum hkvm_entry_mode {
        HKVM_ENTRY_LONG,     /* 64-bit, paging on with the tables at cr3 (Linux' 64-bit boot protocol) */
        HKVM_ENTRY_PROTECTED /* 32-bit flat, paging off (PVH) */
    } mode;
    gpa_t rip;
    gpa_t cr3; /* HKVM_ENTRY_LONG */
    gpa_t gdt; /* HKVM_GDT_BYTES of RAM that get the descriptors */
    uint64_t rbx, rsi; /* PVH: start_info in rbx. Linux: boot_params in rsi */
};
enum { HKVM_GDT_BYTES = 40 };

/* Context: executors not running. SIM_ERR_RANGE (logged) when gdt is not RAM. */
enum sim_status hkvm_vcpu_boot(struct vcpu *v, const struct hkvm_entry *entry) SIM_MUST_CHECK;

/* --- saved state: the vCPU's is vcpu->ops->state --- */

void *hkvm_vcpu_state_object(struct vcpu *v);
/* Interrupt controllers, PIT, clock. To be loaded before the vCPUs'. */
const struct state_desc *hkvm_machine_state_desc(void);

/* --- a checkpoint's cut: frozen world --- */

/* Pages that vCPUs wrote since the last call get mem's dirty marks; the first call begins to keep account. Before the
 * snapshot begins; vCPUs may run, then what they write meanwhile is told by the next call. */
void hkvm_machine_collect_dirty(struct hkvm_machine *m);
/* A guard has been set: from now on it is asked before a vCPU's first write to each page. */
void hkvm_machine_write_protect(struct hkvm_machine *m);

/* --- vCPUs of one machine on several ranks: each has a VM over its own copy of RAM --- */

struct hkvm_coherence;
/* dsm_config.hold_max_ns: until the vCPU's thread that a page came for has woken up and run, which takes some milliseconds on a
 * host that is busy or itself a guest. */
enum { HKVM_HOLD_MAX_NS = 20000000 };

/* What enforces mem/dsm's permissions on vCPUs: the ops, and the opaque, of a dsm over the space. */
extern const struct dsm_enforce_ops hkvm_enforce_ops;
/* Takes vram away from the vCPUs (RAM sealed, nobody has run). Logs why not. Context: launch. */
enum sim_status hkvm_coherence_create(struct mem_space *space, struct ic *ic,
                                      struct hkvm_coherence **out) SIM_MUST_CHECK;
/* Pages come from here on; polls the interconnect. Before vCPUs run. */
enum sim_status hkvm_coherence_start(struct hkvm_coherence *c, struct dsm *dsm) SIM_MUST_CHECK;
/* The machine's writes are watched by `c` from here on, also for checkpoints (below): before vCPUs run. */
void hkvm_machine_set_coherence(struct hkvm_machine *m, struct hkvm_coherence *c);
/* While no vCPU runs: every page that one had asked for has come and is mapped. Context: any. */
bool hkvm_coherence_is_settled(struct hkvm_coherence *c);
/* A rank is lost or the protocol broken, and the run ends: who waits for a page goes on with what is here. Context: any. */
void hkvm_coherence_give_up(struct hkvm_coherence *c);
/* vCPUs stand, and so do those of other ranks that want our pages. */
void hkvm_coherence_stop(struct hkvm_coherence *c);
/* After the dsm. NULL is allowed. */
void hkvm_coherence_destroy(struct hkvm_coherence *c);
struct hkvm_coherence_stats {
    uint64_t faults, wait_ns; /* of vCPUs: from the message to the mapped page */
    uint64_t revoked;         /* pages taken away, or made read-only */
};
void hkvm_coherence_get_stats(const struct hkvm_coherence *c, struct hkvm_coherence_stats *out);

#endif
