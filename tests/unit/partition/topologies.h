/* Topologies for tests: hwloc's synthetic ones as hosts of any name, and parts of them. */
#ifndef TEST_TOPOLOGIES_H
#define TEST_TOPOLOGIES_H

#include <stdio.h>
#include <stdlib.h>

#include "partition/topology.h"
#include "sim-core/alloc.h"

/* A node of a big cluster: 2 packages of 4 NUMA domains with 8 cores of 2 threads. */
#define NODE_8_DOMAINS "pack:2 group:4 [numa(memory=64GiB)] l3:1 core:8 pu:2"

static inline struct part_topology *topology_of(const char *text)
{
    struct part_topology *t = NULL;

    assert_int_equal(part_topology_read(text, &t), SIM_OK);
    return t;
}

/* The same through the packed form, as it comes from another rank. */
static inline struct part_topology *topology_copy(const struct part_topology *t)
{
    struct part_topology *copy = NULL;
    uint8_t *data;
    size_t len;

    part_topology_encode(t, &data, &len);
    assert_int_equal(part_topology_decode("copy", data, len, &copy), SIM_OK);
    sim_free(data);
    return copy;
}

static inline struct part_topology *topology_host(const struct part_topology *t, unsigned number)
{
    struct part_topology *copy = topology_copy(t);
    char name[32];

    snprintf(name, sizeof name, "node%u", number);
    part_topology_set_host(copy, name);
    return copy;
}

/* What a rank sees that may use only cores [first, first + n) of the list. */
static inline struct part_topology *topology_part(const struct part_topology *t, uint32_t first,
                                                  uint32_t n)
{
    struct part_topology *part = topology_copy(t);
    uint32_t pu = part->core[first].first_pu;

    assert_true(first + n <= t->nr_cores);
    for (uint32_t i = 0; i < n; i++) {
        part->core[i] = part->core[first + i];
        part->core[i].first_pu -= pu;
    }
    part->nr_cores = n;
    part->nr_pus = part->core[n - 1].first_pu + part->core[n - 1].nr_pus;
    for (uint32_t i = 0; i < part->nr_pus; i++)
        part->pu[i] = part->pu[pu + i];
    return part;
}

#endif
