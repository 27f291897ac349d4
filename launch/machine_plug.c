/* What the command line plugs into a machine: virtio devices on PCIe or in virtio-mmio slots. */
#include <string.h>

#include "machine_priv.h"
#include "sim-core/log.h"

static struct device *find_device(struct machine *m, const char *ops_name,
                                  bool (*fits)(const struct device *))
{
    for (unsigned i = 0; i < m->nr_devices; i++)
        if (strcmp(m->devices[i]->ops->name, ops_name) == 0 && (!fits || fits(m->devices[i])))
            return m->devices[i];
    return NULL;
}

static enum sim_status use_doorbells(struct device *slot, bool must, const char *what)
{
    if (virtio_mmio_use_doorbells(slot) == SIM_OK)
        return SIM_OK;
    if (must) {
        sim_error("%s: ioeventfd=on: its notifications cannot come by eventfd: %m", what);
        return SIM_ERR_UNSUPPORTED;
    }
    sim_warn("%s: its notifications cannot come by eventfd and are exits, which take longer: %m", what);
    return SIM_OK;
}

/* Where nobody has said, notifications come by eventfd if they can (kvm/README.md has the figures). A machine from an image goes on
 * also on a host that refuses what was asked for where it began. */
static enum sim_status choose_doorbells(struct machine *m, struct device *slot, enum config_eventfd wish, const char *what)
{
    if (wish != CONFIG_EVENTFD_OFF && m->space->doorbells)
        return use_doorbells(slot, wish == CONFIG_EVENTFD_ON && !m->config->tree.fdt, what);
    if (wish == CONFIG_EVENTFD_ON)
        sim_warn("%s: ioeventfd=on has no effect: it is for vCPUs of KVM on one rank", what);
    return SIM_OK;
}

struct place {
    enum config_bus bus;
    enum config_eventfd eventfd;
};

/* On the bus the user asked for, else on the other one. */
static enum sim_status find_place(struct machine *m, struct place want, struct virtio_device *v, const char *what)
{
    struct device *pcie = find_device(m, "pcie-host", NULL);
    struct device *slot = find_device(m, "virtio-mmio", virtio_mmio_is_free);

    if (pcie && (want.bus == CONFIG_BUS_PCI || !slot))
        return pcie_host_plug_virtio(pcie, v);
    if (slot)
        return virtio_mmio_plug(slot, v);
    sim_error("%s: the machine has no free virtio slot", what);
    return SIM_ERR_INVALID;
}

/* The device belongs to its transport from here on, or is gone. */
static enum sim_status plug(struct machine *m, struct place want, struct virtio_device *v, const char *what)
{
    struct device *slot = find_device(m, "virtio-mmio", virtio_mmio_is_free);
    enum sim_status status = find_place(m, want, v, what);

    if (status != SIM_OK) {
        virtio_destroy(v);
        return status;
    }
    bool in_slot = slot && !virtio_mmio_is_free(slot);
    return in_slot ? choose_doorbells(m, slot, want.eventfd, what) : SIM_OK;
}

static enum sim_status plug_drives(struct machine *m)
{
    for (unsigned i = 0; i < m->config->nr_drives; i++) {
        const struct config_drive *d = &m->config->drive[i];
        const struct blockdev_options options = {d->file, d->readonly, d->serial};
        struct virtio_device *v;
        SIM_TRY(blockdev_open(m->sim, &options, &m->block[i]));
        SIM_TRY(virtio_blk_create(m->sim, m->block[i], &v));
        SIM_TRY(plug(m, (struct place){d->bus, d->eventfd}, v, d->file));
    }
    return SIM_OK;
}

static enum sim_status plug_nets(struct machine *m)
{
    for (unsigned i = 0; i < m->config->nr_nets; i++) {
        const struct config_net *n = &m->config->net[i];
        struct virtio_device *v;
        SIM_TRY(netdev_create(m->sim, n->backend, n->mac, &m->net[i]));
        SIM_TRY(virtio_net_create(m->sim, m->net[i], &v));
        SIM_TRY(plug(m, (struct place){n->bus, n->eventfd}, v, n->backend));
    }
    return SIM_OK;
}

static enum sim_status plug_extras(struct machine *m)
{
    struct virtio_device *v;

    if (m->config->virtconsole) {
        SIM_TRY(chardev_create(m->sim, m->config->virtconsole, &m->virtconsole));
        SIM_TRY(virtio_console_create(m->sim, m->virtconsole, &v));
        SIM_TRY(plug(m, (struct place){CONFIG_BUS_PCI, CONFIG_EVENTFD_OFF}, v, "virtio console"));
    }
    if (m->config->rng) {
        SIM_TRY(virtio_rng_create(m->sim, &v));
        SIM_TRY(plug(m, (struct place){m->config->rng_bus, m->config->rng_eventfd}, v, "virtio rng"));
    }
    return SIM_OK;
}

enum sim_status machine_plug_all(struct machine *m)
{
    SIM_TRY(plug_drives(m));
    SIM_TRY(plug_nets(m));
    return plug_extras(m);
}
