/* virtio over PCI (virtio 1.2, 4.1), modern only: a PCI function with two BARs, as QEMU lays them out.
 *
 *   BAR 1: MSI-X table and pending bits
 *   BAR 4: +0x0000 common configuration, +0x1000 ISR, +0x2000 device configuration, +0x3000 notify */
#include "dev_priv.h"
#include "pci/pci.h"
#include "virtio/virtio.h"

enum { MSIX_BAR = 1, VIRTIO_BAR = 4, REGION_SIZE = 0x1000, NOTIFY_MULTIPLIER = 4 };
enum { REGION_COMMON, REGION_ISR, REGION_DEVICE, REGION_NOTIFY, NR_REGIONS };

/* 4.1.4: cfg_type */
enum { CFG_COMMON = 1, CFG_NOTIFY = 2, CFG_ISR = 3, CFG_DEVICE = 4, CFG_PCI = 5 };

enum { /* 4.1.4.3: struct virtio_pci_common_cfg */
    C_DEVICE_FEATURE_SELECT = 0x00, C_DEVICE_FEATURE = 0x04,
    C_DRIVER_FEATURE_SELECT = 0x08, C_DRIVER_FEATURE = 0x0c,
    C_CONFIG_VECTOR = 0x10, C_NUM_QUEUES = 0x12, C_DEVICE_STATUS = 0x14, C_CONFIG_GENERATION = 0x15,
    C_QUEUE_SELECT = 0x16, C_QUEUE_SIZE = 0x18, C_QUEUE_VECTOR = 0x1a, C_QUEUE_ENABLE = 0x1c,
    C_QUEUE_NOTIFY_OFF = 0x1e, C_QUEUE_DESC = 0x20, C_QUEUE_DRIVER = 0x28, C_QUEUE_DEVICE = 0x30,
    C_QUEUE_RESET = 0x3a
};

/* Owner: the host bridge. Guarded by the virtio device's lock. */
struct virtio_pci {
    struct pci_function f;
    struct virtio_device *v;
    struct state_object plugged;
    char *label;
    uint32_t device_feature_select, driver_feature_select;
    uint16_t queue_select, config_vector;
    uint8_t window; /* offset of the PCI configuration access capability (4.1.4.9) */
};

/* --- interrupts --- */

static void update_intx(struct virtio_pci *p)
{
    pci_set_intx(&p->f, p->v->isr && !pci_msix_enabled(&p->f));
}

static void pci_interrupt(void *opaque, const struct virtqueue *q)
{
    struct virtio_pci *p = opaque;

    if (pci_msix_enabled(&p->f)) {
        pci_msix_notify(&p->f, q ? q->vector : p->config_vector);
        p->v->deferred |= p->f.msix.firing != 0;
        return;
    }
    p->v->isr |= q ? VIRTIO_ISR_QUEUE : VIRTIO_ISR_CONFIG;
    update_intx(p);
}

static void pci_unlocked(void *opaque)
{
    struct virtio_pci *p = opaque;

    pci_msix_deliver(&p->f);
}

static void pci_transport_reset(void *opaque)
{
    struct virtio_pci *p = opaque;

    p->device_feature_select = p->driver_feature_select = 0;
    p->queue_select = 0;
    p->config_vector = VIRTIO_NO_VECTOR;
    update_intx(p);
}

static const struct virtio_transport pci_transport = {
    .interrupt = pci_interrupt, .unlocked = pci_unlocked, .reset = pci_transport_reset};

/* --- common configuration --- */

static struct virtqueue *selected(struct virtio_pci *p)
{
    return p->queue_select < p->v->nr_queues ? &p->v->queue[p->queue_select] : NULL;
}

static uint32_t half(uint64_t word, uint64_t offset)
{
    return (uint32_t)(word >> (offset & 4) * 8);
}

static uint32_t queue_read(const struct virtio_pci *p, const struct virtqueue *q, uint64_t offset)
{
    switch (offset) {
    case C_QUEUE_SIZE:
        return q->size;
    case C_QUEUE_VECTOR:
        return q->vector;
    case C_QUEUE_ENABLE:
        return q->enabled;
    case C_QUEUE_NOTIFY_OFF:
        return p->queue_select;
    case C_QUEUE_DESC:
    case C_QUEUE_DESC + 4:
        return half(q->desc_gpa, offset);
    case C_QUEUE_DRIVER:
    case C_QUEUE_DRIVER + 4:
        return half(q->avail_gpa, offset);
    case C_QUEUE_DEVICE:
    case C_QUEUE_DEVICE + 4:
        return half(q->used_gpa, offset);
    default:
        return 0;
    }
}

