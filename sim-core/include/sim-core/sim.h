/* struct sim: one simulation. Everything hangs off it; two can live in one process.
 *
 * Owner: the launch thread creates and destroys it. Readers: any thread, through the functions
 * below. Lifetime: from before the first device to after the last. */
#ifndef SIM_CORE_SIM_H
#define SIM_CORE_SIM_H

#include <stdatomic.h>

#include "sim-core/clock.h"
#include "sim-core/io.h"
#include "sim-core/lock.h"
#include "sim-core/status.h"
#include "sim-core/types.h"

struct vcpu;

/* How this rank talks to the others of its machine; all NULL on one rank. Set by launch before executors
 * start. */
struct sim_ranks_ops {
    /* Receives and handles what has arrived; was there anything? Context: any thread without a running vCPU and
     * without device locks. */
    bool (*poll)(void *opaque);
    /* Waits a moment for something to arrive: poll, and give the core away when nothing comes. Callers
     * loop around it. Same context, but device locks may be held: what needs them is put off. */
    void (*wait)(void *opaque, unsigned *spins);
    /* Polls; when nothing came, sleeps until something may have, or wake, or max_ns have passed. Context: as
     * poll. */
    void (*nap)(void *opaque, uint64_t max_ns);
    void (*wake)(void *opaque); /* ends all naps of this rank. Context: any */
    /* Sends `msg` to the rank that runs vCPU `target`, where its ops->deliver gets it. Context: any. */
    void (*post)(void *opaque, const struct vcpu *target, const void *msg, uint32_t len);
    /* Sends `msg` to a rank, where ops->deliver of vCPU `v` gets it, wherever that runs. Not held back while the ranks are
     * made to stand still (launch/ranks_freeze.c): also what a vCPU waits for in the middle of a turn. Context: any. */
    void (*tell)(void *opaque, uint32_t rank, const struct vcpu *v, const void *msg, uint32_t len);
    /* Which rank runs the vCPU, and the number of ranks. */
    uint32_t (*rank_of)(void *opaque, const struct vcpu *target);
};

/* Why a simulation ends. */
enum sim_end {
    SIM_END_NONE,
    SIM_END_POWEROFF, /* guest power-off or finisher: code is the exit code */
    SIM_END_RESET,    /* guest asked for a reset: launch rebuilds the machine state and goes on */
    SIM_END_USER,     /* escape key, signal */
    SIM_END_TIMEOUT,
    SIM_END_EXPECT,   /* --expect matched */
    SIM_END_ERROR     /* internal failure */
};

struct sim {
    struct sim_clock clock;
    struct sim_io *io;
    struct sim_timers *timers; /* on guest time: timer.h */

    struct vcpu **vcpus; /* fixed once executors run */
    uint32_t nr_vcpus;

    struct sim_turn *turn; /* [SIM_MAX_TURNS]; vcpu.h */
    _Atomic uint32_t nr_turns;

    /* sim_exclusive_*: set while one vCPU runs alone (vcpu.c). */
    _Atomic(struct vcpu *) exclusive;
    struct sim_mutex exclusive_lock;

    const struct sim_ranks_ops *ranks; /* NULL: all vCPUs are here */
    void *ranks_opaque;
    uint32_t rank, nr_ranks; /* nr_ranks 0 or 1: one rank */
    uint64_t poll_interval_ns; /* between two polls of an executor that has work */

    struct sim_mutex end_lock;
    struct sim_cond end_cond;
    _Atomic int end; /* enum sim_end; executors stop when not NONE */
    int end_code;
};

enum sim_status sim_create(struct sim **out) SIM_MUST_CHECK;
/* Frees the simulation; executors must have stopped. vCPUs are destroyed by their owner. */
void sim_destroy(struct sim *sim);

/* Adds a vCPU and gives it the next index. Context: launch thread, executors not running. */
void sim_add_vcpu(struct sim *sim, struct vcpu *vcpu);

/* Asks for the end of the run; the first caller wins. Kicks all vCPUs. Context: any thread, from
 * device code too (takes SIM_RANK_LEAF only). */
void sim_request_end(struct sim *sim, enum sim_end why, int code);
static inline bool sim_ending(const struct sim *sim)
{
    return atomic_load_explicit(&sim->end, memory_order_acquire) != SIM_END_NONE;
}
/* The rank seam; nothing on one rank. */
static inline bool sim_poll(struct sim *sim)
{
    return sim->ranks && sim->ranks->poll(sim->ranks_opaque);
}
/* Blocks until an end is requested; *code gets the code. Context: launch thread. */
enum sim_end sim_wait_end(struct sim *sim, int *code);
/* Forgets the end request (after a reset). Context: launch thread, executors stopped. */
void sim_clear_end(struct sim *sim);

#endif
