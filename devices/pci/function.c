/* A PCI function's configuration space: masks, BAR decoding, INTx. */
#include <string.h>

#include "pci/pci.h"
#include "sim-core/log.h"

static const struct {
    uint16_t offset, bits;
} writable_words[] = {
    {PCI_COMMAND, PCI_COMMAND_MEMORY | PCI_COMMAND_MASTER | PCI_COMMAND_NO_INTX},
    {PCI_INTERRUPT_LINE, 0xff},
};

void pci_function_init(struct pci_function *f, const struct pci_function_ops *ops,
                       struct sim_mutex *lock, const struct pci_ids *ids)
{
    uint8_t *c = f->initial;

    f->ops = ops;
    f->lock = lock;
    pci_put16(c + PCI_VENDOR, ids->vendor);
    pci_put16(c + PCI_DEVICE, ids->device);
    c[PCI_REVISION] = ids->revision;
    c[PCI_CLASS] = (uint8_t)ids->class_code;
    pci_put16(c + PCI_CLASS + 1, (uint16_t)(ids->class_code >> 8));
    pci_put16(c + PCI_SUBSYSTEM_VENDOR, ids->subsystem_vendor);
    pci_put16(c + PCI_SUBSYSTEM, ids->subsystem);
    c[PCI_INTERRUPT_PIN] = ids->interrupt;
    for (unsigned i = 0; i < SIM_ARRAY_LEN(writable_words); i++)
        pci_put16(f->writable + writable_words[i].offset, writable_words[i].bits);
    for (unsigned i = 0; i < PCI_BARS; i++)
        atomic_init(&f->bar[i].base, PCI_BAR_OFF);
}

void pci_add_bar(struct pci_function *f, unsigned bar, uint64_t size, uint8_t flags)
{
    uint64_t address_bits = ~(size - 1);

    f->bar[bar].size = size;
    f->bar[bar].flags = flags;
    f->initial[PCI_BAR0 + bar * 4] = flags;
    pci_put32(f->writable + PCI_BAR0 + bar * 4, (uint32_t)address_bits);
    if (flags & PCI_BAR_64)
        pci_put32(f->writable + PCI_BAR0 + (bar + 1) * 4, (uint32_t)(address_bits >> 32));
}

unsigned pci_add_capability(struct pci_function *f, uint8_t id, unsigned len)
{
    uint8_t *c = f->initial;
    unsigned link = PCI_CAPABILITIES, at = 0x40;

    /* The list is in address order: walk to its end. */
    while (c[link]) {
        unsigned cap = c[link];
        at = cap + (c[cap] == PCI_CAP_MSIX ? 12u : c[cap + 2]);
        link = cap + 1;
    }
    at = (at + 3) & ~3u;
    SIM_BUG_ON(at + len > PCI_CONFIG_SIZE, "%s: capabilities do not fit", f->ops->name);
    c[link] = (uint8_t)at;
    c[at] = id;
    if (id == PCI_CAP_VENDOR)
        c[at + 2] = (uint8_t)len;
    c[PCI_STATUS] |= PCI_STATUS_CAPABILITIES;
    return at;
}

void pci_function_ready(struct pci_function *f)
{
    memcpy(f->config, f->initial, sizeof f->config);
    pci_msix_reset(f);
}

void pci_function_fini(struct pci_function *f)
{
    pci_msix_fini(f);
}

/* --- what the registers mean --- */

static uint16_t command(const struct pci_function *f)
{
    return pci_get16(f->config + PCI_COMMAND);
}

static void update_bars(struct pci_function *f)
{
    bool on = command(f) & PCI_COMMAND_MEMORY;

    for (unsigned i = 0; i < PCI_BARS; i++) {
        struct pci_bar *b = &f->bar[i];
        if (!b->size)
            continue;
        uint64_t base = pci_get32(f->config + PCI_BAR0 + i * 4) & ~15u;
        if (b->flags & PCI_BAR_64)
            base |= (uint64_t)pci_get32(f->config + PCI_BAR0 + (i + 1) * 4) << 32;
        atomic_store_explicit(&b->base, on && base ? base : PCI_BAR_OFF, memory_order_relaxed);
    }
}

