/* What one rank sends: pages, states, and answers to demands. */
#include "migrate_share.h"

#include <libfdt.h>
#include <string.h>

#include "sim-core/alloc.h"
#include "sim-core/lock.h"
#include "sim-core/log.h"

enum {
    PUSH_BLOCKS = 64, /* between two looks at what the target asks for */
    HAND_OVER_S = 20  /* the target may take nothing while the guest stands still */
};

/* Owner: the migration's thread, but for what `lock` guards. */
struct migrate_share {
    struct sim_guard guard; /* first */
    struct machine *m;
    bool has_devices;
    struct ckpt_range *range;
    struct drive_space {
        struct ckpt_range range;
        char name[CKPT_DRIVE_NAME];
    } drive[CONFIG_MAX_DRIVES];
    struct ckpt_source source[1 + CONFIG_MAX_DRIVES];
    unsigned nr_sources;
    const struct migrate_target *target;
    struct machine_objects objects;
    struct machine_state state;
    struct state_buf *section; /* parallel to objects; NULL before the cut */
    bool *done;                /* by stream: the target needs it no more */
    _Atomic uint64_t pending;

    struct sim_mutex lock; /* a leaf; of what comes and goes while others cancel or count */
    struct ckpt_stream **stream; /* by rank of the target */
    unsigned nr_streams;
    struct ckpt_sender *sender;
    bool cancelled;
};

/* --- sources --- */

static void nothing_before(struct sim_guard *g, uint64_t first, uint64_t nr, bool write)
{
    (void)g, (void)first, (void)nr, (void)write;
}

/* Whoever kept the page may have sent it before, or not; now it is ours to send. */
static void page_moves(struct sim_guard *g, uint64_t block, bool comes)
{
    struct migrate_share *s = (struct migrate_share *)g;

    if (comes)
        mem_put_dirty(s->m->space, block << GUEST_PAGE_BITS);
}

/* RAM, and the overlays of drives that have been frozen for an image. */
enum sim_status migrate_share_begin(struct migrate_share *s)
{
    machine_ram_source(s->m, s->range, &s->source[0]);
    s->nr_sources = 1;
    for (unsigned i = 0; s->has_devices && i < s->m->config->nr_drives; i++) {
        struct blockdev *b = s->m->block[i];
        SIM_TRY(drive_state_take(b, &s->state.drive[i])); /* can its file be known again? */
        if (blockdev_overlay_fd(b) >= 0)
            machine_drive_source(b, i, &s->drive[i].range, s->drive[i].name, &s->source[s->nr_sources++]);
    }
    if (mem_is_distributed(s->m->space))
        mem_set_guard(s->m->space, &s->guard);
    machine_objects_list(s->m, s->has_devices ? &s->state : NULL, &s->objects);
    return SIM_OK;
}

/* --- connections --- */

static bool is_cancelled(void *opaque)
{
    struct migrate_share *s = opaque;

    sim_mutex_lock(&s->lock);
    bool cancelled = s->cancelled;
    sim_mutex_unlock(&s->lock);
    return cancelled;
}

/* False: cancelled meanwhile, and the stream is gone. */
static bool keep_stream(struct migrate_share *s, unsigned i, struct ckpt_stream *stream)
{
    sim_mutex_lock(&s->lock);
    bool good = !s->cancelled;
    if (good)
        s->stream[i] = stream;
    sim_mutex_unlock(&s->lock);
    if (!good)
        ckpt_stream_destroy(stream);
    return good;
}

static void make_room(struct migrate_share *s, unsigned nr)
{
    struct ckpt_stream **streams = sim_new_array(struct ckpt_stream *, nr);

    sim_mutex_lock(&s->lock);
    struct ckpt_stream **before = s->stream;
    for (unsigned i = 0; i < s->nr_streams; i++)
        streams[i] = before[i];
    s->stream = streams;
    s->nr_streams = nr;
    sim_mutex_unlock(&s->lock);
    sim_free(before);
}

static enum sim_status dial(struct migrate_share *s, unsigned i, const char *address)
{
    struct ckpt_stream *stream;

    SIM_TRY(ckpt_stream_dial(address, is_cancelled, s, &stream));
    if (s->m->sim->rank) /* the first rank says which one lost its connection, unless it lost its own */
        ckpt_stream_on_broken(stream, NULL, NULL);
    return keep_stream(s, i, stream) ? SIM_OK : SIM_ERR_IO;
}

enum sim_status migrate_share_dial(struct migrate_share *s, const char *uri, struct ckpt_stream **first)
{
    make_room(s, 1);
    SIM_TRY(dial(s, 0, uri));
    *first = s->stream[0];
    return SIM_OK;
}

