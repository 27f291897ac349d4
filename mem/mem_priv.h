/* Shared inside mem: the region list. */
#ifndef MEM_PRIV_H
#define MEM_PRIV_H

#include "mem/space.h"

/* Sorted by base, no overlaps. Changed in place under the map lock, with `seq` odd meanwhile; a
 * reader whose search met a change repeats it. (A list per change would let a guest that moves its
 * BARs for ever eat the host's memory.) A list that is full is replaced by a larger one and kept
 * for readers. */
struct mem_map {
    struct mem_map *older;
    unsigned cap;
    _Atomic uint32_t seq;
    _Atomic unsigned nr;
    struct mem_entry {
        _Atomic gpa_t base;
        _Atomic uint64_t size;
        _Atomic(struct mem_region *) region;
        bool ram; /* the region is the space's own (map lock) */
    } entry[];
};

void mem_ram_fini(struct mem_space *s);

#endif
