/* A hostile virtio driver: the input is a program of register accesses, descriptors, ring changes and
 * notifies for four devices behind virtio-mmio and PCI. Afterwards every device must still be usable. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "devices/device.h"
#include "sim-core/alloc.h"
#include "sim-core/log.h"
#include "virtio/virtio.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define RAM_BASE 0x80000000ull
#define RAM_SIZE 0x40000ull
#define SLOTS 0x10001000ull
#define ECAM 0x30000000ull
#define WINDOW 0x40000000ull

enum { DEVICES = 4, QUEUE = 16, MAX_STEPS = 400 };
enum { BLK, NET, CONSOLE, RNG };

/* The machine is made once: each input begins with its reset. */
struct machine {
    struct sim *sim;
    struct mem_space *space;
    struct device *slot[DEVICES], *host;
    struct blockdev *drive;
    struct netdev *net, *far;
    struct chardev *console;
};

struct input {
    const uint8_t *p, *end;
};

static uint32_t take(struct input *in, unsigned bytes)
{
    uint32_t v = 0;

    for (unsigned i = 0; i < bytes; i++)
        v |= (uint32_t)(in->p < in->end ? *in->p++ : 0) << (i * 8);
    return v;
}

static void must(bool ok, const char *what)
{
    if (!ok) {
        sim_error("fuzz: %s", what);
        abort();
    }
}

/* --- the machine --- */

static struct virtio_device *make(struct machine *m, unsigned kind, const char *path)
{
    struct virtio_device *v = NULL;
    struct blockdev_options o = {.path = path, .serial = "fuzz"};
    const uint8_t mac[6] = {2};
    struct netdev *near;

    switch (kind) {
    case BLK:
        must(blockdev_open(m->sim, &o, &m->drive) == SIM_OK &&
                 virtio_blk_create(m->sim, m->drive, &v) == SIM_OK, "no drive");
        break;
    case NET:
        must(netdev_create(m->sim, "pair", mac, &near) == SIM_OK &&
                 netdev_create(m->sim, "pair", mac, &m->far) == SIM_OK &&
                 virtio_net_create(m->sim, near, &v) == SIM_OK, "no net");
        netdev_join(near, m->far);
        break;
    case CONSOLE:
        must(chardev_create(m->sim, "null", &m->console) == SIM_OK &&
                 virtio_console_create(m->sim, m->console, &v) == SIM_OK, "no console");
        break;
    default:
        must(virtio_rng_create(m->sim, &v) == SIM_OK, "no rng");
    }
    return v;
}

static struct device *node(struct machine *m, const char *compatible, gpa_t base, uint64_t size)
{
    struct dev_reg reg = {base, size};
    struct dev_range range = {0x02000000, WINDOW, WINDOW, 0x100000};
    struct irq_line lines[4] = {{0}};
    struct dev_args args = {.sim = m->sim, .space = m->space, .label = compatible, .reg = &reg,
                            .nr_reg = 1, .range = &range, .nr_range = 1, .irq = lines, .nr_irq = 4};
    struct device *d;

    must(dev_find_driver(compatible)->create(&args, &d) == SIM_OK, compatible);
    return d;
}

static void build(struct machine *m)
{
    char path[32];
    int fd = memfd_create("fuzz", 0);

    must(fd >= 0 && ftruncate(fd, 64 << 10) == 0, "no image");
    snprintf(path, sizeof path, "/proc/self/fd/%d", fd);
    must(sim_create(&m->sim) == SIM_OK && sim_io_start(m->sim->io) == SIM_OK, "no simulation");
    must(mem_space_create(m->sim, &m->space) == SIM_OK &&
             mem_add_ram(m->space, "ram", RAM_BASE, RAM_SIZE) == SIM_OK &&
             mem_seal_ram(m->space) == SIM_OK, "no memory");
    m->host = node(m, "pci-host-ecam-generic", ECAM, 0x100000);
    for (unsigned i = 0; i < DEVICES; i++) {
        m->slot[i] = node(m, "virtio,mmio", SLOTS + i * 0x1000, 0x1000);
        must(virtio_mmio_plug(m->slot[i], make(m, i, path)) == SIM_OK, "no slot");
        must(pcie_host_plug_virtio(m->host, make(m, i, path)) == SIM_OK, "no PCI slot");
    }
}

/* --- the driver --- */

static void put(struct machine *m, gpa_t gpa, unsigned size, uint64_t value)
{
    (void)mem_mmio_write(m->space, gpa, size, value);
}

static uint32_t get(struct machine *m, gpa_t gpa, unsigned size)
{
    uint64_t value = 0;

    (void)mem_mmio_read(m->space, gpa, size, &value);
    return (uint32_t)value;
}

static void poke(struct machine *m, gpa_t gpa, const void *data, uint64_t len)
{
    (void)mem_write(m->space, gpa, data, len);
}

