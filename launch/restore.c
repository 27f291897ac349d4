/* Loading a machine's states and memory from an image. */
#include "restore.h"

#include <string.h>

#include "checkpoint/pager.h"
#include "checkpoint_state.h"
#include "image_config.h"
#include "sim-core/alloc.h"
#include "sim-core/log.h"
#include "sim-core/timer.h"

enum { PREFETCHERS = 2 /* of a machine on one rank; of ranks one each */ };

/* Owner: the launch thread. */
struct restore {
    struct ckpt_image *image;  /* does not change, so that the ranks of a process have it together: */
    _Atomic unsigned *users;   /* who closes it last */
    struct machine *m;
    struct ranks *ranks; /* NULL: the only rank */
    struct machine_state state;
    struct ckpt_range *range; /* of RAM */
    struct drive {
        struct ckpt_range range;
        char name[CKPT_DRIVE_NAME];
    } drive[CONFIG_MAX_DRIVES];
    struct ckpt_pager *pager[1 + CONFIG_MAX_DRIVES];
    unsigned nr_pagers;
    void (*failed)(void *opaque);
    void *opaque;
};

static enum sim_status take_tree(struct restore *r, struct config *c)
{
    const uint8_t *tree;
    size_t len;

    if (!ckpt_image_section(r->image, "tree", &tree, &len) || len > UINT32_MAX) {
        sim_error("image '%s' has no section 'tree'", ckpt_image_path(r->image));
        return SIM_ERR_FORMAT;
    }
    c->tree.fdt = sim_zalloc(len + 1);
    memcpy(c->tree.fdt, tree, len);
    c->tree.size = (uint32_t)len;
    ckpt_id_format(ckpt_image_manifest(r->image, 0)->self.id, c->tree.image);
    return SIM_OK;
}

struct restore *restore_open_again(const struct restore *first)
{
    struct restore *r = sim_new(struct restore);

    r->image = first->image;
    r->users = first->users;
    atomic_fetch_add_explicit(r->users, 1, memory_order_relaxed);
    return r;
}

enum sim_status restore_open(const char *path, struct config *c, struct restore **out)
{
    struct restore *r = sim_new(struct restore);

    r->users = sim_zalloc(sizeof *r->users);
    atomic_init(r->users, 1);
    enum sim_status status = ckpt_image_open(path, &r->image);
    if (status == SIM_OK)
        status = image_config_parse(ckpt_image_manifest(r->image, 0)->machine,
                                    ckpt_image_path(r->image), c);
    if (status == SIM_OK) {
        status = take_tree(r, c);
        if (status != SIM_OK)
            config_fini(c);
    }
    if (status != SIM_OK) {
        restore_close(r);
        return status;
    }
    *out = r;
    return SIM_OK;
}

const struct ckpt_image *restore_image(const struct restore *r)
{
    return r->image;
}

uint32_t restore_cursor(const struct restore *r)
{
    return r->state.cursor;
}

static bool image_find(const void *opaque, const char *name, const uint8_t **data, size_t *len)
{
    return ckpt_image_section(opaque, name, data, len);
}

static const char *image_name(const void *opaque, unsigned i)
{
    return ckpt_image_section_name(opaque, i);
}

typedef enum sim_status load_fn(const struct machine_objects *o, const struct section_source *source);

static enum sim_status load_objects(struct restore *r, const struct machine_objects *o, load_fn *load)
{
    char *label = sim_asprintf("image '%s'", ckpt_image_path(r->image));
    const struct section_source source = {
        .label = label, .find = image_find, .name = image_name, .opaque = r->image};
    enum sim_status status = load(o, &source);

    sim_free(label);
    return status;
}

/* Each rank its harts, then the first its devices: what those tell harts elsewhere comes after what the image says of
 * them. */
static enum sim_status load_over_ranks(struct restore *r, const struct machine_objects *o)
{
    SIM_TRY(load_objects(r, o, machine_objects_load_harts));
    SIM_TRY(ranks_barrier(r->ranks));
    if (ranks_has_devices(r->ranks))
        SIM_TRY(load_objects(r, o, machine_objects_load_devices));
    if (r->m->cpus)
        rv_machine_tell_states(r->m->cpus);
    return ranks_barrier(r->ranks);
}

static enum sim_status load_states(struct restore *r)
{
    struct machine_objects o;
    struct sim_clock *clock = &r->m->sim->clock;
    bool has_devices = !r->ranks || ranks_has_devices(r->ranks);

    /* The clock first: devices arm their timers by it. */
    sim_clock_stop(clock);
    sim_clock_set(clock, ckpt_image_manifest(r->image, 0)->guest_ns);
    machine_objects_list(r->m, has_devices ? &r->state : NULL, &o);
    enum sim_status status =
        r->ranks ? load_over_ranks(r, &o) : load_objects(r, &o, machine_objects_load);
    if (status == SIM_OK && !r->ranks)
        machine_clock_stop(r->m); /* until all go; on several ranks they are set then */
    machine_objects_fini(&o);
    SIM_TRY(status);
    clock->carry_ps = r->state.carry_ps;
    return SIM_OK;
}

/* Every block of the image must have a place. */
static enum sim_status check_ram(const struct restore *r, const struct ckpt_source *ram)
{
    const struct ckpt_space *s = ckpt_image_find_space(r->image, "ram");

