/* Goldfish RTC: time, alarm, interrupt (line 0). */
#include <time.h>

#include "device_fixture.h"
#include "sim-core/timer.h"

enum { BASE = 0x101000, LOW = 0, HIGH = 4, ALARM_LOW = 8, ALARM_HIGH = 0xc, ENABLE = 0x10,
       CLEAR_ALARM = 0x14, STATUS = 0x18, CLEAR_IRQ = 0x1c };

static struct fixture *rtc_new(enum sim_clock_mode mode)
{
    struct fixture *f = sim_new(struct fixture);

    fixture_init(f);
    sim_clock_init(&f->sim->clock, mode);
    fixture_device(f, "google,goldfish-rtc", BASE, 0x1000, 1, NULL);
    return f;
}

static void rtc_free(struct fixture *f)
{
    fixture_fini(f);
    sim_free(f);
}

static int setup(void **state)
{
    *state = rtc_new(SIM_CLOCK_HOST);
    return 0;
}

static int teardown(void **state)
{
    rtc_free(*state);
    return 0;
}

static uint64_t now(struct fixture *f)
{
    uint64_t low = reg_read(f, BASE + LOW, 4);

    return reg_read(f, BASE + HIGH, 4) << 32 | low;
}

static void set_alarm(struct fixture *f, uint64_t t)
{
    reg_write(f, BASE + ALARM_HIGH, 4, t >> 32);
    reg_write(f, BASE + ALARM_LOW, 4, (uint32_t)t);
}

static uint64_t realtime(void)
{
    struct timespec ts;

    clock_gettime(CLOCK_REALTIME, &ts);
    return (uint64_t)ts.tv_sec * 1000000000 + (uint64_t)ts.tv_nsec;
}

static void test_time_is_the_hosts(void **state)
{
    struct fixture *f = *state;
    uint64_t before = realtime(), t = now(f), after = realtime();

    assert_in_range(t, before, after);
}

static void test_low_latches_high(void **state)
{
    struct fixture *f = *state;

    /* 4 s before the high half changes */
    reg_write(f, BASE + HIGH, 4, 100);
    reg_write(f, BASE + LOW, 4, 0xffffffff);
    assert_int_equal(reg_read(f, BASE + HIGH, 4), 0); /* nothing latched yet */
    uint64_t low = reg_read(f, BASE + LOW, 4);
    assert_in_range(reg_read(f, BASE + HIGH, 4), 100, 101);
    reg_write(f, BASE + HIGH, 4, 200);
    assert_in_range(reg_read(f, BASE + HIGH, 4), 100, 101);
    (void)low;
}

static void test_set_time(void **state)
{
    struct fixture *f = *state;
    uint64_t want = 1000000000ull * 123456789;

    reg_write(f, BASE + HIGH, 4, want >> 32);
    reg_write(f, BASE + LOW, 4, (uint32_t)want);
    assert_in_range(now(f), want, want + 10000000000);
}

static void test_alarm_raises_the_line(void **state)
{
    struct fixture *f = *state;

    reg_write(f, BASE + ENABLE, 4, 1);
    uint64_t at = now(f) + 10000000;
    set_alarm(f, at);
    assert_int_equal(reg_read(f, BASE + ALARM_LOW, 4), (uint32_t)at);
    assert_int_equal(reg_read(f, BASE + ALARM_HIGH, 4), at >> 32);
    uint64_t status = reg_read(f, BASE + STATUS, 4);
    bool high = line_is_high(f, 0);
    if (now(f) < at) /* a busy host may have kept us waiting until then */
        assert_true(status == 1 && !high);
    assert_true(line_becomes(f, 0, true));
    assert_true(now(f) >= at);
    assert_int_equal(reg_read(f, BASE + STATUS, 4), 0);
    reg_write(f, BASE + CLEAR_IRQ, 4, 1);
    assert_false(line_is_high(f, 0));
    assert_int_equal(f->probe.edges[0], 1);
}

static void test_alarm_in_the_past_and_masking(void **state)
{
    struct fixture *f = *state;

    set_alarm(f, 1);
    assert_false(line_is_high(f, 0));
    reg_write(f, BASE + ENABLE, 4, 1);
    assert_true(line_is_high(f, 0));
    reg_write(f, BASE + ENABLE, 4, 0);
    assert_false(line_is_high(f, 0));
}

