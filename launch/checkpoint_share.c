/* What one rank saves: states, working set, and blocks of RAM and drives. */
#include "checkpoint_share.h"

#include <libfdt.h>

#include "sim-core/alloc.h"
#include "sim-core/log.h"

enum {
    STEP_BLOCKS = 4096, /* between two looks at the time */
    MAX_HOT_PAGES = 16384
};

/* A space being saved. */
struct save_space {
    struct ckpt_source source;
    struct ckpt_snapshot *snapshot;
    struct ckpt_range range; /* drives */
    char name[CKPT_DRIVE_NAME];
};

/* Owner: the checkpoint thread; share_settle and share_take run on the I/O thread while that one waits. */
struct share {
    struct machine *m;
    bool has_devices;
    struct ckpt_range *range;
    struct save_space space[1 + CONFIG_MAX_DRIVES];
    unsigned nr_spaces;
    struct machine_state state;

    /* The image being made. */
    struct share_order order;
    struct ckpt_writer *writer;
    struct machine_objects objects;
    struct state_buf *section; /* parallel to objects */
    uint64_t insns;
};

struct share *share_create(struct machine *m, bool has_devices)
{
    struct share *s = sim_new(struct share);

    s->m = m;
    s->has_devices = has_devices;
    s->range = sim_new_array(struct ckpt_range, machine_ram_ranges(m));
    machine_ram_source(m, s->range, &s->space[0].source);
    s->nr_spaces = 1;
    return s;
}

void share_destroy(struct share *s)
{
    if (!s)
        return;
    for (unsigned i = 0; i < s->nr_spaces; i++)
        ckpt_snapshot_end(s->space[i].snapshot);
    sim_free(s->range);
    sim_free(s);
}

enum sim_status share_prepare(struct share *s, const struct share_order *order)
{
    struct ckpt_writer_config config = {
        .folder = order->folder, .path = order->path, .part = order->part};

    s->order = *order;
    memcpy(config.id, order->id, sizeof config.id);
    return ckpt_writer_create(&config, &s->writer);
}

/* --- the cut: frozen world --- */

/* Not before: harts change their rank until all stand still. */
void share_settle(struct share *s)
{
    machine_objects_list(s->m, s->has_devices ? &s->state : NULL, &s->objects);
    s->section = sim_new_array(struct state_buf, s->objects.nr);
    machine_objects_settle(&s->objects);
}

/* From the first cut on the files of drives stay as they are. */
static enum sim_status freeze_drives(struct share *s)
{
    s->nr_spaces = 1;
    for (unsigned i = 0; s->has_devices && i < s->m->config->nr_drives; i++) {
        struct blockdev *b = s->m->block[i];
        struct save_space *space = &s->space[1 + i];
        SIM_TRY(drive_state_take(b, &s->state.drive[i]));
        SIM_TRY(blockdev_freeze(b, s->order.store));
        space->source = (struct ckpt_source){0};
        if (blockdev_overlay_fd(b) >= 0)
            machine_drive_source(b, i, &space->range, space->name, &space->source);
        s->nr_spaces++;
    }
    return SIM_OK;
}

static enum sim_status begin_snapshots(struct share *s)
{
    for (unsigned i = 0; i < s->nr_spaces; i++) {
        struct save_space *space = &s->space[i];
        ckpt_snapshot_end(space->snapshot); /* the last image's; nobody is inside its guard now */
        space->snapshot = NULL;
        if (!space->source.name)
            continue; /* a drive that cannot be written */
        SIM_TRY(ckpt_snapshot_begin(&space->source, s->order.incremental, &space->snapshot));
    }
    return SIM_OK;
}

struct hot {
    struct ckpt_writer *w;
    uint64_t first, nr, pages;
};

static void hot_flush(struct hot *h)
{
    if (h->nr)
        ckpt_writer_hot(h->w, h->first, (uint32_t)h->nr);
    h->nr = 0;
}

static void hot_page(void *opaque, gpa_t page)
{
    struct hot *h = opaque;
    uint64_t block = page >> GUEST_PAGE_BITS;

    if (h->pages >= MAX_HOT_PAGES || (h->nr && block - h->first < h->nr))
        return;
    h->pages++;
    if (!h->nr || block != h->first + h->nr) {
        hot_flush(h);
        h->first = block;
    }
    h->nr++;
}

