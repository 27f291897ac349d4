/* Objects of a machine, by name. */
#include "checkpoint_state.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <xxhash.h>

#include "kvm/hkvm.h"
#include "mem/dsm.h"
#include "sim-core/alloc.h"
#include "sim-core/log.h"

static const struct state_field machine_fields[] = {
    STATE_SCALAR(struct machine_state, STATE_U64, guest_ns),
    STATE_SCALAR(struct machine_state, STATE_U64, carry_ps),
    STATE_SCALAR(struct machine_state, STATE_U32, cursor),
    STATE_END};
STATE_LAYOUT(machine, struct machine_state,
              STATE_DERIVED(struct machine_state, drive));
static const struct state_desc machine_desc = {
    .name = "machine", .version = 1, .fields = machine_fields,
    STATE_LAYOUT_OF(machine, struct machine_state)};

static const struct state_field drive_fields[] = {STATE_SCALAR(struct drive_state, STATE_U64, size),
                                                  STATE_SCALAR(struct drive_state, STATE_U64, mtime_ns),
                                                  STATE_END};
STATE_LAYOUT(drive, struct drive_state,
             );
static const struct state_desc drive_desc = {.name = "drive", .version = 1, .fields = drive_fields,
    STATE_LAYOUT_OF(drive, struct drive_state)};

/* --- the list --- */

static bool is_named(const struct machine_objects *o, const char *name)
{
    for (unsigned i = 0; i < o->nr; i++)
        if (strcmp(o->list[i].name, name) == 0)
            return true;
    return false;
}

/* Trees may use a node name twice on different buses. */
static char *unique_name(const struct machine_objects *o, const char *kind, const char *label)
{
    char *name = sim_asprintf("%s/%.200s", kind, label);

    for (unsigned n = 2; is_named(o, name); n++) {
        sim_free(name);
        name = sim_asprintf("%s/%.200s#%u", kind, label, n);
    }
    return name;
}

static void add(struct machine_objects *o, char *name, const struct state_desc *desc, void *object)
{
    o->list = sim_realloc(o->list, (o->nr + 1) * sizeof o->list[0]);
    o->list[o->nr++] = (struct machine_object){name, desc, object};
}

/* Harts are many and their ids differ: no search for their names. Those of other ranks are saved there. */
static void add_harts(struct machine *m, struct machine_objects *o)
{
    o->first_hart = o->nr;
    o->cpus = m->cpus;
    for (uint32_t i = 0; i < m->sim->nr_vcpus; i++) {
        struct vcpu *v = m->sim->vcpus[i];
        if (v->remote)
            continue;
        add(o, sim_asprintf("hart/%llu", (unsigned long long)rv_hart_id(v)), v->ops->state,
            rv_hart_state_object(v));
    }
}

/* Interrupt controllers and clock before the vCPUs, with the devices. vCPUs of other ranks are saved there. */
static void add_kvm(struct machine *m, bool has_devices, struct machine_objects *o)
{
    if (has_devices)
        add(o, sim_strdup("vm"), hkvm_machine_state_desc(), m->kvm);
    o->first_hart = o->nr;
    o->nr_kvm = m->sim->nr_vcpus;
    for (uint32_t i = 0; i < m->sim->nr_vcpus; i++) {
        struct vcpu *v = m->sim->vcpus[i];
        if (v->remote)
            continue;
        add(o, sim_asprintf("cpu/%u", i), v->ops->state, hkvm_vcpu_state_object(v));
    }
}

void machine_objects_list(struct machine *m, struct machine_state *state,
                          struct machine_objects *out)
{
    struct machine_objects o = {0};

    if (state)
        add(&o, sim_strdup("machine"), &machine_desc, state);
    for (unsigned i = 0; state && i < m->config->nr_drives; i++)
        add(&o, sim_asprintf("drive/%u", i), &drive_desc, &state->drive[i]);
    for (unsigned i = 0; i < m->nr_devices; i++) {
        struct device *d = m->devices[i];
        add(&o, unique_name(&o, "device", d->label), d->ops->state, d);
    }
    if (m->kvm)
        add_kvm(m, state != NULL, &o);
    else
        add_harts(m, &o);
    *out = o;
}

void machine_objects_fini(struct machine_objects *o)
{
    for (unsigned i = 0; i < o->nr; i++)
        sim_free(o->list[i].name);
    sim_free(o->list);
    *o = (struct machine_objects){0};
}

void machine_objects_settle(const struct machine_objects *o)
{
    for (unsigned i = 0; i < o->nr; i++)
        if (o->list[i].desc->pre_save)
            o->list[i].desc->pre_save(o->list[i].object);
}

