/* One image after another: the thread that makes them, and the cut. On several ranks this is the leader's. */
#include "checkpoint.h"

#include <inttypes.h>
#include <stdatomic.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>

#include "checkpoint_share.h"
#include "image_config.h"
#include "ranks_image.h"
#include "sim-core/alloc.h"
#include "sim-core/lock.h"
#include "sim-core/log.h"

enum { MAX_CHAIN = 16 }; /* images that stand on each other; then a full one */
#define REPORT_NS 3000000000ull

/* Owner: the checkpoint thread while `busy`; the cut runs on the I/O thread while that one waits. */
struct checkpointer {
    struct machine *m;
    struct ranks *ranks; /* NULL: the only rank */
    const struct checkpointer_ops *ops;
    void *opaque;
    struct share *share;

    struct sim_mutex lock; /* of busy, cut_begun, cut_done, last, chain */
    struct sim_cond changed;
    bool busy, closed, cut_begun, cut_done;
    struct checkpoint_request next; /* what waits; dir NULL: nothing */
    struct sim_thread thread;

    /* The image before: the next may build on it. */
    char *last_store;
    struct ckpt_ref last;
    unsigned chain; /* its depth; 0: there is none */

    /* The image being made. */
    struct checkpoint_request request;
    char *dir;
    struct ckpt_store *store;
    struct ckpt_new image;
    bool incremental;
    bool ordered; /* the followers know of it */
    struct ckpt_part *part; /* by rank */
    uint32_t nr_parts;
    struct ckpt_manifest manifest;
    enum sim_status cut_status;
    uint64_t start_ns, pause_ns, report_ns;
    atomic_bool writing; /* and how far: */
    _Atomic unsigned percent;
    _Atomic uint64_t given, stored;
};

/* --- the cut: I/O thread, frozen world --- */

static enum sim_status take_all(struct checkpointer *c)
{
    if (c->ranks)
        ranks_image_take(c->ranks);
    enum sim_status status = share_take(c->share, c->ops->cursor(c->opaque));
    if (c->ranks) {
        enum sim_status others = ranks_image_await(c->ranks, RANKS_IMAGE_TAKEN, true, NULL, NULL);
        status = status == SIM_OK ? others : status;
    }
    return status;
}

/* Frozen, at rest, taken: each only if the one before went well. */
static enum sim_status freeze_and_take(struct checkpointer *c)
{
    SIM_TRY(c->ops->freeze(c->opaque));
    share_settle(c->share);
    SIM_TRY(c->ops->settle(c->opaque));
    return take_all(c);
}

static void cut(void *opaque)
{
    struct checkpointer *c = opaque;
    uint64_t begin = sim_host_ns();

    sim_mutex_lock(&c->lock);
    c->cut_begun = true;
    sim_mutex_unlock(&c->lock);
    c->cut_status = freeze_and_take(c);
    if (!c->request.stop || c->cut_status != SIM_OK)
        c->ops->thaw(c->opaque);
    c->pause_ns = sim_host_ns() - begin;
    sim_mutex_lock(&c->lock);
    c->cut_done = true;
    sim_cond_broadcast(&c->changed);
    sim_mutex_unlock(&c->lock);
}

static enum sim_status take_cut(struct checkpointer *c)
{
    sim_io_post(c->m->sim->io, cut, c);
    sim_mutex_lock(&c->lock);
    while (!c->cut_done)
        sim_cond_wait(&c->changed, &c->lock);
    sim_mutex_unlock(&c->lock);
    return c->cut_status;
}

/* --- before the cut --- */

static bool same_folder(const char *a, const char *b)
{
    struct stat x, y;

    return a && b && stat(a, &x) == 0 && stat(b, &y) == 0 && x.st_dev == y.st_dev &&
           x.st_ino == y.st_ino;
}

