/* Vectors by AVX2: arrays in the guest state, 32 (or 16) bytes at a time.
 *
 *   cmp byte [key], k | jne cold          vtype as it was at translation, vl = VLMAX, vstart = 0, VS dirty
 *   { vmovdqu ymm0, [a] | op ymm0, ymm0, [b] | vmovdqu [d], ymm0 } ... | vzeroupper
 *
 * Everything else is the interpreter's function. Where a floating-point result is a NaN, it takes over from that
 * piece on (vstart): RISC-V's NaNs are canonical, and it raises flags that x86 does not. MXCSR has the rounding
 * mode and gathers the flags, as for scalars. xmm0 and xmm1 are scratch; a scalar operand is in all of ymm1, or
 * of state.vsplat where ymm1 is wanted otherwise.
 *
 * Under a mask, and with a length below VLMAX (a cold copy of the operation), ymm2 has all ones in the lanes that are to
 * be written: the bits of v0, and of a table by the length. The others are blended in from what was there; operands of
 * floating point are 0 in them, so that they raise nothing. The allocator's xmm2 and xmm3 wait in the state meanwhile. */
#include "emit_vec.h"

/* ymm0 = ymm0 op b, by element size. 0: none */
const uint32_t x86_vec_packed[IR_V_NR_OPS][4] = {
    [IR_V_ADD] = {P(0xfc), P(0xfd), P(0xfe), P(0xd4)},
    [IR_V_SUB] = {P(0xf8), P(0xf9), P(0xfa), P(0xfb)},
    [IR_V_RSUB] = {P(0xf8), P(0xf9), P(0xfa), P(0xfb)},
    [IR_V_AND] = {P(0xdb), P(0xdb), P(0xdb), P(0xdb)},
    [IR_V_OR] = {P(0xeb), P(0xeb), P(0xeb), P(0xeb)},
    [IR_V_XOR] = {P(0xef), P(0xef), P(0xef), P(0xef)},
    [IR_V_MUL] = {0, P(0xd5), P38(0x40), 0},
    [IR_V_MIN] = {P38(0x38), P(0xea), P38(0x39), 0},
    [IR_V_MAX] = {P38(0x3c), P(0xee), P38(0x3d), 0},
    [IR_V_MINU] = {P(0xda), P38(0x3a), P38(0x3b), 0},
    [IR_V_MAXU] = {P(0xde), P38(0x3e), P38(0x3f), 0},
    [IR_V_SLL] = {0, P(0xf1), P(0xf2), P(0xf3)},
    [IR_V_SRL] = {0, P(0xd1), P(0xd2), P(0xd3)},
    [IR_V_SRA] = {0, P(0xe1), P(0xe2), 0},
    [IR_V_MACC] = {0, P(0xd5), P38(0x40), 0}, /* the product */
    [IR_V_NMSAC] = {0, P(0xd5), P38(0x40), 0},
    [IR_V_MADD] = {0, P(0xd5), P38(0x40), 0},
    [IR_V_NMSUB] = {0, P(0xd5), P38(0x40), 0},
    [IR_V_SADDU] = {P(0xdc), P(0xdd), 0, 0},
    [IR_V_SADD] = {P(0xec), P(0xed), 0, 0},
    [IR_V_SSUBU] = {P(0xd8), P(0xd9), 0, 0},
    [IR_V_SSUB] = {P(0xe8), P(0xe9), 0, 0},
    [IR_V_AADDU] = {P(0xfc), P(0xfd), P(0xfe), P(0xd4)}, /* half and base */
    [IR_V_AADD] = {P(0xfc), P(0xfd), P(0xfe), P(0xd4)},
    [IR_V_ASUBU] = {P(0xf8), P(0xf9), P(0xfa), P(0xfb)},
    [IR_V_ASUB] = {P(0xf8), P(0xf9), P(0xfa), P(0xfb)},
    [IR_V_CVT_FI] = {0, 0, PS(0x5b), 0},
    [IR_V_CVT_IF] = {0, 0, P(0x5b), 0},
    [IR_V_CVT_IFZ] = {0, 0, X86_OP(0xf3, 1, 0x5b), 0},
    [IR_V_COPY] = {VMOVDQU_LOAD, VMOVDQU_LOAD, VMOVDQU_LOAD, VMOVDQU_LOAD},
    [IR_V_PICK] = {VMOVDQU_LOAD, VMOVDQU_LOAD, VMOVDQU_LOAD, VMOVDQU_LOAD},
    [IR_V_ID] = {VMOVDQU_LOAD, VMOVDQU_LOAD, VMOVDQU_LOAD, VMOVDQU_LOAD},
    [IR_V_SLIDEUP] = {VMOVDQU_LOAD, VMOVDQU_LOAD, VMOVDQU_LOAD, VMOVDQU_LOAD},
    [IR_V_SLIDEDOWN] = {VMOVDQU_LOAD, VMOVDQU_LOAD, VMOVDQU_LOAD, VMOVDQU_LOAD},
    [IR_V_ADC] = {P(0xfc), P(0xfd), P(0xfe), P(0xd4)},
    [IR_V_SBC] = {P(0xf8), P(0xf9), P(0xfa), P(0xfb)},
    [IR_V_ZEXT2] = {0, P38(0x30), P38(0x33), P38(0x35)},
    [IR_V_ZEXT4] = {0, 0, P38(0x31), P38(0x34)},
    [IR_V_ZEXT8] = {0, 0, 0, P38(0x32)},
    [IR_V_SEXT2] = {0, P38(0x20), P38(0x23), P38(0x25)},
    [IR_V_SEXT4] = {0, 0, P38(0x21), P38(0x24)},
    [IR_V_SEXT8] = {0, 0, 0, P38(0x22)},
    [IR_V_FSGNJ] = {0, 0, P(0xdb), P(0xdb)}, /* the mask's and */
    [IR_V_FSGNJN] = {0, 0, P(0xdb), P(0xdb)},
    [IR_V_FSGNJX] = {0, 0, P(0xdb), P(0xdb)},
    [IR_V_FNEG] = {0, 0, P(0xef), P(0xef)},
    [IR_V_FADD] = {0, 0, PS(0x58), P(0x58)},
    [IR_V_FSUB] = {0, 0, PS(0x5c), P(0x5c)},
    [IR_V_FRSUB] = {0, 0, PS(0x5c), P(0x5c)},
    [IR_V_FMUL] = {0, 0, PS(0x59), P(0x59)},
    [IR_V_FDIV] = {0, 0, PS(0x5e), P(0x5e)},
    [IR_V_FRDIV] = {0, 0, PS(0x5e), P(0x5e)},
    [IR_V_FSQRT] = {0, 0, PS(0x51), P(0x51)},
    /* ymm0 = +-(ymm1 * b) +- ymm0; W: double */
    [IR_V_FMACC] = {0, 0, P38(0xb8), P38(0xb8)},
    [IR_V_FMSAC] = {0, 0, P38(0xba), P38(0xba)},
    [IR_V_FNMSAC] = {0, 0, P38(0xbc), P38(0xbc)},
    [IR_V_FNMACC] = {0, 0, P38(0xbe), P38(0xbe)},
    [IR_V_FMADD] = {0, 0, P38(0xb8), P38(0xb8)},
    [IR_V_FMSUB] = {0, 0, P38(0xba), P38(0xba)},
    [IR_V_FNMSUB] = {0, 0, P38(0xbc), P38(0xbc)},
    [IR_V_FNMADD] = {0, 0, P38(0xbe), P38(0xbe)},
};

