/* virtio-net over virtio-mmio; the far end of its "pair" is the test. */
#include "virtio_driver.h"

#include <stdlib.h>

enum { RX, TX, CONTROL, MRG_RXBUF = 15, HEADER = 12 };

struct fixture {
    struct driver d;
    struct netdev *near, *far;
    struct sim_mutex lock;
    unsigned count; /* frames that the far end got */
    size_t len;
    uint8_t frame[70000];
};

static const uint8_t mac[6] = {0x52, 0x54, 0, 0x12, 0x34, 0x99};

static bool far_receive(void *opaque, const uint8_t *frame, size_t len)
{
    struct fixture *f = opaque;

    sim_mutex_lock(&f->lock);
    f->count++;
    f->len = len;
    memcpy(f->frame, frame, len);
    sim_mutex_unlock(&f->lock);
    return true;
}

static unsigned far_count(struct fixture *f)
{
    sim_mutex_lock(&f->lock);
    unsigned n = f->count;
    sim_mutex_unlock(&f->lock);
    return n;
}

static int setup(void **state)
{
    struct fixture *f = calloc(1, sizeof *f);
    struct virtio_device *v;

    sim_mutex_init(&f->lock, SIM_RANK_DEVICE);
    driver_init(&f->d);
    assert_int_equal(netdev_create(f->d.sim, "pair", mac, &f->near), SIM_OK);
    assert_int_equal(netdev_create(f->d.sim, "pair", mac, &f->far), SIM_OK);
    netdev_join(f->near, f->far);
    netdev_attach(f->far, &(struct netdev_client){far_receive, f});
    assert_int_equal(virtio_net_create(f->d.sim, f->near, &v), SIM_OK);
    driver_plug(&f->d, v);
    driver_start(&f->d, UINT64_MAX, 3);
    *state = f;
    return 0;
}

/* As a machine does: devices, back ends, space, simulation. */
static int teardown(void **state)
{
    struct fixture *f = *state;
    struct driver *d = &f->d;

    dev_destroy(d->slot);
    netdev_destroy(f->near);
    netdev_destroy(f->far);
    mem_space_destroy(d->space);
    sim_destroy(d->sim);
    free(f);
    return 0;
}

static gpa_t rx_buffer(unsigned i)
{
    return BUFFERS + 0x10000u * (i + 1);
}

static void give_rx(struct driver *d, unsigned i, uint32_t len)
{
    set_desc(d, RX, i, rx_buffer(i), len, D_WRITE, 0);
    offer(d, RX, (uint16_t)i);
    notify(d, RX);
}

static void fill(uint8_t *p, size_t len, uint8_t first)
{
    for (size_t i = 0; i < len; i++)
        p[i] = (uint8_t)(first + i * 3);
}

static void check_fill(const uint8_t *p, size_t len, uint8_t first)
{
    for (size_t i = 0; i < len; i++)
        if (p[i] != (uint8_t)(first + i * 3))
            fail_msg("byte %zu of %zu differs", i, len);
}

static void test_net_config(void **state)
{
    struct fixture *f = *state;
    uint64_t byte;

    assert_int_equal(reg_read(&f->d, 8), 1);
    for (unsigned i = 0; i < 6; i++) {
        mem_mmio_read(f->d.space, SLOT_BASE + 0x100 + i, 1, &byte);
        assert_int_equal(byte, mac[i]);
    }
    mem_mmio_read(f->d.space, SLOT_BASE + 0x106, 2, &byte);
    assert_int_equal(byte, 1);                 /* link up */
    assert_int_equal(f->d.features & 0x7f, 32); /* MAC, no offloads */
}

