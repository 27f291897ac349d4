/* Directed tests for Zicbom and Zicboz. */
#include "exec_rows.h"

#define DATA (RAM_BASE + 0x3000)

static const uint16_t manage_ops[] = {RV_OP_cbo_inval, RV_OP_cbo_clean, RV_OP_cbo_flush};

static int setup(void **state)
{
    static struct rig r;

    rig_init(&r, false);
    rig_open_pmp(r.h);
    r.h->menvcfg |= ENVCFG_CBIE | ENVCFG_CBCFE | ENVCFG_CBZE;
    r.h->senvcfg |= ENVCFG_CBIE | ENVCFG_CBCFE | ENVCFG_CBZE;
    *state = &r;
    return 0;
}

static int teardown(void **state)
{
    rig_fini(*state);
    return 0;
}

static enum rv_exec do_cbo(struct rv_hart *h, unsigned op, uint64_t va)
{
    struct rv_insn i = {.op = (uint16_t)op, .len = 4, .rs1 = 1, .raw = 0xc0ffee};

    h->x[1] = va;
    return rv_op_info[op].exec(h, &i);
}

static void fill_memory(struct rig *r)
{
    for (gpa_t at = DATA - 64; at < DATA + 128; at += 8)
        rig_put64(r, at, 0x5555555555555555);
}

/* Bytes of [DATA - 64, DATA + 128) that are zero must be exactly the block at DATA, or none. */
static void check_memory(struct rig *r, bool zeroed)
{
    for (gpa_t at = DATA - 64; at < DATA + 128; at += 8) {
        bool in_block = at >= DATA && at < DATA + 64;
        assert_int_equal(rig_get64(r, at), zeroed && in_block ? 0 : 0x5555555555555555);
    }
}

static void test_zero_clears_one_block(void **state)
{
    static const unsigned offsets[] = {0, 1, 8, 63};

    for (size_t n = 0; n < SIM_ARRAY_LEN(offsets); n++) {
        fill_memory(*state);
        assert_int_equal(do_cbo(((struct rig *)*state)->h, RV_OP_cbo_zero, DATA + offsets[n]),
                         RV_NEXT);
        check_memory(*state, true);
    }
}

static void test_management_changes_nothing(void **state)
{
    for (size_t n = 0; n < SIM_ARRAY_LEN(manage_ops); n++) {
        fill_memory(*state);
        assert_int_equal(do_cbo(((struct rig *)*state)->h, manage_ops[n], DATA + 5), RV_NEXT);
        check_memory(*state, false);
    }
}

/* Where nothing is, all of them fault as stores and report rs1. */
static void test_faults_are_store_faults(void **state)
{
    struct rv_hart *h = ((struct rig *)*state)->h;

    for (unsigned op = RV_OP_cbo_inval; op <= RV_OP_cbo_zero; op++) {
        assert_int_equal(do_cbo(h, op, 0x1009), RV_TRAP);
        assert_int_equal(h->trap_cause, RV_EXC_STORE_ACCESS);
        assert_int_equal(h->trap_tval, 0x1009);
    }
}

/* One 1 GiB leaf for RAM_BASE.. at Sv39, with the given permission bits. */
static void map_ram(struct rig *r, uint64_t perm)
{
    const gpa_t root = RAM_BASE + 0x8000;

    rig_put64(r, root + 8 * (RAM_BASE >> 30), (RAM_BASE >> 12) << 10 | perm | 0xc1);
    r->h->satp = 8ull << 60 | root >> 12;
    rig_set_priv(r->h, RV_S);
    rv_tlb_flush_all(r->h);
}

static void test_page_permissions(void **state)
{
    struct rig *r = *state;
    const uint64_t R = 2, W = 4;

    map_ram(r, R);
    for (size_t n = 0; n < SIM_ARRAY_LEN(manage_ops); n++)
        assert_int_equal(do_cbo(r->h, manage_ops[n], DATA), RV_NEXT); /* reading is enough */
    assert_int_equal(do_cbo(r->h, RV_OP_cbo_zero, DATA), RV_TRAP);
    assert_int_equal(r->h->trap_cause, RV_EXC_STORE_PAGE);
    map_ram(r, R | W);
    assert_int_equal(do_cbo(r->h, RV_OP_cbo_zero, DATA), RV_NEXT);
    for (unsigned op = RV_OP_cbo_inval; op <= RV_OP_cbo_zero; op++) {
        assert_int_equal(do_cbo(r->h, op, 0x40000123), RV_TRAP);
        assert_int_equal(r->h->trap_cause, RV_EXC_STORE_PAGE);
        assert_int_equal(r->h->trap_tval, 0x40000123);
    }
}

/* PMP may cut a page anywhere: all of the block counts, not its beginning nor the byte named. */
static void close_quarter(struct rig *r, unsigned quarter)
{
    struct rv_hart *h = r->h;

    h->pmpaddr[1] = (1ull << 54) - 1;
    h->pmpcfg[1] = PMP_R | PMP_W | PMP_X | PMP_NAPOT << PMP_A_SHIFT;
    h->pmpaddr[0] = (DATA + 16 * quarter) >> 2 | 1; /* 16 bytes: nothing */
    h->pmpcfg[0] = PMP_NAPOT << PMP_A_SHIFT;
    rv_pmp_update(h);
    rv_tlb_flush_all(h);
    rig_set_priv(h, RV_S);
}

static void test_zero_needs_the_whole_block(void **state)
{
    struct rig *r = *state;

    close_quarter(r, 3);
    fill_memory(r);
    assert_int_equal(do_cbo(r->h, RV_OP_cbo_zero, DATA), RV_TRAP);
    assert_int_equal(r->h->trap_cause, RV_EXC_STORE_ACCESS);
    check_memory(r, false);
    assert_int_equal(do_cbo(r->h, RV_OP_cbo_zero, DATA + 64), RV_NEXT);
}

