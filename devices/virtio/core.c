/* Virtio devices without their transport: status, feature negotiation, reset, configuration space. */
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "sim-core/alloc.h"
#include "sim-core/log.h"
#include "virtio/virtio.h"

static void run_again(void *opaque)
{
    struct virtio_device *v = opaque;

    virtio_lock(v);
    uint32_t queues = v->again;
    v->again = 0;
    for (unsigned n = 0; n < v->nr_queues; n++)
        if (queues >> n & 1)
            virtio_notify(v, n);
    virtio_unlock(v);
}

void virtio_init(struct virtio_device *v, struct sim *sim, const struct virtio_ops *ops)
{
    v->ops = ops;
    v->sim = sim;
    v->label = "unplugged";
    v->offered = VIRTIO_FEATURE(VIRTIO_F_VERSION_1) | VIRTIO_FEATURE(VIRTIO_F_INDIRECT_DESC) |
                 VIRTIO_FEATURE(VIRTIO_F_EVENT_IDX) | VIRTIO_FEATURE(VIRTIO_F_RING_RESET);
    sim_mutex_init(&v->lock, SIM_RANK_DEVICE);
    v->again_timer = sim_timer_create(sim, run_again, v);
}

void virtio_fini(struct virtio_device *v)
{
    sim_timer_destroy(v->again_timer);
    sim_free(v->pins.pin);
    sim_mutex_fini(&v->lock);
}

void virtio_destroy(struct virtio_device *v)
{
    if (!v)
        return;
    virtio_doorbells_take_down(v);
    virtio_reset(v);
    v->ops->destroy(v);
}

void virtio_add_queue(struct virtio_device *v, uint16_t max_size)
{
    SIM_BUG_ON(v->nr_queues == VIRTIO_MAX_QUEUES, "%s has too many queues", v->ops->name);
    struct virtqueue *q = &v->queue[v->nr_queues++];

    q->max_size = max_size;
    virtq_reset(q);
}

void virtio_plug(struct virtio_device *v, struct mem_space *space, const char *label,
                 const struct virtio_transport *transport, void *opaque)
{
    v->space = space;
    v->label = label;
    v->transport = transport;
    v->transport_opaque = opaque;
}

void virtio_lock(struct virtio_device *v)
{
    sim_mutex_lock(&v->lock);
}

void virtio_unlock(struct virtio_device *v)
{
    bool deferred = v->deferred;

    v->deferred = false;
    virtq_unpin_rings(v);
    sim_mutex_unlock(&v->lock);
    if (deferred)
        v->transport->unlocked(v->transport_opaque);
}

void virtio_fail(struct virtio_device *v, const char *fmt, ...)
{
    char why[160];
    va_list ap;
    bool was_live = virtio_is_live(v);

    v->status |= VIRTIO_STATUS_NEEDS_RESET;
    if (was_live) /* 2.1.2: a driver that runs hears of it */
        v->transport->interrupt(v->transport_opaque, NULL);
    if (v->complained)
        return;
    v->complained = true;
    va_start(ap, fmt);
    vsnprintf(why, sizeof why, fmt, ap);
    va_end(ap);
    sim_warn("%s: %s: the guest broke the device: %s; it needs a reset", v->label, v->ops->name,
             why);
}

void virtio_continue(struct virtio_device *v, unsigned n)
{
    v->again |= 1u << n;
    sim_timer_arm(v->again_timer, 0);
}

void virtio_notify(struct virtio_device *v, unsigned n)
{
    if (n < v->nr_queues && v->queue[n].enabled && virtio_is_live(v))
        v->ops->notify(v, n);
}

/* --- status and features --- */

static void reset_locked(struct virtio_device *v)
{
    if (v->ops->reset)
        v->ops->reset(v);
    v->status = 0;
    v->isr = 0;
    v->again = 0;
    v->accepted = 0;
    for (unsigned n = 0; n < v->nr_queues; n++)
        virtq_reset(&v->queue[n]);
    if (v->transport)
        v->transport->reset(v->transport_opaque);
}

