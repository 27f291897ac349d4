/* Queues of all virtio devices lie in memory of other ranks, and harts of other ranks scribble over them while the devices
 * are at work: descriptors that loop, point at devices, at the rings, past the end of RAM. One hart offers requests of
 * which some are sound; the requests' bytes and their status share pages with words that others add to. */
#include "hostile.h"

enum { ROUNDS = 500, SLOTS = 8, ENTRIES = 16, QUEUES = 4 };
#define BUFFERS (RAM + (4ul << 20) - 8192) /* with four ranks: of two homes */
#define BUFFER_MASK 0x3ff8ul

struct ring { /* each part over a page boundary */
    struct {
        uint64_t addr;
        uint32_t len;
        uint16_t flags, next;
    } desc[ENTRIES];
    uint8_t gap[0xff0 - ENTRIES * 16];
    struct {
        uint16_t flags, idx, entry[ENTRIES + 1];
    } avail;
    uint8_t gap2[0x1ff8 - 0xff0 - 4 - 2 * (ENTRIES + 1)];
    struct {
        uint16_t flags, idx;
        struct {
            uint32_t id, len;
        } entry[ENTRIES];
    } used;
};

static struct barrier ready;
static volatile uint32_t stop;

static volatile struct ring *ring_of(uint64_t slot)
{
    return (volatile struct ring *)(RAM + (8ul << 20) + slot * 0x4000);
}

static uint64_t registers_of(uint64_t slot)
{
    return VIRTIO + slot * 0x1000;
}

static uint64_t bad_address(uint64_t *seed)
{
    uint64_t r = rnd(seed);

    switch (r & 7) {
    case 0: return (uint64_t)ring_of(0) + (r >> 8 & 0x7fff);
    case 1: return BUFFERS + (r >> 8 & 0x3fff);
    case 2: return RAM_END - (r >> 8 & 0xfff);
    case 3: return VIRTIO + REG_NOTIFY;
    case 4: return UART;
    case 5: return ~0ul - (r >> 8 & 0xfff);
    case 6: return KEPT + (r >> 8 & 0xfffff);
    default: return BUFFERS;
    }
}

static void fill_badly(uint64_t slot, uint64_t *seed)
{
    for (unsigned i = 0; i < ENTRIES; i++) {
        uint64_t r = rnd(seed);
        ring_of(slot)->desc[i].addr = bad_address(seed);
        ring_of(slot)->desc[i].len = r & 0x100 ? (uint32_t)r : r >> 20 & 0xffff;
        ring_of(slot)->desc[i].flags = r >> 40 & 7;
        ring_of(slot)->desc[i].next = r >> 44 & 31;
    }
}

/* As a disk likes it: header, data, status; the device writes the last two. */
static void fill_well(uint64_t slot, uint64_t *seed)
{
    volatile uint32_t *header = (volatile uint32_t *)(BUFFERS + (rnd(seed) & BUFFER_MASK));

    for (unsigned i = 0; i < 4; i++)
        header[i] = i == 2 ? rnd(seed) & 7 : 0; /* read this sector */
    for (uint16_t i = 0; i < 3; i++) {
        ring_of(slot)->desc[i].addr = i ? BUFFERS + (rnd(seed) & BUFFER_MASK) : (uint64_t)header;
        ring_of(slot)->desc[i].len = i == 0 ? 16 : i == 1 ? 512 * (1 + (rnd(seed) & 15)) : 1;
        ring_of(slot)->desc[i].flags = (i < 2 ? DESC_NEXT : 0) | (i ? DESC_WRITE : 0);
        ring_of(slot)->desc[i].next = i + 1;
    }
}

static void write_address(uint64_t a, volatile void *p)
{
    write32(a, (uint32_t)(uint64_t)p);
    write32(a + 4, 0);
}

static void set_up(uint64_t slot, uint64_t ring_slot)
{
    uint64_t regs = registers_of(slot);
    volatile struct ring *ring = ring_of(ring_slot);

    write32(regs + REG_STATUS, 0);
    write32(regs + REG_STATUS, 3);
    for (uint32_t word = 2; word--;) { /* VERSION_1 only */
        write32(regs + REG_FEATURES_SEL, word);
        write32(regs + REG_FEATURES, word);
    }
    write32(regs + REG_STATUS, 11);
    for (uint32_t queue = 0; queue < QUEUES; queue++) {
        write32(regs + REG_QUEUE, queue);
        if (!read32(regs + REG_QUEUE_MAX))
            continue;
        write32(regs + REG_QUEUE_NUM, ENTRIES);
        write_address(regs + REG_DESC, ring->desc);
        write_address(regs + REG_AVAIL, &ring->avail);
        write_address(regs + REG_USED, &ring->used);
        write32(regs + REG_READY, 1);
    }
    write32(regs + REG_STATUS, 15);
}

static void clear(volatile struct ring *ring)
{
    for (unsigned i = 0; i < sizeof *ring / 8; i++)
        ((volatile uint64_t *)ring)[i] = 0;
}

static uint64_t offer(uint64_t slot, unsigned round, uint64_t *seed)
{
    uint64_t regs = registers_of(slot);
    volatile struct ring *ring = ring_of(slot);

    if (read32(regs + REG_ID) == 0)
        return 0;
    if (round % 8 == 0) {
        clear(ring);
        set_up(slot, slot);
    }
    (round % 4 ? fill_well : fill_badly)(slot, seed);
    ring->avail.entry[ring->avail.idx % ENTRIES] = 0;
    __atomic_thread_fence(__ATOMIC_SEQ_CST);
    ring->avail.idx++;
    __atomic_thread_fence(__ATOMIC_SEQ_CST);
    write32(regs + REG_NOTIFY, rnd(seed) & 1);
    write32(regs + REG_ACK, 3);
    return ring->used.idx;
}

static void disturb(uint64_t hart, unsigned n, uint64_t *seed)
{
    uint64_t slot = rnd(seed) % SLOTS, r = rnd(seed);
    volatile struct ring *ring = ring_of(slot);

    switch (n % 7) {
    case 0: fill_badly(slot, seed); break;
    case 1: ring->avail.idx = (uint16_t)r; break;
    case 2: ring->avail.entry[r % (ENTRIES + 1)] = r >> 8 & 31; break;
    case 3: __atomic_fetch_add((uint64_t *)(BUFFERS + (r & BUFFER_MASK)), 1, __ATOMIC_SEQ_CST); break;
    case 4: ring->used.idx = (uint16_t)r; break;
    case 5:
        if (hart == 3)
            write32(registers_of(slot) + REG_NOTIFY, r & 3);
        break;
    default:
        if (hart == 2 && r % 16 == 0)
            set_up(slot, slot ^ (r >> 8 & 1));
    }
}

void guest_main(uint64_t hart)
{
    uint64_t seed = hart + 11, served = 0;

    barrier_wait(&ready, HARTS);
    for (unsigned n = 0; hart && !stop; n++)
        disturb(hart, n, &seed);
    if (hart)
        return;
    for (unsigned round = 0; round < ROUNDS; round++)
        for (uint64_t slot = 0; slot < SLOTS; slot++)
            served += offer(slot, round, &seed);
    stop = 1;
    expect(served > 0, 10);
    guest_end(0);
}
