/* Removes results nobody can see: temps without use, and writes to a global that is written again
 * before anything can observe it. Observers are reads, SITE operations (a trap there needs every
 * register) and the end of the block. Removed operations become `mov none`, which emits nothing. */
#include <string.h>

#include "ir.h"

void ir_pass_dce(struct ir_region *r)
{
    static const struct ir_insn nothing = {.op = IR_MOV, .type = IR_I64, .src = {IR_CONST_BIT}};
    uint8_t used[IR_MAX_TEMPS];

    memset(used, 0, r->nr_temps);
    ir_const(r, 0); /* `nothing` needs one */
    for (unsigned n = 0; n < r->nr_blocks; n++) {
        const struct ir_block *b = &r->block[n];
        uint64_t dead = 0;

        for (int k = b->nr - 1; k >= 0; k--) {
            struct ir_insn *i = &r->insn[b->first + k];
            const struct ir_op_info *info = &ir_op_info[i->op];
            bool keep = info->flags & (IRF_KEEP | IRF_FP); /* FP: the flags count */

            if (!keep) {
                if (i->dst == IR_NONE || (ir_is_global(i->dst) && (dead & ir_bit(i->dst))) ||
                    (ir_is_temp(i->dst) && !used[i->dst - IR_NR_GLOBALS])) {
                    uint16_t origin = i->origin;
                    *i = nothing;
                    i->origin = origin;
                    continue;
                }
            }
            /* A load whose result is dead still has to trap. */
            if (ir_is_global(i->dst))
                dead |= ir_bit(i->dst);
            if (info->flags & IRF_SITE)
                dead = 0;
            for (unsigned s = 0; s < info->nsrc; s++) {
                if (ir_is_global(i->src[s]))
                    dead &= ~ir_bit(i->src[s]);
                else if (ir_is_temp(i->src[s]))
                    used[i->src[s] - IR_NR_GLOBALS] = 1;
            }
        }
    }
}
