/* Which outcomes the RISC-V memory model allows: RISC-V Unprivileged ISA, chapter "RVWMO Memory
 * Consistency Model", by exhaustion. Also under Ztso and under sequential consistency, to tell how
 * weak an outcome is.
 *
 * Every total order of the memory operations (the global memory order, gmo) which contains the
 * preserved program order (ppo) is built. Each load then has one value by the load value axiom;
 * orders that break a rule of ppo which depends on values (2, 3, 12), or the atomicity axiom, are
 * dropped. What is left are the allowed executions.
 *
 * An AMO is one operation, both load and store. An SC may always fail; it then is no operation at
 * all. */
#include <stdlib.h>

#include "litmus.h"

enum { MAX_EVENTS = 16, INIT = -1 };

struct event {
    const struct litmus_op *op;
    unsigned thread, po; /* po: index in the thread's operations */
    bool r, w;
    uint32_t before; /* events that ppo puts before it whatever the values are */
    int pair;        /* of a successful SC: its LR */
};

struct search {
    const struct litmus_test *test;
    enum litmus_model model;
    unsigned stored; /* bit mask over all SCs of the test: which succeed */
    struct event event[MAX_EVENTS];
    unsigned n;
    unsigned order[MAX_EVENTS];    /* gmo: events by position */
    unsigned position[MAX_EVENTS]; /* and back */
    int source[MAX_EVENTS];        /* of each load: the store it reads, or INIT */
    struct litmus_outcomes *found;
};

/* ---- preserved program order that does not depend on values ---- */

static const struct litmus_thread *thread_of(const struct search *s, const struct event *e)
{
    return &s->test->thread[e->thread];
}

static bool fence_orders(const struct litmus_op *f, const struct event *a, const struct event *b)
{
    if (f->tso)
        return (a->r && (b->r || b->w)) || (a->w && b->w);
    return ((a->r && f->pred & ACCESS_R) || (a->w && f->pred & ACCESS_W)) &&
           ((b->r && f->succ & ACCESS_R) || (b->w && f->succ & ACCESS_W));
}

/* Rule 4 */
static bool fenced(const struct search *s, const struct event *a, const struct event *b)
{
    for (unsigned i = a->po + 1; i < b->po; i++) {
        const struct litmus_op *op = &thread_of(s, a)->op[i];
        if (op->kind == OP_FENCE && fence_orders(op, a, b))
            return true;
    }
    return false;
}

static bool rcsc(const struct event *e)
{
    return e->op->aq || e->op->rl;
}

static bool depends(int reg, const struct event *a)
{
    return reg != NO_REG && reg == a->op->dest;
}

/* Rules 9 to 11 and 13 */
static bool dependency_orders(const struct search *s, const struct event *a, const struct event *b)
{
    if (depends(b->op->addr, a) || depends(b->op->data, a))
        return true;
    for (unsigned i = a->po + 1; b->w && i < b->po; i++) {
        const struct litmus_op *m = &thread_of(s, a)->op[i];
        if ((m->kind == OP_CTRL && depends(m->data, a)) || depends(m->addr, a))
            return true;
    }
    return false;
}

/* a before b in program order */
static bool ordered(const struct search *s, const struct event *a, const struct event *b)
{
    if (s->model == MODEL_SC)
        return true;
    if (s->model == MODEL_TSO && (a->r || b->w)) /* all loads acquire, all stores release, RCpc */
        return true;
    return (a->op->var == b->op->var && b->w)                /* 1 */
           || fenced(s, a, b)                                /* 4 */
           || a->op->aq || b->op->rl || (rcsc(a) && rcsc(b)) /* 5 6 7 */
           || (b->pair >= 0 && &s->event[b->pair] == a)      /* 8 */
           || dependency_orders(s, a, b);                    /* 9 10 11 13 */
}

/* ---- events ---- */

static bool is_load(const struct litmus_op *op)
{
    return op->kind == OP_LOAD || op->kind == OP_LR || op->kind == OP_AMO;
}

static bool is_store(const struct litmus_op *op)
{
    return op->kind == OP_STORE || op->kind == OP_SC || op->kind == OP_AMO;
}

static int pair_of(const struct search *s, unsigned thread)
{
    for (unsigned i = s->n; i-- > 0;)
        if (s->event[i].thread == thread && s->event[i].op->kind == OP_LR)
            return (int)i;
    return -1;
}

static void add_event(struct search *s, unsigned thread, unsigned po)
{
    const struct litmus_op *op = &s->test->thread[thread].op[po];
    struct event *e = &s->event[s->n];

    *e = (struct event){op, thread, po, is_load(op), is_store(op), 0, -1};
    if (op->kind == OP_SC)
        e->pair = pair_of(s, thread);
    for (unsigned i = 0; i < s->n; i++)
        if (s->event[i].thread == thread && ordered(s, &s->event[i], e))
            e->before |= 1u << i;
    s->n++;
}

