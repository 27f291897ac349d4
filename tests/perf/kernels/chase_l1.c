/* Pointer chasing inside the first-level cache. */
#include "chase.h"

PERF_KERNEL(env)
{
    return chase(env, 1u << 14, 120000000);
}
