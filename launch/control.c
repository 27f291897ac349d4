/* The server's side: a listening socket, clients, lines, commands. */
#include "control.h"

#include <errno.h>
#include <fcntl.h>
#include <jansson.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "sim-core/alloc.h"
#include "sim-core/lock.h"
#include "sim-core/log.h"
#include "sim-core/unix_socket.h"

enum { MAX_CLIENTS = 16, MAX_LINE = 64 << 10 };

/* Owner: the I/O thread. */
struct client {
    struct control *control;
    int fd; /* -1: free */
    uint64_t serial; /* tells a client from the one that had its place before */
    struct sim_io_watch *watch;
    char *line;
    size_t len;
};

struct control {
    struct sim *sim;
    const struct control_ops *ops;
    void *opaque;
    char *path;
    int fd;
    struct sim_io_watch *watch;
    struct client client[MAX_CLIENTS];
    uint64_t next_serial;
    struct sim_log_kept said; /* by the command that is being executed */
};

/* --- answers --- */

static void drop_client(struct client *c)
{
    sim_io_watch_remove(c->watch);
    close(c->fd);
    sim_free(c->line);
    *c = (struct client){.control = c->control, .fd = -1};
}

/* Takes the value over. A client that does not read its answers is dropped. */
static void answer(struct client *c, json_t *value)
{
    size_t len = json_dumpb(value, NULL, 0, 0);
    char *text = sim_zalloc(len + 2);

    json_dumpb(value, text, len, 0);
    json_decref(value);
    text[len++] = '\n';
    if (send(c->fd, text, len, MSG_NOSIGNAL | MSG_DONTWAIT) != (ssize_t)len)
        drop_client(c);
    sim_free(text);
}

static json_t *with_id(json_t *value, json_t *id)
{
    if (id)
        json_object_set(value, "id", id);
    return value;
}

static void answer_return(struct client *c, json_t *value, json_t *id)
{
    answer(c, with_id(json_pack("{s:o}", "return", value), id));
}

static void answer_error(struct client *c, const char *class, const char *text, json_t *id)
{
    answer(c, with_id(json_pack("{s:{s:s, s:s}}", "error", "class", class, "desc", text), id));
}

/* Clients do not see stderr. `why`: NULL when nobody here has said it (another rank has). */
static char *with_reason(const char *what, const char *why)
{
    json_t *is_utf8 = why ? json_string(why) : NULL; /* a file's name may be anything */

    json_decref(is_utf8);
    return is_utf8 ? sim_asprintf("%s: %s", what, why) : sim_asprintf("%s; the emulator's messages say why", what);
}

/* The command that is being executed has said why. */
static void answer_failed(struct client *c, const char *what, json_t *id)
{
    char *why = sim_log_first_error(&c->control->said), *text = with_reason(what, why);

    answer_error(c, "GenericError", text, id);
    sim_free(text);
    sim_free(why);
}

/* --- commands --- */

static void query_status(struct client *c, json_t *arguments, json_t *id)
{
    struct control_status s = {0};

    (void)arguments;
    c->control->ops->status(c->control->opaque, &s);
    json_t *value = json_pack("{s:s, s:b, s:I, s:I}", "status", s.paused ? "paused" : "running",
                              "running", !s.paused, "guest-time-ns", (json_int_t)s.guest_ns,
                              "instructions", (json_int_t)s.insns);
    if (s.lent_turns)
        json_object_set_new(value, "turns-on-lent-cores", json_integer((json_int_t)s.lent_turns));
    if (s.checkpointing)
        json_object_set_new(value, "checkpoint",
                            json_pack("{s:i, s:I, s:I}", "percent", (int)s.percent, "guest-bytes",
                                      (json_int_t)s.given, "stored-bytes", (json_int_t)s.stored));
    if (s.migrating)
        json_object_set_new(value, "migration",
                            json_pack("{s:s, s:i, s:I, s:I}", "phase", s.migration.phase, "round",
                                      (int)s.migration.round, "sent-bytes", (json_int_t)s.migration.sent,
                                      "pending-pages", (json_int_t)s.migration.pending));
    answer_return(c, value, id);
}

static void stop(struct client *c, json_t *arguments, json_t *id)
{
    (void)arguments;
    c->control->ops->stop(c->control->opaque);
    answer_return(c, json_object(), id);
}

static void cont(struct client *c, json_t *arguments, json_t *id)
{
    (void)arguments;
    c->control->ops->cont(c->control->opaque);
    answer_return(c, json_object(), id);
}

static void quit(struct client *c, json_t *arguments, json_t *id)
{
    struct control *control = c->control;

    (void)arguments;
    answer_return(c, json_object(), id);
    control->ops->quit(control->opaque);
}

