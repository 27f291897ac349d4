/* Heads, payloads, and what can be wrong with them. */
#include "checkpoint/stream.h"

#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <sys/uio.h>
#include <unistd.h>

#include "file_io.h"
#include "format.h"
#include "sim-core/alloc.h"
#include "sim-core/lock.h"
#include "sim-core/log.h"

enum { MAGIC = 0x47494d50 /* "PMIG" */, VERSION = 2, REFUSAL_MAX = 500, LAST_WORDS_S = 5 };

struct head {
    uint32_t magic;
    uint16_t type, space;
    uint64_t block;
    uint32_t nr, len;
    uint64_t xxh3;
};
_Static_assert(sizeof(struct head) == 32, "FORMAT.md");

struct hello {
    uint32_t version, block;
};

/* Senders take `lock`; what is received belongs to the receiving thread. */
struct ckpt_stream {
    int fd;
    char *peer;
    struct sim_mutex lock;
    _Atomic uint64_t sent;
    atomic_bool over; /* said why, or cancelled */
    ckpt_stream_broke_fn *broke;
    void *opaque;
    struct head head; /* of the frame that comes; `got`: what has come of it and of its payload */
    size_t got_head, got;
    uint64_t until_ns; /* no byte comes after that; 0: any time */
    uint8_t *payload;
    size_t room;
};

static const char *const type_name[CKPT_FRAME_NR] = {
    [CKPT_FRAME_HELLO] = "HELLO",     [CKPT_FRAME_CONFIG] = "CONFIG",   [CKPT_FRAME_SPACE] = "SPACE",
    [CKPT_FRAME_SECTION] = "SECTION", [CKPT_FRAME_READY] = "READY",     [CKPT_FRAME_BLOCKS] = "BLOCKS",
    [CKPT_FRAME_ZEROS] = "ZEROS",     [CKPT_FRAME_MISSING] = "MISSING", [CKPT_FRAME_STOPPED] = "STOPPED",
    [CKPT_FRAME_LOADED] = "LOADED",   [CKPT_FRAME_GO] = "GO",           [CKPT_FRAME_STARTED] = "STARTED",
    [CKPT_FRAME_DEMAND] = "DEMAND",   [CKPT_FRAME_END] = "END",         [CKPT_FRAME_DONE] = "DONE",
    [CKPT_FRAME_REFUSED] = "REFUSED", [CKPT_FRAME_RANKS] = "RANKS",     [CKPT_FRAME_PLACE] = "PLACE",
    [CKPT_FRAME_JOIN] = "JOIN",       [CKPT_FRAME_ROUND] = "ROUND",     [CKPT_FRAME_SEEN] = "SEEN"};

static void log_broken(void *opaque, const char *peer, const char *why)
{
    (void)opaque;
    sim_error("migration: %s: %s", peer, why);
}

/* Whoever sees the end first says why, and nobody else. */
void ckpt_stream_break(struct ckpt_stream *s, const char *why)
{
    if (!atomic_exchange_explicit(&s->over, true, memory_order_acq_rel) && s->broke)
        s->broke(s->opaque, s->peer, why);
    shutdown(s->fd, SHUT_RDWR);
}

static enum sim_status lost(struct ckpt_stream *s, const char *why)
{
    ckpt_stream_break(s, why);
    return SIM_ERR_IO;
}

/* --- sending --- */

static void skip(struct iovec *iov, size_t n)
{
    for (unsigned i = 0; i < 2; i++) {
        size_t part = n < iov[i].iov_len ? n : iov[i].iov_len;
        iov[i].iov_base = (uint8_t *)iov[i].iov_base + part;
        iov[i].iov_len -= part;
        n -= part;
    }
}

/* NULL, or why it broke. */
static const char *send_all(struct ckpt_stream *s, struct iovec *iov)
{
    struct msghdr m = {.msg_iov = iov, .msg_iovlen = 2};

    while (iov[0].iov_len || iov[1].iov_len) {
        ssize_t n = sendmsg(s->fd, &m, MSG_NOSIGNAL);
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            return errno == EPIPE    ? "the connection has ended"
                   : errno == EAGAIN ? "it takes nothing any more"
                                     : strerror(errno);
        skip(iov, (size_t)n);
    }
    return NULL;
}

enum sim_status ckpt_stream_send(struct ckpt_stream *s, const struct ckpt_frame *f)
{
    struct head h = {.magic = MAGIC, .type = (uint16_t)f->type, .space = f->space, .block = f->block,
                     .nr = f->nr, .len = f->len, .xxh3 = f->len ? file_hash(f->payload, f->len) : 0};
    struct iovec iov[2] = {{&h, sizeof h}, {(void *)f->payload, f->len}};

