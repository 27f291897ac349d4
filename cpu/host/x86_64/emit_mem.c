/* Guest memory: the inline soft-TLB hit, its misses, windows, atomics, and calls of the
 * interpreter's functions.
 *
 *   lea rcx, [base + imm] | sub rcx, [r15 + slot's lo] | cmp rcx, [r15 + slot's limit] | jae cold
 *   mov rcx, [r15 + slot's addend] | op [rcx + base + imm]
 *   cold: the set of four ways (found: slot filled or widened, back with rcx = addend), else C with the site
 *
 * The slot belongs to the access: an instruction mostly stays in a page, or in pages that are neighbours in
 * the host too, and then the host address does not wait for the set to be looked up. Atomics look at the
 * set's way 0. */
#include "x86_priv.h"

enum { PAGE_MASK_LOW = ~0xfff };

struct access {
    ir_ref base;
    int32_t imm;
    unsigned size; /* of the alignment check; 1: none */
    bool write;
};

static struct access access_of(const struct emit *e, const struct ir_insn *i)
{
    unsigned size = ir_mem_size((enum ir_mem)i->aux);

    (void)e;
    return (struct access){i->src[0], i->imm, size, i->op != IR_LOAD && i->op != IR_LR};
}

static unsigned set_shift(const struct emit *e)
{
    unsigned set_bytes = (unsigned)e->t->tlb_entry * e->t->tlb_ways;

    return (unsigned)__builtin_ctz(set_bytes);
}

static int32_t set_offset(const struct emit *e, uint64_t va)
{
    return (int32_t)((va >> 12 & ((1u << e->t->tlb_set_bits) - 1)) << set_shift(e));
}

static int32_t tag_mask(const struct access *m)
{
    return PAGE_MASK_LOW | (int32_t)(m->size - 1);
}

static int32_t tag_field(const struct emit *e, const struct access *m)
{
    return m->write ? e->t->tlb_tag_w : e->t->tlb_tag_r;
}

/* rax = va */
static void address_to_rax(struct emit *e, const struct access *m)
{
    struct opnd b = emit_opnd(e, m->base);

    if (b.place == IN_CONST) {
        x86_mov_imm(&e->a, RAX, b.value + m->imm);
    } else if (b.place == IN_REG && m->imm) {
        x86_rm(&e->a, X86_LEA, 1, RAX, x86_at(b.reg, m->imm));
    } else {
        emit_move_to(e, RAX, m->base);
        if (m->imm)
            x86_ri(&e->a, X86_ADD, 1, RAX, m->imm);
    }
}

/* rcx = byte offset of rax's set */
static void set_to_rcx(struct emit *e)
{
    unsigned shift = 12 - set_shift(e);

    if (emit_has(e, X86_HAS_BMI2)) {
        x86_rorx(&e->a, 0, RCX, RAX, shift);
    } else {
        x86_mov32(&e->a, RCX, RAX);
        x86_shift_i(&e->a, X86_SHR_N, 0, RCX, shift);
    }
    x86_ri(&e->a, X86_AND, 0, RCX, (int32_t)(((1u << e->t->tlb_set_bits) - 1) << set_shift(e)));
}

/* Compares with way 0; on a hit rcx = addend. The miss jumps to c, with rax = the tag looked for and
 * rcx = the set's offset (for a constant address only c knows them). */
static void check_way0(struct emit *e, const struct access *m, struct cold *c)
{
    struct opnd b = emit_opnd(e, m->base);

    if (b.place == IN_CONST) {
        uint64_t va = (uint64_t)(b.value + m->imm);
        int64_t tag = (int64_t)(va & (uint64_t)(int64_t)tag_mask(m));
        int32_t off = set_offset(e, va);
        struct x86_mem field = x86_at(R_TLB, off + tag_field(e, m));

        if (tag == (int32_t)tag) {
            x86_mi(&e->a, X86_CMP, 1, field, (int32_t)tag);
        } else {
            x86_mov_imm(&e->a, RAX, tag);
            x86_rm(&e->a, X86_CMP, 1, RAX, field);
        }
        c->from[0] = x86_jcc(&e->a, X86_NE);
        x86_load(&e->a, RCX, x86_at(R_TLB, off + e->t->tlb_addend));
    } else {
        address_to_rax(e, m);
        set_to_rcx(e);
        x86_ri(&e->a, X86_AND, 1, RAX, tag_mask(m));
        x86_rm(&e->a, X86_CMP, 1, RAX, x86_at_index(R_TLB, RCX, 0, tag_field(e, m)));
        c->from[0] = x86_jcc(&e->a, X86_NE);
        x86_load(&e->a, RCX, x86_at_index(R_TLB, RCX, 0, e->t->tlb_addend));
    }
    c->back = e->a.p;
}

