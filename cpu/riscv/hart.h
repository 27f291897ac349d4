/* struct rv_hart: one hart. The first part is addressed by translated code.
 *
 * Owner: the executor that runs it. Others: irq lines (pending bits, atomic) and requests (under
 * request_lock), each followed by vcpu_kick. Lifetime: the machine's. */
#ifndef CPU_RISCV_HART_H
#define CPU_RISCV_HART_H

#include <stdatomic.h>

#include "cpu/riscv.h"
#include "insn.h"
#include "sim-core/lock.h"
#include "tlb.h"

enum rv_priv { RV_U = 0, RV_S = 1, RV_M = 3 };

/* Priv. spec, mcause */
enum rv_cause {
    RV_EXC_INSN_MISALIGNED = 0,
    RV_EXC_INSN_ACCESS = 1,
    RV_EXC_ILLEGAL = 2,
    RV_EXC_BREAKPOINT = 3,
    RV_EXC_LOAD_MISALIGNED = 4,
    RV_EXC_LOAD_ACCESS = 5,
    RV_EXC_STORE_MISALIGNED = 6,
    RV_EXC_STORE_ACCESS = 7,
    RV_EXC_ECALL_U = 8,
    RV_EXC_ECALL_S = 9,
    RV_EXC_ECALL_M = 11,
    RV_EXC_INSN_PAGE = 12,
    RV_EXC_LOAD_PAGE = 13,
    RV_EXC_STORE_PAGE = 15,
    /* No traps: the instruction was not executed, and the run loop does what it needs first. Recorded like a
     * trap, so that every path which can fail can say it; rv_take_trap makes RV_STOP of them. */
    RV_CAUSE_WAIT = 64, /* a page is on its way from another rank */
    RV_CAUSE_MMIO = 65  /* several ranks: devices are accessed outside guest code (hart_vcpu.c) */
};

enum rv_stop_reason { RV_STOP_NONE, RV_STOP_WFI, RV_STOP_WRS, RV_STOP_PAUSE, RV_STOP_EXCLUSIVE,
                      RV_STOP_WAIT, RV_STOP_MMIO /* the last three: nothing was done */ };

enum { RV_REQ_FENCE_I = 1, RV_REQ_WPROT = 2, RV_REQ_HSM_START = 4, RV_REQ_WPROT_ALL = 8 };

/* A remote fence or revocation. asid == RV_ASID_ANY: all address spaces, and global pages; RV_ASID_EACH: without those. */
#define RV_ASID_ANY UINT64_MAX
#define RV_ASID_EACH (UINT64_MAX - 1)
#define RV_FENCE_LIST 8u
struct rv_fence_range {
    uint64_t va, size; /* size == UINT64_MAX: everything */
    uint64_t asid;
};

struct rv_requests {
    struct sim_mutex lock;
    uint32_t flags;
    uint32_t nr_ranges;
    struct rv_fence_range range[RV_FENCE_LIST];
    uint32_t nr_wprot;
    uint64_t wprot[16];             /* gpa pages to lose their write entries; overflow: RV_REQ_WPROT_ALL */
    uint64_t start_pc, start_a1;    /* RV_REQ_HSM_START */
    _Atomic uint64_t posted, served; /* sequence numbers */
};

/* One active PMP entry as a range; derived from pmpcfg and pmpaddr (pmp.c). */
struct rv_pmp_rule {
    uint64_t first, last; /* bytes, inclusive */
    uint8_t cfg;
};

#define RV_VLENB_MAX (RV_VLEN_MAX / 8)
#define RV_VKEY_NONE 0xffu

struct jit;      /* one per machine */
struct jit_hart; /* its part of a hart */

