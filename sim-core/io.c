/* The I/O loop: epoll over watches, one timerfd for a heap of timers, posted work behind an
 * eventfd.
 *
 * The timerfd stands at the earliest deadline or before it: whoever arms an earlier timer sets it
 * (no need to wake the thread), cancelling leaves it and the thread wakes once for nothing. It has
 * nanosecond resolution where epoll's time-out has milliseconds. */
#include "sim-core/io.h"

#include <errno.h>
#include <stdatomic.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/timerfd.h>
#include <unistd.h>

#include "sim-core/heap.h"
#include "sim-core/alloc.h"
#include "sim-core/lock.h"
#include "sim-core/log.h"

struct sim_io_watch {
    struct sim_io *io;
    int fd;
    unsigned events;
    void (*fn)(void *opaque, unsigned events);
    void *opaque;
    bool removed;
    struct sim_io_watch *next; /* list of all, or of the dead */
};

struct sim_io_timer {
    struct sim_io *io;
    struct heap_node node; /* its key is the deadline */
    void (*fn)(void *opaque);
    void *opaque;
};

struct posted {
    void (*fn)(void *opaque);
    void *opaque;
    struct posted *next;
};

/* Owner: the I/O thread. lock guards the lists, `busy` and `stopping`. */
struct sim_io {
    int epoll, wake, timerfd;
    struct sim_thread thread;
    struct sim_mutex lock;
    struct sim_cond idle; /* signalled after each callback, for *_remove and *_destroy */
    struct sim_io_watch *watches, *dead;
    struct heap heap; /* armed timers */
    uint64_t alarm;   /* what timerfd is set to; UINT64_MAX: off */
    struct posted *first, **last;
    const void *busy; /* watch or timer whose callback runs now */
    bool stopping;
    pthread_t self; /* valid while running */
    bool running;
};

static bool add_own_fd(struct sim_io *io, int fd, void *tag)
{
    struct epoll_event ev = {.events = EPOLLIN, .data.ptr = tag};

    return fd >= 0 && epoll_ctl(io->epoll, EPOLL_CTL_ADD, fd, &ev) == 0;
}

static void close_own_fds(struct sim_io *io)
{
    const int fds[] = {io->epoll, io->wake, io->timerfd};

    for (size_t i = 0; i < SIM_ARRAY_LEN(fds); i++)
        if (fds[i] >= 0)
            close(fds[i]);
}

enum sim_status sim_io_create(struct sim_io **out)
{
    struct sim_io *io = sim_new(struct sim_io);

    io->epoll = epoll_create1(EPOLL_CLOEXEC);
    io->wake = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    io->timerfd = timerfd_create(CLOCK_MONOTONIC, TFD_CLOEXEC | TFD_NONBLOCK);
    if (io->epoll < 0 || !add_own_fd(io, io->wake, &io->wake) ||
        !add_own_fd(io, io->timerfd, &io->timerfd)) {
        sim_error("cannot create the I/O loop: %m");
        close_own_fds(io);
        sim_free(io);
        return SIM_ERR_IO;
    }
    sim_mutex_init(&io->lock, SIM_RANK_IO);
    sim_cond_init(&io->idle);
    io->last = &io->first;
    io->alarm = UINT64_MAX;
    *out = io;
    return SIM_OK;
}

static void wake(struct sim_io *io)
{
    uint64_t one = 1;

    if (write(io->wake, &one, sizeof one) < 0) {
        /* EAGAIN: the counter is full, so the loop wakes anyway */
    }
}

static uint32_t epoll_bits(unsigned events)
{
    return (events & SIM_IO_READ ? (uint32_t)EPOLLIN : 0u) |
           (events & SIM_IO_WRITE ? (uint32_t)EPOLLOUT : 0u);
}

/* Runs one callback outside the lock, marked busy so that a remover can wait for it. */
static void finish_callback(struct sim_io *io)
{
    sim_mutex_lock(&io->lock);
    io->busy = NULL;
    sim_cond_broadcast(&io->idle);
}

/* Runs what was posted until now; what that posts in turn waits for the next round. */
static void run_posted(struct sim_io *io)
{
    struct posted *list = io->first;

    io->first = NULL;
    io->last = &io->first;
    while (list) {
        struct posted *p = list;
        list = p->next;
        sim_mutex_unlock(&io->lock);
        p->fn(p->opaque);
        sim_free(p);
        sim_mutex_lock(&io->lock);
    }
}

/* --- timers --- */

