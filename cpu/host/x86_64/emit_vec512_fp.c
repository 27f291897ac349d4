/* Vectors by AVX-512: floating point, with conversions. Lanes that are not written raise no flags. */
#include "emit_vec512.h"

void v512_floats(struct emit *e, const struct piece *p)
{
    load(e, p, A, p->v->a);
    unsigned b = load_b(e, p);
    x86_err(&e->a, p->o->op[p->v->size], lanes_of(p), R, p->o->swapped ? b : A, p->o->swapped ? A : b);
}

/* Of zeros of both signs the host takes its second operand: so both ways, and their bits together. NaNs leave before. */
void v512_min_max(struct emit *e, const struct piece *p)
{
    uint32_t op = p->o->op[p->v->size];

    load(e, p, A, p->v->a);
    unsigned b = load_b(e, p);
    v512_unordered(e, p, A, b);
    x86_err(&e->a, op, lanes_of(p), R, A, b);
    x86_err(&e->a, op, lanes_of(p), T, b, A);
    rrr(e, p, p->v->op == IR_V_FMIN ? (uint32_t)OR_Q : (uint32_t)AND_Q, R, R, T);
}

void v512_convert(struct emit *e, const struct piece *p)
{
    const struct ir_vec *v = p->v;
    uint32_t op = p->o->op[v->size];
    struct x86_evex x = lanes_of(p);

    if (p->kind == CONVERT) {
        x86_erm(&e->a, op, x, R, 0, home(v->a, p->at));
    } else if (p->kind == TO_WIDE) {
        x86_erm(&e->a, op, x, R, 0, home(v->a, p->at / 2));
    } else {
        x.length++;
        x86_erm(&e->a, op, x, R, 0, home(v->a, 2 * p->at));
    }
}

/* A factor, or what is added, as doubles */
static void widened(struct emit *e, const struct piece *p, unsigned reg, bool is_wide, int32_t operand)
{
    if (is_wide)
        load(e, p, reg, operand);
    else
        x86_erm(&e->a, NP(0x5a), lanes_of(p), reg, 0, home(operand, p->at / 2));
}

void v512_float_wide(struct emit *e, const struct piece *p)
{
    const struct ir_vec *v = p->v;

    widened(e, p, A, p->o->wide_a, v->a);
    if (v->scalar)
        x86_err(&e->a, NP(0x5a), lanes_of(p), B, 0, S);
    else
        widened(e, p, B, false, v->b);
    if (p->kind == FWIDE_ACC)
        load(e, p, R, v->d);
    x86_err(&e->a, p->o->op[3], lanes_of(p), R, A, B);
}

/* Exact. */
void v512_from_halves(struct emit *e, const struct piece *p)
{
    extended(e, p->length, 1, p->o->a_signed, A, p->v->a, p->at / 2);
    x86_err(&e->a, p->o->op[2], all_of(p->length), R, 0, A);
}

/* What may be too large raises one flag only: the host would say that it is inexact as well, so it is looked at first. Without
 * the sign, or negative ones are too large, too. */
void v512_to_halves(struct emit *e, const struct piece *p)
{
    struct x86_evex x = lanes_of(p);
    unsigned length = p->length + 1, looked_at = A;

    x.length = (uint8_t)length;
    x86_erm(&e->a, v512_move[3], all_of(length), A, 0, home(p->v->a, 2 * p->at));
    if (p->o->a_signed) {
        x86_err(&e->a, v512_shift_right_i[2], all_of(length), 6, T, A); /* vpslld */
        x86_byte(&e->a, 1);
        x86_err(&e->a, v512_shift_right_i[2], all_of(length), 2, T, T);
        x86_byte(&e->a, 1);
        looked_at = T;
    }
    x86_err(&e->a, X86_OP(0x66, 3, 0x1e), (struct x86_evex){(uint8_t)length, (uint8_t)p->mask, false}, 2, looked_at, K);
    x86_byte(&e->a, 6); /* vpcmpud, above */
    v512_leave_if_k2(e, p);
    x86_err(&e->a, p->o->op[1], x, A, 0, A);
    x86_err(&e->a, v512_low_halves[1], all_of(length), A, 0, R);
}
