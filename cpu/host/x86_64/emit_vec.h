/* Shared by the files that emit vectors: opcodes, and pieces of 32 or 16 bytes of a group (emit_vec.c has the picture). */
#ifndef CPU_HOST_X86_64_EMIT_VEC_H
#define CPU_HOST_X86_64_EMIT_VEC_H

#include "x86_priv.h"

enum {
    VMOVDQU_LOAD = X86_OP(0xf3, 1, 0x6f),
    VMOVDQU_STORE = X86_OP(0xf3, 1, 0x7f),
    VPTEST = X86_OP(0x66, 2, 0x17),
    VPMOVMSKB = X86_OP(0x66, 1, 0xd7),
    VMOVMSKPS = X86_OP(0, 1, 0x50),
    VCMPPS = X86_OP(0, 1, 0xc2),
    VBROADCASTSS = X86_OP(0x66, 2, 0x18),
    VBROADCASTSD = X86_OP(0x66, 2, 0x19),
    VMOVD = X86_OP(0x66, 1, 0x6e),
    VMOVD_STORE = X86_OP(0x66, 1, 0x7e), /* W: quads */
    VPAND = X86_OP(0x66, 1, 0xdb),
    VPANDN = X86_OP(0x66, 1, 0xdf),
    VPOR = X86_OP(0x66, 1, 0xeb),
    VPSHUFB = X86_OP(0x66, 2, 0x00),
    VPMASKMOV_STORE = X86_OP(0x66, 2, 0x8e),
    UNORDERED = 3
};

#define P(byte) X86_OP(0x66, 1, byte)
#define P38(byte) X86_OP(0x66, 2, byte)
#define PS(byte) X86_OP(0, 1, byte)
/* ymm0 = ymm0 op b, by element size. 0: none */
extern const uint32_t x86_vec_packed[IR_V_NR_OPS][4];

/* Which lanes are to be written. */
enum mask { MASK_NONE = 0, MASK_V0 = 1, MASK_LENGTH = 2 /* rcx: that of byte 0 */ };

/* One piece's place. */
struct part {
    const struct ir_vec *v;
    unsigned at; /* bytes */
    int l;
    unsigned mask; /* enum mask */
};

static inline const struct ir_vec *x86_vec_of(const struct emit *e, const struct ir_insn *i)
{
    return &e->r->vec[i->imm];
}

/* Bytes of a piece of what is left. */
static inline unsigned x86_piece(unsigned left)
{
    return left >= 32 ? 32 : 16;
}

static inline struct x86_mem part_of(const struct part *p, int32_t operand)
{
    return emit_state(operand + (int32_t)p->at);
}

static inline void x86_vec_load(struct emit *e, int l, unsigned ymm, struct x86_mem m)
{
    x86_yrm(&e->a, VMOVDQU_LOAD, 0, l, ymm, 0, m);
}

static inline void x86_vec_store(struct emit *e, int l, unsigned ymm, struct x86_mem m)
{
    x86_yrm(&e->a, VMOVDQU_STORE, 0, l, ymm, 0, m);
}

/* What counts of an operand. */
static inline unsigned x86_vec_bytes(const struct ir_vec *v)
{
    return v->used ? v->used : v->bytes;
}

/* emit_vec_op.c */
void x86_vec_compare_byte(struct emit *e, int32_t offset, uint8_t value); /* cmp byte [offset], value */
void x86_vec_check_key(struct emit *e, const struct ir_vec *v, struct cold *c);
/* state.vmask = `bits` bits, set below vl, and where `which` is a place in the state only where they are set there, too.
 * rax, rcx and ymm0 are changed. */
void x86_vec_length_mask(struct emit *e, unsigned bits, int32_t which);

/* emit_vec.c: element by element */
void x86_vec_prepare(struct emit *e, const struct ir_vec *v, ir_ref scalar); /* operands to where the pieces want them */
void x86_vec_parts(struct emit *e, const struct ir_vec *v, unsigned mask);
/* ymm2 = all ones in the lanes of p->mask (not of MASK_NONE). */
void x86_vec_lanes(struct emit *e, const struct part *p);
/* ymm0, which is 0 in the other lanes, becomes what is there in them. ymm2 is changed. */
void x86_vec_blend(struct emit *e, const struct part *p, int32_t operand);
/* ymm2 = all ones in the lanes whose bit of v->mask is set. */
void x86_vec_lanes_of_v0(struct emit *e, const struct part *p);
/* state.vsplat, or a vector */
struct x86_mem x86_vec_memory_b(struct emit *e, const struct part *p);
/* xmm2 (and what follows, up to `nr` registers) is ours until it is given back. */
void x86_vec_borrow(struct emit *e, unsigned nr);
void x86_vec_give_back(struct emit *e, unsigned nr);
/* xmm0 to the piece, or what of it is used. */
void x86_vec_store_part(struct emit *e, const struct part *p, int32_t operand);
/* Of the operand what is used, 0 above that. */
void x86_vec_load_part(struct emit *e, const struct part *p, unsigned xmm, int32_t operand);
/* The operand in the place of vs1, in ymm (a scalar is in ymm1, unless state.vsplat has it). */
void x86_vec_load_b(struct emit *e, const struct part *p, unsigned ymm);
/* op ymm0, ymm0, b */
void x86_vec_with_b(struct emit *e, const struct part *p, uint32_t op, int w);

enum { X86_VEC_ROUNDING = 4 }; /* words of a row of k_rounding */
/* rcx = address of the row of vxrm; rax is changed */
void x86_vec_rounding(struct emit *e);

