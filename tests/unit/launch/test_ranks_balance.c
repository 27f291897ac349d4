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
    uint32_t executors[3], pool[3];
    struct balance_hart hart[MAX_HARTS];
    struct balance_input in;
    struct balance_move move[MAX_MOVES];
};

static void world_init(struct world *w, uint32_t nr_ranks)
{
    memset(w, 0, sizeof *w);
    for (uint32_t r = 0; r < nr_ranks; r++) {
        w->executors[r] = 1;
        w->pool[r] = r;
    }
    w->in = (struct balance_input){.now_ns = 1000 * MS, .interval_ns = INTERVAL_MS * MS,
                                   .executors = w->executors, .pool = w->pool, .nr_ranks = nr_ranks, .hart = w->hart};
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
    /* The move itself takes long: that is not the hart's time. */
    w.in.now_ns += 900 * MS;
    w.in.interval_ns = 25 * MS;
    w.hart[w.move[0].hart] = hart(1, 2, 23);
    for (unsigned i = 0; i < 2; i++)
        assert_int_equal(decide(&w), 0);
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
        uint64_t settling = 0;
        do {
            w.in.now_ns += INTERVAL_MS * MS;
            settling += INTERVAL_MS * MS;
        } while (!decide(&w));
        assert_move(w, 0, moved, 0);
        assert_in_range(settling, pause / 32, pause / 32 + 300 * MS);
    }
    assert_in_range(pause, 60000 * MS, 64000 * MS);
}

/* --- a machine that obeys: two harts, two ranks with an executor each --- */

enum { STEP_MS = 25 };

/* What two harts do: those that share nothing run at full speed on a rank of their own once both have fetched what the
 * move took away; those that share everything wait for each other whenever they are apart. */
struct program {
    bool shares;
    unsigned fetch_ms; /* it takes so long after each move */
    unsigned hiccup_ms; /* each second all wait for so long: another program begins, or the host is busy */
};

struct run {
    struct world w;
    unsigned fetches_ms; /* still */
    unsigned apart_ms, ms;
};

static void measure(struct run *r, const struct program *p)
{
    bool apart = r->w.hart[0].rank != r->w.hart[1].rank;

    for (unsigned h = 0; h < 2; h++) {
        struct balance_hart *hart = &r->w.hart[h];
        bool waits = apart && (p->shares || r->fetches_ms || r->ms % 1000 < p->hiccup_ms);
        hart->busy_ns = STEP_MS * MS * (waits ? 20 : apart ? 100 : 50) / 100;
        hart->wait_ns = waits ? STEP_MS * MS * 80 / 100 : 0;
    }
    r->fetches_ms -= r->fetches_ms < STEP_MS ? r->fetches_ms : STEP_MS;
    r->ms += STEP_MS;
    r->apart_ms += apart ? STEP_MS : 0;
}

static void run_program(struct run *r, const struct program *p, unsigned ms)
{
    r->apart_ms = 0;
    for (unsigned t = 0; t < ms; t += STEP_MS) {
        measure(r, p);
        r->w.in.now_ns += STEP_MS * MS;
        unsigned nr = decide(&r->w);
        for (unsigned i = 0; i < nr; i++) {
            r->w.hart[r->w.move[i].hart].rank = r->w.move[i].to;
            r->fetches_ms = p->fetch_ms;
        }
    }
}

static void run_init(struct run *r)
{
    memset(r, 0, sizeof *r);
    world_init(&r->w, 2);
    r->w.in.interval_ns = STEP_MS * MS;
    add(&r->w, 0, 0, 0);
    add(&r->w, 1, 0, 0);
}

/* Whatever brought them together: a boot before, or the time their first pages took. */
static void test_harts_that_share_nothing_end_apart(void **state)
{
    static const unsigned fetch_ms[] = {0, 50, 90, 200, 400};
    const struct program boot = {.shares = true};

    (void)state;
    for (unsigned i = 0; i < SIM_ARRAY_LEN(fetch_ms); i++) {
        const struct program p = {.fetch_ms = fetch_ms[i], .hiccup_ms = 100};
        struct run r;
        run_init(&r);
        r.fetches_ms = fetch_ms[i];
        run_program(&r, &boot, 2000);
        run_program(&r, &p, fetch_ms[i] < 100 ? 10000 : 150000); /* ends apart */
        run_program(&r, &p, 10000);
        assert_int_equal(r.apart_ms, 10000);
    }
}

/* Both harts are busy with what the other has made of their pages: that there is no room is no reason to stay apart. */
static void test_who_shares_goes_back_to_a_full_rank(void **state)
{
    struct world w;

    (void)state;
    world_init(&w, 2);
    add(&w, 0, 50, 0);
    add(&w, 0, 50, 0);
    assert_int_equal(decide(&w), 1);
    uint32_t moved = w.move[0].hart;
    w.hart[moved] = hart(1, 65, 35);
    w.hart[!moved] = hart(0, 70, 30);
    do
        w.in.now_ns += INTERVAL_MS * MS;
    while (!decide(&w) && w.in.now_ns < 2000 * MS);
    assert_in_range(w.in.now_ns, 1100 * MS, 1300 * MS);
    assert_move(w, 0, moved, 0);
}

