/* Building, checking and printing regions. */
#include "ir.h"

#include <inttypes.h>
#include <string.h>

#include "sim-core/compiler.h"
#include "sim-core/log.h"

#define IR_OP(name, text, nsrc, flags) [IR_##name] = {text, nsrc, flags},
const struct ir_op_info ir_op_info[IR_NR_OPS] = {
#include "ops.def"
};
#undef IR_OP

void ir_reset(struct ir_region *r)
{
    r->nr_insns = r->nr_blocks = r->nr_exits = r->nr_origins = 0;
    r->nr_windows = r->nr_consts = r->nr_temps = r->nr_vecs = 0;
    r->nr_guards = 0;
    r->alone = r->quick = false;
    r->overflow = false;
}

ir_ref ir_const(struct ir_region *r, int64_t value)
{
    /* The last few are often wanted again (0, 1, a mask). */
    unsigned from = r->nr_consts > 8 ? r->nr_consts - 8 : 0;

    for (unsigned i = from; i < r->nr_consts; i++)
        if (r->consts[i] == value)
            return (ir_ref)(IR_CONST_BIT | i);
    if (r->nr_consts == IR_MAX_CONSTS) {
        r->overflow = true;
        return IR_CONST_BIT;
    }
    r->consts[r->nr_consts] = value;
    return (ir_ref)(IR_CONST_BIT | r->nr_consts++);
}

ir_ref ir_temp(struct ir_region *r, enum ir_type type)
{
    if (r->nr_temps == IR_MAX_TEMPS) {
        r->overflow = true;
        return IR_NR_GLOBALS;
    }
    r->temp_type[r->nr_temps] = (uint8_t)type;
    r->temp_home[r->nr_temps] = 0;
    return (ir_ref)(IR_NR_GLOBALS + r->nr_temps++);
}

ir_ref ir_pc(struct ir_region *r, ir_ref dst, int64_t offset)
{
    if (dst == IR_NONE)
        dst = ir_temp(r, IR_I64);
    bool fits = offset == (int32_t)offset;
    ir_emit(r, IR_PC, IR_I64, dst, IR_NONE, IR_NONE)->imm = fits ? (int32_t)offset : 0;
    if (!fits)
        ir_emit(r, IR_ADD, IR_I64, dst, dst, ir_const(r, offset));
    return dst;
}

struct ir_insn *ir_emit(struct ir_region *r, enum ir_op op, enum ir_type type, ir_ref dst, ir_ref a,
                        ir_ref b)
{
    if (r->nr_insns == IR_MAX_INSNS) {
        r->overflow = true;
        r->nr_insns--;
    }
    struct ir_insn *i = &r->insn[r->nr_insns++];

    *i = (struct ir_insn){.op = (uint8_t)op,
                          .type = (uint8_t)type,
                          .dst = dst,
                          .src = {a, b, IR_NONE},
                          .origin = (uint16_t)(r->nr_origins - 1)};
    return i;
}

struct ir_vec *ir_emit_vec(struct ir_region *r, enum ir_op op, enum ir_type type, ir_ref dst, ir_ref a)
{
    if (r->nr_vecs == IR_MAX_VECS) {
        r->overflow = true;
        r->nr_vecs--;
    }
    struct ir_vec *v = &r->vec[r->nr_vecs];

    ir_emit(r, op, type, dst, a, IR_NONE)->imm = r->nr_vecs++;
    *v = (struct ir_vec){0};
    return v;
}

unsigned ir_block_begin(struct ir_region *r)
{
    struct ir_block *b;

    SIM_BUG_ON(r->nr_blocks == IR_MAX_BLOCKS, "too many blocks");
    b = &r->block[r->nr_blocks];
    memset(b, 0, sizeof(*b));
    b->first = r->nr_insns;
    b->first_origin = r->nr_origins;
    b->weight = 1;
    return r->nr_blocks++;
}

void ir_block_end(struct ir_region *r)
{
    struct ir_block *b = &r->block[r->nr_blocks - 1];

    b->nr = (uint16_t)(r->nr_insns - b->first);
    b->charge = (uint16_t)(r->nr_origins - b->first_origin);
    if (!b->charge) /* goes on with the last instruction of the block before */
        b->first_origin--;
}

ir_edge ir_add_exit(struct ir_region *r, int64_t pc, bool chain)
{
    for (unsigned i = 0; i < r->nr_exits; i++)
        if (r->exit[i].pc == pc)
            return (ir_edge)~i;
    if (r->nr_exits == IR_MAX_EXITS) {
        r->overflow = true;
        return -1;
    }
    r->exit[r->nr_exits] = (struct ir_exit){pc, chain};
    return (ir_edge)~r->nr_exits++;
}

enum ir_cc ir_cc_invert(enum ir_cc cc)
{
    static const uint8_t inverse[] = {[IR_EQ] = IR_NE,   [IR_NE] = IR_EQ,   [IR_LT] = IR_GE,
                                      [IR_GE] = IR_LT,   [IR_LTU] = IR_GEU, [IR_GEU] = IR_LTU,
                                      [IR_LE] = IR_GT,   [IR_GT] = IR_LE,   [IR_LEU] = IR_GTU,
                                      [IR_GTU] = IR_LEU};
    return inverse[cc];
}

enum ir_cc ir_cc_swap(enum ir_cc cc)
{
    static const uint8_t swapped[] = {[IR_EQ] = IR_EQ,   [IR_NE] = IR_NE,   [IR_LT] = IR_GT,
                                      [IR_GE] = IR_LE,   [IR_LTU] = IR_GTU, [IR_GEU] = IR_LEU,
                                      [IR_LE] = IR_GE,   [IR_GT] = IR_LT,   [IR_LEU] = IR_GEU,
                                      [IR_GTU] = IR_LTU};
    return swapped[cc];
}

