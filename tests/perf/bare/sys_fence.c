/* Page-table changes: one page moved to another frame, sfence.vma of its address, then used; every
 * so often a full sfence.vma. */
#include "bare.h"

enum { CHANGES = 300000, PAGE = 4096, FRAMES = 16 };

PERF_KERNEL(env)
{
    uint8_t *frame = perf_alloc(env, (FRAMES + 2) * PAGE);
    frame += -(uintptr_t)frame & (PAGE - 1);
    volatile uint64_t *window = (volatile uint64_t *)(void *)(frame + FRAMES * PAGE);
    uint64_t *pte = bare_pte((uintptr_t)window), original = *pte, sum = 0;
    for (unsigned i = 0; i < CHANGES; i++) {
        *pte = (uintptr_t)(frame + i % FRAMES * PAGE) >> 12 << 10 | PTE_KERNEL;
        if (i % 64 == 0)
            bare_sfence_all();
        else
            bare_sfence_page((uintptr_t)window);
        sum += window[i % 512] += i;
    }
    *pte = original;
    bare_sfence_all();
    return sum;
}
