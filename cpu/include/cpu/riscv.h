/* RISC-V harts: configuration, creation, and what others may do to them.
 *
 * Machine: rv_machine is what the harts of one machine share (memory, translations, SBI).
 * Hart: a struct vcpu for executors; interrupts arrive through irq lines (rv_hart_irq).
 * The instruction set is data: cpu/riscv/insn.decode; see cpu/README.md. */
#ifndef CPU_RISCV_H
#define CPU_RISCV_H

#include <stdio.h>

#include "mem/space.h"
#include "sim-core/irq.h"
#include "sim-core/sim.h"
#include "sim-core/vcpu.h"

/* Extensions and options of a hart: name in enum, name in ISA strings and -cpu, on by default.
 * Order is the canonical order of ISA strings. */
#define RV_EXT_LIST(X)                                                                             \
    X(I, "i", 1) X(M, "m", 1) X(A, "a", 1) X(F, "f", 1) X(D, "d", 1) X(C, "c", 1)                  \
    X(V, "v", 0)                                                                                   \
    X(ZICBOM, "zicbom", 1) X(ZICBOP, "zicbop", 1) X(ZICBOZ, "zicboz", 1)                           \
    X(ZICNTR, "zicntr", 1) X(ZICOND, "zicond", 1) X(ZICSR, "zicsr", 1)                             \
    X(ZIFENCEI, "zifencei", 1) X(ZIHINTPAUSE, "zihintpause", 1) X(ZIHPM, "zihpm", 1)               \
    X(ZACAS, "zacas", 1) X(ZAWRS, "zawrs", 1)                                                      \
    X(ZBA, "zba", 1) X(ZBB, "zbb", 1) X(ZBS, "zbs", 1)                                             \
    X(ZVE32F, "zve32f", 0) X(ZVE32X, "zve32x", 0) X(ZVE64D, "zve64d", 0)                           \
    X(ZVE64F, "zve64f", 0) X(ZVE64X, "zve64x", 0)                                                  \
    X(SSTC, "sstc", 1) X(SVADU, "svadu", 1) X(SVINVAL, "svinval", 1) X(SVNAPOT, "svnapot", 1)      \
    X(SVPBMT, "svpbmt", 1)                                                                         \
    X(S, "s", 1) X(U, "u", 1) X(SV39, "sv39", 1) X(SV48, "sv48", 1) X(SV57, "sv57", 1)             \
    X(PMP, "pmp", 1)

#define RV_EXT_ENUM(name, string, on) RV_EXT_##name,
enum rv_ext { RV_EXT_LIST(RV_EXT_ENUM) RV_EXT_COUNT };
#undef RV_EXT_ENUM
_Static_assert(RV_EXT_COUNT <= 64, "extensions are a 64-bit set");

/* Bits of a vector register: a power of two in this range. */
enum { RV_VLEN_MIN = 128, RV_VLEN_MAX = 1024 };

struct rv_isa {
    uint64_t ext;  /* 1 << enum rv_ext */
    uint16_t vlen; /* of harts with vectors */
};

static inline bool rv_isa_has(const struct rv_isa *isa, enum rv_ext ext)
{
    return isa->ext >> ext & 1;
}

void rv_isa_default(struct rv_isa *isa);
/* "rv64", or "rv64,zba=off,sv57=off,vlen=256" (QEMU's -cpu form), or "rv64gc,...". Logs what it does not
 * know, or a combination that cannot be (d without f), and returns SIM_ERR_INVALID. */
enum sim_status rv_isa_parse_cpu(const char *text, struct rv_isa *isa) SIM_MUST_CHECK;
/* A device tree's "riscv,isa" ("rv64imafdc_zba_..."), and riscv,mmu-type ("riscv,sv48", NULL =
 * sv57). Extensions that Partita does not implement are ignored after one warning. */
enum sim_status rv_isa_parse_string(const char *isa_string, const char *mmu_type,
                                    struct rv_isa *isa) SIM_MUST_CHECK;
