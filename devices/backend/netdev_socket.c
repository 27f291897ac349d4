/* "socket": Ethernet frames over a TCP or Unix stream, each after its length (4 bytes, big-endian), as
 * QEMU's -netdev socket does it. One peer at a time; a listener waits for the next, a connector tries
 * again every second.
 *
 * Connections come and go on the I/O thread only; senders use `fd` under the lock. What a slow peer does
 * not take is kept up to OUT_BYTES, then frames are dropped. A slow guest stops the reading. */
#include <arpa/inet.h>
#include <errno.h>
#include <netdb.h>
#include <netinet/tcp.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/uio.h>
#include <unistd.h>

#include "netdev_priv.h"
#include "sim-core/unix_socket.h"

enum { HEADER = 4, IN_BYTES = 4 * (NETDEV_MAX_FRAME + HEADER), OUT_BYTES = 1 << 20 };
#define RETRY_NS 1000000000ull

/* Changed by the I/O thread under the netdev's lock (fd, watch, flags) or alone (in). */
struct net_socket {
    char *listen, *connect, *path;
    bool server; /* path: listen there */
    struct sockaddr_storage addr;
    socklen_t addr_len;
    int listen_fd, fd;
    bool connecting; /* the connect of fd is not yet complete */
    bool paused;     /* not reading: the guest's queue is full */
    bool complained; /* said that the peer is not there yet */
    bool closing;    /* socket_close has begun */
    struct sim_io_watch *listen_watch, *watch;
    struct sim_io_timer *retry;
    uint8_t *in, *out;
    size_t in_len, out_len;
};

static struct net_socket *impl(struct netdev *n)
{
    return n->impl;
}

/* --- options and addresses --- */

static enum sim_status set_option(struct netdev *n, const char *key, const char *value)
{
    struct net_socket *s = impl(n);
    char **text = strcmp(key, "listen") == 0    ? &s->listen
                  : strcmp(key, "connect") == 0 ? &s->connect
                  : strcmp(key, "path") == 0    ? &s->path
                                                : NULL;

    if (text && *value && !*text) {
        *text = sim_strdup(value);
        return SIM_OK;
    }
    if (strcmp(key, "server") == 0 && (strcmp(value, "on") == 0 || strcmp(value, "off") == 0)) {
        s->server = value[1] == 'n';
        return SIM_OK;
    }
    return netdev_bad_option(n, key, value);
}

static enum sim_status unix_address(struct netdev *n)
{
    struct net_socket *s = impl(n);
    struct sockaddr_un *un = (struct sockaddr_un *)&s->addr;

    if (!sim_unix_address(s->path, un)) {
        sim_error("network back end '%s': the socket's path is longer than %zu characters", n->spec, SIM_UNIX_PATH);
        return SIM_ERR_INVALID;
    }
    s->addr_len = sizeof *un;
    return SIM_OK;
}

static bool is_port(const char *text)
{
    char *end;
    unsigned long port = strtoul(text, &end, 10);

    return *text >= '0' && *text <= '9' && !*end && port >= 1 && port <= 65535;
}

/* "[HOST]:PORT"; an IPv6 address stands in brackets. */
static enum sim_status inet_address(struct netdev *n, const char *text, bool passive)
{
    struct net_socket *s = impl(n);
    struct addrinfo hints = {.ai_socktype = SOCK_STREAM, .ai_flags = passive ? AI_PASSIVE : 0};
    struct addrinfo *list;
    const char *colon = strrchr(text, ':');

    if (!colon || !is_port(colon + 1))
        return netdev_bad_option(n, passive ? "listen" : "connect", text);
    bool brackets = *text == '[' && colon > text + 1 && colon[-1] == ']';
    char *host = sim_asprintf("%.*s", (int)(colon - text - (brackets ? 2 : 0)),
                              text + (brackets ? 1 : 0));
    int err = getaddrinfo(*host ? host : passive ? "0.0.0.0" : "127.0.0.1", colon + 1, &hints, &list);
    sim_free(host);
    if (err) {
        sim_error("network back end '%s': '%s': %s", n->spec, text, gai_strerror(err));
        return SIM_ERR_INVALID;
    }
    memcpy(&s->addr, list->ai_addr, list->ai_addrlen);
    s->addr_len = list->ai_addrlen;
    freeaddrinfo(list);
    return SIM_OK;
}

