/* Guest NUMA: QEMU's -numa options, or the plan of many ranks, to the nodes of a configuration. */
#include "numa.h"

#include <inttypes.h>
#include <string.h>

#include "keyval.h"
#include "sim-core/alloc.h"
#include "sim-core/log.h"
#include "sim-core/types.h"

enum {
    LOCAL = PART_NEAR,
    REMOTE = PART_SAME_HOST, /* when no -numa dist says */
    UNREACHABLE = PART_DISTANCE_MAX,
    MEMORY_UNIT = 1 << 20
};

static const uint64_t memory_max = 1ull << 46; /* as -m; sums of it do not overflow */

/* --- -numa node --- */

static enum sim_status node_index(struct numa_options *o, struct keyvals *kv, uint32_t *index)
{
    *index = o->nr_nodes;
    SIM_TRY(keyvals_take_u32(kv, "nodeid", index));
    if (*index >= NUMA_MAX_NODES) {
        sim_error("%s nodeid=: %" PRIu32 ": a machine has at most %d nodes", kv->option, *index,
                  NUMA_MAX_NODES);
        return SIM_ERR_INVALID;
    }
    if (o->node[*index].given) {
        sim_error("%s nodeid=: node %" PRIu32 " is there already", kv->option, *index);
        return SIM_ERR_INVALID;
    }
    o->node[*index].given = true;
    o->nr_nodes++;
    return SIM_OK;
}

/* "3" or "0-3". */
static enum sim_status add_harts(struct numa_node *node, const char *text)
{
    const char *dash = strchr(text, '-');
    struct numa_harts h;

    char *first = sim_strdup(text);
    if (dash)
        first[dash - text] = 0;
    enum sim_status status = parse_u32("-numa cpus=", first, &h.first);
    sim_free(first);
    SIM_TRY(status);
    h.last = h.first;
    if (dash)
        SIM_TRY(parse_u32("-numa cpus=", dash + 1, &h.last));
    if (h.last < h.first)
        return option_reject("-numa cpus=", text, "ends before it begins");
    node->harts = sim_realloc(node->harts, (node->nr_harts + 1) * sizeof(node->harts[0]));
    node->harts[node->nr_harts++] = h;
    return SIM_OK;
}

/* "cpus" may come several times. */
static enum sim_status take_harts(struct numa_node *node, struct keyvals *kv)
{
    for (unsigned i = 0; i < kv->nr; i++) {
        if (strcmp(kv->item[i].key, "cpus") != 0)
            continue;
        kv->item[i].taken = true;
        SIM_TRY(add_harts(node, kv->item[i].value));
    }
    return SIM_OK;
}

static enum sim_status parse_memory(const char *option, const char *text, uint64_t *size)
{
    SIM_TRY(parse_size(option, text, MEMORY_UNIT, size));
    if (*size % GUEST_PAGE_SIZE || *size > memory_max)
        return option_reject(option, text, "is not a possible size (whole 4K pages)");
    return SIM_OK;
}

static enum sim_status add_node(struct numa_options *o, struct keyvals *kv)
{
    uint32_t index;
    const char *memory, *memdev;

    SIM_TRY(node_index(o, kv, &index));
    struct numa_node *node = &o->node[index];
    SIM_TRY(take_harts(node, kv));
    memory = keyvals_take(kv, "mem");
    memdev = keyvals_take(kv, "memdev");
    if (memory && memdev)
        return option_reject("-numa memdev=", memdev, "and mem= exclude each other");
    if (memory)
        SIM_TRY(parse_memory("-numa mem=", memory, &node->memory));
    if (memdev)
        node->memdev = sim_strdup(memdev);
    node->has_memory = memory || memdev;
    return keyvals_check(kv);
}

/* --- -numa dist --- */

static enum sim_status add_distance(struct numa_options *o, struct keyvals *kv)
{
    struct numa_distance d = {UINT32_MAX, UINT32_MAX, 0};

