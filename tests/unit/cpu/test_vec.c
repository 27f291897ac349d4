/* The vector extension where random programs beside QEMU (tests/system/vector.sh) do not look: configuration, status,
 * faults in the middle, fault-only-first over pages, saved state, what a Zve has not. Words are assembled here. */
#include "page_tables.h"

#include "exec.h"
#include "sim-core/state.h"

#define VA 0x40000000ull /* two pages, then none */
#define PA (RAM_BASE + 0x100000)
enum { X_BASE = 10, X_ARG = 11 };

static struct rv_isa vector_isa(unsigned vlen)
{
    struct rv_isa isa = rig_isa();

    isa.ext |= 1ull << RV_EXT_V | 1ull << RV_EXT_ZVE32X | 1ull << RV_EXT_ZVE32F | 1ull << RV_EXT_ZVE64X |
               1ull << RV_EXT_ZVE64F | 1ull << RV_EXT_ZVE64D;
    isa.vlen = (uint16_t)vlen;
    return isa;
}

/* S mode under Sv39, vectors and FP on. */
static void start(struct rig *r, struct rv_isa isa)
{
    struct tables t;

    rig_init_isa(r, false, isa);
    rig_open_pmp(r->h);
    pt_init(&t, r, SATP_SV39);
    for (unsigned n = 0; n < 2; n++)
        pt_map(&t, VA + n * 4096, PA + n * 4096, 0, RWXAD);
    assert_true(rig_csr_write(r->h, 0x300, MSTATUS_VS | MSTATUS_FS));
    assert_true(rig_csr_write(r->h, 0x180, pt_satp(SATP_SV39, 0)));
    rig_set_priv(r->h, RV_S);
}

static enum rv_exec run(struct rv_hart *h, uint32_t word)
{
    struct rv_insn i;

    rv_decode(word, &h->isa, &i);
    return rv_execute(h, &i);
}

static uint32_t vsetvli(unsigned rd, unsigned rs1, unsigned vtype)
{
    return 0x7057 | rd << 7 | rs1 << 15 | vtype << 20;
}

static uint32_t memory(uint32_t op, unsigned width, unsigned vd, unsigned nf, unsigned mop, unsigned rs2)
{
    return op | vd << 7 | width << 12 | (unsigned)X_BASE << 15 | rs2 << 20 | 1u << 25 | mop << 26 | nf << 29;
}

enum { LOAD = 0x07, STORE = 0x27, E8 = 0, E32 = 6, E64 = 7, FIRST_FAULT = 16 };
enum { SEW8 = 0, SEW16 = 8, SEW32 = 16, SEW64 = 24, M1 = 0, M2 = 1, M8 = 3, MF8 = 5, MF2 = 7 };

static void set_type(struct rv_hart *h, unsigned vtype, uint64_t avl)
{
    h->x[X_ARG] = avl;
    assert_int_equal(run(h, vsetvli(0, X_ARG, vtype)), RV_NEXT);
}

static void test_vset(void **state)
{
    static const struct {
        unsigned vlen, vtype;
        uint64_t avl, vl;
    } rows[] = {
        {128, SEW8 | M1, 5, 5},     {128, SEW8 | M1, 16, 16},     {128, SEW8 | M8, UINT64_MAX, 128},
        {128, SEW64 | M1, 3, 2},    {1024, SEW8 | M8, 5000, 1024}, {256, SEW32 | MF2, 100, 4},
        {128, SEW8 | MF8, 100, 2},  {512, SEW64 | M8 | 0xc0, 64, 64}, {128, SEW32 | M1, 0, 0},
    };
    static const unsigned illegal[] = {SEW16 | MF8, SEW64 | MF2, 4 /* LMUL */, 4 << 3, 1 << 8, 1 << 10};
    struct rig r;

    (void)state;
    for (size_t n = 0; n < SIM_ARRAY_LEN(rows); n++) {
        start(&r, vector_isa(rows[n].vlen));
        r.h->x[X_ARG] = rows[n].avl;
        assert_int_equal(run(r.h, vsetvli(5, X_ARG, rows[n].vtype)), RV_NEXT);
        assert_int_equal(r.h->x[5], rows[n].vl);
        assert_int_equal(r.h->vl, rows[n].vl);
        assert_int_equal(r.h->vtype, rows[n].vtype);
        rig_fini(&r);
    }
    start(&r, vector_isa(128));
    for (size_t n = 0; n < SIM_ARRAY_LEN(illegal); n++) {
        set_type(r.h, SEW8 | M1, 7);
        assert_int_equal(run(r.h, vsetvli(5, X_ARG, illegal[n])), RV_NEXT);
        assert_int_equal(r.h->vtype, 1ull << 63);
        assert_int_equal(r.h->vl, 0);
        assert_int_equal(run(r.h, 0x022180d7), RV_TRAP); /* vadd.vv: vill */
        assert_int_equal(r.h->trap_cause, RV_EXC_ILLEGAL);
        assert_int_equal(run(r.h, memory(LOAD, E8, 8, 0, 0, 8)), RV_TRAP); /* vl1re8.v needs no type: a page fault */
        assert_int_equal(r.h->trap_cause, RV_EXC_LOAD_PAGE);
    }
    rig_fini(&r);
}

