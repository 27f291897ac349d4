/* Eleven queens by bit masks: recursion with data-dependent branches. */
#include "perf.h"

enum { BOARD = 11 };

static uint64_t place(uint32_t columns, uint32_t left, uint32_t right)
{
    const uint32_t full = (1u << BOARD) - 1;
    if (columns == full)
        return 1;
    uint64_t found = 0;
    for (uint32_t free = full & ~(columns | left | right); free;) {
        uint32_t queen = free & -free;
        free ^= queen;
        found += place(columns | queen, (left | queen) << 1, (right | queen) >> 1);
    }
    return found;
}

PERF_KERNEL(env)
{
    uint64_t sum = env->used;
    for (unsigned round = 0; round < 99; round++)
        sum = perf_mix(sum, place(0, 0, 0) + round);
    return sum;
}
