/* Vectors by AVX-512: what does not go lane by lane: gathers, vcompress, reductions, comparisons. */
#include "emit_vec512.h"

/* ---- permutations ---- */

/* B = the piece's indices, k3 = those inside the group */
static void indices(struct emit *e, const struct piece *p)
{
    static const uint32_t compare[] = {X86_OP(0x66, 3, 0x3e), W(X86_OP(0x66, 3, 0x3e)), X86_OP(0x66, 3, 0x1e),
                                       W(X86_OP(0x66, 3, 0x1e))};
    const struct ir_vec *v = p->v;
    unsigned size = v->size;
    bool by_words = p->o->high && size == 0;

    if (!p->o->high || size == 1)
        load(e, p, B, v->b);
    else if (by_words)
        x86_erm(&e->a, v512_move[3], all_of(p->length + 1), B, 0, home(v->b, 2 * p->at));
    else
        x86_erm(&e->a, size == 2 ? E38(0x33) : E38(0x34), all_of(p->length), B, 0, home(v->b, p->at >> (size - 1)));
    x86_err(&e->a, compare[by_words ? 1 : size], all_of(by_words ? p->length + 1 : p->length), 3, B, K);
    x86_byte(&e->a, 1); /* below */
    if (by_words)
        x86_err(&e->a, v512_low_halves[0], all_of(p->length + 1), B, 0, B);
}

/* Of groups of up to 128 bytes: a as a table of one or two registers. */
void v512_gather(struct emit *e, const struct piece *p)
{
    static const uint32_t of_two[] = {E38(0x75), W(E38(0x75)), E38(0x76), W(E38(0x76))};
    const struct ir_vec *v = p->v;
    struct x86_evex x = {ZMM, 3, true};

    indices(e, p);
    x86_erm(&e->a, v512_move[3], all_of(ZMM), A, 0, home(v->a, 0));
    if (v->bytes <= 64) {
        x86_err(&e->a, p->o->op[v->size], x, R, B, A);
        return;
    }
    x86_err(&e->a, v512_move[3], all_of(ZMM), R, 0, B);
    x86_erm(&e->a, of_two[v->size], x, R, A, home(v->a, 64));
}

/* The chosen elements one after the other; in the bits of k2 as many as they are. */
static void compress_piece(struct emit *e, const struct ir_vec *v, unsigned at, unsigned length)
{
    static const uint32_t op[] = {E38(0x63), W(E38(0x63)), E38(0x8b), W(E38(0x8b))};
    unsigned lanes = (v->used ? v->used : 16u << length) >> v->size;

    x86_load(&e->a, RAX, emit_state(v->b + (int32_t)(at >> v->size) / 8));
    if (lanes < 64) {
        x86_mov_imm(&e->a, RCX, (int64_t)((1ull << lanes) - 1));
        x86_rr(&e->a, X86_AND, 1, RAX, RCX);
    }
    x86_yrr(&e->a, KMOV_Q_FROM_GPR, 1, 0, 1, 0, RAX);
    x86_mov_imm(&e->a, RCX, -1);
    x86_vrr(&e->a, PEXT, 1, RCX, RCX, RAX);
    x86_yrr(&e->a, KMOV_Q_FROM_GPR, 1, 0, 2, 0, RCX);
    x86_erm(&e->a, v512_move[3], all_of(length), A, 0, home(v->a, at));
    x86_err(&e->a, op[v->size], (struct x86_evex){(uint8_t)length, 1, true}, A, 0, R);
}

