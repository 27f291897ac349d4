/* rv_decode: fields of every format, reserved words, HINTs, extensions, and the lookup index. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "decode.h"
#include "sim-core/compiler.h"

static const struct rv_isa all = {.ext = UINT64_MAX};

static uint32_t random32(uint64_t *seed)
{
    *seed = *seed * 6364136223846793005ull + 1442695040888963407ull;
    return (uint32_t)(*seed >> 32);
}

/* ---- fields ---- */

struct field_row {
    uint32_t raw;
    uint16_t op;
    uint8_t len, rd, rs1, rs2, rs3, rm;
    int32_t imm;
};

/* One row for each format, with every bit of every field tried: alternating patterns, sign bits. */
static const struct field_row fields[] = {
    /* raw, op, len, rd, rs1, rs2, rs3, rm, imm */
    {0x800000b7, RV_OP_lui, 4, 1, 0, 0, 0, 0, INT32_MIN},
    {0x12345fb7, RV_OP_lui, 4, 31, 0, 0, 0, 0, 0x12345000},
    {0xabcde517, RV_OP_auipc, 4, 10, 0, 0, 0, 0, (int32_t)0xabcde000},
    {0x8000006f, RV_OP_jal, 4, 0, 0, 0, 0, 0, -1048576},
    {0x7fffffef, RV_OP_jal, 4, 31, 0, 0, 0, 0, 1048574},
    {0x002000ef, RV_OP_jal, 4, 1, 0, 0, 0, 0, 2},
    {0x001000ef, RV_OP_jal, 4, 1, 0, 0, 0, 0, 2048},
    {0x000010ef, RV_OP_jal, 4, 1, 0, 0, 0, 0, 4096},
    {0x80050067, RV_OP_jalr, 4, 0, 10, 0, 0, 0, -2048},
    {0x80208063, RV_OP_beq, 4, 0, 1, 2, 0, 0, -4096},
    {0x7ffffee3, RV_OP_bgeu, 4, 0, 31, 31, 0, 0, 4092},
    {0x002080e3, RV_OP_beq, 4, 0, 1, 2, 0, 0, 2048},
    {0x02208063, RV_OP_beq, 4, 0, 1, 2, 0, 0, 32},
    {0x00208163, RV_OP_beq, 4, 0, 1, 2, 0, 0, 2},
    {0xfff0af83, RV_OP_lw, 4, 31, 1, 0, 0, 0, -1},
    {0x8020b023, RV_OP_sd, 4, 0, 1, 2, 0, 0, -2048},
    {0x7e20bfa3, RV_OP_sd, 4, 0, 1, 2, 0, 0, 2047},
    {0x80008093, RV_OP_addi, 4, 1, 1, 0, 0, 0, -2048},
    {0x03f09093, RV_OP_slli, 4, 1, 1, 0, 0, 0, 63},
    {0x43f0d093, RV_OP_srai, 4, 1, 1, 0, 0, 0, 63},
    {0x01f0909b, RV_OP_slliw, 4, 1, 1, 0, 0, 0, 31},
    {0x0bf0909b, RV_OP_slli_uw, 4, 1, 1, 0, 0, 0, 63},
    {0x61f0d09b, RV_OP_roriw, 4, 1, 1, 0, 0, 0, 31},
    {0x41ff87b3, RV_OP_sub, 4, 15, 31, 31, 0, 0, 0},
    {0xfff51573, RV_OP_csrrw, 4, 10, 10, 0, 0, 0, 0xfff},
    {0x300fd073, RV_OP_csrrwi, 4, 0, 31, 0, 0, 0, 0x300},
    {0x0ff0000f, RV_OP_fence, 4, 0, 0, 0, 0, 0, 0xff},
    {0x8330000f, RV_OP_fence, 4, 0, 0, 0, 0, 0, (int32_t)0xfffff833},
    {0x0100000f, RV_OP_pause, 4, 0, 0, 0, 0, 0, 0},
    {0x1605212f, RV_OP_lr_w, 4, 2, 10, 0, 0, 3, 0},
    {0x1c65312f, RV_OP_sc_d, 4, 2, 10, 6, 0, 2, 0},
    {0x2a65412f, RV_OP_amocas_q, 4, 2, 10, 6, 0, 1, 0},
    {0x12f50073, RV_OP_sfence_vma, 4, 0, 10, 15, 0, 0, 0},
    {0x0045200f, RV_OP_cbo_zero, 4, 0, 10, 0, 0, 0, 0},
    {0xfff0a007, RV_OP_flw, 4, 0, 1, 0, 0, 0, -1},
    {0x02c5f553, RV_OP_fadd_d, 4, 10, 11, 12, 0, 7, 0},
    {0x58059553, RV_OP_fsqrt_s, 4, 10, 11, 0, 0, 1, 0},
    {0xfac5c543, RV_OP_fmadd_d, 4, 10, 11, 12, 31, 4, 0},
    {0xe2051553, RV_OP_fclass_d, 4, 10, 10, 0, 0, 0, 0},

    {0x022180d7, RV_OP_vadd_vv, 4, 1, 3, 2, 0, 1, 0},
    {0x00a54fd7, RV_OP_vadd_vx, 4, 31, 10, 10, 0, 0, 0},
    {0x02283057, RV_OP_vadd_vi, 4, 0, 0, 2, 0, 1, -16},
    {0x962fb057, RV_OP_vsll_vi, 4, 0, 0, 2, 0, 1, 31},
    {0x402080d7, RV_OP_vadc_vvm, 4, 1, 1, 2, 0, 0, 0},
    {0x4020c0d7, RV_OP_vadc_vxm, 4, 1, 1, 2, 0, 0, 0},
    {0x4027b0d7, RV_OP_vadc_vim, 4, 1, 0, 2, 0, 0, 15},
    {0x462080d7, RV_OP_vmadc_vv, 4, 1, 1, 2, 0, 1, 0},
    {0x4620c0d7, RV_OP_vmadc_vx, 4, 1, 1, 2, 0, 1, 0},
    {0x462830d7, RV_OP_vmadc_vi, 4, 1, 0, 2, 0, 1, -16},
    {0x5e0f80d7, RV_OP_vmv_v_v, 4, 1, 31, 0, 0, 1, 0},
    {0x5e0fc0d7, RV_OP_vmv_v_x, 4, 1, 31, 0, 0, 1, 0},
    {0x5e0fb0d7, RV_OP_vmv_v_i, 4, 1, 0, 0, 0, 1, -1},
    {0xb42120d7, RV_OP_vmacc_vv, 4, 1, 2, 2, 0, 0, 0},
    {0xb62160d7, RV_OP_vmacc_vx, 4, 1, 2, 2, 0, 1, 0},
    {0x4bf320d7, RV_OP_vzext_vf2, 4, 1, 0, 31, 0, 1, 0},
    {0x9ff0b0d7, RV_OP_vmv2r_v, 4, 1, 0, 31, 0, 1, 0},
    {0x403820d7, RV_OP_vcpop_m, 4, 1, 0, 3, 0, 0, 0},
    {0x43f02557, RV_OP_vmv_x_s, 4, 10, 0, 31, 0, 1, 0},
    {0x5008a0d7, RV_OP_vid_v, 4, 1, 0, 0, 0, 0, 0},
    {0x0d1572d7, RV_OP_vsetvli, 4, 5, 10, 0, 0, 0, 0xd1},
    {0xcd1fff57, RV_OP_vsetivli, 4, 30, 31, 0, 0, 0, 0xd1},
    {0xe2050087, RV_OP_vle8_v, 4, 1, 10, 0, 7, 1, 0},
    {0x08b57087, RV_OP_vlse64_v, 4, 1, 10, 11, 0, 0, 0},
    {0x24b56087, RV_OP_vluxei32_v, 4, 1, 10, 11, 1, 0, 0},
    {0xe2857087, RV_OP_vl8re64_v, 4, 1, 10, 0, 0, 1, 0},

    {0x1fe0, RV_OP_addi, 2, 8, 2, 0, 0, 0, 1020}, /* c.addi4spn s0,sp,1020 */
    {0x0044, RV_OP_addi, 2, 9, 2, 0, 0, 0, 4},
    {0x3ffc, RV_OP_fld, 2, 15, 15, 0, 0, 0, 248},
    {0x5ffc, RV_OP_lw, 2, 15, 15, 0, 0, 0, 124},
    {0x4024, RV_OP_lw, 2, 9, 8, 0, 0, 0, 64},
    {0x7ffc, RV_OP_ld, 2, 15, 15, 0, 0, 0, 248},
    {0xa024, RV_OP_fsd, 2, 0, 8, 9, 0, 0, 64},
    {0xc044, RV_OP_sw, 2, 0, 8, 9, 0, 0, 4},
    {0xe400, RV_OP_sd, 2, 0, 8, 8, 0, 0, 8},
    {0x0001, RV_OP_addi, 2, 0, 0, 0, 0, 0, 0},    /* c.nop */
    {0x1ffd, RV_OP_addi, 2, 31, 31, 0, 0, 0, -1},
    {0x2081, RV_OP_addiw, 2, 1, 1, 0, 0, 0, 0},   /* sext.w */
    {0x50fd, RV_OP_addi, 2, 1, 0, 0, 0, 0, -1},   /* c.li */
    {0x7101, RV_OP_addi, 2, 2, 2, 0, 0, 0, -512}, /* c.addi16sp */
    {0x6141, RV_OP_addi, 2, 2, 2, 0, 0, 0, 16},
    {0x6121, RV_OP_addi, 2, 2, 2, 0, 0, 0, 64},
    {0x6109, RV_OP_addi, 2, 2, 2, 0, 0, 0, 128},
    {0x6105, RV_OP_addi, 2, 2, 2, 0, 0, 0, 32},
    {0x7081, RV_OP_lui, 2, 1, 0, 0, 0, 0, -131072},
    {0x60fd, RV_OP_lui, 2, 1, 0, 0, 0, 0, 31 << 12},
    {0x93fd, RV_OP_srli, 2, 15, 15, 0, 0, 0, 63},
    {0x87fd, RV_OP_srai, 2, 15, 15, 0, 0, 0, 31},
    {0x9bfd, RV_OP_andi, 2, 15, 15, 0, 0, 0, -1},
    {0x8f95, RV_OP_sub, 2, 15, 15, 13, 0, 0, 0},
    {0x9f95, RV_OP_subw, 2, 15, 15, 13, 0, 0, 0},
    {0x9fb5, RV_OP_addw, 2, 15, 15, 13, 0, 0, 0},
    {0xb001, RV_OP_jal, 2, 0, 0, 0, 0, 0, -2048},
    {0xaffd, RV_OP_jal, 2, 0, 0, 0, 0, 0, 2046},
    {0xa011, RV_OP_jal, 2, 0, 0, 0, 0, 0, 4},
    {0xa005, RV_OP_jal, 2, 0, 0, 0, 0, 0, 32},
    {0xd381, RV_OP_beq, 2, 0, 15, 0, 0, 0, -256},
    {0xeffd, RV_OP_bne, 2, 0, 15, 0, 0, 0, 254},
    {0xf001, RV_OP_bne, 2, 0, 8, 0, 0, 0, -256},
    {0x1fe2, RV_OP_slli, 2, 31, 31, 0, 0, 0, 56},
    {0x3ffe, RV_OP_fld, 2, 31, 2, 0, 0, 0, 504},
    {0x50fe, RV_OP_lw, 2, 1, 2, 0, 0, 0, 252},
    {0x408e, RV_OP_lw, 2, 1, 2, 0, 0, 0, 192},
    {0x70fe, RV_OP_ld, 2, 1, 2, 0, 0, 0, 504},
    {0x6092, RV_OP_ld, 2, 1, 2, 0, 0, 0, 256},
    {0x8082, RV_OP_jalr, 2, 0, 1, 0, 0, 0, 0},    /* c.jr ra */
    {0x9082, RV_OP_jalr, 2, 1, 1, 0, 0, 0, 0},    /* c.jalr ra */
    {0x80fe, RV_OP_add, 2, 1, 0, 31, 0, 0, 0},    /* c.mv */
    {0x90fe, RV_OP_add, 2, 1, 1, 31, 0, 0, 0},
    {0x9002, RV_OP_ebreak, 2, 0, 0, 0, 0, 0, 0},
    {0xbffe, RV_OP_fsd, 2, 0, 2, 31, 0, 0, 504},
    {0xc1fe, RV_OP_sw, 2, 0, 2, 31, 0, 0, 192},
    {0xdffe, RV_OP_sw, 2, 0, 2, 31, 0, 0, 252},
    {0xfffe, RV_OP_sd, 2, 0, 2, 31, 0, 0, 504},
};

