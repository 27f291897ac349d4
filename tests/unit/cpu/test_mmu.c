/* The page walk and the access paths on it: modes, permissions, A/D, superpages, extensions. */
#include "page_tables.h"

#define PAGE_A (RAM_BASE + 0x100000)
#define PAGE_B (RAM_BASE + 0x101000)
#define VA 0x12345000ull

static struct rig rig_;

static int setup(void **state)
{
    rig_init(&rig_, true);
    *state = &rig_;
    return 0;
}

static int teardown(void **state)
{
    rig_fini(*state);
    return 0;
}

static void enter(struct rig *r, struct tables *t, unsigned mode, enum rv_priv priv)
{
    pt_init(t, r, mode);
    pt_enter(r, mode, 1, priv);
}

static void remap(struct rig *r)
{
    rv_tlb_flush_all(r->h);
}

#define assert_loads(r, va, size, expect)                                                          \
    do {                                                                                           \
        uint64_t v_ = 0;                                                                           \
        assert_true(rv_load((r)->h, va, size, &v_));                                               \
        assert_int_equal(v_, expect);                                                              \
    } while (0)

#define assert_load_traps(r, va, size, cause)                                                      \
    do {                                                                                           \
        uint64_t v_ = 0;                                                                           \
        (r)->h->trap_cause = 999;                                                                  \
        assert_false(rv_load((r)->h, va, size, &v_));                                              \
        assert_int_equal((r)->h->trap_cause, cause);                                               \
        assert_int_equal((r)->h->trap_tval, va);                                                   \
    } while (0)

#define assert_store_traps(r, va, size, cause)                                                     \
    do {                                                                                           \
        (r)->h->trap_cause = 999;                                                                  \
        assert_false(rv_store((r)->h, va, size, 0x55));                                            \
        assert_int_equal((r)->h->trap_cause, cause);                                               \
        assert_int_equal((r)->h->trap_tval, va);                                                   \
    } while (0)

#define assert_fetch_traps(r, va, cause)                                                           \
    do {                                                                                           \
        gpa_t g_;                                                                                  \
        (r)->h->trap_cause = 999;                                                                  \
        assert_null(rv_fetch_page((r)->h, va, &g_));                                               \
        assert_int_equal((r)->h->trap_cause, cause);                                               \
        assert_int_equal((r)->h->trap_tval, va);                                                   \
    } while (0)

#define assert_fetches(r, va, gpa)                                                                 \
    do {                                                                                           \
        gpa_t g_ = 0;                                                                              \
        assert_non_null(rv_fetch_page((r)->h, va, &g_));                                           \
        assert_int_equal(g_, gpa);                                                                 \
    } while (0)

static void one_mode(struct rig *r, unsigned mode, gva_t high)
{
    struct tables t;

    enter(r, &t, mode, RV_S);
    pt_map(&t, VA, PAGE_A, 0, RWXAD);
    pt_map(&t, high, PAGE_B, 0, RWXAD);
    rig_put64(r, PAGE_A + 0x18, 0x1122334455667788);
    rig_put64(r, PAGE_B + 0x20, 42);
    assert_loads(r, VA + 0x18, 8, 0x1122334455667788);
    assert_loads(r, VA + 0x1c, 2, 0x3344);
    assert_loads(r, high + 0x20, 8, 42);
    assert_true(rv_store(r->h, high + 0x28, 4, 0xdeadbeef));
    assert_int_equal(rig_get64(r, PAGE_B + 0x28), 0xdeadbeef);
    assert_fetches(r, VA + 2, PAGE_A);
    assert_load_traps(r, VA + 0x1000, 8, RV_EXC_LOAD_PAGE);
    assert_store_traps(r, VA + 0x1000, 1, RV_EXC_STORE_PAGE);
    assert_fetch_traps(r, VA + 0x1002, RV_EXC_INSN_PAGE);
    /* not sign-extended from the mode's top bit */
    assert_load_traps(r, high & ~(1ull << 63), 8, RV_EXC_LOAD_PAGE);
    assert_fetch_traps(r, VA | 1ull << 60, RV_EXC_INSN_PAGE);
    remap(r);
}

