/* Guest time in both modes. */
#include "sim_test.h"

#include "sim-core/clock.h"
#include "sim-core/lock.h"

static void test_host_clock_follows_the_host(void **state)
{
    struct sim_clock c;

    (void)state;
    sim_clock_init(&c, SIM_CLOCK_HOST);
    vtime_t a = sim_clock_now(&c);
    poll(NULL, 0, 3);
    vtime_t b = sim_clock_now(&c);
    assert_true(a < 1000000000);
    assert_true(b - a >= 3000000);
    /* instructions and jumps mean nothing here */
    sim_clock_charge(&c, 1000000000000);
    sim_clock_skip_to(&c, UINT64_MAX / 2);
    assert_true(sim_clock_now(&c) < 3600000000000);
    /* a pause is a shifted base */
    c.host_base_ns += 1000000;
    assert_true(sim_clock_now(&c) + 1000000 >= b);
    assert_int_equal(c.host_base_ns + sim_clock_now(&c) <= sim_host_ns(), 1);
}

static void test_virtual_clock_counts_instructions(void **state)
{
    struct sim_clock c;

    (void)state;
    sim_clock_init(&c, SIM_CLOCK_VIRTUAL);
    assert_int_equal(sim_clock_now(&c), 0);
    sim_clock_charge(&c, 12345);
    assert_int_equal(sim_clock_now(&c), 12345);
    poll(NULL, 0, 2);
    assert_int_equal(sim_clock_now(&c), 12345);
}

static void test_virtual_clock_keeps_fractions(void **state)
{
    struct sim_clock c;

    (void)state;
    sim_clock_init(&c, SIM_CLOCK_VIRTUAL);
    c.ps_per_insn = 333;
    for (int i = 0; i < 1000; i++)
        sim_clock_charge(&c, 1);
    assert_int_equal(sim_clock_now(&c), 333);
    sim_clock_charge(&c, 1000000);
    assert_int_equal(sim_clock_now(&c), 333 + 333000);
}

static void test_virtual_clock_skips_forward_only(void **state)
{
    struct sim_clock c;

    (void)state;
    sim_clock_init(&c, SIM_CLOCK_VIRTUAL);
    sim_clock_skip_to(&c, 5000);
    assert_int_equal(sim_clock_now(&c), 5000);
    sim_clock_skip_to(&c, 4000);
    assert_int_equal(sim_clock_now(&c), 5000);
    sim_clock_charge(&c, 1);
    assert_int_equal(sim_clock_now(&c), 5001);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_host_clock_follows_the_host),
        cmocka_unit_test(test_virtual_clock_counts_instructions),
        cmocka_unit_test(test_virtual_clock_keeps_fractions),
        cmocka_unit_test(test_virtual_clock_skips_forward_only),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