struct rv_hart {
    /* --- addressed by translated code: keep within the first 2 KiB --- */
    uint64_t x[32];       /* x[0] stays 0 */
    uint64_t f[32];       /* NaN-boxed */
    uint64_t pc;
    struct rv_tlb *tlb;   /* data accesses: effective privilege (MPRV) */
    struct rv_tlb *code_tlb; /* fetch and jump cache: real privilege */
    int64_t budget;       /* instructions left; < 0 leaves guest code */
    uint32_t mxcsr;       /* host FP state that belongs to the guest (jit only) */
    uint8_t frm;          /* fcsr.frm */
    uint8_t fflags;       /* accrued flags not in mxcsr */
    uint8_t fs_dirty;     /* FP state written: mstatus.FS reads as Dirty */
    uint8_t fp_on;        /* mstatus.FS != Off */
    uint64_t res_addr;    /* LR reservation: va, or RV_NO_RES */
    uint64_t res_value;
    uint64_t res_size;
    uint64_t res_sc;      /* address of the only SC that may succeed, or RV_SC_* (lrsc.h) */
    void *host_sp;        /* jit: C stack of jit_enter */
    uint64_t jit_scratch[32]; /* jit: spill area of helpers */
    int32_t spun;         /* jit: > 0: a loop that may only wait has had its chunk; < 0: its polls until then */
    uint8_t cbo_zero_on;  /* cbo.zero is legal in the current privilege (exec_cbo.c) */
    uint64_t code_base;   /* jit: page-aligned va of the region that runs */
    uint64_t indirect_from; /* jit: pc of the last indirect jump that the interpreter ran; RV_NO_JUMP: none */
    uint64_t vl, vtype, vstart;
    uint64_t vlenb;       /* bytes of a vector register */
    uint8_t vs_on;        /* mstatus.VS != Off */
    uint8_t vkey;         /* vtype for translated code: rv_vkey() while vl is VLMAX, vstart 0 and VS dirty, which needs
                           * no mark then */
    uint8_t vkey_any;     /* the same whatever vl is; follows vkey, for one store of both */
    uint8_t vxrm, vxsat;
    uint64_t vsplat[8];   /* jit: a scalar operand of a vector instruction, in each element */
    uint64_t vmask[8];    /* jit: which elements there are, where vl is below VLMAX: a bit each */
    uint8_t vs_dirty;     /* mstatus.VS reads as Dirty */
    uint32_t trap_cause;  /* set with RV_TRAP */
    uint32_t stop_reason; /* set with RV_STOP */
    uint64_t trap_tval;
    uint64_t *counters;   /* of observers (observe/observe.h); NULL: never observed */

    /* --- the rest: C only --- */
    struct vcpu vcpu;
    struct rv_machine *machine;
    struct rv_isa isa;
    uint16_t isa_class;   /* harts of the machine that have the same ISA have the same; the first is of class 0 */
    uint64_t hartid;
    uint8_t priv;
    uint8_t waiting;      /* until an interrupt is pending: RV_WAIT_* */
    uint8_t stopped;      /* HSM: not started */
    uint8_t exclusive;    /* every other vCPU is stopped (run_exclusive) */
    uint8_t mmio_step;    /* one instruction is interpreted that may leave to access a device */
    uint8_t holds_pages;  /* several ranks: pages came for an instruction that has not retired yet */
    uint8_t observe;      /* what of it is observed: RV_OBSERVE_*; 0: nothing */
    uint8_t observe_class;/* of the code being looked up: 1 when it is observed */
    uint8_t watch_privs;  /* TLB entries of pages from watch_lo to watch_hi are RV_TLB_WATCHED in contexts of these privileges */
    uint8_t sbi;          /* ECALL from S goes to the built-in SBI */
    uint64_t watch_lo, watch_hi;
    struct observe_hart *observing;
    int64_t slice;        /* budget at the start of run(); retired = insns + slice - budget */
    uint64_t insns;       /* retired before this slice */

