/* Observers of a machine: who observes what, blocks and their actions, the interpreter with observation. */
#include "observe.h"

#include <string.h>

#include "jit.h"
#include "mem.h"
#include "sim-core/alloc.h"
#include "sim-core/log.h"

/* --- who observes what --- */

/* What of a hart interests anybody. */
static void look_at(struct rv_hart *h)
{
    const struct rv_observe *ob = h->machine->observe;

    h->observe = 0;
    h->observe_class = 0;
    h->watch_lo = UINT64_MAX;
    h->watch_hi = 0;
    h->watch_privs = 0;
    for (const struct observer *o = ob ? ob->observers : NULL; o; o = o->next) {
        /* Code that counts is the same for all harts. */
        if (o->counts && !h->counters)
            h->counters = sim_zalloc(OBSERVE_COUNTERS * sizeof h->counters[0]);
        if (!rv_observe_filter_hart(&o->filter, h->vcpu.index))
            continue;
        h->observe |= (uint8_t)((o->ops->block ? RV_OBSERVE_CODE : 0) | (o->ops->access ? RV_OBSERVE_ACCESSES : 0) |
                                (o->ops->trap ? RV_OBSERVE_TRAPS : 0));
        if (!o->ops->access)
            continue;
        if ((o->filter.lo & GUEST_PAGE_MASK) < h->watch_lo)
            h->watch_lo = o->filter.lo & GUEST_PAGE_MASK;
        if ((o->filter.hi | ~GUEST_PAGE_MASK) > h->watch_hi)
            h->watch_hi = o->filter.hi | ~GUEST_PAGE_MASK;
        /* M mode may access as the others do (MPRV). */
        h->watch_privs |= o->filter.privs & 1 << RV_M ? RV_OBSERVE_ALL_PRIVS : o->filter.privs;
    }
    if (h->observe && !h->observing)
        h->observing = sim_new(struct observe_hart);
    if (h->observing)
        *h->observing = (struct observe_hart){0};
}

static void free_actions(struct observe_action *a)
{
    while (a) {
        struct observe_action *next = a->next;
        sim_free(a);
        a = next;
    }
}

static void free_block(struct observed_block *b)
{
    free_actions(b->entered);
    for (unsigned n = 0; n < b->nr; n++)
        free_actions(b->insn[n].actions);
    sim_free(b);
}

/* Blocks know the observers there were. */
static void forget_blocks(struct rv_observe *ob)
{
    for (unsigned n = 0; n < OBSERVE_BUCKETS; n++) {
        struct observed_block *b = atomic_load_explicit(&ob->bucket[n], memory_order_relaxed);
        atomic_store_explicit(&ob->bucket[n], NULL, memory_order_relaxed);
        while (b) {
            struct observed_block *next = b->next;
            free_block(b);
            b = next;
        }
    }
    ob->nr_blocks = 0;
}

/* Nothing that was translated or is in a TLB may outlive a change. */
static void observers_changed(struct rv_machine *m)
{
    if (m->jit)
        jit_flush(m->jit);
    for (uint32_t n = 0; n < m->nr_harts; n++) {
        look_at(m->harts[n]); /* those of other ranks, too: they may come */
        if (!m->harts[n]->vcpu.remote)
            rv_tlb_flush_all(m->harts[n]);
    }
    forget_blocks(m->observe);
}

static struct rv_observe *observe_of(struct rv_machine *m)
{
    if (!m->observe) {
        m->observe = sim_new(struct rv_observe);
        m->observe->machine = m;
        sim_mutex_init(&m->observe->lock, SIM_RANK_LEAF);
    }
    return m->observe;
}

void rv_observe_start(struct rv_machine *m, struct observer *o)
{
    struct observer **end;

    (void)observe_of(m);
    for (end = &m->observe->observers; *end; end = &(*end)->next)
        ;
    o->next = NULL;
    *end = o;
    observers_changed(m);
}

void rv_observe_stop(struct rv_machine *m, struct observer *o)
{
    for (struct observer **at = &m->observe->observers; *at; at = &(*at)->next) {
        if (*at == o) {
            *at = o->next;
            break;
        }
    }
    observers_changed(m);
}

