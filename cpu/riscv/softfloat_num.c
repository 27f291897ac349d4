/* Softfloat's arithmetic on unpacked numbers, and rounding into a format.
 *
 * Every operation forms its exact result in at most 128 bits and keeps 64 of them; what falls off
 * sets bit 0 (sticky). Rounding looks at no more than "above, at or below half" and "anything
 * left", so the one rounding in sf_round_pack is that of the infinitely precise result. */
#include "softfloat_priv.h"

typedef unsigned __int128 u128;

/* A finite operand of an addition: as struct sf_num, but the leading one is bit 126, which leaves
 * room for the carry and for an exact product. */
struct wide {
    u128 sig;
    int exp;
    bool sign;
};

static struct sf_num nan_num(void)
{
    return (struct sf_num){.kind = SF_NAN};
}

static struct sf_num invalid(unsigned *flags)
{
    *flags |= SF_NV;
    return nan_num();
}

static struct sf_num special(enum sf_kind kind, bool sign)
{
    return (struct sf_num){.kind = (uint8_t)kind, .sign = sign};
}

static uint64_t shift_right_sticky64(uint64_t v, unsigned by)
{
    if (by == 0)
        return v;
    return by > 63 ? v != 0 : v >> by | (v << (64 - by) != 0);
}

static u128 shift_right_sticky128(u128 v, unsigned by)
{
    if (by == 0)
        return v;
    return by > 127 ? v != 0 : v >> by | (v << (128 - by) != 0);
}

/* sig * 2^(exp - 127), not zero, any leading bit. */
static struct sf_num narrow(bool sign, int exp, u128 sig)
{
    uint64_t high = (uint64_t)(sig >> 64);
    int up = high ? __builtin_clzll(high) : 64 + __builtin_clzll((uint64_t)sig);

    sig <<= up;
    return (struct sf_num){.kind = SF_FINITE,
                           .sign = sign,
                           .exp = exp - up,
                           .sig = (uint64_t)(sig >> 64) | ((uint64_t)sig != 0)};
}

/* --- rounding --- */

/* Does the magnitude go to the next value up? rest is what lies below the last kept bit, of which
 * `odd` is the value; half is the weight of half a unit. */
static bool rounds_up(enum sf_round rm, bool sign, bool odd, uint64_t rest, uint64_t half)
{
    switch (rm) {
    case SF_RNE:
        return rest > half || (rest == half && odd);
    case SF_RMM:
        return rest >= half;
    case SF_RDN:
        return sign && rest;
    case SF_RUP:
        return !sign && rest;
    default:
        return false;
    }
}

static uint64_t overflow(const struct sf_format *fmt, bool sign, enum sf_round rm, unsigned *flags)
{
    uint64_t inf = (uint64_t)fmt->exp_max << fmt->frac_bits;
    bool to_inf = rm == SF_RNE || rm == SF_RMM || rm == (sign ? SF_RDN : SF_RUP);

    *flags |= SF_OF | SF_NX;
    return to_inf ? inf : inf - 1;
}

/* Magnitude of a finite number in the format; the sign matters for rounding only. */
static uint64_t round_finite(const struct sf_format *fmt, struct sf_num n, enum sf_round rm,
                             unsigned *flags)
{
    unsigned below = 63 - fmt->frac_bits;
    uint64_t mask = (1ull << below) - 1, half = 1ull << (below - 1);
    int exp = n.exp + sf_bias(fmt);
    bool tiny = exp < 1;
    uint64_t rest, bits;

    if (tiny) {
        /* Tininess is judged after rounding as if the exponent had no lower end: the one case
         * that gets away is all ones carrying into the smallest normal number. */
        if (exp == 0 && n.sig >> below == UINT64_MAX >> below &&
            rounds_up(rm, n.sign, true, n.sig & mask, half))
            tiny = false;
        n.sig = shift_right_sticky64(n.sig, (unsigned)(1 - exp));
        exp = 1;
    }
    if (exp >= (int)fmt->exp_max)
        return overflow(fmt, n.sign, rm, flags);
    rest = n.sig & mask;
    /* The leading one, when there is one, counts into the exponent field, and so does a carry. */
    bits = ((uint64_t)(exp - 1) << fmt->frac_bits) + (n.sig >> below) +
           rounds_up(rm, n.sign, n.sig >> below & 1, rest, half);
    if (sf_exp(fmt, bits) == fmt->exp_max)
        return overflow(fmt, n.sign, rm, flags);
    if (rest)
        *flags |= tiny ? SF_NX | SF_UF : SF_NX;
    return bits;
}

