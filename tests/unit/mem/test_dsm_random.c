/* Coherent memory under random instructions, random message orders and virtual time: thousands of
 * runs, each made by its seed alone. */
#include <stdlib.h>

#include "dsm_world.h"

static uint64_t nr_seeds, moves, moves_given_up;

static uint64_t retired(const struct world *w)
{
    uint64_t n = 0;

    for (unsigned i = 0; i < w->nr_ranks; i++)
        for (unsigned c = 0; c < w->nr_cpus; c++)
            n += w->rank[i].cpu[c].retired;
    return n;
}

/* Something happens somewhere: a message, or a vCPU's or device's turn. */
static void any_step(struct world *w, unsigned messages)
{
    struct world_rank *r = &w->rank[world_random(w, w->nr_ranks)];

    if (world_random(w, 100) < messages)
        world_step(w);
    else if (world_random(w, 16) == 0)
        world_run_device(w, r);
    else if (world_random(w, 16) == 0)
        dsm_tick(r->dsm);
    else if (world_random(w, 64) == 0)
        world_read_image(w);
    else if (world_random(w, 256) == 0)
        world_cut(w);
    else if (world_random(w, 64) == 0)
        world_move_homes(w);
    else
        world_run_cpu(w, r, (unsigned)world_random(w, w->nr_cpus));
    if (world_random(w, 4) == 0)
        world_poison(w, r);
    world_check_states(w);
}

static uint64_t came_along(struct world *w)
{
    struct dsm_stats stats;
    uint64_t n = 0;

    for (unsigned i = 0; i < w->nr_ranks; i++) {
        dsm_get_stats(w->rank[i].dsm, &stats);
        n += stats.came_along;
    }
    return n;
}

/* Instructions go on ending: `goal` of them in a bounded number of steps. */
static void run_world(struct world *w, unsigned goal, unsigned group)
{
    unsigned nr_ranks = w->nr_ranks;
    for (unsigned i = 0; i < nr_ranks; i++)
        w->rank[i].dsm->group = group;
    unsigned messages = 20 + (unsigned)world_random(w, 75); /* percent: a slow or a fast net */
    uint64_t limit = (uint64_t)goal * nr_ranks * 2000;

    for (uint64_t step = 0; retired(w) < goal; step++) {
        any_step(w, messages);
        if (step == limit)
            world_fail(w, "%llu of %u instructions in %llu steps", (unsigned long long)retired(w),
                       goal, (unsigned long long)step);
    }
    world_cut(w);
    world_cut(w);
    if (w->failures)
        world_fail(w, "the protocol was broken");
    moves += w->moves - w->moves_given_up;
    moves_given_up += w->moves_given_up;
}

static void run(uint64_t seed, unsigned nr_ranks, unsigned nr_cpus, unsigned nr_pages,
                unsigned goal, unsigned group)
{
    struct world *w = world_create(seed, nr_ranks, nr_cpus, nr_pages);

    run_world(w, goal, group);
    world_destroy(w);
}

static void test_two_ranks(void **state)
{
    (void)state;
    for (uint64_t seed = 1; seed <= nr_seeds; seed++)
        run(seed, 2, 1 + seed % 3, 1 + seed % 3, 60, 1);
}

static void test_three_ranks(void **state)
{
    (void)state;
    for (uint64_t seed = 1; seed <= nr_seeds; seed++)
        run(seed, 3, 1 + seed % 2, 1 + seed % 4, 60, 1);
}

static void test_many_ranks(void **state)
{
    (void)state;
    for (uint64_t seed = 1; seed <= 1 + nr_seeds / 25; seed++)
        run(seed, 4 + seed % 12, 2, 2, 100, 1);
}

/* As with more than 64 ranks: sharers are counted in groups. */
static void test_groups_of_ranks(void **state)
{
    (void)state;
    for (uint64_t seed = 1; seed <= nr_seeds; seed++)
        run(seed, 3 + seed % 4, 1, 1 + seed % 2, 60, 2 + seed % 2);
}

/* Memory at its start: pages come along with others, while their homes begin to use them, too. */
static void test_untouched_pages(void **state)
{
    uint64_t along = 0;

    (void)state;
    for (uint64_t seed = 1; seed <= nr_seeds; seed++) {
        unsigned block = 2 + seed % 15, group = seed % 8 ? 1 : 2;
        struct world *w = world_create_blank(seed, 2 + seed % 3, 1 + seed % 2, WORLD_PAGES, block, 1u << seed % 4);
        run_world(w, 60, group);
        along += came_along(w);
        world_destroy(w);
    }
    assert_true(along > 5 * nr_seeds);
}

/* In all of these: homes that moved, and moves that were given up. */
static void test_homes_moved(void **state)
{
    (void)state;
    assert_true(moves > 4 * nr_seeds);
    assert_true(moves_given_up > nr_seeds / 4);
}

/* test_dsm_random [SEEDS] */
int main(int argc, char **argv)
{
    nr_seeds = argc > 1 ? strtoull(argv[1], NULL, 10) : 250;
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_two_ranks),
        cmocka_unit_test(test_three_ranks),
        cmocka_unit_test(test_many_ranks),
        cmocka_unit_test(test_groups_of_ranks),
        cmocka_unit_test(test_untouched_pages),
        cmocka_unit_test(test_homes_moved),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
