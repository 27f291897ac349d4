/* Split virtqueues (virtio 1.2, 2.7): descriptor chains become iovecs into the service mapping.
 *
 * Everything in the rings is the guest's and may change while we look: each word is read once, and
 * every address is resolved against RAM before use. */
#include <string.h>

#include "sim-core/alloc.h"
#include "sim-core/log.h"
#include "virtio/virtio.h"

enum { DESC_NEXT = 1, DESC_WRITE = 2, DESC_INDIRECT = 4 };
enum { AVAIL_NO_INTERRUPT = 1, USED_NO_NOTIFY = 1 };

struct virtq_desc {
    uint64_t addr;
    uint32_t len;
    uint16_t flags;
    uint16_t next;
};

struct virtq_avail {
    uint16_t flags;
    _Atomic uint16_t idx;
    uint16_t ring[]; /* [size], then used_event */
};

struct virtq_used {
    uint16_t flags;
    _Atomic uint16_t idx;
    struct {
        uint32_t id, len;
    } ring[]; /* [size], then avail_event (u16) */
};

/* --- rings --- */

static uint64_t used_bytes(const struct virtqueue *q)
{
    return 6 + 8ull * q->size;
}

static void note_pin(struct virtio_device *v, struct virtio_pins *pins, gpa_t gpa, uint64_t len)
{
    if (!mem_is_distributed(v->space))
        return;
    if (pins->nr == pins->cap) {
        pins->cap = pins->cap ? pins->cap * 2 : 16;
        pins->pin = sim_realloc(pins->pin, pins->cap * sizeof pins->pin[0]);
    }
    pins->pin[pins->nr++] = (struct virtio_pin){gpa, len};
}

static void drop_pins(struct virtio_device *v, struct virtio_pins *pins)
{
    while (pins->nr) {
        pins->nr--;
        mem_dma_unmap(v->space, pins->pin[pins->nr].gpa, pins->pin[pins->nr].len);
    }
}

static void *map_whole(struct virtio_device *v, gpa_t gpa, uint64_t len, unsigned align, bool write)
{
    uint64_t there = len;
    void *p = gpa & (align - 1) ? NULL : mem_dma_map(v->space, gpa, &there, write);

    if (!p)
        return NULL;
    note_pin(v, &v->pins, gpa, there);
    return there == len ? p : NULL;
}

static bool map_rings(struct virtio_device *v, struct virtqueue *q)
{
    q->desc = map_whole(v, q->desc_gpa, 16ull * q->size, 16, false);
    q->avail = map_whole(v, q->avail_gpa, 6 + 2ull * q->size, 2, false);
    q->used = map_whole(v, q->used_gpa, used_bytes(q), 4, true);
    q->pinned = true;
    return q->desc && q->avail && q->used;
}

/* On several ranks the rings may have left since the lock was last held. False: the run ends. */
static bool rings_here(struct virtio_device *v, struct virtqueue *q)
{
    return q->pinned || !mem_is_distributed(v->space) || map_rings(v, q);
}

void virtq_unpin_rings(struct virtio_device *v)
{
    if (SIM_LIKELY(!v->pins.nr))
        return;
    drop_pins(v, &v->pins);
    for (unsigned n = 0; n < v->nr_queues; n++)
        v->queue[n].pinned = false;
}

static bool size_is_valid(const struct virtqueue *q)
{
    return q->size && q->size <= q->max_size && !(q->size & (q->size - 1));
}

void virtq_enable(struct virtio_device *v, struct virtqueue *q)
{
    if (q->enabled)
        return;
    if (!size_is_valid(q)) {
        virtio_fail(v, "queue size %u", q->size);
        return;
    }
    if (!map_rings(v, q)) {
        virtio_fail(v, "a ring at 0x%llx, 0x%llx, 0x%llx is misaligned or not in memory",
                    (unsigned long long)q->desc_gpa, (unsigned long long)q->avail_gpa,
                    (unsigned long long)q->used_gpa);
        return;
    }
    q->enabled = 1;
    q->next_avail = q->used_idx = q->published = q->inflight = 0;
}

enum sim_status virtq_restore(struct virtio_device *v, struct virtqueue *q)
{
    q->inflight = 0;
    if (!q->enabled || (size_is_valid(q) && map_rings(v, q)))
        return SIM_OK;
    return SIM_ERR_FORMAT;
}

