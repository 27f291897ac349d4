/* The PC's IOAPIC: registers, edges and levels, masks, ends of interrupts, and where its messages go. */
#include "device_fixture.h"

enum { BASE = 0xfec00000, WINDOW = BASE + 0x10, END = BASE + 0x40, LEVEL = 1 << 15, MASKED = 1 << 16, LOGICAL = 1 << 11,
       REMOTE_IRR = 1 << 14, NR = 8 };

/* Who listens where local APICs are. */
struct bus {
    struct fixture f;
    struct mem_region region;
    struct {
        uint64_t offset, data;
    } message[NR];
    unsigned nr;
    bool deaf; /* no APIC takes what comes */
};

static bool bus_read(void *opaque, uint64_t offset, unsigned size, uint64_t *value)
{
    (void)opaque, (void)offset, (void)size, (void)value;
    return false;
}

static bool bus_write(void *opaque, uint64_t offset, unsigned size, uint64_t value)
{
    struct bus *b = opaque;

    assert_int_equal(size, 4);
    assert_true(b->nr < NR);
    b->message[b->nr].offset = offset;
    b->message[b->nr++].data = value;
    return !b->deaf;
}

static const struct mem_ops bus_ops = {.read = bus_read, .write = bus_write};

static int setup(void **state)
{
    struct bus *b = sim_new(struct bus);

    fixture_init(&b->f);
    fixture_device(&b->f, "intel,ce4100-ioapic", BASE, 0x1000, 0, NULL);
    b->region = (struct mem_region){.name = "bus", .base = 0xfee00000, .size = 0x100000, .ops = &bus_ops, .opaque = b};
    assert_int_equal(mem_add_mmio(b->f.space, &b->region), SIM_OK);
    *state = b;
    return 0;
}

static int teardown(void **state)
{
    struct bus *b = *state;

    fixture_fini(&b->f);
    sim_free(b);
    return 0;
}

static uint32_t get(struct bus *b, unsigned reg)
{
    reg_write(&b->f, BASE, 4, reg);
    return (uint32_t)reg_read(&b->f, WINDOW, 4);
}

static void set(struct bus *b, unsigned reg, uint32_t value)
{
    reg_write(&b->f, BASE, 4, reg);
    reg_write(&b->f, WINDOW, 4, value);
}

static void route(struct bus *b, unsigned pin, uint32_t entry, uint8_t dest)
{
    set(b, 0x11 + 2 * pin, (uint32_t)dest << 24);
    set(b, 0x10 + 2 * pin, entry);
}

static void line(struct bus *b, unsigned pin, bool level)
{
    struct irq_line l = dev_find_driver("intel,ce4100-ioapic")->input(b->f.dev, pin);

    irq_set(&l, level);
}

static void test_registers(void **state)
{
    struct bus *b = *state;

    assert_int_equal(get(b, 1), 23 << 16 | 0x20);
    assert_int_equal(get(b, 0x10), MASKED);
    set(b, 0, UINT32_MAX);
    assert_int_equal(get(b, 0), 0xf000000);
    set(b, 0x3f, UINT32_MAX);
    assert_int_equal(get(b, 0x3f), 0xff000000);
    set(b, 0x40, UINT32_MAX); /* there is no such pin */
    assert_int_equal(get(b, 0x40), 0);
    assert_null(dev_find_driver("intel,ce4100-ioapic")->input(b->f.dev, 24).set);
}

static void test_an_edge_is_one_message(void **state)
{
    struct bus *b = *state;

    route(b, 4, 0x41, 3);
    line(b, 4, true);
    line(b, 4, true);
    line(b, 4, false);
    assert_int_equal(b->nr, 1);
    assert_int_equal(b->message[0].offset, 3 << 12);
    assert_int_equal(b->message[0].data, 1 << 14 | 0x41);
    line(b, 4, true);
    assert_int_equal(b->nr, 2);
}

static void test_an_edge_while_masked_is_lost(void **state)
{
    struct bus *b = *state;

    route(b, 4, 0x41 | MASKED, 0);
    line(b, 4, true);
    route(b, 4, 0x41, 0);
    assert_int_equal(b->nr, 0);
}

static void test_a_level_interrupts_until_it_falls(void **state)
{
    struct bus *b = *state;

    route(b, 16, 0x50 | LEVEL | LOGICAL, 0x81);
    line(b, 16, true);
    assert_int_equal(b->message[0].offset, 0x81 << 12 | 4);
    assert_int_equal(b->message[0].data, LEVEL | 1 << 14 | 0x50);
    assert_true(get(b, 0x30) & REMOTE_IRR);
    line(b, 16, false);
    line(b, 16, true); /* still served */
    assert_int_equal(b->nr, 1);
    reg_write(&b->f, END, 4, 0x51); /* another's */
    assert_int_equal(b->nr, 1);
    reg_write(&b->f, END, 4, 0x50);
    assert_int_equal(b->nr, 2);
    line(b, 16, false);
    reg_write(&b->f, END, 4, 0x50);
    assert_int_equal(b->nr, 2);
    assert_false(get(b, 0x30) & REMOTE_IRR);
}

static void test_a_level_waits_for_its_mask(void **state)
{
    struct bus *b = *state;

    route(b, 16, 0x50 | LEVEL | MASKED, 0);
    line(b, 16, true);
    assert_int_equal(b->nr, 0);
    route(b, 16, 0x50 | LEVEL, 0);
    assert_int_equal(b->nr, 1);
}

/* A level that no CPU has taken is not under way: no end of interrupt will come, and its next rise is sent. */
static void regress_6_nobody_takes_a_level(void **state)
{
    struct bus *b = *state;

    b->deaf = true;
    route(b, 16, 0x50 | LEVEL, 0);
    line(b, 16, true);
    assert_int_equal(b->nr, 1);
    assert_false(get(b, 0x30) & REMOTE_IRR);
    line(b, 16, false);
    b->deaf = false;
    line(b, 16, true);
    assert_int_equal(b->nr, 2);
    assert_true(get(b, 0x30) & REMOTE_IRR);
}

static void test_state(void **state)
{
    struct bus *b = *state;

    route(b, 16, 0x50 | LEVEL, 9);
    line(b, 16, true);
    assert_int_equal(fixture_copy_state(&b->f, &b->f), SIM_OK);
    assert_true(get(b, 0x30) & REMOTE_IRR);
    reg_write(&b->f, END, 4, 0x50);
    assert_int_equal(b->nr, 2);
    dev_reset(b->f.dev);
    assert_int_equal(get(b, 0x30), MASKED);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_registers, setup, teardown),
        cmocka_unit_test_setup_teardown(test_an_edge_is_one_message, setup, teardown),
        cmocka_unit_test_setup_teardown(test_an_edge_while_masked_is_lost, setup, teardown),
        cmocka_unit_test_setup_teardown(test_a_level_interrupts_until_it_falls, setup, teardown),
        cmocka_unit_test_setup_teardown(test_a_level_waits_for_its_mask, setup, teardown),
        cmocka_unit_test_setup_teardown(regress_6_nobody_takes_a_level, setup, teardown),
        cmocka_unit_test_setup_teardown(test_state, setup, teardown),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
