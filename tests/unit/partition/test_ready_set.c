/* The set of those who want a turn: order, emptiness, and additions that race with removals. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "ready_set.h"
#include "sim-core/lock.h"

static void test_set_goes_round_in_order(void **state)
{
    static const uint32_t member[] = {0, 1, 63, 64, 100, 4095, 4096, 5000};
    struct ready_set s;

    (void)state;
    ready_set_init(&s, 5001);
    assert_int_equal(ready_set_next(&s, READY_NONE), READY_NONE);
    for (unsigned i = 0; i < SIM_ARRAY_LEN(member); i++) {
        assert_true(ready_set_add(&s, member[i]));
        assert_false(ready_set_add(&s, member[i]));
    }
    uint32_t n = READY_NONE;
    for (unsigned i = 0; i < 3 * SIM_ARRAY_LEN(member); i++) {
        n = ready_set_next(&s, n);
        assert_int_equal(n, member[i % SIM_ARRAY_LEN(member)]);
    }
    for (unsigned i = 0; i + 1 < SIM_ARRAY_LEN(member); i++)
        ready_set_remove(&s, member[i]);
    assert_false(ready_set_has(&s, 64));
    assert_int_equal(ready_set_next(&s, 5000), 5000); /* itself at last */
    ready_set_remove(&s, 5000);
    assert_int_equal(ready_set_next(&s, 70), READY_NONE);
    ready_set_fini(&s);
}

struct race {
    struct ready_set set;
    struct sim_thread thread;
    _Atomic uint32_t added, round;
};

/* Fewer on a host that is busy with other things, where each hand-over takes a turn of its scheduler. */
enum { ROUNDS = 20000, ROUNDS_LEAST = 100, RACE_NS = 2000000000 };
#define END UINT32_MAX

static uint32_t await_change(_Atomic uint32_t *word, uint32_t old)
{
    uint32_t now;

    for (unsigned spins = 0; (now = atomic_load(word)) == old;)
        spins++ < 1000 ? sim_cpu_relax() : sim_thread_yield();
    return now;
}

static void *add_in_rounds(void *arg)
{
    struct race *r = arg;

    for (uint32_t round = 0; (round = await_change(&r->round, round)) != END;) {
        ready_set_add(&r->set, 7);
        atomic_store(&r->added, round);
    }
    return NULL;
}

/* One is added while the only other one of its word is removed: it is found, whatever came first. */
static void test_additions_survive_removals(void **state)
{
    struct race r = {0};
    uint64_t end = sim_host_ns() + RACE_NS;

    (void)state;
    ready_set_init(&r.set, 64);
    assert_int_equal(sim_thread_start(&r.thread, "adder", add_in_rounds, &r), SIM_OK);
    for (uint32_t round = 1; round <= ROUNDS && (round <= ROUNDS_LEAST || sim_host_ns() < end); round++) {
        ready_set_add(&r.set, 5);
        atomic_store(&r.round, round);
        ready_set_remove(&r.set, 5);
        await_change(&r.added, round - 1);
        assert_int_equal(ready_set_next(&r.set, READY_NONE), 7);
        ready_set_remove(&r.set, 7);
    }
    atomic_store(&r.round, END);
    sim_thread_join(&r.thread);
    ready_set_fini(&r.set);
}

static void *take_in_rounds(void *arg)
{
    struct race *r = arg;

    for (uint32_t round = 0; (round = await_change(&r->round, round)) != END;) {
        ready_set_take(&r->set, 71);
        atomic_store(&r->added, round);
    }
    return NULL;
}

/* Somebody else takes the only other one of its word, beyond the first: what was added before the search is found. */
static void test_searches_see_what_others_are_taken_from(void **state)
{
    struct race r = {0};
    uint64_t end = sim_host_ns() + RACE_NS;

    (void)state;
    ready_set_init(&r.set, 128);
    assert_int_equal(sim_thread_start(&r.thread, "taker", take_in_rounds, &r), SIM_OK);
    for (uint32_t round = 1; round <= 10 * ROUNDS && (round <= ROUNDS_LEAST || sim_host_ns() < end); round++) {
        ready_set_add(&r.set, 71);
        atomic_store(&r.round, round);
        for (uint32_t pause = round % 64; pause; pause--)
            sim_cpu_relax();
        ready_set_add(&r.set, 70);
        assert_int_equal(ready_set_next(&r.set, READY_NONE), 70);
        await_change(&r.added, round - 1);
        ready_set_remove(&r.set, 70);
    }
    atomic_store(&r.round, END);
    sim_thread_join(&r.thread);
    ready_set_fini(&r.set);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_set_goes_round_in_order),
        cmocka_unit_test(test_additions_survive_removals),
        cmocka_unit_test(test_searches_see_what_others_are_taken_from),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
