/* Every F and D op on operands with known results; and what all of them share: FS Off and bad
 * rounding modes are illegal, f writes and flags make FS dirty, nothing else changes. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "exec.h"
#include "mem.h"
#include "softfloat.h"

#define COUNT(_array) (sizeof(_array) / sizeof((_array)[0]))

/* --- memory: 32 bytes at MEM_VA behind a TLB that never hits, page faults elsewhere --- */

#define MEM_VA 0x4000
static uint8_t memory[32];

static bool fault(struct rv_hart *h, enum rv_cause cause, gva_t va)
{
    (void)rv_trap(h, cause, va);
    return false;
}

bool rv_load_slow(struct rv_hart *h, gva_t va, unsigned size, uint64_t *value)
{
    if (va < MEM_VA || va + size > MEM_VA + sizeof memory)
        return fault(h, RV_EXC_LOAD_PAGE, va);
    *value = 0;
    memcpy(value, memory + (va - MEM_VA), size);
    return true;
}

bool rv_store_slow(struct rv_hart *h, gva_t va, unsigned size, uint64_t value)
{
    if (va < MEM_VA || va + size > MEM_VA + sizeof memory)
        return fault(h, RV_EXC_STORE_PAGE, va);
    memcpy(memory + (va - MEM_VA), &value, size);
    return true;
}

/* --- the hart under test --- */

/* rs1, rs2, rs3 are f1/x1, f2, f3; rd is f4 or x4, which hold a canary before. */
#define CANARY 0xabadcafe12345678ull
#define RAW 0xdeadbeef

static struct rv_hart *fresh_hart(void)
{
    static struct rv_hart hart;
    static struct rv_tlb tlb;

    memset(&hart, 0, sizeof hart);
    for (unsigned n = 0; n < RV_TLB_SETS; n++)
        tlb.set[n]->tag_r = tlb.set[n]->tag_w = RV_TLB_INVALID;
    hart.tlb = &tlb;
    hart.fp_on = 1;
    for (unsigned n = 0; n < 32; n++)
        hart.x[n] = hart.f[n] = n ? CANARY : 0;
    return &hart;
}

static const struct rv_insn template = {
    .len = 4, .rd = 4, .rs1 = 1, .rs2 = 2, .rs3 = 3, .raw = RAW};

enum { NO_RM = 0xff };

struct fp_case {
    const char *name;
    rv_exec_fn exec;
    char to;    /* 'f', 'x': where the result goes */
    uint8_t rm; /* NO_RM: the op has none */
    uint64_t a, b, c, want;
    unsigned flags;
};

#define C(_op, _to, _rm, _a, _b, _c, _want, _flags)                                                \
    {                                                                                              \
#_op, exec_##_op, _to, _rm, _a, _b, _c, _want, _flags                                      \
    }

/* singles in their box; the common ones by name */
#define B(_bits) (0xffffffff00000000ull | (_bits))
#define S_1 B(0x3f800000)
#define S_N1 B(0xbf800000)
#define S_2 B(0x40000000)
#define S_3 B(0x40400000)
#define S_1_5 B(0x3fc00000)
#define S_INF B(0x7f800000)
#define S_QNAN B(0x7fc00000)
#define S_SNAN B(0x7f800001)
#define UNBOXED 0x3f800000ull /* 1.0 without its box: reads as a NaN */
#define D_1 0x3ff0000000000000ull
#define D_N1 0xbff0000000000000ull
#define D_2 0x4000000000000000ull
#define D_3 0x4008000000000000ull
#define D_1_5 0x3ff8000000000000ull
#define D_INF 0x7ff0000000000000ull
#define D_QNAN 0x7ff8000000000000ull
#define D_SNAN 0x7ff0000000000001ull
#define D_TINY 1ull /* the smallest subnormal */
#define D_MAX 0x7fefffffffffffffull
#define MINUS(_v) ((uint64_t) - (int64_t)(_v))

