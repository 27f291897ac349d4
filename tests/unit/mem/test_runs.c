/* Runs of pages that are written without a word of each: what is in them, and who is told that there may be some. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "mem/space.h"
#include "sim-core/alloc.h"
#include "sim-core/lock.h"

#define RAM 0x80000000ull
#define AREA (1ull << MEM_AREA_BITS)
#define PAGE GUEST_PAGE_SIZE
enum { AREAS = 32, SIDE = 2 /* areas that a run has at most to either side */ };

struct env {
    struct sim *sim;
    struct mem_space *s;
};

struct run {
    uint64_t first, end;
};

static int setup(void **state)
{
    struct env *e = sim_new(struct env);

    assert_int_equal(sim_create(&e->sim), SIM_OK);
    assert_int_equal(mem_space_create(e->sim, &e->s), SIM_OK);
    assert_int_equal(mem_add_ram(e->s, "ram", RAM, AREAS * AREA), SIM_OK);
    assert_int_equal(mem_seal_ram(e->s), SIM_OK);
    *state = e;
    return 0;
}

static int teardown(void **state)
{
    struct env *e = *state;

    mem_space_destroy(e->s);
    sim_destroy(e->sim);
    sim_free(e);
    return 0;
}

/* Pages [first, end) get their marks as by fills and DMA. */
static void mark(struct env *e, uint64_t first, uint64_t end)
{
    for (uint64_t off = first; off < end; off += PAGE)
        mem_put_dirty(e->s, off);
}

/* Within all of RAM. */
static bool open_run(struct env *e, uint64_t off, struct run *r)
{
    *r = (struct run){0, AREAS * AREA};
    return mem_open_run(e->s, off, &r->first, &r->end);
}

#define assert_run(e, off, from, to)                                                                                   \
    do {                                                                                                               \
        struct run r_;                                                                                                 \
        assert_true(open_run(e, off, &r_));                                                                            \
        assert_int_equal(r_.first, from);                                                                              \
        assert_int_equal(r_.end, to);                                                                                  \
    } while (0)

static uint32_t mark_code(struct env *e, uint64_t off)
{
    return mem_mark_code(e->s, RAM + off);
}

/* vCPU `who` gets a write entry for the page. */
static void acquire(struct env *e, uint64_t off, uint32_t who)
{
    uint8_t *host;
    bool writable;

    assert_int_equal(mem_page_acquire(e->s, RAM + off, true, who, &host, &writable), MEM_OK);
    assert_true(writable);
}

/* --- what is in a run --- */

static void test_marked_pages_around(void **state)
{
    struct env *e = *state;
    struct run r;

    mark(e, 5 * PAGE, 9 * PAGE);
    mark(e, 10 * PAGE, 12 * PAGE);
    assert_run(e, 5 * PAGE, 5 * PAGE, 9 * PAGE);
    assert_run(e, 7 * PAGE + 0x123, 5 * PAGE, 9 * PAGE);
    assert_run(e, 8 * PAGE, 5 * PAGE, 9 * PAGE);
    assert_run(e, 11 * PAGE, 10 * PAGE, 12 * PAGE);
    assert_false(open_run(e, 4 * PAGE, &r));
    assert_false(open_run(e, 9 * PAGE + 8, &r));
    assert_true(mem_take_dirty(e->s, 7 * PAGE));
    assert_false(open_run(e, 7 * PAGE, &r));
    assert_run(e, 6 * PAGE, 5 * PAGE, 7 * PAGE);
    assert_run(e, 8 * PAGE, 8 * PAGE, 9 * PAGE);
}

/* A write entry marks its page, a read entry does not. */
static void test_entries_mark_what_they_write(void **state)
{
    struct env *e = *state;
    uint8_t *host;
    bool writable;
    struct run r;

    acquire(e, 3 * PAGE, 0);
    acquire(e, 4 * PAGE, 1);
    assert_int_equal(mem_page_acquire(e->s, RAM + 5 * PAGE, false, 0, &host, &writable), MEM_OK);
    assert_run(e, 3 * PAGE, 3 * PAGE, 5 * PAGE);
    assert_false(open_run(e, 5 * PAGE, &r));
}