enum sim_status migrate_share_announce(struct migrate_share *s)
{
    return ckpt_sender_announce(s->stream[0], s->source, s->nr_sources);
}

static enum sim_status join(struct migrate_share *s, unsigned i)
{
    const uint64_t join[2] = {s->target->token, s->m->sim->rank};

    SIM_TRY(dial(s, i, s->target->address[i]));
    SIM_TRY(ckpt_stream_greet(s->stream[i]));
    return ckpt_stream_send(s->stream[i], &(struct ckpt_frame){.type = CKPT_FRAME_JOIN, .len = sizeof join,
                                                               .payload = (const uint8_t *)join});
}

/* Memory goes to whose home it will be, all else to the rank with the devices. */
static unsigned route(void *opaque, unsigned space, uint64_t block)
{
    const struct migrate_share *s = opaque;

    return space ? 0 : migrate_target_home(s->target, block);
}

enum sim_status migrate_share_connect(struct migrate_share *s, const struct migrate_target *target)
{
    s->target = target;
    s->done = sim_new_array(bool, target->nr_ranks);
    make_room(s, target->nr_ranks);
    for (unsigned i = 0; i < target->nr_ranks; i++)
        if (!s->stream[i])
            SIM_TRY(join(s, i));
    const struct ckpt_sender_config config = {.stream = s->stream,
                                              .nr_streams = s->nr_streams,
                                              .done = s->done,
                                              .route = target->nr_ranks > 1 ? route : NULL,
                                              .opaque = s,
                                              .source = s->source,
                                              .nr = s->nr_sources};
    struct ckpt_sender *sender;
    SIM_TRY(ckpt_sender_create(&config, &sender));
    sim_mutex_lock(&s->lock);
    s->sender = sender;
    sim_mutex_unlock(&s->lock);
    return SIM_OK;
}

/* How long a send may make no progress; 0: for ever. */
static void be_patient(struct migrate_share *s, unsigned seconds)
{
    for (unsigned i = 0; i < s->nr_streams; i++)
        ckpt_stream_patience(s->stream[i], seconds);
}

/* --- rounds --- */

static void note_pending(struct migrate_share *s)
{
    atomic_store_explicit(&s->pending, ckpt_sender_pending(s->sender), memory_order_relaxed);
}

uint64_t migrate_share_mark(struct migrate_share *s, bool all)
{
    if (all)
        machine_collect_dirty(s->m); /* before all is marked: a page that comes to be from now on has a mark */
    uint64_t left = ckpt_sender_mark(s->sender, all);

    note_pending(s);
    return left;
}

void migrate_share_anew(struct migrate_share *s)
{
    machine_objects_settle(&s->objects);
    machine_mark_anew(s->m);
}

static enum sim_status push_all(struct migrate_share *s)
{
    while (ckpt_sender_pending(s->sender)) {
        SIM_TRY(ckpt_sender_push(s->sender, PUSH_BLOCKS));
        note_pending(s);
    }
    return SIM_OK;
}

static enum sim_status send_to_all(struct migrate_share *s, const struct ckpt_frame *f)
{
    for (unsigned i = 0; i < s->nr_streams; i++)
        if (!s->done[i])
            SIM_TRY(ckpt_stream_send(s->stream[i], f));
    return SIM_OK;
}

/* What another rank sends in the next round must not be overtaken by what was sent in this one. */
enum sim_status migrate_share_push(struct migrate_share *s)
{
    struct ckpt_frame f;

    SIM_TRY(push_all(s));
    SIM_TRY(send_to_all(s, &(struct ckpt_frame){.type = CKPT_FRAME_ROUND}));
    for (unsigned i = 0; i < s->nr_streams; i++)
        SIM_TRY(ckpt_stream_expect(s->stream[i], CKPT_FRAME_SEEN, &f));
    return SIM_OK;
}

/* --- handing over --- */

void migrate_share_settle(struct migrate_share *s)
{
    machine_objects_fini(&s->objects); /* harts may have moved */
    machine_objects_list(s->m, s->has_devices ? &s->state : NULL, &s->objects);
    s->section = sim_new_array(struct state_buf, s->objects.nr);
    machine_objects_settle(&s->objects);
}

static enum sim_status settle_drives(struct migrate_share *s)
{
    for (unsigned i = 0; s->has_devices && i < s->m->config->nr_drives; i++) {
        SIM_TRY(blockdev_sync(s->m->block[i]));
        SIM_TRY(drive_state_take(s->m->block[i], &s->state.drive[i]));
    }
    return SIM_OK;
}

