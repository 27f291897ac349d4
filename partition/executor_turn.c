/* A turn of one vCPU: budgets, until it idles, spins, or others want theirs. */
#include "executor_priv.h"
#include "sim-core/timer.h"

enum {
    /* A turn that gave up after so few instructions was one of waiting. */
    SPIN_INSNS = 6000,
    REST_AFTER = 3, /* such turns in a row */
    /* Budgets that a turn may have while nobody urgent comes: who computes fills the host's caches only once in the while.
     * About 4 ms, as the ticks of most kernels; less when very many want their turns. What comes in between leaves it the rest. */
    TURN_BUDGETS = 128,
    TURN_BUDGETS_LEAST = 8,
    TURN_NS = 5000000, /* but no longer, after the least: an interpreter's budget takes 1 ms */
    BUDGET_GROWS = 4, /* times: of code that is so fast that one takes less than BUDGET_NS */
    ROUND_BUDGETS = 2048, /* of all vCPUs of an executor: about 60 ms */
    TIMER_BUDGETS = 32, /* between two looks at timers in a turn: about 1 ms */
    /* What a vCPU of another executor holds is mostly free again in a microsecond, and another vCPU's turn costs tens: so
     * long, and so often in a row, is it waited for. */
    LINGER_NS = 8000,
    LINGERS = 16,
    LOOK_NS = 1000, /* between two looks at whether others press meanwhile */
    VAIN_MOST = 8, /* times in a row in vain; then one of so many is waited for */
    /* Instructions that urgent turns may have: as many as turns in order have had since, up to these. And what is added for
     * each turn, and for each nanosecond of one whose instructions nobody counts: as KVM's budgets are reckoned. */
    URGENT_INSNS = 8 * DEFAULT_BUDGET,
    TURN_INSNS = 500,
    INSNS_PER_NS = 1,
    /* A turn that ends in a section which others may wait for goes on until it is left, at most so often and so long. */
    GRACES = 8,
    GRACE_BUDGET = 2000
};

/* What has been cleared is looked at again: a kick before that may have found it still set. */
static void park_vcpu(struct executor *ex, struct vcpu *v)
{
    ready_set_remove(&ex->ready, v->index);
    executor_put_deadline(ex, v->index, v->ops->deadline(v));
    if (v->ops->has_work(v))
        ready_set_add(&ex->ready, v->index);
}

/* Its timer may be due while it rests. One that was due when the turn began is nothing new: it is masked. */
static vtime_t deadline_of_resting(const struct executor *ex, struct vcpu *v)
{
    vtime_t t = v->ops->deadline(v), now = sim_clock_now(&ex->group->sim->clock);
    uint64_t turn_ns = sim_host_ns() - ex->turn_ns;

    return t != VTIME_NEVER && t + turn_ns > now ? t : VTIME_NEVER;
}

static void rest(struct executor *ex, struct vcpu *v)
{
    ex->watch[v->index] = v->watch;
    executor_put_deadline(ex, v->index, deadline_of_resting(ex, v));
    ready_set_add(&ex->resting, v->index);
    ready_set_remove(&ex->ready, v->index);
    if (atomic_load_explicit(&v->kick, memory_order_seq_cst))
        ready_set_add(&ex->ready, v->index);
}

static bool timer_is_due(const struct executor *ex)
{
    const struct heap_node *first = heap_first(&ex->heap);

    return first && first->key <= sim_clock_now(&ex->group->sim->clock);
}

/* Has somebody come who shall not wait for the end of a turn? */
static bool others_press(const struct executor *ex, unsigned left)
{
    enum asked whom = ex->useful >= REST_BUDGETS ? ASK_UNKNOWN : ASK_READY;

    return ready_set_next(&ex->urgent, READY_NONE) != READY_NONE || executor_next_asked(ex, READY_NONE, whom) != READY_NONE ||
           (left % TIMER_BUDGETS == 0 && timer_is_due(ex));
}

