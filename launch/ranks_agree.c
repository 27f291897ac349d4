/* What the ranks of a run tell each other before anything else: facts that must be the same for all, and then each
 * one's clock and topology, from which every rank makes the same plan. */
#include <string.h>

#include "rank_facts.h"
#include "ranks_priv.h"
#include "sim-core/alloc.h"

/* One message: every rank knows that there are too few harts, the first says it. */
static enum sim_status check_harts(const struct ranks *r)
{
    if (r->config->dtb || r->config->smp >= (uint32_t)ic_nr_ranks(r->ic))
        return SIM_OK;
    if (ic_rank(r->ic) == 0)
        sim_error("%d ranks need as many harts: -smp is %u (start fewer ranks, or give it more harts)",
                  (int)ic_nr_ranks(r->ic), r->config->smp);
    return SIM_ERR_INVALID;
}

static enum sim_status agree(struct ranks *r)
{
    struct ic_fact fact[RANK_FACTS];
    unsigned nr = rank_facts(r->config, fact);

    return ic_agree(r->ic, fact, nr);
}

/* What every rank tells every other: its clock's zero, then its topology. Of the ranks of one process the first reads it for
 * all: that takes longer than the rest of a restore. */
struct introduction {
    uint64_t host_base_ns;
    uint8_t topology[];
};

static bool has_own_topology(const struct ranks *r, rank_t rank)
{
    return r->config->ranks <= 1 || rank == 0;
}

static enum sim_status read_introduction(struct ranks *r, rank_t rank, void **all, const uint32_t *lens)
{
    const struct introduction *in = all[rank];
    rank_t reader = has_own_topology(r, rank) ? rank : 0;

    if (lens[rank] < sizeof *in || lens[reader] < sizeof *in) {
        sim_error("%s introduced itself with %u bytes", ic_rank_name(r->ic, rank), lens[rank]);
        return SIM_ERR_FORMAT;
    }
    if (rank == 0)
        r->sim->clock.host_base_ns =
            in->host_base_ns - (uint64_t)ic_clock_offset_ns(r->ic, NULL);
    return part_topology_decode(ic_rank_name(r->ic, rank), ((const struct introduction *)all[reader])->topology,
                                lens[reader] - sizeof *in, &r->topology[rank]);
}

static enum sim_status encode_topology(uint8_t **bytes, size_t *len)
{
    struct part_topology *own;

    SIM_TRY(part_topology_read(NULL, &own));
    part_topology_encode(own, bytes, len);
    part_topology_destroy(own);
    return SIM_OK;
}

static enum sim_status introduce(struct ranks *r)
{
    rank_t nr = ic_nr_ranks(r->ic);
    uint8_t *bytes = NULL;
    size_t len = 0;

    if (has_own_topology(r, ic_rank(r->ic)))
        SIM_TRY(encode_topology(&bytes, &len));
    struct introduction *mine = sim_zalloc(sizeof *mine + len);
    mine->host_base_ns = r->sim->clock.host_base_ns;
    if (len)
        memcpy(mine->topology, bytes, len);
    sim_free(bytes);
    void **all = sim_new_array(void *, (size_t)nr);
    uint32_t *lens = sim_new_array(uint32_t, (size_t)nr);
    enum sim_status status = ic_gather(r->ic, mine, (uint32_t)(sizeof *mine + len), all, lens);
    bool gathered = status == SIM_OK;
    for (rank_t i = 0; status == SIM_OK && i < nr; i++)
        status = read_introduction(r, i, all, lens);
    if (gathered)
        ic_gather_free(r->ic, all);
    sim_free(lens);
    sim_free(all);
    sim_free(mine);
    return status;
}

enum sim_status ranks_agree(struct ranks *r)
{
    SIM_TRY(agree(r));
    SIM_TRY(check_harts(r));
    SIM_TRY(rank_options_check(r->config, (uint32_t)ic_nr_ranks(r->ic), ic_rank(r->ic) == 0));
    SIM_TRY(ranks_check_folder(r));
    return introduce(r);
}
