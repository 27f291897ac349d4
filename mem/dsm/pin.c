/* Pins: a device (or a loader) needs the page now and blocks until it is here. */
#include "dsm_priv.h"

enum { PIN_SLEEP_NS = 50 * 1000 }; /* while another thread polls */

static bool is_here(const struct dsm *d, uint64_t page, bool write)
{
    return dsm_page_state(d, page) >= (write ? DSM_EXCLUSIVE : DSM_SHARED);
}

bool pin_try(struct dsm *d, struct dsm_record *r, bool write)
{
    /* Somebody may wait for a page that is pinned by the thread that wants this one. */
    struct rank_input in = {.from = d->me, .urgent = d->nr_pins};

    if (move_keeps_from_pinning(d))
        return false;
    if (!is_here(d, r->page, write)) {
        rank_handle(d, r, write ? ON_WRITE : ON_READ, &in);
        if (r->put_off && !move_puts_off(d, in.urgent))
            rank_ask_now(d, r);
        messages_handle_local(d);
    }
    if (!is_here(d, r->page, write))
        return false;
    if (write)
        record_written(d, r->page);
    r->pins++;
    d->nr_pins++;
    return true;
}

/* Lets the interconnect move; sleeps when another thread does that. */
static void wait_for_page(struct dsm *d, uint64_t page, bool write)
{
    dsm_leave(d);
    unsigned moved = ic_poll(d->config.ic);
    dsm_tick(d);
    dsm_enter(d);
    if (!moved && (!is_here(d, page, write) || move_keeps_from_pinning(d)))
        sim_cond_wait_until(&d->arrived, &d->lock, sim_host_ns() + PIN_SLEEP_NS);
}

enum sim_status dsm_pin(struct dsm *d, uint64_t page, bool write)
{
    bool pinned;

    dsm_enter(d);
    struct dsm_record *r = record_get(d, page);
    r->pinners++;
    r->pinners_to_write += write;
    hold_released(d, r); /* pins for reading are less now */
    while (!(pinned = pin_try(d, r, write)) && !dsm_is_stopped(d))
        wait_for_page(d, page, write);
    r->pinners--;
    r->pinners_to_write -= write;
    hold_released(d, r);
    record_put(d, r);
    dsm_leave(d);
    return pinned ? SIM_OK : SIM_ERR_IO;
}

void dsm_unpin(struct dsm *d, uint64_t page)
{
    dsm_enter(d);
    struct dsm_record *r = record_find(d, page);
    SIM_BUG_ON(!r || !r->pins, "unpin of page 0x%llx, which is not pinned",
               (unsigned long long)page);
    r->pins--;
    d->nr_pins--;
    hold_released(d, r);
    record_put(d, r);
    dsm_leave(d);
}
