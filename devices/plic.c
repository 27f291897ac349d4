/* PLIC: external interrupts, from up to 1023 sources to contexts (a hart's M or S mode).
 * RISC-V Platform-Level Interrupt Controller Specification 1.0.0.
 *
 *   line high -> gateway: pending (unless in service) -> enabled at a context, above its threshold
 *   -> the context's line high -> guest reads claim: pending off, in service -> guest writes
 * complete: gateway open again, pending at once if the line is still high
 *
 * What makes claim and line changes cheap: for each priority a bit set of its sources, so the best
 * pending source of a context is a few AND operations; for each source a bit set of the contexts
 * that enable it, so an edge looks at those only.
 *
 * Locks: SIM_RANK_IRQCHIP, because devices drive lines under their own lock. Output lines are
 * driven under it too; they lead to harts. */
#include <string.h>

#include "dev_priv.h"

enum {
    PLIC_MAX_SOURCES = 1024, /* with source 0, which does not exist */
    PLIC_MAX_CONTEXTS = 15872,
    PLIC_MAX_PRIORITY = 7,
    SOURCE_WORDS = PLIC_MAX_SOURCES / 64,

    PLIC_PENDING = 0x1000,
    PLIC_ENABLE = 0x2000,
    PLIC_ENABLE_STRIDE = 0x80,
    PLIC_ENABLE_END = 0x1f2000,
    PLIC_CONTEXT = 0x200000,
    PLIC_CONTEXT_STRIDE = 0x1000,
    CONTEXT_THRESHOLD = 0,
    CONTEXT_CLAIM = 4
};

struct plic_context {
    uint64_t enable[SOURCE_WORDS];
    uint32_t threshold;
    uint8_t high; /* level of irq */
    struct irq_line irq;
};

/* Owner: `lock`. Lifetime: the machine's. */
struct plic {
    struct device dev;
    struct mem_region region;
    struct sim_mutex lock;
    uint32_t nr_sources; /* with source 0 */
    uint32_t nr_contexts;
    struct plic_context *context;

    uint64_t level[SOURCE_WORDS]; /* input lines */
    uint64_t pending[SOURCE_WORDS];
    uint64_t claimed[SOURCE_WORDS]; /* in service: the gateway is shut */
    uint8_t priority[PLIC_MAX_SOURCES];

    /* derived */
    uint64_t of_priority[PLIC_MAX_PRIORITY + 1][SOURCE_WORDS];
    uint32_t context_words;
    uint64_t *enabled_at; /* [nr_sources][context_words] */
};

static bool bit_get(const uint64_t *set, uint32_t n)
{
    return set[n / 64] >> (n % 64) & 1;
}

static void bit_put(uint64_t *set, uint32_t n, bool value)
{
    uint64_t bit = 1ull << (n % 64);

    set[n / 64] = value ? set[n / 64] | bit : set[n / 64] & ~bit;
}

/* The pending, enabled source of the highest priority above the threshold; the lowest number wins
 * among equals; 0 = none. */
static uint32_t best_source(const struct plic *p, const struct plic_context *c)
{
    unsigned words = (p->nr_sources + 63) / 64;

    for (uint32_t prio = PLIC_MAX_PRIORITY; prio > c->threshold; prio--) {
        for (unsigned w = 0; w < words; w++) {
            uint64_t hit = p->pending[w] & c->enable[w] & p->of_priority[prio][w];
            if (hit)
                return w * 64 + (uint32_t)__builtin_ctzll(hit);
        }
    }
    return 0;
}

static void update_context(struct plic *p, struct plic_context *c)
{
    bool high = best_source(p, c) != 0;

    if (high == c->high)
        return;
    c->high = high;
    irq_set(&c->irq, high);
}

static uint64_t *contexts_of(struct plic *p, uint32_t source)
{
    return p->enabled_at + (size_t)source * p->context_words;
}

/* Something about `source` has changed: looks at the contexts that enable it. */
static void update_source(struct plic *p, uint32_t source)
{
    const uint64_t *set = contexts_of(p, source);

    for (uint32_t w = 0; w < p->context_words; w++)
        for (uint64_t left = set[w]; left; left &= left - 1)
            update_context(p, &p->context[w * 64 + (uint32_t)__builtin_ctzll(left)]);
}

/* --- gateways --- */

static void set_pending(struct plic *p, uint32_t source, bool pending)
{
    bit_put(p->pending, source, pending);
    update_source(p, source);
}

static void plic_line(void *opaque, uint32_t source, bool level)
{
    struct plic *p = opaque;

    sim_mutex_lock(&p->lock);
    if (level != bit_get(p->level, source)) {
        bit_put(p->level, source, level);
        /* A request once made stays, even if the line falls before the claim. */
        if (level && !bit_get(p->claimed, source) && !bit_get(p->pending, source))
            set_pending(p, source, true);
    }
    sim_mutex_unlock(&p->lock);
}

