/* virtio-mmio, version 2 (virtio 1.2, 4.2): one slot of registers, empty until something is plugged.
 *
 * The vendor and the empty slot's answers are those of QEMU's machine, which guests test for. */
#include "dev_priv.h"
#include "virtio/virtio.h"

enum { MAGIC_VALUE = 0x74726976, VERSION = 2, VENDOR = 0x554d4551, SLOT_SIZE = 0x1000 };

enum { /* 4.2.2 */
    R_MAGIC = 0x000, R_VERSION = 0x004, R_DEVICE_ID = 0x008, R_VENDOR_ID = 0x00c,
    R_DEVICE_FEATURES = 0x010, R_DEVICE_FEATURES_SEL = 0x014,
    R_DRIVER_FEATURES = 0x020, R_DRIVER_FEATURES_SEL = 0x024,
    R_QUEUE_SEL = 0x030, R_QUEUE_NUM_MAX = 0x034, R_QUEUE_NUM = 0x038, R_QUEUE_READY = 0x044,
    R_QUEUE_NOTIFY = 0x050, R_INTERRUPT_STATUS = 0x060, R_INTERRUPT_ACK = 0x064, R_STATUS = 0x070,
    R_QUEUE_DESC_LOW = 0x080, R_QUEUE_DESC_HIGH = 0x084,
    R_QUEUE_DRIVER_LOW = 0x090, R_QUEUE_DRIVER_HIGH = 0x094,
    R_QUEUE_DEVICE_LOW = 0x0a0, R_QUEUE_DEVICE_HIGH = 0x0a4,
    R_SHM_LEN_LOW = 0x0b0, R_SHM_BASE_HIGH = 0x0bc, R_QUEUE_RESET = 0x0c0,
    R_CONFIG_GENERATION = 0x0fc, R_CONFIG = 0x100
};

/* Owner: launch. The registers are guarded by the plugged device's lock; an empty slot has none. */
struct virtio_mmio {
    struct device dev;
    struct mem_space *space;
    struct mem_region region;
    struct irq_line irq;
    struct virtio_device *v; /* fixed before the executors start */
    struct state_object plugged;
    uint32_t device_features_sel, driver_features_sel, queue_sel;
};

static void update_line(struct virtio_mmio *m)
{
    irq_set(&m->irq, m->v->isr != 0);
}

static void mmio_interrupt(void *opaque, const struct virtqueue *q)
{
    struct virtio_mmio *m = opaque;

    m->v->isr |= q ? VIRTIO_ISR_QUEUE : VIRTIO_ISR_CONFIG;
    update_line(m);
}

static void mmio_transport_reset(void *opaque)
{
    struct virtio_mmio *m = opaque;

    m->device_features_sel = m->driver_features_sel = m->queue_sel = 0;
    update_line(m);
}

static const struct virtio_transport mmio_transport = {.interrupt = mmio_interrupt,
                                                       .reset = mmio_transport_reset};

/* --- registers --- */

static struct virtqueue *selected(struct virtio_mmio *m)
{
    return m->queue_sel < m->v->nr_queues ? &m->v->queue[m->queue_sel] : NULL;
}

static uint32_t read_empty(uint64_t offset)
{
    return offset == R_MAGIC      ? MAGIC_VALUE
           : offset == R_VERSION  ? VERSION
           : offset == R_VENDOR_ID ? VENDOR
                                   : 0;
}

static uint32_t read_register(struct virtio_mmio *m, uint64_t offset)
{
    struct virtio_device *v = m->v;
    struct virtqueue *q = selected(m);

    switch (offset) {
    case R_DEVICE_ID:
        return v->ops->id;
    case R_DEVICE_FEATURES:
        return virtio_device_features(v, m->device_features_sel);
    case R_QUEUE_NUM_MAX:
        return q ? q->max_size : 0;
    case R_QUEUE_READY:
        return q && q->enabled;
    case R_INTERRUPT_STATUS:
        return v->isr;
    case R_STATUS:
        return v->status;
    case R_CONFIG_GENERATION:
        return v->config_generation;
    default:
        if (offset >= R_SHM_LEN_LOW && offset <= R_SHM_BASE_HIGH)
            return UINT32_MAX; /* no shared memory region */
        return read_empty(offset);
    }
}

