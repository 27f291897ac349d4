/* MSI-X (PCI 3.0, 6.8.2): vectors become 32-bit writes to guest memory, usually to an interrupt
 * controller. A hostile guest may point one at any device, even at its own notify register: messages
 * leave with no lock held, and never more than DELIVER_MAX in one go. */
#include "pci/pci.h"
#include "sim-core/log.h"

enum { MSIX_ENTRY = 16, MSIX_MASKED = 1, DELIVER_MAX = 256 };
enum { CONTROL_ENABLE = 0x8000, CONTROL_MASK_ALL = 0x4000 };

static void deliver_again(void *opaque)
{
    pci_msix_deliver(opaque);
}

void pci_msix_init(struct pci_function *f, struct sim *sim, unsigned bar, unsigned nr)
{
    unsigned cap = pci_add_capability(f, PCI_CAP_MSIX, 12);

    SIM_BUG_ON(nr > PCI_MSIX_MAX, "%s: %u MSI-X vectors", f->ops->name, nr);
    f->msix.cap = (uint8_t)cap;
    f->msix.bar = (uint8_t)bar;
    f->msix.nr = (uint16_t)nr;
    f->msix.again = sim_timer_create(sim, deliver_again, f);
    pci_put16(f->initial + cap + 2, (uint16_t)(nr - 1));
    pci_put16(f->writable + cap + 2, CONTROL_ENABLE | CONTROL_MASK_ALL);
    pci_put32(f->initial + cap + 4, bar); /* the table is at the BAR's start */
    pci_put32(f->initial + cap + 8, PCI_MSIX_PBA | bar);
    pci_add_bar(f, bar, PCI_MSIX_BAR_SIZE, 0);
}

void pci_msix_fini(struct pci_function *f)
{
    if (f->msix.again)
        sim_timer_destroy(f->msix.again);
}

void pci_msix_reset(struct pci_function *f)
{
    f->msix.pending = f->msix.firing = 0;
    for (unsigned i = 0; i < PCI_MSIX_MAX; i++)
        f->msix.entry[i] = (struct pci_msix_entry){.control = MSIX_MASKED};
}

static uint16_t control(const struct pci_function *f)
{
    return f->msix.cap ? pci_get16(f->config + f->msix.cap + 2) : 0;
}

bool pci_msix_enabled(const struct pci_function *f)
{
    return control(f) & CONTROL_ENABLE;
}

static bool is_masked(const struct pci_function *f, unsigned vector)
{
    return control(f) & CONTROL_MASK_ALL || f->msix.entry[vector].control & MSIX_MASKED;
}

void pci_msix_notify(struct pci_function *f, unsigned vector)
{
    if (vector >= f->msix.nr || !pci_msix_enabled(f))
        return;
    if (is_masked(f, vector))
        f->msix.pending |= 1u << vector;
    else
        f->msix.firing |= 1u << vector;
}

void pci_msix_unmasked(struct pci_function *f)
{
    if (!pci_msix_enabled(f))
        return;
    for (unsigned vector = 0; vector < f->msix.nr; vector++) {
        if (f->msix.pending >> vector & 1 && !is_masked(f, vector)) {
            f->msix.pending &= ~(1u << vector);
            f->msix.firing |= 1u << vector;
        }
    }
}

void pci_msix_deliver(struct pci_function *f)
{
    struct pci_msix *m = &f->msix;
    unsigned left = DELIVER_MAX;

    sim_mutex_lock(f->lock);
    if (m->delivering) {
        sim_mutex_unlock(f->lock);
        return;
    }
    m->delivering = true;
    while (m->firing && left--) {
        unsigned vector = (unsigned)__builtin_ctz(m->firing);
        const struct pci_msix_entry e = m->entry[vector];
        m->firing &= ~(1u << vector);
        if (!(pci_get16(f->config + PCI_COMMAND) & PCI_COMMAND_MASTER))
            continue;
        sim_mutex_unlock(f->lock);
        /* Nothing at that address: the message is lost, as on a real bus. */
        (void)mem_write(f->space, e.address & ~3ull, &e.data, sizeof e.data);
        sim_mutex_lock(f->lock);
    }
    m->delivering = false;
    if (m->firing)
        sim_timer_arm(m->again, 0);
    sim_mutex_unlock(f->lock);
}

