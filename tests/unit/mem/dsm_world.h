/* Several ranks with coherent memory in this process, fake vCPUs with soft TLBs, and an oracle.
 *
 * A vCPU's instruction needs one or two pages. It fills its TLB through dsm_acquire as the real one
 * does, leaves when a page is on its way, and has to survive revokes at any step. All loads are
 * compared with what the last store anywhere wrote; bytes of invalid pages are poisoned, so that a
 * stale one is seen.
 *
 * Now and then everything stands still and an image of all memory begins (world_cut), as a checkpoint does it:
 * while the ranks go on, each saves the pages that it kept at the cut, before they are written or leave. */
#ifndef DSM_WORLD_H
#define DSM_WORLD_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdio.h>
#include <string.h>

#include "dsm_priv.h"
#include "sim-core/alloc.h"
#include "sim-core/log.h"

enum {
    WORLD_RANKS = 16,
    WORLD_CPUS = 3, /* per rank */
    WORLD_PAGES = 32,
    WORLD_PINS = 2 /* per rank */
};

enum world_op { OP_LOAD, OP_STORE, OP_INCREMENT, OP_COPY, OP_NR };

struct world_cpu {
    uint8_t tlb[WORLD_PAGES]; /* enum dsm_state that it may use */
    bool busy;
    enum world_op op;
    unsigned page, from; /* `from`: OP_COPY reads it */
    unsigned word;
    unsigned retired;
};

struct world_rank {
    struct world *world;
    rank_t rank;
    struct ic *ic;
    struct dsm *dsm;
    uint64_t *bytes;
    struct world_cpu cpu[WORLD_CPUS];
    struct {
        bool pinned, write;
        unsigned page;
    } pin[WORLD_PINS];
    /* by page */
    bool claimed[WORLD_PAGES]; /* saved, or not ours to save */
    bool marked[WORLD_PAGES];  /* written since the cut */
};

/* What the ranks make of a cut, and what it must be. */
struct world_image {
    unsigned saved[WORLD_PAGES]; /* how often */
    uint64_t bytes[WORLD_PAGES][512], want[WORLD_PAGES][512];
};

struct world {
    uint64_t seed, random, now;
    unsigned nr_ranks, nr_cpus, nr_pages;
    unsigned block; /* pages in a row with one home */
    struct ic_inproc *net;
    struct world_rank rank[WORLD_RANKS];
    uint64_t oracle[WORLD_PAGES][512];
    bool written[WORLD_PAGES]; /* since the cut */
    struct world_image image;
    unsigned cuts, moves, moves_given_up;
    uint64_t failures;
};

static inline uint64_t world_random(struct world *w, uint64_t below)
{
    uint64_t z = w->random += 0x9e3779b97f4a7c15u;

    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
    z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
    return (z ^ (z >> 31)) % below;
}

static inline rank_t world_home(void *opaque, uint64_t page)
{
    const struct world *w = opaque;

    return (rank_t)(page / w->block % w->nr_ranks);
}

static inline uint64_t world_now(void *opaque)
{
    return ((struct world_rank *)opaque)->world->now;
}

static inline void world_revoke(void *opaque, unsigned nr, const uint64_t page[],
                                const uint8_t to[])
{
    struct world_rank *r = opaque;

    for (unsigned i = 0; i < nr; i++)
        for (unsigned c = 0; c < WORLD_CPUS; c++)
            if (r->cpu[c].tlb[page[i]] > to[i])
                r->cpu[c].tlb[page[i]] = to[i];
}

static inline void world_granted(void *opaque, uint64_t page)
{
    (void)opaque, (void)page;
}

static inline void world_failed(void *opaque, const char *why)
{
    (void)why;
    ((struct world_rank *)opaque)->world->failures++;
}

/* --- an image of one instant, made while everything goes on --- */

static inline void world_save(struct world_rank *r, uint64_t page)
{
    struct world_image *image = &r->world->image;

    r->claimed[page] = true;
    if (!dsm_keeps(r->dsm, page))
        return;
    image->saved[page]++;
    memcpy(image->bytes[page], r->bytes + page * 512, GUEST_PAGE_SIZE);
}

static inline void world_moves(void *opaque, uint64_t page, bool keeps)
{
    struct world_rank *r = opaque;

    if (!keeps && !r->claimed[page])
        world_save(r, page);
    r->claimed[page] = true;
}

static inline bool world_take_mark(void *opaque, uint64_t page)
{
    struct world_rank *r = opaque;
    bool marked = r->marked[page];

    r->marked[page] = false;
    return marked;
}

static inline void world_put_mark(void *opaque, uint64_t page)
{
    ((struct world_rank *)opaque)->marked[page] = true;
}

