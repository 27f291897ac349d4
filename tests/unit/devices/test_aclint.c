/* CLINT and ACLINT: software interrupts and the machine timer, at 10 MHz. */
#include "device_fixture.h"
#include "sim-core/timer.h"

enum { BASE = 0x2000000, MTIMECMP = 0x4000, MTIME = 0xbff8, HZ = 10000000 };

/* Three harts: lines 0, 2, 4 are MSIP, 1, 3, 5 are MTIP. */
static struct fixture *clint_new(void)
{
    struct fixture *f = sim_new(struct fixture);

    fixture_init(f);
    fixture_device(f, "sifive,clint0", BASE, 0x10000, 6, NULL);
    return f;
}

static void clint_free(struct fixture *f)
{
    fixture_fini(f);
    sim_free(f);
}

static int setup(void **state)
{
    *state = clint_new();
    return 0;
}

static int teardown(void **state)
{
    clint_free(*state);
    return 0;
}

static void set_cmp(struct fixture *f, unsigned hart, uint64_t value)
{
    reg_write(f, BASE + MTIMECMP + 8 * hart, 8, value);
}

static uint64_t mtime(struct fixture *f)
{
    return reg_read(f, BASE + MTIME, 8);
}

static void test_msip_drives_its_line(void **state)
{
    struct fixture *f = *state;

    reg_write(f, BASE + 4, 4, 0xffffffff);
    assert_int_equal(f->probe.level, 1 << 2);
    assert_int_equal(reg_read(f, BASE + 4, 4), 1);
    reg_write(f, BASE + 4, 4, 0xfffffffe);
    assert_int_equal(f->probe.level, 0);
    assert_int_equal(reg_read(f, BASE + 4, 4), 0);
    reg_write(f, BASE + 3 * 4, 4, 1); /* a hart that does not exist */
    assert_int_equal(f->probe.level, 0);
    assert_int_equal(reg_read(f, BASE + 3 * 4, 4), 0);
}

static void test_mtime_counts_guest_time(void **state)
{
    struct fixture *f = *state;
    uint64_t ns = sim_clock_now(&f->sim->clock), ticks = mtime(f);

    assert_true(ticks >= ns / 100);
    assert_true(ticks <= sim_clock_now(&f->sim->clock) / 100);
    poll(NULL, 0, 2);
    assert_true(mtime(f) >= ticks + 2 * HZ / 1000);
}

static void test_timer_fires_in_time(void **state)
{
    struct fixture *f = *state;

    assert_false(line_is_high(f, 1));
    time_stands(f);
    set_cmp(f, 0, mtime(f) + HZ / 100);
    assert_false(line_is_high(f, 1));
    uint64_t start = sim_host_ns();
    time_goes_on(f);
    assert_true(line_becomes(f, 1, true));
    assert_true(sim_host_ns() - start >= 9000000);
    assert_true(mtime(f) >= reg_read(f, BASE + MTIMECMP, 8));
    set_cmp(f, 0, UINT64_MAX);
    assert_false(line_is_high(f, 1));
    set_cmp(f, 0, 0);
    assert_true(line_is_high(f, 1));
    assert_false(line_is_high(f, 3));
}

static void test_timer_moved_away_does_not_fire(void **state)
{
    struct fixture *f = *state;

    time_stands(f);
    set_cmp(f, 1, mtime(f) + HZ / 200);
    set_cmp(f, 1, mtime(f) + HZ * 1000ull);
    set_cmp(f, 2, mtime(f) + HZ / 100);
    time_goes_on(f);
    assert_true(line_becomes(f, 5, true));
    assert_int_equal(f->probe.edges[3], 0);
}

/* RV32 style: high half to all ones, low half, high half. */
static void test_halves(void **state)
{
    struct fixture *f = *state;
    uint64_t cmp = mtime(f) + HZ / 500;

    reg_write(f, BASE + MTIMECMP + 4, 4, 0xffffffff);
    reg_write(f, BASE + MTIMECMP, 4, (uint32_t)cmp);
    assert_false(line_is_high(f, 1));
    reg_write(f, BASE + MTIMECMP + 4, 4, cmp >> 32);
    assert_int_equal(reg_read(f, BASE + MTIMECMP, 8), cmp);
    assert_int_equal(reg_read(f, BASE + MTIMECMP + 4, 4), cmp >> 32);
    assert_int_equal(reg_read(f, BASE + MTIME + 4, 4), mtime(f) >> 32);
    assert_true(line_becomes(f, 1, true));
}

