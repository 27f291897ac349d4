/* Integer operations. Each handles any mix of registers, memory and constants, and any aliasing of
 * destination and sources: the allocator promises nothing there. */
#include "x86_priv.h"

static int width(const struct ir_insn *i)
{
    return i->type != IR_I32;
}

/* srliw by 1 or more: the upper half is right already */
static bool is_positive(const struct emit *e, const struct ir_insn *i)
{
    return i->op == IR_SHR && ir_is_const(i->src[1]) && (ir_const_value(e->r, i->src[1]) & 31);
}

/* Ends an operation: a 32-bit result is sign-extended if anybody can tell, then put where it belongs. */
static void finish(struct emit *e, const struct ir_insn *i, unsigned reg)
{
    if (i->type == IR_I32 && !i->low && !is_positive(e, i))
        x86_rr(&e->a, X86_MOVSXD, 1, reg, reg);
    emit_put(e, i->dst, reg);
}

/* The operation before set the zero flag by its result, all moves of that included. */
static void flags_tell(struct emit *e, const struct ir_insn *i)
{
    e->zero_ref = i->dst;
    e->zero_at = e->a.p;
}

void emit_mov(struct emit *e, const struct ir_insn *i)
{
    struct opnd s = emit_opnd(e, i->src[0]);

    if (i->dst == IR_NONE)
        return;
    struct opnd d = emit_opnd(e, i->dst);
    if (d.place == IN_MEM && s.place == IN_CONST && s.value == (int32_t)s.value) {
        x86_store_imm(&e->a, 8, d.mem, (int32_t)s.value);
        return;
    }
    if (s.place == IN_REG) {
        emit_put(e, i->dst, s.reg);
        return;
    }
    unsigned reg = emit_dst(e, i->dst, RAX);
    emit_move_to(e, reg, i->src[0]);
    emit_put(e, i->dst, reg);
}

void emit_pc(struct emit *e, const struct ir_insn *i)
{
    unsigned d = emit_dst(e, i->dst, RAX);

    if (i->dst == IR_NONE)
        return;
    x86_load(&e->a, d, emit_state(e->t->code_base));
    if (i->imm)
        x86_ri(&e->a, X86_ADD, 1, d, i->imm);
    emit_put(e, i->dst, d);
}

/* lea for additions into a third register */
static bool add_by_lea(struct emit *e, const struct ir_insn *i, unsigned d)
{
    struct opnd a = emit_opnd(e, i->src[0]), b = emit_opnd(e, i->src[1]);

    if (a.place != IN_REG || a.reg == d)
        return false;
    if (b.place == IN_CONST && b.value == (int32_t)b.value)
        x86_rm(&e->a, X86_LEA, width(i), d, x86_at(a.reg, (int32_t)b.value));
    else if (b.place == IN_REG && b.reg != d)
        x86_rm(&e->a, X86_LEA, width(i), d, x86_at_index(a.reg, b.reg, 0, 0));
    else
        return false;
    return true;
}

static uint32_t alu_opcode(unsigned op)
{
    switch (op) {
    case IR_ADD: return X86_ADD;
    case IR_SUB: return X86_SUB;
    case IR_AND: return X86_AND;
    case IR_OR: return X86_OR;
    default: return X86_XOR;
    }
}

/* and reg, 0xffffffff-like masks have short forms */
static bool and_by_zero_extend(struct emit *e, const struct ir_insn *i, unsigned d)
{
    struct opnd a = emit_opnd(e, i->src[0]), b = emit_opnd(e, i->src[1]);

    if (i->op != IR_AND || i->type != IR_I64 || b.place != IN_CONST || a.place != IN_REG)
        return false;
    if (b.value == 0xff)
        x86_rr8(&e->a, X86_MOVZX8, d, a.reg);
    else if (b.value == 0xffff)
        x86_rr(&e->a, X86_MOVZX16, 0, d, a.reg);
    else if (b.value == 0xffffffff)
        x86_mov32(&e->a, d, a.reg);
    else
        return false;
    return true;
}

