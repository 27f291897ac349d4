/* Translated code on blocks of the soft TLB: it does what the interpreter does, which has none; each first write is seen; and who
 * translates code hears of everybody who might write it by a block. */
#include "jit_fixture.h"

#include "jit.h"
#include "jit_priv.h"
#include "page_tables.h"

#define LEAF (2ull << 20)
#define PAGE GUEST_PAGE_SIZE
#define RAM_LEAVES 32u
#define SPARE_LEAF 5u /* leaf 0 is code, 4 has page tables */
enum { T3 = 28, A2 = 12, A3 = 13, S2 = 18, S3 = 19 };
#define FENCE 0x0330000fu
#define FENCE_I 0x0000100fu

static uint32_t load_of(unsigned log2, unsigned rd, unsigned rs1, int imm)
{
    return (uint32_t)imm << 20 | rs1 << 15 | log2 << 12 | rd << 7 | 0x03;
}

static uint32_t store_of(unsigned log2, unsigned rs2, unsigned rs1, int imm)
{
    uint32_t u = (uint32_t)imm;

    return (u >> 5 & 0x7f) << 25 | rs2 << 20 | rs1 << 15 | log2 << 12 | (u & 31) << 7 | 0x23;
}

static uint32_t ld(unsigned rd, unsigned rs1, int imm)
{
    return load_of(3, rd, rs1, imm);
}

static uint32_t sd(unsigned rs2, unsigned rs1, int imm)
{
    return store_of(3, rs2, rs1, imm);
}

static uint32_t add(unsigned rd, unsigned rs1, unsigned rs2)
{
    return rs2 << 20 | rs1 << 15 | rd << 7 | 0x33;
}

static uint32_t slli(unsigned rd, unsigned rs1, unsigned shift)
{
    return shift << 20 | rs1 << 15 | 1u << 12 | rd << 7 | 0x13;
}

static uint32_t jalr(unsigned rd, unsigned rs1)
{
    return rs1 << 15 | rd << 7 | 0x67;
}

static uint32_t blt(unsigned rs1, unsigned rs2, int off)
{
    return bne(rs1, rs2, off) ^ (1u ^ 4u) << 12;
}

static gpa_t leaf(unsigned n)
{
    return RAM_BASE + n * LEAF;
}

/* --- a machine in S mode, all of whose memory is mapped where it is, in leaves of 2 MiB --- */

struct machine {
    struct rig r;
    struct tables t;
};

static struct rv_hart *add_hart(struct machine *m)
{
    struct rv_isa isa = rig_isa();
    struct rv_hart *h = rig_add_hart(&m->r, &isa);

    rv_hart_start(&h->vcpu, RAM_BASE, 0, 0);
    h->satp = pt_satp(SATP_SV39, 1);
    rig_set_priv(h, RV_S);
    return h;
}

static void start(struct machine *m, bool jit, enum rv_jit_tier tier)
{
    struct rig *r = &m->r;

    memset(m, 0, sizeof *m);
    assert_int_equal(sim_create(&r->sim), SIM_OK);
    assert_int_equal(mem_space_create(r->sim, &r->space), SIM_OK);
    assert_int_equal(mem_add_ram(r->space, "ram", RAM_BASE, RAM_LEAVES * LEAF), SIM_OK);
    assert_int_equal(mem_seal_ram(r->space), SIM_OK);
    struct rv_machine_config config = {.sim = r->sim, .space = r->space, .sbi = true, .jit = jit, .jit_tier = tier};
    assert_int_equal(rv_machine_create(&config, &r->m), SIM_OK);
    if (jit && !r->m->jit)
        skip_because(SKIP_NO_JIT);
    pt_init(&m->t, r, SATP_SV39);
    for (unsigned n = 0; n < RAM_LEAVES; n++)
        pt_map(&m->t, leaf(n), leaf(n), 1, RWXAD);
    r->h = add_hart(m);
}

static void run_to(struct rv_hart *h, gpa_t from, gpa_t end)
{
    h->pc = from;
    for (unsigned n = 0; n < 2000 && h->pc != end; n++)
        (void)h->vcpu.ops->run(&h->vcpu, 10000);
    assert_int_equal(h->pc, end);
}

static uint64_t offset_of(gpa_t gpa)
{
    return gpa - RAM_BASE;
}

