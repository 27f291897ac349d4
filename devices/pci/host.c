/* The generic PCIe host ("pci-host-ecam-generic"): ECAM, memory windows, four interrupt lines.
 *
 *   reg[0]    ECAM: bus << 20 | slot << 15 | function << 12 | register; only bus 0, function 0 exist
 *   range[]   windows onto the bus; an address that no BAR decodes reads as ones
 *   irq[0..3] the lines of slot 0's INTA..D; slot n's INTA is line n % 4 (the usual swizzle) */
#include "dev_priv.h"
#include "pci/pci.h"

enum { MAX_WINDOWS = 8, LINES = 4 };
enum { ECAM_BUS_BITS = 20, ECAM_SLOT_BITS = 15, ECAM_FUNCTION_BITS = 12 };

struct window {
    struct pci_host *host;
    struct mem_region region;
    uint64_t child; /* bus address of the first byte */
    bool io;
};

/* Owner: launch. Slots and windows are fixed before the executors start; `asserted` is guarded by
 * lock. */
struct pci_host {
    struct device dev;
    struct mem_space *space;
    struct mem_region ecam;
    struct window window[MAX_WINDOWS];
    struct irq_line irq[LINES];
    struct sim_mutex lock;
    uint32_t asserted[LINES]; /* per line: slots whose INTx is high */
    struct pci_function *slot[PCI_SLOTS];
    struct state_object plugged[PCI_SLOTS];
    struct pci_function bridge; /* slot 0: the host bridge itself */
    struct sim_mutex bridge_lock;
};

static uint64_t ones(unsigned size)
{
    return (1ull << (size * 8)) - 1; /* size <= 4 */
}

/* --- configuration space --- */

static struct pci_function *function_at(struct pci_host *h, uint64_t offset)
{
    bool exists = offset >> ECAM_BUS_BITS == 0 && (offset >> ECAM_FUNCTION_BITS & 7) == 0;

    return exists ? h->slot[offset >> ECAM_SLOT_BITS & (PCI_SLOTS - 1)] : NULL;
}

static bool ecam_read(void *opaque, uint64_t offset, unsigned size, uint64_t *value)
{
    struct pci_function *f = function_at(opaque, offset);
    unsigned reg = offset & 0xfff;

    *value = f && reg < PCI_CONFIG_SIZE ? pci_config_read(f, reg, size) : ones(size);
    return true;
}

static bool ecam_write(void *opaque, uint64_t offset, unsigned size, uint64_t value)
{
    struct pci_function *f = function_at(opaque, offset);
    unsigned reg = offset & 0xfff;

    if (f && reg < PCI_CONFIG_SIZE)
        pci_config_write(f, reg, size, (uint32_t)value);
    return true;
}

static const struct mem_ops ecam_ops = {.read = ecam_read, .write = ecam_write, .max_size = 4};

/* --- windows --- */

static struct pci_function *decode(struct window *w, uint64_t in_window, unsigned *bar,
                                   uint64_t *offset)
{
    uint64_t address = w->child + in_window;

    if (w->io)
        return NULL; /* no function has I/O ports */
    for (unsigned s = 1; s < PCI_SLOTS && w->host->slot[s]; s++) {
        struct pci_function *f = w->host->slot[s];
        for (unsigned i = 0; i < PCI_BARS; i++) {
            uint64_t base = atomic_load_explicit(&f->bar[i].base, memory_order_relaxed);
            if (base != PCI_BAR_OFF && address - base < f->bar[i].size) {
                *bar = i;
                *offset = address - base;
                return f;
            }
        }
    }
    return NULL;
}

static bool window_read(void *opaque, uint64_t offset, unsigned size, uint64_t *value)
{
    unsigned bar;
    uint64_t at;
    struct pci_function *f = decode(opaque, offset, &bar, &at);

    *value = f ? f->ops->bar_read(f, bar, at, size) : ones(size);
    return true;
}

static bool window_write(void *opaque, uint64_t offset, unsigned size, uint64_t value)
{
    unsigned bar;
    uint64_t at;
    struct pci_function *f = decode(opaque, offset, &bar, &at);

    if (f)
        f->ops->bar_write(f, bar, at, size, (uint32_t)value);
    return true;
}

static const struct mem_ops window_ops = {.read = window_read, .write = window_write, .max_size = 4};

/* --- interrupts --- */

void pci_host_set_intx(struct pci_host *h, unsigned slot, bool level)
{
    unsigned line = slot % LINES;

    sim_mutex_lock(&h->lock);
    uint32_t old = h->asserted[line], bit = 1u << slot;

    h->asserted[line] = level ? old | bit : old & ~bit;
    if (!old != !h->asserted[line])
        irq_set(&h->irq[line], !old);
    sim_mutex_unlock(&h->lock);
}

/* --- slots --- */

struct mem_space *pci_host_space(struct device *host)
{
    return ((struct pci_host *)host)->space;
}

static void occupy(struct pci_host *h, unsigned slot, struct pci_function *f)
{
    f->host = h;
    f->space = h->space;
    f->slot = slot;
    h->slot[slot] = f;
    h->plugged[slot] = (struct state_object){f->ops->state, f};
}

static const struct device_ops host_ops;

enum sim_status pci_host_plug(struct device *host, struct pci_function *f)
{
    struct pci_host *h = (struct pci_host *)host;

    SIM_BUG_ON(host->ops != &host_ops, "%s is not a PCI host", host->label);
    for (unsigned slot = 1; slot < PCI_SLOTS; slot++) {
        if (!h->slot[slot]) {
            occupy(h, slot, f);
            return SIM_OK;
        }
    }
    sim_error("device '%s': no free slot for %s", host->label, f->ops->name);
    return SIM_ERR_BUSY;
}

