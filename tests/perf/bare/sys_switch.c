/* Address-space switches: two page tables with their own ASIDs, a few pages touched after each. */
#include "bare.h"

enum { SWITCHES = 160000, PAGES = 8, PAGE = 4096, ASID_SHIFT = 44, PTE_PER_PAGE = 512 };

static uint64_t second_root[BARE_MAX_HARTS][PTE_PER_PAGE] __attribute__((aligned(4096)));
/* The window's own tables, at 3 GiB: middle and leaf for each of the two spaces. */
static uint64_t first_root[BARE_MAX_HARTS][PTE_PER_PAGE] __attribute__((aligned(4096)));
static uint64_t tables[BARE_MAX_HARTS][4][PTE_PER_PAGE] __attribute__((aligned(4096)));
#define WINDOW ((volatile uint64_t *)0xc0000000)

static uint64_t entry(const void *page, uint64_t flags)
{
    return (uintptr_t)page >> 12 << 10 | flags;
}

static void make_space(uint64_t *root, uint64_t *middle, uint64_t *leaf, const uint8_t *pages)
{
    for (unsigned i = 0; i < PTE_PER_PAGE; i++)
        root[i] = bare_root()[i];
    root[(uintptr_t)WINDOW >> 30] = entry(middle, PTE_V);
    middle[0] = entry(leaf, PTE_V);
    for (unsigned i = 0; i < PAGES; i++)
        leaf[i] = entry(pages + i * PAGE, PTE_KERNEL);
}

static uint64_t satp(const uint64_t *root, uint64_t asid)
{
    return 8ull << 60 | asid << ASID_SHIFT | (uintptr_t)root >> 12;
}

PERF_KERNEL(env)
{
    uint8_t *pages = perf_alloc(env, (2 * PAGES + 1) * PAGE);
    pages += -(uintptr_t)pages & (PAGE - 1);
    uint64_t(*t)[PTE_PER_PAGE] = tables[env->hart], sum = 0;
    make_space(first_root[env->hart], t[0], t[1], pages);
    make_space(second_root[env->hart], t[2], t[3], pages + PAGES * PAGE);
    uint64_t space[2] = {satp(first_root[env->hart], 1), satp(second_root[env->hart], 2)};
    bare_sfence_all();
    for (unsigned i = 0; i < SWITCHES; i++) {
        bare_csr_write(satp, space[i & 1]);
        for (unsigned p = 0; p < PAGES; p++)
            sum += WINDOW[p * (PAGE / 8)] += i * p + (i & 1);
    }
    return sum;
}
