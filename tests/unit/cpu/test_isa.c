/* ISA sets: -cpu options, device-tree strings, formatting. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "cpu/riscv.h"

#define BIT(ext) (1ull << RV_EXT_##ext)
#define SV_ALL (BIT(SV39) | BIT(SV48) | BIT(SV57))
#define OPTIONS (SV_ALL | BIT(S) | BIT(U) | BIT(PMP))
#define GC (BIT(I) | BIT(M) | BIT(A) | BIT(F) | BIT(D) | BIT(C) | BIT(ZICSR) | BIT(ZIFENCEI))
#define DT_BASE (BIT(ZICSR) | BIT(ZIFENCEI) | BIT(ZICNTR) | BIT(ZIHPM))
#define ZVE64D (BIT(ZVE32F) | BIT(ZVE32X) | BIT(ZVE64D) | BIT(ZVE64F) | BIT(ZVE64X))
#define ALL (((1ull << RV_EXT_COUNT) - 1) & ~(BIT(V) | ZVE64D))

static void test_default_is_all_but_vectors(void **state)
{
    struct rv_isa isa = {0};

    (void)state;
    rv_isa_default(&isa);
    assert_int_equal(isa.ext, ALL);
}

static void test_parse_cpu_sets(void **state)
{
    static const struct {
        const char *text;
        uint64_t ext;
    } rows[] = {
        {"rv64", ALL},
        {"max", ALL},
        {"rv64,zba=off", ALL & ~BIT(ZBA)},
        {"rv64,zba=off,zba=on", ALL},
        {"rv64,ZBA=off,zbb=false,zbs=true", ALL & ~(BIT(ZBA) | BIT(ZBB))},
        {"rv64,b=off", ALL & ~(BIT(ZBA) | BIT(ZBB) | BIT(ZBS))},
        {"rv64,v=off,h=off,zvbb=off,zfh=off", ALL},
        {"rv64,v=on", ALL | BIT(V) | ZVE64D},
        {"rv64,v=on,v=off", ALL},
        {"rv64,v=off,zve32x=on", ALL | BIT(ZVE32X)},
        {"rv64,zve64x=on", ALL | BIT(ZVE64X) | BIT(ZVE32X)},
        {"rv64gcv,sv57=off", GC | BIT(V) | ZVE64D | (OPTIONS & ~BIT(SV57))},
        {"rv64,sv57=off", ALL & ~BIT(SV57)},
        {"rv64,sv48=off", ALL & ~(BIT(SV57) | BIT(SV48))},
        {"rv64,f=off", ALL & ~(BIT(F) | BIT(D))},
        {"rv64,d=off", ALL & ~BIT(D)},
        {"rv64,c=off", ALL & ~BIT(C)},
        {"rv64,a=off", ALL & ~(BIT(A) | BIT(ZACAS) | BIT(ZAWRS))},
        {"rv64,s=off", ALL & ~(BIT(S) | SV_ALL | BIT(SSTC) | BIT(SVADU) | BIT(SVINVAL) |
                               BIT(SVNAPOT) | BIT(SVPBMT))},
        {"rv64gc", GC | OPTIONS},
        {"rv64imac", BIT(I) | BIT(M) | BIT(A) | BIT(C) | OPTIONS | BIT(ZICSR)},
        {"rv64gc_zba_zicond,sv57=off", GC | BIT(ZBA) | BIT(ZICOND) | (OPTIONS & ~BIT(SV57))},
        {"rv64i,d=on", BIT(I) | BIT(D) | BIT(F) | BIT(ZICSR) | OPTIONS},
        {"rv64gc,sv39=off", GC | (OPTIONS & ~SV_ALL)},
        {"rv64i,s=off,zicsr=off", BIT(I) | BIT(U) | BIT(PMP)},
    };

    (void)state;
    for (size_t n = 0; n < SIM_ARRAY_LEN(rows); n++) {
        struct rv_isa isa = {0};

        print_message("%s\n", rows[n].text);
        assert_int_equal(rv_isa_parse_cpu(rows[n].text, &isa), SIM_OK);
        assert_int_equal(isa.ext, rows[n].ext);
    }
}

static void test_vector_length(void **state)
{
    static const struct {
        const char *cpu;
        unsigned vlen;
    } rows[] = {
        {"rv64", 128},         {"rv64,v=on", 128}, {"rv64,v=on,vlen=256", 256},
        {"rv64,vlen=1024", 1024}, {"rv64,vlen=512,vlen=128", 128}, {"rv64gcv", 128},
        {"rv64gcv_zvl512b", 512}, {"rv64gcv_zvl512b_zvl32b", 512}, {"rv64gcv_zvl64b", 128},
        {"rv64gcv_zvl512b,vlen=256", 256},
    };
    struct rv_isa isa;
    char text[512];

    (void)state;
    for (size_t n = 0; n < SIM_ARRAY_LEN(rows); n++) {
        print_message("%s\n", rows[n].cpu);
        assert_int_equal(rv_isa_parse_cpu(rows[n].cpu, &isa), SIM_OK);
        assert_int_equal(isa.vlen, rows[n].vlen);
        if (!rv_isa_has(&isa, RV_EXT_V))
            continue;
        rv_isa_format(&isa, text, sizeof text); /* and back */
        assert_int_equal(rv_isa_parse_string(text, NULL, &isa), SIM_OK);
        assert_int_equal(isa.vlen, rows[n].vlen);
    }
}

