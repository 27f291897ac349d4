/* Pages that all harts and a disk use at once, each its own part, so that they go from rank to rank all the time; and nothing of
 * it may get lost. Of each page of the window:
 *
 *   0x000  end of an access that began on the page before: its hart's alone
 *   0x008  a sum by amoadd.d and one by LR/SC, of all harts; sums of 32 bits
 *   0x200  what the disk reads from, or writes to: hart 0 asks for it, and looks at every word
 *   0x600  the request's header, and its status
 *   0xffc  an access that ends on the next page
 *
 * It ends after some rounds, or (-DUNTIL_TYPED) after as many again until something is typed. */
#include "hostile.h"

enum { ROUNDS = 400, PAGES = 6, SECTORS = 16, ENTRIES = 4, DISK = 2 };
#define WINDOW (RAM + (4ul << 20) - 2 * 4096) /* with four ranks: of two homes */

struct page {
    uint32_t head, unused;
    uint64_t amo, lrsc;
    uint32_t words[2];
    uint8_t gap[0x200 - 0x20];
    uint64_t data[128]; /* two sectors */
    struct {
        uint32_t type, reserved;
        uint64_t sector;
    } header;
    uint8_t status;
    uint8_t gap2[0xffc - 0x611];
    uint32_t tail;
};
_Static_assert(sizeof(struct page) == 4096, "a page");

static struct {
    struct {
        uint64_t addr;
        uint32_t len;
        uint16_t flags, next;
    } desc[ENTRIES];
    struct {
        uint16_t flags, idx, entry[ENTRIES + 1];
    } avail;
    uint8_t gap[4096 - 16 * ENTRIES - 2 * (ENTRIES + 3)];
    struct {
        uint16_t flags, idx;
        struct {
            uint32_t id, len;
        } entry[ENTRIES];
    } used;
} ring __attribute__((aligned(4096)));

static struct barrier ready, end;
static uint64_t disk; /* its registers */

static volatile struct page *page_of(uint64_t n)
{
    return (volatile struct page *)WINDOW + n % PAGES;
}

static uint64_t word_of(uint64_t sector, unsigned i)
{
    return (sector << 32 | i) * 0x9e3779b97f4a7c15ul;
}

/* --- the disk --- */

static void write_address(uint64_t a, volatile void *p)
{
    write32(a, (uint32_t)(uint64_t)p);
    write32(a + 4, 0);
}

static void find_disk(void)
{
    for (uint64_t slot = 0; slot < 8; slot++)
        if (read32(VIRTIO + slot * 0x1000 + REG_ID) == DISK)
            disk = VIRTIO + slot * 0x1000;
    expect(disk != 0, 10);
    write32(disk + REG_STATUS, 0);
    write32(disk + REG_STATUS, 3);
    for (uint32_t word = 2; word--;) { /* VERSION_1 only */
        write32(disk + REG_FEATURES_SEL, word);
        write32(disk + REG_FEATURES, word);
    }
    write32(disk + REG_STATUS, 11);
    write32(disk + REG_QUEUE_NUM, ENTRIES);
    write_address(disk + REG_DESC, ring.desc);
    write_address(disk + REG_AVAIL, &ring.avail);
    write_address(disk + REG_USED, &ring.used);
    write32(disk + REG_READY, 1);
    write32(disk + REG_STATUS, 15);
}

static void describe(unsigned i, volatile void *p, uint32_t len, uint16_t flags)
{
    ring.desc[i].addr = (uint64_t)p;
    ring.desc[i].len = len;
    ring.desc[i].flags = flags;
    ring.desc[i].next = (uint16_t)(i + 1);
}

/* Two sectors: header, data and status are of three pages. */
static void transfer(uint64_t n, uint64_t sector, int to_disk)
{
    volatile struct page *head = page_of(n), *data = page_of(n + 1), *status = page_of(n + 2);
    uint16_t before = ring.used.idx;

    head->header.type = to_disk;
    head->header.sector = sector;
    status->status = 77;
    describe(0, &head->header, 16, DESC_NEXT);
    describe(1, data->data, sizeof data->data, DESC_NEXT | (to_disk ? 0 : DESC_WRITE));
    describe(2, &status->status, 1, DESC_WRITE);
    ring.avail.entry[ring.avail.idx % ENTRIES] = 0;
    __atomic_thread_fence(__ATOMIC_SEQ_CST);
    ring.avail.idx++;
    __atomic_thread_fence(__ATOMIC_SEQ_CST);
    write32(disk + REG_NOTIFY, 0);
    while (*(volatile uint16_t *)&ring.used.idx == before)
        __asm__ volatile(".word 0x0100000f"); /* pause */
    __atomic_thread_fence(__ATOMIC_SEQ_CST);
    write32(disk + REG_ACK, 3);
    expect(status->status == 0, 11);
}

