/* Reading device trees: cells, addresses through buses, interrupts through parents. Offsets are
 * libfdt's; nothing here modifies the tree. All values in it are the user's: nothing is trusted. */
#ifndef LAUNCH_FDT_WALK_H
#define LAUNCH_FDT_WALK_H

#include <stdbool.h>
#include <stdint.h>

#include "devices/device.h"
#include "sim-core/status.h"

/* A tree with an index from phandle to node, so that resolving thousands of lines stays linear. */
struct fdt_walk {
    const void *fdt;
    struct fdt_phandle {
        uint32_t phandle;
        int node;
        uint32_t irq_cells, addr_cells;
    } *index; /* sorted by phandle */
    unsigned nr;
};
void fdt_walk_init(struct fdt_walk *w, const void *fdt); /* fdt must not change meanwhile */
void fdt_walk_fini(struct fdt_walk *w);
/* NULL: nobody has this phandle. */
const struct fdt_phandle *fdt_walk_phandle(const struct fdt_walk *w, uint32_t phandle);

/* The first cell of a property, or dflt. */
uint32_t fdt_walk_u32(const struct fdt_walk *w, int node, const char *name, uint32_t dflt);
/* Does the node have this "compatible", and is it not disabled? */
bool fdt_walk_enabled(const struct fdt_walk *w, int node);
/* "name@addr" as a label, or "/" */
const char *fdt_walk_name(const struct fdt_walk *w, int node);

/* The node's "reg" as CPU addresses (through the "ranges" of its buses). *reg is allocated, NULL when
 * n == 0. SIM_ERR_FORMAT (logged) when malformed. */
enum sim_status fdt_walk_reg(const struct fdt_walk *w, int node, struct dev_reg **reg,
                             unsigned *n) SIM_MUST_CHECK;

/* The "ranges" of a PCI host (a node whose children have three address cells), as CPU addresses. Other
 * nodes have none. *range is allocated, NULL when n == 0. */
enum sim_status fdt_walk_ranges(const struct fdt_walk *w, int node, struct dev_range **range,
                                unsigned *n) SIM_MUST_CHECK;

enum { FDT_IRQ_EDGE_RISING = 1, FDT_IRQ_LEVEL_HIGH = 4 };
struct fdt_irq {
    uint32_t controller; /* phandle */
    uint32_t number;     /* first cell of the specifier */
    uint32_t trigger;    /* the second one, FDT_IRQ_EDGE_RISING and so on; 0: there is none */
};
/* "interrupts-extended", "interrupts", or a PCI host's "interrupt-map" (device 0, pins A-D). */
enum sim_status fdt_walk_irqs(const struct fdt_walk *w, int node, struct fdt_irq **irq,
                              unsigned *n) SIM_MUST_CHECK;

#endif
