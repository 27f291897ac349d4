/* Which ranks may have a copy: 64 bits, of one rank each, or of groups when there are more ranks.
 */
#ifndef MEM_DSM_SHARERS_H
#define MEM_DSM_SHARERS_H

#include "sim-core/types.h"

/* Ranks per bit. */
static inline unsigned sharers_group(rank_t nr_ranks)
{
    return ((unsigned)nr_ranks + 63) / 64;
}

static inline uint64_t sharers_bit(rank_t rank, unsigned group)
{
    return 1ull << ((unsigned)rank / group);
}

static inline bool sharers_may_have(uint64_t sharers, rank_t rank, unsigned group)
{
    return sharers & sharers_bit(rank, group);
}

/* Surely: a bit stands for one rank, and it is set. */
static inline bool sharers_have(uint64_t sharers, rank_t rank, unsigned group)
{
    return group == 1 && sharers_may_have(sharers, rank, group);
}

#endif