    SIM_BUG_ON(f->len > CKPT_FRAME_MAX, "a frame of %u bytes", f->len);
    sim_mutex_lock(&s->lock);
    const char *why = send_all(s, iov);
    sim_mutex_unlock(&s->lock);
    atomic_fetch_add_explicit(&s->sent, sizeof h + f->len, memory_order_relaxed);
    return why ? lost(s, why) : SIM_OK;
}

/* --- receiving --- */

/* Is there something to receive, or the end, before `until_ns`? */
static bool comes_in_time(const struct ckpt_stream *s)
{
    struct pollfd p = {.fd = s->fd, .events = POLLIN};

    for (uint64_t now; (now = sim_host_ns()) < s->until_ns;)
        if (poll(&p, 1, (int)((s->until_ns - now + 999999) / 1000000)) > 0)
            return true;
    return false;
}

/* Up to `want` bytes; SIM_INPROGRESS: they are not all there, and the flags are not to wait for them. */
static enum sim_status fill(struct ckpt_stream *s, void *to, size_t *got, size_t want, int flags)
{
    while (*got < want) {
        if (s->until_ns && !comes_in_time(s))
            return lost(s, "it does not say all in time");
        ssize_t n = recv(s->fd, (uint8_t *)to + *got, want - *got, flags);
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0 && errno == EAGAIN && flags & MSG_DONTWAIT)
            return SIM_INPROGRESS;
        if (n <= 0)
            return lost(s, !n                 ? "the connection has ended"
                           : errno == EAGAIN ? "it says nothing any more"
                                             : strerror(errno));
        *got += (size_t)n;
    }
    return SIM_OK;
}

/* Room grows with what has come, so that a head alone costs nothing. */
static enum sim_status fill_payload(struct ckpt_stream *s, size_t len, int flags)
{
    enum { STEP = 1 << 20 };

    while (s->got < len) {
        size_t upto = len - s->got < STEP ? len : s->got + STEP;
        if (s->room < upto + 1) {
            s->room = upto + 1;
            s->payload = sim_realloc(s->payload, s->room);
        }
        SIM_TRY(fill(s, s->payload, &s->got, upto, flags));
    }
    if (!s->payload)
        s->payload = sim_zalloc(s->room = 1);
    s->payload[len] = 0;
    return SIM_OK;
}

static enum sim_status refused(struct ckpt_stream *s, const struct ckpt_frame *f)
{
    char why[REFUSAL_MAX + 40];

    snprintf(why, sizeof why, "the other side refuses: %.*s", (int)(f->len < REFUSAL_MAX ? f->len : REFUSAL_MAX),
             (const char *)f->payload);
    for (char *c = why; *c; c++)
        if ((unsigned char)*c < ' ')
            *c = ' ';
    return lost(s, why);
}

static enum sim_status receive(struct ckpt_stream *s, int flags, struct ckpt_frame *out)
{
    const struct head *h = &s->head;

    SIM_TRY(fill(s, &s->head, &s->got_head, sizeof s->head, flags));
    if (h->magic != MAGIC || !h->type || h->type >= CKPT_FRAME_NR || h->len > CKPT_FRAME_MAX)
        return lost(s, "no frame of a migration comes from there");
    SIM_TRY(fill_payload(s, h->len, flags));
    s->got_head = s->got = 0;
    if (h->xxh3 != (h->len ? file_hash(s->payload, h->len) : 0))
        return lost(s, "a frame has come damaged (checksum)");
    *out = (struct ckpt_frame){.type = h->type, .space = h->space, .block = h->block, .nr = h->nr,
                               .len = h->len, .payload = s->payload};
    return h->type == CKPT_FRAME_REFUSED ? refused(s, out) : SIM_OK;
}

enum sim_status ckpt_stream_receive(struct ckpt_stream *s, struct ckpt_frame *out)
{
    return receive(s, 0, out);
}

enum sim_status ckpt_stream_try_receive(struct ckpt_stream *s, struct ckpt_frame *out)
{
    return receive(s, MSG_DONTWAIT, out);
}

enum sim_status ckpt_stream_expect(struct ckpt_stream *s, enum ckpt_frame_type type, struct ckpt_frame *out)
{
    SIM_TRY(ckpt_stream_receive(s, out));
    return ckpt_stream_check_type(s, out, type);
}

enum sim_status ckpt_stream_check_type(struct ckpt_stream *s, const struct ckpt_frame *f, enum ckpt_frame_type type)
{
    char why[80];

    if (f->type == type)
        return SIM_OK;
    snprintf(why, sizeof why, "a frame %s came instead of %s", type_name[f->type], type_name[type]);
    return lost(s, why);
}

bool ckpt_stream_readable(struct ckpt_stream *s, int timeout_ms)
{
    struct pollfd p = {.fd = s->fd, .events = POLLIN};

    return poll(&p, 1, timeout_ms) > 0;
}

