/* The IR: what trans_*.c makes of guest instructions and a back end turns into host code.
 *
 *   trans -> [ir_region] -> passes -> ir_analyse (dirty, live) -> ir_allocate -> back end
 *
 * A region is a graph of basic blocks entered at block 0. Values are
 *   globals  guest registers (1..63), one host location each for the whole region,
 *   temps    defined once and used in one block,
 *   consts   64-bit numbers.
 * Operations: ops.def. The IR knows no guest ISA: globals have a name and an offset in the guest
 * state (ir_target), guest instructions are origins (pc, position in their block).
 * Code addresses (pc) are offsets from the code base: where the region's page is mapped is known only
 * when it runs, so that one translation serves every mapping.
 *
 * Owner: the translator that holds it. All storage is inside; nothing is allocated while building. */
#ifndef CPU_IR_H
#define CPU_IR_H

#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>

typedef uint16_t ir_ref;
#define IR_NONE ((ir_ref)0)
#define IR_NR_GLOBALS 64
#define IR_CONST_BIT 0x8000u

enum { IRF_COMM = 1, IRF_MEM = 2, IRF_SITE = 4, IRF_END = 8, IRF_FP = 16, IRF_KEEP = 32 };

#define IR_OP(name, text, nsrc, flags) IR_##name,
enum ir_op {
#include "ops.def"
    IR_NR_OPS
};
#undef IR_OP

enum ir_type { IR_I32, IR_I64, IR_F32, IR_F64 };
enum ir_cc { IR_EQ, IR_NE, IR_LT, IR_GE, IR_LTU, IR_GEU, IR_LE, IR_GT, IR_LEU, IR_GTU };
enum ir_mem { IR_U8, IR_S8, IR_U16, IR_S16, IR_U32, IR_S32, IR_M64, IR_MF32, IR_MF64 };
enum ir_amo { IR_SWAP, IR_AADD, IR_AAND, IR_AOR, IR_AXOR, IR_AMIN, IR_AMAX, IR_AMINU, IR_AMAXU };
/* Integer side of a conversion; for FTOI + IR_CVT_TRUNC: rounds towards zero whatever the mode. */
enum ir_cvt { IR_CVT_I32, IR_CVT_U32, IR_CVT_I64, IR_CVT_U64, IR_CVT_TRUNC = 4 };

struct ir_op_info {
    const char *text;
    uint8_t nsrc;
    uint8_t flags;
};
extern const struct ir_op_info ir_op_info[IR_NR_OPS];

/* One operation. src[] beyond nsrc are IR_NONE. */
struct ir_insn {
    uint8_t op, type, cc, aux;
    ir_ref dst;
    ir_ref src[3];
    int32_t imm;
    uint16_t origin; /* the guest instruction it came from */
    uint8_t window;  /* memory ops: 1 + index of the window that covers it; 0: checks by itself */
    uint8_t opens;   /* the window is checked here */
    uint8_t low;     /* nobody looks at the upper half of the integer result */
    int32_t window_disp; /* from the window's pointer, when it is covered */
};

/* What a vector operation does with each element: d = a op b. FMA family: the sign of the product and of what is added;
 * ACC: d is added, MADD: d is a factor and a is added. */
