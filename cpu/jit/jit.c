/* The engine: runs translated code where there is some, interprets and counts where there is none.
 *
 *   jit_run: { look up pc -> enter code -> why did it leave? | interpret a block, count, translate } */
#include "jit.h"

#include <string.h>

#include "jit_priv.h"
#include "mem.h"
#include "observe.h"
#include "sim-core/alloc.h"
#include "sim-core/log.h"

/* --- creation --- */

static enum rv_jit_tier known_tier(enum rv_jit_tier tier)
{
    return tier == RV_JIT_DEFAULT ? PARTITA_DEFAULT_TIER : tier;
}

enum sim_status jit_create(struct rv_machine *m, uint64_t cache_bytes, struct jit **out)
{
    struct jit *jit = sim_new(struct jit);
    struct ir_target target;

    jit->machine = m;
    jit->sim = m->sim;
    jit->space = m->space;
    jit->threshold = m->config.jit_threshold ? m->config.jit_threshold : PARTITA_DEFAULT_THRESHOLD;
    jit->hot = m->config.jit_hot ? m->config.jit_hot : PARTITA_DEFAULT_HOT;
    jit->options.tier = known_tier(m->config.jit_tier);
    enum sim_status status =
        jit_cache_create(&jit->cache, cache_bytes ? cache_bytes : DEFAULT_CACHE_BYTES);
    if (status != SIM_OK) {
        sim_free(jit);
        return status;
    }
    jit_fill_target(&target);
    jit->host = ir_host_create(&jit->cache, &target, 0);
    sim_mutex_init(&jit->lock, SIM_RANK_JIT);
    sim_mutex_init(&jit->registry, SIM_RANK_LEAF);
    jit_translator_init(&jit->translator, &jit->cache);
    jit->quick = sim_zalloc_read_first(QUICK_SETS * sizeof *jit->quick);
    if (jit->options.tier == RV_JIT_AUTO)
        jit_tier_create(jit);
    mem_set_code_ops(m->space, &jit_code_ops, jit);
    *out = jit;
    return SIM_OK;
}

void jit_destroy(struct jit *jit)
{
    if (!jit)
        return;
    mem_set_code_ops(jit->space, NULL, NULL);
    jit_tier_destroy(jit);
    jit_registry_clear(jit);
    for (uint32_t n = 0; n < jit->machine->nr_harts; n++) {
        sim_free(jit->machine->harts[n]->jit);
        jit->machine->harts[n]->jit = NULL;
    }
    ir_host_destroy(jit->host);
    jit_cache_destroy(&jit->cache);
    sim_mutex_fini(&jit->registry);
    sim_mutex_fini(&jit->lock);
    jit_translator_fini(&jit->translator);
    sim_free_pages(jit->quick, QUICK_SETS * sizeof *jit->quick);
    sim_free(jit);
}

void jit_set_options(struct jit *jit, const struct jit_options *options)
{
    struct ir_target target;

    jit_tier_destroy(jit);
    jit->options = *options;
    jit->options.tier = known_tier(options->tier);
    if (options->threshold)
        jit->threshold = options->threshold < 255 ? options->threshold : 255;
    if (options->hot_insns)
        jit->hot = options->hot_insns;
    jit_registry_clear(jit);
    ir_host_destroy(jit->host);
    jit_fill_target(&target);
    jit->host = ir_host_create(&jit->cache, &target, options->host_mask);
    if (jit->options.tier == RV_JIT_AUTO)
        jit_tier_create(jit);
}

void jit_flush(struct jit *jit)
{
    if (jit->tier)
        jit_tier_flush(jit->tier);
    jit_registry_clear(jit);
    for (uint32_t n = 0; n < jit->machine->nr_harts; n++)
        rv_tlb_flush_jumps(jit->machine->harts[n]);
    rv_tlb_flush_shared_jumps(jit->machine);
    ir_host_restart(jit->host);
    atomic_fetch_add_explicit(&jit->count.flushes, 1, memory_order_relaxed);
}

void jit_get_stats(const struct jit *jit, struct rv_machine_stats *out)
{
    out->translations += atomic_load_explicit(&jit->count.translations, memory_order_relaxed);
    out->translated_insns += atomic_load_explicit(&jit->count.insns, memory_order_relaxed);
    out->code_bytes += atomic_load_explicit(&jit->count.bytes, memory_order_relaxed);
    out->flushes += atomic_load_explicit(&jit->count.flushes, memory_order_relaxed);
    out->promotions += atomic_load_explicit(&jit->count.promotions, memory_order_relaxed);
    out->invalidations += atomic_load_explicit(&jit->count.invalidations, memory_order_relaxed);
}

/* --- the engine --- */

/* What to do next. */
enum next { GO_ON, STOP };

static enum next after(struct rv_hart *h, enum rv_exec result, enum rv_stop_reason *why)
{
    if (result == RV_TRAP)
        result = rv_take_trap(h);
    if (result == RV_NEXT || result == RV_JUMP)
        return GO_ON;
    if (result == RV_STOP) {
        *why = h->stop_reason;
        return STOP;
    }
    rv_take_interrupt(h);
    return GO_ON;
}

