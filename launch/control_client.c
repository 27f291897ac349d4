/* `partita checkpoint`, `partita migrate` and `partita control`: the client's side of control.h. */
#include <errno.h>
#include <jansson.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "image_command.h"
#include "run.h"
#include "sim-core/alloc.h"
#include "sim-core/lock.h"
#include "sim-core/log.h"
#include "sim-core/unix_socket.h"

enum { POLL_MS = 500, MAX_LINE = 64 << 10, ID_COMMAND = 1, ID_STATUS = 2 };

struct client;

/* A command that takes a while. */
struct long_command {
    const char *name;
    void (*show_progress)(struct client *c, const json_t *status);
    void (*show_result)(struct client *c, const json_t *result);
    const char *lost; /* what it means when the machine goes meanwhile */
};

struct client {
    const struct long_command *command;
    const char *socket;
    int fd;
    char line[MAX_LINE];
    size_t len;
    uint64_t start_ns;
    bool terminal;
};

static enum sim_status dial(struct client *c)
{
    struct sockaddr_un addr;

    if (!sim_unix_address(c->socket, &addr)) {
        sim_error("'%s': the path of a socket has 1 to %zu characters", c->socket, SIM_UNIX_PATH);
        return SIM_ERR_INVALID;
    }
    c->fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (c->fd >= 0 && connect(c->fd, (struct sockaddr *)&addr, sizeof addr) == 0)
        return SIM_OK;
    sim_error("cannot reach a machine at '%s': %m (partita run --control SOCKET)", c->socket);
    return SIM_ERR_NOTFOUND;
}

static bool send_line(struct client *c, json_t *value)
{
    size_t len = json_dumpb(value, NULL, 0, 0);
    char *text = sim_zalloc(len + 2);

    json_dumpb(value, text, len, 0);
    json_decref(value);
    text[len++] = '\n';
    bool good = send(c->fd, text, len, MSG_NOSIGNAL) == (ssize_t)len;
    sim_free(text);
    return good;
}

static enum sim_status say(struct client *c, json_t *value)
{
    if (send_line(c, value))
        return SIM_OK;
    sim_error("'%s': the machine has gone", c->socket);
    return SIM_ERR_IO;
}

/* The next line as JSON; NULL after timeout_ms (*gone false) or when the machine has gone. */
static json_t *hear(struct client *c, int timeout_ms, bool *gone)
{
    char *end;

    *gone = false;
    while (!(end = memchr(c->line, '\n', c->len))) {
        struct pollfd p = {.fd = c->fd, .events = POLLIN};
        int ready = poll(&p, 1, timeout_ms);
        if (ready == 0 || (ready < 0 && errno == EINTR))
            return NULL;
        ssize_t n = c->len < sizeof c->line
                        ? recv(c->fd, c->line + c->len, sizeof c->line - c->len, 0) : 0;
        if (n <= 0) {
            *gone = true;
            return NULL;
        }
        c->len += (size_t)n;
    }
    size_t len = (size_t)(end - c->line);
    json_t *value = json_loadb(c->line, len, 0, NULL);
    c->len -= len + 1;
    memmove(c->line, end + 1, c->len);
    return value ? value : json_object();
}

static void show_progress(struct client *c, const json_t *status)
{
    const json_t *k = json_object_get(status, "checkpoint");
    double given = (double)json_integer_value(json_object_get(k, "guest-bytes"));
    double stored = (double)json_integer_value(json_object_get(k, "stored-bytes"));
    double seconds = (double)(sim_host_ns() - c->start_ns) / 1e9;

    if (!k)
        return;
    fprintf(stderr, "%s%3d%%  %.2f GB/s  ratio %.1f%s", c->terminal ? "\r" : "",
            (int)json_integer_value(json_object_get(k, "percent")), given / 1e9 / seconds,
            stored > 0 ? given / stored : 0, c->terminal ? "" : "\n");
}

