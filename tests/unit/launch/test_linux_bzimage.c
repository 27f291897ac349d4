/* Setup headers of x86 kernels: what is read from a good one, what is said of the others. PVH notes of ELF files. */
#include <elf.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "capture.h"
#include "elf_image.h"
#include "linux_bzimage.h"
#include "sim-core/compiler.h"

static uint8_t image[0x2000];

static void put(unsigned at, uint64_t v, unsigned bytes)
{
    memcpy(image + at, &v, bytes);
}

static void make_image(void)
{
    memset(image, 0, sizeof image);
    put(0x1f1, 3, 1);          /* setup sectors */
    put(0x1fe, 0xaa55, 2);
    put(0x200, 0x6aeb, 2);     /* jump over the header */
    memcpy(image + 0x202, "HdrS", 4);
    put(0x206, 0x20f, 2);      /* protocol 2.15 */
    put(0x211, 1, 1);
    put(0x22c, 0x7fffffff, 4);
    put(0x230, 0x200000, 4);
    put(0x234, 1, 1);
    put(0x236, 1, 2);
    put(0x238, 2047, 4);
    put(0x258, 0x1000000, 8);
    put(0x260, 0x300000, 4);
}

static enum sim_status read_image(size_t size, bool *is_bzimage, struct bzimage *out)
{
    struct input_file f;

    input_file_from_memory("bzImage", image, size, &f);
    return bzimage_read(&f, is_bzimage, out);
}

static void test_header(void **state)
{
    struct bzimage b;
    bool is;

    (void)state;
    make_image();
    assert_int_equal(read_image(sizeof image, &is, &b), SIM_OK);
    assert_true(is);
    assert_int_equal(b.code_offset, 4 * 512);
    assert_int_equal(b.preferred, 0x1000000);
    assert_int_equal(b.alignment, 0x200000);
    assert_int_equal(b.memory_size, 0x300000);
    assert_int_equal(b.initrd_max, 0x80000000);
    assert_int_equal(b.command_line_max, 2047);
    assert_int_equal(b.header_size, 0x202 + 0x6a - 0x1f1);
    assert_memory_equal(b.header + (0x202 - 0x1f1), "HdrS", 4);
}

/* What is none, and what is damaged. */
static void test_others(void **state)
{
    static const struct {
        unsigned at, bytes;
        uint64_t value;
        const char *said; /* NULL: not taken for a kernel */
    } rows[] = {
        {0x1fe, 2, 0, NULL},
        {0x202, 4, 0, NULL},
        {0x206, 2, 0x20b, "older than 2.12"},
        {0x211, 1, 0, "zImage"},
        {0x236, 2, 0, "32-bit kernel"},
        {0x234, 1, 0, "cannot be moved"},
        {0x230, 4, 0, "impossible place"},
        {0x230, 4, 0x300000, "impossible place"},
        {0x258, 8, 0x1000001, "impossible place"},
        {0x258, 8, 1ull << 40, "impossible place"},
        {0x201, 1, 0x10, "impossible length"},
        {0x201, 1, 0xff, "impossible length"},
        {0x1f1, 1, 200, "cut short"},
    };

    (void)state;
    for (size_t i = 0; i < SIM_ARRAY_LEN(rows); i++) {
        struct capture c;
        struct bzimage b;
        bool is;
        make_image();
        put(rows[i].at, rows[i].value, rows[i].bytes);
        capture_begin(&c, 2);
        enum sim_status status = read_image(sizeof image, &is, &b);
        const char *text = capture_end(&c);
        assert_int_equal(status, rows[i].said ? SIM_ERR_FORMAT : SIM_OK);
        assert_false(is);
        assert_true(!rows[i].said || strstr(text, rows[i].said));
    }
    bool is = true;
    struct bzimage b;
    make_image();
    assert_int_equal(read_image(0x200, &is, &b), SIM_OK);
    assert_false(is);
}

/* --- notes --- */

static struct {
    Elf64_Ehdr h;
    Elf64_Phdr p[2];
    uint8_t code[16];
    uint32_t note[10]; /* two notes of 4-byte names and descriptors */
} elf;

static void make_elf(void)
{
    memset(&elf, 0, sizeof elf);
    memcpy(elf.h.e_ident, ELFMAG "\2\1\1", 7);
    elf.h.e_type = ET_EXEC;
    elf.h.e_machine = EM_X86_64;
    elf.h.e_phoff = offsetof(__typeof__(elf), p);
    elf.h.e_phentsize = sizeof elf.p[0];
    elf.h.e_phnum = 2;
    elf.p[0] = (Elf64_Phdr){.p_type = PT_LOAD, .p_offset = offsetof(__typeof__(elf), code), .p_filesz = 16,
                            .p_memsz = 16, .p_paddr = 0x100000};
    elf.p[1] = (Elf64_Phdr){.p_type = PT_NOTE, .p_offset = offsetof(__typeof__(elf), note),
                            .p_filesz = sizeof elf.note};
}

/* The entry that the file's PVH note has, or 0. */
static uint32_t pvh_entry(void)
{
    struct input_file f;
    uint32_t entry = 0;
    bool found;

    input_file_from_memory("vmlinux", &elf, sizeof elf, &f);
    assert_int_equal(elf_find_note(&f, "Xen", 18, &entry, sizeof entry, &found), SIM_OK);
    assert_true(found || !entry);
    return entry;
}

static void pack_notes(uint32_t entry)
{
    const uint32_t words[] = {4, 4, 5, 0x00554e47, 7, 4, 4, 18, 0x006e6558, entry};

    memcpy(elf.note, words, sizeof words);
    elf.p[1].p_filesz = sizeof words;
}

static void test_pvh_note(void **state)
{
    (void)state;
    make_elf();
    pack_notes(0x1000340);
    assert_int_equal(pvh_entry(), 0x1000340);
    elf.p[1].p_filesz -= 4; /* the last one is cut */
    assert_int_equal(pvh_entry(), 0);
    pack_notes(0x1000340);
    memset(elf.note, 0xff, 4); /* a name of 4 GiB */
    assert_int_equal(pvh_entry(), 0);
    pack_notes(0x1000340);
    elf.p[1].p_type = PT_NULL;
    assert_int_equal(pvh_entry(), 0);
    elf.p[1].p_type = PT_NOTE;
    elf.p[1].p_offset = UINT64_MAX - 8;
    assert_int_equal(pvh_entry(), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_header),
        cmocka_unit_test(test_others),
        cmocka_unit_test(test_pvh_note),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
