/* The target of a live migration.
 *
 *   incoming_open: somebody connects, and sends configuration and tree -> machine_create -> incoming_load: blocks while the
 *   guest runs at the source, then its states -> incoming_go: LOADED, GO, the clock runs -> executors -> incoming_started
 *   -> missing blocks come on demand -> incoming_finish */
#ifndef LAUNCH_INCOMING_H
#define LAUNCH_INCOMING_H

#include "machine.h"
#include "ranks.h"

struct incoming;

/* On several ranks each has an incoming of its own, and gets the pages whose home it is from all ranks of the source.
 *
 * Waits for a source at `uri` (checkpoint/stream.h). On SIM_OK the caller owns *c (config_fini) and *out. */
enum sim_status incoming_open(const char *uri, struct config *c, struct incoming **out) SIM_MUST_CHECK;
/* The same for another rank of this process. */
struct incoming *incoming_open_beside(const struct incoming *first);
/* incoming_open on the first of these ranks, which tells the others; collective. */
enum sim_status incoming_open_over(const char *uri, struct ic *ic, struct config *c, struct incoming **out) SIM_MUST_CHECK;
void incoming_close(struct incoming *in); /* NULL is allowed. Context: executors stopped */

/* Fills a machine that was composed from the configuration; returns when the guest stands still at the source. failed() is
 * called when, later, memory cannot come. `ranks`: it is spread over them, and this is collective; NULL: it is on one. Context:
 * launch thread, nothing runs. */
enum sim_status incoming_load(struct incoming *in, struct machine *m, struct ranks *ranks, void (*failed)(void *opaque),
                              void *opaque) SIM_MUST_CHECK;
uint32_t incoming_cursor(const struct incoming *in);
/* The guest becomes ours, and its time goes on. An error: it stays where it is. Collective over ranks. Context: right before the
 * executors start. */
enum sim_status incoming_go(struct incoming *in) SIM_MUST_CHECK;
void incoming_started(struct incoming *in);
/* Waits until the source is not needed any more. Any thread. */
enum sim_status incoming_finish(struct incoming *in) SIM_MUST_CHECK;

#endif
