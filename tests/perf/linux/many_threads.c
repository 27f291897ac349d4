/* As sysbench's threads: more threads than harts take one of a few mutexes, give way while they have it, and let it go. */
#include <pthread.h>
#include <sched.h>

#include "perf.h"

enum { THREADS = 16, LOCKS = 8, STEPS = 6000 };

struct shared {
    struct {
        pthread_mutex_t mutex;
        uint64_t value;
    } lock[LOCKS];
};

static void *work(void *arg)
{
    struct shared *s = arg;

    for (unsigned i = 0; i < STEPS; i++) {
        pthread_mutex_lock(&s->lock[i % LOCKS].mutex);
        s->lock[i % LOCKS].value += i;
        sched_yield();
        pthread_mutex_unlock(&s->lock[i % LOCKS].mutex);
    }
    return NULL;
}

PERF_KERNEL(env)
{
    struct shared *s = perf_alloc(env, sizeof *s);
    pthread_t thread[THREADS];
    uint64_t sum = env->hart;

    for (unsigned i = 0; i < LOCKS; i++)
        pthread_mutex_init(&s->lock[i].mutex, NULL);
    for (unsigned i = 0; i < THREADS; i++)
        if (pthread_create(&thread[i], NULL, work, s))
            return 0;
    for (unsigned i = 0; i < THREADS; i++)
        pthread_join(thread[i], NULL);
    for (unsigned i = 0; i < LOCKS; i++)
        sum = perf_mix(sum, s->lock[i].value);
    return sum;
}