void x86_vec512_compress(struct emit *e, const struct ir_vec *v)
{
    unsigned length = v->bytes >= 64 ? ZMM : v->bytes == 32 ? YMM : XMM;
    struct x86_evex chosen = {(uint8_t)length, 2, false};

    if (v->bytes <= 64) {
        compress_piece(e, v, 0, length);
        x86_erm(&e->a, v512_move[3], all_of(length), T, 0, home(v->d, 0));
        x86_err(&e->a, v512_move[v->size], chosen, T, 0, R);
        x86_erm(&e->a, (uint32_t)STORE, all_of(length), T, 0, home(v->d, 0));
    } else {
        x86_push(&e->a, RDX);
        x86_rm(&e->a, X86_LEA, 1, RDX, emit_state(v->d));
        for (unsigned at = 0; at < v->bytes; at += 64) {
            compress_piece(e, v, at, length);
            x86_erm(&e->a, v512_move[v->size] + 0x10, chosen, R, 0, x86_at(RDX, 0)); /* the store form */
            x86_rr(&e->a, X86_POPCNT, 1, RCX, RCX);
            x86_rm(&e->a, X86_LEA, 1, RDX, x86_at_index(RDX, RCX, v->size, 0));
        }
        x86_pop(&e->a, RDX);
    }
    x86_vzeroupper(&e->a);
}

/* ---- stores ---- */

void x86_vec512_store_lanes(struct emit *e, const struct part *p, struct x86_mem memory)
{
    const struct ir_vec *v = p->v;
    struct x86_evex lanes = {(uint8_t)p->l, 1, false};

    x86_yrm(&e->a, KMOV_Q_FROM_MEMORY, 1, 0, 1, 0, home(v->mask, (p->at >> v->size) / 8));
    x86_erm(&e->a, v512_move[3], all_of((unsigned)p->l), A, 0, home(v->a, p->at));
    x86_erm(&e->a, v512_move[v->size] + 0x10, lanes, A, 0, memory); /* the store form */
}

/* ---- reductions, under a mask too: with what changes nothing in the other lanes ---- */

static const uint32_t reductions[][4] = {
    [IR_V_REDSUM - IR_V_REDSUM] = {E(0xfc), E(0xfd), E(0xfe), W(E(0xd4))},
    [IR_V_REDAND - IR_V_REDSUM] = {W(E(0xdb)), W(E(0xdb)), W(E(0xdb)), W(E(0xdb))},
    [IR_V_REDOR - IR_V_REDSUM] = {W(E(0xeb)), W(E(0xeb)), W(E(0xeb)), W(E(0xeb))},
    [IR_V_REDXOR - IR_V_REDSUM] = {W(E(0xef)), W(E(0xef)), W(E(0xef)), W(E(0xef))},
    [IR_V_REDMIN - IR_V_REDSUM] = {E38(0x38), E(0xea), E38(0x39), W(E38(0x39))},
    [IR_V_REDMAX - IR_V_REDSUM] = {E38(0x3c), E(0xee), E38(0x3d), W(E38(0x3d))},
    [IR_V_REDMINU - IR_V_REDSUM] = {E(0xda), E38(0x3a), E38(0x3b), W(E38(0x3b))},
    [IR_V_REDMAXU - IR_V_REDSUM] = {E(0xde), E38(0x3e), E38(0x3f), W(E38(0x3f))},
    [IR_V_WREDSUMU - IR_V_REDSUM] = {0, E(0xfd), E(0xfe), W(E(0xd4))},
    [IR_V_WREDSUM - IR_V_REDSUM] = {0, E(0xfd), E(0xfe), W(E(0xd4))},
};

/* A = the upper half of R's `bytes` */
static void upper_half(struct emit *e, unsigned bytes)
{
    if (bytes > 16) {
        x86_err(&e->a, bytes == 64 ? W(X86_OP(0x66, 3, 0x3b)) : W(X86_OP(0x66, 3, 0x39)),
                all_of(bytes == 64 ? ZMM : YMM), R, 0, A); /* vextracti64x4, x2 */
        x86_byte(&e->a, 1);
    } else if (bytes >= 8) {
        x86_err(&e->a, E(0x70), all_of(XMM), A, 0, R); /* vpshufd */
        x86_byte(&e->a, bytes == 16 ? 0x4e : 0xb1);
    } else {
        x86_err(&e->a, v512_shift_right_i[bytes / 2], all_of(XMM), 2, A, R); /* dwords by 16, words by 8 */
        x86_byte(&e->a, (uint8_t)(4 * bytes));
    }
}

