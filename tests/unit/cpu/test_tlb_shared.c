/* The context of a kernel's code that harts of an executor use in turn: who gets it, and when it is emptied. */
#include "csr_bits.h"
#include "page_tables.h"

#define KERNEL 0xffffffc000200000ull /* in another entry of the root table than OTHER */
#define OTHER 0xfffffff000001000ull
#define PAGE_A (RAM_BASE + 0x100000)
#define PAGE_B (RAM_BASE + 0x101000)
#define ROOT_2 (RAM_BASE + 0x900000)
#define CSR_SATP 0x180u

enum { HARTS = 3, EXECUTORS = 2 };

static struct rig rig_;
static struct tables t_;
static struct rv_hart *hart_[HARTS];

/* Three harts in one kernel, whose code is at KERNEL; each has the root table of PT_ROOT. */
static int setup(void **state)
{
    struct rv_isa isa = rig_isa();

    rig_init(&rig_, true);
    hart_[0] = rig_.h;
    for (unsigned i = 1; i < HARTS; i++)
        hart_[i] = rig_add_hart(&rig_, &isa);
    sim_set_turns(rig_.sim, EXECUTORS);
    pt_init(&t_, &rig_, SATP_SV39);
    pt_map(&t_, KERNEL, PAGE_A, 0, RWXAD | G);
    pt_map(&t_, OTHER, PAGE_B, 0, RWXAD | G);
    for (unsigned i = 0; i < HARTS; i++) {
        hart_[i]->satp = pt_satp(SATP_SV39, i + 1);
        rig_set_priv(hart_[i], RV_S);
    }
    *state = &rig_;
    return 0;
}

static int teardown(void **state)
{
    rig_fini(*state);
    return 0;
}

static void begin(struct rv_hart *h, unsigned executor)
{
    sim_turn_begin(rig_.sim, executor, &h->vcpu);
    vcpu_enter(&h->vcpu);
    rv_tlb_begin_turn(h);
}

static void end(struct rv_hart *h)
{
    rv_tlb_end_turn(h);
    vcpu_leave(&h->vcpu);
}

/* Runs code at va, as far as the TLB sees of it. */
static void run_code(struct rv_hart *h, uint64_t va)
{
    gpa_t gpa;

    assert_non_null(rv_fetch_page(h, va, &gpa));
    h->code_tlb->jc[rv_jc_set(va)][0] = (struct rv_jc_entry){va, &rig_};
    rv_jc_note(h->code_tlb, va);
}

static bool knows(const struct rv_hart *h, uint64_t va)
{
    return h->code_tlb->jc[rv_jc_set(va)][0].pc == va;
}

static void fence(struct rv_hart *h, uint64_t va, uint64_t size)
{
    struct rv_fence_range range = {va, size, RV_ASID_ANY};

    rv_tlb_flush_range(h, &range);
}

static void turn_in_kernel(struct rv_hart *h, unsigned executor)
{
    begin(h, executor);
    run_code(h, KERNEL);
    end(h);
}

/* Hart n comes to its turn: does it know the jump? */
static bool then_knows(struct rv_hart *h, unsigned executor)
{
    begin(h, executor);
    bool known = knows(h, KERNEL);
    end(h);
    return known;
}

static void test_jumps_go_to_the_next_hart(void **state)
{
    (void)state;
    turn_in_kernel(hart_[0], 0);
    begin(hart_[1], 0);
    assert_true(knows(hart_[1], KERNEL));
    assert_int_equal(hart_[1]->code_tlb->satp, hart_[1]->satp);
    end(hart_[1]);
    assert_false(then_knows(hart_[2], 1)); /* another executor's shelf */
    assert_true(then_knows(hart_[0], 0));
}

static void test_data_stay_apart(void **state)
{
    uint64_t v;

    (void)state;
    turn_in_kernel(hart_[0], 0);
    begin(hart_[1], 0);
    assert_true(rv_store(hart_[1], KERNEL, 8, 1));
    assert_ptr_not_equal(hart_[1]->tlb, hart_[1]->code_tlb);
    assert_false(hart_[1]->code_tlb->set[KERNEL >> GUEST_PAGE_BITS & (RV_TLB_SETS - 1)][0].tag_w == KERNEL);
    end(hart_[1]);
    begin(hart_[0], 0);
    uint64_t fills = hart_[0]->count.tlb_fills;
    assert_true(rv_load(hart_[0], KERNEL, 8, &v));
    assert_int_equal(hart_[0]->count.tlb_fills, fills + 1);
    end(hart_[0]);
}

