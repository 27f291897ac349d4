/* Register allocation: hot globals win, temps that live together do not share, spills work. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include <cmocka.h>

#include "alloc.h"

static struct ir_region *r;
static struct ir_alloc *al;

static int set_up(void **state)
{
    (void)state;
    r = calloc(1, sizeof *r);
    al = calloc(1, sizeof *al);
    ir_reset(r);
    ir_block_begin(r);
    r->nr_origins = 1;
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    free(r);
    free(al);
    return 0;
}

static void end(void)
{
    r->block[0].succ[0] = ir_add_exit(r, 0, true);
    r->block[0].nr_succ = 1;
    ir_emit(r, IR_JMP, IR_I64, IR_NONE, IR_NONE, IR_NONE);
    ir_block_end(r);
}

static const struct ir_regfile two = {.nr_int = 2, .nr_fp = 1, .int_reg = {3, 6}, .fp_reg = {4}};

static void test_the_most_used_globals_get_registers(void **state)
{
    (void)state;
    for (unsigned n = 0; n < 3; n++)
        ir_emit(r, IR_ADD, IR_I64, 10, 10, 11);
    ir_emit(r, IR_ADD, IR_I64, 12, 13, 14);
    ir_emit(r, IR_FADD, IR_F64, 40, 40, 41);
    end();
    ir_allocate(r, &two, al);
    assert_int_equal(al->global[10], 3);
    assert_int_equal(al->global[11], 6);
    assert_int_equal(al->global[12], IR_LOC_MEMORY);
    assert_int_equal(al->global[40], 4);
    assert_int_equal(al->in_registers, ir_bit(10) | ir_bit(11) | ir_bit(40));
}

static void test_temps_get_a_register_of_their_own(void **state)
{
    (void)state;
    ir_ref a = ir_temp(r, IR_I64), b = ir_temp(r, IR_I64);
    ir_emit(r, IR_ADD, IR_I64, a, 10, 11);
    ir_emit(r, IR_ADD, IR_I64, b, 10, 12);
    ir_emit(r, IR_SUB, IR_I64, 13, a, b);
    end();
    ir_allocate(r, &two, al);
    assert_int_not_equal(al->temp[0], IR_LOC_MEMORY);
    assert_int_not_equal(al->temp[1], IR_LOC_MEMORY);
    assert_int_not_equal(al->temp[0], al->temp[1]);
}

static void test_a_result_may_take_over_a_source(void **state)
{
    (void)state;
    ir_ref a = ir_temp(r, IR_I64), b = ir_temp(r, IR_I64);
    ir_emit(r, IR_ADD, IR_I64, a, 10, 11);
    ir_emit(r, IR_SHL, IR_I64, b, a, ir_const(r, 3));
    ir_emit(r, IR_MOV, IR_I64, 13, b, IR_NONE);
    end();
    ir_allocate(r, &two, al);
    assert_int_equal(al->temp[0], al->temp[1]);
}

/* The slow path of a load still needs the address when the result is there. */
static void test_a_load_does_not_take_over_its_address(void **state)
{
    (void)state;
    ir_ref a = ir_temp(r, IR_I64), b = ir_temp(r, IR_I64);
    ir_emit(r, IR_ADD, IR_I64, a, 10, 11);
    ir_emit(r, IR_LOAD, IR_I64, b, a, IR_NONE)->aux = IR_M64;
    ir_emit(r, IR_MOV, IR_I64, 13, b, IR_NONE);
    end();
    ir_allocate(r, &two, al);
    assert_int_not_equal(al->temp[0], al->temp[1]);
}

static void test_too_many_temps_are_spilled_to_different_slots(void **state)
{
    enum { N = 6 };
    ir_ref t[N];

    (void)state;
    for (unsigned n = 0; n < N; n++) {
        t[n] = ir_temp(r, IR_I64);
        ir_emit(r, IR_ADD, IR_I64, t[n], 10, 11);
    }
    for (unsigned n = 0; n < N; n++)
        ir_emit(r, IR_XOR, IR_I64, 13, 13, t[n]);
    end();
    ir_allocate(r, &two, al);
    assert_false(al->failed);
    for (unsigned a = 0; a < N; a++)
        for (unsigned b = a + 1; b < N; b++)
            assert_false(al->temp[a] == al->temp[b] &&
                         (al->temp[a] != IR_LOC_MEMORY || al->slot[a] == al->slot[b]));
}

/* x10 is dead from its last use to its next definition: its register serves meanwhile, and what is made
 * into x10 takes it. */
static void test_a_register_is_lent_while_its_global_is_dead(void **state)
{
    (void)state;
    ir_ref a = ir_temp(r, IR_I64), b = ir_temp(r, IR_I64);
    for (unsigned n = 0; n < 4; n++)
        ir_emit(r, IR_ADD, IR_I64, 11, 11, 10);
    ir_emit(r, IR_SHL, IR_I64, a, 10, ir_const(r, 1));
    ir_emit(r, IR_XOR, IR_I64, b, a, 11);
    ir_emit(r, IR_ADD, IR_I64, 10, b, ir_const(r, 5));
    end();
    ir_allocate(r, &two, al);
    assert_int_not_equal(al->global[10], IR_LOC_MEMORY);
    assert_int_not_equal(al->global[11], IR_LOC_MEMORY);
    assert_int_equal(al->temp[0], al->global[10]);
    assert_int_equal(al->temp[1], al->global[10]);
}

/* ... but not over an operation that may want all registers. */
static void test_nothing_is_lent_over_an_observer(void **state)
{
    (void)state;
    ir_ref a = ir_temp(r, IR_I64);
    for (unsigned n = 0; n < 4; n++)
        ir_emit(r, IR_ADD, IR_I64, 11, 11, 10);
    ir_emit(r, IR_SHL, IR_I64, a, 10, ir_const(r, 1));
    ir_emit(r, IR_EXEC, IR_I64, IR_NONE, IR_NONE, IR_NONE);
    ir_emit(r, IR_ADD, IR_I64, 10, a, ir_const(r, 5));
    end();
    ir_allocate(r, &two, al);
    assert_int_not_equal(al->global[10], IR_LOC_MEMORY);
    assert_int_not_equal(al->temp[0], al->global[10]);
}

int main(void)
{
#define TEST(fn) cmocka_unit_test_setup_teardown(fn, set_up, tear_down)
    const struct CMUnitTest tests[] = {
        TEST(test_the_most_used_globals_get_registers),
        TEST(test_temps_get_a_register_of_their_own),
        TEST(test_a_result_may_take_over_a_source),
        TEST(test_a_load_does_not_take_over_its_address),
        TEST(test_too_many_temps_are_spilled_to_different_slots),
        TEST(test_a_register_is_lent_while_its_global_is_dead),
        TEST(test_nothing_is_lent_over_an_observer),
    };
#undef TEST
    return cmocka_run_group_tests(tests, NULL, NULL);
}
