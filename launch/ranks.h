/* One rank of a machine that lives on several: what launch adds so that the folders below need not know of
 * ranks.
 *
 *   start:   ic (mpi | inproc) -> ranks_create: agree, topologies, plan -> machine_create: RAM, all harts (those
 *            of other ranks as shadows), devices on their rank only -> ranks_connect: coherent memory, start
 *   MMIO:    what is not here -> MMIO message -> queue on the devices' rank -> a thread without locks -> reply
 *   homes:   dsm_move_homes (mem/dsm.h): segments of memory change their home while all runs
 *   harts:   sim_ranks_ops.post -> VCPU message -> ops->deliver
 *   end:     any rank -> WANT_END -> rank 0 decides -> END to all: all ranks end in the same way
 *   loading: rank 0 loads through the coherent memory; BOOT tells the others where their harts start */
#ifndef LAUNCH_RANKS_H
#define LAUNCH_RANKS_H

#include "config.h"
#include "interconnect/interconnect.h"
#include "machine.h"
#include "partition/plan.h"
#include "sim-core/log.h"
#include "sim-core/sim.h"
#include "world.h"

struct ranks;

/* The first thing that ranks do together: what each said while it read its command line, and how that ended. What
 * several say is written once; a rank that failed makes all fail. Collective; context: launch thread. */
enum sim_status ranks_meet(struct ic *ic, enum sim_status status, const struct sim_log_kept *said) SIM_MUST_CHECK;

/* Agrees with the other ranks on what they run. Collective; context: launch thread. `ic` stays the caller's. */
enum sim_status ranks_create(struct sim *sim, const struct config *config, struct ic *ic,
                             struct ranks **out) SIM_MUST_CHECK;
void ranks_destroy(struct ranks *r); /* NULL is allowed; the machine has gone */

/* Makes the plan for a machine of nr_harts and this RAM. machine_create calls it as soon as it knows both. */
enum sim_status ranks_plan(struct ranks *r, uint32_t nr_harts, const struct part_range *ram,
                           unsigned nr_ram) SIM_MUST_CHECK;
const struct part_plan *ranks_get_plan(const struct ranks *r);
bool ranks_hart_is_remote(void *ranks, uint32_t index); /* rv_machine_config.is_remote */
bool ranks_has_devices(const struct ranks *r);
unsigned ranks_nr_executors(const struct ranks *r);
unsigned ranks_nr_spares(const struct ranks *r); /* executors for cores that other ranks lend */
bool ranks_has_own_cores(const struct ranks *r); /* each executor of this rank, by the plan */
/* Are executors bound to the plan's cores? (-bind; otherwise when the ranks are processes) */
bool ranks_binds(const struct ranks *r);
void ranks_bind_executor(void *ranks, unsigned executor); /* executor_config.on_start */

/* Around what every rank sets up by itself (machine_create): messages meanwhile are kept, and at the end each that
 * several ranks have is written once. ranks_set_up_end is collective: a rank that failed makes all fail, with the
 * status of the first that did. Context: launch thread. */
void ranks_set_up_begin(struct ranks *r);
enum sim_status ranks_set_up_end(struct ranks *r, enum sim_status status) SIM_MUST_CHECK;

/* Joins the machine's memory and harts with the other ranks' and starts the interconnect. Collective. */
enum sim_status ranks_connect(struct ranks *r, struct machine *m) SIM_MUST_CHECK;
/* Executors have stopped on all ranks when this returns, and nothing of the guest's is under way: what is reset then
 * stays as it is. Collective, executors stopped. Context: launch thread. */
enum sim_status ranks_settle(struct ranks *r) SIM_MUST_CHECK;
/* Loads (rank 0), and sets the harts of all ranks to where they start. Collective, executors stopped. */
enum sim_status ranks_load(struct ranks *r) SIM_MUST_CHECK;

/* All ranks have come here, and what each sent before has been handled. Collective. Context: launch thread. */
enum sim_status ranks_barrier(struct ranks *r) SIM_MUST_CHECK;
/* What each rank says, to all: all[r] is rank r's, as many as there are ranks; sim_free each. Collective. Context: launch
 * thread. */
