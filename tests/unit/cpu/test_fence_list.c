/* Lists of fences that are to be done: every one that was added is, by few ranges. */
#include "hart_fixture.h"

struct list {
    struct rv_fence_range range[RV_FENCE_LIST];
    uint32_t nr;
};

static void add(struct list *l, uint64_t va, uint64_t size, uint64_t asid)
{
    struct rv_fence_range r = {va, size, asid};

    rv_fence_list_add(l->range, &l->nr, &r);
    assert_in_range(l->nr, 0, RV_FENCE_LIST);
}

/* Those are fences of everything. */
static bool wraps(const struct rv_fence_range *r)
{
    return r->size == UINT64_MAX || r->va + (r->size - 1) < r->va;
}

static uint64_t last_of(const struct rv_fence_range *r)
{
    return wraps(r) ? UINT64_MAX : r->va + (r->size - 1);
}

static bool has_byte(const struct rv_fence_range *r, uint64_t va)
{
    return r->size && va <= last_of(r) && (va >= r->va || wraps(r));
}

/* Is a fence of that address space done at va? */
static bool covers(const struct list *l, uint64_t va, uint64_t asid)
{
    for (uint32_t i = 0; i < l->nr; i++) {
        const struct rv_fence_range *r = &l->range[i];
        if (has_byte(r, va) &&
            (r->asid == asid || r->asid == RV_ASID_ANY || (r->asid == RV_ASID_EACH && asid != RV_ASID_ANY)))
            return true;
    }
    return false;
}

static void test_pages_of_one_address_space_become_a_range(void **state)
{
    struct list l = {.nr = 0};

    (void)state;
    for (uint64_t i = 0; i < 1000; i++)
        add(&l, 0x100000 + i * 4096, 4096, 5);
    assert_int_equal(l.nr, 1);
    assert_int_equal(l.range[0].va, 0x100000);
    assert_int_equal(l.range[0].size, 1000 * 4096);
    add(&l, 0xff000, 4096, 5); /* in front of it */
    add(&l, 0x200000, 100, 5); /* in it */
    assert_int_equal(l.nr, 1);
    assert_int_equal(l.range[0].va, 0xff000);
    add(&l, 0x100000, 4096, 6);
    add(&l, 0x100000, 4096, RV_ASID_ANY);
    assert_int_equal(l.nr, 3);
    add(&l, 0, 0, 7); /* of nothing */
    assert_int_equal(l.nr, 3);
}

static void test_the_nearest_grows_when_there_is_no_room(void **state)
{
    struct list l = {.nr = 0};

    (void)state;
    for (uint64_t i = 0; i < RV_FENCE_LIST; i++)
        add(&l, i << 30, 4096, 5);
    add(&l, (3ull << 30) + 0x100000, 4096, 5);
    assert_int_equal(l.nr, RV_FENCE_LIST);
    assert_int_equal(l.range[3].size, 0x101000);
    assert_int_equal(l.range[4].size, 4096);
    add(&l, (4ull << 30) - 0x1000, 0x800, 5); /* nearer to the next */
    assert_int_equal(l.range[4].va, (4ull << 30) - 0x1000);
    assert_int_equal(l.range[3].size, 0x101000);
}

/* Many address spaces: all of them from the first to the last page, but no global page. */
static void test_global_pages_stay_apart(void **state)
{
    struct list l = {.nr = 0};
    uint64_t kernel = 0xffffffd800000000;

    (void)state;
    add(&l, kernel, 4096, RV_ASID_ANY);
    for (uint64_t asid = 0; asid < 500; asid++)
        add(&l, 0x10000 * asid, 4096, asid);
    assert_true(covers(&l, kernel, RV_ASID_ANY));
    assert_false(covers(&l, kernel + 4096, RV_ASID_ANY));
    assert_false(covers(&l, 0x10000, RV_ASID_ANY));
    for (uint64_t asid = 0; asid < 500; asid++)
        assert_true(covers(&l, 0x10000 * asid, asid));
    assert_false(covers(&l, 0x10000 * 500, 3));

    l.nr = 0;
    for (uint64_t n = 0; n < 7; n++) /* one kind fills it, the other comes last */
        add(&l, kernel + (n << 21), 4096, RV_ASID_ANY);
    add(&l, 0x1000, 4096, 1);
    add(&l, 0x1000, 4096, 2);
    assert_true(covers(&l, 0x1000, 1));
    assert_true(covers(&l, 0x1000, 2));
    assert_false(covers(&l, 0x1000, RV_ASID_ANY));
}

static void test_ranges_to_the_ends(void **state)
{
    struct list l = {.nr = 0};

    (void)state;
    add(&l, UINT64_MAX - 100, 101, 1); /* to the end */
    add(&l, 0, 4096, 1);
    assert_int_equal(l.nr, 2);
    assert_true(covers(&l, UINT64_MAX, 1));
    add(&l, UINT64_MAX - 200, 101, 1); /* up to it */
    assert_int_equal(l.nr, 2);
    add(&l, UINT64_MAX - 50, 4096, 2); /* wraps: everything */
    assert_true(covers(&l, 1ull << 50, 2));
    add(&l, 0x1000, 4096, 2);
    assert_int_equal(l.nr, 3);
    assert_true(covers(&l, 1ull << 50, 2));
    assert_true(covers(&l, UINT64_MAX, 1));
    assert_false(covers(&l, 1ull << 50, 1));
    add(&l, 0x123000, UINT64_MAX, 1); /* everything */
    assert_int_equal(l.nr, 3);
    assert_true(covers(&l, 0, 1));
    assert_true(covers(&l, 1ull << 50, 1));
    assert_true(covers(&l, UINT64_MAX, 1));
}

/* Whatever is added is done, at its first byte, its last and in between. */
static void test_nothing_is_lost(void **state)
{
    static struct rv_fence_range added[64];
    uint64_t seed = 1;

    (void)state;
    for (unsigned round = 0; round < 20000; round++) {
        struct list l = {.nr = 0};
        unsigned nr = 1 + round % SIM_ARRAY_LEN(added);
        for (unsigned n = 0; n < nr; n++) {
            uint64_t x = seed = seed * 6364136223846793005 + 1442695040888963407, kind = x >> 60;
            struct rv_fence_range *r = &added[n];
            r->va = (x >> 20 & 0xff) << (kind & 1 ? 12 : 56) | (kind & 2 ? 0xffffffc000000000 : 0);
            r->size = kind == 15 ? UINT64_MAX : kind == 14 ? 0 : (1 + (x >> 30 & 31)) << (kind & 4 ? 12 : 3);
            r->asid = x >> 40 & 7;
            if (r->asid < 2)
                r->asid = RV_ASID_ANY;
            else if (kind & 8)
                r->asid = x >> 44 & 0xffff;
            add(&l, r->va, r->size, r->asid);
        }
        for (unsigned n = 0; n < nr; n++) {
            const struct rv_fence_range *r = &added[n];
            uint64_t first = wraps(r) ? 0 : r->va;
            assert_true(!r->size || (covers(&l, first, r->asid) && covers(&l, last_of(r), r->asid) &&
                                     covers(&l, first + (last_of(r) - first) / 2, r->asid)));
        }
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_pages_of_one_address_space_become_a_range),
        cmocka_unit_test(test_the_nearest_grows_when_there_is_no_room),
        cmocka_unit_test(test_global_pages_stay_apart),
        cmocka_unit_test(test_ranges_to_the_ends),
        cmocka_unit_test(test_nothing_is_lost),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
