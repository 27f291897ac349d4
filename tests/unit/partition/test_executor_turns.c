/* Whose turn it is, and for how long: those that spin, those that are kicked, sections, budgets. */
#include <pthread.h>

#include "executor_rig.h"

/* Those that spin are seldom asked while one computes, at once when they are kicked, and all the time when nobody
 * else has anything to do. */
static void test_executor_lets_spinning_vcpus_rest(void **state)
{
    struct fixture f = {0};

    (void)state;
    for (unsigned i = 0; i < 4; i++) {
        f.c[i].spins = i > 0;
        atomic_store(&f.c[i].work, INT32_MAX);
    }
    start(&f, 4, 1);
    assert_true(eventually(&f.c[0].turns, 2000));
    for (unsigned i = 1; i < 4; i++) {
        assert_true(eventually(&f.c[i].turns, 5)); /* but they are */
        assert_true(atomic_load(&f.c[i].turns) < atomic_load(&f.c[0].turns) / 4);
    }
    for (unsigned round = 0; round < 200; round++) {
        int before = atomic_load(&f.c[2].turns);
        vcpu_kick(&f.c[2].vcpu);
        assert_true(eventually(&f.c[2].turns, before + 1));
    }
    atomic_store(&f.c[0].work, 0);
    int before = atomic_load(&f.c[3].turns);
    assert_true(eventually(&f.c[3].turns, before + 100));
    stop(&f);
}

/* It is known what vCPU 1 waits for: it has a turn as soon as that has come, and hardly any besides. */
static void test_executor_asks_a_spinning_vcpu_when_its_word_changes(void **state)
{
    struct fixture f = {0};
    struct watched word = {0};

    (void)state;
    f.c[1].spins = true;
    f.c[1].kicks = &f.c[0]; /* the one that changes it */
    for (unsigned i = 0; i < 2; i++) {
        f.c[i].word = &word;
        atomic_store(&f.c[i].work, INT32_MAX);
    }
    start(&f, 2, 1);
    assert_true(eventually(&f.c[0].turns, 20 * CHANGES_EVERY));
    stop(&f);
    assert_in_range(word.seen, 19, UINT32_MAX);
    assert_in_range(word.latest, 0, 1);
    assert_true(atomic_load(&f.c[1].turns) < atomic_load(&f.c[0].turns) / 64);
}

/* Nobody else is there: the executor sleeps, looks now and then, and asks after a while without a change as well. */
static void test_executor_sleeps_while_all_wait_for_words(void **state)
{
    struct fixture f = {0};
    struct watched word = {0};

    (void)state;
    f.c[0].spins = true;
    f.c[0].kicks = &f.c[0];
    f.c[0].word = &word;
    atomic_store(&f.c[0].work, INT32_MAX);
    start(&f, 1, 1);
    for (unsigned round = 0; round < 20; round++) {
        int before = atomic_load(&f.c[0].turns);
        assert_true(eventually(&f.c[0].turns, before + 2));
    }
    assert_int_equal(word.seen, 0);
    uint64_t begin_ns = sim_host_ns();
    struct timespec pause = {.tv_nsec = 300000000};
    nanosleep(&pause, NULL);
    sim_request_end(f.sim, SIM_END_POWEROFF, 0);
    executor_group_stop(f.group);
    assert_true(executor_group_cpu_ns(f.group) < (sim_host_ns() - begin_ns) / 2);
    stop(&f);
}

/* vCPU 2 is kicked in the turn of vCPU 0, which then goes on before vCPU 1 has its own. */
static void test_executor_goes_on_with_an_interrupted_turn(void **state)
{
    struct fixture f = {0};
    struct order order = {0};
    int zeros = 0, twos = 0;

    (void)state;
    for (unsigned i = 0; i < 3; i++) {
        f.c[i].order = &order;
        atomic_store(&f.c[i].work, i < 2 ? INT32_MAX : 0);
    }
    f.c[0].kicks = &f.c[2];
    start(&f, 3, 1);
    assert_true(eventually(&order.nr, sizeof order.index));
    stop(&f);
    const uint8_t *first = memchr(order.index, 0, sizeof order.index);
    assert_non_null(first);
    for (; first < order.index + sizeof order.index && *first != 1; first++) {
        zeros += *first == 0;
        twos += *first == 2;
    }
    assert_int_equal(twos, 2); /* one to work, one to see that nothing is left */
    assert_in_range(zeros, 8, 128); /* or as many as there is time for */
}

/* --- an executor without a thread: the test takes its turns --- */

static void take_turns(struct fixture *f, unsigned nr)
{
    while (nr--) {
        struct vcpu *v = executor_pick(&f->group->ex[0]);
        assert_non_null(v);
        executor_turn(&f->group->ex[0], v);
    }
}

/* vCPU 0 waits for a word, and rests. */
static struct executor *create_waiting(struct fixture *f, struct watched *word)
{
    f->c[0].spins = true;
    f->c[0].kicks = &f->c[0];
    f->c[0].word = word;
    atomic_store(&f->c[0].work, INT32_MAX);
    create(f, 1, 1);
    take_turns(f, 1);
    assert_null(executor_pick(&f->group->ex[0]));
    return &f->group->ex[0];
}