static void test_attempts_cost_little(void **state)
{
    const struct program p = {.shares = true};
    struct run r;

    (void)state;
    run_init(&r);
    run_program(&r, &p, 1000);
    run_program(&r, &p, 10000);
    assert_in_range(r.apart_ms, 1, 10000 * 7 / 100);
    run_program(&r, &p, 200000);
    assert_in_range(r.apart_ms, 1, 200000 * 4 / 100);
}

/* An hour of make, and then something else: it does not wait for the attempts of before. */
static void test_another_program_is_not_judged_by_the_last(void **state)
{
    const struct program make = {.shares = true}, other = {.fetch_ms = 30};
    struct run r;

    (void)state;
    run_init(&r);
    run_program(&r, &make, 300000);
    for (unsigned t = 0; t < 3000; t += STEP_MS) { /* the machine is idle */
        r.w.hart[0].busy_ns = r.w.hart[1].busy_ns = 0;
        r.w.hart[0].wait_ns = r.w.hart[1].wait_ns = 0;
        r.w.in.now_ns += STEP_MS * MS;
        assert_int_equal(decide(&r.w), 0);
    }
    run_program(&r, &other, 1000);
    assert_in_range(r.apart_ms, 900, 1000);
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

/* --- ranks that lend each other their cores --- */

static void make_pool(struct world *w, uint32_t first, uint32_t nr)
{
    for (uint32_t r = first; r < first + nr; r++)
        w->pool[r] = first;
}

/* All cores come with them: full or not, and as soon as a part of their time is lost. */
static void test_harts_of_a_pool_come_together_at_once(void **state)
{
    struct world w;

    (void)state;
    world_init(&w, 2);
    make_pool(&w, 0, 2);
    add(&w, 0, 85, 12);
    add(&w, 1, 85, 12);
    assert_int_equal(decide(&w), 1);
    assert_move(w, 0, 1, 0);
    w.hart[1] = hart(1, 93, 7); /* not for less */
    assert_int_equal(decide(&w), 0);
    w.hart[1] = hart(1, 5, 6);
    assert_int_equal(decide(&w), 0);
}

static void test_nothing_is_spread_within_a_pool(void **state)
{
    struct world w;

    (void)state;
    world_init(&w, 3);
    make_pool(&w, 0, 2);
    for (unsigned i = 0; i < 4; i++)
        add(&w, 0, 50, 0);
    assert_int_equal(decide(&w), 1); /* it is crowded as a whole */
    assert_move(w, 0, 0, 2);
    w.hart[0] = hart(0, 10, 0);
    w.hart[1] = hart(0, 10, 0);
    w.in.now_ns += 60000 * MS;
    assert_int_equal(decide(&w), 0);
    make_pool(&w, 0, 3);
    w.hart[0] = hart(0, 50, 0);
    w.hart[1] = hart(0, 50, 0);
    assert_int_equal(decide(&w), 0);
}

/* Another host's hart comes when the pool has room, and only if it suffers. */
static void test_a_pool_has_room_as_a_whole(void **state)
{
    struct world w;

    (void)state;
    world_init(&w, 3);
    make_pool(&w, 0, 2);
    add(&w, 0, 90, 0);
    add(&w, 0, 60, 0);
    add(&w, 2, 20, 70);
    assert_int_equal(decide(&w), 1);
    assert_move(w, 0, 2, 0);
    w.hart[1] = hart(1, 80, 0);
    assert_int_equal(decide(&w), 0);
    w.hart[1] = hart(1, 60, 0);
    w.hart[2] = hart(2, 70, 30); /* there are no more cores for it there */
    assert_int_equal(decide(&w), 0);
}

/* Whoever shares a little comes together and stays; whoever shares nothing is left alone. */
static void test_a_pool_comes_to_rest(void **state)
{
    const struct program shares = {.shares = true}, other = {.fetch_ms = 30};
    struct run r;

    (void)state;
    run_init(&r);
    make_pool(&r.w, 0, 2);
    run_program(&r, &other, 5000);
    assert_int_equal(r.apart_ms, 5000);
    run_program(&r, &shares, 200000);
    assert_int_equal(r.apart_ms, STEP_MS); /* one look */
    run_program(&r, &other, 5000);
    assert_int_equal(r.apart_ms, 0);
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
        cmocka_unit_test(test_harts_that_share_nothing_end_apart),
        cmocka_unit_test(test_who_shares_goes_back_to_a_full_rank),
        cmocka_unit_test(test_attempts_cost_little),
        cmocka_unit_test(test_another_program_is_not_judged_by_the_last),
        cmocka_unit_test(test_harts_of_a_pool_come_together_at_once),
        cmocka_unit_test(test_nothing_is_spread_within_a_pool),
        cmocka_unit_test(test_a_pool_has_room_as_a_whole),
        cmocka_unit_test(test_a_pool_comes_to_rest),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