static void check_fields(const struct field_row *row)
{
    /* What follows a 16-bit instruction must not matter. */
    uint32_t raw = row->len == 2 ? row->raw | 0xa5a50000 : row->raw;
    struct rv_insn i;

    rv_decode(raw, &all, &i);
    if (i.op != row->op || i.imm != row->imm)
        print_error("%08x: %s imm %d, want %s imm %d\n", row->raw, rv_op_info[i.op].name, i.imm,
                    rv_op_info[row->op].name, row->imm);
    assert_int_equal(i.op, row->op);
    assert_int_equal(i.len, row->len);
    assert_int_equal(i.rd, row->rd);
    assert_int_equal(i.rs1, row->rs1);
    assert_int_equal(i.rs2, row->rs2);
    assert_int_equal(i.rs3, row->rs3);
    assert_int_equal(i.rm, row->rm);
    assert_int_equal(i.imm, row->imm);
    assert_int_equal(i.raw, row->raw);
}

static void test_fields(void **state)
{
    (void)state;
    for (size_t n = 0; n < SIM_ARRAY_LEN(fields); n++)
        check_fields(&fields[n]);
}

/* Every format has a row above. */
static void test_every_format_has_a_row(void **state)
{
    const struct rv_decode_table *tables[] = {&rv_decode_table32, &rv_decode_table16};

    (void)state;
    for (unsigned t = 0; t < 2; t++) {
        bool seen[256] = {false};

        for (size_t n = 0; n < SIM_ARRAY_LEN(fields); n++) {
            const struct rv_encoding *e = rv_decode_find(fields[n].raw, &all);

            if (e && rv_decode_table_of(fields[n].raw) == tables[t])
                seen[e->format] = true;
        }
        for (unsigned e = 0; e < tables[t]->nr_encs; e++)
            if (!seen[tables[t]->enc[e].format])
                fail_msg("no row for the format of %s",
                         rv_op_info[tables[t]->enc[e].op].name);
    }
}