void virtq_reset(struct virtqueue *q)
{
    *q = (struct virtqueue){
        .size = q->max_size, .max_size = q->max_size, .vector = VIRTIO_NO_VECTOR};
}

static void before_rings_write(struct virtio_device *v, const struct virtqueue *q)
{
    mem_dma_before_write(v->space, q->used_gpa, used_bytes(q));
}

static void rings_written(struct virtio_device *v, const struct virtqueue *q)
{
    mem_dma_written(v->space, q->used_gpa, used_bytes(q));
}

static uint16_t load_avail(const struct virtqueue *q)
{
    /* Q1: the driver's entries precede its index. */
    return atomic_load_explicit(&q->avail->idx, memory_order_acquire);
}

static uint16_t load_u16(const void *p)
{
    return __atomic_load_n((const uint16_t *)p, __ATOMIC_RELAXED);
}

static void store_u16(void *p, uint16_t value)
{
    __atomic_store_n((uint16_t *)p, value, __ATOMIC_RELAXED);
}

/* --- chains --- */

void virtio_chain_release(struct virtio_device *v, struct virtio_chain *c)
{
    drop_pins(v, &c->pins);
}

void virtio_chain_fini(struct virtio_chain *c)
{
    sim_free(c->pins.pin);
    sim_free(c->iov);
    sim_free(c->gpa);
    *c = (struct virtio_chain){0};
}

static void chain_grow(struct virtio_chain *c)
{
    c->cap = c->cap ? c->cap * 2 : 16;
    c->iov = sim_realloc(c->iov, c->cap * sizeof c->iov[0]);
    c->gpa = sim_realloc(c->gpa, c->cap * sizeof c->gpa[0]);
}

/* One descriptor's memory; several pieces when it crosses from one RAM region into the next. */
static bool chain_add(struct virtio_device *v, struct virtio_chain *c, const struct virtq_desc *d)
{
    gpa_t gpa = d->addr;
    uint64_t left = d->len;
    bool in = d->flags & DESC_WRITE;

    if (!left) {
        virtio_fail(v, "a descriptor of length zero");
        return false;
    }
    if (!in && c->nr_in) {
        virtio_fail(v, "a readable descriptor follows a writable one");
        return false;
    }
    *(in ? &c->in_len : &c->out_len) += left;
    while (left) {
        uint64_t piece = left;
        void *p = mem_dma_map(v->space, gpa, &piece, in);
        unsigned n = c->nr_out + c->nr_in;
        if (!p) {
            virtio_fail(v, "a buffer at 0x%llx is not in memory", (unsigned long long)gpa);
            return false;
        }
        note_pin(v, &c->pins, gpa, piece);
        if (n == VIRTIO_MAX_SEGS) {
            virtio_fail(v, "a descriptor chain of more than %u pieces", n);
            return false;
        }
        if (n == c->cap)
            chain_grow(c);
        c->iov[n] = (struct iovec){p, piece};
        c->gpa[n] = gpa;
        *(in ? &c->nr_in : &c->nr_out) += 1;
        gpa += piece;
        left -= piece;
    }
    return true;
}

struct desc_table {
    const uint8_t *base;
    uint32_t n;
    bool indirect;
};

static bool enter_indirect(struct virtio_device *v, const struct virtq_desc *d,
                           struct desc_table *table)
{
    if (!virtio_has(v, VIRTIO_F_INDIRECT_DESC) || table->indirect || d->flags & DESC_NEXT ||
        !d->len || d->len % sizeof *d) {
        virtio_fail(v, "an invalid indirect descriptor (flags 0x%x, length %u)", d->flags, d->len);
        return false;
    }
    table->base = map_whole(v, d->addr, d->len, 1, false);
    table->n = d->len / (uint32_t)sizeof *d;
    table->indirect = true;
    if (!table->base)
        virtio_fail(v, "an indirect table at 0x%llx is not in memory", (unsigned long long)d->addr);
    return table->base;
}

static struct virtq_desc load_desc(const struct desc_table *table, uint32_t i)
{
    struct virtq_desc d;

    mem_copy(&d, table->base + (size_t)i * sizeof d, sizeof d);
    /* The guest may rewrite it meanwhile: what was checked is what is used. */
    atomic_signal_fence(memory_order_seq_cst);
    return d;
}

static bool chain_walk(struct virtio_device *v, struct virtqueue *q, uint32_t i,
                       struct virtio_chain *c)
{
    struct desc_table table = {(const uint8_t *)q->desc, q->size, false};
    uint32_t steps = 0;