static void test_zvl_names(void **state)
{
    struct rv_isa isa;

    (void)state;
    assert_int_equal(rv_isa_parse_cpu("rv64,v=on,vlen=256", &isa), SIM_OK);
    assert_string_equal(rv_isa_zvl_name(&isa, 0), "zvl32b");
    assert_string_equal(rv_isa_zvl_name(&isa, 3), "zvl256b");
    assert_null(rv_isa_zvl_name(&isa, 4));
    assert_int_equal(rv_isa_parse_cpu("rv64,vlen=256", &isa), SIM_OK);
    assert_null(rv_isa_zvl_name(&isa, 0));
}

static void test_parse_cpu_rejects(void **state)
{
    static const char *const rows[] = {
        "",          "rv32",          "rv64,zba",        "rv64,zba=maybe", "rv64,nonsense=off",
        "rv64,v=on,f=off", "rv64,v=on,zve64d=off", "rv64,f=off,d=on", "rv64,i=off",    "rv64,",          "rv64,=on",
        "rv64,,",    "rv64,a=off,zacas=on", "rv64,sv48=off,sv57=on", "rv64,s=off,sv39=on",
        "rv64gch",   "rv64mac",       "sifive-u54",      "rv64,zba=off ", "rv64,vlen=64", "rv64,vlen=2048", "rv64,vlen=192", "rv64,vlen=0x80", "rv64,vlen=", "rv64,vlen=128x",
        "rv64,u=off,sstc=on",
    };

    (void)state;
    for (size_t n = 0; n < SIM_ARRAY_LEN(rows); n++) {
        struct rv_isa isa = {.ext = 0x5a};

        print_message("%s\n", rows[n]);
        assert_int_equal(rv_isa_parse_cpu(rows[n], &isa), SIM_ERR_INVALID);
        assert_int_equal(isa.ext, 0x5a); /* written only on success */
    }
}

static void test_parse_string_sets(void **state)
{
    static const struct {
        const char *isa, *mmu;
        uint64_t ext;
    } rows[] = {
        {"rv64imafdc", NULL, GC | DT_BASE | OPTIONS},
        {"rv64imafdcsu", NULL, GC | DT_BASE | OPTIONS},
        {"rv64imafdcsu_zba", "riscv,sv57", GC | DT_BASE | OPTIONS | BIT(ZBA)},
        {"RV64IMAFDC_ZBA", "riscv,sv48", GC | DT_BASE | BIT(ZBA) | (OPTIONS & ~BIT(SV57))},
        {"rv64gc", "riscv,sv39", GC | DT_BASE | (OPTIONS & ~(BIT(SV48) | BIT(SV57)))},
        {"rv64imac", "riscv,none", BIT(I) | BIT(M) | BIT(A) | BIT(C) | DT_BASE | (OPTIONS & ~SV_ALL)},
        {"rv64imafdch_zicbom_zicboz_zicntr_zicsr_zifencei_zihintpause_zawrs_zba_zbb_zbs_sstc_svadu",
         "riscv,sv57",
         GC | DT_BASE | OPTIONS | BIT(ZICBOM) | BIT(ZICBOZ) | BIT(ZIHINTPAUSE) | BIT(ZAWRS) |
             BIT(ZBA) | BIT(ZBB) | BIT(ZBS) | BIT(SSTC) | BIT(SVADU)},
        {"rv64i2p1_m2p0_a2_zba1p0_zicbom1p0_svinval1", NULL,
         BIT(I) | BIT(M) | BIT(A) | DT_BASE | OPTIONS | BIT(ZBA) | BIT(ZICBOM) | BIT(SVINVAL)},
        {"rv64imasstc", NULL, BIT(I) | BIT(M) | BIT(A) | DT_BASE | OPTIONS | BIT(SSTC)},
        {"rv64iczba", NULL, BIT(I) | BIT(C) | DT_BASE | OPTIONS | BIT(ZBA)},
        {"rv64id", NULL, BIT(I) | BIT(F) | BIT(D) | DT_BASE | OPTIONS},
        {"rv64i_xvendor_zve32x_svpbmt", NULL,
         BIT(I) | DT_BASE | OPTIONS | BIT(SVPBMT) | BIT(ZVE32X)},
        {"rv64imafdcv_zvl256b", NULL, GC | DT_BASE | OPTIONS | BIT(V) | ZVE64D},
    };

    (void)state;
    for (size_t n = 0; n < SIM_ARRAY_LEN(rows); n++) {
        struct rv_isa isa = {0};

        print_message("%s %s\n", rows[n].isa, rows[n].mmu ? rows[n].mmu : "-");
        assert_int_equal(rv_isa_parse_string(rows[n].isa, rows[n].mmu, &isa), SIM_OK);
        assert_int_equal(isa.ext, rows[n].ext);
    }
}

