/* YAML -> machines: their names and words. */
#include "cluster_file.h"

#include <stdbool.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <yaml.h>

#include "sim-core/alloc.h"
#include "sim-core/log.h"

struct reader {
    const char *path;
    yaml_document_t doc;
    struct cluster_file *out;
};

static enum sim_status wrong(const struct reader *r, const yaml_node_t *at, const char *what)
{
    sim_error("cluster file '%s', line %zu: %s", r->path, at ? at->start_mark.line + 1 : 1, what);
    return SIM_ERR_FORMAT;
}

/* NULL: no scalar. */
static const char *scalar(const yaml_node_t *n)
{
    return n && n->type == YAML_SCALAR_NODE ? (const char *)n->data.scalar.value : NULL;
}

/* --- words --- */

static void add_word(struct cluster_machine *m, char *word)
{
    m->word = sim_realloc(m->word, (size_t)(m->nr_words + 1) * sizeof m->word[0]);
    m->word[m->nr_words++] = word;
}

/* One word of *at, as a shell would take it but for variables and the like; NULL: a quote is open. */
static char *next_word(const char **at)
{
    char *word = sim_zalloc(strlen(*at) + 1), quote = 0;
    size_t len = 0;

    for (; **at && (quote || !strchr(" \t\n", **at)); ++*at) {
        if (**at == quote)
            quote = 0;
        else if (!quote && (**at == '"' || **at == '\''))
            quote = **at;
        else
            word[len++] = **at;
    }
    if (!quote)
        return word;
    sim_free(word);
    return NULL;
}

static enum sim_status split(struct reader *r, const yaml_node_t *n, struct cluster_machine *m)
{
    for (const char *at = scalar(n); *(at += strspn(at, " \t\n"));) {
        char *word = next_word(&at);
        if (!word)
            return wrong(r, n, "a quote is not closed");
        add_word(m, word);
    }
    return SIM_OK;
}

static enum sim_status list(struct reader *r, const yaml_node_t *n, struct cluster_machine *m)
{
    for (const yaml_node_item_t *i = n->data.sequence.items.start; i < n->data.sequence.items.top; i++) {
        const yaml_node_t *word = yaml_document_get_node(&r->doc, *i);
        if (!scalar(word))
            return wrong(r, word, "a machine's words are texts");
        add_word(m, sim_strdup(scalar(word)));
    }
    return SIM_OK;
}

/* --- machines --- */

static struct cluster_machine *find(const struct cluster_file *f, const char *name)
{
    for (unsigned i = 0; i < f->nr_machines; i++)
        if (strcmp(f->machine[i].name, name) == 0)
            return &f->machine[i];
    return NULL;
}

static enum sim_status read_machine(struct reader *r, const yaml_node_t *key, const yaml_node_t *value)
{
    struct cluster_file *f = r->out;
    const char *name = scalar(key);

    if (!name || !*name)
        return wrong(r, key, "a machine needs a name");
    if (find(f, name))
        return wrong(r, key, "two machines have this name");
    f->machine = sim_realloc(f->machine, (f->nr_machines + 1) * sizeof f->machine[0]);
    struct cluster_machine *m = &f->machine[f->nr_machines++];
    *m = (struct cluster_machine){.name = sim_strdup(name)};
    if (scalar(value))
        return split(r, value, m);
    if (value && value->type == YAML_SEQUENCE_NODE)
        return list(r, value, m);
    return wrong(r, key, "a machine is the words of `partita run`: a text, or a list");
}

static enum sim_status read_machines(struct reader *r, const yaml_node_t *key, const yaml_node_t *value)
{
    if (!value || value->type != YAML_MAPPING_NODE)
        return wrong(r, key, "'machines' is a mapping: NAME: WORDS");
    for (const yaml_node_pair_t *p = value->data.mapping.pairs.start; p < value->data.mapping.pairs.top; p++)
        SIM_TRY(read_machine(r, yaml_document_get_node(&r->doc, p->key), yaml_document_get_node(&r->doc, p->value)));
    return SIM_OK;
}