static void test_net_transmits(void **state)
{
    struct fixture *f = *state;
    struct driver *d = &f->d;
    uint8_t *p = guest(d, BUFFERS);

    memset(p, 0, HEADER);
    fill(p + HEADER, 100, 7);
    set_desc(d, TX, 0, BUFFERS, HEADER + 100, 0, 0); /* one piece */
    offer(d, TX, 0);
    notify(d, TX);
    assert_int_equal(take_used(d, TX, NULL), 0);
    WAIT_FOR(far_count(f) == 1);
    assert_int_equal(f->len, 100);
    check_fill(f->frame, 100, 7);

    set_desc(d, TX, 1, BUFFERS, 5, D_NEXT, 2); /* header and frame cut anywhere */
    set_desc(d, TX, 2, BUFFERS + 5, 20, D_NEXT, 3);
    set_desc(d, TX, 3, BUFFERS + 25, HEADER + 100 - 25, 0, 0);
    offer(d, TX, 1);
    notify(d, TX);
    assert_int_equal(take_used(d, TX, NULL), 1);
    WAIT_FOR(far_count(f) == 2);
    assert_int_equal(f->len, 100);
    check_fill(f->frame, 100, 7);
}

static void test_net_transmits_a_burst(void **state)
{
    struct fixture *f = *state;
    struct driver *d = &f->d;

    for (unsigned round = 0; round < 20; round++) {
        for (uint16_t i = 0; i < QSIZE; i++) {
            set_desc(d, TX, i, BUFFERS, HEADER + 60, 0, 0);
            offer(d, TX, i);
        }
        notify(d, TX);
        for (unsigned i = 0; i < QSIZE; i++)
            assert_int_equal(take_used(d, TX, NULL), i);
        WAIT_FOR(far_count(f) == (round + 1) * QSIZE);
    }
}

static void test_net_ignores_frames_of_impossible_size(void **state)
{
    struct fixture *f = *state;
    struct driver *d = &f->d;
    const uint32_t sizes[] = {1, HEADER - 1, HEADER, HEADER + 65551, 1 << 20};

    for (uint16_t i = 0; i < SIM_ARRAY_LEN(sizes); i++) {
        set_desc(d, TX, i, BUFFERS, sizes[i], 0, 0);
        offer(d, TX, i);
        notify(d, TX);
        assert_int_equal(take_used(d, TX, NULL), i);
    }
    assert_false(is_broken(d));
    set_desc(d, TX, 0, BUFFERS, HEADER + 14, 0, 0);
    offer(d, TX, 0);
    notify(d, TX);
    WAIT_FOR(far_count(f) == 1);
    assert_int_equal(f->len, 14);
}

static void test_net_receives(void **state)
{
    struct fixture *f = *state;
    struct driver *d = &f->d;
    uint8_t frame[1514];
    uint32_t len;

    give_rx(d, 0, 2000);
    fill(frame, sizeof frame, 1);
    netdev_send(f->far, frame, sizeof frame);
    assert_int_equal(take_used(d, RX, &len), 0);
    assert_int_equal(len, HEADER + sizeof frame);
    uint8_t *p = guest(d, rx_buffer(0));
    check_fill(p + HEADER, sizeof frame, 1);
    assert_memory_equal(p, ((uint8_t[]){0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 0}), 12);
    WAIT_FOR(reg_read(d, 0x60) == 1);
}

static void test_net_merges_receive_buffers(void **state)
{
    struct fixture *f = *state;
    struct driver *d = &f->d;
    uint8_t frame[1000];
    uint32_t len;

    for (unsigned i = 0; i < 5; i++)
        give_rx(d, i, 300);
    fill(frame, sizeof frame, 9);
    netdev_send(f->far, frame, sizeof frame);
    const uint32_t lens[] = {300, 300, 300, 112};
    size_t at = 0;
    for (unsigned i = 0; i < 4; i++) {
        assert_int_equal(take_used(d, RX, &len), i);
        assert_int_equal(len, lens[i]);
        unsigned skip = i ? 0 : HEADER;
        check_fill((uint8_t *)guest(d, rx_buffer(i)) + skip, len - skip, (uint8_t)(9 + at * 3));
        at += len - skip;
    }
    assert_int_equal(((uint8_t *)guest(d, rx_buffer(0)))[10], 4); /* num_buffers */
    assert_int_equal(used_idx(d, RX), 4);
}

