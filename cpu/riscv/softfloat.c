/* Softfloat's public functions for both widths: unpack, operate (softfloat_num.c), round and pack;
 * comparisons and classes, which need only the bits. */
#include "softfloat_priv.h"

static uint64_t add(const struct sf_format *fmt, uint64_t a, uint64_t b, enum sf_round rm,
                    unsigned *flags)
{
    struct sf_num x = sf_unpack(fmt, a, flags), y = sf_unpack(fmt, b, flags);

    return sf_round_pack(fmt, sf_num_add(x, y, rm, flags), rm, flags);
}

static uint64_t sub(const struct sf_format *fmt, uint64_t a, uint64_t b, enum sf_round rm,
                    unsigned *flags)
{
    return add(fmt, a, b ^ 1ull << (fmt->width - 1), rm, flags);
}

static uint64_t mul(const struct sf_format *fmt, uint64_t a, uint64_t b, enum sf_round rm,
                    unsigned *flags)
{
    struct sf_num x = sf_unpack(fmt, a, flags), y = sf_unpack(fmt, b, flags);

    return sf_round_pack(fmt, sf_num_mul(x, y, flags), rm, flags);
}

static uint64_t div(const struct sf_format *fmt, uint64_t a, uint64_t b, enum sf_round rm,
                    unsigned *flags)
{
    struct sf_num x = sf_unpack(fmt, a, flags), y = sf_unpack(fmt, b, flags);

    return sf_round_pack(fmt, sf_num_div(x, y, flags), rm, flags);
}

static uint64_t mul_add(const struct sf_format *fmt, uint64_t a, uint64_t b, uint64_t c,
                        enum sf_round rm, unsigned *flags)
{
    struct sf_num x = sf_unpack(fmt, a, flags), y = sf_unpack(fmt, b, flags);
    struct sf_num z = sf_unpack(fmt, c, flags);

    return sf_round_pack(fmt, sf_num_fma(x, y, z, rm, flags), rm, flags);
}

static uint64_t square_root(const struct sf_format *fmt, uint64_t a, enum sf_round rm,
                            unsigned *flags)
{
    return sf_round_pack(fmt, sf_num_sqrt(sf_unpack(fmt, a, flags), flags), rm, flags);
}

static uint64_t convert(const struct sf_format *to, const struct sf_format *from, uint64_t a,
                        enum sf_round rm, unsigned *flags)
{
    return sf_round_pack(to, sf_unpack(from, a, flags), rm, flags);
}

static uint64_t to_int(const struct sf_format *fmt, uint64_t a, uint64_t pos_max, uint64_t neg_max,
                       enum sf_round rm, unsigned *flags)
{
    unsigned nan = 0; /* raises SF_NV below, signalling or not */

    return sf_num_to_int(sf_unpack(fmt, a, &nan), pos_max, neg_max, rm, flags);
}

static uint64_t from_int(const struct sf_format *fmt, bool sign, uint64_t magnitude,
                         enum sf_round rm, unsigned *flags)
{
    if (magnitude == 0)
        return 0;
    return sf_round_pack(fmt, sf_normal(sign, 63, magnitude), rm, flags);
}

static uint64_t from_signed(const struct sf_format *fmt, int64_t a, enum sf_round rm,
                            unsigned *flags)
{
    return from_int(fmt, a < 0, a < 0 ? -(uint64_t)a : (uint64_t)a, rm, flags);
}

/* --- comparisons --- */

/* Neither is a NaN. The bits of a positive number order as integers do; zero_order decides whether
 * -0 is below +0 (min, max) or equal to it. */
static bool less(const struct sf_format *fmt, uint64_t a, uint64_t b, bool zero_order)
{
    uint64_t sign = 1ull << (fmt->width - 1);

    if (!zero_order && ((a | b) & ~sign) == 0)
        return false;
    if ((a ^ b) & sign)
        return a & sign;
    return a & sign ? a > b : a < b;
}

