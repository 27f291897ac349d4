/* Lending cores: who uses which core, by what the ranks' harts did. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <string.h>

#include "partition/lend.h"
#include "topologies.h"

enum { MAX_RANKS = 8, MAX_CORES = 64 };

static const struct part_range ram = {0x80000000, 1ull << 30};

struct world {
    struct part_topology *topology[MAX_RANKS];
    uint32_t nr;
    struct part_plan *plan;
    struct part_load load[MAX_RANKS];
    uint32_t user[MAX_CORES];
};

static struct part_config config_of(uint32_t nr_harts)
{
    return (struct part_config){.nr_harts = nr_harts, .ram = &ram, .nr_ram = 1, .harts_move = true, .lend_cores = true,
                                .binds = true};
}

static void plan_again(struct world *w, const struct part_config *c)
{
    part_plan_destroy(w->plan);
    assert_int_equal(part_plan_make(c, (const struct part_topology *const *)w->topology, w->nr, &w->plan), SIM_OK);
    assert_true(w->plan->nr_executors <= MAX_CORES);
    part_lend_nothing(w->plan, w->user);
}

/* Equal ranks, block-wise on equal hosts. */
static void world_init(struct world *w, const char *host, uint32_t nr_hosts, uint32_t nr_ranks, uint32_t nr_harts)
{
    struct part_topology *t = topology_of(host);
    struct part_config c = config_of(nr_harts);

    *w = (struct world){.nr = nr_ranks};
    for (uint32_t i = 0; i < nr_ranks; i++)
        w->topology[i] = topology_host(t, i * nr_hosts / nr_ranks);
    part_topology_destroy(t);
    plan_again(w, &c);
}

static void world_fini(struct world *w)
{
    part_plan_destroy(w->plan);
    for (uint32_t i = 0; i < w->nr; i++)
        part_topology_destroy(w->topology[i]);
}

static void did(struct world *w, uint32_t rank, uint32_t harts, uint32_t core_percent)
{
    w->load[rank] = (struct part_load){harts, core_percent};
}

/* Cores that a rank uses; every executor's core has one user, and the plan said that it may have it. */
static uint32_t cores_of(const struct world *w, uint32_t rank)
{
    const struct part_rank *r = &w->plan->rank[rank];
    uint32_t used = 0, found = 0;

    for (uint32_t e = 0; e < w->plan->nr_executors; e++)
        used += w->user[e] == rank;
    for (uint32_t i = 0; i < r->nr_executors + r->nr_spares; i++)
        found += w->user[part_plan_core_of(w->plan, rank, i)] == rank;
    assert_int_equal(used, found);
    return used;
}

static uint32_t lend(struct world *w, uint32_t rank)
{
    part_lend(w->plan, w->load, w->user);
    return cores_of(w, rank);
}

/* --- the plan's part --- */

static void test_spares_are_cores_of_others_on_the_host(void **state)
{
    struct world w;

    (void)state;
    world_init(&w, "core:4 pu:1", 2, 4, 16);
    for (uint32_t i = 0; i < 4; i++) {
        const struct part_rank *r = &w.plan->rank[i];
        assert_int_equal(r->nr_executors, 2);
        assert_int_equal(r->nr_spares, 2);
        for (uint32_t n = 0; n < 2; n++) { /* the first executor's core last */
            assert_int_equal(part_plan_core_of(w.plan, i, n), r->first_executor + n);
            assert_int_equal(part_plan_core_of(w.plan, i, 2 + n), w.plan->rank[i ^ 1].first_executor + 1 - n);
        }
    }
    world_fini(&w);
}

static void test_who_has_no_spares(void **state)
{
    struct world w;
    struct part_config c = config_of(2);

    (void)state;
    world_init(&w, "core:4 pu:1", 1, 2, 2); /* a core for each hart of the machine */
    assert_int_equal(w.plan->nr_spares, 0);
    c.nr_harts = 16;
    plan_again(&w, &c);
    assert_int_equal(w.plan->nr_spares, 4);
    c.lend_cores = false;
    plan_again(&w, &c);
    assert_int_equal(w.plan->nr_spares, 0);
    c = config_of(16);
    c.harts_move = false;
    plan_again(&w, &c);
    assert_int_equal(w.plan->nr_spares, 0);
    c = config_of(16);
    c.threads_per_rank = 3; /* more than cores: nobody has one to himself */
    plan_again(&w, &c);
    assert_int_equal(w.plan->nr_spares, 0);
    world_fini(&w);
    world_init(&w, "core:4 pu:1", 2, 2, 16); /* other hosts */
    assert_int_equal(w.plan->nr_spares, 0);
    world_fini(&w);
    world_init(&w, "core:2 pu:1", 1, 3, 16); /* fewer cores than ranks */
    assert_int_equal(w.plan->nr_spares, 0);
    world_fini(&w);
}

