/* A machine composed from a device tree.
 *
 *   config -> virt_build_fdt (or the user's --dtb) -> machine_create: walks the tree, makes RAM,
 *   harts, interrupt controllers, devices; plugs drives and nets; unknown nodes read as zero
 *   -> loader_load: firmware, kernel, initrd, tree into RAM -> loader_start_harts
 *   -> executors run -> machine_reset (guest reboot) | machine_destroy */
#ifndef LAUNCH_MACHINE_H
#define LAUNCH_MACHINE_H

#include "config.h"
#include "cpu/riscv.h"
#include "devices/device.h"
#include "mem/space.h"
#include "sim-core/sim.h"

struct ranks;
struct hkvm_machine;

/* Where harts start; what the loader found out, and what other ranks are told. */
struct machine_boot {
    uint64_t entry; /* of the boot hart (built-in SBI), or of all */
    uint64_t fdt, info;
};

struct machine {
    struct sim *sim;
    const struct config *config;
    struct mem_space *space;
    struct ranks *ranks;        /* NULL: the whole machine is here */
    struct machine_boot boot;
    struct rv_machine *cpus;    /* NULL: the vCPUs are KVM's */
    struct hkvm_machine *kvm;   /* NULL: they are RISC-V */
    struct vcpu *boot_hart;     /* lowest hartid of the tree's */
    uint64_t boot_hartid;
    bool builtin_sbi;
    void *fdt;                  /* the guest's tree; owned; room to grow */
    gpa_t ram_base;             /* the first memory node */
    uint64_t ram_size;
    struct device **devices;
    unsigned nr_devices;
    struct chardev *serial[CONFIG_MAX_SERIALS]; /* in UART order */
    unsigned nr_serials;
    struct machine_uart { /* the console the built-in SBI uses, as firmware would; size 0: none */
        gpa_t base;
        uint64_t size;
        uint32_t reg_shift, io_width;
    } sbi_uart;
    struct chardev *virtconsole;
    struct blockdev *block[CONFIG_MAX_DRIVES];
    struct netdev *net[CONFIG_MAX_NETS];
};

/* Builds the tree of the default machine `virt` (register-compatible with QEMU's). *fdt is allocated
 * with sim_zalloc. */
enum sim_status virt_build_fdt(const struct config *config, void **fdt) SIM_MUST_CHECK;
/* Reads and checks a device tree blob from a file. */
enum sim_status machine_read_fdt(const char *path, void **fdt) SIM_MUST_CHECK;

/* `ranks`: the machine is spread over them (ranks.h), and this rank gets its part; NULL: all of it. */
enum sim_status machine_create(struct sim *sim, const struct config *config, struct ranks *ranks,
                               struct machine **out) SIM_MUST_CHECK;
/* Guest reset: devices and harts to their reset state; the caller loads again. Executors stopped. */
void machine_reset(struct machine *m);
void machine_destroy(struct machine *m);
/* A checkpoint's cut, in a frozen world (collecting: also while the guest runs), before and after the snapshot of RAM begins: which pages were written is known
 * from mem's marks; each vCPU's next write to a page asks the guard first. */
void machine_collect_dirty(struct machine *m);
void machine_write_protect(struct machine *m);
/* The guest's clocks that are not the sim's (KVM's) stand, and go on. Frozen world. */
void machine_clock_stop(struct machine *m);
void machine_clock_go(struct machine *m);
/* Those of all ranks are in step from here on: before vCPUs run. */
void machine_clock_follow(struct machine *m);
/* A migration's round, in a frozen world: mem's marks have been taken, and each page's next write marks it again. */
void machine_mark_anew(struct machine *m);

/* loader.c: puts firmware, kernel, initrd and tree into RAM; m->boot says where harts start. Starts
 * them, unless the machine is spread over ranks (then each rank starts its own).
 * bios NULL or "default": built-in SBI when the kernel is a Linux Image or an S-mode payload;
 * "none": an ELF or raw kernel starts in M mode at its entry (ELF) or at the RAM base; FILE: firmware at
 * the RAM base (or ELF), kernel at +2 MiB, fw_dynamic information in a2. */
enum sim_status loader_load(struct machine *m) SIM_MUST_CHECK;
/* Starts the harts as m->boot, which loader_load has set, says. */
void loader_start_harts(struct machine *m);
/* Does this configuration use the built-in SBI? (machine_create asks before harts exist) */
bool loader_wants_sbi(const struct config *config);

#endif
