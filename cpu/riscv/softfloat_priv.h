/* Softfloat inside: the width-free number between unpacking and rounding.
 *
 *   bits -> sf_unpack -> struct sf_num -> sf_num_* (exact value, sticky) -> sf_round_pack -> bits
 *
 * Arithmetic never looks at a format: 64 bits of significand hold the leading 53 of any result plus
 * enough below them that "the rest was not zero" (sticky, in bit 0) is all that rounding needs. */
#ifndef CPU_RISCV_SOFTFLOAT_PRIV_H
#define CPU_RISCV_SOFTFLOAT_PRIV_H

#include "softfloat.h"

enum sf_kind { SF_ZERO, SF_FINITE, SF_INF, SF_NAN };

/* (-1)^sign * sig * 2^(exp - 63). sig and exp mean something for SF_FINITE only; bit 63 of sig is
 * then set, and bit 0 is sticky in results. */
struct sf_num {
    uint64_t sig;
    int32_t exp;
    uint8_t kind;
    bool sign;
};

struct sf_format {
    unsigned width, frac_bits;
    unsigned exp_max; /* the biased exponent of infinities and NaNs */
};

static const struct sf_format sf_f32 = {32, 23, 0xff};
static const struct sf_format sf_f64 = {64, 52, 0x7ff};

static inline int sf_bias(const struct sf_format *fmt)
{
    return (int)(fmt->exp_max >> 1);
}

static inline bool sf_sign(const struct sf_format *fmt, uint64_t bits)
{
    return bits >> (fmt->width - 1);
}

static inline unsigned sf_exp(const struct sf_format *fmt, uint64_t bits)
{
    return (unsigned)(bits >> fmt->frac_bits) & fmt->exp_max;
}

static inline uint64_t sf_frac(const struct sf_format *fmt, uint64_t bits)
{
    return bits & ((1ull << fmt->frac_bits) - 1);
}

static inline bool sf_is_nan(const struct sf_format *fmt, uint64_t bits)
{
    return sf_exp(fmt, bits) == fmt->exp_max && sf_frac(fmt, bits) != 0;
}

static inline bool sf_is_snan(const struct sf_format *fmt, uint64_t bits)
{
    return sf_is_nan(fmt, bits) && !(bits >> (fmt->frac_bits - 1) & 1);
}

/* Any non-zero sig: shifts it up to bit 63. */
static inline struct sf_num sf_normal(bool sign, int exp, uint64_t sig)
{
    int up = __builtin_clzll(sig);

    return (struct sf_num){.kind = SF_FINITE, .sign = sign, .exp = exp - up, .sig = sig << up};
}

/* Raises SF_NV for a signalling NaN, which is all the difference there is between NaNs here. */
static inline struct sf_num sf_unpack(const struct sf_format *fmt, uint64_t bits, unsigned *flags)
{
    unsigned exp = sf_exp(fmt, bits), up = 63 - fmt->frac_bits;
    uint64_t frac = sf_frac(fmt, bits);
    struct sf_num n = {.sign = sf_sign(fmt, bits), .kind = SF_ZERO};

    if (exp == fmt->exp_max) {
        n.kind = frac ? SF_NAN : SF_INF;
        if (sf_is_snan(fmt, bits))
            *flags |= SF_NV;
    } else if (exp) {
        n.kind = SF_FINITE;
        n.exp = (int)exp - sf_bias(fmt);
        n.sig = 1ull << 63 | frac << up;
    } else if (frac) {
        n = sf_normal(n.sign, 1 - sf_bias(fmt), frac << up);
    }
    return n;
}

uint64_t sf_round_pack(const struct sf_format *fmt, struct sf_num n, enum sf_round rm,
                       unsigned *flags);

struct sf_num sf_num_add(struct sf_num a, struct sf_num b, enum sf_round rm, unsigned *flags);
struct sf_num sf_num_mul(struct sf_num a, struct sf_num b, unsigned *flags);
struct sf_num sf_num_div(struct sf_num a, struct sf_num b, unsigned *flags);
struct sf_num sf_num_sqrt(struct sf_num a, unsigned *flags);
struct sf_num sf_num_fma(struct sf_num a, struct sf_num b, struct sf_num c, enum sf_round rm,
                         unsigned *flags);

/* To an integer in [-neg_max, pos_max], two's complement; NaNs and what lies outside raise SF_NV
 * alone and give the nearest end (NaN: pos_max). */
uint64_t sf_num_to_int(struct sf_num n, uint64_t pos_max, uint64_t neg_max, enum sf_round rm,
                       unsigned *flags);

#endif