static enum sim_status read_until(struct reader *r, const yaml_node_t *key, const yaml_node_t *value)
{
    if (!scalar(value))
        return wrong(r, key, "'until' is the name of the machine whose end is that of all");
    sim_free(r->out->until);
    r->out->until = sim_strdup(scalar(value));
    return SIM_OK;
}

/* --- segments --- */

struct unit {
    const char *name;
    double factor;
};

/* A number not below 0 with one of the units, up to `max` when multiplied. */
static bool read_scaled(const char *text, const struct unit *unit, double max, double *out)
{
    char *end;

    if (!text || !strchr("0123456789.", *text))
        return false;
    double v = strtod(text, &end);
    for (; unit->name; unit++) {
        if (end != text && strcmp(end, unit->name) == 0 && v >= 0 && v * unit->factor <= max) {
            *out = v * unit->factor;
            return true;
        }
    }
    return false;
}

static enum sim_status read_latency(struct reader *r, const yaml_node_t *value, struct cluster_segment *s)
{
    static const struct unit units[] = {{"ns", 1}, {"us", 1e3}, {"ms", 1e6}, {"s", 1e9}, {NULL, 0}};
    double ns;

    if (!read_scaled(scalar(value), units, 60e9, &ns))
        return wrong(r, value, "a latency is a number with ns, us, ms or s, at most 60s");
    s->latency_ns = (uint64_t)ns;
    return SIM_OK;
}

static enum sim_status read_loss(struct reader *r, const yaml_node_t *value, struct cluster_segment *s)
{
    static const struct unit units[] = {{"%", 1e4}, {NULL, 0}};
    double ppm;

    if (!read_scaled(scalar(value), units, 1e6, &ppm))
        return wrong(r, value, "a loss is a number from 0 to 100 with a %");
    s->loss_ppm = (uint32_t)(ppm + 0.5);
    return SIM_OK;
}

static const struct {
    const char *key;
    enum sim_status (*read)(struct reader *r, const yaml_node_t *value, struct cluster_segment *s);
} link_parts[] = {{"latency", read_latency}, {"loss", read_loss}};

static enum sim_status read_link_part(struct reader *r, const yaml_node_pair_t *p, struct cluster_segment *s)
{
    const yaml_node_t *key = yaml_document_get_node(&r->doc, p->key);

    for (size_t i = 0; scalar(key) && i < SIM_ARRAY_LEN(link_parts); i++)
        if (strcmp(scalar(key), link_parts[i].key) == 0)
            return link_parts[i].read(r, yaml_document_get_node(&r->doc, p->value), s);
    return wrong(r, key, "a segment has 'latency' and 'loss'");
}

static enum sim_status read_segment(struct reader *r, const yaml_node_t *key, const yaml_node_t *value)
{
    struct cluster_file *f = r->out;

    if (!scalar(key) || !*scalar(key))
        return wrong(r, key, "a segment needs a name");
    for (unsigned i = 0; i < f->nr_segments; i++)
        if (strcmp(f->segment[i].name, scalar(key)) == 0)
            return wrong(r, key, "two segments have this name");
    if (!value || value->type != YAML_MAPPING_NODE)
        return wrong(r, key, "a segment is a mapping: {latency: 50us, loss: 0.1%}");
    f->segment = sim_realloc(f->segment, (f->nr_segments + 1) * sizeof f->segment[0]);
    struct cluster_segment *s = &f->segment[f->nr_segments++];
    *s = (struct cluster_segment){.name = sim_strdup(scalar(key)), .line = key->start_mark.line + 1};
    for (const yaml_node_pair_t *p = value->data.mapping.pairs.start; p < value->data.mapping.pairs.top; p++)
        SIM_TRY(read_link_part(r, p, s));
    return SIM_OK;
}