enum ir_vop {
    IR_V_ADD, IR_V_SUB, IR_V_RSUB, IR_V_AND, IR_V_OR, IR_V_XOR, IR_V_MUL, IR_V_MIN, IR_V_MAX, IR_V_MINU, IR_V_MAXU,
    IR_V_SLL, IR_V_SRL, IR_V_SRA,                 /* b: a scalar */
    IR_V_SLLV, IR_V_SRLV, IR_V_SRAV,              /* b: modulo the size */
    IR_V_MULH, IR_V_MULHU, IR_V_MULHSU,           /* the upper half; SU: a is signed */
    IR_V_DIVU, IR_V_DIV, IR_V_REMU, IR_V_REM,
    IR_V_MACC, IR_V_NMSAC, IR_V_MADD, IR_V_NMSUB, /* d + a * b, d - a * b, a + d * b, a - d * b */
    IR_V_SADDU, IR_V_SADD, IR_V_SSUBU, IR_V_SSUB, /* saturating, which the state's vxsat notes */
    IR_V_AADDU, IR_V_AADD, IR_V_ASUBU, IR_V_ASUB, /* half of the sum or difference, rounded as the state's vxrm says */
    IR_V_SSRL, IR_V_SSRA, IR_V_NCLIPU, IR_V_NCLIP, /* shifts, rounded likewise; to half the size, saturating */
    IR_V_SMUL,                                    /* the upper half of twice the product, rounded likewise, saturating */
    IR_V_COPY,                                    /* d = b */
    IR_V_PICK,                                    /* d = a[b] everywhere, 0 beyond the group; b: a scalar */
    IR_V_ID,                                      /* d[n] = n */
    IR_V_IOTA,                                    /* d[n] = bits set in a, and in `mask`, below n */
    IR_V_ADC, IR_V_SBC,                           /* d = a + b + bit of `mask`, a - b - bit */
    IR_V_SLIDEUP, IR_V_SLIDEDOWN,                 /* by b, a scalar: upwards the lowest stay, downwards 0 comes in */
    IR_V_GATHER, IR_V_GATHER16,                   /* d[n] = a[b[n]], 0 beyond the group; indices of 16 bits */
    IR_V_COMPRESS,                                /* d = the elements of a whose bit in b is set */
    IR_V_ZEXT2, IR_V_ZEXT4, IR_V_ZEXT8, IR_V_SEXT2, IR_V_SEXT4, IR_V_SEXT8, /* d = a of 1/2, 1/4, 1/8 the size */
    IR_V_FSGNJ, IR_V_FSGNJN, IR_V_FSGNJX, IR_V_FNEG, /* the sign: b's, b's inverted, both's, a's inverted */
    IR_V_EQ, IR_V_NE, IR_V_LT, IR_V_LE, IR_V_GT,  /* signed; to a mask */
    IR_V_LTU, IR_V_LEU, IR_V_GTU, IR_V_FEQ, IR_V_FNE, IR_V_FLT, IR_V_FLE, IR_V_FGT, IR_V_FGE,
    IR_V_MADC, IR_V_MSBC, IR_V_MADCC, IR_V_MSBCC, /* what is carried or borrowed: to a mask; C: with that of `mask` */
    IR_V_WADDU, IR_V_WADD, IR_V_WSUBU, IR_V_WSUB, /* d of twice the size of a and b */
    IR_V_WADDU_W, IR_V_WADD_W, IR_V_WSUBU_W, IR_V_WSUB_W, /* ... of b */
    IR_V_WMULU, IR_V_WMUL, IR_V_WMACCU, IR_V_WMACC,
    IR_V_WMULSU, IR_V_WMACCSU, IR_V_WMACCUS,      /* the first sign is a's, of a sum (as in V 11.12) b's */
    IR_V_NSRL, IR_V_NSRA,                         /* d of half the size of a; b: a scalar */
    IR_V_NSRLV, IR_V_NSRAV,                       /* b: modulo a's size */
    IR_V_REDSUM, IR_V_REDAND, IR_V_REDOR, IR_V_REDXOR, IR_V_REDMIN, IR_V_REDMAX, IR_V_REDMINU, IR_V_REDMAXU,
    IR_V_WREDSUMU, IR_V_WREDSUM,                  /* of a, extended to twice the size */
    IR_V_FREDSUM, IR_V_FWREDSUM,                  /* in order; as doubles */
    IR_V_FREDMIN, IR_V_FREDMAX,
    IR_V_SLIDE1UP, IR_V_SLIDE1DOWN,               /* b: the scalar that comes in */
    IR_V_FADD, IR_V_FSUB, IR_V_FRSUB, IR_V_FMUL, IR_V_FDIV, IR_V_FRDIV, IR_V_FSQRT,
    IR_V_FMACC, IR_V_FMSAC, IR_V_FNMSAC, IR_V_FNMACC, IR_V_FMADD, IR_V_FMSUB, IR_V_FNMSUB, IR_V_FNMADD,
    IR_V_CVT_FI, IR_V_CVT_IF, IR_V_CVT_IFZ,       /* float from signed integer; back, rounded or cut */
    IR_V_FMIN, IR_V_FMAX,
    IR_V_CVT_FU, IR_V_CVT_UF, IR_V_CVT_UFZ,       /* unsigned integers */
    IR_V_CVTW_FF, IR_V_CVTW_FI, IR_V_CVTW_FU, IR_V_CVTW_IF, IR_V_CVTW_IFZ, IR_V_CVTW_UF, IR_V_CVTW_UFZ, /* to twice the size */
    IR_V_CVTN_FF, IR_V_CVTN_FI, IR_V_CVTN_FU, IR_V_CVTN_IF, IR_V_CVTN_IFZ, IR_V_CVTN_UF, IR_V_CVTN_UFZ, /* to half of it */
    IR_V_FWADD, IR_V_FWSUB, IR_V_FWMUL,           /* d of twice the size of a and b */
    IR_V_FWMACC, IR_V_FWMSAC, IR_V_FWNMSAC, IR_V_FWNMACC,
    IR_V_FWADD_W, IR_V_FWSUB_W,                   /* ... of b */
    IR_V_MAND, IR_V_MNAND, IR_V_MANDN, IR_V_MXOR, IR_V_MOR, IR_V_MNOR, IR_V_MORN, IR_V_MXNOR, /* masks: d = a op b */
    IR_V_MSBF, IR_V_MSIF, IR_V_MSOF,              /* up to the first that is set in a: without it, with it, it alone */
    IR_V_FIRST, IR_V_COUNT,                       /* of a mask: to a scalar */
    IR_V_TO_SCALAR, IR_V_FROM_SCALAR,             /* element 0 */
    IR_V_LANES,                                   /* no operation, a property: what is not written raises no flags */
    IR_V_NR_OPS
};

