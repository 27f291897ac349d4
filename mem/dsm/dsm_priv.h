/* Shared inside mem/dsm: what a rank knows of pages that something is going on with, and the
 * directory.
 *
 * Page word (4 bytes, one per page): enum dsm_state + 1 in the low bits (0: as at the start; and nobody here has
 * used it, whoever has it), whether it may have been written since it came exclusive, whether this sharer keeps it
 * (dsm_keeps), whether it was asked for along with another page, and how often it came. Read without a
 * lock; written under the lock.
 *
 * Record: a page that is wanted, held, pinned, or asked for by others. From a hash table; goes when
 * nothing is left of it. Its state is the protocol's; a page without record is I, S or E as its
 * word says. */
#ifndef MEM_DSM_PRIV_H
#define MEM_DSM_PRIV_H

#include "mem/dsm.h"
#include "protocol.h"
#include "sim-core/log.h"

enum {
    DSM_HOLDS = 8, /* pages one waiter can hold */
    DSM_NOBODY = UINT16_MAX + 1,
    DSM_WAITERS = UINT16_MAX + 1,
    DSM_WAITER_CHUNK = 256,
    DSM_BUCKETS = 1024,
    DSM_HABITS = 256,         /* pages of which something was learned */
    DSM_HABIT_NS = 1000000,   /* is kept for so long against other pages */
    DSM_STAYS = 4,            /* the longest stay is 1 << (DSM_STAYS - 1) times the shortest */
    DSM_WAY_NS = 4000,        /* how long a page's way takes, about, where messages need no time */
    DSM_STREAMS = 4,          /* that one waiter follows */
    DSM_BATCH = 64,           /* pages revoked at once */
    DSM_RUN = 63,             /* pages that come along with another one, at most */
    DSM_WORD_STATE = 3,
    DSM_WORD_WRITTEN = 4,
    DSM_WORD_KEEPER = 8, /* shared: of the sharers, the one that was exclusive last */
    DSM_WORD_AHEAD = 16, /* fetched ahead, not used yet */
    DSM_WORD_ALONG = 32, /* RANK_IR */
    DSM_WORD_COUNT = 64  /* one transfer */
};

/* A message as it travels; a body follows DATA unless the page is zero. */
struct dsm_wire {
    uint64_t page;
    uint16_t requester;
    uint16_t acks;
    uint8_t clean; /* DATA: the sender, exclusive, did not write. DONE: what DATA said */
    uint8_t marked; /* DATA, ACK of the keeper: ops->take_mark */
    uint8_t run;    /* pages behind this one. GET_E, FWD_E: are wanted as well; DATA_E, DONE: came along */
    uint8_t unused;
};

/* A FWD or INV that is waiting for its turn. */
struct dsm_request {
    uint64_t page;
    rank_t requester;
    uint16_t acks;
    uint8_t event; /* ON_FWD_S, ON_FWD_E, ON_INV */
    uint8_t run;
};

struct dsm_record {
    uint64_t page;
    struct dsm_record *next; /* of its bucket, or of the free ones */
    uint8_t state;           /* enum rank_state */
    bool acks_known;         /* DATA_E or GRANT has said how many */
    bool clean;              /* DATA has said so */
    uint8_t run;             /* IE: so many pages behind it were asked for; then: have come */
    uint16_t acks_due, acks_got;
    uint32_t waiters; /* the first of the list, or DSM_NOBODY */
    uint32_t pinners; /* threads in dsm_pin */
    uint32_t pinners_to_write; /* of those */
    uint32_t pins;
    uint32_t holds;
    uint64_t hold_id; /* holds of another id are broken */
    uint64_t hold_until;
    /* Another rank's request; linked in d->requests. */
    bool put_off; /* its GET leaves when no homes move any more */
    bool requested, request_met_hold;
    struct dsm_request request;
    struct dsm_record *request_next;
};

struct dsm_hold {
    uint64_t page, id;
};

/* stream.c */
struct dsm_stream {
    uint64_t last; /* page */
    uint16_t run;  /* how often the next one followed */
    uint8_t window;
    bool down;
};