static void make_dirty(struct machine *m, gpa_t first, gpa_t end)
{
    for (gpa_t gpa = first; gpa < end; gpa += PAGE)
        mem_put_dirty(m->r.space, offset_of(gpa));
}

static bool is_dirty(struct machine *m, gpa_t gpa)
{
    return mem_is_dirty(m->r.space, offset_of(gpa));
}

static bool slots_have(const struct rv_tlb *t, gva_t va)
{
    bool have = false;

    for (unsigned n = 0; n < RV_TLB_SLOTS; n++)
        have |= va - t->slots[n].lo < t->slots[n].limit;
    return have;
}

/* --- as the interpreter does --- */

/* From a0 to t0 by steps of a1: what is loaded, a bit more and in several sizes, is stored elsewhere; a2 is a sum of all. */
static const uint32_t *walk_code(unsigned *nr)
{
    static uint32_t code[10];

    code[0] = ld(T2, A0, 0);
    code[1] = addi(T2, T2, 3);
    code[2] = sd(T2, A0, 72);
    code[3] = store_of(1, T2, A0, 130);
    code[4] = load_of(2, T1, A0, 70);
    code[5] = add(A2, A2, T1);
    code[6] = add(A2, A2, T2);
    code[7] = add(A0, A0, A1);
    code[8] = bne(A0, T0, -32);
    code[9] = J_SELF;
    *nr = SIM_ARRAY_LEN(code);
    return code;
}

static void walk(struct machine *m, gva_t from, uint64_t step, unsigned steps)
{
    struct rv_hart *h = m->r.h;

    h->x[A0] = from;
    h->x[A1] = step;
    h->x[T0] = from + steps * step;
    run_to(h, RAM_BASE, RAM_BASE + 36);
}

/* What devices left: here and there something, and marks with it. */
static void put_data(struct machine *m)
{
    uint8_t bytes[300];
    uint64_t seed = 42;

    for (gpa_t gpa = leaf(1); gpa < leaf(4); gpa += (seed >> 40) % 9 * 1000) {
        for (unsigned n = 0; n < sizeof bytes; n++)
            bytes[n] = (uint8_t)(gpa >> 7) ^ (uint8_t)(n * 37);
        assert_int_equal(mem_write(m->r.space, gpa, bytes, sizeof bytes), MEM_OK);
        seed = seed * 6364136223846793005 + 1442695040888963407;
        if ((seed >> 40) % 9 == 0)
            gpa += 40 * PAGE;
    }
}

static void start_walks(struct machine *m, bool jit, enum rv_jit_tier tier)
{
    unsigned nr;
    const uint32_t *code = walk_code(&nr);

    start(m, jit, tier);
    rig_put_code(&m->r, RAM_BASE, code, nr);
    put_data(m);
}

static void expect_same(struct machine *a, struct machine *b)
{
    assert_int_equal(a->r.h->x[A2], b->r.h->x[A2]);
    for (gpa_t gpa = RAM_BASE; gpa < leaf(RAM_LEAVES); gpa += PAGE) {
        if (memcmp(mem_ram_ptr(a->r.space, gpa, PAGE), mem_ram_ptr(b->r.space, gpa, PAGE), PAGE))
            fail_msg("page %llx differs", (unsigned long long)gpa);
        if (is_dirty(a, gpa) != is_dirty(b, gpa))
            fail_msg("page %llx is dirty in one only", (unsigned long long)gpa);
    }
}

static void check_walks(enum rv_jit_tier tier)
{
    static struct machine m[2];

    for (unsigned jit = 0; jit < 2; jit++) {
        start_walks(&m[jit], jit, tier);
        walk(&m[jit], leaf(1) + 8, 4096 + 24, 3 * 500);
        walk(&m[jit], leaf(1) + 3, 3 * 4096 + 40, 500);
        walk(&m[jit], leaf(1) + 16, 4096 + 24, 3 * 500);
        walk(&m[jit], leaf(4) - 4096, 0 - 4096ull, 3 * 512 - 2);
        walk(&m[jit], leaf(2) - 5000, 7, 1400);
    }
    struct rv_hart *h = m[true].r.h;
    expect_same(&m[false], &m[true]);
    assert_true(h->count.jit_insns > 40000);
    assert_true(rv_tlb_in_block(h->tlb, leaf(3), false));
    assert_true(rv_tlb_in_block(h->tlb, leaf(3) + 40 * PAGE, true));
    assert_true(slots_have(h->tlb, leaf(3)));
    for (gpa_t gpa = leaf(1); gpa < leaf(4); gpa += PAGE)
        assert_true(is_dirty(&m[true], gpa));
    rig_fini(&m[false].r);
    rig_fini(&m[true].r);
}