    /* CSRs */
    uint64_t mstatus, misa, medeleg, mideleg, mie, mtvec, mcounteren, mscratch, mepc, mcause, mtval;
    uint64_t menvcfg, mcountinhibit, mseccfg;
    uint64_t stvec, scounteren, sscratch, sepc, scause, stval, satp, senvcfg, stimecmp;
    uint64_t mcycle_offset, minstret_offset; /* added to the running counters */
    uint64_t pmpaddr[16];
    uint8_t pmpcfg[16];
    _Atomic uint64_t irq_pins; /* levels of the external lines, mip bit positions */
    uint64_t mip_soft;         /* bits software wrote (STIP, SEIP); SSIP lives in irq_pins */
    uint64_t timer_pending;    /* STIP from stimecmp as of the last rv_timer_update: 0 or the bit */

    /* Derived, or caches */
    struct rv_pmp_rule pmp[16];
    uint8_t nr_pmp;
    struct rv_tlb *tlb_pool[RV_TLB_CONTEXTS];
    struct rv_tlb_key tlb_key[RV_TLB_CONTEXTS]; /* of tlb_pool; kept together: searched on each trap */
    uint8_t tlb_holds[RV_TLB_CONTEXTS]; /* RV_TLB_HOLDS_* */
    uint64_t tlb_stamp;
    uint64_t waits; /* how often it had nothing to do: rv_tlb_trim */
    struct { /* the RAM region the last page walk read from; RAM regions never go away */
        gpa_t base;
        uint64_t size;
        uint8_t *host;
    } walk_ram;
    struct rv_insn *decoded; /* the interpreter's decode cache */
    uint32_t decoded_mask;
    struct jit_hart *jit;    /* NULL until jit_run */
    struct rv_requests req;
    _Atomic uint64_t revokes_seen; /* of machine->revoke: done by this hart */
    uint64_t state_nr;             /* HSM states told of this hart; of one elsewhere: the last that was heard */
    _Atomic uint32_t acks_due;     /* remote fences of this hart that other ranks have not answered */
    uint64_t polled_ns;            /* the last look at messages of other ranks */
    uint32_t look_ns;              /* from one to the next */
    uint32_t chunk;                /* instructions between two passes of the run loop (hart_vcpu.c); 0: none yet */
    bool shares_code;              /* in this turn: supervisor code has a context apart, which goes from hart to hart (tlb_shared.c) */

    struct {
        uint64_t tlb_fills, tlb_flushes, interp_insns, jit_insns, traps, interrupts, mmio;
    } count;

    /* v0 to v31, vlenb bytes each, without gaps; addressed by translated code */
    uint8_t v[32 * RV_VLENB_MAX] __attribute__((aligned(64)));
    uint8_t v_end[512]; /* pieces of v31, and what is slid out of it, may be read beyond it; nothing is there */
};
#define RV_NO_RES UINT64_MAX
#define RV_NO_JUMP UINT64_MAX

enum { RV_WAIT_NOT, RV_WAIT_WFI, RV_WAIT_SUSPENDED /* SBI hart suspend: HSM status differs */ };

#define RV_REVOKE_LOG 2048u

struct rv_machine {
    struct rv_machine_config config;
    struct sim *sim;
    struct mem_space *space;
    struct jit *jit;   /* NULL: interpreter only */
    struct rv_observe *observe; /* observe/observe.h; NULL: never observed */
    struct code_log *code_log; /* cpu/code_log.h; NULL: none */
    uint64_t timebase_hz;
    _Atomic uint64_t time_offset; /* rv_machine_set_time_offset */
    struct rv_hart **harts; /* by index; hartids need not be dense */
    struct rv_hart **by_id; /* the same, by rising hartid */
    uint32_t nr_harts;
    struct sim_mutex spare_lock;
    struct rv_tlb *spare_tlb; /* contexts that no hart has; under spare_lock, as tlb_chunks */
    struct rv_tlb_chunk *tlb_chunks; /* all there are (tlb.c) */
    struct rv_tlb *shelf[SIM_MAX_TURNS]; /* by executor, whose they are: tlb_shared.c */
    _Atomic uint64_t global_fences; /* fences of global pages that any hart has done */
    struct rv_revoke_log { /* revoke.c */
        struct sim_mutex lock; /* of writers */
        struct rv_revoke {
            gpa_t gpa;
            bool write_only; /* may still be read */
            bool wide;       /* runs of pages that it may be in are not written any more either */
        } entry[RV_REVOKE_LOG];
        _Atomic uint64_t nr; /* ever written */
    } revoke;
};

