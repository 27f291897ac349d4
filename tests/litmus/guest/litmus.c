/* Runs the memory-model tests on all harts of the machine.
 *
 *   for each test: for each round { clear | run | collect } with a barrier after each | report
 * (hart 0)
 *
 * A round is a batch of instances of the test's variables. As many copies of the test run at once
 * as there are harts for; who plays which part, where the variables lie, how wide they are and how
 * the threads meet is other in each round and follows from the seed, so that every hart knows it
 * without being told.
 *
 * Options (-append): iterations=N of each test; batch=N instances a round; tests=NAME,NAME...
 * groups=NAME,... places=NAME,... meet=NAME,... kinds=NAME,... polls=N skew=N seed=N. The run ends
 * with 0, or with 10 when an outcome was forbidden, 11 when nothing was run. */
#include "guest.h"
#include "tests.h"

enum {
    MAX_OUTCOMES = 2048,
    MAX_STRANGE = 4,
    COPIES = 8,
    VAR_SPAN = 512 << 10, /* memory of one variable of a copy, or of all in one place */
    COPY_SPAN = TEST_VARS * VAR_SPAN,
    MAX_BATCH = 2048,
    RESULTS_SPAN = 128 << 10, /* MAX_BATCH * 5 registers, of one hart */
    BATCH = 200,
    POLLS = 200,
    START_LOOKS = 10000,
    SKEW = 63,
};
enum { EXIT_FORBIDDEN = 10, EXIT_NOTHING = 11 };
enum { MODEL_SC, MODEL_TSO, MODEL_RVWMO, NR_MODELS };

/* Where the variables of an instance lie. */
static const struct place {
    const char *name;
    uint64_t offset[TEST_VARS], stride;
} places[] = {
    {"lines", {0, 64, 128, 192}, 256}, /* cache lines of a page */
    {"packed", {0, 8, 16, 24}, 64},    /* one line */
    {"pages",
     {0, VAR_SPAN, 2 * VAR_SPAN, 3 * VAR_SPAN},
     64}, /* a page each, many instances in it */
    {"strides",
     {0, VAR_SPAN, 2 * VAR_SPAN, 3 * VAR_SPAN},
     GUEST_PAGE + 64},                            /* a page for each variable */
    {"edges", {4088, 4096, 12280, 12288}, 16384}, /* neighbours on two pages */
};
enum { NR_PLACES = sizeof places / sizeof *places };

/* How the threads meet before each instance. */
static const struct meeting {
    const char *name;
    int waits;
    uint64_t spins; /* struct guest_work */
} meetings[] = {
    {"spin", 1, ~0ul},
    {"free", 0, 0}, /* only at the start of a round */
    {"yield", 1, 0},
    {"mixed", 1, 15},
};
enum { NR_MEETINGS = sizeof meetings / sizeof *meetings };

/* What one copy of the test has seen. Written by the hart that plays its thread 0, read by hart 0
 * in the report. */
struct seen {
    uint64_t count[MAX_OUTCOMES];
    struct strange {
        uint64_t key, count;
        const struct place *place;
        unsigned kind;
    } strange[MAX_STRANGE]; /* outcomes that are not allowed */
    unsigned nr_strange;
} GUEST_PAGE_ALIGNED;

/* What a round is like. Each hart has its own, and all are equal. */
struct round {
    const struct guest_test *test;
    const struct place *place;
    const struct meeting *meeting;
    unsigned number, kind;
    uint64_t random, batch, done, skew_mask;
    uint8_t order[GUEST_MAX_HARTS]; /* harts by the part they play */
};

/* The part of one hart in a round. */
struct role {
    int active;
    unsigned copy, thread;
    const uint8_t *harts; /* of all threads of the copy */
};

static struct seen seen[COPIES];
static struct {
    volatile uint64_t at;
} progress[GUEST_MAX_HARTS] __attribute__((aligned(GUEST_PAGE)));
static unsigned nr_run, nr_skipped, nr_forbidden; /* hart 0's */
static uint64_t instances;

