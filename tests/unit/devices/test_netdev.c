/* Network back ends: null, pair, socket (framing, slow peers, lost peers, nonsense), user (libslirp). */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include <arpa/inet.h>
#include <netinet/in.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "backend/netdev_priv.h"
#include "sim-core/lock.h"
#include "sim-core/timer.h"
#include "sim-core/vcpu.h"
#include "skip.h"

enum { KEEP = 1024 };

/* A device that remembers what it got. */
struct sink {
    struct sim_mutex lock;
    bool closed; /* takes nothing */
    unsigned count;
    size_t len[KEEP];
    uint8_t last[NETDEV_MAX_FRAME];
};

static struct sim *sim;
static struct sink sink_a, sink_b;
static const uint8_t mac[6] = {0x52, 0x54, 0, 0x12, 0x34, 0x56};

static bool sink_receive(void *opaque, const uint8_t *frame, size_t len)
{
    struct sink *s = opaque;

    sim_mutex_lock(&s->lock);
    bool take = !s->closed;
    if (take) {
        s->len[s->count++ % KEEP] = len;
        memcpy(s->last, frame, len);
    }
    sim_mutex_unlock(&s->lock);
    return take;
}

static unsigned sink_count(struct sink *s)
{
    sim_mutex_lock(&s->lock);
    unsigned n = s->count;
    sim_mutex_unlock(&s->lock);
    return n;
}

static void sink_set_closed(struct sink *s, bool closed)
{
    sim_mutex_lock(&s->lock);
    s->closed = closed;
    sim_mutex_unlock(&s->lock);
}

#define WAIT_FOR(cond)                                                                             \
    do {                                                                                           \
        uint64_t deadline_ = sim_host_ns() + 60000000000u;                                         \
        while (!(cond)) {                                                                          \
            assert_true(sim_host_ns() < deadline_);                                                \
            usleep(200);                                                                           \
        }                                                                                          \
    } while (0)

static void sink_init(struct sink *s)
{
    memset(s, 0, sizeof *s);
    sim_mutex_init(&s->lock, SIM_RANK_DEVICE);
}

static int setup(void **state)
{
    (void)state;
    assert_int_equal(sim_create(&sim), SIM_OK);
    assert_int_equal(sim_io_start(sim->io), SIM_OK);
    sink_init(&sink_a);
    sink_init(&sink_b);
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    sim_destroy(sim);
    return 0;
}

static struct netdev *create(const char *spec, struct sink *s)
{
    struct netdev *n;

    assert_int_equal(netdev_create(sim, spec, mac, &n), SIM_OK);
    netdev_attach(n, &(struct netdev_client){sink_receive, s});
    return n;
}

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

/* --- socket --- */

/* One of those that the kernel gives to nobody else meanwhile, nor to who connects to it: below 32768. */
static uint16_t free_port(void)
{
    struct sockaddr_in sin = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_ANY)};
    static unsigned next;

    for (unsigned tries = 0; tries < 1000; tries++) {
        uint16_t port = (uint16_t)(20000 + ((unsigned)getpid() * 17 + next++) % 10000);
        int fd = socket(AF_INET, SOCK_STREAM, 0);
        sin.sin_port = htons(port);
        bool is_free = bind(fd, (struct sockaddr *)&sin, sizeof sin) == 0;
        close(fd);
        if (is_free)
            return port;
    }
    fail_msg("no free port");
    return 0;
}

