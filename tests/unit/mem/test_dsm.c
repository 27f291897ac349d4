/* Coherent memory, case by case: who sends what, holds, waiters that give up, pins, peers that lie. */
#include "dsm_cases.h"

static void test_start_is_exclusive_at_home(void **state)
{
    struct world *w = world_create(1, 3, 1, 3);

    (void)state;
    for (unsigned rank = 0; rank < 3; rank++)
        for (unsigned page = 0; page < 3; page++)
            assert_int_equal(state_of(w, rank, page), rank == page ? DSM_EXCLUSIVE : DSM_INVALID);
    assert_int_equal(dsm_acquire(w->rank[1].dsm, 1, true, 0), DSM_OK);
    assert_false(world_step(w));
    world_destroy(w);
}

static void test_bytes_go_straight_to_the_requester(void **state)
{
    struct world *w = world_create(1, 3, 1, 3);

    (void)state;
    get_and_retire(w, 1, 0, true); /* home 0 -> owner 1 */
    w->rank[1].bytes[7] = 42;
    get_and_retire(w, 2, 0, true);
    assert_int_equal(w->rank[2].bytes[7], 42);
    assert_int_equal(state_of(w, 1, 0), DSM_INVALID);
    assert_int_equal(stats_of(w, 0).pages_in, 0);
    assert_int_equal(stats_of(w, 1).pages_out, 1);
    world_destroy(w);
}

static void test_zero_pages_have_no_body(void **state)
{
    struct world *w = world_create(1, 2, 1, 2);

    (void)state;
    memset(w->rank[1].bytes, 0xdb, GUEST_PAGE_SIZE);
    get_and_retire(w, 1, 0, false);
    assert_int_equal(w->rank[1].bytes[0], 0);
    assert_int_equal(w->rank[1].bytes[511], 0);
    assert_int_equal(stats_of(w, 1).zero_pages, 1);
    world_destroy(w);
}

static void test_last_byte_makes_a_body(void **state)
{
    struct world *w = world_create(1, 2, 1, 2);

    (void)state;
    ((uint8_t *)w->rank[0].bytes)[4095] = 1;
    get_and_retire(w, 1, 0, false);
    assert_int_equal(((uint8_t *)w->rank[1].bytes)[4095], 1);
    assert_int_equal(stats_of(w, 1).zero_pages, 0);
    world_destroy(w);
}

static void test_upgrade_moves_no_body(void **state)
{
    struct world *w = world_create(1, 4, 1, 1);

    (void)state;
    for (unsigned rank = 1; rank < 4; rank++)
        get_and_retire(w, rank, 0, false);
    assert_int_equal(messages_sent(w, MSG_DATA_S), 3);
    get_and_retire(w, 2, 0, true);
    assert_int_equal(messages_sent(w, MSG_DATA_E), 0);
    assert_int_equal(messages_sent(w, MSG_ACK), 3);
    for (unsigned rank = 0; rank < 4; rank++)
        assert_int_equal(state_of(w, rank, 0), rank == 2 ? DSM_EXCLUSIVE : DSM_INVALID);
    world_destroy(w);
}

/* Read and then written, by one rank after the other: the reader gets it exclusive at once. */
static void test_page_that_migrates(void **state)
{
    struct world *w = world_create(1, 3, 1, 1);

    (void)state;
    get_and_retire(w, 1, 0, false);
    get_and_retire(w, 1, 0, true);
    get_and_retire(w, 2, 0, false);
    assert_int_equal(state_of(w, 2, 0), DSM_EXCLUSIVE);
    assert_int_equal(state_of(w, 1, 0), DSM_INVALID);
    assert_int_equal(dsm_acquire(w->rank[2].dsm, 0, true, 0), DSM_OK);
    get_and_retire(w, 1, 0, false);
    assert_int_equal(state_of(w, 1, 0), DSM_EXCLUSIVE);
    assert_int_equal(stats_of(w, 0).migrations, 2);
    assert_int_equal(stats_of(w, 2).gets_exclusive, 0);
    /* Rank 1 only reads: the next one still gets it exclusive, and then it is shared. */
    get_and_retire(w, 2, 0, false);
    assert_int_equal(state_of(w, 2, 0), DSM_EXCLUSIVE);
    get_and_retire(w, 0, 0, false);
    get_and_retire(w, 1, 0, false);
    for (unsigned rank = 0; rank < 3; rank++)
        assert_int_equal(state_of(w, rank, 0), DSM_SHARED);
    world_destroy(w);
}

