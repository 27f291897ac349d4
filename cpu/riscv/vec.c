/* Vector configuration (vset*, the state behind vl, vtype and vkey), and what all vector instructions share. */
#include "vec.h"

#include "csr_bits.h"

/* --- configuration --- */

#define VTYPE_VILL (1ull << 63)

static int vtype_lmul(uint64_t vtype)
{
    return (int)((vtype & 7) ^ 4) - 4;
}

static unsigned vtype_sew(uint64_t vtype)
{
    return vtype >> 3 & 7;
}

static unsigned elen_log2(const struct rv_hart *h)
{
    return rv_isa_has(&h->isa, RV_EXT_ZVE64X) ? VEC_64 : VEC_32;
}

/* A fraction must leave room for an element of SEW in a register that has one of ELEN (V 3.4.2). */
static bool vtype_legal(const struct rv_hart *h, uint64_t vtype)
{
    unsigned sew = vtype_sew(vtype), elen = elen_log2(h);
    int lmul = vtype_lmul(vtype);

    return !(vtype >> 8) && sew <= elen && lmul >= -3 && (int)sew <= lmul + (int)elen;
}

static uint64_t vlmax_of(const struct rv_hart *h, uint64_t vtype)
{
    int lmul = vtype_lmul(vtype);
    uint64_t elements = h->vlenb >> vtype_sew(vtype);

    return lmul >= 0 ? elements << lmul : elements >> -lmul;
}

void rv_vec_sync(struct rv_hart *h)
{
    h->vs_on = (h->mstatus & MSTATUS_VS) != 0;
    h->vs_dirty |= (h->mstatus & MSTATUS_VS) == MSTATUS_VS;
    h->vkey = h->vkey_any = RV_VKEY_NONE;
    if (!h->vs_on || !h->vs_dirty || h->vstart || h->vtype & VTYPE_VILL)
        return;
    h->vkey_any = rv_vkey(h->vtype);
    if (h->vl == vlmax_of(h, h->vtype))
        h->vkey = h->vkey_any;
}

static void reset_type(struct rv_hart *h)
{
    h->vtype = VTYPE_VILL;
    h->vl = h->vstart = 0;
}

void rv_vec_reset(struct rv_hart *h)
{
    h->vlenb = h->isa.vlen / 8u;
    h->vxrm = h->vxsat = h->vs_dirty = 0;
    memset(h->v, 0, sizeof h->v);
    reset_type(h);
    rv_vec_sync(h);
}

bool rv_vec_state_legal(const struct rv_hart *h)
{
    if (h->vxrm > 3 || h->vxsat > 1 || h->vstart >= RV_VLENB_MAX * 8)
        return false;
    if (h->vtype == VTYPE_VILL)
        return h->vl == 0;
    return vtype_legal(h, h->vtype) && h->vl <= vlmax_of(h, h->vtype);
}

/* AVL between VLMAX and twice that gives VLMAX (V 6.3 permits it). */
static enum rv_exec configure(struct rv_hart *h, unsigned rd, uint64_t vtype, uint64_t avl)
{
    reset_type(h);
    if (vtype_legal(h, vtype)) {
        uint64_t vlmax = vlmax_of(h, vtype);
        h->vtype = vtype;
        h->vl = avl < vlmax ? avl : vlmax;
    }
    h->vs_dirty = 1;
    rv_vec_sync(h);
    rv_set_x(h, rd, h->vl);
    return RV_NEXT;
}

/* rs1 = x0: VLMAX, or with rd = x0 too the vl there is, if VLMAX stays what it was (else reserved: vill). */
static enum rv_exec configure_rs1(struct rv_hart *h, const struct rv_insn *i, uint64_t vtype)
{
    if (i->rs1)
        return configure(h, i->rd, vtype, h->x[i->rs1]);
    if (i->rd)
        return configure(h, i->rd, vtype, UINT64_MAX);
    return configure(h, 0, vtype, h->vl);
}

enum rv_exec exec_vsetvli(struct rv_hart *h, const struct rv_insn *i)
{
    return configure_rs1(h, i, (uint64_t)i->imm);
}

enum rv_exec exec_vsetivli(struct rv_hart *h, const struct rv_insn *i)
{
    return configure(h, i->rd, (uint64_t)i->imm, i->rs1);
}

