/* Constants inside blocks: what is known about a register is put into its readers, and operations
 * on constants are done here. Large constants stay in the register that has them: an immediate of
 * 64 bits costs the host more than a register. Temps that copy something are read through. Sums of a
 * code address and a constant (auipc + addi) are code addresses. */
#include <string.h>

#include "ir.h"
#include "sim-core/compiler.h"

struct known {
    ir_ref what;      /* IR_NONE, a constant, or for temps the global or temp it copies */
    uint16_t version; /* of the global that was copied */
    bool is_word;     /* equals its low half sign-extended */
    bool is_pc;  /* the code base + pc */
    int32_t pc;
};

struct folder {
    struct ir_region *r;
    struct known value[IR_NR_GLOBALS + IR_MAX_TEMPS]; /* a temp's is set where it is defined */
    uint16_t version[IR_NR_GLOBALS];                  /* counts definitions in the block */
};

static bool fits_imm32(int64_t v)
{
    return v == (int32_t)v;
}

static int64_t sext32(uint64_t v)
{
    return (int32_t)(uint32_t)v;
}

static bool eval_shift(const struct ir_insn *i, uint64_t a, uint64_t b, int64_t *out)
{
    bool w = i->type == IR_I32;
    unsigned n = (unsigned)b & (w ? 31 : 63);

    switch (i->op) {
    case IR_SHL: *out = w ? sext32((uint32_t)a << n) : (int64_t)(a << n); return true;
    case IR_SHR: *out = w ? sext32((uint32_t)a >> n) : (int64_t)(a >> n); return true;
    case IR_SAR: *out = w ? (int32_t)a >> n : (int64_t)a >> n; return true;
    default: return false;
    }
}

/* Evaluates an operation on constants; false: leave it to the host. */
static bool eval(const struct ir_insn *i, int64_t a, int64_t b, int64_t *out)
{
    uint64_t ua = (uint64_t)a, ub = (uint64_t)b, v;

    switch (i->op) {
    case IR_MOV: v = ua; break;
    case IR_ADD: v = ua + ub; break;
    case IR_SUB: v = ua - ub; break;
    case IR_AND: v = ua & ub; break;
    case IR_OR: v = ua | ub; break;
    case IR_XOR: v = ua ^ ub; break;
    case IR_MUL: v = ua * ub; break;
    case IR_SHADD: v = (ua << i->aux) + ub; break;
    case IR_SHADD_UW: v = ((ua & UINT32_MAX) << i->aux) + ub; break;
    case IR_SEXT32: v = (uint64_t)sext32(ua); break;
    case IR_ZEXT32: v = ua & UINT32_MAX; break;
    case IR_ZEXT16: v = ua & UINT16_MAX; break;
    case IR_SEXT8: v = (uint64_t)(int64_t)(int8_t)ua; break;
    case IR_SEXT16: v = (uint64_t)(int64_t)(int16_t)ua; break;
    case IR_SET: v = ir_cc_eval((enum ir_cc)i->cc, a, b); break;
    default: return eval_shift(i, ua, ub, out);
    }
    *out = i->type == IR_I32 ? sext32(v) : (int64_t)v;
    return true;
}

static void become_move(struct ir_insn *i, ir_ref from)
{
    i->op = IR_MOV;
    i->type = IR_I64;
    i->cc = i->aux = 0;
    i->src[0] = from;
    i->src[1] = i->src[2] = IR_NONE;
}

/* x op 0 and the like. I32 results are sign-extended, so they are no plain moves. */
static void simplify(struct folder *f, struct ir_insn *i)
{
    struct ir_region *r = f->r;

    if ((ir_op_info[i->op].flags & IRF_COMM) && ir_is_const(i->src[0]) && !ir_is_const(i->src[1])) {
        ir_ref t = i->src[0];
        i->src[0] = i->src[1];
        i->src[1] = t;
    }
    bool zero = ir_op_info[i->op].nsrc == 2 && ir_is_zero(r, i->src[1]);
    switch (i->op) {
    case IR_ADD: case IR_SUB: case IR_OR: case IR_XOR: case IR_SHL: case IR_SHR: case IR_SAR:
        if (zero && i->type == IR_I64)
            become_move(i, i->src[0]);
        else if (zero && i->op == IR_ADD) {
            i->op = IR_SEXT32;
            i->type = IR_I64;
            i->src[1] = IR_NONE;
        }
        break;
    case IR_AND:
        if (zero)
            become_move(i, i->src[1]);
        break;
    default:
        break;
    }
    if ((i->op == IR_SUB || i->op == IR_XOR) && i->src[0] == i->src[1] && !ir_is_const(i->src[0]))
        become_move(i, ir_const(r, 0));
}

