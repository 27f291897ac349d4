/* Every hart writes to the SBI's console, by bytes and by buffers, wherever it is. */
#include "hostile.h"

static char line[HARTS][16];
static struct barrier end;

static void write_console(uint64_t hart)
{
    static const char text[] = "HART n BYTES\r\n";
    char *own = line[hart];

    for (unsigned i = 0; i < sizeof text - 1; i++) {
        char c = text[i] == 'n' ? (char)('0' + hart) : text[i];
        own[i] = c;
        expect(sbi(SBI_DBCN, 2, (uint8_t)c, 0, 0, 0, 0).error == 0, 10);
    }
    own[7] = 'W', own[8] = 'H', own[9] = 'O', own[10] = 'L', own[11] = 'E';
    struct sbi_result r = sbi(SBI_DBCN, 0, sizeof text - 1, (uint64_t)own, 0, 0, 0);
    expect(r.error == 0 && r.value == sizeof text - 1, 11);
}

void guest_main(uint64_t hart)
{
    static volatile uint64_t turn;

    for (uint64_t h = 1; hart == 0 && h < HARTS; h++)
        expect(sbi(SBI_HSM, 0, h, (uint64_t)hart_start, 0, 0, 0).error == 0, 12);
    while (turn != hart)
        ;
    write_console(hart);
    __atomic_store_n(&turn, hart + 1, __ATOMIC_SEQ_CST);
    barrier_wait(&end, HARTS);
    if (hart == 0)
        guest_end(0);
}
