/* The back end's frame: host features, the runtime routines at the start of the cache, entering and
 * leaving translated code, linking.
 *
 *   ir_host_enter -> enter: saves C's registers, loads rbp r14 r15 MXCSR -> code
 *   code -> leave_*: MXCSR and r14 back to the state, C's registers -> enum ir_leave
 *   code -> load, store, exec, with rcx = site: all registers to scratch -> C -> back, or leave */
#include <cpuid.h>
#include <string.h>
#include <xmmintrin.h>

#include "sim-core/alloc.h"
#include "sim-core/log.h"
#include "x86_priv.h"

enum { CHUNK = 4096, SPIN_CHUNK = 256, PROMOTE_MASK = 0x0f, WIDEN_MASK = 0x0f };

/* ---- features ---- */

static bool os_saves(unsigned bits)
{
    unsigned lo, hi;

    __asm__("xgetbv" : "=a"(lo), "=d"(hi) : "c"(0));
    return (lo & bits) == bits;
}

static uint64_t detect(void)
{
    unsigned a, b, c, d;
    uint64_t f = 0;

    if (!__get_cpuid(1, &a, &b, &c, &d))
        return 0;
    bool avx = (c & bit_OSXSAVE) && (c & bit_AVX) && os_saves(6);
    bool fma = c & bit_FMA, popcnt = c & bit_POPCNT;
    if (popcnt)
        f |= X86_HAS_POPCNT;
    if (avx)
        f |= X86_HAS_AVX;
    if (avx && fma)
        f |= X86_HAS_FMA;
    if (__get_cpuid_count(7, 0, &a, &b, &c, &d)) {
        f |= b & bit_BMI ? X86_HAS_BMI1 : 0;
        f |= b & bit_BMI2 ? X86_HAS_BMI2 : 0;
        f |= avx && (b & bit_AVX2) ? X86_HAS_AVX2 : 0;
        if (avx && (b & bit_AVX512F) && (b & bit_AVX512DQ) && (b & bit_AVX512VL) && os_saves(0xe6))
            f |= X86_HAS_AVX512 | (b & bit_AVX512BW ? X86_HAS_AVX512BW : 0) |
                 (c & bit_AVX512VBMI && c & bit_AVX512VBMI2 ? X86_HAS_AVX512VBMI : 0);
    }
    if (__get_cpuid(0x80000001, &a, &b, &c, &d) && (c & bit_LZCNT))
        f |= X86_HAS_LZCNT;
    return f;
}

bool ir_host_has(const struct ir_host *host, enum ir_op op, enum ir_type type, unsigned aux)
{
    uint64_t f = host->features;

    switch (op) {
    case IR_CLZ: return f & X86_HAS_LZCNT;
    case IR_CTZ: return f & X86_HAS_BMI1;
    case IR_POPCNT: return f & X86_HAS_POPCNT;
    case IR_FMADD: case IR_FMSUB: case IR_FNMADD: case IR_FNMSUB: return f & X86_HAS_FMA;
    case IR_VSET: case IR_VLOAD: case IR_VSTORE: case IR_VGATHER: case IR_VSCATTER: case IR_VGET: return f & X86_HAS_AVX2;
    case IR_VOP: return x86_has_vop(f, (enum ir_vop)aux, (unsigned)type);
    case IR_FTOI: return !((aux & 1) && !(f & X86_HAS_AVX512)); /* unsigned */
    case IR_ITOF: return !(aux == IR_CVT_U64 && !(f & X86_HAS_AVX512));
    default: return true;
    }
}

/* ---- runtime routines ---- */

static struct x86_mem state(const struct ir_host *h, int32_t offset)
{
    (void)h;
    return x86_at(R_STATE, offset - STATE_BIAS);
}

static struct x86_mem scratch_of(const struct ir_host *h, unsigned reg, bool fp)
{
    return state(h, h->target.scratch + 8 * (int32_t)(reg + (fp ? 16 : 0)));
}

static void save_all(struct ir_host *h, struct x86_asm *a, bool fp)
{
    x86_store(a, scratch_of(h, R_BUDGET, false), R_BUDGET);
    for (unsigned n = 0; n < h->regfile.nr_int; n++)
        x86_store(a, scratch_of(h, h->regfile.int_reg[n], false), h->regfile.int_reg[n]);
    for (unsigned n = 0; fp && n < h->regfile.nr_fp; n++)
        x86_rm(a, X86_MOVQ_STORE, 0, h->regfile.fp_reg[n],
               scratch_of(h, h->regfile.fp_reg[n], true));
}

