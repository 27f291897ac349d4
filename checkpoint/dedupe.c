/* An open-addressing hash table from 128-bit hashes to places. */
#include "dedupe.h"

#include <xxhash.h>

#include "sim-core/alloc.h"

enum { FIRST_CAP = 4096 };

struct entry {
    uint64_t lo, hi; /* both zero: free (a block that hashes to it is simply not found) */
    struct dedupe_place place;
};

struct dedupe {
    struct entry *entry;
    size_t cap, nr; /* cap is a power of two */
};

struct dedupe *dedupe_create(void)
{
    struct dedupe *d = sim_new(struct dedupe);

    d->cap = FIRST_CAP;
    d->entry = sim_new_array(struct entry, d->cap);
    return d;
}

void dedupe_destroy(struct dedupe *d)
{
    if (!d)
        return;
    sim_free(d->entry);
    sim_free(d);
}

/* The entry of the hash, or the free one where it belongs. */
static struct entry *find(struct dedupe *d, uint64_t lo, uint64_t hi)
{
    size_t i = lo & (d->cap - 1);

    while ((d->entry[i].lo | d->entry[i].hi) && (d->entry[i].lo != lo || d->entry[i].hi != hi))
        i = (i + 1) & (d->cap - 1);
    return &d->entry[i];
}

static void grow(struct dedupe *d)
{
    struct dedupe old = *d;

    d->cap *= 2;
    d->entry = sim_new_array(struct entry, d->cap);
    for (size_t i = 0; i < old.cap; i++)
        if (old.entry[i].lo | old.entry[i].hi)
            *find(d, old.entry[i].lo, old.entry[i].hi) = old.entry[i];
    sim_free(old.entry);
}

bool dedupe_find(struct dedupe *d, const void *block, size_t len, struct dedupe_place *place)
{
    XXH128_hash_t hash = XXH3_128bits(block, len);
    struct entry *e = find(d, hash.low64, hash.high64);

    if (e->lo | e->hi) {
        *place = e->place;
        return true;
    }
    *e = (struct entry){hash.low64, hash.high64, *place};
    if (++d->nr * 2 > d->cap)
        grow(d);
    return false;
}