static void show_image(struct client *c, const json_t *r)
{
    (void)c;
    double guest = (double)json_integer_value(json_object_get(r, "guest-bytes"));
    double stored = (double)json_integer_value(json_object_get(r, "stored-bytes"));
    double seconds = json_real_value(json_object_get(r, "seconds"));
    printf("%s%s: %.1f MB of guest data in %.1f MB, %.2f s, %.2f GB/s, ratio %.1f; the guest stood still for "
           "%.1f ms\n",
           json_string_value(json_object_get(r, "image")),
           json_is_true(json_object_get(r, "incremental")) ? " (incremental)" : "", guest / 1e6,
           stored / 1e6, seconds, seconds > 0 ? guest / 1e9 / seconds : 0,
           stored > 0 ? guest / stored : 0, json_real_value(json_object_get(r, "pause-ms")));
}

static const struct long_command checkpointing = {"checkpoint", show_progress, show_image,
                                                  "the machine has gone before the image was complete"};

static void show_migration_progress(struct client *c, const json_t *status)
{
    const json_t *k = json_object_get(status, "migration");
    double sent = (double)json_integer_value(json_object_get(k, "sent-bytes"));
    double seconds = (double)(sim_host_ns() - c->start_ns) / 1e9;

    if (!k)
        return;
    fprintf(stderr, "%s%s %d: %.1f MB sent, %.2f GB/s, %lld pages to go%s", c->terminal ? "\r\033[K" : "",
            json_string_value(json_object_get(k, "phase")), (int)json_integer_value(json_object_get(k, "round")),
            sent / 1e6, sent / 1e9 / seconds, (long long)json_integer_value(json_object_get(k, "pending-pages")),
            c->terminal ? "" : "\n");
}

static void show_migration(struct client *c, const json_t *r)
{
    (void)c;
    printf("migrated: %.2f s, %d rounds, %.1f MB (%lld pages and %lld that are zero, %lld of them after the pause); the "
           "guest stood still for %.1f ms\n",
           json_real_value(json_object_get(r, "seconds")), (int)json_integer_value(json_object_get(r, "rounds")),
           (double)json_integer_value(json_object_get(r, "bytes")) / 1e6,
           (long long)json_integer_value(json_object_get(r, "pages")),
           (long long)json_integer_value(json_object_get(r, "zero-pages")),
           (long long)json_integer_value(json_object_get(r, "pages-after")),
           json_real_value(json_object_get(r, "pause-ms")));
}

static const struct long_command migrating = {"migrate", show_migration_progress, show_migration,
                                              "the machine has gone, and did not say where to"};

static int show_answer(struct client *c, const json_t *answer)
{
    const json_t *r = json_object_get(answer, "return");
    const char *why = json_string_value(json_object_get(json_object_get(answer, "error"), "desc"));

    if (c->terminal)
        fputs("\r\033[K", stderr);
    if (!r) {
        sim_error("%s: %s", c->command->name, why ? why : "the machine's answer makes no sense");
        return EXIT_CODE_NO_MATCH;
    }
    c->command->show_result(c, r);
    return 0;
}

/* For show only. A machine that has gone takes no question, but may have answered the first one: that is heard next. */
static void ask_progress(struct client *c)
{
    (void)send_line(c, json_pack("{s:s, s:i}", "execute", "query-status", "id", ID_STATUS));
}

static int converse(struct client *c, json_t *request)
{
    if (say(c, request) != SIM_OK)
        return EXIT_CODE_NO_MATCH;
    for (;;) {
        bool gone;
        json_t *answer = hear(c, POLL_MS, &gone);
        if (gone) {
            sim_error("%s: %s", c->command->name, c->command->lost);
            return EXIT_CODE_NO_MATCH;
        }
        if (!answer) {
            ask_progress(c);
            continue;
        }
        json_int_t id = json_integer_value(json_object_get(answer, "id"));
        int code = id == ID_COMMAND ? show_answer(c, answer) : -1;
        if (id == ID_STATUS)
            c->command->show_progress(c, json_object_get(answer, "return"));
        json_decref(answer);
        if (code >= 0)
            return code;
    }
}

