/* The PCIe host and virtio behind it: enumeration, BARs, INTx, MSI-X, the configuration window, state,
 * and guests that program nonsense. */
#include "virtio_driver.h"

#include <stdlib.h>
#include <unistd.h>

#define ECAM 0x30000000ull
#define WIN32 0x40000000ull
#define WIN64 0x400000000ull
#define WIN64_CHILD 0x8000000000ull /* another address on the bus side */
#define MSIX_AT (WIN32 + 0x10000)
#define REGS_AT (WIN64 + 0x4000)
#define MSI_TARGET (RAM_BASE + 0x700000)

enum { CAP_COMMON = 1, CAP_NOTIFY = 2, CAP_ISR = 3, CAP_DEVICE = 4, CAP_PCI = 5 };

struct fixture {
    struct driver d; /* slot: the PCI host */
    struct blockdev *b[3];
    char path[32];
    unsigned cap[6], msix;
};

static uint64_t phys_read(struct fixture *f, gpa_t gpa, unsigned size)
{
    uint64_t value = 0;

    assert_int_equal(mem_mmio_read(f->d.space, gpa, size, &value), MEM_OK);
    return value;
}

static void phys_write(struct fixture *f, gpa_t gpa, unsigned size, uint64_t value)
{
    assert_int_equal(mem_mmio_write(f->d.space, gpa, size, value), MEM_OK);
}

static uint64_t cfg_read(struct fixture *f, unsigned slot, unsigned reg, unsigned size)
{
    return phys_read(f, ECAM + (slot << 15) + reg, size);
}

static void cfg_write(struct fixture *f, unsigned slot, unsigned reg, unsigned size, uint64_t value)
{
    phys_write(f, ECAM + (slot << 15) + reg, size, value);
}

static void create_host(struct driver *d)
{
    struct dev_reg reg = {ECAM, 0x10000000};
    struct dev_range range[] = {{0x01000000, 0, 0x3000000, 0x10000},
                                {0x02000000, WIN32, WIN32, 0x40000000},
                                {0x03000000, WIN64_CHILD, WIN64, 0x400000000}};
    struct irq_line irq[4];

    for (unsigned i = 0; i < 4; i++)
        irq[i] = irq_probe_line(&d->irq, 32 + i);
    struct dev_args args = {.sim = d->sim,
                            .space = d->space,
                            .label = "pci@30000000",
                            .reg = &reg,
                            .nr_reg = 1,
                            .range = range,
                            .nr_range = 3,
                            .irq = irq,
                            .nr_irq = 4};
    assert_int_equal(dev_find_driver("pci-host-ecam-generic")->create(&args, &d->slot), SIM_OK);
}

static void plug_disk(struct fixture *f, unsigned n)
{
    struct blockdev_options o = {.path = f->path};
    struct virtio_device *v;

    assert_int_equal(blockdev_open(f->d.sim, &o, &f->b[n]), SIM_OK);
    assert_int_equal(virtio_blk_create(f->d.sim, f->b[n], &v), SIM_OK);
    assert_int_equal(pcie_host_plug_virtio(f->d.slot, v), SIM_OK);
}

static void find_capabilities(struct fixture *f, unsigned slot)
{
    unsigned at = (unsigned)cfg_read(f, slot, 0x34, 1), n = 0;

    for (; at; at = (unsigned)cfg_read(f, slot, at + 1, 1)) {
        assert_true(n++ < 10);
        if (cfg_read(f, slot, at, 1) == 0x11)
            f->msix = at;
        else if (cfg_read(f, slot, at, 1) == 9)
            f->cap[cfg_read(f, slot, at + 3, 1)] = at;
    }
}

static int setup(void **state)
{
    struct fixture *f = calloc(1, sizeof *f);

    driver_base_init(&f->d);
    create_host(&f->d);
    strcpy(f->path, "/tmp/pciXXXXXX");
    int fd = mkstemp(f->path);
    assert_int_equal(ftruncate(fd, 1 << 20), 0);
    assert_int_equal(pwrite(fd, "sector three", 12, 3 * 512), 12);
    close(fd);
    for (unsigned i = 0; i < 3; i++)
        plug_disk(f, i);
    find_capabilities(f, 1);
    *state = f;
    return 0;
}

static int teardown(void **state)
{
    struct fixture *f = *state;

    driver_fini(&f->d);
    for (unsigned i = 0; i < 3; i++)
        blockdev_close(f->b[i]);
    unlink(f->path);
    free(f);
    return 0;
}