static uint32_t common_read(struct virtio_pci *p, uint64_t offset)
{
    struct virtio_device *v = p->v;
    const struct virtqueue *q = selected(p);

    switch (offset) {
    case C_DEVICE_FEATURE_SELECT:
        return p->device_feature_select;
    case C_DEVICE_FEATURE:
        return virtio_device_features(v, p->device_feature_select);
    case C_DRIVER_FEATURE_SELECT:
        return p->driver_feature_select;
    case C_DRIVER_FEATURE:
        return virtio_driver_features(v, p->driver_feature_select);
    case C_CONFIG_VECTOR:
        return p->config_vector;
    case C_NUM_QUEUES:
        return v->nr_queues;
    case C_DEVICE_STATUS:
        return v->status;
    case C_CONFIG_GENERATION:
        return v->config_generation & 0xff;
    case C_QUEUE_SELECT:
        return p->queue_select;
    default:
        return q ? queue_read(p, q, offset) : 0; /* size 0: no such queue */
    }
}

static void set_half(uint64_t *word, uint64_t offset, uint32_t value)
{
    unsigned shift = (offset & 4) * 8;

    *word = (*word & ~(0xffffffffull << shift)) | (uint64_t)value << shift;
}

static uint16_t valid_vector(const struct virtio_pci *p, uint32_t value)
{
    return (value & 0xffff) < p->f.msix.nr ? (uint16_t)value : VIRTIO_NO_VECTOR;
}

static void queue_write(struct virtio_pci *p, struct virtqueue *q, uint64_t offset, uint32_t value)
{
    if (offset == C_QUEUE_VECTOR)
        q->vector = valid_vector(p, value);
    if (q->enabled)
        return;
    switch (offset) {
    case C_QUEUE_SIZE:
        q->size = (uint16_t)value;
        return;
    case C_QUEUE_ENABLE:
        if ((value & 0xffff) == 1)
            virtq_enable(p->v, q);
        return;
    case C_QUEUE_DESC:
    case C_QUEUE_DESC + 4:
        set_half(&q->desc_gpa, offset, value);
        return;
    case C_QUEUE_DRIVER:
    case C_QUEUE_DRIVER + 4:
        set_half(&q->avail_gpa, offset, value);
        return;
    case C_QUEUE_DEVICE:
    case C_QUEUE_DEVICE + 4:
        set_half(&q->used_gpa, offset, value);
        return;
    }
}

static void common_write(struct virtio_pci *p, uint64_t offset, uint32_t value)
{
    struct virtqueue *q = selected(p);

    switch (offset) {
    case C_DEVICE_FEATURE_SELECT:
        p->device_feature_select = value;
        return;
    case C_DRIVER_FEATURE_SELECT:
        p->driver_feature_select = value;
        return;
    case C_DRIVER_FEATURE:
        virtio_set_driver_features(p->v, p->driver_feature_select, value);
        return;
    case C_CONFIG_VECTOR:
        p->config_vector = valid_vector(p, value);
        return;
    case C_QUEUE_SELECT:
        p->queue_select = (uint16_t)value;
        return;
    default:
        if (q)
            queue_write(p, q, offset, value);
        return;
    }
}

/* What may wait for the host's I/O takes the lock itself. */
static bool common_write_blocking(struct virtio_pci *p, uint64_t offset, uint32_t value)
{
    if (offset == C_DEVICE_STATUS) {
        virtio_set_status(p->v, (uint8_t)value);
        return true;
    }
    if (offset == C_QUEUE_RESET && (value & 0xffff) == 1) {
        virtio_lock(p->v);
        unsigned n = p->queue_select;
        virtio_unlock(p->v);
        if (n < p->v->nr_queues)
            virtio_reset_queue(p->v, n);
        return true;
    }
    return false;
}

/* --- BARs --- */

/* 4.1.4.5: reading acknowledges */
static uint32_t isr_read(struct virtio_pci *p)
{
    uint32_t isr = p->v->isr;

    p->v->isr = 0;
    update_intx(p);
    return isr;
}

static uint32_t region_read(struct virtio_pci *p, uint64_t offset, unsigned size)
{
    uint64_t at = offset % REGION_SIZE;

    switch (offset / REGION_SIZE) {
    case REGION_COMMON:
        return common_read(p, at);
    case REGION_ISR:
        return at == 0 ? isr_read(p) : 0;
    case REGION_DEVICE:
        return virtio_config_read(p->v, at, size);
    default:
        return 0;
    }
}