/* Takes both over. */
static int run_long(struct client *c, json_t *request)
{
    c->fd = -1;
    c->start_ns = sim_host_ns();
    c->terminal = isatty(STDERR_FILENO);
    int code = EXIT_CODE_USAGE;
    if (dial(c) == SIM_OK)
        code = converse(c, request);
    else
        json_decref(request);
    if (c->fd >= 0)
        close(c->fd);
    sim_free(c);
    return code;
}

static char *absolute(const char *path)
{
    char here[4096];

    if (path[0] == '/' || !getcwd(here, sizeof here))
        return sim_strdup(path);
    return sim_asprintf("%s/%s", here, path);
}

static bool is_flag(const char *word, const char *name)
{
    return word[0] == '-' && strcmp(word + strspn(word, "-"), name) == 0;
}

static const char usage[] =
    "Usage: partita checkpoint SOCKET DIR [--incremental] [--stop]\n"
    "Makes an image in DIR of the machine that was started with --control SOCKET.\n\n"
    "  --incremental  only what has changed since the last image, when that lies in DIR\n"
    "  --stop         the machine ends when the image is complete (exit code 85)\n\n"
    "Exit code 0: the image is complete, and its path printed; 1: none was made, the machine goes on; 2: no machine there.\n";

int checkpoint_command(int argc, char **argv)
{
    const char *word[2] = {NULL, NULL};
    bool incremental = false, stop = false;
    unsigned nr = 0;

    for (int i = 0; i < argc; i++) {
        if (is_flag(argv[i], "incremental")) {
            incremental = true;
        } else if (is_flag(argv[i], "stop")) {
            stop = true;
        } else if (is_flag(argv[i], "help") || is_flag(argv[i], "h")) {
            fputs(usage, stdout);
            return 0;
        } else if (argv[i][0] == '-' || nr == 2) {
            sim_error("checkpoint: '%s' is not for it (partita checkpoint --help)", argv[i]);
            return EXIT_CODE_USAGE;
        } else {
            word[nr++] = argv[i];
        }
    }
    if (nr < 2) {
        fputs(usage, stderr);
        return EXIT_CODE_USAGE;
    }
    struct client *c = sim_new(struct client);
    *c = (struct client){.command = &checkpointing, .socket = word[0]};
    char *dir = absolute(word[1]);
    int code = run_long(c, json_pack("{s:s, s:{s:s, s:b, s:b}, s:i}", "execute", "checkpoint", "arguments", "dir", dir,
                                     "incremental", incremental, "stop", stop, "id", ID_COMMAND));
    sim_free(dir);
    return code;
}

static const char migrate_usage[] =
    "Usage: partita migrate SOCKET URI [--no-postcopy]\n"
    "Moves the machine that was started with --control SOCKET to a process that waits at URI\n"
    "(partita restore --incoming URI; unix:PATH or tcp:HOST:PORT). It runs meanwhile; the old process ends with exit\n"
    "code 86.\n\n"
    "  --no-postcopy  all memory moves before the machine goes on there: a longer pause, but nothing to lose when the\n"
    "                 old process or the connection fails after it\n";

int migrate_command(int argc, char **argv)
{
    const char *word[2] = {NULL, NULL};
    bool postcopy = true;
    unsigned nr = 0;

    for (int i = 0; i < argc; i++) {
        if (is_flag(argv[i], "no-postcopy")) {
            postcopy = false;
        } else if (is_flag(argv[i], "help") || is_flag(argv[i], "h")) {
            fputs(migrate_usage, stdout);
            return 0;
        } else if (argv[i][0] == '-' || nr == 2) {
            sim_error("migrate: '%s' is not for it (partita migrate --help)", argv[i]);
            return EXIT_CODE_USAGE;
        } else {
            word[nr++] = argv[i];
        }
    }
    if (nr < 2) {
        fputs(migrate_usage, stderr);
        return EXIT_CODE_USAGE;
    }
    struct client *c = sim_new(struct client);
    *c = (struct client){.command = &migrating, .socket = word[0]};
    return run_long(c, json_pack("{s:s, s:{s:s, s:b}, s:i}", "execute", "migrate", "arguments", "uri", word[1],
                                 "postcopy", postcopy, "id", ID_COMMAND));
}

