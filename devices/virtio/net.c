/* virtio-net (virtio 1.2, 5.1): one queue pair and a control queue over a netdev.
 *
 *   transmit: notify -> pop -> frame behind the 12-byte header -> netdev_send
 *   receive:  net_receive (I/O thread) -> as many chains as the frame needs -> push, flush
 *
 * No offloads: checksums are the guest's. Frames are not filtered by address; the guest's stack does. */
#include <string.h>

#include "sim-core/alloc.h"
#include "virtio/virtio.h"

enum { NET_F_MAC = 5, NET_F_MRG_RXBUF = 15, NET_F_STATUS = 16, NET_F_CTRL_VQ = 17, NET_F_CTRL_RX = 18,
       NET_F_CTRL_MAC_ADDR = 23 };
enum { RX_QUEUE, TX_QUEUE, CONTROL_QUEUE };
enum { DATA_QUEUE_SIZE = 256, CONTROL_QUEUE_SIZE = 64, MAX_FRAME = 65550 };

struct net_header { /* 5.1.6 */
    uint8_t flags, gso_type;
    uint16_t hdr_len, gso_size, csum_start, csum_offset, num_buffers;
};
_Static_assert(sizeof(struct net_header) == 12, "layout of the specification");

struct net_config { /* 5.1.4 */
    uint8_t mac[6];
    uint16_t status;
};
enum { NET_LINK_UP = 1 };

/* 5.1.6.5: control commands */
enum { CTRL_RX = 0, CTRL_RX_LAST = 5, CTRL_MAC = 1, CTRL_MAC_TABLE_SET = 0, CTRL_MAC_ADDR_SET = 1 };
enum { CTRL_OK = 0, CTRL_ERR = 1 };

struct virtio_net {
    struct virtio_device v;
    struct netdev *n;
    struct net_config config;
    struct virtio_chain tx, rx_first, rx_more, control;
    uint8_t frame[MAX_FRAME]; /* a transmitted frame that lies in several pieces */
};

/* --- transmit --- */

static void transmit(struct virtio_net *net)
{
    struct virtio_chain *c = &net->tx;

    if (c->out_len <= sizeof(struct net_header) ||
        c->out_len > sizeof(struct net_header) + MAX_FRAME)
        return; /* no frame at all, or longer than there are */
    virtio_chain_cut_front(c, sizeof(struct net_header));
    if (c->nr_out == 1) {
        netdev_send(net->n, c->iov[0].iov_base, c->iov[0].iov_len);
        return;
    }
    virtio_chain_read(c, 0, net->frame, c->out_len);
    netdev_send(net->n, net->frame, c->out_len);
}

static void transmit_all(struct virtio_net *net, struct virtqueue *q)
{
    struct virtio_device *v = &net->v;
    unsigned left = q->size;

    virtq_want_notify(v, q, false);
    do {
        for (; left && virtq_pop(v, q, &net->tx); left--) {
            transmit(net);
            virtio_chain_release(v, &net->tx);
            virtq_push(v, q, net->tx.head, 0);
        }
    } while (virtq_want_notify(v, q, true) && left);
    virtq_flush(v, q);
    if (!left && !virtq_is_empty(q))
        virtio_continue(v, TX_QUEUE);
}

/* --- control --- */

static bool set_mac(struct virtio_net *net)
{
    uint8_t mac[6];

    if (virtio_chain_read(&net->control, 2, mac, sizeof mac) != sizeof mac)
        return false;
    memcpy(net->config.mac, mac, sizeof mac);
    return true;
}

static uint8_t control_command(struct virtio_net *net)
{
    uint8_t command[2];

    if (virtio_chain_read(&net->control, 0, command, sizeof command) != sizeof command)
        return CTRL_ERR;
    if (command[0] == CTRL_RX) /* receives everything anyway */
        return command[1] <= CTRL_RX_LAST ? CTRL_OK : CTRL_ERR;
    if (command[0] == CTRL_MAC && command[1] == CTRL_MAC_TABLE_SET)
        return CTRL_OK;
    if (command[0] == CTRL_MAC && command[1] == CTRL_MAC_ADDR_SET)
        return set_mac(net) ? CTRL_OK : CTRL_ERR;
    return CTRL_ERR;
}

static void control_all(struct virtio_net *net, struct virtqueue *q)
{
    struct virtio_device *v = &net->v;
    unsigned left = q->size;

    do {
        for (; left && virtq_pop(v, q, &net->control); left--) {
            uint8_t ack = control_command(net);
            size_t n = virtio_chain_write(v, &net->control, 0, &ack, 1);
            virtio_chain_release(v, &net->control);
            virtq_push(v, q, net->control.head, (uint32_t)n);
        }
    } while (virtq_want_notify(v, q, true) && left);
    virtq_flush(v, q);
    if (!left && !virtq_is_empty(q))
        virtio_continue(v, CONTROL_QUEUE);
}

/* --- receive --- */

/* Pops the next chain into c. When there is none asks for a notify, and looks once more. */
static bool pop_rx(struct virtio_net *net, struct virtqueue *q, struct virtio_chain *c)
{
    struct virtio_device *v = &net->v;

    return virtq_pop(v, q, c) || (virtq_want_notify(v, q, true) && virtq_pop(v, q, c));
}

enum rx_result { RX_DONE, RX_NO_BUFFER, RX_DROP };

