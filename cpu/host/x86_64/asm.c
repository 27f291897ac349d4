/* Encoding of x86-64 instructions. Intel SDM volume 2, chapter 2. */
#include "asm.h"

#include <string.h>

#include "sim-core/log.h"

void x86_byte(struct x86_asm *a, uint8_t b)
{
    if (a->p == a->end) {
        a->overflow = true;
        return;
    }
    *a->p++ = b;
}

static void put(struct x86_asm *a, const void *v, unsigned n)
{
    if ((uintptr_t)(a->end - a->p) < n) {
        a->overflow = true;
        return;
    }
    memcpy(a->p, v, n);
    a->p += n;
}

void x86_u32(struct x86_asm *a, uint32_t v)
{
    put(a, &v, 4);
}

void x86_u64(struct x86_asm *a, uint64_t v)
{
    put(a, &v, 8);
}

static uint8_t op_prefix(uint32_t op)
{
    return (uint8_t)(op >> 16);
}
static uint8_t op_map(uint32_t op)
{
    return (uint8_t)(op >> 8);
}

/* Prefix, REX, escape bytes and opcode. */
static void opcode(struct x86_asm *a, uint32_t op, int w, unsigned reg, unsigned index, unsigned base,
                   bool force_rex)
{
    uint8_t rex = (uint8_t)(w << 3 | (reg >> 3 & 1) << 2 | (index >> 3 & 1) << 1 | (base >> 3 & 1));

    if (op_prefix(op))
        x86_byte(a, op_prefix(op));
    if (rex || force_rex)
        x86_byte(a, (uint8_t)(0x40 | rex));
    if (op_map(op)) {
        x86_byte(a, 0x0f);
        if (op_map(op) == 2)
            x86_byte(a, 0x38);
        else if (op_map(op) == 3)
            x86_byte(a, 0x3a);
    }
    x86_byte(a, (uint8_t)op);
}

static void modrm_reg(struct x86_asm *a, unsigned reg, unsigned rm)
{
    x86_byte(a, (uint8_t)(0xc0 | (reg & 7) << 3 | (rm & 7)));
}

static void modrm_mem(struct x86_asm *a, unsigned reg, struct x86_mem m)
{
    if (m.rip) {
        x86_byte(a, (uint8_t)((reg & 7) << 3 | 5));
        x86_u32(a, (uint32_t)(m.rip - (a->p + 4)));
        return;
    }
    bool sib = m.index != X86_NOREG || (m.base & 7) == RSP;
    unsigned mod = m.disp == 0 && (m.base & 7) != RBP ? 0 : m.disp == (int8_t)m.disp ? 1 : 2;

    x86_byte(a, (uint8_t)(mod << 6 | (reg & 7) << 3 | (sib ? 4u : (m.base & 7u))));
    if (sib)
        x86_byte(a, (uint8_t)(m.scale << 6 | (m.index == X86_NOREG ? 4u : (m.index & 7u)) << 3 |
                              (m.base & 7u)));
    if (mod == 1)
        x86_byte(a, (uint8_t)m.disp);
    else if (mod == 2)
        x86_u32(a, (uint32_t)m.disp);
}

static unsigned index_bit(struct x86_mem m)
{
    return m.index == X86_NOREG ? 0 : m.index;
}

void x86_rr(struct x86_asm *a, uint32_t op, int w, unsigned reg, unsigned rm)
{
    opcode(a, op, w, reg, 0, rm, false);
    modrm_reg(a, reg, rm);
}

void x86_rm(struct x86_asm *a, uint32_t op, int w, unsigned reg, struct x86_mem m)
{
    opcode(a, op, w, reg, index_bit(m), m.base, false);
    modrm_mem(a, reg, m);
}

void x86_rr8(struct x86_asm *a, uint32_t op, unsigned reg, unsigned rm)
{
    opcode(a, op, 0, reg, 0, rm, reg >= 4 || rm >= 4);
    modrm_reg(a, reg, rm);
}

