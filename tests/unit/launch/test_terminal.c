/* The terminal on a pty, a pipe and a file: raw mode, escape key, back pressure, restoration. */
#include <fcntl.h>
#include <pty.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <termios.h>
#include <unistd.h>

#include <cmocka.h>

#include "capture.h"
#include "signals.h"
#include "sim-core/lock.h"
#include "sim-core/log.h"
#include "terminal.h"

struct fixture {
    struct sim_io *io;
    struct terminal *terminal;
    _Atomic size_t room, len;
    uint8_t data[70000];
    _Atomic int quits, stats;
};

static size_t room(void *opaque)
{
    return ((struct fixture *)opaque)->room;
}

static void input(void *opaque, const uint8_t *data, size_t len)
{
    struct fixture *f = opaque;

    SIM_BUG_ON(f->len + len > sizeof f->data, "too much");
    memcpy(f->data + f->len, data, len);
    f->len += len;
    f->room = f->room > len ? f->room - len : 0;
}

static void quit(void *opaque)
{
    ((struct fixture *)opaque)->quits++;
}

static void stats(void *opaque)
{
    ((struct fixture *)opaque)->stats++;
}

static const struct terminal_ops ops = {room, input, quit, stats};

static void begin(struct fixture *f, int fd, size_t initial_room)
{
    memset(f, 0, sizeof *f);
    f->room = initial_room;
    assert_int_equal(sim_io_create(&f->io), SIM_OK);
    f->terminal = terminal_create(f->io, fd, &ops, f);
    assert_int_equal(sim_io_start(f->io), SIM_OK);
}

static void end(struct fixture *f)
{
    sim_io_stop(f->io);
    terminal_destroy(f->terminal);
    sim_io_destroy(f->io);
}

/* Waits until len bytes have come (or a minute has passed), and a little longer for what must not come. */
static void wait_len(struct fixture *f, size_t len)
{
    uint64_t until = sim_host_ns() + 60000000000ull;

    while (f->len < len && sim_host_ns() < until)
        usleep(1000);
    usleep(30000);
    assert_int_equal(f->len, len);
}

static void test_pipe_feeds_with_back_pressure(void **state)
{
    struct fixture *f = malloc(sizeof *f);
    uint8_t bytes[3000];
    int fd[2];

    (void)state;
    for (size_t i = 0; i < sizeof bytes; i++)
        bytes[i] = (uint8_t)i; /* has 0x01: no escape key on a pipe */
    assert_int_equal(pipe(fd), 0);
    begin(f, fd[0], 1000);
    assert_int_equal(write(fd[1], bytes, sizeof bytes), sizeof bytes);
    close(fd[1]); /* hung up while the guest has no room */
    wait_len(f, 1000);
    f->room = 500;
    wait_len(f, 1500);
    f->room = 60000;
    wait_len(f, 3000);
    assert_memory_equal(f->data, bytes, sizeof bytes);
    end(f);
    close(fd[0]);
    free(f);
}

/* The I/O thread must sleep when a pipe has hung up, not turn. */
static void test_hung_up_pipe_costs_nothing(void **state)
{
    struct fixture *f = malloc(sizeof *f);
    struct timespec t0, t1;
    int fd[2];

    (void)state;
    assert_int_equal(pipe(fd), 0);
    assert_int_equal(write(fd[1], "abc", 3), 3);
    close(fd[1]);
    begin(f, fd[0], 0); /* and there is no room, either */
    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &t0);
    usleep(200000);
    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &t1);
    assert_true((t1.tv_sec - t0.tv_sec) * 1000 + (t1.tv_nsec - t0.tv_nsec) / 1000000 < 100);
    f->room = 100;
    wait_len(f, 3);
    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &t0);
    usleep(200000);
    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &t1);
    assert_true((t1.tv_sec - t0.tv_sec) * 1000 + (t1.tv_nsec - t0.tv_nsec) / 1000000 < 100);
    end(f);
    close(fd[0]);
    free(f);
}

static void test_regular_file_feeds(void **state)
{
    struct fixture *f = malloc(sizeof *f);
    FILE *file = tmpfile();

    (void)state;
    fputs("commands\nfrom a file\n", file);
    fflush(file);
    lseek(fileno(file), 0, SEEK_SET);
    begin(f, fileno(file), 9);
    wait_len(f, 9);
    f->room = 100;
    wait_len(f, 21);
    end(f);
    fclose(file);
    free(f);
}

