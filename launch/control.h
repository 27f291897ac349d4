/* The control socket: commands to a running machine, as JSON lines over a Unix socket.
 *
 *   greeting {"QMP": ...} -> {"execute": NAME, "arguments": {...}, "id": ANY} -> {"return": {...}, "id": ANY}
 *                                                                          | {"error": {"class", "desc"}, "id": ANY}
 * Names: query-status, checkpoint {dir, incremental, stop}, migrate {uri, postcopy}, migrate_cancel, stop, cont, quit,
 * move-hart {hart, rank}, move-memory {start, length, rank}, query-memory, trace {spec}, qmp_capabilities (nothing). The reply to
 * checkpoint and to migrate comes when it is complete; other commands are served meanwhile. */
#ifndef LAUNCH_CONTROL_H
#define LAUNCH_CONTROL_H

#include "checkpoint.h"
#include "migrate.h"
#include "ranks.h"
#include "sim-core/sim.h"

struct control;

struct control_status {
    bool paused;
    uint64_t guest_ns, insns;
    uint64_t lent_turns; /* that harts had on cores which other ranks lent */
    bool checkpointing;
    unsigned percent;
    uint64_t given, stored; /* bytes of the image being made */
    bool migrating;
    struct migrate_progress migration;
};

/* All on the I/O thread. */
struct control_ops {
    void (*status)(void *opaque, struct control_status *out);
    void (*stop)(void *opaque);
    void (*cont)(void *opaque);
    void (*quit)(void *opaque);
    /* As checkpoint_start; SIM_ERR_UNSUPPORTED: this run cannot. */
    enum sim_status (*checkpoint)(void *opaque, const struct checkpoint_request *request);
    /* As migrate_start; SIM_ERR_UNSUPPORTED (logged): this machine cannot. */
    enum sim_status (*migrate)(void *opaque, const struct migrate_request *request);
    void (*migrate_cancel)(void *opaque);
    /* Moves a hart to another rank; *pause_ns: how long all stood still. */
    enum sim_status (*move_hart)(void *opaque, uint32_t hart, uint32_t rank, uint64_t *pause_ns);
    /* ranks_move_memory, ranks_list_homes; one rank: SIM_ERR_UNSUPPORTED (logged), nothing to tell. */
    enum sim_status (*move_memory)(void *opaque, uint64_t start, uint64_t bytes, uint32_t rank,
                                   struct ranks_homes_moved *moved);
    void (*list_homes)(void *opaque, ranks_home_fn *fn, void *fn_opaque);
    /* Starts a trace (trace_spec.h), or ends all: "off". */
    enum sim_status (*trace)(void *opaque, const char *spec);
    /* An image was made with `stop`: the run may end. */
    void (*stopped)(void *opaque);
};

/* Listens at `path`; a socket that nobody serves there is replaced. Context: launch thread. */
enum sim_status control_create(struct sim *sim, const char *path, const struct control_ops *ops,
                               void *opaque, struct control **out) SIM_MUST_CHECK;
/* NULL is allowed. Context: launch thread, I/O loop stopped, no checkpoint under way. */
void control_destroy(struct control *c);

#endif
