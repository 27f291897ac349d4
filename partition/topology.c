/* Topologies: read from hwloc, and packed for a message. plan.c works on nothing else of a host.
 *
 *   hwloc's tree -> cores in logical order, with package, L3 and NUMA domain -> those that we may use
 *
 * The packed form is a row of LEB128 numbers (most are one byte) between a magic number and the distances. */
#include "partition/topology.h"

#include <hwloc.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "sim-core/alloc.h"
#include "sim-core/log.h"

enum { DISTANCE_REMOTE = 20 }; /* when nobody tells */

void part_topology_destroy(struct part_topology *t)
{
    if (!t)
        return;
    sim_free(t->numa);
    sim_free(t->core);
    sim_free(t->pu);
    sim_free(t->distance);
    sim_free(t);
}

/* --- hosts --- */

static uint64_t hash_text(const char *s, uint64_t seed)
{
    uint64_t h = 0xcbf29ce484222325ull ^ seed;

    for (; *s; s++)
        h = (h ^ (uint8_t)*s) * 0x100000001b3ull;
    return h;
}

void part_topology_set_host(struct part_topology *t, const char *name)
{
    snprintf(t->host, sizeof t->host, "%s", name);
    for (unsigned i = 0; i < PART_HOST_ID; i++)
        t->host_id[i] = (uint8_t)(hash_text(name, i / 8 + 1) >> (i % 8 * 8));
}

/* The kernel's own identity: what runs on one kernel shares cores, whatever its containers call
 * themselves. */
static bool read_boot_id(uint8_t id[PART_HOST_ID])
{
    char text[64] = "";
    unsigned n = 0, byte;
    FILE *f = fopen("/proc/sys/kernel/random/boot_id", "re");

    if (!f)
        return false;
    bool ok = fgets(text, sizeof text, f) != NULL;
    fclose(f);
    for (const char *s = text; ok && *s && n < PART_HOST_ID;) {
        if (*s == '-') {
            s++;
        } else if (sscanf(s, "%2x", &byte) == 1) {
            id[n++] = (uint8_t)byte;
            s += 2;
        } else {
            ok = false;
        }
    }
    return ok && n == PART_HOST_ID;
}

static void set_own_host(struct part_topology *t)
{
    char name[PART_HOST_NAME] = "localhost";
    uint8_t id[PART_HOST_ID];

    if (gethostname(name, sizeof name) == 0)
        name[sizeof name - 1] = 0;
    part_topology_set_host(t, name);
    if (read_boot_id(id))
        memcpy(t->host_id, id, sizeof id);
}

/* --- from hwloc --- */

/* Walks the machine's cores; cores of one package, and of one cache, follow each other. */
struct core_walk {
    hwloc_topology_t hw;
    hwloc_const_bitmap_t usable;
    struct part_topology *t;
    hwloc_obj_t package, l3; /* of the core before */
};

/* Without L3 caches a package shares the next best thing: its memory controller. */
static hwloc_obj_t cache_of(const struct core_walk *w, hwloc_obj_t core, hwloc_obj_t package)
{
    hwloc_obj_t l3 = hwloc_get_ancestor_obj_by_type(w->hw, HWLOC_OBJ_L3CACHE, core);

    return l3 ? l3 : package;
}

static uint32_t domain_of(const struct core_walk *w, hwloc_obj_t core)
{
    int os_index = core->nodeset ? hwloc_bitmap_first(core->nodeset) : -1;
    hwloc_obj_t numa =
        os_index < 0 ? NULL : hwloc_get_numanode_obj_by_os_index(w->hw, (unsigned)os_index);

    return numa ? numa->logical_index : 0;
}