static const struct dsm_enforce_ops world_ops = {.revoke = world_revoke,
                                                 .granted = world_granted,
                                                 .failed = world_failed,
                                                 .moves = world_moves,
                                                 .take_mark = world_take_mark,
                                                 .put_mark = world_put_mark};

/* `block`: 0, or homes have so many pages in a row, and those that nobody has used come along with others. Homes move by
 * `segment` pages. */
static inline struct world *world_create_blank(uint64_t seed, unsigned nr_ranks, unsigned nr_cpus,
                                               unsigned nr_pages, unsigned block, unsigned segment)
{
    struct world *w = sim_new(struct world);
    const struct ic_chaos chaos = {.seed = seed, .manual = true};

    w->seed = w->random = seed;
    w->nr_ranks = nr_ranks;
    w->nr_cpus = nr_cpus;
    w->nr_pages = nr_pages;
    w->block = block ? block : 1;
    assert_int_equal(ic_inproc_create(nr_ranks, &chaos, &w->net), SIM_OK);
    for (unsigned i = 0; i < nr_ranks; i++) {
        struct world_rank *r = &w->rank[i];
        r->world = w;
        r->rank = (rank_t)i;
        r->bytes = sim_zalloc_aligned(4096, nr_pages * GUEST_PAGE_SIZE);
        memset(r->claimed, true, sizeof r->claimed); /* no image yet */
        assert_int_equal(ic_inproc_join(w->net, (rank_t)i, NULL, &r->ic), SIM_OK);
        struct dsm_config config = {.ic = r->ic,
                                    .nr_pages = nr_pages,
                                    .bytes = (uint8_t *)r->bytes,
                                    .home = world_home,
                                    .home_opaque = w,
                                    .ops = &world_ops,
                                    .opaque = r,
                                    .blank = block != 0,
                                    .segment_pages = segment,
                                    .hold_ns = 2000,
                                    .hold_max_ns = 16000,
                                    .now = world_now};
        assert_int_equal(dsm_create(&config, &r->dsm), SIM_OK);
    }
    return w;
}

static inline struct world *world_create(uint64_t seed, unsigned nr_ranks, unsigned nr_cpus,
                                         unsigned nr_pages)
{
    return world_create_blank(seed, nr_ranks, nr_cpus, nr_pages, 0, 1);
}

static inline void world_destroy(struct world *w)
{
    for (unsigned i = 0; i < w->nr_ranks; i++) {
        ic_destroy(w->rank[i].ic);
        dsm_destroy(w->rank[i].dsm);
        sim_free(w->rank[i].bytes);
    }
    ic_inproc_destroy(w->net);
    sim_free(w);
}

/* A message somewhere, and ticks; false: nothing is under way, and nobody waits for time to pass.
 */
static inline bool world_step(struct world *w)
{
    bool busy = ic_inproc_step(w->net);

    w->now += 100;
    for (unsigned i = 0; i < w->nr_ranks; i++) {
        busy |= dsm_patience_ns(w->rank[i].dsm) != UINT64_MAX;
        dsm_tick(w->rank[i].dsm);
    }
    return busy;
}

#define world_fail(w, ...)                                                                         \
    do {                                                                                           \
        char text_[200];                                                                           \
        snprintf(text_, sizeof text_, __VA_ARGS__);                                                \
        fail_msg("seed %llu: %s", (unsigned long long)(w)->seed, text_);                           \
    } while (0)

/* One writer, or readers. */
static inline void world_check_states(struct world *w)
{
    for (unsigned page = 0; page < w->nr_pages; page++) {
        unsigned n[3] = {0};
        for (unsigned i = 0; i < w->nr_ranks; i++)
            n[dsm_page_state(w->rank[i].dsm, page)]++;
        if (n[DSM_EXCLUSIVE] > 1 || (n[DSM_EXCLUSIVE] && n[DSM_SHARED]))
            world_fail(w, "page %u: %u exclusive, %u shared", page, n[DSM_EXCLUSIVE],
                       n[DSM_SHARED]);
    }
}

/* Bytes of a page that is invalid mean nothing, unless only ACKs are missing: nobody may see them. Where it has never
 * been they are zero. */
static inline void world_poison(struct world *w, struct world_rank *r)
{
    unsigned page = (unsigned)world_random(w, w->nr_pages);

    struct dsm_record *record = record_find(r->dsm, page);

    bool kept = (record && record->state == RANK_IEA) || (r->dsm->config.blank && record_is_untouched(r->dsm, page));

    if (dsm_page_state(r->dsm, page) == DSM_INVALID && !kept)
        memset(r->bytes + page * 512, 0xdb, GUEST_PAGE_SIZE);
}

