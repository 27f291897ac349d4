/* The devices of a device tree.
 *
 *   a node with a driver -> its reg, ranges, interrupt lines -> dev_args -> created, remembered by phandle
 *   one that nothing implements -> reads as zero */
#include <string.h>

#include "kvm/hkvm.h"
#include "machine_priv.h"
#include "sim-core/alloc.h"
#include "sim-core/log.h"

struct target *machine_target_of(struct builder *b, uint32_t phandle)
{
    const struct fdt_phandle *p = fdt_walk_phandle(&b->walk, phandle);

    return p ? &b->target[p - b->walk.index] : NULL;
}

void machine_remember(struct builder *b, int node, struct target t)
{
    struct target *slot = machine_target_of(b, fdt_get_phandle(b->m->fdt, node));

    if (slot)
        *slot = t;
}

static struct irq_line line_to(struct builder *b, const struct fdt_irq *irq)
{
    struct target *t = machine_target_of(b, irq->controller);

    if (!t || irq->number == UINT32_MAX)
        return (struct irq_line){0};
    if (t->ioapic)
        return irq->trigger == FDT_IRQ_EDGE_RISING ? hkvm_machine_edge_irq(b->m->kvm, irq->number)
                                                   : hkvm_machine_irq(b->m->kvm, irq->number);
    if (t->hart)
        return irq->number < 64 ? rv_hart_irq(t->hart, irq->number) : (struct irq_line){0};
    if (t->device && t->driver->input)
        return t->driver->input(t->device, irq->number);
    return (struct irq_line){0};
}

struct node_ref {
    const struct fdt_walk *walk;
    int node;
};

static uint32_t prop_u32(const void *node, const char *name, uint32_t dflt)
{
    const struct node_ref *ref = node;

    return fdt_walk_u32(ref->walk, ref->node, name, dflt);
}

static const struct dev_driver *driver_of(struct builder *b, int node)
{
    int len;
    const char *list = fdt_getprop(b->m->fdt, node, "compatible", &len);

    for (int at = 0; list && at < len; at += (int)strlen(list + at) + 1) {
        const struct dev_driver *d = dev_find_driver(list + at);
        if (d)
            return d;
    }
    return NULL;
}

static bool is_uart(struct builder *b, int node)
{
    return fdt_node_check_compatible(b->m->fdt, node, "ns16550a") == 0 ||
           fdt_node_check_compatible(b->m->fdt, node, "ns16550") == 0;
}

/* The first UART of the tree is the console of the built-in SBI, on all ranks: harts call it wherever they are. */
static void note_sbi_uart(struct builder *b, int node, const struct dev_reg *reg)
{
    b->m->sbi_uart = (struct machine_uart){reg->base, reg->size,
                                           fdt_walk_u32(&b->walk, node, "reg-shift", 0) & 7,
                                           fdt_walk_u32(&b->walk, node, "reg-io-width", 1)};
}

/* The n-th UART of the tree gets the n-th -serial; the rest are connected to nothing. */
static enum sim_status uart_backend(struct builder *b, int node, struct dev_args *args)
{
    struct machine *m = b->m;
    unsigned n = b->nr_uarts++;

    if (n >= CONFIG_MAX_SERIALS)
        return SIM_OK;
    const char *spec = n < m->config->nr_serials ? m->config->serial[n] : n ? "null" : "stdio";
    SIM_TRY(chardev_create(m->sim, spec, &m->serial[n]));
    m->nr_serials = n + 1;
    args->chardev = m->serial[n];
    if (n == 0 && args->nr_reg)
        note_sbi_uart(b, node, &args->reg[0]);
    return SIM_OK;
}

static void keep_device(struct machine *m, struct device *d)
{
    m->devices = sim_realloc(m->devices, (m->nr_devices + 1) * sizeof(m->devices[0]));
    m->devices[m->nr_devices++] = d;
}

static enum sim_status create_device(struct builder *b, int node, const struct dev_driver *driver,
                                     struct dev_args *args)
{
    struct device *d = NULL;

    if (is_uart(b, node))
        SIM_TRY(uart_backend(b, node, args));
    SIM_TRY(driver->create(args, &d));
    keep_device(b->m, d);
    machine_remember(b, node, (struct target){.device = d, .driver = driver});
    return SIM_OK;
}

static void time_moved(void *opaque, uint64_t offset)
{
    rv_machine_set_time_offset(opaque, offset);
}

static enum sim_status add_device(struct builder *b, int node, const struct dev_driver *driver)
{
    struct machine *m = b->m;
    struct node_ref ref = {&b->walk, node};
    struct dev_reg *reg = NULL;
    struct dev_range *range = NULL;
    struct fdt_irq *irq = NULL;
    struct dev_args args = {.sim = m->sim,
                            .space = m->space,
                            .label = fdt_walk_name(&b->walk, node),
                            .timebase_hz = m->cpus ? rv_machine_timebase(m->cpus) : 0,
                            .time_moved = m->cpus ? time_moved : NULL,
                            .time_opaque = m->cpus,
                            .prop_u32 = prop_u32,
                            .node = &ref};

