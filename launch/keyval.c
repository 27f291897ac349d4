/* Option lists and single values of the command line: parsing, and messages that name them. */
#include "keyval.h"

#include <ctype.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "sim-core/alloc.h"
#include "sim-core/log.h"

/* Copies up to the next single comma (doubled ones become one); *text moves behind it. */
static char *next_word(const char **text)
{
    const char *s = *text;
    char *word = sim_zalloc(strlen(s) + 1), *w = word;

    while (*s && (*s != ',' || s[1] == ',')) {
        if (*s == ',')
            s++;
        *w++ = *s++;
    }
    *text = *s ? s + 1 : s;
    return word;
}

static void add(struct keyvals *kv, const char *key, size_t key_len, const char *value)
{
    struct keyval *item;

    kv->item = sim_realloc(kv->item, (kv->nr + 1) * sizeof kv->item[0]);
    item = &kv->item[kv->nr++];
    *item = (struct keyval){sim_zalloc(key_len + 1), sim_strdup(value), false};
    memcpy(item->key, key, key_len);
}

enum sim_status keyvals_parse(const char *option, const char *text, const char *implied,
                              struct keyvals *out)
{
    struct keyvals kv = {.option = option};
    const char *rest = text;
    bool first = true;

    do {
        char *word = next_word(&rest);
        const char *equals = strchr(word, '=');
        if (equals == word || (!equals && first && !implied)) {
            sim_error("%s: expected KEY=VALUE in '%s'", option, text);
            sim_free(word);
            keyvals_fini(&kv);
            return SIM_ERR_INVALID;
        }
        if (equals)
            add(&kv, word, (size_t)(equals - word), equals + 1);
        else if (first)
            add(&kv, implied, strlen(implied), word);
        else if (*word) /* a trailing comma is harmless */
            add(&kv, word, strlen(word), "on");
        sim_free(word);
        first = false;
    } while (*rest);
    *out = kv;
    return SIM_OK;
}

void keyvals_fini(struct keyvals *kv)
{
    for (unsigned i = 0; i < kv->nr; i++) {
        sim_free(kv->item[i].key);
        sim_free(kv->item[i].value);
    }
    sim_free(kv->item);
    *kv = (struct keyvals){0};
}

const char *keyvals_take(struct keyvals *kv, const char *key)
{
    const char *value = NULL;

    for (unsigned i = 0; i < kv->nr; i++) {
        if (strcmp(kv->item[i].key, key) == 0) {
            kv->item[i].taken = true;
            value = kv->item[i].value;
        }
    }
    return value;
}

static enum sim_status in_option(const struct keyvals *kv, const char *key, const char *value,
                                 enum sim_status (*parse)(const char *, const char *, void *),
                                 void *out)
{
    char *name;
    enum sim_status status;

    if (!value)
        return SIM_OK;
    name = sim_asprintf("%s %s=", kv->option, key);
    status = parse(name, value, out);
    sim_free(name);
    return status;
}

static enum sim_status parse_bool_any(const char *option, const char *text, void *out)
{
    return parse_bool(option, text, out);
}

static enum sim_status parse_u32_any(const char *option, const char *text, void *out)
{
    return parse_u32(option, text, out);
}

enum sim_status keyvals_take_bool(struct keyvals *kv, const char *key, bool *out)
{
    return in_option(kv, key, keyvals_take(kv, key), parse_bool_any, out);
}

enum sim_status keyvals_take_u32(struct keyvals *kv, const char *key, uint32_t *out)
{
    return in_option(kv, key, keyvals_take(kv, key), parse_u32_any, out);
}

void keyvals_ignore(struct keyvals *kv, const char *const *keys)
{
    for (; *keys; keys++)
        (void)keyvals_take(kv, *keys);
}

