/* Device trees: the one of virt, hand-made ones, and hostile ones. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <libfdt.h>
#include <stdlib.h>
#include <string.h>

#include "config.h"
#include "fdt_walk.h"
#include "machine.h"
#include "sim-core/alloc.h"

static void *virt(uint32_t smp, uint64_t memory)
{
    struct config config = {.smp = smp, .memory = memory};
    void *fdt = NULL;

    assert_int_equal(virt_build_fdt(&config, &fdt), SIM_OK);
    assert_int_equal(fdt_check_header(fdt), 0);
    return fdt;
}

static int find(const void *fdt, const char *path)
{
    int node = fdt_path_offset(fdt, path);

    assert_true(node >= 0);
    return node;
}

static void test_virt_has_the_addresses_of_qemu(void **state)
{
    static const struct {
        const char *path;
        uint64_t base, size;
        uint32_t irq; /* 0: none */
    } want[] = {{"/soc/serial@10000000", 0x10000000, 0x100, 10},
                {"/soc/test@100000", 0x100000, 0x1000, 0},
                {"/soc/rtc@101000", 0x101000, 0x1000, 11},
                {"/soc/virtio_mmio@10001000", 0x10001000, 0x1000, 1},
                {"/soc/virtio_mmio@10008000", 0x10008000, 0x1000, 8},
                {"/soc/pci@30000000", 0x30000000, 0x10000000, 32}};
    void *fdt = virt(2, 1ull << 30);
    struct fdt_walk w;

    (void)state;
    fdt_walk_init(&w, fdt);
    for (unsigned i = 0; i < SIM_ARRAY_LEN(want); i++) {
        struct dev_reg *reg;
        struct fdt_irq *irq;
        unsigned n;
        int node = find(fdt, want[i].path);
        assert_int_equal(fdt_walk_reg(&w, node, &reg, &n), SIM_OK);
        assert_int_equal(n, 1);
        assert_int_equal(reg[0].base, want[i].base);
        assert_int_equal(reg[0].size, want[i].size);
        sim_free(reg);
        assert_int_equal(fdt_walk_irqs(&w, node, &irq, &n), SIM_OK);
        assert_true(want[i].irq ? n >= 1 && irq[0].number == want[i].irq : n == 0);
        sim_free(irq);
    }
    fdt_walk_fini(&w);
    sim_free(fdt);
}

static void test_virt_connects_every_hart(void **state)
{
    static const uint32_t sizes[] = {1, 3, 64, 4096};

    (void)state;
    for (unsigned i = 0; i < SIM_ARRAY_LEN(sizes); i++) {
        void *fdt = virt(sizes[i], 256 << 20);
        struct fdt_walk w;
        struct fdt_irq *irq;
        unsigned n;
        fdt_walk_init(&w, fdt);
        assert_int_equal(fdt_walk_irqs(&w, find(fdt, "/soc/plic@c000000"), &irq, &n), SIM_OK);
        assert_int_equal(n, 2 * sizes[i]);
        for (unsigned k = 0; k < n; k++) {
            assert_int_equal(irq[k].number, k % 2 ? 9 : 11);
            assert_non_null(fdt_walk_phandle(&w, irq[k].controller));
        }
        sim_free(irq);
        fdt_walk_fini(&w);
        sim_free(fdt);
    }
}

static void test_virt_pcie_lines_are_four(void **state)
{
    void *fdt = virt(1, 128 << 20);
    struct fdt_walk w;
    struct fdt_irq *irq;
    unsigned n;

    (void)state;
    fdt_walk_init(&w, fdt);
    assert_int_equal(fdt_walk_irqs(&w, find(fdt, "/soc/pci@30000000"), &irq, &n), SIM_OK);
    assert_int_equal(n, 4);
    for (unsigned i = 0; i < 4; i++)
        assert_int_equal(irq[i].number, 32 + i);
    sim_free(irq);
    fdt_walk_fini(&w);
    sim_free(fdt);
}

static void test_virt_pcie_windows(void **state)
{
    void *fdt = virt(1, 20ull << 30);
    struct fdt_walk w;
    struct dev_range *range;
    unsigned n;

    (void)state;
    fdt_walk_init(&w, fdt);
    assert_int_equal(fdt_walk_ranges(&w, find(fdt, "/soc/plic@c000000"), &range, &n), SIM_OK);
    assert_int_equal(n, 0);
    assert_int_equal(fdt_walk_ranges(&w, find(fdt, "/soc/pci@30000000"), &range, &n), SIM_OK);
    assert_int_equal(n, 3);
    assert_int_equal(range[0].space, 0x01000000);
    assert_int_equal(range[0].child, 0);
    assert_int_equal(range[0].base, 0x3000000);
    assert_int_equal(range[1].base, 0x40000000);
    assert_int_equal(range[1].size, 0x40000000);
    assert_int_equal(range[2].space, 0x43000000);
    assert_int_equal(range[2].base, 0x800000000); /* above RAM */
    assert_int_equal(range[2].child, range[2].base);
    assert_int_equal(range[2].size, 0x400000000);
    sim_free(range);
    fdt_walk_fini(&w);
    sim_free(fdt);
}

