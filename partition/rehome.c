/* The decision alone; mem/dsm/traffic.c counts, launch/ranks_homes.c asks and acts. */
#include "partition/rehome.h"

#include <string.h>

#define MS 1000000ull

enum {
    SEGMENT_GAIN = 20, /* messages in an interval: less is not worth its entries, which are two pages long */
    PAUSE_GAIN = 200, /* all together: a pause takes as long as a thousand messages, and it will last some intervals */
    MOST_DOUBLINGS = 6 /* a minute */
};

static const uint64_t pause_distance = 1000 * MS, stay = 1000 * MS;

static uint32_t gain_of(const struct part_traffic *t)
{
    return t->best_saves > t->home_saves ? t->best_saves - t->home_saves : 0;
}

static bool is_wish(const struct part_traffic *t)
{
    return t->best_saves > 2 * (uint64_t)t->home_saves && gain_of(t) >= SEGMENT_GAIN;
}

static bool was_wish(const struct part_rehome *r, const struct part_traffic *t)
{
    for (unsigned i = 0; i < r->nr_wishes; i++)
        if (r->wish[i].segment == t->segment && r->wish[i].to == t->best)
            return true;
    return false;
}

static struct part_recent_move *recent_of(struct part_rehome *r, uint64_t segment)
{
    for (unsigned i = 0; i < PART_REHOME_RECENT; i++)
        if (r->recent[i].moves && r->recent[i].segment == segment)
            return &r->recent[i];
    return NULL;
}

static bool may_move(struct part_rehome *r, uint64_t segment, uint64_t now_ns)
{
    const struct part_recent_move *m = recent_of(r, segment);

    return !m || now_ns >= m->not_before_ns;
}

/* In the place of what may move again soonest, if it is not known yet. */
static void note_move(struct part_rehome *r, uint64_t segment, uint64_t now_ns)
{
    struct part_recent_move *m = recent_of(r, segment);

    if (!m) {
        m = &r->recent[0];
        for (unsigned i = 1; i < PART_REHOME_RECENT; i++)
            if (r->recent[i].not_before_ns < m->not_before_ns)
                m = &r->recent[i];
        *m = (struct part_recent_move){.segment = segment};
    }
    m->not_before_ns = now_ns + (stay << (m->moves < MOST_DOUBLINGS ? m->moves : MOST_DOUBLINGS));
    m->moves++;
}

static void remember_wishes(struct part_rehome *r, const struct part_traffic *traffic, unsigned nr)
{
    r->nr_wishes = 0;
    for (unsigned i = 0; i < nr && r->nr_wishes < PART_REHOME_WISHES; i++)
        if (is_wish(&traffic[i]))
            r->wish[r->nr_wishes++] = (struct part_home_move){traffic[i].segment, traffic[i].best};
}

static bool is_chosen(const struct part_home_move *move, unsigned n, uint64_t segment)
{
    for (unsigned i = 0; i < n; i++)
        if (move[i].segment == segment)
            return true;
    return false;
}

/* Who saves most of those that are not chosen yet; NULL: none is left. */
static const struct part_traffic *next_best(struct part_rehome *r, const struct part_traffic *traffic, unsigned nr,
                                            uint64_t now_ns, const struct part_home_move *move, unsigned n)
{
    const struct part_traffic *best = NULL;

    for (unsigned i = 0; i < nr; i++) {
        const struct part_traffic *t = &traffic[i];
        if ((!best || gain_of(t) > gain_of(best)) && is_wish(t) && was_wish(r, t) && may_move(r, t->segment, now_ns) &&
            !is_chosen(move, n, t->segment))
            best = t;
    }
    return best;
}

unsigned part_rehome(struct part_rehome *r, const struct part_traffic *traffic, unsigned nr, uint64_t now_ns,
                     struct part_home_move *move, unsigned max)
{
    const struct part_traffic *t;
    uint64_t gain = 0;
    unsigned n = 0;

    while (n < max && now_ns >= r->not_before_ns && (t = next_best(r, traffic, nr, now_ns, move, n))) {
        move[n++] = (struct part_home_move){t->segment, t->best};
        gain += gain_of(t);
    }
    remember_wishes(r, traffic, nr);
    if (gain < PAUSE_GAIN)
        return 0;
    for (unsigned i = 0; i < n; i++)
        note_move(r, move[i].segment, now_ns);
    r->not_before_ns = now_ns + pause_distance;
    return n;
}

void part_rehome_result(struct part_rehome *r, bool hindered, uint64_t now_ns)
{
    if (!hindered) {
        r->hindered = 0;
        return;
    }
    if (r->hindered < MOST_DOUBLINGS)
        r->hindered++;
    r->not_before_ns = now_ns + (pause_distance << r->hindered);
}
