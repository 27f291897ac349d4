/* Softfloat against the host's FPU (results and flags, four rounding modes, millions of operands)
 * and against what the specification says where the two differ. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "softfloat.h"

#define ROUNDS 100000 /* per operation and mode */
#define COUNT(_array) (sizeof(_array) / sizeof((_array)[0]))

#define INF32 0x7f800000u
#define SNAN32 0x7f800001u
#define NZERO32 0x80000000u
#define INF64 0x7ff0000000000000ull
#define SNAN64 0x7ff0000000000001ull
#define NZERO64 0x8000000000000000ull

/* --- operands --- */

static uint64_t next_random(uint64_t *state)
{
    *state ^= *state << 13;
    *state ^= *state >> 7;
    *state ^= *state << 17;
    return *state * 0x2545f4914f6cdd1dull;
}

static const uint32_t special32[] = {
    0,          1,          2,          0x007fffff, 0x00800000, 0x00800001, 0x00ffffff, 0x3f000000,
    0x3f7fffff, 0x3f800000, 0x3f800001, 0x3fc00000, 0x40000000, 0x4b000000, 0x4b000001, 0x4effffff,
    0x4f000000, 0x4f800000, 0x5effffff, 0x5f000000, 0x5f800000, 0x7f000000, 0x7f7fffff, INF32,
    SNAN32,     0x7fbfffff, SF_NAN32,   0x7fffffff, 0x1f800000, 0x5f7fffff, 0x00400000, 0x33800000,
};

static const uint64_t special64[] = {
    0,
    1,
    0x000fffffffffffff,
    0x0010000000000000,
    0x0010000000000001,
    0x3690000000000000, /* half of the smallest binary32 */
    0x380fffffffffffff, /* rounds up into the normal binary32 numbers */
    0x380ffffff0000000,
    0x3fe0000000000000,
    0x3fefffffffffffff,
    0x3ff0000000000000,
    0x3ff0000000000001,
    0x3ff8000000000000,
    0x4000000000000000,
    0x41dfffffffc00000, /* INT32_MAX */
    0x41dfffffffe00000, /* and a half more */
    0x41e0000000000000,
    0x41effffffff00000,
    0x4330000000000000,
    0x43dfffffffffffff,
    0x43e0000000000000,
    0x43f0000000000000,
    0x47efffffe0000000, /* the largest binary32 */
    0x47effffff0000000,
    0x1ff0000000000000,
    0x7fe0000000000000,
    0x7fefffffffffffff,
    INF64,
    SNAN64,
    0x7ff7ffffffffffff,
    SF_NAN64,
    0x7fffffffffffffff,
};

/* A third special, a third anything, a third with exponents close to one (so that sums cancel and
 * conversions hit integers), few significant bits half of the time (so that ties happen). */
static uint64_t operand(uint64_t *state, bool wide)
{
    uint64_t r = next_random(state), pick = next_random(state);
    uint64_t sign = pick >> 63 << (wide ? 63 : 31);
    uint64_t trim = pick >> 62 & 1 ? ~0ull << (wide ? pick >> 32 & 63 : pick >> 32 & 31) : ~0ull;

    if (!wide)
        r >>= 32;
    switch (pick % 3) {
    case 0:
        return wide ? special64[pick >> 8 & 31] | sign : special32[pick >> 8 & 31] | sign;
    case 1:
        return r & trim;
    default:
        r &= trim;
        return wide ? (r & 0x803fffffffffffff) + 0x3e00000000000000 : (r & 0x8fffffff) + 0x38000000;
    }
}

/* --- the host --- */

/* MXCSR: everything masked, no flags; rounding control by RISC-V mode. */
static const unsigned host_mode[4] = {
    [SF_RNE] = 0x1f80, [SF_RTZ] = 0x7f80, [SF_RDN] = 0x3f80, [SF_RUP] = 0x5f80};

static unsigned host_flags(unsigned mxcsr)
{
    return (mxcsr >> 5 & 1) * SF_NX | (mxcsr >> 4 & 1) * SF_UF | (mxcsr >> 3 & 1) * SF_OF |
           (mxcsr >> 2 & 1) * SF_DZ | (mxcsr & 1) * SF_NV;
}