static bool mmio_read(void *opaque, uint64_t offset, unsigned size, uint64_t *value)
{
    struct virtio_mmio *m = opaque;

    *value = 0;
    if (offset < R_CONFIG && size != 4)
        return true;
    if (!m->v) {
        *value = read_empty(offset);
        return true;
    }
    virtio_lock(m->v);
    *value = offset < R_CONFIG ? read_register(m, offset)
                               : virtio_config_read(m->v, offset - R_CONFIG, size);
    virtio_unlock(m->v);
    return true;
}

static void set_half(uint64_t *word, bool high, uint32_t value)
{
    unsigned shift = high ? 32 : 0;

    *word = (*word & ~(0xffffffffull << shift)) | (uint64_t)value << shift;
}

/* What is fixed once the queue is enabled. */
static void write_queue(struct virtio_mmio *m, uint64_t offset, uint32_t value)
{
    struct virtqueue *q = selected(m);

    if (!q || q->enabled)
        return;
    switch (offset) {
    case R_QUEUE_NUM:
        q->size = value > UINT16_MAX ? 0 : (uint16_t)value; /* 0 is refused when enabled */
        return;
    case R_QUEUE_READY:
        if (value & 1)
            virtq_enable(m->v, q);
        return;
    case R_QUEUE_DESC_LOW:
    case R_QUEUE_DESC_HIGH:
        set_half(&q->desc_gpa, offset == R_QUEUE_DESC_HIGH, value);
        return;
    case R_QUEUE_DRIVER_LOW:
    case R_QUEUE_DRIVER_HIGH:
        set_half(&q->avail_gpa, offset == R_QUEUE_DRIVER_HIGH, value);
        return;
    case R_QUEUE_DEVICE_LOW:
    case R_QUEUE_DEVICE_HIGH:
        set_half(&q->used_gpa, offset == R_QUEUE_DEVICE_HIGH, value);
        return;
    }
}

static void write_register(struct virtio_mmio *m, uint64_t offset, uint32_t value)
{
    struct virtio_device *v = m->v;

    switch (offset) {
    case R_DEVICE_FEATURES_SEL:
        m->device_features_sel = value;
        return;
    case R_DRIVER_FEATURES:
        virtio_set_driver_features(v, m->driver_features_sel, value);
        return;
    case R_DRIVER_FEATURES_SEL:
        m->driver_features_sel = value;
        return;
    case R_QUEUE_SEL:
        m->queue_sel = value;
        return;
    case R_QUEUE_NOTIFY:
        virtio_notify(v, value & 0xffff);
        return;
    case R_INTERRUPT_ACK:
        v->isr &= (uint8_t)~value;
        update_line(m);
        return;
    default:
        write_queue(m, offset, value);
        return;
    }
}

/* What may wait for the host's I/O takes the lock itself. */
static bool write_blocking(struct virtio_mmio *m, uint64_t offset, uint32_t value)
{
    if (offset == R_STATUS) {
        virtio_set_status(m->v, (uint8_t)value);
        return true;
    }
    if ((offset == R_QUEUE_RESET && value & 1) || (offset == R_QUEUE_READY && !(value & 1))) {
        virtio_lock(m->v);
        uint32_t n = m->queue_sel;
        virtio_unlock(m->v);
        if (n < m->v->nr_queues)
            virtio_reset_queue(m->v, n);
        return true;
    }
    return false;
}

static bool mmio_write(void *opaque, uint64_t offset, unsigned size, uint64_t value)
{
    struct virtio_mmio *m = opaque;

    if (!m->v || (offset < R_CONFIG && size != 4))
        return true;
    if (write_blocking(m, offset, (uint32_t)value))
        return true;
    virtio_lock(m->v);
    if (offset < R_CONFIG)
        write_register(m, offset, (uint32_t)value);
    else
        virtio_config_write(m->v, offset - R_CONFIG, size, (uint32_t)value);
    virtio_unlock(m->v);
    return true;
}

static const struct mem_ops mmio_ops = {.read = mmio_read, .write = mmio_write, .max_size = 4};

/* --- life --- */

