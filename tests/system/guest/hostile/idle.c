/* Waits for what never comes: no interrupt is enabled, and the timer is set to the end of time. */
#include "hostile.h"

void guest_main(uint64_t hart)
{
    csr_write(mie, hart & 1 ? 0 : 0x80);
    *(volatile uint64_t *)(CLINT + 0x4000 + hart * 8) = ~0ul - 1 - hart;
    for (;;)
        __asm__ volatile("wfi");
}
