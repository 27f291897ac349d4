/* jit-PID.dump: host code of each region and which guest instruction it came from.
 *
 *   header | { debug info: host address -> line of jit-PID.lst | load: address, name, code } ... | close
 *
 * The format is that of perf's own documentation (jitdump-specification.txt), version 1, host byte order. Times are
 * CLOCK_MONOTONIC: record with `perf record -k mono`. */
#include <elf.h>
#include <fcntl.h>
#include <inttypes.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "code_log.h"
#include "sim-core/alloc.h"
#include "sim-core/lock.h"
#include "sim-core/log.h"

enum { JITDUMP_MAGIC = 0x4a695444, JITDUMP_VERSION = 1, JIT_CODE_LOAD = 0, JIT_CODE_DEBUG_INFO = 2, JIT_CODE_CLOSE = 3 };

struct dump_header {
    uint32_t magic, version, total_size, elf_mach, pad, pid;
    uint64_t timestamp, flags;
};

struct record_header {
    uint32_t id, total_size;
    uint64_t timestamp;
};

struct load_record {
    struct record_header head;
    uint32_t pid, tid;
    uint64_t vma, code_addr, code_size, code_index;
    /* name, NUL, code */
};

struct debug_record {
    struct record_header head;
    uint64_t code_addr, nr_entry;
    /* struct debug_entry, file name, NUL; ... */
};

struct debug_entry {
    uint64_t code_addr;
    uint32_t line, discriminator;
};

_Static_assert(sizeof(struct dump_header) == 40 && sizeof(struct load_record) == 56 &&
                   sizeof(struct debug_record) == 32 && sizeof(struct debug_entry) == 16,
               "as perf reads them");

/* --- files --- */

static void dump_path(char *buf, size_t size)
{
    code_log_path("jit", buf, size);
}

/* "DIR/jit-PID.lst", absolute: perf annotate may be run elsewhere. */
static void list_path(char *buf, size_t size)
{
    char here[PATH_MAX - 64];

    if (!getcwd(here, sizeof here))
        strcpy(here, ".");
    snprintf(buf, size, "%s/jit-%d.lst", here, (int)getpid());
}

static enum sim_status make_file(const char *path, const void *data, size_t len)
{
    unlink(path);
    int fd = open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, 0644);
    bool ok = fd >= 0 && write(fd, data, len) == (ssize_t)len;

    if (!ok)
        sim_error("-jitdump: cannot make '%s': %m", path);
    if (fd >= 0)
        close(fd);
    return ok ? SIM_OK : SIM_ERR_IO;
}

enum sim_status jitdump_prepare(void)
{
    const struct dump_header h = {.magic = JITDUMP_MAGIC, .version = JITDUMP_VERSION, .total_size = sizeof h,
                                  .elf_mach = EM_X86_64, .pid = (uint32_t)getpid(), .timestamp = sim_host_ns()};
    char path[PATH_MAX];

    list_path(path, sizeof path);
    SIM_TRY(make_file(path, "", 0));
    dump_path(path, sizeof path);
    return make_file(path, &h, sizeof h);
}

static enum sim_status open_file(const char *path, int *fd)
{
    *fd = open(path, O_RDWR | O_APPEND | O_CLOEXEC | O_NOFOLLOW);
    if (*fd >= 0)
        return SIM_OK;
    sim_error("-jitdump: cannot write '%s': %m", path);
    return SIM_ERR_IO;
}

/* The mapping is never read: its appearance in the profile tells perf where the dump is. */
enum sim_status jitdump_open(struct code_log *l)
{
    char path[PATH_MAX];

    dump_path(path, sizeof path);
    SIM_TRY(open_file(path, &l->dump_fd));
    l->dump_mark = mmap(NULL, (size_t)sysconf(_SC_PAGESIZE), PROT_READ | PROT_EXEC, MAP_PRIVATE, l->dump_fd, 0);
    if (l->dump_mark == MAP_FAILED) {
        l->dump_mark = NULL;
        sim_error("-jitdump: cannot map '%s' as code (is the folder mounted noexec?): %m", path);
        return SIM_ERR_IO;
    }
    if (l->config.stream) /* lines of several machines would be mixed */
        return SIM_OK;
    list_path(path, sizeof path);
    return open_file(path, &l->list_fd);
}

