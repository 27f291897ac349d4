/* Blocks of the soft TLB: what of a superpage's surroundings is in one, and what takes it away. */
#include "page_tables.h"

#include "observe.h"

#define LEAF (2ull << 20)
#define PAGE GUEST_PAGE_SIZE
#define TABLE 0x40000000ull           /* what one table of leaves maps begins there */
#define VA (TABLE + 64 * LEAF)        /* where leaf 0 is */
#define HIGH 0xffffffd600000000ull    /* some other place, in the upper half */
enum { LEAVES = RAM_SIZE >> 21, PATIENCE = 8 /* fills until a block is looked for again */ };

static struct rig rig_;
static struct tables t_;

static gva_t va_of(unsigned leaf)
{
    return VA + leaf * LEAF;
}

static gpa_t gpa_of(unsigned leaf)
{
    return RAM_BASE + leaf * LEAF;
}

/* Leaf n of the address space is leaf n of RAM. */
static gpa_t map(unsigned leaf, uint64_t flags)
{
    return pt_map(&t_, va_of(leaf), gpa_of(leaf), 1, flags);
}

static void map_all(uint64_t flags)
{
    for (unsigned leaf = 0; leaf < LEAVES; leaf++)
        map(leaf, flags);
}

static int setup_with(void **state, bool sbi)
{
    rig_init(&rig_, sbi);
    if (!sbi)
        rig_open_pmp(rig_.h);
    pt_init(&t_, &rig_, SATP_SV39);
    pt_enter(&rig_, SATP_SV39, 1, RV_S);
    *state = &rig_;
    return 0;
}

static int setup(void **state)
{
    return setup_with(state, true);
}

static int setup_pmp(void **state)
{
    return setup_with(state, false);
}

static int teardown(void **state)
{
    rig_fini(*state);
    return 0;
}

static void load(struct rv_hart *h, gva_t va)
{
    uint64_t v;

    assert_true(rv_load(h, va, 8, &v));
}

static void store(struct rv_hart *h, gva_t va)
{
    assert_true(rv_store(h, va, 8, va));
}

/* So many pages that nobody has used yet that a block is looked for. */
static void load_patiently(struct rv_hart *h, gva_t at)
{
    for (unsigned n = 0; n < PATIENCE; n++)
        load(h, at + n * PAGE);
}

static const struct rv_tlb_slot *block_at(const struct rv_hart *h, gva_t va, bool write)
{
    const struct rv_tlb_slot *found = NULL;

    for (unsigned n = 0; n < RV_TLB_BLOCKS; n++) {
        const struct rv_tlb_slot *b = &h->tlb->block[write][n];
        if (va - b->lo < b->limit)
            found = b;
    }
    assert_int_equal(rv_tlb_in_block(h->tlb, va, write), found != NULL);
    return found;
}

static unsigned nr_blocks(const struct rv_hart *h, bool write)
{
    unsigned nr = 0;

    for (unsigned n = 0; n < RV_TLB_BLOCKS; n++)
        nr += h->tlb->block[write][n].limit != 0;
    return nr;
}

/* The block that has va is [first, end), which lies from gpa on. */
static void expect_block(struct rig *r, gva_t va, bool write, gva_t first, gva_t end, gpa_t gpa)
{
    const struct rv_tlb_slot *b = block_at(r->h, va, write);

    assert_non_null(b);
    assert_int_equal(b->lo, first);
    assert_int_equal(b->limit, end - first);
    assert_int_equal(b->addend + first, (uintptr_t)mem_ram_ptr(r->space, gpa, end - first));
}

static void expect_leaves(struct rig *r, unsigned leaf, unsigned first, unsigned end)
{
    expect_block(r, va_of(leaf), false, va_of(first), va_of(end), gpa_of(first));
}

static uint64_t offset_of(gpa_t gpa)
{
    return gpa - RAM_BASE;
}

static bool is_dirty(struct rig *r, gpa_t gpa)
{
    return mem_is_dirty(r->space, offset_of(gpa));
}

/* As DMA and fills of others do. */
static void make_dirty(struct rig *r, gpa_t first, gpa_t end)
{
    for (gpa_t gpa = first; gpa < end; gpa += PAGE)
        mem_put_dirty(r->space, offset_of(gpa));
}

/* Slots take a block over, as emit_find does. */
static void take_over(struct rv_hart *h, unsigned slot, gva_t va, bool write)
{
    h->tlb->slots[slot] = *block_at(h, va, write);
    h->tlb->slots[slot].limit -= 7;
}

static bool slot_has(const struct rv_hart *h, unsigned slot, gva_t va)
{
    return va - h->tlb->slots[slot].lo < h->tlb->slots[slot].limit;
}

/* --- extent --- */

