/* The vCPU seam: what an executor knows of a guest CPU, whatever runs it (interpreter, JIT, KVM).
 *
 * An executor (partition) runs its vCPUs in turn with run(budget). Other threads reach a vCPU only by
 *   - vcpu_kick(): "leave guest code at the next safepoint and look at your requests", and
 *   - the request/acknowledge protocol below (remote fence, TLB revocation).
 *
 * Safepoint protocol. `running` is 1 while the vCPU may touch guest memory or its TLB.
 *   target:    running = 1; fence; handle kick and requests; guest code ...; running = 0
 *   requester: publish request; kick = 1; fence; wait until running == 0 or requests are served
 * (Dekker: either the target sees the kick before guest code, or the requester sees running == 1.)
 * A vCPU that itself waits for another is not `running` meanwhile, so two cannot deadlock. */
#ifndef SIM_CORE_VCPU_H
#define SIM_CORE_VCPU_H

#include <stdatomic.h>

#include "sim-core/sim.h"
#include "sim-core/state.h"
#include "sim-core/types.h"

struct vcpu;

enum { SIM_MAX_TURNS = 256 };

/* Written by one executor, read by whoever waits for running vCPUs. */
struct sim_turn {
    _Alignas(64) _Atomic(struct vcpu *) vcpu;
};

enum vcpu_exit {
    VCPU_EXIT_BUDGET,    /* budget used up: the next vCPU's turn */
    VCPU_EXIT_IDLE,      /* waits for an interrupt (WFI, WRS, or stopped) */
    VCPU_EXIT_YIELD,     /* spins: prefer a sibling, but stays runnable */
    VCPU_EXIT_EXCLUSIVE, /* wants run_exclusive() */
    VCPU_EXIT_WAIT,      /* a page is on its way from another rank: parked until kicked, answer expected soon */
    VCPU_EXIT_END        /* the simulation ends */
};

struct vcpu_stats {
    uint64_t insns;        /* retired */
    uint64_t exits[8];     /* by enum vcpu_exit */
    uint64_t run_ns;       /* host time inside run() */
    uint64_t away_ns;      /* of that, it waited for other ranks: their devices and fences */
    uint64_t wait_ns;      /* host time between a run that ended with VCPU_EXIT_WAIT and the next */
    uint64_t parked_ns;    /* since when it waits so; 0: it does not */
};

/* What a vCPU that spins waits for: a word of the guest's RAM. Where it is stays mapped as long as the vCPU lives. */
struct vcpu_watch {
    const void *word; /* naturally aligned; NULL: not known */
    uint64_t value;   /* while it has this one, the vCPU would go on spinning */
    uint8_t size;     /* 4 or 8 */
};

/* Could it go on now? Context: any thread. */
static inline bool vcpu_watch_is_over(const struct vcpu_watch *w)
{
    if (w->size == 4)
        return __atomic_load_n((const uint32_t *)w->word, __ATOMIC_ACQUIRE) != (uint32_t)w->value;
    return __atomic_load_n((const uint64_t *)w->word, __ATOMIC_ACQUIRE) != w->value;
}

struct vcpu_ops {
    const char *name;
    /* Runs up to about `budget` instructions. Context: the executor that has the vCPU. */
    enum vcpu_exit (*run)(struct vcpu *v, uint64_t budget);
    /* Runs a short sequence while every other vCPU is stopped at a safepoint. */
    enum vcpu_exit (*run_exclusive)(struct vcpu *v);
    /* Would an idle vCPU run now (pending interrupt, request)? Context: any thread. */
    bool (*has_work)(struct vcpu *v);
    /* Is it in a section that others may wait for? Its turn then ends a little later. NULL: not known. Context: the
     * executor that has the vCPU. */
    bool (*may_hold_lock)(struct vcpu *v);
    /* Guest time at which an idle vCPU's own timer makes it runnable, or VTIME_NEVER. */
    vtime_t (*deadline)(struct vcpu *v);
    /* Makes a vCPU that is in guest code look at `kick`, which has been set. NULL: guest code does so by itself.
     * Context: any thread. */
    void (*interrupt)(struct vcpu *v);
    void (*destroy)(struct vcpu *v);
    /* A message that sim_ranks_ops.post of another rank sent to this vCPU. A malformed one is ignored
     * (logged once). Context: the polling thread; may wait for running vCPUs to pass a safepoint. */
    void (*deliver)(struct vcpu *v, uint32_t from_rank, const void *msg, uint32_t len);
    const struct state_desc *state;
};