static void nothing(struct client *c, json_t *arguments, json_t *id)
{
    (void)arguments;
    answer_return(c, json_object(), id);
}

/* An answer that comes later, from another thread: the client may have gone by then. */
struct later {
    struct control *control;
    unsigned client;
    uint64_t serial;
    json_t *id;
    json_t *value; /* NULL: an error */
    char *error;
    bool stops; /* after it the run may end, when it is no error */
};

static struct later *later_create(const struct client *c, json_t *id)
{
    struct later *l = sim_new(struct later);

    *l = (struct later){.control = c->control,
                        .client = (unsigned)(c - c->control->client),
                        .serial = c->serial,
                        .id = id ? json_incref(id) : NULL};
    return l;
}

static void later_destroy(struct later *l)
{
    json_decref(l->id);
    json_decref(l->value);
    sim_free(l->error);
    sim_free(l);
}

/* I/O thread. */
static void later_answer(void *opaque)
{
    struct later *l = opaque;
    struct control *control = l->control;
    struct client *c = &control->client[l->client];
    bool stopped = l->stops && l->value;

    if (c->fd >= 0 && c->serial == l->serial) {
        if (l->value)
            answer_return(c, json_incref(l->value), l->id);
        else
            answer_error(c, "GenericError", l->error, l->id);
    }
    later_destroy(l);
    if (stopped)
        control->ops->stopped(control->opaque);
}

/* Any thread. */
static void later_post(struct later *l)
{
    sim_io_post(l->control->sim->io, later_answer, l);
}

/* Checkpoint thread. */
static void checkpoint_done(void *opaque, const struct checkpoint_result *r)
{
    struct later *l = opaque;

    if (r->status == SIM_OK)
        l->value = json_pack("{s:s, s:b, s:f, s:f, s:I, s:I}", "image", r->path, "incremental", r->incremental,
                             "pause-ms", (double)r->pause_ns / 1e6, "seconds", (double)r->total_ns / 1e9,
                             "guest-bytes", (json_int_t)r->guest_bytes, "stored-bytes",
                             (json_int_t)r->stored_bytes);
    else
        l->error = with_reason("no image was made", r->why);
    later_post(l);
}

static void checkpoint(struct client *c, json_t *arguments, json_t *id)
{
    const char *dir = json_string_value(json_object_get(arguments, "dir"));

    if (!dir) {
        answer_error(c, "GenericError", "checkpoint needs the argument 'dir', a string", id);
        return;
    }
    struct later *l = later_create(c, id);
    l->stops = json_is_true(json_object_get(arguments, "stop"));
    const struct checkpoint_request request = {
        .dir = dir,
        .incremental = json_is_true(json_object_get(arguments, "incremental")),
        .stop = l->stops,
        .done = checkpoint_done,
        .opaque = l};
    enum sim_status status = c->control->ops->checkpoint(c->control->opaque, &request);
    if (status == SIM_OK)
        return;
    later_destroy(l);
    if (status == SIM_ERR_BUSY)
        answer_error(c, "GenericError", "another image is being made", id);
    else
        answer_failed(c, "this run cannot make images", id);
}

static char *migration_error(const struct migrate_result *r)
{
    if (r->gone)
        return sim_strdup("the connection broke while the machine ran there already");
    if (r->undecided)
        return sim_strdup("the connection broke when the machine was handed over: it stands still; 'cont' or 'quit' it");
    return with_reason("the machine stays where it is", r->why);
}

/* Migration thread. */
static void migrate_done(void *opaque, const struct migrate_result *r)
{
    struct later *l = opaque;

    if (r->status == SIM_OK)
        l->value = json_pack("{s:f, s:f, s:i, s:I, s:I, s:I, s:I}", "pause-ms", (double)r->pause_ns / 1e6,
                             "seconds", (double)r->total_ns / 1e9, "rounds", (int)r->rounds, "pages",
                             (json_int_t)r->blocks, "zero-pages", (json_int_t)r->zeros, "pages-after",
                             (json_int_t)r->after, "bytes", (json_int_t)r->bytes);
    else
        l->error = migration_error(r);
    later_post(l);
}

static void migrate(struct client *c, json_t *arguments, json_t *id)
{
    const char *uri = json_string_value(json_object_get(arguments, "uri"));
    const json_t *postcopy = json_object_get(arguments, "postcopy");

    if (!uri || (postcopy && !json_is_boolean(postcopy))) {
        answer_error(c, "GenericError",
                     "migrate needs the argument 'uri', a string; 'postcopy' is true or false", id);
        return;
    }
    struct later *l = later_create(c, id);
    enum sim_status status = c->control->ops->migrate(
        c->control->opaque, &(struct migrate_request){.uri = uri,
                                                      .postcopy = !postcopy || json_is_true(postcopy),
                                                      .done = migrate_done,
                                                      .opaque = l});
    if (status == SIM_OK)
        return;
    later_destroy(l);
    if (status == SIM_ERR_BUSY)
        answer_error(c, "GenericError", "another migration is under way, or an image is being made", id);
    else
        answer_failed(c, "this machine cannot migrate", id);
}

