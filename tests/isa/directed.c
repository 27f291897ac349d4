/* Directed cases: every line of insn32.decode and insn16.decode has one, with its expected result.
 *
 *   directed.def row -> the word in a page of its own, state as `before` says -> interpreter or JIT
 *        -> all of the state as before, but for what `after` says
 *
 * The engine runs the instruction and then a loop of one instruction: the page is full of them, so
 * wherever control goes it stays there. Half the words of the language are common to both sides:
 *
 *   a0=5 fa0=0x..    x and f registers           d0=...   doubleword 0..7 of the data at D
 *   mscratch=7       a CSR; of mstatus and *envcfg only the bits that bits[] names
 *   priv=U           privilege; M unless said
 *   values: numbers, P (the instruction's address), D, names of bits; terms joined by + - |; or a
 *           floating-point number with an s (NaN-boxed) or d behind it
 *   before only: fs=0 (FP off), first=lr.w | lr.d (that instruction, a0 from (a1), comes before)
 *   after only: pc=, stop=reason, a0=* (not checked), trap=cause (to M), tval= (else the word for
 *               cause 2 and 0 for others) */
#include <ctype.h>
#include <stdlib.h>

#include "../unit/cpu/hart_fixture.h"
#include "decode.h"
#include "jit.h"
#include "skip.h"

enum { ROW_OFFSET = 0x400, LOOP = 0xa001 /* c.j . */, BUDGET = 20 };
#define DATA (RAM_BASE + 0x100000)
#define VECTOR (RAM_BASE + 0x200000)
#define CODE (RAM_BASE + 0x300000) /* a page per row */

struct row {
    uint32_t word;
    const char *text, *before, *after;
};

static const struct row rows[] = {
#define ROW(word, text, before, after) {word, text, before, after},
#include "directed.def"
#undef ROW
};

/* ---- the state a row talks about ---- */

static const struct {
    const char *name;
    uint64_t value;
} bits[] = {
    {"SIE", MSTATUS_SIE}, {"MIE", MSTATUS_MIE}, {"SPIE", MSTATUS_SPIE}, {"MPIE", MSTATUS_MPIE},
    {"SPP", MSTATUS_SPP}, {"MPP_S", 1ull << MSTATUS_MPP_SHIFT}, {"MPP_M", MSTATUS_MPP},
    {"MPRV", MSTATUS_MPRV}, {"TVM", MSTATUS_TVM}, {"TW", MSTATUS_TW}, {"TSR", MSTATUS_TSR},
    {"CBIE", ENVCFG_CBIE}, {"CBCFE", ENVCFG_CBCFE}, {"CBZE", ENVCFG_CBZE},
};

#define MSTATUS_BITS                                                                               \
    (MSTATUS_SIE | MSTATUS_MIE | MSTATUS_SPIE | MSTATUS_MPIE | MSTATUS_SPP | MSTATUS_MPP |         \
     MSTATUS_MPRV | MSTATUS_TVM | MSTATUS_TW | MSTATUS_TSR)
#define ENVCFG_BITS (ENVCFG_CBIE | ENVCFG_CBCFE | ENVCFG_CBZE)

static const struct csr_name {
    const char *name;
    uint16_t number;
    uint64_t mask; /* of what rows set and see */
} csrs[] = {
    {"mstatus", 0x300, MSTATUS_BITS}, {"menvcfg", 0x30a, ENVCFG_BITS},
    {"senvcfg", 0x10a, ENVCFG_BITS},  {"mscratch", 0x340, UINT64_MAX},
    {"sscratch", 0x140, UINT64_MAX},  {"mepc", 0x341, UINT64_MAX},
    {"sepc", 0x141, UINT64_MAX},      {"mideleg", 0x303, UINT64_MAX},
    {"mip", 0x344, UINT64_MAX},       {"satp", 0x180, UINT64_MAX},
    {"fflags", 0x001, UINT64_MAX},    {"frm", 0x002, UINT64_MAX},
};

enum { NR_CSRS = SIM_ARRAY_LEN(csrs), NR_DATA = 8 };
enum { IMAGE_MSTATUS = 0, IMAGE_MEPC = 5 }; /* indices in csrs */