    SIM_TRY(keyvals_take_u32(kv, "src", &d.from));
    SIM_TRY(keyvals_take_u32(kv, "dst", &d.to));
    SIM_TRY(keyvals_take_u32(kv, "val", &d.value));
    SIM_TRY(keyvals_check(kv));
    if (d.from == UINT32_MAX || d.to == UINT32_MAX || !d.value) {
        sim_error("%s dist: needs src=, dst= and val=", kv->option);
        return SIM_ERR_INVALID;
    }
    if (d.from == d.to ? d.value != LOCAL : d.value <= LOCAL || d.value >= UNREACHABLE) {
        sim_error("%s dist: val=%" PRIu32 " is not possible (%d to itself, %d to %d to others)",
                  kv->option, d.value, LOCAL, LOCAL + 1, UNREACHABLE - 1);
        return SIM_ERR_INVALID;
    }
    o->distance = sim_realloc(o->distance, (o->nr_distances + 1) * sizeof(o->distance[0]));
    o->distance[o->nr_distances++] = d;
    return SIM_OK;
}

enum sim_status numa_add_option(struct numa_options *o, const char *option, const char *text)
{
    struct keyvals kv;
    enum sim_status status;

    SIM_TRY(keyvals_parse(option, text, "type", &kv));
    const char *type = keyvals_take(&kv, "type");
    if (type && strcmp(type, "node") == 0)
        status = add_node(o, &kv);
    else if (type && strcmp(type, "dist") == 0)
        status = add_distance(o, &kv);
    else
        status = option_reject(option, text, "begins with neither 'node' nor 'dist'");
    keyvals_fini(&kv);
    return status;
}

/* --- -object memory-backend-ram --- */

/* How the host shall keep the memory is no question here: the plan places it. */
static enum sim_status read_memdev(struct keyvals *kv, struct numa_memdev *m)
{
    static const char *const ignored[] = {"share", "prealloc", "merge", "dump", "policy", "host-nodes",
                                          "reserve", "prealloc-threads", NULL};
    const char *id = keyvals_take(kv, "id"), *size = keyvals_take(kv, "size");

    keyvals_take(kv, "type");
    keyvals_ignore(kv, ignored);
    if (!id || !size) {
        sim_error("%s memory-backend-ram: needs id= and size=", kv->option);
        return SIM_ERR_INVALID;
    }
    SIM_TRY(parse_memory("-object size=", size, &m->size));
    SIM_TRY(keyvals_check(kv));
    m->id = sim_strdup(id);
    return SIM_OK;
}

static const struct numa_memdev *find_memdev(const struct numa_options *o, const char *id)
{
    for (unsigned i = 0; i < o->nr_memdevs; i++)
        if (strcmp(o->memdev[i].id, id) == 0)
            return &o->memdev[i];
    return NULL;
}

enum sim_status numa_add_memdev(struct numa_options *o, const char *option, const char *text)
{
    struct numa_memdev m = {0};
    struct keyvals kv;

    SIM_TRY(keyvals_parse(option, text, "type", &kv));
    enum sim_status status = read_memdev(&kv, &m);
    keyvals_fini(&kv);
    SIM_TRY(status);
    if (find_memdev(o, m.id)) {
        status = option_reject("-object id=", m.id, "is used twice");
        sim_free(m.id);
        return status;
    }
    o->memdev = sim_realloc(o->memdev, (o->nr_memdevs + 1) * sizeof(o->memdev[0]));
    o->memdev[o->nr_memdevs++] = m;
    return SIM_OK;
}

static enum sim_status resolve_memdevs(struct numa_options *o)
{
    for (unsigned i = 0; i < o->nr_nodes; i++) {
        struct numa_node *node = &o->node[i];
        if (!node->memdev)
            continue;
        const struct numa_memdev *m = find_memdev(o, node->memdev);
        if (!m)
            return option_reject("-numa memdev=", node->memdev, "is no -object's id");
        for (unsigned j = 0; j < i; j++)
            if (o->node[j].memdev && strcmp(o->node[j].memdev, node->memdev) == 0)
                return option_reject("-numa memdev=", node->memdev, "is in two nodes");
        node->memory = m->size;
    }
    return SIM_OK;
}

