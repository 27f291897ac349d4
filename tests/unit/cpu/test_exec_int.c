/* Directed rows for RV64I, M and Zicond. */
#include "exec_rows.h"

#define MIN64 0x8000000000000000ull
#define MAX64 0x7fffffffffffffffull
#define M1 UINT64_MAX
#define MIN32 0xffffffff80000000ull /* as a register holds it */
#define MAX32 0x7fffffffull

static const struct compute_row rows[] = {
    /* op, a, b, imm, want */
    {RV_OP_lui, 0, 0, 0x12345000, 0x12345000},
    {RV_OP_lui, 0, 0, INT32_MIN, MIN32},
    {RV_OP_auipc, 0, 0, 0, RAM_BASE},
    {RV_OP_auipc, 0, 0, 0x7ffff000, RAM_BASE + 0x7ffff000},
    {RV_OP_auipc, 0, 0, INT32_MIN, 0},
    {RV_OP_addi, 5, 0, -6, M1},
    {RV_OP_addi, MAX64, 0, 1, MIN64},
    {RV_OP_addi, 0, 0, -2048, -2048ull},
    {RV_OP_slti, 0, 0, 0, 0},
    {RV_OP_slti, -3ull, 0, -2, 1},
    {RV_OP_slti, -2ull, 0, -2, 0},
    {RV_OP_slti, MIN64, 0, 2047, 1},
    {RV_OP_sltiu, 0, 0, 1, 1},
    {RV_OP_sltiu, 1, 0, 1, 0},
    {RV_OP_sltiu, 5, 0, -1, 1}, /* the immediate is sign-extended, then unsigned */
    {RV_OP_sltiu, M1, 0, -1, 0},
    {RV_OP_xori, 0x0f0f, 0, 0xff, 0x0ff0},
    {RV_OP_xori, 0x1234, 0, -1, ~0x1234ull},
    {RV_OP_ori, 0x0f00, 0, 0xf0, 0x0ff0},
    {RV_OP_ori, 0, 0, -2048, -2048ull},
    {RV_OP_andi, M1, 0, 0x7ff, 0x7ff},
    {RV_OP_andi, M1, 0, -16, -16ull},
    {RV_OP_slli, 1, 0, 63, MIN64},
    {RV_OP_slli, 0x1234, 0, 0, 0x1234},
    {RV_OP_slli, 0xf00000000000000f, 0, 4, 0xf0},
    {RV_OP_srli, MIN64, 0, 63, 1},
    {RV_OP_srli, M1, 0, 0, M1},
    {RV_OP_srli, M1, 0, 4, 0x0fffffffffffffff},
    {RV_OP_srai, MIN64, 0, 63, M1},
    {RV_OP_srai, MAX64, 0, 62, 1},
    {RV_OP_srai, MIN64, 0, 0, MIN64},
    {RV_OP_add, M1, 1, 0, 0},
    {RV_OP_add, 0x7fffffff, 1, 0, 0x80000000},
    {RV_OP_sub, 0, 1, 0, M1},
    {RV_OP_sub, MIN64, 1, 0, MAX64},
    {RV_OP_sll, 1, 63, 0, MIN64},
    {RV_OP_sll, 1, 64, 0, 1}, /* six bits of rs2 */
    {RV_OP_sll, 3, M1, 0, MIN64},
    {RV_OP_slt, MIN64, MAX64, 0, 1},
    {RV_OP_slt, MAX64, MIN64, 0, 0},
    {RV_OP_slt, 7, 7, 0, 0},
    {RV_OP_sltu, MIN64, MAX64, 0, 0},
    {RV_OP_sltu, MAX64, MIN64, 0, 1},
    {RV_OP_sltu, M1, M1, 0, 0},
    {RV_OP_xor, 0xff00ff00ff00ff00, 0x0ff00ff00ff00ff0, 0, 0xf0f0f0f0f0f0f0f0},
    {RV_OP_srl, MIN64, 63, 0, 1},
    {RV_OP_srl, 0x100, 64 + 8, 0, 1},
    {RV_OP_sra, MIN64, 63, 0, M1},
    {RV_OP_sra, MIN64, 64, 0, MIN64},
    {RV_OP_sra, 0x4000000000000000, 62, 0, 1},
    {RV_OP_or, 0xf0f0, 0x0f00, 0, 0xfff0},
    {RV_OP_and, 0xf0f0, 0x3c3c, 0, 0x3030},
    {RV_OP_addiw, 0x7fffffff, 0, 1, MIN32},
    {RV_OP_addiw, 0xffffffff, 0, 1, 0},
    {RV_OP_addiw, 0x1234567880000000, 0, 0, MIN32}, /* sext.w */
    {RV_OP_addiw, 0, 0, -1, M1},
    {RV_OP_slliw, 1, 0, 31, MIN32},
    {RV_OP_slliw, 0xffffffff00000001, 0, 0, 1},
    {RV_OP_slliw, 0x80000001, 0, 1, 2},
    {RV_OP_srliw, 0xffffffff80000000, 0, 31, 1},
    {RV_OP_srliw, 0x80000000, 0, 0, MIN32},
    {RV_OP_srliw, 0x1ffffffff, 0, 4, 0x0fffffff},
    {RV_OP_sraiw, 0x80000000, 0, 31, M1},
    {RV_OP_sraiw, 0x1234567840000000, 0, 30, 1},
    {RV_OP_sraiw, 0x80000000, 0, 0, MIN32},
    {RV_OP_addw, 0x7fffffff, 1, 0, MIN32},
    {RV_OP_addw, 0x1ffffffff, 0x200000001, 0, 0},
    {RV_OP_subw, 0, 1, 0, M1},
    {RV_OP_subw, 0x80000000, 1, 0, MAX32},
    {RV_OP_sllw, 1, 31, 0, MIN32},
    {RV_OP_sllw, 1, 32, 0, 1}, /* five bits of rs2 */
    {RV_OP_sllw, 3, 63, 0, MIN32},
    {RV_OP_srlw, 0x80000000, 31, 0, 1},
    {RV_OP_srlw, 0x80000000, 32, 0, MIN32},
    {RV_OP_srlw, 0xffffffff00000010, 4, 0, 1},
    {RV_OP_sraw, 0x80000000, 31, 0, M1},
    {RV_OP_sraw, 0x80000000, 32, 0, MIN32},
    {RV_OP_sraw, 0xffffffff7fffffff, 1, 0, 0x3fffffff},

    {RV_OP_mul, 6, -7ull, 0, -42ull},
    {RV_OP_mul, 0x100000001, 0x100000001, 0, 0x200000001},
    {RV_OP_mul, MIN64, M1, 0, MIN64},
    {RV_OP_mulh, M1, M1, 0, 0},
    {RV_OP_mulh, MIN64, MIN64, 0, 0x4000000000000000},
    {RV_OP_mulh, MIN64, 2, 0, M1},
    {RV_OP_mulh, MAX64, MAX64, 0, 0x3fffffffffffffff},
    {RV_OP_mulhsu, M1, M1, 0, M1}, /* -1 * (2^64 - 1) */
    {RV_OP_mulhsu, MIN64, M1, 0, MIN64},
    {RV_OP_mulhsu, 1, M1, 0, 0},
    {RV_OP_mulhsu, 2, MIN64, 0, 1},
    {RV_OP_mulhsu, -2ull, MIN64, 0, M1},
    {RV_OP_mulhu, M1, M1, 0, M1 - 1},
    {RV_OP_mulhu, MIN64, 2, 0, 1},
    {RV_OP_mulhu, 0xffffffff, 0xffffffff, 0, 0},
    {RV_OP_div, 20, 6, 0, 3},
    {RV_OP_div, -20ull, 6, 0, -3ull},
    {RV_OP_div, 20, -6ull, 0, -3ull},
    {RV_OP_div, 1, 0, 0, M1},
    {RV_OP_div, 0, 0, 0, M1},
    {RV_OP_div, MIN64, M1, 0, MIN64},
    {RV_OP_div, MAX64, M1, 0, MIN64 + 1},
    {RV_OP_divu, -20ull, 6, 0, 3074457345618258599},
    {RV_OP_divu, 1, 0, 0, M1},
    {RV_OP_divu, MIN64, M1, 0, 0},
    {RV_OP_rem, 20, 6, 0, 2},
    {RV_OP_rem, -20ull, 6, 0, -2ull},
    {RV_OP_rem, 20, -6ull, 0, 2},
    {RV_OP_rem, 17, 0, 0, 17},
    {RV_OP_rem, MIN64, M1, 0, 0},
    {RV_OP_remu, -20ull, 6, 0, 2},
    {RV_OP_remu, M1, 0, 0, M1},
    {RV_OP_remu, MIN64, M1, 0, MIN64},
    {RV_OP_mulw, 0x7fffffff, 2, 0, -2ull},
    {RV_OP_mulw, 0xdeadbeef00000003, 0x1234567800000005, 0, 15},
    {RV_OP_mulw, 0x10000, 0x8000, 0, MIN32},
    {RV_OP_divw, -20ull, 6, 0, -3ull},
    {RV_OP_divw, 0x0000000080000000, 0xffffffff, 0, MIN32}, /* overflow */
    {RV_OP_divw, 5, 0x100000000, 0, M1},                    /* the low word is zero */
    {RV_OP_divw, 0x10000000a, 2, 0, 5},
    {RV_OP_divuw, 0xffffffec, 6, 0, 0x2aaaaaa7},
    {RV_OP_divuw, 1, 0, 0, M1},
    {RV_OP_divuw, 0xffffffff, 1, 0, M1}, /* the result is sign-extended */
    {RV_OP_remw, -20ull, 6, 0, -2ull},
    {RV_OP_remw, 0x80000000, 0xffffffff, 0, 0},
    {RV_OP_remw, 0x80000000, 0, 0, MIN32},
    {RV_OP_remuw, 0xffffffec, 6, 0, 2},
    {RV_OP_remuw, 0x180000000, 0, 0, MIN32},
    {RV_OP_remuw, 0x80000000, 0xffffffff, 0, MIN32},

    {RV_OP_czero_eqz, 77, 0, 0, 0},
    {RV_OP_czero_eqz, 77, MIN64, 0, 77},
    {RV_OP_czero_nez, 77, 0, 0, 77},
    {RV_OP_czero_nez, 77, 1ull << 32, 0, 0},
};

