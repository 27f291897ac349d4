/* mkdecode: turns the instruction specs into C tables.
 *
 *   mkdecode insn32.decode insn16.decode rv_ops.h rv_decode.inc
 *
 * parse both specs -> check (widths, fields, overlaps) -> write
 *   rv_ops.h       enum rv_op and the list RV_OPS
 *   rv_decode.inc  op info, encodings, lookup index, field extraction, disassembly text
 *
 * The grammar is described at the head of insn32.decode. A mistake in a spec ends the run with
 * "file:line: what is wrong" and exit code 1; tests/decode holds one spec per mistake.
 *
 * Lookup index: the opcode (32 bit) or quadrant and funct3 (16 bit) selects a group; each group is
 * indexed by the run of up to 7 further bits that splits it best; a bucket lists the encodings that
 * are left, usually one or two. */
#include <ctype.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum {
    MAX_PIECES = 12,
    MAX_IMMS = 64,
    MAX_FORMATS = 96,
    MAX_ENCODINGS = 1024,
    MAX_GROUPS = 32,
    MAX_TOKENS = 64,
    MAX_INDEX_BITS = 7,
    NAME_LEN = 32
};

/* The register fields of struct rv_insn that a format can set; imm is apart. */
enum field { F_RD, F_RS1, F_RS2, F_RS3, F_RM, F_IMM, NR_FIELDS };
static const char *const field_name[NR_FIELDS] = {"rd", "rs1", "rs2", "rs3", "rm", "imm"};

static const char *const flag_name[] = {"branch", "jump", "load", "store", "atomic",
                                        "fp",     "system", "rd_f", "rs1_f", "rs2_f",
                                        "vector", "rd_x"};
enum { NR_FLAGS = sizeof(flag_name) / sizeof(flag_name[0]) };

struct piece {
    unsigned pos, len;
    bool sign;
};

struct imm {
    char name[NAME_LEN];
    struct piece piece[MAX_PIECES];
    unsigned nr_pieces, shift;
};

/* Where one field comes from: bits of the word plus `add`, or just `add`. */
struct source {
    bool set;
    bool has_bits;
    struct piece bits;
    unsigned add;
    const struct imm *imm;
};

struct format {
    char name[NAME_LEN];
    struct source field[NR_FIELDS];
    char syntax[NAME_LEN];
    unsigned index; /* in the generated switch */
};

struct encoding {
    char name[NAME_LEN];
    unsigned line;
    uint32_t mask, match;
    uint32_t covered;  /* bits that must belong to a field: '.' */
    uint32_t nonzero;  /* bits of which one must be set, 0 = no such condition */
    unsigned brace;    /* lines of the same { } may overlap; 0 = none */
    const struct format *format;
    char syntax[NAME_LEN];
    char ext[NAME_LEN]; /* 32 bit */
    unsigned flags, size;
    unsigned op;        /* the enum value, from 1 */
};

struct group {
    unsigned lo, bits, first; /* index = first + (raw >> lo & ((1 << bits) - 1)) */
};

struct spec {
    const char *path;
    unsigned width; /* 32 or 16 */
    unsigned line;  /* being parsed */
    struct imm imm[MAX_IMMS];
    unsigned nr_imms;
    struct format format[MAX_FORMATS];
    unsigned nr_formats;
    struct encoding enc[MAX_ENCODINGS];
    unsigned nr_encs;
    unsigned brace, nr_braces; /* open { } or 0; how many there were */
    const struct spec *ops;    /* 16 bit: where the target ops are */
};

struct tokens {
    char *t[MAX_TOKENS];
    unsigned n;
};

static void __attribute__((noreturn, format(printf, 3, 4)))
fail(const struct spec *s, unsigned line, const char *fmt, ...)
{
    va_list args;

    fprintf(stderr, "%s:%u: error: ", s->path, line);
    va_start(args, fmt);
    vfprintf(stderr, fmt, args);
    va_end(args);
    fputc('\n', stderr);
    exit(1);
}

/* ---- words of a line ---- */

