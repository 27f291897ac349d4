/* A machine that comes through connections, from every rank of the source to every rank here. */
#include "incoming.h"

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "checkpoint/receiver.h"
#include "checkpoint/visitors.h"
#include "checkpoint_state.h"
#include "image_config.h"
#include "mem/dsm.h"
#include "migrate_target.h"
#include "partition/plan.h"
#include "ranks.h"
#include "ranks_migrate.h"
#include "sim-core/alloc.h"
#include "sim-core/log.h"
#include "sim-core/timer.h"

enum {
    MAX_SECTIONS = 1 << 20,
    NAME_MAX_BYTES = 256,
    LOOK_MS = 100,    /* between two looks at the other ranks */
    JOIN_MS = 20000,  /* in which all ranks of the source come */
    INTRODUCE_S = 5,  /* in which it says all of what the machine is */
    HOST_BYTES = 256
};

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
    char *uri;               /* that the source was told */
    struct visitors *visitors;
    atomic_bool said;        /* why it cannot go on: once, whatever breaks, and on whichever rank (the first's counts) */
    uint64_t token;
    struct ckpt_stream **stream; /* by rank of the source; NULL: has not come yet */
    unsigned nr_streams;
    struct ckpt_receiver *receiver;
    struct machine *m;
    struct ranks *ranks; /* NULL: the only rank here */
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
    void (*failed)(void *opaque);
    void *opaque;
};

/* --- what breaks: one message of all ranks, by the first --- */

static bool is_first(const struct incoming *in)
{
    return !in->ranks || in->m->sim->rank == 0;
}

static void say_once(struct incoming *in, const char *peer, const char *why)
{
    if (!atomic_exchange_explicit(&in->said, true, memory_order_relaxed))
        sim_error("migration: %s: %s", peer, why);
}

/* Any thread. */
static void has_broken(void *opaque, const char *peer, const char *why)
{
    struct incoming *in = opaque;

    if (is_first(in))
        say_once(in, peer, why);
    else if (!sim_ending(in->m->sim))
        ranks_incoming_tell(in->ranks, peer, why);
}

/* Another rank's. A handler. */
static void other_has_broken(void *opaque, const char *peer, const char *why)
{
    say_once(opaque, peer, why);
}

static enum sim_status senseless(struct incoming *in, const char *what)
{
    ckpt_stream_break(in->stream[0], what);
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
    *a = (struct announced){0}; /* a stranger may have been here before */
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
        SIM_TRY(ckpt_stream_receive(in->stream[0], &f));
        if (f.type == CKPT_FRAME_SPACE) {
            SIM_TRY(keep_space(in, &f));
            continue;
        }
        SIM_TRY(ckpt_stream_check_type(in->stream[0], &f, CKPT_FRAME_SECTION));
        SIM_TRY(keep_section(in, &f));
        break;
    }
    if (!find_section(in, "tree", &tree, &len))
        return senseless(in, "it has sent no tree");
    c->tree.fdt = sim_zalloc(len + 1);
    memcpy(c->tree.fdt, tree, len);
    c->tree.size = (uint32_t)len;
    return SIM_OK;
}

/* Room for the connections of all ranks of the source; the first is there. */
static enum sim_status take_ranks(struct incoming *in)
{
    struct ckpt_stream *first = in->stream[0];
    struct ckpt_frame f;
    uint64_t ranks[2];

    SIM_TRY(ckpt_stream_expect(first, CKPT_FRAME_RANKS, &f));
    if (f.len != sizeof ranks)
        return senseless(in, "a number of ranks that makes no sense");
    memcpy(ranks, f.payload, sizeof ranks);
    if (!ranks[1] || ranks[1] > PART_MAX_RANKS)
        return senseless(in, "a number of ranks that makes no sense");
    in->token = ranks[0];
    sim_free(in->stream);
    in->nr_streams = (unsigned)ranks[1];
    in->stream = sim_new_array(struct ckpt_stream *, in->nr_streams);
    in->stream[0] = first;
    return SIM_OK;
}