static void restore_all(struct ir_host *h, struct x86_asm *a, bool fp)
{
    x86_load(a, R_BUDGET, scratch_of(h, R_BUDGET, false));
    for (unsigned n = 0; n < h->regfile.nr_int; n++)
        x86_load(a, h->regfile.int_reg[n], scratch_of(h, h->regfile.int_reg[n], false));
    for (unsigned n = 0; fp && n < h->regfile.nr_fp; n++)
        x86_rm(a, X86_MOVQ_LOAD, 0, h->regfile.fp_reg[n],
               scratch_of(h, h->regfile.fp_reg[n], true));
}

static const uint8_t c_saved[] = {RBX, RBP, R12, R13, R14, R15};

static void emit_enter(struct ir_host *h, struct x86_asm *a)
{
    /* (rdi = state, rsi = code) */
    h->rt.enter = a->p;
    for (unsigned n = 0; n < sizeof c_saved; n++)
        x86_push(a, c_saved[n]);
    x86_ri32(a, X86_SUB, 1, RSP, FRAME_SIZE);
    x86_rm(a, X86_LEA, 1, R_STATE, x86_at(RDI, STATE_BIAS));
    x86_store(a, state(h, h->target.host_sp), RSP);
    x86_load(a, R_TLB, state(h, h->target.tlb));
    x86_rr(a, X86_XOR, 0, R_BUDGET, R_BUDGET); /* the first budget check polls */
    x86_m_n(a, X86_OP(0, 1, 0xae), 0, 2, state(h, h->target.mxcsr)); /* ldmxcsr */
    x86_load(a, RAX, state(h, h->target.pc)); /* as a jump-cache hit leaves it */
    x86_jmp_reg(a, RSI);
}

/* eax = enum ir_leave */
static uint8_t *emit_leave(struct ir_host *h, struct x86_asm *a)
{
    uint8_t *at = a->p;

    x86_load(a, RSP, state(h, h->target.host_sp));
    x86_rm(a, X86_ADD - 2, 1, R_BUDGET, state(h, h->target.budget));
    x86_m_n(a, X86_OP(0, 1, 0xae), 0, 3, state(h, h->target.mxcsr)); /* stmxcsr */
    x86_mov_imm(a, RCX, (int64_t)(intptr_t)&h->host_mxcsr);
    x86_m_n(a, X86_OP(0, 1, 0xae), 0, 2, x86_at(RCX, 0));
    x86_ri32(a, X86_ADD, 1, RSP, FRAME_SIZE);
    for (unsigned n = sizeof c_saved; n-- > 0;)
        x86_pop(a, c_saved[n]);
    x86_ret(a);
    return at;
}

static void leave_with(struct x86_asm *a, enum ir_leave why, const uint8_t *leave)
{
    x86_mov_imm(a, RAX, why);
    x86_patch(x86_jmp(a), leave);
}

/* rax = pc, rcx = context, rdx = pc masked for the first way of the jump cache, which does not have it: the other way?
 * They change places then. All registers are free. */
static void emit_second_way(struct ir_host *h, struct x86_asm *a)
{
    enum { way = 16 }; /* from one to the other */

    h->rt.jump_again = a->p;
    x86_rm(a, X86_LEA, 1, RSI, x86_at_index(RCX, RDX, 3, h->target.jc));
    x86_rm(a, X86_CMP, 1, RAX, x86_at(RSI, way));
    uint8_t *found = x86_jcc(a, X86_E);
    x86_patch(x86_jmp(a), h->rt.leave_lookup);
    x86_patch(found, a->p);
    x86_rm(a, X86_MOVAPS, 0, XMM0, x86_at(RSI, 0));
    x86_rm(a, X86_MOVAPS, 0, XMM1, x86_at(RSI, way));
    x86_rm(a, X86_MOVAPS + 1, 0, XMM0, x86_at(RSI, way)); /* the store form */
    x86_rm(a, X86_MOVAPS + 1, 0, XMM1, x86_at(RSI, 0));
    x86_jmp_mem(a, x86_at(RSI, 8));
}

