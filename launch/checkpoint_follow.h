/* A rank other than the first, when images are made: it does what the leader (checkpoint.h, on rank 0) orders. */
#ifndef LAUNCH_CHECKPOINT_FOLLOW_H
#define LAUNCH_CHECKPOINT_FOLLOW_H

#include "machine.h"
#include "ranks.h"

struct follower;

/* ready() waits until all memory of this rank is there. busy(): a migration that has ended elsewhere is still coming to its end on
 * this rank; it is waited for, since both use the guard of memory and its marks. Context: launch thread. */
struct follower *follower_create(struct machine *m, struct ranks *ranks,
                                 enum sim_status (*ready)(void *opaque), bool (*busy)(void *opaque), void *opaque);
/* From now on orders are refused; waits for the image being made. Context: launch thread; the I/O thread runs. */
void follower_close(struct follower *f);
/* Closed before; NULL is allowed. Context: executors and I/O thread stopped, nothing is handled any more. */
void follower_destroy(struct follower *f);

/* Is it under way, or coming to its end? NULL: no. */
bool follower_is_busy(struct follower *f);

#endif
