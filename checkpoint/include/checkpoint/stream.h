/* Frames of a live migration over a socket: FORMAT.md, "The migration stream".
 *
 * One thread receives; any thread sends, a frame at a time. A connection that breaks is one message with the peer's name, of
 * whoever notices first; after it all calls fail. */
#ifndef CHECKPOINT_STREAM_H
#define CHECKPOINT_STREAM_H

#include "sim-core/status.h"
#include "sim-core/types.h"

enum ckpt_frame_type {
    CKPT_FRAME_HELLO = 1,
    CKPT_FRAME_CONFIG,
    CKPT_FRAME_SPACE,
    CKPT_FRAME_SECTION,
    CKPT_FRAME_READY,
    CKPT_FRAME_BLOCKS,
    CKPT_FRAME_ZEROS,
    CKPT_FRAME_MISSING,
    CKPT_FRAME_STOPPED,
    CKPT_FRAME_LOADED,
    CKPT_FRAME_GO,
    CKPT_FRAME_STARTED,
    CKPT_FRAME_DEMAND,
    CKPT_FRAME_END,
    CKPT_FRAME_DONE,
    CKPT_FRAME_REFUSED,
    CKPT_FRAME_RANKS,
    CKPT_FRAME_PLACE,
    CKPT_FRAME_JOIN,
    CKPT_FRAME_ROUND,
    CKPT_FRAME_SEEN,
    CKPT_FRAME_NR
};

enum { CKPT_FRAME_MAX = 16 << 20 }; /* bytes of payload */

struct ckpt_frame {
    enum ckpt_frame_type type;
    uint16_t space;
    uint64_t block;
    uint32_t nr;
    uint32_t len;
    const uint8_t *payload; /* received: valid until the next receive, one NUL follows */
};

struct ckpt_stream;

/* `uri` is "unix:PATH" or "tcp:HOST:PORT" (to listen, HOST may be empty, and PORT 0). Waits some seconds for a host that does not
 * answer; give_up(), asked all the time: SIM_ERR_IO without a message. Context: may block; nobody gives up while a name is
 * looked up. */
enum sim_status ckpt_stream_dial(const char *uri, bool (*give_up)(void *opaque), void *opaque,
                                 struct ckpt_stream **out) SIM_MUST_CHECK;
/* "tcp:ADDRESS:0", a numeric one of this host: as who comes from the (numeric or named) HOST of uri sees it; HOST's own if
 * that is this host. "tcp::0" when HOST is empty or stands for all. NULL: there is no such host (logged). sim_free. */
char *ckpt_address_beside(const char *uri);

struct ckpt_listener;
enum sim_status ckpt_listen(const char *uri, struct ckpt_listener **out) SIM_MUST_CHECK;
/* The next who comes; the stream's peer is the listener's address and who it is. SIM_INPROGRESS: nobody within that time (-1: for
 * ever), or one of `others` has something to receive, or for no reason. */
enum sim_status ckpt_listener_accept(struct ckpt_listener *l, struct ckpt_stream *const *others, unsigned nr_others,
                                     int timeout_ms, struct ckpt_stream **out) SIM_MUST_CHECK;
unsigned ckpt_listener_port(const struct ckpt_listener *l); /* of TCP */
void ckpt_listener_close(struct ckpt_listener *l);          /* NULL is allowed */

/* A connected socket, which the stream takes over; `peer` is for messages. */
struct ckpt_stream *ckpt_stream_create(int fd, const char *peer);
void ckpt_stream_destroy(struct ckpt_stream *s); /* NULL is allowed */

/* HELLO to the peer and its HELLO: a peer of another version is named and refused. */
enum sim_status ckpt_stream_greet(struct ckpt_stream *s) SIM_MUST_CHECK;
/* Its two halves: what comes from the peer must be a HELLO of this version. */
enum sim_status ckpt_stream_say_hello(struct ckpt_stream *s) SIM_MUST_CHECK;
enum sim_status ckpt_stream_take_hello(struct ckpt_stream *s, const struct ckpt_frame *f) SIM_MUST_CHECK;

enum sim_status ckpt_stream_send(struct ckpt_stream *s, const struct ckpt_frame *f) SIM_MUST_CHECK;
/* Waits for a frame, checks head and payload. A peer that refuses or ends the connection is an error with its text. */
enum sim_status ckpt_stream_receive(struct ckpt_stream *s, struct ckpt_frame *out) SIM_MUST_CHECK;
/* The same without waiting. SIM_INPROGRESS: not all of a frame has come yet. */
enum sim_status ckpt_stream_try_receive(struct ckpt_stream *s, struct ckpt_frame *out) SIM_MUST_CHECK;
/* As receive, for a frame that must be of this type. */
enum sim_status ckpt_stream_expect(struct ckpt_stream *s, enum ckpt_frame_type type,
                                   struct ckpt_frame *out) SIM_MUST_CHECK;
enum sim_status ckpt_stream_check_type(struct ckpt_stream *s, const struct ckpt_frame *f,
                                       enum ckpt_frame_type type) SIM_MUST_CHECK;
/* Is there something to receive (or an end of the connection) within that time? */
bool ckpt_stream_readable(struct ckpt_stream *s, int timeout_ms);
/* The same for several (entries that are NULL are left out): the first one after `last` that has something, or -1. */
int ckpt_stream_poll(struct ckpt_stream *const *s, unsigned nr, unsigned last, int timeout_ms);
/* How long a send may make no progress before the connection counts as broken; 0, at first: for ever. */
void ckpt_stream_patience(struct ckpt_stream *s, unsigned seconds);
/* By when (sim_host_ns) all that is received must have come, however it drips; 0, at first: no matter. Context: who receives. */
void ckpt_stream_hear_until(struct ckpt_stream *s, uint64_t host_ns);
/* Who is told why it broke, once, instead of the log; NULL: nobody. While no other thread uses it. */
typedef void ckpt_stream_broke_fn(void *opaque, const char *peer, const char *why);
void ckpt_stream_on_broken(struct ckpt_stream *s, ckpt_stream_broke_fn *broke, void *opaque);
/* What came through it makes no sense: as if it had broken. Context: any thread. */
void ckpt_stream_break(struct ckpt_stream *s, const char *why);
/* Tells the peer why and ends the connection for both. Context: any thread. */
void ckpt_stream_refuse(struct ckpt_stream *s, const char *why);
/* Nothing is expected from the peer but its end: no messages from now on, and little patience. Context: any thread. */
void ckpt_stream_finish(struct ckpt_stream *s);
/* Ends the connection: whoever sends or receives fails, without a message. Context: any thread. */
void ckpt_stream_cancel(struct ckpt_stream *s);

const char *ckpt_stream_peer(const struct ckpt_stream *s);
int ckpt_stream_fd(const struct ckpt_stream *s); /* to poll */
/* Bytes sent so far, heads included. Context: any thread. */
uint64_t ckpt_stream_sent(const struct ckpt_stream *s);

#endif