static void copy_name(const struct spec *s, char *to, const char *from)
{
    if (strlen(from) >= NAME_LEN)
        fail(s, s->line, "'%s' is too long", from);
    strcpy(to, from);
}

/* Splits a line at blanks, in place; a "..." word keeps its blanks and its opening quote. '#' ends
 * the line. */
static void tokenize(struct spec *s, char *p, struct tokens *out)
{
    out->n = 0;
    for (;;) {
        while (isspace((unsigned char)*p))
            *p++ = 0;
        if (!*p || *p == '#') {
            *p = 0;
            return;
        }
        if (out->n == MAX_TOKENS)
            fail(s, s->line, "too many words");
        out->t[out->n++] = p;
        if (*p == '"') {
            p = strchr(p + 1, '"');
            if (!p)
                fail(s, s->line, "unterminated \"");
            *p++ = 0;
            continue;
        }
        while (*p && !isspace((unsigned char)*p))
            p++;
    }
}

static unsigned parse_number(const struct spec *s, const char **p, const char *whole)
{
    char *end;
    unsigned long v;

    if (!isdigit((unsigned char)**p))
        fail(s, s->line, "number expected in '%s'", whole);
    v = strtoul(*p, &end, 10);
    *p = end;
    return v > 1000 ? 1000 : (unsigned)v; /* every limit is far below */
}

/* pos:len or pos:slen; *p is left after it. */
static struct piece parse_piece(const struct spec *s, const char **p, const char *whole)
{
    struct piece r = {0};

    r.pos = parse_number(s, p, whole);
    if (*(*p)++ != ':')
        fail(s, s->line, "pos:len expected in '%s'", whole);
    if (**p == 's') {
        r.sign = true;
        (*p)++;
    }
    r.len = parse_number(s, p, whole);
    if (r.len == 0 || r.pos + r.len > s->width)
        fail(s, s->line, "'%s' does not fit a %u-bit instruction", whole, s->width);
    return r;
}

static uint32_t piece_mask(const struct piece *p)
{
    return (uint32_t)(((1ull << p->len) - 1) << p->pos);
}

static uint32_t source_mask(const struct source *src)
{
    uint32_t m = 0;

    if (src->has_bits)
        m |= piece_mask(&src->bits);
    for (unsigned i = 0; src->imm && i < src->imm->nr_pieces; i++)
        m |= piece_mask(&src->imm->piece[i]);
    return m;
}

/* ---- % and @ lines ---- */

static const struct imm *find_imm(const struct spec *s, const char *name)
{
    for (unsigned i = 0; i < s->nr_imms; i++)
        if (!strcmp(s->imm[i].name, name))
            return &s->imm[i];
    return NULL;
}

static const struct format *find_format(const struct spec *s, const char *name)
{
    for (unsigned i = 0; i < s->nr_formats; i++)
        if (!strcmp(s->format[i].name, name))
            return &s->format[i];
    return NULL;
}

static const struct encoding *find_encoding(const struct spec *s, const char *name)
{
    for (unsigned i = 0; i < s->nr_encs; i++)
        if (!strcmp(s->enc[i].name, name))
            return &s->enc[i];
    return NULL;
}

static void parse_imm(struct spec *s, const struct tokens *t)
{
    struct imm *m = &s->imm[s->nr_imms];
    unsigned bits = 0;

    if (find_imm(s, t->t[0] + 1))
        fail(s, s->line, "%s is defined twice", t->t[0]);
    if (s->nr_imms == MAX_IMMS)
        fail(s, s->line, "too many immediates");
    copy_name(s, m->name, t->t[0] + 1);
    for (unsigned i = 1; i < t->n; i++) {
        const char *p = t->t[i];

        if (!strncmp(p, "<<", 2)) {
            p += 2;
            m->shift = parse_number(s, &p, t->t[i]);
        } else {
            if (m->nr_pieces == MAX_PIECES)
                fail(s, s->line, "too many pieces");
            m->piece[m->nr_pieces] = parse_piece(s, &p, t->t[i]);
            if (m->piece[m->nr_pieces].sign && m->nr_pieces)
                fail(s, s->line, "only the highest piece can be signed");
            bits += m->piece[m->nr_pieces++].len;
        }
        if (*p)
            fail(s, s->line, "'%s' is not a piece", t->t[i]);
    }
    if (!bits || bits + m->shift > 32)
        fail(s, s->line, "%s has %u bits", t->t[0], bits + m->shift);
    s->nr_imms++;
}