/* dst = a - b where dst is b's register */
static void reverse_sub(struct emit *e, const struct ir_insn *i, unsigned d)
{
    x86_r_n(&e->a, X86_OP(0, 0, 0xf7), width(i), 3, d); /* neg */
    if (!ir_is_zero(e->r, i->src[0]))
        emit_op_src(e, X86_ADD, width(i), d, i->src[0]);
}

static bool same_memory(struct opnd a, struct opnd b)
{
    return a.place == IN_MEM && b.place == IN_MEM && a.mem.base == b.mem.base &&
           a.mem.disp == b.mem.disp;
}

/* place op= value, the place in memory: a global, or a spilled temp that took over a source's slot. All 64
 * bits are written, those nobody looks at too: a later load of 64 bits could not be forwarded from a
 * store of 32. */
static bool alu_in_memory(struct emit *e, const struct ir_insn *i)
{
    struct opnd d = emit_opnd(e, i->dst), a = emit_opnd(e, i->src[0]), b = emit_opnd(e, i->src[1]);

    if ((i->type == IR_I32 && !i->low) || !same_memory(d, a) || b.place == IN_MEM)
        return false;
    if (b.place == IN_REG)
        x86_rm(&e->a, alu_opcode(i->op) - 2, 1, b.reg, d.mem); /* op rm, reg */
    else if (b.value == (int32_t)b.value)
        x86_mi(&e->a, alu_opcode(i->op), 1, d.mem, (int32_t)b.value);
    else
        return false;
    return true;
}

void emit_alu(struct emit *e, const struct ir_insn *i)
{
    unsigned d = emit_dst(e, i->dst, RAX);
    struct opnd b = emit_opnd(e, i->src[1]);
    ir_ref first = i->src[0], second = i->src[1];

    if (i->dst != IR_NONE && alu_in_memory(e, i)) {
        flags_tell(e, i);
        return;
    }
    if ((i->op == IR_ADD && add_by_lea(e, i, d)) || and_by_zero_extend(e, i, d)) {
        finish(e, i, d);
        return;
    }
    if (opnd_is_reg(b, d) && !opnd_is_reg(emit_opnd(e, first), d)) {
        if (i->op == IR_SUB) {
            reverse_sub(e, i, d);
            finish(e, i, d);
            return;
        }
        first = i->src[1];
        second = i->src[0];
    }
    emit_move_to(e, d, first);
    if (i->op == IR_ADD && ir_is_const(second) && ir_const_value(e->r, second) == 128)
        x86_ri(&e->a, X86_SUB, width(i), d, -128); /* short form */
    else
        emit_op_src(e, alu_opcode(i->op), width(i), d, second);
    finish(e, i, d);
    flags_tell(e, i);
}

/* a & ~b, a | ~b, ~(a ^ b) */
void emit_notalu(struct emit *e, const struct ir_insn *i)
{
    unsigned d = emit_dst(e, i->dst, RAX);

    if (i->op == IR_XNOR) {
        emit_move_to(e, RAX, i->src[0]);
        emit_op_src(e, X86_XOR, 1, RAX, i->src[1]);
        x86_r_n(&e->a, X86_OP(0, 0, 0xf7), 1, 2, RAX); /* not */
        emit_put(e, i->dst, RAX);
        return;
    }
    if (i->op == IR_ANDN && emit_has(e, X86_HAS_BMI1) && !ir_is_const(i->src[1])) {
        unsigned b = emit_in_reg(e, i->src[1], RAX), a = emit_in_reg(e, i->src[0], RCX);
        x86_vrr(&e->a, X86_ANDN_V, 1, d, b, a);
        emit_put(e, i->dst, d);
        return;
    }
    emit_move_to(e, RAX, i->src[1]);
    x86_r_n(&e->a, X86_OP(0, 0, 0xf7), 1, 2, RAX);
    emit_op_src(e, i->op == IR_ANDN ? X86_AND : X86_OR, 1, RAX, i->src[0]);
    emit_put(e, i->dst, RAX);
}