static void test_a_load_finds_the_leaves_around(void **state)
{
    struct rig *r = *state;

    map_all(RWXAD);
    load(r->h, va_of(3) + 0x5678);
    expect_leaves(r, 3, 0, LEAVES);
    assert_int_equal(nr_blocks(r->h, false), 1);
    assert_int_equal(nr_blocks(r->h, true), 0);
    load(r->h, va_of(6)); /* it is in there */
    load_patiently(r->h, va_of(7));
    assert_int_equal(nr_blocks(r->h, false), 1);
}

/* Leaves that say something else, or nothing, on either side. */
static void test_a_block_ends_where_leaves_differ(void **state)
{
    static const struct {
        const char *what;
        uint64_t flags;
        gpa_t gpa; /* from the leaf's place on */
    } rows[] = {
        {"a hole", 0, 0},
        {"a hole with something in it", RWXAD & ~V, 0},
        {"no execution", RWXAD & ~X, 0},
        {"no stores", RWXAD & ~W, 0},
        {"a user's", RWXAD | U, 0},
        {"not accessed", RWXAD & ~A, 0},
        {"not dirty", RWXAD & ~D, 0},
        {"global", RWXAD | G, 0},
        {"software's bits", RWXAD | 1 << 8, 0},
        {"another memory type", RWXAD | PTE_PBMT_OF(1), 0},
        {"a reserved bit", RWXAD | 1ull << 54, 0},
        {"the next but one", RWXAD, LEAF},
        {"misaligned", RWXAD, 4096},
        {"a table", V, 0},
    };
    struct rig *r = *state;

    for (size_t n = 0; n < SIM_ARRAY_LEN(rows); n++) {
        map_all(RWXAD);
        pt_map(&t_, va_of(1), gpa_of(1) + rows[n].gpa, 1, rows[n].flags);
        pt_map(&t_, va_of(6), gpa_of(6) + rows[n].gpa, 1, rows[n].flags);
        rv_tlb_flush_all(r->h);
        load(r->h, va_of(3));
        const struct rv_tlb_slot *b = block_at(r->h, va_of(3), false);
        if (!b || b->lo != va_of(2) || b->limit != 4 * LEAF)
            fail_msg("%s: %llx, %llx", rows[n].what, b ? (unsigned long long)b->lo : 0, b ? (unsigned long long)b->limit : 0);
        expect_leaves(r, 3, 2, 6);
    }
}

/* The leaf is compared as it is after the access. */
static void test_accessed_and_dirty_as_the_access_left_them(void **state)
{
    struct rig *r = *state;

    map_all(RWXAD);
    map(4, RWXAD & ~D & ~A);
    map(5, RWXAD & ~D);
    load(r->h, va_of(4));
    expect_leaves(r, 4, 4, 6);
    make_dirty(r, gpa_of(2), gpa_of(7));
    store(r->h, va_of(4)); /* D comes with it: 5 is no neighbour any more */
    expect_block(r, va_of(4), true, va_of(2), va_of(5), gpa_of(2));
    assert_true(rig_get64(r, pt_slot(&t_, va_of(4), 1)) & D);
    assert_false(rig_get64(r, pt_slot(&t_, va_of(5), 1)) & D);
}

static void test_a_block_ends_with_ram(void **state)
{
    struct rig *r = *state;

    for (unsigned leaf = 0; leaf < LEAVES + 3; leaf++)
        map(leaf, RWXAD);
    pt_map(&t_, VA - LEAF, RAM_BASE - LEAF, 1, RWXAD);
    load(r->h, va_of(LEAVES - 1));
    expect_leaves(r, 1, 0, LEAVES);
    assert_null(block_at(r->h, va_of(LEAVES), false));
    uint64_t v;
    assert_false(rv_load(r->h, va_of(LEAVES), 8, &v));
    assert_int_equal(r->h->trap_cause, RV_EXC_LOAD_ACCESS);
}

/* The table of leaves ends, and goes on in the next one. */
static void test_a_block_is_of_one_table(void **state)
{
    struct rig *r = *state;
    const gva_t border = TABLE + 512 * LEAF;

    for (unsigned n = 0; n < 4; n++)
        pt_map(&t_, border - 2 * LEAF + n * LEAF, gpa_of(n), 1, RWXAD);
    load(r->h, border);
    expect_block(r, border, false, border, border + 2 * LEAF, gpa_of(2));
    rv_tlb_flush_all(r->h);
    load(r->h, border - 1 - 8);
    expect_block(r, border - 1, false, border - 2 * LEAF, border, gpa_of(0));
    rv_tlb_flush_all(r->h);
    for (unsigned n = 0; n < 4; n++) /* its middle is no border */
        pt_map(&t_, border - 258 * LEAF + n * LEAF, gpa_of(n), 1, RWXAD);
    load(r->h, border - 256 * LEAF);
    expect_block(r, border - 256 * LEAF, false, border - 258 * LEAF, border - 254 * LEAF, gpa_of(0));
}

