/* IOAPIC of a PC (82093AA, with the EOI register of its successors): 24 pins, each with an entry that says which interrupt of
 * which CPU it is.
 *
 *   line high -> edge: a message, or nothing while the pin is masked
 *             -> level: a message; another one if the line is still high when that has ended
 *
 *   0x00 which register is at 0x10    0x10 it: 0 id, 1 version, 0x10 + 2n and 0x11 + 2n the two halves of entry n
 *   0x40 the vector of a level-triggered interrupt that has ended (local APICs tell)
 *
 * A message is a write to 0xfee00000 + destination * 4096, as of any device: where local APICs listen. One that none of them takes
 * is refused there: then a level is not under way, and is sent again when its line or its entry next changes. */
#include <string.h>

#include "dev_priv.h"

enum { NR_PINS = 24, VERSION = 0x20 | (NR_PINS - 1) << 16 };
enum { SELECT = 0x00, WINDOW = 0x10, END_OF_INTERRUPT = 0x40 };
enum { REG_ID = 0, REG_VERSION = 1, REG_ENTRIES = 0x10 };

#define ENTRY_VECTOR 0xffull
#define ENTRY_MODE (7ull << 8)
#define ENTRY_LOGICAL (1ull << 11)
#define ENTRY_LOW (1ull << 13) /* kept, and taken for high: lines here are levels, not voltages */
#define ENTRY_REMOTE_IRR (1ull << 14)
#define ENTRY_LEVEL (1ull << 15)
#define ENTRY_MASKED (1ull << 16)
#define ENTRY_DEST (0xffull << 56)
#define ENTRY_WRITABLE (ENTRY_VECTOR | ENTRY_MODE | ENTRY_LOGICAL | ENTRY_LOW | ENTRY_LEVEL | ENTRY_MASKED | ENTRY_DEST)

#define MESSAGE_BASE 0xfee00000ull
enum { MESSAGE_DEST_SHIFT = 12, MESSAGE_LOGICAL = 1 << 2, MESSAGE_ASSERT = 1 << 14, MESSAGE_LEVEL = 1 << 15 };

/* Owner: `lock`, under which messages leave. Lifetime: the machine's. */
struct ioapic {
    struct device dev;
    struct mem_region region;
    struct mem_space *space;
    struct sim_mutex lock;
    uint32_t select, id;
    uint32_t level; /* of the lines, by pin */
    uint64_t entry[NR_PINS];
};

/* --- from pins to CPUs --- */

static void send(struct ioapic *d, unsigned pin)
{
    uint64_t e = d->entry[pin];
    gpa_t at = MESSAGE_BASE | e >> 56 << MESSAGE_DEST_SHIFT | (e & ENTRY_LOGICAL ? MESSAGE_LOGICAL : 0);
    uint64_t data = (e & (ENTRY_VECTOR | ENTRY_MODE)) | MESSAGE_ASSERT | (e & ENTRY_LEVEL ? MESSAGE_LEVEL : 0);

    if (mem_mmio_write(d->space, at, 4, data) == MEM_OK && e & ENTRY_LEVEL)
        d->entry[pin] |= ENTRY_REMOTE_IRR;
}

/* The pin may interrupt again, or its line has changed. */
static void update(struct ioapic *d, unsigned pin, bool rises)
{
    uint64_t e = d->entry[pin];

    if (e & ENTRY_MASKED)
        return;
    if (e & ENTRY_LEVEL ? d->level >> pin & 1 && !(e & ENTRY_REMOTE_IRR) : rises)
        send(d, pin);
}

static void ioapic_line(void *opaque, uint32_t pin, bool level)
{
    struct ioapic *d = opaque;
    const uint32_t bit = 1u << pin;

    sim_mutex_lock(&d->lock);
    bool rises = level && !(d->level & bit);
    d->level = level ? d->level | bit : d->level & ~bit;
    update(d, pin, rises);
    sim_mutex_unlock(&d->lock);
}

/* An interrupt with this vector has ended at some CPU. */
static void end_of_interrupt(struct ioapic *d, uint8_t vector)
{
    for (unsigned pin = 0; pin < NR_PINS; pin++) {
        if ((d->entry[pin] & ENTRY_VECTOR) != vector || !(d->entry[pin] & ENTRY_REMOTE_IRR))
            continue;
        d->entry[pin] &= ~ENTRY_REMOTE_IRR;
        update(d, pin, false);
    }
}

/* --- registers --- */

static uint32_t read_register(const struct ioapic *d)
{
    uint32_t n = d->select - REG_ENTRIES;

    if (d->select == REG_ID)
        return d->id;
    if (d->select == REG_VERSION)
        return VERSION;
    return n < 2 * NR_PINS ? (uint32_t)(d->entry[n / 2] >> n % 2 * 32) : 0;
}

