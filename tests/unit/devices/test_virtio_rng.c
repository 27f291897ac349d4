/* virtio-rng over virtio-mmio. */
#include "virtio_driver.h"

#include <stdlib.h>

static int setup(void **state)
{
    struct driver *d = calloc(1, sizeof *d);
    struct virtio_device *v;

    driver_init(d);
    d->qsize = 8;
    assert_int_equal(virtio_rng_create(d->sim, &v), SIM_OK);
    driver_plug(d, v);
    driver_start(d, UINT64_MAX, 1);
    *state = d;
    return 0;
}

static int teardown(void **state)
{
    driver_fini(*state);
    free(*state);
    return 0;
}

static uint32_t ask(struct driver *d, gpa_t at, uint32_t len)
{
    uint32_t got;

    set_desc(d, 0, 0, at, len, D_WRITE, 0);
    offer(d, 0, 0);
    notify(d, 0);
    assert_int_equal(take_used(d, 0, &got), 0);
    return got;
}

static void test_rng_fills(void **state)
{
    struct driver *d = *state;
    uint8_t *p = guest(d, BUFFERS), *q = guest(d, BUFFERS + 0x1000);
    unsigned seen[256] = {0}, kinds = 0;

    assert_int_equal(ask(d, BUFFERS, 1000), 1000);
    assert_int_equal(ask(d, BUFFERS + 0x1000, 1000), 1000);
    assert_memory_not_equal(p, q, 1000);
    assert_int_equal(p[1000], 0);
    for (unsigned i = 0; i < 1000; i++)
        kinds += !seen[p[i]]++;
    assert_true(kinds > 200); /* 251 expected */
}

static void test_rng_gives_part_of_a_huge_request(void **state)
{
    struct driver *d = *state;
    uint32_t got = ask(d, BUFFERS, 4 << 20);

    assert_true(got > 0 && got <= 65536);
}

/* With the virtual clock runs repeat exactly. */
static void test_rng_repeats_with_the_virtual_clock(void **state)
{
    struct driver *d = *state;
    uint8_t first[100];

    sim_clock_init(&d->sim->clock, SIM_CLOCK_VIRTUAL);
    assert_int_equal(ask(d, BUFFERS, 100), 100);
    memcpy(first, guest(d, BUFFERS), 100);
    ask(d, BUFFERS, 100);
    assert_memory_not_equal(first, guest(d, BUFFERS), 100);
    dev_reset(d->slot);
    driver_start(d, UINT64_MAX, 1);
    ask(d, BUFFERS, 100);
    assert_memory_equal(first, guest(d, BUFFERS), 100);
}

static void test_rng_state_survives(void **state)
{
    struct driver *d = *state;
    const struct state_desc *desc = d->slot->ops->state;
    struct state_buf buf = {0};
    uint8_t expected[64];
    size_t used;

    sim_clock_init(&d->sim->clock, SIM_CLOCK_VIRTUAL);
    ask(d, BUFFERS, 64);
    state_save(desc, d->slot, &buf);
    ask(d, BUFFERS, 64);
    memcpy(expected, guest(d, BUFFERS), 64);
    freeze(d);
    dev_reset(d->slot);
    assert_int_equal(state_load(desc, d->slot, buf.data, buf.len, &used), SIM_OK);
    d->seen[0] = d->avail[0] = 1; /* the driver's memory is as it was when saving */
    avail_ring(d, 0)[1] = 1;
    thaw(d);
    ask(d, BUFFERS, 64);
    assert_memory_equal(expected, guest(d, BUFFERS), 64);
    state_buf_fini(&buf);
}

#define RNG_TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        RNG_TEST(test_rng_fills),
        RNG_TEST(test_rng_gives_part_of_a_huge_request),
        RNG_TEST(test_rng_repeats_with_the_virtual_clock),
        RNG_TEST(test_rng_state_survives),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
