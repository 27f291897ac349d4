/* A machine on several ranks that leaves: what its ranks say to each other. Rank 0 leads, the others follow.
 *
 * (At the target they say only, to the first, what broke.)
 *
 *   leader: target -> all: PLACEs; then one ORDER after the other, each of which every follower carries out and REPORTs
 *           -> at the end, however it went: END */
#ifndef LAUNCH_RANKS_MIGRATE_H
#define LAUNCH_RANKS_MIGRATE_H

#include "migrate_share.h"
#include "ranks.h"

/* What a follower is to do, in this order (migrate_share.h); MARK, ANEW, PUSH again and again. */
enum ranks_migrate_step {
    RANKS_MIGRATE_CONNECT,   /* argument: the token */
    RANKS_MIGRATE_MARK,      /* 1: all */
    RANKS_MIGRATE_ANEW,      /* the world is frozen */
    RANKS_MIGRATE_PUSH,
    RANKS_MIGRATE_CUT,       /* the world is frozen and settled, and stays so */
    RANKS_MIGRATE_HAND_OVER, /* 1: pages may be missing */
    RANKS_MIGRATE_REST,
};

/* What a follower says when it has done so. */
struct ranks_migrate_report {
    int32_t status; /* enum sim_status; not SIM_OK: the rank has logged why */
    uint32_t reserved;
    struct migrate_share_stats stats;
};

/* Context: handlers, which do not block. */
struct ranks_migrate_ops {
    void (*place)(void *opaque, const void *data, uint32_t len);
    void (*order)(void *opaque, enum ranks_migrate_step step, uint64_t argument);
    void (*end)(void *opaque, bool good);
};
/* A follower from now on; NULL: no more. Context: launch thread. */
void ranks_migrate_attach(struct ranks *r, const struct ranks_migrate_ops *ops, void *opaque);
void ranks_migrate_report(struct ranks *r, const struct ranks_migrate_report *report);

/* --- target --- */

/* Another rank tells the first that its connection broke, and how. A handler, until NULL. Context: launch thread. */
typedef void ranks_incoming_fn(void *opaque, const char *peer, const char *why);
void ranks_incoming_attach(struct ranks *r, ranks_incoming_fn *broke, void *opaque);
/* Not the first. Context: any thread. */
void ranks_incoming_tell(struct ranks *r, const char *peer, const char *why);

/* --- leader --- */

/* All hear of the target. SIM_ERR_UNSUPPORTED, logged: it is too large for a message. */
enum sim_status ranks_migrate_begin(struct ranks *r, const struct migrate_target *target) SIM_MUST_CHECK;
void ranks_migrate_order(struct ranks *r, enum ranks_migrate_step step, uint64_t argument);
/* Waits until all have done the last order, or one has failed; the first that failed is named. `poll`: this is the I/O thread
 * while the world stands still: it serves others meanwhile, and waits for all whoever fails. give_up(), asked now and then: SIM_ERR_IO without a message. */
enum sim_status ranks_migrate_await(struct ranks *r, bool poll, bool (*give_up)(void *opaque),
                                    void *opaque) SIM_MUST_CHECK;
/* What the followers have done altogether. */
void ranks_migrate_sum(struct ranks *r, struct migrate_share_stats *out);
void ranks_migrate_end(struct ranks *r, bool good);

#endif
