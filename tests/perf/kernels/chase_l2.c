/* Pointer chasing inside the second-level cache, past the reach of a small TLB. */
#include "chase.h"

PERF_KERNEL(env)
{
    return chase(env, 1u << 18, 69000000);
}