struct image {
    uint64_t x[32], f[32], data[NR_DATA], csr[NR_CSRS], pc, priv, trap, tval, stop;
    bool any_x[32]; /* a0=* */
};

#define NO_TRAP UINT64_MAX

static const char *const x_names[32] = {
    "zero", "ra", "sp", "gp", "tp",  "t0",  "t1", "t2", "s0", "s1", "a0",
    "a1",   "a2", "a3", "a4", "a5",  "a6",  "a7", "s2", "s3", "s4", "s5",
    "s6",   "s7", "s8", "s9", "s10", "s11", "t3", "t4", "t5", "t6"};
static const char *const priv_names[] = {"U", "S", "?", "M"};
static const char *const stop_names[] = {"none", "wfi", "wrs", "pause", "exclusive"};

/* ---- the language of rows ---- */

struct words {
    const struct row *row;
    uint64_t p;       /* address of the instruction */
    uint32_t first;   /* word of first=, or 0 */
    bool fp_off;
};

static uint64_t term(const struct words *w, const char **at)
{
    char name[16];
    unsigned len = 0;

    if (isdigit((unsigned char)**at))
        return strtoull(*at, (char **)(uintptr_t)at, 0);
    while (len < sizeof name - 1 && (isalnum((unsigned char)**at) || **at == '_'))
        name[len++] = *(*at)++;
    name[len] = 0;
    if (!strcmp(name, "P"))
        return w->p;
    if (!strcmp(name, "D"))
        return DATA;
    for (size_t n = 0; n < SIM_ARRAY_LEN(bits); n++)
        if (!strcmp(bits[n].name, name))
            return bits[n].value;
    fail_msg("%s: no value '%s'", w->row->text, name);
    return 0;
}

static bool fp_value(const char *text, uint64_t *value)
{
    char *end;
    double d = strtod(text, &end);
    float f = (float)d;

    if (end == text || (strcmp(end, "s") && strcmp(end, "d")))
        return false;
    *value = UINT64_MAX << 32;
    if (*end == 's')
        memcpy(value, &f, sizeof f);
    else
        memcpy(value, &d, sizeof d);
    return true;
}

static uint64_t value_of(const struct words *w, const char *text)
{
    uint64_t value;

    if (fp_value(text, &value))
        return value;
    value = *text == '-' ? 0 : term(w, &text);

    while (*text) {
        char op = *text++;
        uint64_t next = term(w, &text);
        value = op == '+' ? value + next : op == '-' ? value - next : value | next;
    }
    return value;
}

static int index_of(const char *const *names, unsigned n, const char *name)
{
    for (unsigned i = 0; i < n; i++)
        if (!strcmp(names[i], name))
            return (int)i;
    return -1;
}

static uint64_t *csr_slot(struct image *im, const char *key)
{
    for (unsigned n = 0; n < NR_CSRS; n++)
        if (!strcmp(csrs[n].name, key))
            return &im->csr[n];
    return NULL;
}

/* Where the value of a plain key goes. */
static uint64_t *slot_of(struct image *im, const char *key)
{
    int x = index_of(x_names, 32, key);

    if (x >= 0)
        return &im->x[x];
    if (key[0] == 'd' && isdigit((unsigned char)key[1]) && !key[2])
        return &im->data[(key[1] - '0') % NR_DATA];
    if (!strncmp(key, "fa", 2) && isdigit((unsigned char)key[2]) && !key[3])
        return &im->f[10 + key[2] - '0'];
    if (!strcmp(key, "pc"))
        return &im->pc;
    if (!strcmp(key, "trap"))
        return &im->trap;
    if (!strcmp(key, "tval"))
        return &im->tval;
    return csr_slot(im, key);
}

static void put_word(struct words *w, struct image *im, const char *key, const char *value)
{
    uint64_t *slot = slot_of(im, key);
    int x = index_of(x_names, 32, key);

    if (!strcmp(key, "priv"))
        im->priv = (uint64_t)index_of(priv_names, 4, value);
    else if (!strcmp(key, "stop"))
        im->stop = (uint64_t)index_of(stop_names, 5, value);
    else if (!strcmp(key, "fs"))
        w->fp_off = true;
    else if (!strcmp(key, "first"))
        w->first = strcmp(value, "lr.w") ? 0x1005b52f : 0x1005a52f; /* lr.X a0,(a1) */
    else if (x >= 0 && !strcmp(value, "*"))
        im->any_x[x] = true;
    else if (slot)
        *slot = value_of(w, value);
    else
        fail_msg("%s: no word '%s'", w->row->text, key);
}