static void test_waiter_is_told(void **state)
{
    struct world *w = world_create(1, 2, 2, 1);

    (void)state;
    assert_int_equal(dsm_acquire(w->rank[1].dsm, 0, false, 0), DSM_WAIT);
    assert_true(dsm_waiting(w->rank[1].dsm, 0));
    assert_false(dsm_waiting(w->rank[1].dsm, 1));
    assert_int_equal(dsm_acquire(w->rank[1].dsm, 0, true, 1), DSM_WAIT);
    settle(w);
    assert_false(dsm_waiting(w->rank[1].dsm, 0));
    assert_false(dsm_waiting(w->rank[1].dsm, 1)); /* has to ask again: it wants to write */
    assert_int_equal(dsm_acquire(w->rank[1].dsm, 0, false, 0), DSM_OK);
    world_destroy(w);
}

static void test_waiter_gives_up(void **state)
{
    struct world *w = world_create(1, 2, 1, 2);

    (void)state;
    assert_int_equal(dsm_acquire(w->rank[1].dsm, 0, true, 0), DSM_WAIT);
    dsm_retired(w->rank[1].dsm, 0);
    assert_false(dsm_waiting(w->rank[1].dsm, 0));
    settle(w);
    assert_int_equal(state_of(w, 1, 0), DSM_EXCLUSIVE);
    /* It is held for nobody: it goes at once. */
    get_and_retire(w, 0, 0, true);
    assert_int_equal(stats_of(w, 1).held, 0);
    world_destroy(w);
}

/* Another page instead of the one it waited for. */
static void test_waiter_changes_its_mind(void **state)
{
    struct world *w = world_create(1, 2, 1, 4);

    (void)state;
    assert_int_equal(dsm_acquire(w->rank[1].dsm, 0, true, 0), DSM_WAIT);
    assert_int_equal(dsm_acquire(w->rank[1].dsm, 2, true, 0), DSM_WAIT);
    assert_true(dsm_waiting(w->rank[1].dsm, 0));
    settle(w);
    assert_false(dsm_waiting(w->rank[1].dsm, 0));
    assert_int_equal(dsm_acquire(w->rank[1].dsm, 2, true, 0), DSM_OK);
    world_destroy(w);
}

/* Steps until rank 1 has the page, in less time than its hold takes. */
static void arrive(struct world *w, uint64_t page)
{
    assert_int_equal(dsm_acquire(w->rank[1].dsm, page, true, 0), DSM_WAIT);
    while (dsm_waiting(w->rank[1].dsm, 0))
        assert_true(world_step(w));
}

static void test_page_is_held_until_retired(void **state)
{
    struct world *w = world_create(1, 2, 1, 2);

    (void)state;
    arrive(w, 0);
    assert_int_equal(dsm_acquire(w->rank[0].dsm, 0, true, 0), DSM_WAIT);
    for (unsigned i = 0; i < 10; i++)
        ic_inproc_step(w->net); /* time stands still */
    assert_int_equal(state_of(w, 1, 0), DSM_EXCLUSIVE);
    assert_int_equal(stats_of(w, 1).held, 1);
    dsm_retired(w->rank[1].dsm, 0);
    for (unsigned i = 0; i < 10; i++)
        ic_inproc_step(w->net);
    assert_int_equal(state_of(w, 0, 0), DSM_EXCLUSIVE);
    assert_int_equal(stats_of(w, 1).hold_timeouts, 0);
    world_destroy(w);
}

static void test_hold_times_out(void **state)
{
    struct world *w = world_create(1, 2, 1, 2);

    (void)state;
    arrive(w, 0);
    assert_int_equal(dsm_acquire(w->rank[0].dsm, 0, true, 0), DSM_WAIT);
    settle(w);
    assert_int_equal(state_of(w, 0, 0), DSM_EXCLUSIVE);
    assert_int_equal(stats_of(w, 1).hold_timeouts, 1);
    dsm_retired(w->rank[1].dsm, 0); /* too late, and harmless */
    world_destroy(w);
}

