/* The plan, step by step:
 *
 *   check -> hosts -> cores of each host to its ranks (core_split.c) -> harts -> executors -> spare executors
 *         -> homes of memory -> devices -> guest NUMA nodes
 *
 * Integers only, and nothing but the arguments: all ranks come to the same result. */
#include "partition/plan.h"

#include <inttypes.h>
#include <string.h>

#include "core_split.h"
#include "sim-core/alloc.h"
#include "sim-core/log.h"

/* What steps hand on and the plan does not keep. */
struct planner {
    const struct part_config *config;
    const struct part_topology *const *topology;
    struct part_plan *plan;
    uint32_t *core; /* indices into the ranks' topologies: the cores of rank 0, of rank 1, ... */
    uint32_t nr_cores;
    uint32_t *first_core; /* by rank: where its cores begin in core[] */
    uint64_t *weight;     /* by rank: computing power; WEIGHT_CORE is one core */
};

#define WEIGHT_CORE (1ull << 20)

/* --- check --- */

static enum sim_status reject(const char *why)
{
    sim_error("plan: %s", why);
    return SIM_ERR_INVALID;
}

static enum sim_status check_ranks(const struct part_config *c, uint32_t nr_ranks)
{
    if (nr_ranks < 1 || nr_ranks > PART_MAX_RANKS) {
        sim_error("plan: %" PRIu32 " ranks are not possible (1 to %d)", nr_ranks, PART_MAX_RANKS);
        return SIM_ERR_INVALID;
    }
    if (nr_ranks > c->nr_harts) {
        sim_error("plan: %" PRIu32 " harts cannot be spread over %" PRIu32
                  " ranks: each rank runs at least one (start fewer ranks, or ask for more harts)",
                  c->nr_harts, nr_ranks);
        return SIM_ERR_INVALID;
    }
    return SIM_OK;
}

static enum sim_status check_hart_list(const struct part_config *c, uint32_t nr_ranks)
{
    uint64_t sum = 0;

    for (uint32_t i = 0; i < nr_ranks && c->harts_per_rank; i++) {
        if (c->harts_per_rank[i] == 0) {
            sim_error("plan: rank %" PRIu32 " is given no hart: each rank runs at least one", i);
            return SIM_ERR_INVALID;
        }
        sum += c->harts_per_rank[i];
    }
    if (c->harts_per_rank && sum != c->nr_harts) {
        sim_error("plan: the ranks are given %" PRIu64 " harts together, the machine has %" PRIu32,
                  sum, c->nr_harts);
        return SIM_ERR_INVALID;
    }
    return SIM_OK;
}

static enum sim_status check_ram(const struct part_config *c)
{
    gpa_t end = 0;

    if (!c->nr_ram)
        return reject("the machine has no memory");
    for (unsigned i = 0; i < c->nr_ram; i++) {
        const struct part_range *r = &c->ram[i];
        if (!r->size || (r->base | r->size) % GUEST_PAGE_SIZE || r->base + r->size < r->base)
            return reject("memory must consist of whole pages");
        if (i && r->base < end)
            return reject("ranges of memory must ascend and not overlap");
        end = r->base + r->size;
    }
    return SIM_OK;
}

static enum sim_status check_devices(const struct part_config *c, uint32_t nr_ranks)
{
    const struct part_device rest = {"every other device", c->device_rank};

    for (unsigned i = 0; i <= c->nr_devices; i++) {
        const struct part_device *d = i < c->nr_devices ? &c->device[i] : &rest;
        if (d->rank >= nr_ranks) {
            sim_error("plan: '%s' shall be on rank %" PRIu32 ", but the ranks are 0 to %" PRIu32,
                      d->name, d->rank, nr_ranks - 1);
            return SIM_ERR_INVALID;
        }
    }
    return SIM_OK;
}

static enum sim_status check(const struct part_config *c, uint32_t nr_ranks)
{
    SIM_TRY(check_ranks(c, nr_ranks));
    SIM_TRY(check_hart_list(c, nr_ranks));
    SIM_TRY(check_ram(c));
    return check_devices(c, nr_ranks);
}

