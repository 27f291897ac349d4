/* Every rank of an incoming migration's source comes to every rank here, which has said where it listens and what it gets. */
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "incoming_priv.h"
#include "migrate_target.h"
#include "partition/plan.h"
#include "sim-core/alloc.h"
#include "sim-core/log.h"
#include "sim-core/timer.h"

enum {
    JOIN_MS = 20000, /* in which all ranks of the source come */
    HOST_BYTES = 256
};

/* --- joining: every rank of the source comes to every rank here --- */

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
    ckpt_stream_on_broken(visitor, incoming_broken, in);
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

    if (incoming_are_lost(in))
        return SIM_ERR_IO;
    if (!in->stream[0] || !incoming_is_first(in) || !ckpt_stream_readable(in->stream[0], 0))
        return SIM_OK;
    SIM_TRY(ckpt_stream_receive(in->stream[0], &f));
    return incoming_senseless(in, "a frame that does not belong here");
}

static enum sim_status accept_one(struct incoming *in)
{
    struct ckpt_stream *visitor;
    struct ckpt_frame join;
    enum sim_status status = visitors_next(in->visitors, CKPT_FRAME_JOIN, INCOMING_LOOK_MS, &visitor, &join);

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
            incoming_broken(in, in->uri, why);
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
        machine_ram_target(in->m, in->range, out);
        return SIM_OK;
    }
    struct blockdev *b = drive_of(in, in->space[i].name, &n);
    if (!b || in->drive_range[n].nr)
        return incoming_senseless(in, "it has a space that the machine has not");
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
    unsigned nr = incoming_is_first(in) ? in->nr_spaces : 1; /* RAM */

    in->range = sim_new_array(struct ckpt_range, machine_ram_ranges(in->m));
    if (incoming_is_first(in))
        for (unsigned i = 0; i < nr; i++)
            SIM_TRY(target_of(in, i, &target[i]));
    else
        machine_ram_target(in->m, in->range, &target[0]);
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
    char *own = incoming_is_first(in) ? sim_strdup("") : own_address(in);
    if (!own)
        return SIM_ERR_IO;
    void **all = sim_new_array(void *, in->m->sim->nr_ranks);
    enum sim_status status = ranks_gather(in->ranks, own, (uint32_t)strlen(own) + 1, all);
    if (status == SIM_OK && incoming_is_first(in))
        status = send_places(in, all);
    for (uint32_t i = 0; i < in->m->sim->nr_ranks; i++)
        sim_free(all[i]);
    sim_free(all);
    sim_free(own);
    return status;
}

enum sim_status incoming_join(struct incoming *in)
{
    SIM_TRY(tell_places(in));
    SIM_TRY(accept_all(in));
    SIM_TRY(create_receiver(in));
    SIM_TRY(incoming_barrier(in));
    return incoming_is_first(in) ? ckpt_stream_send(in->stream[0], &(struct ckpt_frame){.type = CKPT_FRAME_READY}) : SIM_OK;
}
