/* Sifting up and down. */
#include "sim-core/heap.h"

#include "sim-core/alloc.h"

static void put(struct heap *h, uint32_t pos, struct heap_node *n)
{
    h->node[pos] = n;
    n->pos = pos;
}

static void sift_up(struct heap *h, uint32_t pos, struct heap_node *n)
{
    while (pos && h->node[(pos - 1) / 2]->key > n->key) {
        put(h, pos, h->node[(pos - 1) / 2]);
        pos = (pos - 1) / 2;
    }
    put(h, pos, n);
}

static void sift_down(struct heap *h, uint32_t pos, struct heap_node *n)
{
    for (;;) {
        uint32_t child = 2 * pos + 1;
        if (child + 1 < h->nr && h->node[child + 1]->key < h->node[child]->key)
            child++;
        if (child >= h->nr || h->node[child]->key >= n->key)
            break;
        put(h, pos, h->node[child]);
        pos = child;
    }
    put(h, pos, n);
}

void heap_insert(struct heap *h, struct heap_node *n, uint64_t key)
{
    if (h->nr == h->cap) {
        h->cap = h->cap ? h->cap * 2 : 16;
        h->node = sim_realloc(h->node, h->cap * sizeof(h->node[0]));
    }
    n->key = key;
    sift_up(h, h->nr++, n);
}

void heap_remove(struct heap *h, struct heap_node *n)
{
    uint32_t pos = n->pos;

    if (pos == HEAP_OUT)
        return;
    n->pos = HEAP_OUT;
    struct heap_node *last = h->node[--h->nr];
    if (last == n)
        return;
    sift_down(h, pos, last);
    sift_up(h, last->pos, last);
}

void heap_fini(struct heap *h)
{
    sim_free(h->node);
    *h = (struct heap){0};
}