struct changer {
    struct watched *word;
    _Atomic bool enough;
};

static void *change_all_the_time(void *arg)
{
    struct changer *c = arg;

    while (!atomic_load(&c->enough))
        atomic_fetch_add(&c->word->value, 1);
    return NULL;
}

/* Another executor may have what vCPU 0 waits for: its turn is held, mostly in vain, so not each time; once it has come, each
 * time again. */
static void test_turns_are_held_where_that_helps(void **state)
{
    struct fixture f = {0};
    struct watched word = {0};
    struct changer changer = {.word = &word};
    pthread_t thread;

    (void)state;
    f.c[0].spins = true;
    f.c[0].kicks = &f.c[0];
    f.c[0].word = &word;
    atomic_store(&f.c[0].work, INT32_MAX);
    create(&f, 2, 2);
    struct executor *ex = &f.group->ex[0];
    for (unsigned turn = 1; turn <= 8 + 7; turn++) {
        vcpu_kick(&f.c[0].vcpu);
        take_turns(&f, 1);
        assert_int_equal(ex->vain, turn);
    }
    vcpu_kick(&f.c[0].vcpu);
    take_turns(&f, 1);
    assert_int_equal(ex->vain, 8 + 7 + 2); /* and another one in vain */

    assert_int_equal(pthread_create(&thread, NULL, change_all_the_time, &changer), 0);
    while (ex->vain) {
        vcpu_kick(&f.c[0].vcpu);
        take_turns(&f, 1);
    }
    atomic_store(&changer.enough, true);
    pthread_join(thread, NULL);

    vcpu_kick(&f.c[0].vcpu);
    struct vcpu *v = executor_pick(ex);
    assert_ptr_equal(v, &f.c[0].vcpu);
    ready_set_add(&ex->urgent, 1); /* somebody else presses: the turn ends, and nothing is known about waiting */
    word.seen = atomic_load(&word.value);
    executor_turn(ex, v);
    assert_int_equal(ex->vain, 0);
    stop(&f);
}

/* However long it slept before: after the word has come it looks for the next change before it sleeps. */
static void test_executor_looks_again_after_a_word_has_come(void **state)
{
    struct fixture f = {0};
    struct watched word = {0};
    struct executor *ex = create_waiting(&f, &word);

    (void)state;
    for (unsigned round = 1; round <= 3; round++) {
        while (ex->rest_ns < 200000)
            executor_watch_resting(ex);
        for (unsigned change = 0; change < 2; change++) {
            atomic_fetch_add(&word.value, 1);
            take_turns(&f, 1);
            assert_int_equal(word.seen, atomic_load(&word.value));
            assert_null(executor_pick(ex));
            assert_int_equal(ex->rest_ns, 0);
        }
        atomic_fetch_add(&word.value, 1);
        executor_watch_resting(ex);
        assert_int_equal(ex->rest_ns, 0); /* seen without a sleep */
        take_turns(&f, 1);
        assert_null(executor_pick(ex));
    }
    stop(&f);
}

/* It looks as long as would have spared the last sleep; not for long where that would not have helped. */
static void test_looks_before_a_sleep_are_as_long_as_the_last_wait(void **state)
{
    (void)state;
    assert_int_equal(executor_fit_rest_spin(REST_SPIN_NS, 1000), REST_SPIN_NS);
    assert_int_equal(executor_fit_rest_spin(200000, 1000), REST_SPIN_NS);
    assert_int_equal(executor_fit_rest_spin(REST_SPIN_NS, 70000), 140000);
    assert_int_equal(executor_fit_rest_spin(REST_SPIN_NS, 150000), 200000);
    assert_int_equal(executor_fit_rest_spin(200000, 1000000), 100000);
    assert_int_equal(executor_fit_rest_spin(60000, UINT64_MAX), REST_SPIN_NS);
}

static void test_budgets_of_fast_code_are_larger(void **state)
{
    (void)state;
    assert_int_equal(executor_fit_budget(1000, 1000, BUDGET_NS / 2), 2000);
    assert_int_equal(executor_fit_budget(1000, 2000, BUDGET_NS), 2000);
    assert_int_equal(executor_fit_budget(1000, 2000, 3 * BUDGET_NS), 1000);
    assert_int_equal(executor_fit_budget(1000, 1000, 1), 4000);
    assert_int_equal(executor_fit_budget(1000, 1000, 0), 4000);
}

