/* Vectors by AVX-512 (F, DQ, VL, BW): what AVX2 has no instruction for, 64 bytes or less at a time.
 *
 *   k1 = lanes (all: none) | a, b -> zmm | zmm0 {k1} = a op b | looked at (NaNs, out of range, saturated) | zmm0 or {k1} to d
 *
 * The rows of `ops` say how. vector registers 16 to 31 and the mask registers belong to nobody: nothing is put aside. Lanes
 * that are not written raise no flags, and what was in them is merged before the store, for stores under a mask are not
 * forwarded to loads. Pieces of operands of two sizes have 64 bytes of the larger. */
#include "emit_vec.h"

#define E(byte) X86_OP(0x66, 1, byte)
#define E38(byte) X86_OP(0x66, 2, byte)
#define NP(byte) X86_OP(0, 1, byte)
#define F3(byte) X86_OP(0xf3, 1, byte)
#define F2(byte) X86_OP(0xf2, 1, byte)
#define F338(byte) X86_OP(0xf3, 2, byte)
#define W(op) ((op) | X86_EVEX_W)

enum { R = 16, A, B, T, U, OTHERS, ROUND_P, ROUND_Q, ROUND_S, ROUND_T, ONE, K = 30 /* a constant */, S = 31 /* the scalar */ };
enum { XMM, YMM, ZMM };

enum kind {
    NONE,
    PLAIN,    /* r = a op b */
    SHIFT,    /* likewise, b modulo the size */
    SCALE,    /* likewise, rounded by vxrm */
    WIDE,     /* r = low half of (a op b) >> `shift`, a and b extended to twice the size */
    WIDE_ACC, /* d of twice the size: d = d + a op b */
    WIDE_MUL, /* d of twice the size: d = a op b */
    NARROW,   /* r = low half of a op b, a of twice the size, b extended and modulo that */
    ACC,      /* r = d + a * b and so on */
    FLOAT,    /* r = a op b, b op a where swapped */
    MINMAX,   /* of floats: both orders, combined by `combine` */
    CONVERT,  /* r = op a */
    CONVERT_16, /* r = op a, a of half the size, extended */
    TO_WIDE,  /* r = op a, a of half the size */
    TO_NARROW, /* r = op a, a of twice the size */
    FWIDE,    /* d of twice the size: d = a op b, floats */
    FWIDE_ACC,
    CLIP,     /* r = a >> b of twice the size, rounded and saturated */
    SATURATE,
    GATHER    /* `high`: indices of 16 bits */
};

/* What shows that an element is for the interpreter's function. */
enum check { NO_CHECK, IS_NAN, IS_MIN, IS_ONES };

struct op512 {
    uint8_t kind;
    uint8_t a_signed : 1, b_signed : 1, wide_a : 1, swapped : 1, subtract : 1, high : 1, d_is_factor : 1;
    uint8_t check;
    uint32_t op[4];    /* by the element's size; 0: there is none */
};