/* An entry that is made edge-triggered has no interrupt at a CPU any more. */
static void write_entry(struct ioapic *d, uint32_t n, uint32_t value)
{
    uint64_t mask = (uint64_t)UINT32_MAX << n % 2 * 32, *e = &d->entry[n / 2];
    uint64_t kept = *e & ENTRY_REMOTE_IRR;

    *e = ((*e & ~mask) | ((uint64_t)value << n % 2 * 32)) & ENTRY_WRITABLE;
    if (*e & ENTRY_LEVEL)
        *e |= kept;
    update(d, n / 2, false);
}

static void write_register(struct ioapic *d, uint32_t value)
{
    uint32_t n = d->select - REG_ENTRIES;

    if (d->select == REG_ID)
        d->id = value & 0xf000000;
    else if (n < 2 * NR_PINS)
        write_entry(d, n, value);
}

static bool ioapic_read(void *opaque, uint64_t offset, unsigned size, uint64_t *value)
{
    struct ioapic *d = opaque;

    (void)size;
    sim_mutex_lock(&d->lock);
    *value = offset == SELECT ? d->select : offset == WINDOW ? read_register(d) : 0;
    sim_mutex_unlock(&d->lock);
    return true;
}

static bool ioapic_write(void *opaque, uint64_t offset, unsigned size, uint64_t value)
{
    struct ioapic *d = opaque;

    (void)size;
    sim_mutex_lock(&d->lock);
    if (offset == SELECT)
        d->select = value & 0xff;
    else if (offset == WINDOW)
        write_register(d, (uint32_t)value);
    else if (offset == END_OF_INTERRUPT)
        end_of_interrupt(d, (uint8_t)value);
    sim_mutex_unlock(&d->lock);
    return true;
}

static const struct mem_ops ioapic_mem_ops = {.read = ioapic_read, .write = ioapic_write, .min_size = 4, .max_size = 4};

/* --- life --- */

static void ioapic_reset(struct device *dev)
{
    struct ioapic *d = (struct ioapic *)dev;

    sim_mutex_lock(&d->lock);
    d->select = d->id = 0;
    for (unsigned pin = 0; pin < NR_PINS; pin++)
        d->entry[pin] = ENTRY_MASKED;
    sim_mutex_unlock(&d->lock);
}

static void ioapic_destroy(struct device *dev)
{
    struct ioapic *d = (struct ioapic *)dev;

    sim_mutex_fini(&d->lock);
    sim_free(d);
}

static const struct state_field ioapic_fields[] = {
    STATE_SCALAR(struct ioapic, STATE_U32, select), STATE_SCALAR(struct ioapic, STATE_U32, id),
    STATE_SCALAR(struct ioapic, STATE_U32, level), STATE_ARRAY(struct ioapic, STATE_U64, entry), STATE_END};
STATE_LAYOUT(ioapic, struct ioapic,
             STATE_DERIVED(struct ioapic, dev) STATE_DERIVED(struct ioapic, region)
             STATE_DERIVED(struct ioapic, space) STATE_DERIVED(struct ioapic, lock));
static const struct state_desc ioapic_state = {
    .name = "ioapic", .version = 1, .fields = ioapic_fields, STATE_LAYOUT_OF(ioapic, struct ioapic)};
static const struct device_ops ioapic_ops = {
    .name = "ioapic", .reset = ioapic_reset, .destroy = ioapic_destroy, .state = &ioapic_state};

static enum sim_status ioapic_create(const struct dev_args *args, struct device **out)
{
    SIM_TRY(dev_need_regs(args, 1));
    struct ioapic *d = sim_new(struct ioapic);

    dev_init(&d->dev, &ioapic_ops, args);
    d->space = args->space;
    sim_mutex_init(&d->lock, SIM_RANK_IRQCHIP);
    ioapic_reset(&d->dev);
    enum sim_status status = dev_map(&d->region, &d->dev, args, 0, &ioapic_mem_ops);
    if (status != SIM_OK) {
        dev_destroy(&d->dev);
        return status;
    }
    *out = &d->dev;
    return SIM_OK;
}

static struct irq_line ioapic_input(struct device *dev, uint32_t pin)
{
    return pin < NR_PINS ? (struct irq_line){ioapic_line, dev, pin} : (struct irq_line){0};
}

static const char *const ioapic_compatible[] = {"intel,ce4100-ioapic", NULL};
const struct dev_driver ioapic_driver = {
    .compatible = ioapic_compatible, .create = ioapic_create, .input = ioapic_input};
