/* Sharing the cores of a host among the ranks that run on it. Private to partition. */
#ifndef PARTITION_CORE_SPLIT_H
#define PARTITION_CORE_SPLIT_H

#include "partition/topology.h"

/* One rank of the host. */
struct core_member {
    const struct part_topology *topology; /* the cores it may use */
    uint32_t weight; /* its share beside the others' weights; at least 1 */
    uint32_t limit;  /* more cores are of no use to it */
    uint32_t nr;     /* result: how many it gets */
    uint32_t group;  /* result: equal for members that share a core they may use, directly or by others */
};

/* Owners by core id, as indices into member[], or PART_NONE; nr_ids is one more than the highest id. */
struct core_split {
    uint32_t *owner;
    uint32_t nr_ids;
};

/* No core goes to two members. Each gets cores in proportion to its weight as far as its limit and what it
 * may use allow, the first one before the others' second; what it gets of cores open to the same members is
 * contiguous. Deterministic: ties go to the lower index. */
void core_split_make(struct core_member *member, uint32_t nr_members, struct core_split *out);
void core_split_fini(struct core_split *s);

#endif
