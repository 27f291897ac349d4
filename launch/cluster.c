/* Several machines in one process: each has its own simulation on a thread of its own, of whatever kind (RISC-V translated,
 * x86-64 on KVM), on one rank or over several.
 *
 *   file -> words -> cli_parse_run, as `partita run` does -> a config each -> a thread each: run_peer
 *   set up ... ready: all are -> network segments joined, consoles -> run ... stopped: none runs -> torn down
 *
 * Images are cluster_cut.c's; a restored cluster is machines that each come from one, and the frames that were between them.
 *
 * What the machines write to their consoles goes to stdout by lines, each after its machine's name. One that fails ends
 * all; so does the end of the one that the file's `until` names. */
#include "cluster.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#include "cli.h"
#include "cluster_addresses.h"
#include "cluster_priv.h"
#include "interconnect/interconnect.h"
#include "keyval.h"
#include "signals.h"
#include "sim-core/alloc.h"
#include "sim-core/log.h"

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

static enum sim_status join_segments(struct member *m, const struct machine *machine)
{
    struct cluster *c = m->c;

    for (unsigned i = 0; i < m->config.nr_nets; i++) {
        const char *name = machine->net[i] ? netdev_segment_name(machine->net[i]) : NULL;
        if (!name)
            continue;
        netdev_segment_join(segment_of(c, name), machine->net[i]);
        if (m->comes_from_image)
            SIM_TRY(cluster_image_load_net(&c->came_from, m->name, i, machine->net[i]));
    }
    return SIM_OK;
}

static void leave_segments(const struct member *m)
{
    for (unsigned i = 0; m->machine && i < m->config.nr_nets; i++)
        if (m->machine->net[i])
            netdev_segment_leave(m->machine->net[i]);
}

/* --- together --- */

void cluster_end_locked(struct cluster *c, const struct member *m, int code)
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
    if (join_segments(m, machine) != SIM_OK)
        cluster_end_locked(c, m, EXIT_CODE_USAGE);
    m->machine = machine;
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
    cluster_cut_leave_locked(c);
    leave_segments(m);
    m->state = STOPPED;
    m->run = NULL;
    if (!m->ended_by_us && (code || (c->file.until && strcmp(c->file.until, m->name) == 0)))
        cluster_end_locked(c, m, code);
    sim_cond_broadcast(&c->changed);
    while (!all_are(c, STOPPED))
        sim_cond_wait(&c->changed, &c->lock);
    sim_mutex_unlock(&c->lock);
}

static void on_signal(void *opaque, int sig)
{
    struct cluster *c = ((struct member *)opaque)->c;

    if (sig == SIGUSR1 && !c->dir) {
        sim_warn("SIGUSR1 makes an image when there is --checkpoint-dir DIR");
    } else if (c->dir && (sig == SIGUSR1 || sig == SIGTERM)) {
        cluster_cut_start(c, sig == SIGTERM);
    } else {
        sim_mutex_lock(&c->lock);
        cluster_end_locked(c, NULL, EXIT_CODE_SIGNAL + sig);
        sim_mutex_unlock(&c->lock);
    }
}

static void on_running(void *opaque)
{
    struct member *m = opaque;

    sim_mutex_lock(&m->c->lock);
    m->state = RUNNING;
    sim_cond_broadcast(&m->c->changed);
    sim_mutex_unlock(&m->c->lock);
}

static enum sim_status on_at_rest(void *opaque)
{
    return cluster_cut_at_rest(opaque);
}