static bool is_fma(unsigned op)
{
    return op >= IR_V_FMACC && op <= IR_V_FNMADD;
}

static bool is_multiply_add(unsigned op)
{
    return op >= IR_V_MACC && op <= IR_V_NMSUB;
}

static bool is_float(unsigned op)
{
    return op >= IR_V_FADD && op <= IR_V_FNMADD;
}

static bool is_saturating(unsigned op)
{
    return op >= IR_V_SADDU && op <= IR_V_SSUB;
}

static bool is_average(unsigned op)
{
    return op >= IR_V_AADDU && op <= IR_V_ASUB;
}

static bool is_conversion(unsigned op)
{
    return op >= IR_V_CVT_FI && op <= IR_V_CVT_IFZ;
}

static bool is_slide(unsigned op)
{
    return op == IR_V_SLIDEUP || op == IR_V_SLIDEDOWN;
}

static bool is_carry(unsigned op)
{
    return op == IR_V_ADC || op == IR_V_SBC;
}

/* Is the scalar operand read from state.vsplat? */
static bool wants_splat(unsigned op)
{
    return is_float(op) || is_multiply_add(op) || x86_vec_is_division(op) || is_saturating(op) || is_average(op) ||
           (op >= IR_V_FSGNJ && op <= IR_V_FSGNJX) || (op >= IR_V_MADC && op <= IR_V_MSBCC);
}

