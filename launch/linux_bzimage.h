/* The setup header of an x86 Linux kernel (Documentation/arch/x86/boot.rst). */
#ifndef LAUNCH_LINUX_BZIMAGE_H
#define LAUNCH_LINUX_BZIMAGE_H

#include <stdbool.h>

#include "input_file.h"

enum { BZIMAGE_HEADER = 0x1f1, BZIMAGE_HEADER_MAX = 0x290 - BZIMAGE_HEADER, BZIMAGE_ENTRY_64 = 0x200 };

struct bzimage {
    uint8_t header[BZIMAGE_HEADER_MAX]; /* as it goes into boot_params, at BZIMAGE_HEADER */
    size_t header_size;
    uint64_t code_offset;      /* of the 64-bit kernel within the file */
    uint64_t preferred;        /* where it wants to be, a multiple of `alignment` */
    uint64_t alignment;
    uint64_t memory_size;      /* from there on, while it unpacks itself */
    uint64_t initrd_max;       /* an initrd ends below */
    uint32_t command_line_max; /* characters */
};

/* *is_bzimage says whether the file has the header; a damaged one, or a kernel that has no 64-bit entry or cannot be
 * moved, is an error. The file is hostile. */
enum sim_status bzimage_read(const struct input_file *f, bool *is_bzimage, struct bzimage *out) SIM_MUST_CHECK;

#endif
