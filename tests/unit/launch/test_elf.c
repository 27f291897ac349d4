/* ELF files: one good one, and every way to damage it. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "capture.h"
#include "elf_builder.h"
#include "elf_image.h"

static enum sim_status read_bytes(const void *data, size_t size, struct elf_image *out)
{
    struct input_file f;

    input_file_from_memory("t.elf", data, size, &f);
    return elf_read(&f, EM_RISCV, out);
}

static void test_elf_reads_segments(void **state)
{
    struct small_elf e;
    struct elf_image image;

    (void)state;
    small_elf_init(&e);
    assert_int_equal(read_bytes(&e, sizeof e, &image), SIM_OK);
    assert_int_equal(image.nr, 2);
    assert_int_equal(image.entry, 0x80200010);
    assert_int_equal(image.low, 0x80200000);
    assert_int_equal(image.high, 0x80202080);
    assert_int_equal(image.segment[1].addr, 0x80201000);
    assert_int_equal(image.segment[1].file_size, 0x80);
    assert_int_equal(image.segment[1].mem_size, 0x1080);
    assert_int_equal(image.segment[1].offset, SMALL_DATA);
    assert_false(image.position_independent);
}

static void test_elf_entry_is_made_physical(void **state)
{
    struct small_elf e;
    struct elf_image image;

    (void)state;
    small_elf_init(&e);
    e.p[0].p_vaddr = 0xffffffff80000000;
    e.h.e_entry = 0xffffffff80000020;
    assert_int_equal(read_bytes(&e, sizeof e, &image), SIM_OK);
    assert_int_equal(image.entry, 0x80200020);
}

static void test_elf_moves(void **state)
{
    struct small_elf e;
    struct elf_image image;

    (void)state;
    small_elf_init(&e);
    e.h.e_type = ET_DYN;
    e.h.e_entry = 0x10;
    e.p[0].p_vaddr = e.p[0].p_paddr = 0;
    e.p[1].p_vaddr = e.p[1].p_paddr = 0x1000;
    assert_int_equal(read_bytes(&e, sizeof e, &image), SIM_OK);
    assert_true(image.position_independent);
    elf_move(&image, 0x80000000);
    assert_int_equal(image.entry, 0x80000010);
    assert_int_equal(image.segment[1].addr, 0x80001000);
    assert_int_equal(image.high, 0x80002080);
}

static void test_elf_header_in_front_of_ram(void **state)
{
    struct small_elf e;
    struct elf_image image;

    (void)state;
    small_elf_init(&e);
    e.p[0].p_offset = 0;
    e.p[0].p_paddr = e.p[0].p_vaddr = 0x7fffff00; /* headers, then code at 0x80000000 */
    e.p[0].p_filesz = e.p[0].p_memsz = 0x180;
    assert_int_equal(read_bytes(&e, sizeof e, &image), SIM_OK);
    elf_drop_header(&image, 0x80000000);
    assert_int_equal(image.low, 0x80000000);
    assert_int_equal(image.segment[0].addr, 0x80000000);
    assert_int_equal(image.segment[0].offset, 0x100);
    assert_int_equal(image.segment[0].file_size, 0x80);
    assert_int_equal(image.segment[0].mem_size, 0x80);
    assert_int_equal(image.segment[1].addr, 0x80201000); /* untouched */
    e.p[0].p_offset = 8; /* not the header: nothing may be dropped */
    assert_int_equal(read_bytes(&e, sizeof e, &image), SIM_OK);
    elf_drop_header(&image, 0x80000000);
    assert_int_equal(image.segment[0].addr, 0x7fffff00);
}

/* Every shorter file is refused with one message; so is none at all. */
static void test_elf_truncated_anywhere(void **state)
{
    struct small_elf e;

    (void)state;
    small_elf_init(&e);
    for (size_t size = 1; size < sizeof e; size++) {
        struct elf_image image;
        struct capture c;
        uint8_t *copy = malloc(size); /* its own allocation, so that a sanitizer sees overreads */
        memcpy(copy, &e, size);
        capture_begin(&c, 2);
        enum sim_status status = read_bytes(copy, size, &image);
        const char *said = capture_end(&c);
        free(copy);
        if (status != SIM_ERR_FORMAT || !strstr(said, "t.elf"))
            fail_msg("%zu bytes: status %d, said: %s", size, status, said);
    }
}

