/* Making images of a running machine.
 *
 *   checkpoint_start -> checkpoint thread: store, folder, writer
 *     -> cut, on the I/O thread: executors pause between turns -> disk requests end -> states are saved, snapshots of RAM
 *        and drives begin, write permissions go -> executors go on
 *     -> checkpoint thread: blocks -> compressors -> index, manifest -> done()
 *
 * On several ranks this is the leader's side, on rank 0; each of the others does the same with its share when it is told to
 * (checkpoint_follow.h, ranks_image.h). The pause does not depend on the size of memory. One image at a time. */
#ifndef LAUNCH_CHECKPOINT_H
#define LAUNCH_CHECKPOINT_H

#include "checkpoint/image.h"
#include "machine.h"
#include "ranks.h"

struct checkpointer;

/* What the run does for it. */
struct checkpointer_ops {
    /* Waits until all of the machine is there (a restored one may still be loading); or says why that cannot be.
     * Checkpoint thread. */
    enum sim_status (*ready)(void *opaque);
    /* The executors, of all ranks, stand between two turns (nests); thaw follows in either case. I/O thread. */
    enum sim_status (*freeze)(void *opaque);
    /* Frozen, and devices at rest: nothing is under way any more. I/O thread. */
    enum sim_status (*settle)(void *opaque);
    /* They go on. I/O thread. */
    void (*thaw)(void *opaque);
    /* The vCPU of the last turn of the first executor. Frozen. */
    uint32_t (*cursor)(void *opaque);
};

struct checkpoint_result {
    enum sim_status status;
    char *path; /* of the image; borrowed; NULL when there is none */
    bool incremental;
    uint64_t pause_ns, total_ns;
    uint64_t blocks, guest_bytes, stored_bytes;
    const char *why; /* the first error that this rank said; borrowed; NULL: none, or no failure */
};

struct checkpoint_request {
    const char *dir;  /* the store; copied */
    bool incremental; /* when the last image allows it */
    bool stop;        /* on success the machine stays paused: the caller ends the run */
    bool wait;        /* for the image that is being made */
    /* Checkpoint thread. NULL: a line on stderr says what became of it. */
    void (*done)(void *opaque, const struct checkpoint_result *result);
    void *opaque;
};

/* `ranks`: the machine is on several, and this is the first of them; NULL: it is on one. */
struct checkpointer *checkpointer_create(struct machine *m, struct ranks *ranks,
                                         const struct checkpointer_ops *ops, void *opaque);
/* Closed before. NULL is allowed. Context: executors and I/O thread stopped. */
void checkpointer_destroy(struct checkpointer *c);
/* From now on images are refused; waits for the one being made. Context: launch thread; the I/O thread runs. */
void checkpointer_close(struct checkpointer *c);
/* The machine came from this image: the next one may build on it. */
void checkpointer_came_from(struct checkpointer *c, const struct ckpt_image *image);

/* SIM_ERR_BUSY without a message while one is being made (and with `wait` another one waits). Context: any thread. */
enum sim_status checkpoint_start(struct checkpointer *c,
                                 const struct checkpoint_request *request) SIM_MUST_CHECK;
/* Somebody else takes the dirty marks (a migration): images are refused as busy, or wait, until it is over; the next one is
 * full. False: an image is being made. Context: any thread. */
bool checkpointer_reserve(struct checkpointer *c);
/* Not `here`: the machine has left, there is nothing any more of which images could be made. */
void checkpointer_unreserve(struct checkpointer *c, bool here);
/* Percent done, bytes of guest memory looked at; false: none is being made. Context: any. */
bool checkpoint_progress(struct checkpointer *c, unsigned *percent, uint64_t *given, uint64_t *stored);

#endif
