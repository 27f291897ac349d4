/* Code that runs once: what translation, or doing without it, costs. 400,000 instructions in 25,000 blocks. */
#include "cold.h"

COLD_CODE(cold_once, 25000);

PERF_KERNEL(env)
{
    uint64_t *memory = perf_alloc(env, 4096);
    return cold_once(memory, 1);
}