static void test_larger_leaves_and_none(void **state)
{
    struct rig *r = *state;
    const gva_t giant = 0x80000000ull, high = HIGH;

    pt_map(&t_, giant, RAM_BASE, 2, RWXAD);
    load(r->h, giant + 5 * LEAF);
    expect_block(r, giant, false, giant, giant + RAM_SIZE, RAM_BASE);
    rv_tlb_flush_all(r->h);
    pt_map(&t_, high, RAM_BASE, 1, RWXAD | G);
    load(r->h, high + 0x1234);
    expect_block(r, high, false, high, high + LEAF, RAM_BASE);
    rv_tlb_flush_all(r->h);
    r->h->satp = 0;
    rv_tlb_select(r->h);
    load(r->h, RAM_BASE + 3 * LEAF);
    expect_block(r, RAM_BASE, false, RAM_BASE, RAM_BASE + RAM_SIZE, RAM_BASE);
    make_dirty(r, gpa_of(1), gpa_of(3));
    store(r->h, RAM_BASE + 2 * LEAF);
    expect_block(r, gpa_of(2), true, gpa_of(1), gpa_of(3), gpa_of(1));
}

static void test_none_for_small_pages(void **state)
{
    struct rig *r = *state;

    for (unsigned n = 0; n < 48; n++) /* the last 16 by Svnapot */
        pt_map(&t_, VA + n * PAGE, n < 32 ? RAM_BASE + n * PAGE : RAM_BASE + 32 * PAGE + 0x8000, 0, n < 32 ? RWXAD : RWXAD | PTE_N_BIT);
    make_dirty(r, RAM_BASE, RAM_BASE + 48 * PAGE);
    for (unsigned n = 0; n < 48; n++) {
        load(r->h, VA + n * PAGE);
        store(r->h, VA + n * PAGE);
    }
    assert_int_equal(nr_blocks(r->h, false) + nr_blocks(r->h, true), 0);
}

static void test_the_shortest_gives_way(void **state)
{
    struct rig *r = *state;
    const unsigned length[] = {3, 1, 2, 2, 2};
    gva_t at[SIM_ARRAY_LEN(length)];
    gva_t va = HIGH;

    for (size_t n = 0; n < SIM_ARRAY_LEN(length); n++, va += LEAF) {
        at[n] = va;
        for (unsigned k = 0; k < length[n]; k++, va += LEAF)
            pt_map(&t_, va, gpa_of(k), 1, RWXAD);
    }
    for (size_t n = 0; n < SIM_ARRAY_LEN(length); n++)
        load_patiently(r->h, at[n]);
    for (size_t n = 0; n < SIM_ARRAY_LEN(length); n++)
        if (n == 1)
            assert_null(block_at(r->h, at[n], false));
        else
            expect_block(r, at[n], false, at[n], at[n] + length[n] * LEAF, gpa_of(0));
}

/* A longer one takes the place of what it has. */
static void test_a_block_takes_in_what_it_has(void **state)
{
    struct rig *r = *state;

    map_all(RWXAD);
    map(4, 0);
    load(r->h, va_of(6));
    expect_leaves(r, 6, 5, LEAVES);
    map(4, RWXAD);
    load_patiently(r->h, va_of(4));
    expect_leaves(r, 6, 0, LEAVES);
    assert_int_equal(nr_blocks(r->h, false), 1);
}

/* --- PMP --- */

/* Entry 0 is [first, first + size), a power of two; entry 1 opens everything. */
static void protect(struct rv_hart *h, gpa_t first, uint64_t size, unsigned perm)
{
    h->pmpaddr[1] = (1ull << 54) - 1;
    h->pmpcfg[1] = PMP_R | PMP_W | PMP_X | PMP_NAPOT << PMP_A_SHIFT;
    h->pmpaddr[0] = first >> 2 | ((size >> 3) - 1);
    h->pmpcfg[0] = (uint8_t)(perm | PMP_NAPOT << PMP_A_SHIFT);
    rv_pmp_update(h);
    rv_tlb_flush_all(h);
}

static void test_none_across_a_pmp_rule(void **state)
{
    struct rig *r = *state;
    uint64_t v;

    map_all(RWXAD);
    make_dirty(r, RAM_BASE, RAM_BASE + RAM_SIZE);
    load(r->h, va_of(3));
    expect_leaves(r, 3, 0, LEAVES);
    protect(r->h, gpa_of(5) + 0x5000, PAGE, PMP_R);
    load(r->h, va_of(3));
    store(r->h, va_of(3));
    load(r->h, va_of(5) + 0x5000);
    assert_int_equal(nr_blocks(r->h, false), 0);
    assert_null(block_at(r->h, va_of(5) + 0x5000, true));
    assert_false(rv_store(r->h, va_of(5) + 0x5000, 8, 1));
    protect(r->h, gpa_of(5) + 0x5000, 64, PMP_W); /* within a page */
    load(r->h, va_of(5) + 0x6000);
    load_patiently(r->h, va_of(3));
    assert_int_equal(nr_blocks(r->h, false), 0);
    assert_false(rv_load(r->h, va_of(5) + 0x5000, 8, &v));
    map(4, RWXAD & ~X); /* it is in nobody's way any more */
    rv_tlb_flush_all(r->h);
    load(r->h, va_of(3));
    expect_leaves(r, 3, 0, 4);
}