static void test_the_caller_cuts(void **state)
{
    static const struct run rows[] = {{3 * PAGE, 9 * PAGE}, {0, 6 * PAGE}, {5 * PAGE, 6 * PAGE}, {4 * PAGE, 7 * PAGE}, {5 * PAGE, 40 * PAGE}};
    struct env *e = *state;

    mark(e, 0, 20 * PAGE);
    for (size_t n = 0; n < SIM_ARRAY_LEN(rows); n++) {
        struct run r = rows[n];
        assert_true(mem_open_run(e->s, 5 * PAGE, &r.first, &r.end));
        assert_int_equal(r.first, rows[n].first);
        assert_int_equal(r.end, rows[n].end < 20 * PAGE ? rows[n].end : 20 * PAGE);
    }
}

/* Nobody looks at all pages of a large memory. */
static void test_a_run_is_of_some_areas(void **state)
{
    struct env *e = *state;
    const uint64_t at = 8 * AREA + 5 * PAGE;

    mark(e, 0, 16 * AREA);
    assert_run(e, at, at - SIDE * AREA, at + SIDE * AREA);
    assert_run(e, 3 * PAGE, 0, SIDE * AREA + 3 * PAGE);
    assert_run(e, 16 * AREA - PAGE, (16 - SIDE) * AREA - PAGE, 16 * AREA);
}

static void test_no_runs_where_code_is(void **state)
{
    struct env *e = *state;
    struct run r;

    mark(e, 0, 5 * AREA);
    mark_code(e, 2 * AREA + 7 * PAGE);
    assert_false(open_run(e, 2 * AREA, &r));
    assert_false(open_run(e, 2 * AREA + 7 * PAGE, &r));
    assert_false(open_run(e, 3 * AREA - 1, &r));
    assert_run(e, 2 * AREA - 1, 0, 2 * AREA);
    assert_run(e, 3 * AREA, 3 * AREA, 5 * AREA);
    /* it had code, and will have some again */
    mem_settle_code(e->s, RAM + 2 * AREA);
    mem_unmark_code(e->s, RAM + 2 * AREA + 7 * PAGE);
    assert_false(open_run(e, 2 * AREA, &r));
}

/* --- who is told --- */

static void test_many_until_settled(void **state)
{
    struct env *e = *state;

    acquire(e, 9 * PAGE, 4);
    mark(e, 5 * PAGE, 8 * PAGE);
    assert_run(e, 6 * PAGE, 5 * PAGE, 8 * PAGE);
    assert_true(mem_area_is_asked(e->s, RAM + 9 * PAGE));
    assert_int_equal(mark_code(e, 20 * PAGE), MEM_PAGE_WRITER_MANY); /* a page of the area, in no run */
    assert_int_equal(mark_code(e, 6 * PAGE), MEM_PAGE_WRITER_MANY);  /* a second one, who asks as well */
    assert_int_equal(mark_code(e, 6 * PAGE), MEM_PAGE_WRITER_MANY);  /* and one for a page that is marked already */
    assert_true(mem_area_is_asked(e->s, RAM));
    mem_settle_code(e->s, RAM + 20 * PAGE);
    assert_false(mem_area_is_asked(e->s, RAM + 9 * PAGE));
    assert_int_equal(mark_code(e, 6 * PAGE), 0);
    assert_int_equal(mark_code(e, 7 * PAGE), 0);
    assert_int_equal(mark_code(e, 9 * PAGE), 4 + 1);
    acquire(e, 10 * PAGE, 2);
    acquire(e, 10 * PAGE, 3);
    assert_int_equal(mark_code(e, 10 * PAGE), MEM_PAGE_WRITER_MANY); /* of this page */
    assert_false(mem_area_is_asked(e->s, RAM));
}

static void test_a_run_is_told_of_in_all_its_areas(void **state)
{
    struct env *e = *state;

    mark(e, AREA - PAGE, 3 * AREA + PAGE);
    assert_run(e, 2 * AREA, AREA - PAGE, 3 * AREA + PAGE);
    for (unsigned area = 0; area < 4; area++)
        assert_int_equal(mark_code(e, area * AREA + 100 * PAGE), MEM_PAGE_WRITER_MANY);
    assert_int_equal(mark_code(e, 4 * AREA), 0);
    mem_settle_code(e->s, RAM + AREA);
    assert_int_equal(mark_code(e, AREA), 0);
    assert_int_equal(mark_code(e, 2 * AREA), MEM_PAGE_WRITER_MANY);
}

