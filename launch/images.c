/* Requests for images, from wherever they come, to the rank that makes them. */
#include "images.h"

#include <signal.h>

#include "checkpoint_follow.h"
#include "migrate_follow.h"
#include "ranks_image.h"
#include "run.h"
#include "sim-core/alloc.h"
#include "sim-core/log.h"
#include "sim-core/timer.h"

/* Owner: the launch thread. */
struct images {
    struct images_config c;
    struct checkpointer *checkpointer; /* rank 0 */
    struct migrator *migrator;
    struct follower *follower;         /* other ranks */
    struct migrate_follower *migrate_follower;
    struct sim_timer *every;           /* the next one by time */
    unsigned left_out;                 /* images by time, because one was being written */
};

/* --- standing still --- */

static enum sim_status memory_is_there(void *opaque)
{
    struct images *im = opaque;

    return im->c.memory_is_there(im->c.opaque);
}

/* A guest reset is soon over. */
static enum sim_status freeze_ranks(struct ranks *r)
{
    enum { TRIES = 200, NAP_NS = 5000000 };
    enum sim_status status = ranks_freeze(r);

    for (unsigned n = 0; n < TRIES && status == SIM_ERR_BUSY; n++) {
        ranks_thaw(r);
        sim_thread_sleep(NAP_NS);
        status = ranks_freeze(r);
    }
    return status;
}

static enum sim_status freeze(void *opaque)
{
    struct images *im = opaque;

    if (im->c.ranks)
        return freeze_ranks(im->c.ranks);
    world_pause(im->c.world);
    return SIM_OK;
}

static enum sim_status settle(void *opaque)
{
    struct images *im = opaque;

    if (im->c.ranks)
        SIM_TRY(ranks_freeze_settle(im->c.ranks));
    return im->c.at_rest(im->c.opaque);
}

static void thaw(void *opaque)
{
    struct images *im = opaque;

    if (im->c.ranks)
        ranks_thaw(im->c.ranks);
    else
        world_resume(im->c.world);
}

static uint32_t cursor(void *opaque)
{
    return world_cursor(((struct images *)opaque)->c.world);
}

static const struct checkpointer_ops checkpointer_ops = {
    .ready = memory_is_there, .freeze = freeze, .settle = settle, .thaw = thaw, .cursor = cursor};

/* --- signals --- */

static const struct config_checkpoint *settings(const struct images *im)
{
    return &im->c.config->checkpoint;
}

static void made_at_the_end(void *opaque, const struct checkpoint_result *result)
{
    struct images *im = opaque;

    if (result->status == SIM_OK)
        sim_info("checkpoint: %s; go on with: partita restore %s", result->path, settings(im)->dir);
    im->c.want_end(im->c.opaque, SIM_END_USER,
                   result->status == SIM_OK ? EXIT_CODE_CHECKPOINTED : EXIT_CODE_SIGNAL + SIGTERM);
}

/* On rank 0. False: there will be none. */
static bool make_by_signal(struct images *im, int sig)
{
    const struct config_checkpoint *k = settings(im);
    struct checkpoint_request request = {
        .dir = k->dir, .incremental = k->incremental, .stop = sig == SIGTERM, .wait = true};

    if (sig == SIGTERM) {
        request.done = made_at_the_end;
        request.opaque = im;
    }
    return checkpoint_start(im->checkpointer, &request) == SIM_OK;
}

/* A signal, here or at a follower, on its way to the I/O thread. */
struct wanted {
    struct images *im;
    int sig;
};

static void make_wanted(void *opaque)
{
    struct wanted *w = opaque;

    if (!make_by_signal(w->im, w->sig) && w->sig == SIGTERM)
        w->im->c.want_end(w->im->c.opaque, SIM_END_USER, EXIT_CODE_SIGNAL + w->sig);
    sim_free(w);
}

/* Who wants the end does not wait for a migration, unless the guest has gone. */
static void on_wanted(void *opaque, int sig)
{
    struct images *im = opaque;
    struct wanted *w = sim_new(struct wanted);

    if (sig == SIGTERM)
        migrate_cancel(im->migrator);

    *w = (struct wanted){im, sig};
    sim_io_post(im->c.machine->sim->io, make_wanted, w);
}

