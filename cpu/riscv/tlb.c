/* The soft TLB's contexts: selecting one per translation regime, and flushing.
 *
 *   satp, privilege, SUM, MXR, MPRV --rv_tlb_select--> h->tlb (data), h->code_tlb (fetch, jumps)
 *   a hart that waits --rv_tlb_trim--> contexts it has not used for some waits are for any hart of the machine
 *   its turn is over --rv_tlb_end_turn--> the kernel's code goes to the executor's next hart (tlb_shared.c)
 *   sfence.vma, remote fences --rv_tlb_flush_range--> entries of the matching contexts
 *
 * Filling is mem.c's. A context keeps entries of its own (satp, ...) only, so a flush by ASID goes by
 * the key, and global entries, which survive it, are marked. */
#include <string.h>

#include "csr_bits.h"
#include "hart.h"
#include "sim-core/alloc.h"

static uint16_t satp_asid(uint64_t satp)
{
    return (uint16_t)sim_bits(satp, SATP_ASID_SHIFT, 16);
}

_Static_assert(offsetof(struct rv_tlb, jc) % sizeof(((struct rv_tlb *)0)->jc[0]) == 0, "a set is in one line of the host's");

static void mark_first_set(struct rv_tlb *t)
{
    for (unsigned way = 0; way < RV_JC_WAYS; way++)
        t->jc[0][way].pc = RV_JC_EMPTY;
}

static void clear_jumps(struct rv_tlb *t)
{
    if (!t->jc_used)
        return;
    for (uint64_t left = t->jc_used; left; left &= left - 1)
        memset(t->jc[(unsigned)__builtin_ctzll(left) * RV_JC_GROUP], 0, RV_JC_GROUP * sizeof t->jc[0]);
    mark_first_set(t);
    memset(t->jc_filter, 0, sizeof t->jc_filter);
    t->jc_lo = UINT64_MAX;
    t->jc_hi = 0;
    t->jc_used = 0;
}

/* The jumps into page va: they are in one run of the cache. */
static void clear_jumps_to(struct rv_tlb *t, uint64_t va)
{
    enum { RUN = GUEST_PAGE_SIZE / 4 };
    struct rv_jc_entry *jc = t->jc[rv_jc_set(va) & ~(RUN - 1u)];

    _Static_assert(RV_JC_SETS % RUN == 0, "a page's jumps are in one run");
    for (unsigned i = 0; i < RUN * RV_JC_WAYS; i++)
        if ((jc[i].pc & GUEST_PAGE_MASK) == va)
            jc[i] = (struct rv_jc_entry){RV_JC_EMPTY, NULL};
}

static void clear_large(struct rv_tlb *t)
{
    for (unsigned half = 0; half < 2; half++) {
        t->large[half].lo = UINT64_MAX;
        t->large[half].hi = 0;
    }
}

static void clear_entry(struct rv_tlb_entry *e)
{
    e->tag_r = e->tag_w = RV_TLB_INVALID;
    e->info = 0;
}

static void clear_set(struct rv_tlb_entry *set)
{
    for (unsigned way = 0; way < RV_TLB_WAYS; way++)
        clear_entry(&set[way]);
}

static void clear_blocks(struct rv_tlb *t, bool write)
{
    for (unsigned i = 0; i < RV_TLB_BLOCKS; i++)
        t->block[write][i].limit = 0;
    t->block_age[write] = 0;
}

/* Nothing is written any more without having been looked for. Slots do not tell which of them are for stores: all go; blocks for
 * loads stay. */
static void withdraw_writes(struct rv_tlb *t)
{
    for (unsigned i = 0; i < RV_TLB_SLOTS; i++)
        t->slots[i].limit = 0;
    clear_blocks(t, true);
    t->wide = 0;
    memset(t->slot_filter, 0, sizeof t->slot_filter);
}

static void clear_slots(struct rv_tlb *t)
{
    withdraw_writes(t);
    clear_blocks(t, false);
}

