/* Harts on other ranks: two machines, each with one hart of its own and a shadow of the other's, and a wire that
 * delivers at once. */
#include "hart_fixture.h"

static struct side {
    struct sim *sim;
    struct mem_space *space;
    struct rv_machine *m;
    struct rv_hart *hart[2];
    unsigned posted;
    bool stale; /* it thinks that all harts are its own */
} side_[2];

static bool nothing(void *opaque)
{
    (void)opaque;
    return false;
}

static void no_answer(void *opaque, unsigned *spins)
{
    (void)opaque;
    assert_true(++*spins < 10); /* the wire has delivered already */
}

static uint32_t rank_of(void *opaque, const struct vcpu *v)
{
    const struct side *s = opaque;

    return s->stale ? (uint32_t)(s - side_) : v->index;
}

static void tell(void *opaque, uint32_t rank, const struct vcpu *v, const void *msg, uint32_t len)
{
    struct side *from = opaque;
    struct vcpu *there = &side_[rank].hart[v->index]->vcpu;

    from->posted++;
    there->ops->deliver(there, (uint32_t)(from - side_), msg, len);
}

static void post(void *opaque, const struct vcpu *target, const void *msg, uint32_t len)
{
    tell(opaque, target->index, target, msg, len);
}

static const struct sim_ranks_ops wire = {
    .poll = nothing, .wait = no_answer, .post = post, .tell = tell, .rank_of = rank_of};

static bool is_remote(void *opaque, uint32_t index)
{
    return (uint32_t)((struct side *)opaque - side_) != index;
}

static void side_init(struct side *s)
{
    struct rv_isa isa = rig_isa();

    memset(s, 0, sizeof *s);
    assert_int_equal(sim_create(&s->sim), SIM_OK);
    s->sim->ranks = &wire;
    s->sim->ranks_opaque = s;
    s->sim->rank = (uint32_t)(s - side_);
    s->sim->nr_ranks = 2;
    assert_int_equal(mem_space_create(s->sim, &s->space), SIM_OK);
    assert_int_equal(mem_add_ram(s->space, "ram", RAM_BASE, RAM_SIZE), SIM_OK);
    assert_int_equal(mem_seal_ram(s->space), SIM_OK);
    struct rv_machine_config config = {
        .sim = s->sim, .space = s->space, .sbi = true, .is_remote = is_remote, .is_remote_opaque = s};
    assert_int_equal(rv_machine_create(&config, &s->m), SIM_OK);
    for (uint64_t i = 0; i < 2; i++) {
        struct vcpu *v;
        assert_int_equal(rv_machine_add_hart(s->m, i, &isa, &v), SIM_OK);
        s->hart[i] = rv_hart_of(v);
    }
}

static int setup(void **state)
{
    *state = side_;
    side_init(&side_[0]);
    side_init(&side_[1]);
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    for (unsigned i = 0; i < 2; i++) {
        rv_machine_destroy(side_[i].m);
        mem_space_destroy(side_[i].space);
        sim_destroy(side_[i].sim);
    }
    return 0;
}

/* An SBI call of hart 0 on rank 0. */
static int64_t sbi(uint64_t eid, uint64_t fid, uint64_t a0, uint64_t a1, uint64_t a2, uint64_t a3)
{
    struct rv_hart *h = side_[0].hart[0];
    const uint64_t arg[] = {a0, a1, a2, a3};

    memcpy(&h->x[10], arg, sizeof arg);
    h->x[16] = fid;
    h->x[17] = eid;
    vcpu_enter(&h->vcpu);
    rv_sbi_ecall(h);
    vcpu_leave(&h->vcpu);
    return (int64_t)h->x[10];
}

static void test_shadow_has_no_tlb(void **state)
{
    (void)state;
    assert_true(side_[0].hart[1]->vcpu.remote);
    assert_null(side_[0].hart[1]->tlb);
    assert_non_null(side_[0].hart[0]->tlb);
}