static void test_modes(void **state)
{
    one_mode(*state, SATP_SV39, 0xffffffc000000000 + 0x7000);
    one_mode(*state, SATP_SV48, 0xffff800000000000 + 0x7000);
    one_mode(*state, SATP_SV57, 0xff00000000000000 + 0x7000);
}

static void test_bare(void **state)
{
    struct rig *r = *state;

    rig_set_priv(r->h, RV_S);
    rig_put64(r, PAGE_A, 7);
    assert_loads(r, PAGE_A, 8, 7);
    assert_load_traps(r, RAM_BASE - 8, 8, RV_EXC_LOAD_ACCESS);
    assert_store_traps(r, RAM_BASE + RAM_SIZE, 8, RV_EXC_STORE_ACCESS);
    assert_fetch_traps(r, 0, RV_EXC_INSN_ACCESS);
}

static void test_permissions(void **state)
{
    struct rig *r = *state;
    struct tables t;

    enter(r, &t, SATP_SV39, RV_S);
    pt_map(&t, 0x1000, PAGE_A, 0, V | R | A | D);
    pt_map(&t, 0x2000, PAGE_A, 0, V | X | A | D);
    pt_map(&t, 0x3000, PAGE_A, 0, V | R | W | A | D);
    pt_map(&t, 0x4000, PAGE_A, 0, V | W | A | D); /* reserved */
    assert_loads(r, 0x1000, 4, 0);
    assert_store_traps(r, 0x1000, 4, RV_EXC_STORE_PAGE);
    assert_fetch_traps(r, 0x1000, RV_EXC_INSN_PAGE);
    assert_load_traps(r, 0x2000, 4, RV_EXC_LOAD_PAGE);
    assert_fetches(r, 0x2000, PAGE_A);
    assert_fetch_traps(r, 0x3000, RV_EXC_INSN_PAGE);
    assert_load_traps(r, 0x4000, 4, RV_EXC_LOAD_PAGE);
    assert_store_traps(r, 0x4000, 4, RV_EXC_STORE_PAGE);
}

static void test_sum_and_user_pages(void **state)
{
    struct rig *r = *state;
    struct tables t;

    enter(r, &t, SATP_SV39, RV_S);
    pt_map(&t, 0x1000, PAGE_A, 0, RWXAD | U);
    pt_map(&t, 0x2000, PAGE_B, 0, RWXAD);
    assert_load_traps(r, 0x1000, 4, RV_EXC_LOAD_PAGE);
    assert_true(rig_csr_write(r->h, 0x100, MSTATUS_SUM));
    assert_loads(r, 0x1000, 4, 0);
    assert_fetch_traps(r, 0x1000, RV_EXC_INSN_PAGE); /* SUM does not help fetches */
    assert_true(rig_csr_write(r->h, 0x100, 0));
    assert_load_traps(r, 0x1000, 4, RV_EXC_LOAD_PAGE); /* the other context's entry does not leak */
    rig_set_priv(r->h, RV_U);
    assert_loads(r, 0x1000, 4, 0);
    assert_fetches(r, 0x1000, PAGE_A);
    assert_load_traps(r, 0x2000, 4, RV_EXC_LOAD_PAGE);
    assert_fetch_traps(r, 0x2000, RV_EXC_INSN_PAGE);
}

static void test_mxr(void **state)
{
    struct rig *r = *state;
    struct tables t;

    enter(r, &t, SATP_SV39, RV_S);
    pt_map(&t, 0x1000, PAGE_A, 0, V | X | A);
    assert_load_traps(r, 0x1000, 4, RV_EXC_LOAD_PAGE);
    assert_true(rig_csr_write(r->h, 0x100, MSTATUS_MXR));
    assert_loads(r, 0x1000, 4, 0);
}

