/* Notifications by eventfd, with a host of our own that only remembers which eventfd is whose: they are served without the vCPU, before
 * the device is saved, and not after a reset. */
#include "virtio_driver.h"

#include <errno.h>
#include <stdlib.h>
#include <unistd.h>

struct bench {
    struct driver d;
    struct virtio_device *v;
    int fd;           /* of queue 0, while it hangs; else -1 */
    unsigned nr_set;
};

/* The host's kernel: `fd` is told of writes of `value` at that place. */
static bool set(void *opaque, gpa_t gpa, unsigned size, uint64_t value, int eventfd, bool on)
{
    struct bench *b = opaque;

    assert_int_equal(gpa, SLOT_BASE + 0x50);
    assert_int_equal(size, 4);
    if (value > 0) { /* it has one left */
        errno = ENOSPC;
        return false;
    }
    b->fd = on ? eventfd : -1;
    b->nr_set++;
    return true;
}

static const struct mem_doorbell_ops ops = {.set = set};

static int setup(void **state)
{
    struct bench *b = calloc(1, sizeof *b);

    b->fd = -1;
    driver_init(&b->d);
    b->d.qsize = 8;
    mem_set_doorbells(b->d.space, &ops, b);
    assert_int_equal(virtio_rng_create(b->d.sim, &b->v), SIM_OK);
    driver_plug(&b->d, b->v);
    *state = b;
    return 0;
}

static int teardown(void **state)
{
    struct bench *b = *state;

    driver_fini(&b->d);
    assert_int_equal(b->fd, -1); /* taken down */
    free(b);
    return 0;
}

static void start(struct bench *b)
{
    assert_int_equal(virtio_mmio_use_doorbells(b->d.slot), SIM_OK);
    assert_int_equal(b->nr_set, 1);
    driver_start(&b->d, UINT64_MAX, 1);
}

/* What the host's kernel does when the guest notifies. */
static void ring(struct bench *b)
{
    const uint64_t one = 1;

    set_desc(&b->d, 0, 0, BUFFERS, 100, D_WRITE, 0);
    offer(&b->d, 0, 0);
    assert_int_equal(write(b->fd, &one, sizeof one), sizeof one);
}

static void test_a_bell_is_served(void **state)
{
    struct bench *b = *state;
    uint32_t got;

    start(b);
    ring(b);
    assert_int_equal(take_used(&b->d, 0, &got), 0);
    assert_int_equal(got, 100);
    ring(b);
    assert_int_equal(take_used(&b->d, 0, &got), 0);
    assert_int_equal(virtio_mmio_doorbells_rung(b->d.slot), 2);
}

/* A machine that leaves at its cut serves nothing any more: what has rung is done before. */
static void test_what_has_rung_is_served_before_the_device_is_saved(void **state)
{
    struct bench *b = *state;
    struct state_buf buf = {0};

    start(b);
    freeze(&b->d);
    ring(b);
    assert_int_equal(used_idx(&b->d, 0), 0);
    state_save(b->d.slot->ops->state, b->d.slot, &buf);
    assert_int_equal(used_idx(&b->d, 0), 1);
    thaw(&b->d);
    state_buf_fini(&buf);
}

static void set_flag(void *opaque)
{
    __atomic_store_n((bool *)opaque, true, __ATOMIC_RELEASE);
}

/* The I/O loop serves what is due after what was posted before it. */
static void let_loop_turn(struct driver *d)
{
    for (int i = 0; i < 2; i++) {
        bool done = false;
        sim_io_post(d->sim->io, set_flag, &done);
        WAIT_FOR(__atomic_load_n(&done, __ATOMIC_ACQUIRE));
    }
}

/* What a device has put off (more than one notify serves) is the next machine's, which looks at all queues, and not done here, too. */
static void test_what_is_put_off_is_not_done_after_the_cut(void **state)
{
    struct bench *b = *state;
    struct state_buf buf = {0};

    start(b);
    freeze(&b->d);
    set_desc(&b->d, 0, 0, BUFFERS, 100, D_WRITE, 0);
    offer(&b->d, 0, 0);
    virtio_lock(b->v);
    virtio_continue(b->v, 0);
    virtio_unlock(b->v);
    sim_time_stop(b->d.sim);
    state_save(b->d.slot->ops->state, b->d.slot, &buf);
    state_buf_fini(&buf);
    thaw(&b->d);
    let_loop_turn(&b->d);
    assert_int_equal(used_idx(&b->d, 0), 0);
    sim_clock_go(&b->d.sim->clock); /* the machine stays, after all */
    sim_timers_shifted(b->d.sim);
    assert_int_equal(take_used(&b->d, 0, NULL), 0);
}

static void test_a_bell_of_before_a_reset(void **state)
{
    struct bench *b = *state;
    uint32_t got;

    start(b);
    freeze(&b->d);
    ring(b);
    dev_reset(b->d.slot);
    thaw(&b->d);
    driver_start(&b->d, UINT64_MAX, 1);
    ring(b);
    assert_int_equal(take_used(&b->d, 0, &got), 0);
    assert_int_equal(used_idx(&b->d, 0), 1);
}

static void test_where_there_are_none(void **state)
{
    struct bench *b = *state;

    mem_set_doorbells(b->d.space, NULL, NULL);
    assert_int_equal(virtio_mmio_use_doorbells(b->d.slot), SIM_ERR_UNSUPPORTED);
    assert_int_equal(errno, EOPNOTSUPP);
}

/* All queues or none: where the second is refused, the first one's notifications are register writes as before. */
static void test_where_there_are_too_few(void **state)
{
    struct bench *b = *state;

    virtio_add_queue(b->v, 8);
    assert_int_equal(virtio_mmio_use_doorbells(b->d.slot), SIM_ERR_UNSUPPORTED);
    assert_int_equal(errno, ENOSPC);
    assert_int_equal(b->nr_set, 2); /* hung and taken down */
    assert_int_equal(b->fd, -1);
    driver_start(&b->d, UINT64_MAX, 1);
    set_desc(&b->d, 0, 0, BUFFERS, 100, D_WRITE, 0);
    offer(&b->d, 0, 0);
    notify(&b->d, 0);
    assert_int_equal(used_idx(&b->d, 0), 1);
    assert_int_equal(virtio_mmio_doorbells_rung(b->d.slot), 0);
}

#define BELL_TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        BELL_TEST(test_a_bell_is_served),
        BELL_TEST(test_what_has_rung_is_served_before_the_device_is_saved),
        BELL_TEST(test_what_is_put_off_is_not_done_after_the_cut),
        BELL_TEST(test_a_bell_of_before_a_reset),
        BELL_TEST(test_where_there_are_none),
        BELL_TEST(test_where_there_are_too_few),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