static void *member_main(void *arg)
{
    struct member *m = arg;
    struct cluster *c = m->c;
    int code = run_peer(&m->config, m->restore, &m->peers);

    sim_mutex_lock(&c->lock);
    if (m->state != STOPPED) { /* it did not come to run */
        m->state = STOPPED;
        cluster_end_locked(c, m, code ? code : EXIT_CODE_INTERNAL);
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
    const struct config_rule rules[] = {
        {c->checkpoint.dir, "images are of all machines: partita cluster FILE --checkpoint-dir DIR"},
        {c->dump_dtb || c->dump_config, "-dumpdtb and --dump-config are for `partita run`"},
        {c->control, "--control is for all machines: partita cluster FILE --control DIR"},
    };

    const char *why = config_broken_rule(rules, SIM_ARRAY_LEN(rules));

    if (!why)
        return SIM_OK;
    sim_error("machine '%s': %s", m->name, why);
    return SIM_ERR_UNSUPPORTED;
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
                         .peers = {.ready = on_ready, .running = on_running, .at_rest = on_at_rest, .stopped = on_stopped, .opaque = m}};
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

/* --- from an image --- */

/* The other has it then, so that who ends first frees nothing of it. */
#define SWAP(type, a, b)                                                                           \
    do {                                                                                           \
        type swapped = (a);                                                                        \
        (a) = (b);                                                                                 \
        (b) = swapped;                                                                             \
    } while (0)

/* What an image leaves open is as the file says; what is owned goes over. */
static void take_over(struct config *restored, struct config *file)
{
    restored->ranks = file->ranks;
    restored->message_seed = file->message_seed;
    restored->message_delay_ns = file->message_delay_ns;
    SWAP(uint32_t *, restored->harts_per_rank, file->harts_per_rank);
    SWAP(unsigned, restored->nr_harts_per_rank, file->nr_harts_per_rank);
    restored->threads = file->threads;
    restored->timeout_ns = file->timeout_ns;
    restored->stats = file->stats;
    restored->state_hash = file->state_hash;
    restored->no_reboot |= file->no_reboot; /* an image knows it, too */
    restored->rebalance = file->rebalance;
    restored->rehome = file->rehome;
    restored->bind = file->bind;
    restored->nr_accels = file->nr_accels;
    memcpy(restored->accel, file->accel, sizeof file->accel);
    restored->jit_tier = file->jit_tier;
    restored->jit_threshold = file->jit_threshold;
    restored->jit_hot = file->jit_hot;
    SWAP(char *, restored->expect, file->expect);
    SWAP(struct config_tools, restored->tools, file->tools);
}

/* The machine of the file becomes the image's of that name. */
static enum sim_status open_image(struct member *m, const char *path, const char *id)
{
    struct config restored;

    SIM_TRY(restore_open(path, &restored, &m->restore));
    take_over(&restored, &m->config);
    if (cli_parse_restore(0, NULL, &restored) != CLI_RUN)
        return SIM_ERR_INVALID;
    config_fini(&m->config);
    m->config = restored;
    m->comes_from_image = true;
    if (strcmp(id, restored.tree.image) == 0)
        return SIM_OK;
    sim_error("image '%s' is not the one that was made of the cluster", path);
    return SIM_ERR_FORMAT;
}

static enum sim_status restore_member(struct member *m, const char *dir)
{
    const char *id;
    char *path;

    SIM_TRY(cluster_image_find(&m->c->came_from, dir, m->name, &path, &id));
    if (!path) {
        m->state = STOPPED; /* it had ended */
        return SIM_OK;
    }
    enum sim_status status = open_image(m, path, id);
    sim_free(path);
    return status;
}

static enum sim_status restore_members(struct cluster *c, const char *from)
{
    enum sim_status status = SIM_OK;
    char *dir = NULL;

    if (!from)
        return SIM_OK;
    SIM_TRY(cluster_image_read(from, &c->came_from, &dir));
    for (unsigned i = 0; i < c->nr && status == SIM_OK; i++)
        status = restore_member(&c->m[i], dir);
    sim_free(dir);
    return status;
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

/* The process' signals go to one machine's thread, which waits for them as long as any machine runs. */
static void choose_signals(struct cluster *c)
{
    for (unsigned i = 0; i < c->nr; i++) {
        if (c->m[i].state != STOPPED) {
            c->m[i].peers.signal = on_signal;
            return;
        }
    }
}

static void start_member(struct member *m)
{
    if (m->state == STOPPED)
        return;
    m->started = sim_thread_start(&m->thread, "machine", member_main, m) == SIM_OK;
    if (m->started)
        return;
    sim_mutex_lock(&m->c->lock);
    m->state = STOPPED;
    cluster_end_locked(m->c, m, EXIT_CODE_INTERNAL);
    sim_mutex_unlock(&m->c->lock);
}

static int run_all(struct cluster *c)
{
    sigset_t previous;

    signals_block(&previous);
    choose_signals(c);
    sim_mutex_init(&c->lock, SIM_RANK_LAUNCH);
    sim_cond_init(&c->changed);
    sim_mutex_init(&c->out_lock, SIM_RANK_LEAF);
    for (unsigned i = 0; i < c->nr; i++)
        start_member(&c->m[i]);
    for (unsigned i = 0; i < c->nr; i++)
        if (c->m[i].started)
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
    for (unsigned i = 0; i < c->nr; i++) {
        if (!c->m[i].started)
            restore_close(c->m[i].restore);
        config_fini(&c->m[i].config);
    }
    sim_free(c->m);
    ckpt_store_close(c->dir_lock);
    cluster_image_fini(&c->came_from);
    cluster_file_fini(&c->file);
}

static void print_help(FILE *out)
{
    fputs("Usage: partita cluster FILE [--checkpoint-dir DIR [--checkpoint-incremental] [--keep N]] [--restore DIR] [--control DIR]\n"
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
          "name. A machine that fails ends all; the exit code is its.\n\n"
          "--checkpoint-dir DIR  SIGUSR1 makes an image of all machines at one moment, with the frames between them; SIGTERM does, and\n"
          "                      ends them\n"
          "--keep N              of these images keep the newest N and what they need\n"
          "--restore DIR         they go on from the newest one there, or from DIR/cluster-N.json; FILE is the same or says less\n"
          "--control DIR         DIR/NAME takes commands to the machine of that name: partita control DIR/NAME COMMAND\n",
          out);
}

struct options {
    const char *file, *restore, *dir, *keep, *control;
    bool incremental;
};

static enum sim_status reject(const char *what, const char *why)
{
    sim_error("cluster: %s%s", what, why);
    return SIM_ERR_INVALID;
}

/* The word argv[*i], and the one behind it when it is that one's value. */
static enum sim_status read_option(int argc, char **argv, int *i, struct options *out)
{
    const struct {
        const char *name, **value, *why;
    } valued[] = {{"--checkpoint-dir", &out->dir, " needs DIR"},
                  {"--restore", &out->restore, " needs DIR"},
                  {"--keep", &out->keep, " needs N"},
                  {"--control", &out->control, " needs DIR"}};
    const char *word = argv[*i];

    for (size_t k = 0; k < SIM_ARRAY_LEN(valued); k++) {
        if (strcmp(word, valued[k].name) != 0)
            continue;
        if (*i + 1 == argc)
            return reject(word, valued[k].why);
        *valued[k].value = argv[++*i];
        return SIM_OK;
    }
    if (strcmp(word, "--checkpoint-incremental") == 0)
        out->incremental = true;
    else if (word[0] == '-')
        return reject(word, " is no option");
    else if (out->file)
        return reject(word, " is one file too many");
    else
        out->file = word;
    return SIM_OK;
}

static enum sim_status read_options(int argc, char **argv, struct options *out)
{
    for (int i = 0; i < argc; i++)
        SIM_TRY(read_option(argc, argv, &i, out));
    if (!out->dir && (out->incremental || out->keep))
        return reject("--checkpoint-incremental and --keep need --checkpoint-dir DIR", "");
    if (out->dir && out->control && strcmp(out->dir, out->control) == 0)
        return option_reject("--control", out->control, "is the directory of the images, where each machine has its own");
    return SIM_OK;
}

/* A socket in `dir` for each machine, by its name. */
static enum sim_status open_controls(struct cluster *c, const char *dir)
{
    if (mkdir(dir, 0777) < 0 && errno != EEXIST) {
        sim_error("--control '%s': cannot make the directory: %m", dir);
        return SIM_ERR_IO;
    }
    for (unsigned i = 0; i < c->nr; i++) {
        char *path = sim_asprintf("%s/%s", dir, c->m[i].name);
        config_set_string(&c->m[i].config.control, path);
        sim_free(path);
    }
    return SIM_OK;
}

static enum sim_status set_up(struct cluster *c, const struct options *o)
{
    if (o->keep)
        SIM_TRY(parse_u32("--keep", o->keep, &c->keep));
    if (o->keep && !c->keep)
        return option_reject("--keep", o->keep, "keeps no image");
    SIM_TRY(cluster_file_read(o->file, &c->file));
    SIM_TRY(read_members(c));
    SIM_TRY(check_segments(c, o->file));
    if (c->dir)
        SIM_TRY(ckpt_store_open(c->dir, &c->dir_lock));
    SIM_TRY(restore_members(c, o->restore));
    return o->control ? open_controls(c, o->control) : SIM_OK;
}

int cluster_command(int argc, char **argv)
{
    struct options o = {0};

    if (argc == 1 && (strcmp(argv[0], "--help") == 0 || strcmp(argv[0], "-h") == 0)) {
        print_help(stdout);
        return 0;
    }
    if (read_options(argc, argv, &o) != SIM_OK)
        return EXIT_CODE_USAGE;
    if (!o.file) {
        print_help(stderr);
        return EXIT_CODE_USAGE;
    }
    if (ic_mpi_wanted()) {
        sim_error("cluster: its machines run in one process, on ranks of their own (--ranks N each): start it without mpirun");
        return EXIT_CODE_USAGE;
    }
    struct cluster c = {.dir = o.dir, .incremental = o.incremental};
    int code = set_up(&c, &o) == SIM_OK ? run_all(&c) : EXIT_CODE_USAGE;
    cluster_fini(&c);
    return code;
}
