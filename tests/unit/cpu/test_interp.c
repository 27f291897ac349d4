/* The interpreter and the run loop: small programs, self-modifying code, traps, waiting. */
#include "hart_fixture.h"

#define LI(rd, imm) (0x13u | (rd) << 7 | ((uint32_t)(imm) & 0xfff) << 20)     /* addi rd, x0, imm */
#define ADDI(rd, rs, imm) (LI(rd, imm) | (rs) << 15)
#define ADD(rd, a, b) (0x33u | (rd) << 7 | (a) << 15 | (b) << 20)
#define BNE(a, b, off)                                                                             \
    (0x1063u | (a) << 15 | (b) << 20 | ((uint32_t)(off) >> 1 & 15) << 8 |                          \
     ((uint32_t)(off) >> 5 & 63) << 25 | ((uint32_t)(off) >> 11 & 1) << 7 |                        \
     ((uint32_t)(off) >> 12 & 1) << 31)
#define SW(src, base, imm)                                                                         \
    (0x2023u | (base) << 15 | (src) << 20 | ((uint32_t)(imm) & 31) << 7 |                          \
     ((uint32_t)(imm) >> 5 & 127) << 25)
#define LD(rd, base, imm) (0x3003u | (rd) << 7 | (base) << 15 | ((uint32_t)(imm) & 0xfff) << 20)
#define WFI 0x10500073u
#define ECALL 0x73u
#define EBREAK 0x100073u
#define JUMP_SELF 0x6fu
#define PAUSE 0x0100000fu
#define WRS_NTO 0x00d00073u
#define BACK_16 0xff1ff06fu /* jal x0, -16 */
#define BACK_8 0xff9ff06fu  /* jal x0, -8 */
#define LR_W(rd, a) (0x1000202fu | (rd) << 7 | (a) << 15)
#define SC_W(rd, a, b) (0x1800202fu | (rd) << 7 | (a) << 15 | (b) << 20)

static int setup(void **state)
{
    static struct rig r;

    rig_init(&r, true);
    *state = &r;
    return 0;
}

static int teardown(void **state)
{
    rig_fini(*state);
    return 0;
}

#define LOAD(r, ...)                                                                               \
    do {                                                                                           \
        static const uint32_t code_[] = {__VA_ARGS__};                                             \
        rig_put_code(r, RAM_BASE, code_, SIM_ARRAY_LEN(code_));                                    \
        rv_hart_start(&(r)->h->vcpu, RAM_BASE, 0, 0);                                              \
    } while (0)

static enum vcpu_exit run(struct rv_hart *h, uint64_t budget)
{
    return h->vcpu.ops->run(&h->vcpu, budget);
}

static void test_run_loop_sums(void **state)
{
    struct rig *r = *state;

    /* x5 = 10 + 9 + ... + 1 */
    LOAD(r, LI(6, 10), ADD(5, 5, 6), ADDI(6, 6, -1), BNE(6, 0, -8), WFI);
    assert_int_equal(run(r->h, 1000), VCPU_EXIT_IDLE);
    assert_int_equal(r->h->x[5], 55);
    assert_int_equal(r->h->vcpu.stats.insns, 1 + 3 * 10 + 1);
    assert_int_equal(r->h->pc, RAM_BASE + 20); /* after the WFI */
}

static void test_budget_ends_a_loop(void **state)
{
    struct rig *r = *state;

    LOAD(r, JUMP_SELF);
    assert_int_equal(run(r->h, 500), VCPU_EXIT_BUDGET);
    assert_in_range(r->h->vcpu.stats.insns, 500, 502);
    assert_int_equal(run(r->h, 120000), VCPU_EXIT_BUDGET); /* several timer chunks */
    assert_in_range(r->h->vcpu.stats.insns, 120500, 120510);
}

static void test_trap_loop_uses_budget(void **state)
{
    struct rig *r = *state;

    /* stvec = 0: every fetch of the handler faults */
    LOAD(r, EBREAK);
    assert_int_equal(run(r->h, 1000), VCPU_EXIT_BUDGET);
    assert_int_equal(r->h->scause, RV_EXC_INSN_ACCESS);
    assert_int_equal(r->h->stval, 0);
    assert_true(r->h->count.traps >= 1000);
}

