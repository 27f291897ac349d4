/* Lending cores: while the harts of one rank need fewer cores than it has, another rank of its host with more harts than
 * executors uses them by its spare executors (plan.h).
 *
 *   what each rank's harts did -> part_lend -> who uses each core -> part_lend_works -> which executors of a rank take turns
 *
 * Pure functions, like the plan. A core has one user: an executor whose core is lent takes no turns, except the first
 * of a rank, which is always there for a hart that comes or wakes before the next decision. */
#ifndef PARTITION_LEND_H
#define PARTITION_LEND_H

#include "partition/plan.h"

/* Of a rank, in one interval. */
struct part_load {
    uint32_t harts;        /* that did something */
    uint32_t core_percent; /* they ran, or waited for other ranks: 250 are two and a half of the interval, all together */
};

/* user[e], of plan->nr_executors: the rank that uses the core of plan->executor[e]. In: as it was (at first each executor's
 * own rank), out: as it is from now on. load[r] is rank r's.
 *
 *   an owner needs   a core for each hart, but no more than twice what they used; none while that is next to nothing
 *   a borrower wants a core for each hart, when its own are at least half used
 *
 * Cores go round among the borrowers of a host, one at a time; a loan ends when its owner needs the core or its borrower
 * does not. Both are judged a little better while it lasts, so that it does not come and go. */
void part_lend(const struct part_plan *plan, const struct part_load *load, uint32_t *user);
/* At first nothing is lent. */
void part_lend_nothing(const struct part_plan *plan, uint32_t *user);
/* works[n], of the rank's own executors and then its spare ones: does it take turns? */
void part_lend_works(const struct part_plan *plan, const uint32_t *user, uint32_t rank, bool *works);

#endif
