/* Page faults: pages of a window are mapped one by one as they are touched, then all taken away. */
#include "bare.h"

enum { PAGES = 512, ROUNDS = 240, PAGE = 4096, CAUSE_LOAD_PAGE = 13, CAUSE_STORE_PAGE = 15 };

static uint64_t faults[BARE_MAX_HARTS];

static void handle(struct bare_frame *frame)
{
    if (frame->scause != CAUSE_STORE_PAGE && frame->scause != CAUSE_LOAD_PAGE)
        __builtin_trap();
    *bare_pte(frame->stval) |= PTE_V;
    bare_sfence_page(frame->stval);
    faults[frame->x[4]]++; /* tp: the hart, set below */
}

static void unmap(volatile uint8_t *window)
{
    for (unsigned i = 0; i < PAGES; i++)
        *bare_pte((uintptr_t)window + i * PAGE) &= ~(uint64_t)PTE_V;
    bare_sfence_all();
}

PERF_KERNEL(env)
{
    volatile uint8_t *window = perf_alloc(env, (PAGES + 1) * PAGE);
    window += -(uintptr_t)window & (PAGE - 1);
    __asm__ volatile("mv tp, %0" ::"r"((uint64_t)env->hart));
    bare_on_trap(handle);
    for (unsigned round = 0; round < ROUNDS; round++) {
        unmap(window);
        for (unsigned i = 0; i < PAGES; i++)
            window[i * PAGE + round] += (uint8_t)i;
    }
    uint64_t sum = faults[env->hart];
    for (unsigned i = 0; i < PAGES * PAGE; i += 509)
        sum = perf_mix(sum, window[i]);
    return sum;
}
