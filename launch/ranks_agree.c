/* What the ranks of a run tell each other before anything else: facts that must be the same for all, and then each
 * one's clock and topology, from which every rank makes the same plan. */
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>
#include <xxhash.h>

#include "ranks_priv.h"
#include "sim-core/alloc.h"

static void fact(struct ic_fact *f, const char *name, const char *value)
{
    f->name = name;
    snprintf(f->value, sizeof f->value, "%s", value ? value : "none");
}

static bool hash_file(int fd, uint64_t *size, uint64_t *hash)
{
    enum { CHUNK = 1 << 20 };
    XXH3_state_t *state = XXH3_createState();
    uint8_t *buf = sim_zalloc(CHUNK);
    ssize_t n;

    *size = 0;
    XXH3_64bits_reset(state);
    while ((n = read(fd, buf, CHUNK)) > 0) {
        XXH3_64bits_update(state, buf, (size_t)n);
        *size += (uint64_t)n;
    }
    *hash = XXH3_64bits_digest(state);
    sim_free(buf);
    XXH3_freeState(state);
    return n == 0;
}

/* The files' contents must agree, not their names: hosts mount them where they like. What the first rank cannot
 * read it says when it loads. */
static void fact_file(struct ic_fact *f, const char *name, const char *path)
{
    int fd = path ? open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK) : -1;
    uint64_t size, hash;

    f->name = name;
    if (fd >= 0 && hash_file(fd, &size, &hash))
        snprintf(f->value, sizeof f->value, "%" PRIu64 " bytes with the hash %016" PRIx64, size, hash);
    else
        snprintf(f->value, sizeof f->value, path ? "none that can be read" : "none");
    if (fd >= 0)
        close(fd);
}

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

/* What a machine on several ranks cannot do. */
static enum sim_status check_options(const struct ranks *r)
{
    const struct config *c = r->config;
    const struct {
        bool wrong;
        const char *why;
    } rules[] = {
        {c->virtual_clock, "--clock virtual counts the instructions of one thread: it needs a run on one rank"},
    };

    for (size_t i = 0; i < SIM_ARRAY_LEN(rules); i++) {
        if (!rules[i].wrong)
            continue;
        if (ic_rank(r->ic) == 0)
            sim_error("%s", rules[i].why);
        return SIM_ERR_UNSUPPORTED;
    }
    return SIM_OK;
}

/* A restored machine needs none of the files that it began with. */
static enum sim_status agree_on_image(struct ranks *r)
{
    struct ic_fact image;

    fact(&image, "image", r->config->tree.image);
    return ic_agree(r->ic, &image, 1);
}

static enum sim_status agree(struct ranks *r)
{
    const struct config *c = r->config;
    struct ic_fact facts[9];
    char number[32];

    if (c->tree.fdt)
        return agree_on_image(r);

    snprintf(number, sizeof number, "%u", c->smp);
    fact(&facts[0], "-smp", number);
    snprintf(number, sizeof number, "%" PRIu64 " MiB", c->memory >> 20);
    fact(&facts[1], "-m", number);
    fact(&facts[2], "-cpu", c->cpu);
    fact(&facts[3], "-bios", c->bios);
    fact(&facts[4], "-append", c->append);
    fact_file(&facts[5], "kernel file", c->kernel);
    fact_file(&facts[6], "initrd file", c->initrd);
    fact_file(&facts[7], "device tree file", c->dtb);
    fact(&facts[8], "-rebalance", c->rebalance ? "on" : c->rehome ? "homes" : "off");
    return ic_agree(r->ic, facts, SIM_ARRAY_LEN(facts));
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
    SIM_TRY(check_options(r));
    SIM_TRY(ranks_check_folder(r));
    return introduce(r);
}
