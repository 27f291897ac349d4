/* Values of guest registers that nobody but their block sees become temps: a register that is written
 * again before anything can observe it (a SITE, the end of the block) was only a name. Then later
 * passes see each value for itself, and the allocator need not put all of a register's values into one
 * place. SITE operations that the interpreter's function may finish write their guest register, so
 * their results keep their names; loads are put where they belong by the code itself. */
#include "ir.h"

static bool keeps_name(const struct ir_insn *i)
{
    return (ir_op_info[i->op].flags & IRF_SITE) && i->op != IR_LOAD;
}

static bool is_integer(ir_ref ref)
{
    return ir_is_global(ref) && ref < 32;
}

/* local[k]: the result of operation k of the block is such a value. */
static void find_local(const struct ir_region *r, const struct ir_block *b, bool *local)
{
    uint64_t overwritten = 0; /* before it is observed */

    for (int k = b->nr - 1; k >= 0; k--) {
        const struct ir_insn *i = &r->insn[b->first + k];

        local[k] = is_integer(i->dst) && (overwritten & ir_bit(i->dst)) && !keeps_name(i);
        if (is_integer(i->dst))
            overwritten |= ir_bit(i->dst);
        if (ir_op_info[i->op].flags & IRF_SITE)
            overwritten = 0;
    }
}

void ir_pass_rename(struct ir_region *r)
{
    bool local[IR_MAX_INSNS];

    for (unsigned n = 0; n < r->nr_blocks; n++) {
        const struct ir_block *b = &r->block[n];
        ir_ref now[32] = {IR_NONE}; /* the temp that has the register's value */

        find_local(r, b, local);
        for (unsigned k = 0; k < b->nr; k++) {
            struct ir_insn *i = &r->insn[b->first + k];
            for (unsigned s = 0; s < ir_op_info[i->op].nsrc; s++)
                if (is_integer(i->src[s]) && now[i->src[s]] != IR_NONE)
                    i->src[s] = now[i->src[s]];
            if (!is_integer(i->dst))
                continue;
            ir_ref g = i->dst;
            now[g] = IR_NONE;
            if (local[k] && r->nr_temps < IR_MAX_TEMPS - IR_MAX_WINDOWS) {
                now[g] = i->dst = ir_temp(r, IR_I64);
                r->temp_home[i->dst - IR_NR_GLOBALS] = (uint8_t)g;
            }
        }
    }
}