static void test_line_crosses(void **state)
{
    struct side *s = *state;
    struct irq_line seip = rv_hart_irq(&s[0].hart[1]->vcpu, 9);

    irq_set(&seip, true);
    assert_int_equal(atomic_load(&s[1].hart[1]->irq_pins), MIP_SEIP);
    irq_set(&seip, false);
    assert_int_equal(atomic_load(&s[1].hart[1]->irq_pins), 0);
}

static void test_ipi_crosses(void **state)
{
    struct side *s = *state;

    assert_int_equal(sbi(0x735049, 0, 3, 0, 0, 0), 0);
    assert_int_equal(atomic_load(&s[1].hart[1]->irq_pins), MIP_SSIP);
    assert_int_equal(atomic_load(&s[0].hart[0]->irq_pins), MIP_SSIP);
}

enum { HSM = 0x48534d, HSM_STARTED = 0, HSM_STOPPED = 1, HSM_SUSPENDED = 4, ALREADY_AVAILABLE = -6 };

static void test_start_crosses_once(void **state)
{
    struct side *s = *state;

    assert_int_equal(sbi(HSM, 2, 1, 0, 0, 0), 0);
    assert_int_equal(s[0].hart[0]->x[11], HSM_STOPPED);
    assert_int_equal(sbi(HSM, 0, 1, RAM_BASE + 0x1000, 77, 0), 0);
    assert_int_equal(sbi(HSM, 0, 1, RAM_BASE + 0x1000, 77, 0), ALREADY_AVAILABLE);
    rv_requests_serve(s[1].hart[1]);
    assert_int_equal(s[1].hart[1]->stopped, 0);
    assert_int_equal(s[1].hart[1]->pc, RAM_BASE + 0x1000);
    assert_int_equal(s[1].hart[1]->x[10], 1);
    assert_int_equal(s[1].hart[1]->x[11], 77);
    assert_int_equal(sbi(HSM, 2, 1, 0, 0, 0), 0);
    assert_int_equal(s[0].hart[0]->x[11], HSM_STARTED);
}

static void started(struct rv_hart *h)
{
    assert_int_equal(sbi(HSM, 0, h->hartid, RAM_BASE, 0, 0), 0);
    rv_requests_serve(h);
}

/* The hart calls HSM without arguments. */
static void hsm_call(struct rv_hart *h, uint64_t fid)
{
    h->x[10] = 0;
    h->x[16] = fid;
    h->x[17] = HSM;
    vcpu_enter(&h->vcpu);
    rv_sbi_ecall(h);
    vcpu_leave(&h->vcpu);
}

/* A hart that stops tells everybody. */
static void test_stop_is_told(void **state)
{
    struct side *s = *state;

    started(s[1].hart[1]);
    hsm_call(s[1].hart[1], 1);
    assert_int_equal(sbi(HSM, 2, 1, 0, 0, 0), 0);
    assert_int_equal(s[0].hart[0]->x[11], HSM_STOPPED);
}

/* Until an interrupt comes. */
static void test_suspend_is_told(void **state)
{
    struct side *s = *state;
    struct rv_hart *h = s[1].hart[1];

    started(h);
    hsm_call(h, 3);
    assert_int_equal(sbi(HSM, 2, 1, 0, 0, 0), 0);
    assert_int_equal(s[0].hart[0]->x[11], HSM_SUSPENDED);
    h->mie = MIP_SSIP;
    assert_int_equal(sbi(0x735049, 0, 2, 0, 0, 0), 0);
    h->vcpu.ops->run(&h->vcpu, 1);
    assert_int_equal(sbi(HSM, 2, 1, 0, 0, 0), 0);
    assert_int_equal(s[0].hart[0]->x[11], HSM_STARTED);
}

