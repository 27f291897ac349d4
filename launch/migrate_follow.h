/* A rank other than the first, when the machine leaves: it does what the leader (migrate.h, on rank 0) orders. */
#ifndef LAUNCH_MIGRATE_FOLLOW_H
#define LAUNCH_MIGRATE_FOLLOW_H

#include "machine.h"
#include "ranks.h"

struct migrate_follower;

/* ready() waits until all memory of this rank is there. busy(): a image that has ended elsewhere is still coming to its end on
 * this rank; it is waited for, since both use the guard of memory and its marks. Context: launch thread. */
struct migrate_follower *migrate_follower_create(struct machine *m, struct ranks *ranks,
                                                 enum sim_status (*ready)(void *opaque), bool (*busy)(void *opaque), void *opaque);
/* From now on orders are refused; waits for the end of a migration under way. Context: launch thread; the I/O thread runs. */
void migrate_follower_close(struct migrate_follower *f);
/* Closed before; NULL is allowed. Context: executors and I/O thread stopped, nothing is handled any more. */
void migrate_follower_destroy(struct migrate_follower *f);

/* Is it under way, or coming to its end? NULL: no. */
bool migrate_follower_is_busy(struct migrate_follower *f);

#endif