void x86_rm8(struct x86_asm *a, uint32_t op, unsigned reg, struct x86_mem m)
{
    opcode(a, op, 0, reg, index_bit(m), m.base, reg >= 4);
    modrm_mem(a, reg, m);
}

void x86_r_n(struct x86_asm *a, uint32_t op, int w, unsigned n, unsigned rm)
{
    x86_rr(a, op, w, n, rm);
}

void x86_m_n(struct x86_asm *a, uint32_t op, int w, unsigned n, struct x86_mem m)
{
    x86_rm(a, op, w, n, m);
}

/* The /n of the immediate group from the opcode of the reg, rm form. */
static unsigned group1(uint32_t op)
{
    return (op & 0xff) >> 3;
}

void x86_ri32(struct x86_asm *a, uint32_t op, int w, unsigned reg, int32_t imm)
{
    x86_rr(a, X86_OP(0, 0, 0x81), w, group1(op), reg);
    x86_u32(a, (uint32_t)imm);
}

void x86_ri(struct x86_asm *a, uint32_t op, int w, unsigned reg, int32_t imm)
{
    if (imm != (int8_t)imm) {
        x86_ri32(a, op, w, reg, imm);
        return;
    }
    x86_rr(a, X86_OP(0, 0, 0x83), w, group1(op), reg);
    x86_byte(a, (uint8_t)imm);
}

void x86_mi(struct x86_asm *a, uint32_t op, int w, struct x86_mem m, int32_t imm)
{
    bool small = imm == (int8_t)imm;

    x86_rm(a, X86_OP(0, 0, small ? 0x83 : 0x81), w, group1(op), m);
    if (small)
        x86_byte(a, (uint8_t)imm);
    else
        x86_u32(a, (uint32_t)imm);
}

void x86_test_ri(struct x86_asm *a, int w, unsigned reg, int32_t imm)
{
    x86_rr(a, X86_OP(0, 0, 0xf7), w, 0, reg);
    x86_u32(a, (uint32_t)imm);
}

void x86_imul_rri(struct x86_asm *a, int w, unsigned reg, unsigned rm, int32_t imm)
{
    bool small = imm == (int8_t)imm;

    x86_rr(a, X86_OP(0, 0, small ? 0x6b : 0x69), w, reg, rm);
    if (small)
        x86_byte(a, (uint8_t)imm);
    else
        x86_u32(a, (uint32_t)imm);
}

void x86_mov_imm(struct x86_asm *a, unsigned reg, int64_t imm)
{
    if (imm == (int64_t)(uint32_t)imm) {
        opcode(a, X86_OP(0, 0, 0xb8 | (reg & 7)), 0, 0, 0, reg, false);
        x86_u32(a, (uint32_t)imm);
    } else if (imm == (int32_t)imm) {
        x86_rr(a, X86_OP(0, 0, 0xc7), 1, 0, reg);
        x86_u32(a, (uint32_t)imm);
    } else {
        opcode(a, X86_OP(0, 0, 0xb8 | (reg & 7)), 1, 0, 0, reg, false);
        x86_u64(a, (uint64_t)imm);
    }
}

void x86_store_imm(struct x86_asm *a, unsigned bytes, struct x86_mem m, int32_t imm)
{
    if (bytes == 1) {
        x86_rm(a, X86_OP(0, 0, 0xc6), 0, 0, m);
        x86_byte(a, (uint8_t)imm);
    } else if (bytes == 2) {
        x86_rm(a, X86_OP(0x66, 0, 0xc7), 0, 0, m);
        x86_byte(a, (uint8_t)imm);
        x86_byte(a, (uint8_t)(imm >> 8));
    } else {
        x86_rm(a, X86_OP(0, 0, 0xc7), bytes == 8, 0, m);
        x86_u32(a, (uint32_t)imm);
    }
}

