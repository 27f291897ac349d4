/* Blocks on demand and ahead of it: both bring whole chunks. */
#include "checkpoint/pager.h"

#include <string.h>
#include <sys/uio.h>

#include "bitmap.h"
#include "format.h"
#include "sim-core/alloc.h"
#include "sim-core/lock.h"
#include "sim-core/log.h"

enum { MAX_THREADS = 8, SPINS = 1000, YIELDS = 4, NAP_NS = 50000 };

/* Owner: launch (start, destroy); any thread comes in through the guard. */
struct ckpt_pager {
    struct sim_guard guard; /* first */
    struct ckpt_pager_config config;
    const struct ckpt_space *space; /* NULL: the image has none */
    bitmap_word *claimed, *present; /* by local block */

    struct sim_mutex lock; /* a leaf; of what follows */
    struct sim_cond changed;
    struct idle_reader {
        struct idle_reader *next;
        struct ckpt_reader *reader;
    } *idle;
    unsigned next_hot;     /* what a prefetcher takes next */
    size_t next_extent;
    bitmap_word *taken;    /* by extent: a prefetcher brings its chunk */
    bool fetching;         /* somebody has begun to bring blocks ahead of their use; */
    unsigned nr_busy;      /* those who do, and have not ended */
    struct sim_thread thread[MAX_THREADS];

    _Atomic int status;    /* enum sim_status */
    atomic_bool stopping, done;
};

/* --- numbers --- */

static bool to_local(const struct ckpt_pager *p, uint64_t block, uint64_t *local)
{
    const struct ckpt_range *r = ckpt_range_of_block(&p->config.target, block);

    if (r)
        *local = r->local + (block - r->block);
    return r != NULL;
}

static bool to_block(const struct ckpt_pager *p, uint64_t local, uint64_t *block)
{
    const struct ckpt_range *r = ckpt_range_of_local(&p->config.target, local);

    if (r)
        *block = r->block + (local - r->local);
    return r != NULL;
}

/* Others' blocks come from their ranks. */
static bool is_ours(const struct ckpt_pager *p, uint64_t local)
{
    const struct ckpt_source *t = &p->config.target;

    return !t->owns || t->owns(t->opaque, local);
}

/* --- readers --- */

static struct idle_reader *get_reader(struct ckpt_pager *p)
{
    sim_mutex_lock(&p->lock);
    struct idle_reader *r = p->idle;
    if (r)
        p->idle = r->next;
    sim_mutex_unlock(&p->lock);
    if (!r) {
        r = sim_new(struct idle_reader);
        r->reader = ckpt_reader_create();
    }
    return r;
}

static void put_reader(struct ckpt_pager *p, struct idle_reader *r)
{
    sim_mutex_lock(&p->lock);
    r->next = p->idle;
    p->idle = r;
    sim_mutex_unlock(&p->lock);
}

static void fail(struct ckpt_pager *p, enum sim_status status)
{
    int ok = SIM_OK;

    if (atomic_compare_exchange_strong_explicit(&p->status, &ok, status, memory_order_acq_rel,
                                                memory_order_acquire) &&
        p->config.failed)
        p->config.failed(p->config.opaque);
}

static bool has_failed(const struct ckpt_pager *p)
{
    return atomic_load_explicit(&p->status, memory_order_acquire) != SIM_OK;
}

/* --- bringing a chunk --- */

/* Writes n blocks that we have claimed. */
static void install(struct ckpt_pager *p, uint64_t local, unsigned n, const uint8_t *data)
{
    if (ckpt_source_write(&p->config.target, local, n, data, "restore") != SIM_OK)
        fail(p, SIM_ERR_IO);
    for (unsigned i = 0; i < n; i++)
        atomic_fetch_or_explicit(&p->present[(local + i) / 64], 1ull << ((local + i) % 64),
                                 memory_order_release);
}

static bool claim(struct ckpt_pager *p, uint64_t local)
{
    return bitmap_claim(p->claimed, local / 64, 1ull << (local % 64)) != 0;
}

/* The extent's blocks out of the chunk's bytes, in runs of those that nobody else brings. */
static void install_extent(struct ckpt_pager *p, const struct ckpt_extent *e, const uint8_t *chunk)
{
    const uint8_t *data = chunk + (size_t)e->slot * FORMAT_BLOCK;
    unsigned n = 0; /* of the run that ends before block i */
    uint64_t local, first = 0;

    for (uint64_t i = 0; i < e->nr; i++) {
        bool mine = to_local(p, e->block + i, &local) && is_ours(p, local) && claim(p, local);
        if (n && (!mine || local != first + n)) {
            install(p, first, n, data + (i - n) * FORMAT_BLOCK);
            n = 0;
        }
        if (mine && n++ == 0)
            first = local;
    }
    if (n)
        install(p, first, n, data + (e->nr - n) * FORMAT_BLOCK);
}

