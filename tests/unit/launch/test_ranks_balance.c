/* Balancing: which harts shall move, on worlds of two and three ranks. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <string.h>

#include "ranks_balance.h"
#include "sim-core/compiler.h"

#define MS 1000000ull
enum { INTERVAL_MS = 100, MAX_HARTS = 8, MAX_MOVES = 8 };

/* Milliseconds of an interval of 100. The devices are on rank 0. */
struct world {
    struct balance b;
    uint32_t executors[3];
    struct balance_hart hart[MAX_HARTS];
    struct balance_input in;
    struct balance_move move[MAX_MOVES];
};

static void world_init(struct world *w, uint32_t nr_ranks)
{
    memset(w, 0, sizeof *w);
    for (uint32_t r = 0; r < nr_ranks; r++)
        w->executors[r] = 1;
    w->in = (struct balance_input){.now_ns = 1000 * MS, .interval_ns = INTERVAL_MS * MS,
                                   .executors = w->executors, .nr_ranks = nr_ranks, .hart = w->hart};
}

static struct balance_hart hart(uint32_t rank, unsigned busy_ms, unsigned wait_ms)
{
    return (struct balance_hart){rank, busy_ms * MS, wait_ms * MS};
}

static void add(struct world *w, uint32_t rank, unsigned busy_ms, unsigned wait_ms)
{
    w->hart[w->in.nr_harts++] = hart(rank, busy_ms, wait_ms);
}

static unsigned decide(struct world *w)
{
    return balance_decide(&w->b, &w->in, w->move, MAX_MOVES);
}

#define assert_move(w, n, h, r)                                                                    \
    do {                                                                                           \
        assert_int_equal((w).move[n].hart, h);                                                     \
        assert_int_equal((w).move[n].to, r);                                                       \
    } while (0)

static void test_harts_that_share_nothing_stay(void **state)
{
    struct world w;

    (void)state;
    world_init(&w, 2);
    add(&w, 0, 100, 1);
    add(&w, 1, 95, 5);
    assert_int_equal(decide(&w), 0);
}

static void test_idle_machine_stays(void **state)
{
    struct world w;

    (void)state;
    world_init(&w, 2);
    add(&w, 0, 1, 5);
    add(&w, 1, 2, 5); /* more than they run, but little */
    assert_int_equal(decide(&w), 0);
}

/* At once, to the devices. */
static void test_harts_that_wait_come_together(void **state)
{
    struct world w;

    (void)state;
    world_init(&w, 3);
    add(&w, 0, 20, 70);
    add(&w, 1, 10, 60);
    add(&w, 1, 1, 0); /* does nothing */
    add(&w, 2, 10, 80);
    assert_int_equal(decide(&w), 2);
    assert_move(w, 0, 3, 0); /* the one that waits longest first */
    assert_move(w, 1, 1, 0);
    w.in.device_rank = 1;
    assert_int_equal(decide(&w), 2);
    assert_move(w, 0, 3, 1);
    assert_move(w, 1, 0, 1);
}

static void test_no_more_than_asked_for(void **state)
{
    struct world w;

    (void)state;
    world_init(&w, 2);
    for (unsigned i = 0; i < 4; i++)
        add(&w, 1, 5, 50);
    assert_int_equal(balance_decide(&w.b, &w.in, w.move, 3), 3);
    assert_int_equal(balance_decide(&w.b, &w.in, w.move, 0), 0);
}

/* A hart that works stays where it is, whatever its neighbour does. */
static void test_only_who_waits_comes(void **state)
{
    struct world w;

    (void)state;
    world_init(&w, 2);
    add(&w, 0, 30, 60);
    add(&w, 1, 60, 2);
    add(&w, 1, 15, 80);
    assert_int_equal(decide(&w), 1);
    assert_move(w, 0, 2, 0);
}

/* The devices' rank works: then to where most are. */
static void test_they_come_to_where_most_are(void **state)
{
    struct world w;

    (void)state;
    world_init(&w, 3);
    add(&w, 0, 70, 0);
    add(&w, 1, 20, 50);
    add(&w, 1, 20, 50);
    add(&w, 2, 10, 40);
    assert_int_equal(decide(&w), 1);
    assert_move(w, 0, 3, 1);
}

