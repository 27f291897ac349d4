/* Directed rows for A and Zacas, and the rules of LR/SC. */
#include "exec_rows.h"
#include "lrsc.h"
#include "sim-core/lock.h"

#define M1 UINT64_MAX
#define DATA (RAM_BASE + 0x3000)
#define CODE (RAM_BASE + 0x1000)

/* ---- AMO: memory and rs2 in, rd and memory out ---- */

static const struct {
    uint16_t op;
    uint64_t memory, b, rd, after;
} amos[] = {
    {RV_OP_amoswap_w, 0x1111111180000000, 0x2222222233333333, 0xffffffff80000000,
     0x1111111133333333},
    {RV_OP_amoadd_w, 0x11111111ffffffff, 1, M1, 0x1111111100000000},
    {RV_OP_amoadd_w, 0x7fffffff, 0xdead00000001, 0x7fffffff, 0x80000000},
    {RV_OP_amoxor_w, 0x11111111ff00ff00, 0x0ff00ff0, 0xffffffffff00ff00, 0x11111111f0f0f0f0},
    {RV_OP_amoand_w, 0x11111111ff00ff00, 0x0ff00ff0, 0xffffffffff00ff00, 0x111111110f000f00},
    {RV_OP_amoor_w, 0x111111110f000f00, 0xf0f000f0, 0x0f000f00, 0x11111111fff00ff0},
    {RV_OP_amomin_w, 0x80000000, 0x7fffffff, 0xffffffff80000000, 0x80000000},
    {RV_OP_amomin_w, 5, 0xfffffffb, 5, 0xfffffffb},
    {RV_OP_amomin_w, 5, 0x100000004, 5, 4},
    {RV_OP_amomax_w, 0x80000000, 0x7fffffff, 0xffffffff80000000, 0x7fffffff},
    {RV_OP_amomax_w, 5, 0xfffffffb, 5, 5},
    {RV_OP_amominu_w, 0x80000000, 0x7fffffff, 0xffffffff80000000, 0x7fffffff},
    {RV_OP_amominu_w, 5, 0xfffffffffffffffb, 5, 5},
    {RV_OP_amominu_w, 5, 0x900000004, 5, 4},
    {RV_OP_amomaxu_w, 0x80000000, 0x7fffffff, 0xffffffff80000000, 0x80000000},
    {RV_OP_amomaxu_w, 5, 0xfffffffb, 5, 0xfffffffb},
    {RV_OP_amoswap_d, 0x8000000000000000, 3, 0x8000000000000000, 3},
    {RV_OP_amoadd_d, M1, 1, M1, 0},
    {RV_OP_amoadd_d, 0xffffffff, 1, 0xffffffff, 0x100000000},
    {RV_OP_amoxor_d, 0xff00ff00ff00ff00, 0x0ff00ff00ff00ff0, 0xff00ff00ff00ff00,
     0xf0f0f0f0f0f0f0f0},
    {RV_OP_amoand_d, 0xff00ff00ff00ff00, 0x0ff00ff00ff00ff0, 0xff00ff00ff00ff00,
     0x0f000f000f000f00},
    {RV_OP_amoor_d, 0xff00000000000000, 0xff, 0xff00000000000000, 0xff000000000000ff},
    {RV_OP_amomin_d, 0x8000000000000000, 1, 0x8000000000000000, 0x8000000000000000},
    {RV_OP_amomin_d, 1, M1, 1, M1},
    {RV_OP_amomax_d, 0x8000000000000000, 1, 0x8000000000000000, 1},
    {RV_OP_amomax_d, 1, M1, 1, 1},
    {RV_OP_amominu_d, 0x8000000000000000, 1, 0x8000000000000000, 1},
    {RV_OP_amominu_d, 1, M1, 1, 1},
    {RV_OP_amomaxu_d, 0x8000000000000000, 1, 0x8000000000000000, 0x8000000000000000},
    {RV_OP_amomaxu_d, 1, M1, 1, M1},
};

/* ---- amocas.w, amocas.d: rd holds what is expected ---- */

