/* The migration thread; on several ranks it leads, and the others follow (migrate_follow.c). */
#include "migrate.h"

#include <libfdt.h>
#include <string.h>
#include <sys/random.h>

#include "image_config.h"
#include "migrate_share.h"
#include "ranks_migrate.h"
#include "sim-core/alloc.h"
#include "sim-core/lock.h"
#include "sim-core/log.h"
#include "sim-core/timer.h"

enum {
    MAX_ROUNDS = 30,
    FEW_BLOCKS = 256,     /* not worth another round */
    SHRINK_PERCENT = 70,  /* a round that leaves more than this of the last one was the last */
    LOADED_MS = 20000     /* the target composes its states */
};

enum phase { IDLE, ROUNDS, HANDING_OVER, GONE };

static const char *const phase_name[] = {
    [IDLE] = "idle", [ROUNDS] = "rounds", [HANDING_OVER] = "handing over", [GONE] = "after"};

/* What runs on the I/O thread for the migration thread, which waits for `done`. */
struct errand {
    struct migrator *g;
    void (*run)(struct migrator *g);
    bool stay; /* the I/O thread does not go on before `release` */
    bool done, release;
};

/* Owner: the migration thread while `busy`. */
struct migrator {
    struct machine *m;
    struct ranks *ranks; /* NULL: the only rank */
    struct checkpointer *checkpointer;
    const struct checkpointer_ops *ops;
    const struct migrator_ops *own;
    void *opaque;

    struct sim_mutex lock; /* of busy, closed, errands, and the step from handing over to gone; nothing but leaves within */
    struct sim_cond changed;
    bool busy, closed;
    atomic_bool cancelled;
    struct sim_thread thread;
    struct migrate_share *share;
    _Atomic int phase;
    _Atomic uint32_t round;

    struct migrate_request request;
    char *uri;
    struct migrate_target target;
    bool ordered; /* the followers know of it */
    struct errand cut;
    bool stands; /* the guest, since the cut */
    bool clocks_stand; /* and guest time */
    enum sim_status errand_status;
    uint64_t start_ns, cut_ns, sent_before;
    struct migrate_result result;
};

static void set_phase(struct migrator *g, enum phase phase)
{
    atomic_store_explicit(&g->phase, phase, memory_order_release);
}

/* --- errands --- */

static void errand_main(void *opaque)
{
    struct errand *e = opaque;
    struct migrator *g = e->g;

    e->run(g);
    sim_mutex_lock(&g->lock);
    e->done = true;
    sim_cond_broadcast(&g->changed);
    while (e->stay && !e->release)
        sim_cond_wait(&g->changed, &g->lock);
    e->stay = false;
    sim_cond_broadcast(&g->changed);
    sim_mutex_unlock(&g->lock);
}

static enum sim_status send_errand(struct migrator *g, struct errand *e)
{
    g->errand_status = SIM_OK;
    sim_io_post(g->m->sim->io, errand_main, e);
    sim_mutex_lock(&g->lock);
    while (!e->done)
        sim_cond_wait(&g->changed, &g->lock);
    sim_mutex_unlock(&g->lock);
    return g->errand_status;
}

/* The I/O thread goes on; returns when the errand is not used any more. */
static void release_errand(struct migrator *g, struct errand *e)
{
    sim_mutex_lock(&g->lock);
    e->release = true;
    sim_cond_broadcast(&g->changed);
    while (e->stay)
        sim_cond_wait(&g->changed, &g->lock);
    sim_mutex_unlock(&g->lock);
}

/* --- followers: nothing where there are none --- */

static bool is_cancelled(void *opaque)
{
    const struct migrator *g = opaque;

    return atomic_load_explicit(&g->cancelled, memory_order_relaxed);
}

static void order(struct migrator *g, enum ranks_migrate_step step, uint64_t argument)
{
    if (g->ranks)
        ranks_migrate_order(g->ranks, step, argument);
}

/* Until all have done so. */
static enum sim_status await(struct migrator *g)
{
    return g->ranks ? ranks_migrate_await(g->ranks, false, is_cancelled, g) : SIM_OK;
}

/* The same on the I/O thread while the world stands still. It must not go on while a rank carries out a step that relies on
 * that, so nobody gives up here: such steps wait for no network. */
static enum sim_status await_frozen(struct migrator *g)
{
    return g->ranks ? ranks_migrate_await(g->ranks, true, NULL, NULL) : SIM_OK;
}