/* All that a cpu node says. Lists are `len` bytes of NUL-terminated names. */
struct rv_isa_node {
    const char *isa;        /* "riscv,isa", or NULL */
    const char *extensions; /* "riscv,isa-extensions": if given, it counts, and names all there are */
    size_t extensions_len;
    const char *mmu_type;   /* or NULL */
    const char *without;    /* "partita,without": what no binding tells (s, u, pmp), or NULL */
    size_t without_len;
};
enum sim_status rv_isa_parse_node(const struct rv_isa_node *node, struct rv_isa *isa) SIM_MUST_CHECK;
/* What Partita implements of "riscv,isa-extensions" (`len` bytes of whole strings) and "riscv,isa", in place; the bytes that
 * are left. *unknown: the names that went, a space before each; a list that is too long ends early. */
enum { RV_ISA_NAMES_SIZE = 512 };
size_t rv_isa_leave_known_list(char *list, size_t len, char unknown[RV_ISA_NAMES_SIZE]);
size_t rv_isa_leave_known_string(char *text, char unknown[RV_ISA_NAMES_SIZE]);
/* The "riscv,isa" string; snprintf-like. */
int rv_isa_format(const struct rv_isa *isa, char *buf, size_t size);
/* "riscv,sv57" ... or "riscv,none". */
const char *rv_isa_mmu_type(const struct rv_isa *isa);
/* Name of the i-th extension as in ISA strings ("zba"); NULL for options that are not part of
 * them (sv39, pmp, s, u are options). For "riscv,isa-extensions". */
const char *rv_ext_isa_name(enum rv_ext ext);
/* "zvl32b" for n = 0, "zvl64b" ... up to the hart's VLEN, then NULL: names of ISA strings that are a number here. */
const char *rv_isa_zvl_name(const struct rv_isa *isa, unsigned n);
/* Name of an option for "partita,without"; NULL for what another property tells. */
const char *rv_ext_option_name(enum rv_ext ext);

/* What the built-in SBI needs from the rest of the machine; any may be NULL. */
struct rv_sbi_ops {
    void (*putc)(void *opaque, uint8_t c);
    int (*getc)(void *opaque); /* -1: nothing */
};

/* How guest code is translated. */
enum rv_jit_tier {
    RV_JIT_DEFAULT, /* as the build says: PARTITA_DEFAULT_TIER, opt where nothing is said */
    RV_JIT_OPT,     /* with all optimisations, by the hart that needs it */
    RV_JIT_QUICK,   /* with few of them: sooner, to slower code */
    RV_JIT_AUTO,    /* quickly; what proves hot again with all of them, by a thread in the background */
    RV_JIT_NR_TIERS
};

struct rv_machine_config {
    struct sim *sim;
    struct mem_space *space;
    bool jit;              /* false: interpreter only */
    uint64_t jit_cache;    /* bytes of code cache, 0 = default */
    enum rv_jit_tier jit_tier;
    uint32_t jit_threshold; /* executions of a block before it is translated, at most 255; 0 = default */
    uint32_t jit_hot;       /* RV_JIT_AUTO: instructions in a region before it is translated again; 0 = default */
    bool sbi;              /* built-in SBI: harts start in S mode and ECALL from S is served here */
    const struct rv_sbi_ops *sbi_ops;
    void *sbi_opaque;
    uint64_t timebase_hz;  /* of time, mtime and stimecmp; 0 = 10 MHz */
    /* Does the hart with this index (order of rv_machine_add_hart) run on another rank? NULL: none does.
     * Such a hart exists here to be interrupted, started and fenced: sim_ranks_ops.post carries it over. */
    bool (*is_remote)(void *opaque, uint32_t index);
    void *is_remote_opaque;
};

struct rv_machine;
enum sim_status rv_machine_create(const struct rv_machine_config *config,
                                  struct rv_machine **out) SIM_MUST_CHECK;
/* Destroys the machine and its harts; executors have stopped. */
void rv_machine_destroy(struct rv_machine *m);

/* Adds a hart (stopped) and registers its vCPU with the sim. */
enum sim_status rv_machine_add_hart(struct rv_machine *m, uint64_t hartid, const struct rv_isa *isa,
                                    struct vcpu **out) SIM_MUST_CHECK;
