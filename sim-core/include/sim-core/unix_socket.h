/* Unix sockets by path, for all that listen at one. */
#ifndef SIM_CORE_UNIX_SOCKET_H
#define SIM_CORE_UNIX_SOCKET_H

#include <stdbool.h>
#include <sys/un.h>

/* The longest path. */
#define SIM_UNIX_PATH (sizeof((struct sockaddr_un *)0)->sun_path - 1)

/* False: the path is empty or too long. */
bool sim_unix_address(const char *path, struct sockaddr_un *out);
/* Removes a socket that nobody serves, which a dead process left and which would be in the way of bind. Anything else
 * stays. */
void sim_unix_remove_dead(const char *path);
/* A stream socket that listens at the path from the moment on at which that exists; a dead one there is removed. It is the
 * caller's to close and the path to unlink. `flags`: SOCK_NONBLOCK or 0; always close-on-exec. -1 and errno: nothing is left.
 * What the kernel names it is the path and a suffix, under which it was made. Only where the path is so long that a suffix
 * does not fit may somebody come too early. Of two processes that find the same dead one at the same time only one is found
 * in the end. Context: any; does not block. */
int sim_unix_listen(const char *path, int flags, int backlog);

#endif
