/* Placement: configuration -> part_config -> plan. The command `plan` shows what ranks would agree on. */
#include "placement.h"

#include <inttypes.h>

#include "sim-core/log.h"

static enum sim_status check_hart_list(const struct config *c, uint32_t nr_ranks)
{
    if (!c->nr_harts_per_rank || c->nr_harts_per_rank == nr_ranks)
        return SIM_OK;
    sim_error("-harts-per-rank: %u numbers for %" PRIu32 " ranks", c->nr_harts_per_rank, nr_ranks);
    return SIM_ERR_INVALID;
}

enum sim_status placement_make(const struct config *c, const struct placement_machine *machine,
                               const struct part_topology *const *topology, uint32_t nr_ranks,
                               struct part_plan **out)
{
    const struct part_range ram = {CONFIG_RAM_BASE, c->memory};
    const struct placement_machine virt = {c->smp, &ram, 1};
    const struct placement_machine *m = machine ? machine : &virt;
    const struct part_config config = {
        .nr_harts = m->nr_harts,
        .ram = m->ram,
        .nr_ram = m->nr_ram,
        /* Counted instructions are a clock only when one thread counts. */
        .threads_per_rank = c->virtual_clock ? 1 : c->threads,
        .harts_move = c->rebalance && nr_ranks > 1,
        /* A number of threads that was asked for is the number there is; vCPUs of KVM do not move. */
        .lend_cores = !c->threads && !c->virtual_clock && !c->kvm,
        .binds = config_binds(c),
        .harts_per_rank = c->nr_harts_per_rank ? c->harts_per_rank : NULL,
        .max_nodes = PLACEMENT_MAX_NODES,
    };

    SIM_TRY(check_hart_list(c, nr_ranks));
    return part_plan_make(&config, topology, nr_ranks, out);
}