void x86_mov(struct x86_asm *a, unsigned dst, unsigned src)
{
    if (dst != src)
        x86_rr(a, X86_MOV_LOAD, 1, dst, src);
}

void x86_mov32(struct x86_asm *a, unsigned dst, unsigned src)
{
    x86_rr(a, X86_MOV_LOAD, 0, dst, src);
}

void x86_load(struct x86_asm *a, unsigned reg, struct x86_mem m)
{
    x86_rm(a, X86_MOV_LOAD, 1, reg, m);
}

void x86_store(struct x86_asm *a, struct x86_mem m, unsigned reg)
{
    x86_rm(a, X86_MOV_STORE, 1, reg, m);
}

void x86_shift_i(struct x86_asm *a, unsigned n, int w, unsigned reg, unsigned count)
{
    x86_rr(a, X86_OP(0, 0, 0xc1), w, n, reg);
    x86_byte(a, (uint8_t)count);
}

void x86_shift_cl(struct x86_asm *a, unsigned n, int w, unsigned reg)
{
    x86_rr(a, X86_OP(0, 0, 0xd3), w, n, reg);
}

void x86_setcc(struct x86_asm *a, enum x86_cond cc, unsigned reg)
{
    opcode(a, X86_OP(0, 1, 0x90 | cc), 0, 0, 0, reg, reg >= 4);
    modrm_reg(a, 0, reg);
}

void x86_bt_i(struct x86_asm *a, unsigned n, int w, unsigned reg, unsigned bit)
{
    x86_rr(a, X86_OP(0, 1, 0xba), w, n, reg);
    x86_byte(a, (uint8_t)bit);
}

void x86_bswap(struct x86_asm *a, int w, unsigned reg)
{
    opcode(a, X86_OP(0, 1, 0xc8 | (reg & 7)), w, 0, 0, reg, false);
}

void x86_sign_to_rdx(struct x86_asm *a, int w)
{
    if (w)
        x86_byte(a, 0x48);
    x86_byte(a, 0x99);
}

/* Three-byte VEX prefix and opcode. */
static void vex_l(struct x86_asm *a, uint32_t op, int w, int l, unsigned reg, unsigned vvvv, unsigned index,
                  unsigned base)
{
    static const uint8_t pp[] = {[0] = 0, [1] = 1, [2] = 3, [3] = 2};
    uint8_t prefix = op_prefix(op);
    unsigned p = prefix == 0 ? 0 : prefix == 0x66 ? 1 : prefix == 0xf2 ? 2 : 3;

    x86_byte(a, 0xc4);
    x86_byte(a, (uint8_t)((~reg >> 3 & 1) << 7 | (~index >> 3 & 1) << 6 | (~base >> 3 & 1) << 5 |
                          op_map(op)));
    x86_byte(a, (uint8_t)(w << 7 | (~vvvv & 15) << 3 | l << 2 | pp[p]));
    x86_byte(a, (uint8_t)op);
}

static void vex(struct x86_asm *a, uint32_t op, int w, unsigned reg, unsigned vvvv, unsigned index,
                unsigned base)
{
    vex_l(a, op, w, 0, reg, vvvv, index, base);
}

void x86_yrr(struct x86_asm *a, uint32_t op, int w, int l, unsigned reg, unsigned vvvv, unsigned rm)
{
    vex_l(a, op, w, l, reg, vvvv, 0, rm);
    modrm_reg(a, reg, rm);
}

void x86_yrm(struct x86_asm *a, uint32_t op, int w, int l, unsigned reg, unsigned vvvv, struct x86_mem m)
{
    vex_l(a, op, w, l, reg, vvvv, index_bit(m), m.base);
    modrm_mem(a, reg, m);
}

void x86_vzeroupper(struct x86_asm *a)
{
    x86_byte(a, 0xc5);
    x86_byte(a, 0xf8);
    x86_byte(a, 0x77);
}

