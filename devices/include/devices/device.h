/* The device seam: how a machine makes devices from device-tree nodes.
 *
 * launch walks the tree, and for each node whose "compatible" matches a dev_driver calls
 * driver->create with resolved resources. Devices never see the tree's addresses of others, only
 * regions, lines and back ends. A device:
 *   - registers its MMIO region(s) with mem_add_mmio in create,
 *   - locks itself (SIM_RANK_DEVICE): MMIO comes from any executor, back ends from the I/O thread,
 *   - raises lines with irq_set,
 *   - has a state_desc: no device without save and restore,
 *   - treats every guest value as hostile. */
#ifndef DEVICES_DEVICE_H
#define DEVICES_DEVICE_H

#include "devices/backend.h"
#include "mem/space.h"
#include "sim-core/irq.h"
#include "sim-core/sim.h"
#include "sim-core/state.h"

struct device;

struct device_ops {
    const char *name;
    void (*reset)(struct device *d); /* machine reset; executors stopped */
    void (*destroy)(struct device *d);
    const struct state_desc *state;  /* of the struct that embeds `struct device` at offset 0 */
};

/* Embedded as the first member of every device. */
struct device {
    const struct device_ops *ops;
    char *label; /* node name, "serial@10000000"; owned */
};

struct dev_reg {
    gpa_t base;
    uint64_t size;
};

/* One row of a bus node's "ranges". For PCI `space` is the first cell of the child address: bits 25:24
 * say 1 = I/O, 2 = 32-bit memory, 3 = 64-bit memory. */
struct dev_range {
    uint32_t space;
    uint64_t child;
    gpa_t base;
    uint64_t size;
};

/* What create gets. Arrays are borrowed for the duration of the call. */
struct dev_args {
    struct sim *sim;
    struct mem_space *space;
    const char *label;
    const struct dev_reg *reg;
    unsigned nr_reg;
    const struct dev_range *range; /* buses only */
    unsigned nr_range;
    /* Outgoing lines in the order of the node's "interrupts" or "interrupts-extended". For an
     * interrupt controller or timer these lead to harts; entry n belongs to context/hart n. Lines
     * to absent targets are all zero. irq_number[n] is the line's number at its target
     * (0xffffffff: "not connected" in interrupts-extended). A PCI host has four: what the
     * interrupt-map says for INTA..INTD of slot 0. */
    const struct irq_line *irq;
    const uint32_t *irq_number;
    unsigned nr_irq;
    uint64_t timebase_hz;
    /* Timers: mtime is now ticks of guest time plus `offset`, and the harts' time with it. NULL: nobody
     * asks. Called under the device's lock. */
    void (*time_moved)(void *opaque, uint64_t offset);
    void *time_opaque;
    /* Integer properties of the node: the first cell of `name`, or dflt. */
    uint32_t (*prop_u32)(const void *node, const char *name, uint32_t dflt);
    const void *node;
    /* Back ends that the configuration assigned to this node; NULL when none. */
    struct chardev *chardev;
    struct blockdev *block;
    struct netdev *net;
};

struct dev_driver {
    const char *const *compatible; /* NULL-terminated */
    enum sim_status (*create)(const struct dev_args *args, struct device **out);
    /* Interrupt controllers: their input lines; NULL for others. */
    struct irq_line (*input)(struct device *d, uint32_t number);
};

/* The list of all drivers, NULL-terminated (devices/registry.c). */
const struct dev_driver *const *dev_drivers(void);
/* The driver for one "compatible" string, or NULL. */
const struct dev_driver *dev_find_driver(const char *compatible);

void dev_destroy(struct device *d); /* NULL is allowed */
void dev_reset(struct device *d);

/* A device for a node that no driver knows: all its register ranges read as zero and ignore
 * writes. */
enum sim_status unimplemented_create(const struct dev_args *args,
                                     struct device **out) SIM_MUST_CHECK;

/* What a guest writes into SLP_TYP of "partita,acpi-pm" to turn the machine off (its firmware says so in \_S5). */
enum { DEV_ACPI_S5 = 5 };

/* --- buses whose devices come from the command line, not from the tree --- */

/* What plugs into a virtio transport: see devices/virtio.h. */
struct virtio_device;
/* Puts a virtio device behind a transport made from a tree node: a virtio-mmio slot, or the next
 * free slot of a PCIe host. SIM_ERR_BUSY when there is no free slot. Takes ownership on SIM_OK. */
enum sim_status virtio_mmio_plug(struct device *slot, struct virtio_device *v) SIM_MUST_CHECK;
enum sim_status pcie_host_plug_virtio(struct device *host, struct virtio_device *v) SIM_MUST_CHECK;
bool virtio_mmio_is_free(const struct device *slot);
/* Of a slot that is not free: its driver's notifications come by eventfd, and are served on the I/O thread while the vCPU goes on.
 * SIM_ERR_UNSUPPORTED (errno says why, the caller what that means) where the host cannot: all stay register writes. Context: launch,
 * before vCPUs run. */
enum sim_status virtio_mmio_use_doorbells(struct device *slot) SIM_MUST_CHECK;
/* How many notifications have come so; 0 for any other device. Context: any. */
uint64_t virtio_mmio_doorbells_rung(const struct device *d);
/* Quiesces and frees a device; once it is plugged its transport does that. NULL is allowed. */
void virtio_destroy(struct virtio_device *v);

enum sim_status virtio_blk_create(struct sim *sim, struct blockdev *b,
                                  struct virtio_device **out) SIM_MUST_CHECK;
enum sim_status virtio_net_create(struct sim *sim, struct netdev *n,
                                  struct virtio_device **out) SIM_MUST_CHECK;
enum sim_status virtio_console_create(struct sim *sim, struct chardev *c,
                                      struct virtio_device **out) SIM_MUST_CHECK;
enum sim_status virtio_rng_create(struct sim *sim, struct virtio_device **out) SIM_MUST_CHECK;

#endif