static const struct {
    uint16_t op;
    uint64_t memory, expected, b, rd, after;
} cas[] = {
    {RV_OP_amocas_w, 0x11111111fffffff0, 0xfffffff0, 7, -16ull, 0x1111111100000007},
    {RV_OP_amocas_w, 0x1111111180000000, 0x7fffffff, 7, 0xffffffff80000000, 0x1111111180000000},
    {RV_OP_amocas_w, 5, 0x900000005, 0x800000006, 5, 6}, /* upper halves do not matter */
    {RV_OP_amocas_d, 0x1122334455667788, 0x1122334455667788, M1, 0x1122334455667788, M1},
    {RV_OP_amocas_d, 0x1122334455667788, 0x0122334455667788, M1, 0x1122334455667788,
     0x1122334455667788},
};

static int setup(void **state)
{
    static struct rig r;

    rig_init(&r, false);
    r.h->pc = CODE;
    *state = &r;
    return 0;
}

static int teardown(void **state)
{
    rig_fini(*state);
    return 0;
}

static struct rv_insn amo_insn(unsigned op, unsigned rd)
{
    return (struct rv_insn){.op = (uint16_t)op, .len = 4, .rd = (uint8_t)rd, .rs1 = 1, .rs2 = 2};
}

static void test_amo_rows(void **state)
{
    struct rig *r = *state;
    struct rv_hart *h = r->h;

    for (size_t n = 0; n < SIM_ARRAY_LEN(amos); n++) {
        static const unsigned targets[] = {3, 1, 2, 0};

        for (size_t t = 0; t < SIM_ARRAY_LEN(targets); t++) {
            struct rv_insn i = amo_insn(amos[n].op, targets[t]);

            rig_put64(r, DATA, amos[n].memory);
            h->x[1] = DATA;
            h->x[2] = amos[n].b;
            assert_int_equal(rv_op_info[i.op].exec(h, &i), RV_NEXT);
            assert_int_equal(h->x[i.rd], i.rd ? amos[n].rd : 0);
            assert_int_equal(rig_get64(r, DATA), amos[n].after);
        }
    }
}

static void test_amocas_rows(void **state)
{
    struct rig *r = *state;
    struct rv_hart *h = r->h;

    for (size_t n = 0; n < SIM_ARRAY_LEN(cas); n++) {
        struct rv_insn i = amo_insn(cas[n].op, 3);

        rig_put64(r, DATA, cas[n].memory);
        h->x[1] = DATA;
        h->x[2] = cas[n].b;
        h->x[3] = cas[n].expected;
        assert_int_equal(rv_op_info[i.op].exec(h, &i), RV_NEXT);
        assert_int_equal(h->x[3], cas[n].rd);
        assert_int_equal(rig_get64(r, DATA), cas[n].after);
    }
}

static void check_cas_q(struct rig *r, unsigned rd, unsigned rs2, bool equal)
{
    struct rv_hart *h = r->h;
    struct rv_insn i = {.op = RV_OP_amocas_q, .len = 4, .rd = (uint8_t)rd, .rs1 = 1,
                        .rs2 = (uint8_t)rs2};
    const uint64_t lo = rd ? 0x1111 : 0, hi = rd ? 0x2222 : 0;

    fill_registers(h);
    h->x[1] = DATA;
    if (rd) {
        h->x[rd] = lo;
        h->x[rd + 1] = hi;
    }
    rig_put64(r, DATA, lo);
    rig_put64(r, DATA + 8, equal ? hi : hi ^ 1);
    uint64_t new_lo = h->x[rs2], new_hi = rs2 ? h->x[rs2 + 1] : 0, x1 = h->x[1];
    assert_int_equal(exec_amocas_q(h, &i), RV_NEXT);
    assert_int_equal(rig_get64(r, DATA), equal ? new_lo : lo);
    assert_int_equal(rig_get64(r, DATA + 8), equal ? new_hi : hi ^ 1);
    assert_int_equal(h->x[0], 0);
    assert_int_equal(h->x[1], x1);
    if (rd) {
        assert_int_equal(h->x[rd], lo);
        assert_int_equal(h->x[rd + 1], equal ? hi : hi ^ 1);
    }
}

