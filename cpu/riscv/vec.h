/* The vector extension inside: one instruction under way, its operands, and who may overlap whom.
 *
 *   exec_v*() -> vec_begin (vtype) -> legal? -> kernel: all of [0, vl) into a buffer -> vec_merge (mask,
 *   vstart) -> vec_end (vstart = 0)
 *
 * Registers are bytes, little-endian as the host, vlenb apart: the registers of a group are one array.
 * Tail and masked-off elements are left as they were, whatever vta and vma say (Unpriv. V 3.4.3).
 * Who has what: vec.c (configuration, operands), vec_mem.c, vec_int.c, vec_fixed.c, vec_fp.c, vec_reduce.c, vec_mask.c,
 * vec_perm.c. */
#ifndef CPU_RISCV_VEC_H
#define CPU_RISCV_VEC_H

#include <string.h>

#include "exec.h"
#include "hart.h"

/* log2 of element sizes in bytes */
enum { VEC_8 = 0, VEC_16 = 1, VEC_32 = 2, VEC_64 = 3, VEC_SIZES = 4 };

enum { VEC_MAX_BYTES = RV_VLENB_MAX * 8 }; /* of a register group; a mask has as many bits at most */

/* The largest operand of any instruction, aligned for all of them. */
union vec_buf {
    uint8_t b[VEC_MAX_BYTES];
    uint64_t d[VEC_MAX_BYTES / 8];
};

struct vec {
    struct rv_hart *h;
    const struct rv_insn *i;
    const uint8_t *v0;   /* the mask */
    unsigned sew;        /* log2 bytes */
    int lmul;            /* log2, -3..3 */
    unsigned vl, vlmax;
    unsigned start;      /* vstart */
    bool all;            /* not masked */
};

/* Reads vtype, vl and vstart; false: vill. */
bool vec_begin(struct vec *c, struct rv_hart *h, const struct rv_insn *i);

static inline uint8_t *vec_reg(struct rv_hart *h, unsigned n)
{
    return h->v + n * h->vlenb;
}

/* The instruction is done. The first one that makes the state dirty gives it a key. */
static inline enum rv_exec vec_end(struct rv_hart *h)
{
    h->vs_dirty = 1;
    if (SIM_UNLIKELY(h->vkey_any == RV_VKEY_NONE)) {
        h->vstart = 0;
        rv_vec_sync(h);
    }
    return RV_NEXT;
}

static inline bool vec_bit(const uint8_t *mask, unsigned n)
{
    return mask[n / 8] >> (n % 8) & 1;
}

static inline void vec_set_bit(uint8_t *mask, unsigned n, bool value)
{
    mask[n / 8] = (uint8_t)((mask[n / 8] & ~(1u << n % 8)) | (unsigned)value << n % 8);
}

static inline bool vec_active(const struct vec *c, unsigned n)
{
    return c->all || vec_bit(c->v0, n);
}

/* For every active element n from vstart on. */
#define VEC_FOR(c, n)                                                                              \
    for (unsigned n = (c)->start; n < (c)->vl; n++)                                                \
        if (vec_active(c, n))

/* The statement with T as the unsigned type of elements of that size: a loop of its own for each. */
#define VEC_SIZED(size, ...)                                                                       \
    switch (size) {                                                                                \
    case VEC_8: {                                                                                  \
        typedef uint8_t T;                                                                         \
        __VA_ARGS__                                                                                \
    } break;                                                                                       \
    case VEC_16: {                                                                                 \
        typedef uint16_t T;                                                                        \
        __VA_ARGS__                                                                                \
    } break;                                                                                       \
    case VEC_32: {                                                                                 \
        typedef uint32_t T;                                                                        \
        __VA_ARGS__                                                                                \
    } break;                                                                                       \
    default: {                                                                                     \
        typedef uint64_t T;                                                                        \
        __VA_ARGS__                                                                                \
    } break;                                                                                       \
    }

/* The active elements [vstart, vl) of src to register reg. */
void vec_merge(const struct vec *c, unsigned reg, const void *src, unsigned size);
/* The same for a mask: src has a byte 0 or 1 an element. */
void vec_merge_mask(const struct vec *c, unsigned reg, const uint8_t *src);
/* vl elements of a value that is truncated to their size. */
void vec_splat(void *dst, uint64_t value, unsigned size, unsigned n);
/* Element n of a group, sign- or zero-extended. */
uint64_t vec_get(const void *group, unsigned n, unsigned size);
int64_t vec_get_signed(const void *group, unsigned n, unsigned size);
void vec_put(void *group, unsigned n, unsigned size, uint64_t value);

/* --- which registers an instruction may name (V 3.4.2, 5.2, 5.3); emul is a log2 --- */

static inline unsigned vec_regs(int emul)
{
    return emul > 0 ? 1u << emul : 1;
}

static inline bool vec_emul_ok(int emul)
{
    return emul >= -3 && emul <= 3;
}

static inline bool vec_aligned(unsigned reg, int emul)
{
    return !(reg & (vec_regs(emul) - 1));
}

static inline bool vec_apart(unsigned a, unsigned nr_a, unsigned b, unsigned nr_b)
{
    return a + nr_a <= b || b + nr_b <= a;
}

/* The group may be written under the mask that the instruction has. */
static inline bool vec_not_mask(const struct vec *c, unsigned reg)
{
    return c->all || reg != 0;
}

