/* Pointer chasing inside memory far larger than any TLB reaches. */
#include "chase.h"

PERF_KERNEL(env)
{
    return chase(env, 1u << 25, 780000);
}
