/* The soft TLB: contexts, ways, fences of every kind, jump caches, code pages. */
#include "page_tables.h"

#define PAGE_A (RAM_BASE + 0x100000)
#define PAGE_B (RAM_BASE + 0x101000)

static struct rig rig_;
static struct tables t_;

static int setup(void **state)
{
    rig_init(&rig_, true);
    pt_init(&t_, &rig_, SATP_SV39);
    pt_enter(&rig_, SATP_SV39, 1, RV_S);
    *state = &rig_;
    return 0;
}

static int teardown(void **state)
{
    rig_fini(*state);
    return 0;
}

static uint64_t load(struct rv_hart *h, gva_t va)
{
    uint64_t v = 0;

    assert_true(rv_load(h, va, 8, &v));
    return v;
}

static bool faults(struct rv_hart *h, gva_t va)
{
    uint64_t v;

    return !rv_load(h, va, 8, &v);
}

static void unmap(gpa_t slot)
{
    rig_put64(&rig_, slot, 0);
}

static void fence(struct rv_hart *h, uint64_t va, uint64_t size, uint64_t asid)
{
    struct rv_fence_range range = {va, size, asid};

    rv_tlb_flush_range(h, &range);
}

static void use_asid(struct rv_hart *h, unsigned asid)
{
    h->satp = pt_satp(SATP_SV39, asid);
    rv_tlb_select(h);
}

/* Fills the jump cache as the JIT does. */
static void put_jump(struct rv_tlb *t, uint64_t pc)
{
    for (unsigned way = 0; way < RV_JC_WAYS; way++)
        t->jc[rv_jc_set(pc)][way] = (struct rv_jc_entry){pc, &rig_};
    rv_jc_note(t, pc);
}

static bool has_jump(const struct rv_tlb *t, uint64_t pc)
{
    bool first = t->jc[rv_jc_set(pc)][0].pc == pc;

    assert_true((t->jc[rv_jc_set(pc)][1].pc == pc) == first);
    return first;
}

static void fetch(struct rv_hart *h, uint64_t va)
{
    gpa_t g;

    assert_non_null(rv_fetch_page(h, va, &g));
}

static void test_entry_lives_until_the_fence(void **state)
{
    struct rv_hart *h = ((struct rig *)*state)->h;
    gpa_t slot = pt_map(&t_, 0x1000, PAGE_A, 0, RWXAD);

    load(h, 0x1000);
    unmap(slot);
    load(h, 0x1008);
    assert_int_equal(h->count.tlb_fills, 1);
    fence(h, 0x1000, 4096, RV_ASID_ANY);
    assert_true(faults(h, 0x1000));
}

static void test_ways_keep_four_pages_of_a_set(void **state)
{
    struct rv_hart *h = ((struct rig *)*state)->h;
    uint64_t step = (uint64_t)RV_TLB_SETS << 12;

    for (unsigned i = 0; i < 5; i++)
        pt_map(&t_, 0x1000 + i * step, PAGE_A + i * 4096, 0, RWXAD);
    for (unsigned i = 0; i < 4; i++)
        load(h, 0x1000 + i * step);
    assert_int_equal(h->count.tlb_fills, 4);
    for (unsigned i = 0; i < 4; i++)
        load(h, 0x1000 + i * step);
    assert_int_equal(h->count.tlb_fills, 4);
    load(h, 0x1000 + 4 * step); /* pushes the oldest out: page 0 */
    load(h, 0x1000 + 3 * step);
    assert_int_equal(h->count.tlb_fills, 5);
    load(h, 0x1000);
    assert_int_equal(h->count.tlb_fills, 6);
}

