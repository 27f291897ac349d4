/* Translated code for profilers: regions -> perf map, jitdump. */
#include "code_log.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <unistd.h>

#include "sim-core/alloc.h"
#include "sim-core/log.h"

void code_log_path(const char *form, char *buf, size_t size)
{
    snprintf(buf, size, "%s-%d.%s", form, (int)getpid(), form[0] == '/' ? "map" : "dump");
}

void code_log_name(const struct code_log *l, const struct jit_region *r, char *buf, size_t size)
{
    gva_t pc = r->va_page + r->origin[0].offset;
    char symbol[CODE_NAME - 32];

    symbols_format(l->config.symbols, pc, symbol, sizeof symbol);
    snprintf(buf, size, "guest:%016" PRIx64 "%s%s", (uint64_t)pc, symbol[0] ? " " : "", symbol);
}

void code_log_write(struct code_log *l, int fd, const void *data, size_t len)
{
    ssize_t n;

    do
        n = write(fd, data, len);
    while (n < 0 && errno == EINTR);
    if (n == (ssize_t)len || l->failed)
        return;
    l->failed = true;
    sim_warn("the map of translated code for perf is not complete: %m");
}

static void log_region(struct jit_listener *listener, const struct jit *jit, const struct jit_region *r)
{
    struct code_log *l = SIM_CONTAINER_OF(listener, struct code_log, listener);

    if (l->map_fd >= 0)
        perf_map_region(l, jit, r);
    if (l->dump_fd >= 0)
        jitdump_region(l, jit, r);
}

enum sim_status rv_code_log_prepare(const struct rv_code_log_config *config)
{
    if (config->perf_map)
        SIM_TRY(perf_map_prepare());
    return config->jitdump ? jitdump_prepare() : SIM_OK;
}

static enum sim_status open_all(struct code_log *l, const struct jit *jit)
{
    if (l->config.perf_map)
        SIM_TRY(perf_map_open(l, jit));
    return l->config.jitdump ? jitdump_open(l) : SIM_OK;
}

enum sim_status rv_machine_log_code(struct rv_machine *m, const struct rv_code_log_config *config)
{
    if (!config->perf_map && !config->jitdump)
        return SIM_OK;
    if (!m->jit) {
        sim_warn("-perfmap and -jitdump tell of translated code, and the guest is interpreted");
        return SIM_OK;
    }
    struct code_log *l = sim_new(struct code_log);
    *l = (struct code_log){.listener.region = log_region, .config = *config, .map_fd = -1, .dump_fd = -1,
                           .list_fd = -1, .next_index = (uint64_t)config->stream << 40};
    enum sim_status status = open_all(l, m->jit);
    if (status != SIM_OK) {
        code_log_destroy(l, NULL);
        return status;
    }
    ir_host_want_map(m->jit->host, config->jitdump);
    jit_add_listener(m->jit, &l->listener);
    m->code_log = l;
    return SIM_OK;
}

void code_log_destroy(struct code_log *l, struct jit *jit)
{
    if (!l)
        return;
    if (jit)
        jit_remove_listener(jit, &l->listener);
    jitdump_close(l);
    if (l->map_fd >= 0)
        close(l->map_fd);
    sim_free(l);
}
