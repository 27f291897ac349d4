/* Shared inside mem: the region list. */
#ifndef MEM_PRIV_H
#define MEM_PRIV_H

#include "mem/space.h"

/* Immutable once published; sorted by base, no overlaps. */
struct mem_map {
    struct mem_map *older;
    unsigned nr;
    struct mem_entry {
        gpa_t base;
        uint64_t size;
        struct mem_region *region;
        bool ram; /* the region is the space's own */
    } entry[];
};

void mem_ram_fini(struct mem_space *s);

#endif
