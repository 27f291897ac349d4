/* One run from a configuration to an exit code. */
#ifndef LAUNCH_RUN_H
#define LAUNCH_RUN_H

#include <stdbool.h>

#include "config.h"
#include "sim-core/log.h"

/* sysexits' and the shell's conventions; everything else is the guest's. */
enum {
    EXIT_CODE_NO_MATCH = 1,   /* --expect never matched */
    EXIT_CODE_USAGE = 2,      /* command line, or a file that it names */
    EXIT_CODE_INTERNAL = 70,
    EXIT_CODE_RANK_LOST = 74, /* a rank of the run died or broke the protocol */
    EXIT_CODE_CHECKPOINTED = 85, /* SIGTERM, and an image was made */
    EXIT_CODE_MIGRATED = 86,     /* the machine goes on in another process */
    EXIT_CODE_TIMEOUT = 124,
    EXIT_CODE_SIGNAL = 128    /* + signal number */
};

/* Every rank of a run under mpirun reads the same command line: what this thread says of it from here on is kept (alone
 * it is written at once). Ended by one of the next two, which let one rank say it. Context: the main thread. */
void run_reads_command_line(struct sim_log_kept *said);
/* Runs (or dumps the tree, when asked to). Context: the main thread. */
int run_config(const struct config *config, const struct sim_log_kept *said);
/* There is nothing to run: the command line is wrong. Returns the exit code. */
int run_refused(const struct sim_log_kept *said);

struct incoming;
struct ic;
/* A machine is going to come from another process: meets the other ranks, if this is one of several processes (else *out is NULL),
 * and only then reads the command line, because that needs the machine. Context: the main thread. */
enum sim_status run_meet_incoming(struct ic **out) SIM_MUST_CHECK;
/* Goes on with a machine that has come. Takes both over. */
int run_incoming(const struct config *config, struct incoming *incoming, struct ic *ic, const struct sim_log_kept *said);
/* The command line is wrong. Takes `ic` over and returns the exit code. */
int run_incoming_refused(struct ic *ic, const struct sim_log_kept *said);

struct restore;
/* Goes on with a restored machine, which this takes over. */
int run_restored(const struct config *config, struct restore *restore, const struct sim_log_kept *said);

struct machine;
struct run;
/* What one of several machines of this process does with the others (cluster.c). */
struct run_peers {
    /* It is composed and loaded: blocks until all are; false: it does not run, for one of them failed. `run` is good for
     * run_end_peer until stopped() is called. Context: the machine's launch thread. */
    bool (*ready)(void *opaque, struct run *run, struct machine *m);
    /* It runs: images can be made of it. Same context. */
    void (*running)(void *opaque);
    /* It does not run any more, and would exit with `code`: blocks until none of the others does, for their devices may know
     * its. Same context. */
    void (*stopped)(void *opaque, int code);
    /* For an image that run_peer_checkpoint asked for: the machine stands, at rest. Blocks until all do; else there is no image.
     * Context: its I/O thread. */
    enum sim_status (*at_rest)(void *opaque);
    /* NULL: another one gets the process' signals. Context: the signal thread. */
    void (*signal)(void *opaque, int sig);
    void *opaque;
};
/* Runs one machine (a new one, or a restored one, which it takes over) to its end on the calling thread. What it returns is of no interest after stopped(); without that, it did
 * not come to run. */
int run_peer(const struct config *config, struct restore *restore, const struct run_peers *peers);
struct checkpoint_request;
/* checkpoint_start. SIM_ERR_BUSY: not now. Context: any, between ready() and stopped(). */
enum sim_status run_peer_checkpoint(struct run *run, const struct checkpoint_request *request) SIM_MUST_CHECK;
/* Asks for its end, with this exit code. Context: any. */
void run_end_peer(struct run *run, int code);

/* The exit code for a code of the guest: process exit codes have eight bits, and a failure must not
 * turn into success by losing the others. */
int run_guest_exit_code(int code);

#endif
