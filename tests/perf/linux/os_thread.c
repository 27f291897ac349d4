/* Threads that contend for a mutex: futexes, atomics, and wake-ups. */
#include <pthread.h>

#include "perf.h"

enum { THREADS = 4, STEPS = 1000000 };

struct shared {
    pthread_mutex_t lock;
    uint64_t value;
};

static void *work(void *arg)
{
    struct shared *s = arg;
    for (unsigned i = 0; i < STEPS; i++) {
        pthread_mutex_lock(&s->lock);
        s->value += i;
        pthread_mutex_unlock(&s->lock);
    }
    return NULL;
}

PERF_KERNEL(env)
{
    struct shared s = {.value = env->hart};
    pthread_t thread[THREADS];
    pthread_mutex_init(&s.lock, NULL);
    for (unsigned i = 0; i < THREADS; i++)
        if (pthread_create(&thread[i], NULL, work, &s))
            return 0;
    for (unsigned i = 0; i < THREADS; i++)
        pthread_join(thread[i], NULL);
    return s.value;
}
