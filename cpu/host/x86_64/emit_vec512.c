/* Vectors by AVX-512 (F, DQ, VL, BW): what AVX2 has no instruction for, 64 bytes or less at a time.
 *
 *   k1 = lanes (all: none) | a, b -> zmm | zmm0 {k1} = a op b | looked at (NaNs, out of range, saturated) | zmm0 or {k1} to d
 *
 * The rows of `ops` say how. vector registers 16 to 31 and the mask registers belong to nobody: nothing is put aside. Lanes
 * that are not written raise no flags, and what was in them is merged before the store, for stores under a mask are not
 * forwarded to loads. Pieces of operands of two sizes have 64 bytes of the larger. */
#include "emit_vec512.h"

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
    [IR_V_SSRL] = {.kind = SCALE, .op = {W(E38(0x10)), W(E38(0x10)), E38(0x45), W(E38(0x45))}},
    [IR_V_SSRA] = {.kind = SCALE, .op = {W(E38(0x11)), W(E38(0x11)), E38(0x46), W(E38(0x46))}, .a_signed = true},
    [IR_V_SMUL] = {.kind = SMUL, .op = {W(E38(0x11)), E38(0x46), W(E38(0x46)), 0}, .a_signed = true, .b_signed = true},
    [IR_V_DIVU] = {.kind = DIVIDE, .op = {1, 1, 1, 0}},
    [IR_V_DIV] = {.kind = DIVIDE, .op = {1, 1, 1, 0}, .a_signed = true},
    [IR_V_REMU] = {.kind = DIVIDE, .op = {1, 1, 1, 0}},
    [IR_V_REM] = {.kind = DIVIDE, .op = {1, 1, 1, 0}, .a_signed = true},
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
    [IR_V_CVTW_FI] = {.kind = TO_WIDE, .op = {0, 0, NP(0x5b), F3(0xe6)}, .a_signed = true},
    [IR_V_CVTW_FU] = {.kind = TO_WIDE, .op = {0, 0, NP(0x5b), F3(0x7a)}},
    [IR_V_CVTW_IF] = {.kind = TO_WIDE, .op = {0, 0, 0, E(0x7b)}, .check = IS_MIN},
    [IR_V_CVTW_IFZ] = {.kind = TO_WIDE, .op = {0, 0, 0, E(0x7a)}, .check = IS_MIN},
    [IR_V_CVTW_UF] = {.kind = TO_WIDE, .op = {0, 0, 0, E(0x79)}, .check = IS_ONES},
    [IR_V_CVTW_UFZ] = {.kind = TO_WIDE, .op = {0, 0, 0, E(0x78)}, .check = IS_ONES},
    [IR_V_CVTN_FF] = {.kind = TO_NARROW, .op = {0, 0, W(E(0x5a)), 0}, .check = IS_NAN},
    [IR_V_CVTN_FI] = {.kind = TO_NARROW, .op = {0, 0, W(NP(0x5b)), 0}},
    [IR_V_CVTN_FU] = {.kind = TO_NARROW, .op = {0, 0, W(F2(0x7a)), 0}},
    [IR_V_CVTN_IF] = {.kind = TO_NARROW, .op = {0, E(0x5b), W(F2(0xe6)), 0}, .check = IS_MIN, .a_signed = true},
    [IR_V_CVTN_IFZ] = {.kind = TO_NARROW, .op = {0, F3(0x5b), W(E(0xe6)), 0}, .check = IS_MIN, .a_signed = true},
    [IR_V_CVTN_UF] = {.kind = TO_NARROW, .op = {0, E(0x5b), W(NP(0x79)), 0}, .check = IS_ONES},
    [IR_V_CVTN_UFZ] = {.kind = TO_NARROW, .op = {0, F3(0x5b), W(NP(0x78)), 0}, .check = IS_ONES},
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
const uint32_t v512_extend[2][3] = {{E38(0x30), E38(0x33), E38(0x35)}, {E38(0x20), E38(0x23), E38(0x25)}};
const uint32_t v512_low_halves[3] = {X86_OP(0xf3, 2, 0x30), X86_OP(0xf3, 2, 0x33), X86_OP(0xf3, 2, 0x35)};
const uint32_t v512_shift_right_i[4] = {0, E(0x71), E(0x72), W(E(0x73))}; /* /2 */
const uint32_t v512_broadcast_gpr[4] = {E38(0x7a), E38(0x7b), E38(0x7c), W(E38(0x7c))};
const uint32_t v512_move[4] = {F2(0x6f), W(F2(0x6f)), F3(0x6f), W(F3(0x6f))}; /* load, by lanes */
const uint32_t v512_add[4] = {E(0xfc), E(0xfd), E(0xfe), W(E(0xd4))};
const uint32_t v512_sub[4] = {E(0xf8), E(0xf9), E(0xfa), W(E(0xfb))};

