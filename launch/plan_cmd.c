/* `partita plan`: any command line of `partita run`, and on which hosts.
 *
 *   own options | the rest -> cli_parse_run -> config
 *   hosts (here, or --topology) -> a topology per rank -> placement_make -> table, SVG or dot */
#include "plan_cmd.h"

#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "cli.h"
#include "keyval.h"
#include "placement.h"
#include "plan_view.h"
#include "run.h"
#include "sim-core/alloc.h"
#include "sim-core/log.h"

/* Owner: the main thread. */
struct plan_cmd {
    uint32_t nr_ranks; /* 0: one per host */
    const char *svg, *dot;
    bool executors, help;
    char **rest; /* words for cli_parse_run; not copied */
    int nr_rest;
    struct part_topology **host;
    uint32_t nr_hosts;
    struct part_topology **rank; /* by rank: one of the hosts'; borrowed */
};

/* --- options --- */

static enum sim_status apply_ranks(struct plan_cmd *p, const char *value)
{
    SIM_TRY(parse_u32("--ranks", value, &p->nr_ranks));
    if (p->nr_ranks >= 1 && p->nr_ranks <= PART_MAX_RANKS)
        return SIM_OK;
    sim_error("--ranks: '%s': 1 to %d ranks", value, PART_MAX_RANKS);
    return SIM_ERR_INVALID;
}

static void add_host(struct plan_cmd *p, struct part_topology *t)
{
    p->host = sim_realloc(p->host, (p->nr_hosts + 1) * sizeof(p->host[0]));
    p->host[p->nr_hosts++] = t;
}

/* Host of number nr_hosts, of which `t` is the shape; takes it. */
static void add_made_up_host(struct plan_cmd *p, struct part_topology *t)
{
    char name[32];

    snprintf(name, sizeof name, "host%" PRIu32, p->nr_hosts);
    part_topology_set_host(t, name);
    add_host(p, t);
}

static struct part_topology *copy_of(const struct part_topology *t)
{
    struct part_topology *copy = NULL;
    uint8_t *data;
    size_t len;

    part_topology_encode(t, &data, &len);
    SIM_BUG_ON(part_topology_decode("copy", data, len, &copy) != SIM_OK, "a topology of our own");
    sim_free(data);
    return copy;
}

/* "[N*]FILE.xml" or "[N*]pack:2 core:4 pu:2": N hosts of this shape. */
static enum sim_status apply_topology(struct plan_cmd *p, const char *value)
{
    struct part_topology *t;
    char *star;
    errno = 0;
    unsigned long n = strtoul(value, &star, 10);
    bool counted = star > value && *star == '*';

    if (counted && (errno || n < 1 || n > PART_MAX_RANKS - p->nr_hosts)) {
        sim_error("--topology: '%s': 1 to %d hosts", value, PART_MAX_RANKS);
        return SIM_ERR_INVALID;
    }
    SIM_TRY(part_topology_read(counted ? star + 1 : value, &t));
    for (unsigned long i = 1; counted && i < n; i++)
        add_made_up_host(p, copy_of(t));
    add_made_up_host(p, t);
    return SIM_OK;
}

static enum sim_status apply_svg(struct plan_cmd *p, const char *value)
{
    p->svg = value;
    return SIM_OK;
}

static enum sim_status apply_dot(struct plan_cmd *p, const char *value)
{
    p->dot = value;
    return SIM_OK;
}

static enum sim_status apply_executors(struct plan_cmd *p, const char *value)
{
    (void)value;
    p->executors = true;
    return SIM_OK;
}

static enum sim_status apply_help(struct plan_cmd *p, const char *value)
{
    (void)value;
    p->help = true;
    return SIM_OK;
}

static const struct {
    const char *name, *arg, *help; /* help NULL: not shown */
    enum sim_status (*apply)(struct plan_cmd *p, const char *value);
} options[] = {
    {"ranks", "N", "MPI ranks (default: one per host)", apply_ranks},
    {"topology", "[N*]WHAT", "N hosts of this shape: a file of 'lstopo --of xml', or hwloc's\n"
     "synthetic text; again for more (default: this host)", apply_topology},
    {"svg", "FILE", "draw it", apply_svg},
    {"dot", "FILE", "draw it as a graph for graphviz", apply_dot},
    {"executors", NULL, "list each executor with its core and harts", apply_executors},
    {"help", NULL, "this text", apply_help},
    {"h", NULL, NULL, apply_help},
};

static void print_help(FILE *out)
{
    fputs("Usage: partita plan [OPTION...] [OPTION OF partita run...]\n"
          "Shows which harts and which memory of a run each MPI rank would get, and on which cores.\n\n",
          out);
    for (size_t i = 0; i < SIM_ARRAY_LEN(options); i++) {
        char left[40];
        if (!options[i].help)
            continue;
        snprintf(left, sizeof left, "--%s %s", options[i].name, options[i].arg ? options[i].arg : "");
        const char *newline = strchr(options[i].help, '\n');
        int first = newline ? (int)(newline - options[i].help) : (int)strlen(options[i].help);
        fprintf(out, "  %-24s%.*s\n", left, first, options[i].help);
        if (newline)
            fprintf(out, "  %24s%s\n", "", newline + 1);
    }
    fputs("\nOf the options of 'partita run' these matter: -smp, -m, --threads, --harts-per-rank.\n"
          "A FILE of '-' is standard output, in place of the table.\n"
          "\nExamples\n"
          "  partita plan -smp 16 -m 4G --ranks 4\n"
          "  partita plan -smp 256 -m 64G --ranks 16 --topology \"2*pack:2 [numa] l3:4 core:8 pu:2\" \\\n"
          "      --svg plan.svg\n", out);
}

