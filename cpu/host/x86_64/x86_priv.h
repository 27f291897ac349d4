/* Shared by the files of the x86-64 back end.
 *
 * Registers of translated code: rbp = guest state + STATE_BIAS (so that the first 32 words are
 * near), r15 = soft TLB, r14 = instructions left in the chunk, rsp = frame of ir_host_enter (spill
 * slots), rax and rcx = scratch of single operations, xmm0 and xmm1 likewise. The allocator has the
 * rest. */
#ifndef CPU_HOST_X86_64_PRIV_H
#define CPU_HOST_X86_64_PRIV_H

#include <stdatomic.h>

#include "asm.h"
#include "backend.h"
#include "sim-core/compiler.h"

enum { STATE_BIAS = 128 };
enum { R_STATE = RBP, R_TLB = R15, R_BUDGET = R14 };
enum { XMM0 = 0, XMM1 = 1, XMM2 = 2, XMM3 = 3 };
enum { X86_VEC_MAX_BYTES = 1024 }; /* of a group */
enum { X86_VEC_MAX_FIELDS = 8 };
enum { X86_VEC_MAX_TAIL = 256 }; /* bytes of the largest group whose shorter lengths are emitted, too */
enum { X86_NR_SPREADS = 5 * 4 * 2 * 2 }; /* ways of addressing, sizes, directions, masked or not */
enum { X86_VEC_LENGTH_SHIFT = 5 }; /* log2 of the bytes of a row of k_length */
enum { FRAME_SLOTS = 8 * IR_MAX_SLOTS, FRAME_SAVE = FRAME_SLOTS, FRAME_SIZE = FRAME_SLOTS + 24 };

enum x86_feature {
    X86_HAS_BMI1 = 1 << 0,
    X86_HAS_BMI2 = 1 << 1,
    X86_HAS_LZCNT = 1 << 2,
    X86_HAS_POPCNT = 1 << 3,
    X86_HAS_AVX = 1 << 4,
    X86_HAS_FMA = 1 << 5,
    X86_HAS_AVX512 = 1 << 6, /* F, DQ, VL */
    X86_HAS_AVX2 = 1 << 7,
    X86_HAS_AVX512BW = 1 << 8,
    X86_HAS_AVX512VBMI = 1 << 9, /* both of them */
    X86_ALL_AVX512 = X86_HAS_AVX512 | X86_HAS_AVX512BW | X86_HAS_AVX512VBMI,
    X86_VEC512 = X86_HAS_AVX2 | X86_HAS_BMI2 | X86_HAS_AVX512 | X86_HAS_AVX512BW /* what emit_vec512.c wants */
};

/* What the accesses of a slot touch: 1, 2, 4 or 8 bytes (its log2), or WINDOW_HEADROOM bytes and one. */
enum { SLOT_WINDOW = 4, NR_SLOT_SIZES, WINDOW_HEADROOM = 63 };
/* What their addresses are reckoned from: accesses that share a slot should mostly go to the same part of the address space. */
enum slot_base { BASE_ANY, BASE_STACK, BASE_CODE, NR_SLOT_BASES };

/* Addresses in the RW view; code refers to them relative to itself. */
struct x86_runtime {
    uint8_t *enter, *leave_lookup, *jump_again, *leave_link, *leave_budget, *poll, *poll_spin;
    uint8_t *probe_r, *probe_w;
    uint8_t *find[2][NR_SLOT_SIZES]; /* [write][slot size] */
    uint8_t *copy_part[2];           /* [to the state]; see emit_copy_part */
    uint8_t *spread[X86_NR_SPREADS]; /* emit_vec_spread.c */
    uint8_t *divide[4][4][2];        /* [operation][size][masked]; emit_vec_div.c */
    /* [0]: saves the integer registers only, [1]: the FP registers too */
    uint8_t *load[2], *store[2], *exec[2], *vcall[2], *observe[2];
    /* constants, 16 bytes each */
    uint8_t *k_mask_bytes, *k_mask_bits[4], *k_low_halves[3], *k_tail, *k_length, *k_index[4], *k_ones[4], *k_rounding, *k_iota; /* emit_vec_rt.c */
    uint8_t *k_segment[2][X86_VEC_MAX_FIELDS + 1][4]; /* [to the state][fields][size]; emit_vec_segment.c */
    uint8_t *k_box, *k_nan64, *k_nan32, *k_sign64, *k_sign32, *k_abs64, *k_abs32;
    uint8_t *end;
};