static void read_known(struct folder *f, struct ir_insn *i)
{
    for (unsigned s = 0; s < ir_op_info[i->op].nsrc; s++) {
        ir_ref ref = i->src[s];
        if (ir_is_const(ref) || ref == IR_NONE)
            continue;
        ir_ref k = f->value[ref].what;
        if (k == IR_NONE || (ir_is_global(k) && f->value[ref].version != f->version[k]))
            continue;
        if (!ir_is_const(k) || fits_imm32(ir_const_value(f->r, k)))
            i->src[s] = k;
    }
}

/* The value of a source as a constant, large ones too. */
static bool const_of(const struct folder *f, ir_ref ref, int64_t *v)
{
    if (ref == IR_NONE) {
        *v = 0;
        return true;
    }
    if (!ir_is_const(ref))
        ref = f->value[ref].what;
    if (!ir_is_const(ref))
        return false;
    *v = ir_const_value(f->r, ref);
    return true;
}

/* A code address plus a constant. */
static void fold_pc(struct folder *f, struct ir_insn *i)
{
    const struct known *k = &f->value[i->src[0] & ~IR_CONST_BIT];
    int64_t b;

    if (i->op != IR_ADD || i->type != IR_I64 || ir_is_const(i->src[0]) || !k->is_pc ||
        !const_of(f, i->src[1], &b) || k->pc + b != (int32_t)(k->pc + b))
        return;
    i->op = IR_PC;
    i->imm = (int32_t)(k->pc + b);
    i->src[0] = i->src[1] = IR_NONE;
}

static bool is_word(const struct folder *f, ir_ref ref)
{
    if (ir_is_const(ref))
        return ir_const_value(f->r, ref) == (int32_t)ir_const_value(f->r, ref);
    return ref != IR_NONE && f->value[ref].is_word;
}

/* Is the result its low half sign-extended? */
static bool makes_word(const struct folder *f, const struct ir_insn *i)
{
    switch (i->op) {
    case IR_SEXT8: case IR_SEXT16: case IR_SEXT32: case IR_ZEXT16: case IR_SET: return true;
    case IR_LOAD: return i->aux != IR_U32 && i->aux != IR_M64 && !ir_is_fp(f->r, i->dst);
    case IR_MOV: return is_word(f, i->src[0]);
    case IR_SELECT: return is_word(f, i->src[1]) && is_word(f, i->src[2]);
    case IR_AND: case IR_OR: case IR_XOR: case IR_ANDN: case IR_ORN: case IR_XNOR:
        return is_word(f, i->src[0]) && is_word(f, i->src[1]);
    default:
        return i->type == IR_I32 &&
               ((i->op >= IR_ADD && i->op <= IR_ROR) || (i->op >= IR_MUL && i->op <= IR_REMU));
    }
}

static void learn(struct folder *f, const struct ir_insn *i)
{
    struct known k = {.is_word = makes_word(f, i)};

    if (i->op == IR_PC) {
        k.is_pc = true;
        k.pc = i->imm;
    }
    if (i->op == IR_MOV &&
        (ir_is_const(i->src[0]) || (ir_is_temp(i->dst) && i->src[0] != i->dst))) {
        k.what = i->src[0];
        k.version = ir_is_global(k.what) ? f->version[k.what] : 0;
    }
    f->value[i->dst] = k;
    if (ir_is_global(i->dst))
        f->version[i->dst]++;
}

static void fold_insn(struct folder *f, struct ir_insn *i)
{
    const struct ir_op_info *info = &ir_op_info[i->op];
    int64_t a, b, v;

    read_known(f, i);
    if (i->dst != IR_NONE && !(info->flags & (IRF_KEEP | IRF_FP)) && !ir_is_fp(f->r, i->dst) &&
        info->nsrc <= 2 && const_of(f, i->src[0], &a) && const_of(f, i->src[1], &b) &&
        eval(i, a, b, &v))
        become_move(i, ir_const(f->r, v));
    else
        simplify(f, i);
    fold_pc(f, i);
    if (i->op == IR_SEXT32 && is_word(f, i->src[0]))
        become_move(i, i->src[0]);
    if (i->dst != IR_NONE)
        learn(f, i);
}

void ir_pass_fold(struct ir_region *r)
{
    struct folder f;

    f.r = r;
    for (unsigned n = 0; n < r->nr_blocks; n++) {
        memset(f.value, 0, sizeof(f.value[0]) * IR_NR_GLOBALS);
        memset(f.version, 0, sizeof f.version);
        for (unsigned k = 0; k < r->block[n].nr; k++)
            fold_insn(&f, &r->insn[r->block[n].first + k]);
    }
}