/* Only what was filled is cleared: nothing may be left. */
static void test_emptying_leaves_nothing(void **state)
{
    struct rv_hart *h = ((struct rig *)*state)->h;
    enum { PAGES = 3 * RV_TLB_SETS };

    for (unsigned i = 0; i < PAGES; i++)
        pt_map(&t_, 0x1000 + (gva_t)i * 4096, PAGE_A, 0, RWXAD);
    for (unsigned step = 1; step < 300; step += 31) {
        struct rv_tlb *t = h->tlb;
        for (unsigned i = 0; i < PAGES; i += step)
            load(h, 0x1000 + (gva_t)i * 4096);
        for (gva_t pc = 0x1000 + 2 * step; pc < 0x1000 + 4 * RV_JC_SETS; pc += 4 * step)
            put_jump(t, pc);
        rv_tlb_empty(t);
        for (unsigned set = 0; set < RV_TLB_SETS; set++)
            for (unsigned way = 0; way < RV_TLB_WAYS; way++)
                assert_true(t->set[set][way].tag_r == RV_TLB_INVALID && t->set[set][way].tag_w == RV_TLB_INVALID);
        for (unsigned set = 0; set < RV_JC_SETS; set++)
            for (unsigned way = 0; way < RV_JC_WAYS; way++)
                assert_true(t->jc[set][way].pc == (set ? 0 : RV_JC_EMPTY));
    }
}

static void test_store_upgrades_the_entry_in_place(void **state)
{
    struct rv_hart *h = ((struct rig *)*state)->h;

    pt_map(&t_, 0x1000, PAGE_A, 0, RWXAD);
    load(h, 0x1000);
    assert_int_equal(rv_tlb_way0(h, 0x1000)->tag_w, RV_TLB_INVALID);
    assert_true(rv_store(h, 0x1000, 8, 3));
    assert_int_equal(rv_tlb_way0(h, 0x1000)->tag_w, 0x1000);
    assert_int_equal(rv_tlb_way0(h, 0x1000)->tag_r, 0x1000);
    assert_int_equal(rv_tlb_way0(h, 0x1000)[1].tag_r, RV_TLB_INVALID);
}

/* Entries, and jumps, of a supervisor that has touched global pages only are good in the next address space, and fences
 * of all address spaces still find them. */
static void test_global_context_follows_satp(void **state)
{
    struct rv_hart *h = ((struct rig *)*state)->h;
    gpa_t slot = pt_map(&t_, 0x1000, PAGE_A, 0, RWXAD | G);

    pt_map(&t_, 0x2000, PAGE_B, 0, RWXAD);
    use_asid(h, 2);
    load(h, 0x1000);
    fetch(h, 0x1000);
    put_jump(h->code_tlb, 0x1010);
    const struct rv_tlb *before = h->tlb;
    use_asid(h, 3);
    assert_ptr_equal(h->tlb, before);
    assert_true(has_jump(h->code_tlb, 0x1010));
    load(h, 0x1000);
    assert_int_equal(h->count.tlb_fills, 1);
    fence(h, 0, UINT64_MAX, 3); /* of one address space: not what is global */
    assert_true(has_jump(h->code_tlb, 0x1010));
    unmap(slot);
    load(h, 0x1000);
    fence(h, 0x1000, 4096, RV_ASID_ANY);
    assert_false(has_jump(h->code_tlb, 0x1010));
    assert_true(faults(h, 0x1000));
    load(h, 0x2000); /* of this address space only */
    uint64_t fills = h->count.tlb_fills;
    use_asid(h, 4);
    assert_ptr_not_equal(h->tlb, before);
    load(h, 0x2000);
    assert_int_equal(h->count.tlb_fills, fills + 1);
}

static void test_switching_back_keeps_entries(void **state)
{
    struct rv_hart *h = ((struct rig *)*state)->h;

    pt_map(&t_, 0x1000, PAGE_A, 0, RWXAD | U);
    use_asid(h, 2);
    rig_set_priv(h, RV_U);
    load(h, 0x1000);
    rig_set_priv(h, RV_S);
    use_asid(h, 3);
    assert_true(faults(h, 0x1000)); /* U page, no SUM: the U entry is not ours */
    use_asid(h, 2);
    rig_set_priv(h, RV_U);
    uint64_t fills = h->count.tlb_fills;
    load(h, 0x1000);
    assert_int_equal(h->count.tlb_fills, fills);
}

static void test_more_address_spaces_than_contexts(void **state)
{
    struct rv_hart *h = ((struct rig *)*state)->h;

    pt_map(&t_, 0x1000, PAGE_A, 0, RWXAD);
    for (unsigned asid = 0; asid < 3 * RV_TLB_CONTEXTS; asid++) {
        use_asid(h, asid);
        load(h, 0x1000);
        assert_int_equal(h->tlb->satp, h->satp);
    }
    gpa_t slot = pt_slot(&t_, 0x1000, 0);
    unmap(slot);
    use_asid(h, 1000); /* a recycled context starts empty */
    assert_true(faults(h, 0x1000));
}