/* The operand once rcx = addend; may use rax. */
static struct x86_mem operand(struct emit *e, const struct access *m)
{
    struct opnd b = emit_opnd(e, m->base);

    if (b.place == IN_REG)
        return x86_at_index(RCX, b.reg, 0, m->imm);
    if (b.place == IN_MEM) {
        x86_load(&e->a, RAX, b.mem);
        return x86_at_index(RCX, RAX, 0, m->imm);
    }
    int64_t va = b.value + m->imm;
    if (va == (int32_t)va)
        return x86_at(RCX, (int32_t)va);
    x86_mov_imm(&e->a, RAX, va);
    return x86_at_index(RCX, RAX, 0, 0);
}

static enum slot_base base_kind(const struct emit *e, ir_ref base)
{
    if (base == IR_NONE || ir_is_const(base))
        return BASE_ANY;
    unsigned home = ir_is_global(base) ? base : e->r->temp_home[base - IR_NR_GLOBALS];
    if (home && (e->t->stack_globals >> home & 1))
        return BASE_STACK;
    return e->near_code[base / 64] >> base % 64 & 1 ? BASE_CODE : BASE_ANY;
}

/* Which values are addresses near the code, or elements of what is there. */
void emit_note_near_code(struct emit *e, const struct ir_insn *i)
{
    bool near = i->op == IR_PC;

    if (i->dst == IR_NONE || ir_is_const(i->dst))
        return;
    if (i->op == IR_ADD || i->op == IR_SHADD || i->op == IR_SHADD_UW)
        for (unsigned s = 0; s < 2; s++)
            near |= !ir_is_const(i->src[s]) && i->src[s] != IR_NONE && (e->near_code[i->src[s] / 64] >> i->src[s] % 64 & 1);
    uint64_t bit = 1ull << i->dst % 64;
    e->near_code[i->dst / 64] = near ? e->near_code[i->dst / 64] | bit : e->near_code[i->dst / 64] & ~bit;
}

/* Deals out the slots of a kind in turn; several accesses may share one, as when two threads emit at once. Returns its offset from
 * the first. */
int32_t emit_new_slot(struct emit *e, bool write, unsigned size, ir_ref base)
{
    uint32_t of_kind = e->t->tlb_nr_slots / (2 * NR_SLOT_SIZES * NR_SLOT_BASES);
    enum slot_base kind = base_kind(e, base);
    _Atomic uint32_t *next = &e->host->next_slot[write][size][kind];
    uint32_t n = atomic_load_explicit(next, memory_order_relaxed);

    atomic_store_explicit(next, n + 1, memory_order_relaxed);
    return e->t->tlb_slot_size * (int32_t)(((write * NR_SLOT_SIZES + size) * NR_SLOT_BASES + kind) * of_kind + n % of_kind);
}

static struct x86_mem slot_lo(const struct emit *e, int32_t slot)
{
    return x86_at(R_TLB, e->t->tlb_slot_lo + slot);
}

static struct x86_mem slot_limit(const struct emit *e, int32_t slot)
{
    return x86_at(R_TLB, e->t->tlb_slot_limit + slot);
}

static struct x86_mem slot_addend(const struct emit *e, int32_t slot)
{
    return x86_at(R_TLB, e->t->tlb_slot_addend + slot);
}

/* rcx = position of the address in the slot's range; the flags say whether it is there (below). */
static void compare_with_slot(struct emit *e, const struct access *m, int32_t slot)
{
    struct opnd b = emit_opnd(e, m->base);

    if (b.place == IN_REG && m->imm) {
        x86_rm(&e->a, X86_LEA, 1, RCX, x86_at(b.reg, m->imm));
    } else {
        emit_move_to(e, RCX, m->base);
        if (m->imm)
            x86_ri(&e->a, X86_ADD, 1, RCX, m->imm);
    }
    x86_rm(&e->a, X86_SUB, 1, RCX, slot_lo(e, slot));
    x86_rm(&e->a, X86_CMP, 1, RCX, slot_limit(e, slot));
}

