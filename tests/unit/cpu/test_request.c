/* Requests between harts: order of posting and serving, overflow, start, waiting across threads. */
#include "page_tables.h"

#define PAGE_A (RAM_BASE + 0x100000)

static struct rig rig_;
static struct tables t_;
static struct rv_hart *other_;

static int setup(void **state)
{
    rig_init(&rig_, true);
    struct rv_isa isa = rig_isa();
    other_ = rig_add_hart(&rig_, &isa);
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

static bool cached(struct rv_hart *h, gva_t va)
{
    return rv_tlb_way0(h, va)->tag_r == va;
}

static void fill(struct rv_hart *h, gva_t va)
{
    uint64_t v;

    pt_map(&t_, va, PAGE_A, 0, RWXAD);
    assert_true(rv_load(h, va, 8, &v));
}

static void test_fence_waits_for_the_safepoint(void **state)
{
    struct rig *r = *state;
    struct rv_fence_range range = {0x1000, 4096, RV_ASID_ANY};

    fill(r->h, 0x1000);
    fill(r->h, 0x2000);
    atomic_store(&r->h->vcpu.kick, 0);
    rv_request_fence(other_, r->h, 0, &range);
    assert_int_equal(atomic_load(&r->h->vcpu.kick), 0); /* one that waits is not woken: it is a mark */
    assert_true(cached(r->h, 0x1000));
    rv_request_wait(other_, r->h); /* not running: returns at once */
    rv_requests_serve(r->h);
    assert_false(cached(r->h, 0x1000));
    assert_true(cached(r->h, 0x2000));
    assert_int_equal(atomic_load(&r->h->req.served), atomic_load(&r->h->req.posted));
}

static void test_fence_on_oneself_is_immediate(void **state)
{
    struct rig *r = *state;
    struct rv_fence_range range = {0, UINT64_MAX, RV_ASID_ANY};

    fill(r->h, 0x1000);
    rv_request_fence(r->h, r->h, 0, &range);
    assert_false(cached(r->h, 0x1000));
}

/* A hart that has no turn for long is sent a fence for each page that another one changes. */
static void test_many_fences_take_only_what_is_theirs(void **state)
{
    struct rig *r = *state;

    fill(r->h, 0x1000);
    fill(r->h, 0x150000);
    for (uint64_t i = 0; i < 100; i++) {
        struct rv_fence_range range = {0x100000 + i * 0x3000, 4096, RV_ASID_ANY};
        rv_request_fence(other_, r->h, 0, &range);
    }
    rv_requests_serve(r->h);
    assert_true(cached(r->h, 0x1000));
    assert_false(cached(r->h, 0x150000));
}

/* Of more address spaces than are noted one by one: of each of them, without what is global. */
static void test_fences_of_many_address_spaces(void **state)
{
    struct rig *r = *state;
    uint64_t v;

    fill(r->h, 0x200000);
    fill(r->h, 0x3000);
    pt_map(&t_, 0x201000, PAGE_A, 0, RWXAD | G);
    assert_true(rv_load(r->h, 0x201000, 8, &v));
    for (uint64_t asid = 0; asid < 100; asid++) {
        struct rv_fence_range range = {0x200000, 8192, asid};
        rv_request_fence(other_, r->h, 0, &range);
    }
    rv_requests_serve(r->h);
    assert_false(cached(r->h, 0x200000));
    assert_true(cached(r->h, 0x201000));
    assert_true(cached(r->h, 0x3000));
}

static void sbi_fence(struct rv_hart *h, gva_t va, uint64_t size, uint64_t asid)
{
    const uint64_t arg[] = {1, 0, va, size, asid, 0, 2 /* remote_sfence_vma_asid */, 0x52464e43};

    memcpy(&h->x[10], arg, sizeof arg);
    rv_sbi_ecall(h);
    assert_int_equal(h->x[10], 0);
}

/* ASIDs are as wide as satp's, as for sfence.vma; a range may go round the end of the address space. */
static void test_fences_by_sbi(void **state)
{
    struct rig *r = *state;

    fill(r->h, 0x1000);
    sbi_fence(r->h, 0x1000, 4096, 2);
    assert_true(cached(r->h, 0x1000));
    sbi_fence(r->h, 0x1000, 4096, 0x10001);
    assert_false(cached(r->h, 0x1000));
    fill(r->h, 0x1000);
    sbi_fence(r->h, 0x1000, 4096, UINT64_MAX); /* address space 0xffff */
    assert_true(cached(r->h, 0x1000));
    sbi_fence(r->h, -0x1000ull, 0x3000, 1);
    assert_false(cached(r->h, 0x1000));
}

/* More pages than are noted one by one: writes are asked for anew, nothing else is forgotten. */
static void test_many_write_protections(void **state)
{
    struct rig *r = *state;

    pt_map(&t_, 0x1000, PAGE_A, 0, RWXAD);
    assert_true(rv_store(r->h, 0x1000, 8, 1));
    for (uint64_t i = 100; i-- > 0;) /* that page last */
        rv_request_write_protect(other_, r->h, PAGE_A + i * 4096);
    rv_requests_serve(r->h);
    assert_int_equal(rv_tlb_way0(r->h, 0x1000)->tag_w, RV_TLB_INVALID);
    assert_true(cached(r->h, 0x1000));
}

static void test_write_protect(void **state)
{
    struct rig *r = *state;

    pt_map(&t_, 0x1000, PAGE_A, 0, RWXAD);
    assert_true(rv_store(r->h, 0x1000, 8, 1));
    rv_request_write_protect(other_, r->h, PAGE_A + 0x1000);
    rv_requests_serve(r->h);
    assert_int_equal(rv_tlb_way0(r->h, 0x1000)->tag_w, 0x1000);
    rv_request_write_protect(other_, r->h, PAGE_A);
    rv_requests_serve(r->h);
    assert_int_equal(rv_tlb_way0(r->h, 0x1000)->tag_w, RV_TLB_INVALID);
    assert_true(cached(r->h, 0x1000));
}

static void test_fence_i_forgets_jumps(void **state)
{
    struct rig *r = *state;

    r->h->code_tlb->jc[rv_jc_set(0x1010)][0] = (struct rv_jc_entry){0x1010, &rig_};
    rv_jc_note(r->h->code_tlb, 0x1010);
    rv_request_fence(other_, r->h, RV_REQ_FENCE_I, NULL);
    rv_requests_serve(r->h);
    assert_int_not_equal(r->h->code_tlb->jc[rv_jc_set(0x1010)][0].pc, 0x1010);
}

static void test_start_of_a_stopped_hart(void **state)
{
    (void)state;
    assert_int_equal(other_->stopped, 1);
    atomic_store(&other_->vcpu.kick, 0);
    assert_true(rv_hart_request_start(other_, RAM_BASE + 0x40, 77));
    assert_false(rv_hart_request_start(other_, RAM_BASE + 0x80, 78)); /* pending */
    assert_true(other_->vcpu.ops->has_work(&other_->vcpu));
    rv_requests_serve(other_);
    assert_int_equal(other_->stopped, 0);
    assert_int_equal(other_->pc, RAM_BASE + 0x40);
    assert_int_equal(other_->x[10], other_->hartid);
    assert_int_equal(other_->x[11], 77);
    assert_int_equal(other_->priv, RV_S);
    assert_false(rv_hart_request_start(other_, RAM_BASE, 1)); /* started */
}

/* Between a start and its effect the machine may be reset, or saved. */
static void test_reset_forgets_what_was_posted(void **state)
{
    struct rig *r = *state;
    struct irq_line ssip = rv_hart_irq(&other_->vcpu, 1);
    struct rv_fence_range range = {0x1000, 4096, RV_ASID_ANY};

    assert_true(rv_hart_request_start(other_, RAM_BASE + 0x40, 77));
    rv_request_fence(r->h, other_, 0, &range);
    irq_set(&ssip, true);
    rv_hart_reset(&other_->vcpu);
    rv_requests_serve(other_);
    assert_int_equal(other_->stopped, 1);
    assert_int_equal(rv_mip(other_), 0);
    assert_true(rv_hart_request_start(other_, RAM_BASE + 0x80, 78)); /* not "pending" */
    rv_requests_serve(other_);
    assert_int_equal(other_->pc, RAM_BASE + 0x80);
}

static void test_saved_state_has_what_was_posted(void **state)
{
    struct state_buf buf = {0};
    size_t used;

    (void)state;
    assert_true(rv_hart_request_start(other_, RAM_BASE + 0x40, 77));
    state_save(&rv_hart_state, other_, &buf);
    assert_true(rv_hart_request_start(other_, RAM_BASE + 0x80, 78) == false);
    rv_hart_reset(&other_->vcpu);
    assert_true(rv_hart_request_start(other_, RAM_BASE + 0x80, 78));
    assert_int_equal(state_load(&rv_hart_state, other_, buf.data, buf.len, &used), SIM_OK);
    rv_requests_serve(other_);
    assert_int_equal(other_->stopped, 0);
    assert_int_equal(other_->pc, RAM_BASE + 0x40);
    assert_int_equal(other_->x[11], 77);
    state_buf_fini(&buf);
}

/* --- another thread runs the hart --- */

static void *run_until_end(void *arg)
{
    struct rv_hart *h = arg;

    while (h->vcpu.ops->run(&h->vcpu, 100000) != VCPU_EXIT_END)
        ;
    return NULL;
}

static void test_waiting_across_threads(void **state)
{
    struct rig *r = *state;
    struct sim_thread thread;
    const uint32_t jump_self = 0x6f;
    struct rv_fence_range range = {0, UINT64_MAX, RV_ASID_ANY};

    rig_put_code(r, RAM_BASE, &jump_self, 1);
    rv_hart_start(&other_->vcpu, RAM_BASE, 0, 0);
    assert_int_equal(sim_thread_start(&thread, "hart", run_until_end, other_), SIM_OK);
    while (!atomic_load(&other_->vcpu.running))
        sim_thread_yield();
    for (unsigned i = 0; i < 200; i++) {
        rv_request_fence(NULL, other_, 0, &range);
        rv_request_write_protect(NULL, other_, PAGE_A);
        uint64_t posted = atomic_load(&other_->req.posted);
        rv_request_wait(NULL, other_);
        /* served, or between two runs and then before the next instruction */
        while (atomic_load(&other_->req.served) < posted && !atomic_load(&other_->vcpu.running))
            sim_thread_yield();
        vcpu_kick(&other_->vcpu);
        while (atomic_load(&other_->req.served) < posted)
            sim_thread_yield();
    }
    sim_request_end(r->sim, SIM_END_USER, 0);
    sim_thread_join(&thread);
    assert_true(atomic_load(&other_->req.served) > 0);
}

/* Two harts fence each other at the same time: neither may wait for ever. */
struct pair {
    struct rv_hart *self, *peer;
};

static void *fence_peer(void *arg)
{
    struct pair *p = arg;
    struct rv_fence_range range = {0x1000, 4096, RV_ASID_ANY};

    for (unsigned i = 0; i < 2000; i++) {
        vcpu_enter(&p->self->vcpu);
        rv_requests_serve(p->self);
        rv_request_fence(p->self, p->peer, 0, &range);
        rv_request_wait(p->self, p->peer);
        vcpu_leave(&p->self->vcpu);
    }
    return NULL;
}

static void test_mutual_fences_do_not_deadlock(void **state)
{
    struct rig *r = *state;
    struct sim_thread a, b;
    struct pair ab = {r->h, other_}, ba = {other_, r->h};

    assert_int_equal(sim_thread_start(&a, "a", fence_peer, &ab), SIM_OK);
    assert_int_equal(sim_thread_start(&b, "b", fence_peer, &ba), SIM_OK);
    sim_thread_join(&a);
    sim_thread_join(&b);
    assert_int_equal(atomic_load(&r->h->req.posted), 2000);
    assert_int_equal(atomic_load(&other_->req.posted), 2000);
}

int main(void)
{
#define TEST(f) cmocka_unit_test_setup_teardown(f, setup, teardown)
    const struct CMUnitTest tests[] = {
        TEST(test_fence_waits_for_the_safepoint),
        TEST(test_fence_on_oneself_is_immediate),
        TEST(test_many_fences_take_only_what_is_theirs),
        TEST(test_fences_of_many_address_spaces),
        TEST(test_fences_by_sbi),
        TEST(test_many_write_protections),
        TEST(test_write_protect),
        TEST(test_fence_i_forgets_jumps),
        TEST(test_start_of_a_stopped_hart),
        TEST(test_reset_forgets_what_was_posted),
        TEST(test_saved_state_has_what_was_posted),
        TEST(test_waiting_across_threads),
        TEST(test_mutual_fences_do_not_deadlock),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
