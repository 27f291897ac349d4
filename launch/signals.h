/* Signals that end, stop or continue the process, handled by a thread of their own: no handler runs
 * in the middle of a vCPU, and the I/O thread may hang without making Ctrl-C useless. */
#ifndef LAUNCH_SIGNALS_H
#define LAUNCH_SIGNALS_H

#include <signal.h>

#include "sim-core/status.h"

struct signals;

/* Blocks the signals in the calling thread and starts the thread. end(opaque, sig) is called for the
 * first SIGINT, SIGTERM, SIGHUP or SIGQUIT; a second one ends the process at once. Also for each SIGUSR1. SIGTSTP and
 * SIGCONT leave and resume the terminal's raw mode. Context: launch thread, before others start. */
enum sim_status signals_start(void (*end)(void *opaque, int sig), void *opaque,
                              struct signals **out) SIM_MUST_CHECK;
/* Stops the thread; the signals have their default effect again. NULL is allowed. */
void signals_stop(struct signals *s);

/* For a thread that waits while another one calls signals_start: what that waits for is blocked here too, or it would have its
 * default effect. *previous: for signals_unblock. */
void signals_block(sigset_t *previous);
void signals_unblock(const sigset_t *previous);

#endif
