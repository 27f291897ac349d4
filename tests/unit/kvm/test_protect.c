/* A checkpoint's cut: the guard is asked before a page's first write and never again; the pages written since are known. */
#include "kvm_fixture.h"
#include "sim-core/guard.h"

/* Adds 1 to the first word of each of pages 0x200..0x20f, reports by DATA, and again, until END. */
GUEST_CODE(writer, "  xor %ecx, %ecx\n"
                   "1: mov $0x200000, %edi\n"
                   "2: incl (%rdi); add $0x1000, %rdi; cmp $0x210000, %rdi; jne 2b\n"
                   "  inc %ecx; mov %ecx, (%rsi); jmp 1b\n");

enum { FIRST_PAGE = 0x200, NR_PAGES = 16 };

struct counting_guard {
    struct sim_guard guard;
    struct fixture *f;
    unsigned asked[RAM_SIZE >> GUEST_PAGE_BITS];
    uint32_t word[NR_PAGES]; /* of each page when the guard was asked */
};

static void before(struct sim_guard *guard, uint64_t first, uint64_t nr, bool write)
{
    struct counting_guard *g = (struct counting_guard *)guard;

    for (uint64_t page = first; write && page < first + nr; page++) {
        g->asked[page]++;
        if (page >= FIRST_PAGE && page < FIRST_PAGE + NR_PAGES && g->asked[page] == 1)
            memcpy(&g->word[page - FIRST_PAGE], g->f->space->ram + (page << GUEST_PAGE_BITS), 4);
    }
}

static uint32_t word_of(struct fixture *f, unsigned n)
{
    uint32_t w;

    assert_int_equal(mem_read(f->space, (FIRST_PAGE + n) << GUEST_PAGE_BITS, &w, sizeof w), MEM_OK);
    return w;
}

/* Turns until the guest has reported `reports` more times. */
static void run_rounds(struct fixture *f, unsigned reports)
{
    f->memory.nr_writes = 0;
    for (uint64_t begin = sim_host_ns(); f->memory.nr_writes < reports && sim_host_ns() - begin < 30000000000ull;)
        f->v->ops->run(f->v, 0);
    assert_true(f->memory.nr_writes >= reports);
}

static unsigned count_dirty(struct fixture *f, unsigned first, unsigned nr)
{
    unsigned n = 0;

    for (unsigned page = first; page < first + nr; page++)
        n += mem_take_dirty(f->space, (uint64_t)page << GUEST_PAGE_BITS);
    return n;
}

static void test_guard_is_asked_before_first_writes(void **state)
{
    struct fixture f;
    static struct counting_guard g;

    (void)state;
    fixture_init(&f, 1);
    g = (struct counting_guard){.guard.before = before, .f = &f};
    BOOT(&f, writer);
    run_rounds(&f, 3);
    uint32_t then = word_of(&f, NR_PAGES - 1);
    hkvm_machine_collect_dirty(f.m);
    mem_set_guard(f.space, &g.guard);
    hkvm_machine_write_protect(f.m);
    run_rounds(&f, 3);
    hkvm_machine_collect_dirty(f.m); /* the handler is done */
    for (unsigned i = 0; i < NR_PAGES; i++) {
        assert_true(g.asked[FIRST_PAGE + i] >= 1);
        assert_in_range(g.word[i], then, then + 1); /* the cut may lie within a round */
        assert_true(word_of(&f, i) >= g.word[i] + 2);
    }
    assert_int_equal(g.asked[FIRST_PAGE + NR_PAGES], 0); /* nobody wrote there */
    mem_set_guard(f.space, NULL);
    memset(g.asked, 0, sizeof g.asked);
    run_rounds(&f, 3);
    hkvm_machine_collect_dirty(f.m);
    assert_int_equal(g.asked[FIRST_PAGE], 0);
    fixture_fini(&f);
}

static void test_written_pages_are_known(void **state)
{
    struct fixture f;

    (void)state;
    fixture_init(&f, 1);
    BOOT(&f, writer);
    hkvm_machine_collect_dirty(f.m); /* from here on */
    count_dirty(&f, 0, RAM_SIZE >> GUEST_PAGE_BITS);
    run_rounds(&f, 2);
    hkvm_machine_collect_dirty(f.m);
    assert_int_equal(count_dirty(&f, FIRST_PAGE, NR_PAGES), NR_PAGES);
    assert_int_equal(count_dirty(&f, FIRST_PAGE + NR_PAGES, 64), 0);
    hkvm_machine_collect_dirty(f.m); /* nothing ran meanwhile */
    assert_int_equal(count_dirty(&f, FIRST_PAGE, NR_PAGES), 0);
    run_rounds(&f, 2);
    hkvm_machine_collect_dirty(f.m);
    assert_int_equal(count_dirty(&f, FIRST_PAGE, NR_PAGES), NR_PAGES);
    fixture_fini(&f);
}

static int run(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_guard_is_asked_before_first_writes),
        cmocka_unit_test(test_written_pages_are_known),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}

int main(void)
{
    return run_or_skip(run);
}
