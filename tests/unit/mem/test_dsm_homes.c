/* Homes of memory that move, the traffic by which they do, and peers that lie about it. */
#include "dsm_cases.h"

static bool move_homes(struct world *w, uint64_t first, uint64_t nr, unsigned to)
{
    const struct dsm_move move = {.first = first, .nr = nr, .to = to};
    uint64_t moved;

    assert_int_equal(dsm_move_homes(w->rank[0].dsm, &move, 1, &moved), SIM_OK);
    settle(w);
    return moved;
}

/* Ranks 1 and 2 share a page whose home is rank 0: then rank 1. */
static void test_a_moved_home_is_asked(void **state)
{
    struct world *w = world_create(1, 3, 1, 3);

    (void)state;
    get_and_retire(w, 1, 0, true);
    w->rank[1].bytes[5] = 42;
    get_and_retire(w, 2, 0, true);
    assert_int_equal(stats_of(w, 0).between_others, 1);
    assert_true(move_homes(w, 0, 1, 1));
    assert_false(move_homes(w, 0, 1, 1)); /* it is there */
    for (unsigned i = 0; i < 3; i++)
        assert_int_equal(dsm_home(w->rank[i].dsm, 0), 1);
    assert_int_equal(state_of(w, 2, 0), DSM_EXCLUSIVE);
    uint64_t asked = messages_sent(w, MSG_GET_E);
    get_and_retire(w, 1, 0, true);
    assert_int_equal(w->rank[1].bytes[5], 42);
    assert_int_equal(messages_sent(w, MSG_GET_E), asked); /* it asks itself */
    get_and_retire(w, 0, 0, false);
    assert_int_equal(w->rank[0].bytes[5], 42);
    assert_int_equal(stats_of(w, 0).between_others, 1);
    assert_int_equal(stats_of(w, 1).homes_came, 1);
    world_destroy(w);
}

/* Who wants a page meanwhile waits, and gets it from where it is. */
static void test_requests_wait_for_homes_that_move(void **state)
{
    struct world *w = world_create(1, 3, 1, 3);
    const struct dsm_move move = {.first = 0, .nr = 3, .to = 2};
    uint64_t moved;

    (void)state;
    assert_int_equal(dsm_move_homes(w->rank[0].dsm, &move, 1, &moved), SIM_OK);
    assert_int_equal(moved, 2);
    assert_int_equal(dsm_move_homes(w->rank[0].dsm, &move, 1, &moved), SIM_ERR_BUSY);
    while (w->rank[1].dsm->moving.phase == MOVE_NONE)
        world_step(w);
    assert_int_equal(dsm_acquire(w->rank[1].dsm, 0, true, 0), DSM_WAIT);
    assert_int_equal(messages_sent(w, MSG_GET_E), 0);
    settle(w);
    assert_false(dsm_is_moving(w->rank[0].dsm));
    assert_int_equal(dsm_acquire(w->rank[1].dsm, 0, true, 0), DSM_OK);
    assert_int_equal(dsm_home(w->rank[1].dsm, 0), 2);
    world_destroy(w);
}

/* As long as a page is long in coming, it can be given up; then all is as before. */
static void test_a_move_waits_for_pins(void **state)
{
    struct world *w = world_create(1, 2, 1, 2);
    const struct dsm_move move = {.first = 0, .nr = 1, .to = 1};
    uint64_t moved;

    (void)state;
    assert_int_equal(dsm_pin(w->rank[0].dsm, 0, true), SIM_OK);
    assert_int_equal(dsm_move_homes(w->rank[0].dsm, &move, 1, &moved), SIM_OK);
    for (unsigned i = 0; i < 100; i++)
        world_step(w);
    assert_true(dsm_is_moving(w->rank[0].dsm));
    assert_true(dsm_cancel_move(w->rank[0].dsm));
    settle(w);
    assert_false(dsm_is_moving(w->rank[0].dsm));
    assert_int_equal(dsm_home(w->rank[1].dsm, 0), 0);
    assert_false(dsm_cancel_move(w->rank[0].dsm));
    dsm_unpin(w->rank[0].dsm, 0);
    assert_true(move_homes(w, 0, 1, 1));
    assert_int_equal(dsm_home(w->rank[0].dsm, 0), 1);
    world_destroy(w);
}

/* Pages that nobody has used go along with their home, and with others from there. */
static void test_untouched_pages_follow_their_home(void **state)
{
    struct world *w = world_of_blank_pages(3);

    (void)state;
    assert_int_equal(dsm_acquire(w->rank[0].dsm, 0, true, 0), DSM_OK);
    assert_true(move_homes(w, 0, WORLD_PAGES, 1));
    assert_int_equal(state_of(w, 0, 0), DSM_EXCLUSIVE);
    assert_int_equal(state_of(w, 0, 1), DSM_INVALID);
    assert_int_equal(dsm_acquire(w->rank[1].dsm, 1, true, 0), DSM_OK);
    get_and_retire(w, 2, 2, true);
    assert_int_equal(stats_of(w, 2).came_along, WORLD_PAGES - 3);
    world_destroy(w);
}