bool x86_has_vop(uint64_t features, enum ir_vop op, unsigned size)
{
    if (x86_vec512_has(features, op, size))
        return true;
    if (!(features & X86_HAS_AVX2) || (is_fma(op) && !(features & X86_HAS_FMA)))
        return false;
    if (op == IR_V_COUNT || op == IR_V_IOTA)
        return features & X86_HAS_POPCNT;
    if (x86_vec_is_division(op))
        return true;
    if (x86_vec_is_compare(op))
        return x86_vec_has_compare(features, op, size);
    if (x86_vec_is_wide(op) || x86_vec_is_narrow(op))
        return x86_vec_has_wide(op, size);
    if (x86_vec_is_float_reduction(op))
        return op == IR_V_FWREDSUM ? size == 2 : op == IR_V_FREDSUM && size >= 2;
    if (op >= IR_V_WREDSUMU && op <= IR_V_WREDSUM)
        return false;
    if (x86_vec_is_reduction(op))
        return x86_vec_packed[x86_vec_reduced_by(op)][size];
    return (op >= IR_V_MAND && op != IR_V_LANES) || x86_vec_is_slide(op) || x86_vec_packed[op][size];
}

/* ---- operands ---- */

static const uint32_t broadcast[] = {P38(0x78), P38(0x79), P38(0x58), P38(0x59)};

/* ymm1 = the scalar in all elements */
static void splat(struct emit *e, const struct ir_vec *v, ir_ref scalar)
{
    int l = v->bytes >= 32;

    if (ir_is_fp(e->r, scalar)) {
        unsigned x = emit_fin_reg(e, scalar, XMM1);
        if (v->size == 3 && !l) /* the xmm form does not exist: movddup */
            x86_yrr(&e->a, X86_OP(0xf2, 1, 0x12), 0, 0, XMM1, 0, x);
        else
            x86_yrr(&e->a, v->size == 3 ? VBROADCASTSD : VBROADCASTSS, 0, l, XMM1, 0, x);
        return;
    }
    x86_yrr(&e->a, VMOVD, 1, 0, XMM1, 0, emit_in_reg(e, scalar, RAX));
    x86_yrr(&e->a, broadcast[v->size], 0, l, XMM1, 0, XMM1);
}

static void splat_rax(struct emit *e, const struct ir_vec *v)
{
    x86_yrr(&e->a, VMOVD, 1, 0, XMM1, 0, RAX);
    x86_yrr(&e->a, broadcast[v->size], 0, v->bytes >= 32, XMM1, 0, XMM1);
}

static bool is_shift(unsigned op)
{
    return op >= IR_V_SLL && op <= IR_V_SRA;
}

/* xmm1 = the count, modulo the size */
static void shift_count(struct emit *e, const struct ir_vec *v, ir_ref scalar)
{
    emit_move_to(e, RAX, scalar);
    x86_ri(&e->a, X86_AND, 0, RAX, (8 << (v->size + x86_vec_is_narrow(v->op))) - 1);
    x86_yrr(&e->a, VMOVD, 1, 0, XMM1, 0, RAX);
}

/* rax = the element of a that rax says, or 0 */
static void pick(struct emit *e, const struct ir_vec *v)
{
    static const uint32_t op[] = {X86_MOVZX8, X86_MOVZX16, X86_MOV_LOAD, X86_MOV_LOAD};
    struct x86_mem a = emit_state(v->a);

    x86_ri(&e->a, X86_CMP, 1, RAX, (int32_t)(x86_vec_bytes(v) >> v->size));
    x86_mov_imm(&e->a, RCX, 0); /* flags stay */
    uint8_t *beyond = x86_jcc(&e->a, X86_AE);
    x86_rm(&e->a, op[v->size], v->size == 3, RCX, x86_at_index(a.base, RAX, v->size, a.disp));
    if (!e->a.overflow)
        x86_patch(beyond, e->a.p);
    x86_mov(&e->a, RAX, RCX);
}

/* rax = bytes to slide, at most the group: negative upwards; rcx + byte of the group: ones below those that stay what they
 * were (up), or that come out of the group (down) */
static void slide_distance(struct emit *e, const struct ir_vec *v, ir_ref scalar)
{
    int32_t bytes = (int32_t)x86_vec_bytes(v);

    emit_move_to(e, RAX, scalar);
    x86_mov_imm(&e->a, RCX, bytes >> v->size);
    x86_rr(&e->a, X86_CMP, 1, RAX, RCX);
    x86_rr(&e->a, X86_CMOVCC + X86_A, 1, RAX, RCX);
    if (v->size)
        x86_shift_i(&e->a, X86_SHL_N, 0, RAX, v->size);
    if (v->op == IR_V_SLIDEUP)
        x86_r_n(&e->a, X86_OP(0, 0, 0xf7), 1, 3, RAX); /* neg */
    x86_rm(&e->a, X86_LEA, 1, RCX, x86_at_rip(e->rt->k_tail - (v->op == IR_V_SLIDEUP ? 0 : bytes)));
    x86_rr(&e->a, X86_ADD, 1, RCX, RAX);
}