void rv_observe_destroy(struct rv_machine *m)
{
    if (!m->observe)
        return;
    forget_blocks(m->observe);
    for (uint32_t n = 0; n < m->nr_harts; n++) {
        sim_free(m->harts[n]->observing);
        sim_free(m->harts[n]->counters);
        m->harts[n]->observing = NULL;
        m->harts[n]->counters = NULL;
    }
    sim_mutex_fini(&m->observe->lock);
    sim_free(m->observe);
    m->observe = NULL;
}

static bool sees(const struct observer *o, const struct rv_hart *h, gva_t lo, gva_t hi)
{
    const struct rv_observe_filter *f = &o->filter;

    return (f->privs >> h->priv & 1) && lo <= f->hi && hi >= f->lo && rv_observe_filter_hart(f, h->vcpu.index);
}

unsigned rv_observe_class(const struct rv_hart *h, gva_t va)
{
    gva_t page = va & GUEST_PAGE_MASK;

    for (const struct observer *o = h->machine->observe->observers; o; o = o->next)
        if (o->ops->block && sees(o, h, page, page | ~GUEST_PAGE_MASK))
            return 1;
    return 0;
}

/* --- blocks --- */

static _Atomic(struct observed_block *) *bucket_of(struct rv_observe *ob, gpa_t gpa)
{
    return &ob->bucket[(gpa >> 1) * 0x9e3779b97f4a7c15ull >> 40 & (OBSERVE_BUCKETS - 1)];
}

static bool same_insns(const struct observed_block *b, unsigned nr, const struct rv_insn *const insn[])
{
    if (b->nr != nr)
        return false;
    for (unsigned n = 0; n < nr; n++)
        if (b->insn[n].insn.raw != insn[n]->raw)
            return false;
    return true;
}

static const struct observed_block *find_block(struct rv_observe *ob, gpa_t gpa, unsigned nr,
                                               const struct rv_insn *const insn[])
{
    /* O1: pairs with O2 */
    const struct observed_block *b = atomic_load_explicit(bucket_of(ob, gpa), memory_order_acquire);

    while (b && (b->gpa != gpa || !same_insns(b, nr, insn)))
        b = b->next;
    return b;
}

static struct observed_block *new_block(gva_t va, gpa_t gpa, unsigned nr, const struct rv_insn *const insn[])
{
    struct observed_block *b = sim_zalloc(sizeof *b + nr * sizeof b->insn[0]);
    unsigned offset = (unsigned)(gpa & ~GUEST_PAGE_MASK);

    b->gpa = gpa;
    b->va = va;
    b->nr = (uint16_t)nr;
    for (unsigned n = 0; n < nr; n++) {
        b->insn[n] = (struct observed_insn){.insn = *insn[n], .offset = (uint16_t)offset, .block = b};
        offset += insn[n]->len;
    }
    return b;
}

static bool has_room(struct rv_observe *ob)
{
    if (ob->nr_blocks < OBSERVE_MAX_BLOCKS)
        return true;
    if (!ob->full)
        sim_warn("more than %d blocks of guest code: new ones are not observed", OBSERVE_MAX_BLOCKS);
    ob->full = true;
    return false;
}

static const struct observed_block *add_block(struct rv_hart *h, gva_t va, gpa_t gpa, unsigned nr,
                                              const struct rv_insn *const insn[])
{
    struct rv_observe *ob = h->machine->observe;
    _Atomic(struct observed_block *) *bucket = bucket_of(ob, gpa);

    if (!has_room(ob))
        return NULL;
    struct observed_block *b = new_block(va, gpa, nr, insn);
    for (struct observer *o = ob->observers; o; o = o->next)
        if (o->ops->block)
            o->ops->block(o, h, b);
    ob->nr_blocks++;
    b->next = atomic_load_explicit(bucket, memory_order_relaxed);
    /* O2: the block is complete; pairs with O1 */
    atomic_store_explicit(bucket, b, memory_order_release);
    return b;
}

