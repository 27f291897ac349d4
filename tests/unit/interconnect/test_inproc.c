/* The in-process transport: manual steps, delays, many ranks on threads of their own. */
#include "ic_test.h"

enum { NUMBER = IC_TYPE_TEST, RELAY };

/* --- manual --- */

struct trace {
    struct ic *ic;
    unsigned *nr;
    uint32_t *order; /* from << 16 | value, in the order of arrival anywhere */
    uint32_t next[MAX_RANKS];
    bool bad;
};

static void on_number(void *opaque, rank_t from, const void *data, uint32_t len)
{
    struct trace *t = opaque;
    uint32_t value = *(const uint32_t *)data;

    (void)len;
    if (value != t->next[from]++)
        t->bad = true;
    t->order[(*t->nr)++] = (uint32_t)from << 16 | value;
}

static unsigned run_manual(uint64_t seed, uint32_t *order)
{
    struct ic_chaos chaos = {.seed = seed, .manual = true};
    struct trace trace[3] = {{0}};
    struct net n;
    unsigned nr = 0;

    net_open(&n, 3, &chaos, NULL);
    for (unsigned i = 0; i < 3; i++) {
        trace[i] = (struct trace){.ic = n.ic[i], .nr = &nr, .order = order};
        ic_register(n.ic[i], NUMBER, "number", on_number, &trace[i]);
    }
    for (uint32_t v = 0; v < 100; v++)
        for (rank_t from = 0; from < 3; from++)
            for (rank_t to = 0; to < 3; to++)
                ic_send_small(n.ic[from], to, NUMBER, &v, sizeof v);
    for (unsigned i = 0; i < 3; i++)
        assert_int_equal(ic_poll(n.ic[i]), 0);
    assert_int_equal(nr, 0);
    while (ic_inproc_step(n.inproc))
        ;
    for (unsigned i = 0; i < 3; i++)
        assert_false(trace[i].bad);
    net_close(&n);
    return nr;
}

static void test_inproc_manual_steps_follow_the_seed(void **state)
{
    static uint32_t a[900], b[900], c[900];
    unsigned same = 0;

    (void)state;
    assert_int_equal(run_manual(1, a), 900);
    assert_int_equal(run_manual(1, b), 900);
    assert_int_equal(run_manual(2, c), 900);
    assert_memory_equal(a, b, sizeof a);
    for (unsigned i = 0; i < 900; i++)
        same += a[i] == c[i];
    assert_in_range(same, 0, 450); /* pairs do overtake each other */
}

/* --- threads --- */

enum { ROUNDS = 300 };

struct rank {
    struct ic *ic;
    uint32_t next[MAX_RANKS];
    _Atomic unsigned got, relayed;
    bool bad;
    bool polls;
};

struct number {
    uint32_t value, hops;
    char body[120];
};

static void on_threaded_number(void *opaque, rank_t from, const void *data, uint32_t len)
{
    struct rank *r = opaque;
    const struct number *m = data;

    if (len != sizeof *m || m->value != r->next[from]++)
        r->bad = true;
    if (m->hops) {
        struct number on = {.value = m->value, .hops = m->hops - 1};
        ic_send_small(r->ic, (ic_rank(r->ic) + 1) % ic_nr_ranks(r->ic), RELAY, &on, sizeof on);
    }
    atomic_fetch_add(&r->got, 1);
}

static void on_relay(void *opaque, rank_t from, const void *data, uint32_t len)
{
    (void)from, (void)data, (void)len;
    atomic_fetch_add(&((struct rank *)opaque)->relayed, 1);
}

