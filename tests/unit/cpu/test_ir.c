/* The IR: building, the passes one by one, and the dirty/live analysis. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include <cmocka.h>

#include "ir.h"

static struct ir_region *r;

static int set_up(void **state)
{
    (void)state;
    r = calloc(1, sizeof *r);
    ir_reset(r);
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    free(r);
    return 0;
}

static ir_ref k(int64_t v)
{
    return ir_const(r, v);
}

/* A guest instruction of the block being built. */
static void at(uint64_t pc)
{
    struct ir_block *b = &r->block[r->nr_blocks - 1];

    r->origin[r->nr_origins] = (struct ir_origin){
        pc, NULL, (uint16_t)(r->nr_origins - b->first_origin), (uint16_t)(r->nr_blocks - 1)};
    r->nr_origins++;
}

static void begin(uint64_t pc)
{
    ir_block_begin(r);
    at(pc);
}

static struct ir_insn *op2(enum ir_op op, ir_ref dst, ir_ref a, ir_ref b)
{
    return ir_emit(r, op, IR_I64, dst, a, b);
}

static struct ir_insn *mem(enum ir_op op, ir_ref dst, ir_ref base, int imm, ir_ref value)
{
    struct ir_insn *i = ir_emit(r, op, IR_I64, dst, base, value);

    i->imm = imm;
    i->aux = IR_M64;
    return i;
}

static void jump_to(ir_edge edge)
{
    struct ir_block *b = &r->block[r->nr_blocks - 1];

    b->succ[0] = edge;
    b->nr_succ = 1;
    ir_emit(r, IR_JMP, IR_I64, IR_NONE, IR_NONE, IR_NONE);
    ir_block_end(r);
}

static void branch(enum ir_cc cc, ir_ref a, ir_ref b, ir_edge taken, ir_edge other)
{
    struct ir_block *block = &r->block[r->nr_blocks - 1];

    block->succ[0] = taken;
    block->succ[1] = other;
    block->nr_succ = 2;
    ir_emit(r, IR_BR, IR_I64, IR_NONE, a, b)->cc = (uint8_t)cc;
    ir_block_end(r);
}

static void leave_at(uint64_t pc)
{
    jump_to(ir_add_exit(r, pc, true));
}

static void test_verify_finds_mistakes(void **state)
{
    (void)state;
    begin(0x1000);
    ir_ref t = ir_temp(r, IR_I64);
    op2(IR_ADD, 5, t, k(1)); /* t has no definition */
    leave_at(0x1004);
    assert_non_null(ir_verify(r));
    ir_reset(r);
    begin(0x1000);
    op2(IR_ADD, 5, 6, 7);
    leave_at(0x1004);
    assert_null(ir_verify(r));
    r->block[0].succ[0] = 9;
    assert_non_null(ir_verify(r));
}

static void test_exits_to_one_address_are_one(void **state)
{
    (void)state;
    assert_int_equal(ir_add_exit(r, 0x10, true), ir_add_exit(r, 0x10, true));
    assert_int_not_equal(ir_add_exit(r, 0x10, true), ir_add_exit(r, 0x20, true));
}

static void test_conditions(void **state)
{
    static const int64_t v[] = {0, 1, -1, INT64_MIN, INT64_MAX};

    (void)state;
    for (unsigned cc = IR_EQ; cc <= IR_GTU; cc++)
        for (unsigned a = 0; a < 5; a++)
            for (unsigned b = 0; b < 5; b++) {
                bool is = ir_cc_eval((enum ir_cc)cc, v[a], v[b]);
                assert_int_equal(ir_cc_eval(ir_cc_invert((enum ir_cc)cc), v[a], v[b]), !is);
                assert_int_equal(ir_cc_eval(ir_cc_swap((enum ir_cc)cc), v[b], v[a]), is);
            }
}

