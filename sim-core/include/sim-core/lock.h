/* Threads, mutexes and condition variables. Only sim-core calls pthread_*.
 *
 * Every mutex has a rank; a thread takes mutexes in rising rank only (equal ranks never nest).
 * Debug builds keep the held list per thread and sim_bug() on an inversion, so this enum is the
 * lock-order document of the whole program. */
#ifndef SIM_CORE_LOCK_H
#define SIM_CORE_LOCK_H

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>

#include "sim-core/status.h"
#include "sim-core/types.h"

enum sim_lock_rank {
    SIM_RANK_LAUNCH = 10,    /* launch: program-wide bookkeeping */
    SIM_RANK_EXCLUSIVE = 20, /* sim-core: one vCPU runs alone */
    SIM_RANK_JIT = 30,       /* cpu: translation and code cache */
    SIM_RANK_DEVICE = 40,    /* devices: one per device; never two at once */
    SIM_RANK_BACKEND = 50,   /* devices: chardev, net and block back ends */
    SIM_RANK_BUS = 55,       /* devices: PCI interrupt lines that functions share */
    SIM_RANK_IRQCHIP = 60,   /* devices: PLIC, reached from a device's irq_set under its lock */
    SIM_RANK_MEM_MAP = 70,   /* mem: region list writers */
    SIM_RANK_HART = 80,      /* cpu: requests posted to a hart */
    SIM_RANK_DSM = 82,       /* mem: coherence state of one rank */
    SIM_RANK_RANKS = 83,     /* launch: accesses that cross ranks */
    SIM_RANK_INTERCONNECT = 85, /* interconnect: outboxes */
    SIM_RANK_WORLD = 88,     /* launch: which executors there are, for harts that come and go in handlers */
    SIM_RANK_EXECUTOR = 90,  /* partition: sleeping and waking */
    SIM_RANK_TIMER = 92,     /* sim-core: guest-time timers */
    SIM_RANK_IO = 95,        /* sim-core: the I/O loop's list of posted work */
    SIM_RANK_LEAF = 99       /* takes nothing else */
};

struct sim_mutex {
    pthread_mutex_t m;
    enum sim_lock_rank rank;
};

struct sim_cond {
    pthread_cond_t c;
};

struct sim_thread {
    pthread_t t;
    bool started;
};

void sim_mutex_init(struct sim_mutex *m, enum sim_lock_rank rank);
void sim_mutex_fini(struct sim_mutex *m);
void sim_mutex_lock(struct sim_mutex *m);
bool sim_mutex_trylock(struct sim_mutex *m);
void sim_mutex_unlock(struct sim_mutex *m);

void sim_cond_init(struct sim_cond *c);
void sim_cond_fini(struct sim_cond *c);
void sim_cond_wait(struct sim_cond *c, struct sim_mutex *m);
/* Waits at most until CLOCK_MONOTONIC reaches `deadline_ns`; false on time-out. */
bool sim_cond_wait_until(struct sim_cond *c, struct sim_mutex *m, uint64_t deadline_ns);
void sim_cond_signal(struct sim_cond *c);
void sim_cond_broadcast(struct sim_cond *c);

/* Starts a thread with all signals blocked (signals belong to the launch thread). `name` at most 15
 * characters. */
enum sim_status sim_thread_start(struct sim_thread *t, const char *name, void *(*fn)(void *),
                                 void *arg) SIM_MUST_CHECK;
void sim_thread_join(struct sim_thread *t);
/* Restricts the calling thread to these CPUs (Linux's numbers). False, with errno set, when the host refuses. */
bool sim_thread_bind(const uint32_t *cpu, uint32_t nr);

/* The calling thread gets less of a busy core than it did; once for a thread. */
void sim_thread_give_way(void);

/* Sleeps while *word is `expected`, at most until CLOCK_MONOTONIC reaches `deadline_ns`; may return
 * early. The word may lie in memory that several processes share. */
void sim_word_wait(_Atomic uint32_t *word, uint32_t expected, uint64_t deadline_ns);
/* Wakes all that sleep on the word; the caller has changed it. */
void sim_word_wake(_Atomic uint32_t *word);

/* CLOCK_MONOTONIC and the calling thread's / the process's CPU time, in nanoseconds. */
uint64_t sim_host_ns(void);
uint64_t sim_thread_cpu_ns(void);
void sim_thread_yield(void);
void sim_thread_sleep(uint64_t ns);

#endif
