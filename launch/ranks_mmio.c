/* MMIO across ranks: devices are on one rank, harts on all.
 *
 *   hart: mem_mmio_read -> no region here -> MMIO message -> waits, polling, outside guest code
 *   the devices' rank: handler -> queue -> a thread without device locks: whoever polls at top level, else the
 *   I/O thread -> region ops -> MMIO_DONE */
#include <string.h>

#include "ranks_priv.h"
#include "sim-core/alloc.h"

struct mmio_message {
    uint64_t id; /* of the requester, echoed */
    uint64_t gpa, value;
    uint32_t size;
    uint16_t write;
    uint16_t result; /* enum mem_result */
};

/* An access that this rank waits for, on the stack of the thread that does. */
struct mmio_wait {
    struct mmio_message m;
    _Atomic bool done;
    struct mmio_wait *next;
};

/* An access that another rank waits for. */
struct mmio_request {
    struct mmio_message m;
    rank_t from;
    struct mmio_request *next;
};

/* Identity only: the ranks whose requests this thread serves after its poll. */
static _Thread_local const struct ranks *serving;

/* --- devices of another rank --- */

static void add_wait(struct ranks *r, struct mmio_wait *w)
{
    sim_mutex_lock(&r->lock);
    w->m.id = ++r->next_id;
    w->next = r->waits;
    r->waits = w;
    sim_mutex_unlock(&r->lock);
}

static void remove_wait(struct ranks *r, struct mmio_wait *w)
{
    sim_mutex_lock(&r->lock);
    for (struct mmio_wait **at = &r->waits; *at; at = &(*at)->next)
        if (*at == w) {
            *at = w->next;
            break;
        }
    sim_mutex_unlock(&r->lock);
}

static enum mem_result ask(struct ranks *r, struct mmio_wait *w)
{
    unsigned spins = 0;

    add_wait(r, w);
    ic_send_small(r->ic, (rank_t)r->plan->device_rank, MSG_MMIO, &w->m, sizeof w->m);
    while (!atomic_load_explicit(&w->done, memory_order_acquire) && !ranks_failed(r) && !sim_ending(r->sim))
        r->sim->ranks->wait(r, &spins);
    remove_wait(r, w);
    /* At the end of a run nobody looks at the value. */
    return atomic_load_explicit(&w->done, memory_order_acquire) ? (enum mem_result)w->m.result : MEM_OK;
}

static enum mem_result remote_read(void *opaque, gpa_t gpa, unsigned size, uint64_t *value)
{
    struct mmio_wait w = {.m = {.gpa = gpa, .size = size}};
    enum mem_result result = ask(opaque, &w);

    *value = w.m.value;
    return result;
}

static enum mem_result remote_write(void *opaque, gpa_t gpa, unsigned size, uint64_t value)
{
    struct mmio_wait w = {.m = {.gpa = gpa, .size = size, .write = 1, .value = value}};

    return ask(opaque, &w);
}

const struct mem_remote_ops ranks_remote_ops = {.read = remote_read, .write = remote_write};

static void on_mmio_done(void *opaque, rank_t from, const void *data, uint32_t len)
{
    struct ranks *r = opaque;
    struct mmio_message m;

    (void)from;
    if (len != sizeof m)
        return;
    memcpy(&m, data, sizeof m);
    sim_mutex_lock(&r->lock);
    for (struct mmio_wait *w = r->waits; w; w = w->next)
        if (w->m.id == m.id) {
            w->m.value = m.value;
            w->m.result = m.result;
            atomic_store_explicit(&w->done, true, memory_order_release);
            break;
        }
    sim_mutex_unlock(&r->lock);
}

/* --- and ours, for others --- */

static struct mmio_request *take_request(struct ranks *r)
{
    sim_mutex_lock(&r->lock);
    struct mmio_request *q = r->first;
    if (q) {
        r->first = q->next;
        if (!r->first)
            r->last = &r->first;
    }
    sim_mutex_unlock(&r->lock);
    return q;
}

static bool is_access(const struct mmio_message *m)
{
    return (m->size == 1 || m->size == 2 || m->size == 4 || m->size == 8) &&
           !(m->gpa & (m->size - 1));
}

static void serve_request(struct ranks *r, struct mmio_request *q)
{
    struct mmio_message *m = &q->m;
    enum mem_result result = MEM_FAULT;

    if (is_access(m) && m->write)
        result = mem_mmio_write(r->space, m->gpa, m->size, m->value);
    else if (is_access(m))
        result = mem_mmio_read(r->space, m->gpa, m->size, &m->value);
    m->result = (uint16_t)result;
    ic_send_small(r->ic, q->from, MSG_MMIO_DONE, m, sizeof *m);
    sim_free(q);
    atomic_fetch_sub_explicit(&r->nr_requests, 1, memory_order_release); /* S1: pairs with S2 */
}

static void serve_requests(void *opaque)
{
    struct ranks *r = opaque;
    struct mmio_request *q;

    while (atomic_load_explicit(&r->nr_requests, memory_order_acquire) && (q = take_request(r)))
        serve_request(r, q);
}

/* Devices have locks, and whoever polls may hold one: the access waits for a thread that holds none. */
static void on_mmio(void *opaque, rank_t from, const void *data, uint32_t len)
{
    struct ranks *r = opaque;
    struct mmio_request *q;

    if (len != sizeof q->m)
        return;
    q = sim_new(struct mmio_request);
    memcpy(&q->m, data, sizeof q->m);
    q->from = from;
    sim_mutex_lock(&r->lock);
    *r->last = q;
    r->last = &q->next;
    atomic_fetch_add_explicit(&r->nr_requests, 1, memory_order_release);
    sim_mutex_unlock(&r->lock);
    if (serving != r)
        sim_io_post(r->sim->io, serve_requests, r);
}

/* --- who serves --- */

const struct ranks *ranks_serve_begin(struct ranks *r)
{
    const struct ranks *outer = serving;

    serving = r;
    return outer;
}

void ranks_serve_end(struct ranks *r, const struct ranks *outer)
{
    serve_requests(r);
    serving = outer;
}

void ranks_mmio_init(struct ranks *r)
{
    r->last = &r->first;
}

void ranks_mmio_fini(struct ranks *r)
{
    struct mmio_request *q;

    while ((q = take_request(r)))
        sim_free(q);
}

void ranks_mmio_register(struct ranks *r)
{
    ic_register(r->ic, MSG_MMIO, "mmio", on_mmio, r);
    ic_register(r->ic, MSG_MMIO_DONE, "mmio-done", on_mmio_done, r);
}