static int setup(void **state)
{
    static struct rig r;

    rig_init(&r, false);
    r.h->pc = RAM_BASE;
    *state = &r;
    return 0;
}

static int teardown(void **state)
{
    rig_fini(*state);
    return 0;
}

static void test_compute_rows(void **state)
{
    struct rig *r = *state;

    check_rows(r->h, rows, SIM_ARRAY_LEN(rows));
}

/* ---- jumps and branches ---- */

struct branch_row {
    uint16_t op;
    uint64_t a, b;
    bool taken;
};

static const struct branch_row branches[] = {
    {RV_OP_beq, 5, 5, true},          {RV_OP_beq, 5, 1ull << 32 | 5, false},
    {RV_OP_bne, 5, 5, false},         {RV_OP_bne, 5, 6, true},
    {RV_OP_blt, MIN64, 0, true},      {RV_OP_blt, 0, MIN64, false},
    {RV_OP_blt, 3, 3, false},         {RV_OP_bge, 0, MIN64, true},
    {RV_OP_bge, 3, 3, true},          {RV_OP_bge, M1, 0, false},
    {RV_OP_bltu, 0, M1, true},        {RV_OP_bltu, M1, 0, false},
    {RV_OP_bltu, 3, 3, false},        {RV_OP_bgeu, M1, 0, true},
    {RV_OP_bgeu, 3, 3, true},         {RV_OP_bgeu, 0, M1, false},
};

