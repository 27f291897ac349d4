/* Device trees: the machine's own tree with properties changed, nodes added, copied and removed, or the
 * input itself as a blob. machine_create makes a machine of it or says no; then it is loaded and reset,
 * and its harts take a few steps. */
#include <libfdt.h>

#include "fuzz_machine.h"
#include "loader.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

enum { MAX_STEPS = 8, TREE_BYTES = 128 << 10 };

struct tree {
    void *fdt;
    struct input *in;
    int node; /* the step's */
    const char *property;
};

static const char *const names[] = {
    "reg", "ranges", "interrupts", "interrupts-extended", "interrupt-map", "interrupt-map-mask",
    "interrupt-parent", "#address-cells", "#size-cells", "#interrupt-cells", "compatible", "status",
    "device_type", "riscv,isa", "riscv,isa-extensions", "partita,without", "mmu-type", "riscv,ndev",
    "timebase-frequency", "phandle", "reg-shift",
    "reg-io-width", "interrupt-controller", "stdout-path", "bus-range", "dma-coherent",
};

static const char *const strings[] = {
    "ns16550a", "sifive,test1", "google,goldfish-rtc", "sifive,clint0", "riscv,aclint-mswi",
    "riscv,aclint-mtimer", "riscv,aclint-sswi", "riscv,plic0", "pci-host-ecam-generic", "virtio,mmio",
    "simple-bus", "cpu", "memory", "okay", "disabled", "rv64imac", "rv64gc_zba_zzz", "rv32i", "riscv,sv39",
    "riscv,cpu-intc", "unknown,device",
};

/* A node in the tree's order; the numbering goes round. */
static int nth_node(const void *fdt, unsigned n)
{
    int node = 0;

    for (unsigned i = 0; i < n; i++) {
        node = fdt_next_node(fdt, node, NULL);
        if (node < 0)
            node = 0;
    }
    return node;
}

static void set(struct tree *t, const void *value, int len)
{
    (void)fdt_setprop(t->fdt, t->node, t->property, value, len);
}

static void step_bytes(struct tree *t)
{
    uint8_t bytes[64];
    unsigned len = (unsigned)take(t->in, 1) & 63;

    for (unsigned i = 0; i < len; i++)
        bytes[i] = (uint8_t)take(t->in, 1);
    set(t, bytes, (int)len);
}

static void step_string(struct tree *t)
{
    const char *s = strings[take(t->in, 1) % SIM_ARRAY_LEN(strings)];

    set(t, s, (int)strlen(s) + 1);
}

/* One cell of what is there. */
static void step_cell(struct tree *t)
{
    int len;
    const void *p = fdt_getprop(t->fdt, t->node, t->property, &len);
    uint8_t copy[256];
    uint64_t v = take(t->in, 2);
    fdt32_t cell = cpu_to_fdt32(v & 0x8000 ? (uint32_t)take(t->in, 4) : (uint32_t)v & 0xff);

    if (!p || len < 4 || len > (int)sizeof copy)
        return;
    memcpy(copy, p, (size_t)len);
    memcpy(copy + (v >> 8 & 63) % (unsigned)(len / 4) * 4, &cell, 4);
    set(t, copy, len);
}

static void step_cut(struct tree *t)
{
    int len;
    const void *p = fdt_getprop(t->fdt, t->node, t->property, &len);
    uint8_t copy[256];

    if (!p || len > (int)sizeof copy)
        return;
    memcpy(copy, p, (size_t)len);
    set(t, copy, (int)(take(t->in, 1) % (unsigned)(len + 1)));
}

static void step_delete_property(struct tree *t)
{
    (void)fdt_delprop(t->fdt, t->node, t->property);
}

static void step_delete_node(struct tree *t)
{
    if (t->node)
        (void)fdt_del_node(t->fdt, t->node);
}