static void visit_core(struct core_walk *w, hwloc_obj_t core, uint32_t id)
{
    struct part_topology *t = w->t;
    hwloc_obj_t package = hwloc_get_ancestor_obj_by_type(w->hw, HWLOC_OBJ_PACKAGE, core);
    unsigned pu;

    package = package ? package : hwloc_get_root_obj(w->hw);
    hwloc_obj_t l3 = cache_of(w, core, package);
    t->nr_packages += package != w->package;
    t->nr_l3s += l3 != w->l3;
    w->package = package;
    w->l3 = l3;
    struct part_core *c = &t->core[t->nr_cores];
    *c = (struct part_core){.id = id,
                            .package = t->nr_packages - 1,
                            .numa = domain_of(w, core),
                            .l3 = t->nr_l3s - 1,
                            .first_pu = t->nr_pus};
    hwloc_bitmap_foreach_begin(pu, core->cpuset)
        if (hwloc_bitmap_isset(w->usable, pu)) {
            t->pu[t->nr_pus++] = pu;
            c->nr_pus++;
        }
    hwloc_bitmap_foreach_end();
    t->nr_cores += c->nr_pus != 0;
}

/* Some virtual machines and descriptions know PUs only. */
static void read_cores(struct core_walk *w)
{
    hwloc_obj_type_t type =
        hwloc_get_nbobjs_by_type(w->hw, HWLOC_OBJ_CORE) > 0 ? HWLOC_OBJ_CORE : HWLOC_OBJ_PU;
    unsigned n = (unsigned)hwloc_get_nbobjs_by_type(w->hw, type);

    w->t->core = sim_new_array(struct part_core, n);
    w->t->pu = sim_new_array(uint32_t, hwloc_get_nbobjs_by_type(w->hw, HWLOC_OBJ_PU));
    for (unsigned i = 0; i < n; i++)
        visit_core(w, hwloc_get_obj_by_type(w->hw, type, i), i);
}

static void read_numas(hwloc_topology_t hw, struct part_topology *t)
{
    t->nr_numas = (uint32_t)hwloc_get_nbobjs_by_type(hw, HWLOC_OBJ_NUMANODE);
    t->numa = sim_new_array(struct part_numa, t->nr_numas);
    for (uint32_t i = 0; i < t->nr_numas; i++) {
        hwloc_obj_t o = hwloc_get_obj_by_type(hw, HWLOC_OBJ_NUMANODE, i);
        t->numa[i] = (struct part_numa){o->os_index, o->attr->numanode.local_memory};
    }
}

/* hwloc's latencies on ACPI's scale; they are on it already when they come from the firmware. */
static uint8_t scale_distance(uint64_t value, uint64_t local)
{
    uint64_t v = (uint64_t)((unsigned __int128)value * PART_DISTANCE_LOCAL / (local ? local : 1));

    if (v < PART_DISTANCE_LOCAL)
        return PART_DISTANCE_LOCAL;
    return v > PART_DISTANCE_MAX ? PART_DISTANCE_MAX : (uint8_t)v;
}

static void read_distances(hwloc_topology_t hw, struct part_topology *t)
{
    struct hwloc_distances_s *d;
    unsigned nr = 1, n = t->nr_numas;

    t->distance = sim_zalloc((size_t)n * n);
    for (unsigned i = 0; i < n * n; i++)
        t->distance[i] = i % (n + 1) == 0 ? PART_DISTANCE_LOCAL : DISTANCE_REMOTE;
    if (hwloc_distances_get_by_type(hw, HWLOC_OBJ_NUMANODE, &nr, &d,
                                    HWLOC_DISTANCES_KIND_MEANS_LATENCY, 0) < 0 || nr == 0)
        return;
    for (unsigned i = 0; i < d->nbobjs; i++)
        for (unsigned j = 0; j < d->nbobjs; j++)
            if (i != j && d->objs[i] && d->objs[j])
                t->distance[d->objs[i]->logical_index * n + d->objs[j]->logical_index] =
                    scale_distance(d->values[i * d->nbobjs + j], d->values[i * d->nbobjs + i]);
    hwloc_distances_release(hw, d);
}

/* What the container's cpuset and this thread's affinity (mpirun's binding) leave us. */
static hwloc_bitmap_t usable_pus(hwloc_topology_t hw, bool native)
{
    hwloc_bitmap_t usable = hwloc_bitmap_dup(hwloc_topology_get_allowed_cpuset(hw));
    hwloc_bitmap_t bound = hwloc_bitmap_alloc();

    if (native && hwloc_get_cpubind(hw, bound, HWLOC_CPUBIND_THREAD) == 0)
        hwloc_bitmap_and(usable, usable, bound);
    hwloc_bitmap_free(bound);
    return usable;
}

