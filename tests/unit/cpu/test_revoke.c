/* Pages taken away from harts (distributed memory): what a hart forgets, and when it must have. */
#include "page_tables.h"

#define PAGE_A (RAM_BASE + 0x100000)
#define PAGE_B (RAM_BASE + 0x101000)
#define LD(rd, base, imm) (0x3003u | (rd) << 7 | (base) << 15 | ((uint32_t)(imm) & 0xfff) << 20)
#define ECALL 0x73u
#define WFI 0x10500073u

static struct rig rig_;
static struct tables t_;

static int setup(void **state)
{
    rig_init(&rig_, true);
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

static void fill(struct rv_hart *h, gva_t va, gpa_t gpa)
{
    uint64_t v;

    pt_map(&t_, va, gpa, 0, RWXAD);
    assert_true(rv_load(h, va, 8, &v));
    assert_true(rv_store(h, va, 8, 1));
}

static bool readable(struct rv_hart *h, gva_t va)
{
    return rv_tlb_way0(h, va)->tag_r == va;
}

static bool writable(struct rv_hart *h, gva_t va)
{
    return rv_tlb_way0(h, va)->tag_w == va;
}

static void revoke(struct rig *r, gpa_t gpa, bool write_only)
{
    rv_machine_revoke(r->m, 1, &gpa, &write_only);
    rv_revokes_serve(r->h);
}

static void test_taken_away_at_the_next_look(void **state)
{
    struct rig *r = *state;
    const gpa_t gpa = PAGE_A;
    const bool write_only = false;

    fill(r->h, 0x1000, PAGE_A);
    fill(r->h, 0x2000, PAGE_B);
    rv_machine_revoke(r->m, 1, &gpa, &write_only); /* the hart does not run: returns at once, and no kick */
    assert_int_equal(atomic_load(&r->h->vcpu.kick), 0);
    assert_true(readable(r->h, 0x1000));
    rv_requests_serve(r->h);
    assert_false(readable(r->h, 0x1000));
    assert_false(writable(r->h, 0x1000));
    assert_true(readable(r->h, 0x2000));
    assert_true(writable(r->h, 0x2000));
}

static void test_write_only_leaves_reading(void **state)
{
    struct rig *r = *state;

    fill(r->h, 0x1000, PAGE_A);
    revoke(r, PAGE_A, true);
    assert_true(readable(r->h, 0x1000));
    assert_false(writable(r->h, 0x1000));
}

/* All mappings of the page go, whatever their addresses. */
static void test_every_mapping_goes(void **state)
{
    struct rig *r = *state;

    fill(r->h, 0x1000, PAGE_A);
    fill(r->h, 0x7000, PAGE_A);
    revoke(r, PAGE_A, false);
    assert_false(readable(r->h, 0x1000));
    assert_false(readable(r->h, 0x7000));
}

static void test_fetch_entries_go(void **state)
{
    struct rig *r = *state;
    gpa_t gpa;

    fill(r->h, 0x1000, PAGE_A);
    assert_non_null(rv_fetch_page(r->h, 0x1000, &gpa));
    assert_true(rv_fetch_whole(r->h, 0x1000));
    revoke(r, PAGE_A, true);
    assert_true(rv_fetch_whole(r->h, 0x1000));
    revoke(r, PAGE_A, false);
    assert_false(rv_fetch_whole(r->h, 0x1000));
}

/* Slots of translated code outlive a displaced entry: they go with the page as well. */
static void test_slots_go(void **state)
{
    struct rig *r = *state;
    struct rv_tlb_slot *slot = &r->h->tlb->slots[0];

    fill(r->h, 0x1000, PAGE_A);
    slot->lo = 0x1000;
    slot->addend = rv_tlb_way0(r->h, 0x1000)->addend;
    slot->limit = 4096 - 7;
    for (unsigned i = 1; i <= RV_TLB_WAYS; i++) /* the same set */
        fill(r->h, 0x1000 + (uint64_t)i * RV_TLB_SETS * 4096, PAGE_B);
    assert_int_equal(slot->limit, 4096 - 7);
    revoke(r, PAGE_A, false);
    assert_int_equal(slot->limit, 0);
}

/* A hart that has not looked for longer than the log reaches back forgets everything. */
static void test_log_goes_round(void **state)
{
    struct rig *r = *state;

    fill(r->h, 0x1000, PAGE_A);
    for (unsigned i = 0; i < RV_REVOKE_LOG + 3; i++) {
        const gpa_t gpa = PAGE_B;
        const bool write_only = true;
        rv_machine_revoke(r->m, 1, &gpa, &write_only);
    }
    rv_revokes_serve(r->h);
    assert_false(readable(r->h, 0x1000));
    assert_int_equal(atomic_load(&r->h->revokes_seen), atomic_load(&r->m->revoke.nr));
}

/* --- an SBI call, during which the hart does not count as running --- */

static bool nothing(void *opaque)
{
    (void)opaque;
    return false;
}
static const struct sim_ranks_ops lonely = {.poll = nothing};

static void revoke_meanwhile(void *opaque, uint8_t c)
{
    struct rig *r = opaque;
    const gpa_t gpa = PAGE_A;
    const bool write_only = false;

    (void)c;
    assert_int_equal(atomic_load(&r->h->vcpu.running), 0);
    rv_machine_revoke(r->m, 1, &gpa, &write_only);
}

/* Guest code goes on right after the call: it must not find the page that was taken meanwhile. */
static void regress_3_revoked_during_a_call(void **state)
{
    static const uint32_t code[] = {LD(5, 8, 0), ECALL, LD(6, 8, 0), WFI};
    static const struct rv_sbi_ops ops = {.putc = revoke_meanwhile};
    struct rig *r = *state;
    struct rv_hart *h = r->h;

    rig_put_code(r, RAM_BASE, code, SIM_ARRAY_LEN(code));
    rv_hart_start(&h->vcpu, RAM_BASE, 0, 0);
    h->x[8] = PAGE_A;
    h->x[16] = 2;          /* DBCN write byte */
    h->x[17] = 0x4442434e;
    r->m->config.sbi_ops = &ops;
    r->m->config.sbi_opaque = r;
    r->sim->ranks = &lonely;
    uint64_t fills = h->count.tlb_fills;
    assert_int_equal(h->vcpu.ops->run(&h->vcpu, 100), VCPU_EXIT_IDLE);
    assert_int_equal(h->count.tlb_fills - fills, 2);
}

int main(void)
{
#define T(f) cmocka_unit_test_setup_teardown(f, setup, teardown)
    const struct CMUnitTest tests[] = {
        T(test_taken_away_at_the_next_look),
        T(test_write_only_leaves_reading),
        T(test_every_mapping_goes),
        T(test_fetch_entries_go),
        T(test_slots_go),
        T(test_log_goes_round),
        T(regress_3_revoked_during_a_call),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
