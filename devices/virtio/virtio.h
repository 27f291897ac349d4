/* The core of virtio 1.2 devices: what transports, queues and device types share.
 *
 *   guest notify -> transport (mmio.c, pci.c) -> virtio_notify -> ops->notify (blk.c, net.c ...)
 *     -> virtq_pop (queue.c: descriptors -> iovecs into guest memory) -> back end
 *     -> virtq_push, virtq_flush -> transport->interrupt -> irq line | MSI
 *
 * Lock: one per virtio device (SIM_RANK_DEVICE). It guards the device type's state, the queues and the
 * transport's registers. virtio_unlock() runs what must not happen under it (MSIs).
 *
 * Hostile guests: whatever a guest puts into a ring either becomes a request with checked memory or
 * virtio_fail(): the device stops and asks for a reset, the host goes on. Work per notify is bounded by
 * the queue's size; virtio_continue() does the rest from a timer. */
#ifndef DEVICES_VIRTIO_H
#define DEVICES_VIRTIO_H

#include <sys/uio.h>

#include "devices/device.h"
#include "sim-core/timer.h"

/* Virtio 1.2, 5: device types */
enum { VIRTIO_ID_NET = 1, VIRTIO_ID_BLOCK = 2, VIRTIO_ID_CONSOLE = 3, VIRTIO_ID_RNG = 4 };

/* 2.1: device status */
enum {
    VIRTIO_STATUS_ACKNOWLEDGE = 1,
    VIRTIO_STATUS_DRIVER = 2,
    VIRTIO_STATUS_DRIVER_OK = 4,
    VIRTIO_STATUS_FEATURES_OK = 8,
    VIRTIO_STATUS_NEEDS_RESET = 64,
    VIRTIO_STATUS_FAILED = 128
};

/* 6: features of every device */
enum {
    VIRTIO_F_INDIRECT_DESC = 28,
    VIRTIO_F_EVENT_IDX = 29,
    VIRTIO_F_VERSION_1 = 32,
    VIRTIO_F_RING_RESET = 40
};
#define VIRTIO_FEATURE(bit) (1ull << (bit))

enum { VIRTIO_ISR_QUEUE = 1, VIRTIO_ISR_CONFIG = 2 };
enum { VIRTIO_NO_VECTOR = 0xffff };
enum { VIRTIO_MAX_QUEUES = 4, VIRTIO_MAX_QUEUE_SIZE = 1024, VIRTIO_MAX_SEGS = 1024 };

/* What was mapped of a guest memory on several ranks (mem_dma_map): extents to unmap. Empty on one rank. */
struct virtio_pins {
    struct virtio_pin {
        gpa_t gpa;
        uint64_t len;
    } *pin;
    unsigned nr, cap;
};

/* A popped descriptor chain as host memory: iov[0..nr_out) is what the device reads, the next nr_in
 * are what it writes; gpa[] are the same pieces' guest addresses. The arrays belong to the chain and
 * are reused by the next pop. */
struct virtio_chain {
    struct iovec *iov;
    gpa_t *gpa;
    unsigned nr_out, nr_in, cap;
    struct virtio_pins pins; /* of the pieces, on several ranks */
    uint64_t out_len, in_len;
    uint16_t head;
};

struct virtq_desc;

struct virtqueue {
    /* Set by the driver. */
    uint16_t size;
    uint8_t enabled;
    uint16_t vector;
    uint64_t desc_gpa, avail_gpa, used_gpa;
    /* Our place in the rings. */
    uint16_t next_avail;
    uint16_t used_idx;  /* pushed */
    uint16_t published; /* of these, visible to the driver */
    uint16_t inflight;  /* popped, not pushed */
    /* Fixed by the device type. */
    uint16_t max_size;
    /* Derived: the rings in the service mapping (NULL while disabled). */
    const struct virtq_desc *desc;
    struct virtq_avail *avail;
    struct virtq_used *used;
    bool pinned; /* several ranks: the rings are here, until virtio_unlock */
};

struct virtio_device;

