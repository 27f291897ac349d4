/* Guest symbols from files: ELF (.symtab, else .dynsym), or text as nm, System.map and /proc/kallsyms
 * have it ("ffffffff80000000 T _start"). */
#ifndef LAUNCH_SYMBOL_FILES_H
#define LAUNCH_SYMBOL_FILES_H

#include "config.h"
#include "cpu/symbols.h"
#include "input_file.h"

/* Adds the symbols of one file, moved by `bias`. A file that has none is refused. */
enum sim_status symbol_file_read(const struct input_file *f, uint64_t bias, struct symbols *out) SIM_MUST_CHECK;
/* -kernel, -bios where they are ELF files that have symbols, and all of -symbols. *out is sealed. */
enum sim_status symbol_files_load(const struct config *c, struct symbols **out) SIM_MUST_CHECK;

#endif