#define SHIFTS(w, d) {0, W(E38(w)), E38(d), W(E38(d))}
#define Q(op) {0, 0, 0, W(op)}
#define PS_PD(byte) {0, 0, NP(byte), W(E(byte))}
#define MUL_WIDE .kind = WIDE, .op = {E(0xd5), E38(0x40), W(E38(0x40)), 0} /* by the size of the halves */
static const struct op512 ops[IR_V_NR_OPS] = {
    [IR_V_MIN] = {.kind = PLAIN, .op = Q(E38(0x39))},
    [IR_V_MAX] = {.kind = PLAIN, .op = Q(E38(0x3d))},
    [IR_V_MINU] = {.kind = PLAIN, .op = Q(E38(0x3b))},
    [IR_V_MAXU] = {.kind = PLAIN, .op = Q(E38(0x3f))},
    [IR_V_SLLV] = {.kind = SHIFT, .op = SHIFTS(0x12, 0x47)},
    [IR_V_SRLV] = {.kind = SHIFT, .op = SHIFTS(0x10, 0x45)},
    [IR_V_SRAV] = {.kind = SHIFT, .op = SHIFTS(0x11, 0x46), .a_signed = true},
    [IR_V_SSRL] = {.kind = SCALE, .op = SHIFTS(0x10, 0x45)},
    [IR_V_SSRA] = {.kind = SCALE, .op = SHIFTS(0x11, 0x46)},
    [IR_V_NCLIPU] = {.kind = CLIP, .op = {W(E38(0x10)), E38(0x45), W(E38(0x45)), 0}},
    [IR_V_NCLIP] = {.kind = CLIP, .op = {W(E38(0x11)), E38(0x46), W(E38(0x46)), 0}, .a_signed = true},
    [IR_V_MUL] = {.kind = PLAIN, .op = Q(E38(0x40))},
    [IR_V_MULH] = {MUL_WIDE, .a_signed = true, .b_signed = true, .high = true},
    [IR_V_MULHU] = {MUL_WIDE, .high = true},
    [IR_V_MULHSU] = {MUL_WIDE, .a_signed = true, .high = true},
    [IR_V_MACC] = {.kind = ACC},
    [IR_V_NMSAC] = {.kind = ACC, .subtract = true},
    [IR_V_MADD] = {.kind = ACC, .d_is_factor = true},
    [IR_V_NMSUB] = {.kind = ACC, .d_is_factor = true, .subtract = true},
    [IR_V_WMULSU] = {.kind = WIDE_MUL, .a_signed = true, .op = {0, E(0xd5), E38(0x40), W(E38(0x40))}},
    [IR_V_WMACCSU] = {.kind = WIDE_ACC, .b_signed = true, .op = {0, E(0xd5), E38(0x40), W(E38(0x40))}},
    [IR_V_WMACCUS] = {.kind = WIDE_ACC, .a_signed = true, .op = {0, E(0xd5), E38(0x40), W(E38(0x40))}},
    [IR_V_NSRLV] = {.kind = NARROW, .op = {W(E38(0x10)), E38(0x45), W(E38(0x45)), 0}},
    [IR_V_NSRAV] = {.kind = NARROW, .op = {W(E38(0x11)), E38(0x46), W(E38(0x46)), 0}, .a_signed = true},
    [IR_V_FDIV] = {.kind = FLOAT, .op = PS_PD(0x5e), .check = IS_NAN},
    [IR_V_FRDIV] = {.kind = FLOAT, .op = PS_PD(0x5e), .check = IS_NAN, .swapped = true},
    [IR_V_GATHER] = {.kind = GATHER, .op = {E38(0x8d), W(E38(0x8d)), E38(0x36), W(E38(0x36))}},
    [IR_V_GATHER16] = {.kind = GATHER, .op = {E38(0x8d), W(E38(0x8d)), E38(0x36), W(E38(0x36))}, .high = true},
    [IR_V_FMIN] = {.kind = MINMAX, .op = PS_PD(0x5d)},
    [IR_V_FMAX] = {.kind = MINMAX, .op = PS_PD(0x5f)},
    [IR_V_CVT_FI] = {.kind = CONVERT, .op = Q(F3(0xe6))},
    [IR_V_CVT_FU] = {.kind = CONVERT, .op = {0, 0, F2(0x7a), W(F3(0x7a))}},
    [IR_V_CVT_IF] = {.kind = CONVERT, .op = Q(E(0x7b)), .check = IS_MIN},
    [IR_V_CVT_IFZ] = {.kind = CONVERT, .op = Q(E(0x7a)), .check = IS_MIN},
    [IR_V_CVT_UF] = {.kind = CONVERT, .op = {0, 0, NP(0x79), W(E(0x79))}, .check = IS_ONES},
    [IR_V_CVT_UFZ] = {.kind = CONVERT, .op = {0, 0, NP(0x78), W(E(0x78))}, .check = IS_ONES},
    [IR_V_CVTW_FF] = {.kind = TO_WIDE, .op = {0, 0, 0, NP(0x5a)}, .check = IS_NAN},
    [IR_V_CVTW_FI] = {.kind = TO_WIDE, .op = {0, 0, 0, F3(0xe6)}},
    [IR_V_CVTW_FU] = {.kind = TO_WIDE, .op = {0, 0, 0, F3(0x7a)}},
    [IR_V_CVTW_IF] = {.kind = TO_WIDE, .op = {0, 0, 0, E(0x7b)}, .check = IS_MIN},
    [IR_V_CVTW_IFZ] = {.kind = TO_WIDE, .op = {0, 0, 0, E(0x7a)}, .check = IS_MIN},
    [IR_V_CVTW_UF] = {.kind = TO_WIDE, .op = {0, 0, 0, E(0x79)}, .check = IS_ONES},
    [IR_V_CVTW_UFZ] = {.kind = TO_WIDE, .op = {0, 0, 0, E(0x78)}, .check = IS_ONES},
    [IR_V_CVTN_FF] = {.kind = TO_NARROW, .op = {0, 0, W(E(0x5a)), 0}, .check = IS_NAN},
    [IR_V_CVTN_FI] = {.kind = TO_NARROW, .op = {0, 0, W(NP(0x5b)), 0}},
    [IR_V_CVTN_FU] = {.kind = TO_NARROW, .op = {0, 0, W(F2(0x7a)), 0}},
    [IR_V_CVTN_IF] = {.kind = TO_NARROW, .op = {0, 0, W(F2(0xe6)), 0}, .check = IS_MIN},
    [IR_V_CVTN_IFZ] = {.kind = TO_NARROW, .op = {0, 0, W(E(0xe6)), 0}, .check = IS_MIN},
    [IR_V_CVTN_UF] = {.kind = TO_NARROW, .op = {0, 0, W(NP(0x79)), 0}, .check = IS_ONES},
    [IR_V_CVTN_UFZ] = {.kind = TO_NARROW, .op = {0, 0, W(NP(0x78)), 0}, .check = IS_ONES},
    [IR_V_FWADD] = {.kind = FWIDE, .op = Q(E(0x58)), .check = IS_NAN},
    [IR_V_FWSUB] = {.kind = FWIDE, .op = Q(E(0x5c)), .check = IS_NAN},
    [IR_V_FWMUL] = {.kind = FWIDE, .op = Q(E(0x59)), .check = IS_NAN},
    [IR_V_FWADD_W] = {.kind = FWIDE, .op = Q(E(0x58)), .check = IS_NAN, .wide_a = true},
    [IR_V_FWSUB_W] = {.kind = FWIDE, .op = Q(E(0x5c)), .check = IS_NAN, .wide_a = true},
    [IR_V_FWMACC] = {.kind = FWIDE_ACC, .op = Q(E38(0xb8)), .check = IS_NAN},
    [IR_V_FWMSAC] = {.kind = FWIDE_ACC, .op = Q(E38(0xba)), .check = IS_NAN},
    [IR_V_FWNMSAC] = {.kind = FWIDE_ACC, .op = Q(E38(0xbc)), .check = IS_NAN},
    [IR_V_FWNMACC] = {.kind = FWIDE_ACC, .op = Q(E38(0xbe)), .check = IS_NAN},
    [IR_V_SADDU] = {.kind = SATURATE, .op = {0, 0, E(0xfe), W(E(0xd4))}},
    [IR_V_SADD] = {.kind = SATURATE, .op = {0, 0, E(0xfe), W(E(0xd4))}, .a_signed = true},
    [IR_V_SSUBU] = {.kind = SATURATE, .op = {0, 0, E(0xfa), W(E(0xfb))}, .subtract = true},
    [IR_V_SSUB] = {.kind = SATURATE, .op = {0, 0, E(0xfa), W(E(0xfb))}, .subtract = true, .a_signed = true},
};

