/* The progress thread: messages are handled though nobody polls, and idleness costs next to nothing. */
#include "ic_test.h"

#include <stdlib.h>
#include <time.h>

enum { ASK = IC_TYPE_TEST, ANSWER, BOUND_NS = 20000000 };

struct rank {
    struct ic *ic;
    _Atomic unsigned answers, asked;
};

static struct rank rank[MAX_RANKS];

static void on_ask(void *opaque, rank_t from, const void *data, uint32_t len)
{
    struct rank *me = opaque;

    (void)data, (void)len;
    atomic_fetch_add(&me->asked, 1);
    ic_send_small(me->ic, from, ANSWER, NULL, 0);
}

static void on_answer(void *opaque, rank_t from, const void *data, uint32_t len)
{
    (void)from, (void)data, (void)len;
    atomic_fetch_add(&((struct rank *)opaque)->answers, 1);
}

static void start(struct net *n, unsigned nr)
{
    memset(rank, 0, sizeof rank);
    net_open(n, nr, NULL, NULL);
    for (unsigned i = 0; i < nr; i++) {
        rank[i].ic = n->ic[i];
        ic_register(n->ic[i], ASK, "ask", on_ask, &rank[i]);
        ic_register(n->ic[i], ANSWER, "answer", on_answer, &rank[i]);
        assert_int_equal(ic_start(n->ic[i]), SIM_OK);
    }
}

static void stop(struct net *n)
{
    net_stop(n);
    net_close(n);
}

static int by_value(const void *a, const void *b)
{
    uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;

    return x < y ? -1 : x > y;
}

/* The third fastest of nine times from question to answer when neither side polls, or only the asker does: a busy host
 * delays most of them, and without the bell hardly three would be fast by chance. */
static uint64_t good_answer_ns(struct net *n, unsigned to, bool poll)
{
    enum { ASKS = 9 };
    uint64_t took[ASKS];

    for (unsigned i = 0; i < ASKS; i++) {
        sim_thread_sleep(150000000); /* long enough for a long sleep */
        unsigned before = atomic_load(&rank[0].answers);
        uint64_t begin = sim_host_ns();
        ic_send_small(n->ic[0], (rank_t)to, ASK, NULL, 0);
        while (atomic_load(&rank[0].answers) == before)
            poll ? (void)ic_poll(n->ic[0]) : sim_thread_yield();
        took[i] = sim_host_ns() - begin;
    }
    qsort(took, ASKS, sizeof took[0], by_value);
    return took[ASKS / 4];
}

/* Without the bell an idle rank would look after some 100 ms. The bound is for a busy host. */
static void test_progress_answers_though_nobody_polls(void **state)
{
    struct net n;

    (void)state;
    start(&n, 2);
    assert_true(good_answer_ns(&n, 1, false) < BOUND_NS);
    assert_true(good_answer_ns(&n, 1, true) < BOUND_NS);
    stop(&n);
}

static double cpu_seconds(void)
{
    struct timespec ts;

    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &ts);
    return (double)ts.tv_sec + (double)ts.tv_nsec / 1e9;
}

static void test_progress_sleeps_when_idle(void **state)
{
    struct net n;

    (void)state;
    start(&n, 4);
    sim_thread_sleep(100000000);
    double before = cpu_seconds();
    sim_thread_sleep(1000000000);
    assert_true(cpu_seconds() - before < 0.2); /* 5 % of a core for each of four: busy waiting is 100 */
    stop(&n);
}

/* A thread that polls and then rests is followed by the bell at once. */
static void test_progress_takes_over_from_one_that_rests(void **state)
{
    struct net n;

    (void)state;
    start(&n, 2);
    for (unsigned round = 0; round < 2; round++) {
        for (uint64_t end = sim_host_ns() + 2000000; sim_host_ns() < end; sim_thread_yield())
            ic_poll(n.ic[1]);
        ic_rest(n.ic[1]);
        assert_true(good_answer_ns(&n, 1, true) < BOUND_NS);
    }
    stop(&n);
}

/* Naps are capped at a quarter of a second (a tick) and must end long before. */
static void *napper_main(void *arg)
{
    struct rank *me = arg;
    uint64_t begin = sim_host_ns();

    ic_nap(me->ic, 10000000000u);
    atomic_store(&me->answers, sim_host_ns() - begin < 150000000);
    return NULL;
}

static bool nap_is_short(struct net *n, void (*wake)(struct net *n))
{
    struct sim_thread t = {0};

    rank[1].ic = n->ic[1];
    assert_int_equal(sim_thread_start(&t, "napper", napper_main, &rank[1]), SIM_OK);
    sim_thread_sleep(30000000);
    wake(n);
    sim_thread_join(&t);
    return atomic_load(&rank[1].answers);
}

static void by_message(struct net *n)
{
    ic_send_small(n->ic[0], 1, ASK, NULL, 0);
}

static void by_wake(struct net *n)
{
    ic_wake(n->ic[1]);
}

/* Any of some tries, because the host may be busy; a nap that nothing ends would never be short. */
static void test_nap_ends_with_a_message_or_a_wake(void **state)
{
    unsigned messages = 0, wakes = 0;
    struct net n;

    (void)state;
    memset(rank, 0, sizeof rank);
    net_open(&n, 2, NULL, NULL);
    ic_register(n.ic[1], ASK, "ask", on_ask, &rank[1]);
    ic_register(n.ic[0], ANSWER, "answer", on_answer, &rank[0]);
    for (unsigned i = 0; i < 5; i++) {
        messages += nap_is_short(&n, by_message);
        net_drain(&n);
        wakes += nap_is_short(&n, by_wake);
    }
    assert_true(messages > 0);
    assert_true(wakes > 0);
    net_close(&n);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_progress_answers_though_nobody_polls),
        cmocka_unit_test(test_progress_sleeps_when_idle),
        cmocka_unit_test(test_progress_takes_over_from_one_that_rests),
        cmocka_unit_test(test_nap_ends_with_a_message_or_a_wake),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