/* Sets the timerfd when the earliest deadline is before the alarm. */
static void set_alarm(struct sim_io *io)
{
    const struct heap_node *first = heap_first(&io->heap);

    if (!first || first->key >= io->alarm)
        return;
    uint64_t at = first->key;

    io->alarm = at;
    if (at > INT64_MAX)
        at = INT64_MAX;
    struct itimerspec spec = {
        .it_value = {.tv_sec = (time_t)(at / 1000000000), .tv_nsec = (long)(at % 1000000000)}};
    timerfd_settime(io->timerfd, TFD_TIMER_ABSTIME, &spec, NULL);
}

/* Runs the timers that are due, at most as many as are armed now: one that always arms itself
 * again must not keep the watches waiting. (Deadlines are never 0, see sim_io_timer_arm: that would
 * switch the timerfd off.) */
static void run_timers(struct sim_io *io)
{
    uint64_t now = sim_host_ns();

    for (uint32_t left = io->heap.nr; left && heap_first(&io->heap); left--) {
        struct heap_node *n = heap_first(&io->heap);
        if (n->key > now)
            break;
        struct sim_io_timer *due = SIM_CONTAINER_OF(n, struct sim_io_timer, node);
        heap_remove(&io->heap, n);
        io->busy = due;
        sim_mutex_unlock(&io->lock);
        due->fn(due->opaque);
        finish_callback(io);
    }
    set_alarm(io);
}

static void run_watch(struct sim_io *io, struct sim_io_watch *w, uint32_t bits)
{
    unsigned events = 0;

    if (w->removed)
        return;
    if (bits & (EPOLLERR | EPOLLHUP))
        events = w->events ? w->events : SIM_IO_READ;
    if (bits & EPOLLIN)
        events |= SIM_IO_READ;
    if (bits & EPOLLOUT)
        events |= SIM_IO_WRITE;
    io->busy = w;
    sim_mutex_unlock(&io->lock);
    w->fn(w->opaque, events);
    finish_callback(io);
}

static void free_dead(struct sim_io *io)
{
    while (io->dead) {
        struct sim_io_watch *w = io->dead;
        io->dead = w->next;
        sim_free(w);
    }
}

static void drain(int fd)
{
    uint64_t count;

    if (read(fd, &count, sizeof count) < 0) {
        /* EAGAIN: already drained */
    }
}

static void run_event(struct sim_io *io, const struct epoll_event *ev)
{
    if (ev->data.ptr == &io->wake) {
        drain(io->wake);
    } else if (ev->data.ptr == &io->timerfd) {
        drain(io->timerfd);
        io->alarm = UINT64_MAX;
    } else {
        run_watch(io, ev->data.ptr, ev->events);
    }
}

static void *io_main(void *arg)
{
    struct sim_io *io = arg;
    struct epoll_event events[32];

    sim_mutex_lock(&io->lock);
    io->self = pthread_self();
    io->running = true;
    while (!io->stopping) {
        run_posted(io);
        run_timers(io);
        free_dead(io);
        if (io->stopping)
            break;
        bool more = io->first != NULL;
        sim_mutex_unlock(&io->lock);
        int n = epoll_wait(io->epoll, events, (int)SIM_ARRAY_LEN(events), more ? 0 : -1);
        sim_mutex_lock(&io->lock);
        for (int i = 0; i < n; i++)
            run_event(io, &events[i]);
    }
    io->running = false;
    sim_mutex_unlock(&io->lock);
    return NULL;
}

enum sim_status sim_io_start(struct sim_io *io)
{
    io->stopping = false;
    return sim_thread_start(&io->thread, "io", io_main, io);
}

void sim_io_stop(struct sim_io *io)
{
    sim_mutex_lock(&io->lock);
    io->stopping = true;
    sim_mutex_unlock(&io->lock);
    wake(io);
    sim_thread_join(&io->thread);
}

void sim_io_destroy(struct sim_io *io)
{
    if (!io)
        return;
    sim_io_stop(io);
    free_dead(io);
    while (io->watches) {
        struct sim_io_watch *w = io->watches;
        io->watches = w->next;
        sim_free(w);
    }
    SIM_BUG_ON(io->heap.nr, "the I/O loop is destroyed with %u armed timers", io->heap.nr);
    while (io->first) {
        struct posted *p = io->first;
        io->first = p->next;
        sim_free(p);
    }
    close_own_fds(io);
    heap_fini(&io->heap);
    sim_cond_fini(&io->idle);
    sim_mutex_fini(&io->lock);
    sim_free(io);
}

