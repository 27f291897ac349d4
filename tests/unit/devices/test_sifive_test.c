/* The finisher ends the simulation with the right reason and code; only the first request counts. */
#include "device_fixture.h"

enum { BASE = 0x100000 };

static int setup(void **state)
{
    struct fixture *f = sim_new(struct fixture);

    fixture_init(f);
    fixture_device(f, "sifive,test0", BASE, 0x1000, 0, NULL);
    *state = f;
    return 0;
}

static int teardown(void **state)
{
    struct fixture *f = *state;

    fixture_fini(f);
    sim_free(f);
    return 0;
}

static void expect_end(struct fixture *f, enum sim_end want, int want_code)
{
    int code = -1;

    assert_true(sim_ending(f->sim));
    assert_int_equal(sim_wait_end(f->sim, &code), want);
    assert_int_equal(code, want_code);
    sim_clear_end(f->sim);
}

static void test_commands(void **state)
{
    struct fixture *f = *state;

    reg_write(f, BASE, 4, 0x5555);
    expect_end(f, SIM_END_POWEROFF, 0);
    reg_write(f, BASE, 4, 7 << 16 | 0x3333);
    expect_end(f, SIM_END_POWEROFF, 7);
    reg_write(f, BASE, 4, 0xffff3333);
    expect_end(f, SIM_END_POWEROFF, 0xffff);
    reg_write(f, BASE, 4, 0x7777);
    expect_end(f, SIM_END_RESET, 0);
    reg_write(f, BASE, 2, 0x5555);
    expect_end(f, SIM_END_POWEROFF, 0);
}

static void test_first_request_wins(void **state)
{
    struct fixture *f = *state;

    reg_write(f, BASE, 4, 3 << 16 | 0x3333);
    reg_write(f, BASE, 4, 0x5555);
    expect_end(f, SIM_END_POWEROFF, 3);
}

static void test_other_values_and_places_do_nothing(void **state)
{
    struct fixture *f = *state;
    uint64_t v;

    reg_write(f, BASE, 4, 0);
    reg_write(f, BASE, 4, 0x55550000);
    reg_write(f, BASE, 1, 0x55);
    reg_write(f, BASE + 4, 4, 0x5555);
    reg_write(f, BASE + 8, 8, 0x5555);
    assert_false(sim_ending(f->sim));
    assert_int_equal(reg_read(f, BASE, 4), 0);
    assert_int_equal(mem_mmio_read(f->space, BASE + 0x1000, 4, &v), MEM_FAULT);
}

static void test_state_is_a_section(void **state)
{
    struct fixture *f = *state;

    assert_int_equal(fixture_copy_state(f, f), SIM_OK);
}

int main(void)
{
#define T(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
    const struct CMUnitTest tests[] = {
        T(test_commands),
        T(test_first_request_wins),
        T(test_other_values_and_places_do_nothing),
        T(test_state_is_a_section),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
