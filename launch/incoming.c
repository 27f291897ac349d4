/* A machine that comes through a connection. */
#include "incoming.h"

#include <stdlib.h>
#include <string.h>

#include "checkpoint/receiver.h"
#include "checkpoint_state.h"
#include "image_config.h"
#include "sim-core/alloc.h"
#include "sim-core/log.h"
#include "sim-core/timer.h"

enum { MAX_SECTIONS = 1 << 20, NAME_MAX_BYTES = 256 };

struct section {
    char *name;
    uint8_t *data;
    size_t len;
};

/* A SPACE frame. */
struct announced {
    char name[CKPT_DRIVE_NAME];
    uint64_t nr_blocks;
};

/* Owner: the launch thread. */
struct incoming {
    struct ckpt_stream *stream;
    struct ckpt_receiver *receiver;
    struct machine *m;
    struct section *section;
    uint32_t nr_sections, room;
    struct announced space[1 + CONFIG_MAX_DRIVES];
    unsigned nr_spaces;
    struct ckpt_range *range; /* of RAM */
    struct ckpt_range drive_range[CONFIG_MAX_DRIVES];
    char drive_name[CONFIG_MAX_DRIVES][CKPT_DRIVE_NAME];
    struct blockdev *drive[1 + CONFIG_MAX_DRIVES]; /* by space; NULL: RAM */
    struct machine_state state;
    uint64_t guest_ns;
    bool ours; /* the guest, since GO */
};

static enum sim_status senseless(struct incoming *in, const char *what)
{
    sim_error("migration: %s: %s", ckpt_stream_peer(in->stream), what);
    return SIM_ERR_FORMAT;
}

/* --- sections --- */

static enum sim_status keep_section(struct incoming *in, const struct ckpt_frame *f)
{
    uint32_t name_len;

    if (f->len < sizeof name_len || in->nr_sections == MAX_SECTIONS)
        return senseless(in, "a section that makes no sense");
    memcpy(&name_len, f->payload, sizeof name_len);
    if (!name_len || name_len > NAME_MAX_BYTES || name_len > f->len - sizeof name_len)
        return senseless(in, "a section whose name makes no sense");
    if (in->nr_sections == in->room) {
        in->room = in->room ? 2 * in->room : 64;
        in->section = sim_realloc(in->section, in->room * sizeof in->section[0]);
    }
    const char *name = (const char *)f->payload + sizeof name_len;
    struct section *s = &in->section[in->nr_sections++];
    s->name = sim_asprintf("%.*s", (int)name_len, name);
    s->len = f->len - sizeof name_len - name_len;
    s->data = sim_zalloc(s->len + 1);
    memcpy(s->data, name + name_len, s->len);
    return SIM_OK;
}

static bool find_section(const void *opaque, const char *name, const uint8_t **data, size_t *len)
{
    const struct incoming *in = opaque;

    for (uint32_t i = 0; i < in->nr_sections; i++) {
        if (strcmp(in->section[i].name, name) == 0) {
            *data = in->section[i].data;
            *len = in->section[i].len;
            return true;
        }
    }
    return false;
}

static const char *section_name(const void *opaque, unsigned i)
{
    const struct incoming *in = opaque;

    return i < in->nr_sections ? in->section[i].name : NULL;
}

/* --- introduction --- */

static enum sim_status keep_space(struct incoming *in, const struct ckpt_frame *f)
{
    struct announced *a = &in->space[in->nr_spaces];

    if (in->nr_spaces == SIM_ARRAY_LEN(in->space) || f->len < sizeof a->nr_blocks ||
        f->len - sizeof a->nr_blocks >= sizeof a->name)
        return senseless(in, "a space that makes no sense");
    memcpy(&a->nr_blocks, f->payload, sizeof a->nr_blocks);
    memcpy(a->name, f->payload + sizeof a->nr_blocks, f->len - sizeof a->nr_blocks);
    in->nr_spaces++;
    return SIM_OK;
}

