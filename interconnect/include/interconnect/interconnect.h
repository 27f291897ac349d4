/* Active messages between the ranks of one run.
 *
 *   ic_send -> outbox of the peer -> transport (inproc | mpi) -> ic_poll on some thread there -> handler
 *
 * A rank has one `struct ic`. Messages are ordered per pair of ranks, delivered exactly once, and up to
 * IC_MESSAGE_MAX bytes long; a handler runs on the thread that polls, one thread at a time per rank, so
 * handlers of one rank never run at once. Sending never blocks: what the transport does not take now waits
 * in the peer's outbox and leaves at the next poll, oldest first.
 *
 * Who polls: executors at safepoints (not more often than the transport's ic_poll_interval_ns), threads
 * that wait for an answer, and the progress thread (ic_start) while nobody else does.
 *
 * Transports implement `struct ic_transport_ops` (transport.h): inproc joins several logical ranks of one
 * process, for tests and `--ranks N`, with delays and reorderings from a seed; mpi is two-sided MPI. */
#ifndef INTERCONNECT_INTERCONNECT_H
#define INTERCONNECT_INTERCONNECT_H

#include "sim-core/status.h"
#include "sim-core/types.h"

struct ic;

enum {
    IC_MESSAGE_MAX = 64 * 1024 - 64, /* head + body */
    IC_TYPES = 96                    /* types are 0 .. IC_TYPES - 1 */
};

/* Who may register which types: each folder has a span, so that counters and traces can name them. */
enum ic_type_base {
    IC_TYPE_CONTROL = 0,    /* interconnect: hello, bye, lost, heartbeat, clock */
    IC_TYPE_PARTITION = 16, /* partition: topology, plan, moves */
    IC_TYPE_DSM = 32,       /* mem: coherence */
    IC_TYPE_MACHINE = 48,   /* launch: vCPU messages, MMIO, interrupts, end of the run */
    IC_TYPE_CHECKPOINT = 64,
    IC_TYPE_TEST = 80
};

/* `data` (8-byte aligned) is valid until the handler returns. It must not block or poll; it may send.
 * Context: the polling thread; no lock of the interconnect's is held that ic_send would take. */
typedef void ic_handler_fn(void *opaque, rank_t from, const void *data, uint32_t len);

/* Registers a handler before ic_start. `name` is static. A second registration of a type is a bug. */
void ic_register(struct ic *ic, unsigned type, const char *name, ic_handler_fn *fn, void *opaque);

rank_t ic_rank(const struct ic *ic);
rank_t ic_nr_ranks(const struct ic *ic);
/* "rank 2 (host n3, pid 4711)"; static storage of the ic. For messages. */
const char *ic_rank_name(const struct ic *ic, rank_t rank);
/* Do both ranks run on one host? Transfers between hosts are slower by an order of magnitude. */
bool ic_same_host(const struct ic *ic, rank_t a, rank_t b);

/* Sends head and body (either may be empty) as one message. Copies what it cannot pass on at once; never
 * blocks and never runs handlers. To itself: delivered by the next poll. Context: any thread. */
void ic_send(struct ic *ic, rank_t to, unsigned type, const void *head, uint32_t head_len,
             const void *body, uint32_t body_len);
static inline void ic_send_small(struct ic *ic, rank_t to, unsigned type, const void *head,
                                 uint32_t len)
{
    ic_send(ic, to, type, head, len, NULL, 0);
}
/* Messages that wait to leave, to all ranks together. Context: any; exact only for a moment. */
uint32_t ic_backlog(const struct ic *ic);
/* To all ranks but this one. */
void ic_broadcast(struct ic *ic, unsigned type, const void *head, uint32_t len);

/* Receives and handles what has arrived and pushes outboxes. Returns the number of messages handled; 0 at
 * once when another thread polls. Context: any thread that may run handlers: no lock of rank
 * SIM_RANK_INTERCONNECT or above held, and no vCPU of it `running` (sim-core/vcpu.h). */
unsigned ic_poll(struct ic *ic);
/* Polls once more and tells senders to ring the progress thread from now on. For a thread that has polled
 * and is about to sleep (all its vCPUs are idle); without it the progress thread takes over within about a
 * millisecond. Returns the number of messages handled: look again for work before sleeping. Context: as
 * ic_poll. */
unsigned ic_rest(struct ic *ic);
/* Polls; when nothing came, sleeps until something may have come, ic_wake, or max_ns, and returns 0 (poll again). For a
 * thread that has nothing else to do: it hears of a message with one wake-up, where the progress thread would have to
 * wake it in turn. Context: as ic_poll. */
unsigned ic_nap(struct ic *ic, uint64_t max_ns);
/* Wakes whoever of this rank is in ic_nap. Context: any. */
void ic_wake(struct ic *ic);
/* How long a thread that has other work should leave between two polls: 0 over shared memory, 10 us and
 * more over TCP, where an idle poll is a system call. */
uint64_t ic_poll_interval_ns(const struct ic *ic);
/* Called on the polling thread after the last handler of a poll that handled something: receivers that
 * batch their reactions (revokes) act here. Before ic_start. */
