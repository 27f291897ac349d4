/* Vectors by AVX-512: integers. */
#include "emit_vec512.h"

/* words of twice the size of 8-bit elements */
static const uint32_t word_shift[] = {[IR_V_SLLV - IR_V_SLLV] = W(E38(0x12)), [IR_V_SRLV - IR_V_SLLV] = W(E38(0x10)),
                                      [IR_V_SRAV - IR_V_SLLV] = W(E38(0x11))};

void v512_plain(struct emit *e, const struct piece *p)
{
    uint32_t op = p->o->op[p->v->size];

    load(e, p, A, p->v->a);
    unsigned b = load_b(e, p);
    if (p->kind == SHIFT) {
        rrr(e, p, (uint32_t)AND_Q, B, b, K);
        b = B;
    }
    rrr(e, p, op, R, A, b);
}

static uint32_t wide_op(const struct piece *p)
{
    unsigned op = p->v->op;

    if (v512_is_byte_shift(op, p->v->size))
        return word_shift[op - IR_V_SLLV];
    return op == IR_V_MULH || op == IR_V_MULHU || op == IR_V_MULHSU ? p->o->op[p->v->size] : E(0xd5);
}

/* d = low halves of a op b, all of d's size */
static void wide_product(struct emit *e, const struct piece *p, int32_t a, unsigned d)
{
    const struct ir_vec *v = p->v;
    unsigned size = v->size, length = p->length + 1, b = S;

    extended(e, length, size, p->o->a_signed, A, a, p->at);
    if (!v->scalar)
        extended(e, length, size, p->o->b_signed, b = B, v->b, p->at);
    if (v512_is_byte_shift(v->op, size)) {
        x86_err(&e->a, (uint32_t)AND_Q, all_of(length), B, b, K);
        b = B;
    }
    x86_err(&e->a, wide_op(p), all_of(length), A, A, b);
    if (p->o->high) {
        x86_err(&e->a, v512_shift_right_i[size + 1], all_of(length), 2, A, A);
        x86_byte(&e->a, (uint8_t)(8 << size));
    }
    x86_err(&e->a, v512_low_halves[size], all_of(length), A, 0, d);
}

void v512_wide_to_d(struct emit *e, const struct piece *p)
{
    const struct ir_vec *v = p->v;
    unsigned half = v->size - 1u, b = S;

    extended(e, p->length, half, p->o->a_signed, A, v->a, p->at / 2);
    if (!v->scalar)
        extended(e, p->length, half, p->o->b_signed, b = B, v->b, p->at / 2);
    rrr(e, p, p->o->op[v->size], R, A, b);
    if (p->kind == WIDE_ACC)
        x86_erm(&e->a, v512_add[v->size], all_of(p->length), R, R, home(v->d, p->at));
}

void v512_narrow(struct emit *e, const struct piece *p)
{
    const struct ir_vec *v = p->v;
    unsigned length = p->length + 1;

    x86_erm(&e->a, v512_move[3], all_of(length), A, 0, home(v->a, 2 * p->at));
    if (!v->scalar)
        extended(e, length, v->size, false, B, v->b, p->at);
    x86_err(&e->a, (uint32_t)AND_Q, all_of(length), B, v->scalar ? S : B, K);
    x86_err(&e->a, p->o->op[v->size], all_of(length), A, A, B);
    x86_err(&e->a, v512_low_halves[v->size], all_of(length), A, 0, R);
}

void v512_accumulate(struct emit *e, const struct piece *p)
{
    const struct ir_vec *v = p->v;
    int32_t factor = p->o->d_is_factor ? v->d : v->a, added = p->o->d_is_factor ? v->a : v->d;

    if (v->size == 0) {
        wide_product(e, p, factor, R);
    } else {
        load(e, p, A, factor);
        rrr(e, p, W(E38(0x40)), R, A, load_b(e, p));
    }
    load(e, p, A, added);
    rrr(e, p, p->o->subtract ? v512_sub[v->size] : v512_add[v->size], R, A, R);
}
void v512_product(struct emit *e, const struct piece *p)
{
    wide_product(e, p, p->v->a, R);
}