/* The upper part of R's `bytes` (of elements of that size) into the lower, until one element is left. */
static void fold(struct emit *e, uint32_t op, unsigned size, unsigned bytes)
{
    for (; bytes > 1u << size; bytes /= 2) {
        upper_half(e, bytes);
        x86_err(&e->a, op, all_of(bytes == 64 ? YMM : XMM), R, R, A);
    }
}

/* A = `bytes` of the group from its byte `at` on; narrow: half as many, extended */
static void reduce_load(struct emit *e, const struct ir_vec *v, unsigned at, unsigned length)
{
    bool widens = v->op == IR_V_WREDSUMU || v->op == IR_V_WREDSUM, masked = v->masked || v->used;

    if (masked) {
        struct piece p = {.v = v, .at = at, .length = length, .mask = 1};
        (void)v512_make_mask(e, &p, v->masked ? MASK_V0 : MASK_NONE);
    }
    struct x86_evex x = {(uint8_t)(widens ? length + 1 : length), masked, masked && widens};
    if (masked && !widens)
        x86_err(&e->a, v512_move[3], all_of(length), A, 0, K);
    x86_erm(&e->a, widens ? v512_extend[v->op == IR_V_WREDSUM][v->size] : v512_move[v->size], x, A, 0, home(v->a, at));
}

void x86_vec512_reduce(struct emit *e, const struct ir_vec *v)
{
    static const uint32_t store[] = {X86_MOV_STORE8, X86_MOV_STORE16, X86_MOV_STORE, X86_MOV_STORE};
    bool widens = v->op >= IR_V_WREDSUMU;
    unsigned size = v->size + widens, most = widens ? 32 : 64, bytes = v->bytes < most ? v->bytes : most;
    uint32_t op = reductions[v->op - IR_V_REDSUM][size];

    constant(e, size, x86_vec_neutral(v->op, size));
    for (unsigned at = 0; at < v->bytes; at += bytes) {
        reduce_load(e, v, at, bytes / 32);
        unsigned length = bytes / 32 + widens;
        if (at)
            x86_err(&e->a, op, all_of(length), R, R, A);
        else
            x86_err(&e->a, v512_move[3], all_of(length), R, 0, A);
    }
    fold(e, op, size, bytes << widens);
    x86_erm(&e->a, W(X86_OP(0xf3, 1, 0x7e)), all_of(XMM), A, 0, home(v->b, 0)); /* vmovq */
    x86_err(&e->a, op, all_of(XMM), R, R, A);
    x86_err(&e->a, W(E(0x7e)), all_of(XMM), R, 0, RAX);
    if (size == 0)
        x86_rm8(&e->a, store[0], RAX, emit_state(v->d));
    else
        x86_rm(&e->a, store[size], size == 3, RAX, emit_state(v->d));
    x86_vzeroupper(&e->a);
}

/* R = the lesser or the greater of R and A: of zeros of both signs the host takes its second operand, so both ways. */
static void combine_floats(struct emit *e, const struct ir_vec *v, unsigned length)
{
    bool least = v->op == IR_V_FREDMIN, q = v->size == 3;
    uint32_t op = q ? W(E(least ? 0x5d : 0x5f)) : least ? NP(0x5d) : NP(0x5f);

    x86_err(&e->a, op, all_of(length), T, A, R);
    x86_err(&e->a, op, all_of(length), R, R, A);
    x86_err(&e->a, least ? (uint32_t)OR_Q : (uint32_t)AND_Q, all_of(length), R, R, T);
}

/* A NaN is for the interpreter's function, which begins anew. */
static void no_nans(struct emit *e, const struct ir_vec *v, unsigned length)
{
    struct piece p = {.v = v, .length = length};

    v512_unordered(e, &p, A, A);
}