/* A register is a source of elements of one size only (V 5.2), and a mask's are bits. Carries, comparisons,
 * reductions and stores read v0 all the same: reserved, and QEMU does it. */
static inline bool vec_source_ok(const struct vec *c, unsigned reg, int emul)
{
    return vec_aligned(reg, emul) && (c->all || reg != 0);
}

/* dst and a source of another element size: apart, or the source in the highest part of a larger dst, or
 * dst in the lowest part of a larger source. */
bool vec_overlap_ok(unsigned dst, int dst_emul, unsigned src, int src_emul);

/* The element size twice sew exists; and groups of it. */
bool vec_has_wider(const struct vec *c);
static inline bool vec_can_widen(const struct vec *c)
{
    return c->lmul < 3 && vec_has_wider(c);
}
/* vs2 is a source of elements for a mask in vd. */
static inline bool vec_mask_source_ok(const struct vec *c, unsigned src)
{
    return vec_aligned(src, c->lmul) && (src == c->i->rd || vec_overlap_ok(c->i->rd, 0, src, c->lmul));
}

/* --- operands --- */

/* What the operand in the place of vs1 is. */
enum vec_form { VEC_VV, VEC_VX, VEC_VI };

/* A source of the size of vd's elements / 2 in group reg. */
static inline bool vec_narrow_source(const struct vec *c, unsigned reg)
{
    return vec_source_ok(c, reg, c->lmul) && vec_overlap_ok(c->i->rd, c->lmul + 1, reg, c->lmul);
}

/* As above, and none of the elements of twice the size in group wide. */
static inline bool vec_narrow_source_beside(const struct vec *c, unsigned reg, unsigned wide)
{
    return vec_narrow_source(c, reg) && vec_apart(reg, vec_regs(c->lmul), wide, vec_regs(c->lmul + 1));
}

static inline bool vec_wide_destination(const struct vec *c)
{
    return vec_can_widen(c) && vec_not_mask(c, c->i->rd) && vec_aligned(c->i->rd, c->lmul + 1);
}

/* Which operands besides vd are as wide. */
enum vec_wide { WIDE_NONE, WIDE_A /* vs2 */, WIDE_D /* vd is a source */ };

/* `vector`: vs1 is a source, too. */
static inline bool vec_wide_sources(const struct vec *c, bool vector, enum vec_wide wide)
{
    const struct rv_insn *i = c->i;

    switch (wide) {
    case WIDE_A:
        return vec_source_ok(c, i->rs2, c->lmul + 1) && (!vector || vec_narrow_source_beside(c, i->rs1, i->rs2));
    case WIDE_D:
        return vec_narrow_source_beside(c, i->rs2, i->rd) &&
               (!vector || vec_narrow_source_beside(c, i->rs1, i->rd));
    default: return vec_narrow_source(c, i->rs2) && (!vector || vec_narrow_source(c, i->rs1));
    }
}

/* vs2 of twice sew, vd and vs1 of sew. */
static inline bool vec_can_narrow(const struct vec *c, enum vec_form form)
{
    const struct rv_insn *i = c->i;

    return vec_can_widen(c) && vec_not_mask(c, i->rd) && vec_aligned(i->rd, c->lmul) &&
           vec_source_ok(c, i->rs2, c->lmul + 1) &&
           (i->rd == i->rs2 || vec_overlap_ok(i->rd, c->lmul, i->rs2, c->lmul + 1)) &&
           (form != VEC_VV || (vec_source_ok(c, i->rs1, c->lmul) &&
                               vec_apart(i->rs1, vec_regs(c->lmul), i->rs2, vec_regs(c->lmul + 1))));
}

/* vs1's group, or `buf` filled with vl times rs1 or the immediate. */
const void *vec_operand(const struct vec *c, enum vec_form form, unsigned size, union vec_buf *buf);

/* All elements of [0, n): out = f(a = vs2, b = vs1 or scalar, d = vd as it was). */
typedef void (*vec_kernel)(void *out, const void *a, const void *b, const void *d, unsigned n);
/* out has a byte 0 or 1 an element. */
typedef void (*vec_test)(uint8_t *out, const void *a, const void *b, unsigned n);

/* vslide1up and vslide1down with any scalar, after vec_begin (vec_perm.c). */
enum rv_exec vec_slide_1(struct vec *c, bool up, uint64_t scalar);

/* Element types by log2 of their size, for kernels. W: wide enough for arithmetic without promotion to a signed
 * type; D: twice as wide. */
typedef uint8_t vec_u0;
typedef uint16_t vec_u1;
typedef uint32_t vec_u2;
typedef uint64_t vec_u3;
typedef int8_t vec_s0;
typedef int16_t vec_s1;
typedef int32_t vec_s2;
typedef int64_t vec_s3;
typedef uint32_t vec_w0;
typedef uint32_t vec_w1;
typedef uint32_t vec_w2;
typedef uint64_t vec_w3;
typedef uint16_t vec_du0;
typedef uint32_t vec_du1;
typedef uint64_t vec_du2;
typedef unsigned __int128 vec_du3;
typedef int16_t vec_ds0;
typedef int32_t vec_ds1;
typedef int64_t vec_ds2;
typedef __int128 vec_ds3;

#endif