void x86_vec_rounding(struct emit *e)
{
    x86_rm(&e->a, X86_MOVZX8, 0, RAX, emit_state(e->t->vxrm));
    x86_shift_i(&e->a, X86_SHL_N, 0, RAX, 5);
    x86_rm(&e->a, X86_LEA, 1, RCX, x86_at_rip(e->rt->k_rounding));
    x86_rr(&e->a, X86_ADD, 1, RCX, RAX);
}

/* state.vmask = what rounds averages, 32 bytes of p and of q */
static void prepare_rounding(struct emit *e, int l)
{
    x86_vec_rounding(e);
    for (int32_t n = 0; n < 2; n++) {
        x86_yrm(&e->a, P38(0x59), 0, l, XMM0, 0, x86_at(RCX, 8 * n)); /* vpbroadcastq */
        x86_vec_store(e, l, XMM0, emit_state(e->t->vmask + 32 * n));
    }
}

/* The scalar operand to where the pieces want it. */
static void prepare_scalar(struct emit *e, const struct ir_vec *v, ir_ref scalar)
{
    if (is_slide(v->op)) {
        slide_distance(e, v, scalar);
        return;
    }
    if (v->op == IR_V_PICK) {
        emit_move_to(e, RAX, scalar);
        pick(e, v);
        splat_rax(e, v);
        return;
    }
    if (x86_vec512_has(e->features, v->op, v->size)) {
        x86_vec512_scalar(e, v, scalar);
        return;
    }
    if (is_shift(v->op) || x86_vec_is_narrow(v->op)) {
        shift_count(e, v, scalar);
        return;
    }
    if (x86_vec_is_wide(v->op)) {
        emit_move_to(e, RAX, scalar);
        x86_vec_widen_scalar(e, v);
        return;
    }
    splat(e, v, scalar);
    if (wants_splat(v->op))
        x86_vec_store(e, v->bytes >= 32, XMM1, emit_state(e->t->vsplat));
}

void x86_vec_prepare(struct emit *e, const struct ir_vec *v, ir_ref scalar)
{
    if (v->scalar)
        prepare_scalar(e, v, scalar);
    if (is_average(v->op))
        prepare_rounding(e, v->bytes >= 32);
}

void x86_vec_store_part(struct emit *e, const struct part *p, int32_t operand)
{
    if (p->v->used)
        x86_yrm(&e->a, VMOVD_STORE, p->v->used == 8, 0, XMM0, 0, part_of(p, operand));
    else
        x86_vec_store(e, p->l, XMM0, part_of(p, operand));
}

void x86_vec_load_part(struct emit *e, const struct part *p, unsigned xmm, int32_t operand)
{
    if (p->v->used)
        x86_yrm(&e->a, VMOVD, p->v->used == 8, 0, xmm, 0, part_of(p, operand));
    else
        x86_vec_load(e, p->l, xmm, part_of(p, operand));
}

/* op ymm0, ymm0, b */
void x86_vec_with_b(struct emit *e, const struct part *p, uint32_t op, int w)
{
    if (p->v->scalar && !wants_splat(p->v->op))
        x86_yrr(&e->a, op, w, p->l, XMM0, XMM0, XMM1);
    else
        x86_yrm(&e->a, op, w, p->l, XMM0, XMM0,
                p->v->scalar ? emit_state(e->t->vsplat) : part_of(p, p->v->b));
}

void x86_vec_load_b(struct emit *e, const struct part *p, unsigned ymm)
{
    if (!p->v->scalar)
        x86_vec_load(e, p->l, ymm, part_of(p, p->v->b));
    else if (is_float(p->v->op))
        x86_vec_load(e, p->l, ymm, emit_state(e->t->vsplat));
    else if (ymm != XMM1)
        x86_yrr(&e->a, VMOVDQU_LOAD, 0, p->l, ymm, 0, XMM1);
}

/* ---- masks ---- */

static struct x86_mem spilled(const struct emit *e, unsigned xmm)
{
    return emit_state(e->t->scratch + 8 * (16 + (int32_t)xmm));
}

void x86_vec_borrow(struct emit *e, unsigned nr)
{
    for (unsigned n = 0; n < nr && e->fp; n++)
        x86_rm(&e->a, X86_MOVQ_STORE, 0, XMM2 + n, spilled(e, XMM2 + n));
}

void x86_vec_give_back(struct emit *e, unsigned nr)
{
    for (unsigned n = 0; n < nr && e->fp; n++)
        x86_rm(&e->a, X86_MOVQ_LOAD, 0, XMM2 + n, spilled(e, XMM2 + n));
}

static unsigned borrowed(const struct ir_vec *v, unsigned mask)
{
    return is_average(v->op) ? 2 : is_carry(v->op) || v->op == IR_V_IOTA ? 1 : !mask ? 0 : is_fma(v->op) ? 2 : 1;
}

