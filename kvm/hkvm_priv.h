/* Inside the folder: a VM and its vCPUs as the files here see them. */
#ifndef HKVM_PRIV_H
#define HKVM_PRIV_H

#include <linux/kvm.h>
#include <sys/ioctl.h>
#include <time.h>

#include "apic.h"
#include "kvm/hkvm.h"

enum {
    HKVM_MAX_MSRS = 256,
    HKVM_MAX_CPUID = 128,
    HKVM_XSAVE_BYTES = 4096 /* KVM_GET_XSAVE; the CPUID policy leaves nothing out that needs more */
};

/* A vCPU at rest, as KVM's ioctls carry it: layouts are linux/kvm.h's for x86. Read by pre_save, written by
 * post_load. */
struct hkvm_regs_state {
    uint64_t regs[sizeof(struct kvm_regs) / 8]; /* rax..r15, rip, rflags */
    uint8_t sregs[sizeof(struct kvm_sregs)];
    uint8_t xsave[HKVM_XSAVE_BYTES];
    uint8_t xcrs[sizeof(struct kvm_xcrs)];
    uint8_t lapic[sizeof(struct kvm_lapic_state)];
    uint8_t events[sizeof(struct kvm_vcpu_events)];
    uint8_t debugregs[sizeof(struct kvm_debugregs)];
    uint32_t mp_state;
    uint32_t nr_msrs;
    uint32_t msr_index[HKVM_MAX_MSRS];
    uint64_t msr_value[HKVM_MAX_MSRS];
    uint32_t nr_cpuid;
    uint32_t cpuid[HKVM_MAX_CPUID][10]; /* struct kvm_cpuid_entry2 */
};

/* Owner: the executor that has the vCPU; launch while there is none. Lifetime: the machine's. One of another rank is a shadow:
 * no descriptor, and of its APIC only the addresses. */
struct hkvm_vcpu {
    struct vcpu vcpu; /* first */
    struct hkvm_machine *m;
    uint32_t apic_id;
    int fd;
    struct kvm_run *run; /* shared with the kernel */
    size_t run_bytes;
    bool io_pending;     /* the exit's access is finished by entering once more */
    int thread;          /* whose the slice timer is */
    timer_t slice;
    bool has_slice;
    _Atomic int in_guest; /* the thread that is inside KVM_RUN or about to be; 0: none. Read by interrupt() */
    struct hkvm_regs_state state, initial;
    struct apic apic;         /* own_apics */
    uint64_t slice_end_ns;    /* of the turn */
    vtime_t armed_due;        /* the APIC's deadline when the slice timer was armed */
    uint64_t stopped_tsc; /* 0: unknown, or it does not stand */
};

struct hkvm_protect;

/* Owner: launch. Lines are driven by any thread. Lifetime: the machine's. */
struct hkvm_machine {
    struct sim *sim;
    struct mem_space *space;
    uint32_t nr_vcpus, nr_added;
    uint64_t slice_ns; /* a turn takes at least this */
    uint64_t clock_ahead_ns; /* kvmclock less the simulation's time, modulo 2^64: when both last went, or shall go on */
    struct hkvm_vcpu **vcpu;
    bool own_apics;
    struct mem_region msi; /* own_apics */
    bool has_msi;
    bool (*is_remote)(void *opaque, uint32_t index); /* NULL: all vCPUs are here */
    void *is_remote_opaque;
    int kvm, vm;
    struct hkvm_protect *protect; /* NULL before the first checkpoint */
    struct hkvm_coherence *coherence; /* does its work over ranks; NULL: on one */
    bool logs_dirty;
    uint32_t nr_msrs; /* of the host's list of MSRs that are state */
    uint32_t msr[HKVM_MAX_MSRS];
    struct hkvm_vm_state {
        uint8_t irqchip[3][512];
        uint8_t pit[sizeof(struct kvm_pit_state2)];
        uint64_t clock_ns;       /* kvmclock; older images have nothing else of it */
        uint64_t clock_ahead_ns; /* of guest time */
    } state, initial;
    struct hkvm_pin {
        bool is_edge;
        int fd; /* an edge's eventfd; -1: it is two ioctls */
        _Atomic uint64_t edges; /* sent so far */
    } pin[HKVM_NR_GSIS];
    bool warned_of_edges; /* that the host refuses their eventfds */
};

static inline struct hkvm_vcpu *hkvm_vcpu_of(struct vcpu *v)
{
    return (struct hkvm_vcpu *)v;
}

/* probe.c: the descriptor of /dev/kvm, checked; -1: *out says why not. */
int hkvm_open(struct hkvm_report *out);

