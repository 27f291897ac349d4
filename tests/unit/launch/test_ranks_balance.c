/* Balancing: which hart shall move, on worlds of two and three ranks. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <string.h>

#include "ranks_balance.h"
#include "sim-core/compiler.h"

#define MS 1000000ull
enum { INTERVAL_MS = 250, MAX_HARTS = 8 };

/* Milliseconds of an interval of 250. */
struct world {
    struct balance b;
    struct balance_rank rank[3];
    struct balance_hart hart[MAX_HARTS];
    struct balance_input in;
};

static void world_init(struct world *w, uint32_t nr_ranks)
{
    memset(w, 0, sizeof *w);
    for (uint32_t r = 0; r < nr_ranks; r++)
        w->rank[r].executors = 1;
    w->in = (struct balance_input){.now_ns = 1000 * MS, .interval_ns = INTERVAL_MS * MS,
                                   .rank = w->rank, .nr_ranks = nr_ranks, .hart = w->hart};
}

static void add(struct world *w, uint32_t rank, unsigned busy_ms, uint32_t waits)
{
    w->hart[w->in.nr_harts++] = (struct balance_hart){rank, waits, busy_ms * MS};
}

static bool decide(struct world *w, struct balance_move *move)
{
    return balance_decide(&w->b, &w->in, move);
}

static void test_harts_that_share_nothing_stay(void **state)
{
    struct world w;
    struct balance_move m;

    (void)state;
    world_init(&w, 2);
    add(&w, 0, 250, 3);
    add(&w, 1, 250, 2);
    assert_false(decide(&w, &m));
}

static void test_idle_machine_stays(void **state)
{
    struct world w;
    struct balance_move m;

    (void)state;
    world_init(&w, 2);
    add(&w, 0, 1, 10);
    add(&w, 1, 2, 10);
    w.rank[0].wait_ns = w.rank[1].wait_ns = 10 * MS; /* more than they run, but little */
    assert_false(decide(&w, &m));
}

static void test_harts_that_wait_for_each_other_come_together(void **state)
{
    struct world w;
    struct balance_move m;

    (void)state;
    world_init(&w, 2);
    add(&w, 0, 20, 5000);
    add(&w, 1, 15, 5000);
    w.rank[0].wait_ns = w.rank[1].wait_ns = 220 * MS;
    assert_true(decide(&w, &m));
    assert_int_equal(m.hart, 1);
    assert_int_equal(m.to, 0); /* of equals the first */
}

/* To where most of them are, and the one that waits most first. */
static void test_they_come_to_where_most_are(void **state)
{
    struct world w;
    struct balance_move m;

    (void)state;
    world_init(&w, 3);
    add(&w, 0, 5, 100);
    add(&w, 1, 20, 4000);
    add(&w, 1, 20, 4000);
    add(&w, 2, 10, 900);
    add(&w, 2, 10, 3000);
    add(&w, 2, 1, 0); /* does nothing */
    w.rank[1].wait_ns = w.rank[2].wait_ns = 400 * MS;
    assert_true(decide(&w, &m));
    assert_int_equal(m.hart, 4);
    assert_int_equal(m.to, 1);
}

static void test_not_where_there_is_no_room(void **state)
{
    struct world w;
    struct balance_move m;

    (void)state;
    world_init(&w, 2);
    add(&w, 0, 215, 5000);
    add(&w, 1, 20, 5000);
    w.rank[1].wait_ns = 220 * MS;
    assert_false(decide(&w, &m));
}

static void test_crowded_harts_spread(void **state)
{
    struct world w;
    struct balance_move m;

    (void)state;
    world_init(&w, 2);
    add(&w, 0, 120, 0);
    add(&w, 0, 128, 0);
    assert_true(decide(&w, &m));
    assert_int_equal(m.hart, 1);
    assert_int_equal(m.to, 1);
}

/* One busy hart needs one executor, and a rank that has as many stays as it is. */
static void test_enough_executors_are_no_crowd(void **state)
{
    struct world w;
    struct balance_move m;

    (void)state;
    world_init(&w, 2);
    add(&w, 0, 248, 0);
    add(&w, 0, 2, 0);
    assert_false(decide(&w, &m));
    w.rank[0].executors = 2;
    w.hart[1].busy_ns = 248 * MS;
    assert_false(decide(&w, &m));
}

/* Together, crowded, spread, waiting, together: each time longer until the next try. */
static void test_mistakes_are_not_repeated_soon(void **state)
{
    struct world w;
    struct balance_move m;
    uint64_t pause = 0;

    (void)state;
    world_init(&w, 2);
    add(&w, 0, 125, 0);
    add(&w, 0, 125, 0);
    for (unsigned round = 0; round < 8; round++) {
        w.hart[1].rank = 0;
        w.hart[0] = w.hart[1] = (struct balance_hart){0, 0, 125 * MS};
        w.rank[0].wait_ns = w.rank[1].wait_ns = 0;
        uint64_t start = w.in.now_ns;
        while (!decide(&w, &m))
            w.in.now_ns += INTERVAL_MS * MS;
        assert_true(w.in.now_ns - start >= pause);
        pause = w.in.now_ns - start;
        w.hart[m.hart] = (struct balance_hart){1, 5000, 10 * MS};
        w.hart[!m.hart] = (struct balance_hart){0, 5000, 10 * MS};
        w.rank[0].wait_ns = w.rank[1].wait_ns = 220 * MS;
        w.in.now_ns += INTERVAL_MS * MS;
        assert_true(decide(&w, &m));
    }
    assert_in_range(pause, 60000 * MS, 64000 * MS);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_harts_that_share_nothing_stay),
        cmocka_unit_test(test_idle_machine_stays),
        cmocka_unit_test(test_harts_that_wait_for_each_other_come_together),
        cmocka_unit_test(test_they_come_to_where_most_are),
        cmocka_unit_test(test_not_where_there_is_no_room),
        cmocka_unit_test(test_crowded_harts_spread),
        cmocka_unit_test(test_enough_executors_are_no_crowd),
        cmocka_unit_test(test_mistakes_are_not_repeated_soon),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