static void clear_slots_of(struct rv_tlb *t, uint64_t va)
{
    for (unsigned i = 0; i < RV_TLB_SLOTS; i++)
        if (va - t->slots[i].lo < t->slots[i].limit)
            t->slots[i].limit = 0;
    for (unsigned write = 0; write < 2; write++)
        if (rv_tlb_in_block(t, va, write))
            clear_blocks(t, write);
}

static void clear_entries(struct rv_tlb *t)
{
    clear_slots(t);
    for (unsigned word = 0; word < SIM_ARRAY_LEN(t->set_used); word++) {
        for (uint64_t left = t->set_used[word]; left; left &= left - 1)
            clear_set(t->set[64 * word + (unsigned)__builtin_ctzll(left)]);
        t->set_used[word] = 0;
    }
    for (unsigned i = 0; i < RV_FETCH_SIZE; i++)
        t->fetch[i].tag = RV_TLB_INVALID;
    clear_large(t);
    memset(t->gpa_filter, 0, sizeof t->gpa_filter);
    t->used = 0;
}

static void clear_context(struct rv_tlb *t)
{
    if (t->used)
        clear_entries(t);
    clear_jumps(t);
    t->shared.nr_roots = t->shared.refused = t->shared.misses = 0;
}

void rv_tlb_empty(struct rv_tlb *t)
{
    clear_context(t);
}

void rv_tlb_empty_jumps(struct rv_tlb *t)
{
    clear_jumps(t);
}

/* --- contexts that no hart has --- */

/* Contexts come from the host several at a time, and stay the machine's. */
struct rv_tlb_chunk {
    struct rv_tlb_chunk *next;
    struct rv_tlb *context;
    unsigned nr_used;
};
enum { CHUNK = 16 };

static struct rv_tlb *take_unused(struct rv_machine *m)
{
    struct rv_tlb_chunk *c = m->tlb_chunks;

    if (!c || c->nr_used == CHUNK) {
        c = sim_new(struct rv_tlb_chunk);
        c->context = sim_zalloc_read_first(CHUNK * sizeof c->context[0]);
        c->next = m->tlb_chunks;
        m->tlb_chunks = c;
    }
    return &c->context[c->nr_used++];
}

static void prepare(struct rv_tlb *t)
{
    memset(t->set_used, 0xff, sizeof t->set_used); /* tags of zeros are of page 0 */
    clear_entries(t);
    mark_first_set(t);
    t->jc_lo = UINT64_MAX;
}

static struct rv_tlb *take_spare(struct rv_machine *m)
{
    sim_mutex_lock(&m->spare_lock);
    struct rv_tlb *t = m->spare_tlb;
    bool is_new = !t;
    if (is_new)
        t = take_unused(m);
    else
        m->spare_tlb = t->next_spare;
    sim_mutex_unlock(&m->spare_lock);
    if (is_new)
        prepare(t);
    return t;
}

void rv_tlb_spare(struct rv_machine *m, struct rv_tlb *t)
{
    sim_mutex_lock(&m->spare_lock);
    t->next_spare = m->spare_tlb;
    m->spare_tlb = t;
    sim_mutex_unlock(&m->spare_lock);
}

struct rv_tlb *rv_tlb_take_out(struct rv_hart *h, unsigned slot)
{
    struct rv_tlb *t = h->tlb_pool[slot];

    h->tlb_pool[slot] = NULL;
    h->tlb_key[slot].mode = RV_TLB_NO_MODE;
    h->tlb_holds[slot] = 0;
    if (h->code_tlb == t)
        h->code_tlb = NULL;
    return t;
}

void rv_tlb_give_up(struct rv_hart *h, unsigned slot)
{
    rv_tlb_spare(h->machine, rv_tlb_take_out(h, slot));
}

void rv_tlb_free_all(struct rv_machine *m)
{
    for (struct rv_tlb_chunk *c = m->tlb_chunks, *next; c; c = next) {
        next = c->next;
        sim_free_pages(c->context, CHUNK * sizeof c->context[0]);
        sim_free(c);
    }
}

/* For those who look for one that is not used any more. */
static void use_now(struct rv_hart *h, struct rv_tlb *t)
{
    t->last_used = ++h->tlb_stamp;
    t->last_wait = h->waits;
}

