/* Vector integer reductions (V 14): vd[0] = vs1[0] and every active element of vs2 together.
 *
 * Those of floating point are in vec_fp.c. */
#include "vec.h"

/* acc is vs1[0], as wide as the result. */
typedef uint64_t (*fold_fn)(const struct vec *c, const void *a, uint64_t acc);

#define FOLD(_name, _acc, _elem, _expr)                                                            \
    static uint64_t _name(const struct vec *c, const void *pa, uint64_t start)                     \
    {                                                                                              \
        _acc acc = (_acc)start;                                                                    \
                                                                                                   \
        if (c->all) {                                                                              \
            for (unsigned n = 0; n < c->vl; n++) {                                                 \
                _acc a = (_acc)((const _elem *)pa)[n];                                             \
                acc = (_acc)(_expr);                                                               \
            }                                                                                      \
            return (uint64_t)acc;                                                                  \
        }                                                                                          \
        VEC_FOR (c, n) {                                                                           \
            _acc a = (_acc)((const _elem *)pa)[n];                                                 \
            acc = (_acc)(_expr);                                                                   \
        }                                                                                          \
        return (uint64_t)acc;                                                                      \
    }
#define FOLDS(_name, _u, _expr)                                                                    \
    FOLD(_name##_0, vec_##_u##0, vec_##_u##0, _expr)                                               \
    FOLD(_name##_1, vec_##_u##1, vec_##_u##1, _expr)                                               \
    FOLD(_name##_2, vec_##_u##2, vec_##_u##2, _expr)                                               \
    FOLD(_name##_3, vec_##_u##3, vec_##_u##3, _expr)                                               \
    static const fold_fn _name[VEC_SIZES] = {_name##_0, _name##_1, _name##_2, _name##_3};
#define FOLDS_WIDE(_name, _u)                                                                      \
    FOLD(_name##_0, vec_du0, vec_##_u##0, acc + a)                                                 \
    FOLD(_name##_1, vec_du1, vec_##_u##1, acc + a)                                                 \
    FOLD(_name##_2, vec_du2, vec_##_u##2, acc + a)                                                 \
    static const fold_fn _name[VEC_SIZES] = {_name##_0, _name##_1, _name##_2, NULL};

/* vs1 and vd are single registers and may overlap anything, v0 under a mask too. */
static enum rv_exec reduce(struct rv_hart *h, const struct rv_insn *i, unsigned wider,
                           const fold_fn folds[VEC_SIZES])
{
    struct vec c;

    if (!vec_begin(&c, h, i) || c.start || !vec_aligned(i->rs2, c.lmul) || (wider && !vec_has_wider(&c)))
        return rv_illegal(h, i);
    unsigned size = c.sew + wider;
    uint64_t acc = vec_get(vec_reg(h, i->rs1), 0, size);
    if (c.vl)
        vec_put(vec_reg(h, i->rd), 0, size, folds[c.sew](&c, vec_reg(h, i->rs2), acc));
    return vec_end(h);
}

#define REDUCE(_op, _wider, _folds)                                                                \
    enum rv_exec exec_##_op##_vs(struct rv_hart *h, const struct rv_insn *i)                       \
    {                                                                                              \
        return reduce(h, i, _wider, _folds);                                                       \
    }

FOLDS(f_sum, u, acc + a)
FOLDS(f_and, u, acc & a)
FOLDS(f_or, u, acc | a)
FOLDS(f_xor, u, acc ^ a)
FOLDS(f_minu, u, a < acc ? a : acc)
FOLDS(f_min, s, a < acc ? a : acc)
FOLDS(f_maxu, u, a > acc ? a : acc)
FOLDS(f_max, s, a > acc ? a : acc)
FOLDS_WIDE(f_wsumu, u)
FOLDS_WIDE(f_wsum, s)
REDUCE(vredsum, 0, f_sum)
REDUCE(vredand, 0, f_and)
REDUCE(vredor, 0, f_or)
REDUCE(vredxor, 0, f_xor)
REDUCE(vredminu, 0, f_minu)
REDUCE(vredmin, 0, f_min)
REDUCE(vredmaxu, 0, f_maxu)
REDUCE(vredmax, 0, f_max)
REDUCE(vwredsumu, 1, f_wsumu)
REDUCE(vwredsum, 1, f_wsum)
