/* viota: how many bits of a mask are set below each element.
 *
 *   piece: { eax = 8 bits of the mask (and of v0) | xmm = row eax of k_iota, extended, + esi | esi += bits set }
 *   | blended, stored
 *
 * Row n of k_iota: of the 8 bits of n, how many are set below each. */
#include "emit_vec.h"

enum { VMOVQ_LOAD = X86_OP(0xf3, 1, 0x7e), VPUNPCKLQDQ = X86_OP(0x66, 1, 0x6c) };

uint8_t *x86_vec_iota_table(struct x86_asm *a)
{
    uint8_t *at = a->p;

    for (unsigned row = 0; row < 256; row++)
        for (unsigned bit = 0; bit < 8; bit++)
            x86_byte(a, (uint8_t)__builtin_popcount(row & ((1u << bit) - 1)));
    return at;
}

unsigned x86_vec_iota_piece(const struct ir_vec *v)
{
    return v->size < 2 ? 16 : 32;
}

/* rdx = the table, esi = 0; what they were is on the stack until the end. */
void x86_vec_iota_begin(struct emit *e)
{
    x86_push(&e->a, RDX);
    x86_push(&e->a, RSI);
    x86_rm(&e->a, X86_LEA, 1, RDX, x86_at_rip(e->rt->k_iota));
    x86_rr(&e->a, X86_XOR, 0, RSI, RSI);
}

void x86_vec_iota_end(struct emit *e)
{
    x86_pop(&e->a, RSI);
    x86_pop(&e->a, RDX);
}

/* xmm0 = counts of the elements whose bits begin at `first`, 8 of them, or 4 of 64 bits. xmm1 is changed, rcx is
 * not. */
static void counts(struct emit *e, const struct part *p, unsigned first)
{
    static const uint32_t extend[] = {VMOVQ_LOAD, P38(0x30), P38(0x31), P38(0x32)};
    static const uint32_t broadcast[] = {P38(0x78), P38(0x79), P38(0x58), P38(0x59)};
    const struct ir_vec *v = p->v;
    unsigned size = v->size, half = first % 8;
    int l = size >= 2;

    x86_rm(&e->a, X86_MOVZX8, 0, RAX, emit_state(v->a + (int32_t)first / 8));
    if (v->masked)
        x86_rm(&e->a, X86_AND, 0, RAX, emit_state(v->mask + (int32_t)first / 8));
    x86_yrr(&e->a, VMOVD, 0, 0, XMM1, 0, RSI);
    x86_yrr(&e->a, broadcast[size], 0, l, XMM1, 0, XMM1);
    x86_yrm(&e->a, extend[size], 0, l, XMM0, 0, x86_at_index(RDX, RAX, 3, (int32_t)half));
    x86_yrr(&e->a, x86_vec_packed[IR_V_ADD][size], 0, l, XMM0, XMM0, XMM1);
    if (size == 3 && !half)
        return;
    x86_rr(&e->a, X86_POPCNT, 0, RAX, RAX);
    x86_rr(&e->a, X86_ADD, 0, RSI, RAX);
}

void x86_vec_iota(struct emit *e, const struct part *p)
{
    unsigned first = p->at >> p->v->size;

    counts(e, p, first);
    if (p->v->size)
        return;
    x86_yrr(&e->a, VMOVDQU_LOAD, 0, 0, XMM2, 0, XMM0);
    counts(e, p, first + 8);
    x86_yrr(&e->a, VPUNPCKLQDQ, 0, 0, XMM0, XMM2, XMM0);
}