/* It goes on when its timer is due, long before it is asked without reason; one that was due before is no reason. */
static void test_timer_ends_a_rest(void **state)
{
    struct fixture f = {0};
    struct watched word = {0};
    struct executor *ex = create_waiting(&f, &word);
    struct vcpu *v;
    vtime_t due;

    (void)state;
    do { /* until it has not passed in the turn already */
        due = sim_clock_now(&f.sim->clock) + 2000000;
        atomic_store(&f.c[0].deadline, due);
        vcpu_kick(&f.c[0].vcpu);
        take_turns(&f, 1);
    } while (atomic_load(&f.c[0].deadline) != due);
    atomic_store(&ex->woken, false); /* by the kick */
    while (!(v = executor_pick(ex)))
        executor_watch_resting(ex);
    assert_true(sim_clock_now(&f.sim->clock) >= due);
    assert_in_range(ex->since_all, 1, 127); /* begins anew when all are asked */
    executor_turn(ex, v);
    f.c[0].keeps_deadline = true;
    atomic_store(&f.c[0].deadline, due);
    vcpu_kick(&f.c[0].vcpu);
    take_turns(&f, 1);
    assert_null(executor_pick(ex));
    stop(&f);
}

/* Of two that compute, vCPU 0 kicks the other in each of its turns. */
static void create_kicking(struct fixture *f)
{
    atomic_store(&f->c[0].work, INT32_MAX);
    atomic_store(&f->c[1].work, INT32_MAX);
    f->c[0].kicks = &f->c[1];
    f->c[0].kicks_always = true;
    create(f, 2, 1);
}

static void test_kicks_give_no_more_than_a_fair_share(void **state)
{
    struct fixture f = {0};

    (void)state;
    create_kicking(&f);
    take_turns(&f, 10000);
    assert_true(atomic_load(&f.c[1].turns) < 4 * atomic_load(&f.c[0].turns));
    stop(&f);
}

/* Nobody counts their instructions; budgets of the one that is kicked take 1 ms, of the other hardly anything. */
static void test_kicks_give_no_more_than_a_fair_share_of_time(void **state)
{
    struct fixture f = {0};

    (void)state;
    f.c[0].uncounted = f.c[1].uncounted = f.c[1].busy_host = true;
    create_kicking(&f);
    while (atomic_load(&f.c[0].turns) < 700)
        take_turns(&f, 1);
    assert_true(atomic_load(&f.c[1].turns) < atomic_load(&f.c[0].turns) / 2);
    stop(&f);
}

/* vCPU 2 interrupts each budget of vCPU 0, of 1 ms: vCPU 1 has its turn after as many as if there had been no interruption. */
static void test_interrupted_turn_is_no_longer_than_another(void **state)
{
    struct fixture f = {0};

    (void)state;
    for (unsigned i = 0; i < 2; i++) {
        f.c[i].busy_host = true;
        atomic_store(&f.c[i].work, INT32_MAX);
    }
    f.c[0].kicks = &f.c[2];
    f.c[0].kicks_always = true;
    create(&f, 3, 1);
    while (!atomic_load(&f.c[0].turns))
        take_turns(&f, 1);
    int ones = atomic_load(&f.c[1].turns), before = atomic_load(&f.c[0].turns) - 1;
    while (atomic_load(&f.c[1].turns) == ones)
        take_turns(&f, 1);
    assert_true(atomic_load(&f.c[2].turns) > 4);
    assert_int_equal(atomic_load(&f.c[0].turns) - before, 8);
    stop(&f);
}

/* Nobody else has a turn until the section is left; but one that never is left does not keep others away. */
static void test_executor_ends_turns_outside_of_sections(void **state)
{
    struct fixture f = {0};

    (void)state;
    atomic_store(&f.c[0].work, INT32_MAX);
    atomic_store(&f.c[1].work, INT32_MAX);
    start(&f, 2, 1);
    for (unsigned round = 0; round < 50; round++) {
        executor_group_pause(f.group);
        atomic_store(&f.c[0].section, 150); /* up to 128 budgets of its turn and 8 small ones are less */
        int before = atomic_load(&f.c[1].turns);
        executor_group_resume(f.group);
        assert_true(eventually(&f.c[1].turns, before + 1));
    }
    for (uint64_t end = sim_host_ns() + 30000000000u;
         !atomic_load(&f.c[0].had_small_budget) && sim_host_ns() < end; sim_thread_yield())
        atomic_store(&f.c[0].section, 12);
    assert_true(atomic_load(&f.c[0].had_small_budget));
    stop(&f);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_executor_lets_spinning_vcpus_rest),
        cmocka_unit_test(test_executor_asks_a_spinning_vcpu_when_its_word_changes),
        cmocka_unit_test(test_executor_sleeps_while_all_wait_for_words),
        cmocka_unit_test(test_executor_goes_on_with_an_interrupted_turn),
        cmocka_unit_test(test_turns_are_held_where_that_helps),
        cmocka_unit_test(test_executor_looks_again_after_a_word_has_come),
        cmocka_unit_test(test_looks_before_a_sleep_are_as_long_as_the_last_wait),
        cmocka_unit_test(test_budgets_of_fast_code_are_larger),
        cmocka_unit_test(test_timer_ends_a_rest),
        cmocka_unit_test(test_kicks_give_no_more_than_a_fair_share),
        cmocka_unit_test(test_kicks_give_no_more_than_a_fair_share_of_time),
        cmocka_unit_test(test_interrupted_turn_is_no_longer_than_another),
        cmocka_unit_test(test_executor_ends_turns_outside_of_sections),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
