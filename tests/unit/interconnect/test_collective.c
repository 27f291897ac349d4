/* Start-up and end: gather, agree, barrier, time-outs, and ranks that are lost. */
#include "ic_test.h"

#include "core_priv.h"

static const struct ic_config impatient = {.start_timeout_ns = 300000000,
                                           .warn_after_ns = 500000000,
                                           .lost_after_ns = 2000000000};

struct rank {
    struct ic *ic;
    enum sim_status status;
    bool bad;
    _Atomic unsigned lost;
    _Atomic int lost_rank;
};

static struct rank rank[MAX_RANKS];

static void open_ranks(struct net *n, unsigned nr, const struct ic_config *config)
{
    struct ic_chaos chaos = {.seed = 7, .max_delay_ns = 50000};

    memset(rank, 0, sizeof rank);
    net_open(n, nr, &chaos, config);
    for (unsigned i = 0; i < nr; i++)
        rank[i].ic = n->ic[i];
}

/* Blobs of different lengths, some longer than a message, some empty. */
static uint32_t blob_len(unsigned round, rank_t r)
{
    return (uint32_t)r % 3 == 1 ? 0 : 150000 * (round % 2) + 10 * (uint32_t)r;
}

static void *gather_main(void *arg)
{
    struct rank *me = arg;
    rank_t nr = ic_nr_ranks(me->ic);
    static _Thread_local unsigned char blob[200000];
    void *out[MAX_RANKS];
    uint32_t lens[MAX_RANKS];

    for (unsigned round = 0; round < 4; round++) {
        uint32_t len = blob_len(round, ic_rank(me->ic));
        memset(blob, (int)ic_rank(me->ic) + 1, len);
        me->status = ic_gather(me->ic, blob, len, out, lens);
        if (me->status != SIM_OK)
            return NULL;
        for (rank_t r = 0; r < nr; r++) {
            const unsigned char *b = out[r];
            me->bad |= lens[r] != blob_len(round, r) || (lens[r] && (b[0] != r + 1 || b[lens[r] - 1] != r + 1));
        }
        ic_gather_free(me->ic, out);
    }
    return NULL;
}

static void test_gather_of_long_and_empty_blobs(void **state)
{
    struct net n;

    (void)state;
    open_ranks(&n, 5, NULL);
    net_run(&n, gather_main, rank, sizeof rank[0]);
    for (unsigned i = 0; i < 5; i++) {
        assert_int_equal(rank[i].status, SIM_OK);
        assert_false(rank[i].bad);
    }
    net_close(&n);
}

static void *agree_main(void *arg)
{
    struct rank *me = arg;
    struct ic_fact facts[] = {{.name = "machine", .value = "virt"},
                              {.name = "kernel file", .value = "Image, 5 bytes"}};

    if (me->bad)
        strcpy(facts[1].value, "Image, 6 bytes");
    me->status = ic_agree(me->ic, facts, 2);
    return NULL;
}

static void test_agree_on_the_same_facts(void **state)
{
    struct net n;

    (void)state;
    open_ranks(&n, 4, NULL);
    net_run(&n, agree_main, rank, sizeof rank[0]);
    for (unsigned i = 0; i < 4; i++)
        assert_int_equal(rank[i].status, SIM_OK);
    net_close(&n);
}

static void test_agree_fails_everywhere_when_one_differs(void **state)
{
    struct capture log;
    struct net n;

    (void)state;
    open_ranks(&n, 4, NULL);
    rank[2].bad = rank[3].bad = true;
    capture_begin(&log);
    net_run(&n, agree_main, rank, sizeof rank[0]);
    capture_end(&log);
    for (unsigned i = 0; i < 4; i++)
        assert_int_equal(rank[i].status, SIM_ERR_INVALID);
    assert_int_equal(captured(&log, ""), 1);
    assert_int_equal(captured(&log, "error: kernel file: rank 0 (host inproc"), 1);
    assert_int_equal(captured(&log, "has Image, 5 bytes, rank 2 (host inproc"), 1);
    fclose(log.file);
    net_close(&n);
}

static void test_agree_refuses_another_version(void **state)
{
    struct net n;

    (void)state;
    open_ranks(&n, 2, NULL);
    n.ic[1]->version = "0.0.9";
    net_run(&n, agree_main, rank, sizeof rank[0]);
    assert_int_equal(rank[0].status, SIM_ERR_INVALID);
    assert_int_equal(rank[1].status, SIM_ERR_INVALID);
    net_close(&n);
}

