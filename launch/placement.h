/* Placement: the plan that a configuration asks for on given hosts. */
#ifndef LAUNCH_PLACEMENT_H
#define LAUNCH_PLACEMENT_H

#include "config.h"
#include "partition/plan.h"

/* NUMA nodes that a plan makes for the guest at most: what Linux on RISC-V takes unless it is built for more
 * (CONFIG_NODES_SHIFT=2, Debian's too); with one more it would take none. */
enum { PLACEMENT_MAX_NODES = 4 };

/* What the ranks run, beside the configuration. */
struct placement_machine {
    uint32_t nr_harts;
    const struct part_range *ram; /* ascending */
    unsigned nr_ram;
};

/* `machine` NULL: the machine `virt` of the configuration. topology has nr_ranks pointers. Errors are logged.
 * part_plan_destroy *out. */
enum sim_status placement_make(const struct config *c, const struct placement_machine *machine,
                               const struct part_topology *const *topology, uint32_t nr_ranks,
                               struct part_plan **out) SIM_MUST_CHECK;

#endif
