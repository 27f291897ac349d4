/* One machine's life in this process, among the files run*.c. */
#ifndef LAUNCH_RUN_PRIV_H
#define LAUNCH_RUN_PRIV_H

#include "run.h"
#include "sim-core/sim.h"
#include "sim-core/lock.h"
#include "world.h"

/* Owner: the launch thread; `wanted` is written by any. */
struct run {
    const struct config *config;
    struct ic *ic; /* NULL: the only rank */
    struct ranks *ranks;
    bool first;    /* this rank has the terminal and speaks */
    bool signals_are_ours;
    const struct run_peers *peers; /* NULL: the only machine of the process */
    struct sim *sim;
    struct machine *machine;
    struct executor_group *group;
    struct expect *expect;
    struct progress *progress;
    struct signals *signals;
    struct terminal *terminal;
    struct sim_io_timer *timeout;
    struct world world;
    struct restore *restore; /* the machine came from an image; NULL: it did not */
    struct incoming *incoming; /* ... or from another process */
    struct images *images;   /* NULL: not started yet */
    struct sim_mutex images_lock; /* the signal thread uses them to the end */
    struct control *control;
    struct tools *tools;
    bool stopped;            /* by the control socket; I/O thread */
    uint64_t start_ns, cpu_ns;
    unsigned threads;
    _Atomic uint64_t wanted; /* 0, or enum sim_end << 32 | code: the host side wants the end */
};

/* Any thread: the host side wants the end; the first wish counts. It survives a guest reset. */
void run_want_end(struct run *r, enum sim_end why, int code);

/* Launch thread: returns when all memory of a restored or migrated machine has come. */
enum sim_status run_memory_is_there(struct run *r);

/* Launch thread: what makes images and takes commands (run_control.c). */
enum sim_status run_start_control(struct run *r);

/* The whole life of a machine, or of one rank's part of it: the exit code. Takes over restore and incoming. */
int run_machine(struct run *r);

#endif