void x86_vec_lanes_of_v0(struct emit *e, const struct part *p)
{
    static const uint32_t bits_of[] = {P38(0x58), P38(0x79), P38(0x78), P38(0x78)};
    static const uint32_t equal[] = {P(0x74), P(0x75), P(0x76), P38(0x29)};
    unsigned size = p->v->size, element = p->at >> size;
    const uint8_t *bits = e->rt->k_mask_bits[size] + (size >= 2 ? element % 8 << size : 0);

    x86_yrm(&e->a, bits_of[size], 0, p->l, XMM2, 0, emit_state(p->v->mask + (int32_t)(element / 8)));
    if (size == 0)
        x86_yrm(&e->a, VPSHUFB, 0, p->l, XMM2, XMM2, x86_at_rip(e->rt->k_mask_bytes));
    x86_yrm(&e->a, VPAND, 0, p->l, XMM2, XMM2, x86_at_rip(bits));
    x86_yrm(&e->a, equal[size], 0, p->l, XMM2, XMM2, x86_at_rip(bits));
}

void x86_vec_lanes(struct emit *e, const struct part *p)
{
    struct x86_mem length = x86_at(RCX, (int32_t)p->at);

    if (p->mask & MASK_V0)
        x86_vec_lanes_of_v0(e, p);
    if (p->mask == MASK_LENGTH)
        x86_vec_load(e, p->l, XMM2, length);
    else if (p->mask & MASK_LENGTH)
        x86_yrm(&e->a, VPAND, 0, p->l, XMM2, XMM2, length);
}

void x86_vec_blend(struct emit *e, const struct part *p, int32_t operand)
{
    x86_yrm(&e->a, VPANDN, 0, p->l, XMM2, XMM2, part_of(p, operand));
    x86_yrr(&e->a, VPOR, 0, p->l, XMM0, XMM0, XMM2);
}

/* An operand of floating point, 0 in the other lanes. */
static void load_lanes(struct emit *e, const struct part *p, unsigned ymm, struct x86_mem m)
{
    if (p->mask)
        x86_yrm(&e->a, VPAND, 0, p->l, ymm, XMM2, m);
    else
        x86_vec_load(e, p->l, ymm, m);
}

struct x86_mem x86_vec_memory_b(struct emit *e, const struct part *p)
{
    return p->v->scalar ? emit_state(e->t->vsplat) : part_of(p, p->v->b);
}

/* ---- pieces: the result in ymm0 ---- */

/* by an immediate; bytes are words whose neighbours' bits go */
static const uint32_t shift_by_i[] = {P(0x71), P(0x71), P(0x72), P(0x73)};
enum { RIGHT = 2 };

/* add to sqrt; other lanes: 0 op 0 */
static void part_float(struct emit *e, const struct part *p)
{
    const struct ir_vec *v = p->v;
    bool swapped = v->op == IR_V_FRSUB || v->op == IR_V_FRDIV;

    load_lanes(e, p, XMM0, swapped ? x86_vec_memory_b(e, p) : part_of(p, v->a));
    if (v->op == IR_V_FSQRT) {
        x86_yrr(&e->a, x86_vec_packed[v->op][v->size], 0, p->l, XMM0, 0, XMM0);
        return;
    }
    struct x86_mem second = swapped ? part_of(p, v->a) : x86_vec_memory_b(e, p);
    if (p->mask) {
        load_lanes(e, p, XMM1, second);
        x86_yrr(&e->a, x86_vec_packed[v->op][v->size], 0, p->l, XMM0, XMM0, XMM1);
    } else {
        x86_yrm(&e->a, x86_vec_packed[v->op][v->size], 0, p->l, XMM0, XMM0, second);
    }
}

static void part_plain(struct emit *e, const struct part *p)
{
    const struct ir_vec *v = p->v;
    uint32_t op = x86_vec_packed[v->op][v->size];

    if (v->op == IR_V_COPY || v->op == IR_V_PICK) {
        x86_vec_load_b(e, p, XMM0);
    } else if (v->op == IR_V_ID) {
        x86_vec_load(e, p->l, XMM0, x86_at_rip(e->rt->k_index[v->size] + (v->size ? p->at : p->at % 256)));
    } else if (v->op == IR_V_RSUB) {
        x86_vec_load_b(e, p, XMM0);
        x86_yrm(&e->a, op, 0, p->l, XMM0, XMM0, part_of(p, v->a));
    } else {
        x86_vec_load(e, p->l, XMM0, part_of(p, v->a));
        x86_vec_with_b(e, p, op, 0);
    }
}

