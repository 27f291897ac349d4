/* "user": a private network 10.0.2.0/24 with DHCP, DNS and NAT to the host's sockets, by libslirp.
 *
 * libslirp has no locks: everything of it runs on the I/O thread. A frame from the guest is queued and a
 * timer hands it over. libslirp wants to be polled: its descriptors become watches of the I/O loop, and
 * whatever wakes it (descriptor, timer, frame) ends in settle(), which asks for the next set. */
#include <arpa/inet.h>
#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#ifdef HAVE_SLIRP
#include <libslirp.h>

#include "netdev_priv.h"

struct fd_watch {
    int fd;
    unsigned events; /* what the watch waits for */
    bool wanted;     /* by the latest settle() */
    struct sim_io_watch *watch;
};

struct slirp_timer {
    SlirpTimerCb fn;
    void *opaque;
    struct sim_io_timer *timer;
    struct netdev *n;
};

/* Owner: the I/O thread; `out` is guarded by the netdev's lock. */
struct net_user {
    Slirp *slirp;
    SlirpConfig config;
    struct pollfd *fds;
    unsigned nr_fds, cap_fds;
    struct fd_watch *watches;
    unsigned nr_watches, cap_watches;
    struct sim_io_timer *poll_timer, *out_timer;
    struct netdev_queue out; /* from the guest */
    bool running, closing;   /* inside libslirp; user_close waits for it (the netdev's lock) */
    char **forwards;         /* hostfwd= options, in order */
    unsigned nr_forwards;
};

static struct net_user *impl(struct netdev *n)
{
    return n->impl;
}

/* Every callback of the I/O loop runs libslirp between enter and leave; false: it is being closed. */
static bool enter(struct netdev *n)
{
    sim_mutex_lock(&n->lock);
    bool ok = !impl(n)->closing;

    impl(n)->running = ok;
    sim_mutex_unlock(&n->lock);
    return ok;
}

static void leave(struct netdev *n)
{
    sim_mutex_lock(&n->lock);
    impl(n)->running = false;
    sim_cond_broadcast(&n->idle);
    sim_mutex_unlock(&n->lock);
}

/* --- polling --- */

static void poll_due(void *opaque);

static void fd_ready(void *opaque, unsigned events)
{
    (void)events; /* poll() says more about all of them */
    poll_due(opaque);
}

static int add_poll(int fd, int events, void *opaque)
{
    struct net_user *u = impl(opaque);

    if (u->nr_fds == u->cap_fds) {
        u->cap_fds = u->cap_fds ? u->cap_fds * 2 : 16;
        u->fds = sim_realloc(u->fds, u->cap_fds * sizeof u->fds[0]);
    }
    short bits = (short)((events & SLIRP_POLL_IN ? POLLIN : 0) |
                         (events & SLIRP_POLL_OUT ? POLLOUT : 0) |
                         (events & SLIRP_POLL_PRI ? POLLPRI : 0));
    u->fds[u->nr_fds] = (struct pollfd){.fd = fd, .events = bits};
    return (int)u->nr_fds++;
}

static int get_revents(int idx, void *opaque)
{
    short r = impl(opaque)->fds[idx].revents;

    return (r & POLLIN ? SLIRP_POLL_IN : 0) | (r & POLLOUT ? SLIRP_POLL_OUT : 0) |
           (r & POLLPRI ? SLIRP_POLL_PRI : 0) | (r & POLLERR ? SLIRP_POLL_ERR : 0) |
           (r & POLLHUP ? SLIRP_POLL_HUP : 0);
}

static struct fd_watch *find_watch(struct net_user *u, int fd)
{
    for (unsigned i = 0; i < u->nr_watches; i++)
        if (u->watches[i].fd == fd)
            return &u->watches[i];
    return NULL;
}

static void remove_watch(struct net_user *u, struct fd_watch *w)
{
    sim_io_watch_remove(w->watch);
    *w = u->watches[--u->nr_watches];
}

static void want_fd(struct netdev *n, int fd, unsigned events)
{
    struct net_user *u = impl(n);
    struct fd_watch *w = find_watch(u, fd);

    if (w) {
        w->wanted = true;
        if (w->events != events)
            sim_io_watch_set(w->watch, events);
        w->events = events;
        return;
    }
    if (u->nr_watches == u->cap_watches) {
        u->cap_watches = u->cap_watches ? u->cap_watches * 2 : 16;
        u->watches = sim_realloc(u->watches, u->cap_watches * sizeof u->watches[0]);
    }
    struct fd_watch fresh = {.fd = fd, .events = events, .wanted = true};
    if (sim_io_watch_add(n->sim->io, fd, events, fd_ready, n, &fresh.watch) == SIM_OK)
        u->watches[u->nr_watches++] = fresh;
}

/* Watches exactly what libslirp wants now; a descriptor it wants nothing of is not watched at all,
 * or a hang-up would wake us for ever. */
