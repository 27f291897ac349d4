/* Directed rows for Zba, Zbb and Zbs. */
#include "exec_rows.h"

#define MIN64 0x8000000000000000ull
#define MAX64 0x7fffffffffffffffull
#define M1 UINT64_MAX

static const struct compute_row rows[] = {
    /* op, a, b, imm, want */
    {RV_OP_add_uw, 0xffffffff80000000, 0x100000000, 0, 0x180000000},
    {RV_OP_add_uw, M1, 1, 0, 0x100000000},
    {RV_OP_sh1add, 0x10, 3, 0, 0x23},
    {RV_OP_sh1add, MIN64, 5, 0, 5},
    {RV_OP_sh2add, 0x10, 3, 0, 0x43},
    {RV_OP_sh2add, M1, 4, 0, 0},
    {RV_OP_sh3add, 0x10, 3, 0, 0x83},
    {RV_OP_sh3add, M1, 0, 0, -8ull},
    {RV_OP_sh1add_uw, 0xffffffff80000000, 1, 0, 0x100000001},
    {RV_OP_sh2add_uw, 0xffffffff80000000, 1, 0, 0x200000001},
    {RV_OP_sh3add_uw, 0xffffffff80000000, 1, 0, 0x400000001},
    {RV_OP_slli_uw, M1, 0, 0, 0xffffffff},
    {RV_OP_slli_uw, M1, 0, 32, 0xffffffff00000000},
    {RV_OP_slli_uw, 0x1234567800000001, 0, 63, MIN64},

    {RV_OP_andn, 0xff, 0x0f, 0, 0xf0},
    {RV_OP_andn, M1, 0, 0, M1},
    {RV_OP_orn, 0x0f, ~0xf0ull, 0, 0xff},
    {RV_OP_orn, 0, 0, 0, M1},
    {RV_OP_xnor, 0xff00, 0x0ff0, 0, ~0xf0f0ull},
    {RV_OP_clz, 0, 0, 0, 64},
    {RV_OP_clz, 1, 0, 0, 63},
    {RV_OP_clz, MIN64, 0, 0, 0},
    {RV_OP_ctz, 0, 0, 0, 64},
    {RV_OP_ctz, MIN64, 0, 0, 63},
    {RV_OP_ctz, 1, 0, 0, 0},
    {RV_OP_cpop, 0, 0, 0, 0},
    {RV_OP_cpop, M1, 0, 0, 64},
    {RV_OP_cpop, 0x8000000100000001, 0, 0, 3},
    {RV_OP_clzw, 0xffffffff00000000, 0, 0, 32},
    {RV_OP_clzw, 0xffffffff00000001, 0, 0, 31},
    {RV_OP_clzw, 0x80000000, 0, 0, 0},
    {RV_OP_ctzw, 0xffffffff00000000, 0, 0, 32},
    {RV_OP_ctzw, 0x80000000, 0, 0, 31},
    {RV_OP_ctzw, 0x6, 0, 0, 1},
    {RV_OP_cpopw, 0xffffffff00000000, 0, 0, 0},
    {RV_OP_cpopw, M1, 0, 0, 32},
    {RV_OP_sext_b, 0x1280, 0, 0, 0xffffffffffffff80},
    {RV_OP_sext_b, 0xff7f, 0, 0, 0x7f},
    {RV_OP_sext_h, 0x128000, 0, 0, 0xffffffffffff8000},
    {RV_OP_sext_h, 0xff7fff, 0, 0, 0x7fff},
    {RV_OP_zext_h, M1, 0, 0, 0xffff},
    {RV_OP_zext_h, 0x18000, 0, 0, 0x8000},
    {RV_OP_max, MIN64, MAX64, 0, MAX64},
    {RV_OP_max, MAX64, MIN64, 0, MAX64},
    {RV_OP_max, -1ull, 0, 0, 0},
    {RV_OP_maxu, MIN64, MAX64, 0, MIN64},
    {RV_OP_maxu, 0, M1, 0, M1},
    {RV_OP_min, MIN64, MAX64, 0, MIN64},
    {RV_OP_min, 0, -1ull, 0, -1ull},
    {RV_OP_minu, MIN64, MAX64, 0, MAX64},
    {RV_OP_minu, M1, 0, 0, 0},
    {RV_OP_rol, 0x8000000000000001, 1, 0, 3},
    {RV_OP_rol, 0x123456789abcdef0, 0, 0, 0x123456789abcdef0},
    {RV_OP_rol, 0x123456789abcdef0, 64 + 8, 0, 0x3456789abcdef012},
    {RV_OP_rol, 1, 63, 0, MIN64},
    {RV_OP_ror, 3, 1, 0, 0x8000000000000001},
    {RV_OP_ror, 0x123456789abcdef0, 64, 0, 0x123456789abcdef0},
    {RV_OP_ror, 1, 63, 0, 2},
    {RV_OP_rori, 0x123456789abcdef0, 0, 4, 0x0123456789abcdef},
    {RV_OP_rori, 0x123456789abcdef0, 0, 0, 0x123456789abcdef0},
    {RV_OP_rori, 1, 0, 63, 2},
    {RV_OP_rolw, 0xffffffff80000000, 1, 0, 1},
    {RV_OP_rolw, 0x40000000, 1, 0, 0xffffffff80000000},
    {RV_OP_rolw, 0x12345678, 32, 0, 0x12345678},
    {RV_OP_rorw, 0xffffffff00000001, 1, 0, 0xffffffff80000000},
    {RV_OP_rorw, 0x12345678, 36, 0, 0xffffffff81234567},
    {RV_OP_rorw, 0x92345678, 0, 0, 0xffffffff92345678},
    {RV_OP_roriw, 0x12345678, 0, 8, 0x78123456},
    {RV_OP_roriw, 0xffffffff00000001, 0, 1, 0xffffffff80000000},
    {RV_OP_roriw, 0x80000000, 0, 31, 1},
    {RV_OP_orc_b, 0, 0, 0, 0},
    {RV_OP_orc_b, 0x0100800000407f00, 0, 0, 0xff00ff0000ffff00},
    {RV_OP_orc_b, 0x8080808080808080, 0, 0, M1},
    {RV_OP_orc_b, 0x0101010101010101, 0, 0, M1},
    {RV_OP_orc_b, 0xff, 0, 0, 0xff},
    {RV_OP_rev8, 0x0123456789abcdef, 0, 0, 0xefcdab8967452301},

    {RV_OP_bclr, M1, 63, 0, MAX64},
    {RV_OP_bclr, M1, 64, 0, M1 - 1},
    {RV_OP_bclr, 0, 5, 0, 0},
    {RV_OP_bext, MIN64, 63, 0, 1},
    {RV_OP_bext, MIN64, 62, 0, 0},
    {RV_OP_bext, 1, 128, 0, 1},
    {RV_OP_binv, 0, 63, 0, MIN64},
    {RV_OP_binv, 1, 64, 0, 0},
    {RV_OP_bset, 0, 63, 0, MIN64},
    {RV_OP_bset, 0, 32 + 64, 0, 0x100000000},
    {RV_OP_bclri, M1, 0, 63, MAX64},
    {RV_OP_bclri, M1, 0, 0, M1 - 1},
    {RV_OP_bexti, MIN64, 0, 63, 1},
    {RV_OP_bexti, 0x100000000, 0, 32, 1},
    {RV_OP_bexti, 0, 0, 32, 0},
    {RV_OP_binvi, M1, 0, 63, MAX64},
    {RV_OP_binvi, 0, 0, 31, 0x80000000},
    {RV_OP_bseti, 0, 0, 31, 0x80000000},
    {RV_OP_bseti, 0, 0, 63, MIN64},
};

static void test_compute_rows(void **state)
{
    struct rig r;

    (void)state;
    rig_init(&r, false);
    check_rows(r.h, rows, SIM_ARRAY_LEN(rows));
    rig_fini(&r);
}

static void test_every_op_has_a_row(void **state)
{
    struct op_set set = {0};

    (void)state;
    mark_rows(&set, rows, SIM_ARRAY_LEN(rows));
    check_all_covered(&set, 1ull << RV_EXT_ZBA | 1ull << RV_EXT_ZBB | 1ull << RV_EXT_ZBS);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_compute_rows),
        cmocka_unit_test(test_every_op_has_a_row),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