/* MUL has products of two sizes: those of bytes are made of words. */
static enum kind kind_of(unsigned op, unsigned size)
{
    if (v512_is_byte_shift(op, size) || (op == IR_V_MUL && size == 0))
        return WIDE;
    if (ops[op].kind == ACC)
        return size == 0 || size == 3 ? ACC : NONE;
    if (ops[op].kind == TO_WIDE && size == 2)
        return ops[op].op[2] ? FROM_HALVES : NONE;
    if (ops[op].kind == TO_NARROW && size == 1)
        return ops[op].op[1] ? TO_HALVES : NONE;
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
    if (op == IR_V_FREDMIN || op == IR_V_FREDMAX)
        return size >= 2;
    if (x86_vec_is_reduction(op))
        return op < IR_V_WREDSUMU || size < 3;
    return op == IR_V_LANES || kind_of(op, size) != NONE;
}

/* ---- lanes ---- */

/* k1 = the lanes to be written. Returns where to go when there are none from here on. */
uint8_t *v512_make_mask(struct emit *e, const struct piece *p, unsigned mask)
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
        x86_err(&e->a, v512_move[p->v->size], (struct x86_evex){(uint8_t)p->length, (uint8_t)p->mask, false}, T, 0, R);
        reg = T;
    }
    x86_erm(&e->a, (uint32_t)STORE, all_of(p->length), reg, 0, home(p->v->d, p->at));
}

/* Goes on in the interpreter's function from this piece on where k2 has a lane. */
void v512_leave_if_k2(struct emit *e, const struct piece *p)
{
    struct cold *c = emit_cold(e, COLD_VEC_REST);

    x86_yrr(&e->a, KORTEST_W, 0, 0, 2, 0, 2);
    c->from[0] = x86_jcc(&e->a, X86_NE);
    c->element = (uint16_t)(p->at >> p->v->size);
    c->reg = 0;
}

/* k2 = lanes where a and b are not ordered; W for doubles */
void v512_unordered(struct emit *e, const struct piece *p, unsigned a, unsigned b)
{
    x86_err(&e->a, p->v->size == 3 ? W(E(0xc2)) : NP(0xc2),
            (struct x86_evex){(uint8_t)p->length, (uint8_t)p->mask, false}, 2, a, b);
    x86_byte(&e->a, UNORDERED_QUIET);
    v512_leave_if_k2(e, p);
}

static void check_result(struct emit *e, const struct piece *p)
{
    if (p->o->check == NO_CHECK)
        return;
    if (p->o->check == IS_NAN) {
        v512_unordered(e, p, R, R);
        return;
    }
    x86_err(&e->a, p->v->size == 3 ? W(E38(0x29)) : E(0x76),
            (struct x86_evex){(uint8_t)p->length, (uint8_t)p->mask, false}, 2, R, K); /* vpcmpeq */
    v512_leave_if_k2(e, p);
}

/* ---- the operation ---- */