static struct rv_tlb *new_context(struct rv_hart *h, unsigned slot)
{
    struct rv_tlb *t = take_spare(h->machine);

    t->slot = (uint8_t)slot;
    h->tlb_pool[slot] = t;
    h->tlb_key[slot].mode = RV_TLB_NO_MODE;
    return t;
}

static bool valid(const struct rv_hart *h, unsigned slot)
{
    return h->tlb_pool[slot] && h->tlb_key[slot].mode != RV_TLB_NO_MODE;
}

static bool key_is(const struct rv_hart *h, unsigned slot, const struct rv_tlb_key *key)
{
    return h->tlb_key[slot].satp == key->satp && h->tlb_key[slot].mode == key->mode;
}

static bool in_use(const struct rv_hart *h, const struct rv_tlb *t)
{
    return t == h->tlb || t == h->code_tlb;
}

/* An emptied context, one for a free slot, or the least recently used one. */
static struct rv_tlb *recycle(struct rv_hart *h)
{
    struct rv_tlb *oldest = NULL;
    unsigned free_slot = RV_TLB_CONTEXTS;

    for (unsigned i = RV_TLB_CONTEXTS; i-- > 0;) {
        struct rv_tlb *t = h->tlb_pool[i];
        if (!t)
            free_slot = i;
        else if (in_use(h, t))
            continue;
        else if (!valid(h, i))
            return t;
        else if (!oldest || t->last_used < oldest->last_used)
            oldest = t;
    }
    return free_slot < RV_TLB_CONTEXTS ? new_context(h, free_slot) : oldest;
}

void rv_tlb_put_in(struct rv_hart *h, unsigned slot, struct rv_tlb *t)
{
    t->slot = (uint8_t)slot;
    h->tlb_pool[slot] = t;
    h->tlb_key[slot] = (struct rv_tlb_key){t->satp, RV_TLB_KERNEL_CODE};
    h->tlb_holds[slot] = RV_TLB_HOLDS_UPPER | RV_TLB_HOLDS_GLOBAL;
    use_now(h, t);
}

unsigned rv_tlb_free_slot(struct rv_hart *h)
{
    for (unsigned i = 0; i < RV_TLB_CONTEXTS; i++)
        if (!h->tlb_pool[i])
            return i;
    unsigned slot = recycle(h)->slot;

    rv_tlb_give_up(h, slot);
    return slot;
}

static struct rv_tlb *make_context(struct rv_hart *h, const struct rv_tlb_key *key)
{
    struct rv_tlb *t = recycle(h);

    clear_context(t);
    t->shared.fences = rv_tlb_fences(h->machine);
    t->shared.menvcfg = h->menvcfg;
    h->tlb_holds[t->slot] = 0;
    h->tlb_key[t->slot] = *key;
    t->satp = key->satp;
    t->priv = (uint8_t)key->mode;
    t->sum = key->mode >> 8 & 1;
    t->mxr = key->mode >> 9 & 1;
    t->kernel_code = key->mode == RV_TLB_KERNEL_CODE;
    return t;
}

/* Supervisor code that has touched global pages only may go on with its context in another address space (Priv. 4.3.1:
 * global mappings exist in all of them): a kernel keeps its entries, slots and jumps over its switches of processes. */
static struct rv_tlb *take_along(struct rv_hart *h, const struct rv_tlb_key *key)
{
    if ((key->mode != RV_S && key->mode != RV_TLB_KERNEL_CODE) || !key->satp)
        return NULL;
    for (unsigned i = 0; i < RV_TLB_CONTEXTS; i++) {
        struct rv_tlb_key *old = &h->tlb_key[i];
        if (old->mode != key->mode || !old->satp || (old->satp ^ key->satp) >> SATP_MODE_SHIFT || (h->tlb_holds[i] & RV_TLB_HOLDS_LOCAL))
            continue;
        h->tlb_pool[i]->satp = old->satp = key->satp;
        return h->tlb_pool[i];
    }
    return NULL;
}

static struct rv_tlb *find_context(struct rv_hart *h, const struct rv_tlb_key *key)
{
    struct rv_tlb *t = NULL;