enum sim_status migrate_share_cut(struct migrate_share *s, uint32_t cursor)
{
    machine_collect_dirty(s->m); /* the last marks */
    SIM_TRY(settle_drives(s));
    machine_objects_save(&s->objects, &s->m->sim->clock, &s->state, cursor, s->section);
    return SIM_OK;
}

static enum sim_status send_section(struct migrate_share *s, unsigned nr_streams, const char *name,
                                    const struct state_buf *data)
{
    uint32_t name_len = (uint32_t)strlen(name);
    struct state_buf buf = {0};
    enum sim_status status = SIM_OK;

    state_buf_put(&buf, &name_len, sizeof name_len);
    state_buf_put(&buf, name, name_len);
    state_buf_put(&buf, data->data, data->len);
    const struct ckpt_frame f = {.type = CKPT_FRAME_SECTION, .len = (uint32_t)buf.len, .payload = buf.data};
    if (buf.len > CKPT_FRAME_MAX) {
        sim_error("migration: section '%s' of %zu bytes is too long for a frame", name, buf.len);
        status = SIM_ERR_UNSUPPORTED;
    }
    for (unsigned i = 0; i < nr_streams && status == SIM_OK; i++)
        status = ckpt_stream_send(s->stream[i], &f);
    state_buf_fini(&buf);
    return status;
}

/* Harts may live anywhere there, the rest lives on the first rank. */
static enum sim_status send_states(struct migrate_share *s)
{
    for (unsigned i = 0; i < s->objects.nr; i++)
        SIM_TRY(send_section(s, i < s->objects.first_hart ? 1 : s->nr_streams, s->objects.list[i].name,
                             &s->section[i]));
    return send_to_all(s, &(struct ckpt_frame){.type = CKPT_FRAME_STOPPED,
                                               .len = sizeof s->state.guest_ns,
                                               .payload = (const uint8_t *)&s->state.guest_ns});
}

enum sim_status migrate_share_hand_over(struct migrate_share *s, bool postcopy)
{
    be_patient(s, HAND_OVER_S);
    migrate_share_mark(s, false);
    if (!postcopy)
        SIM_TRY(push_all(s));
    SIM_TRY(ckpt_sender_missing(s->sender));
    return send_states(s);
}

enum sim_status migrate_share_go(struct migrate_share *s)
{
    return send_to_all(s, &(struct ckpt_frame){.type = CKPT_FRAME_GO});
}

/* --- demands --- */

static enum sim_status take_frame(struct migrate_share *s, unsigned stream, enum ckpt_frame_type until, bool *came)
{
    struct ckpt_frame f;

    SIM_TRY(ckpt_stream_receive(s->stream[stream], &f));
    if (f.type == CKPT_FRAME_DEMAND)
        return ckpt_sender_demand(s->sender, &f);
    *came = stream == 0 && f.type == until;
    if (*came)
        return SIM_OK;
    /* The guest has ended there before all of it had come. */
    bool may_be_done = until != CKPT_FRAME_LOADED && !(until == CKPT_FRAME_STARTED && stream == 0);
    if (f.type == CKPT_FRAME_DONE && may_be_done) {
        s->done[stream] = true;
        return SIM_OK;
    }
    sim_error("migration: %s sends a frame that does not belong here", ckpt_stream_peer(s->stream[stream]));
    return SIM_ERR_FORMAT;
}

/* The next stream after *last with something to say, of those that are not done. */
static bool poll_open(struct migrate_share *s, unsigned *last, int timeout_ms)
{
    struct ckpt_stream **open = sim_new_array(struct ckpt_stream *, s->nr_streams);

    for (unsigned i = 0; i < s->nr_streams; i++)
        open[i] = s->done[i] ? NULL : s->stream[i];
    int found = ckpt_stream_poll(open, s->nr_streams, *last, timeout_ms);
    sim_free(open);
    if (found >= 0)
        *last = (unsigned)found;
    return found >= 0;
}

/* A connection has broken. That the machine runs there may have been said before that, and lie unread: behind an answer that
 * could not be sent, or in the first connection when another one was looked at. */
static bool said_before(struct migrate_share *s, enum ckpt_frame_type type)
{
    struct ckpt_frame f;

    while (ckpt_stream_try_receive(s->stream[0], &f) == SIM_OK)
        if (f.type == type)
            return true;
    return false;
}

enum sim_status migrate_share_serve(struct migrate_share *s, enum ckpt_frame_type until, int timeout_ms, bool *came)
{
    uint64_t end = sim_host_ns() + (uint64_t)timeout_ms * 1000000;
    unsigned last = 0;

