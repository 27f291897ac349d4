/* virtio-blk (virtio 1.2, 5.2): one request queue over a blockdev.
 *
 *   notify -> pop -> blk_parse (header, data iovecs, status byte) -> blockdev_submit
 *     done on the same thread: collected, one flush per notify
 *     done on a worker: takes the device lock, push, flush */
#include <stdatomic.h>
#include <string.h>

#include "sim-core/alloc.h"
#include "sim-core/log.h"
#include "virtio/virtio.h"

enum { BLK_F_SIZE_MAX = 1, BLK_F_SEG_MAX = 2, BLK_F_RO = 5, BLK_F_BLK_SIZE = 6, BLK_F_FLUSH = 9,
       BLK_F_DISCARD = 13, BLK_F_WRITE_ZEROES = 14 };
enum { BLK_T_IN = 0, BLK_T_OUT = 1, BLK_T_FLUSH = 4, BLK_T_GET_ID = 8, BLK_T_DISCARD = 11,
       BLK_T_WRITE_ZEROES = 13 };
enum { BLK_S_OK = 0, BLK_S_IOERR = 1, BLK_S_UNSUPP = 2 };

enum { SECTOR_BITS = 9, BLK_QUEUE_SIZE = 256, BLK_ID_BYTES = 20 };
enum { BLK_MAX_SEGMENT = 4 << 20, BLK_MAX_TRIM_SECTORS = 0x3fffff };

struct blk_config { /* 5.2.4 */
    uint64_t capacity;
    uint32_t size_max, seg_max;
    uint16_t cylinders;
    uint8_t heads, sectors;
    uint32_t blk_size;
    uint8_t physical_block_exp, alignment_offset;
    uint16_t min_io_size;
    uint32_t opt_io_size;
    uint8_t writeback, unused0;
    uint16_t num_queues;
    uint32_t max_discard_sectors, max_discard_seg, discard_sector_alignment;
    uint32_t max_write_zeroes_sectors, max_write_zeroes_seg;
    uint8_t write_zeroes_may_unmap, unused1[3];
};
_Static_assert(sizeof(struct blk_config) == 64, "layout of the specification");

struct blk_header {
    uint32_t type, reserved;
    uint64_t sector;
};

struct blk_trim { /* 5.2.6: discard and write zeroes */
    uint64_t sector;
    uint32_t num_sectors, flags;
};

/* Who finishes a request: the submitter and the completion each swap in their mark, the second of
 * the two finds the other's. */
enum { BLK_SUBMITTING, BLK_SUBMITTED, BLK_COMPLETED };

struct blk_request {
    struct blockdev_request io;
    struct virtio_chain chain;
    struct virtio_blk *blk;
    atomic_int phase;
    bool ok;
    uint8_t *status; /* in guest memory */
    gpa_t status_gpa;
    uint32_t written; /* on success, without the status byte */
    struct blk_request *next;
};

/* Owner: the device lock. Requests are allocated as the queue fills and kept. */
struct virtio_blk {
    struct virtio_device v;
    struct blockdev *b;
    struct blk_config config;
    struct blk_request *free;
};

static struct blk_request *request_get(struct virtio_blk *blk)
{
    struct blk_request *r = blk->free;

    if (r) {
        blk->free = r->next;
    } else {
        r = sim_new(struct blk_request);
        r->blk = blk;
    }
    atomic_store_explicit(&r->phase, BLK_SUBMITTING, memory_order_relaxed);
    r->written = 0;
    return r;
}

static void request_put(struct virtio_blk *blk, struct blk_request *r)
{
    r->next = blk->free;
    blk->free = r;
}

/* Puts the request into the used ring; the caller flushes. */
static void finish(struct blk_request *r, uint8_t status)
{
    struct virtio_device *v = &r->blk->v;

    mem_dma_before_write(v->space, r->status_gpa, 1);
    __atomic_store_n(r->status, status, __ATOMIC_RELAXED);
    mem_dma_written(v->space, r->status_gpa, 1);
    uint32_t written = status == BLK_S_OK ? r->written : 0;
    if (written)
        virtio_chain_written(v, &r->chain, written);
    virtio_chain_release(v, &r->chain);
    virtq_push(v, &v->queue[0], r->chain.head, written + 1);
    request_put(r->blk, r);
}

static void blk_done(struct blockdev_request *io, bool ok)
{
    struct blk_request *r = SIM_CONTAINER_OF(io, struct blk_request, io);
    struct virtio_blk *blk = r->blk;

    r->ok = ok;
    /* B1: publishes ok; pairs with B2 */
    if (atomic_exchange_explicit(&r->phase, BLK_COMPLETED, memory_order_acq_rel) == BLK_SUBMITTING)
        return; /* the submitter finishes it */
    virtio_lock(&blk->v);
    finish(r, ok ? BLK_S_OK : BLK_S_IOERR);
    virtq_flush(&blk->v, &blk->v.queue[0]);
    virtio_unlock(&blk->v);
}