static enum sim_status find_address(struct netdev *n)
{
    struct net_socket *s = impl(n);

    if (!!s->listen + !!s->connect + !!s->path != 1) {
        sim_error("network back end '%s': one of listen=, connect= and path= is needed", n->spec);
        return SIM_ERR_INVALID;
    }
    if (s->path)
        return unix_address(n);
    return inet_address(n, s->listen ? s->listen : s->connect, s->listen != NULL);
}

/* --- the connection --- */

static void ready(void *opaque, unsigned events);

/* Watches the connection for what is wanted of it. Lock held. Only the I/O thread can want nothing; a
 * watch that wants nothing would still report a hang-up for ever. */
static void update_watch(struct netdev *n)
{
    struct net_socket *s = impl(n);
    unsigned events = s->connecting ? (unsigned)SIM_IO_WRITE
                                    : (s->paused ? 0u : (unsigned)SIM_IO_READ) |
                                          (s->out_len ? (unsigned)SIM_IO_WRITE : 0u);

    if (s->closing || s->fd < 0)
        return;
    if (s->watch && events) {
        sim_io_watch_set(s->watch, events);
    } else if (s->watch) {
        sim_io_watch_remove(s->watch);
        s->watch = NULL;
    } else if (events &&
               sim_io_watch_add(n->sim->io, s->fd, events, ready, n, &s->watch) != SIM_OK) {
        s->watch = NULL;
        sim_error("network back end '%s': cannot watch its connection: %m", n->spec);
    }
}

/* Context: the I/O thread, where removing a watch waits for nothing. All under one hold of the lock:
 * once socket_close has it, the rest is socket_close's. */
static void drop_connection(struct netdev *n)
{
    struct net_socket *s = impl(n);

    sim_mutex_lock(&n->lock);
    if (!s->closing) {
        if (s->watch)
            sim_io_watch_remove(s->watch);
        if (s->fd >= 0)
            close(s->fd);
        s->watch = NULL;
        s->fd = -1;
        s->in_len = s->out_len = 0;
        s->paused = s->connecting = false;
        if (s->listen_watch)
            sim_io_watch_set(s->listen_watch, SIM_IO_READ);
        else
            sim_io_timer_arm(s->retry, sim_host_ns() + RETRY_NS);
    }
    sim_mutex_unlock(&n->lock);
}

/* Takes fd as the connection, complete or (connecting) to be so when it is writable. */
static void use_connection(struct netdev *n, int fd, bool connecting)
{
    struct net_socket *s = impl(n);
    int one = 1;

    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one); /* fails on Unix sockets: no matter */
    sim_mutex_lock(&n->lock);
    if (s->closing) {
        close(fd);
    } else {
        s->fd = fd;
        s->connecting = connecting;
        update_watch(n);
        if (s->listen_watch)
            sim_io_watch_set(s->listen_watch, 0); /* one peer at a time */
    }
    sim_mutex_unlock(&n->lock);
}

static void accept_peer(void *opaque, unsigned events)
{
    struct netdev *n = opaque;
    int fd = accept4(impl(n)->listen_fd, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);

    (void)events;
    if (fd >= 0)
        use_connection(n, fd, false);
}

/* A connector whose peer is not there yet says so once and goes on trying. */
static void refused(struct netdev *n, int err)
{
    struct net_socket *s = impl(n);

    errno = err;
    if (!s->complained)
        sim_warn("network back end '%s': no peer yet (%m); trying again every second", n->spec);
    s->complained = true;
    drop_connection(n);
}

static void try_connect(void *opaque)
{
    struct netdev *n = opaque;
    struct net_socket *s = impl(n);
    int fd = socket(s->addr.ss_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);

    if (fd < 0) {
        refused(n, errno);
    } else if (connect(fd, (struct sockaddr *)&s->addr, s->addr_len) == 0) {
        use_connection(n, fd, false);
    } else if (errno == EINPROGRESS) {
        use_connection(n, fd, true);
    } else {
        int err = errno;
        close(fd);
        refused(n, err);
    }
}

