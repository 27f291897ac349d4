/* What a thread has said is told to somebody who does not see stderr. */
#include "sim_test.h"

#include "sim-core/alloc.h"
#include "sim-core/log.h"

static void first_error_is(const struct sim_log_kept *kept, const char *text)
{
    char *first = sim_log_first_error(kept);

    if (text)
        assert_string_equal(first, text);
    else
        assert_null(first);
    sim_free(first);
}

static void test_the_first_error_is_the_reason(void **state)
{
    struct sim_log_kept kept = {0};

    (void)state;
    first_error_is(&kept, NULL);
    sim_log_keep(&kept);
    sim_info("it begins");
    sim_warn("error: this is a warning");
    first_error_is(&kept, NULL);
    sim_error("'%s': no such thing", "x");
    sim_error("it was not done");
    sim_log_keep_end();
    first_error_is(&kept, "'x': no such thing");
}

static void test_what_was_kept_is_forgotten_when_it_begins_again(void **state)
{
    struct sim_log_kept kept = {0};

    (void)state;
    sim_log_keep(&kept);
    sim_error("once");
    sim_log_keep(&kept);
    sim_log_keep_end();
    first_error_is(&kept, NULL);
}

static void test_lines_that_do_not_fit_are_left_out(void **state)
{
    struct sim_log_kept kept = {0};
    char longish[1500];

    (void)state;
    memset(longish, 'x', sizeof longish);
    longish[sizeof longish - 1] = 0;
    sim_log_keep(&kept);
    sim_warn("%s", longish);
    sim_error("%s", longish);
    sim_error("short");
    sim_log_keep_end();
    first_error_is(&kept, "short");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_the_first_error_is_the_reason),
        cmocka_unit_test(test_what_was_kept_is_forgotten_when_it_begins_again),
        cmocka_unit_test(test_lines_that_do_not_fit_are_left_out),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
