/* Holding a running machine still: for cuts, and for `stop`.
 *
 * The executors of a run come and go (a guest reset stops and starts them). Whoever wants the machine to stand still says
 * so here, from any thread but theirs, and need not know. */
#ifndef LAUNCH_WORLD_H
#define LAUNCH_WORLD_H

#include "partition/executor.h"
#include "sim-core/lock.h"

/* Owner: `lock`. Lifetime: the run's. */
struct world {
    struct sim_mutex lock;
    struct sim_cond changed;
    struct sim_mutex group_lock; /* `group` is written under both locks, so that either is enough to read it */
    struct executor_group *group; /* NULL: nothing runs */
    unsigned paused;              /* how often */
    uint64_t spare_turns;         /* of groups before this one */
    bool changing;                /* the launch thread rebuilds the machine */
};

void world_init(struct world *w);
void world_fini(struct world *w);

/* Nests. Returns when no executor runs a vCPU and none will until the last resume. Waits for a reset under way. */
void world_pause(struct world *w);
/* The same; but false, and nothing done, when a reset is under way. */
bool world_try_pause(struct world *w);
void world_resume(struct world *w);
bool world_is_paused(struct world *w);
/* executor_group_cursor, or 0. Context: paused. */
uint32_t world_cursor(struct world *w);

/* A vCPU comes to, or leaves, the executors, if there are any. Context: paused; any thread, locks of rank below
 * SIM_RANK_WORLD may be held. */
void world_add(struct world *w, struct vcpu *v);
void world_remove(struct world *w, struct vcpu *v);

/* executor_group_set_works, if there are executors. Context: as world_add, but need not be paused. */
void world_set_works(struct world *w, const bool *works);
/* Turns that vCPUs had on cores of other ranks, ever. Context: any. */
uint64_t world_spare_turns(struct world *w);

/* Creates executors, which the caller starts, and destroys after world_detach: at no moment are there vCPUs that came here and that they
 * do not know. Context: the launch thread. */
enum sim_status world_create_executors(struct world *w, struct sim *sim, const struct executor_config *config,
                                       struct executor_group **out) SIM_MUST_CHECK;
/* They are about to be stopped for good: a pause does not hold them back from ending, and there are no more of them for anybody. */
void world_detach(struct world *w);
/* Around a reset, from before its executors stop until the next have started: waits until nobody wants the machine to stand still,
 * and lets nobody in before the end. */
void world_begin_change(struct world *w);
void world_end_change(struct world *w);

#endif
