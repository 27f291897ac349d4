/* The list of all drivers, and what is common to all devices. */
#include <string.h>

#include "dev_priv.h"

static const struct dev_driver *const drivers[] = {
    &ns16550a_driver,
    &sifive_test_driver,
    &goldfish_rtc_driver,
    &aclint_clint_driver,
    &aclint_mswi_driver,
    &aclint_mtimer_driver,
    &aclint_sswi_driver,
    &plic_driver,
    &pci_host_driver,
    &virtio_mmio_driver,
    &acpi_pm_driver,
    &mc146818_driver,
    &ioapic_driver,
    NULL,
};

const struct dev_driver *const *dev_drivers(void)
{
    return drivers;
}

static bool handles(const struct dev_driver *driver, const char *compatible)
{
    for (const char *const *c = driver->compatible; *c; c++)
        if (strcmp(*c, compatible) == 0)
            return true;
    return false;
}

const struct dev_driver *dev_find_driver(const char *compatible)
{
    for (const struct dev_driver *const *d = drivers; *d; d++)
        if (handles(*d, compatible))
            return *d;
    return NULL;
}

void dev_destroy(struct device *d)
{
    if (!d)
        return;
    char *label = d->label;

    d->ops->destroy(d);
    sim_free(label);
}

void dev_reset(struct device *d)
{
    if (d->ops->reset)
        d->ops->reset(d);
}