/* Compares with the access's slot; on a hit rcx = addend. Constants have their set anyway. */
static void check(struct emit *e, const struct access *m, struct cold *c)
{
    if (ir_is_const(m->base)) {
        check_way0(e, m, c);
        return;
    }
    c->slot = emit_new_slot(e, m->write, (unsigned)__builtin_ctz(m->size), m->base);
    compare_with_slot(e, m, c->slot);
    c->from[0] = x86_jcc(&e->a, X86_AE);
    x86_load(&e->a, RCX, slot_addend(e, c->slot));
    c->back = e->a.p;
}

/* The rest of a slot's check, out of line: the flags say whether rcx = addend. */
static void find_in_set(struct emit *e, const struct access *m, const struct cold *c, unsigned size)
{
    address_to_rax(e, m);
    x86_mov_imm(&e->a, RCX, c->slot);
    emit_call(e, e->rt->find[m->write][size]);
}

/* ---- windows ---- */

static bool in_window(const struct emit *e, const struct ir_insn *i)
{
    return i->window && !e->slow;
}

static struct access window_access(const struct emit *e, const struct ir_insn *i)
{
    const struct ir_window *w = &e->r->window[i->window - 1];

    return (struct access){w->base, w->min, 1, w->write};
}

/* One check for [base + min, base + end): the slot leaves room behind its range for most windows; the
 * last byte of longer ones is looked at as well. */
static void open_window(struct emit *e, const struct ir_insn *i)
{
    const struct ir_window *w = &e->r->window[i->window - 1];
    struct access m = window_access(e, i);
    struct opnd b = emit_opnd(e, w->base);
    struct cold *c = emit_cold(e, COLD_WINDOW);
    int32_t more = w->end - w->min - 1 - WINDOW_HEADROOM;

    c->slot = emit_new_slot(e, m.write, SLOT_WINDOW, m.base);
    compare_with_slot(e, &m, c->slot);
    c->from[0] = x86_jcc(&e->a, X86_AE);
    if (more > 0) {
        x86_ri(&e->a, X86_ADD, 1, RCX, more);
        x86_rm(&e->a, X86_CMP, 1, RCX, slot_limit(e, c->slot));
        c->from[1] = x86_jcc(&e->a, X86_AE);
    }
    x86_load(&e->a, RCX, slot_addend(e, c->slot));
    c->back = e->a.p;
    unsigned t = emit_dst(e, w->temp, RCX);
    if (b.place == IN_REG) {
        x86_rm(&e->a, X86_LEA, 1, t, x86_at_index(RCX, b.reg, 0, 0));
    } else {
        x86_rm(&e->a, X86_ADD, 1, RCX, b.mem);
        x86_mov(&e->a, t, RCX);
    }
    emit_put(e, w->temp, t);
}

void emit_cold_window(struct emit *e, const struct cold *c)
{
    const struct ir_insn *i = &e->r->insn[c->index];
    const struct ir_window *w = &e->r->window[i->window - 1];
    struct access m = window_access(e, i);

    find_in_set(e, &m, c, SLOT_WINDOW);
    uint8_t *miss = x86_jcc(&e->a, X86_NE);
    address_to_rax(e, &m);
    x86_ri(&e->a, X86_AND, 0, RAX, 0xfff);
    x86_ri(&e->a, X86_CMP, 0, RAX, 4096 - (w->end - w->min));
    uint8_t *at = x86_jcc(&e->a, X86_BE);
    if (!e->a.overflow) {
        x86_patch(at, c->back);
        x86_patch(miss, e->a.p);
    }
    emit_slow_copy(e, c->block, c->index, c->dirty);
}

/* ---- vectors ---- */

static struct access vec_access(const struct ir_insn *i)
{
    return (struct access){i->src[0], 0, 1, i->op == IR_VSTORE};
}

/* As a window: first byte, and the last if it is far away. */
void emit_vec_address(struct emit *e, const struct ir_insn *i, struct cold *c)
{
    struct access m = vec_access(i);
    int32_t more = e->r->vec[i->imm].bytes - 1 - WINDOW_HEADROOM;

    c->slot = emit_new_slot(e, m.write, SLOT_WINDOW, m.base);
    compare_with_slot(e, &m, c->slot);
    c->from[0] = x86_jcc(&e->a, X86_AE);
    if (more > 0) {
        x86_ri(&e->a, X86_ADD, 1, RCX, more);
        x86_rm(&e->a, X86_CMP, 1, RCX, slot_limit(e, c->slot));
        c->from[1] = x86_jcc(&e->a, X86_AE);
    }
    x86_load(&e->a, RCX, slot_addend(e, c->slot));
    c->back = e->a.p;
    x86_rm(&e->a, X86_LEA, 1, RCX, operand(e, &m));
}

