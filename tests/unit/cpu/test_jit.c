/* The JIT as an engine: what becomes hot is translated, budgets and kicks are kept, written code
 * and a full cache are forgotten, FP modes are told apart. (Semantics: tests/isa/lockstep.c.) */
#include "jit_fixture.h"

#include "jit.h"
#include "jit_priv.h"
#include "page_tables.h"

static uint32_t sw(unsigned rs2, unsigned rs1, int imm)
{
    uint32_t u = (uint32_t)imm;
    return (u >> 5 & 0x7f) << 25 | rs2 << 20 | rs1 << 15 | 2u << 12 | (u & 31) << 7 | 0x23;
}
#define FENCE_I 0x0000100fu

static int set_up_with(void **state, uint64_t cache, struct rv_isa isa)
{
    static struct rig rig;

    jit_rig_init(&rig, isa, RV_JIT_DEFAULT, cache);
    rig.h->pc = RAM_BASE;
    vcpu_enter(&rig.h->vcpu);
    *state = &rig;
    return 0;
}

static int set_up(void **state)
{
    return set_up_with(state, 0, rig_isa());
}

static int set_up_small_cache(void **state)
{
    return set_up_with(state, 128 << 10, rig_isa()); /* the runtime routines take 73 KiB */
}

static int set_up_medium_cache(void **state)
{
    return set_up_with(state, 1 << 20, rig_isa());
}

static int set_up_without_s(void **state)
{
    return set_up_with(state, 0, rig_isa_without(RV_EXT_S));
}

static int set_up_vectors(void **state)
{
    struct rv_isa isa;

    assert_int_equal(rv_isa_parse_cpu("rv64,v=on,vlen=128", &isa), SIM_OK);
    return set_up_with(state, 0, isa);
}

static void put_code(struct rig *r, gpa_t gpa, const uint32_t *code, unsigned n)
{
    assert_int_equal(mem_write(r->space, gpa, code, n * 4), MEM_OK);
}

/* Runs as the run loop would, without timer and interrupts; returns instructions retired. */
static uint64_t run(struct rig *r, uint64_t budget)
{
    struct rv_hart *h = r->h;

    h->insns = rv_insns(h);
    h->slice = h->budget = (int64_t)budget;
    atomic_store(&h->vcpu.kick, 0);
    jit_run(h);
    return (uint64_t)(h->slice - h->budget);
}

static struct rv_machine_stats stats(struct rig *r)
{
    struct rv_machine_stats s;

    rv_machine_get_stats(r->m, &s);
    return s;
}

static void put_count_loop(struct rig *r)
{
    uint32_t code[] = {addi(A0, A0, 1), addi(A1, A1, 2), bne(A0, T0, -8), J_SELF};

    put_code(r, RAM_BASE, code, 4);
    r->h->x[T0] = 1000000;
}

static void test_hot_code_is_translated_and_charged_exactly(void **state)
{
    struct rig *r = *state;

    put_count_loop(r);
    uint64_t retired = run(r, 30000);
    assert_in_range(retired, 30000, 30010);
    assert_int_equal(rv_insns(r->h), retired);
    uint64_t loops = retired / 3, rest = retired % 3;
    assert_int_equal(r->h->x[A0], loops + (rest > 0));
    assert_int_equal(r->h->x[A1], 2 * loops + (rest > 1) * 2);
    assert_int_equal(r->h->pc, RAM_BASE + 4 * rest);
    struct rv_machine_stats s = stats(r);
    assert_true(s.translations > 0);
    assert_true(s.jit_insns > 29000);
    assert_int_equal(s.jit_insns + s.interp_insns, retired);
}

static void test_a_kick_ends_a_loop(void **state)
{
    struct rig *r = *state;

    put_count_loop(r);
    run(r, 1000);
    r->h->insns = rv_insns(r->h);
    r->h->slice = r->h->budget = 1000000;
    atomic_store(&r->h->vcpu.kick, 1);
    jit_run(r->h);
    assert_true(r->h->slice - r->h->budget < 10);
}

/* A physical page mapped twice is translated once; what its code makes of its address is that of
 * the mapping it runs in. */
static void test_one_translation_serves_all_mappings(void **state)
{
    struct rig *r = *state;
    struct tables t;
    /* twice in the first: then all of it is hot, whatever the threshold */
    const gva_t at[] = {0x10000, 0x10000, 0x7fff5000};
    uint32_t code[] = {
        0x00001517, /* auipc a0, 1 */
        addi(A0, A0, 16),
        addi(A1, A1, 1),
        bne(A1, T0, -12),
        0x008000efu, /* jal ra, .+8 */
        0,
        J_SELF,
    };

    pt_init(&t, r, SATP_SV39);
    for (unsigned n = 1; n < 3; n++)
        pt_map(&t, at[n], RAM_BASE, 0, RWXAD);
    put_code(r, RAM_BASE, code, 7);
    rig_open_pmp(r->h);
    pt_enter(r, SATP_SV39, 1, RV_S);
    uint64_t translations[3];
    for (unsigned n = 0; n < 3; n++) {
        r->h->pc = at[n];
        r->h->x[A1] = 0;
        r->h->x[T0] = 1000;
        run(r, 10000);
        assert_int_equal(r->h->pc, at[n] + 24);
        assert_int_equal(r->h->x[A0], at[n] + 0x1010);
        assert_int_equal(r->h->x[RA], at[n] + 20);
        translations[n] = stats(r).translations;
    }
    assert_true(translations[1] > 0);
    assert_int_equal(translations[2], translations[1]);
}

