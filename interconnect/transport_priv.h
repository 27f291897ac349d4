/* What the core asks of a transport: inproc.c, mpi.c.
 *
 * Every call is made by the thread that has the rank's turn (core.c), so a transport needs no lock of
 * its own. Messages of one pair arrive in the order they were sent; nothing is lost or doubled. */
#ifndef INTERCONNECT_TRANSPORT_PRIV_H
#define INTERCONNECT_TRANSPORT_PRIV_H

#include "sim-core/status.h"
#include "sim-core/types.h"

struct ic;

/* In front of every message. Its layout is part of IC_LAYOUT (core_priv.h). */
struct ic_wire {
    uint16_t type;
    uint16_t credits; /* messages of the receiver's that the sender has handled: its window grows */
    uint32_t len;     /* of what follows */
};

/* A message to send: the head of it and two pieces. */
struct ic_parts {
    struct ic_wire wire;
    const void *head, *body;
    uint32_t head_len, body_len;
};

/* A message that has arrived; valid until release. */
struct ic_arrived {
    rank_t from;
    uint32_t size; /* wire and data, as the transport counted it */
    const struct ic_wire *wire;
};

struct ic_transport {
    const struct ic_transport_ops *ops;
    struct ic *ic;
};

struct ic_transport_ops {
    const char *name;
    /* Takes the message (copies it) or says false: no room now, or the pair is broken (ic_lose called). */
    bool (*try_send)(struct ic_transport *t, rank_t to, const struct ic_parts *m);
    bool (*try_recv)(struct ic_transport *t, struct ic_arrived *out);
    void (*release)(struct ic_transport *t);
    /* Is anything under way that only further calls bring on? Then the rank must not sleep for long. */
    bool (*busy)(struct ic_transport *t);
    /* Ends the transport. `orderly`: all ranks are known to do the same now. */
    void (*destroy)(struct ic_transport *t, bool orderly);
};

static inline uint32_t ic_parts_size(const struct ic_parts *m)
{
    return (uint32_t)sizeof m->wire + m->wire.len;
}

/* Writes the message to `to`, ic_parts_size bytes. */
static inline void ic_parts_copy(const struct ic_parts *m, void *to)
{
    char *p = to;

    __builtin_memcpy(p, &m->wire, sizeof m->wire);
    p += sizeof m->wire;
    if (m->head_len)
        __builtin_memcpy(p, m->head, m->head_len);
    if (m->body_len)
        __builtin_memcpy(p + m->head_len, m->body, m->body_len);
}

#endif