/* Each single bit flipped: whatever is accepted keeps its promises. */
static void test_elf_flipped_bits(void **state)
{
    (void)state;
    for (size_t bit = 0; bit < SMALL_CODE * 8; bit++) {
        struct small_elf e;
        struct elf_image image;
        struct capture c;
        small_elf_init(&e);
        ((uint8_t *)&e)[bit / 8] ^= (uint8_t)(1 << bit % 8);
        capture_begin(&c, 2);
        enum sim_status status = read_bytes(&e, sizeof e, &image);
        capture_end(&c);
        for (unsigned i = 0; status == SIM_OK && i < image.nr; i++) {
            const struct elf_segment *s = &image.segment[i];
            assert_true(s->offset + s->file_size <= sizeof e);
            assert_true(s->file_size <= s->mem_size);
            assert_true(s->addr + s->mem_size >= s->addr);
            assert_true(s->addr >= image.low && s->addr + s->mem_size <= image.high);
        }
    }
}

static void damage_class(struct small_elf *e) { e->h.e_ident[EI_CLASS] = ELFCLASS32; }
static void damage_data(struct small_elf *e) { e->h.e_ident[EI_DATA] = ELFDATA2MSB; }
static void damage_machine(struct small_elf *e) { e->h.e_machine = EM_X86_64; }
static void damage_type(struct small_elf *e) { e->h.e_type = ET_REL; }
static void damage_count(struct small_elf *e) { e->h.e_phnum = 0; }
static void damage_many(struct small_elf *e) { e->h.e_phnum = 0xffff; }
static void damage_phoff(struct small_elf *e) { e->h.e_phoff = UINT64_MAX - 8; }
static void damage_entsize(struct small_elf *e) { e->h.e_phentsize = 32; }
static void damage_offset(struct small_elf *e) { e->p[1].p_offset = UINT64_MAX - 4; }
static void damage_filesz(struct small_elf *e) { e->p[1].p_filesz = 1ull << 40; }
static void damage_memsz(struct small_elf *e) { e->p[0].p_memsz = 0x7f; }
static void damage_wrap(struct small_elf *e) { e->p[1].p_memsz = UINT64_MAX; }
static void damage_overlap(struct small_elf *e) { e->p[1].p_paddr = 0x8020007f; }
static void damage_noload(struct small_elf *e) { e->p[0].p_type = e->p[1].p_type = PT_NOTE; }

static void test_elf_says_what_is_wrong(void **state)
{
    static const struct {
        void (*damage)(struct small_elf *);
        const char *said;
    } cases[] = {
        {damage_class, "32-bit"},        {damage_data, "big-endian"},  {damage_machine, "x86-64"},
        {damage_type, "executables"},    {damage_count, "program headers"}, {damage_many, "0x40"},
        {damage_phoff, "cut short"},     {damage_entsize, "32 bytes"}, {damage_offset, "0x78"},
        {damage_filesz, "0x10000000000"}, {damage_memsz, "more bytes in the file"},
        {damage_wrap, "wraps"},          {damage_overlap, "0x8020007f"}, {damage_noload, "PT_LOAD"},
    };

    (void)state;
    for (size_t i = 0; i < SIM_ARRAY_LEN(cases); i++) {
        struct small_elf e;
        struct elf_image image;
        struct capture c;
        small_elf_init(&e);
        cases[i].damage(&e);
        capture_begin(&c, 2);
        enum sim_status status = read_bytes(&e, sizeof e, &image);
        const char *said = capture_end(&c);
        if (status == SIM_OK || !strstr(said, cases[i].said))
            fail_msg("case %zu: status %d, no '%s' in: %s", i, status, cases[i].said, said);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_elf_reads_segments),
        cmocka_unit_test(test_elf_entry_is_made_physical),
        cmocka_unit_test(test_elf_header_in_front_of_ram),
        cmocka_unit_test(test_elf_moves),
        cmocka_unit_test(test_elf_truncated_anywhere),
        cmocka_unit_test(test_elf_flipped_bits),
        cmocka_unit_test(test_elf_says_what_is_wrong),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
