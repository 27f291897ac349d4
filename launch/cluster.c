/* Several machines in one process: each has its own simulation on a thread of its own, of whatever kind (RISC-V translated,
 * x86-64 on KVM), on one rank or over several.
 *
 *   file -> words -> cli_parse_run, as `partita run` does -> a config each -> a thread each: run_peer
 *   set up ... ready: all are -> network segments joined, consoles -> run ... stopped: none runs -> torn down
 *
 * What the machines write to their consoles goes to stdout by lines, each after its machine's name. One that fails ends
 * all; so does the end of the one that the file's `until` names. */
#include "cluster.h"

#include <stdio.h>
#include <string.h>

#include "cli.h"
#include "cluster_addresses.h"
#include "cluster_file.h"
#include "interconnect/interconnect.h"
#include "machine.h"
#include "run.h"
#include "signals.h"
#include "sim-core/alloc.h"
#include "sim-core/lock.h"
#include "sim-core/log.h"

enum member_state { SETTING_UP, READY, STOPPED };
enum { LINE_MAX_BYTES = 4096 };

struct member {
    struct cluster *c;
    const char *name;
    struct config config;
    struct run_peers peers;
    struct sim_thread thread;
    enum member_state state;
    bool ended_by_us;
    struct run *run; /* while READY */
    char line[LINE_MAX_BYTES]; /* of the console, so far; under out_lock */
    size_t len;
};

struct segment {
    const char *name;
    struct netdev_segment *segment;
};

/* `lock` guards states and the outcome. Lifetime: the command's. */
struct cluster {
    struct cluster_file file;
    struct member *m;
    unsigned nr;
    struct sim_mutex lock;
    struct sim_cond changed;
    struct sim_mutex out_lock; /* stdout; leaf */
    struct segment *segment;
    unsigned nr_segments;
    const struct member *decisive; /* whose end was that of all; NULL: all go on, or ended by themselves */
    bool ending;                   /* no machine shall run any more */
    int code;
};

/* --- consoles --- */

static void put_line(struct member *m)
{
    size_t len = m->len;

    while (len && m->line[len - 1] == '\r')
        len--;
    printf("%s: %.*s\n", m->name, (int)len, m->line);
    m->len = 0;
}

static void on_output(void *opaque, const uint8_t *data, size_t len)
{
    struct member *m = opaque;

    sim_mutex_lock(&m->c->out_lock);
    for (size_t i = 0; i < len; i++) {
        if (data[i] != '\n')
            m->line[m->len++] = (char)data[i];
        if (data[i] == '\n' || m->len == sizeof m->line)
            put_line(m);
    }
    fflush(stdout);
    sim_mutex_unlock(&m->c->out_lock);
}

/* What would be the terminal's. */
static void take_console(char **spec)
{
    if (*spec && strcmp(*spec, "stdio") == 0)
        config_set_string(spec, "null");
}

static void listen_to(struct member *m, struct chardev *c)
{
    const struct chardev_tap tap = {on_output, m};

    if (c)
        chardev_add_tap(c, &tap);
}

static void listen_to_consoles(struct member *m, const struct machine *machine)
{
    for (unsigned i = 0; i < machine->nr_serials; i++)
        if (i >= m->config.nr_serials || strcmp(m->config.serial[i], "null") == 0)
            listen_to(m, machine->serial[i]);
    if (m->config.virtconsole && strcmp(m->config.virtconsole, "null") == 0)
        listen_to(m, machine->virtconsole);
}

/* --- the network --- */

/* Each segment loses other frames than the others. */
static struct netdev_link link_of(const struct cluster *c, const char *name)
{
    for (unsigned i = 0; i < c->file.nr_segments; i++) {
        const struct cluster_segment *s = &c->file.segment[i];
        if (strcmp(s->name, name) == 0)
            return (struct netdev_link){s->latency_ns, s->loss_ppm, c->file.seed + i};
    }
    return (struct netdev_link){0};
}

static struct netdev_segment *segment_of(struct cluster *c, const char *name)
{
    for (unsigned i = 0; i < c->nr_segments; i++)
        if (strcmp(c->segment[i].name, name) == 0)
            return c->segment[i].segment;
    const struct netdev_link link = link_of(c, name);
    c->segment = sim_realloc(c->segment, (c->nr_segments + 1) * sizeof c->segment[0]);
    c->segment[c->nr_segments] = (struct segment){name, netdev_segment_create(&link)};
    return c->segment[c->nr_segments++].segment;
}

static void join_segments(struct cluster *c, const struct machine *m)
{
    for (unsigned i = 0; i < m->config->nr_nets; i++) {
        const char *name = m->net[i] ? netdev_segment_name(m->net[i]) : NULL;
        if (name)
            netdev_segment_join(segment_of(c, name), m->net[i]);
    }
}

/* --- together --- */

static void end_others_locked(struct cluster *c, const struct member *m, int code)
{
    if (c->ending)
        return;
    c->ending = true;
    c->decisive = m;
    c->code = code;
    for (unsigned i = 0; i < c->nr; i++) {
        if (&c->m[i] == m || !c->m[i].run)
            continue;
        c->m[i].ended_by_us = true;
        run_end_peer(c->m[i].run, code);
    }
    sim_cond_broadcast(&c->changed);
}

