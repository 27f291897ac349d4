/* Options of the tools -> the machine: symbols, perf map, jitdump, traces, plugins. */
#include "tools.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "cpu/code_log.h"
#include "cpu/plugin_host.h"
#include "keyval.h"
#include "sim-core/alloc.h"
#include "sim-core/log.h"
#include "symbol_files.h"
#include "trace_spec.h"

enum { MAX_TRACES = 16 };

/* Owner: the launch thread, and who calls tools_trace. */
struct tools {
    struct rv_machine *cpus;
    struct symbols *symbols; /* NULL: nobody wants any */
    int rank;                /* -1: the only one */
    struct partita_plugin **plugin;
    unsigned nr_plugins;
    unsigned nr_traces;
    struct running_trace {
        struct trace_spec spec;
        struct rv_trace *trace;
        FILE *out;
    } trace[MAX_TRACES];
};

enum sim_status tools_add_symbols(struct config *c, const char *option, const char *value)
{
    struct config_tools *t = &c->tools;
    struct keyvals kv;
    uint64_t bias = 0;

    SIM_TRY(keyvals_parse(option, value, "file", &kv));
    const char *file = keyvals_take(&kv, "file"), *base = keyvals_take(&kv, "base");
    enum sim_status status = keyvals_check(&kv);
    if (status == SIM_OK && !file)
        status = option_reject(option, value, "names no file");
    if (status == SIM_OK && base)
        status = parse_u64(option, base, &bias);
    if (status == SIM_OK) {
        t->symbols = sim_realloc(t->symbols, (t->nr_symbols + 1) * sizeof t->symbols[0]);
        t->symbols[t->nr_symbols++] = (struct config_symbols){sim_strdup(file), bias};
    }
    keyvals_fini(&kv);
    return status;
}

static struct rv_code_log_config code_log_config(const struct config *c)
{
    return (struct rv_code_log_config){.perf_map = c->tools.perf_map, .jitdump = c->tools.jitdump};
}

enum sim_status tools_prepare(const struct config *c)
{
    const struct rv_code_log_config log = code_log_config(c);

    return rv_code_log_prepare(&log);
}

enum sim_status tools_add_trace(struct config *c, const char *option, const char *value)
{
    struct config_tools *t = &c->tools;
    struct trace_spec spec;

    SIM_TRY(trace_spec_parse(option, value, &spec));
    trace_spec_fini(&spec);
    t->traces = sim_realloc(t->traces, (t->nr_traces + 1) * sizeof t->traces[0]);
    t->traces[t->nr_traces++] = sim_strdup(value);
    return SIM_OK;
}

static void take_plugin(struct config_tools *t, const char *file, const struct keyvals *kv)
{
    struct config_plugin p = {.file = sim_strdup(file), .argument = sim_new_array(char *, kv->nr)};

    for (unsigned i = 0; i < kv->nr; i++)
        if (!kv->item[i].taken)
            p.argument[p.nr_arguments++] = sim_asprintf("%s=%s", kv->item[i].key, kv->item[i].value);
    t->plugins = sim_realloc(t->plugins, (t->nr_plugins + 1) * sizeof t->plugins[0]);
    t->plugins[t->nr_plugins++] = p;
}

enum sim_status tools_add_plugin(struct config *c, const char *option, const char *value)
{
    struct keyvals kv;

    SIM_TRY(keyvals_parse(option, value, "file", &kv));
    const char *file = keyvals_take(&kv, "file");
    enum sim_status status = file && *file ? SIM_OK : option_reject(option, value, "names no file");
    if (status == SIM_OK)
        take_plugin(&c->tools, file, &kv);
    keyvals_fini(&kv);
    return status;
}

/* --- traces --- */

static enum sim_status close_trace(struct running_trace *r)
{
    bool failed = ferror(r->out) != 0;

    if (fclose(r->out) != 0)
        sim_error("-trace: '%s' is not whole: %m", r->spec.file);
    else if (failed)
        sim_error("-trace: '%s' is not whole: not all of it could be written", r->spec.file);
    else
        return SIM_OK;
    return SIM_ERR_IO;
}

static enum sim_status end_trace(struct running_trace *r)
{
    enum sim_status status = SIM_OK;

    rv_trace_stop(r->trace);
    if (r->out && r->out != stderr)
        status = close_trace(r);
    trace_spec_fini(&r->spec);
    *r = (struct running_trace){0};
    return status;
}

/* All of them; the first failure. */
static enum sim_status end_traces(struct tools *t)
{
    enum sim_status status = SIM_OK;

    while (t->nr_traces) {
        enum sim_status ended = end_trace(&t->trace[--t->nr_traces]);
        status = status == SIM_OK ? ended : status;
    }
    return status;
}

/* Each rank has a file of its own: "F.2". */
static enum sim_status open_trace(const struct tools *t, const char *option, const char *file, FILE **out)
{
    char *path;

