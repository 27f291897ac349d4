/* See ir/alloc.h. Globals first, by estimated saved accesses; temps take what is left, a linear scan in
 * each block.
 *
 * What is left: registers no global has, and the holes of those that one has: between the last use of
 * a global's value (or the block's start) and its next definition in the block, with no operation in
 * between that could observe it, its register is free. A temp does best in the hole of the global whose
 * value it was (passes/rename.c) or is made into: that saves a move. When nothing is free, the value that
 * is wanted last goes to memory for its whole life.
 * How many registers the globals may have is tried out: temps of hot blocks may deserve more. */
#include <string.h>

#include "alloc.h"
#include "sim-core/compiler.h"

enum { NONE = -1, NEVER = 0xffff, MAX_HOST = 32 };

/* Host registers of one class. */
struct class {
    const uint8_t *regs;
    unsigned nr;
    ir_ref owner[MAX_HOST];   /* temp that has it now, or IR_NONE */
    uint16_t until[MAX_HOST]; /* free for temps that end before; 0: a global's, not in a hole */
    uint8_t global[MAX_HOST]; /* that has it, or 0 */
};

struct allocator {
    const struct ir_region *r;
    struct ir_alloc *out;
    uint32_t score[IR_NR_GLOBALS];
    uint16_t last_use[IR_MAX_TEMPS]; /* instruction index */
    uint16_t start[IR_MAX_TEMPS];
    uint8_t becomes[IR_MAX_TEMPS];   /* the global its last use defines, or 0 */
    struct class class[2]; /* integer, FP */
    uint8_t ranked[2][32];  /* globals that deserve a register, best first */
    unsigned nr_ranked[2];
    uint16_t slot_free_since[IR_MAX_SLOTS];
    ir_ref slot_owner[IR_MAX_SLOTS];
    /* at operation k: the next definition of the source global whose last use this is, or 0 */
    uint16_t hole[IR_MAX_INSNS][3];
    uint16_t first_hole[IR_MAX_BLOCKS][IR_NR_GLOBALS]; /* the same from the block's start */
    uint64_t spill_cost; /* accesses of temps in memory, weighted */
};

static struct class *class_of(struct allocator *a, ir_ref ref)
{
    return &a->class[ir_is_fp(a->r, ref)];
}

/* What it costs when an operand is in memory: a source is mostly an operand as good as a register, a
 * result needs a store (and the next reader waits for it), an address needs a load or two. */
enum { COST_SOURCE = 2, COST_RESULT = 4, COST_ADDRESS = 5, COST_WINDOW = 4 };

static unsigned source_cost(const struct ir_insn *i, unsigned s)
{
    if (s > 0 || !(ir_op_info[i->op].flags & IRF_MEM))
        return COST_SOURCE;
    return i->window && !i->opens ? 0 : COST_ADDRESS;
}

static void score_globals(struct allocator *a)
{
    const struct ir_region *r = a->r;

    memset(a->score, 0, sizeof a->score);
    for (unsigned n = 0; n < r->nr_blocks; n++) {
        const struct ir_block *b = &r->block[n];
        for (unsigned k = 0; k < b->nr; k++) {
            const struct ir_insn *i = &r->insn[b->first + k];
            for (unsigned s = 0; s < ir_op_info[i->op].nsrc; s++)
                if (ir_is_global(i->src[s]))
                    a->score[i->src[s]] += source_cost(i, s) * b->weight;
            if (ir_is_global(i->dst))
                a->score[i->dst] += COST_RESULT * b->weight;
        }
    }
}

/* --- lives --- */

static ir_ref window_temp(const struct allocator *a, const struct ir_insn *i)
{
    return i->window ? a->r->window[i->window - 1].temp : IR_NONE;
}

static void used_at(struct allocator *a, ir_ref temp, unsigned k)
{
    ir_ref dst = a->r->insn[k].dst;

    a->last_use[temp - IR_NR_GLOBALS] = (uint16_t)k;
    a->becomes[temp - IR_NR_GLOBALS] = ir_is_global(dst) ? (uint8_t)dst : 0;
}

static void find_lives(struct allocator *a)
{
    const struct ir_region *r = a->r;

    for (unsigned k = 0; k < r->nr_insns; k++) {
        const struct ir_insn *i = &r->insn[k];
        for (unsigned s = 0; s < ir_op_info[i->op].nsrc; s++)
            if (ir_is_temp(i->src[s]))
                used_at(a, i->src[s], k);
        if (i->window)
            used_at(a, window_temp(a, i), k);
        if (ir_is_temp(i->dst))
            used_at(a, i->dst, k); /* at least */
    }
}

