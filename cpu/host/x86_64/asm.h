/* x86-64 assembler: one function per instruction shape, writing bytes at a cursor.
 *
 * Opcodes are given as X86_* constants: byte, escape map and mandatory prefix in one number. Memory
 * operands are [base + index*1 + disp], or RIP-relative. Writing past the end sets `overflow` and
 * drops the bytes. */
#ifndef CPU_HOST_X86_64_ASM_H
#define CPU_HOST_X86_64_ASM_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum x86_reg {
    RAX, RCX, RDX, RBX, RSP, RBP, RSI, RDI, R8, R9, R10, R11, R12, R13, R14, R15,
    X86_NOREG = 0x7f
};

struct x86_asm {
    uint8_t *p, *start, *end;
    bool overflow;
};

struct x86_mem {
    uint8_t base, index; /* enum x86_reg; index X86_NOREG: none */
    uint8_t scale;       /* log2 */
    int32_t disp;
    const uint8_t *rip;  /* not NULL: this address, RIP-relative (no immediate may follow) */
};

static inline struct x86_mem x86_at(unsigned base, int32_t disp)
{
    return (struct x86_mem){(uint8_t)base, X86_NOREG, 0, disp, NULL};
}
static inline struct x86_mem x86_at_index(unsigned base, unsigned index, unsigned scale,
                                          int32_t disp)
{
    return (struct x86_mem){(uint8_t)base, (uint8_t)index, (uint8_t)scale, disp, NULL};
}
static inline struct x86_mem x86_at_rip(const uint8_t *address)
{
    return (struct x86_mem){0, X86_NOREG, 0, 0, address};
}

/* Opcode: prefix (0x66, 0xf2, 0xf3 or 0) << 16 | map (0: none, 1: 0f, 2: 0f38, 3: 0f3a) << 8 | byte */
#define X86_OP(prefix, map, byte) ((uint32_t)(prefix) << 16 | (uint32_t)(map) << 8 | (byte))
enum {
    X86_MOV_LOAD = X86_OP(0, 0, 0x8b),  /* reg <- rm */
    X86_MOV_STORE = X86_OP(0, 0, 0x89), /* rm <- reg */
    X86_MOV_STORE8 = X86_OP(0, 0, 0x88),
    X86_MOV_STORE16 = X86_OP(0x66, 0, 0x89),
    X86_LEA = X86_OP(0, 0, 0x8d),
    X86_ADD = X86_OP(0, 0, 0x03),
    X86_OR = X86_OP(0, 0, 0x0b),
    X86_AND = X86_OP(0, 0, 0x23),
    X86_SUB = X86_OP(0, 0, 0x2b),
    X86_XOR = X86_OP(0, 0, 0x33),
    X86_CMP = X86_OP(0, 0, 0x3b),
    X86_TEST = X86_OP(0, 0, 0x85),
    X86_XCHG = X86_OP(0, 0, 0x87),
    X86_IMUL = X86_OP(0, 1, 0xaf),
    X86_MOVSXD = X86_OP(0, 0, 0x63),
    X86_MOVZX8 = X86_OP(0, 1, 0xb6),
    X86_MOVZX16 = X86_OP(0, 1, 0xb7),
    X86_MOVSX8 = X86_OP(0, 1, 0xbe),
    X86_MOVSX16 = X86_OP(0, 1, 0xbf),
    X86_BSF = X86_OP(0, 1, 0xbc),
    X86_BSR = X86_OP(0, 1, 0xbd),
    X86_TZCNT = X86_OP(0xf3, 1, 0xbc),
    X86_LZCNT = X86_OP(0xf3, 1, 0xbd),
    X86_POPCNT = X86_OP(0xf3, 1, 0xb8),
    X86_BT = X86_OP(0, 1, 0xa3), /* rm, reg */
    X86_BTS = X86_OP(0, 1, 0xab),
    X86_BTR = X86_OP(0, 1, 0xb3),
    X86_BTC = X86_OP(0, 1, 0xbb),
    X86_CMOVCC = X86_OP(0, 1, 0x40), /* + condition */
    X86_XADD = X86_OP(0, 1, 0xc1),
    X86_CMPXCHG = X86_OP(0, 1, 0xb1),
    /* SSE */
    X86_MOVSD_LOAD = X86_OP(0xf2, 1, 0x10),
    X86_MOVSD_STORE = X86_OP(0xf2, 1, 0x11),
    X86_MOVSS_LOAD = X86_OP(0xf3, 1, 0x10),
    X86_MOVSS_STORE = X86_OP(0xf3, 1, 0x11),
    X86_MOVAPS = X86_OP(0, 1, 0x28),
    X86_MOVQ_LOAD = X86_OP(0xf3, 1, 0x7e),  /* xmm <- xmm/m64, upper zero */
    X86_MOVQ_STORE = X86_OP(0x66, 1, 0xd6), /* m64 <- xmm */
    X86_MOVD_TO_X = X86_OP(0x66, 1, 0x6e),  /* with W: movq xmm <- r64 */
    X86_MOVD_FROM_X = X86_OP(0x66, 1, 0x7e),
    X86_ADDPS = X86_OP(0, 1, 0x58),
    X86_MULPS = X86_OP(0, 1, 0x59),
    X86_SUBPS = X86_OP(0, 1, 0x5c),
    X86_MINPS = X86_OP(0, 1, 0x5d),
    X86_DIVPS = X86_OP(0, 1, 0x5e),
    X86_MAXPS = X86_OP(0, 1, 0x5f),
    X86_SQRTPS = X86_OP(0, 1, 0x51),
    X86_UCOMISS = X86_OP(0, 1, 0x2e),
    X86_COMISS = X86_OP(0, 1, 0x2f),
    X86_UCOMISD = X86_OP(0x66, 1, 0x2e),
    X86_COMISD = X86_OP(0x66, 1, 0x2f),
    X86_ANDPD = X86_OP(0x66, 1, 0x54),
    X86_ANDNPD = X86_OP(0x66, 1, 0x55),
    X86_ORPD = X86_OP(0x66, 1, 0x56),
    X86_XORPD = X86_OP(0x66, 1, 0x57),
    X86_CVTTSD2SI = X86_OP(0xf2, 1, 0x2c),
    X86_CVTSD2SI = X86_OP(0xf2, 1, 0x2d),
    X86_CVTTSS2SI = X86_OP(0xf3, 1, 0x2c),
    X86_CVTSS2SI = X86_OP(0xf3, 1, 0x2d),
    X86_CVTSI2SD = X86_OP(0xf2, 1, 0x2a),
    X86_CVTSI2SS = X86_OP(0xf3, 1, 0x2a),
    X86_CVTSS2SD = X86_OP(0xf3, 1, 0x5a),
    X86_CVTSD2SS = X86_OP(0xf2, 1, 0x5a)
};
/* The scalar forms of the packed opcodes above. */
#define X86_SD(op) ((op) | X86_OP(0xf2, 0, 0))
#define X86_SS(op) ((op) | X86_OP(0xf3, 0, 0))