static void test_code_that_rewrites_itself(void **state)
{
    struct rig *r = *state;

    /* x7 = the word at +0x40, stored over the LI(5, 1) at +12, twice executed */
    LOAD(r, ADDI(8, 10, 0), LD(7, 10, 0x40), ADDI(6, 6, 1), LI(5, 1), SW(7, 10, 12),
         LI(9, 2), BNE(6, 9, -16), WFI);
    rig_put64(r, RAM_BASE + 0x40, LI(5, 77));
    r->h->x[10] = RAM_BASE;
    assert_int_equal(run(r->h, 1000), VCPU_EXIT_IDLE);
    assert_int_equal(r->h->x[6], 2);
    assert_int_equal(r->h->x[5], 77);
}

static void test_instruction_across_a_page_end(void **state)
{
    struct rig *r = *state;
    uint32_t word = LI(5, 42), wfi = WFI;

    mem_write(r->space, RAM_BASE + 0xffe, &word, 4);
    mem_write(r->space, RAM_BASE + 0x1002, &wfi, 4);
    rv_hart_start(&r->h->vcpu, RAM_BASE + 0xffe, 0, 0);
    assert_int_equal(run(r->h, 10), VCPU_EXIT_IDLE);
    assert_int_equal(r->h->x[5], 42);
}

static void test_fetch_across_the_end_of_ram_faults_on_the_second_half(void **state)
{
    struct rig *r = *state;
    uint16_t half = 0x0013;

    mem_write(r->space, RAM_BASE + RAM_SIZE - 2, &half, 2);
    rv_hart_start(&r->h->vcpu, RAM_BASE + RAM_SIZE - 2, 0, 0);
    r->h->stvec = RAM_BASE;
    r->h->slice = r->h->budget = 10;
    assert_int_equal(rv_interp_step(r->h), RV_JSYNC);
    assert_int_equal(r->h->scause, RV_EXC_INSN_ACCESS);
    assert_int_equal(r->h->sepc, RAM_BASE + RAM_SIZE - 2);
    assert_int_equal(r->h->stval, RAM_BASE + RAM_SIZE);
}

static void test_wfi_wakes_on_an_enabled_line(void **state)
{
    struct rig *r = *state;
    struct irq_line seip = rv_hart_irq(&r->h->vcpu, 9);

    LOAD(r, WFI, LI(5, 7), WFI);
    r->h->mie = MIP_SEIP;
    assert_int_equal(run(r->h, 100), VCPU_EXIT_IDLE);
    assert_false(r->h->vcpu.ops->has_work(&r->h->vcpu));
    irq_set(&seip, true);
    assert_true(r->h->vcpu.ops->has_work(&r->h->vcpu));
    /* sstatus.SIE is clear: it goes on after the WFI without a trap; the next WFI does not wait. */
    run(r->h, 2);
    assert_int_equal(r->h->x[5], 7);
    assert_int_equal(r->h->count.interrupts, 0);
}

static void test_wfi_ignores_a_disabled_line(void **state)
{
    struct rig *r = *state;
    struct irq_line seip = rv_hart_irq(&r->h->vcpu, 9);

    LOAD(r, WFI, LI(5, 7), WFI);
    assert_int_equal(run(r->h, 100), VCPU_EXIT_IDLE);
    irq_set(&seip, true); /* kicks a waiting hart, but does not wake it */
    assert_int_equal(run(r->h, 100), VCPU_EXIT_IDLE);
    assert_int_equal(r->h->x[5], 0);
    assert_false(r->h->vcpu.ops->has_work(&r->h->vcpu));
}

static void test_timer_is_a_deadline_and_interrupts(void **state)
{
    struct rig *r = *state;

    LOAD(r, WFI, JUMP_SELF);
    r->h->stvec = RAM_BASE + 0x100;
    rig_put64(r, RAM_BASE + 0x100, WFI);
    r->h->mie = MIP_STIP;
    r->h->mstatus |= MSTATUS_SIE;
    r->h->stimecmp = rv_machine_time(r->m) + 20000; /* 2 ms */
    assert_int_equal(run(r->h, 100), VCPU_EXIT_IDLE);
    assert_int_equal(r->h->vcpu.ops->deadline(&r->h->vcpu), r->h->stimecmp * 100);
    r->h->stimecmp = rv_machine_time(r->m);
    run(r->h, 1);
    assert_int_equal(r->h->scause, MCAUSE_INTERRUPT | 5);
    assert_int_equal(r->h->sepc, RAM_BASE + 4);
}

static void test_pause_yields(void **state)
{
    struct rig *r = *state;

    LOAD(r, PAUSE, WFI);
    assert_int_equal(run(r->h, 100), VCPU_EXIT_YIELD);
    assert_int_equal(r->h->pc, RAM_BASE + 4);
    assert_int_equal(run(r->h, 100), VCPU_EXIT_IDLE);
}