static void test_walks_over_superpages(void **state)
{
    (void)state;
    check_walks(RV_JIT_OPT);
}

static void test_walks_by_quick_translations(void **state)
{
    (void)state;
    check_walks(RV_JIT_QUICK);
}

/* What blocks are for: thousands of pages without a walk for each. */
static void test_loads_fill_little(void **state)
{
    const uint32_t code[] = {ld(T2, A0, 0), add(A2, A2, T2), add(A0, A0, A1), bne(A0, T0, -12), J_SELF};
    static struct machine m;

    (void)state;
    start(&m, true, RV_JIT_DEFAULT);
    rig_put_code(&m.r, RAM_BASE, code, SIM_ARRAY_LEN(code));
    for (gpa_t gpa = leaf(1); gpa < leaf(4); gpa += PAGE)
        rig_put64(&m.r, gpa, gpa);
    struct rv_hart *h = m.r.h;
    h->x[A0] = leaf(1);
    h->x[A1] = PAGE;
    h->x[T0] = leaf(4);
    run_to(h, RAM_BASE, RAM_BASE + 16);
    assert_int_equal(h->x[A2], (leaf(1) + leaf(4) - PAGE) * (3 * 512 / 2));
    assert_true(h->count.tlb_fills < 200);
    rig_fini(&m.r);
}

/* Neighbours in the address space that are not in memory: accesses over the border, of all sizes, and such that are checked
 * together. */
static void test_the_ends_of_blocks(void **state)
{
    static struct machine m[2];

    (void)state;
    for (unsigned jit = 0; jit < 2; jit++) {
        start_walks(&m[jit], jit, RV_JIT_DEFAULT);
        pt_map(&m[jit].t, leaf(3), leaf(7), 1, RWXAD);
        pt_map(&m[jit].t, leaf(1), leaf(6), 1, RWXAD);
        rv_tlb_flush_all(m[jit].r.h);
        make_dirty(&m[jit], leaf(1), leaf(4));
        make_dirty(&m[jit], leaf(6), leaf(8));
        for (unsigned round = 0; round < 3; round++) {
            walk(&m[jit], leaf(2) + 8, PAGE, 500); /* the block is leaf 2 */
            walk(&m[jit], leaf(3) - 1000, 1, 1500);
            walk(&m[jit], leaf(2) + 1000, 0 - 1ull, 1500);
            walk(&m[jit], leaf(3) - 4096, 8, 1000);
        }
    }
    assert_true(m[true].r.h->count.jit_insns > 100000);
    assert_true(rv_tlb_in_block(m[true].r.h->tlb, leaf(2), true));
    expect_same(&m[false], &m[true]);
    rig_fini(&m[false].r);
    rig_fini(&m[true].r);
}

/* --- what takes blocks away --- */

/* From a0 to t0 by a1: loads, and perhaps stores of a3; then a leaf gets the entry t2 at t1. */
enum { WALK_END = 20, REMAP = 24, REMAP_END = 32 };

static void put_remapping(struct machine *m, bool stores)
{
    const uint32_t code[] = {
        ld(T2, A0, 0),
        add(A2, A2, T2),
        stores ? sd(A3, A0, 8) : addi(0, 0, 0),
        add(A0, A0, A1),
        bne(A0, T0, -16),
        J_SELF,
        sd(T2, T1, 0),
        0x12000073u | A0 << 15, /* sfence.vma a0 */
        J_SELF,
    };

    rig_put_code(&m->r, RAM_BASE, code, SIM_ARRAY_LEN(code));
    for (gpa_t gpa = leaf(8); gpa < leaf(20); gpa += PAGE)
        rig_put64(&m->r, gpa, (gpa - RAM_BASE) / LEAF);
}