static void test_not_where_there_is_no_room(void **state)
{
    struct world w;

    (void)state;
    world_init(&w, 2);
    add(&w, 0, 85, 0);
    add(&w, 1, 20, 80);
    assert_int_equal(decide(&w), 0);
    w.executors[0] = 2;
    assert_int_equal(decide(&w), 1);
}

static void test_crowded_harts_spread(void **state)
{
    struct world w;

    (void)state;
    world_init(&w, 2);
    add(&w, 0, 48, 0);
    add(&w, 0, 51, 0);
    assert_int_equal(decide(&w), 1);
    assert_move(w, 0, 1, 1);
}

/* One busy hart needs one executor, and a rank that has as many stays as it is. */
static void test_enough_executors_are_no_crowd(void **state)
{
    struct world w;

    (void)state;
    world_init(&w, 2);
    add(&w, 0, 98, 0);
    add(&w, 0, 2, 0);
    assert_int_equal(decide(&w), 0);
    w.executors[0] = 2;
    w.hart[1].busy_ns = 98 * MS;
    assert_int_equal(decide(&w), 0);
}

/* What a hart works on must come after it. */
static void test_a_spread_hart_has_time_to_settle(void **state)
{
    struct world w;

    (void)state;
    world_init(&w, 2);
    add(&w, 0, 50, 0);
    add(&w, 0, 50, 0);
    assert_int_equal(decide(&w), 1);
    w.hart[w.move[0].hart] = hart(1, 10, 90);
    w.in.now_ns += 50 * MS;
    assert_int_equal(decide(&w), 0);
    w.in.now_ns += 50 * MS;
    assert_int_equal(decide(&w), 1);
}

/* Together, crowded, spread, waiting, together: each time longer until the next try. */
static void test_mistakes_are_not_repeated_soon(void **state)
{
    struct world w;
    uint64_t pause = 0;

    (void)state;
    world_init(&w, 2);
    add(&w, 0, 50, 0);
    add(&w, 0, 50, 0);
    for (unsigned round = 0; round < 8; round++) {
        w.hart[0] = w.hart[1] = hart(0, 50, 0);
        uint64_t start = w.in.now_ns;
        while (!decide(&w))
            w.in.now_ns += INTERVAL_MS * MS;
        assert_true(w.in.now_ns - start >= pause);
        pause = w.in.now_ns - start;
        uint32_t moved = w.move[0].hart;
        w.hart[moved] = hart(1, 5, 90);
        w.hart[!moved] = hart(0, 5, 90);
        w.in.now_ns += INTERVAL_MS * MS;
        assert_int_equal(decide(&w), 1);
        assert_move(w, 0, moved, 0);
    }
    assert_in_range(pause, 60000 * MS, 64000 * MS);
}

/* Another hart that comes over says nothing of the spread one. */
static void test_others_are_no_mistake(void **state)
{
    struct world w;

    (void)state;
    world_init(&w, 2);
    add(&w, 0, 50, 0);
    add(&w, 0, 50, 0);
    add(&w, 1, 1, 0);
    assert_int_equal(decide(&w), 1);
    w.hart[w.move[0].hart] = hart(1, 45, 5);
    w.hart[2] = hart(1, 1, 20);
    w.in.now_ns += 500 * MS;
    assert_int_equal(decide(&w), 1);
    assert_move(w, 0, 2, 0);
    assert_int_equal(w.b.backoff_ns, 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_harts_that_share_nothing_stay),
        cmocka_unit_test(test_idle_machine_stays),
        cmocka_unit_test(test_harts_that_wait_come_together),
        cmocka_unit_test(test_no_more_than_asked_for),
        cmocka_unit_test(test_only_who_waits_comes),
        cmocka_unit_test(test_they_come_to_where_most_are),
        cmocka_unit_test(test_not_where_there_is_no_room),
        cmocka_unit_test(test_crowded_harts_spread),
        cmocka_unit_test(test_enough_executors_are_no_crowd),
        cmocka_unit_test(test_a_spread_hart_has_time_to_settle),
        cmocka_unit_test(test_mistakes_are_not_repeated_soon),
        cmocka_unit_test(test_others_are_no_mistake),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
