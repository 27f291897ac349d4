/* Character back ends: output reaches its place and never blocks, input waits for the device. */
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "device_fixture.h"

/* A directory for sockets and files, removed at the end. */
static char dir[] = "/tmp/partita-chardev-XXXXXX";

/* A device that takes `room` bytes at a time and keeps what it got. */
struct sink {
    struct sim_mutex lock;
    size_t room, len;
    uint8_t data[300000];
};

static size_t sink_can_receive(void *opaque)
{
    struct sink *s = opaque;

    sim_mutex_lock(&s->lock);
    size_t room = s->room;
    sim_mutex_unlock(&s->lock);
    return room;
}

static void sink_receive(void *opaque, const uint8_t *data, size_t len)
{
    struct sink *s = opaque;

    sim_mutex_lock(&s->lock);
    assert_true(len <= s->room);
    assert_true(s->len + len <= sizeof s->data);
    s->room -= len;
    memcpy(s->data + s->len, data, len);
    s->len += len;
    sim_mutex_unlock(&s->lock);
}

static size_t sink_len(struct sink *s)
{
    sim_mutex_lock(&s->lock);
    size_t len = s->len;
    sim_mutex_unlock(&s->lock);
    return len;
}

static bool sink_gets(struct sink *s, size_t len)
{
    for (int ms = 0; ms < 60000 && sink_len(s) < len; ms++)
        poll(NULL, 0, 1);
    return sink_len(s) == len;
}

static void sink_open(struct sink *s, struct chardev *c, size_t room)
{
    sim_mutex_lock(&s->lock);
    s->room = room;
    sim_mutex_unlock(&s->lock);
    chardev_accept_input(c);
}

static struct sink *sink_new(struct chardev *c, size_t room)
{
    struct sink *s = sim_new(struct sink);

    sim_mutex_init(&s->lock, SIM_RANK_DEVICE);
    s->room = room;
    chardev_attach(c, &(struct chardev_client){sink_can_receive, sink_receive, s});
    return s;
}

static int setup(void **state)
{
    struct fixture *f = sim_new(struct fixture);

    fixture_init(f);
    *state = f;
    return 0;
}

static int teardown(void **state)
{
    struct fixture *f = *state;

    fixture_fini(f);
    sim_free(f);
    return 0;
}

static struct chardev *open_spec(struct fixture *f, const char *spec)
{
    struct chardev *c;

    assert_int_equal(chardev_create(f->sim, spec, &c), SIM_OK);
    f->chardev = c;
    return c;
}

static void put(struct chardev *c, const char *s)
{
    chardev_write(c, (const uint8_t *)s, strlen(s));
}

/* --- output --- */

static void note_output(void *opaque, const uint8_t *data, size_t len)
{
    char *text = opaque;

    strncat(text, (const char *)data, len);
    strcat(text, "|");
}

static void test_taps_see_lines_and_rests(void **state)
{
    struct fixture *f = *state;
    struct chardev *c = open_spec(f, "mem");
    char text[100] = "";
    size_t len;

    chardev_add_tap(c, &(struct chardev_tap){note_output, text});
    sim_io_stop(f->sim->io); /* this thread may be away from its core for longer than a rest is kept back */
    put(c, "a");
    put(c, "b\n");
    put(c, "login: ");
    assert_int_equal(sim_io_start(f->sim->io), SIM_OK);
    for (int ms = 0; ms < 60000 && strlen(text) < 12; ms++)
        poll(NULL, 0, 1); /* comes without a newline, after a millisecond */
    assert_string_equal(text, "ab\n|login: |");
    assert_string_equal(chardev_mem_text(c, &len), "ab\nlogin: ");
}

static char *slurp(const char *path)
{
    static char buf[100];
    FILE *in = fopen(path, "r");

    assert_non_null(in);
    buf[fread(buf, 1, sizeof buf - 1, in)] = 0;
    fclose(in);
    return buf;
}