static void emit_leaves(struct ir_host *h, struct x86_asm *a, const uint8_t *leave)
{
    h->rt.leave_lookup = a->p; /* rax = pc */
    x86_store(a, state(h, h->target.pc), RAX);
    leave_with(a, IR_LEAVE_LOOKUP, leave);
    emit_second_way(h, a);
    h->rt.leave_link = a->p; /* rcx = exit */
    x86_store(a, state(h, h->target.note), RCX);
    leave_with(a, IR_LEAVE_LINK, leave);
    h->rt.leave_budget = a->p; /* rcx = site */
    save_all(h, a, true);
    x86_store(a, state(h, h->target.note), RCX);
    leave_with(a, IR_LEAVE_BUDGET, leave);
}

/* In: eax = the block's charge, already taken from r14. Refills r14 from the state's budget and
 * returns with carry clear, or carry set: leave (kicked, or nothing was left before the block). The
 * block may overdraw: budget < 0 is seen at the next check. Changes rcx. */
static void emit_poll(struct ir_host *h, struct x86_asm *a)
{
    h->rt.poll = a->p;
    x86_mi(a, X86_CMP, 0, state(h, h->target.kick), 0);
    uint8_t *kicked = x86_jcc(a, X86_NE);
    x86_load(a, RCX, state(h, h->target.budget));
    x86_rr(a, X86_ADD, 1, RCX, R_BUDGET);
    x86_rr(a, X86_ADD, 1, RCX, RAX);
    uint8_t *empty = x86_jcc(a, X86_S);
    x86_mov_imm(a, R_BUDGET, CHUNK);
    x86_rr(a, X86_CMP, 1, RCX, R_BUDGET);
    x86_rr(a, X86_CMOVCC + X86_L, 1, R_BUDGET, RCX);
    x86_rr(a, X86_SUB, 1, RCX, R_BUDGET);
    x86_store(a, state(h, h->target.budget), RCX);
    x86_rr(a, X86_SUB, 1, R_BUDGET, RAX);
    x86_byte(a, 0xf8); /* clc */
    x86_ret(a);
    x86_patch(kicked, a->p);
    x86_patch(empty, a->p);
    x86_byte(a, 0xf9); /* stc */
    x86_ret(a);
}

/* As poll, for a loop that may only wait: leaves when spun > 0. Counts it up, and 0 gives a short chunk. */
static void emit_poll_spin(struct ir_host *h, struct x86_asm *a)
{
    h->rt.poll_spin = a->p;
    x86_mi(a, X86_CMP, 0, state(h, h->target.spun), 0);
    uint8_t *spun = x86_jcc(a, X86_G);
    x86_patch(x86_call(a), h->rt.poll);
    uint8_t *leaves = x86_jcc(a, X86_B);
    x86_mi(a, X86_ADD, 0, state(h, h->target.spun), 1);
    uint8_t *not_yet = x86_jcc(a, X86_LE);
    x86_mov(a, RCX, R_BUDGET);
    x86_ri(a, X86_SUB, 1, RCX, SPIN_CHUNK);
    uint8_t *shorter = x86_jcc(a, X86_LE);
    x86_rm(a, X86_ADD - 2, 1, RCX, state(h, h->target.budget)); /* what is too much goes back */
    x86_mov_imm(a, R_BUDGET, SPIN_CHUNK);
    x86_patch(not_yet, a->p);
    x86_patch(shorter, a->p);
    x86_byte(a, 0xf8); /* clc */
    x86_patch(leaves, a->p);
    x86_ret(a);
    x86_patch(spun, a->p);
    x86_byte(a, 0xf9); /* stc */
    x86_ret(a);
}

/* Swaps the entry found in a way with way 0 (rcx = set): whole entries by xmm0 and xmm1. */
static void emit_promote(struct ir_host *h, struct x86_asm *a, int32_t way_offset)
{
    for (int32_t half = 0; half < h->target.tlb_entry; half += 16) {
        struct x86_mem front = x86_at_index(R_TLB, RCX, 0, half);
        struct x86_mem found = x86_at_index(R_TLB, RCX, 0, way_offset + half);
        x86_rm(a, X86_MOVAPS, 0, XMM0, found);
        x86_rm(a, X86_MOVAPS, 0, XMM1, front);
        x86_rm(a, X86_MOVAPS + 1, 0, XMM0, front); /* the store form */
        x86_rm(a, X86_MOVAPS + 1, 0, XMM1, found);
    }
}

