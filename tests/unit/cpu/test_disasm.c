/* rv_disasm against objdump on random words of every encoding, and fixed lines. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "cpu/riscv.h"
#include "decode.h"
#include "sim-core/compiler.h"
#include "skip.h"

#define AS "riscv64-linux-gnu-as"
#define OBJDUMP "riscv64-linux-gnu-objdump"
#define WORDS_PER_ENCODING 6
#define MAX_WORDS 8192

struct words {
    uint32_t raw[MAX_WORDS];
    unsigned n;
    uint64_t seed;
};

static uint32_t random32(uint64_t *seed)
{
    *seed = *seed * 6364136223846793005ull + 1442695040888963407ull;
    return (uint32_t)(*seed >> 32);
}

/* objdump 2.40 knows neither of these, and prints HINTs and reserved forms its own way. */
static bool comparable(uint32_t raw, const struct rv_encoding *e, const struct rv_insn *i)
{
    const uint64_t unknown = 1ull << RV_EXT_ZICOND | 1ull << RV_EXT_ZACAS;
    const struct rv_op_info *info = &rv_op_info[i->op];
    bool has_rm = info->flags & RV_OPF_FP && (raw & 3) == 3 && !(e->mask & 0x7000);

    if (e->need & unknown)
        return false;
    if (has_rm && (i->rm == 5 || i->rm == 6))
        return false;
    if (i->op == RV_OP_fcvt_d_s || i->op == RV_OP_fcvt_d_w || i->op == RV_OP_fcvt_d_wu)
        return false; /* exact: it knows rm = 0 only, and omits it */
    if (i->len == 2 && i->op != RV_OP_jal && !(info->flags & (RV_OPF_STORE | RV_OPF_BRANCH)))
        return i->rd != 0 && !(i->op == RV_OP_addi && i->imm == 0) &&
               !((i->op == RV_OP_slli || i->op == RV_OP_srli || i->op == RV_OP_srai) && !i->imm);
    if (i->op == RV_OP_fence)
        return i->rd == 0 && i->rs1 == 0 && !(i->imm >> 8) && (i->imm & 15) && (i->imm >> 4 & 15);
    if (i->op == RV_OP_ori && i->rd == 0) /* prefetch */
        return false;
    return i->op != RV_OP_fence_i || raw == 0x0000100f;
}

/* A CSR that rv_disasm has a name for. */
static uint32_t with_known_csr(uint32_t raw, uint64_t *seed)
{
    static const uint16_t csrs[] = {0x001, 0x100, 0x105, 0x180, 0x300, 0x341, 0x3a2, 0x3ef,
                                    0xb1f, 0xc00, 0xc03, 0xf14, 0x14d, 0x323, 0x30a, 0x747};

    return (raw & 0xfffff) | (uint32_t)csrs[random32(seed) % SIM_ARRAY_LEN(csrs)] << 20;
}

static void add_random_words(struct words *w, const struct rv_decode_table *table)
{
    const struct rv_isa all = {.ext = UINT64_MAX};

    for (unsigned e = 0; e < table->nr_encs; e++) {
        for (unsigned n = 0, tries = 0; n < WORDS_PER_ENCODING && tries < 100; tries++) {
            const struct rv_encoding *enc = &table->enc[e];
            uint32_t raw = enc->match | (random32(&w->seed) & ~enc->mask);
            struct rv_insn insn;

            if (rv_op_info[enc->op].ext == RV_EXT_ZICSR)
                raw = with_known_csr(raw, &w->seed);
            if (table == &rv_decode_table16)
                raw &= 0xffff;
            rv_decode(raw, &all, &insn);
            if (rv_decode_find(raw, &all) != enc || !comparable(raw, enc, &insn))
                continue;
            assert_true(w->n < MAX_WORDS);
            w->raw[w->n++] = raw;
            n++;
        }
    }
}

/* A line of text with single blanks, without comments, symbols and the 0x of addresses. */
static void normalise(const char *from, char *to)
{
    char *start = to;

    for (; *from && *from != '\n' && *from != '#' && *from != '<'; from++) {
        if (*from == ' ' || *from == '\t') {
            if (to > start && to[-1] != ' ')
                *to++ = ' ';
        } else if (!(from[0] == '0' && from[1] == 'x')) {
            *to++ = *from;
        } else {
            from++;
        }
    }
    while (to > start && to[-1] == ' ')
        to--;
    *to = 0;
}

static bool have_tools(void)
{
    return !system("command -v " AS " >/dev/null 2>&1 && command -v " OBJDUMP " >/dev/null 2>&1");
}

/* Assembles the words in dir and opens objdump's listing of them. */
static FILE *open_listing(const struct words *w, const char *dir)
{
    char path[256], command[1024];
    FILE *f;

    snprintf(path, sizeof(path), "%s/w.s", dir);
    f = fopen(path, "w");
    assert_non_null(f);
    for (unsigned n = 0; n < w->n; n++)
        fprintf(f, ".insn %u, 0x%x\n", rv_insn_len(w->raw[n]), w->raw[n]);
    fclose(f);
    snprintf(command, sizeof(command),
             "cd %s && " AS " -march=rv64gcv_zba_zbb_zbs_zicbom_zicboz_zicsr_zifencei_zihintpause_"
             "zawrs_svinval w.s -o w.o && " OBJDUMP " -d -M no-aliases w.o", dir);
    f = popen(command, "r");
    assert_non_null(f);
    return f;
}