/* VEX opcodes with one extra source (vvvv): pp from the prefix above. */
enum {
    X86_SHLX = X86_OP(0x66, 2, 0xf7),
    X86_SARX = X86_OP(0xf3, 2, 0xf7),
    X86_SHRX = X86_OP(0xf2, 2, 0xf7),
    X86_ANDN_V = X86_OP(0, 2, 0xf2),
    X86_VFMADD231 = X86_OP(0x66, 2, 0xb9),  /* scalar; W: double */
    X86_VFMSUB231 = X86_OP(0x66, 2, 0xbb),
    X86_VFNMADD231 = X86_OP(0x66, 2, 0xbd),
    X86_VFNMSUB231 = X86_OP(0x66, 2, 0xbf)
};

enum x86_cond {
    X86_O, X86_NO, X86_B, X86_AE, X86_E, X86_NE, X86_BE, X86_A,
    X86_S, X86_NS, X86_P, X86_NP, X86_L, X86_GE, X86_LE, X86_G
};

/* w: 1 for 64-bit operands. */
void x86_rr(struct x86_asm *a, uint32_t op, int w, unsigned reg, unsigned rm);
void x86_rm(struct x86_asm *a, uint32_t op, int w, unsigned reg, struct x86_mem m);
/* 8-bit register operands (REX is forced for sil, dil ...) */
void x86_rr8(struct x86_asm *a, uint32_t op, unsigned reg, unsigned rm);
void x86_rm8(struct x86_asm *a, uint32_t op, unsigned reg, struct x86_mem m);
/* op /n rm (one operand) */
void x86_r_n(struct x86_asm *a, uint32_t op, int w, unsigned n, unsigned rm);
void x86_m_n(struct x86_asm *a, uint32_t op, int w, unsigned n, struct x86_mem m);
/* add or and sub xor cmp (X86_ADD ...) with an immediate */
void x86_ri(struct x86_asm *a, uint32_t op, int w, unsigned reg, int32_t imm);
void x86_mi(struct x86_asm *a, uint32_t op, int w, struct x86_mem m, int32_t imm);
/* The same, always with four bytes of immediate. */
void x86_ri32(struct x86_asm *a, uint32_t op, int w, unsigned reg, int32_t imm);
void x86_test_ri(struct x86_asm *a, int w, unsigned reg, int32_t imm);
void x86_imul_rri(struct x86_asm *a, int w, unsigned reg, unsigned rm, int32_t imm);
/* mov reg, imm in the shortest form (flags untouched) */
void x86_mov_imm(struct x86_asm *a, unsigned reg, int64_t imm);
/* mov [m], sign-extended imm; bytes 1 2 4 8 */
void x86_store_imm(struct x86_asm *a, unsigned bytes, struct x86_mem m, int32_t imm);
void x86_mov(struct x86_asm *a, unsigned dst, unsigned src);   /* 64 bits; nothing when equal */
void x86_mov32(struct x86_asm *a, unsigned dst, unsigned src);
void x86_load(struct x86_asm *a, unsigned reg, struct x86_mem m);
void x86_store(struct x86_asm *a, struct x86_mem m, unsigned reg);
enum { X86_ROL_N = 0, X86_ROR_N = 1, X86_SHL_N = 4, X86_SHR_N = 5, X86_SAR_N = 7 };
void x86_shift_i(struct x86_asm *a, unsigned n, int w, unsigned reg, unsigned count);
void x86_shift_cl(struct x86_asm *a, unsigned n, int w, unsigned reg);
void x86_setcc(struct x86_asm *a, enum x86_cond cc, unsigned reg);
/* Bit test and modify with an immediate: n 4 bt, 5 bts, 6 btr, 7 btc */
void x86_bt_i(struct x86_asm *a, unsigned n, int w, unsigned reg, unsigned bit);
void x86_bswap(struct x86_asm *a, int w, unsigned reg);
void x86_sign_to_rdx(struct x86_asm *a, int w); /* cdq, cqo */
/* VEX forms: dst, second source vvvv, third source rm or m. L = 0. */
void x86_vrr(struct x86_asm *a, uint32_t op, int w, unsigned reg, unsigned vvvv, unsigned rm);
void x86_vrm(struct x86_asm *a, uint32_t op, int w, unsigned reg, unsigned vvvv, struct x86_mem m);
/* The same with L: 0 xmm, 1 ymm. vvvv is 0 where there is no second source (the field is then inverted 0). */
void x86_yrr(struct x86_asm *a, uint32_t op, int w, int l, unsigned reg, unsigned vvvv, unsigned rm);
void x86_yrm(struct x86_asm *a, uint32_t op, int w, int l, unsigned reg, unsigned vvvv, struct x86_mem m);
void x86_vzeroupper(struct x86_asm *a);
/* EVEX: length 0 xmm, 1 ymm, 2 zmm; mask register 1 to 7, or 0: all lanes; zero: in the others, else what was there. Vector
 * registers up to 31. With op | X86_EVEX_W: W. */
