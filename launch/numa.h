/* Guest NUMA: which node each hart and each part of RAM belongs to, and how far nodes are from each other.
 *
 *   -numa node,... -numa dist,...  -> numa_add_option -> numa_resolve -> config.numa
 *   the plan of many ranks         -> numa_from_plan  -> config.numa
 *   config.numa -> virt.c: numa-node-id of cpu and memory nodes, distance-map
 *   virt-x86: the plan only -> acpi.c: SRAT, SLIT */
#ifndef LAUNCH_NUMA_H
#define LAUNCH_NUMA_H

#include "config.h"
#include "partition/plan.h"

enum { NUMA_MAX_NODES = 128 }; /* of -numa, as QEMU's */

/* The options as given, in any order beside -smp and -m. All zero at first. */
struct numa_options {
    struct numa_node {
        bool given, has_memory;
        uint64_t memory;
        char *memdev; /* id of the object whose size it is */
        struct numa_harts {
            uint32_t first, last;
        } *harts;
        unsigned nr_harts;
    } node[NUMA_MAX_NODES];
    unsigned nr_nodes;
    struct numa_distance {
        uint32_t from, to, value;
    } *distance;
    unsigned nr_distances;
    struct numa_memdev {
        char *id;
        uint64_t size;
    } *memdev;
    unsigned nr_memdevs;
};

/* One -numa. Errors are logged with the option. */
enum sim_status numa_add_option(struct numa_options *o, const char *option,
                                const char *text) SIM_MUST_CHECK;
/* One -object memory-backend-ram, of which only id and size matter here. */
enum sim_status numa_add_memdev(struct numa_options *o, const char *option,
                                const char *text) SIM_MUST_CHECK;
/* Checks all against harts and memory of c and fills c->numa. Without options nothing happens. */
enum sim_status numa_resolve(struct numa_options *o, struct config *c) SIM_MUST_CHECK;
void numa_options_fini(struct numa_options *o);

/* The guest's nodes as the plan has them; none when it has only one. Replaces *out. */
void numa_from_plan(const struct part_plan *plan, struct config_numa *out);

#endif