/* Backward: what is defined next, and whether it is read before. */
static void find_holes(struct allocator *a, unsigned block)
{
    const struct ir_block *b = &a->r->block[block];
    uint16_t next_def[IR_NR_GLOBALS] = {0}; /* without an observer before; 0: there is none */
    uint64_t read = 0;                      /* before that */

    for (int k = b->first + b->nr - 1; k >= b->first; k--) {
        const struct ir_insn *i = &a->r->insn[k];
        const struct ir_op_info *info = &ir_op_info[i->op];

        if (ir_is_global(i->dst)) {
            next_def[i->dst] = (uint16_t)k;
            read &= ~ir_bit(i->dst);
        }
        if (info->flags & IRF_SITE)
            memset(next_def, 0, sizeof next_def);
        for (unsigned s = 0; s < 3; s++) {
            ir_ref g = s < info->nsrc ? i->src[s] : IR_NONE;
            a->hole[k][s] = ir_is_global(g) && !(read & ir_bit(g)) ? next_def[g] : 0;
        }
        for (unsigned s = 0; s < info->nsrc; s++)
            if (ir_is_global(i->src[s]))
                read |= ir_bit(i->src[s]);
    }
    for (unsigned g = 0; g < IR_NR_GLOBALS; g++)
        a->first_hole[block][g] = read >> g & 1 ? 0 : next_def[g];
}

/* --- globals --- */

static void rank_globals(struct allocator *a)
{
    uint32_t entry_cost = COST_SOURCE * a->r->block[0].weight; /* it is loaded there */

    a->nr_ranked[0] = a->nr_ranked[1] = 0;
    for (unsigned g = 1; g < IR_NR_GLOBALS; g++) {
        uint8_t *list = a->ranked[g >= 32];
        unsigned at = a->nr_ranked[g >= 32];
        if (a->score[g] <= entry_cost)
            continue;
        a->nr_ranked[g >= 32]++;
        for (; at && a->score[list[at - 1]] < a->score[g]; at--)
            list[at] = list[at - 1];
        list[at] = (uint8_t)g;
    }
}

static void place_globals(struct allocator *a, bool fp, unsigned nr)
{
    struct class *c = &a->class[fp];

    for (unsigned n = 0; n < c->nr; n++) {
        unsigned g = n < nr && n < a->nr_ranked[fp] ? a->ranked[fp][n] : 0;
        c->global[c->regs[n]] = (uint8_t)g;
        if (!g)
            continue;
        a->out->global[g] = c->regs[n];
        a->out->in_registers |= ir_bit((ir_ref)g);
    }
}

/* --- temps --- */

static bool is_free(const struct class *c, unsigned reg, unsigned end)
{
    return c->owner[reg] == IR_NONE && c->until[reg] > end;
}

/* The register that is free for the shortest time that suffices, or NONE. */
static int best_fit(const struct class *c, unsigned end)
{
    int best = NONE;

    for (unsigned n = 0; n < c->nr; n++) {
        unsigned reg = c->regs[n];
        if (is_free(c, reg, end) && (best == NONE || c->until[reg] < c->until[best]))
            best = (int)reg;
    }
    return best;
}

static void to_slot(struct allocator *a, unsigned t)
{
    a->out->temp[t] = IR_LOC_MEMORY;
    for (unsigned s = 0; s < IR_MAX_SLOTS; s++) {
        if (a->slot_owner[s] != IR_NONE || a->slot_free_since[s] > a->start[t])
            continue;
        a->slot_owner[s] = (ir_ref)(t + IR_NR_GLOBALS);
        a->out->slot[t] = (uint8_t)s;
        return;
    }
    a->out->failed = true;
}

static void to_register(struct allocator *a, ir_ref temp, unsigned reg)
{
    a->out->temp[temp - IR_NR_GLOBALS] = (uint8_t)reg;
    class_of(a, temp)->owner[reg] = temp;
}

/* The temp in a register that is wanted longest, longer than until `end`, whose register would do. */
static int furthest(const struct allocator *a, const struct class *c, unsigned end)
{
    unsigned latest = end;
    int best = NONE;

    for (unsigned n = 0; n < c->nr; n++) {
        unsigned reg = c->regs[n];
        if (c->owner[reg] == IR_NONE || c->until[reg] <= end)
            continue;
        unsigned other = a->last_use[c->owner[reg] - IR_NR_GLOBALS];
        if (other > latest) {
            latest = other;
            best = (int)reg;
        }
    }
    return best;
}

