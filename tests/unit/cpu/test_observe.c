/* Observers: what they are told is what executed, on both engines, and nothing is told when nobody asks. */
#include "hart_fixture.h"

#include "jit.h"
#include "observe.h"
#include "skip.h"

enum { RA = 1, T0 = 5, T1 = 6, A0 = 10, A1 = 11, A2 = 12 };

#define NOP 0x00000013u
#define J_SELF 0x0000006fu
#define ECALL 0x00000073u

/* a0 += 1 until it is t0; every round: ld, sd and amoadd.d at a1, which no window covers together. */
static const uint32_t loop[] = {
    0x00150513, /* addi a0,a0,1 */
    0x0005b303, /* ld t1,0(a1) */
    0x0065b423, /* sd t1,8(a1) */
    0x00a5b62f, /* amoadd.d a2,a0,(a1) */
    0xfe5518e3, /* bne a0,t0,-16 */
    ECALL,
};
enum { LOOP_INSNS = 5 };
#define DATA (RAM_BASE + 0x2000)

struct told {
    struct observer observer;
    uint64_t blocks_made, entered, insns, loads, stores, amos, traps;
    uint64_t last_pc, last_a0, last_value, last_gpa, last_cause;
    uint32_t counter; /* of instructions */
    bool counts, calls;
    bool mmio;
};

static void on_insn(struct observer *o, struct rv_hart *h, const struct observed_insn *i, void *udata)
{
    struct told *t = (struct told *)o;

    (void)udata;
    assert_int_equal(h->pc & ~GUEST_PAGE_MASK, i->offset);
    t->insns++;
    t->last_pc = h->pc;
    t->last_a0 = h->x[A0];
}

static void on_entry(struct observer *o, struct rv_hart *h, const struct observed_insn *i, void *udata)
{
    (void)h;
    (void)udata;
    assert_ptr_equal(i, i->block->insn);
    ((struct told *)o)->entered++;
}

static void on_block(struct observer *o, struct rv_hart *h, struct observed_block *b)
{
    struct told *t = (struct told *)o;

    t->blocks_made++;
    if (t->counts && t->counter == UINT32_MAX)
        t->counter = rv_observe_new_counter(h->machine, true);
    if (t->calls)
        rv_observe_add_call(&b->entered, o, on_entry, NULL);
    for (unsigned n = 0; n < b->nr; n++) {
        if (t->counts)
            rv_observe_add_count(&b->insn[n].actions, o, t->counter, 1);
        if (t->calls)
            rv_observe_add_call(&b->insn[n].actions, o, on_insn, NULL);
    }
}

static void on_access(struct observer *o, struct rv_hart *h, const struct observed_access *a)
{
    struct told *t = (struct told *)o;
    uint64_t *const count[] = {&t->loads, &t->stores, &t->amos};

    ++*count[a->kind];
    t->last_pc = h->pc;
    t->last_value = a->value;
    t->last_gpa = a->gpa;
    t->mmio = a->mmio;
}

static void on_trap(struct observer *o, struct rv_hart *h, uint64_t cause, uint64_t tval)
{
    (void)h;
    (void)tval;
    ((struct told *)o)->traps++;
    ((struct told *)o)->last_cause = cause;
}

static const struct observer_ops all = {.block = on_block, .access = on_access, .trap = on_trap};
static const struct observer_ops code_only = {.block = on_block};
static const struct observer_ops access_only = {.access = on_access};

static void tell(struct told *t, const struct observer_ops *ops)
{
    *t = (struct told){.observer = {.ops = ops, .filter = rv_observe_filter_all()}, .counter = UINT32_MAX,
                       .counts = true, .calls = true};
    t->observer.counts = ops->block != NULL;
}

static void start_rig(struct rig *r, bool jit)
{
    struct rv_isa isa = rig_isa();

    memset(r, 0, sizeof *r);
    assert_int_equal(sim_create(&r->sim), SIM_OK);
    assert_int_equal(mem_space_create(r->sim, &r->space), SIM_OK);
    assert_int_equal(mem_add_ram(r->space, "ram", RAM_BASE, RAM_SIZE), SIM_OK);
    assert_int_equal(mem_seal_ram(r->space), SIM_OK);
    struct rv_machine_config config = {.sim = r->sim, .space = r->space, .jit = jit};
    assert_int_equal(rv_machine_create(&config, &r->m), SIM_OK);
    if (jit && !r->m->jit)
        skip_because(SKIP_NO_JIT);
    r->h = rig_add_hart(r, &isa);
    r->h->pc = RAM_BASE;
    r->h->mtvec = RAM_BASE + 0x1000;
    rig_put_code(r, RAM_BASE, loop, SIM_ARRAY_LEN(loop));
    rig_put_code(r, RAM_BASE + 0x1000, (const uint32_t[]){J_SELF}, 1);
    r->h->x[T0] = 1000;
    r->h->x[A1] = DATA;
    vcpu_enter(&r->h->vcpu);
}

