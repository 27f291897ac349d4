/* Saving and loading a hart: every architectural field survives, derived state follows. */
#include "hart_fixture.h"

#include <stdio.h>

#include "sim-core/state.h"

static void save(struct rv_hart *h, struct state_buf *buf)
{
    *buf = (struct state_buf){0};
    state_save(h->vcpu.ops->state, h, buf);
}

static enum sim_status load(struct rv_hart *h, const struct state_buf *buf)
{
    size_t used;

    return state_load(h->vcpu.ops->state, h, buf->data, buf->len, &used);
}

/* Sets each CSR a firmware may write, registers and pins to something recognisable. */
static void scribble(struct rv_hart *h)
{
    static const uint16_t csrs[] = {0x105, 0x106, 0x140, 0x142, 0x143, 0x14d, 0x302, 0x303, 0x305,
                                    0x306, 0x30a, 0x10a, 0x340, 0x342, 0x343, 0x3b0, 0x3b1, 0xb00,
                                    0xb02, 0x304};

    for (unsigned i = 1; i < 32; i++)
        h->x[i] = 0x1111111111111111ull * i;
    for (unsigned i = 0; i < 32; i++)
        h->f[i] = ~(0x0101010101010101ull * i);
    h->pc = RAM_BASE + 0x1234;
    for (unsigned i = 0; i < SIM_ARRAY_LEN(csrs); i++)
        assert_true(rig_csr_write(h, csrs[i], 0x123456789abcdef0 + i));
    assert_true(rig_csr_write(h, 0x300, MSTATUS_SIE | MSTATUS_SUM | 1ull << MSTATUS_FS_SHIFT));
    assert_true(rig_csr_write(h, 0x003, 0x65));
    assert_true(rig_csr_write(h, 0x180, 8ull << 60 | 5ull << 44 | 0x80000));
    assert_true(rig_csr_write(h, 0x3a0, PMP_R | PMP_NAPOT << PMP_A_SHIFT));
    atomic_store(&h->irq_pins, MIP_MEIP | MIP_SSIP);
    h->mip_soft = MIP_SEIP;
    h->waiting = 1;
    h->stopped = 0;
    h->insns = 123456;
    rig_set_priv(h, RV_S);
}

static void assert_same_dump(struct rv_hart *a, struct rv_hart *b)
{
    char ta[8192] = "", tb[8192] = "";
    FILE *fa = fmemopen(ta, sizeof ta, "w"), *fb = fmemopen(tb, sizeof tb, "w");

    b->hartid = a->hartid;
    rv_hart_dump(&a->vcpu, fa);
    rv_hart_dump(&b->vcpu, fb);
    fclose(fa);
    fclose(fb);
    assert_string_equal(ta, tb);
    assert_non_null(strstr(ta, "waiting"));
}

static void test_state_survives(void **state)
{
    struct rig r;
    struct rv_isa isa = rig_isa();
    struct state_buf first, second;

    (void)state;
    rig_init(&r, false);
    struct rv_hart *copy = rig_add_hart(&r, &isa);
    scribble(r.h);
    save(r.h, &first);
    assert_int_equal(load(copy, &first), SIM_OK);
    save(copy, &second);
    assert_int_equal(first.len, second.len);
    assert_memory_equal(first.data, second.data, first.len);
    assert_same_dump(r.h, copy);
    /* derived */
    assert_int_equal(copy->fp_on, 1);
    assert_int_equal(copy->mxcsr, r.h->mxcsr);
    assert_int_equal(copy->nr_pmp, 1);
    assert_int_equal(copy->tlb->satp, copy->satp);
    assert_int_equal(copy->tlb->priv, RV_S);
    assert_int_equal(copy->vcpu.stats.insns, 123456);
    state_buf_fini(&first);
    state_buf_fini(&second);
    rig_fini(&r);
}

static void test_loading_drops_old_translations(void **state)
{
    struct rig r;
    struct state_buf buf;
    uint64_t v;

    (void)state;
    rig_init(&r, false);
    save(r.h, &buf);
    assert_true(rv_load(r.h, RAM_BASE, 8, &v));
    assert_int_equal(rv_tlb_way0(r.h, RAM_BASE)->tag_r, RAM_BASE);
    assert_int_equal(load(r.h, &buf), SIM_OK);
    assert_int_equal(rv_tlb_way0(r.h, RAM_BASE)->tag_r, RV_TLB_INVALID);
    state_buf_fini(&buf);
    rig_fini(&r);
}

static void assert_refused(struct rv_hart *h)
{
    struct state_buf buf;

    save(h, &buf);
    assert_int_equal(load(h, &buf), SIM_ERR_FORMAT);
    state_buf_fini(&buf);
    rv_hart_reset(&h->vcpu);
}

static void test_impossible_states_are_refused(void **state)
{
    struct rig r;
    struct state_buf buf;

    (void)state;
    rig_init(&r, false);
    r.h->priv = 2;
    assert_refused(r.h);
    r.h->x[0] = 1;
    assert_refused(r.h);
    r.h->x[0] = 0;
    r.h->mepc = 0x80000001;
    assert_refused(r.h);
    r.h->mstatus |= 2ull << MSTATUS_MPP_SHIFT;
    assert_refused(r.h);
    r.h->satp = 15ull << SATP_MODE_SHIFT;
    assert_refused(r.h);
    r.h->frm = 8;
    assert_refused(r.h);
    save(r.h, &buf);
    assert_int_equal(load(r.h, &buf), SIM_OK);
    buf.len -= 3;
    assert_int_equal(load(r.h, &buf), SIM_ERR_FORMAT);
    state_buf_fini(&buf);
    rig_fini(&r);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_state_survives),
        cmocka_unit_test(test_loading_drops_old_translations),
        cmocka_unit_test(test_impossible_states_are_refused),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