/* --- hosts --- */

static void find_hosts(struct planner *p)
{
    struct part_plan *plan = p->plan;
    uint32_t *first = sim_new_array(uint32_t, plan->nr_ranks); /* by host: its first rank */

    for (uint32_t i = 0; i < plan->nr_ranks; i++) {
        uint32_t host = 0;
        while (host < plan->nr_hosts && !part_same_host(p->topology[i], p->topology[first[host]]))
            host++;
        if (host == plan->nr_hosts)
            first[plan->nr_hosts++] = i;
        plan->rank[i].host = host;
    }
    sim_free(first);
}

/* --- cores --- */

/* The ranks of a host, in order; returns how many. */
static uint32_t ranks_of_host(const struct part_plan *plan, uint32_t host, uint32_t *rank)
{
    uint32_t n = 0;

    for (uint32_t i = 0; i < plan->nr_ranks; i++)
        if (plan->rank[i].host == host)
            rank[n++] = i;
    return n;
}

/* The computing power of rank[i]: its cores. When a rank of its group has none, the host's scheduler has
 * to share, and all of the group are equal. */
static void weigh_rank(struct planner *p, const uint32_t *rank, const struct core_member *member,
                       uint32_t n, uint32_t i)
{
    uint64_t cores = 0, ranks = 0;
    bool crowded = false;

    for (uint32_t j = 0; j < n; j++) {
        if (member[j].group != member[i].group)
            continue;
        cores += member[j].nr;
        ranks++;
        crowded |= member[j].nr == 0;
    }
    p->plan->rank[rank[i]].nr_cores = crowded ? 0 : member[i].nr;
    p->weight[rank[i]] =
        crowded ? (cores ? cores : 1) * WEIGHT_CORE / ranks : member[i].nr * WEIGHT_CORE;
}

static void share_cores_of_host(struct planner *p, uint32_t host, struct core_split *split)
{
    struct part_plan *plan = p->plan;
    uint32_t *rank = sim_new_array(uint32_t, plan->nr_ranks);
    uint32_t n = ranks_of_host(plan, host, rank);
    struct core_member *member = sim_new_array(struct core_member, n);

    for (uint32_t i = 0; i < n; i++) {
        uint32_t wish = p->config->harts_per_rank ? p->config->harts_per_rank[rank[i]] : 0;
        member[i] = (struct core_member){.topology = p->topology[rank[i]],
                                         .weight = wish ? wish : 1,
                                         .limit = wish ? wish : PART_NONE};
    }
    core_split_make(member, n, split);
    for (uint32_t id = 0; id < split->nr_ids; id++)
        if (split->owner[id] != PART_NONE)
            split->owner[id] = rank[split->owner[id]];
    for (uint32_t i = 0; i < n; i++)
        weigh_rank(p, rank, member, n, i);
    sim_free(member);
    sim_free(rank);
}

/* Lists the cores of one rank: those it owns, in topological order. */
static void collect_cores(struct planner *p, uint32_t rank, const struct core_split *split)
{
    const struct part_topology *t = p->topology[rank];

    p->first_core[rank] = p->nr_cores;
    if (!p->plan->rank[rank].nr_cores)
        return;
    p->core = sim_realloc(p->core, (p->nr_cores + p->plan->rank[rank].nr_cores) * sizeof(p->core[0]));
    for (uint32_t i = 0; i < t->nr_cores; i++)
        if (split->owner[t->core[i].id] == rank)
            p->core[p->nr_cores++] = i;
}

static void share_cores(struct planner *p)
{
    struct part_plan *plan = p->plan;
    struct core_split *split = sim_new_array(struct core_split, plan->nr_hosts);

    for (uint32_t host = 0; host < plan->nr_hosts; host++)
        share_cores_of_host(p, host, &split[host]);
    for (uint32_t i = 0; i < plan->nr_ranks; i++)
        collect_cores(p, i, &split[plan->rank[i].host]);
    for (uint32_t host = 0; host < plan->nr_hosts; host++)
        core_split_fini(&split[host]);
    sim_free(split);
}

