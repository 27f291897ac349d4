/* Names of addresses: order, sizes, doubles, ends. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>
#include <string.h>

#include "cpu/symbols.h"

static void add(struct symbols *s, uint64_t addr, uint64_t size, const char *name)
{
    symbols_add(s, addr, size, name, strlen(name));
}

static struct symbols *sample(void)
{
    struct symbols *s = symbols_create();

    add(s, 0xffffffff80002000, 0, "late");
    add(s, 0xffffffff80001000, 0x10, "sized");
    add(s, 0xffffffff80001800, 0, "open");
    add(s, 0xffffffff80001000, 0, "alias");
    symbols_seal(s);
    return s;
}

static void expect(const struct symbols *s, uint64_t addr, const char *text)
{
    char buf[32];

    assert_string_equal(symbols_format(s, addr, buf, sizeof buf), text);
}

static void test_addresses_are_named(void **state)
{
    struct symbols *s = sample();

    (void)state;
    assert_int_equal(symbols_count(s), 3);
    expect(s, 0xffffffff80001000, "sized");
    expect(s, 0xffffffff8000100f, "sized+0xf");
    expect(s, 0xffffffff80001010, ""); /* behind its end */
    expect(s, 0xffffffff80001fff, "open+0x7ff");
    expect(s, 0xffffffff80002000, "late");
    expect(s, 0xffffffff80002000 + SYMBOLS_REACH, "");
    expect(s, 0xffffffff80000fff, "");
    symbols_destroy(s);
}

static void test_more_may_be_added(void **state)
{
    struct symbols *s = sample();

    (void)state;
    add(s, 0xffffffff80001900, 0, "between");
    symbols_seal(s);
    expect(s, 0xffffffff80001904, "between+0x4");
    expect(s, 0xffffffff80001004, "sized+0x4");
    symbols_destroy(s);
}

static void test_no_table_names_nothing(void **state)
{
    (void)state;
    expect(NULL, 0x1000, "");
    assert_int_equal(symbols_count(NULL), 0);
    struct symbols *s = symbols_create();
    symbols_seal(s);
    expect(s, 0x1000, "");
    symbols_destroy(s);
}

static void test_long_names_are_cut(void **state)
{
    struct symbols *s = symbols_create();
    char buf[8];

    (void)state;
    add(s, 0x10, 0, "a_name_longer_than_that");
    symbols_seal(s);
    assert_string_equal(symbols_format(s, 0x10, buf, sizeof buf), "a_name_");
    symbols_destroy(s);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_addresses_are_named),
        cmocka_unit_test(test_more_may_be_added),
        cmocka_unit_test(test_no_table_names_nothing),
        cmocka_unit_test(test_long_names_are_cut),
    };

    return cmocka_run_group_tests_name("cpu.symbols", tests, NULL, NULL);
}
