/* MPI's TCP connections to other hosts, seen from outside: that data has come wakes a rank that sleeps, that a
 * connection is closed tells of a rank that is gone. MPI does neither: it must be polled, and goes on without the
 * peer. Nothing is read or written here, so MPI does not notice; without TCP (or when MPI connects anew) a
 * rank just sleeps in short naps and learns of a loss by silence.
 *
 *   gather of every rank's own socket names -> whose name is my socket's peer name? -> socket belongs to that rank */
#include <arpa/inet.h>
#include <dirent.h>
#include <netinet/in.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "core_priv.h"
#include "sim-core/alloc.h"

/* An address and a port; IPv4 as IPv6 writes it. */
struct name {
    uint8_t address[16];
    uint16_t port;
};
_Static_assert(sizeof(struct name) == sizeof((struct ic_ear *)0)->peer, "an ear keeps the name");

struct connection {
    struct name own, peer;
    int fd;
    rank_t rank; /* -1: not one of ours */
};

static bool name_from(const struct sockaddr_storage *from, struct name *to)
{
    *to = (struct name){0};
    if (from->ss_family == AF_INET) {
        const struct sockaddr_in *in = (const struct sockaddr_in *)from;
        to->address[10] = to->address[11] = 0xff;
        memcpy(to->address + 12, &in->sin_addr, 4);
        to->port = in->sin_port;
        return true;
    }
    if (from->ss_family == AF_INET6) {
        const struct sockaddr_in6 *in = (const struct sockaddr_in6 *)from;
        memcpy(to->address, &in->sin6_addr, 16);
        to->port = in->sin6_port;
        return true;
    }
    return false;
}

static bool look_at(int fd, struct connection *c)
{
    struct sockaddr_storage own = {0}, peer = {0};
    socklen_t own_len = sizeof own, peer_len = sizeof peer;

    c->fd = fd;
    c->rank = -1;
    return !getpeername(fd, (struct sockaddr *)&peer, &peer_len) &&
           !getsockname(fd, (struct sockaddr *)&own, &own_len) && name_from(&own, &c->own) &&
           name_from(&peer, &c->peer);
}

/* All TCP connections of this process; the launcher's are among them and belong to no rank. */
static struct connection *find_connections(uint32_t *nr)
{
    struct connection *all = NULL;
    DIR *dir = opendir("/proc/self/fd");
    struct dirent *entry;

    *nr = 0;
    while (dir && (entry = readdir(dir))) {
        struct connection c;
        if (entry->d_name[0] == '.' || !look_at(atoi(entry->d_name), &c))
            continue;
        all = sim_realloc(all, (*nr + 1) * sizeof *all);
        all[(*nr)++] = c;
    }
    if (dir)
        closedir(dir);
    return all;
}

static rank_t whose(struct ic *ic, const struct name *name, void **names, const uint32_t *lens)
{
    for (rank_t r = 0; r < ic->nr; r++)
        for (uint32_t i = 0; r != ic->rank && i < lens[r] / sizeof *name; i++)
            if (!memcmp((const struct name *)names[r] + i, name, sizeof *name))
                return r;
    return -1;
}

static enum sim_status gather_names(struct ic *ic, const struct connection *c, uint32_t nr, void **names,
                                    uint32_t *lens)
{
    struct name *own = sim_new_array(struct name, nr + 1);

    for (uint32_t i = 0; i < nr; i++)
        own[i] = c[i].own;
    enum sim_status status = ic_gather(ic, own, (uint32_t)(nr * sizeof *own), names, lens);
    sim_free(own);
    return status;
}

/* A rank that cannot be rung is heard when a connection to it is kept. */
static void keep(struct ic *ic, const struct connection *c)
{
    if (c->rank < 0 || ic->peer[c->rank].bell || ic->nr_ears == IC_EARS)
        return;
    struct ic_ear *ear = &ic->ear[ic->nr_ears++];
    atomic_init(&ear->fd, c->fd);
    ear->rank = c->rank;
    memcpy(ear->peer, &c->peer, sizeof c->peer);
}

enum sim_status ic_sockets_find(struct ic *ic)
{
    uint32_t nr, *lens = sim_new_array(uint32_t, ic->nr);
    void **names = sim_new_array(void *, ic->nr);
    struct connection *c = find_connections(&nr);
    enum sim_status status = gather_names(ic, c, nr, names, lens);

    if (status == SIM_OK) {
        for (uint32_t i = 0; i < nr; i++)
            c[i].rank = whose(ic, &c[i].peer, names, lens);
        for (uint32_t i = 0; i < nr; i++)
            keep(ic, &c[i]);
        ic_gather_free(ic, names);
    }
    sim_free(c);
    sim_free(names);
    sim_free(lens);
    return status;
}

bool ic_sockets_hear(const struct ic *ic, rank_t rank)
{
    for (unsigned i = 0; i < ic->nr_ears; i++)
        if (ic->ear[i].rank == rank && atomic_load_explicit(&ic->ear[i].fd, memory_order_relaxed) >= 0)
            return true;
    return false;
}

void ic_sockets_sleep(struct ic *ic, bool listen, uint64_t max_ns)
{
    struct pollfd fds[1 + IC_EARS] = {{.fd = ic->bell_in, .events = POLLIN}};
    struct timespec ts = {.tv_sec = (time_t)(max_ns / 1000000000u), .tv_nsec = (long)(max_ns % 1000000000u)};
    unsigned nr = 1;
    char rings[64];

    for (unsigned i = 0; listen && i < ic->nr_ears; i++)
        fds[nr++] = (struct pollfd){.fd = atomic_load_explicit(&ic->ear[i].fd, memory_order_relaxed),
                                    .events = POLLIN | POLLRDHUP};
    if (ppoll(fds, nr, &ts, NULL) <= 0)
        return;
    if (fds[0].revents && read(ic->bell_in, rings, sizeof rings) < 0) {
        /* another sleeper has taken the ring: awake is awake */
    }
    for (unsigned i = 1; i < nr; i++)
        if (fds[i].revents & ~POLLIN)
            atomic_store_explicit(&ic->tick_due, true, memory_order_relaxed); /* ic_sockets_check */
}

/* MPI may have closed the connection, and the number may mean another file now. */
static bool is_still_it(const struct ic_ear *ear, int fd)
{
    struct connection c;

    return look_at(fd, &c) && !memcmp(&c.peer, ear->peer, sizeof c.peer);
}

void ic_sockets_check(struct ic *ic)
{
    for (unsigned i = 0; i < ic->nr_ears; i++) {
        struct ic_ear *ear = &ic->ear[i];
        struct pollfd p = {.fd = atomic_load_explicit(&ear->fd, memory_order_relaxed), .events = POLLRDHUP};
        if (p.fd < 0)
            continue;
        bool closed = poll(&p, 1, 0) == 1;
        if (!closed && is_still_it(ear, p.fd))
            continue;
        atomic_store_explicit(&ear->fd, -1, memory_order_relaxed);
        if (closed && !ic_sockets_hear(ic, ear->rank))
            ic_lose(ic, ear->rank, "its connection was closed");
    }
}
