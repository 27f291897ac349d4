/* struct ic and what the files of this folder share.
 *
 * The turn: whoever has it may use the transport and the fields marked (turn). It is taken by a try only
 * and never waited for; handlers run under it. */
#ifndef INTERCONNECT_CORE_PRIV_H
#define INTERCONNECT_CORE_PRIV_H

#include <stdatomic.h>

#include "interconnect/interconnect.h"
#include "sim-core/lock.h"
#include "transport_priv.h"

/* Changes whenever the meaning of a message's bytes does, in any folder. */
#define IC_LAYOUT 1u

enum {
    IC_WINDOW = 64,     /* messages of a pair that may be unhandled; bounds what waits at a slow rank */
    IC_POLL_BATCH = 64, /* messages one ic_poll handles at most */
    IC_HOST_NAME = 64,
    IC_EARS = 255,   /* connections that can wake a sleeping rank */
    IC_REASON = 120, /* why a rank is lost, with the NUL */
    IC_TICK_NS = 250000000
};

enum ic_control {
    IC_CONTROL_CREDIT, /* nothing but its credits */
    IC_CONTROL_HEARTBEAT,
    IC_CONTROL_LOST,
    IC_CONTROL_LAST_UNWINDOWED = IC_CONTROL_LOST,
    IC_CONTROL_BYE,
    IC_CONTROL_COLLECT, /* a piece of a gather */
    IC_CONTROL_ARRIVE,  /* barrier, to rank 0 */
    IC_CONTROL_RELEASE, /* barrier, from rank 0 */
    IC_CONTROL_CLOCK_ASK,
    IC_CONTROL_CLOCK_TELL
};

/* A TCP connection of MPI's to a rank that cannot ring (sockets.c). */
struct ic_ear {
    _Atomic int fd; /* -1: closed */
    rank_t rank;
    uint8_t peer[18]; /* its name at the other end */
};

/* A doorbell: how a sender wakes a rank that sleeps. On one host all ranks map each other's. */
struct ic_bell {
    _Atomic uint32_t armed; /* set before the last look for messages, cleared by the first that rings */
    _Atomic uint32_t rung;  /* counts; slept upon */
};

/* A message that waits: in an outbox, or for its handler to be registered. */
struct ic_note {
    struct ic_note *next;
    uint32_t room; /* bytes of data[]: which free list it belongs to */
    struct ic_wire wire;
    char data[]; /* 8-byte aligned */
};

struct ic_queue {
    struct ic_note *first, **last;
};

/* Owner: the turn, but for `outbox`, which the outbox lock guards. */
struct ic_peer {
    rank_t rank;
    uint32_t window; /* messages it still takes from us */
    uint32_t owed;   /* its messages handled, not yet given back as credits */
    _Atomic uint32_t backlog; /* in the outbox */
    struct ic_queue outbox;
    struct ic_queue held; /* arrived before ic_start without a handler, and what came after */
    struct ic_bell *bell; /* NULL: it cannot be rung */
    int bell_out;         /* it sleeps on the other end of this pipe; -1: on the bell's word */
    _Atomic bool lost;
    _Atomic bool bye;   /* it said good-bye: may go */
    bool heard;         /* since the last tick */
    bool beats;         /* its progress thread has started */
    bool warned;
    uint64_t silent_ns; /* by ticks of ours: a stop of our own is not its silence */
    int pidfd;          /* -1: none */
    char host[IC_HOST_NAME];
    char name[IC_HOST_NAME + 48];
};

struct ic_handler {
    const char *name;
    ic_handler_fn *fn;
    void *opaque;
    /* (turn); read by ic_counters */
    _Atomic uint64_t sent, sent_bytes, received, received_bytes;
};

/* One rank's piece of a gather. */
struct ic_piece {
    char *data;
    uint32_t len, got;
    bool complete;
};

/* A rank can be one gather ahead of another, never two: so there are two. */
struct ic_round {
    struct ic_piece *piece; /* by rank */
    _Atomic uint32_t complete;
};

/* Owner: as marked. Lifetime: ic_inproc_join or ic_mpi_create to ic_destroy. */
struct ic {
    struct ic_transport *transport;
    struct ic_config config;
    const char *version;
    rank_t rank, nr;
    _Atomic bool started;
    bool manual; /* nothing runs by itself: a test steps */
    uint64_t poll_interval_ns;
    uint64_t nap_cap_ns; /* how long may be slept at most: short where not all can ring */

    _Atomic(const void *) turn; /* who has it: an address in that thread's storage */
    _Atomic bool pushed;        /* something was queued while the turn was taken */
    _Atomic bool tick_due;
    _Atomic uint32_t polls; /* counts; the progress thread sees whether others poll */
    bool credit_late;       /* (turn) a credit message found no room */
    rank_t nr_held;   /* (turn) peers with held messages */

