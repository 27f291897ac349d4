/* Threads and locks; debug builds check the lock order declared in lock.h. */
#include "sim-core/lock.h"

#include <errno.h>
#include <limits.h>
#include <linux/futex.h>
#include <sched.h>
#include <signal.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include "sim-core/alloc.h"
#include "sim-core/log.h"

/* Not the user's `ulimit -s`, which may be tiny or huge. */
enum { THREAD_STACK_BYTES = 2 << 20 };

#ifndef NDEBUG
enum { MAX_HELD = 16 };
static _Thread_local const struct sim_mutex *held[MAX_HELD];
static _Thread_local unsigned nr_held;

static void held_push(const struct sim_mutex *m)
{
    SIM_BUG_ON(nr_held == MAX_HELD, "a thread holds %u locks", nr_held);
    held[nr_held++] = m;
}

static void held_check(const struct sim_mutex *m)
{
    for (unsigned i = 0; i < nr_held; i++)
        SIM_BUG_ON(held[i]->rank >= m->rank, "lock order: rank %d taken while holding rank %d",
                   m->rank, held[i]->rank);
}

static void held_pop(const struct sim_mutex *m)
{
    for (unsigned i = nr_held; i-- > 0;) {
        if (held[i] == m) {
            memmove(&held[i], &held[i + 1], (nr_held - i - 1) * sizeof held[0]);
            nr_held--;
            return;
        }
    }
    SIM_BUG_ON(true, "unlock of a mutex (rank %d) that this thread does not hold", m->rank);
}
#else
static void held_push(const struct sim_mutex *m) { (void)m; }
static void held_check(const struct sim_mutex *m) { (void)m; }
static void held_pop(const struct sim_mutex *m) { (void)m; }
#endif

void sim_mutex_init(struct sim_mutex *m, enum sim_lock_rank rank)
{
    pthread_mutex_init(&m->m, NULL);
    m->rank = rank;
}

void sim_mutex_fini(struct sim_mutex *m)
{
    pthread_mutex_destroy(&m->m);
}

void sim_mutex_lock(struct sim_mutex *m)
{
    held_check(m);
    pthread_mutex_lock(&m->m);
    held_push(m);
}

bool sim_mutex_trylock(struct sim_mutex *m)
{
    if (pthread_mutex_trylock(&m->m))
        return false;
    held_push(m);
    return true;
}

void sim_mutex_unlock(struct sim_mutex *m)
{
    held_pop(m);
    pthread_mutex_unlock(&m->m);
}

void sim_cond_init(struct sim_cond *c)
{
    pthread_condattr_t attr;

    pthread_condattr_init(&attr);
    pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
    pthread_cond_init(&c->c, &attr);
    pthread_condattr_destroy(&attr);
}

void sim_cond_fini(struct sim_cond *c)
{
    pthread_cond_destroy(&c->c);
}

void sim_cond_wait(struct sim_cond *c, struct sim_mutex *m)
{
    pthread_cond_wait(&c->c, &m->m);
}

static struct timespec timespec_of(uint64_t ns)
{
    return (struct timespec){.tv_sec = (time_t)(ns / 1000000000u),
                             .tv_nsec = (long)(ns % 1000000000u)};
}

bool sim_cond_wait_until(struct sim_cond *c, struct sim_mutex *m, uint64_t deadline_ns)
{
    struct timespec ts = timespec_of(deadline_ns);

    return pthread_cond_timedwait(&c->c, &m->m, &ts) != ETIMEDOUT;
}

void sim_cond_signal(struct sim_cond *c)
{
    pthread_cond_signal(&c->c);
}

void sim_cond_broadcast(struct sim_cond *c)
{
    pthread_cond_broadcast(&c->c);
}

/* Not FUTEX_PRIVATE: the other end may be another process. WAIT_BITSET takes a point in time. */
void sim_word_wait(_Atomic uint32_t *word, uint32_t expected, uint64_t deadline_ns)
{
    struct timespec ts = timespec_of(deadline_ns);

    syscall(SYS_futex, word, FUTEX_WAIT_BITSET, expected, &ts, NULL, FUTEX_BITSET_MATCH_ANY);
}

void sim_word_wake(_Atomic uint32_t *word)
{
    syscall(SYS_futex, word, FUTEX_WAKE, INT_MAX, NULL, NULL, 0);
}

enum sim_status sim_thread_start(struct sim_thread *t, const char *name, void *(*fn)(void *),
                                 void *arg)
{
    sigset_t all, old;

    sigfillset(&all);
    /* Faults of our own must stay deliverable. */
    sigdelset(&all, SIGSEGV);
    sigdelset(&all, SIGBUS);
    sigdelset(&all, SIGILL);
    sigdelset(&all, SIGFPE);
    sigdelset(&all, SIGABRT);
    pthread_attr_t attr;
    pthread_attr_init(&attr);
    pthread_attr_setstacksize(&attr, THREAD_STACK_BYTES);
    pthread_sigmask(SIG_SETMASK, &all, &old);
    int err = pthread_create(&t->t, &attr, fn, arg);
    pthread_sigmask(SIG_SETMASK, &old, NULL);
    pthread_attr_destroy(&attr);
    if (err) {
        errno = err;
        sim_error("cannot start thread %s: %m", name);
        return SIM_ERR_NOMEM;
    }
    t->started = true;
    pthread_setname_np(t->t, name);
    return SIM_OK;
}

void sim_thread_join(struct sim_thread *t)
{
    if (!t->started)
        return;
    pthread_join(t->t, NULL);
    t->started = false;
}

static uint64_t clock_ns(clockid_t id)
{
    struct timespec ts;

    clock_gettime(id, &ts);
    return (uint64_t)ts.tv_sec * 1000000000u + (uint64_t)ts.tv_nsec;
}

uint64_t sim_host_ns(void)
{
    return clock_ns(CLOCK_MONOTONIC);
}

void sim_thread_give_way(void)
{
    enum { NICER = 5 }; /* a quarter of a core that another thread wants, too */
    const id_t this_thread = 0; /* on Linux */

    errno = 0;
    int nice = getpriority(PRIO_PROCESS, this_thread);
    if (!errno)
        (void)setpriority(PRIO_PROCESS, this_thread, nice + NICER); /* if not, then not; the host knows the highest */
}

bool sim_thread_bind(const uint32_t *cpu, uint32_t nr)
{
    uint32_t most = 0;

    for (uint32_t i = 0; i < nr; i++)
        most = cpu[i] > most ? cpu[i] : most;
    size_t words = most / ULONG_WIDTH + 1;
    unsigned long *mask = sim_new_array(unsigned long, words);
    for (uint32_t i = 0; i < nr; i++)
        mask[cpu[i] / ULONG_WIDTH] |= 1ul << cpu[i] % ULONG_WIDTH;
    bool bound = sched_setaffinity(0, words * sizeof(mask[0]), (cpu_set_t *)mask) == 0;
    int error = errno;
    sim_free(mask);
    errno = error;
    return bound;
}

uint64_t sim_thread_cpu_ns(void)
{
    return clock_ns(CLOCK_THREAD_CPUTIME_ID);
}

void sim_thread_sleep(uint64_t ns)
{
    const struct timespec t = {(time_t)(ns / 1000000000), (long)(ns % 1000000000)};

    nanosleep(&t, NULL); /* a signal may cut it short */
}

void sim_thread_yield(void)
{
    sched_yield();
}