static bool all_are(const struct cluster *c, enum member_state state)
{
    for (unsigned i = 0; i < c->nr; i++)
        if (c->m[i].state < state)
            return false;
    return true;
}

static bool on_ready(void *opaque, struct run *run, struct machine *machine)
{
    struct member *m = opaque;
    struct cluster *c = m->c;

    sim_mutex_lock(&c->lock);
    listen_to_consoles(m, machine);
    join_segments(c, machine);
    m->state = READY;
    sim_cond_broadcast(&c->changed);
    while (!c->ending && !all_are(c, READY))
        sim_cond_wait(&c->changed, &c->lock);
    bool go = !c->ending;
    if (go)
        m->run = run;
    else
        m->state = STOPPED;
    sim_cond_broadcast(&c->changed);
    while (!go && !all_are(c, STOPPED)) /* others may still send to this one's network cards */
        sim_cond_wait(&c->changed, &c->lock);
    sim_mutex_unlock(&c->lock);
    return go;
}

static void on_stopped(void *opaque, int code)
{
    struct member *m = opaque;
    struct cluster *c = m->c;

    sim_mutex_lock(&c->lock);
    m->state = STOPPED;
    m->run = NULL;
    if (!m->ended_by_us && (code || (c->file.until && strcmp(c->file.until, m->name) == 0)))
        end_others_locked(c, m, code);
    sim_cond_broadcast(&c->changed);
    while (!all_are(c, STOPPED))
        sim_cond_wait(&c->changed, &c->lock);
    sim_mutex_unlock(&c->lock);
}

static void on_signal(void *opaque, int sig)
{
    struct member *m = opaque;

    if (sig == SIGUSR1)
        return; /* an image, of which a cluster has none */
    sim_mutex_lock(&m->c->lock);
    end_others_locked(m->c, NULL, EXIT_CODE_SIGNAL + sig);
    sim_mutex_unlock(&m->c->lock);
}

static void *member_main(void *arg)
{
    struct member *m = arg;
    struct cluster *c = m->c;
    int code = run_peer(&m->config, &m->peers);

    sim_mutex_lock(&c->lock);
    if (m->state != STOPPED) { /* it did not come to run */
        m->state = STOPPED;
        end_others_locked(c, m, code ? code : EXIT_CODE_INTERNAL);
        sim_cond_broadcast(&c->changed);
    }
    sim_mutex_unlock(&c->lock);
    return NULL;
}

/* --- setting up --- */

/* What only makes sense for a machine alone. */
static enum sim_status check_config(const struct member *m)
{
    const struct config *c = &m->config;
    const struct {
        bool wrong;
        const char *what;
    } rules[] = {
        {c->checkpoint.dir, "images of a cluster are not made (--checkpoint-dir)"},
        {c->dump_dtb || c->dump_config, "-dumpdtb and --dump-config are for `partita run`"},
        {c->control, "--control is for `partita run`"},
    };

    for (size_t i = 0; i < SIM_ARRAY_LEN(rules); i++) {
        if (rules[i].wrong) {
            sim_error("machine '%s': %s", m->name, rules[i].what);
            return SIM_ERR_UNSUPPORTED;
        }
    }
    return SIM_OK;
}

/* What the command line's reader said, as of this machine. */
static void repeat(const struct member *m, char *said)
{
    static const char prefix[] = "partita: error: ";

    for (char *line = strtok_r(said, "\n", &said); line; line = strtok_r(NULL, "\n", &said))
        sim_error("machine '%s': %s", m->name, line + (strncmp(line, prefix, sizeof prefix - 1) ? 0 : sizeof prefix - 1));
}

static enum sim_status parse(struct member *m, const struct cluster_machine *words)
{
    struct sim_log_kept said = {0};

    sim_log_keep(&said);
    enum cli_action action = cli_parse_run(words->nr_words, words->word, &m->config);
    sim_log_keep_end();
    if (action == CLI_RUN) {
        sim_log_write_kept(&said);
        return SIM_OK;
    }
    if (action == CLI_BAD)
        repeat(m, said.text);
    return SIM_ERR_INVALID;
}

static enum sim_status read_member(struct cluster *c, unsigned n)
{
    const struct cluster_machine *words = &c->file.machine[n];
    struct member *m = &c->m[n];

    *m = (struct member){.c = c,
                         .name = words->name,
                         .peers = {on_ready, on_stopped, n == 0 ? on_signal : NULL, m}};
    SIM_TRY(parse(m, words));
    c->nr++;
    for (unsigned i = 0; i < m->config.nr_serials; i++)
        take_console(&m->config.serial[i]);
    take_console(&m->config.virtconsole);
    return check_config(m);
}

