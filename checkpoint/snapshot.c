/* Copy before write: who claims a block copies it, everybody else waits until that is done. */
#include "checkpoint/snapshot.h"

#include <string.h>

#include "bitmap.h"
#include "file_io.h"
#include "format.h"
#include "sim-core/alloc.h"
#include "sim-core/lock.h"
#include "sim-core/log.h"

enum { WORD_BLOCKS = 64, ASIDE_MAX = 16384 /* blocks: 64 MiB */, SPINS = 1000 };

/* A block's bytes before its first write. */
struct aside {
    struct aside *next;
    uint64_t local;
    uint8_t data[FORMAT_BLOCK];
};

/* Owner: the reading thread; guests' threads come in through the guard. */
struct ckpt_snapshot {
    struct sim_guard guard; /* first */
    struct ckpt_source source;
    bool incremental;
    bitmap_word *claimed, *done; /* by local block */
    uint64_t nr_words;
    _Atomic uint64_t word;       /* the reader's place */
    uint64_t data_end;           /* sparse: there is data up to this word */
    struct sim_mutex lock;       /* of `aside`; a leaf */
    struct sim_cond room;
    struct aside *aside;
    unsigned nr_aside;
    bool released;
    _Atomic int status;
    uint8_t buf[WORD_BLOCKS * FORMAT_BLOCK];
};

static void fail(struct ckpt_snapshot *s, enum sim_status status)
{
    int ok = SIM_OK;

    if (status != SIM_OK)
        atomic_compare_exchange_strong_explicit(&s->status, &ok, status, memory_order_relaxed,
                                                memory_order_relaxed);
}

static void read_blocks(struct ckpt_snapshot *s, uint64_t local, unsigned nr, uint8_t *to)
{
    fail(s, ckpt_source_read(&s->source, local, nr, to, "checkpoint"));
}

/* Is the block to be saved? It has been claimed; its dirty mark is cleared, unless the block and its mark are
 * another's. */
static bool wanted(struct ckpt_snapshot *s, uint64_t local)
{
    if (s->source.owns && !s->source.owns(s->source.opaque, local))
        return false;
    bool dirty = s->source.take_dirty(s->source.opaque, local);
    return dirty || !s->incremental;
}

/* --- the guests' side --- */

static void put_aside(struct ckpt_snapshot *s, uint64_t local, bool may_wait)
{
    struct aside *a = sim_zalloc(sizeof *a);

    a->local = local;
    read_blocks(s, local, 1, a->data);
    sim_mutex_lock(&s->lock);
    while (may_wait && s->nr_aside >= ASIDE_MAX && !s->released)
        sim_cond_wait(&s->room, &s->lock);
    a->next = s->aside;
    s->aside = a;
    s->nr_aside++;
    sim_mutex_unlock(&s->lock);
}

static void await(struct ckpt_snapshot *s, uint64_t local)
{
    for (unsigned spins = 0; !bitmap_get(s->done, local); spins++) {
        if (spins < SPINS)
            sim_cpu_relax();
        else
            sim_thread_yield();
    }
}

static void before_block(struct ckpt_snapshot *s, uint64_t local, bool may_wait)
{
    uint64_t bit = 1ull << (local % 64);

    if (bitmap_get(s->done, local))
        return;
    if (!bitmap_claim(s->claimed, local / 64, bit)) {
        await(s, local);
        return;
    }
    if (wanted(s, local))
        put_aside(s, local, may_wait);
    atomic_fetch_or_explicit(&s->done[local / 64], bit, memory_order_release);
}

static void before(struct sim_guard *g, uint64_t first, uint64_t nr, bool write)
{
    struct ckpt_snapshot *s = (struct ckpt_snapshot *)g;

    for (uint64_t i = 0; write && i < nr; i++)
        before_block(s, first + i, true);
}

/* What another rank had at the cut it saves itself; what leaves is saved by us, as if it were written. */
static void moves(struct sim_guard *g, uint64_t local, bool comes)
{
    struct ckpt_snapshot *s = (struct ckpt_snapshot *)g;
    uint64_t bit = 1ull << (local % 64);

    if (!comes)
        before_block(s, local, false);
    else if (bitmap_claim(s->claimed, local / 64, bit))
        atomic_fetch_or_explicit(&s->done[local / 64], bit, memory_order_release);
    else
        await(s, local);
}

/* --- the reader's side --- */

/* Consecutive blocks, of which those outside all ranges are left out. */
static void give(struct ckpt_snapshot *s, struct ckpt_writer *w, uint64_t local, unsigned nr,
                 const uint8_t *data)
{
    while (nr) {
        const struct ckpt_range *r = ckpt_range_of_local(&s->source, local);
        uint64_t room = r ? r->local + r->nr - local : 1;
        unsigned n = room < nr ? (unsigned)room : nr;
        if (r)
            ckpt_writer_blocks(w, r->block + (local - r->local), n, data);
        local += n;
        nr -= n;
        data += (size_t)n * FORMAT_BLOCK;
    }
}

static struct aside *take_aside(struct ckpt_snapshot *s)
{
    sim_mutex_lock(&s->lock);
    struct aside *list = s->aside;
    s->aside = NULL;
    s->nr_aside = 0;
    sim_cond_broadcast(&s->room);
    sim_mutex_unlock(&s->lock);
    return list;
}

static unsigned give_aside(struct ckpt_snapshot *s, struct ckpt_writer *w)
{
    unsigned given = 0;

    for (struct aside *a = take_aside(s), *next; a; a = next, given++) {
        next = a->next;
        give(s, w, a->local, 1, a->data);
        sim_free(a);
    }
    return given;
}

