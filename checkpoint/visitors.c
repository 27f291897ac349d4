/* A row of those who have come and have not said all; whoever speaks is listened to without waiting. */
#include "checkpoint/visitors.h"

#include <stdio.h>

#include "sim-core/alloc.h"
#include "sim-core/lock.h"
#include "sim-core/log.h"

enum { MAX_VISITORS = 32, SILENCE_S = 5, LOOK_MS = 100 };
#define SILENCE_NS (SILENCE_S * 1000000000ull)

struct visitors {
    struct ckpt_listener *listener;
    unsigned nr;
    struct ckpt_stream *stream[MAX_VISITORS]; /* in the order in which they came */
    struct visitor {
        uint64_t until_ns; /* it has said all, or goes */
        bool greeted;
    } visitor[MAX_VISITORS];
};

static void warn(void *opaque, const char *peer, const char *why)
{
    (void)opaque;
    sim_warn("migration: %s: %s; it is sent away", peer, why);
}

enum sim_status visitors_open(const char *uri, struct visitors **out)
{
    struct ckpt_listener *listener;

    SIM_TRY(ckpt_listen(uri, &listener));
    *out = sim_new(struct visitors);
    (*out)->listener = listener;
    return SIM_OK;
}

void visitors_close(struct visitors *v)
{
    if (!v)
        return;
    ckpt_listener_close(v->listener);
    for (unsigned i = 0; i < v->nr; i++)
        visitors_turn_away(v->stream[i], "nobody is awaited any more");
    sim_free(v);
}

unsigned visitors_port(const struct visitors *v)
{
    return ckpt_listener_port(v->listener);
}

void visitors_turn_away(struct ckpt_stream *visitor, const char *why)
{
    warn(NULL, ckpt_stream_peer(visitor), why);
    ckpt_stream_refuse(visitor, why);
    ckpt_stream_destroy(visitor);
}

/* --- the row --- */

static void forget(struct visitors *v, unsigned i)
{
    v->nr--;
    for (; i < v->nr; i++) {
        v->stream[i] = v->stream[i + 1];
        v->visitor[i] = v->visitor[i + 1];
    }
}

static void add(struct visitors *v, struct ckpt_stream *stream)
{
    ckpt_stream_on_broken(stream, warn, NULL);
    ckpt_stream_patience(stream, 1); /* of our HELLO, which no stranger needs to take */
    if (ckpt_stream_say_hello(stream) != SIM_OK) {
        ckpt_stream_destroy(stream);
        return;
    }
    ckpt_stream_patience(stream, 0);
    v->stream[v->nr] = stream;
    v->visitor[v->nr++] = (struct visitor){.until_ns = sim_host_ns() + SILENCE_NS};
}

/* Takes what it has said. SIM_OK: it has said all. */
static enum sim_status listen_to(struct visitors *v, unsigned i, enum ckpt_frame_type type, struct ckpt_frame *f)
{
    struct ckpt_stream *stream = v->stream[i];

    if (!v->visitor[i].greeted) {
        SIM_TRY(ckpt_stream_try_receive(stream, f));
        SIM_TRY(ckpt_stream_take_hello(stream, f));
        v->visitor[i].greeted = true;
    }
    if (type == CKPT_FRAME_HELLO)
        return SIM_OK;
    SIM_TRY(ckpt_stream_try_receive(stream, f));
    return ckpt_stream_check_type(stream, f, type);
}

/* The first that has said all leaves the row, as do those that break off or are silent. */
static enum sim_status hear_all(struct visitors *v, enum ckpt_frame_type type, struct ckpt_stream **out,
                                struct ckpt_frame *first)
{
    uint64_t now = sim_host_ns();

    for (unsigned i = 0; i < v->nr;) {
        struct ckpt_stream *stream = v->stream[i];
        enum sim_status status = listen_to(v, i, type, first);
        if (status == SIM_INPROGRESS && now <= v->visitor[i].until_ns) {
            i++;
            continue;
        }
        forget(v, i);
        if (status == SIM_OK) {
            *out = stream;
            return SIM_OK;
        }
        if (status == SIM_INPROGRESS)
            visitors_turn_away(stream, "it does not say who it is");
        else
            ckpt_stream_destroy(stream);
    }
    return SIM_INPROGRESS;
}

/* Until somebody comes or says something. A full row is heard out first: all of it may be right. */
static enum sim_status wait_for_one(struct visitors *v, int timeout_ms)
{
    int ms = v->nr && (timeout_ms < 0 || timeout_ms > LOOK_MS) ? LOOK_MS : timeout_ms;
    struct ckpt_stream *stream;

    if (v->nr == MAX_VISITORS) {
        (void)ckpt_stream_poll(v->stream, v->nr, 0, ms);
        return SIM_INPROGRESS;
    }
    SIM_TRY(ckpt_listener_accept(v->listener, v->stream, v->nr, ms, &stream));
    add(v, stream);
    return SIM_OK;
}

enum sim_status visitors_next(struct visitors *v, enum ckpt_frame_type type, int timeout_ms, struct ckpt_stream **out,
                              struct ckpt_frame *first)
{
    enum sim_status status = hear_all(v, type, out, first);

    if (status != SIM_INPROGRESS)
        return status;
    status = wait_for_one(v, timeout_ms);
    return status == SIM_OK || status == SIM_INPROGRESS ? hear_all(v, type, out, first) : status;
}
