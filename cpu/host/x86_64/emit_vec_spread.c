/* Vector loads and stores of elements that are anywhere in memory: strided, indexed.
 *
 *   key (any length) | rax = base, rdx = stride or address of the indices, rsi = group, rcx = slot -> routine
 *   element: address in the slot's range? | no: the set of its page, which fills the slot | moved
 *   not to be found there: carry, rax = element -> vstart, the interpreter's function goes on
 *
 * A routine for each size of elements, way of addressing and direction, masked or not: elements in order, each once, those
 * below vl. What there is of vectors in hosts for this is no faster: an address of its own has to be looked at for each. */
#include "emit_vec.h"

/* In the routines; all but rax and rcx are what they were afterwards. */
enum { R_STEP = RDX, R_GROUP = RSI, R_AT = RDI, R_N = R8, R_VA = R9, R_BITS = R10, R_VL = R11 };
static const uint8_t saved[] = {RDI, R8, R9, R10, R11};

static const uint32_t load_sized[] = {X86_MOVZX8, X86_MOVZX16, X86_MOV_LOAD, X86_MOV_LOAD};
static const uint32_t store_sized[] = {X86_MOV_STORE8, X86_MOV_STORE16, X86_MOV_STORE, X86_MOV_STORE};

static void move_element(struct x86_asm *a, const uint32_t *how, unsigned size, unsigned reg, struct x86_mem m)
{
    if (how == store_sized && size == 0)
        x86_rm8(a, how[0], reg, m);
    else
        x86_rm(a, how[size], size == 3, reg, m);
}

/* rax = addend: the element at rax + va */
static void emit_transfer(struct x86_asm *a, unsigned size, bool write)
{
    struct x86_mem memory = x86_at_index(RAX, R_VA, 0, 0), element = x86_at_index(R_GROUP, R_N, size, 0);

    if (write) {
        x86_rr(a, X86_ADD, 1, RAX, R_VA);
        move_element(a, load_sized, size, R_VA, element);
        move_element(a, store_sized, size, R_VA, x86_at(RAX, 0));
    } else {
        move_element(a, load_sized, size, RAX, memory);
        move_element(a, store_sized, size, RAX, element);
    }
}

uint8_t *x86_vec_next_bit(const struct ir_target *t, struct x86_asm *a, unsigned n, unsigned bits)
{
    x86_test_ri(a, 0, n, 63);
    uint8_t *more = x86_jcc(a, X86_NE);
    x86_mov(a, bits, n);
    x86_shift_i(a, X86_SHR_N, 0, bits, 3);
    x86_load(a, bits, x86_at_index(R_STATE, bits, 0, t->vmask0 - STATE_BIAS));
    x86_patch(more, a->p);
    x86_shift_i(a, X86_SHR_N, 1, bits, 1);
    return x86_jcc(a, X86_AE);
}

static void emit_return(struct x86_asm *a)
{
    for (unsigned n = sizeof saved; n--;)
        x86_pop(a, saved[n]);
    x86_ret(a);
}

/* rcx = slot: rax = its addend if the set of the address has its page, with all of the element in it. Returns the jump when
 * it does not; else goes to `found`. */
static void emit_look_up(struct x86_asm *a, const uint8_t *find, const uint8_t *found)
{
    x86_mov(a, RAX, R_VA);
    x86_push(a, RCX);
    x86_push(a, RCX); /* for the stack's alignment */
    x86_patch(x86_call(a), find);
    x86_mov(a, RAX, RCX);
    x86_pop(a, RCX);
    x86_pop(a, RCX);
    x86_patch(x86_jcc(a, X86_E), found);
}

