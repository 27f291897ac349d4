/* Which extensions a hart has: defaults, -cpu options, device-tree strings.
 *
 * Rules between extensions are one table (d needs f). Naming an extension brings what it needs;
 * switching one off takes along what needs it; asking for both is an error. */
#include <ctype.h>
#include <string.h>
#include <strings.h>

#include "cpu/riscv.h"
#include "sim-core/log.h"

#define BIT(ext) (1ull << RV_EXT_##ext)

static const struct {
    const char *name;
    bool on;
} ext_table[RV_EXT_COUNT] = {
#define EXT_ROW(ext, name, on) [RV_EXT_##ext] = {name, on},
    RV_EXT_LIST(EXT_ROW)
#undef EXT_ROW
};

/* Names that stand for several extensions, or for a part of one that has no switch of its own. */
static const struct {
    const char *name;
    uint64_t set;
} alias_table[] = {
    {"g", BIT(I) | BIT(M) | BIT(A) | BIT(F) | BIT(D) | BIT(ZICSR) | BIT(ZIFENCEI)},
    {"b", BIT(ZBA) | BIT(ZBB) | BIT(ZBS)},
    {"zmmul", BIT(M)},
    {"zaamo", BIT(A)},
    {"zalrsc", BIT(A)},
    {"zca", BIT(C)},
    {"zcd", BIT(C) | BIT(D)},
};

/* What goes when V is switched off: without it a hart has no vectors, unless it is given a Zve by name. */
static const uint64_t vector_set =
    BIT(V) | BIT(ZVE32F) | BIT(ZVE32X) | BIT(ZVE64D) | BIT(ZVE64F) | BIT(ZVE64X);

/* Least lengths of vector registers as extensions. Zvl32b and Zvl64b say nothing here. */
static const struct {
    const char *name;
    uint16_t vlen;
} zvl_table[] = {
    {"zvl32b", 32},   {"zvl64b", 64},   {"zvl128b", 128},
    {"zvl256b", 256}, {"zvl512b", 512}, {"zvl1024b", 1024},
};

static const struct {
    enum rv_ext ext, needs;
} needs_table[] = {
    {RV_EXT_D, RV_EXT_F},         {RV_EXT_F, RV_EXT_ZICSR},     {RV_EXT_ZACAS, RV_EXT_A},
    {RV_EXT_ZAWRS, RV_EXT_A},     {RV_EXT_ZICNTR, RV_EXT_ZICSR}, {RV_EXT_ZIHPM, RV_EXT_ZICSR},
    {RV_EXT_S, RV_EXT_U},         {RV_EXT_S, RV_EXT_ZICSR},     {RV_EXT_SSTC, RV_EXT_S},
    {RV_EXT_SVADU, RV_EXT_S},     {RV_EXT_SVINVAL, RV_EXT_S},   {RV_EXT_SV39, RV_EXT_S},
    {RV_EXT_SV48, RV_EXT_SV39},   {RV_EXT_SV57, RV_EXT_SV48},   {RV_EXT_SVNAPOT, RV_EXT_SV39},
    {RV_EXT_SVPBMT, RV_EXT_SV39}, {RV_EXT_V, RV_EXT_ZVE64D},    {RV_EXT_ZVE64D, RV_EXT_ZVE64F},
    {RV_EXT_ZVE64D, RV_EXT_D},    {RV_EXT_ZVE64F, RV_EXT_ZVE64X}, {RV_EXT_ZVE64F, RV_EXT_ZVE32F},
    {RV_EXT_ZVE64X, RV_EXT_ZVE32X}, {RV_EXT_ZVE32F, RV_EXT_ZVE32X}, {RV_EXT_ZVE32F, RV_EXT_F},
    {RV_EXT_ZVE32X, RV_EXT_ZICSR},
};

/* Not in ISA strings: what a hart has unless -cpu takes it away. */
static const uint64_t option_set =
    BIT(S) | BIT(U) | BIT(SV39) | BIT(SV48) | BIT(SV57) | BIT(PMP);

/* Of these, what mmu-type does not tell either. */
static const uint64_t unbound_set = BIT(S) | BIT(U) | BIT(PMP);

/* The set and all that its members need. */
static uint64_t with_needs(uint64_t set)
{
    for (uint64_t before = 0; before != set;) {
        before = set;
        for (size_t n = 0; n < SIM_ARRAY_LEN(needs_table); n++)
            if (set >> needs_table[n].ext & 1)
                set |= 1ull << needs_table[n].needs;
    }
    return set;
}