/* By the size of the halves: extensions, and back. */
static const uint32_t extend[2][3] = {{E38(0x30), E38(0x33), E38(0x35)}, {E38(0x20), E38(0x23), E38(0x25)}};
static const uint32_t low_halves[] = {X86_OP(0xf3, 2, 0x30), X86_OP(0xf3, 2, 0x33), X86_OP(0xf3, 2, 0x35)};
static const uint32_t shift_right_i[] = {0, E(0x71), E(0x72), W(E(0x73))}; /* /2 */
static const uint32_t broadcast_gpr[] = {E38(0x7a), E38(0x7b), E38(0x7c), W(E38(0x7c))};
static const uint32_t move[] = {F2(0x6f), W(F2(0x6f)), F3(0x6f), W(F3(0x6f))}; /* load, by lanes */
static const uint32_t add[] = {E(0xfc), E(0xfd), E(0xfe), W(E(0xd4))};
static const uint32_t sub[] = {E(0xf8), E(0xf9), E(0xfa), W(E(0xfb))};
/* words of twice the size of 8-bit elements */
static const uint32_t word_shift[] = {[IR_V_SLLV - IR_V_SLLV] = W(E38(0x12)), [IR_V_SRLV - IR_V_SLLV] = W(E38(0x10)),
                                      [IR_V_SRAV - IR_V_SLLV] = W(E38(0x11))};
enum {
    AND_Q = (int)W(E(0xdb)),
    OR_Q = (int)W(E(0xeb)),
    XOR_Q = (int)W(E(0xef)),
    STORE = (int)W(F3(0x7f)),
    KORTEST_W = X86_OP(0, 1, 0x98),
    KORTEST_Q = X86_OP(0, 1, 0x98), /* W */
    KMOV_Q_FROM_MEMORY = X86_OP(0, 1, 0x90),
    KMOV_Q_FROM_GPR = X86_OP(0xf2, 1, 0x92),
    KMOV_Q_TO_GPR = X86_OP(0xf2, 1, 0x93),
    KSHIFTR_Q = X86_OP(0x66, 3, 0x31),
    KAND_Q = X86_OP(0, 1, 0x41),
    BZHI = X86_OP(0, 2, 0xf5),
    PEXT = X86_OP(0xf3, 2, 0xf5),
    UNORDERED_QUIET = 3
};

