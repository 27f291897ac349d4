/* A machine from an image.
 *
 *   restore_open: image, its configuration, its device tree -> machine_create -> restore_load: states; RAM comes on
 *   demand -> restore_go: the clock runs -> executors -> restore_finish: everything has come
 *
 * On several ranks, as many as there are now, each brings the pages whose home it is and the states of its harts; the first
 * has the devices. */
#ifndef LAUNCH_RESTORE_H
#define LAUNCH_RESTORE_H

#include "checkpoint/image.h"
#include "machine.h"
#include "ranks.h"

struct restore;

/* On SIM_OK the caller owns *c (config_fini) and *out. */
enum sim_status restore_open(const char *path, struct config *c, struct restore **out) SIM_MUST_CHECK;
/* The same image for another rank of this process. */
struct restore *restore_open_again(const struct restore *first);
void restore_close(struct restore *r); /* NULL is allowed. Context: executors stopped */
const struct ckpt_image *restore_image(const struct restore *r);

/* Fills a machine that was composed from the configuration; failed() is called when, later, memory cannot be read.
 * Stops the clock. `ranks`: it is spread over them, and this is collective; NULL: it is on one. Context: launch thread,
 * nothing runs. */
enum sim_status restore_load(struct restore *r, struct machine *m, struct ranks *ranks,
                             void (*failed)(void *opaque), void *opaque) SIM_MUST_CHECK;
/* For executor_config: who had the last turn. */
uint32_t restore_cursor(const struct restore *r);
/* Guest time goes on. Collective over ranks. Context: right before the executors start. */
enum sim_status restore_go(struct restore *r) SIM_MUST_CHECK;
/* Begins to bring what nothing has asked for. Context: launch thread, right after the executors have started, or, for vCPUs
 * of KVM, before. */
enum sim_status restore_fetch(struct restore *r) SIM_MUST_CHECK;
/* Helps until nothing of the image is needed any more. Any thread. */
enum sim_status restore_finish(struct restore *r) SIM_MUST_CHECK;

#endif
