/* Reading device trees (Devicetree Specification 0.4, chapter 2). */
#include "fdt_walk.h"

#include <libfdt.h>
#include <stdlib.h>
#include <string.h>

#include "sim-core/alloc.h"
#include "sim-core/log.h"

static int by_phandle(const void *a, const void *b)
{
    const struct fdt_phandle *x = a, *y = b;

    return x->phandle < y->phandle ? -1 : x->phandle > y->phandle;
}

void fdt_walk_init(struct fdt_walk *w, const void *fdt)
{
    unsigned cap = 64;

    *w = (struct fdt_walk){fdt, sim_new_array(struct fdt_phandle, cap), 0};
    for (int node = fdt_next_node(fdt, -1, NULL); node >= 0; node = fdt_next_node(fdt, node, NULL)) {
        uint32_t phandle = fdt_get_phandle(fdt, node);
        if (phandle == 0 || phandle == UINT32_MAX)
            continue;
        if (w->nr == cap) {
            cap *= 2;
            w->index = sim_realloc(w->index, cap * sizeof(w->index[0]));
        }
        w->index[w->nr++] =
            (struct fdt_phandle){phandle, node, fdt_walk_u32(w, node, "#interrupt-cells", 0),
                                 fdt_walk_u32(w, node, "#address-cells", 0)};
    }
    qsort(w->index, w->nr, sizeof(w->index[0]), by_phandle);
}

void fdt_walk_fini(struct fdt_walk *w)
{
    sim_free(w->index);
    *w = (struct fdt_walk){0};
}

const struct fdt_phandle *fdt_walk_phandle(const struct fdt_walk *w, uint32_t phandle)
{
    const struct fdt_phandle key = {.phandle = phandle};

    return bsearch(&key, w->index, w->nr, sizeof(w->index[0]), by_phandle);
}

uint32_t fdt_walk_u32(const struct fdt_walk *w, int node, const char *name, uint32_t dflt)
{
    int len;
    const fdt32_t *p = fdt_getprop(w->fdt, node, name, &len);

    return p && len >= 4 ? fdt32_to_cpu(*p) : dflt;
}

bool fdt_walk_enabled(const struct fdt_walk *w, int node)
{
    const char *status = fdt_getprop(w->fdt, node, "status", NULL);

    return !status || strcmp(status, "okay") == 0 || strcmp(status, "ok") == 0;
}

const char *fdt_walk_name(const struct fdt_walk *w, int node)
{
    const char *name = fdt_get_name(w->fdt, node, NULL);

    return name && *name ? name : "/";
}

static enum sim_status malformed(const struct fdt_walk *w, int node, const char *property)
{
    sim_error("device tree: node '%s': property '%s' is malformed", fdt_walk_name(w, node),
              property);
    return SIM_ERR_FORMAT;
}

/* n cells (0..3) as a number; a third leading cell (PCI) is dropped. */
static uint64_t cell_value(const fdt32_t *p, unsigned n)
{
    uint64_t v = 0;

    for (unsigned i = 0; i < n; i++)
        v = v << 32 | fdt32_to_cpu(p[i]);
    return v;
}

/* Translates one address of `bus`'s children up to the CPU's address space. */
static bool translate(const struct fdt_walk *w, int bus, uint64_t *addr, uint64_t size)
{
    while (bus > 0) {
        int parent = fdt_parent_offset(w->fdt, bus), len;
        const fdt32_t *p = fdt_getprop(w->fdt, bus, "ranges", &len);
        if (parent < 0 || !p)
            return false; /* no "ranges": the children have no CPU addresses */
        int na = fdt_address_cells(w->fdt, bus), ns = fdt_size_cells(w->fdt, bus);
        int pa = fdt_address_cells(w->fdt, parent);
        if (na < 1 || ns < 0 || pa < 1)
            return false;
        unsigned row = (unsigned)(na + pa + ns);
        bool found = len == 0;
        for (unsigned i = 0; !found && (i + 1) * row * 4 <= (unsigned)len; i++) {
            const fdt32_t *r = p + i * row;
            uint64_t child = cell_value(r, (unsigned)na);
            uint64_t parent_addr = cell_value(r + na, (unsigned)pa);
            uint64_t span = cell_value(r + na + pa, (unsigned)ns);
            if (*addr >= child && *addr - child < span && size <= span - (*addr - child)) {
                *addr = parent_addr + (*addr - child);
                found = true;
            }
        }
        if (!found)
            return false;
        bus = parent;
    }
    return true;
}