/* The register of global g if it will do. */
static int register_of(const struct allocator *a, const struct class *c, unsigned g, unsigned end)
{
    unsigned reg = g ? a->out->global[g] : IR_LOC_MEMORY;

    return reg != IR_LOC_MEMORY && c->global[reg] == g && is_free(c, reg, end) ? (int)reg : NONE;
}

static void assign_temp(struct allocator *a, ir_ref temp, unsigned k)
{
    struct class *c = class_of(a, temp);
    unsigned t = temp - IR_NR_GLOBALS, end = a->last_use[t];
    int reg = register_of(a, c, a->becomes[t], end);

    a->start[t] = (uint16_t)k;
    if (reg == NONE)
        reg = register_of(a, c, a->r->temp_home[t], end);
    if (reg == NONE)
        reg = best_fit(c, end);
    if (reg == NONE) {
        reg = furthest(a, c, end);
        if (reg == NONE) {
            to_slot(a, t);
            return;
        }
        to_slot(a, c->owner[reg] - IR_NR_GLOBALS);
    }
    to_register(a, temp, (unsigned)reg);
}

static void release_temp(struct allocator *a, ir_ref temp, unsigned k)
{
    unsigned t = temp - IR_NR_GLOBALS;

    if (a->out->temp[t] != IR_LOC_MEMORY) {
        class_of(a, temp)->owner[a->out->temp[t]] = IR_NONE;
    } else if (!a->out->failed) {
        a->slot_owner[a->out->slot[t]] = IR_NONE;
        a->slot_free_since[a->out->slot[t]] = (uint16_t)k;
    }
}

/* Sources that end at k give their places back: temps, and globals that have a hole from here on. */
static void end_sources(struct allocator *a, const struct ir_insn *i, unsigned k)
{
    unsigned nsrc = ir_op_info[i->op].nsrc;
    ir_ref window = window_temp(a, i);

    for (unsigned s = 0; s < nsrc; s++) {
        ir_ref ref = i->src[s];
        bool twice = (s > 0 && i->src[0] == ref) || (s > 1 && i->src[1] == ref);
        if (ir_is_temp(ref) && !twice && a->last_use[ref - IR_NR_GLOBALS] == k)
            release_temp(a, ref, k);
        if (ir_is_global(ref) && a->hole[k][s] && a->out->global[ref] != IR_LOC_MEMORY)
            class_of(a, ref)->until[a->out->global[ref]] = (uint16_t)(a->hole[k][s] + 1);
    }
    if (window != IR_NONE && a->last_use[window - IR_NR_GLOBALS] == k)
        release_temp(a, window, k);
}

static void scan_insn(struct allocator *a, unsigned k)
{
    const struct ir_insn *i = &a->r->insn[k];

    /* A window's pointer is written before the operation reads its sources. */
    if (i->opens)
        assign_temp(a, window_temp(a, i), k);
    bool memory = ir_op_info[i->op].flags & IRF_MEM;
    /* The result of a memory operation must not share a register with its address: the slow path
     * may look at the address again. Others may take over a source that ends here. */
    if (memory && ir_is_temp(i->dst))
        assign_temp(a, i->dst, k);
    end_sources(a, i, k);
    if (!memory && ir_is_temp(i->dst))
        assign_temp(a, i->dst, k);
    if (ir_is_temp(i->dst) && a->last_use[i->dst - IR_NR_GLOBALS] == k)
        release_temp(a, i->dst, k); /* never read */
    if (ir_is_global(i->dst) && a->out->global[i->dst] != IR_LOC_MEMORY)
        class_of(a, i->dst)->until[a->out->global[i->dst]] = 0; /* the hole ends */
}

static bool in_memory(const struct allocator *a, ir_ref ref)
{
    return ir_is_temp(ref) && a->out->temp[ref - IR_NR_GLOBALS] == IR_LOC_MEMORY;
}