static void test_asid_fence_spares_others_and_global(void **state)
{
    struct rv_hart *h = ((struct rig *)*state)->h;
    gpa_t a = pt_map(&t_, 0x1000, PAGE_A, 0, RWXAD);
    gpa_t g = pt_map(&t_, 0x2000, PAGE_B, 0, RWXAD | G);

    load(h, 0x1000);
    load(h, 0x2000);
    use_asid(h, 2);
    load(h, 0x1000);
    unmap(a);
    unmap(g);
    fence(h, 0, UINT64_MAX, 1);
    load(h, 0x1000); /* asid 2 */
    use_asid(h, 1);
    assert_true(faults(h, 0x1000));
    load(h, 0x2000); /* global survives a fence with an ASID ... */
    fence(h, 0x2000, 4096, 1);
    load(h, 0x2000);
    fence(h, 0x2000, 4096, RV_ASID_ANY);
    assert_true(faults(h, 0x2000)); /* ... but not one without */
}

static void test_global_pointer_makes_leaves_global(void **state)
{
    struct rv_hart *h = ((struct rig *)*state)->h;

    pt_map(&t_, 0x1000, PAGE_A, 0, RWXAD);
    gpa_t pointer = pt_slot(&t_, 0x1000, 1);
    rig_put64(*state, pointer, rig_get64(*state, pointer) | G);
    load(h, 0x1000);
    assert_true(rv_tlb_way0(h, 0x1000)->info & RV_TLB_GLOBAL);
}

/* SFENCE.VMA and SINVAL.VMA as instructions: rs1 names a page, rs2 an address space, x0 all of them. */
static void test_fence_instructions_drop_what_they_name(void **state)
{
    static const struct {
        uint64_t va, asid; /* in a0, a1; 0: x0 instead */
        bool drops;        /* page 0x1000 of address space 1 */
    } rows[] = {
        {0, 0, true},      {0x1000, 0, true},  {0x1ff8, 0, true},  {0x2000, 0, false},
        {0, 1, true},      {0, 2, false},      {0x1000, 1, true},  {0x1000, 2, false},
        {0x2000, 1, false}, {0, 0xabcd0001, true}, /* 16 bits count */
    };
    static const uint16_t ops[] = {RV_OP_sfence_vma, RV_OP_sinval_vma};
    struct rv_hart *h = ((struct rig *)*state)->h;

    for (size_t n = 0; n < SIM_ARRAY_LEN(rows) * SIM_ARRAY_LEN(ops); n++) {
        uint64_t va = rows[n / 2].va, asid = rows[n / 2].asid;
        struct rv_insn i = {.op = ops[n % 2], .len = 4, .rs1 = va ? 10 : 0, .rs2 = asid ? 11 : 0};
        gpa_t slot = pt_map(&t_, 0x1000, PAGE_A, 0, RWXAD);

        load(h, 0x1000);
        unmap(slot);
        h->x[10] = va;
        h->x[11] = asid;
        assert_int_equal(rv_execute(h, &i), RV_SYNC);
        assert_int_equal(faults(h, 0x1000), rows[n / 2].drops);
        fence(h, 0, UINT64_MAX, RV_ASID_ANY);
    }
}

static void test_fence_in_a_superpage_drops_all_of_it(void **state)
{
    struct rv_hart *h = ((struct rig *)*state)->h;
    gpa_t slot = pt_map(&t_, 0x200000, RAM_BASE + 0x200000, 1, RWXAD);

    pt_map(&t_, 0x400000, RAM_BASE + 0x400000, 1, RWXAD);
    load(h, 0x200000);
    load(h, 0x3ff000);
    load(h, 0x400000);
    fetch(h, 0x3fe000);
    put_jump(h->code_tlb, 0x3fe000);
    unmap(slot);
    uint64_t fills = h->count.tlb_fills;
    fence(h, 0x280000, 4096, RV_ASID_ANY);
    assert_true(faults(h, 0x200000));
    assert_true(faults(h, 0x3ff000));
    assert_false(has_jump(h->code_tlb, 0x3fe000));
    load(h, 0x400000); /* the neighbour stays */
    assert_int_equal(h->count.tlb_fills, fills);
}