/* One block, so that nothing of the compiler's comes between the mode, the operation and the flags.
 * Operands a, b, c; result in an SSE (X) or a general register (R). */
#define HOST(_name, _insn, _result)                                                                \
    static uint64_t host_##_name(const uint64_t v[3], unsigned *mxcsr)                             \
    {                                                                                              \
        double a, b, c;                                                                            \
        uint64_t r = 0, out;                                                                       \
                                                                                                   \
        memcpy(&a, &v[0], sizeof a);                                                               \
        memcpy(&b, &v[1], sizeof b);                                                               \
        memcpy(&c, &v[2], sizeof c);                                                               \
        __asm__ volatile("ldmxcsr %[csr]\n\t" _insn "\n\tstmxcsr %[csr]"                           \
                         : [a] "+x"(a), [csr] "+m"(*mxcsr), [r] "+r"(r)                            \
                         : [b] "x"(b), [c] "x"(c), [i] "r"(v[0]));                                 \
        memcpy(&out, &_result, sizeof out);                                                        \
        return out;                                                                                \
    }
#define HOST_X(_name, _insn) HOST(_name, _insn, a)
#define HOST_R(_name, _insn) HOST(_name, _insn, r)

HOST_X(add32, "addss %[b], %[a]")
HOST_X(sub32, "subss %[b], %[a]")
HOST_X(mul32, "mulss %[b], %[a]")
HOST_X(div32, "divss %[b], %[a]")
HOST_X(sqrt32, "sqrtss %[a], %[a]")
HOST_X(fma32, "vfmadd213ss %[c], %[b], %[a]")
HOST_X(add64, "addsd %[b], %[a]")
HOST_X(sub64, "subsd %[b], %[a]")
HOST_X(mul64, "mulsd %[b], %[a]")
HOST_X(div64, "divsd %[b], %[a]")
HOST_X(sqrt64, "sqrtsd %[a], %[a]")
HOST_X(fma64, "vfmadd213sd %[c], %[b], %[a]")
HOST_X(f32_f64, "cvtss2sd %[a], %[a]")
HOST_X(f64_f32, "cvtsd2ss %[a], %[a]")
HOST_X(i32_f32, "cvtsi2ssl %k[i], %[a]")
HOST_X(i64_f32, "cvtsi2ssq %[i], %[a]")
HOST_X(i32_f64, "cvtsi2sdl %k[i], %[a]")
HOST_X(i64_f64, "cvtsi2sdq %[i], %[a]")
HOST_R(f32_i32, "cvtss2sil %[a], %k[r]")
HOST_R(f32_i64, "cvtss2siq %[a], %[r]")
HOST_R(f64_i32, "cvtsd2sil %[a], %k[r]")
HOST_R(f64_i64, "cvtsd2siq %[a], %[r]")

/* --- softfloat, in the same form --- */

#define SOFT(_name, _call)                                                                         \
    static uint64_t soft_##_name(const uint64_t v[3], enum sf_round rm, unsigned *flags)           \
    {                                                                                              \
        (void)rm;                                                                                  \
        return _call;                                                                              \
    }
#define S(_n) ((uint32_t)v[_n])