/* Three leaves; the last one, which a block has from the first load on, is replaced each time. */
static void check_remapping(bool stores)
{
    static struct machine m;
    struct rv_hart *h;

    start(&m, true, RV_JIT_DEFAULT);
    h = m.r.h;
    put_remapping(&m, stores);
    for (unsigned round = 0; round < 5; round++) {
        const unsigned last = round ? 12 + round : 10;

        h->x[A2] = 0;
        h->x[A0] = leaf(8);
        h->x[A1] = PAGE;
        h->x[T0] = leaf(11);
        h->x[A3] = 100 + round;
        run_to(h, RAM_BASE, RAM_BASE + WALK_END);
        assert_int_equal(h->x[A2], 512 * (8 + 9 + last));
        for (gpa_t gpa = leaf(last); stores && gpa < leaf(last + 1); gpa += PAGE)
            assert_int_equal(rig_get64(&m.r, gpa + 8), 100 + round);
        assert_true(rv_tlb_in_block(h->tlb, leaf(10), false));
        assert_int_equal(rv_tlb_in_block(h->tlb, leaf(10), true), stores);
        h->x[T1] = pt_slot(&m.t, leaf(10), 1);
        h->x[T2] = leaf(13 + round) >> 12 << 10 | RWXAD;
        h->x[A0] = leaf(10) + 77 * PAGE; /* any page of it */
        run_to(h, RAM_BASE + REMAP, RAM_BASE + REMAP_END);
    }
    rig_fini(&m.r);
}

static void test_a_remapped_leaf(void **state)
{
    (void)state;
    check_remapping(false);
    check_remapping(true);
}

/* Marks are taken as a checkpoint does; which pages were written afterwards is known exactly. */
static void test_written_pages_are_marked_again(void **state)
{
    static struct machine m;
    struct rv_hart *h;

    (void)state;
    start_walks(&m, true, RV_JIT_DEFAULT);
    h = m.r.h;
    make_dirty(&m, leaf(1), leaf(4));
    walk(&m, leaf(1) + 8, PAGE, 1000);
    for (unsigned round = 0; round < 4; round++) {
        assert_true(rv_tlb_in_block(h->tlb, leaf(1) + 200 * PAGE, true));
        for (gpa_t gpa = RAM_BASE; gpa < leaf(RAM_LEAVES); gpa += PAGE)
            mem_take_dirty(m.r.space, offset_of(gpa));
        rv_machine_write_protect(m.r.m);
        walk(&m, leaf(1) + round * PAGE, 3 * PAGE, 300); /* every third page */
        for (unsigned n = 0; n < 3 * 512; n++)
            assert_int_equal(is_dirty(&m, leaf(1) + n * PAGE), n >= round && n < 900 + round && (n - round) % 3 == 0);
        walk(&m, leaf(1) + 8, PAGE, 1000);
        walk(&m, leaf(1) + 8, PAGE, 1000);
    }
    rig_fini(&m.r);
}

/* --- code that another hart writes by a block --- */

/* From a0 to t0 by steps of t1: a1 is stored. */
static void put_store_loop(struct machine *m)
{
    const uint32_t code[] = {sd(A1, A0, 0), add(A0, A0, T1), bne(A0, T0, -8), J_SELF};

    rig_put_code(&m->r, RAM_BASE, code, SIM_ARRAY_LEN(code));
}

static void store_pages(struct rv_hart *h, gpa_t first, unsigned nr, uint64_t value)
{
    h->x[A0] = first;
    h->x[T0] = first + nr * PAGE;
    h->x[T1] = PAGE;
    h->x[A1] = value;
    run_to(h, RAM_BASE, RAM_BASE + 12);
}

/* a0 rises by `step` up to t0, in code at `page`, after a fence.i. */
static uint64_t count_at(struct machine *m, gpa_t page, uint64_t step, unsigned rounds)
{
    struct rv_hart *h = m->r.h;

    h->x[A0] = h->x[A1] = 0;
    h->x[T0] = step * rounds;
    h->x[T2] = page;
    run_to(h, RAM_BASE + PAGE, page + 12);
    return h->x[A1];
}

static void check_code_written(struct machine *m, struct rv_hart *writer, gpa_t page)
{
    const uint32_t call[] = {FENCE_I, jalr(0, T2)};
    const uint32_t old[] = {addi(A0, A0, 1), addi(A1, A1, 1), bne(A0, T0, -8), J_SELF};
    struct rv_machine_stats before, translated, after;

    rig_put_code(&m->r, RAM_BASE + PAGE, call, SIM_ARRAY_LEN(call));
    rig_put_code(&m->r, page, old, SIM_ARRAY_LEN(old));
    rv_machine_get_stats(m->r.m, &before);
    assert_int_equal(count_at(m, page, 1, 1000), 1000);
    rv_machine_get_stats(m->r.m, &translated);
    assert_true(translated.translations > before.translations);
    assert_true(mem_has_code(m->r.space, page));
    for (unsigned version = 2; version < 5; version++) {
        store_pages(writer, page, 1, (uint64_t)addi(A1, A1, 1) << 32 | addi(A0, A0, (int)version));
        rv_machine_get_stats(m->r.m, &after);
        assert_true(after.invalidations > translated.invalidations);
        assert_int_equal(count_at(m, page, version, 1000), 1000);
        translated = after;
    }
}

