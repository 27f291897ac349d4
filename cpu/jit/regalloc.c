/* See ir/alloc.h. Globals first, by estimated saved accesses; a few registers stay free for temps
 * where the region has some. */
#include <string.h>

#include "alloc.h"

enum { MAX_TEMP_RESERVE = 3 };

struct allocator {
    const struct ir_region *r;
    const struct ir_regfile *file;
    struct ir_alloc *out;
    uint32_t score[IR_NR_GLOBALS];
    uint16_t last_use[IR_MAX_TEMPS]; /* instruction index */
    uint32_t free_int, free_fp;      /* bit = host register */
    uint32_t free_slots;
};

/* Accesses saved, less what loading at the entry and storing at exits costs. */
static void score_globals(struct allocator *a)
{
    const struct ir_region *r = a->r;

    for (unsigned n = 0; n < r->nr_blocks; n++) {
        const struct ir_block *b = &r->block[n];
        for (unsigned k = 0; k < b->nr; k++) {
            const struct ir_insn *i = &r->insn[b->first + k];
            for (unsigned s = 0; s < ir_op_info[i->op].nsrc; s++)
                if (ir_is_global(i->src[s]))
                    a->score[i->src[s]] += 2 * b->weight;
            if (ir_is_global(i->dst))
                a->score[i->dst] += 2 * b->weight;
        }
    }
}

static unsigned temp_pressure_of_block(struct allocator *a, const struct ir_block *b, bool fp)
{
    const struct ir_region *r = a->r;
    unsigned live = 0, max = 0;

    for (unsigned k = 0; k < b->nr; k++) {
        const struct ir_insn *i = &r->insn[b->first + k];
        unsigned index = b->first + k;
        ir_ref seen = IR_NONE;

        if (ir_is_temp(i->dst) && ir_is_fp(r, i->dst) == fp)
            live++;
        if (i->opens && !fp)
            live++;
        if (live > max)
            max = live;
        for (unsigned s = 0; s < ir_op_info[i->op].nsrc; s++) {
            ir_ref t = i->src[s];
            if (ir_is_temp(t) && t != seen && ir_is_fp(r, t) == fp &&
                a->last_use[t - IR_NR_GLOBALS] == index && live)
                live--;
            seen = t;
        }
        if (i->window && !fp &&
            a->last_use[r->window[i->window - 1].temp - IR_NR_GLOBALS] == index && live)
            live--;
    }
    return max;
}

static void find_last_uses(struct allocator *a)
{
    const struct ir_region *r = a->r;

    memset(a->last_use, 0, sizeof(a->last_use[0]) * r->nr_temps);
    for (unsigned k = 0; k < r->nr_insns; k++) {
        const struct ir_insn *i = &r->insn[k];
        for (unsigned s = 0; s < ir_op_info[i->op].nsrc; s++)
            if (ir_is_temp(i->src[s]))
                a->last_use[i->src[s] - IR_NR_GLOBALS] = (uint16_t)k;
        if (i->window)
            a->last_use[r->window[i->window - 1].temp - IR_NR_GLOBALS] = (uint16_t)k;
        if (ir_is_temp(i->dst) && a->last_use[i->dst - IR_NR_GLOBALS] < k)
            a->last_use[i->dst - IR_NR_GLOBALS] = (uint16_t)k;
    }
}

static unsigned reserve_for_temps(struct allocator *a, bool fp)
{
    unsigned max = 0;

    for (unsigned n = 0; n < a->r->nr_blocks; n++) {
        unsigned p = temp_pressure_of_block(a, &a->r->block[n], fp);
        if (p > max)
            max = p;
    }
    return max < MAX_TEMP_RESERVE ? max : MAX_TEMP_RESERVE;
}

static void place_globals(struct allocator *a, unsigned first, unsigned end, const uint8_t *regs,
                          unsigned nr, uint32_t *free)
{
    uint32_t entry_cost = a->r->block[0].weight;

    for (unsigned n = 0; n < nr; n++) {
        unsigned best = 0;
        uint32_t score = entry_cost;
        for (unsigned g = first; g < end; g++) {
            if (a->score[g] > score && a->out->global[g] == IR_LOC_MEMORY) {
                score = a->score[g];
                best = g;
            }
        }
        if (!best)
            return;
        a->out->global[best] = regs[n];
        a->out->in_registers |= ir_bit((ir_ref)best);
        *free &= ~(1u << regs[n]);
    }
}