void numa_options_fini(struct numa_options *o)
{
    for (unsigned i = 0; i < NUMA_MAX_NODES; i++) {
        sim_free(o->node[i].harts);
        sim_free(o->node[i].memdev);
    }
    for (unsigned i = 0; i < o->nr_memdevs; i++)
        sim_free(o->memdev[i].id);
    sim_free(o->memdev);
    sim_free(o->distance);
    *o = (struct numa_options){0};
}

/* --- all of them together --- */

static enum sim_status check_nodes(const struct numa_options *o, const struct config *c)
{
    if (c->dtb) {
        sim_error("-numa and -dtb exclude each other: the device tree says what is near to what");
        return SIM_ERR_INVALID;
    }
    if (!o->nr_nodes) {
        sim_error("-numa dist: there is no -numa node");
        return SIM_ERR_INVALID;
    }
    for (unsigned i = 0; i < o->nr_nodes; i++) {
        if (!o->node[i].given) {
            sim_error("-numa node: node %u is missing: the ids are 0 to %u", i, o->nr_nodes - 1);
            return SIM_ERR_INVALID;
        }
    }
    return SIM_OK;
}

enum { NO_NODE = UINT16_MAX };

static enum sim_status assign_harts(const struct numa_harts *h, unsigned node, const struct config *c)
{
    if (h->last >= c->smp) {
        sim_error("-numa cpus=: hart %" PRIu32 " does not exist: the harts are 0 to %" PRIu32
                  " (-smp)", h->last, c->smp - 1);
        return SIM_ERR_INVALID;
    }
    for (uint32_t i = h->first; i <= h->last; i++) {
        if (c->numa.hart_node[i] != NO_NODE) {
            sim_error("-numa cpus=: hart %" PRIu32 " is in two nodes", i);
            return SIM_ERR_INVALID;
        }
        c->numa.hart_node[i] = (uint16_t)node;
    }
    return SIM_OK;
}

/* As given; or when nobody says anything, blocks of equal size. */
static enum sim_status resolve_harts(const struct numa_options *o, struct config *c)
{
    unsigned ranges = 0;

    c->numa.hart_node = sim_new_array(uint16_t, c->smp);
    memset(c->numa.hart_node, 0xff, c->smp * sizeof(uint16_t));
    for (unsigned node = 0; node < o->nr_nodes; node++)
        for (unsigned i = 0; i < o->node[node].nr_harts; i++, ranges++)
            SIM_TRY(assign_harts(&o->node[node].harts[i], node, c));
    for (uint32_t i = 0; i < c->smp; i++) {
        if (!ranges)
            c->numa.hart_node[i] = (uint16_t)((uint64_t)i * o->nr_nodes / c->smp);
        if (c->numa.hart_node[i] == NO_NODE) {
            sim_error("-numa cpus=: hart %" PRIu32 " is in no node", i);
            return SIM_ERR_INVALID;
        }
    }
    return SIM_OK;
}

static void add_ram(struct config_numa *numa, gpa_t base, uint64_t size, uint32_t node)
{
    struct config_numa_ram *last = numa->nr_ram ? &numa->ram[numa->nr_ram - 1] : NULL;

    if (!size)
        return;
    if (last && last->node == node && last->base + last->size == base) {
        last->size += size;
        return;
    }
    numa->ram = sim_realloc(numa->ram, (numa->nr_ram + 1) * sizeof(numa->ram[0]));
    numa->ram[numa->nr_ram++] = (struct config_numa_ram){base, size, node};
}

static enum sim_status check_memory_sum(const struct numa_options *o, uint64_t memory)
{
    uint64_t sum = 0;

    for (unsigned i = 0; i < o->nr_nodes; i++)
        sum += o->node[i].memory;
    if (sum == memory)
        return SIM_OK;
    sim_error("-numa mem=: the nodes have %" PRIu64 " KiB together, the machine has %" PRIu64
              " KiB (-m)", sum >> 10, memory >> 10);
    return SIM_ERR_INVALID;
}

