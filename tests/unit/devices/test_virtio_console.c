/* virtio-console over virtio-mmio and the "mem" chardev. */
#include "virtio_driver.h"

#include <stdlib.h>

enum { RX, TX };

struct fixture {
    struct driver d;
    struct chardev *c;
};

static int setup(void **state)
{
    struct fixture *f = calloc(1, sizeof *f);
    struct virtio_device *v;

    driver_init(&f->d);
    assert_int_equal(chardev_create(f->d.sim, "mem", &f->c), SIM_OK);
    assert_int_equal(virtio_console_create(f->d.sim, f->c, &v), SIM_OK);
    driver_plug(&f->d, v);
    driver_start(&f->d, UINT64_MAX, 2);
    *state = f;
    return 0;
}

static int teardown(void **state)
{
    struct fixture *f = *state;

    dev_destroy(f->d.slot);
    chardev_destroy(f->c);
    mem_space_destroy(f->d.space);
    sim_destroy(f->d.sim);
    free(f);
    return 0;
}

static void put_text(struct driver *d, uint16_t head, gpa_t at, const char *text)
{
    memcpy(guest(d, at), text, strlen(text));
    set_desc(d, TX, head, at, (uint32_t)strlen(text), 0, 0);
}

static void give_rx(struct driver *d, uint16_t i, uint32_t len)
{
    set_desc(d, RX, i, BUFFERS + 0x10000 + i * 0x100u, len, D_WRITE, 0);
    offer(d, RX, i);
    notify(d, RX);
}

static void expect_input(struct driver *d, const char *text)
{
    uint32_t len, i = take_used(d, RX, &len);

    assert_int_equal(len, strlen(text));
    assert_memory_equal(guest(d, BUFFERS + 0x10000 + i * 0x100), text, len);
}

static void test_console_writes(void **state)
{
    struct fixture *f = *state;
    struct driver *d = &f->d;
    size_t len;

    assert_int_equal(reg_read(d, 8), 3);
    put_text(d, 0, BUFFERS, "hello ");
    put_text(d, 1, BUFFERS + 100, "world");
    set_desc(d, TX, 2, BUFFERS, 5, D_NEXT, 3);
    set_desc(d, TX, 3, BUFFERS + 100, 2, 0, 0);
    offer(d, TX, 0);
    offer(d, TX, 1);
    offer(d, TX, 2);
    notify(d, TX);
    for (unsigned i = 0; i < 3; i++)
        assert_int_equal(take_used(d, TX, NULL), i);
    WAIT_FOR(strcmp(chardev_mem_text(f->c, &len), "hello worldhellowo") == 0);
}

static void test_console_reads(void **state)
{
    struct fixture *f = *state;
    struct driver *d = &f->d;

    give_rx(d, 0, 64);
    chardev_inject(f->c, (const uint8_t *)"abc", 3);
    expect_input(d, "abc");
    WAIT_FOR(reg_read(d, 0x60) == 1);
    chardev_inject(f->c, (const uint8_t *)"defghij", 7); /* no buffer yet */
    give_rx(d, 1, 4);
    expect_input(d, "defg");
    give_rx(d, 2, 4);
    expect_input(d, "hij");
}

/* More than the device and one buffer hold: all of it comes, in order. */
static void test_console_reads_a_flood(void **state)
{
    struct fixture *f = *state;
    struct driver *d = &f->d;
    static uint8_t text[20000];
    size_t got = 0;
    uint16_t slot = 0;

    for (size_t i = 0; i < sizeof text; i++)
        text[i] = (uint8_t)(i ^ i >> 8);
    chardev_inject(f->c, text, sizeof text);
    while (got < sizeof text) {
        uint32_t len;
        give_rx(d, slot, 0x100);
        uint32_t i = take_used(d, RX, &len);
        assert_memory_equal(guest(d, BUFFERS + 0x10000 + i * 0x100), text + got, len);
        got += len;
        slot = (uint16_t)((slot + 1) % QSIZE);
    }
    assert_int_equal(got, sizeof text);
}

static void test_console_input_waits_for_the_driver(void **state)
{
    struct fixture *f = *state;
    struct driver *d = &f->d;

    reg_write(d, 0x70, 0);
    chardev_inject(f->c, (const uint8_t *)"early", 5);
    for (unsigned i = 0; i < 1000; i++)
        sim_thread_yield();
    driver_start(d, UINT64_MAX, 2);
    give_rx(d, 0, 64);
    expect_input(d, "early");
}

static void test_console_state_survives(void **state)
{
    struct fixture *f = *state;
    struct driver *d = &f->d;
    const struct state_desc *desc = d->slot->ops->state;
    struct state_buf buf = {0};
    size_t used;

    chardev_inject(f->c, (const uint8_t *)"waiting", 7);
    give_rx(d, 0, 3);
    expect_input(d, "wai"); /* "ting" is inside the device */
    freeze(d);
    state_save(desc, d->slot, &buf);
    dev_reset(d->slot);
    assert_int_equal(state_load(desc, d->slot, buf.data, buf.len, &used), SIM_OK);
    thaw(d);
    give_rx(d, 1, 64);
    expect_input(d, "ting");
    state_buf_fini(&buf);
}

static void test_console_hostile_chains(void **state)
{
    struct fixture *f = *state;
    struct driver *d = &f->d;
    gpa_t table = BUFFERS + 0x200000;

    for (unsigned i = 0; i < 500; i++) /* 3 GB of output in one chain */
        set_desc_at(d, table, i, RAM_BASE, 6 << 20, i < 499 ? D_NEXT : 0, (uint16_t)(i + 1));
    set_desc(d, TX, 0, table, 500 * 16, D_INDIRECT, 0);
    offer(d, TX, 0);
    uint64_t start = sim_host_ns();
    notify(d, TX);
    assert_int_equal(take_used(d, TX, NULL), 0);
    assert_true(sim_host_ns() - start < 2000000000u);
    set_desc(d, RX, 0, BUFFERS, 16, 0, 0); /* a receive buffer that is readable only */
    offer(d, RX, 0);
    notify(d, RX);
    chardev_inject(f->c, (const uint8_t *)"x", 1);
    take_used(d, RX, NULL);
    give_rx(d, 1, 8);
    expect_input(d, "x");
}

#define CONSOLE_TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        CONSOLE_TEST(test_console_writes),
        CONSOLE_TEST(test_console_reads),
        CONSOLE_TEST(test_console_reads_a_flood),
        CONSOLE_TEST(test_console_input_waits_for_the_driver),
        CONSOLE_TEST(test_console_state_survives),
        CONSOLE_TEST(test_console_hostile_chains),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
