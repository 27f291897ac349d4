/* Short loops of one block that access memory are laid out several times in a row:
 *
 *   b: load x5 <- x15; add x15 <- x15 8; ...; br b, out
 *   ->  b: ...; br b+1, out | b+1: ...; br b+2, out | ... | b+3: ...; br b, out
 *
 * The copies are blocks with origins of their own, so charges, sites and exits need no thought. They pay
 * because windows opened in b cover the accesses of all copies (passes/windows.c): one check for several
 * rounds; and only b, the head, looks at the budget. */
#include <string.h>

#include "ir.h"

enum { MAX_LENGTH = 14, MAX_CHAIN = 4, CHAIN_LENGTH = 40 };

static bool loops_on_itself(const struct ir_block *b, unsigned n)
{
    return b->nr_succ == 2 && (b->succ[0] == (ir_edge)n) != (b->succ[1] == (ir_edge)n);
}

static bool can_be_copied(const struct ir_region *r, const struct ir_block *b)
{
    unsigned accesses = 0;

    for (unsigned k = b->first; k < (unsigned)b->first + b->nr; k++) {
        unsigned op = r->insn[k].op;
        if (op == IR_LOAD || op == IR_STORE)
            accesses++;
        else if (op == IR_EXEC || op == IR_VCALL || (ir_op_info[op].flags & IRF_MEM))
            return false;
    }
    return accesses > 0 && r->insn[b->first + b->nr - 1u].op == IR_BR;
}

/* How often block n is to be there: 1 when it is nothing for us. */
static unsigned copies_of(const struct ir_region *r, unsigned n)
{
    const struct ir_block *b = &r->block[n];

    if (b->charge > MAX_LENGTH || !loops_on_itself(b, n) || !can_be_copied(r, b))
        return 1;
    unsigned times = CHAIN_LENGTH / b->charge;
    if (times > MAX_CHAIN)
        times = MAX_CHAIN;
    unsigned extra = times - 1;
    bool fits = r->nr_blocks + extra <= IR_MAX_BLOCKS &&
                r->nr_origins + extra * b->charge <= IR_MAX_ORIGINS &&
                r->nr_insns + extra * b->nr <= IR_MAX_INSNS - IR_MAX_ORIGINS &&
                r->nr_temps + extra * b->nr <= IR_MAX_TEMPS - IR_MAX_WINDOWS;
    return fits ? times : 1;
}

/* Makes room behind block n: everything behind it moves. */
static void make_room(struct ir_region *r, unsigned n, unsigned extra)
{
    const struct ir_block b = r->block[n];
    unsigned insns = extra * b.nr, origins = extra * b.charge;
    unsigned next_insn = b.first + b.nr, next_origin = b.first_origin + b.charge;

    memmove(&r->insn[next_insn + insns], &r->insn[next_insn],
            (r->nr_insns - next_insn) * sizeof r->insn[0]);
    memmove(&r->origin[next_origin + origins], &r->origin[next_origin],
            (r->nr_origins - next_origin) * sizeof r->origin[0]);
    memmove(&r->block[n + 1 + extra], &r->block[n + 1],
            (r->nr_blocks - n - 1) * sizeof r->block[0]);
    r->nr_insns = (uint16_t)(r->nr_insns + insns);
    r->nr_origins = (uint16_t)(r->nr_origins + origins);
    r->nr_blocks = (uint16_t)(r->nr_blocks + extra);
    for (unsigned k = next_insn + insns; k < r->nr_insns; k++)
        r->insn[k].origin = (uint16_t)(r->insn[k].origin + origins);
    for (unsigned k = next_origin + origins; k < r->nr_origins; k++)
        r->origin[k].block = (uint16_t)(r->origin[k].block + extra);
    for (unsigned k = n + 1 + extra; k < r->nr_blocks; k++) {
        r->block[k].first = (uint16_t)(r->block[k].first + insns);
        r->block[k].first_origin = (uint16_t)(r->block[k].first_origin + origins);
    }
    for (unsigned k = 0; k < r->nr_blocks; k++)
        for (unsigned s = 0; (k <= n || k > n + extra) && s < r->block[k].nr_succ; s++)
            if (r->block[k].succ[s] > (ir_edge)n)
                r->block[k].succ[s] = (ir_edge)(r->block[k].succ[s] + (ir_edge)extra);
}

/* A temp of the copy for each temp of the block. */
static ir_ref copied(struct ir_region *r, ir_ref ref, ir_ref *temp)
{
    if (!ir_is_temp(ref))
        return ref;
    unsigned t = ref - IR_NR_GLOBALS;
    if (temp[t] == IR_NONE)
        temp[t] = ir_temp(r, (enum ir_type)r->temp_type[t]);
    return temp[t];
}

static void copy_block(struct ir_region *r, unsigned n, unsigned nth)
{
    const struct ir_block *b = &r->block[n];
    struct ir_block *c = &r->block[n + nth];
    ir_ref temp[IR_MAX_TEMPS];

    memset(temp, 0, sizeof temp[0] * r->nr_temps);
    *c = *b;
    c->first = (uint16_t)(b->first + nth * b->nr);
    c->first_origin = (uint16_t)(b->first_origin + nth * b->charge);
    c->copy_of = (uint8_t)(n + 1);
    for (unsigned k = 0; k < b->charge; k++) {
        r->origin[c->first_origin + k] = r->origin[b->first_origin + k];
        r->origin[c->first_origin + k].block = (uint16_t)(n + nth);
    }
    for (unsigned k = 0; k < b->nr; k++) {
        struct ir_insn *i = &r->insn[c->first + k];
        *i = r->insn[b->first + k];
        i->origin = (uint16_t)(i->origin + nth * b->charge);
        i->dst = copied(r, i->dst, temp);
        for (unsigned s = 0; s < 3; s++)
            i->src[s] = copied(r, i->src[s], temp);
        if (i->op == IR_FDIRTY) /* the head has done it */
            *i = (struct ir_insn){.op = IR_MOV, .type = IR_I64, .origin = i->origin,
                                  .src = {ir_const(r, 0)}};
    }
}

static void set_edges(struct ir_region *r, unsigned n, unsigned times)
{
    for (unsigned nth = 0; nth < times; nth++) {
        struct ir_block *b = &r->block[n + nth];
        for (unsigned s = 0; s < 2; s++)
            if (b->succ[s] == (ir_edge)n)
                b->succ[s] = (ir_edge)(nth + 1 < times ? n + nth + 1 : n);
    }
}

void ir_pass_unroll(struct ir_region *r)
{
    for (unsigned n = 0; n < r->nr_blocks; n++) {
        unsigned times = copies_of(r, n);
        if (times == 1)
            continue;
        make_room(r, n, times - 1);
        for (unsigned nth = 1; nth < times; nth++)
            copy_block(r, n, nth);
        set_edges(r, n, times);
        n += times - 1;
    }
}
