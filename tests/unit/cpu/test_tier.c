/* The second tier of the JIT: hot code is replaced in the background, what was written or forgotten meanwhile is not,
 * and nobody computes anything else for it. (Semantics of the code: isa.lockstep.tiers.) */
#include "jit_fixture.h"

#include "jit.h"
#include "jit_priv.h"
#include "sim-core/lock.h"

enum { MANY = 1 << 30 };

static int set_up_with(void **state, uint64_t cache)
{
    static struct rig rig;

    jit_rig_init(&rig, rig_isa(), RV_JIT_AUTO, cache);
    jit_set_options(rig.m->jit, &(struct jit_options){.tier = RV_JIT_AUTO, .threshold = 2, .hot_insns = 1});
    *state = &rig;
    return 0;
}

static int set_up(void **state)
{
    return set_up_with(state, 0);
}

static int set_up_small_cache(void **state)
{
    return set_up_with(state, 1 << 20);
}

/* a0 counts by `step`, a1 by 1. */
static void put_count_loop(struct rig *r, gpa_t gpa, int step)
{
    uint32_t code[] = {addi(A0, A0, step), addi(A1, A1, 1), bne(A1, T0, -8), J_SELF};

    rig_put_code(r, gpa, code, 4);
}

/* Runs the loop from its start: it must count right, and be charged for. */
static void count(struct rig *r, gpa_t gpa, int step, uint64_t insns)
{
    struct rv_hart *h = r->h;

    h->pc = gpa;
    h->x[A0] = h->x[A1] = 0;
    h->x[T0] = MANY;
    h->insns = rv_insns(h);
    h->slice = h->budget = (int64_t)insns;
    atomic_store(&h->vcpu.kick, 0);
    vcpu_enter(&h->vcpu);
    while (h->budget >= 0) /* a cache that was emptied ends it early */
        jit_run(h);
    vcpu_leave(&h->vcpu);
    uint64_t retired = (uint64_t)(h->slice - h->budget), rest = retired % 3;
    assert_in_range(retired, insns, insns + 10);
    assert_int_equal(h->pc, gpa + 4 * rest);
    assert_int_equal(h->x[A1], retired / 3 + (rest > 1));
    assert_int_equal(h->x[A0], (retired / 3 + (rest > 0)) * (uint64_t)step);
}

static struct rv_machine_stats stats(struct rig *r)
{
    struct rv_machine_stats s = {0};

    jit_get_stats(r->m->jit, &s);
    return s;
}

static struct jit_region *region_at(struct rig *r, gpa_t gpa)
{
    const void *code;

    return jit_find(r->m->jit, r->h, gpa, &code);
}

static void test_hot_code_becomes_better(void **state)
{
    struct rig *r = *state;

    put_count_loop(r, RAM_BASE, 1);
    count(r, RAM_BASE, 1, 3000);
    assert_true(region_at(r, RAM_BASE)->quick);
    jit_settle(r->m->jit);
    assert_int_equal(stats(r).promotions, 0); /* harts install */
    count(r, RAM_BASE, 1, 3000);
    assert_int_equal(stats(r).promotions, 1);
    assert_false(region_at(r, RAM_BASE)->quick);
    count(r, RAM_BASE, 1, 3000);
    jit_settle(r->m->jit);
    count(r, RAM_BASE, 1, 3000);
    assert_int_equal(stats(r).promotions, 1); /* once */
}

/* Jumps into the loop at +0x80. */
static void call(struct rig *r)
{
    r->h->pc = RAM_BASE;
    r->h->x[A0] = r->h->x[A1] = 0;
    r->h->insns = rv_insns(r->h);
    r->h->slice = r->h->budget = 30;
    vcpu_enter(&r->h->vcpu);
    jit_run(r->h);
    vcpu_leave(&r->h->vcpu);
    assert_int_equal(r->h->x[A0], 1 + 2 * (r->h->x[A1] + (r->h->pc == RAM_BASE + 0x84)));
}

/* Exits that were linked to the old code go to the new, and from there to nowhere when it dies. */
static void test_links_move(void **state)
{
    struct rig *r = *state;
    uint32_t caller[] = {addi(A0, A0, 1), 0x07c0006f /* j 0x80 */};

    jit_set_options(r->m->jit, &(struct jit_options){.tier = RV_JIT_AUTO, .threshold = 2, .hot_insns = 2000});
    put_count_loop(r, RAM_BASE + 0x80, 2);
    rig_put_code(r, RAM_BASE, caller, 2);
    for (unsigned n = 0; n < 8; n++)
        call(r);
    struct jit_region *old = region_at(r, RAM_BASE + 0x80);
    assert_true(old->quick);
    assert_non_null(old->incoming);
    count(r, RAM_BASE + 0x80, 2, 3000);
    jit_settle(r->m->jit);
    count(r, RAM_BASE + 0x80, 2, 30); /* not by the link */
    struct jit_region *better = region_at(r, RAM_BASE + 0x80);
    assert_false(better->quick);
    assert_null(old->incoming);
    assert_non_null(better->incoming);
    assert_ptr_equal(better->incoming->linked, better);
    call(r);
    put_count_loop(r, RAM_BASE + 0x80, 3);
    assert_null(better->incoming);
    assert_null(region_at(r, RAM_BASE + 0x80));
    count(r, RAM_BASE + 0x80, 3, 300);
}

