/* Waiters (vCPUs) and what they hold. A page that came for a waiter is held for it until its
 * instruction has retired, or for hold_ns: so an instruction that needs several pages gets them
 * together, and a page is used at least once before it goes on. */
#include "dsm_priv.h"
#include "sim-core/alloc.h"

/* NULL: it never waited. Context: any. */
struct dsm_waiter *waiter_find(const struct dsm *d, uint32_t waiter)
{
    SIM_ASSERT(waiter < DSM_WAITERS);
    struct dsm_waiter *chunk =
        atomic_load_explicit(&d->waiters[waiter / DSM_WAITER_CHUNK], memory_order_acquire);

    return chunk ? &chunk[waiter % DSM_WAITER_CHUNK] : NULL;
}

static struct dsm_waiter *waiter_get(struct dsm *d, uint32_t waiter)
{
    SIM_BUG_ON(waiter >= DSM_WAITERS, "waiter %u", waiter);
    if (!waiter_find(d, waiter))
        atomic_store_explicit(&d->waiters[waiter / DSM_WAITER_CHUNK],
                              sim_new_array(struct dsm_waiter, DSM_WAITER_CHUNK),
                              memory_order_release);
    return waiter_find(d, waiter);
}

bool dsm_waiting(const struct dsm *d, uint32_t waiter)
{
    const struct dsm_waiter *w = waiter_find(d, waiter);

    return w && atomic_load_explicit(&w->waiting, memory_order_acquire);
}

/* --- waiting --- */

static void unlink_waiter(struct dsm *d, struct dsm_waiter *w)
{
    struct dsm_record *r = record_find(d, w->page);
    uint32_t *link = &r->waiters;

    while (waiter_find(d, *link) != w)
        link = &waiter_find(d, *link)->next;
    *link = w->next;
    atomic_store_explicit(&w->waiting, false, memory_order_release);
    record_put(d, r);
}

void waiter_wait(struct dsm *d, struct dsm_record *r, uint32_t waiter, bool write)
{
    struct dsm_waiter *w = waiter_get(d, waiter);

    if (atomic_load_explicit(&w->waiting, memory_order_relaxed)) {
        if (w->page == r->page) {
            w->write |= write;
            return;
        }
        unlink_waiter(d, w);
    }
    w->page = r->page;
    w->write = write;
    w->since = dsm_now(d);
    w->next = r->waiters;
    r->waiters = waiter;
    atomic_store_explicit(&w->waiting, true, memory_order_release);
}

static void tell(struct dsm *d, uint64_t page)
{
    d->woken = dsm_grow(d->woken, &d->cap_woken, d->nr_woken + 1, sizeof d->woken[0]);
    d->woken[d->nr_woken++] = page;
}

static void wake(struct dsm *d, struct dsm_record *r, struct dsm_waiter *w, uint64_t now)
{
    d->stats.waits++;
    d->stats.wait_ns_total += now - w->since;
    if (dsm_page_state(d, r->page) >= (w->write ? DSM_EXCLUSIVE : DSM_SHARED))
        waiter_hold(d, r, w);
    atomic_store_explicit(&w->waiting, false, memory_order_release);
}

void waiters_wake(struct dsm *d, struct dsm_record *r)
{
    uint32_t i = r->waiters;
    uint64_t now = dsm_now(d);

    hold_start(d, r);
    if (r->pinners)
        sim_cond_broadcast(&d->arrived);
    if (i == DSM_NOBODY)
        return;
    r->waiters = DSM_NOBODY;
    while (i != DSM_NOBODY) {
        struct dsm_waiter *w = waiter_find(d, i);
        i = w->next;
        wake(d, r, w, now);
    }
    tell(d, r->page);
}

/* --- holding --- */

static unsigned holds_of(const struct dsm_waiter *w)
{
    return atomic_load_explicit(&w->nr_holds, memory_order_relaxed);
}

/* The waiter's hold [i] ends; if it was not broken before, the page may be free for others. */
static void end_hold(struct dsm *d, struct dsm_waiter *w, unsigned i)
{
    struct dsm_hold hold = w->hold[i];
    unsigned last = holds_of(w) - 1;
    struct dsm_record *r = record_find(d, hold.page);

    w->hold[i] = w->hold[last];
    atomic_store_explicit(&w->nr_holds, (uint8_t)last, memory_order_relaxed);
    if (!r || r->hold_id != hold.id)
        return;
    if (!--r->holds)
        habit_used(d, r->page);
    hold_released(d, r);
    record_put(d, r);
}

static int find_hold(const struct dsm_waiter *w, uint64_t page)
{
    for (unsigned i = 0; i < holds_of(w); i++)
        if (w->hold[i].page == page)
            return (int)i;
    return -1;
}

void waiter_drop_hold(struct dsm *d, struct dsm_waiter *w, uint64_t page)
{
    int i = find_hold(w, page);

    if (i >= 0)
        end_hold(d, w, (unsigned)i);
}

void waiter_hold(struct dsm *d, struct dsm_record *r, struct dsm_waiter *w)
{
    int i = find_hold(w, r->page);

    if (i >= 0 && w->hold[i].id == r->hold_id)
        return;
    if (i < 0) {
        if (holds_of(w) == DSM_HOLDS)
            end_hold(d, w, 0);
        i = (int)holds_of(w);
        atomic_store_explicit(&w->nr_holds, (uint8_t)(i + 1), memory_order_relaxed);
    }
    w->hold[i] = (struct dsm_hold){r->page, r->hold_id};
    r->holds++;
}

/* What a waiter counts as having retired with: nothing held, nothing wanted. */
void dsm_retired(struct dsm *d, uint32_t waiter)
{
    struct dsm_waiter *w = waiter_find(d, waiter);

    if (!w || (!holds_of(w) && !atomic_load_explicit(&w->waiting, memory_order_relaxed)))
        return;
    dsm_enter(d);
    if (atomic_load_explicit(&w->waiting, memory_order_relaxed))
        unlink_waiter(d, w);
    while (holds_of(w))
        end_hold(d, w, holds_of(w) - 1);
    dsm_leave(d);
}

void waiters_destroy(struct dsm *d)
{
    for (unsigned i = 0; i < DSM_WAITERS / DSM_WAITER_CHUNK; i++)
        sim_free(atomic_load_explicit(&d->waiters[i], memory_order_relaxed));
}