/* The set and all that needs one of its members. */
static uint64_t with_dependents(uint64_t set)
{
    for (uint64_t before = 0; before != set;) {
        before = set;
        for (size_t n = 0; n < SIM_ARRAY_LEN(needs_table); n++)
            if (set >> needs_table[n].needs & 1)
                set |= 1ull << needs_table[n].ext;
    }
    return set;
}

void rv_isa_default(struct rv_isa *isa)
{
    isa->ext = 0;
    isa->vlen = RV_VLEN_MIN;
    for (unsigned e = 0; e < RV_EXT_COUNT; e++)
        isa->ext |= (uint64_t)ext_table[e].on << e;
}

/* ---- words ---- */

/* A part of a string that belongs to the caller. */
struct word {
    const char *s;
    size_t len;
};

static bool word_is(struct word w, const char *name)
{
    return w.len == strlen(name) && !strncasecmp(w.s, name, w.len);
}

/* The extensions a name stands for; 0: unknown. */
static uint64_t find_ext(struct word w)
{
    for (unsigned e = 0; e < RV_EXT_COUNT; e++)
        if (word_is(w, ext_table[e].name))
            return 1ull << e;
    for (size_t n = 0; n < SIM_ARRAY_LEN(alias_table); n++)
        if (word_is(w, alias_table[n].name))
            return alias_table[n].set;
    return 0;
}

/* The length that a zvl name stands for; 0: it is none. */
static uint16_t find_zvl(struct word w)
{
    for (size_t n = 0; n < SIM_ARRAY_LEN(zvl_table); n++)
        if (word_is(w, zvl_table[n].name))
            return zvl_table[n].vlen;
    return 0;
}

/* ---- ISA strings: "rv64", single letters, then long names separated by '_'; each may carry a
 * version ("i2p1", "zba1p0"), which says nothing here. ---- */

static const char *skip_digits(const char *p, const char *end)
{
    while (p < end && isdigit((unsigned char)*p))
        p++;
    return p;
}

/* After a single letter: digits, or digits p digits. */
static const char *skip_version(const char *p, const char *end)
{
    const char *minor = skip_digits(p, end);

    if (minor == p || minor + 1 >= end || tolower((unsigned char)*minor) != 'p' ||
        !isdigit((unsigned char)minor[1]))
        return minor;
    return skip_digits(minor + 1, end);
}

/* The long name without the version at its end. */
static size_t long_name_len(const char *s, size_t len)
{
    size_t n = len;

    while (n && isdigit((unsigned char)s[n - 1]))
        n--;
    if (n == len || n < 2 || tolower((unsigned char)s[n - 1]) != 'p' ||
        !isdigit((unsigned char)s[n - 2]))
        return n;
    for (n--; n && isdigit((unsigned char)s[n - 1]);)
        n--;
    return n;
}

/* Does a long name start here? 's' does not in "su", the privilege modes of older strings, nor
 * where no letter follows it. */
static bool starts_long_name(const char *p, const char *end)
{
    int c = tolower((unsigned char)*p), next = p + 1 < end ? tolower((unsigned char)p[1]) : 0;

    if (c == 'z' || c == 'x')
        return true;
    return c == 's' && isalpha(next) && !(next == 'u' && (p + 2 == end || p[2] == '_'));
}

/* Takes the next name off [*p, end); false at the end. */
static bool next_name(const char **p, const char *end, struct word *out)
{
    const char *s = *p;

    while (s < end && *s == '_')
        s++;
    if (s == end)
        return false;
    out->s = s;
    if (starts_long_name(s, end)) {
        const char *stop = memchr(s, '_', (size_t)(end - s));

        *p = stop ? stop : end;
        out->len = long_name_len(s, (size_t)(*p - s));
    } else {
        out->len = 1;
        *p = skip_version(s + 1, end);
    }
    return true;
}

/* Names become a set and a vector length; what is unknown is listed for one message. */
struct names {
    uint64_t set;
    uint16_t vlen; /* 0: nothing said */
    char unknown[RV_ISA_NAMES_SIZE];
};

/* Is it known? */
static bool add_name(struct names *names, struct word w)
{
    uint64_t ext = find_ext(w);
    uint16_t vlen = find_zvl(w);
    size_t used = strlen(names->unknown);

    names->set |= ext;
    if (vlen > names->vlen)
        names->vlen = vlen;
    if (!ext && !vlen)
        snprintf(names->unknown + used, sizeof(names->unknown) - used, " %.*s", (int)w.len, w.s);
    return ext || vlen;
}

