/* The x86-64 back end: random IR is emitted, run on this host, and compared with an evaluation in C.
 * Register files of different sizes put the operands into registers, memory and spill slots. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include <cmocka.h>

#include "backend.h"

/* What translated code sees of a guest. */
struct guest {
    uint64_t x[IR_NR_GLOBALS];
    uint64_t pc, code_tlb, tlb;
    int64_t budget;
    uint32_t kick, mxcsr, spun;
    uint64_t host_sp, scratch[32], dirty;
    uint64_t res[4];
    uint64_t code_base;
};

struct jump_cache {
    struct {
        uint64_t pc, code;
    } entry[1 << 4][2];
} __attribute__((aligned(16)));

static struct ir_cache cache;
static struct ir_target target;
static struct ir_region *r;
static struct ir_alloc *al;

static bool no_memory(void *state, uint64_t va, const void *site)
{
    (void)state, (void)va, (void)site;
    return false;
}
static bool no_exec(void *state, const void *site)
{
    (void)state, (void)site;
    return false;
}

static void make_target(void)
{
    for (int n = 0; n < IR_NR_GLOBALS; n++)
        target.global[n] = 8 * n;
    target.pc = offsetof(struct guest, pc);
    target.budget = offsetof(struct guest, budget);
    target.kick = offsetof(struct guest, kick);
    target.spun = offsetof(struct guest, spun);
    target.host_sp = offsetof(struct guest, host_sp);
    target.mxcsr = offsetof(struct guest, mxcsr);
    target.fs_dirty = offsetof(struct guest, dirty);
    target.code_base = offsetof(struct guest, code_base);
    target.scratch = offsetof(struct guest, scratch);
    target.result = target.scratch + 8 * 4;
    target.note = target.scratch + 8 * 5;
    target.tlb = offsetof(struct guest, tlb);
    target.code_tlb = offsetof(struct guest, code_tlb);
    target.tlb_set_bits = 8;
    target.tlb_ways = 4;
    target.tlb_entry = 32;
    target.tlb_tag_w = 8;
    target.tlb_addend = 16;
    target.tlb_slot_limit = 1 << 15;
    target.tlb_slot_lo = target.tlb_slot_limit + 8;
    target.tlb_slot_addend = target.tlb_slot_lo + 8;
    target.tlb_slot_size = 3 * 8;
    target.tlb_nr_slots = 10;
    target.jc_bits = 4;
    target.load = target.store = no_memory;
    target.exec = no_exec;
}