/* Can the new image build on the last one? It must lie in the same store, and still be there. */
static bool can_build_on_last(const struct checkpointer *c)
{
    struct ckpt_image *image;

    if (!c->chain || c->chain >= MAX_CHAIN || !same_folder(c->last_store, c->dir))
        return false;
    char *path = sim_asprintf("%s/%s", c->dir, c->last.name);
    bool good = ckpt_image_open(path, &image) == SIM_OK;
    sim_free(path);
    if (good) {
        good = memcmp(ckpt_image_manifest(image, 0)->self.id, c->last.id, CKPT_ID_BYTES) == 0;
        ckpt_image_close(image);
    }
    return good;
}

static enum sim_status prepare_share(struct checkpointer *c)
{
    struct share_order order = {.store = c->dir,
                                .path = c->image.path,
                                .folder = c->image.folder,
                                .incremental = c->incremental};

    memcpy(order.id, c->image.ref.id, sizeof order.id);
    return share_prepare(c->share, &order);
}

static enum sim_status order_followers(struct checkpointer *c)
{
    struct ranks_image_order order = {.incremental = c->incremental};

    if (!c->ranks)
        return SIM_OK;
    if (strlen(c->image.path) >= sizeof order.path) {
        sim_error("checkpoint: the path '%s' is too long", c->image.path);
        return SIM_ERR_INVALID;
    }
    strcpy(order.path, c->image.path);
    memcpy(order.id, c->image.ref.id, sizeof order.id);
    ranks_image_prepare(c->ranks, &order);
    c->ordered = true;
    return SIM_OK;
}

static enum sim_status prepare(struct checkpointer *c)
{
    SIM_TRY(c->ops->ready(c->opaque));
    SIM_TRY(ckpt_store_open(c->dir, &c->store));
    c->incremental = c->request.incremental && can_build_on_last(c);
    SIM_TRY(ckpt_store_begin(c->store, &c->image));
    SIM_TRY(order_followers(c));
    SIM_TRY(prepare_share(c));
    return c->ranks ? ranks_image_await(c->ranks, RANKS_IMAGE_READY, false, NULL, NULL) : SIM_OK;
}

/* --- after it --- */

static void report_progress(struct checkpointer *c)
{
    struct share_progress p;
    uint32_t slowest = 0;

    share_get_progress(c->share, &p);
    struct ranks_image_progress sum = {.percent = (uint32_t)(p.total ? p.done * 100 / p.total : 100),
                                       .given = p.given,
                                       .stored = p.stored};
    if (c->ranks)
        ranks_image_add_progress(c->ranks, &sum, &slowest);
    atomic_store_explicit(&c->percent, sum.percent, memory_order_relaxed);
    atomic_store_explicit(&c->given, sum.given, memory_order_relaxed);
    atomic_store_explicit(&c->stored, sum.stored, memory_order_relaxed);
    uint64_t now = sim_host_ns();
    if (c->request.done || now - c->report_ns < REPORT_NS)
        return;
    c->report_ns = now;
    char who[32] = "";
    if (c->ranks)
        snprintf(who, sizeof who, " (rank %u is last)", slowest);
    sim_info("checkpoint: %u%%%s, %.2f GB/s, ratio %.1f", sum.percent, who,
             (double)sum.given / (double)(now - c->start_ns),
             sum.stored ? (double)sum.given / (double)sum.stored : 0);
}

static bool go_on(void *opaque)
{
    report_progress(opaque);
    return true;
}

static void idle(void *opaque)
{
    report_progress(opaque);
}

static void describe(struct checkpointer *c)
{
    struct ckpt_manifest *m = &c->manifest;

    m->guest_ns = share_guest_ns(c->share);
    m->nr_harts = c->m->sim->nr_vcpus;
    m->guest_insns = share_insns(c->share);
    for (uint32_t i = 1; i < c->nr_parts; i++)
        m->guest_insns += ranks_image_report_of(c->ranks, i)->insns;
}

