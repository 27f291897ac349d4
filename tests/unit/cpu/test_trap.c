/* Traps and interrupts: delegation, status stack, vectors, priorities, returns, lines. */
#include "exec.h"
#include "hart_fixture.h"

#define HANDLER_M 0x80001000ull
#define HANDLER_S 0x80002000ull
#define HERE 0x80000100ull

static struct rig rig_;

static int setup(void **state)
{
    rig_init(&rig_, false);
    rig_.h->mtvec = HANDLER_M;
    rig_.h->stvec = HANDLER_S;
    rig_.h->pc = HERE;
    *state = &rig_;
    return 0;
}

static int teardown(void **state)
{
    rig_fini(*state);
    return 0;
}

static void trap(struct rv_hart *h, enum rv_cause cause, uint64_t tval)
{
    rv_trap(h, cause, tval);
    assert_int_equal(rv_take_trap(h), RV_JSYNC);
}

static const struct rv_insn insn = {.raw = 0xabcd, .len = 4};

static void test_trap_goes_to_m_by_default(void **state)
{
    struct rv_hart *h = ((struct rig *)*state)->h;

    h->mstatus |= MSTATUS_MIE;
    rig_set_priv(h, RV_U);
    trap(h, RV_EXC_LOAD_PAGE, 0x5555);
    assert_int_equal(h->priv, RV_M);
    assert_int_equal(h->pc, HANDLER_M);
    assert_int_equal(h->mepc, HERE);
    assert_int_equal(h->mcause, RV_EXC_LOAD_PAGE);
    assert_int_equal(h->mtval, 0x5555);
    assert_int_equal(h->mstatus & (MSTATUS_MIE | MSTATUS_MPIE | MSTATUS_MPP), MSTATUS_MPIE);
    assert_int_equal(h->code_tlb->priv, RV_M);
}

static void test_delegated_trap_goes_to_s(void **state)
{
    struct rv_hart *h = ((struct rig *)*state)->h;

    h->medeleg = 1ull << RV_EXC_BREAKPOINT;
    h->mstatus |= MSTATUS_SIE;
    rig_set_priv(h, RV_S);
    trap(h, RV_EXC_BREAKPOINT, HERE);
    assert_int_equal(h->priv, RV_S);
    assert_int_equal(h->pc, HANDLER_S);
    assert_int_equal(h->sepc, HERE);
    assert_int_equal(h->scause, RV_EXC_BREAKPOINT);
    assert_int_equal(h->stval, HERE);
    assert_int_equal(h->mstatus & (MSTATUS_SIE | MSTATUS_SPIE | MSTATUS_SPP),
                     MSTATUS_SPIE | MSTATUS_SPP);
}

static void test_trap_in_m_is_never_delegated(void **state)
{
    struct rv_hart *h = ((struct rig *)*state)->h;

    h->medeleg = 0xb3ff;
    trap(h, RV_EXC_BREAKPOINT, 0);
    assert_int_equal(h->priv, RV_M);
    assert_int_equal(h->pc, HANDLER_M);
    assert_int_equal(h->mstatus & MSTATUS_MPP, MSTATUS_MPP);
}

static void test_trap_is_charged_but_not_retired(void **state)
{
    struct rv_hart *h = ((struct rig *)*state)->h;
    uint64_t before, after;

    h->slice = h->budget = 100;
    assert_true(rig_csr_read(h, 0xb02, &before));
    trap(h, RV_EXC_BREAKPOINT, 0);
    assert_true(rig_csr_read(h, 0xb02, &after));
    assert_int_equal(h->budget, 99);
    assert_int_equal(after, before);
}

static void test_vectored_mode_is_for_interrupts(void **state)
{
    struct rv_hart *h = ((struct rig *)*state)->h;
    struct irq_line mtip = rv_hart_irq(&h->vcpu, 7);

    h->mtvec = HANDLER_M | 1;
    trap(h, RV_EXC_BREAKPOINT, 0);
    assert_int_equal(h->pc, HANDLER_M);
    h->mie = MIP_MTIP;
    h->mstatus |= MSTATUS_MIE;
    irq_set(&mtip, true);
    assert_true(rv_take_interrupt(h));
    assert_int_equal(h->pc, HANDLER_M + 4 * 7);
    assert_int_equal(h->mcause, MCAUSE_INTERRUPT | 7);
    assert_int_equal(h->mtval, 0);
}

static void test_priorities(void **state)
{
    struct rv_hart *h = ((struct rig *)*state)->h;
    static const uint8_t order[] = {11, 3, 7, 9, 1, 5};

    h->mie = MIP_M_ALL | MIP_S_ALL;
    atomic_store(&h->irq_pins, MIP_M_ALL | MIP_S_ALL);
    for (unsigned i = 0; i < SIM_ARRAY_LEN(order); i++) {
        h->mstatus |= MSTATUS_MIE;
        assert_true(rv_take_interrupt(h));
        assert_int_equal(h->mcause, MCAUSE_INTERRUPT | order[i]);
        atomic_fetch_and(&h->irq_pins, ~(1ull << order[i]));
    }
    h->mstatus |= MSTATUS_MIE;
    assert_false(rv_take_interrupt(h));
}

