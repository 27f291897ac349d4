/* Plans: what must hold of each (properties over many hosts, ranks and harts), and single ones by hand. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <string.h>

#include "../launch/capture.h"
#include "partition/plan.h"
#include "topologies.h"

enum { MAX_RANKS = 1024, PAGES_2M = 512 };

static const struct part_range ram_4g = {0x80000000, 4ull << 30};

/* Ranks and what they run on. */
struct world {
    struct part_topology *topology[MAX_RANKS];
    uint32_t nr;
};

/* `nr_ranks` ranks, block-wise on `nr_hosts` equal hosts (as mpirun fills slots). */
static void world_of(struct world *w, const char *text, uint32_t nr_hosts, uint32_t nr_ranks)
{
    struct part_topology *t = topology_of(text);

    w->nr = nr_ranks;
    for (uint32_t i = 0; i < nr_ranks; i++)
        w->topology[i] = topology_host(t, i * nr_hosts / nr_ranks);
    part_topology_destroy(t);
}

static void world_add(struct world *w, struct part_topology *t)
{
    w->topology[w->nr++] = t;
}

static void world_fini(struct world *w)
{
    for (uint32_t i = 0; i < w->nr; i++)
        part_topology_destroy(w->topology[i]);
    w->nr = 0;
}

static struct part_config config_of(uint32_t nr_harts)
{
    return (struct part_config){.nr_harts = nr_harts, .ram = &ram_4g, .nr_ram = 1};
}

static enum sim_status make(const struct part_config *c, const struct world *w, struct part_plan **out)
{
    return part_plan_make(c, (const struct part_topology *const *)w->topology, w->nr, out);
}

/* --- what holds of every plan --- */

static void check_harts(const struct part_config *c, const struct part_plan *p)
{
    uint32_t next = 0;

    assert_int_equal(p->nr_harts, c->nr_harts);
    for (uint32_t i = 0; i < p->nr_ranks; i++) {
        const struct part_rank *r = &p->rank[i];
        uint32_t least = UINT32_MAX, most = 0;
        uint32_t *load = sim_new_array(uint32_t, r->nr_executors);
        assert_int_equal(r->first_hart, next);
        assert_true(r->nr_harts >= 1);
        assert_true(r->nr_executors >= 1 && r->nr_executors <= r->nr_harts);
        for (uint32_t h = next; h < next + r->nr_harts; h++) {
            struct part_hart hart = part_plan_hart(p, h);
            assert_int_equal(hart.rank, i);
            assert_true(hart.executor < r->nr_executors);
            load[hart.executor]++;
        }
        for (uint32_t e = 0; e < r->nr_executors; e++) {
            least = load[e] < least ? load[e] : least;
            most = load[e] > most ? load[e] : most;
        }
        assert_true(most - least <= 1);
        sim_free(load);
        next += r->nr_harts;
    }
    assert_int_equal(next, c->nr_harts);
}

/* RAM is covered once and nothing else is; each rank's part is its harts' part, within two alignments. */
static void check_homes(const struct part_config *c, const struct part_plan *p)
{
    uint64_t *pages = sim_new_array(uint64_t, p->nr_ranks), total = 0;
    uint32_t home = 0, rank = 0;

    for (unsigned i = 0; i < c->nr_ram; i++) {
        uint64_t at = c->ram[i].base >> 12, end = at + (c->ram[i].size >> 12);
        assert_int_equal(part_plan_home(p, at - 1), i && c->ram[i - 1].base + c->ram[i - 1].size ==
                         c->ram[i].base ? p->home[home - 1].rank : PART_NONE);
        total += end - at;
        for (; at < end; home++) {
            const struct part_home *h = &p->home[home];
            assert_true(home < p->nr_homes);
            assert_true(h->first_page == at && h->last_page > at && h->last_page <= end);
            assert_true(h->rank >= rank && h->rank < p->nr_ranks);
            rank = h->rank;
            pages[rank] += h->last_page - at;
            assert_int_equal(part_plan_home(p, at), rank);
            assert_int_equal(part_plan_home(p, h->last_page - 1), rank);
            assert_int_equal(part_plan_home(p, at + (h->last_page - at) / 2), rank);
            at = h->last_page;
        }
    }
    assert_int_equal(home, p->nr_homes);
    assert_int_equal(part_plan_home(p, 0), PART_NONE);
    assert_int_equal(part_plan_home(p, UINT64_MAX), PART_NONE);
    for (uint32_t i = 0; i < p->nr_ranks; i++) {
        uint64_t due = total * p->rank[i].nr_harts / p->nr_harts;
        assert_true(pages[i] <= due + PAGES_2M && pages[i] + PAGES_2M + 1 >= due);
    }
    sim_free(pages);
}