/* Until the ecall has been taken, and then some turns of J_SELF. */
static uint64_t run_rig(struct rig *r, uint64_t budget)
{
    struct rv_hart *h = r->h;

    h->insns = rv_insns(h);
    h->slice = h->budget = (int64_t)budget;
    atomic_store(&h->vcpu.kick, 0);
    if (r->m->jit)
        jit_run(h);
    else
        rv_interp_run(h);
    return (uint64_t)(h->slice - h->budget);
}

static void check_all_is_told(bool jit)
{
    struct rig r;
    struct told t;

    start_rig(&r, jit);
    tell(&t, &all);
    rv_observe_start(r.m, &t.observer);
    uint64_t charged = run_rig(&r, 1000 * LOOP_INSNS + 40);
    assert_int_equal(r.h->x[A0], 1000);
    /* The ecall is told of and charged once, as what traps. */
    assert_int_equal(t.insns, charged);
    assert_int_equal(r.h->counters[t.counter], charged);
    assert_int_equal(t.last_a0, 1000);
    assert_int_equal(t.last_pc, RAM_BASE + 0x1000);
    assert_int_equal(t.loads, 1000);
    assert_int_equal(t.stores, 1000);
    assert_int_equal(t.amos, 1000);
    assert_int_equal(t.last_gpa, DATA);
    assert_int_equal(t.last_value, 999 * 1000 / 2); /* before the last addition */
    assert_int_equal(t.traps, 1);
    assert_int_equal(t.last_cause, RV_EXC_ECALL_M);
    assert_true(t.entered >= 1000 && t.blocks_made >= 2 && t.blocks_made < 10);
    if (jit)
        assert_true(r.h->count.jit_insns > 4000);
    rv_observe_stop(r.m, &t.observer);
    rig_fini(&r);
}

static void test_everything_is_told_by_translated_code(void **state)
{
    (void)state;
    check_all_is_told(true);
}

static void test_everything_is_told_by_the_interpreter(void **state)
{
    (void)state;
    check_all_is_told(false);
}

/* Counters alone need no call: they are in the code. */
static void test_counters_alone(void **state)
{
    struct rig r;
    struct told t;

    (void)state;
    start_rig(&r, true);
    tell(&t, &code_only);
    t.calls = false;
    rv_observe_start(r.m, &t.observer);
    uint64_t charged = run_rig(&r, 1000 * LOOP_INSNS + 40);
    assert_int_equal(t.insns, 0);
    assert_int_equal(r.h->counters[t.counter], charged);
    rv_observe_stop(r.m, &t.observer);
    rig_fini(&r);
}

/* Observation begins and ends between two runs of code that is translated already. */
static void test_start_and_stop(void **state)
{
    struct rig r;
    struct told t;

    (void)state;
    start_rig(&r, true);
    run_rig(&r, 1000);
    assert_true(r.h->tlb->used);
    tell(&t, &all);
    rv_observe_start(r.m, &t.observer);
    uint64_t charged = run_rig(&r, 1000);
    assert_int_equal(t.insns, charged);
    assert_true(t.loads >= charged / LOOP_INSNS - 1);
    rv_observe_stop(r.m, &t.observer);
    uint64_t before = t.insns + t.loads;
    run_rig(&r, 1000);
    assert_int_equal(t.insns + t.loads, before);
    assert_int_equal(r.h->observe, 0);
    rig_fini(&r);
}

static void test_addresses_are_filtered(void **state)
{
    struct rig r;
    struct told code, data;

    (void)state;
    start_rig(&r, true);
    tell(&code, &code_only);
    code.observer.filter.lo = RAM_BASE + 0x1000; /* the trap handler */
    code.observer.filter.hi = RAM_BASE + 0x1fff;
    tell(&data, &access_only);
    data.observer.filter.lo = data.observer.filter.hi = DATA + 8;
    rv_observe_start(r.m, &code.observer);
    rv_observe_start(r.m, &data.observer);
    uint64_t charged = run_rig(&r, 1000 * LOOP_INSNS + 40);
    assert_int_equal(code.insns, charged - 1000 * LOOP_INSNS - 1);
    assert_int_equal(data.stores, 1000);
    assert_int_equal(data.loads + data.amos, 0); /* beside it in the same page */
    rv_observe_stop(r.m, &code.observer);
    rv_observe_stop(r.m, &data.observer);
    rig_fini(&r);
}

/* The same code by U mode, which is observed, and M mode, which is not: each has its translation. */
static void test_privileges_are_filtered(void **state)
{
    struct rig r;
    struct told t;

    (void)state;
    start_rig(&r, true);
    rig_open_pmp(r.h);
    tell(&t, &all);
    t.observer.filter.privs = 1 << RV_U;
    rv_observe_start(r.m, &t.observer);
    run_rig(&r, 2500);
    assert_int_equal(t.insns + t.loads + t.stores, 0);
    rig_set_priv(r.h, RV_U);
    uint64_t a0 = r.h->x[A0];
    uint64_t charged = run_rig(&r, 1000);
    assert_int_equal(t.insns, charged);
    assert_true(t.loads >= r.h->x[A0] - a0 - 1 && t.loads <= r.h->x[A0] - a0);
    rig_set_priv(r.h, RV_M);
    run_rig(&r, 500);
    assert_int_equal(t.insns, charged);
    rv_observe_stop(r.m, &t.observer);
    rig_fini(&r);
}

