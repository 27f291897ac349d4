/* Upper halves nobody looks at. A value of 32 bits is sign-extended in a guest register, yet mostly read
 * by operations that take the low half again. Backward through each block: which values are wanted
 * whole? A result that is not is marked `low`: the host then need not extend it, and extensions of it
 * become moves. At a SITE and at the block's end every global is wanted. */
#include <string.h>

#include "ir.h"

struct demand {
    struct ir_region *r;
    uint64_t globals;            /* wanted whole */
    bool temps[IR_MAX_TEMPS];
};

/* Does bit n of the result depend on bits 0..n of the sources only? */
static bool carries_upwards(unsigned op)
{
    switch (op) {
    case IR_MOV: case IR_ADD: case IR_SUB: case IR_AND: case IR_OR: case IR_XOR: case IR_ANDN:
    case IR_ORN: case IR_XNOR: case IR_SHL: case IR_SHADD: case IR_MUL:
        return true;
    default:
        return false;
    }
}

static bool has_word_form(unsigned op)
{
    return (op >= IR_ADD && op <= IR_ROR) || (op >= IR_MUL && op <= IR_POPCNT);
}

/* and with a mask of the low half */
static bool masks_low(const struct ir_region *r, const struct ir_insn *i)
{
    return i->op == IR_AND && ir_is_const(i->src[1]) &&
           !((uint64_t)ir_const_value(r, i->src[1]) >> 31);
}

/* Is source s wanted whole? */
static bool wants(const struct ir_region *r, const struct ir_insn *i, unsigned s)
{
    if (i->type == IR_I32 && has_word_form(i->op))
        return false;
    switch (i->op) {
    case IR_SEXT8: case IR_SEXT16: case IR_SEXT32: case IR_ZEXT16: case IR_ZEXT32: return false;
    case IR_STORE: return s == 0 || i->aux == IR_M64;
    case IR_SHR: case IR_SAR: return s == 0;
    case IR_SHL: return s == 0 && !i->low;
    case IR_SHADD_UW: return s == 1 && !i->low;
    case IR_SELECT: return s == 0 || !i->low;
    default: return !(carries_upwards(i->op) && (i->low || masks_low(r, i)));
    }
}

static bool *want_of(struct demand *d, ir_ref ref)
{
    return &d->temps[ref - IR_NR_GLOBALS];
}

static bool take(struct demand *d, ir_ref dst)
{
    if (ir_is_temp(dst))
        return *want_of(d, dst);
    bool wanted = d->globals & ir_bit(dst);
    d->globals &= ~ir_bit(dst);
    return wanted;
}

static void narrow(struct demand *d, struct ir_insn *i)
{
    const struct ir_op_info *info = &ir_op_info[i->op];

    i->low = i->dst != IR_NONE && !ir_is_fp(d->r, i->dst) && !take(d, i->dst);
    if (info->flags & IRF_SITE)
        d->globals = UINT64_MAX;
    for (unsigned s = 0; s < info->nsrc; s++) {
        ir_ref ref = i->src[s];
        if (ir_is_const(ref) || ref == IR_NONE || !wants(d->r, i, s))
            continue;
        if (ir_is_temp(ref))
            *want_of(d, ref) = true;
        else
            d->globals |= ir_bit(ref);
    }
    if (i->low && (i->op == IR_SEXT32 || i->op == IR_ZEXT32)) {
        i->op = IR_MOV;
        i->type = IR_I64;
    }
}

void ir_pass_narrow(struct ir_region *r)
{
    struct demand d;

    d.r = r;
    memset(d.temps, 0, sizeof d.temps[0] * r->nr_temps);
    for (unsigned n = 0; n < r->nr_blocks; n++) {
        const struct ir_block *b = &r->block[n];

        d.globals = UINT64_MAX;
        for (int k = b->nr - 1; k >= 0; k--)
            narrow(&d, &r->insn[b->first + k]);
    }
}