/* --- any command --- */

static const char control_usage[] =
    "Usage: partita control SOCKET COMMAND [NAME=VALUE...]\n"
    "Gives a command to the machine that was started with --control SOCKET and prints its answer (JSON).\n\n"
    "  query-status                 what it does\n"
    "  stop, cont, quit             it stands still, goes on, ends\n"
    "  migrate_cancel               a migration under way is given up\n"
    "  trace spec=exec,hart=0,file=F, trace spec=off\n"
    "                               starts a trace (partita run --help: -trace), ends all\n"
    "  move-hart hart=N rank=N      a hart of a machine on several ranks changes its rank\n"
    "  move-memory start=ADDRESS length=BYTES rank=N\n"
    "                               so do the homes of guest memory there, whole pieces of 2 MiB\n"
    "  query-memory                 where its homes are\n";

/* A number where it is one. */
static bool add_argument(json_t *arguments, const char *word)
{
    const char *equals = strchr(word, '=');
    char *end;

    if (!equals || equals == word)
        return false;
    char *name = sim_asprintf("%.*s", (int)(equals - word), word);
    long long number = strtoll(equals + 1, &end, 0);
    bool numeric = equals[1] && !*end;
    int error = json_object_set_new(arguments, name, numeric ? json_integer(number) : json_string(equals + 1));
    sim_free(name);
    return !error;
}

static int print_answer(const json_t *answer)
{
    const char *why = json_string_value(json_object_get(json_object_get(answer, "error"), "desc"));
    const json_t *result = json_object_get(answer, "return");

    if (!result) {
        sim_error("control: %s", why ? why : "the machine's answer makes no sense");
        return EXIT_CODE_NO_MATCH;
    }
    json_dumpf(result, stdout, JSON_SORT_KEYS);
    putchar('\n');
    return 0;
}

static int ask(struct client *c, json_t *request)
{
    int code = -1;

    if (say(c, request) != SIM_OK)
        return EXIT_CODE_NO_MATCH;
    while (code < 0) {
        bool gone;
        json_t *answer = hear(c, POLL_MS, &gone);
        if (gone) {
            sim_error("control: the machine has gone without an answer");
            return EXIT_CODE_NO_MATCH;
        }
        if (json_integer_value(json_object_get(answer, "id")) == ID_COMMAND)
            code = print_answer(answer);
        json_decref(answer);
    }
    return code;
}

int control_command(int argc, char **argv)
{
    json_t *arguments = json_object();
    bool good = argc >= 2 && argv[0][0] != '-';

    for (int i = 2; i < argc && good; i++)
        good = add_argument(arguments, argv[i]);
    if (!good) {
        bool help = argc == 1 && (is_flag(argv[0], "help") || is_flag(argv[0], "h"));
        fputs(control_usage, help ? stdout : stderr);
        json_decref(arguments);
        return help ? 0 : EXIT_CODE_USAGE;
    }
    struct client *c = sim_new(struct client);
    *c = (struct client){.socket = argv[0], .fd = -1};
    int code = dial(c) != SIM_OK ? EXIT_CODE_USAGE
                                 : ask(c, json_pack("{s:s, s:O, s:i}", "execute", argv[1], "arguments",
                                                    arguments, "id", ID_COMMAND));
    json_decref(arguments);
    if (c->fd >= 0)
        close(c->fd);
    sim_free(c);
    return code;
}