/* What is wrong with a topology, or NULL. */
static const char *flaw(const struct part_topology *t);

static enum sim_status convert(hwloc_topology_t hw, const char *source, struct part_topology **out)
{
    struct part_topology *t = sim_new(struct part_topology);

    t->native = hwloc_topology_is_thissystem(hw);
    hwloc_bitmap_t usable = usable_pus(hw, t->native);
    struct core_walk walk = {.hw = hw, .usable = usable, .t = t};
    read_cores(&walk);
    read_numas(hw, t);
    if (t->nr_numas <= PART_MAX_NUMAS)
        read_distances(hw, t);
    hwloc_bitmap_free(usable);
    const char *why = flaw(t);
    if (why) {
        sim_error("topology of %s: %s", source ? source : "this host", why);
        part_topology_destroy(t);
        return SIM_ERR_UNSUPPORTED;
    }
    *out = t;
    return SIM_OK;
}

static bool is_file(const char *source)
{
    struct stat st;

    return strchr(source, '/') || strstr(source, ".xml") || stat(source, &st) == 0;
}

static enum sim_status load(hwloc_topology_t hw, const char *source)
{
    int error = 0;

    if (source && is_file(source)) {
        if (access(source, R_OK) < 0) {
            sim_error("topology '%s': cannot be read: %m", source);
            return SIM_ERR_IO;
        }
        error = hwloc_topology_set_xml(hw, source);
    } else if (source) {
        error = hwloc_topology_set_synthetic(hw, source);
    }
    /* Numbers of cores shall not depend on what this rank may use. */
    if (error == 0)
        error = hwloc_topology_set_flags(hw, HWLOC_TOPOLOGY_FLAG_INCLUDE_DISALLOWED);
    if (error == 0)
        error = hwloc_topology_load(hw);
    if (error == 0)
        return SIM_OK;
    if (source)
        sim_error("topology '%s': neither a file of 'lstopo --of xml' nor hwloc's synthetic text "
                  "(like \"pack:2 core:4 pu:2\")", source);
    else
        sim_error("hwloc cannot read the topology of this host: %m");
    return SIM_ERR_FORMAT;
}

enum sim_status part_topology_read(const char *source, struct part_topology **out)
{
    hwloc_topology_t hw;

    if (hwloc_topology_init(&hw) < 0) {
        sim_error("hwloc does not start: %m");
        return SIM_ERR_NOMEM;
    }
    enum sim_status status = load(hw, source);
    if (status == SIM_OK)
        status = convert(hw, source, out);
    hwloc_topology_destroy(hw);
    SIM_TRY(status);
    if (source)
        part_topology_set_host(*out, source);
    else
        set_own_host(*out);
    return SIM_OK;
}

/* --- what holds of every topology --- */

static bool pus_repeat(const struct part_topology *t)
{
    uint8_t *seen = sim_zalloc(PART_MAX_PUS / 8);
    bool repeat = false;

    for (uint32_t i = 0; i < t->nr_pus && !repeat; i++) {
        uint8_t *byte = &seen[t->pu[i] / 8], bit = (uint8_t)(1 << t->pu[i] % 8);
        repeat = *byte & bit;
        *byte |= bit;
    }
    sim_free(seen);
    return repeat;
}

static const char *flaw_of_counts(const struct part_topology *t)
{
    const struct {
        bool wrong;
        const char *why;
    } rules[] = {
        {t->nr_cores == 0, "no core that this process may use"},
        {t->nr_pus > PART_MAX_PUS, "more PUs than anybody has"},
        {t->nr_cores > t->nr_pus, "cores without PU"},
        {t->nr_numas == 0 || t->nr_numas > PART_MAX_NUMAS, "an impossible number of NUMA domains"},
        {t->nr_packages == 0 || t->nr_packages > PART_MAX_PUS, "an impossible number of packages"},
        {t->nr_l3s == 0 || t->nr_l3s > PART_MAX_PUS, "an impossible number of caches"},
    };

    for (size_t i = 0; i < SIM_ARRAY_LEN(rules); i++)
        if (rules[i].wrong)
            return rules[i].why;
    return NULL;
}