struct virtio_ops {
    const char *name;
    uint32_t id;
    uint32_t pci_class; /* 24 bits: class, subclass, interface */
    /* The driver has put buffers into queue n (or freed used ones). Lock held, DRIVER_OK. */
    void (*notify)(struct virtio_device *v, unsigned n);
    /* Optional. The driver wrote bytes of the configuration space (already in v->config). */
    void (*config_written)(struct virtio_device *v, unsigned offset, unsigned size);
    /* Optional. Back to the state before negotiation; lock held, queues still mapped, nothing in flight. */
    void (*reset)(struct virtio_device *v);
    /* Optional. Ends (cancel) or awaits what is in flight. Lock not held; may block for host I/O. */
    void (*quiesce)(struct virtio_device *v, bool cancel);
    void (*destroy)(struct virtio_device *v); /* frees; quiesced */
    const struct state_desc *state;           /* of the struct that embeds virtio_device first */
};

struct virtio_transport {
    /* Queue q (NULL: configuration) wants an interrupt. Lock held. */
    void (*interrupt)(void *opaque, const struct virtqueue *q);
    /* Optional: work left over for after the lock; called when `deferred` is set. */
    void (*unlocked)(void *opaque);
    /* The device was reset: drop interrupts and vectors. Lock held. */
    void (*reset)(void *opaque);
};

/* Owner: whoever holds `lock`. Lifetime: created before plugging, then owned by its transport. */
struct virtio_device {
    const struct virtio_ops *ops;
    struct sim *sim;
    struct sim_mutex lock;
    const char *label;       /* the transport's, for messages; "unplugged" before */
    struct mem_space *space; /* set by plugging */
    const struct virtio_transport *transport;
    void *transport_opaque;
    uint64_t offered; /* feature bits */
    uint64_t accepted;
    uint8_t status;
    uint8_t isr;
    bool complained; /* said that the guest broke the device */
    bool deferred;   /* transport->unlocked has something to do */
    uint32_t resetting; /* resets under way: notifies are ignored */
    uint32_t config_generation;
    uint8_t *config; /* configuration space; owned by the device type */
    unsigned config_size;
    unsigned nr_queues;
    struct virtqueue queue[VIRTIO_MAX_QUEUES];
    struct virtio_pins pins; /* of rings and indirect tables, until virtio_unlock */
    uint32_t again; /* queues to look at again, from again_timer */
    struct sim_timer *again_timer;
    struct virtio_doorbell *doorbell; /* by queue; NULL: notifications are register writes */
};

/* --- core.c: for device types --- */

void virtio_init(struct virtio_device *v, struct sim *sim, const struct virtio_ops *ops);
void virtio_fini(struct virtio_device *v);
/* Adds the next queue. Context: creation. */
void virtio_add_queue(struct virtio_device *v, uint16_t max_size);

void virtio_lock(struct virtio_device *v);
void virtio_unlock(struct virtio_device *v);

static inline bool virtio_has(const struct virtio_device *v, unsigned feature)
{
    return v->accepted >> feature & 1;
}
/* The driver runs and has not broken the device. */
static inline bool virtio_is_live(const struct virtio_device *v)
{
    return (v->status & (VIRTIO_STATUS_DRIVER_OK | VIRTIO_STATUS_NEEDS_RESET)) ==
               VIRTIO_STATUS_DRIVER_OK &&
           !v->resetting;
}
/* The guest broke the protocol: stop until it resets the device. Says so once. Lock held. */
SIM_COLD void virtio_fail(struct virtio_device *v, const char *fmt, ...) SIM_PRINTF(2, 3);
/* Calls ops->notify(n) again soon, from a timer. Lock held. */
void virtio_continue(struct virtio_device *v, unsigned n);

/* --- core.c: for transports --- */

void virtio_plug(struct virtio_device *v, struct mem_space *space, const char *label,
                 const struct virtio_transport *transport, void *opaque);
