/* RAM and vCPUs of a device tree, and the console of the built-in SBI that harts call. */
#include <stdlib.h>
#include <string.h>

#include "machine_priv.h"
#include "ranks.h"
#include "sim-core/alloc.h"
#include "sim-core/log.h"
#include "virt_x86.h"

enum { MAX_HARTS = 4096 };

/* Not virt's, and not that of an image. */
static bool is_users_tree(const struct config *c)
{
    return c->dtb && !c->tree.fdt;
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

/* -m beside a tree of the user's: where programs for it would be loaded, RAM has to be. */
static enum sim_status check_memory(const struct machine *m)
{
    const struct config *c = m->config;
    const struct mem_region *r;
    uint64_t sum = 0;

    for (unsigned i = 0; (r = mem_nth(m->space, i)); i++)
        sum += r->size;
    if (!is_users_tree(c) || !c->memory_given || c->memory == sum)
        return SIM_OK;
    if (c->memory < sum) {
        sim_error("-m: %llu KiB, but the device tree (-dtb '%s') has %llu", (unsigned long long)(c->memory >> 10), c->dtb,
                  (unsigned long long)(sum >> 10));
        return SIM_ERR_INVALID;
    }
    sim_warn("-m: only the %llu KiB of RAM that the device tree (-dtb '%s') has are there", (unsigned long long)(sum >> 10), c->dtb);
    return SIM_OK;
}

enum sim_status machine_add_memory(struct builder *b)
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
    SIM_TRY(check_memory(m));
    if (!m->ranks && !virt_x86_is_tree(m->fdt))
        mem_set_private_ram(m->space);
    return mem_seal_ram(m->space);
}

/* --- harts --- */

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
        machine_remember(b, child, (struct target){.hart = v});
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

/* -smp may ask for more harts than the user's tree has; an image has its number. */
static uint32_t nr_harts(const struct builder *b)
{
    uint32_t tree = count_harts(b), smp = b->m->config->smp;

    return tree && b->m->config->dtb && smp > tree ? smp : tree;
}

enum { MAX_RAM_REGIONS = 256 };

/* The plan for the machine that a user's tree describes. */
enum sim_status machine_plan_from_tree(struct builder *b)
{
    struct part_range ram[MAX_RAM_REGIONS];
    const struct mem_region *r;
    unsigned nr = 0;

    for (unsigned i = 0; (r = mem_nth(b->m->space, i)) && nr < MAX_RAM_REGIONS; i++)
        ram[nr++] = (struct part_range){r->base, r->size};
    return ranks_plan(b->m->ranks, nr_harts(b), ram, nr);
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

/* -smp beside a tree of the user's, as with QEMU's virt: harts that it does not name are there, but who looks into it does
 * not know. They are as the boot hart is, with the ids that are free, and no interrupt controller has lines to them. */
static enum sim_status add_unnamed_harts(struct builder *b)
{
    const struct config *c = b->m->config;
    struct machine *m = b->m;
    uint32_t named = rv_machine_nr_harts(m->cpus), wanted = nr_harts(b);
    const struct rv_isa isa = *rv_hart_isa(m->boot_hart);
    struct vcpu *v;

    if (is_users_tree(c) && c->smp_given && c->smp < named) {
        sim_error("-smp: %u harts, but the device tree (-dtb '%s') has %u", c->smp, c->dtb, named);
        return SIM_ERR_INVALID;
    }
    if (is_users_tree(c) && wanted > named)
        sim_warn("-smp: the device tree (-dtb '%s') has %u harts; the others have no interrupt controllers", c->dtb, named);
    for (uint64_t id = 0; rv_machine_nr_harts(m->cpus) < wanted; id++)
        if (!rv_machine_hart(m->cpus, id))
            SIM_TRY(rv_machine_add_hart(m->cpus, id, &isa, &v));
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
        machine_remember(b, node, (struct target){.ioapic = true});
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
    SIM_TRY(add_harts(b));
    return add_unnamed_harts(b);
}

enum sim_status machine_create_cpus(struct builder *b)
{
    return virt_x86_is_tree(b->m->fdt) ? create_x86_cpus(b) : create_harts(b);
}