/* Brings the chunk of extent i, which has data: the chunk is read for all that lie in it. */
static void bring(struct ckpt_pager *p, size_t i)
{
    struct idle_reader *r = get_reader(p);
    const struct ckpt_extent *e = p->space->extent;
    const uint32_t *list;
    const uint8_t *data;
    uint32_t nr;
    enum sim_status status = ckpt_image_chunk(p->config.image, r->reader, e[i].file, e[i].chunk, &data, &nr);

    if (status != SIM_OK)
        fail(p, status);
    size_t n = ckpt_space_same_chunk(p->space, i, &list);
    for (size_t k = 0; k < n && status == SIM_OK; k++)
        install_extent(p, &e[list[k]], data);
    put_reader(p, r);
}

/* --- on demand --- */

/* Others bring it. One that gives way may have no core before this one sleeps: yielding is not enough. */
static void wait_a_moment(unsigned n)
{
    if (n < SPINS)
        sim_cpu_relax();
    else if (n < SPINS + YIELDS)
        sim_thread_yield();
    else
        sim_thread_sleep(NAP_NS);
}

static void await(struct ckpt_pager *p, uint64_t local)
{
    for (unsigned n = 0; !bitmap_get(p->present, local) && !has_failed(p); n++)
        wait_a_moment(n);
}

/* The extent with data for the local block; nr_extents: the block is zero, or not the image's (or our) business. */
static size_t find(const struct ckpt_pager *p, uint64_t local)
{
    const struct ckpt_space *s = p->space;
    uint64_t block;

    if (!is_ours(p, local) || !to_block(p, local, &block))
        return s->nr_extents;
    size_t i = ckpt_space_search(s, block);
    bool has_data = i < s->nr_extents && s->extent[i].block <= block && s->extent[i].file != CKPT_ZERO;
    return has_data ? i : s->nr_extents;
}

static void before_block(struct ckpt_pager *p, uint64_t local)
{
    if (bitmap_get(p->present, local) || has_failed(p))
        return;
    size_t i = find(p, local);
    if (i == p->space->nr_extents) {
        atomic_fetch_or_explicit(&p->present[local / 64], 1ull << (local % 64),
                                 memory_order_release);
        return;
    }
    bring(p, i);
    await(p, local);
}

static void before(struct sim_guard *g, uint64_t first, uint64_t nr, bool write)
{
    struct ckpt_pager *p = (struct ckpt_pager *)g;

    (void)write;
    for (uint64_t i = 0; i < nr; i++)
        before_block(p, first + i);
}

/* --- ahead --- */

static bool all_present(struct ckpt_pager *p, const struct ckpt_extent *e)
{
    uint64_t local;

    for (uint64_t i = 0; i < e->nr; i++)
        if (to_local(p, e->block + i, &local) && is_ours(p, local) && !bitmap_get(p->present, local))
            return false;
    return true;
}

/* Nobody else takes an extent of that chunk. */
static void take_chunk(struct ckpt_pager *p, size_t i)
{
    const uint32_t *list;
    size_t n = ckpt_space_same_chunk(p->space, i, &list);

    for (size_t k = 0; k < n; k++)
        bitmap_claim(p->taken, list[k] / 64, 1ull << (list[k] % 64));
}

/* The next extent with something missing whose chunk nobody brings; false: no more. */
static bool take_next(struct ckpt_pager *p, size_t *out)
{
    const struct ckpt_space *s = p->space;
    bool found = false;

    sim_mutex_lock(&p->lock);
    for (; p->next_extent < s->nr_extents && !found; p->next_extent++) {
        const struct ckpt_extent *e = &s->extent[p->next_extent];
        found = e->file != CKPT_ZERO && !bitmap_get(p->taken, p->next_extent) && !all_present(p, e);
        *out = p->next_extent;
    }
    if (found)
        take_chunk(p, *out);
    sim_mutex_unlock(&p->lock);
    return found;
}

static bool take_hot(struct ckpt_pager *p, struct ckpt_hot *hot)
{
    sim_mutex_lock(&p->lock);
    bool found = ckpt_image_hot(p->config.image, p->next_hot, hot);
    p->next_hot += found;
    sim_mutex_unlock(&p->lock);
    return found;
}

static bool must_stop(struct ckpt_pager *p)
{
    return atomic_load_explicit(&p->stopping, memory_order_relaxed) || has_failed(p);
}

static void prefetch(struct ckpt_pager *p)
{
    struct ckpt_hot hot;
    uint64_t local;
    size_t i;

    if (strcmp(p->config.target.name, "ram") == 0)
        while (!must_stop(p) && take_hot(p, &hot))
            for (uint32_t k = 0; k < hot.nr && to_local(p, hot.block + k, &local); k++)
                before_block(p, local);
    while (!must_stop(p) && take_next(p, &i))
        bring(p, i);
}