/* The field named by the first `len` characters of text. */
static enum field parse_field(const struct spec *s, const char *text, size_t len)
{
    for (unsigned f = 0; f < NR_FIELDS; f++)
        if (strlen(field_name[f]) == len && !strncmp(field_name[f], text, len))
            return (enum field)f;
    fail(s, s->line, "unknown field in '%s'", text);
}

static void parse_source(const struct spec *s, struct source *src, enum field f, const char *word)
{
    const char *p = strchr(word, '=') + 1;

    src->set = true;
    if (*p == '%') {
        src->imm = find_imm(s, p + 1);
        if (!src->imm || f != F_IMM)
            fail(s, s->line, "unknown immediate '%s'", p);
        return;
    }
    if (strchr(p, ':')) {
        src->has_bits = true;
        src->bits = parse_piece(s, &p, word);
        if (*p == '+')
            p++;
        else if (!*p)
            return;
    }
    src->add = parse_number(s, &p, word);
    if (*p || src->add + (src->has_bits ? (1u << src->bits.len) - 1 : 0) > 31)
        fail(s, s->line, "'%s' is not a register", word);
}

static void parse_format(struct spec *s, const struct tokens *t)
{
    struct format *f = &s->format[s->nr_formats];

    if (find_format(s, t->t[0] + 1))
        fail(s, s->line, "%s is defined twice", t->t[0]);
    if (s->nr_formats == MAX_FORMATS)
        fail(s, s->line, "too many formats");
    copy_name(s, f->name, t->t[0] + 1);
    for (unsigned i = 1; i < t->n; i++) {
        const char *eq = strchr(t->t[i], '=');
        enum field field;

        if (t->t[i][0] == '"') {
            copy_name(s, f->syntax, t->t[i] + 1);
            continue;
        }
        if (!eq)
            fail(s, s->line, "field=... expected, not '%s'", t->t[i]);
        field = parse_field(s, t->t[i], (size_t)(eq - t->t[i]));
        if (f->field[field].set)
            fail(s, s->line, "%s is set twice", field_name[field]);
        parse_source(s, &f->field[field], field, t->t[i]);
    }
    s->nr_formats++;
}

/* ---- instruction lines ---- */

/* The bit words from t[1] on; returns the index of the word after them. */
static unsigned parse_bits(const struct spec *s, struct encoding *e, const struct tokens *t)
{
    unsigned n = 0, i;

    for (i = 1; i < t->n && strchr("01.-", t->t[i][0]); i++) {
        for (const char *p = t->t[i]; *p; p++, n++) {
            if (!strchr("01.-", *p))
                fail(s, s->line, "'%c' in the bits of %s", *p, e->name);
            e->mask = e->mask << 1 | (*p == '0' || *p == '1');
            e->match = e->match << 1 | (*p == '1');
            e->covered = e->covered << 1 | (*p == '.');
        }
    }
    if (n != s->width)
        fail(s, s->line, "%s has %u bits, not %u", e->name, n, s->width);
    return i;
}

/* Every '.' belongs to a field of the format, and every field has a '.'. */
static void check_coverage(const struct spec *s, const struct encoding *e)
{
    uint32_t fields = 0;

    for (unsigned f = 0; f < NR_FIELDS; f++) {
        uint32_t m = source_mask(&e->format->field[f]);

        if (m && !(m & e->covered))
            fail(s, s->line, "%s: @%s takes %s from bits that are fixed", e->name, e->format->name,
                 field_name[f]);
        fields |= m;
    }
    if (e->covered & ~fields)
        fail(s, s->line, "%s: @%s has no field for bits %08x", e->name, e->format->name,
             (unsigned)(e->covered & ~fields));
    if (fields & ~e->covered & ~e->mask)
        fail(s, s->line, "%s: @%s takes ignored bits", e->name, e->format->name);
}

