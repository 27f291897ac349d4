/* The user's terminal: raw mode, escape key, stdin as guest input. See terminal.h. */
#include "terminal.h"

#include <errno.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <termios.h>
#include <unistd.h>

#include "sim-core/alloc.h"
#include "sim-core/lock.h"
#include "sim-core/log.h"

enum {
    ESCAPE = 0x01,          /* Ctrl-A */
    POLL_NS = 10 * 1000000, /* no room, or a file that epoll does not watch */
    CHUNK = 4096
};

/* Owner: the I/O thread after creation. Lifetime: one run. */
struct terminal {
    struct sim_io *io;
    int fd;
    bool tty;
    bool escaped;   /* the last byte was the escape key */
    bool watchable; /* a pipe or terminal, not a regular file */
    const struct terminal_ops *ops;
    void *opaque;
    struct sim_io_watch *watch; /* NULL: polled, paused or at its end */
    struct sim_io_timer *timer;
};

/* --- raw mode: process state, see the header --- */

static struct {
    int fd;
    struct termios saved, raw;
    volatile sig_atomic_t known; /* saved and raw are filled in */
    _Atomic bool on;
} mode = {.fd = -1};

static bool in_foreground(int fd)
{
    return tcgetpgrp(fd) == getpgrp();
}

bool terminal_is_raw(void)
{
    return atomic_load_explicit(&mode.on, memory_order_relaxed);
}

void terminal_restore(void)
{
    int saved_errno = errno;

    if (mode.known && atomic_exchange_explicit(&mode.on, false, memory_order_relaxed))
        tcsetattr(mode.fd, TCSANOW, &mode.saved);
    errno = saved_errno;
}

void terminal_resume(void)
{
    if (mode.known && in_foreground(mode.fd) && tcsetattr(mode.fd, TCSANOW, &mode.raw) == 0)
        atomic_store_explicit(&mode.on, true, memory_order_relaxed);
}

/* As QEMU's: keys as they are, no signals from keys; OPOST stays, so that messages of the host
 * process keep their line ends. */
static void make_raw(struct termios *t)
{
    t->c_iflag &= (tcflag_t) ~(IGNBRK | BRKINT | PARMRK | ISTRIP | INLCR | IGNCR | ICRNL | IXON);
    t->c_oflag |= OPOST;
    t->c_lflag &= (tcflag_t) ~(ECHO | ECHONL | ICANON | IEXTEN | ISIG);
    t->c_cflag &= (tcflag_t) ~(CSIZE | PARENB);
    t->c_cflag |= CS8;
    t->c_cc[VMIN] = 1;
    t->c_cc[VTIME] = 0;
}

static const int fatal_signals[] = {SIGSEGV, SIGBUS, SIGILL, SIGFPE, SIGABRT, SIGSYS, SIGTRAP};
static struct sigaction previous[SIM_ARRAY_LEN(fatal_signals)];

/* Restores the terminal, then lets the signal do what it would have done. A fault comes again when
 * the handler returns to the instruction; a signal that somebody sent is raised again. */
static void on_fatal(int sig, siginfo_t *info, void *context)
{
    (void)context;
    terminal_restore();
    for (size_t i = 0; i < SIM_ARRAY_LEN(fatal_signals); i++)
        if (fatal_signals[i] == sig)
            sigaction(sig, &previous[i], NULL);
    if (info->si_code <= 0)
        raise(sig);
}

static void catch_fatal_signals(void)
{
    struct sigaction sa = {.sa_sigaction = on_fatal, .sa_flags = SA_SIGINFO | SA_ONSTACK};

    sigemptyset(&sa.sa_mask);
    for (size_t i = 0; i < SIM_ARRAY_LEN(fatal_signals); i++)
        sigaction(fatal_signals[i], &sa, &previous[i]);
}

static void release_fatal_signals(void)
{
    for (size_t i = 0; i < SIM_ARRAY_LEN(fatal_signals); i++)
        sigaction(fatal_signals[i], &previous[i], NULL);
}

static void enter_raw(int fd)
{
    static bool at_exit; /* atexit cannot be taken back */

    if (tcgetattr(fd, &mode.saved) < 0)
        return;
    mode.raw = mode.saved;
    make_raw(&mode.raw);
    mode.fd = fd;
    mode.known = 1;
    sim_at_bug(terminal_restore);
    if (!at_exit)
        atexit(terminal_restore);
    at_exit = true;
    catch_fatal_signals();
    terminal_resume();
}

static void leave_raw(void)
{
    if (!mode.known)
        return;
    terminal_restore();
    release_fatal_signals();
    mode.known = 0;
}

