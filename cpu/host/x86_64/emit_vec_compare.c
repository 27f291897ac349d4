/* Comparisons of vectors, to a mask: a bit an element.
 *
 *   ymm0 = a op b, all ones where true | a bit a lane to eax | those that are no whole bytes wait in ecx | a store,
 *   or old ^ ((old ^ new) & which), where other bits stay: below 8 elements, and under a mask */
#include "emit_vec.h"

enum {
    VPACKSSWB = X86_OP(0x66, 1, 0x63),
    VPERMQ = X86_OP(0x66, 3, 0x00),
    VMOVMSKPD = X86_OP(0x66, 1, 0x50),
    VCMPPD = X86_OP(0x66, 1, 0xc2),
    EVEN_QUADS = 0x08 /* of VPERMQ: quads 0 and 2 become 0 and 1 */
};

#define EQUAL {P(0x74), P(0x75), P(0x76), P38(0x29)}
#define GREATER {P(0x64), P(0x65), P(0x66), P38(0x37)}
#define MIN_U {P(0xda), P38(0x3a), P38(0x3b), 0}
#define MAX_U {P(0xde), P38(0x3e), P38(0x3f), 0}
#define FLOAT {0, 0, VCMPPS, VCMPPD}

/* a op b; or `first` = min(a, b) or max(a, b), then first == a. 0: no such size */
struct comparison {
    uint32_t op[4], first[4];
    bool swapped, inverted, is_float;
    uint8_t unsigned_predicate; /* of vpcmpu */
    uint8_t predicate; /* of floating point: ordered, raising a flag for the NaNs that RISC-V raises it for */
};

static const struct comparison comparisons[] = {
    [IR_V_EQ - IR_V_EQ] = {.op = EQUAL},
    [IR_V_NE - IR_V_EQ] = {.op = EQUAL, .inverted = true},
    [IR_V_LT - IR_V_EQ] = {.op = GREATER, .swapped = true},
    [IR_V_LE - IR_V_EQ] = {.op = GREATER, .inverted = true},
    [IR_V_GT - IR_V_EQ] = {.op = GREATER},
    [IR_V_LTU - IR_V_EQ] = {.op = EQUAL, .first = MAX_U, .inverted = true, .unsigned_predicate = 1},
    [IR_V_LEU - IR_V_EQ] = {.op = EQUAL, .first = MIN_U, .unsigned_predicate = 2},
    [IR_V_GTU - IR_V_EQ] = {.op = EQUAL, .first = MIN_U, .inverted = true, .unsigned_predicate = 6},
    [IR_V_FEQ - IR_V_EQ] = {.op = FLOAT, .is_float = true, .predicate = 0x00},
    [IR_V_FNE - IR_V_EQ] = {.op = FLOAT, .is_float = true, .predicate = 0x04},
    [IR_V_FLT - IR_V_EQ] = {.op = FLOAT, .is_float = true, .predicate = 0x01},
    [IR_V_FLE - IR_V_EQ] = {.op = FLOAT, .is_float = true, .predicate = 0x02},
    [IR_V_FGT - IR_V_EQ] = {.op = FLOAT, .is_float = true, .predicate = 0x0e},
    [IR_V_FGE - IR_V_EQ] = {.op = FLOAT, .is_float = true, .predicate = 0x0d},
};

static const struct comparison *comparison_of(unsigned op)
{
    return &comparisons[op - IR_V_EQ];
}

static bool is_carry(unsigned op)
{
    return op >= IR_V_MADC && op <= IR_V_MSBCC;
}

bool x86_vec_has_compare(uint64_t features, enum ir_vop op, unsigned size)
{
    if (x86_vec512_compares(features, &(struct ir_vec){.op = (uint8_t)op, .size = (uint8_t)size}))
        return true;
    if (is_carry(op))
        return true;
    const struct comparison *c = comparison_of(op);

    return c->op[size] && (!c->first[1] || c->first[size]);
}

/* Floating point, with 0 in the other lanes, so that they raise no flags. */
static void compare_lanes(struct emit *e, const struct part *p, const struct comparison *c)
{
    const struct ir_vec *v = p->v;

    x86_vec_lanes_of_v0(e, p);
    x86_yrm(&e->a, VPAND, 0, p->l, XMM0, XMM2, part_of(p, v->a));
    if (v->scalar)
        x86_yrr(&e->a, VPAND, 0, p->l, XMM2, XMM2, XMM1);
    else
        x86_yrm(&e->a, VPAND, 0, p->l, XMM2, XMM2, part_of(p, v->b));
    x86_yrr(&e->a, c->op[v->size], 0, p->l, XMM0, XMM0, XMM2);
    x86_byte(&e->a, c->predicate);
}