static enum sim_status take_machine(struct incoming *in, const struct ckpt_frame *first, struct config *c)
{
    SIM_TRY(image_config_parse((const char *)first->payload, ckpt_stream_peer(in->stream[0]), c));
    enum sim_status status = take_ranks(in);
    if (status == SIM_OK)
        status = take_tree(in, c);
    if (status != SIM_OK)
        config_fini(c);
    return status;
}

static void forget_sections(struct incoming *in)
{
    for (uint32_t i = 0; i < in->nr_sections; i++) {
        sim_free(in->section[i].name);
        sim_free(in->section[i].data);
    }
    in->nr_sections = 0;
    in->nr_spaces = 0;
}

/* Somebody who has greeted and begun to tell of a machine: CONFIG. */
static enum sim_status hear_source(struct incoming *in, struct ckpt_stream *visitor, const struct ckpt_frame *first,
                                   struct config *c)
{
    in->stream = sim_new_array(struct ckpt_stream *, 1);
    in->nr_streams = 1;
    in->stream[0] = visitor;
    ckpt_stream_hear_until(visitor, sim_host_ns() + INTRODUCE_S * 1000000000ull); /* nobody else is heard meanwhile */
    enum sim_status status = take_machine(in, first, c);
    if (status == SIM_OK) {
        ckpt_stream_hear_until(visitor, 0);
        ckpt_stream_on_broken(visitor, has_broken, in);
        return SIM_OK;
    }
    forget_sections(in);
    sim_free(in->stream);
    in->stream = NULL;
    in->nr_streams = 0;
    ckpt_stream_refuse(visitor, "what it says of its machine cannot be understood; the target's own messages say why");
    ckpt_stream_destroy(visitor);
    return status;
}

/* Until somebody comes who has a machine. */
static enum sim_status accept_source(struct incoming *in, struct config *c)
{
    struct ckpt_stream *visitor;
    struct ckpt_frame first;

    for (;;) {
        enum sim_status status = visitors_next(in->visitors, CKPT_FRAME_CONFIG, -1, &visitor, &first);
        if (status != SIM_OK && status != SIM_INPROGRESS)
            return status;
        if (status == SIM_OK && hear_source(in, visitor, &first, c) == SIM_OK)
            return SIM_OK;
    }
}

enum sim_status incoming_open(const char *uri, struct config *c, struct incoming **out)
{
    struct incoming *in = sim_new(struct incoming);

    in->uri = sim_strdup(uri);
    enum sim_status status = visitors_open(uri, &in->visitors);
    if (status == SIM_OK)
        status = accept_source(in, c);
    if (status != SIM_OK) {
        incoming_close(in);
        return status;
    }
    *out = in;
    return SIM_OK;
}

/* Fields that another rank needs to take its part. */
static struct incoming *beside(const char *uri, uint64_t token, unsigned nr_streams)
{
    struct incoming *in = sim_new(struct incoming);

    in->uri = sim_strdup(uri);
    in->token = token;
    in->nr_streams = nr_streams;
    in->stream = sim_new_array(struct ckpt_stream *, nr_streams);
    return in;
}

struct incoming *incoming_open_beside(const struct incoming *first)
{
    return beside(first->uri, first->token, first->nr_streams);
}

/* What the first rank tells the others: this, the configuration and the tree. */
struct told {
    int32_t status;
    uint32_t nr_streams, config_len, tree_len;
    uint64_t token;
};

static void *tell(const struct incoming *in, enum sim_status status, const struct config *c, uint32_t *len)
{
    char *text = status == SIM_OK ? image_config_format(c) : sim_strdup("");
    struct told told = {.status = status, .config_len = (uint32_t)strlen(text)};

    if (status == SIM_OK) {
        told.nr_streams = in->nr_streams;
        told.token = in->token;
        told.tree_len = c->tree.size;
    }
    *len = (uint32_t)(sizeof told + told.config_len + told.tree_len);
    uint8_t *blob = sim_zalloc(*len);
    memcpy(blob, &told, sizeof told);
    memcpy(blob + sizeof told, text, told.config_len);
    if (told.tree_len)
        memcpy(blob + sizeof told + told.config_len, c->tree.fdt, told.tree_len);
    sim_free(text);
    return blob;
}