static void test_nothing_is_shared_where_each_hart_has_an_executor(void **state)
{
    (void)state;
    sim_set_turns(rig_.sim, HARTS);
    turn_in_kernel(hart_[0], 0);
    assert_false(then_knows(hart_[1], 0));
    assert_true(then_knows(hart_[0], 0));
}

static void use_root_2(struct rv_hart *h)
{
    for (gpa_t at = 0; at < 4096; at += 8)
        rig_put64(&rig_, ROOT_2 + at, rig_get64(&rig_, PT_ROOT + at));
    h->satp = (h->satp & ~(uint64_t)SATP_PPN) | ROOT_2 >> 12;
    rv_tlb_select(h);
}

static gpa_t root_slot(gpa_t root, uint64_t va)
{
    return root + 8 * sim_bits(va, 30, 9);
}

static void test_another_root_with_the_same_entries_will_do(void **state)
{
    (void)state;
    use_root_2(hart_[1]);
    rig_put64(&rig_, root_slot(ROOT_2, OTHER), 0); /* nothing went through that one */
    turn_in_kernel(hart_[0], 0);
    assert_true(then_knows(hart_[1], 0));
}

static void test_another_kernel_gets_nothing(void **state)
{
    (void)state;
    use_root_2(hart_[1]);
    rig_put64(&rig_, root_slot(ROOT_2, KERNEL), rig_get64(&rig_, root_slot(PT_ROOT, OTHER)));
    turn_in_kernel(hart_[0], 0);
    assert_false(then_knows(hart_[1], 0));
    assert_true(then_knows(hart_[0], 0)); /* it still lies there */
}

/* What went through a root entry that has changed since is not right for who still has the old one. */
static void test_a_changed_root_entry_ends_it(void **state)
{
    (void)state;
    use_root_2(hart_[1]);
    begin(hart_[0], 0);
    run_code(hart_[0], KERNEL);
    gpa_t slot = root_slot(PT_ROOT, KERNEL);
    rig_put64(&rig_, slot, rig_get64(&rig_, slot) ^ 1u << 8); /* a bit for software */
    fence(hart_[0], KERNEL, 4096);
    run_code(hart_[0], KERNEL);
    end(hart_[0]);
    assert_false(then_knows(hart_[1], 0));
}

static void test_local_pages_are_not_shared(void **state)
{
    (void)state;
    pt_map(&t_, KERNEL, PAGE_A, 0, RWXAD);
    turn_in_kernel(hart_[0], 0);
    assert_false(then_knows(hart_[1], 0));
}

/* The fence is done while hart 0's context lies on the shelf: hart 2 does not find there what it has fenced. */
static void test_a_fence_elsewhere_empties_it(void **state)
{
    (void)state;
    turn_in_kernel(hart_[0], 0);
    begin(hart_[2], 1);
    fence(hart_[2], KERNEL, 4096);
    end(hart_[2]);
    assert_false(then_knows(hart_[2], 0));
}

static void test_a_flush_elsewhere_empties_it(void **state)
{
    (void)state;
    turn_in_kernel(hart_[0], 0);
    begin(hart_[2], 1);
    rv_tlb_flush_all(hart_[2]);
    end(hart_[2]);
    assert_false(then_knows(hart_[2], 0));
}

/* Reset, restore: nobody takes turns meanwhile. Nor does the hart that had it find it again. */
static void test_a_flush_without_executors_empties_it(void **state)
{
    (void)state;
    turn_in_kernel(hart_[0], 0);
    sim_set_turns(rig_.sim, 0);
    rv_tlb_flush_all(hart_[0]);
    sim_set_turns(rig_.sim, EXECUTORS);
    assert_false(then_knows(hart_[0], 0));
}

/* Fences done in the context itself take only what they name. */
static void test_a_fence_here_spares_the_rest(void **state)
{
    (void)state;
    begin(hart_[0], 0);
    run_code(hart_[0], KERNEL);
    run_code(hart_[0], OTHER);
    fence(hart_[0], OTHER, 4096);
    end(hart_[0]);
    begin(hart_[1], 0);
    assert_true(knows(hart_[1], KERNEL));
    assert_false(knows(hart_[1], OTHER));
    end(hart_[1]);
}

static void test_fences_of_the_lower_half_do_not_matter(void **state)
{
    (void)state;
    turn_in_kernel(hart_[0], 0);
    begin(hart_[2], 1);
    fence(hart_[2], 0x1000, 4096);
    end(hart_[2]);
    assert_true(then_knows(hart_[1], 0));
}

static void test_flushed_code_is_forgotten_on_the_shelf(void **state)
{
    (void)state;
    turn_in_kernel(hart_[0], 0);
    rv_tlb_flush_shared_jumps(rig_.m);
    assert_false(then_knows(hart_[1], 0));
}