/* ymm0 = all ones where it holds (but for c->inverted) */
static void compare(struct emit *e, const struct part *p, const struct comparison *c)
{
    const struct ir_vec *v = p->v;
    uint32_t op = c->op[v->size];

    if (c->swapped) {
        x86_vec_load_b(e, p, XMM0);
        x86_yrm(&e->a, op, 0, p->l, XMM0, XMM0, part_of(p, v->a));
        return;
    }
    if (c->is_float && v->masked) {
        compare_lanes(e, p, c);
        return;
    }
    if (c->is_float && v->used) { /* the rest raises no flags */
        if (!v->scalar)
            x86_vec_load_part(e, p, XMM1, v->b);
        x86_vec_load_part(e, p, XMM0, v->a);
        x86_yrr(&e->a, op, 0, 0, XMM0, XMM0, XMM1);
        x86_byte(&e->a, c->predicate);
        return;
    }
    x86_vec_load(e, p->l, XMM0, part_of(p, v->a));
    if (c->first[1]) {
        x86_vec_with_b(e, p, c->first[v->size], 0);
        x86_yrm(&e->a, op, 0, p->l, XMM0, XMM0, part_of(p, v->a));
        return;
    }
    x86_vec_with_b(e, p, op, 0);
    if (c->is_float)
        x86_byte(&e->a, c->predicate);
}

/* ymm0: its sign bits are what is carried out of a + b + c, (a & b) | ((a | b) & ~sum); or borrowed by a - b - c,
 * (~a & b) | (~(a & ~b) & difference). */
static void carry(struct emit *e, const struct part *p)
{
    const struct ir_vec *v = p->v;
    bool borrows = v->op == IR_V_MSBC || v->op == IR_V_MSBCC, with = v->op >= IR_V_MADCC;
    uint32_t add = x86_vec_packed[IR_V_ADD][v->size], sub = x86_vec_packed[IR_V_SUB][v->size];
    struct x86_mem a = part_of(p, v->a), b = x86_vec_memory_b(e, p);

    x86_vec_load(e, p->l, XMM0, a);
    x86_yrm(&e->a, borrows ? sub : add, 0, p->l, XMM0, XMM0, b);
    if (with) {
        x86_vec_lanes_of_v0(e, p); /* -1 */
        x86_yrr(&e->a, borrows ? add : sub, 0, p->l, XMM0, XMM0, XMM2);
    }
    x86_vec_load(e, p->l, XMM1, borrows ? b : a);
    x86_yrm(&e->a, borrows ? (uint32_t)VPANDN : (uint32_t)VPOR, 0, p->l, XMM1, XMM1, borrows ? a : b);
    if (borrows)
        x86_yrr(&e->a, VPANDN, 0, p->l, XMM0, XMM1, XMM0);
    else
        x86_yrr(&e->a, VPANDN, 0, p->l, XMM0, XMM0, XMM1);
    x86_vec_load(e, p->l, XMM1, a);
    x86_yrm(&e->a, borrows ? (uint32_t)VPANDN : (uint32_t)VPAND, 0, p->l, XMM1, XMM1, b);
    x86_yrr(&e->a, VPOR, 0, p->l, XMM0, XMM0, XMM1);
}

/* eax = a bit a lane; above them there may be others */
static void to_bits(struct emit *e, const struct part *p, bool inverted)
{
    static const uint32_t move[] = {VPMOVMSKB, VPMOVMSKB, VMOVMSKPS, VMOVMSKPD};
    unsigned size = p->v->size;
    int l = p->l;

    if (size == 1) {
        x86_yrr(&e->a, VPACKSSWB, 0, l, XMM0, XMM0, XMM0);
        if (l) {
            x86_yrr(&e->a, VPERMQ, 1, 1, XMM0, 0, XMM0);
            x86_byte(&e->a, EVEN_QUADS);
        }
        l = 0;
    }
    x86_yrr(&e->a, move[size], 0, l, RAX, 0, XMM0);
    if (inverted)
        x86_ri(&e->a, X86_XOR, 0, RAX, -1);
}

/* `bits` of eax are those of elements [first, first + bits); which: state.vmask or so, or 0: all of them are written */
static void put_bits(struct emit *e, const struct ir_vec *v, int32_t which, unsigned first, unsigned bits)
{
    static const uint32_t load[] = {X86_MOVZX8, X86_MOVZX16, X86_MOV_LOAD};
    unsigned log2 = bits <= 8 ? 0 : bits == 16 ? 1 : 2;
    struct x86_mem d = emit_state(v->d + (int32_t)(first / 8));

    if (which || bits < 8) {
        x86_rm(&e->a, load[log2], 0, RCX, d);
        x86_rr(&e->a, X86_XOR, 0, RAX, RCX);
        if (which)
            x86_rm(&e->a, X86_AND, 0, RAX, emit_state(which + (int32_t)(first / 8)));
        if (bits < 8)
            x86_ri(&e->a, X86_AND, 0, RAX, (1 << bits) - 1);
        x86_rr(&e->a, X86_XOR, 0, RAX, RCX);
    }
    if (log2 == 0)
        x86_rm8(&e->a, X86_MOV_STORE8, RAX, d);
    else
        x86_rm(&e->a, log2 == 1 ? X86_MOV_STORE16 : X86_MOV_STORE, 0, RAX, d);
}

