/* "exec+mem,hart=0+2-3,priv=us,addr=0x80000000-0x8000ffff,file=F": what -trace and the control socket take. */
#ifndef LAUNCH_TRACE_SPEC_H
#define LAUNCH_TRACE_SPEC_H

#include "cpu/trace.h"

struct trace_spec {
    unsigned what; /* enum rv_trace_what */
    struct rv_observe_filter filter;
    char *file;    /* NULL: stderr */
};

enum sim_status trace_spec_parse(const char *option, const char *text, struct trace_spec *out) SIM_MUST_CHECK;
void trace_spec_fini(struct trace_spec *s);

#endif
