/* One rank's share of a machine that leaves: the pages that it keeps, the states of what is here, and its connections to
 * every rank of the target.
 *
 *   begin -> connect -> rounds: mark, anew (frozen), push -> cut (frozen): states -> hand_over: last marks, MISSING, states,
 *   STOPPED -> serve: what is demanded -> rest: all else, END, DONE -> end
 *
 * On several ranks a page that comes to this one gets a mark (a guard hears of it): so it is sent by whoever keeps it last. */
#ifndef LAUNCH_MIGRATE_SHARE_H
#define LAUNCH_MIGRATE_SHARE_H

#include "checkpoint/sender.h"
#include "checkpoint_state.h"
#include "migrate_target.h"

struct migrate_share;

/* The devices are at rank 0. */
struct migrate_share *migrate_share_create(struct machine *m);
/* Ended before; nobody is inside guards any more. NULL is allowed. */
void migrate_share_destroy(struct migrate_share *s);

/* --- the thread of the migration --- */

enum sim_status migrate_share_begin(struct migrate_share *s) SIM_MUST_CHECK;
/* The first connection of all, and SPACE frames through it. *first is borrowed until the end. */
enum sim_status migrate_share_dial(struct migrate_share *s, const char *uri, struct ckpt_stream **first) SIM_MUST_CHECK;
enum sim_status migrate_share_announce(struct migrate_share *s) SIM_MUST_CHECK;
/* To all ranks of the target, but for a connection that is there. `target` is borrowed until the end. */
enum sim_status migrate_share_connect(struct migrate_share *s, const struct migrate_target *target) SIM_MUST_CHECK;
/* ckpt_sender_mark. */
uint64_t migrate_share_mark(struct migrate_share *s, bool all);
/* From here on a write marks again. What devices had under way has ended. Context: frozen world. */
void migrate_share_anew(struct migrate_share *s);
/* Sends what is marked; the target has all of it when this returns. */
enum sim_status migrate_share_push(struct migrate_share *s) SIM_MUST_CHECK;
/* What is under way here ends, as share_settle of images. Then the states, as they are: `cursor`, whose turn was the last.
 * Context: frozen world; between the two ranks settle. */
void migrate_share_settle(struct migrate_share *s);
enum sim_status migrate_share_cut(struct migrate_share *s, uint32_t cursor) SIM_MUST_CHECK;
/* Context: the world has been frozen since the cut. */
enum sim_status migrate_share_hand_over(struct migrate_share *s, bool postcopy) SIM_MUST_CHECK;
/* Answers demands until `until` (LOADED, STARTED) comes through the first connection (*came), or for timeout_ms (-1: for
 * ever). */
enum sim_status migrate_share_serve(struct migrate_share *s, enum ckpt_frame_type until, int timeout_ms,
                                    bool *came) SIM_MUST_CHECK;
/* GO, of the first rank to every rank of the target. */
enum sim_status migrate_share_go(struct migrate_share *s) SIM_MUST_CHECK;
/* The rest, demanded blocks first, until the target has all or does not need it. */
enum sim_status migrate_share_rest(struct migrate_share *s) SIM_MUST_CHECK;
/* Ends all connections; not `good`: the target is told that the migration was given up. */
void migrate_share_end(struct migrate_share *s, bool good);

/* --- any thread --- */

/* Whoever sends or receives fails, without a message, until the end. */
void migrate_share_cancel(struct migrate_share *s);
/* Forgets that. While no migration uses it. */
void migrate_share_uncancel(struct migrate_share *s);
struct migrate_share_stats {
    uint64_t blocks, zeros, bytes, pending;
};
void migrate_share_get_stats(struct migrate_share *s, struct migrate_share_stats *out);

#endif
