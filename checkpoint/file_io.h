/* Whole reads and writes of an image's files, with messages that name file, offset and reason. */
#ifndef CHECKPOINT_FILE_IO_H
#define CHECKPOINT_FILE_IO_H

#include "sim-core/status.h"
#include "sim-core/types.h"

/* Writes from now on go past the page cache, or through it, where the file system can: a hint. Past it, memory, offset and
 * length of a write are multiples of 4096. */
void file_set_direct(int fd, bool direct);
/* 0, or errno: nothing is logged. */
int file_try_write_at(int fd, uint64_t offset, const void *data, size_t len) SIM_MUST_CHECK;
/* Logs it. */
enum sim_status file_write_failed(const char *path, uint64_t offset, size_t len, int error);
/* Both. `path` is for messages; the file is `fd`. */
enum sim_status file_write_at(int fd, const char *path, uint64_t offset, const void *data,
                              size_t len) SIM_MUST_CHECK;
/* A file that ends before is SIM_ERR_FORMAT: "truncated". */
enum sim_status file_read_at(int fd, const char *path, uint64_t offset, void *data,
                             size_t len) SIM_MUST_CHECK;
enum sim_status file_sync(int fd, const char *path) SIM_MUST_CHECK;
/* Reads a whole file of at most `max` bytes; *data is allocated (one NUL more than *len). */
enum sim_status file_read_whole(int folder, const char *name, const char *path, uint64_t max,
                                uint8_t **data, size_t *len) SIM_MUST_CHECK;

uint64_t file_hash(const void *data, size_t len); /* XXH3, 64 bits */

#endif
