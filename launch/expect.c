/* --expect: serial output against a regular expression. See expect.h. */
#include "expect.h"

#include <regex.h>
#include <stdatomic.h>
#include <string.h>

#include "sim-core/alloc.h"
#include "sim-core/lock.h"
#include "sim-core/log.h"

enum {
    LINE_MAX_BYTES = 8192, /* of a longer line the last half is kept */
    PENDING_MAX = 1 << 20, /* I/O thread too late: the oldest is dropped */
    QUIET_NS = 200 * 1000000
};

struct stream {
    struct expect *expect;
    struct stream *next;
    /* guarded by expect->lock */
    uint8_t *pending;
    size_t nr_pending, cap;
    /* the matcher's */
    char line[LINE_MAX_BYTES];
    size_t len;
};

/* Owner: the launch thread creates it; matching is the I/O thread's. */
struct expect {
    struct sim_io *io;
    struct sim_io_timer *quiet; /* output has paused */
    regex_t regex;
    void (*matched)(void *opaque);
    void *opaque;
    struct sim_mutex lock; /* leaf: the tap is called under device and back-end locks */
    struct stream *streams;
    bool done; /* matcher's */
    _Atomic bool posted;
};

/* flags: REG_NOTEOL for a line that may go on. NUL bytes of the guest are ordinary characters. */
static void match(struct expect *e, const char *text, size_t len, int flags)
{
    regmatch_t range = {.rm_so = 0, .rm_eo = (regoff_t)len};

    if (e->done || regexec(&e->regex, text, 1, &range, flags | REG_STARTEND) != 0)
        return;
    e->done = true;
    e->matched(e->opaque);
}

static void end_line(struct stream *s)
{
    size_t len = s->len;

    while (len && s->line[len - 1] == '\r')
        len--;
    match(s->expect, s->line, len, 0);
    s->len = 0;
}

static void add_to_line(struct stream *s, const uint8_t *data, size_t len)
{
    while (len) {
        if (s->len == LINE_MAX_BYTES) {
            /* An endless line: what could match across the cut is kept. */
            match(s->expect, s->line, s->len, REG_NOTEOL);
            s->len = LINE_MAX_BYTES / 2;
            memmove(s->line, s->line + LINE_MAX_BYTES - s->len, s->len);
        }
        size_t n = LINE_MAX_BYTES - s->len < len ? LINE_MAX_BYTES - s->len : len;
        memcpy(s->line + s->len, data, n);
        s->len += n;
        data += n;
        len -= n;
    }
}

static void feed(struct stream *s, const uint8_t *data, size_t len)
{
    while (len && !s->expect->done) {
        const uint8_t *newline = memchr(data, '\n', len);
        size_t n = newline ? (size_t)(newline - data) : len;
        add_to_line(s, data, n);
        if (newline) {
            end_line(s);
            n++;
        }
        data += n;
        len -= n;
    }
    if (s->len)
        match(s->expect, s->line, s->len, REG_NOTEOL);
}

/* Takes the pending bytes of one stream; NULL when there are none. */
static uint8_t *take_pending(struct stream *s, size_t *len)
{
    sim_mutex_lock(&s->expect->lock);
    uint8_t *data = s->nr_pending ? s->pending : NULL;
    *len = s->nr_pending;
    if (data) {
        s->pending = NULL;
        s->nr_pending = s->cap = 0;
    }
    sim_mutex_unlock(&s->expect->lock);
    return data;
}

static void match_pending(void *opaque)
{
    struct expect *e = opaque;

    atomic_store_explicit(&e->posted, false, memory_order_seq_cst); /* then look: none is missed */
    for (struct stream *s = e->streams; s; s = s->next) {
        size_t len;
        uint8_t *data = take_pending(s, &len);
        if (data)
            feed(s, data, len);
        sim_free(data);
    }
    if (!e->done)
        sim_io_timer_arm(e->quiet, sim_host_ns() + QUIET_NS);
}

static void match_tails(void *opaque)
{
    struct expect *e = opaque;

    for (struct stream *s = e->streams; s; s = s->next)
        if (s->len)
            match(e, s->line, s->len, 0);
}

/* The tap: any thread, device lock held. Copies and leaves. */
static void on_output(void *opaque, const uint8_t *data, size_t len)
{
    struct stream *s = opaque;
    struct expect *e = s->expect;

    if (!len)
        return;
    if (len > PENDING_MAX / 2) {
        data += len - PENDING_MAX / 2;
        len = PENDING_MAX / 2;
    }
    sim_mutex_lock(&e->lock);
    if (s->nr_pending + len > PENDING_MAX) {
        s->nr_pending -= PENDING_MAX / 2;
        memmove(s->pending, s->pending + PENDING_MAX / 2, s->nr_pending);
    }
    if (s->nr_pending + len > s->cap) {
        s->cap = 2 * (s->nr_pending + len) + 256;
        s->pending = sim_realloc(s->pending, s->cap);
    }
    memcpy(s->pending + s->nr_pending, data, len);
    s->nr_pending += len;
    sim_mutex_unlock(&e->lock);
    if (!atomic_exchange_explicit(&e->posted, true, memory_order_seq_cst))
        sim_io_post(e->io, match_pending, e);
}

enum sim_status expect_create(struct sim_io *io, const char *regex, void (*matched)(void *opaque),
                              void *opaque, struct expect **out)
{
    struct expect *e = sim_new(struct expect);
    int error = regcomp(&e->regex, regex, REG_EXTENDED);

    if (error) {
        char why[128];
        regerror(error, &e->regex, why, sizeof why);
        sim_error("--expect: '%s' is not a regular expression: %s", regex, why);
        sim_free(e);
        return SIM_ERR_INVALID;
    }
    e->io = io;
    e->matched = matched;
    e->opaque = opaque;
    sim_mutex_init(&e->lock, SIM_RANK_LEAF);
    e->quiet = sim_io_timer_create(io, match_tails, e);
    *out = e;
    return SIM_OK;
}

struct chardev_tap expect_add_stream(struct expect *e)
{
    struct stream *s = sim_new(struct stream);

    s->expect = e;
    s->next = e->streams;
    e->streams = s;
    return (struct chardev_tap){on_output, s};
}

bool expect_finish(struct expect *e)
{
    match_pending(e);
    match_tails(e);
    return e->done;
}

void expect_destroy(struct expect *e)
{
    if (!e)
        return;
    while (e->streams) {
        struct stream *s = e->streams;
        e->streams = s->next;
        sim_free(s->pending);
        sim_free(s);
    }
    sim_io_timer_destroy(e->quiet);
    sim_mutex_fini(&e->lock);
    regfree(&e->regex);
    sim_free(e);
}
