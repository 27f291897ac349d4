/* Code that runs forty times: the start of a program of 100,000 instructions, when all of it becomes hot. */
#include "cold.h"

COLD_CODE(cold_warm, 6250);

PERF_KERNEL(env)
{
    uint64_t *memory = perf_alloc(env, 4096), sum = 0;
    for (unsigned n = 0; n < 40; n++)
        sum = perf_mix(sum, cold_warm(memory, n));
    return sum;
}