/* Translated cbo.zero clears aligned blocks, and is illegal again when menvcfg says so. */
static void test_blocks_are_zeroed_where_that_is_enabled(void **state)
{
    struct rig *r = *state;
    enum { BLOCKS = 200 };
    const gpa_t at = RAM_BASE + 0x10000;
    static uint8_t ones[(BLOCKS + 2) * 64], seen[sizeof ones];
    uint32_t code[] = {0x0043200f /* cbo.zero (t1) */, addi(T1, T1, 64), bne(T1, T2, -8), J_SELF};

    memset(ones, 0xff, sizeof ones);
    assert_int_equal(mem_write(r->space, at, ones, sizeof ones), MEM_OK);
    put_code(r, RAM_BASE, code, 4);
    r->h->x[T1] = at + 64 + 17;
    r->h->x[T2] = at + 64 + 17 + BLOCKS * 64;
    run(r, 5000);
    assert_true(stats(r).translations > 0);
    assert_int_equal(r->h->pc, RAM_BASE + 12);
    assert_int_equal(mem_read(r->space, at, seen, sizeof seen), MEM_OK);
    memset(ones + 64, 0, BLOCKS * 64);
    assert_memory_equal(seen, ones, sizeof seen);

    rig_open_pmp(r->h);
    rig_set_priv(r->h, RV_S);
    assert_false(r->h->menvcfg & ENVCFG_CBZE);
    r->h->mtvec = RAM_BASE + 12;
    r->h->pc = RAM_BASE;
    r->h->x[T1] = at;
    run(r, 100);
    assert_int_equal(r->h->mcause, RV_EXC_ILLEGAL);
    assert_int_equal(r->h->mepc, RAM_BASE);
}

/* The loop's body is replaced by a store of the guest. */
static void test_code_written_by_the_guest(void **state)
{
    struct rig *r = *state;
    uint32_t code[] = {addi(A0, A0, 1), addi(A1, A1, 1), bne(A1, T0, -8),  sw(T2, T1, 0),
                       FENCE_I,         addi(A1, 0, 0),  bne(A1, T0, -24), J_SELF};

    put_code(r, RAM_BASE, code, 8);
    r->h->x[T0] = 100;
    r->h->x[T1] = RAM_BASE;
    r->h->x[T2] = addi(A0, A0, 16);
    run(r, 300 + 3 + 300);
    assert_int_equal(r->h->x[A0], 100 + 16 * 100);
    assert_true(stats(r).invalidations > 0);
}

static void test_code_written_by_a_device(void **state)
{
    struct rig *r = *state;
    uint32_t other = addi(A0, A0, 16);

    put_count_loop(r);
    run(r, 2999);
    assert_int_equal(r->h->x[A0], 1000);
    put_code(r, RAM_BASE, &other, 1);
    run(r, 2);
    assert_int_equal(r->h->x[A0], 1016);
}

/* A line of the page that has no code may be written and keeps the translation. */
static void test_data_beside_code(void **state)
{
    struct rig *r = *state;
    uint32_t word = 1;

    put_count_loop(r);
    run(r, 3000);
    put_code(r, RAM_BASE + 2048, &word, 1);
    assert_int_equal(stats(r).invalidations, 0);
    uint64_t translations = stats(r).translations;
    run(r, 3000);
    assert_int_equal(stats(r).translations, translations);
}

/* Many loops, each hot once. */
static void test_a_full_cache_is_emptied(void **state)
{
    struct rig *r = *state;

    r->h->x[T0] = 50;
    for (unsigned n = 0; n < 600; n++) {
        gpa_t at = RAM_BASE + n * 256;
        uint32_t code[] = {addi(A0, 0, 0), addi(A0, A0, 1), addi(A1, A1, 1), bne(A0, T0, -8),
                           J_SELF};
        put_code(r, at, code, 5);
        r->h->pc = at;
        /* Emptying ends the run early, as a kick does. */
        for (unsigned tries = 0; r->h->pc != at + 16 && tries < 5; tries++)
            run(r, 150 - r->h->x[A0]);
        assert_int_equal(r->h->pc, at + 16);
    }
    assert_int_equal(r->h->x[A1], 600 * 50);
    assert_true(stats(r).flushes > 0);
}

/* Runs from `at` to the end of the code there; emptying ends a run early. */
static void run_to(struct rig *r, gpa_t at, gpa_t end)
{
    r->h->pc = at;
    for (unsigned tries = 0; r->h->pc != end && tries < 5; tries++)
        run(r, (end - r->h->pc) / 4);
    assert_int_equal(r->h->pc, end);
}