static void test_fold_computes_constants(void **state)
{
    (void)state;
    begin(0);
    op2(IR_MOV, 5, k(0x12345000), IR_NONE);
    struct ir_insn *sum = op2(IR_ADD, 5, 5, k(0x678));
    struct ir_insn *word = ir_emit(r, IR_SHL, IR_I32, 6, 5, k(4));
    struct ir_insn *set = op2(IR_SET, 7, 5, k(1));
    set->cc = IR_LT;
    leave_at(4);
    ir_pass_fold(r);
    assert_int_equal(sum->op, IR_MOV);
    assert_int_equal(ir_const_value(r, sum->src[0]), 0x12345678);
    assert_int_equal(ir_const_value(r, word->src[0]), 0x23456780);
    assert_int_equal(ir_const_value(r, set->src[0]), 0);
}

static void test_fold_forgets_what_was_overwritten(void **state)
{
    (void)state;
    begin(0);
    op2(IR_MOV, 5, k(7), IR_NONE);
    mem(IR_LOAD, 5, 2, 0, IR_NONE);
    struct ir_insn *use = op2(IR_ADD, 6, 5, k(1));
    leave_at(4);
    ir_pass_fold(r);
    assert_int_equal(use->op, IR_ADD);
    assert_int_equal(use->src[0], 5);
}

static void test_fold_keeps_large_constants_in_their_register(void **state)
{
    (void)state;
    begin(0);
    op2(IR_MOV, 5, k(0x123456789abcdef0), IR_NONE);
    struct ir_insn *use = op2(IR_AND, 6, 7, 5);
    leave_at(4);
    ir_pass_fold(r);
    assert_int_equal(use->src[1], 5);
}

static void test_dce_removes_only_what_nobody_sees(void **state)
{
    (void)state;
    begin(0);
    struct ir_insn *dead = op2(IR_ADD, 5, 6, 7);
    struct ir_insn *read = op2(IR_ADD, 5, 6, 8);
    op2(IR_ADD, 9, 5, 5);
    struct ir_insn *observed = op2(IR_ADD, 10, 6, 7);
    mem(IR_LOAD, 11, 2, 0, IR_NONE); /* may trap: x10 must be right */
    op2(IR_MOV, 10, k(0), IR_NONE);
    struct ir_insn *fp = ir_emit(r, IR_FADD, IR_F64, 32, 33, 34); /* raises flags */
    ir_emit(r, IR_FMOV, IR_F64, 32, 35, IR_NONE);
    op2(IR_MOV, 5, k(1), IR_NONE);
    leave_at(4);
    ir_pass_dce(r);
    assert_int_equal(dead->op, IR_MOV);
    assert_int_equal(dead->dst, IR_NONE);
    assert_int_equal(read->op, IR_ADD);
    assert_int_equal(observed->op, IR_ADD);
    assert_int_equal(fp->op, IR_FADD);
}

static void test_fuse_compare_and_branch(void **state)
{
    (void)state;
    begin(0);
    op2(IR_SET, 5, 6, 7)->cc = IR_LTU;
    branch(IR_EQ, 5, k(0), ir_add_exit(r, 4, true), ir_add_exit(r, 8, true));
    ir_pass_fuse(r);
    const struct ir_insn *br = &r->insn[r->nr_insns - 1];
    assert_int_equal(br->cc, IR_GEU);
    assert_int_equal(br->src[0], 6);
    assert_int_equal(br->src[1], 7);
}

static void test_fuse_not_after_a_source_changed(void **state)
{
    (void)state;
    begin(0);
    op2(IR_SET, 5, 6, 7)->cc = IR_LTU;
    op2(IR_ADD, 6, 6, k(1));
    branch(IR_NE, 5, k(0), ir_add_exit(r, 4, true), ir_add_exit(r, 8, true));
    ir_pass_fuse(r);
    assert_int_equal(r->insn[r->nr_insns - 1].src[0], 5);
}

