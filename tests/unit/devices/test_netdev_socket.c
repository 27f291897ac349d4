/* The network back end socket: framing, slow peers, lost peers, nonsense. */
#include "netdev_fixture.h"

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
    uint64_t start = sim_host_ns();
    for (unsigned i = 0; i < 500; i++)
        netdev_send(n, frame, sizeof frame);
    assert_true(sim_host_ns() - start < 3000000000u);
    assert_true(n->dropped > 0);
    struct timeval tv = {.tv_usec = 300000};
    setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &tv, sizeof tv);
    uint32_t header;
    while (recv(fd, &header, 4, MSG_WAITALL) == 4) {
        bool repeat = ntohl(header) == strlen("first");
        assert_true(repeat || ntohl(header) == sizeof frame);
        read_fully(fd, back, ntohl(header));
        got += !repeat;
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

int main(void)
{
    const struct CMUnitTest tests[] = {
        NET_TEST(test_socket_frames_are_qemus),
        NET_TEST(test_socket_takes_the_next_peer),
        NET_TEST(test_socket_drops_a_peer_that_talks_nonsense),
        NET_TEST(test_socket_slow_guest_loses_nothing),
        NET_TEST(test_socket_slow_peer_never_blocks_the_guest),
        NET_TEST(test_socket_connects_when_the_listener_comes),
        NET_TEST(test_socket_unix_path),
        NET_TEST(test_socket_port_in_use_is_an_error),
        NET_TEST(test_destroy_under_traffic),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