SOFT(add32, sf32_add(S(0), S(1), rm, flags))
SOFT(sub32, sf32_sub(S(0), S(1), rm, flags))
SOFT(mul32, sf32_mul(S(0), S(1), rm, flags))
SOFT(div32, sf32_div(S(0), S(1), rm, flags))
SOFT(sqrt32, sf32_sqrt(S(0), rm, flags))
SOFT(fma32, sf32_fma(S(0), S(1), S(2), rm, flags))
SOFT(add64, sf64_add(v[0], v[1], rm, flags))
SOFT(sub64, sf64_sub(v[0], v[1], rm, flags))
SOFT(mul64, sf64_mul(v[0], v[1], rm, flags))
SOFT(div64, sf64_div(v[0], v[1], rm, flags))
SOFT(sqrt64, sf64_sqrt(v[0], rm, flags))
SOFT(fma64, sf64_fma(v[0], v[1], v[2], rm, flags))
SOFT(f32_f64, sf32_to_f64(S(0), flags))
SOFT(f64_f32, sf64_to_f32(v[0], rm, flags))
SOFT(i32_f32, sf32_from_i32((int32_t)v[0], rm, flags))
SOFT(i64_f32, sf32_from_i64((int64_t)v[0], rm, flags))
SOFT(i32_f64, sf64_from_i32((int32_t)v[0], rm, flags))
SOFT(i64_f64, sf64_from_i64((int64_t)v[0], rm, flags))
SOFT(f32_i32, (uint32_t)sf32_to_i32(S(0), rm, flags))
SOFT(f32_i64, (uint64_t)sf32_to_i64(S(0), rm, flags))
SOFT(f64_i32, (uint32_t)sf64_to_i32(v[0], rm, flags))
SOFT(f64_i64, (uint64_t)sf64_to_i64(v[0], rm, flags))

/* What the host answers, made RISC-V: canonical NaN, NV for inf * 0 + quiet NaN; not comparable
 * (false) where it has no answer: an integer out of range. */
struct fp_op {
    const char *name;
    uint64_t (*host)(const uint64_t v[3], unsigned *mxcsr);
    uint64_t (*soft)(const uint64_t v[3], enum sf_round rm, unsigned *flags);
    bool wide_in, fma;
    char out; /* s, d: width of the result; i: an integer */
};

#define OP(_name, ...)                                                                             \
    {                                                                                              \
#_name, host_##_name, soft_##_name, __VA_ARGS__                                            \
    }
static const struct fp_op fp_ops[] = {
    OP(add32, false, false, 's'),   OP(sub32, false, false, 's'),   OP(mul32, false, false, 's'),
    OP(div32, false, false, 's'),   OP(sqrt32, false, false, 's'),  OP(fma32, false, true, 's'),
    OP(add64, true, false, 'd'),    OP(sub64, true, false, 'd'),    OP(mul64, true, false, 'd'),
    OP(div64, true, false, 'd'),    OP(sqrt64, true, false, 'd'),   OP(fma64, true, true, 'd'),
    OP(f32_f64, false, false, 'd'), OP(f64_f32, true, false, 's'),  OP(i32_f32, true, false, 's'),
    OP(i64_f32, true, false, 's'),  OP(i32_f64, true, false, 'd'),  OP(i64_f64, true, false, 'd'),
    OP(f32_i32, false, false, 'i'), OP(f32_i64, false, false, 'i'), OP(f64_i32, true, false, 'i'),
    OP(f64_i64, true, false, 'i'),
};

static bool is_nan(uint64_t v, bool wide)
{
    return wide ? (v & ~NZERO64) > INF64 : ((uint32_t)v & ~NZERO32) > INF32;
}

static bool inf_times_zero(const uint64_t v[3], bool wide)
{
    uint64_t mask = wide ? ~NZERO64 : 0x7fffffff, inf = wide ? INF64 : INF32;
    uint64_t a = v[0] & mask, b = v[1] & mask;

    return (a == inf && b == 0) || (a == 0 && b == inf);
}

static bool host_answer(const struct fp_op *op, const uint64_t v[3], enum sf_round rm,
                        uint64_t *result, unsigned *flags)
{
    unsigned mxcsr = host_mode[rm];

    *result = op->host(v, &mxcsr);
    *flags = host_flags(mxcsr);
    if (op->out == 'i')
        return !(*flags & SF_NV);
    if (op->out == 's')
        *result = (uint32_t)*result;
    if (is_nan(*result, op->out == 'd'))
        *result = op->out == 'd' ? SF_NAN64 : SF_NAN32;
    if (op->fma && inf_times_zero(v, op->wide_in))
        *flags |= SF_NV;
    return true;
}