/* How long rank 1 keeps page 0 when its waiter does nothing. */
static uint64_t time_held(struct world *w)
{
    get_and_retire(w, 0, 0, true);
    arrive(w, 0);
    uint64_t begin = w->now;
    assert_int_equal(dsm_acquire(w->rank[0].dsm, 0, true, 0), DSM_WAIT);
    settle(w);
    assert_int_equal(state_of(w, 0, 0), DSM_EXCLUSIVE);
    dsm_retired(w->rank[0].dsm, 0);
    return w->now - begin;
}

/* hold_ns is 2000 here, hold_max_ns 16000; both and up to a half. */
static void test_holds_grow_when_they_time_out(void **state)
{
    struct world *w = world_create(1, 2, 1, 2);

    (void)state;
    assert_in_range(time_held(w), 1500, 4000);
    for (unsigned i = 0; i < 3; i++)
        time_held(w);
    assert_in_range(time_held(w), 15000, 26000);
    /* Each use shortens the next one. */
    for (unsigned i = 0; i < 8; i++) {
        arrive(w, 0);
        assert_int_equal(dsm_acquire(w->rank[1].dsm, 0, true, 0), DSM_OK);
        dsm_retired(w->rank[1].dsm, 0);
        get_and_retire(w, 0, 0, true);
    }
    assert_in_range(time_held(w), 1500, 4000);
    world_destroy(w);
}

/* Rank 1 gets page 0, which it has just lost, `late` ns after that and uses it once: how long it then stays there although
 * rank 0 wants it. */
static uint64_t time_stayed(struct world *w, bool write, uint64_t late)
{
    w->now += late;
    assert_int_equal(dsm_acquire(w->rank[1].dsm, 0, write, 0), DSM_WAIT);
    while (dsm_waiting(w->rank[1].dsm, 0))
        assert_true(world_step(w));
    get_and_retire(w, 1, 0, true);
    uint64_t begin = w->now;
    assert_int_equal(dsm_acquire(w->rank[0].dsm, 0, true, 0), DSM_WAIT);
    while (state_of(w, 1, 0) == DSM_EXCLUSIVE)
        assert_true(world_step(w));
    uint64_t stayed = w->now - begin;
    get_and_retire(w, 0, 0, true);
    return stayed;
}

/* The longest stay is 12 us, the shortest an eighth of it. */
static void test_page_that_is_taken_too_early_stays(void **state)
{
    struct world *w = world_create(1, 2, 1, 2);

    (void)state;
    for (unsigned i = 0; i < 4; i++)
        assert_in_range(time_stayed(w, true, 0), 1, i ? (1500 << (i - 1)) + 500 : 500);
    for (unsigned i = 0; i < 4; i++)
        assert_in_range(time_stayed(w, true, 0), 11500, 12500); /* and no longer */
    /* Wanted later, or for reading first: not worth it. */
    for (unsigned i = 0; i < 4; i++)
        time_stayed(w, true, 5000);
    assert_in_range(time_stayed(w, true, 5000), 1, 500);
    for (unsigned i = 0; i < 4; i++)
        time_stayed(w, true, 0);
    for (unsigned i = 0; i < 4; i++)
        time_stayed(w, false, 0);
    assert_in_range(time_stayed(w, false, 0), 1, 500);
    world_destroy(w);
}

/* Although instructions that wait for other pages hold it again and again. */
static void test_a_stay_is_not_renewed(void **state)
{
    struct world *w = world_create(1, 2, 1, 32);

    (void)state;
    for (unsigned i = 0; i < 5; i++)
        time_stayed(w, true, 0);
    struct dsm *d = w->rank[1].dsm;
    arrive(w, 0);
    get_and_retire(w, 1, 0, true);
    uint64_t begin = w->now;
    assert_int_equal(dsm_acquire(w->rank[0].dsm, 0, true, 0), DSM_WAIT);
    for (unsigned page = 2; page < w->nr_pages && state_of(w, 1, 0) == DSM_EXCLUSIVE; page += 2) {
        arrive(w, page);
        if (dsm_acquire(d, page, true, 0) == DSM_OK && dsm_acquire(d, 0, true, 0) == DSM_OK)
            dsm_retired(d, 0);
        w->now += 500;
    }
    while (state_of(w, 1, 0) == DSM_EXCLUSIVE)
        assert_true(world_step(w));
    assert_in_range(w->now - begin, 11000, 14000);
    world_destroy(w);
}