/* --- harts --- */

/* The rank whose part, were it to get one more, would exceed its due least. */
static uint32_t most_due(const struct planner *p, uint64_t total)
{
    const struct part_plan *plan = p->plan;
    uint32_t found = PART_NONE;
    __int128 best = 0;

    for (uint32_t i = 0; i < plan->nr_ranks; i++) {
        __int128 due = (__int128)p->weight[i] * plan->nr_harts -
                       (__int128)plan->rank[i].nr_harts * (__int128)total;
        if (found == PART_NONE || due > best) {
            found = i;
            best = due;
        }
    }
    return found;
}

/* The rank with more than one hart that exceeds its due most. */
static uint32_t most_above(const struct planner *p, uint64_t total)
{
    const struct part_plan *plan = p->plan;
    uint32_t found = PART_NONE;
    __int128 best = 0;

    for (uint32_t i = 0; i < plan->nr_ranks; i++) {
        __int128 above = (__int128)plan->rank[i].nr_harts * (__int128)total -
                         (__int128)p->weight[i] * plan->nr_harts;
        if (plan->rank[i].nr_harts > 1 && (found == PART_NONE || above > best)) {
            found = i;
            best = above;
        }
    }
    return found;
}

/* Everyone's due rounded down, the rest to the largest fractions; nobody stays without. */
static void count_harts_by_weight(struct planner *p)
{
    struct part_plan *plan = p->plan;
    uint64_t total = 0;
    uint32_t given = 0;

    for (uint32_t i = 0; i < plan->nr_ranks; i++)
        total += p->weight[i];
    for (uint32_t i = 0; i < plan->nr_ranks; i++) {
        plan->rank[i].nr_harts =
            (uint32_t)((unsigned __int128)p->weight[i] * plan->nr_harts / total);
        given += plan->rank[i].nr_harts;
    }
    for (; given < plan->nr_harts; given++)
        plan->rank[most_due(p, total)].nr_harts++;
    for (uint32_t i = 0; i < plan->nr_ranks; i++) {
        if (plan->rank[i].nr_harts == 0) {
            plan->rank[most_above(p, total)].nr_harts--;
            plan->rank[i].nr_harts = 1;
        }
    }
}

static void share_harts(struct planner *p)
{
    struct part_plan *plan = p->plan;
    uint32_t next = 0;

    if (!p->config->harts_per_rank)
        count_harts_by_weight(p);
    for (uint32_t i = 0; i < plan->nr_ranks; i++) {
        struct part_rank *r = &plan->rank[i];
        if (p->config->harts_per_rank)
            r->nr_harts = p->config->harts_per_rank[i];
        r->first_hart = next;
        next += r->nr_harts;
    }
}

/* --- executors --- */

static uint32_t count_executors(const struct part_config *c, const struct part_rank *r)
{
    uint32_t n = c->threads_per_rank ? c->threads_per_rank : r->nr_cores ? r->nr_cores : 1;

    uint32_t most = c->harts_move ? c->nr_harts : r->nr_harts;

    return n < most ? n : most;
}

static void bind_executor(struct part_plan *plan, struct part_executor *e,
                          const struct part_topology *t, uint32_t core)
{
    const struct part_core *c = &t->core[core];

    e->core = core;
    e->numa = t->numa[c->numa].os_index;
    e->first_cpu = plan->nr_cpus;
    e->nr_cpus = c->nr_pus;
    plan->cpu = sim_realloc(plan->cpu, (plan->nr_cpus + c->nr_pus) * sizeof(plan->cpu[0]));
    memcpy(&plan->cpu[plan->nr_cpus], &t->pu[c->first_pu], c->nr_pus * sizeof(plan->cpu[0]));
    plan->nr_cpus += c->nr_pus;
}

