/* What a guest wrote to a drive whose file must stay as it is: blocks of 4 KiB in a file without a name.
 *
 *   write: guard, edges that cover half a block are filled from the base -> overlay file -> present, dirty
 *   read:  runs of present blocks from the overlay, others from the base
 *
 * Threads: any; bits are atomic, filling takes `lock`. */
#ifndef DEVICES_OVERLAY_H
#define DEVICES_OVERLAY_H

#include "sim-core/guard.h"
#include "sim-core/lock.h"
#include "sim-core/status.h"
#include "sim-core/types.h"

enum { OVERLAY_BLOCK = 4096 };

struct overlay {
    int fd, base;
    uint64_t size, nr_blocks;
    _Atomic uint64_t *present, *dirty;
    sim_guard_ref guard;
    struct sim_mutex lock;
};

/* The file is made in `folder`, or where temporary files go when that cannot be written. */
enum sim_status overlay_create(const char *folder, int base, uint64_t size,
                               struct overlay **out) SIM_MUST_CHECK;
void overlay_destroy(struct overlay *o); /* NULL is allowed */

bool overlay_has(const struct overlay *o, uint64_t block);
void overlay_mark_present(struct overlay *o, uint64_t block);
bool overlay_take_dirty(struct overlay *o, uint64_t block);

/* Where bytes from `offset` on are: the descriptor, and in *len (cut) for how many bytes that holds. */
int overlay_find(struct overlay *o, uint64_t offset, uint64_t *len);
/* Around a write of the overlay's file; false: errno says why the edges could not be filled. */
bool overlay_before_write(struct overlay *o, uint64_t offset, uint64_t len) SIM_MUST_CHECK;
void overlay_written(struct overlay *o, uint64_t offset, uint64_t len);
/* Writes everything into the base; false: errno. */
bool overlay_commit(struct overlay *o) SIM_MUST_CHECK;

#endif
