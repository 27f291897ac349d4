/* Locks, condition variables, threads, and the check of the lock order. */
#include "sim_test.h"

#include <pthread.h>
#include <signal.h>

#include "sim-core/lock.h"
#include "sim-core/log.h"

enum { THREADS = 4, ROUNDS = 20000 };

struct shared {
    struct sim_mutex lock;
    struct sim_cond cond;
    unsigned long count;
    bool go;
};

static void *count_up(void *arg)
{
    struct shared *s = arg;

    sim_mutex_lock(&s->lock);
    while (!s->go)
        sim_cond_wait(&s->cond, &s->lock);
    sim_mutex_unlock(&s->lock);
    for (int i = 0; i < ROUNDS; i++) {
        sim_mutex_lock(&s->lock);
        s->count++;
        sim_mutex_unlock(&s->lock);
    }
    return NULL;
}

static void test_mutex_and_broadcast(void **state)
{
    struct shared s = {0};
    struct sim_thread t[THREADS] = {0};

    (void)state;
    sim_mutex_init(&s.lock, SIM_RANK_LEAF);
    sim_cond_init(&s.cond);
    for (int i = 0; i < THREADS; i++)
        assert_int_equal(sim_thread_start(&t[i], "count", count_up, &s), SIM_OK);
    sim_mutex_lock(&s.lock);
    s.go = true;
    sim_cond_broadcast(&s.cond);
    sim_mutex_unlock(&s.lock);
    for (int i = 0; i < THREADS; i++) {
        sim_thread_join(&t[i]);
        sim_thread_join(&t[i]); /* a second join does nothing */
    }
    assert_int_equal(s.count, THREADS * ROUNDS);
    sim_cond_fini(&s.cond);
    sim_mutex_fini(&s.lock);
}

static void test_wait_until_times_out(void **state)
{
    struct shared s = {0};
    uint64_t deadline;

    (void)state;
    sim_mutex_init(&s.lock, SIM_RANK_LEAF);
    sim_cond_init(&s.cond);
    sim_mutex_lock(&s.lock);
    deadline = sim_host_ns() + 3000000;
    while (sim_cond_wait_until(&s.cond, &s.lock, deadline))
        ;
    assert_true(sim_host_ns() >= deadline);
    assert_false(sim_cond_wait_until(&s.cond, &s.lock, 1));
    sim_mutex_unlock(&s.lock);
    sim_cond_fini(&s.cond);
    sim_mutex_fini(&s.lock);
}

static void *try_lock(void *arg)
{
    struct shared *s = arg;

    if (sim_mutex_trylock(&s->lock)) {
        s->count++;
        sim_mutex_unlock(&s->lock);
    }
    return NULL;
}

static void test_trylock(void **state)
{
    struct shared s = {0};
    struct sim_thread t = {0};

    (void)state;
    sim_mutex_init(&s.lock, SIM_RANK_LEAF);
    sim_mutex_lock(&s.lock);
    assert_int_equal(sim_thread_start(&t, "try", try_lock, &s), SIM_OK);
    sim_thread_join(&t);
    assert_int_equal(s.count, 0);
    sim_mutex_unlock(&s.lock);
    assert_int_equal(sim_thread_start(&t, "try", try_lock, &s), SIM_OK);
    sim_thread_join(&t);
    assert_int_equal(s.count, 1);
    sim_mutex_fini(&s.lock);
}

static struct sim_mutex low, high;

static void init_two(void)
{
    sim_mutex_init(&low, SIM_RANK_DEVICE);
    sim_mutex_init(&high, SIM_RANK_IRQCHIP);
}

static void take_in_order(void)
{
    init_two();
    sim_mutex_lock(&low);
    sim_mutex_lock(&high);
    sim_mutex_unlock(&low); /* any order of release */
    sim_mutex_unlock(&high);
    sim_mutex_lock(&low);
    sim_mutex_unlock(&low);
}

static void take_out_of_order(void)
{
    init_two();
    sim_mutex_lock(&high);
    sim_mutex_lock(&low);
}

static void take_twice(void)
{
    init_two();
    sim_mutex_lock(&low);
    sim_mutex_lock(&low);
}

static void release_what_is_free(void)
{
    init_two();
    sim_mutex_unlock(&low);
}

static void test_lock_order_is_checked(void **state)
{
    (void)state;
    assert_int_equal(exit_code_of(take_in_order), 0);
#ifndef NDEBUG
    assert_int_equal(exit_code_of(take_out_of_order), 70);
    assert_int_equal(exit_code_of(take_twice), 70);
    assert_int_equal(exit_code_of(release_what_is_free), 70);
#endif
}

static void *get_mask(void *arg)
{
    pthread_sigmask(SIG_SETMASK, NULL, arg);
    return NULL;
}

/* Signals belong to the launch thread; faults of our own stay deliverable. */
static void test_threads_block_signals(void **state)
{
    struct sim_thread t = {0};
    sigset_t mask, own;

    (void)state;
    assert_int_equal(sim_thread_start(&t, "mask", get_mask, &mask), SIM_OK);
    sim_thread_join(&t);
    assert_true(sigismember(&mask, SIGINT));
    assert_true(sigismember(&mask, SIGPIPE));
    assert_false(sigismember(&mask, SIGSEGV));
    pthread_sigmask(SIG_SETMASK, NULL, &own);
    assert_false(sigismember(&own, SIGINT));
}

/* A thread's stack is ours to choose: the user's limit may be tiny. */
static void *measure_stack(void *arg)
{
    pthread_attr_t attr;

    if (pthread_getattr_np(pthread_self(), &attr) == 0) {
        pthread_attr_getstacksize(&attr, arg);
        pthread_attr_destroy(&attr);
    }
    return NULL;
}

static void test_threads_have_a_stack_of_2_mib(void **state)
{
    struct sim_thread t = {0};
    size_t size = 0;

    (void)state;
    assert_int_equal(sim_thread_start(&t, "stack", measure_stack, &size), SIM_OK);
    sim_thread_join(&t);
    assert_int_equal(size, 2 << 20);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_mutex_and_broadcast),
        cmocka_unit_test(test_wait_until_times_out),
        cmocka_unit_test(test_trylock),
        cmocka_unit_test(test_lock_order_is_checked),
        cmocka_unit_test(test_threads_block_signals),
        cmocka_unit_test(test_threads_have_a_stack_of_2_mib),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
