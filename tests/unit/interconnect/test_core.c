/* Sending, receiving, order, windows, holding, counters: ranks that one thread polls. */
#include "ic_test.h"

enum { PING = IC_TYPE_TEST, PONG, DATA };

struct log {
    struct ic *ic;
    unsigned nr, batches;
    rank_t from[4096];
    uint32_t value[4096], len[4096];
    bool reply;
    bool bad;
};

static void on_data(void *opaque, rank_t from, const void *data, uint32_t len)
{
    struct log *log = opaque;
    const unsigned char *byte = data;

    if ((uintptr_t)data % 8)
        log->bad = true;
    memcpy(&log->value[log->nr], data, 4);
    for (uint32_t i = 4; i < len; i++)
        if (byte[i] != (unsigned char)(log->value[log->nr] + i))
            log->bad = true;
    log->from[log->nr] = from;
    log->len[log->nr++] = len;
    if (log->reply)
        ic_send_small(log->ic, from, PONG, data, 4);
}

static void on_batch_end(void *opaque)
{
    ((struct log *)opaque)->batches++;
}

static void send_value(struct ic *ic, rank_t to, uint32_t value, uint32_t len)
{
    static unsigned char body[IC_MESSAGE_MAX];

    for (uint32_t i = 4; i < len; i++)
        body[i] = (unsigned char)(value + i);
    ic_send(ic, to, DATA, &value, 4, body + 4, len - 4);
}

static void listen_to(struct net *n, struct log *logs)
{
    for (unsigned i = 0; i < n->nr; i++) {
        logs[i].ic = n->ic[i];
        ic_register(n->ic[i], DATA, "data", on_data, &logs[i]);
        ic_register(n->ic[i], PONG, "pong", on_data, &logs[i]);
        ic_set_batch_end(n->ic[i], on_batch_end, &logs[i]);
    }
}

static void test_core_delivers_head_and_body_in_order(void **state)
{
    static const uint32_t len[] = {4, 5, 64, 4096 + 64, 8, IC_MESSAGE_MAX, 4};
    struct net n;
    static struct log log[2];

    (void)state;
    memset(log, 0, sizeof log);
    net_open(&n, 2, NULL, NULL);
    listen_to(&n, log);
    for (uint32_t i = 0; i < SIM_ARRAY_LEN(len); i++)
        send_value(n.ic[0], 1, i, len[i]);
    net_drain(&n);
    assert_int_equal(log[1].nr, SIM_ARRAY_LEN(len));
    for (uint32_t i = 0; i < log[1].nr; i++) {
        assert_int_equal(log[1].value[i], i);
        assert_int_equal(log[1].len[i], len[i]);
        assert_int_equal(log[1].from[i], 0);
    }
    assert_false(log[1].bad);
    assert_int_equal(log[1].batches, 1);
    assert_int_equal(log[0].batches, 0);
    net_close(&n);
}

static void test_core_replies_from_handlers_and_counts(void **state)
{
    struct net n;
    static struct log log[3];
    struct ic_counter c[IC_TYPES];

    (void)state;
    memset(log, 0, sizeof log);
    net_open(&n, 3, NULL, NULL);
    listen_to(&n, log);
    for (unsigned i = 0; i < 3; i++)
        log[i].reply = true;
    /* the answers to PONG would go on for ever */
    log[0].reply = false;
    send_value(n.ic[0], 1, 11, 100);
    send_value(n.ic[0], 2, 22, 4);
    send_value(n.ic[0], 0, 33, 4); /* itself */
    assert_int_equal(log[0].nr, 0); /* never from inside ic_send */
    net_drain(&n);
    assert_int_equal(log[0].nr, 3);
    assert_int_equal(log[1].nr, 1);
    ic_counters(n.ic[0], c);
    assert_int_equal(c[DATA].sent, 3);
    assert_int_equal(c[DATA].sent_bytes, 108);
    assert_int_equal(c[DATA].received, 1);
    assert_int_equal(c[PONG].received, 2);
    assert_string_equal(c[PONG].name, "pong");
    assert_null(c[PING].name);
    net_close(&n);
}

