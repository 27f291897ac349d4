/* The header of a RISC-V Linux Image (Documentation/arch/riscv/boot-image-header.rst). */
#ifndef LAUNCH_LINUX_IMAGE_H
#define LAUNCH_LINUX_IMAGE_H

#include <stdbool.h>

#include "input_file.h"

struct linux_image {
    uint64_t text_offset; /* from the start of RAM, a multiple of 2 MiB */
    uint64_t image_size;  /* in memory, with BSS; at least the file's size */
};

/* *is_image says whether the file has the header; a damaged or truncated one is an error. */
enum sim_status linux_image_read(const struct input_file *f, bool *is_image,
                                 struct linux_image *out) SIM_MUST_CHECK;
/* Complains about kernels that are packed in some way (gzip, EFI zboot, ...). */
enum sim_status linux_image_check_packing(const struct input_file *f) SIM_MUST_CHECK;

#endif