enum sim_status fdt_walk_reg(const struct fdt_walk *w, int node, struct dev_reg **reg, unsigned *n)
{
    int parent = fdt_parent_offset(w->fdt, node), len;
    const fdt32_t *p = fdt_getprop(w->fdt, node, "reg", &len);

    *reg = NULL;
    *n = 0;
    if (!p || parent < 0)
        return SIM_OK;
    int na = fdt_address_cells(w->fdt, parent), ns = fdt_size_cells(w->fdt, parent);
    if (na < 1 || na > 2 || ns < 1 || ns > 2 || len % ((na + ns) * 4))
        return malformed(w, node, "reg");
    unsigned rows = (unsigned)len / (unsigned)((na + ns) * 4);
    *reg = sim_new_array(struct dev_reg, rows);
    for (unsigned i = 0; i < rows; i++) {
        const fdt32_t *r = p + i * (unsigned)(na + ns);
        struct dev_reg out = {cell_value(r, (unsigned)na), cell_value(r + na, (unsigned)ns)};
        if (!translate(w, parent, &out.base, out.size)) {
            sim_free(*reg);
            *reg = NULL;
            return malformed(w, node, "reg (not reachable through 'ranges')");
        }
        (*reg)[(*n)++] = out;
    }
    return SIM_OK;
}

enum sim_status fdt_walk_ranges(const struct fdt_walk *w, int node, struct dev_range **range,
                                unsigned *n)
{
    int parent = fdt_parent_offset(w->fdt, node), len;
    const fdt32_t *p = fdt_getprop(w->fdt, node, "ranges", &len);

    *range = NULL;
    *n = 0;
    if (!p || parent < 0 || fdt_address_cells(w->fdt, node) != 3)
        return SIM_OK;
    int ns = fdt_size_cells(w->fdt, node), pa = fdt_address_cells(w->fdt, parent);
    if (ns < 1 || ns > 2 || pa < 1 || pa > 2 || len % ((3 + pa + ns) * 4))
        return malformed(w, node, "ranges");
    unsigned row = (unsigned)(3 + pa + ns), rows = (unsigned)len / (row * 4);
    *range = sim_new_array(struct dev_range, rows);
    for (unsigned i = 0; i < rows; i++) {
        const fdt32_t *r = p + i * row;
        struct dev_range out = {.space = fdt32_to_cpu(r[0]),
                                .child = cell_value(r + 1, 2),
                                .base = cell_value(r + 3, (unsigned)pa),
                                .size = cell_value(r + 3 + pa, (unsigned)ns)};
        if (!translate(w, parent, &out.base, out.size)) {
            sim_free(*range);
            *range = NULL;
            return malformed(w, node, "ranges (not reachable through the parent's)");
        }
        (*range)[(*n)++] = out;
    }
    return SIM_OK;
}

/* The phandle that "interrupts" of this node refer to: nearest "interrupt-parent" upwards, else the
 * nearest ancestor that is an interrupt controller. */
static uint32_t interrupt_parent(const struct fdt_walk *w, int node)
{
    for (int at = node; at >= 0; at = fdt_parent_offset(w->fdt, at)) {
        uint32_t ph = fdt_walk_u32(w, at, "interrupt-parent", 0);
        if (ph)
            return ph;
        if (at != node && fdt_getprop(w->fdt, at, "interrupt-controller", NULL))
            return fdt_get_phandle(w->fdt, at);
    }
    return 0;
}