static void test_vset_keeps_or_takes_vlmax(void **state)
{
    struct rig r;

    (void)state;
    start(&r, vector_isa(128));
    set_type(r.h, SEW32 | M1, 3);
    assert_int_equal(run(r.h, vsetvli(0, 0, SEW64 | M2)), RV_NEXT); /* the same VLMAX: vl stays */
    assert_int_equal(r.h->vl, 3);
    assert_int_equal(run(r.h, vsetvli(5, 0, SEW32 | M1)), RV_NEXT);
    assert_int_equal(r.h->vl, 4);
    assert_int_equal(run(r.h, 0xc0007057 | 2u << 15 | 5u << 7 | (unsigned)SEW32 << 20), RV_NEXT); /* vsetivli */
    assert_int_equal(r.h->x[5], 2);
    rig_fini(&r);
}

static void test_status(void **state)
{
    struct rig r;
    uint64_t value;

    (void)state;
    start(&r, vector_isa(128));
    assert_true(rig_csr_read(r.h, 0xc22, &value));
    assert_int_equal(value, 16);
    assert_true(rig_csr_write(r.h, 0x100, 1ull << 9)); /* VS initial */
    assert_true(rig_csr_read(r.h, 0x100, &value));
    assert_int_equal(value & MSTATUS_VS, 1ull << 9);
    assert_false(value & MSTATUS_SD);
    set_type(r.h, SEW8 | M1, 1);
    assert_true(rig_csr_read(r.h, 0x100, &value));
    assert_int_equal(value & (MSTATUS_VS | MSTATUS_SD), MSTATUS_VS | MSTATUS_SD);
    assert_true(rig_csr_write(r.h, 0x100, 2ull << 9));
    assert_true(rig_csr_write(r.h, 0x008, 0x12345)); /* vstart: as many bits as VLEN needs */
    assert_int_equal(r.h->vstart, 0x45);
    assert_true(rig_csr_read(r.h, 0x100, &value));
    assert_int_equal(value & MSTATUS_VS, MSTATUS_VS);
    assert_true(rig_csr_write(r.h, 0x00f, 5));
    assert_int_equal(r.h->vxrm, 2);
    assert_int_equal(r.h->vxsat, 1);
    assert_false(rig_csr_write(r.h, 0xc20, 0)); /* read-only */

    assert_true(rig_csr_write(r.h, 0x100, 0));
    assert_false(rig_csr_read(r.h, 0xc20, &value));
    assert_false(rig_csr_read(r.h, 0x008, &value));
    assert_int_equal(run(r.h, vsetvli(5, 0, SEW8)), RV_TRAP);
    assert_int_equal(r.h->trap_cause, RV_EXC_ILLEGAL);
    rig_fini(&r);

    start(&r, rig_isa()); /* without the extension */
    assert_int_equal(r.h->mstatus & MSTATUS_VS, 0);
    assert_false(rig_csr_read(r.h, 0xc22, &value));
    rig_fini(&r);
}

/* The load stops at the page that is not there, and goes on from there when it is. */
static void test_fault_in_the_middle(void **state)
{
    struct rig r;

    (void)state;
    start(&r, vector_isa(128));
    for (unsigned n = 0; n < 8; n++)
        rig_put64(&r, PA + 8192 - 64 + n * 8, 0x100 + n);
    set_type(r.h, SEW64 | M8, 16);
    memset(r.h->v, 0xee, sizeof r.h->v);
    r.h->x[X_BASE] = VA + 8192 - 48; /* six elements */
    assert_int_equal(run(r.h, memory(LOAD, E64, 8, 0, 0, 0)), RV_TRAP);
    assert_int_equal(r.h->trap_cause, RV_EXC_LOAD_PAGE);
    assert_int_equal(r.h->trap_tval, VA + 8192);
    assert_int_equal(r.h->vstart, 6);
    assert_int_equal(r.h->vkey, RV_VKEY_NONE);
    uint64_t *v8 = (uint64_t *)(void *)(r.h->v + 8 * 16);
    assert_int_equal(v8[5], 0x107);
    assert_int_equal(v8[6], 0xeeeeeeeeeeeeeeee);

    v8[0] = 1; /* elements below vstart are left alone */
    r.h->x[X_BASE] = VA;
    assert_int_equal(run(r.h, memory(LOAD, E64, 8, 0, 0, 0)), RV_NEXT);
    assert_int_equal(v8[0], 1);
    assert_int_equal(v8[6], rig_get64(&r, PA + 48));
    assert_int_equal(r.h->vstart, 0);
    assert_int_not_equal(r.h->vkey, RV_VKEY_NONE);

    r.h->x[X_BASE] = VA + 8192 - 16;
    assert_int_equal(run(r.h, memory(STORE, E64, 8, 0, 0, 0)), RV_TRAP);
    assert_int_equal(r.h->trap_cause, RV_EXC_STORE_PAGE);
    assert_int_equal(r.h->vstart, 2);
    assert_int_equal(rig_get64(&r, PA + 8192 - 16), 1);
    rig_fini(&r);
}

