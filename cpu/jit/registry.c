/* Regions and pages by guest-physical address; linking and invalidation.
 *
 * A region dies when a 64-byte line of its code is written: its entry becomes a jump that leaves for
 * a look-up, and jumps linked to it go back to their own look-up. Jump caches may keep the dead entry:
 * it leads to the look-up, which then replaces the cache's entry. */
#include "jit_priv.h"
#include "mem.h"
#include "sim-core/alloc.h"

static unsigned region_bucket(gpa_t gpa)
{
    return (unsigned)((gpa >> 1) * 0x9e3779b97f4a7c15ull >> 40) & (REGION_BUCKETS - 1);
}

static unsigned page_bucket(gpa_t gpa)
{
    return (unsigned)((gpa >> GUEST_PAGE_BITS) * 0x9e3779b97f4a7c15ull >> 48) & (PAGE_BUCKETS - 1);
}

static bool is_for(const struct jit_region *r, const struct rv_hart *h, gpa_t gpa)
{
    if (r->gpa != gpa || r->observed != h->observe_class || r->isa_class != h->isa_class || atomic_load_explicit(&r->dead, memory_order_relaxed))
        return false;
    if (r->uses_priv && r->priv != h->priv)
        return false;
    return !r->uses_fp || (r->fp_on == h->fp_on && r->frm == h->frm);
}

/* --- quick look-up --- */

static struct jit_quick_set *quick_set(struct jit *jit, gpa_t gpa)
{
    return &jit->quick[(gpa >> 1) * 0x9e3779b97f4a7c15ull >> 40 & (QUICK_SETS - 1)];
}

/* Has room for two kinds of harts; more look further. */
enum { QUICK_CLASSES = 2 };

static uint64_t quick_key(const struct rv_hart *h, gpa_t gpa)
{
    unsigned mode = h->priv | h->fp_on << 2 | h->frm << 3 | h->observe_class << 6 | (unsigned)h->isa_class << 7;

    return (gpa | 1) ^ (uint64_t)mode << 56; /* a gpa has 56 bits */
}

static struct jit_region *quick_find(struct jit *jit, gpa_t gpa, uint64_t key, const void **code)
{
    struct jit_quick_set *set = quick_set(jit, gpa);

    for (unsigned w = 0; w < 2; w++) {
        struct jit_quick *q = &set->way[w];
        /* Q1: pairs with Q2 in quick_put */
        if (atomic_load_explicit(&q->key, memory_order_acquire) != key)
            continue;
        /* Q3: acquired, so that the key is read again after them; pairs with Q4. (No fences:
         * ThreadSanitizer does not know them.) */
        struct jit_region *r = atomic_load_explicit(&q->region, memory_order_acquire);
        *code = atomic_load_explicit(&q->code, memory_order_acquire);
        if (atomic_load_explicit(&q->key, memory_order_relaxed) == key)
            return r;
    }
    return NULL;
}

static void quick_put(struct jit_quick *q, uint64_t key, struct jit_region *r, const void *code)
{
    atomic_store_explicit(&q->key, 0, memory_order_relaxed);
    /* Q4: who sees one of these sees the key gone; pairs with Q3 */
    atomic_store_explicit(&q->region, r, memory_order_release);
    atomic_store_explicit(&q->code, code, memory_order_release);
    /* Q2: pairs with Q1 */
    atomic_store_explicit(&q->key, key, memory_order_release);
}

static void quick_note(struct jit *jit, gpa_t gpa, uint64_t key, struct jit_region *r,
                       const void *code)
{
    struct jit_quick *way = quick_set(jit, gpa)->way;

    sim_mutex_lock(&jit->registry);
    if (!atomic_load_explicit(&r->dead, memory_order_relaxed)) {
        quick_put(&way[1], atomic_load_explicit(&way[0].key, memory_order_relaxed),
                  atomic_load_explicit(&way[0].region, memory_order_relaxed),
                  atomic_load_explicit(&way[0].code, memory_order_relaxed));
        quick_put(&way[0], key, r, code);
    }
    sim_mutex_unlock(&jit->registry);
}

