/* "unix:PATH" and "tcp:HOST:PORT" to a connected socket. */
#include <errno.h>
#include <netdb.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <unistd.h>

#include "checkpoint/stream.h"
#include "sim-core/alloc.h"
#include "sim-core/log.h"
#include "sim-core/unix_socket.h"

enum { DEAD_PEER_S = 10, UNIX_LEN = 5, BACKLOG = 64 };

static bool is_unix(const char *uri)
{
    return strncmp(uri, "unix:", UNIX_LEN) == 0;
}

/* A connection through, or a socket that listens at, one address; -1 with errno. */
typedef int open_fn(int family, const struct sockaddr *addr, socklen_t len);

static int close_keeping_errno(int fd)
{
    int error = errno;

    close(fd);
    errno = error;
    return -1;
}

/* A host that does not answer is given up as soon as one that ceases to. */
static int open_dialled(int family, const struct sockaddr *addr, socklen_t len)
{
    const struct timeval patience = {.tv_sec = DEAD_PEER_S}, endless = {0};
    int fd = socket(family, SOCK_STREAM | SOCK_CLOEXEC, 0);

    if (fd < 0)
        return -1;
    setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &patience, sizeof patience);
    if (connect(fd, addr, len) < 0) {
        errno = errno == EINPROGRESS ? ETIMEDOUT : errno;
        return close_keeping_errno(fd);
    }
    setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &endless, sizeof endless);
    return fd;
}

static int open_listening(int family, const struct sockaddr *addr, socklen_t len)
{
    int fd = socket(family, SOCK_STREAM | SOCK_CLOEXEC, 0), one = 1;

    if (fd < 0)
        return -1;
    if (family != AF_UNIX)
        setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof one);
    return bind(fd, addr, len) == 0 && listen(fd, BACKLOG) == 0 ? fd : close_keeping_errno(fd);
}

static enum sim_status open_unix(const char *uri, const char *path, open_fn *open, int *out)
{
    struct sockaddr_un addr;

    if (!sim_unix_address(path, &addr)) {
        sim_error("'%s': the path of a socket has 1 to %zu characters", uri, SIM_UNIX_PATH);
        return SIM_ERR_INVALID;
    }
    *out = open(AF_UNIX, (const struct sockaddr *)&addr, sizeof addr);
    if (*out >= 0)
        return SIM_OK;
    sim_error("cannot %s '%s': %m", open == open_dialled ? "reach" : "listen at", uri);
    return SIM_ERR_IO;
}

static enum sim_status open_tcp(const char *uri, const char *host, const char *port, open_fn *open, int *out)
{
    const struct addrinfo hints = {.ai_socktype = SOCK_STREAM,
                                   .ai_flags = open == open_listening ? AI_PASSIVE : 0};
    struct addrinfo *list;
    int error = getaddrinfo(*host ? host : NULL, port, &hints, &list);

    if (error) {
        sim_error("'%s': %s", uri, gai_strerror(error));
        return SIM_ERR_INVALID;
    }
    *out = -1;
    for (const struct addrinfo *a = list; a && *out < 0; a = a->ai_next)
        *out = open(a->ai_family, a->ai_addr, a->ai_addrlen);
    freeaddrinfo(list);
    if (*out >= 0)
        return SIM_OK;
    sim_error("cannot %s '%s': %m", open == open_dialled ? "reach" : "listen at", uri);
    return SIM_ERR_IO;
}

static enum sim_status open_uri(const char *uri, open_fn *open, int *out)
{
    if (is_unix(uri))
        return open_unix(uri, uri + UNIX_LEN, open, out);
    const char *port = strrchr(uri, ':');
    if (strncmp(uri, "tcp:", 4) != 0 || port < uri + 4 || !port[1]) {
        sim_error("'%s' is no address: unix:PATH or tcp:HOST:PORT", uri);
        return SIM_ERR_INVALID;
    }
    char *host = sim_asprintf("%.*s", (int)(port - (uri + 4)), uri + 4);
    size_t len = strlen(host);
    bool brackets = len > 2 && host[0] == '[' && host[len - 1] == ']';
    if (brackets)
        host[len - 1] = 0;
    enum sim_status status = open_tcp(uri, host + brackets, port + 1, open, out);
    sim_free(host);
    return status;
}

/* A host that has gone is noticed within seconds. */
static struct ckpt_stream *stream_of(int fd, const char *uri)
{
    int one = 1, seconds = DEAD_PEER_S, ms = DEAD_PEER_S * 1000;

    if (!is_unix(uri)) {
        setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
        setsockopt(fd, SOL_SOCKET, SO_KEEPALIVE, &one, sizeof one);
        setsockopt(fd, IPPROTO_TCP, TCP_KEEPIDLE, &seconds, sizeof seconds);
        setsockopt(fd, IPPROTO_TCP, TCP_KEEPINTVL, &one, sizeof one);
        setsockopt(fd, IPPROTO_TCP, TCP_USER_TIMEOUT, &ms, sizeof ms);
    }
    return ckpt_stream_create(fd, uri);
}

enum sim_status ckpt_stream_dial(const char *uri, struct ckpt_stream **out)
{
    int fd;

    SIM_TRY(open_uri(uri, open_dialled, &fd));
    *out = stream_of(fd, uri);
    return SIM_OK;
}

/* --- listening --- */

struct ckpt_listener {
    int fd;
    char *uri;
};

enum sim_status ckpt_listen(const char *uri, struct ckpt_listener **out)
{
    int fd;

    if (is_unix(uri))
        sim_unix_remove_dead(uri + UNIX_LEN);
    SIM_TRY(open_uri(uri, open_listening, &fd));
    *out = sim_new(struct ckpt_listener);
    **out = (struct ckpt_listener){fd, sim_strdup(uri)};
    return SIM_OK;
}

enum sim_status ckpt_listener_accept(struct ckpt_listener *l, int timeout_ms, struct ckpt_stream **out)
{
    struct pollfd p = {.fd = l->fd, .events = POLLIN};

    if (poll(&p, 1, timeout_ms) == 0)
        return SIM_INPROGRESS;
    int fd = accept4(l->fd, NULL, NULL, SOCK_CLOEXEC);
    if (fd < 0 && (errno == EINTR || errno == ECONNABORTED))
        return SIM_INPROGRESS;
    if (fd < 0) {
        sim_error("cannot accept at '%s': %m", l->uri);
        return SIM_ERR_IO;
    }
    *out = stream_of(fd, l->uri);
    return SIM_OK;
}

unsigned ckpt_listener_port(const struct ckpt_listener *l)
{
    struct sockaddr_storage addr;
    socklen_t len = sizeof addr;

    if (getsockname(l->fd, (struct sockaddr *)&addr, &len) < 0)
        return 0;
    return addr.ss_family == AF_INET    ? ntohs(((const struct sockaddr_in *)&addr)->sin_port)
           : addr.ss_family == AF_INET6 ? ntohs(((const struct sockaddr_in6 *)&addr)->sin6_port)
                                        : 0;
}

void ckpt_listener_close(struct ckpt_listener *l)
{
    if (!l)
        return;
    close(l->fd);
    if (is_unix(l->uri))
        unlink(l->uri + UNIX_LEN);
    sim_free(l->uri);
    sim_free(l);
}
