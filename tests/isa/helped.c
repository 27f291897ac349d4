/* Which vector instructions translated code leaves to the interpreter's function, by SEW, LMUL and mask.
 *
 *   helped FILE HOST       compares with the list for that host in FILE; exit code 1 when something differs
 *   helped FILE --update   writes the lists again
 *
 * Each encoding with each legal vtype (VLEN 128), registers apart, masked and not: is there IR_VCALL or IR_EXEC in what
 * trans_insn makes of it? A line for each mnemonic that is helped: "MNEMONIC HOST: how", for a host with AVX-512 (`512`) and
 * one of x86-64-v3 (`v3`), a list for each; "all", or by SEW the LMULs, "m" where only under a mask, "u" where only without one. */
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "decode.h"
#include "jit_machine.h"
#include "trans.h"


enum { SIZES = 4, LMULS = 7, SKIPPED = 77, MAX_TEXT = 1 << 17 };
enum { VD = 8, VS1 = 24, VS2 = 16, RS1 = 10, RS2 = 11 }; /* x10 is an address */

static const struct {
    const char *name;
    uint64_t features;
    const char *needs;
} hosts[] = {{"512", V3 | X86_ALL_AVX512, "AVX-512"}, {"v3", V3, "x86-64-v3"}};

/* Combinations of one encoding: whether they are legal, and whether they are helped. */
struct outcome {
    bool legal[SIZES][LMULS][2], helped[SIZES][LMULS][2]; /* [.][.][masked] */
};

static uint32_t with_field(uint32_t word, uint32_t mask, unsigned at, unsigned value)
{
    return mask >> at & 31 ? word : word | value << at;
}

static bool has_mask_bit(const struct rv_encoding *e)
{
    return !(e->mask >> 25 & 1);
}

/* The encoding with operands that are apart from each other. */
static uint32_t word_of(const struct rv_encoding *e, bool masked, unsigned fields)
{
    bool memory = (e->match & 0x7f) != 0x57, indexed = memory && (e->match >> 26 & 1);
    unsigned form = e->match >> 12 & 7;
    uint32_t word = e->match;

    word = with_field(word, e->mask, 7, VD);
    word = with_field(word, e->mask, 15, memory || form >= 4 ? RS1 : form == 3 ? 3 : VS1);
    word = with_field(word, e->mask, 20, memory && !indexed ? RS2 : VS2);
    return word | (has_mask_bit(e) && !masked) << 25 | (fields - 1) << 29;
}

static bool is_legal(struct machine *x, const struct rv_insn *i, uint64_t vtype)
{
    struct rv_hart *h = x->h;

    memset(h->v, 0, sizeof h->v);
    memset(h->x, 0, sizeof h->x);
    h->x[RS1] = RAM_BASE + RAM_SIZE / 2;
    h->x[RS2] = 64;
    h->vtype = vtype;
    h->vl = 1;
    h->vstart = 0;
    h->pc = RAM_BASE;
    rv_vec_sync(h);
    return rv_op_info[i->op].exec(h, i) != RV_TRAP;
}

static bool is_helped(struct machine *x, const struct rv_insn *i, uint64_t vtype)
{
    static struct ir_region r;
    struct trans t = {.r = &r, .host = x->m->jit->host, .fp_on = true, .frm = 0, .i = i, .isa = &x->h->isa,
                      .vtype = vtype, .vlenb = (unsigned)x->h->vlenb};

    ir_reset(&r);
    ir_block_begin(&r);
    trans_block_begin(&t);
    trans_insn(&t);
    for (unsigned n = 0; n < r.nr_insns; n++)
        if (r.insn[n].op == IR_VCALL || r.insn[n].op == IR_EXEC)
            return true;
    return false;
}

static uint64_t vtype_of(unsigned size, int lmul)
{
    return 0xc0 | size << 3 | ((unsigned)lmul & 7);
}

static void try_all(struct machine *x, const struct rv_encoding *e, unsigned fields, struct outcome *o)
{
    memset(o, 0, sizeof *o);
    for (unsigned masked = 0; masked <= has_mask_bit(e); masked++) {
        struct rv_insn i;

        rv_decode(word_of(e, masked, fields), &x->h->isa, &i);
        for (unsigned size = 0; size < SIZES; size++)
            for (int lmul = -3; lmul <= 3; lmul++) {
                uint64_t vtype = vtype_of(size, lmul);
                if ((int)size > lmul + 3 || i.op != e->op || !is_legal(x, &i, vtype))
                    continue;
                o->legal[size][lmul + 3][masked] = true;
                o->helped[size][lmul + 3][masked] = is_helped(x, &i, vtype);
            }
    }
}

/* --- writing the list --- */

static char text[MAX_TEXT];
static size_t length;

