/* The PLIC. Its contexts' lines are the probe's; sources are driven through the driver's inputs. */
#include "device_fixture.h"

enum { BASE = 0xc000000, SIZE = 0x600000, NDEV = 95, CONTEXTS = 4 };

static const struct dev_prop_row props[] = {{"riscv,ndev", NDEV}, {NULL, 0}};

static struct fixture *plic_new(void)
{
    struct fixture *f = sim_new(struct fixture);

    fixture_init(f);
    fixture_device(f, "sifive,plic-1.0.0", BASE, SIZE, CONTEXTS, props);
    return f;
}

static void plic_free(struct fixture *f)
{
    fixture_fini(f);
    sim_free(f);
}

static int setup(void **state)
{
    *state = plic_new();
    return 0;
}

static int teardown(void **state)
{
    plic_free(*state);
    return 0;
}

static void source(struct fixture *f, uint32_t n, bool level)
{
    struct irq_line line = dev_find_driver("riscv,plic0")->input(f->dev, n);

    irq_set(&line, level);
}

static gpa_t priority(uint32_t s)
{
    return BASE + 4 * s;
}

static gpa_t pending(uint32_t s)
{
    return BASE + 0x1000 + s / 32 * 4;
}

static gpa_t enable(uint32_t ctx, uint32_t s)
{
    return BASE + 0x2000 + 0x80 * ctx + s / 32 * 4;
}

static gpa_t threshold(uint32_t ctx)
{
    return BASE + 0x200000 + 0x1000 * ctx;
}

static uint32_t claim(struct fixture *f, uint32_t ctx)
{
    return (uint32_t)reg_read(f, threshold(ctx) + 4, 4);
}

static void complete(struct fixture *f, uint32_t ctx, uint32_t s)
{
    reg_write(f, threshold(ctx) + 4, 4, s);
}

static void allow(struct fixture *f, uint32_t ctx, uint32_t s, uint32_t prio)
{
    reg_write(f, priority(s), 4, prio);
    reg_write(f, enable(ctx, s), 4, reg_read(f, enable(ctx, s), 4) | 1u << (s % 32));
}

static void test_claim_and_complete(void **state)
{
    struct fixture *f = *state;

    allow(f, 1, 10, 1);
    source(f, 10, true);
    assert_true(line_is_high(f, 1));
    assert_int_equal(f->probe.level, 1 << 1);
    assert_int_equal(reg_read(f, pending(10), 4), 1 << 10);
    assert_int_equal(claim(f, 1), 10);
    assert_false(line_is_high(f, 1));
    assert_int_equal(reg_read(f, pending(10), 4), 0);
    assert_int_equal(claim(f, 1), 0);
    source(f, 10, false);
    complete(f, 1, 10);
    assert_false(line_is_high(f, 1));
    source(f, 10, true);
    assert_true(line_is_high(f, 1));
}

static void test_level_repends_on_complete(void **state)
{
    struct fixture *f = *state;

    allow(f, 0, 33, 2);
    source(f, 33, true);
    assert_int_equal(claim(f, 0), 33);
    /* The gateway is shut: an edge in service makes no second request. */
    source(f, 33, false);
    source(f, 33, true);
    assert_false(line_is_high(f, 0));
    complete(f, 0, 33);
    assert_true(line_is_high(f, 0));
    assert_int_equal(claim(f, 0), 33);
    source(f, 33, false);
    complete(f, 0, 33);
    assert_false(line_is_high(f, 0));
}

/* A request that was made stays pending when the line falls before the claim. */
static void test_request_outlives_the_line(void **state)
{
    struct fixture *f = *state;

    allow(f, 0, 5, 1);
    source(f, 5, true);
    source(f, 5, false);
    assert_true(line_is_high(f, 0));
    assert_int_equal(claim(f, 0), 5);
    complete(f, 0, 5);
    assert_false(line_is_high(f, 0));
}

static void test_priority_order_and_threshold(void **state)
{
    struct fixture *f = *state;

    allow(f, 0, 70, 3);
    allow(f, 0, 7, 3);
    allow(f, 0, 64, 5);
    allow(f, 0, 1, 0); /* priority 0 never interrupts */
    source(f, 1, true);
    assert_false(line_is_high(f, 0));
    source(f, 70, true);
    source(f, 7, true);
    source(f, 64, true);
    reg_write(f, threshold(0), 4, 5);
    assert_false(line_is_high(f, 0));
    reg_write(f, threshold(0), 4, 4);
    assert_true(line_is_high(f, 0));
    assert_int_equal(claim(f, 0), 64);
    assert_int_equal(claim(f, 0), 0);
    reg_write(f, threshold(0), 4, 0);
    assert_int_equal(claim(f, 0), 7);
    assert_int_equal(claim(f, 0), 70);
    assert_int_equal(claim(f, 0), 0);
    reg_write(f, priority(1), 4, 1);
    assert_int_equal(claim(f, 0), 1);
}