/* Tells the executor that has a vCPU of a kick, and wakes it when it sleeps. Implemented by partition. */
struct vcpu_waker {
    void (*wake)(struct vcpu_waker *w, struct vcpu *v);
};

struct vcpu {
    const struct vcpu_ops *ops;
    struct sim *sim;
    _Atomic(struct vcpu_waker *) waker; /* its executor now; NULL: nobody sleeps on it */
    _Atomic uint32_t kicking; /* threads inside vcpu_kick, which may be using the waker */
    uint32_t index;
    uint32_t turn; /* 1 + the executor that runs it, or ran it last; 0: none that sim_turn_begin knows. Written by it */
    _Atomic bool remote; /* runs on another rank: never run or kicked here, only written to */
    _Atomic uint32_t running; /* the safepoint protocol above */
    _Atomic bool awaits_page; /* its last run ended with VCPU_EXIT_WAIT */
    _Atomic uint32_t kick;    /* leave guest code; cleared by the vCPU when it serves requests */
    struct vcpu_stats stats;  /* written by its executor */
    struct vcpu_watch watch;  /* of the last run, when that ended with VCPU_EXIT_YIELD */
};

/* Sets kick and wakes the executor if it sleeps. Context: any thread, any lock of rank below
 * SIM_RANK_EXECUTOR may be held. */
void vcpu_kick(struct vcpu *v);
/* As vcpu_kick when the vCPU is running, else nothing: for requests that were published (seq_cst) before and that a vCPU
 * looks at when it enters. One that waits is not woken for them. Context: any. */
void vcpu_kick_running(struct vcpu *v);
/* Takes the waker away; no kick uses it when this returns. Context: its executor has stopped. */
void vcpu_detach_waker(struct vcpu *v);

/* The two ends of `running`. vcpu_enter blocks while another vCPU is exclusive. Context: executor. */
void vcpu_enter(struct vcpu *v);
void vcpu_leave(struct vcpu *v);
/* Clears kick: what is looked at afterwards is what it was for. If it was for an exclusive vCPU, blocks
 * until that is done. Context: executor, entered. */
void vcpu_clear_kick(struct vcpu *v);

/* Waits until target is not running, or served(target, opaque) is true, after its request was
 * published (seq_cst). Kicks it when it is running. `self` is the calling vCPU (it counts as left meanwhile) or NULL.
 * The caller must serve its own requests afterwards. May block for one guest block. */
void vcpu_wait(struct vcpu *self, struct vcpu *target, bool (*served)(struct vcpu *, void *),
               void *opaque);

/* Who may be running: each executor says whom it is about to run, so that whoever waits for those that run looks at as
 * many as there are executors. With nr 0, or more executors than SIM_MAX_TURNS, all vCPUs are looked at.
 * Context: launch thread, executors not running. */
void sim_set_turns(struct sim *sim, uint32_t nr);
/* Context: executor n, before it runs v. */
void sim_turn_begin(struct sim *sim, uint32_t n, struct vcpu *v);
/* The vCPUs that are running, one after the other; *at begins as 0; NULL: no more. One that is not among them enters
 * later than the call, and sees then what the caller has published before (seq_cst). Context: any. */
struct vcpu *sim_next_running(const struct sim *sim, uint32_t *at);

/* Stops every other vCPU at a safepoint until sim_exclusive_end. `self` may be NULL (launch, I/O
 * thread). Nests with nothing; a vCPU must have left. */
void sim_exclusive_begin(struct sim *sim, struct vcpu *self);
void sim_exclusive_end(struct sim *sim);

#endif
