/* Who has the next turn: who was kicked, whose turn was interrupted, the next in order, who need not spin any more. */
#include "executor_priv.h"
#include "sim-core/timer.h"

enum {
    REST_BUDGETS_KNOWN = 128
};

/* A kick came here after the vCPU had left. */
void executor_pass_on(struct executor *ex, struct vcpu *v)
{
    struct vcpu_waker *w = atomic_load_explicit(&v->waker, memory_order_seq_cst);

    executor_forget(ex, v->index);
    if (w)
        w->wake(w, v);
}

/* vCPU n for a turn; NULL: it is not here any more, or is being moved. */
static struct vcpu *claim(struct executor *ex, uint32_t n)
{
    struct executor_group *g = ex->group;
    struct vcpu *v = g->sim->vcpus[n];

    if (!seat_take(g, n))
        return NULL;
    if (executor_has(ex, v) && ready_set_has(&ex->ready, n)) {
        ready_set_remove(&ex->urgent, n);
        ready_set_remove(&ex->resting, n);
        return v;
    }
    seat_leave(g, n);
    if (!executor_has(ex, v))
        executor_pass_on(ex, v);
    return NULL;
}

/* --- deadlines --- */

static bool is_parked(const struct executor *ex, const struct vcpu *v)
{
    return executor_has(ex, v) && !ready_set_has(&ex->ready, v->index);
}

void executor_put_deadline(struct executor *ex, uint32_t n, vtime_t t)
{
    heap_remove(&ex->heap, &ex->node[n]);
    if (t != VTIME_NEVER)
        heap_insert(&ex->heap, &ex->node[n], t);
}

/* The deadline that vCPU n has now; never, when it is not parked here. A sibling that has its seat may have taken it away, or
 * only look whether it may, and find that it is parked: then what the heap says holds. */
static vtime_t deadline_now(struct executor *ex, uint32_t n)
{
    struct executor_group *g = ex->group;
    struct vcpu *v = g->sim->vcpus[n];
    vtime_t t = VTIME_NEVER;

    if (!seat_take(g, n))
        return executor_has(ex, v) ? ex->node[n].key : t;
    if (is_parked(ex, v))
        t = v->ops->deadline(v);
    seat_leave(g, n);
    return t;
}

/* The first deadline of a parked vCPU; what stands before it in the heap is out of date and goes. */
vtime_t executor_first_deadline(struct executor *ex)
{
    struct heap_node *first;

    while ((first = heap_first(&ex->heap))) {
        uint32_t n = (uint32_t)(first - ex->node);
        vtime_t t = deadline_now(ex, n);
        if (t <= first->key)
            return t;
        executor_put_deadline(ex, n, t);
    }
    return VTIME_NEVER;
}

static void expire(struct executor *ex, vtime_t now)
{
    const struct heap_node *first;

    while ((first = heap_first(&ex->heap)) && first->key <= now && executor_first_deadline(ex) <= now) {
        uint32_t n = (uint32_t)(heap_first(&ex->heap) - ex->node);
        heap_remove(&ex->heap, &ex->node[n]);
        ready_set_add(&ex->ready, n);
        ready_set_add(&ex->urgent, n);
    }
}

/* --- picking --- */

/* The one whose turn was interrupted. */
static struct vcpu *pick_interrupted(struct executor *ex)
{
    struct vcpu *v = ex->in_order.left && ready_set_has(&ex->ready, ex->cursor) ? claim(ex, ex->cursor) : NULL;

    if (!v)
        ex->in_order.left = 0;
    return v;
}

/* The next one in order. */
static struct vcpu *pick_next(struct executor *ex)
{
    uint32_t n = ex->cursor;

    for (uint32_t first = READY_NONE; (n = ready_set_next(&ex->ready, n)) != READY_NONE && n != first;) {
        struct vcpu *v = claim(ex, n);
        if (v) {
            ex->cursor = n;
            return v;
        }
        first = first == READY_NONE ? n : first;
    }
    return NULL;
}