static void migrate_cancel_command(struct client *c, json_t *arguments, json_t *id)
{
    (void)arguments;
    c->control->ops->migrate_cancel(c->control->opaque);
    answer_return(c, json_object(), id);
}

static void move_hart(struct client *c, json_t *arguments, json_t *id)
{
    const json_t *hart = json_object_get(arguments, "hart"), *rank = json_object_get(arguments, "rank");
    uint64_t pause_ns;

    if (!json_is_integer(hart) || !json_is_integer(rank) || json_integer_value(hart) < 0 ||
        json_integer_value(hart) > UINT32_MAX || json_integer_value(rank) < 0 ||
        json_integer_value(rank) > UINT32_MAX) {
        answer_error(c, "GenericError", "move-hart needs the arguments 'hart' and 'rank', numbers", id);
        return;
    }
    if (c->control->ops->move_hart(c->control->opaque, (uint32_t)json_integer_value(hart),
                                   (uint32_t)json_integer_value(rank), &pause_ns) != SIM_OK)
        answer_failed(c, "the hart was not moved", id);
    else
        answer_return(c, json_pack("{s:f}", "pause-ms", (double)pause_ns / 1e6), id);
}

static bool is_number(const json_t *value, uint64_t max)
{
    return json_is_integer(value) && json_integer_value(value) >= 0 && (uint64_t)json_integer_value(value) <= max;
}

static void move_memory(struct client *c, json_t *arguments, json_t *id)
{
    const json_t *start = json_object_get(arguments, "start"), *length = json_object_get(arguments, "length"),
                 *rank = json_object_get(arguments, "rank");
    struct ranks_homes_moved moved;

    if (!is_number(start, INT64_MAX) || !is_number(length, INT64_MAX) || !is_number(rank, UINT32_MAX)) {
        answer_error(c, "GenericError", "move-memory needs the arguments 'start', 'length' and 'rank', numbers", id);
        return;
    }
    if (c->control->ops->move_memory(c->control->opaque, (uint64_t)json_integer_value(start),
                                     (uint64_t)json_integer_value(length), (uint32_t)json_integer_value(rank),
                                     &moved) != SIM_OK)
        answer_failed(c, "not all homes were moved", id);
    else
        answer_return(c, json_pack("{s:I, s:f}", "moved-bytes", (json_int_t)moved.bytes, "pause-ms",
                                   (double)moved.pause_ns / 1e6), id);
}

static void add_home(void *opaque, gpa_t start, uint64_t bytes, uint32_t rank)
{
    json_t *list = opaque;

    json_array_append_new(list, json_pack("{s:I, s:I, s:I}", "start", (json_int_t)start, "length", (json_int_t)bytes,
                                          "rank", (json_int_t)rank));
}

/* What a client's socket surely takes at once. */
enum { MAX_HOMES_TOLD = 1000 };

static void query_memory(struct client *c, json_t *arguments, json_t *id)
{
    json_t *list = json_array();

    (void)arguments;
    c->control->ops->list_homes(c->control->opaque, add_home, list);
    while (json_array_size(list) > MAX_HOMES_TOLD)
        json_array_remove(list, json_array_size(list) - 1);
    answer_return(c, json_pack("{s:o}", "homes", list), id);
}

static void trace(struct client *c, json_t *arguments, json_t *id)
{
    const char *spec = json_string_value(json_object_get(arguments, "spec"));

    if (!spec)
        answer_error(c, "GenericError", "trace needs the argument 'spec', a string", id);
    else if (c->control->ops->trace(c->control->opaque, spec) != SIM_OK)
        answer_failed(c, strcmp(spec, "off") == 0 ? "it has ended" : "nothing was changed", id);
    else
        answer_return(c, json_object(), id);
}

static const struct {
    const char *name;
    void (*run)(struct client *c, json_t *arguments, json_t *id);
} commands[] = {
    {"query-status", query_status}, {"checkpoint", checkpoint}, {"migrate", migrate},
    {"migrate_cancel", migrate_cancel_command}, {"stop", stop}, {"cont", cont}, {"quit", quit},
    {"move-hart", move_hart}, {"move-memory", move_memory}, {"query-memory", query_memory}, {"trace", trace}, {"qmp_capabilities", nothing},
};

