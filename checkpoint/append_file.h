/* A file that grows at its end, from many threads, in large pieces that go to the disk past the page cache.
 *
 *   put (any thread): a place at the end -> copied into the slab there -> the slab is full: queue
 *   disk threads:     queue -> space allocated ahead -> one large aligned write -> the slab is free again
 *   finish:           the last slab's beginning, through the page cache -> cut to its length -> synced
 *
 * Why past the page cache: 1.1 GB through it cost 0.3 s of processor time, and 1 to 2 s in a virtual machine whose host
 * has to find each fresh page; past it 0.06 s. And the disk works while others compute, instead of during the sync. A file
 * that does not fill a slab stays in the page cache. Where a file system cannot do that, everything goes through it; so does the
 * rest of a file for whose disk was waited more than a second. */
#ifndef CHECKPOINT_APPEND_FILE_H
#define CHECKPOINT_APPEND_FILE_H

#include "sim-core/status.h"
#include "sim-core/types.h"

enum { APPEND_MAX = 1 << 20 }; /* bytes of one put */

struct append_file;

/* `fd`: an empty file, open for writing; stays the caller's, as does `path`, which is for messages. */
enum sim_status append_file_create(int fd, const char *path, struct append_file **out) SIM_MUST_CHECK;
/* Copies the bytes to the end and says where that was. May block for the disk. Context: any thread. */
uint64_t append_file_put(struct append_file *f, const void *data, size_t len);
/* Bytes put so far, and what went wrong so far: racy looks. An error sticks, and has been logged. */
uint64_t append_file_bytes(const struct append_file *f);
enum sim_status append_file_status(const struct append_file *f);
/* Nothing needs to be written any more: puts no longer wait for the disk. */
void append_file_give_up(struct append_file *f);
/* Completes and syncs the file. Nobody puts any more. */
enum sim_status append_file_finish(struct append_file *f) SIM_MUST_CHECK;
/* Frees; the file is incomplete unless it was finished. NULL is allowed. */
void append_file_destroy(struct append_file *f);

#endif
