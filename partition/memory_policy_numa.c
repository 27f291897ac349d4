/* Memory policy by libnuma: a preference, never a restriction, so that a full domain does not kill the run. */
#include "memory_policy.h"

#include <numa.h>
#include <numaif.h>

bool memory_policy_prefer(const uint32_t *domain, uint32_t nr, void *base, size_t size)
{
    bool several = false;

    if (numa_available() < 0)
        return false;
    struct bitmask *mask = numa_allocate_nodemask();
    for (uint32_t i = 0; i < nr; i++) {
        if (domain[i] < mask->size)
            numa_bitmask_setbit(mask, domain[i]);
        several |= domain[i] != domain[0];
    }
    /* maxnode counts one more than the kernel reads */
    bool placed = mbind(base, size, several ? MPOL_INTERLEAVE : MPOL_PREFERRED, mask->maskp,
                        mask->size + 1, 0) == 0;
    numa_bitmask_free(mask);
    return placed;
}
