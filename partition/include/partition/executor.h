/* Executors: the host threads that run vCPUs in turn.
 *
 *   executor: pick the next runnable vCPU -> ops->run(budget) -> by its exit: keep, yield, park
 *   all parked: sleep until a kick (vcpu_waker) or the earliest deadline
 *
 * One vCPU belongs to one executor (the plan will move them at run time). An executor that would
 * sleep while its sibling has runnable vCPUs waiting takes one over. Spare executors, for cores that other ranks lend,
 * sleep until they are told to work. */
#ifndef PARTITION_EXECUTOR_H
#define PARTITION_EXECUTOR_H

#include "sim-core/sim.h"
#include "sim-core/vcpu.h"

struct executor_group;

struct executor_config {
    unsigned nr_threads; /* 0: one per host CPU this process may use, at most one per vCPU */
    unsigned nr_spare;   /* more of them, which do not work at first */
    uint64_t budget;     /* instructions per turn, 0 = default */
    void (*on_start)(void *opaque, unsigned executor); /* first thing on each thread (bind.h); may be NULL */
    void *on_start_opaque;
    bool own_cores;      /* each has a core to itself: it may spin for long before it sleeps */
    uint32_t cursor;     /* one thread: the vCPU that had the last turn (executor_group_cursor; restore) */
};

/* Distributes all vCPUs of the sim. Context: launch thread. */
enum sim_status executor_group_create(struct sim *sim, const struct executor_config *config,
                                      struct executor_group **out) SIM_MUST_CHECK;
enum sim_status executor_group_start(struct executor_group *g) SIM_MUST_CHECK;
/* Waits until all executors have stopped; sim_request_end must have been called. Idempotent. */
void executor_group_stop(struct executor_group *g);
/* Returns when every executor stands between two turns; they stay there until resume. Turns end by themselves, so
 * that a pause changes nothing in a run with counted time. Idle when the group is ending; before it has started it
 * starts paused. Context: any thread but an executor; one at a time; not while stop or destroy runs. */
void executor_group_pause(struct executor_group *g);
void executor_group_resume(struct executor_group *g);
/* A vCPU of the sim comes to the executor that has the fewest, unless it is here already, or leaves its own. Context: paused. */
void executor_group_add(struct executor_group *g, struct vcpu *v);
void executor_group_remove(struct executor_group *g, struct vcpu *v);
/* The vCPU that had the last turn on the first executor. Context: paused or stopped. */
uint32_t executor_group_cursor(const struct executor_group *g);
/* works[n]: does executor n (its own ones, then the spare ones) take turns? Soon: when its turn is over; what it has goes to
 * siblings. works[0] is not looked at: the first always does. Context: any thread, one at a time. */
void executor_group_set_works(struct executor_group *g, const bool *works);
/* Turns that vCPUs had on spare executors, ever. Context: any. */
uint64_t executor_group_spare_turns(const struct executor_group *g);
void executor_group_destroy(struct executor_group *g);
/* Without spare ones. */
unsigned executor_group_nr_threads(const struct executor_group *g);
/* Host CPU time of all executors so far, ns. */
uint64_t executor_group_cpu_ns(const struct executor_group *g);

#endif