static inline struct rv_hart *rv_hart_of(struct vcpu *v)
{
    return SIM_CONTAINER_OF(v, struct rv_hart, vcpu);
}

/* Instructions retired until now (minstret without its offset). */
static inline uint64_t rv_insns(const struct rv_hart *h)
{
    return h->insns + (uint64_t)(h->slice - h->budget);
}

/* --- trap.c --- */
/* Records a trap; returns RV_TRAP for `return rv_trap(...)`. */
static inline enum rv_exec rv_trap(struct rv_hart *h, enum rv_cause cause, uint64_t tval)
{
    h->trap_cause = cause;
    h->trap_tval = tval;
    return RV_TRAP;
}
static inline enum rv_exec rv_illegal(struct rv_hart *h, const struct rv_insn *i)
{
    return rv_trap(h, RV_EXC_ILLEGAL, i->raw);
}
/* Takes the recorded trap: CSRs, privilege, pc = vector (Priv. 3.1.6-3.1.16), and returns RV_JSYNC.
 * Built-in SBI calls (ECALL from S) are served here and continue after the instruction; they may
 * return RV_STOP (h->stop_reason). Either way pc is final and the trap has charged itself one
 * instruction of budget, so that a loop of traps ends: the instruction itself is not charged. */
enum rv_exec rv_take_trap(struct rv_hart *h);
/* Takes the highest-priority pending and enabled interrupt, if any; true when it did. */
bool rv_take_interrupt(struct rv_hart *h);
uint64_t rv_mip(const struct rv_hart *h);          /* with STIP as of the last timer update */
/* Compares stimecmp with the time. The run loop does it after each chunk: where time is counted of so many instructions, else
 * of as many as take some 25 us, as soon as a budget has more than one chunk. */
void rv_timer_update(struct rv_hart *h);
#define RV_CHUNK_INSNS 50000
/* Where time is counted (--clock virtual) chunks end by their budget, to the instruction, and whatever engine
 * runs them: so a kick is not looked at before, and a run can be repeated bit for bit. */
static inline bool rv_counts_time(const struct rv_hart *h)
{
    return h->machine->sim->clock.mode == SIM_CLOCK_VIRTUAL;
}
/* Guest time (ns) at which stimecmp wakes the hart if it idles, or VTIME_NEVER. */
vtime_t rv_timer_deadline(const struct rv_hart *h);
bool rv_interrupt_deliverable(const struct rv_hart *h); /* would rv_take_interrupt take one? */
bool rv_interrupt_pending(const struct rv_hart *h);/* enabled in mie, whatever xIE says: wakes WFI */

/* --- csr.c --- RV_TRAP (illegal) or RV_NEXT/RV_SYNC; *old is read unless `old` is NULL. */
enum rv_exec rv_csr_rmw(struct rv_hart *h, const struct rv_insn *i, unsigned csr, uint64_t *old,
                        bool write, uint64_t set_mask, uint64_t new_bits);
/* Is the CSR a word of rv_hart that is read as it is, and written, but for the bits out of *mask, without consequences?
 * For harts of this isa in privilege `priv`. */
