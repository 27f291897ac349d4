/* Vector operations whose lanes are not all in their places: on elements of two sizes, reductions, slides by one. */
#include "emit_vec.h"

enum {
    VPSHUFD = X86_OP(0x66, 1, 0x70),
    VPSHIFTW_I = X86_OP(0x66, 1, 0x71), /* /2: right */
    VPSHIFTD_I = X86_OP(0x66, 1, 0x72),
    VEXTRACTI128 = X86_OP(0x66, 3, 0x39),
    VPERMQ = X86_OP(0x66, 3, 0x00),
    VMOVQ_LOAD = X86_OP(0xf3, 1, 0x7e),
    VMOVD_FROM = X86_OP(0x66, 1, 0x7e),
    RIGHT = 2,
    EVEN_QUADS = 0x08,
    SWAP_QUADS = 0x4e,
    SWAP_WORDS = 0xb1
};

/* ---- results of twice the size: v->size is theirs ---- */

enum { BY_SIZE = 4 };

struct wide {
    uint8_t sum;      /* enum ir_vop: ADD, SUB or MUL */
    bool is_signed;
    bool wide_a;      /* vs2 is as wide as the result */
    bool accumulates;
};

static const struct wide wides[] = {
    [IR_V_WADDU - IR_V_WADDU] = {IR_V_ADD, false, false, false},
    [IR_V_WADD - IR_V_WADDU] = {IR_V_ADD, true, false, false},
    [IR_V_WSUBU - IR_V_WADDU] = {IR_V_SUB, false, false, false},
    [IR_V_WSUB - IR_V_WADDU] = {IR_V_SUB, true, false, false},
    [IR_V_WADDU_W - IR_V_WADDU] = {IR_V_ADD, false, true, false},
    [IR_V_WADD_W - IR_V_WADDU] = {IR_V_ADD, true, true, false},
    [IR_V_WSUBU_W - IR_V_WADDU] = {IR_V_SUB, false, true, false},
    [IR_V_WSUB_W - IR_V_WADDU] = {IR_V_SUB, true, true, false},
    [IR_V_WMULU - IR_V_WADDU] = {IR_V_MUL, false, false, false},
    [IR_V_WMUL - IR_V_WADDU] = {IR_V_MUL, true, false, false},
    [IR_V_WMACCU - IR_V_WADDU] = {IR_V_MUL, false, false, true},
    [IR_V_WMACC - IR_V_WADDU] = {IR_V_MUL, true, false, true},
};

static const struct wide *wide_of(unsigned op)
{
    return &wides[op - IR_V_WADDU];
}

bool x86_vec_has_wide(enum ir_vop op, unsigned size)
{
    if (x86_vec_is_wide(op))
        return size >= 1;
    if (x86_vec_is_narrow(op))
        return size <= 2 && !(op == IR_V_NSRA && size == 2);
    return false;
}

/* ymm = the elements of half the size there, extended */
static void extended(struct emit *e, const struct part *p, unsigned ymm, int32_t operand, bool is_signed)
{
    static const uint32_t op[2][BY_SIZE] = {{0, P38(0x30), P38(0x33), P38(0x35)}, {0, P38(0x20), P38(0x23), P38(0x25)}};

    x86_yrm(&e->a, op[is_signed][p->v->size], 0, p->l, ymm, 0, emit_state(operand + (int32_t)p->at / 2));
}

/* Products of extended elements: the low half is exact. */
static uint32_t wide_op(const struct wide *w, unsigned size)
{
    if (w->sum == IR_V_MUL && size == 3)
        return w->is_signed ? P38(0x28) : P(0xf4); /* of the low halves of quads */
    return x86_vec_packed[w->sum][size];
}