static uint16_t vlen_of(const struct names *names)
{
    return names->vlen > RV_VLEN_MIN ? names->vlen : RV_VLEN_MIN;
}

/* What "rv64..." names. What is unknown is an error, or a warning when it is `tolerated`. */
static enum sim_status parse_names(struct word text, bool tolerated, struct rv_isa *out)
{
    const char *p = text.s + 4, *end = text.s + text.len;
    struct names names = {0};
    struct word w;

    if (text.len < 4 || strncasecmp(text.s, "rv64", 4)) {
        sim_error("ISA '%.*s': must start with rv64", (int)text.len, text.s);
        return SIM_ERR_INVALID;
    }
    while (next_name(&p, end, &w))
        add_name(&names, w);
    if (!(names.set & BIT(I))) {
        sim_error("ISA '%.*s': the base i is missing", (int)text.len, text.s);
        return SIM_ERR_INVALID;
    }
    if (names.unknown[0] && !tolerated) {
        sim_error("ISA '%.*s': not implemented:%s", (int)text.len, text.s, names.unknown);
        return SIM_ERR_INVALID;
    }
    if (names.unknown[0])
        sim_warn("ISA '%.*s': not implemented and ignored:%s", (int)text.len, text.s, names.unknown);
    *out = (struct rv_isa){.ext = with_needs(names.set), .vlen = vlen_of(&names)};
    return SIM_OK;
}

/* A device tree's list of strings. */
static enum sim_status parse_list(const char *property, const char *list, size_t len,
                                  struct names *names)
{
    if (!len || list[len - 1]) {
        sim_error("%s: not a list of names", property);
        return SIM_ERR_INVALID;
    }
    for (const char *p = list; p < list + len; p += strlen(p) + 1)
        add_name(names, (struct word){p, strlen(p)});
    return SIM_OK;
}

size_t rv_isa_leave_known_list(char *list, size_t len, char unknown[RV_ISA_NAMES_SIZE])
{
    struct names names = {0};
    size_t kept = 0;

    for (size_t at = 0, n; at < len; at += n) {
        n = strlen(list + at) + 1;
        if (!add_name(&names, (struct word){list + at, n - 1}))
            continue;
        memmove(list + kept, list + at, n);
        kept += n;
    }
    memcpy(unknown, names.unknown, sizeof names.unknown);
    return kept;
}

size_t rv_isa_leave_known_string(char *text, char unknown[RV_ISA_NAMES_SIZE])
{
    size_t len = strlen(text), kept = len < 4 ? len : 4; /* "rv64" */
    const char *end = text + len, *p = text + kept, *from = p;
    struct names names = {0};
    struct word w;

    for (; next_name(&p, end, &w); from = p) {
        if (!add_name(&names, w))
            continue;
        memmove(text + kept, from, (size_t)(p - from)); /* with what separates it */
        kept += (size_t)(p - from);
    }
    text[kept] = 0;
    memcpy(unknown, names.unknown, sizeof names.unknown);
    return kept + 1;
}

static enum sim_status parse_mmu_type(const char *mmu_type, uint64_t *modes)
{
    static const struct {
        const char *name;
        uint64_t set;
    } types[] = {
        {"riscv,none", 0},
        {"riscv,sv39", BIT(SV39)},
        {"riscv,sv48", BIT(SV39) | BIT(SV48)},
        {"riscv,sv57", BIT(SV39) | BIT(SV48) | BIT(SV57)},
    };

    for (size_t n = 0; n < SIM_ARRAY_LEN(types); n++) {
        if (!mmu_type || !strcmp(mmu_type, types[n].name)) {
            *modes = mmu_type ? types[n].set : BIT(SV39) | BIT(SV48) | BIT(SV57);
            return SIM_OK;
        }
    }
    sim_error("mmu-type '%s' is not one of riscv,none, riscv,sv39, riscv,sv48, riscv,sv57",
              mmu_type);
    return SIM_ERR_INVALID;
}

/* "riscv,isa" knows less than "riscv,isa-extensions". */
static enum sim_status parse_extensions(const struct rv_isa_node *node, struct rv_isa *out)
{
    struct names names = {0};