static enum sim_status take_tree(struct incoming *in, struct config *c)
{
    const uint8_t *tree;
    size_t len;

    for (;;) {
        struct ckpt_frame f;
        SIM_TRY(ckpt_stream_receive(in->stream, &f));
        if (f.type == CKPT_FRAME_SPACE)
            SIM_TRY(keep_space(in, &f));
        else if (f.type == CKPT_FRAME_SECTION) {
            SIM_TRY(keep_section(in, &f));
            break;
        } else
            return senseless(in, "a frame that does not belong here");
    }
    if (!find_section(in, "tree", &tree, &len))
        return senseless(in, "it has sent no tree");
    c->tree.fdt = sim_zalloc(len + 1);
    memcpy(c->tree.fdt, tree, len);
    c->tree.size = (uint32_t)len;
    return SIM_OK;
}

static enum sim_status take_machine(struct incoming *in, struct config *c)
{
    struct ckpt_frame f;

    SIM_TRY(ckpt_stream_greet(in->stream));
    SIM_TRY(ckpt_stream_expect(in->stream, CKPT_FRAME_CONFIG, &f));
    SIM_TRY(image_config_parse((const char *)f.payload, ckpt_stream_peer(in->stream), c));
    enum sim_status status = take_tree(in, c);
    if (status != SIM_OK)
        config_fini(c);
    return status;
}

enum sim_status incoming_open(const char *uri, struct config *c, struct incoming **out)
{
    struct incoming *in = sim_new(struct incoming);
    enum sim_status status = ckpt_stream_accept(uri, &in->stream);

    if (status == SIM_OK)
        status = take_machine(in, c);
    if (status != SIM_OK) {
        incoming_close(in);
        return status;
    }
    *out = in;
    return SIM_OK;
}

/* --- spaces --- */

static struct blockdev *drive_of(struct incoming *in, const char *name, unsigned *n)
{
    const char *number = name + strlen("drive/");
    char *end;

    if (strncmp(name, "drive/", strlen("drive/")) != 0 || *number < '0' || *number > '9')
        return NULL;
    unsigned long long value = strtoull(number, &end, 10);
    *n = (unsigned)value;
    return *end || value >= in->m->config->nr_drives ? NULL : in->m->block[value];
}

/* The overlay lies beside the file it hides. */
static enum sim_status freeze_beside(struct blockdev *b)
{
    const char *path = blockdev_path(b), *slash = strrchr(path, '/');
    char *folder = slash ? sim_asprintf("%.*s", (int)(slash - path + 1), path) : sim_strdup(".");
    enum sim_status status = blockdev_freeze(b, folder);

    sim_free(folder);
    return status;
}

static enum sim_status target_of(struct incoming *in, unsigned i, struct ckpt_source *out)
{
    unsigned n;

    if (strcmp(in->space[i].name, "ram") == 0) {
        machine_ram_source(in->m, in->range, out);
        return SIM_OK;
    }
    struct blockdev *b = drive_of(in, in->space[i].name, &n);
    if (!b || in->drive_range[n].nr)
        return senseless(in, "it has a space that the machine has not");
    SIM_TRY(freeze_beside(b));
    machine_drive_source(b, n, &in->drive_range[n], in->drive_name[n], out);
    in->drive[i] = b;
    return SIM_OK;
}

static void has_block(void *opaque, unsigned space, uint64_t local)
{
    struct incoming *in = opaque;

    if (in->drive[space])
        blockdev_overlay_mark(in->drive[space], local);
}

static enum sim_status create_receiver(struct incoming *in, void (*failed)(void *opaque), void *opaque)
{
    struct ckpt_source target[1 + CONFIG_MAX_DRIVES];

    in->range = sim_new_array(struct ckpt_range, machine_ram_ranges(in->m));
    for (unsigned i = 0; i < in->nr_spaces; i++)
        SIM_TRY(target_of(in, i, &target[i]));
    return ckpt_receiver_create(&(struct ckpt_receiver_config){.stream = in->stream,
                                                               .target = target,
                                                               .nr = in->nr_spaces,
                                                               .has = has_block,
                                                               .has_opaque = in,
                                                               .failed = failed,
                                                               .opaque = opaque},
                                &in->receiver);
}

