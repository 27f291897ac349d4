/* Which homes of memory move: by what each of them, and others in its place, would have saved. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "partition/rehome.h"

enum { MAX = 64 };

struct world {
    struct part_rehome rehome;
    uint64_t now_ns;
    struct part_home_move move[MAX];
    unsigned nr;
};

/* An interval with this traffic; returns how many moves were advised. */
static unsigned interval(struct world *w, const struct part_traffic *t, unsigned nr)
{
    w->now_ns += 500000000;
    w->nr = part_rehome(&w->rehome, t, nr, w->now_ns, w->move, MAX);
    return w->nr;
}

static struct world world_init(void)
{
    return (struct world){.now_ns = 1000000000};
}

static void test_a_home_follows_who_uses_it(void **state)
{
    struct world w = world_init();
    const struct part_traffic t = {.segment = 7, .best = 2, .home_saves = 100, .best_saves = 1000};

    (void)state;
    assert_int_equal(interval(&w, &t, 1), 0); /* perhaps it is over already */
    assert_int_equal(interval(&w, &t, 1), 1);
    assert_int_equal(w.move[0].segment, 7);
    assert_int_equal(w.move[0].to, 2);
}

/* Half of it is the home's own, or a rank reads what the home had: twice as much, never more. */
static void test_a_home_that_is_used_stays(void **state)
{
    struct world w = world_init();
    const struct part_traffic t[] = {{.segment = 1, .best = 1, .home_saves = 30000, .best_saves = 31000},
                                     {.segment = 2, .best = 1, .home_saves = 1000, .best_saves = 2000}};

    (void)state;
    for (unsigned i = 0; i < 10; i++)
        assert_int_equal(interval(&w, t, 2), 0);
}

static void test_little_traffic_is_not_worth_a_pause(void **state)
{
    struct world w = world_init();
    struct part_traffic t[MAX];

    (void)state;
    for (unsigned i = 0; i < MAX; i++)
        t[i] = (struct part_traffic){.segment = i, .best = 1, .best_saves = 30};
    for (unsigned i = 0; i < 4; i++)
        assert_int_equal(interval(&w, t, 2), 0);
    assert_int_equal(interval(&w, t, MAX), 0);
    assert_int_equal(interval(&w, t, MAX), MAX); /* many small ones together are */
    for (unsigned i = 0; i < MAX; i++)
        t[i] = (struct part_traffic){.segment = MAX + i, .best = 1, .best_saves = 10};
    for (unsigned i = 0; i < 10; i++)
        assert_int_equal(interval(&w, t, MAX), 0); /* those are not worth their entries */
}

static void test_those_that_save_most_come_first(void **state)
{
    struct world w = world_init();
    const struct part_traffic t[] = {{.segment = 1, .best = 1, .best_saves = 300},
                                     {.segment = 2, .best = 2, .best_saves = 500},
                                     {.segment = 3, .best = 3, .best_saves = 400}};

    (void)state;
    (void)interval(&w, t, 3);
    w.now_ns += 500000000;
    assert_int_equal(part_rehome(&w.rehome, t, 3, w.now_ns, w.move, 2), 2);
    assert_int_equal(w.move[0].segment, 2);
    assert_int_equal(w.move[1].segment, 3);
}

/* Not more often than once a second, whatever they are. */
static void test_pauses_are_far_apart(void **state)
{
    struct world w = world_init();
    uint64_t last_ns = 0;
    unsigned pauses = 0;

    (void)state;
    for (unsigned i = 0; i < 40; i++) {
        const struct part_traffic t = {.segment = i / 2, .best = 1, .best_saves = 1000};
        if (!interval(&w, &t, 1))
            continue;
        assert_true(!last_ns || w.now_ns - last_ns >= 1000000000);
        last_ns = w.now_ns;
        pauses++;
    }
    assert_true(pauses >= 10);
}

/* Pages are long under way, and all wait for a move that comes to nothing: less and less often, until it is quick again. */
static void test_pauses_for_nothing_become_rare(void **state)
{
    struct world w = world_init();
    uint64_t last_ns = 0;
    unsigned advised = 0;

    (void)state;
    for (unsigned i = 0; i < 1000; i++) {
        const struct part_traffic t = {.segment = i / 2, .best = 1, .best_saves = 1000};
        if (!interval(&w, &t, 1))
            continue;
        uint64_t least = 1000000000ull << (advised < 6 ? advised : 6);
        assert_true(!last_ns || w.now_ns - last_ns >= least);
        last_ns = w.now_ns;
        advised++;
        part_rehome_result(&w.rehome, true, w.now_ns);
    }
    assert_in_range(advised, 10, 15);
    part_rehome_result(&w.rehome, false, w.now_ns);
    for (unsigned i = 0; i < 1000; i++) {
        const struct part_traffic t = {.segment = 1000 + i / 2, .best = 1, .best_saves = 1000};
        if (interval(&w, &t, 1))
            part_rehome_result(&w.rehome, false, w.now_ns);
        advised += w.nr;
    }
    assert_in_range(advised, 200, 600);
}

/* Its users change all the time: each move makes it wait twice as long. */
static void test_no_segment_goes_to_and_fro(void **state)
{
    struct world w = world_init();
    unsigned moves = 0;

    (void)state;
    for (unsigned i = 0; i < 240; i++) { /* two minutes */
        const struct part_traffic t = {.segment = 5, .best = i / 4 % 2, .best_saves = 10000};
        moves += interval(&w, &t, 1);
    }
    assert_true(moves >= 3 && moves <= 8);
}

/* More segments move than are remembered. */
static void test_memory_is_bounded(void **state)
{
    struct world w = world_init();
    struct part_traffic t[MAX];
    unsigned moves = 0;

    (void)state;
    for (unsigned i = 0; i < 63; i++) {
        for (unsigned k = 0; k < MAX; k++)
            t[k] = (struct part_traffic){.segment = i / 3 * MAX + k, .best = 1, .best_saves = 1000};
        moves += interval(&w, t, MAX);
    }
    assert_int_equal(moves, 21 * MAX);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_a_home_follows_who_uses_it),
        cmocka_unit_test(test_a_home_that_is_used_stays),
        cmocka_unit_test(test_little_traffic_is_not_worth_a_pause),
        cmocka_unit_test(test_those_that_save_most_come_first),
        cmocka_unit_test(test_pauses_are_far_apart),
        cmocka_unit_test(test_pauses_for_nothing_become_rare),
        cmocka_unit_test(test_no_segment_goes_to_and_fro),
        cmocka_unit_test(test_memory_is_bounded),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
