/* Looking into the guest: symbols, perf maps and dumps (cpu/code_log.h).
 *
 *   tools_prepare (once a process) -> tools_create (each rank, machine composed, nothing runs) -> tools_destroy */
#ifndef LAUNCH_TOOLS_H
#define LAUNCH_TOOLS_H

#include "config.h"
#include "cpu/riscv.h"

struct tools;

/* "FILE[,base=ADDR]" of -symbols. */
enum sim_status tools_add_symbols(struct config *c, const char *option, const char *value) SIM_MUST_CHECK;
/* Files that all ranks of this process write. */
enum sim_status tools_prepare(const struct config *c) SIM_MUST_CHECK;
enum sim_status tools_create(struct rv_machine *cpus, const struct config *c, unsigned rank,
                             struct tools **out) SIM_MUST_CHECK;
/* After the machine; NULL allowed. */
void tools_destroy(struct tools *t);

#endif