/* ---- reserved and unknown words ---- */

static const uint32_t illegal[] = {
    0x00000000, 0xffffffff, 0x0000001f, 0x0000003f, 0x0000007f, /* longer instructions */
    0x00001067,                         /* jalr, funct3 1 */
    0x00002063, 0x00003063,             /* branches 2, 3 */
    0x00007003, 0x00004023,             /* load 7, store 4 */
    0x04001013, 0x0c001013,             /* shifts with stray bits */
    0x0200101b, 0x0200501b,             /* word shifts by 32 */
    0x40001033, 0x04000033, 0x0200103b, /* OP and OP-32 holes */
    0x0a001033, 0x0a003033,             /* clmul, clmulh: Zbc is not there */
    0x00004073,                         /* SYSTEM 4 */
    0x00200073, 0x00000173, 0x00008073, /* uret, ecall with rd, with rs1 */
    0x30200173, 0x10500173,             /* mret, wfi with rd */
    0x120000f3,                         /* sfence.vma with rd */
    0x18200073,                         /* hole beside sfence.inval.ir */
    0x0030200f, 0x0050200f,             /* cbo holes */
    0x0000208f,                         /* cbo.inval with rd */
    0x1015252f,                         /* lr.w with rs2 */
    0x0000102f, 0x0000402f,             /* AMOs of 16 and 128 bits */
    0x2a6540af, 0x2a75412f, 0x2a7541af, /* amocas.q with odd registers */
    0xf800202f,                         /* no such AMO */
    0x00001007, 0x10000007,             /* no such FP load; mew of vectors */
    0x04000043, 0x06000043,             /* fmadd.h, .q */
    0x5810f053, 0x581100d3,             /* fsqrt.s with rs2 */
    0xc0400053, 0xd0400053,             /* fcvt holes */
    0x40000053,                         /* fcvt.s.s */
    0x20003053, 0x28002053,             /* fsgnj 3, fmin 2 */
    0xe0002053,                         /* fclass 2 */
    0x60301013, 0x60601013,             /* Zbb holes */
    0x28605013, 0x6b705013, 0x69805013, /* orc.b, rev8 neighbours; rev8 of RV32 */
    0x0810403b,                         /* zext.h with rs2 = x1 */

    0x2001, 0x2005,                     /* c.addiw x0 */
    0x6001, 0x6081, 0x6101,             /* c.lui, c.addi16sp of 0 */
    0x4002, 0x6002,                     /* c.lwsp, c.ldsp x0 */
    0x8002,                             /* c.jr x0 */
    0x8000, 0x9c00,                     /* quadrant 0, funct3 4 */
    0x9c41, 0x9c61,                     /* reserved c.* arithmetic */
};