/* Also when it is full of other contexts. */
static void test_a_full_pool_takes_it(void **state)
{
    uint64_t v;

    (void)state;
    turn_in_kernel(hart_[0], 0);
    pt_map(&t_, 0x1000, PAGE_A, 0, RWXAD);
    for (unsigned asid = 1; asid < 2 * RV_TLB_CONTEXTS; asid++) {
        hart_[1]->satp = pt_satp(SATP_SV39, asid);
        rv_tlb_select(hart_[1]);
        assert_true(rv_load(hart_[1], 0x1000, 8, &v));
    }
    assert_true(then_knows(hart_[1], 0));
}

static bool can_run(struct rv_hart *h, unsigned executor, uint64_t va)
{
    gpa_t gpa;

    begin(h, executor);
    bool can = rv_fetch_page(h, va, &gpa);
    end(h);
    return can;
}

#define GIGA 0xffffffd000000000ull /* a leaf of the root table */

/* The leaf is each root's own: the one that is not marked traps, where hardware does not set the bit. */
static void test_the_accessed_bit_of_a_root_leaf_counts(void **state)
{
    (void)state;
    for (unsigned i = 0; i < HARTS; i++)
        hart_[i]->menvcfg &= ~(uint64_t)ENVCFG_ADUE;
    pt_map(&t_, GIGA, RAM_BASE & ~((1ull << 30) - 1), 2, RWXAD | G);
    use_root_2(hart_[1]);
    gpa_t slot = root_slot(ROOT_2, GIGA);
    rig_put64(&rig_, slot, rig_get64(&rig_, slot) & ~(uint64_t)A);
    assert_true(can_run(hart_[0], 0, GIGA + 0x100000));
    assert_false(can_run(hart_[1], 0, GIGA + 0x100000));
}

/* Where hardware sets it, the walk that sets it has noted the entry as it is then: others who have that share. */
static void test_a_root_leaf_is_noted_with_its_accessed_bit(void **state)
{
    (void)state;
    pt_map(&t_, GIGA, RAM_BASE & ~((1ull << 30) - 1), 2, (RWXAD & ~A) | G);
    turn_in_kernel(hart_[0], 0);
    assert_true(can_run(hart_[0], 0, GIGA + 0x100000));
    assert_true(then_knows(hart_[1], 0));
}

/* In a pointer D is reserved: a page fault for whose root has it. */
static void test_reserved_bits_of_a_root_entry_count(void **state)
{
    (void)state;
    use_root_2(hart_[1]);
    gpa_t slot = root_slot(ROOT_2, KERNEL);
    rig_put64(&rig_, slot, rig_get64(&rig_, slot) | D);
    assert_true(can_run(hart_[0], 0, KERNEL));
    assert_false(can_run(hart_[1], 0, KERNEL));
}

static struct rv_hart *add_hart_without(enum rv_ext ext)
{
    struct rv_isa isa = rig_isa_without(ext);
    struct rv_hart *h = rig_add_hart(&rig_, &isa);

    h->satp = pt_satp(SATP_SV39, 9);
    rig_set_priv(h, RV_S);
    return h;
}

static void test_a_hart_of_another_isa_gets_nothing(void **state)
{
    (void)state;
    struct rv_hart *other = add_hart_without(RV_EXT_SVNAPOT);

    pt_map(&t_, KERNEL + 0x10000, (PAGE_A & ~0xffffull) + 0x8000, 0, RWXAD | G | PTE_N_BIT);
    assert_true(can_run(hart_[0], 0, KERNEL + 0x10000));
    assert_false(can_run(other, 0, KERNEL + 0x10000));
}

static void test_menvcfg_counts(void **state)
{
    (void)state;
    hart_[1]->menvcfg &= ~(uint64_t)ENVCFG_PBMTE;
    pt_map(&t_, KERNEL, PAGE_A, 0, RWXAD | G | PTE_PBMT_OF(1));
    assert_true(can_run(hart_[0], 0, KERNEL));
    assert_false(can_run(hart_[1], 0, KERNEL));
}

/* What a hart has filled under another menvcfg than the one that the context says is not for those who have that. */
static void test_menvcfg_of_a_turn_counts(void **state)
{
    (void)state;
    hart_[0]->menvcfg &= ~(uint64_t)ENVCFG_PBMTE;
    hart_[1]->menvcfg &= ~(uint64_t)ENVCFG_PBMTE;
    pt_map(&t_, KERNEL, PAGE_A, 0, RWXAD | G | PTE_PBMT_OF(1));
    begin(hart_[0], 0);
    hart_[0]->menvcfg |= ENVCFG_PBMTE;
    run_code(hart_[0], KERNEL);
    end(hart_[0]);
    assert_false(can_run(hart_[1], 0, KERNEL));
}

