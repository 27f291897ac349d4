/* `partita plan`: what the table says, that the drawings are well-formed, and what is said of bad lines. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <ctype.h>
#include <stdlib.h>
#include <string.h>

#include "capture.h"
#include "plan_cmd.h"

enum { MAX_WORDS = 32 };

/* Runs a line; words end at spaces, '~' stands for a space within one. Returns the exit code. */
static int run(const char *text, struct capture *c, int fd)
{
    char line[1024], *argv[MAX_WORDS];
    int argc = 0;

    snprintf(line, sizeof line, "%s", text);
    for (char *word = strtok(line, " "); word; word = strtok(NULL, " ")) {
        for (char *p = word; *p; p++)
            if (*p == '~')
                *p = ' ';
        argv[argc++] = word;
    }
    capture_begin(c, fd);
    int code = plan_command(argc, argv);
    capture_end(c);
    return code;
}

static void test_plan_table(void **state)
{
    (void)state;
    static struct capture c;
    static const char want[] =
        "16 harts and 4 GiB over 4 ranks on 2 hosts\n"
        "\n"
        "host 0, host0: 1 package, 2 NUMA domains (16 GiB), 2 L3 caches, 8 cores, 16 CPUs\n"
        "  rank  node  harts  executors  on CPUs  NUMA  guest memory\n"
        "     0     0  0-3            4  0-7      0     0x080000000-0x0bfffffff  1 GiB\n"
        "     1     1  4-7            4  8-15     1     0x0c0000000-0x0ffffffff  1 GiB\n"
        "  its ranks lend each other cores that are idle, up to 4 to one\n"
        "\n"
        "host 1, host1: 1 package, 2 NUMA domains (16 GiB), 2 L3 caches, 8 cores, 16 CPUs\n"
        "  rank  node  harts  executors  on CPUs  NUMA  guest memory\n"
        "     2     2  8-11           4  0-7      0     0x100000000-0x13fffffff  1 GiB\n"
        "     3     3  12-15          4  8-15     1     0x140000000-0x17fffffff  1 GiB\n"
        "  its ranks lend each other cores that are idle, up to 4 to one\n"
        "\n"
        "The guest sees 4 NUMA nodes, at these distances:\n"
        "  node    0    1    2    3\n"
        "     0   10   20   40   40\n"
        "     1   20   10   40   40\n"
        "     2   40   40   10   20\n"
        "     3   40   40   20   10\n"
        "\n"
        "Devices are on rank 0. Plan ";

    assert_int_equal(run("-smp 16 -m 4G --ranks 4 "
                         "--topology 2*pack:1~group:2~[numa(memory=8GiB)]~l3:1~core:4~pu:2", &c, 1), 0);
    if (strncmp(c.text, want, sizeof want - 1) != 0)
        fail_msg("the table is:\n%s", c.text);
}

/* Subset of lines, for all that a table can say. */
static const struct {
    const char *line, *want[3];
} tables[] = {
    {"-smp 5", {"5 harts and 128 MiB over 1 rank on 1 host\n", "Devices are on rank 0"}},
    {"-smp 16 -m 3G --ranks 3 --topology core:2~pu:1",
     {"note: fewer cores than ranks", "  not bound  ", "6-10"}},
    {"-smp 8 -m 4G --topology pack:1~[numa(memory=2GiB)]~core:2~pu:1",
     {"note: its ranks keep 4 GiB of guest memory, the host has 2 GiB"}},
    {"-smp 8 --ranks 2 --topology core:6~pu:1 --executors",
     {"          3 spare, for cores 3-5 when they are idle\n", "          3 spare, for cores 0-2 when they are idle\n",
      "  its ranks lend each other cores that are idle, up to 3 to one\n"}},
    {"-smp 8 --ranks 2 --topology core:2~pu:2 --executors",
     {"executor 0 on core 1: harts 4-7\n", "executor 0 on core 0: harts 0-3\n"}},
    {"-smp 8 --ranks=2 --harts-per-rank 7,1 --topology core:4~pu:1", {"harts", "  0-6  ", "  7  "}},
    {"-smp 8 --ranks 2 --threads 1 --topology core:8~pu:1 --executors",
     {"executor 0 on core 4: harts 4-7\n"}},
    {"-smp 32 --ranks 8 --topology core:8~pu:1", {"The guest sees 4 NUMA nodes", "     7     3  28-31"}},
    {"-kernel Image -append x -smp 2 -drive file=d.img", {"2 harts"}},
    {"--help", {"Usage: partita plan", "--topology"}},
};