struct dsm_waiter {
    _Atomic bool waiting;
    _Atomic uint8_t nr_holds;
    bool write;
    uint32_t next; /* of the record's list */
    uint64_t page; /* while waiting */
    uint64_t since;
    struct dsm_hold hold[DSM_HOLDS];
    struct dsm_stream stream[DSM_STREAMS];
    unsigned next_stream;
};

/* habit.c */
struct dsm_habit {
    uint64_t page;
    uint8_t hold; /* doublings */
    uint8_t stay; /* 0: none; DSM_STAYS: the longest */
    bool taken;   /* while it was exclusive here, and not missed yet */
    uint64_t seen, stays_until;
};

/* The home's view of a page. All zeros: exclusive at its home. */
struct dsm_entry {
    uint64_t sharers;
    uint16_t
        holder;    /* XOR the home: owner or a rank that surely has a copy; BX, BS: who is served */
    uint8_t state; /* enum home_state */
    uint8_t migrates; /* the ranks read and then write it in turn */
    uint32_t queue;   /* index of the last node, whose next is the first; 0: none */
};
_Static_assert(sizeof(struct dsm_entry) == 16, "16 bytes per page at its home");

struct dsm_node {
    uint32_t next;
    uint16_t requester;
    uint8_t event; /* HOME_ON_GET_S, HOME_ON_GET_E */
};

/* A message to this rank itself, from one of its two sides to the other. */
struct dsm_local {
    enum dsm_message type;
    struct dsm_wire wire;
};

/* move.c. What this rank has to do before homes have moved, in this order. */
enum move_phase {
    MOVE_NONE,
    MOVE_HOLDS, /* sends no GET; its own end */
    MOVE_QUIET, /* they have ended */
    MOVE_GOES,  /* so have all; DONEs come in */
    MOVE_WAITS, /* its homes have left; those that come have not */
    MOVE_MOVED
};

struct dsm_moving {
    enum move_phase phase;
    uint32_t round;
    unsigned nr;
    struct dsm_move move[DSM_MOVES];
    uint64_t due; /* segments that come here */
    /* Of rank 0, which leads it. */
    uint32_t led_round; /* its HOLD may be under way to itself */
    bool leads, goes;
    unsigned said;  /* ranks that are so far: */
    bool *has_said; /* which */
};

/* traffic.c: how many messages a home at some ranks would have saved; a place without any is free, as are those behind it. */
enum { DSM_PLACES = 4 };
struct dsm_traffic {
    uint32_t saves[DSM_PLACES];
    uint16_t rank[DSM_PLACES];
    bool active; /* in d->active */
};

struct dsm_port {
    struct dsm *d;
    enum dsm_message type;
};

/* Owner: any thread, under `lock` unless said otherwise. Lifetime: dsm_create to dsm_destroy. */
struct dsm {
    struct dsm_config config;
    rank_t me, nr_ranks;
    unsigned group; /* ranks per bit of a sharers word */
    struct sim_mutex lock;
    struct sim_cond arrived; /* a page that somebody wants to pin */
    _Atomic uint32_t *word;  /* by page */
    struct dsm_entry *dir;   /* by page; only those of this home are touched */
    _Atomic uint16_t *moved; /* by segment: 1 + its home; 0: as config.home says. Written under the lock */
    unsigned segment_bits;
    struct dsm_moving moving;
    struct dsm_traffic *traffic; /* by segment; of those whose home this is, since the last report */
    uint64_t *active;            /* segments with traffic */
    unsigned nr_active, cap_active;
    struct dsm_port port[MSG_NR];

    struct dsm_record *bucket[DSM_BUCKETS];
    uint32_t nr_coming; /* pages on their way here */
    uint32_t nr_put_off; /* of these: not asked for yet */
    uint32_t nr_pins;
    uint32_t nr_busy; /* transactions at this home */
    struct dsm_record *free_records;
    _Atomic(struct dsm_waiter *) waiters[DSM_WAITERS / DSM_WAITER_CHUNK];

    struct dsm_node *node; /* [0] is nobody's */
    unsigned nr_nodes, cap_nodes;
    uint32_t free_node;

