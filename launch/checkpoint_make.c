/* One image after another: the thread that makes them, and the cut. */
#include "checkpoint.h"

#include <inttypes.h>
#include <libfdt.h>
#include <stdatomic.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>

#include "checkpoint_state.h"
#include "image_config.h"
#include "sim-core/alloc.h"
#include "sim-core/lock.h"
#include "sim-core/log.h"

enum {
    STEP_BLOCKS = 4096,  /* between two looks at the time */
    MAX_CHAIN = 16,      /* images that stand on each other; then a full one */
    MAX_HOT_PAGES = 16384
};
#define REPORT_NS 3000000000ull

/* A space being saved. */
struct save_space {
    struct ckpt_source source;
    struct ckpt_snapshot *snapshot;
    struct ckpt_range range; /* drives */
    char name[CKPT_DRIVE_NAME];
};

/* Owner: the checkpoint thread while `busy`; the cut runs on the I/O thread while that one waits. */
struct checkpointer {
    struct machine *m;
    const struct checkpointer_ops *ops;
    void *opaque;
    struct ckpt_range *range;
    struct save_space space[1 + CONFIG_MAX_DRIVES];
    unsigned nr_spaces;

    struct sim_mutex lock; /* of busy, cut_done, last, chain */
    struct sim_cond changed;
    bool busy, closed, cut_done;
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
    struct ckpt_writer *writer;
    struct state_buf *section; /* parallel to objects */
    struct machine_objects objects;
    struct machine_state state;
    struct ckpt_manifest manifest;
    enum sim_status cut_status;
    uint64_t start_ns, pause_ns, report_ns;
    atomic_bool writing; /* and how far: */
    _Atomic unsigned percent;
    _Atomic uint64_t given, stored;
};

/* --- the cut: I/O thread, frozen world --- */

/* From the first cut on the files of drives stay as they are. */
static enum sim_status freeze_drives(struct checkpointer *c)
{
    c->nr_spaces = 1;
    for (unsigned i = 0; i < c->m->config->nr_drives; i++) {
        struct blockdev *b = c->m->block[i];
        struct save_space *s = &c->space[1 + i];
        struct blockdev_identity id;
        SIM_TRY(blockdev_identify(b, &id));
        SIM_TRY(blockdev_freeze(b, c->dir));
        c->state.drive[i] = (struct drive_state){id.size, id.mtime_ns};
        s->source = (struct ckpt_source){0};
        if (blockdev_overlay_fd(b) >= 0)
            machine_drive_source(b, i, &s->range, s->name, &s->source);
        c->nr_spaces++;
    }
    return SIM_OK;
}

static void save_states(struct checkpointer *c)
{
    const struct machine_objects *o = &c->objects;

    c->state.guest_ns = sim_clock_now(&c->m->sim->clock);
    c->state.carry_ps = c->m->sim->clock.carry_ps;
    c->state.cursor = c->ops->cursor(c->opaque);
    for (unsigned i = 0; i < o->nr; i++)
        state_save(o->list[i].desc, o->list[i].object, &c->section[i]);
}

static enum sim_status begin_snapshots(struct checkpointer *c)
{
    for (unsigned i = 0; i < c->nr_spaces; i++) {
        struct save_space *s = &c->space[i];
        ckpt_snapshot_end(s->snapshot); /* the last image's; nobody is inside its guard now */
        s->snapshot = NULL;
        if (!s->source.name)
            continue; /* a drive that cannot be written */
        SIM_TRY(ckpt_snapshot_begin(&s->source, c->incremental, &s->snapshot));
    }
    return SIM_OK;
}

struct hot {
    struct ckpt_writer *w;
    uint64_t first, nr, pages;
};

static void hot_flush(struct hot *h)
{
    if (h->nr)
        ckpt_writer_hot(h->w, h->first, (uint32_t)h->nr);
    h->nr = 0;
}

static void hot_page(void *opaque, gpa_t page)
{
    struct hot *h = opaque;
    uint64_t block = page >> GUEST_PAGE_BITS;

    if (h->pages >= MAX_HOT_PAGES || (h->nr && block - h->first < h->nr))
        return;
    h->pages++;
    if (!h->nr || block != h->first + h->nr) {
        hot_flush(h);
        h->first = block;
    }
    h->nr++;
}

static void save_working_set(struct checkpointer *c)
{
    struct hot hot = {.w = c->writer};

    for (uint32_t i = 0; c->m->cpus && i < c->m->sim->nr_vcpus && hot.pages < MAX_HOT_PAGES; i++)
        rv_hart_working_set(c->m->sim->vcpus[i], hot_page, &hot);
    hot_flush(&hot);
}