/* Rank 1 has page 0 and wants page 2, rank 0 the other way round. */
static void test_two_that_hold_what_the_other_wants(void **state)
{
    struct world *w = world_create(1, 2, 1, 4);
    bool done[2] = {false};

    (void)state;
    arrive(w, 0);
    assert_int_equal(dsm_acquire(w->rank[0].dsm, 2, true, 0), DSM_OK);
    for (unsigned i = 0; !done[0] || !done[1]; i++) {
        assert_in_range(i, 0, 2000);
        for (unsigned rank = 0; rank < 2; rank++) {
            struct dsm *d = w->rank[rank].dsm;
            if (!done[rank] && !dsm_waiting(d, 0) && dsm_acquire(d, 2, true, 0) == DSM_OK &&
                dsm_acquire(d, 0, true, 0) == DSM_OK && dsm_acquire(d, 2, true, 0) == DSM_OK) {
                done[rank] = true;
                dsm_retired(d, 0);
            }
        }
        world_step(w);
    }
    world_destroy(w);
}

/* Rank 0 has all pages and has written them. */
static struct world *world_of_one_owner(void)
{
    struct world *w = world_create(1, 2, 1, 32);

    for (unsigned page = 0; page < w->nr_pages; page++)
        get_and_retire(w, 0, page, true);
    return w;
}

static void test_stream_is_fetched_ahead(void **state)
{
    struct world *w = world_of_one_owner();

    (void)state;
    get_and_retire(w, 1, 10, false);
    get_and_retire(w, 1, 11, false);
    assert_int_equal(stats_of(w, 1).fetched_ahead, 0);
    get_and_retire(w, 1, 12, false);
    assert_int_equal(stats_of(w, 1).fetched_ahead, 4);
    settle(w);
    assert_int_equal(state_of(w, 1, 16), DSM_SHARED);
    assert_int_equal(state_of(w, 1, 17), DSM_INVALID);
    assert_int_equal(dsm_acquire(w->rank[1].dsm, 13, false, 0), DSM_OK);
    settle(w);
    assert_int_equal(state_of(w, 1, 18), DSM_SHARED);
    assert_int_equal(stats_of(w, 1).ahead_used, 1);
    /* To the end, and no further. */
    for (unsigned page = 14; page < w->nr_pages; page++) {
        assert_int_equal(dsm_acquire(w->rank[1].dsm, page, false, 0), DSM_OK);
        settle(w);
    }
    assert_int_equal(stats_of(w, 1).ahead_used, stats_of(w, 1).fetched_ahead);
    assert_int_equal(stats_of(w, 1).waits, 3);
    world_destroy(w);
}

/* Downwards, writing, and another stream in between. */
static void test_two_streams_at_once(void **state)
{
    struct world *w = world_of_one_owner();

    (void)state;
    for (unsigned i = 0; i < 3; i++) {
        get_and_retire(w, 1, 30 - i, true);
        get_and_retire(w, 1, i, false);
    }
    settle(w);
    assert_int_equal(stats_of(w, 1).fetched_ahead, 8);
    assert_int_equal(state_of(w, 1, 24), DSM_EXCLUSIVE);
    assert_int_equal(state_of(w, 1, 6), DSM_SHARED);
    world_destroy(w);
}

static void test_no_stream_where_there_is_none(void **state)
{
    static const uint8_t page[] = {3, 9, 14, 20, 5, 26, 15, 7, 1, 28, 12};
    struct world *w = world_of_one_owner();

    (void)state;
    for (unsigned i = 0; i < sizeof page; i++)
        get_and_retire(w, 1, page[i], false);
    assert_int_equal(stats_of(w, 1).fetched_ahead, 0);
    world_destroy(w);
}