/* Loops that wait until the word at x10 is not 7 any more. */
static void load_waiting_loop(struct rig *r, bool reserves, uint32_t insn)
{
    const uint32_t loop[] = {LD(5, 10, 0), BNE(5, 6, 16), insn, PAUSE, BACK_16, WFI};
    const uint32_t reserving[] = {LR_W(5, 10), WRS_NTO, WFI};

    if (reserves)
        rig_put_code(r, RAM_BASE, reserving, SIM_ARRAY_LEN(reserving));
    else
        rig_put_code(r, RAM_BASE, loop, SIM_ARRAY_LEN(loop));
    rv_hart_start(&r->h->vcpu, RAM_BASE, 0, 0);
    r->h->x[10] = RAM_BASE + 0x1000;
    r->h->x[6] = 7;
    rig_put64(r, RAM_BASE + 0x1000, 7);
}

static void test_waiting_hart_says_what_it_waits_for(void **state)
{
    for (int reserves = 0; reserves <= 1; reserves++) {
        struct rig *r = *state;
        const struct vcpu_watch *w = &r->h->vcpu.watch;
        load_waiting_loop(r, reserves, ADDI(9, 0, 1));
        assert_int_equal(run(r->h, 100), VCPU_EXIT_YIELD);
        if (!reserves) /* x9 was another in the first round */
            assert_int_equal(run(r->h, 100), VCPU_EXIT_YIELD);
        assert_non_null(w->word);
        assert_int_equal(w->size, reserves ? 4 : 8);
        assert_int_equal(w->value, 7);
        assert_false(vcpu_watch_is_over(w));
        rig_put64(r, RAM_BASE + 0x1000, 8);
        assert_true(vcpu_watch_is_over(w));
        assert_int_equal(run(r->h, 100), VCPU_EXIT_IDLE);
        assert_null(w->word);
        teardown(state);
        setup(state);
    }
}

/* Loops that count, store, read another word, or the time, wait for more than that word. */
static void test_hart_that_waits_for_more_names_no_word(void **state)
{
    static const uint32_t more[] = {ADDI(9, 9, 1), SW(9, 10, 16), LD(7, 10, 8), 0xc01023f3u /* rdtime x7 */};
    for (unsigned n = 0; n < SIM_ARRAY_LEN(more); n++) {
        struct rig *r = *state;
        load_waiting_loop(r, false, more[n]);
        for (unsigned round = 0; round < 3; round++) {
            assert_int_equal(run(r->h, 100), VCPU_EXIT_YIELD);
            assert_null(r->h->vcpu.watch.word);
        }
        teardown(state);
        setup(state);
    }
}

struct changer {
    _Atomic uint64_t *word;
    _Atomic bool end;
};

static void *change_word(void *opaque)
{
    struct changer *c = opaque;

    for (uint64_t n = 0; !atomic_load(&c->end); n++)
        atomic_store_explicit(c->word, 7 + n % 2, memory_order_relaxed);
    return NULL;
}

/* The word changes all the time: what is watched is what the loop itself has read. */
static void test_watched_value_is_the_one_that_was_read(void **state)
{
    enum { ROUNDS = 100000 };
    static const uint32_t loop[] = {LD(5, 10, 0), PAUSE, BACK_8};
    struct rig *r = *state;
    struct changer changer = {0};
    struct sim_thread thread;
    unsigned watched = 0, other = 0;

    load_waiting_loop(r, false, PAUSE);
    rig_put_code(r, RAM_BASE, loop, SIM_ARRAY_LEN(loop));
    assert_int_equal(run(r->h, 100), VCPU_EXIT_YIELD);
    assert_int_equal(run(r->h, 100), VCPU_EXIT_YIELD);
    assert_non_null(r->h->vcpu.watch.word);
    changer.word = (_Atomic uint64_t *)(uintptr_t)r->h->vcpu.watch.word;
    assert_int_equal(sim_thread_start(&thread, "changer", change_word, &changer), SIM_OK);
    for (unsigned round = 0; round < ROUNDS; round++) {
        assert_int_equal(run(r->h, 100), VCPU_EXIT_YIELD);
        watched += r->h->vcpu.watch.word != NULL;
        other += r->h->vcpu.watch.word && r->h->vcpu.watch.value != r->h->x[5];
    }
    atomic_store(&changer.end, true);
    sim_thread_join(&thread);
    assert_true(watched > 0);
    assert_int_equal(other, 0);
}

