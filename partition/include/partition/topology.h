/* The topology of one rank's host, as far as placement needs it: plain data that travels in messages.
 *
 *   hwloc (or XML, or a synthetic description) -> part_topology_read -> encode -> message -> decode
 *
 * Packages, NUMA domains and L3 groups are the whole machine's; cores and PUs only those which this process
 * may use. Numbers follow the topology: what is next to each other is near. */
#ifndef PARTITION_TOPOLOGY_H
#define PARTITION_TOPOLOGY_H

#include "sim-core/status.h"
#include "sim-core/types.h"

#define PART_NONE UINT32_MAX /* "there is none", for every index of this folder */

enum {
    PART_HOST_NAME = 64,      /* bytes, with the NUL */
    PART_HOST_ID = 16,        /* bytes */
    PART_MAX_PUS = 65536,     /* per host; cores, packages and L3 groups likewise */
    PART_MAX_NUMAS = 512,     /* per host */
    PART_DISTANCE_LOCAL = 10, /* as in ACPI: 10 is local, 255 the farthest */
    PART_DISTANCE_MAX = 255
};

struct part_numa {
    uint32_t os_index;
    uint64_t memory; /* bytes */
};

struct part_core {
    uint32_t id;      /* among all cores of the machine: the same on all ranks of a host; ascending */
    uint32_t package; /* < nr_packages */
    uint32_t numa;    /* index into numa[]: the domain whose memory is near */
    uint32_t l3;      /* < nr_l3s; cores with the same number share a last-level cache */
    uint32_t first_pu, nr_pus; /* its PUs in pu[]; at least one */
};

/* Immutable once made. */
struct part_topology {
    char host[PART_HOST_NAME];     /* for people */
    uint8_t host_id[PART_HOST_ID]; /* equal on two ranks: they run on one kernel and share its cores */
    bool native;                   /* describes the host we run on: bindings to its PUs mean something */
    uint32_t nr_packages, nr_l3s;
    struct part_numa *numa;
    uint32_t nr_numas;
    struct part_core *core;
    uint32_t nr_cores;
    uint32_t *pu; /* OS indices of usable PUs, core by core */
    uint32_t nr_pus;
    uint8_t *distance; /* from * nr_numas + to */
};

/* Reads the topology that `source` names: NULL is this host (hwloc's HWLOC_XMLFILE and HWLOC_SYNTHETIC are
 * honoured), otherwise a file of `lstopo --of xml`, or hwloc's synthetic text ("pack:2 core:4 pu:2").
 * part_topology_destroy it. Errors are logged with the source. Context: any thread; may block. */
enum sim_status part_topology_read(const char *source, struct part_topology **out) SIM_MUST_CHECK;
void part_topology_destroy(struct part_topology *t);

/* Another host of the same shape: a name, and an identity which is that name's alone. */
void part_topology_set_host(struct part_topology *t, const char *name);

static inline bool part_same_host(const struct part_topology *a, const struct part_topology *b)
{
    return __builtin_memcmp(a->host_id, b->host_id, PART_HOST_ID) == 0;
}

/* The compact little-endian byte form, for messages. *data is sim_free'd by the caller. */
void part_topology_encode(const struct part_topology *t, uint8_t **data, size_t *len);
/* Accepts exactly what encode makes; anything else is SIM_ERR_FORMAT with one message, which calls the
 * bytes `what` ("topology of rank 3"). Context: any thread. */
enum sim_status part_topology_decode(const char *what, const uint8_t *data, size_t len,
                                     struct part_topology **out) SIM_MUST_CHECK;

#endif
