/* The second tier (RV_JIT_AUTO): regions that were translated quickly and prove hot are translated again, with all
 * optimisations, by a thread of the background.
 *
 *   jit_run, turn over -> jit_tier_sample -> wanted -> thread: jit_compile -> made -> jit_tier_install -> publish, kill the old
 *
 * The harts never wait for the thread: it works on a copy of the page, fills a part of the code cache of its own, and its
 * lock is held for lists only. What it has made is installed by whichever hart comes by next, so that a thread of low
 * priority never holds the registry's lock. The old code is right all the time, and harts inside it stay there until
 * they leave by themselves. Only who empties the cache waits, for the translation in hand.
 *
 * Nothing here is guest state: what is translated, and when, changes no instruction's result nor where a turn ends. */
#include <string.h>

#include "jit_priv.h"
#include "mem.h"
#include "sim-core/alloc.h"
#include "sim-core/log.h"

enum {
    MAX_WANTED = 64,             /* a page's bytes each */
    FULL_BYTES = 128 << 10,      /* less room than that is none */
    PART_OF_CACHE = 4,           /* one in so many bytes of the cache is ours */
    MAX_WEIGHT = 1 << 16
};

/* Owner: the lists' lock, but source and made of the one that is worked at. */
struct jit_job {
    struct jit_job *next;
    struct jit_region *old;
    struct jit_region *made; /* NULL: it could not be */
    uint64_t generation;     /* of the page, when it was copied */
    bool dropped;            /* meanwhile all translations were forgotten */
    struct jit_source source;
    uint64_t stop[GUEST_PAGE_SIZE / 2 / 64];
    uint8_t bytes[GUEST_PAGE_SIZE];
};

struct jit_tier {
    struct jit *jit;
    struct sim_thread thread;
    struct sim_mutex lock; /* of the lists, `work` and `stop` */
    struct sim_cond changed;
    struct jit_job *wanted, **wanted_end;
    unsigned nr_wanted;
    struct jit_job *work; /* what the thread is at */
    struct jit_job *made;
    bool stop;
    _Atomic bool news; /* there is something made, or the part is full */
    struct sim_mutex filling; /* the part, while the thread fills it */
    struct ir_cache part;
    uint64_t part_start;
    _Atomic bool full;
    struct jit_translator translator;
};

/* --- the thread --- */

static void free_job(struct jit_job *job)
{
    sim_free(job->made);
    sim_free(job);
}

/* The next one, or NULL when it is time to end. */
static struct jit_job *take_job(struct jit_tier *t)
{
    sim_mutex_lock(&t->lock);
    while (!t->stop && !t->wanted)
        sim_cond_wait(&t->changed, &t->lock);
    struct jit_job *job = t->stop ? NULL : t->wanted;
    if (job) {
        t->wanted = job->next;
        if (!t->wanted)
            t->wanted_end = &t->wanted;
        t->nr_wanted--;
        t->work = job;
    }
    sim_mutex_unlock(&t->lock);
    return job;
}

static bool is_dropped(struct jit_tier *t, const struct jit_job *job)
{
    sim_mutex_lock(&t->lock);
    bool dropped = job->dropped;
    sim_mutex_unlock(&t->lock);
    return dropped;
}

static void translate(struct jit_tier *t, struct jit_job *job)
{
    sim_mutex_lock(&t->filling);
    /* Dropped before: the part may have been emptied. Later: who empties it waits for us. */
    if (!is_dropped(t, job)) {
        memcpy(t->translator.scan->stop, job->stop, sizeof job->stop);
        job->made = jit_compile(t->jit, &t->translator, &job->source);
        bool full = t->part.size - t->part.used < FULL_BYTES && t->part.used > t->part_start;
        atomic_store_explicit(&t->full, full, memory_order_relaxed);
        jit_cache_settle(&t->part);
    }
    sim_mutex_unlock(&t->filling);
}

static void hand_over(struct jit_tier *t, struct jit_job *job)
{
    sim_mutex_lock(&t->lock);
    t->work = NULL;
    if (job->dropped) {
        free_job(job);
    } else {
        job->next = t->made;
        t->made = job;
        atomic_store_explicit(&t->news, true, memory_order_relaxed);
    }
    sim_cond_broadcast(&t->changed);
    sim_mutex_unlock(&t->lock);
}

static void *work(void *arg)
{
    struct jit_tier *t = arg;
    struct jit_job *job;

    sim_thread_give_way();
    while ((job = take_job(t))) {
        translate(t, job);
        hand_over(t, job);
    }
    return NULL;
}