static void mmio_reset(struct device *d)
{
    struct virtio_mmio *m = (struct virtio_mmio *)d;

    if (m->v)
        virtio_reset(m->v);
}

static void mmio_destroy(struct device *d)
{
    struct virtio_mmio *m = (struct virtio_mmio *)d;

    virtio_destroy(m->v);
    sim_free(m);
}

static void mmio_pre_save(void *object)
{
    struct virtio_mmio *m = object;

    if (!m->v)
        return;
    virtio_doorbells_serve(m->v);
    if (m->v->ops->quiesce)
        m->v->ops->quiesce(m->v, false);
}

static enum sim_status mmio_post_load(void *object)
{
    struct virtio_mmio *m = object;

    if (m->v)
        update_line(m);
    return SIM_OK;
}

static const struct state_field mmio_fields[] = {
    STATE_SCALAR(struct virtio_mmio, STATE_U32, device_features_sel),
    STATE_SCALAR(struct virtio_mmio, STATE_U32, driver_features_sel),
    STATE_SCALAR(struct virtio_mmio, STATE_U32, queue_sel),
    STATE_PLUGGED(struct virtio_mmio, plugged),
    STATE_END};

STATE_LAYOUT(mmio, struct virtio_mmio,
              STATE_DERIVED(struct virtio_mmio, dev) STATE_DERIVED(struct virtio_mmio, space)
              STATE_DERIVED(struct virtio_mmio, region) STATE_DERIVED(struct virtio_mmio, irq)
              STATE_DERIVED(struct virtio_mmio, v));
static const struct state_desc mmio_state = {.name = "virtio-mmio",
                                             .version = 1,
                                             .fields = mmio_fields,
    STATE_LAYOUT_OF(mmio, struct virtio_mmio),
                                             .pre_save = mmio_pre_save,
                                             .post_load = mmio_post_load};

static const struct device_ops mmio_device_ops = {
    .name = "virtio-mmio", .reset = mmio_reset, .destroy = mmio_destroy, .state = &mmio_state};

static enum sim_status mmio_create(const struct dev_args *args, struct device **out)
{
    SIM_TRY(dev_need_regs(args, 1));
    if (args->reg[0].size < R_CONFIG + 0x100) {
        sim_error("device '%s': its register range is shorter than 0x200 bytes", args->label);
        return SIM_ERR_INVALID;
    }
    struct virtio_mmio *m = sim_new(struct virtio_mmio);

    dev_init(&m->dev, &mmio_device_ops, args);
    m->space = args->space;
    m->irq = dev_irq(args, 0);
    enum sim_status status = dev_map(&m->region, &m->dev, args, 0, &mmio_ops);
    if (status != SIM_OK) {
        dev_destroy(&m->dev);
        return status;
    }
    *out = &m->dev;
    return SIM_OK;
}

bool virtio_mmio_is_free(const struct device *slot)
{
    return slot->ops == &mmio_device_ops && !((const struct virtio_mmio *)slot)->v;
}

enum sim_status virtio_mmio_plug(struct device *slot, struct virtio_device *v)
{
    struct virtio_mmio *m = (struct virtio_mmio *)slot;

    if (!virtio_mmio_is_free(slot)) {
        sim_error("%s: no place for %s there", slot->label, v->ops->name);
        return SIM_ERR_BUSY;
    }
    m->v = v;
    m->plugged = (struct state_object){v->ops->state, v};
    virtio_plug(v, m->space, m->dev.label, &mmio_transport, m);
    return SIM_OK;
}

enum sim_status virtio_mmio_use_doorbells(struct device *slot)
{
    struct virtio_mmio *m = (struct virtio_mmio *)slot;

    return virtio_doorbells_hang(m->v, m->region.base + R_QUEUE_NOTIFY);
}

uint64_t virtio_mmio_doorbells_rung(const struct device *d)
{
    const struct virtio_mmio *m = (const struct virtio_mmio *)d;

    return d->ops == &mmio_device_ops && m->v ? virtio_doorbells_rung(m->v) : 0;
}

static const char *const mmio_compatible[] = {"virtio,mmio", NULL};
const struct dev_driver virtio_mmio_driver = {.compatible = mmio_compatible,
                                              .create = mmio_create};
