/* ELF64 executables: header and program headers, each value checked before it is used. */
#include "elf_image.h"

#include <elf.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

bool elf_is_elf(const struct input_file *f)
{
    unsigned char magic[SELFMAG];

    return f->size >= sizeof magic && input_file_read(f, 0, magic, sizeof magic) == SIM_OK &&
           memcmp(magic, ELFMAG, SELFMAG) == 0;
}

static const char *machine_name(unsigned machine)
{
    static const struct {
        unsigned machine;
        const char *name;
    } names[] = {{EM_RISCV, "RISC-V"}, {EM_386, "i386"},       {EM_X86_64, "x86-64"}, {EM_ARM, "Arm"},
                 {EM_AARCH64, "AArch64"}, {EM_PPC64, "PowerPC"}, {EM_MIPS, "MIPS"},
                 {EM_S390, "S/390"},      {258, "LoongArch"}};

    for (size_t i = 0; i < SIM_ARRAY_LEN(names); i++)
        if (names[i].machine == machine)
            return names[i].name;
    return "another machine";
}

static enum sim_status check_ident(const struct input_file *f, const Elf64_Ehdr *h)
{
    if (h->e_ident[EI_CLASS] != ELFCLASS64) {
        input_file_error(f, "is a 32-bit ELF (byte %d is %u); the machine has 64-bit harts",
                         EI_CLASS, h->e_ident[EI_CLASS]);
        return SIM_ERR_FORMAT;
    }
    if (h->e_ident[EI_DATA] != ELFDATA2LSB) {
        input_file_error(f, "is a big-endian ELF (byte %d is %u); the machine is little-endian",
                         EI_DATA, h->e_ident[EI_DATA]);
        return SIM_ERR_FORMAT;
    }
    return SIM_OK;
}

static enum sim_status check_header(const struct input_file *f, const Elf64_Ehdr *h, uint16_t machine)
{
    SIM_TRY(check_ident(f, h));
    if (h->e_machine != machine) {
        input_file_error(f, "is an ELF for %s (e_machine %u), not for %s", machine_name(h->e_machine),
                         h->e_machine, machine_name(machine));
        return SIM_ERR_FORMAT;
    }
    if (h->e_type != ET_EXEC && h->e_type != ET_DYN) {
        input_file_error(f, "is an ELF of type %u; only executables can be loaded", h->e_type);
        return SIM_ERR_FORMAT;
    }
    if (h->e_phnum == 0 || h->e_phentsize != sizeof(Elf64_Phdr)) {
        input_file_error(f, "has no usable program headers (%u of %u bytes at %#" PRIx64 ")",
                         h->e_phnum, h->e_phentsize, (uint64_t)h->e_phoff);
        return SIM_ERR_FORMAT;
    }
    return SIM_OK;
}

/* The place of the n-th program header, for messages. */
static uint64_t phdr_offset(const Elf64_Ehdr *h, unsigned n)
{
    return h->e_phoff + (uint64_t)n * sizeof(Elf64_Phdr);
}

static enum sim_status check_segment(const struct input_file *f, const Elf64_Phdr *p, uint64_t at)
{
    const char *wrong = NULL;

    if (p->p_filesz > f->size || p->p_offset > f->size - p->p_filesz)
        wrong = "reaches behind the end of the file";
    else if (p->p_filesz > p->p_memsz)
        wrong = "has more bytes in the file than in memory";
    else if (p->p_paddr + p->p_memsz < p->p_paddr)
        wrong = "wraps around the address space";
    if (!wrong)
        return SIM_OK;
    input_file_error(f, "the segment whose header is at %#" PRIx64 " %s (offset %#" PRIx64
                        ", %#" PRIx64 " bytes, address %#" PRIx64 ", %#" PRIx64
                        " in memory; the file has %#" PRIx64 ")",
                     at, wrong, (uint64_t)p->p_offset, (uint64_t)p->p_filesz, (uint64_t)p->p_paddr,
                     (uint64_t)p->p_memsz, f->size);
    return SIM_ERR_FORMAT;
}

/* Two segments that bring bytes to the same place cannot both be meant. */
static enum sim_status check_overlap(const struct input_file *f, const struct elf_image *image,
                                     const struct elf_segment *s)
{
    for (unsigned i = 0; i < image->nr; i++) {
        const struct elf_segment *o = &image->segment[i];
        if (s->addr < o->addr + o->file_size && o->addr < s->addr + s->file_size) {
            input_file_error(f, "two segments overlap: %#" PRIx64 "+%#" PRIx64 " and %#" PRIx64
                                "+%#" PRIx64, o->addr, o->file_size, s->addr, s->file_size);
            return SIM_ERR_FORMAT;
        }
    }
    return SIM_OK;
}

/* The entry is a virtual address; kernels linked high run from their physical one. */
static void translate_entry(struct elf_image *image, const Elf64_Phdr *p, uint64_t entry)
{
    if (entry >= p->p_vaddr && entry - p->p_vaddr < p->p_memsz)
        image->entry = entry - p->p_vaddr + p->p_paddr;
}

