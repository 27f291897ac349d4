/* Arithmetic of time for devices: ticks of a time base and nanoseconds, without overflow. */
#ifndef TIME_PRIV_H
#define TIME_PRIV_H

#include "sim-core/types.h"

#define DEV_NS_PER_S 1000000000ull

static inline uint64_t dev_saturating_add(uint64_t a, uint64_t b)
{
    return a > UINT64_MAX - b ? UINT64_MAX : a + b;
}

static inline uint64_t dev_ns_to_ticks(vtime_t ns, uint64_t hz)
{
    return (uint64_t)((unsigned __int128)ns * hz / DEV_NS_PER_S);
}

/* The first nanosecond at which `ticks` is reached; VTIME_NEVER when that is out of range. */
static inline vtime_t dev_ticks_to_ns(uint64_t ticks, uint64_t hz)
{
    unsigned __int128 ns = ((unsigned __int128)ticks * DEV_NS_PER_S + hz - 1) / hz;

    return ns >= VTIME_NEVER ? VTIME_NEVER : (vtime_t)ns;
}

#endif