static unsigned shift_group(unsigned op)
{
    switch (op) {
    case IR_SHL: return X86_SHL_N;
    case IR_SHR: return X86_SHR_N;
    case IR_SAR: return X86_SAR_N;
    case IR_ROL: return X86_ROL_N;
    default: return X86_ROR_N;
    }
}

static void shift_by_const(struct emit *e, const struct ir_insn *i, unsigned d, int64_t count)
{
    int w = width(i);
    unsigned n = (unsigned)count & (w ? 63 : 31);
    struct opnd a = emit_opnd(e, i->src[0]);

    if ((i->op == IR_ROR || i->op == IR_ROL) && emit_has(e, X86_HAS_BMI2) && a.place == IN_REG &&
        a.reg != d) {
        x86_rorx(&e->a, w, d, a.reg, i->op == IR_ROR ? n : (w ? 64 - n : 32 - n) & (w ? 63 : 31));
    } else if (i->op == IR_SHL && n == 1 && a.place == IN_REG && a.reg != d) {
        x86_rm(&e->a, X86_LEA, w, d, x86_at_index(a.reg, a.reg, 0, 0));
    } else {
        emit_move_to(e, d, i->src[0]);
        if (n)
            x86_shift_i(&e->a, shift_group(i->op), w, d, n);
    }
    finish(e, i, d);
}

void emit_shift(struct emit *e, const struct ir_insn *i)
{
    unsigned d = emit_dst(e, i->dst, RAX);
    bool rotate = i->op == IR_ROL || i->op == IR_ROR;

    if (ir_is_const(i->src[1])) {
        shift_by_const(e, i, d, ir_const_value(e->r, i->src[1]));
        return;
    }
    if (!rotate && emit_has(e, X86_HAS_BMI2)) {
        uint32_t op = i->op == IR_SHL ? X86_SHLX : i->op == IR_SHR ? X86_SHRX : X86_SARX;
        unsigned count = emit_in_reg(e, i->src[1], RCX), a = emit_in_reg(e, i->src[0], RAX);
        x86_vrr(&e->a, op, width(i), d, count, a);
        finish(e, i, d);
        return;
    }
    emit_move_to(e, RCX, i->src[1]);
    emit_move_to(e, RAX, i->src[0]);
    x86_shift_cl(&e->a, shift_group(i->op), width(i), RAX);
    finish(e, i, RAX);
}

void emit_shadd(struct emit *e, const struct ir_insn *i)
{
    unsigned d = emit_dst(e, i->dst, RAX), a;

    if (i->op == IR_SHADD_UW) {
        a = RAX;
        struct opnd s = emit_opnd(e, i->src[0]);
        if (s.place == IN_REG)
            x86_mov32(&e->a, RAX, s.reg);
        else if (s.place == IN_MEM)
            x86_rm(&e->a, X86_MOV_LOAD, 0, RAX, s.mem);
        else
            x86_mov_imm(&e->a, RAX, (int64_t)(uint32_t)s.value);
    } else {
        a = emit_in_reg(e, i->src[0], RAX);
    }
    if (ir_is_zero(e->r, i->src[1])) {
        x86_mov(&e->a, d, a);
        if (i->aux)
            x86_shift_i(&e->a, X86_SHL_N, 1, d, i->aux);
    } else {
        unsigned b = emit_in_reg(e, i->src[1], RCX);
        x86_rm(&e->a, X86_LEA, 1, d, x86_at_index(b, a, i->aux, 0));
    }
    emit_put(e, i->dst, d);
}

