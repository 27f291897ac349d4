/* Looking into the guest: symbols, perf maps and dumps (cpu/code_log.h), traces (cpu/trace.h), plugins (cpu/plugin_host.h).
 *
 *   tools_prepare (once a process) -> tools_create (each rank, machine composed, nothing runs) -> tools_destroy */
#ifndef LAUNCH_TOOLS_H
#define LAUNCH_TOOLS_H

#include "config.h"
#include "cpu/riscv.h"

struct tools;

/* "FILE[,base=ADDR]" of -symbols. */
enum sim_status tools_add_symbols(struct config *c, const char *option, const char *value) SIM_MUST_CHECK;
/* What -trace says: trace_spec.h. */
enum sim_status tools_add_trace(struct config *c, const char *option, const char *value) SIM_MUST_CHECK;
/* "FILE.so[,key=value...]" of -plugin. */
enum sim_status tools_add_plugin(struct config *c, const char *option, const char *value) SIM_MUST_CHECK;
/* Files that all ranks of this process write. */
enum sim_status tools_prepare(const struct config *c) SIM_MUST_CHECK;
/* several: this is one rank of more. */
/* cpus NULL: a machine of another kind, which nobody looks into. */
enum sim_status tools_create(struct rv_machine *cpus, const struct config *c, unsigned rank, bool several,
                             struct tools **out) SIM_MUST_CHECK;
/* Starts another trace, or ends all ("off"; an error: some file is not whole). Context: any, one at a time; the machine stands still. */
enum sim_status tools_trace(struct tools *t, const char *option, const char *spec) SIM_MUST_CHECK;
/* Ends what observes the machine. Context: launch thread, executors stopped, I/O thread too. NULL allowed. */
void tools_detach(struct tools *t);
/* After the machine; NULL allowed. */
void tools_destroy(struct tools *t);

#endif