static const char *flaw(const struct part_topology *t)
{
    const char *why = flaw_of_counts(t);
    uint32_t pus = 0;

    if (why)
        return why;
    for (uint32_t i = 0; i < t->nr_cores; i++) {
        const struct part_core *c = &t->core[i];
        if (c->id >= PART_MAX_PUS || (i && c->id <= t->core[i - 1].id))
            return "cores out of order";
        if (c->package >= t->nr_packages || c->l3 >= t->nr_l3s || c->numa >= t->nr_numas)
            return "a core without a place";
        if (c->first_pu != pus || c->nr_pus == 0 || c->nr_pus > t->nr_pus - pus)
            return "a core with impossible PUs";
        pus += c->nr_pus;
    }
    if (pus != t->nr_pus)
        return "PUs without core";
    for (uint32_t i = 0; i < t->nr_pus; i++)
        if (t->pu[i] >= PART_MAX_PUS)
            return "a PU with an impossible number";
    for (uint32_t i = 0; i < t->nr_numas; i++)
        if (t->numa[i].os_index >= PART_MAX_PUS)
            return "a NUMA domain with an impossible number";
    for (uint32_t i = 0; i < t->nr_numas * t->nr_numas; i++)
        if (t->distance[i] < PART_DISTANCE_LOCAL)
            return "a distance below that of local memory";
    return pus_repeat(t) ? "two cores with the same PU" : NULL;
}

/* --- packing --- */

static const uint8_t magic[] = {'P', 'T', 'O', 'P'};
enum { FORMAT_VERSION = 1, NUMBER_MAX_BYTES = 10 };

struct writer {
    uint8_t *data;
    size_t len;
};

static void put(struct writer *w, uint64_t v)
{
    for (; v >= 0x80; v >>= 7)
        w->data[w->len++] = (uint8_t)(v | 0x80);
    w->data[w->len++] = (uint8_t)v;
}

static void put_bytes(struct writer *w, const void *bytes, size_t len)
{
    memcpy(w->data + w->len, bytes, len);
    w->len += len;
}

void part_topology_encode(const struct part_topology *t, uint8_t **data, size_t *len)
{
    size_t numbers = 8 + 2 * (size_t)t->nr_numas + 5 * (size_t)t->nr_cores + t->nr_pus;
    size_t distances = (size_t)t->nr_numas * t->nr_numas;
    struct writer w = {sim_zalloc(sizeof magic + numbers * NUMBER_MAX_BYTES + PART_HOST_NAME +
                                  PART_HOST_ID + distances), 0};
    uint32_t next_id = 0;

    put_bytes(&w, magic, sizeof magic);
    put(&w, FORMAT_VERSION);
    put(&w, t->native);
    put(&w, strlen(t->host));
    put_bytes(&w, t->host, strlen(t->host));
    put_bytes(&w, t->host_id, PART_HOST_ID);
    const uint32_t counts[] = {t->nr_packages, t->nr_l3s, t->nr_numas, t->nr_cores, t->nr_pus};
    for (size_t i = 0; i < SIM_ARRAY_LEN(counts); i++)
        put(&w, counts[i]);
    for (uint32_t i = 0; i < t->nr_numas; i++) {
        put(&w, t->numa[i].os_index);
        put(&w, t->numa[i].memory);
    }
    for (uint32_t i = 0; i < t->nr_cores; i++) {
        const struct part_core *c = &t->core[i];
        put(&w, c->id - next_id);
        put(&w, c->package);
        put(&w, c->numa);
        put(&w, c->l3);
        put(&w, c->nr_pus);
        next_id = c->id + 1;
    }
    for (uint32_t i = 0; i < t->nr_pus; i++)
        put(&w, t->pu[i]);
    put_bytes(&w, t->distance, distances);
    *data = w.data;
    *len = w.len;
}

/* Reading sticks at the first thing wrong: from then on numbers are 0. */
struct reader {
    const uint8_t *data;
    size_t left;
    bool bad;
};

static void get_bytes(struct reader *r, void *out, size_t len)
{
    r->bad |= len > r->left;
    if (r->bad)
        return;
    memcpy(out, r->data, len);
    r->data += len;
    r->left -= len;
}

