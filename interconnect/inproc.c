/* Several ranks in one process: one ring of bytes per directed pair, made when first used.
 *
 *   try_send: record into ring[from][to] -> tail ... head -> try_recv on the other rank, in place
 *
 * A ring has one producer and one consumer at a time: the holders of the two ranks' turns. Records are
 * 16-byte aligned and contiguous; one that does not fit before the end leaves a SKIP there.
 *
 * Chaos: the sender stamps each record with the time it becomes visible. The first record of a ring hides
 * those behind it, so pairs overtake each other and a pair never does. Manual: records become visible only
 * through ic_inproc_step. */
#include <string.h>
#include <unistd.h>

#include "core_priv.h"
#include "sim-core/alloc.h"
#include "sim-core/log.h"

enum {
    RING_BYTES = 256 * 1024, /* holds the longest message twice, wherever the free space begins */
    RECORD_ALIGN = 16,
    SKIP = UINT32_MAX
};

struct record {
    uint64_t due_ns; /* 0: at once */
    uint32_t size;   /* of the message, or SKIP */
    uint32_t unused;
    char message[];
};

/* Positions count bytes since the beginning of time. R1: `tail` publishes records, R2: `head` gives
 * their space back. */
struct ring {
    SIM_ALIGNED(64) _Atomic uint64_t tail;
    uint64_t head_seen; /* producer */
    SIM_ALIGNED(64) _Atomic uint64_t head;
    uint64_t tail_seen; /* consumer */
    SIM_ALIGNED(64) char data[RING_BYTES];
};

struct random {
    uint64_t state;
};

/* One rank's end. Owner: the holder of its turn. */
struct port {
    struct ic_transport transport;
    struct ic_inproc *net;
    rank_t rank;
    rank_t next; /* the ring looked at first: fair to all senders */
    struct ring *taken;
    uint64_t taken_end;
    bool undue; /* the last look found records that are not due */
    struct random random;
    struct ic_bell bell;
};

/* Owner: the test. Lifetime: longer than that of its ranks. */
struct ic_inproc {
    unsigned nr;
    struct ic_chaos chaos;
    struct random random;
    _Atomic(struct ic *) * ic;    /* by rank; NULL: not joined */
    _Atomic(struct ring *) *ring; /* [to * nr + from] */
    struct port *port;
    rank_t step_from, step_to; /* manual: the pair that may deliver; -1: none */
};

/* splitmix64 */
static uint64_t random_next(struct random *r)
{
    uint64_t z = r->state += 0x9e3779b97f4a7c15u;

    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
    z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
    return z ^ (z >> 31);
}

static struct port *port_of(struct ic_transport *t)
{
    return SIM_CONTAINER_OF(t, struct port, transport);
}

static struct ring *ring_get(struct ic_inproc *net, rank_t from, rank_t to)
{
    return atomic_load_explicit(&net->ring[(size_t)to * net->nr + (size_t)from],
                                memory_order_acquire);
}

static struct ring *ring_make(struct ic_inproc *net, rank_t from, rank_t to)
{
    struct ring *ring = ring_get(net, from, to);

    if (SIM_UNLIKELY(!ring)) {
        ring = sim_zalloc_pages(sizeof *ring); /* most of it is never used in most pairs */
        atomic_store_explicit(&net->ring[(size_t)to * net->nr + (size_t)from], ring,
                              memory_order_release);
    }
    return ring;
}

/* Room for `bytes` after `tail`? Looks at the consumer's position only when the last seen does not do. */
static bool ring_has_room(struct ring *ring, uint64_t tail, uint64_t bytes)
{
    if (tail + bytes - ring->head_seen <= RING_BYTES)
        return true;
    ring->head_seen = atomic_load_explicit(&ring->head, memory_order_acquire); /* R2 */
    return tail + bytes - ring->head_seen <= RING_BYTES;
}

static struct record *record_at(struct ring *ring, uint64_t position)
{
    return (struct record *)&ring->data[position % RING_BYTES];
}

static uint64_t record_bytes(uint32_t size)
{
    return sim_align_up(sizeof(struct record) + size, RECORD_ALIGN);
}

