/* What a run is asked for from outside: images, migration, and the commands of the control socket. */
#include "control.h"
#include "images.h"
#include "incoming.h"
#include "machine.h"
#include "progress.h"
#include "ranks.h"
#include "restore.h"
#include "run_priv.h"
#include "sim-core/log.h"
#include "sim-core/timer.h"
#include "tools.h"

/* --- checkpoints --- */

enum sim_status run_memory_is_there(struct run *r)
{
    SIM_TRY(r->restore ? restore_finish(r->restore) : SIM_OK);
    return r->incoming ? incoming_finish(r->incoming) : SIM_OK;
}

static enum sim_status memory_is_there(void *opaque)
{
    return run_memory_is_there(opaque);
}

static enum sim_status at_rest(void *opaque)
{
    struct run *r = opaque;

    return r->peers ? r->peers->at_rest(r->peers->opaque) : SIM_OK;
}

static void end_after_image(void *opaque, enum sim_end why, int code)
{
    run_want_end(opaque, why, code);
}

/* --- the control socket --- */

static void control_status(void *opaque, struct control_status *out)
{
    struct run *r = opaque;

    *out = (struct control_status){.paused = world_is_paused(&r->world),
                                   .guest_ns = sim_clock_now(&r->sim->clock),
                                   .insns = progress_insns(r->sim),
                                   .lent_turns = world_spare_turns(&r->world)};
    out->migrating = images_migration(r->images, &out->migration);
    out->checkpointing = images_progress(r->images, &out->percent, &out->given, &out->stored);
}

static void control_stop(void *opaque)
{
    struct run *r = opaque;

    if (r->stopped || (r->ranks && ranks_stop(r->ranks) != SIM_OK))
        return;
    r->stopped = true;
    if (!r->ranks) {
        world_pause(&r->world);
        machine_clock_stop(r->machine);
        sim_time_stop(r->sim);
    }
}

static void control_cont(void *opaque)
{
    struct run *r = opaque;

    if (!r->stopped)
        return;
    r->stopped = false;
    if (r->ranks) {
        ranks_cont(r->ranks);
        return;
    }
    sim_clock_go(&r->sim->clock);
    machine_clock_go(r->machine);
    sim_timers_shifted(r->sim);
    world_resume(&r->world);
}

static void control_quit(void *opaque)
{
    run_want_end(opaque, SIM_END_USER, 0);
}

/* One of several machines: frames between them would be in two places, or in none. */
static bool has_peers(const struct run *r, const char *what)
{
    if (r->peers)
        sim_error("%s: the machine is one of a cluster, whose images are of all machines (SIGUSR1) and whose machines stay together", what);
    return r->peers;
}

static enum sim_status control_checkpoint(void *opaque, const struct checkpoint_request *request)
{
    struct run *r = opaque;

    if (has_peers(r, "checkpoint"))
        return SIM_ERR_UNSUPPORTED;
    return images_request(r->images, request);
}

static enum sim_status control_migrate(void *opaque, const struct migrate_request *request)
{
    struct run *r = opaque;

    if (has_peers(r, "migrate"))
        return SIM_ERR_UNSUPPORTED;
    if (!r->stopped)
        return images_migrate(r->images, request);
    sim_error("migrate: the machine is stopped (cont lets it go on)");
    return SIM_ERR_UNSUPPORTED;
}

static void control_migrate_cancel(void *opaque)
{
    images_migrate_cancel(((struct run *)opaque)->images);
}

static void machine_is_gone(void *opaque, bool good)
{
    run_want_end(opaque, good ? SIM_END_USER : SIM_END_ERROR, good ? EXIT_CODE_MIGRATED : EXIT_CODE_RANK_LOST);
}

static void machine_waits(void *opaque)
{
    struct run *r = opaque;

    r->stopped = true;
}

static enum sim_status control_move_hart(void *opaque, uint32_t hart, uint32_t rank, uint64_t *pause_ns)
{
    struct run *r = opaque;

    if (r->ranks)
        return ranks_move_harts(r->ranks, &(struct ranks_move){hart, rank}, 1, pause_ns);
    sim_error("move-hart: the machine is on one rank only");
    return SIM_ERR_UNSUPPORTED;
}

static enum sim_status control_move_memory(void *opaque, uint64_t start, uint64_t bytes, uint32_t rank,
                                           struct ranks_homes_moved *moved)
{
    struct run *r = opaque;

    if (r->ranks)
        return ranks_move_memory(r->ranks, start, bytes, rank, moved);
    sim_error("move-memory: the machine is on one rank only");
    return SIM_ERR_UNSUPPORTED;
}

static void control_list_homes(void *opaque, ranks_home_fn *fn, void *fn_opaque)
{
    struct run *r = opaque;

    if (r->ranks)
        ranks_list_homes(r->ranks, fn, fn_opaque);
}

static enum sim_status control_trace(void *opaque, const char *spec)
{
    struct run *r = opaque;

    world_pause(&r->world);
    enum sim_status status = tools_trace(r->tools, "trace", spec);
    world_resume(&r->world);
    return status;
}

static void control_stopped(void *opaque)
{
    run_want_end(opaque, SIM_END_USER, EXIT_CODE_CHECKPOINTED);
}

static const struct control_ops control_ops = {.status = control_status,
                                               .stop = control_stop,
                                               .cont = control_cont,
                                               .quit = control_quit,
                                               .checkpoint = control_checkpoint,
                                               .migrate = control_migrate,
                                               .migrate_cancel = control_migrate_cancel,
                                               .move_hart = control_move_hart,
                                               .move_memory = control_move_memory,
                                               .list_homes = control_list_homes,
                                               .trace = control_trace,
                                               .stopped = control_stopped};

enum sim_status run_start_control(struct run *r)
{
    const struct images_config images = {.config = r->config,
                                         .machine = r->machine,
                                         .ranks = r->ranks,
                                         .world = &r->world,
                                         .restore = r->restore,
                                         .memory_is_there = memory_is_there,
                                         .want_end = end_after_image,
                                         .at_rest = at_rest,
                                         .migrator_ops = {.gone = machine_is_gone, .undecided = machine_waits},
                                         .opaque = r};
    const char *path = r->config->control;

    r->images = images_create(&images);
    return path && r->first ? control_create(r->sim, path, &control_ops, r, &r->control) : SIM_OK;
}