static enum sim_status read_segments(struct reader *r, const yaml_node_t *key, const yaml_node_t *value)
{
    if (!value || value->type != YAML_MAPPING_NODE)
        return wrong(r, key, "'segments' is a mapping: NAME: {latency: 50us, loss: 0.1%}");
    for (const yaml_node_pair_t *p = value->data.mapping.pairs.start; p < value->data.mapping.pairs.top; p++)
        SIM_TRY(read_segment(r, yaml_document_get_node(&r->doc, p->key), yaml_document_get_node(&r->doc, p->value)));
    return SIM_OK;
}

static enum sim_status read_seed(struct reader *r, const yaml_node_t *key, const yaml_node_t *value)
{
    const char *text = scalar(value);
    char *end = NULL;

    errno = 0;
    if (text && *text >= '0' && *text <= '9')
        r->out->seed = strtoull(text, &end, 0);
    return end && !*end && !errno ? SIM_OK : wrong(r, key, "'seed' is a number of 64 bits");
}

static const struct {
    const char *key;
    enum sim_status (*read)(struct reader *r, const yaml_node_t *key, const yaml_node_t *value);
} parts[] = {
    {"machines", read_machines}, {"until", read_until}, {"segments", read_segments}, {"seed", read_seed}};

static enum sim_status read_part(struct reader *r, const yaml_node_pair_t *p)
{
    const yaml_node_t *key = yaml_document_get_node(&r->doc, p->key);

    for (size_t i = 0; scalar(key) && i < SIM_ARRAY_LEN(parts); i++)
        if (strcmp(scalar(key), parts[i].key) == 0)
            return parts[i].read(r, key, yaml_document_get_node(&r->doc, p->value));
    return wrong(r, key, "there are 'machines', 'segments', 'seed' and 'until'");
}

static enum sim_status read_document(struct reader *r)
{
    const yaml_node_t *root = yaml_document_get_root_node(&r->doc);

    if (!root || root->type != YAML_MAPPING_NODE)
        return wrong(r, root, "a cluster is a mapping with 'machines'");
    for (const yaml_node_pair_t *p = root->data.mapping.pairs.start; p < root->data.mapping.pairs.top; p++)
        SIM_TRY(read_part(r, p));
    if (!r->out->nr_machines)
        return wrong(r, root, "there is no machine in it");
    if (r->out->until && !find(r->out, r->out->until))
        return wrong(r, root, "'until' names no machine of the file");
    return SIM_OK;
}

static enum sim_status parse(struct reader *r, FILE *file)
{
    enum sim_status status = SIM_ERR_FORMAT;
    yaml_parser_t parser;

    if (!yaml_parser_initialize(&parser))
        return SIM_ERR_NOMEM;
    yaml_parser_set_input_file(&parser, file);
    if (!yaml_parser_load(&parser, &r->doc)) {
        sim_error("cluster file '%s', line %zu: %s", r->path, parser.problem_mark.line + 1,
                  parser.problem ? parser.problem : "is no YAML");
    } else {
        status = read_document(r);
        yaml_document_delete(&r->doc);
    }
    yaml_parser_delete(&parser);
    return status;
}

enum sim_status cluster_file_read(const char *path, struct cluster_file *out)
{
    struct reader r = {.path = path, .out = out};
    FILE *file = fopen(path, "re");

    *out = (struct cluster_file){0};
    if (!file) {
        sim_error("cluster file '%s': %m", path);
        return SIM_ERR_IO;
    }
    enum sim_status status = parse(&r, file);
    fclose(file);
    if (status != SIM_OK)
        cluster_file_fini(out);
    return status;
}

void cluster_file_fini(struct cluster_file *f)
{
    for (unsigned i = 0; i < f->nr_machines; i++) {
        struct cluster_machine *m = &f->machine[i];
        for (int n = 0; n < m->nr_words; n++)
            sim_free(m->word[n]);
        sim_free(m->word);
        sim_free(m->name);
    }
    for (unsigned i = 0; i < f->nr_segments; i++)
        sim_free(f->segment[i].name);
    sim_free(f->segment);
    sim_free(f->machine);
    sim_free(f->until);
    *f = (struct cluster_file){0};
}
