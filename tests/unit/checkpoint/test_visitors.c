/* Strangers at a target's address: each is one warning, and none keeps the right one out. Dialling that is given up. */
#include <arpa/inet.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cmocka.h>

#include "checkpoint/visitors.h"
#include "sim-core/alloc.h"
#include "sim-core/lock.h"
#include "sim-core/unix_socket.h"

enum { TRIES = 200, WAIT_MS = 100 };

struct door {
    char folder[32], path[40], uri[64];
    struct visitors *v;
    int log, stderr_was; /* what is said meanwhile */
};

static void open_door(struct door *d)
{
    strcpy(d->folder, "/tmp/visitors.XXXXXX");
    assert_non_null(mkdtemp(d->folder));
    snprintf(d->path, sizeof d->path, "%s/s", d->folder);
    snprintf(d->uri, sizeof d->uri, "unix:%s", d->path);
    assert_int_equal(visitors_open(d->uri, &d->v), SIM_OK);
    d->log = open("/tmp", O_TMPFILE | O_RDWR, 0600);
    assert_true(d->log >= 0);
    d->stderr_was = dup(2);
    dup2(d->log, 2);
}

/* What was said is *text, to be freed. */
static void close_door(struct door *d, char **text)
{
    visitors_close(d->v);
    dup2(d->stderr_was, 2);
    close(d->stderr_was);
    off_t len = lseek(d->log, 0, SEEK_END);
    *text = sim_zalloc((size_t)len + 1);
    assert_int_equal(pread(d->log, *text, (size_t)len, 0), len);
    close(d->log);
    rmdir(d->folder);
}

static unsigned count(const char *text, const char *word)
{
    unsigned n = 0;

    for (const char *at = text; (at = strstr(at, word)); at += strlen(word))
        n++;
    return n;
}

static int knock(const struct door *d)
{
    struct sockaddr_un addr;
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

    assert_true(sim_unix_address(d->path, &addr));
    assert_int_equal(connect(fd, (struct sockaddr *)&addr, sizeof addr), 0);
    return fd;
}

static struct ckpt_stream *greet(const struct door *d)
{
    struct ckpt_stream *s;

    assert_int_equal(ckpt_stream_dial(d->uri, NULL, NULL, &s), SIM_OK);
    assert_int_equal(ckpt_stream_say_hello(s), SIM_OK);
    return s;
}

static void say(struct ckpt_stream *s, enum ckpt_frame_type type, const char *text)
{
    assert_int_equal(ckpt_stream_send(s, &(struct ckpt_frame){.type = type, .len = (uint32_t)strlen(text),
                                                              .payload = (const uint8_t *)text}),
                     SIM_OK);
}

static struct ckpt_stream *await_one(struct door *d, enum ckpt_frame_type type, struct ckpt_frame *f)
{
    struct ckpt_stream *s = NULL;
    enum sim_status status = SIM_INPROGRESS;

    for (unsigned i = 0; i < TRIES && status == SIM_INPROGRESS; i++)
        status = visitors_next(d->v, type, WAIT_MS, &s, f);
    assert_int_equal(status, SIM_OK);
    return s;
}

static void test_strangers_do_not_keep_the_right_one_out(void **state)
{
    static const char rubbish[100] = "GET / HTTP/1.1";
    struct ckpt_frame f;
    struct door d;
    char *text;

    (void)state;
    open_door(&d);
    int silent = knock(&d), gone = knock(&d), wrong = knock(&d), half = knock(&d);
    close(gone);
    assert_int_equal(write(wrong, rubbish, sizeof rubbish), sizeof rubbish);
    assert_int_equal(write(half, "PMIG\1", 5), 5);
    struct ckpt_stream *other = greet(&d), *right = greet(&d), *stays;
    say(other, CKPT_FRAME_DONE, "");
    say(right, CKPT_FRAME_JOIN, "it is me");
    stays = await_one(&d, CKPT_FRAME_JOIN, &f);
    assert_string_equal((const char *)f.payload, "it is me");
    close_door(&d, &text);
    assert_int_equal(count(text, "no frame of a migration comes from there"), 1);
    assert_int_equal(count(text, "the connection has ended"), 1);
    assert_int_equal(count(text, "a frame DONE came instead of JOIN"), 1);
    assert_int_equal(count(text, "nobody is awaited any more"), 2); /* the silent ones */
    assert_int_equal(count(text, "warning"), 5);
    assert_int_equal(count(text, "(process "), 5);
    assert_int_equal(count(text, "error"), 0);
    sim_free(text);
    ckpt_stream_destroy(stays);
    ckpt_stream_destroy(other);
    ckpt_stream_destroy(right);
    close(silent);
    close(wrong);
    close(half);
}

/* A frame may come in pieces; nobody waits for the rest. */
static void test_a_greeting_in_pieces(void **state)
{
    uint8_t hello[40];
    struct ckpt_stream *s;
    struct ckpt_frame f;
    struct door d;
    char *text;
    int pair[2];

    (void)state;
    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM, 0, pair), 0);
    struct ckpt_stream *model = ckpt_stream_create(pair[0], "model");
    assert_int_equal(ckpt_stream_say_hello(model), SIM_OK);
    assert_int_equal(read(pair[1], hello, sizeof hello), sizeof hello);
    open_door(&d);
    int fd = knock(&d);
    for (size_t i = 0; i < sizeof hello; i++) {
        assert_int_equal(visitors_next(d.v, CKPT_FRAME_HELLO, 0, &s, &f), SIM_INPROGRESS);
        assert_int_equal(write(fd, hello + i, 1), 1);
    }
    s = await_one(&d, CKPT_FRAME_HELLO, &f);
    close_door(&d, &text);
    assert_string_equal(text, "");
    sim_free(text);
    ckpt_stream_destroy(s);
    ckpt_stream_destroy(model);
    close(pair[1]);
    close(fd);
}