void x86_vec_compare(struct emit *e, const struct ir_vec *v, int32_t which)
{
    const struct comparison *c = is_carry(v->op) ? NULL : comparison_of(v->op);
    unsigned step = x86_piece(v->bytes), bits = (v->used ? v->used : step) >> v->size;

    unsigned borrowed = v->op >= IR_V_MADCC || (c && c->is_float && v->masked);

    x86_vec_borrow(e, borrowed);
    for (unsigned at = 0; at < v->bytes; at += step) {
        struct part p = {v, at, step == 32, MASK_NONE};
        unsigned element = at >> v->size;

        if (c && x86_vec512_compares(e->features, v)) {
            x86_vec512_compare(e, &p, c->is_float ? c->predicate : c->unsigned_predicate);
        } else {
            if (c)
                compare(e, &p, c);
            else
                carry(e, &p);
            to_bits(e, &p, c && c->inverted);
        }
        if (bits >= 8 || v->bytes == step) {
            put_bits(e, v, which, element, bits);
        } else if (element % 8 == 0) { /* quads: four and four */
            x86_mov32(&e->a, RCX, RAX);
            x86_ri(&e->a, X86_AND, 0, RCX, 15);
        } else {
            x86_shift_i(&e->a, X86_SHL_N, 0, RAX, 4);
            x86_rr(&e->a, X86_OR, 0, RAX, RCX);
            put_bits(e, v, which, element - 4, 8);
        }
    }
    if (step == 32)
        x86_vzeroupper(&e->a);
    x86_vec_give_back(e, borrowed);
}

/* ---- masks: as many bits as there are elements ---- */

static const struct {
    uint32_t op;
    bool not_b, not_result;
} logic[] = {
    [IR_V_MAND - IR_V_MAND] = {X86_AND, false, false}, [IR_V_MNAND - IR_V_MAND] = {X86_AND, false, true},
    [IR_V_MANDN - IR_V_MAND] = {X86_AND, true, false}, [IR_V_MXOR - IR_V_MAND] = {X86_XOR, false, false},
    [IR_V_MOR - IR_V_MAND] = {X86_OR, false, false},   [IR_V_MNOR - IR_V_MAND] = {X86_OR, false, true},
    [IR_V_MORN - IR_V_MAND] = {X86_OR, true, false},   [IR_V_MXNOR - IR_V_MAND] = {X86_XOR, false, true},
};

/* rax = the next 64 bits */
static void combine(struct emit *e, const struct ir_vec *v, int32_t at)
{
    x86_load(&e->a, RAX, emit_state(v->b + at));
    if (logic[v->op - IR_V_MAND].not_b)
        x86_ri(&e->a, X86_XOR, 1, RAX, -1);
    x86_rm(&e->a, logic[v->op - IR_V_MAND].op, 1, RAX, emit_state(v->a + at));
    if (logic[v->op - IR_V_MAND].not_result)
        x86_ri(&e->a, X86_XOR, 1, RAX, -1);
}

/* rax = the bits below the lowest that is set, and it, or it alone; 64 at most */
static void up_to_first(struct emit *e, const struct ir_vec *v, int32_t which)
{
    x86_load(&e->a, RAX, emit_state(v->a));
    if (which)
        x86_rm(&e->a, X86_AND, 1, RAX, emit_state(which));
    if (v->bytes < 64) { /* else the next one counts as the first when there is none */
        x86_mov_imm(&e->a, RCX, (int64_t)((1ull << v->bytes) - 1));
        x86_rr(&e->a, X86_AND, 1, RAX, RCX);
    }
    x86_rm(&e->a, X86_LEA, 1, RCX, x86_at(RAX, -1));
    if (v->op != IR_V_MSIF)
        x86_ri(&e->a, X86_XOR, 1, v->op == IR_V_MSBF ? RAX : RCX, -1);
    x86_rr(&e->a, v->op == IR_V_MSIF ? X86_XOR : X86_AND, 1, RAX, RCX);
}

/* 64 bits of rax, as far as `which` goes */
static void put_word(struct emit *e, int32_t d, int32_t which)
{
    if (which) {
        x86_load(&e->a, RCX, emit_state(d));
        x86_rr(&e->a, X86_XOR, 1, RAX, RCX);
        x86_rm(&e->a, X86_AND, 1, RAX, emit_state(which));
        x86_rr(&e->a, X86_XOR, 1, RAX, RCX);
    }
    x86_store(&e->a, emit_state(d), RAX);
}

void x86_vec_masks(struct emit *e, const struct ir_vec *v, int32_t which)
{
    for (unsigned at = 0; at < v->bytes; at += 64) {
        int32_t byte = (int32_t)at / 8;

        if (v->op <= IR_V_MXNOR)
            combine(e, v, byte);
        else
            up_to_first(e, v, which);
        if (v->bytes >= 64)
            put_word(e, v->d + byte, which ? which + byte : 0);
        else
            put_bits(e, v, which, 0, v->bytes);
    }
}