/* In: rax = tag, rcx = offset of the set. Out: zero flag: found, rcx = addend. Now and then (by the
 * low bits of the budget) the entry found moves to way 0: soon for a long run over one page, seldom
 * for streams that take turns in a set. */
static uint8_t *emit_probe(struct ir_host *h, struct x86_asm *a, int32_t tag)
{
    const struct ir_target *t = &h->target;
    uint8_t *at = a->p;

    for (int32_t way = 1; way < t->tlb_ways; way++) {
        x86_rm(a, X86_CMP, 1, RAX, x86_at_index(R_TLB, RCX, 0, way * t->tlb_entry + tag));
        uint8_t *next = x86_jcc(a, X86_NE);
        x86_load(a, RAX, x86_at_index(R_TLB, RCX, 0, way * t->tlb_entry + t->tlb_addend));
        x86_test_ri(a, 0, R_BUDGET, PROMOTE_MASK);
        uint8_t *stay = x86_jcc(a, X86_NE);
        emit_promote(h, a, way * t->tlb_entry);
        x86_patch(stay, a->p);
        x86_mov(a, RCX, RAX);
        x86_rr(a, X86_CMP, 0, RAX, RAX); /* zero flag */
        x86_ret(a);
        x86_patch(next, a->p);
    }
    x86_ret(a); /* the last compare left the flag */
    return at;
}

/* The set of the page in rsi to rdx. */
static void set_to_rdx(struct ir_host *h, struct x86_asm *a)
{
    const struct ir_target *t = &h->target;
    unsigned set_shift = (unsigned)__builtin_ctz((unsigned)t->tlb_entry * t->tlb_ways);

    if (h->features & X86_HAS_BMI2) {
        x86_rorx(a, 0, RDX, RSI, 12 - set_shift);
    } else {
        x86_mov32(a, RDX, RSI);
        x86_shift_i(a, X86_SHR_N, 0, RDX, 12 - set_shift);
    }
    x86_ri(a, X86_AND, 0, RDX, (int32_t)(((1u << t->tlb_set_bits) - 1) << set_shift));
}

/* target.widen(state, rsi = page, rcx = the slot's offset); all registers but rcx and rdx stay. */
static void emit_widen(struct ir_host *h, struct x86_asm *a, unsigned headroom, bool write)
{
    x86_push(a, RAX);
    save_all(h, a, true);
    x86_rm(a, X86_LEA, 1, RDI, x86_at(R_STATE, -STATE_BIAS));
    x86_mov(a, RDX, RCX);
    x86_mov_imm(a, RCX, headroom);
    x86_mov_imm(a, R8, write);
    x86_mov_imm(a, RAX, (int64_t)(intptr_t)h->target.widen);
    x86_call_reg(a, RAX);
    restore_all(h, a, true);
    x86_pop(a, RAX);
}

/* The slot takes in the page: rsi = page, rax = its addend, rcx = the slot's offset; rdx is free. Neighbours of
 * the range it has are easy; pages farther away are looked into now and then (by the low bits of the
 * budget), since there may be nothing to find; mostly they displace it. */
