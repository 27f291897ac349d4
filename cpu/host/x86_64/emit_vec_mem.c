/* Vector loads and stores: arrays from and to the guest state.
 *
 *   slot of the soft TLB as for a window, both ends (emit_mem.c) | key | pieces of 64, 32 or 16 bytes
 *   vl below VLMAX: what there is of them (emit_vec_rt.c), or under a mask of the length */
#include "emit_vec512.h"

/* 1, 2, 4 or 8 bytes: once, as another hart may look */
static void copy_word(struct emit *e, const struct ir_vec *v, bool to_state)
{
    static const uint32_t load[] = {X86_MOVZX8, X86_MOVZX16, X86_MOV_LOAD, X86_MOV_LOAD};
    static const uint32_t store[] = {X86_MOV_STORE8, X86_MOV_STORE16, X86_MOV_STORE, X86_MOV_STORE};
    unsigned log2 = (unsigned)__builtin_ctz(v->bytes);
    struct x86_mem memory = x86_at(RCX, 0), home = emit_state(v->d);

    x86_rm(&e->a, load[log2], log2 == 3, RAX, to_state ? memory : home);
    if (log2 == 0)
        x86_rm8(&e->a, store[0], RAX, to_state ? home : memory);
    else
        x86_rm(&e->a, store[log2], log2 == 3, RAX, to_state ? home : memory);
}

/* Does a load or store move what the next or the last vector operation of the block on that group takes by 64 bytes?
 * The host forwards stores late to loads of half of them, and not at all to larger loads. */
static bool by_64(const struct emit *e, const struct ir_vec *v, bool to_state)
{
    const struct ir_block *b = &e->r->block[e->block];
    const struct ir_insn *here = &e->r->insn[e->index], *first = &e->r->insn[b->first], *end = first + b->nr;

    if (v->bytes < 64 || !emit_has(e, X86_HAS_AVX512))
        return false;
    for (const struct ir_insn *i = to_state ? here + 1 : here - 1; i >= first && i < end; i += to_state ? 1 : -1) {
        if (i->op < IR_VSET || i->op > IR_VGET)
            continue;
        const struct ir_vec *other = x86_vec_of(e, i);
        if (other->a != v->a && other->b != v->a && other->d != v->a)
            continue;
        if (i->op == (to_state ? IR_VSTORE : IR_VLOAD))
            return other->bytes == v->bytes && !other->masked && other->fields <= 1;
        return to_state && i->op == IR_VOP && x86_vec512_has(e->features, other->op, other->size);
    }
    return false;
}

/* Registers above 15 need no vzeroupper. */
static void copy_by_64(struct emit *e, const struct ir_vec *v, bool to_state)
{
    for (unsigned at = 0; at < v->bytes; at += 64) {
        struct x86_mem memory = x86_at(RCX, (int32_t)at), state = home(v->a, at);

        x86_erm(&e->a, W(F3(0x6f)), all_of(ZMM), R, 0, to_state ? memory : state);
        x86_erm(&e->a, STORE, all_of(ZMM), R, 0, to_state ? state : memory);
    }
}

/* Two pieces at a time: their loads need not wait for stores. */
static void copy(struct emit *e, const struct ir_vec *v, bool to_state)
{
    if (v->bytes < 16) {
        copy_word(e, v, to_state);
        return;
    }
    if (by_64(e, v, to_state)) {
        copy_by_64(e, v, to_state);
        return;
    }
    for (unsigned at = 0, n[2]; at < v->bytes; at += n[0] + n[1]) {
        n[0] = x86_piece(v->bytes - at);
        n[1] = at + n[0] < v->bytes ? x86_piece(v->bytes - at - n[0]) : 0;
        for (unsigned k = 0; k < 2 && n[k]; k++) {
            int32_t off = (int32_t)(at + k * n[0]);
            x86_vec_load(e, n[k] == 32, k, to_state ? x86_at(RCX, off) : emit_state(v->a + off));
        }
        for (unsigned k = 0; k < 2 && n[k]; k++) {
            int32_t off = (int32_t)(at + k * n[0]);
            x86_vec_store(e, n[k] == 32, k, to_state ? emit_state(v->d + off) : x86_at(RCX, off));
        }
    }
    if (v->bytes >= 32)
        x86_vzeroupper(&e->a);
}