static void *rank_main(void *arg)
{
    struct rank *r = arg;
    rank_t nr = ic_nr_ranks(r->ic);
    unsigned all = ROUNDS * (unsigned)nr;

    ic_register(r->ic, NUMBER, "number", on_threaded_number, r);
    ic_register(r->ic, RELAY, "relay", on_relay, r);
    if (ic_agree(r->ic, NULL, 0) != SIM_OK || ic_start(r->ic) != SIM_OK) {
        r->bad = true;
        return NULL;
    }
    for (uint32_t v = 0; v < ROUNDS; v++) {
        struct number m = {.value = v, .hops = v % 2};
        for (rank_t to = 0; to < nr; to++)
            ic_send_small(r->ic, to, NUMBER, &m, sizeof m);
        if (r->polls)
            ic_poll(r->ic);
    }
    while (atomic_load(&r->got) < all || atomic_load(&r->relayed) < all / 2)
        r->polls ? (void)ic_poll(r->ic) : sim_thread_yield();
    if (ic_barrier(r->ic) != SIM_OK)
        r->bad = true;
    ic_stop(r->ic);
    return NULL;
}

static void run_threads(unsigned nr, uint64_t seed, uint64_t delay_ns)
{
    struct ic_chaos chaos = {.seed = seed, .max_delay_ns = delay_ns};
    static struct rank rank[MAX_RANKS];
    struct net n;

    memset(rank, 0, sizeof rank);
    net_open(&n, nr, seed ? &chaos : NULL, NULL);
    for (unsigned i = 0; i < nr; i++) {
        rank[i].ic = n.ic[i];
        rank[i].polls = i % 2; /* the others leave it to the progress thread */
    }
    net_run(&n, rank_main, rank, sizeof rank[0]);
    for (unsigned i = 0; i < nr; i++) {
        assert_false(rank[i].bad);
        assert_int_equal(rank[i].got, ROUNDS * nr);
        assert_int_equal(rank[i].relayed, ROUNDS * nr / 2);
    }
    net_close(&n);
}

static void test_inproc_two_ranks(void **state)
{
    (void)state;
    run_threads(2, 0, 0);
}

static void test_inproc_sixteen_ranks(void **state)
{
    (void)state;
    run_threads(16, 0, 0);
}

static void test_inproc_delays_keep_the_order_of_pairs(void **state)
{
    (void)state;
    for (uint64_t seed = 1; seed <= 4; seed++) {
        print_message("seed %u\n", (unsigned)seed);
        run_threads(3, seed, 20000 * seed);
    }
}

/* --- several threads of one rank send while another polls --- */

enum { SENDERS = 3, EACH = 5000 };

struct sender {
    struct ic *ic;
    uint32_t id;
};

struct many {
    uint32_t next[SENDERS];
    unsigned got;
    bool bad;
};

static void on_many(void *opaque, rank_t from, const void *data, uint32_t len)
{
    struct many *m = opaque;
    const uint32_t *v = data; /* sender, number */

    (void)from;
    if (len != 8 || v[1] != m->next[v[0]]++)
        m->bad = true;
    m->got++;
}

static void *sender_main(void *arg)
{
    struct sender *s = arg;

    for (uint32_t i = 0; i < EACH; i++) {
        uint32_t v[2] = {s->id, i};
        ic_send_small(s->ic, 1, NUMBER, v, sizeof v);
    }
    return NULL;
}

static void test_inproc_threads_of_a_rank_send_at_once(void **state)
{
    struct sim_thread t[SENDERS] = {0};
    struct sender s[SENDERS];
    struct many many = {0};
    struct net n;

    (void)state;
    net_open(&n, 2, NULL, NULL);
    ic_register(n.ic[1], NUMBER, "number", on_many, &many);
    for (uint32_t i = 0; i < SENDERS; i++) {
        s[i] = (struct sender){.ic = n.ic[0], .id = i};
        assert_int_equal(sim_thread_start(&t[i], "sender", sender_main, &s[i]), SIM_OK);
    }
    while (many.got < SENDERS * EACH) {
        ic_poll(n.ic[1]);
        ic_poll(n.ic[0]);
    }
    for (unsigned i = 0; i < SENDERS; i++)
        sim_thread_join(&t[i]);
    assert_false(many.bad);
    net_close(&n);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_inproc_manual_steps_follow_the_seed),
        cmocka_unit_test(test_inproc_two_ranks),
        cmocka_unit_test(test_inproc_sixteen_ranks),
        cmocka_unit_test(test_inproc_delays_keep_the_order_of_pairs),
        cmocka_unit_test(test_inproc_threads_of_a_rank_send_at_once),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
