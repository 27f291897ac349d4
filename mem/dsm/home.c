/* The home side: the directory, one transaction per page at a time. */
#include <string.h>

#include "dsm_priv.h"
#include "sharers.h"
#include "sim-core/alloc.h"

/* One GET or DONE at work. */
struct home_input {
    uint64_t page;
    struct dsm_entry *entry;
    rank_t rank;   /* who sent it */
    rank_t holder; /* before it */
    enum home_event event;
    uint8_t run; /* GET_E: pages behind it that are wanted as well */
};

typedef void action_fn(struct dsm *d, const struct home_input *in);

/* `said`: the message that it is about; NULL: none. */
static void home_handle(struct dsm *d, uint64_t page, enum home_event event, rank_t rank,
                        const struct dsm_wire *said);

static rank_t holder_of(const struct dsm *d, const struct dsm_entry *e)
{
    return e->holder ^ d->me;
}

static void set_holder(const struct dsm *d, struct dsm_entry *e, rank_t rank)
{
    e->holder = (uint16_t)(rank ^ d->me);
}

/* --- who is told to forget --- */

static bool is_other_sharer(const struct dsm *d, const struct home_input *in, rank_t rank)
{
    return rank != in->rank && rank != in->holder &&
           sharers_may_have(in->entry->sharers, rank, d->group);
}

static unsigned count_others(const struct dsm *d, const struct home_input *in)
{
    unsigned n = 0;

    for (rank_t rank = 0; rank < d->nr_ranks; rank++)
        n += is_other_sharer(d, in, rank);
    return n;
}

/* --- actions --- */

static void send(struct dsm *d, rank_t to, enum dsm_message type, const struct home_input *in,
                 unsigned acks)
{
    messages_send(d, to, type,
                  (struct dsm_wire){
                      .page = in->page, .requester = (uint16_t)in->rank, .acks = (uint16_t)acks});
}

static void do_nothing(struct dsm *d, const struct home_input *in)
{
    (void)d, (void)in;
}

/* A page goes from one rank to another, and this one is neither. */
static void count_between(struct dsm *d, const struct home_input *in)
{
    d->stats.between_others += in->rank != d->me && in->holder != d->me;
}

static void do_fwd_s(struct dsm *d, const struct home_input *in)
{
    /* The home's own copy is nearest. */
    bool mine = in->entry->state == HOME_BS && sharers_have(in->entry->sharers, d->me, d->group);

    send(d, mine ? d->me : in->holder, MSG_FWD_S, in, 0);
    traffic_count(d, in->page, in->rank, mine ? d->me : in->holder);
    if (!mine)
        count_between(d, in);
}

static void do_fwd_e(struct dsm *d, const struct home_input *in)
{
    messages_send(d, in->holder, MSG_FWD_E,
                  (struct dsm_wire){.page = in->page,
                                    .requester = (uint16_t)in->rank,
                                    .acks = (uint16_t)count_others(d, in),
                                    .run = in->run});
    traffic_count(d, in->page, in->rank, in->holder);
    count_between(d, in);
}

/* An upgrade has no holder to spare: whoever holds it besides the requester is told to forget. */
static void do_grant(struct dsm *d, const struct home_input *in)
{
    send(d, in->rank, MSG_GRANT, in, count_others(d, in));
    traffic_count(d, in->page, in->rank, in->rank);
}

static void do_inv(struct dsm *d, const struct home_input *in)
{
    for (rank_t rank = 0; rank < d->nr_ranks; rank++)
        if (is_other_sharer(d, in, rank))
            send(d, rank, MSG_INV, in, 0);
}

static void do_share(struct dsm *d, const struct home_input *in)
{
    in->entry->sharers |= sharers_bit(in->rank, d->group) | sharers_bit(in->holder, d->group);
    set_holder(d, in->entry, in->rank);
}

static void do_own(struct dsm *d, const struct home_input *in)
{
    in->entry->sharers = 0;
    set_holder(d, in->entry, in->rank);
}

/* --- the queue of a page: a ring, the entry has its last node --- */

static uint32_t node_new(struct dsm *d)
{
    uint32_t i = d->free_node;

    if (i) {
        d->free_node = d->node[i].next;
        return i;
    }
    if (!d->nr_nodes)
        d->nr_nodes = 1;
    d->node = dsm_grow(d->node, &d->cap_nodes, d->nr_nodes + 1, sizeof d->node[0]);
    return d->nr_nodes++;
}

static bool is_queued(const struct dsm *d, const struct dsm_entry *e, rank_t rank)
{
    uint32_t i = e->queue;

    if (!i)
        return false;
    do {
        if (d->node[i].requester == rank)
            return true;
        i = d->node[i].next;
    } while (i != e->queue);
    return false;
}

static void do_queue(struct dsm *d, const struct home_input *in)
{
    struct dsm_entry *e = in->entry;

    /* A rank asks once for a page. So the pool has at most ranks x what each has outstanding. */
    if (is_queued(d, e, in->rank)) {
        dsm_fail(d, "%s asks twice for page 0x%llx", ic_rank_name(d->config.ic, in->rank),
                 (unsigned long long)in->page);
        return;
    }
    uint32_t i = node_new(d);
    d->node[i] = (struct dsm_node){e->queue ? d->node[e->queue].next : i, (uint16_t)in->rank,
                                   (uint8_t)in->event};
    if (e->queue)
        d->node[e->queue].next = i;
    e->queue = i;
}