static enum sim_status read_members(struct cluster *c)
{
    c->m = sim_new_array(struct member, c->file.nr_machines);
    for (unsigned i = 0; i < c->file.nr_machines; i++)
        SIM_TRY(read_member(c, i));
    struct config **configs = sim_new_array(struct config *, c->nr);
    for (unsigned i = 0; i < c->nr; i++)
        configs[i] = &c->m[i].config;
    cluster_addresses_choose(configs, c->nr);
    sim_free(configs);
    return SIM_OK;
}

static bool is_on_segment(const struct config *config, const char *name)
{
    static const char prefix[] = "segment,name=";

    for (unsigned i = 0; i < config->nr_nets; i++)
        if (strncmp(config->net[i].backend, prefix, sizeof prefix - 1) == 0 &&
            strcmp(config->net[i].backend + sizeof prefix - 1, name) == 0)
            return true;
    return false;
}

/* A segment that the file describes and nobody is on is a slip of the pen. */
static enum sim_status check_segments(const struct cluster *c, const char *path)
{
    for (unsigned i = 0; i < c->file.nr_segments; i++) {
        const struct cluster_segment *s = &c->file.segment[i];
        bool used = false;
        for (unsigned k = 0; k < c->nr; k++)
            used |= is_on_segment(&c->m[k].config, s->name);
        if (!used) {
            sim_error("cluster file '%s', line %zu: no machine is on the segment '%s'", path, s->line, s->name);
            return SIM_ERR_INVALID;
        }
    }
    return SIM_OK;
}

/* --- running --- */

static void say_end(const struct cluster *c)
{
    for (unsigned i = 0; i < c->nr; i++)
        if (c->m[i].len)
            put_line(&c->m[i]);
    fflush(stdout);
    if (c->decisive && c->nr > 1)
        sim_info("machine '%s' has ended with exit code %d, and so all have", c->decisive->name, c->code);
}

static int run_all(struct cluster *c)
{
    unsigned started = 0;
    sigset_t previous;

    signals_block(&previous); /* the first machine's thread waits for them */
    sim_mutex_init(&c->lock, SIM_RANK_LAUNCH);
    sim_cond_init(&c->changed);
    sim_mutex_init(&c->out_lock, SIM_RANK_LEAF);
    while (started < c->nr && sim_thread_start(&c->m[started].thread, "machine", member_main, &c->m[started]) == SIM_OK)
        started++;
    sim_mutex_lock(&c->lock);
    for (unsigned i = started; i < c->nr; i++) {
        c->m[i].state = STOPPED;
        end_others_locked(c, &c->m[i], EXIT_CODE_INTERNAL);
    }
    sim_mutex_unlock(&c->lock);
    for (unsigned i = 0; i < started; i++)
        sim_thread_join(&c->m[i].thread);
    signals_unblock(&previous);
    say_end(c);
    sim_mutex_fini(&c->out_lock);
    sim_cond_fini(&c->changed);
    sim_mutex_fini(&c->lock);
    return c->code;
}

static void cluster_fini(struct cluster *c)
{
    for (unsigned i = 0; i < c->nr_segments; i++)
        netdev_segment_destroy(c->segment[i].segment);
    sim_free(c->segment);
    for (unsigned i = 0; i < c->nr; i++)
        config_fini(&c->m[i].config);
    sim_free(c->m);
    cluster_file_fini(&c->file);
}

static void print_help(FILE *out)
{
    fputs("Usage: partita cluster FILE\n"
          "Runs several machines in this process. FILE is YAML: each machine's name, and its options as of `partita run`\n"
          "(a text or a list); `until` names one whose end ends all; `segments` says what is no ideal wire, and `seed` chooses which\n"
          "frames it loses:\n\n"
          "  machines:\n"
          "    board: -smp 2 -kernel Image -append console=ttyS0 -netdev segment,id=n,name=lan -device virtio-net-device,netdev=n\n"
          "    pc: -M virt-x86 -kernel vmlinuz -netdev segment,id=n,name=lan -device virtio-net-device,netdev=n\n"
          "  until: board\n"
          "  segments:\n"
          "    lan: {latency: 50us, loss: 0.1%}\n"
          "  seed: 7\n\n"
          "Network devices on segments of one name hear each other. Consoles are lines of the output, after their machine's\n"
          "name. A machine that fails ends all; the exit code is its.\n",
          out);
}

int cluster_command(int argc, char **argv)
{
    struct cluster c = {0};
    int code = EXIT_CODE_USAGE;

    if (argc != 1 || argv[0][0] == '-') {
        bool asked = argc == 1 && (strcmp(argv[0], "--help") == 0 || strcmp(argv[0], "-h") == 0);
        print_help(asked ? stdout : stderr);
        return asked ? 0 : EXIT_CODE_USAGE;
    }
    if (ic_mpi_wanted()) {
        sim_error("cluster: its machines run in one process, on ranks of their own (--ranks N each): start it without mpirun");
        return EXIT_CODE_USAGE;
    }
    if (cluster_file_read(argv[0], &c.file) == SIM_OK && read_members(&c) == SIM_OK &&
        check_segments(&c, argv[0]) == SIM_OK)
        code = run_all(&c);
    cluster_fini(&c);
    return code;
}
