/* Composes a machine from a device tree: memory, harts, interrupt controllers, then everything else.
 *
 *   tree -> mem_add_ram per memory node -> rv_machine + a hart per cpu node
 *        -> devices: interrupt controllers first, so that the others' lines resolve
 *        -> drives, nets, console, rng from the command line into PCIe or virtio-mmio slots */
#include <string.h>

#include "kvm/hkvm.h"
#include "machine_priv.h"
#include "ranks.h"
#include "sim-core/alloc.h"
#include "sim-core/log.h"

/* What leads to no port is refused, unless it leads to nothing anyway, or an old image has it; the first may be the SBI's alone. */
static enum sim_status check_serials(const struct builder *b)
{
    const struct config *c = b->m->config;
    unsigned ports = b->nr_uarts ? b->nr_uarts : 1;

    for (unsigned i = ports; i < c->nr_serials && !c->tree.fdt; i++) {
        if (strcmp(c->serial[i], "null") != 0) {
            sim_error("-serial '%s' is number %u, and the machine has %u serial port%s", c->serial[i], i + 1, ports, ports > 1 ? "s" : "");
            return SIM_ERR_INVALID;
        }
    }
    return SIM_OK;
}

static enum sim_status compose(struct builder *b)
{
    struct machine *m = b->m;

    SIM_TRY(mem_space_create(m->sim, &m->space));
    SIM_TRY(machine_add_memory(b));
    if (m->ranks && !ranks_get_plan(m->ranks))
        SIM_TRY(machine_plan_from_tree(b));
    SIM_TRY(machine_create_cpus(b));
    if (m->ranks && !ranks_has_devices(m->ranks))
        return machine_find_console(b); /* what is not here is asked of the rank that has it */
    SIM_TRY(machine_add_devices(b));
    SIM_TRY(check_serials(b));
    return machine_plug_all(m);
}

enum sim_status machine_create(struct sim *sim, const struct config *config, struct ranks *ranks,
                               struct machine **out)
{
    struct machine *m = sim_new(struct machine);
    struct builder b = {.m = m};

    m->sim = sim;
    m->config = config;
    m->ranks = ranks;
    m->builtin_sbi = config->tree.fdt ? config->tree.builtin_sbi : loader_wants_sbi(config);
    enum sim_status status = machine_get_tree(m);
    if (status == SIM_OK) {
        fdt_walk_init(&b.walk, m->fdt);
        b.target = sim_new_array(struct target, b.walk.nr + 1);
        status = compose(&b);
        sim_free(b.target);
        fdt_walk_fini(&b.walk);
    }
    if (status != SIM_OK) {
        machine_destroy(m);
        return status;
    }
    *out = m;
    return SIM_OK;
}

void machine_reset(struct machine *m)
{
    for (unsigned i = 0; i < m->nr_devices; i++)
        dev_reset(m->devices[i]);
    if (m->kvm) {
        if (hkvm_machine_reset(m->kvm) != SIM_OK)
            sim_request_end(m->sim, SIM_END_ERROR, 0);
        return;
    }
    for (uint32_t i = 0; i < m->sim->nr_vcpus; i++)
        rv_hart_reset(m->sim->vcpus[i]);
}

/* Translated code and its helpers mark pages as they write. */
void machine_collect_dirty(struct machine *m)
{
    if (m->kvm)
        hkvm_machine_collect_dirty(m->kvm);
}

void machine_write_protect(struct machine *m)
{
    if (m->kvm)
        hkvm_machine_write_protect(m->kvm);
    else
        rv_machine_write_protect(m->cpus);
}

void machine_clock_stop(struct machine *m)
{
    if (m->kvm)
        hkvm_machine_clock_stop(m->kvm);
}

void machine_clock_go(struct machine *m)
{
    if (m->kvm)
        hkvm_machine_clock_go(m->kvm);
}

void machine_clock_follow(struct machine *m)
{
    if (m->kvm)
        hkvm_machine_clock_follow(m->kvm);
}

/* KVM's log of written pages begins anew when it is read; over ranks there is none, and pages are marked as they fault. */
void machine_mark_anew(struct machine *m)
{
    if (m->kvm && !m->ranks)
        hkvm_machine_collect_dirty(m->kvm);
    else
        machine_write_protect(m);
}

static void destroy_backends(struct machine *m)
{
    for (unsigned i = 0; i < CONFIG_MAX_SERIALS; i++)
        if (m->serial[i])
            chardev_destroy(m->serial[i]);
    if (m->virtconsole)
        chardev_destroy(m->virtconsole);
    for (unsigned i = 0; i < CONFIG_MAX_DRIVES; i++)
        if (m->block[i])
            blockdev_close(m->block[i]);
    for (unsigned i = 0; i < CONFIG_MAX_NETS; i++)
        if (m->net[i])
            netdev_destroy(m->net[i]);
}

void machine_destroy(struct machine *m)
{
    if (!m)
        return;
    for (unsigned i = m->nr_devices; i-- > 0;)
        dev_destroy(m->devices[i]);
    sim_free(m->devices);
    destroy_backends(m);
    if (m->cpus)
        rv_machine_destroy(m->cpus);
    hkvm_machine_destroy(m->kvm);
    mem_space_destroy(m->space);
    sim_free(m->fdt);
    sim_free(m);
}