/* No buffers: frames wait, and come in order when buffers do. */
static void test_net_waits_for_buffers(void **state)
{
    struct fixture *f = *state;
    struct driver *d = &f->d;
    uint8_t frame[64];
    uint32_t len;

    for (unsigned i = 0; i < 5; i++)
        netdev_send(f->far, frame, 20 + i);
    sim_thread_yield();
    assert_int_equal(used_idx(d, RX), 0);
    for (unsigned i = 0; i < 5; i++) {
        give_rx(d, i, 200);
        assert_int_equal(take_used(d, RX, &len), i);
        assert_int_equal(len, HEADER + 20 + i);
    }
    /* a frame that needs two buffers when there is one takes none */
    give_rx(d, 5, 40);
    netdev_send(f->far, frame, 60);
    for (unsigned i = 0; i < 1000; i++)
        sim_thread_yield();
    assert_int_equal(used_idx(d, RX), 5);
    give_rx(d, 6, 40);
    assert_int_equal(take_used(d, RX, &len), 5);
    assert_int_equal(take_used(d, RX, &len), 6);
    assert_int_equal(len, 32);
}

/* A frame larger than all the queue's buffers is dropped; the next one comes. */
static void test_net_drops_what_never_fits(void **state)
{
    struct fixture *f = *state;
    struct driver *d = &f->d;
    uint8_t frame[2000] = {0};
    uint32_t len;

    for (unsigned i = 0; i < QSIZE; i++)
        give_rx(d, i, 40);
    netdev_send(f->far, frame, sizeof frame);
    netdev_send(f->far, frame, 20);
    assert_int_equal(take_used(d, RX, &len), 0);
    assert_int_equal(len, HEADER + 20);
    assert_false(is_broken(d));
}

static void test_net_without_merging_needs_one_buffer(void **state)
{
    struct fixture *f = *state;
    struct driver *d = &f->d;
    uint8_t frame[500];
    uint32_t len;

    driver_start(d, ~(1ull << MRG_RXBUF), 3);
    give_rx(d, 0, 300);
    give_rx(d, 1, 300);
    netdev_send(f->far, frame, 400); /* too long for one: dropped */
    netdev_send(f->far, frame, 288);
    take_used(d, RX, &len);
    assert_int_equal(len, 300);
    assert_int_equal(used_idx(d, RX), 1);
}

static void test_net_hostile_receive_buffers(void **state)
{
    struct fixture *f = *state;
    struct driver *d = &f->d;
    uint8_t frame[100];

    give_rx(d, 0, HEADER - 1);
    netdev_send(f->far, frame, 60);
    WAIT_FOR(is_broken(d));
    driver_start(d, UINT64_MAX, 3);
    set_desc(d, RX, 0, BUFFERS, 100, 0, 0); /* readable: nothing to write into, but a queue-ful */
    offer(d, RX, 0);
    notify(d, RX);
    netdev_send(f->far, frame, 60);
    WAIT_FOR(is_broken(d));
    driver_start(d, UINT64_MAX, 3);
    set_desc(d, RX, 0, SLOT_BASE, 0x1000, D_WRITE, 0);
    offer(d, RX, 0);
    notify(d, RX);
    netdev_send(f->far, frame, 60);
    WAIT_FOR(is_broken(d));
    driver_start(d, UINT64_MAX, 3);
    give_rx(d, 0, 200);
    netdev_send(f->far, frame, 60);
    take_used(d, RX, NULL);
}

static uint8_t control(struct driver *d, uint8_t class, uint8_t command, const void *data,
                       uint32_t len)
{
    uint8_t *p = guest(d, BUFFERS);

    p[0] = class;
    p[1] = command;
    memcpy(p + 2, data, len);
    *(uint8_t *)guest(d, BUFFERS + 0x100) = 0xee;
    set_desc(d, CONTROL, 0, BUFFERS, 2 + len, D_NEXT, 1);
    set_desc(d, CONTROL, 1, BUFFERS + 0x100, 1, D_WRITE, 0);
    offer(d, CONTROL, 0);
    notify(d, CONTROL);
    assert_int_equal(take_used(d, CONTROL, NULL), 0);
    return *(uint8_t *)guest(d, BUFFERS + 0x100);
}

