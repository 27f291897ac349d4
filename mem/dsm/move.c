/* Homes that move to another rank while everything runs; the protocol of a page knows nothing of it.
 *
 *   rank 0: HOLD (segments, their new homes) -> every rank: its GETs wait (put_off), vCPUs and devices run on with what they have
 *   a rank whose own GETs have been answered, and that has no pins: QUIET -> rank 0
 *   rank 0, all are: GO -> every rank, when the last DONEs are in: its directory has no transaction and no queue;
 *           old home: ENTRIES of a segment -> its new home; every rank: the table says where it is now
 *   a rank whose segments have left and come: MOVED -> rank 0, all have: RELEASE -> the GETs leave, for where homes are now
 *
 * Until GO it can be given up, for a page that is long in coming. Whoever sends two messages to one rank knows their order; no others
 * are relied on: DONEs are counted at their home (nr_busy), and between QUIET and RELEASE nobody sends a message of the protocol but them.
 *
 * What a home says of a page without words: it is exclusive there (a word of 0, dsm_page_state). So
 *   nobody has ever used it (run.c): it goes along with its home, as a gift does; zeros, nothing to revoke
 *   anything else: the old home's word says exclusive from now on, the new home's says invalid, and the entry says who has it */
#include <string.h>
#include <sys/mman.h>

#include "dsm_priv.h"
#include "sim-core/alloc.h"

enum move_kind { SAY_HOLD, SAY_QUIET, SAY_GO, SAY_ENTRIES, SAY_MOVED, SAY_RELEASE, SAY_NR };

/* HOLD: `nr` struct dsm_move follow; ENTRIES: `nr` struct move_entry, a segment's. */
struct move_head {
    uint32_t round;
    uint16_t kind, nr;
    uint64_t segment;
};

/* A directory entry between homes. */
struct move_entry {
    uint64_t sharers;
    uint16_t holder; /* a rank */
    uint8_t state, migrates;
    uint32_t untouched; /* nobody has ever used it */
};
_Static_assert(sizeof(struct move_entry) * DSM_SEGMENT_PAGES + sizeof(struct move_head) <= IC_MESSAGE_MAX,
               "a segment is a message");

/* --- segments --- */

static uint64_t first_page(const struct dsm *d, uint64_t segment)
{
    return segment << d->segment_bits;
}

static unsigned nr_pages(const struct dsm *d, uint64_t segment)
{
    uint64_t left = d->config.nr_pages - first_page(d, segment);

    return left < d->config.segment_pages ? (unsigned)left : d->config.segment_pages;
}

static rank_t home_of(const struct dsm *d, uint64_t segment)
{
    return dsm_home(d, first_page(d, segment));
}

static void set_home(struct dsm *d, uint64_t segment, rank_t rank)
{
    /* H2: who sees it (H1) sees the words that were written before. */
    atomic_store_explicit(&d->moved[segment], (uint16_t)(rank + 1), memory_order_release);
}

/* Does it change its home? The same on every rank. Plans may cut within a segment: it stays. */
static bool is_to_move(const struct dsm *d, uint64_t segment, uint32_t to)
{
    rank_t home = home_of(d, segment);

    for (unsigned i = 1; i < nr_pages(d, segment); i++)
        if (dsm_home(d, first_page(d, segment) + i) != home)
            return false;
    return home != (rank_t)to;
}

typedef void segment_fn(struct dsm *d, uint64_t segment, rank_t to);

/* How many segments of the move there are that change their home; `fn` (or NULL) is done with each. */
static uint64_t for_each(struct dsm *d, const struct dsm_move *move, unsigned nr, segment_fn *fn)
{
    uint64_t n = 0;

    for (unsigned i = 0; i < nr; i++)
        for (uint64_t s = move[i].first; s < move[i].first + move[i].nr; s++)
            if (is_to_move(d, s, move[i].to)) {
                n++;
                if (fn)
                    fn(d, s, (rank_t)move[i].to);
            }
    return n;
}

/* --- messages --- */

static void say(struct dsm *d, rank_t to, enum move_kind kind)
{
    const struct move_head head = {.round = d->moving.round, .kind = (uint16_t)kind};

    ic_send_small(d->config.ic, to, IC_TYPE_DSM + MSG_HOMES, &head, sizeof head);
}