/* Puts the frame into chains; only the first holds the header, whose num_buffers comes last. */
static enum rx_result receive_frame(struct virtio_net *net, struct virtqueue *q,
                                    const uint8_t *frame, size_t len)
{
    struct virtio_device *v = &net->v;
    struct net_header header = {.num_buffers = 0};
    struct virtio_chain *c = &net->rx_first;
    size_t done = 0, skip = sizeof header;

    while (done < len) {
        unsigned popped = header.num_buffers;
        bool may_merge = popped == 0 || virtio_has(v, NET_F_MRG_RXBUF);
        if (!may_merge || !pop_rx(net, q, c)) {
            virtq_unpush(q, popped); /* the driver has not seen it */
            virtq_unpop(q, popped);
            bool never_fits = !may_merge || popped == q->size;
            return never_fits || !virtio_is_live(v) ? RX_DROP : RX_NO_BUFFER;
        }
        if (popped == 0 && c->in_len < sizeof header) {
            virtio_fail(v, "a receive buffer of %llu bytes", (unsigned long long)c->in_len);
            return RX_DROP;
        }
        size_t n = virtio_chain_write(v, c, skip, frame + done, len - done);
        virtq_push(v, q, c->head, (uint32_t)(skip + n));
        done += n;
        skip = 0;
        header.num_buffers++;
        c = &net->rx_more;
    }
    virtio_chain_write(v, &net->rx_first, 0, &header, sizeof header);
    return RX_DONE;
}

/* false: no buffers now; the back end keeps the frame until netdev_accept_input. */
static bool net_receive(void *opaque, const uint8_t *frame, size_t len)
{
    struct virtio_net *net = opaque;
    struct virtio_device *v = &net->v;
    struct virtqueue *q = &v->queue[RX_QUEUE];
    enum rx_result result = RX_DROP; /* nobody listens: the frame is lost, as on a wire */

    virtio_lock(v);
    if (virtio_is_live(v) && q->enabled && len && len <= MAX_FRAME)
        result = receive_frame(net, q, frame, len);
    virtio_chain_release(v, &net->rx_first);
    virtio_chain_release(v, &net->rx_more);
    if (result == RX_DONE)
        virtq_flush(v, q);
    virtio_unlock(v);
    return result != RX_NO_BUFFER;
}

static void net_notify(struct virtio_device *v, unsigned n)
{
    struct virtio_net *net = (struct virtio_net *)v;

    if (n == TX_QUEUE) {
        transmit_all(net, &v->queue[n]);
    } else if (n == CONTROL_QUEUE) {
        control_all(net, &v->queue[n]);
    } else {
        virtq_want_notify(v, &v->queue[n], false); /* until it runs dry again */
        netdev_accept_input(net->n);
    }
}

/* --- life --- */

static void net_reset(struct virtio_device *v)
{
    struct virtio_net *net = (struct virtio_net *)v;

    memcpy(net->config.mac, netdev_mac(net->n), sizeof net->config.mac);
}

static void net_destroy(struct virtio_device *v)
{
    struct virtio_net *net = (struct virtio_net *)v;

    netdev_attach(net->n, NULL);
    virtio_chain_fini(&net->tx);
    virtio_chain_fini(&net->rx_first);
    virtio_chain_fini(&net->rx_more);
    virtio_chain_fini(&net->control);
    virtio_fini(v);
    sim_free(net);
}

static const struct state_field net_fields[] = {
    STATE_SUB(struct virtio_net, v, &virtio_core_state),
    STATE_ARRAY(struct virtio_net, STATE_U8, config.mac),
    STATE_END};
STATE_LAYOUT(net, struct virtio_net,
              STATE_DERIVED(struct virtio_net, n) STATE_DERIVED(struct virtio_net, config.status)
              STATE_DERIVED(struct virtio_net, tx) STATE_DERIVED(struct virtio_net, rx_first)
              STATE_DERIVED(struct virtio_net, rx_more) STATE_DERIVED(struct virtio_net, control)
              STATE_DERIVED(struct virtio_net, frame)
              STATE_PADDING(struct virtio_net, frame));
static const struct state_desc net_state = {
    .name = "virtio-net", .version = 1, .fields = net_fields,
    STATE_LAYOUT_OF(net, struct virtio_net)};

static const struct virtio_ops net_ops = {.name = "virtio-net",
                                          .id = VIRTIO_ID_NET,
                                          .pci_class = 0x020000,
                                          .notify = net_notify,
                                          .reset = net_reset,
                                          .destroy = net_destroy,
                                          .state = &net_state};

enum sim_status virtio_net_create(struct sim *sim, struct netdev *n, struct virtio_device **out)
{
    struct virtio_net *net = sim_new(struct virtio_net);
    struct virtio_device *v = &net->v;

    net->n = n;
    virtio_init(v, sim, &net_ops);
    virtio_add_queue(v, DATA_QUEUE_SIZE);
    virtio_add_queue(v, DATA_QUEUE_SIZE);
    virtio_add_queue(v, CONTROL_QUEUE_SIZE);
    v->offered |= VIRTIO_FEATURE(NET_F_MAC) | VIRTIO_FEATURE(NET_F_MRG_RXBUF) |
                  VIRTIO_FEATURE(NET_F_STATUS) | VIRTIO_FEATURE(NET_F_CTRL_VQ) |
                  VIRTIO_FEATURE(NET_F_CTRL_RX) | VIRTIO_FEATURE(NET_F_CTRL_MAC_ADDR);
    net_reset(v);
    net->config.status = NET_LINK_UP;
    v->config = (uint8_t *)&net->config;
    v->config_size = sizeof net->config;
    netdev_attach(n, &(struct netdev_client){net_receive, net});
    *out = v;
    return SIM_OK;
}