static void test_closed_input_is_no_input(void **state)
{
    struct fixture *f = malloc(sizeof *f);
    int fd = dup(0);

    (void)state;
    close(fd);
    begin(f, fd, 100);
    wait_len(f, 0);
    end(f);
    fd = open("/dev/null", O_RDONLY);
    begin(f, fd, 100);
    wait_len(f, 0);
    end(f);
    close(fd);
    free(f);
}

/* --- in a child whose controlling terminal is a pty --- */

struct child {
    pid_t pid;
    int master;
};

static struct child in_pty(void (*body)(void))
{
    struct child c;

    c.pid = forkpty(&c.master, NULL, NULL, NULL);
    assert_true(c.pid >= 0);
    if (c.pid == 0) {
        for (int sig = 1; sig < NSIG; sig++) /* cmocka has its own for faults */
            signal(sig, SIG_DFL);
        body();
        _exit(0);
    }
    return c;
}

static bool is_raw(int fd)
{
    struct termios t;

    assert_int_equal(tcgetattr(fd, &t), 0);
    return !(t.c_lflag & (ICANON | ECHO | ISIG));
}

static bool becomes(int fd, bool raw)
{
    for (int i = 0; i < 6000; i++) {
        if (is_raw(fd) == raw)
            return true;
        usleep(10000);
    }
    return false;
}

/* Reads the child's output until it has `text`. */
static void read_until(int fd, const char *text)
{
    static char all[8192];
    size_t len = 0;

    while (len < sizeof all - 1) {
        ssize_t n = read(fd, all + len, sizeof all - 1 - len);
        if (n <= 0)
            break;
        len += (size_t)n;
        all[len] = 0;
        if (strstr(all, text))
            return;
    }
    fail_msg("no '%s' in: %s", text, all);
}

static int wait_child(struct child *c)
{
    int status;

    assert_int_equal(waitpid(c->pid, &status, 0), c->pid);
    return status;
}

/* Echoes keys in brackets until Ctrl-A x. */
static void echo_body(void)
{
    struct fixture *f = calloc(1, sizeof *f);
    size_t seen = 0;

    f->room = 60000;
    if (sim_io_create(&f->io) != SIM_OK)
        _exit(1);
    f->terminal = terminal_create(f->io, 0, &ops, f);
    if (sim_io_start(f->io) != SIM_OK || !terminal_is_raw())
        _exit(2);
    if (write(1, "READY\n", 6) != 6)
        _exit(3);
    while (!f->quits) {
        usleep(1000);
        for (; seen < f->len; seen++)
            dprintf(1, "[%02x]", f->data[seen]);
    }
    end(f);
    _exit(terminal_is_raw() ? 4 : 0);
}

static void test_pty_raw_and_escape_key(void **state)
{
    struct child c = in_pty(echo_body);

    (void)state;
    read_until(c.master, "READY\r\n"); /* OPOST is on */
    assert_true(is_raw(c.master));
    assert_int_equal(write(c.master, "\x03\r\x1a", 3), 3);
    read_until(c.master, "[03][0d][1a]");
    assert_int_equal(write(c.master, "\x01\x01", 2), 2);
    read_until(c.master, "[01]");
    assert_int_equal(write(c.master, "\x01" "aq\x01z", 5), 5);
    read_until(c.master, "[01][71]");
    assert_int_equal(write(c.master, "\x01h", 2), 2);
    read_until(c.master, "Ctrl-A x");
    assert_int_equal(write(c.master, "\x01" "c", 2), 2);
    read_until(c.master, "no monitor");
    assert_int_equal(write(c.master, "\x01", 1), 1);
    assert_int_equal(write(c.master, "x", 1), 1);
    assert_true(becomes(c.master, false));
    int status = wait_child(&c);
    assert_true(WIFEXITED(status));
    assert_int_equal(WEXITSTATUS(status), 0);
    close(c.master);
}

static void raw_then(void (*last)(void))
{
    struct fixture *f = calloc(1, sizeof *f);

    if (sim_io_create(&f->io) != SIM_OK)
        _exit(1);
    f->terminal = terminal_create(f->io, 0, &ops, f);
    if (sim_io_start(f->io) != SIM_OK || !terminal_is_raw())
        _exit(2);
    if (write(1, "READY\n", 6) != 6)
        _exit(3);
    /* The parent looks at the mode first. */
    while (f->len == 0) {
        f->room = 10;
        usleep(1000);
    }
    last();
}