/* Takes the lock at a moment when nothing is in flight. (Two harts may do this at once.) */
static void quiesce_and_lock(struct virtio_device *v)
{
    virtio_lock(v);
    v->resetting++;
    virtio_unlock(v);
    if (v->ops->quiesce)
        v->ops->quiesce(v, true);
    virtio_lock(v);
    v->resetting--;
}

void virtio_reset(struct virtio_device *v)
{
    quiesce_and_lock(v);
    reset_locked(v);
    virtio_unlock(v);
}

void virtio_reset_queue(struct virtio_device *v, unsigned n)
{
    quiesce_and_lock(v);
    virtq_reset(&v->queue[n]);
    virtio_unlock(v);
}

/* 3.1.1 step 6: the device says whether it takes the driver's choice. */
static bool features_acceptable(const struct virtio_device *v)
{
    return !(v->accepted & ~v->offered) && virtio_has(v, VIRTIO_F_VERSION_1);
}

static void raise_status(struct virtio_device *v, uint8_t status)
{
    uint8_t fresh = status & ~v->status;

    if (fresh & VIRTIO_STATUS_FEATURES_OK && !features_acceptable(v))
        status &= (uint8_t)~VIRTIO_STATUS_FEATURES_OK;
    if (!(status & VIRTIO_STATUS_FEATURES_OK))
        status &= (uint8_t)~VIRTIO_STATUS_DRIVER_OK;
    v->status = status | (v->status & VIRTIO_STATUS_NEEDS_RESET);
    /* What the driver queued before it was ready has had its notify ignored. */
    if (fresh & status & VIRTIO_STATUS_DRIVER_OK)
        for (unsigned n = 0; n < v->nr_queues; n++)
            virtio_notify(v, n);
}

void virtio_set_status(struct virtio_device *v, uint8_t status)
{
    if (status == 0) {
        virtio_reset(v);
        return;
    }
    virtio_lock(v);
    if (!v->resetting)
        raise_status(v, status);
    virtio_unlock(v);
}

void virtio_set_driver_features(struct virtio_device *v, unsigned word, uint32_t bits)
{
    if (word > 1 || v->status & VIRTIO_STATUS_FEATURES_OK)
        return;
    unsigned shift = word * 32;

    v->accepted = (v->accepted & ~(0xffffffffull << shift)) | (uint64_t)bits << shift;
}

uint32_t virtio_device_features(const struct virtio_device *v, unsigned word)
{
    return word > 1 ? 0 : (uint32_t)(v->offered >> (word * 32));
}

uint32_t virtio_driver_features(const struct virtio_device *v, unsigned word)
{
    return word > 1 ? 0 : (uint32_t)(v->accepted >> (word * 32));
}

/* --- configuration space --- */

uint32_t virtio_config_read(const struct virtio_device *v, uint64_t offset, unsigned size)
{
    uint32_t value = 0;

    for (unsigned i = 0; i < size; i++)
        if (offset + i < v->config_size)
            value |= (uint32_t)v->config[offset + i] << (i * 8);
    return value;
}

void virtio_config_write(struct virtio_device *v, uint64_t offset, unsigned size, uint32_t value)
{
    if (!v->ops->config_written || offset >= v->config_size || size > v->config_size - offset)
        return; /* read-only, which is what most of them are */
    memcpy(v->config + offset, &value, size);
    v->ops->config_written(v, (unsigned)offset, size);
}

/* --- saved state --- */

static enum sim_status core_post_load(void *object)
{
    struct virtio_device *v = object;