static void compare_with_host(const struct fp_op *op, const uint64_t v[3], enum sf_round rm)
{
    unsigned want_flags, flags = 0;
    uint64_t want, got;

    if (!host_answer(op, v, rm, &want, &want_flags))
        return;
    got = op->soft(v, rm, &flags);
    if (got != want || flags != want_flags)
        fail_msg("%s(%#lx, %#lx, %#lx) mode %d: got %#lx flags %#x, the host %#lx flags %#x",
                 op->name, v[0], v[1], v[2], rm, got, flags, want, want_flags);
}

static void test_arithmetic_equals_host(void **state)
{
    uint64_t seed = 0x9e3779b97f4a7c15;

    (void)state;
    for (size_t o = 0; o < COUNT(fp_ops); o++) {
        const struct fp_op *op = &fp_ops[o];

        if (op->fma && !__builtin_cpu_supports("fma"))
            continue;
        for (unsigned n = 0; n < ROUNDS * 4; n++) {
            uint64_t v[3];

            for (int k = 0; k < 3; k++)
                v[k] = operand(&seed, op->wide_in);
            compare_with_host(op, v, (enum sf_round)(n & 3));
        }
    }
}

static void test_specials_equal_host(void **state)
{
    (void)state;
    for (size_t o = 0; o < COUNT(fp_ops); o++) {
        const struct fp_op *op = &fp_ops[o];

        if (op->fma && !__builtin_cpu_supports("fma"))
            continue;
        for (unsigned n = 0; n < 64 * 64 * 4; n++) {
            unsigned a = n & 63, b = n >> 6 & 63, c = n * 0x9e3779b1u >> 26;
            uint64_t v[3] = {a, b, c};

            for (int k = 0; k < 3; k++)
                v[k] = op->wide_in ? special64[v[k] & 31] | v[k] >> 5 << 63
                                   : special32[v[k] & 31] | v[k] >> 5 << 31;
            compare_with_host(op, v, (enum sf_round)(n >> 12));
        }
    }
}

/* --- round to nearest, ties away: a mode the host does not have --- */

/* The product of two binary32 is exact in binary64, and so is the middle of two neighbours. */
static void test_rmm_takes_the_nearer_neighbour_ties_away(void **state)
{
    uint64_t seed = 77;
    unsigned ties = 0;

    (void)state;
    for (unsigned n = 0; n < 200000; n++) {
        uint32_t a = (uint32_t)next_random(&seed) & 0x81ffffff, b = (uint32_t)next_random(&seed);
        uint32_t low, high, want;
        unsigned flags = 0;
        float fa, fb, flow, fhigh;
        double exact, middle;

        a += 0x3f000000;
        b = (b & 0x81fff000) + 0x3f000000; /* 12 bits fewer: ties are common */
        low = sf32_mul(a, b, SF_RTZ, &flags);
        if (!flags)
            continue;
        high = low + 1;
        memcpy(&fa, &a, 4);
        memcpy(&fb, &b, 4);
        memcpy(&flow, &low, 4);
        memcpy(&fhigh, &high, 4);
        exact = __builtin_fabs((double)fa * fb);
        middle = __builtin_fabs(((double)flow + fhigh) / 2);
        want = exact >= middle ? high : low;
        ties += exact == middle;
        assert_int_equal(sf32_mul(a, b, SF_RMM, &flags), want);
        assert_int_equal(flags, SF_NX);
    }
    assert_true(ties > 10);
}

/* --- what the specification says where hosts differ: one table line a case --- */

struct case32 {
    uint32_t a, b, want;
    unsigned flags;
};

