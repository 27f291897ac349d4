/* Composes a machine from a device tree: memory, harts, interrupt controllers, then everything else.
 *
 *   tree -> mem_add_ram per memory node -> rv_machine + a hart per cpu node
 *        -> devices: interrupt controllers first, so that the others' lines resolve
 *        -> drives, nets, console, rng from the command line into PCIe or virtio-mmio slots */
#include "machine.h"

#include <errno.h>
#include <fcntl.h>
#include <libfdt.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "fdt_walk.h"
#include "kvm/hkvm.h"
#include "numa.h"
#include "ranks.h"
#include "sim-core/alloc.h"
#include "sim-core/log.h"
#include "virt_x86.h"

enum { FDT_MAX_BYTES = 64 << 20, FDT_SLACK = 16384, MAX_HARTS = 4096 };

/* While composing: who answers for a phandle. */
struct builder {
    struct machine *m;
    struct fdt_walk walk;
    struct target {
        struct vcpu *hart; /* a cpu's interrupt controller */
        struct device *device;
        const struct dev_driver *driver;
        bool ioapic; /* KVM's */
    } *target; /* parallel to walk.index */
    unsigned nr_uarts;
};

/* --- reading the tree --- */

static enum sim_status read_whole(const char *path, int fd, void **data, size_t *len)
{
    struct stat st;

    if (fstat(fd, &st) < 0 || !S_ISREG(st.st_mode) || st.st_size > FDT_MAX_BYTES) {
        sim_error("device tree '%s': not a file of a plausible size", path);
        return SIM_ERR_FORMAT;
    }
    *data = sim_zalloc((size_t)st.st_size + FDT_SLACK);
    *len = 0;
    while (*len < (size_t)st.st_size) {
        ssize_t n = read(fd, (char *)*data + *len, (size_t)st.st_size - *len);
        if (n <= 0)
            break;
        *len += (size_t)n;
    }
    return SIM_OK;
}

enum sim_status machine_read_fdt(const char *path, void **fdt)
{
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    void *data = NULL;
    size_t len = 0;

    if (fd < 0) {
        sim_error("cannot open device tree '%s': %m", path);
        return SIM_ERR_IO;
    }
    enum sim_status status = read_whole(path, fd, &data, &len);
    close(fd);
    if (status != SIM_OK)
        return status;
    int error = len < sizeof(struct fdt_header) ? -FDT_ERR_TRUNCATED : fdt_check_full(data, len);
    if (!error)
        error = fdt_open_into(data, data, (int)(fdt_totalsize(data) + FDT_SLACK / 2));
    if (error) {
        sim_error("device tree '%s' is broken: %s", path, fdt_strerror(error));
        sim_free(data);
        return SIM_ERR_FORMAT;
    }
    *fdt = data;
    return SIM_OK;
}

/* --- memory --- */

static bool is_type(const void *fdt, int node, const char *type)
{
    const char *t = fdt_getprop(fdt, node, "device_type", NULL);

    return t && strcmp(t, type) == 0;
}

/* All "reg" of the tree's memory nodes, in its order. *list is grown. */
static enum sim_status list_memory(struct builder *b, struct dev_reg **list, unsigned *nr)
{
    const void *fdt = b->m->fdt;
    int node;

    fdt_for_each_subnode(node, fdt, 0) {
        struct dev_reg *reg;
        unsigned n;
        if (!is_type(fdt, node, "memory") || !fdt_walk_enabled(&b->walk, node))
            continue;
        SIM_TRY(fdt_walk_reg(&b->walk, node, &reg, &n));
        *list = sim_realloc(*list, (*nr + n) * sizeof(**list));
        for (unsigned i = 0; i < n; i++)
            (*list)[(*nr)++] = reg[i];
        sim_free(reg);
    }
    return SIM_OK;
}

static int by_base(const void *a, const void *b)
{
    const struct dev_reg *x = a, *y = b;

    return (x->base > y->base) - (x->base < y->base);
}