static uint32_t claim(struct plic *p, struct plic_context *c)
{
    uint32_t source = best_source(p, c);

    if (source) {
        bit_put(p->claimed, source, true);
        set_pending(p, source, false);
    }
    return source;
}

/* Ignored for a source that is not enabled at this context (spec chapter 9). */
static void complete(struct plic *p, struct plic_context *c, uint32_t source)
{
    if (source >= p->nr_sources || !bit_get(c->enable, source) || !bit_get(p->claimed, source))
        return;
    bit_put(p->claimed, source, false);
    if (bit_get(p->level, source))
        set_pending(p, source, true);
}

/* --- registers --- */

static void set_priority(struct plic *p, uint32_t source, uint32_t priority)
{
    bit_put(p->of_priority[p->priority[source]], source, false);
    p->priority[source] = priority & PLIC_MAX_PRIORITY;
    bit_put(p->of_priority[p->priority[source]], source, true);
    update_source(p, source);
}

/* The bits of 32-bit word `word` of a set that belong to sources which exist. */
static uint32_t source_mask(const struct plic *p, uint32_t word)
{
    uint32_t first = word * 32;
    uint32_t mask = first >= p->nr_sources        ? 0
                    : p->nr_sources - first >= 32 ? UINT32_MAX
                                                  : (1u << (p->nr_sources - first)) - 1;

    return word ? mask : mask & ~1u;
}

static uint32_t word_get(const uint64_t *set, uint32_t word)
{
    return (uint32_t)(set[word / 2] >> (word % 2) * 32);
}

static void write_enable(struct plic *p, uint32_t context, uint32_t word, uint32_t value)
{
    struct plic_context *c = &p->context[context];
    uint32_t old = word_get(c->enable, word);

    value &= source_mask(p, word);
    for (uint32_t changed = old ^ value; changed; changed &= changed - 1) {
        uint32_t bit = (uint32_t)__builtin_ctz(changed), source = word * 32 + bit;
        bit_put(c->enable, source, value >> bit & 1);
        bit_put(contexts_of(p, source), context, value >> bit & 1);
    }
    update_context(p, c);
}

/* A register address taken apart. */
enum plic_reg { PLIC_R_NONE, PLIC_R_PRIORITY, PLIC_R_PENDING, PLIC_R_ENABLE, PLIC_R_CONTEXT };

static enum plic_reg decode(const struct plic *p, uint64_t offset, uint32_t *index, uint32_t *word)
{
    if (offset < PLIC_PENDING) {
        *word = (uint32_t)(offset / 4);
        return *word < p->nr_sources ? PLIC_R_PRIORITY : PLIC_R_NONE;
    }
    if (offset < PLIC_PENDING + PLIC_ENABLE_STRIDE) {
        *word = (uint32_t)(offset - PLIC_PENDING) / 4;
        return PLIC_R_PENDING;
    }
    if (offset >= PLIC_ENABLE && offset < PLIC_ENABLE_END) {
        *index = (uint32_t)(offset - PLIC_ENABLE) / PLIC_ENABLE_STRIDE;
        *word = (uint32_t)(offset - PLIC_ENABLE) % PLIC_ENABLE_STRIDE / 4;
        return *index < p->nr_contexts ? PLIC_R_ENABLE : PLIC_R_NONE;
    }
    if (offset >= PLIC_CONTEXT) {
        uint64_t context = (offset - PLIC_CONTEXT) / PLIC_CONTEXT_STRIDE;
        if (context >= p->nr_contexts)
            return PLIC_R_NONE;
        *index = (uint32_t)context;
        *word = (uint32_t)(offset % PLIC_CONTEXT_STRIDE);
        return PLIC_R_CONTEXT;
    }
    return PLIC_R_NONE;
}

static uint32_t read_context(struct plic *p, struct plic_context *c, uint32_t reg)
{
    switch (reg) {
    case CONTEXT_THRESHOLD:
        return c->threshold;
    case CONTEXT_CLAIM:
        return claim(p, c);
    default:
        return 0;
    }
}

static void write_context(struct plic *p, struct plic_context *c, uint32_t reg, uint32_t value)
{
    switch (reg) {
    case CONTEXT_THRESHOLD:
        c->threshold = value & PLIC_MAX_PRIORITY;
        update_context(p, c);
        break;
    case CONTEXT_CLAIM:
        complete(p, c, value);
        break;
    }
}

