/* Linked lists: search, reversal and a merge sort of nodes scattered in memory. */
#include "perf.h"

enum { NODES = 400, ROUNDS = 96000 };

struct node {
    struct node *next;
    int16_t key;
    uint16_t tag;
};

static struct node *reverse(struct node *list)
{
    struct node *done = NULL;
    while (list) {
        struct node *next = list->next;
        list->next = done;
        done = list;
        list = next;
    }
    return done;
}

static const struct node *find(const struct node *list, int key)
{
    while (list && list->key != key)
        list = list->next;
    return list;
}

static struct node *merge(struct node *a, struct node *b)
{
    struct node *head = NULL, **tail = &head;
    while (a && b) {
        struct node **least = a->key <= b->key ? &a : &b;
        *tail = *least;
        tail = &(*least)->next;
        *least = *tail;
    }
    *tail = a ? a : b;
    return head;
}

static struct node *sort(struct node *list, unsigned count)
{
    if (count < 2) {
        if (list)
            list->next = NULL;
        return list;
    }
    struct node *middle = list;
    for (unsigned i = 0; i < count / 2; i++)
        middle = middle->next;
    struct node *high = sort(middle, count - count / 2);
    return merge(sort(list, count / 2), high);
}

static struct node *build(struct perf_env *env, uint64_t *seed)
{
    struct node *pool = perf_alloc(env, NODES * sizeof *pool);
    struct node *list = NULL;
    for (unsigned i = 0; i < NODES; i++) {
        struct node *n = &pool[i * 37 % NODES]; /* 37 and NODES share no factor */
        n->key = (int16_t)(perf_random(seed) & 0x3ff);
        n->tag = (uint16_t)i;
        n->next = list;
        list = n;
    }
    return list;
}

PERF_KERNEL(env)
{
    uint64_t seed = 1, sum = 0;
    struct node *list = build(env, &seed);
    for (unsigned round = 0; round < ROUNDS; round++) {
        const struct node *hit = find(list, (int)(round & 0x3ff));
        sum = perf_mix(sum, hit ? hit->tag : round);
        list = reverse(list);
        list->key = (int16_t)(perf_random(&seed) & 0x3ff);
        if (round % 16 == 0)
            list = sort(list, NODES);
    }
    for (const struct node *n = list; n; n = n->next)
        sum = perf_mix(sum, (uint64_t)n->key << 16 | n->tag);
    return sum;
}
