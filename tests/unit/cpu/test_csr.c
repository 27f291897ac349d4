/* CSRs: existence and privilege, WARL fields, counters, views, gates by other CSRs. */
#include "hart_fixture.h"

enum {
    FFLAGS = 1, FRM = 2, FCSR = 3, SSTATUS = 0x100, SIE = 0x104, STVEC = 0x105, SCOUNTEREN = 0x106,
    SENVCFG = 0x10a, SSCRATCH = 0x140, SEPC = 0x141, SIP = 0x144, STIMECMP = 0x14d, SATP = 0x180,
    MSTATUS = 0x300, MISA = 0x301, MEDELEG = 0x302, MIDELEG = 0x303, MIE = 0x304, MTVEC = 0x305,
    MCOUNTEREN = 0x306, MENVCFG = 0x30a, MCOUNTINHIBIT = 0x320, MHPMEVENT3 = 0x323, MSCRATCH = 0x340,
    MEPC = 0x341, MIP = 0x344, MSECCFG = 0x747, TSELECT = 0x7a0, MCYCLE = 0xb00, MINSTRET = 0xb02,
    MHPMCOUNTER31 = 0xb1f, CYCLE = 0xc00, TIME = 0xc01, INSTRET = 0xc02, HPMCOUNTER3 = 0xc03,
    MVENDORID = 0xf11, MHARTID = 0xf14, MCONFIGPTR = 0xf15
};

static struct rig rig_;

static int setup(void **state)
{
    rig_init(&rig_, false);
    *state = &rig_;
    return 0;
}

static int teardown(void **state)
{
    rig_fini(*state);
    return 0;
}

static uint64_t get(struct rv_hart *h, unsigned csr)
{
    uint64_t v = 0;

    assert_true(rig_csr_read(h, csr, &v));
    return v;
}

static uint64_t put_get(struct rv_hart *h, unsigned csr, uint64_t value)
{
    assert_true(rig_csr_write(h, csr, value));
    return get(h, csr);
}

static bool readable(struct rv_hart *h, unsigned csr)
{
    uint64_t v;

    return rig_csr_read(h, csr, &v);
}

static void test_unknown_numbers_are_illegal(void **state)
{
    struct rv_hart *h = ((struct rig *)*state)->h;
    static const unsigned absent[] = {0x000, MSECCFG, 0x3a1, 0x200, 0x600, 0x5a8, 0x7b0, 0xc20, 0xfff};

    for (unsigned i = 0; i < SIM_ARRAY_LEN(absent); i++) {
        h->trap_cause = 99;
        assert_false(readable(h, absent[i]));
        assert_int_equal(h->trap_cause, RV_EXC_ILLEGAL);
        assert_int_equal(h->trap_tval, 0x1234); /* the instruction */
    }
}

static void test_privilege_is_in_the_number(void **state)
{
    struct rv_hart *h = ((struct rig *)*state)->h;

    assert_true(readable(h, MSCRATCH));
    assert_true(readable(h, SSCRATCH));
    rig_set_priv(h, RV_S);
    assert_false(readable(h, MSCRATCH));
    assert_true(readable(h, SSCRATCH));
    rig_set_priv(h, RV_U);
    assert_false(readable(h, SSCRATCH));
    assert_false(rig_csr_write(h, SSCRATCH, 1));
}

static void test_read_only_numbers(void **state)
{
    struct rv_hart *h = ((struct rig *)*state)->h;

    h->hartid = 5;
    assert_int_equal(get(h, MHARTID), 5);
    assert_int_equal(get(h, MVENDORID), 0);
    assert_int_equal(get(h, MCONFIGPTR), 0);
    assert_false(rig_csr_write(h, MHARTID, 1));
    assert_false(rig_csr_write(h, CYCLE, 1));
}

static void test_misa_tells_the_extensions(void **state)
{
    struct rv_hart *h = ((struct rig *)*state)->h;
    uint64_t want = 2ull << 62 | 1 << 0 | 1 << 2 | 1 << 3 | 1 << 5 | 1 << 8 | 1 << 12 | 1 << 18 |
                    1 << 20;

    assert_int_equal(put_get(h, MISA, 0), want);
}

