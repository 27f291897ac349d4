/* All harts write and read random registers of all devices at once, in all sizes. BARs, MSI-X tables,
 * queues and timers get random values; only the finisher is left alone until the end. */
#include "hostile.h"

enum { ACCESSES = 60000 };

static const struct {
    uint64_t base, size;
} ranges[] = {
    {UART, 8}, {RTC, 0x20}, {CLINT, 0x40}, {CLINT + 0x4000, 0x40}, {CLINT + 0xbff0, 16}, {PLIC, 0x400},
    {PLIC + 0x1000, 0x100}, {PLIC + 0x2000, 0x400}, {PLIC + 0x200000, 0x8000}, {VIRTIO, 0x8000},
    {ECAM, 0x40000}, {PCI_WINDOW, 0x100000},
};

struct access {
    uint64_t a, v;
    unsigned size;
};

static void load(long arg)
{
    const struct access *x = (const struct access *)arg;

    switch (x->size) {
    case 0: (void)*(volatile uint8_t *)x->a; break;
    case 1: (void)*(volatile uint16_t *)x->a; break;
    case 2: (void)*(volatile uint32_t *)x->a; break;
    default: (void)*(volatile uint64_t *)x->a; break;
    }
}

static void store(long arg)
{
    const struct access *x = (const struct access *)arg;

    switch (x->size) {
    case 0: *(volatile uint8_t *)x->a = (uint8_t)x->v; break;
    case 1: *(volatile uint16_t *)x->a = (uint16_t)x->v; break;
    case 2: *(volatile uint32_t *)x->a = (uint32_t)x->v; break;
    default: *(volatile uint64_t *)x->a = x->v; break;
    }
}

/* Half of the values are addresses of something, or small. */
static uint64_t value(uint64_t *seed)
{
    uint64_t r = rnd(seed);

    switch (r & 7) {
    case 0: return KEPT + (r >> 8 & 0xffff0);
    case 1: return PCI_WINDOW + (r >> 8 & 0xff000);
    case 2: return RAM_END - (r >> 8 & 0xff);
    case 3: return VIRTIO + 0x50;
    case 4: return r >> 8 & 15;
    case 5: return ~0ul;
    default: return rnd(seed) << 32 ^ r;
    }
}

static struct barrier end;

void guest_main(uint64_t hart)
{
    uint64_t seed = hart * 0x9e3779b97f4a7c15ul + 1;

    for (unsigned i = 0; i < ACCESSES; i++) {
        unsigned r = (unsigned)(rnd(&seed) % (sizeof ranges / sizeof ranges[0]));
        struct access x = {.v = value(&seed), .size = rnd(&seed) & 3};
        x.a = ranges[r].base + rnd(&seed) % ranges[r].size;
        if (rnd(&seed) & 15)
            x.a &= ~((1ul << x.size) - 1);
        (void)probe(rnd(&seed) & 1 ? store : load, (long)&x);
    }
    barrier_wait(&end, HARTS);
    if (hart == 0)
        guest_end(0);
}