/* The first or the last page decides as well, and so does a rule that begins before. */
static void test_pmp_at_the_edges(void **state)
{
    struct rig *r = *state;
    const gpa_t rules[] = {gpa_of(2), gpa_of(5) - PAGE};

    map_all(RWXAD & ~X);
    for (unsigned leaf = 2; leaf < 5; leaf++)
        map(leaf, RWXAD);
    for (size_t n = 0; n < SIM_ARRAY_LEN(rules); n++) {
        protect(r->h, rules[n], PAGE, PMP_R | PMP_W);
        load(r->h, va_of(3));
        assert_int_equal(nr_blocks(r->h, false), 0);
    }
    protect(r->h, gpa_of(5), PAGE, PMP_R);
    load(r->h, va_of(3));
    expect_leaves(r, 3, 2, 5);
    protect(r->h, gpa_of(0), 2 * LEAF, PMP_R);
    load(r->h, va_of(3));
    expect_leaves(r, 3, 2, 5);
    protect(r->h, gpa_of(0), 4 * LEAF, PMP_R);
    load(r->h, va_of(3));
    assert_int_equal(nr_blocks(r->h, false), 0);
}

/* Neighbouring leaves are read without a look at PMP: their table's page is under one rule, or it is left alone. */
static void test_none_when_pmp_cuts_the_table(void **state)
{
    struct rig *r = *state;

    map_all(RWXAD);
    gpa_t table = pt_slot(&t_, va_of(3), 1) & GUEST_PAGE_MASK;
    map(4, RWXAD & ~X); /* where the tables are */
    protect(r->h, table + 8 * 511, 8, 0);
    load(r->h, va_of(3));
    assert_int_equal(nr_blocks(r->h, false), 0);
    protect(r->h, table, PAGE, PMP_R | PMP_W);
    load(r->h, va_of(3));
    expect_leaves(r, 3, 0, 4);
}

/* --- who must see each use --- */

static void before(struct sim_guard *g, uint64_t first, uint64_t nr, bool write)
{
    (void)g, (void)first, (void)nr, (void)write;
}

static void test_none_while_a_guard_watches(void **state)
{
    struct sim_guard guard = {.before = before};
    struct rig *r = *state;

    map_all(RWXAD);
    make_dirty(r, RAM_BASE, RAM_BASE + RAM_SIZE);
    mem_set_guard(r->space, &guard);
    load_patiently(r->h, va_of(3));
    store(r->h, va_of(3));
    assert_int_equal(nr_blocks(r->h, false) + nr_blocks(r->h, true), 0);
    mem_set_guard(r->space, NULL);
    load_patiently(r->h, va_of(2));
    expect_leaves(r, 3, 0, LEAVES);
}

static void access_done(struct observer *o, struct rv_hart *h, const struct observed_access *a)
{
    (void)o, (void)h, (void)a;
}

static void test_none_while_accesses_are_observed(void **state)
{
    static const struct observer_ops ops = {.access = access_done};
    struct observer observer = {.ops = &ops, .filter = rv_observe_filter_all()};
    struct rig *r = *state;

    map_all(RWXAD);
    make_dirty(r, RAM_BASE, RAM_BASE + RAM_SIZE);
    load(r->h, va_of(3));
    store(r->h, va_of(3));
    assert_int_equal(nr_blocks(r->h, false) + nr_blocks(r->h, true), 2);
    rv_observe_start(r->m, &observer);
    rv_requests_serve(r->h);
    assert_int_equal(nr_blocks(r->h, false) + nr_blocks(r->h, true), 0);
    load_patiently(r->h, va_of(3));
    for (unsigned n = 0; n < PATIENCE; n++)
        store(r->h, va_of(3) + n * PAGE);
    assert_int_equal(nr_blocks(r->h, false) + nr_blocks(r->h, true), 0);
    rv_observe_stop(r->m, &observer);
    rv_requests_serve(r->h);
    load_patiently(r->h, va_of(3));
    expect_leaves(r, 3, 0, LEAVES);
}

/* --- fences --- */

/* SFENCE.VMA as an instruction; 0: x0. */
static void sfence(struct rv_hart *h, gva_t va, unsigned asid)
{
    struct rv_insn i = {.op = RV_OP_sfence_vma, .len = 4, .rs1 = va ? 10 : 0, .rs2 = asid ? 11 : 0};

    h->x[10] = va;
    h->x[11] = asid;
    assert_int_equal(rv_execute(h, &i), RV_SYNC);
}