static void plan_executors_of(struct planner *p, uint32_t rank)
{
    struct part_plan *plan = p->plan;
    struct part_rank *r = &plan->rank[rank];

    r->first_executor = plan->nr_executors;
    r->nr_executors = count_executors(p->config, r);
    r->bound = r->nr_executors <= r->nr_cores;
    plan->nr_executors += r->nr_executors;
    plan->executor =
        sim_realloc(plan->executor, plan->nr_executors * sizeof(plan->executor[0]));
    for (uint32_t i = 0; i < r->nr_executors; i++) {
        struct part_executor *e = &plan->executor[r->first_executor + i];
        *e = (struct part_executor){.core = PART_NONE, .numa = PART_NONE};
        if (r->bound)
            bind_executor(plan, e, p->topology[rank], p->core[p->first_core[rank] + i]);
    }
    for (uint32_t i = 0; i < r->nr_harts; i++)
        plan->hart[r->first_hart + i] = (struct part_hart){rank, i % r->nr_executors};
}

static void plan_executors(struct planner *p)
{
    p->plan->hart = sim_new_array(struct part_hart, p->plan->nr_harts);
    for (uint32_t i = 0; i < p->plan->nr_ranks; i++)
        plan_executors_of(p, i);
}

/* --- spare executors --- */

static bool may_use(const struct part_topology *t, uint32_t core_id)
{
    for (uint32_t i = 0; i < t->nr_cores; i++)
        if (t->core[i].id == core_id)
            return true;
    return false;
}

/* Could the rank use the core of this executor? */
static bool is_lendable(const struct planner *p, uint32_t rank, uint32_t owner, uint32_t executor)
{
    const struct part_plan *plan = p->plan;

    return p->config->binds ||
           may_use(p->topology[rank], p->topology[owner]->core[plan->executor[executor].core].id);
}

/* From the last, so that the first, which answers other ranks, is lent last. */
static void plan_spares_from(struct planner *p, uint32_t rank, uint32_t owner)
{
    struct part_plan *plan = p->plan;
    struct part_rank *r = &plan->rank[rank];
    const struct part_rank *o = &plan->rank[owner];
    uint32_t most = plan->nr_harts - r->nr_executors;

    for (uint32_t i = o->nr_executors; i-- && r->nr_spares < most && r->nr_spares < PART_MAX_SPARES;)
        if (is_lendable(p, rank, owner, o->first_executor + i)) {
            plan->spare[plan->nr_spares++] = o->first_executor + i;
            r->nr_spares++;
        }
}

/* Only cores that an executor has to itself are lent, and only to a rank that has such. */
static void plan_spares_of(struct planner *p, uint32_t rank)
{
    struct part_plan *plan = p->plan;
    struct part_rank *r = &plan->rank[rank];

    r->first_spare = plan->nr_spares;
    plan->spare = sim_realloc(plan->spare, (plan->nr_spares + PART_MAX_SPARES) * sizeof(plan->spare[0]));
    for (uint32_t i = 1; i < plan->nr_ranks && r->bound; i++) {
        uint32_t owner = (rank + i) % plan->nr_ranks;
        if (plan->rank[owner].host == r->host && plan->rank[owner].bound)
            plan_spares_from(p, rank, owner);
    }
}

static void plan_spares(struct planner *p)
{
    for (uint32_t i = 0; i < p->plan->nr_ranks && p->config->harts_move && p->config->lend_cores; i++)
        plan_spares_of(p, i);
}

/* --- homes --- */

static uint64_t pages_of(const struct part_range *r)
{
    return r->size >> GUEST_PAGE_BITS;
}

/* Where to cut within [first, last]: at a 2 MiB boundary when one lies in (after, cut]. */
static uint64_t align_cut(uint64_t cut, uint64_t after)
{
    uint64_t aligned = sim_align_down(cut, PART_HOME_ALIGN >> GUEST_PAGE_BITS);

    return aligned > after ? aligned : cut;
}