/* Of this code the region's record is 70 times the host's code. */
enum { LONG = 300 };

static void put_long_code(struct rig *r, gpa_t at, int step)
{
    uint32_t code[LONG + 1];

    for (unsigned n = 0; n < LONG; n++)
        code[n] = addi(A0, A0, step);
    code[LONG] = J_SELF;
    put_code(r, at, code, LONG + 1);
}

static void make_hot(struct rig *r, gpa_t at, gpa_t end)
{
    uint64_t before = stats(r).translations;

    for (unsigned n = 0; n < 256 && stats(r).translations == before; n++)
        run_to(r, at, end);
    assert_true(stats(r).translations > before);
}

static uint64_t record_bytes(const struct rig *r)
{
    return atomic_load(&r->m->jit->record_bytes);
}

/* Code that is written again and again leaves dead regions; few live beside them. */
static void test_dead_regions_are_forgotten(void **state)
{
    struct rig *r = *state;
    const struct ir_cache *cache = &r->m->jit->cache;

    for (int n = 1; n <= 300; n++) {
        put_long_code(r, RAM_BASE, n);
        make_hot(r, RAM_BASE, RAM_BASE + 4 * LONG);
        r->h->x[A0] = 0;
        run_to(r, RAM_BASE, RAM_BASE + 4 * LONG);
        assert_int_equal(r->h->x[A0], n * LONG);
        assert_true(record_bytes(r) < cache->size / 4);
    }
    assert_true(stats(r).flushes > 5);
    assert_true(cache->used < cache->size / 2);
}

struct dma {
    struct rig *r;
    atomic_bool stop;
};

enum { DMA_PAGES = 16 };

static void *write_into_code(void *arg)
{
    struct dma *d = arg;

    while (!atomic_load(&d->stop))
        for (unsigned n = 0; n < DMA_PAGES; n++) {
            mem_dma_written(d->r->space, RAM_BASE + n * 4096, 4);
            sim_thread_sleep(20000); /* regions live for a while */
        }
    return NULL;
}

/* Devices do not stand while everything is forgotten. */
static void test_devices_write_while_all_is_forgotten(void **state)
{
    struct rig *r = *state;
    struct dma dma = {r, false};
    struct sim_thread thread;

    assert_int_equal(sim_thread_start(&thread, "dma", write_into_code, &dma), SIM_OK);
    for (unsigned round = 0; round < 60; round++) {
        for (unsigned n = 0; n < DMA_PAGES; n++) {
            put_long_code(r, RAM_BASE + n * 4096, 1);
            for (unsigned i = 0; i < 40; i++)
                run_to(r, RAM_BASE + n * 4096, RAM_BASE + n * 4096 + 4 * LONG);
        }
        vcpu_leave(&r->h->vcpu);
        sim_exclusive_begin(r->sim, &r->h->vcpu);
        jit_flush(r->m->jit);
        sim_exclusive_end(r->sim);
        vcpu_enter(&r->h->vcpu);
    }
    atomic_store(&dma.stop, true);
    sim_thread_join(&thread);
    assert_true(stats(r).flushes >= 60);
}

/* As many alive are not translated again for the sake of the dead. */
static void test_dead_regions_are_kept_beside_living_ones(void **state)
{
    struct rig *r = *state;

    for (unsigned n = 1; n <= 20; n++) {
        put_long_code(r, RAM_BASE + n * 4096, 1);
        make_hot(r, RAM_BASE + n * 4096, RAM_BASE + n * 4096 + 4 * LONG);
    }
    for (int n = 1; n <= 40; n++) {
        put_long_code(r, RAM_BASE, n);
        make_hot(r, RAM_BASE, RAM_BASE + 4 * LONG);
    }
    assert_true(stats(r).invalidations >= 39);
    assert_int_equal(stats(r).flushes, 0);
}

/* Regions that overlap: one from each instruction on. */
static void test_living_regions_are_bounded(void **state)
{
    struct rig *r = *state;

    for (unsigned page = 0; page < 4; page++) {
        put_long_code(r, RAM_BASE + page * 4096, 1);
        for (unsigned n = 0; n < LONG; n++) {
            make_hot(r, RAM_BASE + page * 4096 + 4 * n, RAM_BASE + page * 4096 + 4 * LONG);
            assert_true(record_bytes(r) < r->m->jit->cache.size + (16 << 10));
        }
    }
    assert_int_equal(stats(r).invalidations, 0);
    assert_true(stats(r).flushes > 0);
}