static void put_and_run(struct rig *r, const uint32_t *code, unsigned nr)
{
    rig_put_code(r, RAM_BASE, code, nr);
    r->h->pc = RAM_BASE;
    for (unsigned n = 0; n < nr; n++)
        rv_interp_step(r->h);
}

static void test_kinds_of_accesses(void **state)
{
    struct rig r;
    struct told t;

    (void)state;
    start_rig(&r, false);
    tell(&t, &access_only);
    rv_observe_start(r.m, &t.observer);
    rig_put64(&r, DATA, 0x1122334455667788);
    r.h->x[A1] = DATA;
    put_and_run(&r, (const uint32_t[]){0x00158303}, 1); /* lb t1,1(a1) */
    assert_int_equal(t.last_value, 0x77);
    put_and_run(&r, (const uint32_t[]){0x0015b303}, 1); /* ld t1,1(a1): misaligned */
    assert_int_equal(t.last_value, 0x0011223344556677);
    assert_int_equal(t.loads, 2);
    r.h->x[A2] = 0xabcdef;
    put_and_run(&r, (const uint32_t[]){0x1005b32f, 0x18c5b32f}, 2); /* lr.d t1,(a1); sc.d t1,a2,(a1) */
    assert_int_equal(r.h->x[T1], 0);
    assert_int_equal(t.loads, 3);
    assert_int_equal(t.stores, 1);
    assert_int_equal(t.last_value, 0xabcdef);
    put_and_run(&r, (const uint32_t[]){0x18c5b32f}, 1); /* sc.d without a reservation stores nothing */
    assert_int_equal(t.stores, 1);
    r.h->x[A1] = 0x1000; /* nothing is there */
    put_and_run(&r, (const uint32_t[]){0x0005b303}, 1);
    assert_int_equal(t.loads, 3); /* faulted: not done */
    rv_observe_stop(r.m, &t.observer);
    rig_fini(&r);
}

/* An LR that must run alone is given up first, then tried again: told of once. */
static void test_a_retried_instruction_is_told_once(void **state)
{
    struct rig r;
    struct told t;
    struct rv_isa isa = rig_isa();

    (void)state;
    start_rig(&r, true);
    rig_add_hart(&r, &isa); /* two harts: not alone */
    /* lr.d t1,(a1); ld a2,0(a1): a sequence with another access in it; then a loop */
    rig_put_code(&r, RAM_BASE, (const uint32_t[]){0x1005b32f, 0x0005b603, J_SELF}, 3);
    r.h->pc = RAM_BASE;
    tell(&t, &code_only);
    rv_observe_start(r.m, &t.observer);
    run_rig(&r, 10);
    assert_int_equal(r.h->stop_reason, RV_STOP_EXCLUSIVE);
    assert_int_equal(t.insns, 1);
    rv_observe_given_up(r.h); /* as the run loop does */
    r.h->exclusive = 1;
    rv_interp_step(r.h);
    r.h->exclusive = 0;
    assert_int_equal(t.insns, 1);
    assert_int_equal(r.h->pc, RAM_BASE + 4);
    rv_observe_stop(r.m, &t.observer);
    rig_fini(&r);
}

/* Code that is written over is observed as what it is now. */
static void test_new_code_is_a_new_block(void **state)
{
    struct rig r;
    struct told t;

    (void)state;
    start_rig(&r, true);
    tell(&t, &code_only);
    rv_observe_start(r.m, &t.observer);
    run_rig(&r, 1000);
    uint64_t made = t.blocks_made;
    rig_put_code(&r, RAM_BASE, (const uint32_t[]){NOP, NOP, J_SELF}, 3);
    mem_code_written(r.space, RAM_BASE, 12);
    r.h->pc = RAM_BASE;
    rv_tlb_flush_jumps(r.h);
    uint64_t before = t.insns, charged = run_rig(&r, 200);
    assert_int_equal(t.insns - before, charged);
    assert_true(t.blocks_made > made);
    rv_observe_stop(r.m, &t.observer);
    rig_fini(&r);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_everything_is_told_by_translated_code),
        cmocka_unit_test(test_everything_is_told_by_the_interpreter),
        cmocka_unit_test(test_counters_alone),
        cmocka_unit_test(test_start_and_stop),
        cmocka_unit_test(test_addresses_are_filtered),
        cmocka_unit_test(test_privileges_are_filtered),
        cmocka_unit_test(test_kinds_of_accesses),
        cmocka_unit_test(test_a_retried_instruction_is_told_once),
        cmocka_unit_test(test_new_code_is_a_new_block),
    };

    return cmocka_run_group_tests_name("cpu.observe", tests, NULL, NULL);
}
