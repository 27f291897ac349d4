/* A follower's thread, one for each image: writer -> READY -> [cut] -> part -> WRITTEN -> [END]. The leader may order the next image
 * while the thread of the last one still ends. */
#include "checkpoint_follow.h"

#include <fcntl.h>
#include <string.h>
#include <unistd.h>

#include "checkpoint_share.h"
#include "ranks_image.h"
#include "sim-core/alloc.h"
#include "sim-core/lock.h"
#include "sim-core/log.h"

enum { LOST_NS = 100 * 1000 * 1000, TELL_NS = 250 * 1000 * 1000, BUSY_NS = 2 * 1000 * 1000 };

enum phase { IDLE, PREPARING, TAKEN, ENDED };

/* Owner: the checkpoint thread, but for what `lock` guards; the cut runs on the I/O thread while that one waits. */
struct follower {
    struct machine *m;
    struct ranks *ranks;
    enum sim_status (*ready)(void *opaque);
    bool (*busy)(void *opaque);
    void *opaque;
    struct share *share;
    struct ranks_image_order order;
    uint64_t told_ns;
    int folder;

    struct sim_mutex lock; /* of the rest */
    struct sim_cond changed;
    bool closed;
    enum phase phase;
    bool due; /* the next one has been ordered */
    struct ranks_image_order next;
    struct sim_thread thread;
};

static void report(struct follower *f, enum ranks_image_step step, enum sim_status status,
                   const struct ckpt_part *part)
{
    struct ranks_image_report m = {.status = status, .insns = share_insns(f->share)};

    if (part)
        m.part = *part;
    ranks_image_report(f->ranks, f->order.serial, step, &m);
}

/* --- the thread --- */

static enum sim_status open_folder(struct follower *f)
{
    f->folder = open(f->order.path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (f->folder >= 0)
        return SIM_OK;
    sim_error("checkpoint: rank %u does not see the image's folder '%s': %m (all ranks write to one directory)",
              f->m->sim->rank, f->order.path);
    return SIM_ERR_NOTFOUND;
}

/* A migration of this rank that is still ending. */
static enum sim_status await_others(struct follower *f)
{
    bool ended = false;

    while (!ended && f->busy(f->opaque)) {
        sim_thread_sleep(BUSY_NS);
        sim_mutex_lock(&f->lock);
        ended = f->phase != PREPARING || ranks_are_lost(f->ranks);
        sim_mutex_unlock(&f->lock);
    }
    return ended ? SIM_ERR_IO : SIM_OK;
}

static enum sim_status prepare(struct follower *f)
{
    SIM_TRY(await_others(f));
    SIM_TRY(f->ready(f->opaque));
    SIM_TRY(open_folder(f));
    struct share_order order = {.path = f->order.path,
                                .folder = f->folder,
                                .part = f->m->sim->rank,
                                .incremental = f->order.incremental};
    memcpy(order.id, f->order.id, sizeof order.id);
    return share_prepare(f->share, &order);
}

/* Returns when the phase is past PREPARING (or, `end`, when all is over); the leader may be lost. */
static enum phase await_phase(struct follower *f, bool end)
{
    sim_mutex_lock(&f->lock);
    while ((f->phase == PREPARING || (end && f->phase == TAKEN)) && !ranks_are_lost(f->ranks))
        sim_cond_wait_until(&f->changed, &f->lock, sim_host_ns() + LOST_NS);
    enum phase phase = f->phase == PREPARING ? ENDED : f->phase;
    sim_mutex_unlock(&f->lock);
    return phase;
}

static bool go_on(void *opaque)
{
    struct follower *f = opaque;
    struct share_progress p;
    uint64_t now = sim_host_ns();

    if (now - f->told_ns >= TELL_NS) {
        f->told_ns = now;
        share_get_progress(f->share, &p);
        const struct ranks_image_progress told = {
            .percent = (uint32_t)(p.total ? p.done * 100 / p.total : 100), .given = p.given, .stored = p.stored};
        ranks_image_tell_progress(f->ranks, &told);
    }
    sim_mutex_lock(&f->lock);
    bool more = f->phase == TAKEN;
    sim_mutex_unlock(&f->lock);
    return more;
}

/* The part is complete before its name is on the disk: the leader syncs the folder. */
static void write_part(struct follower *f)
{
    struct ckpt_part part = {0};
    enum sim_status status = share_write(f->share, go_on, f, &part);

    report(f, RANKS_IMAGE_WRITTEN, status, &part);
}

static void start(void *opaque);

static void begin_locked(struct follower *f, const struct ranks_image_order *order)
{
    f->phase = PREPARING;
    f->order = *order;
}

static void end_phase(struct follower *f)
{
    sim_mutex_lock(&f->lock);
    bool due = f->due;
    f->phase = IDLE;
    f->due = false;
    if (due)
        begin_locked(f, &f->next);
    sim_cond_broadcast(&f->changed);
    sim_mutex_unlock(&f->lock);
    if (due)
        sim_io_post(f->m->sim->io, start, f);
}

static void *follower_main(void *arg)
{
    struct follower *f = arg;

    f->folder = -1;
    report(f, RANKS_IMAGE_READY, prepare(f), NULL);
    if (await_phase(f, false) == TAKEN)
        write_part(f);
    (void)await_phase(f, true);
    share_release(f->share);
    if (f->folder >= 0)
        close(f->folder);
    end_phase(f);
    return NULL;
}

/* --- orders --- */

/* On the I/O thread: a handler would wait for the last image's thread. */
static void start(void *opaque)
{
    struct follower *f = opaque;

    sim_thread_join(&f->thread);
    if (sim_thread_start(&f->thread, "checkpoint", follower_main, f) == SIM_OK)
        return;
    report(f, RANKS_IMAGE_READY, SIM_ERR_NOMEM, NULL);
    end_phase(f);
}

static void on_prepare(void *opaque, const struct ranks_image_order *order)
{
    struct follower *f = opaque;

    sim_mutex_lock(&f->lock);
    bool good = !f->closed && f->phase == IDLE;
    if (good)
        begin_locked(f, order);
    f->due = !f->closed && f->phase == ENDED;
    if (f->due)
        f->next = *order;
    bool refused = !good && !f->due;
    sim_mutex_unlock(&f->lock);
    if (good)
        sim_io_post(f->m->sim->io, start, f);
    if (refused)
        ranks_image_report(f->ranks, order->serial, RANKS_IMAGE_READY, &(struct ranks_image_report){.status = SIM_ERR_BUSY});
}

static enum sim_status on_take(void *opaque)
{
    struct follower *f = opaque;