/* mpirun has given each rank cores of its own: threads that are not bound cannot use the others'. */
static void test_unbound_threads_stay_where_they_may(void **state)
{
    struct part_topology *t = topology_of("core:4 pu:1");
    struct part_config c = config_of(16);
    struct world w = {.nr = 2};

    (void)state;
    w.topology[0] = topology_part(t, 0, 2);
    w.topology[1] = topology_part(t, 2, 2);
    plan_again(&w, &c);
    assert_int_equal(w.plan->nr_spares, 4);
    c.binds = false;
    plan_again(&w, &c);
    assert_int_equal(w.plan->nr_spares, 0);
    world_fini(&w);
    part_topology_destroy(t);
}

static void test_the_number_of_spares_has_an_end(void **state)
{
    struct part_topology *t = topology_of("core:512 pu:1");
    struct part_config c = config_of(4096);
    struct part_topology *rank[MAX_RANKS];
    struct part_plan *p;

    (void)state;
    for (uint32_t i = 0; i < MAX_RANKS; i++)
        rank[i] = t;
    assert_int_equal(part_plan_make(&c, (const struct part_topology *const *)rank, MAX_RANKS, &p), SIM_OK);
    for (uint32_t i = 0; i < MAX_RANKS; i++)
        assert_int_equal(p->rank[i].nr_spares, PART_MAX_SPARES);
    part_plan_destroy(p);
    part_topology_destroy(t);
}

/* --- lending --- */

static void test_nothing_is_lent_at_first(void **state)
{
    struct world w;

    (void)state;
    world_init(&w, "core:4 pu:1", 1, 2, 8);
    for (uint32_t i = 0; i < 2; i++) {
        bool works[4];
        assert_int_equal(lend(&w, i), 2);
        part_lend_works(w.plan, w.user, i, works);
        assert_true(works[0] && works[1] && !works[2] && !works[3]);
    }
    world_fini(&w);
}

/* All harts have come to rank 0: it has their cores; when some go back, so do cores. */
static void test_cores_follow_the_harts(void **state)
{
    struct world w;
    bool works[2];

    (void)state;
    world_init(&w, "core:2 pu:1", 1, 2, 4);
    did(&w, 0, 4, 100);
    assert_int_equal(lend(&w, 0), 2);
    part_lend_works(w.plan, w.user, 0, works);
    assert_true(works[0] && works[1]);
    part_lend_works(w.plan, w.user, 1, works);
    assert_true(works[0] && !works[1]); /* the first is always there */
    did(&w, 0, 2, 100);
    did(&w, 1, 2, 90);
    assert_int_equal(lend(&w, 0), 1);
    assert_int_equal(cores_of(&w, 1), 1);
    world_fini(&w);
}

/* A borrower that has little to do, or fewer harts than executors, gets nothing, and gives back what it has. */
static void test_only_who_needs_a_core_borrows(void **state)
{
    static const struct {
        uint32_t harts, percent, first, later; /* cores when it asks, and when it has them already */
    } rows[] = {{4, 200, 4, 4}, {4, 120, 4, 4}, {4, 119, 2, 4}, {4, 60, 2, 4}, {4, 59, 2, 2},
                {3, 200, 3, 3}, {2, 200, 2, 2}, {1, 100, 2, 2}, {0, 0, 2, 2},  {40, 200, 4, 4}};
    struct world w;

    (void)state;
    world_init(&w, "core:4 pu:1", 1, 2, 64);
    for (size_t i = 0; i < SIM_ARRAY_LEN(rows); i++) {
        part_lend_nothing(w.plan, w.user);
        did(&w, 0, rows[i].harts, rows[i].percent);
        assert_int_equal(lend(&w, 0), rows[i].first);
        did(&w, 0, 64, 400);
        assert_int_equal(lend(&w, 0), 4);
        did(&w, 0, rows[i].harts, rows[i].percent);
        assert_int_equal(lend(&w, 0), rows[i].later);
    }
    world_fini(&w);
}