static void test_rounding_modes_are_told_apart(void **state)
{
    struct rig *r = *state;
    struct rv_hart *h = r->h;
    /* fdiv.d f0, f1, f2 with dynamic rounding, in a loop */
    uint32_t code[] = {0x1a20f053, addi(A0, A0, 1), bne(A0, T0, -8), J_SELF};
    const uint64_t one = 0x3ff0000000000000, three = 0x4008000000000000;

    put_code(r, RAM_BASE, code, 4);
    h->mstatus |= MSTATUS_FS;
    rv_fp_sync(h);
    h->x[T0] = 1ull << 40;
    h->f[1] = one;
    h->f[2] = three;
    for (unsigned round = 0; round < 4; round++) {
        h->frm = round & 1 ? 3 : 0; /* RUP, RNE */
        run(r, 300);
        assert_int_equal(h->f[0], h->frm ? 0x3fd5555555555556 : 0x3fd5555555555555);
    }
    assert_int_equal(h->fflags, 1); /* NX */
    h->mstatus &= ~MSTATUS_FS;
    rv_fp_sync(h);
    h->pc = RAM_BASE;
    h->mtvec = RAM_BASE + 12;
    run(r, 3);
    assert_int_equal(h->mcause, RV_EXC_ILLEGAL);
    assert_int_equal(h->mepc, RAM_BASE);
}

/* A load that faults in translated code: registers, pc and count are those of the instruction. */
static void test_a_trap_in_translated_code_is_precise(void **state)
{
    struct rig *r = *state;
    struct rv_hart *h = r->h;
    uint32_t code[] = {addi(A0, A0, 1), 0x00033383 /* ld t2, 0(t1) */, addi(A1, A1, 1),
                       bne(A0, T0, -12), J_SELF};

    put_code(r, RAM_BASE, code, 5);
    h->x[T0] = 1ull << 40;
    h->x[T1] = RAM_BASE + 4096;
    run(r, 4000);
    assert_true(stats(r).jit_insns > 3000);
    h->pc = RAM_BASE;
    h->mtvec = RAM_BASE + 16;
    h->x[A0] = 7;
    h->x[A1] = 9;
    h->x[T1] = 8; /* nothing there */
    run(r, 2);
    assert_int_equal(h->mcause, RV_EXC_LOAD_ACCESS);
    assert_int_equal(h->mtval, 8);
    assert_int_equal(h->mepc, RAM_BASE + 4);
    assert_int_equal(h->x[A0], 8);
    assert_int_equal(h->x[A1], 9);
}

/* Runs the code from its start on another hart. */
static void run_on(struct rig *r, struct rv_hart *h, uint64_t budget)
{
    vcpu_leave(&r->h->vcpu);
    r->h = h;
    h->pc = RAM_BASE;
    h->mtvec = RAM_BASE + 0x1000;
    h->x[T0] = 1000000;
    vcpu_enter(&h->vcpu);
    run(r, budget);
}

static void test_harts_of_other_kinds_have_translations_of_their_own(void **state)
{
    struct rig *r = *state;
    const enum rv_ext missing[] = {RV_EXT_ZBB, RV_EXT_ZBA, RV_EXT_ZBA};
    uint32_t code[] = {0x20b52533 /* sh1add a0, a0, a1 */, addi(A1, A1, 2), bne(A1, T0, -8), J_SELF};

    put_code(r, RAM_BASE, code, 4);
    put_code(r, RAM_BASE + 0x1000, &(uint32_t){J_SELF}, 1);
    run_on(r, r->h, 30000);
    assert_true(r->h->pc < RAM_BASE + 0x1000);
    uint64_t translations = stats(r).translations;
    assert_true(translations > 0);
    for (unsigned n = 0; n < SIM_ARRAY_LEN(missing); n++) {
        struct rv_isa isa = rig_isa_without(missing[n]);
        if (n == 2)
            isa.ext &= ~(1ull << RV_EXT_ZBB); /* the fourth kind */
        struct rv_hart *h = rig_add_hart(r, &isa);
        assert_int_equal(h->isa_class, n + 1);
        run_on(r, h, 30000);
        bool can = missing[n] != RV_EXT_ZBA;
        assert_int_equal(h->pc >= RAM_BASE + 0x1000, !can);
        assert_int_equal(h->mcause, can ? 0 : RV_EXC_ILLEGAL);
    }
    run_on(r, rig_add_hart(r, &r->m->harts[0]->isa), 30000); /* one of the first kind runs what there is */
    assert_int_equal(r->h->isa_class, 0);
    assert_true(r->h->count.jit_insns > 29000);
}

/* Loops that wait for somebody else are left long before the budget is used up; loops that get on
 * are not. */