    for (size_t i = 0; s && i < s->nr_extents; i++) {
        const struct ckpt_extent *e = &s->extent[i];
        const struct ckpt_range *g = ckpt_range_of_block(ram, e->block);
        if (!g || e->nr > g->nr - (e->block - g->block)) {
            sim_error("image '%s' has memory at 0x%llx, where the machine has none",
                      ckpt_image_path(r->image), (unsigned long long)e->block << GUEST_PAGE_BITS);
            return SIM_ERR_FORMAT;
        }
    }
    return SIM_OK;
}

static enum sim_status start_pager(struct restore *r, const struct ckpt_source *target)
{
    const struct ckpt_pager_config config = {.image = r->image,
                                             .target = *target,
                                             .nr_threads = r->ranks ? 1 : PREFETCHERS,
                                             .failed = r->failed,
                                             .opaque = r->opaque};

    SIM_TRY(ckpt_pager_start(&config, &r->pager[r->nr_pagers]));
    r->nr_pagers++;
    return SIM_OK;
}

/* Each rank brings the pages whose home it is; from there others get them. Asked of the plan, because pages still come when the run
 * ends and the ranks have parted. */
static bool is_home(void *opaque, uint64_t local)
{
    const struct machine *m = opaque;
    uint64_t page = mem_page_gpa(m->space, local) >> GUEST_PAGE_BITS;

    return part_plan_home(ranks_get_plan(m->ranks), page) == m->sim->rank;
}

static enum sim_status load_ram(struct restore *r)
{
    struct ckpt_source ram;

    r->range = sim_new_array(struct ckpt_range, machine_ram_ranges(r->m));
    machine_ram_target(r->m, r->range, &ram);
    SIM_TRY(check_ram(r, &ram));
    ram.owns = r->ranks ? is_home : NULL;
    SIM_TRY(start_pager(r, &ram));
    return r->ranks ? ranks_barrier(r->ranks) : SIM_OK;
}

/* --- drives --- */

/* The image's memory knows the disk as it was. */
static enum sim_status check_drive(const struct restore *r, unsigned n)
{
    char *when = sim_asprintf("image '%s' was made", ckpt_image_path(r->image));
    enum sim_status status = drive_state_check(&r->state.drive[n], r->m->block[n], when);

    sim_free(when);
    return status;
}

static enum sim_status load_drive(struct restore *r, unsigned n)
{
    struct blockdev *b = r->m->block[n];
    struct drive *d = &r->drive[n];
    struct ckpt_source target;

    SIM_TRY(check_drive(r, n));
    SIM_TRY(blockdev_freeze(b, ckpt_image_store(r->image)));
    if (blockdev_overlay_fd(b) < 0)
        return SIM_OK;
    machine_drive_source(b, n, &d->range, d->name, &target);
    const struct ckpt_space *s = ckpt_image_find_space(r->image, d->name);
    for (size_t i = 0; s && i < s->nr_extents; i++) {
        for (uint64_t k = 0; k < s->extent[i].nr; k++) {
            if (s->extent[i].block + k >= target.nr_blocks) {
                sim_error("image '%s' has blocks behind the end of drive '%s'",
                          ckpt_image_path(r->image), blockdev_path(b));
                return SIM_ERR_FORMAT;
            }
            blockdev_overlay_mark(b, s->extent[i].block + k);
        }
    }
    return start_pager(r, &target);
}

enum sim_status restore_load(struct restore *r, struct machine *m, struct ranks *ranks,
                             void (*failed)(void *opaque), void *opaque)
{
    r->m = m;
    r->ranks = ranks;
    r->failed = failed;
    r->opaque = opaque;
    /* Memory first: devices look at their rings when they are loaded. */
    SIM_TRY(load_ram(r));
    if (m->kvm && !ranks) { /* KVM takes pages without asking: all of them first */
        SIM_TRY(restore_fetch(r));
        SIM_TRY(restore_finish(r));
        machine_collect_dirty(m); /* the next image may build on this one */
    }
    SIM_TRY(load_states(r));
    for (unsigned i = 0; (!ranks || ranks_has_devices(ranks)) && i < m->config->nr_drives; i++)
        SIM_TRY(load_drive(r, i));
    return SIM_OK;
}

enum sim_status restore_go(struct restore *r)
{
    if (r->ranks) {
        SIM_TRY(ranks_start_clocks(r->ranks));
    } else {
        sim_clock_go(&r->m->sim->clock);
        machine_clock_go(r->m);
    }
    sim_timers_shifted(r->m->sim);
    return SIM_OK;
}

enum sim_status restore_fetch(struct restore *r)
{
    for (unsigned i = 0; i < r->nr_pagers; i++)
        SIM_TRY(ckpt_pager_fetch(r->pager[i]));
    return SIM_OK;
}

enum sim_status restore_finish(struct restore *r)
{
    enum sim_status status = SIM_OK;

    for (unsigned i = 0; i < r->nr_pagers && status == SIM_OK; i++)
        status = ckpt_pager_finish(r->pager[i]);
    return status;
}

void restore_close(struct restore *r)
{
    if (!r)
        return;
    for (unsigned i = 0; i < r->nr_pagers; i++)
        ckpt_pager_destroy(r->pager[i]);
    if (atomic_fetch_sub_explicit(r->users, 1, memory_order_acq_rel) == 1) {
        ckpt_image_close(r->image);
        sim_free((void *)r->users);
    }
    sim_free(r->range);
    sim_free(r);
}
