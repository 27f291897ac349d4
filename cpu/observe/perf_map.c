/* /tmp/perf-PID.map: one line a region. Lines are only ever added: when the code cache is emptied, code that comes
 * to the same place is listed again, and the profile of what was there before is attributed to either. (A jitdump
 * has times and knows better.) */
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "code_log.h"
#include "sim-core/log.h"

static const char form[] = "/tmp/perf";

enum sim_status perf_map_prepare(void)
{
    char path[64];

    code_log_path(form, path, sizeof path);
    unlink(path); /* another process's, of long ago */
    int fd = open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, 0644);
    if (fd < 0) {
        sim_error("-perfmap: cannot make '%s': %m", path);
        return SIM_ERR_IO;
    }
    close(fd);
    return SIM_OK;
}

static void add_line(struct code_log *l, const uint8_t *rx, uint64_t size, const char *name)
{
    char line[CODE_NAME + 64];
    int len = snprintf(line, sizeof line, "%" PRIxPTR " %" PRIx64 " %s\n", (uintptr_t)rx, size, name);

    code_log_write(l, l->map_fd, line, (size_t)len);
}

enum sim_status perf_map_open(struct code_log *l, const struct jit *jit)
{
    char path[64];

    code_log_path(form, path, sizeof path);
    l->map_fd = open(path, O_WRONLY | O_APPEND | O_CLOEXEC | O_NOFOLLOW);
    if (l->map_fd < 0) {
        sim_error("-perfmap: cannot write '%s': %m", path);
        return SIM_ERR_IO;
    }
    add_line(l, jit->cache.rx, jit->cache.used, "partita:runtime");
    return SIM_OK;
}

void perf_map_region(struct code_log *l, const struct jit *jit, const struct jit_region *r)
{
    char name[CODE_NAME];

    code_log_name(l, r, name, sizeof name);
    add_line(l, jit->cache.rx + r->code.entry, r->code.host_bytes, name);
}
