/* What must hold of the command line as a whole. */
#include <inttypes.h>
#include <string.h>

#include "accel.h"
#include "cli_priv.h"
#include "interconnect/interconnect.h"
#include "sim-core/alloc.h"
#include "sim-core/log.h"

static bool is_firmware_file(const char *bios)
{
    return bios && strcmp(bios, "none") != 0 && strcmp(bios, "default") != 0;
}

static unsigned count_stdio(const struct config *c)
{
    unsigned n = c->virtconsole && strcmp(c->virtconsole, "stdio") == 0;

    for (unsigned i = 0; i < c->nr_serials; i++)
        n += strcmp(c->serial[i], "stdio") == 0;
    return n;
}

/* What cannot be seen from one option alone. */
enum sim_status cli_check_whole(const struct config *c)
{
    const struct config_rule rules[] = {
        {!c->tree.fdt && !c->kernel && !c->demo && !is_firmware_file(c->bios) && !c->dump_dtb && !c->dump_config,
         "nothing to run: give -kernel FILE, -bios FILE or --demo"},
        {c->initrd && !c->kernel, "-initrd needs -kernel"},
        {c->append && !c->kernel && !c->demo && !c->dump_dtb, "-append needs -kernel"},
        {c->demo && c->kernel, "--demo and -kernel exclude each other"},
        {c->demo && c->bios && strcmp(c->bios, "default") != 0,
         "--demo runs on the built-in SBI: leave -bios away"},
        {c->virtual_clock && c->threads > 1,
         "--clock virtual counts the instructions of one thread: leave --threads away"},
        {c->virtual_clock && c->ranks > 1,
         "--clock virtual counts the instructions of one thread: leave --ranks away"},
        {c->x86 && (c->dtb || c->bios || c->demo || c->numa.nr_nodes || c->virtual_clock),
         "-M virt-x86 has no -dtb, -bios, --demo, -numa or --clock virtual"},
        {c->own_apics && !c->x86, "kernel-irqchip=off is for -M virt-x86: other machines' interrupt controllers are never KVM's"},
        {c->irqfd && (!c->x86 || c->own_apics || c->ranks > 1),
         "irqfd=on is for -M virt-x86 on one rank with KVM's interrupt controllers: it raises pins of those"},
        {c->x86 && c->cpu && strcmp(c->cpu, "host") != 0, "-M virt-x86: its CPU is the host's (-cpu host)"},
        {c->x86 && !c->tree.fdt && !c->kernel && !c->dump_dtb && !c->dump_config,
         "nothing to run: -M virt-x86 needs -kernel FILE"},
        {c->ranks > 1 && ic_mpi_wanted(),
         "--ranks: mpirun has started several processes already, which are the ranks: leave --ranks away"},
        {c->message_seed && c->ranks <= 1,
         "--ranks: seed= delays the messages between ranks of one process: it needs two ranks or more, without mpirun"},
        {!c->dtb && c->ranks > c->smp, "--ranks: each rank needs a hart of its own, and the machine has fewer (-smp)"},
        {(c->checkpoint.every_ns || c->checkpoint.keep || c->checkpoint.incremental) &&
             !c->checkpoint.dir,
         "--checkpoint-every, --checkpoint-incremental and --keep need --checkpoint-dir DIR"},
        {count_stdio(c) > 1, "only one serial port or console can be stdio"},
    };

    const char *why = config_broken_rule(rules, SIM_ARRAY_LEN(rules));

    if (!why)
        return SIM_OK;
    sim_error("%s", why);
    return SIM_ERR_INVALID;
}

/* -smp and -m are held against the tree when it is read (machine_cpus.c). */
static enum sim_status check_tree(const struct config *c)
{
    if (!c->dtb || !c->cpu)
        return SIM_OK;
    sim_error("-cpu: what the harts are the device tree says (-dtb '%s')", c->dtb);
    return SIM_ERR_INVALID;
}

/* As far as it can be told before the ranks have met: how many there are is mpirun's to say. */
static enum sim_status check_harts_per_rank(const struct config *c)
{
    uint64_t sum = 0;

    for (unsigned i = 0; i < c->nr_harts_per_rank; i++)
        sum += c->harts_per_rank[i];
    if (!c->dtb && c->nr_harts_per_rank && sum != c->smp) { /* how many a tree has the plan sees */
        sim_error("-harts-per-rank: %" PRIu64 " harts together, but -smp %" PRIu32, sum, c->smp);
        return SIM_ERR_INVALID;
    }
    if (c->nr_harts_per_rank && c->ranks > 1 && c->nr_harts_per_rank != c->ranks) {
        sim_error("-harts-per-rank: %u numbers for %u ranks", c->nr_harts_per_rank, c->ranks);
        return SIM_ERR_INVALID;
    }
    return SIM_OK;
}

enum sim_status cli_complete(struct cli *cli)
{
    struct config *c = cli->config;

    SIM_TRY(check_tree(c));
    SIM_TRY(check_harts_per_rank(c));
    SIM_TRY(numa_resolve(&cli->numa, c));
    SIM_TRY(cli_devices_resolve(&cli->devices, c));
    if (c->nr_serials == 0)
        c->serial[c->nr_serials++] =
            sim_strdup(c->virtconsole && strcmp(c->virtconsole, "stdio") == 0 ? "null" : "stdio");
    SIM_TRY(cli_check_whole(c));
    return c->dump_dtb ? SIM_OK : accel_choose(c);
}