static void *agree_unless_missing(void *arg)
{
    return arg == &rank[1] ? NULL : agree_main(arg);
}

static void test_agree_does_not_wait_for_ever(void **state)
{
    struct net n;

    (void)state;
    open_ranks(&n, 3, &impatient);
    net_run(&n, agree_unless_missing, rank, sizeof rank[0]);
    assert_int_equal(rank[0].status, SIM_ERR_IO);
    assert_int_equal(rank[2].status, SIM_ERR_IO);
    net_close(&n);
}

static _Atomic unsigned inside;

static void *barrier_main(void *arg)
{
    struct rank *me = arg;
    unsigned nr = (unsigned)ic_nr_ranks(me->ic);

    for (unsigned i = 1; i <= 50; i++) {
        atomic_fetch_add(&inside, 1);
        me->status = ic_barrier(me->ic);
        if (me->status != SIM_OK || atomic_load(&inside) < i * nr)
            me->bad = true;
    }
    return NULL;
}

static void test_barrier_waits_for_all(void **state)
{
    struct net n;

    (void)state;
    atomic_store(&inside, 0);
    open_ranks(&n, 4, NULL);
    net_run(&n, barrier_main, rank, sizeof rank[0]);
    for (unsigned i = 0; i < 4; i++)
        assert_false(rank[i].bad);
    net_close(&n);
}

/* --- loss --- */

static _Atomic bool stuck;

static void on_get_stuck(void *opaque, rank_t from, const void *data, uint32_t len)
{
    (void)opaque, (void)from, (void)data, (void)len;
    while (atomic_load(&stuck))
        sim_thread_yield();
}

static void on_lost(void *opaque, rank_t lost, const char *why)
{
    struct rank *me = opaque;

    atomic_store(&me->lost_rank, lost);
    atomic_fetch_add(&me->lost, 1);
    me->bad |= !strstr(why, "rank 2 (host ");
}

static void poll_for(struct ic *ic, uint64_t ns)
{
    for (uint64_t end = sim_host_ns() + ns; sim_host_ns() < end; sim_thread_yield())
        ic_poll(ic);
}

/* Silence counts from the first heartbeats on. */
static void await_heartbeats(struct ic *ic)
{
    struct ic_counter c[IC_TYPES];

    do {
        poll_for(ic, 100000000);
        ic_counters(ic, c);
    } while (c[IC_CONTROL_HEARTBEAT].received < 4 * (uint64_t)(ic_nr_ranks(ic) - 1));
}

static void *lossy_main(void *arg)
{
    struct rank *me = arg;

    ic_register(me->ic, IC_TYPE_TEST, "stuck", on_get_stuck, me);
    ic_on_lost(me->ic, on_lost, me);
    me->status = ic_start(me->ic);
    if (ic_barrier(me->ic) != SIM_OK)
        me->bad = true;
    if (ic_rank(me->ic) == 0) {
        await_heartbeats(me->ic);
        ic_send_small(me->ic, 2, IC_TYPE_TEST, NULL, 0);
    }
    while (!atomic_load(&me->lost)) {
        ic_poll(me->ic), sim_thread_yield();
        if (atomic_load(&rank[0].lost) && atomic_load(&rank[1].lost))
            atomic_store(&stuck, false); /* only now rank 2 goes on */
    }
    me->status = ic_barrier(me->ic);
    ic_stop(me->ic);
    return NULL;
}

static void test_a_silent_rank_is_lost(void **state)
{
    struct capture log;
    struct net n;

    (void)state;
    atomic_store(&stuck, true);
    open_ranks(&n, 3, &impatient);
    capture_begin(&log);
    net_run(&n, lossy_main, rank, sizeof rank[0]);
    capture_end(&log);
    /* Once, unless rank 1 heard nothing of rank 0 either, which the host kept from running: then it speaks for both. */
    unsigned first_was_silent = captured(&log, "warning: nothing was heard of rank 0 (host") > 0;
    assert_in_range(captured(&log, "warning: nothing was heard of rank 2 (host"), 1, 1 + first_was_silent);
    assert_int_equal(captured(&log, "error: "), 1);
    assert_int_equal(captured(&log, "error: rank 2 (host inproc"), 1);
    fclose(log.file);
    for (unsigned i = 0; i < 3; i++) {
        assert_int_equal(rank[i].status, SIM_ERR_IO); /* rank 2 hears that it was given up */
        assert_int_equal(rank[i].lost, 1);
        assert_int_equal(rank[i].lost_rank, 2);
        assert_false(rank[i].bad);
    }
    net_close(&n);
}