static unsigned under_way(struct net *n, rank_t from, rank_t to)
{
    struct ic_counter a[IC_TYPES], b[IC_TYPES];

    ic_counters(n->ic[from], a);
    ic_counters(n->ic[to], b);
    return (unsigned)(a[DATA].sent - b[DATA].received);
}

/* What a slow receiver has not handled stays with the sender, beyond a window. */
static void test_core_bounds_what_is_under_way(void **state)
{
    struct net n;
    static struct log log[2];

    (void)state;
    memset(log, 0, sizeof log);
    net_open(&n, 2, NULL, NULL);
    listen_to(&n, log);
    for (uint32_t i = 0; i < 3000; i++)
        send_value(n.ic[0], 1, i, i % 50 ? 64 : 4096);
    assert_in_range(under_way(&n, 0, 1), 1, 64);
    for (unsigned i = 0; i < 100; i++)
        ic_poll(n.ic[0]);
    assert_in_range(under_way(&n, 0, 1), 1, 64);
    net_drain(&n);
    assert_int_equal(log[1].nr, 3000);
    for (uint32_t i = 0; i < 3000; i++)
        assert_int_equal(log[1].value[i], i);
    net_close(&n);
}

/* The ring is shorter than a window of the longest messages, so the transport says no as well. */
static void test_core_waits_for_room(void **state)
{
    struct net n;
    static struct log log[2];

    (void)state;
    memset(log, 0, sizeof log);
    net_open(&n, 2, NULL, NULL);
    listen_to(&n, log);
    for (uint32_t round = 0; round < 20; round++) {
        for (uint32_t i = 0; i < 40; i++)
            send_value(n.ic[0], 1, round * 40 + i, IC_MESSAGE_MAX - (round * 7919 + i * 977) % 60000);
        net_drain(&n);
    }
    assert_int_equal(log[1].nr, 800);
    for (uint32_t i = 0; i < 800; i++)
        assert_int_equal(log[1].value[i], i);
    assert_false(log[1].bad);
    net_close(&n);
}

static void test_core_holds_messages_until_it_starts(void **state)
{
    struct net n;
    static struct log log;

    (void)state;
    memset(&log, 0, sizeof log);
    net_open(&n, 2, NULL, NULL);
    ic_register(n.ic[1], PONG, "pong", on_data, &log);
    send_value(n.ic[0], 1, 0, 64); /* nobody handles DATA yet */
    uint32_t one = 1;
    ic_send_small(n.ic[0], 1, PONG, &one, 4); /* must not overtake it */
    net_drain(&n);
    assert_int_equal(log.nr, 0);
    ic_register(n.ic[1], DATA, "data", on_data, &log);
    ic_register(n.ic[0], DATA, "data", on_data, &log);
    assert_int_equal(ic_start(n.ic[0]), SIM_OK);
    assert_int_equal(ic_start(n.ic[1]), SIM_OK);
    for (uint64_t end = sim_host_ns() + 10000000000u; sim_host_ns() < end;) {
        struct ic_counter c[IC_TYPES];
        ic_counters(n.ic[1], c);
        if (c[DATA].received && c[PONG].received)
            break;
        sim_thread_yield();
    }
    net_stop(&n);
    assert_int_equal(log.nr, 2);
    assert_int_equal(log.value[0], 0);
    assert_int_equal(log.value[1], 1);
    net_close(&n);
}

static void test_core_names_ranks(void **state)
{
    struct net n;

    (void)state;
    net_open(&n, 2, NULL, NULL);
    assert_int_equal(ic_rank(n.ic[1]), 1);
    assert_int_equal(ic_nr_ranks(n.ic[1]), 2);
    assert_non_null(strstr(ic_rank_name(n.ic[0], 1), "rank 1 (host "));
    assert_true(ic_same_host(n.ic[0], 0, 1));
    net_close(&n);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_core_delivers_head_and_body_in_order),
        cmocka_unit_test(test_core_replies_from_handlers_and_counts),
        cmocka_unit_test(test_core_bounds_what_is_under_way),
        cmocka_unit_test(test_core_waits_for_room),
        cmocka_unit_test(test_core_holds_messages_until_it_starts),
        cmocka_unit_test(test_core_names_ranks),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
