/* What -trace understands, and what it refuses with one message. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>
#include <string.h>

#include "capture.h"
#include "trace_spec.h"

static struct trace_spec good(const char *text)
{
    struct trace_spec s;

    assert_int_equal(trace_spec_parse("-trace", text, &s), SIM_OK);
    return s;
}

static void test_plain(void **state)
{
    struct trace_spec s = good("exec");

    (void)state;
    assert_int_equal(s.what, RV_TRACE_EXEC);
    assert_true(rv_observe_filter_hart(&s.filter, 4000));
    assert_int_equal(s.filter.privs, RV_OBSERVE_ALL_PRIVS);
    assert_true(s.filter.lo == 0 && s.filter.hi == UINT64_MAX);
    assert_null(s.file);
    trace_spec_fini(&s);
}

static void test_filters(void **state)
{
    struct trace_spec s = good("exec+mem,hart=0+64-65,priv=um,addr=0x1000-0x1fff,file=a,,b");

    (void)state;
    assert_int_equal(s.what, RV_TRACE_EXEC | RV_TRACE_MEM);
    assert_true(rv_observe_filter_hart(&s.filter, 0) && rv_observe_filter_hart(&s.filter, 64));
    assert_true(rv_observe_filter_hart(&s.filter, 65) && !rv_observe_filter_hart(&s.filter, 1));
    assert_int_equal(s.filter.privs, 9);
    assert_true(s.filter.lo == 0x1000 && s.filter.hi == 0x1fff);
    assert_string_equal(s.file, "a,b");
    trace_spec_fini(&s);
}

static void test_one_address(void **state)
{
    struct trace_spec s = good("mem,addr=0xffffffff80000000");

    (void)state;
    assert_true(s.filter.lo == 0xffffffff80000000 && s.filter.hi == s.filter.lo);
    trace_spec_fini(&s);
}

static void test_mistakes(void **state)
{
    static const char *const bad[] = {"", "all", "exec+", "exec,hart=x", "exec,hart=3-1", "exec,hart=4096",
                                      "exec,priv=h", "exec,priv=", "exec,addr=5-3", "exec,addr=5-", "exec,color=red",
                                      "hart=0"};

    (void)state;
    for (size_t n = 0; n < SIM_ARRAY_LEN(bad); n++) {
        struct trace_spec s;
        struct capture c;
        capture_begin(&c, STDERR_FILENO);
        enum sim_status status = trace_spec_parse("-trace", bad[n], &s);
        const char *said = capture_end(&c);
        assert_int_not_equal(status, SIM_OK);
        assert_ptr_equal(strchr(said, '\n'), said + strlen(said) - 1); /* one line */
        assert_non_null(strstr(said, "-trace"));
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_plain),
        cmocka_unit_test(test_filters),
        cmocka_unit_test(test_one_address),
        cmocka_unit_test(test_mistakes),
    };

    return cmocka_run_group_tests_name("launch.trace_spec", tests, NULL, NULL);
}
