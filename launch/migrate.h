/* The source of a live migration: the running machine goes on in another process.
 *
 *   migrate_start -> migration thread: dial, introduce -> rounds of blocks while the guest runs
 *     -> cut, on the I/O thread: executors pause, disk requests end, states -> the target says that it could go on
 *     -> GO: the guest is the target's -> the rest of the blocks, those first that it asks for -> done()
 *
 * From the cut on the I/O thread stands still as well, so that no device changes memory; it goes on when the guest does. No
 * images meanwhile (the checkpointer is reserved). */
#ifndef LAUNCH_MIGRATE_H
#define LAUNCH_MIGRATE_H

#include "checkpoint.h"

struct migrator;

struct migrate_result {
    enum sim_status status;
    bool gone;      /* the guest runs at the target: this run may end. With an error, when the connection broke after that */
    bool undecided; /* the connection broke between GO and STARTED: it stands still here, until somebody knows */
    uint64_t total_ns, pause_ns; /* pause: from the cut to the target's first instruction */
    uint32_t rounds;
    uint64_t blocks, zeros; /* sent with bytes; known to be zero */
    uint64_t after;         /* of these after the pause */
    uint64_t bytes;
    const char *why; /* the first error that this rank said; borrowed; NULL: none, or no failure */
};

struct migrate_request {
    const char *uri;  /* of the target; copied */
    bool postcopy;    /* false: all blocks before the target runs */
    /* Migration thread. NULL: a line on stderr says what became of it. */
    void (*done)(void *opaque, const struct migrate_result *result);
    void *opaque;
};

/* Migration thread, the I/O thread waiting. */
struct migrator_ops {
    /* The guest runs at the target (not `good`: the connection broke before all of it had come); the run ends. */
    void (*gone)(void *opaque, bool good);
    /* It is not known who has the guest: paused, its clock stopped, as by `stop` of the control socket. */
    void (*undecided)(void *opaque);
};

/* `ranks`: the machine is on several, and this is the first of them; NULL: it is on one. `ops` is the checkpointer's; `opaque` is for both. */
struct migrator *migrator_create(struct machine *m, struct ranks *ranks, struct checkpointer *c,
                                 const struct checkpointer_ops *ops, const struct migrator_ops *own, void *opaque);
/* Closed before. NULL is allowed. */
void migrator_destroy(struct migrator *g);
/* No more migrations. One under way is given up; or, when the guest is the target's already, waited for. Context: launch
 * thread; the I/O thread runs. */
void migrator_close(struct migrator *g);

/* SIM_ERR_BUSY without a message while one is under way or an image is made. Context: any thread. */
enum sim_status migrate_start(struct migrator *g, const struct migrate_request *request) SIM_MUST_CHECK;
/* Gives up; nothing happens when the guest is the target's already. Context: any thread. */
void migrate_cancel(struct migrator *g);

struct migrate_progress {
    const char *phase; /* "rounds", "handing over", "after" */
    uint32_t round;
    uint64_t sent, pending; /* bytes; blocks */
};
/* False: none is under way. Context: any thread. */
bool migrate_progress(struct migrator *g, struct migrate_progress *out);

#endif