static inline void world_check_load(struct world *w, struct world_rank *r, unsigned page,
                                    unsigned word)
{
    if (r->bytes[page * 512 + word] != w->oracle[page][word])
        world_fail(w, "rank %d reads %llx of page %u word %u, the last written is %llx",
                   (int)r->rank, (unsigned long long)r->bytes[page * 512 + word], page, word,
                   (unsigned long long)w->oracle[page][word]);
}

static inline void world_store(struct world *w, struct world_rank *r, unsigned page, unsigned word,
                               uint64_t value)
{
    if (!r->claimed[page])
        world_save(r, page);
    r->marked[page] = w->written[page] = true;
    r->bytes[page * 512 + word] = value;
    w->oracle[page][word] = value;
}

/* Fills the vCPU's TLB; false: the page is on its way. */
static inline bool world_have(struct world_rank *r, unsigned c, unsigned page, bool write)
{
    enum dsm_state need = write ? DSM_EXCLUSIVE : DSM_SHARED;
    struct world_cpu *cpu = &r->cpu[c];

    if (cpu->tlb[page] >= need)
        return true;
    if (dsm_acquire(r->dsm, page, write, c) == DSM_WAIT)
        return false;
    cpu->tlb[page] = (uint8_t)need;
    return true;
}

static inline void world_execute(struct world *w, struct world_rank *r, struct world_cpu *cpu)
{
    unsigned page = cpu->page, word = cpu->word;

    switch (cpu->op) {
    case OP_LOAD:
        world_check_load(w, r, page, word);
        break;
    case OP_STORE:
        world_store(w, r, page, word, world_random(w, UINT64_MAX));
        break;
    case OP_INCREMENT:
        world_check_load(w, r, page, word);
        world_store(w, r, page, word, r->bytes[page * 512 + word] + 1);
        break;
    default:
        world_check_load(w, r, cpu->from, word);
        world_store(w, r, page, word, r->bytes[cpu->from * 512 + word]);
    }
}

static inline void world_fetch_instruction(struct world *w, struct world_cpu *cpu)
{
    cpu->busy = true;
    cpu->op = (enum world_op)world_random(w, OP_NR);
    cpu->page = (unsigned)world_random(w, w->nr_pages);
    cpu->from = (unsigned)world_random(w, w->nr_pages);
    cpu->word = (unsigned)world_random(w, 2) * 511;
}

/* One attempt of a vCPU at its instruction. */
static inline void world_run_cpu(struct world *w, struct world_rank *r, unsigned c)
{
    struct world_cpu *cpu = &r->cpu[c];

    if (dsm_waiting(r->dsm, c)) {
        /* An interrupt: the instruction is given up. */
        if (world_random(w, 64) == 0) {
            dsm_retired(r->dsm, c);
            cpu->busy = false;
        }
        return;
    }
    if (!cpu->busy)
        world_fetch_instruction(w, cpu);
    /* Two pages at once: the TLB entry of the first may go while the second is fetched. */
    for (unsigned tries = 0; tries < 2; tries++) {
        if (cpu->op == OP_COPY && !world_have(r, c, cpu->from, false))
            return;
        if (!world_have(r, c, cpu->page, cpu->op != OP_LOAD))
            return;
    }
    world_execute(w, r, cpu);
    dsm_retired(r->dsm, c);
    cpu->busy = false;
    cpu->retired++;
}

static inline bool world_is_settled(struct world *w)
{
    for (unsigned i = 0; i < w->nr_ranks; i++)
        if (!dsm_is_settled(w->rank[i].dsm))
            return false;
    return true;
}

static inline void world_settle(struct world *w)
{
    for (unsigned i = 0; i < w->nr_ranks; i++) {
        struct world_rank *r = &w->rank[i];
        for (unsigned k = 0; k < WORLD_PINS; k++)
            if (r->pin[k].pinned)
                dsm_unpin(r->dsm, r->pin[k].page);
        memset(r->pin, 0, sizeof r->pin);
    }
    for (unsigned steps = 0; !world_is_settled(w); steps++) {
        world_step(w);
        if (steps > 100000)
            world_fail(w, "pages never settle");
    }
}

/* Each page has one rank that keeps it, which knows whether it was written. */
static inline void world_check_keepers(struct world *w)
{
    for (unsigned page = 0; page < w->nr_pages; page++) {
        unsigned keepers = 0, marks = 0;
        for (unsigned i = 0; i < w->nr_ranks; i++) {
            keepers += dsm_keeps(w->rank[i].dsm, page);
            marks += w->rank[i].marked[page];
            if (w->rank[i].marked[page] && !dsm_keeps(w->rank[i].dsm, page))
                world_fail(w, "page %u: rank %u has its mark, but does not keep it", page, i);
        }
        if (keepers != 1 || marks != w->written[page])
            world_fail(w, "page %u: %u ranks keep it, %u have marked it", page, keepers, marks);
    }
}

