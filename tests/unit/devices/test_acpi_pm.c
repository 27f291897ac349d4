/* ACPI's fixed hardware: power-off, reset, the timer, registers of any width. */
#include "device_fixture.h"

enum { BASE = 0x600, STATUS = 0, ENABLE = 2, CONTROL = 4, TIMER = 8, RESET = 12, SLP_EN = 1 << 13 };

static int setup(void **state)
{
    struct fixture *f = sim_new(struct fixture);

    fixture_init(f);
    fixture_device(f, "partita,acpi-pm", BASE, 16, 0, NULL);
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

static void expect_end(struct fixture *f, enum sim_end want)
{
    int code = -1;

    assert_true(sim_ending(f->sim));
    assert_int_equal(sim_wait_end(f->sim, &code), want);
    assert_int_equal(code, 0);
    sim_clear_end(f->sim);
}

static void test_power_off_needs_type_and_enable(void **state)
{
    struct fixture *f = *state;

    reg_write(f, BASE + CONTROL, 2, DEV_ACPI_S5 << 10);
    reg_write(f, BASE + CONTROL, 2, 1 << 10 | SLP_EN);
    assert_false(sim_ending(f->sim));
    reg_write(f, BASE + CONTROL, 2, DEV_ACPI_S5 << 10 | SLP_EN);
    expect_end(f, SIM_END_POWEROFF);
}

static void test_reset(void **state)
{
    struct fixture *f = *state;

    reg_write(f, BASE + RESET, 1, 1);
    expect_end(f, SIM_END_RESET);
}

static void test_registers(void **state)
{
    struct fixture *f = *state;

    assert_int_equal(reg_read(f, BASE + CONTROL, 2), 1); /* ACPI is on */
    reg_write(f, BASE + CONTROL, 2, 3 << 10);
    assert_int_equal(reg_read(f, BASE + CONTROL, 2), 3 << 10 | 1);
    reg_write(f, BASE + ENABLE, 2, 0x120);
    assert_int_equal(reg_read(f, BASE + ENABLE, 2), 0x120);
    assert_int_equal(reg_read(f, BASE + STATUS, 4), 0x1200000);
    assert_int_equal(reg_read(f, BASE + STATUS, 2), 0);
    dev_reset(f->dev);
    assert_int_equal(reg_read(f, BASE + STATUS, 4), 0);
}

static void test_timer_counts_24_bits_of_guest_time(void **state)
{
    struct fixture *f = *state;

    sim_clock_init(&f->sim->clock, SIM_CLOCK_VIRTUAL);
    sim_clock_set(&f->sim->clock, 1000000000);
    assert_int_equal(reg_read(f, BASE + TIMER, 4), 3579545);
    sim_clock_set(&f->sim->clock, 10000000000);
    assert_int_equal(reg_read(f, BASE + TIMER, 4), 35795450 & 0xffffff);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_power_off_needs_type_and_enable, setup, teardown),
        cmocka_unit_test_setup_teardown(test_reset, setup, teardown),
        cmocka_unit_test_setup_teardown(test_registers, setup, teardown),
        cmocka_unit_test_setup_teardown(test_timer_counts_24_bits_of_guest_time, setup, teardown),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
