/* The PC's clock: its time, setting it, its memory, interrupts at seconds and alarms. */
#include <time.h>

#include "device_fixture.h"
#include "sim-core/timer.h"

enum { BASE = 0x70, B = 11, C = 12, D = 13, BINARY = 4, HOURS_24 = 2, SET = 0x80, UPDATE = 0x10, ALARM = 0x20 };

static int setup(void **state)
{
    struct fixture *f = sim_new(struct fixture);

    fixture_init(f);
    sim_clock_init(&f->sim->clock, SIM_CLOCK_VIRTUAL); /* 2026-01-01 00:00:00, a Thursday */
    fixture_device(f, "motorola,mc146818", BASE, 2, 1, NULL);
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

static unsigned get(struct fixture *f, unsigned reg)
{
    reg_write(f, BASE, 1, reg);
    return (unsigned)reg_read(f, BASE + 1, 1);
}

static void set(struct fixture *f, unsigned reg, unsigned value)
{
    reg_write(f, BASE, 1, reg);
    reg_write(f, BASE + 1, 1, value);
}

/* Years to seconds as the registers show them. */
static void expect_time(struct fixture *f, const unsigned want[7])
{
    static const unsigned reg[7] = {0x32, 9, 8, 7, 4, 2, 0};

    for (unsigned i = 0; i < 7; i++)
        assert_int_equal(get(f, reg[i]), want[i]);
}

static void at(struct fixture *f, uint64_t seconds)
{
    sim_clock_set(&f->sim->clock, seconds * 1000000000);
}

static void test_time_in_all_codings(void **state)
{
    struct fixture *f = *state;

    at(f, 45 * 86400 + 13 * 3600 + 47 * 60 + 59);
    expect_time(f, (const unsigned[]){0x20, 0x26, 0x02, 0x15, 0x13, 0x47, 0x59});
    assert_int_equal(get(f, 6), 1); /* Sunday */
    set(f, B, BINARY | HOURS_24);
    expect_time(f, (const unsigned[]){20, 26, 2, 15, 13, 47, 59});
    set(f, B, BINARY);
    assert_int_equal(get(f, 4), 0x80 | 1);
    at(f, 0);
    assert_int_equal(get(f, 4), 12);
}

static void test_time_is_set_at_once_when_set_ends(void **state)
{
    struct fixture *f = *state;
    static const unsigned reg[][2] = {{0x32, 0x19}, {9, 0x99}, {8, 0x02}, {7, 0x28}, {4, 0x23}, {2, 0x59}, {0, 0x58}};

    set(f, B, SET | HOURS_24);
    for (unsigned i = 0; i < SIM_ARRAY_LEN(reg); i++)
        set(f, reg[i][0], reg[i][1]);
    at(f, 100); /* stands still meanwhile */
    expect_time(f, (const unsigned[]){0x19, 0x99, 0x02, 0x28, 0x23, 0x59, 0x58});
    set(f, B, HOURS_24);
    at(f, 103);
    expect_time(f, (const unsigned[]){0x19, 0x99, 0x03, 0x01, 0x00, 0x00, 0x01});
}

static void test_memory_and_fixed_registers(void **state)
{
    struct fixture *f = *state;

    for (unsigned reg = 14; reg < 0x32; reg++)
        set(f, reg, reg ^ 0x55);
    set(f, D, 0);
    dev_reset(f->dev);
    for (unsigned reg = 14; reg < 0x32; reg++)
        assert_int_equal(get(f, reg), reg ^ 0x55);
    assert_int_equal(get(f, D), 0x80);
    assert_int_equal(get(f, 10) & 0x80, 0); /* never in the midst of an update */
}

static void run_to(struct fixture *f, uint64_t seconds)
{
    at(f, seconds);
    sim_timers_run(f->sim);
}

static void test_update_interrupt(void **state)
{
    struct fixture *f = *state;

    run_to(f, 1);
    assert_int_equal(get(f, C), 0);
    assert_true(sim_timers_next(f->sim) == VTIME_NEVER); /* nobody wants to know */
    set(f, B, HOURS_24 | UPDATE);
    assert_true(sim_timers_next(f->sim) == 2000000000);
    run_to(f, 2);
    assert_true(f->probe.level & 1);
    assert_int_equal(get(f, C), 0x80 | UPDATE);
    assert_false(f->probe.level & 1);
    assert_int_equal(get(f, C), 0);
    set(f, B, HOURS_24);
    assert_true(sim_timers_next(f->sim) == VTIME_NEVER);
}

static void test_alarm(void **state)
{
    struct fixture *f = *state;

    set(f, 1, 0x30);
    set(f, 3, 0xff);
    set(f, 5, 0xc0);
    set(f, B, HOURS_24 | ALARM);
    run_to(f, 29);
    assert_false(f->probe.level & 1);
    assert_int_equal(get(f, C), UPDATE);
    run_to(f, 30);
    assert_true(f->probe.level & 1);
    assert_int_equal(get(f, C), 0x80 | UPDATE | ALARM);
    dev_reset(f->dev);
    run_to(f, 90);
    assert_false(f->probe.level & 1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_time_in_all_codings, setup, teardown),
        cmocka_unit_test_setup_teardown(test_time_is_set_at_once_when_set_ends, setup, teardown),
        cmocka_unit_test_setup_teardown(test_memory_and_fixed_registers, setup, teardown),
        cmocka_unit_test_setup_teardown(test_update_interrupt, setup, teardown),
        cmocka_unit_test_setup_teardown(test_alarm, setup, teardown),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