static void test_when_interrupts_are_let_through(void **state)
{
    struct rv_hart *h = ((struct rig *)*state)->h;

    h->mie = MIP_MTIP | MIP_SSIP;
    h->mideleg = MIP_SSIP;
    atomic_store(&h->irq_pins, MIP_SSIP);
    /* an S interrupt never interrupts M */
    h->mstatus |= MSTATUS_MIE | MSTATUS_SIE;
    assert_false(rv_take_interrupt(h));
    assert_true(rv_interrupt_pending(h));
    /* S only with SIE */
    rig_set_priv(h, RV_S);
    h->mstatus &= ~MSTATUS_SIE;
    assert_false(rv_take_interrupt(h));
    h->mstatus |= MSTATUS_SIE;
    assert_true(rv_take_interrupt(h));
    assert_int_equal(h->priv, RV_S);
    assert_int_equal(h->scause, MCAUSE_INTERRUPT | 1);
    /* U always; an M interrupt goes first, with MIE clear as well */
    rig_set_priv(h, RV_U);
    h->mstatus &= ~(MSTATUS_SIE | MSTATUS_MIE);
    atomic_store(&h->irq_pins, MIP_SSIP | MIP_MTIP);
    assert_true(rv_take_interrupt(h));
    assert_int_equal(h->priv, RV_M);
    assert_int_equal(h->mcause, MCAUSE_INTERRUPT | 7);
    /* not delegated: S's own interrupt goes to M */
    h->mideleg = 0;
    atomic_store(&h->irq_pins, MIP_SSIP);
    rig_set_priv(h, RV_S);
    assert_true(rv_take_interrupt(h));
    assert_int_equal(h->priv, RV_M);
    assert_int_equal(h->mcause, MCAUSE_INTERRUPT | 1);
}

static void test_mret(void **state)
{
    struct rv_hart *h = ((struct rig *)*state)->h;

    h->mepc = 0x80003000;
    h->mstatus |= MSTATUS_MPIE | MSTATUS_MPRV | (uint64_t)RV_S << MSTATUS_MPP_SHIFT;
    assert_int_equal(exec_mret(h, &insn), RV_JSYNC);
    assert_int_equal(h->pc, 0x80003000);
    assert_int_equal(h->priv, RV_S);
    assert_int_equal(h->mstatus & (MSTATUS_MIE | MSTATUS_MPIE | MSTATUS_MPP | MSTATUS_MPRV),
                     MSTATUS_MIE | MSTATUS_MPIE);
    assert_int_equal(exec_mret(h, &insn), RV_TRAP);
    assert_int_equal(h->trap_cause, RV_EXC_ILLEGAL);
    assert_int_equal(h->trap_tval, 0xabcd);
}

static void test_mret_to_m_keeps_mprv(void **state)
{
    struct rv_hart *h = ((struct rig *)*state)->h;

    h->mstatus |= MSTATUS_MPRV | MSTATUS_MPP;
    assert_int_equal(exec_mret(h, &insn), RV_JSYNC);
    assert_true(h->mstatus & MSTATUS_MPRV);
    assert_int_equal(h->priv, RV_M);
    assert_int_equal(h->mstatus & MSTATUS_MPP, 0);
}

static void test_sret(void **state)
{
    struct rv_hart *h = ((struct rig *)*state)->h;

    h->sepc = 0x80003000;
    h->mstatus |= MSTATUS_SPIE | MSTATUS_MPRV;
    rig_set_priv(h, RV_S);
    assert_int_equal(exec_sret(h, &insn), RV_JSYNC);
    assert_int_equal(h->pc, 0x80003000);
    assert_int_equal(h->priv, RV_U);
    assert_int_equal(h->mstatus & (MSTATUS_SIE | MSTATUS_SPIE | MSTATUS_SPP | MSTATUS_MPRV),
                     MSTATUS_SIE | MSTATUS_SPIE);
    assert_int_equal(exec_sret(h, &insn), RV_TRAP);
}

static void test_tsr_tvm_tw(void **state)
{
    struct rv_hart *h = ((struct rig *)*state)->h;

    h->mstatus |= MSTATUS_TSR | MSTATUS_TVM | MSTATUS_TW;
    assert_int_equal(exec_wfi(h, &insn), RV_STOP); /* M is not affected */
    assert_int_equal(exec_sfence_vma(h, &insn), RV_SYNC);
    rig_set_priv(h, RV_S);
    assert_int_equal(exec_sret(h, &insn), RV_TRAP);
    assert_int_equal(exec_sfence_vma(h, &insn), RV_TRAP);
    assert_int_equal(exec_sinval_vma(h, &insn), RV_TRAP);
    assert_int_equal(exec_sfence_w_inval(h, &insn), RV_NEXT);
    assert_int_equal(exec_wfi(h, &insn), RV_TRAP);
    h->mstatus &= ~(MSTATUS_TSR | MSTATUS_TVM | MSTATUS_TW);
    assert_int_equal(exec_sfence_vma(h, &insn), RV_SYNC);
    assert_int_equal(exec_wfi(h, &insn), RV_STOP);
    rig_set_priv(h, RV_U);
    assert_int_equal(exec_wfi(h, &insn), RV_TRAP);
    assert_int_equal(exec_sfence_vma(h, &insn), RV_TRAP);
    assert_int_equal(exec_sfence_inval_ir(h, &insn), RV_TRAP);
}