static unsigned interrupt_cells(const struct fdt_walk *w, uint32_t phandle)
{
    const struct fdt_phandle *p = fdt_walk_phandle(w, phandle);

    return p ? p->irq_cells : 0;
}

/* A specifier of one to three cells. */
static struct fdt_irq irq_of(uint32_t phandle, const fdt32_t *cell, unsigned cells)
{
    return (struct fdt_irq){phandle, fdt32_to_cpu(cell[0]), cells > 1 ? fdt32_to_cpu(cell[1]) : 0};
}

static enum sim_status irqs_extended(const struct fdt_walk *w, int node, const fdt32_t *p, unsigned nr_cells,
                                     struct fdt_irq *irq, unsigned *n)
{
    for (unsigned i = 0; i < nr_cells;) {
        uint32_t phandle = fdt32_to_cpu(p[i]);
        unsigned cells = interrupt_cells(w, phandle);
        if (!cells || cells > 3 || i + cells >= nr_cells)
            return malformed(w, node, "interrupts-extended");
        irq[(*n)++] = irq_of(phandle, p + i + 1, cells);
        i += 1 + cells;
    }
    return SIM_OK;
}

static enum sim_status irqs_plain(const struct fdt_walk *w, int node, const fdt32_t *p, unsigned nr_cells,
                                  struct fdt_irq *irq, unsigned *n)
{
    uint32_t phandle = interrupt_parent(w, node);
    unsigned cells = interrupt_cells(w, phandle);

    if (!cells || cells > 3 || nr_cells % cells)
        return malformed(w, node, "interrupts");
    for (unsigned i = 0; i < nr_cells; i += cells)
        irq[(*n)++] = irq_of(phandle, p + i, cells);
    return SIM_OK;
}

/* Rows: child address (3 cells), pin (1), controller phandle, its address and specifier cells. */
static enum sim_status irqs_map(const struct fdt_walk *w, int node, const fdt32_t *p, unsigned nr_cells,
                                struct fdt_irq *irq, unsigned *n)
{
    for (unsigned i = 0; i + 5 < nr_cells;) {
        uint32_t phandle = fdt32_to_cpu(p[i + 4]);
        const struct fdt_phandle *ctl = fdt_walk_phandle(w, phandle);
        unsigned cells = ctl ? ctl->irq_cells : 0, addr = ctl ? ctl->addr_cells : 0;
        if (!cells || cells > 3 || addr > 3 || i + 5 + addr + cells > nr_cells)
            return malformed(w, node, "interrupt-map");
        uint32_t slot = fdt32_to_cpu(p[i]) >> 11 & 31, pin = fdt32_to_cpu(p[i + 3]);
        if (slot == 0 && pin >= 1 && pin <= 4) {
            irq[pin - 1] = irq_of(phandle, p + i + 5 + addr, cells);
            if (*n < pin)
                *n = pin;
        }
        i += 5 + addr + cells;
    }
    return SIM_OK;
}

enum sim_status fdt_walk_irqs(const struct fdt_walk *w, int node, struct fdt_irq **irq, unsigned *n)
{
    static const struct {
        const char *property;
        enum sim_status (*parse)(const struct fdt_walk *, int, const fdt32_t *, unsigned, struct fdt_irq *,
                                 unsigned *);
    } forms[] = {{"interrupts-extended", irqs_extended},
                 {"interrupts", irqs_plain},
                 {"interrupt-map", irqs_map}};

    *irq = NULL;
    *n = 0;
    for (unsigned i = 0; i < SIM_ARRAY_LEN(forms); i++) {
        int len;
        const fdt32_t *p = fdt_getprop(w->fdt, node, forms[i].property, &len);
        if (!p)
            continue;
        unsigned nr_cells = (unsigned)len / 4;
        *irq = sim_new_array(struct fdt_irq, nr_cells + 4);
        enum sim_status status = forms[i].parse(w, node, p, nr_cells, *irq, n);
        if (status != SIM_OK) {
            sim_free(*irq);
            *irq = NULL;
            *n = 0;
        }
        return status;
    }
    return SIM_OK;
}