/* A hart that was asked to start counts as started everywhere, before it has seen it. */
static void test_start_is_told(void **state)
{
    struct side *s = *state;

    assert_true(rv_hart_request_start(s[1].hart[1], RAM_BASE, 0)); /* by a hart of its own rank */
    assert_int_equal(sbi(HSM, 2, 1, 0, 0, 0), 0);
    assert_int_equal(s[0].hart[0]->x[11], HSM_STARTED);
    assert_int_equal(sbi(HSM, 0, 1, RAM_BASE, 0, 0), ALREADY_AVAILABLE);
}

/* Also a rank that has no hart left is told: one may come back to it. */
static void test_rank_without_harts_is_told(void **state)
{
    struct side *s = *state;

    s[0].hart[0]->vcpu.remote = true;
    s[1].hart[0]->vcpu.remote = false;
    assert_true(rv_hart_request_start(s[1].hart[1], RAM_BASE, 0));
    assert_int_equal(s[0].hart[1]->stopped, 0);
}

/* What was told before a hart moved may come after what its new rank tells. */
static void test_old_state_is_ignored(void **state)
{
    struct side *s = *state;

    s[0].hart[1]->state_nr = 7;
    s[1].hart[1]->state_nr = 6;
    rv_remote_tell_state(s[1].hart[1], RV_TOLD_STARTED);
    assert_int_equal(s[0].hart[1]->stopped, 1);
    rv_remote_tell_state(s[1].hart[1], RV_TOLD_STARTED);
    assert_int_equal(s[0].hart[1]->stopped, 0);
}

static void test_fence_is_answered(void **state)
{
    struct side *s = *state;
    uint64_t posted = atomic_load(&s[1].hart[1]->req.posted);
    uint64_t flushes = s[1].hart[1]->count.tlb_flushes;

    assert_int_equal(sbi(0x52464e43, 1, 3, 0, 0x4000, 0x1000), 0);
    assert_int_equal(atomic_load(&s[0].hart[0]->acks_due), 0);
    assert_int_equal(s[0].posted, 1);
    assert_int_equal(s[1].posted, 1);
    assert_int_equal(atomic_load(&s[1].hart[1]->req.posted), posted + 1);
    rv_requests_serve(s[1].hart[1]);
    assert_int_equal(s[1].hart[1]->count.tlb_flushes, flushes + 1);
}

/* The hart has moved, and asks before this rank has heard of it. */
static void regress_3_fence_of_a_hart_that_has_moved(void **state)
{
    struct side *s = *state;

    s[1].stale = true;
    assert_int_equal(sbi(0x52464e43, 1, 3, 0, 0x4000, 0x1000), 0);
    assert_int_equal(atomic_load(&s[0].hart[0]->acks_due), 0);
    assert_int_equal(s[1].posted, 1);
}

/* A broken peer is not obeyed. */
static void test_malformed_messages_are_ignored(void **state)
{
    struct side *s = *state;
    struct vcpu *v = &s[0].hart[0]->vcpu;
    uint8_t junk[256];

    for (unsigned len = 0; len < sizeof junk; len += 8) {
        memset(junk, 0xff, sizeof junk);
        v->ops->deliver(v, 1, junk, len);
        memset(junk, 0, sizeof junk);
        junk[0] = 3;    /* a fence, */
        junk[4] = 0xff; /* by hart 255 */
        v->ops->deliver(v, 1, junk, len);
    }
    assert_int_equal(atomic_load(&s[0].hart[0]->req.posted), atomic_load(&s[0].hart[0]->req.served));
}

int main(void)
{
#define T(f) cmocka_unit_test_setup_teardown(f, setup, teardown)
    const struct CMUnitTest tests[] = {
        T(test_shadow_has_no_tlb),
        T(test_line_crosses),
        T(test_ipi_crosses),
        T(test_start_crosses_once),
        T(test_stop_is_told),
        T(test_suspend_is_told),
        T(test_start_is_told),
        T(test_rank_without_harts_is_told),
        T(test_old_state_is_ignored),
        T(test_fence_is_answered),
        T(regress_3_fence_of_a_hart_that_has_moved),
        T(test_malformed_messages_are_ignored),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
