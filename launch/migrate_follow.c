/* A follower's thread, one for each migration: CONNECT, then whatever is ordered, until END. */
#include "migrate_follow.h"

#include "migrate_share.h"
#include "ranks_migrate.h"
#include "sim-core/alloc.h"
#include "sim-core/lock.h"
#include "sim-core/log.h"

enum { LOOK_NS = 100 * 1000 * 1000, SERVE_MS = 10, BUSY_NS = 2 * 1000 * 1000 };

/* RUNNING: carries out orders; ENDING: its thread is about to end. */
enum phase { IDLE, RUNNING, ENDING };

/* Owner: the follower's thread, but for what `lock` guards. */
struct migrate_follower {
    struct machine *m;
    struct ranks *ranks;
    enum sim_status (*ready)(void *opaque);
    bool (*busy)(void *opaque);
    void *opaque;
    struct migrate_share *share;
    struct migrate_target target; /* of the migration under way */
    bool serves;                  /* states have been sent: the target may demand pages */

    struct sim_mutex lock; /* of the rest; nothing but leaves within */
    struct sim_cond changed;
    enum phase phase;
    bool closed, due; /* due: a thread is to be started */
    struct migrate_target coming; /* of the next one */
    bool ordered, over, good;
    enum ranks_migrate_step step;
    uint64_t argument;
    struct sim_thread thread;
};

static void report(struct migrate_follower *f, enum sim_status status)
{
    struct ranks_migrate_report told = {.status = status};

    migrate_share_get_stats(f->share, &told.stats);
    ranks_migrate_report(f->ranks, &told);
}

/* --- orders, on the follower's thread --- */

/* An image of this rank that is still ending. */
static enum sim_status await_others(struct migrate_follower *f)
{
    bool ended = false;

    while (!ended && f->busy(f->opaque)) {
        sim_thread_sleep(BUSY_NS);
        sim_mutex_lock(&f->lock);
        ended = f->over || ranks_are_lost(f->ranks);
        sim_mutex_unlock(&f->lock);
    }
    return ended ? SIM_ERR_IO : SIM_OK;
}

static enum sim_status connect_share(struct migrate_follower *f)
{
    SIM_TRY(await_others(f));
    f->target.token = f->argument;
    SIM_TRY(f->ready(f->opaque));
    SIM_TRY(migrate_share_begin(f->share));
    return migrate_share_connect(f->share, &f->target);
}

static enum sim_status cut(struct migrate_follower *f)
{
    migrate_share_settle(f->share);
    return migrate_share_cut(f->share, 0);
}

static enum sim_status hand_over(struct migrate_follower *f)
{
    f->serves = true;
    return migrate_share_hand_over(f->share, f->argument);
}

static enum sim_status carry_out(struct migrate_follower *f)
{
    switch (f->step) {
    case RANKS_MIGRATE_CONNECT:
        return connect_share(f);
    case RANKS_MIGRATE_MARK:
        migrate_share_mark(f->share, f->argument);
        return SIM_OK;
    case RANKS_MIGRATE_ANEW:
        migrate_share_anew(f->share);
        return SIM_OK;
    case RANKS_MIGRATE_PUSH:
        return migrate_share_push(f->share);
    case RANKS_MIGRATE_CUT:
        return cut(f);
    case RANKS_MIGRATE_HAND_OVER:
        return hand_over(f);
    case RANKS_MIGRATE_REST:
        return migrate_share_rest(f->share);
    }
    return SIM_ERR_INVALID;
}

/* Looks for an order; false: none has come. *over: the migration is. */
static bool take_order(struct migrate_follower *f, uint64_t wait_ns, bool *over)
{
    sim_mutex_lock(&f->lock);
    if (!f->ordered && !f->over && wait_ns)
        sim_cond_wait_until(&f->changed, &f->lock, sim_host_ns() + wait_ns);
    bool ordered = f->ordered;
    f->ordered = false;
    *over = f->over || ranks_are_lost(f->ranks);
    sim_mutex_unlock(&f->lock);
    return ordered && !*over;
}

static void follow(struct migrate_follower *f)
{
    enum sim_status status = SIM_OK;
    bool over = false, never;

    while (!over) {
        bool serving = f->serves && status == SIM_OK;
        if (take_order(f, serving ? 0 : LOOK_NS, &over)) {
            status = status == SIM_OK ? carry_out(f) : status;
            report(f, status);
        } else if (serving && !over) {
            status = migrate_share_serve(f->share, CKPT_FRAME_NR, SERVE_MS, &never);
        }
    }
}

