/* SBI calls with hostile arguments: pointers to devices and past the end of RAM, huge lengths, harts that
 * do not exist, functions that do not exist. */
#include "hostile.h"

enum { CALLS = 40000 };

static uint64_t argument(uint64_t *seed)
{
    static const uint64_t special[] = {0, 1, 2, 3, 4, 7, 63, 64, ~0ul, ~0ul - 1, 1ul << 63, 0x80000000ul,
                                       UART, FINISHER, ECAM, RAM, RAM_END, RAM_END - 1, RAM_END - 4096, KEPT,
                                       1ul << 56, 0xffffffff00000000ul};
    uint64_t r = rnd(seed);

    return r & 15 ? special[(r >> 8) % (sizeof special / sizeof special[0])] : rnd(seed) << 30 ^ r;
}

/* What ends or leaves us, and output by the megabyte, is not called. */
static int harmless(uint64_t eid, uint64_t fid, uint64_t a0, uint64_t a1)
{
    if (eid == SBI_SRST || eid == 8 || eid == 1)
        return 0;
    if (eid == SBI_HSM)
        return fid == 2 || (fid == 0 && a0 != 0) || fid > 3;
    if (eid == SBI_SUSP)
        return fid != 0;
    if (eid == SBI_DBCN)
        return fid != 2 && !(fid == 0 && a0 && a0 <= 4096 && a1 >= RAM && a1 < RAM_END);
    return 1;
}

static void call(long arg)
{
    uint64_t *seed = (uint64_t *)arg;
    static const uint64_t eids[] = {0, 1, 2, 3, 4, 5, 6, 7, 8, 0x10, SBI_TIME, SBI_IPI, SBI_RFENCE, SBI_HSM,
                                    SBI_SRST, SBI_DBCN, SBI_SUSP, 0x504d55, ~0ul};
    uint64_t eid = eids[rnd(seed) % (sizeof eids / sizeof eids[0])], fid = rnd(seed) % 6;
    uint64_t a[5];

    for (unsigned i = 0; i < 5; i++)
        a[i] = argument(seed);
    if (harmless(eid, fid, a[0], a[1]))
        (void)sbi(eid, fid, a[0], a[1], a[2], a[3], a[4]);
}

void guest_main(uint64_t hart)
{
    uint64_t seed = 42;

    if (hart)
        for (;;)
            __asm__ volatile("wfi");
    struct sbi_result r = sbi(SBI_DBCN, 0, ~0ul, RAM, 0, 0, 0);
    expect(r.error == -3, 1);
    r = sbi(SBI_DBCN, 0, 16, RAM_END - 8, 0, 0, 0);
    expect(r.error == -3, 2);
    r = sbi(SBI_DBCN, 1, 16, UART, 0, 0, 0);
    expect(r.error == -3, 3);
    r = sbi(SBI_HSM, 0, 99, RAM, 0, 0, 0);
    expect(r.error == -3, 4);
    r = sbi(SBI_HSM, 0, 1, UART, 0, 0, 0);
    expect(r.error == -5, 5);
    r = sbi(SBI_RFENCE, 1, 1, 77, 0, ~0ul, 0);
    expect(r.error == -3, 6);
    for (unsigned i = 0; i < CALLS; i++)
        (void)probe(call, (long)&seed);
    guest_end(0);
}