static void region_write(struct virtio_pci *p, uint64_t offset, unsigned size, uint32_t value)
{
    uint64_t at = offset % REGION_SIZE;

    switch (offset / REGION_SIZE) {
    case REGION_COMMON:
        common_write(p, at, value);
        return;
    case REGION_DEVICE:
        virtio_config_write(p->v, at, size, value);
        return;
    case REGION_NOTIFY:
        virtio_notify(p->v, (unsigned)(at / NOTIFY_MULTIPLIER));
        return;
    default:
        return;
    }
}

static uint32_t bar_read(struct pci_function *f, unsigned bar, uint64_t offset, unsigned size)
{
    struct virtio_pci *p = (struct virtio_pci *)f;

    virtio_lock(p->v);
    uint32_t value =
        bar == MSIX_BAR ? pci_msix_read(f, offset, size) : region_read(p, offset, size);
    virtio_unlock(p->v);
    return value;
}

static void bar_write(struct pci_function *f, unsigned bar, uint64_t offset, unsigned size,
                      uint32_t value)
{
    struct virtio_pci *p = (struct virtio_pci *)f;

    if (bar == VIRTIO_BAR && common_write_blocking(p, offset, value))
        return;
    virtio_lock(p->v);
    if (bar == MSIX_BAR)
        pci_msix_write(f, offset, size, value);
    else
        region_write(p, offset, size, value);
    p->v->deferred |= f->msix.firing != 0;
    virtio_unlock(p->v);
}

/* --- the BAR seen through configuration space (4.1.4.9), for firmware that maps nothing --- */

enum { WINDOW_BAR = 4, WINDOW_OFFSET = 8, WINDOW_LENGTH = 12, WINDOW_DATA = 16, WINDOW_CAP = 20 };

struct bar_access {
    unsigned bar, size;
    uint64_t offset;
};

/* false: not the data word, or the guest has set the window to nothing that exists. */
static bool window_target(struct virtio_pci *p, unsigned offset, struct bar_access *out)
{
    const uint8_t *cap = p->f.config + p->window;

    if (offset != (unsigned)p->window + WINDOW_DATA)
        return false;
    virtio_lock(p->v);
    out->bar = cap[WINDOW_BAR];
    out->offset = pci_get32(cap + WINDOW_OFFSET);
    out->size = pci_get32(cap + WINDOW_LENGTH);
    virtio_unlock(p->v);
    return (out->size == 1 || out->size == 2 || out->size == 4) &&
           (out->bar == VIRTIO_BAR || out->bar == MSIX_BAR) && out->offset % out->size == 0 &&
           out->offset < p->f.bar[out->bar].size;
}

static bool config_read(struct pci_function *f, unsigned offset, unsigned size, uint32_t *value)
{
    struct bar_access a;

    (void)size; /* the window's length counts; the caller cuts */
    if (!window_target((struct virtio_pci *)f, offset, &a))
        return false;
    *value = bar_read(f, a.bar, a.offset, a.size);
    return true;
}

static bool config_write(struct pci_function *f, unsigned offset, unsigned size, uint32_t value)
{
    struct bar_access a;

    (void)size;
    if (!window_target((struct virtio_pci *)f, offset, &a))
        return false;
    bar_write(f, a.bar, a.offset, a.size, value);
    return true;
}

/* --- the function --- */

static void msix_changed(struct pci_function *f)
{
    update_intx((struct virtio_pci *)f);
}

static void function_reset(struct pci_function *f)
{
    struct virtio_pci *p = (struct virtio_pci *)f;

    virtio_reset(p->v);
    virtio_lock(p->v);
    pci_function_reset(f);
    virtio_unlock(p->v);
}

static void function_quiesce(struct pci_function *f)
{
    struct virtio_pci *p = (struct virtio_pci *)f;

    if (p->v->ops->quiesce)
        p->v->ops->quiesce(p->v, false);
}

static void function_destroy(struct pci_function *f)
{
    struct virtio_pci *p = (struct virtio_pci *)f;

    virtio_destroy(p->v);
    pci_function_fini(f);
    sim_free(p->label);
    sim_free(p);
}

static enum sim_status function_post_load(void *object)
{
    struct virtio_pci *p = object;

    p->config_vector = valid_vector(p, p->config_vector);
    for (unsigned n = 0; n < p->v->nr_queues; n++)
        p->v->queue[n].vector = valid_vector(p, p->v->queue[n].vector);
    return SIM_OK;
}