static void quick_forget(struct jit *jit, const struct jit_region *r)
{
    struct jit_quick *way = quick_set(jit, r->gpa)->way;

    for (unsigned w = 0; w < 2; w++)
        if (atomic_load_explicit(&way[w].region, memory_order_relaxed) == r)
            quick_put(&way[w], 0, NULL, NULL);
}

struct jit_region *jit_find(struct jit *jit, const struct rv_hart *h, gpa_t gpa, const void **code)
{
    uint64_t key = quick_key(h, gpa);
    bool quick = h->isa_class < QUICK_CLASSES;
    struct jit_region *r = quick ? quick_find(jit, gpa, key, code) : NULL;

    if (r)
        return r;
    /* F1: pairs with F2 in jit_publish */
    r = atomic_load_explicit(&jit->bucket[region_bucket(gpa)], memory_order_acquire);
    while (r && !is_for(r, h, gpa))
        r = r->next;
    if (!r)
        return NULL;
    *code = jit->cache.rx + r->code.entry;
    if (quick)
        quick_note(jit, gpa, key, r, *code);
    return r;
}

struct jit_page *jit_page_get(struct jit *jit, gpa_t gpa)
{
    struct jit_page **list = &jit->page[page_bucket(gpa)];

    for (struct jit_page *p = *list; p; p = p->next)
        if (p->gpa == (gpa & GUEST_PAGE_MASK))
            return p;
    struct jit_page *p = sim_new(struct jit_page);

    p->gpa = gpa & GUEST_PAGE_MASK;
    p->epoch = ++jit->epochs;
    p->next = *list;
    *list = p;
    return p;
}

/* How often has this entry been translated before, and outgrown? */
static uint8_t earlier_tries(const struct jit_region *bucket, const struct jit_region *r)
{
    uint8_t tries = 0;

    for (; bucket; bucket = bucket->next)
        if (bucket->gpa == r->gpa && bucket->tries >= tries)
            tries = (uint8_t)(bucket->tries + 1);
    return tries;
}

void jit_publish(struct jit *jit, struct jit_region *r)
{
    _Atomic(struct jit_region *) *bucket = &jit->bucket[region_bucket(r->gpa)];

    r->page_next = r->page->regions;
    r->page->regions = r;
    r->page->lines |= r->lines;
    r->next = atomic_load_explicit(bucket, memory_order_relaxed);
    r->tries = earlier_tries(r->next, r);
    atomic_fetch_add_explicit(&jit->record_bytes, r->bytes, memory_order_relaxed);
    /* F2: the region is complete; pairs with F1 */
    atomic_store_explicit(bucket, r, memory_order_release);
    for (struct jit_listener *l = jit->listeners; SIM_UNLIKELY(l); l = l->next)
        l->region(l, jit, r);
}

void jit_add_listener(struct jit *jit, struct jit_listener *l)
{
    l->next = jit->listeners;
    jit->listeners = l;
}

void jit_remove_listener(struct jit *jit, struct jit_listener *l)
{
    for (struct jit_listener **at = &jit->listeners; *at; at = &(*at)->next) {
        if (*at == l) {
            *at = l->next;
            return;
        }
    }
}

static void kill_region(struct jit *jit, struct jit_region *r)
{
    atomic_store_explicit(&r->dead, true, memory_order_relaxed);
    atomic_fetch_add_explicit(&jit->dead_bytes, r->bytes, memory_order_relaxed);
    quick_forget(jit, r);
    ir_host_kill_entry(jit->host, &r->code);
    for (struct ir_code_exit *x = r->incoming, *next; x; x = next) {
        next = x->next;
        ir_host_unlink(jit->host, x);
        x->linked = NULL;
        x->next = NULL;
    }
    r->incoming = NULL;
}

static void take_off_page(struct jit_region *r)
{
    struct jit_region **at = &r->page->regions;

    r->page->lines = 0;
    while (*at) {
        if (*at == r) {
            *at = r->page_next;
        } else {
            r->page->lines |= (*at)->lines;
            at = &(*at)->page_next;
        }
    }
}