/* Of all ranks. */
static void get_stats(struct migrator *g, struct migrate_share_stats *out)
{
    struct migrate_share_stats others = {0};

    migrate_share_get_stats(g->share, out);
    if (g->ranks)
        ranks_migrate_sum(g->ranks, &others);
    out->blocks += others.blocks;
    out->zeros += others.zeros;
    out->bytes += others.bytes;
    out->pending += others.pending;
}

/* --- introduction --- */

static enum sim_status send_bytes(struct ckpt_stream *stream, enum ckpt_frame_type type, const void *data, size_t len)
{
    if (len > CKPT_FRAME_MAX) {
        sim_error("migration: %zu bytes are too many for one frame", len);
        return SIM_ERR_UNSUPPORTED;
    }
    return ckpt_stream_send(
        stream, &(struct ckpt_frame){.type = type, .len = (uint32_t)len, .payload = data});
}

static enum sim_status send_tree(struct migrator *g, struct ckpt_stream *stream)
{
    static const char name[] = "tree";
    uint32_t name_len = (uint32_t)strlen(name);
    struct state_buf buf = {0};

    state_buf_put(&buf, &name_len, sizeof name_len);
    state_buf_put(&buf, name, name_len);
    state_buf_put(&buf, g->m->fdt, fdt_totalsize(g->m->fdt));
    enum sim_status status = send_bytes(stream, CKPT_FRAME_SECTION, buf.data, buf.len);
    state_buf_fini(&buf);
    return status;
}

static enum sim_status send_config(struct migrator *g, struct ckpt_stream *stream)
{
    struct config config = *g->m->config; /* borrowed strings */

    config.tree.builtin_sbi = g->m->builtin_sbi;
    char *text = image_config_format(&config);
    enum sim_status status = send_bytes(stream, CKPT_FRAME_CONFIG, text, strlen(text));
    sim_free(text);
    return status;
}

/* Where each rank of the target is, and whose memory it will have. */
static enum sim_status receive_places(struct migrator *g, struct ckpt_stream *stream)
{
    struct ckpt_frame f;

    while (!migrate_target_is_complete(&g->target)) {
        SIM_TRY(ckpt_stream_expect(stream, CKPT_FRAME_PLACE, &f));
        if (migrate_target_add(&g->target, f.payload, f.len, g->uri) == SIM_OK)
            continue;
        sim_error("migration: %s: a rank's place that makes no sense", g->uri);
        return SIM_ERR_FORMAT;
    }
    return SIM_OK;
}

static enum sim_status introduce(struct migrator *g, struct ckpt_stream *stream)
{
    const uint64_t ranks[2] = {g->target.token, g->ranks ? g->m->sim->nr_ranks : 1};

    SIM_TRY(ckpt_stream_greet(stream));
    SIM_TRY(send_config(g, stream));
    SIM_TRY(send_bytes(stream, CKPT_FRAME_RANKS, ranks, sizeof ranks));
    SIM_TRY(migrate_share_announce(g->share));
    SIM_TRY(send_tree(g, stream));
    return receive_places(g, stream);
}

static enum sim_status connect_followers(struct migrator *g)
{
    if (!g->ranks)
        return SIM_OK;
    g->ordered = true;
    SIM_TRY(ranks_migrate_begin(g->ranks, &g->target));
    order(g, RANKS_MIGRATE_CONNECT, g->target.token);
    return SIM_OK;
}

/* Every rank of the source is joined with every rank of the target. */
static enum sim_status connect_to_target(struct migrator *g)
{
    struct ckpt_stream *first;
    struct ckpt_frame f;

    if (getrandom(&g->target.token, sizeof g->target.token, 0) != (ssize_t)sizeof g->target.token)
        return SIM_ERR_IO;
    SIM_TRY(migrate_share_begin(g->share));
    SIM_TRY(migrate_share_dial(g->share, g->uri, &first));
    SIM_TRY(introduce(g, first));
    SIM_TRY(connect_followers(g));
    SIM_TRY(migrate_share_connect(g->share, &g->target));
    SIM_TRY(await(g));
    return ckpt_stream_expect(first, CKPT_FRAME_READY, &f);
}

/* --- rounds --- */

/* All marks of a round are taken before the first block of it is sent. */
static enum sim_status mark_all(struct migrator *g, bool all, uint64_t *left)
{
    struct migrate_share_stats sum;