static void test_fence_far_from_superpages_spares_them(void **state)
{
    struct rv_hart *h = ((struct rig *)*state)->h;
    gva_t kernel = 0xffffffd600000000;

    pt_map(&t_, kernel, RAM_BASE + 0x200000, 1, RWXAD);
    pt_map(&t_, 0x1000, PAGE_A, 0, RWXAD);
    load(h, kernel + 0x5000);
    fetch(h, kernel);
    put_jump(h->code_tlb, kernel);
    load(h, 0x1000);
    fence(h, 0x1000, 4096, RV_ASID_ANY);
    uint64_t fills = h->count.tlb_fills;
    load(h, kernel + 0x5000);
    assert_int_equal(h->count.tlb_fills, fills);
    assert_true(has_jump(h->code_tlb, kernel));
}

static void test_range_fences(void **state)
{
    struct rv_hart *h = ((struct rig *)*state)->h;

    for (unsigned i = 0; i < 100; i++)
        pt_map(&t_, 0x100000 + i * 4096, PAGE_A + i * 4096, 0, RWXAD);
    for (unsigned i = 0; i < 100; i++)
        load(h, 0x100000 + i * 4096);
    uint64_t fills = h->count.tlb_fills;
    fence(h, 0x10a123, 3, RV_ASID_ANY);            /* inside page 10 */
    fence(h, 0x110000, 2 * 4096, RV_ASID_ANY);     /* 16, 17 */
    fence(h, 0x11e000, 70 * 4096, RV_ASID_ANY);    /* 30 .. 99: by search */
    fence(h, 0x100000, 0, RV_ASID_ANY);            /* nothing */
    for (unsigned i = 0; i < 100; i++)
        load(h, 0x100000 + i * 4096);
    assert_int_equal(h->count.tlb_fills, fills + 3 + 70);
    fills = h->count.tlb_fills;
    fence(h, UINT64_MAX - 0xfff, 4096, RV_ASID_ANY); /* to the end */
    load(h, 0x100000);
    assert_int_equal(h->count.tlb_fills, fills);
    fence(h, UINT64_MAX - 0xfff, 4097, RV_ASID_ANY); /* wraps: everything */
    load(h, 0x100000);
    assert_int_equal(h->count.tlb_fills, fills + 1);
}

/* Of harts that have more of them than come from the host at a time. */
static void test_new_contexts_are_empty(void **state)
{
    struct rig *r = *state;
    struct rv_isa isa = rig_isa();

    pt_map(&t_, 0, PAGE_A, 0, RWXAD);
    for (unsigned n = 0; n < 40; n++) {
        struct rv_hart *h = rig_add_hart(r, &isa);
        h->satp = pt_satp(SATP_SV39, 1 + n);
        rig_set_priv(h, RV_S);
        assert_int_equal((uintptr_t)h->tlb % 64, 0);
        for (unsigned way = 0; way < RV_TLB_WAYS; way++)
            assert_int_equal(rv_tlb_way0(h, 0)[way].tag_r, RV_TLB_INVALID);
        for (unsigned way = 0; way < RV_JC_WAYS; way++)
            assert_int_equal(h->tlb->jc[0][way].pc, RV_JC_EMPTY); /* not a jump to 0 */
        load(h, 0);
    }
}

static void test_jump_cache_goes_with_a_displaced_fetch_entry(void **state)
{
    struct rv_hart *h = ((struct rig *)*state)->h;
    uint64_t other = 0x1000 + ((uint64_t)RV_FETCH_SIZE << 12);

    pt_map(&t_, 0x1000, PAGE_A, 0, RWXAD);
    pt_map(&t_, other, PAGE_B, 0, RWXAD);
    pt_map(&t_, 0x5000, PAGE_B, 0, RWXAD);
    fetch(h, 0x1000);
    put_jump(h->code_tlb, 0x1010);
    fetch(h, other); /* takes the place of 0x1000's fetch entry */
    put_jump(h->code_tlb, other + 0x800);
    fence(h, 0x5000, 4096, RV_ASID_ANY); /* no code from there */
    assert_true(has_jump(h->code_tlb, 0x1010));
    fence(h, 0x1000, 4096, RV_ASID_ANY);
    assert_false(has_jump(h->code_tlb, 0x1010));
}