static void check_branch(struct rv_hart *h, const struct branch_row *row, int32_t offset)
{
    struct rv_insn i = {.op = row->op, .len = 4, .rs1 = 1, .rs2 = 2, .imm = offset};

    h->pc = RAM_BASE + 0x1000;
    h->x[1] = row->a;
    h->x[2] = row->b;
    assert_int_equal(rv_op_info[row->op].exec(h, &i), row->taken ? RV_JUMP : RV_NEXT);
    assert_int_equal(h->pc, RAM_BASE + 0x1000 + (row->taken ? (uint64_t)(int64_t)offset : 0));
    assert_int_equal(h->x[1], row->a);
    assert_int_equal(h->x[2], row->b);
}

static void test_branches(void **state)
{
    struct rig *r = *state;

    for (size_t n = 0; n < SIM_ARRAY_LEN(branches); n++) {
        check_branch(r->h, &branches[n], 4094);
        check_branch(r->h, &branches[n], -4096);
        check_branch(r->h, &branches[n], 0);
    }
}

static void test_jal_links_and_jumps(void **state)
{
    struct rv_hart *h = ((struct rig *)*state)->h;
    struct rv_insn i = {.op = RV_OP_jal, .len = 4, .rd = 1, .imm = -1048576};

    h->pc = RAM_BASE;
    assert_int_equal(exec_jal(h, &i), RV_JUMP);
    assert_int_equal(h->pc, RAM_BASE - 1048576);
    assert_int_equal(h->x[1], RAM_BASE + 4);
    i = (struct rv_insn){.op = RV_OP_jal, .len = 2, .rd = 0, .imm = 2046}; /* c.j */
    assert_int_equal(exec_jal(h, &i), RV_JUMP);
    assert_int_equal(h->pc, RAM_BASE - 1048576 + 2046);
    assert_int_equal(h->x[0], 0);
}