/* The first word from `word` on that has data; nr_words: none. */
static uint64_t next_data(struct ckpt_snapshot *s, uint64_t word)
{
    uint64_t first = word * WORD_BLOCKS, end = s->source.nr_blocks;

    if (!s->source.sparse || s->incremental || word < s->data_end)
        return word;
    if (!ckpt_source_next_data(&s->source, &first, &end))
        return s->nr_words;
    s->data_end = (end + WORD_BLOCKS - 1) / WORD_BLOCKS;
    return first / WORD_BLOCKS;
}

static uint64_t word_mask(const struct ckpt_snapshot *s, uint64_t word)
{
    uint64_t left = s->source.nr_blocks - word * WORD_BLOCKS;

    return left >= WORD_BLOCKS ? UINT64_MAX : (1ull << left) - 1;
}

/* The next run of ones from bit *i on: its length, and *i is where it begins; 0: there is none. */
static unsigned next_run(uint64_t bits, unsigned *i)
{
    unsigned n = 0;

    while (*i < WORD_BLOCKS && !(bits >> *i & 1))
        ++*i;
    while (*i + n < WORD_BLOCKS && bits >> (*i + n) & 1)
        n++;
    return n;
}

/* Takes the blocks of a word that nobody has taken; returns how many were given. */
static unsigned give_word(struct ckpt_snapshot *s, struct ckpt_writer *w, uint64_t word)
{
    uint64_t mine = bitmap_claim(s->claimed, word, word_mask(s, word)), want = 0;
    uint64_t first = word * WORD_BLOCKS;

    for (unsigned i = 0; i < WORD_BLOCKS; i++)
        if (mine >> i & 1 && wanted(s, first + i))
            want |= 1ull << i;
    for (unsigned i = 0, n; (n = next_run(want, &i)); i += n)
        read_blocks(s, first + i, n, s->buf + i * FORMAT_BLOCK);
    atomic_fetch_or_explicit(&s->done[word], mine, memory_order_release);
    for (unsigned i = 0, n; (n = next_run(want, &i)); i += n)
        give(s, w, first + i, n, s->buf + i * FORMAT_BLOCK);
    return (unsigned)__builtin_popcountll(want);
}

/* Everything is claimed: waits for those who are still copying aside. */
static void await_all(struct ckpt_snapshot *s)
{
    for (uint64_t word = 0; word < s->nr_words; word++) {
        uint64_t claimed = atomic_load_explicit(&s->claimed[word], memory_order_acquire);
        while (claimed & ~atomic_load_explicit(&s->done[word], memory_order_acquire))
            sim_thread_yield();
    }
}

enum sim_status ckpt_snapshot_next(struct ckpt_snapshot *s, struct ckpt_writer *w, unsigned max,
                                   bool *done)
{
    uint64_t word = atomic_load_explicit(&s->word, memory_order_relaxed);
    unsigned given = give_aside(s, w);

    for (; word < s->nr_words && given < max; word++) {
        word = next_data(s, word);
        if (word >= s->nr_words)
            break;
        given += give_word(s, w, word);
    }
    atomic_store_explicit(&s->word, word, memory_order_relaxed);
    *done = word >= s->nr_words;
    if (*done) {
        ckpt_snapshot_release(s);
        await_all(s);
        give_aside(s, w);
    }
    return (enum sim_status)atomic_load_explicit(&s->status, memory_order_relaxed);
}

void ckpt_snapshot_progress(const struct ckpt_snapshot *s, uint64_t *done, uint64_t *total)
{
    *done = atomic_load_explicit(&s->word, memory_order_relaxed) * WORD_BLOCKS;
    *total = s->source.nr_blocks;
}

/* --- life --- */

enum sim_status ckpt_snapshot_begin(const struct ckpt_source *source, bool incremental,
                                    struct ckpt_snapshot **out)
{
    struct ckpt_snapshot *s = sim_new(struct ckpt_snapshot);

    s->guard.before = before;
    s->guard.moves = moves;
    s->source = *source;
    s->incremental = incremental;
    s->nr_words = (source->nr_blocks + WORD_BLOCKS - 1) / WORD_BLOCKS;
    s->claimed = bitmap_create(source->nr_blocks);
    s->done = bitmap_create(source->nr_blocks);
    sim_mutex_init(&s->lock, SIM_RANK_LEAF);
    sim_cond_init(&s->room);
    if (!s->claimed || !s->done) {
        sim_error("checkpoint: no memory for %llu blocks of '%s'",
                  (unsigned long long)source->nr_blocks, source->name);
        s->released = true;
        ckpt_snapshot_end(s);
        return SIM_ERR_NOMEM;
    }
    source->set_guard(source->opaque, &s->guard);
    *out = s;
    return SIM_OK;
}

void ckpt_snapshot_release(struct ckpt_snapshot *s)
{
    if (s->released)
        return;
    s->source.set_guard(s->source.opaque, NULL);
    sim_mutex_lock(&s->lock);
    s->released = true;
    sim_cond_broadcast(&s->room);
    sim_mutex_unlock(&s->lock);
}

void ckpt_snapshot_end(struct ckpt_snapshot *s)
{
    if (!s)
        return;
    for (struct aside *a = s->aside, *next; a; a = next) {
        next = a->next;
        sim_free(a);
    }
    bitmap_destroy(s->claimed, s->source.nr_blocks);
    bitmap_destroy(s->done, s->source.nr_blocks);
    sim_cond_fini(&s->room);
    sim_mutex_fini(&s->lock);
    sim_free(s);
}