static struct capture pause_log;

static void poll_until_captured(struct ic *ic, const char *text)
{
    for (uint64_t end = sim_host_ns() + 15000000000u; !captured_yet(&pause_log, text) && sim_host_ns() < end;)
        poll_for(ic, 50000000);
}

static bool back_to_leave; /* the rank that was silent ends at once */

static void *pausing_main(void *arg)
{
    struct rank *me = arg;

    ic_register(me->ic, IC_TYPE_TEST, "stuck", on_get_stuck, me);
    ic_on_lost(me->ic, on_lost, me);
    me->status = ic_start(me->ic);
    if (ic_barrier(me->ic) != SIM_OK)
        me->bad = true;
    if (ic_rank(me->ic) == 0) {
        await_heartbeats(me->ic);
        ic_send_small(me->ic, 1, IC_TYPE_TEST, NULL, 0);
        poll_until_captured(me->ic, "warning: nothing was heard of rank 1");
        atomic_store(&stuck, false);
        if (!back_to_leave)
            poll_until_captured(me->ic, "is back");
    }
    while (back_to_leave && atomic_load(&stuck))
        sim_thread_yield();
    if (!back_to_leave)
        me->status = ic_barrier(me->ic);
    ic_stop(me->ic);
    return NULL;
}

/* Longer than the warning, shorter than the loss. */
static void come_back(bool to_leave)
{
    static const struct ic_config config = {.warn_after_ns = 500000000, .lost_after_ns = 20000000000u};
    struct net n;

    atomic_store(&stuck, true);
    back_to_leave = to_leave;
    open_ranks(&n, 2, &config);
    capture_begin(&pause_log);
    net_run(&n, pausing_main, rank, sizeof rank[0]);
    capture_end(&pause_log);
    /* Once, unless the host kept it from running later, too. */
    unsigned silences = captured(&pause_log, "warning: nothing was heard of rank 1 (host");
    assert_in_range(silences, 1, UINT32_MAX);
    assert_int_equal(captured(&pause_log, "partita: rank 1 (host"), silences); /* is back */
    fclose(pause_log.file);
    for (unsigned i = 0; i < 2; i++) {
        assert_int_equal(rank[i].status, SIM_OK);
        assert_int_equal(rank[i].lost, 0);
    }
    net_close(&n);
}

static void test_a_rank_may_come_back(void **state)
{
    (void)state;
    come_back(false);
}

static void test_a_rank_may_come_back_to_leave(void **state)
{
    (void)state;
    come_back(true);
}

/* Rank 1 naps, as far as its progress thread can see, but its host does not run that thread. */
static void *starving_main(void *arg)
{
    struct rank *me = arg;

    me->status = ic_start(me->ic);
    if (ic_barrier(me->ic) != SIM_OK)
        me->bad = true;
    await_heartbeats(me->ic);
    if (ic_rank(me->ic) == 1) {
        atomic_fetch_add(&me->ic->nappers, 1);
        sim_thread_sleep(2200000000);
        atomic_fetch_sub(&me->ic->nappers, 1);
    } else {
        poll_for(me->ic, 2200000000);
    }
    me->status = ic_barrier(me->ic);
    ic_stop(me->ic);
    return NULL;
}

static void test_heartbeats_do_not_wait_for_those_who_nap(void **state)
{
    static const struct ic_config config = {.warn_after_ns = 1200000000, .lost_after_ns = 20000000000u};
    struct capture log;
    struct net n;

    (void)state;
    open_ranks(&n, 2, &config);
    capture_begin(&log);
    net_run(&n, starving_main, rank, sizeof rank[0]);
    capture_end(&log);
    assert_int_equal(captured(&log, "nothing was heard"), 0);
    fclose(log.file);
    for (unsigned i = 0; i < 2; i++)
        assert_int_equal(rank[i].status, SIM_OK);
    net_close(&n);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_gather_of_long_and_empty_blobs),
        cmocka_unit_test(test_agree_on_the_same_facts),
        cmocka_unit_test(test_agree_fails_everywhere_when_one_differs),
        cmocka_unit_test(test_agree_refuses_another_version),
        cmocka_unit_test(test_agree_does_not_wait_for_ever),
        cmocka_unit_test(test_barrier_waits_for_all),
        cmocka_unit_test(test_a_silent_rank_is_lost),
        cmocka_unit_test(test_a_rank_may_come_back),
        cmocka_unit_test(test_a_rank_may_come_back_to_leave),
        cmocka_unit_test(test_heartbeats_do_not_wait_for_those_who_nap),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