/* Places slot 1's BARs and switches decoding on. */
static void place_bars(struct fixture *f, unsigned slot)
{
    cfg_write(f, slot, 0x14, 4, MSIX_AT);
    cfg_write(f, slot, 0x20, 4, (uint32_t)(WIN64_CHILD + 0x4000));
    cfg_write(f, slot, 0x24, 4, (WIN64_CHILD + 0x4000) >> 32);
    cfg_write(f, slot, 4, 2, 6);
}

static uint64_t common_read(struct fixture *f, unsigned reg, unsigned size)
{
    return phys_read(f, REGS_AT + reg, size);
}

static void common_write(struct fixture *f, unsigned reg, unsigned size, uint64_t value)
{
    phys_write(f, REGS_AT + reg, size, value);
}

static void start_device(struct fixture *f)
{
    struct driver *d = &f->d;
    gpa_t base = ring_desc(0);

    d->qsize = QSIZE;
    memset(guest(d, base), 0, 0x1000);
    d->avail[0] = d->seen[0] = 0;
    common_write(f, 0x14, 1, 0);
    assert_int_equal(common_read(f, 0x14, 1), 0);
    common_write(f, 0x14, 1, 3);
    for (unsigned word = 0; word < 2; word++) {
        common_write(f, 0, 4, word);
        uint64_t bits = common_read(f, 4, 4);
        common_write(f, 8, 4, word);
        common_write(f, 12, 4, bits);
        assert_int_equal(common_read(f, 12, 4), bits);
    }
    common_write(f, 0x14, 1, 11);
    assert_int_equal(common_read(f, 0x14, 1), 11);
    common_write(f, 0x16, 2, 0);
    common_write(f, 0x18, 2, QSIZE);
    common_write(f, 0x20, 8, base); /* as one 64-bit store */
    common_write(f, 0x28, 4, base + 0x400);
    common_write(f, 0x30, 4, base + 0x800);
    assert_int_equal(common_read(f, 0x20, 8), base);
    common_write(f, 0x1c, 2, 1);
    assert_int_equal(common_read(f, 0x1c, 2), 1);
    common_write(f, 0x14, 1, 15);
}

static void read_sector_three(struct fixture *f)
{
    struct driver *d = &f->d;
    uint32_t *h = guest(d, BUFFERS);

    memset(h, 0, 16);
    h[2] = 3;
    set_desc(d, 0, 0, BUFFERS, 16, D_NEXT, 1);
    set_desc(d, 0, 1, BUFFERS + 0x1000, 512, D_NEXT | D_WRITE, 2);
    set_desc(d, 0, 2, BUFFERS + 0x100, 1, D_WRITE, 0);
    offer(d, 0, 0);
    phys_write(f, REGS_AT + 0x3000, 2, 0);
    assert_int_equal(take_used(d, 0, NULL), 0);
    assert_string_equal(guest(d, BUFFERS + 0x1000), "sector three");
    memset(guest(d, BUFFERS + 0x1000), 0, 512);
}

static void test_pci_enumerates(void **state)
{
    struct fixture *f = *state;

    assert_int_equal(cfg_read(f, 0, 0, 4), 0x00081b36);
    assert_int_equal(cfg_read(f, 0, 10, 2), 0x0600);
    for (unsigned slot = 1; slot <= 3; slot++) {
        assert_int_equal(cfg_read(f, slot, 0, 4), 0x10421af4);
        assert_int_equal(cfg_read(f, slot, 8, 4), 0x01000001);
        assert_int_equal(cfg_read(f, slot, 0x2c, 4), 0x11001af4);
        assert_int_equal(cfg_read(f, slot, 0x3d, 1), 1);
        assert_int_equal(cfg_read(f, slot, 0x0e, 1), 0);
    }
    assert_int_equal(cfg_read(f, 4, 0, 4), 0xffffffff);
    assert_int_equal(phys_read(f, ECAM + (1 << 15) + (1 << 12), 4), 0xffffffff); /* function 1 */
    assert_int_equal(phys_read(f, ECAM + (1 << 20), 4), 0xffffffff);             /* bus 1 */
    assert_int_equal(phys_read(f, ECAM + (1 << 15) + 0x100, 4), 0xffffffff);     /* extended */
    for (unsigned type = CAP_COMMON; type <= CAP_PCI; type++)
        assert_int_not_equal(f->cap[type], 0);
    assert_int_equal(cfg_read(f, 1, f->msix + 2, 2), 1); /* two vectors */
    assert_int_equal(cfg_read(f, 1, f->cap[CAP_NOTIFY] + 16, 4), 4);
}