bool rv_csr_is_word(const struct rv_isa *isa, unsigned priv, unsigned csr, bool write, size_t *offset, uint64_t *mask);
uint64_t rv_sstatus_view(void); /* bits of mstatus that are seen in sstatus; SD is not kept in mstatus */
/* Does the hart have satp's mode? */
bool rv_satp_legal(const struct rv_hart *h, uint64_t satp);
/* The bits of menvcfg that the hart's extensions have. */
uint64_t rv_menvcfg_mask(const struct rv_hart *h);
/* Status of FP: called by the CSR code and traps when mstatus changes. */
void rv_fp_sync(struct rv_hart *h);

/* --- vec.c --- */
/* Status of vectors, vkey and vkey_any: after a change of mstatus, vl, vtype or vstart. */
void rv_vec_sync(struct rv_hart *h);
void rv_vec_reset(struct rv_hart *h);
/* Could the hart have come to its vl, vtype, vstart, vxrm and vxsat? */
bool rv_vec_state_legal(const struct rv_hart *h);
/* SEW and LMUL. The policy bits change nothing here. */
static inline uint8_t rv_vkey(uint64_t vtype)
{
    return vtype & 0x3f;
}

/* --- exec_cbo.c --- Recomputes cbo_zero_on; rv_tlb_select does it, and writes of *envcfg. */
void rv_cbo_sync(struct rv_hart *h);

/* --- mmu.c, mem.c --- see mem.h */
/* --- tlb.c --- */
/* Selects h->tlb and h->code_tlb for the current privilege, satp and mstatus. Call after any change
 * of those. */
void rv_tlb_select(struct rv_hart *h);
/* The hart has nothing to do: gives the machine what contexts it did without for some waits. */
void rv_tlb_trim(struct rv_hart *h);
/* All contexts of the machine. Context: it goes, and its harts have gone. */
void rv_tlb_free_all(struct rv_machine *m);
void rv_tlb_flush_all(struct rv_hart *h);
void rv_tlb_flush_range(struct rv_hart *h, const struct rv_fence_range *r);
void rv_tlb_write_protect(struct rv_hart *h, uint64_t gpa_page);
void rv_tlb_write_protect_all(struct rv_hart *h);
/* Takes away every entry for the guest-physical page, or (write_only) the permission to write it; `wide`: and that to write runs of
 * pages. */
void rv_tlb_revoke(struct rv_hart *h, gpa_t gpa_page, bool write_only, bool wide);
/* The fetch entry, or the entry, of page va is about to be replaced (mem.c). */
void rv_tlb_fetch_displaced(struct rv_tlb *t, uint64_t va);
void rv_tlb_entry_displaced(struct rv_tlb *t, uint64_t va);
/* A page was filled for a load or store that the leaf permits: what lies around it may be used as well from now on (tlb_block.c). */
struct rv_leaf;
void rv_tlb_find_block(struct rv_hart *h, gva_t va, const struct rv_leaf *leaf, bool write);
bool rv_tlb_in_block(const struct rv_tlb *t, gva_t va, bool write);
/* Entries or a block come from superpages that map [first, last]. */
void rv_tlb_note_large(struct rv_tlb *t, gva_t first, gva_t last);
/* A slot whose range has the addend of the entry for `page` that permits the access takes that page in, if
 * there are such entries for all pages between them; else it has only this page from now on. */
void rv_tlb_widen_slot(struct rv_tlb *t, unsigned slot, uint64_t page, unsigned headroom, bool write);
/* An entry or fetch entry for the page of gpa is being filled. */
void rv_tlb_note_gpa(struct rv_tlb *t, gpa_t gpa);
/* Forgets jump-cache entries (all contexts): code was invalidated. */
void rv_tlb_flush_jumps(struct rv_hart *h);