static enum sim_status hear(const char *uri, const uint8_t *blob, uint32_t len, struct config *c, struct incoming **out)
{
    struct told told;

    if (len < sizeof told)
        return SIM_ERR_FORMAT;
    memcpy(&told, blob, sizeof told);
    if (told.status != SIM_OK) /* the first rank has said why */
        return (enum sim_status)told.status;
    if (len != sizeof told + (uint64_t)told.config_len + told.tree_len)
        return SIM_ERR_FORMAT;
    char *text = sim_asprintf("%.*s", (int)told.config_len, (const char *)blob + sizeof told);
    enum sim_status status = image_config_parse(text, uri, c);
    sim_free(text);
    SIM_TRY(status);
    c->tree.fdt = sim_zalloc(told.tree_len + 1u);
    memcpy(c->tree.fdt, blob + sizeof told + told.config_len, told.tree_len);
    c->tree.size = told.tree_len;
    *out = beside(uri, told.token, told.nr_streams);
    return SIM_OK;
}

enum sim_status incoming_open_over(const char *uri, struct ic *ic, struct config *c, struct incoming **out)
{
    void **all = sim_new_array(void *, (size_t)ic_nr_ranks(ic));
    uint32_t *lens = sim_new_array(uint32_t, (size_t)ic_nr_ranks(ic)), len = 0;
    struct incoming *in = NULL;
    enum sim_status status = SIM_OK;
    void *mine = NULL;

    if (ic_rank(ic) == 0) {
        status = incoming_open(uri, c, &in);
        mine = tell(in, status, c, &len);
    }
    enum sim_status gathered = ic_gather(ic, mine, len, all, lens);
    if (gathered == SIM_OK && ic_rank(ic))
        status = hear(uri, all[0], lens[0], c, &in);
    if (gathered == SIM_OK)
        ic_gather_free(ic, all);
    else if (status == SIM_OK && ic_rank(ic) == 0) {
        config_fini(c);
        incoming_close(in);
        status = gathered;
    } else if (status == SIM_OK) {
        status = gathered;
    }
    sim_free(mine);
    sim_free(lens);
    sim_free(all);
    if (status == SIM_OK)
        *out = in;
    return status;
}

/* --- joining: every rank of the source comes to every rank here --- */

static bool are_lost(const struct incoming *in)
{
    return in->ranks && ranks_are_lost(in->ranks);
}

/* Why this is no rank of the source; NULL: it is. */
static const char *objection(const struct incoming *in, const struct ckpt_frame *f, uint64_t join[2])
{
    if (f->len != 2 * sizeof join[0])
        return "its JOIN makes no sense";
    memcpy(join, f->payload, 2 * sizeof join[0]);
    return join[0] != in->token || join[1] >= in->nr_streams || in->stream[join[1]]
               ? "it does not belong to this migration"
               : NULL;
}

static void take_join(struct incoming *in, struct ckpt_stream *visitor, const struct ckpt_frame *f)
{
    uint64_t join[2];
    const char *why = objection(in, f, join);

    if (why) {
        visitors_turn_away(visitor, why);
        return;
    }
    ckpt_stream_on_broken(visitor, has_broken, in);
    in->stream[join[1]] = visitor;
}

static unsigned nr_missing(const struct incoming *in)
{
    unsigned n = 0;

    for (unsigned i = 0; i < in->nr_streams; i++)
        n += !in->stream[i];
    return n;
}

/* The source says nothing while its ranks join, unless it gives up. */
static enum sim_status look_after_source(struct incoming *in)
{
    struct ckpt_frame f;

    if (are_lost(in))
        return SIM_ERR_IO;
    if (!in->stream[0] || !is_first(in) || !ckpt_stream_readable(in->stream[0], 0))
        return SIM_OK;
    SIM_TRY(ckpt_stream_receive(in->stream[0], &f));
    return senseless(in, "a frame that does not belong here");
}

static enum sim_status accept_one(struct incoming *in)
{
    struct ckpt_stream *visitor;
    struct ckpt_frame join;
    enum sim_status status = visitors_next(in->visitors, CKPT_FRAME_JOIN, LOOK_MS, &visitor, &join);

