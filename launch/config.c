/* The configuration of a run: defaults, release, and the YAML that --dump-config prints. */
#include "config.h"

#include <inttypes.h>
#include <string.h>

#include "accel.h"
#include "sim-core/alloc.h"

void config_init(struct config *c)
{
    *c = (struct config){.smp = 1, .memory = 128ull << 20, .jit = true, .rebalance = true, .rehome = true};
}

void config_set_string(char **field, const char *value)
{
    sim_free(*field);
    *field = value ? sim_strdup(value) : NULL;
}

void config_numa_fini(struct config_numa *numa)
{
    sim_free(numa->hart_node);
    sim_free(numa->ram);
    sim_free(numa->distance);
    *numa = (struct config_numa){0};
}

static void config_tools_fini(struct config_tools *t)
{
    for (unsigned i = 0; i < t->nr_symbols; i++)
        sim_free(t->symbols[i].file);
    for (unsigned i = 0; i < t->nr_traces; i++)
        sim_free(t->traces[i]);
    for (unsigned i = 0; i < t->nr_plugins; i++) {
        for (unsigned j = 0; j < t->plugins[i].nr_arguments; j++)
            sim_free(t->plugins[i].argument[j]);
        sim_free(t->plugins[i].argument);
        sim_free(t->plugins[i].file);
    }
    sim_free(t->symbols);
    sim_free(t->traces);
    sim_free(t->plugins);
}

void config_fini(struct config *c)
{
    char **strings[] = {&c->cpu,      &c->kernel, &c->initrd,      &c->append, &c->bios, &c->dtb,
                        &c->dump_dtb, &c->expect, &c->virtconsole, &c->control,
                        &c->checkpoint.dir};

    for (size_t i = 0; i < SIM_ARRAY_LEN(strings); i++)
        config_set_string(strings[i], NULL);
    for (unsigned i = 0; i < c->nr_drives; i++) {
        sim_free(c->drive[i].file);
        sim_free(c->drive[i].serial);
    }
    for (unsigned i = 0; i < c->nr_nets; i++)
        sim_free(c->net[i].backend);
    for (unsigned i = 0; i < c->nr_serials; i++)
        sim_free(c->serial[i]);
    config_numa_fini(&c->numa);
    config_tools_fini(&c->tools);
    sim_free(c->harts_per_rank);
    sim_free(c->tree.fdt);
    *c = (struct config){0};
}

/* --- YAML --- */

/* A double-quoted YAML scalar; bytes outside ASCII pass as they are (UTF-8). */
static void put_quoted(FILE *out, const char *s)
{
    fputc('"', out);
    for (; *s; s++) {
        unsigned char c = (unsigned char)*s;
        if (c == '"' || c == '\\')
            fprintf(out, "\\%c", c);
        else if (c < 0x20 || c == 0x7f)
            fprintf(out, "\\x%02x", c);
        else
            fputc(c, out);
    }
    fputc('"', out);
}

static void put_string(FILE *out, const char *indent, const char *key, const char *value)
{
    if (!value)
        return;
    fprintf(out, "%s%s: ", indent, key);
    put_quoted(out, value);
    fputc('\n', out);
}

static void put_flag(FILE *out, const char *key, bool value)
{
    fprintf(out, "%s: %s\n", key, value ? "true" : "false");
}

static const char *bus_name(enum config_bus bus)
{
    return bus == CONFIG_BUS_PCI ? "pci" : "mmio";
}

const char *const config_eventfd_words[] = {
    [CONFIG_EVENTFD_AUTO] = "auto", [CONFIG_EVENTFD_OFF] = "off", [CONFIG_EVENTFD_ON] = "on", NULL};

/* Nothing where nobody has said. */
static void put_eventfd(FILE *out, const char *key, enum config_eventfd value)
{
    if (value != CONFIG_EVENTFD_AUTO)
        fprintf(out, "%s: %s\n", key, config_eventfd_words[value]);
}

