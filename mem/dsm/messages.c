/* Messages of the protocol: their form, what is refused, and those of a rank to itself.
 *
 *   ic handler -> check -> [lock] -> home side | rank side -> [unlock] -> granted()
 *   home and rank side of one rank talk through d->local, which dsm_leave empties. */
#include <string.h>

#include "dsm_priv.h"
#include "sim-core/pages.h"

_Static_assert(sizeof(struct dsm_wire) == 16, "the head of a message");

enum { WIRE = sizeof(struct dsm_wire) };

static const bool for_home[MSG_NR] = {[MSG_GET_S] = true, [MSG_GET_E] = true, [MSG_DONE] = true};
static const bool from_home[MSG_NR] = {
    [MSG_FWD_S] = true, [MSG_FWD_E] = true, [MSG_INV] = true, [MSG_GRANT] = true};
static const bool has_body[MSG_NR] = {[MSG_DATA_S] = true, [MSG_DATA_E] = true};

static const char *what_is_wrong(const struct dsm *d, rank_t from, enum dsm_message type,
                                 const struct dsm_wire *wire, uint32_t len)
{
    if (len != WIRE && !(has_body[type] && len == WIRE + GUEST_PAGE_SIZE))
        return "has the wrong length";
    if (wire->page >= d->config.nr_pages)
        return "names a page that does not exist";
    if (wire->run > DSM_RUN || wire->run >= d->config.nr_pages - wire->page)
        return "speaks of too many pages";
    if (wire->requester >= d->nr_ranks)
        return "names a rank that does not exist";
    if (for_home[type] && dsm_home(d, wire->page) != d->me)
        return "came to a rank that is not the page's home";
    if (from_home[type] && type != MSG_GRANT && wire->requester == d->me)
        return "asks this rank to send to itself";
    if (from_home[type] && dsm_home(d, wire->page) != from)
        return "came from a rank that is not the page's home";
    return NULL;
}

static void dispatch(struct dsm *d, rank_t from, enum dsm_message type, const struct dsm_wire *wire,
                     const uint8_t *body)
{
    if (for_home[type])
        home_receive(d, from, type, wire);
    else
        rank_receive(d, from, type, wire, body);
}

static void receive(void *opaque, rank_t from, const void *data, uint32_t len)
{
    const struct dsm_port *port = opaque;
    struct dsm *d = port->d;
    const struct dsm_wire *wire = data;

    if (dsm_is_stopped(d))
        return;
    const char *wrong = len < WIRE ? "is cut short" : what_is_wrong(d, from, port->type, wire, len);
    dsm_enter(d);
    if (wrong)
        dsm_fail(d, "a message \"%s\" of %s %s (page 0x%llx)", protocol_message_name[port->type],
                 ic_rank_name(d->config.ic, from), wrong,
                 len < WIRE ? 0ull : (unsigned long long)wire->page);
    else
        dispatch(d, from, port->type, wire, len > WIRE ? (const uint8_t *)data + WIRE : NULL);
    dsm_leave(d);
}

/* The batch end of the poll that brought it is what it is for. */
static void receive_tick(void *opaque, rank_t from, const void *data, uint32_t len)
{
    const struct dsm_port *port = opaque;

    (void)from, (void)data, (void)len;
    sim_mutex_lock(&port->d->lock);
    port->d->tick_sent = false;
    sim_mutex_unlock(&port->d->lock);
}

static void batch_end(void *opaque)
{
    dsm_tick(opaque);
}

void messages_register(struct dsm *d)
{
    for (unsigned type = 0; type < MSG_NR; type++) {
        d->port[type] = (struct dsm_port){d, (enum dsm_message)type};
        ic_register(d->config.ic, IC_TYPE_DSM + type, protocol_message_name[type],
                    type == MSG_TICK ? receive_tick : receive, &d->port[type]);
    }
    ic_set_batch_end(d->config.ic, batch_end, d);
}

void messages_send(struct dsm *d, rank_t to, enum dsm_message type, struct dsm_wire wire)
{
    if (to != d->me) {
        ic_send_small(d->config.ic, to, IC_TYPE_DSM + type, &wire, sizeof wire);
        return;
    }
    d->local = dsm_grow(d->local, &d->cap_local, d->nr_local + 1, sizeof d->local[0]);
    d->local[d->nr_local++] = (struct dsm_local){type, wire};
}

/* New ones come to the end while this goes through them. */
void messages_handle_local(struct dsm *d)
{
    for (unsigned i = 0; i < d->nr_local; i++) {
        struct dsm_local m = d->local[i];
        dispatch(d, d->me, m.type, &m.wire, NULL);
    }
    d->nr_local = 0;
}

/* Context: the flushing thread, without the lock: nobody writes the page any more. */
void messages_send_page(struct dsm *d, rank_t to, enum dsm_message type, struct dsm_wire wire)
{
    const uint8_t *bytes = d->config.bytes + (wire.page << GUEST_PAGE_BITS);
    bool zero = sim_page_is_zero(bytes);

    ic_send(d->config.ic, to, IC_TYPE_DSM + type, &wire, sizeof wire, bytes,
            zero ? 0 : GUEST_PAGE_SIZE);
}

void messages_send_tick(struct dsm *d)
{
    if (d->tick_sent)
        return;
    d->tick_sent = true;
    ic_send_small(d->config.ic, d->me, IC_TYPE_DSM + MSG_TICK, NULL, 0);
}
