/* What is put into guest RAM before the start (loader_load: machine.h), and /chosen.
 *
 *   RAM base            firmware (-bios FILE), or a kernel with -bios none
 *   RAM base + 2 MiB    kernel (above the firmware when that is larger)
 *   + min(RAM/2, 512M)  initrd (elsewhere when that is taken)
 *   top, below 3 GiB    device tree, 2 MiB aligned; below it fw_dynamic_info
 * What /reserved-memory keeps is left alone: a Linux Image, initrd and device tree move; a file that
 * says its own place and overlaps is refused (firmware is not: the place may be kept for it).
 * ELF files go where they say; position-independent ones to the places above. */
#ifndef LAUNCH_LOADER_H
#define LAUNCH_LOADER_H

#include "machine.h"

/* Sets /chosen/bootargs when append is not NULL; *fdt may be moved (sim_zalloc). */
enum sim_status loader_set_bootargs(void **fdt, const char *append) SIM_MUST_CHECK;

#endif
