/* Messages and internal checks: one write(2) per message, so that threads do not interleave. */
#include "sim-core/log.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "sim-core/alloc.h"
#include "sim-core/status.h"

#define ERROR "error: "

/* Not simulation state: what must be put right before the process dies (the terminal). */
static void (*bug_handlers[4])(void);
static unsigned nr_bug_handlers;

static _Thread_local struct sim_log_kept *keeping;

/* Is the line taken care of? */
static bool keep(const char *line, size_t len)
{
    struct sim_log_kept *k = keeping;

    if (!k)
        return false;
    if (len < sizeof k->text - k->len) {
        memcpy(k->text + k->len, line, len);
        k->len += len;
        k->text[k->len] = 0;
    }
    return !k->write_too;
}

void sim_log_keep(struct sim_log_kept *kept)
{
    kept->len = 0;
    kept->text[0] = 0;
    keeping = kept;
}

void sim_log_keep_end(void)
{
    keeping = NULL;
}

void sim_log_write_kept(const struct sim_log_kept *kept)
{
    if (kept->len && write(STDERR_FILENO, kept->text, kept->len) < 0) {
        /* nobody is left to tell */
    }
}

char *sim_log_first_error(const struct sim_log_kept *kept)
{
    static const char mark[] = "partita: " ERROR;
    const char *at = kept->text;

    while (strncmp(at, mark, sizeof mark - 1) != 0) {
        if (!(at = strchr(at, '\n')))
            return NULL;
        at++;
    }
    at += sizeof mark - 1;
    return sim_asprintf("%.*s", (int)strcspn(at, "\n"), at);
}

static void emit(const char *kind, const char *fmt, va_list ap)
{
    char line[2048];
    int saved = errno;
    int n = snprintf(line, sizeof line - 1, "partita: %s", kind);

    errno = saved;
    int m = vsnprintf(line + n, sizeof line - 1 - (size_t)n, fmt, ap);
    size_t len = (size_t)n + (m < 0 ? 0 : (size_t)m);

    if (len > sizeof line - 2)
        len = sizeof line - 2;
    line[len++] = '\n';
    if (!keep(line, len) && write(STDERR_FILENO, line, len) < 0) {
        /* stderr is gone: there is nobody left to tell */
    }
    errno = saved;
}

#define EMIT(kind)                                                                                 \
    do {                                                                                           \
        va_list ap;                                                                                \
        va_start(ap, fmt);                                                                         \
        emit(kind, fmt, ap);                                                                       \
        va_end(ap);                                                                                \
    } while (0)

void sim_error(const char *fmt, ...)
{
    EMIT(ERROR);
}

void sim_warn(const char *fmt, ...)
{
    EMIT("warning: ");
}

void sim_info(const char *fmt, ...)
{
    EMIT("");
}

void sim_at_bug(void (*fn)(void))
{
    for (unsigned i = 0; i < nr_bug_handlers; i++)
        if (bug_handlers[i] == fn)
            return;
    if (nr_bug_handlers < SIM_ARRAY_LEN(bug_handlers))
        bug_handlers[nr_bug_handlers++] = fn;
}

void sim_bug(const char *file, int line, const char *cond, const char *fmt, ...)
{
    char text[1024];
    va_list ap;

    keeping = NULL; /* said in any case */
    va_start(ap, fmt);
    vsnprintf(text, sizeof text, fmt, ap);
    va_end(ap);
    for (unsigned i = 0; i < nr_bug_handlers; i++)
        bug_handlers[i]();
    sim_error("internal error at %s:%d (%s): %s", file, line, cond, text);
    if (getenv("PARTITA_ABORT"))
        abort();
    _exit(70);
}

const char *sim_status_text(enum sim_status status)
{
#define SIM_STATUS_TEXT(name, value, text)                                                         \
    case name:                                                                                     \
        return text;
    switch (status) {
        SIM_STATUS_LIST(SIM_STATUS_TEXT)
    }
    return "unknown status";
}