static void say_to_all(struct dsm *d, enum move_kind kind)
{
    for (rank_t rank = 0; rank < d->nr_ranks; rank++)
        say(d, rank, kind);
}

/* --- entries leave and come --- */

static void tell_move(struct dsm *d, uint64_t page, bool keeps)
{
    if (d->config.ops->moves)
        d->config.ops->moves(d->config.opaque, page, keeps);
}

static struct move_entry take_entry(struct dsm *d, uint64_t page)
{
    const struct dsm_entry *e = &d->dir[page];

    if (d->config.blank && run_is_untouched(d, page) && home_never_left(d, page)) {
        tell_move(d, page, false);
        return (struct move_entry){.untouched = true};
    }
    record_used(d, page); /* or the word says so already */
    return (struct move_entry){.sharers = e->sharers,
                               .holder = (uint16_t)home_holder(d, page),
                               .state = e->state,
                               .migrates = e->migrates};
}

/* All zeros, as at a rank that never was the home; where it can be, without memory. */
static void forget_entries(struct dsm *d, uint64_t segment)
{
    struct dsm_entry *e = &d->dir[first_page(d, segment)];
    size_t bytes = nr_pages(d, segment) * sizeof *e;

    if (d->config.segment_pages < DSM_SEGMENT_PAGES || madvise(e, bytes, MADV_DONTNEED) != 0)
        memset(e, 0, bytes);
}

static void send_segment(struct dsm *d, uint64_t segment, rank_t to)
{
    struct move_entry entry[DSM_SEGMENT_PAGES];
    const struct move_head head = {d->moving.round, SAY_ENTRIES, (uint16_t)nr_pages(d, segment), segment};

    for (unsigned i = 0; i < head.nr; i++)
        entry[i] = take_entry(d, first_page(d, segment) + i);
    ic_send(d->config.ic, to, IC_TYPE_DSM + MSG_HOMES, &head, sizeof head, entry,
            (uint32_t)(head.nr * sizeof entry[0]));
    forget_entries(d, segment);
    set_home(d, segment, to);
}

/* Who waits here for a page that nobody has ever used need not ask for it any more. */
static void untouched_comes(struct dsm *d, uint64_t page)
{
    struct dsm_record *r = record_find(d, page);

    if (!r) {
        tell_move(d, page, true);
        return;
    }
    memset(d->config.bytes + (page << GUEST_PAGE_BITS), 0, GUEST_PAGE_SIZE);
    d->nr_put_off -= r->put_off;
    r->put_off = false;
    record_set_state(d, r, RANK_E);
    waiters_wake(d, r);
    record_put(d, r);
}

static void entry_comes(struct dsm *d, uint64_t page, const struct move_entry *e)
{
    if (e->untouched) {
        untouched_comes(d, page);
        return;
    }
    record_never_here(d, page);
    d->dir[page] = (struct dsm_entry){.sharers = e->sharers,
                                      .holder = (uint16_t)((rank_t)e->holder ^ d->me),
                                      .state = e->state,
                                      .migrates = e->migrates};
}

/* --- what a rank does, phase by phase --- */

static void leave(struct dsm *d, uint64_t segment, rank_t to)
{
    if (home_of(d, segment) == d->me)
        send_segment(d, segment, to);
    else if (to != d->me) /* else when its entries are here */
        set_home(d, segment, to);
}

bool move_puts_off(const struct dsm *d, bool urgent)
{
    return d->moving.phase != MOVE_NONE && !(urgent && d->moving.phase == MOVE_HOLDS);
}

void move_go_on(struct dsm *d)
{
    struct dsm_moving *m = &d->moving;

    if (m->phase == MOVE_HOLDS && d->nr_coming == d->nr_put_off && !d->nr_pins) {
        m->phase = MOVE_QUIET;
        say(d, 0, SAY_QUIET);
    }
    if (m->phase == MOVE_GOES && !d->nr_busy) {
        m->phase = MOVE_WAITS;
        (void)for_each(d, m->move, m->nr, leave);
    }
    if (m->phase == MOVE_WAITS && !m->due) {
        m->phase = MOVE_MOVED;
        say(d, 0, SAY_MOVED);
    }
}