static void parse_condition(const struct spec *s, struct encoding *e, const char *word)
{
    const char *ne = strstr(word, "!=0");
    uint32_t m;

    if (ne[3])
        fail(s, s->line, "only field!=0 is known, not '%s'", word);
    m = source_mask(&e->format->field[parse_field(s, word, (size_t)(ne - word))]);
    if (!m || e->nonzero)
        fail(s, s->line, "%s: '%s' is no field, or a second condition", e->name, word);
    e->nonzero = m & ~e->mask;
}

static void parse_flag(const struct spec *s, struct encoding *e, const char *word)
{
    const char *p = word + 5;

    if (word[0] == '"') {
        copy_name(s, e->syntax, word + 1);
        return;
    }
    if (strstr(word, "!=0")) {
        parse_condition(s, e, word);
        return;
    }
    if (!strncmp(word, "size=", 5)) {
        e->size = parse_number(s, &p, word);
        return;
    }
    for (unsigned f = 0; f < NR_FLAGS; f++) {
        if (!strcmp(word, flag_name[f])) {
            e->flags |= 1u << f;
            return;
        }
    }
    fail(s, s->line, "unknown flag '%s'", word);
}

static void check_overlaps(const struct spec *s, const struct encoding *e);

static void parse_encoding(struct spec *s, const struct tokens *t)
{
    struct encoding *e = &s->enc[s->nr_encs];
    const struct encoding *same = find_encoding(s, t->t[0]);
    unsigned i;

    if (s->nr_encs == MAX_ENCODINGS)
        fail(s, s->line, "too many instructions");
    if (same)
        fail(s, s->line, "%s is defined twice, first in line %u", t->t[0], same->line);
    copy_name(s, e->name, t->t[0]);
    e->line = s->line;
    e->brace = s->brace;
    i = parse_bits(s, e, t);
    if (i + 1 >= t->n || t->t[i][0] != '@')
        fail(s, s->line, "%s: a @format and %s must follow the bits", e->name,
             s->ops ? "an instruction" : "an extension");
    e->format = find_format(s, t->t[i] + 1);
    if (!e->format)
        fail(s, s->line, "%s: unknown format '%s'", e->name, t->t[i]);
    strcpy(e->syntax, e->format->syntax);
    if (s->ops) {
        const struct encoding *op = find_encoding(s->ops, t->t[i + 1]);

        if (!op)
            fail(s, s->line, "%s: unknown instruction '%s'", e->name, t->t[i + 1]);
        e->op = op->op;
        strcpy(e->ext, op->ext);
    } else {
        e->op = s->nr_encs + 1;
        copy_name(s, e->ext, t->t[i + 1]);
    }
    for (i += 2; i < t->n; i++)
        parse_flag(s, e, t->t[i]);
    check_coverage(s, e);
    check_overlaps(s, e);
    s->nr_encs++;
}

/* Is there a word that fits both? Free bits can always be set to satisfy the conditions. */
static bool overlap(const struct encoding *a, const struct encoding *b)
{
    uint32_t mask = a->mask | b->mask, match = a->match | b->match;

    if ((a->match ^ b->match) & a->mask & b->mask)
        return false;
    if (a->nonzero && !(a->nonzero & (match | ~mask)))
        return false;
    return !b->nonzero || (b->nonzero & (match | ~mask));
}

static void check_overlaps(const struct spec *s, const struct encoding *e)
{
    for (unsigned i = 0; i < s->nr_encs; i++) {
        const struct encoding *o = &s->enc[i];

        if ((!o->brace || o->brace != e->brace) && overlap(o, e))
            fail(s, e->line, "%s overlaps %s of line %u", e->name, o->name, o->line);
    }
}