/* ---- where things are ---- */

static uint64_t arena(void)
{
    return ((uint64_t)_end + (2 << 20) - 1) & -(uint64_t)(2 << 20);
}

static uint64_t variable(const struct round *r, unsigned copy, unsigned var, uint64_t i)
{
    return arena() + (uint64_t)copy * COPY_SPAN + r->place->offset[var] + i * r->place->stride;
}

static uint64_t *results_of(unsigned hart)
{
    return (uint64_t *)(arena() + (uint64_t)COPIES * COPY_SPAN + (uint64_t)hart * RESULTS_SPAN);
}

/* ---- rounds ---- */

static uint64_t capacity(const struct place *p)
{
    uint64_t n = (VAR_SPAN - 16384) / p->stride;

    return n < MAX_BATCH ? n : MAX_BATCH;
}

static void shuffle(struct round *r)
{
    for (unsigned i = guest_harts; i-- > 1;) {
        unsigned other = (unsigned)(guest_random(&r->random) % (i + 1));
        uint8_t hart = r->order[i];
        r->order[i] = r->order[other];
        r->order[other] = hart;
    }
}

/* Is `name` among the comma-separated words of the option? All are when it is not given. */
static int chosen(const char *option, const char *name)
{
    const char *p = guest_option_text(option);

    if (!p)
        return 1;
    for (;;) {
        const char *n = name;
        while (*n && *p == *n)
            p++, n++;
        if (!*n && (*p == ',' || *p == ' ' || !*p))
            return 1;
        while (*p && *p != ',' && *p != ' ')
            p++;
        if (*p != ',')
            return 0;
        p++;
    }
}

/* The first of `nr` things from `number` on, round the table, that the option allows. */
static unsigned next(const char *option, const char *(*name)(unsigned), unsigned nr,
                     unsigned number)
{
    for (unsigned i = 0; i < nr; i++)
        if (chosen(option, name((number + i) % nr)))
            return (number + i) % nr;
    return 0;
}

static const char *place_name(unsigned i)
{
    return places[i].name;
}

static const char *kind_name(unsigned i)
{
    static const char *const name[] = {"32", "64", "paused"};

    return name[i];
}

static const char *meeting_name(unsigned i)
{
    return meetings[i].name;
}

static void begin_round(struct round *r)
{
    uint64_t batch = guest_option("batch", BATCH);
    unsigned n = r->number++;

    shuffle(r);
    r->place = &places[next("places", place_name, NR_PLACES, n)];
    r->kind = next("kinds", kind_name, TEST_KINDS, n / NR_PLACES);
    r->meeting = &meetings[next("meet", meeting_name, NR_MEETINGS, n / NR_PLACES / TEST_KINDS)];
    r->skew_mask = guest_random(&r->random) & guest_option("skew", SKEW);
    r->done += r->batch + 1;
    r->batch = batch < capacity(r->place) ? batch : capacity(r->place);
}

static struct role role_of(const struct round *r, unsigned hart)
{
    unsigned threads = r->test->nr_threads, part = 0;
    unsigned copies = guest_harts / threads < COPIES ? guest_harts / threads : COPIES;

    while (r->order[part] != hart)
        part++;
    return (struct role){part / threads < copies, part / threads, part % threads,
                         &r->order[part - part % threads]};
}

/* Each thread clears its share: the caches, or the ranks, start in various states. */
static void clear(const struct round *r, const struct role *role)
{
    for (uint64_t i = role->thread; i < r->batch; i += r->test->nr_threads)
        for (unsigned v = 0; v < TEST_VARS; v++)
            *(volatile uint64_t *)variable(r, role->copy, v, i) = 0;
}

/* The threads of a copy start together, if those that run them can: whoever runs ahead meets
 * nobody. */