static void test_parse_string_rejects(void **state)
{
    static const char *const rows[][2] = {
        {"", NULL},          {"rv32imac", NULL},   {"rv64", NULL}, {"rv64e", NULL},
        {"rv64mafd", NULL},  {"imafdc", NULL},     {"rv64imac", "riscv,sv32"},
        {"rv64imac", "sv39"}, {"rv64imac", ""},
    };

    (void)state;
    for (size_t n = 0; n < SIM_ARRAY_LEN(rows); n++) {
        struct rv_isa isa = {.ext = 0x5a};

        assert_int_equal(rv_isa_parse_string(rows[n][0], rows[n][1], &isa), SIM_ERR_INVALID);
        assert_int_equal(isa.ext, 0x5a);
    }
}

/* "riscv,isa-extensions" names all there are; "partita,without" what it cannot. */
static void test_parse_node_sets(void **state)
{
    static const struct {
        struct rv_isa_node node;
        uint64_t ext;
    } rows[] = {
#define LIST(s) .extensions = (s), .extensions_len = sizeof(s)
#define WITHOUT(s) .without = (s), .without_len = sizeof(s)
        {{LIST("i\0m\0zicsr")}, BIT(I) | BIT(M) | BIT(ZICSR) | OPTIONS},
        {{LIST("i"), WITHOUT("s")},
         BIT(I) | (OPTIONS & ~(BIT(S) | SV_ALL))}, /* nothing needs zicsr then */
        {{LIST("i"), .isa = "rv64gc"}, BIT(I) | BIT(ZICSR) | OPTIONS}, /* S needs it; no M, no C */
        {{.isa = "rv64i", WITHOUT("pmp")}, BIT(I) | DT_BASE | (OPTIONS & ~BIT(PMP))},
        {{LIST("i\0svnapot\0sstc\0zicsr"), WITHOUT("u\0pmp")}, BIT(I) | BIT(ZICSR)},
        {{LIST("i\0svnapot\0zicsr\0xvendor"), .mmu_type = "riscv,none"},
         BIT(I) | BIT(ZICSR) | (OPTIONS & ~SV_ALL)},
    };
    static const struct rv_isa_node bad[] = {
        {LIST("m")},
        {.extensions = "i", .extensions_len = 1}, /* no end */
        {.extensions = "", .extensions_len = 0},
        {LIST("i"), WITHOUT("zba")},
        {LIST("i"), WITHOUT("h")},
        {LIST("i"), .without = "s", .without_len = 1},
#undef LIST
#undef WITHOUT
    };

    (void)state;
    for (size_t n = 0; n < SIM_ARRAY_LEN(rows); n++) {
        struct rv_isa isa = {0};

        assert_int_equal(rv_isa_parse_node(&rows[n].node, &isa), SIM_OK);
        assert_int_equal(isa.ext, rows[n].ext);
    }
    for (size_t n = 0; n < SIM_ARRAY_LEN(bad); n++) {
        struct rv_isa isa = {.ext = 0x5a};

        assert_int_equal(rv_isa_parse_node(&bad[n], &isa), SIM_ERR_INVALID);
        assert_int_equal(isa.ext, 0x5a);
    }
}

/* What is formatted parses to the same set. */
static void test_format_and_back(void **state)
{
    static const char *const cpus[] = {"rv64", "rv64gc", "rv64,zba=off,sstc=off", "rv64,sv48=off",
                                       "rv64imac,zicntr=on,zihpm=on,zifencei=on,sv39=off"};

    (void)state;
    for (size_t n = 0; n < SIM_ARRAY_LEN(cpus); n++) {
        struct rv_isa isa = {0}, back = {0};
        char text[512];
        const uint64_t unnamed = BIT(ZICNTR) | BIT(ZIHPM); /* every device-tree hart has them */

        assert_int_equal(rv_isa_parse_cpu(cpus[n], &isa), SIM_OK);
        assert_true(rv_isa_format(&isa, text, sizeof(text)) < (int)sizeof(text));
        assert_int_equal(rv_isa_parse_string(text, rv_isa_mmu_type(&isa), &back), SIM_OK);
        assert_int_equal(back.ext, isa.ext | unnamed);
    }
}