struct ir_host {
    struct ir_cache *cache;
    struct ir_target target;
    uint64_t features;
    struct ir_regfile regfile;
    struct x86_runtime rt;
    uint32_t host_mxcsr;
    _Atomic uint32_t next_slot[2][NR_SLOT_SIZES][NR_SLOT_BASES]; /* of the soft TLB's slots: [write] */
    bool want_map;
    struct emit *emit; /* working storage of ir_host_emit */
};

enum cold_kind {
    COLD_BUDGET,     /* loop head: poll, else leave */
    COLD_ENTRY,      /* the same at the entry, before anything is loaded */
    COLD_MEM,        /* soft-TLB miss of one access */
    COLD_WINDOW,     /* soft-TLB miss of a window */
    COLD_EXIT,       /* a conditional exit: stores, jump */
    COLD_EXEC,       /* the operation needs the interpreter's function */
    COLD_VSET,       /* a vset* to another type than there is */
    COLD_VEC,        /* a vector load or store: soft-TLB miss */
    COLD_VEC_PART,   /* a vector load or store of fewer elements than a group has, rcx = host address */
    COLD_VEC_TAIL,   /* a vector operation on fewer elements than a group has */
    COLD_VEC_LEFT,   /* a vector load or store from element rax on needs the interpreter's function */
    COLD_VEC_REST,   /* a vector operation from element `element` on needs the interpreter's function */
    COLD_FIX         /* load a constant into an FP register */
};

enum { NO_SLOT = -1 };
struct cold {
    uint8_t kind;
    uint8_t reg;        /* COLD_FIX; COLD_VEC_REST: scratch registers to give back */
    uint16_t block, index;
    uint16_t element;   /* COLD_VEC_REST */
    uint64_t dirty;
    uint8_t *from[2];   /* displacements of jumps that come here */
    int32_t slot;       /* COLD_MEM, COLD_WINDOW: 8 * slot of the soft TLB, or NO_SLOT */
    const uint8_t *back;
    const uint8_t *done;
    const uint8_t *constant;
    ir_edge edge;
};

struct site_fix {
    uint8_t *at; /* displacement of the lea */
    struct ir_site site;
};

struct exit_fix {
    uint8_t *at;   /* displacement of the lea that finds the record */
    uint8_t *jump; /* displacement of the patchable jump */
    uint8_t *unlinked;
    uint16_t exit;
};

struct block_fix {
    uint8_t *at;
    uint16_t block;
};

enum {
    MAX_COLD = 2 * IR_MAX_INSNS,
    MAX_SITES = 3 * IR_MAX_INSNS,
    MAX_EXIT_SITES = 4 * IR_MAX_BLOCKS,
    MAX_BLOCK_FIXES = 8 * IR_MAX_BLOCKS,
    MAX_MAP = 4 * IR_MAX_INSNS
};

struct emit {
    struct x86_asm a;
    struct ir_host *host;
    const struct ir_target *t;
    const struct ir_region *r;
    const struct ir_alloc *al;
    const struct x86_runtime *rt;
    uint64_t features;
    void *owner;
    unsigned block, index; /* where we are; index into r->insn */
    uint64_t dirty;        /* globals in registers that are newer than the state */
    bool slow;             /* cold copy of a block: windows are not used */
    bool fp;               /* FP registers are in use: runtime routines save them */
    bool failed;
    ir_ref zero_ref;         /* the host's zero flag tells whether this is 0 ... */
    const uint8_t *zero_at;  /* ... while nothing was emitted since */
    uint64_t near_code[(IR_NR_GLOBALS + IR_MAX_TEMPS) / 64 + 1]; /* a bit a value: an address near the code */
    uint8_t *label[IR_MAX_BLOCKS];
    uint8_t *guard_fail[IR_MAX_GUARDS];
    unsigned nr_cold, nr_sites, nr_exits, nr_block_fixes;
    struct cold cold[MAX_COLD];
    struct site_fix site[MAX_SITES];
    struct exit_fix exit[MAX_EXIT_SITES];
    struct block_fix block_fix[MAX_BLOCK_FIXES];
    const uint8_t *entry;
    unsigned nr_map;
    struct ir_map_row map[MAX_MAP];
};