static void do_next(struct dsm *d, const struct home_input *in)
{
    struct dsm_entry *e = in->entry;

    if (!e->queue)
        return;
    uint32_t first = d->node[e->queue].next;
    struct dsm_node node = d->node[first];
    d->node[e->queue].next = node.next;
    if (first == e->queue)
        e->queue = 0;
    d->node[first].next = d->free_node;
    d->free_node = first;
    home_handle(d, in->page, node.event, node.requester, NULL);
}

static action_fn *const actions[HOME_DO_NR] = {
    [HOME_DO_NOP] = do_nothing, [HOME_DO_FWD_S] = do_fwd_s, [HOME_DO_FWD_E] = do_fwd_e,
    [HOME_DO_INV] = do_inv,     [HOME_DO_GRANT] = do_grant, [HOME_DO_SHARE] = do_share,
    [HOME_DO_OWN] = do_own,     [HOME_DO_QUEUE] = do_queue, [HOME_DO_NEXT] = do_next};

/* GET_E of a rank that has the bytes is an upgrade: only it may keep its copy. GET_S of a page that
 * migrates will be followed by one. */
static enum home_event refine(const struct dsm *d, const struct dsm_entry *e, enum home_event event,
                              rank_t rank)
{
    if (event == HOME_ON_GET_S && e->state == HOME_X && e->migrates)
        return HOME_ON_GET_M;
    bool has = holder_of(d, e) == rank || sharers_have(e->sharers, rank, d->group);

    return event == HOME_ON_GET_E && e->state == HOME_S && has ? HOME_ON_UPGRADE : event;
}

/* A page migrates when of two sharers the one that came last wants to write (the other had written
 * before). It ceases to when a rank gives it away unwritten, or others read it too. */
static void learn(struct dsm *d, const struct home_input *in, bool clean)
{
    struct dsm_entry *e = in->entry;
    bool two = __builtin_popcountll(e->sharers) == 2 && d->group == 1;

    if (in->event == HOME_ON_UPGRADE)
        e->migrates = two && holder_of(d, e) == in->rank;
    else if (in->event == HOME_ON_DONE && clean)
        e->migrates = false;
    else if (in->event == HOME_ON_GET_S && e->state == HOME_S)
        e->migrates = false;
    else if (in->event == HOME_ON_GET_M)
        d->stats.migrations++;
}

bool home_never_left(const struct dsm *d, uint64_t page)
{
    static const struct dsm_entry as_at_the_start;

    return memcmp(&d->dir[page], &as_at_the_start, sizeof as_at_the_start) == 0;
}

rank_t home_holder(const struct dsm *d, uint64_t page)
{
    return holder_of(d, &d->dir[page]);
}

bool home_give(struct dsm *d, uint64_t page, rank_t rank)
{
    if (dsm_home(d, page) != d->me || !home_never_left(d, page))
        return false;
    home_handle(d, page, HOME_ON_GIVE, rank, NULL);
    return true;
}

/* What the table cannot say: DONE is of the rank that is served, a GET not of the owner itself. */
static bool is_possible(const struct home_input *in)
{
    if (in->event == HOME_ON_DONE)
        return in->rank == in->holder;
    return in->rank != in->holder || in->entry->state == HOME_BS || in->entry->state == HOME_BX ||
           in->event == HOME_ON_UPGRADE;
}

static bool is_busy(uint8_t state)
{
    return state == HOME_BX || state == HOME_BS;
}

static void home_handle(struct dsm *d, uint64_t page, enum home_event event, rank_t rank,
                        const struct dsm_wire *said)
{
    struct dsm_entry *e = &d->dir[page];
    struct home_input in = {page, e, rank, holder_of(d, e), refine(d, e, event, rank), said ? said->run : 0};
    const struct protocol_row *row = &protocol_home[e->state][in.event];

    if (!row->known || !is_possible(&in)) {
        dsm_fail(d, "%s of %s for page 0x%llx, which is in state %s at its home",
                 home_event_name[in.event], ic_rank_name(d->config.ic, rank),
                 (unsigned long long)page, home_state_name[e->state]);
        return;
    }
    learn(d, &in, said && said->clean);
    if (in.event == HOME_ON_UPGRADE)
        in.holder = rank;
    d->nr_busy += (uint32_t)is_busy(row->next) - (uint32_t)is_busy(e->state);
    e->state = row->next;
    for (unsigned i = 0; i < PROTOCOL_ACTIONS; i++)
        actions[row->action[i]](d, &in);
}

void home_receive(struct dsm *d, rank_t from, enum dsm_message type, const struct dsm_wire *wire)
{
    static const enum home_event event[MSG_NR] = {
        [MSG_GET_S] = HOME_ON_GET_S, [MSG_GET_E] = HOME_ON_GET_E, [MSG_DONE] = HOME_ON_DONE};

    home_handle(d, wire->page, event[type], from, wire);
    for (unsigned i = 1; type == MSG_DONE && i <= wire->run; i++)
        home_handle(d, wire->page + i, HOME_ON_DONE, from, wire);
}

void home_destroy(struct dsm *d)
{
    sim_free(d->node);
}