enum sim_status keyvals_check(const struct keyvals *kv)
{
    for (unsigned i = 0; i < kv->nr; i++) {
        if (!kv->item[i].taken) {
            sim_error("%s: unknown setting '%s=%s'", kv->option, kv->item[i].key,
                      kv->item[i].value);
            return SIM_ERR_INVALID;
        }
    }
    return SIM_OK;
}

static char *append_escaped(char *w, const char *s)
{
    for (; *s; s++) {
        if (*s == ',')
            *w++ = ',';
        *w++ = *s;
    }
    return w;
}

char *keyvals_rest(const struct keyvals *kv)
{
    size_t size = 1;

    for (unsigned i = 0; i < kv->nr; i++)
        size += 2 * (strlen(kv->item[i].key) + strlen(kv->item[i].value)) + 2;
    char *text = sim_zalloc(size), *w = text;
    for (unsigned i = 0; i < kv->nr; i++) {
        if (kv->item[i].taken)
            continue;
        if (w != text)
            *w++ = ',';
        w = append_escaped(w, kv->item[i].key);
        *w++ = '=';
        w = append_escaped(w, kv->item[i].value);
    }
    return text;
}

/* --- single values --- */

enum sim_status option_reject(const char *option, const char *value, const char *why)
{
    sim_error("%s: '%s' %s", option, value, why);
    return SIM_ERR_INVALID;
}

enum sim_status parse_u64(const char *option, const char *text, uint64_t *out)
{
    char *end;

    errno = 0;
    unsigned long long v = strtoull(text, &end, 0);
    if (!isdigit((unsigned char)text[0]) || *end || errno) {
        sim_error("%s: '%s' is not a number", option, text);
        return SIM_ERR_INVALID;
    }
    *out = v;
    return SIM_OK;
}

enum sim_status parse_u32(const char *option, const char *text, uint32_t *out)
{
    char *end;

    errno = 0;
    unsigned long v = strtoul(text, &end, 0);
    if (!isdigit((unsigned char)text[0]) || *end || errno || v > UINT32_MAX) {
        sim_error("%s: '%s' is not a number", option, text);
        return SIM_ERR_INVALID;
    }
    *out = (uint32_t)v;
    return SIM_OK;
}

enum sim_status parse_bool(const char *option, const char *text, bool *out)
{
    static const char *const words[] = {"off", "on", "no", "yes", "false", "true", "n", "y"};

    for (unsigned i = 0; i < SIM_ARRAY_LEN(words); i++) {
        if (strcmp(text, words[i]) == 0) {
            *out = i & 1;
            return SIM_OK;
        }
    }
    sim_error("%s: '%s' is neither 'on' nor 'off'", option, text);
    return SIM_ERR_INVALID;
}

/* A decimal number with an optional fraction: *value of `unit`s, where unit comes from the suffix
 * (by unit_of, 0 when unknown). False on syntax errors and overflow. */
static bool parse_scaled(const char *text, uint64_t (*unit_of)(const char *suffix), uint64_t *value)
{
    unsigned __int128 scaled;
    uint64_t fraction = 0, fraction_unit = 1, unit;
    char *end;

    if (!isdigit((unsigned char)text[0]))
        return false;
    errno = 0;
    uint64_t whole = strtoull(text, &end, text[0] == '0' && (text[1] | 32) == 'x' ? 16 : 10);
    if (errno)
        return false;
    if (*end == '.') {
        for (end++; isdigit((unsigned char)*end); end++) {
            if (fraction_unit < 1000000000) {
                fraction = fraction * 10 + (uint64_t)(*end - '0');
                fraction_unit *= 10;
            }
        }
    }
    unit = unit_of(end);
    scaled = (unsigned __int128)whole * unit + (unsigned __int128)fraction * unit / fraction_unit;
    if (!unit || scaled > UINT64_MAX)
        return false;
    *value = (uint64_t)scaled;
    return true;
}

static uint64_t size_unit(const char *suffix)
{
    static const char letters[] = "bkmgtp";
    const char *p;

    if (!*suffix)
        return 1;
    p = strchr(letters, tolower((unsigned char)suffix[0]));
    if (!p || suffix[1])
        return 0;
    return 1ull << (10 * (p - letters));
}

