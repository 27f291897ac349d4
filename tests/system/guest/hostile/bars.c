/* PCI BARs over RAM, over the UART, over the configuration space, over each other. What was there first
 * stays, and the bus goes on. */
#include "hostile.h"

static uint64_t config(unsigned slot)
{
    return ECAM + ((uint64_t)slot << 15);
}

static void set_bars(unsigned slot, uint64_t address)
{
    write32(config(slot) + 4, 0x400); /* decoding off */
    for (unsigned bar = 0; bar < 6; bar++)
        write32(config(slot) + 0x10 + bar * 4, (uint32_t)address);
    write32(config(slot) + 0x14, (uint32_t)address);
    write32(config(slot) + 0x20, (uint32_t)address);
    write32(config(slot) + 0x24, (uint32_t)(address >> 32));
    write32(config(slot) + 4, 0x406);
}

void guest_main(uint64_t hart)
{
    static const uint64_t places[] = {RAM, KEPT, RAM_END - 0x1000, UART, FINISHER & ~0xffful, ECAM, PLIC, CLINT, 0,
                                      0xfffff000ul, ~0ul << 12, PCI_WINDOW, PCI_WINDOW + 0x3ffff000ul};
    volatile uint32_t *kept = (volatile uint32_t *)KEPT;

    if (hart)
        return;
    for (unsigned i = 0; i < sizeof places / sizeof places[0]; i++) {
        for (unsigned slot = 0; slot < 32; slot++)
            set_bars(slot, places[i]);
        for (unsigned n = 0; n < 64; n++) {
            kept[n * 97] = n + i;
            (void)read32(PCI_WINDOW + n * 0x1000);
            write32(PCI_WINDOW + n * 0x1000 + 0x14, n);
            write32(PCI_WINDOW + n * 0x400, ~n);
        }
        for (unsigned n = 0; n < 64; n++)
            expect(kept[n * 97] == n + i, 10 + i);
        write32(UART + 8 - 1 - 3, 0); /* MCR.. of a UART that is still one */
        *(volatile uint8_t *)(UART + 7) = (uint8_t)(0xa0 + i);
        expect(*(volatile uint8_t *)(UART + 7) == (uint8_t)(0xa0 + i), 30 + i);
    }
    guest_end(0);
}