/* Of the jumps that share a run of the cache with a page only that page's go. */
static void test_a_fence_takes_the_jumps_of_its_pages_only(void **state)
{
    struct rv_hart *h = ((struct rig *)*state)->h;

    for (gva_t va = 0x1000; va <= 0x3000; va += 0x1000)
        pt_map(&t_, va, PAGE_A, 0, RWXAD);
    fetch(h, 0x1000);
    fetch(h, 0x3000);
    put_jump(h->code_tlb, 0x1ffe);
    put_jump(h->code_tlb, 0x3000);
    put_jump(h->code_tlb, 0x3010);
    fence(h, 0x3000, 4096, RV_ASID_ANY);
    assert_true(has_jump(h->code_tlb, 0x1ffe));
    assert_false(has_jump(h->code_tlb, 0x3000));
    assert_false(has_jump(h->code_tlb, 0x3010));
}

/* Fills a slot as translated code does. */
static void put_slot(struct rv_hart *h, unsigned n, gva_t page)
{
    h->tlb->slots[n].lo = page;
    h->tlb->slots[n].addend = rv_tlb_way0(h, page)->addend;
    h->tlb->slots[n].limit = 4096 - 7;
}

static bool slot_has(const struct rv_hart *h, unsigned n, gva_t page)
{
    return page - h->tlb->slots[n].lo < h->tlb->slots[n].limit;
}

static void test_slots_go_with_their_page(void **state)
{
    struct rv_hart *h = ((struct rig *)*state)->h;
    uint64_t step = (uint64_t)RV_TLB_SETS << 12;

    pt_map(&t_, 0x5000, PAGE_B, 0, RWXAD);
    for (unsigned i = 0; i <= RV_TLB_WAYS; i++)
        pt_map(&t_, 0x1000 + i * step, PAGE_A + i * 4096, 0, RWXAD);
    load(h, 0x5000);
    put_slot(h, 4, 0x5000);
    for (unsigned i = 0; i <= RV_TLB_WAYS; i++) {
        load(h, 0x1000 + i * step);
        put_slot(h, 2 * i + 6, 0x1000 + i * step);
    }
    /* the first page's entry was displaced by now: its slot goes all the same */
    assert_int_not_equal(h->tlb->set[1][RV_TLB_WAYS - 1].tag_r, 0x1000);
    fence(h, 0x1000, 4096, RV_ASID_ANY);
    assert_false(slot_has(h, 6, 0x1000));
    fence(h, 0x1000 + step, 4096, RV_ASID_ANY);
    assert_false(slot_has(h, 8, 0x1000 + step));
    assert_true(slot_has(h, 10, 0x1000 + 2 * step));
    assert_true(slot_has(h, 4, 0x5000));
    fence(h, 0, UINT64_MAX, RV_ASID_ANY);
    assert_false(slot_has(h, 4, 0x5000));
}

/* A slot takes in neighbours of one addend that have entries with its permission, and nothing else. */
static void test_slots_widen_over_neighbours(void **state)
{
    struct rv_hart *h = ((struct rig *)*state)->h;

    for (unsigned i = 0; i < 4; i++)
        pt_map(&t_, 0x10000 + i * 4096, PAGE_A + i * 4096, 0, i == 1 ? V | R | A : RWXAD);
    pt_map(&t_, 0x14000, PAGE_A, 0, RWXAD); /* elsewhere in the host */
    for (unsigned i = 0; i <= 4; i++)
        load(h, 0x10000 + i * 4096);
    put_slot(h, 4, 0x10000);
    rv_tlb_widen_slot(h->tlb, 4, 0x13000, 7, false);
    assert_int_equal(h->tlb->slots[4].lo, 0x10000);
    assert_int_equal(h->tlb->slots[4].limit, 4 * 4096 - 7);
    rv_tlb_widen_slot(h->tlb, 4, 0x14000, 7, false);
    assert_int_equal(h->tlb->slots[4].lo, 0x14000);
    assert_int_equal(h->tlb->slots[4].limit, 4096 - 7);
    put_slot(h, 5, 0x12000);
    rv_tlb_widen_slot(h->tlb, 5, 0x10000, 7, false); /* downwards */
    assert_int_equal(h->tlb->slots[5].lo, 0x10000);
    assert_int_equal(h->tlb->slots[5].limit, 3 * 4096 - 7);
    put_slot(h, 6, 0x10000);
    rv_tlb_widen_slot(h->tlb, 6, 0x12000, 7, true); /* page 1 is read-only */
    assert_int_equal(h->tlb->slots[6].lo, 0x12000);
    /* a fence for a page in the middle takes the whole range */
    fence(h, 0x11000, 4096, RV_ASID_ANY);
    assert_false(slot_has(h, 5, 0x10000));
    assert_true(slot_has(h, 6, 0x12000));
}

