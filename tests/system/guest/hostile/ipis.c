/* Software interrupts from every hart to every hart, with wfi in between. The one that ends a wfi must not get lost. */
#include "hostile.h"

enum { ROUNDS = 4000 };

static volatile uint64_t got[HARTS];
static struct barrier ready, end;

void guest_irq(uint64_t cause)
{
    uint64_t hart = hart_id();

    expect((cause & 63) == 3, 70);
    write32(CLINT + hart * 4, 0);
    got[hart]++;
}

void guest_main(uint64_t hart)
{
    csr_write(mie, 8);
    barrier_wait(&ready, HARTS);
    csr_set(mstatus, 8);
    for (unsigned i = 0; i < ROUNDS; i++) {
        uint64_t before = got[hart];
        for (unsigned other = 0; other < HARTS; other++)
            if (other != hart)
                write32(CLINT + other * 4, 1);
        if (i & 1) {
            csr_clear(mstatus, 8);
            write32(CLINT + hart * 4, 1);
            __asm__ volatile("wfi");
            csr_set(mstatus, 8);
        }
        expect(!(i & 1) || got[hart] != before, 71);
    }
    csr_clear(mstatus, 8);
    barrier_wait(&end, HARTS);
    if (hart == 0)
        guest_end(0);
}