static void finish_connect(struct netdev *n)
{
    struct net_socket *s = impl(n);
    int err = 0;
    socklen_t len = sizeof err;

    getsockopt(s->fd, SOL_SOCKET, SO_ERROR, &err, &len);
    if (err) {
        refused(n, err);
        return;
    }
    sim_mutex_lock(&n->lock);
    s->connecting = false;
    update_watch(n);
    sim_mutex_unlock(&n->lock);
}

/* --- from the peer --- */

/* Hands on whole frames; false: what comes is no such stream. */
static bool take_frames(struct netdev *n)
{
    struct net_socket *s = impl(n);
    size_t at = 0;
    bool ok = true;

    while (s->in_len - at >= HEADER) {
        uint32_t len;
        memcpy(&len, s->in + at, HEADER);
        len = ntohl(len);
        ok = len && len <= NETDEV_MAX_FRAME;
        if (!ok || s->in_len - at - HEADER < len || netdev_input_is_full(n))
            break;
        netdev_input(n, s->in + at + HEADER, len);
        at += HEADER + len;
    }
    memmove(s->in, s->in + at, s->in_len - at);
    s->in_len -= at;
    return ok;
}

/* Stops or goes on reading, as the guest's queue allows. */
static void set_paused(struct netdev *n, bool paused)
{
    sim_mutex_lock(&n->lock);
    impl(n)->paused = paused;
    update_watch(n);
    sim_mutex_unlock(&n->lock);
}

static void read_peer(struct netdev *n)
{
    struct net_socket *s = impl(n);
    ssize_t got = recv(s->fd, s->in + s->in_len, IN_BYTES - s->in_len, MSG_DONTWAIT);

    if (got < 0 && (errno == EAGAIN || errno == EINTR))
        return;
    if (got > 0)
        s->in_len += (size_t)got;
    if (got <= 0 || !take_frames(n)) {
        if (got > 0)
            sim_warn("network back end '%s': the peer sends something else than frames", n->spec);
        drop_connection(n);
        return;
    }
    if (netdev_input_is_full(n)) /* the guest is slower than the peer: leave the rest there */
        set_paused(n, true);
}

static void socket_resume(struct netdev *n)
{
    struct net_socket *s = impl(n);

    if (!s->paused || s->fd < 0)
        return;
    if (take_frames(n))
        set_paused(n, netdev_input_is_full(n));
    else
        drop_connection(n);
}

/* --- to the peer --- */

/* Keeps bytes [skip, ...) of header and frame for later; lock held. */
static void keep_rest(struct netdev *n, const uint8_t *header, const uint8_t *frame, size_t len,
                      size_t skip)
{
    struct net_socket *s = impl(n);

    if (skip < HEADER) {
        memcpy(s->out + s->out_len, header + skip, HEADER - skip);
        s->out_len += HEADER - skip;
        skip = HEADER;
    }
    memcpy(s->out + s->out_len, frame + (skip - HEADER), len - (skip - HEADER));
    s->out_len += len - (skip - HEADER);
    update_watch(n);
}

static void socket_send(struct netdev *n, const uint8_t *frame, size_t len)
{
    struct net_socket *s = impl(n);
    uint32_t header = htonl((uint32_t)len);
    struct iovec iov[2] = {{&header, HEADER}, {(void *)frame, len}};
    struct msghdr msg = {.msg_iov = iov, .msg_iovlen = 2};
    ssize_t sent = 0;

    if (s->fd < 0 || s->out_len + HEADER + len > OUT_BYTES) {
        n->dropped++;
        return;
    }
    if (!s->out_len && !s->connecting)
        sent = sendmsg(s->fd, &msg, MSG_NOSIGNAL | MSG_DONTWAIT);
    if (sent < 0)
        sent = 0; /* a broken connection shows when it is read */
    if ((size_t)sent < HEADER + len)
        keep_rest(n, (const uint8_t *)&header, frame, len, (size_t)sent);
}