static void put_words(struct words *w, struct image *im, const char *text)
{
    char copy[256], *save, *word;

    assert_true(strlen(text) < sizeof copy);
    strcpy(copy, text);
    for (word = strtok_r(copy, " ", &save); word; word = strtok_r(NULL, " ", &save)) {
        char *value = strchr(word, '=');
        assert_non_null(value);
        *value++ = 0;
        put_word(w, im, word, value);
    }
}

/* Values that no row has by chance; x0 is 0. */
static void fill(struct image *im, uint64_t p)
{
    memset(im, 0, sizeof *im);
    for (unsigned n = 1; n < 32; n++)
        im->x[n] = 0xabcd000000000000 | n << 20 | 0x5555;
    for (unsigned n = 0; n < 32; n++)
        im->f[n] = 0x7654000000000000 | n << 20 | 0x3333;
    for (unsigned n = 0; n < NR_DATA; n++)
        im->data[n] = 0x5a5a5a5a00000000 | n;
    im->pc = p;
    im->priv = RV_M;
    im->trap = NO_TRAP;
}

/* What `after` says, on top of what follows from it. */
static void expect(struct words *w, const struct image *before, struct image *after)
{
    *after = *before;
    after->pc = w->p + rv_insn_len(w->row->word);
    put_words(w, after, w->row->after);
    if (after->trap == NO_TRAP)
        return;
    after->pc = VECTOR;
    after->priv = RV_M;
    if (!strstr(w->row->after, "tval="))
        after->tval = after->trap == RV_EXC_ILLEGAL ? w->row->word : 0;
    after->csr[IMAGE_MEPC] = w->p;
}

/* ---- the machine ---- */

struct engine {
    struct rig r;
    bool jit;
};

static void engine_init(struct engine *e, bool jit)
{
    static const uint16_t loop[2048] = {[0 ... 2047] = LOOP};
    struct rv_isa isa = rig_isa();
    struct rig *r = &e->r;

    memset(e, 0, sizeof *e);
    assert_int_equal(sim_create(&r->sim), SIM_OK);
    assert_int_equal(mem_space_create(r->sim, &r->space), SIM_OK);
    assert_int_equal(mem_add_ram(r->space, "ram", RAM_BASE, RAM_SIZE), SIM_OK);
    assert_int_equal(mem_seal_ram(r->space), SIM_OK);
    struct rv_machine_config config = {.sim = r->sim, .space = r->space, .jit = jit};
    assert_int_equal(rv_machine_create(&config, &r->m), SIM_OK);
    r->h = rig_add_hart(r, &isa);
    if (r->m->jit)
        jit_set_options(r->m->jit, &(struct jit_options){.threshold = 2});
    e->jit = r->m->jit != NULL;
    assert_int_equal(mem_write(r->space, VECTOR, loop, sizeof loop), MEM_OK);
    for (unsigned n = 0; n < SIM_ARRAY_LEN(rows); n++)
        assert_int_equal(mem_write(r->space, CODE + n * 4096, loop, sizeof loop), MEM_OK);
    vcpu_enter(&r->h->vcpu);
}

static void set_csr(struct rv_hart *h, unsigned number, uint64_t value)
{
    if (!rig_csr_write(h, number, value))
        fail_msg("cannot write CSR 0x%x", number);
}

static uint64_t get_csr(struct rv_hart *h, unsigned number)
{
    uint64_t value = 0;

    if (!rig_csr_read(h, number, &value))
        fail_msg("cannot read CSR 0x%x", number);
    return value;
}