static void test_mstatus_fields(void **state)
{
    struct rv_hart *h = ((struct rig *)*state)->h;
    uint64_t fixed = MSTATUS_UXL64 | MSTATUS_SXL64;
    uint64_t all = MSTATUS_SIE | MSTATUS_MIE | MSTATUS_SPIE | MSTATUS_MPIE | MSTATUS_SPP |
                   MSTATUS_MPP | MSTATUS_FS | MSTATUS_MPRV | MSTATUS_SUM | MSTATUS_MXR |
                   MSTATUS_TVM | MSTATUS_TW | MSTATUS_TSR;

    assert_int_equal(put_get(h, MSTATUS, 0), fixed);
    assert_int_equal(put_get(h, MSTATUS, ~0ull), all | fixed | MSTATUS_SD);
    /* MPP = 2 is no mode: the field keeps its value */
    assert_int_equal(put_get(h, MSTATUS, 1ull << MSTATUS_MPP_SHIFT) & MSTATUS_MPP,
                     1ull << MSTATUS_MPP_SHIFT);
    assert_int_equal(put_get(h, MSTATUS, 2ull << MSTATUS_MPP_SHIFT) & MSTATUS_MPP,
                     1ull << MSTATUS_MPP_SHIFT);
}

static void test_sstatus_is_a_view(void **state)
{
    struct rv_hart *h = ((struct rig *)*state)->h;

    assert_true(rig_csr_write(h, MSTATUS, ~0ull));
    assert_int_equal(get(h, SSTATUS), MSTATUS_SIE | MSTATUS_SPIE | MSTATUS_SPP | MSTATUS_FS |
                                          MSTATUS_SUM | MSTATUS_MXR | MSTATUS_UXL64 | MSTATUS_SD);
    assert_true(rig_csr_write(h, SSTATUS, 0));
    assert_int_equal(get(h, SSTATUS), MSTATUS_UXL64);
    assert_true(get(h, MSTATUS) & MSTATUS_MIE); /* not in the view */
    assert_true(get(h, MSTATUS) & MSTATUS_TVM);
}

static void test_fs_dirty(void **state)
{
    struct rv_hart *h = ((struct rig *)*state)->h;

    assert_true(rig_csr_write(h, MSTATUS, 2ull << MSTATUS_FS_SHIFT));
    assert_int_equal(get(h, MSTATUS) & (MSTATUS_FS | MSTATUS_SD), 2ull << MSTATUS_FS_SHIFT);
    h->fs_dirty = 1; /* as an FP instruction leaves it */
    assert_int_equal(get(h, SSTATUS) & (MSTATUS_FS | MSTATUS_SD), MSTATUS_FS | MSTATUS_SD);
    assert_true(rig_csr_write(h, SSTATUS, 1ull << MSTATUS_FS_SHIFT));
    assert_int_equal(get(h, SSTATUS) & (MSTATUS_FS | MSTATUS_SD), 1ull << MSTATUS_FS_SHIFT);
}

static void test_fcsr(void **state)
{
    struct rv_hart *h = ((struct rig *)*state)->h;

    assert_false(readable(h, FCSR)); /* FS is off */
    assert_true(rig_csr_write(h, MSTATUS, 1ull << MSTATUS_FS_SHIFT));
    assert_int_equal(put_get(h, FCSR, ~0ull), 0xff);
    assert_int_equal(get(h, FRM), 7);
    assert_int_equal(get(h, FFLAGS), 31);
    assert_int_equal(get(h, MSTATUS) & MSTATUS_FS, MSTATUS_FS);
    assert_int_equal(put_get(h, FFLAGS, 0), 0);
    assert_int_equal(put_get(h, FRM, 2), 2);
    assert_int_equal(get(h, FCSR), 2 << 5);
}

static void test_fcsr_without_f(void **state)
{
    struct rig r;
    struct rv_isa isa = rig_isa_without(RV_EXT_D);

    (void)state;
    isa.ext &= ~(1ull << RV_EXT_F);
    rig_init_isa(&r, false, isa);
    assert_int_equal(put_get(r.h, MSTATUS, ~0ull) & (MSTATUS_FS | MSTATUS_SD), 0);
    assert_false(readable(r.h, FCSR));
    rig_fini(&r);
}