static void parse_brace(struct spec *s, const struct tokens *t)
{
    bool open = t->t[0][0] == '{';

    if (t->n != 1 || t->t[0][1] || open == (s->brace != 0))
        fail(s, s->line, "unexpected '%s'", t->t[0]);
    s->brace = open ? ++s->nr_braces : 0;
}

static void parse_line(struct spec *s, char *line)
{
    struct tokens t;

    tokenize(s, line, &t);
    if (!t.n)
        return;
    switch (t.t[0][0]) {
    case '%': parse_imm(s, &t); break;
    case '@': parse_format(s, &t); break;
    case '{':
    case '}': parse_brace(s, &t); break;
    default: parse_encoding(s, &t); break;
    }
}

static void parse_spec(struct spec *s)
{
    char line[512];
    FILE *f = fopen(s->path, "r");

    if (!f) {
        perror(s->path);
        exit(1);
    }
    while (fgets(line, sizeof(line), f)) {
        s->line++;
        if (!strchr(line, '\n') && !feof(f))
            fail(s, s->line, "line too long");
        parse_line(s, line);
    }
    fclose(f);
    if (s->brace)
        fail(s, s->line, "'{' is not closed");
    if (!s->nr_encs)
        fail(s, s->line, "no instructions");
}

/* ---- output ---- */

/* The C name of an op: the mnemonic with '.' as '_'. */
static const char *c_name(const char *name, char *buf)
{
    char *p = buf;

    do {
        *p++ = *name == '.' ? '_' : *name;
    } while (*name++);
    return buf;
}

static const char *upper(const char *name, char *buf)
{
    char *p = buf;

    do {
        *p++ = (char)toupper((unsigned char)*name);
    } while (*name++);
    return buf;
}

static void write_ops(FILE *f, const struct spec *s)
{
    char name[NAME_LEN];

    fputs("/* Generated by mkdecode from insn32.decode. */\n#ifndef RV_OPS_H\n#define RV_OPS_H\n\n"
          "enum rv_op {\n    RV_OP_illegal = 0,\n", f);
    for (unsigned i = 0; i < s->nr_encs; i++)
        fprintf(f, "    RV_OP_%s,\n", c_name(s->enc[i].name, name));
    fputs("    RV_OP_COUNT\n};\n\n/* X(op, extension) for every op but illegal */\n"
          "#define RV_OPS(X)", f);
    for (unsigned i = 0; i < s->nr_encs; i++) {
        char ext[NAME_LEN];

        fprintf(f, " \\\n    X(%s, %s)", c_name(s->enc[i].name, name), upper(s->enc[i].ext, ext));
    }
    fputs("\n\n#endif\n", f);
}

static void write_op_info(FILE *f, const struct spec *s)
{
    char name[NAME_LEN], ext[NAME_LEN];

    fputs("#ifdef RV_GEN_OP_INFO\nconst struct rv_op_info rv_op_info[RV_OP_COUNT] = {\n"
          "    [RV_OP_illegal] = {\"illegal\", exec_illegal, 0, RV_EXT_I, 0},\n", f);
    for (unsigned i = 0; i < s->nr_encs; i++) {
        const struct encoding *e = &s->enc[i];

        c_name(e->name, name);
        fprintf(f, "    [RV_OP_%s] = {\"%s\", exec_%s, 0", name, e->name, name);
        for (unsigned b = 0; b < NR_FLAGS; b++)
            if (e->flags >> b & 1)
                fprintf(f, " | RV_OPF_%s", upper(flag_name[b], ext));
        fprintf(f, ", RV_EXT_%s, %u},\n", upper(e->ext, ext), e->size);
    }
    fputs("};\n#endif\n\n", f);
}

static void write_imm(FILE *f, const struct imm *m)
{
    unsigned below = m->shift;

    for (unsigned i = 0; i < m->nr_pieces; i++)
        below += m->piece[i].len;
    fputs("    o->imm = (int32_t)(", f);
    for (unsigned i = 0; i < m->nr_pieces; i++) {
        const struct piece *p = &m->piece[i];

        below -= p->len;
        if (p->sign)
            fprintf(f, "%s(uint32_t)((int32_t)(raw << %u) >> %u) << %u", i ? " | " : "",
                    32 - p->pos - p->len, 32 - p->len, below);
        else
            fprintf(f, "%s(raw >> %u & 0x%x) << %u", i ? " | " : "", p->pos,
                    (unsigned)((1ull << p->len) - 1), below);
    }
    fputs(");\n", f);
}

