/* The migration thread. */
#include "migrate.h"

#include <libfdt.h>
#include <string.h>

#include "checkpoint/sender.h"
#include "checkpoint_state.h"
#include "image_config.h"
#include "sim-core/alloc.h"
#include "sim-core/lock.h"
#include "sim-core/log.h"
#include "sim-core/timer.h"

enum {
    PUSH_BLOCKS = 64,     /* between two looks at what the target asks for */
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
    struct checkpointer *checkpointer;
    const struct checkpointer_ops *ops;
    const struct migrator_ops *own;
    void *opaque;

    struct sim_mutex lock; /* of busy, closed, stream, errands; a leaf */
    struct sim_cond changed;
    bool busy, closed, cancelled;
    struct sim_thread thread;
    struct ckpt_stream *stream;
    struct ckpt_sender *sender;
    _Atomic int phase;
    _Atomic uint32_t round;
    _Atomic uint64_t pending;

    struct migrate_request request;
    char *uri;
    struct ckpt_range *range;
    struct drive_space {
        struct ckpt_range range;
        char name[CKPT_DRIVE_NAME];
    } drive[CONFIG_MAX_DRIVES];
    struct ckpt_source source[1 + CONFIG_MAX_DRIVES];
    unsigned nr_sources;
    struct errand cut;
    bool stands; /* the guest, since the cut */
    struct machine_objects objects;
    struct machine_state state;
    struct state_buf *section; /* parallel to objects */
    enum sim_status cut_status;
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

static void send_errand(struct migrator *g, struct errand *e)
{
    sim_io_post(g->m->sim->io, errand_main, e);
    sim_mutex_lock(&g->lock);
    while (!e->done)
        sim_cond_wait(&g->changed, &g->lock);
    sim_mutex_unlock(&g->lock);
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

/* --- introduction --- */

static enum sim_status send_bytes(struct migrator *g, enum ckpt_frame_type type, const void *data, size_t len)
{
    if (len > CKPT_FRAME_MAX) {
        sim_error("migration: %zu bytes are too many for one frame", len);
        return SIM_ERR_UNSUPPORTED;
    }
    return ckpt_stream_send(
        g->stream, &(struct ckpt_frame){.type = type, .len = (uint32_t)len, .payload = data});
}

static enum sim_status send_section(struct migrator *g, const char *name, const void *data, size_t len)
{
    uint32_t name_len = (uint32_t)strlen(name);
    struct state_buf buf = {0};

    state_buf_put(&buf, &name_len, sizeof name_len);
    state_buf_put(&buf, name, name_len);
    state_buf_put(&buf, data, len);
    enum sim_status status = send_bytes(g, CKPT_FRAME_SECTION, buf.data, buf.len);
    state_buf_fini(&buf);
    return status;
}

static enum sim_status send_config(struct migrator *g)
{
    struct config config = *g->m->config; /* borrowed strings */

    config.tree.builtin_sbi = g->m->builtin_sbi;
    char *text = image_config_format(&config);
    enum sim_status status = send_bytes(g, CKPT_FRAME_CONFIG, text, strlen(text));
    sim_free(text);
    return status;
}

static enum sim_status introduce(struct migrator *g)
{
    struct ckpt_frame f;

    SIM_TRY(ckpt_stream_greet(g->stream));
    SIM_TRY(send_config(g));
    SIM_TRY(ckpt_sender_announce(g->sender));
    SIM_TRY(send_section(g, "tree", g->m->fdt, fdt_totalsize(g->m->fdt)));
    return ckpt_stream_expect(g->stream, CKPT_FRAME_READY, &f);
}

/* RAM, and the overlays of drives that have been frozen for an image. */
static enum sim_status list_sources(struct migrator *g)
{
    machine_ram_source(g->m, g->range, &g->source[0]);
    g->nr_sources = 1;
    for (unsigned i = 0; i < g->m->config->nr_drives; i++) {
        struct blockdev *b = g->m->block[i];
        SIM_TRY(drive_state_take(b, &g->state.drive[i])); /* can its file be known again? */
        if (blockdev_overlay_fd(b) >= 0)
            machine_drive_source(b, i, &g->drive[i].range, g->drive[i].name, &g->source[g->nr_sources++]);
    }
    return SIM_OK;
}

static enum sim_status connect_to_target(struct migrator *g)
{
    struct ckpt_stream *stream;

    SIM_TRY(list_sources(g));
    SIM_TRY(ckpt_stream_dial(g->uri, &stream));
    sim_mutex_lock(&g->lock);
    g->stream = stream;
    bool cancelled = g->cancelled;
    sim_mutex_unlock(&g->lock);
    if (cancelled)
        return SIM_ERR_IO;
    SIM_TRY(ckpt_sender_create(g->stream, g->source, g->nr_sources, &g->sender));
    return introduce(g);
}

/* --- rounds --- */

/* Marks have been taken: from here on a write marks again. What devices had under way has ended. */
static void close_round(struct migrator *g)
{
    (void)g->ops->freeze(g->opaque); /* on one rank it cannot fail */
    machine_objects_settle(&g->objects);
    machine_mark_anew(g->m);
    g->ops->thaw(g->opaque);
}

static enum sim_status push_all(struct migrator *g)
{
    while (ckpt_sender_pending(g->sender)) {
        SIM_TRY(ckpt_sender_push(g->sender, PUSH_BLOCKS));
        atomic_store_explicit(&g->pending, ckpt_sender_pending(g->sender), memory_order_relaxed);
    }
    return SIM_OK;
}

static bool worth_another(uint64_t left, uint64_t before)
{
    return left > FEW_BLOCKS && left * 100 < before * SHRINK_PERCENT;
}

static enum sim_status make_rounds(struct migrator *g)
{
    machine_collect_dirty(g->m); /* before all is marked: a page that comes to be from now on has a mark */
    uint64_t before = UINT64_MAX / 100, left = ckpt_sender_mark(g->sender, true);

    set_phase(g, ROUNDS);
    do {
        struct errand close = {.g = g, .run = close_round};
        atomic_store_explicit(&g->round, ++g->result.rounds, memory_order_relaxed);
        send_errand(g, &close);
        SIM_TRY(push_all(g));
        before = left;
        left = ckpt_sender_mark(g->sender, false);
    } while (worth_another(left, before) && g->result.rounds < MAX_ROUNDS);
    /* Before the cut what the host has still to write, so that little is left for it. */
    for (unsigned i = 0; i < g->m->config->nr_drives; i++)
        SIM_TRY(blockdev_sync(g->m->block[i]));
    return SIM_OK;
}

/* --- handing over --- */

static enum sim_status settle_drives(struct migrator *g)
{
    for (unsigned i = 0; i < g->m->config->nr_drives; i++) {
        SIM_TRY(blockdev_sync(g->m->block[i]));
        SIM_TRY(drive_state_take(g->m->block[i], &g->state.drive[i]));
    }
    return SIM_OK;
}

/* I/O thread. */
static void stand_still(struct migrator *g)
{
    struct sim_clock *clock = &g->m->sim->clock;

    g->cut_ns = sim_host_ns();
    (void)g->ops->freeze(g->opaque); /* on one rank it cannot fail */
    machine_objects_settle(&g->objects);
    machine_collect_dirty(g->m); /* the last marks */
    g->cut_status = settle_drives(g);
    sim_clock_stop(clock);
    machine_clock_stop(g->m);
    machine_objects_save(&g->objects, clock, &g->state, g->ops->cursor(g->opaque), g->section);
}

/* The target has not taken the guest: it goes on here. */
static void go_on(struct migrator *g)
{
    machine_clock_go(g->m);
    sim_clock_go(&g->m->sim->clock);
    sim_timers_shifted(g->m->sim);
    g->ops->thaw(g->opaque);
}

static enum sim_status serve_frame(struct migrator *g, enum ckpt_frame_type until, bool *over)
{
    struct ckpt_frame f;

    SIM_TRY(ckpt_stream_receive(g->stream, &f));
    *over = f.type == until;
    if (*over)
        return SIM_OK;
    if (f.type == CKPT_FRAME_DEMAND)
        return ckpt_sender_demand(g->sender, &f);
    sim_error("migration: %s sends a frame that does not belong here", g->uri);
    return SIM_ERR_FORMAT;
}

/* Answers demands until that frame comes, at most timeout_ms (-1: for ever). */
static enum sim_status serve_until(struct migrator *g, enum ckpt_frame_type until, int timeout_ms)
{
    bool over = false;

    while (!over) {
        if (!ckpt_stream_readable(g->stream, timeout_ms)) {
            sim_error("migration: %s: no answer for %d s", g->uri, timeout_ms / 1000);
            return SIM_ERR_IO;
        }
        SIM_TRY(serve_frame(g, until, &over));
    }
    return SIM_OK;
}

static enum sim_status send_states(struct migrator *g)
{
    for (unsigned i = 0; i < g->objects.nr; i++)
        SIM_TRY(send_section(g, g->objects.list[i].name, g->section[i].data, g->section[i].len));
    return send_bytes(g, CKPT_FRAME_STOPPED, &g->state.guest_ns, sizeof g->state.guest_ns);
}

static enum sim_status hand_over(struct migrator *g)
{
    set_phase(g, HANDING_OVER);
    g->cut = (struct errand){.g = g, .run = stand_still, .stay = true};
    g->stands = true;
    ckpt_stream_patience(g->stream, LOADED_MS / 1000);
    send_errand(g, &g->cut);
    SIM_TRY(g->cut_status);
    ckpt_sender_mark(g->sender, false);
    if (!g->request.postcopy || g->m->kvm) /* KVM takes pages without asking whether they have come */
        SIM_TRY(push_all(g));
    SIM_TRY(ckpt_sender_missing(g->sender));
    SIM_TRY(send_states(g));
    SIM_TRY(serve_until(g, CKPT_FRAME_LOADED, LOADED_MS));
    /* Whoever cancels from here on comes too late. */
    sim_mutex_lock(&g->lock);
    bool cancelled = g->cancelled;
    if (!cancelled)
        set_phase(g, GONE);
    sim_mutex_unlock(&g->lock);
    return cancelled ? SIM_ERR_IO : SIM_OK;
}

/* --- afterwards --- */

/* `over`: the target does not need them any more, because the guest has ended. */
static enum sim_status send_rest(struct migrator *g, bool *over)
{
    *over = false;
    while (ckpt_sender_pending(g->sender)) {
        while (ckpt_stream_readable(g->stream, 0)) {
            SIM_TRY(serve_frame(g, CKPT_FRAME_DONE, over));
            if (*over)
                return SIM_OK;
        }
        SIM_TRY(ckpt_sender_push(g->sender, PUSH_BLOCKS));
        atomic_store_explicit(&g->pending, ckpt_sender_pending(g->sender), memory_order_relaxed);
    }
    return SIM_OK;
}

static uint64_t blocks_sent(const struct migrator *g)
{
    uint64_t blocks, zeros;

    ckpt_sender_stats(g->sender, &blocks, &zeros);
    return blocks + zeros;
}

static enum sim_status give_away(struct migrator *g)
{
    bool over;

    g->result.undecided = true;
    g->sent_before = blocks_sent(g);
    ckpt_stream_patience(g->stream, 0); /* it has the guest: there is nothing to give up any more */
    SIM_TRY(send_bytes(g, CKPT_FRAME_GO, NULL, 0));
    SIM_TRY(serve_until(g, CKPT_FRAME_STARTED, -1));
    g->result.undecided = false;
    g->result.gone = true;
    g->result.pause_ns = sim_host_ns() - g->cut_ns;
    SIM_TRY(send_rest(g, &over));
    if (over)
        return SIM_OK;
    SIM_TRY(send_bytes(g, CKPT_FRAME_END, NULL, 0));
    return serve_until(g, CKPT_FRAME_DONE, -1);
}

/* --- the thread --- */

static enum sim_status migrate(struct migrator *g)
{
    SIM_TRY(g->ops->ready(g->opaque));
    machine_objects_list(g->m, &g->state, &g->objects);
    g->section = sim_new_array(struct state_buf, g->objects.nr);
    SIM_TRY(connect_to_target(g));
    SIM_TRY(make_rounds(g));
    SIM_TRY(hand_over(g));
    return give_away(g);
}

static void fill_result(struct migrator *g)
{
    struct migrate_result *r = &g->result;

    r->total_ns = sim_host_ns() - g->start_ns;
    if (g->sender)
        ckpt_sender_stats(g->sender, &r->blocks, &r->zeros);
    if (g->stream)
        r->bytes = ckpt_stream_sent(g->stream);
    r->after = r->gone || r->undecided ? r->blocks + r->zeros - g->sent_before : 0;
}

static void clean_up(struct migrator *g)
{
    sim_mutex_lock(&g->lock);
    struct ckpt_stream *stream = g->stream;
    g->stream = NULL;
    sim_mutex_unlock(&g->lock);
    if (stream && g->result.status != SIM_OK)
        ckpt_stream_refuse(stream, "the source gave the migration up");
    ckpt_stream_destroy(stream);
    ckpt_sender_destroy(g->sender);
    g->sender = NULL;
    for (unsigned i = 0; g->section && i < g->objects.nr; i++)
        state_buf_fini(&g->section[i]);
    sim_free(g->section);
    g->section = NULL;
    machine_objects_fini(&g->objects);
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

    g->result.status = migrate(g);
    fill_result(g);
    clean_up(g);
    say(g);
    if (g->stands)
        let_world_go(g);
    if (g->request.done) {
        struct errand answered = {.g = g, .run = do_nothing};
        g->request.done(g->request.opaque, &g->result);
        send_errand(g, &answered); /* what done has posted is through: the run may end */
    }
    if (g->result.gone)
        g->own->gone(g->opaque, g->result.status == SIM_OK);
    set_phase(g, IDLE);
    checkpointer_unreserve(g->checkpointer);
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
    if (mine)
        g->cancelled = false;
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
        checkpointer_unreserve(g->checkpointer);
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
        g->cancelled = true;
        if (g->stream)
            ckpt_stream_cancel(g->stream);
    }
    sim_mutex_unlock(&g->lock);
}

bool migrate_progress(struct migrator *g, struct migrate_progress *out)
{
    sim_mutex_lock(&g->lock);
    bool busy = g->busy;
    if (busy)
        *out = (struct migrate_progress){
            .phase = phase_name[atomic_load_explicit(&g->phase, memory_order_acquire)],
            .round = atomic_load_explicit(&g->round, memory_order_relaxed),
            .sent = g->stream ? ckpt_stream_sent(g->stream) : 0,
            .pending = atomic_load_explicit(&g->pending, memory_order_relaxed)};
    sim_mutex_unlock(&g->lock);
    return busy;
}

/* --- life --- */

struct migrator *migrator_create(struct machine *m, struct checkpointer *c, const struct checkpointer_ops *ops,
                                 const struct migrator_ops *own, void *opaque)
{
    struct migrator *g = sim_new(struct migrator);

    g->m = m;
    g->checkpointer = c;
    g->ops = ops;
    g->own = own;
    g->opaque = opaque;
    g->range = sim_new_array(struct ckpt_range, machine_ram_ranges(m));
    sim_mutex_init(&g->lock, SIM_RANK_LEAF);
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
    sim_free(g->range);
    sim_free(g->uri);
    sim_free(g);
}