static void test_fuse_rotates_and_extensions(void **state)
{
    (void)state;
    ir_ref t[4];

    for (unsigned n = 0; n < 4; n++)
        t[n] = ir_temp(r, IR_I64);
    begin(0);
    ir_emit(r, IR_SHL, IR_I32, t[0], 5, k(7));
    ir_emit(r, IR_SHR, IR_I32, t[1], 5, k(25));
    struct ir_insn *rol = op2(IR_OR, 6, t[1], t[0]);
    op2(IR_SHL, t[2], 7, k(32));
    struct ir_insn *zext = op2(IR_SHR, 8, t[2], k(32));
    struct ir_insn *scaled = op2(IR_SHR, 9, t[2], k(30));
    struct ir_insn *odd = op2(IR_SHR, 10, t[2], k(20));
    op2(IR_SHL, t[3], 7, k(3));
    struct ir_insn *index = op2(IR_ADD, 11, 12, t[3]);
    leave_at(4);
    ir_pass_fuse(r);
    assert_int_equal(rol->op, IR_ROL);
    assert_int_equal(rol->type, IR_I32);
    assert_int_equal(rol->src[0], 5);
    assert_int_equal(ir_const_value(r, rol->src[1]), 7);
    assert_int_equal(zext->op, IR_ZEXT32);
    assert_int_equal(scaled->op, IR_SHADD_UW);
    assert_int_equal(scaled->aux, 2);
    assert_int_equal(odd->op, IR_SHR);
    assert_int_equal(index->op, IR_SHADD);
    assert_int_equal(index->aux, 3);
    assert_int_equal(index->src[0], 7);
    assert_int_equal(index->src[1], 12);
    assert_null(ir_verify(r));
}

static void test_fuse_needs_the_same_value_twice(void **state)
{
    (void)state;
    begin(0);
    op2(IR_SHL, 6, 5, k(8));
    op2(IR_ADD, 5, 5, k(1));
    op2(IR_SHR, 7, 5, k(56));
    struct ir_insn *or = op2(IR_OR, 8, 6, 7);
    leave_at(4);
    ir_pass_fuse(r);
    assert_int_equal(or->op, IR_OR);
}

static void test_rename_leaves_what_can_be_observed(void **state)
{
    (void)state;
    begin(0);
    struct ir_insn *seen = op2(IR_ADD, 5, 6, 7); /* the load may trap */
    struct ir_insn *load = mem(IR_LOAD, 8, 2, 0, IR_NONE);
    struct ir_insn *local = op2(IR_ADD, 5, 5, 8);
    struct ir_insn *last = op2(IR_XOR, 5, 5, 8);
    op2(IR_MOV, 8, k(0), IR_NONE);
    leave_at(4);
    ir_pass_rename(r);
    assert_int_equal(seen->dst, 5);
    assert_true(ir_is_temp(load->dst));
    assert_true(ir_is_temp(local->dst));
    assert_int_equal(local->src[0], 5);
    assert_int_equal(local->src[1], load->dst);
    assert_int_equal(last->dst, 5);
    assert_int_equal(last->src[0], local->dst);
    assert_null(ir_verify(r));
}

/* What the interpreter's function may finish keeps its register: the function writes that. */
static void test_rename_keeps_the_names_that_helpers_write(void **state)
{
    (void)state;
    begin(0);
    struct ir_insn *amo = mem(IR_AMO, 5, 2, 0, 7);
    struct ir_insn *exec = ir_emit(r, IR_EXEC, IR_I64, 6, IR_NONE, IR_NONE);
    op2(IR_ADD, 5, 5, 6);
    op2(IR_MOV, 6, k(0), IR_NONE);
    leave_at(4);
    ir_pass_rename(r);
    assert_int_equal(amo->dst, 5);
    assert_int_equal(exec->dst, 6);
}

