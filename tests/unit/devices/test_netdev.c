/* Network back ends: what is refused, null, segments, pairs. */
#include "netdev_fixture.h"

static void test_netdev_rejects_bad_specs(void **state)
{
    static const char *const bad[] = {"",
                                      "bridge",
                                      "users",
                                      "null,x=1",
                                      "segment",
                                      "segment,name=",
                                      "segment,name=a,name=b",
                                      "segment,port=1",
                                      "socket",
                                      "socket,listen=",
                                      "socket,listen=nonsense",
                                      "socket,listen=:99999999",
                                      "socket,listen=127.0.0.1:0,connect=127.0.0.1:1",
                                      "socket,path=/nonexistent/dir/sock,server=on",
                                      "socket,server=maybe,path=/tmp/x",
                                      "user,hostfwd=tcp",
                                      "user,hostfwd=tcp::0-:22",
                                      "user,hostfwd=tcp::70000-:22",
                                      "user,hostfwd=tcp::22",
                                      "user,hostfwd=sctp::2222-:22",
                                      "user,hostfwd=tcp:1.2.3:2222-:22",
                                      "user,net=oops"};
    struct netdev *n;

    (void)state;
    for (unsigned i = 0; i < SIM_ARRAY_LEN(bad); i++)
        if (netdev_create(sim, bad[i], mac, &n) == SIM_OK)
            fail_msg("'%s' was accepted", bad[i]);
}

static void test_null_swallows(void **state)
{
    struct netdev *n = create("null", &sink_a);

    (void)state;
    netdev_send(n, (const uint8_t *)"frame", 5);
    assert_memory_equal(netdev_mac(n), mac, 6);
    assert_int_equal(sink_count(&sink_a), 0);
    netdev_destroy(n);
}

/* Each of three gets what the others send and nothing of its own; one that joined nothing sends nowhere. */
static void test_segment_reaches_all_others(void **state)
{
    static struct sink sink_c;
    struct netdev_segment *segment = netdev_segment_create(&(struct netdev_link){0});

    (void)state;
    sink_init(&sink_c);
    struct netdev *a = create("segment,name=lan", &sink_a), *b = create("segment,name=lan", &sink_b);
    struct netdev *c = create("segment,name=lan", &sink_c), *null = create("null", &sink_a);
    assert_string_equal(netdev_segment_name(a), "lan");
    assert_null(netdev_segment_name(null));
    netdev_send(a, (const uint8_t *)"early", 5);
    netdev_segment_join(segment, a);
    netdev_segment_join(segment, b);
    netdev_segment_join(segment, c);
    netdev_send(a, (const uint8_t *)"from a", 6);
    WAIT_FOR(sink_count(&sink_b) == 1 && sink_count(&sink_c) == 1);
    netdev_send(b, (const uint8_t *)"of b", 4);
    WAIT_FOR(sink_count(&sink_a) == 1 && sink_count(&sink_c) == 2);
    assert_int_equal(sink_count(&sink_b), 1);
    assert_memory_equal(sink_a.last, "of b", 4);
    assert_int_equal(sink_c.len[0], 6);
    sim_io_stop(sim->io);
    netdev_destroy(a);
    netdev_destroy(b);
    netdev_destroy(c);
    netdev_destroy(null);
    netdev_segment_destroy(segment);
}

static void sink_empty(struct sink *s)
{
    sim_mutex_lock(&s->lock);
    s->count = 0;
    sim_mutex_unlock(&s->lock);
}

static bool has_delivered(struct netdev *n)
{
    sim_mutex_lock(&n->lock);
    bool empty = n->in.count == 0;
    sim_mutex_unlock(&n->lock);
    return empty;
}

enum { LOSSY_FRAMES = 300 };

/* Sends frames of lengths 1, 2, ... over a link that loses a third; which ones came, as a sum that depends on each. */
static uint64_t lossy_sum(uint64_t seed, unsigned begin, unsigned *nr)
{
    struct netdev_segment *segment = netdev_segment_create(&(struct netdev_link){.loss_ppm = 333333, .seed = seed});
    struct netdev *a = create("segment,name=lan", &sink_a), *b = create("segment,name=lan", &sink_b);
    uint8_t frame[LOSSY_FRAMES + 1] = {0};
    uint64_t sum = 0;

    sink_empty(&sink_b);
    netdev_segment_join(segment, a);
    netdev_segment_join(segment, b);
    netdev_segment_set_count(b, begin);
    for (unsigned i = begin; i < LOSSY_FRAMES; i++) {
        netdev_send(a, frame, i + 1);
        if (i % 100 == 99) /* what has come so far has been taken: the queue never overflows */
            WAIT_FOR(has_delivered(b));
    }
    WAIT_FOR(has_delivered(b));
    unsigned expected = sink_count(&sink_b);
    for (unsigned i = 0; i < expected; i++)
        sum = sum * 31 + sink_b.len[i];
    assert_int_equal(netdev_segment_count(b), LOSSY_FRAMES);
    *nr = expected;
    netdev_destroy(a);
    netdev_destroy(b);
    netdev_segment_destroy(segment);
    return sum;
}

