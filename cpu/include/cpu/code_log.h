/* Translated code for profilers of the host: `perf` sees guest code by name.
 *
 *   rv_code_log_prepare (once a process) -> rv_machine_log_code (each machine) -> regions as they are translated
 *
 * perf map: /tmp/perf-PID.map, "START SIZE NAME" in hex, read by perf report while it looks at the process.
 * jitdump: jit-PID.dump in the current folder, with the host code, and jit-PID.lst, a listing of the guest
 * instructions that its line numbers refer to; `perf inject --jit` turns them into something perf annotate shows.
 * Names are "guest:PC" or "guest:PC symbol+0x12", PC being where the code was when it was translated: one
 * translation serves all mappings of a page. */
#ifndef CPU_CODE_LOG_H
#define CPU_CODE_LOG_H

#include "cpu/riscv.h"
#include "cpu/symbols.h"

struct rv_code_log_config {
    bool perf_map, jitdump;
    const struct symbols *symbols; /* NULL: none; outlives the machine */
    uint32_t stream;               /* which of the process's machines this is */
};

/* Empties the files of this process that are wanted (a dead process may have left some) and begins the dump.
 * Logs and fails with SIM_ERR_IO. Context: before any machine of the process logs. */
enum sim_status rv_code_log_prepare(const struct rv_code_log_config *config) SIM_MUST_CHECK;
/* From here on regions are written. Without a JIT: a warning and nothing. Context: launch thread, before harts run;
 * ends with the machine. */
enum sim_status rv_machine_log_code(struct rv_machine *m, const struct rv_code_log_config *config) SIM_MUST_CHECK;

#endif