bool images_take_signal(struct images *im, int sig)
{
    if (sig != SIGUSR1 && (sig != SIGTERM || !settings(im)->dir))
        return false;
    if (!settings(im)->dir)
        sim_warn("SIGUSR1 makes an image when there is --checkpoint-dir DIR");
    else if (im->follower)
        ranks_image_want(im->c.ranks, sig);
    else
        on_wanted(im, sig);
    return true;
}

static const struct ranks_image_ops leader_ops = {.wanted = on_wanted};

/* --- time --- */

/* The first is news, and as many again each time. */
static void leave_out(struct images *im)
{
    unsigned n = ++im->left_out;

    if ((n & (n - 1)) == 0)
        sim_warn("checkpoint: the last image is still being written: --checkpoint-every is too short, %u left out", n);
}

static void make_by_time(void *opaque)
{
    struct images *im = opaque;
    const struct config_checkpoint *k = settings(im);
    const struct checkpoint_request request = {.dir = k->dir, .incremental = k->incremental};

    sim_timer_arm(im->every, sim_clock_now(&im->c.machine->sim->clock) + k->every_ns);
    if (checkpoint_start(im->checkpointer, &request) == SIM_ERR_BUSY)
        leave_out(im);
}

static void start_timer(struct images *im)
{
    struct sim *sim = im->c.machine->sim;

    im->every = sim_timer_create(sim, make_by_time, im);
    sim_timer_arm(im->every, sim_clock_now(&sim->clock) + settings(im)->every_ns);
}

/* --- the control socket --- */

enum sim_status images_request(struct images *im, const struct checkpoint_request *request)
{
    return checkpoint_start(im->checkpointer, request);
}

bool images_progress(struct images *im, unsigned *percent, uint64_t *given, uint64_t *stored)
{
    return checkpoint_progress(im->checkpointer, percent, given, stored);
}

enum sim_status images_migrate(struct images *im, const struct migrate_request *request)
{
    return migrate_start(im->migrator, request);
}

void images_migrate_cancel(struct images *im)
{
    migrate_cancel(im->migrator);
}

bool images_migration(struct images *im, struct migrate_progress *out)
{
    return migrate_progress(im->migrator, out);
}

static void gone(void *opaque, bool good)
{
    struct images *im = opaque;

    im->c.migrator_ops.gone(im->c.opaque, good);
}

static void undecided(void *opaque)
{
    struct images *im = opaque;

    im->c.migrator_ops.undecided(im->c.opaque);
}

static const struct migrator_ops migrator_ops = {.gone = gone, .undecided = undecided};

/* --- life --- */

static void lead(struct images *im)
{
    im->checkpointer = checkpointer_create(im->c.machine, im->c.ranks, &checkpointer_ops, im);
    if (im->c.restore)
        checkpointer_came_from(im->checkpointer, restore_image(im->c.restore));
    if (im->c.ranks)
        ranks_image_attach(im->c.ranks, &leader_ops, im);
    im->migrator =
        migrator_create(im->c.machine, im->c.ranks, im->checkpointer, &checkpointer_ops, &migrator_ops, im);
    if (settings(im)->every_ns)
        start_timer(im);
}

static bool image_is_busy(void *opaque)
{
    struct images *im = opaque;

    return follower_is_busy(im->follower);
}

static bool migration_is_busy(void *opaque)
{
    struct images *im = opaque;

    return migrate_follower_is_busy(im->migrate_follower);
}

static void follow(struct images *im)
{
    im->follower = follower_create(im->c.machine, im->c.ranks, memory_is_there, migration_is_busy, im);
    im->migrate_follower = migrate_follower_create(im->c.machine, im->c.ranks, memory_is_there, image_is_busy, im);
}

struct images *images_create(const struct images_config *config)
{
    struct images *im = sim_new(struct images);

    im->c = *config;
    if (config->machine->sim->rank == 0)
        lead(im);
    else
        follow(im);
    return im;
}

void images_close(struct images *im)
{
    if (im->checkpointer) {
        migrator_close(im->migrator);
        checkpointer_close(im->checkpointer);
    } else {
        migrate_follower_close(im->migrate_follower);
        follower_close(im->follower);
    }
}

void images_destroy(struct images *im)
{
    if (!im)
        return;
    if (im->checkpointer && im->c.ranks)
        ranks_image_attach(im->c.ranks, NULL, NULL);
    if (im->every)
        sim_timer_destroy(im->every);
    migrator_destroy(im->migrator);
    checkpointer_destroy(im->checkpointer);
    migrate_follower_destroy(im->migrate_follower);
    follower_destroy(im->follower);
    sim_free(im);
}