static void test_set_and_clear_bits(void **state)
{
    struct rv_hart *h = ((struct rig *)*state)->h;
    struct rv_insn i = {.raw = 1, .len = 4};
    uint64_t old;

    assert_true(rig_csr_write(h, MSCRATCH, 0xf0));
    assert_int_equal(rv_csr_rmw(h, &i, MSCRATCH, &old, true, 0x0f, ~0ull), RV_NEXT);
    assert_int_equal(old, 0xf0);
    assert_int_equal(get(h, MSCRATCH), 0xff);
    assert_int_equal(rv_csr_rmw(h, &i, MSCRATCH, &old, true, 0x3c, 0), RV_NEXT);
    assert_int_equal(old, 0xff);
    assert_int_equal(get(h, MSCRATCH), 0xc3);
    assert_int_equal(rv_csr_rmw(h, &i, SATP, NULL, true, ~0ull, 0), RV_SYNC);
}

static void test_interrupt_csrs_stop_only_for_a_deliverable_interrupt(void **state)
{
    struct rv_hart *h = ((struct rig *)*state)->h;
    struct irq_line pin = rv_hart_irq(&h->vcpu, 11);
    struct rv_insn i = {.raw = 1, .len = 4};

    assert_int_equal(rv_csr_rmw(h, &i, MSTATUS, NULL, true, MSTATUS_MIE, ~0ull), RV_NEXT);
    irq_set(&pin, true);
    assert_int_equal(rv_csr_rmw(h, &i, MIE, NULL, true, MIP_MEIP, ~0ull), RV_SYNC);
    assert_int_equal(rv_csr_rmw(h, &i, MSTATUS, NULL, true, MSTATUS_MIE, 0), RV_NEXT);
    assert_int_equal(rv_csr_rmw(h, &i, MSTATUS, NULL, true, MSTATUS_MIE, ~0ull), RV_SYNC);
}

static void test_delegation_masks(void **state)
{
    struct rv_hart *h = ((struct rig *)*state)->h;

    assert_int_equal(put_get(h, MEDELEG, ~0ull), 0xb3ff);
    assert_int_equal(put_get(h, MIDELEG, ~0ull), 0x222);
    assert_int_equal(put_get(h, MIE, ~0ull), 0xaaa);
}

static void test_sie_and_sip_are_views_of_what_is_delegated(void **state)
{
    struct rv_hart *h = ((struct rig *)*state)->h;

    assert_true(rig_csr_write(h, MIE, MIP_S_ALL | MIP_MTIP));
    assert_int_equal(get(h, SIE), 0);
    assert_true(rig_csr_write(h, MIDELEG, MIP_SSIP | MIP_SEIP));
    assert_int_equal(get(h, SIE), MIP_SSIP | MIP_SEIP);
    assert_true(rig_csr_write(h, SIE, 0));
    assert_int_equal(get(h, MIE), MIP_STIP | MIP_MTIP);
    assert_true(rig_csr_write(h, MIP, MIP_S_ALL | MIP_M_ALL));
    assert_int_equal(get(h, MIP), MIP_S_ALL);
    assert_int_equal(get(h, SIP), MIP_SSIP | MIP_SEIP);
    assert_true(rig_csr_write(h, SIP, 0));
    assert_int_equal(get(h, MIP), MIP_STIP | MIP_SEIP); /* only SSIP is writable in sip */
}

static void test_seip_is_the_pin_or_the_software_bit(void **state)
{
    struct rv_hart *h = ((struct rig *)*state)->h;
    struct irq_line pin = rv_hart_irq(&h->vcpu, 9);
    struct rv_insn i = {.raw = 1, .len = 4};
    uint64_t old;

    irq_set(&pin, true);
    assert_int_equal(get(h, MIP), MIP_SEIP);
    /* setting SSIP must not copy the pin into the software bit */
    assert_int_equal(rv_csr_rmw(h, &i, MIP, &old, true, MIP_SSIP, ~0ull), RV_NEXT);
    assert_int_equal(old, MIP_SEIP);
    irq_set(&pin, false);
    assert_int_equal(get(h, MIP), MIP_SSIP);
    assert_true(rig_csr_write(h, MIP, MIP_SEIP));
    irq_set(&pin, true);
    irq_set(&pin, false);
    assert_int_equal(get(h, MIP), MIP_SEIP);
}