    *out = stderr;
    if (!file)
        return SIM_OK;
    path = t->rank < 0 ? sim_strdup(file) : sim_asprintf("%s.%d", file, t->rank);
    *out = fopen(path, "we");
    if (!*out)
        sim_error("%s: cannot write '%s': %m", option, path);
    sim_free(path);
    return *out ? SIM_OK : SIM_ERR_IO;
}

/* A filter for harts that there are not would leave an empty trace behind. */
static enum sim_status check_harts(const struct tools *t, const char *option, const char *text,
                                   const struct rv_observe_filter *f)
{
    uint32_t nr = rv_machine_nr_harts(t->cpus);

    for (uint32_t n = nr; f->harts && n < f->nr_harts; n++)
        if (rv_observe_filter_hart(f, n)) {
            sim_error("%s: '%s': there is no hart %" PRIu32 " (the machine has %" PRIu32 ", from 0)", option, text, n, nr);
            return SIM_ERR_INVALID;
        }
    return SIM_OK;
}

static enum sim_status begin_trace(struct tools *t, const char *option, const char *text)
{
    struct running_trace *r = &t->trace[t->nr_traces];

    if (!t->cpus)
        return option_reject(option, text, "is for RISC-V machines");
    if (t->nr_traces == MAX_TRACES)
        return option_reject(option, text, "is one trace too many");
    SIM_TRY(trace_spec_parse(option, text, &r->spec));
    enum sim_status status = check_harts(t, option, text, &r->spec.filter);
    if (status == SIM_OK)
        status = open_trace(t, option, r->spec.file, &r->out);
    if (status != SIM_OK) {
        (void)end_trace(r); /* nothing was written */
        return status;
    }
    const struct rv_trace_config config = {
        .what = r->spec.what, .filter = r->spec.filter, .out = r->out, .symbols = t->symbols};
    r->trace = rv_trace_start(t->cpus, &config);
    t->nr_traces++;
    return SIM_OK;
}

enum sim_status tools_trace(struct tools *t, const char *option, const char *spec)
{
    return strcmp(spec, "off") == 0 ? end_traces(t) : begin_trace(t, option, spec);
}

/* --- plugins --- */

static enum sim_status load_plugins(struct tools *t, const struct config_tools *c)
{
    t->plugin = sim_new_array(struct partita_plugin *, c->nr_plugins);
    for (unsigned i = 0; i < c->nr_plugins; i++) {
        const struct config_plugin *p = &c->plugins[i];
        SIM_TRY(rv_plugin_load(t->cpus, p->file, p->nr_arguments, (const char *const *)p->argument, t->symbols,
                               &t->plugin[t->nr_plugins]));
        t->nr_plugins++;
    }
    return SIM_OK;
}

void tools_detach(struct tools *t)
{
    if (!t)
        return;
    (void)end_traces(t); /* has been said */
    while (t->nr_plugins)
        rv_plugin_unload(t->plugin[--t->nr_plugins]);
    sim_free(t->plugin);
    t->plugin = NULL;
}

/* --- life --- */

static bool names_wanted(const struct config_tools *t)
{
    return t->perf_map || t->jitdump || t->nr_symbols || t->nr_traces || t->nr_plugins;
}

/* Everything here looks at translated or interpreted RISC-V code. */
static enum sim_status check_machine(const struct rv_machine *cpus, const struct config_tools *c)
{
    if (cpus || !(c->perf_map || c->jitdump || c->nr_traces || c->nr_plugins))
        return SIM_OK;
    sim_error("-perfmap, -jitdump, -trace and -plugin look into RISC-V machines; this one runs on the host's own CPUs");
    return SIM_ERR_UNSUPPORTED;
}

static enum sim_status attach(struct tools *t, struct rv_machine *cpus, const struct config *c, unsigned rank)
{
    struct rv_code_log_config log = code_log_config(c);

    SIM_TRY(check_machine(cpus, &c->tools));
    if (names_wanted(&c->tools))
        SIM_TRY(symbol_files_load(c, &t->symbols));
    log.symbols = t->symbols;
    log.stream = c->ranks > 1 ? rank : 0; /* otherwise each rank is a process */
    SIM_TRY(rv_machine_log_code(cpus, &log));
    for (unsigned i = 0; i < c->tools.nr_traces; i++)
        SIM_TRY(begin_trace(t, "-trace", c->tools.traces[i]));
    return load_plugins(t, &c->tools);
}

enum sim_status tools_create(struct rv_machine *cpus, const struct config *c, unsigned rank, bool several,
                             struct tools **out)
{
    struct tools *t = sim_new(struct tools);

    t->cpus = cpus;
    t->rank = several ? (int)rank : -1;
    enum sim_status status = attach(t, cpus, c, rank);

    if (status == SIM_OK)
        *out = t;
    else
        tools_destroy(t);
    return status;
}

void tools_destroy(struct tools *t)
{
    if (!t)
        return;
    tools_detach(t);
    symbols_destroy(t->symbols);
    sim_free(t);
}