    if (status == SIM_OK)
        take_join(in, visitor, &join);
    else if (status != SIM_INPROGRESS)
        return status;
    return look_after_source(in);
}

static enum sim_status accept_all(struct incoming *in)
{
    uint64_t until = sim_host_ns() + JOIN_MS * 1000000ull;

    while (nr_missing(in)) {
        SIM_TRY(accept_one(in));
        if (sim_host_ns() > until && nr_missing(in)) {
            char *why = sim_asprintf("%u ranks of the source have not come", nr_missing(in));
            has_broken(in, in->uri, why);
            sim_free(why);
            return SIM_ERR_IO;
        }
    }
    visitors_close(in->visitors);
    in->visitors = NULL;
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

static void receiving_failed(void *opaque)
{
    struct incoming *in = opaque;

    in->failed(in->opaque);
}

static enum sim_status create_receiver(struct incoming *in)
{
    struct ckpt_source target[1 + CONFIG_MAX_DRIVES];
    unsigned nr = is_first(in) ? in->nr_spaces : 1; /* RAM */

    in->range = sim_new_array(struct ckpt_range, machine_ram_ranges(in->m));
    if (is_first(in))
        for (unsigned i = 0; i < nr; i++)
            SIM_TRY(target_of(in, i, &target[i]));
    else
        machine_ram_source(in->m, in->range, &target[0]);
    return ckpt_receiver_create(&(struct ckpt_receiver_config){.stream = in->stream,
                                                               .nr_streams = in->nr_streams,
                                                               .rank = in->ranks ? in->m->sim->rank : 0,
                                                               .target = target,
                                                               .nr = nr,
                                                               .has = has_block,
                                                               .has_opaque = in,
                                                               .failed = receiving_failed,
                                                               .opaque = in},
                                &in->receiver);
}

/* --- places: what each rank here tells the source of itself --- */

static enum sim_status send_place(struct incoming *in, const struct migrate_target *places, uint32_t rank)
{
    uint32_t len;
    void *place = migrate_target_encode(places, rank, &len);
    enum sim_status status = SIM_ERR_UNSUPPORTED;

    if (len > CKPT_FRAME_MAX)
        sim_error("migration: rank %u has too many pieces of memory", rank);
    else
        status = ckpt_stream_send(in->stream[0],
                                  &(struct ckpt_frame){.type = CKPT_FRAME_PLACE, .len = len, .payload = place});
    sim_free(place);
    return status;
}

/* Where another rank than the first listens: beside it, at another path, or another port of the interface that leads there. */
static char *uri_beside(struct incoming *in)
{
    if (strncmp(in->uri, "tcp:", 4) == 0)
        return ckpt_address_beside(in->uri);
    if (ranks_is_beside_first(in->ranks))
        return sim_asprintf("%s.%u", in->uri, in->m->sim->rank);
    sim_error("migration: rank %u is on another host than rank 0: the address must be tcp:HOST:PORT",
              in->m->sim->rank);
    return NULL;
}

/* What the source is told: a port that the kernel chose; "tcp::PORT" is completed by the source (migrate_target_add). */
static char *told_address(const struct incoming *in, const char *uri)
{
    char host[HOST_BYTES] = "";
    size_t len = strlen(uri) - 1; /* without the port 0 */

    if (strncmp(uri, "tcp:", 4) != 0)
        return sim_strdup(uri);
    if (strcmp(uri, "tcp::0") != 0)
        return sim_asprintf("%.*s%u", (int)len, uri, visitors_port(in->visitors));
    if (!ranks_is_beside_first(in->ranks))
        gethostname(host, sizeof host - 1);
    return sim_asprintf("tcp:%s:%u", host, visitors_port(in->visitors));
}

static char *own_address(struct incoming *in)
{
    char *uri = uri_beside(in);
    char *address = uri && visitors_open(uri, &in->visitors) == SIM_OK ? told_address(in, uri) : NULL;

    sim_free(uri);
    return address;
}

/* Homes as the plan of this machine has them. */
static void add_homes(const struct incoming *in, struct migrate_target *places)
{
    const struct part_plan *plan = ranks_get_plan(in->ranks);

    places->home = sim_new_array(struct migrate_home, plan->nr_homes);
    for (uint32_t i = 0; i < plan->nr_homes; i++) {
        const struct part_home *h = &plan->home[i];
        places->home[places->nr_homes++] = (struct migrate_home){h->first_page, h->last_page - h->first_page, h->rank};
    }
}

static enum sim_status send_places(struct incoming *in, void **address)
{
    struct migrate_target places = {.nr_ranks = in->ranks ? in->m->sim->nr_ranks : 1, .address = (char **)address};
    enum sim_status status = SIM_OK;