void emit_extend(struct emit *e, const struct ir_insn *i)
{
    static const struct {
        uint32_t op;
        int w;
    } how[] = {
        [IR_SEXT8] = {X86_MOVSX8, 1},   [IR_SEXT16] = {X86_MOVSX16, 1},
        [IR_SEXT32] = {X86_MOVSXD, 1},  [IR_ZEXT16] = {X86_MOVZX16, 0},
        [IR_ZEXT32] = {X86_MOV_LOAD, 0},
    };
    unsigned d = emit_dst(e, i->dst, RAX);
    struct opnd s = emit_opnd(e, i->src[0]);

    if (s.place == IN_MEM) {
        x86_rm(&e->a, how[i->op].op, how[i->op].w, d, s.mem);
    } else {
        unsigned a = emit_in_reg(e, i->src[0], RCX);
        if (i->op == IR_SEXT8)
            x86_rr(&e->a, X86_MOVSX8, 1, d, a); /* W set: REX is there */
        else
            x86_rr(&e->a, how[i->op].op, how[i->op].w, d, a);
    }
    emit_put(e, i->dst, d);
}

static enum x86_cond host_cond(enum ir_cc cc)
{
    static const uint8_t cond[] = {[IR_EQ] = X86_E,   [IR_NE] = X86_NE,  [IR_LT] = X86_L,
                                   [IR_GE] = X86_GE,  [IR_LTU] = X86_B,  [IR_GEU] = X86_AE,
                                   [IR_LE] = X86_LE,  [IR_GT] = X86_G,   [IR_LEU] = X86_BE,
                                   [IR_GTU] = X86_A};
    return cond[cc];
}

enum x86_cond emit_compare(struct emit *e, int w, enum ir_cc cc, ir_ref a, ir_ref b)
{
    if (ir_is_const(a) && !ir_is_const(b)) {
        ir_ref t = a;
        a = b;
        b = t;
        cc = ir_cc_swap(cc);
    }
    struct opnd oa = emit_opnd(e, a), ob = emit_opnd(e, b);

    if ((cc == IR_EQ || cc == IR_NE) && ir_is_zero(e->r, b) && a == e->zero_ref &&
        e->a.p == e->zero_at)
        return host_cond(cc);
    if (oa.place == IN_MEM && ob.place == IN_CONST && ob.value == (int32_t)ob.value) {
        x86_mi(&e->a, X86_CMP, w, oa.mem, (int32_t)ob.value);
    } else if (oa.place == IN_MEM && ob.place == IN_REG) {
        x86_rm(&e->a, X86_CMP - 2, w, ob.reg, oa.mem);
    } else {
        unsigned reg = emit_in_reg(e, a, RAX);
        if (ir_is_zero(e->r, b))
            x86_rr(&e->a, X86_TEST, w, reg, reg);
        else
            emit_op_src(e, X86_CMP, w, reg, b);
    }
    return host_cond(cc);
}

void emit_set(struct emit *e, const struct ir_insn *i)
{
    unsigned d = emit_dst(e, i->dst, RAX);
    struct opnd a = emit_opnd(e, i->src[0]), b = emit_opnd(e, i->src[1]);
    bool fresh = d != RAX && !opnd_is_reg(a, d) && !opnd_is_reg(b, d);

    if (fresh)
        x86_rr(&e->a, X86_XOR, 0, d, d);
    enum x86_cond cond = emit_compare(e, width(i), (enum ir_cc)i->cc, i->src[0], i->src[1]);
    if (fresh) {
        x86_setcc(&e->a, cond, d);
    } else {
        x86_setcc(&e->a, cond, RAX);
        x86_rr8(&e->a, X86_MOVZX8, d, RAX);
    }
    emit_put(e, i->dst, d);
}

/* dst = (b cc 0) ? 0 : a */
void emit_czero(struct emit *e, const struct ir_insn *i)
{
    x86_rr(&e->a, X86_XOR, 0, RCX, RCX);
    struct opnd b = emit_opnd(e, i->src[1]);
    unsigned d = emit_dst(e, i->dst, RAX);

    if (opnd_is_reg(b, d))
        d = RAX;
    emit_move_to(e, d, i->src[0]);
    if (b.place == IN_MEM) {
        x86_mi(&e->a, X86_CMP, 1, b.mem, 0);
    } else if (b.place == IN_REG) {
        x86_rr(&e->a, X86_TEST, 1, b.reg, b.reg);
    } else {
        if (ir_cc_eval((enum ir_cc)i->cc, b.value, 0))
            x86_mov(&e->a, d, RCX);
        emit_put(e, i->dst, d);
        return;
    }
    x86_rr(&e->a, X86_CMOVCC + host_cond((enum ir_cc)i->cc), 1, d, RCX);
    emit_put(e, i->dst, d);
}