/* A bus that maps child address 0x100.. to 0x80000000.., and a device behind it. */
static void *bus_tree(uint32_t child_addr)
{
    void *fdt = sim_zalloc(4096);
    const fdt32_t ranges[] = {cpu_to_fdt32(0x100), 0, cpu_to_fdt32(0x80000000), cpu_to_fdt32(0x100)};
    const fdt32_t reg[] = {cpu_to_fdt32(child_addr), cpu_to_fdt32(0x10)};

    assert_int_equal(fdt_create_empty_tree(fdt, 4096), 0);
    fdt_setprop_u32(fdt, 0, "#address-cells", 2);
    fdt_setprop_u32(fdt, 0, "#size-cells", 2);
    int bus = fdt_add_subnode(fdt, 0, "bus");
    fdt_setprop_u32(fdt, bus, "#address-cells", 1);
    fdt_setprop_u32(fdt, bus, "#size-cells", 1);
    fdt_setprop(fdt, bus, "ranges", ranges, sizeof ranges);
    int dev = fdt_add_subnode(fdt, bus, "dev");
    fdt_setprop(fdt, dev, "reg", reg, sizeof reg);
    return fdt;
}

static void test_fdt_walk_translates_ranges(void **state)
{
    struct dev_reg *reg;
    struct fdt_walk w;
    unsigned n;
    void *fdt = bus_tree(0x120);

    (void)state;
    fdt_walk_init(&w, fdt);
    assert_int_equal(fdt_walk_reg(&w, find(fdt, "/bus/dev"), &reg, &n), SIM_OK);
    assert_int_equal(n, 1);
    assert_int_equal(reg[0].base, 0x80000020u);
    assert_int_equal(reg[0].size, 0x10);
    sim_free(reg);
    fdt_walk_fini(&w);
    sim_free(fdt);

    fdt = bus_tree(0x1f8); /* its end lies outside the range */
    fdt_walk_init(&w, fdt);
    assert_int_equal(fdt_walk_reg(&w, find(fdt, "/bus/dev"), &reg, &n), SIM_ERR_FORMAT);
    assert_null(reg);
    fdt_walk_fini(&w);
    sim_free(fdt);
}

static void test_fdt_walk_refuses_malformed_interrupts(void **state)
{
    void *fdt = bus_tree(0x100);
    const fdt32_t bad[] = {cpu_to_fdt32(77), cpu_to_fdt32(1)};
    struct fdt_walk w;
    struct fdt_irq *irq;
    unsigned n;

    (void)state;
    fdt_setprop(fdt, find(fdt, "/bus/dev"), "interrupts-extended", bad, sizeof bad);
    fdt_walk_init(&w, fdt);
    assert_int_equal(fdt_walk_irqs(&w, find(fdt, "/bus/dev"), &irq, &n), SIM_ERR_FORMAT);
    assert_null(irq);
    fdt_walk_fini(&w);
    sim_free(fdt);
}

/* Any byte of the structure block may be anything; reading must stay inside and end. */
static void test_fdt_walk_survives_random_damage(void **state)
{
    void *good = virt(2, 128 << 20);
    size_t size = fdt_totalsize(good);
    uint8_t *fdt = sim_zalloc(size);

    (void)state;
    srand(1);
    for (int round = 0; round < 3000; round++) {
        memcpy(fdt, good, size);
        for (int k = 0; k < 4; k++)
            fdt[(size_t)rand() % size] = (uint8_t)rand();
        if (fdt_check_full(fdt, size))
            continue;
        struct fdt_walk w;
        fdt_walk_init(&w, fdt);
        for (int node = fdt_next_node(fdt, -1, NULL); node >= 0;
             node = fdt_next_node(fdt, node, NULL)) {
            struct dev_reg *reg;
            struct fdt_irq *irq;
            unsigned n;
            if (fdt_walk_reg(&w, node, &reg, &n) == SIM_OK)
                sim_free(reg);
            if (fdt_walk_irqs(&w, node, &irq, &n) == SIM_OK)
                sim_free(irq);
        }
        fdt_walk_fini(&w);
    }
    sim_free(fdt);
    sim_free(good);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_virt_has_the_addresses_of_qemu),
        cmocka_unit_test(test_virt_connects_every_hart),
        cmocka_unit_test(test_virt_pcie_lines_are_four),
        cmocka_unit_test(test_virt_pcie_windows),
        cmocka_unit_test(test_fdt_walk_translates_ranges),
        cmocka_unit_test(test_fdt_walk_refuses_malformed_interrupts),
        cmocka_unit_test(test_fdt_walk_survives_random_damage),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