static void test_narrow_marks_what_only_words_read(void **state)
{
    (void)state;
    begin(0);
    struct ir_insn *wide = ir_emit(r, IR_ADD, IR_I32, 9, 6, 7);
    mem(IR_LOAD, 10, 9, 0, IR_NONE);
    struct ir_insn *sum = ir_emit(r, IR_ADD, IR_I32, 5, 6, 7);
    struct ir_insn *ext = op2(IR_SEXT32, 5, 5, IR_NONE);
    struct ir_insn *mask = op2(IR_AND, 8, 5, k(0xff));
    struct ir_insn *stored = ir_emit(r, IR_ADD, IR_I32, 5, 6, 7);
    mem(IR_STORE, IR_NONE, 2, 0, 5)->aux = IR_U32; /* is a SITE too: x5 is wanted there */
    op2(IR_MOV, 5, k(0), IR_NONE);
    leave_at(4);
    ir_pass_narrow(r);
    assert_true(sum->low);
    assert_int_equal(ext->op, IR_MOV);
    assert_false(mask->low);
    assert_false(wide->low);
    assert_false(stored->low);
}

static void test_windows_join_accesses_off_one_base(void **state)
{
    (void)state;
    begin(0);
    struct ir_insn *a = mem(IR_LOAD, 5, 2, 8, IR_NONE);
    struct ir_insn *other = mem(IR_LOAD, 6, 3, 0, IR_NONE);
    struct ir_insn *b = mem(IR_STORE, IR_NONE, 2, 24, 5);
    op2(IR_ADD, 2, 2, k(32));
    struct ir_insn *later = mem(IR_LOAD, 7, 2, 0, IR_NONE);
    mem(IR_LOAD, 2, 2, 0, IR_NONE);
    struct ir_insn *elsewhere = mem(IR_LOAD, 8, 2, 0, IR_NONE);
    leave_at(4);
    ir_pass_windows(r);
    assert_int_equal(r->nr_windows, 1);
    assert_int_equal(r->window[0].min, 8);
    assert_int_equal(r->window[0].end, 40);
    assert_true(r->window[0].write);
    assert_int_equal(a->window, 1);
    assert_true(a->opens);
    assert_int_equal(b->window, 1);
    assert_false(b->opens);
    assert_int_equal(other->window, 0);
    assert_int_equal(later->window, 1);
    assert_int_equal(later->window_disp, 32);
    assert_int_equal(elsewhere->window, 0);
}

static void test_windows_end_at_exec_and_stay_short(void **state)
{
    (void)state;
    begin(0);
    mem(IR_LOAD, 5, 2, 0, IR_NONE);
    ir_emit(r, IR_EXEC, IR_I64, IR_NONE, IR_NONE, IR_NONE);
    mem(IR_LOAD, 6, 2, 8, IR_NONE);
    mem(IR_LOAD, 7, 2, 2000, IR_NONE);
    leave_at(4);
    ir_pass_windows(r);
    assert_int_equal(r->nr_windows, 0);
}

/* b0 copies a word a round; b1 is behind it. */
static void test_unroll_copies_a_short_loop(void **state)
{
    (void)state;
    begin(0);
    mem(IR_LOAD, 5, 10, 0, IR_NONE);
    at(4);
    op2(IR_ADD, 10, 10, k(8));
    at(8);
    mem(IR_STORE, IR_NONE, 11, 0, 5);
    at(12);
    op2(IR_ADD, 11, 11, k(8));
    at(16);
    branch(IR_NE, 10, 12, 0, 1);
    begin(20);
    leave_at(24);
    ir_pass_unroll(r);
    assert_null(ir_verify(r));
    assert_int_equal(r->nr_blocks, 5);
    assert_int_equal(r->nr_origins, 21);
    for (unsigned n = 0; n < 4; n++) {
        const struct ir_block *b = &r->block[n];
        assert_int_equal(b->copy_of, n ? 1 : 0);
        assert_int_equal(b->succ[0], (n + 1) % 4);
        assert_int_equal(b->succ[1], 4);
        assert_int_equal(b->first_origin, 5 * n);
        const struct ir_origin *store = &r->origin[r->insn[b->first + 2].origin];
        assert_int_equal(store->pc, 8);
        assert_int_equal(store->before, 2);
        assert_int_equal(store->block, n);
    }
    assert_int_equal(r->origin[r->block[4].first_origin].pc, 20);
    assert_int_equal(r->origin[r->insn[r->block[4].first].origin].pc, 20);
    ir_find_loops(r);
    assert_true(r->block[0].loop_head);
    assert_false(r->block[1].loop_head);
    ir_pass_windows(r);
    assert_int_equal(r->nr_windows, 2);
    for (unsigned n = 0; n < 4; n++) {
        const struct ir_insn *load = &r->insn[r->block[n].first];
        assert_true(load->window);
        assert_int_equal(load->opens, n == 0);
        assert_int_equal(load->window_disp, 8 * n);
    }
}