/* Pairs; x0's pair reads as zero and is not written. */
static void test_amocas_q_pairs(void **state)
{
    for (unsigned equal = 0; equal < 2; equal++) {
        check_cas_q(*state, 4, 6, equal);
        check_cas_q(*state, 30, 4, equal);
        check_cas_q(*state, 0, 6, equal);
        check_cas_q(*state, 4, 0, equal);
        check_cas_q(*state, 6, 6, equal);
    }
}

static void test_atomics_must_be_aligned_ram(void **state)
{
    struct rv_hart *h = ((struct rig *)*state)->h;

    for (unsigned op = 1; op < RV_OP_COUNT; op++) {
        const struct rv_op_info *info = &rv_op_info[op];
        bool load = op == RV_OP_lr_w || op == RV_OP_lr_d;
        struct rv_insn i = amo_insn(op, 4);

        if (!(info->flags & RV_OPF_ATOMIC))
            continue;
        h->x[1] = DATA + info->size / 2;
        h->x[4] = 77;
        assert_int_equal(info->exec(h, &i), RV_TRAP);
        assert_int_equal(h->trap_cause, load ? RV_EXC_LOAD_MISALIGNED : RV_EXC_STORE_MISALIGNED);
        assert_int_equal(h->trap_tval, h->x[1]);
        h->x[1] = 0x1000; /* nothing there */
        if (op != RV_OP_sc_w && op != RV_OP_sc_d) { /* these fail without looking */
            assert_int_equal(info->exec(h, &i), RV_TRAP);
            assert_int_equal(h->trap_cause, load ? RV_EXC_LOAD_ACCESS : RV_EXC_STORE_ACCESS);
            assert_int_equal(h->trap_tval, 0x1000);
        }
        assert_int_equal(h->x[4], 77);
    }
}

/* ---- stores to code pages are reported, when something was stored ---- */

struct code_report {
    unsigned calls;
    gpa_t gpa;
    uint64_t len;
};

static void note_code_written(void *opaque, gpa_t gpa, uint64_t len)
{
    struct code_report *report = opaque;

    report->calls++;
    report->gpa = gpa;
    report->len = len;
}

/* Executes op on DATA, a code page, with rd = x4 as `expected`; returns how many reports came. */
static unsigned reports_of(struct rig *r, struct code_report *report, unsigned op, uint64_t expected)
{
    struct rv_insn i = amo_insn(op, 4);

    report->calls = 0;
    mem_mark_code(r->space, DATA);
    rv_tlb_flush_all(r->h);
    r->h->x[1] = DATA;
    r->h->x[4] = expected;
    assert_int_equal(rv_op_info[op].exec(r->h, &i), RV_NEXT);
    return report->calls;
}

static void test_stores_to_code_are_reported(void **state)
{
    static const struct mem_code_ops ops = {note_code_written};
    struct rig *r = *state;
    struct code_report report = {0};

    mem_set_code_ops(r->space, &ops, &report);
    rig_put64(r, DATA, 5);
    assert_int_equal(reports_of(r, &report, RV_OP_amoadd_w, 0), 1);
    assert_int_equal(report.gpa, DATA);
    assert_int_equal(report.len, 4);
    rig_put64(r, DATA, 5);
    assert_int_equal(reports_of(r, &report, RV_OP_amocas_d, 5), 1);
    assert_int_equal(report.len, 8);
    rig_put64(r, DATA, 5);
    assert_int_equal(reports_of(r, &report, RV_OP_amocas_d, 6), 0);
    assert_int_equal(reports_of(r, &report, RV_OP_amocas_q, 5), 1);
    assert_int_equal(report.len, 16);
    rig_put64(r, DATA, 5);
    assert_int_equal(reports_of(r, &report, RV_OP_lr_d, 0), 0);
    assert_int_equal(reports_of(r, &report, RV_OP_sc_d, 0), 1);
    assert_int_equal(reports_of(r, &report, RV_OP_sc_d, 0), 0); /* fails */
    mem_unmark_code(r->space, DATA);
    mem_set_code_ops(r->space, NULL, NULL);
}

/* ---- LR/SC ---- */

static struct rv_insn lr(unsigned size)
{
    return (struct rv_insn){.op = size == 4 ? RV_OP_lr_w : RV_OP_lr_d, .len = 4, .rd = 3, .rs1 = 1};
}

