/* PMP: matching, priorities, locks, partial matches, and its effect on accesses and walks. */
#include "page_tables.h"

#define PAGE_A (RAM_BASE + 0x100000)
#define CFG(a, rwxl) ((uint8_t)((a) << PMP_A_SHIFT | (rwxl)))
#define RWX (PMP_R | PMP_W | PMP_X)

static struct rig rig_;

static int setup(void **state)
{
    rig_init(&rig_, false);
    *state = &rig_;
    return 0;
}

static int teardown(void **state)
{
    rig_fini(*state);
    return 0;
}

static void set_entry(struct rv_hart *h, unsigned n, uint8_t cfg, uint64_t addr)
{
    h->pmpcfg[n] = cfg;
    h->pmpaddr[n] = addr;
    rv_pmp_update(h);
    rv_tlb_flush_all(h);
}

static uint64_t napot(uint64_t base, uint64_t size)
{
    return base >> 2 | (size / 8 - 1);
}

static void test_no_entry_closes_s_and_u_only(void **state)
{
    struct rig *r = *state;

    assert_int_equal(rv_pmp_perm(r->h, PAGE_A, 8, RV_M), RWX);
    assert_int_equal(rv_pmp_perm(r->h, PAGE_A, 8, RV_S), 0);
    assert_int_equal(rv_pmp_perm(r->h, PAGE_A, 8, RV_U), 0);
}

static void test_without_the_extension_all_is_open(void **state)
{
    struct rig r;

    (void)state;
    rig_init_isa(&r, false, rig_isa_without(RV_EXT_PMP));
    assert_int_equal(rv_pmp_perm(r.h, PAGE_A, 8, RV_U), RWX);
    assert_false(rig_csr_write(r.h, 0x3a0, 0));
    rig_fini(&r);
}

static void test_napot_sizes(void **state)
{
    struct rig *r = *state;

    set_entry(r->h, 0, CFG(PMP_NAPOT, PMP_R), napot(PAGE_A, 64));
    assert_int_equal(rv_pmp_perm(r->h, PAGE_A, 8, RV_S), PMP_R);
    assert_int_equal(rv_pmp_perm(r->h, PAGE_A + 56, 8, RV_S), PMP_R);
    assert_int_equal(rv_pmp_perm(r->h, PAGE_A + 64, 8, RV_S), 0);
    assert_int_equal(rv_pmp_perm(r->h, PAGE_A - 8, 8, RV_S), 0);
    set_entry(r->h, 0, CFG(PMP_NAPOT, RWX), (1ull << 54) - 1);
    assert_int_equal(rv_pmp_perm(r->h, 0, 8, RV_U), RWX);
    assert_int_equal(rv_pmp_perm(r->h, (1ull << 56) - 8, 8, RV_U), RWX);
}

static void test_na4_and_tor(void **state)
{
    struct rig *r = *state;

    set_entry(r->h, 0, CFG(PMP_NA4, PMP_R), PAGE_A >> 2);
    assert_int_equal(rv_pmp_perm(r->h, PAGE_A, 4, RV_S), PMP_R);
    assert_int_equal(rv_pmp_perm(r->h, PAGE_A + 4, 4, RV_S), 0);
    set_entry(r->h, 0, 0, PAGE_A >> 2);
    set_entry(r->h, 1, CFG(PMP_TOR, PMP_X), (PAGE_A + 0x20) >> 2);
    assert_int_equal(rv_pmp_perm(r->h, PAGE_A + 0x18, 8, RV_S), PMP_X);
    assert_int_equal(rv_pmp_perm(r->h, PAGE_A + 0x20, 8, RV_S), 0);
    /* entry 0 as TOR starts at address 0; an empty range matches nothing */
    set_entry(r->h, 1, CFG(PMP_TOR, PMP_X), PAGE_A >> 2);
    assert_int_equal(rv_pmp_perm(r->h, PAGE_A - 8, 8, RV_S), 0);
    set_entry(r->h, 0, CFG(PMP_TOR, PMP_R), 0x1000 >> 2);
    assert_int_equal(rv_pmp_perm(r->h, 0, 8, RV_S), PMP_R);
}