static const struct state_field function_fields[] = {
    STATE_SUB(struct virtio_pci, f, &pci_function_state),
    STATE_SCALAR(struct virtio_pci, STATE_U32, device_feature_select),
    STATE_SCALAR(struct virtio_pci, STATE_U32, driver_feature_select),
    STATE_SCALAR(struct virtio_pci, STATE_U16, queue_select),
    STATE_SCALAR(struct virtio_pci, STATE_U16, config_vector),
    STATE_PLUGGED(struct virtio_pci, plugged),
    STATE_END};
STATE_LAYOUT(function, struct virtio_pci,
              STATE_DERIVED(struct virtio_pci, v) STATE_DERIVED(struct virtio_pci, label)
              STATE_DERIVED(struct virtio_pci, window)
              STATE_PADDING(struct virtio_pci, window));
static const struct state_desc function_state = {.name = "virtio-pci",
                                                 .version = 1,
                                                 .fields = function_fields,
    STATE_LAYOUT_OF(function, struct virtio_pci),
                                                 .post_load = function_post_load};

static const struct pci_function_ops function_ops = {.name = "virtio-pci",
                                                     .bar_read = bar_read,
                                                     .bar_write = bar_write,
                                                     .config_read = config_read,
                                                     .config_write = config_write,
                                                     .msix_changed = msix_changed,
                                                     .reset = function_reset,
                                                     .quiesce = function_quiesce,
                                                     .destroy = function_destroy,
                                                     .state = &function_state};

/* 4.1.4: struct virtio_pci_cap */
static unsigned add_region(struct virtio_pci *p, uint8_t type, unsigned region, uint32_t length,
                           unsigned cap_len)
{
    unsigned at = pci_add_capability(&p->f, PCI_CAP_VENDOR, cap_len);
    uint8_t *c = p->f.initial + at;

    c[3] = type;
    c[4] = type == CFG_PCI ? 0 : VIRTIO_BAR;
    pci_put32(c + 8, region * REGION_SIZE);
    pci_put32(c + 12, length);
    return at;
}

static void add_capabilities(struct virtio_pci *p)
{
    pci_msix_init(&p->f, p->v->sim, MSIX_BAR, p->v->nr_queues + 1);
    add_region(p, CFG_COMMON, REGION_COMMON, 0x40, 16);
    add_region(p, CFG_ISR, REGION_ISR, 4, 16);
    add_region(p, CFG_DEVICE, REGION_DEVICE, REGION_SIZE, 16);
    unsigned notify = add_region(p, CFG_NOTIFY, REGION_NOTIFY, REGION_SIZE, 20);
    pci_put32(p->f.initial + notify + 16, NOTIFY_MULTIPLIER);
    p->window = (uint8_t)add_region(p, CFG_PCI, 0, 0, WINDOW_CAP);
    uint8_t *w = p->f.writable + p->window;
    w[WINDOW_BAR] = 0xff;
    pci_put32(w + WINDOW_OFFSET, UINT32_MAX);
    pci_put32(w + WINDOW_LENGTH, UINT32_MAX);
    pci_add_bar(&p->f, VIRTIO_BAR, NR_REGIONS * REGION_SIZE, PCI_BAR_64 | PCI_BAR_PREFETCH);
}

enum sim_status pcie_host_plug_virtio(struct device *host, struct virtio_device *v)
{
    const struct pci_ids ids = {.vendor = 0x1af4,
                                .device = (uint16_t)(0x1040 + v->ops->id),
                                .subsystem_vendor = 0x1af4,
                                .subsystem = 0x1100,
                                .revision = 1,
                                .class_code = v->ops->pci_class,
                                .interrupt = true};
    struct virtio_pci *p = sim_new(struct virtio_pci);

    p->v = v;
    p->config_vector = VIRTIO_NO_VECTOR;
    p->plugged = (struct state_object){v->ops->state, v};
    pci_function_init(&p->f, &function_ops, &v->lock, &ids);
    add_capabilities(p);
    pci_function_ready(&p->f);
    enum sim_status status = pci_host_plug(host, &p->f);
    if (status != SIM_OK) {
        pci_function_fini(&p->f);
        sim_free(p);
        return status;
    }
    p->label = sim_asprintf("%s/%02x.0", host->label, p->f.slot);
    virtio_plug(v, pci_host_space(host), p->label, &pci_transport, p);
    return SIM_OK;
}
