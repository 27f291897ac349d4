/* A sorted array of symbols; names in one block of text. */
#include "cpu/symbols.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "sim-core/alloc.h"

struct symbol {
    uint64_t addr, size;
    size_t name;  /* in text */
    size_t order; /* of addition */
};

struct symbols {
    struct symbol *symbol;
    size_t nr, room;
    char *text;
    size_t text_len, text_room;
};

struct symbols *symbols_create(void)
{
    return sim_new(struct symbols);
}

void symbols_destroy(struct symbols *s)
{
    if (!s)
        return;
    sim_free(s->symbol);
    sim_free(s->text);
    sim_free(s);
}

static size_t add_text(struct symbols *s, const char *text, size_t len)
{
    size_t at = s->text_len;

    while (s->text_len + len + 1 > s->text_room) {
        s->text_room = s->text_room ? s->text_room * 2 : 4096;
        s->text = sim_realloc(s->text, s->text_room);
    }
    memcpy(s->text + at, text, len);
    s->text[at + len] = '\0';
    s->text_len += len + 1;
    return at;
}

void symbols_add(struct symbols *s, uint64_t addr, uint64_t size, const char *name, size_t name_len)
{
    if (s->nr == s->room) {
        s->room = s->room ? s->room * 2 : 256;
        s->symbol = sim_realloc(s->symbol, s->room * sizeof s->symbol[0]);
    }
    s->symbol[s->nr] = (struct symbol){addr, size, add_text(s, name, name_len), s->nr};
    s->nr++;
}

static int compare(const void *a, const void *b)
{
    const struct symbol *x = a, *y = b;

    if (x->addr != y->addr)
        return x->addr < y->addr ? -1 : 1;
    return x->order < y->order ? -1 : 1;
}

void symbols_seal(struct symbols *s)
{
    size_t kept = 0;

    if (!s->nr)
        return;
    qsort(s->symbol, s->nr, sizeof s->symbol[0], compare);
    for (size_t n = 0; n < s->nr; n++)
        if (!kept || s->symbol[kept - 1].addr != s->symbol[n].addr)
            s->symbol[kept++] = s->symbol[n];
    s->nr = kept;
}

size_t symbols_count(const struct symbols *s)
{
    return s ? s->nr : 0;
}

/* The last symbol at or below addr. */
static const struct symbol *below(const struct symbols *s, uint64_t addr)
{
    size_t lo = 0, hi = s->nr;

    while (lo < hi) {
        size_t mid = lo + (hi - lo) / 2;
        if (s->symbol[mid].addr <= addr)
            lo = mid + 1;
        else
            hi = mid;
    }
    return lo ? &s->symbol[lo - 1] : NULL;
}

const char *symbols_find(const struct symbols *s, uint64_t addr, uint64_t *offset)
{
    const struct symbol *y = s ? below(s, addr) : NULL;

    if (!y || addr - y->addr >= (y->size ? y->size : SYMBOLS_REACH))
        return NULL;
    *offset = addr - y->addr;
    return s->text + y->name;
}

char *symbols_format(const struct symbols *s, uint64_t addr, char *buf, size_t size)
{
    uint64_t offset;
    const char *name = symbols_find(s, addr, &offset);

    if (!name)
        snprintf(buf, size, "%s", "");
    else if (offset)
        snprintf(buf, size, "%s+%#" PRIx64, name, offset);
    else
        snprintf(buf, size, "%s", name);
    return buf;
}