/* The option that a word names, or -1: it belongs to `partita run`. */
static int find_option(const char *word, const char **value)
{
    const char *name = word + strspn(word, "-");
    size_t len = strcspn(name, "=");

    if (name == word || name - word > 2)
        return -1;
    for (size_t i = 0; i < SIM_ARRAY_LEN(options); i++) {
        if (strlen(options[i].name) == len && strncmp(options[i].name, name, len) == 0) {
            *value = name[len] ? name + len + 1 : NULL;
            return (int)i;
        }
    }
    return -1;
}

static enum sim_status read_words(struct plan_cmd *p, int argc, char *const *argv)
{
    for (int i = 0; i < argc && !p->help; i++) {
        const char *value;
        int o = find_option(argv[i], &value);
        if (o < 0) {
            p->rest[p->nr_rest++] = argv[i];
            continue;
        }
        if (!options[o].arg && value)
            return option_reject(argv[i], value, "is one argument too many: it takes none");
        if (options[o].arg && !value && i + 1 == argc) {
            sim_error("%s: its argument is missing (%s)", argv[i], options[o].arg);
            return SIM_ERR_INVALID;
        }
        if (options[o].arg && !value)
            value = argv[++i];
        SIM_TRY(options[o].apply(p, value));
    }
    return SIM_OK;
}

/* The run's own words, which need not name anything to run: nothing is. */
static enum sim_status read_config(struct plan_cmd *p, struct config *c)
{
    static char nothing_runs[] = "--dump-config";

    p->rest[p->nr_rest++] = nothing_runs;
    if (cli_parse_run(p->nr_rest, p->rest, c) != CLI_RUN)
        return SIM_ERR_INVALID; /* told */
    if (!c->dtb)
        return SIM_OK;
    config_fini(c);
    sim_error("plan: -dtb is not possible: give -smp and -m instead");
    return SIM_ERR_INVALID;
}

/* --- hosts and ranks --- */

/* Ranks fill the hosts one after the other, as many on each as on the others. */
static enum sim_status place_ranks(struct plan_cmd *p)
{
    if (!p->nr_hosts) {
        struct part_topology *here;
        SIM_TRY(part_topology_read(NULL, &here));
        add_host(p, here);
    }
    if (!p->nr_ranks)
        p->nr_ranks = p->nr_hosts;
    if (p->nr_ranks < p->nr_hosts) {
        sim_error("--ranks: %" PRIu32 " ranks cannot be spread over %" PRIu32 " hosts", p->nr_ranks,
                  p->nr_hosts);
        return SIM_ERR_INVALID;
    }
    p->rank = sim_new_array(struct part_topology *, p->nr_ranks);
    for (uint32_t i = 0; i < p->nr_ranks; i++)
        p->rank[i] = p->host[(uint64_t)i * p->nr_hosts / p->nr_ranks];
    return SIM_OK;
}

/* --- output --- */

static enum sim_status write_drawing(const struct plan_view *v, const char *option, const char *path,
                                     void (*write)(const struct plan_view *, FILE *))
{
    if (strcmp(path, "-") == 0) {
        write(v, stdout);
        return SIM_OK;
    }
    FILE *f = fopen(path, "we");
    if (f)
        write(v, f);
    bool ok = f && !ferror(f);
    ok = f && fclose(f) == 0 && ok;
    if (ok)
        return SIM_OK;
    sim_error("%s: cannot write '%s': %m", option, path);
    return SIM_ERR_IO;
}

static enum sim_status show(const struct plan_cmd *p, const struct plan_view *v)
{
    bool to_stdout = (p->svg && strcmp(p->svg, "-") == 0) || (p->dot && strcmp(p->dot, "-") == 0);

    if (!to_stdout)
        plan_table_write(v, p->executors, stdout);
    if (p->svg)
        SIM_TRY(write_drawing(v, "--svg", p->svg, plan_svg_write));
    if (p->dot)
        SIM_TRY(write_drawing(v, "--dot", p->dot, plan_dot_write));
    return SIM_OK;
}

static enum sim_status plan_and_show(struct plan_cmd *p)
{
    struct config config;
    struct part_plan *plan = NULL;
    struct plan_view view;

    SIM_TRY(read_config(p, &config));
    const struct part_topology *const *topology = NULL;
    enum sim_status status = place_ranks(p);
    if (status == SIM_OK) {
        topology = (const struct part_topology *const *)p->rank;
        status = placement_make(&config, NULL, topology, p->nr_ranks, &plan);
    }
    if (status == SIM_OK) {
        plan_view_init(&view, plan, topology, config.memory);
        status = show(p, &view);
        plan_view_fini(&view);
        part_plan_destroy(plan);
    }
    config_fini(&config);
    return status;
}

int plan_command(int argc, char *const *argv)
{
    struct plan_cmd p = {.rest = sim_new_array(char *, argc + 1)};
    enum sim_status status = read_words(&p, argc, argv);

    if (status == SIM_OK && p.help)
        print_help(stdout);
    else if (status == SIM_OK)
        status = plan_and_show(&p);
    for (uint32_t i = 0; i < p.nr_hosts; i++)
        part_topology_destroy(p.host[i]);
    sim_free(p.host);
    sim_free(p.rank);
    sim_free(p.rest);
    return status == SIM_OK ? 0 : EXIT_CODE_USAGE;
}