static void test_loops_that_only_wait_give_way(void **state)
{
    enum {
        LW_T0_A0 = A0 << 15 | 2 << 12 | T0 << 7 | 3,
        LD_T2_T2 = T2 << 15 | 3 << 12 | T2 << 7 | 3
    };
    enum {
        LR_T0_A0 = 2 << 27 | A0 << 15 | 2 << 12 | T0 << 7 | 0x2f,
        SWAP_T0_T1_A0 = 1 << 27 | T1 << 20 | A0 << 15 | 2 << 12 | T0 << 7 | 0x2f,
        ADD_T0_T1_A0 = T1 << 20 | A0 << 15 | 2 << 12 | T0 << 7 | 0x2f,
        LR_T0_A1 = 2 << 27 | A1 << 15 | 2 << 12 | T0 << 7 | 0x2f,
        SC_T0_T1_A1 = 3 << 27 | T1 << 20 | A1 << 15 | 2 << 12 | T0 << 7 | 0x2f,
        SWAP_T0_T1_A1 = 1 << 27 | T1 << 20 | A1 << 15 | 2 << 12 | T0 << 7 | 0x2f
    };
    const struct {
        const char *what;
        uint32_t code[5];
        unsigned n;
        bool waits;
    } loops[] = {
        {"polling", {LW_T0_A0, bne(T0, 0, -4)}, 2, true},
        {"polling, by way of another register",
         {LW_T0_A0, addi(T1, T0, 1), bne(T1, 0, -8)},
         3,
         true},
        {"nothing at all", {J_SELF}, 1, true},
        {"load-reserved", {LR_T0_A0, bne(T0, 0, -4)}, 2, true},
        {"test and set", {SWAP_T0_T1_A0, bne(T0, 0, -4)}, 2, true},
        {"counting", {addi(T0, T0, 1), bne(T0, 0, -4)}, 2, false},
        {"counting in memory", {ADD_T0_T1_A0, bne(T0, 0, -4)}, 2, false},
        {"storing", {LW_T0_A0, sw(T0, A0, 64), bne(T0, 0, -8)}, 3, false},
        {"walking a list", {LD_T2_T2, bne(T2, 0, -4)}, 2, false},
        {"an LR/SC that succeeds",
         {LR_T0_A1, SC_T0_T1_A1, bne(T0, 0, -8), addi(T2, T2, 1), bne(T2, 0, -16)},
         5,
         false},
        {"a lock that is free",
         {SWAP_T0_T1_A1, bne(T0, 0, -4), sw(0, A1, 0), addi(T2, T2, 1), bne(T2, 0, -16)},
         5,
         false},
    };
    struct rig *r = *state;
    struct rv_hart *h = r->h;

    for (unsigned i = 0; i < SIM_ARRAY_LEN(loops); i++) {
        uint64_t pc = RAM_BASE + 0x1000 * i;
        rig_put_code(r, pc, loops[i].code, loops[i].n);
        rig_put64(r, RAM_BASE + 0x20000, 1);
        rig_put64(r, RAM_BASE + 0x21000, RAM_BASE + 0x21000);
        rig_put64(r, RAM_BASE + 0x22000, 0);
        h->x[A0] = RAM_BASE + 0x20000;
        h->x[A1] = RAM_BASE + 0x22000;
        h->x[T0] = h->x[T1] = 1;
        h->x[T2] = RAM_BASE + 0x21000;
        h->pc = pc;
        h->slice = h->budget = 20000;
        enum rv_stop_reason why = jit_run(h);
        if (loops[i].waits != (why == RV_STOP_PAUSE) || loops[i].waits != (h->budget > 15000))
            fail_msg("%s: reason %d, budget %d", loops[i].what, (int)why, (int)h->budget);
        assert_in_range(h->pc, pc, pc + 4 * loops[i].n - 1);
        int64_t before = loops[i].waits ? h->budget : 100;
        h->budget = before;
        (void)jit_run(h);
        if (h->budget >= before) /* each turn gets on */
            fail_msg("%s: budget %d, %d", loops[i].what, (int)before, (int)h->budget);
    }
    /* what it waited for has come */
    rig_put64(r, RAM_BASE + 0x20000, 0);
    rig_put_code(r, RAM_BASE + 8, (const uint32_t[]){addi(A1, 0, 7), J_SELF}, 2);
    h->pc = RAM_BASE;
    h->budget = 1000;
    (void)jit_run(h);
    assert_int_equal(h->x[A1], 7);
}

/* --- CSRs inside translated code --- */

enum {
    SSTATUS = 0x100,
    SIE = 0x104,
    SSCRATCH = 0x140,
    SEPC = 0x141,
    SCAUSE = 0x142,
    RW = 1,
    RS,
    RC,
    RWI = 5,
    RSI,
    RCI
};

static uint32_t csr(unsigned how, unsigned rd, unsigned number, unsigned rs1)
{
    return number << 20 | rs1 << 15 | how << 12 | rd << 7 | 0x73;
}

static void as_kernel(struct rv_hart *h, uint64_t pc)
{
    memset(h->x, 0, sizeof h->x);
    for (unsigned n = 1; n < 32; n++)
        h->x[n] = 0x1111111111111111ull * (n & 15) + n;
    h->priv = RV_S;
    h->mstatus = 0;
    h->fs_dirty = 0;
    h->sscratch = 0x5555;
    h->sepc = h->scause = 0;
    h->mie = h->mip_soft = 0;
    h->mideleg = h->medeleg = 0xffff;
    h->stvec = RAM_BASE + 0x8000;
    rv_fp_sync(h);
    rv_tlb_select(h);
    h->pc = pc;
}

