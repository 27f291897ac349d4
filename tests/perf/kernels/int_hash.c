/* An open-addressing hash table: multiply-heavy mixing, dependent loads, short probes. */
#include "perf.h"

enum { SLOTS = 1 << 14, KEYS = 10000, ROUNDS = 2900 };

struct slot {
    uint64_t key, value;
};

static uint64_t hash(uint64_t k)
{
    k ^= k >> 33;
    k *= 0xff51afd7ed558ccdu;
    k ^= k >> 33;
    k *= 0xc4ceb9fe1a85ec53u;
    return k ^ k >> 33;
}

static struct slot *lookup(struct slot *table, uint64_t key)
{
    uint64_t at = hash(key) % SLOTS;
    while (table[at].key && table[at].key != key)
        at = (at + 1) % SLOTS;
    return &table[at];
}

PERF_KERNEL(env)
{
    struct slot *table = perf_alloc(env, SLOTS * sizeof *table);
    uint64_t sum = 0;
    for (unsigned round = 0; round < ROUNDS; round++) {
        uint64_t seed = 6;
        for (unsigned i = 0; i < KEYS; i++) {
            uint64_t key = perf_random(&seed) | 1;
            struct slot *s = lookup(table, key);
            s->key = key;
            s->value += i ^ round;
        }
    }
    for (unsigned i = 0; i < SLOTS; i++)
        sum = perf_mix(sum, table[i].value);
    return sum;
}
