/* Fresh pages: map, touch, unmap. */
#include <sys/mman.h>

#include "perf.h"

enum { ROUNDS = 60, BYTES = 2 << 20, PAGE = 4096 };

PERF_KERNEL(env)
{
    uint64_t sum = env->hart;
    for (unsigned round = 0; round < ROUNDS; round++) {
        uint8_t *p = mmap(NULL, BYTES, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
        if (p == MAP_FAILED)
            return 0;
        madvise(p, BYTES, MADV_NOHUGEPAGE);
        for (unsigned at = 0; at < BYTES; at += PAGE)
            p[at] = (uint8_t)(at >> 12);
        sum = perf_mix(sum, p[round * PAGE]);
        munmap(p, BYTES);
    }
    return sum;
}
