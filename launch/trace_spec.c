/* Parsing of what shall be traced. */
#include "trace_spec.h"

#include <string.h>

#include "config.h"
#include "keyval.h"
#include "sim-core/alloc.h"

/* --- "exec+mem" --- */

static enum sim_status parse_what(const char *option, const char *text, unsigned *out)
{
    static const struct {
        const char *name;
        unsigned what;
    } names[] = {{"exec", RV_TRACE_EXEC}, {"blocks", RV_TRACE_BLOCKS}, {"mem", RV_TRACE_MEM}, {"fetch", RV_TRACE_FETCH}};
    char *copy = sim_strdup(text ? text : ""), *rest = copy, *word;
    enum sim_status status = SIM_OK;

    *out = 0;
    while (status == SIM_OK && (word = strsep(&rest, "+")) != NULL) {
        status = SIM_ERR_INVALID;
        for (size_t n = 0; n < SIM_ARRAY_LEN(names); n++) {
            if (strcmp(word, names[n].name) == 0) {
                *out |= names[n].what;
                status = SIM_OK;
            }
        }
        if (status != SIM_OK)
            option_reject(option, word, "cannot be traced (exec, blocks, mem, fetch; several: exec+mem)");
    }
    sim_free(copy);
    return status;
}

/* --- "0+2-3" --- */

static enum sim_status add_harts(const char *option, char *range, struct rv_observe_filter *f)
{
    char *dash = strchr(range, '-');
    uint32_t first, last;

    if (dash)
        *dash = '\0';
    SIM_TRY(parse_u32(option, range, &first));
    last = first;
    if (dash)
        SIM_TRY(parse_u32(option, dash + 1, &last));
    if (first > last || last >= CONFIG_MAX_HARTS)
        return option_reject(option, range, "begins no range of harts");
    for (uint32_t n = first; n <= last; n++)
        f->harts[n / 64] |= 1ull << (n % 64);
    return SIM_OK;
}

static enum sim_status parse_harts(const char *option, const char *text, struct rv_observe_filter *f)
{
    char *copy = sim_strdup(text), *rest = copy, *word;
    enum sim_status status = SIM_OK;

    f->nr_harts = CONFIG_MAX_HARTS;
    f->harts = sim_new_array(uint64_t, CONFIG_MAX_HARTS / 64);
    while (status == SIM_OK && (word = strsep(&rest, "+")) != NULL)
        status = add_harts(option, word, f);
    sim_free(copy);
    return status;
}

/* --- "us", "0x1000-0x1fff" --- */

static enum sim_status parse_privs(const char *option, const char *text, struct rv_observe_filter *f)
{
    static const char letters[] = "us?m"; /* by number */

    f->privs = 0;
    for (const char *p = text; *p; p++) {
        const char *at = strchr(letters, *p);
        if (!at || *at == '?')
            return option_reject(option, text, "are no privileges (some of u, s, m)");
        f->privs |= (uint8_t)(1 << (at - letters));
    }
    return f->privs ? SIM_OK : option_reject(option, text, "is no privilege (u, s or m)");
}

static enum sim_status parse_range(const char *option, const char *text, struct rv_observe_filter *f)
{
    char *copy = sim_strdup(text), *dash = strchr(copy, '-');
    enum sim_status status;

    if (dash)
        *dash = '\0';
    status = parse_u64(option, copy, &f->lo);
    f->hi = f->lo;
    if (status == SIM_OK && dash)
        status = parse_u64(option, dash + 1, &f->hi);
    sim_free(copy);
    if (status == SIM_OK && f->lo > f->hi)
        status = option_reject(option, text, "ends before it begins");
    return status;
}

static enum sim_status take_all(const char *option, struct keyvals *kv, struct trace_spec *s)
{
    const char *what = keyvals_take(kv, "what"), *harts = keyvals_take(kv, "hart"), *privs = keyvals_take(kv, "priv");
    const char *addr = keyvals_take(kv, "addr"), *file = keyvals_take(kv, "file");

    SIM_TRY(keyvals_check(kv));
    SIM_TRY(parse_what(option, what, &s->what));
    if (harts)
        SIM_TRY(parse_harts(option, harts, &s->filter));
    if (privs)
        SIM_TRY(parse_privs(option, privs, &s->filter));
    if (addr)
        SIM_TRY(parse_range(option, addr, &s->filter));
    config_set_string(&s->file, file);
    return SIM_OK;
}

enum sim_status trace_spec_parse(const char *option, const char *text, struct trace_spec *out)
{
    struct trace_spec s = {.filter = rv_observe_filter_all()};
    struct keyvals kv;

    SIM_TRY(keyvals_parse(option, text, "what", &kv));
    enum sim_status status = take_all(option, &kv, &s);
    keyvals_fini(&kv);
    if (status == SIM_OK)
        *out = s;
    else
        trace_spec_fini(&s);
    return status;
}

void trace_spec_fini(struct trace_spec *s)
{
    sim_free(s->filter.harts);
    sim_free(s->file);
    *s = (struct trace_spec){0};
}
