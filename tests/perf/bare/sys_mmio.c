/* Device registers: the UART's line status and scratch registers. */
#include "bare.h"

enum { STEPS = 800000 };

PERF_KERNEL(env)
{
    volatile uint8_t *uart = (volatile uint8_t *)0x10000000;
    uint64_t sum = env->hart;
    for (unsigned i = 0; i < STEPS; i++) {
        uart[7] = (uint8_t)i;
        sum = perf_mix(sum, uart[7]);
        sum += uart[5] & 0x20;
    }
    return sum;
}
