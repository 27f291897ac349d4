/* Remote fences from every hart to every hart at the same time, between LR/SC sequences that must run
 * alone. Nobody may wait for ever, and the counter must be exact. */
#include "hostile.h"

enum { ROUNDS = 3000 };

static uint64_t counter, other[8];
static struct barrier ready, end;

/* Loads and stores between LR and SC: not a sequence that the specification promises anything about. */
static void add_slowly(void)
{
    uint64_t v, failed;

    do {
        __asm__ volatile("lr.d.aqrl %0, (%2)\n\t"
                         "ld t0, 0(%3)\n\t"
                         "addi t0, t0, 1\n\t"
                         "sd t0, 0(%3)\n\t"
                         "addi %0, %0, 1\n\t"
                         "sc.d.aqrl %1, %0, (%2)"
                         : "=&r"(v), "=&r"(failed)
                         : "r"(&counter), "r"(&other[hart_id()])
                         : "t0", "memory");
    } while (failed);
}

void guest_main(uint64_t hart)
{
    if (hart == 0)
        for (uint64_t n = 1; n < HARTS; n++)
            expect(sbi(SBI_HSM, 0, n, (uint64_t)hart_start, 0, 0, 0).error == 0, 1);
    barrier_wait(&ready, HARTS);
    for (uint64_t i = 0; i < ROUNDS; i++) {
        uint64_t fid = i % 3, all = i & 8 ? ~0ul : 0;
        struct sbi_result r = sbi(SBI_RFENCE, fid, 15, all, i << 12, i & 1 ? 4096 : ~0ul, i & 3);
        expect(r.error == 0, 10 + hart);
        if (i % 4 == 0)
            add_slowly();
        if (i % 64 == 0)
            (void)sbi(SBI_IPI, 0, 15, 0, 0, 0, 0);
    }
    barrier_wait(&end, HARTS);
    if (hart == 0) {
        expect(counter == HARTS * (ROUNDS / 4), 20);
        guest_end(0);
    }
}