static void execute(struct client *c, json_t *request)
{
    const char *name = json_string_value(json_object_get(request, "execute"));
    json_t *id = json_object_get(request, "id");

    if (!name) {
        answer_error(c, "GenericError", "a command is an object with the member 'execute'", id);
        return;
    }
    for (size_t i = 0; i < SIM_ARRAY_LEN(commands); i++) {
        if (strcmp(name, commands[i].name) == 0) {
            sim_log_keep(&c->control->said);
            commands[i].run(c, json_object_get(request, "arguments"), id);
            sim_log_keep_end();
            return;
        }
    }
    answer_error(c, "CommandNotFound", "there is no such command", id);
}

/* --- lines --- */

static void take_line(struct client *c, const char *line, size_t len)
{
    json_error_t error;
    json_t *request = json_loadb(line, len, JSON_REJECT_DUPLICATES, &error);

    if (!request) {
        answer_error(c, "GenericError", error.text, NULL);
        return;
    }
    execute(c, request);
    json_decref(request);
}

static bool is_blank(const char *line, size_t len)
{
    for (size_t i = 0; i < len; i++)
        if (!strchr(" \t\r", line[i]))
            return false;
    return true;
}

static void take_lines(struct client *c)
{
    uint64_t serial = c->serial;
    char *end;

    while (c->fd >= 0 && c->serial == serial && (end = memchr(c->line, '\n', c->len))) {
        size_t len = (size_t)(end - c->line);
        char *line = sim_zalloc(len + 1);
        memcpy(line, c->line, len);
        c->len -= len + 1;
        memmove(c->line, end + 1, c->len);
        if (!is_blank(line, len))
            take_line(c, line, len);
        sim_free(line);
    }
}

static void client_ready(void *opaque, unsigned events)
{
    struct client *c = opaque;

    (void)events;
    if (c->len == MAX_LINE) {
        drop_client(c); /* a line that has no end */
        return;
    }
    ssize_t n = recv(c->fd, c->line + c->len, MAX_LINE - c->len, MSG_DONTWAIT);
    if (n < 0 && (errno == EAGAIN || errno == EINTR))
        return;
    if (n <= 0) {
        drop_client(c);
        return;
    }
    c->len += (size_t)n;
    take_lines(c);
}

static struct client *free_client(struct control *control)
{
    for (unsigned i = 0; i < MAX_CLIENTS; i++)
        if (control->client[i].fd < 0)
            return &control->client[i];
    return NULL;
}

static void accept_client(void *opaque, unsigned events)
{
    struct control *control = opaque;
    int fd = accept4(control->fd, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);

    (void)events;
    if (fd < 0)
        return;
    struct client *c = free_client(control);
    if (!c || sim_io_watch_add(control->sim->io, fd, SIM_IO_READ, client_ready, c, &c->watch) != SIM_OK) {
        close(fd);
        return;
    }
    c->fd = fd;
    c->serial = ++control->next_serial;
    c->line = sim_zalloc(MAX_LINE);
    c->len = 0;
    answer(c, json_pack("{s:{s:{s:s}, s:[]}}", "QMP", "version", "package", "partita", "capabilities"));
}

/* --- life --- */

static enum sim_status listen_at(struct control *c)
{
    struct sockaddr_un addr;

    if (!sim_unix_address(c->path, &addr)) {
        sim_error("--control '%s': the path of a socket has 1 to %zu characters", c->path, SIM_UNIX_PATH);
        return SIM_ERR_INVALID;
    }
    c->fd = sim_unix_listen(c->path, SOCK_NONBLOCK, 4);
    if (c->fd >= 0)
        return SIM_OK;
    sim_error("--control '%s': cannot listen there: %m", c->path);
    sim_free(c->path); /* not ours to remove */
    c->path = NULL;
    return SIM_ERR_IO;
}

enum sim_status control_create(struct sim *sim, const char *path, const struct control_ops *ops,
                               void *opaque, struct control **out)
{
    struct control *c = sim_new(struct control);

    *c = (struct control){.sim = sim, .ops = ops, .opaque = opaque, .path = sim_strdup(path), .fd = -1};
    c->said.write_too = true;
    for (unsigned i = 0; i < MAX_CLIENTS; i++)
        c->client[i] = (struct client){.control = c, .fd = -1};
    enum sim_status status = listen_at(c);
    if (status == SIM_OK)
        status = sim_io_watch_add(sim->io, c->fd, SIM_IO_READ, accept_client, c, &c->watch);
    if (status != SIM_OK) {
        control_destroy(c);
        return status;
    }
    *out = c;
    return SIM_OK;
}

void control_destroy(struct control *c)
{
    if (!c)
        return;
    for (unsigned i = 0; i < MAX_CLIENTS; i++)
        if (c->client[i].fd >= 0)
            drop_client(&c->client[i]);
    if (c->watch)
        sim_io_watch_remove(c->watch);
    if (c->fd >= 0)
        close(c->fd);
    if (c->path)
        unlink(c->path);
    sim_free(c->path);
    sim_free(c);
}