static const struct fp_case cases[] = {
    C(fadd_s, 'f', SF_RNE, S_1, S_2, 0, S_3, 0),
    C(fadd_s, 'f', SF_RUP, S_1, B(0x30800000), 0, B(0x3f800001), SF_NX),
    C(fadd_s, 'f', SF_RMM, S_1, B(0x33800000), 0, B(0x3f800001), SF_NX),
    C(fadd_s, 'f', SF_RNE, UNBOXED, S_1, 0, S_QNAN, 0),
    C(fadd_s, 'f', SF_RNE, 0xfffffffe3f800000, S_1, 0, S_QNAN, 0),
    C(fadd_s, 'f', SF_RNE, S_SNAN, S_1, 0, S_QNAN, SF_NV),
    C(fadd_s, 'f', SF_RNE, S_INF, B(0xff800000), 0, S_QNAN, SF_NV),
    C(fadd_s, 'f', SF_RDN, S_1, S_N1, 0, B(0x80000000), 0),
    C(fadd_d, 'f', SF_RNE, D_1, D_2, 0, D_3, 0),
    C(fadd_d, 'f', SF_RUP, D_1, D_TINY, 0, D_1 + 1, SF_NX),
    C(fadd_d, 'f', SF_RNE, D_MAX, D_MAX, 0, D_INF, SF_OF | SF_NX),
    C(fadd_d, 'f', SF_RTZ, D_MAX, D_MAX, 0, D_MAX, SF_OF | SF_NX),
    C(fadd_d, 'f', SF_RNE, 0xfff8000000001234, D_1, 0, D_QNAN, 0),
    C(fsub_s, 'f', SF_RNE, S_3, S_2, 0, S_1, 0),
    C(fsub_s, 'f', SF_RNE, S_2, S_3, 0, S_N1, 0),
    C(fsub_s, 'f', SF_RNE, S_INF, S_INF, 0, S_QNAN, SF_NV),
    C(fsub_d, 'f', SF_RNE, D_3, D_2, 0, D_1, 0),
    C(fsub_d, 'f', SF_RDN, D_1, D_TINY, 0, D_1 - 1, SF_NX),
    C(fmul_s, 'f', SF_RNE, S_1_5, S_2, 0, S_3, 0),
    C(fmul_s, 'f', SF_RNE, S_INF, B(0), 0, S_QNAN, SF_NV),
    C(fmul_s, 'f', SF_RNE, B(0x00800000), B(0x3f7fffff), 0, B(0x00800000), SF_UF | SF_NX),
    C(fmul_d, 'f', SF_RNE, D_1_5, D_2, 0, D_3, 0),
    C(fmul_d, 'f', SF_RUP, D_TINY, D_TINY, 0, D_TINY, SF_UF | SF_NX),
    C(fdiv_s, 'f', SF_RNE, S_3, S_2, 0, S_1_5, 0),
    C(fdiv_s, 'f', SF_RNE, S_1, S_3, 0, B(0x3eaaaaab), SF_NX),
    C(fdiv_s, 'f', SF_RNE, S_N1, B(0), 0, B(0xff800000), SF_DZ),
    C(fdiv_s, 'f', SF_RNE, B(0), B(0), 0, S_QNAN, SF_NV),
    C(fdiv_d, 'f', SF_RNE, D_3, D_2, 0, D_1_5, 0),
    C(fdiv_d, 'f', SF_RTZ, D_1, D_3, 0, 0x3fd5555555555555, SF_NX),
    C(fdiv_d, 'f', SF_RUP, D_1, D_3, 0, 0x3fd5555555555556, SF_NX),
    C(fsqrt_s, 'f', SF_RNE, B(0x40800000), 0, 0, S_2, 0),
    C(fsqrt_s, 'f', SF_RNE, S_2, 0, 0, B(0x3fb504f3), SF_NX),
    C(fsqrt_s, 'f', SF_RNE, S_N1, 0, 0, S_QNAN, SF_NV),
    C(fsqrt_s, 'f', SF_RNE, B(0x80000000), 0, 0, B(0x80000000), 0),
    C(fsqrt_d, 'f', SF_RNE, 0x4010000000000000, 0, 0, D_2, 0),
    C(fsqrt_d, 'f', SF_RUP, D_2, 0, 0, 0x3ff6a09e667f3bcd, SF_NX),
    C(fsqrt_d, 'f', SF_RDN, D_2, 0, 0, 0x3ff6a09e667f3bcc, SF_NX),

    C(fmadd_s, 'f', SF_RNE, S_2, S_3, S_1, B(0x40e00000), 0),
    C(fmsub_s, 'f', SF_RNE, S_2, S_3, S_1, B(0x40a00000), 0),
    C(fnmsub_s, 'f', SF_RNE, S_2, S_3, S_1, B(0xc0a00000), 0),
    C(fnmadd_s, 'f', SF_RNE, S_2, S_3, S_1, B(0xc0e00000), 0),
    C(fmadd_d, 'f', SF_RNE, D_2, D_3, D_1, 0x401c000000000000, 0),
    C(fmsub_d, 'f', SF_RNE, D_2, D_3, D_1, 0x4014000000000000, 0),
    C(fnmsub_d, 'f', SF_RNE, D_2, D_3, D_1, 0xc014000000000000, 0),
    C(fnmadd_d, 'f', SF_RNE, D_2, D_3, D_1, 0xc01c000000000000, 0),
    /* one rounding: (1 + 2^-52)^2 - (1 + 2^-51) = 2^-104 */
    C(fmsub_d, 'f', SF_RNE, D_1 + 1, D_1 + 1, D_1 + 2, 0x3970000000000000, 0),
    C(fmadd_s, 'f', SF_RNE, S_INF, B(0), S_QNAN, S_QNAN, SF_NV),
    C(fnmadd_s, 'f', SF_RDN, S_1, S_N1, S_1, B(0x80000000), 0),
    C(fnmadd_d, 'f', SF_RNE, D_1, D_N1, D_1, 0, 0),

    C(fsgnj_s, 'f', NO_RM, S_1, S_N1, 0, S_N1, 0),
    C(fsgnj_s, 'f', NO_RM, UNBOXED, S_N1, 0, B(0xffc00000), 0),
    C(fsgnj_s, 'f', NO_RM, B(0xff800001), S_1, 0, S_SNAN, 0),
    C(fsgnjn_s, 'f', NO_RM, S_1, S_1, 0, S_N1, 0),
    C(fsgnjx_s, 'f', NO_RM, S_N1, S_N1, 0, S_1, 0),
    C(fsgnj_d, 'f', NO_RM, D_1, D_N1, 0, D_N1, 0),
    C(fsgnjn_d, 'f', NO_RM, D_1, D_1, 0, D_N1, 0),
    C(fsgnjn_d, 'f', NO_RM, D_SNAN, D_N1, 0, D_SNAN, 0),
    C(fsgnjx_d, 'f', NO_RM, D_N1, D_N1, 0, D_1, 0),
    C(fsgnjx_d, 'f', NO_RM, D_1, D_N1, 0, D_N1, 0),

    C(fmin_s, 'f', NO_RM, S_1, S_N1, 0, S_N1, 0),
    C(fmin_s, 'f', NO_RM, B(0), B(0x80000000), 0, B(0x80000000), 0),
    C(fmin_s, 'f', NO_RM, UNBOXED, S_2, 0, S_2, 0),
    C(fmax_s, 'f', NO_RM, S_1, S_N1, 0, S_1, 0),
    C(fmax_s, 'f', NO_RM, S_SNAN, S_2, 0, S_2, SF_NV),
    C(fmin_d, 'f', NO_RM, D_1, D_2, 0, D_1, 0),
    C(fmax_d, 'f', NO_RM, D_1, D_2, 0, D_2, 0),
    C(fmax_d, 'f', NO_RM, 0xfff8000000000001, 0xfff8000000000002, 0, D_QNAN, 0),

    C(feq_s, 'x', NO_RM, S_1, S_1, 0, 1, 0),
    C(feq_s, 'x', NO_RM, S_QNAN, S_QNAN, 0, 0, 0),
    C(feq_s, 'x', NO_RM, UNBOXED, S_1, 0, 0, 0),
    C(flt_s, 'x', NO_RM, S_N1, S_1, 0, 1, 0),
    C(flt_s, 'x', NO_RM, UNBOXED, S_1, 0, 0, SF_NV),
    C(fle_s, 'x', NO_RM, S_1, S_1, 0, 1, 0),
    C(fle_s, 'x', NO_RM, S_1, S_N1, 0, 0, 0),
    C(feq_d, 'x', NO_RM, 0, 1ull << 63, 0, 1, 0),
    C(feq_d, 'x', NO_RM, D_SNAN, D_1, 0, 0, SF_NV),
    C(flt_d, 'x', NO_RM, D_1, D_1, 0, 0, 0),
    C(flt_d, 'x', NO_RM, D_1, D_2, 0, 1, 0),
    C(fle_d, 'x', NO_RM, D_2, D_2, 0, 1, 0),
    C(fle_d, 'x', NO_RM, D_2, D_QNAN, 0, 0, SF_NV),

    C(fclass_s, 'x', NO_RM, S_N1, 0, 0, 1 << 1, 0),
    C(fclass_s, 'x', NO_RM, UNBOXED, 0, 0, 1 << 9, 0),
    C(fclass_s, 'x', NO_RM, S_SNAN, 0, 0, 1 << 8, 0),
    C(fclass_d, 'x', NO_RM, D_TINY, 0, 0, 1 << 5, 0),
    C(fclass_d, 'x', NO_RM, D_INF, 0, 0, 1 << 7, 0),

    C(fmv_x_w, 'x', NO_RM, 0x1234567880000001, 0, 0, 0xffffffff80000001, 0),
    C(fmv_w_x, 'f', NO_RM, 0x1234567880000001, 0, 0, B(0x80000001), 0),
    C(fmv_x_d, 'x', NO_RM, 0x1234567880000001, 0, 0, 0x1234567880000001, 0),
    C(fmv_d_x, 'f', NO_RM, 0x1234567880000001, 0, 0, 0x1234567880000001, 0),

    C(fcvt_w_s, 'x', SF_RTZ, B(0xbfc00000), 0, 0, MINUS(1), SF_NX),
    C(fcvt_w_s, 'x', SF_RDN, B(0xbfc00000), 0, 0, MINUS(2), SF_NX),
    C(fcvt_w_s, 'x', SF_RNE, UNBOXED, 0, 0, 0x7fffffff, SF_NV),
    C(fcvt_wu_s, 'x', SF_RTZ, B(0x4f000000), 0, 0, 0xffffffff80000000, 0),
    C(fcvt_wu_s, 'x', SF_RTZ, S_N1, 0, 0, 0, SF_NV),
    C(fcvt_wu_s, 'x', SF_RTZ, S_QNAN, 0, 0, ~0ull, SF_NV),
    C(fcvt_l_s, 'x', SF_RNE, B(0xdf000000), 0, 0, 1ull << 63, 0),
    C(fcvt_l_s, 'x', SF_RNE, B(0x5f000000), 0, 0, INT64_MAX, SF_NV),
    C(fcvt_lu_s, 'x', SF_RNE, B(0x5f000000), 0, 0, 1ull << 63, 0),
    C(fcvt_lu_s, 'x', SF_RMM, B(0x3f000000), 0, 0, 1, SF_NX),
    C(fcvt_w_d, 'x', SF_RNE, 0x4004000000000000, 0, 0, 2, SF_NX),
    C(fcvt_w_d, 'x', SF_RNE, 0xc1e0000000000000, 0, 0, 0xffffffff80000000, 0),
    C(fcvt_w_d, 'x', SF_RNE, 0xc1e0000000200000, 0, 0, 0xffffffff80000000, SF_NV),
    C(fcvt_wu_d, 'x', SF_RNE, 0x41efffffffe00000, 0, 0, ~0ull, 0),
    C(fcvt_wu_d, 'x', SF_RNE, 0x41f0000000000000, 0, 0, ~0ull, SF_NV),
    C(fcvt_l_d, 'x', SF_RNE, D_N1, 0, 0, MINUS(1), 0),
    C(fcvt_l_d, 'x', SF_RNE, D_SNAN, 0, 0, INT64_MAX, SF_NV),
    C(fcvt_lu_d, 'x', SF_RNE, 0x43e0000000000001, 0, 0, 0x8000000000000800, 0),
    C(fcvt_lu_d, 'x', SF_RDN, 0xbfe0000000000000, 0, 0, 0, SF_NV),

    C(fcvt_s_w, 'f', SF_RNE, 0x00000000ffffffff, 0, 0, S_N1, 0),
    C(fcvt_s_w, 'f', SF_RNE, 0x1000001, 0, 0, B(0x4b800000), SF_NX),
    C(fcvt_s_wu, 'f', SF_RNE, MINUS(1), 0, 0, B(0x4f800000), SF_NX),
    C(fcvt_s_wu, 'f', SF_RTZ, MINUS(1), 0, 0, B(0x4f7fffff), SF_NX),
    C(fcvt_s_l, 'f', SF_RNE, MINUS(1), 0, 0, S_N1, 0),
    C(fcvt_s_l, 'f', SF_RNE, 0x00000000ffffffff, 0, 0, B(0x4f800000), SF_NX),
    C(fcvt_s_lu, 'f', SF_RNE, MINUS(1), 0, 0, B(0x5f800000), SF_NX),
    C(fcvt_d_w, 'f', SF_RNE, 0x00000000ffffffff, 0, 0, D_N1, 0),
    C(fcvt_d_wu, 'f', SF_RNE, MINUS(1), 0, 0, 0x41efffffffe00000, 0),
    C(fcvt_d_l, 'f', SF_RNE, MINUS(1), 0, 0, D_N1, 0),
    C(fcvt_d_l, 'f', SF_RUP, INT64_MAX, 0, 0, 0x43e0000000000000, SF_NX),
    C(fcvt_d_lu, 'f', SF_RNE, MINUS(1), 0, 0, 0x43f0000000000000, SF_NX),
    C(fcvt_d_lu, 'f', SF_RNE, 1ull << 63, 0, 0, 0x43e0000000000000, 0),

    C(fcvt_s_d, 'f', SF_RNE, D_1_5, 0, 0, S_1_5, 0),
    C(fcvt_s_d, 'f', SF_RTZ, D_MAX, 0, 0, B(0x7f7fffff), SF_OF | SF_NX),
    C(fcvt_s_d, 'f', SF_RUP, D_TINY, 0, 0, B(1), SF_UF | SF_NX),
    C(fcvt_s_d, 'f', SF_RNE, 0xfff0000000000001, 0, 0, S_QNAN, SF_NV),
    C(fcvt_d_s, 'f', SF_RNE, S_1_5, 0, 0, D_1_5, 0),
    C(fcvt_d_s, 'f', SF_RNE, B(1), 0, 0, 0x36a0000000000000, 0),
    C(fcvt_d_s, 'f', SF_RNE, UNBOXED, 0, 0, D_QNAN, 0),
};