enum { IR_V_MAX_SUM = 32 }; /* elements of FREDSUM, FWREDSUM */

struct ir_vec {
    uint8_t op;       /* enum ir_vop */
    uint8_t size;     /* log2 of an element's bytes */
    uint8_t key;      /* of the state, for which this is right */
    bool scalar;      /* b is the operation's source, in all elements */
    bool any_length;  /* vl does not count */
    bool any_type;    /* right for any key that there is */
    bool elements;    /* with another length, the key being right otherwise, the elements below it are done */
    bool masked;      /* only elements whose bit in `mask` is set; the others keep their value ... */
    bool merge;       /* COPY: ... or take that of a */
    uint8_t fields;   /* VLOAD, VSTORE of segments: how many, `bytes` of all; b: bytes from a field's group to the next */
    uint8_t index;    /* VGATHER, VSCATTER: 1 + log2 of an index's bytes, b: their group; 0: a stride instead */
    uint16_t used;    /* of the 16 bytes of an operand these count: a group smaller than that; 0: all `bytes` */
    uint16_t bytes;   /* of an operand; FIRST, COUNT, MAND to MSOF: bits of the mask; VSET: elements, of which vl is VLMAX */
    int32_t d, a, b, mask; /* offsets in the guest state; VSET: a is the vtype; VGET: a is the word;
                            * VCALL: words, or 0 */
};

/* A guest instruction: where it is, and how many instructions of its block were charged before it. */
struct ir_origin {
    int64_t pc;
    const void *payload; /* what EXEC runs */
    uint16_t before;     /* instructions of the block in front of it */
    uint16_t block;
};

/* Where a block goes: another block, or out of the region. */
typedef int16_t ir_edge; /* >= 0: block; < 0: exit ~edge */

struct ir_block {
    uint16_t first, nr;  /* instructions; the last one is an END */
    uint16_t charge;     /* guest instructions */
    uint16_t first_origin;
    uint8_t loop_head;   /* target of a back edge: the budget is checked here */
    uint8_t spins;       /* a loop that only waits begins here: it is left early */
    uint8_t depth;       /* loop nesting */
    uint8_t copy_of;     /* in an unrolled loop: 1 + its head, which is the block before or its copy */
    uint32_t weight;     /* estimated executions */
    ir_edge succ[2];     /* [0] taken or only, [1] not taken */
    uint8_t nr_succ;
    /* by ir_analyse, bit = global */
    uint64_t defs, dirty_in, dirty_out, live_in, live_out;
};

struct ir_exit {
    int64_t pc;
    bool chain; /* same page: may be linked directly to the target's code */
};

/* Accesses [base + min, base + end) of a block, or of a loop's head and its copies, checked once: the host
 * address of base's value at that moment is in `temp`. */
struct ir_window {
    ir_ref base, temp;
    int32_t min, end;
    bool write;
};

enum {
    IR_MAX_BLOCKS = 64,
    IR_MAX_EXITS = 2 * IR_MAX_BLOCKS,
    IR_MAX_ORIGINS = 512,
    IR_MAX_INSNS = 4 * IR_MAX_ORIGINS,
    IR_MAX_TEMPS = 4 * IR_MAX_ORIGINS,
    IR_MAX_CONSTS = 2 * IR_MAX_ORIGINS,
    IR_MAX_WINDOWS = 255,
    IR_MAX_VECS = IR_MAX_ORIGINS,
    IR_MAX_GUARDS = 3
};

/* The region is good only while this byte of the guest state has this value; checked at the entry. */
struct ir_guard {
    int32_t offset;
    uint8_t value;
};

