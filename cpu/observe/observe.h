/* Observers: what wants to be told of guest code as it runs (traces, plugins). A machine without any pays nothing.
 *
 *   rv_observe_start -> per hart: what is observed (hart.observe) -> engines:
 *     blocks        first execution: ops->block, which hangs actions on its instructions
 *     instructions  the interpreter fires actions (rv_observe_step); translated code has them built in, as counters
 *                   (IR_COUNT) and calls (IR_OBSERVE)
 *     accesses      pages in the watched range have TLB entries that only mem.c's slow paths find (RV_TLB_WATCHED)
 *     traps         rv_take_trap, rv_take_interrupt
 *
 * Translations of observed code and of the same code unobserved live side by side: which one a hart runs goes by its
 * class (rv_observe_class), which is a function of hart, privilege and virtual page, so that jumps within a page
 * and jump caches never lead from one to the other. Starting and stopping empties the code cache.
 *
 * Blocks are what the engines take for such: they begin where control arrives, and end with a branch, a jump or a
 * SYSTEM instruction, at the page's end, and in translated code where another block begins. So block boundaries
 * depend on the engine; the instructions executed do not.
 *
 * Threads: blocks are made under `lock`; their actions are constant afterwards. Everything about a hart is its
 * executor's. */
#ifndef CPU_OBSERVE_H
#define CPU_OBSERVE_H

#include "cpu/observe_filter.h"
#include "cpu/symbols.h"
#include "hart.h"
#include "insn.h"
#include "sim-core/lock.h"

struct observer;
struct observed_block;

struct observed_insn;
/* Called before the instruction executes, where the observer's filter lets it through; pc and x registers of the
 * hart are exact. */
typedef void (*observe_fn)(struct observer *o, struct rv_hart *h, const struct observed_insn *i, void *udata);

/* What happens when control reaches an instruction. fn NULL: counter `counter` += n, whoever executes it. */
struct observe_action {
    struct observe_action *next; /* in the order they were added */
    struct observer *observer;
    observe_fn fn;
    void *udata;
    uint32_t counter;
    int32_t n;
};

struct observed_insn {
    struct rv_insn insn;
    uint16_t offset; /* in the page */
    struct observed_block *block;
    struct observe_action *actions; /* NULL: none */
};

struct observed_block {
    struct observed_block *next; /* in its bucket; lists only grow while observers run */
    gpa_t gpa;
    gva_t va;                    /* where it was when it was found */
    uint16_t nr;
    struct observe_action *entered; /* of the block itself, before those of its first instruction */
    struct observed_insn insn[];
};

enum rv_access_kind { RV_ACCESS_LOAD, RV_ACCESS_STORE, RV_ACCESS_AMO };
struct observed_access {
    gva_t va;
    gpa_t gpa;
    uint64_t value; /* loaded or stored, zero-extended; AMO: what was there before; 16 bytes and more: 0 */
    uint8_t size, kind;
    bool mmio;
};

/* Any may be NULL. */
struct observer_ops {
    /* A block before its first execution: adds actions. Context: any executor, `lock` held. */
    void (*block)(struct observer *o, struct rv_hart *h, struct observed_block *b);
    /* A watched access has been done. */
    void (*access)(struct observer *o, struct rv_hart *h, const struct observed_access *a);
    /* A trap or interrupt is about to be taken at h->pc; cause as in mcause. */
    void (*trap)(struct observer *o, struct rv_hart *h, uint64_t cause, uint64_t tval);
};

struct observer {
    const struct observer_ops *ops;
    struct rv_observe_filter filter;
    bool counts; /* uses counters */
    struct observer *next;
};

enum { OBSERVE_BUCKETS = 1 << 14, OBSERVE_MAX_BLOCKS = 1 << 22, OBSERVE_BLOCK_INSNS = 64,
       OBSERVE_COUNTERS = 1 << 20 };