static bool unordered(const struct sf_format *fmt, uint64_t a, uint64_t b, bool signalling,
                      unsigned *flags)
{
    bool nan = sf_is_nan(fmt, a) || sf_is_nan(fmt, b);

    if (sf_is_snan(fmt, a) || sf_is_snan(fmt, b) || (nan && signalling))
        *flags |= SF_NV;
    return nan;
}

static bool eq(const struct sf_format *fmt, uint64_t a, uint64_t b, unsigned *flags)
{
    return !unordered(fmt, a, b, false, flags) && !less(fmt, a, b, false) &&
           !less(fmt, b, a, false);
}

static bool lt(const struct sf_format *fmt, uint64_t a, uint64_t b, unsigned *flags)
{
    return !unordered(fmt, a, b, true, flags) && less(fmt, a, b, false);
}

static bool le(const struct sf_format *fmt, uint64_t a, uint64_t b, unsigned *flags)
{
    return !unordered(fmt, a, b, true, flags) && !less(fmt, b, a, false);
}

/* IEEE 754-2019 minimumNumber, maximumNumber. */
static uint64_t min_max(const struct sf_format *fmt, uint64_t a, uint64_t b, bool max,
                        unsigned *flags)
{
    struct sf_num nan = {.kind = SF_NAN};

    if (unordered(fmt, a, b, false, flags)) {
        if (!sf_is_nan(fmt, a))
            return a;
        return sf_is_nan(fmt, b) ? sf_round_pack(fmt, nan, SF_RNE, flags) : b;
    }
    return less(fmt, a, b, true) != max ? a : b;
}

/* F extension, table "Format of result of FCLASS": -inf, -normal, -subnormal, -0, +0, +subnormal,
 * +normal, +inf, signalling NaN, quiet NaN. */
static unsigned class(const struct sf_format *fmt, uint64_t a)
{
    unsigned exp = sf_exp(fmt, a), size; /* 0: zero ... 3: infinity */

    if (sf_is_nan(fmt, a))
        return sf_is_snan(fmt, a) ? 1 << 8 : 1 << 9;
    if (exp == 0)
        size = sf_frac(fmt, a) != 0;
    else
        size = exp == fmt->exp_max ? 3 : 2;
    return sf_sign(fmt, a) ? 1u << (3 - size) : 1u << (4 + size);
}

/* --- the public functions --- */

