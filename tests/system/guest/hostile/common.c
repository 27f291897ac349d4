/* Shared by the hostile guests: how they end. */
#include "hostile.h"

void guest_end(uint64_t code)
{
    write32(FINISHER, code ? (uint32_t)(code << 16 | 0x3333) : 0x5555);
    for (;;)
        ;
}

__attribute__((weak)) void guest_irq(uint64_t cause)
{
    guest_end(80 + (cause & 15));
}