struct ir_region {
    struct ir_insn insn[IR_MAX_INSNS];
    struct ir_block block[IR_MAX_BLOCKS];
    struct ir_exit exit[IR_MAX_EXITS];
    struct ir_origin origin[IR_MAX_ORIGINS];
    struct ir_window window[IR_MAX_WINDOWS];
    struct ir_vec vec[IR_MAX_VECS];
    int64_t consts[IR_MAX_CONSTS];
    uint8_t temp_type[IR_MAX_TEMPS];
    uint8_t temp_home[IR_MAX_TEMPS]; /* the global whose value it was, or 0: a good place for it */
    uint16_t nr_insns, nr_blocks, nr_exits, nr_origins, nr_windows, nr_consts, nr_temps, nr_vecs;
    struct ir_guard guard[IR_MAX_GUARDS];
    uint8_t nr_guards;
    bool alone;    /* nobody else runs guest code: atomics need no lock */
    bool quick;    /* to be made fast rather than good: the allocator has one try */
    bool overflow; /* some table was full: the region is unusable */
    int64_t entry_pc;
};

/* Global 1..31: integer, 32..63: FP. */
static inline bool ir_is_global(ir_ref r)
{
    return r != IR_NONE && r < IR_NR_GLOBALS;
}
static inline bool ir_is_temp(ir_ref r)
{
    return r >= IR_NR_GLOBALS && !(r & IR_CONST_BIT);
}
static inline bool ir_is_const(ir_ref r)
{
    return (r & IR_CONST_BIT) != 0;
}
static inline int64_t ir_const_value(const struct ir_region *r, ir_ref ref)
{
    return r->consts[ref & ~IR_CONST_BIT];
}
static inline bool ir_is_zero(const struct ir_region *r, ir_ref ref)
{
    return ir_is_const(ref) && ir_const_value(r, ref) == 0;
}
static inline bool ir_type_is_fp(enum ir_type t)
{
    return t >= IR_F32;
}
/* Does the value live in an FP register? */
static inline bool ir_is_fp(const struct ir_region *r, ir_ref ref)
{
    if (ir_is_const(ref) || ref == IR_NONE)
        return false;
    return ref < IR_NR_GLOBALS ? ref >= 32 : ir_type_is_fp(r->temp_type[ref - IR_NR_GLOBALS]);
}
static inline uint64_t ir_bit(ir_ref global)
{
    return 1ull << global;
}

/* --- ir.c: building --- */
void ir_reset(struct ir_region *r);
ir_ref ir_const(struct ir_region *r, int64_t value);
ir_ref ir_temp(struct ir_region *r, enum ir_type type);
/* dst = code base + offset; dst IR_NONE: a new temp. Returns where it is. */
ir_ref ir_pc(struct ir_region *r, ir_ref dst, int64_t offset);
/* Appends to the block being built; returns the operation to add details to. */
struct ir_insn *ir_emit(struct ir_region *r, enum ir_op op, enum ir_type type, ir_ref dst, ir_ref a,
                        ir_ref b);
/* A vector operation's details, to be filled in; its ir_insn.imm is set. */
struct ir_vec *ir_emit_vec(struct ir_region *r, enum ir_op op, enum ir_type type, ir_ref dst, ir_ref a);
unsigned ir_block_begin(struct ir_region *r);
void ir_block_end(struct ir_region *r);
ir_edge ir_add_exit(struct ir_region *r, int64_t pc, bool chain);
enum ir_cc ir_cc_invert(enum ir_cc cc);
enum ir_cc ir_cc_swap(enum ir_cc cc); /* a cc b == b swap(cc) a */
bool ir_cc_eval(enum ir_cc cc, int64_t a, int64_t b);
unsigned ir_mem_size(enum ir_mem m);
/* NULL, or what is wrong (for tests and debug builds). */
const char *ir_verify(const struct ir_region *r);
/* Names of globals: "x5", "f3" unless names is given. */
void ir_print(const struct ir_region *r, FILE *out);

/* --- fold.c, passes: each makes the region smaller or faster and keeps its meaning --- */
void ir_pass_unroll(struct ir_region *r);    /* copies of short loops; before ir_find_loops */
void ir_find_loops(struct ir_region *r);     /* loop heads, depth, weight */
void ir_pass_rename(struct ir_region *r);    /* values only their block sees become temps */
void ir_pass_narrow(struct ir_region *r);    /* upper halves nobody looks at */
void ir_pass_fold(struct ir_region *r);      /* constants and copies inside blocks */
void ir_pass_fuse(struct ir_region *r);      /* pairs of operations */
void ir_pass_dce(struct ir_region *r);       /* results nobody can see */
void ir_pass_windows(struct ir_region *r);   /* several accesses off one base: one check */

/* --- analyse.c --- fills defs, dirty_*, live_*. */
void ir_analyse(struct ir_region *r, uint64_t in_registers);

#endif