    if (!node->extensions) {
        SIM_TRY(parse_names((struct word){node->isa, strlen(node->isa)}, true, out));
        /* These were part of I when the binding was made; no string of that age names them. */
        out->ext |= BIT(ZICSR) | BIT(ZIFENCEI) | BIT(ZICNTR) | BIT(ZIHPM);
        return SIM_OK;
    }
    SIM_TRY(parse_list("riscv,isa-extensions", node->extensions, node->extensions_len, &names));
    if (!(names.set & BIT(I))) {
        sim_error("riscv,isa-extensions: the base i is missing");
        return SIM_ERR_INVALID;
    }
    if (names.unknown[0])
        sim_warn("riscv,isa-extensions: not implemented and ignored:%s", names.unknown);
    *out = (struct rv_isa){.ext = names.set, .vlen = vlen_of(&names)};
    return SIM_OK;
}

static enum sim_status parse_without(const struct rv_isa_node *node, uint64_t *set)
{
    struct names names = {0};

    if (node->without)
        SIM_TRY(parse_list("partita,without", node->without, node->without_len, &names));
    if (names.unknown[0] || names.set & ~unbound_set) {
        sim_error("partita,without: only s, u and pmp can be named");
        return SIM_ERR_INVALID;
    }
    *set = names.set;
    return SIM_OK;
}

enum sim_status rv_isa_parse_node(const struct rv_isa_node *node, struct rv_isa *isa)
{
    const uint64_t all_modes = BIT(SV39) | BIT(SV48) | BIT(SV57);
    uint64_t modes, without;
    struct rv_isa named;

    SIM_TRY(parse_extensions(node, &named));
    SIM_TRY(parse_mmu_type(node->mmu_type, &modes));
    SIM_TRY(parse_without(node, &without));
    without = with_dependents(without | (all_modes & ~modes));
    isa->ext = with_needs(named.ext | (option_set & ~without)) & ~without;
    isa->vlen = named.vlen;
    return SIM_OK;
}

enum sim_status rv_isa_parse_string(const char *isa_string, const char *mmu_type,
                                    struct rv_isa *isa)
{
    const struct rv_isa_node node = {.isa = isa_string, .mmu_type = mmu_type};

    return rv_isa_parse_node(&node, isa);
}

/* ---- -cpu ---- */

/* Extensions of the specification that Partita has not: "v=off" is no mistake. */
static bool is_known_absent(struct word w)
{
    static const char *const absent[] = {"e",    "h",    "q",     "zbc",      "zbkb",
                                         "zbkc", "zbkx", "zcb",   "zcmop", "zcmp",     "zcmt",
                                         "zfa",  "zfh",  "zfhmin", "zfbfmin", "zimop", "zicfilp",
                                         "zicfiss", "zk", "zkn",  "zks",   "zkr",      "zkt",
                                         "zabha", "zama16b", "zihintntl", "sscofpmf", "smaia",
                                         "ssaia", "smstateen", "smepmp", "svade", "svvptc"};

    for (size_t n = 0; n < SIM_ARRAY_LEN(absent); n++)
        if (word_is(w, absent[n]))
            return true;
    return w.len > 2 && !strncasecmp(w.s, "zv", 2);
}

static bool parse_switch(struct word w, bool *on)
{
    *on = word_is(w, "on") || word_is(w, "true");
    return *on || word_is(w, "off") || word_is(w, "false");
}

/* The options of one -cpu. */
struct options {
    uint64_t on, off;
    uint16_t vlen; /* 0: nothing said */
};

static enum sim_status parse_vlen(const char *text, struct word value, struct options *o)
{
    unsigned n = 0;

    for (size_t k = 0; k < value.len && k < 5 && isdigit((unsigned char)value.s[k]); k++)
        n = n * 10 + (unsigned)(value.s[k] - '0');
    for (unsigned vlen = RV_VLEN_MIN; vlen <= RV_VLEN_MAX; vlen *= 2) {
        char number[8];

        snprintf(number, sizeof number, "%u", vlen);
        if (n == vlen && word_is(value, number)) {
            o->vlen = (uint16_t)vlen;
            return SIM_OK;
        }
    }
    sim_error("-cpu %s: vlen '%.*s' is not a power of two from %d to %d", text, (int)value.len, value.s,
              RV_VLEN_MIN, RV_VLEN_MAX);
    return SIM_ERR_INVALID;
}

/* One "zba=off" or "vlen=256"; the last mention of an extension counts. */
static enum sim_status parse_option(const char *text, struct word option, struct options *o)
{
    const char *eq = memchr(option.s, '=', option.len);
    struct word name, value;
    uint64_t set;
    bool enable;

