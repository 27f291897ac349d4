/* Looking at guest-virtual memory: pages of all sizes, over page ends, and nothing changed by it. */
#include "page_tables.h"

#include "peek.h"

#define VA 0x40000000ull
#define PA (RAM_BASE + 0x200000)

static int set_up(void **state)
{
    static struct rig rig;

    rig_init(&rig, true);
    *state = &rig;
    return 0;
}

static int tear_down(void **state)
{
    rig_fini(*state);
    return 0;
}

static void use_tables(struct rig *r, unsigned mode)
{
    r->h->satp = pt_satp(mode, 0);
    rig_set_priv(r->h, RV_S);
}

static void test_bare_memory(void **state)
{
    struct rig *r = *state;
    uint64_t value;

    rig_put64(r, PA, 0x1122334455667788);
    assert_true(rv_peek(r->h, PA, &value, 8));
    assert_true(value == 0x1122334455667788);
    assert_false(rv_peek(r->h, 0x1000, &value, 8)); /* no RAM there */
    assert_false(rv_peek(r->h, RAM_BASE + RAM_SIZE - 4, &value, 8));
}

static void test_pages_and_their_ends(void **state)
{
    struct rig *r = *state;
    struct tables t;
    uint64_t value;
    gpa_t gpa;

    pt_init(&t, r, SATP_SV48);
    gpa_t slot = pt_map(&t, VA, PA, 0, V | R); /* neither A nor D */
    pt_map(&t, VA + 0x1000, PA + 0x5000, 0, RWXAD);
    pt_map(&t, VA + 0x200000, PA, 1, RWXAD);
    rig_put64(r, PA + 0xff8, 0x8877665544332211);
    rig_put64(r, PA + 0x5000, 0xccccccccddccbbaa);
    use_tables(r, SATP_SV48);
    assert_true(rv_peek(r->h, VA + 0xffc, &value, 8));
    assert_true(value == 0xddccbbaa88776655);
    assert_true(rv_peek_address(r->h, VA + 0x205008, &gpa)); /* a large page */
    assert_true(gpa == PA + 0x5008);
    assert_false(rv_peek(r->h, VA + 0x1ffc, &value, 8)); /* goes on where nothing is mapped */
    assert_false(rv_peek_address(r->h, VA | 1ull << 60, &gpa));
    assert_int_equal(rig_get64(r, slot) & (A | D), 0);
}

static void test_napot_pages(void **state)
{
    struct rig *r = *state;
    struct tables t;
    gpa_t gpa;

    pt_init(&t, r, SATP_SV39);
    pt_map(&t, VA + 0x3000, PA + 0x8000, 0, RWXAD | PTE_N_BIT); /* 64 KiB: bit 3 of the page number */
    use_tables(r, SATP_SV39);
    assert_true(rv_peek_address(r->h, VA + 0x3004, &gpa));
    assert_true(gpa == PA + 0x3004);
}

/* Tables that lead out of RAM end the walk. */
static void test_tables_outside_memory(void **state)
{
    struct rig *r = *state;
    gpa_t gpa;

    r->h->satp = (uint64_t)SATP_SV39 << SATP_MODE_SHIFT | 0x1000;
    rig_set_priv(r->h, RV_S);
    assert_false(rv_peek_address(r->h, VA, &gpa));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_bare_memory, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_pages_and_their_ends, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_napot_pages, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_tables_outside_memory, set_up, tear_down),
    };

    return cmocka_run_group_tests_name("cpu.peek", tests, NULL, NULL);
}
