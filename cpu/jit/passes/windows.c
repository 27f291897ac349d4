/* Several loads and stores of one block off the same unchanged base: the first of them checks the
 * whole span once and leaves a host pointer for the others (back end: a failed check runs a cold
 * copy of the rest of the block, where every access checks for itself).
 *
 * Why it is right: a translation that was good at the first access stays good to the end of the
 * block, because a hart gives up translations only at safepoints, and in a block there is none; EXEC,
 * which may select another soft TLB, ends all windows. */
#include <string.h>

#include "ir.h"

enum { MAX_OPEN = 8, MAX_SPAN = 1024, MIN_ACCESSES = 2 };

struct group {
    ir_ref base; /* IR_NONE: free */
    int32_t min, end;
    unsigned first, last; /* instructions */
    unsigned accesses;
    bool write;
};

struct collector {
    struct ir_region *r;
    struct group open[MAX_OPEN];
    unsigned next_victim;
};

static void turn_into_window(struct collector *c, const struct group *g)
{
    struct ir_region *r = c->r;
    bool opened = false;

    if (g->accesses < MIN_ACCESSES || r->nr_windows == IR_MAX_WINDOWS - 1)
        return;
    struct ir_window *w = &r->window[r->nr_windows++];
    *w = (struct ir_window){g->base, ir_temp(r, IR_I64), g->min, g->end, g->write};
    for (unsigned k = g->first; k <= g->last; k++) {
        struct ir_insn *i = &r->insn[k];
        if ((i->op != IR_LOAD && i->op != IR_STORE) || i->src[0] != g->base)
            continue;
        i->window = (uint8_t)r->nr_windows;
        i->opens = !opened;
        opened = true;
    }
}

static void close_group(struct collector *c, struct group *g)
{
    if (g->base != IR_NONE)
        turn_into_window(c, g);
    g->base = IR_NONE;
}

static void close_all(struct collector *c)
{
    for (unsigned n = 0; n < MAX_OPEN; n++)
        close_group(c, &c->open[n]);
}

static struct group *group_of(struct collector *c, ir_ref base)
{
    struct group *free = NULL;

    for (unsigned n = 0; n < MAX_OPEN; n++) {
        if (c->open[n].base == base)
            return &c->open[n];
        if (c->open[n].base == IR_NONE)
            free = &c->open[n];
    }
    if (!free) {
        free = &c->open[c->next_victim++ % MAX_OPEN];
        close_group(c, free);
    }
    memset(free, 0, sizeof *free);
    free->base = base;
    return free;
}

static void add_access(struct collector *c, unsigned k)
{
    const struct ir_insn *i = &c->r->insn[k];
    int32_t first = i->imm, end = i->imm + (int32_t)ir_mem_size((enum ir_mem)i->aux);
    struct group *g = group_of(c, i->src[0]);

    if (g->accesses && ((end > g->end ? end : g->end) - (first < g->min ? first : g->min) > MAX_SPAN)) {
        close_group(c, g);
        g = group_of(c, i->src[0]);
    }
    if (!g->accesses) {
        g->first = k;
        g->min = first;
        g->end = end;
    }
    g->min = first < g->min ? first : g->min;
    g->end = end > g->end ? end : g->end;
    g->last = k;
    g->write |= i->op == IR_STORE;
    g->accesses++;
}

static void scan_block(struct collector *c, const struct ir_block *b)
{
    for (unsigned k = b->first; k < (unsigned)b->first + b->nr; k++) {
        const struct ir_insn *i = &c->r->insn[k];
        if ((i->op == IR_LOAD || i->op == IR_STORE) && !ir_is_const(i->src[0]))
            add_access(c, k);
        if (i->op == IR_EXEC) /* may switch the soft TLB */
            close_all(c);
        for (unsigned n = 0; i->dst != IR_NONE && n < MAX_OPEN; n++)
            if (c->open[n].base == i->dst)
                close_group(c, &c->open[n]);
    }
    close_all(c);
}

void ir_pass_windows(struct ir_region *r)
{
    struct collector c = {.r = r};

    for (unsigned n = 0; n < r->nr_blocks; n++)
        scan_block(&c, &r->block[n]);
}