    for (unsigned i = 0; i < RV_TLB_CONTEXTS && !t; i++)
        if (key_is(h, i, key))
            t = h->tlb_pool[i];
    if (!t)
        t = take_along(h, key);
    if (!t)
        t = make_context(h, key);
    use_now(h, t);
    return t;
}

enum { KEEP_WAITS = 8 };

void rv_tlb_trim(struct rv_hart *h)
{
    h->waits++;
    for (unsigned i = 0; i < RV_TLB_CONTEXTS; i++) {
        const struct rv_tlb *t = h->tlb_pool[i];
        if (t && !in_use(h, t) && (!valid(h, i) || h->waits - t->last_wait > KEEP_WAITS))
            rv_tlb_give_up(h, i);
    }
}

static uint64_t translating_satp(const struct rv_hart *h, uint64_t priv)
{
    return priv == RV_M || !(h->satp >> SATP_MODE_SHIFT) ? 0 : h->satp;
}

/* The regime of data accesses: MPRV's privilege, and SUM and MXR where they mean something. */
static struct rv_tlb_key data_key(const struct rv_hart *h)
{
    uint64_t priv = h->mstatus & MSTATUS_MPRV ? sim_bits(h->mstatus, MSTATUS_MPP_SHIFT, 2) : h->priv;
    struct rv_tlb_key key = {translating_satp(h, priv), priv};

    if (!key.satp)
        return key;
    if (priv == RV_S && (h->mstatus & MSTATUS_SUM))
        key.mode |= 1 << 8;
    if (h->mstatus & MSTATUS_MXR)
        key.mode |= 1 << 9;
    return key;
}

static struct rv_tlb_key code_key(const struct rv_hart *h)
{
    struct rv_tlb_key key = {translating_satp(h, h->priv), h->priv};

    if (h->shares_code && key.satp && key.mode == RV_S)
        key.mode = RV_TLB_KERNEL_CODE;
    return key;
}

void rv_tlb_select(struct rv_hart *h)
{
    struct rv_tlb_key code = code_key(h), data = data_key(h);

    if (!h->code_tlb || !key_is(h, h->code_tlb->slot, &code))
        h->code_tlb = find_context(h, &code);
    if (!h->tlb || !key_is(h, h->tlb->slot, &data))
        h->tlb = find_context(h, &data);
    rv_cbo_sync(h);
}

/* A context in use is emptied; another one only loses its key and is emptied when reused. */
static void drop_context(struct rv_hart *h, struct rv_tlb *t)
{
    h->tlb_holds[t->slot] = 0;
    if (in_use(h, t))
        clear_context(t);
    else
        h->tlb_key[t->slot].mode = RV_TLB_NO_MODE;
}

void rv_tlb_flush_all(struct rv_hart *h)
{
    h->count.tlb_flushes++;
    for (unsigned i = 0; i < RV_TLB_CONTEXTS; i++)
        if (h->tlb_pool[i])
            drop_context(h, h->tlb_pool[i]);
    rv_tlb_note_global_fence(h);
}

void rv_tlb_flush_jumps(struct rv_hart *h)
{
    for (unsigned i = 0; i < RV_TLB_CONTEXTS; i++)
        if (h->tlb_pool[i])
            clear_jumps(h->tlb_pool[i]);
}

void rv_tlb_write_protect(struct rv_hart *h, uint64_t gpa_page)
{
    for (unsigned i = 0; i < RV_TLB_CONTEXTS; i++) {
        struct rv_tlb *t = h->tlb_pool[i];
        if (!valid(h, i) || !t->used)
            continue;
        for (unsigned s = 0; s < RV_TLB_SETS; s++)
            for (unsigned w = 0; w < RV_TLB_WAYS; w++)
                if ((t->set[s][w].info & GUEST_PAGE_MASK) == gpa_page)
                    t->set[s][w].tag_w = RV_TLB_INVALID;
        withdraw_writes(t);
    }
}