struct vcpu *rv_machine_hart(struct rv_machine *m, uint64_t hartid); /* NULL: no such hart */
uint32_t rv_machine_nr_harts(const struct rv_machine *m);
uint64_t rv_hart_id(struct vcpu *v);
/* What the vCPU's state table (vcpu_ops.state) describes. */
void *rv_hart_state_object(struct vcpu *v);

/* Takes RAM pages away from all harts of this rank, or (write_only[i]) the permission to write them: on return
 * none uses it any more, and translations of pages taken away are gone. One round of safepoints for
 * all. Context: one thread at a time, without a running vCPU. */
void rv_machine_revoke(struct rv_machine *m, unsigned nr, const gpa_t gpa[], const bool write_only[]);

const struct rv_isa *rv_hart_isa(const struct vcpu *v);
/* Architectural reset of the hart: stopped, M mode (S with built-in SBI), memory untouched. */
void rv_hart_reset(struct vcpu *v);
/* Starts a stopped hart at pc with a0, a1, in M mode, or in S mode with satp 0 under the built-in
 * SBI. Context: launch thread before the run, or another hart (HSM). */
void rv_hart_start(struct vcpu *v, uint64_t pc, uint64_t a0, uint64_t a1);

/* Every hart forgets its write permissions before it runs again, so that the first write to each page is seen
 * (mem_page_acquire). Context: frozen world. */
void rv_machine_write_protect(struct rv_machine *m);
/* Tells all other ranks which harts of this one are stopped: after a restore they know of none. Context: launch. */
void rv_machine_tell_states(struct rv_machine *m);
/* The pages that the hart's TLBs have, roughly the most recent first; a page may come more than once. Context: frozen
 * world. */
void rv_hart_working_set(struct vcpu *v, void (*fn)(void *opaque, gpa_t page), void *opaque);

/* The input line of one mip bit (1 SSIP, 3 MSIP, 5 STIP, 7 MTIP, 9 SEIP, 11 MEIP): the sink that a
 * PLIC or ACLINT drives. Setting a line kicks the hart when that makes an interrupt pending. */
struct irq_line rv_hart_irq(struct vcpu *v, uint32_t mip_bit);

/* The guest wrote mtime, which `time` mirrors (Unpriv. Zicntr): from now on both are ticks of guest time
 * plus `offset` (modulo 2^64), on all ranks, and every hart looks at stimecmp again. Context: any. */
void rv_machine_set_time_offset(struct rv_machine *m, uint64_t offset);
/* Guest time base: ticks of timebase_hz now, and the guest time (ns) at which a tick is reached
 * (VTIME_NEVER when out of range). */
uint64_t rv_machine_time(const struct rv_machine *m);
uint64_t rv_machine_timebase(const struct rv_machine *m); /* Hz */
vtime_t rv_machine_tick_to_ns(const struct rv_machine *m, uint64_t tick);

/* Prints translation and TLB counters of all harts for --stats. Context: executors stopped. */
struct rv_machine_stats {
    uint64_t translations, translated_insns, code_bytes, flushes, invalidations, promotions;
    uint64_t tlb_fills, tlb_flushes, interp_insns, jit_insns, traps, interrupts, mmio;
};
void rv_machine_get_stats(const struct rv_machine *m, struct rv_machine_stats *out);

/* One line of disassembly of the instruction word(s) at pc; returns its length in bytes (2 or 4). */
unsigned rv_disasm(uint32_t raw, uint64_t pc, char *buf, size_t size);

/* Registers for tests, gdb and dumps. Context: the hart is not running. */
uint64_t rv_hart_get_x(struct vcpu *v, unsigned n);
void rv_hart_set_x(struct vcpu *v, unsigned n, uint64_t value);
uint64_t rv_hart_get_pc(struct vcpu *v);
void rv_hart_set_pc(struct vcpu *v, uint64_t pc);
void rv_hart_dump(struct vcpu *v, FILE *out);

#endif