/* Gives `temp` a register of its class, or a slot. */
static void assign_temp(struct allocator *a, ir_ref temp)
{
    unsigned t = temp - IR_NR_GLOBALS;
    uint32_t *free = ir_is_fp(a->r, temp) ? &a->free_fp : &a->free_int;

    if (*free) {
        unsigned reg = (unsigned)__builtin_ctz(*free);
        a->out->temp[t] = (uint8_t)reg;
        *free &= ~(1u << reg);
        return;
    }
    a->out->temp[t] = IR_LOC_MEMORY;
    if (!a->free_slots) {
        a->out->failed = true;
        return;
    }
    a->out->slot[t] = (uint8_t)__builtin_ctz(a->free_slots);
    a->free_slots &= a->free_slots - 1;
}

static void release_temp(struct allocator *a, ir_ref temp)
{
    unsigned t = temp - IR_NR_GLOBALS;

    if (a->out->temp[t] == IR_LOC_MEMORY)
        a->free_slots |= 1u << a->out->slot[t];
    else if (ir_is_fp(a->r, temp))
        a->free_fp |= 1u << a->out->temp[t];
    else
        a->free_int |= 1u << a->out->temp[t];
}

static void scan_insn(struct allocator *a, unsigned k)
{
    const struct ir_insn *i = &a->r->insn[k];
    ir_ref ends[5];
    unsigned nr = 0;

    for (unsigned s = 0; s < ir_op_info[i->op].nsrc; s++)
        ends[nr++] = i->src[s];
    if (i->window)
        ends[nr++] = a->r->window[i->window - 1].temp;
    /* A window's pointer is written before the operation reads its sources. */
    if (i->opens)
        assign_temp(a, a->r->window[i->window - 1].temp);
    bool memory = ir_op_info[i->op].flags & IRF_MEM;
    /* The result of a memory operation must not share a register with its address: the slow path
     * may look at the address again. Others may take over a source that ends here. */
    if (memory && ir_is_temp(i->dst))
        assign_temp(a, i->dst);
    for (unsigned e = 0; e < nr; e++) {
        bool twice = false;
        for (unsigned p = 0; p < e; p++)
            twice |= ends[p] == ends[e];
        if (!twice && ir_is_temp(ends[e]) && a->last_use[ends[e] - IR_NR_GLOBALS] == k)
            release_temp(a, ends[e]);
    }
    if (!memory && ir_is_temp(i->dst))
        assign_temp(a, i->dst);
    if (ir_is_temp(i->dst) && a->last_use[i->dst - IR_NR_GLOBALS] == k)
        release_temp(a, i->dst); /* never read */
}

void ir_allocate(const struct ir_region *r, const struct ir_regfile *file, struct ir_alloc *out)
{
    struct allocator a;

    a.r = r;
    a.file = file;
    a.out = out;
    memset(a.score, 0, sizeof(a.score));
    memset(out->global, IR_LOC_MEMORY, sizeof(out->global));
    out->in_registers = 0;
    out->failed = false;
    a.free_int = a.free_fp = 0;
    for (unsigned n = 0; n < file->nr_int; n++)
        a.free_int |= 1u << file->int_reg[n];
    for (unsigned n = 0; n < file->nr_fp; n++)
        a.free_fp |= 1u << file->fp_reg[n];
    find_last_uses(&a);
    score_globals(&a);
    unsigned keep_int = reserve_for_temps(&a, false), keep_fp = reserve_for_temps(&a, true);
    place_globals(&a, 1, 32, file->int_reg, file->nr_int - keep_int, &a.free_int);
    place_globals(&a, 32, 64, file->fp_reg, file->nr_fp - keep_fp, &a.free_fp);
    for (unsigned n = 0; n < r->nr_blocks; n++) {
        a.free_slots = UINT32_MAX;
        for (unsigned k = 0; k < r->block[n].nr; k++)
            scan_insn(&a, r->block[n].first + k);
    }
}