void rv_tlb_write_protect_all(struct rv_hart *h)
{
    for (unsigned i = 0; i < RV_TLB_CONTEXTS; i++) {
        struct rv_tlb *t = h->tlb_pool[i];
        if (!valid(h, i) || !t->used)
            continue;
        for (unsigned s = 0; s < RV_TLB_SETS; s++)
            for (unsigned w = 0; w < RV_TLB_WAYS; w++)
                t->set[s][w].tag_w = RV_TLB_INVALID;
        withdraw_writes(t);
    }
}

/* --- working set --- */

static void visit_context(const struct rv_tlb *t, void (*fn)(void *opaque, gpa_t page), void *opaque)
{
    for (unsigned i = 0; i < RV_FETCH_SIZE; i++)
        if (t->fetch[i].tag != RV_TLB_INVALID)
            fn(opaque, t->fetch[i].gpa);
    for (unsigned w = 0; w < RV_TLB_WAYS; w++) /* the most recent way of every set first */
        for (unsigned s = 0; s < RV_TLB_SETS; s++)
            if (t->set[s][w].tag_r != RV_TLB_INVALID || t->set[s][w].tag_w != RV_TLB_INVALID)
                fn(opaque, t->set[s][w].info & GUEST_PAGE_MASK);
}

void rv_hart_working_set(struct vcpu *v, void (*fn)(void *opaque, gpa_t page), void *opaque)
{
    struct rv_hart *h = rv_hart_of(v);

    for (unsigned i = 0; i < RV_TLB_CONTEXTS; i++)
        if (valid(h, i) && h->tlb_pool[i]->used)
            visit_context(h->tlb_pool[i], fn, opaque);
    for (unsigned i = 0; i < SIM_ARRAY_LEN(h->machine->shelf); i++) {
        const struct rv_tlb *t = h->machine->shelf[i];
        if (t && t->shared.last == h && t->used)
            visit_context(t, fn, opaque);
    }
}

/* --- fences --- */

struct fence {
    uint64_t first, last; /* inclusive, page-aligned first */
    bool keep_global;
};

/* Does the leaf (of any size) that maps page `va` touch the fence? */
static bool leaf_touched(const struct fence *f, uint64_t va, uint64_t info)
{
    uint64_t size = 1ull << RV_TLB_SHIFT(info);
    uint64_t first = va & ~(size - 1);

    if (f->keep_global && (info & RV_TLB_GLOBAL))
        return false;
    return first <= f->last && first + (size - 1) >= f->first;
}

static bool entry_touched(const struct fence *f, const struct rv_tlb_entry *e)
{
    uint64_t va = e->tag_r != RV_TLB_INVALID ? e->tag_r : e->tag_w;

    return va != RV_TLB_INVALID && leaf_touched(f, va, e->info);
}

static bool large_touched(const struct rv_tlb *t, const struct fence *f)
{
    for (unsigned half = 0; half < 2; half++)
        if (t->large[half].lo <= f->last && t->large[half].hi >= f->first)
            return true;
    return false;
}

/* Filters: sets of va pages by hash. `bits` is a power of two. */
static unsigned filter_bit(uint64_t va, unsigned bits)
{
    return (unsigned)((va >> GUEST_PAGE_BITS) * 0x9e3779b97f4a7c15ull >> 40) & (bits - 1);
}

static void filter_add(uint64_t *filter, unsigned bits, uint64_t va)
{
    unsigned bit = filter_bit(va, bits);

    filter[bit / 64] |= 1ull << (bit % 64);
}

static bool filter_has(const uint64_t *filter, unsigned bits, uint64_t va)
{
    unsigned bit = filter_bit(va, bits);

    return filter[bit / 64] >> (bit % 64) & 1;
}

/* The fetch entry of page va goes while the jump cache may have its code. */
void rv_tlb_fetch_displaced(struct rv_tlb *t, uint64_t va)
{
    filter_add(t->jc_filter, RV_JC_FILTER_BITS, va);
    t->jc_lo = va < t->jc_lo ? va : t->jc_lo;
    t->jc_hi = va > t->jc_hi ? va : t->jc_hi;
}