static void compare_listing(const struct words *w, FILE *listing)
{
    char line[256], mine[128], want[256], got[256];
    unsigned n = 0, wrong = 0;

    while (fgets(line, sizeof(line), listing)) {
        char *text = strchr(line, '\t');
        unsigned long long pc = strtoull(line, NULL, 16);

        if (!text || !strchr(line, ':') || !(text = strchr(text + 1, '\t')))
            continue;
        assert_true(n < w->n);
        assert_int_equal(rv_disasm(w->raw[n], pc, mine, sizeof(mine)), rv_insn_len(w->raw[n]));
        normalise(text + 1, want);
        normalise(mine, got);
        if (strcmp(want, got)) {
            print_error("%08x: objdump '%s', rv_disasm '%s'\n", w->raw[n], want, got);
            wrong++;
        }
        n++;
    }
    assert_int_equal(wrong, 0);
    assert_int_equal(n, w->n);
}

static void test_disasm_agrees_with_objdump(void **state)
{
    static struct words w;
    char dir[] = "/tmp/partita-disasm-XXXXXX", command[64];
    FILE *listing;

    (void)state;
    if (!have_tools()) {
        skip_because(AS " and " OBJDUMP " (binutils-riscv64-linux-gnu) not found");
    }
    w.seed = 20240501;
    add_random_words(&w, &rv_decode_table32);
    add_random_words(&w, &rv_decode_table16);
    print_message("%u words\n", w.n);
    assert_true(w.n > 1000);
    assert_non_null(mkdtemp(dir));
    listing = open_listing(&w, dir);
    compare_listing(&w, listing);
    assert_int_equal(pclose(listing), 0);
    snprintf(command, sizeof(command), "rm -r %s", dir);
    assert_int_equal(system(command), 0);
}

static void test_disasm_lines(void **state)
{
    static const struct {
        uint32_t raw;
        const char *text;
    } rows[] = {
        {0x00000013, "addi    zero,zero,0"},
        {0xfff00513, "addi    a0,zero,-1"},
        {0x00c58533, "add     a0,a1,a2"},
        {0x12345537, "lui     a0,0x12345"},
        {0xfe5508e3, "beq     a0,t0,0xff0"},
        {0x0001b503, "ld      a0,0(gp)"},
        {0x30051573, "csrrw   a0,mstatus,a0"},
        {0x7c0fd573, "csrrwi  a0,0x7c0,31"},
        {0x0ff0000f, "fence   iorw,iorw"},
        {0x0e05d533, "czero.eqz a0,a1,zero"},
        {0x2ec5a52f, "amocas.w.aqrl a0,a2,(a1)"},
        {0x02b57553, "fadd.d  fa0,fa0,fa1"},
        {0x02b50553, "fadd.d  fa0,fa0,fa1,rne"},
        {0x30200073, "mret"},
        {0xffffffff, ".4byte  0xffffffff"},
        {0x00000000, ".2byte  0x0"},
        {0x1141, "c.addi  sp,-16"},
        {0xdead0001, "c.nop"},
        {0x8082, "c.jr    ra"},
        {0x6108, "c.ld    a0,0(a0)"},
    };
    char buf[64];

    (void)state;
    for (size_t n = 0; n < SIM_ARRAY_LEN(rows); n++) {
        assert_int_equal(rv_disasm(rows[n].raw, 0x1000, buf, sizeof(buf)),
                         rv_insn_len(rows[n].raw));
        assert_string_equal(buf, rows[n].text);
    }
}

/* Every syntax word is one that disasm.c knows. */
static void test_disasm_knows_every_word(void **state)
{
    const struct rv_decode_table *tables[] = {&rv_decode_table32, &rv_decode_table16};
    char buf[64];

    (void)state;
    for (unsigned t = 0; t < 2; t++) {
        for (unsigned e = 0; e < tables[t]->nr_encs; e++) {
            uint32_t raw = tables[t]->enc[e].match | tables[t]->enc[e].nonzero;

            rv_disasm(raw, 0, buf, sizeof(buf));
            assert_null(strchr(buf, '?'));
            assert_int_not_equal(buf[0], '.');
        }
    }
}

static void test_disasm_keeps_to_the_buffer(void **state)
{
    char buf[16];

    (void)state;
    for (size_t size = 0; size < 12; size++) {
        memset(buf, '~', sizeof(buf));
        assert_int_equal(rv_disasm(0x00c58533, 0, buf, size), 4);
        for (size_t n = size; n < sizeof(buf); n++)
            assert_int_equal(buf[n], '~');
        if (size)
            assert_int_equal(strlen(buf), size - 1);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_disasm_lines),
        cmocka_unit_test(test_disasm_knows_every_word),
        cmocka_unit_test(test_disasm_keeps_to_the_buffer),
        cmocka_unit_test(test_disasm_agrees_with_objdump),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