static void test_pci_ids_are_read_only(void **state)
{
    struct fixture *f = *state;

    for (unsigned reg = 0; reg < 0x100; reg += 4)
        cfg_write(f, 1, reg, 4, 0xffffffff);
    assert_int_equal(cfg_read(f, 1, 0, 4), 0x10421af4);
    assert_int_equal(cfg_read(f, 1, 0x34, 1), 0x40);
    assert_int_equal(cfg_read(f, 1, 4, 2), 0x406);
}

static void test_pci_sizes_bars(void **state)
{
    struct fixture *f = *state;

    for (unsigned reg = 0x10; reg < 0x28; reg += 4)
        cfg_write(f, 1, reg, 4, 0xffffffff);
    assert_int_equal(cfg_read(f, 1, 0x10, 4), 0);
    assert_int_equal(cfg_read(f, 1, 0x14, 4), 0xfffff000);
    assert_int_equal(cfg_read(f, 1, 0x18, 4), 0);
    assert_int_equal(cfg_read(f, 1, 0x20, 4), 0xffffc00c);
    assert_int_equal(cfg_read(f, 1, 0x24, 4), 0xffffffff);
}

static void test_pci_windows_decode_only_enabled_bars(void **state)
{
    struct fixture *f = *state;

    assert_int_equal(phys_read(f, REGS_AT + 0x12, 2), 0xffff);
    assert_int_equal(phys_read(f, WIN32 + 0x123450, 8), UINT64_MAX);
    assert_int_equal(phys_read(f, 0x3000000, 1), 0xff);
    phys_write(f, WIN32 + 0x123450, 4, 1);
    place_bars(f, 1);
    assert_int_equal(common_read(f, 0x12, 2), 1); /* queues */
    assert_int_equal(phys_read(f, MSIX_AT + 12, 4), 1);
    cfg_write(f, 1, 4, 2, 0);
    assert_int_equal(phys_read(f, REGS_AT + 0x12, 2), 0xffff);
    cfg_write(f, 1, 4, 2, 6);
    cfg_write(f, 1, 0x20, 4, 0x10000); /* moved */
    assert_int_equal(phys_read(f, REGS_AT + 0x12, 2), 0xffff);
    assert_int_equal(phys_read(f, WIN64 + 0x10012, 2), 1);
}

static void test_pci_device_config(void **state)
{
    struct fixture *f = *state;

    place_bars(f, 1);
    assert_int_equal(phys_read(f, REGS_AT + 0x2000, 8), 2048); /* capacity */
    assert_int_equal(phys_read(f, REGS_AT + 0x2014, 4), 512);
}

static void test_pci_intx(void **state)
{
    struct fixture *f = *state;

    place_bars(f, 1);
    start_device(f);
    read_sector_three(f);
    assert_int_equal(f->d.irq.level, 1ull << 33); /* slot 1, INTA */
    assert_int_equal(cfg_read(f, 1, 6, 2) & 8, 8);
    cfg_write(f, 1, 4, 2, 0x406); /* INTx disable */
    assert_int_equal(f->d.irq.level, 0);
    assert_int_equal(cfg_read(f, 1, 6, 2) & 8, 8);
    cfg_write(f, 1, 4, 2, 6);
    assert_int_equal(f->d.irq.level, 1ull << 33);
    assert_int_equal(phys_read(f, REGS_AT + 0x1000, 1), 1); /* ISR: read and clear */
    assert_int_equal(f->d.irq.level, 0);
    assert_int_equal(phys_read(f, REGS_AT + 0x1000, 1), 0);
}

static void test_pci_lines_are_shared_and_swizzled(void **state)
{
    struct fixture *f = *state;
    struct virtio_device *v;

    /* slot 5 shares slot 1's line */
    for (unsigned i = 0; i < 2; i++) {
        assert_int_equal(virtio_blk_create(f->d.sim, f->b[0], &v), SIM_OK);
        assert_int_equal(pcie_host_plug_virtio(f->d.slot, v), SIM_OK);
    }
    for (unsigned slot = 1; slot <= 5; slot += 4) {
        place_bars(f, slot);
        start_device(f);
        read_sector_three(f);
        cfg_write(f, slot, 4, 2, 0);
    }
    assert_int_equal(f->d.irq.level, 1ull << 33);
    assert_int_equal(f->d.irq.edges[33], 1);
    place_bars(f, 1);
    phys_read(f, REGS_AT + 0x1000, 1);
    cfg_write(f, 1, 4, 2, 0);
    assert_int_equal(f->d.irq.level, 1ull << 33);
    place_bars(f, 5);
    phys_read(f, REGS_AT + 0x1000, 1);
    assert_int_equal(f->d.irq.level, 0);
    place_bars(f, 2);
}