static void test_one_source_many_contexts(void **state)
{
    struct fixture *f = *state;

    for (uint32_t ctx = 0; ctx < CONTEXTS; ctx++)
        allow(f, ctx, 20, 1);
    source(f, 20, true);
    assert_int_equal(f->probe.level, 0xf);
    assert_int_equal(claim(f, 2), 20);
    assert_int_equal(f->probe.level, 0);
    assert_int_equal(claim(f, 3), 0);
    /* Any context that enables the source may complete it. */
    complete(f, 0, 20);
    assert_int_equal(f->probe.level, 0xf);
    reg_write(f, enable(1, 20), 4, 0);
    assert_int_equal(f->probe.level, 0xd);
    reg_write(f, enable(1, 20), 4, 1 << 20);
    assert_int_equal(f->probe.level, 0xf);
}

static void test_complete_of_disabled_source_is_ignored(void **state)
{
    struct fixture *f = *state;

    allow(f, 0, 9, 1);
    source(f, 9, true);
    assert_int_equal(claim(f, 0), 9);
    reg_write(f, enable(0, 9), 4, 0);
    complete(f, 0, 9);
    reg_write(f, enable(0, 9), 4, 1 << 9);
    assert_false(line_is_high(f, 0));
    complete(f, 0, 9);
    assert_true(line_is_high(f, 0));
    complete(f, 0, 12345);
    complete(f, 0, 0);
}

static void test_registers_hold_what_exists(void **state)
{
    struct fixture *f = *state;

    reg_write(f, priority(95), 4, 0xffffffff);
    assert_int_equal(reg_read(f, priority(95), 4), 7);
    reg_write(f, priority(96), 4, 7);
    assert_int_equal(reg_read(f, priority(96), 4), 0);
    reg_write(f, priority(0), 4, 7);
    assert_int_equal(reg_read(f, priority(0), 4), 0);
    reg_write(f, enable(0, 0), 4, 0xffffffff);
    assert_int_equal(reg_read(f, enable(0, 0), 4), 0xfffffffe);
    reg_write(f, enable(0, 96), 4, 0xffffffff);
    assert_int_equal(reg_read(f, enable(0, 96), 4), 0);
    reg_write(f, threshold(0), 4, 0xffffffff);
    assert_int_equal(reg_read(f, threshold(0), 4), 7);
    reg_write(f, pending(1), 4, 0xffffffff);
    assert_int_equal(reg_read(f, pending(1), 4), 0);
    /* Contexts, sources and words that do not exist read as zero. */
    reg_write(f, enable(CONTEXTS, 1), 4, 0xffffffff);
    assert_int_equal(reg_read(f, enable(CONTEXTS, 1), 4), 0);
    reg_write(f, threshold(CONTEXTS), 4, 1);
    assert_int_equal(reg_read(f, threshold(CONTEXTS) + 4, 4), 0);
    assert_int_equal(reg_read(f, BASE + SIZE - 4, 4), 0);
}

/* Every aligned address and size: no crash; only 4 bytes (or two of them) are decoded. */
static void test_hostile_accesses(void **state)
{
    struct fixture *f = *state;

    for (gpa_t a = BASE; a < BASE + SIZE; a += a < BASE + 0x4000 ? 4 : 0xffc) {
        uint64_t v;
        assert_int_equal(mem_mmio_write(f->space, a, 4, ~0u), MEM_OK);
        assert_int_equal(mem_mmio_read(f->space, a, 4, &v), MEM_OK);
        assert_int_equal(mem_mmio_read(f->space, a, 1, &v), MEM_FAULT);
        assert_int_equal(mem_mmio_write(f->space, a, 2, 1), MEM_FAULT);
    }
    for (uint32_t s = 0; s < 2000; s++) {
        source(f, s, true);
        source(f, s, false);
    }
    while (claim(f, 0))
        ;
}