static void flush_out(struct netdev *n)
{
    struct net_socket *s = impl(n);

    sim_mutex_lock(&n->lock);
    if (s->fd >= 0 && s->out_len) {
        ssize_t sent = send(s->fd, s->out, s->out_len, MSG_NOSIGNAL | MSG_DONTWAIT);
        if (sent < 0 && errno != EAGAIN && errno != EINTR)
            sent = (ssize_t)s->out_len; /* broken: reading will see it */
        if (sent > 0) {
            memmove(s->out, s->out + sent, s->out_len - (size_t)sent);
            s->out_len -= (size_t)sent;
        }
    }
    update_watch(n);
    sim_mutex_unlock(&n->lock);
}

static void ready(void *opaque, unsigned events)
{
    struct netdev *n = opaque;
    struct net_socket *s = impl(n);

    if (s->connecting) {
        finish_connect(n);
        return;
    }
    if (events & SIM_IO_WRITE)
        flush_out(n);
    if (events & SIM_IO_READ && s->fd >= 0 && !s->paused)
        read_peer(n);
}

/* --- life --- */

static bool listen_at_port(struct net_socket *s)
{
    int one = 1;

    s->listen_fd = socket(s->addr.ss_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (s->listen_fd < 0)
        return false;
    setsockopt(s->listen_fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof one);
    return bind(s->listen_fd, (struct sockaddr *)&s->addr, s->addr_len) == 0 && listen(s->listen_fd, 1) == 0;
}

static bool listen_at_path(struct net_socket *s)
{
    s->listen_fd = sim_unix_listen(s->path, SOCK_NONBLOCK, 1);
    return s->listen_fd >= 0;
}

static enum sim_status start_listening(struct netdev *n)
{
    struct net_socket *s = impl(n);

    if (!(s->path ? listen_at_path(s) : listen_at_port(s)) ||
        sim_io_watch_add(n->sim->io, s->listen_fd, SIM_IO_READ, accept_peer, n,
                         &s->listen_watch) != SIM_OK) {
        sim_error("network back end '%s': cannot listen: %m", n->spec);
        return SIM_ERR_IO;
    }
    return SIM_OK;
}

static void socket_close(struct netdev *n)
{
    struct net_socket *s = impl(n);

    sim_mutex_lock(&n->lock);
    s->closing = true; /* from here on the watches and the connection are ours */
    sim_mutex_unlock(&n->lock);
    sim_io_timer_destroy(s->retry);
    if (s->listen_watch)
        sim_io_watch_remove(s->listen_watch);
    if (s->watch)
        sim_io_watch_remove(s->watch);
    if (s->fd >= 0)
        close(s->fd);
    if (s->listen_fd >= 0) {
        close(s->listen_fd);
        if (s->path && s->listen_watch)
            unlink(s->path);
    }
    sim_free(s->in);
    sim_free(s->out);
    sim_free(s->path);
    sim_free(s->connect);
    sim_free(s->listen);
    sim_free(s);
}

static enum sim_status socket_start(struct netdev *n, const char *args)
{
    struct net_socket *s = impl(n);

    SIM_TRY(netdev_each_option(n, args, set_option));
    SIM_TRY(find_address(n));
    if (s->listen || (s->path && s->server))
        return start_listening(n);
    sim_io_timer_arm(s->retry, 0);
    return SIM_OK;
}

static enum sim_status socket_open(struct netdev *n, const char *args)
{
    struct net_socket *s = sim_new(struct net_socket);

    n->impl = s;
    s->fd = s->listen_fd = -1;
    s->in = sim_zalloc(IN_BYTES);
    s->out = sim_zalloc(OUT_BYTES);
    s->retry = sim_io_timer_create(n->sim->io, try_connect, n);
    enum sim_status status = socket_start(n, args);
    if (status != SIM_OK)
        socket_close(n);
    return status;
}

const struct netdev_kind netdev_socket = {.name = "socket",
                                          .open = socket_open,
                                          .close = socket_close,
                                          .send = socket_send,
                                          .resume = socket_resume};
