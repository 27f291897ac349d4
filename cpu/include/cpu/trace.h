/* Traces of guest execution as text: instructions, translations, memory accesses (launch/README.md has the format).
 *
 * What is not traced runs as fast as without: only code and pages that the filter lets through are observed.
 * Lines of one hart are in order; those of several are in the order they were written. */
#ifndef CPU_TRACE_H
#define CPU_TRACE_H

#include "cpu/observe_filter.h"
#include "cpu/riscv.h"
#include "cpu/symbols.h"

enum rv_trace_what {
    RV_TRACE_EXEC = 1,   /* instructions before they execute, traps and interrupts */
    RV_TRACE_BLOCKS = 2, /* translations, with their instructions */
    RV_TRACE_MEM = 4,    /* data accesses that were done */
    RV_TRACE_FETCH = 8   /* the same for instructions: a line for each that executes */
};

struct rv_trace_config {
    unsigned what;
    struct rv_observe_filter filter; /* copied; filter.harts is borrowed until rv_trace_stop */
    FILE *out;                       /* borrowed until then */
    const struct symbols *symbols;   /* NULL: none; likewise */
};

struct rv_trace;

/* Context: launch thread before harts run, or any thread while the machine stands still (executors stopped or
 * paused). */
struct rv_trace *rv_trace_start(struct rv_machine *m, const struct rv_trace_config *config);
/* Context as above, before the machine is destroyed. NULL allowed. */
void rv_trace_stop(struct rv_trace *t);

#endif