void ic_set_batch_end(struct ic *ic, void (*fn)(void *opaque), void *opaque);

/* Things all ranks must agree on, or whose values differ for a reason. Rank 0's are compared with
 * everybody's; the first mismatch is logged once, naming both ranks and both values, and fails everywhere.
 * The interconnect adds its own: program version, message layout, byte order, page size. */
struct ic_fact {
    const char *name; /* "kernel file" */
    char value[80];   /* printable */
};
/* Context: launch thread, before ic_start; collective; blocks (bounded by the start-up time-out). */
enum sim_status ic_agree(struct ic *ic, const struct ic_fact *facts, unsigned nr) SIM_MUST_CHECK;
/* Collective exchange of blobs at start-up (topologies): out[r] is rank r's, lens[r] its length; free
 * with ic_gather_free. */
enum sim_status ic_gather(struct ic *ic, const void *mine, uint32_t len, void **out,
                          uint32_t *lens) SIM_MUST_CHECK;
void ic_gather_free(struct ic *ic, void **out);
/* Collective; polls (runs handlers) meanwhile. SIM_ERR_IO when a rank is lost. */
enum sim_status ic_barrier(struct ic *ic) SIM_MUST_CHECK;

/* Nanoseconds to add to this host's CLOCK_MONOTONIC to get rank 0's, estimated by ic_agree from the fastest
 * of some round trips (0 on one host), and the bound of its error. */
int64_t ic_clock_offset_ns(const struct ic *ic, uint64_t *error_ns);

/* Starts the progress thread: it polls while no other thread has for a while, sleeps when the rank is idle
 * (woken by a doorbell on one host), sends heartbeats and notices lost ranks. */
enum sim_status ic_start(struct ic *ic) SIM_MUST_CHECK;
/* The run ends for a reason that all ranks hear of: what waits in a collective here returns SIM_ERR_IO, also later
 * ones. ic_stop stays orderly. Context: any, handlers too. */
void ic_give_up(struct ic *ic);
/* Says good-bye to all ranks, waits (bounded) for theirs, stops the progress thread. Afterwards silence of a
 * rank is no loss. Collective. */
void ic_stop(struct ic *ic);
void ic_destroy(struct ic *ic);

/* Called once, on the progress or a polling thread, when a rank is lost (its process died, its connection
 * broke, or it was silent for ic_config.lost_after_ns). `why` is one line that names it; the lowest rank that
 * is left has logged it. `rank` is -1 when MPI does not say whose connection broke. All later sends to it are
 * dropped. */
void ic_on_lost(struct ic *ic, void (*fn)(void *opaque, rank_t rank, const char *why),
                void *opaque);

struct ic_config {
    uint64_t start_timeout_ns; /* 0 = 30 s: ranks that do not show up in ic_agree */
    uint64_t warn_after_ns;    /* 0 = 2 s: one warning that names a silent rank */
    uint64_t lost_after_ns;    /* 0 = 30 s: a silent rank is lost. A stopped rank may come back before */
};

/* --- creating --- */

/* A net joins `nr` logical ranks of this process. Each rank then has its own ic. */
struct ic_inproc;
struct ic_chaos {
    uint64_t seed;         /* 0: none; messages arrive at once */
    uint64_t max_delay_ns; /* each message waits up to this; pairs overtake each other, a pair never */
    bool manual;           /* nothing arrives except by ic_inproc_step */
};
enum sim_status ic_inproc_create(unsigned nr, const struct ic_chaos *chaos,
                                 struct ic_inproc **out) SIM_MUST_CHECK;
enum sim_status ic_inproc_join(struct ic_inproc *net, rank_t rank, const struct ic_config *config,
                               struct ic **out) SIM_MUST_CHECK;
/* Delivers one message, chosen by the seed, and runs its handler and batch end on this thread; false when
 * none is under way. For deterministic tests (manual). */
bool ic_inproc_step(struct ic_inproc *net);
/* After all its ranks were destroyed. */
void ic_inproc_destroy(struct ic_inproc *net);

/* Was this process started by mpirun or srun with more than one rank? Looks at the environment only:
 * a run on one rank never starts MPI. Warns when srun started several tasks without joining them. */
bool ic_mpi_wanted(void);
/* Was the program built with MPI? */
bool ic_mpi_built(void);
/* Starts MPI and meets the other ranks: collective, blocks (bounded by the start-up time-out). One per process,
 * which must ignore SIGPIPE. SIM_ERR_UNSUPPORTED (logged) when built without MPI. */
enum sim_status ic_mpi_create(const struct ic_config *config, struct ic **out) SIM_MUST_CHECK;

/* --- counters --- */

struct ic_counter {
    const char *name; /* of the type; NULL: not registered */
    uint64_t sent, sent_bytes, received, received_bytes;
};
/* A snapshot of all types. Context: any. */
void ic_counters(const struct ic *ic, struct ic_counter out[IC_TYPES]);

#endif