static void set_vector(struct fixture *f, unsigned vector, uint64_t address, uint32_t data,
                       uint32_t masked)
{
    phys_write(f, MSIX_AT + vector * 16, 8, address);
    phys_write(f, MSIX_AT + vector * 16 + 8, 4, data);
    phys_write(f, MSIX_AT + vector * 16 + 12, 4, masked);
}

static uint32_t *msi_word(struct fixture *f)
{
    return guest(&f->d, MSI_TARGET);
}

static void start_with_msix(struct fixture *f)
{
    place_bars(f, 1);
    cfg_write(f, 1, f->msix + 2, 2, 0x8000);
    start_device(f);
    common_write(f, 0x10, 2, 0);
    common_write(f, 0x1a, 2, 1);
    assert_int_equal(common_read(f, 0x10, 2), 0);
    assert_int_equal(common_read(f, 0x1a, 2), 1);
    *msi_word(f) = 0;
}

static void test_pci_msix(void **state)
{
    struct fixture *f = *state;

    start_with_msix(f);
    set_vector(f, 1, MSI_TARGET, 0x1234, 0);
    assert_int_equal(phys_read(f, MSIX_AT + 16, 8), MSI_TARGET);
    read_sector_three(f);
    assert_int_equal(*msi_word(f), 0x1234);
    assert_int_equal(f->d.irq.level, 0);
    assert_int_equal(phys_read(f, REGS_AT + 0x1000, 1), 0);
}

static void test_pci_msix_masks(void **state)
{
    struct fixture *f = *state;

    start_with_msix(f);
    set_vector(f, 1, MSI_TARGET, 0x55, 1);
    avail_ring(&f->d, 0)[2 + QSIZE] = 0;
    read_sector_three(f);
    assert_int_equal(*msi_word(f), 0);
    assert_int_equal(phys_read(f, MSIX_AT + 0x800, 4), 2);
    phys_write(f, MSIX_AT + 16 + 12, 4, 0); /* unmask: it goes out now */
    assert_int_equal(*msi_word(f), 0x55);
    assert_int_equal(phys_read(f, MSIX_AT + 0x800, 4), 0);
    *msi_word(f) = 0;
    cfg_write(f, 1, f->msix + 2, 2, 0xc000); /* function mask */
    avail_ring(&f->d, 0)[2 + QSIZE] = 1;
    read_sector_three(f);
    assert_int_equal(*msi_word(f), 0);
    cfg_write(f, 1, f->msix + 2, 2, 0x8000);
    assert_int_equal(*msi_word(f), 0x55);
}

static void test_pci_msix_needs_vector_and_mastering(void **state)
{
    struct fixture *f = *state;

    start_with_msix(f);
    set_vector(f, 1, MSI_TARGET, 7, 0);
    common_write(f, 0x1a, 2, 9);
    assert_int_equal(common_read(f, 0x1a, 2), 0xffff);
    avail_ring(&f->d, 0)[2 + QSIZE] = 0;
    read_sector_three(f);
    assert_int_equal(*msi_word(f), 0);
    common_write(f, 0x1a, 2, 1);
    cfg_write(f, 1, 4, 2, 2);
    avail_ring(&f->d, 0)[2 + QSIZE] = 1;
    read_sector_three(f);
    assert_int_equal(*msi_word(f), 0);
}

