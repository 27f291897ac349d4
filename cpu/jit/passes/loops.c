/* Loop heads, nesting depth and estimated weights, from the order of the blocks alone: an edge to
 * the same or an earlier block closes a loop over the blocks in between. Every cycle has such an
 * edge, so a budget check at every target of one bounds every path. */
#include "ir.h"

static void mark_loop(struct ir_region *r, unsigned head, unsigned last)
{
    r->block[head].loop_head = 1;
    for (unsigned b = head; b <= last; b++)
        if (r->block[b].depth < 4)
            r->block[b].depth++;
}

void ir_find_loops(struct ir_region *r)
{
    for (unsigned head = 0; head < r->nr_blocks; head++) {
        int last = -1;
        for (unsigned b = head; b < r->nr_blocks; b++)
            for (unsigned s = 0; s < r->block[b].nr_succ; s++)
                if (r->block[b].succ[s] == (int)head)
                    last = (int)b;
        if (last >= 0)
            mark_loop(r, head, (unsigned)last);
    }
    for (unsigned b = 0; b < r->nr_blocks; b++) {
        uint32_t w = r->block[b].weight;
        for (unsigned d = 0; d < r->block[b].depth; d++)
            w *= 8;
        r->block[b].weight = w;
    }
}