/* No core, and no PU, of a host serves two executors; a bound rank uses only what it may. */
static void check_cores(const struct world *w, const struct part_plan *p)
{
    for (uint32_t host = 0; host < p->nr_hosts; host++) {
        uint8_t *core_used = sim_zalloc(PART_MAX_PUS), *pu_used = sim_zalloc(PART_MAX_PUS);
        for (uint32_t i = 0; i < p->nr_ranks; i++) {
            const struct part_rank *r = &p->rank[i];
            const struct part_topology *t = w->topology[i];
            for (uint32_t n = 0; n < r->nr_executors && r->host == host; n++) {
                const struct part_executor *e = &p->executor[r->first_executor + n];
                assert_int_equal(r->bound, e->core != PART_NONE);
                assert_int_equal(r->bound, e->numa != PART_NONE);
                if (!r->bound)
                    continue;
                const struct part_core *c = &t->core[e->core];
                assert_true(e->core < t->nr_cores && !core_used[c->id]++);
                assert_int_equal(e->numa, t->numa[c->numa].os_index);
                assert_int_equal(e->nr_cpus, c->nr_pus);
                for (uint32_t k = 0; k < e->nr_cpus; k++) {
                    assert_int_equal(p->cpu[e->first_cpu + k], t->pu[c->first_pu + k]);
                    assert_false(pu_used[p->cpu[e->first_cpu + k]]++);
                }
            }
        }
        sim_free(core_used);
        sim_free(pu_used);
    }
}

static void check_hosts(const struct world *w, const struct part_plan *p)
{
    uint32_t seen = 0;

    for (uint32_t i = 0; i < p->nr_ranks; i++) {
        assert_true(p->rank[i].host <= seen);
        seen += p->rank[i].host == seen;
        if (i)
            assert_int_equal(p->rank[i].host == p->rank[i - 1].host,
                             part_same_host(w->topology[i], w->topology[i - 1]));
    }
    assert_int_equal(seen, p->nr_hosts);
}

static void check_nodes(const struct part_config *c, const struct part_plan *p)
{
    uint32_t next = 0;

    assert_true(p->nr_nodes >= 1 && p->nr_nodes <= p->nr_ranks);
    assert_true(c->max_nodes ? p->nr_nodes <= c->max_nodes : p->nr_nodes == p->nr_ranks);
    for (uint32_t i = 0; i < p->nr_nodes; i++) {
        assert_int_equal(p->node[i].first_rank, next);
        assert_true(p->node[i].nr_ranks >= 1);
        assert_int_equal(p->node[i].host, p->rank[next].host);
        for (uint32_t n = 0; n < p->node[i].nr_ranks; n++)
            assert_int_equal(p->rank[next++].node, i);
        assert_int_equal(part_plan_distance(p, i, i), 10);
        for (uint32_t j = 0; j < i; j++) {
            assert_int_equal(part_plan_distance(p, i, j),
                             p->node[i].host == p->node[j].host ? 20 : 40);
            assert_int_equal(part_plan_distance(p, i, j), part_plan_distance(p, j, i));
        }
    }
    assert_int_equal(next, p->nr_ranks);
}

/* Ranks with the same number of cores differ by one hart at most; more cores never get fewer harts. */
static void check_balance(const struct part_plan *p)
{
    for (uint32_t i = 0; i < p->nr_ranks; i++) {
        for (uint32_t j = 0; j < p->nr_ranks; j++) {
            const struct part_rank *a = &p->rank[i], *b = &p->rank[j];
            if (!a->nr_cores || !b->nr_cores || a->nr_cores < b->nr_cores)
                continue;
            assert_true(a->nr_harts + 1 >= b->nr_harts);
            if (a->nr_cores == b->nr_cores)
                assert_true(a->nr_harts <= b->nr_harts + 1);
        }
    }
}