    sim_mutex_lock(&f->lock);
    bool good = f->phase == PREPARING;
    sim_mutex_unlock(&f->lock);
    if (!good)
        return SIM_ERR_INVALID;
    share_settle(f->share);
    SIM_TRY(share_take(f->share, 0));
    sim_mutex_lock(&f->lock);
    if (f->phase == PREPARING)
        f->phase = TAKEN;
    sim_cond_broadcast(&f->changed);
    sim_mutex_unlock(&f->lock);
    return SIM_OK;
}

static void on_end(void *opaque, bool good)
{
    struct follower *f = opaque;

    (void)good;
    sim_mutex_lock(&f->lock);
    f->due = false; /* if it is the next one's */
    if (f->phase != IDLE)
        f->phase = ENDED;
    sim_cond_broadcast(&f->changed);
    sim_mutex_unlock(&f->lock);
}

static const struct ranks_image_ops image_ops = {.prepare = on_prepare, .take = on_take, .end = on_end};

/* --- life --- */

struct follower *follower_create(struct machine *m, struct ranks *ranks,
                                 enum sim_status (*ready)(void *opaque), bool (*busy)(void *opaque), void *opaque)
{
    struct follower *f = sim_new(struct follower);

    f->m = m;
    f->ranks = ranks;
    f->ready = ready;
    f->busy = busy;
    f->opaque = opaque;
    f->share = share_create(m, false);
    sim_mutex_init(&f->lock, SIM_RANK_LEAF);
    sim_cond_init(&f->changed);
    ranks_image_attach(ranks, &image_ops, f);
    return f;
}

bool follower_is_busy(struct follower *f)
{
    if (!f)
        return false;
    sim_mutex_lock(&f->lock);
    bool busy = f->phase != IDLE;
    sim_mutex_unlock(&f->lock);
    return busy;
}

void follower_close(struct follower *f)
{
    sim_mutex_lock(&f->lock);
    f->closed = true;
    while (f->phase != IDLE)
        sim_cond_wait(&f->changed, &f->lock);
    sim_mutex_unlock(&f->lock);
}

void follower_destroy(struct follower *f)
{
    if (!f)
        return;
    ranks_image_attach(f->ranks, NULL, NULL);
    sim_thread_join(&f->thread);
    share_destroy(f->share);
    sim_cond_fini(&f->changed);
    sim_mutex_fini(&f->lock);
    sim_free(f);
}
