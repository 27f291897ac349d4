/* Executors over vCPUs that only count: parking, waking, deadlines, taking over, exclusiveness, pauses, spare ones. */
#include "executor_rig.h"

static void test_executor_parks_and_wakes(void **state)
{
    struct fixture f = {0};

    (void)state;
    start(&f, 3, 1);
    for (unsigned i = 0; i < 3; i++)
        assert_true(eventually(&f.c[i].turns, 1));
    for (int round = 1; round <= 50; round++) {
        int before = atomic_load(&f.c[1].turns);
        atomic_store(&f.c[1].work, 2);
        vcpu_kick(&f.c[1].vcpu);
        assert_true(eventually(&f.c[1].turns, before + 2));
    }
    stop(&f);
}

/* Binding comes first, on the thread of each executor. */
static void test_executor_calls_on_start_once_before_any_turn(void **state)
{
    struct start_log log = {0};
    struct fixture f = {.log = &log};

    (void)state;
    log.fixture = &f;
    start(&f, 3, 3);
    for (unsigned i = 0; i < 3; i++)
        assert_true(eventually(&f.c[i].turns, 1));
    stop(&f);
    for (unsigned i = 0; i < 4; i++)
        assert_int_equal(atomic_load(&log.calls[i]), i < 3);
    assert_false(atomic_load(&log.late));
}

static void test_executor_honours_deadlines(void **state)
{
    struct fixture f = {0};

    (void)state;
    start(&f, 2, 1);
    assert_true(eventually(&f.c[0].turns, 1));
    vtime_t due = sim_clock_now(&f.sim->clock) + 3000000;
    atomic_store(&f.c[0].deadline, due);
    vcpu_kick(&f.c[0].vcpu); /* it parks again, with the deadline */
    for (uint64_t end = sim_host_ns() + 60000000000u;
         atomic_load(&f.c[0].deadline) != VTIME_NEVER && sim_host_ns() < end;)
        sim_thread_sleep(LOOK_NS);
    assert_true(atomic_load(&f.c[0].deadline) == VTIME_NEVER);
    assert_true(sim_clock_now(&f.sim->clock) >= due);
    stop(&f);
}

/* A deadline that wraps around when it becomes a time of the host must not keep the executor busy. */
static void test_executor_sleeps_until_a_deadline_beyond_the_host_clock(void **state)
{
    struct fixture f = {0};

    (void)state;
    start(&f, 2, 1);
    atomic_store(&f.c[0].deadline, VTIME_NEVER - 1000);
    vcpu_kick(&f.c[0].vcpu); /* it parks again, with the deadline */
    struct timespec pause = {.tv_nsec = 500000000};
    nanosleep(&pause, NULL);
    sim_request_end(f.sim, SIM_END_POWEROFF, 0);
    executor_group_stop(f.group);
    assert_true(executor_group_cpu_ns(f.group) < 20000000);
    stop(&f);
}

/* Threads that kick do not know when executors come and go (a guest's reset makes new ones). */
struct kicker {
    struct sim_thread thread;
    struct vcpu *vcpu;
    _Atomic bool end;
};

static void *kick_until_end(void *arg)
{
    struct kicker *k = arg;

    while (!atomic_load(&k->end))
        vcpu_kick(k->vcpu);
    return NULL;
}

static void test_executors_go_while_others_kick(void **state)
{
    struct fixture f = {0};
    struct kicker kicker[2] = {{.vcpu = &f.c[0].vcpu}, {.vcpu = &f.c[1].vcpu}};
    struct executor_config config = {.nr_threads = 2};

    (void)state;
    start(&f, 2, 2);
    for (unsigned i = 0; i < 2; i++)
        assert_int_equal(sim_thread_start(&kicker[i].thread, "kicker", kick_until_end, &kicker[i]),
                         SIM_OK);
    for (unsigned round = 0; round < 3000; round++) {
        if (round == 0)
            sim_request_end(f.sim, SIM_END_RESET, 0);
        executor_group_stop(f.group);
        executor_group_destroy(f.group);
        assert_int_equal(executor_group_create(f.sim, &config, &f.group), SIM_OK);
    }
    for (unsigned i = 0; i < 2; i++) {
        atomic_store(&kicker[i].end, true);
        sim_thread_join(&kicker[i].thread);
    }
    stop(&f);
}