static void test_superpages(void **state)
{
    struct rig *r = *state;
    struct tables t;

    enter(r, &t, SATP_SV39, RV_S);
    pt_map(&t, 0x40000000, RAM_BASE, 2, RWXAD);               /* 1 GiB */
    pt_map(&t, 0x200000, RAM_BASE + 0x200000, 1, RWXAD);      /* 2 MiB */
    pt_map(&t, 0x400000, RAM_BASE + 0x201000, 1, RWXAD);      /* misaligned */
    rig_put64(r, RAM_BASE + 0x234560, 99);
    assert_loads(r, 0x40000000 + 0x234560, 8, 99);
    assert_loads(r, 0x200000 + 0x34560, 8, 99);
    assert_load_traps(r, 0x400000, 8, RV_EXC_LOAD_PAGE);
    assert_fetches(r, 0x200000 + 0x34560, RAM_BASE + 0x234000);
}

static void test_hardware_sets_a_and_d(void **state)
{
    struct rig *r = *state;
    struct tables t;

    enter(r, &t, SATP_SV39, RV_S);
    gpa_t slot = pt_map(&t, 0x1000, PAGE_A, 0, V | R | W | X);
    uint64_t bare = rig_get64(r, slot);
    assert_loads(r, 0x1000, 4, 0);
    assert_int_equal(rig_get64(r, slot), bare | A);
    assert_true(rv_store(r->h, 0x1000, 4, 5));
    assert_int_equal(rig_get64(r, slot), bare | A | D);
    slot = pt_map(&t, 0x2000, PAGE_B, 0, V | X);
    bare = rig_get64(r, slot);
    assert_fetches(r, 0x2000, PAGE_B);
    assert_int_equal(rig_get64(r, slot), bare | A);
    /* refused accesses leave the PTE alone */
    slot = pt_map(&t, 0x3000, PAGE_B, 0, V | R);
    bare = rig_get64(r, slot);
    assert_store_traps(r, 0x3000, 4, RV_EXC_STORE_PAGE);
    assert_int_equal(rig_get64(r, slot), bare);
}

static void test_without_adue_a_and_d_fault(void **state)
{
    struct rig *r = *state;
    struct tables t;

    enter(r, &t, SATP_SV39, RV_S);
    r->h->menvcfg &= ~ENVCFG_ADUE;
    pt_map(&t, 0x1000, PAGE_A, 0, V | R | W | X);
    pt_map(&t, 0x2000, PAGE_A, 0, V | R | W | X | A);
    assert_load_traps(r, 0x1000, 4, RV_EXC_LOAD_PAGE);
    assert_fetch_traps(r, 0x1000, RV_EXC_INSN_PAGE);
    assert_loads(r, 0x2000, 4, 0);
    assert_store_traps(r, 0x2000, 4, RV_EXC_STORE_PAGE);
}

static void test_reserved_bits(void **state)
{
    struct rig *r = *state;
    struct tables t;

    enter(r, &t, SATP_SV39, RV_S);
    pt_map(&t, 0x1000, PAGE_A, 0, RWXAD | 1ull << 54);
    pt_map(&t, 0x2000, PAGE_A, 0, RWXAD | 1ull << 60);
    assert_load_traps(r, 0x1000, 4, RV_EXC_LOAD_PAGE);
    assert_load_traps(r, 0x2000, 4, RV_EXC_LOAD_PAGE);
    /* a pointer with D, A or U set is reserved */
    pt_map(&t, 0x3000, PAGE_A, 0, RWXAD);
    gpa_t pointer = pt_slot(&t, 0x3000, 1);
    rig_put64(r, pointer, rig_get64(r, pointer) | U);
    assert_load_traps(r, 0x3000, 4, RV_EXC_LOAD_PAGE);
}

static void test_pointer_at_the_last_level_faults(void **state)
{
    struct rig *r = *state;
    struct tables t;

    enter(r, &t, SATP_SV39, RV_S);
    pt_map(&t, 0x1000, PAGE_A, 0, V);
    assert_load_traps(r, 0x1000, 4, RV_EXC_LOAD_PAGE);
}

static void test_svpbmt(void **state)
{
    struct rig *r = *state;
    struct tables t;

    enter(r, &t, SATP_SV39, RV_S);
    pt_map(&t, 0x1000, PAGE_A, 0, RWXAD | PTE_PBMT_OF(1));
    pt_map(&t, 0x2000, PAGE_A, 0, RWXAD | PTE_PBMT_OF(2));
    pt_map(&t, 0x3000, PAGE_A, 0, RWXAD | PTE_PBMT_OF(3));
    assert_loads(r, 0x1000, 4, 0);
    assert_loads(r, 0x2000, 4, 0);
    assert_load_traps(r, 0x3000, 4, RV_EXC_LOAD_PAGE);
    r->h->menvcfg &= ~ENVCFG_PBMTE;
    remap(r);
    assert_load_traps(r, 0x1000, 4, RV_EXC_LOAD_PAGE);
}

