/* Vectors by AVX-512: fixed point, rounded by vxrm and saturated. */
#include "emit_vec512.h"

/* Where k2 has lanes; up to 32 of them. */
static void note_saturated(struct emit *e)
{
    x86_yrr(&e->a, KORTEST_Q, 1, 0, 2, 0, 2);
    x86_setcc(&e->a, X86_NE, RAX);
    x86_rm8(&e->a, X86_OP(0, 0, 0x08), RAX, emit_state(e->t->vxsat)); /* or */
}

/* `others` = 1 where bits below the highest that goes are set: those above are shifted out first. T = that one and what
 * comes in, B - 1 places. */
static void shifted_out(struct emit *e, unsigned size, struct x86_evex x)
{
    static const uint32_t left[] = {0, W(E38(0x12)), E38(0x47), W(E38(0x47))};
    static const uint32_t right[] = {0, W(E38(0x10)), E38(0x45), W(E38(0x45))};
    static const uint32_t min_u[] = {0, E38(0x3a), E38(0x3b), W(E38(0x3b))};

    x86_err(&e->a, v512_sub[size], x, U, B, ONE);
    x86_err(&e->a, right[size], x, T, A, U); /* by more than there are bits: 0 */
    x86_err(&e->a, v512_sub[size], x, U, K, U);
    x86_err(&e->a, left[size], x, OTHERS, A, U);
    x86_err(&e->a, v512_add[size], x, OTHERS, OTHERS, OTHERS);
    x86_err(&e->a, min_u[size], x, OTHERS, OTHERS, ONE);
}

/* R = A >> B, rounded, elements of that size */
static void scaled(struct emit *e, const struct piece *p, unsigned size, unsigned length)
{
    struct x86_evex x = all_of(length);

    x86_err(&e->a, p->o->op[p->v->size], x, R, A, B);
    shifted_out(e, size, x);
    x86_err(&e->a, (uint32_t)AND_Q, x, U, OTHERS, ROUND_S);
    x86_err(&e->a, (uint32_t)OR_Q, x, T, T, U);
    x86_err(&e->a, (uint32_t)AND_Q, x, U, OTHERS, ROUND_T);
    x86_err(&e->a, (uint32_t)OR_Q, x, U, U, R);
    x86_err(&e->a, (uint32_t)AND_Q, x, U, U, ROUND_P);
    x86_err(&e->a, (uint32_t)XOR_Q, x, U, U, ROUND_Q);
    x86_err(&e->a, (uint32_t)AND_Q, x, T, T, U);
    x86_err(&e->a, (uint32_t)AND_Q, x, T, T, ONE);
    x86_err(&e->a, v512_add[size], x, R, R, T);
}

/* By way of halves; of the count three bits count. */
static void scale_bytes(struct emit *e, const struct piece *p)
{
    unsigned length = p->length + 1, b = S;

    extended(e, length, 0, p->o->a_signed, A, p->v->a, p->at);
    if (!p->v->scalar)
        extended(e, length, 0, false, b = B, p->v->b, p->at);
    x86_err(&e->a, v512_shift_right_i[1], all_of(length), 6, B, b); /* vpsllw */
    x86_byte(&e->a, 13);
    x86_err(&e->a, v512_shift_right_i[1], all_of(length), 2, B, B);
    x86_byte(&e->a, 13);
    scaled(e, p, 1, length);
    x86_err(&e->a, v512_low_halves[0], all_of(length), R, 0, R);
}

void v512_scale(struct emit *e, const struct piece *p)
{
    if (p->v->size == 0) {
        scale_bytes(e, p);
        return;
    }
    load(e, p, A, p->v->a);
    rrr(e, p, (uint32_t)AND_Q, B, load_b(e, p), K);
    scaled(e, p, p->v->size, p->length);
}