static void test_format_text_and_size(void **state)
{
    struct rv_isa isa = {.ext = BIT(I) | BIT(M) | BIT(C) | BIT(ZICSR) | BIT(ZBA) | BIT(SSTC) | OPTIONS};
    const char *want = "rv64imc_zicsr_zba_sstc";
    char text[64];

    (void)state;
    assert_int_equal(rv_isa_format(&isa, text, sizeof(text)), (int)strlen(want));
    assert_string_equal(text, want);
    memset(text, 'x', sizeof(text));
    assert_int_equal(rv_isa_format(&isa, text, 8), (int)strlen(want));
    assert_string_equal(text, "rv64imc");
    assert_int_equal(text[8], 'x');
    assert_int_equal(rv_isa_format(&isa, NULL, 0), (int)strlen(want));
}

static void test_mmu_type_is_the_largest(void **state)
{
    struct rv_isa isa = {.ext = SV_ALL};

    (void)state;
    assert_string_equal(rv_isa_mmu_type(&isa), "riscv,sv57");
    isa.ext &= ~BIT(SV57);
    assert_string_equal(rv_isa_mmu_type(&isa), "riscv,sv48");
    isa.ext &= ~BIT(SV48);
    assert_string_equal(rv_isa_mmu_type(&isa), "riscv,sv39");
    isa.ext = 0;
    assert_string_equal(rv_isa_mmu_type(&isa), "riscv,none");
}

static void test_unknown_names_leave_a_string(void **state)
{
    static const struct {
        const char *text, *left, *unknown;
    } row[] = {
        {"rv64imafdc_zicsr", "rv64imafdc_zicsr", ""},
        {"rv64imafdch_zicsr_zbc_zba", "rv64imafdc_zicsr_zba", " h zbc"},
        {"rv64ima_zbc", "rv64ima", " zbc"},
        {"rv64i2p1h1p0m2_zbc1p0_zba1p0", "rv64i2p1m2_zba1p0", " h zbc"},
        {"rv64imazfa_zicsr", "rv64ima_zicsr", " zfa"},
        {"rv64", "rv64", ""},
        {"rv", "rv", ""},
        {"", "", ""},
    };

    (void)state;
    for (size_t n = 0; n < SIM_ARRAY_LEN(row); n++) {
        char text[64], unknown[RV_ISA_NAMES_SIZE];

        strcpy(text, row[n].text);
        assert_int_equal(rv_isa_leave_known_string(text, unknown), strlen(row[n].left) + 1);
        assert_string_equal(text, row[n].left);
        assert_string_equal(unknown, row[n].unknown);
    }
}

static void test_unknown_names_leave_a_list(void **state)
{
    static const char left[] = "i\0zvl256b\0zba";
    char list[] = "h\0i\0zbc\0zvl256b\0zba\0zfa", unknown[RV_ISA_NAMES_SIZE];

    (void)state;
    assert_int_equal(rv_isa_leave_known_list(list, sizeof list, unknown), sizeof left);
    assert_memory_equal(list, left, sizeof left);
    assert_string_equal(unknown, " h zbc zfa");
    assert_int_equal(rv_isa_leave_known_list(list, 0, unknown), 0);
    assert_string_equal(unknown, "");
}

static void test_names_of_options_are_null(void **state)
{
    (void)state;
    assert_string_equal(rv_ext_isa_name(RV_EXT_ZBA), "zba");
    assert_string_equal(rv_ext_isa_name(RV_EXT_I), "i");
    assert_string_equal(rv_ext_isa_name(RV_EXT_SVPBMT), "svpbmt");
    assert_null(rv_ext_isa_name(RV_EXT_S));
    assert_null(rv_ext_isa_name(RV_EXT_U));
    assert_null(rv_ext_isa_name(RV_EXT_SV39));
    assert_null(rv_ext_isa_name(RV_EXT_SV57));
    assert_null(rv_ext_isa_name(RV_EXT_PMP));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_default_is_all_but_vectors),
        cmocka_unit_test(test_parse_cpu_sets),
        cmocka_unit_test(test_vector_length),
        cmocka_unit_test(test_zvl_names),
        cmocka_unit_test(test_parse_cpu_rejects),
        cmocka_unit_test(test_parse_string_sets),
        cmocka_unit_test(test_parse_string_rejects),
        cmocka_unit_test(test_parse_node_sets),
        cmocka_unit_test(test_format_and_back),
        cmocka_unit_test(test_format_text_and_size),
        cmocka_unit_test(test_mmu_type_is_the_largest),
        cmocka_unit_test(test_unknown_names_leave_a_string),
        cmocka_unit_test(test_unknown_names_leave_a_list),
        cmocka_unit_test(test_names_of_options_are_null),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
