/* Which blocks have been stored already, by their contents. */
#ifndef CHECKPOINT_DEDUPE_H
#define CHECKPOINT_DEDUPE_H

#include "sim-core/types.h"

struct dedupe;

struct dedupe_place {
    uint32_t chunk, slot;
};

struct dedupe *dedupe_create(void);
void dedupe_destroy(struct dedupe *d);
/* true: *place is where an equal block lies. false: the block is new and is known from now on to lie at *place. Blocks
 * are compared by 128 bits of XXH3. */
bool dedupe_find(struct dedupe *d, const void *block, size_t len, struct dedupe_place *place);

#endif
