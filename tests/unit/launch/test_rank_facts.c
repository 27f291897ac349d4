/* What ranks tell each other of their command lines, and options that mean nothing on as many ranks as there are. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "capture.h"
#include "cli.h"
#include "rank_facts.h"

static void read_line(const char *line, struct config *c)
{
    static char text[2][1024];
    static unsigned turn;
    char *words[32], *rest = text[turn ^= 1];
    int n = 0;

    snprintf(rest, sizeof text[0], "%s", line);
    while ((words[n] = strsep(&rest, " ")) != NULL)
        n++;
    assert_int_equal(cli_parse_run(n, words, c), CLI_RUN);
}

#define LONG_WORDS "0123456789-0123456789-0123456789-0123456789-0123456789-0123456789-0123456789-0123456789-"

/* Two lines, and the one fact in which they differ; NULL: they may be told from each other in nothing. */
static const struct {
    const char *first, *other, *fact;
} pairs[] = {
    {"--demo -smp 2", "--demo -smp 2 -timeout 5 --stats -accel interp", NULL},
    {"--demo -smp 2", "--demo -smp 3", "-smp"},
    {"--demo -m 64M", "--demo -m 65540K", "-m"},
    {"--demo", "--demo -cpu rv64,sv57=off", "-cpu"},
    {"-kernel /nonexistent", "-kernel /dev/null", "kernel file"},
    {"-kernel /nonexistent -append a", "-kernel /nonexistent -append b", "-append"},
    {"-kernel /nonexistent -append " LONG_WORDS "a", "-kernel /nonexistent -append " LONG_WORDS "b", "-append"},
    {"-kernel /nonexistent -append " LONG_WORDS "a", "-kernel /nonexistent -append " LONG_WORDS "a", NULL},
    {"-kernel /nonexistent -bios none", "-kernel /nonexistent", "-bios"},
    /* each rank makes its own plan of these */
    {"--demo -smp 4 -harts-per-rank 1,3", "--demo -smp 4 -harts-per-rank 2,2", "-harts-per-rank"},
    {"--demo -smp 4 -harts-per-rank 2,2", "--demo -smp 4", "-harts-per-rank"},
    {"--demo -threads 1", "--demo -threads 2", "-threads"},
    {"--demo -bind off", "--demo", "-bind"},
    {"--demo -rebalance homes", "--demo -rebalance off", "-rebalance"},
    {"--demo", "--demo --clock virtual", "-clock"},
};

static void test_facts_differ_where_the_lines_do(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof pairs / sizeof pairs[0]; i++) {
        struct config first, other;
        struct ic_fact a[RANK_FACTS], b[RANK_FACTS];
        const char *found = NULL;
        read_line(pairs[i].first, &first);
        read_line(pairs[i].other, &other);
        unsigned nr = rank_facts(&first, a);
        assert_int_equal(rank_facts(&other, b), nr);
        for (unsigned f = 0; f < nr; f++) {
            assert_string_equal(a[f].name, b[f].name);
            if (strcmp(a[f].value, b[f].value) == 0)
                continue;
            if (found)
                fail_msg("'%s' and '%s' differ in %s and %s", pairs[i].first, pairs[i].other, found, a[f].name);
            found = a[f].name;
        }
        if (!found != !pairs[i].fact || (found && strcmp(found, pairs[i].fact) != 0))
            fail_msg("'%s' and '%s' differ in %s", pairs[i].first, pairs[i].other, found ? found : "nothing");
        config_fini(&first);
        config_fini(&other);
    }
}

/* Of a restored machine the image is told instead of files, and how it is placed as of any other. */
static void test_facts_of_an_image(void **state)
{
    struct config c;
    struct ic_fact fact[RANK_FACTS];
    bool image = false, placed = false;

    (void)state;
    read_line("--demo -smp 2 -harts-per-rank 1,1", &c);
    c.tree.fdt = &c;
    strcpy(c.tree.image, "4711");
    for (unsigned n = rank_facts(&c, fact); n--;) {
        image |= strcmp(fact[n].name, "image") == 0 && strcmp(fact[n].value, "4711") == 0;
        placed |= strcmp(fact[n].name, "-harts-per-rank") == 0 && strcmp(fact[n].value, "1,1") == 0;
        assert_string_not_equal(fact[n].name, "kernel file");
    }
    assert_true(image);
    assert_true(placed);
    c.tree.fdt = NULL;
    config_fini(&c);
}

/* An option on a number of ranks, 0 for a machine alone, and what is said of it; NULL: it is well. */
static const struct {
    const char *line;
    uint32_t nr_ranks;
    const char *said;
} uses[] = {
    {"--demo --clock virtual", 0, NULL},
    {"--demo --clock virtual", 1, "without mpirun"},
    {"--demo --clock virtual", 2, "--clock virtual"},
    {"--demo --state-hash", 0, NULL},
    {"--demo --state-hash", 2, "--state-hash"},
    {"--demo -bind on", 0, "-bind on"},
    {"--demo -bind off", 0, NULL},
    {"--demo -bind on", 1, NULL},
    {"--demo -smp 2 -harts-per-rank 1,1", 0, "-harts-per-rank"},
    {"--demo -smp 2 -harts-per-rank 2", 0, NULL},
    {"--demo -smp 2 -harts-per-rank 1,1", 2, NULL},
};

static void test_options_that_mean_nothing(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof uses / sizeof uses[0]; i++) {
        for (int loud = 0; loud < 2; loud++) {
            struct config c;
            struct capture said;
            read_line(uses[i].line, &c);
            capture_begin(&said, 2);
            enum sim_status status = rank_options_check(&c, uses[i].nr_ranks, loud);
            const char *text = capture_end(&said);
            config_fini(&c);
            if ((status == SIM_OK) != !uses[i].said)
                fail_msg("'%s' on %u ranks: status %d", uses[i].line, uses[i].nr_ranks, status);
            if (uses[i].said && loud ? !strstr(text, uses[i].said) : *text != 0)
                fail_msg("'%s' on %u ranks: said '%s'", uses[i].line, uses[i].nr_ranks, text);
        }
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_facts_differ_where_the_lines_do),
        cmocka_unit_test(test_facts_of_an_image),
        cmocka_unit_test(test_options_that_mean_nothing),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
