/* ELF files, their notes, and headers of RISC-V and x86 kernels: whatever is accepted lies within file and address space. */
#include <elf.h>
#include <stdlib.h>

#include "elf_image.h"
#include "linux_bzimage.h"
#include "linux_image.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check_elf(const struct elf_image *image, uint64_t size)
{
    for (unsigned i = 0; i < image->nr; i++) {
        const struct elf_segment *s = &image->segment[i];
        if (s->offset > size || s->file_size > size - s->offset || s->file_size > s->mem_size ||
            s->addr + s->mem_size < s->addr || s->addr < image->low ||
            s->addr + s->mem_size > image->high)
            abort();
    }
}

static void check_x86(const struct input_file *f)
{
    struct elf_image image;
    struct bzimage kernel;
    uint32_t entry;
    bool found;

    if (elf_is_elf(f) && elf_read(f, EM_X86_64, &image) == SIM_OK &&
        elf_find_note(f, "Xen", 18, &entry, sizeof entry, &found) == SIM_OK)
        check_elf(&image, f->size);
    if (bzimage_read(f, &found, &kernel) == SIM_OK && found &&
        (kernel.code_offset >= f->size || kernel.memory_size < f->size - kernel.code_offset ||
         kernel.header_size > sizeof kernel.header || kernel.preferred % kernel.alignment))
        abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct input_file f;
    struct elf_image image;
    struct linux_image kernel;
    bool is_image;

    input_file_from_memory("fuzz", data, size, &f);
    if (elf_is_elf(&f) && elf_read(&f, EM_RISCV, &image) == SIM_OK) {
        check_elf(&image, size);
        elf_drop_header(&image, 0x80000000);
        check_elf(&image, size);
    }
    if (linux_image_check_packing(&f) == SIM_OK &&
        linux_image_read(&f, &is_image, &kernel) == SIM_OK && is_image && kernel.image_size < size)
        abort();
    check_x86(&f);
    return 0;
}