static void test_file_gets_everything_at_close(void **state)
{
    struct fixture *f = *state;
    char spec[100];

    snprintf(spec, sizeof spec, "file:%s/log", dir);
    put(open_spec(f, spec), "one\ntwo");
    chardev_destroy(f->chardev);
    f->chardev = NULL;
    assert_string_equal(slurp(spec + 5), "one\ntwo");
    put(open_spec(f, spec), "new");
    chardev_destroy(f->chardev);
    f->chardev = NULL;
    assert_string_equal(slurp(spec + 5), "new");
    unlink(spec + 5);
}

/* Runs fn with stderr in a file and returns how many lines it got. */
static unsigned count_messages(struct fixture *f, void (*fn)(struct fixture *))
{
    char path[100];
    int saved = dup(STDERR_FILENO), fd;
    unsigned lines = 0;

    snprintf(path, sizeof path, "%s/stderr", dir);
    fd = open(path, O_RDWR | O_CREAT | O_TRUNC, 0600);
    dup2(fd, STDERR_FILENO);
    fn(f);
    dup2(saved, STDERR_FILENO);
    close(saved);
    close(fd);
    FILE *in = fopen(path, "r");
    for (int ch = getc(in); ch != EOF; ch = getc(in))
        lines += ch == '\n';
    fclose(in);
    unlink(path);
    return lines;
}

static void fill_full_disk(struct fixture *f)
{
    struct chardev *c = open_spec(f, "file:/dev/full");

    for (int i = 0; i < 1000; i++)
        put(c, "does not fit\n");
    chardev_destroy(c);
    f->chardev = NULL;
}

static void test_full_disk_is_said_once(void **state)
{
    assert_int_equal(count_messages(*state, fill_full_disk), 1);
}

static void open_bad_specs(struct fixture *f)
{
    static const char *const bad[] = {
        "nonsense", "file:", "file:/nonexistent/x", "file:/tmp", "null:x", "unix:",
        "unix:/nonexistent/x", "unix:/tmp/x,server=maybe", "unix:/nonexistent/x,server=on,wait=off",
    };
    struct chardev *c;

    for (size_t i = 0; i < SIM_ARRAY_LEN(bad); i++)
        assert_int_not_equal(chardev_create(f->sim, bad[i], &c), SIM_OK);
}

static void test_bad_specs_give_one_message_each(void **state)
{
    assert_int_equal(count_messages(*state, open_bad_specs), 9);
}

/* stdout is a pipe whose reader sleeps: writing returns at once, and the flags of our fd 1 stay. */
static void test_stdout_never_blocks(void **state)
{
    struct fixture *f = *state;
    int p[2], saved = dup(STDOUT_FILENO);
    static char line[1000];
    size_t got = 0;

    assert_int_equal(pipe(p), 0);
    dup2(p[1], STDOUT_FILENO);
    close(p[1]);
    memset(line, 'x', sizeof line - 1);
    line[sizeof line - 2] = '\n';
    struct chardev *c = open_spec(f, "stdio");
    uint64_t start = sim_host_ns();
    for (int i = 0; i < 500; i++)
        put(c, line);
    uint64_t took = sim_host_ns() - start;
    int flags = fcntl(STDOUT_FILENO, F_GETFL);
    while (got < 500 * 999) {
        char buf[4096];
        ssize_t n = read(p[0], buf, sizeof buf);
        if (n <= 0)
            break;
        got += (size_t)n;
    }
    chardev_destroy(c);
    f->chardev = NULL;
    dup2(saved, STDOUT_FILENO);
    close(saved);
    close(p[0]);
    assert_int_equal(got, 500 * 999);
    assert_int_equal(flags & O_NONBLOCK, 0);
    assert_true(took < 2000000000);
}

static void write_into_closed_pipe(struct fixture *f)
{
    int p[2], saved = dup(STDOUT_FILENO);

    assert_int_equal(pipe(p), 0);
    dup2(p[1], STDOUT_FILENO);
    close(p[1]);
    struct chardev *c = open_spec(f, "stdio");
    close(p[0]);
    for (int i = 0; i < 100; i++)
        put(c, "lost\n");
    chardev_destroy(c);
    f->chardev = NULL;
    dup2(saved, STDOUT_FILENO);
    close(saved);
}

static void test_closed_pipe_is_said_once(void **state)
{
    signal(SIGPIPE, SIG_IGN); /* as launch does */
    assert_int_equal(count_messages(*state, write_into_closed_pipe), 1);
}

