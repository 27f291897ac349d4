/* Reading and writing files completely. */
#include "file_io.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>
#include <xxhash.h>

#include "sim-core/alloc.h"
#include "sim-core/log.h"

void file_set_direct(int fd, bool direct)
{
    int flags = fcntl(fd, F_GETFL);

    if (flags >= 0)
        fcntl(fd, F_SETFL, direct ? flags | O_DIRECT : flags & ~O_DIRECT);
}

int file_try_write_at(int fd, uint64_t offset, const void *data, size_t len)
{
    const char *p = data;
    bool refused = false;

    while (len) {
        ssize_t n = pwrite(fd, p, len, (off_t)offset);
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0 && errno == EINVAL && !refused) { /* not past the page cache: here, or the rest of a short write */
            refused = true;
            file_set_direct(fd, false);
            continue;
        }
        if (n <= 0)
            return n < 0 ? errno : EIO;
        p += n;
        offset += (uint64_t)n;
        len -= (size_t)n;
    }
    return 0;
}

enum sim_status file_write_failed(const char *path, uint64_t offset, size_t len, int error)
{
    errno = error; /* for %m */
    sim_error("image file '%s': writing %zu bytes at offset %llu: %m", path, len, (unsigned long long)offset);
    return SIM_ERR_IO;
}

enum sim_status file_write_at(int fd, const char *path, uint64_t offset, const void *data, size_t len)
{
    int error = file_try_write_at(fd, offset, data, len);

    return error ? file_write_failed(path, offset, len, error) : SIM_OK;
}

enum sim_status file_read_at(int fd, const char *path, uint64_t offset, void *data, size_t len)
{
    char *p = data;

    while (len) {
        ssize_t n = pread(fd, p, len, (off_t)offset);
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0) {
            sim_error("image file '%s': reading %zu bytes at offset %llu: %m", path, len,
                      (unsigned long long)offset);
            return SIM_ERR_IO;
        }
        if (n == 0) {
            sim_error("image file '%s': truncated: it ends at offset %llu", path,
                      (unsigned long long)offset);
            return SIM_ERR_FORMAT;
        }
        p += n;
        offset += (uint64_t)n;
        len -= (size_t)n;
    }
    return SIM_OK;
}

enum sim_status file_sync(int fd, const char *path)
{
    if (fsync(fd) == 0)
        return SIM_OK;
    sim_error("image file '%s': cannot sync it to the disk: %m", path);
    return SIM_ERR_IO;
}

static enum sim_status read_open(int fd, const char *path, uint64_t max, uint8_t **data, size_t *len)
{
    struct stat st;

    if (fstat(fd, &st) < 0) {
        sim_error("image file '%s': %m", path);
        return SIM_ERR_IO;
    }
    if (!S_ISREG(st.st_mode) || (uint64_t)st.st_size > max) {
        sim_error("image file '%s': %s", path,
                  S_ISREG(st.st_mode) ? "impossibly large" : "not a regular file");
        return SIM_ERR_FORMAT;
    }
    uint8_t *bytes = sim_try_alloc((size_t)st.st_size + 1);
    if (!bytes) {
        sim_error("image file '%s': no memory for its %lld bytes", path, (long long)st.st_size);
        return SIM_ERR_NOMEM;
    }
    enum sim_status status = file_read_at(fd, path, 0, bytes, (size_t)st.st_size);
    if (status != SIM_OK) {
        sim_free(bytes);
        return status;
    }
    *data = bytes;
    *len = (size_t)st.st_size;
    return SIM_OK;
}

enum sim_status file_read_whole(int folder, const char *name, const char *path, uint64_t max,
                                uint8_t **data, size_t *len)
{
    int fd = openat(folder, name, O_RDONLY | O_CLOEXEC | O_NONBLOCK);

    if (fd < 0) {
        enum sim_status status = errno == ENOENT ? SIM_ERR_NOTFOUND : SIM_ERR_IO;
        sim_error("image file '%s': %m", path);
        return status;
    }
    enum sim_status status = read_open(fd, path, max, data, len);
    close(fd);
    return status;
}

uint64_t file_hash(const void *data, size_t len)
{
    return XXH3_64bits(data, len);
}