/* b0 -> b1 -> b2 -> b1, b2 -> b0 -> out: entered in the outer loop, b1-b2 inside */
static void test_loops_nest(void **state)
{
    (void)state;
    begin(0x100);
    jump_to(1);
    begin(0x108);
    jump_to(2);
    begin(0x110);
    branch(IR_EQ, 5, 6, 1, 3);
    begin(0x118);
    branch(IR_EQ, 5, 6, 0, ir_add_exit(r, 4, true));
    ir_find_loops(r);
    assert_int_equal(r->block[0].depth, 1);
    assert_int_equal(r->block[1].depth, 2);
    assert_int_equal(r->block[2].depth, 2);
    assert_int_equal(r->block[3].depth, 1);
    assert_true(r->block[0].loop_head);
    assert_true(r->block[1].loop_head);
    assert_false(r->block[2].loop_head);
}

/* b0: x5 = ..; branch -> b1 | b2; b1: x6 = ..; both meet in b2, which may trap */
static void test_analysis_loads_what_only_one_path_writes(void **state)
{
    uint64_t all = ~1ull;

    (void)state;
    begin(0);
    op2(IR_ADD, 5, 7, k(1));
    branch(IR_EQ, 7, k(0), 1, 2);
    begin(4);
    op2(IR_MOV, 6, k(1), IR_NONE);
    jump_to(2);
    begin(8);
    mem(IR_LOAD, 8, 9, 0, IR_NONE);
    leave_at(12);
    ir_analyse(r, all);
    assert_int_equal(r->block[2].dirty_in, ir_bit(5) | ir_bit(6));
    /* x6 is stored at the load's site even on the path that did not write it: it must be there */
    assert_true(r->block[0].live_in & ir_bit(6));
    assert_false(r->block[0].live_in & ir_bit(5));
    assert_true(r->block[0].live_in & ir_bit(7));
    assert_true(r->block[0].live_in & ir_bit(9));
    assert_false(r->block[0].live_in & ir_bit(8));
    /* what is not in a register does not matter */
    ir_analyse(r, ir_bit(9));
    assert_int_equal(r->block[2].dirty_in, 0);
    assert_int_equal(r->block[0].live_in, ir_bit(9));
}

int main(void)
{
#define TEST(fn) cmocka_unit_test_setup_teardown(fn, set_up, tear_down)
    const struct CMUnitTest tests[] = {
        TEST(test_verify_finds_mistakes),
        TEST(test_exits_to_one_address_are_one),
        TEST(test_conditions),
        TEST(test_fold_computes_constants),
        TEST(test_fold_forgets_what_was_overwritten),
        TEST(test_fold_keeps_large_constants_in_their_register),
        TEST(test_dce_removes_only_what_nobody_sees),
        TEST(test_fuse_compare_and_branch),
        TEST(test_fuse_not_after_a_source_changed),
        TEST(test_fuse_rotates_and_extensions),
        TEST(test_fuse_needs_the_same_value_twice),
        TEST(test_rename_leaves_what_can_be_observed),
        TEST(test_rename_keeps_the_names_that_helpers_write),
        TEST(test_narrow_marks_what_only_words_read),
        TEST(test_windows_join_accesses_off_one_base),
        TEST(test_windows_end_at_exec_and_stay_short),
        TEST(test_unroll_copies_a_short_loop),
        TEST(test_loops_nest),
        TEST(test_analysis_loads_what_only_one_path_writes),
    };
#undef TEST
    return cmocka_run_group_tests(tests, NULL, NULL);
}