static void check_same_again(const struct part_config *c, const struct world *w,
                             const struct part_plan *p)
{
    struct part_plan *again;
    struct world copies = {.nr = w->nr};

    for (uint32_t i = 0; i < w->nr; i++)
        copies.topology[i] = topology_copy(w->topology[i]);
    assert_int_equal(make(c, &copies, &again), SIM_OK);
    assert_true(part_plan_hash(p) == part_plan_hash(again));
    assert_memory_equal(p->hart, again->hart, p->nr_harts * sizeof p->hart[0]);
    for (uint32_t i = 0; i < p->nr_homes; i++)
        assert_true(p->home[i].first_page == again->home[i].first_page &&
                    p->home[i].rank == again->home[i].rank);
    part_plan_destroy(again);
    world_fini(&copies);
}

static struct part_plan *checked_plan(const struct part_config *c, const struct world *w)
{
    struct part_plan *p = NULL;

    assert_int_equal(make(c, w, &p), SIM_OK);
    assert_int_equal(p->nr_ranks, w->nr);
    check_hosts(w, p);
    check_harts(c, p);
    check_homes(c, p);
    check_cores(w, p);
    check_nodes(c, p);
    if (!c->harts_per_rank)
        check_balance(p);
    check_same_again(c, w, p);
    return p;
}

/* --- many --- */

static void test_plan_properties(void **state)
{
    (void)state;
    static const char *const hosts[] = {"pu:1", "core:2 pu:1", "numa:2 core:3 pu:2", NODE_8_DOMAINS};
    static const uint32_t nr_hosts[] = {1, 2, 3, 7}, ranks[] = {1, 2, 3, 4, 5, 8, 16, 31},
                          harts[] = {1, 2, 3, 16, 17, 64, 255, 4096};
    struct world w;

    for (size_t h = 0; h < SIM_ARRAY_LEN(hosts); h++) {
        for (size_t n = 0; n < SIM_ARRAY_LEN(nr_hosts); n++) {
            for (size_t r = 0; r < SIM_ARRAY_LEN(ranks); r++) {
                world_of(&w, hosts[h], nr_hosts[n], ranks[r]);
                for (size_t k = 0; k < SIM_ARRAY_LEN(harts); k++) {
                    struct part_config c = config_of(harts[k]);
                    c.max_nodes = (uint32_t)(k % 3) * 2;
                    c.threads_per_rank = (uint32_t)(k % 4 == 3) * 5;
                    if (harts[k] >= ranks[r])
                        part_plan_destroy(checked_plan(&c, &w));
                }
                world_fini(&w);
            }
        }
    }
}

static uint64_t draw(uint64_t *seed, uint64_t n)
{
    *seed = *seed * 6364136223846793005ull + 1442695040888963407ull;
    return (*seed >> 33) % n;
}

/* Hosts of different sizes; ranks in any order on them, each with any run of its host's cores. */
static void test_plan_random_worlds(void **state)
{
    (void)state;
    static const char *const texts[] = {"pu:1", "core:3 pu:1", "pack:2 l3:2 core:4 pu:2",
                                        "numa:4 core:4 pu:1"};
    struct part_topology *base[SIM_ARRAY_LEN(texts)];
    uint64_t seed = 7;

    for (size_t i = 0; i < SIM_ARRAY_LEN(texts); i++)
        base[i] = topology_of(texts[i]);
    for (unsigned round = 0; round < 400; round++) {
        struct world w = {.nr = 0};
        uint32_t ranks = 1 + (uint32_t)draw(&seed, 12), nr_hosts = 1 + (uint32_t)draw(&seed, 4);
        for (uint32_t i = 0; i < ranks; i++) {
            uint32_t host = (uint32_t)draw(&seed, nr_hosts);
            struct part_topology *whole = topology_host(base[host], host);
            uint32_t first = (uint32_t)draw(&seed, whole->nr_cores);
            uint32_t n = 1 + (uint32_t)draw(&seed, whole->nr_cores - first);
            world_add(&w, draw(&seed, 2) ? topology_copy(whole) : topology_part(whole, first, n));
            part_topology_destroy(whole);
        }
        struct part_config c = config_of(ranks + (uint32_t)draw(&seed, 40));
        part_plan_destroy(checked_plan(&c, &w));
        world_fini(&w);
    }
    for (size_t i = 0; i < SIM_ARRAY_LEN(texts); i++)
        part_topology_destroy(base[i]);
}

