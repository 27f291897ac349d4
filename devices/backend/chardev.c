/* Character back ends, the common part.
 *
 *   chardev_write -> stage (until newline, full, or 1 ms) -> taps -> ops->write
 *                                                       slow reader: ring of 1 MiB, timer retries
 *   terminal, socket -> input ring -> I/O thread -> client (as much as the device takes)
 *
 * All kinds retry by timer instead of waiting for writability: it works for every sort of file. */
#include <poll.h>
#include <string.h>
#include <unistd.h>

#include "chardev_priv.h"

/* --- rings --- */

static void ring_grow(struct byte_ring *r, size_t need)
{
    size_t cap = r->cap ? r->cap : 256;

    while (cap < need)
        cap *= 2;
    if (cap == r->cap)
        return;
    uint8_t *data = sim_zalloc(cap);
    size_t first = r->cap - r->head < r->len ? r->cap - r->head : r->len;

    if (r->len) {
        memcpy(data, r->data + r->head, first);
        memcpy(data + first, r->data, r->len - first);
    }
    sim_free(r->data);
    r->data = data;
    r->cap = cap;
    r->head = 0;
}

/* The caller has checked that len fits below max. */
static void ring_put(struct byte_ring *r, const uint8_t *data, size_t len)
{
    if (!len)
        return;
    ring_grow(r, r->len + len);
    size_t tail = (r->head + r->len) % r->cap;
    size_t first = r->cap - tail < len ? r->cap - tail : len;

    memcpy(r->data + tail, data, first);
    memcpy(r->data, data + first, len - first);
    r->len += len;
}

static const uint8_t *ring_peek(const struct byte_ring *r, size_t *len)
{
    *len = r->cap - r->head < r->len ? r->cap - r->head : r->len;
    return r->data + r->head;
}

static void ring_drop(struct byte_ring *r, size_t len)
{
    r->head = r->cap ? (r->head + len) % r->cap : 0;
    r->len -= len;
}

/* --- output --- */

static void arm_flush(struct chardev *c, uint64_t delay_ns)
{
    if (c->flush_armed)
        return;
    c->flush_armed = true;
    sim_io_timer_arm(c->flush_timer, sim_host_ns() + delay_ns);
}

/* Writes what waits in the ring; arms a retry when the reader is slow. */
static void drain_out(struct chardev *c)
{
    while (c->out.len) {
        size_t len;
        const uint8_t *p = ring_peek(&c->out, &len);
        ssize_t n = c->ops->write(c, p, len);
        if (n == 0) {
            arm_flush(c, c->retry_ns);
            c->retry_ns =
                c->retry_ns * 2 < CHARDEV_RETRY_MAX_NS ? c->retry_ns * 2 : CHARDEV_RETRY_MAX_NS;
            return;
        }
        ring_drop(&c->out, n < 0 ? len : (size_t)n);
        if (n > 0)
            c->retry_ns = CHARDEV_FLUSH_NS;
    }
}

static void drop_oldest(struct chardev *c, size_t len)
{
    if (c->out.len + len <= c->out.max)
        return;
    size_t drop = c->out.len + len - c->out.max;

    if (!c->dropped)
        sim_warn("serial output '%s': the reader is too slow, old output is dropped", c->spec);
    c->dropped += drop;
    ring_drop(&c->out, drop);
}

/* Sends a piece to the back end, through the ring when it does not take all. */
static void put_out(struct chardev *c, const uint8_t *data, size_t len)
{
    if (!c->out.len) {
        ssize_t n = c->ops->write(c, data, len);
        size_t done = n < 0 ? len : (size_t)n;
        data += done;
        len -= done;
    }
    if (!len)
        return;
    drop_oldest(c, len);
    ring_put(&c->out, data, len);
    drain_out(c);
}