    struct dsm_record *requests; /* FWD and INV that wait */
    _Atomic uint32_t nr_requests;
    _Atomic bool kicked;   /* one of them may go now, whatever next_try says */
    _Atomic bool flushing; /* a thread is in dsm_tick */
    _Atomic uint64_t next_try;
    bool tick_sent;
    uint64_t last_hold_id;
    uint64_t jitter;
    struct dsm_habit habit[DSM_HABITS]; /* by a hash of the page */
    uint64_t way_ns, stay_max_ns;
    unsigned distrust; /* of streams: so many more pages in a row are asked for */
    uint8_t run;       /* pages that are asked for along with another one */

    struct dsm_local *local; /* messages to itself, handled before the lock is let go */
    unsigned nr_local, cap_local;
    uint64_t *woken; /* pages for ops->granted, told after the lock is let go */
    unsigned nr_woken, cap_woken;

    _Atomic bool stopped; /* the run ends */
    const char *failure;  /* to be told by dsm_leave */
    struct dsm_stats stats;
};

/* dsm.c: every entry takes the lock with dsm_enter and lets it go with dsm_leave, which first
 * handles messages to itself and afterwards tells who was granted what. */
void dsm_enter(struct dsm *d);
void dsm_leave(struct dsm *d);
uint64_t dsm_now(const struct dsm *d);
/* A peer broke the protocol: logs it (once) and ends the run. */
void dsm_fail(struct dsm *d, const char *fmt, ...) SIM_PRINTF(2, 3);
static inline bool dsm_is_stopped(const struct dsm *d)
{
    return atomic_load_explicit(&d->stopped, memory_order_relaxed);
}
/* Room for n elements of `size`, doubling. */
void *dsm_grow(void *p, unsigned *cap, unsigned n, size_t size);

/* record.c */
struct dsm_record *record_find(struct dsm *d, uint64_t page);
struct dsm_record *record_get(struct dsm *d, uint64_t page);
/* Lets it go if nothing is going on any more. */
void record_put(struct dsm *d, struct dsm_record *r);
void record_set_state(struct dsm *d, struct dsm_record *r, enum rank_state state);
/* The page, as it is here, is about to be used; written: the exclusive page. Context: under the lock. */
void record_used(struct dsm *d, uint64_t page);
void record_written(struct dsm *d, uint64_t page);
/* The page's home comes here, and the page has been used elsewhere: a word as at the start would say otherwise. */
void record_never_here(struct dsm *d, uint64_t page);
static inline uint64_t dsm_nr_segments(const struct dsm *d)
{
    return (d->config.nr_pages + d->config.segment_pages - 1) >> d->segment_bits;
}
static inline bool record_is_written(const struct dsm *d, uint64_t page)
{
    return atomic_load_explicit(&d->word[page], memory_order_relaxed) & DSM_WORD_WRITTEN;
}
/* Nobody here has ever used the page: its bytes here are those of the start. */
static inline bool record_is_untouched(const struct dsm *d, uint64_t page)
{
    return !(atomic_load_explicit(&d->word[page], memory_order_relaxed) & DSM_WORD_STATE);
}
void records_destroy(struct dsm *d);

/* rank.c. `body`: what DATA brought; NULL: a page of zeros. */
struct rank_input {
    rank_t from;
    const struct dsm_wire *wire;
    const uint8_t *body;
    bool urgent; /* a wish that others wait for: not put off */
    bool hit; /* out: DO_HIT */
};
void rank_handle(struct dsm *d, struct dsm_record *r, enum rank_event event, struct rank_input *in);
/* Sends what was put off. */
void rank_ask_now(struct dsm *d, struct dsm_record *r);
/* A message of the protocol for the rank side. */
void rank_receive(struct dsm *d, rank_t from, enum dsm_message type, const struct dsm_wire *wire,
                  const uint8_t *body);

/* home.c */
void home_receive(struct dsm *d, rank_t from, enum dsm_message type, const struct dsm_wire *wire);
/* The page goes to `rank` along with another one, if it has never left its home; until DONE. */
bool home_give(struct dsm *d, uint64_t page, rank_t rank);
/* Has it never left? */
bool home_never_left(const struct dsm *d, uint64_t page);
rank_t home_holder(const struct dsm *d, uint64_t page);
void home_destroy(struct dsm *d);