static struct rv_hart *case_hart(const struct fp_case *c, struct rv_insn *insn)
{
    struct rv_hart *h = fresh_hart();

    *insn = template;
    insn->rm = c->rm == NO_RM ? 0 : c->rm;
    h->f[1] = h->x[1] = c->a;
    h->f[2] = c->b;
    h->f[3] = c->c;
    return h;
}

static void expect_result(const struct fp_case *c, const struct rv_hart *h, enum rv_exec how)
{
    uint64_t got = c->to == 'f' ? h->f[4] : h->x[4];
    uint64_t other = c->to == 'f' ? h->x[4] : h->f[4];

    if (how != RV_NEXT || got != c->want || h->fflags != c->flags)
        fail_msg("%s(%#lx, %#lx, %#lx) rm %u: %#lx flags %#x (%d), not %#lx flags %#x", c->name,
                 c->a, c->b, c->c, c->rm, got, h->fflags, how, c->want, c->flags);
    assert_true(other == CANARY);
    assert_int_equal(h->fs_dirty, c->to == 'f' || c->flags);
}

static void test_values(void **state)
{
    (void)state;
    for (size_t n = 0; n < COUNT(cases); n++) {
        struct rv_insn insn;
        struct rv_hart *h = case_hart(&cases[n], &insn);

        expect_result(&cases[n], h, cases[n].exec(h, &insn));
    }
}