    SIM_TRY(fdt_walk_reg(&b->walk, node, &reg, &args.nr_reg));
    enum sim_status status = fdt_walk_ranges(&b->walk, node, &range, &args.nr_range);
    if (status == SIM_OK)
        status = fdt_walk_irqs(&b->walk, node, &irq, &args.nr_irq);
    struct irq_line *lines = sim_new_array(struct irq_line, args.nr_irq);
    uint32_t *numbers = sim_new_array(uint32_t, args.nr_irq);
    for (unsigned i = 0; i < args.nr_irq; i++) {
        lines[i] = line_to(b, &irq[i]);
        numbers[i] = irq[i].number;
    }
    args.reg = reg;
    args.range = range;
    args.irq = lines;
    args.irq_number = numbers;
    if (status == SIM_OK)
        status = create_device(b, node, driver, &args);
    sim_free(numbers);
    sim_free(lines);
    sim_free(irq);
    sim_free(range);
    sim_free(reg);
    return status;
}

/* Nodes that describe no hardware of their own. */
static bool is_structural(struct builder *b, int node)
{
    static const char *const names[] = {"cpus", "chosen", "aliases", "reserved-memory", "memory"};
    const char *name = fdt_walk_name(&b->walk, node);

    if (fdt_parent_offset(b->m->fdt, node) != 0)
        return false;
    for (unsigned i = 0; i < SIM_ARRAY_LEN(names); i++)
        if (strncmp(name, names[i], strlen(names[i])) == 0)
            return true;
    return false;
}

static bool is_taken(struct mem_space *space, const struct dev_reg *reg)
{
    const struct mem_region *r;

    for (unsigned i = 0; (r = mem_nth(space, i)); i++)
        if (reg->base < r->base + r->size && r->base < reg->base + reg->size)
            return true;
    return false;
}

/* A node that nothing implements: listed once, reads as zero. Registers that a device has already are
 * left to it (syscon children and the like repeat their parent's). */
static enum sim_status add_absent(struct builder *b, int node)
{
    struct machine *m = b->m;
    struct dev_args args = {.sim = m->sim, .space = m->space, .label = fdt_walk_name(&b->walk, node)};
    struct dev_reg *reg;
    struct device *d;
    enum sim_status status = SIM_OK;
    unsigned n;

    SIM_TRY(fdt_walk_reg(&b->walk, node, &reg, &n));
    for (unsigned i = 0; i < n; i++)
        if (reg[i].size && !is_taken(m->space, &reg[i]))
            reg[args.nr_reg++] = reg[i];
    args.reg = reg;
    if (args.nr_reg) {
        sim_info("device tree: nothing implements '%s' at 0x%llx; it reads as zero", args.label,
                 (unsigned long long)reg[0].base);
        status = unimplemented_create(&args, &d);
        if (status == SIM_OK)
            keep_device(m, d);
    }
    sim_free(reg);
    return status;
}

/* The console alone is for ranks without devices. */
enum pass { PASS_CONTROLLERS, PASS_DEVICES, PASS_ABSENT, PASS_CONSOLE };

static enum sim_status find_console(struct builder *b, int node)
{
    struct dev_reg *reg = NULL;
    unsigned nr = 0;

    if (!is_uart(b, node) || b->nr_uarts++)
        return SIM_OK;
    enum sim_status status = fdt_walk_reg(&b->walk, node, &reg, &nr);
    if (status == SIM_OK && nr)
        note_sbi_uart(b, node, &reg[0]);
    sim_free(reg);
    return status;
}

static enum sim_status visit(struct builder *b, int node, enum pass pass)
{
    const void *fdt = b->m->fdt;
    const struct dev_driver *driver = driver_of(b, node);
    bool has_reg = fdt_getprop(fdt, node, "reg", NULL) != NULL;

    if (pass == PASS_CONSOLE)
        return find_console(b, node);
    if (pass == PASS_ABSENT)
        return !driver && has_reg ? add_absent(b, node) : SIM_OK;
    if (!driver || (driver->input != NULL) != (pass == PASS_CONTROLLERS))
        return SIM_OK;
    return add_device(b, node, driver);
}

/* Walks the enabled nodes below `parent`; a device's children are its own business. */
static enum sim_status walk(struct builder *b, int parent, enum pass pass, unsigned depth)
{
    const void *fdt = b->m->fdt;
    int node;

    if (depth > 8)
        return SIM_OK;
    fdt_for_each_subnode(node, fdt, parent) {
        if (is_structural(b, node) || !fdt_walk_enabled(&b->walk, node))
            continue;
        SIM_TRY(visit(b, node, pass));
        bool bus = fdt_getprop(fdt, node, "ranges", NULL) && !driver_of(b, node);
        if (bus)
            SIM_TRY(walk(b, node, pass, depth + 1));
    }
    return SIM_OK;
}

enum sim_status machine_add_devices(struct builder *b)
{
    for (enum pass pass = PASS_CONTROLLERS; pass <= PASS_ABSENT; pass++)
        SIM_TRY(walk(b, 0, pass, 0));
    return SIM_OK;
}

enum sim_status machine_find_console(struct builder *b)
{
    return walk(b, 0, PASS_CONSOLE, 0);
}