static void test_min_max(void **state)
{
    static const struct case32 min[] = {
        {0x3f800000, 0x40000000, 0x3f800000, 0},
        {0xbf800000, 0xc0000000, 0xc0000000, 0},
        {0, NZERO32, NZERO32, 0},
        {NZERO32, 0, NZERO32, 0},
        {SF_NAN32, 0x3f800000, 0x3f800000, 0},
        {0x3f800000, 0xffc00000, 0x3f800000, 0},
        {SNAN32, 0x3f800000, 0x3f800000, SF_NV},
        {0x3f800000, SNAN32, 0x3f800000, SF_NV},
        {0xffc12345, 0x7fc54321, SF_NAN32, 0},
        {SNAN32, SF_NAN32, SF_NAN32, SF_NV},
        {0xff800000, INF32, 0xff800000, 0},
        {0x80000001, 0, 0x80000001, 0},
    };

    (void)state;
    for (size_t n = 0; n < COUNT(min); n++) {
        const struct case32 *c = &min[n];
        unsigned flags = 0;
        uint32_t max = c->want == c->a ? c->b : c->a; /* ordered: the other one */

        assert_int_equal(sf32_min(c->a, c->b, &flags), c->want);
        assert_int_equal(flags, c->flags);
        if (is_nan(c->a, false) || is_nan(c->b, false))
            max = c->want;
        flags = 0;
        assert_int_equal(sf32_max(c->a, c->b, &flags), max);
        assert_int_equal(flags, c->flags);
        /* Widening keeps order and NaNs except their payload. */
        if (!is_nan(c->a, false) && !is_nan(c->b, false)) {
            uint64_t a = sf32_to_f64(c->a, &flags), b = sf32_to_f64(c->b, &flags);

            assert_true(sf64_min(a, b, &flags) == sf32_to_f64(c->want, &flags));
            assert_true(sf64_max(a, b, &flags) == sf32_to_f64(max, &flags));
        }
    }
}

static void test_min_max_double(void **state)
{
    unsigned flags = 0;

    (void)state;
    assert_true(sf64_min(0, NZERO64, &flags) == NZERO64);
    assert_true(sf64_max(NZERO64, 0, &flags) == 0);
    assert_true(sf64_max(SF_NAN64, 5, &flags) == 5);
    assert_int_equal(flags, 0);
    assert_true(sf64_min(SNAN64, 5, &flags) == 5);
    assert_int_equal(flags, SF_NV);
    assert_true(sf64_min(SNAN64, ~0ull, &flags) == SF_NAN64);
}

/* The same number, or the same kind of NaN, in binary64. */
static uint64_t widened(uint32_t a)
{
    unsigned flags = 0;
    uint64_t wide = sf32_to_f64(a, &flags);

    return flags ? SNAN64 : wide;
}

static void test_compare(void **state)
{
    static const struct {
        uint32_t a, b;
        bool eq, lt, le;
        unsigned quiet, signalling; /* flags */
    } table[] = {
        {0, NZERO32, true, false, true, 0, 0},
        {NZERO32, 0, true, false, true, 0, 0},
        {0x3f800000, 0x3f800000, true, false, true, 0, 0},
        {0xbf800000, 0x3f800000, false, true, true, 0, 0},
        {0xc0000000, 0xbf800000, false, true, true, 0, 0},
        {0xbf800000, 0xc0000000, false, false, false, 0, 0},
        {0xff800000, INF32, false, true, true, 0, 0},
        {SF_NAN32, 0, false, false, false, 0, SF_NV},
        {0, 0xffc00000, false, false, false, 0, SF_NV},
        {SNAN32, 0, false, false, false, SF_NV, SF_NV},
        {SF_NAN32, SF_NAN32, false, false, false, 0, SF_NV},
    };

    (void)state;
    for (size_t n = 0; n < COUNT(table); n++) {
        uint32_t a = table[n].a, b = table[n].b;
        unsigned eq = 0, lt = 0, le = 0;

        assert_int_equal(sf32_eq(a, b, &eq), table[n].eq);
        assert_int_equal(sf32_lt(a, b, &lt), table[n].lt);
        assert_int_equal(sf32_le(a, b, &le), table[n].le);
        assert_int_equal(eq, table[n].quiet);
        assert_int_equal(lt, table[n].signalling);
        assert_int_equal(le, table[n].signalling);
        eq = lt = le = 0;
        assert_int_equal(sf64_lt(widened(a), widened(b), &lt), table[n].lt);
        assert_int_equal(sf64_le(widened(a), widened(b), &le), table[n].le);
        assert_int_equal(sf64_eq(widened(a), widened(b), &eq), table[n].eq);
        assert_int_equal(eq, table[n].quiet);
        assert_int_equal(lt, table[n].signalling);
        assert_int_equal(le, table[n].signalling);
    }
}

