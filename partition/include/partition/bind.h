/* Carrying out a plan on this host: threads on their cores, memory in their NUMA domains. Both only help: what the
 * host refuses is left as it is, and the run goes on. */
#ifndef PARTITION_BIND_H
#define PARTITION_BIND_H

#include "partition/plan.h"

/* Binds the calling thread, executor `executor` of `rank` (its own, then its spare ones), to its core; `own` is this rank's topology. False when
 * the plan binds nothing (a core for each executor is missing), the topology is not of this host, or the
 * host refuses (one warning). Context: the executor's thread. */
bool part_bind_thread(const struct part_plan *plan, const struct part_topology *own, uint32_t rank,
                      uint32_t executor);

/* Prefers the NUMA domains of the rank's executors for [base, base + size), which is page-aligned and has not been
 * touched. One domain: there; several: pages in turn. False when nothing is bound, the host has
 * one domain only, or there is no NUMA support. Context: launch thread. */
bool part_place_memory(const struct part_plan *plan, const struct part_topology *own, uint32_t rank,
                       void *base, size_t size);

#endif
