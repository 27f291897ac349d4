/* Routines that the translated code of vectors calls, made once per code cache (emit_vec.c). */
#include "emit_vec.h"

enum { TAIL_SHIFT = 6 }; /* log2 of the bytes of code for one length of the tail */
enum { MAX_TAIL = X86_VEC_MAX_TAIL };

/* n < 32 bytes, each of them once: another hart may write in between. Elements are naturally aligned in the guest, and
 * no piece ends inside of one. */
static void copy_tail(struct x86_asm *a, unsigned to, unsigned from, unsigned n)
{
    static const struct {
        uint8_t bytes;
        uint32_t load, store;
        int w;
    } part[] = {
        {8, X86_MOV_LOAD, X86_MOV_STORE, 1},
        {4, X86_MOV_LOAD, X86_MOV_STORE, 0},
        {2, X86_MOVZX16, X86_MOV_STORE16, 0},
        {1, X86_MOVZX8, X86_MOV_STORE8, 0},
    };
    int32_t at = 0;

    if (n & 16) {
        x86_yrm(a, VMOVDQU_LOAD, 0, 0, XMM0, 0, x86_at(from, 0));
        x86_yrm(a, VMOVDQU_STORE, 0, 0, XMM0, 0, x86_at(to, 0));
        at = 16;
    }
    for (unsigned k = 0; k < 4; k++) {
        if (!(n & part[k].bytes))
            continue;
        x86_rm(a, part[k].load, part[k].w, RAX, x86_at(from, at));
        if (part[k].bytes == 1)
            x86_rm8(a, part[k].store, RAX, x86_at(to, at));
        else
            x86_rm(a, part[k].store, part[k].w, RAX, x86_at(to, at));
        at += part[k].bytes;
    }
}

/* In: rax = bytes, rcx = host address in guest memory, rdx = address in the state. Changes all three and xmm0. The tail
 * is a jump into a table of all its lengths: one branch to foresee instead of five. */
static uint8_t *emit_copy_part(struct x86_asm *a, bool to_state)
{
    unsigned to = to_state ? RDX : RCX, from = to_state ? RCX : RDX;
    uint8_t *at = a->p;

    x86_push(a, RSI);
    uint8_t *loop = a->p;
    x86_ri(a, X86_SUB, 0, RAX, 32);
    uint8_t *tail = x86_jcc(a, X86_B);
    x86_yrm(a, VMOVDQU_LOAD, 0, 1, XMM0, 0, x86_at(from, 0));
    x86_yrm(a, VMOVDQU_STORE, 0, 1, XMM0, 0, x86_at(to, 0));
    x86_ri(a, X86_ADD, 1, to, 32);
    x86_ri(a, X86_ADD, 1, from, 32);
    x86_patch(x86_jmp(a), loop);
    x86_patch(tail, a->p);
    uint8_t *table = x86_lea_rip(a, RSI);
    x86_ri(a, X86_ADD, 0, RAX, 32);
    x86_shift_i(a, X86_SHL_N, 0, RAX, TAIL_SHIFT);
    x86_rr(a, X86_ADD, 1, RAX, RSI);
    x86_jmp_reg(a, RAX);
    x86_align(a, 1u << TAIL_SHIFT);
    x86_patch(table, a->p);
    for (unsigned n = 0; n < 32; n++) {
        copy_tail(a, to, from, n);
        x86_pop(a, RSI);
        x86_vzeroupper(a);
        x86_ret(a);
        x86_align(a, 1u << TAIL_SHIFT);
    }
    return at;
}

/* For masks as lanes (emit_vec.c): in front of byte n of what is copied, the byte of the mask that has its bit ... */
static uint8_t *emit_mask_bytes(struct x86_asm *a)
{
    uint8_t *at = a->p;

    for (unsigned n = 0; n < 32; n++)
        x86_byte(a, (uint8_t)(n / 8));
    return at;
}

/* ... and that bit in each lane: of bytes and words in order, for quads up to the eighth. */
static uint8_t *emit_mask_bits(struct x86_asm *a, unsigned size)
{
    uint8_t *at = a->p;

    for (unsigned n = 0; n < (size == 3 ? 64u : 32u) >> size; n++) {
        uint64_t bit = 1ull << (size == 0 ? n % 8 : n);
        for (unsigned k = 0; k < 1u << size; k++)
            x86_byte(a, (uint8_t)(bit >> 8 * k));
    }
    return at;
}

/* For vpshufb: the low halves of elements of twice that size to the low 8 bytes of each 16. */
static uint8_t *emit_low_halves(struct x86_asm *a, unsigned size)
{
    uint8_t *at = a->p;

    for (unsigned n = 0; n < 32; n++) {
        unsigned to = n % 16, element = to >> size;
        x86_byte(a, to < 8 ? (uint8_t)((element << (size + 1)) + (to & ((1u << size) - 1))) : 0x80);
    }
    return at;
}

