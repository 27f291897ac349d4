/* Frames of blocks into spaces; a bitmap of what is missing for each space. */
#include "checkpoint/receiver.h"

#include <string.h>
#include <sys/uio.h>

#include "bitmap.h"
#include "format.h"
#include "sim-core/alloc.h"
#include "sim-core/lock.h"
#include "sim-core/log.h"

enum { SPINS = 200, LOOK_MS = 200 };
#define FINISH_NS 5000000000ull

struct space {
    struct sim_guard guard; /* first */
    struct ckpt_receiver *receiver;
    struct ckpt_source target;
    bitmap_word *missing, *demanded; /* by local block; missing bits are cleared by the receiving thread only */
    bitmap_word **promised;          /* by stream: what is missing is to come through it */
};

/* Owner: the launch thread up to serve, then the receiving thread; others come in through the guards. */
struct ckpt_receiver {
    struct ckpt_receiver_config config;
    struct space *space;
    uint64_t nr_missing;
    bool serving;
    struct sim_thread thread;
    struct sim_mutex lock; /* a leaf; of arrivals and the end */
    struct sim_cond changed;
    unsigned waiting;
    bool go, over;
    bool told; /* somebody tells the source that it is not needed any more: once, for then it goes */
    bool *ended; /* by stream; receiving thread */
    _Atomic int status;
    _Atomic uint64_t demands, wait_ns;
    _Atomic uint64_t finish_ns; /* 0, or until when the source may take to end */
};

static bool has_failed(const struct ckpt_receiver *r)
{
    return atomic_load_explicit(&r->status, memory_order_acquire) != SIM_OK;
}

/* All streams have one other side. */
static enum sim_status senseless(struct ckpt_receiver *r, const char *what)
{
    ckpt_stream_break(r->config.stream[0], what);
    return SIM_ERR_FORMAT;
}

/* --- frames --- */

static enum sim_status space_of(struct ckpt_receiver *r, const struct ckpt_frame *f, struct space **out)
{
    if (f->space >= r->config.nr)
        return senseless(r, "blocks of a space that was not announced");
    *out = &r->space[f->space];
    return SIM_OK;
}

/* [block, block + nr) must lie in one range. */
static enum sim_status to_local(struct space *sp, uint64_t block, uint64_t nr, uint64_t *local)
{
    const struct ckpt_range *g = ckpt_range_of_block(&sp->target, block);

    if (!g || !nr || nr > g->nr - (block - g->block))
        return senseless(sp->receiver, "blocks where the machine has none");
    *local = g->local + (block - g->block);
    return SIM_OK;
}

/* The blocks are there: whoever waits for them goes on. */
static void arrived(struct space *sp, uint64_t local, uint32_t nr)
{
    struct ckpt_receiver *r = sp->receiver;
    uint64_t cleared = 0;

    for (uint64_t i = local; i < local + nr; i++) {
        uint64_t bit = 1ull << (i % 64);
        cleared += (atomic_fetch_and_explicit(&sp->missing[i / 64], ~bit, memory_order_acq_rel) & bit) != 0;
    }
    r->nr_missing -= cleared;
    if (!r->serving || !cleared)
        return;
    sim_mutex_lock(&r->lock);
    if (r->waiting)
        sim_cond_broadcast(&r->changed);
    sim_mutex_unlock(&r->lock);
}

/* While the guest runs only missing blocks may come: others are the guest's own. */
static bool all_missing(struct space *sp, uint64_t local, uint32_t nr)
{
    for (uint64_t i = local; i < local + nr; i++)
        if (!bitmap_get(sp->missing, i))
            return false;
    return true;
}

static void tell_of(struct space *sp, uint64_t local, uint64_t nr)
{
    const struct ckpt_receiver_config *c = &sp->receiver->config;

    for (uint64_t i = local; c->has && i < local + nr; i++)
        c->has(c->has_opaque, (unsigned)(sp - sp->receiver->space), i);
}

static enum sim_status take_blocks(struct ckpt_receiver *r, const struct ckpt_frame *f)
{
    bool zeros = f->type == CKPT_FRAME_ZEROS;
    struct space *sp;
    uint64_t local;

    SIM_TRY(space_of(r, f, &sp));
    SIM_TRY(to_local(sp, f->block, f->nr, &local));
    if (f->len != (zeros ? 0 : (uint64_t)f->nr * FORMAT_BLOCK))
        return senseless(r, "a frame of blocks has another length than theirs");
    if (r->serving && !all_missing(sp, local, f->nr))
        return senseless(r, "blocks come that are here");
    if (!r->serving)
        tell_of(sp, local, f->nr);
    SIM_TRY(zeros ? ckpt_source_clear(&sp->target, local, f->nr, "migration")
                  : ckpt_source_write(&sp->target, local, f->nr, f->payload, "migration"));
    arrived(sp, local, f->nr);
    return SIM_OK;
}

