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