static void save_working_set(struct share *s)
{
    const struct sim *sim = s->m->sim;
    struct hot hot = {.w = s->writer};

    for (uint32_t i = 0; s->m->cpus && i < sim->nr_vcpus && hot.pages < MAX_HOT_PAGES; i++)
        if (!sim->vcpus[i]->remote)
            rv_hart_working_set(sim->vcpus[i], hot_page, &hot);
    hot_flush(&hot);
}

static void count_insns(struct share *s)
{
    const struct sim *sim = s->m->sim;

    s->insns = 0;
    for (uint32_t i = 0; i < sim->nr_vcpus; i++)
        if (!sim->vcpus[i]->remote)
            s->insns += sim->vcpus[i]->stats.insns;
}

enum sim_status share_take(struct share *s, uint32_t cursor)
{
    SIM_TRY(freeze_drives(s));
    machine_objects_save(&s->objects, &s->m->sim->clock, &s->state, cursor, s->section);
    save_working_set(s);
    machine_collect_dirty(s->m);
    enum sim_status status = begin_snapshots(s);
    machine_write_protect(s->m);
    count_insns(s);
    return status;
}

uint64_t share_insns(const struct share *s)
{
    return s->insns;
}

uint64_t share_guest_ns(const struct share *s)
{
    return s->state.guest_ns;
}

/* --- after it --- */

void share_get_progress(const struct share *s, struct share_progress *out)
{
    *out = (struct share_progress){0};
    for (unsigned i = 0; i < s->nr_spaces; i++) {
        uint64_t done, total;
        if (!s->space[i].snapshot)
            continue;
        ckpt_snapshot_progress(s->space[i].snapshot, &done, &total);
        out->done += done;
        out->total += total;
    }
    if (s->writer)
        ckpt_writer_progress(s->writer, &out->given, &out->stored);
}

static enum sim_status write_space(struct share *s, struct save_space *space,
                                   bool (*go_on)(void *opaque), void *opaque)
{
    bool done = false;

    ckpt_writer_space(s->writer, space->source.name, ckpt_range_end(&space->source));
    while (!done) {
        SIM_TRY(ckpt_snapshot_next(space->snapshot, s->writer, STEP_BLOCKS, &done));
        SIM_TRY(ckpt_writer_status(s->writer));
        if (!go_on(opaque))
            return SIM_ERR_BUSY;
    }
    return SIM_OK;
}

static void write_sections(struct share *s)
{
    const void *fdt = s->m->fdt;

    for (unsigned i = 0; i < s->objects.nr; i++)
        ckpt_writer_section(s->writer, s->objects.list[i].name, s->section[i].data, s->section[i].len);
    if (s->has_devices)
        ckpt_writer_section(s->writer, "tree", fdt, fdt_totalsize(fdt));
}

static enum sim_status write_all(struct share *s, bool (*go_on)(void *opaque), void *opaque)
{
    write_sections(s);
    for (unsigned i = 0; i < s->nr_spaces; i++)
        if (s->space[i].snapshot)
            SIM_TRY(write_space(s, &s->space[i], go_on, opaque));
    for (unsigned i = 1; i < s->nr_spaces; i++)
        SIM_TRY(blockdev_sync(s->m->block[i - 1])); /* what the image takes for granted */
    return SIM_OK;
}

enum sim_status share_write(struct share *s, bool (*go_on)(void *opaque), void *opaque,
                            struct ckpt_part *out)
{
    struct ckpt_writer *w = s->writer;

    SIM_TRY(write_all(s, go_on, opaque));
    s->writer = NULL;
    return ckpt_writer_finish(w, out);
}

void share_release(struct share *s)
{
    for (unsigned i = 0; i < s->nr_spaces; i++)
        if (s->space[i].snapshot)
            ckpt_snapshot_release(s->space[i].snapshot);
    if (s->writer)
        ckpt_writer_abort(s->writer);
    s->writer = NULL;
    for (unsigned i = 0; s->section && i < s->objects.nr; i++)
        state_buf_fini(&s->section[i]);
    sim_free(s->section);
    s->section = NULL;
    machine_objects_fini(&s->objects);
}