/* Ones and zeros: n bytes in front of the first zero begins the mask of the first n bytes of anything. */
static uint8_t *emit_tail_mask(struct x86_asm *a)
{
    for (unsigned n = 0; n < 2 * MAX_TAIL / 8; n++)
        x86_u64(a, n < MAX_TAIL / 8 ? UINT64_MAX : 0);
    return a->p - MAX_TAIL;
}

/* Row n: n bits. */
static uint8_t *emit_lengths(struct x86_asm *a)
{
    x86_align(a, 1u << X86_VEC_LENGTH_SHIFT);
    uint8_t *at = a->p;

    for (unsigned n = 0; n <= MAX_TAIL; n++)
        for (unsigned byte = 0; byte < 1u << X86_VEC_LENGTH_SHIFT; byte++)
            x86_byte(a, n >= 8 * byte + 8 ? 0xff : n > 8 * byte ? (uint8_t)((1u << (n - 8 * byte)) - 1) : 0);
    return at;
}

/* 1 in 32 bytes of elements, then the bit below the highest, then all bits but the highest. */
static uint8_t *emit_ones(struct x86_asm *a, unsigned size)
{
    uint64_t one[] = {0x0101010101010101, 0x0001000100010001, 0x0000000100000001, 1};
    unsigned bits = 8u << size;
    uint8_t *at = a->p;

    for (unsigned n = 0; n < 4; n++)
        x86_u64(a, one[size]);
    for (unsigned n = 0; n < 4; n++)
        x86_u64(a, one[size] << (bits - 2));
    for (unsigned n = 0; n < 4; n++)
        x86_u64(a, ~(one[size] << (bits - 1)));
    return at;
}

/* By vxrm, words p, q, s and t: of what is shifted out, the highest bit and whether there are others,
 * (highest | (others & s)) & (((floor | (others & t)) & p) ^ q) & 1 is to be added. */
static uint8_t *emit_rounding(struct x86_asm *a)
{
    static const uint64_t words[4][X86_VEC_ROUNDING] = {
        {0, UINT64_MAX, 0, 0}, {UINT64_MAX, 0, 0, UINT64_MAX}, {0, 0, 0, 0}, {UINT64_MAX, UINT64_MAX, UINT64_MAX, 0}};
    uint8_t *at = a->p;

    for (unsigned mode = 0; mode < 4; mode++)
        for (unsigned n = 0; n < X86_VEC_ROUNDING; n++)
            x86_u64(a, words[mode][n]);
    return at;
}

/* 0, 1, 2 ... in all elements of the longest group; of bytes until they begin anew. */
static uint8_t *emit_index(struct x86_asm *a, unsigned size)
{
    unsigned nr = size ? (unsigned)X86_VEC_MAX_BYTES >> size : 256;
    uint8_t *at = a->p;

    for (unsigned n = 0; n < nr; n++)
        for (unsigned k = 0; k < 1u << size; k++)
            x86_byte(a, k < 2 ? (uint8_t)(n >> 8 * k) : 0);
    return at;
}

void x86_emit_vec_runtime(struct ir_host *h, struct x86_asm *a)
{
    for (unsigned to_state = 0; to_state < 2; to_state++)
        h->rt.copy_part[to_state] = emit_copy_part(a, to_state);
    x86_emit_vec_spread(h, a);
    x86_emit_vec_divide(h, a);
    x86_align(a, 64);
    h->rt.k_mask_bytes = emit_mask_bytes(a);
    for (unsigned size = 0; size < 4; size++)
        h->rt.k_mask_bits[size] = emit_mask_bits(a, size);
    for (unsigned size = 0; size < 3; size++)
        h->rt.k_low_halves[size] = emit_low_halves(a, size);
    h->rt.k_tail = emit_tail_mask(a);
    h->rt.k_length = emit_lengths(a);
    h->rt.k_rounding = emit_rounding(a);
    h->rt.k_iota = x86_vec_iota_table(a);
    for (unsigned size = 0; size < 4; size++)
        h->rt.k_ones[size] = emit_ones(a, size);
    for (unsigned fields = 2; fields <= X86_VEC_MAX_FIELDS; fields++)
        for (unsigned size = 0; size < 4; size++)
            for (unsigned to_state = 0; to_state < 2; to_state++)
                h->rt.k_segment[to_state][fields][size] = x86_vec_segment_table(a, fields, size, to_state);
    for (unsigned size = 0; size < 4; size++)
        h->rt.k_index[size] = emit_index(a, size);
}