static void assemble(const struct guest_work *w, unsigned peers)
{
    unsigned looks = START_LOOKS;

    *w->own = w->first;
    for (unsigned i = 0; i < peers; i++)
        while (*w->peer[i] < w->first && looks)
            if (!(--looks & w->spins))
                guest_pause();
}

static void run(const struct round *r, const struct role *role, unsigned hart)
{
    struct guest_work w = {
        .first = r->done, .end = r->done + r->batch, .results = results_of(hart)};
    unsigned peers = 0;

    for (unsigned v = 0; v < TEST_VARS; v++)
        w.var[v] = variable(r, role->copy, v, 0);
    w.stride = r->place->stride;
    w.polls = r->meeting->waits ? guest_option("polls", POLLS) : 0;
    w.spins = r->meeting->spins;
    w.skew = (r->random ^ (uint64_t)hart * 0x9e3779b97f4a7c15) >> 32 | 1;
    w.skew_mask = r->skew_mask;
    w.own = &progress[hart].at;
    for (unsigned t = 0; t < r->test->nr_threads; t++)
        if (t != role->thread)
            w.peer[peers++] = &progress[role->harts[t]].at;
    assemble(&w, peers);
    r->test->thread[r->kind][role->thread](&w);
}

/* ---- outcomes ---- */

static uint64_t digit(uint64_t value)
{
    return value < TEST_VALUE_OTHER ? value : TEST_VALUE_OTHER;
}

static uint64_t last_value(const struct round *r, unsigned copy, unsigned var, uint64_t i)
{
    uint64_t at = variable(r, copy, var, i);

    return r->kind == TEST_64 ? *(volatile uint64_t *)at : *(volatile uint32_t *)at;
}

static uint64_t outcome_of(const struct round *r, const struct role *role, uint64_t i)
{
    uint64_t key = 0;
    unsigned shift = 0;

    for (unsigned t = 0; t < r->test->nr_threads; t++) {
        unsigned regs = r->test->thread_regs[t];
        const uint64_t *result = results_of(role->harts[t]) + i * regs;
        for (unsigned k = 0; k < regs; k++, shift += 4)
            key |= digit(result[k]) << shift;
    }
    for (unsigned v = 0; v < TEST_VARS; v++)
        key |= digit(last_value(r, role->copy, v, i)) << (4 * (TEST_REGS + v));
    return key;
}

/* The index of an allowed outcome; nr_outcomes when it is none. */
static unsigned find(const struct guest_test *t, uint64_t key)
{
    unsigned low = 0, high = t->nr_outcomes;

    while (low < high) {
        unsigned mid = (low + high) / 2;
        if (t->outcome[mid].key < key)
            low = mid + 1;
        else
            high = mid;
    }
    return low < t->nr_outcomes && t->outcome[low].key == key ? low : t->nr_outcomes;
}

static void note_strange(struct seen *s, const struct round *r, uint64_t key)
{
    struct strange *x = s->strange;

    while (x < s->strange + s->nr_strange && x->key != key)
        x++;
    if (x == s->strange + MAX_STRANGE)
        x--;
    else if (x == s->strange + s->nr_strange)
        s->strange[s->nr_strange++] = (struct strange){key, 0, r->place, r->kind};
    x->count++;
}

static void collect(const struct round *r, const struct role *role)
{
    struct seen *s = &seen[role->copy];

    for (uint64_t i = 0; i < r->batch; i++) {
        uint64_t key = outcome_of(r, role, i);
        unsigned at = find(r->test, key);
        if (at < r->test->nr_outcomes)
            s->count[at]++;
        else
            note_strange(s, r, key);
    }
}

/* ---- report ---- */