static void test_jalr_clears_bit_0_and_may_link_its_base(void **state)
{
    struct rv_hart *h = ((struct rig *)*state)->h;
    struct rv_insn i = {.op = RV_OP_jalr, .len = 2, .rd = 1, .rs1 = 1, .imm = 0}; /* c.jalr ra */

    h->pc = RAM_BASE;
    h->x[1] = 0x1235;
    assert_int_equal(exec_jalr(h, &i), RV_JUMP);
    assert_int_equal(h->pc, 0x1234);
    assert_int_equal(h->x[1], RAM_BASE + 2);
    i = (struct rv_insn){.op = RV_OP_jalr, .len = 4, .rd = 0, .rs1 = 5, .imm = -1};
    h->x[5] = 0x4000;
    assert_int_equal(exec_jalr(h, &i), RV_JUMP);
    assert_int_equal(h->pc, 0x3ffe);
    assert_int_equal(h->x[0], 0);
}

/* Without C a target that is 2 modulo 4 traps in the jump, which leaves rd alone. */
static void test_misaligned_targets_trap_without_c(void **state)
{
    struct rv_hart *h = ((struct rig *)*state)->h;
    struct rv_insn jal = {.op = RV_OP_jal, .len = 4, .rd = 1, .imm = 6};
    struct rv_insn jalr = {.op = RV_OP_jalr, .len = 4, .rd = 1, .rs1 = 2, .imm = 2};
    struct rv_insn beq = {.op = RV_OP_beq, .len = 4, .imm = -2};
    struct rv_insn bne = {.op = RV_OP_bne, .len = 4, .imm = -2};

    h->isa.ext &= ~(1ull << RV_EXT_C);
    h->pc = RAM_BASE;
    h->x[1] = 99;
    h->x[2] = 0x1001;
    assert_int_equal(exec_jal(h, &jal), RV_TRAP);
    assert_int_equal(h->trap_cause, RV_EXC_INSN_MISALIGNED);
    assert_int_equal(h->trap_tval, RAM_BASE + 6);
    assert_int_equal(exec_jalr(h, &jalr), RV_TRAP);
    assert_int_equal(h->trap_tval, 0x1002);
    assert_int_equal(exec_beq(h, &beq), RV_TRAP);
    assert_int_equal(h->trap_tval, RAM_BASE - 2);
    assert_int_equal(exec_bne(h, &bne), RV_NEXT); /* not taken: no trap */
    assert_int_equal(h->x[1], 99);
    assert_int_equal(h->pc, RAM_BASE);
    jal.imm = 8;
    assert_int_equal(exec_jal(h, &jal), RV_JUMP);
    assert_int_equal(h->pc, RAM_BASE + 8);
    h->isa.ext |= 1ull << RV_EXT_C;
}