static void emit_fill_slot(struct ir_host *h, struct x86_asm *a, unsigned headroom, bool write)
{
    const struct ir_target *t = &h->target;
    struct x86_mem limit = x86_at_index(R_TLB, RCX, 0, t->tlb_slot_limit);
    struct x86_mem lo = x86_at_index(R_TLB, RCX, 0, t->tlb_slot_lo);
    struct x86_mem addend = x86_at_index(R_TLB, RCX, 0, t->tlb_slot_addend);
    uint8_t *replace[3], *done[4];

    x86_rm(a, X86_CMP, 1, RAX, addend);
    replace[0] = x86_jcc(a, X86_NE);
    x86_load(a, RDX, limit);
    x86_rr(a, X86_TEST, 1, RDX, RDX);
    replace[1] = x86_jcc(a, X86_E);
    x86_rm(a, X86_ADD, 1, RDX, lo);
    x86_ri(a, X86_ADD, 1, RDX, (int32_t)headroom); /* the range's end */
    x86_rr(a, X86_CMP, 1, RDX, RSI);
    uint8_t *no = x86_jcc(a, X86_NE);
    x86_mi(a, X86_ADD, 1, limit, 4096);
    done[0] = x86_jmp(a);
    x86_patch(no, a->p);
    x86_rm(a, X86_LEA, 1, RDX, x86_at(RSI, 4096));
    x86_rm(a, X86_CMP, 1, RDX, lo);
    no = x86_jcc(a, X86_NE);
    x86_store(a, lo, RSI);
    x86_mi(a, X86_ADD, 1, limit, 4096);
    done[1] = x86_jmp(a);
    x86_patch(no, a->p);
    x86_mov(a, RDX, RSI);
    x86_rm(a, X86_SUB, 1, RDX, lo);
    x86_rm(a, X86_CMP, 1, RDX, limit);
    done[2] = x86_jcc(a, X86_B); /* there already: the access touched the range's end */
    x86_test_ri(a, 0, R_BUDGET, WIDEN_MASK);
    replace[2] = x86_jcc(a, X86_NE);
    emit_widen(h, a, headroom, write);
    done[3] = x86_jmp(a);
    for (unsigned n = 0; n < SIM_ARRAY_LEN(replace); n++)
        x86_patch(replace[n], a->p);
    x86_store(a, lo, RSI);
    x86_store(a, addend, RAX);
    x86_store_imm(a, 8, limit, (int32_t)(4096 - headroom));
    for (unsigned n = 0; n < SIM_ARRAY_LEN(done); n++)
        x86_patch(done[n], a->p);
}

/* rdx = what an access at the beginning of block n may be away from its beginning, at most. Returns the jump for when there is no block
 * (if_any: when there is one). */
static uint8_t *emit_block_limit(struct ir_host *h, struct x86_asm *a, unsigned n, unsigned headroom, bool write, bool if_any)
{
    x86_load(a, RDX, x86_at(R_TLB, h->target.tlb_block[write] + (int32_t)n * h->target.tlb_slot_size));
    if (headroom)
        x86_ri(a, X86_SUB, 1, RDX, (int32_t)headroom);
    else
        x86_rr(a, X86_TEST, 1, RDX, RDX);
    if (headroom)
        return x86_jcc(a, if_any ? X86_AE : X86_B);
    return x86_jcc(a, if_any ? X86_NE : X86_E);
}

/* In: rax = rsi = address, rdx of block 0. The slot becomes a block, when the access is in one: to `found` with rax = addend. Else rax = rsi,
 * to `not_found`. The first that is empty is the last that is looked at. */
static void emit_fill_from_blocks(struct ir_host *h, struct x86_asm *a, unsigned headroom, bool write, uint8_t *found, uint8_t *not_found)
{
    const struct ir_target *t = &h->target;

    for (unsigned n = 0; n < t->tlb_nr_blocks; n++) {
        const int32_t words = t->tlb_block[write] + (int32_t)n * t->tlb_slot_size - t->tlb_slot_limit;

        if (n)
            x86_patch(emit_block_limit(h, a, n, headroom, write, false), not_found);
        x86_rm(a, X86_SUB, 1, RAX, x86_at(R_TLB, t->tlb_slot_lo + words));
        x86_rr(a, X86_CMP, 1, RAX, RDX);
        uint8_t *outside = x86_jcc(a, X86_AE);
        x86_store(a, x86_at_index(R_TLB, RCX, 0, t->tlb_slot_limit), RDX);
        x86_load(a, RDX, x86_at(R_TLB, t->tlb_slot_lo + words));
        x86_store(a, x86_at_index(R_TLB, RCX, 0, t->tlb_slot_lo), RDX);
        x86_load(a, RAX, x86_at(R_TLB, t->tlb_slot_addend + words));
        x86_store(a, x86_at_index(R_TLB, RCX, 0, t->tlb_slot_addend), RAX);
        x86_patch(x86_jmp(a), found);
        x86_patch(outside, a->p);
        x86_mov(a, RAX, RSI);
    }
    x86_patch(x86_jmp(a), not_found);
}

/* In: rax = address, rcx = the slot's offset. Out: zero flag: the page is in one of the ways, and all `size` bytes
 * in it; then rcx = addend, and the slot has the page. Changes rax. It is called with rsp = 0 mod 16, as translated code
 * has it: with its own return address and three registers saved, C is called. */
