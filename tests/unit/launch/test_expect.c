/* --expect: pieces of serial output against regular expressions. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "capture.h"
#include "expect.h"
#include "sim-core/lock.h"

struct fixture {
    struct sim_io *io;
    struct expect *expect;
    struct chardev_tap tap;
    _Atomic int matched;
};

static void on_match(void *opaque)
{
    ((struct fixture *)opaque)->matched++;
}

static void begin(struct fixture *f, const char *regex)
{
    memset(f, 0, sizeof *f);
    assert_int_equal(sim_io_create(&f->io), SIM_OK);
    assert_int_equal(expect_create(f->io, regex, on_match, f, &f->expect), SIM_OK);
    f->tap = expect_add_stream(f->expect);
}

static void say(struct fixture *f, const char *text)
{
    f->tap.output(f->tap.opaque, (const uint8_t *)text, strlen(text));
}

static void end(struct fixture *f)
{
    sim_io_stop(f->io);
    expect_destroy(f->expect);
    sim_io_destroy(f->io);
}

/* Does it match after these pieces, at the end of the run? */
static bool matches(const char *regex, const char *a, const char *b)
{
    struct fixture f;

    begin(&f, regex);
    say(&f, a);
    say(&f, b);
    bool matched = expect_finish(f.expect);
    assert_int_equal(matched, f.matched);
    end(&f);
    return matched;
}

static void test_expect_lines(void **state)
{
    (void)state;
    assert_true(matches("BOOT-OK", "hello\r\nBOOT", "-OK\r\n"));
    assert_true(matches("^BOOT-OK$", "hello\r\nBOOT", "-OK\r\nmore"));
    assert_true(matches("login: $", "debian ", "login: "));
    assert_true(matches("a|b+c", "xxbbc\n", ""));
    assert_false(matches("^foo$", "foobar\n", ""));
    assert_false(matches("a.*b", "a\n", "b\n"));
    assert_false(matches("BOOT-OK", "BOOT-\r\nOK\r\n", ""));
    assert_false(matches("x", "", ""));
}

static bool wait_matched(struct fixture *f, unsigned ms)
{
    uint64_t until = sim_host_ns() + ms * 1000000ull;

    while (!f->matched && sim_host_ns() < until)
        sim_thread_yield();
    return f->matched;
}

static void test_expect_while_running(void **state)
{
    struct fixture f;

    (void)state;
    begin(&f, "^done [0-9]+");
    assert_int_equal(sim_io_start(f.io), SIM_OK);
    say(&f, "start\n");
    assert_false(wait_matched(&f, 20));
    say(&f, "don");
    say(&f, "e 7");
    assert_true(wait_matched(&f, 5000));
    say(&f, "\ndone 8\n"); /* only once */
    sim_io_stop(f.io);
    assert_true(expect_finish(f.expect));
    assert_int_equal(f.matched, 1);
    end(&f);
}

/* '$' fits an unfinished line only when output has paused. */
static void test_expect_prompt_after_a_pause(void **state)
{
    struct fixture f;

    (void)state;
    begin(&f, "=> $");
    assert_int_equal(sim_io_start(f.io), SIM_OK);
    say(&f, "=> ");
    assert_true(wait_matched(&f, 5000));
    end(&f);
    begin(&f, "^foo$");
    assert_int_equal(sim_io_start(f.io), SIM_OK);
    say(&f, "foo");
    say(&f, "bar");
    assert_false(wait_matched(&f, 400));
    end(&f);
}

static void test_expect_binary_and_endless(void **state)
{
    struct fixture f;
    char *blob = malloc(3 << 20);

    (void)state;
    memset(blob, 'x', 3 << 20);
    begin(&f, "needle");
    f.tap.output(f.tap.opaque, (const uint8_t *)blob, 3 << 20);
    f.tap.output(f.tap.opaque, (const uint8_t *)"\0needle\0", 8);
    assert_true(expect_finish(f.expect));
    end(&f);
    free(blob);
}

static void test_expect_streams_do_not_mix(void **state)
{
    struct fixture f;

    (void)state;
    begin(&f, "ab");
    struct chardev_tap other = expect_add_stream(f.expect);
    say(&f, "a");
    other.output(other.opaque, (const uint8_t *)"b", 1);
    assert_false(expect_finish(f.expect));
    say(&f, "b");
    assert_true(expect_finish(f.expect));
    end(&f);
}

static void test_expect_bad_regex(void **state)
{
    struct sim_io *io;
    struct expect *e;
    struct capture c;

    (void)state;
    assert_int_equal(sim_io_create(&io), SIM_OK);
    capture_begin(&c, 2);
    assert_int_equal(expect_create(io, "a(b", on_match, NULL, &e), SIM_ERR_INVALID);
    assert_non_null(strstr(capture_end(&c), "--expect: 'a(b'"));
    sim_io_destroy(io);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_expect_lines),
        cmocka_unit_test(test_expect_while_running),
        cmocka_unit_test(test_expect_prompt_after_a_pause),
        cmocka_unit_test(test_expect_binary_and_endless),
        cmocka_unit_test(test_expect_streams_do_not_mix),
        cmocka_unit_test(test_expect_bad_regex),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