/* One that was kicked. Those together get no more done than the others: whoever kicks all the time does not keep them
 * away. Many that do little, as timer interrupts of idle vCPUs, have their turns one after the other. */
static struct vcpu *pick_urgent(struct executor *ex)
{
    uint32_t n;

    if (ex->urgent_insns <= 0 || ex->group->in_order ||
        (n = ready_set_next(&ex->urgent, ex->cursor)) == READY_NONE)
        return NULL;
    ready_set_remove(&ex->urgent, n);
    return claim(ex, n);
}

/* --- resting --- */

static bool has_come(const struct executor *ex, uint32_t n)
{
    return ex->watch[n].word && vcpu_watch_is_over(&ex->watch[n]);
}

static bool is_asked(const struct executor *ex, uint32_t n, enum asked whom)
{
    return whom == ASK_ALL || has_come(ex, n) || (whom == ASK_UNKNOWN && !ex->watch[n].word);
}

/* The next of those that rest after n who is asked; READY_NONE: there is none, up to the last of them. */
uint32_t executor_next_asked(const struct executor *ex, uint32_t n, enum asked whom)
{
    uint32_t before;

    do {
        before = n;
        n = ready_set_next(&ex->resting, n);
        if (n == READY_NONE || (before != READY_NONE && n <= before))
            return READY_NONE;
    } while (!is_asked(ex, n, whom));
    return n;
}

/* Before others go on: locks are handed over in the order in which they were asked for, and all wait for the one whose turn
 * it is. One whose word has changed may also go on where there is nothing to do. */
static void end_rest(struct executor *ex, uint32_t n)
{
    struct executor_group *g = ex->group;

    if (has_come(ex, n)) {
        executor_rest_is_over(ex, true);
        if (seat_take(g, n)) {
            g->seat[n].spins = 0;
            seat_leave(g, n);
        }
    }
    ready_set_remove(&ex->resting, n);
    ready_set_add(&ex->ready, n);
    ready_set_add(&ex->urgent, n);
}

bool executor_ask(struct executor *ex, enum asked whom)
{
    bool any = false;

    for (uint32_t n = READY_NONE; (n = executor_next_asked(ex, n, whom)) != READY_NONE; any = true)
        end_rest(ex, n);
    return any;
}

static void ask_resting(struct executor *ex)
{
    enum asked whom = ex->since_all >= REST_BUDGETS_KNOWN ? ASK_ALL : ex->useful >= REST_BUDGETS ? ASK_UNKNOWN : ASK_READY;

    if (whom != ASK_READY)
        ex->useful = 0;
    if (whom == ASK_ALL)
        ex->since_all = 0;
    executor_ask(ex, whom);
}

/* Nobody is ready. When all spin: somebody else may hold what they wait for. */
static bool end_rest_of_all(struct executor *ex)
{
    bool all_spin = !ex->useful;

    if (ready_set_next(&ex->resting, READY_NONE) == READY_NONE)
        return false;
    if (all_spin && executor_take_work(ex))
        return true;
    if (all_spin && executor_next_asked(ex, READY_NONE, ASK_UNKNOWN) != READY_NONE)
        sim_thread_yield();
    ex->useful = 0;
    return executor_ask(ex, ASK_UNKNOWN);
}

/* A vCPU for a turn, its seat taken; NULL when all are parked. */
struct vcpu *executor_pick(struct executor *ex)
{
    struct vcpu *v;

    if (heap_first(&ex->heap))
        expire(ex, sim_clock_now(&ex->group->sim->clock));
    ask_resting(ex);
    v = pick_urgent(ex);
    ex->is_urgent = v != NULL;
    if (!v)
        v = pick_interrupted(ex);
    if (!v)
        v = pick_next(ex);
    if (!v && end_rest_of_all(ex))
        v = pick_next(ex);
    return v;
}