static void test_reserved_words_are_illegal(void **state)
{
    struct rv_insn i;

    (void)state;
    for (size_t n = 0; n < SIM_ARRAY_LEN(illegal); n++) {
        rv_decode(illegal[n], &all, &i);
        if (i.op != RV_OP_illegal)
            fail_msg("%08x decodes as %s", illegal[n], rv_op_info[i.op].name);
        assert_int_equal(i.len, rv_insn_len(illegal[n]));
        assert_int_equal(i.raw, i.len == 4 ? illegal[n] : illegal[n] & 0xffff);
    }
}

/* Reserved fences and ignored fields of FENCE.I decode; so do the HINTs of C. */
static void test_hints_decode_to_what_does_nothing(void **state)
{
    static const struct {
        uint32_t raw;
        uint16_t op;
    } rows[] = {
        {0x8330000f, RV_OP_fence},   {0xfff0000f, RV_OP_fence},   {0x0ff5050f, RV_OP_fence},
        {0x0000000f, RV_OP_fence},   {0xfff5150f, RV_OP_fence_i}, {0x00106013, RV_OP_ori},
        {0x0000e013, RV_OP_ori},     {0x00500013, RV_OP_addi},    {0x00a00033, RV_OP_add},
        {0x1001, RV_OP_addi},        {0x0085, RV_OP_addi},        {0x0081, RV_OP_addi},
        {0x4005, RV_OP_addi},        {0x6005, RV_OP_lui},         {0x0006, RV_OP_slli},
        {0x0082, RV_OP_slli},        {0x8001, RV_OP_srli},        {0x8401, RV_OP_srai},
        {0x8006, RV_OP_add},         {0x9006, RV_OP_add},         {0x900a, RV_OP_add},
    };
    struct rv_insn i;

    (void)state;
    for (size_t n = 0; n < SIM_ARRAY_LEN(rows); n++) {
        rv_decode(rows[n].raw, &all, &i);
        if (i.op != rows[n].op)
            fail_msg("%08x decodes as %s", rows[n].raw, rv_op_info[i.op].name);
    }
}