/* What both engines leave behind, after 100 instructions; the code ends in a jump to itself. */
static void check_engines_agree(struct rig *r, const char *what, uint64_t pc, bool interrupt)
{
    enum { RUNS = 100 };
    struct rv_hart *h = r->h;
    struct {
        uint64_t x[32], pc, mstatus, sscratch, sepc, scause;
        int fp_on, fs_dirty, priv;
    } end[2];

    memset(end, 0, sizeof end);
    for (unsigned n = 0; n < RUNS; n++) { /* translated from some point on */
        bool by_jit = n + 1 < RUNS;
        as_kernel(h, pc);
        h->mip_soft = interrupt ? 1 << 5 : 0;
        h->slice = h->budget = 100;
        for (unsigned turn = 0; h->budget > 0 && turn < 200; turn++) {
            (void)(by_jit ? jit_run(h) : rv_interp_run(h));
            if (h->budget < 0)
                break;
        }
        memcpy(end[!by_jit].x, h->x, sizeof h->x);
        end[!by_jit].pc = h->pc;
        end[!by_jit].mstatus = h->mstatus;
        end[!by_jit].sscratch = h->sscratch;
        end[!by_jit].sepc = h->sepc;
        end[!by_jit].scause = h->scause;
        end[!by_jit].fp_on = h->fp_on;
        end[!by_jit].fs_dirty = h->fs_dirty;
        end[!by_jit].priv = h->priv;
    }
    if (memcmp(&end[0], &end[1], sizeof end[0]))
        fail_msg("%s: pc %llx %llx, mstatus %llx %llx, a0 %llx %llx, sepc %llx %llx", what,
                 (unsigned long long)end[0].pc, (unsigned long long)end[1].pc,
                 (unsigned long long)end[0].mstatus, (unsigned long long)end[1].mstatus,
                 (unsigned long long)end[0].x[A0], (unsigned long long)end[1].x[A0],
                 (unsigned long long)end[0].sepc, (unsigned long long)end[1].sepc);
}

static void test_csrs_in_translated_code(void **state)
{
    enum { LUI_A1_6 = 6 << 12 | A1 << 7 | 0x37, FMV_D_X = 0xf2000053 /* fmv.d.x ft0, zero */ };
    const struct {
        const char *what;
        uint32_t code[7];
    } rows[] = {
        {"a register swapped with sscratch",
         {csr(RW, A1, SSCRATCH, A1), csr(RS, A0, SSCRATCH, 0), J_SELF}},
        {"sepc has no lowest bit",
         {addi(A1, 0, 0x123), csr(RW, A0, SEPC, A1), csr(RS, A0, SEPC, 0), J_SELF}},
        {"an immediate", {csr(RWI, A0, SCAUSE, 9), csr(RS, A1, SCAUSE, 0), J_SELF}},
        {"interrupts on and off",
         {csr(RSI, A0, SSTATUS, 2), csr(RS, A1, SSTATUS, 0), csr(RCI, T0, SSTATUS, 2),
          csr(RS, T1, SSTATUS, 0), J_SELF}},
        {"interrupts as they were",
         {csr(RSI, 0, SSTATUS, 2), csr(RCI, A0, SSTATUS, 2), csr(RS, 0, SSTATUS, A0),
          csr(RS, A1, SSTATUS, 0), J_SELF}},
        {"a constant that turns FP on",
         {LUI_A1_6, csr(RS, 0, SSTATUS, A1), FMV_D_X, csr(RS, A0, SSTATUS, 0), J_SELF}},
        {"FP turned on and off",
         {LUI_A1_6, csr(RS, A0, SSTATUS, A1), csr(RC, A1, SSTATUS, A1), csr(RSI, A0, SSTATUS, 2),
          csr(RS, A0, SSTATUS, 0), J_SELF}},
        {"other bits by a register",
         {addi(A1, 0, 0x122), csr(RS, A0, SSTATUS, A1), csr(RC, A1, SSTATUS, A1),
          csr(RS, T0, SSTATUS, 0), J_SELF}},
        {"a machine's CSR", {csr(RS, A0, 0x340, 0), J_SELF}},
        {"one that is not there", {csr(RW, A0, 0x5c0, A1), J_SELF}},
        {"read-only", {csr(RW, A0, 0xc00, A1), J_SELF}},
        {"an interrupt that waits",
         {addi(A1, 0, 0x20), csr(RW, 0, SIE, A1), addi(T0, 0, 1), csr(RSI, A0, SSTATUS, 2),
          addi(T0, T0, 1), J_SELF}},
        {"one that waits, by a register",
         {addi(A1, 0, 0x20), csr(RW, 0, SIE, A1), addi(T1, 0, 2), csr(RS, A0, SSTATUS, T1),
          addi(T0, T0, 1), J_SELF}},
    };
    struct rig *r = *state;

    rig_open_pmp(r->h);
    put_code(r, RAM_BASE + 0x8000, (const uint32_t[]){J_SELF}, 1);
    for (unsigned n = 0; n < SIM_ARRAY_LEN(rows); n++) {
        put_code(r, RAM_BASE + 0x1000 * n, rows[n].code, SIM_ARRAY_LEN(rows[n].code));
        check_engines_agree(r, rows[n].what, RAM_BASE + 0x1000 * n, false);
        check_engines_agree(r, rows[n].what, RAM_BASE + 0x1000 * n, true);
    }
    assert_true(stats(r).translations >= SIM_ARRAY_LEN(rows));
}

