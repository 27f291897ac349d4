/* A set of small numbers that many threads add to and one looks through: who wants a turn.
 *
 *   word[n / 64] has the members; top[n / 4096] says which words may have some, so that a search costs the same
 *   for 8 harts and for 4,096
 *
 * All operations are atomic and in one order with each other. A member added while a search runs may be found or not.
 * Owner: the executor that has it. Others: add and take. */
#ifndef PARTITION_READY_SET_H
#define PARTITION_READY_SET_H

#include <stdatomic.h>

#include "sim-core/types.h"

#define READY_NONE UINT32_MAX

struct ready_set {
    _Atomic uint64_t *word, *top;
    uint32_t nr_words, nr_tops;
};

void ready_set_init(struct ready_set *s, uint32_t size);
void ready_set_fini(struct ready_set *s);
/* False: it was a member already. */
bool ready_set_add(struct ready_set *s, uint32_t n);
void ready_set_remove(struct ready_set *s, uint32_t n);
/* As ready_set_remove, while the owner may search: it must not find the top empty for a moment in which somebody else is added.
 * The top stays as it is. */
void ready_set_take(struct ready_set *s, uint32_t n);
bool ready_set_has(const struct ready_set *s, uint32_t n);
/* The first member after n, going round to n itself at last; READY_NONE: empty. n may be READY_NONE: the first of all. */
uint32_t ready_set_next(const struct ready_set *s, uint32_t n);

#endif