static void test_svnapot(void **state)
{
    struct rig *r = *state;
    struct tables t;

    enter(r, &t, SATP_SV39, RV_S);
    for (unsigned i = 0; i < 16; i++)
        pt_map(&t, 0x10000 + i * 4096, RAM_BASE + 0x110000 + 0x8000, 0, RWXAD | PTE_N_BIT);
    rig_put64(r, RAM_BASE + 0x113010, 33);
    assert_loads(r, 0x13010, 8, 33);
    pt_map(&t, 0x20000, RAM_BASE + 0x110000 + 0x4000, 0, RWXAD | PTE_N_BIT); /* 32 KiB: reserved */
    assert_load_traps(r, 0x20000, 8, RV_EXC_LOAD_PAGE);
}

static void test_napot_without_svnapot_is_reserved(void **state)
{
    struct rig r;
    struct tables t;

    (void)state;
    rig_init_isa(&r, true, rig_isa_without(RV_EXT_SVNAPOT));
    enter(&r, &t, SATP_SV39, RV_S);
    pt_map(&t, 0x10000, RAM_BASE + 0x118000, 0, RWXAD | PTE_N_BIT);
    assert_load_traps(&r, 0x10000, 8, RV_EXC_LOAD_PAGE);
    rig_fini(&r);
}

static void test_table_outside_ram_is_an_access_fault(void **state)
{
    struct rig *r = *state;
    struct tables t;

    enter(r, &t, SATP_SV39, RV_S);
    rig_put64(r, pt_slot(&t, 0x1000, 2), 0x1000ull >> 12 << 10 | V);
    assert_load_traps(r, 0x1000, 4, RV_EXC_LOAD_ACCESS);
    assert_store_traps(r, 0x1000, 4, RV_EXC_STORE_ACCESS);
    assert_fetch_traps(r, 0x1000, RV_EXC_INSN_ACCESS);
}

static void test_misaligned_across_pages(void **state)
{
    struct rig *r = *state;
    struct tables t;

    enter(r, &t, SATP_SV39, RV_S);
    pt_map(&t, 0x1000, PAGE_B, 0, RWXAD); /* not neighbours in memory */
    pt_map(&t, 0x2000, PAGE_A, 0, RWXAD);
    assert_true(rv_store(r->h, 0x1ffd, 8, 0x8877665544332211));
    assert_loads(r, 0x1ffd, 8, 0x8877665544332211);
    assert_loads(r, 0x1fff, 2, 0x4433);
    assert_int_equal(rig_get64(r, PAGE_B + 0xff8) >> 40, 0x332211);
    assert_int_equal(rig_get64(r, PAGE_A) & 0xffffffffff, 0x8877665544);
    assert_loads(r, 0x1003, 4, 0);
}

static void test_misaligned_store_is_all_or_nothing(void **state)
{
    struct rig *r = *state;
    struct tables t;

    enter(r, &t, SATP_SV39, RV_S);
    pt_map(&t, 0x1000, PAGE_A, 0, RWXAD);
    pt_map(&t, 0x2000, PAGE_B, 0, V | R | A);
    r->h->trap_cause = 999;
    assert_false(rv_store(r->h, 0x1ffc, 8, ~0ull));
    assert_int_equal(r->h->trap_cause, RV_EXC_STORE_PAGE);
    assert_int_equal(r->h->trap_tval, 0x2000); /* the part that faulted */
    assert_int_equal(rig_get64(r, PAGE_A + 0xff8), 0);
}