void emit_cold_vec(struct emit *e, const struct cold *c)
{
    const struct ir_insn *i = &e->r->insn[c->index];
    struct access m = vec_access(i);

    find_in_set(e, &m, c, SLOT_WINDOW);
    uint8_t *miss = x86_jcc(&e->a, X86_NE);
    address_to_rax(e, &m);
    x86_ri(&e->a, X86_AND, 0, RAX, 0xfff);
    x86_ri(&e->a, X86_CMP, 0, RAX, 4096 - e->r->vec[i->imm].bytes);
    uint8_t *at = x86_jcc(&e->a, X86_BE);
    if (!e->a.overflow) {
        x86_patch(at, c->back);
        x86_patch(miss, e->a.p);
    }
    emit_exec(e, i);
    emit_jmp_to(e, c->done);
}

/* The host operand of an access, checked one way or the other. *cold is NULL inside a window. */
static struct x86_mem checked(struct emit *e, const struct ir_insn *i, const struct access *m,
                              struct cold **cold)
{
    *cold = NULL;
    if (in_window(e, i)) {
        if (i->opens)
            open_window(e, i);
        unsigned t = emit_in_reg(e, e->r->window[i->window - 1].temp, RCX);
        return x86_at(t, i->window_disp);
    }
    *cold = emit_cold(e, COLD_MEM);
    check(e, m, *cold);
    return operand(e, m);
}

/* ---- loads and stores ---- */

static void load_int(struct emit *e, enum ir_mem kind, unsigned d, struct x86_mem m)
{
    static const struct {
        uint32_t op;
        uint8_t w;
    } how[] = {
        [IR_U8] = {X86_MOVZX8, 0},   [IR_S8] = {X86_MOVSX8, 1},   [IR_U16] = {X86_MOVZX16, 0},
        [IR_S16] = {X86_MOVSX16, 1}, [IR_U32] = {X86_MOV_LOAD, 0}, [IR_S32] = {X86_MOVSXD, 1},
        [IR_M64] = {X86_MOV_LOAD, 1}, [IR_MF32] = {X86_MOV_LOAD, 0}, [IR_MF64] = {X86_MOV_LOAD, 1},
    };

    x86_rm(&e->a, how[kind].op, how[kind].w, d, m);
}

/* The loaded bits are in rax: to an f global that lives in memory. */
static void put_fp_bits(struct emit *e, enum ir_mem kind, ir_ref dst)
{
    struct opnd d = emit_opnd(e, dst);

    if (d.place == IN_REG) {
        x86_rr(&e->a, X86_MOVD_TO_X, 1, d.reg, RAX);
        if (kind == IR_MF32)
            emit_rip(e, X86_ORPD, 0, d.reg, e->rt->k_box);
        return;
    }
    x86_rm(&e->a, X86_MOV_STORE, kind == IR_MF64, RAX, d.mem);
    if (kind == IR_MF32) {
        d.mem.disp += 4;
        x86_store_imm(&e->a, 4, d.mem, -1);
    }
}

static void load_fp(struct emit *e, const struct ir_insn *i, struct x86_mem m)
{
    struct opnd d = emit_opnd(e, i->dst);

    if (d.place != IN_REG && i->aux == IR_MF64) {
        load_int(e, IR_MF64, RAX, m);
        put_fp_bits(e, IR_MF64, i->dst);
        return;
    }
    unsigned x = emit_fdst(e, i->dst, XMM0);
    x86_rm(&e->a, i->aux == IR_MF64 ? X86_MOVSD_LOAD : X86_MOVSS_LOAD, 0, x, m);
    if (i->aux == IR_MF32)
        emit_rip(e, X86_ORPD, 0, x, e->rt->k_box);
    emit_fput(e, i->dst, x);
}

static bool is_fp_kind(unsigned kind)
{
    return kind == IR_MF32 || kind == IR_MF64;
}

void emit_load(struct emit *e, const struct ir_insn *i)
{
    struct access a = access_of(e, i);
    struct cold *c;
    struct x86_mem m = checked(e, i, &a, &c);

    if (is_fp_kind(i->aux)) {
        load_fp(e, i, m);
    } else {
        unsigned d = emit_dst(e, i->dst, RAX);
        load_int(e, (enum ir_mem)i->aux, d, m);
        emit_put(e, i->dst, d);
    }
    if (c)
        c->done = e->a.p;
}

