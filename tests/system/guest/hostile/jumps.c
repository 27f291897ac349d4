/* Jumps to where no code is: devices, the ends of RAM, addresses that do not exist. */
#include "hostile.h"

static void jump(long a)
{
    ((void (*)(void))a)();
}

void guest_main(uint64_t hart)
{
    static const uint64_t nowhere[] = {UART, UART + 6, FINISHER, RTC, CLINT, PLIC + 4, VIRTIO, ECAM,
                                       PCI_WINDOW, 0, 2, RAM - 2, RAM - 4096, RAM_END, 1ul << 40, 1ul << 56,
                                       1ul << 63, ~0ul - 1, ~0ul - 3};

    if (hart)
        return;
    for (unsigned i = 0; i < sizeof nowhere / sizeof nowhere[0]; i++)
        for (unsigned again = 0; again < 3000; again++) /* until an engine thinks that it is worth while */
            expect(probe(jump, (long)nowhere[i]) == 1, 10 + i);
    /* The last halfword of RAM: a whole instruction, and the half of one. */
    volatile uint16_t *last = (volatile uint16_t *)(RAM_END - 2);
    for (unsigned again = 0; again < 3000; again++) {
        *last = 0x8082; /* ret */
        __asm__ volatile("fence.i");
        expect(probe(jump, (long)last) == -1, 40);
        *last = 0x0001; /* nop, and over the edge */
        __asm__ volatile("fence.i");
        expect(probe(jump, (long)last) == 1, 41);
        *last = 0x0013;
        __asm__ volatile("fence.i");
        expect(probe(jump, (long)last) == 1, 42);
    }
    guest_end(0);
}