/* rm = 7 takes the mode from frm. */
static void test_dynamic_rounding(void **state)
{
    (void)state;
    for (size_t n = 0; n < COUNT(cases); n++) {
        struct rv_insn insn;
        struct rv_hart *h = case_hart(&cases[n], &insn);

        if (cases[n].rm == NO_RM)
            continue;
        h->frm = insn.rm;
        insn.rm = 7;
        expect_result(&cases[n], h, cases[n].exec(h, &insn));
    }
}

static void expect_illegal(const struct fp_case *c, const struct rv_hart *h, enum rv_exec how)
{
    if (how != RV_TRAP)
        fail_msg("%s should be illegal", c->name);
    assert_int_equal(h->trap_cause, RV_EXC_ILLEGAL);
    assert_int_equal(h->trap_tval, RAW);
    assert_true(h->f[4] == CANARY && h->x[4] == CANARY);
    assert_int_equal(h->fflags, 0);
    assert_int_equal(h->fs_dirty, 0);
}

static void test_off_is_illegal(void **state)
{
    (void)state;
    for (size_t n = 0; n < COUNT(cases); n++) {
        struct rv_insn insn;
        struct rv_hart *h = case_hart(&cases[n], &insn);

        h->fp_on = 0;
        expect_illegal(&cases[n], h, cases[n].exec(h, &insn));
    }
}