/* The host bridge: something to find at 00:00.0, with nothing to set. */
static void bridge_reset(struct pci_function *f)
{
    sim_mutex_lock(f->lock);
    pci_function_reset(f);
    sim_mutex_unlock(f->lock);
}

static void bridge_destroy(struct pci_function *f)
{
    pci_function_fini(f);
}

static const struct pci_function_ops bridge_ops = {.name = "pci-host-bridge",
                                                   .reset = bridge_reset,
                                                   .destroy = bridge_destroy,
                                                   .state = &pci_function_state};

static void add_bridge(struct pci_host *h)
{
    /* QEMU's generic host bridge, which guests know */
    static const struct pci_ids ids = {.vendor = 0x1b36, .device = 0x0008, .class_code = 0x060000,
                                       .subsystem_vendor = 0x1af4, .subsystem = 0x1100};

    sim_mutex_init(&h->bridge_lock, SIM_RANK_DEVICE);
    pci_function_init(&h->bridge, &bridge_ops, &h->bridge_lock, &ids);
    pci_function_ready(&h->bridge);
    occupy(h, 0, &h->bridge);
}

/* --- life --- */

static void host_reset(struct device *d)
{
    struct pci_host *h = (struct pci_host *)d;

    for (unsigned i = 0; i < PCI_SLOTS; i++)
        if (h->slot[i])
            h->slot[i]->ops->reset(h->slot[i]);
}

static void host_destroy(struct device *d)
{
    struct pci_host *h = (struct pci_host *)d;

    for (unsigned i = 0; i < PCI_SLOTS; i++)
        if (h->slot[i])
            h->slot[i]->ops->destroy(h->slot[i]);
    sim_mutex_fini(&h->bridge_lock);
    sim_mutex_fini(&h->lock);
    sim_free(h);
}

static void host_pre_save(void *object)
{
    struct pci_host *h = object;

    for (unsigned i = 0; i < PCI_SLOTS; i++)
        if (h->slot[i] && h->slot[i]->ops->quiesce)
            h->slot[i]->ops->quiesce(h->slot[i]);
}

static const struct state_field host_fields[] = {STATE_PLUGGED(struct pci_host, plugged), STATE_END};
STATE_LAYOUT(host, struct pci_host,
              STATE_DERIVED(struct pci_host, dev) STATE_DERIVED(struct pci_host, space)
              STATE_DERIVED(struct pci_host, ecam) STATE_DERIVED(struct pci_host, window)
              STATE_DERIVED(struct pci_host, irq) STATE_DERIVED(struct pci_host, lock)
              STATE_DERIVED(struct pci_host, asserted) STATE_DERIVED(struct pci_host, slot)
              STATE_DERIVED(struct pci_host, bridge_lock)
              STATE_DERIVED(struct pci_host, bridge)); /* saved as what slot 0 has */
static const struct state_desc host_state = {
    .name = "pcie-host", .version = 1, .fields = host_fields,
    STATE_LAYOUT_OF(host, struct pci_host), .pre_save = host_pre_save};
static const struct device_ops host_ops = {
    .name = "pcie-host", .reset = host_reset, .destroy = host_destroy, .state = &host_state};

static enum sim_status map_window(struct pci_host *h, struct window *w, const struct dev_range *r)
{
    *w = (struct window){.host = h, .child = r->child, .io = (r->space >> 24 & 3) == 1};
    w->region = (struct mem_region){.name = h->dev.label,
                                    .base = r->base,
                                    .size = r->size,
                                    .ops = &window_ops,
                                    .opaque = w};
    return mem_add_mmio(h->space, &w->region);
}

static enum sim_status map_all(struct pci_host *h, const struct dev_args *args)
{
    unsigned n = 0;

    for (unsigned i = 0; i < args->nr_range; i++) {
        if (!(args->range[i].space >> 24 & 3) || !args->range[i].size)
            continue; /* configuration space, or nothing */
        if (n == MAX_WINDOWS) {
            sim_error("device '%s': more than %d windows in 'ranges'", args->label, MAX_WINDOWS);
            return SIM_ERR_INVALID;
        }
        SIM_TRY(map_window(h, &h->window[n++], &args->range[i]));
    }
    if (!n)
        sim_warn("device '%s': no windows in 'ranges': nothing behind it can be reached",
                 args->label);
    return dev_map(&h->ecam, &h->dev, args, 0, &ecam_ops);
}

static enum sim_status host_create(const struct dev_args *args, struct device **out)
{
    SIM_TRY(dev_need_regs(args, 1));
    if (args->reg[0].size < 1u << ECAM_BUS_BITS) {
        sim_error("device '%s': its configuration range is shorter than one bus (1 MiB)",
                  args->label);
        return SIM_ERR_INVALID;
    }
    struct pci_host *h = sim_new(struct pci_host);

    dev_init(&h->dev, &host_ops, args);
    h->space = args->space;
    sim_mutex_init(&h->lock, SIM_RANK_BUS);
    for (unsigned i = 0; i < LINES; i++)
        h->irq[i] = dev_irq(args, i);
    add_bridge(h);
    enum sim_status status = map_all(h, args);
    if (status != SIM_OK) {
        for (unsigned i = 0; i < MAX_WINDOWS; i++)
            if (h->window[i].host)
                mem_remove_mmio(h->space, &h->window[i].region);
        dev_destroy(&h->dev);
        return status;
    }
    *out = &h->dev;
    return SIM_OK;
}

static const char *const host_compatible[] = {"pci-host-ecam-generic", NULL};
const struct dev_driver pci_host_driver = {.compatible = host_compatible, .create = host_create};
