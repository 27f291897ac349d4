/* Symbols from ELF files and from text; damaged files are refused or give less, never more. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include "capture.h"
#include "elf_builder.h"
#include "symbol_files.h"

/* The small ELF with a symbol table behind it. */
struct with_symbols {
    struct small_elf e;
    Elf64_Shdr section[3];
    Elf64_Sym symbol[5];
    char text[32];
};

static void init(struct with_symbols *w)
{
    static const char text[] = "\0main\0$x\0object\0undefined";

    memset(w, 0, sizeof *w);
    small_elf_init(&w->e);
    w->e.h.e_shoff = offsetof(struct with_symbols, section);
    w->e.h.e_shnum = 3;
    w->e.h.e_shentsize = sizeof w->section[0];
    w->section[1] = (Elf64_Shdr){.sh_type = SHT_SYMTAB, .sh_link = 2,
                                 .sh_offset = offsetof(struct with_symbols, symbol), .sh_size = sizeof w->symbol};
    w->section[2] = (Elf64_Shdr){.sh_type = SHT_STRTAB, .sh_offset = offsetof(struct with_symbols, text),
                                 .sh_size = sizeof w->text};
    memcpy(w->text, text, sizeof text);
    w->symbol[1] = (Elf64_Sym){.st_name = 1, .st_info = STT_FUNC, .st_shndx = 1, .st_value = 0x80200010, .st_size = 8};
    w->symbol[2] = (Elf64_Sym){.st_name = 6, .st_info = STT_NOTYPE, .st_shndx = 1, .st_value = 0x80200020};
    w->symbol[3] = (Elf64_Sym){.st_name = 9, .st_info = STT_OBJECT, .st_shndx = 1, .st_value = 0x80200030};
    w->symbol[4] = (Elf64_Sym){.st_name = 16, .st_info = STT_FUNC, .st_shndx = SHN_UNDEF, .st_value = 0x80200040};
}

static struct symbols *read_bytes(const void *bytes, size_t size, uint64_t bias, enum sim_status want)
{
    struct symbols *s = symbols_create();
    struct capture c;
    struct input_file f;

    input_file_from_memory("test", bytes, size, &f);
    capture_begin(&c, STDERR_FILENO);
    enum sim_status status = symbol_file_read(&f, bias, s);
    capture_end(&c);
    assert_int_equal(status, want);
    symbols_seal(s);
    return s;
}

static void expect(const struct symbols *s, uint64_t addr, const char *text)
{
    char buf[64];

    assert_string_equal(symbols_format(s, addr, buf, sizeof buf), text);
}

static void test_elf_functions_are_taken(void **state)
{
    struct with_symbols w;

    (void)state;
    init(&w);
    struct symbols *s = read_bytes(&w, sizeof w, 0x1000, SIM_OK);
    assert_int_equal(symbols_count(s), 1);
    expect(s, 0x80201014, "main+0x4");
    symbols_destroy(s);
}

static void test_text_lines_are_taken(void **state)
{
    static const char text[] = "ffffffff80000000 T _start\n"
                               "ffffffff80000040 t local\t[module]\n"
                               "ffffffff80000080 D data\n"
                               "                 U missing\n"
                               "nonsense\n\n"
                               "ffffffff800000c0 W weak\n"
                               "ffffffff80000100 T cut_off";

    (void)state;
    struct symbols *s = read_bytes(text, sizeof text - 1, 0, SIM_OK);
    assert_int_equal(symbols_count(s), 3);
    expect(s, 0xffffffff80000004, "_start+0x4");
    expect(s, 0xffffffff80000040, "local");
    expect(s, 0xffffffff80000084, "local+0x44");
    expect(s, 0xffffffff800000c0, "weak");
    symbols_destroy(s);
}

static void test_files_without_symbols_are_refused(void **state)
{
    struct small_elf e;

    (void)state;
    small_elf_init(&e);
    symbols_destroy(read_bytes(&e, sizeof e, 0, SIM_ERR_FORMAT));
    symbols_destroy(read_bytes("hello\n", 6, 0, SIM_ERR_FORMAT));
}

/* Each byte of the headers and tables is made wrong in turn. */
static void test_damaged_files_are_harmless(void **state)
{
    struct with_symbols w;
    uint8_t *bytes = (uint8_t *)&w;

    (void)state;
    for (size_t n = 0; n < sizeof w; n++) {
        struct input_file f;
        struct capture c;
        struct symbols *s = symbols_create();
        init(&w);
        bytes[n] ^= 0xff;
        input_file_from_memory("test", &w, sizeof w, &f);
        capture_begin(&c, STDERR_FILENO);
        (void)!symbol_file_read(&f, 0, s);
        capture_end(&c);
        assert_true(symbols_count(s) <= 4);
        symbols_destroy(s);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_elf_functions_are_taken),
        cmocka_unit_test(test_text_lines_are_taken),
        cmocka_unit_test(test_files_without_symbols_are_refused),
        cmocka_unit_test(test_damaged_files_are_harmless),
    };

    return cmocka_run_group_tests_name("launch.symbol_files", tests, NULL, NULL);
}