static void put_drives(const struct config *c, FILE *out)
{
    if (c->nr_drives)
        fputs("drives:\n", out);
    for (unsigned i = 0; i < c->nr_drives; i++) {
        const struct config_drive *d = &c->drive[i];
        put_string(out, "  - ", "file", d->file);
        put_string(out, "    ", "serial", d->serial);
        fprintf(out, "    readonly: %s\n", d->readonly ? "true" : "false");
        fprintf(out, "    bus: %s\n", bus_name(d->bus));
        put_eventfd(out, "    ioeventfd", d->eventfd);
    }
}

static void put_nets(const struct config *c, FILE *out)
{
    if (c->nr_nets)
        fputs("nets:\n", out);
    for (unsigned i = 0; i < c->nr_nets; i++) {
        const struct config_net *n = &c->net[i];
        put_string(out, "  - ", "backend", n->backend);
        fprintf(out, "    mac: \"%02x:%02x:%02x:%02x:%02x:%02x\"\n", n->mac[0], n->mac[1],
                n->mac[2], n->mac[3], n->mac[4], n->mac[5]);
        fprintf(out, "    bus: %s\n", bus_name(n->bus));
        put_eventfd(out, "    ioeventfd", n->eventfd);
    }
}

/* "0-3, 8": the harts of a node. */
static void put_harts_of(const struct config *c, uint32_t node, FILE *out)
{
    const char *separator = "";

    fputs("    harts: [", out);
    for (uint32_t i = 0, last; i < c->smp; i = last + 1) {
        last = i;
        if (c->numa.hart_node[i] != node)
            continue;
        while (last + 1 < c->smp && c->numa.hart_node[last + 1] == node)
            last++;
        fprintf(out, last > i ? "%s\"%" PRIu32 "-%" PRIu32 "\"" : "%s%" PRIu32, separator, i, last);
        separator = ", ";
    }
    fputs("]\n", out);
}

static void put_numa(const struct config *c, FILE *out)
{
    const struct config_numa *n = &c->numa;

    if (n->nr_nodes)
        fputs("numa:\n", out);
    for (uint32_t node = 0; node < n->nr_nodes; node++) {
        fprintf(out, "  - node: %" PRIu32 "\n", node);
        put_harts_of(c, node, out);
        for (unsigned i = 0; i < n->nr_ram; i++)
            if (n->ram[i].node == node)
                fprintf(out, "    memory: %" PRIu64 "\n", n->ram[i].size);
        fputs("    distance: [", out);
        for (uint32_t to = 0; to < n->nr_nodes; to++)
            fprintf(out, "%s%u", to ? ", " : "", n->distance[node * n->nr_nodes + to]);
        fputs("]\n", out);
    }
}

static void put_devices(const struct config *c, FILE *out)
{
    put_drives(c, out);
    put_nets(c, out);
    if (c->nr_serials)
        fputs("serial:\n", out);
    for (unsigned i = 0; i < c->nr_serials; i++) {
        fputs("  - ", out);
        put_quoted(out, c->serial[i]);
        fputc('\n', out);
    }
    put_string(out, "", "virtconsole", c->virtconsole);
    if (c->rng)
        fprintf(out, "rng: %s\n", bus_name(c->rng_bus));
    put_eventfd(out, "rng_ioeventfd", c->rng_eventfd);
}

static void put_harts_per_rank(const struct config *c, FILE *out)
{
    for (unsigned i = 0; i < c->nr_harts_per_rank; i++)
        fprintf(out, "%s%" PRIu32 "%s", i ? ", " : "harts_per_rank: [", c->harts_per_rank[i],
                i + 1 < c->nr_harts_per_rank ? "" : "]\n");
}

static void put_checkpoint(const struct config *c, FILE *out)
{
    const struct config_checkpoint *k = &c->checkpoint;

    put_string(out, "", "control", c->control);
    if (!k->dir)
        return;
    fputs("checkpoint:\n", out);
    put_string(out, "  ", "dir", k->dir);
    fprintf(out, "  every_ns: %" PRIu64 "\n  keep: %" PRIu32 "\n  incremental: %s\n", k->every_ns,
            k->keep, k->incremental ? "true" : "false");
}