/* NUMA nodes have memory nodes of their own: what follows on each other is one piece of RAM. */
static unsigned merge_memory(struct dev_reg *list, unsigned nr)
{
    unsigned n = 0;

    if (nr)
        qsort(list, nr, sizeof(list[0]), by_base);
    for (unsigned i = 0; i < nr; i++) {
        if (n && list[n - 1].base + list[n - 1].size == list[i].base)
            list[n - 1].size += list[i].size;
        else
            list[n++] = list[i];
    }
    return n;
}

/* Programs are loaded where the first memory node of the tree is. */
static gpa_t first_memory(const struct dev_reg *list, unsigned nr)
{
    for (unsigned i = 0; i < nr; i++)
        if (list[i].size)
            return list[i].base;
    return 0;
}

static enum sim_status add_memory(struct builder *b)
{
    struct machine *m = b->m;
    struct dev_reg *list = NULL;
    unsigned nr = 0;

    enum sim_status status = list_memory(b, &list, &nr);
    gpa_t first = first_memory(list, nr);
    nr = merge_memory(list, nr);
    for (unsigned i = 0; i < nr && status == SIM_OK; i++) {
        if (first - list[i].base < list[i].size) {
            m->ram_base = list[i].base;
            m->ram_size = list[i].size;
        }
        status = mem_add_ram(m->space, "ram", list[i].base, list[i].size);
    }
    sim_free(list);
    SIM_TRY(status);
    if (!m->ram_size) {
        sim_error("device tree: no memory node");
        return SIM_ERR_FORMAT;
    }
    return mem_seal_ram(m->space);
}

/* --- harts --- */

static struct target *target_of(struct builder *b, uint32_t phandle)
{
    const struct fdt_phandle *p = fdt_walk_phandle(&b->walk, phandle);

    return p ? &b->target[p - b->walk.index] : NULL;
}

static void remember(struct builder *b, int node, struct target t)
{
    struct target *slot = target_of(b, fdt_get_phandle(b->m->fdt, node));

    if (slot)
        *slot = t;
}

static const char *get_list(const void *fdt, int node, const char *name, size_t *len)
{
    int n;
    const char *list = fdt_getprop(fdt, node, name, &n);

    *len = list ? (size_t)n : 0;
    return list;
}

static enum sim_status read_isa(struct builder *b, int node, struct rv_isa *isa)
{
    const void *fdt = b->m->fdt;
    struct rv_isa_node text = {.isa = fdt_getprop(fdt, node, "riscv,isa", NULL),
                               .mmu_type = fdt_getprop(fdt, node, "mmu-type", NULL)};

    text.extensions = get_list(fdt, node, "riscv,isa-extensions", &text.extensions_len);
    text.without = get_list(fdt, node, "partita,without", &text.without_len);
    if (!text.isa && !text.extensions) {
        sim_error("device tree: cpu node '%s' needs 'riscv,isa-extensions' or 'riscv,isa'",
                  fdt_walk_name(&b->walk, node));
        return SIM_ERR_FORMAT;
    }
    SIM_TRY(rv_isa_parse_node(&text, isa));
    if (b->m->builtin_sbi && !rv_isa_has(isa, RV_EXT_S)) {
        sim_error("%s: the built-in SBI needs S mode, which the hart is without (-bios none does not)",
                  fdt_walk_name(&b->walk, node));
        return SIM_ERR_INVALID;
    }
    return SIM_OK;
}

static enum sim_status add_hart(struct builder *b, int node)
{
    const void *fdt = b->m->fdt;
    int child, len;
    const fdt32_t *reg = fdt_getprop(fdt, node, "reg", &len);
    struct rv_isa isa;
    struct vcpu *v;

    if (!reg || len < 4) {
        sim_error("device tree: cpu node '%s' needs 'reg'", fdt_walk_name(&b->walk, node));
        return SIM_ERR_FORMAT;
    }
    uint64_t hartid = fdt32_to_cpu(reg[0]);
    if (len >= 8)
        hartid = hartid << 32 | fdt32_to_cpu(reg[1]);
    if (rv_machine_hart(b->m->cpus, hartid)) {
        sim_error("device tree: two cpu nodes have the hart id %llu", (unsigned long long)hartid);
        return SIM_ERR_FORMAT;
    }
    SIM_TRY(read_isa(b, node, &isa));
    SIM_TRY(rv_machine_add_hart(b->m->cpus, hartid, &isa, &v));
    if (!b->m->boot_hart || hartid < b->m->boot_hartid) {
        b->m->boot_hart = v;
        b->m->boot_hartid = hartid;
    }
    fdt_for_each_subnode(child, fdt, node)
        remember(b, child, (struct target){.hart = v});
    return SIM_OK;
}