static void put(const char *format, ...)
{
    va_list args;

    va_start(args, format);
    length += (size_t)vsnprintf(text + length, sizeof text - length, format, args);
    va_end(args);
    must(length < sizeof text, "a list of that length");
}

static void put_size(const struct outcome *o, unsigned size)
{
    static const char *const lmuls[] = {"mf8", "mf4", "mf2", "m1", "m2", "m4", "m8"};
    bool begun = false;

    for (unsigned l = 0; l < LMULS; l++) {
        const bool *helped = o->helped[size][l], *legal = o->legal[size][l];
        if (!helped[0] && !helped[1])
            continue;
        if (!begun)
            put("  e%u", 8u << size);
        begun = true;
        put(" %s%s", lmuls[l], helped[0] == legal[0] && helped[1] == legal[1] ? "" : helped[1] ? "/m" : "/u");
    }
}

static void put_line(const char *name, unsigned fields, const char *host, const struct outcome *o)
{
    if (!memchr(o->helped, true, sizeof o->helped))
        return;
    if (fields > 1)
        put("%s nf=%u %s:", name, fields, host);
    else
        put("%s %s:", name, host);
    if (!memcmp(o->helped, o->legal, sizeof o->helped))
        put("  all");
    else
        for (unsigned size = 0; size < SIZES; size++)
            put_size(o, size);
    put("\n");
}

static void list_one(struct machine *x, const struct rv_encoding *e, const char *host)
{
    bool segments = (e->match & 0x7f) != 0x57 && !(e->mask >> 29);
    struct outcome o;

    for (unsigned fields = 1; fields <= (segments ? 8 : 1); fields++) {
        try_all(x, e, fields, &o);
        put_line(rv_op_info[e->op].name, fields, host, &o);
    }
}

static bool list_all(unsigned host)
{
    const struct rv_decode_table *t = &rv_decode_table32;
    struct machine x = {0};
    bool able = start(&x, hosts[host].features, 1) && has(&x, hosts[host].features);

    for (unsigned n = 0; able && n < t->nr_encs; n++) {
        const struct rv_encoding *e = &t->enc[n];
        unsigned flags = rv_op_info[e->op].flags;
        if (flags & RV_OPF_VECTOR && !(flags & RV_OPF_SYSTEM))
            list_one(&x, e, hosts[host].name);
    }
    stop(&x);
    return able;
}

/* --- comparing --- */

static const char head[] =
    "# Vector instructions that translated code leaves to the interpreter's function: see helped.c. After a change that is\n"
    "# meant: build/tests/isa/helped tests/isa/helped.txt --update\n";

/* The list for that host in the text of a file, which is cut behind it. */
static const char *list_in(char *file, unsigned host)
{
    char *at = file;

    for (unsigned n = 0; n <= host; n++) {
        at = strstr(at, "\n\n");
        must(at != NULL, "finding the host's list");
        at += 2;
    }
    char *end = strstr(at, "\n\n");
    if (end)
        end[1] = 0;
    return at;
}

/* The first line that is not the same, or NULL. */
static const char *difference(const char *was, const char *now)
{
    const char *line = now;

    for (; *was && *was == *now; was++, now++)
        if (*now == '\n')
            line = now + 1;
    return *was == *now ? NULL : line;
}

static int compare(const char *path, unsigned host)
{
    static char was[MAX_TEXT];
    FILE *in = fopen(path, "r");

    must(in != NULL, path);
    was[fread(was, 1, sizeof was - 1, in)] = 0;
    fclose(in);
    const char *line = difference(list_in(was, host), text);
    if (!line)
        return 0;
    printf("%s differs from what is left to the interpreter's function now, first at: %.*s\nWhen that is meant: "
           "build/tests/isa/helped tests/isa/helped.txt --update\n", path, (int)strcspn(line, "\n"), line);
    return 1;
}

static int check(const char *path, unsigned host)
{
    if (list_all(host))
        return compare(path, host);
    printf("SKIP: %s needs a host with %s\n", hosts[host].name, hosts[host].needs);
    return SKIPPED;
}

static int update(const char *path)
{
    put("%s", head);
    for (unsigned host = 0; host < SIM_ARRAY_LEN(hosts); host++) {
        put("\n");
        must(list_all(host), "making the list for another host than this");
    }
    FILE *out = fopen(path, "w");
    must(out && fputs(text, out) >= 0 && fclose(out) == 0, path);
    return 0;
}

int main(int argc, char **argv)
{
    if (argc == 3 && !strcmp(argv[2], "--update"))
        return update(argv[1]);
    for (unsigned host = 0; argc == 3 && host < SIM_ARRAY_LEN(hosts); host++)
        if (!strcmp(argv[2], hosts[host].name))
            return check(argv[1], host);
    fprintf(stderr, "usage: helped FILE 512|v3|--update\n");
    return 2;
}