/* --- what is hot --- */

static struct jit_source source_of(const struct jit_region *r, const struct rv_hart *h, const uint8_t *bytes)
{
    return (struct jit_source){
        .bytes = bytes,
        .page = r->page->gpa,
        .offset = (unsigned)(r->gpa & ~GUEST_PAGE_MASK),
        .va_page = r->va_page,
        .hart = r->hart,
        .priv = r->priv,
        .frm = r->uses_fp ? r->frm : h->frm,
        .fp_on = r->uses_fp ? r->fp_on : h->fp_on,
        .isa = &h->isa,
        .isa_class = r->isa_class,
        .vtype = h->vtype,
        .vlenb = (unsigned)h->vlenb};
}

/* The region may go on wherever the old one did, even where there are translations by now. */
static void find_stops(const struct jit_region *r, const struct rv_hart *h, uint64_t *stop)
{
    jit_page_stops(r->page, h, r->gpa, stop);
    for (unsigned n = 0; n < r->nr_origins; n++) {
        unsigned slot = r->origin[n].offset / 2;
        stop[slot / 64] &= ~(1ull << (slot % 64));
    }
}

/* False: it is dead. */
static bool describe(struct jit *jit, const struct rv_hart *h, const struct jit_region *r, struct jit_job *job)
{
    const uint8_t *host = mem_ram_ptr(jit->space, r->page->gpa, GUEST_PAGE_SIZE);

    sim_mutex_lock(&jit->registry);
    bool alive = host && !atomic_load_explicit(&r->dead, memory_order_relaxed);
    if (alive) {
        /* Read before the bytes: who writes some of them later counts it up later. */
        job->generation = r->page->generation;
        find_stops(r, h, job->stop);
        mem_copy(job->bytes, host, sizeof job->bytes);
    }
    sim_mutex_unlock(&jit->registry);
    return alive;
}

/* False: there is enough to do. */
static bool enqueue(struct jit_tier *t, struct jit_job *job)
{
    sim_mutex_lock(&t->lock);
    bool room = t->nr_wanted < MAX_WANTED;
    if (room) {
        t->nr_wanted++;
        *t->wanted_end = job;
        t->wanted_end = &job->next;
        sim_cond_broadcast(&t->changed);
    }
    sim_mutex_unlock(&t->lock);
    return room;
}

static void want(struct jit_tier *t, struct rv_hart *h, struct jit_region *r)
{
    struct jit_job *job = sim_new(struct jit_job);

    job->old = r;
    job->source = source_of(r, h, job->bytes);
    if (describe(t->jit, h, r, job) && enqueue(t, job))
        return;
    atomic_store_explicit(&r->heat, 0, memory_order_relaxed); /* later, if it stays hot */
    free_job(job);
}

/* How many instructions the sample stands for: turns differ in length, above all on several ranks. */
static uint32_t weight(struct rv_hart *h)
{
    uint64_t now = rv_insns(h), since = now - h->jit->sampled;

    h->jit->sampled = now;
    return since < MAX_WEIGHT ? (uint32_t)since : MAX_WEIGHT;
}

static void heat(struct jit_tier *t, struct rv_hart *h, struct jit_region *r, uint32_t insns)
{
    uint32_t before = atomic_fetch_add_explicit(&r->heat, insns, memory_order_relaxed);

    if (before < t->jit->hot && before + insns >= t->jit->hot)
        want(t, h, r);
}

/* Regions are left at entries and loop heads only. One that has neither inside ends no turn itself: the next one does,
 * at its entry. */
static void heat_callers(struct jit_tier *t, struct rv_hart *h, struct jit_region *r, uint32_t insns)
{
    enum { MOST = 4 };
    struct jit_region *caller[MOST];
    unsigned nr = 0;

    sim_mutex_lock(&t->jit->registry);
    for (const struct ir_code_exit *x = r->incoming; x && nr < MOST; x = x->next) {
        struct jit_region *from = x->region;
        if (from->quick && !from->observed && !atomic_load_explicit(&from->dead, memory_order_relaxed))
            caller[nr++] = from;
    }
    sim_mutex_unlock(&t->jit->registry);
    while (nr)
        heat(t, h, caller[--nr], insns);
}

void jit_tier_sample(struct jit *jit, struct rv_hart *h, const struct ir_site *site)
{
    struct jit_region *r = ir_site_region(site);
    uint32_t insns = weight(h);

    if (r->quick && !r->observed)
        heat(jit->tier, h, r, insns);
    else if (site->origin == 0 && !r->loops_at_entry)
        heat_callers(jit->tier, h, r, insns);
}