static void test_executor_takes_over_waiting_vcpus(void **state)
{
    struct fixture f = {0};

    (void)state;
    /* vCPUs 0 and 2 start on executor 0; both compute, executor 1 has nothing else to do. */
    f.c[0].busy_host = f.c[2].busy_host = true;
    atomic_store(&f.c[0].work, 1 << 30);
    atomic_store(&f.c[2].work, 1 << 30);
    start(&f, 4, 2);
    bool moved = false;
    for (uint64_t end = sim_host_ns() + 60000000000u; !moved && sim_host_ns() < end;)
        moved = atomic_load(&f.c[0].vcpu.waker) != atomic_load(&f.c[2].vcpu.waker);
    assert_true(moved);
    stop(&f);
}

/* --- on several ranks: sleeping is napping where messages come --- */

static bool no_message(void *opaque)
{
    (void)opaque;
    return false;
}

/* The executor naps again until it is woken itself. */
static void nap(void *opaque, uint64_t max_ns)
{
    (void)opaque;
    sim_thread_sleep(max_ns < 100000 ? max_ns : 100000);
}

static void wake(void *opaque)
{
    (void)opaque;
}

static const struct sim_ranks_ops no_other_ranks = {.poll = no_message, .nap = nap, .wake = wake};

static void test_napping_executor_takes_over(void **state)
{
    struct fixture f = {.ranks = &no_other_ranks};

    (void)state;
    f.c[0].busy_host = f.c[2].busy_host = true;
    atomic_store(&f.c[0].work, 1 << 30);
    atomic_store(&f.c[2].work, 1 << 30);
    start(&f, 4, 2);
    bool moved = false;
    for (uint64_t end = sim_host_ns() + 60000000000u; !moved && sim_host_ns() < end;)
        moved = atomic_load(&f.c[0].vcpu.waker) != atomic_load(&f.c[2].vcpu.waker);
    assert_true(moved);
    stop(&f);
}

/* vCPUs may come later. */
static void test_ranks_have_the_executors_they_asked_for(void **state)
{
    struct fixture one_rank = {0}, ranks = {.ranks = &no_other_ranks};

    (void)state;
    start(&one_rank, 1, 3);
    assert_int_equal(executor_group_nr_threads(one_rank.group), 1);
    stop(&one_rank);
    start(&ranks, 1, 3);
    assert_int_equal(executor_group_nr_threads(ranks.group), 3);
    stop(&ranks);
}

/* From a run that ended with VCPU_EXIT_WAIT to the next. */
static void test_waits_are_timed(void **state)
{
    struct fixture f = {.ranks = &no_other_ranks};
    struct counter *c = &f.c[0];

    (void)state;
    atomic_store(&c->waits, true);
    start(&f, 1, 1);
    assert_true(eventually(&c->turns, 1));
    for (uint64_t end = sim_host_ns() + 5000000; sim_host_ns() < end;)
        sim_thread_yield();
    atomic_store(&c->waits, false);
    atomic_store(&c->work, 1);
    vcpu_kick(&c->vcpu);
    assert_true(eventually(&c->turns, 2));
    stop(&f);
    assert_in_range(c->vcpu.stats.wait_ns, 4000000, UINT64_MAX);
    assert_int_equal(c->vcpu.stats.parked_ns, 0);
}

static void test_executor_runs_exclusive_alone(void **state)
{
    struct fixture f = {0};

    (void)state;
    for (unsigned i = 0; i < 4; i++)
        atomic_store(&f.c[i].work, 1 << 30);
    start(&f, 4, 2);
    for (int round = 0; round < 200; round++) {
        struct counter *c = &f.c[round & 3];
        atomic_store(&c->was_exclusive, false);
        atomic_store(&c->want_exclusive, true);
        for (uint64_t end = sim_host_ns() + 60000000000u;
             !atomic_load(&c->was_exclusive) && sim_host_ns() < end;)
            sim_thread_yield();
        assert_true(atomic_load(&c->was_exclusive));
    }
    for (unsigned i = 0; i < 4; i++)
        assert_false(atomic_load(&f.c[i].overlapped));
    stop(&f);
}