static void test_useless_streams_are_not_trusted(void **state)
{
    struct world *w = world_of_one_owner();

    (void)state;
    for (unsigned page = 0; page < 3; page++)
        get_and_retire(w, 1, page, false);
    settle(w);
    for (unsigned page = 0; page < 10; page++)
        get_and_retire(w, 0, page, true);
    assert_int_equal(stats_of(w, 1).ahead_useless, 4);
    assert_int_equal(stats_of(w, 1).ahead_used, 0);
    for (unsigned page = 10; page < 16; page++) /* six in a row would have been enough twice */
        get_and_retire(w, 1, page, false);
    assert_int_equal(stats_of(w, 1).fetched_ahead, 4);
    get_and_retire(w, 1, 16, false);
    assert_int_equal(stats_of(w, 1).fetched_ahead, 8);
    world_destroy(w);
}

/* --- pages that nobody has used --- */

static void test_untouched_pages_come_along(void **state)
{
    struct world *w = world_of_blank_pages(2);

    (void)state;
    get_and_retire(w, 1, 3, true);
    assert_int_equal(stats_of(w, 1).came_along, WORLD_PAGES - 4);
    assert_int_equal(state_of(w, 1, 2), DSM_INVALID); /* it lies before */
    for (unsigned page = 4; page < WORLD_PAGES; page++) {
        assert_int_equal(state_of(w, 0, page), DSM_INVALID);
        assert_int_equal(dsm_acquire(w->rank[1].dsm, page, page % 2, 0), DSM_OK);
    }
    assert_int_equal(messages_sent(w, MSG_GET_E), 1);
    assert_int_equal(messages_sent(w, MSG_DONE), 1);
    assert_int_equal(stats_of(w, 1).ahead_used, WORLD_PAGES - 4);
    /* They are pages like others. */
    w->rank[1].bytes[9 * 512] = 42;
    get_and_retire(w, 0, 9, true);
    assert_int_equal(w->rank[0].bytes[9 * 512], 42);
    assert_false(dsm_keeps(w->rank[1].dsm, 9));
    world_destroy(w);
}

/* A page that the home has used, if only by reading, or that is elsewhere, ends the run. */
static void test_used_pages_do_not_come_along(void **state)
{
    struct world *w = world_of_blank_pages(3);

    (void)state;
    assert_int_equal(dsm_acquire(w->rank[0].dsm, 4, false, 0), DSM_OK);
    get_and_retire(w, 2, 8, false);
    get_and_retire(w, 1, 0, true);
    assert_int_equal(stats_of(w, 1).came_along, 3);
    assert_int_equal(state_of(w, 0, 4), DSM_EXCLUSIVE);
    get_and_retire(w, 1, 5, true);
    assert_int_equal(stats_of(w, 1).came_along, 3 + 2);
    assert_int_equal(state_of(w, 2, 8), DSM_SHARED);
    assert_int_equal(dsm_pin(w->rank[0].dsm, 12, false), SIM_OK);
    get_and_retire(w, 1, 9, true);
    assert_int_equal(stats_of(w, 1).came_along, 3 + 2 + 2);
    dsm_unpin(w->rank[0].dsm, 12);
    world_destroy(w);
}

/* Memory that is brought from an image: its home must look. */
static void test_only_blank_memory_comes_along(void **state)
{
    struct world *w = world_create(1, 2, 1, 32);

    (void)state;
    w->block = 32;
    get_and_retire(w, 1, 0, true);
    assert_int_equal(stats_of(w, 1).came_along, 0);
    world_destroy(w);
}

/* Whoever wants a page that may come along waits for the answer: with it, or to ask for itself. */
static void test_waiting_for_what_may_come_along(void **state)
{
    struct world *w = world_of_blank_pages(2);

    (void)state;
    assert_int_equal(dsm_acquire(w->rank[0].dsm, 20, true, 0), DSM_OK);
    assert_int_equal(dsm_acquire(w->rank[1].dsm, 16, true, 0), DSM_WAIT);
    assert_int_equal(dsm_acquire(w->rank[1].dsm, 18, true, 1), DSM_WAIT);
    settle(w);
    assert_false(dsm_waiting(w->rank[1].dsm, 1));
    assert_int_equal(dsm_acquire(w->rank[1].dsm, 18, true, 1), DSM_OK);
    assert_int_equal(messages_sent(w, MSG_GET_E), 1);
    dsm_retired(w->rank[1].dsm, 0);
    dsm_retired(w->rank[1].dsm, 1);
    /* Rank 0 asks before it has heard of the gift, and goes on in the queue of its home. */
    assert_int_equal(dsm_acquire(w->rank[1].dsm, 8, true, 0), DSM_WAIT);
    assert_int_equal(dsm_acquire(w->rank[1].dsm, 12, false, 1), DSM_WAIT);
    while (state_of(w, 0, 9) == DSM_EXCLUSIVE)
        world_step(w);
    assert_int_equal(dsm_acquire(w->rank[0].dsm, 9, true, 0), DSM_WAIT);
    settle(w);
    assert_int_equal(dsm_acquire(w->rank[0].dsm, 9, true, 0), DSM_OK);
    assert_int_equal(state_of(w, 1, 9), DSM_INVALID);
    assert_int_equal(state_of(w, 1, 10), DSM_EXCLUSIVE);
    world_destroy(w);
}

