/* Warm and cold reboots by SBI, from any hart, while the others start, stop, fence and interrupt. After
 * each, only the boot hart runs and nothing is pending. */
#include "hostile.h"

enum { REBOOTS = 40 };

static volatile uint32_t bss_word;

static void busy(uint64_t hart)
{
    uint64_t seed = hart + csr_read(cycle) * 1000003; /* another life each time */

    for (;;) {
        uint64_t r = rnd(&seed);
        switch (r & 7) {
        case 0: (void)sbi(SBI_IPI, 0, 15, 0, 0, 0, 0); break;
        case 1: (void)sbi(SBI_RFENCE, 1, 15, 0, 0, ~0ul, 0); break;
        case 2: (void)sbi(SBI_RFENCE, 0, 15, 0, 0, 0, 0); break;
        case 3: (void)sbi(SBI_TIME, 0, 0, 0, 0, 0, 0); break;
        case 4: (void)sbi(SBI_HSM, 0, r >> 8 & 3, (uint64_t)hart_start, 0, 0, 0); break;
        case 5:
            if (hart > 1 && (r >> 8 & 7) == 0)
                (void)sbi(SBI_HSM, 1, 0, 0, 0, 0, 0);
            break;
        case 6:
            if (hart == (*(volatile uint32_t *)KEPT & 3) && (r >> 8 & 3) == 0)
                (void)sbi(SBI_SRST, 0, 1 + (r >> 16 & 1), 0, 0, 0, 0);
            break;
        }
    }
}

void guest_main(uint64_t hart)
{
    volatile uint32_t *kept = (volatile uint32_t *)KEPT;

    if (hart == 0 && bss_word == 0) {
        bss_word = 1;
        expect(csr_read(sie) == 0 && csr_read(sip) == 0 && csr_read(satp) == 0, 10);
        for (uint64_t n = 1; n < HARTS; n++)
            expect(sbi(SBI_HSM, 2, n, 0, 0, 0, 0).value == 1, 11);
        for (volatile unsigned wait = 0; wait < 20000; wait++)
            expect(bss_word == 1, 12); /* a hart of the past would come by here */
        if (++*kept == REBOOTS)
            guest_end(0);
        bss_word = 2;
        for (uint64_t n = 1; n < HARTS; n++) { /* or one of them has started it already */
            long error = sbi(SBI_HSM, 0, n, (uint64_t)hart_start, 0, 0, 0).error;
            expect(error == 0 || (n > 1 && error == -6), 13);
        }
        if (*kept & 1) /* at once: the others have not run yet */
            (void)sbi(SBI_SRST, 0, 2, 0, 0, 0, 0);
    }
    if (hart && bss_word == 1)
        bss_word = 3;
    busy(hart);
}