/* Leaves out the SCs which fail. False: more events than there is room for. */
static bool add_events(struct search *s)
{
    unsigned scs = 0;

    s->n = 0;
    for (unsigned t = 0; t < s->test->nr_threads; t++)
        for (unsigned i = 0; i < s->test->thread[t].nr_ops; i++) {
            const struct litmus_op *op = &s->test->thread[t].op[i];
            bool fails = op->kind == OP_SC && !(s->stored >> scs & 1);
            scs += op->kind == OP_SC;
            if (fails || !(is_load(op) || is_store(op)))
                continue;
            if (s->n == MAX_EVENTS)
                return false;
            add_event(s, t, i);
        }
    return true;
}

/* ---- axioms on a complete order ---- */

static bool same_thread_before(const struct event *a, const struct event *b)
{
    return a->thread == b->thread && a->po < b->po;
}

/* Load value axiom: the latest store, in gmo, of those before the load in gmo or in program order.
 */
static int find_source(const struct search *s, unsigned load)
{
    const struct event *l = &s->event[load];

    for (unsigned p = s->n; p-- > 0;) {
        unsigned i = s->order[p];
        const struct event *e = &s->event[i];
        if (i != load && e->w && e->op->var == l->op->var &&
            (p < s->position[load] || same_thread_before(e, l)))
            return (int)i;
    }
    return INIT;
}

static bool store_between(const struct search *s, const struct event *a, const struct event *b)
{
    for (unsigned i = 0; i < s->n; i++) {
        const struct event *e = &s->event[i];
        if (e->w && e->op->var == a->op->var && same_thread_before(a, e) &&
            same_thread_before(e, b))
            return true;
    }
    return false;
}

/* Rules 2 and 3, for loads b of the location of a. */
static bool same_address_ordered(const struct search *s, unsigned a, unsigned b)
{
    const struct event *ea = &s->event[a], *eb = &s->event[b];

    if (ea->op->var != eb->op->var)
        return false;
    if (ea->r && s->source[a] != s->source[b] && !store_between(s, ea, eb))
        return true;
    return (ea->op->kind == OP_AMO || ea->op->kind == OP_SC) && s->source[b] == (int)a;
}

/* Rule 12: b reads a store m of its own thread that depends on a. */
static bool pipeline_ordered(const struct search *s, unsigned a, unsigned b)
{
    const struct event *m;

    if (s->source[b] == INIT)
        return false;
    m = &s->event[s->source[b]];
    return same_thread_before(&s->event[a], m) && same_thread_before(m, &s->event[b]) &&
           (depends(m->op->addr, &s->event[a]) || depends(m->op->data, &s->event[a]));
}

static bool value_rules_hold(const struct search *s)
{
    for (unsigned b = 0; b < s->n; b++)
        for (unsigned a = 0; s->event[b].r && a < s->n; a++)
            if (same_thread_before(&s->event[a], &s->event[b]) && s->position[a] > s->position[b] &&
                (same_address_ordered(s, a, b) || pipeline_ordered(s, a, b)))
                return false;
    return true;
}

/* No store of another hart between the store that an LR reads and its SC. */
static bool atomic(const struct search *s, unsigned sc)
{
    const struct event *e = &s->event[sc];
    int source = s->source[e->pair];

    if (source != INIT && s->position[source] > s->position[sc])
        return false;
    for (unsigned i = 0; i < s->n; i++) {
        const struct event *o = &s->event[i];
        if (o->w && o->op->var == e->op->var && o->thread != e->thread &&
            s->position[i] < s->position[sc] &&
            (source == INIT || s->position[i] > s->position[source]))
            return false;
    }
    return true;
}

static bool atomicity_holds(const struct search *s)
{
    for (unsigned i = 0; i < s->n; i++)
        if (s->event[i].pair >= 0 && !atomic(s, i))
            return false;
    return true;
}

/* ---- values ---- */

static unsigned written(const struct search *s, int store);

static unsigned read_value(const struct search *s, unsigned load)
{
    return written(s, s->source[load]);
}

static unsigned register_value(const struct search *s, int reg)
{
    for (unsigned i = 0; i < s->n; i++)
        if (s->event[i].op->dest == reg)
            return read_value(s, i);
    abort(); /* the parser knows every source */
}

