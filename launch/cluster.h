/* partita cluster FILE: several machines in one process, joined by network segments; the words after "cluster". Returns the
 * exit code: of the machine that failed first, else of the one that `until` names, else 0. Context: the main thread. */
#ifndef LAUNCH_CLUSTER_H
#define LAUNCH_CLUSTER_H

int cluster_command(int argc, char **argv);

#endif