static uint32_t count_harts(const struct builder *b)
{
    const void *fdt = b->m->fdt;
    int cpus = fdt_path_offset(fdt, "/cpus"), node;
    uint32_t n = 0;

    if (cpus < 0)
        return 0;
    fdt_for_each_subnode(node, fdt, cpus)
        n += is_type(fdt, node, "cpu") && fdt_walk_enabled(&b->walk, node);
    return n;
}

enum { MAX_RAM_REGIONS = 256 };

/* The plan for the machine that a user's tree describes. */
static enum sim_status plan_from_tree(struct builder *b)
{
    struct part_range ram[MAX_RAM_REGIONS];
    const struct mem_region *r;
    unsigned nr = 0;

    for (unsigned i = 0; (r = mem_nth(b->m->space, i)) && nr < MAX_RAM_REGIONS; i++)
        ram[nr++] = (struct part_range){r->base, r->size};
    return ranks_plan(b->m->ranks, count_harts(b), ram, nr);
}

static enum sim_status add_harts(struct builder *b)
{
    const void *fdt = b->m->fdt;
    int cpus = fdt_path_offset(fdt, "/cpus"), node;

    if (cpus < 0) {
        sim_error("device tree: no /cpus node");
        return SIM_ERR_FORMAT;
    }
    fdt_for_each_subnode(node, fdt, cpus) {
        if (!is_type(fdt, node, "cpu") || !fdt_walk_enabled(&b->walk, node))
            continue;
        if (rv_machine_nr_harts(b->m->cpus) == MAX_HARTS) {
            sim_error("device tree: more than %d harts", MAX_HARTS);
            return SIM_ERR_RANGE;
        }
        SIM_TRY(add_hart(b, node));
    }
    if (!b->m->boot_hart) {
        sim_error("device tree: no enabled cpu node");
        return SIM_ERR_FORMAT;
    }
    return SIM_OK;
}

/* --- the built-in SBI's console: the UART, driven as firmware drives it --- */

enum { UART_DATA = 0, UART_LSR = 5, LSR_DATA_READY = 1 };

static bool uart_read(struct machine *m, unsigned reg, uint64_t *value)
{
    const struct machine_uart *u = &m->sbi_uart;

    return mem_mmio_read(m->space, u->base + ((uint64_t)reg << u->reg_shift), u->io_width, value) ==
           MEM_OK;
}

static void sbi_putc(void *opaque, uint8_t c)
{
    struct machine *m = opaque;
    const struct machine_uart *u = &m->sbi_uart;

    if (u->size)
        (void)mem_mmio_write(m->space, u->base, u->io_width, c);
    else if (m->nr_serials)
        chardev_write(m->serial[0], &c, 1);
}

static int sbi_getc(void *opaque)
{
    struct machine *m = opaque;
    uint64_t v;

    if (!m->sbi_uart.size || !uart_read(m, UART_LSR, &v) || !(v & LSR_DATA_READY) ||
        !uart_read(m, UART_DATA, &v))
        return -1;
    return (int)(v & 0xff);
}

static const struct rv_sbi_ops sbi_ops = {.putc = sbi_putc, .getc = sbi_getc};

/* vCPUs of KVM, whose interrupt controller is a node without registers. */
static enum sim_status create_x86_cpus(struct builder *b)
{
    int node = fdt_path_offset(b->m->fdt, "/soc/ioapic");

    if (node >= 0 && !virt_x86_has_own_apics(b->m->fdt))
        remember(b, node, (struct target){.ioapic = true});
    return virt_x86_create_cpus(b->m, count_harts(b));
}