static unsigned written(const struct search *s, int store)
{
    const struct litmus_op *op;
    unsigned value;

    if (store == INIT)
        return 0;
    op = s->event[store].op;
    value = op->copies ? register_value(s, op->data) : op->value;
    if (op->kind != OP_AMO || op->amo == AMO_SWAP)
        return value;
    return op->amo == AMO_ADD ? read_value(s, (unsigned)store) + value
                              : read_value(s, (unsigned)store) | value;
}

static uint64_t digit(unsigned value)
{
    return value > LITMUS_VALUE_MAX ? LITMUS_VALUE_MAX + 1 : value;
}

static uint64_t memory_key(const struct search *s)
{
    uint64_t key = 0;

    for (int v = 0; v < LITMUS_VARS; v++)
        for (unsigned p = s->n; p-- > 0;) {
            const struct event *e = &s->event[s->order[p]];
            if (e->w && e->op->var == v) {
                key |= digit(written(s, (int)s->order[p])) << litmus_var_shift(v);
                break;
            }
        }
    return key;
}

/* A failed SC leaves 1 in its register. */
static uint64_t failed_key(const struct search *s)
{
    uint64_t key = 0;
    unsigned scs = 0;

    for (unsigned t = 0; t < s->test->nr_threads; t++)
        for (unsigned i = 0; i < s->test->thread[t].nr_ops; i++) {
            const struct litmus_op *op = &s->test->thread[t].op[i];
            if (op->kind == OP_SC && !(s->stored >> scs++ & 1))
                key |= 1ull << litmus_reg_shift(op->dest);
        }
    return key;
}

static uint64_t outcome_key(const struct search *s)
{
    uint64_t key = memory_key(s) | failed_key(s);

    for (unsigned i = 0; i < s->n; i++)
        if (s->event[i].r)
            key |= digit(read_value(s, i)) << litmus_reg_shift(s->event[i].op->dest);
    return key;
}

/* ---- the search ---- */

/* Keeps `o` sorted; an outcome that a stronger model allows is there already. */
static void add_outcome(struct litmus_outcomes *o, uint64_t key, enum litmus_model model)
{
    unsigned at = 0, end = o->n;

    while (at < end) {
        unsigned mid = (at + end) / 2;
        if (o->outcome[mid].key < key)
            at = mid + 1;
        else
            end = mid;
    }
    if (at < o->n && o->outcome[at].key == key)
        return;
    o->outcome = realloc(o->outcome, (o->n + 1) * sizeof *o->outcome);
    if (!o->outcome)
        abort();
    for (unsigned i = o->n++; i > at; i--)
        o->outcome[i] = o->outcome[i - 1];
    o->outcome[at] = (struct litmus_outcome){key, model};
}

static void judge_order(struct search *s)
{
    for (unsigned i = 0; i < s->n; i++)
        s->source[i] = s->event[i].r ? find_source(s, i) : INIT;
    if (value_rules_hold(s) && atomicity_holds(s))
        add_outcome(s->found, outcome_key(s), s->model);
}

static void extend_order(struct search *s, unsigned length, uint32_t placed)
{
    if (length == s->n) {
        judge_order(s);
        return;
    }
    for (unsigned i = 0; i < s->n; i++) {
        if (placed >> i & 1 || s->event[i].before & ~placed)
            continue;
        s->order[length] = i;
        s->position[i] = length;
        extend_order(s, length + 1, placed | 1u << i);
    }
}

static unsigned count_scs(const struct litmus_test *test)
{
    unsigned n = 0;

    for (unsigned t = 0; t < test->nr_threads; t++)
        for (unsigned i = 0; i < test->thread[t].nr_ops; i++)
            n += test->thread[t].op[i].kind == OP_SC;
    return n;
}

struct litmus_outcomes litmus_judge(const struct litmus_test *test)
{
    struct litmus_outcomes found = {0};
    struct search s = {.test = test, .found = &found};
    unsigned scs = count_scs(test);

    for (s.model = MODEL_SC; s.model < NR_MODELS; s.model++)
        for (s.stored = 0; s.stored < 1u << scs; s.stored++) {
            if (!add_events(&s)) {
                fprintf(stderr, "%s: more than %d memory operations\n", test->name, MAX_EVENTS);
                exit(1);
            }
            extend_order(&s, 0, 0);
        }
    return found;
}

enum litmus_model litmus_weak_verdict(const struct litmus_test *test,
                                      const struct litmus_outcomes *outcomes)
{
    enum litmus_model best = MODEL_NONE;

    for (unsigned i = 0; i < outcomes->n; i++)
        if ((outcomes->outcome[i].key & test->weak_mask) == test->weak &&
            outcomes->outcome[i].model < best)
            best = outcomes->outcome[i].model;
    return best;
}