static void test_fences(void **state)
{
    static const struct {
        const char *what;
        gva_t va;
        unsigned asid;
        uint64_t flags;
        bool takes;
    } rows[] = {
        {"a page that was used", VA + 3 * LEAF, 0, RWXAD, true},
        {"a page of that leaf", VA + 3 * LEAF + 77 * 4096, 0, RWXAD, true},
        {"a page of the first leaf", VA + LEAF + 0x1000, 0, RWXAD, true},
        {"a page of the last leaf", VA + 6 * LEAF - 8, 0, RWXAD, true},
        {"the same with its asid", VA + 6 * LEAF - 8, 1, RWXAD, true},
        {"with another asid", VA + 3 * LEAF, 2, RWXAD, false},
        {"everything", 0, 0, RWXAD, true},
        {"everything of the asid", 0, 1, RWXAD, true},
        {"everything of another", 0, 2, RWXAD, false},
        {"a global page", VA + 5 * LEAF, 0, RWXAD | G, true},
        {"a global page, with asid", VA + 5 * LEAF, 1, RWXAD | G, false},
        {"everything, of global pages", 0, 0, RWXAD | G, true},
        {"everything of the asid, which has none", 0, 1, RWXAD | G, false},
        {"a page below", VA, 0, RWXAD, false},
        {"a page above", VA + 6 * LEAF, 0, RWXAD, false},
    };
    struct rig *r = *state;
    struct rv_hart *h = r->h;
    uint64_t v;

    for (size_t n = 0; n < SIM_ARRAY_LEN(rows); n++) {
        for (unsigned leaf = 1; leaf < 6; leaf++)
            map(leaf, rows[n].flags);
        make_dirty(r, gpa_of(1), gpa_of(6));
        rv_tlb_flush_all(h);
        load(h, va_of(3));
        store(h, va_of(3));
        expect_leaves(r, 3, 1, 6);
        expect_block(r, va_of(3), true, va_of(1), va_of(5), gpa_of(1)); /* as far as runs go upwards */
        take_over(h, 4, va_of(3), false);
        take_over(h, RV_TLB_SLOTS - 1, va_of(3), true);
        for (unsigned leaf = 1; leaf < 6; leaf++)
            map(leaf, 0);
        sfence(h, rows[n].va, rows[n].asid);
        bool kept = slot_has(h, 4, va_of(3)) || slot_has(h, RV_TLB_SLOTS - 1, va_of(3)) || nr_blocks(h, false) || nr_blocks(h, true);
        bool all = slot_has(h, 4, va_of(3)) && slot_has(h, RV_TLB_SLOTS - 1, va_of(3)) && nr_blocks(h, false) && nr_blocks(h, true);
        if (kept == rows[n].takes || all == rows[n].takes)
            fail_msg("%s", rows[n].what);
        assert_int_equal(!rv_load(h, va_of(2) + 0x3000, 8, &v), true); /* it was in no entry */
    }
}

/* A leaf of a block, moved: the fence for any of its pages. */
static void test_a_changed_leaf_is_seen(void **state)
{
    struct rig *r = *state;

    map_all(RWXAD);
    load(r->h, va_of(3));
    expect_leaves(r, 3, 0, LEAVES);
    pt_map(&t_, va_of(6), gpa_of(2), 1, RWXAD);
    sfence(r->h, va_of(6) + 0x9000, 0);
    assert_null(block_at(r->h, va_of(6), false));
    load(r->h, va_of(5) + 0x4000);
    expect_leaves(r, 3, 0, 6);
    assert_null(block_at(r->h, va_of(6), false));
    load_patiently(r->h, va_of(6));
    expect_block(r, va_of(6), false, va_of(6), va_of(7), gpa_of(2));
}

/* Each address space has its own. */
static void test_address_spaces(void **state)
{
    struct rig *r = *state;
    struct rv_hart *h = r->h;

    map_all(RWXAD);
    load(h, va_of(3));
    h->satp = pt_satp(SATP_SV39, 2);
    rv_tlb_select(h);
    assert_int_equal(nr_blocks(h, false), 0);
    load(h, va_of(3));
    expect_leaves(r, 3, 0, LEAVES);
    sfence(h, va_of(7) + 0x1000, 1);
    expect_leaves(r, 3, 0, LEAVES);
    h->satp = pt_satp(SATP_SV39, 1);
    rv_tlb_select(h);
    assert_int_equal(nr_blocks(h, false), 0);
}

/* --- stores --- */

