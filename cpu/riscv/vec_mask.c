/* Vector mask instructions (V 15): logic on masks, counting, finding, and indices. */
#include "vec.h"

#define EXEC(_op, _call)                                                                           \
    enum rv_exec exec_##_op(struct rv_hart *h, const struct rv_insn *i)                            \
    {                                                                                              \
        return _call;                                                                              \
    }

/* --- logic: bits [vstart, vl) --- */

#define LOGIC(_op, _expr)                                                                          \
    enum rv_exec exec_##_op##_mm(struct rv_hart *h, const struct rv_insn *i)                       \
    {                                                                                              \
        struct vec c;                                                                              \
                                                                                                   \
        if (!vec_begin(&c, h, i))                                                                  \
            return rv_illegal(h, i);                                                               \
        const uint8_t *pa = vec_reg(h, i->rs2), *pb = vec_reg(h, i->rs1);                          \
        uint8_t *out = vec_reg(h, i->rd);                                                          \
        for (unsigned k = c.start / 8; k * 8 < c.vl; k++) {                                        \
            unsigned a = pa[k], b = pb[k], keep = kept_bits(&c, k);                                \
            out[k] = (uint8_t)((out[k] & keep) | ((_expr) & ~keep));                               \
        }                                                                                          \
        return vec_end(h);                                                                         \
    }

/* The bits of byte k that are below vstart, or vl and above. */
static unsigned kept_bits(const struct vec *c, unsigned k)
{
    unsigned keep = 0;

    if (c->start > k * 8)
        keep |= (1u << (c->start - k * 8)) - 1;
    if (c->vl < k * 8 + 8)
        keep |= ~0u << (c->vl - k * 8);
    return keep;
}

LOGIC(vmand, a & b)
LOGIC(vmnand, ~(a & b))
LOGIC(vmandn, a & ~b)
LOGIC(vmxor, a ^ b)
LOGIC(vmor, a | b)
LOGIC(vmnor, ~(a | b))
LOGIC(vmorn, a | ~b)
LOGIC(vmxnor, ~(a ^ b))

/* --- to x registers --- */

/* Bits [0, vl) of vs2 that are active and set, the next 64 from n. */
static uint64_t active_bits(const struct vec *c, unsigned n)
{
    const uint8_t *src = vec_reg(c->h, c->i->rs2);
    unsigned left = c->vl - n, bytes = left >= 64 ? 8 : (left + 7) / 8;
    uint64_t bits = 0, mask = UINT64_MAX;

    memcpy(&bits, src + n / 8, bytes);
    if (!c->all)
        memcpy(&mask, c->v0 + n / 8, bytes);
    if (left < 64)
        mask &= (1ull << left) - 1;
    return bits & mask;
}

static enum rv_exec to_x(struct rv_hart *h, const struct rv_insn *i, bool first)
{
    uint64_t result = first ? UINT64_MAX : 0;
    struct vec c;

    if (!vec_begin(&c, h, i) || c.start)
        return rv_illegal(h, i);
    for (unsigned n = 0; n < c.vl; n += 64) {
        uint64_t bits = active_bits(&c, n);

        if (first && bits) {
            result = n + (unsigned)__builtin_ctzll(bits);
            break;
        }
        if (!first)
            result += (unsigned)__builtin_popcountll(bits);
    }
    rv_set_x(h, i->rd, result);
    return vec_end(h);
}

EXEC(vcpop_m, to_x(h, i, false))
EXEC(vfirst_m, to_x(h, i, true))

/* --- up to the first set bit --- */

enum side { BEFORE, UP_TO, ONLY };

static enum rv_exec first_bit(struct rv_hart *h, const struct rv_insn *i, enum side side)
{
    union vec_buf out;
    bool found = false;
    struct vec c;

    if (!vec_begin(&c, h, i) || c.start || !vec_not_mask(&c, i->rd) || i->rd == i->rs2)
        return rv_illegal(h, i);
    const uint8_t *src = vec_reg(h, i->rs2);
    VEC_FOR (&c, n) {
        bool is_first = !found && vec_bit(src, n);

        out.b[n] = side == ONLY ? is_first : !found && (side == UP_TO || !is_first);
        found |= is_first;
    }
    vec_merge_mask(&c, i->rd, out.b);
    return vec_end(h);
}

EXEC(vmsbf_m, first_bit(h, i, BEFORE))
EXEC(vmsif_m, first_bit(h, i, UP_TO))
EXEC(vmsof_m, first_bit(h, i, ONLY))

/* --- indices --- */

enum rv_exec exec_viota_m(struct rv_hart *h, const struct rv_insn *i)
{
    union vec_buf out;
    uint64_t sum = 0;
    struct vec c;

    if (!vec_begin(&c, h, i) || c.start || !vec_not_mask(&c, i->rd) || !vec_aligned(i->rd, c.lmul) ||
        !vec_apart(i->rd, vec_regs(c.lmul), i->rs2, 1))
        return rv_illegal(h, i);
    const uint8_t *src = vec_reg(h, i->rs2);
    VEC_SIZED(c.sew, {
        VEC_FOR (&c, n) {
            ((T *)(void *)&out)[n] = (T)sum;
            sum += vec_bit(src, n);
        }
    })
    vec_merge(&c, i->rd, &out, c.sew);
    return vec_end(h);
}

enum rv_exec exec_vid_v(struct rv_hart *h, const struct rv_insn *i)
{
    union vec_buf out;
    struct vec c;

    if (!vec_begin(&c, h, i) || !vec_not_mask(&c, i->rd) || !vec_aligned(i->rd, c.lmul))
        return rv_illegal(h, i);
    VEC_SIZED(c.sew, {
        for (unsigned n = 0; n < c.vl; n++)
            ((T *)(void *)&out)[n] = (T)n;
    })
    vec_merge(&c, i->rd, &out, c.sew);
    return vec_end(h);
}