static gpa_t ring(unsigned q)
{
    return RAM_BASE + q * 0x1000;
}

static void start_mmio(struct machine *m, unsigned dev, uint64_t features)
{
    gpa_t r = SLOTS + dev * 0x1000;

    put(m, r + 0x70, 4, 0);
    put(m, r + 0x70, 4, 3);
    for (unsigned word = 0; word < 2; word++) {
        put(m, r + 0x14, 4, word);
        put(m, r + 0x24, 4, word);
        put(m, r + 0x20, 4, get(m, r + 0x10, 4) & (uint32_t)(features >> word * 32));
    }
    put(m, r + 0x70, 4, 11);
    for (unsigned q = 0; q < 3; q++) {
        put(m, r + 0x30, 4, q);
        put(m, r + 0x38, 4, dev == RNG ? 8 : QUEUE);
        put(m, r + 0x80, 4, ring(q));
        put(m, r + 0x90, 4, ring(q) + 0x400);
        put(m, r + 0xa0, 4, ring(q) + 0x800);
        put(m, r + 0x44, 4, 1);
    }
    put(m, r + 0x70, 4, 15);
}

static gpa_t pci_regs(unsigned dev)
{
    return WINDOW + 0x10000 + dev * 0x8000;
}

static void start_pci(struct machine *m, unsigned dev, uint64_t features, bool msix)
{
    gpa_t cfg = ECAM + ((dev + 1) << 15), r = pci_regs(dev);

    put(m, cfg + 0x14, 4, WINDOW + dev * 0x1000);
    put(m, cfg + 0x20, 4, r);
    put(m, cfg + 4, 2, 6);
    put(m, cfg + 0x42, 2, msix ? 0x8000 : 0);
    put(m, r + 0x14, 1, 0);
    put(m, r + 0x14, 1, 3);
    for (unsigned word = 0; word < 2; word++) {
        put(m, r, 4, word);
        put(m, r + 8, 4, word);
        put(m, r + 12, 4, get(m, r + 4, 4) & (uint32_t)(features >> word * 32));
    }
    put(m, r + 0x14, 1, 11);
    for (unsigned q = 0; q < 3; q++) {
        put(m, r + 0x16, 2, q);
        put(m, r + 0x18, 2, dev == RNG ? 8 : QUEUE);
        put(m, r + 0x1a, 2, q);
        put(m, r + 0x20, 4, ring(q));
        put(m, r + 0x28, 4, ring(q) + 0x400);
        put(m, r + 0x30, 4, ring(q) + 0x800);
        put(m, r + 0x1c, 2, 1);
    }
    put(m, r + 0x14, 1, 15);
}

static void notify(struct machine *m, unsigned dev, bool pci, unsigned q)
{
    if (pci)
        put(m, pci_regs(dev) + 0x3000 + q * 4, 2, q);
    else
        put(m, SLOTS + dev * 0x1000 + 0x50, 4, q);
}

/* Addresses that mean something more often than random ones do. */
static uint64_t address(struct input *in)
{
    static const uint64_t special[] = {0, SLOTS + 0x50, ECAM + 0x8000, WINDOW, RAM_BASE + RAM_SIZE - 4,
                                       RAM_BASE - 8, UINT64_MAX - 4, 1ull << 63};
    uint32_t v = take(in, 3);

    return v >> 22 == 3 ? special[v & 7] + (v >> 3 & 15) : RAM_BASE + (v & (RAM_SIZE - 1));
}

struct step {
    struct machine *m;
    struct input *in;
    unsigned dev, q;
    bool pci;
};

static void step_descriptor(struct step *s)
{
    struct {
        uint64_t addr;
        uint32_t len;
        uint16_t flags, next;
    } d = {address(s->in), take(s->in, 2), (uint16_t)(take(s->in, 1) & 7),
           (uint16_t)(take(s->in, 1) % (QUEUE + 2))};

    if (d.flags & 4)
        d.len &= 0xff0;
    else if (d.len >> 12 == 15)
        d.len <<= 16;
    poke(s->m, ring(s->q) + (take(s->in, 1) % QUEUE) * 16, &d, sizeof d);
}

static void step_offer(struct step *s)
{
    uint8_t by = (uint8_t)take(s->in, 1), head = (uint8_t)take(s->in, 1);
    uint16_t idx = 0, entry = head % (QUEUE + 1), flags = by >> 7;

    (void)mem_read(s->m->space, ring(s->q) + 0x402, &idx, 2);
    poke(s->m, ring(s->q) + 0x404 + (idx % QUEUE) * 2, &entry, 2);
    idx = (uint16_t)(idx + (by & 64 ? by & 31 : 1));
    poke(s->m, ring(s->q) + 0x402, &idx, 2);
    poke(s->m, ring(s->q) + 0x400, &flags, 2);
    notify(s->m, s->dev, s->pci, s->q);
}

