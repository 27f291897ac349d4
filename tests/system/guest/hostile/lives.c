/* Many short lives: in each the first hart starts the others, which all have to come before it resets the machine. Their harts
 * are moved from rank to rank meanwhile (move.sh). */
#include "hostile.h"

enum { LIVES = 400 };

static volatile uint32_t here; /* the loader zeroes it again */

void guest_main(uint64_t hart)
{
    volatile uint32_t *kept = (volatile uint32_t *)KEPT;

    for (uint64_t n = 1; hart == 0 && n < HARTS; n++)
        expect(sbi(SBI_HSM, 0, n, (uint64_t)hart_start, 0, 0, 0).error == 0, 10);
    __atomic_fetch_add(&here, 1, __ATOMIC_SEQ_CST);
    while (hart || here < HARTS)
        __asm__ volatile(".word 0x0100000f"); /* pause */
    if (++*kept == LIVES)
        guest_end(0);
    write32(FINISHER, 0x7777);
    for (;;)
        ;
}