const struct observed_block *rv_observe_block(struct rv_hart *h, gva_t va, gpa_t gpa, unsigned nr,
                                              const struct rv_insn *const insn[])
{
    struct rv_observe *ob = h->machine->observe;
    const struct observed_block *b = find_block(ob, gpa, nr, insn);

    if (b)
        return b;
    sim_mutex_lock(&ob->lock);
    b = find_block(ob, gpa, nr, insn); /* another hart may have been first */
    if (!b)
        b = add_block(h, va, gpa, nr, insn);
    sim_mutex_unlock(&ob->lock);
    return b;
}

/* --- actions --- */

/* Other threads read counters while they are written. */
static void count(struct rv_hart *h, uint32_t counter, int32_t n)
{
    uint64_t *c = &h->counters[counter];

    __atomic_store_n(c, *c + (uint64_t)(int64_t)n, __ATOMIC_RELAXED);
}

/* A counter behind a filter. */
static void count_call(struct observer *o, struct rv_hart *h, const struct observed_insn *i, void *udata)
{
    (void)o;
    (void)i;
    count(h, (uint32_t)(uintptr_t)udata, (int32_t)((uintptr_t)udata >> 32));
}

static void append(struct observe_action **list, struct observe_action action)
{
    struct observe_action *a = sim_new(struct observe_action);

    *a = action;
    while (*list)
        list = &(*list)->next;
    *list = a;
}

void rv_observe_add_call(struct observe_action **list, struct observer *o, observe_fn fn, void *udata)
{
    append(list, (struct observe_action){.observer = o, .fn = fn, .udata = udata});
}

void rv_observe_add_count(struct observe_action **list, struct observer *o, uint32_t counter, int32_t n)
{
    const struct rv_observe_filter *f = &o->filter;

    if (!f->harts && f->privs == RV_OBSERVE_ALL_PRIVS && f->lo == 0 && f->hi == UINT64_MAX)
        append(list, (struct observe_action){.observer = o, .counter = counter, .n = n});
    else
        rv_observe_add_call(list, o, count_call, (void *)((uintptr_t)(uint32_t)n << 32 | counter));
}

uint32_t rv_observe_new_counter(struct rv_machine *m, bool locked)
{
    struct rv_observe *ob = observe_of(m);

    if (!locked)
        sim_mutex_lock(&ob->lock);
    uint32_t counter = ob->nr_counters < OBSERVE_COUNTERS ? ob->nr_counters++ : UINT32_MAX;
    if (!locked)
        sim_mutex_unlock(&ob->lock);
    return counter;
}

static void fire(struct rv_hart *h, const struct observed_insn *i, const struct observe_action *a, bool counters)
{
    for (; a; a = a->next) {
        if (!a->fn && counters)
            count(h, a->counter, a->n);
        else if (a->fn && sees(a->observer, h, h->pc, h->pc))
            a->fn(a->observer, h, i, a->udata);
    }
}

/* Was the instruction at h->pc told of already, and given up then? */
static bool told_before(struct rv_hart *h)
{
    struct observe_hart *ob = h->observing;
    bool yes = ob->again && ob->again_pc == h->pc;

    ob->again = false;
    return yes;
}

static void fire_all(struct rv_hart *h, const struct observed_insn *i, bool counters)
{
    if (told_before(h))
        return;
    if (i == i->block->insn)
        fire(h, i, i->block->entered, counters);
    fire(h, i, i->actions, counters);
}

void rv_observe_call(struct rv_hart *h, const struct observed_insn *i)
{
    fire_all(h, i, false);
}

/* --- the interpreter --- */

static bool ends_block(const struct rv_insn *i)
{
    return i->op == RV_OP_illegal ||
           (rv_op_info[i->op].flags & (RV_OPF_BRANCH | RV_OPF_JUMP | RV_OPF_SYSTEM));
}