static void test_class(void **state)
{
    static const uint32_t example[10] = {0xff800000, 0xbf800000, 0x80000001, NZERO32, 0,
                                         1,          0x00800000, INF32,      SNAN32,  SF_NAN32};

    (void)state;
    for (unsigned n = 0; n < 10; n++) {
        bool subnormal = n == 2 || n == 5; /* widening would make it normal */

        assert_int_equal(sf32_class(example[n]), 1u << n);
        assert_int_equal(sf64_class(subnormal ? (n == 2 ? NZERO64 : 0) + 0x000fffffffffffff
                                              : widened(example[n])),
                         1u << n);
    }
    assert_int_equal(sf32_class(0xffffffff), 1 << 9);
    assert_int_equal(sf64_class(0xfff0000000000001), 1 << 8);
}

/* Out of range: the nearest end (NaN: the upper one) and NV alone. */
static void test_integers_saturate(void **state)
{
    static const struct {
        uint64_t in;
        enum sf_round rm;
        int32_t i32;
        uint32_t u32;
        int64_t i64;
        uint64_t u64;
        unsigned fi32, fu32, fi64, fu64;
    } table[] = {
#define NV4 SF_NV, SF_NV, SF_NV, SF_NV
        {SF_NAN64, SF_RNE, INT32_MAX, UINT32_MAX, INT64_MAX, UINT64_MAX, NV4},
        {0xfff8000000000000, SF_RNE, INT32_MAX, UINT32_MAX, INT64_MAX, UINT64_MAX, NV4},
        {INF64, SF_RNE, INT32_MAX, UINT32_MAX, INT64_MAX, UINT64_MAX, NV4},
        {INF64 | NZERO64, SF_RNE, INT32_MIN, 0, INT64_MIN, 0, NV4},
        {0x43f0000000000000, SF_RTZ, INT32_MAX, UINT32_MAX, INT64_MAX, UINT64_MAX, NV4},
        {0xc3e0000000000001, SF_RTZ, INT32_MIN, 0, INT64_MIN, 0, NV4},
        {0xc3e0000000000000, SF_RTZ, INT32_MIN, 0, INT64_MIN, 0, SF_NV, SF_NV, 0, SF_NV},
        {0x43efffffffffffff, SF_RUP, INT32_MAX, UINT32_MAX, INT64_MAX, 0xfffffffffffff800, SF_NV,
         SF_NV, SF_NV, 0},
        /* -0.5, -1.0, 0.5, 2.5, -0.75 */
        {0xbfe0000000000000, SF_RNE, 0, 0, 0, 0, SF_NX, SF_NX, SF_NX, SF_NX},
        {0xbfe0000000000000, SF_RTZ, 0, 0, 0, 0, SF_NX, SF_NX, SF_NX, SF_NX},
        {0xbfe0000000000000, SF_RDN, -1, 0, -1, 0, SF_NX, SF_NV, SF_NX, SF_NV},
        {0xbfe0000000000000, SF_RMM, -1, 0, -1, 0, SF_NX, SF_NV, SF_NX, SF_NV},
        {0xbff0000000000000, SF_RNE, -1, 0, -1, 0, 0, SF_NV, 0, SF_NV},
        {0x3fe0000000000000, SF_RMM, 1, 1, 1, 1, SF_NX, SF_NX, SF_NX, SF_NX},
        {0x4004000000000000, SF_RMM, 3, 3, 3, 3, SF_NX, SF_NX, SF_NX, SF_NX},
        {0x4004000000000000, SF_RNE, 2, 2, 2, 2, SF_NX, SF_NX, SF_NX, SF_NX},
        {0xbfe8000000000000, SF_RUP, 0, 0, 0, 0, SF_NX, SF_NX, SF_NX, SF_NX},
        {1, SF_RUP, 1, 1, 1, 1, SF_NX, SF_NX, SF_NX, SF_NX},
        {NZERO64, SF_RDN, 0, 0, 0, 0, 0, 0, 0, 0},
        /* INT32_MAX + 0.5, UINT32_MAX + 0.5 */
        {0x41dfffffffe00000, SF_RTZ, INT32_MAX, INT32_MAX, INT32_MAX, INT32_MAX, SF_NX, SF_NX,
         SF_NX, SF_NX},
        {0x41dfffffffe00000, SF_RNE, INT32_MAX, 0x80000000, 0x80000000, 0x80000000, SF_NV, SF_NX,
         SF_NX, SF_NX},
        {0x41effffffff00000, SF_RDN, INT32_MAX, UINT32_MAX, UINT32_MAX, UINT32_MAX, SF_NV, SF_NX,
         SF_NX, SF_NX},
        {0x41effffffff00000, SF_RUP, INT32_MAX, UINT32_MAX, 1ll << 32, 1ll << 32, SF_NV, SF_NV,
         SF_NX, SF_NX},
#undef NV4
    };

    (void)state;
    for (size_t n = 0; n < COUNT(table); n++) {
        unsigned fi32 = 0, fu32 = 0, fi64 = 0, fu64 = 0;

        assert_int_equal(sf64_to_i32(table[n].in, table[n].rm, &fi32), table[n].i32);
        assert_int_equal(sf64_to_u32(table[n].in, table[n].rm, &fu32), table[n].u32);
        assert_true(sf64_to_i64(table[n].in, table[n].rm, &fi64) == table[n].i64);
        assert_true(sf64_to_u64(table[n].in, table[n].rm, &fu64) == table[n].u64);
        assert_int_equal(fi32, table[n].fi32);
        assert_int_equal(fu32, table[n].fu32);
        assert_int_equal(fi64, table[n].fi64);
        assert_int_equal(fu64, table[n].fu64);
    }
}