/* emit_vec512.c: operations that the host has by AVX-512 only */
bool x86_vec512_has(uint64_t features, unsigned op, unsigned size);
void x86_vec512_scalar(struct emit *e, const struct ir_vec *v, ir_ref scalar); /* to where the pieces want it */
void x86_vec512(struct emit *e, const struct ir_vec *v, unsigned mask);
void x86_vec512_compress(struct emit *e, const struct ir_vec *v);
void x86_vec512_reduce(struct emit *e, const struct ir_vec *v);
void x86_vec512_reduce_floats(struct emit *e, const struct ir_vec *v);
/* The piece's lanes, of 8 or 16 bits, whose bit of v->mask is set. */
void x86_vec512_store_lanes(struct emit *e, const struct part *p, struct x86_mem memory);
/* Comparisons of floats under a mask, and of unsigned quads: eax = a bit a lane of the piece. */
bool x86_vec512_compares(uint64_t features, const struct ir_vec *v);
void x86_vec512_compare(struct emit *e, const struct part *p, unsigned predicate);

enum { X86_VEC_MIN_FIELD = 8 }; /* bytes of a field that are shuffled; of less there is no shorter length */
/* emit_vec_segment.c: rcx = host address of v->bytes. All of the group, masked where v is (loads); or vl segments */
void x86_vec_segments(struct emit *e, const struct ir_vec *v, bool to_state);
void x86_vec_some_segments(struct emit *e, const struct ir_vec *v, bool to_state);
/* The constants of its shuffles, written at a->p. */
uint8_t *x86_vec_segment_table(struct x86_asm *a, unsigned fields, unsigned size, bool to_state);

/* emit_vec_div.c: division, as many elements as vl says */
static inline bool x86_vec_is_division(unsigned op)
{
    return op >= IR_V_DIVU && op <= IR_V_REM;
}
void x86_vec_divide(struct emit *e, const struct ir_vec *v);

/* emit_vec_iota.c: pieces in order, between begin and end; rdx and rsi have the table and the count */
uint8_t *x86_vec_iota_table(struct x86_asm *a); /* written at a->p */
unsigned x86_vec_iota_piece(const struct ir_vec *v); /* its bytes */
void x86_vec_iota_begin(struct emit *e);
void x86_vec_iota(struct emit *e, const struct part *p); /* to ymm0; ymm1 and ymm2 are changed */
void x86_vec_iota_end(struct emit *e);

/* emit_vec_spread.c: elements anywhere in memory */
/* In routines: bit n of v0, which is the lowest of what is left of 64 in `bits`. Returns the jump when it is not set. */
uint8_t *x86_vec_next_bit(const struct ir_target *t, struct x86_asm *a, unsigned n, unsigned bits);
struct x86_spread {
    uint8_t index; /* 1 + log2 of an index's bytes, or 0: by a stride */
    uint8_t size;
    bool write, masked;
};

/* emit_vec_compare.c: a bit an element */
static inline bool x86_vec_is_compare(unsigned op)
{
    return op >= IR_V_EQ && op <= IR_V_MSBCC;
}
bool x86_vec_has_compare(uint64_t features, enum ir_vop op, unsigned size);
/* `which`: place in the state of a bit an element, set where the result is written; 0: everywhere */
void x86_vec_compare(struct emit *e, const struct ir_vec *v, int32_t which);
void x86_vec_masks(struct emit *e, const struct ir_vec *v, int32_t which); /* MAND to MSOF */

/* emit_vec_wide.c: operands of two sizes, reductions, slides */
static inline bool x86_vec_is_wide(unsigned op)
{
    return op >= IR_V_WADDU && op <= IR_V_WMACC;
}
static inline bool x86_vec_is_narrow(unsigned op)
{
    return op >= IR_V_NSRL && op <= IR_V_NSRA;
}
static inline bool x86_vec_is_reduction(unsigned op)
{
    return op >= IR_V_REDSUM && op <= IR_V_WREDSUM;
}
static inline bool x86_vec_is_float_reduction(unsigned op)
{
    return op >= IR_V_FREDSUM && op <= IR_V_FREDMAX;
}
static inline bool x86_vec_is_slide(unsigned op)
{
    return op == IR_V_SLIDE1UP || op == IR_V_SLIDE1DOWN;
}
/* The operation on two elements that a reduction repeats. */
static inline unsigned x86_vec_reduced_by(unsigned op)
{
    static const uint8_t by[] = {IR_V_ADD, IR_V_AND, IR_V_OR, IR_V_XOR, IR_V_MIN, IR_V_MAX, IR_V_MINU, IR_V_MAXU};

    return by[op - IR_V_REDSUM];
}
/* The scalar to one element of that size. */
void x86_vec_put_scalar(struct emit *e, unsigned size, struct x86_mem element, ir_ref scalar);
bool x86_vec_has_wide(enum ir_vop op, unsigned size);
void x86_vec_widen(struct emit *e, const struct part *p);         /* to ymm0 */
void x86_vec_widen_scalar(struct emit *e, const struct ir_vec *v); /* in ymm1: as wide as the result */
void x86_vec_narrow(struct emit *e, const struct part *p);        /* to xmm0 */
void x86_vec_reduce(struct emit *e, const struct ir_vec *v);
int64_t x86_vec_neutral(unsigned op, unsigned size); /* what changes no result of a reduction */
/* Shorter: of vl elements, which is below VLMAX and not 0; v->mask has its bits. */
void x86_vec_sum_floats(struct emit *e, const struct ir_vec *v, bool shorter);
void x86_vec_slide_1(struct emit *e, const struct ir_vec *v, ir_ref scalar, bool shorter);

#endif