static void submit(struct virtio_blk *blk, struct blk_request *r)
{
    r->io.done = blk_done;
    blockdev_submit(blk->b, &r->io);
    /* B2: pairs with B1 */
    if (atomic_exchange_explicit(&r->phase, BLK_SUBMITTED, memory_order_acq_rel) == BLK_COMPLETED)
        finish(r, r->ok ? BLK_S_OK : BLK_S_IOERR);
}

/* --- requests --- */

static void submit_transfer(struct virtio_blk *blk, struct blk_request *r, enum blockdev_op op,
                            uint64_t sector)
{
    struct virtio_chain *c = &r->chain;
    bool read = op == BLOCKDEV_READ;
    uint64_t len = read ? c->in_len : c->out_len;
    uint64_t capacity = blk->config.capacity;

    if (len & ((1u << SECTOR_BITS) - 1) || sector > capacity ||
        len >> SECTOR_BITS > capacity - sector) {
        finish(r, BLK_S_IOERR);
        return;
    }
    if (read)
        virtio_chain_before_write(&blk->v, c);
    r->written = read ? (uint32_t)len : 0;
    r->io.op = op;
    r->io.offset = sector << SECTOR_BITS;
    r->io.len = len;
    r->io.iov = read ? c->iov + c->nr_out : c->iov;
    r->io.nr_iov = read ? c->nr_in : c->nr_out;
    submit(blk, r);
}

static void submit_flush(struct virtio_blk *blk, struct blk_request *r)
{
    r->io = (struct blockdev_request){.op = BLOCKDEV_FLUSH};
    submit(blk, r);
}

static void submit_trim(struct virtio_blk *blk, struct blk_request *r, enum blockdev_op op)
{
    struct blk_trim trim;
    uint64_t capacity = blk->config.capacity;
    uint32_t known_flags = op == BLOCKDEV_ZERO ? 1 : 0; /* unmap */

    if (r->chain.out_len != sizeof trim ||
        virtio_chain_read(&r->chain, 0, &trim, sizeof trim) != sizeof trim ||
        trim.flags & ~known_flags) {
        finish(r, BLK_S_UNSUPP); /* 5.2.6.2 */
        return;
    }
    if (trim.sector > capacity || trim.num_sectors > capacity - trim.sector ||
        !trim.num_sectors || trim.num_sectors > BLK_MAX_TRIM_SECTORS ||
        blockdev_readonly(blk->b)) {
        finish(r, BLK_S_IOERR);
        return;
    }
    r->io = (struct blockdev_request){.op = op,
                                      .offset = trim.sector << SECTOR_BITS,
                                      .len = (uint64_t)trim.num_sectors << SECTOR_BITS};
    submit(blk, r);
}

static void give_id(struct virtio_blk *blk, struct blk_request *r)
{
    char id[BLK_ID_BYTES] = {0};
    const char *serial = blockdev_serial(blk->b);
    size_t len = serial ? strlen(serial) : 0;

    if (len)
        memcpy(id, serial, len < sizeof id ? len : sizeof id);
    r->written = (uint32_t)virtio_chain_write(&blk->v, &r->chain, 0, id, sizeof id);
    finish(r, BLK_S_OK);
}

static void start(struct virtio_blk *blk, struct blk_request *r, const struct blk_header *header)
{
    switch (header->type) {
    case BLK_T_IN:
        submit_transfer(blk, r, BLOCKDEV_READ, header->sector);
        return;
    case BLK_T_OUT:
        submit_transfer(blk, r, BLOCKDEV_WRITE, header->sector);
        return;
    case BLK_T_FLUSH:
        submit_flush(blk, r);
        return;
    case BLK_T_DISCARD:
        submit_trim(blk, r, BLOCKDEV_DISCARD);
        return;
    case BLK_T_WRITE_ZEROES:
        submit_trim(blk, r, BLOCKDEV_ZERO);
        return;
    case BLK_T_GET_ID:
        give_id(blk, r);
        return;
    default:
        finish(r, BLK_S_UNSUPP);
        return;
    }
}

/* Takes header and status off the two ends of the chain, whatever the descriptors' layout (2.7.4). */
static bool parse(struct virtio_blk *blk, struct blk_request *r, struct blk_header *header)
{
    struct virtio_chain *c = &r->chain;

    if (c->out_len < sizeof *header || !c->in_len) {
        virtio_fail(&blk->v, "a request of %llu readable and %llu writable bytes",
                    (unsigned long long)c->out_len, (unsigned long long)c->in_len);
        return false;
    }
    virtio_chain_read(c, 0, header, sizeof *header);
    virtio_chain_cut_front(c, sizeof *header);
    unsigned last = c->nr_out + c->nr_in - 1;
    r->status = (uint8_t *)c->iov[last].iov_base + c->iov[last].iov_len - 1;
    r->status_gpa = c->gpa[last] + c->iov[last].iov_len - 1;
    virtio_chain_cut_back(c, 1);
    return true;
}