static void test_single_integers_saturate(void **state)
{
    unsigned flags = 0;

    (void)state;
    assert_int_equal(sf32_to_i32(0x4f000000, SF_RNE, &flags), INT32_MAX);
    assert_int_equal(sf32_to_u32(0xbf800000, SF_RNE, &flags), 0);
    assert_true(sf32_to_i64(SF_NAN32, SF_RNE, &flags) == INT64_MAX);
    assert_true(sf32_to_u64(0x5f800000, SF_RNE, &flags) == UINT64_MAX);
    assert_int_equal(flags, SF_NV);
    flags = 0;
    assert_int_equal(sf32_to_i32(0xcf000000, SF_RNE, &flags), INT32_MIN);
    assert_int_equal(sf32_to_u32(0x4f7fffff, SF_RNE, &flags), 0xffffff00);
    assert_true(sf32_to_u64(0x5f7fffff, SF_RNE, &flags) == 0xffffff0000000000);
    assert_int_equal(flags, 0);
    assert_int_equal(sf32_to_i32(0x3fc00000, SF_RDN, &flags), 1);
    assert_int_equal(flags, SF_NX);
}

/* The unsigned ones have no host instruction everywhere. */
static void test_unsigned_to_float(void **state)
{
    unsigned flags = 0;

    (void)state;
    assert_true(sf64_from_u32(UINT32_MAX, SF_RNE, &flags) == 0x41efffffffe00000);
    assert_int_equal(sf32_from_u32(0x80000000, SF_RNE, &flags), 0x4f000000);
    assert_true(sf64_from_u64(1ull << 63, SF_RNE, &flags) == 0x43e0000000000000);
    assert_int_equal(sf32_from_u64(0, SF_RDN, &flags), 0);
    assert_int_equal(flags, 0);
    assert_true(sf64_from_u64(UINT64_MAX, SF_RNE, &flags) == 0x43f0000000000000);
    assert_true(sf64_from_u64(UINT64_MAX, SF_RTZ, &flags) == 0x43efffffffffffff);
    assert_int_equal(sf32_from_u64(UINT64_MAX, SF_RDN, &flags), 0x5f7fffff);
    assert_int_equal(sf32_from_u32(0x01000001, SF_RMM, &flags), 0x4b800001);
    assert_int_equal(sf32_from_u32(0x01000001, SF_RNE, &flags), 0x4b800000);
    assert_int_equal(flags, SF_NX);
}