int ckpt_stream_poll(struct ckpt_stream *const *s, unsigned nr, unsigned last, int timeout_ms)
{
    struct pollfd *p = sim_new_array(struct pollfd, nr);
    int found = -1;

    for (unsigned i = 0; i < nr; i++)
        p[i] = (struct pollfd){.fd = s[i] ? s[i]->fd : -1, .events = POLLIN};
    int ready = poll(p, nr, timeout_ms);
    for (unsigned i = 1; i <= nr && ready > 0 && found < 0; i++)
        if (p[(last + i) % nr].revents)
            found = (int)((last + i) % nr);
    sim_free(p);
    return found;
}

static const struct hello ours = {VERSION, FORMAT_BLOCK};

enum sim_status ckpt_stream_say_hello(struct ckpt_stream *s)
{
    return ckpt_stream_send(s, &(struct ckpt_frame){.type = CKPT_FRAME_HELLO, .len = sizeof ours,
                                                    .payload = (const uint8_t *)&ours});
}

enum sim_status ckpt_stream_take_hello(struct ckpt_stream *s, const struct ckpt_frame *f)
{
    struct hello theirs;
    char why[120];

    SIM_TRY(ckpt_stream_check_type(s, f, CKPT_FRAME_HELLO));
    if (f->len < sizeof theirs)
        return lost(s, "its greeting is too short");
    memcpy(&theirs, f->payload, sizeof theirs);
    if (theirs.version == ours.version && theirs.block == ours.block)
        return SIM_OK;
    snprintf(why, sizeof why, "it speaks version %u with blocks of %u bytes, this program version %u with %u",
             theirs.version, theirs.block, ours.version, ours.block);
    return lost(s, why);
}

enum sim_status ckpt_stream_greet(struct ckpt_stream *s)
{
    struct ckpt_frame f;

    SIM_TRY(ckpt_stream_say_hello(s));
    SIM_TRY(ckpt_stream_receive(s, &f));
    return ckpt_stream_take_hello(s, &f);
}

/* --- the end --- */

static void limit_waiting(const struct ckpt_stream *s, int option, unsigned seconds)
{
    const struct timeval t = {.tv_sec = seconds};

    setsockopt(s->fd, SOL_SOCKET, option, &t, sizeof t);
}

void ckpt_stream_patience(struct ckpt_stream *s, unsigned seconds)
{
    limit_waiting(s, SO_SNDTIMEO, seconds);
}

void ckpt_stream_hear_until(struct ckpt_stream *s, uint64_t host_ns)
{
    s->until_ns = host_ns;
}

void ckpt_stream_on_broken(struct ckpt_stream *s, ckpt_stream_broke_fn *broke, void *opaque)
{
    s->broke = broke;
    s->opaque = opaque;
}

void ckpt_stream_refuse(struct ckpt_stream *s, const char *why)
{
    if (atomic_exchange_explicit(&s->over, true, memory_order_acq_rel))
        return;
    /* Best effort: the connection ends either way. */
    if (ckpt_stream_send(s, &(struct ckpt_frame){.type = CKPT_FRAME_REFUSED, .len = (uint32_t)strlen(why),
                                                 .payload = (const uint8_t *)why}) == SIM_OK)
        shutdown(s->fd, SHUT_WR);
}

void ckpt_stream_finish(struct ckpt_stream *s)
{
    atomic_store_explicit(&s->over, true, memory_order_release);
    limit_waiting(s, SO_RCVTIMEO, LAST_WORDS_S);
    ckpt_stream_patience(s, LAST_WORDS_S);
}

void ckpt_stream_cancel(struct ckpt_stream *s)
{
    atomic_store_explicit(&s->over, true, memory_order_release);
    shutdown(s->fd, SHUT_RDWR);
}

const char *ckpt_stream_peer(const struct ckpt_stream *s)
{
    return s->peer;
}

int ckpt_stream_fd(const struct ckpt_stream *s)
{
    return s->fd;
}

uint64_t ckpt_stream_sent(const struct ckpt_stream *s)
{
    return atomic_load_explicit(&s->sent, memory_order_relaxed);
}

struct ckpt_stream *ckpt_stream_create(int fd, const char *peer)
{
    struct ckpt_stream *s = sim_new(struct ckpt_stream);

    s->fd = fd;
    s->peer = sim_strdup(peer);
    s->broke = log_broken;
    sim_mutex_init(&s->lock, SIM_RANK_LEAF);
    return s;
}

void ckpt_stream_destroy(struct ckpt_stream *s)
{
    if (!s)
        return;
    close(s->fd);
    sim_mutex_fini(&s->lock);
    sim_free(s->payload);
    sim_free(s->peer);
    sim_free(s);
}