/* The cache is emptied while every vCPU stands still. Requests posted meanwhile are served by the
 * run loop, so the caller leaves. */
static void empty_cache(struct jit *jit, struct rv_hart *h)
{
    vcpu_leave(&h->vcpu);
    sim_exclusive_begin(jit->sim, &h->vcpu);
    /* Another hart may have done it while we waited. */
    if (jit->cache.used > jit->cache.size / 2 || jit_records_full(jit) || (jit->tier && jit_tier_is_full(jit->tier)))
        jit_flush(jit);
    sim_exclusive_end(jit->sim);
    vcpu_enter(&h->vcpu);
}

/* Counts a block the interpreter is about to run. */
static void count_block(_Atomic uint8_t *counter, unsigned executed)
{
    atomic_store_explicit(counter, (uint8_t)(executed + 1), memory_order_relaxed);
}

/* Where pc is; false: it cannot be fetched (a trap is recorded; the interpreter will find out again), or
 * its page is not whole. */
static bool code_at_pc(struct rv_hart *h, gpa_t *gpa)
{
    gpa_t page;

    if (!rv_fetch_page(h, h->pc, &page) || !rv_fetch_whole(h, h->pc))
        return false;
    *gpa = page | (h->pc & ~GUEST_PAGE_MASK);
    return true;
}

/* The translation of the block at pc and its entry, made now if it is hot; NULL with GO_ON: interpret
 * it. */
static enum next find_code(struct jit *jit, struct rv_hart *h, struct jit_region **out,
                           const void **code)
{
    gpa_t gpa;

    *out = NULL;
    if (!code_at_pc(h, &gpa))
        return GO_ON;
    if (SIM_UNLIKELY(h->observe))
        h->observe_class = (uint8_t)rv_observe_class(h, h->pc);
    *out = jit_find(jit, h, gpa, code);
    if (*out)
        return GO_ON;
    _Atomic uint8_t *counter = jit_counter(jit, gpa);
    unsigned executed = atomic_load_explicit(counter, memory_order_relaxed);
    if (executed < jit->threshold) {
        count_block(counter, executed);
        return GO_ON;
    }
    switch (jit_translate(jit, h, out)) {
    case JIT_TRANSLATED: *code = jit->cache.rx + (*out)->code.entry; break;
    case JIT_FULL: empty_cache(jit, h); return STOP;
    case JIT_NOT_NOW: atomic_store_explicit(counter, 1, memory_order_relaxed); break;
    default: break;
    }
    return GO_ON;
}

/* One block, and where its indirect jump went. */
static enum next interpret(struct jit *jit, struct rv_hart *h, enum rv_stop_reason *why)
{
    gpa_t page;

    h->indirect_from = RV_NO_JUMP;
    enum next next = after(h, rv_interp_block(h), why);
    if (next == GO_ON && (h->indirect_from & GUEST_PAGE_MASK) == (h->pc & GUEST_PAGE_MASK) &&
        h->indirect_from != RV_NO_JUMP && rv_fetch_page(h, h->pc, &page))
        jit_note_target(jit, page | (h->indirect_from & ~GUEST_PAGE_MASK),
                        (unsigned)(h->pc & ~GUEST_PAGE_MASK));
    return next;
}

static void remember(struct rv_hart *h, const void *code)
{
    struct rv_tlb *t = h->code_tlb;
    struct rv_jc_entry *e = t->jc[rv_jc_set(h->pc)];

    if (e->code && e->pc != h->pc)
        e[1] = *e; /* the other way */
    *e = (struct rv_jc_entry){h->pc, code};
    rv_jc_note(t, h->pc);
}

/* Flags the host's FPU gathered since the code was entered. */
static void take_fp_flags(struct rv_hart *h)
{
    unsigned flags = ir_host_fp_flags(h->mxcsr);

    if (!flags)
        return;
    h->fflags |= (uint8_t)flags;
    h->fs_dirty = 1;
}

/* Code that ran at pc in this context before, or NULL. It may be dead and then leads to a look-up. */
static const void *remembered(const struct rv_hart *h)
{
    const struct rv_jc_entry *e = h->code_tlb->jc[rv_jc_set(h->pc)];

    return e->pc == h->pc && !h->observe ? e->code : NULL;
}

/* After IR_LEAVE_BUDGET. */
static const struct ir_site *noted_site(const struct rv_hart *h)
{
    return (const struct ir_site *)h->jit_scratch[5];
}

static enum ir_leave run_code(struct jit *jit, struct rv_hart *h, const void *code)
{
    int64_t before = h->budget;

    h->mxcsr = ir_host_fp_control(h->frm < 4 ? h->frm : 0);
    enum ir_leave why = ir_host_enter(jit->host, h, code);
    take_fp_flags(h);
    if (why == IR_LEAVE_BUDGET)
        jit_restore(h, noted_site(h));
    h->count.jit_insns += (uint64_t)(before - h->budget);
    return why;
}

static bool should_leave(const struct rv_hart *h)
{
    return h->budget < 0 || atomic_load_explicit(&h->vcpu.kick, memory_order_relaxed);
}