static void store_reg(struct emit *e, unsigned size, unsigned reg, struct x86_mem m)
{
    if (size == 1)
        x86_rm8(&e->a, X86_MOV_STORE8, reg, m);
    else if (size == 2)
        x86_rm(&e->a, X86_MOV_STORE16, 0, reg, m);
    else
        x86_rm(&e->a, X86_MOV_STORE, size == 8, reg, m);
}

void emit_store(struct emit *e, const struct ir_insn *i)
{
    struct access a = access_of(e, i);
    struct cold *c;
    struct x86_mem m = checked(e, i, &a, &c);
    struct opnd v = emit_opnd(e, i->src[1]);

    if (v.place == IN_REG && ir_is_fp(e->r, i->src[1])) {
        x86_rm(&e->a, a.size == 8 ? X86_MOVSD_STORE : X86_MOVSS_STORE, 0, v.reg, m);
    } else if (v.place == IN_REG) {
        store_reg(e, a.size, v.reg, m);
    } else if (v.place == IN_CONST && (v.value == (int32_t)v.value || a.size < 8)) {
        x86_store_imm(&e->a, a.size, m, (int32_t)v.value);
    } else {
        if (m.index == RAX) { /* rax is wanted for the value */
            x86_rm(&e->a, X86_LEA, 1, RCX, m);
            m = x86_at(RCX, 0);
        }
        emit_move_to(e, RAX, i->src[1]);
        store_reg(e, a.size, RAX, m);
    }
    if (c)
        c->done = e->a.p;
}

/* ---- misses ---- */

/* The value of a store to state.result. */
static void value_to_result(struct emit *e, ir_ref value)
{
    struct opnd v = emit_opnd(e, value);
    struct x86_mem result = emit_state(e->t->result);

    if (v.place == IN_REG && ir_is_fp(e->r, value)) {
        x86_rm(&e->a, X86_MOVQ_STORE, 0, v.reg, result);
    } else if (v.place == IN_CONST && v.value == (int32_t)v.value) {
        x86_store_imm(&e->a, 8, result, (int32_t)v.value);
    } else {
        x86_store(&e->a, result, emit_in_reg(e, value, RAX));
    }
}

static void probe_other_ways(struct emit *e, const struct access *m, const uint8_t *back)
{
    struct opnd b = emit_opnd(e, m->base);

    if (b.place == IN_CONST) {
        uint64_t va = (uint64_t)(b.value + m->imm);
        x86_mov_imm(&e->a, RAX, (int64_t)(va & (uint64_t)(int64_t)tag_mask(m)));
        x86_mov_imm(&e->a, RCX, set_offset(e, va));
    }
    emit_call(e, m->write ? e->rt->probe_w : e->rt->probe_r);
    uint8_t *at = x86_jcc(&e->a, X86_E);
    if (!e->a.overflow)
        x86_patch(at, back);
}

static void slow_load(struct emit *e, const struct ir_insn *i, const struct access *a)
{
    address_to_rax(e, a);
    emit_site(e, e->dirty);
    emit_call(e, e->rt->load[e->fp]);
    if (is_fp_kind(i->aux))
        put_fp_bits(e, (enum ir_mem)i->aux, i->dst);
    else
        emit_put(e, i->dst, RAX);
}

static void slow_store(struct emit *e, const struct ir_insn *i, const struct access *a)
{
    value_to_result(e, i->src[1]);
    address_to_rax(e, a);
    emit_site(e, e->dirty);
    emit_call(e, e->rt->store[e->fp]);
}

void emit_cold_mem(struct emit *e, const struct cold *c)
{
    const struct ir_insn *i = &e->r->insn[c->index];
    struct access a = access_of(e, i);

    if (c->slot != NO_SLOT) {
        find_in_set(e, &a, c, (unsigned)__builtin_ctz(a.size));
        uint8_t *at = x86_jcc(&e->a, X86_E);
        if (!e->a.overflow)
            x86_patch(at, c->back);
    } else {
        probe_other_ways(e, &a, c->back);
    }
    if (i->op == IR_LOAD)
        slow_load(e, i, &a);
    else if (i->op == IR_STORE)
        slow_store(e, i, &a);
    else
        emit_exec(e, i);
    emit_jmp_to(e, c->done);
}

/* ---- the interpreter's functions ---- */

void emit_exec(struct emit *e, const struct ir_insn *i)
{
    (void)i;
    emit_site(e, e->dirty);
    emit_call(e, e->rt->exec[e->fp]);
}

/* ---- observers ---- */

