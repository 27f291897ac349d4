/* Files that the command line names. */
#include "input_file.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "sim-core/log.h"

void input_file_error(const struct input_file *f, const char *fmt, ...)
{
    char text[512];
    va_list ap;

    va_start(ap, fmt);
    vsnprintf(text, sizeof text, fmt, ap);
    va_end(ap);
    sim_error("%s '%s': %s", f->option, f->path, text);
}

static enum sim_status check_kind(const struct input_file *f, const struct stat *st)
{
    const char *wrong = S_ISDIR(st->st_mode)    ? "is a directory"
                        : !S_ISREG(st->st_mode) ? "is not a regular file"
                        : st->st_size == 0      ? "is empty"
                                                : NULL;

    if (!wrong)
        return SIM_OK;
    input_file_error(f, "%s", wrong);
    return SIM_ERR_INVALID;
}

enum sim_status input_file_open(const char *option, const char *path, struct input_file *out)
{
    struct input_file f = {.option = option, .path = path};
    struct stat st;

    f.fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK); /* a FIFO must not block here */
    if (f.fd < 0 || fstat(f.fd, &st) < 0) {
        enum sim_status status = errno == ENOENT ? SIM_ERR_NOTFOUND : SIM_ERR_IO;
        sim_error("%s '%s': %m", option, path);
        input_file_close(&f);
        return status;
    }
    enum sim_status status = check_kind(&f, &st);
    if (status != SIM_OK) {
        input_file_close(&f);
        return status;
    }
    f.size = (uint64_t)st.st_size;
    *out = f;
    return SIM_OK;
}

void input_file_from_memory(const char *name, const void *data, uint64_t size,
                            struct input_file *out)
{
    *out = (struct input_file){.option = "image", .path = name, .size = size, .fd = -1, .data = data};
}

void input_file_close(struct input_file *f)
{
    if (f->fd >= 0)
        close(f->fd);
    f->fd = -1;
}

enum sim_status input_file_read(const struct input_file *f, uint64_t offset, void *buf, size_t len)
{
    uint8_t *to = buf;

    if (offset > f->size || len > f->size - offset) {
        input_file_error(f, "is cut short: bytes %#" PRIx64 " to %#" PRIx64 " are needed, it has %#"
                            PRIx64, offset, offset + len, f->size);
        return SIM_ERR_FORMAT;
    }
    if (f->data) {
        memcpy(buf, f->data + offset, len);
        return SIM_OK;
    }
    while (len) {
        ssize_t n = pread(f->fd, to, len, (off_t)offset);
        if (n < 0 && errno == EINTR)
            continue;
        if (n <= 0) {
            sim_error("%s '%s': reading at %#" PRIx64 ": %s", f->option, f->path, offset,
                      n < 0 ? strerror(errno) : "the file has become shorter");
            return SIM_ERR_IO;
        }
        to += n;
        offset += (uint64_t)n;
        len -= (size_t)n;
    }
    return SIM_OK;
}