static struct rv_insn sc(unsigned size)
{
    return amo_insn(size == 4 ? RV_OP_sc_w : RV_OP_sc_d, 4);
}

static void do_lr(struct rv_hart *h, unsigned size)
{
    struct rv_insn i = lr(size);

    assert_int_equal(rv_op_info[i.op].exec(h, &i), RV_NEXT);
}

/* Executes SC; returns rd: 0 stored, 1 failed. */
static uint64_t do_sc(struct rv_hart *h, unsigned size)
{
    struct rv_insn i = sc(size);

    h->x[4] = 99;
    assert_int_equal(rv_op_info[i.op].exec(h, &i), RV_NEXT);
    assert_int_equal(h->res_addr, RV_NO_RES);
    return h->x[4];
}

static void test_sc_stores_once(void **state)
{
    struct rig *r = *state;
    struct rv_hart *h = r->h;

    rig_put64(r, DATA, 0x1111111180000000);
    h->x[1] = DATA;
    h->x[2] = 0x2222222233333333;
    do_lr(h, 4);
    assert_int_equal(h->x[3], 0xffffffff80000000);
    assert_int_equal(do_sc(h, 4), 0);
    assert_int_equal(rig_get64(r, DATA), 0x1111111133333333);
    assert_int_equal(do_sc(h, 4), 1); /* the reservation is used up */
    do_lr(h, 8);
    assert_int_equal(h->x[3], 0x1111111133333333);
    assert_int_equal(do_sc(h, 8), 0);
    assert_int_equal(rig_get64(r, DATA), 0x2222222233333333);
}

static void test_sc_fails_elsewhere(void **state)
{
    struct rig *r = *state;
    struct rv_hart *h = r->h;

    rig_put64(r, DATA, 5);
    rig_put64(r, DATA + 8, 5);
    h->x[2] = 6;
    h->x[1] = DATA;
    assert_int_equal(do_sc(h, 4), 1); /* no reservation */
    do_lr(h, 4);
    assert_int_equal(do_sc(h, 8), 1); /* other size */
    do_lr(h, 4);
    h->x[1] = DATA + 8;
    assert_int_equal(do_sc(h, 4), 1); /* other address */
    h->x[1] = DATA;
    assert_int_equal(do_sc(h, 4), 1); /* and that cleared it */
    do_lr(h, 4);
    rig_put64(r, DATA, 7);
    assert_int_equal(do_sc(h, 4), 1); /* the value changed */
    assert_int_equal(rig_get64(r, DATA), 7);
    assert_int_equal(rig_get64(r, DATA + 8), 5);
}

/* Words after an LR at CODE, for the scan. */
#define LR_W 0x1000a1afu    /* lr.w gp,(ra) */
#define SC_W 0x1820a22fu    /* sc.w tp,sp,(ra) */
#define SC_D 0x1820b22fu
#define ADDI 0x00128293u    /* addi t0,t0,1 */
#define BNE_AHEAD 0x00519863u  /* bne gp,t0,pc+16 */
#define BNE_BACK 0xfe519ee3u   /* bne gp,t0,pc-4 */
#define BNE_SELF 0x00519063u   /* bne gp,t0,pc */
#define LD 0x0000b303u
#define SD 0x0060b023u
#define AMOADD 0x0060a02fu
#define JAL 0x0080006fu
#define JALR 0x00008067u
#define FENCE 0x0ff0000fu
#define FENCE_I 0x0000100fu
#define CSRRW 0x30051573u
#define ECALL 0x00000073u
#define WRS 0x00d00073u
#define MUL 0x025282b3u
#define C_NOP2 0x00010001u
#define FADD_D 0x02b57553u
#define CBO_ZERO 0x0040a00fu