/* ---- extensions ---- */

/* Words of each encoding decode to its op with all that it needs, and not when one is missing. */
static void check_needs(const struct rv_encoding *e, uint32_t raw)
{
    for (unsigned ext = 0; ext < RV_EXT_COUNT; ext++) {
        struct rv_isa without = {.ext = UINT64_MAX & ~(1ull << ext)},
                      only = {.ext = e->need};
        struct rv_insn i;

        rv_decode(raw, &only, &i);
        assert_int_equal(i.op, e->op);
        rv_decode(raw, &without, &i);
        if (!(e->need >> ext & 1))
            assert_int_equal(i.op, e->op);
        else if (e->op == RV_OP_pause)
            assert_int_equal(i.op, RV_OP_fence); /* a HINT */
        else
            assert_int_equal(i.op, RV_OP_illegal);
    }
}

static void test_missing_extensions_are_illegal(void **state)
{
    const struct rv_decode_table *tables[] = {&rv_decode_table32, &rv_decode_table16};
    uint64_t seed = 7;

    (void)state;
    for (unsigned t = 0; t < 2; t++) {
        for (unsigned n = 0; n < tables[t]->nr_encs; n++) {
            const struct rv_encoding *e = &tables[t]->enc[n];
            unsigned tried = 0;

            for (unsigned k = 0; k < 200 && tried < 8; k++) {
                uint32_t raw = e->match | (random32(&seed) & ~e->mask);

                if (rv_decode_find(raw, &all) != e)
                    continue;
                check_needs(e, raw);
                tried++;
            }
            assert_true(tried > 0);
        }
    }
}

static void test_compressed_needs_c_and_fld_needs_d(void **state)
{
    struct rv_isa isa = {.ext = ~(1ull << RV_EXT_D)};
    struct rv_insn i;

    (void)state;
    rv_decode(0x3ffc, &isa, &i); /* c.fld */
    assert_int_equal(i.op, RV_OP_illegal);
    rv_decode(0x5ffc, &isa, &i); /* c.lw */
    assert_int_equal(i.op, RV_OP_lw);
    isa.ext = ~(1ull << RV_EXT_C);
    rv_decode(0x5ffc, &isa, &i);
    assert_int_equal(i.op, RV_OP_illegal);
    assert_int_equal(i.len, 2);
}

