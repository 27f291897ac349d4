/* "unix:PATH" and "tcp:HOST:PORT" to a connected socket. */
#include <errno.h>
#include <fcntl.h>
#include <netdb.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "checkpoint/stream.h"
#include "sim-core/alloc.h"
#include "sim-core/lock.h"
#include "sim-core/log.h"
#include "sim-core/unix_socket.h"

enum { DEAD_PEER_S = 10, LOOK_MS = 20, UNIX_LEN = 5, TCP_LEN = 4, BACKLOG = 64 };
#define DEAD_PEER_NS (DEAD_PEER_S * 1000000000ull)

static bool is_unix(const char *uri)
{
    return strncmp(uri, "unix:", UNIX_LEN) == 0;
}

/* Dialling, or listening. open: a connection through, or a socket that listens at, one address; -1 with errno. */
struct way {
    int (*open)(const struct way *way, int family, const struct sockaddr *addr, socklen_t len);
    const char *verb;
    int flags; /* of getaddrinfo */
    bool (*give_up)(void *opaque); /* or NULL */
    void *opaque;
};

static int close_keeping_errno(int fd)
{
    int error = errno;

    close(fd);
    errno = error;
    return -1;
}

/* --- dialling --- */

static bool may_come_yet(int error)
{
    return error == EINPROGRESS || error == EALREADY || error == EINTR || error == EAGAIN;
}

/* A host that does not answer is given up as soon as one that ceases to. The socket does not block. */
static int connect_patiently(const struct way *way, int fd, const struct sockaddr *addr, socklen_t len)
{
    uint64_t until = sim_host_ns() + DEAD_PEER_NS;

    while (connect(fd, addr, len) < 0 && errno != EISCONN) {
        /* EAGAIN: a Unix socket whose queue is full; nothing tells when it is not */
        struct pollfd p = {.fd = errno == EAGAIN ? -1 : fd, .events = POLLOUT};

        if (!may_come_yet(errno))
            return -1;
        if (way->give_up && way->give_up(way->opaque)) {
            errno = ECANCELED;
            return -1;
        }
        if (sim_host_ns() > until) {
            errno = ETIMEDOUT;
            return -1;
        }
        poll(&p, 1, LOOK_MS);
    }
    return 0;
}

static int open_dialled(const struct way *way, int family, const struct sockaddr *addr, socklen_t len)
{
    int fd = socket(family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);

    if (fd < 0)
        return -1;
    if (connect_patiently(way, fd, addr, len) < 0 || fcntl(fd, F_SETFL, 0) < 0)
        return close_keeping_errno(fd);
    return fd;
}

static int open_listening(const struct way *way, int family, const struct sockaddr *addr, socklen_t len)
{
    int one = 1;

    (void)way;
    if (family == AF_UNIX)
        return sim_unix_listen(((const struct sockaddr_un *)addr)->sun_path, 0, BACKLOG);
    int fd = socket(family, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (fd < 0)
        return -1;
    setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof one);
    return bind(fd, addr, len) == 0 && listen(fd, BACKLOG) == 0 ? fd : close_keeping_errno(fd);
}

/* --- addresses --- */

static enum sim_status opened(const struct way *way, const char *uri, int fd)
{
    if (fd >= 0)
        return SIM_OK;
    if (errno != ECANCELED)
        sim_error("cannot %s '%s': %m", way->verb, uri);
    return SIM_ERR_IO;
}

static enum sim_status open_unix(const struct way *way, const char *uri, int *out)
{
    struct sockaddr_un addr;

    if (!sim_unix_address(uri + UNIX_LEN, &addr)) {
        sim_error("'%s': the path of a socket has 1 to %zu characters", uri, SIM_UNIX_PATH);
        return SIM_ERR_INVALID;
    }
    *out = way->open(way, AF_UNIX, (const struct sockaddr *)&addr, sizeof addr);
    return opened(way, uri, *out);
}

/* "tcp:HOST:PORT", HOST maybe in brackets. *host: sim_free; *port lies in uri. */
static bool split_tcp(const char *uri, char **host, const char **port)
{
    const char *colon = strrchr(uri, ':'), *start = uri + TCP_LEN;

    if (strncmp(uri, "tcp:", TCP_LEN) != 0 || colon < start || !colon[1])
        return false;
    bool brackets = colon - start > 2 && *start == '[' && colon[-1] == ']';
    *host = sim_asprintf("%.*s", (int)(colon - start - 2 * brackets), start + brackets);
    *port = colon + 1;
    return true;
}

/* NULL: logged. */
static struct addrinfo *look_up(const char *uri, const char *host, const char *port, int flags)
{
    const struct addrinfo hints = {.ai_socktype = SOCK_STREAM, .ai_flags = flags};
    struct addrinfo *list;
    int error = getaddrinfo(*host ? host : NULL, port, &hints, &list);

    if (!error)
        return list;
    sim_error("'%s': %s", uri, gai_strerror(error));
    return NULL;
}

static enum sim_status open_tcp(const struct way *way, const char *uri, int *out)
{
    const char *port;
    char *host;

    if (!split_tcp(uri, &host, &port)) {
        sim_error("'%s' is no address: unix:PATH or tcp:HOST:PORT", uri);
        return SIM_ERR_INVALID;
    }
    struct addrinfo *list = look_up(uri, host, port, way->flags);
    sim_free(host);
    if (!list)
        return SIM_ERR_INVALID;
    *out = -1;
    for (const struct addrinfo *a = list; a && *out < 0 && errno != ECANCELED; a = a->ai_next)
        *out = way->open(way, a->ai_family, a->ai_addr, a->ai_addrlen);
    enum sim_status status = opened(way, uri, *out);
    freeaddrinfo(list);
    return status;
}