static void part_multiply_add(struct emit *e, const struct part *p)
{
    const struct ir_vec *v = p->v;
    bool d_is_factor = v->op == IR_V_MADD || v->op == IR_V_NMSUB;
    bool subtract = v->op == IR_V_NMSAC || v->op == IR_V_NMSUB;
    int32_t factor = d_is_factor ? v->d : v->a, added = d_is_factor ? v->a : v->d;

    x86_vec_load(e, p->l, XMM0, part_of(p, factor));
    x86_vec_with_b(e, p, x86_vec_packed[v->op][v->size], 0);
    if (!subtract) {
        x86_yrm(&e->a, x86_vec_packed[IR_V_ADD][v->size], 0, p->l, XMM0, XMM0, part_of(p, added));
        return;
    }
    x86_vec_load(e, p->l, XMM1, part_of(p, added));
    x86_yrr(&e->a, x86_vec_packed[IR_V_SUB][v->size], 0, p->l, XMM0, XMM1, XMM0);
}

static void part_fma(struct emit *e, const struct part *p)
{
    const struct ir_vec *v = p->v;
    bool d_is_factor = v->op >= IR_V_FMADD;
    uint32_t op = x86_vec_packed[v->op][v->size];

    load_lanes(e, p, XMM0, part_of(p, d_is_factor ? v->a : v->d));
    load_lanes(e, p, XMM1, part_of(p, d_is_factor ? v->d : v->a));
    if (p->mask) {
        load_lanes(e, p, XMM3, x86_vec_memory_b(e, p));
        x86_yrr(&e->a, op, v->size == 3, p->l, XMM0, XMM1, XMM3);
    } else {
        x86_yrm(&e->a, op, v->size == 3, p->l, XMM0, XMM1, x86_vec_memory_b(e, p));
    }
}

static bool is_sign(unsigned op)
{
    return op >= IR_V_FSGNJ && op <= IR_V_FNEG;
}

/* The scalar of FSGNJ is in state.vsplat, since ymm1 has the sign's mask. */
static void part_sign(struct emit *e, const struct part *p)
{
    const struct ir_vec *v = p->v;
    bool f64 = v->size == 3;

    x86_yrm(&e->a, f64 && p->l ? (uint32_t)VBROADCASTSD : f64 ? X86_OP(0xf2, 1, 0x12) : (uint32_t)VBROADCASTSS, 0, p->l,
            XMM1, 0, x86_at_rip(f64 ? e->rt->k_sign64 : e->rt->k_sign32));
    if (v->op == IR_V_FNEG) {
        x86_yrm(&e->a, x86_vec_packed[v->op][v->size], 0, p->l, XMM0, XMM1, part_of(p, v->a));
        return;
    }
    if (v->op == IR_V_FSGNJN)
        x86_yrm(&e->a, P(0xeb), 0, p->l, XMM0, XMM1, part_of(p, v->a)); /* vpor: the sign, to be inverted */
    else if (v->op == IR_V_FSGNJ)
        x86_yrm(&e->a, P(0xdf), 0, p->l, XMM0, XMM1, part_of(p, v->a)); /* vpandn: all but the sign */
    else
        x86_vec_load(e, p->l, XMM0, part_of(p, v->a));
    x86_yrm(&e->a, x86_vec_packed[v->op][v->size], 0, p->l, XMM1, XMM1,
            v->scalar ? emit_state(e->t->vsplat) : part_of(p, v->b));
    x86_yrr(&e->a, P(0xef), 0, p->l, XMM0, XMM0, XMM1);
}

/* The sum that wraps tells where it was clamped. */
static void part_saturating(struct emit *e, const struct part *p)
{
    const struct ir_vec *v = p->v;
    unsigned wraps = v->op >= IR_V_SSUBU ? IR_V_SUB : IR_V_ADD;

    x86_vec_load(e, p->l, XMM0, part_of(p, v->a));
    x86_vec_load(e, p->l, XMM1, part_of(p, v->a));
    x86_yrm(&e->a, x86_vec_packed[v->op][v->size], 0, p->l, XMM0, XMM0, x86_vec_memory_b(e, p));
    x86_yrm(&e->a, x86_vec_packed[wraps][v->size], 0, p->l, XMM1, XMM1, x86_vec_memory_b(e, p));
    x86_yrr(&e->a, x86_vec_packed[IR_V_XOR][v->size], 0, p->l, XMM1, XMM1, XMM0);
    x86_yrr(&e->a, VPTEST, 0, p->l, XMM1, 0, p->mask ? XMM2 : XMM1);
    x86_setcc(&e->a, X86_NE, RAX);
    x86_rm8(&e->a, X86_OP(0, 0, 0x08), RAX, emit_state(e->t->vxsat)); /* or */
}

