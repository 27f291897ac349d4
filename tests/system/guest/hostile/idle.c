/* Waits for what never comes: no interrupt is enabled, or the timers are set to the end of time. */
#include "hostile.h"

void guest_main(uint64_t hart)
{
    csr_write(mie, hart & 1 ? 0 : 0xa0);
    csr_set(menvcfg, 1ul << 63); /* STCE */
    csr_write(0x14d, ~0ul / 100 - hart); /* stimecmp: the last nanosecond there is */
    *(volatile uint64_t *)(CLINT + 0x4000 + hart * 8) = ~0ul - 1 - hart;
    for (;;)
        __asm__ volatile("wfi");
}