static void test_plan_tables(void **state)
{
    (void)state;
    static struct capture c;

    for (size_t i = 0; i < sizeof tables / sizeof tables[0]; i++) {
        assert_int_equal(run(tables[i].line, &c, 1), 0);
        for (unsigned n = 0; n < 3 && tables[i].want[n]; n++)
            if (!strstr(c.text, tables[i].want[n]))
                fail_msg("'%s' lacks '%s':\n%s", tables[i].line, tables[i].want[n], c.text);
    }
}

/* Each line must be refused with exactly one message that has all of `said`. */
static const struct {
    const char *line, *said[3];
} bad[] = {
    {"-smp 3 --ranks 4", {"3 harts", "4 ranks"}},
    {"--ranks 0", {"--ranks", "'0'"}},
    {"--ranks many", {"--ranks", "'many'"}},
    {"--ranks", {"--ranks", "missing"}},
    {"--ranks 2 --topology 3*pu:1", {"2 ranks", "3 hosts"}},
    {"--topology 0*pu:1", {"--topology", "'0*pu:1'"}},
    {"--topology 99999999999999999999*pu:1", {"--topology", "1 to 4096"}},
    {"--topology nonsense", {"topology 'nonsense'", "lstopo"}},
    {"--topology /nonexistent.xml", {"/nonexistent.xml", "cannot be read"}},
    {"--executors=yes", {"--executors", "yes"}},
    {"-smp 8 --ranks 2 --harts-per-rank 8", {"-harts-per-rank", "1 numbers", "2 ranks"}},
    {"-smp 8 --ranks 2 --harts-per-rank 4,5", {"9 harts", "-smp 8"}},
    {"-smp x", {"-smp", "'x'"}},
    {"--rnaks 3", {"unknown option"}},
    {"-dtb x.dtb", {"-dtb"}},
};

static void test_plan_bad_lines(void **state)
{
    (void)state;
    static struct capture c;

    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        assert_int_equal(run(bad[i].line, &c, 2), 2);
        const char *end = strchr(c.text, '\n');
        if (!end || end[1])
            fail_msg("'%s' should be told once: %s", bad[i].line, c.text);
        for (unsigned n = 0; n < 3 && bad[i].said[n]; n++)
            if (!strstr(c.text, bad[i].said[n]))
                fail_msg("'%s': no '%s' in: %s", bad[i].line, bad[i].said[n], c.text);
    }
}

/* --- drawings --- */

static char *slurp(const char *path)
{
    static char text[1 << 22];
    FILE *f = fopen(path, "r");

    assert_non_null(f);
    text[fread(text, 1, sizeof text - 1, f)] = 0;
    assert_true(feof(f));
    fclose(f);
    unlink(path);
    return text;
}

static char *draw(const char *line, const char *option)
{
    static struct capture c;
    char path[] = "/tmp/partita-plan-XXXXXX", whole[512];
    int fd = mkstemp(path);

    assert_true(fd >= 0);
    close(fd);
    snprintf(whole, sizeof whole, "%s %s %s", line, option, path);
    assert_int_equal(run(whole, &c, 1), 0);
    assert_non_null(strstr(c.text, "harts")); /* the table as well */
    return slurp(path);
}

static unsigned count(const char *text, const char *what)
{
    unsigned n = 0;

    for (; (text = strstr(text, what)); text += strlen(what))
        n++;
    return n;
}