static void last_fault(void)
{
    volatile int *nowhere =
        mmap(NULL, 4096, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

    *nowhere = 1;
}
static void last_abort(void) { abort(); }
static void last_bug(void) { SIM_BUG_ON(true, "a bug for the test"); }
static void last_exit(void) { exit(9); }

static void fault_body(void) { raw_then(last_fault); }
static void abort_body(void) { raw_then(last_abort); }
static void bug_body(void) { raw_then(last_bug); }
static void exit_body(void) { raw_then(last_exit); }

static void test_pty_restored_however_it_ends(void **state)
{
    static const struct {
        void (*body)(void);
        int signal, code;
    } cases[] = {{fault_body, SIGSEGV, 0}, {abort_body, SIGABRT, 0}, {bug_body, 0, 70},
                 {exit_body, 0, 9}};

    (void)state;
    for (size_t i = 0; i < SIM_ARRAY_LEN(cases); i++) {
        struct child c = in_pty(cases[i].body);
        read_until(c.master, "READY");
        assert_true(is_raw(c.master));
        assert_int_equal(write(c.master, "k", 1), 1);
        assert_true(becomes(c.master, false));
        int status = wait_child(&c);
#if !defined(__SANITIZE_ADDRESS__) && !defined(__SANITIZE_THREAD__)
        if (cases[i].signal)
            assert_true(WIFSIGNALED(status) && WTERMSIG(status) == cases[i].signal);
        else
            assert_true(WIFEXITED(status) && WEXITSTATUS(status) == cases[i].code);
#else
        (void)status; /* the sanitizer's own exit code */
#endif
        close(c.master);
    }
}

/* --- signals --- */

static _Atomic int ended_by;

static void on_end(void *opaque, int sig)
{
    (void)opaque;
    ended_by = sig;
}

static void signal_body(void)
{
    struct fixture *f = calloc(1, sizeof *f);
    struct signals *s;

    if (signals_start(on_end, NULL, &s) != SIM_OK || sim_io_create(&f->io) != SIM_OK)
        _exit(1);
    f->terminal = terminal_create(f->io, 0, &ops, f);
    if (sim_io_start(f->io) != SIM_OK || write(1, "READY\n", 6) != 6)
        _exit(3);
    while (!ended_by)
        usleep(1000);
    end(f);
    signals_stop(s);
    _exit(100 + ended_by);
}

static void test_signals_end_and_stop(void **state)
{
    struct child c = in_pty(signal_body);
    int status;

    (void)state;
    read_until(c.master, "READY");
    assert_true(is_raw(c.master));
    kill(c.pid, SIGTSTP);
    assert_int_equal(waitpid(c.pid, &status, WUNTRACED), c.pid);
    assert_true(WIFSTOPPED(status));
    assert_false(is_raw(c.master));
    kill(c.pid, SIGCONT);
    assert_true(becomes(c.master, true));
    kill(c.pid, SIGTERM);
    status = wait_child(&c);
    assert_true(WIFEXITED(status));
    assert_int_equal(WEXITSTATUS(status), 100 + SIGTERM);
    assert_false(is_raw(c.master));
    close(c.master);
}

static void stuck_end(void *opaque, int sig)
{
    (void)opaque;
    (void)sig; /* whoever should end does not */
    if (write(1, "ASKED\n", 6) != 6)
        _exit(4);
}

static void stuck_body(void)
{
    struct fixture *f = calloc(1, sizeof *f);
    struct signals *s;

    if (signals_start(stuck_end, NULL, &s) != SIM_OK || sim_io_create(&f->io) != SIM_OK)
        _exit(1);
    f->terminal = terminal_create(f->io, 0, &ops, f);
    if (write(1, "READY\n", 6) != 6)
        _exit(3);
    for (;;)
        pause();
}

static void test_second_signal_ends_at_once(void **state)
{
    struct child c = in_pty(stuck_body);

    (void)state;
    read_until(c.master, "READY");
    kill(c.pid, SIGINT);
    read_until(c.master, "ASKED"); /* a second one while the first is pending would be the same one */
    assert_int_equal(waitpid(c.pid, NULL, WNOHANG), 0);
    kill(c.pid, SIGINT);
    int status = wait_child(&c);
    assert_true(WIFEXITED(status));
    assert_int_equal(WEXITSTATUS(status), 128 + SIGINT);
    assert_false(is_raw(c.master));
    close(c.master);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        /* These fork: before this process has had threads, for ThreadSanitizer. */
        cmocka_unit_test(test_pty_raw_and_escape_key),
        cmocka_unit_test(test_pty_restored_however_it_ends),
        cmocka_unit_test(test_signals_end_and_stop),
        cmocka_unit_test(test_second_signal_ends_at_once),
        cmocka_unit_test(test_pipe_feeds_with_back_pressure),
        cmocka_unit_test(test_hung_up_pipe_costs_nothing),
        cmocka_unit_test(test_regular_file_feeds),
        cmocka_unit_test(test_closed_input_is_no_input),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
