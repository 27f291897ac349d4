/* The setup header of an x86 Linux kernel, each value checked before it is used. */
#include "linux_bzimage.h"

#include <inttypes.h>
#include <string.h>

#include "sim-core/types.h"

enum { SECTOR = 512, DEFAULT_SETUP_SECTORS = 4, MIN_VERSION = 0x20c, LOADED_HIGH = 1, KERNEL_64 = 1 };
enum { H_SETUP_SECTORS = 0x1f1, H_BOOT_FLAG = 0x1fe, H_JUMP = 0x201, H_MAGIC = 0x202, H_VERSION = 0x206,
       H_LOAD_FLAGS = 0x211, H_INITRD_MAX = 0x22c, H_ALIGNMENT = 0x230, H_RELOCATABLE = 0x234, H_XLOAD_FLAGS = 0x236,
       H_COMMAND_LINE_MAX = 0x238, H_PREFERRED = 0x258, H_INIT_SIZE = 0x260, H_END = 0x264 };
enum { MAX_ALIGNMENT = 1 << 30 };

static uint64_t get(const struct bzimage *b, unsigned offset, unsigned bytes)
{
    uint64_t v = 0;

    memcpy(&v, b->header + (offset - BZIMAGE_HEADER), bytes);
    return v;
}

/* Why this kernel cannot be booted here; NULL: it can. */
static const char *unsuitable(const struct bzimage *b)
{
    const uint64_t alignment = get(b, H_ALIGNMENT, 4);

    if (get(b, H_VERSION, 2) < MIN_VERSION)
        return "is a kernel of a boot protocol older than 2.12";
    if (!(get(b, H_LOAD_FLAGS, 1) & LOADED_HIGH))
        return "is a zImage, which is loaded low; only bzImages are";
    if (!(get(b, H_XLOAD_FLAGS, 2) & KERNEL_64))
        return "is a 32-bit kernel; the machine starts 64-bit ones";
    if (!get(b, H_RELOCATABLE, 1))
        return "is a kernel that cannot be moved (CONFIG_RELOCATABLE is off)";
    if (alignment < GUEST_PAGE_SIZE || alignment > MAX_ALIGNMENT || alignment & (alignment - 1) ||
        get(b, H_PREFERRED, 8) % alignment || get(b, H_PREFERRED, 8) > UINT32_MAX)
        return "is damaged: the kernel wants to be at an impossible place";
    return NULL;
}

enum sim_status bzimage_read(const struct input_file *f, bool *is_bzimage, struct bzimage *out)
{
    struct bzimage b = {0};

    *is_bzimage = false;
    if (f->size < BZIMAGE_HEADER + sizeof b.header)
        return SIM_OK;
    SIM_TRY(input_file_read(f, BZIMAGE_HEADER, b.header, sizeof b.header));
    if (get(&b, H_BOOT_FLAG, 2) != 0xaa55 || get(&b, H_MAGIC, 4) != 0x53726448)
        return SIM_OK;
    const char *why = unsuitable(&b);
    const uint64_t sectors = get(&b, H_SETUP_SECTORS, 1) ? get(&b, H_SETUP_SECTORS, 1) : DEFAULT_SETUP_SECTORS;

    b.header_size = H_MAGIC + get(&b, H_JUMP, 1) - BZIMAGE_HEADER;
    b.code_offset = (sectors + 1) * SECTOR;
    if (!why && (b.header_size < H_END - BZIMAGE_HEADER || b.header_size > sizeof b.header))
        why = "is damaged: its setup header has an impossible length";
    if (!why && b.code_offset + BZIMAGE_ENTRY_64 >= f->size)
        why = "is cut short: the kernel behind its setup code is missing";
    if (why) {
        input_file_error(f, "%s", why);
        return SIM_ERR_FORMAT;
    }
    b.preferred = get(&b, H_PREFERRED, 8);
    b.alignment = get(&b, H_ALIGNMENT, 4);
    b.memory_size = get(&b, H_INIT_SIZE, 4);
    if (b.memory_size < f->size - b.code_offset)
        b.memory_size = f->size - b.code_offset;
    b.initrd_max = get(&b, H_INITRD_MAX, 4) + 1;
    b.command_line_max = (uint32_t)get(&b, H_COMMAND_LINE_MAX, 4);
    *is_bzimage = true;
    *out = b;
    return SIM_OK;
}