static void *follower_main(void *arg)
{
    struct migrate_follower *f = arg;

    f->serves = false;
    follow(f);
    sim_mutex_lock(&f->lock);
    f->phase = ENDING;
    bool good = f->good;
    sim_mutex_unlock(&f->lock);
    migrate_share_end(f->share, good);
    migrate_target_fini(&f->target);
    sim_mutex_lock(&f->lock);
    f->phase = IDLE;
    sim_cond_broadcast(&f->changed);
    sim_mutex_unlock(&f->lock);
    return NULL;
}

/* --- handlers --- */

static void on_place(void *opaque, const void *data, uint32_t len)
{
    struct migrate_follower *f = opaque;

    sim_mutex_lock(&f->lock);
    if (migrate_target_add(&f->coming, data, len, NULL) != SIM_OK)
        sim_warn("migration: rank 0 tells of a place that makes no sense");
    sim_mutex_unlock(&f->lock);
}

/* On the I/O thread: a handler would wait for the last migration's thread. */
static void start(void *opaque)
{
    struct migrate_follower *f = opaque;

    sim_thread_join(&f->thread);
    sim_mutex_lock(&f->lock);
    f->due = false;
    f->phase = RUNNING;
    f->target = f->coming;
    f->coming = (struct migrate_target){0};
    sim_mutex_unlock(&f->lock);
    if (sim_thread_start(&f->thread, "migration", follower_main, f) == SIM_OK)
        return;
    report(f, SIM_ERR_NOMEM);
    migrate_target_fini(&f->target);
    sim_mutex_lock(&f->lock);
    f->phase = IDLE;
    sim_cond_broadcast(&f->changed);
    sim_mutex_unlock(&f->lock);
}

static bool may_start_locked(const struct migrate_follower *f)
{
    return !f->closed && !f->due && f->phase != RUNNING && migrate_target_is_complete(&f->coming);
}

static void on_order(void *opaque, enum ranks_migrate_step step, uint64_t argument)
{
    struct migrate_follower *f = opaque;

    sim_mutex_lock(&f->lock);
    bool first = step == RANKS_MIGRATE_CONNECT;
    bool good = first ? may_start_locked(f) : f->due || f->phase == RUNNING;
    if (good) {
        f->due |= first;
        f->over = f->over && !first;
        f->ordered = true;
        f->step = step;
        f->argument = argument;
        sim_cond_broadcast(&f->changed);
    }
    sim_mutex_unlock(&f->lock);
    if (!good)
        report(f, SIM_ERR_BUSY);
    else if (first)
        sim_io_post(f->m->sim->io, start, f);
}

static void on_end(void *opaque, bool good)
{
    struct migrate_follower *f = opaque;

    sim_mutex_lock(&f->lock);
    f->over = true;
    f->good = good;
    if ((f->due || f->phase == RUNNING) && !good)
        migrate_share_cancel(f->share);
    migrate_target_fini(&f->coming);
    sim_cond_broadcast(&f->changed);
    sim_mutex_unlock(&f->lock);
}

static const struct ranks_migrate_ops ops = {.place = on_place, .order = on_order, .end = on_end};

/* --- life --- */

struct migrate_follower *migrate_follower_create(struct machine *m, struct ranks *ranks,
                                                 enum sim_status (*ready)(void *opaque), bool (*busy)(void *opaque), void *opaque)
{
    struct migrate_follower *f = sim_new(struct migrate_follower);

    f->m = m;
    f->ranks = ranks;
    f->ready = ready;
    f->busy = busy;
    f->opaque = opaque;
    f->share = migrate_share_create(m);
    sim_mutex_init(&f->lock, SIM_RANK_WORLD);
    sim_cond_init(&f->changed);
    ranks_migrate_attach(ranks, &ops, f);
    return f;
}

bool migrate_follower_is_busy(struct migrate_follower *f)
{
    if (!f)
        return false;
    sim_mutex_lock(&f->lock);
    bool busy = f->phase != IDLE;
    sim_mutex_unlock(&f->lock);
    return busy;
}

void migrate_follower_close(struct migrate_follower *f)
{
    sim_mutex_lock(&f->lock);
    f->closed = true;
    while (f->due || f->phase != IDLE) {
        if (ranks_are_lost(f->ranks)) /* nobody will order the end */
            migrate_share_cancel(f->share);
        sim_cond_wait_until(&f->changed, &f->lock, sim_host_ns() + LOOK_NS);
    }
    sim_mutex_unlock(&f->lock);
}

void migrate_follower_destroy(struct migrate_follower *f)
{
    if (!f)
        return;
    ranks_migrate_attach(f->ranks, NULL, NULL);
    sim_thread_join(&f->thread);
    migrate_share_destroy(f->share);
    migrate_target_fini(&f->coming);
    sim_cond_fini(&f->changed);
    sim_mutex_fini(&f->lock);
    sim_free(f);
}