/* ---- loads and stores ---- */

static const struct {
    uint16_t op;
    uint64_t memory, want;
} loads[] = {
    {RV_OP_lb, 0x80, 0xffffffffffffff80},       {RV_OP_lb, 0xff7f, 0x7f},
    {RV_OP_lbu, 0x80, 0x80},                    {RV_OP_lbu, 0xffff, 0xff},
    {RV_OP_lh, 0x8000, 0xffffffffffff8000},     {RV_OP_lh, 0xf7fff, 0x7fff},
    {RV_OP_lhu, 0x8000, 0x8000},                {RV_OP_lhu, 0xfffff, 0xffff},
    {RV_OP_lw, 0x80000000, MIN32},              {RV_OP_lw, 0x97fffffff, 0x7fffffff},
    {RV_OP_lwu, 0x80000000, 0x80000000},        {RV_OP_lwu, M1, 0xffffffff},
    {RV_OP_ld, 0x8123456789abcdef, 0x8123456789abcdef},
};

static const struct {
    uint16_t op;
    uint64_t value, want; /* over a doubleword of 0x55 bytes */
} stores[] = {
    {RV_OP_sb, 0xfedcba9876543210, 0x5555555555555510},
    {RV_OP_sh, 0xfedcba9876543210, 0x5555555555553210},
    {RV_OP_sw, 0xfedcba9876543210, 0x5555555576543210},
    {RV_OP_sd, 0xfedcba9876543210, 0xfedcba9876543210},
};

/* An address in the middle of a page, misaligned ones, and one across a page end. */
static const uint64_t places[] = {RAM_BASE + 0x800, RAM_BASE + 0x801, RAM_BASE + 0x803,
                                  RAM_BASE + 0xfff};

static void test_loads(void **state)
{
    struct rig *r = *state;

    for (size_t n = 0; n < SIM_ARRAY_LEN(loads); n++) {
        for (size_t p = 0; p < SIM_ARRAY_LEN(places); p++) {
            struct rv_insn i = {.op = loads[n].op, .len = 4, .rd = 3, .rs1 = 1, .imm = -2048};

            rig_put64(r, places[p], loads[n].memory);
            r->h->x[1] = places[p] + 2048;
            assert_int_equal(rv_op_info[i.op].exec(r->h, &i), RV_NEXT);
            assert_int_equal(r->h->x[3], loads[n].want);
            i.rd = 0;
            assert_int_equal(rv_op_info[i.op].exec(r->h, &i), RV_NEXT);
            assert_int_equal(r->h->x[0], 0);
        }
    }
}

