/* The network back end user (libslirp). */
#include "netdev_fixture.h"

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

int main(void)
{
    const struct CMUnitTest tests[] = {
        NET_TEST(test_user_answers_arp),
        NET_TEST(test_user_offers_an_address),
        NET_TEST(test_user_forwards_a_port),
        NET_TEST(test_user_survives_garbage),
        NET_TEST(test_user_destroy_under_traffic),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