void x86_vrr(struct x86_asm *a, uint32_t op, int w, unsigned reg, unsigned vvvv, unsigned rm)
{
    vex(a, op, w, reg, vvvv, 0, rm);
    modrm_reg(a, reg, rm);
}

void x86_vrm(struct x86_asm *a, uint32_t op, int w, unsigned reg, unsigned vvvv, struct x86_mem m)
{
    vex(a, op, w, reg, vvvv, index_bit(m), m.base);
    modrm_mem(a, reg, m);
}

void x86_rorx(struct x86_asm *a, int w, unsigned reg, unsigned rm, unsigned count)
{
    x86_vrr(a, X86_OP(0xf2, 3, 0xf0), w, reg, 0, rm);
    x86_byte(a, (uint8_t)count);
}

/* EVEX prefix and opcode; index: its bit 3, or bit 4 of a register in the place of memory. */
static void evex(struct x86_asm *a, uint32_t op, struct x86_evex x, unsigned reg, unsigned vvvv, unsigned index, unsigned base)
{
    static const uint8_t pp[] = {[0] = 0, [1] = 1, [2] = 3, [3] = 2};
    uint8_t prefix = op_prefix(op);
    unsigned p = prefix == 0 ? 0 : prefix == 0x66 ? 1 : prefix == 0xf2 ? 2 : 3;

    x86_byte(a, 0x62);
    x86_byte(a, (uint8_t)((~reg >> 3 & 1) << 7 | (~index >> 3 & 1) << 6 | (~base >> 3 & 1) << 5 | (~reg >> 4 & 1) << 4 |
                          op_map(op)));
    x86_byte(a, (uint8_t)((op & X86_EVEX_W ? 1 : 0) << 7 | (~vvvv & 15) << 3 | 1 << 2 | pp[p]));
    bool nearest = op & X86_EVEX_NEAREST; /* 512 bits are understood */
    x86_byte(a, (uint8_t)(x.zero << 7 | (nearest ? 0 : x.length) << 5 | nearest << 4 | (~vvvv >> 4 & 1) << 3 | x.mask));
    x86_byte(a, (uint8_t)op);
}

void x86_err(struct x86_asm *a, uint32_t op, struct x86_evex x, unsigned reg, unsigned vvvv, unsigned rm)
{
    evex(a, op, x, reg, vvvv, rm >> 1 & 8, rm);
    modrm_reg(a, reg, rm);
}

/* Displacements of a byte would be scaled by the operand's size: there are none. */
void x86_erm(struct x86_asm *a, uint32_t op, struct x86_evex x, unsigned reg, unsigned vvvv, struct x86_mem m)
{
    evex(a, op, x, reg, vvvv, index_bit(m), m.base);
    if (m.rip || (m.base & 7) == RSP || m.index != X86_NOREG) {
        SIM_BUG_ON(!m.rip, "EVEX with an index, or of the stack");
        modrm_mem(a, reg, m);
        return;
    }
    x86_byte(a, (uint8_t)(2 << 6 | (reg & 7) << 3 | (m.base & 7)));
    x86_u32(a, (uint32_t)m.disp);
}

/* EVEX with registers below 16 only: R' V' X as for low registers, no masking, no rounding. */
static void evex_rr(struct x86_asm *a, unsigned pp, int w, uint8_t byte, unsigned reg, unsigned vvvv,
                    unsigned rm)
{
    x86_byte(a, 0x62);
    x86_byte(a, (uint8_t)((~reg >> 3 & 1) << 7 | 1 << 6 | (~rm >> 3 & 1) << 5 | 1 << 4 | 1));
    x86_byte(a, (uint8_t)(w << 7 | (~vvvv & 15) << 3 | 1 << 2 | pp));
    x86_byte(a, 1 << 3); /* V' = 1 (inverted 0) */
    x86_byte(a, byte);
    modrm_reg(a, reg, rm);
}