/* Words of the layout that have no register read as zero and ignore writes (spec chapter 3). */
static bool plic_read(void *opaque, uint64_t offset, unsigned size, uint64_t *value)
{
    struct plic *p = opaque;
    uint32_t index = 0, word = 0;

    if (size != 4)
        return false;
    *value = 0;
    sim_mutex_lock(&p->lock);
    switch (decode(p, offset, &index, &word)) {
    case PLIC_R_PRIORITY:
        *value = p->priority[word];
        break;
    case PLIC_R_PENDING:
        *value = word_get(p->pending, word);
        break;
    case PLIC_R_ENABLE:
        *value = word_get(p->context[index].enable, word);
        break;
    case PLIC_R_CONTEXT:
        *value = read_context(p, &p->context[index], word);
        break;
    case PLIC_R_NONE:
        break;
    }
    sim_mutex_unlock(&p->lock);
    return true;
}

static bool plic_write(void *opaque, uint64_t offset, unsigned size, uint64_t value)
{
    struct plic *p = opaque;
    uint32_t index = 0, word = 0;

    if (size != 4)
        return false;
    sim_mutex_lock(&p->lock);
    switch (decode(p, offset, &index, &word)) {
    case PLIC_R_PRIORITY:
        if (word)
            set_priority(p, word, (uint32_t)value);
        break;
    case PLIC_R_ENABLE:
        write_enable(p, index, word, (uint32_t)value);
        break;
    case PLIC_R_CONTEXT:
        write_context(p, &p->context[index], word, (uint32_t)value);
        break;
    case PLIC_R_PENDING: /* read-only */
    case PLIC_R_NONE:
        break;
    }
    sim_mutex_unlock(&p->lock);
    return true;
}

static const struct mem_ops plic_mem_ops = {.read = plic_read, .write = plic_write, .max_size = 4};

/* --- life --- */

/* Computes everything derived and drives all outputs. */
static void rebuild(struct plic *p)
{
    memset(p->of_priority, 0, sizeof p->of_priority);
    memset(p->enabled_at, 0, (size_t)p->nr_sources * p->context_words * sizeof p->enabled_at[0]);
    for (uint32_t s = 1; s < p->nr_sources; s++)
        bit_put(p->of_priority[p->priority[s]], s, true);
    for (uint32_t i = 0; i < p->nr_contexts; i++) {
        struct plic_context *c = &p->context[i];
        for (uint32_t w = 0; w < SOURCE_WORDS; w++)
            for (uint64_t left = c->enable[w]; left; left &= left - 1)
                bit_put(contexts_of(p, w * 64 + (uint32_t)__builtin_ctzll(left)), i, true);
        c->high = best_source(p, c) != 0;
        irq_set(&c->irq, c->high);
    }
}

/* Levels of sources that do not exist, from a broken image, would never go away. */
static void drop_unreal_levels(struct plic *p)
{
    for (uint32_t word = 0; word < SOURCE_WORDS * 2; word++)
        p->level[word / 2] &= ~((uint64_t)~source_mask(p, word) << (word % 2) * 32);
}

/* The input levels stay: they belong to the devices. */
static void plic_reset(struct device *d)
{
    struct plic *p = (struct plic *)d;

    sim_mutex_lock(&p->lock);
    drop_unreal_levels(p);
    memset(p->pending, 0, sizeof p->pending);
    memset(p->claimed, 0, sizeof p->claimed);
    memset(p->priority, 0, sizeof p->priority);
    for (uint32_t i = 0; i < p->nr_contexts; i++) {
        memset(p->context[i].enable, 0, sizeof p->context[i].enable);
        p->context[i].threshold = 0;
    }
    rebuild(p);
    sim_mutex_unlock(&p->lock);
}

static void plic_destroy(struct device *d)
{
    struct plic *p = (struct plic *)d;

    sim_mutex_fini(&p->lock);
    sim_free(p->context);
    sim_free(p->enabled_at);
    sim_free(p);
}

static bool only_real_sources(const struct plic *p, const uint64_t *set)
{
    for (uint32_t word = 0; word < SOURCE_WORDS * 2; word++)
        if (word_get(set, word) & ~source_mask(p, word))
            return false;
    return true;
}

static bool state_is_possible(const struct plic *p)
{
    if (!only_real_sources(p, p->level) || !only_real_sources(p, p->pending) ||
        !only_real_sources(p, p->claimed))
        return false;
    for (uint32_t s = 0; s < PLIC_MAX_SOURCES; s++)
        if (p->priority[s] > (s && s < p->nr_sources ? PLIC_MAX_PRIORITY : 0))
            return false;
    for (uint32_t i = 0; i < p->nr_contexts; i++)
        if (!only_real_sources(p, p->context[i].enable) ||
            p->context[i].threshold > PLIC_MAX_PRIORITY)
            return false;
    return true;
}

static enum sim_status plic_post_load(void *object)
{
    struct plic *p = object;