/* The capability that shows the BAR in configuration space, before any BAR is placed. */
static void test_pci_configuration_window(void **state)
{
    struct fixture *f = *state;
    unsigned cap = f->cap[CAP_PCI];

    cfg_write(f, 1, cap + 4, 1, 4);
    cfg_write(f, 1, cap + 8, 4, 0x12);
    cfg_write(f, 1, cap + 12, 4, 2);
    assert_int_equal(cfg_read(f, 1, cap + 16, 2), 1);
    cfg_write(f, 1, cap + 8, 4, 0x14);
    cfg_write(f, 1, cap + 12, 4, 1);
    cfg_write(f, 1, cap + 16, 1, 3);
    assert_int_equal(cfg_read(f, 1, cap + 16, 1), 3);
    cfg_write(f, 1, cap + 16, 1, 0); /* a reset through the window */
    assert_int_equal(cfg_read(f, 1, cap + 16, 1), 0);
    for (unsigned bar = 0; bar < 256; bar += 3) {
        cfg_write(f, 1, cap + 4, 1, bar);
        cfg_write(f, 1, cap + 8, 4, 0xfffffffc);
        cfg_write(f, 1, cap + 12, 4, bar);
        cfg_read(f, 1, cap + 16, 4);
        cfg_write(f, 1, cap + 16, 4, 0xffffffff);
    }
}

static void test_pci_queue_reset(void **state)
{
    struct fixture *f = *state;

    place_bars(f, 1);
    start_device(f);
    read_sector_three(f);
    common_write(f, 0x16, 2, 0);
    common_write(f, 0x3a, 2, 1);
    assert_int_equal(common_read(f, 0x3a, 2), 0);
    assert_int_equal(common_read(f, 0x1c, 2), 0);
    assert_int_equal(common_read(f, 0x18, 2), 256);
    common_write(f, 0x16, 2, 99);
    common_write(f, 0x3a, 2, 1);
    assert_int_equal(common_read(f, 0x18, 2), 0);
    start_device(f);
    read_sector_three(f);
}

static void test_pci_machine_reset(void **state)
{
    struct fixture *f = *state;

    start_with_msix(f);
    set_vector(f, 1, MSI_TARGET, 7, 0);
    read_sector_three(f);
    dev_reset(f->d.slot);
    assert_int_equal(cfg_read(f, 1, 4, 2), 0);
    assert_int_equal(cfg_read(f, 1, 0x14, 4), 0);
    assert_int_equal(cfg_read(f, 1, f->msix + 2, 2), 1);
    assert_int_equal(phys_read(f, REGS_AT + 0x12, 2), 0xffff);
    place_bars(f, 1);
    assert_int_equal(common_read(f, 0x14, 1), 0);
    assert_int_equal(phys_read(f, MSIX_AT + 16 + 12, 4), 1);
    start_device(f);
    read_sector_three(f);
    assert_int_equal(f->d.irq.level, 1ull << 33);
}

static void test_pci_state_survives(void **state)
{
    struct fixture *f = *state;
    const struct state_desc *desc = f->d.slot->ops->state;
    struct state_buf buf = {0};
    size_t used;

    start_with_msix(f);
    set_vector(f, 1, MSI_TARGET, 0x77, 1);
    avail_ring(&f->d, 0)[2 + QSIZE] = 0;
    read_sector_three(f); /* its vector is pending */
    freeze(&f->d);
    state_save(desc, f->d.slot, &buf);
    dev_reset(f->d.slot);
    assert_int_equal(state_load(desc, f->d.slot, buf.data, buf.len, &used), SIM_OK);
    assert_int_equal(used, buf.len);
    thaw(&f->d);
    assert_int_equal(phys_read(f, MSIX_AT + 0x800, 4), 2);
    phys_write(f, MSIX_AT + 16 + 12, 4, 0);
    assert_int_equal(*msi_word(f), 0x77);
    read_sector_three(f);
    assert_int_equal(common_read(f, 0x10, 2), 0);

    /* an image with another vendor id: the id stays ours */
    uint32_t ids = 0x10421af4, *at = memmem(buf.data, buf.len, &ids, sizeof ids);
    assert_non_null(at);
    memset(at, 0, 4);
    freeze(&f->d);
    assert_int_equal(state_load(desc, f->d.slot, buf.data, buf.len, &used), SIM_OK);
    assert_int_equal(cfg_read(f, 0, 0, 4), 0x00081b36);
    assert_int_equal(cfg_read(f, 1, 0, 4), 0x10421af4);
    state_buf_fini(&buf);
}

static void test_pci_level_survives(void **state)
{
    struct fixture *f = *state;
    const struct state_desc *desc = f->d.slot->ops->state;
    struct state_buf buf = {0};
    size_t used;

    place_bars(f, 1);
    start_device(f);
    read_sector_three(f);
    freeze(&f->d);
    state_save(desc, f->d.slot, &buf);
    dev_reset(f->d.slot);
    assert_int_equal(f->d.irq.level, 0);
    assert_int_equal(state_load(desc, f->d.slot, buf.data, buf.len, &used), SIM_OK);
    assert_int_equal(f->d.irq.level, 1ull << 33);
    state_buf_fini(&buf);
}

