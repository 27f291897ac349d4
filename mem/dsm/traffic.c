/* Who wants the pages of each segment, as its home sees it: what a home at each rank would have saved.
 *
 *   GET at the home -> traffic_count: its requester (2 messages), the rank that has the page (1) -> places of the segment
 *   now and then: dsm_take_traffic -> the segments whose home is worst placed; all counts begin anew
 *
 * A segment has four places. When more ranks share it, those that come seldom lose theirs (each that finds none takes as much
 * from all): who is left has at least so much more than the others together, or nobody is the natural home. */
#include <string.h>

#include "dsm_priv.h"

enum { REQUESTER_SAVES = 2, HOLDER_SAVES = 1 };

static struct dsm_traffic *traffic_of(struct dsm *d, uint64_t segment)
{
    struct dsm_traffic *t = &d->traffic[segment];

    if (!t->active) {
        t->active = true;
        d->active = dsm_grow(d->active, &d->cap_active, d->nr_active + 1, sizeof d->active[0]);
        d->active[d->nr_active++] = segment;
    }
    return t;
}

static unsigned find(const struct dsm_traffic *t, rank_t rank)
{
    unsigned i = 0;

    while (i < DSM_PLACES && t->saves[i] && t->rank[i] != rank)
        i++;
    return i;
}

/* Those with nothing left come last. */
static void take_from_all(struct dsm_traffic *t, uint32_t saves)
{
    struct dsm_traffic old = *t;
    unsigned n = 0;

    memset(t->saves, 0, sizeof t->saves);
    for (unsigned i = 0; i < DSM_PLACES; i++)
        if (old.saves[i] > saves) {
            t->rank[n] = old.rank[i];
            t->saves[n++] = old.saves[i] - saves;
        }
}

static void count(struct dsm_traffic *t, rank_t rank, uint32_t saves)
{
    unsigned i = find(t, rank);

    if (i == DSM_PLACES) {
        take_from_all(t, saves);
        return;
    }
    t->rank[i] = (uint16_t)rank;
    if (t->saves[i] <= UINT32_MAX - saves)
        t->saves[i] += saves;
}

void traffic_count(struct dsm *d, uint64_t page, rank_t requester, rank_t holder)
{
    struct dsm_traffic *t = traffic_of(d, page >> d->segment_bits);

    count(t, requester, REQUESTER_SAVES);
    count(t, holder, HOLDER_SAVES);
}

static struct dsm_segment_traffic sum_up(const struct dsm *d, uint64_t segment)
{
    const struct dsm_traffic *t = &d->traffic[segment];
    struct dsm_segment_traffic sum = {.segment = segment};

    for (unsigned i = 0; i < DSM_PLACES && t->saves[i]; i++) {
        if (t->rank[i] == d->me) {
            sum.home_saves = t->saves[i];
        } else if (t->saves[i] > sum.best_saves) {
            sum.best = t->rank[i];
            sum.best_saves = t->saves[i];
        }
    }
    return sum;
}

static int64_t gain(const struct dsm_segment_traffic *t)
{
    return (int64_t)t->best_saves - t->home_saves;
}

/* Into a list in falling order, dropping its last. */
static unsigned insert(struct dsm_segment_traffic *out, unsigned nr, unsigned max, const struct dsm_segment_traffic *t)
{
    unsigned at = nr;

    while (at && gain(&out[at - 1]) < gain(t))
        at--;
    if (at == max)
        return nr;
    if (nr < max)
        nr++;
    memmove(out + at + 1, out + at, (nr - 1 - at) * sizeof out[0]);
    out[at] = *t;
    return nr;
}

unsigned dsm_take_traffic(struct dsm *d, struct dsm_segment_traffic *out, unsigned max)
{
    unsigned nr = 0;

    sim_mutex_lock(&d->lock);
    for (unsigned i = 0; i < d->nr_active; i++) {
        uint64_t segment = d->active[i];
        struct dsm_segment_traffic sum = sum_up(d, segment);
        if (gain(&sum) > 0 && dsm_home(d, segment << d->segment_bits) == d->me)
            nr = insert(out, nr, max, &sum);
        d->traffic[segment] = (struct dsm_traffic){0};
    }
    d->nr_active = 0;
    sim_mutex_unlock(&d->lock);
    return nr;
}
