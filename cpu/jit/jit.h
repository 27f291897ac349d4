/* The JIT of one machine: code cache, translations, and the engine the run loop calls.
 *
 *   rv_machine_create -> jit_create (config.jit) ... vcpu run loop -> jit_run -> translated code
 *
 * jit_run (hart.h) has the contract of rv_interp_run and falls back to it when there is no JIT.
 * Threads: jit_run on any executor, one per hart. Translation and the tables of translations are
 * under one lock of rank SIM_RANK_JIT; running code and hitting the jump cache take none. */
#ifndef CPU_JIT_H
#define CPU_JIT_H

#include "cpu/riscv.h"
#include "hart.h"
#include "sim-core/status.h"

/* What tests and developers may change; all zero is the default, but threshold and hot_insns as they were. */
struct jit_options {
    uint64_t host_mask;   /* host features (enum x86_feature bits) to do without */
    uint32_t threshold;   /* executions of a block before it is translated */
    uint32_t max_insns;   /* longest region */
    enum rv_jit_tier tier;
    uint32_t hot_insns;   /* RV_JIT_AUTO: instructions in a region before it is translated again */
    FILE *dump;           /* IR and host code of each region are written here */
};

/* cache_bytes 0: default size. Fails (logged once, SIM_ERR_UNSUPPORTED or _NOMEM) when the host
 * refuses executable mappings or is not x86-64; the machine then runs with the interpreter.
 * Registers itself for code writes (mem_set_code_ops). Context: launch thread, before harts run. */
enum sim_status jit_create(struct rv_machine *m, uint64_t cache_bytes,
                           struct jit **out) SIM_MUST_CHECK;
void jit_destroy(struct jit *jit); /* NULL allowed; executors stopped */

/* Context: launch thread, before harts run. */
void jit_set_options(struct jit *jit, const struct jit_options *options);

/* Waits until the background has nothing to do; its results may still be to be installed. For tests. Context: any. */
void jit_settle(struct jit *jit);

/* Forgets every translation. Context: executors stopped, or inside sim_exclusive_begin/end. */
void jit_flush(struct jit *jit);

/* Adds the JIT's counters to *out. Context: any; exact when executors are stopped. */
void jit_get_stats(const struct jit *jit, struct rv_machine_stats *out);

#endif