static void test_rmm_directed(void **state)
{
    unsigned flags = 0;

    (void)state;
    /* 1 + half a unit; overflow goes to infinity; below half a unit does not move. */
    assert_int_equal(sf32_add(0x3f800000, 0x33800000, SF_RMM, &flags), 0x3f800001);
    assert_int_equal(sf32_add(0xbf800000, 0xb3800000, SF_RMM, &flags), 0xbf800001);
    assert_int_equal(sf32_add(0x3f800000, 0x337fffff, SF_RMM, &flags), 0x3f800000);
    assert_int_equal(flags, SF_NX);
    assert_int_equal(sf32_add(0x7f7fffff, 0x73000000, SF_RMM, &flags), INF32);
    assert_int_equal(flags, SF_NX | SF_OF);
    flags = 0;
    assert_int_equal(sf32_mul(1, 0x3f000000, SF_RMM, &flags), 1);
    assert_int_equal(sf32_mul(1, 0x3f000000, SF_RNE, &flags), 0);
    assert_int_equal(flags, SF_NX | SF_UF);
}

/* A result that rounds up to the smallest normal number is tiny only if it still would be with an
 * unbounded exponent. */
static void test_tininess_is_judged_after_rounding(void **state)
{
    unsigned flags = 0;

    (void)state;
    /* (2^-126)(1 - 2^-24) fits 24 bits: tiny, and rounds to 2^-126 */
    assert_int_equal(sf32_mul(0x00800000, 0x3f7fffff, SF_RNE, &flags), 0x00800000);
    assert_int_equal(flags, SF_NX | SF_UF);
    flags = 0;
    /* 2^-126 - 2^-151 is not tiny rounded to 24 bits */
    assert_int_equal(sf64_to_f32(0x380ffffff8000000, SF_RNE, &flags), 0x00800000);
    assert_int_equal(flags, SF_NX);
    flags = 0;
    assert_int_equal(sf64_to_f32(0x380ffffff8000000, SF_RTZ, &flags), 0x007fffff);
    assert_int_equal(flags, SF_NX | SF_UF);
}

static void test_invalid_product_with_quiet_nan(void **state)
{
    unsigned flags = 0;

    (void)state;
    assert_int_equal(sf32_fma(INF32, 0, SF_NAN32, SF_RNE, &flags), SF_NAN32);
    assert_int_equal(flags, SF_NV);
    flags = 0;
    assert_true(sf64_fma(NZERO64, INF64, ~0ull, SF_RNE, &flags) == SF_NAN64);
    assert_int_equal(flags, SF_NV);
    flags = 0;
    assert_true(sf64_fma(INF64, INF64, ~0ull, SF_RNE, &flags) == SF_NAN64);
    assert_int_equal(flags, 0);
}

static void test_boxing(void **state)
{
    (void)state;
    assert_int_equal(sf_unbox(sf_box(0x12345678)), 0x12345678);
    assert_int_equal(sf_unbox(0xfffffffe12345678), SF_NAN32);
    assert_int_equal(sf_unbox(0x3f800000), SF_NAN32);
}

int main(void)
{
    static const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_arithmetic_equals_host),
        cmocka_unit_test(test_specials_equal_host),
        cmocka_unit_test(test_rmm_takes_the_nearer_neighbour_ties_away),
        cmocka_unit_test(test_min_max),
        cmocka_unit_test(test_min_max_double),
        cmocka_unit_test(test_compare),
        cmocka_unit_test(test_class),
        cmocka_unit_test(test_integers_saturate),
        cmocka_unit_test(test_single_integers_saturate),
        cmocka_unit_test(test_unsigned_to_float),
        cmocka_unit_test(test_rmm_directed),
        cmocka_unit_test(test_tininess_is_judged_after_rounding),
        cmocka_unit_test(test_invalid_product_with_quiet_nan),
        cmocka_unit_test(test_boxing),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