static void test_mtime_can_be_set(void **state)
{
    struct fixture *f = *state;

    set_cmp(f, 0, 0x100000000ull);
    time_stands(f);
    reg_write(f, BASE + MTIME, 8, 0x100000000ull - HZ / 100);
    assert_false(line_is_high(f, 1));
    time_goes_on(f);
    assert_true(line_becomes(f, 1, true));
    assert_in_range(mtime(f), 0x100000000ull, 0x100000000ull + 60ull * HZ);
    reg_write(f, BASE + MTIME, 8, 0);
    assert_false(line_is_high(f, 1));
    reg_write(f, BASE + MTIME + 4, 4, 1);
    assert_true(line_is_high(f, 1));
    time_stands(f); /* it is about to go round */
    reg_write(f, BASE + MTIME, 8, UINT64_MAX - 10);
    assert_true(line_is_high(f, 1));
    time_goes_on(f);
}

static void test_far_and_wrapping_deadlines(void **state)
{
    struct fixture *f = *state;

    reg_write(f, BASE + MTIME, 8, 1ull << 63);
    set_cmp(f, 0, UINT64_MAX - 1);
    set_cmp(f, 1, 1);
    assert_false(line_is_high(f, 1));
    assert_true(line_is_high(f, 3));
}

static void test_undecoded_accesses_fault(void **state)
{
    struct fixture *f = *state;
    uint64_t v;

    assert_true(reg_faults(f, BASE, 1));
    assert_true(reg_faults(f, BASE, 8));
    assert_true(reg_faults(f, BASE + MTIMECMP, 2));
    assert_true(reg_faults(f, BASE + MTIME, 1));
    assert_true(reg_faults(f, BASE + MTIME + 8, 8));
    for (gpa_t a = BASE; a < BASE + 0x10000; a += 4) {
        (void)mem_mmio_write(f->space, a, 4, ~0u);
        (void)mem_mmio_read(f->space, a, 4, &v);
        (void)mem_mmio_write(f->space, a & ~7ull, 8, ~0ull);
    }
}

static void test_aclint_parts(void **state)
{
    struct fixture *f = sim_new(struct fixture);
    struct dev_reg mtimer[] = {{BASE + 0xbff8, 0x4008}, {BASE + 0x4000, 0x7ff8}};
    struct device *mswi, *sswi, *timer;

    (void)state;
    fixture_init(f);
    fixture_device(f, "riscv,aclint-mswi", BASE, 0x4000, 2, NULL);
    mswi = f->dev;
    reg_write(f, BASE + 4, 4, 1);
    assert_int_equal(f->probe.level, 2);
    reg_write(f, BASE + 4, 4, 0);
    fixture_device(f, "riscv,aclint-sswi", 0x2f00000, 0x4000, 2, NULL);
    sswi = f->dev;
    reg_write(f, 0x2f00004, 4, 1);
    reg_write(f, 0x2f00004, 4, 0);
    reg_write(f, 0x2f00008, 4, 1);
    assert_int_equal(f->probe.edges[1], 2);
    assert_int_equal(f->probe.level, 0);
    assert_int_equal(reg_read(f, 0x2f00004, 4), 0);
    assert_int_equal(fixture_try_device(f, "riscv,aclint-mtimer", mtimer, 2, 2, NULL), SIM_OK);
    timer = f->dev;
    reg_write(f, BASE + 0x4008, 8, reg_read(f, BASE + 0xbff8, 8) + 1000);
    assert_true(line_becomes(f, 1, true));
    dev_reset(timer);
    assert_false(line_is_high(f, 1));
    fixture_fini(f);
    dev_destroy(mswi);
    dev_destroy(sswi);
    sim_free(f);
}