/* A node below, with the properties of some other. */
static void step_copy(struct tree *t)
{
    char name[16];
    int from = nth_node(t->fdt, (unsigned)take(t->in, 1)), at;

    snprintf(name, sizeof name, "copy@%x", (unsigned)take(t->in, 1));
    int node = fdt_add_subnode(t->fdt, t->node, name);
    if (node < 0)
        return;
    if (from >= node)
        from = t->node;
    fdt_for_each_property_offset(at, t->fdt, from) {
        const char *property;
        uint8_t copy[512];
        int len;
        const void *p = fdt_getprop_by_offset(t->fdt, at, &property, &len);
        if (!p || len > (int)sizeof copy)
            continue;
        memcpy(copy, p, (size_t)len);
        (void)fdt_appendprop(t->fdt, node, property, copy, len);
        node = fdt_subnode_offset(t->fdt, t->node, name);
        if (node < 0)
            return;
    }
}

static void (*const steps[])(struct tree *) = {
    step_cell,   step_cell, step_cell, step_bytes, step_bytes, step_string, step_string,
    step_cut,    step_copy, step_copy, step_delete_property,   step_delete_node,
};

static void edit(struct tree *t)
{
    uint64_t steps_left = take(t->in, 1) % MAX_STEPS;

    for (; t->in->p < t->in->end && steps_left; steps_left--) {
        uint64_t op = take(t->in, 1);
        t->node = nth_node(t->fdt, (unsigned)take(t->in, 1));
        t->property = names[take(t->in, 1) % SIM_ARRAY_LEN(names)];
        steps[op % SIM_ARRAY_LEN(steps)](t);
    }
}

static char *tree_file(struct input *in)
{
    struct fuzz_machine f = {0};
    struct tree t = {.in = in};

    if (take(in, 1) == 0xff)
        return fuzz_file(in->p, (size_t)(in->end - in->p));
    config_init(&f.config);
    f.config.smp = 2;
    f.config.memory = 4 * RAM_SIZE; /* the demo goes 2 MiB up */
    void *fdt = NULL;
    must(virt_build_fdt(&f.config, &fdt) == SIM_OK, "no tree");
    t.fdt = sim_zalloc(TREE_BYTES);
    must(fdt_open_into(fdt, t.fdt, TREE_BYTES) == 0, "no copy of the tree");
    edit(&t);
    (void)fdt_pack(t.fdt);
    char *path = fuzz_file(t.fdt, fdt_totalsize(t.fdt));
    sim_free(t.fdt);
    sim_free(fdt);
    config_fini(&f.config);
    return path;
}

static void use(struct fuzz_machine *f)
{
    if (loader_load(f->m) != SIM_OK)
        return;
    for (unsigned n = 0; n < f->sim->nr_vcpus && n < 4; n++)
        fuzz_run(f, n, 300);
    machine_reset(f->m);
    (void)!loader_load(f->m);
}

static void close_file(char *path)
{
    close(atoi(path + strlen("/proc/self/fd/")));
    sim_free(path);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct fuzz_machine f = {0};
    struct input in = {data, data + size};
    uint64_t how = take(&in, 1);

    fuzz_config(&f.config);
    f.config.dtb = tree_file(&in);
    f.config.demo = true;
    f.config.jit = false;
    config_set_string(&f.config.bios, how & 1 ? "none" : "default");
    must(sim_create(&f.sim) == SIM_OK, "no simulation");
    sim_clock_init(&f.sim->clock, SIM_CLOCK_VIRTUAL);
    if (machine_create(f.sim, &f.config, NULL, &f.m) == SIM_OK) {
        use(&f);
        machine_destroy(f.m);
    }
    sim_destroy(f.sim);
    close_file(f.config.dtb);
    f.config.dtb = NULL;
    for (unsigned i = 0; i < f.config.nr_drives; i++) {
        close_file(f.config.drive[i].file);
        f.config.drive[i].file = NULL;
    }
    config_fini(&f.config);
    return 0;
}
