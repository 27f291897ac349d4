/* Plugins: shared objects that watch a guest execute. This header is all that one needs (C or C++).
 *
 *   partita run -plugin FILE.so,key=value,...
 *
 *   load:  partita_plugin_abi is compared -> partita_plugin_install: registers callbacks -> on_vcpu_init of each vCPU
 *   run:   a block of guest code that is new -> on_block: looks at its instructions, asks for counters and calls
 *          -> each time it executes: counters count, callbacks are called
 *   end:   on_vcpu_exit of each vCPU -> on_exit -> the object is unloaded
 *
 * Execution. A block is a straight run of instructions in one page that is entered at its first one. Callbacks and counters of
 * a block come before those of its first instruction, each before the instruction executes; one that traps has been
 * told of, and comes again if the guest tries it again. Where blocks begin and end depends on the engine (translated code has
 * shorter ones where paths meet); the same block may be shown again later, so a plugin finds its own record by pc and length.
 * The guest's code is keyed by physical address: pc in on_block is where it was mapped when it was found,
 * callbacks get the pc it executes at.
 *
 * Threads. install, on_vcpu_init, on_vcpu_exit and on_exit: one thread, nothing else runs. on_block: any executor,
 * one at a time. Execution, memory and trap callbacks: the executor of that vCPU, several vCPUs at once;
 * a vCPU's are never called at the same time. Machines on several ranks of one process load a plugin once each: state belongs in memory
 * that `data` points to, not in globals.
 *
 * Cost. Nothing without a plugin. Counters are one addition in translated code, on a word of the vCPU's own. Calls
 * take some 10 ns each. While there is a memory callback the pages it watches are accessed through slow paths.
 *
 * Strings belong to whoever made them and are good during the call, unless it says otherwise. */
#ifndef PARTITA_PLUGIN_H
#define PARTITA_PLUGIN_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

#define PARTITA_PLUGIN_ABI 1 /* what is below has changed: plugins must be compiled again */
#define PARTITA_PLUGIN_EXPORT __attribute__((visibility("default")))

struct partita_plugin; /* this plugin in one machine */
struct partita_block;  /* good during on_block */
struct partita_insn;   /* good during on_block */

enum partita_priv { PARTITA_USER = 0, PARTITA_SUPERVISOR = 1, PARTITA_MACHINE = 3 };
enum partita_access_kind { PARTITA_LOAD = 0, PARTITA_STORE = 1, PARTITA_AMO = 2 };

/* A data access that has been done. */
struct partita_access {
    uint64_t pc;
    uint64_t va, pa;
    uint64_t value; /* loaded or stored, zero-extended; AMO: what was there before; 0 when size > 8 */
    uint8_t size;   /* bytes: 1 to 16; cbo.zero: 64 */
    uint8_t kind;   /* enum partita_access_kind */
    bool device;    /* not RAM */
};

/* A trap or interrupt that is about to be taken. System calls are causes 8 (from U), 9 (S) and 11 (M). */
struct partita_trap {
    uint64_t pc, cause, tval; /* cause without the interrupt bit */
    bool interrupt;
    uint8_t priv;             /* where it comes from: enum partita_priv */
};

typedef void (*partita_vcpu_fn)(void *data, unsigned vcpu);
typedef void (*partita_block_fn)(void *data, unsigned vcpu, struct partita_block *block);
typedef void (*partita_exec_fn)(void *data, unsigned vcpu, uint64_t pc);
typedef void (*partita_memory_fn)(void *data, unsigned vcpu, const struct partita_access *access);
typedef void (*partita_trap_fn)(void *data, unsigned vcpu, const struct partita_trap *trap);
typedef void (*partita_exit_fn)(void *data);

typedef uint32_t partita_counter;
#define PARTITA_NO_COUNTER UINT32_MAX

/* The functions of the emulator. `size` grows when functions are added at the end within one ABI. */
struct partita_plugin_api {
    uint32_t abi, size;

