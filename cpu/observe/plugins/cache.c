/* cache: a model of caches, per vCPU: L1 for instructions, L1 for data, and an L2 behind both.
 *
 *   partita run -plugin build/plugins/cache.so[,l1i=SIZE:WAYS:LINE][,l1d=...][,l2=...][,top=N]
 *
 * Defaults: l1i=32k:8:64, l1d=32k:8:64, l2=512k:8:64; l2=off: none. Physical addresses, LRU, write-allocate; devices
 * are not cached; caches do not know of each other. Instructions are looked up by line as blocks are entered. At the end:
 * accesses and misses of each, and the N (10) instructions with the most data misses. */
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "cpu/plugin.h"

PARTITA_PLUGIN_EXPORT const uint32_t partita_plugin_abi = PARTITA_PLUGIN_ABI;

enum level { L1I, L1D, L2, NR_LEVELS };
static const char *const level_names[] = {"l1i", "l1d", "l2"};

struct shape {
    unsigned sets, ways, line_bits; /* sets 0: none */
};

struct cache {
    uint64_t *tag; /* sets * ways; 1 + line number; the most recent of a set first */
    uint64_t accesses, misses;
};

/* Data misses of one instruction: an open hash table that grows. */
struct site {
    uint64_t pc, misses, l2_misses; /* misses 0: free */
};

struct vcpu {
    struct cache cache[NR_LEVELS];
    struct site *site;
    unsigned nr_sites, site_room; /* room: a power of 2 */
};

struct model {
    const struct partita_plugin_api *api;
    struct partita_plugin *self;
    struct shape shape[NR_LEVELS];
    unsigned top, nr_vcpus;
    struct vcpu *vcpu; /* each only touched by its own callbacks */
    struct span *spans;
};

/* What a block fetches; lives as long as the model. */
struct span {
    struct span *next;
    struct model *model;
    uint64_t first, last; /* physical, of its first and last byte */
};

/* --- looking up --- */

/* True: a hit. */
static int look_up(struct cache *c, const struct shape *s, uint64_t pa)
{
    uint64_t line = (pa >> s->line_bits) + 1, *set = &c->tag[(line & (s->sets - 1)) * s->ways];
    unsigned way = 0;

    c->accesses++;
    while (way < s->ways && set[way] != line)
        way++;
    int hit = way < s->ways;
    memmove(&set[1], &set[0], (hit ? way : s->ways - 1) * sizeof set[0]);
    set[0] = line;
    c->misses += !hit;
    return hit;
}

/* 0: hit, 1: missed in L1, 2: in both. */
static int access_line(struct model *m, struct vcpu *v, enum level l1, uint64_t pa)
{
    if (look_up(&v->cache[l1], &m->shape[l1], pa))
        return 0;
    if (!m->shape[L2].sets)
        return 1;
    return look_up(&v->cache[L2], &m->shape[L2], pa) ? 1 : 2;
}

static struct site *site_at(struct site *table, unsigned room, uint64_t pc)
{
    unsigned n = (unsigned)((pc >> 1) * 0x9e3779b97f4a7c15ull >> 32) & (room - 1);

    while (table[n].misses && table[n].pc != pc)
        n = (n + 1) & (room - 1);
    return &table[n];
}

static void grow_sites(struct vcpu *v)
{
    unsigned room = v->site_room ? v->site_room * 2 : 1024;
    struct site *table = calloc(room, sizeof *table);

    if (!table)
        abort();
    for (unsigned n = 0; n < v->site_room; n++)
        if (v->site[n].misses)
            *site_at(table, room, v->site[n].pc) = v->site[n];
    free(v->site);
    v->site = table;
    v->site_room = room;
}

static void add_misses(struct vcpu *v, uint64_t pc, uint64_t misses, uint64_t l2_misses)
{
    if (v->nr_sites * 2 >= v->site_room)
        grow_sites(v);
    struct site *s = site_at(v->site, v->site_room, pc);
    v->nr_sites += !s->misses;
    s->pc = pc;
    s->misses += misses;
    s->l2_misses += l2_misses;
}

/* --- events --- */

static void on_memory(void *data, unsigned vcpu, const struct partita_access *a)
{
    struct model *m = data;
    unsigned bits = m->shape[L1D].line_bits;

    if (a->device)
        return;
    for (uint64_t line = a->pa >> bits; line <= (a->pa + a->size - 1) >> bits; line++) {
        int misses = access_line(m, &m->vcpu[vcpu], L1D, line << bits);
        if (misses)
            add_misses(&m->vcpu[vcpu], a->pc, 1, misses == 2);
    }
}

static void on_entry(void *data, unsigned vcpu, uint64_t pc)
{
    const struct span *s = data;
    unsigned bits = s->model->shape[L1I].line_bits;

    (void)pc;
    for (uint64_t line = s->first >> bits; line <= s->last >> bits; line++)
        access_line(s->model, &s->model->vcpu[vcpu], L1I, line << bits);
}

static void on_block(void *data, unsigned vcpu, struct partita_block *b)
{
    struct model *m = data;
    struct partita_insn *last = m->api->block_insn(b, m->api->block_size(b) - 1);
    struct span *s = calloc(1, sizeof *s);

    (void)vcpu;
    if (!s)
        return;
    *s = (struct span){m->spans, m, m->api->block_pa(b), m->api->insn_pa(last) + m->api->insn_size(last) - 1};
    m->spans = s;
    m->api->block_call(b, on_entry, s);
}

/* --- the end --- */

static int by_misses(const void *a, const void *b)
{
    const struct site *x = a, *y = b;

    return x->misses < y->misses ? 1 : x->misses > y->misses ? -1 : x->pc < y->pc ? -1 : x->pc > y->pc;
}

