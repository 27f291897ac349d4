/* Where a machine goes in a live migration: the ranks of the target, by what they tell of themselves (PLACE frames, FORMAT.md). */
#ifndef LAUNCH_MIGRATE_TARGET_H
#define LAUNCH_MIGRATE_TARGET_H

#include <stdbool.h>

#include "sim-core/status.h"
#include "sim-core/types.h"

/* Blocks [first, first + nr) of memory belong to that rank. */
struct migrate_home {
    uint64_t first, nr;
    uint32_t rank;
};

struct migrate_target {
    uint64_t token;       /* joins the connections of one migration */
    char **address;       /* by rank; NULL: not told yet */
    uint32_t nr_ranks;    /* 0: no PLACE has come */
    struct migrate_home *home; /* ascending */
    uint32_t nr_homes;
};

/* A PLACE frame's payload. `dialled`: the address of the first connection, from which others' are completed; NULL: they are
 * complete. SIM_ERR_FORMAT is not logged. */
enum sim_status migrate_target_add(struct migrate_target *t, const void *data, uint32_t len,
                                   const char *dialled) SIM_MUST_CHECK;
bool migrate_target_is_complete(const struct migrate_target *t);
/* The payload for a rank; sim_free. An address NULL counts as "". */
void *migrate_target_encode(const struct migrate_target *t, uint32_t rank, uint32_t *len);
/* Whose the block is; rank 0's if nobody's. */
uint32_t migrate_target_home(const struct migrate_target *t, uint64_t block);
void migrate_target_fini(struct migrate_target *t);

#endif
