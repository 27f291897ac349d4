/* From a configuration to runs: one in this thread, under mpirun, or one for each of several logical ranks; of a new machine,
 * of an image, of a machine that another process sends, or beside other machines. */
#include <libfdt.h>
#include <stdio.h>

#include "incoming.h"
#include "loader.h"
#include "machine.h"
#include "ranks.h"
#include "images.h"
#include "restore.h"
#include "run_priv.h"
#include "sim-core/alloc.h"
#include "sim-core/log.h"
#include "tools.h"
#include "virt_x86.h"

/* Where the machine comes from (nothing: it is a new one), and whom it runs beside. */
struct origin {
    struct restore *restore;
    struct incoming *incoming;
    const struct run_peers *peers;
};

static void close_origin(struct origin from)
{
    restore_close(from.restore);
    incoming_close(from.incoming);
}

static int run_one_rank(const struct config *config, struct origin from)
{
    struct run r = {.config = config,
                    .restore = from.restore,
                    .incoming = from.incoming,
                    .first = true,
                    .signals_are_ours = !from.peers || from.peers->signal,
                    .peers = from.peers};

    if (config->checkpoint.dir && images_try_folder(config->checkpoint.dir) != SIM_OK) {
        close_origin(from);
        return EXIT_CODE_USAGE;
    }
    return run_machine(&r);
}

/* NULL: MPI does not start, which was said, or ranks have failed at their command lines. */
static struct ic *meet_ranks(const struct ic_config *config, enum sim_status status, const struct sim_log_kept *said)
{
    struct ic *ic;

    if (ic_mpi_create(config, &ic) != SIM_OK) {
        sim_log_write_kept(said);
        return NULL;
    }
    if (ranks_meet(ic, status, said) == SIM_OK)
        return ic;
    ic_destroy(ic);
    return NULL;
}

static int run_mpi_rank(const struct config *config, struct origin from, struct ic *ic)
{
    struct run r = {.config = config,
                    .restore = from.restore,
                    .incoming = from.incoming,
                    .first = ic_rank(ic) == 0,
                    .signals_are_ours = true,
                    .ic = ic};
    int code = run_machine(&r);

    ic_destroy(ic);
    return code;
}

struct logical_rank {
    struct run run;
    struct sim_thread thread;
    int code;
};

static void *logical_rank_main(void *arg)
{
    struct logical_rank *l = arg;

    l->code = run_machine(&l->run);
    ic_destroy(l->run.ic); /* at once: a rank that failed is lost to the others */
    return NULL;
}

/* The first speaks for all, unless it only heard of another's trouble. */
static int joint_code(const struct logical_rank *l, unsigned nr)
{
    for (unsigned i = 1; i < nr; i++)
        if (l[0].code == EXIT_CODE_RANK_LOST && l[i].code && l[i].code != EXIT_CODE_RANK_LOST)
            return l[i].code;
    return l[0].code;
}

/* Each rank has a machine of its own, also one that was restored or comes from another process. */
static enum sim_status set_up_logical_rank(struct logical_rank *l, unsigned i, struct ic_inproc *net,
                                           const struct config *config, struct origin from)
{
    l->run = (struct run){.config = config,
                          .first = i == 0,
                          .signals_are_ours = i == 0 && (!from.peers || from.peers->signal),
                          .peers = i == 0 ? from.peers : NULL};
    l->run.restore = from.restore && i ? restore_open_again(from.restore) : from.restore;
    l->run.incoming = from.incoming && i ? incoming_open_beside(from.incoming) : from.incoming;
    return ic_inproc_join(net, (rank_t)i, &(struct ic_config){0}, &l->run.ic);
}

/* What did not come to run. */
static void drop_logical_rank(struct logical_rank *l)
{
    if (l->run.ic)
        ic_destroy(l->run.ic);
    close_origin((struct origin){.restore = l->run.restore, .incoming = l->run.incoming});
}

static int run_logical_ranks(const struct config *config, struct origin from)
{
    unsigned nr = config->ranks, running = 0;
    struct logical_rank *l = sim_new_array(struct logical_rank, nr);
    enum sim_status status = SIM_OK;
    const struct ic_chaos chaos = {.seed = config->message_seed, .max_delay_ns = config->message_delay_ns};
    struct ic_inproc *net;

    if (ic_inproc_create(nr, &chaos, &net) != SIM_OK) {
        close_origin(from);
        sim_free(l);
        return EXIT_CODE_INTERNAL;
    }
    for (unsigned i = 0; i < nr && status == SIM_OK; i++)
        status = set_up_logical_rank(&l[i], i, net, config, from);
    for (unsigned i = 1; i < nr && status == SIM_OK; i++) {
        status = sim_thread_start(&l[i].thread, "rank", logical_rank_main, &l[i]);
        running = status == SIM_OK ? i : running;
    }
    if (status == SIM_OK)
        logical_rank_main(&l[0]);
    else
        drop_logical_rank(&l[0]);
    for (unsigned i = 1; i <= running; i++)
        sim_thread_join(&l[i].thread);
    for (unsigned i = running + 1; i < nr; i++)
        drop_logical_rank(&l[i]);
    int code = status == SIM_OK ? joint_code(l, nr) : EXIT_CODE_INTERNAL;
    ic_inproc_destroy(net);
    sim_free(l);
    return code;
}

