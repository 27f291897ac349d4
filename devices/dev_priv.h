/* Shared by the device models: what every create function does first, and the list of drivers. */
#ifndef DEV_PRIV_H
#define DEV_PRIV_H

#include "devices/device.h"
#include "sim-core/alloc.h"
#include "sim-core/log.h"

/* Fills the common part; the label is copied. dev_destroy frees it. */
static inline void dev_init(struct device *d, const struct device_ops *ops,
                            const struct dev_args *args)
{
    d->ops = ops;
    d->label = sim_strdup(args->label);
}

/* Says which of the node's resources is missing. */
static inline enum sim_status dev_need_regs(const struct dev_args *args, unsigned nr)
{
    if (args->nr_reg >= nr)
        return SIM_OK;
    sim_error("device '%s': its node has %u of %u register ranges", args->label, args->nr_reg, nr);
    return SIM_ERR_INVALID;
}

/* Maps reg[n] of the node at `r`. The last step of create: a region cannot be taken back quietly
 * while executors run. */
static inline enum sim_status dev_map(struct mem_region *r, const struct device *d,
                                      const struct dev_args *args, unsigned n,
                                      const struct mem_ops *ops)
{
    r->name = d->label;
    r->base = args->reg[n].base;
    r->size = args->reg[n].size;
    r->ops = ops;
    r->opaque = (void *)d;
    return mem_add_mmio(args->space, r);
}

static inline struct irq_line dev_irq(const struct dev_args *args, unsigned n)
{
    return n < args->nr_irq ? args->irq[n] : (struct irq_line){0};
}

/* An integer property of the node, or `dflt` (tests may have no node). */
static inline uint32_t dev_prop(const struct dev_args *args, const char *name, uint32_t dflt)
{
    return args->prop_u32 ? args->prop_u32(args->node, name, dflt) : dflt;
}

extern const struct dev_driver ns16550a_driver;
extern const struct dev_driver sifive_test_driver;
extern const struct dev_driver goldfish_rtc_driver;
extern const struct dev_driver aclint_clint_driver;
extern const struct dev_driver aclint_mswi_driver;
extern const struct dev_driver aclint_mtimer_driver;
extern const struct dev_driver aclint_sswi_driver;
extern const struct dev_driver plic_driver;
extern const struct dev_driver pci_host_driver;
extern const struct dev_driver virtio_mmio_driver;
extern const struct dev_driver acpi_pm_driver;
extern const struct dev_driver mc146818_driver;
extern const struct dev_driver ioapic_driver;

#endif