uint64_t sf_round_pack(const struct sf_format *fmt, struct sf_num n, enum sf_round rm,
                       unsigned *flags)
{
    uint64_t inf = (uint64_t)fmt->exp_max << fmt->frac_bits;
    uint64_t sign = (uint64_t)n.sign << (fmt->width - 1);

    switch (n.kind) {
    case SF_ZERO:
        return sign;
    case SF_FINITE:
        return sign | round_finite(fmt, n, rm, flags);
    case SF_INF:
        return sign | inf;
    default:
        return inf | 1ull << (fmt->frac_bits - 1); /* the canonical NaN */
    }
}

uint64_t sf_num_to_int(struct sf_num n, uint64_t pos_max, uint64_t neg_max, enum sf_round rm,
                       unsigned *flags)
{
    bool negative = n.sign && n.kind != SF_NAN;
    bool outside = n.kind == SF_INF || n.kind == SF_NAN || (n.kind == SF_FINITE && n.exp > 63);
    uint64_t end = negative ? neg_max : pos_max;
    uint64_t value = 0, rest = 0;

    if (n.kind == SF_FINITE && !outside) {
        u128 fixed = shift_right_sticky128((u128)n.sig << 64, (unsigned)(63 - n.exp));

        rest = (uint64_t)fixed;
        value = (uint64_t)(fixed >> 64);
        /* Cannot wrap: with exp == 63 nothing is left to round. */
        value += rounds_up(rm, negative, value & 1, rest, 1ull << 63);
    }
    if (outside || value > end) {
        *flags |= SF_NV;
        value = end;
    } else if (rest) {
        *flags |= SF_NX;
    }
    return negative ? -value : value;
}

/* --- arithmetic --- */

static struct wide widen(struct sf_num n)
{
    return (struct wide){.sign = n.sign, .exp = n.exp, .sig = (u128)n.sig << 63};
}

static struct sf_num add_wide(struct wide a, struct wide b, enum sf_round rm)
{
    u128 sum;

    if (a.exp < b.exp || (a.exp == b.exp && a.sig < b.sig)) {
        struct wide t = a;

        a = b;
        b = t;
    }
    /* Bits are lost only when b is shifted by more than the zeros below an operand (two thirds of
     * the width may be significant), so a cancellation after a loss is of one bit at most. */
    b.sig = shift_right_sticky128(b.sig, (unsigned)(a.exp - b.exp));
    sum = a.sign == b.sign ? a.sig + b.sig : a.sig - b.sig;
    if (sum == 0)
        return special(SF_ZERO, rm == SF_RDN);
    return narrow(a.sign, a.exp + 1, sum);
}

/* The sums that need no addition. */
static bool add_special(struct sf_num a, struct sf_num b, enum sf_round rm, unsigned *flags,
                        struct sf_num *sum)
{
    if (a.kind == SF_NAN || b.kind == SF_NAN)
        *sum = nan_num();
    else if (a.kind == SF_INF && b.kind == SF_INF && a.sign != b.sign)
        *sum = invalid(flags);
    else if (a.kind == SF_INF || b.kind == SF_INF)
        *sum = a.kind == SF_INF ? a : b;
    else if (a.kind == SF_ZERO && b.kind == SF_ZERO)
        *sum = special(SF_ZERO, a.sign == b.sign ? a.sign : rm == SF_RDN);
    else if (a.kind == SF_ZERO || b.kind == SF_ZERO)
        *sum = a.kind == SF_ZERO ? b : a;
    else
        return false;
    return true;
}

