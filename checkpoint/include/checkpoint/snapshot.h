/* The blocks of one space as they were at one instant, read while others go on writing.
 *
 *   frozen world: ckpt_snapshot_begin -> source->set_guard(the snapshot)
 *   guest:   first write to a block -> guard: not taken yet? -> its bytes are copied aside -> the write
 *   reader:  ckpt_snapshot_next: 64 blocks at a time, from the space or from what was put aside
 *   the end: guard removed; the snapshot's memory stays until ckpt_snapshot_end in a frozen world
 *
 * Each block is taken once, by whoever claims it first. Bitmaps are allocated as they are touched, so that beginning
 * takes no longer for more memory. */
#ifndef CHECKPOINT_SNAPSHOT_H
#define CHECKPOINT_SNAPSHOT_H

#include "checkpoint/source.h"
#include "checkpoint/writer.h"

struct ckpt_snapshot;

/* Begins; `incremental` takes only dirty blocks. Both ways the marks are clear afterwards, as far as next has come; after
 * an error the next image must be a full one. Context: frozen world. */
enum sim_status ckpt_snapshot_begin(const struct ckpt_source *source, bool incremental,
                                    struct ckpt_snapshot **out) SIM_MUST_CHECK;

/* Gives blocks to the writer (whose current space is this one) until about `max` have been given; *done says that there
 * are no more. Context: one thread. */
enum sim_status ckpt_snapshot_next(struct ckpt_snapshot *s, struct ckpt_writer *w, unsigned max,
                                   bool *done) SIM_MUST_CHECK;
/* For progress: blocks looked at, of how many. */
void ckpt_snapshot_progress(const struct ckpt_snapshot *s, uint64_t *done, uint64_t *total);
/* Removes the guard: writers need not wait for the reader any more. Context: any. */
void ckpt_snapshot_release(struct ckpt_snapshot *s);
/* Frees; released. Context: frozen world, or nobody can be inside the guard any more. NULL is allowed. */
void ckpt_snapshot_end(struct ckpt_snapshot *s);

#endif
