/* The progress line of a guest that is still silent. */
#include "progress.h"

#include <inttypes.h>
#include <stdatomic.h>
#include <stdio.h>
#include <unistd.h>

#include "sim-core/alloc.h"
#include "sim-core/lock.h"
#include "sim-core/vcpu.h"

enum { FIRST_NS = 300 * 1000000, PERIOD_NS = 200 * 1000000 };

/* Owner: the I/O thread's timer; `lock` orders its writes before the clearing one. */
struct progress {
    struct sim *sim;
    int fd; /* -1: nobody looks */
    struct sim_io_timer *timer;
    struct sim_mutex lock; /* leaf: the tap is called under device locks */
    _Atomic bool ended;
    _Atomic uint8_t last_byte; /* of the guest's output; 0: none */
    bool shown;
    uint64_t start_ns, last_ns, last_insns;
};

/* The counters belong to the executors. A stale value harms nobody here, so the race is meant. */
__attribute__((no_sanitize("thread"))) uint64_t progress_insns(const struct sim *sim)
{
    uint64_t sum = 0;

    for (uint32_t i = 0; i < sim->nr_vcpus; i++)
        sum += *(const volatile uint64_t *)&sim->vcpus[i]->stats.insns;
    return sum;
}

static void put(struct progress *p, const char *text, size_t len)
{
    if (write(p->fd, text, len) < 0) {
        /* a line that is only for show */
    }
}

static void show(struct progress *p)
{
    uint64_t now = sim_host_ns(), insns = progress_insns(p->sim);
    double span = (double)(now - p->last_ns) / 1e9;
    char line[128];
    int n = snprintf(line, sizeof line, "\r\033[Kbooting: %.1f s", (double)(now - p->start_ns) / 1e9);

    if (insns) /* on KVM nobody counts them */
        n += snprintf(line + n, sizeof line - (size_t)n, ", %" PRIu64 " M instructions, %.0f MIPS", insns / 1000000,
                      (double)(insns - p->last_insns) / 1e6 / span);

    p->last_ns = now;
    p->last_insns = insns;
    sim_mutex_lock(&p->lock);
    if (!atomic_load_explicit(&p->ended, memory_order_relaxed)) {
        put(p, line, (size_t)n);
        p->shown = true;
    }
    sim_mutex_unlock(&p->lock);
}

static void on_timer(void *opaque)
{
    struct progress *p = opaque;

    if (atomic_load_explicit(&p->ended, memory_order_relaxed))
        return;
    show(p);
    sim_io_timer_arm(p->timer, sim_host_ns() + PERIOD_NS);
}

struct progress *progress_create(struct sim *sim, int fd)
{
    struct progress *p = sim_new(struct progress);

    p->sim = sim;
    p->fd = isatty(fd) ? fd : -1;
    p->start_ns = p->last_ns = sim_host_ns();
    sim_mutex_init(&p->lock, SIM_RANK_LEAF);
    if (p->fd >= 0) {
        p->timer = sim_io_timer_create(sim->io, on_timer, p);
        sim_io_timer_arm(p->timer, p->start_ns + FIRST_NS);
    } else {
        atomic_init(&p->ended, true);
    }
    return p;
}

void progress_end(struct progress *p)
{
    static const char clear[] = "\r\033[K";

    if (atomic_exchange_explicit(&p->ended, true, memory_order_relaxed))
        return;
    sim_mutex_lock(&p->lock);
    if (p->shown)
        put(p, clear, sizeof clear - 1);
    sim_mutex_unlock(&p->lock);
}

static void on_output(void *opaque, const uint8_t *data, size_t len)
{
    struct progress *p = opaque;

    if (!len)
        return;
    atomic_store_explicit(&p->last_byte, data[len - 1], memory_order_relaxed);
    if (!atomic_load_explicit(&p->ended, memory_order_relaxed))
        progress_end(p);
}

bool progress_mid_line(const struct progress *p)
{
    uint8_t last = atomic_load_explicit(&p->last_byte, memory_order_relaxed);

    return last != 0 && last != '\n';
}

struct chardev_tap progress_tap(struct progress *p)
{
    return (struct chardev_tap){on_output, p};
}

void progress_destroy(struct progress *p)
{
    if (!p)
        return;
    progress_end(p);
    if (p->timer)
        sim_io_timer_destroy(p->timer);
    sim_mutex_fini(&p->lock);
    sim_free(p);
}
