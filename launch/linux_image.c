/* The header of a RISC-V Linux Image, and what is often mistaken for one. */
#include "linux_image.h"

#include <endian.h>
#include <inttypes.h>
#include <string.h>

enum { HEADER_SIZE = 64, OFF_TEXT_OFFSET = 8, OFF_IMAGE_SIZE = 16, OFF_FLAGS = 24, OFF_MAGIC2 = 0x38,
       OFF_PE = 0x3c, FLAG_BIG_ENDIAN = 1 };
/* COFF header after "PE\0\0"; section table after the optional header. */
enum { COFF_NR_SECTIONS = 6, COFF_OPTIONAL_SIZE = 20, COFF_SIZE = 24, SECTION_SIZE = 40,
       SECTION_RAW_SIZE = 16, SECTION_RAW_OFFSET = 20 };

static uint64_t get(const uint8_t *p, unsigned bytes)
{
    uint64_t v = 0;

    memcpy(&v, p, bytes);
    return le64toh(v);
}

/* EFI-stub kernels carry a section table, which tells how long the file must be. */
static enum sim_status check_sections(const struct input_file *f, const uint8_t *header)
{
    uint64_t pe = get(header + OFF_PE, 4);
    uint8_t coff[COFF_SIZE], section[SECTION_SIZE];

    if (header[0] != 'M' || header[1] != 'Z' || pe > f->size || f->size - pe < sizeof coff)
        return SIM_OK;
    SIM_TRY(input_file_read(f, pe, coff, sizeof coff));
    if (memcmp(coff, "PE\0", 4) != 0)
        return SIM_OK;
    uint64_t table = pe + COFF_SIZE + get(coff + COFF_OPTIONAL_SIZE, 2);
    for (unsigned i = 0; i < get(coff + COFF_NR_SECTIONS, 2); i++) {
        SIM_TRY(input_file_read(f, table + (uint64_t)i * SECTION_SIZE, section, sizeof section));
        uint64_t end = get(section + SECTION_RAW_OFFSET, 4) + get(section + SECTION_RAW_SIZE, 4);
        if (end > f->size) {
            input_file_error(f, "is cut short: the kernel's section '%.8s' ends at %#" PRIx64
                                ", the file at %#" PRIx64, (const char *)section, end, f->size);
            return SIM_ERR_FORMAT;
        }
    }
    return SIM_OK;
}

enum sim_status linux_image_read(const struct input_file *f, bool *is_image, struct linux_image *out)
{
    uint8_t header[HEADER_SIZE];

    *is_image = false;
    if (f->size < sizeof header)
        return SIM_OK;
    SIM_TRY(input_file_read(f, 0, header, sizeof header));
    if (memcmp(header + OFF_MAGIC2, "RSC\x05", 4) != 0)
        return SIM_OK;
    if (get(header + OFF_FLAGS, 8) & FLAG_BIG_ENDIAN) {
        input_file_error(f, "is a big-endian kernel; the machine is little-endian");
        return SIM_ERR_FORMAT;
    }
    SIM_TRY(check_sections(f, header));
    *is_image = true;
    out->text_offset = get(header + OFF_TEXT_OFFSET, 8);
    out->image_size = get(header + OFF_IMAGE_SIZE, 8);
    if (out->image_size < f->size)
        out->image_size = f->size;
    return SIM_OK;
}

enum sim_status linux_image_check_packing(const struct input_file *f)
{
    static const struct {
        unsigned offset, len;
        const char *magic, *what;
    } packings[] = {
        {0, 2, "\x1f\x8b", "gzip-compressed: unpack it with gunzip"},
        {0, 4, "\x28\xb5\x2f\xfd", "zstd-compressed: unpack it with unzstd"},
        {0, 6, "\xfd" "7zXZ\0", "xz-compressed: unpack it with unxz"},
        {0, 3, "BZh", "bzip2-compressed: unpack it with bunzip2"},
        {4, 4, "zimg", "a compressed EFI image (vmlinuz.efi): give the Image that is inside"},
        {0, 4, "\x27\x05\x19\x56", "a U-Boot uImage: give the Image that is inside"},
        {0, 4, "\xd0\x0d\xfe\xed", "a device tree or FIT image, not a kernel"},
    };
    uint8_t head[8];

    if (f->size < sizeof head)
        return SIM_OK;
    SIM_TRY(input_file_read(f, 0, head, sizeof head));
    for (size_t i = 0; i < SIM_ARRAY_LEN(packings); i++) {
        if (memcmp(head + packings[i].offset, packings[i].magic, packings[i].len) == 0) {
            input_file_error(f, "is %s", packings[i].what);
            return SIM_ERR_UNSUPPORTED;
        }
    }
    return SIM_OK;
}