/* --- hostile guests --- */

static void test_hostile_msi_targets(void **state)
{
    struct fixture *f = *state;
    const uint64_t targets[] = {REGS_AT + 0x3000, REGS_AT + 0x14, MSIX_AT + 16 + 12, ECAM + 0x8004,
                                0, UINT64_MAX, RAM_BASE + RAM_SIZE - 2, WIN32 + 0x500000};

    for (unsigned i = 0; i < SIM_ARRAY_LEN(targets); i++) {
        dev_reset(f->d.slot);
        start_with_msix(f);
        set_vector(f, 0, targets[i], 15, 0);
        set_vector(f, 1, targets[i], 15, 0);
        read_sector_three(f);
        offer(&f->d, 0, QSIZE + 5); /* breaks the device: the configuration vector */
        phys_write(f, REGS_AT + 0x3000, 2, 0);
        assert_int_equal(*msi_word(f), 0);
    }
    dev_reset(f->d.slot);
    place_bars(f, 1);
    start_device(f);
    read_sector_three(f);
}

/* A vector that unmasks itself: each message raises the next one. */
static void test_hostile_msi_loop_is_bounded(void **state)
{
    struct fixture *f = *state;

    start_with_msix(f);
    set_vector(f, 0, MSIX_AT + 12, 0, 0); /* writing its own control word: unmasked */
    set_vector(f, 1, REGS_AT + 0x3000, 0, 0);
    for (unsigned i = 0; i < 3; i++) {
        avail_ring(&f->d, 0)[2 + QSIZE] = f->d.avail[0];
        read_sector_three(f);
    }
}

static void test_hostile_random_accesses(void **state)
{
    struct fixture *f = *state;
    uint64_t x = 88172645463325252ull;

    for (unsigned i = 0; i < 200000; i++) {
        x ^= x << 13;
        x ^= x >> 7;
        x ^= x << 17;
        unsigned size = 1u << (x >> 8 & 3), slot = x >> 12 & 3;
        gpa_t gpa = x & 1 ? ECAM + (slot << 15) + ((x >> 20 & 0xff) & ~(size - 1))
                          : (x & 2 ? REGS_AT : MSIX_AT) + ((x >> 20 & 0x3fff) & ~(size - 1));
        uint64_t value = x >> 32 & 0xffff;
        if (x & 4)
            phys_write(f, gpa, size, value);
        else
            phys_read(f, gpa, size);
        if (i % 1000 == 0)
            place_bars(f, 1);
    }
    dev_reset(f->d.slot);
    place_bars(f, 1);
    start_device(f);
    read_sector_three(f);
}

static void test_pci_full_bus(void **state)
{
    struct fixture *f = *state;
    struct virtio_device *v;

    for (unsigned slot = 4; slot < 32; slot++) {
        assert_int_equal(virtio_blk_create(f->d.sim, f->b[0], &v), SIM_OK);
        assert_int_equal(pcie_host_plug_virtio(f->d.slot, v), SIM_OK);
    }
    assert_int_equal(virtio_blk_create(f->d.sim, f->b[0], &v), SIM_OK);
    assert_int_equal(pcie_host_plug_virtio(f->d.slot, v), SIM_ERR_BUSY);
    virtio_destroy(v);
}

#define PCI_TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        PCI_TEST(test_pci_enumerates),
        PCI_TEST(test_pci_ids_are_read_only),
        PCI_TEST(test_pci_sizes_bars),
        PCI_TEST(test_pci_windows_decode_only_enabled_bars),
        PCI_TEST(test_pci_device_config),
        PCI_TEST(test_pci_intx),
        PCI_TEST(test_pci_lines_are_shared_and_swizzled),
        PCI_TEST(test_pci_msix),
        PCI_TEST(test_pci_msix_masks),
        PCI_TEST(test_pci_msix_needs_vector_and_mastering),
        PCI_TEST(test_pci_configuration_window),
        PCI_TEST(test_pci_queue_reset),
        PCI_TEST(test_pci_machine_reset),
        PCI_TEST(test_pci_state_survives),
        PCI_TEST(test_pci_level_survives),
        PCI_TEST(test_hostile_msi_targets),
        PCI_TEST(test_hostile_msi_loop_is_bounded),
        PCI_TEST(test_hostile_random_accesses),
        PCI_TEST(test_pci_full_bus),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