void x86_vec_widen(struct emit *e, const struct part *p)
{
    const struct ir_vec *v = p->v;
    const struct wide *w = wide_of(v->op);

    if (w->wide_a)
        x86_vec_load(e, p->l, XMM0, part_of(p, v->a));
    else
        extended(e, p, XMM0, v->a, w->is_signed);
    if (!v->scalar)
        extended(e, p, XMM1, v->b, w->is_signed);
    x86_yrr(&e->a, wide_op(w, v->size), 0, p->l, XMM0, XMM0, XMM1);
    if (w->accumulates)
        x86_yrm(&e->a, x86_vec_packed[IR_V_ADD][v->size], 0, p->l, XMM0, XMM0, part_of(p, v->d));
}

/* rax = the scalar; it is cut to half the size and extended. */
void x86_vec_widen_scalar(struct emit *e, const struct ir_vec *v)
{
    static const uint32_t broadcast[] = {0, P38(0x79), P38(0x58), P38(0x59)};
    bool is_signed = wide_of(v->op)->is_signed;

    if (v->size == 1)
        x86_rr8(&e->a, is_signed ? X86_MOVSX8 : X86_MOVZX8, RAX, RAX);
    else if (v->size == 2)
        x86_rr(&e->a, is_signed ? X86_MOVSX16 : X86_MOVZX16, 0, RAX, RAX);
    else if (is_signed)
        x86_rr(&e->a, X86_MOVSXD, 1, RAX, RAX);
    else
        x86_mov32(&e->a, RAX, RAX);
    x86_yrr(&e->a, VMOVD, 1, 0, XMM1, 0, RAX);
    x86_yrr(&e->a, broadcast[v->size], 0, v->bytes >= 32, XMM1, 0, XMM1);
}

/* ---- sources of twice the size, shifted by the count in xmm1: v->size is the result's ---- */

void x86_vec_narrow(struct emit *e, const struct part *p)
{
    const struct ir_vec *v = p->v;
    unsigned shift = v->op == IR_V_NSRA ? IR_V_SRA : IR_V_SRL;

    x86_vec_load(e, 1, XMM0, emit_state(v->a + 2 * (int32_t)p->at));
    x86_yrr(&e->a, x86_vec_packed[shift][v->size + 1], 0, 1, XMM0, XMM0, XMM1);
    x86_yrm(&e->a, VPSHUFB, 0, 1, XMM0, XMM0, x86_at_rip(e->rt->k_low_halves[v->size]));
    x86_yrr(&e->a, VPERMQ, 1, 1, XMM0, 0, XMM0);
    x86_byte(&e->a, EVEN_QUADS);
}

/* ---- reductions ---- */

static void fold(struct emit *e, uint32_t op)
{
    x86_yrr(&e->a, op, 0, 0, XMM0, XMM0, XMM1);
}

/* xmm0: all its lanes, of the lowest `bytes`, together in the lowest. */
static void fold_lanes(struct emit *e, uint32_t op, unsigned size, unsigned bytes)
{
    if (bytes >= 16) {
        x86_yrr(&e->a, VPSHUFD, 0, 0, XMM1, 0, XMM0);
        x86_byte(&e->a, SWAP_QUADS);
        fold(e, op);
    }
    if (size <= 2 && bytes >= 8) {
        x86_yrr(&e->a, VPSHUFD, 0, 0, XMM1, 0, XMM0);
        x86_byte(&e->a, SWAP_WORDS);
        fold(e, op);
    }
    if (size <= 1) {
        x86_yrr(&e->a, VPSHIFTD_I, 0, 0, RIGHT, XMM1, XMM0);
        x86_byte(&e->a, 16);
        fold(e, op);
    }
    if (size == 0) {
        x86_yrr(&e->a, VPSHIFTW_I, 0, 0, RIGHT, XMM1, XMM0);
        x86_byte(&e->a, 8);
        fold(e, op);
    }
}