/* --- input --- */

static void test_input_waits_for_room(void **state)
{
    struct chardev *c = open_spec(*state, "null");
    struct sink *s = sink_new(c, 0);

    chardev_inject(c, (const uint8_t *)"abcdef", 6);
    poll(NULL, 0, 10);
    assert_int_equal(sink_len(s), 0);
    sink_open(s, c, 4);
    assert_true(sink_gets(s, 4));
    sink_open(s, c, 100);
    assert_true(sink_gets(s, 6));
    assert_memory_equal(s->data, "abcdef", 6);
    chardev_attach(c, NULL);
    sim_free(s);
}

static void test_input_queue_is_bounded(void **state)
{
    struct chardev *c = open_spec(*state, "null");
    struct sink *s = sink_new(c, 0);
    uint8_t kilo[1024] = {0};

    for (int i = 0; i < 100; i++)
        chardev_inject(c, kilo, sizeof kilo);
    sink_open(s, c, sizeof s->data);
    assert_true(sink_gets(s, 64 * 1024));
    chardev_attach(c, NULL);
    sim_free(s);
}

static void test_input_before_the_device_is_kept(void **state)
{
    struct chardev *c = open_spec(*state, "null");

    chardev_inject(c, (const uint8_t *)"early", 5);
    poll(NULL, 0, 5);
    struct sink *s = sink_new(c, 100);
    assert_true(sink_gets(s, 5));
    chardev_attach(c, NULL);
    chardev_inject(c, (const uint8_t *)"late", 4);
    poll(NULL, 0, 5);
    assert_int_equal(s->len, 5);
    sim_free(s);
}

/* --- unix sockets --- */

static int unix_connect(const char *path)
{
    struct sockaddr_un addr = {.sun_family = AF_UNIX};
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

    strncpy(addr.sun_path, path, sizeof addr.sun_path - 1);
    assert_int_equal(connect(fd, (struct sockaddr *)&addr, sizeof addr), 0);
    return fd;
}

static void read_exactly(int fd, void *buf, size_t len)
{
    struct pollfd p = {.fd = fd, .events = POLLIN};

    for (size_t done = 0; done < len;) {
        assert_int_equal(poll(&p, 1, 5000), 1);
        ssize_t n = read(fd, (char *)buf + done, len - done);
        assert_true(n > 0);
        done += (size_t)n;
    }
}

/* Waits until the server has accepted: then what it writes arrives. */
static void expect_greeting(struct chardev *c, int fd)
{
    struct pollfd p = {.fd = fd, .events = POLLIN};
    char ch;

    for (int tries = 0; tries < 1000; tries++) {
        put(c, "\n");
        if (poll(&p, 1, 5) == 1)
            break;
    }
    do
        read_exactly(fd, &ch, 1);
    while (poll(&p, 1, 20) == 1);
}

static void test_unix_server_serves_one_after_the_other(void **state)
{
    struct fixture *f = *state;
    char spec[128], path[80], buf[8] = "";

    snprintf(path, sizeof path, "%s/sock", dir);
    snprintf(spec, sizeof spec, "unix:%s,server=on,wait=off", path);
    struct chardev *c = open_spec(f, spec);
    struct sink *s = sink_new(c, 100);

    put(c, "nobody reads this\n");
    for (int round = 0; round < 3; round++) {
        int fd = unix_connect(path);
        expect_greeting(c, fd);
        put(c, "hi\n");
        read_exactly(fd, buf, 3);
        assert_memory_equal(buf, "hi\n", 3);
        assert_int_equal(write(fd, "in", 2), 2);
        assert_true(sink_gets(s, 2 * (size_t)(round + 1)));
        close(fd);
    }
    chardev_attach(c, NULL);
    chardev_destroy(c);
    f->chardev = NULL;
    sim_free(s);
    assert_int_equal(access(path, F_OK), -1);
}