/* rv_extract_32(), rv_extract_16(): one case per format. Fields a format does not set stay 0. */
static void write_extract(FILE *f, const struct spec *s)
{
    fprintf(f, "static inline void rv_extract_%u(unsigned format, uint32_t raw, struct rv_insn *o)\n"
               "{\n    switch (format) {\n", s->width);
    for (unsigned i = 0; i < s->nr_formats; i++) {
        fprintf(f, "    case %u: /* @%s */\n", i, s->format[i].name);
        for (unsigned k = 0; k < NR_FIELDS; k++) {
            const struct source *src = &s->format[i].field[k];

            if (src->imm)
                write_imm(f, src->imm);
            else if (src->has_bits)
                fprintf(f, "    o->%s = (raw >> %u & 0x%x) + %u;\n", field_name[k], src->bits.pos,
                        (1u << src->bits.len) - 1, src->add);
            else if (src->set)
                fprintf(f, "    o->%s = %u;\n", field_name[k], src->add);
        }
        fputs("        break;\n", f);
    }
    fputs("    }\n}\n\n", f);
}

static void write_encodings(FILE *f, const struct spec *s)
{
    char name[NAME_LEN];
    const struct spec *ops = s->ops ? s->ops : s;

    fprintf(f, "static const struct rv_encoding rv_enc%u[] = {\n", s->width);
    for (unsigned i = 0; i < s->nr_encs; i++) {
        const struct encoding *e = &s->enc[i];
        char ext[NAME_LEN];

        fprintf(f, "    {0x%08x, 0x%08x, 0x%08x, RV_OP_%s, %u, RV_NEED(%s)%s},\n", e->mask, e->match,
                e->nonzero, c_name(ops->enc[e->op - 1].name, name),
                (unsigned)(e->format - s->format), upper(e->ext, ext),
                s->ops ? " | RV_NEED(C)" : "");
    }
    fputs("};\n\n", f);
}

static void write_text(FILE *f, const struct spec *s)
{
    fprintf(f, "static const struct rv_encoding_text rv_text%u[] = {\n", s->width);
    for (unsigned i = 0; i < s->nr_encs; i++)
        fprintf(f, "    {\"%s\", \"%s\"},\n", s->enc[i].name, s->enc[i].syntax);
    fputs("};\n\n", f);
}

/* ---- lookup index ---- */

/* The fixed bits of group g: opcode[6:2] with 11 below, or quadrant and funct3. */
static void group_bits(const struct spec *s, unsigned g, uint32_t *mask, uint32_t *match)
{
    *mask = s->width == 32 ? 0x7f : 0xe003;
    *match = s->width == 32 ? g << 2 | 3 : (g & 7) << 13 | g >> 3;
}

/* Does encoding e have words in bucket v of group g, indexed by `bits` bits from `lo`? */
static bool in_bucket(const struct spec *s, const struct encoding *e, unsigned g,
                      const struct group *index, unsigned v)
{
    uint32_t mask, match;

    group_bits(s, g, &mask, &match);
    mask |= ((1u << index->bits) - 1) << index->lo;
    match |= v << index->lo;
    return !((e->match ^ match) & e->mask & mask);
}

static unsigned bucket_size(const struct spec *s, unsigned g, const struct group *index, unsigned v)
{
    unsigned n = 0;

    for (unsigned i = 0; i < s->nr_encs; i++)
        n += in_bucket(s, &s->enc[i], g, index, v);
    return n;
}

/* The mean number of encodings looked at in the index's buckets, and a little for its size. */
static double index_cost(const struct spec *s, unsigned g, const struct group *index)
{
    double sum = 0;

    for (unsigned v = 0; v < 1u << index->bits; v++) {
        unsigned n = bucket_size(s, g, index, v);

        sum += (double)n * n;
    }
    return sum / (1u << index->bits) + 0.05 * index->bits;
}