/* Every element that is opened is closed, in order; '<' and '&' only where they belong; ASCII. */
static void assert_well_formed(const char *text)
{
    char stack[64][16];
    unsigned depth = 0;

    for (const char *p = strstr(text, "<svg"); *p; p++) {
        assert_true((*p >= 0x20 && *p < 0x7f) || *p == '\n');
        if (*p == '&')
            assert_int_equal(p[1], '#');
        if (*p != '<')
            continue;
        const char *end = strchr(p, '>');
        assert_non_null(end);
        char name[16] = "";
        sscanf(p + 1 + (p[1] == '/'), "%15[a-z]", name);
        assert_true(name[0]);
        if (p[1] == '/') {
            assert_true(depth > 0);
            assert_string_equal(stack[--depth], name);
        } else if (end[-1] != '/') {
            assert_true(depth < 64);
            strcpy(stack[depth++], name);
        }
        p = end;
    }
    assert_int_equal(depth, 0);
}

static void test_plan_svg(void **state)
{
    (void)state;
    char *svg = draw("-smp 16 -m 4G --ranks 4 --topology 2*pack:2~[numa]~l3:2~core:2~pu:2", "--svg");

    assert_well_formed(svg);
    assert_int_equal(count(svg, "class=\"head\">host "), 2);
    assert_int_equal(count(svg, "class=\"bold\">rank "), 4);
    assert_int_equal(count(svg, "<title>L3 cache "), 8);
    assert_int_equal(count(svg, "<title>core "), 16);
    assert_non_null(strstr(svg, "<title>core 4: rank 1, executor 0, harts 4</title>"));
    assert_int_equal(count(svg, "class=\"chip\""), 16); /* each hart once */
    assert_int_equal(count(svg, ">40</text>"), 8);
}

/* Executors without a core of their own, and more cores than can be written on. */
static void test_plan_svg_extremes(void **state)
{
    (void)state;
    char *svg = draw("-smp 19 --ranks 3 --topology core:2~pu:1", "--svg");

    assert_well_formed(svg);
    assert_int_equal(count(svg, "<title>exec 0: rank "), 3);
    assert_int_equal(count(svg, ">not bound</text>"), 3);
    svg = draw("-smp 4096 -m 1024G --ranks 512 --topology "
               "64*pack:2~group:4~[numa(memory=64GiB)]~l3:1~core:8~pu:2", "--svg");
    assert_well_formed(svg);
    assert_int_equal(count(svg, "<title>core "), 4096);
    svg = draw("-smp 1 -m 1M --topology pu:1", "--svg");
    assert_well_formed(svg);
}

static void test_plan_dot(void **state)
{
    (void)state;
    char *dot = draw("-smp 16 -m 4G --ranks 4 --topology 2*pack:2~[numa]~l3:2~core:2~pu:2", "--dot");

    assert_int_equal(count(dot, "{"), count(dot, "}"));
    assert_int_equal(count(dot, "<tr>"), count(dot, "</tr>"));
    assert_int_equal(count(dot, "subgraph cluster_h"), 2);
    assert_int_equal(count(dot, "<td>executor "), 16);
    assert_int_equal(count(dot, " -- "), 6);
    assert_non_null(strstr(dot, "r0 -- r2 [label=\"40\", style=dashed]"));
}

static void test_plan_drawing_to_stdout(void **state)
{
    (void)state;
    static struct capture c;

    assert_int_equal(run("-smp 2 --topology core:2~pu:1 --dot -", &c, 1), 0);
    assert_int_equal(strncmp(c.text, "graph plan {", 12), 0);
    assert_int_equal(run("-smp 2 --topology core:2~pu:1 --svg /nonexistent/x.svg", &c, 2), 2);
    assert_non_null(strstr(c.text, "--svg: cannot write '/nonexistent/x.svg'"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_plan_table),
        cmocka_unit_test(test_plan_tables),
        cmocka_unit_test(test_plan_bad_lines),
        cmocka_unit_test(test_plan_svg),
        cmocka_unit_test(test_plan_svg_extremes),
        cmocka_unit_test(test_plan_dot),
        cmocka_unit_test(test_plan_drawing_to_stdout),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