static bool has_instruction(const struct jit_region *r, gpa_t gpa)
{
    for (unsigned n = 0; n < r->nr_origins; n++)
        if (r->origin[n].offset == (gpa & ~GUEST_PAGE_MASK))
            return true;
    return false;
}

void jit_page_stops(const struct jit_page *page, const struct rv_hart *h, gpa_t entry,
                    uint64_t *stop)
{
    uint64_t line = 1ull << ((entry & ~GUEST_PAGE_MASK) / 64);

    for (const struct jit_region *r = page->regions; r; r = r->page_next) {
        unsigned slot = (unsigned)(r->gpa & ~GUEST_PAGE_MASK) / 2;
        bool back = (r->exit_lines & line) || ((r->lines & line) && has_instruction(r, entry)) ||
                    (r->returns && r->nr_origins <= SHORT_RETURN);
        if (is_for(r, h, r->gpa) && !back)
            stop[slot / 64] |= 1ull << (slot % 64);
    }
}

/* A loop of `from` runs through `to`, which was cold when `from` was translated: `from` goes, and is
 * translated again with what is known now. */
static bool outgrown(const struct jit_region *from, const struct jit_region *to)
{
    return from != to && from->tries < MAX_TRIES && has_instruction(to, from->gpa) &&
           !has_instruction(from, to->gpa);
}

static void link_locked(struct jit *jit, struct ir_code_exit *x, struct jit_region *target)
{
    struct jit_region *from = x->region;

    /* A page mapped anew without a fence may show other code at the same address; within one physical
     * page the offset says it all. */
    if (x->linked || from->page != target->page ||
        atomic_load_explicit(&target->dead, memory_order_relaxed) ||
        atomic_load_explicit(&from->dead, memory_order_relaxed))
        return;
    if (outgrown(from, target)) {
        kill_region(jit, from);
        take_off_page(from);
        return;
    }
    x->linked = target;
    x->next = target->incoming;
    target->incoming = x;
    ir_host_link(jit->host, x, target->code.inner);
}

void jit_link(struct jit *jit, struct ir_code_exit *exit_rw, struct jit_region *target)
{
    sim_mutex_lock(&jit->registry);
    link_locked(jit, exit_rw, target);
    sim_mutex_unlock(&jit->registry);
}

/* Out of its bucket: a look-up that stands on it goes on through its `next`. */
static void bury(struct jit *jit, struct jit_region *r)
{
    _Atomic(struct jit_region *) *bucket = &jit->bucket[region_bucket(r->gpa)];
    struct jit_region *at = atomic_load_explicit(bucket, memory_order_relaxed);

    if (at == r) {
        atomic_store_explicit(bucket, r->next, memory_order_release);
    } else {
        while (at->next != r)
            at = at->next;
        at->next = r->next;
    }
    r->page_next = jit->graves;
    jit->graves = r;
}

/* Who is linked to it goes to the new one from now on. */
static void move_links(struct jit *jit, struct jit_region *from, struct jit_region *to)
{
    struct ir_code_exit **last = &to->incoming;

    while (*last)
        last = &(*last)->next;
    *last = from->incoming;
    from->incoming = NULL;
    for (struct ir_code_exit *x = *last; x; x = x->next) {
        x->linked = to;
        ir_host_link(jit->host, x, to->code.inner);
    }
}

bool jit_replace(struct jit *jit, struct jit_region *old, struct jit_region *better)
{
    if (atomic_load_explicit(&old->dead, memory_order_relaxed) || old->observed != better->observed)
        return false;
    better->page = old->page;
    jit_publish(jit, better);
    better->tries = old->tries; /* this was none */
    move_links(jit, old, better);
    kill_region(jit, old);
    take_off_page(old);
    bury(jit, old);
    return true;
}

