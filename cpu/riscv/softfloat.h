/* Exact IEEE 754 binary32 and binary64 for RISC-V: results and flags, five rounding modes, canonical
 * NaNs, tininess after rounding. The interpreter always uses it; translated code only for the cases
 * the host's FPU does differently. Pure functions. Context: any. */
#ifndef CPU_RISCV_SOFTFLOAT_H
#define CPU_RISCV_SOFTFLOAT_H

#include <stdbool.h>
#include <stdint.h>

enum sf_round { SF_RNE = 0, SF_RTZ = 1, SF_RDN = 2, SF_RUP = 3, SF_RMM = 4 };
enum { SF_NX = 1, SF_UF = 2, SF_OF = 4, SF_DZ = 8, SF_NV = 16 };

#define SF_NAN32 0x7fc00000u
#define SF_NAN64 0x7ff8000000000000ull

/* Each ORs the exceptions it raises into *flags. */
uint32_t sf32_add(uint32_t a, uint32_t b, enum sf_round rm, unsigned *flags);
uint32_t sf32_sub(uint32_t a, uint32_t b, enum sf_round rm, unsigned *flags);
uint32_t sf32_mul(uint32_t a, uint32_t b, enum sf_round rm, unsigned *flags);
uint32_t sf32_div(uint32_t a, uint32_t b, enum sf_round rm, unsigned *flags);
uint32_t sf32_sqrt(uint32_t a, enum sf_round rm, unsigned *flags);
uint32_t sf32_fma(uint32_t a, uint32_t b, uint32_t c, enum sf_round rm, unsigned *flags); /* a*b+c */
uint32_t sf32_min(uint32_t a, uint32_t b, unsigned *flags);
uint32_t sf32_max(uint32_t a, uint32_t b, unsigned *flags);
bool sf32_eq(uint32_t a, uint32_t b, unsigned *flags); /* quiet */
bool sf32_lt(uint32_t a, uint32_t b, unsigned *flags); /* signalling */
bool sf32_le(uint32_t a, uint32_t b, unsigned *flags); /* signalling */
unsigned sf32_class(uint32_t a);
int32_t sf32_to_i32(uint32_t a, enum sf_round rm, unsigned *flags);
uint32_t sf32_to_u32(uint32_t a, enum sf_round rm, unsigned *flags);
int64_t sf32_to_i64(uint32_t a, enum sf_round rm, unsigned *flags);
uint64_t sf32_to_u64(uint32_t a, enum sf_round rm, unsigned *flags);
uint32_t sf32_from_i32(int32_t a, enum sf_round rm, unsigned *flags);
uint32_t sf32_from_u32(uint32_t a, enum sf_round rm, unsigned *flags);
uint32_t sf32_from_i64(int64_t a, enum sf_round rm, unsigned *flags);
uint32_t sf32_from_u64(uint64_t a, enum sf_round rm, unsigned *flags);
uint64_t sf32_to_f64(uint32_t a, unsigned *flags);

uint64_t sf64_add(uint64_t a, uint64_t b, enum sf_round rm, unsigned *flags);
uint64_t sf64_sub(uint64_t a, uint64_t b, enum sf_round rm, unsigned *flags);
uint64_t sf64_mul(uint64_t a, uint64_t b, enum sf_round rm, unsigned *flags);
uint64_t sf64_div(uint64_t a, uint64_t b, enum sf_round rm, unsigned *flags);
uint64_t sf64_sqrt(uint64_t a, enum sf_round rm, unsigned *flags);
uint64_t sf64_fma(uint64_t a, uint64_t b, uint64_t c, enum sf_round rm, unsigned *flags);
uint64_t sf64_min(uint64_t a, uint64_t b, unsigned *flags);
uint64_t sf64_max(uint64_t a, uint64_t b, unsigned *flags);
bool sf64_eq(uint64_t a, uint64_t b, unsigned *flags);
bool sf64_lt(uint64_t a, uint64_t b, unsigned *flags);
bool sf64_le(uint64_t a, uint64_t b, unsigned *flags);
unsigned sf64_class(uint64_t a);
int32_t sf64_to_i32(uint64_t a, enum sf_round rm, unsigned *flags);
uint32_t sf64_to_u32(uint64_t a, enum sf_round rm, unsigned *flags);
int64_t sf64_to_i64(uint64_t a, enum sf_round rm, unsigned *flags);
uint64_t sf64_to_u64(uint64_t a, enum sf_round rm, unsigned *flags);
uint64_t sf64_from_i32(int32_t a, enum sf_round rm, unsigned *flags);
uint64_t sf64_from_u32(uint32_t a, enum sf_round rm, unsigned *flags);
uint64_t sf64_from_i64(int64_t a, enum sf_round rm, unsigned *flags);
uint64_t sf64_from_u64(uint64_t a, enum sf_round rm, unsigned *flags);
uint32_t sf64_to_f32(uint64_t a, enum sf_round rm, unsigned *flags);

/* NaN boxing of single values in f registers. */
static inline uint64_t sf_box(uint32_t v)
{
    return 0xffffffff00000000ull | v;
}
static inline uint32_t sf_unbox(uint64_t r)
{
    return r >> 32 == 0xffffffffu ? (uint32_t)r : SF_NAN32;
}

#endif