/* Writing the status register; takes the lock, may block for host I/O when it is a reset. */
void virtio_set_status(struct virtio_device *v, uint8_t status);
/* A complete reset, as by the machine. Lock not held. */
void virtio_reset(struct virtio_device *v);
/* Stops one queue and forgets it (RING_RESET, QueueReady = 0). Lock not held; may block as above. */
void virtio_reset_queue(struct virtio_device *v, unsigned n);
void virtio_notify(struct virtio_device *v, unsigned n); /* lock held */
void virtio_set_driver_features(struct virtio_device *v, unsigned word, uint32_t bits);
uint32_t virtio_device_features(const struct virtio_device *v, unsigned word);
uint32_t virtio_driver_features(const struct virtio_device *v, unsigned word);
/* Configuration space; bytes outside read as zero. Lock held. */
uint32_t virtio_config_read(const struct virtio_device *v, uint64_t offset, unsigned size);
void virtio_config_write(struct virtio_device *v, uint64_t offset, unsigned size, uint32_t value);
extern const struct state_desc virtio_core_state; /* of struct virtio_device */

/* --- doorbell.c --- */

/* Writes of a queue's number (4 bytes) at `notify` come by eventfd from here on, and no more to the transport's registers. Of a plugged
 * device. SIM_ERR_UNSUPPORTED (errno says why, the caller what that means): they are register writes as before. Context: launch. */
enum sim_status virtio_doorbells_hang(struct virtio_device *v, gpa_t notify) SIM_MUST_CHECK;
/* What has rung is served. Context: the I/O thread, vCPUs stand. */
void virtio_doorbells_serve(struct virtio_device *v);
/* Context: launch, the I/O thread has stopped, or v never ran. Idempotent. */
void virtio_doorbells_take_down(struct virtio_device *v);
/* How many notifications have come by eventfd. Context: any. */
uint64_t virtio_doorbells_rung(struct virtio_device *v);

/* --- queue.c --- */

/* Maps the rings and starts the queue at index 0; virtio_fail() when they are not in RAM. */
void virtq_enable(struct virtio_device *v, struct virtqueue *q);
/* Recomputes the derived fields after a restore. */
enum sim_status virtq_restore(struct virtio_device *v, struct virtqueue *q) SIM_MUST_CHECK;
void virtq_reset(struct virtqueue *q);

/* The next available chain; false when there is none or the device failed. Lock held. */
bool virtq_pop(struct virtio_device *v, struct virtqueue *q, struct virtio_chain *c);
/* Gives the most recently popped chains back, newest first (before any push). */
void virtq_unpop(struct virtqueue *q, unsigned n);
bool virtq_is_empty(const struct virtqueue *q);
/* Marks a chain used; the driver sees it after virtq_flush. `written`: bytes of its in-part. */
void virtq_push(struct virtio_device *v, struct virtqueue *q, uint16_t head, uint32_t written);
/* Takes back the n chains pushed last, which have not been flushed. */
void virtq_unpush(struct virtqueue *q, unsigned n);
/* Shows the pushed chains to the driver and interrupts it when it wants that. */
void virtq_flush(struct virtio_device *v, struct virtqueue *q);
/* Asks for notifies, or says that none are needed. true: chains are available after all. */
bool virtq_want_notify(struct virtio_device *v, struct virtqueue *q, bool want);

/* The device does not touch the chain's memory any more: ranks that want it may have it. Idempotent; popping
 * into the chain does it as well. Lock held. */
void virtio_chain_release(struct virtio_device *v, struct virtio_chain *c);
void virtio_chain_fini(struct virtio_chain *c); /* released */
/* Lets go of the rings. Called by virtio_unlock. */
void virtq_unpin_rings(struct virtio_device *v);
/* Copies from the out-part / to the in-part; returns the bytes that were there. */
size_t virtio_chain_read(const struct virtio_chain *c, uint64_t skip, void *buf, size_t len);
size_t virtio_chain_write(struct virtio_device *v, const struct virtio_chain *c, uint64_t skip,
                          const void *buf, size_t len);
/* Tells the space that the in-part will be written through its iovecs. */
void virtio_chain_before_write(struct virtio_device *v, const struct virtio_chain *c);
/* Tells the space that the device wrote the first len bytes of the in-part. */
void virtio_chain_written(struct virtio_device *v, const struct virtio_chain *c, uint64_t len);
/* Cuts len bytes off the front of the out-part / the end of the in-part (which must have them). */
void virtio_chain_cut_front(struct virtio_chain *c, uint64_t len);
void virtio_chain_cut_back(struct virtio_chain *c, uint64_t len);

#endif
