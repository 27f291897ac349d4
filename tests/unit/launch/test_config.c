/* Defaults and the YAML of --dump-config. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "config.h"

static void test_config_defaults(void **state)
{
    struct config c;

    (void)state;
    config_init(&c);
    assert_int_equal(c.smp, 1);
    assert_int_equal(c.memory, 128 << 20);
    assert_true(c.jit);
    assert_null(c.kernel);
    config_fini(&c);
}

static void test_config_dump_quotes(void **state)
{
    struct config c;
    char *text;
    size_t size;

    (void)state;
    config_init(&c);
    config_set_string(&c.append, "a \"b\" \\ c\nd\x7f");
    config_set_string(&c.append, "a \"b\" \\ c\nd\x7f"); /* replaces, frees */
    config_set_string(&c.kernel, "vmlinux");
    config_set_string(&c.kernel, NULL);
    FILE *f = open_memstream(&text, &size);
    config_dump(&c, f);
    fclose(f);
    assert_non_null(strstr(text, "append: \"a \\\"b\\\" \\\\ c\\x0ad\\x7f\"\n"));
    assert_null(strstr(text, "kernel"));
    free(text);
    config_fini(&c);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_config_defaults),
        cmocka_unit_test(test_config_dump_quotes),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
