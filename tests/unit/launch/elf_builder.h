/* Small ELF64 files in memory, to be damaged by tests. */
#ifndef TEST_ELF_BUILDER_H
#define TEST_ELF_BUILDER_H

#include <elf.h>
#include <stdint.h>
#include <string.h>

enum { SMALL_CODE = 0x100, SMALL_DATA = 0x180, SMALL_SIZE = 0x200 };

struct small_elf {
    Elf64_Ehdr h;
    Elf64_Phdr p[3];
    uint8_t rest[SMALL_SIZE - sizeof(Elf64_Ehdr) - 3 * sizeof(Elf64_Phdr)];
};
_Static_assert(sizeof(struct small_elf) == SMALL_SIZE, "no padding");

/* Code at 0x80200000 (128 bytes), data at 0x80201000 (128 bytes and 0x1000 of BSS), one note. */
static inline void small_elf_init(struct small_elf *e)
{
    memset(e, 0, sizeof *e);
    memcpy(e->h.e_ident, ELFMAG, SELFMAG);
    e->h.e_ident[EI_CLASS] = ELFCLASS64;
    e->h.e_ident[EI_DATA] = ELFDATA2LSB;
    e->h.e_ident[EI_VERSION] = EV_CURRENT;
    e->h.e_type = ET_EXEC;
    e->h.e_machine = 243;
    e->h.e_version = EV_CURRENT;
    e->h.e_entry = 0x80200010;
    e->h.e_phoff = sizeof e->h;
    e->h.e_ehsize = sizeof e->h;
    e->h.e_phentsize = sizeof e->p[0];
    e->h.e_phnum = 3;
    e->p[0] = (Elf64_Phdr){.p_type = PT_LOAD, .p_flags = PF_R | PF_X, .p_offset = SMALL_CODE,
                           .p_vaddr = 0x80200000, .p_paddr = 0x80200000, .p_filesz = 0x80,
                           .p_memsz = 0x80, .p_align = 16};
    e->p[1] = (Elf64_Phdr){.p_type = PT_LOAD, .p_flags = PF_R | PF_W, .p_offset = SMALL_DATA,
                           .p_vaddr = 0x80201000, .p_paddr = 0x80201000, .p_filesz = 0x80,
                           .p_memsz = 0x1080, .p_align = 16};
    e->p[2] = (Elf64_Phdr){.p_type = PT_NOTE, .p_offset = SMALL_DATA, .p_filesz = 16};
    memset((uint8_t *)e + SMALL_CODE, 0xc0, 0x80);
    memset((uint8_t *)e + SMALL_DATA, 0xda, 0x80);
}

#endif
