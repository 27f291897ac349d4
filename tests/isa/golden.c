/* Pins how much host code sequences of guest code become: a loss of code quality shows in a diff of golden.txt.
 *
 *   golden FILE              compares; exit code 1 when something differs
 *   golden FILE --update     writes the file again with what comes out now
 *   golden FILE --list NAME  prints the host code of one sequence
 *
 * FILE: "[name]", then instruction words (what follows a word is a comment, rewritten by --update), then a line for each
 * set of host features: instructions and bytes of the code that runs (entry, blocks, the exit at the end), and the
 * bytes of all. Host features are fixed, so that the numbers are the same on every x86-64 host: `baseline` does without
 * all that is optional, `v3` has BMI, LZCNT, POPCNT, AVX2 and FMA and nothing newer. objdump counts the instructions. */
#include <inttypes.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "jit_machine.h"


enum { MAX_SEQUENCES = 128, MAX_WORDS = 32, MAX_CODE = 4096, SKIPPED = 77, HARTS = 2 };
static const uint32_t end_of_sequence = 0x4000006f; /* j .+0x400: leaves for code nobody has seen */

struct figures {
    unsigned insns, bytes, all; /* insns 0: not counted */
};

struct sequence {
    char name[32];
    uint32_t word[MAX_WORDS];
    unsigned nr_words;
    struct figures want[2], got[2];
};

static const struct {
    const char *name;
    uint64_t features;
} columns[2] = {{"baseline", 0}, {"v3", V3}};

/* --- the file --- */

static unsigned read_file(const char *path, struct sequence *out)
{
    FILE *in = fopen(path, "r");
    char line[256];
    unsigned nr = 0;

    if (!in) {
        perror(path);
        exit(70);
    }
    while (fgets(line, sizeof line, in)) {
        struct sequence *s = nr ? &out[nr - 1] : NULL;
        struct figures f = {0};
        char column[16];
        uint32_t word;
        if (line[0] == '[' && nr < MAX_SEQUENCES)
            sscanf(line, "[%31[^]]]", out[nr++].name);
        else if (s && sscanf(line, " %15s %u instructions %u bytes, %u in all", column, &f.insns, &f.bytes, &f.all) == 4)
            s->want[strcmp(column, "v3") == 0] = f;
        else if (s && s->nr_words < MAX_WORDS && sscanf(line, " %8" SCNx32, &word) == 1)
            s->word[s->nr_words++] = word;
    }
    fclose(in);
    return nr;
}

static const char head[] =
    "# Host code of guest sequences: see golden.c. After a change of the translator that is meant:\n"
    "#   build/tests/isa/golden tests/isa/golden.txt --update\n"
    "# A new sequence: [name] and its words (riscv64-linux-gnu-objdump -d), then the same.\n";

static void write_file(const char *path, const struct sequence *s, unsigned nr)
{
    FILE *out = fopen(path, "w");

    if (!out) {
        perror(path);
        exit(70);
    }
    fputs(head, out);
    for (; nr--; s++) {
        fprintf(out, "\n[%s]\n", s->name);
        for (unsigned n = 0, at = 0; n < s->nr_words; n++) {
            char text[96];
            at += rv_disasm(s->word[n], at, text, sizeof text);
            fprintf(out, "  %0*" PRIx32 "  %s\n", (s->word[n] & 3) == 3 ? 8 : 4, s->word[n], text);
        }
        for (unsigned c = 0; c < 2; c++)
            fprintf(out, "  %-8s %3u instructions %4u bytes, %4u in all\n", columns[c].name, s->got[c].insns,
                    s->got[c].bytes, s->got[c].all);
    }
    fclose(out);
}

/* --- translating --- */

/* Puts the sequence into guest memory as code that has been executed, all of it equally often. */
static void put_code(struct machine *x, const struct sequence *s)
{
    gpa_t at = RAM_BASE;

    for (unsigned n = 0; n <= s->nr_words; n++) {
        uint32_t word = n < s->nr_words ? s->word[n] : end_of_sequence;
        must(mem_write(x->space, at, &word, rv_insn_len(word)) == MEM_OK, "writing code");
        atomic_store(jit_counter(x->m->jit, at), (uint8_t)x->m->jit->threshold);
        at += rv_insn_len(word);
    }
}

/* The host code of the sequence, translated alone by a machine of its own; its hot part in code[]. */
static bool translate(const struct sequence *s, uint64_t features, struct figures *out, uint8_t code[MAX_CODE])
{
    struct machine x = {0};
    struct jit_region *r = NULL;

    if (!start(&x, features, HARTS)) {
        stop(&x);
        return false;
    }
    put_code(&x, s);
    x.h->pc = RAM_BASE;
    must(jit_translate(x.m->jit, x.h, &r) == JIT_TRANSLATED && r->code.hot_bytes <= MAX_CODE, s->name);
    *out = (struct figures){0, r->code.hot_bytes, r->code.host_bytes};
    memcpy(code, x.m->jit->cache.rw + r->code.entry, r->code.hot_bytes);
    stop(&x);
    return true;
}