/* Pages before rank `i` when all RAM is lined up. */
static uint64_t pages_before(const struct part_plan *plan, uint64_t total, uint32_t i)
{
    uint64_t harts = i < plan->nr_ranks ? plan->rank[i].first_hart : plan->nr_harts;

    return (uint64_t)((unsigned __int128)total * harts / plan->nr_harts);
}

static void add_home(struct part_plan *plan, uint64_t first, uint64_t last, uint32_t rank)
{
    if (first == last)
        return;
    plan->home = sim_realloc(plan->home, (plan->nr_homes + 1) * sizeof(plan->home[0]));
    plan->home[plan->nr_homes++] = (struct part_home){first, last, rank};
}

/* Walks the ranges and the ranks together. */
static void plan_homes(struct planner *p)
{
    const struct part_config *c = p->config;
    struct part_plan *plan = p->plan;
    uint64_t total = 0, before = 0; /* pages: of all, and of the ranges behind us */
    uint32_t rank = 0;

    for (unsigned i = 0; i < c->nr_ram; i++)
        total += pages_of(&c->ram[i]);
    for (unsigned i = 0; i < c->nr_ram; i++) {
        uint64_t begin = c->ram[i].base >> GUEST_PAGE_BITS, end = begin + pages_of(&c->ram[i]);
        uint64_t at = begin, goal;
        while ((goal = pages_before(plan, total, rank + 1)) < before + (end - begin)) {
            uint64_t cut = align_cut(begin + (goal - before), at);
            add_home(plan, at, cut, rank++);
            at = cut;
        }
        add_home(plan, at, end, rank);
        before += end - begin;
    }
}

/* --- devices and nodes --- */

static void plan_devices(struct planner *p)
{
    const struct part_config *c = p->config;
    struct part_plan *plan = p->plan;

    plan->device_rank = c->device_rank;
    plan->nr_devices = c->nr_devices;
    plan->device = sim_new_array(struct part_device, c->nr_devices);
    for (unsigned i = 0; i < c->nr_devices; i++)
        plan->device[i] = (struct part_device){sim_strdup(c->device[i].name), c->device[i].rank};
}

/* What merging node i with the next would cost: nodes over two hosts are the last resort, big ones the
 * second last. */
static uint64_t merge_cost(const struct part_plan *plan, uint32_t i)
{
    const struct part_node *a = &plan->node[i], *b = a + 1;
    const struct part_rank *first = &plan->rank[a->first_rank], *before = &plan->rank[b->first_rank - 1],
                           *after = before + 1, *last = before + b->nr_ranks;

    return (uint64_t)(before->host != after->host) << 32 |
           (last->first_hart + last->nr_harts - first->first_hart);
}

static void merge_cheapest_nodes(struct part_plan *plan)
{
    uint32_t best = 0;

    for (uint32_t i = 1; i + 1 < plan->nr_nodes; i++)
        if (merge_cost(plan, i) < merge_cost(plan, best))
            best = i;
    plan->node[best].nr_ranks += plan->node[best + 1].nr_ranks;
    plan->nr_nodes--;
    memmove(&plan->node[best + 1], &plan->node[best + 2],
            (plan->nr_nodes - best - 1) * sizeof(plan->node[0]));
}

static void plan_nodes(struct planner *p)
{
    struct part_plan *plan = p->plan;

    plan->nr_nodes = plan->nr_ranks;
    plan->node = sim_new_array(struct part_node, plan->nr_nodes);
    for (uint32_t i = 0; i < plan->nr_ranks; i++)
        plan->node[i] = (struct part_node){plan->rank[i].host, i, 1};
    while (p->config->max_nodes && plan->nr_nodes > p->config->max_nodes)
        merge_cheapest_nodes(plan);
    for (uint32_t i = 0; i < plan->nr_nodes; i++)
        for (uint32_t n = 0; n < plan->node[i].nr_ranks; n++)
            plan->rank[plan->node[i].first_rank + n].node = i;
}

/* --- life --- */

