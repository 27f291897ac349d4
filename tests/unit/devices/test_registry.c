/* Finding drivers, and the device for nodes that have none. */
#include "device_fixture.h"

static void test_find_driver(void **state)
{
    static const char *const known[] = {
        "ns16550a", "sifive,test0", "sifive,test1", "google,goldfish-rtc", "sifive,clint0",
        "riscv,clint0", "riscv,aclint-mswi", "riscv,aclint-mtimer", "riscv,aclint-sswi",
        "sifive,plic-1.0.0", "riscv,plic0",
    };

    (void)state;
    for (size_t i = 0; i < SIM_ARRAY_LEN(known); i++)
        assert_non_null(dev_find_driver(known[i]));
    assert_null(dev_find_driver("ns16550abc"));
    assert_null(dev_find_driver(""));
}

static void test_every_driver_is_complete(void **state)
{
    (void)state;
    for (const struct dev_driver *const *d = dev_drivers(); *d; d++) {
        assert_non_null((*d)->create);
        assert_non_null((*d)->compatible[0]);
        assert_ptr_equal(dev_find_driver((*d)->compatible[0]), *d);
    }
}

static void test_unimplemented_reads_as_zero(void **state)
{
    struct fixture f;
    struct dev_reg reg[] = {{0x5000, 0x10}, {0x7000, 0x1000}};

    (void)state;
    fixture_init(&f);
    struct dev_args args = {
        .sim = f.sim, .space = f.space, .label = "mystery@5000", .reg = reg, .nr_reg = 2};
    assert_int_equal(unimplemented_create(&args, &f.dev), SIM_OK);
    for (unsigned size = 1; size <= 8; size *= 2) {
        reg_write(&f, 0x5008, size, ~0ull);
        assert_int_equal(reg_read(&f, 0x5008, size), 0);
        assert_int_equal(reg_read(&f, 0x7ff8, size), 0);
    }
    assert_true(reg_faults(&f, 0x5010, 4));
    assert_int_equal(fixture_copy_state(&f, &f), SIM_OK);
    fixture_fini(&f);
}

/* Of two ranges the second overlaps: the first must not stay behind. */
static void test_unimplemented_overlap_leaves_nothing(void **state)
{
    struct fixture f;
    struct dev_reg reg[] = {{0x5000, 0x1000}, {0x8800, 0x1000}};

    (void)state;
    fixture_init(&f);
    fixture_device(&f, "sifive,test0", 0x8000, 0x1000, 0, NULL);
    struct dev_args args = {
        .sim = f.sim, .space = f.space, .label = "mystery@5000", .reg = reg, .nr_reg = 2};
    struct device *d = NULL;
    assert_int_equal(unimplemented_create(&args, &d), SIM_ERR_INVALID);
    assert_null(d);
    assert_null(mem_find(f.space, 0x5000));
    fixture_fini(&f);
}

/* A device whose registers overlap another's is refused and leaks nothing. */
static void test_overlapping_devices_are_refused(void **state)
{
    static const char *const kinds[] = {"ns16550a", "sifive,test0", "google,goldfish-rtc",
                                        "sifive,clint0", "riscv,plic0"};
    static const struct dev_prop_row props[] = {{"riscv,ndev", 10}, {NULL, 0}};
    struct fixture f;

    (void)state;
    fixture_init(&f);
    fixture_device(&f, "sifive,test0", 0x8000, 0x1000, 0, NULL);
    struct device *first = f.dev;
    struct dev_reg reg = {0x8000, 0x600000};
    for (size_t i = 0; i < SIM_ARRAY_LEN(kinds); i++)
        assert_int_equal(fixture_try_device(&f, kinds[i], &reg, 1, 2, props), SIM_ERR_INVALID);
    assert_ptr_equal(f.dev, first);
    dev_destroy(NULL);
    fixture_fini(&f);
}

/* --- every driver against a guest that means harm --- */

static uint64_t next_random(uint64_t *r)
{
    *r ^= *r << 13;
    *r ^= *r >> 7;
    *r ^= *r << 17;
    return *r;
}

/* Registers stand at the ends of ranges and in their first pages. */
static uint64_t random_offset(uint64_t *r, uint64_t size)
{
    static const uint64_t near[] = {0, 0x1000, 0x2000, 0x4000, 0xbff0, 0x200000, 0x201000};
    uint64_t x = next_random(r);

    if (x % 4 == 0)
        return next_random(r) % size;
    return (near[x / 4 % SIM_ARRAY_LEN(near)] + (x >> 32) % 0x100) % size;
}

static void poke(struct fixture *f, const struct dev_reg *reg, uint64_t *r)
{
    gpa_t gpa = reg->base + random_offset(r, reg->size);
    unsigned size = 1u << next_random(r) % 4;
    uint64_t v = next_random(r) % 3 ? next_random(r) : next_random(r) % 256;

    /* MEM_FAULT is as good as MEM_OK: what counts is that nothing breaks */
    if (next_random(r) % 2)
        (void)mem_mmio_write(f->space, gpa, size, v);
    else
        (void)mem_mmio_read(f->space, gpa, size, &v);
}

static void torment(const char *compatible)
{
    static const struct dev_prop_row props[] = {{"riscv,ndev", 95}, {NULL, 0}};
    struct dev_reg reg[2] = {{0x10000000, 0x600000}, {0x20000000, 0x8000}};
    uint64_t r = 88172645463325252;
    struct fixture f, g;

    fixture_init(&f);
    fixture_init(&g);
    /* A driver that needs more than ranges and lines may refuse. */
    if (fixture_try_device(&f, compatible, reg, 2, 8, props) == SIM_OK) {
        assert_int_equal(fixture_try_device(&g, compatible, reg, 2, 8, props), SIM_OK);
        for (unsigned i = 0; i < 50000; i++)
            poke(&f, &reg[i % 2], &r);
        /* Whatever state a guest can reach can be saved and restored. */
        assert_int_equal(fixture_copy_state(&f, &g), SIM_OK);
        dev_reset(f.dev);
        for (unsigned i = 0; i < 64; i++)
            assert_false(line_is_high(&f, i));
    }
    fixture_fini(&f);
    fixture_fini(&g);
}

static void test_hostile_accesses(void **state)
{
    (void)state;
    for (const struct dev_driver *const *d = dev_drivers(); *d; d++)
        for (const char *const *c = (*d)->compatible; *c; c++)
            torment(*c);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_find_driver),
        cmocka_unit_test(test_every_driver_is_complete),
        cmocka_unit_test(test_unimplemented_reads_as_zero),
        cmocka_unit_test(test_unimplemented_overlap_leaves_nothing),
        cmocka_unit_test(test_overlapping_devices_are_refused),
        cmocka_unit_test(test_hostile_accesses),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
