/* --stats: what was executed, how fast, and what it cost. */
#ifndef LAUNCH_STATS_H
#define LAUNCH_STATS_H

#include <stdio.h>

#include "machine.h"

struct stats_input {
    struct machine *machine;
    uint64_t wall_ns, cpu_ns; /* of the run; of its executors */
    unsigned threads;
    bool jit;
};

/* The whole account. Context: executors stopped. */
void stats_print(const struct stats_input *in, FILE *out);
/* Ctrl-A s: one line per hart, racy. Context: any thread. */
void stats_print_brief(const struct sim *sim, uint64_t wall_ns, FILE *out);

#endif