/* The exit translated code left through, when its target may be linked to it. */
static struct ir_code_exit *exit_of(struct jit *jit, struct rv_hart *h)
{
    uint8_t *rx = (uint8_t *)(uintptr_t)h->jit_scratch[5];

    return (struct ir_code_exit *)(void *)(jit->cache.rw + (rx - jit->cache.rx));
}

/* Has the loop at pc, which spin.c took for one that only waits, had a round that led back with all registers as they
 * were? Then the hart gives way. Else it got on (an LR/SC that succeeds the first time looks like its retry), and such
 * loops are not looked at for a while, longer each time. */
static enum next look_at_spinning(struct rv_hart *h, enum rv_stop_reason *why)
{
    enum { MOST_POLLS = 32 };
    uint64_t pc = h->pc, x[32];
    unsigned insns = 0;

    if (rv_counts_time(h)) { /* turns end where the interpreter's would */
        h->spun = -MOST_POLLS;
        return GO_ON;
    }
    memcpy(x, h->x, sizeof x);
    h->spun = -h->jit->patience; /* also when the round is not finished */
    do
        if (after(h, rv_interp_step(h), why) == STOP)
            return STOP;
    while (h->pc != pc && ++insns < SPIN_MAX_LOOP);
    bool spins = h->pc == pc && !memcmp(x, h->x, sizeof x);
    h->jit->patience = spins ? 0 : h->jit->patience < MOST_POLLS / 2 ? 2 * h->jit->patience + 1 : MOST_POLLS;
    h->spun = -h->jit->patience;
    if (spins)
        *why = RV_STOP_PAUSE;
    return spins ? STOP : GO_ON;
}

/* Better code has come from the background, or it has no more room: then the hart leaves. */
static SIM_NOINLINE enum next take_news(struct jit *jit, struct rv_hart *h)
{
    jit_tier_install(jit);
    if (!jit_tier_is_full(jit->tier))
        return GO_ON;
    empty_cache(jit, h);
    return STOP;
}

/* The turn is over, in the region of the site. */
static void sample(struct jit *jit, struct rv_hart *h, const struct ir_site *site)
{
    if (SIM_UNLIKELY(jit->tier))
        jit_tier_sample(jit, h, site);
}

static enum rv_stop_reason run(struct jit *jit, struct rv_hart *h)
{
    enum rv_stop_reason why = RV_STOP_NONE;
    struct ir_code_exit *from = NULL;
    const void *code = NULL; /* known already */

    while (!should_leave(h)) {
        struct jit_region *r;

        if (SIM_UNLIKELY(jit->tier) && jit_tier_has_news(jit->tier) && take_news(jit, h) == STOP)
            return RV_STOP_NONE;
        if (!code) {
            if (find_code(jit, h, &r, &code) == STOP)
                return RV_STOP_NONE;
            if (!r) {
                code = NULL;
                from = NULL;
                if (interpret(jit, h, &why) == STOP)
                    return why;
                continue;
            }
            if (from)
                jit_link(jit, from, r);
            from = NULL;
            remember(h, code);
        }
        const void *entry = code;
        code = NULL;
        switch (run_code(jit, h, entry)) {
        case IR_LEAVE_LINK:
            from = exit_of(jit, h);
            h->pc = h->code_base + (uint64_t)from->pc;
            break;
        case IR_LEAVE_HELPER:
            if (h->budget < 0)
                sample(jit, h, h->jit->left_at);
            if (after(h, h->jit->result, &why) == STOP)
                return why;
            code = remembered(h);
            break;
        case IR_LEAVE_BUDGET:
            if (should_leave(h))
                sample(jit, h, noted_site(h));
            else if (look_at_spinning(h, &why) == STOP)
                return why;
            break;
        default: break;
        }
    }
    return RV_STOP_NONE;
}

/* Translated code looks at the budget at loop heads and entries, so it may overdraw by what lies between them.
 * It gets less than there is, and the interpreter runs the rest: the chunk ends where the interpreter alone would
 * have ended it. */
static enum rv_stop_reason run_counted(struct jit *jit, struct rv_hart *h)
{
    enum { MOST_OVERDRAWN = IR_MAX_ORIGINS };

    while (h->budget > MOST_OVERDRAWN) {
        vcpu_clear_kick(&h->vcpu); /* all that it asks for is looked at when the chunk ends */
        h->budget -= MOST_OVERDRAWN;
        h->slice -= MOST_OVERDRAWN; /* rv_insns stays right */
        enum rv_stop_reason why = run(jit, h);
        h->budget += MOST_OVERDRAWN;
        h->slice += MOST_OVERDRAWN;
        if (why != RV_STOP_NONE)
            return why;
    }
    return rv_interp_run(h);
}

enum rv_stop_reason jit_run(struct rv_hart *h)
{
    struct jit *jit = h->machine->jit;

    if (SIM_UNLIKELY(!h->jit))
        h->jit = sim_new(struct jit_hart);
    return SIM_UNLIKELY(rv_counts_time(h)) ? run_counted(jit, h) : run(jit, h);
}