/* May the vCPU that has used up a budget have another in the same turn? */
static bool goes_on(const struct executor *ex, unsigned left)
{
    return left && !executor_must_park(ex->group) && executor_works(ex) && !sim_ending(ex->group->sim) && !others_press(ex, left);
}

static unsigned turn_budgets(const struct executor *ex)
{
    unsigned share = ROUND_BUDGETS / (atomic_load_explicit(&ex->nr, memory_order_relaxed) + 1);

    if (ex->group->in_order)
        return 1;
    return share > TURN_BUDGETS ? TURN_BUDGETS : share < TURN_BUDGETS_LEAST ? TURN_BUDGETS_LEAST : share;
}

static bool in_section(const struct executor *ex, struct vcpu *v)
{
    return !ex->group->in_order && v->ops->may_hold_lock && v->ops->may_hold_lock(v);
}

/* Does another executor run something, or look for it? */
static bool others_are_awake(const struct executor *ex)
{
    const struct executor_group *g = ex->group;

    for (unsigned i = 0; i < g->nr; i++)
        if (i != ex->index && executor_works(&g->ex[i]) && !atomic_load_explicit(&g->ex[i].sleeping, memory_order_relaxed) &&
            !atomic_load_explicit(&g->ex[i].napping, memory_order_relaxed))
            return true;
    return false;
}

/* The vCPU spins. Has what it waits for come when its turn is held for a moment? Of those who ask in vain one in a while. */
static bool lingers(struct executor *ex, const struct vcpu *v)
{
    if (!v->watch.word || ex->group->in_order || !others_are_awake(ex))
        return false;
    if (ex->vain >= VAIN_MOST && ++ex->vain % VAIN_MOST)
        return false;
    for (uint64_t now = sim_host_ns(), end = now + LINGER_NS, look = now; now < end; now = sim_host_ns()) {
        if (vcpu_watch_is_over(&v->watch) || atomic_load_explicit(&v->kick, memory_order_relaxed)) {
            ex->vain = 0;
            return true;
        }
        if (now >= look) { /* at all who rest, which may be many */
            if (others_press(ex, 1))
                return false;
            look = sim_host_ns() + LOOK_NS;
        }
        sim_cpu_relax();
    }
    ex->vain++;
    return false;
}

uint64_t executor_fit_budget(uint64_t least, uint64_t budget, uint64_t ns)
{
    uint64_t most = BUDGET_GROWS * least;

    budget = ns ? budget * BUDGET_NS / ns : most;
    return budget < least ? least : budget > most ? most : budget;
}

static enum vcpu_exit run_budgets(struct executor *ex, struct vcpu *v, struct allotment *a)
{
    enum vcpu_exit why;
    unsigned lingered = 0;
    const uint64_t least = ex->group->config.budget;
    uint64_t before_ns = a->ns, budget = least;

    for (;;) {
        uint64_t before = a->ns;
        why = v->ops->run(v, budget);
        if (why == VCPU_EXIT_YIELD && lingered++ < LINGERS && lingers(ex, v))
            continue;
        ex->useful++;
        ex->since_all++;
        a->left--;
        a->used++;
        a->ns = before_ns + sim_host_ns() - ex->turn_ns;
        if (a->used >= TURN_BUDGETS_LEAST && a->ns > TURN_NS)
            a->left = 0;
        if (why != VCPU_EXIT_BUDGET || !goes_on(ex, a->left))
            return why;
        if (!ex->group->in_order)
            budget = executor_fit_budget(least, budget, a->ns - before);
        lingered = 0;
    }
}

/* What the turn, which had `insns` instructions, counts when turns in order and urgent ones are compared. */
static int64_t worth(const struct executor *ex, uint64_t insns)
{
    return (int64_t)(insns ? insns : (sim_host_ns() - ex->turn_ns) * INSNS_PER_NS) + TURN_INSNS;
}

