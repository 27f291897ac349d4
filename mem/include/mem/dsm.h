/* Coherent guest memory over ranks: invalid / shared / exclusive per 4 KiB page, a home directory.
 *
 *   vCPU or device needs a page -> dsm_acquire: right state? -> use it until the next safepoint
 *                               -> DSM_WAIT: request to the home; run something else; `granted` wakes
 *   home: one transaction per page at a time; asks the owner (sharers), who sends the data straight to
 *         the requester
 *   owner: hold until the access it was granted for has retired -> enforce.revoke -> data -> requester
 *
 * The protocol is the table mem/dsm/protocol.def: (state, event) -> (next state, actions), for the rank side
 * and for the home side. The engine (mem/dsm/), its README and the spin model are made from it.
 *
 * Pages are numbered by RAM offset (mem/space.h: ram_offset >> 12), not by guest-physical address.
 *
 * Threads: dsm_acquire and what releases holds come from executors and device threads; events come from
 * the polling thread. Page states are atomic words: the fast answer "state is right" takes no lock. */
#ifndef MEM_DSM_H
#define MEM_DSM_H

#include <stdatomic.h>

#include "interconnect/interconnect.h"
#include "sim-core/lock.h"
#include "sim-core/types.h"

struct dsm;

enum dsm_state {
    DSM_INVALID, /* nothing here; the bytes here are stale */
    DSM_SHARED,  /* readable; equal at all sharers */
    DSM_EXCLUSIVE /* the only copy; readable and writable */
};

enum dsm_result {
    DSM_OK,  /* state is right until the caller's next safepoint (vCPU) or unpin (device) */
    DSM_WAIT /* on its way; ops->granted will be called */
};

/* How a rank takes permissions back: the soft TLB of JIT vCPUs, or userfaultfd. */
struct dsm_enforce_ops {
    /* After return no vCPU of this rank uses more than `to[i]` of page[i]: TLB entries are gone and every
     * running vCPU has passed a safepoint. A batch costs one round of safepoints. With to[i] ==
     * DSM_INVALID translations of the page's old bytes are dropped as well.
     * Context: the polling thread; may block for one guest block. */
    void (*revoke)(void *opaque, unsigned nr, const uint64_t page[], const uint8_t to[]);
    /* Who waits for the page may try again. Context: any; no dsm lock held. */
    void (*granted)(void *opaque, uint64_t page);
    /* A peer broke the protocol (logged): the run must end. dsm_stop was done. May be NULL. Context: any; no
     * dsm lock held. */
    void (*failed)(void *opaque, const char *why);
    /* All three for whoever saves memory; may be NULL. Context: any; the engine's lock is held: they return soon
     * and take leaf locks only. */
    /* The page becomes one that this rank keeps (dsm_keeps), or ceases to be: told before it is so. */
    void (*moves)(void *opaque, uint64_t page, bool keeps);
    /* A mark that the page's keeper has made goes with the page: it is taken here (no vCPU has the page any more)
     * and put at the next keeper. */
    bool (*take_mark)(void *opaque, uint64_t page);
    void (*put_mark)(void *opaque, uint64_t page);
};

struct dsm_config {
    struct ic *ic;
    uint64_t nr_pages;
    uint8_t *bytes; /* the rank's copy of RAM: service mapping, nr_pages * 4 KiB */
    /* The home rank of a page at the start; the same function on every rank. Initially its home has it exclusive. */
    rank_t (*home)(void *opaque, uint64_t page);
    void *home_opaque;
    const struct dsm_enforce_ops *ops;
    void *opaque;
    /* At the start all bytes are zero on every rank, and all are written through the engine: then pages that nobody has
     * used go from their home to who needs them many at once (mem/dsm/run.c). The same on every rank. */
    bool blank;
    unsigned segment_pages; /* homes move by so many pages, aligned: a power of two up to 512; 0: 512 */
    uint64_t hold_ns;      /* how long a granted page waits for its access to retire; 0 = 200 us */
    uint64_t hold_max_ns;  /* the same for a page whose holds were too short; 0 = 1 ms */
    uint64_t stay_max_ns;  /* how long a page that bounces may stay with who writes it; 0: 3 times its way, 12 us */
    /* The clock of holds and stays; NULL: sim_host_ns. Tests that step messages by hand step time as well. */
    uint64_t (*now)(void *opaque);
};

/* Registers the message types at config->ic (before ic_start). */
enum sim_status dsm_create(const struct dsm_config *config, struct dsm **out) SIM_MUST_CHECK;
void dsm_destroy(struct dsm *d);
/* The run ends or a rank is lost: dsm_pin returns, messages are ignored. Nobody is woken who waits in guest
 * code. Context: any. */
void dsm_stop(struct dsm *d);

/* The state of a page here, now. */
enum dsm_state dsm_page_state(const struct dsm *d, uint64_t page);

/* Is this the rank that answers for the page's contents? It is who was exclusive last. Exactly one rank while all are
 * settled and none starts anything. Context: any. */
bool dsm_keeps(const struct dsm *d, uint64_t page);
/* Nothing that this rank asked for is under way, and no homes move, as far as it knows. Context: any. */
bool dsm_is_settled(struct dsm *d);

