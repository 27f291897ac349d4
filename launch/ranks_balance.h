/* Which hart of a machine on several ranks shall run elsewhere. A pure function of what was measured in one
 * interval, and of what came of its last advice.
 *
 *   bring together: a rank's harts wait for pages longer than they run, and another rank has room: there is more to
 *                   gain from one cache than from two executors
 *   spread:         a rank has no core left, several busy harts, and another rank is idle
 *
 * Spreading that made harts wait is taken back by the first rule; the second then keeps away for twice as long as
 * the last time. */
#ifndef LAUNCH_RANKS_BALANCE_H
#define LAUNCH_RANKS_BALANCE_H

#include <stdbool.h>
#include <stdint.h>

/* Of one hart in the interval. */
struct balance_hart {
    uint32_t rank;
    uint32_t waits;   /* times that it was parked for a page */
    uint64_t busy_ns; /* host time in guest code */
};

/* Of one rank. */
struct balance_rank {
    uint32_t executors;
    uint64_t wait_ns; /* of all its harts together */
};

struct balance_input {
    uint64_t now_ns, interval_ns;
    const struct balance_rank *rank;
    uint32_t nr_ranks;
    const struct balance_hart *hart;
    uint32_t nr_harts;
};

/* All zero at first. */
struct balance {
    uint64_t spread_at_ns, spread_not_before_ns, backoff_ns;
};

struct balance_move {
    uint32_t hart, to;
};

/* True: *move is advised. */
bool balance_decide(struct balance *b, const struct balance_input *in, struct balance_move *move);

#endif