static const struct {
    const char *what;
    uint32_t words[18]; /* after the LR; 0 is illegal */
    bool simple;
    uint64_t sc; /* from CODE; RV_SC_NONE */
} scans[] = {
    {"sc follows", {SC_W}, true, 4},
    {"computing between", {ADDI, MUL, FADD_D, SC_D}, true, 16},
    {"an exit ahead", {BNE_AHEAD, ADDI, SC_W}, true, 12},
    {"16-bit instructions", {C_NOP2, SC_W}, true, 8},
    {"a fence", {FENCE, SC_W}, true, 8},
    {"15 between", {ADDI, ADDI, ADDI, ADDI, ADDI, ADDI, ADDI, ADDI, ADDI, ADDI, ADDI, ADDI, ADDI,
                    ADDI, ADDI, SC_W}, true, 64},
    {"16 between", {ADDI, ADDI, ADDI, ADDI, ADDI, ADDI, ADDI, ADDI, ADDI, ADDI, ADDI, ADDI, ADDI,
                    ADDI, ADDI, ADDI, SC_W}, false, 0},
    {"a wait", {BNE_AHEAD, WRS}, true, RV_SC_NONE},
    {"a branch back", {BNE_BACK, SC_W}, true, 8},
    {"a branch to itself", {BNE_SELF, SC_W}, false, 0},
    {"a loop between", {ADDI, BNE_BACK, SC_W}, false, 0},
    {"a branch over the SC", {BNE_AHEAD, SC_W, ADDI, ADDI, ADDI}, true, 8},
    {"a branch to another SC", {BNE_AHEAD, SC_W, JAL, ADDI, ADDI, SC_W}, false, 0},
    {"a branch to another LR", {BNE_AHEAD, SC_W, ADDI, ADDI, LR_W, SC_W}, true, 8},
    {"a branch to a load", {BNE_AHEAD, SC_W, ADDI, ADDI, LD, SC_W}, true, 8},
    {"a wait in a loop", {ADDI, BNE_BACK, WRS}, false, 0},
    {"a load", {LD, SC_W}, false, 0},
    {"a store", {SD, SC_W}, false, 0},
    {"an atomic", {AMOADD, SC_W}, false, 0},
    {"another lr", {LR_W, SC_W}, false, 0},
    {"a jump", {JAL, SC_W, SC_W}, false, 0},
    {"a return", {JALR, SC_W}, false, 0},
    {"fence.i", {FENCE_I, SC_W}, false, 0},
    {"a CSR access", {CSRRW, SC_W}, false, 0},
    {"ecall", {ECALL, SC_W}, false, 0},
    {"cbo.zero", {CBO_ZERO, SC_W}, false, 0},
    {"an illegal word", {0, SC_W}, false, 0},
};

static void put_sequence(struct rig *r, gpa_t at, const uint32_t *words, size_t n)
{
    const uint32_t first = LR_W;

    rig_put_code(r, at, &first, 1);
    rig_put_code(r, at + 4, words, n);
}

static void test_scan_rows(void **state)
{
    struct rig *r = *state;

    for (size_t n = 0; n < SIM_ARRAY_LEN(scans); n++) {
        uint64_t at = 0, want = scans[n].sc == RV_SC_NONE ? RV_SC_NONE : CODE + scans[n].sc;

        put_sequence(r, CODE, scans[n].words, SIM_ARRAY_LEN(scans[n].words));
        if (rv_lrsc_simple(r->h, 4, &at) != scans[n].simple)
            fail_msg("%s: simple must be %d", scans[n].what, scans[n].simple);
        if (scans[n].simple)
            assert_int_equal(at, want);
    }
}

static void test_scan_stays_in_the_page(void **state)
{
    struct rig *r = *state;
    const uint32_t words[] = {SC_W};
    uint64_t at;

    put_sequence(r, CODE + 0xff8, words, 1);
    r->h->pc = CODE + 0xff8;
    assert_true(rv_lrsc_simple(r->h, 4, &at));
    assert_int_equal(at, CODE + 0xffc);
    put_sequence(r, CODE + 0xffa, words, 1); /* half of the SC is in the next page */
    r->h->pc = CODE + 0xffa;
    assert_false(rv_lrsc_simple(r->h, 4, &at));
    put_sequence(r, CODE + 0xffc, words, 1);
    r->h->pc = CODE + 0xffc;
    assert_false(rv_lrsc_simple(r->h, 4, &at));
}