bool ir_cc_eval(enum ir_cc cc, int64_t a, int64_t b)
{
    uint64_t ua = (uint64_t)a, ub = (uint64_t)b;

    switch (cc) {
    case IR_EQ: return a == b;
    case IR_NE: return a != b;
    case IR_LT: return a < b;
    case IR_GE: return a >= b;
    case IR_LTU: return ua < ub;
    case IR_GEU: return ua >= ub;
    case IR_LE: return a <= b;
    case IR_GT: return a > b;
    case IR_LEU: return ua <= ub;
    default: return ua > ub;
    }
}

unsigned ir_mem_size(enum ir_mem m)
{
    static const uint8_t size[] = {[IR_U8] = 1,  [IR_S8] = 1,  [IR_U16] = 2,
                                   [IR_S16] = 2, [IR_U32] = 4, [IR_S32] = 4,
                                   [IR_M64] = 8, [IR_MF32] = 4, [IR_MF64] = 8};
    return size[m];
}

static const char *verify_block(const struct ir_region *r, const struct ir_block *b, uint8_t *defined)
{
    for (unsigned n = 0; n < b->nr; n++) {
        const struct ir_insn *i = &r->insn[b->first + n];
        const struct ir_op_info *info = &ir_op_info[i->op];

        if (i->op >= IR_NR_OPS)
            return "unknown operation";
        if (!(info->flags & IRF_END) != (n + 1 < b->nr))
            return "an END operation inside a block, or none at its end";
        for (unsigned s = 0; s < info->nsrc; s++) {
            if (i->src[s] == IR_NONE)
                return "missing source";
            if (ir_is_temp(i->src[s]) && !defined[i->src[s] - IR_NR_GLOBALS])
                return "temp used before its definition";
        }
        if (ir_is_const(i->dst))
            return "a constant as destination";
        if (ir_is_temp(i->dst))
            defined[i->dst - IR_NR_GLOBALS] = 1;
    }
    for (unsigned s = 0; s < b->nr_succ; s++)
        if (b->succ[s] >= (int)r->nr_blocks || (b->succ[s] < 0 && ~b->succ[s] >= (int)r->nr_exits))
            return "edge to nowhere";
    return NULL;
}

const char *ir_verify(const struct ir_region *r)
{
    for (unsigned b = 0; b < r->nr_blocks; b++) {
        uint8_t defined[IR_MAX_TEMPS] = {0};
        const char *wrong =
            r->block[b].nr ? verify_block(r, &r->block[b], defined) : "an empty block";
        if (wrong)
            return wrong;
    }
    return NULL;
}

static void print_ref(const struct ir_region *r, ir_ref ref, FILE *out)
{
    if (ir_is_const(ref))
        fprintf(out, " 0x%" PRIx64, (uint64_t)ir_const_value(r, ref));
    else if (ir_is_temp(ref))
        fprintf(out, " t%u", ref - IR_NR_GLOBALS);
    else
        fprintf(out, ref >= 32 ? " f%u" : " x%u", ref & 31u);
}

static void print_insn(const struct ir_region *r, const struct ir_insn *i, FILE *out)
{
    static const char *const type[] = {"i32", "i64", "f32", "f64"};
    static const char *const cc[] = {"eq", "ne", "lt", "ge", "ltu", "geu", "le", "gt", "leu", "gtu"};
    const struct ir_op_info *info = &ir_op_info[i->op];

    fprintf(out, "    %s.%s", info->text, type[i->type]);
    if (i->op == IR_BR || i->op == IR_SET || i->op == IR_CZERO || i->op == IR_SELECT ||
        i->op == IR_REFUND || i->op == IR_FCMP)
        fprintf(out, ".%s", cc[i->cc]);
    if (i->dst) {
        print_ref(r, i->dst, out);
        fprintf(out, " <-");
    }
    for (unsigned s = 0; s < info->nsrc; s++)
        print_ref(r, i->src[s], out);
    if (i->op == IR_PC)
        fprintf(out, " %+d", i->imm);
    else if (info->flags & IRF_MEM)
        fprintf(out, " %+d m%u", i->imm, i->aux);
    else if (i->aux)
        fprintf(out, " #%u", i->aux);
    if (i->low)
        fprintf(out, " low");
    if (i->window)
        fprintf(out, " w%u%s", i->window - 1u, i->opens ? " opens" : "");
    fprintf(out, "\n");
}

static void print_edge(const struct ir_region *r, ir_edge e, FILE *out)
{
    if (e >= 0)
        fprintf(out, " b%d", e);
    else
        fprintf(out, " %s %+" PRId64, r->exit[~e].chain ? "chain" : "exit", r->exit[~e].pc);
}

void ir_print(const struct ir_region *r, FILE *out)
{
    fprintf(out, "region +%" PRId64 ": %u blocks, %u guest instructions\n", r->entry_pc,
            r->nr_blocks, r->nr_origins);
    for (unsigned n = 0; n < r->nr_blocks; n++) {
        const struct ir_block *b = &r->block[n];

        fprintf(out, "  b%u: pc +%" PRId64 " charge %u depth %u weight %u%s ->", n,
                r->origin[b->first_origin].pc, b->charge, b->depth, b->weight,
                b->loop_head ? " loop" : "");
        for (unsigned s = 0; s < b->nr_succ; s++)
            print_edge(r, b->succ[s], out);
        fprintf(out, "\n");
        for (unsigned i = 0; i < b->nr; i++)
            print_insn(r, &r->insn[b->first + i], out);
    }
}