static void print_level(struct model *m, enum level l)
{
    const struct shape *s = &m->shape[l];
    uint64_t accesses = 0, misses = 0;

    if (!s->sets)
        return;
    for (unsigned n = 0; n < m->nr_vcpus; n++) {
        accesses += m->vcpu[n].cache[l].accesses;
        misses += m->vcpu[n].cache[l].misses;
    }
    m->api->log(m->self, "%-4s %5u KiB, %2u ways, lines of %3u: %14" PRIu64 " accesses, %12" PRIu64 " misses (%.2f %%)",
                level_names[l], s->sets * s->ways << s->line_bits >> 10, s->ways, 1u << s->line_bits, accesses, misses,
                accesses ? 100.0 * (double)misses / (double)accesses : 0);
}

static void print_sites(struct model *m)
{
    struct vcpu all = {0};
    char name[128];

    grow_sites(&all);
    for (unsigned v = 0; v < m->nr_vcpus; v++)
        for (unsigned n = 0; n < m->vcpu[v].site_room; n++) {
            const struct site *s = &m->vcpu[v].site[n];
            if (s->misses)
                add_misses(&all, s->pc, s->misses, s->l2_misses);
        }
    qsort(all.site, all.site_room, sizeof all.site[0], by_misses);
    m->api->log(m->self, "  l1d misses     l2 misses  address           symbol");
    for (unsigned n = 0; n < m->top && n < all.nr_sites; n++)
        m->api->log(m->self, "%12" PRIu64 "  %12" PRIu64 "  %016" PRIx64 "  %s", all.site[n].misses, all.site[n].l2_misses,
                    all.site[n].pc, m->api->symbol(m->self, all.site[n].pc, name, sizeof name));
    free(all.site);
}

static void destroy(struct model *m)
{
    for (unsigned n = 0; n < m->nr_vcpus; n++) {
        for (enum level l = L1I; l < NR_LEVELS; l++)
            free(m->vcpu[n].cache[l].tag);
        free(m->vcpu[n].site);
    }
    for (struct span *s = m->spans, *next; s; s = next) {
        next = s->next;
        free(s);
    }
    free(m->vcpu);
    free(m);
}

static void on_exit_(void *data)
{
    struct model *m = data;

    for (enum level l = L1I; l < NR_LEVELS; l++)
        print_level(m, l);
    print_sites(m);
    destroy(m);
}

/* --- set-up --- */

static unsigned log2_of(unsigned long n)
{
    return n && !(n & (n - 1)) ? (unsigned)__builtin_ctzl(n) : 99;
}

/* "32k:8:64" */
static int parse_shape(const char *text, struct shape *out)
{
    char *end;
    unsigned long size = strtoul(text, &end, 0), ways, line;

    size <<= *end == 'k' ? 10 : *end == 'm' ? 20 : 0;
    end += *end == 'k' || *end == 'm';
    if (*end != ':')
        return -1;
    ways = strtoul(end + 1, &end, 0);
    if (*end != ':')
        return -1;
    line = strtoul(end + 1, &end, 0);
    if (*end || !ways || ways > 1024 || log2_of(line) < 3 || log2_of(line) > 12 || size % (ways * line))
        return -1;
    *out = (struct shape){(unsigned)(size / (ways * line)), (unsigned)ways, log2_of(line)};
    return log2_of(out->sets) <= 24 ? 0 : -1;
}

static int parse_word(struct model *m, const char *word)
{
    if (strncmp(word, "top=", 4) == 0 && atoi(word + 4) > 0) {
        m->top = (unsigned)atoi(word + 4);
        return 0;
    }
    if (strcmp(word, "l2=off") == 0) {
        m->shape[L2].sets = 0;
        return 0;
    }
    for (enum level l = L1I; l < NR_LEVELS; l++) {
        size_t len = strlen(level_names[l]);
        if (strncmp(word, level_names[l], len) == 0 && word[len] == '=')
            return parse_shape(word + len + 1, &m->shape[l]);
    }
    return -1;
}

static int allocate(struct model *m)
{
    m->nr_vcpus = m->api->nr_vcpus(m->self);
    m->vcpu = calloc(m->nr_vcpus, sizeof *m->vcpu);
    for (unsigned n = 0; m->vcpu && n < m->nr_vcpus; n++)
        for (enum level l = L1I; l < NR_LEVELS; l++) {
            m->vcpu[n].cache[l].tag = calloc((size_t)m->shape[l].sets * m->shape[l].ways + 1, sizeof(uint64_t));
            if (!m->vcpu[n].cache[l].tag)
                return -1;
        }
    return m->vcpu ? 0 : -1;
}

PARTITA_PLUGIN_EXPORT int partita_plugin_install(const struct partita_plugin_api *api, struct partita_plugin *self,
                                                 int argc, const char *const *argv)
{
    struct model *m = calloc(1, sizeof *m);
    int bad = !m;

    if (!m)
        return -1;
    *m = (struct model){.api = api, .self = self, .top = 10};
    parse_shape("32k:8:64", &m->shape[L1I]);
    parse_shape("32k:8:64", &m->shape[L1D]);
    parse_shape("512k:8:64", &m->shape[L2]);
    for (int n = 0; n < argc && !bad; n++) {
        bad = parse_word(m, argv[n]);
        if (bad)
            api->log(self, "'%s' is not understood (l1i=32k:8:64, l1d=, l2= or l2=off, top=N)", argv[n]);
    }
    if (bad || allocate(m) != 0) {
        destroy(m);
        return -1;
    }
    api->on_block(self, on_block, m);
    api->on_memory(self, on_memory, m);
    api->on_exit(self, on_exit_, m);
    return 0;
}
