/* What the files of an executor share: executor.c (life, waking, pausing), executor_pick.c (who is next), executor_turn.c (its
 * turn), executor_sleep.c (nobody is), executor_share.c (vCPUs that go to another executor). */
#ifndef PARTITION_EXECUTOR_PRIV_H
#define PARTITION_EXECUTOR_PRIV_H

#include "partition/executor.h"
#include "ready_set.h"
#include "sim-core/heap.h"
#include "sim-core/lock.h"
#include "sim-core/sim.h"

enum {
    DEFAULT_BUDGET = 50000,
    SPIN_NS = 20000,
    REST_SPIN_NS = 50000, /* the shortest while all rest: no sleep lasts less */
    BUDGET_NS = 30000,    /* a budget takes about so long */
    /* Budgets of others that get something done before those that spin are asked again: a budget takes 10 us and more, a
     * look of one that spins up to 1 us when its state is in no cache. Those of whom it is known what they wait for are
     * asked when it comes, and seldom besides: a timer of theirs may be due. */
    REST_BUDGETS = 16
};

/* What a turn in order has had and may have yet. One that is interrupted keeps it. */
struct allotment {
    unsigned left; /* budgets; 0: the turn is over */
    unsigned used;
    uint64_t ns;
};

/* Owner: its thread. Others: the ready sets (atomic), and woken. */
struct executor {
    struct vcpu_waker waker; /* first */
    struct executor_group *group;
    struct sim_thread thread;
    unsigned index;
    struct sim_mutex lock; /* sleeping */
    struct sim_cond cond;
    _Atomic bool woken;
    _Atomic bool sleeping;
    _Atomic unsigned nr; /* vCPUs it has */
    /* By vCPU index. A vCPU that has gone to another executor may still be in them: whoever finds it passes it on. */
    struct ready_set ready;
    struct ready_set urgent;  /* were kicked while they waited for a turn */
    struct ready_set resting; /* not ready, but may be asked when there is nothing better */
    struct heap heap;       /* of deadlines when parked; may be out of date, never late */
    struct heap_node *node; /* by vCPU index */
    struct vcpu_watch *watch; /* by vCPU index: what those that rest wait for */
    uint32_t cursor;        /* the last turn in order */
    uint64_t turn_ns;       /* when the turn began */
    unsigned vain;          /* times in a row that somebody lingered in vain */
    struct allotment in_order; /* of the one at the cursor */
    bool is_urgent;         /* the turn is out of order */
    int64_t urgent_insns;   /* that turns out of order may have until the next in order */
    _Atomic uint32_t turn;  /* whose turn it is, or READY_NONE */
    unsigned useful;        /* budgets used since those that rest were asked */
    unsigned since_all;     /* budgets since all of them were, also those of whom it is known what they wait for */
    uint64_t rest_ns;       /* the last sleep while all rested; 0: a word has come, or somebody done something since */
    uint64_t rest_from_ns;  /* since when all rest; 0: they do not */
    uint64_t rest_spin_ns;  /* before the first such sleep */
    _Atomic bool napping;   /* in sim->ranks->nap */
    _Atomic bool works;     /* it takes turns; the first always does */
    uint64_t spin_ns;
    _Atomic uint64_t cpu_ns;
    _Atomic uint64_t turns; /* ever; of spare executors only */
};

/* Owner: who has taken it. */
struct seat {
    _Atomic bool taken;
    uint8_t spins; /* turns in a row that were spent waiting */
};

struct executor_group {
    struct sim *sim;
    struct executor_config config;
    struct executor *ex;
    unsigned nr_own, nr; /* the others are spare ones, on cores that other ranks lend */
    struct seat *seat; /* by vCPU index */
    /* Counted time: turns in the order of the vCPUs and nothing else, so that the cursor says how it goes on. */
    bool in_order;
    _Atomic unsigned sleepers;
    _Atomic bool listening; /* one of them is in sim->ranks->nap */
    bool started;
    /* Pausing: executors park between two turns. `pausing` is written under pause_lock. */
    struct sim_mutex pause_lock;
    struct sim_cond pause_cond;
    _Atomic bool pausing;
    unsigned parked; /* or ended */
};

static inline bool executor_has(const struct executor *ex, const struct vcpu *v)
{
    return atomic_load_explicit(&v->waker, memory_order_seq_cst) == &ex->waker;
}

static inline void executor_forget(struct executor *ex, uint32_t n)
{
    ready_set_remove(&ex->ready, n);
    ready_set_remove(&ex->urgent, n);
    ready_set_remove(&ex->resting, n);
}

static inline bool seat_take(struct executor_group *g, uint32_t n)
{
    return !atomic_exchange_explicit(&g->seat[n].taken, true, memory_order_acquire);
}

static inline void seat_leave(struct executor_group *g, uint32_t n)
{
    atomic_store_explicit(&g->seat[n].taken, false, memory_order_release);
}

static inline bool executor_works(const struct executor *ex)
{
    return SIM_LIKELY(atomic_load_explicit(&ex->works, memory_order_acquire));
}

static inline bool executor_must_park(const struct executor_group *g)
{
    return SIM_UNLIKELY(atomic_load_explicit(&g->pausing, memory_order_acquire));
}

/* executor.c: makes it look. Context: any. */
void executor_rouse(struct executor *ex);

/* executor_pick.c */
enum asked { ASK_READY /* who need not spin any more */, ASK_UNKNOWN /* and of whom that is not known */, ASK_ALL };

/* Whose turn is next, with its seat taken, or NULL. */
struct vcpu *executor_pick(struct executor *ex);
/* A kick came here after the vCPU had left: it goes where the vCPU is. */
void executor_pass_on(struct executor *ex, struct vcpu *v);
void executor_put_deadline(struct executor *ex, uint32_t n, vtime_t t);
vtime_t executor_first_deadline(struct executor *ex);
/* Of those that rest: the next one behind n of that kind, or READY_NONE; makes all of that kind ready: were there any? */
uint32_t executor_next_asked(const struct executor *ex, uint32_t n, enum asked whom);
bool executor_ask(struct executor *ex, enum asked whom);

/* executor_turn.c: of a vCPU whose seat is taken; leaves it. */
void executor_turn(struct executor *ex, struct vcpu *v);
/* The next budget of a turn, after one that took ns. Of fast code it is more, so that what is looked at between two costs
 * little; of slow code it is never less. */
uint64_t executor_fit_budget(uint64_t least, uint64_t budget, uint64_t ns);

/* executor_sleep.c */
void executor_doze(struct executor *ex, vtime_t until); /* until it is roused, at once */
void executor_sleep(struct executor *ex, vtime_t until); /* the same after a spin */
void executor_watch_resting(struct executor *ex);         /* all rest: looks at what they wait for, and sleeps between looks */
void executor_rest_is_over(struct executor *ex, bool by_word); /* somebody can go on */
/* How long to look before the first sleep, after a wait before which it was spin_ns. */
uint64_t executor_fit_rest_spin(uint64_t spin_ns, uint64_t waited_ns);

/* executor_share.c */
bool executor_take_work(struct executor *ex);              /* from a busy sibling */
void executor_offer_work(struct executor *ex, uint32_t n); /* vCPU n waits here for its turn: wakes a sibling that sleeps */
struct executor *executor_least(struct executor_group *g, const struct executor *but); /* who works and has the fewest vCPUs */
void executor_stand_aside(struct executor *ex);            /* shall not work: hands on what it has and sleeps */

#endif
