/* What a command line says of a machine on several ranks. */
#ifndef LAUNCH_RANK_FACTS_H
#define LAUNCH_RANK_FACTS_H

#include "config.h"
#include "interconnect/interconnect.h"

enum { RANK_FACTS = 16 };

/* What must be the same for all ranks, or each would make another machine or another plan of it; reads the files that are
 * named. Returns their number. Context: launch thread. */
unsigned rank_facts(const struct config *c, struct ic_fact fact[RANK_FACTS]);

/* Refuses options that do nothing on so many ranks; 0: the machine is alone, without ranks. `loud`: says why. Context: launch
 * thread. */
enum sim_status rank_options_check(const struct config *c, uint32_t nr_ranks, bool loud) SIM_MUST_CHECK;

#endif