static void test_stores_find_marked_pages_only(void **state)
{
    struct rig *r = *state;
    const gva_t at = va_of(2) + 40 * PAGE;
    const gpa_t gpa = gpa_of(2) + 40 * PAGE;

    map_all(RWXAD);
    load(r->h, at);
    expect_leaves(r, 2, 0, LEAVES);
    store(r->h, at);
    expect_block(r, at, true, at, at + PAGE, gpa); /* the store has marked it */
    assert_false(is_dirty(r, gpa + PAGE));
    make_dirty(r, gpa - 3 * PAGE, gpa);
    make_dirty(r, gpa + 2 * PAGE, gpa + 5 * PAGE);
    for (unsigned n = 2; n < 2 + PATIENCE; n++)
        store(r->h, at + n * PAGE);
    assert_null(block_at(r->h, at + PAGE, true));
    assert_false(is_dirty(r, gpa + PAGE));
    rv_tlb_flush_all(r->h);
    store(r->h, at - PAGE);
    expect_block(r, at, true, at - 3 * PAGE, at + PAGE, gpa - 3 * PAGE);
    assert_int_equal(nr_blocks(r->h, false), 0);
}

static void test_stores_stop_at_leaves_and_ram(void **state)
{
    struct rig *r = *state;

    for (unsigned leaf = 0; leaf < LEAVES + 2; leaf++)
        map(leaf, RWXAD);
    map(5, RWXAD & ~X);
    make_dirty(r, RAM_BASE, RAM_BASE + RAM_SIZE);
    store(r->h, va_of(7));
    expect_block(r, va_of(7), true, va_of(6), va_of(LEAVES), gpa_of(6));
    rv_tlb_flush_all(r->h);
    store(r->h, va_of(1));
    expect_block(r, va_of(1), true, va_of(0), va_of(3), gpa_of(0));
    assert_false(rv_store(r->h, va_of(LEAVES), 8, 1));
}

static void test_none_for_stores_beside_code(void **state)
{
    struct rig *r = *state;

    map_all(RWXAD);
    make_dirty(r, RAM_BASE, RAM_BASE + RAM_SIZE);
    assert_int_equal(mem_mark_code(r->space, gpa_of(2) + 9 * PAGE), 0);
    for (unsigned n = 0; n < 3 * PATIENCE; n++)
        store(r->h, va_of(2) + n * PAGE);
    assert_int_equal(nr_blocks(r->h, true), 0);
    rv_tlb_flush_all(r->h);
    store(r->h, va_of(3));
    expect_block(r, va_of(3), true, va_of(3), va_of(5), gpa_of(3));
    rv_tlb_flush_all(r->h);
    load(r->h, va_of(2)); /* loads have nothing to do with it */
    expect_leaves(r, 2, 0, LEAVES);
}

/* A store that stays in the page of the code makes no block although its area had been opened. */
static void test_none_for_stores_to_code(void **state)
{
    struct rig *r = *state;

    map_all(RWXAD);
    make_dirty(r, gpa_of(2), gpa_of(3));
    store(r->h, va_of(2));
    assert_non_null(block_at(r->h, va_of(2), true));
    assert_int_equal(mem_mark_code(r->space, gpa_of(2)), MEM_PAGE_WRITER_MANY);
    rv_tlb_flush_all(r->h);
    store(r->h, va_of(2));
    store(r->h, va_of(2) + PAGE);
    assert_int_equal(nr_blocks(r->h, true), 0);
}

static void fill_for_stores(struct rig *r)
{
    map_all(RWXAD);
    make_dirty(r, gpa_of(2), gpa_of(3));
    load(r->h, va_of(2));
    store(r->h, va_of(2) + 9 * PAGE);
    expect_block(r, va_of(2), true, va_of(2), va_of(3), gpa_of(2));
    take_over(r->h, 900, va_of(2), true);
}

/* A checkpoint: marks are taken, then every first write is to be seen. */
static void test_write_protection_takes_blocks_for_stores(void **state)
{
    struct rig *r = *state;

    fill_for_stores(r);
    rv_machine_write_protect(r->m);
    rv_requests_serve(r->h);
    assert_int_equal(nr_blocks(r->h, true), 0);
    assert_false(slot_has(r->h, 900, va_of(2)));
    expect_leaves(r, 2, 0, LEAVES); /* loads go on */
    fill_for_stores(r);
    rv_tlb_write_protect(r->h, gpa_of(2) + 100 * PAGE); /* whichever page of it */
    assert_int_equal(nr_blocks(r->h, true), 0);
    assert_false(slot_has(r->h, 900, va_of(2)));
    expect_leaves(r, 2, 0, LEAVES);
}

/* A page that was used by itself goes to another rank, or becomes code. */
static void test_revoked_pages(void **state)
{
    struct rig *r = *state;

    fill_for_stores(r);
    rv_tlb_revoke(r->h, gpa_of(2) + 9 * PAGE, true, false);
    assert_int_equal(nr_blocks(r->h, true), 0);
    assert_false(slot_has(r->h, 900, va_of(2)));
    expect_leaves(r, 2, 0, LEAVES);
    fill_for_stores(r);
    rv_tlb_revoke(r->h, gpa_of(2) + 9 * PAGE, false, false);
    assert_int_equal(nr_blocks(r->h, true) + nr_blocks(r->h, false), 0);
    assert_false(slot_has(r->h, 900, va_of(2)));
}