/* Translated code runs on a state that is dirty: the first operation on another makes it that. */
static void test_key_comes_with_the_first_operation(void **state)
{
    struct rig r;

    (void)state;
    start(&r, vector_isa(128));
    set_type(r.h, SEW32 | M1, 4);
    for (uint64_t status = 1; status < 3; status++) { /* initial, clean */
        assert_true(rig_csr_write(r.h, 0x100, status << 9));
        assert_int_equal(r.h->vkey, RV_VKEY_NONE);
        assert_int_equal(r.h->vkey_any, RV_VKEY_NONE);
        assert_int_equal(run(r.h, 0x022180d7), RV_NEXT); /* vadd.vv */
        assert_int_equal(r.h->vs_dirty, 1);
        assert_int_equal(r.h->vkey, rv_vkey(SEW32 | M1));
        assert_true(rig_csr_write(r.h, 0x100, status << 9)); /* once more the same */
        assert_int_equal(r.h->vkey, RV_VKEY_NONE);
    }
    assert_true(rig_csr_write(r.h, 0x100, MSTATUS_VS));
    assert_int_equal(r.h->vkey, rv_vkey(SEW32 | M1));
    rig_fini(&r);
}

static void test_fault_only_first(void **state)
{
    struct rig r;

    (void)state;
    start(&r, vector_isa(256));
    set_type(r.h, SEW8 | M8, 256);
    r.h->x[X_BASE] = VA + 4096 - 100; /* over a page that is there */
    assert_int_equal(run(r.h, memory(LOAD, E8, 8, 0, 0, FIRST_FAULT)), RV_NEXT);
    assert_int_equal(r.h->vl, 256);
    assert_int_equal(r.h->vkey, rv_vkey(SEW8 | M8));
    r.h->x[X_BASE] = VA + 8192 - 100;
    assert_int_equal(run(r.h, memory(LOAD, E8, 8, 0, 0, FIRST_FAULT)), RV_NEXT);
    assert_int_equal(r.h->vl, 100);
    assert_int_equal(r.h->vstart, 0);
    assert_int_equal(r.h->vkey, RV_VKEY_NONE); /* vl is not VLMAX any more */
    assert_int_equal(r.h->vkey_any, rv_vkey(SEW8 | M8));
    set_type(r.h, SEW32 | M1, 8);
    r.h->x[X_BASE] = VA + 8192 - 6; /* the second element straddles the end */
    assert_int_equal(run(r.h, memory(LOAD, E32, 8, 0, 0, FIRST_FAULT)), RV_NEXT);
    assert_int_equal(r.h->vl, 1);
    set_type(r.h, SEW32 | M1, 8);
    r.h->x[X_BASE] = VA + 8192;
    assert_int_equal(run(r.h, memory(LOAD, E32, 8, 0, 0, FIRST_FAULT)), RV_TRAP);
    assert_int_equal(r.h->trap_cause, RV_EXC_LOAD_PAGE);
    assert_int_equal(r.h->vl, 8);
    rig_fini(&r);
}

static void test_segments(void **state)
{
    struct rig r;

    (void)state;
    start(&r, vector_isa(128));
    for (unsigned n = 0; n < 6; n++)
        rig_put64(&r, PA + n * 8, n);
    set_type(r.h, SEW64 | M1, 2);
    r.h->x[X_BASE] = VA;
    assert_int_equal(run(r.h, memory(LOAD, E64, 8, 2, 0, 0)), RV_NEXT); /* vlseg3e64 v8 */
    for (unsigned field = 0; field < 3; field++)
        for (unsigned n = 0; n < 2; n++)
            assert_int_equal(((uint64_t *)(void *)(r.h->v + (8 + field) * 16))[n], n * 3 + field);
    assert_int_equal(run(r.h, memory(LOAD, E64, 30, 2, 0, 0)), RV_TRAP); /* beyond v31 */
    set_type(r.h, SEW64 | 2 /* M4 */, 2);
    assert_int_equal(run(r.h, memory(LOAD, E64, 8, 2, 0, 0)), RV_TRAP); /* more than 8 registers */
    rig_fini(&r);
}