int64_t x86_vec_neutral(unsigned op, unsigned size)
{
    switch (op) {
    case IR_V_REDAND:
    case IR_V_REDMINU: return -1;
    case IR_V_REDMIN: return INT64_MAX >> (64 - (8 << size));
    case IR_V_REDMAX: return INT64_MIN >> (64 - (8 << size));
    default: return 0;
    }
}

/* ymm3 = what changes nothing, in all lanes */
static void load_neutral(struct emit *e, const struct ir_vec *v, int l)
{
    static const uint32_t broadcast[] = {P38(0x78), P38(0x79), P38(0x58), P38(0x59)};

    x86_mov_imm(&e->a, RAX, x86_vec_neutral(v->op, v->size));
    x86_yrr(&e->a, VMOVD, 1, 0, XMM3, 0, RAX);
    x86_yrr(&e->a, broadcast[v->size], 0, l, XMM3, 0, XMM3);
}

/* A piece of what is reduced */
static void load_reduced(struct emit *e, const struct part *p, unsigned ymm)
{
    enum { VPBLENDVB = X86_OP(0x66, 3, 0x4c) };

    if (!p->v->masked) {
        x86_vec_load(e, p->l, ymm, part_of(p, p->v->a));
        return;
    }
    x86_vec_lanes_of_v0(e, p);
    x86_yrm(&e->a, VPBLENDVB, 0, p->l, ymm, XMM3, part_of(p, p->v->a));
    x86_byte(&e->a, XMM2 << 4);
}

void x86_vec_reduce(struct emit *e, const struct ir_vec *v)
{
    static const uint32_t store[] = {X86_MOV_STORE8, X86_MOV_STORE16, X86_MOV_STORE, X86_MOV_STORE};
    uint32_t op = x86_vec_packed[x86_vec_reduced_by(v->op)][v->size];
    struct part p = {v, 0, v->bytes >= 32, MASK_NONE};
    unsigned borrowed = v->masked ? 2 : 0;

    x86_vec_borrow(e, borrowed);
    if (v->masked)
        load_neutral(e, v, p.l);
    load_reduced(e, &p, XMM0);
    for (p.at = 32; p.at < v->bytes; p.at += 32) {
        load_reduced(e, &p, XMM1);
        x86_yrr(&e->a, op, 0, 1, XMM0, XMM0, XMM1);
    }
    if (p.l) {
        x86_yrr(&e->a, VEXTRACTI128, 0, 1, XMM0, 0, XMM1);
        x86_byte(&e->a, 1);
        fold(e, op);
    }
    fold_lanes(e, op, v->size, x86_vec_bytes(v));
    x86_yrm(&e->a, VMOVQ_LOAD, 0, 0, XMM1, 0, emit_state(v->b));
    fold(e, op);
    if (p.l)
        x86_vzeroupper(&e->a);
    x86_vec_give_back(e, borrowed);
    x86_yrr(&e->a, VMOVD_FROM, 1, 0, XMM0, 0, RAX);
    if (v->size == 0)
        x86_rm8(&e->a, store[0], RAX, emit_state(v->d));
    else
        x86_rm(&e->a, store[v->size], v->size == 3, RAX, emit_state(v->d));
}

/* xmm0 = xmm0 + the element, as a double where it is to be */
static void add_float(struct emit *e, const struct ir_vec *v, unsigned at)
{
    bool wide = v->op == IR_V_FWREDSUM, f64 = wide || v->size == 3;
    uint32_t add = X86_OP(f64 ? 0xf2 : 0xf3, 1, 0x58), to_double = X86_OP(0xf3, 1, 0x5a);
    struct x86_mem element = emit_state(v->a + (int32_t)at);

    if (!wide) {
        x86_vrm(&e->a, add, 0, XMM0, XMM0, element);
        return;
    }
    x86_vrm(&e->a, to_double, 0, XMM1, XMM0, element);
    x86_vrr(&e->a, add, 0, XMM0, XMM0, XMM1);
}