/* For tlb_shared.c. A slot of the hart's pool without a context. */
unsigned rv_tlb_free_slot(struct rv_hart *h);
/* Of a kernel's code: as if it had global pages of the upper half, whatever it has. */
void rv_tlb_put_in(struct rv_hart *h, unsigned slot, struct rv_tlb *t);
struct rv_tlb *rv_tlb_take_out(struct rv_hart *h, unsigned slot);
/* What it knew is lost: for any hart of the machine. */
void rv_tlb_give_up(struct rv_hart *h, unsigned slot);
void rv_tlb_spare(struct rv_machine *m, struct rv_tlb *t);
void rv_tlb_empty(struct rv_tlb *t);
void rv_tlb_empty_jumps(struct rv_tlb *t);

/* --- tlb_shared.c --- The context of a kernel's code goes from hart to hart of an executor. */
/* Between these two the hart may run: it has taken the executor's context, and h->code_tlb is selected; outside that may be
 * NULL. Context: executor, the hart running. */
void rv_tlb_begin_turn(struct rv_hart *h);
void rv_tlb_end_turn(struct rv_hart *h);
/* A translation of va, being filled, went through this entry of the root table. */
void rv_tlb_note_root(struct rv_tlb *t, gva_t va, uint64_t pte);
/* The hart has done a fence of global pages, in its own contexts: what lies on shelves has not seen it. */
void rv_tlb_note_global_fence(struct rv_hart *h);
uint64_t rv_tlb_fences(const struct rv_machine *m); /* so many until now */
/* Forgets the jumps of contexts that no hart has. Context: no vCPU runs but the caller's. */
void rv_tlb_flush_shared_jumps(struct rv_machine *m);

/* --- fence_list.c --- */
/* `list` has room for RV_FENCE_LIST, *nr are there: `r` as well, or ranges that include it. */
void rv_fence_list_add(struct rv_fence_range *list, uint32_t *nr, const struct rv_fence_range *r);

/* --- request.c --- */
/* Posts to another hart and (with wait) returns when it has taken effect there. */
void rv_request_fence(struct rv_hart *self, struct rv_hart *target, uint32_t flags,
                      const struct rv_fence_range *range);
void rv_request_wait(struct rv_hart *self, struct rv_hart *target);
void rv_request_write_protect(struct rv_hart *self, struct rv_hart *target, uint64_t gpa_page);
/* HSM: starts a stopped hart at its next safepoint; false when it is not stopped or is being started
 * already. Context: any thread. */
bool rv_hart_request_start(struct rv_hart *target, uint64_t pc, uint64_t a1);
/* Of a hart of this rank, or one that is just arriving here. */
bool rv_hart_request_start_here(struct rv_hart *target, uint64_t pc, uint64_t a1);
void rv_requests_serve(struct rv_hart *h);
/* Forgets what was posted (reset, restore). Context: executors stopped. */
void rv_requests_drop(struct rv_hart *h);

/* --- revoke.c --- Does what the revoke log asks since this hart last looked; at once when nothing new. */
void rv_revokes_serve(struct rv_hart *h);
/* Nobody has a write entry for the page any more, or will use one: those that do not run read it in the log. Serves h's own
 * requests. Context: executor, h running. */
void rv_revoke_writes(struct rv_hart *h, gpa_t gpa_page);

/* --- remote.c: harts on other ranks --- */
/* Drives a line of a hart elsewhere. Context: any. */
void rv_remote_line(struct rv_hart *target, uint32_t mip_bit, bool level);
void rv_remote_start(struct rv_hart *target, uint64_t pc, uint64_t a1);
/* A message drives a line of a hart of this rank, or of one that is just arriving (trap.c). */
void rv_drive_line_here(struct rv_hart *h, uint32_t number, bool level);
/* The hart's HSM state has changed: tells the other ranks, whose status calls read their copy. Context: its req.lock
 * held, or its executor while it is started. */
enum rv_told_state { RV_TOLD_STARTED, RV_TOLD_STOPPED, RV_TOLD_SUSPENDED };
void rv_remote_tell_state(struct rv_hart *h, enum rv_told_state state);
/* Remote fence for the harts of other ranks that the mask names, one message a rank; rv_remote_fence_wait
 * returns when all have answered. Context: executor, h not running while it waits. */