/* The same frames each time with one seed, others with another; as many as asked for; going on by the count goes on. */
static void test_segment_loses_by_its_seed(void **state)
{
    unsigned first, again, other, rest;

    (void)state;
    uint64_t sum = lossy_sum(1, 0, &first);
    assert_int_equal(lossy_sum(1, 0, &again), sum);
    assert_int_not_equal(lossy_sum(2, 0, &other), sum);
    assert_in_range(first, LOSSY_FRAMES / 2, LOSSY_FRAMES * 5 / 6);
    uint64_t tail = lossy_sum(1, 200, &rest), of_whole = 0;
    lossy_sum(1, 0, &again);
    for (unsigned i = 0; i < again; i++)
        if (sink_b.len[i] > 200)
            of_whole = of_whole * 31 + sink_b.len[i];
    assert_int_equal(tail, of_whole);
}

static void see(void *opaque, const struct netdev_under_way *w)
{
    struct netdev_under_way *seen = opaque;

    assert_null(seen->frame);
    *seen = *w;
}

/* On a link of an hour: what is under way can be taken out, and put on another one, where it arrives when its time has come. */
static void test_segment_delays(void **state)
{
    const uint64_t hour = 3600000000000ull;
    struct netdev_segment *slow = netdev_segment_create(&(struct netdev_link){.latency_ns = hour});
    struct netdev_segment *fast = netdev_segment_create(&(struct netdev_link){.latency_ns = 1000000});
    struct netdev *a = create("segment,name=lan", &sink_a), *b = create("segment,name=lan", &sink_b);
    struct netdev *c = create("segment,name=lan", &sink_b), *d = create("segment,name=lan", &sink_a);
    struct netdev_under_way seen = {0};

    (void)state;
    sink_empty(&sink_b);
    netdev_segment_join(slow, a);
    netdev_segment_join(slow, b);
    netdev_segment_join(fast, c);
    netdev_segment_join(fast, d);
    netdev_send(a, (const uint8_t *)"slowly", 6);
    netdev_segment_each(b, see, &seen);
    assert_int_equal(seen.len, 6);
    assert_in_range(seen.left_ns, hour - hour / 60, hour);
    seen.left_ns = 5000000;
    vtime_t begin = sim_clock_now(&sim->clock);
    netdev_segment_put(c, &seen);
    netdev_send(d, (const uint8_t *)"next", 4); /* due before, but frames keep their order */
    WAIT_FOR(sink_count(&sink_b) == 2);
    assert_true(sim_clock_now(&sim->clock) - begin >= 5000000);
    assert_int_equal(sink_b.len[0], 6);
    netdev_destroy(a);
    netdev_destroy(b);
    netdev_destroy(c);
    netdev_destroy(d);
    netdev_segment_destroy(slow);
    netdev_segment_destroy(fast);
}

static void add_up(void *opaque, const struct netdev_under_way *w)
{
    *(size_t *)opaque += w->len;
}

static size_t bytes_under_way(struct netdev *n)
{
    size_t sum = 0;

    netdev_segment_each(n, add_up, &sum);
    return sum;
}

/* A fast sender on a slow link costs a bounded amount of memory; a machine that has stopped costs none. */
static void test_segment_bounds_what_is_under_way(void **state)
{
    enum { FRAMES = 400, LEN = 60000, LIMIT = 16 << 20 };
    struct netdev_segment *slow = netdev_segment_create(&(struct netdev_link){.latency_ns = 3600000000000ull});
    struct netdev *a = create("segment,name=lan", &sink_a), *b = create("segment,name=lan", &sink_b);
    static uint8_t frame[LEN];

    (void)state;
    netdev_segment_join(slow, a);
    netdev_segment_join(slow, b);
    for (unsigned i = 0; i < FRAMES; i++)
        netdev_send(a, frame, sizeof frame);
    assert_int_equal(bytes_under_way(b), LIMIT / LEN * LEN);
    assert_int_equal(b->dropped, FRAMES - LIMIT / LEN);
    netdev_segment_leave(b);
    assert_int_equal(bytes_under_way(b), 0);
    netdev_send(a, frame, sizeof frame);
    assert_int_equal(bytes_under_way(b), 0);
    netdev_destroy(a);
    netdev_destroy(b);
    netdev_segment_destroy(slow);
}

