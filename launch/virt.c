/* The device tree of the default machine `virt`: the addresses and interrupts of QEMU's machine of the
 * same name, so that every image built for it runs. The tree is the only description: machine.c
 * composes the machine from it like from any user's tree. */
#include <libfdt.h>
#include <stdio.h>
#include <string.h>

#include "fdt_tree.h"
#include "machine.h"
#include "sim-core/alloc.h"
#include "sim-core/log.h"

enum { PHANDLE_PLIC = 1, PHANDLE_TEST = 2, PHANDLE_CPU_INTC = 16 };
enum { IRQ_VIRTIO = 1, NR_VIRTIO = 8, IRQ_UART = 10, IRQ_RTC = 11, IRQ_PCIE = 32, PLIC_NDEV = 95 };
enum { INT_SSI = 1, INT_MSI = 3, INT_MTI = 7, INT_SEI = 9, INT_MEI = 11 };

#define PCIE_HIGH_SIZE (16ull << 30)

/* Each CLINT serves at most 4095 harts (its MSWI registers end at 0x4000). */
enum { CLINT_HARTS = 4095 };

static void plic_irq(struct tree *t, uint32_t irq)
{
    tree_u32(t, "interrupt-parent", PHANDLE_PLIC);
    tree_u32(t, "interrupts", irq);
}

/* A property's list of NUL-terminated names. */
struct names {
    char text[1024];
    size_t len;
};

static void add_name(struct names *list, const char *name)
{
    if (list->len + strlen(name) + 1 >= sizeof list->text)
        return;
    strcpy(list->text + list->len, name);
    list->len += strlen(name) + 1;
}

/* What of the extensions with such a name the hart has, or has not. */
static void add_isa_names(struct names *list, const char *(*name_of)(enum rv_ext), const struct rv_isa *isa,
                          bool have)
{
    for (unsigned e = 0; e < RV_EXT_COUNT; e++) {
        const char *name = name_of((enum rv_ext)e);
        if (name && rv_isa_has(isa, (enum rv_ext)e) == have)
            add_name(list, name);
    }
}

/* An empty list is left out. */
static void names(struct tree *t, const char *property, const struct names *list)
{
    if (list->len)
        tree_check(t, fdt_property(t->fdt, property, list->text, (int)list->len));
}

static void isa_properties(struct tree *t, const struct rv_isa *isa)
{
    struct names have = {.len = 0}, without = {.len = 0};
    const char *zvl;

    add_isa_names(&have, rv_ext_isa_name, isa, true);
    for (unsigned n = 0; (zvl = rv_isa_zvl_name(isa, n)); n++)
        add_name(&have, zvl);
    names(t, "riscv,isa-extensions", &have);
    add_isa_names(&without, rv_ext_option_name, isa, false);
    names(t, "partita,without", &without);
}

/* Which NUMA node this cpu or memory belongs to. */
static void numa_node(struct tree *t, const struct config *config, uint32_t node)
{
    if (config->numa.nr_nodes)
        tree_u32(t, "numa-node-id", node);
}

static void cpu(struct tree *t, const struct config *config, uint32_t hart, const struct rv_isa *isa)
{
    char text[512];

    tree_begin_at(t, "cpu", hart);
    tree_str(t, "device_type", "cpu");
    tree_str(t, "status", "okay");
    tree_str(t, "compatible", "riscv");
    tree_u32(t, "reg", hart);
    numa_node(t, config, config->numa.nr_nodes ? config->numa.hart_node[hart] : 0);
    rv_isa_format(isa, text, sizeof text);
    tree_str(t, "riscv,isa", text);
    tree_str(t, "riscv,isa-base", "rv64i");
    isa_properties(t, isa);
    tree_str(t, "mmu-type", rv_isa_mmu_type(isa));
    if (rv_isa_has(isa, RV_EXT_ZICBOM))
        tree_u32(t, "riscv,cbom-block-size", 64);
    if (rv_isa_has(isa, RV_EXT_ZICBOP))
        tree_u32(t, "riscv,cbop-block-size", 64);
    if (rv_isa_has(isa, RV_EXT_ZICBOZ))
        tree_u32(t, "riscv,cboz-block-size", 64);
    tree_begin(t, "interrupt-controller");
    tree_u32(t, "#interrupt-cells", 1);
    tree_flag(t, "interrupt-controller");
    tree_str(t, "compatible", "riscv,cpu-intc");
    tree_u32(t, "phandle", PHANDLE_CPU_INTC + hart);
    tree_end(t);
    tree_end(t);
}

static void cpus(struct tree *t, const struct config *config, const struct rv_isa *isa)
{
    tree_begin(t, "cpus");
    tree_u32(t, "#address-cells", 1);
    tree_u32(t, "#size-cells", 0);
    tree_u32(t, "timebase-frequency", 10000000);
    for (uint32_t i = 0; i < config->smp; i++)
        cpu(t, config, i, isa);
    tree_end(t);
}

