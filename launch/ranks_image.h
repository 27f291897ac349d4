/* Images of a machine on several ranks: what the ranks say to each other. Rank 0 leads, the others follow.
 *
 *   leader:    order -> all: PREPARE                          every follower: writer -> READY
 *              freeze, settle (ranks_freeze.c) -> all: TAKE   states, snapshots begin -> TAKEN
 *              thaw -> writes its part meanwhile              writes its part -> WRITTEN with struct ckpt_part
 *              manifest, or not -> all: END
 *   a signal at a follower: WANTED -> leader */
#ifndef LAUNCH_RANKS_IMAGE_H
#define LAUNCH_RANKS_IMAGE_H

#include "checkpoint/writer.h"
#include "ranks.h"

enum { RANKS_IMAGE_PATH = 4096 };

struct ranks_image_order {
    uint32_t serial;
    uint32_t incremental;
    uint8_t id[16];
    char path[RANKS_IMAGE_PATH]; /* the image's folder, as the leader calls it; only the string is sent */
};

enum ranks_image_step { RANKS_IMAGE_READY, RANKS_IMAGE_TAKEN, RANKS_IMAGE_WRITTEN, RANKS_IMAGE_STEPS };

/* What a follower says after a step; all of it counts after the last one only. */
struct ranks_image_report {
    int32_t status; /* enum sim_status; not SIM_OK: the rank has logged why */
    uint32_t reserved;
    struct ckpt_part part;
    uint64_t insns;
};

struct ranks_image_progress {
    uint32_t percent, reserved;
    uint64_t given, stored;
};

/* Followers: the first three; leader: `wanted`. Context: handlers, which do not block; `take`: the I/O thread of a frozen
 * world. */
struct ranks_image_ops {
    void (*prepare)(void *opaque, const struct ranks_image_order *order);
    enum sim_status (*take)(void *opaque);
    void (*end)(void *opaque, bool good);
    void (*wanted)(void *opaque, int sig); /* a follower got this signal */
};
/* From now on orders are followed; one that came before is told at once. NULL: no more. Context: launch thread. */
void ranks_image_attach(struct ranks *r, const struct ranks_image_ops *ops, void *opaque);

/* --- leader, checkpoint thread --- */
void ranks_image_prepare(struct ranks *r, struct ranks_image_order *order);
/* Waits for all followers; the first that failed is named. `poll`: this is the I/O thread, which must serve others
 * meanwhile. idle(), may be NULL, is called about ten times a second. */
enum sim_status ranks_image_await(struct ranks *r, enum ranks_image_step step, bool poll, void (*idle)(void *opaque),
                                  void *opaque) SIM_MUST_CHECK;
void ranks_image_take(struct ranks *r); /* all ranks are frozen */
void ranks_image_end(struct ranks *r, bool good);
/* What rank 1.. said of its written part, after that was awaited. */
const struct ranks_image_report *ranks_image_report_of(const struct ranks *r, uint32_t rank);
/* Adds the followers' bytes; *slowest: who has the lowest percentage, if lower than *percent. */
void ranks_image_add_progress(struct ranks *r, struct ranks_image_progress *sum, uint32_t *slowest);

/* --- followers --- */
void ranks_image_report(struct ranks *r, uint32_t serial, enum ranks_image_step step, const struct ranks_image_report *report);
void ranks_image_tell_progress(struct ranks *r, const struct ranks_image_progress *p);
void ranks_image_want(struct ranks *r, int sig);

#endif