struct x86_evex {
    uint8_t length, mask;
    bool zero;
};
#define X86_EVEX_W 0x80000000u
/* ... | X86_EVEX_NEAREST: rounds to nearest, or as the operation cuts, and raises no flags; of 512 bits and registers */
#define X86_EVEX_NEAREST 0x40000000u
void x86_err(struct x86_asm *a, uint32_t op, struct x86_evex x, unsigned reg, unsigned vvvv, unsigned rm);
void x86_erm(struct x86_asm *a, uint32_t op, struct x86_evex x, unsigned reg, unsigned vvvv, struct x86_mem m);
void x86_rorx(struct x86_asm *a, int w, unsigned reg, unsigned rm, unsigned count);
/* EVEX vcvt(t)s[sd]2usi: reg <- unsigned of xmm; double: F64 source, trunc, w */
void x86_cvt2usi(struct x86_asm *a, bool dbl, bool trunc, int w, unsigned reg, unsigned xmm);
/* EVEX vcvtusi2s[sd] */
void x86_cvtusi2(struct x86_asm *a, bool dbl, int w, unsigned xmm, unsigned src, unsigned reg);
void x86_push(struct x86_asm *a, unsigned reg);
void x86_pop(struct x86_asm *a, unsigned reg);
void x86_ret(struct x86_asm *a);
void x86_byte(struct x86_asm *a, uint8_t b);
void x86_u32(struct x86_asm *a, uint32_t v);
void x86_u64(struct x86_asm *a, uint64_t v);
void x86_lock(struct x86_asm *a);
void x86_mfence(struct x86_asm *a);
/* Jumps with a 32-bit displacement; they return the position of the displacement. */
uint8_t *x86_jmp(struct x86_asm *a);
uint8_t *x86_jcc(struct x86_asm *a, enum x86_cond cc);
uint8_t *x86_call(struct x86_asm *a);
/* lea reg, [rip + disp32]; returns the position of the displacement. */
uint8_t *x86_lea_rip(struct x86_asm *a, unsigned reg);
void x86_call_reg(struct x86_asm *a, unsigned reg);
void x86_jmp_reg(struct x86_asm *a, unsigned reg);
void x86_jmp_mem(struct x86_asm *a, struct x86_mem m);
/* Sets the displacement at `at` so that it reaches `target`. */
void x86_patch(uint8_t *at, const uint8_t *target);
void x86_align(struct x86_asm *a, unsigned to); /* with long nops */
void x86_nop(struct x86_asm *a, unsigned bytes);

#endif