    for (;;) {
        if (i >= table.n || steps++ >= table.n) {
            virtio_fail(v, "a descriptor chain loops or leaves its table (entry %u of %u)", i,
                        table.n);
            return false;
        }
        struct virtq_desc d = load_desc(&table, i);
        if (d.flags & DESC_INDIRECT) {
            if (!enter_indirect(v, &d, &table))
                return false;
            i = steps = 0;
            continue;
        }
        if (!chain_add(v, c, &d))
            return false;
        if (!(d.flags & DESC_NEXT))
            break;
        i = d.next;
    }
    if (c->out_len + c->in_len > UINT32_MAX) { /* 2.7.5: at most 2^32 bytes */
        virtio_fail(v, "a descriptor chain of %llu bytes",
                    (unsigned long long)(c->out_len + c->in_len));
        return false;
    }
    return true;
}

bool virtq_pop(struct virtio_device *v, struct virtqueue *q, struct virtio_chain *c)
{
    virtio_chain_release(v, c);
    if (!q->enabled || !virtio_is_live(v) || !rings_here(v, q))
        return false;
    uint16_t pending = (uint16_t)(load_avail(q) - q->next_avail);

    if (!pending)
        return false;
    if (pending > q->size || q->inflight >= q->size) {
        virtio_fail(v, "%u chains offered and %u in flight in a queue of %u", pending, q->inflight,
                    q->size);
        return false;
    }
    uint16_t head = load_u16(&q->avail->ring[q->next_avail & (q->size - 1)]);

    c->nr_out = c->nr_in = 0;
    c->out_len = c->in_len = 0;
    c->head = head;
    if (!chain_walk(v, q, head, c)) {
        virtio_chain_release(v, c);
        return false;
    }
    q->next_avail++;
    q->inflight++;
    return true;
}

void virtq_unpop(struct virtqueue *q, unsigned n)
{
    q->next_avail = (uint16_t)(q->next_avail - n);
    q->inflight = (uint16_t)(q->inflight - n);
}

bool virtq_is_empty(const struct virtqueue *q)
{
    return !q->enabled || load_avail(q) == q->next_avail;
}

void virtq_push(struct virtio_device *v, struct virtqueue *q, uint16_t head, uint32_t written)
{
    SIM_BUG_ON(!q->inflight, "%s: a chain is pushed that was not popped", v->label);
    q->inflight--;
    if (!rings_here(v, q))
        return;
    before_rings_write(v, q);
    unsigned slot = q->used_idx++ & (q->size - 1u);
    __atomic_store_n(&q->used->ring[slot].id, head, __ATOMIC_RELAXED);
    __atomic_store_n(&q->used->ring[slot].len, written, __ATOMIC_RELAXED);
}

void virtq_unpush(struct virtqueue *q, unsigned n)
{
    q->used_idx = (uint16_t)(q->used_idx - n);
    q->inflight = (uint16_t)(q->inflight + n);
}

static bool wants_interrupt(const struct virtio_device *v, const struct virtqueue *q, uint16_t old)
{
    if (!virtio_has(v, VIRTIO_F_EVENT_IDX))
        return !(load_u16(&q->avail->flags) & AVAIL_NO_INTERRUPT);
    uint16_t event = load_u16(&q->avail->ring[q->size]);
    /* 2.7.7.2: the index moved past used_event */
    return (uint16_t)(q->published - event - 1) < (uint16_t)(q->published - old);
}

void virtq_flush(struct virtio_device *v, struct virtqueue *q)
{
    uint16_t old = q->published;

    if (old == q->used_idx || !rings_here(v, q))
        return;
    q->published = q->used_idx;
    before_rings_write(v, q);
    atomic_store_explicit(&q->used->idx, q->published, memory_order_release);
    rings_written(v, q);
    /* Index before event: the driver does it the other way round (2.7.7). */
    sim_fence();
    if (wants_interrupt(v, q, old))
        v->transport->interrupt(v->transport_opaque, q);
}

bool virtq_want_notify(struct virtio_device *v, struct virtqueue *q, bool want)
{
    if (!q->enabled || !virtio_is_live(v) || !rings_here(v, q))
        return false;
    before_rings_write(v, q);
    if (virtio_has(v, VIRTIO_F_EVENT_IDX)) {
        /* avail_event only speaks up: left behind, it says that no notify is needed. */
        if (!want)
            return false;
        store_u16(&q->used->ring[q->size], q->next_avail);
    } else {
        store_u16(&q->used->flags, want ? 0 : USED_NO_NOTIFY);
    }
    rings_written(v, q);
    sim_fence();
    return want && !virtq_is_empty(q);
}

