/* Loop heads, nesting depth and estimated weights.
 *
 * Heads, where the budget is checked, are the targets of edges to the same or an earlier block: every
 * cycle has such an edge, so every path is bounded.
 * Nesting: a set of blocks that reach each other is a loop; without its first block (by guest address:
 * a region is often entered in the middle of a loop) what is left of it shows the loops inside. */
#include "ir.h"

enum { MAX_DEPTH = 4 };

typedef uint64_t blocks; /* bit = block */
_Static_assert(IR_MAX_BLOCKS <= 64, "a set of blocks is a word");

static blocks successors(const struct ir_block *b)
{
    blocks s = 0;

    for (unsigned n = 0; n < b->nr_succ; n++)
        if (b->succ[n] >= 0)
            s |= 1ull << b->succ[n];
    return s;
}

static void mark_heads(struct ir_region *r)
{
    for (unsigned b = 0; b < r->nr_blocks; b++)
        for (unsigned n = 0; n < r->block[b].nr_succ; n++)
            if (r->block[b].succ[n] >= 0 && r->block[b].succ[n] <= (int)b)
                r->block[r->block[b].succ[n]].loop_head = 1;
}

/* reach[b]: the blocks of `set` on paths of one edge or more from b inside the set. */
static void find_reach(const struct ir_region *r, blocks set, blocks *reach)
{
    bool changed = true;

    for (blocks s = set; s; s &= s - 1) {
        unsigned b = (unsigned)__builtin_ctzll(s);
        reach[b] = successors(&r->block[b]) & set;
    }
    while (changed) {
        changed = false;
        for (blocks s = set; s; s &= s - 1) {
            unsigned b = (unsigned)__builtin_ctzll(s);
            blocks all = reach[b];
            for (blocks t = all; t; t &= t - 1)
                all |= reach[__builtin_ctzll(t)];
            changed |= all != reach[b];
            reach[b] = all;
        }
    }
}

static unsigned lowest_address(const struct ir_region *r, blocks set)
{
    unsigned best = (unsigned)__builtin_ctzll(set);

    for (blocks s = set; s; s &= s - 1) {
        unsigned b = (unsigned)__builtin_ctzll(s);
        if (r->origin[r->block[b].first_origin].pc < r->origin[r->block[best].first_origin].pc)
            best = b;
    }
    return best;
}

static void nest(struct ir_region *r, blocks set, unsigned depth)
{
    blocks reach[IR_MAX_BLOCKS];

    find_reach(r, set, reach);
    while (set) {
        unsigned b = (unsigned)__builtin_ctzll(set);
        blocks loop = 0;

        for (blocks s = reach[b] & set; s; s &= s - 1) {
            unsigned t = (unsigned)__builtin_ctzll(s);
            if (reach[t] >> b & 1)
                loop |= 1ull << t;
        }
        set &= ~(loop | 1ull << b);
        if (!loop)
            continue;
        for (blocks s = loop; s; s &= s - 1)
            r->block[__builtin_ctzll(s)].depth = (uint8_t)depth;
        blocks inside = loop & ~(1ull << lowest_address(r, loop));
        if (inside && depth < MAX_DEPTH)
            nest(r, inside, depth + 1);
    }
}

void ir_find_loops(struct ir_region *r)
{
    mark_heads(r);
    nest(r, r->nr_blocks == 64 ? UINT64_MAX : (1ull << r->nr_blocks) - 1, 1);
    for (unsigned b = 0; b < r->nr_blocks; b++)
        r->block[b].weight <<= 3 * r->block[b].depth;
}