static void test_flush_jumps(void **state)
{
    struct rv_hart *h = ((struct rig *)*state)->h;

    pt_map(&t_, 0x1000, PAGE_A, 0, RWXAD);
    fetch(h, 0x1000);
    put_jump(h->code_tlb, 0x1010);
    rv_tlb_flush_jumps(h);
    assert_false(has_jump(h->code_tlb, 0x1010));
    assert_true(rv_fetch_whole(h, 0x1000));
}

static void test_write_protect_is_by_physical_page(void **state)
{
    struct rv_hart *h = ((struct rig *)*state)->h;

    pt_map(&t_, 0x1000, PAGE_A, 0, RWXAD);
    pt_map(&t_, 0x2000, PAGE_A, 0, RWXAD); /* an alias */
    pt_map(&t_, 0x3000, PAGE_B, 0, RWXAD);
    for (gva_t va = 0x1000; va <= 0x3000; va += 0x1000)
        assert_true(rv_store(h, va, 8, 1));
    use_asid(h, 2);
    assert_true(rv_store(h, 0x1000, 8, 1));
    rv_tlb_write_protect(h, PAGE_A);
    assert_int_equal(rv_tlb_way0(h, 0x1000)->tag_w, RV_TLB_INVALID);
    assert_int_equal(rv_tlb_way0(h, 0x1000)->tag_r, 0x1000);
    use_asid(h, 1);
    assert_int_equal(rv_tlb_way0(h, 0x1000)->tag_w, RV_TLB_INVALID);
    assert_int_equal(rv_tlb_way0(h, 0x2000)->tag_w, RV_TLB_INVALID);
    assert_int_equal(rv_tlb_way0(h, 0x3000)->tag_w, 0x3000);
}

static gpa_t written_gpa;
static uint64_t written_len, nr_written;

static void code_written(void *opaque, gpa_t gpa, uint64_t len)
{
    (void)opaque;
    written_gpa = gpa;
    written_len = len;
    nr_written++;
}

static void test_stores_to_code_pages_are_reported(void **state)
{
    static const struct mem_code_ops ops = {code_written};
    struct rig *r = *state;
    bool code;

    mem_set_code_ops(r->space, &ops, NULL);
    nr_written = 0;
    pt_map(&t_, 0x1000, PAGE_A, 0, RWXAD);
    pt_map(&t_, 0x2000, PAGE_B, 0, RWXAD);
    assert_int_equal(mem_mark_code(r->space, PAGE_A), 0);
    assert_true(rv_store(r->h, 0x1010, 4, 7));
    assert_int_equal(rv_tlb_way0(r->h, 0x1000)->tag_w, RV_TLB_INVALID);
    assert_true(rv_store(r->h, 0x1014, 4, 8));
    assert_int_equal(nr_written, 2);
    assert_int_equal(written_gpa, PAGE_A + 0x14);
    assert_int_equal(written_len, 4);
    assert_int_equal(load(r->h, 0x1010), 8ull << 32 | 7);
    assert_true(rv_store(r->h, 0x1ffe, 4, 9)); /* two bytes of it in the code page */
    assert_int_equal(nr_written, 3);
    assert_int_equal(written_gpa, PAGE_A + 0xffe);
    assert_int_equal(written_len, 2);
    assert_non_null(rv_amo_ptr(r->h, 0x1000, 8, &code));
    assert_true(code);
    rv_code_written(r->h, 0x1000, 8);
    assert_int_equal(nr_written, 4);
    mem_unmark_code(r->space, PAGE_A);
    assert_true(rv_store(r->h, 0x1010, 4, 7));
    assert_int_equal(rv_tlb_way0(r->h, 0x1000)->tag_w, 0x1000);
    assert_int_equal(nr_written, 4);
    /* the writer is on record for the next translation */
    assert_int_equal(mem_mark_code(r->space, PAGE_A), 1);
}