enum sim_status parse_size(const char *option, const char *text, uint64_t unit, uint64_t *out)
{
    size_t len = strlen(text);
    bool bare = len && isdigit((unsigned char)text[len - 1]);
    uint64_t v;

    if (!parse_scaled(text, size_unit, &v) || (bare && strchr(text, '.')) ||
        (bare && v > UINT64_MAX / unit)) {
        sim_error("%s: '%s' is not a size (a number, then K, M, G or T)", option, text);
        return SIM_ERR_INVALID;
    }
    *out = bare ? v * unit : v;
    return SIM_OK;
}

static uint64_t duration_unit(const char *suffix)
{
    static const struct {
        const char *suffix;
        uint64_t ns;
    } units[] = {{"", 1000000000}, {"s", 1000000000}, {"ms", 1000000},
                 {"m", 60000000000}, {"h", 3600000000000}};

    for (unsigned i = 0; i < SIM_ARRAY_LEN(units); i++)
        if (strcmp(suffix, units[i].suffix) == 0)
            return units[i].ns;
    return 0;
}

enum sim_status parse_duration(const char *option, const char *text, uint64_t *ns)
{
    uint64_t v;

    if (!parse_scaled(text, duration_unit, &v) || v == 0) {
        sim_error("%s: '%s' is not a duration (seconds, or a number with ms, s, m or h; not 0)",
                  option, text);
        return SIM_ERR_INVALID;
    }
    *ns = v;
    return SIM_OK;
}

enum sim_status parse_mac(const char *option, const char *text, uint8_t mac[6])
{
    unsigned b[6];
    int used = 0;

    if (sscanf(text, "%2x:%2x:%2x:%2x:%2x:%2x%n", &b[0], &b[1], &b[2], &b[3], &b[4], &b[5],
               &used) != 6 || text[used] || (b[0] & 1)) {
        sim_error("%s: '%s' is not a unicast MAC address (like 52:54:00:12:34:56)", option, text);
        return SIM_ERR_INVALID;
    }
    for (unsigned i = 0; i < 6; i++)
        mac[i] = (uint8_t)b[i];
    return SIM_OK;
}

/* --- did you mean --- */

enum { WORD_MAX = 32 };

static unsigned min3(unsigned a, unsigned b, unsigned c)
{
    unsigned m = a < b ? a : b;

    return m < c ? m : c;
}

/* Edit distance where a transposition counts one (optimal string alignment). */
static unsigned distance(const char *a, const char *b)
{
    unsigned d[WORD_MAX + 1][WORD_MAX + 1];
    size_t la = strlen(a), lb = strlen(b);

    if (la > WORD_MAX || lb > WORD_MAX)
        return WORD_MAX;
    for (unsigned i = 0; i <= la; i++)
        d[i][0] = i;
    for (unsigned j = 0; j <= lb; j++)
        d[0][j] = j;
    for (unsigned i = 1; i <= la; i++) {
        for (unsigned j = 1; j <= lb; j++) {
            d[i][j] = min3(d[i - 1][j] + 1, d[i][j - 1] + 1,
                           d[i - 1][j - 1] + (a[i - 1] != b[j - 1]));
            if (i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1] &&
                d[i - 2][j - 2] + 1 < d[i][j])
                d[i][j] = d[i - 2][j - 2] + 1;
        }
    }
    return d[la][lb];
}

const char *nearest_word(const char *word, const char *(*name)(unsigned i))
{
    unsigned best = (unsigned)strlen(word) / 3 + 1; /* farther is a guess, not a help */
    const char *found = NULL, *candidate;

    for (unsigned i = 0; (candidate = name(i)); i++) {
        unsigned d = distance(word, candidate);
        if (d < strlen(candidate) && (d < best || (d == best && !found))) {
            best = d;
            found = candidate;
        }
    }
    return found;
}