/* All agree on each page's home, and no other rank has an entry of it. */
static inline void world_check_homes(struct world *w)
{
    for (unsigned page = 0; page < w->nr_pages; page++) {
        rank_t home = dsm_home(w->rank[0].dsm, page);
        for (unsigned i = 0; i < w->nr_ranks; i++) {
            struct dsm *d = w->rank[i].dsm;
            if (dsm_home(d, page) != home || (d->me != home && !home_never_left(d, page)))
                world_fail(w, "page %u: rank %u says that its home is rank %d, or has an entry; for rank 0 it is %d", page, i,
                           (int)dsm_home(d, page), (int)home);
        }
    }
}

static inline void world_end_image(struct world *w)
{
    for (unsigned i = 0; i < w->nr_ranks; i++)
        for (unsigned page = 0; page < w->nr_pages; page++)
            if (!w->rank[i].claimed[page])
                world_save(&w->rank[i], page);
    for (unsigned page = 0; w->cuts && page < w->nr_pages; page++)
        if (w->image.saved[page] != 1 || memcmp(w->image.bytes[page], w->image.want[page], GUEST_PAGE_SIZE))
            world_fail(w, "cut %u: page %u was saved %u times, or not as it was", w->cuts, page,
                       w->image.saved[page]);
}

static inline void world_cut(struct world *w)
{
    world_settle(w);
    world_check_keepers(w);
    world_check_homes(w);
    world_end_image(w);
    memset(&w->image, 0, sizeof w->image);
    memcpy(w->image.want, w->oracle, sizeof w->oracle);
    memset(w->written, 0, sizeof w->written);
    for (unsigned i = 0; i < w->nr_ranks; i++) {
        memset(w->rank[i].claimed, 0, sizeof w->rank[i].claimed);
        memset(w->rank[i].marked, 0, sizeof w->rank[i].marked);
    }
    w->cuts++;
}

/* The thread that writes an image comes to a page. */
static inline void world_read_image(struct world *w)
{
    struct world_rank *r = &w->rank[world_random(w, w->nr_ranks)];
    unsigned page = (unsigned)world_random(w, w->nr_pages);

    if (!r->claimed[page])
        world_save(r, page);
}

/* Some homes change their rank, from now on or not at all. */
static inline void world_move_homes(struct world *w)
{
    struct dsm *d = w->rank[0].dsm;
    uint64_t end = (w->nr_pages + d->config.segment_pages - 1) / d->config.segment_pages, n;
    uint64_t first = world_random(w, end), half = first + (end - first) / 2;
    const struct dsm_move move[] = {
        {.first = first, .nr = half - first, .to = (uint32_t)world_random(w, w->nr_ranks)},
        {.first = half, .nr = 1 + world_random(w, end - half), .to = (uint32_t)world_random(w, w->nr_ranks)}};

    if (world_random(w, 8) == 0)
        w->moves_given_up += dsm_cancel_move(d);
    else if (dsm_move_homes(d, move, SIM_ARRAY_LEN(move), &n) == SIM_OK)
        w->moves += n != 0;
}

/* A device: pins what is here, reads or writes later, unpins. */
static inline void world_run_device(struct world *w, struct world_rank *r)
{
    unsigned i = (unsigned)world_random(w, WORLD_PINS);
    unsigned page = (unsigned)world_random(w, w->nr_pages);
    enum dsm_state state = dsm_page_state(r->dsm, page);

    if (!r->pin[i].pinned && move_keeps_from_pinning(r->dsm)) {
        return; /* it would block, and this is the only thread */
    } else if (r->pin[i].pinned) {
        world_check_load(w, r, r->pin[i].page, 0);
        if (r->pin[i].write)
            world_store(w, r, r->pin[i].page, 0, world_random(w, UINT64_MAX));
        dsm_unpin(r->dsm, r->pin[i].page);
        r->pin[i].pinned = false;
    } else if (state != DSM_INVALID) {
        assert_int_equal(dsm_pin(r->dsm, page, state == DSM_EXCLUSIVE), SIM_OK);
        r->pin[i].pinned = true;
        r->pin[i].write = state == DSM_EXCLUSIVE;
        r->pin[i].page = page;
    } else {
        dsm_prefetch(r->dsm, page, 2);
    }
}

#endif
