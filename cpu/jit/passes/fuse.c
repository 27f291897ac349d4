/* Pairs of operations that the host does in one:
 *
 *   set; branch on it                       branch on the set's operands
 *   shl a, n; shr a, width - n; or          rol
 *   shl a, n; shr or sar n                  zero- or sign-extension
 *   shl a, n; add                           shadd (n <= 3)
 *
 * The first of a pair stays; when nobody else reads it, dce removes it. */
#include "ir.h"

struct fuser {
    struct ir_region *r;
    int def[IR_NR_GLOBALS];          /* last definition in the block before the operation, or -1 */
    uint16_t temp_def[IR_MAX_TEMPS];
};

/* Operation that computed `ref`, -1: before the block. */
static int def_of(const struct fuser *f, ir_ref ref)
{
    if (ir_is_const(ref) || ref == IR_NONE)
        return -1;
    return ir_is_temp(ref) ? f->temp_def[ref - IR_NR_GLOBALS] : f->def[ref];
}

/* Does `ref` still have the value that operation `at` read? */
static bool unchanged_since(const struct fuser *f, int at, ir_ref ref)
{
    return !ir_is_global(ref) || f->def[ref] < at;
}

/* The definition of src when it is `op` of `type` by a constant (into *n) of a value that is still to be
 * had; or NULL. */
static const struct ir_insn *shift_by(const struct fuser *f, ir_ref src, unsigned op, unsigned type,
                                      int64_t *n)
{
    int at = def_of(f, src);

    if (at < 0)
        return NULL;
    const struct ir_insn *d = &f->r->insn[at];
    if (d->op != op || d->type != type || !ir_is_const(d->src[1]) ||
        !unchanged_since(f, at, d->src[0]))
        return NULL;
    *n = ir_const_value(f->r, d->src[1]) & (type == IR_I32 ? 31 : 63);
    return d;
}

static void become(struct ir_insn *i, enum ir_op op, enum ir_type type, ir_ref a, ir_ref b)
{
    i->op = (uint8_t)op;
    i->type = (uint8_t)type;
    i->src[0] = a;
    i->src[1] = b;
}

static bool fuse_rotate(struct fuser *f, struct ir_insn *i, ir_ref left, ir_ref right)
{
    for (unsigned type = IR_I32; type <= IR_I64; type++) {
        int64_t n, m;
        const struct ir_insn *l = shift_by(f, left, IR_SHL, type, &n);
        const struct ir_insn *r = shift_by(f, right, IR_SHR, type, &m);
        if (!l || !r || l->src[0] != r->src[0] || !n || n + m != (type == IR_I32 ? 32 : 64))
            continue;
        become(i, IR_ROL, (enum ir_type)type, l->src[0], l->src[1]);
        return true;
    }
    return false;
}

static void fuse_or(struct fuser *f, struct ir_insn *i)
{
    if (i->type == IR_I64 && !fuse_rotate(f, i, i->src[0], i->src[1]))
        fuse_rotate(f, i, i->src[1], i->src[0]);
}

static void fuse_shadd(struct fuser *f, struct ir_insn *i, ir_ref shifted, ir_ref other)
{
    int64_t n;
    const struct ir_insn *d = shift_by(f, shifted, IR_SHL, IR_I64, &n);

    if (i->type != IR_I64 || !d || n < 1 || n > 3 || ir_is_const(other))
        return;
    become(i, IR_SHADD, IR_I64, d->src[0], other);
    i->aux = (uint8_t)n;
}

static void fuse_add(struct fuser *f, struct ir_insn *i)
{
    fuse_or(f, i);
    if (i->op == IR_ADD)
        fuse_shadd(f, i, i->src[0], i->src[1]);
    if (i->op == IR_ADD)
        fuse_shadd(f, i, i->src[1], i->src[0]);
}

/* shl by n, then back by m */
static void fuse_extend(struct fuser *f, struct ir_insn *i)
{
    bool is_signed = i->op == IR_SAR, word = i->type == IR_I32;
    int64_t n, m;

    if (!ir_is_const(i->src[1]))
        return;
    m = ir_const_value(f->r, i->src[1]) & (word ? 31 : 63);
    const struct ir_insn *d = shift_by(f, i->src[0], IR_SHL, i->type, &n);
    if (!d || !n)
        return;
    int64_t bits = (word ? 32 : 64) - n; /* that are left */
    if (n == m && bits == 32)
        become(i, is_signed ? IR_SEXT32 : IR_ZEXT32, IR_I64, d->src[0], IR_NONE);
    else if (n == m && bits == 16)
        become(i, is_signed ? IR_SEXT16 : IR_ZEXT16, IR_I64, d->src[0], IR_NONE);
    else if (n == m && bits == 8 && is_signed)
        become(i, IR_SEXT8, IR_I64, d->src[0], IR_NONE);
    else if (n == m && bits < 32 && !is_signed)
        become(i, IR_AND, IR_I64, d->src[0], ir_const(f->r, ((int64_t)1 << bits) - 1));
    else if (bits == 32 && !is_signed && n - m >= 1 && n - m <= 3) {
        become(i, IR_SHADD_UW, IR_I64, d->src[0], ir_const(f->r, 0));
        i->aux = (uint8_t)(n - m);
    }
}

static void fuse_branch(struct fuser *f, struct ir_insn *br)
{
    if ((br->cc != IR_NE && br->cc != IR_EQ) || !ir_is_zero(f->r, br->src[1]))
        return;
    int at = def_of(f, br->src[0]);
    if (at < 0)
        return;
    const struct ir_insn *set = &f->r->insn[at];
    if (set->op != IR_SET || !unchanged_since(f, at, set->src[0]) ||
        !unchanged_since(f, at, set->src[1]))
        return;
    br->cc = (uint8_t)(br->cc == IR_NE ? set->cc : ir_cc_invert((enum ir_cc)set->cc));
    br->src[0] = set->src[0];
    br->src[1] = set->src[1];
}

static void fuse_insn(struct fuser *f, struct ir_insn *i)
{
    switch (i->op) {
    case IR_BR: fuse_branch(f, i); break;
    case IR_OR: case IR_XOR: fuse_or(f, i); break;
    case IR_ADD: fuse_add(f, i); break;
    case IR_SHR: case IR_SAR: fuse_extend(f, i); break;
    default: break;
    }
}

void ir_pass_fuse(struct ir_region *r)
{
    struct fuser f;

    f.r = r;
    for (unsigned n = 0; n < r->nr_blocks; n++) {
        const struct ir_block *b = &r->block[n];

        for (unsigned g = 0; g < IR_NR_GLOBALS; g++)
            f.def[g] = -1;
        for (unsigned k = b->first; k < (unsigned)b->first + b->nr; k++) {
            struct ir_insn *i = &r->insn[k];
            fuse_insn(&f, i);
            if (ir_is_temp(i->dst))
                f.temp_def[i->dst - IR_NR_GLOBALS] = (uint16_t)k;
            else if (i->dst != IR_NONE)
                f.def[i->dst] = (int)k;
        }
    }
}