/* messages.c */
void messages_register(struct dsm *d);
void messages_send(struct dsm *d, rank_t to, enum dsm_message type, struct dsm_wire wire);
void messages_send_page(struct dsm *d, rank_t to, enum dsm_message type, struct dsm_wire wire);
void messages_handle_local(struct dsm *d);
/* Makes the polling thread call dsm_tick, if it sleeps. */
void messages_send_tick(struct dsm *d);

/* traffic.c: a page goes from one rank to another, or an upgrade (both are the requester). */
void traffic_count(struct dsm *d, uint64_t page, rank_t requester, rank_t holder);

/* move.c: its messages are of a type behind those of the protocol. */
enum { MSG_HOMES = MSG_NR };
void move_init(struct dsm *d);
void move_fini(struct dsm *d);
/* Is a GET put off? So it is while homes move, unless it is urgent and this rank may still ask. */
bool move_puts_off(const struct dsm *d, bool urgent);
/* No new pin may begin: this rank has said that it has none. */
static inline bool move_keeps_from_pinning(const struct dsm *d)
{
    return d->moving.phase >= MOVE_QUIET;
}
/* Something has ended, perhaps: goes on as far as can be. Context: under the lock. */
void move_go_on(struct dsm *d);

/* waiters.c */
struct dsm_waiter *waiter_find(const struct dsm *d, uint32_t waiter);
void waiter_wait(struct dsm *d, struct dsm_record *r, uint32_t waiter, bool write);
/* The page has come: every waiter holds it. */
void waiters_wake(struct dsm *d, struct dsm_record *r);
void waiter_hold(struct dsm *d, struct dsm_record *r, struct dsm_waiter *w);
void waiter_drop_hold(struct dsm *d, struct dsm_waiter *w, uint64_t page);
void waiters_destroy(struct dsm *d);

/* pin.c: is the page here now, and pinned? Asks for it if not. */
bool pin_try(struct dsm *d, struct dsm_record *r, bool write);

/* habit.c: how long a hold of the page may last, and it was too short. */
uint64_t habit_hold_ns(struct dsm *d, uint64_t page);
void habit_hold_failed(struct dsm *d, uint64_t page);
/* The instruction that the page came for has retired; until when it shall stay, 0: no wish; another rank gets it, which
 * was exclusive here; somebody here would need it. */
void habit_used(struct dsm *d, uint64_t page);
uint64_t habit_stays_until(struct dsm *d, uint64_t page);
void habit_taken(struct dsm *d, uint64_t page);
void habit_missed(struct dsm *d, uint64_t page, bool write);

/* stream.c: the waiter must wait for the page; it (NULL: who never waited) uses one that was fetched ahead; such a page
 * may go. */
void stream_missed(struct dsm *d, struct dsm_waiter *w, uint64_t page, bool write);
void stream_used(struct dsm *d, struct dsm_waiter *w, uint64_t page, bool write);
void stream_taken(struct dsm *d, uint64_t page);
void stream_set_ahead(struct dsm *d, uint64_t page, bool ahead);
static inline bool stream_is_ahead(const struct dsm *d, uint64_t page)
{
    return atomic_load_explicit(&d->word[page], memory_order_relaxed) & DSM_WORD_AHEAD;
}

/* run.c: asks for pages behind one that is wanted, returns how many; the home gives some of them, returns how many; the
 * answer is here. */
uint8_t run_ask(struct dsm *d, uint64_t page);
uint8_t run_give(struct dsm *d, const struct dsm_request *request);
void run_answered(struct dsm *d, struct dsm_record *r, uint8_t given);
/* Is nothing known of the page here, and nothing going on with it? */
bool run_is_untouched(struct dsm *d, uint64_t page);

/* hold.c: requests of other ranks that wait */
void hold_start(struct dsm *d, struct dsm_record *r);
void hold_break(struct dsm *d, struct dsm_record *r);
/* Something that kept the page here is gone. */
void hold_released(struct dsm *d, struct dsm_record *r);
void request_add(struct dsm *d, struct dsm_record *r, const struct dsm_request *request);
/* Takes up to DSM_BATCH requests that may go now. */
unsigned requests_take(struct dsm *d, struct dsm_record *out[DSM_BATCH]);

#endif