static void count_due(struct dsm *d, uint64_t segment, rank_t to)
{
    (void)segment;
    d->moving.due += to == d->me;
}

static bool is_range(const struct dsm *d, const struct dsm_move *m)
{
    uint64_t end = dsm_nr_segments(d);

    return m->first < end && m->nr <= end - m->first && m->to < (uint32_t)d->nr_ranks;
}

/* Those that handle a message return false when it makes no sense. Context: under the lock. */
struct move_message {
    rank_t from;
    struct move_head head;
    const void *body;
};

static bool on_hold(struct dsm *d, const struct move_message *in)
{
    struct dsm_moving *m = &d->moving;

    if (in->from != 0 || m->phase != MOVE_NONE || in->head.nr > DSM_MOVES)
        return false;
    memcpy(m->move, in->body, in->head.nr * sizeof m->move[0]);
    for (unsigned i = 0; i < in->head.nr; i++)
        if (!is_range(d, &m->move[i]))
            return false;
    m->nr = in->head.nr;
    m->round = in->head.round;
    m->due = 0;
    (void)for_each(d, m->move, m->nr, count_due);
    m->phase = MOVE_HOLDS;
    return true;
}

static bool on_go(struct dsm *d, const struct move_message *in)
{
    if (in->from != 0 || d->moving.phase != MOVE_QUIET)
        return false;
    d->moving.phase = MOVE_GOES;
    return true;
}

static bool on_entries(struct dsm *d, const struct move_message *in)
{
    const uint64_t segment = in->head.segment;
    const struct move_entry *entry = in->body;

    if (d->moving.phase < MOVE_QUIET || !d->moving.due || segment >= dsm_nr_segments(d) || home_of(d, segment) != in->from ||
        in->head.nr != nr_pages(d, segment))
        return false;
    for (unsigned i = 0; i < in->head.nr; i++)
        if (entry[i].holder >= d->nr_ranks || (entry[i].state != HOME_X && entry[i].state != HOME_S))
            return false;
    for (unsigned i = 0; i < in->head.nr; i++)
        entry_comes(d, first_page(d, segment) + i, &entry[i]);
    set_home(d, segment, d->me);
    d->moving.due--;
    d->stats.homes_came++;
    return true;
}

static bool on_release(struct dsm *d, const struct move_message *in)
{
    if (in->from != 0 || d->moving.phase == MOVE_NONE)
        return false;
    d->moving.phase = MOVE_NONE;
    for (unsigned i = 0; d->nr_put_off && i < DSM_BUCKETS; i++)
        for (struct dsm_record *r = d->bucket[i]; r; r = r->next)
            if (r->put_off)
                rank_ask_now(d, r);
    sim_cond_broadcast(&d->arrived); /* who wants to pin */
    return true;
}

/* --- rank 0, which leads it --- */

/* Words of a move that was given up may come late. */
static bool is_late(const struct dsm_moving *m, const struct move_message *in)
{
    return !m->leads || in->head.round != m->led_round;
}

static void begin_phase(struct dsm *d, bool goes)
{
    d->moving.goes = goes;
    d->moving.said = 0;
    memset(d->moving.has_said, 0, (size_t)d->nr_ranks * sizeof d->moving.has_said[0]);
}

/* Each rank says it once in its phase. */
static bool says(struct dsm *d, const struct move_message *in, bool goes)
{
    struct dsm_moving *m = &d->moving;

    if (d->me != 0 || m->goes != goes || m->has_said[in->from])
        return false;
    m->has_said[in->from] = true;
    m->said++;
    return true;
}

static bool all_said(const struct dsm *d)
{
    return d->moving.said == (unsigned)d->nr_ranks;
}

static bool on_quiet(struct dsm *d, const struct move_message *in)
{
    if (d->me == 0 && is_late(&d->moving, in))
        return true;
    if (!says(d, in, false))
        return false;
    if (all_said(d)) {
        begin_phase(d, true);
        say_to_all(d, SAY_GO);
    }
    return true;
}

