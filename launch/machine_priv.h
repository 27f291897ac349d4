/* Composing a machine from a device tree: machine.c in what order, machine_tree.c the tree, machine_cpus.c RAM and vCPUs,
 * machine_devices.c what the tree has, machine_plug.c what the command line plugs in. */
#ifndef LAUNCH_MACHINE_PRIV_H
#define LAUNCH_MACHINE_PRIV_H

#include <libfdt.h>

#include "fdt_walk.h"
#include "machine.h"

/* While composing: who answers for a phandle. */
struct builder {
    struct machine *m;
    struct fdt_walk walk;
    struct target {
        struct vcpu *hart; /* a cpu's interrupt controller */
        struct device *device;
        const struct dev_driver *driver;
        bool ioapic; /* KVM's */
    } *target; /* parallel to walk.index */
    unsigned nr_uarts;
};

/* machine_tree.c: m->fdt = the tree of an image, the user's, or virt's. */
enum sim_status machine_get_tree(struct machine *m) SIM_MUST_CHECK;

/* machine_cpus.c: RAM of the tree's memory nodes; its vCPUs, and, before them, where they are when the user's tree is spread
 * over ranks. */
enum sim_status machine_add_memory(struct builder *b) SIM_MUST_CHECK;
enum sim_status machine_plan_from_tree(struct builder *b) SIM_MUST_CHECK;
enum sim_status machine_create_cpus(struct builder *b) SIM_MUST_CHECK;

/* machine_devices.c: who answers for a phandle, NULL: nobody. */
struct target *machine_target_of(struct builder *b, uint32_t phandle);
void machine_remember(struct builder *b, int node, struct target t);
/* All devices of the tree, interrupt controllers first. */
enum sim_status machine_add_devices(struct builder *b) SIM_MUST_CHECK;
/* Where the built-in SBI's console is, for ranks without devices. */
enum sim_status machine_find_console(struct builder *b) SIM_MUST_CHECK;

/* machine_plug.c: drives, nets, console and rng of the command line. */
enum sim_status machine_plug_all(struct machine *m) SIM_MUST_CHECK;

#endif
