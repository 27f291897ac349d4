/* Addresses and dead sockets. */
#include "sim-core/unix_socket.h"

#include <errno.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

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