/* b[0], by its bits: when no element is chosen it raises no flag. */
static void first_is_number(struct emit *e, const struct ir_vec *v)
{
    bool q = v->size == 3;
    struct cold *c = emit_cold(e, COLD_VEC_REST);

    x86_rm(&e->a, X86_MOV_LOAD, q, RAX, home(v->b, 0));
    x86_rr(&e->a, X86_ADD, q, RAX, RAX); /* without the sign */
    x86_mov_imm(&e->a, RCX, q ? (int64_t)0xffe0000000000000 : 0xff000000);
    x86_rr(&e->a, X86_CMP, q, RAX, RCX);
    c->from[0] = x86_jcc(&e->a, X86_A);
    c->element = 0;
    c->reg = 0;
}

/* Least or greatest of b[0] and the elements, with an infinity in the other lanes. */
void x86_vec512_reduce_floats(struct emit *e, const struct ir_vec *v)
{
    unsigned q = v->size == 3, bytes = v->bytes < 64 ? v->bytes : 64, length = bytes / 32;
    uint64_t infinity = q ? 0x7ff0000000000000 : 0x7f800000, sign = q ? 1ull << 63 : 1ull << 31;

    constant(e, v->size, (int64_t)(v->op == IR_V_FREDMIN ? infinity : infinity | sign));
    for (unsigned at = 0; at < v->bytes; at += bytes) {
        reduce_load(e, v, at, length);
        no_nans(e, v, length);
        if (at)
            combine_floats(e, v, length);
        else
            x86_err(&e->a, v512_move[3], all_of(length), R, 0, A);
    }
    for (unsigned left = bytes; left > 1u << v->size; left /= 2) {
        upper_half(e, left);
        combine_floats(e, v, left == 64 ? YMM : XMM);
    }
    first_is_number(e, v);
    x86_erm(&e->a, q ? W(E(0x6e)) : E(0x6e), all_of(XMM), A, 0, home(v->b, 0)); /* vmovq, vmovd */
    combine_floats(e, v, XMM);
    x86_erm(&e->a, q ? W(E(0x7e)) : E(0x7e), all_of(XMM), R, 0, home(v->d, 0));
    x86_vzeroupper(&e->a);
}

/* ---- comparisons ---- */

bool x86_vec512_compares(uint64_t features, const struct ir_vec *v)
{
    bool quads = v->size == 3 && v->op >= IR_V_LTU && v->op <= IR_V_GTU;

    return (features & X86_VEC512) == X86_VEC512 &&
           (quads || (v->masked && v->size >= 2 && v->op >= IR_V_FEQ && v->op <= IR_V_FGE));
}

void x86_vec512_compare(struct emit *e, const struct part *p, unsigned predicate)
{
    const struct ir_vec *v = p->v;
    bool is_float = v->op >= IR_V_FEQ && v->op <= IR_V_FGE, masked = is_float && v->masked;
    unsigned element = p->at >> v->size, b = XMM1;
    uint32_t op = !is_float ? W(X86_OP(0x66, 3, 0x1e)) : v->size == 3 ? W(E(0xc2)) : NP(0xc2);

    if (masked) {
        x86_yrm(&e->a, KMOV_Q_FROM_MEMORY, 1, 0, 1, 0, home(v->mask, element / 8));
        if (element % 8) {
            x86_yrr(&e->a, KSHIFTR_Q, 1, 0, 1, 0, 1);
            x86_byte(&e->a, (uint8_t)(element % 8));
        }
        if (v->used) { /* a scalar is in all lanes, and raises flags in those above the group, too */
            x86_mov_imm(&e->a, RAX, (1 << (v->used >> v->size)) - 1);
            x86_yrr(&e->a, KMOV_Q_FROM_GPR, 1, 0, 2, 0, RAX);
            x86_yrr(&e->a, KAND_Q, 1, 1, 1, 1, 2);
        }
    }
    x86_vec_load_part(e, p, XMM0, v->a);
    if (!v->scalar)
        x86_vec_load_part(e, p, b, v->b);
    x86_err(&e->a, op, (struct x86_evex){(uint8_t)p->l, masked, false}, 2, XMM0, b);
    x86_byte(&e->a, (uint8_t)predicate);
    x86_yrr(&e->a, KMOV_Q_TO_GPR, 1, 0, RAX, 0, 2);
}
