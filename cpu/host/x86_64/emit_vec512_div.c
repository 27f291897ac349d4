/* Vectors by AVX-512: division of integers of up to 32 bits.
 *
 *   a, b as floating point with more bits than they have | a / b | cut to an integer: exact, for quotients that are no
 *   integers are farther from the next one than what is rounded | all ones where b is 0 | remainder: a - b * quotient
 *
 * Bytes and halves as floats, 16 at a time, words as doubles, 8 at a time. The forms with a rounding mode of their own raise
 * no flags, which would be the guest's. What is too large (the least number by -1) comes back as the least number. */
#include "emit_vec512.h"

#define NEAREST(op) ((op) | X86_EVEX_NEAREST)
enum { DWORD = 2, VPTESTNMD = X86_OP(0xf3, 2, 0x27), VPMULLD = E38(0x40) };

/* By size: elements of all sizes to words, and back. */
static const uint32_t to_words[2][3] = {{E38(0x31), E38(0x33), 0}, {E38(0x21), E38(0x23), 0}};
static const uint32_t from_words[] = {X86_OP(0xf3, 2, 0x31), X86_OP(0xf3, 2, 0x33)};

static void load_words(struct emit *e, const struct piece *p, unsigned length, unsigned reg, int32_t operand)
{
    if (p->v->size == DWORD)
        load(e, p, reg, operand);
    else
        x86_erm(&e->a, to_words[p->o->a_signed][p->v->size], all_of(length), reg, 0, home(operand, p->at));
}

/* T = a / b, of up to 16 words; b is in register `b` */
static void divide_floats(struct emit *e, unsigned b)
{
    x86_err(&e->a, NP(0x5b), all_of(ZMM), T, 0, A); /* vcvtdq2ps: exact */
    x86_err(&e->a, NP(0x5b), all_of(ZMM), U, 0, b);
    x86_err(&e->a, NEAREST(NP(0x5e)), all_of(ZMM), T, T, U);
    x86_err(&e->a, NEAREST(F3(0x5b)), all_of(ZMM), T, 0, T); /* vcvttps2dq */
}

static void divide_doubles(struct emit *e, unsigned b, bool is_signed)
{
    uint32_t to = is_signed ? F3(0xe6) : F3(0x7a), from = is_signed ? W(E(0xe6)) : W(NP(0x78));

    x86_err(&e->a, to, all_of(ZMM), T, 0, A);
    x86_err(&e->a, to, all_of(ZMM), U, 0, b);
    x86_err(&e->a, NEAREST(W(E(0x5e))), all_of(ZMM), T, T, U);
    x86_err(&e->a, NEAREST(from), all_of(ZMM), T, 0, T);
}

void v512_divide(struct emit *e, const struct piece *p)
{
    const struct ir_vec *v = p->v;
    unsigned length = v->size == DWORD ? YMM : ZMM, b = v->scalar ? S : B;
    bool remainder = v->op == IR_V_REM || v->op == IR_V_REMU;

    load_words(e, p, length, A, v->a);
    if (!v->scalar)
        load_words(e, p, length, B, v->b);
    if (v->size == DWORD)
        divide_doubles(e, b, p->o->a_signed);
    else
        divide_floats(e, b);
    x86_err(&e->a, VPTESTNMD, all_of(length), 2, b, b);
    x86_err(&e->a, v512_move[DWORD], (struct x86_evex){(uint8_t)length, 2, false}, T, 0, K);
    if (remainder) {
        x86_err(&e->a, VPMULLD, all_of(length), T, T, b);
        x86_err(&e->a, v512_sub[DWORD], all_of(length), T, A, T);
    }
    if (v->size == DWORD)
        x86_err(&e->a, v512_move[3], all_of(length), R, 0, T);
    else
        x86_err(&e->a, from_words[v->size], all_of(length), T, 0, R);
}
