/* Shared by the files that emit vectors by AVX-512: a row of operations, a piece, its registers (emit_vec512.c has the
 * picture). */
#ifndef CPU_HOST_X86_64_EMIT_VEC512_H
#define CPU_HOST_X86_64_EMIT_VEC512_H

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
    DIVIDE,   /* r = a op b, by floating point with the host's own rounding */
    ACC,      /* r = d + a * b and so on */
    FLOAT,    /* r = a op b, b op a where swapped */
    MINMAX,   /* of floats: both orders, combined by `combine` */
    CONVERT,  /* r = op a */
    FROM_HALVES, /* r = op a, floats of integers of 16 bits, extended */
    TO_HALVES,   /* r = op a, integers of 16 bits, of floats that are looked at first */
    TO_WIDE,  /* r = op a, a of half the size */
    TO_NARROW, /* r = op a, a of twice the size */
    FWIDE,    /* d of twice the size: d = a op b, floats */
    FWIDE_ACC,
    CLIP,     /* r = a >> b of twice the size, rounded and saturated */
    SMUL,     /* r = a * b >> size - 1, rounded and saturated */
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

/* By the size of the halves: extensions, and back. */
extern const uint32_t v512_extend[2][3], v512_low_halves[3];
/* By the element's size. */
extern const uint32_t v512_shift_right_i[4]; /* /2 */
extern const uint32_t v512_broadcast_gpr[4];
extern const uint32_t v512_move[4];          /* load, by lanes */
extern const uint32_t v512_add[4], v512_sub[4];

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

struct piece {
    const struct ir_vec *v;
    const struct op512 *o;
    enum kind kind;
    unsigned at;     /* bytes of d */
    unsigned length; /* of d: XMM, YMM, ZMM */
    unsigned mask;   /* k1, or 0 */
};

static inline struct x86_evex all_of(unsigned length)
{
    return (struct x86_evex){.length = (uint8_t)length};
}

static inline struct x86_evex lanes_of(const struct piece *p)
{
    return (struct x86_evex){(uint8_t)p->length, (uint8_t)p->mask, p->mask != 0};
}

static inline struct x86_mem home(int32_t operand, unsigned at)
{
    return emit_state(operand + (int32_t)at);
}

static inline void rrr(struct emit *e, const struct piece *p, uint32_t op, unsigned d, unsigned a, unsigned b)
{
    x86_err(&e->a, op, all_of(p->length), d, a, b);
}

static inline void load(struct emit *e, const struct piece *p, unsigned reg, int32_t operand)
{
    x86_erm(&e->a, v512_move[3], all_of(p->length), reg, 0, home(operand, p->at));
}

/* K = the value in all elements of that size */
static inline void constant(struct emit *e, unsigned size, int64_t value)
{
    x86_mov_imm(&e->a, RAX, value);
    x86_err(&e->a, v512_broadcast_gpr[size], all_of(ZMM), K, 0, RAX);
}

/* b, a scalar or a vector */
static inline unsigned load_b(struct emit *e, const struct piece *p)
{
    if (p->v->scalar)
        return S;
    load(e, p, B, p->v->b);
    return B;
}

static inline bool v512_is_byte_shift(unsigned op, unsigned size)
{
    return size == 0 && op >= IR_V_SLLV && op <= IR_V_SRAV;
}

/* emit_vec512.c */
/* k1 = the lanes to be written. Returns where to go when there are none from here on. */
uint8_t *v512_make_mask(struct emit *e, const struct piece *p, unsigned mask);
/* Goes on in the interpreter's function from this piece on where k2 has a lane. */
void v512_leave_if_k2(struct emit *e, const struct piece *p);
/* ... where a and b are not ordered; W for doubles */
void v512_unordered(struct emit *e, const struct piece *p, unsigned a, unsigned b);

/* Kinds of operations, R = the result: emit_vec512_int.c ... */
void v512_plain(struct emit *e, const struct piece *p);
void v512_product(struct emit *e, const struct piece *p);
void v512_wide_to_d(struct emit *e, const struct piece *p);
void v512_narrow(struct emit *e, const struct piece *p);
void v512_accumulate(struct emit *e, const struct piece *p);
/* ... emit_vec512_div.c ... */
void v512_divide(struct emit *e, const struct piece *p);
/* ... emit_vec512_fixed.c ... */
void v512_multiply(struct emit *e, const struct piece *p);
void v512_scale(struct emit *e, const struct piece *p);
void v512_clip(struct emit *e, const struct piece *p);
void v512_saturate(struct emit *e, const struct piece *p);
/* ... emit_vec512_move.c ... */
void v512_gather(struct emit *e, const struct piece *p);
/* ... emit_vec512_fp.c */
void v512_floats(struct emit *e, const struct piece *p);
void v512_min_max(struct emit *e, const struct piece *p);
void v512_convert(struct emit *e, const struct piece *p);
void v512_from_halves(struct emit *e, const struct piece *p);
void v512_to_halves(struct emit *e, const struct piece *p);
void v512_float_wide(struct emit *e, const struct piece *p);

/* reg = elements of `half`, extended to twice that */
static inline void extended(struct emit *e, unsigned length, unsigned half, bool is_signed, unsigned reg, int32_t operand,
                            unsigned at)
{
    x86_erm(&e->a, v512_extend[is_signed][half], all_of(length), reg, 0, home(operand, at));
}

#endif