static struct group choose_index(const struct spec *s, unsigned g)
{
    struct group best = {0, 0, 0};
    double best_cost = index_cost(s, g, &best);
    unsigned first = s->width == 32 ? 7 : 2, end = s->width == 32 ? 32 : 13;

    for (unsigned lo = first; lo < end; lo++) {
        for (unsigned bits = 1; bits <= MAX_INDEX_BITS && lo + bits <= end; bits++) {
            struct group c = {lo, bits, 0};
            double cost = index_cost(s, g, &c);

            if (cost < best_cost) {
                best = c;
                best_cost = cost;
            }
        }
    }
    return best;
}

static void write_index(FILE *f, const struct spec *s)
{
    struct group group[MAX_GROUPS];
    unsigned nr_groups = s->width == 32 ? 32 : 24, first = 0, listed = 0, emitted = 0;

    fprintf(f, "static const struct rv_decode_group rv_group%u[] = {\n", s->width);
    for (unsigned g = 0; g < nr_groups; g++) {
        group[g] = choose_index(s, g);
        group[g].first = first;
        first += 1u << group[g].bits;
        fprintf(f, "    {%u, %u, 0x%x},\n", group[g].first, group[g].lo, (1u << group[g].bits) - 1);
    }
    fprintf(f, "};\n\nstatic const uint16_t rv_list%u[] = {", s->width);
    for (unsigned g = 0; g < nr_groups; g++)
        for (unsigned v = 0; v < 1u << group[g].bits; v++)
            for (unsigned i = 0; i < s->nr_encs; i++)
                if (in_bucket(s, &s->enc[i], g, &group[g], v))
                    fprintf(f, "%s%u,", listed++ % 16 ? " " : "\n    ", i);
    fprintf(f, "\n};\n\nstatic const uint16_t rv_start%u[] = {", s->width);
    listed = 0;
    for (unsigned g = 0; g < nr_groups; g++)
        for (unsigned v = 0; v < 1u << group[g].bits; v++) {
            fprintf(f, "%s%u,", emitted++ % 16 ? " " : "\n    ", listed);
            listed += bucket_size(s, g, &group[g], v);
        }
    fprintf(f, " %u\n};\n\n", listed);
}

static void write_tables(FILE *f, const struct spec *s)
{
    fputs("#ifdef RV_GEN_TABLES\n", f);
    write_encodings(f, s);
    write_index(f, s);
    write_extract(f, s);
    fputs("#endif\n\n#ifdef RV_GEN_TEXT\n", f);
    write_text(f, s);
    fputs("#endif\n\n", f);
}

static FILE *open_output(const char *path)
{
    FILE *f = fopen(path, "w");

    if (!f) {
        perror(path);
        exit(1);
    }
    return f;
}

static void close_output(FILE *f, const char *path)
{
    if (ferror(f) | fclose(f)) {
        perror(path);
        exit(1);
    }
}

int main(int argc, char **argv)
{
    static struct spec spec32 = {.width = 32}, spec16 = {.width = 16, .ops = &spec32};
    FILE *f;

    if (argc != 5) {
        fprintf(stderr, "usage: mkdecode insn32.decode insn16.decode rv_ops.h rv_decode.inc\n");
        return 2;
    }
    spec32.path = argv[1];
    spec16.path = argv[2];
    parse_spec(&spec32);
    parse_spec(&spec16);

    f = open_output(argv[3]);
    write_ops(f, &spec32);
    close_output(f, argv[3]);

    f = open_output(argv[4]);
    fputs("/* Generated by mkdecode. Sections: RV_GEN_OP_INFO (optable.c), RV_GEN_TABLES (decode.c),\n"
          " * RV_GEN_TEXT (disasm.c). */\n", f);
    write_op_info(f, &spec32);
    write_tables(f, &spec32);
    write_tables(f, &spec16);
    close_output(f, argv[4]);
    return 0;
}