enum sim_status part_plan_make(const struct part_config *config,
                               const struct part_topology *const *topology, uint32_t nr_ranks,
                               struct part_plan **out)
{
    SIM_TRY(check(config, nr_ranks));
    struct planner p = {.config = config,
                        .topology = topology,
                        .plan = sim_new(struct part_plan),
                        .first_core = sim_new_array(uint32_t, nr_ranks),
                        .weight = sim_new_array(uint64_t, nr_ranks)};

    p.plan->nr_ranks = nr_ranks;
    p.plan->nr_harts = config->nr_harts;
    p.plan->rank = sim_new_array(struct part_rank, nr_ranks);
    find_hosts(&p);
    share_cores(&p);
    share_harts(&p);
    plan_executors(&p);
    plan_spares(&p);
    plan_homes(&p);
    plan_devices(&p);
    plan_nodes(&p);
    sim_free(p.core);
    sim_free(p.first_core);
    sim_free(p.weight);
    *out = p.plan;
    return SIM_OK;
}

void part_plan_destroy(struct part_plan *plan)
{
    if (!plan)
        return;
    for (unsigned i = 0; i < plan->nr_devices; i++)
        sim_free((char *)plan->device[i].name);
    sim_free(plan->device);
    sim_free(plan->node);
    sim_free(plan->home);
    sim_free(plan->cpu);
    sim_free(plan->hart);
    sim_free(plan->spare);
    sim_free(plan->executor);
    sim_free(plan->rank);
    sim_free(plan);
}

uint32_t part_plan_device(const struct part_plan *plan, const char *name)
{
    for (unsigned i = 0; i < plan->nr_devices; i++)
        if (strcmp(plan->device[i].name, name) == 0)
            return plan->device[i].rank;
    return plan->device_rank;
}

/* --- hash --- */

/* FNV-1a over 64-bit numbers, byte by byte from the low end. */
static void hash_u64(uint64_t *h, uint64_t v)
{
    for (unsigned i = 0; i < 8; i++, v >>= 8)
        *h = (*h ^ (v & 0xff)) * 0x100000001b3ull;
}

static void hash_ranks(uint64_t *h, const struct part_plan *plan)
{
    for (uint32_t i = 0; i < plan->nr_ranks; i++) {
        const struct part_rank *r = &plan->rank[i];
        hash_u64(h, r->host);
        hash_u64(h, r->node);
        hash_u64(h, r->nr_harts);
        hash_u64(h, r->nr_executors);
        hash_u64(h, r->nr_spares);
    }
}

static void hash_executors(uint64_t *h, const struct part_plan *plan)
{
    for (uint32_t i = 0; i < plan->nr_executors; i++) {
        const struct part_executor *e = &plan->executor[i];
        hash_u64(h, (uint64_t)e->core << 32 | e->numa);
        hash_u64(h, e->nr_cpus);
        for (uint32_t n = 0; n < e->nr_cpus; n++)
            hash_u64(h, plan->cpu[e->first_cpu + n]);
    }
}

static void hash_spares(uint64_t *h, const struct part_plan *plan)
{
    for (uint32_t i = 0; i < plan->nr_spares; i++)
        hash_u64(h, plan->spare[i]);
}

uint64_t part_plan_hash(const struct part_plan *plan)
{
    uint64_t h = 0xcbf29ce484222325ull;

    hash_u64(&h, plan->nr_ranks);
    hash_u64(&h, plan->nr_harts);
    hash_ranks(&h, plan);
    hash_executors(&h, plan);
    hash_spares(&h, plan);
    for (uint32_t i = 0; i < plan->nr_homes; i++) {
        hash_u64(&h, plan->home[i].first_page);
        hash_u64(&h, plan->home[i].last_page);
        hash_u64(&h, plan->home[i].rank);
    }
    hash_u64(&h, plan->device_rank);
    for (unsigned i = 0; i < plan->nr_devices; i++) {
        for (const char *s = plan->device[i].name; *s; s++)
            hash_u64(&h, (uint8_t)*s);
        hash_u64(&h, plan->device[i].rank);
    }
    return h;
}