/* Everything of the hart that a row may depend on. */
static void load_state(struct engine *e, const struct words *w, const struct image *im)
{
    struct rv_hart *h = e->r.h;

    rv_hart_reset(&h->vcpu);
    rv_hart_start(&h->vcpu, w->first ? im->pc - 4 : im->pc, 0, 0);
    rig_open_pmp(h);
    memcpy(h->x, im->x, sizeof h->x);
    memcpy(h->f, im->f, sizeof h->f);
    assert_int_equal(mem_write(e->r.space, DATA, im->data, sizeof im->data), MEM_OK);
    set_csr(h, 0x300, MSTATUS_FS); /* for the FP CSRs */
    for (unsigned n = 0; n < NR_CSRS; n++)
        set_csr(h, csrs[n].number, im->csr[n] | (csrs[n].number == 0x300 ? MSTATUS_FS : 0));
    h->mtvec = VECTOR;
    if (w->fp_off)
        set_csr(h, 0x300, im->csr[IMAGE_MSTATUS]);
    rig_set_priv(h, (enum rv_priv)im->priv);
}

static void save_state(struct engine *e, bool fp_off, struct image *im)
{
    struct rv_hart *h = e->r.h;

    memset(im, 0, sizeof *im);
    im->pc = h->pc;
    im->priv = h->priv;
    im->trap = h->pc == VECTOR ? h->mcause : NO_TRAP;
    im->tval = h->mtval;
    memcpy(im->x, h->x, sizeof im->x);
    memcpy(im->f, h->f, sizeof im->f);
    assert_int_equal(mem_read(e->r.space, DATA, im->data, sizeof im->data), MEM_OK);
    rig_set_priv(h, RV_M);
    for (unsigned n = 0; n < NR_CSRS; n++)
        if (!(fp_off && csrs[n].number < 4))
            im->csr[n] = get_csr(h, csrs[n].number) & csrs[n].mask;
}

static enum rv_stop_reason run(struct engine *e)
{
    struct rv_hart *h = e->r.h;

    h->insns = rv_insns(h);
    h->slice = h->budget = BUDGET;
    atomic_store(&h->vcpu.kick, 0);
    h->stop_reason = RV_STOP_NONE;
    enum rv_stop_reason why = e->jit ? jit_run(h) : rv_interp_run(h);
    /* No instruction asked for it: the loop at the end gave way, as loops do that only wait (jit/spin.c). */
    return why == RV_STOP_PAUSE && h->stop_reason == RV_STOP_NONE ? RV_STOP_NONE : why;
}

/* ---- comparing ---- */

static void want(const struct row *row, const char *engine, const char *what, uint64_t have,
                 uint64_t expected)
{
    if (have != expected)
        fail_msg("%s [%s] (%s): %s is %#llx, not %#llx", row->text, row->before, engine, what,
                 (unsigned long long)have, (unsigned long long)expected);
}

static void compare(const struct row *row, const char *engine, const struct image *have,
                    const struct image *expected)
{
    char name[16];

    want(row, engine, "trap", have->trap, expected->trap);
    want(row, engine, "stop", have->stop, expected->stop);
    want(row, engine, "pc", have->pc, expected->pc);
    want(row, engine, "priv", have->priv, expected->priv);
    want(row, engine, "tval", have->tval, expected->tval);
    for (unsigned n = 0; n < 32; n++) {
        if (!expected->any_x[n])
            want(row, engine, x_names[n], have->x[n], expected->x[n]);
        snprintf(name, sizeof name, "f%u", n);
        want(row, engine, name, have->f[n], expected->f[n]);
    }
    for (unsigned n = 0; n < NR_DATA; n++) {
        snprintf(name, sizeof name, "d%u", n);
        want(row, engine, name, have->data[n], expected->data[n]);
    }
    for (unsigned n = 0; n < NR_CSRS; n++)
        if (n != IMAGE_MSTATUS || expected->trap == NO_TRAP) /* its stack: test_trap.c */
            want(row, engine, csrs[n].name, have->csr[n], expected->csr[n]);
}

