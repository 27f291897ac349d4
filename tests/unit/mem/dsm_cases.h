/* What cases of coherent memory are written in: ask, let all messages run, look. */
#ifndef DSM_CASES_H
#define DSM_CASES_H

#include "dsm_world.h"

static inline void settle(struct world *w)
{
    for (unsigned i = 0; world_step(w); i++)
        assert_in_range(i, 0, 10000);
}

static inline struct dsm_stats stats_of(struct world *w, unsigned rank)
{
    struct dsm_stats stats;

    dsm_get_stats(w->rank[rank].dsm, &stats);
    return stats;
}

static inline enum dsm_state state_of(struct world *w, unsigned rank, uint64_t page)
{
    return dsm_page_state(w->rank[rank].dsm, page);
}

/* Asks, lets all messages run, and asks again. */
static inline void get(struct world *w, unsigned rank, uint64_t page, bool write, uint32_t waiter)
{
    if (dsm_acquire(w->rank[rank].dsm, page, write, waiter) == DSM_WAIT)
        settle(w);
    assert_int_equal(dsm_acquire(w->rank[rank].dsm, page, write, waiter), DSM_OK);
}

static inline void get_and_retire(struct world *w, unsigned rank, uint64_t page, bool write)
{
    get(w, rank, page, write, 0);
    dsm_retired(w->rank[rank].dsm, 0);
}

static inline uint64_t messages_sent(struct world *w, enum dsm_message type)
{
    struct ic_counter counters[IC_TYPES];
    uint64_t n = 0;

    for (unsigned i = 0; i < w->nr_ranks; i++) {
        ic_counters(w->rank[i].ic, counters);
        n += counters[IC_TYPE_DSM + type].sent;
    }
    return n;
}

/* All at home at rank 0. */
static inline struct world *world_of_blank_pages(unsigned nr_ranks)
{
    return world_create_blank(1, nr_ranks, 2, WORLD_PAGES, WORLD_PAGES, 1);
}

#endif