/* lines.c */
void hkvm_lines_init(struct hkvm_machine *m);
void hkvm_lines_close(struct hkvm_machine *m);
/* The interrupt controllers have been loaded: pins of edges are low. */
void hkvm_lines_rest(struct hkvm_machine *m);
/* A vCPU has been loaded: edges of before go on their way once more. Context: no vCPU runs. */
void hkvm_lines_raise_again(struct hkvm_machine *m);

/* vcpu.c */
extern const struct vcpu_ops hkvm_vcpu_ops;
enum sim_status hkvm_vcpu_create(struct hkvm_machine *m, uint32_t apic_id, struct hkvm_vcpu **out) SIM_MUST_CHECK;
void hkvm_vcpu_destroy(struct hkvm_vcpu *h);

/* protect.c: one that reports faults of the kernel's, too; -1: errno says why not. */
int hkvm_open_userfaultfd(void);
/* coherent.c: each page's next write faults, asks the guard and is marked. Frozen world. */
void hkvm_coherence_protect(struct hkvm_coherence *c);
/* KVM forgets what it has made of the guest's page tables: without two-dimensional paging it keeps copies of them, and sees no
 * writes but the vCPUs' own. Executors stopped. */
void hkvm_machine_renew_slots(struct hkvm_machine *m);
/* NULL is allowed */
void hkvm_protect_destroy(struct hkvm_protect *p);

/* exits.c: what the last KVM_RUN came back for. False: run() ends with *why. */
bool hkvm_exit(struct hkvm_vcpu *h, enum vcpu_exit *why);
/* Ends the run with one message that shows where the vCPU stands. */
void hkvm_broken(struct hkvm_vcpu *h, const char *fmt, ...) SIM_PRINTF(2, 3);

/* interrupts.c: of a machine whose APICs are ours */
enum hkvm_readiness { HKVM_READY, HKVM_WAITS, HKVM_BROKEN };
enum sim_status hkvm_interrupts_create(struct hkvm_machine *m) SIM_MUST_CHECK;
void hkvm_interrupts_destroy(struct hkvm_machine *m);
void hkvm_interrupts_add(struct hkvm_vcpu *h);
/* What has come for the vCPU is taken; does it enter guest code? Context: its executor. */
enum hkvm_readiness hkvm_interrupts_take(struct hkvm_vcpu *h);
/* The other ranks are told of its logical address. */
void hkvm_interrupts_tell(struct hkvm_vcpu *h);
/* It has executed HLT. */
void hkvm_interrupts_halt(struct hkvm_vcpu *h);
/* Of the page of registers. */
void hkvm_interrupts_access(struct hkvm_vcpu *h, uint32_t offset, uint8_t *data, uint32_t len, bool is_write);
void hkvm_interrupts_deliver(struct vcpu *v, uint32_t from_rank, const void *msg, uint32_t len);

/* cpuid.c: what the guest is told of its CPU; the same for each vCPU but for its APIC id. */
enum sim_status hkvm_cpuid_set(struct hkvm_vcpu *h) SIM_MUST_CHECK;
struct hkvm_cpuid_place {
    uint32_t apic_id, nr_vcpus;
    bool own_apics; /* have neither x2APIC nor TSC deadlines */
    bool spread;    /* over ranks: the guest is told a NUMA node for each, and no cache is common to them */
};
/* What the host supports -> what the guest is told; returns how many entries that are. */
uint32_t hkvm_cpuid_apply(struct kvm_cpuid_entry2 entry[HKVM_MAX_CPUID], uint32_t nr, const struct hkvm_cpuid_place *at);

/* clock.c: kvmclock in a machine's state. False: errno says why not. */
#define HKVM_AHEAD_UNKNOWN (1ull << 63)
bool hkvm_clock_get(struct hkvm_machine *m, struct hkvm_vm_state *s);
bool hkvm_clock_set(struct hkvm_machine *m, const struct hkvm_vm_state *s);

/* state.c. False: this host's KVM has no MSR of that number, or does not take the value. */
bool hkvm_msr_read(struct hkvm_vcpu *h, uint32_t index, uint64_t *value);
bool hkvm_msr_write(struct hkvm_vcpu *h, uint32_t index, uint64_t value);
extern const struct state_desc hkvm_vcpu_state;
enum sim_status hkvm_vcpu_get(struct hkvm_vcpu *h, struct hkvm_regs_state *s) SIM_MUST_CHECK;
enum sim_status hkvm_vcpu_set(struct hkvm_vcpu *h, const struct hkvm_regs_state *s) SIM_MUST_CHECK;
enum sim_status hkvm_vm_get(struct hkvm_machine *m, struct hkvm_vm_state *s) SIM_MUST_CHECK;
enum sim_status hkvm_vm_set(struct hkvm_machine *m, const struct hkvm_vm_state *s) SIM_MUST_CHECK;

#endif