    order(g, RANKS_MIGRATE_MARK, all);
    migrate_share_mark(g->share, all);
    SIM_TRY(await(g));
    get_stats(g, &sum);
    *left = sum.pending;
    return SIM_OK;
}

static enum sim_status mark_anew(struct migrator *g)
{
    SIM_TRY(g->ops->freeze(g->opaque));
    order(g, RANKS_MIGRATE_ANEW, 0);
    migrate_share_anew(g->share);
    return await_frozen(g);
}

/* Marks have been taken: from here on a write marks again. */
static void close_round(struct migrator *g)
{
    g->errand_status = mark_anew(g);
    g->ops->thaw(g->opaque);
}

static enum sim_status push_all(struct migrator *g)
{
    order(g, RANKS_MIGRATE_PUSH, 0);
    SIM_TRY(migrate_share_push(g->share));
    return await(g);
}

static bool worth_another(uint64_t left, uint64_t before)
{
    return left > FEW_BLOCKS && left * 100 < before * SHRINK_PERCENT;
}

static enum sim_status make_rounds(struct migrator *g)
{
    uint64_t before, left;

    SIM_TRY(mark_all(g, true, &left));
    set_phase(g, ROUNDS);
    do {
        struct errand close = {.g = g, .run = close_round};
        atomic_store_explicit(&g->round, ++g->result.rounds, memory_order_relaxed);
        SIM_TRY(send_errand(g, &close));
        SIM_TRY(push_all(g));
        before = left;
        SIM_TRY(mark_all(g, false, &left));
    } while (worth_another(left, before) && g->result.rounds < MAX_ROUNDS);
    /* Before the cut what the host has still to write, so that little is left for it. */
    for (unsigned i = 0; i < g->m->config->nr_drives; i++)
        SIM_TRY(blockdev_sync(g->m->block[i]));
    return SIM_OK;
}

/* --- handing over --- */

static void stop_clocks(struct migrator *g)
{
    g->clocks_stand = true;
    if (g->ranks) {
        ranks_stop_clocks(g->ranks);
        return;
    }
    machine_clock_stop(g->m);
    sim_time_stop(g->m->sim);
}

/* All ranks stand still, and nothing is under way between them. */
static enum sim_status freeze_and_settle(struct migrator *g)
{
    SIM_TRY(g->ops->freeze(g->opaque));
    migrate_share_settle(g->share);
    return g->ops->settle(g->opaque);
}

/* I/O thread. */
static void stand_still(struct migrator *g)
{
    g->cut_ns = sim_host_ns();
    g->errand_status = freeze_and_settle(g);
    if (g->errand_status != SIM_OK)
        return; /* vCPUs may run on some rank: its clocks are left alone */
    stop_clocks(g);
    order(g, RANKS_MIGRATE_CUT, 0);
    enum sim_status own = migrate_share_cut(g->share, g->ops->cursor(g->opaque));
    enum sim_status others = await_frozen(g);
    g->errand_status = own == SIM_OK ? others : own;
}

/* The target has not taken the guest: it goes on here. */
static void go_on(struct migrator *g)
{
    if (!g->clocks_stand) {
        g->ops->thaw(g->opaque);
        return;
    }
    if (g->ranks) {
        ranks_cont(g->ranks);
        return;
    }
    sim_clock_go(&g->m->sim->clock);
    machine_clock_go(g->m);
    sim_timers_shifted(g->m->sim);
    g->ops->thaw(g->opaque);
}

static enum sim_status await_loaded(struct migrator *g)
{
    bool came;

    SIM_TRY(migrate_share_serve(g->share, CKPT_FRAME_LOADED, LOADED_MS, &came));
    if (came)
        return SIM_OK;
    sim_error("migration: %s: no answer for %d s", g->uri, LOADED_MS / 1000);
    return SIM_ERR_IO;
}

static enum sim_status hand_over(struct migrator *g)
{
    /* On one rank KVM takes pages without asking whether they have come; on several what maps them asks. */
    bool postcopy = g->request.postcopy && (!g->m->kvm || g->target.nr_ranks > 1);