static enum vcpu_exit run_in_order(struct executor *ex, struct vcpu *v)
{
    uint64_t before = v->stats.insns;

    if (!ex->in_order.left)
        ex->in_order = (struct allotment){.left = turn_budgets(ex)};
    enum vcpu_exit why = run_budgets(ex, v, &ex->in_order);

    if (why != VCPU_EXIT_BUDGET)
        ex->in_order.left = 0;
    ex->urgent_insns += worth(ex, v->stats.insns - before);
    if (ex->urgent_insns > URGENT_INSNS)
        ex->urgent_insns = URGENT_INSNS;
    return why;
}

static enum vcpu_exit run_urgent(struct executor *ex, struct vcpu *v)
{
    uint64_t before = v->stats.insns, may = (uint64_t)ex->urgent_insns / ex->group->config.budget + 1;
    unsigned most = turn_budgets(ex);
    struct allotment a = {.left = may < most ? (unsigned)may : most};
    enum vcpu_exit why = run_budgets(ex, v, &a);

    ex->urgent_insns -= worth(ex, v->stats.insns - before);
    return why;
}

static enum vcpu_exit run(struct executor *ex, struct vcpu *v)
{
    enum vcpu_exit why = ex->is_urgent ? run_urgent(ex, v) : run_in_order(ex, v);

    for (unsigned n = 0; why == VCPU_EXIT_BUDGET && n < GRACES && in_section(ex, v); n++)
        why = v->ops->run(v, GRACE_BUDGET);
    if (why == VCPU_EXIT_EXCLUSIVE) {
        sim_exclusive_begin(v->sim, v);
        why = v->ops->run_exclusive(v);
        sim_exclusive_end(v->sim);
    }
    return why;
}

static void settle(struct executor *ex, struct vcpu *v, enum vcpu_exit why, uint64_t insns)
{
    struct seat *seat = &ex->group->seat[v->index];
    bool spun = why == VCPU_EXIT_YIELD && insns < SPIN_INSNS;

    seat->spins = !spun ? 0 : seat->spins < REST_AFTER ? seat->spins + 1 : REST_AFTER;
    ex->useful -= spun;
    if (!spun)
        executor_rest_is_over(ex, false);
    if (why == VCPU_EXIT_IDLE || why == VCPU_EXIT_WAIT)
        park_vcpu(ex, v);
    else if ((seat->spins == REST_AFTER || (spun && v->watch.word)) && !ex->group->in_order)
        rest(ex, v);
    else if (spun && ex->group->in_order)
        sim_thread_yield(); /* somebody else may hold what it waits for */
}

static void end_wait(struct vcpu *v, uint64_t now_ns)
{
    if (!v->stats.parked_ns)
        return;
    v->stats.wait_ns += now_ns - v->stats.parked_ns;
    v->stats.parked_ns = 0;
}

void executor_turn(struct executor *ex, struct vcpu *v)
{
    uint64_t before = v->stats.insns, begin_ns = sim_host_ns();

    if (SIM_UNLIKELY(ex->index >= ex->group->nr_own))
        atomic_fetch_add_explicit(&ex->turns, 1, memory_order_relaxed);
    end_wait(v, begin_ns);
    ex->turn_ns = begin_ns;
    atomic_store_explicit(&ex->turn, v->index, memory_order_relaxed);
    sim_turn_begin(v->sim, ex->index, v);
    enum vcpu_exit why = run(ex, v);
    v->stats.exits[why]++;
    uint64_t insns = v->stats.insns - before, end_ns = sim_host_ns();
    v->stats.run_ns += end_ns - begin_ns;
    if (why == VCPU_EXIT_WAIT)
        v->stats.parked_ns = end_ns;
    sim_clock_charge(&v->sim->clock, insns);
    sim_timers_run(v->sim);
    settle(ex, v, why, insns);
    seat_leave(ex->group, v->index);
    if (why == VCPU_EXIT_BUDGET)
        executor_offer_work(ex, v->index);
}