void emit_count_up(struct emit *e, const struct ir_insn *i)
{
    x86_load(&e->a, RCX, emit_state(e->t->counters));
    x86_mi(&e->a, X86_ADD, 1, x86_at(RCX, 8 * i->imm), (int32_t)ir_const_value(e->r, i->src[0]));
}

void emit_observe(struct emit *e, const struct ir_insn *i)
{
    (void)i;
    emit_site(e, e->dirty);
    emit_call(e, e->rt->observe[e->fp]);
}

void emit_cold_exec(struct emit *e, const struct cold *c)
{
    emit_exec(e, &e->r->insn[c->index]);
    emit_jmp_to(e, c->done);
}

/* ---- atomics ---- */

/* rcx = host address of an aligned, writable (or readable) place */
static struct cold *atomic_address(struct emit *e, const struct access *a)
{
    struct cold *c = emit_cold(e, COLD_MEM);

    check_way0(e, a, c);
    x86_rm(&e->a, X86_LEA, 1, RCX, operand(e, a));
    return c;
}

static int wide(const struct ir_insn *i)
{
    return i->type != IR_I32;
}

static void lock(struct emit *e)
{
    if (!e->r->alone)
        x86_lock(&e->a);
}

static void put_old(struct emit *e, const struct ir_insn *i)
{
    if (i->dst == IR_NONE)
        return;
    if (!wide(i))
        x86_rr(&e->a, X86_MOVSXD, 1, RAX, RAX);
    emit_put(e, i->dst, RAX);
}

static void rdx_to_frame(struct emit *e)
{
    x86_store(&e->a, x86_at(RSP, FRAME_SAVE), RDX);
}

static void rdx_from_frame(struct emit *e, ir_ref dst)
{
    if (dst == IR_NONE || !opnd_is_reg(emit_opnd(e, dst), RDX))
        x86_load(&e->a, RDX, x86_at(RSP, FRAME_SAVE));
}

/* rdx = the operand, after rdx_to_frame */
static void operand_to_rdx(struct emit *e, ir_ref ref)
{
    if (!opnd_is_reg(emit_opnd(e, ref), RDX))
        emit_move_to(e, RDX, ref);
    else
        x86_load(&e->a, RDX, x86_at(RSP, FRAME_SAVE));
}

static void short_jump_back(struct emit *e, enum x86_cond cc, const uint8_t *to)
{
    x86_byte(&e->a, (uint8_t)(0x70 | cc));
    x86_byte(&e->a, (uint8_t)(to - (e->a.p + 1)));
}

/* new = op(old, operand) by compare-and-swap */
static void amo_loop(struct emit *e, const struct ir_insn *i)
{
    static const uint8_t keep_old[] = {[IR_AMIN] = X86_L, [IR_AMAX] = X86_G, [IR_AMINU] = X86_B,
                                       [IR_AMAXU] = X86_A};
    static const uint32_t logic[] = {[IR_AAND] = X86_AND, [IR_AOR] = X86_OR, [IR_AXOR] = X86_XOR};
    int w = wide(i);

    rdx_to_frame(e);
    x86_rm(&e->a, X86_MOV_LOAD, w, RAX, x86_at(RCX, 0));
    const uint8_t *again = e->a.p;
    operand_to_rdx(e, i->src[1]);
    if (i->cc >= IR_AMIN) {
        x86_rr(&e->a, X86_CMP, w, RAX, RDX);
        x86_rr(&e->a, X86_CMOVCC + keep_old[i->cc], w, RDX, RAX);
    } else {
        x86_rr(&e->a, logic[i->cc], w, RDX, RAX);
    }
    lock(e);
    x86_rm(&e->a, X86_CMPXCHG, w, RDX, x86_at(RCX, 0));
    short_jump_back(e, X86_NE, again);
    put_old(e, i);
    rdx_from_frame(e, i->dst);
}

/* Logic whose old value nobody wants. */
static void amo_logic_only(struct emit *e, const struct ir_insn *i)
{
    static const uint32_t op[] = {[IR_AAND] = X86_AND, [IR_AOR] = X86_OR, [IR_AXOR] = X86_XOR};
    unsigned v = emit_in_reg(e, i->src[1], RAX);

    lock(e);
    x86_rm(&e->a, op[i->cc] - 2, wide(i), v, x86_at(RCX, 0));
}