/* False: somebody has promised it already. */
static bool promise(struct space *sp, unsigned stream, uint64_t local)
{
    if (!bitmap_claim(sp->missing, local / 64, 1ull << (local % 64)))
        return false;
    sp->receiver->nr_missing++;
    return bitmap_claim(sp->promised[stream], local / 64, 1ull << (local % 64)) != 0;
}

static enum sim_status take_missing(struct ckpt_receiver *r, unsigned stream, const struct ckpt_frame *f)
{
    struct space *sp;
    uint64_t pair[2], local;

    SIM_TRY(space_of(r, f, &sp));
    if (f->len % sizeof pair || r->serving)
        return senseless(r, "a list of missing blocks that makes no sense");
    for (uint32_t at = 0; at < f->len; at += sizeof pair) {
        memcpy(pair, f->payload + at, sizeof pair);
        SIM_TRY(to_local(sp, pair[0], pair[1], &local));
        tell_of(sp, local, pair[1]);
        for (uint64_t i = local; i < local + pair[1]; i++)
            if (!promise(sp, stream, i))
                return senseless(r, "a block is missing twice");
    }
    return SIM_OK;
}

enum sim_status ckpt_receiver_take(struct ckpt_receiver *r, unsigned stream, const struct ckpt_frame *f)
{
    switch (f->type) {
    case CKPT_FRAME_ROUND:
        return ckpt_stream_send(r->config.stream[stream], &(struct ckpt_frame){.type = CKPT_FRAME_SEEN});
    case CKPT_FRAME_BLOCKS:
    case CKPT_FRAME_ZEROS:
        return take_blocks(r, f);
    case CKPT_FRAME_MISSING:
        return take_missing(r, stream, f);
    default:
        return senseless(r, "a frame that does not belong here");
    }
}

/* --- on demand --- */

static struct ckpt_stream *stream_for(struct space *sp, uint64_t local)
{
    const struct ckpt_receiver_config *c = &sp->receiver->config;
    unsigned i = 0;

    while (i + 1 < c->nr_streams && !bitmap_get(sp->promised[i], local))
        i++;
    return c->stream[i];
}

static void demand(struct space *sp, uint64_t local)
{
    const struct ckpt_range *g = ckpt_range_of_local(&sp->target, local);
    struct ckpt_receiver *r = sp->receiver;

    if (!bitmap_claim(sp->demanded, local / 64, 1ull << (local % 64)))
        return;
    atomic_fetch_add_explicit(&r->demands, 1, memory_order_relaxed);
    /* A connection that fails is the receiving thread's to report. */
    if (ckpt_stream_send(stream_for(sp, local), &(struct ckpt_frame){.type = CKPT_FRAME_DEMAND,
                                                                .space = (uint16_t)(sp - r->space),
                                                                .block = g->block + (local - g->local),
                                                                .nr = 1}) != SIM_OK)
        return;
}

static void await(struct space *sp, uint64_t local)
{
    struct ckpt_receiver *r = sp->receiver;

    for (unsigned spins = 0; spins < SPINS && bitmap_get(sp->missing, local); spins++)
        sim_cpu_relax();
    sim_mutex_lock(&r->lock);
    r->waiting++;
    while (bitmap_get(sp->missing, local) && !has_failed(r))
        sim_cond_wait(&r->changed, &r->lock);
    r->waiting--;
    sim_mutex_unlock(&r->lock);
}

static void before(struct sim_guard *g, uint64_t first, uint64_t nr, bool write)
{
    struct space *sp = (struct space *)g;
    uint64_t start = 0;

    (void)write;
    for (uint64_t i = first; i < first + nr; i++) {
        if (!bitmap_get(sp->missing, i) || has_failed(sp->receiver))
            continue;
        start = start ? start : sim_host_ns();
        demand(sp, i);
        await(sp, i);
    }
    if (start)
        atomic_fetch_add_explicit(&sp->receiver->wait_ns, sim_host_ns() - start, memory_order_relaxed);
}

/* --- the receiving thread --- */

static void announce_go(struct ckpt_receiver *r)
{
    sim_mutex_lock(&r->lock);
    r->go = true;
    sim_cond_broadcast(&r->changed);
    sim_mutex_unlock(&r->lock);
}