/* --- operands (emit.c) --- */
enum place { IN_REG, IN_MEM, IN_CONST };
struct opnd {
    enum place place;
    unsigned reg;
    struct x86_mem mem;
    int64_t value;
};
static inline bool opnd_is_reg(struct opnd o, unsigned reg)
{
    return o.place == IN_REG && o.reg == reg;
}
static inline struct x86_mem emit_state(int32_t offset)
{
    return x86_at(R_STATE, offset - STATE_BIAS);
}
static inline struct opnd emit_opnd(const struct emit *e, ir_ref ref)
{
    struct opnd o = {.place = IN_MEM};

    if (ir_is_const(ref)) {
        o.place = IN_CONST;
        o.value = ir_const_value(e->r, ref);
        return o;
    }
    bool global = ir_is_global(ref);
    unsigned reg = global ? e->al->global[ref] : e->al->temp[ref - IR_NR_GLOBALS];
    if (reg != IR_LOC_MEMORY) {
        o.place = IN_REG;
        o.reg = reg;
    } else if (global) {
        o.mem = emit_state(e->t->global[ref]);
    } else {
        o.mem = x86_at(RSP, 8 * e->al->slot[ref - IR_NR_GLOBALS]);
    }
    return o;
}
/* The integer value in a register: its own, or loaded into scratch. */
unsigned emit_in_reg(struct emit *e, ir_ref ref, unsigned scratch);
void emit_move_to(struct emit *e, unsigned reg, ir_ref ref);
/* Where to compute an integer result: its own register, or scratch; emit_put stores it. */
unsigned emit_dst(struct emit *e, ir_ref ref, unsigned scratch);
void emit_put(struct emit *e, ir_ref ref, unsigned reg);
/* op reg, <ref>; a large constant goes through rcx. */
void emit_op_src(struct emit *e, uint32_t op, int w, unsigned reg, ir_ref ref);
/* FP values likewise */
unsigned emit_fin_reg(struct emit *e, ir_ref ref, unsigned scratch);
unsigned emit_fdst(struct emit *e, ir_ref ref, unsigned scratch);
void emit_fput(struct emit *e, ir_ref ref, unsigned xmm);
void emit_fmove(struct emit *e, unsigned dst, unsigned src);
/* op xmm, [constant] */
void emit_rip(struct emit *e, uint32_t op, int w, unsigned reg, const uint8_t *constant);
void emit_vrip(struct emit *e, uint32_t op, int w, unsigned reg, unsigned vvvv,
               const uint8_t *constant);

struct cold *emit_cold(struct emit *e, enum cold_kind kind);
/* lea rcx, [site of the current operation] */
void emit_site(struct emit *e, uint64_t dirty);
void emit_call(struct emit *e, const uint8_t *target);
void emit_jmp_to(struct emit *e, const uint8_t *target);
void emit_store_dirty(struct emit *e, uint64_t dirty);
/* A compare for `a cc b`; returns the host condition. */
enum x86_cond emit_compare(struct emit *e, int w, enum ir_cc cc, ir_ref a, ir_ref b);
bool emit_has(const struct emit *e, uint64_t feature);