/* interrupts-extended of a device with two lines per hart, for harts [first, first + n). */
static void hart_lines(struct tree *t, uint32_t first, uint32_t n, uint32_t irq_a, uint32_t irq_b)
{
    uint32_t *cell = sim_new_array(uint32_t, n * 4);

    for (uint32_t i = 0; i < n; i++) {
        cell[i * 4] = cell[i * 4 + 2] = PHANDLE_CPU_INTC + first + i;
        cell[i * 4 + 1] = irq_a;
        cell[i * 4 + 3] = irq_b;
    }
    tree_cells(t, "interrupts-extended", cell, n * 4);
    sim_free(cell);
}

static void clints(struct tree *t, uint32_t smp)
{
    for (uint32_t first = 0, base = 0x2000000; first < smp; first += CLINT_HARTS, base += 0x10000) {
        tree_begin_at(t, "clint", base);
        tree_check(t, fdt_property(t->fdt, "compatible", "sifive,clint0\0riscv,clint0", 26));
        tree_reg(t, base, 0x10000);
        hart_lines(t, first, smp - first < CLINT_HARTS ? smp - first : CLINT_HARTS, INT_MSI,
                   INT_MTI);
        tree_end(t);
    }
}

static void plic(struct tree *t, uint32_t smp)
{
    tree_begin_at(t, "plic", 0xc000000);
    tree_check(t, fdt_property(t->fdt, "compatible", "sifive,plic-1.0.0\0riscv,plic0", 30));
    tree_reg(t, 0xc000000, 0x200000 + (uint64_t)smp * 2 * 0x1000);
    tree_u32(t, "#interrupt-cells", 1);
    tree_u32(t, "#address-cells", 0);
    tree_flag(t, "interrupt-controller");
    hart_lines(t, 0, smp, INT_MEI, INT_SEI);
    tree_u32(t, "riscv,ndev", PLIC_NDEV);
    tree_u32(t, "phandle", PHANDLE_PLIC);
    tree_end(t);
}

static void syscon_action(struct tree *t, const char *name, const char *compatible, uint32_t value)
{
    tree_begin(t, name);
    tree_str(t, "compatible", compatible);
    tree_u32(t, "regmap", PHANDLE_TEST);
    tree_u32(t, "offset", 0);
    tree_u32(t, "value", value);
    tree_end(t);
}

static void uart(struct tree *t)
{
    tree_begin_at(t, "serial", 0x10000000);
    tree_str(t, "compatible", "ns16550a");
    tree_reg(t, 0x10000000, 0x100);
    tree_u32(t, "clock-frequency", 3686400);
    plic_irq(t, IRQ_UART);
    tree_end(t);
}

static void small_devices(struct tree *t)
{
    uart(t);
    tree_begin_at(t, "test", 0x100000);
    tree_check(t, fdt_property(t->fdt, "compatible", "sifive,test1\0sifive,test0\0syscon", 33));
    tree_reg(t, 0x100000, 0x1000);
    tree_u32(t, "phandle", PHANDLE_TEST);
    tree_end(t);
    tree_begin_at(t, "rtc", 0x101000);
    tree_str(t, "compatible", "google,goldfish-rtc");
    tree_reg(t, 0x101000, 0x1000);
    plic_irq(t, IRQ_RTC);
    tree_end(t);
    for (unsigned i = 0; i < NR_VIRTIO; i++) {
        tree_begin_at(t, "virtio_mmio", 0x10001000 + i * 0x1000);
        tree_str(t, "compatible", "virtio,mmio");
        tree_reg(t, 0x10001000 + i * 0x1000, 0x1000);
        plic_irq(t, IRQ_VIRTIO + i);
        tree_flag(t, "dma-coherent");
        tree_end(t);
    }
}

/* Four lines, rotated by slot: entry (slot, pin) -> IRQ_PCIE + (slot + pin - 1) % 4. */
static void pcie_interrupt_map(struct tree *t)
{
    uint32_t map[4 * 4 * 6], *c = map;
    const uint32_t mask[] = {0x1800, 0, 0, 7};

    for (uint32_t slot = 0; slot < 4; slot++) {
        for (uint32_t pin = 1; pin <= 4; pin++, c += 6) {
            c[0] = slot << 11;
            c[1] = c[2] = 0;
            c[3] = pin;
            c[4] = PHANDLE_PLIC;
            c[5] = IRQ_PCIE + (slot + pin - 1) % 4;
        }
    }
    tree_cells(t, "interrupt-map", map, SIM_ARRAY_LEN(map));
    tree_cells(t, "interrupt-map-mask", mask, 4);
}