void rv_tlb_entry_displaced(struct rv_tlb *t, uint64_t va)
{
    filter_add(t->slot_filter, RV_TLB_SLOT_FILTER_BITS, va);
}

/* --- slots --- */

/* Is there an entry for page va that permits the access and continues a range with this addend? */
static bool continues(const struct rv_tlb *t, uint64_t va, uint64_t addend, bool write)
{
    const struct rv_tlb_entry *set = t->set[rv_tlb_set_of(va)];

    for (unsigned w = 0; w < RV_TLB_WAYS; w++)
        if ((write ? set[w].tag_w : set[w].tag_r) == va)
            return set[w].addend == addend;
    return false;
}

void rv_tlb_widen_slot(struct rv_tlb *t, unsigned slot, uint64_t page, unsigned headroom, bool write)
{
    enum { MAX_GAP = 1 << 20 };
    struct rv_tlb_slot *s = &t->slots[slot];
    uint64_t lo = s->lo, end = lo + s->limit + headroom;
    bool below = page < lo;
    uint64_t from = below ? page : end, to = below ? lo : page + GUEST_PAGE_SIZE;
    bool whole = to - from <= MAX_GAP;

    for (uint64_t va = from; whole && va != to; va += GUEST_PAGE_SIZE)
        whole = continues(t, va, s->addend, write);
    s->lo = whole && !below ? lo : page;
    s->limit = (whole ? (below ? end : to) - s->lo : GUEST_PAGE_SIZE) - headroom;
}

/* --- revoking --- */

void rv_tlb_note_gpa(struct rv_tlb *t, gpa_t gpa)
{
    filter_add(t->gpa_filter, RV_GPA_FILTER_BITS, gpa);
}

static void revoke_entry(struct rv_tlb *t, struct rv_tlb_entry *e, gpa_t gpa_page, bool write_only)
{
    if (e->tag_r == RV_TLB_INVALID && e->tag_w == RV_TLB_INVALID)
        return;
    if ((e->info & GUEST_PAGE_MASK) == gpa_page) {
        if (!write_only) {
            clear_entry(e);
            return;
        }
        e->tag_w = RV_TLB_INVALID;
    }
    rv_tlb_note_gpa(t, e->info & GUEST_PAGE_MASK);
}

static void revoke_fetch(struct rv_tlb *t, struct rv_fetch_entry *e, gpa_t gpa_page, bool write_only)
{
    if (e->tag == RV_TLB_INVALID)
        return;
    if (e->gpa == gpa_page && !write_only) {
        rv_tlb_fetch_displaced(t, e->tag); /* the jump cache may have its code */
        e->tag = RV_TLB_INVALID;
    } else {
        rv_tlb_note_gpa(t, e->gpa);
    }
}

/* The search makes the filter exact again. */
static void revoke_in(struct rv_tlb *t, gpa_t gpa_page, bool write_only)
{
    memset(t->gpa_filter, 0, sizeof t->gpa_filter);
    for (unsigned s = 0; s < RV_TLB_SETS; s++)
        for (unsigned w = 0; w < RV_TLB_WAYS; w++)
            revoke_entry(t, &t->set[s][w], gpa_page, write_only);
    for (unsigned i = 0; i < RV_FETCH_SIZE; i++)
        revoke_fetch(t, &t->fetch[i], gpa_page, write_only);
    if (write_only)
        withdraw_writes(t);
    else
        clear_slots(t);
}

void rv_tlb_revoke(struct rv_hart *h, gpa_t gpa_page, bool write_only, bool wide)
{
    for (unsigned i = 0; i < RV_TLB_CONTEXTS; i++) {
        struct rv_tlb *t = h->tlb_pool[i];
        if (wide && t && t->wide)
            withdraw_writes(t);
        if (valid(h, i) && t->used && filter_has(t->gpa_filter, RV_GPA_FILTER_BITS, gpa_page))
            revoke_in(t, gpa_page, write_only);
    }
}

/* --- fences, by page --- */

static bool displaced_code(const struct rv_tlb *t, uint64_t va)
{
    return va >= t->jc_lo && va <= t->jc_hi && filter_has(t->jc_filter, RV_JC_FILTER_BITS, va);
}

