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

static bool has_edge(const struct ir_block *b, unsigned to)
{
    for (unsigned s = 0; s < b->nr_succ; s++)
        if (b->succ[s] == (int)to)
            return true;
    return false;
}

/* Back edges from different blocks to one head count as nested loops: the head of an inner loop is
 * often the place where the outer one was entered. */
void ir_find_loops(struct ir_region *r)
{
    for (unsigned head = 0; head < r->nr_blocks; head++)
        for (unsigned b = head; b < r->nr_blocks; b++)
            if (has_edge(&r->block[b], head))
                mark_loop(r, head, b);
    for (unsigned b = 0; b < r->nr_blocks; b++) {
        uint32_t w = r->block[b].weight;
        for (unsigned d = 0; d < r->block[b].depth; d++)
            w *= 8;
        r->block[b].weight = w;
    }
}