static void update_intx(struct pci_function *f)
{
    if (f->intx)
        f->config[PCI_STATUS] |= PCI_STATUS_INTX;
    else
        f->config[PCI_STATUS] &= (uint8_t)~PCI_STATUS_INTX;
    if (f->host)
        pci_host_set_intx(f->host, f->slot, f->intx && !(command(f) & PCI_COMMAND_NO_INTX));
}

void pci_set_intx(struct pci_function *f, bool level)
{
    if (level == f->intx)
        return;
    f->intx = level;
    update_intx(f);
}

void pci_function_reset(struct pci_function *f)
{
    memcpy(f->config, f->initial, sizeof f->config);
    f->intx = false;
    pci_msix_reset(f);
    update_bars(f);
    update_intx(f);
}

void pci_unlock(struct pci_function *f)
{
    bool fire = f->msix.firing;

    sim_mutex_unlock(f->lock);
    if (fire)
        pci_msix_deliver(f);
}

/* --- accesses --- */

uint32_t pci_config_read(struct pci_function *f, unsigned offset, unsigned size)
{
    uint32_t value = 0;

    if (f->ops->config_read && f->ops->config_read(f, offset, size, &value))
        return value;
    sim_mutex_lock(f->lock);
    for (unsigned i = 0; i < size; i++)
        value |= (uint32_t)f->config[offset + i] << (i * 8);
    sim_mutex_unlock(f->lock);
    return value;
}

static bool touches(unsigned offset, unsigned size, unsigned at, unsigned len)
{
    return offset < at + len && at < offset + size;
}

void pci_config_write(struct pci_function *f, unsigned offset, unsigned size, uint32_t value)
{
    if (f->ops->config_write && f->ops->config_write(f, offset, size, value))
        return;
    sim_mutex_lock(f->lock);
    for (unsigned i = 0; i < size; i++) {
        uint8_t *c = &f->config[offset + i], bits = f->writable[offset + i];
        *c = (uint8_t)((*c & ~bits) | ((value >> (i * 8)) & bits));
    }
    if (touches(offset, size, PCI_COMMAND, 2) || touches(offset, size, PCI_BAR0, PCI_BARS * 4))
        update_bars(f);
    if (touches(offset, size, PCI_COMMAND, 2))
        update_intx(f);
    if (f->msix.cap && touches(offset, size, f->msix.cap + 2u, 2)) {
        pci_msix_unmasked(f);
        if (f->ops->msix_changed)
            f->ops->msix_changed(f);
    }
    pci_unlock(f);
}

/* --- saved state --- */

/* An image cannot change what the guest could not: ids, capabilities, BAR sizes. */
static enum sim_status function_post_load(void *object)
{
    struct pci_function *f = object;

    for (unsigned i = 0; i < PCI_CONFIG_SIZE; i++)
        f->config[i] =
            (uint8_t)((f->config[i] & f->writable[i]) | (f->initial[i] & ~f->writable[i]));
    f->intx = f->intx != 0;
    update_bars(f);
    update_intx(f);
    return SIM_OK;
}

static const struct state_field function_fields[] = {
    STATE_ARRAY(struct pci_function, STATE_U8, config),
    STATE_SCALAR(struct pci_function, STATE_U8, intx),
    STATE_SUB(struct pci_function, msix, &pci_msix_state),
    STATE_END};

STATE_LAYOUT(function, struct pci_function,
              STATE_DERIVED(struct pci_function, ops) STATE_DERIVED(struct pci_function, host)
              STATE_DERIVED(struct pci_function, space) STATE_DERIVED(struct pci_function, lock)
              STATE_DERIVED(struct pci_function, slot)
              STATE_DERIVED(struct pci_function, writable)
              STATE_DERIVED(struct pci_function, initial) STATE_DERIVED(struct pci_function, bar));
const struct state_desc pci_function_state = {
    .name = "pci-function", .version = 1, .fields = function_fields,
    STATE_LAYOUT_OF(function, struct pci_function), .post_load = function_post_load};
