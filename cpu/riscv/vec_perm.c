/* Vector permutations (V 16): scalar moves, slides, gathers, compress, whole-register moves. */
#include "vec.h"

#define EXEC(_op, _call)                                                                           \
    enum rv_exec exec_##_op(struct rv_hart *h, const struct rv_insn *i)                            \
    {                                                                                              \
        return _call;                                                                              \
    }

/* --- element 0 --- */

enum rv_exec exec_vmv_x_s(struct rv_hart *h, const struct rv_insn *i)
{
    struct vec c;

    if (!vec_begin(&c, h, i))
        return rv_illegal(h, i);
    rv_set_x(h, i->rd, (uint64_t)vec_get_signed(vec_reg(h, i->rs2), 0, c.sew));
    return vec_end(h);
}

enum rv_exec exec_vmv_s_x(struct rv_hart *h, const struct rv_insn *i)
{
    struct vec c;

    if (!vec_begin(&c, h, i))
        return rv_illegal(h, i);
    if (c.start < c.vl)
        vec_put(vec_reg(h, i->rd), 0, c.sew, h->x[i->rs1]);
    return vec_end(h);
}

/* --- slides --- */

/* vd is no source of elements that others have overwritten. */
static bool slide_ok(const struct vec *c, bool up)
{
    const struct rv_insn *i = c->i;

    return vec_not_mask(c, i->rd) && vec_aligned(i->rd, c->lmul) && vec_source_ok(c, i->rs2, c->lmul) &&
           !(up && i->rd == i->rs2);
}

static uint64_t slide_offset(const struct rv_hart *h, const struct rv_insn *i, enum vec_form form)
{
    return form == VEC_VX ? h->x[i->rs1] : (uint64_t)i->imm;
}

static enum rv_exec slide_up(struct rv_hart *h, const struct rv_insn *i, enum vec_form form)
{
    union vec_buf out;
    struct vec c;

    if (!vec_begin(&c, h, i) || !slide_ok(&c, true))
        return rv_illegal(h, i);
    uint64_t offset = slide_offset(h, i, form);
    if (offset < c.vl) {
        memcpy(out.b + (offset << c.sew), vec_reg(h, i->rs2), (c.vl - offset) << c.sew);
        c.start = offset > c.start ? (unsigned)offset : c.start;
        vec_merge(&c, i->rd, &out, c.sew);
    }
    return vec_end(h);
}

static enum rv_exec slide_down(struct rv_hart *h, const struct rv_insn *i, enum vec_form form)
{
    union vec_buf out;
    struct vec c;

    if (!vec_begin(&c, h, i) || !slide_ok(&c, false))
        return rv_illegal(h, i);
    uint64_t offset = slide_offset(h, i, form), there = offset < c.vlmax ? c.vlmax - offset : 0;
    unsigned n = there < c.vl ? (unsigned)there : c.vl;
    if (n)
        memcpy(&out, vec_reg(h, i->rs2) + (offset << c.sew), (size_t)n << c.sew);
    memset(out.b + ((size_t)n << c.sew), 0, (size_t)(c.vl - n) << c.sew);
    vec_merge(&c, i->rd, &out, c.sew);
    return vec_end(h);
}

EXEC(vslideup_vx, slide_up(h, i, VEC_VX))
EXEC(vslideup_vi, slide_up(h, i, VEC_VI))
EXEC(vslidedown_vx, slide_down(h, i, VEC_VX))
EXEC(vslidedown_vi, slide_down(h, i, VEC_VI))

enum rv_exec vec_slide_1(struct vec *c, bool up, uint64_t scalar)
{
    const struct rv_insn *i = c->i;
    union vec_buf out;

    if (!slide_ok(c, up))
        return rv_illegal(c->h, i);
    if (c->vl) {
        size_t rest = (size_t)(c->vl - 1) << c->sew, one = 1u << c->sew;

        memcpy(out.b + (up ? one : 0), vec_reg(c->h, i->rs2) + (up ? 0 : one), rest);
        vec_put(&out, up ? 0 : c->vl - 1, c->sew, scalar);
        vec_merge(c, i->rd, &out, c->sew);
    }
    return vec_end(c->h);
}

static enum rv_exec slide_1_x(struct rv_hart *h, const struct rv_insn *i, bool up)
{
    struct vec c;

    return vec_begin(&c, h, i) ? vec_slide_1(&c, up, h->x[i->rs1]) : rv_illegal(h, i);
}