/* Takes `restore` over. */
static int run_ranks(const struct config *config, struct restore *restore, const struct sim_log_kept *said)
{
    const struct origin from = {.restore = restore};

    if (tools_prepare(config) != SIM_OK) {
        restore_close(restore);
        return EXIT_CODE_USAGE;
    }
    if (ic_mpi_wanted() && config->ranks <= 1) {
        struct ic *ic = meet_ranks(&(struct ic_config){0}, SIM_OK, said);
        if (ic)
            return run_mpi_rank(config, from, ic);
        restore_close(restore);
        return EXIT_CODE_USAGE;
    }
    sim_log_write_kept(said);
    return config->ranks > 1 ? run_logical_ranks(config, from) : run_one_rank(config, from);
}

/* --- several machines --- */

int run_peer(const struct config *config, struct restore *restore, const struct run_peers *peers)
{
    const struct origin from = {.restore = restore, .peers = peers};

    if (tools_prepare(config) != SIM_OK) {
        restore_close(restore);
        return EXIT_CODE_USAGE;
    }
    return config->ranks > 1 ? run_logical_ranks(config, from) : run_one_rank(config, from);
}

enum sim_status run_peer_checkpoint(struct run *r, const struct checkpoint_request *request)
{
    sim_mutex_lock(&r->images_lock);
    enum sim_status status = r->images ? images_request(r->images, request) : SIM_ERR_BUSY;
    sim_mutex_unlock(&r->images_lock);
    return status;
}

void run_end_peer(struct run *run, int code)
{
    run_want_end(run, SIM_END_USER, code);
}

/* --- -dumpdtb --- */

static enum sim_status write_file(const char *path, const void *data, size_t len)
{
    FILE *f = fopen(path, "wb");
    bool ok = f && fwrite(data, 1, len, f) == len;

    ok = f && fclose(f) == 0 && ok;
    if (!ok) {
        sim_error("-dumpdtb: cannot write '%s': %m", path);
        return SIM_ERR_IO;
    }
    return SIM_OK;
}

static int dump_dtb(const struct config *c)
{
    void *fdt = NULL;
    enum sim_status status =
        c->dtb   ? machine_read_fdt(c->dtb, &fdt)
        : c->x86 ? virt_x86_build_fdt(c, &fdt)
                 : virt_build_fdt(c, &fdt);

    if (status == SIM_OK)
        status = loader_set_bootargs(&fdt, c->append);
    if (status == SIM_OK) {
        fdt_pack(fdt);
        status = write_file(c->dump_dtb, fdt, fdt_totalsize(fdt));
    }
    sim_free(fdt);
    return status == SIM_OK ? 0 : EXIT_CODE_USAGE;
}

int run_restored(const struct config *config, struct restore *restore, const struct sim_log_kept *said)
{
    sim_log_keep_end();
    return run_ranks(config, restore, said);
}

/* The first rank waits for a source as long as it takes, and the others for the first. */
enum sim_status run_meet_incoming(struct ic **out)
{
    const struct ic_config config = {.start_timeout_ns = UINT64_MAX / 4};
    static const struct sim_log_kept nothing;

    *out = NULL;
    if (!ic_mpi_wanted())
        return SIM_OK;
    *out = meet_ranks(&config, SIM_OK, &nothing);
    return *out ? SIM_OK : SIM_ERR_IO;
}

int run_incoming_refused(struct ic *ic, const struct sim_log_kept *said)
{
    sim_log_keep_end();
    if (!ic)
        return EXIT_CODE_USAGE;
    if (ranks_meet(ic, SIM_ERR_INVALID, said) == SIM_OK) /* the other ranks liked it */
        sim_error("restore --incoming: this rank cannot go on");
    ic_destroy(ic);
    return EXIT_CODE_USAGE;
}

int run_incoming(const struct config *config, struct incoming *incoming, struct ic *ic, const struct sim_log_kept *said)
{
    const struct origin from = {.incoming = incoming};
    bool good = !(ic && config->ranks > 1);

    if (!good)
        sim_error("restore --incoming: --ranks is for one process, and these are several");
    good = good && tools_prepare(config) == SIM_OK;
    sim_log_keep_end();
    if (ic && ranks_meet(ic, good ? SIM_OK : SIM_ERR_INVALID, said) != SIM_OK)
        good = false;
    if (!good) {
        close_origin(from);
        if (ic)
            ic_destroy(ic);
        return EXIT_CODE_USAGE;
    }
    if (ic)
        return run_mpi_rank(config, from, ic);
    return config->ranks > 1 ? run_logical_ranks(config, from) : run_one_rank(config, from);
}

void run_reads_command_line(struct sim_log_kept *said)
{
    *said = (struct sim_log_kept){0};
    if (ic_mpi_wanted())
        sim_log_keep(said);
}

int run_refused(const struct sim_log_kept *said)
{
    struct ic *ic;

    sim_log_keep_end();
    if (ic_mpi_wanted() && (ic = meet_ranks(&(struct ic_config){0}, SIM_ERR_INVALID, said)))
        ic_destroy(ic);
    return EXIT_CODE_USAGE;
}

int run_config(const struct config *config, const struct sim_log_kept *said)
{
    sim_log_keep_end();
    if (config->dump_config) {
        config_dump(config, stdout);
        return 0;
    }
    return config->dump_dtb ? dump_dtb(config) : run_ranks(config, NULL, said);
}