    if (in->ranks)
        add_homes(in, &places);
    for (uint32_t i = 0; i < places.nr_ranks && status == SIM_OK; i++)
        status = send_place(in, &places, i);
    sim_free(places.home);
    return status;
}

static enum sim_status tell_places(struct incoming *in)
{
    if (!in->ranks)
        return send_places(in, (void *[1]){NULL});
    char *own = is_first(in) ? sim_strdup("") : own_address(in);
    if (!own)
        return SIM_ERR_IO;
    void **all = sim_new_array(void *, in->m->sim->nr_ranks);
    enum sim_status status = ranks_gather(in->ranks, own, (uint32_t)strlen(own) + 1, all);
    if (status == SIM_OK && is_first(in))
        status = send_places(in, all);
    for (uint32_t i = 0; i < in->m->sim->nr_ranks; i++)
        sim_free(all[i]);
    sim_free(all);
    sim_free(own);
    return status;
}

static enum sim_status barrier(struct incoming *in)
{
    return in->ranks ? ranks_barrier(in->ranks) : SIM_OK;
}

/* --- loading --- */

static enum sim_status take_frame(struct incoming *in, unsigned i, bool *stopped)
{
    struct ckpt_frame f;

    SIM_TRY(ckpt_stream_receive(in->stream[i], &f));
    if (f.type == CKPT_FRAME_SECTION)
        return keep_section(in, &f);
    if (f.type != CKPT_FRAME_STOPPED)
        return ckpt_receiver_take(in->receiver, i, &f);
    if (f.len != sizeof in->guest_ns)
        return senseless(in, "a time that makes no sense");
    if (i == 0)
        memcpy(&in->guest_ns, f.payload, sizeof in->guest_ns);
    *stopped = true;
    return SIM_OK;
}

/* Until all ranks of the source have said that they stand still. */
static enum sim_status receive_until_stopped(struct incoming *in, bool *stopped)
{
    unsigned last = 0, left = in->nr_streams;

    while (left) {
        int i = ckpt_stream_poll(in->stream, in->nr_streams, last, LOOK_MS);
        if (are_lost(in))
            return SIM_ERR_IO;
        if (i < 0)
            continue;
        last = (unsigned)i;
        bool before = stopped[last];
        SIM_TRY(take_frame(in, last, &stopped[last]));
        if (before)
            return senseless(in, "a frame comes after STOPPED");
        left -= stopped[last];
    }
    return SIM_OK;
}

static enum sim_status receive_guest(struct incoming *in)
{
    bool *stopped = sim_new_array(bool, in->nr_streams);
    enum sim_status status = receive_until_stopped(in, stopped);

    sim_free(stopped);
    return status;
}

/* Each rank its harts, then the first its devices: what those tell harts elsewhere comes after what was said of them. */
static enum sim_status load_over_ranks(struct incoming *in, const struct machine_objects *o,
                                       const struct section_source *source)
{
    SIM_TRY(barrier(in)); /* all have their guards */
    SIM_TRY(machine_objects_load_harts(o, source));
    SIM_TRY(barrier(in));
    if (is_first(in))
        SIM_TRY(machine_objects_load_devices(o, source));
    if (in->m->cpus)
        rv_machine_tell_states(in->m->cpus);
    return barrier(in);
}

static enum sim_status load_states(struct incoming *in)
{
    struct sim_clock *clock = &in->m->sim->clock;
    char *label = sim_asprintf("the machine from %s", in->uri);
    const struct section_source source = {
        .label = label, .find = find_section, .name = section_name, .opaque = in};
    struct machine_objects o;