static void test_first_writes_are_seen_again(void **state)
{
    struct rig *r = *state;

    fill_for_stores(r);
    for (unsigned round = 0; round < 3; round++) {
        for (gpa_t gpa = gpa_of(2); gpa < gpa_of(3); gpa += PAGE)
            mem_take_dirty(r->space, offset_of(gpa));
        rv_machine_write_protect(r->m);
        rv_requests_serve(r->h);
        for (unsigned n = 0; n < 2 * PATIENCE; n++) {
            assert_false(is_dirty(r, gpa_of(2) + n * PAGE));
            assert_null(block_at(r->h, va_of(2) + n * PAGE, true));
            store(r->h, va_of(2) + n * PAGE);
            assert_true(is_dirty(r, gpa_of(2) + n * PAGE));
        }
    }
}

/* --- code in a page of a run --- */

/* Another hart translates a page that this one may write only because it is in a run: no entry has it. */
static void check_code_takes_runs(struct rig *r, struct rv_hart *translator, bool other_context)
{
    const gpa_t page = gpa_of(2) + 300 * PAGE;
    struct rv_tlb *t = r->h->tlb;

    fill_for_stores(r);
    if (other_context) {
        r->h->satp = pt_satp(SATP_SV39, 5);
        rv_tlb_select(r->h);
        assert_ptr_not_equal(r->h->tlb, t);
    }
    assert_int_equal(mem_mark_code(r->space, page), MEM_PAGE_WRITER_MANY);
    vcpu_enter(&translator->vcpu);
    rv_revoke_writes(translator, page);
    vcpu_leave(&translator->vcpu);
    if (translator != r->h) /* it did not run meanwhile, but will */
        rv_requests_serve(r->h);
    for (unsigned n = 0; n < RV_TLB_BLOCKS; n++)
        assert_int_equal(t->block[true][n].limit, 0);
    assert_int_equal(t->slots[900].limit, 0);
    assert_int_equal(t->block[false][0].limit, RAM_SIZE); /* loads go on */
    mem_settle_code(r->space, page);
    if (!other_context) {
        store(r->h, va_of(2) + 301 * PAGE);
        assert_int_equal(nr_blocks(r->h, true), 0);
    }
}

static void test_code_takes_runs_of_others(void **state)
{
    struct rv_isa isa = rig_isa();

    check_code_takes_runs(*state, rig_add_hart(*state, &isa), false);
}

static void test_code_takes_runs_in_all_contexts(void **state)
{
    struct rv_isa isa = rig_isa();

    check_code_takes_runs(*state, rig_add_hart(*state, &isa), true);
}

static void test_code_takes_ones_own_runs(void **state)
{
    struct rig *r = *state;

    check_code_takes_runs(r, r->h, false);
}

/* When the area is settled a page's writers are asked for the page alone: runs elsewhere stay. */
static void test_settled_areas_leave_runs_alone(void **state)
{
    struct rv_isa isa = rig_isa();
    struct rig *r = *state;
    struct rv_hart *other = rig_add_hart(r, &isa);
    const gpa_t page = gpa_of(5);

    fill_for_stores(r);
    assert_int_equal(mem_mark_code(r->space, page), 0);
    vcpu_enter(&other->vcpu);
    rv_revoke_writes(other, page);
    vcpu_leave(&other->vcpu);
    rv_requests_serve(r->h);
    expect_block(r, va_of(2), true, va_of(2), va_of(3), gpa_of(2));
}

/* --- where guest memory and the address space end --- */

/* A machine with other RAM; its root table is at `root`. */
static struct rv_hart *with_ram(struct rig *r, gpa_t base, uint64_t size, gpa_t root, unsigned mode)
{
    struct rv_isa isa = rig_isa();

    memset(r, 0, sizeof *r);
    assert_int_equal(sim_create(&r->sim), SIM_OK);
    assert_int_equal(mem_space_create(r->sim, &r->space), SIM_OK);
    assert_int_equal(mem_add_ram(r->space, "ram", base, size), SIM_OK);
    assert_int_equal(mem_seal_ram(r->space), SIM_OK);
    struct rv_machine_config config = {.sim = r->sim, .space = r->space, .sbi = true};
    assert_int_equal(rv_machine_create(&config, &r->m), SIM_OK);
    r->h = rig_add_hart(r, &isa);
    r->h->satp = (uint64_t)mode << SATP_MODE_SHIFT | root >> GUEST_PAGE_BITS;
    rig_set_priv(r->h, RV_S);
    return r->h;
}

static int setup_nothing(void **state)
{
    *state = &rig_;
    return 0;
}