static void flush_data_page(struct rv_tlb *t, const struct fence *f, uint64_t va)
{
    struct rv_tlb_entry *set = t->set[rv_tlb_set_of(va)];
    bool slots = filter_has(t->slot_filter, RV_TLB_SLOT_FILTER_BITS, va);

    for (unsigned w = 0; w < RV_TLB_WAYS; w++)
        if (entry_touched(f, &set[w])) {
            clear_entry(&set[w]);
            slots = true;
        }
    if (slots)
        clear_slots_of(t, va);
}

static void flush_code_page(struct rv_tlb *t, const struct fence *f, uint64_t va)
{
    struct rv_fetch_entry *fe = &t->fetch[va >> GUEST_PAGE_BITS & (RV_FETCH_SIZE - 1)];
    bool jumps = displaced_code(t, va);

    if (fe->tag == va && leaf_touched(f, va, fe->flags)) {
        fe->tag = RV_TLB_INVALID;
        jumps = true;
    }
    if (jumps)
        clear_jumps_to(t, va);
}

/* Few pages, none of them in a superpage: only what stands for them is looked at. */
static void flush_pages(struct rv_tlb *t, const struct fence *f)
{
    for (uint64_t va = f->first; va - f->first <= f->last - f->first; va += GUEST_PAGE_SIZE) {
        flush_data_page(t, f, va);
        flush_code_page(t, f, va);
        if (va + GUEST_PAGE_SIZE < va)
            break;
    }
}

static void flush_search(struct rv_tlb *t, const struct fence *f)
{
    clear_slots(t);
    for (unsigned s = 0; s < RV_TLB_SETS; s++)
        for (unsigned w = 0; w < RV_TLB_WAYS; w++)
            if (entry_touched(f, &t->set[s][w]))
                clear_entry(&t->set[s][w]);
    for (unsigned i = 0; i < RV_FETCH_SIZE; i++)
        if (t->fetch[i].tag != RV_TLB_INVALID &&
            leaf_touched(f, t->fetch[i].tag, t->fetch[i].flags))
            t->fetch[i].tag = RV_TLB_INVALID;
    clear_jumps(t);
}

enum { FEW_PAGES = 64 };

static void flush_context(struct rv_hart *h, struct rv_tlb *t, const struct fence *f)
{
    bool everything = f->first == 0 && f->last == UINT64_MAX;

    if (everything && !(f->keep_global && (h->tlb_holds[t->slot] & RV_TLB_HOLDS_GLOBAL)))
        drop_context(h, t);
    else if ((f->last - f->first) >> GUEST_PAGE_BITS < FEW_PAGES && !large_touched(t, f))
        flush_pages(t, f);
    else
        flush_search(t, f);
}

void rv_tlb_flush_range(struct rv_hart *h, const struct rv_fence_range *r)
{
    struct fence f = {r->va & GUEST_PAGE_MASK, r->va + (r->size - 1), r->asid != RV_ASID_ANY};

    h->count.tlb_flushes++;
    if (r->size == 0)
        return;
    if (r->size == UINT64_MAX || f.last < r->va) { /* what wraps is not worth two fences */
        f.first = 0;
        f.last = UINT64_MAX;
    }
    unsigned held = (f.first >> 63 ? 0 : RV_TLB_HOLDS_LOWER) | (f.last >> 63 ? RV_TLB_HOLDS_UPPER : 0);
    for (unsigned i = 0; i < RV_TLB_CONTEXTS; i++) {
        uint64_t satp = h->tlb_key[i].satp;
        bool concerned = (h->tlb_holds[i] & held) && (!f.keep_global || (h->tlb_holds[i] & RV_TLB_HOLDS_LOCAL));
        /* Bare contexts translate nothing. */
        if (concerned && satp && (r->asid >= RV_ASID_EACH || r->asid == satp_asid(satp)))
            flush_context(h, h->tlb_pool[i], &f);
    }
    if (!f.keep_global && (held & RV_TLB_HOLDS_UPPER))
        rv_tlb_note_global_fence(h);
}
