/* Several loads and stores off one base: the first of them checks the whole span once and leaves a host
 * pointer for the others (back end: a failed check runs a cold copy of the rest of the block, where every
 * access checks for itself, and which goes on at the head of an unrolled loop).
 *
 * One base means one value plus constants: each value of a register has a root and a distance from it,
 * which moves and additions of constants keep. A window lasts to the end of its block; one that is
 * opened in the head of an unrolled loop lasts through the copies.
 *
 * Why it is right: a translation that was good at the first access stays good as long, because a
 * hart gives up translations only at safepoints, and there is none; EXEC, which may select another
 * soft TLB, ends all windows. */
#include "ir.h"

enum { MAX_OPEN = 8, MAX_SPAN = 1024, MIN_ACCESSES = 2, QUICK_MIN_ACCESSES = 4, MAX_ACCESSES = 64, MAX_DISTANCE = 1 << 20 };

struct value {
    uint16_t root;
    int32_t distance;
};

struct group {
    uint16_t root; /* 0: free */
    bool of_head;  /* opened in a head, or in a block that is no copy */
    bool write;
    struct value base; /* of the first access */
    int32_t min, end;  /* distances from the root */
    unsigned nr;
    uint16_t access[MAX_ACCESSES]; /* instructions ... */
    int32_t at[MAX_ACCESSES];      /* ... and their distance from the root */
};

struct collector {
    struct ir_region *r;
    uint16_t roots;
    struct value value[IR_NR_GLOBALS + IR_MAX_TEMPS];
    struct group open[MAX_OPEN];
    unsigned next_victim;
};

/* A window brings a cold copy of its block, which is as long to make: outside loops it must pay in a quick translation. */
static unsigned worth_while(const struct ir_region *r, const struct group *g)
{
    const struct ir_origin *o = &r->origin[r->insn[g->access[0]].origin];

    return r->quick && !r->block[o->block].depth ? QUICK_MIN_ACCESSES : MIN_ACCESSES;
}

static void turn_into_window(struct collector *c, const struct group *g)
{
    struct ir_region *r = c->r;

    if (!g->nr || g->nr < worth_while(r, g) || r->nr_windows == IR_MAX_WINDOWS - 1)
        return;
    int32_t base = g->base.distance;
    struct ir_window *w = &r->window[r->nr_windows++];
    *w = (struct ir_window){r->insn[g->access[0]].src[0], ir_temp(r, IR_I64), g->min - base,
                            g->end - base, g->write};
    for (unsigned n = 0; n < g->nr; n++) {
        struct ir_insn *i = &r->insn[g->access[n]];
        i->window = (uint8_t)r->nr_windows;
        i->opens = n == 0;
        i->window_disp = g->at[n] - base;
    }
}

static void close_group(struct collector *c, struct group *g)
{
    if (g->root)
        turn_into_window(c, g);
    g->root = 0;
}

static void close_all(struct collector *c)
{
    for (unsigned n = 0; n < MAX_OPEN; n++)
        close_group(c, &c->open[n]);
}

static struct group *group_of(struct collector *c, struct value base, bool of_head)
{
    struct group *free = NULL;

    for (unsigned n = 0; n < MAX_OPEN; n++) {
        if (c->open[n].root == base.root)
            return &c->open[n];
        if (!c->open[n].root)
            free = &c->open[n];
    }
    if (!free) {
        free = &c->open[c->next_victim++ % MAX_OPEN];
        close_group(c, free);
    }
    free->root = base.root;
    free->base = base;
    free->of_head = of_head;
    free->write = false;
    free->nr = 0;
    return free;
}

static void add_access(struct collector *c, unsigned k, bool of_head)
{
    const struct ir_insn *i = &c->r->insn[k];
    struct value base = c->value[i->src[0]];
    int32_t first = i->imm + base.distance;
    int32_t end = first + (int32_t)ir_mem_size((enum ir_mem)i->aux);
    struct group *g = group_of(c, base, of_head);

    if (g->nr == MAX_ACCESSES ||
        (g->nr && (end > g->end ? end : g->end) - (first < g->min ? first : g->min) > MAX_SPAN)) {
        close_group(c, g);
        g = group_of(c, base, of_head);
    }
    if (!g->nr) {
        g->min = first;
        g->end = end;
    }
    g->min = first < g->min ? first : g->min;
    g->end = end > g->end ? end : g->end;
    g->write |= i->op == IR_STORE;
    g->at[g->nr] = first;
    g->access[g->nr++] = (uint16_t)k;
}

static struct value value_of(struct collector *c, const struct ir_insn *i)
{
    bool add = i->op == IR_ADD && i->type == IR_I64 && ir_is_const(i->src[1]);

    if ((add || i->op == IR_MOV) && !ir_is_const(i->src[0]) && !ir_is_fp(c->r, i->src[0])) {
        struct value v = c->value[i->src[0]];
        int64_t distance = v.distance + (add ? ir_const_value(c->r, i->src[1]) : 0);
        if (distance < MAX_DISTANCE && distance > -MAX_DISTANCE)
            return (struct value){v.root, (int32_t)distance};
    }
    return (struct value){++c->roots, 0};
}

static void scan_block(struct collector *c, const struct ir_block *b)
{
    for (unsigned k = b->first; k < (unsigned)b->first + b->nr; k++) {
        const struct ir_insn *i = &c->r->insn[k];
        if ((i->op == IR_LOAD || i->op == IR_STORE) && !ir_is_const(i->src[0]))
            add_access(c, k, !b->copy_of);
        if (i->op == IR_EXEC || i->op == IR_VCALL || i->op == IR_VGATHER || i->op == IR_VSCATTER || (i->op == IR_MASK && !i->imm)) /* may switch the soft TLB */
            close_all(c);
        if (i->dst != IR_NONE)
            c->value[i->dst] = value_of(c, i);
    }
    /* What a copy has opened, only itself may use. */
    for (unsigned n = 0; n < MAX_OPEN; n++)
        if (c->open[n].root && !c->open[n].of_head)
            close_group(c, &c->open[n]);
}

static void start(struct collector *c)
{
    c->roots = 0;
    for (unsigned g = 0; g < IR_NR_GLOBALS; g++)
        c->value[g] = (struct value){++c->roots, 0};
}

static bool has_accesses(const struct ir_region *r)
{
    unsigned nr = 0;

    for (unsigned k = 0; k < r->nr_insns && nr < MIN_ACCESSES; k++)
        nr += r->insn[k].op == IR_LOAD || r->insn[k].op == IR_STORE;
    return nr == MIN_ACCESSES;
}

void ir_pass_windows(struct ir_region *r)
{
    struct collector c;

    if (!has_accesses(r))
        return;
    c.r = r;
    c.next_victim = 0;
    for (unsigned n = 0; n < MAX_OPEN; n++)
        c.open[n].root = 0;
    for (unsigned n = 0; n < r->nr_blocks; n++) {
        if (!r->block[n].copy_of)
            start(&c);
        scan_block(&c, &r->block[n]);
        if (n + 1 == r->nr_blocks || !r->block[n + 1].copy_of)
            close_all(&c);
    }
}
