/* Records: a hash table of the pages that something is going on with. */
#include "dsm_priv.h"
#include "sim-core/alloc.h"

static const enum dsm_state visible[RANK_NR_STATES] = {
    [RANK_I] = DSM_INVALID,   [RANK_IS] = DSM_INVALID, [RANK_IE] = DSM_INVALID,
    [RANK_IEA] = DSM_INVALID, [RANK_IR] = DSM_INVALID, [RANK_S] = DSM_SHARED,
    [RANK_SE] = DSM_SHARED,   [RANK_SEA] = DSM_SHARED, [RANK_E] = DSM_EXCLUSIVE};

static const enum rank_state stable[] = {
    [DSM_INVALID] = RANK_I, [DSM_SHARED] = RANK_S, [DSM_EXCLUSIVE] = RANK_E};

/* Is the page on its way here? Of those that may come along (IR) the one that was asked for is. */
static bool is_coming(uint8_t state)
{
    return state != (uint8_t)stable[visible[state]] && state != RANK_IR;
}

/* What the word says. */
static enum rank_state resting(const struct dsm *d, uint64_t page)
{
    bool along = atomic_load_explicit(&d->word[page], memory_order_relaxed) & DSM_WORD_ALONG;

    return along ? RANK_IR : stable[dsm_page_state(d, page)];
}

static struct dsm_record **bucket_of(struct dsm *d, uint64_t page)
{
    return &d->bucket[(page * 0x9e3779b97f4a7c15u) >> 32 & (DSM_BUCKETS - 1)];
}

struct dsm_record *record_find(struct dsm *d, uint64_t page)
{
    struct dsm_record *r = *bucket_of(d, page);

    while (r && r->page != page)
        r = r->next;
    return r;
}

static struct dsm_record *record_new(struct dsm *d, uint64_t page)
{
    struct dsm_record *r = d->free_records;

    if (r)
        d->free_records = r->next;
    else
        r = sim_new(struct dsm_record);
    *r = (struct dsm_record){.page = page,
                             .state = (uint8_t)resting(d, page),
                             .waiters = DSM_NOBODY,
                             .hold_id = ++d->last_hold_id};
    return r;
}

struct dsm_record *record_get(struct dsm *d, uint64_t page)
{
    struct dsm_record *r = record_find(d, page);

    if (!r) {
        struct dsm_record **bucket = bucket_of(d, page);
        r = record_new(d, page);
        r->next = *bucket;
        *bucket = r;
    }
    return r;
}

static bool in_use(const struct dsm_record *r)
{
    return is_coming(r->state) || r->waiters != DSM_NOBODY ||
           r->pinners || r->pins || r->holds || r->requested;
}

void record_put(struct dsm *d, struct dsm_record *r)
{
    if (in_use(r))
        return;
    struct dsm_record **p = bucket_of(d, r->page);
    while (*p != r)
        p = &(*p)->next;
    *p = r->next;
    r->next = d->free_records;
    d->free_records = r;
}

/* Who is exclusive keeps the page until another rank is. */
static bool keeps_in(const struct dsm *d, const struct dsm_record *r, enum rank_state state)
{
    return state == RANK_E || (visible[state] == DSM_SHARED && dsm_keeps(d, r->page));
}

static void tell_move(struct dsm *d, const struct dsm_record *r, bool keeps)
{
    if (d->config.ops->moves && keeps != dsm_keeps(d, r->page))
        d->config.ops->moves(d->config.opaque, r->page, keeps);
}

/* The word's bits for a state. What was never here stays as at the start, unless it leaves its home. */
static uint32_t bits_of(const struct dsm *d, uint64_t page, enum rank_state state)
{
    bool never = visible[state] == DSM_INVALID && record_is_untouched(d, page) && dsm_home(d, page) != d->me;

    return (never ? 0 : (uint32_t)(visible[state] + 1)) | (state == RANK_IR ? DSM_WORD_ALONG : 0);
}

/* Who asked to write will. */
static bool will_be_written(const struct dsm_record *r, enum rank_state state, bool came, uint32_t word)
{
    return state == RANK_E && r->state != RANK_IS && r->state != RANK_IR && (came || (word & DSM_WORD_WRITTEN));
}

void record_set_state(struct dsm *d, struct dsm_record *r, enum rank_state state)
{
    bool came = visible[state] > visible[r->state], keeps = keeps_in(d, r, state);
    uint32_t word = atomic_load_explicit(&d->word[r->page], memory_order_relaxed);
    uint32_t mask = DSM_WORD_STATE | DSM_WORD_WRITTEN | DSM_WORD_KEEPER | DSM_WORD_ALONG;
    uint32_t now = (word & ~mask) | bits_of(d, r->page, state) | (keeps ? DSM_WORD_KEEPER : 0);

    tell_move(d, r, keeps);
    d->nr_coming += (uint32_t)is_coming((uint8_t)state) - (uint32_t)is_coming(r->state);
    if (will_be_written(r, state, came, word))
        now |= DSM_WORD_WRITTEN;
    r->state = (uint8_t)state;
    if (came && now < UINT32_MAX - DSM_WORD_COUNT)
        now += DSM_WORD_COUNT;
    /* R1: the bytes that came are there before anybody reads (A1 in dsm_page_state). */
    if (now != word)
        atomic_store_explicit(&d->word[r->page], now, memory_order_release);
}

/* A word of 0, as at the start, does not say that the page is exclusive. */
static void note(struct dsm *d, uint64_t page, uint32_t bits)
{
    uint32_t word = atomic_load_explicit(&d->word[page], memory_order_relaxed);

    atomic_store_explicit(&d->word[page], word | (DSM_EXCLUSIVE + 1) | DSM_WORD_KEEPER | bits, memory_order_release);
}

void record_used(struct dsm *d, uint64_t page)
{
    if (record_is_untouched(d, page))
        note(d, page, 0);
}

void record_written(struct dsm *d, uint64_t page)
{
    if (!record_is_written(d, page))
        note(d, page, DSM_WORD_WRITTEN);
}

void record_never_here(struct dsm *d, uint64_t page)
{
    uint32_t word = atomic_load_explicit(&d->word[page], memory_order_relaxed);

    if (record_is_untouched(d, page))
        atomic_store_explicit(&d->word[page], word | (DSM_INVALID + 1), memory_order_release);
}

static void free_chain(struct dsm_record *r)
{
    while (r) {
        struct dsm_record *next = r->next;
        sim_free(r);
        r = next;
    }
}

void records_destroy(struct dsm *d)
{
    free_chain(d->free_records);
    for (unsigned i = 0; i < DSM_BUCKETS; i++)
        free_chain(d->bucket[i]);
}