/* Owner: lists of observers: no vCPU runs. */
struct rv_observe {
    struct rv_machine *machine;
    struct observer *observers;
    struct sim_mutex lock; /* blocks, counters given out */
    bool full;             /* too many blocks: said once */
    uint32_t nr_blocks, nr_counters;
    _Atomic(struct observed_block *) bucket[OBSERVE_BUCKETS];
};

/* What hart.observe says. */
enum { RV_OBSERVE_CODE = 1, RV_OBSERVE_ACCESSES = 2, RV_OBSERVE_TRAPS = 4 };

/* Of a hart, when something observes it. */
struct observe_hart {
    /* the interpreter's place: */
    const struct observed_block *block;
    unsigned index;
    gva_t next_pc;
    bool again; /* the instruction at again_pc was given up after its actions had fired */
    gva_t again_pc;
    /* an atomic access under way */
    bool pending;
    const void *place; /* in host memory */
    struct observed_access access;
};

/* --- observe.c --- */
/* Adds an observer; before the first event. Context: executors stopped, or a frozen world; launch or I/O thread. */
void rv_observe_start(struct rv_machine *m, struct observer *o);
/* Removes it. Context as rv_observe_start. */
void rv_observe_stop(struct rv_machine *m, struct observer *o);
/* Machine.c's: frees what is left. */
void rv_observe_destroy(struct rv_machine *m);

/* Is the code at va observed when this hart executes it? 0 or 1. Context: the hart's executor, hart.observe != 0. */
unsigned rv_observe_class(const struct rv_hart *h, gva_t va);
/* The block of nr instructions at gpa, made when it is new; NULL: too many. Context: the hart's executor. */
const struct observed_block *rv_observe_block(struct rv_hart *h, gva_t va, gpa_t gpa, unsigned nr,
                                              const struct rv_insn *const insn[]);
/* The calls among the actions of the instruction at h->pc, and of its block when it is the first; counters are the
 * translated code's business. */
void rv_observe_call(struct rv_hart *h, const struct observed_insn *i);

/* Within ops->block only. */
void rv_observe_add_call(struct observe_action **list, struct observer *o, observe_fn fn, void *udata);
void rv_observe_add_count(struct observe_action **list, struct observer *o, uint32_t counter, int32_t n);
/* A new counter, 0 for every hart; UINT32_MAX: there are no more. Takes the lock unless `locked`. Its users are
 * observers that have `counts`. */
uint32_t rv_observe_new_counter(struct rv_machine *m, bool locked);

/* The interpreter with observation (interp.c hands over when hart.observe is set). */
enum rv_exec rv_observe_step(struct rv_hart *h);
enum rv_exec rv_observe_interp_block(struct rv_hart *h);
enum rv_stop_reason rv_observe_interp_run(struct rv_hart *h);
/* The run loop's: the instruction at h->pc was not executed and will be tried again. */
void rv_observe_given_up(struct rv_hart *h);

void rv_observe_trap(struct rv_hart *h, uint64_t cause, uint64_t tval);

/* --- watch.c: accesses --- */
/* Accesses to va in a context of this privilege. */
static inline bool rv_watched(const struct rv_hart *h, unsigned priv, gva_t va)
{
    return h->watch_lo <= va && va <= h->watch_hi && (h->watch_privs >> priv & 1);
}
/* An access has been done. Context: hart.observe has RV_OBSERVE_ACCESSES. */
void rv_watch_access(struct rv_hart *h, gva_t va, gpa_t gpa, unsigned size, enum rv_access_kind kind, uint64_t value,
                     bool mmio);
/* An atomic access goes to host memory p; rv_watch_end tells of it when the instruction is done. */
void rv_watch_begin(struct rv_hart *h, gva_t va, gpa_t gpa, unsigned size, const void *p);
void rv_watch_end(struct rv_hart *h, const struct rv_insn *i, enum rv_exec result);

#endif