/* One request; false: no more. */
static bool serve_next(struct virtio_blk *blk, struct virtqueue *q)
{
    struct blk_request *r = request_get(blk);
    struct blk_header header;

    if (!virtq_pop(&blk->v, q, &r->chain) || !parse(blk, r, &header)) {
        virtio_chain_release(&blk->v, &r->chain);
        request_put(blk, r);
        return false;
    }
    start(blk, r, &header);
    return true;
}

static void blk_notify(struct virtio_device *v, unsigned n)
{
    struct virtio_blk *blk = (struct virtio_blk *)v;
    struct virtqueue *q = &v->queue[n];
    unsigned left = q->size;

    virtq_want_notify(v, q, false);
    do {
        while (left && serve_next(blk, q))
            left--;
    } while (virtq_want_notify(v, q, true) && left);
    virtq_flush(v, q);
    if (!left && !virtq_is_empty(q))
        virtio_continue(v, n);
}

/* --- life --- */

static void blk_quiesce(struct virtio_device *v, bool cancel)
{
    struct virtio_blk *blk = (struct virtio_blk *)v;

    if (cancel)
        blockdev_cancel(blk->b);
    else
        blockdev_drain(blk->b);
}

static void blk_destroy(struct virtio_device *v)
{
    struct virtio_blk *blk = (struct virtio_blk *)v;

    while (blk->free) {
        struct blk_request *r = blk->free;
        blk->free = r->next;
        virtio_chain_fini(&r->chain);
        sim_free(r);
    }
    virtio_fini(v);
    sim_free(blk);
}

static const struct state_field blk_fields[] = {
    STATE_SUB(struct virtio_blk, v, &virtio_core_state), STATE_END};
STATE_LAYOUT(blk, struct virtio_blk,
              STATE_DERIVED(struct virtio_blk, b) STATE_DERIVED(struct virtio_blk, config)
              STATE_DERIVED(struct virtio_blk, free));
static const struct state_desc blk_state = {
    .name = "virtio-blk", .version = 1, .fields = blk_fields,
    STATE_LAYOUT_OF(blk, struct virtio_blk)};

static const struct virtio_ops blk_ops = {.name = "virtio-blk",
                                          .id = VIRTIO_ID_BLOCK,
                                          .pci_class = 0x010000,
                                          .notify = blk_notify,
                                          .quiesce = blk_quiesce,
                                          .destroy = blk_destroy,
                                          .state = &blk_state};

static void fill_config(struct virtio_blk *blk)
{
    blk->config = (struct blk_config){
        .capacity = blockdev_size(blk->b) >> SECTOR_BITS,
        .size_max = BLK_MAX_SEGMENT,
        .seg_max = BLK_QUEUE_SIZE - 2, /* a chain without indirect table has header and status too */
        .blk_size = 1u << SECTOR_BITS,
        .num_queues = 1,
        .max_discard_sectors = BLK_MAX_TRIM_SECTORS,
        .max_discard_seg = 1,
        .discard_sector_alignment = 1,
        .max_write_zeroes_sectors = BLK_MAX_TRIM_SECTORS,
        .max_write_zeroes_seg = 1,
        .write_zeroes_may_unmap = 1,
    };
}

enum sim_status virtio_blk_create(struct sim *sim, struct blockdev *b, struct virtio_device **out)
{
    struct virtio_blk *blk = sim_new(struct virtio_blk);
    struct virtio_device *v = &blk->v;

    blk->b = b;
    virtio_init(v, sim, &blk_ops);
    virtio_add_queue(v, BLK_QUEUE_SIZE);
    v->offered |= VIRTIO_FEATURE(BLK_F_SIZE_MAX) | VIRTIO_FEATURE(BLK_F_SEG_MAX) |
                  VIRTIO_FEATURE(BLK_F_BLK_SIZE) | VIRTIO_FEATURE(BLK_F_FLUSH);
    v->offered |= blockdev_readonly(b)
                      ? VIRTIO_FEATURE(BLK_F_RO)
                      : VIRTIO_FEATURE(BLK_F_DISCARD) | VIRTIO_FEATURE(BLK_F_WRITE_ZEROES);
    fill_config(blk);
    v->config = (uint8_t *)&blk->config;
    v->config_size = sizeof blk->config;
    *out = v;
    return SIM_OK;
}