static void test_stores(void **state)
{
    struct rig *r = *state;

    for (size_t n = 0; n < SIM_ARRAY_LEN(stores); n++) {
        for (size_t p = 0; p < SIM_ARRAY_LEN(places); p++) {
            struct rv_insn i = {.op = stores[n].op, .len = 4, .rs1 = 1, .rs2 = 2, .imm = 2047};

            rig_put64(r, places[p], 0x5555555555555555);
            r->h->x[1] = places[p] - 2047;
            r->h->x[2] = stores[n].value;
            assert_int_equal(rv_op_info[i.op].exec(r->h, &i), RV_NEXT);
            assert_int_equal(rig_get64(r, places[p]), stores[n].want);
        }
    }
}

/* A fault leaves rd and memory alone and names the address. */
static void test_faulting_accesses_do_nothing(void **state)
{
    struct rig *r = *state;
    struct rv_hart *h = r->h;

    for (size_t n = 0; n < SIM_ARRAY_LEN(loads); n++) {
        struct rv_insn i = {.op = loads[n].op, .len = 4, .rd = 3, .rs1 = 1, .imm = 16};

        h->x[1] = 0x1000;
        h->x[3] = 42;
        assert_int_equal(rv_op_info[i.op].exec(h, &i), RV_TRAP);
        assert_int_equal(h->trap_cause, RV_EXC_LOAD_ACCESS);
        assert_int_equal(h->trap_tval, 0x1010);
        assert_int_equal(h->x[3], 42);
    }
    for (size_t n = 0; n < SIM_ARRAY_LEN(stores); n++) {
        struct rv_insn i = {.op = stores[n].op, .len = 4, .rs1 = 1, .imm = -16};

        assert_int_equal(rv_op_info[i.op].exec(h, &i), RV_TRAP);
        assert_int_equal(h->trap_cause, RV_EXC_STORE_ACCESS);
        assert_int_equal(h->trap_tval, 0xff0);
    }
}

static void test_illegal_traps_with_the_word(void **state)
{
    struct rv_hart *h = ((struct rig *)*state)->h;
    struct rv_insn i = {.op = RV_OP_illegal, .len = 4, .raw = 0xdeadbeef};

    assert_int_equal(rv_op_info[RV_OP_illegal].exec(h, &i), RV_TRAP);
    assert_int_equal(h->trap_cause, RV_EXC_ILLEGAL);
    assert_int_equal(h->trap_tval, 0xdeadbeef);
}

static void test_every_op_has_a_row(void **state)
{
    struct op_set set = {.has = {[RV_OP_jal] = true, [RV_OP_jalr] = true}};

    (void)state;
    mark_rows(&set, rows, SIM_ARRAY_LEN(rows));
    for (size_t n = 0; n < SIM_ARRAY_LEN(branches); n++)
        set.has[branches[n].op] = true;
    for (size_t n = 0; n < SIM_ARRAY_LEN(loads); n++)
        set.has[loads[n].op] = true;
    for (size_t n = 0; n < SIM_ARRAY_LEN(stores); n++)
        set.has[stores[n].op] = true;
    check_all_covered(&set, 1ull << RV_EXT_I | 1ull << RV_EXT_M | 1ull << RV_EXT_ZICOND);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_compute_rows, setup, teardown),
        cmocka_unit_test_setup_teardown(test_branches, setup, teardown),
        cmocka_unit_test_setup_teardown(test_jal_links_and_jumps, setup, teardown),
        cmocka_unit_test_setup_teardown(test_jalr_clears_bit_0_and_may_link_its_base, setup,
                                        teardown),
        cmocka_unit_test_setup_teardown(test_misaligned_targets_trap_without_c, setup, teardown),
        cmocka_unit_test_setup_teardown(test_loads, setup, teardown),
        cmocka_unit_test_setup_teardown(test_stores, setup, teardown),
        cmocka_unit_test_setup_teardown(test_faulting_accesses_do_nothing, setup, teardown),
        cmocka_unit_test_setup_teardown(test_illegal_traps_with_the_word, setup, teardown),
        cmocka_unit_test(test_every_op_has_a_row),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