static uint8_t *emit_find(struct ir_host *h, struct x86_asm *a, bool write, unsigned size,
                          unsigned headroom)
{
    const struct ir_target *t = &h->target;
    int32_t tag = write ? t->tlb_tag_w : t->tlb_tag_r;
    uint8_t *at = a->p, *crosses = NULL;

    x86_push(a, RDX);
    x86_push(a, RSI);
    x86_mov(a, RSI, RAX);
    uint8_t *blocks = t->tlb_nr_blocks ? emit_block_limit(h, a, 0, headroom, write, true) : NULL, *in_set = a->p;
    if (size > 1) {
        x86_mov32(a, RDX, RAX);
        x86_ri(a, X86_AND, 0, RDX, 0xfff);
        x86_ri(a, X86_CMP, 0, RDX, (int32_t)(4096 - size));
        crosses = x86_jcc(a, X86_A);
    }
    x86_ri(a, X86_AND, 1, RSI, ~0xfff);
    set_to_rdx(h, a);
    x86_rm(a, X86_CMP, 1, RSI, x86_at_index(R_TLB, RDX, 0, tag));
    uint8_t *other = x86_jcc(a, X86_NE);
    x86_load(a, RAX, x86_at_index(R_TLB, RDX, 0, t->tlb_addend));
    uint8_t *fill = a->p;
    emit_fill_slot(h, a, headroom, write);
    uint8_t *found = a->p;
    x86_mov(a, RCX, RAX);
    x86_rr(a, X86_CMP, 0, RAX, RAX); /* zero flag */
    uint8_t *out = a->p;
    x86_pop(a, RSI);
    x86_pop(a, RDX);
    x86_ret(a);
    x86_patch(other, a->p);
    x86_push(a, RCX);
    x86_mov(a, RAX, RSI);
    x86_mov(a, RCX, RDX);
    x86_patch(x86_call(a), write ? h->rt.probe_w : h->rt.probe_r);
    x86_mov(a, RAX, RCX);
    x86_pop(a, RCX);
    x86_patch(x86_jcc(a, X86_E), fill);
    x86_patch(x86_jmp(a), out);
    if (crosses)
        x86_patch(crosses, out);
    if (blocks) {
        x86_patch(blocks, a->p);
        emit_fill_from_blocks(h, a, headroom, write, found, in_set);
    }
    return at;
}

/* Calls fn(state, rax = address, rcx = site) or fn(state, site). */
static uint8_t *emit_helper(struct ir_host *h, struct x86_asm *a, const void *fn, bool memory,
                            bool fp, const uint8_t *leave)
{
    uint8_t *at = a->p;

    save_all(h, a, fp);
    x86_rm(a, X86_LEA, 1, RDI, x86_at(R_STATE, -STATE_BIAS));
    if (memory) {
        x86_mov(a, RSI, RAX);
        x86_mov(a, RDX, RCX);
    } else {
        x86_mov(a, RSI, RCX);
    }
    x86_ri(a, X86_SUB, 1, RSP, 8);
    x86_mov_imm(a, RAX, (int64_t)(intptr_t)fn);
    x86_call_reg(a, RAX);
    x86_ri(a, X86_ADD, 1, RSP, 8);
    x86_rr8(a, X86_OP(0, 0, 0x84), RAX, RAX); /* test al, al */
    uint8_t *failed = x86_jcc(a, X86_E);
    restore_all(h, a, fp);
    if (!memory)
        x86_load(a, R_TLB, state(h, h->target.tlb)); /* a CSR instruction may have switched it */
    x86_load(a, RAX, state(h, h->target.result));
    x86_ret(a);
    x86_patch(failed, a->p);
    /* The helper has put the state right, the chunk included. */
    x86_rr(a, X86_XOR, 0, R_BUDGET, R_BUDGET);
    leave_with(a, IR_LEAVE_HELPER, leave);
    return at;
}