static void test_code_in_a_run_of_another_hart(void **state)
{
    static struct machine m;
    struct rv_hart *writer;

    (void)state;
    start(&m, true, RV_JIT_DEFAULT);
    writer = add_hart(&m);
    put_store_loop(&m);
    for (unsigned n = SPARE_LEAF; n < SPARE_LEAF + 6; n++) {
        struct rv_tlb *t;
        const gpa_t page = leaf(n) + 300 * PAGE;

        make_dirty(&m, leaf(n), leaf(n + 1));
        writer->satp = pt_satp(SATP_SV39, n);
        rv_tlb_select(writer);
        store_pages(writer, leaf(n), 100, n);
        store_pages(writer, leaf(n), 100, n);
        t = writer->tlb;
        assert_true(rv_tlb_in_block(t, page, true));
        assert_true(slots_have(t, page));
        if (n % 2) /* what it has not in use is taken away as well */
            writer->satp = pt_satp(SATP_SV39, 100 + n);
        rv_tlb_select(writer);
        check_code_written(&m, writer, page);
        writer->satp = pt_satp(SATP_SV39, n);
        rv_tlb_select(writer);
        check_code_written(&m, writer, page + PAGE); /* in the same area, by entries of its own now */
        assert_false(rv_tlb_in_block(writer->tlb, page, true));
    }
    rig_fini(&m.r);
}

/* The hart itself writes what it has translated. */
static void test_code_in_a_run_of_ones_own(void **state)
{
    static struct machine m;

    (void)state;
    for (unsigned harts = 1; harts < 3; harts++) {
        start(&m, true, RV_JIT_DEFAULT);
        if (harts == 2)
            (void)add_hart(&m);
        put_store_loop(&m);
        make_dirty(&m, leaf(SPARE_LEAF), leaf(SPARE_LEAF + 1));
        store_pages(m.r.h, leaf(SPARE_LEAF), 100, 1);
        store_pages(m.r.h, leaf(SPARE_LEAF), 100, 1);
        assert_true(slots_have(m.r.h->tlb, leaf(SPARE_LEAF) + 300 * PAGE));
        check_code_written(&m, m.r.h, leaf(SPARE_LEAF) + 300 * PAGE);
        rig_fini(&m.r);
    }
}

/* --- the same at once: the writer tells which version it has written, and older ones must not run any more --- */

enum { VERSIONS = 400, NR_PAGES = 24, WRITER_END = 52, CALLER_END = 20, CALLER_BAD = 24, MAX_CALLERS = 2 };

static void put_writer(struct machine *m)
{
    const uint32_t code[] = {
        addi(A3, A0, 0),
        store_of(2, T1, A3, 8), /* pages of the run, from a0 to t0 by a2 */
        add(A3, A3, A2),
        bne(A3, T0, -8),
        addi(T1, T1, 1), /* the version */
        slli(T3, T1, 20),
        addi(T3, T3, 0x513), /* addi a0, zero, version */
        store_of(2, T3, A1, 0),
        store_of(2, T3, S2, 0),
        FENCE,
        sd(T1, T2, 0),
        bne(T1, S3, -44),
        FENCE,
        J_SELF, /* WRITER_END */
    };

    rig_put_code(&m->r, RAM_BASE, code, SIM_ARRAY_LEN(code));
}

static void put_caller(struct machine *m)
{
    const uint32_t code[] = {
        ld(T1, T2, 0),
        FENCE_I,
        jalr(RA, A1),
        blt(A0, T1, CALLER_BAD - 12),
        bne(T1, S3, -16),
        J_SELF, /* CALLER_END */
        J_SELF, /* CALLER_BAD */
    };

    rig_put_code(&m->r, RAM_BASE + PAGE, code, SIM_ARRAY_LEN(code));
}

