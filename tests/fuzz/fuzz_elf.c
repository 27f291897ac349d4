/* ELF files and Linux Image headers: whatever is accepted lies within file and address space. */
#include <elf.h>
#include <stdlib.h>

#include "elf_image.h"
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
    return 0;
}