static void regress_2_management_needs_the_whole_block(void **state)
{
    struct rig *r = *state;

    for (unsigned quarter = 0; quarter < 4; quarter++) {
        close_quarter(r, quarter);
        for (size_t n = 0; n < SIM_ARRAY_LEN(manage_ops); n++) {
            for (uint64_t at = DATA + 3; at < DATA + 64; at += 16) {
                assert_int_equal(do_cbo(r->h, manage_ops[n], at), RV_TRAP);
                assert_int_equal(r->h->trap_cause, RV_EXC_STORE_ACCESS);
                assert_int_equal(r->h->trap_tval, at);
            }
            assert_int_equal(do_cbo(r->h, manage_ops[n], DATA - 1), RV_NEXT);
            assert_int_equal(do_cbo(r->h, manage_ops[n], DATA + 64), RV_NEXT);
        }
    }
}

/* MXR makes what can be executed loadable, and so manageable; A is set, D is not. */
static void test_management_is_a_load_to_the_page_table(void **state)
{
    struct rig *r = *state;
    const gpa_t leaf = RAM_BASE + 0x8000 + 8 * (RAM_BASE >> 30);
    const uint64_t X = 8, A = 0x40, D = 0x80;

    map_ram(r, X);
    assert_int_equal(do_cbo(r->h, RV_OP_cbo_clean, DATA), RV_TRAP);
    assert_int_equal(r->h->trap_cause, RV_EXC_STORE_PAGE);
    r->h->mstatus |= MSTATUS_MXR;
    rv_tlb_select(r->h);
    rig_put64(r, leaf, rig_get64(r, leaf) & ~(A | D));
    assert_int_equal(do_cbo(r->h, RV_OP_cbo_clean, DATA), RV_NEXT);
    assert_int_equal(rig_get64(r, leaf) & (A | D), A);
}

/* ---- who may: M always; S what menvcfg says; U what both say ---- */

static const struct {
    uint16_t op;
    uint64_t enable;
} enables[] = {
    {RV_OP_cbo_inval, ENVCFG_CBIE},
    {RV_OP_cbo_inval, 1ull << ENVCFG_CBIE_SHIFT}, /* inval as flush */
    {RV_OP_cbo_clean, ENVCFG_CBCFE},
    {RV_OP_cbo_flush, ENVCFG_CBCFE},
    {RV_OP_cbo_zero, ENVCFG_CBZE},
};

static void check_enable(struct rig *r, size_t n, enum rv_priv priv, bool m_bit, bool s_bit,
                         bool allowed)
{
    const uint64_t all = ENVCFG_CBIE | ENVCFG_CBCFE | ENVCFG_CBZE;
    uint64_t group = enables[n].enable & ENVCFG_CBIE ? ENVCFG_CBIE : enables[n].enable;
    struct rv_hart *h = r->h;

    h->menvcfg = (all & ~group) | (m_bit ? enables[n].enable : 0);
    h->senvcfg = (all & ~group) | (s_bit ? enables[n].enable : 0);
    rig_set_priv(h, priv);
    assert_int_equal(do_cbo(h, enables[n].op, DATA), allowed ? RV_NEXT : RV_TRAP);
    if (!allowed) {
        assert_int_equal(h->trap_cause, RV_EXC_ILLEGAL);
        assert_int_equal(h->trap_tval, 0xc0ffee);
    }
}

static void test_enable_bits(void **state)
{
    for (size_t n = 0; n < SIM_ARRAY_LEN(enables); n++) {
        for (unsigned bits = 0; bits < 4; bits++) {
            bool m = bits & 1, s = bits & 2;

            check_enable(*state, n, RV_M, m, s, true);
            check_enable(*state, n, RV_S, m, s, m);
            check_enable(*state, n, RV_U, m, s, m && s);
        }
    }
}

/* Prefetches are ori with rd = x0 and never trap, wherever they point. */
static void test_prefetch_does_nothing(void **state)
{
    static const uint32_t words[] = {0x0000e013, 0x0010e013, 0x0030e013}; /* .i .r .w of (ra) */
    struct rv_hart *h = ((struct rig *)*state)->h;

    for (size_t n = 0; n < SIM_ARRAY_LEN(words); n++) {
        struct rv_insn i;

        rv_decode(words[n], &h->isa, &i);
        h->x[1] = 0x1009;
        assert_int_equal(rv_op_info[i.op].exec(h, &i), RV_NEXT);
        assert_int_equal(h->x[0], 0);
    }
}

static void test_every_op_has_a_row(void **state)
{
    struct op_set set = {0};

    (void)state;
    for (size_t n = 0; n < SIM_ARRAY_LEN(enables); n++)
        set.has[enables[n].op] = true;
    check_all_covered(&set, 1ull << RV_EXT_ZICBOM | 1ull << RV_EXT_ZICBOZ);
}

#define RIG_TEST(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        RIG_TEST(test_zero_clears_one_block),
        RIG_TEST(test_management_changes_nothing),
        RIG_TEST(test_faults_are_store_faults),
        RIG_TEST(test_page_permissions),
        RIG_TEST(test_zero_needs_the_whole_block),
        RIG_TEST(regress_2_management_needs_the_whole_block),
        RIG_TEST(test_management_is_a_load_to_the_page_table),
        RIG_TEST(test_enable_bits),
        RIG_TEST(test_prefetch_does_nothing),
        cmocka_unit_test(test_every_op_has_a_row),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