/* What others have claimed may still be on its way. */
static void await_claimed(struct ckpt_pager *p)
{
    uint64_t nr_words = (p->config.target.nr_blocks + 63) / 64;
    unsigned n = SPINS; /* not urgent */

    for (uint64_t w = 0; w < nr_words && !must_stop(p); w++)
        while (atomic_load_explicit(&p->claimed[w], memory_order_acquire) &
                   ~atomic_load_explicit(&p->present[w], memory_order_acquire) &&
               !must_stop(p))
            wait_a_moment(n++);
}

static void complete(struct ckpt_pager *p)
{
    await_claimed(p);
    if (!must_stop(p))
        p->config.target.set_guard(p->config.target.opaque, NULL);
    sim_mutex_lock(&p->lock);
    atomic_store_explicit(&p->done, true, memory_order_release);
    sim_cond_broadcast(&p->changed);
    sim_mutex_unlock(&p->lock);
}

/* One more who brings blocks ahead? Not when that has ended already. */
static bool join(struct ckpt_pager *p)
{
    sim_mutex_lock(&p->lock);
    bool in = p->nr_busy || !p->fetching;
    p->fetching = true;
    p->nr_busy += in;
    sim_mutex_unlock(&p->lock);
    return in;
}

static void leave(struct ckpt_pager *p)
{
    sim_mutex_lock(&p->lock);
    bool last = --p->nr_busy == 0;
    sim_mutex_unlock(&p->lock);
    if (last)
        complete(p);
}

static void *prefetch_main(void *arg)
{
    struct ckpt_pager *p = arg;

    /* Whoever needs a block now brings it; and pages go between ranks whose threads sleep and wake all the time, each time behind
     * who uses the core otherwise. */
    sim_thread_give_way();
    prefetch(p);
    leave(p);
    return NULL;
}

/* --- life --- */

enum sim_status ckpt_pager_start(const struct ckpt_pager_config *config, struct ckpt_pager **out)
{
    struct ckpt_pager *p = sim_new(struct ckpt_pager);

    p->guard.before = before;
    p->config = *config;
    p->space = ckpt_image_find_space(config->image, config->target.name);
    sim_mutex_init(&p->lock, SIM_RANK_LEAF);
    sim_cond_init(&p->changed);
    if (!p->space || !p->space->nr_extents) {
        atomic_store_explicit(&p->done, true, memory_order_release);
        *out = p;
        return SIM_OK;
    }
    p->claimed = bitmap_create(config->target.nr_blocks);
    p->present = bitmap_create(config->target.nr_blocks);
    p->taken = bitmap_create(p->space->nr_extents);
    if (!p->claimed || !p->present || !p->taken) {
        sim_error("restore: no memory for %llu blocks of '%s'",
                  (unsigned long long)config->target.nr_blocks, config->target.name);
        ckpt_pager_destroy(p);
        return SIM_ERR_NOMEM;
    }
    config->target.set_guard(config->target.opaque, &p->guard);
    *out = p;
    return SIM_OK;
}

enum sim_status ckpt_pager_fetch(struct ckpt_pager *p)
{
    unsigned want = p->config.nr_threads < MAX_THREADS ? p->config.nr_threads : MAX_THREADS;

    if (ckpt_pager_is_done(p))
        return SIM_OK;
    for (unsigned i = 0; i < want && join(p); i++) {
        if (sim_thread_start(&p->thread[i], "prefetch", prefetch_main, p) == SIM_OK)
            continue;
        if (i) { /* those before bring it all */
            leave(p);
            return SIM_OK;
        }
        fail(p, SIM_ERR_NOMEM);
        leave(p);
        return SIM_ERR_NOMEM;
    }
    return SIM_OK;
}

bool ckpt_pager_is_done(const struct ckpt_pager *p)
{
    return atomic_load_explicit(&p->done, memory_order_acquire);
}

enum sim_status ckpt_pager_finish(struct ckpt_pager *p)
{
    if (!ckpt_pager_is_done(p) && join(p)) {
        prefetch(p);
        leave(p);
    }
    sim_mutex_lock(&p->lock);
    while (!ckpt_pager_is_done(p))
        sim_cond_wait(&p->changed, &p->lock);
    sim_mutex_unlock(&p->lock);
    return (enum sim_status)atomic_load_explicit(&p->status, memory_order_acquire);
}

void ckpt_pager_destroy(struct ckpt_pager *p)
{
    if (!p)
        return;
    atomic_store_explicit(&p->stopping, true, memory_order_relaxed);
    for (unsigned i = 0; i < MAX_THREADS; i++)
        sim_thread_join(&p->thread[i]);
    if (p->present)
        p->config.target.set_guard(p->config.target.opaque, NULL);
    while (p->idle) {
        struct idle_reader *r = p->idle;
        p->idle = r->next;
        ckpt_reader_destroy(r->reader);
        sim_free(r);
    }
    bitmap_destroy(p->claimed, p->config.target.nr_blocks);
    bitmap_destroy(p->present, p->config.target.nr_blocks);
    if (p->space)
        bitmap_destroy(p->taken, p->space->nr_extents);
    sim_cond_fini(&p->changed);
    sim_mutex_fini(&p->lock);
    sim_free(p);
}
