/* A machine from an image.
 *
 *   restore_open: image, its configuration, its device tree -> machine_create -> restore_load: states; RAM comes on
 *   demand -> restore_go: the clock runs -> executors -> restore_finish: everything has come */
#ifndef LAUNCH_RESTORE_H
#define LAUNCH_RESTORE_H

#include "checkpoint/image.h"
#include "machine.h"

struct restore;

/* On SIM_OK the caller owns *c (config_fini) and *out. */
enum sim_status restore_open(const char *path, struct config *c, struct restore **out) SIM_MUST_CHECK;
void restore_close(struct restore *r); /* NULL is allowed. Context: executors stopped */
const struct ckpt_image *restore_image(const struct restore *r);

/* Fills a machine that was composed from the configuration; failed() is called when, later, memory cannot be read.
 * Stops the clock. Context: launch thread, nothing runs. */
enum sim_status restore_load(struct restore *r, struct machine *m, void (*failed)(void *opaque),
                             void *opaque) SIM_MUST_CHECK;
/* For executor_config: who had the last turn. */
uint32_t restore_cursor(const struct restore *r);
/* Guest time goes on. Context: right before the executors start. */
void restore_go(struct restore *r);
/* Waits until nothing of the image is needed any more. Any thread. */
enum sim_status restore_finish(struct restore *r) SIM_MUST_CHECK;

#endif
