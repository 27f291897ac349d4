/* The machine `virt-x86`: its tree, which is the host side's description of it, and its CPUs. */
#include "virt_x86.h"

#include <string.h>

#include "fdt_tree.h"
#include "fdt_walk.h"
#include "kvm/hkvm.h"
#include "ranks.h"
#include "sim-core/alloc.h"
#include "sim-core/log.h"

enum { PHANDLE_IOAPIC = 1, PORT_UART_BYTES = 8, PORT_RTC_BYTES = 2, PORT_PM_BYTES = 16, PORT_EXIT_BYTES = 4 };
static const char compatible[] = "partita,virt-x86", own_ioapic[] = "intel,ce4100-ioapic";

/* --- the tree --- */

static void cpus(struct tree *t, uint32_t nr)
{
    tree_begin(t, "cpus");
    tree_u32(t, "#address-cells", 1);
    tree_u32(t, "#size-cells", 0);
    for (uint32_t i = 0; i < nr; i++) {
        tree_begin_at(t, "cpu", i);
        tree_str(t, "device_type", "cpu");
        tree_u32(t, "reg", i);
        tree_end(t);
    }
    tree_end(t);
}

static void memory(struct tree *t, uint64_t base, uint64_t size)
{
    tree_begin_at(t, "memory", base);
    tree_str(t, "device_type", "memory");
    tree_reg(t, base, size);
    tree_end(t);
}

static void memories(struct tree *t, uint64_t size)
{
    uint64_t low = size < X86_RAM_LOW_MAX ? size : X86_RAM_LOW_MAX;

    memory(t, 0, low);
    if (size > low)
        memory(t, X86_RAM_HIGH, size - low);
}

/* By level unless it says otherwise (trees of older images never do, and have one cell). */
static void interrupt(struct tree *t, uint32_t gsi, uint32_t trigger)
{
    tree_u32(t, "interrupt-parent", PHANDLE_IOAPIC);
    tree_cells(t, "interrupts", (uint32_t[]){gsi, trigger}, 2);
}

static void port(struct tree *t, const char *name, const char *what, uint32_t number, uint32_t bytes)
{
    tree_begin_at(t, name, number);
    tree_str(t, "compatible", what);
    tree_reg(t, HKVM_PORT_WINDOW + number, bytes);
}

/* KVM's has no registers here. */
static void ioapic(struct tree *t, bool own)
{
    if (own) {
        tree_begin_at(t, "ioapic", HKVM_IOAPIC_BASE);
        tree_str(t, "compatible", own_ioapic);
        tree_reg(t, HKVM_IOAPIC_BASE, GUEST_PAGE_SIZE);
    } else {
        tree_begin(t, "ioapic");
    }
    tree_u32(t, "#interrupt-cells", 2);
    tree_flag(t, "interrupt-controller");
    tree_u32(t, "phandle", PHANDLE_IOAPIC);
    tree_end(t);
}

static void devices(struct tree *t, const struct config *config)
{
    ioapic(t, config->own_apics);
    port(t, "serial", "ns16550a", X86_PORT_UART, PORT_UART_BYTES);
    interrupt(t, X86_GSI_UART, FDT_IRQ_LEVEL_HIGH);
    tree_end(t);
    port(t, "rtc", "motorola,mc146818", X86_PORT_RTC, PORT_RTC_BYTES);
    interrupt(t, X86_GSI_RTC, FDT_IRQ_LEVEL_HIGH);
    tree_end(t);
    port(t, "pm", "partita,acpi-pm", X86_PORT_PM, PORT_PM_BYTES);
    tree_end(t);
    port(t, "exit", "sifive,test1", X86_PORT_EXIT, PORT_EXIT_BYTES);
    tree_end(t);
    for (uint32_t i = 0; i < X86_NR_VIRTIO; i++) {
        uint32_t base = X86_VIRTIO_BASE + i * X86_VIRTIO_SIZE;
        tree_begin_at(t, "virtio_mmio", base);
        tree_str(t, "compatible", "virtio,mmio");
        tree_reg(t, base, X86_VIRTIO_SIZE);
        interrupt(t, X86_GSI_VIRTIO + i, config->irqfd ? FDT_IRQ_EDGE_RISING : FDT_IRQ_LEVEL_HIGH);
        tree_end(t);
    }
}

static void whole_tree(struct tree *t, const struct config *config)
{
    tree_begin(t, "");
    tree_u32(t, "#address-cells", 2);
    tree_u32(t, "#size-cells", 2);
    tree_str(t, "compatible", compatible);
    memories(t, config->memory);
    cpus(t, config->smp);
    tree_begin(t, "soc");
    tree_u32(t, "#address-cells", 2);
    tree_u32(t, "#size-cells", 2);
    tree_str(t, "compatible", "simple-bus");
    tree_flag(t, "ranges");
    devices(t, config);
    tree_end(t);
    tree_end(t);
}

enum sim_status virt_x86_build_fdt(const struct config *config, void **fdt)
{
    size_t size = 16384 + (size_t)config->smp * 128;
    struct tree t = {sim_zalloc(size), 0};

    tree_check(&t, fdt_create(t.fdt, (int)size));
    tree_check(&t, fdt_finish_reservemap(t.fdt));
    whole_tree(&t, config);
    tree_check(&t, fdt_finish(t.fdt));
    SIM_BUG_ON(t.error, "building the tree of %u x86 CPUs: %s", config->smp, fdt_strerror(t.error));
    tree_check(&t, fdt_open_into(t.fdt, t.fdt, (int)size));
    *fdt = t.fdt;
    return SIM_OK;
}

bool virt_x86_is_tree(const void *fdt)
{
    return fdt_node_check_compatible(fdt, 0, compatible) == 0;
}

bool virt_x86_has_own_apics(const void *fdt)
{
    return fdt_node_offset_by_compatible(fdt, -1, own_ioapic) >= 0;
}

bool virt_x86_has_edges(const void *fdt)
{
    int node = fdt_node_offset_by_compatible(fdt, -1, "virtio,mmio"), len = 0;
    const fdt32_t *cell = node < 0 ? NULL : fdt_getprop(fdt, node, "interrupts", &len);

    return len >= 8 && fdt32_ld(&cell[1]) == FDT_IRQ_EDGE_RISING;
}

/* --- CPUs --- */

/* With KVM's APICs a vCPU that waits does so in the kernel, on its executor's thread: with one each, turns may be long. */
enum { SLICE_NS = 50000000 };

enum sim_status virt_x86_create_cpus(struct machine *m, uint32_t nr)
{
    unsigned threads = m->config->threads;
    bool own_apics = virt_x86_has_own_apics(m->fdt);
    const struct hkvm_config config = {.sim = m->sim,
                                       .space = m->space,
                                       .nr_vcpus = nr,
                                       .slice_ns = !own_apics && (threads == 0 || threads >= nr) ? SLICE_NS : 0,
                                       .own_apics = own_apics,
                                       .is_remote = m->ranks ? ranks_hart_is_remote : NULL,
                                       .is_remote_opaque = m->ranks};

    if (m->ranks && !own_apics) {
        sim_error("a machine on KVM's interrupt controllers runs on one rank (-machine kernel-irqchip=off is for several)");
        return SIM_ERR_UNSUPPORTED;
    }
    SIM_TRY(hkvm_machine_create(&config, &m->kvm));
    for (uint32_t i = 0; i < nr; i++) {
        struct vcpu *v;
        SIM_TRY(hkvm_machine_add_vcpu(m->kvm, &v));
        if (i == 0)
            m->boot_hart = v;
    }
    return SIM_OK;
}