/* Entries below that of page 0 "continue" it downwards, with reserved bits: there is no memory below 0, only the host's. */
static void test_a_block_begins_where_memory_does(void **state)
{
    const unsigned level = 39, index = 255;
    const gpa_t root = RAM_BASE + 0x800000;
    struct rig *r = *state;
    struct rv_hart *h = with_ram(r, RAM_BASE, RAM_SIZE, root, SATP_SV48);
    const gva_t top = (gva_t)index << level;

    for (unsigned n = 0; n <= index; n++)
        rig_put64(r, root + 8 * (index - n), (V | R | W | X | A | D) - n * (1ull << (level - 2)));
    load(h, top + RAM_BASE + LEAF);
    expect_block(r, top + RAM_BASE + LEAF, false, top + RAM_BASE, top + RAM_BASE + RAM_SIZE, RAM_BASE);
    store(h, top + RAM_BASE + LEAF);
    assert_int_equal(nr_blocks(h, false), 1);
    for (unsigned n = 0; n < RV_TLB_BLOCKS; n++)
        assert_true(!h->tlb->block[true][n].limit || h->tlb->block[true][n].lo >= top + RAM_BASE);
}

/* Entries 255 and 256 of a root table are neighbours in the table and in memory, and not in the address space. */
static void test_a_block_ends_at_the_hole_of_the_address_space(void **state)
{
    const uint64_t gib = 1ull << 30;
    const gpa_t root = RAM_BASE + 0x800000;
    struct rig *r = *state;
    struct rv_hart *h = with_ram(r, RAM_BASE, gib + RAM_SIZE, root, SATP_SV39);
    const gva_t low = 255 * gib, high = (gva_t)-256 * gib;

    rig_put64(r, root + 8 * 255, RAM_BASE >> 2 | V | R | W | X | A | D);
    rig_put64(r, root + 8 * 256, (RAM_BASE + gib) >> 2 | V | R | W | X | A | D);
    load(h, low);
    expect_block(r, low, false, low, low + gib, RAM_BASE);
    load_patiently(h, high);
    expect_block(r, high, false, high, high + RAM_SIZE, RAM_BASE + gib);
}

/* Memory may begin at 0, and a table be there. */
static void test_a_table_at_0(void **state)
{
    const uint64_t gib = 1ull << 30;
    const struct rv_fence_range behind = {gib + PAGE, PAGE, RV_ASID_ANY}, inside = {gib - PAGE, PAGE, RV_ASID_ANY};
    struct rig *r = *state;
    struct rv_hart *h = with_ram(r, 0, 2 * gib, 0, SATP_SV39);

    rig_put64(r, 0, V | R | W | X | A | D);
    load(h, PAGE);
    expect_block(r, PAGE, false, 0, gib, 0);
    rv_tlb_flush_range(h, &behind);
    assert_true(rv_tlb_in_block(h->tlb, PAGE, false));
    rv_tlb_flush_range(h, &inside);
    assert_false(rv_tlb_in_block(h->tlb, PAGE, false));
}

int main(void)
{
#define T(f) cmocka_unit_test_setup_teardown(f, setup, teardown)
#define PMP(f) cmocka_unit_test_setup_teardown(f, setup_pmp, teardown)
    const struct CMUnitTest tests[] = {
        T(test_a_load_finds_the_leaves_around),
        T(test_a_block_ends_where_leaves_differ),
        T(test_accessed_and_dirty_as_the_access_left_them),
        T(test_a_block_ends_with_ram),
        T(test_a_block_is_of_one_table),
        T(test_larger_leaves_and_none),
        T(test_none_for_small_pages),
        T(test_the_shortest_gives_way),
        T(test_a_block_takes_in_what_it_has),
        PMP(test_none_across_a_pmp_rule),
        PMP(test_pmp_at_the_edges),
        PMP(test_none_when_pmp_cuts_the_table),
        T(test_none_while_a_guard_watches),
        T(test_none_while_accesses_are_observed),
        T(test_fences),
        T(test_a_changed_leaf_is_seen),
        T(test_address_spaces),
        T(test_stores_find_marked_pages_only),
        T(test_stores_stop_at_leaves_and_ram),
        T(test_none_for_stores_beside_code),
        T(test_none_for_stores_to_code),
        T(test_write_protection_takes_blocks_for_stores),
        T(test_revoked_pages),
        T(test_first_writes_are_seen_again),
        T(test_code_takes_runs_of_others),
        T(test_code_takes_runs_in_all_contexts),
        T(test_code_takes_ones_own_runs),
        T(test_settled_areas_leave_runs_alone),
        cmocka_unit_test_setup_teardown(test_a_block_begins_where_memory_does, setup_nothing, teardown),
        cmocka_unit_test_setup_teardown(test_a_block_ends_at_the_hole_of_the_address_space, setup_nothing, teardown),
        cmocka_unit_test_setup_teardown(test_a_table_at_0, setup_nothing, teardown),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