static void test_refused_page_is_asked_for(void **state)
{
    struct world *w = world_of_blank_pages(2);

    (void)state;
    assert_int_equal(dsm_acquire(w->rank[0].dsm, 1, true, 1), DSM_OK);
    assert_int_equal(dsm_acquire(w->rank[1].dsm, 0, true, 0), DSM_WAIT);
    assert_int_equal(dsm_acquire(w->rank[1].dsm, 2, false, 1), DSM_WAIT);
    settle(w);
    assert_false(dsm_waiting(w->rank[1].dsm, 1));
    assert_int_equal(state_of(w, 1, 2), DSM_INVALID);
    dsm_retired(w->rank[1].dsm, 0);
    get_and_retire(w, 1, 2, false);
    assert_int_equal(stats_of(w, 1).came_along, 0);
    world_destroy(w);
}

/* Others take what came along before it was used: fewer are asked for. */
static void test_useless_gifts_are_not_repeated(void **state)
{
    struct world *w = world_of_blank_pages(2);

    (void)state;
    w->rank[1].dsm->run = 16;
    get_and_retire(w, 1, 0, true);
    assert_int_equal(stats_of(w, 1).came_along, 16);
    for (unsigned page = 1; page <= 16; page++)
        get_and_retire(w, 0, page, true);
    assert_int_equal(stats_of(w, 1).ahead_useless, 16);
    get_and_retire(w, 1, 20, true);
    assert_int_equal(stats_of(w, 1).came_along, 16 + DSM_RUN / 16);
    world_destroy(w);
}

static void test_pinned_page_stays(void **state)
{
    struct world *w = world_create(1, 2, 1, 2);

    (void)state;
    assert_int_equal(dsm_pin(w->rank[0].dsm, 0, true), SIM_OK);
    assert_int_equal(dsm_pin(w->rank[0].dsm, 0, true), SIM_OK);
    assert_int_equal(dsm_acquire(w->rank[1].dsm, 0, false, 0), DSM_WAIT);
    for (unsigned i = 0; i < 1000; i++)
        world_step(w);
    dsm_unpin(w->rank[0].dsm, 0);
    for (unsigned i = 0; i < 1000; i++)
        world_step(w);
    assert_true(dsm_waiting(w->rank[1].dsm, 0));
    dsm_unpin(w->rank[0].dsm, 0);
    settle(w);
    assert_false(dsm_waiting(w->rank[1].dsm, 0));
    world_destroy(w);
}

/* Pinned for reading: others may read. */
static void test_readers_of_a_pinned_shared_page(void **state)
{
    struct world *w = world_create(1, 3, 1, 1);

    (void)state;
    get_and_retire(w, 1, 0, false);
    assert_int_equal(dsm_pin(w->rank[0].dsm, 0, false), SIM_OK);
    get_and_retire(w, 2, 0, false);
    dsm_unpin(w->rank[0].dsm, 0);
    world_destroy(w);
}

static void test_stopped_pin_fails(void **state)
{
    struct world *w = world_create(1, 2, 1, 2);

    (void)state;
    dsm_stop(w->rank[0].dsm);
    assert_int_equal(dsm_pin(w->rank[0].dsm, 1, true), SIM_ERR_IO);
    world_destroy(w);
}

