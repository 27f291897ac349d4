/* Vector operations as a whole: configuration, the check of the key, what goes on when vl is below VLMAX, element 0.
 *
 *   key right: the operation on the whole group (emit_vec.c and its sisters)
 *   type right, vl below VLMAX: a cold copy, as one under a mask: of the length's lanes where the operation goes lane by lane
 *     (MASK_LENGTH), else of bits in state.vmask, which are those of v0 too when it is masked anyway
 *   else: the interpreter's function */
#include "emit_vec.h"

void x86_vec_compare_byte(struct emit *e, int32_t offset, uint8_t value)
{
    x86_m_n(&e->a, X86_OP(0, 0, 0x80), 0, 7, emit_state(offset));
    x86_byte(&e->a, value);
}

void x86_vec_check_key(struct emit *e, const struct ir_vec *v, struct cold *c)
{
    bool any = v->any_type || v->any_length;

    x86_vec_compare_byte(e, e->t->vkey + any, v->any_type ? e->t->vkey_none : v->key);
    c->from[0] = x86_jcc(&e->a, v->any_type ? X86_E : X86_NE);
}

/* ---- configuration ---- */

/* The type is mostly the one there is. rax = the new length; the key follows from the comparison: all ones when
 * a < VLMAX. */
void emit_vset(struct emit *e, const struct ir_insn *i)
{
    const struct ir_vec *v = x86_vec_of(e, i);
    struct cold *c = emit_cold(e, COLD_VSET);

    x86_vec_compare_byte(e, e->t->vkey + 1, v->key);
    c->from[0] = x86_jcc(&e->a, X86_NE);
    x86_vec_compare_byte(e, e->t->vtype, (uint8_t)v->a); /* with its policy, which is not in the key */
    c->from[1] = x86_jcc(&e->a, X86_NE);
    c->back = e->a.p;
    emit_move_to(e, RAX, i->src[0]);
    x86_mov_imm(&e->a, RCX, v->bytes);
    x86_rr(&e->a, X86_CMP, 1, RAX, RCX);
    x86_rr(&e->a, X86_CMOVCC + X86_A, 1, RAX, RCX);
    x86_rr(&e->a, X86_OP(0, 0, 0x1b), 0, RCX, RCX); /* sbb */
    x86_ri(&e->a, X86_OR, 0, RCX, v->key);
    x86_rm8(&e->a, X86_MOV_STORE8, RCX, emit_state(e->t->vkey));
    x86_store(&e->a, emit_state(e->t->vl), RAX);
    emit_put(e, i->dst, RAX);
    c->done = e->a.p;
}

/* Another type: all of the state but what depends on the length. */
void emit_cold_vset(struct emit *e, const struct cold *c)
{
    const struct ir_insn *i = &e->r->insn[c->index];
    const struct ir_vec *v = x86_vec_of(e, i);

    x86_vec_compare_byte(e, e->t->von, 0);
    uint8_t *off = x86_jcc(&e->a, X86_E);
    x86_store_imm(&e->a, 8, emit_state(e->t->vtype), v->a);
    x86_store_imm(&e->a, 8, emit_state(e->t->vstart), 0);
    x86_store_imm(&e->a, 1, emit_state(e->t->vkey + 1), v->key);
    x86_store_imm(&e->a, 1, emit_state(e->t->vdirty), 1);
    emit_jmp_to(e, c->back);
    if (!e->a.overflow)
        x86_patch(off, e->a.p);
    emit_exec(e, i);
    emit_jmp_to(e, c->done);
}

void emit_vget(struct emit *e, const struct ir_insn *i)
{
    struct cold *c = emit_cold(e, COLD_EXEC);
    unsigned d = emit_dst(e, i->dst, RAX);

    x86_vec_compare_byte(e, e->t->von, 0);
    c->from[0] = x86_jcc(&e->a, X86_E);
    x86_load(&e->a, d, emit_state(x86_vec_of(e, i)->a));
    emit_put(e, i->dst, d);
    c->done = e->a.p;
}

/* ---- masks and element 0 ---- */