/* --- bytes of a chain --- */

/* Calls fn for the pieces that cover [skip, skip + len) of iov[0..n); returns the bytes covered. */
static size_t each_piece(const struct iovec *iov, unsigned n, uint64_t skip, size_t len,
                         void (*fn)(void *opaque, unsigned i, uint64_t at, size_t piece),
                         void *opaque)
{
    size_t done = 0;

    for (unsigned i = 0; i < n && done < len; i++) {
        if (skip >= iov[i].iov_len) {
            skip -= iov[i].iov_len;
            continue;
        }
        size_t piece = iov[i].iov_len - skip;
        if (piece > len - done)
            piece = len - done;
        fn(opaque, i, skip, piece);
        done += piece;
        skip = 0;
    }
    return done;
}

struct copy {
    struct virtio_device *v;
    const struct iovec *iov;
    const gpa_t *gpa;
    uint8_t *to;
    const uint8_t *from;
};

static void copy_out(void *opaque, unsigned i, uint64_t at, size_t piece)
{
    struct copy *copy = opaque;

    mem_copy(copy->to, (const uint8_t *)copy->iov[i].iov_base + at, piece);
    copy->to += piece;
}

static void copy_in(void *opaque, unsigned i, uint64_t at, size_t piece)
{
    struct copy *copy = opaque;

    mem_dma_before_write(copy->v->space, copy->gpa[i] + at, piece);
    mem_copy((uint8_t *)copy->iov[i].iov_base + at, copy->from, piece);
    mem_dma_written(copy->v->space, copy->gpa[i] + at, piece);
    copy->from += piece;
}

static void tell_written(void *opaque, unsigned i, uint64_t at, size_t piece)
{
    struct copy *copy = opaque;

    mem_dma_written(copy->v->space, copy->gpa[i] + at, piece);
}

size_t virtio_chain_read(const struct virtio_chain *c, uint64_t skip, void *buf, size_t len)
{
    struct copy copy = {.iov = c->iov, .to = buf};

    return each_piece(c->iov, c->nr_out, skip, len, copy_out, &copy);
}

size_t virtio_chain_write(struct virtio_device *v, const struct virtio_chain *c, uint64_t skip,
                          const void *buf, size_t len)
{
    struct copy copy = {.v = v, .iov = c->iov + c->nr_out, .gpa = c->gpa + c->nr_out, .from = buf};

    return each_piece(copy.iov, c->nr_in, skip, len, copy_in, &copy);
}

void virtio_chain_written(struct virtio_device *v, const struct virtio_chain *c, uint64_t len)
{
    struct copy copy = {.v = v, .iov = c->iov + c->nr_out, .gpa = c->gpa + c->nr_out};

    each_piece(copy.iov, c->nr_in, 0, len, tell_written, &copy);
}

void virtio_chain_before_write(struct virtio_device *v, const struct virtio_chain *c)
{
    for (unsigned i = c->nr_out; i < c->nr_out + c->nr_in; i++)
        mem_dma_before_write(v->space, c->gpa[i], c->iov[i].iov_len);
}

void virtio_chain_cut_front(struct virtio_chain *c, uint64_t len)
{
    unsigned gone = 0;

    c->out_len -= len;
    while (gone < c->nr_out && len >= c->iov[gone].iov_len)
        len -= c->iov[gone++].iov_len;
    if (len) {
        c->iov[gone].iov_base = (uint8_t *)c->iov[gone].iov_base + len;
        c->iov[gone].iov_len -= len;
        c->gpa[gone] += len;
    }
    if (!gone)
        return;
    c->nr_out -= gone;
    memmove(c->iov, c->iov + gone, (c->nr_out + c->nr_in) * sizeof c->iov[0]);
    memmove(c->gpa, c->gpa + gone, (c->nr_out + c->nr_in) * sizeof c->gpa[0]);
}

void virtio_chain_cut_back(struct virtio_chain *c, uint64_t len)
{
    c->in_len -= len;
    while (c->nr_in && len >= c->iov[c->nr_out + c->nr_in - 1].iov_len)
        len -= c->iov[c->nr_out + --c->nr_in].iov_len;
    if (len)
        c->iov[c->nr_out + c->nr_in - 1].iov_len -= len;
}