static enum sim_status commit(struct checkpointer *c)
{
    struct ckpt_manifest *m = &c->manifest;
    struct config config = *c->m->config; /* borrowed strings */

    describe(c);
    m->self = c->image.ref;
    m->incremental = c->incremental;
    m->parent = c->last;
    m->created = time(NULL);
    m->part = c->part;
    m->nr_parts = c->nr_parts;
    config.tree.builtin_sbi = c->m->builtin_sbi;
    m->machine = image_config_format(&config);
    enum sim_status status = ckpt_store_commit(c->store, &c->image, m);
    sim_free(m->machine);
    m->machine = NULL;
    m->part = NULL;
    return status;
}

/* The followers' parts, when they are written. */
static enum sim_status gather_parts(struct checkpointer *c)
{
    if (!c->ranks)
        return SIM_OK;
    SIM_TRY(ranks_image_await(c->ranks, RANKS_IMAGE_WRITTEN, false, idle, c));
    for (uint32_t i = 1; i < c->nr_parts; i++)
        c->part[i] = ranks_image_report_of(c->ranks, i)->part;
    return SIM_OK;
}

static enum sim_status write_image(struct checkpointer *c)
{
    atomic_store_explicit(&c->writing, true, memory_order_relaxed);
    enum sim_status status = share_write(c->share, go_on, c, &c->part[0]);
    if (status == SIM_OK)
        status = gather_parts(c);
    atomic_store_explicit(&c->writing, false, memory_order_relaxed);
    return status == SIM_OK ? commit(c) : status;
}

/* Remembers what the next image may build on; after an error nothing: the dirty marks are gone. */
static void remember(struct checkpointer *c, bool good)
{
    sim_mutex_lock(&c->lock);
    c->chain = !good ? 0 : c->incremental ? c->chain + 1 : 1;
    c->last = c->image.ref;
    sim_free(c->last_store);
    c->last_store = sim_strdup(c->dir);
    sim_mutex_unlock(&c->lock);
}

static void prune(struct checkpointer *c)
{
    const struct config_checkpoint *k = &c->m->config->checkpoint;
    uint32_t removed;

    if (k->keep && same_folder(k->dir, c->dir) &&
        ckpt_store_prune(c->store, k->keep, &removed) != SIM_OK)
        sim_warn("checkpoint: older images stay behind in '%s'", c->dir);
}

static void thaw(void *opaque)
{
    struct checkpointer *c = opaque;

    c->ops->thaw(c->opaque);
}

/* Whatever becomes of it, the marks of what changed are gone after a cut. */
static enum sim_status make_image(struct checkpointer *c)
{
    SIM_TRY(prepare(c));
    enum sim_status status = take_cut(c);
    bool taken = status == SIM_OK;

    if (taken)
        status = write_image(c);
    remember(c, status == SIM_OK);
    if (status == SIM_OK)
        prune(c);
    else if (taken && c->request.stop)
        sim_io_post(c->m->sim->io, thaw, c);
    return status;
}

/* --- the thread --- */

static void clean_up(struct checkpointer *c, bool good)
{
    if (c->ordered)
        ranks_image_end(c->ranks, good);
    c->ordered = false;
    share_release(c->share);
    if (c->image.path)
        ckpt_store_end(c->store, &c->image);
    ckpt_store_close(c->store);
    c->store = NULL;
    c->manifest = (struct ckpt_manifest){0};
}

static void say(const struct checkpoint_result *r)
{
    double seconds = (double)r->total_ns / 1e9;

    if (r->status != SIM_OK) {
        sim_error("checkpoint: no image was made: %s", sim_status_text(r->status));
        return;
    }
    sim_info("checkpoint: %s%s: %.1f MB of guest data in %.1f MB, %.2f s, %.2f GB/s, ratio %.1f; the guest "
             "stood still for %.1f ms",
             r->path, r->incremental ? " (incremental)" : "", (double)r->guest_bytes / 1e6,
             (double)r->stored_bytes / 1e6, seconds, (double)r->guest_bytes / 1e9 / seconds,
             r->stored_bytes ? (double)r->guest_bytes / (double)r->stored_bytes : 0,
             (double)r->pause_ns / 1e6);
}

