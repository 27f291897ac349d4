/* What a command line says of a machine on several ranks: facts that must be the same for all of them, and options that
 * mean nothing on as many ranks as there are. */
#include "rank_facts.h"

#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>
#include <xxhash.h>

#include "sim-core/alloc.h"
#include "sim-core/log.h"

/* --- facts --- */

struct facts {
    struct ic_fact *fact;
    unsigned nr;
};

/* What is too long to be told is told by its beginning and a hash. */
static void add(struct facts *f, const char *name, const char *value)
{
    enum { TOLD = 20 };
    struct ic_fact *fact = &f->fact[f->nr++];
    size_t len = strlen(value);

    SIM_BUG_ON(f->nr > RANK_FACTS, "%u facts", f->nr);
    fact->name = name;
    if (len < sizeof fact->value)
        memcpy(fact->value, value, len + 1);
    else
        snprintf(fact->value, sizeof fact->value, "%.*s... (%u bytes, hash %016" PRIx64 ")", TOLD, value, (unsigned)len,
                 XXH3_64bits(value, len));
}

static void add_text(struct facts *f, const char *name, const char *value)
{
    add(f, name, value ? value : "nothing"); /* "none" is a word of theirs */
}

static void add_number(struct facts *f, const char *name, uint64_t value, const char *unit)
{
    char text[40];

    snprintf(text, sizeof text, "%" PRIu64 "%s", value, unit);
    add(f, name, text);
}

static bool hash_file(int fd, uint64_t *size, uint64_t *hash)
{
    enum { CHUNK = 1 << 20 };
    XXH3_state_t *state = XXH3_createState();
    uint8_t *buf = sim_zalloc(CHUNK);
    ssize_t n;

    *size = 0;
    XXH3_64bits_reset(state);
    while ((n = read(fd, buf, CHUNK)) > 0) {
        XXH3_64bits_update(state, buf, (size_t)n);
        *size += (uint64_t)n;
    }
    *hash = XXH3_64bits_digest(state);
    sim_free(buf);
    XXH3_freeState(state);
    return n == 0;
}

/* The files' contents must agree, not their names: hosts mount them where they like. What the first rank cannot
 * read it says when it loads. */
static void add_file(struct facts *f, const char *name, const char *path)
{
    int fd = path ? open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK) : -1;
    uint64_t size, hash;
    char text[80];

    if (fd >= 0 && hash_file(fd, &size, &hash))
        snprintf(text, sizeof text, "%" PRIu64 " bytes with the hash %016" PRIx64, size, hash);
    else
        snprintf(text, sizeof text, path ? "none that can be read" : "none");
    add(f, name, text);
    if (fd >= 0)
        close(fd);
}

static void add_harts_per_rank(struct facts *f, const struct config *c)
{
    char *text = sim_strdup(c->nr_harts_per_rank ? "" : "nothing");

    for (unsigned i = 0; i < c->nr_harts_per_rank; i++) {
        char *longer = sim_asprintf("%s%s%" PRIu32, text, i ? "," : "", c->harts_per_rank[i]);
        sim_free(text);
        text = longer;
    }
    add(f, "-harts-per-rank", text);
    sim_free(text);
}

/* What the plan, which each rank makes for itself, follows from. */
static void add_placement(struct facts *f, const struct config *c)
{
    add_harts_per_rank(f, c);
    add_number(f, "-threads", c->threads, "");
    add_text(f, "-bind", config_binds(c) ? "on" : "off");
    add_text(f, "-rebalance", c->rebalance ? "on" : c->rehome ? "homes" : "off");
    add_text(f, "-clock", c->virtual_clock ? "virtual" : "host");
}

static void add_machine(struct facts *f, const struct config *c)
{
    add_text(f, "-machine", c->x86 ? "virt-x86" : "virt");
    add_number(f, "-smp", c->smp, "");
    add_number(f, "-m", c->memory >> 10, " KiB");
    add_text(f, "-cpu", c->cpu);
    add_text(f, "-bios", c->bios);
    add_text(f, "-append", c->append);
    add_file(f, "kernel file", c->kernel);
    add_file(f, "initrd file", c->initrd);
    add_file(f, "device tree file", c->dtb);
}

unsigned rank_facts(const struct config *c, struct ic_fact fact[RANK_FACTS])
{
    struct facts f = {.fact = fact};

    if (c->tree.fdt) /* a restored machine needs none of the files that it began with */
        add_text(&f, "image", c->tree.image);
    else
        add_machine(&f, c);
    add_placement(&f, c);
    return f.nr;
}

/* --- options --- */

enum sim_status rank_options_check(const struct config *c, uint32_t nr_ranks, bool loud)
{
    const struct config_rule rules[] = {
        {c->virtual_clock && nr_ranks, "--clock virtual counts the instructions of one thread: it needs a run on one rank, without mpirun"},
        {c->state_hash && nr_ranks, "--state-hash is of a machine alone, without ranks: the state of several is in no place at one time"},
        {c->bind == CONFIG_BIND_ON && !nr_ranks, "-bind on is for ranks (--ranks N, or mpirun): the threads of a machine alone are not bound"},
        {c->nr_harts_per_rank > 1 && !nr_ranks, "-harts-per-rank: there is only one rank (--ranks N, or mpirun, makes more)"},
    };

    const char *why = config_broken_rule(rules, SIM_ARRAY_LEN(rules));

    if (!why)
        return SIM_OK;
    if (loud)
        sim_error("%s", why);
    return SIM_ERR_UNSUPPORTED;
}