static void test_bad_rounding_modes_are_illegal(void **state)
{
    static const uint8_t bad[][2] = {{5, 0}, {6, 0}, {7, 5}, {7, 6}, {7, 7}}; /* rm, frm */

    (void)state;
    for (size_t n = 0; n < COUNT(cases) * COUNT(bad); n++) {
        const struct fp_case *c = &cases[n / COUNT(bad)];
        struct rv_insn insn;
        struct rv_hart *h = case_hart(c, &insn);

        if (c->rm == NO_RM)
            continue;
        insn.rm = bad[n % COUNT(bad)][0];
        h->frm = bad[n % COUNT(bad)][1];
        expect_illegal(c, h, c->exec(h, &insn));
    }
}

/* Flags accrue: none is ever cleared by an op. */
static void test_flags_accrue(void **state)
{
    struct rv_insn insn;
    struct rv_hart *h = case_hart(&cases[0], &insn);

    (void)state;
    h->fflags = SF_DZ;
    assert_int_equal(exec_fadd_s(h, &insn), RV_NEXT);
    assert_int_equal(h->fflags, SF_DZ);
    h->f[1] = B(0x7f800001);
    assert_int_equal(exec_fadd_s(h, &insn), RV_NEXT);
    assert_int_equal(h->fflags, SF_DZ | SF_NV);
}

