/* Carrying out a plan on this host. */
#include "partition/bind.h"

#include <inttypes.h>

#include "memory_policy.h"
#include "sim-core/alloc.h"
#include "sim-core/lock.h"
#include "sim-core/log.h"

bool part_bind_thread(const struct part_plan *plan, const struct part_topology *own, uint32_t rank,
                      uint32_t executor)
{
    const struct part_rank *r = &plan->rank[rank];

    if (!own->native || !r->bound || executor >= r->nr_executors + r->nr_spares)
        return false;
    const struct part_executor *e = &plan->executor[part_plan_core_of(plan, rank, executor)];
    if (sim_thread_bind(&plan->cpu[e->first_cpu], e->nr_cpus))
        return true;
    sim_warn("executor %" PRIu32 " is not bound to CPU %" PRIu32 ": %m", executor,
             plan->cpu[e->first_cpu]);
    return false;
}

bool part_place_memory(const struct part_plan *plan, const struct part_topology *own, uint32_t rank,
                       void *base, size_t size)
{
    const struct part_rank *r = &plan->rank[rank];

    if (!own->native || !r->bound || own->nr_numas < 2)
        return false;
    uint32_t *domain = sim_new_array(uint32_t, r->nr_executors);
    for (uint32_t i = 0; i < r->nr_executors; i++)
        domain[i] = plan->executor[r->first_executor + i].numa;
    bool placed = memory_policy_prefer(domain, r->nr_executors, base, size);
    sim_free(domain);
    return placed;
}
