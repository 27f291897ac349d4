/* Which blocks have been stored already, by their contents. */
#ifndef CHECKPOINT_DEDUPE_H
#define CHECKPOINT_DEDUPE_H

#include "sim-core/types.h"

struct dedupe;

struct dedupe_place {
    uint32_t chunk, slot;
};

struct dedupe_hash {
    uint64_t lo, hi;
};

struct dedupe *dedupe_create(void);
void dedupe_destroy(struct dedupe *d);
/* 128 bits of XXH3 stand for a block. What dedupe_find will look at is fetched meanwhile: hash several blocks first. */
struct dedupe_hash dedupe_hash(const struct dedupe *d, const void *block, size_t len);
/* true: *place is where an equal block lies. false: the block is new and is known from now on to lie at *place. */
bool dedupe_find(struct dedupe *d, struct dedupe_hash hash, struct dedupe_place *place);

#endif
