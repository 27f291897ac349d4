/* virtio-console (virtio 1.2, 5.3): one port over a chardev.
 *
 * Input waits in a small buffer here until the guest gives receive buffers; the rest waits in the
 * chardev. */
#include <string.h>

#include "sim-core/alloc.h"
#include "virtio/virtio.h"

enum { RX_QUEUE, TX_QUEUE, CONSOLE_QUEUE_SIZE = 128, INPUT_BYTES = 4096 };
enum { OUTPUT_BYTES = 1 << 20 }; /* per notify; the rest follows from a timer */

struct virtio_console {
    struct virtio_device v;
    struct chardev *c;
    struct virtio_chain chain;
    uint32_t input_len;
    uint8_t input[INPUT_BYTES];
};

/* --- input --- */

/* Moves input into receive buffers; lock held. */
static void pump(struct virtio_console *con)
{
    struct virtio_device *v = &con->v;
    struct virtqueue *q = &v->queue[RX_QUEUE];

    while (con->input_len && virtq_pop(v, q, &con->chain)) {
        size_t n = virtio_chain_write(v, &con->chain, 0, con->input, con->input_len);
        memmove(con->input, con->input + n, con->input_len - n);
        con->input_len -= (uint32_t)n;
        virtio_chain_release(v, &con->chain);
        virtq_push(v, q, con->chain.head, (uint32_t)n);
    }
    virtq_flush(v, q);
}

/* As pump, and asks for a notify when buffers have run out. */
static void pump_all(struct virtio_console *con)
{
    struct virtqueue *q = &con->v.queue[RX_QUEUE];
    unsigned left = q->size;

    do {
        pump(con);
    } while (virtq_want_notify(&con->v, q, true) && con->input_len && left--);
}

static size_t console_can_receive(void *opaque)
{
    struct virtio_console *con = opaque;

    virtio_lock(&con->v);
    size_t room = virtio_is_live(&con->v) ? sizeof con->input - con->input_len : 0;
    virtio_unlock(&con->v);
    return room;
}

static void console_receive(void *opaque, const uint8_t *data, size_t len)
{
    struct virtio_console *con = opaque;

    virtio_lock(&con->v);
    size_t room = sizeof con->input - con->input_len;
    if (len > room)
        len = room; /* reset since can_receive */
    memcpy(con->input + con->input_len, data, len);
    con->input_len += (uint32_t)len;
    pump_all(con);
    virtio_unlock(&con->v);
}

/* --- output --- */

/* Of a chain longer than anybody prints, the beginning. */
static uint64_t write_chain(struct virtio_console *con)
{
    const struct virtio_chain *c = &con->chain;
    uint64_t left = OUTPUT_BYTES;

    for (unsigned i = 0; i < c->nr_out && left; i++) {
        size_t len = c->iov[i].iov_len < left ? c->iov[i].iov_len : left;
        chardev_write(con->c, c->iov[i].iov_base, len);
        left -= len;
    }
    return OUTPUT_BYTES - left;
}

static void output(struct virtio_console *con, struct virtqueue *q)
{
    struct virtio_device *v = &con->v;
    unsigned left = q->size;
    uint64_t bytes = 0;

    do {
        for (; left && bytes < OUTPUT_BYTES && virtq_pop(v, q, &con->chain); left--) {
            bytes += write_chain(con);
            virtio_chain_release(v, &con->chain);
            virtq_push(v, q, con->chain.head, 0);
        }
    } while (virtq_want_notify(v, q, true) && left && bytes < OUTPUT_BYTES);
    virtq_flush(v, q);
    if (!virtq_is_empty(q))
        virtio_continue(v, TX_QUEUE);
}

static void console_notify(struct virtio_device *v, unsigned n)
{
    struct virtio_console *con = (struct virtio_console *)v;

    if (n == TX_QUEUE) {
        output(con, &v->queue[n]);
        return;
    }
    pump_all(con);
    chardev_accept_input(con->c);
}

/* --- life --- */

static void console_reset(struct virtio_device *v)
{
    ((struct virtio_console *)v)->input_len = 0;
}

static void console_destroy(struct virtio_device *v)
{
    struct virtio_console *con = (struct virtio_console *)v;

    chardev_attach(con->c, NULL);
    virtio_chain_fini(&con->chain);
    virtio_fini(v);
    sim_free(con);
}

static enum sim_status console_post_load(void *object)
{
    struct virtio_console *con = object;

    return con->input_len <= sizeof con->input ? SIM_OK : SIM_ERR_FORMAT;
}

static const struct state_field console_fields[] = {
    STATE_SUB(struct virtio_console, v, &virtio_core_state),
    STATE_SCALAR(struct virtio_console, STATE_U32, input_len),
    STATE_ARRAY(struct virtio_console, STATE_U8, input),
    STATE_END};
STATE_LAYOUT(console, struct virtio_console,
              STATE_DERIVED(struct virtio_console, c) STATE_DERIVED(struct virtio_console, chain)
              STATE_PADDING(struct virtio_console, input));
static const struct state_desc console_state = {.name = "virtio-console",
                                                .version = 1,
                                                .fields = console_fields,
    STATE_LAYOUT_OF(console, struct virtio_console),
                                                .post_load = console_post_load};

static const struct virtio_ops console_ops = {.name = "virtio-console",
                                              .id = VIRTIO_ID_CONSOLE,
                                              .pci_class = 0x078000,
                                              .notify = console_notify,
                                              .reset = console_reset,
                                              .destroy = console_destroy,
                                              .state = &console_state};

enum sim_status virtio_console_create(struct sim *sim, struct chardev *c,
                                      struct virtio_device **out)
{
    struct virtio_console *con = sim_new(struct virtio_console);

    con->c = c;
    virtio_init(&con->v, sim, &console_ops);
    virtio_add_queue(&con->v, CONSOLE_QUEUE_SIZE);
    virtio_add_queue(&con->v, CONSOLE_QUEUE_SIZE);
    chardev_attach(c, &(struct chardev_client){console_can_receive, console_receive, con});
    *out = &con->v;
    return SIM_OK;
}