static void test_aclint_with_4095_harts(void **state)
{
    struct fixture *f = sim_new(struct fixture);
    struct dev_reg reg = {BASE, 0x10000};
    struct irq_line *lines = sim_new_array(struct irq_line, 2 * 4096);
    struct dev_args args = {.reg = &reg, .nr_reg = 1, .irq = lines, .nr_irq = 2 * 4095};

    (void)state;
    fixture_init(f);
    lines[2 * 4094] = irq_probe_line(&f->probe, 0);
    lines[2 * 4094 + 1] = irq_probe_line(&f->probe, 1);
    args.sim = f->sim;
    args.space = f->space;
    args.label = "clint";
    args.timebase_hz = HZ;
    assert_int_equal(dev_find_driver("riscv,clint0")->create(&args, &f->dev), SIM_OK);
    reg_write(f, BASE + 4 * 4094, 4, 1);
    assert_true(line_is_high(f, 0));
    for (unsigned i = 0; i < 4095; i++)
        set_cmp(f, i, mtime(f) + 100 + i);
    assert_true(line_becomes(f, 1, true));
    clint_free(f);
    f = sim_new(struct fixture);
    fixture_init(f);
    args.sim = f->sim;
    args.space = f->space;
    args.nr_irq = 2 * 4096;
    assert_int_equal(dev_find_driver("riscv,clint0")->create(&args, &f->dev), SIM_ERR_RANGE);
    clint_free(f);
    sim_free(lines);
}

static void test_virtual_clock(void **state)
{
    struct fixture *f = sim_new(struct fixture);

    (void)state;
    fixture_init(f);
    sim_clock_init(&f->sim->clock, SIM_CLOCK_VIRTUAL);
    fixture_device(f, "sifive,clint0", BASE, 0x10000, 6, NULL);
    assert_int_equal(mtime(f), 0);
    set_cmp(f, 2, 20);
    set_cmp(f, 0, 10);
    assert_int_equal(sim_timers_next(f->sim), 1000);
    sim_clock_skip_to(&f->sim->clock, 999);
    sim_timers_run(f->sim);
    assert_int_equal(f->probe.level, 0);
    sim_clock_charge(&f->sim->clock, 1);
    sim_timers_run(f->sim);
    assert_int_equal(f->probe.level, 1 << 1);
    assert_int_equal(mtime(f), 10);
    assert_int_equal(sim_timers_next(f->sim), 2000);
    set_cmp(f, 2, UINT64_MAX);
    assert_int_equal(sim_timers_next(f->sim), VTIME_NEVER);
    clint_free(f);
}

static void test_state_round_trip(void **state)
{
    struct fixture *a = *state, *b = clint_new();

    reg_write(a, BASE + 8, 4, 1);
    reg_write(a, BASE + MTIME, 8, 5000ull * HZ);
    set_cmp(a, 0, 4000ull * HZ);
    set_cmp(a, 1, 5000ull * HZ + HZ / 20);
    set_cmp(a, 2, 6000ull * HZ);
    assert_int_equal(fixture_copy_state(a, b), SIM_OK);
    assert_true(line_is_high(b, 4));
    assert_true(line_is_high(b, 1));
    assert_false(line_is_high(b, 5));
    assert_int_equal(reg_read(b, BASE + 8, 4), 1);
    assert_int_equal(reg_read(b, BASE + MTIMECMP + 16, 8), 6000ull * HZ);
    assert_in_range(mtime(b), 4990ull * HZ, 5900ull * HZ);
    assert_true(line_becomes(b, 3, true)); /* the timer was armed again */
    clint_free(b);
}

static void test_reset(void **state)
{
    struct fixture *f = *state;

    reg_write(f, BASE, 4, 1);
    set_cmp(f, 0, 0);
    set_cmp(f, 1, mtime(f) + HZ / 200);
    dev_reset(f->dev);
    assert_int_equal(f->probe.level, 0);
    assert_int_equal(reg_read(f, BASE, 4), 0);
    poll(NULL, 0, 10);
    assert_int_equal(f->probe.level, 0);
}

int main(void)
{
#define T(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
    const struct CMUnitTest tests[] = {
        T(test_msip_drives_its_line),
        T(test_mtime_counts_guest_time),
        T(test_timer_fires_in_time),
        T(test_timer_moved_away_does_not_fire),
        T(test_halves),
        T(test_mtime_can_be_set),
        T(test_far_and_wrapping_deadlines),
        T(test_undecoded_accesses_fault),
        cmocka_unit_test(test_aclint_parts),
        cmocka_unit_test(test_aclint_with_4095_harts),
        cmocka_unit_test(test_virtual_clock),
        T(test_state_round_trip),
        T(test_reset),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
