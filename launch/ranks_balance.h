/* Which harts of a machine on several ranks shall run elsewhere. A pure function of what was measured in one
 * interval, and of what came of its last advice.
 *
 *   bring together: harts that wait for other ranks longer than they run come to the rank with the devices, or, when that is
 *                   full, to where most harts work: there is more to gain from one cache than from another executor
 *   spread:         a rank has no core left, several busy harts, and another rank is idle: one hart goes there
 *
 * A hart that was spread and then waited is brought back by the first rule; the second then keeps away for twice as long as
 * the last time. */
#ifndef LAUNCH_RANKS_BALANCE_H
#define LAUNCH_RANKS_BALANCE_H

#include <stdbool.h>
#include <stdint.h>

/* Of one hart in the interval; host time. */
struct balance_hart {
    uint32_t rank;
    uint64_t busy_ns; /* it ran guest code */
    uint64_t wait_ns; /* it waited for pages, devices and fences of other ranks */
};

struct balance_input {
    uint64_t now_ns, interval_ns;
    const uint32_t *executors; /* by rank */
    uint32_t nr_ranks;
    uint32_t device_rank;
    const struct balance_hart *hart;
    uint32_t nr_harts;
};

/* All zero at first. */
struct balance {
    uint32_t spread_hart;
    uint64_t spread_at_ns; /* 0: nothing to learn from */
    uint64_t spread_not_before_ns, backoff_ns;
};

struct balance_move {
    uint32_t hart, to;
};

/* Returns how many moves are advised, at most `max`; those who wait longest first. */
unsigned balance_decide(struct balance *b, const struct balance_input *in, struct balance_move *move, unsigned max);

#endif