enum sim_status sim_io_watch_add(struct sim_io *io, int fd, unsigned events,
                                 void (*fn)(void *opaque, unsigned events), void *opaque,
                                 struct sim_io_watch **out)
{
    struct sim_io_watch *w = sim_new(struct sim_io_watch);
    struct epoll_event ev = {.events = epoll_bits(events), .data.ptr = w};

    *w = (struct sim_io_watch){io, fd, events, fn, opaque, false, NULL};
    sim_mutex_lock(&io->lock);
    if (epoll_ctl(io->epoll, EPOLL_CTL_ADD, fd, &ev) < 0) {
        sim_mutex_unlock(&io->lock);
        sim_free(w);
        return SIM_ERR_IO; /* EPERM for regular files: the caller decides what that means */
    }
    w->next = io->watches;
    io->watches = w;
    *out = w;
    sim_mutex_unlock(&io->lock);
    return SIM_OK;
}

void sim_io_watch_set(struct sim_io_watch *w, unsigned events)
{
    struct epoll_event ev = {.events = epoll_bits(events), .data.ptr = w};

    sim_mutex_lock(&w->io->lock);
    if (!w->removed && w->events != events) {
        w->events = events;
        epoll_ctl(w->io->epoll, EPOLL_CTL_MOD, w->fd, &ev);
    }
    sim_mutex_unlock(&w->io->lock);
}

/* Lock held. Not by thread.started, which the starting thread writes after the first callbacks. */
static bool on_io_thread(const struct sim_io *io)
{
    return io->running && pthread_equal(io->self, pthread_self());
}

bool sim_io_is_current(struct sim_io *io)
{
    sim_mutex_lock(&io->lock);
    bool yes = on_io_thread(io);
    sim_mutex_unlock(&io->lock);
    return yes;
}

void sim_io_watch_remove(struct sim_io_watch *w)
{
    struct sim_io *io = w->io;

    sim_mutex_lock(&io->lock);
    epoll_ctl(io->epoll, EPOLL_CTL_DEL, w->fd, NULL);
    w->removed = true;
    for (struct sim_io_watch **p = &io->watches; *p; p = &(*p)->next) {
        if (*p == w) {
            *p = w->next;
            break;
        }
    }
    /* epoll_wait may already have returned it: freed at the loop's next turn. */
    w->next = io->dead;
    io->dead = w;
    while (io->busy == w && !on_io_thread(io))
        sim_cond_wait(&io->idle, &io->lock);
    sim_mutex_unlock(&io->lock);
}

struct sim_io_timer *sim_io_timer_create(struct sim_io *io, void (*fn)(void *opaque), void *opaque)
{
    struct sim_io_timer *t = sim_new(struct sim_io_timer);

    *t = (struct sim_io_timer){.io = io, .node = {0, HEAP_OUT}, .fn = fn, .opaque = opaque};
    return t;
}

void sim_io_timer_arm(struct sim_io_timer *t, uint64_t deadline_host_ns)
{
    uint64_t now = sim_host_ns();

    sim_mutex_lock(&t->io->lock);
    heap_remove(&t->io->heap, &t->node);
    /* The past counts as now: a timer that always arms itself for it queues behind the others. */
    heap_insert(&t->io->heap, &t->node, deadline_host_ns > now ? deadline_host_ns : now);
    set_alarm(t->io);
    sim_mutex_unlock(&t->io->lock);
}

void sim_io_timer_cancel(struct sim_io_timer *t)
{
    sim_mutex_lock(&t->io->lock);
    heap_remove(&t->io->heap, &t->node);
    sim_mutex_unlock(&t->io->lock);
}

void sim_io_timer_destroy(struct sim_io_timer *t)
{
    struct sim_io *io = t->io;

    sim_mutex_lock(&io->lock);
    heap_remove(&io->heap, &t->node);
    while (io->busy == t && !on_io_thread(io))
        sim_cond_wait(&io->idle, &io->lock);
    /* The callback that ran meanwhile may have armed it again. */
    heap_remove(&io->heap, &t->node);
    sim_mutex_unlock(&io->lock);
    sim_free(t);
}

void sim_io_post(struct sim_io *io, void (*fn)(void *opaque), void *opaque)
{
    struct posted *p = sim_new(struct posted);

    *p = (struct posted){fn, opaque, NULL};
    sim_mutex_lock(&io->lock);
    *io->last = p;
    io->last = &p->next;
    sim_mutex_unlock(&io->lock);
    wake(io);
}