static bool is_byte_shift(unsigned op, unsigned size)
{
    return size == 0 && op >= IR_V_SLLV && op <= IR_V_SRAV;
}

/* MUL has products of two sizes: those of bytes are made of words. */
static enum kind kind_of(unsigned op, unsigned size)
{
    if (is_byte_shift(op, size) || (op == IR_V_MUL && size == 0))
        return WIDE;
    if (ops[op].kind == ACC)
        return size == 0 || size == 3 ? ACC : NONE;
    return ops[op].kind && ops[op].op[size] ? (enum kind)ops[op].kind : NONE;
}

bool x86_vec512_has(uint64_t features, unsigned op, unsigned size)
{
    if ((features & X86_VEC512) != X86_VEC512)
        return false;
    if (op == IR_V_COMPRESS)
        return size >= 2 || features & X86_HAS_AVX512VBMI;
    if (ops[op].kind == GATHER && size == 0)
        return features & X86_HAS_AVX512VBMI;
    if (x86_vec_is_reduction(op))
        return op < IR_V_WREDSUMU || size < 3;
    return op == IR_V_LANES || kind_of(op, size) != NONE;
}

/* ---- pieces ---- */

struct piece {
    const struct ir_vec *v;
    const struct op512 *o;
    enum kind kind;
    unsigned at;     /* bytes of d */
    unsigned length; /* of d: XMM, YMM, ZMM */
    unsigned mask;   /* k1, or 0 */
};

static struct x86_evex all_of(unsigned length)
{
    return (struct x86_evex){.length = (uint8_t)length};
}

static struct x86_evex lanes_of(const struct piece *p)
{
    return (struct x86_evex){(uint8_t)p->length, (uint8_t)p->mask, p->mask != 0};
}

static struct x86_mem home(int32_t operand, unsigned at)
{
    return emit_state(operand + (int32_t)at);
}

static void rrr(struct emit *e, const struct piece *p, uint32_t op, unsigned d, unsigned a, unsigned b)
{
    x86_err(&e->a, op, all_of(p->length), d, a, b);
}

static void load(struct emit *e, const struct piece *p, unsigned reg, int32_t operand)
{
    x86_erm(&e->a, move[3], all_of(p->length), reg, 0, home(operand, p->at));
}

/* K = the value in all elements of that size */
static void constant(struct emit *e, unsigned size, int64_t value)
{
    x86_mov_imm(&e->a, RAX, value);
    x86_err(&e->a, broadcast_gpr[size], all_of(ZMM), K, 0, RAX);
}

/* b, a scalar or a vector */
static unsigned load_b(struct emit *e, const struct piece *p)
{
    if (p->v->scalar)
        return S;
    load(e, p, B, p->v->b);
    return B;
}

/* ---- lanes ---- */

/* k1 = the lanes to be written. Returns where to go when there are none from here on. */
static uint8_t *make_mask(struct emit *e, const struct piece *p, unsigned mask)
{
    const struct ir_vec *v = p->v;
    unsigned element = p->at >> v->size;
    uint8_t *done = NULL;

    if (mask & MASK_LENGTH) {
        x86_rm(&e->a, X86_MOV_LOAD, 0, RCX, emit_state(e->t->vl));
        x86_ri(&e->a, X86_SUB, 0, RCX, (int32_t)element);
        done = x86_jcc(&e->a, X86_BE);
        x86_mov_imm(&e->a, RAX, -1);
        x86_vrr(&e->a, BZHI, 1, RAX, RCX, RAX); /* looks at a byte: vl < VLMAX <= X86_VEC_MAX_TAIL */
    } else if (v->used) {
        x86_mov_imm(&e->a, RAX, (1 << (v->used >> v->size)) - 1);
    }
    if (mask & MASK_LENGTH || v->used)
        x86_yrr(&e->a, KMOV_Q_FROM_GPR, 1, 0, 1, 0, RAX);
    if (mask & MASK_V0) {
        bool both = mask & MASK_LENGTH || v->used;
        x86_yrm(&e->a, KMOV_Q_FROM_MEMORY, 1, 0, both ? 2 : 1, 0, home(v->mask, element / 8));
        if (both)
            x86_yrr(&e->a, KAND_Q, 1, 1, 1, 1, 2);
    }
    return done;
}

