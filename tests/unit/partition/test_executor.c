/* Executors over vCPUs that only count: turns, parking, waking, deadlines, taking over, exclusiveness. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <string.h>
#include <time.h>

#include "executor_priv.h"
#include "sim-core/alloc.h"

/* A vCPU that works for `work` turns, then idles until given more. */
struct counter {
    struct vcpu vcpu;
    _Atomic int work;
    _Atomic int turns;
    _Atomic bool want_exclusive, was_exclusive, overlapped;
    _Atomic uint64_t deadline;
    _Atomic bool waits; /* turns end with VCPU_EXIT_WAIT */
    bool keeps_deadline; /* though it is over */
    bool busy_host; /* each turn takes 1 ms of host time */
    _Atomic int section; /* turns that it is still in a section which others wait for */
    _Atomic bool had_small_budget;
    bool spins;     /* every turn is a look at something that has not come */
    struct watched *word; /* what a spinning one waits for; one that computes changes it now and then */
    struct order *order;  /* NULL: nobody wants to know */
    struct counter *kicks; /* in its third turn, or in each */
    bool kicks_always, uncounted /* instructions */;
};

/* A word that one vCPU changes and another waits for; both are run by one executor. */
struct watched {
    _Atomic uint32_t value;
    int changed_at;    /* turns of who changes it */
    uint32_t seen;     /* by the other */
    int latest;        /* turns from a change until the other saw it, at most */
};

/* Who had the first turns of one executor. */
struct order {
    _Atomic int nr;
    uint8_t index[1024];
};

enum { CHANGES_EVERY = 1000 };

static void change_or_see(struct counter *c)
{
    struct watched *w = c->word;
    int turns = atomic_load(&c->turns);

    if (!c->spins && turns % CHANGES_EVERY == 0) {
        w->changed_at = turns;
        atomic_fetch_add(&w->value, 1);
    } else if (c->spins && w->seen != atomic_load(&w->value)) {
        int late = atomic_load(&c->kicks->turns) - w->changed_at;
        w->seen = atomic_load(&w->value);
        w->latest = late > w->latest ? late : w->latest;
    }
    if (c->spins)
        c->vcpu.watch = (struct vcpu_watch){.word = &w->value, .value = w->seen, .size = 4};
}

static void note_turn(struct counter *c)
{
    int n = atomic_load(&c->order->nr);

    if (n < (int)sizeof c->order->index) {
        c->order->index[n] = (uint8_t)c->vcpu.index;
        atomic_store(&c->order->nr, n + 1);
    }
}

/* One that idles has something to do then. */
static void kick_other(struct counter *c)
{
    if (!c->kicks_always && atomic_load(&c->turns) != 3)
        return;
    if (atomic_load(&c->kicks->work) <= 0)
        atomic_store(&c->kicks->work, 1);
    vcpu_kick(&c->kicks->vcpu);
}

static _Atomic int in_guest;

static enum vcpu_exit counter_run(struct vcpu *v, uint64_t budget)
{
    struct counter *c = SIM_CONTAINER_OF(v, struct counter, vcpu);

    vcpu_enter(v);
    atomic_store(&v->kick, 0);
    atomic_fetch_add(&in_guest, 1);
    atomic_fetch_add(&c->turns, 1);
    if (c->word)
        change_or_see(c);
    if (c->order)
        note_turn(c);
    if (c->kicks && !c->word)
        kick_other(c);
    if (budget == 2000)
        atomic_store(&c->had_small_budget, true);
    if (atomic_load(&c->section) > 0)
        atomic_fetch_sub(&c->section, 1);
    v->stats.insns += c->uncounted ? 0 : c->spins ? 10 : budget;
    for (uint64_t end = sim_host_ns() + 1000000; c->busy_host && sim_host_ns() < end;)
        sim_cpu_relax();
    atomic_fetch_sub(&in_guest, 1);
    vcpu_leave(v);
    if (atomic_exchange(&c->want_exclusive, false))
        return VCPU_EXIT_EXCLUSIVE;
    if (!c->keeps_deadline && atomic_load(&c->deadline) <= sim_clock_now(&v->sim->clock))
        atomic_store(&c->deadline, VTIME_NEVER);
    if (atomic_load(&c->waits))
        return VCPU_EXIT_WAIT;
    if (atomic_load(&c->work) <= 0)
        return VCPU_EXIT_IDLE;
    atomic_fetch_sub(&c->work, 1);
    return c->spins ? VCPU_EXIT_YIELD : VCPU_EXIT_BUDGET;
}

static enum vcpu_exit counter_run_exclusive(struct vcpu *v)
{
    struct counter *c = SIM_CONTAINER_OF(v, struct counter, vcpu);

    if (atomic_load(&in_guest) != 0)
        atomic_store(&c->overlapped, true);
    atomic_store(&c->was_exclusive, true);
    return VCPU_EXIT_BUDGET;
}

static bool counter_has_work(struct vcpu *v)
{
    return atomic_load(&SIM_CONTAINER_OF(v, struct counter, vcpu)->work) > 0;
}

static vtime_t counter_deadline(struct vcpu *v)
{
    return atomic_load(&SIM_CONTAINER_OF(v, struct counter, vcpu)->deadline);
}

static bool counter_may_hold_lock(struct vcpu *v)
{
    return atomic_load(&SIM_CONTAINER_OF(v, struct counter, vcpu)->section) > 0;
}