static void add_spill_cost(struct allocator *a, const struct ir_block *b)
{
    for (unsigned k = b->first; k < (unsigned)b->first + b->nr; k++) {
        const struct ir_insn *i = &a->r->insn[k];
        unsigned cost = in_memory(a, i->dst) ? COST_RESULT : 0;

        for (unsigned s = 0; s < ir_op_info[i->op].nsrc; s++)
            if (in_memory(a, i->src[s]))
                cost += source_cost(i, s);
        if (in_memory(a, window_temp(a, i)))
            cost += COST_WINDOW;
        a->spill_cost += (uint64_t)cost * b->weight;
    }
}

static void scan_block(struct allocator *a, unsigned block)
{
    const struct ir_block *b = &a->r->block[block];

    if (!b->copy_of) { /* else temps come over from the head */
        memset(a->slot_free_since, 0, sizeof a->slot_free_since);
        memset(a->slot_owner, 0, sizeof a->slot_owner);
    }
    for (unsigned fp = 0; fp < 2; fp++) {
        struct class *c = &a->class[fp];
        for (unsigned n = 0; n < c->nr; n++) {
            unsigned reg = c->regs[n], hole = a->first_hole[block][c->global[reg]];
            if (!b->copy_of)
                c->owner[reg] = IR_NONE;
            c->until[reg] = !c->global[reg] ? NEVER : hole ? (uint16_t)(hole + 1) : 0;
        }
    }
    for (unsigned k = 0; k < b->nr; k++)
        scan_insn(a, b->first + k);
    add_spill_cost(a, b);
}

/* --- how many registers for globals --- */

/* Allocates with `keep` registers of each class out of the globals' reach; returns what memory costs. */
static uint64_t attempt(struct allocator *a, unsigned keep_int, unsigned keep_fp)
{
    struct ir_alloc *out = a->out;

    memset(out->global, IR_LOC_MEMORY, sizeof out->global);
    out->in_registers = 0;
    out->failed = false;
    a->spill_cost = 0;
    place_globals(a, false, a->class[0].nr - keep_int);
    place_globals(a, true, a->class[1].nr - keep_fp);
    for (unsigned n = 0; n < a->r->nr_blocks; n++)
        scan_block(a, n);
    uint64_t cost = a->spill_cost;
    for (unsigned g = 1; g < IR_NR_GLOBALS; g++)
        cost += out->global[g] == IR_LOC_MEMORY ? a->score[g] : COST_SOURCE * a->r->block[0].weight;
    return out->failed ? UINT64_MAX : cost;
}

static bool has_loops(const struct ir_region *r)
{
    for (unsigned n = 0; n < r->nr_blocks; n++)
        if (r->block[n].depth)
            return true;
    return false;
}

static unsigned at_most(unsigned n, unsigned limit)
{
    return n < limit ? n : limit;
}

static void choose(struct allocator *a)
{
    enum { QUICK_KEEP = 2 }; /* mostly the best of those below */
    static const uint8_t keep[] = {0, 2, 1, 3, 5, 7};
    unsigned tries = has_loops(a->r) ? SIM_ARRAY_LEN(keep) : 2; /* more are not worth the time */
    unsigned keep_fp = 0, best = 0, last = 0;
    uint64_t best_cost = UINT64_MAX;

    for (unsigned t = 0; t < a->r->nr_temps && keep_fp < at_most(3, a->class[1].nr); t++)
        keep_fp += ir_type_is_fp((enum ir_type)a->r->temp_type[t]);
    if (a->r->quick) {
        attempt(a, at_most(QUICK_KEEP, a->class[0].nr), keep_fp);
        return;
    }
    for (unsigned n = 0; n < tries; n++) {
        last = at_most(keep[n], a->class[0].nr);
        uint64_t cost = attempt(a, last, keep_fp);
        if (!n && !a->spill_cost)
            return;
        if (cost < best_cost) {
            best_cost = cost;
            best = last;
        }
    }
    if (best != last)
        attempt(a, best, keep_fp);
}

static void init_class(struct class *c, const uint8_t *regs, unsigned nr)
{
    c->regs = regs;
    c->nr = nr;
    memset(c->global, 0, sizeof c->global);
}

void ir_allocate(const struct ir_region *r, const struct ir_regfile *file, struct ir_alloc *out)
{
    struct allocator a;

    a.r = r;
    a.out = out;
    init_class(&a.class[0], file->int_reg, file->nr_int);
    init_class(&a.class[1], file->fp_reg, file->nr_fp);
    find_lives(&a);
    for (unsigned n = 0; n < r->nr_blocks; n++)
        find_holes(&a, n);
    score_globals(&a);
    rank_globals(&a);
    choose(&a);
}