static void test_traffic_names_the_natural_home(void **state)
{
    struct world *w = world_create(1, 4, 1, 4);
    struct dsm_segment_traffic t[4];

    (void)state;
    for (unsigned i = 0; i < 5; i++) {
        get_and_retire(w, 1, 0, true);
        get_and_retire(w, 2, 0, true);
    }
    get_and_retire(w, 1, 0, true);
    assert_int_equal(dsm_take_traffic(w->rank[0].dsm, t, 4), 1);
    assert_int_equal(t[0].segment, 0);
    assert_int_equal(t[0].best, 1);
    assert_int_equal(t[0].home_saves, 1);              /* it had the page at first */
    assert_int_equal(t[0].best_saves, 6 * 2 + 5 * 1);
    assert_int_equal(dsm_take_traffic(w->rank[0].dsm, t, 4), 0);
    world_destroy(w);
}

/* More ranks than places: who uses it most stays known. */
static void test_traffic_of_many(void **state)
{
    struct world *w = world_create(1, 8, 1, 1);
    struct dsm_segment_traffic t;

    (void)state;
    for (unsigned i = 0; i < 40; i++) {
        get_and_retire(w, 7, 0, true);
        get_and_retire(w, 1 + i % 6, 0, true);
    }
    assert_int_equal(dsm_take_traffic(w->rank[0].dsm, &t, 1), 1);
    assert_int_equal(t.best, 7);
    world_destroy(w);
}

/* Who says twice that it is quiet is not taken for another rank, whose pin would not be waited for. */
static void regress_3_ranks_are_a_set(void **state)
{
    const struct dsm_move move = {.first = 0, .nr = 1, .to = 1};
    struct {
        uint32_t round;
        uint16_t kind, nr;
        uint64_t segment;
    } quiet = {.round = 1, .kind = 1};
    struct world *w = world_create(1, 3, 1, 2);
    uint64_t moved;

    (void)state;
    assert_int_equal(dsm_pin(w->rank[0].dsm, 0, true), SIM_OK);
    assert_int_equal(dsm_move_homes(w->rank[0].dsm, &move, 1, &moved), SIM_OK);
    for (unsigned i = 0; i < 100; i++)
        world_step(w);
    assert_int_equal(w->failures, 0);
    ic_send_small(w->rank[1].ic, 0, IC_TYPE_DSM + MSG_HOMES, &quiet, sizeof quiet);
    for (unsigned i = 0; i < 100; i++)
        world_step(w);
    assert_true(w->failures);
    assert_false(w->rank[0].dsm->moving.goes);
    dsm_unpin(w->rank[0].dsm, 0);
    world_destroy(w);
}

/* About homes that move; kinds as in move.c: 0 hold, 1 quiet, 2 go, 3 entries, 4 moved, 5 release. */
static const struct home_lie {
    unsigned from, to;
    uint32_t len;
    struct {
        uint32_t round;
        uint16_t kind, nr;
        uint64_t segment;
        struct dsm_move move;
    } text;
} home_lies[] = {
    {1, 0, 3, {.kind = 0}},
    {1, 0, 16, {.kind = 77}},
    {1, 2, 16, {.kind = 0}}, /* not from rank 0 */
    {0, 1, 16, {.kind = 0, .nr = 1}},
    {0, 1, 40, {.kind = 0, .nr = 1, .move = {.first = 2, .nr = 1}}}, /* no such segment */
    {0, 1, 40, {.kind = 0, .nr = 1, .move = {.first = 1, .nr = UINT64_MAX}}},
    {0, 1, 40, {.kind = 0, .nr = 1, .move = {.first = 1, .nr = 1, .to = 3}}}, /* no such rank */
    {0, 1, 16, {.kind = 2}}, /* not held */
    {0, 1, 16, {.kind = 5}},
    {0, 1, 16, {.kind = 3}}, /* not asked for */
    {0, 1, 32, {.kind = 3, .nr = 1}},
    {1, 2, 16, {.kind = 1}}, /* rank 2 leads nothing */
    {1, 2, 16, {.kind = 4}},
    {1, 0, 16, {.kind = 4}}, /* nothing moves */
};

static void test_lies_about_homes_end_the_run(void **state)
{
    (void)state;
    for (unsigned i = 0; i < SIM_ARRAY_LEN(home_lies); i++) {
        struct world *w = world_create(1, 3, 1, 2);
        const struct home_lie *lie = &home_lies[i];
        ic_send_small(w->rank[lie->from].ic, (rank_t)lie->to, IC_TYPE_DSM + MSG_HOMES, &lie->text, lie->len);
        for (unsigned step = 0; step < 100; step++)
            world_step(w);
        if (w->failures == 0)
            fail_msg("lie %u was believed", i);
        world_destroy(w);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_a_moved_home_is_asked),
        cmocka_unit_test(test_requests_wait_for_homes_that_move),
        cmocka_unit_test(test_a_move_waits_for_pins),
        cmocka_unit_test(test_untouched_pages_follow_their_home),
        cmocka_unit_test(test_traffic_names_the_natural_home),
        cmocka_unit_test(test_traffic_of_many),
        cmocka_unit_test(regress_3_ranks_are_a_set),
        cmocka_unit_test(test_lies_about_homes_end_the_run),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