static const struct vcpu_ops counter_ops = {.name = "counter",
                                            .may_hold_lock = counter_may_hold_lock,
                                            .run = counter_run,
                                            .run_exclusive = counter_run_exclusive,
                                            .has_work = counter_has_work,
                                            .deadline = counter_deadline};

enum { NR_COUNTERS = 32 };

struct fixture {
    const struct sim_ranks_ops *ranks; /* NULL: one rank */
    struct sim *sim;
    struct counter c[NR_COUNTERS];
    struct executor_group *group;
    struct start_log *log;
    unsigned spares;
};

/* What on_start was told. */
struct start_log {
    struct fixture *fixture;
    _Atomic int calls[4];
    _Atomic bool late; /* a vCPU had a turn before */
};

static void log_start(void *opaque, unsigned executor)
{
    struct start_log *log = opaque;

    atomic_fetch_add(&log->calls[executor], 1);
    if (atomic_load(&log->fixture->c[executor].turns) != 0)
        atomic_store(&log->late, true);
}

static void create(struct fixture *f, unsigned harts, unsigned threads)
{
    struct executor_config config = {.nr_threads = threads,
                                     .nr_spare = f->spares,
                                     .budget = 1000,
                                     .on_start = f->log ? log_start : NULL,
                                     .on_start_opaque = f->log};

    assert_int_equal(sim_create(&f->sim), SIM_OK);
    f->sim->ranks = f->ranks;
    f->sim->ranks_opaque = f;
    for (unsigned i = 0; i < harts; i++) {
        f->c[i].vcpu.ops = &counter_ops;
        atomic_store(&f->c[i].deadline, VTIME_NEVER);
        sim_add_vcpu(f->sim, &f->c[i].vcpu);
    }
    assert_int_equal(executor_group_create(f->sim, &config, &f->group), SIM_OK);
}

static void start(struct fixture *f, unsigned harts, unsigned threads)
{
    create(f, harts, threads);
    assert_int_equal(executor_group_start(f->group), SIM_OK);
}

static void stop(struct fixture *f)
{
    sim_request_end(f->sim, SIM_END_POWEROFF, 0);
    executor_group_stop(f->group);
    executor_group_destroy(f->group);
    sim_destroy(f->sim);
}

enum { LOOK_NS = 20000 }; /* between two looks: whoever is waited for may need the core */

static bool eventually(_Atomic int *value, int at_least)
{
    for (uint64_t end = sim_host_ns() + 60000000000u; sim_host_ns() < end;) {
        if (atomic_load(value) >= at_least)
            return true;
        sim_thread_sleep(LOOK_NS);
    }
    return false;
}

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
    for (uint64_t end = sim_host_ns() + 10000000000u;
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
    for (uint64_t end = sim_host_ns() + 10000000000u; !moved && sim_host_ns() < end;)
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
    for (uint64_t end = sim_host_ns() + 10000000000u; !moved && sim_host_ns() < end;)
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
        for (uint64_t end = sim_host_ns() + 10000000000u;
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
    for (uint64_t end = sim_host_ns() + 10000000000u;
         atomic_load(&f.c[0].deadline) != VTIME_NEVER && sim_host_ns() < end;)
        sim_thread_sleep(LOOK_NS);
    assert_true(atomic_load(&f.c[0].deadline) == VTIME_NEVER);
    assert_true(sim_clock_now(&f.sim->clock) >= 3600ull * 1000000000u);
    stop(&f);
}

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

static bool deadline_passes(struct counter *c)
{
    for (uint64_t end = sim_host_ns() + 10000000000u; atomic_load(&c->deadline) != VTIME_NEVER; sim_thread_yield())
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
    for (uint64_t end = sim_host_ns() + 10000000000u; found < 4 && sim_host_ns() < end; sim_thread_yield()) {
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
    for (uint64_t end = sim_host_ns() + 10000000000u; executor_group_spare_turns(f->group) < at_least;) {
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
        cmocka_unit_test(test_executor_lets_spinning_vcpus_rest),
        cmocka_unit_test(test_executor_asks_a_spinning_vcpu_when_its_word_changes),
        cmocka_unit_test(test_executor_sleeps_while_all_wait_for_words),
        cmocka_unit_test(test_executor_goes_on_with_an_interrupted_turn),
        cmocka_unit_test(test_executor_looks_again_after_a_word_has_come),
        cmocka_unit_test(test_looks_before_a_sleep_are_as_long_as_the_last_wait),
        cmocka_unit_test(test_budgets_of_fast_code_are_larger),
        cmocka_unit_test(test_timer_ends_a_rest),
        cmocka_unit_test(test_kicks_give_no_more_than_a_fair_share),
        cmocka_unit_test(test_kicks_give_no_more_than_a_fair_share_of_time),
        cmocka_unit_test(test_interrupted_turn_is_no_longer_than_another),
        cmocka_unit_test(test_executor_honours_many_deadlines),
        cmocka_unit_test(test_running_vcpus_are_known),
        cmocka_unit_test(test_executor_ends_turns_outside_of_sections),
        cmocka_unit_test(test_spare_executors_work_when_told),
        cmocka_unit_test(test_spare_executors_stand_aside_together),
        cmocka_unit_test(test_spare_executors_come_and_go_under_load),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