static void test_executor_virtual_clock_jumps(void **state)
{
    struct fixture f = {0};

    (void)state;
    assert_int_equal(sim_create(&f.sim), SIM_OK);
    sim_clock_init(&f.sim->clock, SIM_CLOCK_VIRTUAL);
    f.c[0].vcpu.ops = &counter_ops;
    atomic_store(&f.c[0].deadline, 3600ull * 1000000000u); /* an hour of guest time */
    sim_add_vcpu(f.sim, &f.c[0].vcpu);
    struct executor_config config = {.nr_threads = 1, .budget = 1000};
    assert_int_equal(executor_group_create(f.sim, &config, &f.group), SIM_OK);
    assert_int_equal(executor_group_start(f.group), SIM_OK);
    for (uint64_t end = sim_host_ns() + 60000000000u;
         atomic_load(&f.c[0].deadline) != VTIME_NEVER && sim_host_ns() < end;)
        sim_thread_sleep(LOOK_NS);
    assert_true(atomic_load(&f.c[0].deadline) == VTIME_NEVER);
    assert_true(sim_clock_now(&f.sim->clock) >= 3600ull * 1000000000u);
    stop(&f);
}

static bool deadline_passes(struct counter *c)
{
    for (uint64_t end = sim_host_ns() + 60000000000u; atomic_load(&c->deadline) != VTIME_NEVER; sim_thread_yield())
        if (sim_host_ns() >= end)
            return false;
    return true;
}

/* The deadlines of many are honoured in their order, whoever was parked first. */
static void test_executor_honours_many_deadlines(void **state)
{
    struct fixture f = {0};

    (void)state;
    start(&f, 8, 1);
    for (unsigned i = 0; i < 8; i++)
        assert_true(eventually(&f.c[i].turns, 1));
    for (unsigned round = 0; round < 20; round++) {
        vtime_t now = sim_clock_now(&f.sim->clock);
        for (unsigned i = 0; i < 8; i++) {
            atomic_store(&f.c[i].deadline, now + 300000 + 100000 * (7 * i % 8 / 2)); /* pairs of equal ones */
            vcpu_kick(&f.c[i].vcpu);
        }
        for (unsigned i = 0; i < 8; i++)
            assert_true(deadline_passes(&f.c[i]));
    }
    stop(&f);
}

/* A sibling that looks whether a vCPU may be taken has its seat for a moment: the deadline is still there afterwards. */
static void test_deadline_outlives_a_look_by_a_sibling(void **state)
{
    struct fixture f = {0};

    (void)state;
    start(&f, 2, 1);
    for (unsigned i = 0; i < 2; i++)
        assert_true(eventually(&f.c[i].turns, 1));
    vtime_t due = sim_clock_now(&f.sim->clock) + 200000000;
    int before = atomic_load(&f.c[0].turns);
    atomic_store(&f.c[0].deadline, due);
    vcpu_kick(&f.c[0].vcpu); /* it parks again, with the deadline */
    assert_true(eventually(&f.c[0].turns, before + 1));
    while (!seat_take(f.group, 0)) /* until that turn is over */
        sim_thread_yield();
    before = atomic_load(&f.c[1].turns);
    vcpu_kick(&f.c[1].vcpu);
    assert_true(eventually(&f.c[1].turns, before + 1));
    while (!atomic_load(&f.group->ex[0].sleeping) && sim_clock_now(&f.sim->clock) < due)
        sim_thread_sleep(LOOK_NS); /* until it has looked for the first deadline */
    seat_leave(f.group, 0);
    assert_true(deadline_passes(&f.c[0]));
    assert_true(sim_clock_now(&f.sim->clock) >= due);
    stop(&f);
}