static void set_flag(void *opaque)
{
    atomic_store((atomic_bool *)opaque, true);
}

/* What the I/O thread had begun is over, and so is what was due. */
static void let_io_thread_pass(void)
{
    for (unsigned i = 0; i < 3; i++) {
        atomic_bool passed = false;
        sim_io_post(sim->io, set_flag, &passed);
        WAIT_FOR(atomic_load(&passed));
    }
}

/* More frames than the input queue takes have come while the guest had no buffers: on a link without loss none is lost. */
static void test_segment_delays_lose_nothing(void **state)
{
    enum { FRAMES = 3 * NETDEV_QUEUE_FRAMES };
    struct netdev_segment *segment = netdev_segment_create(&(struct netdev_link){.latency_ns = 1000});
    struct netdev *a = create("segment,name=lan", &sink_a), *b = create("segment,name=lan", &sink_b);
    static uint8_t frame[FRAMES + 1];

    (void)state;
    netdev_segment_join(segment, a);
    netdev_segment_join(segment, b);
    sink_set_closed(&sink_b, true);
    for (unsigned i = 1; i <= FRAMES; i++)
        netdev_send(a, frame, i);
    vtime_t due = sim_clock_now(&sim->clock) + 1000;
    WAIT_FOR(sim_clock_now(&sim->clock) > due && netdev_input_is_full(b));
    let_io_thread_pass();
    sink_set_closed(&sink_b, false);
    netdev_accept_input(b);
    WAIT_FOR(sink_count(&sink_b) == FRAMES);
    for (unsigned i = 1; i <= FRAMES; i++)
        assert_int_equal(sink_b.len[i - 1], i);
    assert_int_equal(b->dropped, 0);
    netdev_destroy(a);
    netdev_destroy(b);
    netdev_segment_destroy(segment);
}

enum { BURST = 20 };

static void *send_burst(void *opaque)
{
    for (unsigned i = 0; i < BURST; i++)
        netdev_send(opaque, (const uint8_t *)"frame", 5);
    return NULL;
}

/* Machines send at one time, over and over: each frame comes, though no later one follows. */
static void test_segment_alarms_are_not_lost(void **state)
{
    enum { ROUNDS = 50, SENDERS = 3 };
    struct netdev_segment *segment = netdev_segment_create(&(struct netdev_link){.latency_ns = 20000});
    struct netdev *n[SENDERS], *b = create("segment,name=lan", &sink_b);

    (void)state;
    netdev_segment_join(segment, b);
    for (unsigned i = 0; i < SENDERS; i++) {
        n[i] = create("segment,name=lan", &sink_a);
        netdev_segment_join(segment, n[i]);
    }
    for (unsigned round = 1; round <= ROUNDS; round++) {
        struct sim_thread thread[SENDERS];
        for (unsigned i = 0; i < SENDERS; i++)
            assert_int_equal(sim_thread_start(&thread[i], "sender", send_burst, n[i]), SIM_OK);
        for (unsigned i = 0; i < SENDERS; i++)
            sim_thread_join(&thread[i]);
        WAIT_FOR(sink_count(&sink_b) == round * SENDERS * BURST);
    }
    sim_io_stop(sim->io);
    for (unsigned i = 0; i < SENDERS; i++)
        netdev_destroy(n[i]);
    netdev_destroy(b);
    netdev_segment_destroy(segment);
}

struct sleeper {
    struct vcpu vcpu;
    struct vcpu_waker waker;
    atomic_uint woken;
};

static void wake_sleeper(struct vcpu_waker *w, struct vcpu *v)
{
    (void)w;
    atomic_fetch_add(&SIM_CONTAINER_OF(v, struct sleeper, vcpu)->woken, 1);
}

