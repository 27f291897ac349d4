/* Page tables where none can be: in devices, outside RAM, in themselves; satp with garbage. M mode looks
 * through them by MPRV, and jumps through them into S mode. */
#include "hostile.h"

#define MPRV (1ul << 17)
#define MPP_S (1ul << 11)
#define MPP (3ul << 11)

static uint64_t table[512] __attribute__((aligned(4096)));

static void load(long a)
{
    csr_clear(mstatus, MPP);
    csr_set(mstatus, MPP_S | MPRV);
    (void)*(volatile uint64_t *)a;
    csr_clear(mstatus, MPRV);
}

static void store(long a)
{
    csr_clear(mstatus, MPP);
    csr_set(mstatus, MPP_S | MPRV);
    *(volatile uint64_t *)a = 1;
    csr_clear(mstatus, MPRV);
}

static void enter_s(long a)
{
    csr_clear(mstatus, MPP);
    csr_set(mstatus, MPP_S);
    csr_write(mepc, a);
    __asm__ volatile("mret");
}

static void use(uint64_t satp, long va)
{
    csr_write(satp, satp);
    __asm__ volatile("sfence.vma" ::: "memory");
    (void)probe(load, va);
    (void)probe(store, va);
    (void)probe(enter_s, va);
}

static void foreign_roots(void)
{
    static const uint64_t roots[] = {UART, FINISHER, RTC, CLINT, PLIC, VIRTIO, ECAM, PCI_WINDOW, 0,
                                     RAM - 4096, RAM_END, RAM_END - 4096, 1ul << 55, ~0ul};
    static const long addresses[] = {0, (long)RAM, -4096, 1l << 38, 1l << 47, 1l << 56, -1};

    for (unsigned mode = 8; mode <= 10; mode++)
        for (unsigned i = 0; i < sizeof roots / sizeof roots[0]; i++)
            for (unsigned k = 0; k < sizeof addresses / sizeof addresses[0]; k++)
                use((uint64_t)mode << 60 | (roots[i] >> 12 & ((1ul << 44) - 1)), addresses[k]);
}

/* Every level is the same page; then the leaf that it is of itself gives a window on the table. */
static void table_of_itself(void)
{
    uint64_t self = (uint64_t)table >> 12 << 10, root = (uint64_t)table >> 12;

    for (unsigned i = 0; i < 512; i++)
        table[i] = self | 1;
    for (unsigned mode = 8; mode <= 10; mode++) {
        csr_write(satp, (uint64_t)mode << 60 | root);
        __asm__ volatile("sfence.vma" ::: "memory");
        expect(probe(load, 0x1000) == 13, 1); /* a pointer at the last level */
    }
    /* 510 is a pointer to the table, 511 a leaf: the table itself, in which A and D get set. */
    table[511] = self | 7;
    csr_write(satp, 8ul << 60 | root);
    __asm__ volatile("sfence.vma" ::: "memory");
    long window = (long)(~0ul << 39 | 510ul << 30 | 510ul << 21 | 511ul << 12);
    csr_set(menvcfg, 1ul << 61); /* ADUE */
    expect(probe(store, window + 8) == -1, 2);
    expect(table[1] == 1, 3);
    expect(table[511] == (self | 0xc7), 4);
    /* The store takes its own mapping away. */
    expect(probe(store, window + 511 * 8) == -1, 5);
    __asm__ volatile("sfence.vma" ::: "memory");
    expect(probe(load, window) == 13, 6);
}

static void garbage(uint64_t n)
{
    uint64_t seed = n;

    for (unsigned i = 0; i < 512; i++)
        table[i] = rnd(&seed) << 40 ^ rnd(&seed) << 20 ^ rnd(&seed);
    for (unsigned i = 0; i < 300; i++)
        use(rnd(&seed) << 44 ^ (uint64_t)table >> 12 ^ (rnd(&seed) & 15 ? 0 : rnd(&seed)),
            (long)(rnd(&seed) << 30 ^ rnd(&seed)));
}

void guest_main(uint64_t hart)
{
    if (hart)
        return;
    csr_write(pmpaddr0, ~0ul);
    csr_write(pmpcfg0, 0x1f);
    foreign_roots();
    table_of_itself();
    for (uint64_t n = 0; n < 30; n++)
        garbage(n);
    guest_end(0);
}