static uint64_t due(struct port *port)
{
    const struct ic_chaos *chaos = &port->net->chaos;

    if (!chaos->seed || !chaos->max_delay_ns || chaos->manual)
        return 0;
    return sim_host_ns() + random_next(&port->random) % (chaos->max_delay_ns + 1);
}

static bool inproc_try_send(struct ic_transport *t, rank_t to, const struct ic_parts *m)
{
    struct port *port = port_of(t);
    struct ring *ring = ring_make(port->net, port->rank, to);
    uint64_t bytes = record_bytes(ic_parts_size(m));
    uint64_t tail = atomic_load_explicit(&ring->tail, memory_order_relaxed);
    uint64_t to_end = RING_BYTES - tail % RING_BYTES;
    uint64_t skip = to_end < bytes ? to_end : 0;

    if (!ring_has_room(ring, tail, skip + bytes))
        return false;
    if (skip)
        record_at(ring, tail)->size = SKIP;
    struct record *rec = record_at(ring, tail + skip);
    rec->due_ns = due(port);
    rec->size = ic_parts_size(m);
    ic_parts_copy(m, rec->message);
    atomic_store_explicit(&ring->tail, tail + skip + bytes, memory_order_release); /* R1 */
    return true;
}

/* The first record of a ring, due or not; NULL when it is empty. */
static struct record *ring_first(struct ring *ring, uint64_t *position)
{
    uint64_t head = atomic_load_explicit(&ring->head, memory_order_relaxed);

    if (head == ring->tail_seen)
        ring->tail_seen = atomic_load_explicit(&ring->tail, memory_order_acquire); /* R1 */
    if (head == ring->tail_seen)
        return NULL;
    struct record *rec = record_at(ring, head);
    if (rec->size == SKIP) {
        head += RING_BYTES - head % RING_BYTES;
        atomic_store_explicit(&ring->head, head, memory_order_release); /* R2 */
        rec = record_at(ring, head);
    }
    *position = head;
    return rec;
}

static bool may_deliver(struct port *port, rank_t from, const struct record *rec)
{
    struct ic_inproc *net = port->net;

    if (net->chaos.manual)
        return from == net->step_from && port->rank == net->step_to;
    if (!rec->due_ns || rec->due_ns <= sim_host_ns())
        return true;
    port->undue = true;
    return false;
}

static bool take_from(struct port *port, rank_t from, struct ic_arrived *out)
{
    struct ring *ring = ring_get(port->net, from, port->rank);
    uint64_t head;
    struct record *rec = ring ? ring_first(ring, &head) : NULL;

    if (!rec || !may_deliver(port, from, rec))
        return false;
    *out = (struct ic_arrived){
        .from = from, .size = rec->size, .wire = (const struct ic_wire *)rec->message};
    port->taken = ring;
    port->taken_end = head + record_bytes(rec->size);
    return true;
}

static bool inproc_try_recv(struct ic_transport *t, struct ic_arrived *out)
{
    struct port *port = port_of(t);
    rank_t nr = (rank_t)port->net->nr, from = port->next;

    port->undue = false;
    for (rank_t i = 0; i < nr; i++) {
        bool taken = take_from(port, from, out);
        from = from + 1 < nr ? from + 1 : 0;
        if (taken) {
            port->next = from;
            return true;
        }
    }
    return false;
}

static void inproc_release(struct ic_transport *t)
{
    struct port *port = port_of(t);

    atomic_store_explicit(&port->taken->head, port->taken_end, memory_order_release); /* R2 */
}

static bool inproc_busy(struct ic_transport *t)
{
    return port_of(t)->undue;
}

static void inproc_destroy(struct ic_transport *t, bool orderly)
{
    struct port *port = port_of(t);

    (void)orderly;
    atomic_store_explicit(&port->net->ic[port->rank], NULL, memory_order_release);
}

static const struct ic_transport_ops inproc_ops = {.name = "inproc",
                                                   .try_send = inproc_try_send,
                                                   .try_recv = inproc_try_recv,
                                                   .release = inproc_release,
                                                   .busy = inproc_busy,
                                                   .destroy = inproc_destroy};