/* As given, in the order of nodes; or when nobody says anything, equal parts. */
static enum sim_status resolve_memory(const struct numa_options *o, struct config *c)
{
    bool given = false;
    gpa_t base = CONFIG_RAM_BASE, end = base + c->memory;

    for (unsigned i = 0; i < o->nr_nodes; i++)
        given |= o->node[i].has_memory;
    if (given)
        SIM_TRY(check_memory_sum(o, c->memory));
    for (unsigned i = 0; i < o->nr_nodes; i++) {
        uint64_t size = o->node[i].memory;
        if (!given)
            size = i + 1 < o->nr_nodes ? sim_align_down(c->memory / o->nr_nodes, GUEST_PAGE_SIZE)
                                       : end - base;
        add_ram(&c->numa, base, size, i);
        base += size;
    }
    return SIM_OK;
}

static void default_distances(struct config_numa *numa, uint8_t remote)
{
    uint32_t n = numa->nr_nodes;

    numa->distance = sim_zalloc((size_t)n * n);
    for (uint32_t i = 0; i < n * n; i++)
        numa->distance[i] = i % (n + 1) == 0 ? LOCAL : remote;
}

/* One direction stands for both until the other is given; when one pair is given, all are. */
static enum sim_status resolve_distances(const struct numa_options *o, struct config_numa *numa)
{
    uint32_t n = numa->nr_nodes;

    default_distances(numa, o->nr_distances ? 0 : REMOTE);
    for (unsigned i = 0; i < o->nr_distances; i++) {
        const struct numa_distance *d = &o->distance[i];
        if (d->from >= n || d->to >= n) {
            sim_error("-numa dist: node %" PRIu32 " does not exist: the nodes are 0 to %" PRIu32,
                      d->from >= n ? d->from : d->to, n - 1);
            return SIM_ERR_INVALID;
        }
        numa->distance[d->from * n + d->to] = (uint8_t)d->value;
    }
    for (uint32_t i = 0; i < n * n; i++) {
        uint8_t back = numa->distance[i % n * n + i / n];
        if (!numa->distance[i])
            numa->distance[i] = back;
        if (!numa->distance[i]) {
            sim_error("-numa dist: the distance between nodes %" PRIu32 " and %" PRIu32
                      " is missing", i / n, i % n);
            return SIM_ERR_INVALID;
        }
    }
    return SIM_OK;
}

enum sim_status numa_resolve(struct numa_options *o, struct config *c)
{
    if (!o->nr_nodes && !o->nr_distances)
        return SIM_OK;
    SIM_TRY(check_nodes(o, c));
    SIM_TRY(resolve_memdevs(o));
    c->numa.nr_nodes = o->nr_nodes;
    SIM_TRY(resolve_harts(o, c));
    SIM_TRY(resolve_memory(o, c));
    return resolve_distances(o, &c->numa);
}

/* --- from a plan --- */

void numa_from_plan(const struct part_plan *plan, struct config_numa *out)
{
    uint32_t n = plan->nr_nodes;

    config_numa_fini(out);
    if (n < 2)
        return;
    out->nr_nodes = n;
    out->hart_node = sim_new_array(uint16_t, plan->nr_harts);
    for (uint32_t i = 0; i < plan->nr_harts; i++)
        out->hart_node[i] = (uint16_t)plan->rank[part_plan_hart(plan, i).rank].node;
    for (uint32_t i = 0; i < plan->nr_homes; i++) {
        const struct part_home *h = &plan->home[i];
        add_ram(out, h->first_page << GUEST_PAGE_BITS,
                (h->last_page - h->first_page) << GUEST_PAGE_BITS, plan->rank[h->rank].node);
    }
    out->distance = sim_zalloc((size_t)n * n);
    for (uint32_t i = 0; i < n * n; i++)
        out->distance[i] = (uint8_t)part_plan_distance(plan, i / n, i % n);
}