static void test_x0_stays_zero(void **state)
{
    struct rv_insn insn;
    struct rv_hart *h = case_hart(&cases[0], &insn);

    (void)state;
    insn.rd = 0;
    assert_int_equal(exec_fmv_x_d(h, &insn), RV_NEXT);
    assert_int_equal(exec_fcvt_w_s(h, &insn), RV_NEXT);
    assert_true(h->x[0] == 0);
}

/* --- loads and stores --- */

static struct rv_hart *memory_hart(struct rv_insn *insn, int32_t imm)
{
    struct rv_hart *h = fresh_hart();

    for (unsigned n = 0; n < sizeof memory; n++)
        memory[n] = (uint8_t)(0x80 + n);
    *insn = template;
    insn->imm = imm;
    h->x[1] = MEM_VA + 8;
    h->f[2] = 0x1122334455667788;
    return h;
}

static void test_load(void **state)
{
    struct rv_insn insn;
    struct rv_hart *h = memory_hart(&insn, -4);

    (void)state;
    assert_int_equal(exec_flw(h, &insn), RV_NEXT);
    assert_true(h->f[4] == B(0x87868584));
    assert_int_equal(h->fs_dirty, 1);
    insn.imm = 8;
    assert_int_equal(exec_fld(h, &insn), RV_NEXT);
    assert_true(h->f[4] == 0x9796959493929190);
    assert_true(h->x[4] == CANARY);
}