static void settle(struct netdev *n)
{
    struct net_user *u = impl(n);
    uint32_t timeout = UINT32_MAX;

    u->nr_fds = 0;
    slirp_pollfds_fill(u->slirp, &timeout, add_poll, n);
    for (unsigned i = 0; i < u->nr_watches; i++)
        u->watches[i].wanted = false;
    for (unsigned i = 0; i < u->nr_fds; i++) {
        unsigned events = (u->fds[i].events & (POLLIN | POLLPRI) ? (unsigned)SIM_IO_READ : 0u) |
                          (u->fds[i].events & POLLOUT ? (unsigned)SIM_IO_WRITE : 0u);
        if (events)
            want_fd(n, u->fds[i].fd, events);
    }
    for (unsigned i = u->nr_watches; i-- > 0;)
        if (!u->watches[i].wanted)
            remove_watch(u, &u->watches[i]);
    if (timeout != UINT32_MAX)
        sim_io_timer_arm(u->poll_timer, sim_host_ns() + timeout * 1000000ull);
    else
        sim_io_timer_cancel(u->poll_timer);
}

static void poll_due(void *opaque)
{
    struct netdev *n = opaque;
    struct net_user *u = impl(n);

    if (!enter(n))
        return;
    int err = poll(u->fds, u->nr_fds, 0) < 0;
    slirp_pollfds_poll(u->slirp, err, get_revents, n);
    settle(n);
    leave(n);
}

/* --- what libslirp calls --- */

static ssize_t send_packet(const void *buf, size_t len, void *opaque)
{
    netdev_input(opaque, buf, len); /* full: dropped, TCP will send it again */
    return (ssize_t)len;
}

static void guest_error(const char *msg, void *opaque)
{
    (void)msg, (void)opaque; /* the guest's own mistake */
}

static int64_t clock_get_ns(void *opaque)
{
    (void)opaque;
    return (int64_t)sim_host_ns();
}

static void timer_due(void *opaque)
{
    struct slirp_timer *t = opaque;

    if (!enter(t->n))
        return;
    t->fn(t->opaque);
    settle(t->n);
    leave(t->n);
}

static void *timer_new(SlirpTimerCb fn, void *fn_opaque, void *opaque)
{
    struct netdev *n = opaque;
    struct slirp_timer *t = sim_new(struct slirp_timer);

    *t = (struct slirp_timer){fn, fn_opaque, NULL, n};
    t->timer = sim_io_timer_create(n->sim->io, timer_due, t);
    return t;
}

static void timer_free(void *timer, void *opaque)
{
    struct slirp_timer *t = timer;

    (void)opaque;
    sim_io_timer_destroy(t->timer);
    sim_free(t);
}

static void timer_mod(void *timer, int64_t expire_ms, void *opaque)
{
    struct slirp_timer *t = timer;

    (void)opaque;
    sim_io_timer_arm(t->timer, (uint64_t)expire_ms * 1000000u);
}

static void register_poll_fd(int fd, void *opaque)
{
    (void)fd, (void)opaque; /* settle() sees it */
}

/* Before fd is closed and its number used again. */
static void unregister_poll_fd(int fd, void *opaque)
{
    struct net_user *u = impl(opaque);
    struct fd_watch *w = find_watch(u, fd);

    if (w)
        remove_watch(u, w);
}

static void notify(void *opaque)
{
    sim_io_timer_arm(impl(opaque)->poll_timer, 0);
}

static const SlirpCb callbacks = {.send_packet = send_packet,
                                  .guest_error = guest_error,
                                  .clock_get_ns = clock_get_ns,
                                  .timer_new = timer_new,
                                  .timer_free = timer_free,
                                  .timer_mod = timer_mod,
                                  .register_poll_fd = register_poll_fd,
                                  .unregister_poll_fd = unregister_poll_fd,
                                  .notify = notify};

/* --- from the guest --- */

static void user_send(struct netdev *n, const uint8_t *frame, size_t len)
{
    struct net_user *u = impl(n);
    bool first = u->out.count == 0;

    if (!netdev_queue_push(&u->out, frame, len))
        n->dropped++;
    else if (first)
        sim_io_timer_arm(u->out_timer, 0);
}

static struct netdev_frame *next_out(struct netdev *n)
{
    sim_mutex_lock(&n->lock);
    struct netdev_frame *f = netdev_queue_pop(&impl(n)->out);
    sim_mutex_unlock(&n->lock);
    return f;
}

static void out_due(void *opaque)
{
    struct netdev *n = opaque;
    unsigned left = NETDEV_QUEUE_FRAMES;
    struct netdev_frame *f;

    if (!enter(n))
        return;
    while (left-- && (f = next_out(n))) {
        slirp_input(impl(n)->slirp, f->data, (int)f->len);
        sim_free(f);
    }
    settle(n);
    sim_mutex_lock(&n->lock);
    if (impl(n)->out.count)
        sim_io_timer_arm(impl(n)->out_timer, 0);
    sim_mutex_unlock(&n->lock);
    leave(n);
}

/* --- options --- */

static enum sim_status set_option(struct netdev *n, const char *key, const char *value)
{
    struct net_user *u = impl(n);
    bool on = strcmp(value, "on") == 0;