/* What integer-only and 32-bit vectors lack. */
static void test_subsets(void **state)
{
    struct rv_isa isa = rig_isa();
    struct rig r;

    (void)state;
    isa.ext |= 1ull << RV_EXT_ZVE32X;
    isa.vlen = 128;
    start(&r, isa);
    set_type(r.h, SEW32 | M1, 4);
    assert_int_equal(run(r.h, 0x022180d7), RV_NEXT);
    assert_int_equal(run(r.h, 0x022190d7), RV_TRAP);                     /* vfadd.vv */
    assert_int_equal(run(r.h, memory(LOAD, E64, 8, 0, 0, 0)), RV_TRAP);  /* vle64.v */
    set_type(r.h, SEW64 | M1, 4);
    assert_int_equal(r.h->vtype, 1ull << 63);
    set_type(r.h, SEW16 | MF2, 4);
    assert_int_equal(r.h->vtype, SEW16 | MF2);
    set_type(r.h, SEW32 | MF2, 4); /* a fraction needs room for ELEN */
    assert_int_equal(r.h->vtype, 1ull << 63);
    rig_fini(&r);

    isa.ext |= 1ull << RV_EXT_ZVE64X;
    start(&r, isa);
    set_type(r.h, SEW64 | M1, 2);
    assert_int_equal(run(r.h, 0x022180d7), RV_NEXT);
    assert_int_equal(run(r.h, 0x922120d7), RV_TRAP); /* vmulhu.vv of 64 bits */
    rig_fini(&r);
}

static void test_bad_rounding_mode_is_illegal(void **state)
{
    struct rig r;

    (void)state;
    start(&r, vector_isa(128));
    set_type(r.h, SEW32 | M1, 4);
    assert_int_equal(run(r.h, 0x022190d7), RV_NEXT); /* vfadd.vv */
    assert_true(rig_csr_write(r.h, 0x002, 5));
    assert_int_equal(run(r.h, 0x022190d7), RV_TRAP);
    assert_int_equal(run(r.h, 0x022180d7), RV_NEXT); /* vadd.vv */
    rig_fini(&r);
}

static void test_saved_state(void **state)
{
    struct state_buf buf = {0};
    struct rig a, b;
    size_t used;

    (void)state;
    start(&a, vector_isa(256));
    start(&b, vector_isa(256));
    set_type(a.h, SEW16 | M2, 9);
    for (unsigned n = 0; n < sizeof a.h->v; n++)
        a.h->v[n] = (uint8_t)(n * 7);
    assert_true(rig_csr_write(a.h, 0x008, 3));
    assert_true(rig_csr_write(a.h, 0x00f, 7));
    state_save(a.h->vcpu.ops->state, a.h, &buf);
    assert_int_equal(state_load(b.h->vcpu.ops->state, b.h, buf.data, buf.len, &used), SIM_OK);
    assert_memory_equal(a.h->v, b.h->v, sizeof a.h->v);
    assert_int_equal(b.h->vl, 9);
    assert_int_equal(b.h->vtype, SEW16 | M2);
    assert_int_equal(b.h->vstart, 3);
    assert_int_equal(b.h->vxrm << 1 | b.h->vxsat, 7);
    assert_int_equal(b.h->vs_on, 1);
    assert_int_equal(b.h->vkey, RV_VKEY_NONE);
    state_buf_fini(&buf);

    a.h->vl = 33; /* more than VLMAX */
    buf = (struct state_buf){0};
    state_save(a.h->vcpu.ops->state, a.h, &buf);
    assert_int_equal(state_load(b.h->vcpu.ops->state, b.h, buf.data, buf.len, &used), SIM_ERR_FORMAT);
    state_buf_fini(&buf);
    rig_fini(&a);
    rig_fini(&b);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_vset),
        cmocka_unit_test(test_vset_keeps_or_takes_vlmax),
        cmocka_unit_test(test_status),
        cmocka_unit_test(test_fault_in_the_middle),
        cmocka_unit_test(test_key_comes_with_the_first_operation),
        cmocka_unit_test(test_fault_only_first),
        cmocka_unit_test(test_segments),
        cmocka_unit_test(test_subsets),
        cmocka_unit_test(test_bad_rounding_mode_is_illegal),
        cmocka_unit_test(test_saved_state),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