static enum sim_status create_harts(struct builder *b)
{
    struct machine *m = b->m;
    int cpus = fdt_path_offset(m->fdt, "/cpus");
    const struct rv_machine_config config = {
        .sim = m->sim,
        .space = m->space,
        .jit = m->config->jit,
        .jit_tier = m->config->jit_tier,
        .jit_threshold = m->config->jit_threshold,
        .jit_hot = m->config->jit_hot,
        .sbi = m->builtin_sbi,
        .sbi_ops = &sbi_ops,
        .sbi_opaque = m,
        .is_remote = m->ranks ? ranks_hart_is_remote : NULL,
        .is_remote_opaque = m->ranks,
        .timebase_hz = cpus < 0 ? 0 : fdt_walk_u32(&b->walk, cpus, "timebase-frequency", 0),
    };

    SIM_TRY(rv_machine_create(&config, &m->cpus));
    return add_harts(b);
}

static enum sim_status create_cpus(struct builder *b)
{
    return virt_x86_is_tree(b->m->fdt) ? create_x86_cpus(b) : create_harts(b);
}

/* --- devices --- */

static struct irq_line line_to(struct builder *b, const struct fdt_irq *irq)
{
    struct target *t = target_of(b, irq->controller);

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
    remember(b, node, (struct target){.device = d, .driver = driver});
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

/* --- what the command line plugs in --- */

static struct device *find_device(struct machine *m, const char *ops_name,
                                  bool (*fits)(const struct device *))
{
    for (unsigned i = 0; i < m->nr_devices; i++)
        if (strcmp(m->devices[i]->ops->name, ops_name) == 0 && (!fits || fits(m->devices[i])))
            return m->devices[i];
    return NULL;
}

static enum sim_status use_doorbells(struct device *slot, bool must, const char *what)
{
    if (virtio_mmio_use_doorbells(slot) == SIM_OK)
        return SIM_OK;
    if (must) {
        sim_error("%s: ioeventfd=on: its notifications cannot come by eventfd: %m", what);
        return SIM_ERR_UNSUPPORTED;
    }
    sim_warn("%s: its notifications cannot come by eventfd and are exits, which take longer: %m", what);
    return SIM_OK;
}

/* Where nobody has said, notifications come by eventfd if they can (kvm/README.md has the figures). A machine from an image goes on
 * also on a host that refuses what was asked for where it began. */
static enum sim_status choose_doorbells(struct machine *m, struct device *slot, enum config_eventfd wish, const char *what)
{
    if (wish != CONFIG_EVENTFD_OFF && m->space->doorbells)
        return use_doorbells(slot, wish == CONFIG_EVENTFD_ON && !m->config->tree.fdt, what);
    if (wish == CONFIG_EVENTFD_ON)
        sim_warn("%s: ioeventfd=on has no effect: it is for vCPUs of KVM on one rank", what);
    return SIM_OK;
}

struct place {
    enum config_bus bus;
    enum config_eventfd eventfd;
};

/* On the bus the user asked for, else on the other one. */
static enum sim_status find_place(struct machine *m, struct place want, struct virtio_device *v, const char *what)
{
    struct device *pcie = find_device(m, "pcie-host", NULL);
    struct device *slot = find_device(m, "virtio-mmio", virtio_mmio_is_free);

    if (pcie && (want.bus == CONFIG_BUS_PCI || !slot))
        return pcie_host_plug_virtio(pcie, v);
    if (slot)
        return virtio_mmio_plug(slot, v);
    sim_error("%s: the machine has no free virtio slot", what);
    return SIM_ERR_INVALID;
}

/* The device belongs to its transport from here on, or is gone. */
static enum sim_status plug(struct machine *m, struct place want, struct virtio_device *v, const char *what)
{
    struct device *slot = find_device(m, "virtio-mmio", virtio_mmio_is_free);
    enum sim_status status = find_place(m, want, v, what);