static void test_ssip_line_is_an_edge(void **state)
{
    struct rv_hart *h = ((struct rig *)*state)->h;
    struct irq_line ssip = rv_hart_irq(&h->vcpu, 1);

    irq_pulse(&ssip);
    assert_int_equal(get(h, MIP), MIP_SSIP);
    assert_int_equal(put_get(h, MIP, 0), 0);
    irq_set(&ssip, true);
    irq_set(&ssip, true);
    assert_int_equal(put_get(h, MIP, 0), 0);
}

/* ---- an interrupt from another hart comes while the mask has other bits ---- */

enum { CHANGES = 20000, LOOKS = 40 };

struct ipi_race {
    struct rv_hart *h;
    unsigned csr;
    uint64_t mask;
    atomic_uint changes; /* made by the hart */
};

static void *change_other_bits(void *arg)
{
    struct ipi_race *race = arg;
    struct rv_insn i = {.raw = 1, .len = 4};
    uint64_t old;

    while (atomic_load(&race->changes) < CHANGES) {
        (void)rv_csr_rmw(race->h, &i, race->csr, &old, true, race->mask, UINT64_MAX); /* CSRRS */
        (void)rv_csr_rmw(race->h, &i, race->csr, &old, true, race->mask, 0);          /* CSRRC */
        atomic_fetch_add(&race->changes, 2);
    }
    return NULL;
}

/* How often SSIP was gone although nobody had cleared it. */
static unsigned lost_ipis(struct ipi_race *race)
{
    struct irq_line ssip = rv_hart_irq(&race->h->vcpu, 1);
    unsigned lost = 0;

    while (atomic_load(&race->changes) < CHANGES) {
        bool pending = true;
        irq_pulse(&ssip);
        for (unsigned look = 0; look < LOOKS && pending; look++)
            pending = atomic_load(&race->h->irq_pins) & MIP_SSIP;
        lost += !pending;
        atomic_fetch_and(&race->h->irq_pins, ~MIP_SSIP);
    }
    return lost;
}

static void regress_2_ipi_survives_changes_of_other_bits(void **state)
{
    static const struct {
        unsigned csr;
        uint64_t mask;
    } rows[] = {{MIP, MIP_SEIP}, {MIP, MIP_STIP | MIP_SEIP}, {SIP, MIP_SEIP}};
    struct rv_hart *h = ((struct rig *)*state)->h;

    assert_true(rig_csr_write(h, MIDELEG, MIP_S_ALL));
    for (size_t n = 0; n < SIM_ARRAY_LEN(rows); n++) {
        struct ipi_race race = {.h = h, .csr = rows[n].csr, .mask = rows[n].mask};
        struct sim_thread hart;
        assert_int_equal(sim_thread_start(&hart, "hart", change_other_bits, &race), SIM_OK);
        unsigned lost = lost_ipis(&race);
        sim_thread_join(&hart);
        assert_int_equal(lost, 0);
    }
}

/* CSRRW's mask has everything: it does clear SSIP. */
static void test_csrrw_of_mip_and_sip_writes_ssip(void **state)
{
    struct rv_hart *h = ((struct rig *)*state)->h;

    assert_true(rig_csr_write(h, MIDELEG, MIP_SSIP));
    assert_int_equal(put_get(h, MIP, MIP_SSIP), MIP_SSIP);
    assert_int_equal(put_get(h, SIP, 0), 0);
    assert_int_equal(put_get(h, SIP, MIP_SSIP), MIP_SSIP);
    assert_int_equal(put_get(h, MIP, 0), 0);
}

static void test_tvec_and_epc_alignment(void **state)
{
    struct rv_hart *h = ((struct rig *)*state)->h;

    assert_int_equal(put_get(h, MTVEC, 0x80000003), 0x80000001);
    assert_int_equal(put_get(h, STVEC, 0x80000002), 0x80000000);
    assert_int_equal(put_get(h, MEPC, 0x1003), 0x1002);
    assert_int_equal(put_get(h, SEPC, 0x1003), 0x1002);
}

