/* Which globals are newer in host registers than in the guest state (dirty), and which host
 * registers must hold their global (live). Precise state rests on these two:
 *
 *   dirty (forward, may): written on some path from the entry. Every observation point (SITE,
 *     budget check, exit) writes the dirty ones to the guest state.
 *   live (backward, may): read on some path, or dirty at an observation point. What is live at the
 *     entry is loaded there; so a register that is dirty on one path only holds the right value on
 *     the others too. */
#include "ir.h"

/* Does control leave the region at the end of the block? Then everything dirty is stored. */
static bool leaves(const struct ir_region *r, const struct ir_block *b)
{
    const struct ir_insn *end = &r->insn[b->first + b->nr - 1u];

    for (unsigned s = 0; s < b->nr_succ; s++)
        if (b->succ[s] < 0)
            return true;
    return end->op == IR_JMP_IND || end->op == IR_EXEC_END;
}

static uint64_t block_defs(const struct ir_region *r, const struct ir_block *b)
{
    uint64_t defs = 0;

    for (unsigned k = 0; k < b->nr; k++)
        if (ir_is_global(r->insn[b->first + k].dst))
            defs |= ir_bit(r->insn[b->first + k].dst);
    return defs;
}

/* Globals whose value at the block's start matters inside it. */
static uint64_t block_gen(const struct ir_region *r, const struct ir_block *b)
{
    uint64_t written = 0, gen = b->loop_head ? b->dirty_in : 0;

    for (unsigned k = 0; k < b->nr; k++) {
        const struct ir_insn *i = &r->insn[b->first + k];
        for (unsigned s = 0; s < ir_op_info[i->op].nsrc; s++)
            if (ir_is_global(i->src[s]))
                gen |= ir_bit(i->src[s]) & ~written;
        if (ir_op_info[i->op].flags & IRF_SITE)
            gen |= b->dirty_in & ~written;
        if (ir_is_global(i->dst))
            written |= ir_bit(i->dst);
    }
    if (leaves(r, b))
        gen |= b->dirty_in & ~written;
    return gen;
}

static void flow_dirty(struct ir_region *r)
{
    for (bool changed = true; changed;) {
        changed = false;
        for (unsigned n = 0; n < r->nr_blocks; n++) {
            struct ir_block *b = &r->block[n];
            b->dirty_out = b->dirty_in | b->defs;
            for (unsigned s = 0; s < b->nr_succ; s++) {
                if (b->succ[s] < 0)
                    continue;
                struct ir_block *t = &r->block[b->succ[s]];
                if (b->dirty_out & ~t->dirty_in) {
                    t->dirty_in |= b->dirty_out;
                    changed = true;
                }
            }
        }
    }
}

static void flow_live(struct ir_region *r, const uint64_t *gen)
{
    for (bool changed = true; changed;) {
        changed = false;
        for (int n = r->nr_blocks - 1; n >= 0; n--) {
            struct ir_block *b = &r->block[n];
            uint64_t out = 0;
            for (unsigned s = 0; s < b->nr_succ; s++)
                if (b->succ[s] >= 0)
                    out |= r->block[b->succ[s]].live_in;
            uint64_t in = gen[n] | (out & ~b->defs);
            b->live_out = out;
            if (in != b->live_in) {
                b->live_in = in;
                changed = true;
            }
        }
    }
}

void ir_analyse(struct ir_region *r, uint64_t in_registers)
{
    uint64_t gen[IR_MAX_BLOCKS];

    for (unsigned n = 0; n < r->nr_blocks; n++) {
        struct ir_block *b = &r->block[n];
        b->defs = block_defs(r, b) & in_registers;
        b->dirty_in = b->live_in = b->live_out = 0;
    }
    flow_dirty(r);
    for (unsigned n = 0; n < r->nr_blocks; n++)
        gen[n] = block_gen(r, &r->block[n]) & in_registers;
    flow_live(r, gen);
}