/* R = A >> B, of twice the size, rounded and saturated: what was saturated does not come back the same. */
static void scaled_half(struct emit *e, const struct piece *p)
{
    static const uint32_t saturated[2][3] = {{F338(0x10), F338(0x13), F338(0x15)}, {F338(0x20), F338(0x23), F338(0x25)}};
    static const uint32_t compare[] = {0, W(X86_OP(0x66, 3, 0x3f)), X86_OP(0x66, 3, 0x1f), W(X86_OP(0x66, 3, 0x1f))};
    unsigned length = p->length + 1, size = p->v->size;

    scaled(e, p, size + 1, length);
    x86_err(&e->a, v512_move[3], all_of(length), A, 0, R);
    x86_err(&e->a, saturated[p->o->a_signed][size], all_of(length), A, 0, R);
    x86_err(&e->a, v512_extend[p->o->a_signed][size], all_of(length), T, 0, R);
    x86_err(&e->a, compare[size + 1], (struct x86_evex){(uint8_t)length, (uint8_t)p->mask, false}, 2, A, T);
    x86_byte(&e->a, 4); /* not equal */
    note_saturated(e);
}

void v512_clip(struct emit *e, const struct piece *p)
{
    const struct ir_vec *v = p->v;
    unsigned length = p->length + 1, size = v->size;

    x86_erm(&e->a, v512_move[3], all_of(length), A, 0, home(v->a, 2 * p->at));
    if (!v->scalar)
        extended(e, length, size, false, B, v->b, p->at);
    x86_err(&e->a, (uint32_t)AND_Q, all_of(length), B, v->scalar ? S : B, K);
    scaled_half(e, p);
}

void v512_multiply(struct emit *e, const struct piece *p)
{
    static const uint32_t product[] = {E(0xd5), E38(0x40), W(E38(0x40))};
    const struct ir_vec *v = p->v;
    unsigned length = p->length + 1, size = v->size, b = S;

    extended(e, length, size, true, A, v->a, p->at);
    if (!v->scalar)
        extended(e, length, size, true, b = B, v->b, p->at);
    x86_err(&e->a, product[size], all_of(length), A, A, b);
    x86_err(&e->a, v512_shift_right_i[size + 1], all_of(length), 2, B, K); /* of the bits of twice the size, less one: half */
    x86_byte(&e->a, 1);
    scaled_half(e, p);
}

/* k2 = lanes that went beyond the range; they become its end. */
void v512_saturate(struct emit *e, const struct piece *p)
{
    const struct op512 *o = p->o;
    bool q = p->v->size == 3;
    struct x86_evex lanes = {(uint8_t)p->length, (uint8_t)p->mask, false}, over = {(uint8_t)p->length, 2, false};

    load(e, p, A, p->v->a);
    unsigned b = load_b(e, p);
    rrr(e, p, o->op[p->v->size], R, A, b);
    if (!o->a_signed) {
        /* the sum is below a, or a below b: vpcmpu, lt */
        x86_err(&e->a, q ? W(X86_OP(0x66, 3, 0x1e)) : X86_OP(0x66, 3, 0x1e), lanes, 2, o->subtract ? A : R, o->subtract ? b : A);
        x86_byte(&e->a, 1);
        x86_err(&e->a, v512_move[p->v->size], over, R, 0, K); /* 0 or all ones */
    } else {
        /* signs: the sum's is that of neither; or a's is neither b's nor the difference's */
        rrr(e, p, (uint32_t)XOR_Q, T, A, R);
        rrr(e, p, (uint32_t)XOR_Q, U, o->subtract ? A : R, b);
        rrr(e, p, (uint32_t)AND_Q, T, T, U);
        rrr(e, p, (uint32_t)XOR_Q, U, U, U);
        x86_err(&e->a, q ? W(E38(0x37)) : E(0x66), lanes, 2, U, T); /* 0 > t */
        x86_err(&e->a, q ? W(E(0x72)) : E(0x72), all_of(p->length), 4, A, A); /* vpsra: a's sign everywhere */
        x86_byte(&e->a, q ? 63 : 31);
        x86_err(&e->a, q ? W(E(0xef)) : E(0xef), over, R, A, K); /* ^ the largest */
    }
    note_saturated(e);
}