static void test_epc_alignment_without_c(void **state)
{
    struct rig r;

    (void)state;
    rig_init_isa(&r, false, rig_isa_without(RV_EXT_C));
    assert_int_equal(put_get(r.h, MEPC, 0x1003), 0x1000);
    rig_fini(&r);
}

static void test_envcfg(void **state)
{
    struct rv_hart *h = ((struct rig *)*state)->h;
    uint64_t all = ENVCFG_FIOM | ENVCFG_CBIE | ENVCFG_CBCFE | ENVCFG_CBZE;

    assert_int_equal(get(h, MENVCFG), ENVCFG_ADUE);
    assert_int_equal(put_get(h, MENVCFG, ~0ull), all | ENVCFG_ADUE | ENVCFG_PBMTE | ENVCFG_STCE);
    assert_int_equal(put_get(h, SENVCFG, ~0ull), all);
    assert_int_equal(put_get(h, SENVCFG, 2ull << ENVCFG_CBIE_SHIFT), ENVCFG_CBIE); /* reserved */
    assert_int_equal(put_get(h, SENVCFG, 0), 0);
}

static void test_envcfg_follows_extensions(void **state)
{
    struct rig r;
    struct rv_isa isa = rig_isa();

    (void)state;
    isa.ext &= ~(1ull << RV_EXT_SSTC | 1ull << RV_EXT_SVADU | 1ull << RV_EXT_ZICBOM);
    rig_init_isa(&r, false, isa);
    assert_int_equal(put_get(r.h, MENVCFG, ~0ull), ENVCFG_FIOM | ENVCFG_CBZE | ENVCFG_PBMTE);
    assert_false(readable(r.h, STIMECMP));
    rig_fini(&r);
}

static void test_satp_modes(void **state)
{
    struct rv_hart *h = ((struct rig *)*state)->h;
    uint64_t sv39 = 8ull << 60 | 0xffffull << 44 | 0x123;

    assert_int_equal(put_get(h, SATP, sv39), sv39);
    assert_int_equal(put_get(h, SATP, 7ull << 60), sv39);  /* reserved: unchanged */
    assert_int_equal(put_get(h, SATP, 11ull << 60), sv39); /* Sv64 */
    assert_int_equal(put_get(h, SATP, 10ull << 60 | 5), 10ull << 60 | 5);
    assert_int_equal(put_get(h, SATP, 0), 0);
}

static void test_satp_without_sv57(void **state)
{
    struct rig r;

    (void)state;
    rig_init_isa(&r, false, rig_isa_without(RV_EXT_SV57));
    assert_int_equal(put_get(r.h, SATP, 10ull << 60 | 5), 0);
    assert_int_equal(put_get(r.h, SATP, 9ull << 60 | 5), 9ull << 60 | 5);
    rig_fini(&r);
}

static void test_tvm_closes_satp_to_s(void **state)
{
    struct rv_hart *h = ((struct rig *)*state)->h;

    assert_true(rig_csr_write(h, MSTATUS, MSTATUS_TVM));
    assert_true(readable(h, SATP)); /* M */
    rig_set_priv(h, RV_S);
    assert_false(readable(h, SATP));
    assert_false(rig_csr_write(h, SATP, 0));
}

static void test_counters_count(void **state)
{
    struct rv_hart *h = ((struct rig *)*state)->h;

    h->slice = 100;
    h->budget = 60; /* 40 retired */
    assert_int_equal(get(h, MINSTRET), 40);
    assert_int_equal(get(h, MCYCLE), 40);
    assert_int_equal(get(h, INSTRET), 40);
    assert_true(rig_csr_write(h, MINSTRET, 1000));
    h->budget--; /* the CSRRW retires */
    assert_int_equal(get(h, MINSTRET), 1000);
    h->budget -= 5;
    assert_int_equal(get(h, MINSTRET), 1005);
    assert_int_equal(get(h, MCYCLE), 46);
}

static void test_counters_stop(void **state)
{
    struct rv_hart *h = ((struct rig *)*state)->h;

    h->slice = h->budget = 100;
    assert_true(rig_csr_write(h, MINSTRET, 7));
    h->budget--;
    assert_int_equal(put_get(h, MCOUNTINHIBIT, ~0ull), COUNTEREN_CY | COUNTEREN_IR);
    h->budget -= 50;
    assert_int_equal(get(h, MINSTRET), 8); /* the write itself */
    assert_true(rig_csr_write(h, MCOUNTINHIBIT, 0));
    h->budget--;
    assert_int_equal(get(h, MINSTRET), 9);
    h->budget -= 3;
    assert_int_equal(get(h, MINSTRET), 12);
}