/* xmm0 = b[0] + a[0] + a[1] ... A NaN is canonical by the interpreter's function, which begins anew. */
void x86_vec_sum_floats(struct emit *e, const struct ir_vec *v, bool shorter)
{
    bool f64 = v->size == 3 || v->op == IR_V_FWREDSUM;
    uint8_t *enough[IR_V_MAX_SUM];
    unsigned nr = 0;

    if (shorter)
        x86_load(&e->a, RCX, emit_state(e->t->vl));
    x86_rm(&e->a, f64 ? X86_MOVSD_LOAD : X86_MOVSS_LOAD, 0, XMM0, emit_state(v->b));
    for (unsigned at = 0; at < x86_vec_bytes(v); at += 1u << v->size) {
        if (shorter && at) {
            x86_ri(&e->a, X86_CMP, 0, RCX, (int32_t)(at >> v->size));
            enough[nr++] = x86_jcc(&e->a, X86_E);
        }
        add_float(e, v, at);
    }
    while (nr && !e->a.overflow)
        x86_patch(enough[--nr], e->a.p);
    x86_vrr(&e->a, X86_OP(f64 ? 0x66 : 0, 1, 0x2e), 0, XMM0, 0, XMM0); /* vucomis */
    struct cold *c = emit_cold(e, COLD_VEC_REST);
    c->from[0] = x86_jcc(&e->a, X86_P);
    c->element = 0;
    c->reg = 0;
    x86_rm(&e->a, f64 ? X86_MOVSD_STORE : X86_MOVSS_STORE, 0, XMM0, emit_state(v->d));
}

/* ---- slides by one: an element is read beyond the group, and the scalar overwrites it ---- */

/* Jumps when the element that the scalar is for is not chosen. Of vl elements, rcx = vl. */
static uint8_t *scalar_is_masked(struct emit *e, const struct ir_vec *v, bool up, bool shorter)
{
    if (up)
        x86_mov_imm(&e->a, RAX, 0);
    else if (shorter)
        x86_rm(&e->a, X86_LEA, 1, RAX, x86_at(RCX, -1));
    else
        x86_mov_imm(&e->a, RAX, (int64_t)(x86_vec_bytes(v) >> v->size) - 1);
    x86_rm(&e->a, X86_BT, 1, RAX, emit_state(v->mask));
    return x86_jcc(&e->a, X86_AE);
}

void x86_vec_slide_1(struct emit *e, const struct ir_vec *v, ir_ref scalar, bool shorter)
{
    bool up = v->op == IR_V_SLIDE1UP;
    int32_t one = 1 << v->size;
    struct x86_mem last = emit_state(v->d + (int32_t)x86_vec_bytes(v) - one);

    x86_vec_borrow(e, v->masked);
    for (unsigned at = 0; at < v->bytes; at += x86_piece(v->bytes)) {
        struct part p = {v, at, v->bytes >= 32, v->masked ? MASK_V0 : MASK_NONE};

        x86_vec_lanes(e, &p);
        x86_vec_load(e, p.l, XMM0, emit_state(v->a + (int32_t)at + (up ? -one : one)));
        if (v->masked) {
            x86_yrr(&e->a, VPAND, 0, p.l, XMM0, XMM0, XMM2);
            x86_vec_blend(e, &p, v->d);
        }
        x86_vec_store_part(e, &p, v->d);
    }
    if (v->bytes >= 32)
        x86_vzeroupper(&e->a);
    x86_vec_give_back(e, v->masked);
    if (shorter) {
        x86_load(&e->a, RCX, emit_state(e->t->vl));
        last = emit_state(v->d - one);
        last = x86_at_index(last.base, RCX, v->size, last.disp);
    }
    uint8_t *off = v->masked ? scalar_is_masked(e, v, up, shorter) : NULL;
    x86_vec_put_scalar(e, v->size, up ? emit_state(v->d) : last, scalar);
    if (off && !e->a.overflow)
        x86_patch(off, e->a.p);
}