static void test_lowest_entry_wins_and_partial_match_fails(void **state)
{
    struct rig *r = *state;

    set_entry(r->h, 0, CFG(PMP_NA4, PMP_R), PAGE_A >> 2);
    set_entry(r->h, 1, CFG(PMP_NAPOT, RWX), (1ull << 54) - 1);
    assert_int_equal(rv_pmp_perm(r->h, PAGE_A, 4, RV_S), PMP_R);
    assert_int_equal(rv_pmp_perm(r->h, PAGE_A + 4, 4, RV_S), RWX);
    assert_int_equal(rv_pmp_perm(r->h, PAGE_A, 8, RV_S), 0);
    assert_int_equal(rv_pmp_perm(r->h, PAGE_A, 8, RV_M), 0); /* for M as well (Priv. 3.7.1.1) */
    assert_false(rv_pmp_uniform(r->h, PAGE_A + 0x800));
    assert_true(rv_pmp_uniform(r->h, PAGE_A + 0x1000));
}

static void test_lock_binds_machine_mode(void **state)
{
    struct rig *r = *state;

    set_entry(r->h, 0, CFG(PMP_NAPOT, PMP_R), napot(PAGE_A, 4096));
    assert_int_equal(rv_pmp_perm(r->h, PAGE_A, 8, RV_M), RWX);
    set_entry(r->h, 0, CFG(PMP_NAPOT, PMP_R | PMP_L), napot(PAGE_A, 4096));
    assert_int_equal(rv_pmp_perm(r->h, PAGE_A, 8, RV_M), PMP_R);
}

static void test_csr_writes_respect_locks(void **state)
{
    struct rig *r = *state;
    uint64_t v;

    assert_true(rig_csr_write(r->h, 0x3b0, 0x1000));
    assert_true(rig_csr_write(r->h, 0x3b1, 0x2000));
    assert_true(rig_csr_write(r->h, 0x3a0, (uint64_t)CFG(PMP_TOR, PMP_R | PMP_L) << 8));
    /* entry 1 is locked; as TOR it locks pmpaddr0 too */
    assert_true(rig_csr_write(r->h, 0x3b0, 0x111));
    assert_true(rig_csr_write(r->h, 0x3b1, 0x222));
    assert_true(rig_csr_write(r->h, 0x3a0, 0));
    assert_true(rig_csr_read(r->h, 0x3b0, &v));
    assert_int_equal(v, 0x1000);
    assert_true(rig_csr_read(r->h, 0x3b1, &v));
    assert_int_equal(v, 0x2000);
    assert_true(rig_csr_read(r->h, 0x3a0, &v));
    assert_int_equal(v, (uint64_t)CFG(PMP_TOR, PMP_R | PMP_L) << 8);
    rv_hart_reset(&r->h->vcpu);
    assert_true(rig_csr_read(r->h, 0x3a0, &v));
    assert_int_equal(v, 0);
}

static void test_csr_legal_values(void **state)
{
    struct rig *r = *state;
    uint64_t v;

    assert_true(rig_csr_write(r->h, 0x3a0, 0x60 | PMP_W)); /* W without R; reserved bits */
    assert_true(rig_csr_read(r->h, 0x3a0, &v));
    assert_int_equal(v, 0);
    assert_true(rig_csr_write(r->h, 0x3b5, ~0ull));
    assert_true(rig_csr_read(r->h, 0x3b5, &v));
    assert_int_equal(v, (1ull << 54) - 1);
    assert_false(rig_csr_read(r->h, 0x3a1, &v)); /* odd pmpcfg: RV32 only */
    assert_true(rig_csr_write(r->h, 0x3c0, ~0ull)); /* entry 16: read-only zero */
    assert_true(rig_csr_read(r->h, 0x3c0, &v));
    assert_int_equal(v, 0);
    assert_true(rig_csr_read(r->h, 0x3a4, &v));
    assert_int_equal(v, 0);
}

static void test_accesses_in_a_cut_page(void **state)
{
    struct rig *r = *state;
    uint64_t v;
    gpa_t g;

    set_entry(r->h, 0, CFG(PMP_NAPOT, PMP_R), napot(PAGE_A + 0x40, 64));
    set_entry(r->h, 1, CFG(PMP_NAPOT, RWX), (1ull << 54) - 1);
    rig_set_priv(r->h, RV_S);
    assert_true(rv_store(r->h, PAGE_A, 8, 1));
    assert_true(rv_load(r->h, PAGE_A + 0x40, 8, &v));
    assert_false(rv_store(r->h, PAGE_A + 0x40, 8, 1));
    assert_int_equal(r->h->trap_cause, RV_EXC_STORE_ACCESS);
    assert_int_equal(r->h->trap_tval, PAGE_A + 0x40);
    assert_true(rv_store(r->h, PAGE_A + 0x80, 8, 1));
    assert_int_equal(r->h->count.tlb_fills, 0);
    assert_non_null(rv_fetch_page(r->h, PAGE_A, &g));
    assert_false(rv_fetch_whole(r->h, PAGE_A));
    assert_null(rv_fetch_page(r->h, PAGE_A + 0x40, &g));
    assert_int_equal(r->h->trap_cause, RV_EXC_INSN_ACCESS);
    /* an instruction whose second half is not executable */
    r->h->pc = PAGE_A + 0x3e;
    uint16_t low = 0x0013;
    uint32_t raw;
    mem_write(r->space, PAGE_A + 0x3e, &low, 2);
    assert_false(rv_fetch(r->h, &raw));
    assert_int_equal(r->h->trap_tval, PAGE_A + 0x40);
}