void jitdump_close(struct code_log *l)
{
    if (l->dump_mark) {
        const struct record_header close = {JIT_CODE_CLOSE, sizeof close, sim_host_ns()};
        if (!l->config.stream)
            code_log_write(l, l->dump_fd, &close, sizeof close);
        munmap(l->dump_mark, (size_t)sysconf(_SC_PAGESIZE));
    }
    if (l->dump_fd >= 0)
        close(l->dump_fd);
    if (l->list_fd >= 0)
        close(l->list_fd);
}

/* --- the listing --- */

/* Writes the region's instructions; returns the line of the first. */
static uint32_t list_region(struct code_log *l, const struct jit_region *r, const char *name)
{
    char *text = NULL;
    size_t size = 0;
    FILE *out = open_memstream(&text, &size);
    uint32_t first = l->list_line + 2; /* behind the name; lines count from 1 */

    if (!out)
        return 0;
    fprintf(out, "%s:\n", name);
    for (unsigned n = 0; n < r->nr_origins; n++) {
        const struct jit_origin *o = &r->origin[n];
        char insn[96];
        rv_disasm(o->insn.raw, r->va_page + o->offset, insn, sizeof insn);
        fprintf(out, "  %016" PRIx64 "  %s\n", (uint64_t)r->va_page + o->offset, insn);
    }
    fclose(out);
    code_log_write(l, l->list_fd, text, size);
    sim_free(text);
    l->list_line += r->nr_origins + 1u;
    return first;
}

static void debug_info(struct code_log *l, const struct jit *jit, const struct jit_region *r, const char *name)
{
    char path[PATH_MAX];
    const struct ir_map_row *row = (const void *)(jit->cache.rw + r->code.map);
    uint32_t line = list_region(l, r, name);
    uint64_t code = (uintptr_t)(jit->cache.rx + r->code.entry);

    list_path(path, sizeof path);
    size_t each = sizeof(struct debug_entry) + strlen(path) + 1, at = sizeof(struct debug_record);
    size_t total = (at + r->code.nr_map * each + 7) & ~(size_t)7;
    uint8_t *bytes = sim_zalloc(total);
    const struct debug_record head = {.head = {JIT_CODE_DEBUG_INFO, (uint32_t)total, sim_host_ns()},
                                      .code_addr = code, .nr_entry = r->code.nr_map};
    memcpy(bytes, &head, sizeof head);
    for (uint32_t n = 0; n < r->code.nr_map; n++, at += each) {
        const struct debug_entry e = {.code_addr = code + row[n].host, .line = line + row[n].origin};
        memcpy(bytes + at, &e, sizeof e);
        strcpy((char *)bytes + at + sizeof e, path);
    }
    code_log_write(l, l->dump_fd, bytes, total);
    sim_free(bytes);
}

/* --- records --- */

void jitdump_region(struct code_log *l, const struct jit *jit, const struct jit_region *r)
{
    char name[CODE_NAME];

    code_log_name(l, r, name, sizeof name);
    if (l->list_fd >= 0 && r->code.nr_map)
        debug_info(l, jit, r, name);
    size_t len = strlen(name) + 1, total = sizeof(struct load_record) + len + r->code.host_bytes;
    uint64_t code = (uintptr_t)(jit->cache.rx + r->code.entry);
    const struct load_record head = {
        .head = {JIT_CODE_LOAD, (uint32_t)total, sim_host_ns()},
        .pid = (uint32_t)getpid(), .tid = (uint32_t)syscall(SYS_gettid),
        .vma = code, .code_addr = code, .code_size = r->code.host_bytes, .code_index = l->next_index++};
    uint8_t *bytes = sim_zalloc(total);

    memcpy(bytes, &head, sizeof head);
    memcpy(bytes + sizeof head, name, len);
    memcpy(bytes + sizeof head + len, jit->cache.rw + r->code.entry, r->code.host_bytes);
    code_log_write(l, l->dump_fd, bytes, total);
    sim_free(bytes);
}