static void flush_stage(struct chardev *c)
{
    size_t len = c->nr_stage;

    if (!len)
        return;
    c->nr_stage = 0;
    for (unsigned i = 0; i < c->nr_taps; i++)
        c->tap[i].output(c->tap[i].opaque, c->stage, len);
    put_out(c, c->stage, len);
}

void chardev_write(struct chardev *c, const uint8_t *data, size_t len)
{
    bool newline = false;

    sim_mutex_lock(&c->lock);
    while (len) {
        size_t piece = sizeof c->stage - c->nr_stage;
        if (piece > len)
            piece = len;
        memcpy(c->stage + c->nr_stage, data, piece);
        newline = memchr(data, '\n', piece) != NULL;
        c->nr_stage += piece;
        data += piece;
        len -= piece;
        if (newline || c->nr_stage == sizeof c->stage)
            flush_stage(c);
    }
    if (c->nr_stage)
        arm_flush(c, CHARDEV_FLUSH_NS);
    sim_mutex_unlock(&c->lock);
}

void chardev_flush(struct chardev *c)
{
    sim_mutex_lock(&c->lock);
    flush_stage(c);
    sim_mutex_unlock(&c->lock);
}

static void flush_fired(void *opaque)
{
    struct chardev *c = opaque;

    sim_mutex_lock(&c->lock);
    c->flush_armed = false;
    flush_stage(c);
    drain_out(c);
    sim_mutex_unlock(&c->lock);
}

/* --- input --- */

size_t chardev_input_room(const struct chardev *c)
{
    return c->in.max - c->in.len;
}

void chardev_input(struct chardev *c, const uint8_t *data, size_t len)
{
    sim_mutex_lock(&c->lock);
    size_t room = chardev_input_room(c);

    ring_put(&c->in, data, len < room ? len : room);
    if (c->in.len)
        sim_io_timer_arm(c->input_timer, 0);
    sim_mutex_unlock(&c->lock);
}

void chardev_inject(struct chardev *c, const uint8_t *data, size_t len)
{
    chardev_input(c, data, len);
}

void chardev_accept_input(struct chardev *c)
{
    sim_mutex_lock(&c->lock);
    if (c->in.len && c->client.receive)
        sim_io_timer_arm(c->input_timer, 0);
    sim_mutex_unlock(&c->lock);
}

/* Hands the device one piece; false when there is nothing or it takes nothing. Lock held. */
static bool deliver_piece(struct chardev *c)
{
    uint8_t piece[256];
    size_t len;
    struct chardev_client client = c->client;

    if (!c->in.len || !client.receive)
        return false;
    sim_mutex_unlock(&c->lock);
    size_t room = client.can_receive(client.opaque);
    sim_mutex_lock(&c->lock);
    const uint8_t *p = ring_peek(&c->in, &len);
    len = len < room ? len : room;
    len = len < sizeof piece ? len : sizeof piece;
    if (!len)
        return false;
    memcpy(piece, p, len);
    ring_drop(&c->in, len);
    sim_mutex_unlock(&c->lock);
    client.receive(client.opaque, piece, len);
    sim_mutex_lock(&c->lock);
    return true;
}

static void input_fired(void *opaque)
{
    struct chardev *c = opaque;

    sim_mutex_lock(&c->lock);
    c->delivering = true;
    while (deliver_piece(c))
        ;
    c->delivering = false;
    sim_cond_broadcast(&c->delivered);
    bool room = chardev_input_room(c) > 0;
    sim_mutex_unlock(&c->lock);
    if (room && c->ops->resume_input)
        c->ops->resume_input(c);
}

void chardev_attach(struct chardev *c, const struct chardev_client *client)
{
    sim_mutex_lock(&c->lock);
    c->client = client ? *client : (struct chardev_client){0};
    /* The old client may be in use on the I/O thread. */
    while (c->delivering)
        sim_cond_wait(&c->delivered, &c->lock);
    if (c->in.len && client)
        sim_io_timer_arm(c->input_timer, 0);
    sim_mutex_unlock(&c->lock);
}

