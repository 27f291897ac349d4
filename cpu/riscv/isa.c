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

static const struct {
    enum rv_ext ext, needs;
} needs_table[] = {
    {RV_EXT_D, RV_EXT_F},         {RV_EXT_F, RV_EXT_ZICSR},     {RV_EXT_ZACAS, RV_EXT_A},
    {RV_EXT_ZAWRS, RV_EXT_A},     {RV_EXT_ZICNTR, RV_EXT_ZICSR}, {RV_EXT_ZIHPM, RV_EXT_ZICSR},
    {RV_EXT_S, RV_EXT_U},         {RV_EXT_S, RV_EXT_ZICSR},     {RV_EXT_SSTC, RV_EXT_S},
    {RV_EXT_SVADU, RV_EXT_S},     {RV_EXT_SVINVAL, RV_EXT_S},   {RV_EXT_SV39, RV_EXT_S},
    {RV_EXT_SV48, RV_EXT_SV39},   {RV_EXT_SV57, RV_EXT_SV48},   {RV_EXT_SVNAPOT, RV_EXT_SV39},
    {RV_EXT_SVPBMT, RV_EXT_SV39},
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

/* Names become a set; what is unknown is listed for one message. */
struct names {
    uint64_t set;
    char unknown[256];
};

static void add_name(struct names *names, struct word w)
{
    uint64_t ext = find_ext(w);
    size_t used = strlen(names->unknown);

    names->set |= ext;
    if (!ext)
        snprintf(names->unknown + used, sizeof(names->unknown) - used, " %.*s", (int)w.len, w.s);
}

/* The set that "rv64..." names. What is unknown is an error, or a warning when it is `tolerated`. */
static enum sim_status parse_names(struct word text, bool tolerated, uint64_t *out)
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
    *out = with_needs(names.set);
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
static enum sim_status parse_extensions(const struct rv_isa_node *node, uint64_t *set)
{
    struct names names = {0};

    if (!node->extensions) {
        SIM_TRY(parse_names((struct word){node->isa, strlen(node->isa)}, true, set));
        /* These were part of I when the binding was made; no string of that age names them. */
        *set |= BIT(ZICSR) | BIT(ZIFENCEI) | BIT(ZICNTR) | BIT(ZIHPM);
        return SIM_OK;
    }
    SIM_TRY(parse_list("riscv,isa-extensions", node->extensions, node->extensions_len, &names));
    if (!(names.set & BIT(I))) {
        sim_error("riscv,isa-extensions: the base i is missing");
        return SIM_ERR_INVALID;
    }
    if (names.unknown[0])
        sim_warn("riscv,isa-extensions: not implemented and ignored:%s", names.unknown);
    *set = names.set;
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
    uint64_t set, modes, without;

    SIM_TRY(parse_extensions(node, &set));
    SIM_TRY(parse_mmu_type(node->mmu_type, &modes));
    SIM_TRY(parse_without(node, &without));
    without = with_dependents(without | (all_modes & ~modes));
    isa->ext = with_needs(set | (option_set & ~without)) & ~without;
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
    static const char *const absent[] = {"e",    "h",    "q",     "v",     "zbc",      "zbkb",
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

/* One "zba=off"; the last mention of an extension counts. */
static enum sim_status parse_option(const char *text, struct word option, uint64_t *on,
                                    uint64_t *off)
{
    const char *eq = memchr(option.s, '=', option.len);
    struct word name, value;
    uint64_t set;
    bool enable;

    name = (struct word){option.s, eq ? (size_t)(eq - option.s) : option.len};
    value = eq ? (struct word){eq + 1, option.len - name.len - 1} : (struct word){"", 0};
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
    *on = enable ? *on | set : *on & ~set;
    *off = enable ? *off & ~set : *off | set;
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
    uint64_t on = 0, off = 0, set;
    const char *p = text + base.len;

    if (word_is(base, "rv64") || word_is(base, "max")) {
        struct rv_isa all;

        rv_isa_default(&all);
        set = all.ext;
    } else {
        SIM_TRY(parse_names(base, false, &set));
        set = with_needs(set | option_set);
    }
    while (*p == ',') {
        struct word option = {p + 1, strcspn(p + 1, ",")};

        SIM_TRY(parse_option(text, option, &on, &off));
        p = option.s + option.len;
    }
    SIM_TRY(check_conflict(text, on, off));
    isa->ext = (set | with_needs(on)) & ~with_dependents(off);
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

int rv_isa_format(const struct rv_isa *isa, char *buf, size_t size)
{
    int used = snprintf(buf, size, "rv64");

    for (unsigned e = 0; e < RV_EXT_COUNT; e++) {
        const char *name = rv_ext_isa_name((enum rv_ext)e);
        size_t at = (size_t)used < size ? (size_t)used : size;

        if (name && rv_isa_has(isa, (enum rv_ext)e))
            used += snprintf(size ? buf + at : NULL, size - at, "%s%s", name[1] ? "_" : "", name);
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