/* xchg would lock */
static void swap_alone(struct emit *e, const struct ir_insn *i)
{
    struct opnd v = emit_opnd(e, i->src[1]);

    if (v.place == IN_REG) {
        x86_rm(&e->a, X86_MOV_LOAD, wide(i), RAX, x86_at(RCX, 0));
        x86_rm(&e->a, X86_MOV_STORE, wide(i), v.reg, x86_at(RCX, 0));
    } else {
        rdx_to_frame(e);
        emit_move_to(e, RDX, i->src[1]);
        x86_rm(&e->a, X86_MOV_LOAD, wide(i), RAX, x86_at(RCX, 0));
        x86_rm(&e->a, X86_MOV_STORE, wide(i), RDX, x86_at(RCX, 0));
        x86_load(&e->a, RDX, x86_at(RSP, FRAME_SAVE));
    }
    put_old(e, i);
}

void emit_amo(struct emit *e, const struct ir_insn *i)
{
    struct access a = access_of(e, i);
    struct cold *c = atomic_address(e, &a);
    bool logic = i->cc >= IR_AAND && i->cc <= IR_AXOR;

    if (i->cc == IR_SWAP && e->r->alone) {
        swap_alone(e, i);
    } else if (i->cc == IR_AADD && i->dst == IR_NONE) {
        unsigned v = emit_in_reg(e, i->src[1], RAX);
        lock(e);
        x86_rm(&e->a, X86_ADD - 2, wide(i), v, x86_at(RCX, 0));
    } else if (i->cc == IR_SWAP || i->cc == IR_AADD) {
        emit_move_to(e, RAX, i->src[1]);
        if (i->cc == IR_AADD)
            lock(e);
        x86_rm(&e->a, i->cc == IR_SWAP ? X86_XCHG : X86_XADD, wide(i), RAX, x86_at(RCX, 0));
        put_old(e, i);
    } else if (logic && i->dst == IR_NONE) {
        amo_logic_only(e, i);
    } else {
        amo_loop(e, i);
    }
    c->done = e->a.p;
}

/* rax = expected; rdx saved around */
void emit_cas(struct emit *e, const struct ir_insn *i)
{
    struct access a = access_of(e, i);
    struct cold *c = atomic_address(e, &a);

    rdx_to_frame(e);
    emit_move_to(e, RAX, i->src[1]);
    operand_to_rdx(e, i->src[2]);
    lock(e);
    x86_rm(&e->a, X86_CMPXCHG, wide(i), RDX, x86_at(RCX, 0));
    put_old(e, i);
    rdx_from_frame(e, i->dst);
    c->done = e->a.p;
}

/* The reservation is the address, size and value, and which SC may use it (src[1]). */
void emit_lr(struct emit *e, const struct ir_insn *i)
{
    struct access a = access_of(e, i);
    struct cold *c = atomic_address(e, &a);

    x86_rm(&e->a, X86_MOV_LOAD, wide(i), RAX, x86_at(RCX, 0));
    x86_store(&e->a, emit_state(e->t->res_value), RAX);
    emit_move_to(e, RCX, i->src[0]);
    x86_store(&e->a, emit_state(e->t->res_addr), RCX);
    x86_store_imm(&e->a, 8, emit_state(e->t->res_size), wide(i) ? 8 : 4);
    x86_store(&e->a, emit_state(e->t->res_sc), emit_in_reg(e, i->src[1], RCX));
    put_old(e, i);
    c->done = e->a.p;
}

/* dst = 0 when the reservation holds and memory still has its value; src[2]: this SC's mark. */
void emit_sc(struct emit *e, const struct ir_insn *i)
{
    struct access a = access_of(e, i);
    uint8_t *fail[3];

    /* Misaligned ones trap, reserved or not. */
    address_to_rax(e, &a);
    x86_test_ri(&e->a, 0, RAX, (int32_t)a.size - 1);
    struct cold *odd = emit_cold(e, COLD_EXEC);
    odd->from[0] = x86_jcc(&e->a, X86_NE);
    x86_rm(&e->a, X86_CMP, 1, RAX, emit_state(e->t->res_addr));
    fail[0] = x86_jcc(&e->a, X86_NE);
    x86_mi(&e->a, X86_CMP, 1, emit_state(e->t->res_size), (int32_t)a.size);
    fail[1] = x86_jcc(&e->a, X86_NE);
    x86_rm(&e->a, X86_CMP, 1, emit_in_reg(e, i->src[2], RCX), emit_state(e->t->res_sc));
    fail[2] = x86_jcc(&e->a, X86_NE);

    struct cold *c = atomic_address(e, &a);
    rdx_to_frame(e);
    operand_to_rdx(e, i->src[1]);
    x86_load(&e->a, RAX, emit_state(e->t->res_value));
    lock(e);
    x86_rm(&e->a, X86_CMPXCHG, wide(i), RDX, x86_at(RCX, 0));
    x86_setcc(&e->a, X86_NE, RAX);
    x86_rr8(&e->a, X86_MOVZX8, RAX, RAX);
    x86_load(&e->a, RDX, x86_at(RSP, FRAME_SAVE));
    uint8_t *end = x86_jmp(&e->a);
    for (unsigned n = 0; n < 3 && !e->a.overflow; n++)
        x86_patch(fail[n], e->a.p);
    x86_mov_imm(&e->a, RAX, 1);
    if (!e->a.overflow)
        x86_patch(end, e->a.p);
    x86_mov_imm(&e->a, RCX, (int64_t)e->t->res_none);
    x86_store(&e->a, emit_state(e->t->res_addr), RCX);
    emit_put(e, i->dst, RAX);
    c->done = odd->done = e->a.p;
}