static void step_register(struct step *s)
{
    unsigned size = 1u << (take(s->in, 1) & 3);
    gpa_t base = s->pci ? pci_regs(s->dev) : SLOTS + s->dev * 0x1000;
    gpa_t gpa = base + ((take(s->in, 2) & (s->pci ? 0x3fff : 0xfff)) & ~(gpa_t)(size - 1));

    put(s->m, gpa, size, take(s->in, 4));
    get(s->m, gpa, size);
}

static void step_config_space(struct step *s)
{
    unsigned size = 1u << (take(s->in, 1) % 3);
    gpa_t gpa = ECAM + ((s->dev + 1) << 15) + (take(s->in, 1) & ~(size - 1));

    put(s->m, gpa, size, take(s->in, 4));
    get(s->m, gpa, size);
}

static void step_msix(struct step *s)
{
    gpa_t entry = WINDOW + s->dev * 0x1000 + (take(s->in, 1) & 3) * 16;

    put(s->m, entry, 8, address(s->in));
    put(s->m, entry + 8, 4, take(s->in, 1));
    put(s->m, entry + 12, 4, take(s->in, 1) & 1);
}

static void step_memory(struct step *s)
{
    uint32_t v = take(s->in, 4);

    poke(s->m, RAM_BASE + (take(s->in, 2) & 0x7ffc), &v, 4);
}

static void step_outside(struct step *s)
{
    uint8_t bytes[300];
    size_t len = 1 + take(s->in, 1);

    memset(bytes, (int)len, sizeof bytes);
    netdev_send(s->m->far, bytes, len);
    chardev_inject(s->m->console, bytes, len);
}

/* Round trips change nothing; a damaged image is refused or leaves a device that a reset repairs. */
static void step_state(struct step *s)
{
    struct device *d = s->pci ? s->m->host : s->m->slot[s->dev];
    struct state_buf buf = {0};
    uint32_t at = take(s->in, 2);
    uint8_t flip = (uint8_t)take(s->in, 1);
    size_t used;

    sim_io_stop(s->m->sim->io);
    state_save(d->ops->state, d, &buf);
    must(state_load(d->ops->state, d, buf.data, buf.len, &used) == SIM_OK, "own image refused");
    buf.data[at % buf.len] ^= flip;
    if (state_load(d->ops->state, d, buf.data, buf.len, &used) != SIM_OK)
        dev_reset(d);
    state_buf_fini(&buf);
    must(sim_io_start(s->m->sim->io) == SIM_OK, "no I/O thread");
}

static void step_start(struct step *s)
{
    uint64_t features = 1ull << VIRTIO_F_VERSION_1 | take(s->in, 4) | (uint64_t)take(s->in, 2) << 32;

    if (s->pci)
        start_pci(s->m, s->dev, features, features >> 33 & 1);
    else
        start_mmio(s->m, s->dev, features);
}

static void (*const steps[])(struct step *) = {
    step_descriptor, step_descriptor, step_descriptor,   step_descriptor, step_offer,
    step_offer,      step_register,   step_config_space, step_msix,       step_memory,
    step_outside,    step_start,      step_state,
};

/* --- afterwards --- */

static void check_alive(struct machine *m)
{
    struct {
        uint64_t addr;
        uint32_t len;
        uint16_t flags, next;
    } d = {RAM_BASE + 0x8000, 16, 2, 0};
    const uint16_t avail[] = {0, 1, 0};
    uint16_t used = 0;

    for (unsigned i = 0; i < DEVICES; i++)
        dev_reset(m->slot[i]);
    dev_reset(m->host);
    memset(m->space->ram, 0, RAM_SIZE);
    poke(m, ring(0), &d, sizeof d);
    poke(m, ring(0) + 0x400, avail, sizeof avail);
    start_mmio(m, RNG, UINT64_MAX);
    (void)mem_read(m->space, ring(0) + 0x802, &used, 2);
    must(used == 1, "the device behind virtio-mmio is dead");
    memset(m->space->ram + 0x800, 0, 0x800);
    start_pci(m, RNG, UINT64_MAX, false);
    (void)mem_read(m->space, ring(0) + 0x802, &used, 2);
    must(used == 1, "the device behind PCI is dead");
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static struct machine m;
    struct input in = {data, data + size};
    struct step s = {.m = &m, .in = &in};

    if (!m.sim)
        build(&m);
    for (unsigned i = 0; i < DEVICES; i++) {
        start_mmio(&m, i, UINT64_MAX);
        start_pci(&m, i, UINT64_MAX, true);
    }
    for (unsigned i = 0; in.p < in.end && i < MAX_STEPS; i++) {
        uint32_t op = take(&in, 1), where = take(&in, 1);
        s.dev = where & 3;
        s.q = where >> 2 & 3;
        s.pci = where >> 4 & 1;
        steps[op % SIM_ARRAY_LEN(steps)](&s);
    }
    check_alive(&m);
    return 0;
}