static void take_request(struct checkpointer *c, const struct checkpoint_request *request)
{
    sim_free(c->dir);
    c->dir = sim_strdup(request->dir);
    c->request = *request;
    c->request.dir = c->dir;
    c->cut_begun = c->cut_done = false;
    c->pause_ns = 0;
    c->start_ns = c->report_ns = sim_host_ns();
}

/* The request that waits becomes the current one; false: there is none, and others may come. */
static bool take_next(struct checkpointer *c)
{
    sim_mutex_lock(&c->lock);
    bool more = c->next.dir != NULL;
    if (more) {
        take_request(c, &c->next);
        sim_free((char *)c->next.dir);
        c->next.dir = NULL;
    } else {
        c->busy = false;
        sim_cond_broadcast(&c->changed);
    }
    sim_mutex_unlock(&c->lock);
    return more;
}

static void count_bytes(const struct checkpointer *c, struct checkpoint_result *r)
{
    for (uint32_t i = 0; i < c->nr_parts; i++) {
        r->blocks += c->part[i].nr_blocks;
        r->guest_bytes += c->part[i].guest_bytes;
        r->stored_bytes += c->part[i].data_bytes + c->part[i].index_bytes;
    }
}

/* Makes the current image; true: another request has taken its place. */
static bool make_one(struct checkpointer *c)
{
    struct sim_log_kept said = {.write_too = true};

    ranks_keep_homes(c->ranks, true);
    sim_log_keep(&said);
    struct checkpoint_result r = {.status = make_image(c)};
    sim_log_keep_end();
    struct checkpoint_request request = c->request;
    char *path = r.status == SIM_OK ? sim_strdup(c->image.path) : NULL;
    char *why = r.status == SIM_OK ? NULL : sim_log_first_error(&said);

    r.path = path;
    r.why = why;
    r.incremental = c->incremental;
    r.pause_ns = c->pause_ns;
    r.total_ns = sim_host_ns() - c->start_ns;
    if (r.status == SIM_OK)
        count_bytes(c, &r);
    clean_up(c, r.status == SIM_OK);
    ranks_keep_homes(c->ranks, false);
    bool more = take_next(c);
    if (!request.done)
        say(&r);
    else
        request.done(request.opaque, &r);
    sim_free(path);
    sim_free(why);
    return more;
}

static void *checkpoint_main(void *arg)
{
    while (make_one(arg))
        ;
    return NULL;
}

/* Is the image that is being made as good, because its instant has not come yet? (A signal may reach all ranks.) */
static bool is_served_locked(const struct checkpointer *c, const struct checkpoint_request *request)
{
    return c->busy && !c->cut_begun && !request->done && !request->stop && request->wait &&
           request->incremental == c->request.incremental && strcmp(request->dir, c->dir) == 0;
}

/* SIM_OK: the caller starts the thread. SIM_INPROGRESS: the running one will come to it. */
static enum sim_status begin(struct checkpointer *c, const struct checkpoint_request *request)
{
    enum sim_status status = SIM_ERR_BUSY;

    sim_mutex_lock(&c->lock);
    if (!c->busy && !c->closed) {
        c->busy = true;
        take_request(c, request);
        status = SIM_OK;
    } else if (is_served_locked(c, request)) {
        status = SIM_INPROGRESS;
    } else if (c->busy && request->wait && !c->next.dir) {
        c->next = *request;
        c->next.dir = sim_strdup(request->dir);
        status = SIM_INPROGRESS;
    }
    sim_mutex_unlock(&c->lock);
    return status;
}

