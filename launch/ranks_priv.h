/* Shared by ranks*.c: message types and one rank's state. */
#ifndef LAUNCH_RANKS_PRIV_H
#define LAUNCH_RANKS_PRIV_H

#include "mem/dsm.h"
#include "ranks.h"
#include "sim-core/log.h"
#include "world.h"

enum message_type {
    MSG_VCPU = IC_TYPE_MACHINE,
    MSG_MMIO,
    MSG_MMIO_DONE,
    MSG_WANT_END,
    MSG_END,
    MSG_BOOT,
    MSG_ABORT,
    MSG_FREEZE,
    MSG_QUIET,
    MSG_FROZEN,
    MSG_THAW,
    MSG_MOVE,
    MSG_HART,
    MSG_MOVED,
    MSG_SETTLED,
    MSG_LOAD,
    MSG_FLUSH = IC_TYPE_CHECKPOINT,
    MSG_CLOCK,
    MSG_IMAGE_PREPARE,
    MSG_IMAGE_TAKE,
    MSG_IMAGE_END,
    MSG_IMAGE_REPORT,
    MSG_IMAGE_PROGRESS,
    MSG_IMAGE_WANTED,
    MSG_MIGRATE_PLACE,
    MSG_MIGRATE_ORDER,
    MSG_MIGRATE_REPORT,
    MSG_MIGRATE_END,
    MSG_MIGRATE_BROKEN,
    MSG_LEND,
    MSG_TRAFFIC
};

/* A message to a vCPU that waits for the end of a freeze. */
struct held_message {
    struct held_message *next;
    const struct vcpu *target;
    uint32_t len;
    uint8_t data[];
};

/* Owner: the launch thread. `waits`, requests and held messages are under `lock`. */
struct ranks {
    struct sim *sim;
    const struct config *config;
    struct ic *ic;
    struct machine *machine;
    struct mem_space *space;
    struct part_topology **topology; /* of every rank */
    struct part_plan *plan;
    struct dsm *dsm;
    struct hkvm_coherence *coherence; /* what enforces its permissions on vCPUs of KVM; NULL: they are others */
    bool ended; /* all ranks have agreed to */
    struct sim_mutex lock;
    struct mmio_wait *waits;
    uint64_t next_id;
    struct mmio_request *first, **last;
    _Atomic uint32_t nr_requests; /* queued, or being served */
    uint32_t settling;            /* rounds of ranks_settle, ever */
    _Atomic uint32_t settled;     /* SETTLEDs that came, ever */
    struct machine_boot boot;
    _Atomic bool boot_came;
    _Atomic uint64_t clock_base; /* host_base_ns of rank 0, on its host; 0: not told yet */
    _Atomic uint64_t decided; /* 0, or 1 + enum sim_end << 32 | code */
    _Atomic int abort_code;   /* of the rank that could not go on; 0: none */
    _Atomic bool broken;      /* a rank was lost, or broke the protocol */
    bool started;
    struct sim_log_kept kept; /* ranks_set_up.c: messages while this rank sets up */

    struct ranks_load *load; /* ranks_load.c; NULL: not balanced */
    uint64_t hart_moves;     /* that balancing made */
    uint64_t loans;          /* how often it lent a core or took it back */
    struct ranks_homes *homes; /* ranks_homes.c; as `load` */
    _Atomic unsigned homes_kept;
    struct ranks_homes_moved homes_moved; /* by balancing */

    /* ranks_freeze.c */
    struct world *world;
    _Atomic uint32_t *owner; /* by hart: the rank that runs it; changes while all ranks are frozen */
    unsigned paused;         /* how often by freezes, which nest (an image while stopped); none: it refuses. I/O thread */
    bool holding;            /* vCPU messages wait in `held` (lock) */
    struct held_message *held, **last_held;
    /* All under `lock`: who looks whether a round is over must not find half of the next one. */
    uint32_t quiet;          /* QUIETs that came, ever */
    uint32_t rounds;         /* of freezing and settling, of this rank, ever */
    bool here, refuses;      /* this rank has stopped, or will not, and said so; FROZEN is still to be told */
    uint32_t round;          /* rank 0: the number of the last one */
    bool refused;            /* rank 0: by one of the ranks */
    _Atomic uint32_t frozen; /* rank 0: ranks that stand still in it. Read without the lock */
    _Atomic uint32_t moved;  /* rank 0: the hart has arrived */

    struct ranks_image *image;     /* ranks_image.c */
    struct ranks_migrate *migrate; /* ranks_migrate.c */
};

/* ranks.c: serves accesses of other ranks while it waits for something to arrive. Context: no device locks. */
void ranks_nap(void *ranks, uint64_t max_ns);
static inline bool ranks_failed(const struct ranks *r)
{
    return atomic_load_explicit(&r->broken, memory_order_acquire);
}

/* ranks_agree.c, images_folder.c: collective */
enum sim_status ranks_agree(struct ranks *r) SIM_MUST_CHECK;
enum sim_status ranks_check_folder(struct ranks *r) SIM_MUST_CHECK;

/* ranks_mmio.c */
extern const struct mem_remote_ops ranks_remote_ops; /* of a rank without devices */
void ranks_mmio_init(struct ranks *r);
void ranks_mmio_fini(struct ranks *r);
void ranks_mmio_register(struct ranks *r);
/* Between the two the thread polls, and afterwards serves accesses of other ranks that came. Nests. Context: no
 * device locks. */
const struct ranks *ranks_serve_begin(struct ranks *r);
void ranks_serve_end(struct ranks *r, const struct ranks *outer);

/* ranks_load.c: balancing. Registered always; started when the run starts, stopped before its end, on the launch thread;
 * destroyed when nothing is handled any more. */
void ranks_load_register(struct ranks *r);
void ranks_load_destroy(struct ranks *r);

/* ranks_homes.c: as balancing, of which it is a part; each interval of it. */
void ranks_homes_register(struct ranks *r);
void ranks_homes_start(struct ranks *r);
void ranks_homes_tick(struct ranks *r);
void ranks_homes_destroy(struct ranks *r);
/* Adds to *moved. SIM_ERR_BUSY: ranks wait for pages for longer than limit_ns, nothing has moved. Context: rank 0's I/O
 * thread. */
enum sim_status ranks_move_segments(struct ranks *r, const struct dsm_move *move, unsigned nr, uint64_t limit_ns,
                                    struct ranks_homes_moved *moved) SIM_MUST_CHECK;

/* ranks_image.c */
void ranks_image_register(struct ranks *r);
void ranks_image_destroy(struct ranks *r);

/* ranks_migrate.c */
void ranks_migrate_register(struct ranks *r);
void ranks_migrate_destroy(struct ranks *r);

/* ranks_freeze.c */
void ranks_freeze_init(struct ranks *r);
void ranks_freeze_fini(struct ranks *r);
void ranks_freeze_register(struct ranks *r);
/* ranks.c: to the rank that runs the vCPU now. Under the lock where the order with other messages counts. */
void ranks_send_to_vcpu(struct ranks *r, const struct vcpu *target, const void *msg, uint32_t len);
/* Keeps the message for after the freeze, or says no. Context: lock held. */
bool ranks_hold_locked(struct ranks *r, const struct vcpu *target, const void *msg, uint32_t len);

#endif