/* R to d, as far as its lanes go. */
static void store_result(struct emit *e, const struct piece *p)
{
    unsigned reg = R;

    if (!p->mask && p->v->used) {
        x86_erm(&e->a, p->v->used == 8 ? W(E(0x7e)) : E(0x7e), all_of(XMM), R, 0, home(p->v->d, 0)); /* vmovd, vmovq */
        return;
    }
    if (p->mask) {
        load(e, p, T, p->v->d);
        x86_err(&e->a, move[p->v->size], (struct x86_evex){(uint8_t)p->length, (uint8_t)p->mask, false}, T, 0, R);
        reg = T;
    }
    x86_erm(&e->a, (uint32_t)STORE, all_of(p->length), reg, 0, home(p->v->d, p->at));
}

/* Goes on in the interpreter's function from this piece on where k2 has a lane. */
static void leave_if_k2(struct emit *e, const struct piece *p)
{
    struct cold *c = emit_cold(e, COLD_VEC_REST);

    x86_yrr(&e->a, KORTEST_W, 0, 0, 2, 0, 2);
    c->from[0] = x86_jcc(&e->a, X86_NE);
    c->element = (uint16_t)(p->at >> p->v->size);
    c->reg = 0;
}

/* k2 = lanes where a and b are not ordered; W for doubles */
static void unordered(struct emit *e, const struct piece *p, unsigned a, unsigned b)
{
    x86_err(&e->a, p->v->size == 3 ? W(E(0xc2)) : NP(0xc2),
            (struct x86_evex){(uint8_t)p->length, (uint8_t)p->mask, false}, 2, a, b);
    x86_byte(&e->a, UNORDERED_QUIET);
    leave_if_k2(e, p);
}

static void check_result(struct emit *e, const struct piece *p)
{
    if (p->o->check == NO_CHECK)
        return;
    if (p->o->check == IS_NAN) {
        unordered(e, p, R, R);
        return;
    }
    x86_err(&e->a, p->v->size == 3 ? W(E38(0x29)) : E(0x76),
            (struct x86_evex){(uint8_t)p->length, (uint8_t)p->mask, false}, 2, R, K); /* vpcmpeq */
    leave_if_k2(e, p);
}

/* ---- integers ---- */

static void plain(struct emit *e, const struct piece *p)
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

/* reg = elements of `half`, extended to twice that */
static void extended(struct emit *e, unsigned length, unsigned half, bool is_signed, unsigned reg, int32_t operand, unsigned at)
{
    x86_erm(&e->a, extend[is_signed][half], all_of(length), reg, 0, home(operand, at));
}

static uint32_t wide_op(const struct piece *p)
{
    unsigned op = p->v->op;

    if (is_byte_shift(op, p->v->size))
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
    if (is_byte_shift(v->op, size)) {
        x86_err(&e->a, (uint32_t)AND_Q, all_of(length), B, b, K);
        b = B;
    }
    x86_err(&e->a, wide_op(p), all_of(length), A, A, b);
    if (p->o->high) {
        x86_err(&e->a, shift_right_i[size + 1], all_of(length), 2, A, A);
        x86_byte(&e->a, (uint8_t)(8 << size));
    }
    x86_err(&e->a, low_halves[size], all_of(length), A, 0, d);
}

static void wide_to_d(struct emit *e, const struct piece *p)
{
    const struct ir_vec *v = p->v;
    unsigned half = v->size - 1u, b = S;

    extended(e, p->length, half, p->o->a_signed, A, v->a, p->at / 2);
    if (!v->scalar)
        extended(e, p->length, half, p->o->b_signed, b = B, v->b, p->at / 2);
    rrr(e, p, p->o->op[v->size], R, A, b);
    if (p->kind == WIDE_ACC)
        x86_erm(&e->a, add[v->size], all_of(p->length), R, R, home(v->d, p->at));
}

static void narrow(struct emit *e, const struct piece *p)
{
    const struct ir_vec *v = p->v;
    unsigned length = p->length + 1;

    x86_erm(&e->a, move[3], all_of(length), A, 0, home(v->a, 2 * p->at));
    if (!v->scalar)
        extended(e, length, v->size, false, B, v->b, p->at);
    x86_err(&e->a, (uint32_t)AND_Q, all_of(length), B, v->scalar ? S : B, K);
    x86_err(&e->a, p->o->op[v->size], all_of(length), A, A, B);
    x86_err(&e->a, low_halves[v->size], all_of(length), A, 0, R);
}

static void accumulate(struct emit *e, const struct piece *p)
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
    rrr(e, p, p->o->subtract ? sub[v->size] : add[v->size], R, A, R);
}