static void test_counteren_chain(void **state)
{
    struct rv_hart *h = ((struct rig *)*state)->h;

    rig_set_priv(h, RV_S);
    assert_false(readable(h, CYCLE));
    h->mcounteren = COUNTEREN_CY | 1u << 3;
    assert_true(readable(h, CYCLE));
    assert_false(readable(h, TIME));
    assert_true(readable(h, HPMCOUNTER3));
    rig_set_priv(h, RV_U);
    assert_false(readable(h, CYCLE));
    h->scounteren = COUNTEREN_CY;
    assert_true(readable(h, CYCLE));
    assert_false(readable(h, HPMCOUNTER3));
    h->mcounteren = 0;
    assert_false(readable(h, CYCLE)); /* both are needed */
}

static void test_hpm_counters_are_zero(void **state)
{
    struct rv_hart *h = ((struct rig *)*state)->h;

    assert_int_equal(put_get(h, MHPMCOUNTER31, ~0ull), 0);
    assert_int_equal(put_get(h, MHPMEVENT3, ~0ull), 0);
    assert_int_equal(get(h, HPMCOUNTER3), 0);
    assert_int_equal(put_get(h, TSELECT, 3), 0);
}

static void test_stimecmp_gates(void **state)
{
    struct rv_hart *h = ((struct rig *)*state)->h;

    assert_true(readable(h, STIMECMP)); /* M */
    rig_set_priv(h, RV_S);
    h->mcounteren = COUNTEREN_TM;
    assert_false(readable(h, STIMECMP));
    h->menvcfg |= ENVCFG_STCE;
    assert_true(readable(h, STIMECMP));
    h->mcounteren = 0;
    assert_false(readable(h, STIMECMP));
}

static void test_stimecmp_drives_stip(void **state)
{
    struct rv_hart *h = ((struct rig *)*state)->h;

    assert_int_equal(put_get(h, MIP, MIP_STIP), MIP_STIP); /* software's while STCE is off */
    assert_true(rig_csr_write(h, STIMECMP, 0));
    assert_true(rig_csr_write(h, MIP, 0));
    assert_int_equal(get(h, MIP), 0);
    assert_true(rig_csr_write(h, MIP, MIP_STIP));
    assert_true(rig_csr_write(h, MENVCFG, ENVCFG_STCE));
    assert_int_equal(get(h, MIP), MIP_STIP);
    assert_int_equal(put_get(h, MIP, 0), MIP_STIP); /* read-only now */
    assert_true(rig_csr_write(h, STIMECMP, ~0ull));
    assert_int_equal(get(h, MIP), 0);
}

static void test_time_follows_the_clock(void **state)
{
    struct rig *r = *state;
    uint64_t a = get(r->h, TIME), b = rv_machine_time(r->m);

    assert_true(b >= a && b - a < 10000000);
    assert_int_equal(rv_machine_tick_to_ns(r->m, 123), 12300);
    assert_int_equal(rv_machine_tick_to_ns(r->m, UINT64_MAX), VTIME_NEVER);
}

/* What a guest writes to mtime is what `time` shows, and what stimecmp is compared with. */
static void regress_2_time_mirrors_a_written_mtime(void **state)
{
    const uint64_t hour = 3600ull * 10000000, jump = 5 * hour;
    struct rig *r = *state;
    struct rv_hart *h = r->h;

    h->stopped = 0;
    assert_true(rig_csr_write(h, MENVCFG, ENVCFG_STCE));
    assert_true(rig_csr_write(h, MIE, MIP_STIP));
    assert_true(rig_csr_write(h, STIMECMP, hour));
    assert_int_equal(get(h, MIP), 0);
    atomic_store(&h->vcpu.kick, 0);
    rv_machine_set_time_offset(r->m, jump);
    assert_int_equal(atomic_load(&h->vcpu.kick), 1); /* it may sleep until the old deadline */
    assert_in_range(get(h, TIME), jump, jump + hour);
    assert_int_equal(get(h, MIP), MIP_STIP);
    assert_true(rig_csr_write(h, STIMECMP, jump + hour));
    assert_int_equal(get(h, MIP), 0);
    assert_in_range(h->vcpu.ops->deadline(&h->vcpu), 3500 * 1000000000ull, 3700 * 1000000000ull);
    rv_machine_set_time_offset(r->m, 0 - hour); /* back: before zero is far ahead */
    assert_in_range(get(h, TIME), 0 - hour, 0 - 1ull);
    assert_true(rig_csr_write(h, STIMECMP, UINT64_MAX - 1));
    assert_in_range(h->vcpu.ops->deadline(&h->vcpu), 3500 * 1000000000ull, 3700 * 1000000000ull);
}

