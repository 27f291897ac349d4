/* The machine `virt-x86`: a PC without PCI, whose vCPUs are the host's KVM (kvm/README.md).
 *
 *   config -> virt_x86_build_fdt: a tree that only the host side reads -> machine.c composes from it, as any machine
 *   -> virt_x86_load: kernel, initrd, ACPI tables and boot parameters into RAM -> the boot CPU's registers
 *
 *   RAM 0 - 3 GiB (less -m), rest from 4 GiB       ports 0x3f8 16550 | 0x70 RTC | 0x600 ACPI PM | 0xf4 exit
 *   0xd0000000 virtio-mmio, 8 slots of 4 KiB       0xfec00000 IOAPIC | 0xfee00000 local APICs (KVM's)
 *
 * The guest learns all that from ACPI tables at 0xe0000. */
#ifndef LAUNCH_VIRT_X86_H
#define LAUNCH_VIRT_X86_H

#include "machine.h"

#define X86_RAM_LOW_MAX 0xc0000000ull
#define X86_RAM_HIGH 0x100000000ull

enum {
    X86_VIRTIO_SIZE = 0x1000,
    X86_NR_VIRTIO = 8,
    X86_PORT_RTC = 0x70,
    X86_PORT_EXIT = 0xf4, /* the finisher's register, as at 0x100000 of `virt` */
    X86_PORT_UART = 0x3f8,
    X86_PORT_PM = 0x600,
    X86_GSI_UART = 4,
    X86_GSI_RTC = 8,
    X86_GSI_SCI = 9,
    X86_GSI_VIRTIO = 16 /* and the next ones */
};
#define X86_VIRTIO_BASE 0xd0000000u

/* Where virt_x86_load puts what the kernel is told; the rest of the first MiB is the guest's. */
enum {
    X86_GDT = 0x500,
    X86_START_INFO = 0x1000,  /* PVH */
    X86_BOOT_PARAMS = 0x7000, /* Linux */
    X86_PAGE_TABLES = 0x9000, /* the lowest 4 GiB map to themselves */
    X86_COMMAND_LINE = 0x10000,
    X86_COMMAND_LINE_MAX = 0x10000,
    X86_BOOT_END = 0x20000,
    X86_LOW_RAM_END = 0x9fc00,
    X86_TABLES = 0xe0000, /* RSDP first */
    X86_TABLES_MAX = 0x20000
};

/* *fdt as virt_build_fdt's. */
enum sim_status virt_x86_build_fdt(const struct config *config, void **fdt) SIM_MUST_CHECK;
/* Is the tree such a machine's? */
bool virt_x86_is_tree(const void *fdt);
/* Are its interrupt controllers ours, not KVM's? */
bool virt_x86_has_own_apics(const void *fdt);
/* Are the virtio slots' interrupts edges, not levels? */
bool virt_x86_has_edges(const void *fdt);
/* VM and vCPUs for a machine whose RAM is sealed. */
enum sim_status virt_x86_create_cpus(struct machine *m, uint32_t nr) SIM_MUST_CHECK;

/* virt_x86_load.c: what loader_load is to RISC-V machines. Starts the boot CPU. */
enum sim_status virt_x86_load(struct machine *m) SIM_MUST_CHECK;

/* acpi.c: all tables, to be put at X86_TABLES; at most X86_TABLES_MAX bytes. Returns how many. */
struct acpi_machine {
    uint32_t nr_cpus;
    bool has_pic;
    bool edges; /* of virtio slots; else levels */
    const struct config_numa *numa;
};
size_t acpi_build(const struct acpi_machine *machine, uint8_t out[X86_TABLES_MAX]);

#endif