/* With other harts: simple sequences run, others ask to run alone, and nothing was done. */
static void test_lr_asks_for_exclusiveness(void **state)
{
    struct rig *r = *state;
    struct rv_hart *h = r->h;
    struct rv_isa isa = rig_isa();
    struct rv_insn i = lr(4);
    const uint32_t complex[] = {LD, SC_W};

    rig_add_hart(r, &isa);
    put_sequence(r, CODE, complex, 2);
    rig_put64(r, DATA, 5);
    h->x[1] = DATA;
    h->x[3] = 77;
    assert_int_equal(exec_lr_w(h, &i), RV_STOP);
    assert_int_equal(h->stop_reason, RV_STOP_EXCLUSIVE);
    assert_int_equal(h->x[3], 77);
    assert_int_equal(h->res_addr, RV_NO_RES);
    h->exclusive = 1;
    do_lr(h, 4);
    assert_int_equal(h->x[3], 5);
    h->x[2] = 6;
    h->pc = CODE + 8;
    assert_int_equal(do_sc(h, 4), 0);
    /* A reservation taken alone is worth nothing afterwards. */
    do_lr(h, 4);
    h->exclusive = 0;
    assert_int_equal(do_sc(h, 4), 1);
    assert_int_equal(rig_get64(r, DATA), 6);
}

/* Only the SC that the scan found succeeds: on the way to another one there may be accesses. */
static void test_simple_lr_binds_its_sc(void **state)
{
    struct rig *r = *state;
    struct rv_hart *h = r->h;
    struct rv_isa isa = rig_isa();
    const uint32_t simple[] = {BNE_AHEAD, SC_W}, wait[] = {BNE_AHEAD, WRS, SC_W};

    rig_add_hart(r, &isa);
    put_sequence(r, CODE, simple, 2);
    rig_put64(r, DATA, 5);
    h->x[1] = DATA;
    h->x[2] = 6;
    do_lr(h, 4);
    h->pc = CODE + 8;
    assert_int_equal(do_sc(h, 4), 0);
    h->pc = CODE;
    do_lr(h, 4);
    h->pc = CODE + 20;
    assert_int_equal(do_sc(h, 4), 1);
    put_sequence(r, CODE, wait, 3);
    h->pc = CODE;
    do_lr(h, 4);
    assert_int_equal(h->res_addr, DATA); /* WRS sees a reservation */
    h->pc = CODE + 12;
    assert_int_equal(do_sc(h, 4), 1);
}

/* Between a way out and the way back there may be accesses. */
static void test_a_way_out_loses_the_sc(void **state)
{
    struct rig *r = *state;
    struct rv_hart *h = r->h;
    struct rv_isa isa = rig_isa();
    const uint32_t ahead[] = {BNE_AHEAD, SC_W}, back[] = {BNE_BACK, SC_W};

    rig_add_hart(r, &isa);
    rig_put64(r, DATA, 5);
    h->x[1] = DATA;
    for (unsigned n = 0; n < 4; n++) {
        bool taken = n & 1;

        put_sequence(r, CODE, n & 2 ? back : ahead, 2);
        h->x[5] = taken ? 7 : 5; /* what bne compares LR's value with */
        h->pc = CODE;
        rv_interp_step(h);
        rv_interp_step(h);
        assert_int_equal(h->pc, !taken ? CODE + 8 : n & 2 ? CODE : CODE + 20);
        assert_int_equal(h->res_addr, DATA); /* for WRS */
        h->pc = CODE + 8;
        h->x[2] = 5;
        rv_interp_step(h);
        assert_int_equal(h->x[4], taken);
    }
}

/* WRS in a sequence that runs alone is a wait as any other. */
static void test_a_wait_alone_gives_way(void **state)
{
    struct rig *r = *state;
    struct rv_hart *h = r->h;
    struct rv_isa isa = rig_isa();
    const uint32_t wait[] = {LD, WRS};

    rig_add_hart(r, &isa);
    put_sequence(r, CODE, wait, 2);
    h->x[1] = DATA;
    h->stopped = 0;
    vcpu_leave(&h->vcpu);
    assert_int_equal(h->vcpu.ops->run(&h->vcpu, 10), VCPU_EXIT_EXCLUSIVE);
    assert_int_equal(h->vcpu.ops->run_exclusive(&h->vcpu), VCPU_EXIT_YIELD);
    assert_int_equal(h->pc, CODE + 12);
    assert_non_null(h->vcpu.watch.word);
    vcpu_enter(&h->vcpu);
}