struct sf_num sf_num_add(struct sf_num a, struct sf_num b, enum sf_round rm, unsigned *flags)
{
    struct sf_num sum;

    return add_special(a, b, rm, flags, &sum) ? sum : add_wide(widen(a), widen(b), rm);
}

/* Products have their leading one at bit 127 or 126. */
struct sf_num sf_num_mul(struct sf_num a, struct sf_num b, unsigned *flags)
{
    bool sign = a.sign != b.sign;

    if (a.kind == SF_NAN || b.kind == SF_NAN)
        return nan_num();
    if (a.kind == SF_INF || b.kind == SF_INF) {
        if (a.kind == SF_ZERO || b.kind == SF_ZERO)
            return invalid(flags);
        return special(SF_INF, sign);
    }
    if (a.kind == SF_ZERO || b.kind == SF_ZERO)
        return special(SF_ZERO, sign);
    return narrow(sign, a.exp + b.exp + 1, (u128)a.sig * b.sig);
}

struct sf_num sf_num_fma(struct sf_num a, struct sf_num b, struct sf_num c, enum sf_round rm,
                         unsigned *flags)
{
    struct sf_num product = sf_num_mul(a, b, flags), sum;
    struct wide exact;

    if (add_special(product, c, rm, flags, &sum))
        return sum;
    /* Significands have 11 zeros at the bottom, so bit 0 of the product is one of 22 zeros. */
    exact.sig = (u128)a.sig * b.sig;
    exact.exp = a.exp + b.exp;
    exact.sign = product.sign;
    if (exact.sig >> 127) {
        exact.sig >>= 1;
        exact.exp++;
    }
    return add_wide(exact, widen(c), rm);
}

struct sf_num sf_num_div(struct sf_num a, struct sf_num b, unsigned *flags)
{
    bool sign = a.sign != b.sign, less = a.sig < b.sig;
    u128 dividend;
    uint64_t quotient;

    if (a.kind == SF_NAN || b.kind == SF_NAN)
        return nan_num();
    if (a.kind == b.kind && a.kind != SF_FINITE)
        return invalid(flags); /* 0/0, inf/inf */
    if (a.kind == SF_INF || b.kind == SF_ZERO) {
        if (a.kind == SF_FINITE)
            *flags |= SF_DZ;
        return special(SF_INF, sign);
    }
    if (a.kind == SF_ZERO || b.kind == SF_INF)
        return special(SF_ZERO, sign);
    dividend = (u128)a.sig << (less ? 64 : 63);
    quotient = (uint64_t)(dividend / b.sig);
    return (struct sf_num){.kind = SF_FINITE,
                           .sign = sign,
                           .exp = a.exp - b.exp - less,
                           .sig = quotient | ((u128)quotient * b.sig != dividend)};
}

/* Floor of the root of n >= 2^126, one bit a step; *exact says whether that was all. */
static uint64_t root128(u128 n, bool *exact)
{
    u128 root = 0;

    for (u128 bit = (u128)1 << 126; bit; bit >>= 2) {
        bool fits = n >= root + bit;

        n -= fits ? root + bit : 0;
        root = root >> 1 | (fits ? bit : 0);
    }
    *exact = n == 0;
    return (uint64_t)root;
}

struct sf_num sf_num_sqrt(struct sf_num a, unsigned *flags)
{
    bool exact, odd = a.exp & 1;

    if (a.kind == SF_NAN)
        return nan_num();
    if (a.kind == SF_ZERO)
        return a;
    if (a.sign)
        return invalid(flags);
    if (a.kind == SF_INF)
        return a;
    a.sig = root128((u128)a.sig << (odd ? 64 : 63), &exact);
    a.sig |= !exact;
    a.exp = (a.exp - odd) / 2;
    return a;
}
