/* A binary heap of nodes that live inside other structs, the smallest key first: timers and deadlines. No locking of
 * its own. */
#ifndef SIM_CORE_HEAP_H
#define SIM_CORE_HEAP_H

#include "sim-core/types.h"

#define HEAP_OUT UINT32_MAX /* pos of a node that is in no heap; set it before first use */

struct heap_node {
    uint64_t key;
    uint32_t pos;
};

struct heap {
    struct heap_node **node;
    uint32_t nr, cap;
};

void heap_insert(struct heap *h, struct heap_node *n, uint64_t key); /* n is out */
void heap_remove(struct heap *h, struct heap_node *n);               /* n may be out */
void heap_fini(struct heap *h);

static inline struct heap_node *heap_first(const struct heap *h)
{
    return h->nr ? h->node[0] : NULL;
}

#endif
