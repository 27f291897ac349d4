/* insn_mix: how often each kind of instruction executes.
 *
 *   partita run -plugin build/plugins/insn_mix.so[,top=N][,priv=u|s|m]
 *
 * Kinds are mnemonics, compressed ones apart. One counter each, counted in translated code without a call. With
 * priv= only code of that privilege. At the end: the N (30) most frequent ones. */
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "cpu/plugin.h"

PARTITA_PLUGIN_EXPORT const uint32_t partita_plugin_abi = PARTITA_PLUGIN_ABI;

enum { MAX_KINDS = 1024, NAME = 24 };

struct kind {
    char name[NAME];
    partita_counter counter;
    uint64_t sum;
};

struct insn_mix {
    const struct partita_plugin_api *api;
    struct partita_plugin *self;
    unsigned top, nr;
    struct kind kind[MAX_KINDS];
};

static struct kind *find(struct insn_mix *m, const char *name, size_t len)
{
    for (unsigned n = 0; n < m->nr; n++)
        if (strncmp(m->kind[n].name, name, len) == 0 && !m->kind[n].name[len])
            return &m->kind[n];
    if (m->nr == MAX_KINDS)
        return NULL;
    struct kind *k = &m->kind[m->nr++];
    memcpy(k->name, name, len);
    k->counter = m->api->new_counter(m->self);
    return k;
}

static void on_block(void *data, unsigned vcpu, struct partita_block *block)
{
    struct insn_mix *m = data;
    struct partita_insn *i;
    char text[96];

    (void)vcpu;
    for (unsigned n = 0; (i = m->api->block_insn(block, n)); n++) {
        const char *name = m->api->insn_disassemble(i, text, sizeof text);
        size_t len = strcspn(name, " ");
        struct kind *k = find(m, name, len < NAME ? len : NAME - 1);
        if (k)
            m->api->insn_count(i, k->counter, 1);
    }
}

static int by_sum(const void *a, const void *b)
{
    const struct kind *x = a, *y = b;

    return x->sum < y->sum ? 1 : x->sum > y->sum ? -1 : strcmp(x->name, y->name);
}

static void on_exit_(void *data)
{
    struct insn_mix *m = data;
    uint64_t all = 0;
    unsigned kinds = 0;

    for (unsigned n = 0; n < m->nr; n++) {
        all += m->kind[n].sum = m->api->counter_sum(m->self, m->kind[n].counter);
        kinds += m->kind[n].sum != 0;
    }
    qsort(m->kind, m->nr, sizeof m->kind[0], by_sum);
    m->api->log(m->self, "%" PRIu64 " instructions of %u kinds", all, kinds);
    for (unsigned n = 0; n < m->nr && n < m->top && m->kind[n].sum; n++)
        m->api->log(m->self, "%6.2f %%  %14" PRIu64 "  %s", 100.0 * (double)m->kind[n].sum / (double)all, m->kind[n].sum,
                    m->kind[n].name);
    free(m);
}

static int parse(struct insn_mix *m, int argc, const char *const *argv)
{
    static const char privs[] = "us?m";

    for (int n = 0; n < argc; n++) {
        const char *priv = strncmp(argv[n], "priv=", 5) == 0 && argv[n][5] ? strchr(privs, argv[n][5]) : NULL;
        if (strncmp(argv[n], "top=", 4) == 0 && atoi(argv[n] + 4) > 0) {
            m->top = (unsigned)atoi(argv[n] + 4);
        } else if (priv && *priv != '?' && !argv[n][6]) {
            m->api->observe_only(m->self, 1u << (priv - privs), 0, UINT64_MAX);
        } else {
            m->api->log(m->self, "'%s' is not understood (top=N, priv=u, priv=s, priv=m)", argv[n]);
            return -1;
        }
    }
    return 0;
}

PARTITA_PLUGIN_EXPORT int partita_plugin_install(const struct partita_plugin_api *api, struct partita_plugin *self,
                                                 int argc, const char *const *argv)
{
    struct insn_mix *m = calloc(1, sizeof *m);

    if (!m)
        return -1;
    m->api = api;
    m->self = self;
    m->top = 30;
    if (parse(m, argc, argv) != 0) {
        free(m);
        return -1;
    }
    api->on_block(self, on_block, m);
    api->on_exit(self, on_exit_, m);
    return 0;
}
