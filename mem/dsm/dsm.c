/* Creation, entry and exit of the engine, page words, and what is reported. */
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>

#include "dsm_priv.h"
#include "sharers.h"
#include "sim-core/alloc.h"

static void *reserve(uint64_t bytes)
{
    void *p = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE,
                   -1, 0);

    return p == MAP_FAILED ? NULL : p;
}

static uint64_t word_bytes(const struct dsm *d)
{
    return d->config.nr_pages * sizeof d->word[0];
}

static uint64_t dir_bytes(const struct dsm *d)
{
    return d->config.nr_pages * sizeof d->dir[0];
}

static uint64_t moved_bytes(const struct dsm *d)
{
    return dsm_nr_segments(d) * sizeof d->moved[0];
}

static uint64_t traffic_bytes(const struct dsm *d)
{
    return dsm_nr_segments(d) * sizeof d->traffic[0];
}

static enum sim_status map_tables(struct dsm *d)
{
    d->word = reserve(word_bytes(d));
    d->dir = reserve(dir_bytes(d));
    d->moved = reserve(moved_bytes(d));
    d->traffic = reserve(traffic_bytes(d));
    if (d->word && d->dir && d->moved && d->traffic)
        return SIM_OK;
    sim_error("cannot reserve %llu MiB for the states of guest pages: %m",
              (unsigned long long)((word_bytes(d) + dir_bytes(d) + moved_bytes(d) + traffic_bytes(d)) >> 20));
    return SIM_ERR_NOMEM;
}

enum sim_status dsm_create(const struct dsm_config *config, struct dsm **out)
{
    SIM_BUG_ON(!config->nr_pages, "coherent memory without pages");
    SIM_BUG_ON(config->segment_pages > DSM_SEGMENT_PAGES || config->segment_pages & (config->segment_pages - 1),
               "segments of %u pages", config->segment_pages);
    struct dsm *d = sim_new(struct dsm);

    d->config = *config;
    d->me = ic_rank(config->ic);
    d->nr_ranks = ic_nr_ranks(config->ic);
    d->group = sharers_group(d->nr_ranks);
    if (!d->config.segment_pages)
        d->config.segment_pages = DSM_SEGMENT_PAGES;
    d->segment_bits = (unsigned)__builtin_ctz(d->config.segment_pages);
    d->jitter = (uint64_t)d->me * 0x9e3779b97f4a7c15u + 1;
    if (!d->config.hold_ns)
        d->config.hold_ns = 200 * 1000;
    if (!d->config.hold_max_ns)
        d->config.hold_max_ns = 1000 * 1000;
    if (d->config.hold_max_ns < d->config.hold_ns)
        d->config.hold_max_ns = d->config.hold_ns;
    d->way_ns = DSM_WAY_NS + ic_poll_interval_ns(config->ic);
    d->run = config->blank ? DSM_RUN : 0;
    d->stay_max_ns = config->stay_max_ns ? config->stay_max_ns : 3 * d->way_ns;
    sim_mutex_init(&d->lock, SIM_RANK_DSM);
    sim_cond_init(&d->arrived);
    enum sim_status status = map_tables(d);
    if (status != SIM_OK) {
        dsm_destroy(d);
        return status;
    }
    messages_register(d);
    move_init(d);
    *out = d;
    return SIM_OK;
}

void dsm_destroy(struct dsm *d)
{
    if (!d)
        return;
    records_destroy(d);
    waiters_destroy(d);
    home_destroy(d);
    move_fini(d);
    if (d->traffic)
        munmap(d->traffic, traffic_bytes(d));
    if (d->moved)
        munmap((void *)d->moved, moved_bytes(d));
    if (d->dir)
        munmap(d->dir, dir_bytes(d));
    if (d->word)
        munmap((void *)d->word, word_bytes(d));
    sim_free(d->active);
    sim_free(d->local);
    sim_free(d->woken);
    sim_cond_fini(&d->arrived);
    sim_mutex_fini(&d->lock);
    sim_free(d);
}

void *dsm_grow(void *p, unsigned *cap, unsigned n, size_t size)
{
    if (n <= *cap)
        return p;
    *cap = n < 16 ? 16 : 2 * n;
    return sim_realloc(p, *cap * size);
}

uint64_t dsm_now(const struct dsm *d)
{
    return d->config.now ? d->config.now(d->config.opaque) : sim_host_ns();
}

void dsm_stop(struct dsm *d)
{
    atomic_store_explicit(&d->stopped, true, memory_order_relaxed);
    sim_mutex_lock(&d->lock);
    sim_cond_broadcast(&d->arrived);
    sim_mutex_unlock(&d->lock);
}