/* Calls vcall(state, rcx = site); the zero flag: it is left to exec. What C functions keep is not saved. */
static uint8_t *emit_vcall_routine(struct ir_host *h, struct x86_asm *a, bool fp)
{
    static const uint8_t changed[] = {RDX, RSI, RDI, R8, R9, R10, R11};
    uint8_t *at = a->p;

    x86_store(a, scratch_of(h, R_BUDGET, false), R_BUDGET);
    for (unsigned n = 0; n < sizeof changed; n++)
        x86_store(a, scratch_of(h, changed[n], false), changed[n]);
    for (unsigned n = 0; fp && n < h->regfile.nr_fp; n++)
        x86_rm(a, X86_MOVQ_STORE, 0, h->regfile.fp_reg[n], scratch_of(h, h->regfile.fp_reg[n], true));
    x86_rm(a, X86_LEA, 1, RDI, x86_at(R_STATE, -STATE_BIAS));
    x86_mov(a, RSI, RCX);
    x86_ri(a, X86_SUB, 1, RSP, 8);
    x86_mov_imm(a, RAX, (int64_t)(intptr_t)h->target.vcall);
    x86_call_reg(a, RAX);
    x86_ri(a, X86_ADD, 1, RSP, 8);
    x86_load(a, R_BUDGET, scratch_of(h, R_BUDGET, false));
    for (unsigned n = 0; n < sizeof changed; n++)
        x86_load(a, changed[n], scratch_of(h, changed[n], false));
    for (unsigned n = 0; fp && n < h->regfile.nr_fp; n++)
        x86_rm(a, X86_MOVQ_LOAD, 0, h->regfile.fp_reg[n], scratch_of(h, h->regfile.fp_reg[n], true));
    x86_rr8(a, X86_OP(0, 0, 0x84), RAX, RAX); /* test al, al */
    x86_ret(a);
    return at;
}

static uint8_t *emit_constant(struct x86_asm *a, uint64_t low)
{
    x86_align(a, 16);
    uint8_t *at = a->p;
    x86_u64(a, low);
    x86_u64(a, 0);
    return at;
}

static void emit_constants(struct ir_host *h, struct x86_asm *a)
{
    h->rt.k_box = emit_constant(a, 0xffffffff00000000);
    h->rt.k_nan64 = emit_constant(a, 0x7ff8000000000000);
    h->rt.k_nan32 = emit_constant(a, 0xffffffff7fc00000);
    h->rt.k_sign64 = emit_constant(a, 0x8000000000000000);
    h->rt.k_sign32 = emit_constant(a, 0x80000000);
    h->rt.k_abs64 = emit_constant(a, 0x7fffffffffffffff);
    h->rt.k_abs32 = emit_constant(a, 0xffffffff7fffffff);
}

void x86_emit_runtime(struct ir_host *h, struct x86_asm *a)
{
    emit_constants(h, a);
    x86_align(a, 16);
    emit_enter(h, a);
    uint8_t *leave = emit_leave(h, a);
    emit_leaves(h, a, leave);
    emit_poll(h, a);
    emit_poll_spin(h, a);
    h->rt.probe_r = emit_probe(h, a, h->target.tlb_tag_r);
    h->rt.probe_w = emit_probe(h, a, h->target.tlb_tag_w);
    for (unsigned write = 0; write < 2; write++) {
        for (unsigned log2 = 0; log2 < SLOT_WINDOW; log2++)
            h->rt.find[write][log2] = emit_find(h, a, write, 1u << log2, (1u << log2) - 1);
        h->rt.find[write][SLOT_WINDOW] = emit_find(h, a, write, 1, WINDOW_HEADROOM);
    }
    for (int fp = 0; fp < 2; fp++) {
        h->rt.load[fp] = emit_helper(h, a, (const void *)h->target.load, true, fp, leave);
        h->rt.store[fp] = emit_helper(h, a, (const void *)h->target.store, true, fp, leave);
        h->rt.exec[fp] = emit_helper(h, a, (const void *)h->target.exec, false, fp, leave);
        h->rt.vcall[fp] = emit_vcall_routine(h, a, fp);
        h->rt.observe[fp] = emit_helper(h, a, (const void *)h->target.observe, false, fp, leave);
    }
    if (h->features & X86_HAS_AVX2)
        x86_emit_vec_runtime(h, a);
    x86_align(a, 64);
    h->rt.end = a->p;
}

void ir_host_restart(struct ir_host *h)
{
    struct x86_asm a = {h->cache->rw, h->cache->rw, h->cache->rw + h->cache->size, false};

    x86_emit_runtime(h, &a);
    SIM_BUG_ON(a.overflow, "a code cache of %llu bytes has no room for the runtime", (unsigned long long)h->cache->size);
    h->cache->used = (uint64_t)(a.p - a.start);
}