/* A vCPU (number `waiter` < 65536 of this rank) is about to read (`write` false) or write the page. DSM_OK: it
 * may, until its next safepoint. DSM_WAIT: the vCPU leaves guest code, and tries again after granted(). A
 * page that arrived for a waiter is held for it until dsm_retired(waiter) or hold_ns have passed, so
 * that an instruction which needs several pages ends. Context: executor, the vCPU running. */
enum dsm_result dsm_acquire(struct dsm *d, uint64_t page, bool write, uint32_t waiter);
/* The instruction for which `waiter` got pages has retired (or was given up): they may go. Cheap when the
 * waiter holds nothing. Context: executor. */
void dsm_retired(struct dsm *d, uint32_t waiter);
/* Does the waiter still wait for a page it was refused? Context: any. */
bool dsm_waiting(const struct dsm *d, uint32_t waiter);

/* A device: gets the page and pins it, blocking (polls the interconnect meanwhile). Pins nest and are
 * counted; a pinned page is not given away. Every pin is short: ranks that want the page wait. Only a page that is pinned
 * for reading, and that somebody waits to pin for writing, goes to who wants it first: its bytes stay, and are those of
 * all ranks again when the second pin is had.
 * Who pins several takes them in rising order. SIM_ERR_IO after dsm_stop. Context: any thread whose vCPU,
 * if it has one, is not `running`; no lock held that a handler takes. */
enum sim_status dsm_pin(struct dsm *d, uint64_t page, bool write) SIM_MUST_CHECK;
void dsm_unpin(struct dsm *d, uint64_t page);

/* Time passes: lets go what was held long enough. Called by ic's batch end and by pollers; one load when no
 * rank waits for a page of this one. Context: as ic_poll. */
void dsm_tick(struct dsm *d);
/* How long a thread that polls may sleep: until what is held longest must go, or for ever. Messages, pages
 * that are let go early and pins that end wake it through the interconnect. Context: any. */
uint64_t dsm_patience_ns(struct dsm *d);

/* Hints: pages that will be read soon (sequential streams). Never waits. */
void dsm_prefetch(struct dsm *d, uint64_t page, unsigned nr);

/* --- homes move (mem/dsm/move.c) ---
 *
 * The directory entries of whole segments go to another rank while vCPUs and devices run on; who needs a page from
 * elsewhere meanwhile waits until it is over (about three round trips). Bytes stay where they are, but pages that nobody
 * has ever used are at their home, wherever that is. */

enum { DSM_MOVES = 64, DSM_SEGMENT_PAGES = 512 };
struct dsm_move {
    uint64_t first, nr; /* segments: page / segment_pages. Ranges of one call do not overlap */
    uint32_t to;        /* rank */
    uint32_t reserved;
};
/* Begins; rank 0 only, up to DSM_MOVES ranges that exist, and ranks. *nr_segments: how many will move; those that are there already or
 * whose pages have several homes stay. 0: nothing has begun. SIM_ERR_BUSY: one is under way. Context: any. */
enum sim_status dsm_move_homes(struct dsm *d, const struct dsm_move *move, unsigned nr,
                               uint64_t *nr_segments) SIM_MUST_CHECK;
/* Rank 0: not over yet on all ranks. It goes on by itself while they poll. Context: any. */
bool dsm_is_moving(struct dsm *d);
/* Rank 0: gives it up if ranks still wait for pages that they asked for before, so that nothing has changed. False: it has begun in
 * earnest (and ends soon), or none is under way. Context: any. */
bool dsm_cancel_move(struct dsm *d);
/* Where the page's home is now. Context: any; may change at once. */
rank_t dsm_home(const struct dsm *d, uint64_t page);

/* Of a segment whose home is here: how many messages that has saved, and which other rank would have saved most (mem/dsm/traffic.c). */
struct dsm_segment_traffic {
    uint64_t segment;
    uint32_t best; /* rank */
    uint32_t home_saves, best_saves;
};
/* Since the last call: those where another rank would have saved more, worst placed first; returns how many were written.
 * Context: any. */
unsigned dsm_take_traffic(struct dsm *d, struct dsm_segment_traffic *out, unsigned max);

struct dsm_stats {
    uint64_t gets_shared, gets_exclusive;   /* requests sent by this rank */
    uint64_t pages_in, pages_out, zero_pages; /* bodies moved; pages known to be zero move no body */
    uint64_t invalidations, downgrades, revoke_batches;
    uint64_t migrations;                    /* homes here: reads answered with the page exclusive */
    uint64_t between_others;                /* homes here: pages that went from one other rank to another */
    uint64_t held, hold_timeouts;           /* requests that met a held page */
    uint64_t wait_ns_total, waits;          /* from DSM_WAIT to granted */
    uint64_t fetched_ahead, ahead_used, ahead_useless; /* of streams; useless: taken before it was used */
    uint64_t came_along;                    /* pages nobody had used, with another one */
    uint64_t homes_came;                    /* segments whose home this rank became */
};
void dsm_get_stats(const struct dsm *d, struct dsm_stats *out);
/* The pages that were requested most, hottest first; returns how many were written. For reports. */
struct dsm_hot_page {
    uint64_t page;
    uint32_t transfers;
};
unsigned dsm_hottest(const struct dsm *d, struct dsm_hot_page *out, unsigned max);

/* Prints protocol.def as a table (--dump-protocol). */
void dsm_dump_protocol(void (*line)(void *opaque, const char *text), void *opaque);

#endif
