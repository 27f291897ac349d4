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

    /* sim_exclusive_*: set while one vCPU runs alone (vcpu.c). */
    _Atomic(struct vcpu *) exclusive;
    struct sim_mutex exclusive_lock;

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
/* Blocks until an end is requested; *code gets the code. Context: launch thread. */
enum sim_end sim_wait_end(struct sim *sim, int *code);
/* Forgets the end request (after a reset). Context: launch thread, executors stopped. */
void sim_clear_end(struct sim *sim);

#endif