    /* --- in partita_plugin_install: at most one callback of a kind; a later one replaces it --- */
    void (*on_vcpu_init)(struct partita_plugin *p, partita_vcpu_fn fn, void *data);
    void (*on_vcpu_exit)(struct partita_plugin *p, partita_vcpu_fn fn, void *data);
    void (*on_block)(struct partita_plugin *p, partita_block_fn fn, void *data);
    void (*on_memory)(struct partita_plugin *p, partita_memory_fn fn, void *data);
    void (*on_trap)(struct partita_plugin *p, partita_trap_fn fn, void *data);
    void (*on_exit)(struct partita_plugin *p, partita_exit_fn fn, void *data);
    /* Only code of these privileges (bit 0 U, 1 S, 3 M) at, and accesses and traps of it to or at, virtual addresses lo to hi
     * are observed; the rest runs at full speed. Default: all. */
    void (*observe_only)(struct partita_plugin *p, unsigned privs, uint64_t lo, uint64_t hi);

    /* --- in on_block --- */
    unsigned (*block_size)(const struct partita_block *b); /* instructions */
    uint64_t (*block_pc)(const struct partita_block *b);
    uint64_t (*block_pa)(const struct partita_block *b);
    struct partita_insn *(*block_insn)(struct partita_block *b, unsigned n); /* NULL: there are not so many */
    uint64_t (*insn_pc)(const struct partita_insn *i);
    uint64_t (*insn_pa)(const struct partita_insn *i);
    unsigned (*insn_size)(const struct partita_insn *i);      /* bytes: 2 or 4 */
    uint32_t (*insn_word)(const struct partita_insn *i);      /* as fetched; 2 bytes: the lower half */
    /* "addi    a0,a0,1"; returns buf. */
    const char *(*insn_disassemble)(const struct partita_insn *i, char *buf, size_t size);
    /* Whenever the block is entered, or the instruction is about to execute: */
    void (*block_call)(struct partita_block *b, partita_exec_fn fn, void *data);
    void (*block_count)(struct partita_block *b, partita_counter c, int32_t n); /* c += n for the vCPU */
    void (*insn_call)(struct partita_insn *i, partita_exec_fn fn, void *data);
    void (*insn_count)(struct partita_insn *i, partita_counter c, int32_t n);

    /* --- in install and on_block --- */
    partita_counter (*new_counter)(struct partita_plugin *p); /* 0 for each vCPU; PARTITA_NO_COUNTER: no more */

    /* --- anywhere --- */
    uint64_t (*counter_of)(const struct partita_plugin *p, partita_counter c, unsigned vcpu);
    uint64_t (*counter_sum)(const struct partita_plugin *p, partita_counter c); /* of all vCPUs of this rank */
    unsigned (*nr_vcpus)(const struct partita_plugin *p); /* of the machine: they are 0 to nr - 1 */
    /* "name+0x1c" from -symbols and -kernel, or ""; returns buf. */
    const char *(*symbol)(const struct partita_plugin *p, uint64_t pc, char *buf, size_t size);
    /* A line on the emulator's stderr: "partita: NAME: ...". */
    void (*log)(const struct partita_plugin *p, const char *format, ...) __attribute__((format(printf, 2, 3)));

    /* --- in callbacks of that vCPU --- */
    unsigned (*priv)(const struct partita_plugin *p, unsigned vcpu);
    uint64_t (*x)(const struct partita_plugin *p, unsigned vcpu, unsigned n); /* integer register n */
    /* Copies RAM as the vCPU's loads would see it; false: not all of it is mapped, or it is no RAM. */
    bool (*read)(const struct partita_plugin *p, unsigned vcpu, uint64_t va, void *buf, size_t len);
};

/* What a plugin defines. */
extern PARTITA_PLUGIN_EXPORT const uint32_t partita_plugin_abi; /* = PARTITA_PLUGIN_ABI */
/* argv: the "key=value" words of -plugin; strings and api stay good until on_exit. Returns 0, or anything else to
 * refuse, having said why (api->log). */
extern PARTITA_PLUGIN_EXPORT int partita_plugin_install(const struct partita_plugin_api *api, struct partita_plugin *self,
                                                        int argc, const char *const *argv);

#ifdef __cplusplus
}
#endif

#endif