    if (v->accepted & ~v->offered && v->status & VIRTIO_STATUS_FEATURES_OK) {
        sim_error("%s: saved state: %s has features 0x%llx which this one does not offer", v->label,
                  v->ops->name, (unsigned long long)(v->accepted & ~v->offered));
        return SIM_ERR_FORMAT;
    }
    for (unsigned n = 0; n < v->nr_queues; n++) {
        if (virtq_restore(v, &v->queue[n]) != SIM_OK) {
            sim_error("%s: saved state: queue %u of %u entries is not in memory", v->label, n,
                      v->queue[n].size);
            return SIM_ERR_FORMAT;
        }
    }
    /* Buffers may have come between the last notify and the save. */
    if (virtio_is_live(v))
        for (unsigned n = 0; n < v->nr_queues; n++)
            virtio_continue(v, n);
    return SIM_OK;
}

static const struct state_field queue_fields[] = {
    STATE_SCALAR(struct virtqueue, STATE_U16, size),
    STATE_SCALAR(struct virtqueue, STATE_U8, enabled),
    STATE_SCALAR(struct virtqueue, STATE_U16, vector),
    STATE_SCALAR(struct virtqueue, STATE_U64, desc_gpa),
    STATE_SCALAR(struct virtqueue, STATE_U64, avail_gpa),
    STATE_SCALAR(struct virtqueue, STATE_U64, used_gpa),
    STATE_SCALAR(struct virtqueue, STATE_U16, next_avail),
    STATE_SCALAR(struct virtqueue, STATE_U16, used_idx),
    STATE_SCALAR(struct virtqueue, STATE_U16, published),
    STATE_END};

STATE_LAYOUT(queue, struct virtqueue,
              STATE_DERIVED(struct virtqueue, inflight) STATE_DERIVED(struct virtqueue, max_size)
              STATE_DERIVED(struct virtqueue, desc) STATE_DERIVED(struct virtqueue, avail)
              STATE_DERIVED(struct virtqueue, used) STATE_DERIVED(struct virtqueue, pinned));
static const struct state_desc queue_state = {
    .name = "virtqueue", .version = 1, .fields = queue_fields,
    STATE_LAYOUT_OF(queue, struct virtqueue)};

static const struct state_field core_fields[] = {
    STATE_SCALAR(struct virtio_device, STATE_U64, accepted),
    STATE_SCALAR(struct virtio_device, STATE_U8, status),
    STATE_SCALAR(struct virtio_device, STATE_U8, isr),
    STATE_SCALAR(struct virtio_device, STATE_U32, config_generation),
    STATE_STRUCTS(struct virtio_device, queue, VIRTIO_MAX_QUEUES, &queue_state),
    STATE_END};

STATE_LAYOUT(core, struct virtio_device,
              STATE_DERIVED(struct virtio_device, ops) STATE_DERIVED(struct virtio_device, sim)
              STATE_DERIVED(struct virtio_device, lock) STATE_DERIVED(struct virtio_device, label)
              STATE_DERIVED(struct virtio_device, space)
              STATE_DERIVED(struct virtio_device, transport)
              STATE_DERIVED(struct virtio_device, transport_opaque)
              STATE_DERIVED(struct virtio_device, offered)
              STATE_DERIVED(struct virtio_device, complained)
              STATE_DERIVED(struct virtio_device, deferred)
              STATE_DERIVED(struct virtio_device, resetting)
              STATE_DERIVED(struct virtio_device, config)
              STATE_DERIVED(struct virtio_device, config_size)
              STATE_DERIVED(struct virtio_device, nr_queues)
              STATE_DERIVED(struct virtio_device, pins) STATE_DERIVED(struct virtio_device, again)
              STATE_DERIVED(struct virtio_device, again_timer)
              STATE_DERIVED(struct virtio_device, doorbell)
              STATE_PADDING(struct virtio_device, again));
const struct state_desc virtio_core_state = {
    .name = "virtio", .version = 1, .fields = core_fields,
    STATE_LAYOUT_OF(core, struct virtio_device), .post_load = core_post_load};