/* --- loading --- */

static enum sim_status receive_guest(struct incoming *in)
{
    struct ckpt_frame f;

    for (;;) {
        SIM_TRY(ckpt_stream_receive(in->stream, &f));
        if (f.type == CKPT_FRAME_STOPPED)
            break;
        SIM_TRY(f.type == CKPT_FRAME_SECTION ? keep_section(in, &f) : ckpt_receiver_take(in->receiver, &f));
    }
    if (f.len != sizeof in->guest_ns)
        return senseless(in, "a time that makes no sense");
    memcpy(&in->guest_ns, f.payload, sizeof in->guest_ns);
    return SIM_OK;
}

static enum sim_status load_states(struct incoming *in)
{
    struct sim_clock *clock = &in->m->sim->clock;
    char *label = sim_asprintf("the machine from %s", ckpt_stream_peer(in->stream));
    const struct section_source source = {
        .label = label, .find = find_section, .name = section_name, .opaque = in};
    struct machine_objects o;

    /* The clock first: devices arm their timers by it. */
    sim_clock_stop(clock);
    sim_clock_set(clock, in->guest_ns);
    machine_objects_list(in->m, &in->state, &o);
    enum sim_status status = machine_objects_load(&o, &source);
    machine_objects_fini(&o);
    sim_free(label);
    clock->carry_ps = in->state.carry_ps;
    return status;
}

/* The files of drives are those of the source, as they were when it stood still. */
static enum sim_status check_drives(const struct incoming *in)
{
    for (unsigned i = 0; i < in->m->config->nr_drives; i++)
        SIM_TRY(drive_state_check(&in->state.drive[i], in->m->block[i], "the machine stopped at its source"));
    return SIM_OK;
}

enum sim_status incoming_load(struct incoming *in, struct machine *m, void (*failed)(void *opaque), void *opaque)
{
    in->m = m;
    SIM_TRY(create_receiver(in, failed, opaque));
    SIM_TRY(ckpt_stream_send(in->stream, &(struct ckpt_frame){.type = CKPT_FRAME_READY}));
    SIM_TRY(receive_guest(in));
    /* Memory on demand first: devices look at their rings when they are loaded. */
    SIM_TRY(ckpt_receiver_serve(in->receiver));
    SIM_TRY(load_states(in));
    return check_drives(in);
}

uint32_t incoming_cursor(const struct incoming *in)
{
    return in->state.cursor;
}

enum sim_status incoming_go(struct incoming *in)
{
    SIM_TRY(ckpt_stream_send(in->stream, &(struct ckpt_frame){.type = CKPT_FRAME_LOADED}));
    SIM_TRY(ckpt_receiver_await_go(in->receiver));
    in->ours = true;
    sim_clock_go(&in->m->sim->clock);
    sim_timers_shifted(in->m->sim);
    return SIM_OK;
}

void incoming_started(struct incoming *in)
{
    /* A connection that fails is the receiver's to report. */
    if (ckpt_stream_send(in->stream, &(struct ckpt_frame){.type = CKPT_FRAME_STARTED}) != SIM_OK)
        return;
}

enum sim_status incoming_finish(struct incoming *in)
{
    return ckpt_receiver_finish(in->receiver);
}

void incoming_close(struct incoming *in)
{
    if (!in)
        return;
    if (in->stream && !in->ours)
        ckpt_stream_refuse(in->stream, "the target cannot take the machine; its own messages say why");
    ckpt_receiver_destroy(in->receiver);
    ckpt_stream_destroy(in->stream);
    for (uint32_t i = 0; i < in->nr_sections; i++) {
        sim_free(in->section[i].name);
        sim_free(in->section[i].data);
    }
    sim_free(in->section);
    sim_free(in->range);
    sim_free(in);
}