static void test_complex_lr_sc_runs_alone(void **state)
{
    struct rig *r = *state;
    struct rv_isa isa = rig_isa();

    rig_add_hart(r, &isa); /* with one hart nobody interferes */
    /* a store between LR and SC */
    LOAD(r, LR_W(5, 10), SW(0, 10, 8), ADDI(5, 5, 1), SC_W(6, 10, 5), WFI);
    r->h->x[10] = RAM_BASE + 0x1000;
    r->h->x[6] = 99;
    assert_int_equal(run(r->h, 100), VCPU_EXIT_EXCLUSIVE);
    assert_int_equal(r->h->pc, RAM_BASE);
    sim_exclusive_begin(r->sim, &r->h->vcpu);
    r->h->vcpu.ops->run_exclusive(&r->h->vcpu);
    sim_exclusive_end(r->sim);
    assert_int_equal(r->h->pc, RAM_BASE + 16);
    assert_int_equal(r->h->x[6], 0);
    assert_int_equal(rig_get64(r, RAM_BASE + 0x1000), 1);
    assert_int_equal(r->h->exclusive, 0);
}

static void test_simple_lr_sc_is_tainted_by_an_access(void **state)
{
    struct rig *r = *state;
    struct rv_isa isa = rig_isa();

    rig_add_hart(r, &isa);
    /* LR; beq x0,x0,+12 (out); SC; WFI; out: LD; jump back to the SC */
    LOAD(r, LR_W(5, 10), 0x00000663u, SC_W(6, 10, 5), WFI, LD(7, 10, 8), 0xff5ff06fu);
    r->h->x[10] = RAM_BASE + 0x1000;
    r->h->x[6] = 99;
    assert_int_equal(run(r->h, 100), VCPU_EXIT_IDLE);
    assert_int_equal(r->h->x[6], 1);
}

static void test_leaving_loses_the_reservation(void **state)
{
    struct rig *r = *state;

    LOAD(r, LR_W(5, 10), LI(7, 5), SC_W(6, 10, 7), WFI);
    r->h->x[10] = RAM_BASE + 0x1000;
    run(r->h, 1);
    assert_int_equal(r->h->res_addr, RV_NO_RES);
    assert_int_equal(run(r->h, 100), VCPU_EXIT_IDLE);
    assert_int_equal(r->h->x[6], 1);
}

static void test_end_of_simulation(void **state)
{
    struct rig *r = *state;

    LOAD(r, JUMP_SELF);
    sim_request_end(r->sim, SIM_END_USER, 0);
    assert_int_equal(run(r->h, 100), VCPU_EXIT_END);
}

static void test_stopped_hart_idles(void **state)
{
    struct rig *r = *state;

    rv_hart_reset(&r->h->vcpu);
    assert_int_equal(run(r->h, 100), VCPU_EXIT_IDLE);
    assert_int_equal(r->h->vcpu.stats.insns, 0);
}

static void test_fp_needs_status_on(void **state)
{
    struct rig *r = *state;

    LOAD(r, 0x02007053u /* fadd.d f0, f0, f0 */, WFI);
    r->h->slice = r->h->budget = 10;
    rv_interp_step(r->h);
    assert_int_equal(r->h->scause, RV_EXC_ILLEGAL);
    assert_int_equal(r->h->stval, 0x02007053u);
    LOAD(r, 0x02007053u, WFI);
    assert_true(rig_csr_write(r->h, 0x100, 1ull << MSTATUS_FS_SHIFT));
    rv_interp_step(r->h);
    assert_int_equal(r->h->pc, RAM_BASE + 4);
}

int main(void)
{
#define TEST(f) cmocka_unit_test_setup_teardown(f, setup, teardown)
    const struct CMUnitTest tests[] = {
        TEST(test_run_loop_sums),
        TEST(test_budget_ends_a_loop),
        TEST(test_trap_loop_uses_budget),
        TEST(test_code_that_rewrites_itself),
        TEST(test_instruction_across_a_page_end),
        TEST(test_fetch_across_the_end_of_ram_faults_on_the_second_half),
        TEST(test_wfi_wakes_on_an_enabled_line),
        TEST(test_wfi_ignores_a_disabled_line),
        TEST(test_timer_is_a_deadline_and_interrupts),
        TEST(test_pause_yields),
        TEST(test_waiting_hart_says_what_it_waits_for),
        TEST(test_hart_that_waits_for_more_names_no_word),
        TEST(test_watched_value_is_the_one_that_was_read),
        TEST(test_complex_lr_sc_runs_alone),
        TEST(test_simple_lr_sc_is_tainted_by_an_access),
        TEST(test_leaving_loses_the_reservation),
        TEST(test_end_of_simulation),
        TEST(test_stopped_hart_idles),
        TEST(test_fp_needs_status_on),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