/* 64 nodes of 8 NUMA domains: a rank per domain keeps to its domain. */
static void test_plan_64_nodes_of_8_domains(void **state)
{
    (void)state;
    static struct world w;
    struct part_config c = config_of(4096);
    struct part_plan *p;

    world_of(&w, NODE_8_DOMAINS, 64, 512);
    p = checked_plan(&c, &w);
    assert_int_equal(p->nr_hosts, 64);
    assert_int_equal(p->nr_executors, 4096);
    for (uint32_t i = 0; i < p->nr_ranks; i++) {
        assert_int_equal(p->rank[i].nr_harts, 8);
        assert_int_equal(p->rank[i].nr_executors, 8);
        assert_true(p->rank[i].bound);
        for (uint32_t n = 0; n < 8; n++)
            assert_int_equal(p->executor[p->rank[i].first_executor + n].numa, i % 8);
    }
    part_plan_destroy(p);
    world_fini(&w);
    world_of(&w, NODE_8_DOMAINS, 64, 64);
    p = checked_plan(&c, &w);
    assert_int_equal(p->rank[63].nr_executors, 64);
    part_plan_destroy(p);
    world_fini(&w);
}

/* --- single plans --- */

static void assert_rank_harts(const struct part_plan *p, const uint32_t *harts)
{
    for (uint32_t i = 0; i < p->nr_ranks; i++)
        assert_int_equal(p->rank[i].nr_harts, harts[i]);
}

static void test_plan_by_hand(void **state)
{
    (void)state;
    struct world w;
    struct part_config c = config_of(16);

    world_of(&w, "core:8 pu:1", 1, 4);
    struct part_plan *p = checked_plan(&c, &w);
    assert_int_equal(p->nr_executors, 8);
    assert_int_equal(part_plan_hart(p, 5).rank, 1);
    assert_int_equal(part_plan_hart(p, 5).executor, 1);
    assert_int_equal(p->executor[3].core, 3);
    assert_int_equal(p->nr_homes, 4);
    assert_true(p->home[1].first_page == 0xc0000 && p->home[1].last_page == 0x100000);
    assert_int_equal(part_plan_distance(p, 0, 3), 20);
    part_plan_destroy(p);
    world_fini(&w);
}

static void test_plan_harts_follow_cores(void **state)
{
    (void)state;
    struct part_topology *big = topology_of("core:6 pu:2"), *small = topology_of("core:2 pu:2");
    struct world w = {.nr = 0};
    struct part_config c = config_of(16);

    world_add(&w, topology_host(big, 0));
    world_add(&w, topology_host(small, 1));
    struct part_plan *p = checked_plan(&c, &w);
    assert_rank_harts(p, (const uint32_t[]){12, 4});
    assert_true(p->home[1].first_page - p->home[0].first_page == 3 * (1ull << 18));
    assert_int_equal(part_plan_distance(p, 0, 1), 40);
    part_plan_destroy(p);
    c.nr_harts = 2; /* nobody stays without */
    p = checked_plan(&c, &w);
    assert_rank_harts(p, (const uint32_t[]){1, 1});
    part_plan_destroy(p);
    world_fini(&w);
    part_topology_destroy(big);
    part_topology_destroy(small);
}

static void test_plan_harts_not_divisible(void **state)
{
    (void)state;
    struct world w;
    struct part_config c = config_of(5);

    world_of(&w, "core:6 pu:1", 3, 3);
    struct part_plan *p = checked_plan(&c, &w);
    assert_rank_harts(p, (const uint32_t[]){2, 2, 1});
    part_plan_destroy(p);
    world_fini(&w);
}

/* Three ranks on two cores: nobody is bound, and nobody gets more than the others. */
static void test_plan_crowded_host(void **state)
{
    (void)state;
    struct world w;
    struct part_config c = config_of(16);

    world_of(&w, "core:2 pu:1", 1, 3);
    struct part_plan *p = checked_plan(&c, &w);
    assert_rank_harts(p, (const uint32_t[]){6, 5, 5});
    for (uint32_t i = 0; i < 3; i++) {
        assert_false(p->rank[i].bound);
        assert_int_equal(p->rank[i].nr_executors, 1);
        assert_int_equal(p->rank[i].nr_cores, 0);
    }
    part_plan_destroy(p);
    world_fini(&w);
}