    struct sim_mutex outbox_lock;
    _Atomic uint32_t backlog; /* sum of all peers' */
    struct ic_note *free[3];  /* outbox lock; by size */
    unsigned nr_free[3];

    struct ic_peer *peer;
    struct ic_handler handler[IC_TYPES];
    void (*batch_end)(void *opaque);
    void *batch_end_opaque;
    void (*on_lost)(void *opaque, rank_t rank, const char *why);
    void *on_lost_opaque;
    _Atomic bool given_up; /* collectives fail, except for leaving */
    bool leaving;          /* in ic_stop */
    _Atomic bool a_rank_is_lost;
    _Atomic uint32_t nr_byes;
    bool disorderly; /* a start-up or stop timed out: the transport cannot end in an orderly way */
    _Atomic bool stopped;
    char why[IC_HOST_NAME + 48 + IC_REASON + 64];
    uint64_t last_tick_ns; /* (turn) */
    rank_t suspect;        /* (turn) its connection failed: lost at the next tick */
    char suspect_reason[IC_REASON]; /* empty: nobody is suspected */

    struct ic_round round[2];
    uint32_t gathers; /* launch thread */
    _Atomic uint32_t arrived, released;
    uint32_t barriers; /* launch thread */

    int64_t clock_offset_ns;
    uint64_t clock_error_ns;
    _Atomic uint64_t clock_answer; /* rank 0's clock, 0: none yet */

    int bell_in; /* pipe to sleep on; -1: the bell's word */
    struct ic_ear ear[IC_EARS];
    unsigned nr_ears;
    _Atomic uint32_t nappers; /* threads in ic_nap other than the progress thread */
    _Atomic bool watching; /* the progress thread leaves polling to others and does not listen */
    _Atomic bool rested;   /* one of those others has stopped since */

    struct sim_thread progress;
    _Atomic bool progress_stop;
};

/* core.c */
struct ic *ic_create(struct ic_transport *t, rank_t rank, rank_t nr, const struct ic_config *config);
void ic_set_identity(struct ic *ic, rank_t rank, const char *host, int pid);
bool ic_turn_take(struct ic *ic);
void ic_turn_leave(struct ic *ic);
/* A poll by whoever has the turn; handles at most `max` messages. */
unsigned ic_poll_in_turn(struct ic *ic, unsigned max);
/* Leaves what is in the outboxes to the transport, as far as it takes it. In turn. */
void ic_push(struct ic *ic);
/* Sends at once or not at all; not subject to windows. In turn. */
bool ic_send_urgent(struct ic *ic, rank_t to, unsigned type, const void *head, uint32_t len);
void ic_drop_outbox(struct ic *ic, struct ic_peer *p);

/* outbox.c: notes and queues. Context: outbox lock held, except the held queues' (turn). */
struct ic_note *ic_note_get(struct ic *ic, uint32_t len);
void ic_note_put(struct ic *ic, struct ic_note *note);
void ic_notes_free(struct ic *ic);
void ic_queue_init(struct ic_queue *q);
void ic_queue_add(struct ic_queue *q, struct ic_note *note);
struct ic_note *ic_queue_take(struct ic_queue *q);

/* collective.c */
void ic_collective_init(struct ic *ic);
void ic_collective_fini(struct ic *ic);
/* Polls until done(ic) or the deadline (sim_host_ns; UINT64_MAX: none): SIM_INPROGRESS then. SIM_ERR_IO when a
 * rank is lost. */
enum sim_status ic_wait(struct ic *ic, bool (*done)(struct ic *ic), uint64_t deadline_ns);

/* progress.c */
/* Rings when the peer sleeps. After the message is under way; the peer has a bell. */
void ic_bell_ring(const struct ic_peer *p);

/* clock.c */
void ic_clock_init(struct ic *ic);
enum sim_status ic_clock_compare(struct ic *ic);

/* sockets.c */
/* Collective. */
enum sim_status ic_sockets_find(struct ic *ic) SIM_MUST_CHECK;
bool ic_sockets_hear(const struct ic *ic, rank_t rank);
/* Sleeps until rung, or data has come for MPI (`listen`), or the time is over. */
void ic_sockets_sleep(struct ic *ic, bool listen, uint64_t max_ns);
/* Ranks whose connections are closed are lost. In turn. */
void ic_sockets_check(struct ic *ic);

/* liveness.c */
void ic_watch_process(struct ic *ic, rank_t rank, int pid);
void ic_liveness_init(struct ic *ic);
void ic_liveness_fini(struct ic *ic);
/* Heartbeats, silence, processes. In turn. */
void ic_tick(struct ic *ic);
/* The rank is lost; `reason` ("its process ended") completes the message. In turn. */
void ic_lose(struct ic *ic, rank_t rank, const char *reason);
/* The same at the next poll, for where a sender must not meet on_lost. `rank` may be none of the ranks: it is
 * not known which. In turn. */
void ic_suspect(struct ic *ic, rank_t rank, const char *reason);

#endif