void emit_zero64(struct emit *e, const struct ir_insn *i)
{
    struct access a = access_of(e, i);
    struct cold *off = emit_cold(e, COLD_EXEC);

    x86_m_n(&e->a, X86_OP(0, 0, 0x80), 0, 7, emit_state(e->t->zero_on)); /* cmp byte, 0 */
    x86_byte(&e->a, 0);
    off->from[0] = x86_jcc(&e->a, X86_E);
    struct cold *c = emit_cold(e, COLD_MEM);
    check(e, &a, c);
    emit_move_to(e, RAX, a.base);
    x86_ri(&e->a, X86_AND, 1, RAX, -64);
    x86_rr(&e->a, X86_OP(0x66, 1, 0xef), 0, XMM0, XMM0); /* pxor */
    for (int32_t n = 0; n < 64; n += 16)
        x86_rm(&e->a, X86_MOVAPS + 1, 0, XMM0, x86_at_index(RCX, RAX, 0, n)); /* the store form */
    off->done = c->done = e->a.p;
}

/* ---- words of the guest state ---- */

void emit_getw(struct emit *e, const struct ir_insn *i)
{
    unsigned d = emit_dst(e, i->dst, RAX);

    x86_load(&e->a, d, emit_state(i->imm));
    emit_put(e, i->dst, d);
}

void emit_setw(struct emit *e, const struct ir_insn *i)
{
    x86_store(&e->a, emit_state(i->imm), emit_in_reg(e, i->src[0], RAX));
}

void emit_mask(struct emit *e, const struct ir_insn *i)
{
    bool known = ir_is_const(i->src[0]);
    unsigned nr = 0;

    if (known && (ir_const_value(e->r, i->src[0]) & ~(int64_t)e->t->mask.bits)) {
        emit_exec(e, i);
        return;
    }
    struct cold *c = emit_cold(e, COLD_EXEC);
    if (!known) {
        x86_test_ri(&e->a, 1, emit_in_reg(e, i->src[0], RAX), ~e->t->mask.bits);
        c->from[nr++] = x86_jcc(&e->a, X86_NE);
    }
    /* Also when bits are cleared: others may let it through, and every write is a place to take it. */
    x86_load(&e->a, RAX, emit_state(e->t->mask.pending[0]));
    x86_rm(&e->a, X86_OR, 1, RAX, emit_state(e->t->mask.pending[1]));
    x86_rm(&e->a, X86_OR, 1, RAX, emit_state(e->t->mask.pending[2]));
    x86_rm(&e->a, X86_AND, 1, RAX, emit_state(e->t->mask.enabled));
    c->from[nr] = x86_jcc(&e->a, X86_NE);
    emit_move_to(e, RCX, i->src[0]);
    if (i->dst != IR_NONE)
        x86_load(&e->a, RAX, emit_state(e->t->mask.word));
    if (!i->aux)
        x86_r_n(&e->a, X86_OP(0, 0, 0xf7), 1, 2, RCX); /* not */
    x86_rm(&e->a, (i->aux ? X86_OR : X86_AND) - 2, 1, RCX, emit_state(e->t->mask.word)); /* the store forms */
    if (i->dst != IR_NONE) {
        x86_mov_imm(&e->a, RCX, (int64_t)e->t->mask.view);
        x86_rr(&e->a, X86_AND, 1, RAX, RCX);
        emit_put(e, i->dst, RAX);
    }
    c->done = e->a.p;
}

void emit_fence(struct emit *e, const struct ir_insn *i)
{
    (void)i;
    x86_mfence(&e->a); /* devices are other threads: also with one hart */
}