/* Whoever runs is found by those who must wait for it. */
static void test_running_vcpus_are_known(void **state)
{
    struct fixture f = {0};

    (void)state;
    for (unsigned i = 0; i < 4; i++) {
        f.c[i].busy_host = true;
        atomic_store(&f.c[i].work, INT32_MAX);
    }
    start(&f, 8, 2);
    bool seen[8] = {0};
    unsigned found = 0;
    for (uint64_t end = sim_host_ns() + 60000000000u; found < 4 && sim_host_ns() < end; sim_thread_yield()) {
        struct vcpu *v;
        unsigned nr = 0;
        for (uint32_t at = 0; (v = sim_next_running(f.sim, &at)); nr++) {
            found += !seen[v->index];
            seen[v->index] = true;
        }
        assert_in_range(nr, 0, 2);
    }
    assert_true(found >= 4);
    stop(&f);
}

static int all_turns(struct fixture *f)
{
    int sum = 0;

    for (unsigned i = 0; i < 4; i++)
        sum += atomic_load(&f->c[i].turns);
    return sum;
}

/* While paused nobody takes a turn, whatever happens; afterwards everything goes on. Also when it ends meanwhile. */
static void test_pause_holds_everybody(void **state)
{
    struct fixture f = {0};

    (void)state;
    for (unsigned i = 0; i < 4; i++)
        atomic_store(&f.c[i].work, INT32_MAX);
    start(&f, 4, 2);
    for (unsigned round = 0; round < 30; round++) {
        executor_group_pause(f.group);
        int before = all_turns(&f);
        vcpu_kick(&f.c[round % 4].vcpu);
        nanosleep(&(struct timespec){.tv_nsec = 300000}, NULL);
        assert_int_equal(all_turns(&f), before);
        assert_in_range(executor_group_cursor(f.group), 0, 3);
        executor_group_resume(f.group);
    }
    assert_true(eventually(&f.c[0].turns, atomic_load(&f.c[0].turns) + 1));
    executor_group_pause(f.group);
    sim_request_end(f.sim, SIM_END_USER, 0);
    executor_group_resume(f.group);
    executor_group_stop(f.group);
    executor_group_pause(f.group); /* nobody is left to wait for */
    executor_group_resume(f.group);
    executor_group_destroy(f.group);
    sim_destroy(f.sim);
}

/* --- spare executors --- */

static bool turns_of_spares(const struct fixture *f, uint64_t at_least)
{
    for (uint64_t end = sim_host_ns() + 60000000000u; executor_group_spare_turns(f->group) < at_least;) {
        if (sim_host_ns() >= end)
            return false;
        sim_thread_yield();
    }
    return true;
}

/* Those that do not work take no turn; told to, they take from those that are busy; told not to, all that they had goes on
 * elsewhere, also what is parked there and what is kicked meanwhile. Over and over. */
static void test_spare_executors_work_when_told(void **state)
{
    static const bool all[] = {true, true, true}, none[] = {true, false, false};
    struct fixture f = {.ranks = &no_other_ranks, .spares = 2};

    (void)state;
    for (unsigned i = 0; i < 3; i++) {
        f.c[i].busy_host = true;
        atomic_store(&f.c[i].work, INT32_MAX);
    }
    start(&f, 6, 1);
    assert_int_equal(executor_group_nr_threads(f.group), 1);
    for (unsigned i = 0; i < 6; i++)
        assert_true(eventually(&f.c[i].turns, 2 - (i > 2)));
    assert_int_equal(executor_group_spare_turns(f.group), 0);
    for (unsigned round = 0; round < 5; round++) {
        executor_group_set_works(f.group, all);
        assert_true(turns_of_spares(&f, executor_group_spare_turns(f.group) + 5));
        for (unsigned i = 3; i < 6; i++)
            vcpu_kick(&f.c[i].vcpu);
        executor_group_set_works(f.group, none);
        for (unsigned i = 0; i < 6; i++) { /* everybody still has turns */
            int before = atomic_load(&f.c[i].turns);
            vcpu_kick(&f.c[i].vcpu);
            assert_true(eventually(&f.c[i].turns, before + 1));
        }
        executor_group_pause(f.group); /* turns that had begun are over */
        executor_group_resume(f.group);
        uint64_t turns = executor_group_spare_turns(f.group);
        for (unsigned i = 0; i < 3; i++)
            assert_true(eventually(&f.c[i].turns, atomic_load(&f.c[i].turns) + 2));
        assert_int_equal(executor_group_spare_turns(f.group), turns);
    }
    stop(&f);
}