/* The instructions from h->pc on that make a block; the first is there. */
static unsigned decode_block(struct rv_hart *h, const uint8_t *page, struct rv_insn *first, struct rv_insn *out,
                             const struct rv_insn *list[])
{
    unsigned nr = 1, offset = (unsigned)(h->pc & ~GUEST_PAGE_MASK) + first->len;

    out[0] = *first;
    list[0] = &out[0];
    while (!ends_block(&out[nr - 1]) && nr < OBSERVE_BLOCK_INSNS && offset + 2 <= GUEST_PAGE_SIZE) {
        uint32_t raw = __atomic_load_n((const uint16_t *)(page + offset), __ATOMIC_RELAXED);
        if (rv_insn_len(raw) == 4) {
            if (offset + 4 > GUEST_PAGE_SIZE)
                break;
            raw |= (uint32_t)__atomic_load_n((const uint16_t *)(page + offset + 2), __ATOMIC_RELAXED) << 16;
        }
        rv_decode(raw, &h->isa, &out[nr]);
        offset += out[nr].len;
        list[nr] = &out[nr];
        nr++;
    }
    return nr;
}

/* The block that begins at h->pc, whose first instruction is *first. */
static const struct observed_block *block_at_pc(struct rv_hart *h, struct rv_insn *first)
{
    struct rv_insn insn[OBSERVE_BLOCK_INSNS];
    const struct rv_insn *list[OBSERVE_BLOCK_INSNS];
    gpa_t page;
    const uint8_t *host = rv_fetch_page(h, h->pc, &page);

    if (!host)
        return NULL;
    unsigned nr = decode_block(h, host, first, insn, list);
    return rv_observe_block(h, h->pc, page | (h->pc & ~GUEST_PAGE_MASK), nr, list);
}

/* Before the instruction at h->pc executes: finds it and fires. */
static void before(struct rv_hart *h, struct rv_insn *i)
{
    struct observe_hart *ob = h->observing;
    bool on = ob->block && h->pc == ob->next_pc && ob->index < ob->block->nr &&
              ob->block->insn[ob->index].insn.raw == i->raw;

    if (!on) {
        ob->block = block_at_pc(h, i);
        ob->index = 0;
    }
    ob->next_pc = h->pc + i->len;
    if (ob->block)
        fire_all(h, &ob->block->insn[ob->index], true);
    ob->index++;
}

/* *i: the instruction, when it could be fetched. */
static enum rv_exec step(struct rv_hart *h, struct rv_insn *i)
{
    uint32_t raw;
    bool code = (h->observe & RV_OBSERVE_CODE) && rv_observe_class(h, h->pc);

    i->len = 0;
    if (rv_fetch(h, &raw)) {
        rv_decode(raw, &h->isa, i);
        if (code)
            before(h, i);
        else
            h->observing->block = NULL;
    } /* else the step traps by itself */
    enum rv_exec result = rv_interp_step_plain(h);
    if (h->observing->pending)
        rv_watch_end(h, i, result);
    return result;
}

enum rv_exec rv_observe_step(struct rv_hart *h)
{
    struct rv_insn i;

    return step(h, &i);
}

enum rv_exec rv_observe_interp_block(struct rv_hart *h)
{
    uint64_t page = h->pc & GUEST_PAGE_MASK;
    enum rv_exec result;
    struct rv_insn i;

    do
        result = step(h, &i);
    while (result == RV_NEXT && !ends_block(&i) && h->budget >= 0 && (h->pc & GUEST_PAGE_MASK) == page);
    return result;
}

enum rv_stop_reason rv_observe_interp_run(struct rv_hart *h)
{
    while (h->budget >= 0 && (rv_counts_time(h) || !atomic_load_explicit(&h->vcpu.kick, memory_order_relaxed))) {
        enum rv_exec result = rv_observe_step(h);
        if (result == RV_STOP)
            return (enum rv_stop_reason)h->stop_reason;
        if (result != RV_NEXT && result != RV_JUMP)
            rv_take_interrupt(h);
    }
    return RV_STOP_NONE;
}

void rv_observe_given_up(struct rv_hart *h)
{
    h->observing->again = true;
    h->observing->again_pc = h->pc;
}

void rv_observe_trap(struct rv_hart *h, uint64_t cause, uint64_t tval)
{
    for (struct observer *o = h->machine->observe->observers; o; o = o->next)
        if (o->ops->trap && sees(o, h, h->pc, h->pc))
            o->ops->trap(o, h, cause, tval);
}