static int dial(uint16_t port)
{
    struct sockaddr_in sin = {.sin_family = AF_INET,
                              .sin_port = htons(port),
                              .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    int fd = socket(AF_INET, SOCK_STREAM, 0);

    assert_int_equal(connect(fd, (struct sockaddr *)&sin, sizeof sin), 0);
    return fd;
}

static void put_frame(int fd, const void *data, uint32_t len)
{
    uint32_t header = htonl(len);

    assert_int_equal(write(fd, &header, 4), 4);
    assert_int_equal(write(fd, data, len), len);
}

static void read_fully(int fd, void *buf, size_t len)
{
    for (size_t done = 0; done < len;) {
        ssize_t n = read(fd, (char *)buf + done, len - done);
        assert_true(n > 0);
        done += (size_t)n;
    }
}

static void get_frame(int fd, uint8_t *buf, uint32_t expected)
{
    uint32_t header;

    read_fully(fd, &header, 4);
    assert_int_equal(ntohl(header), expected);
    read_fully(fd, buf, expected);
}

static struct netdev *listener(uint16_t *port, struct sink *s)
{
    char spec[64];

    *port = free_port();
    snprintf(spec, sizeof spec, "socket,listen=127.0.0.1:%u", *port);
    return create(spec, s);
}

/* Sends until the peer gets one: the connection may not have been accepted yet. */
static void send_until_received(struct netdev *n, int fd, const char *text)
{
    uint8_t buf[64];
    size_t len = strlen(text);

    for (unsigned i = 0; i < 1000; i++) {
        netdev_send(n, (const uint8_t *)text, len);
        if (recv(fd, buf, 1, MSG_DONTWAIT | MSG_PEEK) == 1)
            break;
        usleep(1000);
    }
    get_frame(fd, buf, (uint32_t)len);
    assert_memory_equal(buf, text, len);
}

static void test_socket_frames_are_qemus(void **state)
{
    uint16_t port;
    struct netdev *n = listener(&port, &sink_a);
    int fd = dial(port);
    uint8_t wire[] = {0, 0, 0, 3, 'a', 'b', 'c', 0, 0, 0, 2, 'd', 'e', 0, 0};

    (void)state;
    for (unsigned i = 0; i < sizeof wire; i++) { /* byte by byte */
        assert_int_equal(write(fd, &wire[i], 1), 1);
        usleep(100);
    }
    WAIT_FOR(sink_count(&sink_a) == 2);
    assert_int_equal(sink_a.len[0], 3);
    assert_int_equal(sink_a.len[1], 2);
    assert_memory_equal(sink_a.last, "de", 2);
    send_until_received(n, fd, "to the world");
    close(fd);
    netdev_destroy(n);
}

static void test_socket_takes_the_next_peer(void **state)
{
    uint16_t port;
    struct netdev *n = listener(&port, &sink_a);

    (void)state;
    for (unsigned i = 0; i < 3; i++) {
        int fd = dial(port);
        put_frame(fd, "hello", 5);
        WAIT_FOR(sink_count(&sink_a) == i + 1);
        send_until_received(n, fd, "answer");
        close(fd);
    }
    netdev_destroy(n);
}

static void test_socket_drops_a_peer_that_talks_nonsense(void **state)
{
    uint16_t port;
    struct netdev *n = listener(&port, &sink_a);
    uint8_t junk[] = {0xff, 0xff, 0xff, 0xff, 1, 2, 3}, byte;

    (void)state;
    int fd = dial(port);
    assert_int_equal(write(fd, junk, sizeof junk), sizeof junk);
    assert_true(read(fd, &byte, 1) <= 0); /* closed or reset */
    close(fd);
    fd = dial(port);
    uint32_t zero = 0;
    assert_int_equal(write(fd, &zero, 4), 4);
    assert_true(read(fd, &byte, 1) <= 0);
    close(fd);
    fd = dial(port);
    put_frame(fd, "sense", 5);
    WAIT_FOR(sink_count(&sink_a) == 1);
    close(fd);
    netdev_destroy(n);
}

/* A guest without buffers stops the stream; nothing is lost when it goes on. */
static void test_socket_slow_guest_loses_nothing(void **state)
{
    uint16_t port;
    struct netdev *n = listener(&port, &sink_a);
    int fd = dial(port);
    uint8_t frame[1000];
    enum { FRAMES = 900 };

    (void)state;
    sink_set_closed(&sink_a, true);
    for (unsigned i = 0; i < FRAMES; i++) {
        memset(frame, (int)i, sizeof frame);
        put_frame(fd, frame, 100 + i);
    }
    usleep(20000);
    assert_int_equal(sink_count(&sink_a), 0);
    sink_set_closed(&sink_a, false);
    WAIT_FOR((netdev_accept_input(n), sink_count(&sink_a) == FRAMES));
    for (unsigned i = 0; i < FRAMES; i++)
        assert_int_equal(sink_a.len[i], 100 + i);
    assert_int_equal(n->dropped, 0);
    close(fd);
    netdev_destroy(n);
}

/* A peer that does not read: sending never blocks, frames are dropped whole. */
static void test_socket_slow_peer_never_blocks_the_guest(void **state)
{
    uint16_t port;
    struct netdev *n = listener(&port, &sink_a);
    int fd = dial(port);
    static uint8_t frame[60000], back[60000];
    unsigned got = 0;

    (void)state;
    send_until_received(n, fd, "first");
    while (recv(fd, back, 9, MSG_DONTWAIT) > 0) /* repeats of "first", 9 bytes each */
        ;
    uint64_t start = sim_host_ns();
    for (unsigned i = 0; i < 500; i++)
        netdev_send(n, frame, sizeof frame);
    assert_true(sim_host_ns() - start < 3000000000u);
    assert_true(n->dropped > 0);
    struct timeval tv = {.tv_usec = 300000};
    setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &tv, sizeof tv);
    uint32_t header;
    while (recv(fd, &header, 4, MSG_WAITALL) == 4) {
        assert_int_equal(ntohl(header), sizeof frame);
        read_fully(fd, back, sizeof frame);
        got++;
    }
    assert_true(got > 0 && got < 500);
    send_until_received(n, fd, "last");
    close(fd);
    netdev_destroy(n);
}