static void test_atomics_need_alignment_and_ram(void **state)
{
    struct rig *r = *state;
    bool code;

    rig_set_priv(r->h, RV_S);
    assert_non_null(rv_amo_ptr(r->h, PAGE_A + 8, 8, &code));
    assert_null(rv_amo_ptr(r->h, PAGE_A + 4, 8, &code));
    assert_int_equal(r->h->trap_cause, RV_EXC_STORE_MISALIGNED);
    assert_null(rv_lr_ptr(r->h, PAGE_A + 2, 4));
    assert_int_equal(r->h->trap_cause, RV_EXC_LOAD_MISALIGNED);
    assert_null(rv_amo_ptr(r->h, 0x1000, 8, &code));
    assert_int_equal(r->h->trap_cause, RV_EXC_STORE_ACCESS);
    assert_null(rv_lr_ptr(r->h, 0x1000, 8));
    assert_int_equal(r->h->trap_cause, RV_EXC_LOAD_ACCESS);
}

static void test_amo_needs_write_permission(void **state)
{
    struct rig *r = *state;
    struct tables t;
    bool code;

    enter(r, &t, SATP_SV39, RV_S);
    pt_map(&t, 0x1000, PAGE_A, 0, V | R | A | D);
    assert_non_null(rv_lr_ptr(r->h, 0x1000, 8));
    assert_null(rv_amo_ptr(r->h, 0x1000, 8, &code));
    assert_int_equal(r->h->trap_cause, RV_EXC_STORE_PAGE);
}

/* --- MMIO --- */

static uint64_t last_offset, last_size, last_value;

static bool dev_read(void *opaque, uint64_t offset, unsigned size, uint64_t *value)
{
    (void)opaque;
    last_offset = offset, last_size = size;
    *value = 0xa5;
    return offset < 0x100;
}

static bool dev_write(void *opaque, uint64_t offset, unsigned size, uint64_t value)
{
    (void)opaque;
    last_offset = offset, last_size = size, last_value = value;
    return offset < 0x100;
}

static void test_mmio(void **state)
{
    static const struct mem_ops ops = {dev_read, dev_write, 0, 0};
    static struct mem_region region;
    struct rig *r = *state;
    struct tables t;

    region = (struct mem_region){.name = "dev", .base = 0x10000000, .size = 0x1000, .ops = &ops};
    assert_int_equal(mem_add_mmio(r->space, &region), SIM_OK);
    enter(r, &t, SATP_SV39, RV_S);
    pt_map(&t, 0x1000, 0x10000000, 0, RWXAD);
    assert_loads(r, 0x1010, 4, 0xa5);
    assert_int_equal(last_offset, 0x10);
    assert_int_equal(last_size, 4);
    assert_loads(r, 0x1010, 4, 0xa5); /* again: it never enters the TLB */
    assert_int_equal(r->h->count.mmio, 2);
    assert_true(rv_store(r->h, 0x1020, 1, 0x77));
    assert_int_equal(last_value, 0x77);
    assert_load_traps(r, 0x1200, 4, RV_EXC_LOAD_ACCESS);
    assert_store_traps(r, 0x1200, 4, RV_EXC_STORE_ACCESS);
    assert_load_traps(r, 0x1011, 4, RV_EXC_LOAD_ACCESS); /* misaligned */
    assert_fetch_traps(r, 0x1000, RV_EXC_INSN_ACCESS);
}

int main(void)
{
#define TEST(f) cmocka_unit_test_setup_teardown(f, setup, teardown)
    const struct CMUnitTest tests[] = {
        TEST(test_modes),
        TEST(test_bare),
        TEST(test_permissions),
        TEST(test_sum_and_user_pages),
        TEST(test_mxr),
        TEST(test_superpages),
        TEST(test_hardware_sets_a_and_d),
        TEST(test_without_adue_a_and_d_fault),
        TEST(test_reserved_bits),
        TEST(test_pointer_at_the_last_level_faults),
        TEST(test_svpbmt),
        TEST(test_svnapot),
        cmocka_unit_test(test_napot_without_svnapot_is_reserved),
        TEST(test_table_outside_ram_is_an_access_fault),
        TEST(test_misaligned_across_pages),
        TEST(test_misaligned_store_is_all_or_nothing),
        TEST(test_atomics_need_alignment_and_ram),
        TEST(test_amo_needs_write_permission),
        TEST(test_mmio),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
