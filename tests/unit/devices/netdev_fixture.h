/* A simulation with two devices that remember which frames they got, for the tests of network back ends. */
#ifndef NETDEV_FIXTURE_H
#define NETDEV_FIXTURE_H

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

static inline bool sink_receive(void *opaque, const uint8_t *frame, size_t len)
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

static inline unsigned sink_count(struct sink *s)
{
    sim_mutex_lock(&s->lock);
    unsigned n = s->count;
    sim_mutex_unlock(&s->lock);
    return n;
}

static inline void sink_set_closed(struct sink *s, bool closed)
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

static inline void sink_init(struct sink *s)
{
    memset(s, 0, sizeof *s);
    sim_mutex_init(&s->lock, SIM_RANK_DEVICE);
}

static inline int setup(void **state)
{
    (void)state;
    assert_int_equal(sim_create(&sim), SIM_OK);
    assert_int_equal(sim_io_start(sim->io), SIM_OK);
    sink_init(&sink_a);
    sink_init(&sink_b);
    return 0;
}

static inline int teardown(void **state)
{
    (void)state;
    sim_destroy(sim);
    return 0;
}

static inline struct netdev *create(const char *spec, struct sink *s)
{
    struct netdev *n;

    assert_int_equal(netdev_create(sim, spec, mac, &n), SIM_OK);
    netdev_attach(n, &(struct netdev_client){sink_receive, s});
    return n;
}

/* One of those that the kernel gives to nobody else meanwhile, nor to who connects to it: below 32768. */
static inline uint16_t free_port(void)
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

static inline int dial(uint16_t port)
{
    struct sockaddr_in sin = {.sin_family = AF_INET,
                              .sin_port = htons(port),
                              .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    int fd = socket(AF_INET, SOCK_STREAM, 0);

    assert_int_equal(connect(fd, (struct sockaddr *)&sin, sizeof sin), 0);
    return fd;
}

#define NET_TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

#endif