    for (*came = false; !*came;) {
        uint64_t now = sim_host_ns();
        if (timeout_ms >= 0 && now > end)
            break;
        if (!poll_open(s, &last, timeout_ms < 0 ? -1 : (int)((end - now) / 1000000)))
            continue;
        enum sim_status status = take_frame(s, last, until, came);
        if (status != SIM_OK) {
            *came = until == CKPT_FRAME_STARTED && said_before(s, until);
            return *came ? SIM_OK : status;
        }
        note_pending(s);
    }
    return SIM_OK;
}

static bool all_done(const struct migrate_share *s)
{
    for (unsigned i = 0; i < s->nr_streams; i++)
        if (!s->done[i])
            return false;
    return true;
}

/* DONE before END says that the guest has ended: all ranks of the target will say so. */
enum sim_status migrate_share_rest(struct migrate_share *s)
{
    unsigned last = 0;
    bool never;

    be_patient(s, 0); /* it has the guest: there is nothing to give up any more */
    while (ckpt_sender_pending(s->sender) && !all_done(s)) {
        while (!all_done(s) && poll_open(s, &last, 0))
            SIM_TRY(take_frame(s, last, CKPT_FRAME_NR, &never));
        SIM_TRY(ckpt_sender_push(s->sender, PUSH_BLOCKS));
        note_pending(s);
    }
    SIM_TRY(send_to_all(s, &(struct ckpt_frame){.type = CKPT_FRAME_END}));
    while (!all_done(s))
        if (poll_open(s, &last, -1))
            SIM_TRY(take_frame(s, last, CKPT_FRAME_NR, &never));
    return SIM_OK;
}

/* --- the end --- */

void migrate_share_cancel(struct migrate_share *s)
{
    sim_mutex_lock(&s->lock);
    s->cancelled = true;
    for (unsigned i = 0; i < s->nr_streams; i++)
        if (s->stream[i])
            ckpt_stream_cancel(s->stream[i]);
    sim_mutex_unlock(&s->lock);
}

void migrate_share_uncancel(struct migrate_share *s)
{
    sim_mutex_lock(&s->lock);
    s->cancelled = false;
    sim_mutex_unlock(&s->lock);
}

static void end_streams(struct migrate_share *s, bool good)
{
    sim_mutex_lock(&s->lock);
    struct ckpt_stream **stream = s->stream;
    unsigned nr = s->nr_streams;
    s->stream = NULL;
    s->nr_streams = 0;
    s->cancelled = false;
    sim_mutex_unlock(&s->lock);
    for (unsigned i = 0; i < nr; i++) {
        if (stream[i] && !good)
            ckpt_stream_refuse(stream[i], "the source gave the migration up");
        ckpt_stream_destroy(stream[i]);
    }
    sim_free(stream);
}

void migrate_share_end(struct migrate_share *s, bool good)
{
    if (mem_is_distributed(s->m->space))
        mem_set_guard(s->m->space, NULL);
    end_streams(s, good);
    sim_mutex_lock(&s->lock);
    struct ckpt_sender *sender = s->sender;
    s->sender = NULL;
    sim_mutex_unlock(&s->lock);
    ckpt_sender_destroy(sender);
    for (unsigned i = 0; s->section && i < s->objects.nr; i++)
        state_buf_fini(&s->section[i]);
    sim_free(s->section);
    s->section = NULL;
    machine_objects_fini(&s->objects);
    sim_free(s->done);
    s->done = NULL;
}

void migrate_share_get_stats(struct migrate_share *s, struct migrate_share_stats *out)
{
    *out = (struct migrate_share_stats){.pending = atomic_load_explicit(&s->pending, memory_order_relaxed)};
    sim_mutex_lock(&s->lock);
    if (s->sender)
        ckpt_sender_stats(s->sender, &out->blocks, &out->zeros);
    for (unsigned i = 0; i < s->nr_streams; i++)
        if (s->stream[i])
            out->bytes += ckpt_stream_sent(s->stream[i]);
    sim_mutex_unlock(&s->lock);
}

struct migrate_share *migrate_share_create(struct machine *m)
{
    struct migrate_share *s = sim_new(struct migrate_share);

    s->guard = (struct sim_guard){.before = nothing_before, .moves = page_moves};
    s->m = m;
    s->has_devices = m->sim->rank == 0;
    s->range = sim_new_array(struct ckpt_range, machine_ram_ranges(m));
    sim_mutex_init(&s->lock, SIM_RANK_LEAF);
    return s;
}

void migrate_share_destroy(struct migrate_share *s)
{
    if (!s)
        return;
    sim_mutex_fini(&s->lock);
    sim_free(s->range);
    sim_free(s);
}