/* --- the table's BAR --- */

static uint32_t *table_word(struct pci_function *f, uint64_t offset)
{
    struct pci_msix_entry *e = &f->msix.entry[offset / MSIX_ENTRY];

    switch (offset % MSIX_ENTRY) {
    case 8:
        return &e->data;
    case 12:
        return &e->control;
    default:
        return NULL; /* the address: two halves of one word */
    }
}

uint32_t pci_msix_read(struct pci_function *f, uint64_t offset, unsigned size)
{
    uint64_t word = offset & ~3ull;
    uint32_t value = 0;

    if (word < (uint64_t)f->msix.nr * MSIX_ENTRY) {
        const uint32_t *p = table_word(f, word);
        value = p ? *p : (uint32_t)(f->msix.entry[word / MSIX_ENTRY].address >> (word & 4) * 8);
    } else if (word == PCI_MSIX_PBA) {
        value = f->msix.pending;
    }
    value >>= (offset & 3) * 8;
    return size == 4 ? value : value & ((1u << (size * 8)) - 1);
}

void pci_msix_write(struct pci_function *f, uint64_t offset, unsigned size, uint32_t value)
{
    if (size != 4 || offset & 3 || offset >= (uint64_t)f->msix.nr * MSIX_ENTRY)
        return; /* 6.8.2: whole words only; the pending bits are read-only */
    uint32_t *p = table_word(f, offset);

    if (p) {
        *p = offset % MSIX_ENTRY == 12 ? value & MSIX_MASKED : value;
    } else {
        uint64_t *address = &f->msix.entry[offset / MSIX_ENTRY].address;
        unsigned shift = offset & 4 ? 32 : 0;
        *address = (*address & ~(0xffffffffull << shift)) | (uint64_t)value << shift;
    }
    pci_msix_unmasked(f);
}

/* --- saved state --- */

static const struct state_field entry_fields[] = {
    STATE_SCALAR(struct pci_msix_entry, STATE_U64, address),
    STATE_SCALAR(struct pci_msix_entry, STATE_U32, data),
    STATE_SCALAR(struct pci_msix_entry, STATE_U32, control),
    STATE_END};
STATE_LAYOUT(entry, struct pci_msix_entry,
             );
static const struct state_desc entry_state = {
    .name = "msix-entry", .version = 1, .fields = entry_fields,
    STATE_LAYOUT_OF(entry, struct pci_msix_entry)};

static enum sim_status msix_post_load(void *object)
{
    struct pci_msix *m = object;
    uint32_t valid = (1u << m->nr) - 1;

    m->pending &= valid;
    m->firing &= valid;
    if (m->firing)
        sim_timer_arm(m->again, 0);
    return SIM_OK;
}

static const struct state_field msix_fields[] = {
    STATE_SCALAR(struct pci_msix, STATE_U32, pending),
    STATE_SCALAR(struct pci_msix, STATE_U32, firing),
    STATE_STRUCTS(struct pci_msix, entry, PCI_MSIX_MAX, &entry_state),
    STATE_END};
STATE_LAYOUT(msix, struct pci_msix,
              STATE_DERIVED(struct pci_msix, cap) STATE_DERIVED(struct pci_msix, bar)
              STATE_DERIVED(struct pci_msix, nr) STATE_DERIVED(struct pci_msix, delivering)
              STATE_DERIVED(struct pci_msix, again));
const struct state_desc pci_msix_state = {
    .name = "msix", .version = 1, .fields = msix_fields,
    STATE_LAYOUT_OF(msix, struct pci_msix), .post_load = msix_post_load};
