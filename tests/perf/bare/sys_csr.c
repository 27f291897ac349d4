/* CSR accesses as a kernel makes them: interrupts off and on, scratch words, the user flags. */
#include "bare.h"

enum { STEPS = 2200000 };

PERF_KERNEL(env)
{
    uint64_t sum = env->hart, scratch = bare_csr_read(sscratch);
    for (unsigned i = 0; i < STEPS; i++) {
        uint64_t old;
        __asm__ volatile("csrrci %0, sstatus, 2" : "=r"(old)::"memory");
        bare_csr_write(sscratch, sum);
        sum = perf_mix(sum, bare_csr_read(sscratch) + i + (old & 2));
        __asm__ volatile("csrs sstatus, %0" ::"r"(old & 2) : "memory");
    }
    bare_csr_write(sscratch, scratch);
    return sum;
}