/* `request` is the current one. */
static enum sim_status start_thread(struct checkpointer *c)
{
    enum sim_status status = sim_thread_start(&c->thread, "checkpoint", checkpoint_main, c);
    if (status != SIM_OK) {
        sim_mutex_lock(&c->lock);
        c->busy = false;
        sim_cond_broadcast(&c->changed);
        sim_mutex_unlock(&c->lock);
    }
    return status;
}

enum sim_status checkpoint_start(struct checkpointer *c, const struct checkpoint_request *request)
{
    enum sim_status begun = begin(c, request);

    if (begun != SIM_OK)
        return begun == SIM_INPROGRESS ? SIM_OK : begun;
    sim_thread_join(&c->thread); /* the last one's, which has ended or is about to */
    return start_thread(c);
}

bool checkpointer_reserve(struct checkpointer *c)
{
    sim_mutex_lock(&c->lock);
    bool mine = !c->busy && !c->closed;
    if (mine) {
        c->busy = true;
        c->chain = 0;
    }
    sim_mutex_unlock(&c->lock);
    if (mine)
        sim_thread_join(&c->thread);
    return mine;
}

/* The request that waits is refused, and so are all later ones. */
static void refuse_all(struct checkpointer *c)
{
    struct checkpoint_result r = {.status = SIM_ERR_BUSY};

    sim_mutex_lock(&c->lock);
    struct checkpoint_request next = c->next;
    c->next.dir = NULL;
    c->closed = true;
    c->busy = false;
    sim_cond_broadcast(&c->changed);
    sim_mutex_unlock(&c->lock);
    if (next.dir && next.done)
        next.done(next.opaque, &r);
    sim_free((char *)next.dir);
}

void checkpointer_unreserve(struct checkpointer *c, bool here)
{
    if (!here)
        refuse_all(c);
    else if (take_next(c) && start_thread(c) != SIM_OK)
        sim_error("checkpoint: no image was made");
}

bool checkpoint_progress(struct checkpointer *c, unsigned *percent, uint64_t *given, uint64_t *stored)
{
    *percent = atomic_load_explicit(&c->percent, memory_order_relaxed);
    *given = atomic_load_explicit(&c->given, memory_order_relaxed);
    *stored = atomic_load_explicit(&c->stored, memory_order_relaxed);
    return atomic_load_explicit(&c->writing, memory_order_relaxed);
}

/* --- life --- */

struct checkpointer *checkpointer_create(struct machine *m, struct ranks *ranks,
                                         const struct checkpointer_ops *ops, void *opaque)
{
    struct checkpointer *c = sim_new(struct checkpointer);

    c->m = m;
    c->ranks = ranks;
    c->ops = ops;
    c->opaque = opaque;
    c->share = share_create(m, true);
    c->nr_parts = ranks ? m->sim->nr_ranks : 1;
    c->part = sim_new_array(struct ckpt_part, c->nr_parts);
    sim_mutex_init(&c->lock, SIM_RANK_LEAF);
    sim_cond_init(&c->changed);
    return c;
}

void checkpointer_close(struct checkpointer *c)
{
    sim_mutex_lock(&c->lock);
    c->closed = true;
    while (c->busy)
        sim_cond_wait(&c->changed, &c->lock);
    sim_mutex_unlock(&c->lock);
    sim_thread_join(&c->thread); /* its last word goes to who asked, who may be gone soon */
}

void checkpointer_destroy(struct checkpointer *c)
{
    if (!c)
        return;
    sim_thread_join(&c->thread);
    share_destroy(c->share);
    sim_cond_fini(&c->changed);
    sim_mutex_fini(&c->lock);
    sim_free(c->part);
    sim_free(c->last_store);
    sim_free(c->dir);
    sim_free(c);
}

void checkpointer_came_from(struct checkpointer *c, const struct ckpt_image *image)
{
    unsigned depth = 0;

    while (ckpt_image_manifest(image, depth))
        depth++;
    c->last = ckpt_image_manifest(image, 0)->self;
    c->last_store = sim_strdup(ckpt_image_store(image));
    c->chain = depth;
}
