/* Shared by the files that translate vectors: the foreseen type, groups of registers, places in the state (trans_vec.c has
 * the picture). */
#ifndef CPU_JIT_TRANS_VEC_H
#define CPU_JIT_TRANS_VEC_H

#include "trans.h"

enum { MIN_BYTES = 4, PIECE = 16, MAX_BYTES = 8 * RV_VLENB_MAX };

/* What the next vector instruction will probably find. */
struct type {
    unsigned sew;   /* log2 of bytes */
    int lmul;       /* log2 */
    unsigned bytes; /* of a group */
};

static inline bool type_of(uint64_t vtype, unsigned vlenb, struct type *y)
{
    y->sew = vtype >> 3 & 7;
    y->lmul = (int)((vtype & 7) ^ 4) - 4;
    y->bytes = y->lmul >= 0 ? vlenb << y->lmul : vlenb >> -y->lmul;
    return !(vtype >> 8) && y->sew <= 3 && y->lmul >= -3 && (int)y->sew <= y->lmul + 3;
}

static inline bool foresee(const struct trans *t, struct type *y)
{
    return type_of(t->vtype, t->vlenb, y) && y->bytes >= MIN_BYTES && y->bytes <= MAX_BYTES;
}

/* The size of operands: of less than a piece only the lower part counts. */
static inline void set_bytes(struct ir_vec *v, unsigned bytes)
{
    v->bytes = (uint16_t)(bytes < PIECE ? PIECE : bytes);
    v->used = (uint16_t)(bytes < PIECE ? bytes : 0);
}

static inline bool aligned(unsigned reg, int lmul)
{
    return lmul <= 0 || !(reg & ((1u << lmul) - 1));
}

static inline bool groups_apart(unsigned a, int a_lmul, unsigned b, int b_lmul)
{
    unsigned nr_a = a_lmul > 0 ? 1u << a_lmul : 1, nr_b = b_lmul > 0 ? 1u << b_lmul : 1;

    return a + nr_a <= b || b + nr_b <= a;
}

static inline int32_t place(const struct trans *t, unsigned reg)
{
    return (int32_t)(offsetof(struct rv_hart, v) + reg * t->vlenb);
}

static inline bool host_has(const struct trans *t, unsigned op, unsigned size)
{
    return ir_host_has(t->host, IR_VOP, (enum ir_type)size, op);
}

#endif