enum sim_status ic_inproc_create(unsigned nr, const struct ic_chaos *chaos, struct ic_inproc **out)
{
    if (!nr || nr > 1024) {
        sim_error("%u ranks in one process: 1 to 1024 can be joined", nr);
        return SIM_ERR_RANGE;
    }
    struct ic_inproc *net = sim_new(struct ic_inproc);
    net->nr = nr;
    if (chaos)
        net->chaos = *chaos;
    net->random.state = net->chaos.seed;
    net->ic = sim_zalloc(nr * sizeof *net->ic);
    net->ring = sim_zalloc((size_t)nr * nr * sizeof *net->ring);
    net->port = sim_new_array(struct port, nr);
    net->step_from = net->step_to = -1;
    for (unsigned i = 0; i < nr; i++)
        net->port[i] = (struct port){.transport.ops = &inproc_ops,
                                     .net = net,
                                     .rank = (rank_t)i,
                                     .random.state = net->chaos.seed * 31 + i};
    *out = net;
    return SIM_OK;
}

enum sim_status ic_inproc_join(struct ic_inproc *net, rank_t rank, const struct ic_config *config,
                               struct ic **out)
{
    SIM_BUG_ON(rank < 0 || (unsigned)rank >= net->nr, "rank %d of %u", rank, net->nr);
    SIM_BUG_ON(atomic_load_explicit(&net->ic[rank], memory_order_acquire), "rank %d joins twice", rank);
    struct ic *ic = ic_create(&net->port[rank].transport, rank, (rank_t)net->nr, config);
    ic->manual = net->chaos.manual;
    for (unsigned i = 0; i < net->nr; i++) {
        ic->peer[i].bell = &net->port[i].bell;
        ic_set_identity(ic, (rank_t)i, "inproc", (int)getpid());
    }
    atomic_store_explicit(&net->ic[rank], ic, memory_order_release);
    *out = ic;
    return SIM_OK;
}

/* --- manual steps --- */

static struct ic *joined(struct ic_inproc *net, unsigned rank)
{
    return atomic_load_explicit(&net->ic[rank], memory_order_acquire);
}

static void push_all(struct ic_inproc *net)
{
    for (unsigned i = 0; i < net->nr; i++) {
        struct ic *ic = joined(net, i);
        if (ic && atomic_load_explicit(&ic->backlog, memory_order_relaxed) && ic_turn_take(ic)) {
            ic_push(ic);
            ic_turn_leave(ic);
        }
    }
}

/* Chooses a pair that has a message under way, each with the same chance. */
static bool choose_pair(struct ic_inproc *net)
{
    unsigned seen = 0;

    for (unsigned i = 0; i < net->nr * net->nr; i++) {
        rank_t to = (rank_t)(i / net->nr), from = (rank_t)(i % net->nr);
        struct ring *ring = ring_get(net, from, to);
        uint64_t position;
        if (!ring || !joined(net, (unsigned)to) || !ring_first(ring, &position))
            continue;
        if (random_next(&net->random) % ++seen == 0) {
            net->step_from = from;
            net->step_to = to;
        }
    }
    return seen > 0;
}

bool ic_inproc_step(struct ic_inproc *net)
{
    push_all(net);
    if (!choose_pair(net))
        return false;
    struct ic *ic = joined(net, (unsigned)net->step_to);
    if (ic_turn_take(ic)) {
        ic_poll_in_turn(ic, 1);
        ic_turn_leave(ic);
    }
    net->step_from = net->step_to = -1;
    return true;
}

void ic_inproc_destroy(struct ic_inproc *net)
{
    if (!net)
        return;
    for (unsigned i = 0; i < net->nr; i++)
        SIM_BUG_ON(joined(net, i), "rank %u still belongs to the net", i);
    for (unsigned i = 0; i < net->nr * net->nr; i++)
        sim_free_pages(atomic_load_explicit(&net->ring[i], memory_order_relaxed), sizeof(struct ring));
    sim_free(net->ring);
    sim_free(net->port);
    sim_free(net->ic);
    sim_free(net);
}