static void test_machine_without_s_or_u(void **state)
{
    struct rig r;
    struct rv_isa isa = rig_isa();

    (void)state;
    isa.ext &= ~(1ull << RV_EXT_S | 1ull << RV_EXT_U);
    rig_init_isa(&r, false, isa);
    assert_false(readable(r.h, SSCRATCH));
    assert_false(readable(r.h, MEDELEG));
    assert_false(readable(r.h, MCOUNTEREN));
    assert_int_equal(put_get(r.h, MIE, ~0ull), MIP_M_ALL);
    assert_int_equal(put_get(r.h, MSTATUS, 0) & MSTATUS_MPP, 0); /* reset value: nothing fits */
    assert_int_equal(put_get(r.h, MSTATUS, ~0ull),
                     MSTATUS_MIE | MSTATUS_MPIE | MSTATUS_MPP | MSTATUS_FS | MSTATUS_SD);
    rig_fini(&r);
}

static void test_built_in_sbi_state(void **state)
{
    struct rig r;

    (void)state;
    rig_init(&r, true);
    assert_int_equal(r.h->priv, RV_S);
    assert_int_equal(r.h->medeleg, 0xb1ff);
    assert_int_equal(r.h->mideleg, 0x222);
    assert_true(readable(r.h, STIMECMP));
    assert_true(readable(r.h, TIME));
    assert_false(readable(r.h, MSCRATCH));
    assert_int_equal(r.h->stimecmp, UINT64_MAX);
    rig_fini(&r);
}

int main(void)
{
#define TEST(f) cmocka_unit_test_setup_teardown(f, setup, teardown)
    const struct CMUnitTest tests[] = {
        TEST(test_unknown_numbers_are_illegal),
        TEST(test_privilege_is_in_the_number),
        TEST(test_read_only_numbers),
        TEST(test_misa_tells_the_extensions),
        TEST(test_mstatus_fields),
        TEST(test_sstatus_is_a_view),
        TEST(test_fs_dirty),
        TEST(test_fcsr),
        cmocka_unit_test(test_fcsr_without_f),
        TEST(test_set_and_clear_bits),
        TEST(test_interrupt_csrs_stop_only_for_a_deliverable_interrupt),
        TEST(test_delegation_masks),
        TEST(test_sie_and_sip_are_views_of_what_is_delegated),
        TEST(test_seip_is_the_pin_or_the_software_bit),
        TEST(test_ssip_line_is_an_edge),
        TEST(regress_2_ipi_survives_changes_of_other_bits),
        TEST(test_csrrw_of_mip_and_sip_writes_ssip),
        TEST(test_tvec_and_epc_alignment),
        cmocka_unit_test(test_epc_alignment_without_c),
        TEST(test_envcfg),
        cmocka_unit_test(test_envcfg_follows_extensions),
        TEST(test_satp_modes),
        cmocka_unit_test(test_satp_without_sv57),
        TEST(test_tvm_closes_satp_to_s),
        TEST(test_counters_count),
        TEST(test_counters_stop),
        TEST(test_counteren_chain),
        TEST(test_hpm_counters_are_zero),
        TEST(test_stimecmp_gates),
        TEST(test_stimecmp_drives_stip),
        TEST(test_time_follows_the_clock),
        TEST(regress_2_time_mirrors_a_written_mtime),
        cmocka_unit_test(test_machine_without_s_or_u),
        cmocka_unit_test(test_built_in_sbi_state),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