    set_phase(g, HANDING_OVER);
    g->cut = (struct errand){.g = g, .run = stand_still, .stay = true};
    g->stands = true;
    g->clocks_stand = false;
    SIM_TRY(send_errand(g, &g->cut));
    order(g, RANKS_MIGRATE_HAND_OVER, postcopy);
    SIM_TRY(migrate_share_hand_over(g->share, postcopy));
    SIM_TRY(await(g));
    SIM_TRY(await_loaded(g));
    /* Whoever cancels from here on comes too late. */
    sim_mutex_lock(&g->lock);
    bool cancelled = is_cancelled(g);
    if (!cancelled)
        set_phase(g, GONE);
    sim_mutex_unlock(&g->lock);
    return cancelled ? SIM_ERR_IO : SIM_OK;
}

/* --- afterwards --- */

static uint64_t blocks_sent(struct migrator *g)
{
    struct migrate_share_stats sum;

    get_stats(g, &sum);
    return sum.blocks + sum.zeros;
}

static enum sim_status give_away(struct migrator *g)
{
    bool started;

    g->result.undecided = true;
    g->sent_before = blocks_sent(g);
    enum sim_status sent = migrate_share_go(g->share); /* to some rank: the answer says whether that was enough */
    SIM_TRY(migrate_share_serve(g->share, CKPT_FRAME_STARTED, -1, &started));
    g->result.undecided = false;
    g->result.gone = true;
    g->result.pause_ns = sim_host_ns() - g->cut_ns;
    SIM_TRY(sent);
    order(g, RANKS_MIGRATE_REST, 0);
    SIM_TRY(migrate_share_rest(g->share));
    return await(g);
}

/* --- the thread --- */

static enum sim_status migrate(struct migrator *g)
{
    SIM_TRY(g->ops->ready(g->opaque));
    SIM_TRY(connect_to_target(g));
    SIM_TRY(make_rounds(g));
    SIM_TRY(hand_over(g));
    return give_away(g);
}

static void fill_result(struct migrator *g)
{
    struct migrate_result *r = &g->result;
    struct migrate_share_stats sum;

    get_stats(g, &sum);
    r->total_ns = sim_host_ns() - g->start_ns;
    r->blocks = sum.blocks;
    r->zeros = sum.zeros;
    r->bytes = sum.bytes;
    r->after = r->gone || r->undecided ? r->blocks + r->zeros - g->sent_before : 0;
}

static void clean_up(struct migrator *g)
{
    bool good = g->result.status == SIM_OK;

    if (g->ordered)
        ranks_migrate_end(g->ranks, good);
    g->ordered = false;
    migrate_share_end(g->share, good);
    migrate_target_fini(&g->target);
}

static void say(const struct migrator *g)
{
    const struct migrate_result *r = &g->result;

    if (r->status == SIM_OK)
        sim_info("migration: the machine goes on at %s: %.2f s, %u rounds, %.1f MB (%llu pages and %llu that are "
                 "zero, %llu of them after the pause); the guest stood still for %.1f ms",
                 g->uri, (double)r->total_ns / 1e9, r->rounds, (double)r->bytes / 1e6,
                 (unsigned long long)r->blocks, (unsigned long long)r->zeros, (unsigned long long)r->after,
                 (double)r->pause_ns / 1e6);
    else if (r->gone)
        sim_error("migration: the connection to %s broke while the machine ran there already: it cannot go on here",
                  g->uri);
    else if (r->undecided)
        sim_error("migration: the connection to %s broke when the machine was handed over: it stands still here; if it "
                  "does not run there, the command 'cont' lets it go on here, else 'quit' ends it", g->uri);
    else
        sim_error("migration: the machine stays here: %s", sim_status_text(r->status));
}

/* The guest goes on here, or nowhere in this process, or waits for somebody's word. */
static void let_world_go(struct migrator *g)
{
    if (g->result.undecided)
        g->own->undecided(g->opaque);
    else if (!g->result.gone)
        go_on(g);
    release_errand(g, &g->cut);
    g->stands = false;
}

static void do_nothing(struct migrator *g)
{
    (void)g;
}