void dsm_fail(struct dsm *d, const char *fmt, ...)
{
    char text[200];
    va_list ap;

    if (atomic_exchange_explicit(&d->stopped, true, memory_order_relaxed))
        return;
    va_start(ap, fmt);
    vsnprintf(text, sizeof text, fmt, ap);
    va_end(ap);
    sim_error("coherent memory of rank %d: %s", (int)d->me, text);
    d->failure = "the coherence protocol was broken";
    sim_cond_broadcast(&d->arrived);
}

void dsm_enter(struct dsm *d)
{
    sim_mutex_lock(&d->lock);
}

/* Tells everything at once, or in pieces when more was granted than fits. */
static unsigned take_woken(struct dsm *d, uint64_t *page, unsigned max)
{
    unsigned n = d->nr_woken < max ? d->nr_woken : max;

    d->nr_woken -= n;
    memcpy(page, d->woken + d->nr_woken, n * sizeof page[0]);
    return n;
}

void dsm_leave(struct dsm *d)
{
    uint64_t page[32];
    unsigned n;

    messages_handle_local(d);
    if (SIM_UNLIKELY(d->moving.phase != MOVE_NONE))
        move_go_on(d);
    const char *failure = d->failure;
    d->failure = NULL;
    do {
        n = d->nr_woken ? take_woken(d, page, SIM_ARRAY_LEN(page)) : 0;
        sim_mutex_unlock(&d->lock);
        for (unsigned i = 0; i < n; i++)
            d->config.ops->granted(d->config.opaque, page[i]);
        if (n < SIM_ARRAY_LEN(page))
            break;
        sim_mutex_lock(&d->lock);
    } while (true);
    if (failure && d->config.ops->failed)
        d->config.ops->failed(d->config.opaque, failure);
}

rank_t dsm_home(const struct dsm *d, uint64_t page)
{
    /* H1: what move.c has written of its pages (H2). */
    unsigned moved = atomic_load_explicit(&d->moved[page >> d->segment_bits], memory_order_acquire);

    if (moved)
        return (rank_t)(moved - 1);
    return d->config.home(d->config.home_opaque, page);
}

enum dsm_state dsm_page_state(const struct dsm *d, uint64_t page)
{
    SIM_ASSERT(page < d->config.nr_pages);
    for (;;) {
        /* A1: what the page's bytes were when R1 (record_set_state) said so can be read now. */
        uint32_t state = atomic_load_explicit(&d->word[page], memory_order_acquire) & DSM_WORD_STATE;
        if (state)
            return (enum dsm_state)(state - 1);
        /* As its home says; but that moves (H2), and the word of a page that is in use says so before. */
        bool here = dsm_home(d, page) == d->me;
        if (!(atomic_load_explicit(&d->word[page], memory_order_relaxed) & DSM_WORD_STATE))
            return here ? DSM_EXCLUSIVE : DSM_INVALID;
    }
}

bool dsm_keeps(const struct dsm *d, uint64_t page)
{
    enum dsm_state state = dsm_page_state(d, page);
    uint32_t word = atomic_load_explicit(&d->word[page], memory_order_relaxed);

    return state == DSM_EXCLUSIVE || (state == DSM_SHARED && word & DSM_WORD_KEEPER);
}

bool dsm_is_settled(struct dsm *d)
{
    sim_mutex_lock(&d->lock);
    bool settled = !d->nr_coming && !d->moving.leads && d->moving.phase == MOVE_NONE;
    sim_mutex_unlock(&d->lock);
    return settled;
}

void dsm_get_stats(const struct dsm *d, struct dsm_stats *out)
{
    struct dsm *mine = (struct dsm *)d; /* only the lock changes */

    sim_mutex_lock(&mine->lock);
    *out = d->stats;
    sim_mutex_unlock(&mine->lock);
}

/* Inserts a page into the list of the hottest, dropping its last. */
static unsigned hottest_insert(struct dsm_hot_page *out, unsigned nr, unsigned max,
                               struct dsm_hot_page hot)
{
    unsigned at = nr;

    while (at && out[at - 1].transfers < hot.transfers)
        at--;
    if (at == max)
        return nr;
    if (nr < max)
        nr++;
    memmove(out + at + 1, out + at, (nr - 1 - at) * sizeof out[0]);
    out[at] = hot;
    return nr;
}

unsigned dsm_hottest(const struct dsm *d, struct dsm_hot_page *out, unsigned max)
{
    unsigned nr = 0;

    for (uint64_t page = 0; page < d->config.nr_pages; page++) {
        uint32_t word = atomic_load_explicit(&d->word[page], memory_order_relaxed);
        if (word >= DSM_WORD_COUNT)
            nr = hottest_insert(out, nr, max, (struct dsm_hot_page){page, word / DSM_WORD_COUNT});
    }
    return nr;
}
