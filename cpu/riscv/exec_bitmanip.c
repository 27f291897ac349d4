/* Semantics of Zba, Zbb and Zbs. a, b, imm: RV_EXEC_COMPUTE in exec.h. */
#include "exec.h"

static inline uint64_t ror64(uint64_t v, uint64_t n)
{
    return v >> (n & 63) | v << (-n & 63);
}

static inline uint64_t ror32(uint64_t v, uint64_t n)
{
    uint32_t w = (uint32_t)v;

    return (uint64_t)(int64_t)(int32_t)(w >> (n & 31) | w << (-n & 31));
}

/* Every byte that is not zero becomes 0xff. */
static inline uint64_t orc_b(uint64_t v)
{
    const uint64_t low7 = 0x7f7f7f7f7f7f7f7full;
    uint64_t high = (((v & low7) + low7) | v) & ~low7; /* bit 7 of each byte that is not zero */

    return high | (high - (high >> 7));
}

/* ---- Zba ---- */

RV_EXEC_COMPUTE(add_uw, b + (uint32_t)a)
RV_EXEC_COMPUTE(sh1add, b + (a << 1))
RV_EXEC_COMPUTE(sh2add, b + (a << 2))
RV_EXEC_COMPUTE(sh3add, b + (a << 3))
RV_EXEC_COMPUTE(sh1add_uw, b + ((uint64_t)(uint32_t)a << 1))
RV_EXEC_COMPUTE(sh2add_uw, b + ((uint64_t)(uint32_t)a << 2))
RV_EXEC_COMPUTE(sh3add_uw, b + ((uint64_t)(uint32_t)a << 3))
RV_EXEC_COMPUTE(slli_uw, (uint64_t)(uint32_t)a << imm)

/* ---- Zbb ---- */

RV_EXEC_COMPUTE(andn, a & ~b)
RV_EXEC_COMPUTE(orn, a | ~b)
RV_EXEC_COMPUTE(xnor, ~(a ^ b))
RV_EXEC_COMPUTE(clz, a ? __builtin_clzll(a) : 64)
RV_EXEC_COMPUTE(ctz, a ? __builtin_ctzll(a) : 64)
RV_EXEC_COMPUTE(cpop, __builtin_popcountll(a))
RV_EXEC_COMPUTE(clzw, (uint32_t)a ? __builtin_clz((uint32_t)a) : 32)
RV_EXEC_COMPUTE(ctzw, (uint32_t)a ? __builtin_ctz((uint32_t)a) : 32)
RV_EXEC_COMPUTE(cpopw, __builtin_popcount((uint32_t)a))
RV_EXEC_COMPUTE(sext_b, (int64_t)(int8_t)a)
RV_EXEC_COMPUTE(sext_h, (int64_t)(int16_t)a)
RV_EXEC_COMPUTE(zext_h, (uint16_t)a)
RV_EXEC_COMPUTE(max, (int64_t)a > (int64_t)b ? a : b)
RV_EXEC_COMPUTE(maxu, a > b ? a : b)
RV_EXEC_COMPUTE(min, (int64_t)a < (int64_t)b ? a : b)
RV_EXEC_COMPUTE(minu, a < b ? a : b)
RV_EXEC_COMPUTE(rol, ror64(a, -b))
RV_EXEC_COMPUTE(ror, ror64(a, b))
RV_EXEC_COMPUTE(rori, ror64(a, imm))
RV_EXEC_COMPUTE(rolw, ror32(a, -b))
RV_EXEC_COMPUTE(rorw, ror32(a, b))
RV_EXEC_COMPUTE(roriw, ror32(a, imm))
RV_EXEC_COMPUTE(orc_b, orc_b(a))
RV_EXEC_COMPUTE(rev8, __builtin_bswap64(a))

/* ---- Zbs ---- */

RV_EXEC_COMPUTE(bclr, a & ~(1ull << (b & 63)))
RV_EXEC_COMPUTE(bext, a >> (b & 63) & 1)
RV_EXEC_COMPUTE(binv, a ^ 1ull << (b & 63))
RV_EXEC_COMPUTE(bset, a | 1ull << (b & 63))
RV_EXEC_COMPUTE(bclri, a & ~(1ull << imm))
RV_EXEC_COMPUTE(bexti, a >> imm & 1)
RV_EXEC_COMPUTE(binvi, a ^ 1ull << imm)
RV_EXEC_COMPUTE(bseti, a | 1ull << imm)