static enum sim_status add_segment(const struct input_file *f, struct elf_image *image,
                                   const Elf64_Phdr *p, uint64_t at)
{
    struct elf_segment s = {p->p_offset, p->p_filesz, p->p_paddr, p->p_memsz};

    SIM_TRY(check_segment(f, p, at));
    SIM_TRY(check_overlap(f, image, &s));
    if (image->nr == ELF_MAX_SEGMENTS) {
        input_file_error(f, "has more than %d segments to load", ELF_MAX_SEGMENTS);
        return SIM_ERR_UNSUPPORTED;
    }
    if (!image->nr || s.addr < image->low)
        image->low = s.addr;
    if (s.addr + s.mem_size > image->high)
        image->high = s.addr + s.mem_size;
    image->segment[image->nr++] = s;
    return SIM_OK;
}

/* Header and place of the program headers. */
static enum sim_status read_header(const struct input_file *f, Elf64_Ehdr *h)
{
    if (f->size < sizeof *h) {
        input_file_error(f, "is cut short: an ELF header has %zu bytes, the file %" PRIu64, sizeof *h,
                         f->size);
        return SIM_ERR_FORMAT;
    }
    return input_file_read(f, 0, h, sizeof *h);
}

enum sim_status elf_read(const struct input_file *f, uint16_t machine, struct elf_image *out)
{
    Elf64_Ehdr h;
    struct elf_image image = {0};

    SIM_TRY(read_header(f, &h));
    SIM_TRY(check_header(f, &h, machine));
    if (h.e_phoff > f->size || f->size - h.e_phoff < (uint64_t)h.e_phnum * sizeof(Elf64_Phdr)) {
        input_file_error(f, "is cut short: %u program headers at %#" PRIx64 ", the file has %#"
                            PRIx64 " bytes", h.e_phnum, (uint64_t)h.e_phoff, f->size);
        return SIM_ERR_FORMAT;
    }
    image.entry = h.e_entry;
    image.position_independent = h.e_type == ET_DYN;
    for (unsigned i = 0; i < h.e_phnum; i++) {
        Elf64_Phdr p;
        SIM_TRY(input_file_read(f, phdr_offset(&h, i), &p, sizeof p));
        if (p.p_type != PT_LOAD || p.p_memsz == 0)
            continue;
        SIM_TRY(add_segment(f, &image, &p, phdr_offset(&h, i)));
        translate_entry(&image, &p, h.e_entry);
    }
    if (!image.nr) {
        input_file_error(f, "has nothing to load (none of %u program headers is PT_LOAD)",
                         h.e_phnum);
        return SIM_ERR_FORMAT;
    }
    *out = image;
    return SIM_OK;
}

/* --- notes --- */

static uint64_t note_padded(uint32_t len)
{
    return ((uint64_t)len + 3) & ~3ull;
}

/* Within one segment of notes, whose place in the file has been checked. */
static enum sim_status search_notes(const struct input_file *f, const Elf64_Phdr *p, const char *owner, uint32_t type,
                                    void *out, size_t len, bool *found)
{
    const size_t owner_len = strlen(owner) + 1;
    uint64_t at = p->p_offset, end = p->p_offset + p->p_filesz;
    char name[16];
    Elf64_Nhdr n;

    while (!*found && end - at >= sizeof n) {
        SIM_TRY(input_file_read(f, at, &n, sizeof n));
        at += sizeof n;
        uint64_t desc = note_padded(n.n_namesz), size = desc + note_padded(n.n_descsz);
        if (size > end - at)
            return SIM_OK;
        if (n.n_type == type && n.n_namesz == owner_len && owner_len <= sizeof name && n.n_descsz >= len) {
            SIM_TRY(input_file_read(f, at, name, owner_len));
            *found = memcmp(name, owner, owner_len) == 0;
            if (*found)
                SIM_TRY(input_file_read(f, at + desc, out, len));
        }
        at += size;
    }
    return SIM_OK;
}

enum sim_status elf_find_note(const struct input_file *f, const char *owner, uint32_t type, void *out, size_t len,
                              bool *found)
{
    Elf64_Ehdr h;

    *found = false;
    SIM_TRY(read_header(f, &h));
    for (unsigned i = 0; i < h.e_phnum && !*found; i++) {
        Elf64_Phdr p;
        SIM_TRY(input_file_read(f, phdr_offset(&h, i), &p, sizeof p));
        if (p.p_type == PT_NOTE && p.p_filesz <= f->size && p.p_offset <= f->size - p.p_filesz)
            SIM_TRY(search_notes(f, &p, owner, type, out, len, found));
    }
    return SIM_OK;
}

void elf_move(struct elf_image *image, gpa_t base)
{
    uint64_t bias = base - image->low;

    image->entry += bias;
    image->low += bias;
    image->high += bias;
    for (unsigned i = 0; i < image->nr; i++)
        image->segment[i].addr += bias;
}

void elf_drop_header(struct elf_image *image, gpa_t base)
{
    for (unsigned i = 0; i < image->nr; i++) {
        struct elf_segment *s = &image->segment[i];
        uint64_t below = base - s->addr;
        if (s->offset != 0 || s->addr >= base || below > GUEST_PAGE_SIZE || below >= s->file_size)
            continue;
        s->addr = base;
        s->offset += below;
        s->file_size -= below;
        s->mem_size -= below;
    }
    image->low = image->segment[0].addr;
    for (unsigned i = 1; i < image->nr; i++)
        if (image->segment[i].addr < image->low)
            image->low = image->segment[i].addr;
}