static void pcie(struct tree *t, const struct config *config)
{
    uint64_t high = sim_align_up(CONFIG_RAM_BASE + config->memory, PCIE_HIGH_SIZE);
    const uint32_t h = (uint32_t)(high >> 32), l = (uint32_t)high;
    const uint32_t bus_range[] = {0, 255};
    const uint32_t ranges[] = {
        0x01000000, 0, 0,          0, 0x3000000,  0, 0x10000,                          /* I/O */
        0x02000000, 0, 0x40000000, 0, 0x40000000, 0, 0x40000000,                       /* 32 bit */
        0x43000000, h, l,          h, l,          (uint32_t)(PCIE_HIGH_SIZE >> 32), 0, /* 64 bit, prefetchable */
    };

    tree_begin_at(t, "pci", 0x30000000);
    tree_str(t, "compatible", "pci-host-ecam-generic");
    numa_node(t, config, 0); /* where the devices are: the first rank */
    tree_str(t, "device_type", "pci");
    tree_u32(t, "#address-cells", 3);
    tree_u32(t, "#size-cells", 2);
    tree_u32(t, "#interrupt-cells", 1);
    tree_u32(t, "linux,pci-domain", 0);
    tree_cells(t, "bus-range", bus_range, 2);
    tree_flag(t, "dma-coherent");
    tree_reg(t, 0x30000000, 0x10000000);
    tree_cells(t, "ranges", ranges, SIM_ARRAY_LEN(ranges));
    pcie_interrupt_map(t);
    tree_end(t);
}

static void chosen(struct tree *t)
{
    tree_begin(t, "aliases");
    tree_str(t, "serial0", "/soc/serial@10000000");
    tree_end(t);
    tree_begin(t, "chosen");
    tree_str(t, "stdout-path", "/soc/serial@10000000");
    tree_end(t);
}

static void memory(struct tree *t, const struct config *config, const struct config_numa_ram *ram)
{
    tree_begin_at(t, "memory", ram->base);
    tree_str(t, "device_type", "memory");
    tree_reg(t, ram->base, ram->size);
    numa_node(t, config, ram->node);
    tree_end(t);
}

static void memories(struct tree *t, const struct config *config)
{
    const struct config_numa_ram all = {CONFIG_RAM_BASE, config->memory, 0};

    if (!config->numa.nr_nodes)
        memory(t, config, &all);
    for (unsigned i = 0; i < config->numa.nr_ram; i++)
        memory(t, config, &config->numa.ram[i]);
}

/* Devicetree Specification's binding "numa-distance-map-v1": a cell each for from, to, distance. */
static void distance_map(struct tree *t, const struct config_numa *numa)
{
    uint32_t n = numa->nr_nodes;
    uint32_t *cell = sim_new_array(uint32_t, 3 * n * n);

    for (uint32_t i = 0; i < n * n; i++) {
        cell[3 * i] = i / n;
        cell[3 * i + 1] = i % n;
        cell[3 * i + 2] = numa->distance[i];
    }
    tree_begin(t, "distance-map");
    tree_str(t, "compatible", "numa-distance-map-v1");
    tree_cells(t, "distance-matrix", cell, 3 * n * n);
    tree_end(t);
    sim_free(cell);
}

static void whole_tree(struct tree *t, const struct config *config, const struct rv_isa *isa)
{
    tree_begin(t, "");
    tree_u32(t, "#address-cells", 2);
    tree_u32(t, "#size-cells", 2);
    tree_str(t, "compatible", "riscv-virtio");
    tree_str(t, "model", "riscv-virtio,partita");
    chosen(t);
    memories(t, config);
    cpus(t, config, isa);
    if (config->numa.nr_nodes)
        distance_map(t, &config->numa);
    tree_begin(t, "soc");
    tree_u32(t, "#address-cells", 2);
    tree_u32(t, "#size-cells", 2);
    tree_str(t, "compatible", "simple-bus");
    tree_flag(t, "ranges");
    clints(t, config->smp);
    plic(t, config->smp);
    small_devices(t);
    pcie(t, config);
    tree_end(t);
    syscon_action(t, "poweroff", "syscon-poweroff", 0x5555);
    syscon_action(t, "reboot", "syscon-reboot", 0x7777);
    tree_end(t);
}

enum sim_status virt_build_fdt(const struct config *config, void **fdt)
{
    size_t nodes = config->numa.nr_nodes;
    size_t size = 65536 + (size_t)config->smp * 1536 + config->numa.nr_ram * 128 + nodes * nodes * 12;
    struct tree t = {sim_zalloc(size), 0};
    struct rv_isa isa;
    enum sim_status status = rv_isa_parse_cpu(config->cpu ? config->cpu : "rv64", &isa);

    if (status != SIM_OK) {
        sim_free(t.fdt);
        return status;
    }
    tree_check(&t, fdt_create(t.fdt, (int)size));
    tree_check(&t, fdt_finish_reservemap(t.fdt));
    whole_tree(&t, config, &isa);
    tree_check(&t, fdt_finish(t.fdt));
    SIM_BUG_ON(t.error, "building the device tree of %u harts: %s", config->smp,
               fdt_strerror(t.error));
    tree_check(&t, fdt_open_into(t.fdt, t.fdt, (int)size));
    *fdt = t.fdt;
    return SIM_OK;
}