/* cmovcc reg, <ref>; only movs between the compare and this. */
static void move_if(struct emit *e, enum x86_cond cond, unsigned reg, ir_ref ref)
{
    struct opnd o = emit_opnd(e, ref);

    if (o.place == IN_MEM) {
        x86_rm(&e->a, X86_CMOVCC + cond, 1, reg, o.mem);
    } else {
        unsigned from = emit_in_reg(e, ref, RCX);
        if (from != reg)
            x86_rr(&e->a, X86_CMOVCC + cond, 1, reg, from);
    }
}

/* The zero flag tells whether ref is 0. */
static void compare_with_zero(struct emit *e, ir_ref ref)
{
    struct opnd o = emit_opnd(e, ref);

    if (ref == e->zero_ref && e->a.p == e->zero_at)
        return;
    if (o.place == IN_MEM)
        x86_mi(&e->a, X86_CMP, 1, o.mem, 0);
    else
        x86_rr(&e->a, X86_TEST, 1, o.reg, o.reg);
}

/* dst = a cc 0 ? b : c. What is in the destination already is the value to be replaced. */
void emit_select(struct emit *e, const struct ir_insn *i)
{
    unsigned d = emit_dst(e, i->dst, RAX);
    ir_ref yes = i->src[1], no = i->src[2];
    enum ir_cc cc = (enum ir_cc)i->cc;
    enum x86_cond cond = host_cond(cc);

    if (ir_is_const(i->src[0])) {
        emit_move_to(e, d, ir_cc_eval(cc, ir_const_value(e->r, i->src[0]), 0) ? yes : no);
        emit_put(e, i->dst, d);
        return;
    }
    compare_with_zero(e, i->src[0]);
    if (opnd_is_reg(emit_opnd(e, yes), d)) {
        yes = i->src[2];
        no = i->src[1];
        cond = host_cond(ir_cc_invert(cc));
    }
    emit_move_to(e, d, no);
    move_if(e, cond, d, yes);
    emit_put(e, i->dst, d);
}

void emit_refund(struct emit *e, const struct ir_insn *i)
{
    enum ir_cc cc = (enum ir_cc)i->cc;

    if (ir_is_const(i->src[0])) {
        if (ir_cc_eval(cc, ir_const_value(e->r, i->src[0]), 0))
            x86_ri(&e->a, X86_ADD, 1, R_BUDGET, i->imm);
        return;
    }
    compare_with_zero(e, i->src[0]);
    x86_rm(&e->a, X86_LEA, 1, RCX, x86_at(R_BUDGET, i->imm));
    x86_rr(&e->a, X86_CMOVCC + host_cond(cc), 1, R_BUDGET, RCX);
}

void emit_minmax(struct emit *e, const struct ir_insn *i)
{
    static const uint8_t take_b[] = {[IR_MIN] = X86_G, [IR_MAX] = X86_L, [IR_MINU] = X86_A,
                                     [IR_MAXU] = X86_B};

    emit_move_to(e, RAX, i->src[0]);
    unsigned b = emit_in_reg(e, i->src[1], RCX);
    x86_rr(&e->a, X86_CMP, 1, RAX, b);
    x86_rr(&e->a, X86_CMOVCC + take_b[i->op], 1, RAX, b);
    emit_put(e, i->dst, RAX);
}

void emit_mul(struct emit *e, const struct ir_insn *i)
{
    unsigned d = emit_dst(e, i->dst, RAX);
    struct opnd a = emit_opnd(e, i->src[0]), b = emit_opnd(e, i->src[1]);
    ir_ref first = i->src[0], second = i->src[1];

    if (b.place == IN_CONST && b.value == (int32_t)b.value) {
        unsigned reg = emit_in_reg(e, first, RAX);
        x86_imul_rri(&e->a, width(i), d, reg, (int32_t)b.value);
        finish(e, i, d);
        return;
    }
    if (opnd_is_reg(b, d) && !opnd_is_reg(a, d)) {
        first = i->src[1];
        second = i->src[0];
    }
    emit_move_to(e, d, first);
    emit_op_src(e, X86_IMUL, width(i), d, second);
    finish(e, i, d);
}