/* --- one operation each; table in emit.c --- */
typedef void (*emit_fn)(struct emit *e, const struct ir_insn *i);
/* emit_int.c */
void emit_mov(struct emit *e, const struct ir_insn *i);
void emit_pc(struct emit *e, const struct ir_insn *i);
void emit_alu(struct emit *e, const struct ir_insn *i);
void emit_notalu(struct emit *e, const struct ir_insn *i);
void emit_shift(struct emit *e, const struct ir_insn *i);
void emit_shadd(struct emit *e, const struct ir_insn *i);
void emit_extend(struct emit *e, const struct ir_insn *i);
void emit_set(struct emit *e, const struct ir_insn *i);
void emit_czero(struct emit *e, const struct ir_insn *i);
void emit_select(struct emit *e, const struct ir_insn *i);
void emit_refund(struct emit *e, const struct ir_insn *i);
void emit_minmax(struct emit *e, const struct ir_insn *i);
void emit_mul(struct emit *e, const struct ir_insn *i);
void emit_mulh(struct emit *e, const struct ir_insn *i);
void emit_div(struct emit *e, const struct ir_insn *i);
void emit_count(struct emit *e, const struct ir_insn *i);
void emit_bswap(struct emit *e, const struct ir_insn *i);
void emit_orcb(struct emit *e, const struct ir_insn *i);
void emit_bit(struct emit *e, const struct ir_insn *i);
/* emit_mem.c */
void emit_load(struct emit *e, const struct ir_insn *i);
void emit_store(struct emit *e, const struct ir_insn *i);
void emit_amo(struct emit *e, const struct ir_insn *i);
void emit_cas(struct emit *e, const struct ir_insn *i);
void emit_lr(struct emit *e, const struct ir_insn *i);
void emit_sc(struct emit *e, const struct ir_insn *i);
void emit_zero64(struct emit *e, const struct ir_insn *i);
void emit_fence(struct emit *e, const struct ir_insn *i);
void emit_getw(struct emit *e, const struct ir_insn *i);
void emit_setw(struct emit *e, const struct ir_insn *i);
void emit_mask(struct emit *e, const struct ir_insn *i);
void emit_exec(struct emit *e, const struct ir_insn *i);
void emit_count_up(struct emit *e, const struct ir_insn *i);
void emit_observe(struct emit *e, const struct ir_insn *i);
void emit_cold_mem(struct emit *e, const struct cold *c);
void emit_cold_window(struct emit *e, const struct cold *c);
void emit_cold_exec(struct emit *e, const struct cold *c);
/* A slot of the soft TLB for accesses of 1 << log2 bytes: its offset from the first. */
void emit_note_near_code(struct emit *e, const struct ir_insn *i);
int32_t emit_new_slot(struct emit *e, bool write, unsigned log2, ir_ref base);
/* The check of a vector load or store by itself: rcx = host address of its bytes (emit_mem.c). */
void emit_vec_address(struct emit *e, const struct ir_insn *i, struct cold *c);
void emit_cold_vec(struct emit *e, const struct cold *c);
/* emit_vec_op.c, emit_vec_mem.c */
void emit_vset(struct emit *e, const struct ir_insn *i);
void emit_vload(struct emit *e, const struct ir_insn *i);
void emit_vstore(struct emit *e, const struct ir_insn *i);
void emit_vop(struct emit *e, const struct ir_insn *i);
void emit_vget(struct emit *e, const struct ir_insn *i);
void emit_vcall(struct emit *e, const struct ir_insn *i);
void emit_vspread(struct emit *e, const struct ir_insn *i); /* emit_vec_spread.c */
void emit_cold_vec_left(struct emit *e, const struct cold *c);
void emit_cold_vset(struct emit *e, const struct cold *c);
void emit_cold_vec_part(struct emit *e, const struct cold *c);
void emit_cold_vec_tail(struct emit *e, const struct cold *c);
void emit_cold_vec_rest(struct emit *e, const struct cold *c);
bool x86_has_vop(uint64_t features, enum ir_vop op, unsigned size);
/* emit_fp.c */
void emit_fmov(struct emit *e, const struct ir_insn *i);
void emit_farith(struct emit *e, const struct ir_insn *i);
void emit_fsqrt(struct emit *e, const struct ir_insn *i);
void emit_fma(struct emit *e, const struct ir_insn *i);
void emit_fminmax(struct emit *e, const struct ir_insn *i);
void emit_fsgnj(struct emit *e, const struct ir_insn *i);
void emit_fcmp(struct emit *e, const struct ir_insn *i);
void emit_funbox(struct emit *e, const struct ir_insn *i);
void emit_ftoi(struct emit *e, const struct ir_insn *i);
void emit_itof(struct emit *e, const struct ir_insn *i);
void emit_fcvt(struct emit *e, const struct ir_insn *i);
void emit_fbits(struct emit *e, const struct ir_insn *i);
void emit_bitsf(struct emit *e, const struct ir_insn *i);
void emit_fdirty(struct emit *e, const struct ir_insn *i);
/* emit.c: the rest of a block from its operation `index`, as a cold copy without windows */
void emit_slow_copy(struct emit *e, unsigned block, unsigned index, uint64_t dirty);
/* emit_vec_rt.c: routines that translated code calls */
void x86_emit_vec_spread(struct ir_host *h, struct x86_asm *a); /* emit_vec_spread.c */
void x86_emit_vec_divide(struct ir_host *h, struct x86_asm *a); /* emit_vec_div.c */
void x86_emit_vec_runtime(struct ir_host *h, struct x86_asm *a);
/* host.c */
void x86_emit_runtime(struct ir_host *h, struct x86_asm *a);

#endif
