/* Brings the blocks of a space from an image while the machine runs already.
 *
 *   ckpt_pager_start: guard set -> machine runs
 *     first use of a block -> guard -> its chunk is read, checked, unpacked; all its blocks go into the space
 *   ckpt_pager_fetch: threads that give way to others bring the working set first, then everything
 *   all there: guard removed
 *
 * A chunk that cannot be read is one message and failed(): the machine must end. */
#ifndef CHECKPOINT_PAGER_H
#define CHECKPOINT_PAGER_H

#include "checkpoint/image.h"
#include "checkpoint/snapshot.h"

struct ckpt_pager;

struct ckpt_pager_config {
    const struct ckpt_image *image; /* stays open until the pager is destroyed */
    /* Where blocks go; it has only zeros (where the image has nothing it stays so). take_dirty is not
     * used; `owns` says, always the same, which blocks are ours to bring. A space that the image does not have is empty. */
    struct ckpt_source target;
    unsigned nr_threads; /* prefetchers; 0: blocks come on demand only, and by ckpt_pager_finish */
    void (*failed)(void *opaque); /* any thread; once */
    void *opaque;
};

/* Context: frozen world; nothing has used the blocks. */
enum sim_status ckpt_pager_start(const struct ckpt_pager_config *config,
                                 struct ckpt_pager **out) SIM_MUST_CHECK;
/* Starts the prefetchers: best when the machine runs, so that they do not hold up its start. Nothing to do when
 * everything is there. Context: launch. */
enum sim_status ckpt_pager_fetch(struct ckpt_pager *p) SIM_MUST_CHECK;
/* Helps until everything is there; the error, if there was one. Context: any thread, several too. */
enum sim_status ckpt_pager_finish(struct ckpt_pager *p) SIM_MUST_CHECK;
/* Has everything come, or has it failed? */
bool ckpt_pager_is_done(const struct ckpt_pager *p);
/* Stops prefetching and frees. Context: nobody uses the blocks any more, or the pager is done and the world was frozen
 * since. NULL is allowed. */
void ckpt_pager_destroy(struct ckpt_pager *p);

#endif