/* ---- fixed point ---- */

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
    static const uint32_t left[] = {0, W(E38(0x12)), E38(0x47), W(E38(0x47))}, right[] = {0, W(E38(0x10)), E38(0x45), W(E38(0x45))};
    static const uint32_t min_u[] = {0, E38(0x3a), E38(0x3b), W(E38(0x3b))};

    x86_err(&e->a, sub[size], x, U, B, ONE);
    x86_err(&e->a, right[size], x, T, A, U); /* by more than there are bits: 0 */
    x86_err(&e->a, sub[size], x, U, K, U);
    x86_err(&e->a, left[size], x, OTHERS, A, U);
    x86_err(&e->a, add[size], x, OTHERS, OTHERS, OTHERS);
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
    x86_err(&e->a, add[size], x, R, R, T);
}

static void scale(struct emit *e, const struct piece *p)
{
    load(e, p, A, p->v->a);
    rrr(e, p, (uint32_t)AND_Q, B, load_b(e, p), K);
    scaled(e, p, p->v->size, p->length);
}

/* What is saturated does not come back the same. */
static void clip(struct emit *e, const struct piece *p)
{
    static const uint32_t saturated[2][3] = {{F338(0x10), F338(0x13), F338(0x15)}, {F338(0x20), F338(0x23), F338(0x25)}};
    static const uint32_t compare[] = {0, W(X86_OP(0x66, 3, 0x3f)), X86_OP(0x66, 3, 0x1f), W(X86_OP(0x66, 3, 0x1f))};
    const struct ir_vec *v = p->v;
    unsigned length = p->length + 1, size = v->size;

    x86_erm(&e->a, move[3], all_of(length), A, 0, home(v->a, 2 * p->at));
    if (!v->scalar)
        extended(e, length, size, false, B, v->b, p->at);
    x86_err(&e->a, (uint32_t)AND_Q, all_of(length), B, v->scalar ? S : B, K);
    scaled(e, p, size + 1, length);
    x86_err(&e->a, move[3], all_of(length), A, 0, R);
    x86_err(&e->a, saturated[p->o->a_signed][size], all_of(length), A, 0, R);
    x86_err(&e->a, extend[p->o->a_signed][size], all_of(length), T, 0, R);
    x86_err(&e->a, compare[size + 1], (struct x86_evex){(uint8_t)length, (uint8_t)p->mask, false}, 2, A, T);
    x86_byte(&e->a, 4); /* not equal */
    note_saturated(e);
}

/* k2 = lanes that went beyond the range; they become its end. */
static void saturate(struct emit *e, const struct piece *p)
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
        x86_err(&e->a, move[p->v->size], over, R, 0, K); /* 0 or all ones */
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
        x86_erm(&e->a, move[3], all_of(p->length + 1), B, 0, home(v->b, 2 * p->at));
    else
        x86_erm(&e->a, size == 2 ? E38(0x33) : E38(0x34), all_of(p->length), B, 0, home(v->b, p->at >> (size - 1)));
    x86_err(&e->a, compare[by_words ? 1 : size], all_of(by_words ? p->length + 1 : p->length), 3, B, K);
    x86_byte(&e->a, 1); /* below */
    if (by_words)
        x86_err(&e->a, low_halves[0], all_of(p->length + 1), B, 0, B);
}

/* Of groups of up to 128 bytes: a as a table of one or two registers. */
static void gather(struct emit *e, const struct piece *p)
{
    static const uint32_t of_two[] = {E38(0x75), W(E38(0x75)), E38(0x76), W(E38(0x76))};
    const struct ir_vec *v = p->v;
    struct x86_evex x = {ZMM, 3, true};

    indices(e, p);
    x86_erm(&e->a, move[3], all_of(ZMM), A, 0, home(v->a, 0));
    if (v->bytes <= 64) {
        x86_err(&e->a, p->o->op[v->size], x, R, B, A);
        return;
    }
    x86_err(&e->a, move[3], all_of(ZMM), R, 0, B);
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
    x86_erm(&e->a, move[3], all_of(length), A, 0, home(v->a, at));
    x86_err(&e->a, op[v->size], (struct x86_evex){(uint8_t)length, 1, true}, A, 0, R);
}