/* --- the change --- */

static void install(struct jit *jit, struct jit_job *job)
{
    sim_mutex_lock(&jit->registry);
    bool good = job->made && job->old->page->generation == job->generation && jit_replace(jit, job->old, job->made);
    if (job->made && !good)
        atomic_store_explicit(&job->old->heat, 0, memory_order_relaxed);
    sim_mutex_unlock(&jit->registry);
    if (good) {
        atomic_fetch_add_explicit(&jit->count.promotions, 1, memory_order_relaxed);
        job->made = NULL;
    }
    free_job(job);
}

static struct jit_job *take_made(struct jit_tier *t)
{
    sim_mutex_lock(&t->lock);
    struct jit_job *list = t->made;
    t->made = NULL;
    atomic_store_explicit(&t->news, false, memory_order_relaxed);
    sim_mutex_unlock(&t->lock);
    return list;
}

bool jit_tier_has_news(const struct jit_tier *t)
{
    return atomic_load_explicit(&t->news, memory_order_relaxed);
}

void jit_tier_install(struct jit *jit)
{
    for (struct jit_job *job = take_made(jit->tier), *next; job; job = next) {
        next = job->next;
        install(jit, job);
    }
}

/* --- emptying --- */

static void drop_list(struct jit_job *list)
{
    for (struct jit_job *next; list; list = next) {
        next = list->next;
        free_job(list);
    }
}

static void drop_jobs(struct jit_tier *t)
{
    sim_mutex_lock(&t->lock);
    drop_list(t->wanted);
    drop_list(t->made);
    t->wanted = t->made = NULL;
    t->wanted_end = &t->wanted;
    t->nr_wanted = 0;
    if (t->work)
        t->work->dropped = true;
    sim_cond_broadcast(&t->changed);
    sim_mutex_unlock(&t->lock);
}

void jit_tier_flush(struct jit_tier *t)
{
    drop_jobs(t);
    sim_mutex_lock(&t->filling);
    t->part.used = t->part.settled = t->part_start;
    atomic_store_explicit(&t->full, false, memory_order_relaxed);
    sim_mutex_unlock(&t->filling);
}

bool jit_tier_is_full(const struct jit_tier *t)
{
    return atomic_load_explicit(&t->full, memory_order_relaxed);
}

/* --- coming and going --- */

static void init(struct jit_tier *t, struct jit *jit)
{
    t->jit = jit;
    t->wanted_end = &t->wanted;
    sim_mutex_init(&t->lock, SIM_RANK_LEAF);
    sim_mutex_init(&t->filling, SIM_RANK_JIT);
    sim_cond_init(&t->changed);
    t->part = jit->cache;
    t->part_start = sim_align_down(jit->cache.size - jit->cache.size / PART_OF_CACHE, GUEST_PAGE_SIZE);
    t->part.used = t->part.settled = t->part_start;
    SIM_BUG_ON(jit->cache.used > t->part_start, "a code cache of %llu bytes is too small for two parts",
               (unsigned long long)jit->cache.size);
    jit->cache.size = t->part_start;
    jit_translator_init(&t->translator, &t->part);
}

void jit_tier_destroy(struct jit *jit)
{
    struct jit_tier *t = jit->tier;

    if (!t)
        return;
    drop_jobs(t);
    sim_mutex_lock(&t->lock);
    t->stop = true;
    sim_cond_broadcast(&t->changed);
    sim_mutex_unlock(&t->lock);
    sim_thread_join(&t->thread);
    jit_translator_fini(&t->translator);
    jit->cache.size = t->part.size;
    sim_cond_fini(&t->changed);
    sim_mutex_fini(&t->filling);
    sim_mutex_fini(&t->lock);
    sim_free(t);
    jit->tier = NULL;
}

/* Without a thread everything is translated well at once. */
void jit_tier_create(struct jit *jit)
{
    jit->tier = sim_new(struct jit_tier);
    init(jit->tier, jit);
    if (sim_thread_start(&jit->tier->thread, "translator", work, jit->tier) == SIM_OK)
        return;
    jit_tier_destroy(jit);
    jit->options.tier = RV_JIT_OPT;
}

void jit_settle(struct jit *jit)
{
    struct jit_tier *t = jit->tier;

    if (!t)
        return;
    sim_mutex_lock(&t->lock);
    while (t->wanted || t->work)
        sim_cond_wait(&t->changed, &t->lock);
    sim_mutex_unlock(&t->lock);
}
