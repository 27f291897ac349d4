/* The target of a live migration, or one rank of it: blocks as they come from every rank of the source, and the missing ones
 * on demand.
 *
 *   take: BLOCKS, ZEROS, MISSING            the guest does not run yet
 *   serve: guards set, a thread receives    first use of a missing block -> guard -> DEMAND -> wait
 *   await_go: the source has given it up    it runs
 *   END -> DONE, guards removed; a line says what was waited for
 *
 * A connection that breaks while blocks are missing is one message and failed(): the machine must end. */
#ifndef CHECKPOINT_RECEIVER_H
#define CHECKPOINT_RECEIVER_H

#include "checkpoint/snapshot.h"
#include "checkpoint/stream.h"

struct ckpt_receiver;

struct ckpt_receiver_config {
    struct ckpt_stream *const *stream; /* from each rank of the source; both stay the caller's */
    unsigned nr_streams;
    unsigned rank;                     /* of this side, for messages: the first says when all has come, others if they asked */
    const struct ckpt_source *target;  /* one for each SPACE frame, in their order; they have only zeros */
    unsigned nr;
    void (*failed)(void *opaque); /* after GO; the receiving thread; once */
    void *opaque;
    /* Optional: the space has the (local) block from now on. Before serve, or the receiving thread. */
    void (*has)(void *opaque, unsigned space, uint64_t local);
    void *has_opaque;
};

enum sim_status ckpt_receiver_create(const struct ckpt_receiver_config *config,
                                     struct ckpt_receiver **out) SIM_MUST_CHECK;
/* A frame of blocks, or the end of a round (ROUND), which it answers; from that stream. One that does not fit the spaces is an
 * error with a message. Context: launch thread. */
enum sim_status ckpt_receiver_take(struct ckpt_receiver *r, unsigned stream, const struct ckpt_frame *f) SIM_MUST_CHECK;
/* Context: frozen world. */
enum sim_status ckpt_receiver_serve(struct ckpt_receiver *r) SIM_MUST_CHECK;
/* Waits for GO, which comes through the first stream: the guest is ours. SIM_INPROGRESS: not within that time. Context: any
 * thread. */
enum sim_status ckpt_receiver_await_go(struct ckpt_receiver *r, unsigned timeout_ms) SIM_MUST_CHECK;
/* Waits until everything has come; the error, if there was one. Context: any thread. */
enum sim_status ckpt_receiver_finish(struct ckpt_receiver *r) SIM_MUST_CHECK;
/* When something is missing tells the source that it is not needed any more; frees. Context: nobody uses the blocks any more, or all have come and
 * the world was frozen since. NULL is allowed. */
void ckpt_receiver_destroy(struct ckpt_receiver *r);

#endif