static uint64_t get(struct reader *r)
{
    uint64_t v = 0;
    uint8_t byte = 0x80;

    for (unsigned shift = 0; byte & 0x80; shift += 7) {
        byte = 0;
        get_bytes(r, &byte, 1);
        /* one form per number: no bits beyond 64, no zeros in front */
        r->bad |= (shift == 63 && byte > 1) || (shift && byte == 0);
        v |= (uint64_t)(byte & 0x7f) << shift;
        if (r->bad)
            return 0;
    }
    return v;
}

static uint32_t get_u32(struct reader *r)
{
    uint64_t v = get(r);

    r->bad |= v > UINT32_MAX;
    return r->bad ? 0 : (uint32_t)v;
}

/* How many things of at least `bytes` follow: never more than there is room for, so that garbage does not
 * make us ask for memory. */
static uint32_t get_count(struct reader *r, size_t bytes)
{
    uint32_t n = get_u32(r);

    r->bad |= n > r->left / bytes;
    return r->bad ? 0 : n;
}

static void get_head(struct reader *r, struct part_topology *t)
{
    uint64_t native = get(r), len = get(r);

    r->bad |= native > 1 || len >= PART_HOST_NAME;
    get_bytes(r, t->host, r->bad ? 0 : (size_t)len);
    r->bad |= strlen(t->host) != len;
    get_bytes(r, t->host_id, PART_HOST_ID);
    t->native = native;
    t->nr_packages = get_u32(r);
    t->nr_l3s = get_u32(r);
    t->nr_numas = get_count(r, 2);
    t->nr_cores = get_count(r, 5);
    t->nr_pus = get_count(r, 1);
    r->bad |= t->nr_numas > PART_MAX_NUMAS;
}

static void get_cores(struct reader *r, struct part_topology *t)
{
    uint64_t next_id = 0;
    uint32_t next_pu = 0;

    t->core = sim_new_array(struct part_core, t->nr_cores);
    for (uint32_t i = 0; i < t->nr_cores && !r->bad; i++) {
        struct part_core *c = &t->core[i];
        uint64_t id = next_id + get_u32(r);
        r->bad |= id >= PART_MAX_PUS;
        c->id = (uint32_t)id;
        c->package = get_u32(r);
        c->numa = get_u32(r);
        c->l3 = get_u32(r);
        c->nr_pus = get_u32(r);
        r->bad |= c->nr_pus > PART_MAX_PUS;
        c->first_pu = next_pu;
        next_pu += c->nr_pus;
        next_id = id + 1;
    }
}

static void get_body(struct reader *r, struct part_topology *t)
{
    t->numa = sim_new_array(struct part_numa, t->nr_numas);
    for (uint32_t i = 0; i < t->nr_numas && !r->bad; i++) {
        t->numa[i].os_index = get_u32(r);
        t->numa[i].memory = get(r);
    }
    get_cores(r, t);
    t->pu = sim_new_array(uint32_t, t->nr_pus);
    for (uint32_t i = 0; i < t->nr_pus && !r->bad; i++)
        t->pu[i] = get_u32(r);
    t->distance = sim_zalloc((size_t)t->nr_numas * t->nr_numas);
    get_bytes(r, t->distance, (size_t)t->nr_numas * t->nr_numas);
}

static const char *unpack(struct reader *r, struct part_topology *t)
{
    uint8_t found[sizeof magic] = {0};
    uint64_t version;

    get_bytes(r, found, sizeof found);
    if (r->bad || memcmp(found, magic, sizeof magic) != 0)
        return "not a packed topology";
    version = get(r);
    if (r->bad || version != FORMAT_VERSION)
        return "packed by another version";
    get_head(r, t);
    if (!r->bad)
        get_body(r, t);
    if (r->bad)
        return "damaged or cut off";
    return r->left ? "longer than it should be" : flaw(t);
}

enum sim_status part_topology_decode(const char *what, const uint8_t *data, size_t len,
                                     struct part_topology **out)
{
    struct reader r = {data, len, false};
    struct part_topology *t = sim_new(struct part_topology);
    const char *why = unpack(&r, t);

    if (why) {
        sim_error("%s (%zu bytes): %s", what, len, why);
        part_topology_destroy(t);
        return SIM_ERR_FORMAT;
    }
    *out = t;
    return SIM_OK;
}