static void test_ecall_and_ebreak(void **state)
{
    struct rv_hart *h = ((struct rig *)*state)->h;
    static const struct {
        enum rv_priv priv;
        enum rv_cause cause;
    } cases[] = {{RV_U, RV_EXC_ECALL_U}, {RV_S, RV_EXC_ECALL_S}, {RV_M, RV_EXC_ECALL_M}};

    for (unsigned i = 0; i < SIM_ARRAY_LEN(cases); i++) {
        rig_set_priv(h, cases[i].priv);
        assert_int_equal(exec_ecall(h, &insn), RV_TRAP);
        assert_int_equal(h->trap_cause, cases[i].cause);
        assert_int_equal(h->trap_tval, 0);
    }
    assert_int_equal(exec_ebreak(h, &insn), RV_TRAP);
    assert_int_equal(h->trap_cause, RV_EXC_BREAKPOINT);
    assert_int_equal(h->trap_tval, HERE);
}

static void test_trap_ends_a_reservation(void **state)
{
    struct rv_hart *h = ((struct rig *)*state)->h;

    h->res_addr = 0x1000;
    trap(h, RV_EXC_BREAKPOINT, 0);
    assert_int_equal(h->res_addr, RV_NO_RES);
}

static void test_line_kicks_only_when_it_matters(void **state)
{
    struct rv_hart *h = ((struct rig *)*state)->h;
    struct irq_line seip = rv_hart_irq(&h->vcpu, 9);

    atomic_store(&h->vcpu.kick, 0);
    irq_set(&seip, true); /* disabled, and the hart does not wait */
    assert_int_equal(atomic_load(&h->vcpu.kick), 0);
    irq_set(&seip, false);
    h->mie = MIP_SEIP;
    irq_set(&seip, true);
    assert_int_equal(atomic_load(&h->vcpu.kick), 1);
    atomic_store(&h->vcpu.kick, 0);
    irq_set(&seip, true); /* already high */
    assert_int_equal(atomic_load(&h->vcpu.kick), 0);
    irq_set(&seip, false);
    h->mie = 0;
    h->waiting = 1;
    irq_set(&seip, true);
    assert_int_equal(atomic_load(&h->vcpu.kick), 1);
}

static void test_built_in_sbi_serves_ecall(void **state)
{
    struct rig r;

    (void)state;
    rig_init(&r, true);
    r.h->pc = HERE;
    r.h->x[17] = 0x10; /* base extension: get_spec_version */
    r.h->x[16] = 0;
    rv_trap(r.h, RV_EXC_ECALL_S, 0);
    assert_int_equal(rv_take_trap(r.h), RV_JSYNC);
    assert_int_equal(r.h->pc, HERE + 4);
    assert_int_equal(r.h->priv, RV_S);
    assert_int_equal(r.h->x[10], 0);
    assert_int_equal(r.h->x[11], 2u << 24);
    /* everything else is delegated */
    rv_trap(r.h, RV_EXC_ILLEGAL, 7);
    rv_take_trap(r.h);
    assert_int_equal(r.h->priv, RV_S);
    assert_int_equal(r.h->scause, RV_EXC_ILLEGAL);
    rig_fini(&r);
}

static void test_program_counter_is_never_odd(void **state)
{
    struct rv_hart *h = ((struct rig *)*state)->h;

    rv_hart_start(&h->vcpu, HERE + 1, 0, 0);
    assert_int_equal(h->pc, HERE);
    rv_hart_set_pc(&h->vcpu, HERE + 3);
    assert_int_equal(h->pc, HERE + 2);
}

int main(void)
{
#define TEST(f) cmocka_unit_test_setup_teardown(f, setup, teardown)
    const struct CMUnitTest tests[] = {
        TEST(test_trap_goes_to_m_by_default),
        TEST(test_delegated_trap_goes_to_s),
        TEST(test_trap_in_m_is_never_delegated),
        TEST(test_trap_is_charged_but_not_retired),
        TEST(test_vectored_mode_is_for_interrupts),
        TEST(test_priorities),
        TEST(test_when_interrupts_are_let_through),
        TEST(test_mret),
        TEST(test_mret_to_m_keeps_mprv),
        TEST(test_sret),
        TEST(test_tsr_tvm_tw),
        TEST(test_ecall_and_ebreak),
        TEST(test_trap_ends_a_reservation),
        TEST(test_line_kicks_only_when_it_matters),
        TEST(test_program_counter_is_never_odd),
        cmocka_unit_test(test_built_in_sbi_serves_ecall),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