enum sim_status ranks_gather(struct ranks *r, const void *mine, uint32_t len, void **all) SIM_MUST_CHECK;
/* Is this rank on the host of the first? */
bool ranks_is_beside_first(const struct ranks *r);
/* The clocks of all ranks go on together, from where rank 0's stands (restore). Collective. Context: launch thread. */
enum sim_status ranks_start_clocks(struct ranks *r) SIM_MUST_CHECK;

/* This rank cannot go on, and has said why: the others end too, with `code`, and say nothing. Before
 * ranks_disconnect. */
void ranks_abort(struct ranks *r, int code);
/* Is one of them gone? Then the run ends. Context: any. */
bool ranks_are_lost(const struct ranks *r);
/* The code of another rank's abort; 0: none did. */
int ranks_abort_code(const struct ranks *r);
/* Blocks until all ranks end; every rank gets the same answer. Context: launch thread. */
enum sim_end ranks_wait_end(struct ranks *r, int *code);
/* After executors and I/O have stopped: says good-bye. Collective. */
void ranks_disconnect(struct ranks *r);

/* --- standing still together (ranks_freeze.c); rank 0 only, on the I/O thread --- */

/* Returns when no hart of any rank runs and nothing is under way between them; they stay so until ranks_thaw, which
 * is called in either case. Devices go on. SIM_ERR_IO: the run ends; SIM_ERR_BUSY: a guest reset is under way. */
enum sim_status ranks_freeze(struct ranks *r) SIM_MUST_CHECK;
void ranks_thaw(struct ranks *r);
/* While all stand still, and the devices too: what was said to harts has reached them, and every page has come where it was
 * asked for. So it stays until ranks_thaw. SIM_ERR_IO: the run ends. */
enum sim_status ranks_freeze_settle(struct ranks *r) SIM_MUST_CHECK;
/* All stand still, and guest time too, until ranks_cont: `stop` and `cont` of the control socket. SIM_ERR_IO: the run ends,
 * nothing stands still. */
enum sim_status ranks_stop(struct ranks *r) SIM_MUST_CHECK;
void ranks_cont(struct ranks *r);
/* Of all ranks, which are frozen, until ranks_cont. */
void ranks_stop_clocks(struct ranks *r);
/* Moves harts (each named once) to other ranks while all stand still; *pause_ns: for how long. SIM_ERR_INVALID (logged):
 * there is no such hart or rank. */
enum { RANKS_MOVES = 64 };
struct ranks_move {
    uint32_t hart, to;
};
enum sim_status ranks_move_harts(struct ranks *r, const struct ranks_move *move, unsigned nr, uint64_t *pause_ns) SIM_MUST_CHECK;
/* Moves the homes of a range of RAM to a rank, whole segments of 2 MiB, while all goes on: who needs a page from elsewhere
 * waits for up to pause_ns. SIM_ERR_INVALID (logged): there is no RAM or no such rank; SIM_ERR_BUSY (logged): pages are long
 * under way, or an image or a migration is. */
struct ranks_homes_moved {
    uint64_t bytes;
    uint64_t pause_ns; /* the longest */
    unsigned pauses;
};
enum sim_status ranks_move_memory(struct ranks *r, gpa_t start, uint64_t bytes, uint32_t to,
                                  struct ranks_homes_moved *moved) SIM_MUST_CHECK;
/* Homes stay (SIM_ERR_BUSY) while somebody reads all of memory: who has a page is asked once for each. Nests. `r` may be NULL. Context: rank 0,
 * before its I/O thread makes the cut. */
void ranks_keep_homes(struct ranks *r, bool keep);
/* Tells where homes are now, in order of addresses; neighbours with one home are one. */
typedef void ranks_home_fn(void *opaque, gpa_t start, uint64_t bytes, uint32_t rank);
void ranks_list_homes(const struct ranks *r, ranks_home_fn *fn, void *opaque);
uint32_t ranks_hart_rank(const struct ranks *r, uint32_t hart); /* where it runs now */
/* How this rank's executors are paused. Before ranks_connect. */
void ranks_set_world(struct ranks *r, struct world *world);

/* Measures the ranks' harts and moves them where they wait less or find an idle core (ranks_load.c), until it is stopped.
 * Context: launch thread; started after ranks_connect, stopped when the I/O loop has been. */
void ranks_load_start(struct ranks *r);
void ranks_load_stop(struct ranks *r);

/* What moved, for --stats; one line a rank, printed by each. */
void ranks_print_stats(const struct ranks *r, FILE *out);

#endif