static void check_row(struct engine *e, unsigned n, unsigned times)
{
    const struct row *row = &rows[n];
    struct words w = {.row = row, .p = CODE + n * 4096 + ROW_OFFSET};
    struct image before, after, have;

    fill(&before, w.p);
    put_words(&w, &before, row->before);
    expect(&w, &before, &after);
    assert_int_equal(mem_write(e->r.space, w.p, &row->word, rv_insn_len(row->word)), MEM_OK);
    if (w.first)
        assert_int_equal(mem_write(e->r.space, w.p - 4, &w.first, 4), MEM_OK);
    for (unsigned time = 0; time < times; time++) {
        load_state(e, &w, &before);
        enum rv_stop_reason stop = run(e);
        save_state(e, w.fp_off, &have);
        have.stop = stop;
        compare(row, e->jit ? "jit" : "interpreter", &have, &after);
    }
}

static void test_rows_interpreted(void **state)
{
    static struct engine e;

    (void)state;
    engine_init(&e, false);
    for (unsigned n = 0; n < SIM_ARRAY_LEN(rows); n++)
        check_row(&e, n, 1);
    rig_fini(&e.r);
}

/* Each row cold and hot. */
static void test_rows_translated(void **state)
{
    static struct engine e;
    struct rv_machine_stats stats;

    (void)state;
    engine_init(&e, true);
    if (!e.jit) {
        rig_fini(&e.r);
        skip_because(SKIP_NO_JIT);
    }
    for (unsigned n = 0; n < SIM_ARRAY_LEN(rows); n++)
        check_row(&e, n, 6);
    rv_machine_get_stats(e.r.m, &stats);
    assert_in_range(stats.translations, SIM_ARRAY_LEN(rows), UINT64_MAX);
    rig_fini(&e.r);
}

/* ---- completeness ---- */

/* "add     a0,a1,a2" of the disassembler as "add a0,a1,a2"; pc-relative targets as P+n. */
static void tidy(uint32_t word, char *out, size_t size)
{
    const uint64_t p = 0x40000000;
    char text[64], *target, *gap;

    rv_disasm(word, p, text, sizeof text);
    gap = strchr(text, ' ');
    if (gap)
        memmove(gap + 1, gap + strspn(gap, " "), strlen(gap + strspn(gap, " ")) + 1);
    target = strstr(text, "0x3fff");
    target = target ? target : strstr(text, "0x4000");
    if (!target) {
        snprintf(out, size, "%s", text);
        return;
    }
    long long offset = (long long)(strtoull(target, NULL, 16) - p);
    snprintf(out, size, "%.*sP%+lld", (int)(target - text), text, offset);
}

static void test_text_is_the_word(void **state)
{
    unsigned wrong = 0;
    char text[64];

    (void)state;
    for (unsigned n = 0; n < SIM_ARRAY_LEN(rows); n++) {
        tidy(rows[n].word, text, sizeof text);
        if (!strcmp(text, rows[n].text))
            continue;
        print_error("0x%08x is '%s', the row says '%s'\n", rows[n].word, text, rows[n].text);
        wrong++;
    }
    assert_int_equal(wrong, 0);
}

/* A word that has the encoding e: reserved where all of e->nonzero is 0. */
static uint32_t word_of(const struct rv_encoding *e)
{
    return e->match | e->nonzero;
}

static unsigned missing_rows(const struct rv_decode_table *t)
{
    const struct rv_isa all = {.ext = UINT64_MAX};
    unsigned missing = 0;

    for (unsigned e = 0; e < t->nr_encs; e++) {
        bool seen = false;
        char text[64];
        if (rv_op_info[t->enc[e].op].flags & RV_OPF_VECTOR)
            continue; /* unit/cpu/test_vec*.c */
        for (unsigned n = 0; n < SIM_ARRAY_LEN(rows) && !seen; n++)
            seen = rv_decode_find(rows[n].word, &all) == &t->enc[e];
        if (seen)
            continue;
        tidy(word_of(&t->enc[e]), text, sizeof text);
        print_error("%.*s has no directed row\n", (int)strcspn(text, " "), text);
        missing++;
    }
    return missing;
}

static void test_every_line_of_the_tables_has_a_row(void **state)
{
    (void)state;
    unsigned missing = missing_rows(&rv_decode_table32);

    missing += missing_rows(&rv_decode_table16);
    assert_int_equal(missing, 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_every_line_of_the_tables_has_a_row),
        cmocka_unit_test(test_text_is_the_word),
        cmocka_unit_test(test_rows_interpreted),
        cmocka_unit_test(test_rows_translated),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
