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

enum { ROUNDS = 20000 };

static void *add_in_rounds(void *arg)
{
    struct race *r = arg;

    for (uint32_t round = 1; round <= ROUNDS; round++) {
        for (unsigned spins = 0; atomic_load(&r->round) != round;)
            spins++ < 1000 ? sim_cpu_relax() : sim_thread_yield();
        ready_set_add(&r->set, 7);
        atomic_store(&r->added, round);
    }
    return NULL;
}

/* One is added while the only other one of its word is removed: it is found, whatever came first. */
static void test_additions_survive_removals(void **state)
{
    struct race r = {0};

    (void)state;
    ready_set_init(&r.set, 64);
    assert_int_equal(sim_thread_start(&r.thread, "adder", add_in_rounds, &r), SIM_OK);
    for (uint32_t round = 1; round <= ROUNDS; round++) {
        ready_set_add(&r.set, 5);
        atomic_store(&r.round, round);
        ready_set_remove(&r.set, 5);
        for (unsigned spins = 0; atomic_load(&r.added) != round;)
            spins++ < 1000 ? sim_cpu_relax() : sim_thread_yield();
        assert_int_equal(ready_set_next(&r.set, READY_NONE), 7);
        ready_set_remove(&r.set, 7);
    }
    sim_thread_join(&r.thread);
    ready_set_fini(&r.set);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_set_goes_round_in_order),
        cmocka_unit_test(test_additions_survive_removals),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