/* Hart 0 fills while hart 2, on another executor, does the fence, and is to have seen nothing of that. */
static void test_a_fence_beside_a_running_hart_counts(void **state)
{
    (void)state;
    begin(hart_[0], 0);
    run_code(hart_[0], KERNEL);
    begin(hart_[2], 1);
    fence(hart_[2], KERNEL, 4096);
    end(hart_[2]);
    end(hart_[0]);
    assert_false(then_knows(hart_[2], 0));
}

/* A hart whose satp was bare has no old translations: hart 0's were never its own. */
static void test_a_hart_that_was_bare_knows_nothing(void **state)
{
    uint64_t satp = hart_[1]->satp;

    (void)state;
    begin(hart_[1], 1);
    assert_true(rig_csr_write(hart_[1], CSR_SATP, 0));
    end(hart_[1]);
    turn_in_kernel(hart_[0], 0);
    begin(hart_[1], 1);
    assert_true(rig_csr_write(hart_[1], CSR_SATP, satp));
    end(hart_[1]);
    assert_false(then_knows(hart_[1], 0));
}

/* Another kernel's, or of a hart that has stopped: it makes room. */
static void test_what_nobody_can_use_leaves_the_shelf(void **state)
{
    (void)state;
    turn_in_kernel(hart_[2], 0);
    use_root_2(hart_[0]);
    rig_put64(&rig_, root_slot(ROOT_2, KERNEL), rig_get64(&rig_, root_slot(PT_ROOT, KERNEL)) ^ 1u << 8);
    hart_[1]->satp = (hart_[1]->satp & ~(uint64_t)SATP_PPN) | ROOT_2 >> 12;
    rv_tlb_select(hart_[1]);
    for (int n = 0; n < 32; n++) {
        turn_in_kernel(hart_[0], 0);
        turn_in_kernel(hart_[1], 0);
    }
    assert_ptr_not_equal(rig_.m->shelf[0]->shared.last, hart_[2]);
    assert_true(then_knows(hart_[1], 0));
}

/* It has just been used, whatever the count of waits of the hart that had it. */
static void test_what_is_taken_is_not_trimmed(void **state)
{
    (void)state;
    turn_in_kernel(hart_[0], 0);
    hart_[1]->waits = 1000;
    rig_set_priv(hart_[1], RV_U);
    begin(hart_[1], 0);
    rv_tlb_trim(hart_[1]);
    rig_set_priv(hart_[1], RV_S);
    assert_true(knows(hart_[1], KERNEL));
    end(hart_[1]);
}

/* A hart that has nothing left in it, and uses it no more, keeps it from nobody. */
static void test_an_empty_one_goes_on(void **state)
{
    (void)state;
    turn_in_kernel(hart_[0], 0);
    const struct rv_tlb *t = rig_.m->shelf[0];
    begin(hart_[1], 0);
    fence(hart_[1], 0, UINT64_MAX);
    end(hart_[1]);
    assert_ptr_equal(rig_.m->shelf[0], t);
}

int main(void)
{
#define TEST(f) cmocka_unit_test_setup_teardown(f, setup, teardown)
    const struct CMUnitTest tests[] = {
        TEST(test_jumps_go_to_the_next_hart),
        TEST(test_data_stay_apart),
        TEST(test_nothing_is_shared_where_each_hart_has_an_executor),
        TEST(test_another_root_with_the_same_entries_will_do),
        TEST(test_another_kernel_gets_nothing),
        TEST(test_a_changed_root_entry_ends_it),
        TEST(test_local_pages_are_not_shared),
        TEST(test_a_fence_elsewhere_empties_it),
        TEST(test_a_flush_elsewhere_empties_it),
        TEST(test_a_flush_without_executors_empties_it),
        TEST(test_a_fence_here_spares_the_rest),
        TEST(test_fences_of_the_lower_half_do_not_matter),
        TEST(test_flushed_code_is_forgotten_on_the_shelf),
        TEST(test_a_full_pool_takes_it),
        TEST(test_the_accessed_bit_of_a_root_leaf_counts),
        TEST(test_a_root_leaf_is_noted_with_its_accessed_bit),
        TEST(test_reserved_bits_of_a_root_entry_count),
        TEST(test_a_hart_of_another_isa_gets_nothing),
        TEST(test_menvcfg_counts),
        TEST(test_menvcfg_of_a_turn_counts),
        TEST(test_a_fence_beside_a_running_hart_counts),
        TEST(test_a_hart_that_was_bare_knows_nothing),
        TEST(test_what_nobody_can_use_leaves_the_shelf),
        TEST(test_what_is_taken_is_not_trimmed),
        TEST(test_an_empty_one_goes_on),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
