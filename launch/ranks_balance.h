/* Which harts of a machine on several ranks shall run elsewhere. A pure function of what was measured in one
 * interval, and of what came of its last advice.
 *
 *   bring together: harts that wait for other ranks longer than they run come to the rank with the devices, or, when that is
 *                   full, to where most harts work: there is more to gain from one cache than from another executor
 *   spread:         a rank has no core left, several busy harts, and another rank is idle: one hart goes there
 *
 * Ranks that lend each other their cores (partition/lend.h) are one pool: harts lose no core when they come together in it, so
 * there is always room in it for its own harts, they come as soon as they wait for a part of their time that matters,
 * and nothing is spread within it: a pool is crowded or idle as a whole. What follows is for several pools.
 *
 * A hart that was spread must fetch what it works on before it can be judged: it is left alone for a while, counted in
 * intervals in which it was seen there (on a busy host a move itself may take longer than all of them). When it
 * then waits for a quarter of its time, in the mean and still, it goes back, room or not: who shares that much loses more while it
 * runs than while it waits (its pages and TLB entries come and go). The second rule then keeps away for twice as long
 * as the last time, and gives the next hart longer to settle, by a thirty-second of that. So harts that share nothing come apart on any host, and those that share everything
 * lose 3 % by the attempts. After two seconds without a crowd all that is forgotten: what runs then is another program. */
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
    const uint32_t *pool;      /* by rank: the first of those that lend each other their cores */
    uint32_t nr_ranks;
    uint32_t device_rank;
    const struct balance_hart *hart;
    uint32_t nr_harts;
};

/* All zero at first. */
struct balance {
    uint32_t spread_hart, spread_from, spread_to;
    uint64_t spread_at_ns; /* 0: nothing to learn from */
    uint64_t seen_there_ns; /* so much was measured of it since */
    uint64_t mean_busy_ns, mean_wait_ns; /* of its intervals since, the last ones weighing most */
    uint64_t spread_not_before_ns, backoff_ns;
    uint64_t crowd_at_ns; /* the last one */
};

struct balance_move {
    uint32_t hart, to;
};

/* Returns how many moves are advised, at most `max`; those who wait longest first. */
unsigned balance_decide(struct balance *b, const struct balance_input *in, struct balance_move *move, unsigned max);

#endif