/* Who has a time in which to say all: a frame that is not all there by then is none, whatever has come of it. */
static void test_all_is_said_in_time(void **state)
{
    const uint64_t minute_ns = 60000000000ull;
    struct ckpt_frame f;
    struct door d;
    char *text;
    int pair[2];

    (void)state;
    open_door(&d);
    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM, 0, pair), 0);
    struct ckpt_stream *says = ckpt_stream_create(pair[0], "says"), *hears = ckpt_stream_create(pair[1], "hears");
    for (unsigned i = 0; i < 3; i++)
        assert_int_equal(ckpt_stream_say_hello(says), SIM_OK);
    ckpt_stream_hear_until(hears, sim_host_ns() + minute_ns);
    assert_int_equal(ckpt_stream_receive(hears, &f), SIM_OK);
    ckpt_stream_hear_until(hears, 0);
    assert_int_equal(ckpt_stream_receive(hears, &f), SIM_OK);
    ckpt_stream_hear_until(hears, sim_host_ns());
    assert_int_equal(ckpt_stream_receive(hears, &f), SIM_ERR_IO);
    close_door(&d, &text);
    assert_int_equal(count(text, "does not say all in time"), 1);
    sim_free(text);
    ckpt_stream_destroy(says);
    ckpt_stream_destroy(hears);
}

/* --- dialling --- */

static bool after_some(void *opaque)
{
    return ++*(unsigned *)opaque > 3;
}

/* Nobody takes connections, and the queue is full: neither kind of address waits longer than it is asked to. */
static void give_up_on(const char *uri, const struct sockaddr *addr, socklen_t len)
{
    struct ckpt_stream *s;
    unsigned asked = 0;
    int queued[3];

    for (unsigned i = 0; i < 3; i++) {
        queued[i] = socket(addr->sa_family, SOCK_STREAM | SOCK_NONBLOCK, 0);
        (void)connect(queued[i], addr, len);
    }
    uint64_t start = sim_host_ns();
    assert_int_equal(ckpt_stream_dial(uri, after_some, &asked, &s), SIM_ERR_IO);
    assert_true(asked > 3);
    assert_true(sim_host_ns() - start < 5000000000ull); /* it would wait ten seconds for an answer */
    for (unsigned i = 0; i < 3; i++)
        close(queued[i]);
}

static void test_dialling_is_given_up(void **state)
{
    struct sockaddr_storage addr = {.ss_family = AF_INET};
    socklen_t len = sizeof addr;
    char uri[64], path[] = "/tmp/dial.XXXXXX";
    struct sockaddr_un un;

    (void)state;
    int fd = socket(AF_INET, SOCK_STREAM, 0);
    assert_int_equal(bind(fd, (struct sockaddr *)&addr, sizeof(struct sockaddr_in)), 0);
    assert_int_equal(listen(fd, 0), 0);
    assert_int_equal(getsockname(fd, (struct sockaddr *)&addr, &len), 0);
    snprintf(uri, sizeof uri, "tcp:127.0.0.1:%u", ntohs(((struct sockaddr_in *)&addr)->sin_port));
    give_up_on(uri, (struct sockaddr *)&addr, len);
    close(fd);

    close(mkstemp(path));
    unlink(path);
    assert_true(sim_unix_address(path, &un));
    fd = socket(AF_UNIX, SOCK_STREAM, 0);
    assert_int_equal(bind(fd, (struct sockaddr *)&un, sizeof un), 0);
    assert_int_equal(listen(fd, 0), 0);
    snprintf(uri, sizeof uri, "unix:%s", path);
    give_up_on(uri, (struct sockaddr *)&un, sizeof un);
    close(fd);
    unlink(path);
}

static void test_addresses_beside(void **state)
{
    static const struct {
        const char *uri, *beside;
    } rows[] = {
        {"tcp:127.0.0.2:4444", "tcp:127.0.0.2:0"},
        {"tcp::4444", "tcp::0"},
        {"tcp:0.0.0.0:4444", "tcp::0"},
        {"tcp:[::1]:4444", "tcp:[::1]:0"},
    };

    (void)state;
    for (size_t i = 0; i < SIM_ARRAY_LEN(rows); i++) {
        struct sockaddr_in6 loop = {.sin6_family = AF_INET6, .sin6_addr = IN6ADDR_LOOPBACK_INIT};
        int fd = socket(AF_INET6, SOCK_STREAM, 0);
        bool has_ipv6 = bind(fd, (struct sockaddr *)&loop, sizeof loop) == 0;
        close(fd);
        if (!has_ipv6 && strchr(rows[i].uri, '['))
            continue;
        char *address = ckpt_address_beside(rows[i].uri);
        assert_string_equal(address, rows[i].beside);
        sim_free(address);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_strangers_do_not_keep_the_right_one_out),
        cmocka_unit_test(test_a_greeting_in_pieces),
        cmocka_unit_test(test_all_is_said_in_time),
        cmocka_unit_test(test_dialling_is_given_up),
        cmocka_unit_test(test_addresses_beside),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