static void test_unix_client_and_stale_socket(void **state)
{
    struct fixture *f = *state;
    char spec[160], client[160];
    struct chardev *a, *b;
    struct sockaddr_un addr = {.sun_family = AF_UNIX};

    snprintf(addr.sun_path, sizeof addr.sun_path, "%s/sock", dir);
    int stale = socket(AF_UNIX, SOCK_STREAM, 0);
    assert_int_equal(bind(stale, (struct sockaddr *)&addr, sizeof addr), 0);
    close(stale);
    snprintf(spec, sizeof spec, "unix:%s,server,nowait", addr.sun_path);
    snprintf(client, sizeof client, "unix:%s", addr.sun_path);
    assert_int_equal(chardev_create(f->sim, spec, &a), SIM_OK);
    assert_int_equal(chardev_create(f->sim, client, &b), SIM_OK);
    struct sink *s = sink_new(a, 100);
    put(b, "ping\n");
    assert_true(sink_gets(s, 5));
    assert_memory_equal(s->data, "ping\n", 5);
    chardev_attach(a, NULL);
    chardev_destroy(a);
    chardev_destroy(b);
    sim_free(s);
}

/* 200 KiB from the peer through a 64 KiB queue into a device that takes a little at a time. */
static void test_unix_input_flow_control(void **state)
{
    enum { TOTAL = 200 * 1024 };
    struct fixture *f = *state;
    char spec[128], path[80];
    static uint8_t data[TOTAL];

    snprintf(path, sizeof path, "%s/sock", dir);
    snprintf(spec, sizeof spec, "unix:%s,server=on,wait=off", path);
    struct chardev *c = open_spec(f, spec);
    struct sink *s = sink_new(c, 0);
    int fd = unix_connect(path);
    size_t sent = 0;

    for (size_t i = 0; i < TOTAL; i++)
        data[i] = (uint8_t)(i * 7 + i / 256);
    for (int ms = 0; ms < 60000 && sink_len(s) < TOTAL; ms++) {
        ssize_t n = sent < TOTAL ? send(fd, data + sent, TOTAL - sent, MSG_DONTWAIT) : 0;
        if (n > 0)
            sent += (size_t)n;
        if (sent == TOTAL && fd >= 0) {
            close(fd); /* hung up with input still to come */
            fd = -1;
        }
        sink_open(s, c, 1000);
        poll(NULL, 0, 1);
    }
    assert_int_equal(sink_len(s), TOTAL);
    assert_memory_equal(s->data, data, TOTAL);
    chardev_attach(c, NULL);
    sim_free(s);
}

static void flood_peer_that_sleeps(struct fixture *f)
{
    char spec[128], path[80];
    static char line[64 * 1024];
    struct chardev *c;

    snprintf(path, sizeof path, "%s/sock", dir);
    snprintf(spec, sizeof spec, "unix:%s,server=on,wait=off", path);
    c = open_spec(f, spec);
    int fd = unix_connect(path);
    expect_greeting(c, fd);
    memset(line, 'y', sizeof line - 1);
    uint64_t start = sim_host_ns();
    for (int i = 0; i < 64; i++)
        put(c, line);
    assert_true(sim_host_ns() - start < 2000000000);
    chardev_destroy(c);
    assert_true(sim_host_ns() - start < 4000000000);
    f->chardev = NULL;
    close(fd);
}

static void test_slow_reader_loses_output_and_is_told(void **state)
{
    /* when it begins, and the sum at the end */
    assert_int_equal(count_messages(*state, flood_peer_that_sleeps), 2);
}

static int make_dir(void **state)
{
    (void)state;
    return mkdtemp(dir) ? 0 : -1;
}

static int remove_dir(void **state)
{
    (void)state;
    return rmdir(dir);
}

int main(void)
{
#define T(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
    const struct CMUnitTest tests[] = {
        T(test_taps_see_lines_and_rests),
        T(test_file_gets_everything_at_close),
        T(test_full_disk_is_said_once),
        T(test_bad_specs_give_one_message_each),
        T(test_stdout_never_blocks),
        T(test_closed_pipe_is_said_once),
        T(test_input_waits_for_room),
        T(test_input_queue_is_bounded),
        T(test_input_before_the_device_is_kept),
        T(test_unix_server_serves_one_after_the_other),
        T(test_unix_client_and_stale_socket),
        T(test_unix_input_flow_control),
        T(test_slow_reader_loses_output_and_is_told),
    };
    return cmocka_run_group_tests(tests, make_dir, remove_dir);
}