    if (status != SIM_OK) {
        virtio_destroy(v);
        return status;
    }
    bool in_slot = slot && !virtio_mmio_is_free(slot);
    return in_slot ? choose_doorbells(m, slot, want.eventfd, what) : SIM_OK;
}

static enum sim_status plug_drives(struct machine *m)
{
    for (unsigned i = 0; i < m->config->nr_drives; i++) {
        const struct config_drive *d = &m->config->drive[i];
        const struct blockdev_options options = {d->file, d->readonly, d->serial};
        struct virtio_device *v;
        SIM_TRY(blockdev_open(m->sim, &options, &m->block[i]));
        SIM_TRY(virtio_blk_create(m->sim, m->block[i], &v));
        SIM_TRY(plug(m, (struct place){d->bus, d->eventfd}, v, d->file));
    }
    return SIM_OK;
}

static enum sim_status plug_nets(struct machine *m)
{
    for (unsigned i = 0; i < m->config->nr_nets; i++) {
        const struct config_net *n = &m->config->net[i];
        struct virtio_device *v;
        SIM_TRY(netdev_create(m->sim, n->backend, n->mac, &m->net[i]));
        SIM_TRY(virtio_net_create(m->sim, m->net[i], &v));
        SIM_TRY(plug(m, (struct place){n->bus, n->eventfd}, v, n->backend));
    }
    return SIM_OK;
}

static enum sim_status plug_extras(struct machine *m)
{
    struct virtio_device *v;

    if (m->config->virtconsole) {
        SIM_TRY(chardev_create(m->sim, m->config->virtconsole, &m->virtconsole));
        SIM_TRY(virtio_console_create(m->sim, m->virtconsole, &v));
        SIM_TRY(plug(m, (struct place){CONFIG_BUS_PCI, CONFIG_EVENTFD_OFF}, v, "virtio console"));
    }
    if (m->config->rng) {
        SIM_TRY(virtio_rng_create(m->sim, &v));
        SIM_TRY(plug(m, (struct place){m->config->rng_bus, m->config->rng_eventfd}, v, "virtio rng"));
    }
    return SIM_OK;
}

/* --- life --- */

/* What leads to no port is refused, unless it leads to nothing anyway; the first may be the SBI's alone. */
static enum sim_status check_serials(const struct builder *b)
{
    const struct config *c = b->m->config;
    unsigned ports = b->nr_uarts ? b->nr_uarts : 1;

    for (unsigned i = ports; i < c->nr_serials; i++) {
        if (strcmp(c->serial[i], "null") != 0) {
            sim_error("-serial '%s' is number %u, and the machine has %u serial port%s", c->serial[i], i + 1, ports, ports > 1 ? "s" : "");
            return SIM_ERR_INVALID;
        }
    }
    return SIM_OK;
}

static enum sim_status compose(struct builder *b)
{
    struct machine *m = b->m;

    SIM_TRY(mem_space_create(m->sim, &m->space));
    SIM_TRY(add_memory(b));
    if (m->ranks && !ranks_get_plan(m->ranks))
        SIM_TRY(plan_from_tree(b));
    SIM_TRY(create_cpus(b));
    if (m->ranks && !ranks_has_devices(m->ranks))
        return walk(b, 0, PASS_CONSOLE, 0); /* what is not here is asked of the rank that has it */
    for (enum pass pass = PASS_CONTROLLERS; pass <= PASS_ABSENT; pass++)
        SIM_TRY(walk(b, 0, pass, 0));
    SIM_TRY(check_serials(b));
    SIM_TRY(plug_drives(m));
    SIM_TRY(plug_nets(m));
    return plug_extras(m);
}

/* The tree of `virt`; on several ranks with a NUMA node for each, unless the user gave nodes of his own. */
static enum sim_status build_virt(struct machine *m)
{
    const struct part_range ram = {CONFIG_RAM_BASE, m->config->memory};
    struct config c = *m->config;

    if (c.x86) {
        c.own_apics |= m->ranks != NULL;
        if (c.own_apics && c.irqfd) /* by mpirun: the command line does not know */
            sim_warn("irqfd=on has no effect: over ranks interrupts are messages");
        c.irqfd &= !c.own_apics;
        return virt_x86_build_fdt(&c, &m->fdt);
    }
    if (!m->ranks)
        return virt_build_fdt(m->config, &m->fdt);
    SIM_TRY(ranks_plan(m->ranks, c.smp, &ram, 1));
    if (c.numa.nr_nodes)
        return virt_build_fdt(&c, &m->fdt);
    numa_from_plan(ranks_get_plan(m->ranks), &c.numa);
    enum sim_status status = virt_build_fdt(&c, &m->fdt);
    config_numa_fini(&c.numa);
    return status;
}

/* The tree of an image, the user's, or virt's. */
static enum sim_status get_tree(struct machine *m)
{
    const struct config *config = m->config;
    const struct config_tree *t = &config->tree;

