/* hot_blocks: which blocks of guest code execute most.
 *
 *   partita run -plugin build/plugins/hot_blocks.so[,top=N][,by=insns|entries]
 *
 * At the end: the N (20) blocks with the most instructions executed, or entered most often. */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cpu/plugin.h"

PARTITA_PLUGIN_EXPORT const uint32_t partita_plugin_abi = PARTITA_PLUGIN_ABI;

enum { BUCKETS = 1 << 16 };

struct block {
    struct block *next;
    uint64_t pc, pa;
    unsigned insns;
    partita_counter entries;
    uint64_t sum; /* of entries; at the end */
};

/* Blocks are found one at a time, and everything else is done when nothing runs. */
struct hot_blocks {
    const struct partita_plugin_api *api;
    struct partita_plugin *self;
    unsigned top;
    int by_entries;
    unsigned nr, lost;
    struct block *bucket[BUCKETS];
};

static struct block **bucket_of(struct hot_blocks *h, uint64_t pa)
{
    return &h->bucket[(pa >> 1) * 0x9e3779b97f4a7c15ull >> 48];
}

/* The record of a block: it may be shown more than once. */
static struct block *find(struct hot_blocks *h, uint64_t pc, uint64_t pa, unsigned insns)
{
    struct block **bucket = bucket_of(h, pa);

    for (struct block *b = *bucket; b; b = b->next)
        if (b->pa == pa && b->insns == insns)
            return b;
    struct block *b = calloc(1, sizeof *b);
    if (!b)
        return NULL;
    *b = (struct block){.next = *bucket, .pc = pc, .pa = pa, .insns = insns, .entries = h->api->new_counter(h->self)};
    *bucket = b;
    h->nr++;
    return b;
}

static void on_block(void *data, unsigned vcpu, struct partita_block *block)
{
    struct hot_blocks *h = data;
    struct block *b = find(h, h->api->block_pc(block), h->api->block_pa(block), h->api->block_size(block));

    (void)vcpu;
    if (b && b->entries != PARTITA_NO_COUNTER)
        h->api->block_count(block, b->entries, 1);
    else
        h->lost++;
}

/* --- the end --- */

static int by_insns(const void *a, const void *b)
{
    const struct block *x = *(struct block *const *)a, *y = *(struct block *const *)b;
    uint64_t m = x->sum * x->insns, n = y->sum * y->insns;

    return m < n ? 1 : m > n ? -1 : x->pc < y->pc ? -1 : x->pc > y->pc;
}

static int by_entries(const void *a, const void *b)
{
    const struct block *x = *(struct block *const *)a, *y = *(struct block *const *)b;

    return x->sum < y->sum ? 1 : x->sum > y->sum ? -1 : x->pc < y->pc ? -1 : x->pc > y->pc;
}

/* All blocks, their counters summed up; returns how many instructions that makes. */
static uint64_t collect(struct hot_blocks *h, struct block **out)
{
    uint64_t insns = 0;

    for (unsigned n = 0; n < BUCKETS; n++)
        for (struct block *b = h->bucket[n]; b; b = b->next) {
            b->sum = h->api->counter_sum(h->self, b->entries);
            insns += b->sum * b->insns;
            *out++ = b;
        }
    return insns;
}

static void print(struct hot_blocks *h, struct block **list, uint64_t insns)
{
    char name[128];

    h->api->log(h->self, "%u blocks, %" PRIu64 " instructions", h->nr, insns);
    h->api->log(h->self, "  share       entries  insns  address           symbol");
    for (unsigned n = 0; n < h->nr && n < h->top && list[n]->sum; n++) {
        const struct block *b = list[n];
        h->api->log(h->self, "%6.2f %%  %12" PRIu64 "  %5u  %016" PRIx64 "  %s",
                    insns ? 100.0 * (double)(b->sum * b->insns) / (double)insns : 0, b->sum, b->insns, b->pc,
                    h->api->symbol(h->self, b->pc, name, sizeof name));
    }
    if (h->lost)
        h->api->log(h->self, "%u blocks were not counted: there were no more counters", h->lost);
}

static void on_exit_(void *data)
{
    struct hot_blocks *h = data;
    struct block **list = calloc(h->nr + 1, sizeof *list);

    if (list) {
        uint64_t insns = collect(h, list);
        qsort(list, h->nr, sizeof *list, h->by_entries ? by_entries : by_insns);
        print(h, list, insns);
    }
    free(list);
    for (unsigned n = 0; n < BUCKETS; n++)
        for (struct block *b = h->bucket[n], *next; b; b = next) {
            next = b->next;
            free(b);
        }
    free(h);
}

static int parse(struct hot_blocks *h, int argc, const char *const *argv)
{
    for (int n = 0; n < argc; n++) {
        if (strncmp(argv[n], "top=", 4) == 0 && atoi(argv[n] + 4) > 0) {
            h->top = (unsigned)atoi(argv[n] + 4);
        } else if (strcmp(argv[n], "by=entries") == 0 || strcmp(argv[n], "by=insns") == 0) {
            h->by_entries = argv[n][3] == 'e';
        } else {
            h->api->log(h->self, "'%s' is not understood (top=N, by=insns, by=entries)", argv[n]);
            return -1;
        }
    }
    return 0;
}

PARTITA_PLUGIN_EXPORT int partita_plugin_install(const struct partita_plugin_api *api, struct partita_plugin *self,
                                                 int argc, const char *const *argv)
{
    struct hot_blocks *h = calloc(1, sizeof *h);

    if (!h)
        return -1;
    h->api = api;
    h->self = self;
    h->top = 20;
    if (parse(h, argc, argv) != 0) {
        free(h);
        return -1;
    }
    api->on_block(self, on_block, h);
    api->on_exit(self, on_exit_, h);
    return 0;
}