/* END is the last frame of a stream. */
static enum sim_status take_later(struct ckpt_receiver *r, unsigned stream, const struct ckpt_frame *f)
{
    if (r->ended[stream])
        return senseless(r, "a frame comes after the end");
    if (f->type == CKPT_FRAME_END)
        r->ended[stream] = true;
    else if (f->type == CKPT_FRAME_GO && stream == 0)
        announce_go(r);
    else
        return ckpt_receiver_take(r, stream, f);
    return SIM_OK;
}

static bool all_ended(const struct ckpt_receiver *r)
{
    for (unsigned i = 0; i < r->config.nr_streams; i++)
        if (!r->ended[i])
            return false;
    return true;
}

/* Nothing is expected but the end of the connection, and that for long enough. */
static bool is_late(const struct ckpt_receiver *r)
{
    uint64_t until = atomic_load_explicit(&r->finish_ns, memory_order_relaxed);

    return until && sim_host_ns() > until;
}

static void say_end(const struct ckpt_receiver *r)
{
    unsigned long long demands = atomic_load_explicit(&r->demands, memory_order_relaxed);
    double waited_ms = (double)atomic_load_explicit(&r->wait_ns, memory_order_relaxed) / 1e6;

    if (!r->config.rank)
        sim_info("migration: everything has come; %llu pages were asked for, and waited for %.1f ms altogether", demands,
                 waited_ms);
    else if (demands)
        sim_info("migration: rank %u asked for %llu pages, and waited for %.1f ms altogether", r->config.rank, demands,
                 waited_ms);
}

static bool claim_done(struct ckpt_receiver *r)
{
    sim_mutex_lock(&r->lock);
    bool mine = !r->told;
    r->told = true;
    sim_mutex_unlock(&r->lock);
    return mine;
}

static enum sim_status receive_rest(struct ckpt_receiver *r)
{
    struct ckpt_stream *const *stream = r->config.stream;
    struct ckpt_frame f;
    unsigned last = 0;

    while (!all_ended(r)) {
        int i = ckpt_stream_poll(stream, r->config.nr_streams, last, LOOK_MS);
        if (i < 0 && is_late(r))
            return SIM_ERR_IO;
        if (i < 0)
            continue;
        last = (unsigned)i;
        SIM_TRY(ckpt_stream_receive(stream[i], &f));
        SIM_TRY(take_later(r, last, &f));
    }
    if (r->nr_missing)
        return senseless(r, "the end has come, and blocks are missing");
    for (unsigned i = 0; i < r->config.nr; i++)
        r->space[i].target.set_guard(r->space[i].target.opaque, NULL);
    /* The source may be gone: it has nothing that we need. A DEMAND that was on its way to being sent may find it so. */
    for (unsigned i = 0; i < r->config.nr_streams; i++)
        ckpt_stream_finish(stream[i]);
    bool mine = claim_done(r);
    for (unsigned i = 0; mine && i < r->config.nr_streams; i++)
        if (ckpt_stream_send(stream[i], &(struct ckpt_frame){.type = CKPT_FRAME_DONE}) != SIM_OK)
            sim_warn("migration: %s did not hear that all has come", ckpt_stream_peer(stream[i]));
    say_end(r);
    return SIM_OK;
}

static void cancel_streams(struct ckpt_receiver *r)
{
    for (unsigned i = 0; i < r->config.nr_streams; i++)
        ckpt_stream_cancel(r->config.stream[i]);
}

static bool has_gone(struct ckpt_receiver *r)
{
    sim_mutex_lock(&r->lock);
    bool go = r->go;
    sim_mutex_unlock(&r->lock);
    return go;
}

static void *receiver_main(void *arg)
{
    struct ckpt_receiver *r = arg;
    enum sim_status status = receive_rest(r);

    if (status != SIM_OK) {
        cancel_streams(r);
        if (has_gone(r) && r->config.failed)
            r->config.failed(r->config.opaque); /* first the guest ends: then those that wait for blocks may go on */
        atomic_store_explicit(&r->status, status, memory_order_release);
    }
    sim_mutex_lock(&r->lock);
    r->over = true;
    sim_cond_broadcast(&r->changed);
    sim_mutex_unlock(&r->lock);
    return NULL;
}

enum sim_status ckpt_receiver_serve(struct ckpt_receiver *r)
{
    r->serving = true;
    for (unsigned i = 0; i < r->config.nr; i++)
        r->space[i].target.set_guard(r->space[i].target.opaque, &r->space[i].guard);
    return sim_thread_start(&r->thread, "receiver", receiver_main, r);
}