void x86_cvt2usi(struct x86_asm *a, bool dbl, bool trunc, int w, unsigned reg, unsigned xmm)
{
    evex_rr(a, dbl ? 3 : 2, w, trunc ? 0x78 : 0x79, reg, 0, xmm);
}

void x86_cvtusi2(struct x86_asm *a, bool dbl, int w, unsigned xmm, unsigned src, unsigned reg)
{
    evex_rr(a, dbl ? 3 : 2, w, 0x7b, xmm, src, reg);
}

void x86_push(struct x86_asm *a, unsigned reg)
{
    opcode(a, X86_OP(0, 0, 0x50 | (reg & 7)), 0, 0, 0, reg, false);
}

void x86_pop(struct x86_asm *a, unsigned reg)
{
    opcode(a, X86_OP(0, 0, 0x58 | (reg & 7)), 0, 0, 0, reg, false);
}

void x86_ret(struct x86_asm *a)
{
    x86_byte(a, 0xc3);
}

void x86_lock(struct x86_asm *a)
{
    x86_byte(a, 0xf0);
}

void x86_mfence(struct x86_asm *a)
{
    /* lock or dword [rsp], 0: the same order, cheaper than mfence on most hosts */
    x86_lock(a);
    x86_mi(a, X86_OR, 0, x86_at(RSP, 0), 0);
}

static uint8_t *displacement(struct x86_asm *a)
{
    uint8_t *at = a->p;

    x86_u32(a, 0);
    return at;
}

uint8_t *x86_jmp(struct x86_asm *a)
{
    x86_byte(a, 0xe9);
    return displacement(a);
}

uint8_t *x86_jcc(struct x86_asm *a, enum x86_cond cc)
{
    x86_byte(a, 0x0f);
    x86_byte(a, (uint8_t)(0x80 | cc));
    return displacement(a);
}

uint8_t *x86_call(struct x86_asm *a)
{
    x86_byte(a, 0xe8);
    return displacement(a);
}

uint8_t *x86_lea_rip(struct x86_asm *a, unsigned reg)
{
    opcode(a, X86_LEA, 1, reg, 0, 0, false);
    x86_byte(a, (uint8_t)((reg & 7) << 3 | 5));
    return displacement(a);
}

void x86_call_reg(struct x86_asm *a, unsigned reg)
{
    x86_rr(a, X86_OP(0, 0, 0xff), 0, 2, reg);
}

void x86_jmp_reg(struct x86_asm *a, unsigned reg)
{
    x86_rr(a, X86_OP(0, 0, 0xff), 0, 4, reg);
}

void x86_jmp_mem(struct x86_asm *a, struct x86_mem m)
{
    x86_rm(a, X86_OP(0, 0, 0xff), 0, 4, m);
}

void x86_patch(uint8_t *at, const uint8_t *target)
{
    int32_t disp = (int32_t)(target - (at + 4));

    memcpy(at, &disp, 4);
}

void x86_nop(struct x86_asm *a, unsigned bytes)
{
    static const uint8_t nops[9][9] = {
        {0x90},
        {0x66, 0x90},
        {0x0f, 0x1f, 0x00},
        {0x0f, 0x1f, 0x40, 0x00},
        {0x0f, 0x1f, 0x44, 0x00, 0x00},
        {0x66, 0x0f, 0x1f, 0x44, 0x00, 0x00},
        {0x0f, 0x1f, 0x80, 0x00, 0x00, 0x00, 0x00},
        {0x0f, 0x1f, 0x84, 0x00, 0x00, 0x00, 0x00, 0x00},
        {0x66, 0x0f, 0x1f, 0x84, 0x00, 0x00, 0x00, 0x00, 0x00},
    };

    while (bytes) {
        unsigned n = bytes < 9 ? bytes : 9;
        put(a, nops[n - 1], n);
        bytes -= n;
    }
}

void x86_align(struct x86_asm *a, unsigned to)
{
    unsigned past = (unsigned)((uintptr_t)a->p & (to - 1));

    if (past)
        x86_nop(a, to - past);
}
