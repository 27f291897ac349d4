/* A plugin that uses all of the interface and says what it found (system/tools.sh plugin_interface). */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cpu/plugin.h"

PARTITA_PLUGIN_EXPORT const uint32_t partita_plugin_abi = PARTITA_PLUGIN_ABI;

enum { MAX_VCPUS = 8 };

struct all {
    const struct partita_plugin_api *api;
    struct partita_plugin *self;
    partita_counter insns, entries;
    unsigned began, ended;
    struct per_vcpu {
        uint64_t insns, entries, loads, stores, ecalls, t1;
        uint64_t finisher_value, finisher_pc;
        bool read_ok;
    } vcpu[MAX_VCPUS];
};

static void vcpu_init(void *data, unsigned vcpu)
{
    (void)vcpu;
    ((struct all *)data)->began++;
}

static void vcpu_exit(void *data, unsigned vcpu)
{
    (void)vcpu;
    ((struct all *)data)->ended++;
}

static void on_insn(void *data, unsigned vcpu, uint64_t pc)
{
    (void)pc;
    ((struct all *)data)->vcpu[vcpu].insns++;
}

static void on_entry(void *data, unsigned vcpu, uint64_t pc)
{
    (void)pc;
    ((struct all *)data)->vcpu[vcpu].entries++;
}

static void on_block(void *data, unsigned vcpu, struct partita_block *b)
{
    struct all *a = data;
    struct partita_insn *i;
    unsigned bytes = 0;

    (void)vcpu;
    for (unsigned n = 0; (i = a->api->block_insn(b, n)); n++) {
        if (a->api->insn_pc(i) != a->api->block_pc(b) + bytes || a->api->insn_pa(i) != a->api->block_pa(b) + bytes)
            a->api->log(a->self, "instruction %u is at %" PRIx64, n, a->api->insn_pc(i));
        if ((a->api->insn_size(i) == 4) != ((a->api->insn_word(i) & 3) == 3))
            a->api->log(a->self, "instruction %u has %u bytes", n, a->api->insn_size(i));
        bytes += a->api->insn_size(i);
        a->api->insn_call(i, on_insn, a);
        a->api->insn_count(i, a->insns, 1);
    }
    if (a->api->block_insn(b, a->api->block_size(b)))
        a->api->log(a->self, "a block has one instruction too many");
    a->api->block_call(b, on_entry, a);
    a->api->block_count(b, a->entries, 3);
}

static void on_memory(void *data, unsigned vcpu, const struct partita_access *m)
{
    struct all *a = data;
    struct per_vcpu *v = &a->vcpu[vcpu];
    uint64_t back = 0;

    if (m->device) {
        v->finisher_value = m->value;
        v->finisher_pc = m->pc;
        return;
    }
    if (a->api->priv(a->self, vcpu) != PARTITA_USER)
        return;
    v->loads += m->kind != PARTITA_STORE;
    v->stores += m->kind == PARTITA_STORE && m->size == 8;
    if (m->kind == PARTITA_STORE && a->api->read(a->self, vcpu, m->va, &back, m->size))
        v->read_ok = back == m->value && !a->api->read(a->self, vcpu, 0x1000, &back, 8);
}

static void on_trap(void *data, unsigned vcpu, const struct partita_trap *t)
{
    struct all *a = data;

    if (t->interrupt || t->cause != 8 || t->priv != PARTITA_USER)
        return;
    a->vcpu[vcpu].ecalls++;
    a->vcpu[vcpu].t1 = a->api->x(a->self, vcpu, 6);
}

static void on_exit_(void *data)
{
    struct all *a = data;
    const struct per_vcpu *v = &a->vcpu[0];
    uint64_t insns = 0, entries = 0;
    char name[64];

    a->api->log(a->self, "vcpus %u, began %u, ended %u", a->api->nr_vcpus(a->self), a->began, a->ended);
    for (unsigned n = 0; n < a->api->nr_vcpus(a->self); n++) {
        insns += a->vcpu[n].insns;
        entries += a->vcpu[n].entries;
        if (a->api->counter_of(a->self, a->insns, n) != a->vcpu[n].insns)
            a->api->log(a->self, "vcpu %u: counted otherwise", n);
    }
    if (insns > 2000000 && a->api->counter_sum(a->self, a->insns) == insns &&
        a->api->counter_sum(a->self, a->entries) == 3 * entries)
        a->api->log(a->self, "calls agree with counters, block entries too");
    a->api->log(a->self, "U mode: %" PRIu64 " loads and amos, %" PRIu64 " stores of 8 bytes, %" PRIu64
                " ecall with a value of 0x%" PRIx64 " in t1", v->loads, v->stores, v->ecalls, v->t1);
    a->api->log(a->self, "the finisher got %#" PRIx64 " from %s", v->finisher_value,
                a->api->symbol(a->self, v->finisher_pc, name, sizeof name));
    if (v->read_ok)
        a->api->log(a->self, "read back what was stored, and nothing from nowhere");
    free(a);
}

PARTITA_PLUGIN_EXPORT int partita_plugin_install(const struct partita_plugin_api *api, struct partita_plugin *self,
                                                 int argc, const char *const *argv)
{
    struct all *a = calloc(1, sizeof *a);

    if (!a || argc != 2 || argv[2] || api->abi != PARTITA_PLUGIN_ABI || api->size < sizeof *api)
        return -1;
    a->api = api;
    a->self = self;
    a->insns = api->new_counter(self);
    a->entries = api->new_counter(self);
    api->log(self, "arguments %s %s", argv[0], argv[1]);
    api->on_vcpu_init(self, vcpu_init, a);
    api->on_vcpu_exit(self, vcpu_exit, a);
    api->on_block(self, on_block, a);
    api->on_memory(self, on_memory, a);
    api->on_trap(self, on_trap, a);
    api->on_exit(self, on_exit_, a);
    return 0;
}