void chardev_add_tap(struct chardev *c, const struct chardev_tap *tap)
{
    sim_mutex_lock(&c->lock);
    SIM_BUG_ON(c->nr_taps == CHARDEV_MAX_TAPS, "more than %d taps on '%s'", CHARDEV_MAX_TAPS,
               c->spec);
    c->tap[c->nr_taps++] = *tap;
    sim_mutex_unlock(&c->lock);
}

/* --- life --- */

static const struct chardev_ops *const kinds[] = {
    &chardev_stdio_ops, &chardev_null_ops, &chardev_mem_ops, &chardev_file_ops, &chardev_unix_ops,
};

static const struct chardev_ops *find_kind(const char *spec, const char **arg)
{
    size_t len = strcspn(spec, ":");

    for (size_t i = 0; i < SIM_ARRAY_LEN(kinds); i++) {
        if (strlen(kinds[i]->name) == len && memcmp(kinds[i]->name, spec, len) == 0) {
            *arg = spec[len] ? spec + len + 1 : "";
            return kinds[i];
        }
    }
    return NULL;
}

static void release(struct chardev *c)
{
    sim_io_timer_destroy(c->flush_timer);
    sim_io_timer_destroy(c->input_timer);
    sim_cond_fini(&c->delivered);
    sim_mutex_fini(&c->lock);
    sim_free(c->out.data);
    sim_free(c->in.data);
    sim_free(c->text);
    sim_free(c->path);
    sim_free(c->spec);
    sim_free(c);
}

enum sim_status chardev_create(struct sim *sim, const char *spec, struct chardev **out)
{
    const char *arg;
    const struct chardev_ops *ops = find_kind(spec, &arg);

    if (!ops) {
        sim_error("serial back end '%s' is unknown (stdio, null, file:PATH, unix:PATH)", spec);
        return SIM_ERR_INVALID;
    }
    struct chardev *c = sim_new(struct chardev);

    c->ops = ops;
    c->sim = sim;
    c->spec = sim_strdup(spec);
    c->fd = c->listen_fd = -1;
    c->out.max = CHARDEV_OUT_MAX;
    c->in.max = CHARDEV_IN_MAX;
    c->retry_ns = CHARDEV_FLUSH_NS;
    sim_mutex_init(&c->lock, SIM_RANK_BACKEND);
    sim_cond_init(&c->delivered);
    c->flush_timer = sim_io_timer_create(sim->io, flush_fired, c);
    c->input_timer = sim_io_timer_create(sim->io, input_fired, c);
    enum sim_status status = ops->open(c, arg);
    if (status != SIM_OK) {
        release(c);
        return status;
    }
    *out = c;
    return SIM_OK;
}

/* Gives a slow reader 100 ms for what is left. */
static void final_flush(struct chardev *c)
{
    uint64_t end = sim_host_ns() + 100000000;

    sim_mutex_lock(&c->lock);
    flush_stage(c);
    drain_out(c);
    while (c->out.len && sim_host_ns() < end) {
        sim_mutex_unlock(&c->lock);
        poll(NULL, 0, 1);
        sim_mutex_lock(&c->lock);
        drain_out(c);
    }
    if (c->dropped || c->out.len)
        sim_warn("serial output '%s': %llu bytes were dropped", c->spec,
                 (unsigned long long)(c->dropped + c->out.len));
    sim_mutex_unlock(&c->lock);
}

void chardev_destroy(struct chardev *c)
{
    if (!c)
        return;
    final_flush(c);
    if (c->ops->close)
        c->ops->close(c);
    release(c);
}

const char *chardev_mem_text(struct chardev *c, size_t *len)
{
    sim_mutex_lock(&c->lock);
    flush_stage(c);
    *len = c->text_len;
    const char *text = c->text ? c->text : "";
    sim_mutex_unlock(&c->lock);
    return text;
}
