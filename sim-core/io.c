/* The I/O loop: epoll over watches, a timer list, and posted work behind one eventfd. */
#include "sim-core/io.h"

#include <errno.h>
#include <stdatomic.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <unistd.h>

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
    uint64_t deadline; /* UINT64_MAX: not armed */
    void (*fn)(void *opaque);
    void *opaque;
    struct sim_io_timer *next;
};

struct posted {
    void (*fn)(void *opaque);
    void *opaque;
    struct posted *next;
};

/* Owner: the I/O thread. lock guards the lists, `busy` and `stopping`. */
struct sim_io {
    int epoll, wake;
    struct sim_thread thread;
    struct sim_mutex lock;
    struct sim_cond idle; /* signalled after each callback, for *_remove and *_destroy */
    struct sim_io_watch *watches, *dead;
    struct sim_io_timer *timers;
    struct posted *first, **last;
    const void *busy; /* watch or timer whose callback runs now */
    bool stopping;
    pthread_t self;
};

enum sim_status sim_io_create(struct sim_io **out)
{
    struct sim_io *io = sim_new(struct sim_io);

    io->epoll = epoll_create1(EPOLL_CLOEXEC);
    io->wake = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    struct epoll_event ev = {.events = EPOLLIN, .data.ptr = NULL};
    if (io->epoll < 0 || io->wake < 0 || epoll_ctl(io->epoll, EPOLL_CTL_ADD, io->wake, &ev) < 0) {
        sim_error("cannot create the I/O loop: %m");
        if (io->epoll >= 0)
            close(io->epoll);
        if (io->wake >= 0)
            close(io->wake);
        sim_free(io);
        return SIM_ERR_IO;
    }
    sim_mutex_init(&io->lock, SIM_RANK_IO);
    sim_cond_init(&io->idle);
    io->last = &io->first;
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

static void run_posted(struct sim_io *io)
{
    while (io->first) {
        struct posted *p = io->first;
        io->first = p->next;
        if (!io->first)
            io->last = &io->first;
        sim_mutex_unlock(&io->lock);
        p->fn(p->opaque);
        sim_free(p);
        sim_mutex_lock(&io->lock);
    }
}

static int run_timers(struct sim_io *io)
{
    for (;;) {
        uint64_t now = sim_host_ns();
        struct sim_io_timer *due = NULL;
        uint64_t next = UINT64_MAX;
        for (struct sim_io_timer *t = io->timers; t; t = t->next) {
            if (t->deadline <= now && (!due || t->deadline < due->deadline))
                due = t;
            if (t->deadline < next)
                next = t->deadline;
        }
        if (!due) {
            if (next == UINT64_MAX)
                return -1;
            uint64_t ms = (next - now + 999999) / 1000000;
            return ms > 3600000 ? 3600000 : (int)ms;
        }
        due->deadline = UINT64_MAX;
        io->busy = due;
        sim_mutex_unlock(&io->lock);
        due->fn(due->opaque);
        finish_callback(io);
    }
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

static void *io_main(void *arg)
{
    struct sim_io *io = arg;
    struct epoll_event events[32];

    sim_mutex_lock(&io->lock);
    io->self = pthread_self();
    while (!io->stopping) {
        run_posted(io);
        int timeout = run_timers(io);
        if (io->first)
            continue;
        free_dead(io);
        if (io->stopping)
            break;
        sim_mutex_unlock(&io->lock);
        int n = epoll_wait(io->epoll, events, (int)SIM_ARRAY_LEN(events), timeout);
        sim_mutex_lock(&io->lock);
        for (int i = 0; i < n; i++) {
            if (events[i].data.ptr) {
                run_watch(io, events[i].data.ptr, events[i].events);
            } else {
                uint64_t count;
                if (read(io->wake, &count, sizeof count) < 0) {
                    /* EAGAIN: already drained */
                }
            }
        }
    }
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
    while (io->timers) {
        struct sim_io_timer *t = io->timers;
        io->timers = t->next;
        sim_free(t);
    }
    while (io->first) {
        struct posted *p = io->first;
        io->first = p->next;
        sim_free(p);
    }
    close(io->epoll);
    close(io->wake);
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

static bool on_io_thread(const struct sim_io *io)
{
    return io->thread.started && pthread_equal(io->self, pthread_self());
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

    *t = (struct sim_io_timer){io, UINT64_MAX, fn, opaque, NULL};
    sim_mutex_lock(&io->lock);
    t->next = io->timers;
    io->timers = t;
    sim_mutex_unlock(&io->lock);
    return t;
}

void sim_io_timer_arm(struct sim_io_timer *t, uint64_t deadline_host_ns)
{
    sim_mutex_lock(&t->io->lock);
    t->deadline = deadline_host_ns;
    bool other = !on_io_thread(t->io);
    sim_mutex_unlock(&t->io->lock);
    if (other)
        wake(t->io);
}

void sim_io_timer_cancel(struct sim_io_timer *t)
{
    sim_mutex_lock(&t->io->lock);
    t->deadline = UINT64_MAX;
    sim_mutex_unlock(&t->io->lock);
}

void sim_io_timer_destroy(struct sim_io_timer *t)
{
    struct sim_io *io = t->io;

    sim_mutex_lock(&io->lock);
    for (struct sim_io_timer **p = &io->timers; *p; p = &(*p)->next) {
        if (*p == t) {
            *p = t->next;
            break;
        }
    }
    while (io->busy == t && !on_io_thread(io))
        sim_cond_wait(&io->idle, &io->lock);
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