static void test_only_what_lives_is_replaced(void **state)
{
    struct rig *r = *state;

    put_count_loop(r, RAM_BASE, 1);
    count(r, RAM_BASE, 1, 300);
    struct jit_region *old = region_at(r, RAM_BASE);
    jit_settle(r->m->jit);
    count(r, RAM_BASE, 1, 300);
    struct jit_region *better = region_at(r, RAM_BASE);
    assert_ptr_not_equal(better, old);
    sim_mutex_lock(&r->m->jit->registry);
    assert_false(jit_replace(r->m->jit, old, better));
    sim_mutex_unlock(&r->m->jit->registry);
    assert_ptr_equal(region_at(r, RAM_BASE), better);
}

static void test_code_written_meanwhile_is_not_replaced(void **state)
{
    struct rig *r = *state;

    for (int step = 1; step < 100; step++) {
        put_count_loop(r, RAM_BASE, step);
        count(r, RAM_BASE, step, 300);
        if (step & 1)
            jit_settle(r->m->jit); /* it is made, and waits */
    }
    put_count_loop(r, RAM_BASE, 100);
    count(r, RAM_BASE, 100, 300);
    assert_int_equal(stats(r).promotions, 0);
}

/* Data beside the code: the region lives, but nobody can say what its translation was made of. It is wanted again. */
static void test_a_page_written_meanwhile(void **state)
{
    struct rig *r = *state;

    put_count_loop(r, RAM_BASE, 1);
    count(r, RAM_BASE, 1, 300);
    jit_settle(r->m->jit);
    rig_put64(r, RAM_BASE + 0x800, 1);
    count(r, RAM_BASE, 1, 300);
    assert_int_equal(stats(r).promotions, 0);
    jit_settle(r->m->jit);
    count(r, RAM_BASE, 1, 300);
    assert_int_equal(stats(r).promotions, 1);
}

static void test_everything_is_forgotten_meanwhile(void **state)
{
    struct rig *r = *state;

    put_count_loop(r, RAM_BASE, 1);
    for (unsigned n = 0; n < 100; n++) {
        count(r, RAM_BASE, 1, 300);
        if (n & 1)
            jit_settle(r->m->jit);
        jit_flush(r->m->jit);
        assert_null(region_at(r, RAM_BASE));
    }
    count(r, RAM_BASE, 1, 300);
    assert_int_equal(stats(r).promotions, 0);
}

static void test_its_part_of_the_cache_fills_up(void **state)
{
    struct rig *r = *state;

    for (unsigned n = 0; n < 2000 && !stats(r).flushes; n++) {
        put_count_loop(r, RAM_BASE + 0x1000 * n, 1);
        count(r, RAM_BASE + 0x1000 * n, 1, 300);
        jit_settle(r->m->jit);
    }
    assert_int_equal(stats(r).flushes, 1);
    assert_true(stats(r).promotions > 100);
    assert_true(r->m->jit->cache.used < r->m->jit->cache.size / 2); /* so it was not the other part */
    count(r, RAM_BASE, 1, 300);
    jit_settle(r->m->jit);
    count(r, RAM_BASE, 1, 300);
    assert_false(region_at(r, RAM_BASE)->quick);
}

/* --- threads --- */

static _Atomic bool stop;

static void *run_hart(void *arg)
{
    struct rv_hart *h = arg;

    while (!atomic_load(&stop))
        (void)h->vcpu.ops->run(&h->vcpu, 5000);
    return NULL;
}

/* Two harts run a region that becomes hot again and again, while a device writes its code again and again. */
static void test_two_harts_and_a_writer(void **state)
{
    enum { HARTS = 2, ROUNDS = 300 };
    struct rig *r = *state;
    struct rv_isa isa = rig_isa();
    struct rv_hart *harts[HARTS] = {r->h, rig_add_hart(r, &isa)};
    struct sim_thread thread[HARTS] = {0};

    put_count_loop(r, RAM_BASE, 1);
    atomic_store(&stop, false);
    for (unsigned n = 0; n < HARTS; n++) {
        rv_hart_start(&harts[n]->vcpu, RAM_BASE, 0, 0);
        harts[n]->x[T0] = UINT64_MAX;
        assert_int_equal(sim_thread_start(&thread[n], "hart", run_hart, harts[n]), SIM_OK);
    }
    for (int n = 0; n < ROUNDS || (stats(r).promotions < 20 && n < 100 * ROUNDS); n++) {
        uint32_t word = addi(A0, A0, 1 + (n & 1));
        sim_thread_sleep(100000 + 10000 * (unsigned)(n % 50));
        if (n & 2)
            rig_put_code(r, RAM_BASE, &word, 1);
        else
            rig_put64(r, RAM_BASE + 0x800, 1);
    }
    uint32_t last = addi(A0, A0, 3);
    rig_put_code(r, RAM_BASE, &last, 1);
    atomic_store(&stop, true);
    for (unsigned n = 0; n < HARTS; n++) {
        sim_thread_join(&thread[n]);
        assert_in_range(harts[n]->x[A0], harts[n]->x[A1], 3 * harts[n]->x[A1] + 3);
    }
    count(r, RAM_BASE, 3, 3000);
    assert_true(stats(r).promotions >= 20);
    assert_true(stats(r).invalidations >= 20);
}

int main(void)
{
#define TEST(fn) cmocka_unit_test_setup_teardown(fn, set_up, jit_rig_tear_down)
    const struct CMUnitTest tests[] = {
        TEST(test_hot_code_becomes_better),
        TEST(test_links_move),
        TEST(test_only_what_lives_is_replaced),
        TEST(test_code_written_meanwhile_is_not_replaced),
        TEST(test_a_page_written_meanwhile),
        TEST(test_everything_is_forgotten_meanwhile),
        cmocka_unit_test_setup_teardown(test_its_part_of_the_cache_fills_up, set_up_small_cache, jit_rig_tear_down),
        TEST(test_two_harts_and_a_writer),
    };
#undef TEST
    return cmocka_run_group_tests(tests, NULL, NULL);
}