struct emit *ir_host_emitter_create(void)
{
    return sim_new(struct emit);
}

void ir_host_emitter_destroy(struct emit *e)
{
    sim_free(e);
}

struct ir_host *ir_host_create(struct ir_cache *cache, const struct ir_target *target,
                               uint64_t without)
{
    static const uint8_t ints[] = {RBX, RSI, RDI, R8, R9, R10, R11, R12, R13, RDX};
    struct ir_host *h = sim_new(struct ir_host);

    h->cache = cache;
    h->target = *target;
    h->features = detect() & ~without;
    if (!(h->features & X86_HAS_AVX)) /* VEX instructions of AVX-512 and FMA come with it */
        h->features &= ~(uint64_t)(X86_HAS_FMA | X86_HAS_AVX2 | X86_ALL_AVX512);
    h->regfile.nr_int = sizeof ints;
    memcpy(h->regfile.int_reg, ints, sizeof ints);
    for (unsigned x = 2; x < 16; x++)
        h->regfile.fp_reg[h->regfile.nr_fp++] = (uint8_t)x;
    h->host_mxcsr = 0x1f80;
    h->emit = ir_host_emitter_create();
    ir_host_restart(h);
    return h;
}

void ir_host_destroy(struct ir_host *h)
{
    if (!h)
        return;
    ir_host_emitter_destroy(h->emit);
    sim_free(h);
}

void ir_host_want_map(struct ir_host *h, bool on)
{
    h->want_map = on;
}

const struct ir_regfile *ir_host_regfile(const struct ir_host *h)
{
    return &h->regfile;
}

enum ir_leave ir_host_enter(struct ir_host *h, void *state, const void *code)
{
    union {
        const void *p;
        enum ir_leave (*fn)(void *, const void *);
    } enter = {.p = h->cache->rx + (h->rt.enter - h->cache->rw)};

    return enter.fn(state, code);
}

/* ---- linking: one aligned 4-byte or 8-byte store each, while others run the code ---- */

static void set_displacement(uint8_t *at, const uint8_t *target)
{
    int32_t disp = (int32_t)(target - (at + 4));

    __atomic_store_n((int32_t *)(void *)at, disp, __ATOMIC_RELEASE);
}

void ir_host_link(struct ir_host *h, struct ir_code_exit *x, uint32_t target_inner)
{
    set_displacement((uint8_t *)x + x->jump, h->cache->rw + target_inner);
}

void ir_host_unlink(struct ir_host *h, struct ir_code_exit *x)
{
    (void)h;
    set_displacement((uint8_t *)x + x->jump, (uint8_t *)x + x->unlinked);
}

/* The entry is 16-byte aligned and begins with an instruction of five bytes or more. rax = pc. */
void ir_host_kill_entry(struct ir_host *h, const struct ir_code *code)
{
    uint8_t *at = h->cache->rw + code->entry;
    uint64_t word;
    int32_t disp = (int32_t)(code->dead - (code->entry + 5));

    memcpy(&word, at, 8);
    uint8_t bytes[8];
    memcpy(bytes, &word, 8);
    bytes[0] = 0xe9;
    memcpy(bytes + 1, &disp, 4);
    memcpy(&word, bytes, 8);
    __atomic_store_n((uint64_t *)(void *)at, word, __ATOMIC_RELEASE);
}

/* ---- FP control ---- */

uint32_t ir_host_fp_control(unsigned rounding)
{
    static const uint8_t rc[] = {0, 3, 1, 2}; /* RNE RTZ RDN RUP */

    return 0x1f80u | (uint32_t)rc[rounding & 3] << 13;
}

unsigned ir_host_fp_flags(uint32_t control)
{
    return (control & 0x20 ? 1u : 0) | (control & 0x10 ? 2u : 0) | (control & 0x08 ? 4u : 0) |
           (control & 0x04 ? 8u : 0) | (control & 0x01 ? 16u : 0);
}

uint32_t ir_host_fp_clear(uint32_t control)
{
    return control & ~0x3fu;
}

uint32_t ir_host_fp_get(void)
{
    return _mm_getcsr();
}

void ir_host_fp_set(uint32_t control)
{
    _mm_setcsr(control);
}