/* rax = the next bits of the mask, 64 or what is left */
static void load_bits(struct emit *e, const struct ir_vec *v, unsigned at)
{
    static const uint32_t op[] = {X86_MOVZX8, X86_MOVZX16, X86_MOV_LOAD, X86_MOV_LOAD};
    unsigned left = v->bytes - at, log2 = left >= 64 ? 3 : left < 8 ? 0 : (unsigned)__builtin_ctz(left) - 3;

    x86_rm(&e->a, op[log2], log2 == 3, RAX, emit_state(v->a + (int32_t)at / 8));
    if (left < 8)
        x86_ri(&e->a, X86_AND, 0, RAX, (1 << left) - 1);
    if (v->masked)
        x86_rm(&e->a, X86_AND, 1, RAX, emit_state(v->mask + (int32_t)at / 8));
}

static void first_bit(struct emit *e, const struct ir_vec *v)
{
    uint8_t *found[16];
    unsigned n = 0;

    for (unsigned at = 0; at < v->bytes; at += 64) {
        load_bits(e, v, at);
        x86_rr(&e->a, X86_BSF, 1, RCX, RAX);
        if (at) /* flags stay */
            x86_rm(&e->a, X86_LEA, 1, RCX, x86_at(RCX, (int32_t)at));
        found[n++] = x86_jcc(&e->a, X86_NE);
    }
    x86_mov_imm(&e->a, RCX, -1);
    while (n && !e->a.overflow)
        x86_patch(found[--n], e->a.p);
    x86_mov(&e->a, RAX, RCX);
}

static void count_bits(struct emit *e, const struct ir_vec *v)
{
    for (unsigned at = 0; at < v->bytes; at += 64) {
        load_bits(e, v, at);
        x86_rr(&e->a, X86_POPCNT, 1, at ? RAX : RCX, RAX);
        if (at)
            x86_rr(&e->a, X86_ADD, 1, RCX, RAX);
    }
    x86_mov(&e->a, RAX, RCX);
}

static void to_scalar(struct emit *e, const struct ir_insn *i)
{
    static const uint32_t op[] = {X86_MOVSX8, X86_MOVSX16, X86_MOVSXD, X86_MOV_LOAD};
    const struct ir_vec *v = x86_vec_of(e, i);

    if (!ir_is_fp(e->r, i->dst)) {
        x86_rm(&e->a, op[v->size], 1, RAX, emit_state(v->a));
        emit_put(e, i->dst, RAX);
        return;
    }
    x86_rm(&e->a, v->size == 3 ? X86_MOVSD_LOAD : X86_MOVSS_LOAD, 0, XMM0, emit_state(v->a));
    if (v->size == 2)
        emit_rip(e, X86_ORPD, 0, XMM0, e->rt->k_box);
    emit_fput(e, i->dst, XMM0);
}

void x86_vec_put_scalar(struct emit *e, unsigned size, struct x86_mem d, ir_ref scalar)
{
    static const uint32_t op[] = {X86_MOV_STORE8, X86_MOV_STORE16, X86_MOV_STORE, X86_MOV_STORE};

    if (ir_is_fp(e->r, scalar))
        x86_rm(&e->a, size == 3 ? X86_MOVSD_STORE : X86_MOVSS_STORE, 0, emit_fin_reg(e, scalar, XMM0), d);
    else if (size == 0)
        x86_rm8(&e->a, op[0], emit_in_reg(e, scalar, RAX), d);
    else
        x86_rm(&e->a, op[size], size == 3, emit_in_reg(e, scalar, RAX), d);
}

/* ---- the operation ---- */

/* Where a result that is a NaN was found (all cold code since the first): what follows the operation. */
static void rest_done(struct emit *e, unsigned first, const uint8_t *done)
{
    for (unsigned n = first; n < e->nr_cold; n++)
        e->cold[n].done = done;
}

/* How a shorter length is done. */
enum shorter { BY_EXEC, BY_LANES, BY_BITS };