#define SF_WIDTH(_bits, _uint)                                                                     \
    _uint sf##_bits##_add(_uint a, _uint b, enum sf_round rm, unsigned *flags)                     \
    {                                                                                              \
        return (_uint)add(&sf_f##_bits, a, b, rm, flags);                                          \
    }                                                                                              \
    _uint sf##_bits##_sub(_uint a, _uint b, enum sf_round rm, unsigned *flags)                     \
    {                                                                                              \
        return (_uint)sub(&sf_f##_bits, a, b, rm, flags);                                          \
    }                                                                                              \
    _uint sf##_bits##_mul(_uint a, _uint b, enum sf_round rm, unsigned *flags)                     \
    {                                                                                              \
        return (_uint)mul(&sf_f##_bits, a, b, rm, flags);                                          \
    }                                                                                              \
    _uint sf##_bits##_div(_uint a, _uint b, enum sf_round rm, unsigned *flags)                     \
    {                                                                                              \
        return (_uint)div(&sf_f##_bits, a, b, rm, flags);                                          \
    }                                                                                              \
    _uint sf##_bits##_sqrt(_uint a, enum sf_round rm, unsigned *flags)                             \
    {                                                                                              \
        return (_uint)square_root(&sf_f##_bits, a, rm, flags);                                     \
    }                                                                                              \
    _uint sf##_bits##_fma(_uint a, _uint b, _uint c, enum sf_round rm, unsigned *flags)            \
    {                                                                                              \
        return (_uint)mul_add(&sf_f##_bits, a, b, c, rm, flags);                                   \
    }                                                                                              \
    _uint sf##_bits##_min(_uint a, _uint b, unsigned *flags)                                       \
    {                                                                                              \
        return (_uint)min_max(&sf_f##_bits, a, b, false, flags);                                   \
    }                                                                                              \
    _uint sf##_bits##_max(_uint a, _uint b, unsigned *flags)                                       \
    {                                                                                              \
        return (_uint)min_max(&sf_f##_bits, a, b, true, flags);                                    \
    }                                                                                              \
    bool sf##_bits##_eq(_uint a, _uint b, unsigned *flags)                                         \
    {                                                                                              \
        return eq(&sf_f##_bits, a, b, flags);                                                      \
    }                                                                                              \
    bool sf##_bits##_lt(_uint a, _uint b, unsigned *flags)                                         \
    {                                                                                              \
        return lt(&sf_f##_bits, a, b, flags);                                                      \
    }                                                                                              \
    bool sf##_bits##_le(_uint a, _uint b, unsigned *flags)                                         \
    {                                                                                              \
        return le(&sf_f##_bits, a, b, flags);                                                      \
    }                                                                                              \
    unsigned sf##_bits##_class(_uint a)                                                            \
    {                                                                                              \
        return class(&sf_f##_bits, a);                                                             \
    }                                                                                              \
    int32_t sf##_bits##_to_i32(_uint a, enum sf_round rm, unsigned *flags)                         \
    {                                                                                              \
        return (int32_t)to_int(&sf_f##_bits, a, INT32_MAX, 1ull << 31, rm, flags);                 \
    }                                                                                              \
    uint32_t sf##_bits##_to_u32(_uint a, enum sf_round rm, unsigned *flags)                        \
    {                                                                                              \
        return (uint32_t)to_int(&sf_f##_bits, a, UINT32_MAX, 0, rm, flags);                        \
    }                                                                                              \
    int64_t sf##_bits##_to_i64(_uint a, enum sf_round rm, unsigned *flags)                         \
    {                                                                                              \
        return (int64_t)to_int(&sf_f##_bits, a, INT64_MAX, 1ull << 63, rm, flags);                 \
    }                                                                                              \
    uint64_t sf##_bits##_to_u64(_uint a, enum sf_round rm, unsigned *flags)                        \
    {                                                                                              \
        return to_int(&sf_f##_bits, a, UINT64_MAX, 0, rm, flags);                                  \
    }                                                                                              \
    _uint sf##_bits##_from_i32(int32_t a, enum sf_round rm, unsigned *flags)                       \
    {                                                                                              \
        return (_uint)from_signed(&sf_f##_bits, a, rm, flags);                                     \
    }                                                                                              \
    _uint sf##_bits##_from_u32(uint32_t a, enum sf_round rm, unsigned *flags)                      \
    {                                                                                              \
        return (_uint)from_int(&sf_f##_bits, false, a, rm, flags);                                 \
    }                                                                                              \
    _uint sf##_bits##_from_i64(int64_t a, enum sf_round rm, unsigned *flags)                       \
    {                                                                                              \
        return (_uint)from_signed(&sf_f##_bits, a, rm, flags);                                     \
    }                                                                                              \
    _uint sf##_bits##_from_u64(uint64_t a, enum sf_round rm, unsigned *flags)                      \
    {                                                                                              \
        return (_uint)from_int(&sf_f##_bits, false, a, rm, flags);                                 \
    }

SF_WIDTH(32, uint32_t)
SF_WIDTH(64, uint64_t)

uint64_t sf32_to_f64(uint32_t a, unsigned *flags)
{
    return convert(&sf_f64, &sf_f32, a, SF_RNE, flags); /* exact */
}

uint32_t sf64_to_f32(uint64_t a, enum sf_round rm, unsigned *flags)
{
    return (uint32_t)convert(&sf_f32, &sf_f64, a, rm, flags);
}