EXEC(vslide1up_vx, slide_1_x(h, i, true))
EXEC(vslide1down_vx, slide_1_x(h, i, false))

/* --- gathers --- */

/* Indices at or above VLMAX give 0. */
static void gather(const struct vec *c, union vec_buf *out, const void *index, unsigned index_size)
{
    const void *src = vec_reg(c->h, c->i->rs2);
    uint64_t at[VEC_MAX_BYTES];

    VEC_SIZED(index_size, {
        for (unsigned n = 0; n < c->vl; n++)
            at[n] = ((const T *)index)[n];
    })
    VEC_SIZED(c->sew, {
        for (unsigned n = 0; n < c->vl; n++)
            ((T *)(void *)out)[n] = at[n] < c->vlmax ? ((const T *)src)[at[n]] : 0;
    })
}

static enum rv_exec gather_by_vector(struct rv_hart *h, const struct rv_insn *i, bool index_16)
{
    union vec_buf out;
    struct vec c;

    if (!vec_begin(&c, h, i) || !slide_ok(&c, true))
        return rv_illegal(h, i);
    unsigned size = index_16 ? VEC_16 : c.sew;
    int emul = (int)size - (int)c.sew + c.lmul;
    if (!vec_emul_ok(emul) || !vec_source_ok(&c, i->rs1, emul) ||
        (size != c.sew && !vec_apart(i->rs1, vec_regs(emul), i->rs2, vec_regs(c.lmul))) ||
        !vec_apart(i->rd, vec_regs(c.lmul), i->rs1, vec_regs(emul)))
        return rv_illegal(h, i);
    gather(&c, &out, vec_reg(h, i->rs1), size);
    vec_merge(&c, i->rd, &out, c.sew);
    return vec_end(h);
}

static enum rv_exec gather_one(struct rv_hart *h, const struct rv_insn *i, enum vec_form form)
{
    union vec_buf out;
    struct vec c;

    if (!vec_begin(&c, h, i) || !slide_ok(&c, true))
        return rv_illegal(h, i);
    uint64_t at = slide_offset(h, i, form);
    vec_splat(&out, at < c.vlmax ? vec_get(vec_reg(h, i->rs2), (unsigned)at, c.sew) : 0, c.sew, c.vl);
    vec_merge(&c, i->rd, &out, c.sew);
    return vec_end(h);
}

EXEC(vrgather_vv, gather_by_vector(h, i, false))
EXEC(vrgatherei16_vv, gather_by_vector(h, i, true))
EXEC(vrgather_vx, gather_one(h, i, VEC_VX))
EXEC(vrgather_vi, gather_one(h, i, VEC_VI))

enum rv_exec exec_vcompress_vm(struct rv_hart *h, const struct rv_insn *i)
{
    union vec_buf out;
    unsigned nr = 0;
    struct vec c;

    if (!vec_begin(&c, h, i) || c.start || !slide_ok(&c, true) ||
        !vec_apart(i->rd, vec_regs(c.lmul), i->rs1, 1))
        return rv_illegal(h, i);
    const void *src = vec_reg(h, i->rs2), *mask = vec_reg(h, i->rs1);
    VEC_SIZED(c.sew, {
        for (unsigned n = 0; n < c.vl; n++)
            if (vec_bit(mask, n))
                ((T *)(void *)&out)[nr++] = ((const T *)src)[n];
    })
    c.vl = nr;
    vec_merge(&c, i->rd, &out, c.sew);
    return vec_end(h);
}

/* --- whole registers: neither vl nor LMUL counts, vstart in elements of SEW --- */

static enum rv_exec move_registers(struct rv_hart *h, const struct rv_insn *i, unsigned nr)
{
    struct vec c;

    if (!vec_begin(&c, h, i) || (i->rd | i->rs2) & (nr - 1))
        return rv_illegal(h, i);
    size_t from = (size_t)c.start << c.sew, bytes = nr * h->vlenb;
    if (from < bytes)
        memmove(vec_reg(h, i->rd) + from, vec_reg(h, i->rs2) + from, bytes - from);
    return vec_end(h);
}

EXEC(vmv1r_v, move_registers(h, i, 1))
EXEC(vmv2r_v, move_registers(h, i, 2))
EXEC(vmv4r_v, move_registers(h, i, 4))
EXEC(vmv8r_v, move_registers(h, i, 8))