/* Two ranks squeezed onto one core do not unbind a third that has its own. */
static void test_plan_crowd_does_not_spread(void **state)
{
    (void)state;
    struct part_topology *t = topology_of("core:8 pu:1");
    struct world w = {.nr = 0};
    struct part_config c = config_of(16);

    world_add(&w, topology_part(t, 0, 7));
    world_add(&w, topology_part(t, 7, 1));
    world_add(&w, topology_part(t, 7, 1));
    struct part_plan *p = checked_plan(&c, &w);
    assert_true(p->rank[0].bound);
    assert_int_equal(p->rank[0].nr_executors, 7);
    assert_false(p->rank[1].bound);
    assert_false(p->rank[2].bound);
    assert_rank_harts(p, (const uint32_t[]){14, 1, 1});
    part_plan_destroy(p);
    world_fini(&w);
    part_topology_destroy(t);
}

/* mpirun --bind-to socket, and one rank that is not bound at all. */
static void test_plan_bound_ranks(void **state)
{
    (void)state;
    struct part_topology *t = topology_of("pack:2 core:4 pu:1");
    struct world w = {.nr = 0};
    struct part_config c = config_of(24);

    world_add(&w, topology_part(t, 0, 4));
    world_add(&w, topology_part(t, 4, 4));
    world_add(&w, topology_copy(t));
    struct part_plan *p = checked_plan(&c, &w);
    assert_int_equal(p->rank[0].nr_cores + p->rank[1].nr_cores + p->rank[2].nr_cores, 8);
    for (uint32_t i = 0; i < 3; i++) {
        assert_true(p->rank[i].bound);
        assert_true(p->rank[i].nr_cores >= 2);
    }
    part_plan_destroy(p);
    world_fini(&w);

    world_add(&w, topology_part(t, 0, 4));
    world_add(&w, topology_part(t, 4, 4));
    p = checked_plan(&c, &w);
    assert_int_equal(p->rank[1].nr_executors, 4);
    assert_int_equal(p->cpu[p->executor[p->rank[1].first_executor].first_cpu], 4);
    part_plan_destroy(p);
    world_fini(&w);

    world_add(&w, topology_copy(t)); /* may choose, and leaves the other its only cores */
    world_add(&w, topology_part(t, 4, 4));
    p = checked_plan(&c, &w);
    assert_int_equal(p->rank[0].nr_cores, 4);
    assert_int_equal(p->rank[1].nr_cores, 4);
    part_plan_destroy(p);
    world_fini(&w);
    part_topology_destroy(t);
}

/* mpirun --map-by node: ranks go round the hosts. */
static void test_plan_round_robin_hosts(void **state)
{
    (void)state;
    struct part_topology *t = topology_of("core:4 pu:1");
    struct world w = {.nr = 0};
    struct part_config c = config_of(8);

    for (unsigned i = 0; i < 4; i++)
        world_add(&w, topology_host(t, i % 2));
    struct part_plan *p = checked_plan(&c, &w);
    assert_int_equal(p->rank[2].host, 0);
    assert_int_equal(p->executor[p->rank[2].first_executor].core, 2);
    assert_int_equal(part_plan_distance(p, 0, 2), 20);
    assert_int_equal(part_plan_distance(p, 0, 1), 40);
    part_plan_destroy(p);
    world_fini(&w);
    part_topology_destroy(t);
}

static void test_plan_wishes(void **state)
{
    (void)state;
    static const uint32_t harts[] = {1, 6, 1};
    static const struct part_device devices[] = {{"disk0", 2}, {"net0", 1}};
    struct world w;
    struct part_config c = config_of(8);

    c.harts_per_rank = harts;
    c.device = devices;
    c.nr_devices = 2;
    world_of(&w, "core:8 pu:1", 1, 3);
    struct part_plan *p = checked_plan(&c, &w);
    assert_rank_harts(p, harts);
    assert_int_equal(p->rank[1].nr_cores, 6); /* cores follow the wish */
    assert_int_equal(part_plan_device(p, "disk0"), 2);
    assert_int_equal(part_plan_device(p, "net0"), 1);
    assert_int_equal(part_plan_device(p, "uart0"), 0);
    part_plan_destroy(p);

    c.threads_per_rank = 3; /* one thread per hart at most, and no more than asked for */
    p = checked_plan(&c, &w);
    assert_int_equal(p->rank[0].nr_executors, 1);
    assert_int_equal(p->rank[1].nr_executors, 3);
    assert_true(p->rank[1].bound);
    part_plan_destroy(p);

    static const uint32_t lopsided[] = {60, 1, 3};
    c = config_of(64);
    c.harts_per_rank = lopsided; /* a core for each before the second for any */
    p = checked_plan(&c, &w);
    assert_int_equal(p->rank[0].nr_cores, 6);
    assert_int_equal(p->rank[1].nr_cores, 1);
    assert_int_equal(p->rank[2].nr_cores, 1);
    part_plan_destroy(p);

    static const uint32_t few[] = {1, 1, 2};
    c = config_of(4);
    c.harts_per_rank = few; /* and none without a hart for it */
    p = checked_plan(&c, &w);
    assert_int_equal(p->rank[0].nr_cores, 1);
    assert_int_equal(p->rank[2].nr_cores, 2);
    part_plan_destroy(p);

    c = config_of(64);
    c.threads_per_rank = 4; /* more threads than cores: not bound */
    p = checked_plan(&c, &w);
    assert_int_equal(p->rank[0].nr_executors, 4);
    assert_false(p->rank[0].bound);
    part_plan_destroy(p);
    world_fini(&w);
}