void machine_objects_save(const struct machine_objects *o, const struct sim_clock *clock, struct machine_state *state,
                          uint32_t cursor, struct state_buf *section)
{
    state->guest_ns = sim_clock_now(clock);
    state->carry_ps = clock->carry_ps;
    state->cursor = cursor;
    for (unsigned i = 0; i < o->nr; i++)
        state_save(o->list[i].desc, o->list[i].object, &section[i]);
}

/* --- loading --- */

static enum sim_status load_object(const struct machine_object *o, const struct section_source *source)
{
    const uint8_t *data;
    size_t len, used;

    if (!source->find(source->opaque, o->name, &data, &len)) {
        sim_error("%s has no section '%s'", source->label, o->name);
        return SIM_ERR_FORMAT;
    }
    enum sim_status status = state_load(o->desc, o->object, data, len, &used);
    if (status != SIM_OK) {
        sim_error("%s: section '%s' cannot be restored", source->label, o->name);
        return status;
    }
    if (used == len)
        return SIM_OK;
    sim_error("%s: section '%s' has %zu bytes too many", source->label, o->name, len - used);
    return SIM_ERR_FORMAT;
}

/* Read elsewhere. */
static bool is_special(const char *name)
{
    return strcmp(name, "tree") == 0;
}

/* Harts of other ranks are read there. */
static bool is_hart(const struct machine_objects *o, const char *name)
{
    char *end;

    if (o->nr_kvm && strncmp(name, "cpu/", 4) == 0)
        return strtoull(name + 4, &end, 10) < o->nr_kvm && end > name + 4 && !*end;
    if (!o->cpus || strncmp(name, "hart/", 5) != 0)
        return false;
    uint64_t id = strtoull(name + 5, &end, 10);
    return end > name + 5 && !*end && rv_machine_hart(o->cpus, id);
}

static enum sim_status check_names(const struct machine_objects *o, const struct section_source *source)
{
    const char *name;

    for (unsigned i = 0; (name = source->name(source->opaque, i)); i++) {
        /* In the order they were written, nearly always. */
        bool known = (i < o->nr && strcmp(o->list[i].name, name) == 0) || is_special(name) ||
                     is_hart(o, name) || is_named(o, name);
        if (!known) {
            sim_error("%s: this program has nothing for its section '%s'", source->label, name);
            return SIM_ERR_FORMAT;
        }
    }
    return SIM_OK;
}

enum sim_status machine_objects_load_harts(const struct machine_objects *o, const struct section_source *source)
{
    for (unsigned i = o->first_hart; i < o->nr; i++)
        SIM_TRY(load_object(&o->list[i], source));
    return SIM_OK;
}

enum sim_status machine_objects_load_devices(const struct machine_objects *o, const struct section_source *source)
{
    SIM_TRY(check_names(o, source));
    for (unsigned i = 0; i < o->first_hart; i++)
        SIM_TRY(load_object(&o->list[i], source));
    return SIM_OK;
}

enum sim_status machine_objects_load(const struct machine_objects *o, const struct section_source *source)
{
    SIM_TRY(machine_objects_load_devices(o, source));
    return machine_objects_load_harts(o, source);
}

/* --- RAM --- */

static struct mem_space *space_of(void *machine)
{
    return ((struct machine *)machine)->space;
}

static bool take_dirty(void *opaque, uint64_t local)
{
    return mem_take_dirty(space_of(opaque), local << GUEST_PAGE_BITS);
}

static bool is_dirty(void *opaque, uint64_t local)
{
    return mem_is_dirty(space_of(opaque), local << GUEST_PAGE_BITS);
}

static void set_guard(void *opaque, struct sim_guard *guard)
{
    mem_set_guard(space_of(opaque), guard);
}

/* Exactly one rank saves a page: who was exclusive last. */
static bool keeps_page(void *opaque, uint64_t local)
{
    return dsm_keeps(space_of(opaque)->dsm, local);
}

static bool next_data(void *opaque, uint64_t *first, uint64_t *end)
{
    return mem_next_data(space_of(opaque), first, end);
}

unsigned machine_ram_ranges(const struct machine *m)
{
    const struct mem_region *r;
    unsigned n = 0;

    for (unsigned i = 0; (r = mem_nth(m->space, i)); i++)
        n += !r->ops;
    return n;
}