/* a + b = 2 (a & b) + (a ^ b), a - b = (a ^ b) - 2 (~a & b): half of it, and what it lacks. */
static void part_average(struct emit *e, const struct part *p)
{
    const struct ir_vec *v = p->v;
    bool adds = v->op == IR_V_AADDU || v->op == IR_V_AADD, is_signed = v->op == IR_V_AADD || v->op == IR_V_ASUB;
    struct x86_mem b = x86_vec_memory_b(e, p);
    const uint8_t *ones = e->rt->k_ones[v->size], *second = ones + 32, *all_but_highest = ones + 64;
    uint32_t add = x86_vec_packed[IR_V_ADD][v->size], sub = x86_vec_packed[IR_V_SUB][v->size];

    x86_vec_load(e, p->l, XMM0, part_of(p, v->a));
    x86_yrm(&e->a, x86_vec_packed[IR_V_XOR][v->size], 0, p->l, XMM1, XMM0, b);
    x86_yrm(&e->a, adds ? (uint32_t)VPAND : (uint32_t)VPANDN, 0, p->l, XMM0, XMM0, b);
    x86_yrr(&e->a, shift_by_i[v->size], 0, p->l, RIGHT, XMM3, XMM1);
    x86_byte(&e->a, 1);
    if (v->size == 0)
        x86_yrm(&e->a, VPAND, 0, p->l, XMM3, XMM3, x86_at_rip(all_but_highest));
    if (is_signed) { /* the sign comes in */
        x86_yrm(&e->a, x86_vec_packed[IR_V_XOR][v->size], 0, p->l, XMM3, XMM3, x86_at_rip(second));
        x86_yrm(&e->a, sub, 0, p->l, XMM3, XMM3, x86_at_rip(second));
    }
    x86_yrr(&e->a, x86_vec_packed[v->op][v->size], 0, p->l, XMM0, XMM3, XMM0);
    x86_yrm(&e->a, VPAND, 0, p->l, XMM1, XMM1, x86_at_rip(ones));
    x86_yrm(&e->a, VPAND, 0, p->l, XMM3, XMM0, emit_state(e->t->vmask));
    x86_yrm(&e->a, x86_vec_packed[IR_V_XOR][v->size], 0, p->l, XMM3, XMM3, emit_state(e->t->vmask + 32));
    x86_yrr(&e->a, VPAND, 0, p->l, XMM1, XMM1, XMM3);
    x86_yrr(&e->a, add, 0, p->l, XMM0, XMM0, XMM1);
}

/* 0 in the other lanes stays 0. */
static void part_convert(struct emit *e, const struct part *p)
{
    load_lanes(e, p, XMM0, part_of(p, p->v->a));
    x86_yrr(&e->a, x86_vec_packed[p->v->op][p->v->size], 0, p->l, XMM0, 0, XMM0);
}

static void part_slide(struct emit *e, const struct part *p)
{
    enum { VPBLENDVB = X86_OP(0x66, 3, 0x4c) };
    struct x86_mem a = part_of(p, p->v->a), m = x86_at(RCX, (int32_t)p->at);

    x86_vec_load(e, p->l, XMM0, x86_at_index(a.base, RAX, 0, a.disp));
    if (p->v->op == IR_V_SLIDEDOWN) {
        x86_yrm(&e->a, VPAND, 0, p->l, XMM0, XMM0, m);
        return;
    }
    x86_vec_load(e, p->l, XMM1, m);
    x86_yrm(&e->a, VPBLENDVB, 0, p->l, XMM0, XMM0, part_of(p, p->v->d));
    x86_byte(&e->a, XMM1 << 4);
}

/* The carry is -1 in the lanes of v0; which of them are written is another matter. */
static void part_carry(struct emit *e, const struct part *p)
{
    const struct ir_vec *v = p->v;

    x86_vec_load(e, p->l, XMM0, part_of(p, v->a));
    x86_vec_with_b(e, p, x86_vec_packed[v->op][v->size], 0);
    x86_vec_lanes_of_v0(e, p);
    x86_yrr(&e->a, x86_vec_packed[v->op == IR_V_ADC ? IR_V_SBC : IR_V_ADC][v->size], 0, p->l, XMM0, XMM0, XMM2);
    if (p->mask)
        x86_vec_lanes(e, p);
}

static bool is_extension(unsigned op)
{
    return op >= IR_V_ZEXT2 && op <= IR_V_SEXT8;
}

static void part_extend(struct emit *e, const struct part *p)
{
    const struct ir_vec *v = p->v;
    unsigned shift = (v->op - IR_V_ZEXT2) % 3u + 1;

    x86_yrm(&e->a, x86_vec_packed[v->op][v->size], 0, p->l, XMM0, 0, emit_state(v->a + (int32_t)(p->at >> shift)));
}