static uint8_t *emit_spread(struct ir_host *h, struct x86_asm *a, const struct x86_spread *s)
{
    const struct ir_target *t = &h->target;
    uint8_t *at = a->p, *off = NULL;

    for (unsigned n = 0; n < sizeof saved; n++)
        x86_push(a, saved[n]);
    x86_load(a, R_VL, x86_at(R_STATE, t->vl - STATE_BIAS));
    x86_mov(a, R_AT, RAX);
    x86_rr(a, X86_XOR, 0, R_N, R_N);
    x86_rr(a, X86_TEST, 1, R_VL, R_VL);
    uint8_t *none = x86_jcc(a, X86_E);
    uint8_t *loop = a->p;
    if (s->masked)
        off = x86_vec_next_bit(t, a, R_N, R_BITS);
    if (s->index) {
        move_element(a, load_sized, s->index - 1u, R_VA, x86_at_index(R_STEP, R_N, s->index - 1u, 0));
        x86_rr(a, X86_ADD, 1, R_VA, R_AT);
    } else {
        x86_mov(a, R_VA, R_AT);
    }
    x86_mov(a, RAX, R_VA);
    x86_rm(a, X86_SUB, 1, RAX, x86_at_index(R_TLB, RCX, 0, t->tlb_slot_lo));
    x86_rm(a, X86_CMP, 1, RAX, x86_at_index(R_TLB, RCX, 0, t->tlb_slot_limit));
    uint8_t *miss = x86_jcc(a, X86_AE);
    x86_load(a, RAX, x86_at_index(R_TLB, RCX, 0, t->tlb_slot_addend));
    uint8_t *found = a->p;
    emit_transfer(a, s->size, s->write);
    if (off)
        x86_patch(off, a->p);
    if (!s->index)
        x86_rr(a, X86_ADD, 1, R_AT, R_STEP);
    x86_ri(a, X86_ADD, 0, R_N, 1);
    x86_rr(a, X86_CMP, 1, R_N, R_VL);
    x86_patch(x86_jcc(a, X86_B), loop);
    x86_patch(none, a->p);
    x86_rr(a, X86_TEST, 0, RAX, RAX); /* no carry */
    emit_return(a);
    x86_patch(miss, a->p);
    emit_look_up(a, h->rt.find[s->write][s->size], found);
    x86_mov(a, RAX, R_N);
    x86_byte(a, 0xf9); /* stc */
    emit_return(a);
    return at;
}

/* Its place among the routines */
static unsigned number_of(const struct x86_spread *s)
{
    return ((s->index * 4u + s->size) * 2u + s->write) * 2u + s->masked;
}

void x86_emit_vec_spread(struct ir_host *h, struct x86_asm *a)
{
    for (unsigned n = 0; n < X86_NR_SPREADS; n++) {
        const struct x86_spread s = {(uint8_t)(n / 16), n / 4 % 4, n / 2 % 2, n % 2};

        x86_align(a, 16);
        h->rt.spread[n] = emit_spread(h, a, &s);
    }
}

/* ---- in translated code ---- */

void emit_vspread(struct emit *e, const struct ir_insn *i)
{
    const struct ir_vec *v = x86_vec_of(e, i);
    const struct x86_spread s = {v->index, v->size, i->op == IR_VSCATTER, v->masked};
    struct cold *off = emit_cold(e, COLD_EXEC);

    x86_vec_check_key(e, v, off);
    emit_move_to(e, RAX, i->src[0]);
    if (!v->index)
        emit_move_to(e, RCX, i->src[1]);
    x86_push(&e->a, RDX);
    x86_push(&e->a, RSI);
    if (v->index)
        x86_rm(&e->a, X86_LEA, 1, RDX, emit_state(v->b));
    else
        x86_mov(&e->a, RDX, RCX);
    x86_rm(&e->a, X86_LEA, 1, RSI, emit_state(v->d));
    x86_mov_imm(&e->a, RCX, emit_new_slot(e, s.write, s.size, IR_NONE));
    emit_call(e, e->rt->spread[number_of(&s)]);
    x86_pop(&e->a, RSI);
    x86_pop(&e->a, RDX);
    struct cold *left = emit_cold(e, COLD_VEC_LEFT);
    left->from[0] = x86_jcc(&e->a, X86_B);
    off->done = left->done = e->a.p;
}

/* rax = the element that is not done. At 0 the state stays as it is. */
void emit_cold_vec_left(struct emit *e, const struct cold *c)
{
    x86_rr(&e->a, X86_TEST, 1, RAX, RAX);
    uint8_t *first = x86_jcc(&e->a, X86_E);
    x86_store(&e->a, emit_state(e->t->vstart), RAX);
    x86_store_imm(&e->a, 2, emit_state(e->t->vkey), (int16_t)(e->t->vkey_none << 8 | e->t->vkey_none));
    if (!e->a.overflow)
        x86_patch(first, e->a.p);
    emit_exec(e, &e->r->insn[c->index]);
    emit_jmp_to(e, c->done);
}