static void test_prefetch(void **state)
{
    struct world *w = world_create(1, 2, 1, 4);

    (void)state;
    dsm_prefetch(w->rank[1].dsm, 0, UINT32_MAX);
    settle(w);
    assert_int_equal(state_of(w, 1, 0), DSM_SHARED);
    assert_int_equal(state_of(w, 1, 2), DSM_SHARED);
    assert_int_equal(stats_of(w, 1).gets_shared, 2);
    dsm_prefetch(w->rank[1].dsm, 1000, 3); /* nothing there */
    world_destroy(w);
}

static void test_many_revokes_are_one_batch(void **state)
{
    struct world *w = world_create(1, 2, 1, 4);

    (void)state;
    get(w, 1, 0, true, 0);
    get(w, 1, 2, true, 0);
    /* Both are held; both may go when it has retired. */
    assert_int_equal(dsm_acquire(w->rank[0].dsm, 0, true, 0), DSM_WAIT);
    assert_int_equal(dsm_acquire(w->rank[0].dsm, 2, true, 1), DSM_WAIT);
    for (unsigned i = 0; i < 10; i++)
        ic_inproc_step(w->net);
    dsm_retired(w->rank[1].dsm, 0);
    settle(w);
    assert_int_equal(stats_of(w, 1).revoke_batches, 1);
    assert_int_equal(stats_of(w, 1).invalidations, 2);
    world_destroy(w);
}

static void test_hottest(void **state)
{
    struct world *w = world_create(1, 2, 1, 4);
    struct dsm_hot_page hot[3];

    (void)state;
    for (unsigned i = 0; i < 3; i++) {
        get_and_retire(w, 1, 2, true);
        get_and_retire(w, 0, 2, true);
    }
    get_and_retire(w, 1, 0, true);
    assert_int_equal(dsm_hottest(w->rank[1].dsm, hot, 3), 2);
    assert_int_equal(hot[0].page, 2);
    assert_int_equal(hot[0].transfers, 3);
    assert_int_equal(hot[1].page, 0);
    assert_int_equal(dsm_hottest(w->rank[1].dsm, hot, 1), 1);
    assert_int_equal(hot[0].page, 2);
    world_destroy(w);
}

static void count_line(void *opaque, const char *text)
{
    unsigned *lines = opaque;

    assert_in_range(strlen(text), 5, 100);
    *lines += 1;
}

static void test_dump(void **state)
{
    unsigned lines = 0;

    (void)state;
    dsm_dump_protocol(count_line, &lines);
    assert_in_range(lines, 50, 200);
}

/* --- peers that lie: page 0 is at home at rank 0, page 1 at rank 1 --- */

struct lie {
    enum dsm_message type;
    unsigned from, to;
    uint64_t page;
    uint16_t requester;
    uint32_t len; /* 0: right */
    unsigned times;
    uint8_t run;
};

static const struct lie lies[] = {
    {MSG_GET_S, 1, 0, 99, 1, 0, 1, 0}, /* no such page */
    {MSG_GET_S, 1, 0, UINT64_MAX, 1, 0, 1, 0},
    {MSG_GET_S, 1, 0, 0, 1, 3, 1, 0},     /* cut short */
    {MSG_GET_S, 1, 0, 0, 1, 17, 1, 0},    /* a body where none belongs */
    {MSG_DATA_S, 1, 0, 1, 0, 1000, 1, 0}, /* half a body */
    {MSG_GET_S, 1, 0, 1, 1, 0, 1, 0},     /* not the home */
    {MSG_GET_E, 1, 0, 1, 1, 0, 1, 0},
    {MSG_GET_E, 1, 0, 0, 1, 0, 3, 0}, /* again and again */
    {MSG_DONE, 1, 0, 0, 1, 0, 1, 0},  /* nothing was under way */
    {MSG_INV, 1, 0, 0, 1, 0, 1, 0},   /* not from the home */
    {MSG_FWD_S, 0, 1, 0, 2, 0, 1, 0}, /* of somebody who has nothing */
    {MSG_FWD_E, 0, 1, 0, 2, 0, 1, 0},
    {MSG_FWD_E, 0, 1, 0, 1, 0, 1, 0},  /* to itself */
    {MSG_FWD_E, 0, 1, 0, 77, 0, 1, 0}, /* to nobody */
    {MSG_INV, 1, 2, 1, 0, 0, 2, 0},    /* the second while the first waits */
    {MSG_GRANT, 0, 1, 0, 1, 0, 1, 0},  /* not asked for */
    {MSG_DATA_S, 2, 1, 0, 1, 16 + 4096, 1, 0},
    {MSG_DATA_E, 2, 1, 0, 1, 16 + 4096, 1, 0},
    {MSG_ACK, 2, 1, 0, 1, 0, 1, 0},
    {MSG_GET_E, 1, 0, 0, 1, 0, 1, 63}, /* beyond the last page */
    {MSG_GET_E, 1, 0, 0, 1, 0, 1, 255},
    {MSG_DATA_E, 0, 1, 0, 1, 0, 1, 1}, /* more than was asked for */
    {MSG_DONE, 1, 0, 0, 1, 0, 1, 1},
};