    name = (struct word){option.s, eq ? (size_t)(eq - option.s) : option.len};
    value = eq ? (struct word){eq + 1, option.len - name.len - 1} : (struct word){"", 0};
    if (word_is(name, "vlen"))
        return parse_vlen(text, value, o);
    if (!parse_switch(value, &enable)) {
        sim_error("-cpu %s: '%.*s' must be extension=on or extension=off", text, (int)option.len,
                  option.s);
        return SIM_ERR_INVALID;
    }
    set = find_ext(name);
    if (!set && !(is_known_absent(name) && !enable)) {
        sim_error("-cpu %s: '%.*s' is %s", text, (int)name.len, name.s,
                  is_known_absent(name) ? "not implemented" : "not an extension or option");
        return SIM_ERR_INVALID;
    }
    if (set & BIT(I) && !enable) {
        sim_error("-cpu %s: the base i cannot be switched off", text);
        return SIM_ERR_INVALID;
    }
    if (set == BIT(V) && !enable)
        set = vector_set;
    o->on = enable ? o->on | set : o->on & ~set;
    o->off = enable ? o->off & ~set : o->off | set;
    return SIM_OK;
}

static enum sim_status check_conflict(const char *text, uint64_t on, uint64_t off)
{
    uint64_t lost = with_dependents(off);

    for (size_t n = 0; n < SIM_ARRAY_LEN(needs_table); n++) {
        enum rv_ext e = needs_table[n].ext, needs = needs_table[n].needs;

        if (with_needs(on) >> e & 1 && lost >> needs & 1) {
            sim_error("-cpu %s: %s needs %s, which is switched off", text, ext_table[e].name,
                      ext_table[needs].name);
            return SIM_ERR_INVALID;
        }
    }
    return SIM_OK;
}

enum sim_status rv_isa_parse_cpu(const char *text, struct rv_isa *isa)
{
    struct word base = {text, strcspn(text, ",")};
    struct options o = {0};
    struct rv_isa named;
    const char *p = text + base.len;

    if (word_is(base, "rv64") || word_is(base, "max")) {
        rv_isa_default(&named);
    } else {
        SIM_TRY(parse_names(base, false, &named));
        named.ext = with_needs(named.ext | option_set);
    }
    while (*p == ',') {
        struct word option = {p + 1, strcspn(p + 1, ",")};

        SIM_TRY(parse_option(text, option, &o));
        p = option.s + option.len;
    }
    SIM_TRY(check_conflict(text, o.on, o.off));
    isa->ext = (named.ext | with_needs(o.on)) & ~with_dependents(o.off);
    isa->vlen = o.vlen ? o.vlen : named.vlen;
    return SIM_OK;
}

/* ---- output ---- */

const char *rv_ext_isa_name(enum rv_ext ext)
{
    return option_set >> ext & 1 ? NULL : ext_table[ext].name;
}

const char *rv_ext_option_name(enum rv_ext ext)
{
    return unbound_set >> ext & 1 ? ext_table[ext].name : NULL;
}

const char *rv_isa_zvl_name(const struct rv_isa *isa, unsigned n)
{
    if (!rv_isa_has(isa, RV_EXT_ZVE32X) || n >= SIM_ARRAY_LEN(zvl_table) || zvl_table[n].vlen > isa->vlen)
        return NULL;
    return zvl_table[n].name;
}

/* snprintf behind what is there. */
static int append(char *buf, size_t size, int used, const char *separator, const char *name)
{
    size_t at = (size_t)used < size ? (size_t)used : size;

    return used + snprintf(size ? buf + at : NULL, size - at, "%s%s", separator, name);
}

/* The zvl names stand behind zve64x, where the alphabet has them. */
int rv_isa_format(const struct rv_isa *isa, char *buf, size_t size)
{
    int used = snprintf(buf, size, "rv64");

    for (unsigned e = 0; e < RV_EXT_COUNT; e++) {
        const char *name = rv_ext_isa_name((enum rv_ext)e);

        if (name && rv_isa_has(isa, (enum rv_ext)e))
            used = append(buf, size, used, name[1] ? "_" : "", name);
        for (unsigned n = 0; e == RV_EXT_ZVE64X && (name = rv_isa_zvl_name(isa, n)); n++)
            used = append(buf, size, used, "_", name);
    }
    return used;
}

const char *rv_isa_mmu_type(const struct rv_isa *isa)
{
    if (rv_isa_has(isa, RV_EXT_SV57))
        return "riscv,sv57";
    if (rv_isa_has(isa, RV_EXT_SV48))
        return "riscv,sv48";
    return rv_isa_has(isa, RV_EXT_SV39) ? "riscv,sv39" : "riscv,none";
}
