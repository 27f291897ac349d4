/* The tree of virt-x86: what machine.c composes the machine from. */
#include <libfdt.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "fdt_walk.h"
#include "kvm/hkvm.h"
#include "sim-core/alloc.h"
#include "virt_x86.h"

static void *build(uint32_t smp, uint64_t memory)
{
    struct config c = {.x86 = true, .smp = smp, .memory = memory};
    void *fdt = NULL;

    assert_int_equal(virt_x86_build_fdt(&c, &fdt), SIM_OK);
    assert_int_equal(fdt_check_full(fdt, fdt_totalsize(fdt)), 0);
    assert_true(virt_x86_is_tree(fdt));
    return fdt;
}

/* Base and size of the node's registers. */
static void expect_reg(const void *fdt, const char *path, uint64_t base, uint64_t size)
{
    int len, node = fdt_path_offset(fdt, path);
    const fdt64_t *reg = fdt_getprop(fdt, node, "reg", &len);

    assert_true(node >= 0);
    assert_int_equal(len, 16);
    assert_true(fdt64_ld(&reg[0]) == base);
    assert_true(fdt64_ld(&reg[1]) == size);
}

static void test_memory_leaves_a_hole_below_4_gib(void **state)
{
    (void)state;
    void *fdt = build(1, 64 << 20);
    expect_reg(fdt, "/memory@0", 0, 64 << 20);
    assert_true(fdt_path_offset(fdt, "/memory@100000000") < 0);
    sim_free(fdt);
    fdt = build(1, 5ull << 30);
    expect_reg(fdt, "/memory@0", 0, 3ull << 30);
    expect_reg(fdt, "/memory@100000000", 4ull << 30, 2ull << 30);
    sim_free(fdt);
}

static void test_devices(void **state)
{
    (void)state;
    void *fdt = build(3, 64 << 20);
    expect_reg(fdt, "/soc/serial@3f8", HKVM_PORT_WINDOW + 0x3f8, 8);
    expect_reg(fdt, "/soc/virtio_mmio@d0007000", 0xd0007000, 0x1000);
    assert_true(fdt_path_offset(fdt, "/cpus/cpu@2") >= 0);
    assert_true(fdt_path_offset(fdt, "/cpus/cpu@3") < 0);
    sim_free(fdt);
}

/* KVM's IOAPIC is a node without registers, ours a device. */
static void test_whose_interrupt_controllers(void **state)
{
    struct config c = {.x86 = true, .own_apics = true, .smp = 2, .memory = 64 << 20};
    void *fdt = build(2, 64 << 20);

    (void)state;
    assert_false(virt_x86_has_own_apics(fdt));
    assert_true(fdt_path_offset(fdt, "/soc/ioapic") >= 0);
    sim_free(fdt);
    assert_int_equal(virt_x86_build_fdt(&c, &fdt), SIM_OK);
    assert_true(virt_x86_has_own_apics(fdt));
    expect_reg(fdt, "/soc/ioapic@fec00000", 0xfec00000, 0x1000);
    sim_free(fdt);
}

/* Levels, unless irqfd=on; other devices' are levels in any case. */
static void test_triggers(void **state)
{
    (void)state;
    for (unsigned irqfd = 0; irqfd < 2; irqfd++) {
        struct config c = {.x86 = true, .irqfd = irqfd, .smp = 1, .memory = 64 << 20};
        struct fdt_walk w;
        struct fdt_irq *irq;
        void *fdt;
        unsigned n;
        assert_int_equal(virt_x86_build_fdt(&c, &fdt), SIM_OK);
        assert_int_equal(virt_x86_has_edges(fdt), irqfd);
        fdt_walk_init(&w, fdt);
        assert_int_equal(fdt_walk_irqs(&w, fdt_path_offset(fdt, "/soc/virtio_mmio@d0007000"), &irq, &n), SIM_OK);
        assert_int_equal(n, 1);
        assert_int_equal(irq[0].number, X86_GSI_VIRTIO + 7);
        assert_int_equal(irq[0].trigger, irqfd ? FDT_IRQ_EDGE_RISING : FDT_IRQ_LEVEL_HIGH);
        sim_free(irq);
        assert_int_equal(fdt_walk_irqs(&w, fdt_path_offset(fdt, "/soc/serial@3f8"), &irq, &n), SIM_OK);
        assert_int_equal(irq[0].trigger, FDT_IRQ_LEVEL_HIGH);
        sim_free(irq);
        fdt_walk_fini(&w);
        sim_free(fdt);
    }
}

/* Trees of images from before there were edges have one cell. */
static void test_trees_of_one_cell_have_levels(void **state)
{
    struct fdt_walk w;
    struct fdt_irq *irq;
    unsigned n;
    void *fdt = build(1, 64 << 20);

    (void)state;
    assert_int_equal(fdt_setprop_u32(fdt, fdt_path_offset(fdt, "/soc/ioapic"), "#interrupt-cells", 1), 0);
    assert_int_equal(fdt_setprop_u32(fdt, fdt_path_offset(fdt, "/soc/virtio_mmio@d0000000"), "interrupts", X86_GSI_VIRTIO), 0);
    assert_false(virt_x86_has_edges(fdt));
    fdt_walk_init(&w, fdt);
    assert_int_equal(fdt_walk_irqs(&w, fdt_path_offset(fdt, "/soc/virtio_mmio@d0000000"), &irq, &n), SIM_OK);
    assert_int_equal(n, 1);
    assert_int_equal(irq[0].number, X86_GSI_VIRTIO);
    assert_int_equal(irq[0].trigger, 0);
    sim_free(irq);
    fdt_walk_fini(&w);
    sim_free(fdt);
}

static void test_as_many_cpus_as_apic_ids(void **state)
{
    (void)state;
    sim_free(build(HKVM_MAX_VCPUS, 64 << 20));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_memory_leaves_a_hole_below_4_gib),
        cmocka_unit_test(test_devices),
        cmocka_unit_test(test_whose_interrupt_controllers),
        cmocka_unit_test(test_triggers),
        cmocka_unit_test(test_trees_of_one_cell_have_levels),
        cmocka_unit_test(test_as_many_cpus_as_apic_ids),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