static void test_plan_memory(void **state)
{
    (void)state;
    static const struct part_range banks[] = {
        {0x40000000, 3 << 20}, {0x40300000, 64 << 20}, {0x100001000, (200 << 20) + 0x3000}};
    static const struct part_range tiny = {0x80000000, 1 << 20};
    struct world w;
    struct part_config c = config_of(7);

    world_of(&w, "core:4 pu:1", 1, 3);
    c.ram = banks;
    c.nr_ram = 3;
    struct part_plan *p = checked_plan(&c, &w);
    for (uint32_t i = 0; i + 1 < p->nr_homes; i++) /* cuts inside a bank are aligned */
        if (p->home[i].last_page == p->home[i + 1].first_page &&
            p->home[i].last_page != banks[1].base >> 12)
            assert_true(p->home[i].last_page % PAGES_2M == 0);
    part_plan_destroy(p);

    c.ram = &tiny; /* less than an alignment: still everybody's part */
    c.nr_ram = 1;
    p = checked_plan(&c, &w);
    assert_int_equal(p->nr_homes, 3);
    part_plan_destroy(p);
    world_fini(&w);

    world_of(&w, "core:4 pu:1", 1, 300); /* more ranks than pages */
    c = config_of(300);
    c.ram = &tiny;
    part_plan_destroy(checked_plan(&c, &w));
    world_fini(&w);
}

static void test_plan_few_nodes(void **state)
{
    (void)state;
    struct world w;
    struct part_config c = config_of(64);

    c.max_nodes = 4;
    world_of(&w, "core:8 pu:1", 2, 8);
    struct part_plan *p = checked_plan(&c, &w);
    assert_int_equal(p->nr_nodes, 4);
    assert_int_equal(p->rank[3].node, 1);
    assert_int_equal(part_plan_distance(p, 0, 1), 20);
    assert_int_equal(part_plan_distance(p, 1, 2), 40);
    part_plan_destroy(p);
    world_fini(&w);

    static const uint32_t nodes[] = {0, 0, 1, 1, 2, 3};
    c.nr_harts = 60;
    world_of(&w, "core:8 pu:1", 3, 6); /* none lies on two hosts as long as there are enough */
    p = checked_plan(&c, &w);
    for (uint32_t i = 0; i < 6; i++)
        assert_int_equal(p->rank[i].node, nodes[i]);
    part_plan_destroy(p);
    c.max_nodes = 2;
    part_plan_destroy(checked_plan(&c, &w));
    c.max_nodes = 1;
    p = checked_plan(&c, &w);
    assert_int_equal(p->nr_nodes, 1);
    part_plan_destroy(p);
    world_fini(&w);
}

/* The hash sees what the plans of two ranks could disagree on. */
static void test_plan_hash(void **state)
{
    (void)state;
    struct world w;
    struct part_config c = config_of(16);
    struct part_plan *p;
    uint64_t hash[5];

    world_of(&w, "core:8 pu:1", 1, 4);
    for (unsigned i = 0; i < 5; i++) {
        struct part_range other = {0x80000000, 2ull << 30};
        struct part_config changed = c;
        changed.nr_harts += i == 1;
        changed.ram = i == 2 ? &other : c.ram;
        changed.device_rank = i == 3;
        changed.threads_per_rank = i == 4;
        assert_int_equal(make(&changed, &w, &p), SIM_OK);
        hash[i] = part_plan_hash(p);
        part_plan_destroy(p);
        for (unsigned j = 0; j < i; j++)
            assert_false(hash[i] == hash[j]);
    }
    w.topology[3]->pu[7] = 99; /* another core */
    assert_int_equal(make(&c, &w, &p), SIM_OK);
    assert_false(part_plan_hash(p) == hash[0]);
    part_plan_destroy(p);
    world_fini(&w);
}

