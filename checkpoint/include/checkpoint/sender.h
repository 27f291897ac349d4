/* The source of a live migration, or one rank of it: which blocks are still to be sent, and sending them while the guest
 * runs.
 *
 *   mark(all) -> permissions go -> push until done        the first round
 *   mark -> permissions go -> push until done             again ...
 *   frozen: mark -> missing                               what is left is the target's to ask for
 *   push, demanded blocks first -> end
 *
 * On several ranks each sends what it owns (source->owns). A block that changes its owner must get a mark at the new one, before
 * that is visible: then it is always marked, or to be sent, at its owner, and what others still have of it is left out.
 *
 * Whoever clears a mark must take write permissions away before the block is read: then a later write marks it again. */
#ifndef CHECKPOINT_SENDER_H
#define CHECKPOINT_SENDER_H

#include "checkpoint/snapshot.h"
#include "checkpoint/stream.h"

struct ckpt_sender;

struct ckpt_sender_config {
    struct ckpt_stream *const *stream; /* to each rank of the target; both stay the caller's */
    unsigned nr_streams;
    const bool *done; /* by stream: nothing more is to be sent there. The sending thread's; NULL: to none */
    /* The stream for a block (of an image). NULL: the first, for all. */
    unsigned (*route)(void *opaque, unsigned space, uint64_t block);
    void *opaque;
    const struct ckpt_source *source; /* names and ranges live as long as the sender; guards are not used */
    unsigned nr;
};

/* SIM_ERR_NOMEM is logged. */
enum sim_status ckpt_sender_create(const struct ckpt_sender_config *config, struct ckpt_sender **out) SIM_MUST_CHECK;
void ckpt_sender_destroy(struct ckpt_sender *s); /* NULL is allowed */

/* Sends a SPACE frame for each source. */
enum sim_status ckpt_sender_announce(struct ckpt_stream *stream, const struct ckpt_source *source,
                                     unsigned nr) SIM_MUST_CHECK;
/* Takes the dirty marks; with `all`, whatever has data is to be sent as well; what others own now is not. Returns how many
 * blocks are to be sent now.
 * Context: the sending thread; the guest may run. */
uint64_t ckpt_sender_mark(struct ckpt_sender *s, bool all);
uint64_t ckpt_sender_pending(const struct ckpt_sender *s);
/* Sends about `max` of them, without those that have been written again since they were marked. */
enum sim_status ckpt_sender_push(struct ckpt_sender *s, unsigned max) SIM_MUST_CHECK;
/* Sends MISSING frames for all of them. */
enum sim_status ckpt_sender_missing(struct ckpt_sender *s) SIM_MUST_CHECK;
/* A DEMAND frame: sends those of its blocks that have not been sent, with their neighbours. */
enum sim_status ckpt_sender_demand(struct ckpt_sender *s, const struct ckpt_frame *f) SIM_MUST_CHECK;

/* Blocks sent with bytes, and as zeros. Context: any thread. */
void ckpt_sender_stats(const struct ckpt_sender *s, uint64_t *blocks, uint64_t *zeros);

#endif