static int set_up(void **state)
{
    (void)state;
    int fd = memfd_create("code", 0);
    cache.size = 1 << 20;
    if (fd < 0 || ftruncate(fd, (off_t)cache.size))
        return -1;
    cache.rw = mmap(NULL, cache.size, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    cache.rx = mmap(NULL, cache.size, PROT_READ | PROT_EXEC, MAP_SHARED, fd, 0);
    close(fd);
    make_target();
    r = calloc(1, sizeof *r);
    al = calloc(1, sizeof *al);
    return cache.rw == MAP_FAILED || cache.rx == MAP_FAILED ? -1 : 0;
}

static int tear_down(void **state)
{
    (void)state;
    munmap(cache.rw, cache.size);
    munmap(cache.rx, cache.size);
    free(r);
    free(al);
    return 0;
}

static uint64_t rng = 88172645463325252ull;
static uint64_t rnd(void)
{
    rng ^= rng << 13;
    rng ^= rng >> 7;
    rng ^= rng << 17;
    return rng;
}

static uint64_t interesting(void)
{
    static const uint64_t v[] = {0, 1, 2, 31, 32, 63, 64, 0x7f, 0x80, 0x7fffffff, 0x80000000,
                                 0xffffffff, 0x100000000, INT64_MAX, 1ull << 63, UINT64_MAX};
    return rnd() % 3 ? v[rnd() % 16] : rnd();
}

/* ---- semantics ---- */

#define CODE_BASE 0xffffffff81234000ull

static uint64_t sx(const struct ir_insn *i, uint64_t v)
{
    return i->type == IR_I32 ? (uint64_t)(int64_t)(int32_t)v : v;
}

static uint64_t rotate(uint64_t v, unsigned n, unsigned bits)
{
    uint64_t mask = bits == 64 ? UINT64_MAX : UINT32_MAX;

    v &= mask;
    n &= bits - 1;
    return n ? (v << n | v >> (bits - n)) & mask : v;
}

static uint64_t divide(const struct ir_insn *i, uint64_t a, uint64_t b)
{
    bool word = i->type == IR_I32;
    int64_t sa = word ? (int32_t)a : (int64_t)a, sb = word ? (int32_t)b : (int64_t)b;
    uint64_t ua = word ? (uint32_t)a : a, ub = word ? (uint32_t)b : b;

    switch (i->op) {
    case IR_DIV: return ub == 0 ? UINT64_MAX : sb == -1 ? 0 - (uint64_t)sa : (uint64_t)(sa / sb);
    case IR_REM: return ub == 0 ? (uint64_t)sa : sb == -1 ? 0 : (uint64_t)(sa % sb);
    case IR_DIVU: return ub == 0 ? UINT64_MAX : ua / ub;
    default: return ub == 0 ? ua : ua % ub;
    }
}

static uint64_t orcb(uint64_t a)
{
    uint64_t v = 0;

    for (unsigned n = 0; n < 64; n += 8)
        if (a >> n & 0xff)
            v |= 0xffull << n;
    return v;
}

static uint64_t count(const struct ir_insn *i, uint64_t a)
{
    unsigned bits = i->type == IR_I32 ? 32 : 64;

    if (bits == 32)
        a &= UINT32_MAX;
    if (i->op == IR_POPCNT)
        return (uint64_t)__builtin_popcountll(a);
    if (!a)
        return bits;
    return (uint64_t)(i->op == IR_CTZ ? __builtin_ctzll(a) : __builtin_clzll(a) - (int)(64 - bits));
}

static uint64_t model(const struct ir_insn *i, uint64_t a, uint64_t b)
{
    unsigned w = i->type == IR_I32 ? 32 : 64, n = (unsigned)b & (w - 1);
    int64_t sa = (int64_t)a, sb = (int64_t)b;

    switch (i->op) {
    case IR_MOV: return a;
    case IR_PC: return CODE_BASE + (uint64_t)(int64_t)i->imm;
    case IR_ADD: return sx(i, a + b);
    case IR_SUB: return sx(i, a - b);
    case IR_AND: return a & b;
    case IR_OR: return a | b;
    case IR_XOR: return a ^ b;
    case IR_ANDN: return a & ~b;
    case IR_ORN: return a | ~b;
    case IR_XNOR: return ~(a ^ b);
    case IR_SHL: return sx(i, a << n);
    case IR_SHR: return sx(i, (w == 32 ? (uint32_t)a : a) >> n);
    case IR_SAR: return w == 32 ? (uint64_t)(int64_t)((int32_t)a >> n) : (uint64_t)(sa >> n);
    case IR_ROL: return sx(i, rotate(a, n, w));
    case IR_ROR: return sx(i, rotate(a, w - n, w));
    case IR_SHADD: return (a << i->aux) + b;
    case IR_SHADD_UW: return ((a & UINT32_MAX) << i->aux) + b;
    case IR_SEXT8: return (uint64_t)(int64_t)(int8_t)a;
    case IR_SEXT16: return (uint64_t)(int64_t)(int16_t)a;
    case IR_SEXT32: return (uint64_t)(int64_t)(int32_t)a;
    case IR_ZEXT16: return (uint16_t)a;
    case IR_ZEXT32: return (uint32_t)a;
    case IR_SET: return ir_cc_eval((enum ir_cc)i->cc, sa, sb);
    case IR_CZERO: return ir_cc_eval((enum ir_cc)i->cc, sb, 0) ? 0 : a;
    case IR_MIN: return sa < sb ? a : b;
    case IR_MAX: return sa > sb ? a : b;
    case IR_MINU: return a < b ? a : b;
    case IR_MAXU: return a > b ? a : b;
    case IR_MUL: return sx(i, a * b);
    case IR_MULH: return (uint64_t)((__int128)sa * sb >> 64);
    case IR_MULHU: return (uint64_t)((unsigned __int128)a * b >> 64);
    case IR_MULHSU: return (uint64_t)((__int128)sa * (__int128)(unsigned __int128)b >> 64);
    case IR_DIV: case IR_DIVU: case IR_REM: case IR_REMU: return sx(i, divide(i, a, b));
    case IR_CLZ: case IR_CTZ: case IR_POPCNT: return count(i, a);
    case IR_BSWAP: return __builtin_bswap64(a);
    case IR_ORCB: return orcb(a);
    case IR_BSET: return a | 1ull << (b & 63);
    case IR_BCLR: return a & ~(1ull << (b & 63));
    case IR_BINV: return a ^ 1ull << (b & 63);
    default: return a >> (b & 63) & 1; /* BEXT */
    }
}

/* ---- random regions ---- */

enum { GLOBALS = 8, LENGTH = 40 };

static ir_ref source(ir_ref *temps, unsigned nr_temps)
{
    unsigned pick = (unsigned)(rnd() % 8);

    if (rnd() % 2 && r->nr_insns) /* chains, for the passes to find pairs in */
        return r->insn[r->nr_insns - 1].dst;

    if (pick < 2)
        return ir_const(r, (int64_t)interesting());
    if (pick < 4 && nr_temps)
        return temps[rnd() % nr_temps];
    return (ir_ref)(1 + rnd() % GLOBALS);
}

/* One block of random operations, then an indirect jump to a constant address. */
static void random_region(const struct ir_host *host)
{
    ir_ref temps[LENGTH];
    unsigned nr_temps = 0;

    ir_reset(r);
    ir_block_begin(r);
    r->entry_pc = 0x10;
    r->origin[0] = (struct ir_origin){.pc = 0x10};
    r->nr_origins = 1;
    while (r->nr_insns < LENGTH) {
        enum ir_op op = (enum ir_op)(rnd() % (IR_BEXT + 1));
        bool word_op = (op >= IR_ADD && op <= IR_SUB) || (op >= IR_SHL && op <= IR_ROR) ||
                       op == IR_MUL || (op >= IR_DIV && op <= IR_POPCNT);
        enum ir_type type = word_op && rnd() % 2 ? IR_I32 : IR_I64;
        if (!ir_host_has(host, op, type, 0))
            continue;
        ir_ref a = source(temps, nr_temps), b = source(temps, nr_temps);
        ir_ref c = source(temps, nr_temps), dst;
        if (op >= IR_SHL && op <= IR_ROR && rnd() % 2)
            b = ir_const(r, (int64_t)(rnd() % 4 ? 8 * (rnd() % 8) : 1 + rnd() % 3));
        if (rnd() % 3 == 0 && nr_temps < 12)
            dst = ir_temp(r, IR_I64);
        else
            dst = (ir_ref)(1 + rnd() % GLOBALS);
        struct ir_insn *i = ir_emit(r, op, type, dst, a, ir_op_info[op].nsrc > 1 ? b : IR_NONE);
        if (!ir_op_info[op].nsrc)
            i->src[0] = IR_NONE;
        if (op == IR_PC)
            i->imm = (int32_t)rnd();
        if (op == IR_SHADD || op == IR_SHADD_UW)
            i->aux = rnd() % 4;
        if (op == IR_SET)
            i->cc = (uint8_t)(rnd() % (IR_GTU + 1));
        if (op == IR_SELECT)
            i->src[2] = c;
        if (op == IR_CZERO || op == IR_SELECT)
            i->cc = rnd() % 2 ? IR_EQ : IR_NE;
        if (ir_is_temp(dst))
            temps[nr_temps++] = dst;
    }
    ir_emit(r, IR_JMP_IND, IR_I64, IR_NONE, ir_const(r, 0x2000), IR_NONE);
    ir_block_end(r);
    assert_false(r->overflow);
    assert_null(ir_verify(r));
}

static uint64_t value_of(const uint64_t *x, const uint64_t *temp, ir_ref ref)
{
    if (ir_is_const(ref))
        return (uint64_t)ir_const_value(r, ref);
    return ir_is_temp(ref) ? temp[ref - IR_NR_GLOBALS] : x[ref];
}

static void evaluate(uint64_t *x)
{
    uint64_t temp[IR_MAX_TEMPS];

    for (unsigned n = 0; n + 1 < r->nr_insns; n++) {
        const struct ir_insn *i = &r->insn[n];
        uint64_t a = i->src[0] ? value_of(x, temp, i->src[0]) : 0;
        uint64_t b = i->src[1] ? value_of(x, temp, i->src[1]) : 0;
        uint64_t c = i->src[2] ? value_of(x, temp, i->src[2]) : 0;
        bool zero = i->cc == IR_EQ;
        uint64_t v = i->op == IR_SELECT ? ((a == 0) == zero ? b : c) : model(i, a, b);
        if (ir_is_temp(i->dst))
            temp[i->dst - IR_NR_GLOBALS] = v;
        else if (i->dst)
            x[i->dst] = v;
    }
}

static void run_one(struct ir_host *host, const struct ir_regfile *file, bool passes)
{
    static struct jump_cache jc;
    struct guest g = {.budget = 1000, .mxcsr = 0x1f80, .code_tlb = (uint64_t)(uintptr_t)&jc,
                      .pc = CODE_BASE + 0x10};
    uint64_t want[IR_NR_GLOBALS];
    struct ir_code code;

    for (unsigned n = 1; n <= GLOBALS; n++)
        g.x[n] = interesting();
    memcpy(want, g.x, sizeof want);
    evaluate(want);
    if (passes) {
        ir_pass_rename(r);
        ir_pass_narrow(r);
        ir_pass_fold(r);
        ir_pass_fuse(r);
        ir_pass_dce(r);
        ir_pass_narrow(r);
        assert_null(ir_verify(r));
    }
    ir_allocate(r, file, al);
    assert_false(al->failed);
    ir_analyse(r, al->in_registers);
    cache.used = cache.used > cache.size / 2 ? 0 : cache.used;
    if (!cache.used)
        ir_host_restart(host);
    assert_true(ir_host_emit(host, r, al, NULL, &code));
    assert_int_equal(ir_host_enter(host, &g, cache.rx + code.entry), IR_LEAVE_LOOKUP);
    assert_int_equal(g.pc, 0x2000);
    assert_int_equal(g.budget, 999);
    if (memcmp(g.x, want, sizeof want))
        ir_print(r, stderr);
    assert_memory_equal(g.x, want, sizeof want);
}

static void run_random(uint64_t without, unsigned registers)
{
    struct ir_host *host = ir_host_create(&cache, &target, without);
    struct ir_regfile file = *ir_host_regfile(host);

    if (registers < file.nr_int)
        file.nr_int = (uint8_t)registers;
    for (unsigned n = 0; n < 3000; n++) {
        random_region(host);
        run_one(host, &file, n % 2);
    }
    ir_host_destroy(host);
}

static void test_integer_operations_in_registers(void **state)
{
    (void)state;
    run_random(0, 16);
}

static void test_integer_operations_mostly_in_memory(void **state)
{
    (void)state;
    run_random(0, 3);
    run_random(0, 1);
}

static void test_integer_operations_on_an_old_host(void **state)
{
    (void)state;
    run_random(UINT64_MAX, 16);
    run_random(UINT64_MAX, 3);
}

/* A loop that ends by budget: exact charge, the loop's registers found through the site. */
static void test_budget_ends_a_loop(void **state)
{
    (void)state;
    struct ir_host *host = ir_host_create(&cache, &target, 0);
    struct guest g = {.budget = 10000, .mxcsr = 0x1f80};
    struct ir_code code;

    ir_reset(r);
    r->entry_pc = 0x1000;
    ir_block_begin(r);
    for (unsigned n = 0; n < 3; n++)
        r->origin[r->nr_origins++] = (struct ir_origin){.pc = 0x1000 + 4 * n, .before = (uint16_t)n};
    ir_emit(r, IR_ADD, IR_I64, 5, 5, ir_const(r, 1));
    r->block[0].succ[0] = 0;
    r->block[0].nr_succ = 1;
    ir_emit(r, IR_JMP, IR_I64, IR_NONE, IR_NONE, IR_NONE);
    ir_block_end(r);
    ir_find_loops(r);
    ir_allocate(r, ir_host_regfile(host), al);
    ir_analyse(r, al->in_registers);
    int owner;
    assert_true(ir_host_emit(host, r, al, &owner, &code));
    assert_int_equal(ir_host_enter(host, &g, cache.rx + code.entry), IR_LEAVE_BUDGET);
    const struct ir_site *site = (const void *)(uintptr_t)g.scratch[5];
    assert_ptr_equal(ir_site_region(site), &owner);
    assert_int_equal(site->dirty, 1u << al->global[5]);
    uint64_t rounds = g.scratch[al->global[5]];
    assert_int_equal(rounds, 3334); /* it may overdraw by less than a block */
    /* the budget lacks the block that was charged and not run: the site's owner gives it back */
    assert_int_equal(g.budget + 3, 10000 - 3 * (int64_t)rounds);
    g.kick = 1;
    g.budget = 10000;
    assert_int_equal(ir_host_enter(host, &g, cache.rx + code.entry), IR_LEAVE_BUDGET);
    assert_int_equal(g.budget + 3, 10000);
    ir_host_destroy(host);
}

static void test_a_chained_exit_is_linked_and_unlinked(void **state)
{
    (void)state;
    struct ir_host *host = ir_host_create(&cache, &target, 0);
    static struct jump_cache jc;
    struct guest g = {.budget = 100, .mxcsr = 0x1f80, .pc = CODE_BASE + 0x100,
                      .code_tlb = (uint64_t)(uintptr_t)&jc};
    struct ir_code code[2];

    for (unsigned n = 0; n < 2; n++) {
        ir_reset(r);
        r->entry_pc = 0x100 * (n + 1);
        ir_block_begin(r);
        r->nr_origins = 1;
        ir_emit(r, IR_MOV, IR_I64, (ir_ref)(5 + n), ir_const(r, 7), IR_NONE);
        r->block[0].succ[0] = ir_add_exit(r, 0x100 * (n + 2), true);
        r->block[0].nr_succ = 1;
        ir_emit(r, IR_JMP, IR_I64, IR_NONE, IR_NONE, IR_NONE);
        ir_block_end(r);
        ir_allocate(r, ir_host_regfile(host), al);
        ir_analyse(r, al->in_registers);
        assert_true(ir_host_emit(host, r, al, NULL, &code[n]));
        assert_int_equal(code[n].nr_exits, 1);
    }
    struct ir_code_exit *exit = (void *)(cache.rw + code[0].exits);
    assert_int_equal(ir_host_enter(host, &g, cache.rx + code[0].entry), IR_LEAVE_LINK);
    assert_int_equal(g.scratch[5], (uint64_t)(uintptr_t)(cache.rx + code[0].exits));
    assert_int_equal(g.x[5], 7);
    assert_int_equal(g.x[6], 0);
    assert_int_equal(exit->pc, 0x200);
    assert_int_equal(g.code_base, CODE_BASE);
    ir_host_link(host, exit, code[1].inner);
    assert_int_equal(ir_host_enter(host, &g, cache.rx + code[0].entry), IR_LEAVE_LINK);
    assert_int_equal(g.scratch[5], (uint64_t)(uintptr_t)(cache.rx + code[1].exits));
    assert_int_equal(g.x[6], 7);
    ir_host_unlink(host, exit);
    assert_int_equal(ir_host_enter(host, &g, cache.rx + code[0].entry), IR_LEAVE_LINK);
    assert_int_equal(g.scratch[5], (uint64_t)(uintptr_t)(cache.rx + code[0].exits));
    /* the same code where the page is mapped elsewhere */
    g.pc = 0x7000100;
    assert_int_equal(ir_host_enter(host, &g, cache.rx + code[0].entry), IR_LEAVE_LINK);
    assert_int_equal(g.code_base, 0x7000000);
    /* a dead region's entry leaves for a look-up of its own pc */
    ir_host_kill_entry(host, &code[1]);
    g.pc = CODE_BASE + 0x200;
    assert_int_equal(ir_host_enter(host, &g, cache.rx + code[1].entry), IR_LEAVE_LOOKUP);
    assert_int_equal(g.pc, CODE_BASE + 0x200);
    ir_host_destroy(host);
}

/* A jump that leaves the page, to what the second way of the jump cache has: it is there at once, and in the first way then. */
static void test_jumps_look_into_the_second_way(void **state)
{
    (void)state;
    struct ir_host *host = ir_host_create(&cache, &target, 0);
    static struct jump_cache jc;
    struct guest g = {.budget = 100, .mxcsr = 0x1f80, .pc = CODE_BASE + 0x100,
                      .code_tlb = (uint64_t)(uintptr_t)&jc};
    struct ir_code code[2];
    uint64_t to = CODE_BASE + 0x1010, other = to + (1 << 12), last = CODE_BASE + 0x3020;

    for (unsigned n = 0; n < 2; n++) {
        ir_reset(r);
        r->entry_pc = n ? 0x10 : 0x100;
        ir_block_begin(r);
        r->nr_origins = 1;
        ir_emit(r, IR_ADD, IR_I64, (ir_ref)(5 + n), (ir_ref)(5 + n), ir_const(r, 1));
        ir_emit(r, IR_JMP_IND, IR_I64, IR_NONE, ir_const(r, (int64_t)(n ? last : to)), IR_NONE);
        ir_block_end(r);
        ir_allocate(r, ir_host_regfile(host), al);
        ir_analyse(r, al->in_registers);
        assert_true(ir_host_emit(host, r, al, NULL, &code[n]));
    }
    unsigned at = to >> 2 & 15;
    jc.entry[at][0].pc = other;
    jc.entry[at][0].code = 1;
    jc.entry[at][1].pc = to;
    jc.entry[at][1].code = (uint64_t)(uintptr_t)(cache.rx + code[1].entry);
    for (unsigned n = 1; n <= 2; n++) {
        g.pc = CODE_BASE + 0x100;
        assert_int_equal(ir_host_enter(host, &g, cache.rx + code[0].entry), IR_LEAVE_LOOKUP);
        assert_int_equal(g.pc, last);
        assert_int_equal(g.x[5], n);
        assert_int_equal(g.x[6], n);
        assert_int_equal(jc.entry[at][0].pc, to);
        assert_int_equal(jc.entry[at][1].pc, other);
        assert_int_equal(jc.entry[at][1].code, 1);
    }
    ir_host_destroy(host);
}

static void test_a_full_cache_is_refused(void **state)
{
    (void)state;
    struct ir_host *host = ir_host_create(&cache, &target, 0);
    struct ir_code code;
    uint64_t used = cache.size - 200;

    random_region(host);
    ir_allocate(r, ir_host_regfile(host), al);
    ir_analyse(r, al->in_registers);
    cache.used = used;
    assert_false(ir_host_emit(host, r, al, NULL, &code));
    assert_int_equal(cache.used, used);
    ir_host_restart(host);
    assert_true(ir_host_emit(host, r, al, NULL, &code));
    ir_host_destroy(host);
}

int main(void)
{
#define TEST(fn) cmocka_unit_test_setup_teardown(fn, set_up, tear_down)
    const struct CMUnitTest tests[] = {
        TEST(test_integer_operations_in_registers),
        TEST(test_integer_operations_mostly_in_memory),
        TEST(test_integer_operations_on_an_old_host),
        TEST(test_budget_ends_a_loop),
        TEST(test_jumps_look_into_the_second_way),
        TEST(test_a_chained_exit_is_linked_and_unlinked),
        TEST(test_a_full_cache_is_refused),
    };
#undef TEST
    return cmocka_run_group_tests(tests, NULL, NULL);
}