static void *migrate_main(void *arg)
{
    struct migrator *g = arg;
    struct sim_log_kept said = {.write_too = true};

    ranks_keep_homes(g->ranks, true);
    sim_log_keep(&said);
    g->result.status = migrate(g);
    sim_log_keep_end();
    char *why = g->result.status == SIM_OK ? NULL : sim_log_first_error(&said);
    g->result.why = why;
    fill_result(g);
    clean_up(g);
    ranks_keep_homes(g->ranks, false);
    say(g);
    if (g->stands)
        let_world_go(g);
    if (g->request.done) {
        struct errand answered = {.g = g, .run = do_nothing};
        g->request.done(g->request.opaque, &g->result);
        (void)send_errand(g, &answered); /* what done has posted is through: the run may end */
    }
    g->result.why = NULL;
    sim_free(why);
    if (g->result.gone)
        g->own->gone(g->opaque, g->result.status == SIM_OK);
    set_phase(g, IDLE);
    checkpointer_unreserve(g->checkpointer, !g->result.gone);
    sim_mutex_lock(&g->lock);
    g->closed |= g->result.gone; /* there is nothing to migrate any more */
    g->busy = false;
    sim_cond_broadcast(&g->changed);
    sim_mutex_unlock(&g->lock);
    return NULL;
}

/* SIM_OK: it is ours, and the checkpointer reserved. */
static enum sim_status take(struct migrator *g)
{
    sim_mutex_lock(&g->lock);
    bool mine = !g->busy && !g->closed;
    g->busy |= mine;
    if (mine) { /* the last one may have been cancelled when it was over */
        atomic_store_explicit(&g->cancelled, false, memory_order_relaxed);
        migrate_share_uncancel(g->share);
    }
    sim_mutex_unlock(&g->lock);
    if (!mine)
        return SIM_ERR_BUSY;
    if (checkpointer_reserve(g->checkpointer))
        return SIM_OK;
    sim_mutex_lock(&g->lock);
    g->busy = false;
    sim_mutex_unlock(&g->lock);
    return SIM_ERR_BUSY;
}

enum sim_status migrate_start(struct migrator *g, const struct migrate_request *request)
{
    SIM_TRY(take(g));
    sim_thread_join(&g->thread); /* the last one's, which has ended or is about to */
    sim_free(g->uri);
    g->uri = sim_strdup(request->uri);
    g->request = *request;
    g->request.uri = g->uri;
    g->result = (struct migrate_result){0};
    g->start_ns = sim_host_ns();
    enum sim_status status = sim_thread_start(&g->thread, "migration", migrate_main, g);
    if (status != SIM_OK) {
        checkpointer_unreserve(g->checkpointer, true);
        sim_mutex_lock(&g->lock);
        g->busy = false;
        sim_mutex_unlock(&g->lock);
    }
    return status;
}

void migrate_cancel(struct migrator *g)
{
    sim_mutex_lock(&g->lock);
    if (g->busy && atomic_load_explicit(&g->phase, memory_order_acquire) != GONE) {
        atomic_store_explicit(&g->cancelled, true, memory_order_relaxed);
        migrate_share_cancel(g->share);
    }
    sim_mutex_unlock(&g->lock);
}

bool migrate_progress(struct migrator *g, struct migrate_progress *out)
{
    struct migrate_share_stats sum;

    sim_mutex_lock(&g->lock);
    bool busy = g->busy;
    sim_mutex_unlock(&g->lock);
    if (!busy)
        return false;
    get_stats(g, &sum);
    *out = (struct migrate_progress){.phase = phase_name[atomic_load_explicit(&g->phase, memory_order_acquire)],
                                     .round = atomic_load_explicit(&g->round, memory_order_relaxed),
                                     .sent = sum.bytes,
                                     .pending = sum.pending};
    return true;
}

/* --- life --- */

struct migrator *migrator_create(struct machine *m, struct ranks *ranks, struct checkpointer *c,
                                 const struct checkpointer_ops *ops, const struct migrator_ops *own, void *opaque)
{
    struct migrator *g = sim_new(struct migrator);

    g->m = m;
    g->ranks = ranks;
    g->checkpointer = c;
    g->ops = ops;
    g->own = own;
    g->opaque = opaque;
    g->share = migrate_share_create(m);
    sim_mutex_init(&g->lock, SIM_RANK_WORLD);
    sim_cond_init(&g->changed);
    return g;
}

void migrator_close(struct migrator *g)
{
    migrate_cancel(g);
    sim_mutex_lock(&g->lock);
    g->closed = true;
    while (g->busy)
        sim_cond_wait(&g->changed, &g->lock);
    sim_mutex_unlock(&g->lock);
}

void migrator_destroy(struct migrator *g)
{
    if (!g)
        return;
    sim_thread_join(&g->thread);
    sim_cond_fini(&g->changed);
    sim_mutex_fini(&g->lock);
    migrate_share_destroy(g->share);
    sim_free(g->uri);
    sim_free(g);
}