/* The register rdx is the allocator's; operations that clobber it keep its value in the frame. */
static void save_rdx(struct emit *e)
{
    x86_store(&e->a, x86_at(RSP, FRAME_SAVE), RDX);
}

static void restore_rdx(struct emit *e, ir_ref dst)
{
    if (!opnd_is_reg(emit_opnd(e, dst), RDX))
        x86_load(&e->a, RDX, x86_at(RSP, FRAME_SAVE));
}

void emit_mulh(struct emit *e, const struct ir_insn *i)
{
    bool is_signed = i->op == IR_MULH;

    emit_move_to(e, RCX, i->src[1]);
    emit_move_to(e, RAX, i->src[0]);
    save_rdx(e);
    x86_r_n(&e->a, X86_OP(0, 0, 0xf7), 1, is_signed ? 5 : 4, RCX); /* imul/mul rcx */
    x86_mov(&e->a, RAX, RDX);
    if (i->op == IR_MULHSU) {
        /* unsigned product minus b where a is negative */
        struct opnd a = emit_opnd(e, i->src[0]);
        if (opnd_is_reg(a, RDX))
            x86_load(&e->a, RDX, x86_at(RSP, FRAME_SAVE));
        else
            emit_move_to(e, RDX, i->src[0]);
        x86_shift_i(&e->a, X86_SAR_N, 1, RDX, 63);
        x86_rr(&e->a, X86_AND, 1, RDX, RCX);
        x86_rr(&e->a, X86_SUB, 1, RAX, RDX);
    }
    emit_put(e, i->dst, RAX);
    restore_rdx(e, i->dst);
}

/* Short forward jumps inside one operation. */
static uint8_t *jcc8(struct emit *e, enum x86_cond cc)
{
    x86_byte(&e->a, (uint8_t)(0x70 | cc));
    x86_byte(&e->a, 0);
    return e->a.p;
}
static uint8_t *jmp8(struct emit *e)
{
    x86_byte(&e->a, 0xeb);
    x86_byte(&e->a, 0);
    return e->a.p;
}
static void land8(struct emit *e, uint8_t *after)
{
    if (!e->a.overflow)
        after[-1] = (uint8_t)(e->a.p - after);
}

/* rax op rcx: results of the cases the host traps on, then the division. */
void emit_div(struct emit *e, const struct ir_insn *i)
{
    bool is_signed = i->op == IR_DIV || i->op == IR_REM;
    bool rem = i->op == IR_REM || i->op == IR_REMU;
    int w = width(i);
    struct opnd b = emit_opnd(e, i->src[1]);
    bool safe = b.place == IN_CONST && (int32_t)b.value != 0 && (int32_t)b.value != -1;
    uint8_t *zero = NULL, *minus = NULL, *done1 = NULL, *done2 = NULL;

    emit_move_to(e, RCX, i->src[1]);
    emit_move_to(e, RAX, i->src[0]);
    save_rdx(e);
    if (!safe) {
        x86_rr(&e->a, X86_TEST, w, RCX, RCX);
        zero = jcc8(e, X86_E);
        if (is_signed) {
            x86_ri(&e->a, X86_CMP, w, RCX, -1);
            minus = jcc8(e, X86_E);
        }
    }
    if (is_signed)
        x86_sign_to_rdx(&e->a, w);
    else
        x86_rr(&e->a, X86_XOR, 0, RDX, RDX);
    x86_r_n(&e->a, X86_OP(0, 0, 0xf7), w, is_signed ? 7 : 6, RCX);
    if (rem)
        x86_mov(&e->a, RAX, RDX);
    if (!safe) {
        done1 = jmp8(e);
        land8(e, zero); /* quotient: all ones; remainder: the dividend, already in rax */
        if (!rem)
            x86_mov_imm(&e->a, RAX, -1);
        if (is_signed) {
            done2 = jmp8(e);
            land8(e, minus); /* quotient: -a (wraps); remainder: 0 */
            if (rem)
                x86_rr(&e->a, X86_XOR, 0, RAX, RAX);
            else
                x86_r_n(&e->a, X86_OP(0, 0, 0xf7), w, 3, RAX);
            land8(e, done2);
        }
        land8(e, done1);
    }
    finish(e, i, RAX);
    restore_rdx(e, i->dst);
}

