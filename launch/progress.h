/* One line on the terminal until the guest says something:
 *   booting: 1.2 s, 240 M instructions, 310 MIPS */
#ifndef LAUNCH_PROGRESS_H
#define LAUNCH_PROGRESS_H

#include "devices/backend.h"
#include "sim-core/sim.h"

struct progress;

/* Shows the line on fd (stderr) when that is a terminal; otherwise does nothing. Context: launch
 * thread, before the run. */
struct progress *progress_create(struct sim *sim, int fd);
/* A tap that clears the line at the first output, for good. */
struct chardev_tap progress_tap(struct progress *p);
/* Clears the line. Context: any thread. */
void progress_end(struct progress *p);
/* Did the guest's output stop in the middle of a line? */
bool progress_mid_line(const struct progress *p);
void progress_destroy(struct progress *p); /* NULL is allowed */

/* Instructions retired so far by all vCPUs of a running simulation: each a racy read, good enough to
 * be shown. */
uint64_t progress_insns(const struct sim *sim);

#endif