static void test_socket_connects_when_the_listener_comes(void **state)
{
    char spec[64];
    uint16_t port = free_port();

    (void)state;
    snprintf(spec, sizeof spec, "socket,connect=127.0.0.1:%u", port);
    struct netdev *a = create(spec, &sink_a);
    usleep(50000); /* refused once */
    snprintf(spec, sizeof spec, "socket,listen=:%u", port);
    struct netdev *b = create(spec, &sink_b);
    WAIT_FOR((netdev_send(a, (const uint8_t *)"ping", 4), sink_count(&sink_b) > 0));
    WAIT_FOR((netdev_send(b, (const uint8_t *)"pong", 4), sink_count(&sink_a) > 0));
    netdev_destroy(b);
    netdev_destroy(a);
}

static void test_socket_unix_path(void **state)
{
    char path[] = "/tmp/netdevXXXXXX", spec[64];

    (void)state;
    assert_non_null(mkdtemp(path));
    snprintf(spec, sizeof spec, "socket,path=%s/s,server=on", path);
    struct netdev *a = create(spec, &sink_a);
    snprintf(spec, sizeof spec, "socket,path=%s/s", path);
    struct netdev *b = create(spec, &sink_b);
    WAIT_FOR((netdev_send(b, (const uint8_t *)"unix", 4), sink_count(&sink_a) > 0));
    netdev_destroy(a);
    netdev_destroy(b);
    assert_int_equal(rmdir(path), 0); /* the socket file is gone */
}

static void test_socket_port_in_use_is_an_error(void **state)
{
    uint16_t port;
    struct netdev *n = listener(&port, &sink_a), *other;
    char spec[64];

    (void)state;
    snprintf(spec, sizeof spec, "socket,listen=127.0.0.1:%u", port);
    assert_int_equal(netdev_create(sim, spec, mac, &other), SIM_ERR_IO);
    netdev_destroy(n);
}

static void test_destroy_under_traffic(void **state)
{
    uint8_t frame[1400] = {0};

    (void)state;
    for (unsigned i = 0; i < 30; i++) {
        uint16_t port;
        struct netdev *n = listener(&port, &sink_a);
        int fd = dial(port);
        for (unsigned k = 0; k < 20; k++) {
            put_frame(fd, frame, sizeof frame);
            netdev_send(n, frame, sizeof frame);
        }
        if (i & 1)
            close(fd);
        netdev_destroy(n);
        if (!(i & 1))
            close(fd);
    }
}

/* --- user --- */

/* The back end is optional: without libslirp there is nothing to test. */
static struct netdev *create_user(const char *spec)
{
    struct netdev *n;
    enum sim_status status = netdev_create(sim, spec, mac, &n);

    if (status == SIM_ERR_UNSUPPORTED)
        skip_because("built without libslirp");
    assert_int_equal(status, SIM_OK);
    netdev_attach(n, &(struct netdev_client){sink_receive, &sink_a});
    return n;
}

static void put16(uint8_t *p, unsigned v)
{
    p[0] = (uint8_t)(v >> 8);
    p[1] = (uint8_t)v;
}

/* Ethernet, ARP: who has 10.0.2.`host`? */
static size_t arp_request(uint8_t *f, uint8_t host)
{
    static const uint8_t body[] = {8, 6, 0, 1, 8, 0, 6, 4, 0, 1};

    memset(f, 0xff, 6);
    memcpy(f + 6, mac, 6);
    memcpy(f + 12, body, sizeof body);
    memcpy(f + 22, mac, 6);
    memcpy(f + 28, (const uint8_t[]){10, 0, 2, 15}, 4);
    memset(f + 32, 0, 6);
    memcpy(f + 38, (const uint8_t[]){10, 0, 2, host}, 4);
    return 42;
}

static void test_user_answers_arp(void **state)
{
    struct netdev *n = create_user("user");
    uint8_t frame[64];

    (void)state;
    netdev_send(n, frame, arp_request(frame, 2));
    WAIT_FOR(sink_count(&sink_a) == 1);
    assert_memory_equal(sink_a.last, mac, 6);
    assert_int_equal(sink_a.last[21], 2); /* reply */
    assert_memory_equal(sink_a.last + 28, ((uint8_t[]){10, 0, 2, 2}), 4);
    netdev_destroy(n);
}