static enum sim_status open_uri(const struct way *way, const char *uri, int *out)
{
    errno = 0;
    return is_unix(uri) ? open_unix(way, uri, out) : open_tcp(way, uri, out);
}

static bool is_everywhere(const struct sockaddr *a)
{
    if (a->sa_family == AF_INET)
        return ((const struct sockaddr_in *)a)->sin_addr.s_addr == htonl(INADDR_ANY);
    return IN6_IS_ADDR_UNSPECIFIED(&((const struct sockaddr_in6 *)a)->sin6_addr);
}

/* One that is this host's serves as it is; towards another the kernel knows which address it would send from. Nothing is sent. */
static bool own_address(int fd, const struct addrinfo *host, struct sockaddr_storage *own, socklen_t *len)
{
    return (bind(fd, host->ai_addr, host->ai_addrlen) == 0 || connect(fd, host->ai_addr, host->ai_addrlen) == 0) &&
           getsockname(fd, (struct sockaddr *)own, len) == 0;
}

static char *address_beside(const struct addrinfo *host)
{
    struct sockaddr_storage own;
    socklen_t len = sizeof own;
    char text[NI_MAXHOST];
    int fd = socket(host->ai_family, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    bool good = fd >= 0 && own_address(fd, host, &own, &len) &&
                getnameinfo((struct sockaddr *)&own, len, text, sizeof text, NULL, 0, NI_NUMERICHOST) == 0;

    if (fd >= 0)
        close(fd);
    if (!good)
        return NULL;
    return sim_asprintf(host->ai_family == AF_INET6 ? "tcp:[%s]:0" : "tcp:%s:0", text);
}

char *ckpt_address_beside(const char *uri)
{
    const char *port;
    char *host, *address;

    if (!split_tcp(uri, &host, &port)) {
        sim_error("'%s' is no address: tcp:HOST:PORT", uri);
        return NULL;
    }
    struct addrinfo *list = look_up(uri, host, "0", AI_PASSIVE);
    sim_free(host);
    if (!list)
        return NULL;
    address = is_everywhere(list->ai_addr) ? sim_strdup("tcp::0") : address_beside(list);
    if (!address)
        sim_error("'%s': no address of this host leads there", uri);
    freeaddrinfo(list);
    return address;
}

/* --- streams --- */

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

enum sim_status ckpt_stream_dial(const char *uri, bool (*give_up)(void *opaque), void *opaque, struct ckpt_stream **out)
{
    const struct way dial = {.open = open_dialled, .verb = "reach", .give_up = give_up, .opaque = opaque};
    int fd;

    SIM_TRY(open_uri(&dial, uri, &fd));
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
    static const struct way way = {.open = open_listening, .verb = "listen at", .flags = AI_PASSIVE};
    int fd;

    SIM_TRY(open_uri(&way, uri, &fd));
    *out = sim_new(struct ckpt_listener);
    **out = (struct ckpt_listener){fd, sim_strdup(uri)};
    return SIM_OK;
}

/* Who has come, for messages. sim_free. */
static char *name_of(const struct ckpt_listener *l, int fd, const struct sockaddr *addr, socklen_t len)
{
    char host[NI_MAXHOST], port[NI_MAXSERV];
    struct ucred peer = {.pid = 0};
    socklen_t size = sizeof peer;

    if (is_unix(l->uri) && getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &peer, &size) == 0)
        return sim_asprintf("%s (process %ld)", l->uri, (long)peer.pid);
    if (!is_unix(l->uri) &&
        getnameinfo(addr, len, host, sizeof host, port, sizeof port, NI_NUMERICHOST | NI_NUMERICSERV) == 0)
        return sim_asprintf("%s (%s port %s)", l->uri, host, port);
    return sim_strdup(l->uri);
}

/* Has somebody come, within that time? Returns early when one of `others` says something. */
static bool has_come(const struct ckpt_listener *l, struct ckpt_stream *const *others, unsigned nr, int timeout_ms)
{
    struct pollfd *p = sim_new_array(struct pollfd, nr + 1u);

    for (unsigned i = 0; i < nr; i++)
        p[i] = (struct pollfd){.fd = ckpt_stream_fd(others[i]), .events = POLLIN};
    p[nr] = (struct pollfd){.fd = l->fd, .events = POLLIN};
    bool come = poll(p, nr + 1, timeout_ms) > 0 && p[nr].revents;
    sim_free(p);
    return come;
}

enum sim_status ckpt_listener_accept(struct ckpt_listener *l, struct ckpt_stream *const *others, unsigned nr_others,
                                     int timeout_ms, struct ckpt_stream **out)
{
    struct sockaddr_storage addr;
    socklen_t len = sizeof addr;

    if (!has_come(l, others, nr_others, timeout_ms))
        return SIM_INPROGRESS;
    int fd = accept4(l->fd, (struct sockaddr *)&addr, &len, SOCK_CLOEXEC);
    if (fd < 0 && (errno == EINTR || errno == ECONNABORTED))
        return SIM_INPROGRESS;
    if (fd < 0) {
        sim_error("cannot accept at '%s': %m", l->uri);
        return SIM_ERR_IO;
    }
    char *name = name_of(l, fd, (const struct sockaddr *)&addr, len);
    *out = stream_of(fd, name);
    sim_free(name);
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