static void fill_disk(void)
{
    for (uint64_t sector = 0; sector < SECTORS; sector += 2) {
        for (unsigned i = 0; i < 128; i++)
            page_of(sector + 1)->data[i] = word_of(sector, i);
        transfer(sector, sector, 1);
    }
}

static void read_disk(uint64_t *seed)
{
    uint64_t n = rnd(seed) % PAGES, sector = rnd(seed) % (SECTORS / 2) * 2;
    volatile struct page *p = page_of(n + 1);

    for (unsigned i = 0; i < 128; i += 16)
        p->data[i] = 0;
    transfer(n, sector, 0);
    for (unsigned i = 0; i < 128; i++)
        expect(p->data[i] == word_of(sector, i), 12);
}

/* --- the harts --- */

static void add_by_lrsc(volatile uint64_t *p)
{
    uint64_t old, failed;

    __asm__ volatile("1: lr.d %0, (%2)\n\taddi %0, %0, 1\n\tsc.d %1, %0, (%2)\n\tbnez %1, 1b"
                     : "=&r"(old), "=&r"(failed)
                     : "r"(p)
                     : "memory");
}

/* Half of it is on the next page. Each place is one hart's. */
static void over_the_end(uint64_t hart, uint64_t *seed)
{
    volatile uint64_t *at = (volatile uint64_t *)&page_of(hart)->tail;
    uint64_t value = rnd(seed) * 0x100000001ul, seen;

    __asm__ volatile("sd %0, (%1)" ::"r"(value), "r"(at) : "memory");
    for (unsigned i = 0; i < 4; i++) {
        __asm__ volatile("ld %0, (%1)" : "=r"(seen) : "r"(at) : "memory");
        expect(seen == value, 20 + hart);
    }
}

static void round_of(uint64_t hart, uint64_t *seed)
{
    for (uint64_t n = 0; n < PAGES; n++) {
        volatile struct page *p = page_of(n + hart);
        __atomic_fetch_add(&p->amo, 1, __ATOMIC_RELAXED);
        add_by_lrsc(&p->lrsc);
        __atomic_fetch_add(&p->words[hart & 1], 1, __ATOMIC_RELAXED);
    }
    over_the_end(hart, seed);
}

static void check_sums(uint64_t rounds)
{
    const uint32_t half = (uint32_t)(HARTS / 2 * rounds);

    for (uint64_t n = 0; n < PAGES; n++) {
        expect(page_of(n)->amo == HARTS * rounds, 30);
        expect(page_of(n)->lrsc == HARTS * rounds, 31);
        expect(page_of(n)->words[0] == half && page_of(n)->words[1] == half, 32);
    }
}

static int is_told_to_end(void)
{
#ifdef UNTIL_TYPED
    return *(volatile uint8_t *)(UART + 5) & 1; /* LSR: data ready */
#else
    return 1;
#endif
}

/* All harts go through as many passes: hart 0 names the last one before it comes to the end of it. */
static int is_last(uint64_t hart, uint32_t pass)
{
    static volatile uint32_t last;

    if (hart == 0 && !last && is_told_to_end())
        last = pass;
    barrier_wait(&end, HARTS * pass);
    return last == pass;
}

void guest_main(uint64_t hart)
{
    uint64_t seed = hart + 3;
    uint32_t pass = 0;

    if (hart == 0) {
        find_disk();
        fill_disk();
    }
    barrier_wait(&ready, HARTS);
    do {
        for (unsigned i = 0; i < ROUNDS; i++) {
            round_of(hart, &seed);
            if (hart == 0 && i % 2 == 0)
                read_disk(&seed);
        }
    } while (!is_last(hart, ++pass));
    if (hart != 0)
        return;
    check_sums((uint64_t)ROUNDS * pass);
    guest_end(0);
}
