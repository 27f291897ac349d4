/* When images of a run are made, or the machine leaves for another process: by signals, by time, by the control socket, on
 * whichever rank that happens; and what has to stand still for it. Rank 0 makes images (checkpoint.h) and leaves (migrate.h), the
 * others follow (checkpoint_follow.h, migrate_follow.h). */
#ifndef LAUNCH_IMAGES_H
#define LAUNCH_IMAGES_H

#include "checkpoint.h"
#include "migrate.h"
#include "restore.h"
#include "world.h"

struct images;

/* All borrowed. */
struct images_config {
    const struct config *config;
    struct machine *machine;
    struct ranks *ranks;     /* NULL: the only rank */
    struct world *world;
    struct restore *restore; /* the machine came from an image; NULL: it did not */
    enum sim_status (*memory_is_there)(void *opaque);           /* waits for the rest of it, or says why not */
    void (*want_end)(void *opaque, enum sim_end why, int code); /* any thread */
    enum sim_status (*at_rest)(void *opaque); /* the machine stands for an image, nothing is under way; may wait. I/O thread */
    struct migrator_ops migrator_ops;
    void *opaque;
};

/* Context: launch thread, before the executors start. */
struct images *images_create(const struct images_config *config);
/* SIGUSR1: an image. SIGTERM: an image and the end, if there is a place for it. False: nothing of ours. Context: the
 * signal thread. */
bool images_take_signal(struct images *im, int sig);
/* checkpoint_start, checkpoint_progress, on rank 0. */
enum sim_status images_request(struct images *im, const struct checkpoint_request *request) SIM_MUST_CHECK;
bool images_progress(struct images *im, unsigned *percent, uint64_t *given, uint64_t *stored);
/* migrate_start, migrate_cancel, migrate_progress, on rank 0. */
enum sim_status images_migrate(struct images *im, const struct migrate_request *request) SIM_MUST_CHECK;
void images_migrate_cancel(struct images *im);
bool images_migration(struct images *im, struct migrate_progress *out);
/* No more of them; waits for the one being made. Context: launch thread; the I/O thread runs. */
void images_close(struct images *im);
/* Context: executors and I/O thread stopped, ranks disconnected. NULL is allowed. */
void images_destroy(struct images *im);

/* images_folder.c */
/* Can images be written there? Makes the directory; says why not. Not collective: for a run on one rank (those of several come to it
 * when they agree). */
enum sim_status images_try_folder(const char *dir) SIM_MUST_CHECK;

#endif