static void print_outcome(const struct guest_test *t, uint64_t key)
{
    unsigned reg = 0;

    for (unsigned thread = 0; thread < t->nr_threads; thread++)
        for (unsigned k = 0; k < t->thread_regs[thread]; k++, reg++)
            guest_print(" %u:%c=%u", thread, t->reg_name[reg], (unsigned)(key >> 4 * reg & 15));
    for (unsigned v = 0; v < TEST_VARS; v++)
        if (t->vars >> v & 1)
            guest_print(" [%c]=%u", "xyzw"[v], (unsigned)(key >> 4 * (TEST_REGS + v) & 15));
}

static uint64_t report_strange(const struct guest_test *t)
{
    uint64_t n = 0;

    for (unsigned c = 0; c < COPIES; c++)
        for (unsigned i = 0; i < seen[c].nr_strange; i++) {
            const struct strange *x = &seen[c].strange[i];
            guest_print("FORBIDDEN %s:", t->name);
            print_outcome(t, x->key);
            guest_print("  %U times (first: places=%s kinds=%s)\n", x->count, x->place->name,
                        kind_name(x->kind));
            n += x->count;
        }
    return n;
}

static void report(const struct guest_test *t)
{
    uint64_t by_model[NR_MODELS] = {0}, weak = 0, strange = report_strange(t);
    unsigned different = 0;

    for (unsigned i = 0; i < t->nr_outcomes; i++) {
        uint64_t count = 0;
        for (unsigned c = 0; c < COPIES; c++)
            count += seen[c].count[i];
        by_model[t->outcome[i].model] += count;
        different += count != 0;
        if ((t->outcome[i].key & t->weak_mask) == t->weak)
            weak += count;
    }
    uint64_t ok = by_model[MODEL_SC] + by_model[MODEL_TSO] + by_model[MODEL_RVWMO];
    guest_print("LITMUS %s  ok %U  allowed-weak %U  (tso %U rvwmo %U, outcomes %u of %u)\n",
                t->name, ok, weak, by_model[MODEL_TSO], by_model[MODEL_RVWMO], different,
                t->nr_outcomes);
    nr_run++;
    nr_forbidden += strange != 0;
    instances += ok + strange;
    for (unsigned c = 0; c < COPIES; c++)
        seen[c] = (struct seen){0};
}

/* ---- the run ---- */

static void run_test(struct round *r, unsigned hart)
{
    uint64_t iterations = guest_option("iterations", 4000);

    for (uint64_t n = 0; n < iterations; n += r->batch) {
        begin_round(r);
        struct role role = role_of(r, hart);
        if (role.active)
            clear(r, &role);
        guest_barrier();
        if (role.active)
            run(r, &role, hart);
        guest_barrier();
        if (role.active && role.thread == 0)
            collect(r, &role);
        guest_barrier();
    }
    if (hart == 0)
        report(r->test);
    guest_barrier();
}

static int wanted(const struct guest_test *t)
{
    if (guest_option_text("tests"))
        return chosen("tests", t->name);
    if (guest_option_text("groups"))
        return chosen("groups", t->group);
    return !(t->name[0] == 'B' && t->name[1] == 'R'); /* BROKEN+... only by name */
}

static void finish(void)
{
    guest_print("LITMUS ran %u tests, %U instances, %u with forbidden outcomes, %u skipped (too "
                "few harts)\n",
                nr_run, instances, nr_forbidden, nr_skipped);
    if (nr_forbidden)
        guest_end(EXIT_FORBIDDEN);
    guest_end(nr_run ? 0 : EXIT_NOTHING);
}

void guest_main(unsigned hart)
{
    struct round r = {.random = guest_option("seed", 1),
                      .number = (unsigned)guest_option("seed", 0)};

    for (unsigned i = 0; i < guest_harts; i++)
        r.order[i] = (uint8_t)i;
    for (uint32_t i = 0; i < guest_nr_tests; i++) {
        r.test = &guest_tests[i];
        if (!wanted(r.test))
            continue;
        if (r.test->nr_threads <= guest_harts)
            run_test(&r, hart);
        else if (hart == 0)
            nr_skipped++;
    }
    if (hart == 0)
        finish();
}
