/* A table from 128-bit hashes to places: small cells that are looked up at random, entries in the order they came. */
#include "dedupe.h"

#include <xxhash.h>

#include "sim-core/alloc.h"

enum { FIRST_CELLS = 16384, CELLS_PER_ENTRY = 3 /* at least */ };

struct entry {
    struct dedupe_hash hash;
    struct dedupe_place place;
};

struct dedupe {
    struct entry *entry;
    uint32_t nr, cap;
    uint32_t *cell; /* 1 + the index of an entry; 0: free */
    uint32_t mask;  /* number of cells - 1 */
};

static void make_cells(struct dedupe *d, uint32_t nr)
{
    d->cell = sim_zalloc_pages(nr * sizeof d->cell[0]);
    d->mask = nr - 1;
}

static void free_cells(struct dedupe *d)
{
    sim_free_pages(d->cell, (d->mask + 1) * sizeof d->cell[0]);
}

struct dedupe *dedupe_create(void)
{
    struct dedupe *d = sim_new(struct dedupe);

    make_cells(d, FIRST_CELLS);
    return d;
}

void dedupe_destroy(struct dedupe *d)
{
    if (!d)
        return;
    free_cells(d);
    sim_free(d->entry);
    sim_free(d);
}

/* The cell of the hash, or the free one where it belongs. */
static uint32_t *find(const struct dedupe *d, struct dedupe_hash hash)
{
    uint32_t i = hash.lo & d->mask;

    for (; d->cell[i]; i = (i + 1) & d->mask) {
        const struct dedupe_hash *h = &d->entry[d->cell[i] - 1].hash;
        if (h->lo == hash.lo && h->hi == hash.hi)
            break;
    }
    return &d->cell[i];
}

static void grow_cells(struct dedupe *d)
{
    uint32_t nr = (d->mask + 1) * 2;

    free_cells(d);
    make_cells(d, nr);
    for (uint32_t i = 0; i < d->nr; i++)
        *find(d, d->entry[i].hash) = i + 1;
}

static void add(struct dedupe *d, uint32_t *cell, const struct entry *e)
{
    if (d->nr == d->cap) {
        d->cap = d->cap ? d->cap * 2 : FIRST_CELLS / CELLS_PER_ENTRY;
        d->entry = sim_realloc(d->entry, d->cap * sizeof d->entry[0]);
    }
    d->entry[d->nr++] = *e;
    *cell = d->nr;
    if (d->nr > d->mask / CELLS_PER_ENTRY)
        grow_cells(d);
}

struct dedupe_hash dedupe_hash(const struct dedupe *d, const void *block, size_t len)
{
    XXH128_hash_t hash = XXH3_128bits(block, len);

    __builtin_prefetch(&d->cell[hash.low64 & d->mask]);
    return (struct dedupe_hash){hash.low64, hash.high64};
}

bool dedupe_find(struct dedupe *d, struct dedupe_hash hash, struct dedupe_place *place)
{
    uint32_t *cell = find(d, hash);

    if (*cell) {
        *place = d->entry[*cell - 1].place;
        return true;
    }
    add(d, cell, &(struct entry){hash, *place});
    return false;
}
