/* Option lists, single values, and the did-you-mean distance. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "capture.h"
#include "keyval.h"
#include "sim-core/alloc.h"

static void test_keyvals_parse_splits(void **state)
{
    struct keyvals kv;

    (void)state;
    assert_int_equal(keyvals_parse("-x", "a.img,readonly=on,name=p,,q=r,flag,", "file", &kv), SIM_OK);
    assert_int_equal(kv.nr, 4);
    assert_string_equal(keyvals_take(&kv, "file"), "a.img");
    assert_string_equal(keyvals_take(&kv, "readonly"), "on");
    assert_string_equal(keyvals_take(&kv, "name"), "p,q=r");
    assert_null(keyvals_take(&kv, "absent"));
    struct capture c;
    capture_begin(&c, 2);
    assert_int_equal(keyvals_check(&kv), SIM_ERR_INVALID);
    assert_non_null(strstr(capture_end(&c), "-x: unknown setting 'flag=on'"));
    assert_string_equal(keyvals_take(&kv, "flag"), "on");
    assert_int_equal(keyvals_check(&kv), SIM_OK);
    keyvals_fini(&kv);
}

static void test_keyvals_last_value_wins(void **state)
{
    struct keyvals kv;
    bool flag = true;
    uint32_t n = 5;

    (void)state;
    assert_int_equal(keyvals_parse("-x", "a=1,a=0x20,b=off", NULL, &kv), SIM_OK);
    assert_int_equal(keyvals_take_u32(&kv, "a", &n), SIM_OK);
    assert_int_equal(n, 32);
    assert_int_equal(keyvals_take_bool(&kv, "b", &flag), SIM_OK);
    assert_false(flag);
    assert_int_equal(keyvals_take_u32(&kv, "absent", &n), SIM_OK);
    assert_int_equal(n, 32);
    keyvals_fini(&kv);
}

static void test_keyvals_rest_escapes_again(void **state)
{
    struct keyvals kv;

    (void)state;
    assert_int_equal(keyvals_parse("-x", "socket,id=n,path=/a,,b,server", "type", &kv), SIM_OK);
    keyvals_take(&kv, "type");
    keyvals_take(&kv, "id");
    char *rest = keyvals_rest(&kv);
    assert_string_equal(rest, "path=/a,,b,server=on");
    sim_free(rest);
    keyvals_fini(&kv);
}

static void test_keyvals_refuses(void **state)
{
    struct keyvals kv;
    struct capture c;

    (void)state;
    capture_begin(&c, 2);
    assert_int_equal(keyvals_parse("-x", "file", NULL, &kv), SIM_ERR_INVALID);
    assert_int_equal(keyvals_parse("-x", "=v", "file", &kv), SIM_ERR_INVALID);
    assert_int_equal(keyvals_parse("-x", "", NULL, &kv), SIM_ERR_INVALID);
    capture_end(&c);
}

static void test_parse_size(void **state)
{
    static const struct {
        const char *text;
        uint64_t bytes; /* 0: refused */
    } cases[] = {
        {"512", 512ull << 20}, {"1G", 1ull << 30},   {"1g", 1ull << 30}, {"64k", 64 << 10},
        {"1.5G", 3ull << 29},  {"4096b", 4096},      {"2T", 2ull << 40}, {"0x10", 16ull << 20},
        {"", 0},               {"G", 0},             {"-1", 0},          {"1GB", 0},
        {"1.5", 0},            {"1 G", 0},           {"1e3", 0},         {"99999999999999999999", 0},
        {"17592186044416M", 0}, {"18446744073709551615", 0}, {"1..5G", 0},
    };

    (void)state;
    for (size_t i = 0; i < SIM_ARRAY_LEN(cases); i++) {
        struct capture c;
        uint64_t bytes = 0;
        capture_begin(&c, 2);
        enum sim_status status = parse_size("-m", cases[i].text, 1 << 20, &bytes);
        const char *said = capture_end(&c);
        if (cases[i].bytes) {
            assert_int_equal(status, SIM_OK);
            assert_int_equal(bytes, cases[i].bytes);
        } else {
            if (status == SIM_OK)
                fail_msg("'%s' was accepted", cases[i].text);
            assert_non_null(strstr(said, cases[i].text));
        }
    }
}

static void test_parse_duration(void **state)
{
    static const struct {
        const char *text;
        uint64_t ns;
    } cases[] = {
        {"60", 60000000000}, {"90s", 90000000000}, {"2m", 120000000000}, {"1h", 3600000000000},
        {"0.5", 500000000},  {"250ms", 250000000}, {"1.25s", 1250000000}, {"0", 0},
        {"-5", 0},           {"5x", 0},            {"", 0},              {"s", 0},
        {"99999999999h", 0}, {"0.0000000001", 0},
    };

    (void)state;
    for (size_t i = 0; i < SIM_ARRAY_LEN(cases); i++) {
        struct capture c;
        uint64_t ns = 0;
        capture_begin(&c, 2);
        enum sim_status status = parse_duration("--timeout", cases[i].text, &ns);
        capture_end(&c);
        assert_int_equal(status == SIM_OK, cases[i].ns != 0);
        assert_int_equal(ns, cases[i].ns);
    }
}

static void test_parse_mac(void **state)
{
    static const uint8_t want[6] = {0x52, 0x54, 0, 0x12, 0x34, 0xff};
    uint8_t mac[6];
    struct capture c;

    (void)state;
    assert_int_equal(parse_mac("-x", "52:54:00:12:34:fF", mac), SIM_OK);
    assert_memory_equal(mac, want, 6);
    capture_begin(&c, 2);
    assert_int_equal(parse_mac("-x", "52:54:00:12:34", mac), SIM_ERR_INVALID);
    assert_int_equal(parse_mac("-x", "52:54:00:12:34:56:78", mac), SIM_ERR_INVALID);
    assert_int_equal(parse_mac("-x", "53:54:00:12:34:56", mac), SIM_ERR_INVALID); /* multicast */
    assert_int_equal(parse_mac("-x", "", mac), SIM_ERR_INVALID);
    capture_end(&c);
}

static const char *words(unsigned i)
{
    static const char *const list[] = {"kernel", "initrd", "append", "m", "smp", "serial"};

    return i < SIM_ARRAY_LEN(list) ? list[i] : NULL;
}

static void test_nearest_word(void **state)
{
    (void)state;
    assert_string_equal(nearest_word("kernal", words), "kernel");
    assert_string_equal(nearest_word("kenrel", words), "kernel");
    assert_string_equal(nearest_word("spm", words), "smp");
    assert_string_equal(nearest_word("init", words), "initrd");
    assert_null(nearest_word("z", words));
    assert_null(nearest_word("watchdog", words));
    assert_null(nearest_word("an-option-that-is-longer-than-any-word-could-be", words));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_keyvals_parse_splits), cmocka_unit_test(test_keyvals_last_value_wins),
        cmocka_unit_test(test_keyvals_rest_escapes_again), cmocka_unit_test(test_keyvals_refuses),
        cmocka_unit_test(test_parse_size),           cmocka_unit_test(test_parse_duration),
        cmocka_unit_test(test_parse_mac),            cmocka_unit_test(test_nearest_word),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
