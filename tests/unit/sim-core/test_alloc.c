/* Memory in whole pages: what the host gives, and when. */
#include "sim_test.h"

#include <sys/resource.h>
#include <unistd.h>

#include "sim-core/alloc.h"

enum { PAGES = 8 };

static long faults(void)
{
    struct rusage r;

    assert_int_equal(getrusage(RUSAGE_SELF, &r), 0);
    return r.ru_minflt + r.ru_majflt;
}

static void check_zeroed(uint8_t *p, size_t size)
{
    assert_int_equal((uintptr_t)p % (size_t)getpagesize(), 0);
    for (size_t at = 0; at < size; at += 64)
        assert_int_equal(p[at], 0);
    memset(p, 0xa5, size);
    for (size_t at = 0; at < size; at += 64)
        assert_int_equal(p[at], 0xa5);
}

static void test_pages_are_zeroed(void **state)
{
    size_t size = PAGES * (size_t)getpagesize();
    uint8_t *pages = sim_zalloc_pages(size), *read_first = sim_zalloc_read_first(size);

    (void)state;
    check_zeroed(pages, size);
    check_zeroed(read_first, size);
    sim_free_pages(pages, size);
    sim_free_pages(read_first, size);
}

/* The page that a read was given is the one that is written. */
static void test_pages_come_when_they_are_read(void **state)
{
    size_t page = (size_t)getpagesize(), size = PAGES * page;
    volatile uint8_t *p = sim_zalloc_read_first(size);
    long before = faults();

    (void)state;
    before = faults();
    for (size_t n = 0; n < PAGES; n++)
        assert_int_equal(p[n * page + 5], 0);
    long read = faults();
    assert_in_range(read - before, 1, PAGES);
    for (size_t n = 0; n < PAGES; n++)
        p[n * page + 5] = 1;
    assert_int_equal(faults() - read, 0);
    sim_free_pages((void *)(uintptr_t)p, size);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_pages_are_zeroed),
        cmocka_unit_test(test_pages_come_when_they_are_read),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