struct rv_hart_mask {
    uint64_t bits, base; /* of hart ids, as in SBI calls; base UINT64_MAX: all */
};
static inline bool rv_mask_has(const struct rv_hart_mask *m, uint64_t hartid)
{
    if (m->base == UINT64_MAX)
        return true;
    return hartid >= m->base && hartid - m->base < 64 && (m->bits >> (hartid - m->base) & 1);
}
/* The harts of the mask, on whatever rank, one after the other; *at begins as 0; NULL: no more. */
struct rv_hart *rv_mask_next(struct rv_machine *m, const struct rv_hart_mask *mask, uint32_t *at);
void rv_remote_fence(struct rv_hart *self, const struct rv_hart_mask *mask, uint32_t flags,
                     const struct rv_fence_range *range);
void rv_remote_fence_wait(struct rv_hart *self);
/* Tells every other rank. */
void rv_remote_tell_time(struct rv_machine *m, uint64_t offset);
/* rv_machine_set_time_offset for the harts of this rank. */
void rv_time_moved(struct rv_machine *m, uint64_t offset);
void rv_remote_deliver(struct vcpu *v, uint32_t from_rank, const void *msg, uint32_t len);

/* --- pmp.c --- */
/* Recomputes h->pmp after pmpcfg or pmpaddr changed. */
void rv_pmp_update(struct rv_hart *h);
/* R=1 W=2 X=4 that `priv` has on [gpa, gpa + len); 0 when the range is only partly in the entry
 * that matches first. */
unsigned rv_pmp_perm(const struct rv_hart *h, gpa_t gpa, uint64_t len, enum rv_priv priv);
/* Is the whole page of gpa under one rule? Only then may a TLB entry stand for it. */
bool rv_pmp_uniform(const struct rv_hart *h, gpa_t gpa);
bool rv_pmp_uniform_range(const struct rv_hart *h, gpa_t first, gpa_t last);

/* --- hart.c, interp.c: engines --- Runs guest code until budget < 0, a kick, or something that needs
 * the run loop (RV_STOP; RV_SYNC-like changes are handled inside). */
enum rv_stop_reason rv_interp_run(struct rv_hart *h);
/* Executes exactly one instruction at h->pc, charges it and takes its trap; pc is final afterwards.
 * After RV_SYNC and RV_JSYNC the caller looks at rv_take_interrupt; h->tlb and h->code_tlb may have
 * changed. RV_STOP: h->stop_reason. */
enum rv_exec rv_interp_step(struct rv_hart *h);
enum rv_exec rv_interp_step_plain(struct rv_hart *h); /* unobserved whatever hart.observe says */
/* As rv_interp_step until a branch, jump, trap, or SYSTEM instruction was executed, the page ends (what
 * follows an instruction over a page end has its own translation), or the budget is
 * used up: the JIT's cold path. */
enum rv_exec rv_interp_block(struct rv_hart *h);
/* Semantics alone, with the checks that every instruction has (FP on, LR/SC): no pc, no budget. */
enum rv_exec rv_execute(struct rv_hart *h, const struct rv_insn *i);
enum rv_stop_reason jit_run(struct rv_hart *h); /* cpu/jit */

/* --- wait_loop.c --- Set vcpu.watch when it is known what the hart waits for. Context: vcpu. */
void rv_watch_reservation(struct rv_hart *h); /* after WRS */
void rv_watch_loop(struct rv_hart *h);        /* in a loop that seems to wait; may run a round of it */

/* --- sbi.c --- Serves the ECALL in h->x[10..17]; returns what the hart does next. */
enum rv_exec rv_sbi_ecall(struct rv_hart *h);

extern const struct vcpu_ops rv_vcpu_ops;
extern const struct state_desc rv_hart_state;

#endif
