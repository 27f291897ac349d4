/* Character back end on a Unix stream socket, as server (one client after the other) or client.
 *
 * Output without a connected peer is lost. Watches and the connection change on the I/O thread, and
 * in open and close; `closing` makes the former keep off once the latter has begun. */
#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "chardev_priv.h"
#include "sim-core/unix_socket.h"

struct unix_options {
    bool server, wait;
};

static enum sim_status bad_option(const struct chardev *c, const char *text, size_t len)
{
    sim_error("serial back end '%s': option '%.*s' is unknown (server=on|off, wait=on|off)",
              c->spec, (int)len, text);
    return SIM_ERR_INVALID;
}

/* One option; "server" and "nowait" alone are the older spelling. */
static enum sim_status parse_option(const struct chardev *c, const char *text, size_t len,
                                    struct unix_options *o)
{
    static const struct {
        const char *text;
        bool is_server, value;
    } known[] = {
        {"server=on", true, true}, {"server", true, true}, {"server=off", true, false},
        {"wait=on", false, true},  {"wait", false, true},  {"wait=off", false, false},
        {"nowait", false, false},
    };

    for (size_t i = 0; i < SIM_ARRAY_LEN(known); i++) {
        if (strlen(known[i].text) == len && memcmp(known[i].text, text, len) == 0) {
            *(known[i].is_server ? &o->server : &o->wait) = known[i].value;
            return SIM_OK;
        }
    }
    return bad_option(c, text, len);
}

static enum sim_status parse(struct chardev *c, const char *arg, struct unix_options *o)
{
    size_t len = strcspn(arg, ",");
    const char *p = arg + len;

    *o = (struct unix_options){.server = false, .wait = true};
    c->path = sim_asprintf("%.*s", (int)len, arg);
    while (*p == ',') {
        size_t n = strcspn(p + 1, ",");
        SIM_TRY(parse_option(c, p + 1, n, o));
        p += n + 1;
    }
    if (len && len <= SIM_UNIX_PATH)
        return SIM_OK;
    sim_error("serial back end '%s': the socket's path has %zu characters; 1 to %zu are possible",
              c->spec, len, SIM_UNIX_PATH);
    return SIM_ERR_INVALID;
}

/* --- the connection --- */

static void unix_ready(void *opaque, unsigned events);

/* Reads from the peer from now on. Lock held. */
static void watch_peer(struct chardev *c)
{
    if (c->closing || c->fd < 0 || c->watch)
        return;
    if (sim_io_watch_add(c->sim->io, c->fd, SIM_IO_READ, unix_ready, c, &c->watch) != SIM_OK)
        sim_error("serial back end '%s': cannot wait for input: %m", c->spec);
}

/* Context: the I/O thread, where removing a watch waits for nothing. Lock held. */
static void unwatch_peer(struct chardev *c)
{
    if (c->watch)
        sim_io_watch_remove(c->watch);
    c->watch = NULL;
}

/* All under one hold of the lock: once unix_close has it, no callback touches *c any more, or the
 * callback's watch is still there for unix_close to wait for. */
static void disconnect(struct chardev *c)
{
    sim_mutex_lock(&c->lock);
    if (!c->closing) {
        unwatch_peer(c);
        close(c->fd);
        c->fd = -1;
        if (c->listen_watch)
            sim_io_watch_set(c->listen_watch, SIM_IO_READ);
        else
            sim_warn("serial back end '%s': the peer has closed; output is lost", c->spec);
    }
    sim_mutex_unlock(&c->lock);
}

static void pause_input(struct chardev *c)
{
    sim_mutex_lock(&c->lock);
    if (!c->closing)
        unwatch_peer(c);
    sim_mutex_unlock(&c->lock);
}

/* Input from the peer, as much as the queue takes; unix_resume goes on when it has room again. */
static void unix_ready(void *opaque, unsigned events)
{
    struct chardev *c = opaque;
    uint8_t buf[4096];

    (void)events;
    sim_mutex_lock(&c->lock);
    size_t room = chardev_input_room(c);
    int fd = c->fd;
    sim_mutex_unlock(&c->lock);
    if (!room) {
        pause_input(c);
        return;
    }
    ssize_t n = recv(fd, buf, room < sizeof buf ? room : sizeof buf, MSG_DONTWAIT);
    if (n > 0)
        chardev_input(c, buf, (size_t)n);
    else if (n == 0 || (errno != EAGAIN && errno != EINTR))
        disconnect(c);
}