static void test_net_control_queue(void **state)
{
    struct fixture *f = *state;
    struct driver *d = &f->d;
    const uint8_t on = 1, other[6] = {2, 3, 4, 5, 6, 7};
    uint64_t byte;

    assert_int_equal(control(d, 0, 0, &on, 1), 0); /* promiscuous */
    assert_int_equal(control(d, 0, 1, &on, 1), 0);
    assert_int_equal(control(d, 0, 77, &on, 1), 1);
    assert_int_equal(control(d, 1, 0, "\0\0\0\0\0\0\0\0", 8), 0);
    assert_int_equal(control(d, 1, 1, other, 6), 0);
    mem_mmio_read(d->space, SLOT_BASE + 0x105, 1, &byte);
    assert_int_equal(byte, 7);
    assert_int_equal(control(d, 1, 1, other, 3), 1);
    assert_int_equal(control(d, 4, 0, "\2\0", 2), 1); /* multiqueue is not offered */
    driver_start(d, UINT64_MAX, 3);                   /* a reset brings the address back */
    mem_mmio_read(d->space, SLOT_BASE + 0x105, 1, &byte);
    assert_int_equal(byte, 0x99);
}

static void test_net_state_survives(void **state)
{
    struct fixture *f = *state;
    struct driver *d = &f->d;
    const struct state_desc *desc = d->slot->ops->state;
    struct state_buf buf = {0};
    uint8_t frame[60];
    uint64_t byte;
    size_t used;

    give_rx(d, 0, 200);
    netdev_send(f->far, frame, sizeof frame);
    take_used(d, RX, NULL);
    give_rx(d, 1, 200);
    assert_int_equal(control(d, 1, 1, "\2\3\4\5\6\7", 6), 0);
    freeze(d);
    state_save(desc, d->slot, &buf);
    dev_reset(d->slot);
    assert_int_equal(state_load(desc, d->slot, buf.data, buf.len, &used), SIM_OK);
    thaw(d);
    mem_mmio_read(d->space, SLOT_BASE + 0x105, 1, &byte);
    assert_int_equal(byte, 7);
    netdev_send(f->far, frame, sizeof frame);
    assert_int_equal(take_used(d, RX, NULL), 1);
    state_buf_fini(&buf);
}

static void test_net_frames_before_a_driver_are_lost(void **state)
{
    struct fixture *f = *state;
    struct driver *d = &f->d;
    uint8_t frame[60];
    uint32_t len;

    reg_write(d, 0x70, 0);
    netdev_send(f->far, frame, 50);
    for (unsigned i = 0; i < 1000; i++)
        sim_thread_yield();
    driver_start(d, UINT64_MAX, 3);
    give_rx(d, 0, 200);
    WAIT_FOR((netdev_send(f->far, frame, 60), used_idx(d, RX) > 0));
    take_used(d, RX, &len);
    assert_true(len == HEADER + 60 || len == HEADER + 50);
}

#define NET_TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        NET_TEST(test_net_config),
        NET_TEST(test_net_transmits),
        NET_TEST(test_net_transmits_a_burst),
        NET_TEST(test_net_ignores_frames_of_impossible_size),
        NET_TEST(test_net_receives),
        NET_TEST(test_net_merges_receive_buffers),
        NET_TEST(test_net_waits_for_buffers),
        NET_TEST(test_net_drops_what_never_fits),
        NET_TEST(test_net_without_merging_needs_one_buffer),
        NET_TEST(test_net_hostile_receive_buffers),
        NET_TEST(test_net_control_queue),
        NET_TEST(test_net_state_survives),
        NET_TEST(test_net_frames_before_a_driver_are_lost),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