/* clz, ctz, popcnt; the host has the instructions (ir_host_has) */
void emit_count(struct emit *e, const struct ir_insn *i)
{
    uint32_t op = i->op == IR_CLZ ? X86_LZCNT : i->op == IR_CTZ ? X86_TZCNT : X86_POPCNT;
    unsigned d = emit_dst(e, i->dst, RAX);
    unsigned a = emit_in_reg(e, i->src[0], RCX);

    /* Older hosts wait for the old value of the destination. */
    if (d != a)
        x86_rr(&e->a, X86_XOR, 0, d, d);
    x86_rr(&e->a, op, width(i), d, a);
    emit_put(e, i->dst, d);
}

void emit_bswap(struct emit *e, const struct ir_insn *i)
{
    unsigned d = emit_dst(e, i->dst, RAX);

    emit_move_to(e, d, i->src[0]);
    x86_bswap(&e->a, 1, d);
    emit_put(e, i->dst, d);
}

void emit_orcb(struct emit *e, const struct ir_insn *i)
{
    unsigned a = emit_in_reg(e, i->src[0], RAX), d = emit_dst(e, i->dst, RAX);

    x86_rr(&e->a, X86_MOVD_TO_X, 1, XMM0, a);
    x86_rr(&e->a, X86_OP(0x66, 1, 0xef), 0, XMM1, XMM1); /* pxor */
    x86_rr(&e->a, X86_OP(0x66, 1, 0x74), 0, XMM0, XMM1); /* pcmpeqb */
    x86_rr(&e->a, X86_MOVD_FROM_X, 1, XMM0, d);
    x86_r_n(&e->a, X86_OP(0, 0, 0xf7), 1, 2, d); /* not */
    emit_put(e, i->dst, d);
}

static void bit_by_const(struct emit *e, const struct ir_insn *i, unsigned bit)
{
    static const uint8_t n[] = {[IR_BSET] = 5, [IR_BCLR] = 6, [IR_BINV] = 7};
    unsigned d = emit_dst(e, i->dst, RAX);

    emit_move_to(e, d, i->src[0]);
    if (i->op == IR_BEXT) {
        if (bit)
            x86_shift_i(&e->a, X86_SHR_N, 1, d, bit);
        x86_ri(&e->a, X86_AND, 0, d, 1);
    } else {
        x86_bt_i(&e->a, n[i->op], 1, d, bit);
    }
    emit_put(e, i->dst, d);
}

void emit_bit(struct emit *e, const struct ir_insn *i)
{
    static const uint32_t ops[] = {[IR_BSET] = X86_BTS, [IR_BCLR] = X86_BTR, [IR_BINV] = X86_BTC,
                                   [IR_BEXT] = X86_BT};

    if (ir_is_const(i->src[1])) {
        bit_by_const(e, i, (unsigned)ir_const_value(e->r, i->src[1]) & 63);
        return;
    }
    unsigned bit = emit_in_reg(e, i->src[1], RCX);
    emit_move_to(e, RAX, i->src[0]);
    x86_rr(&e->a, ops[i->op], 1, bit, RAX);
    if (i->op == IR_BEXT) {
        x86_setcc(&e->a, X86_B, RAX);
        x86_rr8(&e->a, X86_MOVZX8, RAX, RAX);
    }
    emit_put(e, i->dst, RAX);
}