static void test_store(void **state)
{
    struct rv_insn insn;
    struct rv_hart *h = memory_hart(&insn, -4);
    uint64_t word;

    (void)state;
    assert_int_equal(exec_fsw(h, &insn), RV_NEXT); /* not boxed: the low half all the same */
    memcpy(&word, memory, 8);
    assert_true(word == 0x5566778883828180);
    insn.imm = 0;
    assert_int_equal(exec_fsd(h, &insn), RV_NEXT);
    memcpy(&word, memory + 8, 8);
    assert_true(word == 0x1122334455667788);
    assert_int_equal(h->fs_dirty, 0);
}

static void test_memory_faults(void **state)
{
    static const struct {
        rv_exec_fn exec;
        unsigned cause;
    } op[] = {
        {exec_flw, RV_EXC_LOAD_PAGE},
        {exec_fld, RV_EXC_LOAD_PAGE},
        {exec_fsw, RV_EXC_STORE_PAGE},
        {exec_fsd, RV_EXC_STORE_PAGE},
    };

    (void)state;
    for (size_t n = 0; n < COUNT(op); n++) {
        struct rv_insn insn;
        struct rv_hart *h = memory_hart(&insn, -2048);

        assert_int_equal(op[n].exec(h, &insn), RV_TRAP);
        assert_int_equal(h->trap_cause, op[n].cause);
        assert_int_equal(h->trap_tval, MEM_VA + 8 - 2048);
        h->fp_on = 0;
        assert_int_equal(op[n].exec(h, &insn), RV_TRAP);
        assert_int_equal(h->trap_cause, RV_EXC_ILLEGAL);
        assert_int_equal(h->trap_tval, RAW);
        assert_true(h->f[4] == CANARY);
        assert_int_equal(h->fs_dirty, 0);
    }
}

/* --- the tables above against the instruction set --- */

static void test_every_op_has_a_case(void **state)
{
    static const struct {
        const char *name;
        enum rv_ext ext;
    } ops[] = {
#define ROW(_op, _ext) {#_op, RV_EXT_##_ext},
        RV_OPS(ROW)
#undef ROW
    };
    unsigned seen = 0;

    (void)state;
    for (size_t n = 0; n < COUNT(ops); n++) {
        bool found = strcmp(ops[n].name, "flw") == 0 || strcmp(ops[n].name, "fld") == 0 ||
                     strcmp(ops[n].name, "fsw") == 0 || strcmp(ops[n].name, "fsd") == 0;

        if (ops[n].ext != RV_EXT_F && ops[n].ext != RV_EXT_D)
            continue;
        for (size_t c = 0; c < COUNT(cases); c++)
            found |= strcmp(cases[c].name, ops[n].name) == 0;
        if (!found)
            fail_msg("no case for %s", ops[n].name);
        seen++;
    }
    assert_int_equal(seen, 30 + 32); /* unprivileged spec, RV64F and RV64D */
}

int main(void)
{
    static const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_values),
        cmocka_unit_test(test_dynamic_rounding),
        cmocka_unit_test(test_off_is_illegal),
        cmocka_unit_test(test_bad_rounding_modes_are_illegal),
        cmocka_unit_test(test_flags_accrue),
        cmocka_unit_test(test_x0_stays_zero),
        cmocka_unit_test(test_load),
        cmocka_unit_test(test_store),
        cmocka_unit_test(test_memory_faults),
        cmocka_unit_test(test_every_op_has_a_case),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