enum rv_exec exec_vsetvl(struct rv_hart *h, const struct rv_insn *i)
{
    return configure_rs1(h, i, h->x[i->rs2]);
}

bool vec_begin(struct vec *c, struct rv_hart *h, const struct rv_insn *i)
{
    c->h = h;
    c->i = i;
    c->v0 = h->v;
    c->sew = vtype_sew(h->vtype);
    c->lmul = vtype_lmul(h->vtype);
    c->vl = (unsigned)h->vl;
    c->start = (unsigned)h->vstart;
    c->all = i->rm;
    c->vlmax = (unsigned)vlmax_of(h, h->vtype);
    return !(h->vtype & VTYPE_VILL);
}

/* --- elements --- */

uint64_t vec_get(const void *group, unsigned n, unsigned size)
{
    switch (size) {
    case VEC_8: return ((const uint8_t *)group)[n];
    case VEC_16: return ((const uint16_t *)group)[n];
    case VEC_32: return ((const uint32_t *)group)[n];
    default: return ((const uint64_t *)group)[n];
    }
}

int64_t vec_get_signed(const void *group, unsigned n, unsigned size)
{
    switch (size) {
    case VEC_8: return ((const int8_t *)group)[n];
    case VEC_16: return ((const int16_t *)group)[n];
    case VEC_32: return ((const int32_t *)group)[n];
    default: return ((const int64_t *)group)[n];
    }
}

void vec_put(void *group, unsigned n, unsigned size, uint64_t value)
{
    switch (size) {
    case VEC_8: ((uint8_t *)group)[n] = (uint8_t)value; break;
    case VEC_16: ((uint16_t *)group)[n] = (uint16_t)value; break;
    case VEC_32: ((uint32_t *)group)[n] = (uint32_t)value; break;
    default: ((uint64_t *)group)[n] = value; break;
    }
}

void vec_splat(void *dst, uint64_t value, unsigned size, unsigned n)
{
    VEC_SIZED(size, {
        for (unsigned k = 0; k < n; k++)
            ((T *)dst)[k] = (T)value;
    })
}

void vec_merge(const struct vec *c, unsigned reg, const void *src, unsigned size)
{
    uint8_t *dst = vec_reg(c->h, reg);

    if (c->all && c->start < c->vl) {
        size_t from = (size_t)c->start << size;
        memcpy(dst + from, (const uint8_t *)src + from, ((size_t)c->vl << size) - from);
        return;
    }
    VEC_SIZED(size, {
        VEC_FOR (c, n)
            ((T *)(void *)dst)[n] = ((const T *)src)[n];
    })
}

void vec_merge_mask(const struct vec *c, unsigned reg, const uint8_t *src)
{
    uint8_t *dst = vec_reg(c->h, reg);
    uint8_t mask[VEC_MAX_BYTES / 8];
    unsigned n = c->start;

    for (; c->all && !(n & 7) && n + 8 <= c->vl; n += 8) {
        uint64_t bytes;

        memcpy(&bytes, src + n, 8);
        dst[n / 8] = (uint8_t)(bytes * 0x0102040810204080ull >> 56);
    }
    /* reg may be v0 */
    memcpy(mask, c->v0, (c->vl + 7) / 8);
    for (; n < c->vl; n++)
        if (c->all || vec_bit(mask, n))
            vec_set_bit(dst, n, src[n]);
}

/* --- operands --- */

const void *vec_operand(const struct vec *c, enum vec_form form, unsigned size, union vec_buf *buf)
{
    if (form == VEC_VV)
        return vec_reg(c->h, c->i->rs1);
    vec_splat(buf, form == VEC_VX ? c->h->x[c->i->rs1] : (uint64_t)(int64_t)c->i->imm, size, c->vl);
    return buf;
}

/* --- registers --- */

bool vec_overlap_ok(unsigned dst, int dst_emul, unsigned src, int src_emul)
{
    unsigned nr_dst = vec_regs(dst_emul), nr_src = vec_regs(src_emul);

    if (vec_apart(dst, nr_dst, src, nr_src))
        return true;
    if (nr_dst > nr_src)
        return src_emul >= 0 && src + nr_src == dst + nr_dst;
    return nr_dst < nr_src && dst == src;
}

bool vec_has_wider(const struct vec *c)
{
    return c->sew < elen_log2(c->h);
}