static enum shorter shorter_by(const struct emit *e, const struct ir_vec *v)
{
    if (v->bytes > X86_VEC_MAX_TAIL || v->any_length)
        return BY_EXEC;
    if (!v->elements)
        return BY_BITS;
    bool divides = v->op == IR_V_FDIV || v->op == IR_V_FRDIV; /* 0 / 0 would raise a flag */
    return divides && !x86_vec512_has(e->features, v->op, v->size) ? BY_EXEC : BY_LANES;
}

/* On the elements whose bit is set from state byte `which` on; 0: on all. With a length (`shorter`) that is not 0. */
static void operate(struct emit *e, const struct ir_insn *i, const struct ir_vec *v, int32_t which, bool shorter)
{
    x86_vec_prepare(e, v, i->src[0]);
    switch (v->op) {
    case IR_V_COMPRESS: x86_vec512_compress(e, v); break;
    case IR_V_FIRST: first_bit(e, v); break;
    case IR_V_COUNT: count_bits(e, v); break;
    case IR_V_TO_SCALAR: to_scalar(e, i); break;
    case IR_V_FROM_SCALAR: x86_vec_put_scalar(e, v->size, emit_state(v->d), i->src[0]); break;
    case IR_V_SLIDE1UP:
    case IR_V_SLIDE1DOWN: x86_vec_slide_1(e, v, i->src[0], shorter); break;
    case IR_V_FREDSUM:
    case IR_V_FWREDSUM: x86_vec_sum_floats(e, v, shorter); break;
    case IR_V_FREDMIN:
    case IR_V_FREDMAX: x86_vec512_reduce_floats(e, v); break;
    default:
        if (x86_vec_is_compare(v->op))
            x86_vec_compare(e, v, which);
        else if (v->op >= IR_V_MAND && v->op <= IR_V_MSOF)
            x86_vec_masks(e, v, which);
        else if (x86_vec_is_reduction(v->op) && x86_vec512_has(e->features, v->op, v->size))
            x86_vec512_reduce(e, v);
        else if (x86_vec_is_reduction(v->op))
            x86_vec_reduce(e, v);
        else
            x86_vec_parts(e, v, v->masked ? MASK_V0 : MASK_NONE);
        break;
    }
    if (v->op == IR_V_FIRST || v->op == IR_V_COUNT)
        emit_put(e, i->dst, RAX);
}

void emit_vop(struct emit *e, const struct ir_insn *i)
{
    const struct ir_vec *v = x86_vec_of(e, i);
    struct cold *c = emit_cold(e, shorter_by(e, v) == BY_EXEC ? COLD_EXEC : COLD_VEC_TAIL);
    unsigned first_rest = e->nr_cold;

    x86_vec_check_key(e, v, c);
    operate(e, i, v, v->masked ? v->mask : 0, false);
    c->done = e->a.p;
    rest_done(e, first_rest, e->a.p);
}

/* Those that are not done element by element: with a length of 0 they do nothing. */
static bool wants_an_element(unsigned op)
{
    return x86_vec_is_reduction(op) || x86_vec_is_slide(op) || x86_vec_is_float_reduction(op) || op == IR_V_FROM_SCALAR;
}

void x86_vec_length_mask(struct emit *e, unsigned bits, int32_t which)
{
    int l = bits > 128;

    x86_load(&e->a, RAX, emit_state(e->t->vl));
    x86_shift_i(&e->a, X86_SHL_N, 0, RAX, X86_VEC_LENGTH_SHIFT);
    x86_rm(&e->a, X86_LEA, 1, RCX, x86_at_rip(e->rt->k_length));
    x86_vec_load(e, l, XMM0, x86_at_index(RCX, RAX, 0, 0));
    if (which)
        x86_yrm(&e->a, VPAND, 0, l, XMM0, XMM0, emit_state(which));
    x86_vec_store(e, l, XMM0, emit_state(e->t->vmask));
    if (l)
        x86_vzeroupper(&e->a);
}

static bool counts_bits(unsigned op)
{
    return op == IR_V_FIRST || op == IR_V_COUNT || (op >= IR_V_MAND && op <= IR_V_MSOF);
}

