/* Addresses, dead sockets, and such that others listen at.
 *
 * A socket is a file from bind on, but nobody can connect before listen: it is bound under a name beside its own, and
 * renamed when it listens. */
#include "sim-core/unix_socket.h"

#include <errno.h>
#include <fcntl.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include "sim-core/alloc.h"
#include "sim-core/lock.h"

bool sim_unix_address(const char *path, struct sockaddr_un *out)
{
    if (!*path || strlen(path) > SIM_UNIX_PATH)
        return false;
    *out = (struct sockaddr_un){.sun_family = AF_UNIX};
    strcpy(out->sun_path, path);
    return true;
}

void sim_unix_remove_dead(const char *path)
{
    struct sockaddr_un addr;
    struct stat st;

    if (!sim_unix_address(path, &addr) || lstat(path, &st) < 0 || !S_ISSOCK(st.st_mode))
        return;
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (fd < 0)
        return;
    if (connect(fd, (const struct sockaddr *)&addr, sizeof addr) < 0 && errno == ECONNREFUSED)
        unlink(path);
    close(fd);
}

/* A name that no other socket is likely to have while it is made, here or on another host that shares the directory. It is
 * short: paths of sockets have little room. */
static char *name_beside(const char *path)
{
    static _Atomic uint32_t nr;
    uint32_t here = ((uint32_t)getpid() << 16) + atomic_fetch_add_explicit(&nr, 1, memory_order_relaxed);

    return sim_asprintf("%s.%x", path, here ^ (uint32_t)sim_host_ns());
}

/* Never in place of something else. */
static bool rename_new(const char *from, const char *to)
{
    if (renameat2(AT_FDCWD, from, AT_FDCWD, to, RENAME_NOREPLACE) == 0)
        return true;
    if (errno == EINVAL && link(from, to) == 0) { /* a file system that cannot tell */
        unlink(from);
        return true;
    }
    if (errno == EEXIST)
        errno = EADDRINUSE; /* what bind says */
    return false;
}

static int give_up(int fd, const char *path)
{
    int error = errno;

    if (path)
        unlink(path);
    close(fd);
    errno = error;
    return -1;
}

int sim_unix_listen(const char *path, int flags, int backlog)
{
    struct sockaddr_un own, beside;
    char *name = name_beside(path);
    bool fits = sim_unix_address(name, &beside);

    sim_free(name);
    if (!sim_unix_address(path, &own)) {
        errno = ENAMETOOLONG;
        return -1;
    }
    sim_unix_remove_dead(path);
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | flags, 0);
    if (fd < 0)
        return -1;
    const struct sockaddr_un *at = fits ? &beside : &own;

    if (bind(fd, (const struct sockaddr *)at, sizeof *at) < 0)
        return give_up(fd, NULL);
    if (listen(fd, backlog) < 0 || (fits && !rename_new(at->sun_path, path)))
        return give_up(fd, at->sun_path);
    return fd;
}