/* A machine whose clock counts instructions, and which may sleep without an end: it hears of what comes. */
static void test_segment_wakes_a_virtual_clock(void **state)
{
    struct netdev_segment *segment = netdev_segment_create(&(struct netdev_link){.latency_ns = 1000});
    struct netdev *a = create("segment,name=lan", &sink_a), *b;
    struct sleeper s = {.waker = {wake_sleeper}};
    struct sim *other;

    (void)state;
    assert_int_equal(sim_create(&other), SIM_OK);
    assert_int_equal(sim_io_start(other->io), SIM_OK);
    sim_clock_init(&other->clock, SIM_CLOCK_VIRTUAL);
    sim_add_vcpu(other, &s.vcpu);
    atomic_store(&s.vcpu.waker, &s.waker);
    assert_int_equal(netdev_create(other, "segment,name=lan", mac, &b), SIM_OK);
    netdev_attach(b, &(struct netdev_client){sink_receive, &sink_b});
    netdev_segment_join(segment, a);
    netdev_segment_join(segment, b);
    netdev_send(a, (const uint8_t *)"wake", 4);
    assert_int_equal(atomic_load(&s.woken), 1);
    assert_int_equal(sim_timers_next(other), 1000);
    sim_clock_skip_to(&other->clock, 1000);
    sim_timers_run(other);
    WAIT_FOR(sink_count(&sink_b) == 1);
    vcpu_detach_waker(&s.vcpu);
    netdev_destroy(a);
    netdev_destroy(b);
    sim_destroy(other);
    netdev_segment_destroy(segment);
}

static void test_pair_delivers_in_order(void **state)
{
    struct netdev *a = create("pair", &sink_a), *b = create("pair", &sink_b);
    uint8_t frame[200];

    (void)state;
    netdev_join(a, b);
    for (unsigned i = 1; i <= 100; i++) {
        memset(frame, (int)i, sizeof frame);
        netdev_send(a, frame, i);
    }
    WAIT_FOR(sink_count(&sink_b) == 100);
    for (unsigned i = 1; i <= 100; i++)
        assert_int_equal(sink_b.len[i - 1], i);
    assert_int_equal(sink_b.last[99], 100);
    netdev_send(b, frame, 60);
    WAIT_FOR(sink_count(&sink_a) == 1);
    netdev_destroy(a);
    netdev_send(b, frame, 60); /* nobody there: dropped */
    netdev_destroy(b);
}

static void test_full_device_gets_the_frames_later(void **state)
{
    struct netdev *a = create("pair", &sink_a), *b = create("pair", &sink_b);
    uint8_t frame[400] = {0};

    (void)state;
    netdev_join(a, b);
    sink_set_closed(&sink_b, true);
    for (unsigned i = 0; i < NETDEV_QUEUE_FRAMES + 50; i++)
        netdev_send(a, frame, 10 + i);
    usleep(20000);
    assert_int_equal(sink_count(&sink_b), 0);
    assert_int_equal(b->dropped, 50);
    sink_set_closed(&sink_b, false);
    netdev_accept_input(b);
    WAIT_FOR(sink_count(&sink_b) == NETDEV_QUEUE_FRAMES);
    assert_int_equal(sink_b.len[0], 10);
    netdev_destroy(a);
    netdev_destroy(b);
}

static void test_odd_sizes_are_ignored(void **state)
{
    struct netdev *a = create("pair", &sink_a), *b = create("pair", &sink_b);
    static uint8_t frame[NETDEV_MAX_FRAME + 1];

    (void)state;
    netdev_join(a, b);
    netdev_send(a, frame, 0);
    netdev_send(a, frame, NETDEV_MAX_FRAME + 1);
    netdev_send(a, frame, NETDEV_MAX_FRAME);
    WAIT_FOR(sink_count(&sink_b) == 1);
    assert_int_equal(sink_b.len[0], NETDEV_MAX_FRAME);
    netdev_destroy(a);
    netdev_destroy(b);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        NET_TEST(test_netdev_rejects_bad_specs),
        NET_TEST(test_null_swallows),
        NET_TEST(test_segment_reaches_all_others),
        NET_TEST(test_segment_loses_by_its_seed),
        NET_TEST(test_segment_delays),
        NET_TEST(test_segment_bounds_what_is_under_way),
        NET_TEST(test_segment_delays_lose_nothing),
        NET_TEST(test_segment_alarms_are_not_lost),
        NET_TEST(test_segment_wakes_a_virtual_clock),
        NET_TEST(test_pair_delivers_in_order),
        NET_TEST(test_full_device_gets_the_frames_later),
        NET_TEST(test_odd_sizes_are_ignored),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