static void test_cleared_alarm_does_not_fire(void **state)
{
    struct fixture *f = *state;

    reg_write(f, BASE + ENABLE, 4, 1);
    time_stands(f);
    set_alarm(f, now(f) + 5000000);
    reg_write(f, BASE + CLEAR_ALARM, 4, 1);
    assert_int_equal(reg_read(f, BASE + STATUS, 4), 0);
    time_goes_on(f);
    poll(NULL, 0, 20);
    assert_false(line_is_high(f, 0));
    set_alarm(f, UINT64_MAX);
    assert_int_equal(reg_read(f, BASE + STATUS, 4), 1);
}

static void test_setting_time_past_the_alarm_fires_it(void **state)
{
    struct fixture *f = *state;
    uint64_t at = now(f) + 3600000000000;

    reg_write(f, BASE + ENABLE, 4, 1);
    set_alarm(f, at);
    reg_write(f, BASE + HIGH, 4, (at >> 32) + 1);
    assert_true(line_is_high(f, 0));
}

static void test_undecoded_accesses_fault(void **state)
{
    struct fixture *f = *state;

    assert_true(reg_faults(f, BASE, 1));
    assert_true(reg_faults(f, BASE + 0x20, 4));
    assert_true(reg_faults(f, BASE + 0xffc, 4));
}

static void test_virtual_clock_repeats(void **state)
{
    struct fixture *f = rtc_new(SIM_CLOCK_VIRTUAL);

    (void)state;
    uint64_t start = now(f);
    assert_int_equal(start, 1767225600000000000);
    reg_write(f, BASE + ENABLE, 4, 1);
    set_alarm(f, start + 1000);
    sim_clock_charge(&f->sim->clock, 999);
    assert_int_equal(now(f), start + 999);
    assert_false(line_is_high(f, 0));
    sim_timers_run(f->sim);
    assert_false(line_is_high(f, 0));
    assert_int_equal(sim_timers_next(f->sim), 1000);
    sim_clock_charge(&f->sim->clock, 1);
    sim_timers_run(f->sim); /* as the executor does */
    assert_true(line_is_high(f, 0));
    rtc_free(f);
}

static void test_state_round_trip(void **state)
{
    struct fixture *a = *state, *b = rtc_new(SIM_CLOCK_HOST);

    reg_write(a, BASE + HIGH, 4, 7);
    reg_write(a, BASE + LOW, 4, 0);
    reg_write(a, BASE + ENABLE, 4, 1);
    uint64_t at = now(a) + 50000000;
    set_alarm(a, at);
    assert_int_equal(fixture_copy_state(a, b), SIM_OK);
    uint64_t status = reg_read(b, BASE + STATUS, 4);
    if (now(b) < at) /* a busy host may have kept us waiting until then */
        assert_int_equal(status, 1);
    assert_int_equal(reg_read(b, BASE + ENABLE, 4), 1);
    assert_in_range(now(b), 7ull << 32, 9ull << 32);
    assert_true(line_becomes(b, 0, true)); /* the timer was armed again */
    rtc_free(b);
    b = rtc_new(SIM_CLOCK_HOST);
    assert_true(line_becomes(a, 0, true));
    assert_int_equal(fixture_copy_state(a, b), SIM_OK);
    assert_true(line_is_high(b, 0)); /* driven by post_load */
    rtc_free(b);
}

static void test_reset_keeps_the_time(void **state)
{
    struct fixture *f = *state;

    reg_write(f, BASE + HIGH, 4, 9);
    reg_write(f, BASE + ENABLE, 4, 1);
    set_alarm(f, 1);
    dev_reset(f->dev);
    assert_false(line_is_high(f, 0));
    assert_int_equal(reg_read(f, BASE + ENABLE, 4), 0);
    assert_in_range(now(f), 9ull << 32, 12ull << 32);
}

int main(void)
{
#define T(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
    const struct CMUnitTest tests[] = {
        T(test_time_is_the_hosts),
        T(test_low_latches_high),
        T(test_set_time),
        T(test_alarm_raises_the_line),
        T(test_alarm_in_the_past_and_masking),
        T(test_cleared_alarm_does_not_fire),
        T(test_setting_time_past_the_alarm_fires_it),
        T(test_undecoded_accesses_fault),
        cmocka_unit_test(test_virtual_clock_repeats),
        T(test_state_round_trip),
        T(test_reset_keeps_the_time),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