static void test_flush_all(void **state)
{
    struct rv_hart *h = ((struct rig *)*state)->h;
    gpa_t slot = pt_map(&t_, 0x1000, PAGE_A, 0, RWXAD);

    load(h, 0x1000);
    use_asid(h, 2);
    load(h, 0x1000);
    fetch(h, 0x1000);
    put_jump(h->code_tlb, 0x1010);
    unmap(slot);
    rv_tlb_flush_all(h);
    assert_true(faults(h, 0x1000));
    assert_false(rv_fetch_whole(h, 0x1000));
    assert_false(has_jump(h->code_tlb, 0x1010));
    use_asid(h, 1);
    assert_true(faults(h, 0x1000));
}

static unsigned count_contexts(const struct rv_hart *h)
{
    unsigned n = 0;

    for (unsigned i = 0; i < RV_TLB_CONTEXTS; i++)
        n += h->tlb_pool[i] != NULL;
    return n;
}

/* What a hart has not used for some waits goes to whoever needs a context next, without what it knew. */
static void test_tlb_contexts_go_to_other_harts(void **state)
{
    struct rig *r = *state;
    struct rv_isa isa = rig_isa();
    struct rv_hart *other = rig_add_hart(r, &isa);

    pt_map(&t_, 0x1000, PAGE_A, 0, RWXAD);
    use_asid(r->h, 7);
    (void)load(r->h, 0x1000);
    put_jump(r->h->tlb, 0x1010);
    struct rv_tlb *left = r->h->tlb;
    use_asid(r->h, 8);
    rv_tlb_trim(r->h);
    assert_true(count_contexts(r->h) >= 2); /* it may need it again soon */
    for (unsigned i = 0; i < 20; i++)
        rv_tlb_trim(r->h);
    assert_int_equal(count_contexts(r->h), 1);
    assert_ptr_not_equal(r->h->tlb, left);

    other->priv = RV_S;
    for (unsigned asid = 1; other->tlb != left && asid < 8; asid++)
        use_asid(other, asid);
    assert_ptr_equal(other->tlb, left);
    assert_false(has_jump(left, 0x1010));
    assert_int_equal(rv_tlb_way0(other, 0x1000)->tag_r, RV_TLB_INVALID);
    use_asid(r->h, 7);
    assert_ptr_not_equal(r->h->tlb, left);
    (void)load(r->h, 0x1000);
}

/* A process that has gone leaves a context without a key: it is used before a new one is made. */
static void test_tlb_emptied_context_is_used_first(void **state)
{
    struct rig *r = *state;

    pt_map(&t_, 0x1000, PAGE_A, 0, RWXAD);
    (void)load(r->h, 0x1000);
    use_asid(r->h, 2);
    fence(r->h, 0, UINT64_MAX, RV_ASID_ANY);
    unsigned before = count_contexts(r->h);
    use_asid(r->h, 3);
    assert_int_equal(count_contexts(r->h), before);
}

int main(void)
{
#define TEST(f) cmocka_unit_test_setup_teardown(f, setup, teardown)
    const struct CMUnitTest tests[] = {
        TEST(test_entry_lives_until_the_fence),
        TEST(test_ways_keep_four_pages_of_a_set),
        TEST(test_emptying_leaves_nothing),
        TEST(test_store_upgrades_the_entry_in_place),
        TEST(test_global_context_follows_satp),
        TEST(test_switching_back_keeps_entries),
        TEST(test_more_address_spaces_than_contexts),
        TEST(test_asid_fence_spares_others_and_global),
        TEST(test_global_pointer_makes_leaves_global),
        TEST(test_fence_instructions_drop_what_they_name),
        TEST(test_fence_in_a_superpage_drops_all_of_it),
        TEST(test_fence_far_from_superpages_spares_them),
        TEST(test_range_fences),
        TEST(test_new_contexts_are_empty),
        TEST(test_jump_cache_goes_with_a_displaced_fetch_entry),
        TEST(test_a_fence_takes_the_jumps_of_its_pages_only),
        TEST(test_slots_go_with_their_page),
        TEST(test_slots_widen_over_neighbours),
        TEST(test_flush_jumps),
        TEST(test_write_protect_is_by_physical_page),
        TEST(test_stores_to_code_pages_are_reported),
        TEST(test_flush_all),
        TEST(test_tlb_contexts_go_to_other_harts),
        TEST(test_tlb_emptied_context_is_used_first),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