static void test_walk_obeys_pmp(void **state)
{
    struct rig *r = *state;
    struct tables t;
    uint64_t v;

    pt_init(&t, r, SATP_SV39);
    pt_map(&t, 0x1000, PAGE_A, 0, V | R | W | X); /* A and D are to be set */
    set_entry(r->h, 0, CFG(PMP_NAPOT, 0), napot(PT_ROOT, 4096 * PT_PAGES));
    set_entry(r->h, 1, CFG(PMP_NAPOT, RWX), (1ull << 54) - 1);
    pt_enter(r, SATP_SV39, 0, RV_S);
    assert_false(rv_load(r->h, 0x1000, 8, &v));
    assert_int_equal(r->h->trap_cause, RV_EXC_LOAD_ACCESS);
    assert_int_equal(r->h->trap_tval, 0x1000);
    /* readable tables, but A cannot be written */
    set_entry(r->h, 0, CFG(PMP_NAPOT, PMP_R), napot(PT_ROOT, 4096 * PT_PAGES));
    assert_false(rv_load(r->h, 0x1000, 8, &v));
    assert_int_equal(r->h->trap_cause, RV_EXC_LOAD_ACCESS);
    set_entry(r->h, 0, CFG(PMP_NAPOT, PMP_R | PMP_W), napot(PT_ROOT, 4096 * PT_PAGES));
    assert_true(rv_load(r->h, 0x1000, 8, &v));
}

static void test_change_takes_effect_at_once(void **state)
{
    struct rig *r = *state;
    uint64_t v;

    rig_open_pmp(r->h);
    rig_set_priv(r->h, RV_S);
    assert_true(rv_load(r->h, PAGE_A, 8, &v));
    rig_set_priv(r->h, RV_M);
    assert_true(rig_csr_write(r->h, 0x3a0, 0));
    rig_set_priv(r->h, RV_S);
    assert_false(rv_load(r->h, PAGE_A, 8, &v));
    assert_int_equal(r->h->trap_cause, RV_EXC_LOAD_ACCESS);
}

static void test_mprv_uses_the_previous_privilege(void **state)
{
    struct rig *r = *state;
    uint64_t v;

    set_entry(r->h, 0, CFG(PMP_NAPOT, PMP_R), (1ull << 54) - 1);
    assert_true(rv_store(r->h, PAGE_A, 8, 1)); /* M */
    assert_true(rig_csr_write(r->h, 0x300, MSTATUS_MPRV | (uint64_t)RV_S << MSTATUS_MPP_SHIFT));
    assert_true(rv_load(r->h, PAGE_A, 8, &v));
    assert_false(rv_store(r->h, PAGE_A, 8, 1));
    assert_int_equal(r->h->trap_cause, RV_EXC_STORE_ACCESS);
    gpa_t g;
    assert_non_null(rv_fetch_page(r->h, PAGE_A, &g)); /* fetch stays M */
}

int main(void)
{
#define TEST(f) cmocka_unit_test_setup_teardown(f, setup, teardown)
    const struct CMUnitTest tests[] = {
        TEST(test_no_entry_closes_s_and_u_only),
        cmocka_unit_test(test_without_the_extension_all_is_open),
        TEST(test_napot_sizes),
        TEST(test_na4_and_tor),
        TEST(test_lowest_entry_wins_and_partial_match_fails),
        TEST(test_lock_binds_machine_mode),
        TEST(test_csr_writes_respect_locks),
        TEST(test_csr_legal_values),
        TEST(test_accesses_in_a_cut_page),
        TEST(test_walk_obeys_pmp),
        TEST(test_change_takes_effect_at_once),
        TEST(test_mprv_uses_the_previous_privilege),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