/* ---- harts in parallel lose nothing ---- */

struct racer {
    struct rv_hart *h;
    void (*add_one)(struct rv_hart *h);
    unsigned rounds;
};

static void amoadd_one(struct rv_hart *h)
{
    struct rv_insn i = amo_insn(RV_OP_amoadd_d, 3);

    exec_amoadd_d(h, &i);
}

static void lrsc_one(struct rv_hart *h)
{
    struct rv_insn load = lr(8), store = sc(8);

    do {
        h->pc = CODE;
        exec_lr_d(h, &load);
        h->x[2] = h->x[3] + 1;
        h->pc = CODE + 8;
        exec_sc_d(h, &store);
    } while (h->x[4]);
    h->x[2] = 1;
}

static void amocas_one(struct rv_hart *h)
{
    struct rv_insn i = amo_insn(RV_OP_amocas_q, 4);
    uint64_t expected;

    do {
        expected = h->x[4] = *(volatile uint64_t *)h->x[6];
        h->x[5] = 0;
        h->x[2] = expected + 1;
        h->x[3] = 0;
        exec_amocas_q(h, &i);
    } while (h->x[4] != expected);
    h->x[2] = 1;
}

static void *race(void *arg)
{
    struct racer *r = arg;

    r->h->x[1] = DATA;
    r->h->x[2] = 1;
    for (unsigned n = 0; n < r->rounds; n++)
        r->add_one(r->h);
    return NULL;
}

static void test_harts_in_parallel(void **state)
{
    static void (*const adders[])(struct rv_hart *) = {amoadd_one, lrsc_one, amocas_one};
    struct rig *r = *state;
    struct rv_isa isa = rig_isa();
    struct rv_hart *harts[2] = {r->h, rig_add_hart(r, &isa)};
    const uint32_t simple[] = {ADDI, SC_D};

    put_sequence(r, CODE, simple, 2);
    for (size_t n = 0; n < SIM_ARRAY_LEN(adders); n++) {
        struct racer racers[2] = {{harts[0], adders[n], 50000}, {harts[1], adders[n], 50000}};
        struct sim_thread t = {0};

        harts[0]->x[6] = harts[1]->x[6] = (uint64_t)(uintptr_t)mem_ram_ptr(r->space, DATA, 8);
        rig_put64(r, DATA, 0);
        rig_put64(r, DATA + 8, 0);
        assert_int_equal(sim_thread_start(&t, "racer", race, &racers[1]), SIM_OK);
        race(&racers[0]);
        sim_thread_join(&t);
        assert_int_equal(rig_get64(r, DATA), 100000);
    }
}

static void test_every_op_has_a_row(void **state)
{
    struct op_set set = {.has = {[RV_OP_lr_w] = true, [RV_OP_lr_d] = true, [RV_OP_sc_w] = true,
                                 [RV_OP_sc_d] = true, [RV_OP_amocas_q] = true}};

    (void)state;
    for (size_t n = 0; n < SIM_ARRAY_LEN(amos); n++)
        set.has[amos[n].op] = true;
    for (size_t n = 0; n < SIM_ARRAY_LEN(cas); n++)
        set.has[cas[n].op] = true;
    check_all_covered(&set, 1ull << RV_EXT_A | 1ull << RV_EXT_ZACAS);
}

#define RIG_TEST(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        RIG_TEST(test_amo_rows),
        RIG_TEST(test_amocas_rows),
        RIG_TEST(test_amocas_q_pairs),
        RIG_TEST(test_atomics_must_be_aligned_ram),
        RIG_TEST(test_stores_to_code_are_reported),
        RIG_TEST(test_sc_stores_once),
        RIG_TEST(test_sc_fails_elsewhere),
        RIG_TEST(test_scan_rows),
        RIG_TEST(test_scan_stays_in_the_page),
        RIG_TEST(test_lr_asks_for_exclusiveness),
        RIG_TEST(test_simple_lr_binds_its_sc),
        RIG_TEST(test_a_way_out_loses_the_sc),
        RIG_TEST(test_a_wait_alone_gives_way),
        RIG_TEST(test_harts_in_parallel),
        cmocka_unit_test(test_every_op_has_a_row),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