enum sim_status ckpt_receiver_await_go(struct ckpt_receiver *r, unsigned timeout_ms)
{
    uint64_t until = sim_host_ns() + timeout_ms * 1000000ull;

    sim_mutex_lock(&r->lock);
    while (!r->go && !r->over && sim_host_ns() < until)
        sim_cond_wait_until(&r->changed, &r->lock, until);
    enum sim_status status = r->go ? SIM_OK : r->over ? SIM_ERR_IO : SIM_INPROGRESS;
    sim_mutex_unlock(&r->lock);
    return status;
}

enum sim_status ckpt_receiver_finish(struct ckpt_receiver *r)
{
    sim_mutex_lock(&r->lock);
    while (!r->over)
        sim_cond_wait(&r->changed, &r->lock);
    sim_mutex_unlock(&r->lock);
    return (enum sim_status)atomic_load_explicit(&r->status, memory_order_acquire);
}

/* --- life --- */

static enum sim_status create_space(struct ckpt_receiver *r, unsigned i)
{
    struct space *sp = &r->space[i];

    *sp = (struct space){.guard = {.before = before},
                         .receiver = r,
                         .target = r->config.target[i],
                         .missing = bitmap_create(r->config.target[i].nr_blocks),
                         .demanded = bitmap_create(r->config.target[i].nr_blocks),
                         .promised = sim_new_array(bitmap_word *, r->config.nr_streams)};
    bool good = sp->missing && sp->demanded;
    for (unsigned k = 0; k < r->config.nr_streams && good; k++)
        good = (sp->promised[k] = bitmap_create(sp->target.nr_blocks)) != NULL;
    if (good)
        return SIM_OK;
    sim_error("migration: no memory for %llu blocks of '%s'", (unsigned long long)sp->target.nr_blocks,
              sp->target.name);
    return SIM_ERR_NOMEM;
}

enum sim_status ckpt_receiver_create(const struct ckpt_receiver_config *config, struct ckpt_receiver **out)
{
    struct ckpt_receiver *r = sim_new(struct ckpt_receiver);
    enum sim_status status = SIM_OK;

    r->config = *config;
    r->space = sim_new_array(struct space, config->nr);
    r->ended = sim_new_array(bool, config->nr_streams);
    sim_mutex_init(&r->lock, SIM_RANK_LEAF);
    sim_cond_init(&r->changed);
    for (unsigned i = 0; i < config->nr && status == SIM_OK; i++)
        status = create_space(r, i);
    r->config.target = NULL; /* borrowed for this long */
    if (status != SIM_OK) {
        ckpt_receiver_destroy(r);
        return status;
    }
    *out = r;
    return SIM_OK;
}

/* The guest may have ended before all of it had come: then the source is not needed either. */
static void end_receiving(struct ckpt_receiver *r)
{
    bool told = true;

    sim_mutex_lock(&r->lock);
    bool over = r->over, go = r->go;
    sim_mutex_unlock(&r->lock);
    atomic_store_explicit(&r->finish_ns, sim_host_ns() + FINISH_NS, memory_order_relaxed);
    bool mine = !over && go && claim_done(r);
    for (unsigned i = 0; mine && i < r->config.nr_streams; i++) {
        ckpt_stream_finish(r->config.stream[i]);
        told &= ckpt_stream_send(r->config.stream[i], &(struct ckpt_frame){.type = CKPT_FRAME_DONE}) == SIM_OK;
    }
    if (!over && (!go || !told))
        cancel_streams(r);
    sim_thread_join(&r->thread);
}

static void destroy_space(struct ckpt_receiver *r, struct space *sp)
{
    if (r->serving && sp->target.set_guard)
        sp->target.set_guard(sp->target.opaque, NULL);
    bitmap_destroy(sp->missing, sp->target.nr_blocks);
    bitmap_destroy(sp->demanded, sp->target.nr_blocks);
    for (unsigned i = 0; sp->promised && i < r->config.nr_streams; i++)
        bitmap_destroy(sp->promised[i], sp->target.nr_blocks);
    sim_free(sp->promised);
}

void ckpt_receiver_destroy(struct ckpt_receiver *r)
{
    if (!r)
        return;
    if (r->serving)
        end_receiving(r);
    for (unsigned i = 0; i < r->config.nr; i++)
        destroy_space(r, &r->space[i]);
    sim_cond_fini(&r->changed);
    sim_mutex_fini(&r->lock);
    sim_free(r->ended);
    sim_free(r->space);
    sim_free(r);
}