static void *write_versions(void *arg)
{
    struct rv_hart *h = arg;

    while (h->pc != RAM_BASE + WRITER_END)
        (void)h->vcpu.ops->run(&h->vcpu, 10000);
    return NULL;
}

static void *call_versions(void *arg)
{
    struct rv_hart *h = arg;

    while (h->pc != RAM_BASE + PAGE + CALLER_END && h->pc != RAM_BASE + PAGE + CALLER_BAD)
        (void)h->vcpu.ops->run(&h->vcpu, 10000);
    return NULL;
}

static void start_race(struct machine *m, struct rv_hart *writer, unsigned n, unsigned nr_callers, struct rv_hart *const caller[])
{
    const uint32_t function[] = {addi(A0, 0, 0), jalr(0, RA)};
    const gpa_t page = leaf(n) + 300 * PAGE, flag = leaf(1) + n * PAGE;

    make_dirty(m, leaf(n), leaf(n + 1));
    writer->x[A1] = page;
    writer->x[S2] = page + PAGE;
    writer->x[T2] = flag;
    writer->x[S3] = VERSIONS;
    writer->x[T1] = 0;
    writer->x[A0] = leaf(n);
    writer->x[A2] = PAGE;
    writer->x[T0] = leaf(n) + NR_PAGES * PAGE;
    writer->pc = RAM_BASE;
    for (unsigned c = 0; c < nr_callers; c++) {
        rig_put_code(&m->r, page + c * PAGE, function, SIM_ARRAY_LEN(function));
        caller[c]->x[A1] = page + c * PAGE;
        caller[c]->x[T2] = flag;
        caller[c]->x[S3] = VERSIONS;
        caller[c]->pc = RAM_BASE + PAGE;
    }
}

/* In a leaf where no code was: all callers translate some for the first time while the writer has its run. */
static void race_in(struct machine *m, struct rv_hart *writer, unsigned n, unsigned nr_callers, struct rv_hart *const caller[])
{
    struct sim_thread thread[MAX_CALLERS + 1];

    start_race(m, writer, n, nr_callers, caller);
    for (unsigned c = 0; c < nr_callers; c++)
        assert_int_equal(sim_thread_start(&thread[c], "caller", call_versions, caller[c]), SIM_OK);
    assert_int_equal(sim_thread_start(&thread[nr_callers], "writer", write_versions, writer), SIM_OK);
    for (unsigned c = 0; c <= nr_callers; c++)
        sim_thread_join(&thread[c]);
    for (unsigned c = 0; c < nr_callers; c++) {
        const struct rv_hart *h = caller[c];
        if (h->pc != RAM_BASE + PAGE + CALLER_END)
            fail_msg("leaf %u: version %llu runs after version %llu was written", n, (unsigned long long)h->x[A0],
                     (unsigned long long)h->x[T1]);
        assert_int_equal(h->x[A0], VERSIONS);
    }
}

static void check_races(unsigned nr_callers)
{
    static struct machine m;
    struct rv_hart *writer, *caller[MAX_CALLERS];

    start(&m, true, RV_JIT_DEFAULT);
    caller[0] = m.r.h;
    for (unsigned c = 1; c < nr_callers; c++)
        caller[c] = add_hart(&m);
    writer = add_hart(&m);
    put_writer(&m);
    put_caller(&m);
    for (unsigned n = SPARE_LEAF; n < RAM_LEAVES; n++)
        race_in(&m, writer, n, nr_callers, caller);
    rig_fini(&m.r);
}

static void test_code_is_written_while_it_is_translated(void **state)
{
    (void)state;
    for (unsigned n = 0; n < 4; n++)
        check_races(1);
}

static void test_two_translate_in_one_area(void **state)
{
    (void)state;
    for (unsigned n = 0; n < 4; n++)
        check_races(2);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_walks_over_superpages),
        cmocka_unit_test(test_walks_by_quick_translations),
        cmocka_unit_test(test_loads_fill_little),
        cmocka_unit_test(test_the_ends_of_blocks),
        cmocka_unit_test(test_a_remapped_leaf),
        cmocka_unit_test(test_written_pages_are_marked_again),
        cmocka_unit_test(test_code_in_a_run_of_another_hart),
        cmocka_unit_test(test_code_in_a_run_of_ones_own),
        cmocka_unit_test(test_code_is_written_while_it_is_translated),
        cmocka_unit_test(test_two_translate_in_one_area),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