static void describe(struct checkpointer *c)
{
    struct ckpt_manifest *m = &c->manifest;

    m->guest_ns = c->state.guest_ns;
    m->nr_harts = c->m->sim->nr_vcpus;
    for (uint32_t i = 0; i < m->nr_harts; i++)
        m->guest_insns += c->m->sim->vcpus[i]->stats.insns;
}

static void take_all(struct checkpointer *c)
{
    save_states(c);
    save_working_set(c);
    machine_collect_dirty(c->m);
    c->cut_status = begin_snapshots(c);
    machine_write_protect(c->m);
    describe(c);
}

static void cut(void *opaque)
{
    struct checkpointer *c = opaque;
    uint64_t begin = sim_host_ns();

    c->ops->pause(c->opaque);
    machine_objects_settle(&c->objects);
    c->cut_status = freeze_drives(c);
    if (c->cut_status == SIM_OK)
        take_all(c);
    if (!c->request.stop || c->cut_status != SIM_OK)
        c->ops->resume(c->opaque);
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

static enum sim_status prepare(struct checkpointer *c)
{
    SIM_TRY(c->ops->ready(c->opaque));
    SIM_TRY(ckpt_store_open(c->dir, &c->store));
    c->incremental = c->request.incremental && can_build_on_last(c);
    SIM_TRY(ckpt_store_begin(c->store, &c->image));
    struct ckpt_writer_config config = {.folder = c->image.folder, .path = c->image.path};
    memcpy(config.id, c->image.ref.id, sizeof config.id);
    SIM_TRY(ckpt_writer_create(&config, &c->writer));
    machine_objects_list(c->m, &c->state, &c->objects);
    c->section = sim_new_array(struct state_buf, c->objects.nr);
    return SIM_OK;
}

/* --- after it --- */

static unsigned percent_done(const struct checkpointer *c)
{
    uint64_t done = 0, total = 1;

    for (unsigned i = 0; i < c->nr_spaces; i++) {
        uint64_t d, t;
        if (!c->space[i].snapshot)
            continue;
        ckpt_snapshot_progress(c->space[i].snapshot, &d, &t);
        done += d;
        total += t;
    }
    return (unsigned)(done * 100 / total);
}

static void report_progress(struct checkpointer *c)
{
    uint64_t now = sim_host_ns(), given, stored;
    unsigned percent = percent_done(c);

    ckpt_writer_progress(c->writer, &given, &stored);
    atomic_store_explicit(&c->percent, percent, memory_order_relaxed);
    atomic_store_explicit(&c->given, given, memory_order_relaxed);
    atomic_store_explicit(&c->stored, stored, memory_order_relaxed);
    if (c->request.done || now - c->report_ns < REPORT_NS)
        return;
    c->report_ns = now;
    sim_info("checkpoint: %u%%, %.2f GB/s, ratio %.1f", percent,
             (double)given / (double)(now - c->start_ns), stored ? (double)given / (double)stored : 0);
}

static enum sim_status write_space(struct checkpointer *c, struct save_space *s)
{
    uint64_t blocks = 0;
    bool done = false;

    for (unsigned i = 0; i < s->source.nr_ranges; i++)
        if (s->source.range[i].block + s->source.range[i].nr > blocks)
            blocks = s->source.range[i].block + s->source.range[i].nr;
    ckpt_writer_space(c->writer, s->source.name, blocks);
    while (!done) {
        SIM_TRY(ckpt_snapshot_next(s->snapshot, c->writer, STEP_BLOCKS, &done));
        SIM_TRY(ckpt_writer_status(c->writer));
        report_progress(c);
    }
    return SIM_OK;
}

static void write_sections(struct checkpointer *c)
{
    const void *fdt = c->m->fdt;

    for (unsigned i = 0; i < c->objects.nr; i++)
        ckpt_writer_section(c->writer, c->objects.list[i].name, c->section[i].data,
                            c->section[i].len);
    ckpt_writer_section(c->writer, "tree", fdt, fdt_totalsize(fdt));
}

static enum sim_status commit(struct checkpointer *c, struct ckpt_part *part)
{
    struct ckpt_manifest *m = &c->manifest;
    struct config config = *c->m->config; /* borrowed strings */

    m->self = c->image.ref;
    m->incremental = c->incremental;
    m->parent = c->last;
    m->created = time(NULL);
    m->part = part;
    m->nr_parts = 1;
    config.tree.builtin_sbi = c->m->builtin_sbi;
    m->machine = image_config_format(&config);
    enum sim_status status = ckpt_store_commit(c->store, &c->image, m);
    sim_free(m->machine);
    m->machine = NULL;
    m->part = NULL;
    return status;
}

static enum sim_status write_image(struct checkpointer *c, struct ckpt_part *part)
{
    enum sim_status status = SIM_OK;

    write_sections(c);
    atomic_store_explicit(&c->writing, true, memory_order_relaxed);
    for (unsigned i = 0; i < c->nr_spaces && status == SIM_OK; i++)
        if (c->space[i].snapshot)
            status = write_space(c, &c->space[i]);
    for (unsigned i = 0; i < c->m->config->nr_drives && status == SIM_OK; i++)
        status = blockdev_sync(c->m->block[i]); /* what the image takes for granted */
    atomic_store_explicit(&c->writing, false, memory_order_relaxed);
    if (status != SIM_OK) {
        ckpt_writer_abort(c->writer);
        c->writer = NULL;
        return status;
    }
    status = ckpt_writer_finish(c->writer, part);
    c->writer = NULL;
    SIM_TRY(status);
    return commit(c, part);
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

static enum sim_status make_image(struct checkpointer *c, struct ckpt_part *part)
{
    SIM_TRY(prepare(c));
    SIM_TRY(take_cut(c));
    enum sim_status status = write_image(c, part);

    remember(c, status == SIM_OK);
    if (status == SIM_OK)
        prune(c);
    else if (c->request.stop)
        c->ops->resume(c->opaque);
    return status;
}

/* --- the thread --- */

static void clean_up(struct checkpointer *c)
{
    for (unsigned i = 0; i < c->nr_spaces; i++)
        if (c->space[i].snapshot)
            ckpt_snapshot_release(c->space[i].snapshot);
    if (c->writer)
        ckpt_writer_abort(c->writer);
    c->writer = NULL;
    for (unsigned i = 0; c->section && i < c->objects.nr; i++)
        state_buf_fini(&c->section[i]);
    sim_free(c->section);
    c->section = NULL;
    machine_objects_fini(&c->objects);
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
    c->cut_done = false;
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

/* Makes the current image; true: another request has taken its place. */
static bool make_one(struct checkpointer *c)
{
    struct ckpt_part part = {0};
    struct checkpoint_result r = {.status = make_image(c, &part)};
    struct checkpoint_request request = c->request;
    char *path = r.status == SIM_OK ? sim_strdup(c->image.path) : NULL;

    r.path = path;
    r.incremental = c->incremental;
    r.pause_ns = c->pause_ns;
    r.total_ns = sim_host_ns() - c->start_ns;
    r.blocks = part.nr_blocks;
    r.guest_bytes = part.guest_bytes;
    r.stored_bytes = part.data_bytes + part.index_bytes;
    clean_up(c);
    bool more = take_next(c);
    if (!request.done)
        say(&r);
    else
        request.done(request.opaque, &r);
    sim_free(path);
    return more;
}

static void *checkpoint_main(void *arg)
{
    while (make_one(arg))
        ;
    return NULL;
}

/* SIM_OK: the caller starts the thread. SIM_INPROGRESS: the running one will come to it. */
static enum sim_status begin(struct checkpointer *c, const struct checkpoint_request *request)
{
    enum sim_status status = SIM_ERR_BUSY;

    sim_mutex_lock(&c->lock);
    if (!c->busy && !c->closed) {
        c->busy = true;
        status = SIM_OK;
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
    take_request(c, request);
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

void checkpointer_unreserve(struct checkpointer *c)
{
    if (take_next(c) && start_thread(c) != SIM_OK)
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

struct checkpointer *checkpointer_create(struct machine *m, const struct checkpointer_ops *ops,
                                         void *opaque)
{
    struct checkpointer *c = sim_new(struct checkpointer);

    c->m = m;
    c->ops = ops;
    c->opaque = opaque;
    c->range = sim_new_array(struct ckpt_range, machine_ram_ranges(m));
    machine_ram_source(m, c->range, &c->space[0].source);
    c->nr_spaces = 1;
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
}

void checkpointer_destroy(struct checkpointer *c)
{
    if (!c)
        return;
    sim_thread_join(&c->thread);
    for (unsigned i = 0; i < c->nr_spaces; i++)
        ckpt_snapshot_end(c->space[i].snapshot);
    sim_cond_fini(&c->changed);
    sim_mutex_fini(&c->lock);
    sim_free(c->range);
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