/* --- refused --- */

static void assert_refused(const struct part_config *c, const struct world *w, const char *a,
                           const char *b)
{
    struct part_plan *p = NULL;
    struct capture capture;

    capture_begin(&capture, STDERR_FILENO);
    enum sim_status status = make(c, w, &p);
    const char *text = capture_end(&capture);
    assert_int_equal(status, SIM_ERR_INVALID);
    assert_null(p);
    assert_non_null(strstr(text, a));
    assert_non_null(strstr(text, b));
    assert_string_equal(strchr(text, '\n'), "\n");
}

static void test_plan_refused(void **state)
{
    (void)state;
    static const uint32_t wrong_sum[] = {2, 2, 2, 3}, none[] = {4, 0, 2, 2};
    static const struct part_range odd = {0x80000000, 4097}, twice[] = {{0, 8192}, {4096, 8192}},
                                   wrapping = {0xfffffffffffff000, 8192};
    static const struct part_device lost = {"disk0", 4};
    struct world w;
    const struct part_config good = config_of(8);
    struct part_config c = config_of(3);

    world_of(&w, "core:8 pu:1", 2, 4);
    assert_refused(&c, &w, "3 harts", "4 ranks");
    c = good;
    c.harts_per_rank = wrong_sum;
    assert_refused(&c, &w, "9 harts", "has 8");
    c.harts_per_rank = none;
    assert_refused(&c, &w, "rank 1", "no hart");
    c = good;
    c.device_rank = 4;
    assert_refused(&c, &w, "rank 4", "0 to 3");
    c = good;
    c.device = &lost;
    c.nr_devices = 1;
    assert_refused(&c, &w, "disk0", "rank 4");
    c = good;
    c.ram = &odd;
    assert_refused(&c, &w, "memory", "whole pages");
    c.ram = &wrapping;
    assert_refused(&c, &w, "memory", "whole pages");
    c.ram = twice;
    c.nr_ram = 2;
    assert_refused(&c, &w, "memory", "overlap");
    c.nr_ram = 0;
    assert_refused(&c, &w, "no memory", "plan");
    world_fini(&w);
    assert_refused(&good, &w, "0 ranks", "1 to 4096");
}

/* Where harts move, all may come to one rank, which then has more to do than its own share of them. */
static void test_plan_has_executors_for_harts_that_move(void **state)
{
    struct part_config c = config_of(4);
    struct part_plan *p;
    struct world w;

    (void)state;
    world_of(&w, "core:8 pu:1", 2, 2);
    assert_int_equal(make(&c, &w, &p), SIM_OK);
    assert_int_equal(p->rank[0].nr_executors, 2);
    part_plan_destroy(p);
    c.harts_move = true;
    assert_int_equal(make(&c, &w, &p), SIM_OK);
    for (uint32_t i = 0; i < 2; i++) {
        assert_int_equal(p->rank[i].nr_harts, 2);
        assert_int_equal(p->rank[i].nr_executors, 4);
    }
    part_plan_destroy(p);
    world_fini(&w);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_plan_properties),
        cmocka_unit_test(test_plan_random_worlds),
        cmocka_unit_test(test_plan_64_nodes_of_8_domains),
        cmocka_unit_test(test_plan_by_hand),
        cmocka_unit_test(test_plan_harts_follow_cores),
        cmocka_unit_test(test_plan_harts_not_divisible),
        cmocka_unit_test(test_plan_crowded_host),
        cmocka_unit_test(test_plan_crowd_does_not_spread),
        cmocka_unit_test(test_plan_bound_ranks),
        cmocka_unit_test(test_plan_round_robin_hosts),
        cmocka_unit_test(test_plan_wishes),
        cmocka_unit_test(test_plan_memory),
        cmocka_unit_test(test_plan_few_nodes),
        cmocka_unit_test(test_plan_hash),
        cmocka_unit_test(test_plan_refused),
        cmocka_unit_test(test_plan_has_executors_for_harts_that_move),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