/* As if under a mask; compressed is what both masks choose, and carries come in by v0 as it is. */
static void operate_on_bits(struct emit *e, const struct ir_insn *i, const struct ir_vec *v)
{
    bool carries = v->op >= IR_V_MADC && v->op <= IR_V_MSBCC;
    struct ir_vec s = *v;

    x86_vec_length_mask(e, counts_bits(v->op) ? v->bytes : (unsigned)v->bytes >> v->size,
                        v->op == IR_V_COMPRESS ? v->b : v->masked ? v->mask : 0);
    if (v->op == IR_V_COMPRESS) {
        s.b = e->t->vmask;
    } else if (!carries) {
        s.masked = true;
        s.mask = e->t->vmask;
    }
    operate(e, i, &s, e->t->vmask, true);
}

static void operate_on_lanes(struct emit *e, const struct ir_insn *i, const struct ir_vec *v)
{
    x86_vec_prepare(e, v, i->src[0]);
    x86_load(&e->a, RAX, emit_state(e->t->vl));
    if (v->size)
        x86_shift_i(&e->a, X86_SHL_N, 0, RAX, v->size);
    x86_rm(&e->a, X86_LEA, 1, RCX, x86_at_rip(e->rt->k_tail));
    x86_rr(&e->a, X86_SUB, 1, RCX, RAX);
    x86_vec_parts(e, v, MASK_LENGTH | (v->masked ? MASK_V0 : MASK_NONE));
}

/* Another vl, or another type after all. */
void emit_cold_vec_tail(struct emit *e, const struct cold *c)
{
    const struct ir_insn *i = &e->r->insn[c->index];
    const struct ir_vec *v = x86_vec_of(e, i);
    const uint8_t *done = c->done;
    unsigned first_rest = e->nr_cold;
    uint8_t *other[2] = {NULL};

    x86_vec_compare_byte(e, e->t->vkey + 1, v->key);
    other[0] = x86_jcc(&e->a, X86_NE);
    if (wants_an_element(v->op)) {
        x86_mi(&e->a, X86_CMP, 1, emit_state(e->t->vl), 0);
        other[1] = x86_jcc(&e->a, X86_E);
    }
    if (shorter_by(e, v) == BY_LANES)
        operate_on_lanes(e, i, v);
    else
        operate_on_bits(e, i, v);
    rest_done(e, first_rest, done);
    emit_jmp_to(e, done);
    for (unsigned n = 0; n < 2 && other[n] && !e->a.overflow; n++)
        x86_patch(other[n], e->a.p);
    emit_exec(e, i);
    emit_jmp_to(e, done);
}

/* At element 0 nothing has been done yet. */
void emit_cold_vec_rest(struct emit *e, const struct cold *c)
{
    x86_vzeroupper(&e->a);
    x86_vec_give_back(e, c->reg);
    if (c->element) {
        x86_store_imm(&e->a, 8, emit_state(e->t->vstart), c->element);
        x86_store_imm(&e->a, 2, emit_state(e->t->vkey), (int16_t)(e->t->vkey_none << 8 | e->t->vkey_none));
    }
    emit_exec(e, &e->r->insn[c->index]);
    emit_jmp_to(e, c->done);
}

/* ---- by the interpreter's function ---- */

static void put_operand(struct emit *e, int32_t word, ir_ref ref)
{
    struct x86_mem home = emit_state(word);

    if (!word || (ir_is_global(ref) && e->al->global[ref] == IR_LOC_MEMORY))
        return;
    if (ir_is_fp(e->r, ref))
        x86_rm(&e->a, X86_MOVQ_STORE, 0, emit_fin_reg(e, ref, XMM0), home);
    else
        x86_store(&e->a, home, emit_in_reg(e, ref, RAX));
}

void emit_vcall(struct emit *e, const struct ir_insn *i)
{
    const struct ir_vec *v = x86_vec_of(e, i);
    struct cold *c = emit_cold(e, COLD_EXEC);

    put_operand(e, v->a, i->src[0]);
    put_operand(e, v->b, i->src[1]);
    emit_site(e, e->dirty);
    emit_call(e, e->rt->vcall[e->fp]);
    c->from[0] = x86_jcc(&e->a, X86_E);
    c->done = e->a.p;
}