/* A NaN in ymm0, or what stands for one and for all that is out of range: the interpreter's function goes on from here. */
static void look_for_nan(struct emit *e, const struct part *p)
{
    struct cold *c = emit_cold(e, COLD_VEC_REST);

    if (is_conversion(p->v->op)) {
        x86_yrm(&e->a, VBROADCASTSS, 0, p->l, XMM1, 0, x86_at_rip(e->rt->k_sign32));
        x86_yrr(&e->a, P(0x76), 0, p->l, XMM1, XMM1, XMM0);
    } else {
        x86_yrr(&e->a, p->v->size == 3 ? VCMPPS | X86_OP(0x66, 0, 0) : (uint32_t)VCMPPS, 0, p->l, XMM1, XMM0, XMM0);
        x86_byte(&e->a, UNORDERED);
    }
    x86_yrr(&e->a, VMOVMSKPS, 0, p->l, RAX, 0, XMM1);
    x86_rr(&e->a, X86_TEST, 0, RAX, RAX);
    c->from[0] = x86_jcc(&e->a, X86_NE);
    c->element = (uint16_t)(p->at >> p->v->size);
    c->reg = (uint8_t)borrowed(p->v, p->mask);
}

/* v0 chooses the source; which lanes are written is another matter. */
static void part_merge(struct emit *e, struct part *p)
{
    x86_vec_load_b(e, p, XMM0);
    x86_vec_lanes_of_v0(e, p);
    x86_yrr(&e->a, VPAND, 0, p->l, XMM0, XMM0, XMM2);
    x86_vec_blend(e, p, p->v->a);
    p->mask &= ~(unsigned)MASK_V0;
    x86_vec_lanes(e, p);
}

static void emit_part(struct emit *e, struct part *p)
{
    if (p->v->op == IR_V_IOTA)
        x86_vec_iota(e, p);
    if (p->mask && !p->v->merge && !is_carry(p->v->op))
        x86_vec_lanes(e, p);
    if (p->v->op == IR_V_IOTA)
        ; /* done, before its lanes */
    else if (p->v->merge)
        part_merge(e, p);
    else if (is_slide(p->v->op))
        part_slide(e, p);
    else if (is_carry(p->v->op))
        part_carry(e, p);
    else if (is_fma(p->v->op))
        part_fma(e, p);
    else if (is_float(p->v->op))
        part_float(e, p);
    else if (is_multiply_add(p->v->op))
        part_multiply_add(e, p);
    else if (is_sign(p->v->op))
        part_sign(e, p);
    else if (is_extension(p->v->op))
        part_extend(e, p);
    else if (is_saturating(p->v->op))
        part_saturating(e, p);
    else if (is_average(p->v->op))
        part_average(e, p);
    else if (is_conversion(p->v->op))
        part_convert(e, p);
    else if (x86_vec_is_wide(p->v->op))
        x86_vec_widen(e, p);
    else if (x86_vec_is_narrow(p->v->op))
        x86_vec_narrow(e, p);
    else
        part_plain(e, p);
    if (p->mask)
        x86_yrr(&e->a, VPAND, 0, p->l, XMM0, XMM0, XMM2);
    if (is_float(p->v->op) || (is_conversion(p->v->op) && p->v->op != IR_V_CVT_FI))
        look_for_nan(e, p);
    if (p->mask)
        x86_vec_blend(e, p, p->v->d);
    x86_vec_store_part(e, p, p->v->d);
}

/* Does it matter what is in lanes that are not written? */
static bool is_felt(unsigned op)
{
    return is_float(op) || is_conversion(op) || is_saturating(op);
}

void x86_vec_parts(struct emit *e, const struct ir_vec *v, unsigned mask)
{
    if (x86_vec512_has(e->features, v->op, v->size)) {
        x86_vec512(e, v, mask);
        return;
    }
    if (x86_vec_is_division(v->op)) {
        x86_vec_divide(e, v);
        return;
    }
    if (v->used && is_felt(v->op) && !(mask & MASK_LENGTH)) {
        x86_rm(&e->a, X86_LEA, 1, RCX, x86_at_rip(e->rt->k_tail - v->used));
        mask |= MASK_LENGTH;
    }
    x86_vec_borrow(e, borrowed(v, mask));
    unsigned most = v->op == IR_V_IOTA ? x86_vec_iota_piece(v) : x86_vec_is_narrow(v->op) ? 16 : 32;

    if (v->op == IR_V_IOTA)
        x86_vec_iota_begin(e);
    for (unsigned at = 0, n; at < v->bytes; at += n) {
        n = v->bytes - at < most ? 16 : most;
        struct part p = {v, at, n == 32, mask};
        emit_part(e, &p);
    }
    if (v->op == IR_V_IOTA)
        x86_vec_iota_end(e);
    if (v->bytes >= 32 || x86_vec_is_narrow(v->op) || v->op == IR_V_IOTA)
        x86_vzeroupper(&e->a);
    x86_vec_give_back(e, borrowed(v, mask));
}