static unsigned ip_checksum(const uint8_t *p, unsigned len)
{
    uint32_t sum = 0;

    for (unsigned i = 0; i < len; i += 2)
        sum += (uint32_t)p[i] << 8 | p[i + 1];
    while (sum >> 16)
        sum = (sum & 0xffff) + (sum >> 16);
    return ~sum & 0xffff;
}

static size_t dhcp_discover(uint8_t *f)
{
    static const uint8_t ip[] = {0x45, 0, 0, 0, 0, 0, 0, 0, 64, 17, 0, 0, 0, 0, 0, 0, 255, 255, 255, 255};
    static const uint8_t options[] = {0x63, 0x82, 0x53, 0x63, 53, 1, 1, 255};
    size_t len = 14 + 20 + 8 + 300;
    uint8_t *udp = f + 34, *bootp = f + 42;

    memset(f, 0, len);
    memset(f, 0xff, 6);
    memcpy(f + 6, mac, 6);
    put16(f + 12, 0x0800);
    memcpy(f + 14, ip, sizeof ip);
    put16(f + 16, 20 + 8 + 300);
    put16(f + 24, ip_checksum(f + 14, 20));
    put16(udp, 68);
    put16(udp + 2, 67);
    put16(udp + 4, 8 + 300);
    bootp[0] = bootp[1] = 1;
    bootp[2] = 6;
    memcpy(bootp + 28, mac, 6);
    memcpy(bootp + 236, options, sizeof options);
    return len;
}

static void test_user_offers_an_address(void **state)
{
    struct netdev *n = create_user("user,restrict=off");
    uint8_t frame[400];

    (void)state;
    netdev_send(n, frame, dhcp_discover(frame));
    WAIT_FOR(sink_count(&sink_a) == 1);
    assert_memory_equal(sink_a.last + 42 + 16, ((uint8_t[]){10, 0, 2, 15}), 4); /* yiaddr */
    netdev_destroy(n);
}

static void test_user_forwards_a_port(void **state)
{
    char spec[64];
    uint16_t port = free_port();

    (void)state;
    snprintf(spec, sizeof spec, "user,hostfwd=tcp:127.0.0.1:%u-:22", port);
    struct netdev *n = create_user(spec);
    struct netdev *other;
    assert_int_equal(netdev_create(sim, spec, mac, &other), SIM_ERR_IO); /* the port is taken */
    int fd = dial(port);
    WAIT_FOR(sink_count(&sink_a) > 0);
    assert_int_equal(sink_a.last[13], 6); /* "who has 10.0.2.15?" */
    assert_memory_equal(sink_a.last + 38, ((uint8_t[]){10, 0, 2, 15}), 4);
    close(fd);
    netdev_destroy(n);
}

static void test_user_survives_garbage(void **state)
{
    struct netdev *n = create_user("user");
    uint8_t frame[1514];
    uint32_t x = 12345;

    (void)state;
    for (unsigned i = 0; i < 3000; i++) {
        size_t base = i & 1 ? arp_request(frame, 2) : dhcp_discover(frame);
        for (unsigned k = 0; k < 8; k++) {
            x = x * 1664525 + 1013904223;
            frame[(x >> 8) % base] = (uint8_t)(x >> 24);
        }
        netdev_send(n, frame, 1 + (x >> 4) % base);
        if (i % 100 == 0)
            usleep(1000);
    }
    /* It may have cost the slot of a wrong address; a new question is answered. */
    unsigned before = sink_count(&sink_a);
    WAIT_FOR((netdev_send(n, frame, arp_request(frame, 3)), sink_count(&sink_a) > before));
    netdev_destroy(n);
}

static void test_user_destroy_under_traffic(void **state)
{
    uint8_t frame[64];

    (void)state;
    for (unsigned i = 0; i < 20; i++) {
        struct netdev *n = create_user("user");
        for (unsigned k = 0; k < 50; k++)
            netdev_send(n, frame, arp_request(frame, 2));
        netdev_destroy(n);
    }
}
#define NET_TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

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
        NET_TEST(test_socket_frames_are_qemus),
        NET_TEST(test_socket_takes_the_next_peer),
        NET_TEST(test_socket_drops_a_peer_that_talks_nonsense),
        NET_TEST(test_socket_slow_guest_loses_nothing),
        NET_TEST(test_socket_slow_peer_never_blocks_the_guest),
        NET_TEST(test_socket_connects_when_the_listener_comes),
        NET_TEST(test_socket_unix_path),
        NET_TEST(test_socket_port_in_use_is_an_error),
        NET_TEST(test_destroy_under_traffic),
        NET_TEST(test_user_answers_arp),
        NET_TEST(test_user_offers_an_address),
        NET_TEST(test_user_forwards_a_port),
        NET_TEST(test_user_survives_garbage),
        NET_TEST(test_user_destroy_under_traffic),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