void x86_vec512_compress(struct emit *e, const struct ir_vec *v)
{
    unsigned length = v->bytes >= 64 ? ZMM : v->bytes == 32 ? YMM : XMM;
    struct x86_evex chosen = {(uint8_t)length, 2, false};

    if (v->bytes <= 64) {
        compress_piece(e, v, 0, length);
        x86_erm(&e->a, move[3], all_of(length), T, 0, home(v->d, 0));
        x86_err(&e->a, move[v->size], chosen, T, 0, R);
        x86_erm(&e->a, (uint32_t)STORE, all_of(length), T, 0, home(v->d, 0));
    } else {
        x86_push(&e->a, RDX);
        x86_rm(&e->a, X86_LEA, 1, RDX, emit_state(v->d));
        for (unsigned at = 0; at < v->bytes; at += 64) {
            compress_piece(e, v, at, length);
            x86_erm(&e->a, move[v->size] + 0x10, chosen, R, 0, x86_at(RDX, 0)); /* the store form */
            x86_rr(&e->a, X86_POPCNT, 1, RCX, RCX);
            x86_rm(&e->a, X86_LEA, 1, RDX, x86_at_index(RDX, RCX, v->size, 0));
        }
        x86_pop(&e->a, RDX);
    }
    x86_vzeroupper(&e->a);
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

/* The upper part of R's `bytes` (of elements of that size) into the lower, until one element is left. */
static void fold(struct emit *e, uint32_t op, unsigned size, unsigned bytes)
{
    for (; bytes > 1u << size; bytes /= 2) {
        if (bytes > 16) {
            x86_err(&e->a, bytes == 64 ? W(X86_OP(0x66, 3, 0x3b)) : W(X86_OP(0x66, 3, 0x39)),
                    all_of(bytes == 64 ? ZMM : YMM), R, 0, A); /* vextracti64x4, x2 */
            x86_byte(&e->a, 1);
        } else if (bytes >= 8) {
            x86_err(&e->a, E(0x70), all_of(XMM), A, 0, R); /* vpshufd */
            x86_byte(&e->a, bytes == 16 ? 0x4e : 0xb1);
        } else {
            x86_err(&e->a, shift_right_i[bytes / 2], all_of(XMM), 2, A, R); /* dwords by 16, words by 8 */
            x86_byte(&e->a, (uint8_t)(4 * bytes));
        }
        x86_err(&e->a, op, all_of(bytes == 64 ? YMM : XMM), R, R, A);
    }
}

/* A = `bytes` of the group from its byte `at` on; narrow: half as many, extended */
static void reduce_load(struct emit *e, const struct ir_vec *v, unsigned at, unsigned length)
{
    bool widens = v->op >= IR_V_WREDSUMU, masked = v->masked || v->used;

    if (masked) {
        struct piece p = {.v = v, .at = at, .length = length, .mask = 1};
        (void)make_mask(e, &p, v->masked ? MASK_V0 : MASK_NONE);
    }
    struct x86_evex x = {(uint8_t)(widens ? length + 1 : length), masked, masked && widens};
    if (masked && !widens)
        x86_err(&e->a, move[3], all_of(length), A, 0, K);
    x86_erm(&e->a, widens ? extend[v->op == IR_V_WREDSUM][v->size] : move[v->size], x, A, 0, home(v->a, at));
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
            x86_err(&e->a, move[3], all_of(length), R, 0, A);
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

/* ---- floating point ---- */

static void floats(struct emit *e, const struct piece *p)
{
    load(e, p, A, p->v->a);
    unsigned b = load_b(e, p);
    x86_err(&e->a, p->o->op[p->v->size], lanes_of(p), R, p->o->swapped ? b : A, p->o->swapped ? A : b);
}

/* Of zeros of both signs the host takes its second operand: so both ways, and their bits together. NaNs leave before. */
static void min_max(struct emit *e, const struct piece *p)
{
    uint32_t op = p->o->op[p->v->size];

    load(e, p, A, p->v->a);
    unsigned b = load_b(e, p);
    unordered(e, p, A, b);
    x86_err(&e->a, op, lanes_of(p), R, A, b);
    x86_err(&e->a, op, lanes_of(p), T, b, A);
    rrr(e, p, p->v->op == IR_V_FMIN ? (uint32_t)OR_Q : (uint32_t)AND_Q, R, R, T);
}

static void convert(struct emit *e, const struct piece *p)
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

static void float_wide(struct emit *e, const struct piece *p)
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

/* ---- the operation ---- */

static void make_piece(struct emit *e, const struct piece *p)
{
    switch (p->kind) {
    case PLAIN:
    case SHIFT: plain(e, p); break;
    case SCALE: scale(e, p); break;
    case CLIP: clip(e, p); break;
    case WIDE: wide_product(e, p, p->v->a, R); break;
    case WIDE_MUL:
    case WIDE_ACC: wide_to_d(e, p); break;
    case NARROW: narrow(e, p); break;
    case ACC: accumulate(e, p); break;
    case SATURATE: saturate(e, p); break;
    case GATHER: gather(e, p); break;
    case FLOAT: floats(e, p); break;
    case MINMAX: min_max(e, p); break;
    case CONVERT:
    case TO_WIDE:
    case TO_NARROW: convert(e, p); break;
    default: float_wide(e, p); break;
    }
    check_result(e, p);
}

/* What rounds elements of that size */
static void prepare_rounding(struct emit *e, unsigned size)
{
    x86_vec_rounding(e);
    for (unsigned n = 0; n < X86_VEC_ROUNDING; n++)
        x86_erm(&e->a, W(E38(0x59)), all_of(ZMM), ROUND_P + n, 0, x86_at(RCX, 8 * (int32_t)n)); /* vpbroadcastq */
    constant(e, size, 1);
    x86_err(&e->a, move[3], all_of(ZMM), ONE, 0, K);
}

/* K, where a row wants a constant */
static void prepare_constant(struct emit *e, const struct ir_vec *v, enum kind kind)
{
    const struct op512 *o = &ops[v->op];
    unsigned size = v->size;
    int64_t min = size == 3 ? INT64_MIN : INT32_MIN;

    if (kind == SCALE || kind == CLIP)
        prepare_rounding(e, size + (kind == CLIP));
    if (is_byte_shift(v->op, size))
        constant(e, 1, 7);
    else if (kind == SHIFT || kind == SCALE)
        constant(e, size, (8 << size) - 1);
    else if (kind == GATHER)
        constant(e, o->high && size == 0 ? 1 : size, (int64_t)(x86_vec_bytes(v) >> size));
    else if (kind == NARROW || kind == CLIP)
        constant(e, size + 1, (16 << size) - 1);
    else if (kind == SATURATE)
        constant(e, size, o->a_signed ? ~min : o->subtract ? 0 : -1);
    else if (o->check == IS_MIN || o->check == IS_ONES)
        constant(e, size, o->check == IS_MIN ? min : -1);
}

static bool has_halves(enum kind kind)
{
    return kind == WIDE || kind == NARROW || kind == CLIP || kind == TO_NARROW;
}

/* Does it matter what is in lanes that are not written? */
static bool is_felt(enum kind kind)
{
    return kind >= FLOAT && kind <= SATURATE;
}

void x86_vec512_scalar(struct emit *e, const struct ir_vec *v, ir_ref scalar)
{
    enum kind kind = kind_of(v->op, v->size);
    const struct op512 *o = &ops[v->op];
    unsigned size = v->size;

    if (ir_is_fp(e->r, scalar)) {
        bool f64 = size == 3 && kind != FWIDE && kind != FWIDE_ACC;
        x86_err(&e->a, f64 ? W(E38(0x19)) : E38(0x18), all_of(ZMM), S, 0, emit_fin_reg(e, scalar, XMM1));
        return;
    }
    emit_move_to(e, RAX, scalar);
    if (kind == WIDE_MUL || kind == WIDE_ACC)
        size--;
    if (kind == NARROW || kind == CLIP)
        size++;
    x86_err(&e->a, broadcast_gpr[size], all_of(ZMM), S, 0, RAX);
    if (kind == WIDE_MUL || kind == WIDE_ACC || kind == WIDE || (kind == ACC && size == 0))
        x86_err(&e->a, extend[o->b_signed][size], all_of(ZMM), S, 0, S);
}

void x86_vec512(struct emit *e, const struct ir_vec *v, unsigned mask)
{
    enum kind kind = kind_of(v->op, v->size);
    bool half = has_halves(kind) || ((kind == ACC || v->op == IR_V_GATHER16) && v->size == 0);
    unsigned most = half ? 32 : 64;
    uint8_t *done[X86_VEC_MAX_TAIL / 32] = {NULL};
    unsigned nr = 0;

    prepare_constant(e, v, kind);
    for (unsigned at = 0, bytes; at < v->bytes; at += bytes) {
        bytes = v->bytes - at < most ? v->bytes - at : most;
        struct piece p = {v, &ops[v->op], kind, at, bytes == 64 ? ZMM : bytes == 32 ? YMM : XMM,
                          mask || (v->used && is_felt(kind))};
        uint8_t *none = p.mask ? make_mask(e, &p, mask) : NULL;
        if (none)
            done[nr++] = none;
        make_piece(e, &p);
        store_result(e, &p);
    }
    while (nr && !e->a.overflow)
        x86_patch(done[--nr], e->a.p);
    x86_vzeroupper(&e->a);
}