static void tell_lie(struct world *w, const struct lie *lie)
{
    static const uint8_t body[GUEST_PAGE_SIZE];
    struct dsm_wire wire = {.page = lie->page, .requester = lie->requester, .run = lie->run};
    uint32_t len = lie->len ? lie->len : sizeof wire;
    uint32_t head = len < sizeof wire ? len : sizeof wire;

    for (unsigned i = 0; i < lie->times; i++)
        ic_send(w->rank[lie->from].ic, (rank_t)lie->to, IC_TYPE_DSM + lie->type, &wire, head, body,
                len - head);
}

static void test_lies_end_the_run(void **state)
{
    (void)state;
    for (unsigned i = 0; i < SIM_ARRAY_LEN(lies); i++) {
        struct world *w = world_create(1, 3, 1, 2);
        const struct lie *lie = &lies[i];
        /* The page of the two INVs is pinned: the first one waits. */
        if (lie->type == MSG_INV && lie->times == 2) {
            get_and_retire(w, lie->to, lie->page, false);
            assert_int_equal(dsm_pin(w->rank[lie->to].dsm, lie->page, false), SIM_OK);
        }
        tell_lie(w, lie);
        for (unsigned step = 0; step < 100; step++)
            world_step(w);
        if (w->failures == 0)
            fail_msg("lie %u was believed", i);
        tell_lie(w, lie);
        for (unsigned step = 0; step < 100; step++)
            world_step(w);
        world_destroy(w);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_start_is_exclusive_at_home),
        cmocka_unit_test(test_bytes_go_straight_to_the_requester),
        cmocka_unit_test(test_zero_pages_have_no_body),
        cmocka_unit_test(test_last_byte_makes_a_body),
        cmocka_unit_test(test_upgrade_moves_no_body),
        cmocka_unit_test(test_page_that_migrates),
        cmocka_unit_test(test_waiter_is_told),
        cmocka_unit_test(test_waiter_gives_up),
        cmocka_unit_test(test_waiter_changes_its_mind),
        cmocka_unit_test(test_page_is_held_until_retired),
        cmocka_unit_test(test_hold_times_out),
        cmocka_unit_test(test_holds_grow_when_they_time_out),
        cmocka_unit_test(test_page_that_is_taken_too_early_stays),
        cmocka_unit_test(test_a_stay_is_not_renewed),
        cmocka_unit_test(test_two_that_hold_what_the_other_wants),
        cmocka_unit_test(test_stream_is_fetched_ahead),
        cmocka_unit_test(test_two_streams_at_once),
        cmocka_unit_test(test_no_stream_where_there_is_none),
        cmocka_unit_test(test_useless_streams_are_not_trusted),
        cmocka_unit_test(test_untouched_pages_come_along),
        cmocka_unit_test(test_used_pages_do_not_come_along),
        cmocka_unit_test(test_only_blank_memory_comes_along),
        cmocka_unit_test(test_waiting_for_what_may_come_along),
        cmocka_unit_test(test_refused_page_is_asked_for),
        cmocka_unit_test(test_useless_gifts_are_not_repeated),
        cmocka_unit_test(test_pinned_page_stays),
        cmocka_unit_test(test_readers_of_a_pinned_shared_page),
        cmocka_unit_test(test_stopped_pin_fails),
        cmocka_unit_test(test_prefetch),
        cmocka_unit_test(test_many_revokes_are_one_batch),
        cmocka_unit_test(test_hottest),
        cmocka_unit_test(test_dump),
        cmocka_unit_test(test_lies_end_the_run),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
