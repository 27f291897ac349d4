/* What this rank has learned of pages that come and go. A small table by a hash of the page: an entry is kept while
 * its page moves, and forgotten when another page needs the place.
 *
 *   a hold timed out (the page came for nothing)             -> the next one may last twice as long
 *   taken, and missed for writing before it could have
 *   gone and come back                                       -> it was taken too early: next time it stays twice as long
 *   taken, and missed for reading, or later                  -> half as long; soon it goes when it is asked for
 *
 * Who spins reading, or stores once and then waits for the other, so gives a page up at once; who adds to a counter
 * again and again keeps it for a few times as long as its way takes (less than executors spin for it), and others wait
 * for that long and no longer. */
#include "dsm_priv.h"

static struct dsm_habit *slot_of(struct dsm *d, uint64_t page)
{
    return &d->habit[page % DSM_HABITS];
}

static struct dsm_habit *habit_find(struct dsm *d, uint64_t page)
{
    struct dsm_habit *h = slot_of(d, page);

    return h->page == page ? h : NULL;
}

/* Takes the place from a page that has nothing to remember, or was not seen for long. */
static struct dsm_habit *habit_get(struct dsm *d, uint64_t page, uint64_t now)
{
    struct dsm_habit *h = slot_of(d, page);

    if (h->page == page)
        return h;
    if ((h->hold || h->stay) && now - h->seen < DSM_HABIT_NS)
        return NULL;
    *h = (struct dsm_habit){.page = page};
    return h;
}

/* --- holds --- */

uint64_t habit_hold_ns(struct dsm *d, uint64_t page)
{
    const struct dsm_habit *h = habit_find(d, page);
    uint64_t ns = d->config.hold_ns << (h ? h->hold : 0);

    return ns < d->config.hold_max_ns ? ns : d->config.hold_max_ns;
}

void habit_hold_failed(struct dsm *d, uint64_t page)
{
    uint64_t now = dsm_now(d);
    struct dsm_habit *h = habit_get(d, page, now);

    if (!h)
        return;
    h->seen = now;
    if (habit_hold_ns(d, page) < d->config.hold_max_ns)
        h->hold++;
}

/* --- stays --- */

void habit_used(struct dsm *d, uint64_t page)
{
    struct dsm_habit *h = habit_find(d, page);

    if (!h)
        return;
    h->hold -= h->hold > 0;
    h->seen = dsm_now(d);
    if (h->stay && !h->stays_until) /* once until it is taken: others wait */
        h->stays_until = h->seen + (d->stay_max_ns >> (DSM_STAYS - h->stay));
}

uint64_t habit_stays_until(struct dsm *d, uint64_t page)
{
    const struct dsm_habit *h = habit_find(d, page);

    return h ? h->stays_until : 0;
}

void habit_taken(struct dsm *d, uint64_t page)
{
    uint64_t now = dsm_now(d);
    struct dsm_habit *h = habit_get(d, page, now);

    if (!h)
        return;
    h->taken = true;
    h->seen = now;
    h->stays_until = 0;
}

void habit_missed(struct dsm *d, uint64_t page, bool write)
{
    struct dsm_habit *h = habit_find(d, page);

    if (!h || !h->taken)
        return;
    h->taken = false;
    if (write && dsm_now(d) - h->seen < d->way_ns)
        h->stay += h->stay < DSM_STAYS;
    else
        h->stay -= h->stay > 0;
}
