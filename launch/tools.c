/* Options of the tools -> the machine: symbols, perf map, jitdump. */
#include "tools.h"

#include "cpu/code_log.h"
#include "keyval.h"
#include "sim-core/alloc.h"
#include "symbol_files.h"

struct tools {
    struct symbols *symbols; /* NULL: nobody wants any */
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

static bool names_wanted(const struct config_tools *t)
{
    return t->perf_map || t->jitdump || t->nr_symbols;
}

static enum sim_status attach(struct tools *t, struct rv_machine *cpus, const struct config *c, unsigned rank)
{
    struct rv_code_log_config log = code_log_config(c);

    if (names_wanted(&c->tools))
        SIM_TRY(symbol_files_load(c, &t->symbols));
    log.symbols = t->symbols;
    log.stream = c->ranks > 1 ? rank : 0; /* otherwise each rank is a process */
    return rv_machine_log_code(cpus, &log);
}

enum sim_status tools_create(struct rv_machine *cpus, const struct config *c, unsigned rank, struct tools **out)
{
    struct tools *t = sim_new(struct tools);
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
    symbols_destroy(t->symbols);
    sim_free(t);
}
