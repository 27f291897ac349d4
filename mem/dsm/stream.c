/* Pages fetched ahead for a vCPU that goes through memory page by page, upwards or downwards.
 *
 *   miss next to the last one of a stream -> its run grows -> long enough: GETs of the next pages, several at once
 *   first use of a page that was fetched ahead (a bit of its word) -> the window grows, and moves on
 *   taken by another rank before its use -> useless: longer runs are asked for, until others were useful
 *
 * A vCPU follows a few streams at once (a copy has two). What is under way is bounded by the window of each. */
#include "dsm_priv.h"

enum { RUN = 2, WINDOW_MIN = 4, WINDOW_MAX = 16, DISTRUST_MAX = 16 };

static bool is_enough(const struct dsm *d, uint64_t page, bool write)
{
    return dsm_page_state(d, page) >= (write ? DSM_EXCLUSIVE : DSM_SHARED);
}

void stream_set_ahead(struct dsm *d, uint64_t page, bool ahead)
{
    uint32_t word = atomic_load_explicit(&d->word[page], memory_order_relaxed);

    word = ahead ? word | DSM_WORD_AHEAD : word & ~(uint32_t)DSM_WORD_AHEAD;
    atomic_store_explicit(&d->word[page], word, memory_order_release);
}

/* False: it is here, or on its way. */
static bool fetch(struct dsm *d, uint64_t page, bool write)
{
    if (is_enough(d, page, write))
        return false;
    struct dsm_record *r = record_get(d, page);
    bool idle = r->state == RANK_I || r->state == RANK_S;
    if (idle)
        rank_handle(d, r, write ? ON_WRITE : ON_READ, &(struct rank_input){.from = d->me});
    record_put(d, r);
    return idle;
}

/* Pages are not negative: behind page 0 comes one that does not exist. */
static uint64_t ahead_of(const struct dsm_stream *s, uint64_t page, unsigned n)
{
    return s->down ? page - n : page + n;
}

static void fetch_window(struct dsm *d, struct dsm_stream *s, bool write)
{
    for (unsigned i = 1; i <= s->window; i++) {
        uint64_t page = ahead_of(s, s->last, i);
        if (page >= d->config.nr_pages)
            break;
        if (!fetch(d, page, write))
            continue;
        stream_set_ahead(d, page, true);
        d->stats.fetched_ahead++;
    }
}

/* Or is the last one itself, asked for again. */
static bool follows(struct dsm_stream *s, uint64_t page)
{
    if (page == s->last)
        return true;
    bool up = page == s->last + 1, down = page + 1 == s->last;

    if (s->run && s->down != down)
        return false;
    s->down = down;
    return up || down;
}

/* The stream that the page belongs to, or a new one in the place of the one that was longest not used. */
static struct dsm_stream *stream_of(struct dsm_waiter *w, uint64_t page)
{
    for (unsigned i = 0; i < DSM_STREAMS; i++)
        if (follows(&w->stream[i], page))
            return &w->stream[i];
    struct dsm_stream *s = &w->stream[w->next_stream++ % DSM_STREAMS];
    *s = (struct dsm_stream){.last = page};
    return s;
}

static void advance(struct dsm_stream *s, uint64_t page)
{
    s->run += s->last != page && s->run < UINT16_MAX;
    s->last = page;
}

void stream_missed(struct dsm *d, struct dsm_waiter *w, uint64_t page, bool write)
{
    struct dsm_stream *s = stream_of(w, page);

    advance(s, page);
    if (s->run < RUN + d->distrust)
        return;
    if (!s->window)
        s->window = WINDOW_MIN;
    fetch_window(d, s, write);
}

void stream_used(struct dsm *d, struct dsm_waiter *w, uint64_t page, bool write)
{
    stream_set_ahead(d, page, false);
    d->stats.ahead_used++;
    d->distrust -= d->distrust > 0;
    if (!w)
        return;
    struct dsm_stream *s = stream_of(w, page);
    advance(s, page);
    if (!s->window)
        return; /* it is another vCPU's */
    s->window += s->window < WINDOW_MAX;
    fetch_window(d, s, write);
}

void stream_taken(struct dsm *d, uint64_t page)
{
    if (!stream_is_ahead(d, page))
        return;
    stream_set_ahead(d, page, false);
    d->stats.ahead_useless++;
    d->distrust += d->distrust < DISTRUST_MAX;
}

void dsm_prefetch(struct dsm *d, uint64_t page, unsigned nr)
{
    uint64_t end = page < d->config.nr_pages ? page + nr : 0;

    dsm_enter(d);
    for (; page < end && page < d->config.nr_pages; page++)
        fetch(d, page, false);
    dsm_leave(d);
}
