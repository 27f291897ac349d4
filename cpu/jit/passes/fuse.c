/* Compare + branch: a branch on a SET of the same block tests the SET's operands itself. */
#include "ir.h"

/* The last definition of `ref` before insn `end` of the block, or NULL. */
static const struct ir_insn *last_def(const struct ir_region *r, const struct ir_block *b,
                                      unsigned end, ir_ref ref)
{
    for (int k = (int)end - 1; k >= 0; k--)
        if (r->insn[b->first + k].dst == ref)
            return &r->insn[b->first + k];
    return NULL;
}

static bool unchanged_since(const struct ir_region *r, const struct ir_insn *from,
                            const struct ir_insn *to, ir_ref ref)
{
    if (!ir_is_global(ref))
        return true;
    for (const struct ir_insn *i = from; i < to; i++)
        if (i->dst == ref)
            return false;
    (void)r;
    return true;
}

void ir_pass_fuse(struct ir_region *r)
{
    for (unsigned n = 0; n < r->nr_blocks; n++) {
        const struct ir_block *b = &r->block[n];
        struct ir_insn *br = &r->insn[b->first + b->nr - 1u];

        if (br->op != IR_BR || (br->cc != IR_NE && br->cc != IR_EQ) ||
            !ir_is_zero(r, br->src[1]) || ir_is_const(br->src[0]))
            continue;
        const struct ir_insn *set = last_def(r, b, b->nr - 1u, br->src[0]);
        if (!set || set->op != IR_SET || !unchanged_since(r, set, br, set->src[0]) ||
            !unchanged_since(r, set, br, set->src[1]))
            continue;
        br->cc = (uint8_t)(br->cc == IR_NE ? set->cc : ir_cc_invert(set->cc));
        br->src[0] = set->src[0];
        br->src[1] = set->src[1];
    }
}