static bool host_has(uint64_t features)
{
    struct machine x = {0};
    bool yes = start(&x, features, HARTS) && has(&x, features);

    stop(&x);
    return yes;
}

/* --- counting instructions --- */

/* objdump's lines for the bytes, or NULL. */
static FILE *disassemble(const char *path)
{
    char command[256];

    snprintf(command, sizeof command, "objdump -D -b binary -m i386:x86-64 -M intel --no-show-raw-insn %s 2>/dev/null", path);
    return popen(command, "r");
}

/* Lists (when `show`) and counts. 0: no objdump. */
static unsigned count_insns(const uint8_t *code, unsigned len, bool show)
{
    char path[] = "/tmp/partita-golden.XXXXXX", line[256];
    int fd = mkstemp(path);
    unsigned at, nr = 0;

    must(fd >= 0 && write(fd, code, len) == (ssize_t)len, "writing a temporary file");
    close(fd);
    FILE *in = disassemble(path);
    while (in && fgets(line, sizeof line, in)) {
        if (sscanf(line, " %x:", &at) != 1)
            continue;
        nr++;
        if (show)
            fputs(line, stdout);
    }
    if (in)
        pclose(in);
    unlink(path);
    return nr;
}

/* --- comparing --- */

static bool same(const struct figures *a, const struct figures *b)
{
    return a->bytes == b->bytes && a->all == b->all && (!a->insns || !b->insns || a->insns == b->insns);
}

static unsigned compare(const struct sequence *s, unsigned c)
{
    const struct figures *w = &s->want[c], *g = &s->got[c];

    if (same(w, g))
        return 0;
    printf("%-20s %-8s %3u instructions %4u bytes, %4u in all; it was %3u, %4u, %4u\n", s->name, columns[c].name,
           g->insns, g->bytes, g->all, w->insns, w->bytes, w->all);
    return 1;
}

static int list_one(const struct sequence *s, unsigned nr, const char *name)
{
    uint8_t code[MAX_CODE];

    for (; nr--; s++) {
        struct figures f;
        if (strcmp(s->name, name) != 0)
            continue;
        for (unsigned c = 0; c < 2; c++) {
            printf("%s, %s:\n", name, columns[c].name);
            if (host_has(columns[c].features) && translate(s, columns[c].features, &f, code))
                count_insns(code, f.bytes, true);
        }
        return 0;
    }
    fprintf(stderr, "golden: there is no sequence '%s'\n", name);
    return 2;
}

/* Fills in a column; false: it cannot be had here. */
static bool measure(struct sequence *s, unsigned nr, unsigned c)
{
    uint8_t code[MAX_CODE];

    if (!host_has(columns[c].features))
        return false;
    for (unsigned n = 0; n < nr; n++) {
        must(translate(&s[n], columns[c].features, &s[n].got[c], code), "translating");
        s[n].got[c].insns = count_insns(code, s[n].got[c].bytes, false);
    }
    return true;
}

int main(int argc, char **argv)
{
    static struct sequence sequence[MAX_SEQUENCES];
    unsigned nr = argc > 1 ? read_file(argv[1], sequence) : 0, differ = 0, compared = 0;
    bool update = argc == 3 && strcmp(argv[2], "--update") == 0;

    if (!nr) {
        fprintf(stderr, "usage: golden FILE [--update | --list NAME]\n");
        return 2;
    }
    if (argc == 4)
        return list_one(sequence, nr, argv[3]);
    for (unsigned c = 0; c < 2; c++) {
        if (!measure(sequence, nr, c)) {
            printf("%s is not compared: this host has not all that it needs\n", columns[c].name);
            continue;
        }
        compared++;
        for (unsigned n = 0; n < nr && !update; n++)
            differ += compare(&sequence[n], c);
    }
    if (!sequence[0].got[0].insns && compared)
        printf("instructions are not counted: there is no objdump\n");
    if (update && compared == 2 && sequence[0].got[0].insns) {
        write_file(argv[1], sequence, nr);
        return 0;
    }
    if (update || !compared) {
        printf("SKIP: needs a host of x86-64-v3 with objdump to update, and x86-64 with executable memory to compare\n");
        return update ? 1 : SKIPPED;
    }
    if (differ)
        printf("%u differ. When that is meant: build/tests/isa/golden tests/isa/golden.txt --update; with --list NAME it "
               "prints host code\n", differ);
    return differ != 0;
}
