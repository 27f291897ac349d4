/* Harts that stop themselves as soon as they are started, and are started again as soon as they have
 * stopped; and harts that suspend and are woken. */
#include "hostile.h"

enum { ROUNDS = 1500 };

static volatile uint64_t started[HARTS];

void guest_main(uint64_t hart)
{
    if (hart) {
        started[hart]++;
        if (started[hart] % 5 == 0) { /* suspended until hart 0 sends an interrupt */
            csr_write(sie, 2);
            expect(sbi(SBI_HSM, 3, 0, 0, 0, 0, 0).error == 0, 30);
            csr_write(sip, 0);
        }
        (void)sbi(SBI_HSM, 1, 0, 0, 0, 0, 0);
        guest_end(31); /* does not return */
    }
    for (uint64_t round = 1; round <= ROUNDS; round++) {
        for (uint64_t n = 1; n < HARTS; n++) {
            long error;
            while ((error = sbi(SBI_HSM, 0, n, (uint64_t)hart_start, round, 0, 0).error) == -6)
                (void)sbi(SBI_IPI, 0, 1, n, 0, 0, 0);
            expect(error == 0, 10);
        }
        for (uint64_t n = 1; n < HARTS; n++) {
            long state;
            while ((state = sbi(SBI_HSM, 2, n, 0, 0, 0, 0).value) != 1) {
                expect(state == 0 || state == 2 || state == 4, 11);
                (void)sbi(SBI_IPI, 0, 1, n, 0, 0, 0);
            }
            expect(started[n] == round, 12);
        }
    }
    guest_end(0);
}
