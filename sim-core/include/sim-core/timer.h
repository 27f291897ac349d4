/* One-shot timers on guest time, for devices.
 *
 * Mode HOST: a timer of the I/O loop; fn runs on the I/O thread. Mode VIRTUAL: the executor runs
 * the due timers between two turns, and jumps to the next one when every vCPU is idle; so they
 * repeat exactly. In both modes fn runs with no lock held and may arm the timer again. */
#ifndef SIM_CORE_TIMER_H
#define SIM_CORE_TIMER_H

#include "sim-core/sim.h"

struct sim_timer;

struct sim_timer *sim_timer_create(struct sim *sim, void (*fn)(void *opaque), void *opaque);
/* Arms for guest time `deadline`, replacing an earlier one; VTIME_NEVER cancels. Context: any. */
void sim_timer_arm(struct sim_timer *t, vtime_t deadline);
/* The same for a thread that is none of this simulation's: an executor that sleeps, in mode VIRTUAL, looks at its timers again.
 * Context: any, locks of rank below SIM_RANK_EXECUTOR may be held. */
void sim_timer_arm_from_outside(struct sim_timer *t, vtime_t deadline);
/* Does not wait for a callback that has begun. Context: any. */
void sim_timer_cancel(struct sim_timer *t);
/* Waits for the callback. Context: launch thread, executors stopped. */
void sim_timer_destroy(struct sim_timer *t);

/* VIRTUAL: the earliest deadline, else VTIME_NEVER. Context: any; one atomic load. */
vtime_t sim_timers_next(const struct sim *sim);
/* VIRTUAL: runs the timers that are due. Context: the executor, between turns. */
void sim_timers_run(struct sim *sim);

/* HOST: the clock stands still, and no timer fires before it goes on (sim_clock_go), not even one that is due: a machine that is handed
 * over does nothing after its cut. Context: frozen world; on the I/O thread, or no timer is being served. */
void sim_time_stop(struct sim *sim);
/* HOST: the clock was stopped and goes on: armed timers follow it. Context: frozen world. */
void sim_timers_shifted(struct sim *sim);

/* For sim_create and sim_destroy. */
struct sim_timers *sim_timers_create(void);
void sim_timers_destroy(struct sim_timers *ts);

#endif