/* In M mode of a hart without S there is no sstatus, however often it is asked for. */
static void test_sstatus_needs_supervisor_mode(void **state)
{
    const uint32_t code[][2] = {{csr(RS, A0, SSTATUS, 0), J_SELF}, {csr(RSI, 0, SSTATUS, 2), J_SELF}};
    struct rig *r = *state;
    struct rv_hart *h = r->h;

    put_code(r, RAM_BASE + 0x8000, (const uint32_t[]){J_SELF}, 1);
    h->mtvec = RAM_BASE + 0x8000;
    for (unsigned n = 0; n < SIM_ARRAY_LEN(code); n++) {
        put_code(r, RAM_BASE + 0x1000 * n, code[n], 2);
        for (unsigned round = 0; round < 100; round++) {
            h->pc = RAM_BASE + 0x1000 * n;
            h->mcause = 0;
            (void)run(r, 10);
            assert_int_equal(h->pc, h->mtvec);
            assert_int_equal(h->mcause, RV_EXC_ILLEGAL);
        }
    }
}

/* Accesses off one base are checked once, but not over a write of sstatus that takes a user's page
 * away. */
static void test_sum_ends_what_was_checked(void **state)
{
    enum {
        LUI_T0_SUM = 0x40 << 12 | T0 << 7 | 0x37,
        LD_T1_A0 = A0 << 15 | 3 << 12 | T1 << 7 | 3,
        LD_T2_8_A0 = 8 << 20 | A0 << 15 | 3 << 12 | T2 << 7 | 3,
        LD_A1_16_A0 = 16 << 20 | A0 << 15 | 3 << 12 | A1 << 7 | 3,
    };
    const uint32_t code[] = {csr(RS, A0, SSCRATCH, 0),
                             LUI_T0_SUM,
                             csr(RS, 0, SSTATUS, T0),
                             LD_T1_A0,
                             LD_T2_8_A0,
                             csr(RC, 0, SSTATUS, T0),
                             LD_A1_16_A0,
                             J_SELF};
    struct rig *r = *state;
    static struct tables t;

    pt_init(&t, r, SATP_SV39);
    pt_map(&t, 0x5000, RAM_BASE + 0x30000, 0, RWXAD | U); /* where sscratch points */
    pt_map(&t, RAM_BASE, RAM_BASE, 0, RWXAD);
    pt_map(&t, RAM_BASE + 0x8000, RAM_BASE + 0x8000, 0, RWXAD);
    put_code(r, RAM_BASE, code, SIM_ARRAY_LEN(code));
    put_code(r, RAM_BASE + 0x8000, (const uint32_t[]){J_SELF}, 1);
    rig_open_pmp(r->h);
    pt_enter(r, SATP_SV39, 1, RV_S);
    check_engines_agree(r, "SUM", RAM_BASE, false);
    assert_int_equal(r->h->pc, RAM_BASE + 0x8000);
    assert_int_equal(r->h->sepc, RAM_BASE + 24);
    assert_true(stats(r).translations > 1);
}

/* A scalar is compared in all lanes of the host's register, also in those above a group of half a vector register. */
static void test_lanes_above_a_group_raise_no_flags(void **state)
{
    const uint32_t code[] = {0x017072d7,             /* vsetvli t0, x0, e32, mf2 */
                             0x6c855257,             /* vmflt.vf v4, v8, fa0, v0.t */
                             0x001022f3,             /* csrr t0, fflags */
                             0x00536333,             /* or t1, t1, t0 */
                             0xff1ff06f};            /* j -16 */
    struct rig *r = *state;
    struct rv_hart *h = r->h;

    put_code(r, RAM_BASE, code, SIM_ARRAY_LEN(code));
    h->mstatus |= MSTATUS_FS | MSTATUS_VS;
    rv_fp_sync(h);
    rv_vec_sync(h);
    h->v[0] = 0xc; /* elements that are not there */
    h->f[10] = 0xffffffff7fc00000;
    run(r, 10000);
    assert_true(stats(r).jit_insns > 0);
    assert_int_equal(h->x[T1], 0);
    assert_int_equal(h->v[4 * h->isa.vlen / 8], 0);
}

static uint64_t vector_status(struct rig *r)
{
    uint64_t value;

    assert_true(rig_csr_read(r->h, 0x100, &value));
    return value & MSTATUS_VS;
}