/* Some stand aside while others hand on to them: nothing stays with who sleeps, and none hands on to itself for ever. */
static void test_spare_executors_stand_aside_together(void **state)
{
    enum { SPARES = 7, ROUNDS = 300 };
    struct fixture f = {.ranks = &no_other_ranks, .spares = SPARES};
    bool works[SPARES + 1];

    (void)state;
    for (unsigned i = 0; i < NR_COUNTERS; i++)
        atomic_store(&f.c[i].work, INT32_MAX);
    start(&f, NR_COUNTERS, 1);
    for (unsigned round = 0; round < ROUNDS; round++) {
        for (unsigned i = 0; i <= SPARES; i++)
            works[i] = i == 0 || round % 2 == 0;
        executor_group_set_works(f.group, works);
        sim_thread_yield();
        if (round % 16 == 15) {
            executor_group_pause(f.group);
            executor_group_resume(f.group);
        }
    }
    for (unsigned i = 0; i < NR_COUNTERS; i++)
        assert_true(eventually(&f.c[i].turns, atomic_load(&f.c[i].turns) + 2));
    stop(&f);
}

/* Pauses, vCPUs that go and come, kicks and deadlines find their vCPU wherever it was handed on to. */
static void test_spare_executors_come_and_go_under_load(void **state)
{
    struct fixture f = {.ranks = &no_other_ranks, .spares = 2};

    (void)state;
    for (unsigned i = 0; i < 4; i++)
        atomic_store(&f.c[i].work, INT32_MAX);
    start(&f, 8, 2);
    for (unsigned round = 0; round < 100; round++) {
        const bool works[] = {true, !(round & 1), round & 2, round & 4};
        executor_group_set_works(f.group, works);
        struct counter *c = &f.c[round % 8];
        if (round % 3 == 0) {
            executor_group_pause(f.group);
            executor_group_remove(f.group, &c->vcpu);
            executor_group_add(f.group, &c->vcpu);
            executor_group_resume(f.group);
        }
        int before = atomic_load(&c->turns);
        if (round % 8 >= 4)
            atomic_store(&c->deadline, sim_clock_now(&f.sim->clock) + 100000);
        vcpu_kick(&c->vcpu);
        assert_true(eventually(&c->turns, before + 1));
        assert_true(deadline_passes(c));
    }
    executor_group_pause(f.group);
    sim_request_end(f.sim, SIM_END_USER, 0);
    executor_group_resume(f.group);
    stop(&f);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_executor_parks_and_wakes),
        cmocka_unit_test(test_executor_calls_on_start_once_before_any_turn),
        cmocka_unit_test(test_executor_honours_deadlines),
        cmocka_unit_test(test_executor_sleeps_until_a_deadline_beyond_the_host_clock),
        cmocka_unit_test(test_executors_go_while_others_kick),
        cmocka_unit_test(test_executor_takes_over_waiting_vcpus),
        cmocka_unit_test(test_napping_executor_takes_over),
        cmocka_unit_test(test_ranks_have_the_executors_they_asked_for),
        cmocka_unit_test(test_waits_are_timed),
        cmocka_unit_test(test_executor_runs_exclusive_alone),
        cmocka_unit_test(test_executor_virtual_clock_jumps),
        cmocka_unit_test(test_pause_holds_everybody),
        cmocka_unit_test(test_executor_honours_many_deadlines),
        cmocka_unit_test(test_deadline_outlives_a_look_by_a_sibling),
        cmocka_unit_test(test_running_vcpus_are_known),
        cmocka_unit_test(test_spare_executors_work_when_told),
        cmocka_unit_test(test_spare_executors_stand_aside_together),
        cmocka_unit_test(test_spare_executors_come_and_go_under_load),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