static uint64_t lines_of(gpa_t gpa, uint64_t len)
{
    unsigned first = (unsigned)(gpa & ~GUEST_PAGE_MASK) / 64;
    unsigned last = (unsigned)((gpa & ~GUEST_PAGE_MASK) + len - 1) / 64;

    uint64_t span = last - first == 63 ? UINT64_MAX : (1ull << (last - first + 1)) - 1;

    return span << first;
}

static void write_page(struct jit *jit, struct jit_page *page, uint64_t lines)
{
    struct jit_region **at = &page->regions;

    page->generation++;
    if (page->lines & lines) {
        page->lines = 0;
        while (*at) {
            struct jit_region *r = *at;
            if (r->lines & lines) {
                *at = r->page_next;
                kill_region(jit, r);
                bury(jit, r);
                atomic_fetch_add_explicit(&jit->count.invalidations, 1, memory_order_relaxed);
            } else {
                page->lines |= r->lines;
                at = &r->page_next;
            }
        }
    }
    if (!page->regions && !page->translating) {
        page->epoch = ++jit->epochs;
        mem_unmark_code(jit->space, page->gpa);
    }
}

/* `len` bytes within one page */
static void code_written(void *opaque, gpa_t gpa, uint64_t len)
{
    struct jit *jit = opaque;

    sim_mutex_lock(&jit->registry);
    for (struct jit_page *p = jit->page[page_bucket(gpa)]; p; p = p->next)
        if (p->gpa == (gpa & GUEST_PAGE_MASK)) {
            write_page(jit, p, lines_of(gpa, len));
            break;
        }
    sim_mutex_unlock(&jit->registry);
}

const struct mem_code_ops jit_code_ops = {.written = code_written};

/* Records are on the heap, where a guest could make them many times the code: of 400 nops they are 11 KiB, the code 130
 * bytes. In all they may take as much as the code. The dead, which a guest that writes code leaves, go earlier, but only
 * when few live beside them: those have to be translated again. */
bool jit_records_full(const struct jit *jit)
{
    uint64_t all = atomic_load_explicit(&jit->record_bytes, memory_order_relaxed);
    uint64_t dead = atomic_load_explicit(&jit->dead_bytes, memory_order_relaxed);

    return all > jit->cache.size || (dead > jit->cache.size / 8 && dead > all / 8 * 7);
}

static void free_list(struct jit_region *r, bool graves)
{
    while (r) {
        struct jit_region *next = graves ? r->page_next : r->next;
        sim_free(r);
        r = next;
    }
}

/* Tables that nothing was put into are not touched, nor empty entries written: the kernel gives memory for what is. */
void jit_registry_clear(struct jit *jit)
{
    /* vCPUs stand; devices write on, into code as well. */
    sim_mutex_lock(&jit->registry);
    if (!jit->epochs) { /* no page was ever made, so no region */
        sim_mutex_unlock(&jit->registry);
        return;
    }
    free_list(jit->graves, true);
    jit->graves = NULL;
    atomic_store_explicit(&jit->record_bytes, 0, memory_order_relaxed);
    atomic_store_explicit(&jit->dead_bytes, 0, memory_order_relaxed);
    for (unsigned n = 0; n < QUICK_SETS; n++)
        for (unsigned w = 0; w < 2; w++)
            if (atomic_load_explicit(&jit->quick[n].way[w].key, memory_order_relaxed))
                quick_put(&jit->quick[n].way[w], 0, NULL, NULL);
    for (unsigned n = 0; n < REGION_BUCKETS; n++) {
        struct jit_region *r = atomic_load_explicit(&jit->bucket[n], memory_order_relaxed);
        if (!r)
            continue;
        atomic_store_explicit(&jit->bucket[n], NULL, memory_order_relaxed);
        free_list(r, false);
    }
    for (unsigned n = 0; n < PAGE_BUCKETS; n++) {
        struct jit_page *p = jit->page[n];
        jit->page[n] = NULL;
        while (p) {
            struct jit_page *next = p->next;
            mem_unmark_code(jit->space, p->gpa);
            sim_free(p);
            p = next;
        }
    }
    sim_mutex_unlock(&jit->registry);
}