    if (!t->fdt)
        return config->dtb ? machine_read_fdt(config->dtb, &m->fdt) : build_virt(m);
    int error = fdt_check_full(t->fdt, t->size);
    m->fdt = sim_zalloc((size_t)t->size + FDT_SLACK);
    if (!error)
        error = fdt_open_into(t->fdt, m->fdt, (int)t->size + FDT_SLACK);
    if (!error)
        return SIM_OK;
    sim_error("the image's device tree is broken: %s", fdt_strerror(error));
    return SIM_ERR_FORMAT;
}

enum sim_status machine_create(struct sim *sim, const struct config *config, struct ranks *ranks,
                               struct machine **out)
{
    struct machine *m = sim_new(struct machine);
    struct builder b = {.m = m};

    m->sim = sim;
    m->config = config;
    m->ranks = ranks;
    m->builtin_sbi = config->tree.fdt ? config->tree.builtin_sbi : loader_wants_sbi(config);
    enum sim_status status = get_tree(m);
    if (status == SIM_OK) {
        fdt_walk_init(&b.walk, m->fdt);
        b.target = sim_new_array(struct target, b.walk.nr + 1);
        status = compose(&b);
        sim_free(b.target);
        fdt_walk_fini(&b.walk);
    }
    if (status != SIM_OK) {
        machine_destroy(m);
        return status;
    }
    *out = m;
    return SIM_OK;
}

void machine_reset(struct machine *m)
{
    for (unsigned i = 0; i < m->nr_devices; i++)
        dev_reset(m->devices[i]);
    if (m->kvm) {
        if (hkvm_machine_reset(m->kvm) != SIM_OK)
            sim_request_end(m->sim, SIM_END_ERROR, 0);
        return;
    }
    for (uint32_t i = 0; i < m->sim->nr_vcpus; i++)
        rv_hart_reset(m->sim->vcpus[i]);
}

/* Translated code and its helpers mark pages as they write. */
void machine_collect_dirty(struct machine *m)
{
    if (m->kvm)
        hkvm_machine_collect_dirty(m->kvm);
}

void machine_write_protect(struct machine *m)
{
    if (m->kvm)
        hkvm_machine_write_protect(m->kvm);
    else
        rv_machine_write_protect(m->cpus);
}

void machine_clock_stop(struct machine *m)
{
    if (m->kvm)
        hkvm_machine_clock_stop(m->kvm);
}

void machine_clock_go(struct machine *m)
{
    if (m->kvm)
        hkvm_machine_clock_go(m->kvm);
}

void machine_clock_follow(struct machine *m)
{
    if (m->kvm)
        hkvm_machine_clock_follow(m->kvm);
}

/* KVM's log of written pages begins anew when it is read; over ranks there is none, and pages are marked as they fault. */
void machine_mark_anew(struct machine *m)
{
    if (m->kvm && !m->ranks)
        hkvm_machine_collect_dirty(m->kvm);
    else
        machine_write_protect(m);
}

static void destroy_backends(struct machine *m)
{
    for (unsigned i = 0; i < CONFIG_MAX_SERIALS; i++)
        if (m->serial[i])
            chardev_destroy(m->serial[i]);
    if (m->virtconsole)
        chardev_destroy(m->virtconsole);
    for (unsigned i = 0; i < CONFIG_MAX_DRIVES; i++)
        if (m->block[i])
            blockdev_close(m->block[i]);
    for (unsigned i = 0; i < CONFIG_MAX_NETS; i++)
        if (m->net[i])
            netdev_destroy(m->net[i]);
}

void machine_destroy(struct machine *m)
{
    if (!m)
        return;
    for (unsigned i = m->nr_devices; i-- > 0;)
        dev_destroy(m->devices[i]);
    sim_free(m->devices);
    destroy_backends(m);
    if (m->cpus)
        rv_machine_destroy(m->cpus);
    hkvm_machine_destroy(m->kvm);
    mem_space_destroy(m->space);
    sim_free(m->fdt);
    sim_free(m);
}