static void put_tools(const struct config_tools *t, FILE *out)
{
    if (t->nr_symbols)
        fputs("symbols:\n", out);
    for (unsigned i = 0; i < t->nr_symbols; i++) {
        put_string(out, "  - ", "file", t->symbols[i].file);
        fprintf(out, "    base: %#" PRIx64 "\n", t->symbols[i].bias);
    }
    if (t->nr_traces)
        fputs("traces:\n", out);
    for (unsigned i = 0; i < t->nr_traces; i++) {
        fputs("  - ", out);
        put_quoted(out, t->traces[i]);
        fputc('\n', out);
    }
    if (t->nr_plugins)
        fputs("plugins:\n", out);
    for (unsigned i = 0; i < t->nr_plugins; i++) {
        put_string(out, "  - ", "file", t->plugins[i].file);
        if (t->plugins[i].nr_arguments)
            fputs("    arguments:\n", out);
        for (unsigned j = 0; j < t->plugins[i].nr_arguments; j++) {
            fputs("      - ", out);
            put_quoted(out, t->plugins[i].argument[j]);
            fputc('\n', out);
        }
    }
    put_flag(out, "perfmap", t->perf_map);
    put_flag(out, "jitdump", t->jitdump);
}

void config_dump(const struct config *c, FILE *out)
{
    const struct {
        const char *key, *value;
    } boot[] = {{"cpu", c->cpu},       {"dtb", c->dtb},       {"bios", c->bios},
                {"kernel", c->kernel}, {"initrd", c->initrd}, {"append", c->append}};

    fprintf(out, "machine: %s\n", c->dtb ? "dtb" : c->own_apics ? "virt-x86,kernel-irqchip=off" : c->irqfd ? "virt-x86,irqfd=on" : c->x86 ? "virt-x86" : "virt");
    fprintf(out, "smp: %" PRIu32 "\nmemory: %" PRIu64 "\n", c->smp, c->memory);
    for (size_t i = 0; i < SIM_ARRAY_LEN(boot); i++)
        put_string(out, "", boot[i].key, boot[i].value);
    put_numa(c, out);
    put_flag(out, "demo", c->demo);
    put_devices(c, out);
    fprintf(out, "accel: %s\n", c->kvm ? "kvm" : c->jit ? "jit" : "interp");
    if (c->jit_tier)
        fprintf(out, "tier: %s\n", accel_tier_name(c->jit_tier));
    if (c->jit_threshold)
        fprintf(out, "threshold: %" PRIu32 "\n", c->jit_threshold);
    if (c->jit_hot)
        fprintf(out, "hot: %" PRIu32 "\n", c->jit_hot);
    fprintf(out, "clock: %s\n", c->virtual_clock ? "virtual" : "host");
    fprintf(out, "threads: %u\n", c->threads);
    fprintf(out, "ranks: %u\n", c->ranks ? c->ranks : 1);
    if (c->message_seed)
        fprintf(out, "message_seed: %u\nmessage_delay_ns: %" PRIu64 "\n", c->message_seed, c->message_delay_ns);
    put_harts_per_rank(c, out);
    if (!c->rebalance)
        fprintf(out, "rebalance: %s\n", c->rehome ? "homes" : "false");
    if (c->bind != CONFIG_BIND_AUTO)
        fprintf(out, "bind: %s\n", c->bind == CONFIG_BIND_ON ? "true" : "false");
    if (c->timeout_ns)
        fprintf(out, "timeout_ns: %" PRIu64 "\n", c->timeout_ns);
    put_string(out, "", "expect", c->expect);
    put_checkpoint(c, out);
    put_tools(&c->tools, out);
    put_flag(out, "state_hash", c->state_hash);
    put_flag(out, "stats", c->stats);
    put_flag(out, "no_reboot", c->no_reboot);
}

const char *config_broken_rule(const struct config_rule *rule, size_t nr)
{
    for (size_t i = 0; i < nr; i++)
        if (rule[i].wrong)
            return rule[i].why;
    return NULL;
}
