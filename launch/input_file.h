/* A file that the command line names, or bytes in memory: read at any offset, with messages that name
 * option and path. */
#ifndef LAUNCH_INPUT_FILE_H
#define LAUNCH_INPUT_FILE_H

#include <stddef.h>
#include <stdint.h>

#include "sim-core/status.h"

struct input_file {
    const char *option; /* "-kernel" */
    const char *path;
    uint64_t size;
    int fd;              /* -1: data */
    const uint8_t *data; /* borrowed */
};

/* Opens a regular, non-empty file. Strings are borrowed. */
enum sim_status input_file_open(const char *option, const char *path,
                                struct input_file *out) SIM_MUST_CHECK;
void input_file_from_memory(const char *name, const void *data, uint64_t size,
                            struct input_file *out);
void input_file_close(struct input_file *f);
/* Reads exactly len bytes at offset; logs when they are not there. */
enum sim_status input_file_read(const struct input_file *f, uint64_t offset, void *buf,
                                size_t len) SIM_MUST_CHECK;
/* "partita: error: -kernel 'path': ..." */
void input_file_error(const struct input_file *f, const char *fmt, ...) SIM_PRINTF(2, 3);

#endif