static void test_state_round_trip(void **state)
{
    struct fixture *a = *state, *b = plic_new();

    allow(a, 0, 10, 1);
    allow(a, 1, 11, 2);
    allow(a, 1, 12, 3);
    reg_write(a, threshold(1), 4, 1);
    source(a, 10, true);
    source(a, 11, true);
    source(a, 12, true);
    assert_int_equal(claim(a, 1), 12);
    assert_int_equal(fixture_copy_state(a, b), SIM_OK);
    assert_int_equal(b->probe.level, 3);
    assert_int_equal(reg_read(b, threshold(1), 4), 1);
    assert_int_equal(claim(b, 1), 11);
    assert_int_equal(claim(b, 0), 10);
    complete(b, 1, 12); /* was claimed before the save; its line is still high */
    assert_int_equal(claim(b, 1), 12);
    source(b, 12, false);
    complete(b, 1, 12);
    assert_int_equal(claim(b, 1), 0);
    plic_free(b);
}

static void test_state_of_other_shape_is_refused(void **state)
{
    struct fixture *a = *state, *b = sim_new(struct fixture);

    fixture_init(b);
    fixture_device(b, "riscv,plic0", BASE, SIZE, CONTEXTS + 1, props);
    assert_int_equal(fixture_copy_state(a, b), SIM_ERR_FORMAT);
    plic_free(b);
    b = sim_new(struct fixture);
    fixture_init(b);
    fixture_device(b, "riscv,plic0", BASE, SIZE, CONTEXTS, (struct dev_prop_row[]){{"riscv,ndev", 9}, {NULL, 0}});
    allow(a, 0, 40, 1);
    assert_int_equal(fixture_copy_state(a, b), SIM_ERR_FORMAT);
    plic_free(b);
}

/* A refused image leaves anything behind; after a reset the device takes its own images again. */
static void test_reset_repairs_what_a_bad_image_left(void **state)
{
    struct fixture *a = *state, *b = sim_new(struct fixture);

    fixture_init(b);
    fixture_device(b, "riscv,plic0", BASE, SIZE, CONTEXTS,
                   (struct dev_prop_row[]){{"riscv,ndev", 9}, {NULL, 0}});
    source(a, 40, true);
    assert_int_equal(fixture_copy_state(a, b), SIM_ERR_FORMAT);
    dev_reset(b->dev);
    assert_int_equal(fixture_copy_state(b, b), SIM_OK);
    plic_free(b);
}

static void test_reset_clears_requests(void **state)
{
    struct fixture *f = *state;

    allow(f, 0, 10, 1);
    source(f, 10, true);
    dev_reset(f->dev);
    assert_false(line_is_high(f, 0));
    assert_int_equal(reg_read(f, priority(10), 4), 0);
    assert_int_equal(reg_read(f, enable(0, 10), 4), 0);
    assert_int_equal(reg_read(f, pending(10), 4), 0);
    allow(f, 0, 10, 1);
    source(f, 10, false);
    source(f, 10, true);
    assert_true(line_is_high(f, 0));
}

static void test_bad_nodes_are_refused(void **state)
{
    struct fixture *f = sim_new(struct fixture);
    struct dev_reg small = {BASE, 0x201000}, whole = {BASE, SIZE};
    struct dev_prop_row many[] = {{"riscv,ndev", 1024}, {NULL, 0}};

    (void)state;
    fixture_init(f);
    assert_int_equal(fixture_try_device(f, "riscv,plic0", &small, 1, 2, props), SIM_ERR_RANGE);
    assert_int_equal(fixture_try_device(f, "riscv,plic0", &whole, 1, 2, many), SIM_ERR_RANGE);
    assert_int_equal(fixture_try_device(f, "riscv,plic0", &whole, 1, 2, NULL), SIM_ERR_RANGE);
    assert_int_equal(fixture_try_device(f, "riscv,plic0", &whole, 0, 2, props), SIM_ERR_INVALID);
    plic_free(f);
}

int main(void)
{
#define T(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
    const struct CMUnitTest tests[] = {
        T(test_claim_and_complete),
        T(test_level_repends_on_complete),
        T(test_request_outlives_the_line),
        T(test_priority_order_and_threshold),
        T(test_one_source_many_contexts),
        T(test_complete_of_disabled_source_is_ignored),
        T(test_registers_hold_what_exists),
        T(test_hostile_accesses),
        T(test_state_round_trip),
        T(test_state_of_other_shape_is_refused),
        T(test_reset_repairs_what_a_bad_image_left),
        T(test_reset_clears_requests),
        T(test_bad_nodes_are_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
