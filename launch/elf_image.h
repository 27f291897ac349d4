/* ELF64 executables: what is to be put where. Reads headers only; the file is hostile. */
#ifndef LAUNCH_ELF_IMAGE_H
#define LAUNCH_ELF_IMAGE_H

#include <stdbool.h>

#include "input_file.h"
#include "sim-core/types.h"

enum { ELF_MAX_SEGMENTS = 64 };

struct elf_segment {
    uint64_t offset, file_size; /* within the file; checked */
    gpa_t addr;                 /* physical */
    uint64_t mem_size;          /* >= file_size; the rest is zero; addr + mem_size does not wrap */
};

struct elf_image {
    gpa_t entry;              /* physical */
    gpa_t low, high;          /* all segments lie in [low, high) */
    bool position_independent; /* ET_DYN: may be moved as a whole */
    unsigned nr;
    struct elf_segment segment[ELF_MAX_SEGMENTS];
};

bool elf_is_elf(const struct input_file *f);
/* `machine`: EM_RISCV, EM_X86_64; another one's file is refused. */
enum sim_status elf_read(const struct input_file *f, uint16_t machine, struct elf_image *out) SIM_MUST_CHECK;
/* Of a file that elf_read took: the first `len` bytes of the note of that owner and type. *found says whether there is one that is as long. */
enum sim_status elf_find_note(const struct input_file *f, const char *owner, uint32_t type, void *out, size_t len,
                              bool *found) SIM_MUST_CHECK;
/* Moves a position-independent image so that it begins at `base`. */
void elf_move(struct elf_image *image, gpa_t base);

/* Linkers like to map the ELF header in front of code that begins where RAM does: drops that page of
 * the segment when it lies below `base`. */
void elf_drop_header(struct elf_image *image, gpa_t base);

#endif