/* ---- the index ---- */

/* The first encoding that fits, in the order of the spec: what the lookup must find. */
static const struct rv_encoding *linear_find(uint32_t raw)
{
    const struct rv_decode_table *t = rv_decode_table_of(raw);

    if (t == &rv_decode_table16)
        raw &= 0xffff;
    for (unsigned n = 0; n < t->nr_encs; n++)
        if (rv_encoding_fits(&t->enc[n], raw))
            return &t->enc[n];
    return NULL;
}

static void test_index_finds_what_a_scan_finds(void **state)
{
    uint64_t seed = 11;

    (void)state;
    for (uint32_t raw = 0; raw < 0x10000; raw++)
        if ((raw & 3) != 3)
            assert_ptr_equal(rv_decode_find(raw, &all), linear_find(raw));
    for (unsigned n = 0; n < 400000; n++) {
        uint32_t raw = random32(&seed) | 3;

        assert_ptr_equal(rv_decode_find(raw, &all), linear_find(raw));
    }
    for (unsigned n = 0; n < rv_decode_table32.nr_encs * 1000; n++) {
        const struct rv_encoding *e = &rv_decode_table32.enc[n % rv_decode_table32.nr_encs];
        uint32_t raw = (e->match | (random32(&seed) & ~e->mask)) ^ 1u << random32(&seed) % 32;

        assert_ptr_equal(rv_decode_find(raw, &all), linear_find(raw));
    }
}

/* ---- the op table ---- */

static void test_op_info_is_complete(void **state)
{
    (void)state;
    assert_string_equal(rv_op_info[RV_OP_illegal].name, "illegal");
    for (unsigned op = 0; op < RV_OP_COUNT; op++) {
        const struct rv_op_info *info = &rv_op_info[op];
        const unsigned sized = RV_OPF_LOAD | RV_OPF_STORE | RV_OPF_ATOMIC;

        assert_non_null(info->name);
        assert_non_null(info->exec);
        assert_true(info->ext < RV_EXT_COUNT);
        assert_int_equal(info->size != 0, (info->flags & sized) != 0);
        if (info->flags & (RV_OPF_RD_F | RV_OPF_RS1_F | RV_OPF_RS2_F))
            assert_true(info->flags & RV_OPF_FP);
        assert_int_equal((info->flags & RV_OPF_FP) != 0, info->ext == RV_EXT_F ||
                                                             info->ext == RV_EXT_D ||
                                                             info->ext == RV_EXT_ZVE32F);
        assert_int_equal((info->flags & RV_OPF_VECTOR) != 0, info->name[0] == 'v');
        if (info->flags & RV_OPF_RD_X)
            assert_true(info->flags & RV_OPF_VECTOR);
    }
}

/* Every instruction extension that -cpu knows has instructions, or is known to have none. */
static void test_extensions_have_instructions(void **state)
{
    static const uint8_t none[] = {RV_EXT_C, RV_EXT_ZICBOP, RV_EXT_ZICNTR, RV_EXT_ZIHPM,
                                   RV_EXT_SSTC, RV_EXT_SVADU, RV_EXT_SVNAPOT, RV_EXT_SVPBMT,
                                   RV_EXT_U, RV_EXT_SV39, RV_EXT_SV48, RV_EXT_SV57, RV_EXT_PMP,
                                   RV_EXT_V, RV_EXT_ZVE64D, RV_EXT_ZVE64F};
    uint64_t have = 0;

    (void)state;
    for (size_t n = 0; n < SIM_ARRAY_LEN(none); n++)
        have |= 1ull << none[n];
    for (unsigned op = 0; op < RV_OP_COUNT; op++)
        have |= 1ull << rv_op_info[op].ext;
    assert_int_equal(have, (1ull << RV_EXT_COUNT) - 1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_fields),
        cmocka_unit_test(test_every_format_has_a_row),
        cmocka_unit_test(test_reserved_words_are_illegal),
        cmocka_unit_test(test_hints_decode_to_what_does_nothing),
        cmocka_unit_test(test_missing_extensions_are_illegal),
        cmocka_unit_test(test_compressed_needs_c_and_fld_needs_d),
        cmocka_unit_test(test_index_finds_what_a_scan_finds),
        cmocka_unit_test(test_op_info_is_complete),
        cmocka_unit_test(test_extensions_have_instructions),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
