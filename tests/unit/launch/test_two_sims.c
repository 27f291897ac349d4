/* Two simulations in one process, running at once: each boots the built-in demo on its own executors. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "loader.h"
#include "machine.h"
#include "partition/executor.h"
#include "sim-core/alloc.h"

#define MIB (1ull << 20)

/* ThreadSanitizer does not see what translated code orders. */
#if defined(__SANITIZE_THREAD__)
enum { HAVE_JIT = 0 };
#else
enum { HAVE_JIT = 1 };
#endif

struct simulation {
    struct config config;
    struct sim *sim;
    struct machine *machine;
    struct executor_group *group;
    char output[32];
};

static void begin(struct simulation *s, uint32_t harts, bool jit)
{
    const struct executor_config executors = {.nr_threads = 2};

    strcpy(s->output, "/tmp/partita-sim-XXXXXX");
    int fd = mkstemp(s->output);
    assert_true(fd >= 0);
    close(fd);
    config_init(&s->config);
    s->config.demo = true;
    s->config.smp = harts;
    s->config.memory = 64 * MIB;
    s->config.jit = jit && HAVE_JIT;
    s->config.serial[s->config.nr_serials++] = sim_asprintf("file:%s", s->output);
    assert_int_equal(sim_create(&s->sim), SIM_OK);
    assert_int_equal(machine_create(s->sim, &s->config, NULL, &s->machine), SIM_OK);
    assert_int_equal(loader_load(s->machine), SIM_OK);
    assert_int_equal(sim_io_start(s->sim->io), SIM_OK);
    assert_int_equal(executor_group_create(s->sim, &executors, &s->group), SIM_OK);
    assert_int_equal(executor_group_start(s->group), SIM_OK);
}

static void check_output(const struct simulation *s)
{
    char text[8192], *harts = sim_asprintf("harts     %u hart", s->config.smp);
    FILE *f = fopen(s->output, "r");

    assert_non_null(f);
    text[fread(text, 1, sizeof text - 1, f)] = 0;
    fclose(f);
    if (!strstr(text, "78,498 primes below 1,000,000: right") || !strstr(text, harts))
        fail_msg("the demo of %u harts says: %s", s->config.smp, text);
    sim_free(harts);
}

static void destroy(struct simulation *s)
{
    executor_group_stop(s->group);
    executor_group_destroy(s->group);
    sim_io_stop(s->sim->io);
    machine_destroy(s->machine);
    sim_destroy(s->sim);
    unlink(s->output);
    config_fini(&s->config);
}

/* The guest's own power-off, after it has said the right thing. */
static void expect_right_end(struct simulation *s)
{
    int code = -1;

    assert_int_equal(sim_wait_end(s->sim, &code), SIM_END_POWEROFF);
    assert_int_equal(code, 0);
    executor_group_stop(s->group);
    for (unsigned i = 0; i < s->machine->nr_serials; i++)
        chardev_flush(s->machine->serial[i]);
    check_output(s);
}

static void test_both_run_to_their_end(void **state)
{
    struct simulation a = {0}, b = {0};

    (void)state;
    begin(&a, 2, true);
    begin(&b, 3, true);
    expect_right_end(&a);
    expect_right_end(&b);
    destroy(&a);
    destroy(&b);
}

/* One comes and goes while the other runs: nothing of a dead simulation is anyone else's. */
static void test_one_outlives_the_others(void **state)
{
    struct simulation a = {0}, b = {0}, c = {0};

    (void)state;
    begin(&a, 4, false);
    begin(&b, 1, true);
    sim_request_end(b.sim, SIM_END_USER, 0); /* wherever its guest is */
    destroy(&b);
    begin(&c, 3, true);
    expect_right_end(&c);
    destroy(&c);
    expect_right_end(&a);
    destroy(&a);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_both_run_to_their_end),
        cmocka_unit_test(test_one_outlives_the_others),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