/* What an owner of four cores does, and what it keeps of them. */
static void test_owners_keep_what_they_need(void **state)
{
    static const struct {
        uint32_t harts, percent, first, later; /* cores when asked, and when all were lent before */
    } rows[] = {{0, 0, 0, 0},    {3, 20, 0, 0},  {3, 21, 1, 0},   {1, 100, 1, 1},  {4, 50, 1, 1},
                {4, 101, 3, 3},  {2, 200, 2, 2}, {64, 400, 4, 4}, {64, 100, 2, 2}, {3, 40, 1, 0}};
    struct world w;

    (void)state;
    world_init(&w, "core:8 pu:1", 1, 2, 64);
    for (size_t i = 0; i < SIM_ARRAY_LEN(rows); i++) {
        part_lend_nothing(w.plan, w.user);
        did(&w, 1, 64, 400);
        did(&w, 0, rows[i].harts, rows[i].percent);
        assert_int_equal(lend(&w, 0), rows[i].first);
        did(&w, 0, 0, 0);
        assert_int_equal(lend(&w, 0), 0);
        did(&w, 0, rows[i].harts, rows[i].percent);
        assert_int_equal(lend(&w, 0), rows[i].later);
    }
    world_fini(&w);
}

/* Squeezed onto one core an owner cannot show what it needs; it gets back twice as many each time. */
static void test_an_owner_grows_back(void **state)
{
    struct world w;
    uint32_t cores = 1, rounds = 0;

    (void)state;
    world_init(&w, "core:16 pu:1", 1, 2, 64);
    did(&w, 0, 64, 800);
    assert_int_equal(lend(&w, 0), 16);
    did(&w, 1, 40, 100);
    while ((cores = lend(&w, 1)) < 8 && rounds++ < 10)
        did(&w, 1, 40, 100 * cores);
    assert_int_equal(cores, 8);
    assert_int_equal(cores_of(&w, 0), 8);
    assert_true(rounds <= 3);
    world_fini(&w);
}

/* Three ranks with much to do share what the fourth and fifth leave; who lends does not borrow. */
static void test_cores_go_round(void **state)
{
    struct world w;

    (void)state;
    world_init(&w, "core:10 pu:1", 1, 5, 80);
    for (uint32_t i = 0; i < 3; i++)
        did(&w, i, 16, 200);
    part_lend(w.plan, w.load, w.user);
    assert_int_equal(cores_of(&w, 0) + cores_of(&w, 1) + cores_of(&w, 2), 10);
    for (uint32_t i = 0; i < 3; i++)
        assert_in_range(cores_of(&w, i), 3, 4);
    uint32_t before[MAX_CORES];
    memcpy(before, w.user, sizeof before);
    part_lend(w.plan, w.load, w.user);
    assert_memory_equal(before, w.user, sizeof before); /* and stay */
    did(&w, 3, 2, 200);
    part_lend(w.plan, w.load, w.user);
    assert_int_equal(cores_of(&w, 3), 2);
    world_fini(&w);
}

static void test_cores_stay_on_their_host(void **state)
{
    struct world w;

    (void)state;
    world_init(&w, "core:2 pu:1", 2, 4, 16);
    did(&w, 0, 16, 100);
    assert_int_equal(lend(&w, 0), 2);
    assert_int_equal(cores_of(&w, 2), 1);
    assert_int_equal(cores_of(&w, 3), 1);
    world_fini(&w);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_spares_are_cores_of_others_on_the_host),
        cmocka_unit_test(test_who_has_no_spares),
        cmocka_unit_test(test_unbound_threads_stay_where_they_may),
        cmocka_unit_test(test_the_number_of_spares_has_an_end),
        cmocka_unit_test(test_nothing_is_lent_at_first),
        cmocka_unit_test(test_cores_follow_the_harts),
        cmocka_unit_test(test_only_who_needs_a_core_borrows),
        cmocka_unit_test(test_owners_keep_what_they_need),
        cmocka_unit_test(test_an_owner_grows_back),
        cmocka_unit_test(test_cores_go_round),
        cmocka_unit_test(test_cores_stay_on_their_host),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