static void unix_resume(struct chardev *c)
{
    sim_mutex_lock(&c->lock);
    watch_peer(c);
    sim_mutex_unlock(&c->lock);
}

static ssize_t unix_write(struct chardev *c, const uint8_t *data, size_t len)
{
    if (c->fd < 0)
        return -1;
    ssize_t n = send(c->fd, data, len, MSG_DONTWAIT | MSG_NOSIGNAL);
    if (n >= 0)
        return n;
    /* A peer that has gone is noticed by unix_ready. */
    return errno == EAGAIN || errno == EINTR ? 0 : -1;
}

/* --- opening --- */

/* Takes a waiting client; the next one waits until this one has gone. Lock held. */
static void accept_peer(struct chardev *c)
{
    int fd = accept4(c->listen_fd, NULL, NULL, SOCK_CLOEXEC);

    if (fd < 0)
        return;
    c->fd = fd;
    if (c->listen_watch)
        sim_io_watch_set(c->listen_watch, 0);
    watch_peer(c);
}

static void unix_accept(void *opaque, unsigned events)
{
    struct chardev *c = opaque;

    (void)events;
    sim_mutex_lock(&c->lock);
    if (!c->closing && c->fd < 0)
        accept_peer(c);
    sim_mutex_unlock(&c->lock);
}

static enum sim_status wait_for_client(struct chardev *c)
{
    struct pollfd p = {.fd = c->listen_fd, .events = POLLIN};

    sim_info("waiting for a connection on %s", c->path);
    if (poll(&p, 1, -1) < 0) {
        sim_error("waiting for a connection on '%s': %m", c->path);
        return SIM_ERR_IO;
    }
    return SIM_OK;
}

static enum sim_status open_server(struct chardev *c, bool wait)
{
    c->listen_fd = sim_unix_listen(c->path, SOCK_NONBLOCK, 1);
    if (c->listen_fd < 0) {
        sim_error("cannot listen on '%s': %m", c->path);
        return SIM_ERR_IO;
    }
    c->bound = true;
    if (wait)
        SIM_TRY(wait_for_client(c));
    if (sim_io_watch_add(c->sim->io, c->listen_fd, SIM_IO_READ, unix_accept, c, &c->listen_watch) !=
        SIM_OK) {
        sim_error("cannot wait for connections on '%s': %m", c->path);
        return SIM_ERR_IO;
    }
    /* The client that was waited for must not miss the first output. */
    if (wait)
        unix_accept(c, SIM_IO_READ);
    return SIM_OK;
}

static enum sim_status open_client(struct chardev *c, const struct sockaddr_un *addr)
{
    c->fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (c->fd < 0 || connect(c->fd, (const struct sockaddr *)addr, sizeof *addr) < 0) {
        sim_error("cannot connect to '%s': %m", c->path);
        return SIM_ERR_IO;
    }
    unix_resume(c);
    return SIM_OK;
}

/* Takes the watch out of *slot and waits until its callback does not run. No lock held. */
static void drop_watch(struct chardev *c, struct sim_io_watch **slot)
{
    sim_mutex_lock(&c->lock);
    struct sim_io_watch *w = *slot;
    *slot = NULL;
    sim_mutex_unlock(&c->lock);
    if (w)
        sim_io_watch_remove(w);
}

static void unix_close(struct chardev *c)
{
    sim_mutex_lock(&c->lock);
    c->closing = true;
    sim_mutex_unlock(&c->lock);
    drop_watch(c, &c->listen_watch);
    drop_watch(c, &c->watch);
    if (c->fd >= 0)
        close(c->fd);
    if (c->listen_fd >= 0)
        close(c->listen_fd);
    if (c->bound)
        unlink(c->path);
}

static enum sim_status unix_open(struct chardev *c, const char *arg)
{
    struct unix_options o;
    struct sockaddr_un addr;

    SIM_TRY(parse(c, arg, &o));
    SIM_BUG_ON(!sim_unix_address(c->path, &addr), "a socket at '%s'", c->path); /* parse has looked */
    enum sim_status status = o.server ? open_server(c, o.wait) : open_client(c, &addr);
    if (status != SIM_OK)
        unix_close(c);
    return status;
}

const struct chardev_ops chardev_unix_ops = {.name = "unix",
                                             .open = unix_open,
                                             .write = unix_write,
                                             .resume_input = unix_resume,
                                             .close = unix_close};