/* The last page of a run may be the last one of its area. */
static void test_a_run_ends_with_its_area(void **state)
{
    struct env *e = *state;

    mark(e, 2 * AREA - 2 * PAGE, 2 * AREA);
    assert_run(e, 2 * AREA - PAGE, 2 * AREA - 2 * PAGE, 2 * AREA);
    assert_int_equal(mark_code(e, 0), 0);
    assert_int_equal(mark_code(e, 2 * AREA), 0);
    assert_int_equal(mark_code(e, AREA), MEM_PAGE_WRITER_MANY);
}

static void test_areas_that_nobody_opened(void **state)
{
    struct env *e = *state;
    struct run r;

    acquire(e, 3 * PAGE, 6);
    mark(e, 0, 2 * AREA);
    assert_false(open_run(e, 2 * AREA, &r)); /* not marked */
    assert_false(mem_area_is_asked(e->s, RAM));
    assert_int_equal(mark_code(e, 3 * PAGE), 6 + 1);
    assert_int_equal(mark_code(e, 4 * PAGE), 0);
    assert_false(open_run(e, 5 * PAGE, &r)); /* not with code beside it */
    assert_false(mem_area_is_asked(e->s, RAM));
    assert_int_equal(mark_code(e, 2 * AREA), 0);
}

/* --- a run and a translator at once: one of them hears of the other --- */

enum { GROUP = 2 * SIDE + 1 /* areas; the last one of each is in no run */, GROUPS = AREAS / GROUP };

struct race {
    struct mem_space *s;
    _Atomic unsigned ready, begun; /* groups */
    bool opened[GROUPS]; /* with the first area */
};

static void wait_for(_Atomic unsigned *word, unsigned value)
{
    for (unsigned spins = 0; atomic_load(word) < value; spins++)
        if (spins > 10000)
            sim_thread_yield();
}

/* It goes down first: the group's first area was looked at long before the run is opened. */
static void *open_all(void *arg)
{
    struct race *race = arg;

    for (unsigned group = 0; group < GROUPS; group++) {
        const uint64_t begin = group * GROUP * AREA;
        uint64_t first = begin, end = begin + GROUP * AREA;
        wait_for(&race->ready, group + 1);
        atomic_store(&race->begun, group + 1);
        race->opened[group] = mem_open_run(race->s, begin + SIDE * AREA, &first, &end) && first == begin;
    }
    return NULL;
}

/* Pages are marked once and for all; areas are as new each time. */
static void race_once(struct env *e, unsigned spins)
{
    struct race race = {.s = e->s};
    struct sim_thread thread;
    bool told[GROUPS];

    for (unsigned area = 0; area < AREAS; area++)
        atomic_store(&e->s->area[area], 0);
    assert_int_equal(sim_thread_start(&thread, "opener", open_all, &race), SIM_OK);
    for (unsigned group = 0; group < GROUPS; group++) {
        atomic_store(&race.ready, group + 1);
        wait_for(&race.begun, group + 1);
        for (unsigned n = 0; n < spins; n++)
            sim_cpu_relax();
        told[group] = mark_code(e, group * GROUP * AREA) == MEM_PAGE_WRITER_MANY;
    }
    sim_thread_join(&thread);
    for (unsigned group = 0; group < GROUPS; group++)
        assert_true(told[group] || !race.opened[group]);
}

static void test_a_run_or_code_comes_first(void **state)
{
    struct env *e = *state;

    for (unsigned group = 0; group < GROUPS; group++)
        mark(e, group * GROUP * AREA, (group * GROUP + 2 * SIDE) * AREA);
    for (unsigned n = 0; n < 2000; n++)
        race_once(e, n % 40);
}

int main(void)
{
#define T(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
    const struct CMUnitTest tests[] = {
        T(test_marked_pages_around),
        T(test_entries_mark_what_they_write),
        T(test_the_caller_cuts),
        T(test_a_run_is_of_some_areas),
        T(test_no_runs_where_code_is),
        T(test_many_until_settled),
        T(test_a_run_is_told_of_in_all_its_areas),
        T(test_a_run_ends_with_its_area),
        T(test_areas_that_nobody_opened),
        T(test_a_run_or_code_comes_first),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