    if (!state_is_possible(p)) {
        sim_error("saved state: '%s' has sources or priorities that do not exist", p->dev.label);
        return SIM_ERR_FORMAT;
    }
    sim_mutex_lock(&p->lock);
    rebuild(p);
    sim_mutex_unlock(&p->lock);
    return SIM_OK;
}

static const struct state_field plic_context_fields[] = {
    STATE_ARRAY(struct plic_context, STATE_U64, enable),
    STATE_SCALAR(struct plic_context, STATE_U32, threshold),
    STATE_END,
};
STATE_LAYOUT(plic_context, struct plic_context,
              STATE_DERIVED(struct plic_context, high) STATE_DERIVED(struct plic_context, irq));
static const struct state_desc plic_context_state = {
    .name = "plic-context", .version = 1, .fields = plic_context_fields,
    STATE_LAYOUT_OF(plic_context, struct plic_context)};
static const struct state_field plic_fields[] = {
    STATE_ARRAY(struct plic, STATE_U64, level),
    STATE_ARRAY(struct plic, STATE_U64, pending),
    STATE_ARRAY(struct plic, STATE_U64, claimed),
    STATE_ARRAY(struct plic, STATE_U8, priority),
    STATE_DYN_STRUCTS(struct plic, context, nr_contexts, &plic_context_state),
    STATE_END,
};
STATE_LAYOUT(plic, struct plic,
              STATE_DERIVED(struct plic, dev) STATE_DERIVED(struct plic, region)
              STATE_DERIVED(struct plic, lock) STATE_DERIVED(struct plic, nr_sources)
              STATE_DERIVED(struct plic, of_priority) STATE_DERIVED(struct plic, context_words)
              STATE_DERIVED(struct plic, enabled_at));
static const struct state_desc plic_state = {
    .name = "plic", .version = 1, .fields = plic_fields,
    STATE_LAYOUT_OF(plic, struct plic), .post_load = plic_post_load};
static const struct device_ops plic_ops = {
    .name = "plic", .reset = plic_reset, .destroy = plic_destroy, .state = &plic_state};

static enum sim_status check_args(const struct dev_args *args, uint32_t ndev)
{
    SIM_TRY(dev_need_regs(args, 1));
    if (!ndev || ndev >= PLIC_MAX_SOURCES) {
        sim_error("device '%s': riscv,ndev is %u; a PLIC has 1 to %u sources", args->label, ndev,
                  PLIC_MAX_SOURCES - 1);
        return SIM_ERR_RANGE;
    }
    if (args->nr_irq > PLIC_MAX_CONTEXTS ||
        PLIC_CONTEXT + (uint64_t)args->nr_irq * PLIC_CONTEXT_STRIDE > args->reg[0].size) {
        sim_error("device '%s': %u contexts do not fit in its registers of 0x%llx bytes",
                  args->label, args->nr_irq, (unsigned long long)args->reg[0].size);
        return SIM_ERR_RANGE;
    }
    return SIM_OK;
}

static enum sim_status plic_create(const struct dev_args *args, struct device **out)
{
    uint32_t ndev = dev_prop(args, "riscv,ndev", 0);

    SIM_TRY(check_args(args, ndev));
    struct plic *p = sim_new(struct plic);

    dev_init(&p->dev, &plic_ops, args);
    sim_mutex_init(&p->lock, SIM_RANK_IRQCHIP);
    p->nr_sources = ndev + 1;
    p->nr_contexts = args->nr_irq;
    p->context = sim_new_array(struct plic_context, p->nr_contexts);
    p->context_words = (p->nr_contexts + 63) / 64;
    p->enabled_at = sim_new_array(uint64_t, (size_t)p->nr_sources * p->context_words);
    for (uint32_t i = 0; i < p->nr_contexts; i++)
        p->context[i].irq = args->irq[i];
    for (uint32_t s = 1; s < p->nr_sources; s++)
        bit_put(p->of_priority[0], s, true);
    enum sim_status status = dev_map(&p->region, &p->dev, args, 0, &plic_mem_ops);
    if (status != SIM_OK) {
        dev_destroy(&p->dev);
        return status;
    }
    *out = &p->dev;
    return SIM_OK;
}

static struct irq_line plic_input(struct device *d, uint32_t number)
{
    struct plic *p = (struct plic *)d;

    if (!number || number >= p->nr_sources)
        return (struct irq_line){0};
    return (struct irq_line){.set = plic_line, .opaque = p, .number = number};
}

static const char *const plic_compatible[] = {"sifive,plic-1.0.0", "riscv,plic0", NULL};
const struct dev_driver plic_driver = {
    .compatible = plic_compatible, .create = plic_create, .input = plic_input};