static void release(struct dsm *d)
{
    d->moving.leads = false;
    say_to_all(d, SAY_RELEASE);
}

static bool on_moved(struct dsm *d, const struct move_message *in)
{
    /* Who has said GO gives up no more. */
    if (is_late(&d->moving, in) || !says(d, in, true))
        return false;
    if (all_said(d))
        release(d);
    return true;
}

static void begin(struct dsm *d, const struct dsm_move *move, unsigned nr)
{
    const struct move_head head = {.round = ++d->moving.led_round, .kind = SAY_HOLD, .nr = (uint16_t)nr};

    d->moving.leads = true;
    begin_phase(d, false);
    for (rank_t rank = 0; rank < d->nr_ranks; rank++)
        ic_send(d->config.ic, rank, IC_TYPE_DSM + MSG_HOMES, &head, sizeof head, move,
                (uint32_t)(nr * sizeof move[0]));
}

/* Also while the RELEASE is under way to this rank itself. */
static bool is_moving(const struct dsm *d)
{
    return d->moving.leads || d->moving.phase != MOVE_NONE;
}

enum sim_status dsm_move_homes(struct dsm *d, const struct dsm_move *move, unsigned nr, uint64_t *nr_segments)
{
    SIM_BUG_ON(d->me != 0 || nr > DSM_MOVES, "rank %d moves %u ranges of homes", (int)d->me, nr);
    for (unsigned i = 0; i < nr; i++)
        SIM_BUG_ON(!is_range(d, &move[i]), "no such segments or rank");
    dsm_enter(d);
    bool busy = is_moving(d);
    if (!busy) {
        *nr_segments = for_each(d, move, nr, NULL);
        if (*nr_segments)
            begin(d, move, nr);
    }
    dsm_leave(d);
    return busy ? SIM_ERR_BUSY : SIM_OK;
}

bool dsm_is_moving(struct dsm *d)
{
    sim_mutex_lock(&d->lock);
    bool moving = is_moving(d);
    sim_mutex_unlock(&d->lock);
    return moving;
}

bool dsm_cancel_move(struct dsm *d)
{
    dsm_enter(d);
    bool early = d->moving.leads && !d->moving.goes;
    if (early)
        release(d);
    dsm_leave(d);
    return early;
}

/* --- what came --- */

static const struct {
    bool (*fn)(struct dsm *d, const struct move_message *in);
    const char *name;
    uint32_t each; /* bytes of each of `nr` */
} kinds[SAY_NR] = {
    [SAY_HOLD] = {on_hold, "hold", sizeof(struct dsm_move)}, [SAY_QUIET] = {on_quiet, "quiet", 0},
    [SAY_GO] = {on_go, "go", 0},                             [SAY_ENTRIES] = {on_entries, "entries", sizeof(struct move_entry)},
    [SAY_MOVED] = {on_moved, "moved", 0},                    [SAY_RELEASE] = {on_release, "release", 0},
};

static bool is_whole(const struct move_head *head, uint32_t len)
{
    return head->kind < SAY_NR && len == sizeof *head + head->nr * kinds[head->kind].each;
}

static void receive(void *opaque, rank_t from, const void *data, uint32_t len)
{
    struct dsm *d = opaque;
    struct move_message in = {.from = from, .body = (const uint8_t *)data + sizeof in.head};

    if (dsm_is_stopped(d))
        return;
    if (len >= sizeof in.head)
        memcpy(&in.head, data, sizeof in.head);
    dsm_enter(d);
    if (len < sizeof in.head || !is_whole(&in.head, len) || !kinds[in.head.kind].fn(d, &in))
        dsm_fail(d, "a message of %s about homes that move makes no sense (%u bytes)", ic_rank_name(d->config.ic, from), len);
    dsm_leave(d);
}

void move_init(struct dsm *d)
{
    d->moving.has_said = sim_new_array(bool, (size_t)d->nr_ranks);
    ic_register(d->config.ic, IC_TYPE_DSM + MSG_HOMES, "HOMES", receive, d);
}

void move_fini(struct dsm *d)
{
    sim_free(d->moving.has_said);
}
