/* Guest time of one simulation.
 *
 * Mode HOST: guest nanoseconds follow CLOCK_MONOTONIC from the start, without the spans in which it was stopped.
 * Mode VIRTUAL: guest time is instructions retired, at a fixed rate; only the executor advances it,
 * and jumps to the next deadline when every vCPU is idle. Deterministic with one executor.
 *
 * Reading is lock-free from any thread. Device time bases (10 MHz mtime) derive from it. */
#ifndef SIM_CORE_CLOCK_H
#define SIM_CORE_CLOCK_H

#include <stdatomic.h>

#include "sim-core/types.h"

enum sim_clock_mode { SIM_CLOCK_HOST, SIM_CLOCK_VIRTUAL };

struct sim_clock {
    enum sim_clock_mode mode;
    _Atomic uint64_t host_base_ns; /* HOST: CLOCK_MONOTONIC that equals guest time 0 */
    _Atomic bool stopped;     /* HOST: guest time stands at stopped_ns */
    vtime_t stopped_ns;
    _Atomic uint64_t virt_ns; /* VIRTUAL: guest time now */
    uint32_t ps_per_insn;     /* VIRTUAL: picoseconds one instruction takes; 1000 = 1 GIPS */
    uint64_t carry_ps;        /* VIRTUAL: remainder below 1 ns (executor only) */
};

void sim_clock_init(struct sim_clock *c, enum sim_clock_mode mode);
vtime_t sim_clock_now(const struct sim_clock *c);
/* VIRTUAL: charge `insns` retired instructions. Context: the executor. */
void sim_clock_charge(struct sim_clock *c, uint64_t insns);
/* HOST: guest time stands still, or goes on from where it stood (sim_timers_shifted must follow). Context: frozen
 * world. */
void sim_clock_stop(struct sim_clock *c);
void sim_clock_go(struct sim_clock *c);
/* HOST: goes on, wherever it stood, so that guest time 0 was at this CLOCK_MONOTONIC: what another rank's sim_clock_go made
 * of host_base_ns. Context: frozen world. */
void sim_clock_go_with(struct sim_clock *c, uint64_t host_base_ns);
/* Guest time is `now` (restore). Context: frozen world; in mode HOST the clock is stopped. */
void sim_clock_set(struct sim_clock *c, vtime_t now);
/* VIRTUAL: jump forward to `t` (no effect when in the past). Context: the executor, all idle. */
void sim_clock_skip_to(struct sim_clock *c, vtime_t t);

#endif