void machine_ram_source(struct machine *m, struct ckpt_range *range, struct ckpt_source *out)
{
    const struct mem_region *r;
    unsigned n = 0;

    for (unsigned i = 0; (r = mem_nth(m->space, i)); i++)
        if (!r->ops)
            range[n++] = (struct ckpt_range){r->base >> GUEST_PAGE_BITS,
                                             r->ram_offset >> GUEST_PAGE_BITS,
                                             r->size >> GUEST_PAGE_BITS};
    *out = (struct ckpt_source){.name = "ram",
                                .bytes = m->space->memfd < 0 ? m->space->ram : NULL,
                                .fd = m->space->memfd,
                                .nr_blocks = m->space->ram_size >> GUEST_PAGE_BITS,
                                .range = range,
                                .nr_ranges = n,
                                .sparse = true,
                                .opaque = m,
                                .next_data = next_data,
                                .take_dirty = take_dirty,
                                .is_dirty = is_dirty,
                                .set_guard = set_guard,
                                .owns = mem_is_distributed(m->space) ? keeps_page : NULL};
}

/* Pages come one by one until the guard goes. */
static void set_target_guard(void *opaque, struct sim_guard *guard)
{
    mem_set_guard(space_of(opaque), guard);
    if (!guard)
        mem_expect_pages(space_of(opaque), false);
}

void machine_ram_target(struct machine *m, struct ckpt_range *range, struct ckpt_source *out)
{
    machine_ram_source(m, range, out);
    out->set_guard = set_target_guard;
    mem_expect_pages(m->space, true);
}

/* --- drives --- */

enum sim_status drive_state_take(const struct blockdev *b, struct drive_state *out)
{
    struct blockdev_identity id;

    SIM_TRY(blockdev_identify(b, &id));
    *out = (struct drive_state){id.size, id.mtime_ns};
    return SIM_OK;
}

enum sim_status drive_state_check(const struct drive_state *then, const struct blockdev *b, const char *when)
{
    struct drive_state now;

    SIM_TRY(drive_state_take(b, &now));
    if (now.size == then->size && now.mtime_ns == then->mtime_ns)
        return SIM_OK;
    sim_error("drive '%s' has changed since %s (%s): memory and disk would disagree", blockdev_path(b), when,
              now.size != then->size ? "another size" : "written later");
    return SIM_ERR_INVALID;
}

static bool drive_take_dirty(void *opaque, uint64_t local)
{
    return blockdev_overlay_take_dirty(opaque, local);
}

static bool drive_has(void *opaque, uint64_t local)
{
    return blockdev_overlay_has(opaque, local);
}

static void drive_set_guard(void *opaque, struct sim_guard *guard)
{
    blockdev_set_guard(opaque, guard);
}

void machine_drive_source(struct blockdev *b, unsigned n, struct ckpt_range *range, char *name,
                          struct ckpt_source *out)
{
    uint64_t blocks = (blockdev_size(b) + CKPT_BLOCK - 1) / CKPT_BLOCK;

    snprintf(name, CKPT_DRIVE_NAME, "drive/%u", n);
    *range = (struct ckpt_range){0, 0, blocks};
    *out = (struct ckpt_source){.name = name,
                                .fd = blockdev_overlay_fd(b),
                                .nr_blocks = blocks,
                                .range = range,
                                .nr_ranges = 1,
                                .opaque = b,
                                .take_dirty = drive_take_dirty,
                                .set_guard = drive_set_guard,
                                .owns = drive_has};
}

/* --- the hash --- */

/* Zero pages count as absent ones: a restored memory may have fewer of them allocated. */
static void hash_ram(const struct machine *m, XXH3_state_t *hash)
{
    static const uint8_t zero[GUEST_PAGE_SIZE];

    for (uint64_t page = 0, end = UINT64_MAX; mem_next_data(m->space, &page, &end); end = UINT64_MAX)
        for (; page < end; page++) {
            const uint8_t *bytes = m->space->ram + (page << GUEST_PAGE_BITS);
            uint64_t at = page << GUEST_PAGE_BITS;
            if (memcmp(bytes, zero, sizeof zero) == 0)
                continue;
            XXH3_64bits_update(hash, &at, sizeof at);
            XXH3_64bits_update(hash, bytes, sizeof zero);
        }
}

uint64_t machine_state_hash(struct machine *m, struct machine_state *state)
{
    XXH3_state_t *hash = XXH3_createState();
    struct machine_objects o;
    struct state_buf buf = {0};

    SIM_BUG_ON(!hash, "no memory for a hash");
    XXH3_64bits_reset(hash);
    machine_objects_list(m, state, &o);
    machine_objects_settle(&o);
    for (unsigned i = 0; i < o.nr; i++)
        state_save(o.list[i].desc, o.list[i].object, &buf);
    XXH3_64bits_update(hash, buf.data, buf.len);
    hash_ram(m, hash);
    uint64_t digest = XXH3_64bits_digest(hash);
    machine_objects_fini(&o);
    state_buf_fini(&buf);
    XXH3_freeState(hash);
    return digest;
}
