/* Notifications by eventfd: where the host can turn a guest's write into an event (mem_doorbell_ops), the vCPU goes on at once and the
 * I/O thread serves the queue.
 *
 *   guest writes QueueNotify -> the host's kernel -> eventfd -> I/O thread -> virtio_notify
 *
 * What has rung and is not served yet is no part of a device's state: its transport serves it before it is saved (on the I/O thread, vCPUs
 * stand), so that a machine that leaves does nothing any more after its cut. What that puts off (virtio_continue) waits for the clock, which
 * stands then (sim_time_stop). A bell that was rung before a reset finds an empty queue. */
#include <errno.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "sim-core/alloc.h"
#include "sim-core/io.h"
#include "virtio/virtio.h"

/* Owner: launch. Served on the I/O thread. Lifetime: the transport's. */
struct virtio_doorbell {
    struct virtio_device *v;
    gpa_t notify;
    unsigned queue;
    int fd;
    bool is_set;
    uint64_t rung; /* how often; the device's lock */
    struct sim_io_watch *watch;
};

static void serve(struct virtio_doorbell *b)
{
    uint64_t times;

    if (read(b->fd, &times, sizeof times) != sizeof times)
        return;
    virtio_lock(b->v);
    b->rung += times;
    virtio_notify(b->v, b->queue);
    virtio_unlock(b->v);
}

static void on_rung(void *opaque, unsigned events)
{
    (void)events;
    serve(opaque);
}

/* Notifications of `n` carry its number in 32 bits. */
static bool set_bell(struct virtio_doorbell *b, bool on)
{
    struct mem_space *s = b->v->space;

    if (s->doorbells)
        return s->doorbells->set(s->doorbells_opaque, b->notify, 4, b->queue, b->fd, on);
    errno = EOPNOTSUPP;
    return false;
}

static bool hang(struct virtio_doorbell *b)
{
    b->fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    b->is_set = b->fd >= 0 && sim_io_watch_add(b->v->sim->io, b->fd, SIM_IO_READ, on_rung, b, &b->watch) == SIM_OK &&
                set_bell(b, true);
    return b->is_set;
}

static bool hang_all(struct virtio_device *v)
{
    for (unsigned n = 0; n < v->nr_queues; n++)
        if (!hang(&v->doorbell[n]))
            return false;
    return true;
}

enum sim_status virtio_doorbells_hang(struct virtio_device *v, gpa_t notify)
{
    v->doorbell = sim_new_array(struct virtio_doorbell, v->nr_queues);
    for (unsigned n = 0; n < v->nr_queues; n++)
        v->doorbell[n] = (struct virtio_doorbell){.v = v, .notify = notify, .queue = n, .fd = -1};
    if (hang_all(v))
        return SIM_OK;
    int why = errno;

    virtio_doorbells_take_down(v);
    errno = why;
    return SIM_ERR_UNSUPPORTED;
}

void virtio_doorbells_serve(struct virtio_device *v)
{
    for (unsigned n = 0; v->doorbell && n < v->nr_queues; n++)
        serve(&v->doorbell[n]);
}

static void take_down(struct virtio_doorbell *b)
{
    if (b->is_set)
        (void)set_bell(b, false);
    if (b->watch)
        sim_io_watch_remove(b->watch);
    if (b->fd >= 0)
        close(b->fd);
}

void virtio_doorbells_take_down(struct virtio_device *v)
{
    for (unsigned n = 0; v->doorbell && n < v->nr_queues; n++)
        take_down(&v->doorbell[n]);
    sim_free(v->doorbell);
    v->doorbell = NULL;
}

uint64_t virtio_doorbells_rung(struct virtio_device *v)
{
    uint64_t sum = 0;

    virtio_lock(v);
    for (unsigned n = 0; v->doorbell && n < v->nr_queues; n++)
        sum += v->doorbell[n].rung;
    virtio_unlock(v);
    return sum;
}