/* --- the escape key --- */

static void print_help(void)
{
    static const char text[] = "\n"
                               "Ctrl-A h    this help\n"
                               "Ctrl-A x    quit\n"
                               "Ctrl-A s    statistics so far\n"
                               "Ctrl-A a    (or Ctrl-A Ctrl-A) send Ctrl-A to the guest\n";

    if (write(STDERR_FILENO, text, sizeof text - 1) < 0) {
        /* nobody to tell */
    }
}

/* The key after Ctrl-A; true when the guest gets a Ctrl-A. */
static bool escape_command(struct terminal *t, uint8_t key)
{
    switch (key) {
    case 'h':
    case '?':
        print_help();
        break;
    case 'x':
        t->ops->quit(t->opaque);
        break;
    case 's':
        t->ops->stats(t->opaque);
        break;
    case 'c':
        sim_info("there is no monitor (Ctrl-A h lists the keys)");
        break;
    case 'a':
    case ESCAPE:
        return true;
    default:
        break; /* QEMU drops them, too */
    }
    return false;
}

/* Takes the commands out of data in place; returns what is left for the guest. */
static size_t filter_escapes(struct terminal *t, uint8_t *data, size_t len)
{
    size_t kept = 0;

    for (size_t i = 0; i < len; i++) {
        if (t->escaped) {
            t->escaped = false;
            if (escape_command(t, data[i]))
                data[kept++] = ESCAPE;
        } else if (data[i] == ESCAPE) {
            t->escaped = true;
        } else {
            data[kept++] = data[i];
        }
    }
    return kept;
}

/* --- input --- */

static void pump(struct terminal *t);

static void on_readable(void *opaque, unsigned events)
{
    (void)events;
    pump(opaque);
}

static void poll_later(struct terminal *t)
{
    sim_io_timer_arm(t->timer, sim_host_ns() + POLL_NS);
}

static void unwatch(struct terminal *t)
{
    if (t->watch)
        sim_io_watch_remove(t->watch);
    t->watch = NULL;
}

/* Regular files cannot be watched (EPERM); they are read by the timer. */
static void watch_or_poll(struct terminal *t)
{
    if (sim_io_watch_add(t->io, t->fd, SIM_IO_READ, on_readable, t, &t->watch) != SIM_OK) {
        t->watch = NULL;
        poll_later(t);
    }
}

/* Not now. A watch without events would still report a hung-up pipe, again and again. */
static void pause_reading(struct terminal *t)
{
    unwatch(t);
    poll_later(t);
}

/* A job in the background may not read its terminal (EIO); later it may. */
static bool in_background(const struct terminal *t, int error)
{
    return t->tty && error == EIO && !in_foreground(t->fd);
}

/* One read, so that a readiness report never turns into a blocking second read. */
static void pump(struct terminal *t)
{
    uint8_t data[CHUNK];
    size_t room = t->ops->room(t->opaque);

    /* A terminal is read even when the guest takes nothing: Ctrl-A x must end a hung guest. */
    if (t->tty)
        room = sizeof data;
    if (room == 0) {
        pause_reading(t);
        return;
    }
    ssize_t n = read(t->fd, data, room < sizeof data ? room : sizeof data);
    if (n > 0) {
        size_t len = t->tty ? filter_escapes(t, data, (size_t)n) : (size_t)n;
        if (len)
            t->ops->input(t->opaque, data, len);
    } else if (n < 0 && in_background(t, errno)) {
        pause_reading(t);
        return;
    } else if (n == 0 || (errno != EINTR && errno != EAGAIN)) {
        unwatch(t); /* the end of input; the guest goes on without */
        return;
    }
    if (!t->watch)
        poll_later(t);
}

static void on_timer(void *opaque)
{
    struct terminal *t = opaque;

    if (t->watchable)
        watch_or_poll(t); /* reports at once when there is input */
    else
        pump(t);
}

struct terminal *terminal_create(struct sim_io *io, int fd, const struct terminal_ops *ops,
                                 void *opaque)
{
    struct terminal *t = sim_new(struct terminal);

    t->io = io;
    t->fd = fd;
    t->ops = ops;
    t->opaque = opaque;
    t->tty = isatty(fd);
    t->timer = sim_io_timer_create(io, on_timer, t);
    if (t->tty)
        enter_raw(fd);
    watch_or_poll(t);
    t->watchable = t->watch != NULL;
    return t;
}

void terminal_destroy(struct terminal *t)
{
    if (!t)
        return;
    sim_io_timer_destroy(t->timer);
    unwatch(t);
    if (t->tty)
        leave_raw();
    sim_free(t);
}
