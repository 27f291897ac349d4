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

#endif
