/* Resets by the finisher while all harts are busy with devices and each other. What a reset must put back
 * is looked at each time. */
#include "hostile.h"

enum { RESETS = 60 };

static volatile uint32_t go; /* the loader zeroes it again */
static uint32_t data_word = 0x1234;

static void busy(uint64_t hart)
{
    for (uint64_t n = 0;; n++) {
        write32(CLINT + (n & 3) * 4, 1);
        *(volatile uint8_t *)(UART + 1) = 0x0f;
        write32(PLIC + 0x2000 + hart * 0x100, ~0u);
        write32(PLIC + (n & 31) * 4, 7);
        write32(ECAM + ((n & 7) << 15) + 4, 0x406);
        write32(VIRTIO + 0x70, 3);
        *(volatile uint64_t *)(CLINT + 0x4000 + hart * 8) = 0;
        csr_write(mie, 0xaaa);
    }
}

void guest_main(uint64_t hart)
{
    volatile uint32_t *kept = (volatile uint32_t *)KEPT;

    expect(csr_read(mie) == 0 && csr_read(satp) == 0 && csr_read(mcause) == 0, 10);
    expect(!(csr_read(mip) & 0x222), 11);
    while (hart && !go)
        ;
    if (hart)
        busy(hart);
    expect(go == 0 && data_word == 0x1234, 12);
    expect(*(volatile uint8_t *)(UART + 1) == 0, 13);
    expect(read32(PLIC + 4) == 0, 14);
    expect(read32(VIRTIO + 0x70) == 0, 15);
    data_word = 0x5555;
    go = 1;
    if (++*kept == RESETS)
        guest_end(0);
    for (uint64_t n = 0; n < 3000; n++)
        write32(VIRTIO + 0x1000 * (n & 7) + 0x70, 3 + (n & 1));
    write32(FINISHER, 0x7777);
    busy(0);
}