    if (strcmp(key, "hostfwd") == 0) {
        u->forwards = sim_realloc(u->forwards, (u->nr_forwards + 1) * sizeof u->forwards[0]);
        u->forwards[u->nr_forwards++] = sim_strdup(value);
        return SIM_OK;
    }
    if (strcmp(key, "restrict") == 0 && (on || strcmp(value, "off") == 0)) {
        u->config.restricted = on;
        return SIM_OK;
    }
    return netdev_bad_option(n, key, value);
}

struct forward {
    bool udp;
    struct in_addr host, guest;
    int host_port, guest_port;
};

/* "ADDR:PORT" up to `end`; an empty address leaves *addr. */
static bool parse_place(const char *text, size_t len, struct in_addr *addr, int *port)
{
    char buf[64];
    char *colon, *rest;

    if (len >= sizeof buf)
        return false;
    memcpy(buf, text, len);
    buf[len] = 0;
    colon = strchr(buf, ':');
    if (!colon || !colon[1])
        return false;
    *colon = 0;
    unsigned long value = strtoul(colon + 1, &rest, 10);
    if (*rest || !value || value > 65535)
        return false;
    *port = (int)value;
    return !*buf || inet_pton(AF_INET, buf, addr) == 1;
}

/* "tcp:[HOST]:PORT-[GUEST]:PORT" or "udp:..." */
static bool parse_forward(const struct net_user *u, const char *text, struct forward *out)
{
    const char *places = strchr(text, ':');
    const char *dash = places ? strchr(places, '-') : NULL;

    *out = (struct forward){.host.s_addr = INADDR_ANY, .guest = u->config.vdhcp_start};
    out->udp = strncmp(text, "udp:", 4) == 0;
    if (!dash || (!out->udp && strncmp(text, "tcp:", 4) != 0 && *text != ':'))
        return false;
    return parse_place(places + 1, (size_t)(dash - places - 1), &out->host, &out->host_port) &&
           parse_place(dash + 1, strlen(dash + 1), &out->guest, &out->guest_port);
}

static enum sim_status add_forward(struct netdev *n, const char *text)
{
    struct net_user *u = impl(n);
    struct forward f;

    if (!parse_forward(u, text, &f))
        return netdev_bad_option(n, "hostfwd", text);
    if (slirp_add_hostfwd(u->slirp, f.udp, f.host, f.host_port, f.guest, f.guest_port) < 0) {
        sim_error("network back end '%s': cannot forward %s port %d: %m", n->spec,
                  f.udp ? "udp" : "tcp", f.host_port);
        return SIM_ERR_IO;
    }
    return SIM_OK;
}

/* --- life --- */

/* QEMU's defaults: network 10.0.2.0/24, gateway .2, name server .3, first guest .15 */
static void set_defaults(SlirpConfig *c)
{
    c->version = 1;
    c->in_enabled = true;
    inet_pton(AF_INET, "10.0.2.0", &c->vnetwork);
    inet_pton(AF_INET, "255.255.255.0", &c->vnetmask);
    inet_pton(AF_INET, "10.0.2.2", &c->vhost);
    inet_pton(AF_INET, "10.0.2.3", &c->vnameserver);
    inet_pton(AF_INET, "10.0.2.15", &c->vdhcp_start);
}

static enum sim_status user_start(struct netdev *n, const char *args)
{
    struct net_user *u = impl(n);

    set_defaults(&u->config);
    SIM_TRY(netdev_each_option(n, args, set_option));
    u->slirp = slirp_new(&u->config, &callbacks, n);
    if (!u->slirp) {
        sim_error("network back end '%s': libslirp does not start", n->spec);
        return SIM_ERR_INVALID;
    }
    for (unsigned i = 0; i < u->nr_forwards; i++)
        SIM_TRY(add_forward(n, u->forwards[i]));
    sim_io_timer_arm(u->poll_timer, 0); /* from now on libslirp belongs to the I/O thread */
    return SIM_OK;
}

static void user_close(struct netdev *n)
{
    struct net_user *u = impl(n);

    sim_mutex_lock(&n->lock);
    u->closing = true;
    while (u->running)
        sim_cond_wait(&n->idle, &n->lock);
    sim_mutex_unlock(&n->lock);
    while (u->nr_watches)
        remove_watch(u, &u->watches[0]);
    if (u->slirp)
        slirp_cleanup(u->slirp);
    sim_io_timer_destroy(u->out_timer);
    sim_io_timer_destroy(u->poll_timer);
    netdev_queue_clear(&u->out);
    for (unsigned i = 0; i < u->nr_forwards; i++)
        sim_free(u->forwards[i]);
    sim_free(u->forwards);
    sim_free(u->watches);
    sim_free(u->fds);
    sim_free(u);
}

static enum sim_status user_open(struct netdev *n, const char *args)
{
    struct net_user *u = sim_new(struct net_user);

    n->impl = u;
    u->poll_timer = sim_io_timer_create(n->sim->io, poll_due, n);
    u->out_timer = sim_io_timer_create(n->sim->io, out_due, n);
    enum sim_status status = user_start(n, args);
    if (status != SIM_OK)
        user_close(n);
    return status;
}

const struct netdev_kind netdev_user = {
    .name = "user", .open = user_open, .close = user_close, .send = user_send};
#endif