    /* The clock first: devices arm their timers by it. */
    sim_clock_stop(clock);
    sim_clock_set(clock, in->guest_ns);
    machine_objects_list(in->m, is_first(in) ? &in->state : NULL, &o);
    enum sim_status status =
        in->ranks ? load_over_ranks(in, &o, &source) : machine_objects_load(&o, &source);
    if (status == SIM_OK && !in->ranks)
        machine_clock_stop(in->m); /* on several ranks they are set when all go */
    machine_objects_fini(&o);
    sim_free(label);
    clock->carry_ps = in->state.carry_ps;
    return status;
}

/* The files of drives are those of the source, as they were when it stood still. */
static enum sim_status check_drives(const struct incoming *in)
{
    for (unsigned i = 0; is_first(in) && i < in->m->config->nr_drives; i++)
        SIM_TRY(drive_state_check(&in->state.drive[i], in->m->block[i], "the machine stopped at its source"));
    return SIM_OK;
}

/* Every rank of the source is joined with every rank here. */
static enum sim_status join_all(struct incoming *in)
{
    SIM_TRY(tell_places(in));
    SIM_TRY(accept_all(in));
    SIM_TRY(create_receiver(in));
    SIM_TRY(barrier(in));
    return is_first(in) ? ckpt_stream_send(in->stream[0], &(struct ckpt_frame){.type = CKPT_FRAME_READY}) : SIM_OK;
}

enum sim_status incoming_load(struct incoming *in, struct machine *m, struct ranks *ranks, void (*failed)(void *opaque),
                              void *opaque)
{
    in->m = m;
    in->ranks = ranks;
    in->failed = failed;
    in->opaque = opaque;
    if (ranks)
        ranks_incoming_attach(ranks, other_has_broken, in);
    SIM_TRY(join_all(in));
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

static enum sim_status await_go(struct incoming *in)
{
    enum sim_status status;

    do {
        status = ckpt_receiver_await_go(in->receiver, LOOK_MS);
    } while (status == SIM_INPROGRESS && !are_lost(in));
    return status == SIM_INPROGRESS ? SIM_ERR_IO : status;
}

static enum sim_status start_clocks(struct incoming *in)
{
    if (in->ranks)
        return ranks_start_clocks(in->ranks);
    machine_clock_go(in->m);
    sim_clock_go(&in->m->sim->clock);
    return SIM_OK;
}

enum sim_status incoming_go(struct incoming *in)
{
    if (is_first(in))
        SIM_TRY(ckpt_stream_send(in->stream[0], &(struct ckpt_frame){.type = CKPT_FRAME_LOADED}));
    SIM_TRY(await_go(in));
    SIM_TRY(barrier(in)); /* nobody runs unless all have been told to */
    in->ours = true;
    SIM_TRY(start_clocks(in));
    sim_timers_shifted(in->m->sim);
    return SIM_OK;
}

void incoming_started(struct incoming *in)
{
    /* A connection that fails is the receiver's to report. */
    if (is_first(in) &&
        ckpt_stream_send(in->stream[0], &(struct ckpt_frame){.type = CKPT_FRAME_STARTED}) != SIM_OK)
        return;
}

enum sim_status incoming_finish(struct incoming *in)
{
    return ckpt_receiver_finish(in->receiver);
}

static void close_streams(struct incoming *in)
{
    for (unsigned i = 0; i < in->nr_streams; i++)
        if (in->stream[i] && !in->ours)
            ckpt_stream_refuse(in->stream[i], "the target cannot take the machine; its own messages say why");
    ckpt_receiver_destroy(in->receiver);
    for (unsigned i = 0; i < in->nr_streams; i++)
        ckpt_stream_destroy(in->stream[i]);
    sim_free(in->stream);
}

void incoming_close(struct incoming *in)
{
    if (!in)
        return;
    if (in->ranks)
        ranks_incoming_attach(in->ranks, NULL, NULL);
    visitors_close(in->visitors);
    close_streams(in);
    forget_sections(in);
    sim_free(in->section);
    sim_free(in->range);
    sim_free(in->uri);
    sim_free(in);
}