/* Translated code marks nothing: it runs only while the state is dirty already. */
static void test_vectors_become_dirty_again(void **state)
{
    static const uint32_t body[] = {0x02218057,  /* vadd.vv v0, v2, v3 */
                                    0x0d0072d7,  /* vsetvli t0, x0, e32, m1, ta, ma */
                                    0x02858007,  /* vl1r.v v0, (a1) */
                                    0x02858027}; /* vs1r.v v0, (a1) */
    struct rig *r = *state;

    for (unsigned n = 0; n < SIM_ARRAY_LEN(body); n++) {
        const uint32_t code[] = {0x0d0072d7, body[n], 0xffdff06f /* j -4 */};

        put_code(r, RAM_BASE + 4096 * n, code, SIM_ARRAY_LEN(code));
        r->h->pc = RAM_BASE + 4096 * n;
        r->h->x[A1] = RAM_BASE + 65536;
        assert_true(rig_csr_write(r->h, 0x100, MSTATUS_VS));
        uint64_t before = stats(r).jit_insns;
        run(r, 10000);
        assert_true(stats(r).jit_insns > before + 5000);
        for (unsigned k = 0; k < 3; k++) {
            uint64_t status = k < 2 ? 1ull << 9 : 2ull << 9; /* initial, once more, clean */
            assert_true(rig_csr_write(r->h, 0x100, status));
            assert_int_equal(vector_status(r), status);
            run(r, 2);
            assert_int_equal(vector_status(r), MSTATUS_VS);
            before = stats(r).jit_insns;
            run(r, 10000);
            assert_true(stats(r).jit_insns > before + 9000); /* in translated code as before */
        }
    }
}

/* Types of one SEW and LMUL are one type to operations, but not to who reads vtype. */
static void test_policies_of_vectors_are_kept(void **state)
{
    const uint32_t code[] = {0x0d0072d7, /* vsetvli t0, x0, e32, m1, ta, ma */
                             0x02218057, /* vadd.vv v0, v2, v3 */
                             0xc2102573, /* csrr a0, vtype */
                             0x010072d7, /* vsetvli t0, x0, e32, m1, tu, mu */
                             0x02218057,
                             0xc21025f3, /* csrr a1, vtype */
                             0xfe9ff06f /* j -24 */};
    struct rig *r = *state;

    put_code(r, RAM_BASE, code, SIM_ARRAY_LEN(code));
    assert_true(rig_csr_write(r->h, 0x100, MSTATUS_VS));
    run(r, 7 * 1000);
    assert_true(stats(r).jit_insns > 0);
    assert_int_equal(r->h->x[A0], 0xd0);
    assert_int_equal(r->h->x[A1], 0x10);
    assert_int_equal(r->h->vkey, rv_vkey(0x10));
}

/* Jumps of contexts that no hart has lead into the same cache (riscv/tlb_shared.c). */
static void test_a_full_cache_takes_jumps_on_shelves(void **state)
{
    struct rig *r = *state;
    const uint64_t va = 0xffffffc000200000;

    rv_tlb_select(r->h);
    struct rv_tlb *t = r->m->shelf[0] = rv_tlb_take_out(r->h, r->h->code_tlb->slot);
    t->jc[rv_jc_set(va)][0] = (struct rv_jc_entry){va, t};
    rv_jc_note(t, va);
    rv_tlb_select(r->h);
    jit_flush(r->m->jit);
    assert_int_not_equal(t->jc[rv_jc_set(va)][0].pc, va);
}

int main(void)
{
#define TEST(fn) cmocka_unit_test_setup_teardown(fn, set_up, jit_rig_tear_down)
    const struct CMUnitTest tests[] = {
        TEST(test_hot_code_is_translated_and_charged_exactly),
        TEST(test_a_kick_ends_a_loop),
        TEST(test_loops_that_only_wait_give_way),
        TEST(test_csrs_in_translated_code),
        TEST(test_sum_ends_what_was_checked),
        cmocka_unit_test_setup_teardown(test_sstatus_needs_supervisor_mode, set_up_without_s, jit_rig_tear_down),
        TEST(test_one_translation_serves_all_mappings),
        TEST(test_blocks_are_zeroed_where_that_is_enabled),
        TEST(test_code_written_by_the_guest),
        TEST(test_code_written_by_a_device),
        TEST(test_data_beside_code),
        cmocka_unit_test_setup_teardown(test_a_full_cache_is_emptied, set_up_small_cache,
                                        jit_rig_tear_down),
        cmocka_unit_test_setup_teardown(test_devices_write_while_all_is_forgotten, set_up_medium_cache, jit_rig_tear_down),
        cmocka_unit_test_setup_teardown(test_dead_regions_are_forgotten, set_up_medium_cache, jit_rig_tear_down),
        cmocka_unit_test_setup_teardown(test_dead_regions_are_kept_beside_living_ones, set_up_medium_cache,
                                        jit_rig_tear_down),
        cmocka_unit_test_setup_teardown(test_living_regions_are_bounded, set_up_medium_cache, jit_rig_tear_down),
        TEST(test_a_full_cache_takes_jumps_on_shelves),
        TEST(test_rounding_modes_are_told_apart),
        cmocka_unit_test_setup_teardown(test_lanes_above_a_group_raise_no_flags, set_up_vectors, jit_rig_tear_down),
        cmocka_unit_test_setup_teardown(test_vectors_become_dirty_again, set_up_vectors, jit_rig_tear_down),
        cmocka_unit_test_setup_teardown(test_policies_of_vectors_are_kept, set_up_vectors, jit_rig_tear_down),
        TEST(test_a_trap_in_translated_code_is_precise),
        TEST(test_harts_of_other_kinds_have_translations_of_their_own),
    };
#undef TEST
    return cmocka_run_group_tests(tests, NULL, NULL);
}