/* All that is loaded is there, wanted or not (emit_vec_address). */
static void copy_masked(struct emit *e, const struct ir_vec *v, bool to_state)
{
    x86_vec_borrow(e, 1);
    for (unsigned at = 0; at < v->bytes; at += x86_piece(v->bytes - at)) {
        struct part p = {v, at, v->bytes - at >= 32, MASK_V0};
        struct x86_mem memory = x86_at(RCX, (int32_t)at);

        if (!to_state && v->size < 2) {
            x86_vec512_store_lanes(e, &p, memory);
            continue;
        }
        x86_vec_lanes(e, &p);
        if (to_state) {
            x86_yrm(&e->a, VPAND, 0, p.l, XMM0, XMM2, memory);
            x86_vec_blend(e, &p, v->d);
            x86_vec_store(e, p.l, XMM0, part_of(&p, v->d));
        } else {
            x86_vec_load(e, p.l, XMM0, part_of(&p, v->a));
            x86_yrm(&e->a, VPMASKMOV_STORE, v->size == 3, p.l, XMM0, XMM2, memory);
        }
    }
    if (v->bytes >= 32)
        x86_vzeroupper(&e->a);
    x86_vec_give_back(e, 1);
}

static bool may_be_shorter(const struct ir_vec *v)
{
    if (v->fields > 1)
        return v->bytes / v->fields >= X86_VEC_MIN_FIELD;
    return !v->any_type && (!v->masked || v->bytes <= X86_VEC_MAX_TAIL);
}

static void transfer(struct emit *e, const struct ir_insn *i, bool to_state)
{
    const struct ir_vec *v = x86_vec_of(e, i);
    struct cold *c = emit_cold(e, COLD_VEC);

    emit_vec_address(e, i, c);
    struct cold *off = emit_cold(e, may_be_shorter(v) ? COLD_VEC_PART : COLD_EXEC);
    x86_vec_check_key(e, v, off);
    if (v->fields > 1)
        x86_vec_segments(e, v, to_state);
    else if (v->masked)
        copy_masked(e, v, to_state);
    else
        copy(e, v, to_state);
    off->done = c->done = e->a.p;
}

void emit_vload(struct emit *e, const struct ir_insn *i)
{
    transfer(e, i, true);
}

void emit_vstore(struct emit *e, const struct ir_insn *i)
{
    transfer(e, i, false);
}

/* rcx = host address. Of masks there are as many bytes as their bits take. */
static void copy_what_counts(struct emit *e, const struct ir_vec *v, bool to_state)
{
    x86_push(&e->a, RDX);
    x86_rm(&e->a, X86_LEA, 1, RDX, emit_state(to_state ? v->d : v->a));
    x86_load(&e->a, RAX, emit_state(e->t->vl));
    if (!v->elements) {
        x86_ri(&e->a, X86_ADD, 0, RAX, 7);
        x86_shift_i(&e->a, X86_SHR_N, 0, RAX, 3);
    } else if (v->size) {
        x86_shift_i(&e->a, X86_SHL_N, 0, RAX, v->size);
    }
    emit_call(e, e->rt->copy_part[to_state]);
    x86_pop(&e->a, RDX);
}

static void copy_masked_part(struct emit *e, const struct ir_vec *v, bool to_state)
{
    struct ir_vec s = *v;

    x86_push(&e->a, RCX);
    x86_vec_length_mask(e, (unsigned)v->bytes >> v->size, v->mask);
    x86_pop(&e->a, RCX);
    s.mask = e->t->vmask;
    copy_masked(e, &s, to_state);
}

/* Another vl, or another type after all. */
void emit_cold_vec_part(struct emit *e, const struct cold *c)
{
    const struct ir_insn *i = &e->r->insn[c->index];
    const struct ir_vec *v = x86_vec_of(e, i);
    bool to_state = i->op == IR_VLOAD;

    x86_vec_compare_byte(e, e->t->vkey + 1, v->key);
    uint8_t *other = x86_jcc(&e->a, X86_NE);
    if (v->fields > 1)
        x86_vec_some_segments(e, v, to_state);
    else if (v->masked)
        copy_masked_part(e, v, to_state);
    else
        copy_what_counts(e, v, to_state);
    emit_jmp_to(e, c->done);
    if (!e->a.overflow)
        x86_patch(other, e->a.p);
    emit_exec(e, i);
    emit_jmp_to(e, c->done);
}