static void make_piece(struct emit *e, const struct piece *p)
{
    switch (p->kind) {
    case PLAIN:
    case SHIFT: v512_plain(e, p); break;
    case SCALE: v512_scale(e, p); break;
    case SMUL: v512_multiply(e, p); break;
    case DIVIDE: v512_divide(e, p); break;
    case CLIP: v512_clip(e, p); break;
    case WIDE: v512_product(e, p); break;
    case WIDE_MUL:
    case WIDE_ACC: v512_wide_to_d(e, p); break;
    case NARROW: v512_narrow(e, p); break;
    case ACC: v512_accumulate(e, p); break;
    case SATURATE: v512_saturate(e, p); break;
    case GATHER: v512_gather(e, p); break;
    case FLOAT: v512_floats(e, p); break;
    case MINMAX: v512_min_max(e, p); break;
    case CONVERT:
    case TO_WIDE:
    case TO_NARROW: v512_convert(e, p); break;
    case FROM_HALVES: v512_from_halves(e, p); break;
    case TO_HALVES: v512_to_halves(e, p); return; /* it has looked */
    default: v512_float_wide(e, p); break;
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
    x86_err(&e->a, v512_move[3], all_of(ZMM), ONE, 0, K);
}

/* Are elements of twice the size shifted? */
static bool is_scaled_wide(enum kind kind, unsigned size)
{
    return kind == CLIP || kind == SMUL || (kind == SCALE && size == 0);
}

enum { LARGEST_S16 = 0x46fffe00, LARGEST_U16 = 0x477fff00 }; /* 32767 and 65535, as floats */

/* K, where a row wants a constant */
static void prepare_constant(struct emit *e, const struct ir_vec *v, enum kind kind)
{
    const struct op512 *o = &ops[v->op];
    unsigned size = v->size;
    int64_t min = size == 3 ? INT64_MIN : INT32_MIN;

    if (kind == SCALE || kind == CLIP || kind == SMUL)
        prepare_rounding(e, size + is_scaled_wide(kind, size));
    if (v512_is_byte_shift(v->op, size))
        constant(e, 1, 7);
    else if (kind == TO_HALVES)
        constant(e, 2, o->a_signed ? LARGEST_S16 : LARGEST_U16);
    else if (kind == DIVIDE)
        constant(e, 2, -1);
    else if (kind == SHIFT || (kind == SCALE && size))
        constant(e, size, (8 << size) - 1);
    else if (kind == GATHER)
        constant(e, o->high && size == 0 ? 1 : size, (int64_t)(x86_vec_bytes(v) >> size));
    else if (kind == NARROW || is_scaled_wide(kind, size))
        constant(e, size + 1, (16 << size) - 1);
    else if (kind == SATURATE)
        constant(e, size, o->a_signed ? ~min : o->subtract ? 0 : -1);
    else if (o->check == IS_MIN || o->check == IS_ONES)
        constant(e, size, o->check == IS_MIN ? min : -1);
}

static bool has_halves(enum kind kind)
{
    return kind == WIDE || kind == NARROW || kind == CLIP || kind == SMUL || kind == TO_NARROW || kind == TO_HALVES;
}

/* Of a piece of d. */
static unsigned most_bytes(const struct ir_vec *v, enum kind kind)
{
    bool bytes = v->size == 0 && (kind == ACC || kind == SCALE || v->op == IR_V_GATHER16);

    if (kind == DIVIDE)
        return v->size == 0 ? 16 : 32;
    return bytes || has_halves(kind) ? 32 : 64;
}

/* Does it matter what is in lanes that are not written? */
static bool is_felt(enum kind kind)
{
    return kind >= FLOAT && kind <= SATURATE; /* they raise flags, or note that they saturate */
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
    if (kind == NARROW || kind == CLIP || (kind == SCALE && size == 0))
        size++;
    if (kind == DIVIDE && size < 2) {
        static const uint32_t to_word[2][2] = {{X86_MOVZX8, X86_MOVZX16}, {X86_MOVSX8, X86_MOVSX16}};
        x86_rr(&e->a, to_word[o->a_signed][size], 0, RAX, RAX);
        size = 2;
    }
    x86_err(&e->a, v512_broadcast_gpr[size], all_of(ZMM), S, 0, RAX);
    if (kind == WIDE_MUL || kind == WIDE_ACC || kind == WIDE || kind == SMUL || (kind == ACC && size == 0))
        x86_err(&e->a, v512_extend[o->b_signed][size], all_of(ZMM), S, 0, S);
}

void x86_vec512(struct emit *e, const struct ir_vec *v, unsigned mask)
{
    enum kind kind = kind_of(v->op, v->size);
    unsigned most = most_bytes(v, kind);
    uint8_t *done[X86_VEC_MAX_TAIL / 16] = {NULL};
    unsigned nr = 0;

    prepare_constant(e, v, kind);
    for (unsigned at = 0, bytes; at < v->bytes; at += bytes) {
        bytes = v->bytes - at < most ? v->bytes - at : most;
        struct piece p = {v, &ops[v->op], kind, at, bytes == 64 ? ZMM : bytes == 32 ? YMM : XMM,
                          mask || (v->used && is_felt(kind))};
        uint8_t *none = p.mask ? v512_make_mask(e, &p, mask) : NULL;
        if (none)
            done[nr++] = none;
        make_piece(e, &p);
        store_result(e, &p);
    }
    while (nr && !e->a.overflow)
        x86_patch(done[--nr], e->a.p);
    x86_vzeroupper(&e->a);
}
