/* Pages that nobody has ever used come along with their neighbour: one round trip for up to 64 pages.
 *
 *   first use of a page, GET_E -> so many untouched pages behind it, too: IR (a bit of their words; no record)
 *   home: has the page and those behind it never left, nor been used here? -> GIVE: they are the requester's until DONE
 *   DATA_E says how many -> GIFT, the others NO_GIFT; they count as fetched ahead (stream.c) until they are used
 *
 * No bytes move and nothing is revoked: what nobody has used is zero everywhere (config.blank), and no vCPU has a TLB entry
 * for it. While the answer is on its way nobody here asks for such a page, so a GET never meets a gift. */
#include "dsm_priv.h"

/* How many to wish for: fewer where others took most of the last ones before they were used. */
static uint8_t wish(const struct dsm *d)
{
    return (uint8_t)(d->run >> d->distrust / 4);
}

static void tell(struct dsm *d, uint64_t page, enum rank_event event)
{
    struct dsm_record *r = record_get(d, page);

    rank_handle(d, r, event, &(struct rank_input){.from = d->me});
    record_put(d, r);
}

bool run_is_untouched(struct dsm *d, uint64_t page)
{
    return !atomic_load_explicit(&d->word[page], memory_order_relaxed) && !record_find(d, page);
}

static bool may_come_along(struct dsm *d, uint64_t page)
{
    return page < d->config.nr_pages && run_is_untouched(d, page) && dsm_home(d, page) != d->me;
}

uint8_t run_ask(struct dsm *d, uint64_t page)
{
    uint8_t n = 0, wanted = record_is_untouched(d, page) && dsm_home(d, page) != d->me ? wish(d) : 0;

    while (n < wanted && may_come_along(d, page + n + 1))
        tell(d, page + ++n, ON_ALONG);
    return n;
}

static bool give(struct dsm *d, uint64_t page, rank_t to)
{
    if (!run_is_untouched(d, page) || !home_give(d, page, to))
        return false;
    tell(d, page, ON_GIVE);
    return true;
}

uint8_t run_give(struct dsm *d, const struct dsm_request *request)
{
    uint8_t n = 0;

    if (!d->config.blank || dsm_home(d, request->page) != d->me)
        return 0;
    while (n < request->run && give(d, request->page + n + 1, request->requester))
        n++;
    return n;
}

/* Next time as many as possible, or half as many: to ask in vain costs both ranks time. */
static void learn(struct dsm *d, bool given)
{
    d->run = given ? DSM_RUN : d->run > 1 ? d->run / 2 : 1;
}

void run_answered(struct dsm *d, struct dsm_record *r, uint8_t given)
{
    if (r->run)
        learn(d, given);
    for (unsigned i = 1; i <= r->run; i++) {
        tell(d, r->page + i, i <= given ? ON_GIFT : ON_NO_GIFT);
        if (i <= given)
            stream_set_ahead(d, r->page + i, true);
    }
    d->stats.came_along += given;
    r->run = given;
}
