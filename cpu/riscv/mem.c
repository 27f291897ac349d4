/* Guest-virtual accesses that the inline soft-TLB hit does not cover.
 *
 *   rv_load_slow -> data_ref: ways 1..3 -> walk, PMP, mem_page_acquire -> fill way 0
 *                -> RAM | MMIO; misaligned: byte by byte, both pages checked before anything is done
 *   stores to code pages: store, then mem_code_written
 *
 * A reference is good for one access of a running hart: whoever revokes a page waits for it. */
#include "mem.h"

#include <string.h>

#include "csr_bits.h"
#include "mmu.h"
#include "observe.h"
#include "sim-core/log.h"

/* Where an access goes. host == NULL: MMIO at gpa. */
struct data_ref {
    uint8_t *host;
    gpa_t gpa;
    bool code_page; /* a store must be reported */
};

static const uint16_t page_fault_cause[] = {
    [RV_WALK_LOAD] = RV_EXC_LOAD_PAGE,
    [RV_WALK_STORE] = RV_EXC_STORE_PAGE,
    [RV_WALK_FETCH] = RV_EXC_INSN_PAGE,
};
static const uint16_t access_fault_cause[] = {
    [RV_WALK_LOAD] = RV_EXC_LOAD_ACCESS,
    [RV_WALK_STORE] = RV_EXC_STORE_ACCESS,
    [RV_WALK_FETCH] = RV_EXC_INSN_ACCESS,
};
static const uint8_t pmp_need[] = {
    [RV_WALK_LOAD] = PMP_R,
    [RV_WALK_STORE] = PMP_W,
    [RV_WALK_FETCH] = PMP_X,
};

static bool access_fault(struct rv_hart *h, enum rv_walk_access access, gva_t va)
{
    rv_trap(h, access_fault_cause[access], va);
    return false;
}

/* Not here: the instruction is given up, to be tried again when the page has come. */
static SIM_COLD bool wait_for_page(struct rv_hart *h)
{
    rv_trap(h, RV_CAUSE_WAIT, 0);
    return false;
}

/* --- filling --- */

/* The tag of va's page in the hart's current context. */
static gva_t page_tag(const struct rv_hart *h, gva_t va)
{
    return (va & GUEST_PAGE_MASK) | (SIM_UNLIKELY(rv_watched(h, h->tlb->priv, va)) ? RV_TLB_WATCHED : 0);
}

static uint64_t leaf_info(struct rv_hart *h, struct rv_tlb *t, gva_t va, const struct rv_leaf *leaf)
{
    uint64_t info = (uint64_t)leaf->shift << 4;

    h->tlb_holds[t->slot] |= (va >> 63 ? RV_TLB_HOLDS_UPPER : RV_TLB_HOLDS_LOWER) | (leaf->global ? RV_TLB_HOLDS_GLOBAL : RV_TLB_HOLDS_LOCAL);
    rv_tlb_note_root(t, va, leaf->root);
    if (leaf->shift > GUEST_PAGE_BITS) {
        rv_tlb_note_large(t, va & ~((1ull << leaf->shift) - 1), va | ((1ull << leaf->shift) - 1));
        info |= RV_TLB_LARGE;
    }
    return leaf->global ? info | RV_TLB_GLOBAL : info;
}

/* Way of the set that has page va, or the last one. */
static unsigned victim_way(const struct rv_tlb_entry *set, gva_t page)
{
    unsigned way = 0;

    while (way < RV_TLB_WAYS - 1 && set[way].tag_r != page && set[way].tag_w != page)
        way++;
    return way;
}

/* The entry in `way` goes; when it is another page's, slots may still have that page. */
static void displace(struct rv_tlb *t, const struct rv_tlb_entry *old, gva_t page)
{
    gva_t va = old->tag_r != RV_TLB_INVALID ? old->tag_r : old->tag_w;

    if (va != RV_TLB_INVALID && va != page)
        rv_tlb_entry_displaced(t, va);
}

static void move_to_front(struct rv_tlb_entry *set, unsigned way, const struct rv_tlb_entry *e)
{
    memmove(&set[1], &set[0], way * sizeof set[0]);
    set[0] = *e;
}

/* Installs page va in way 0. A write tag is withdrawn when the page became a code page meanwhile:
 * its translator looked for writers before we were one. */
static void fill_data(struct rv_hart *h, gva_t va, const struct rv_leaf *leaf, uint8_t *page_host,
                      bool readable, bool writable)
{
    struct rv_tlb *t = h->tlb;
    unsigned index = rv_tlb_set_of(va);
    struct rv_tlb_entry *set = t->set[index];
    gva_t page = page_tag(h, va);
    struct rv_tlb_entry e = {
        .tag_r = readable ? page : RV_TLB_INVALID,
        .tag_w = writable ? page : RV_TLB_INVALID,
        .addend = (uint64_t)(uintptr_t)page_host - (va & GUEST_PAGE_MASK),
        .info = (leaf->gpa & GUEST_PAGE_MASK) | leaf_info(h, t, va, leaf),
    };

    unsigned way = victim_way(set, page);
    displace(t, &set[way], page);
    move_to_front(set, way, &e);
    rv_tlb_note_gpa(t, leaf->gpa);
    t->used = 1;
    t->set_used[index / 64] |= 1ull << index % 64;
    h->count.tlb_fills++;
    if (!writable)
        return;
    struct mem_space *s = h->machine->space;
    sim_fence();
    if (atomic_load_explicit(mem_page_state(s, (uint64_t)(page_host - s->vram)),
                             memory_order_seq_cst) & MEM_PAGE_CODE)
        set[0].tag_w = RV_TLB_INVALID;
}

static bool walk_or_trap(struct rv_hart *h, const struct rv_tlb *t, gva_t va,
                         enum rv_walk_access access, struct rv_leaf *leaf)
{
    enum rv_walk_result result = rv_walk(h, t, va, access, leaf);

    if (result == RV_WALK_OK)
        return true;
    if (result == RV_WALK_WAIT)
        return wait_for_page(h);
    rv_trap(h, result == RV_WALK_PAGE_FAULT ? page_fault_cause[access] : access_fault_cause[access],
            va);
    return false;
}

/* Walks, checks PMP for the `len` bytes at va (within the page), and fills. */
static bool walk_data(struct rv_hart *h, gva_t va, unsigned len, enum rv_walk_access access,
                      struct data_ref *ref)
{
    struct rv_leaf leaf;
    uint8_t *host;
    bool store = access == RV_WALK_STORE, writable;

    if (!walk_or_trap(h, h->tlb, va, access, &leaf))
        return false;
    unsigned perm = rv_pmp_perm(h, leaf.gpa, len, h->tlb->priv);
    if (!(perm & pmp_need[access]))
        return access_fault(h, access, va);
    ref->gpa = leaf.gpa;
    ref->host = NULL;
    ref->code_page = false;
    enum mem_result result = mem_page_acquire(h->machine->space, leaf.gpa, store, h->vcpu.index,
                                              &host, &writable);
    if (result == MEM_WAIT)
        return wait_for_page(h);
    if (result == MEM_MMIO)
        return true;
    if (result != MEM_OK)
        return access_fault(h, access, va);
    ref->host = host + (leaf.gpa & ~GUEST_PAGE_MASK);
    ref->code_page = store && !writable;
    if (rv_pmp_uniform(h, leaf.gpa))
        fill_data(h, va, &leaf, host, leaf.readable && (perm & PMP_R), store && writable);
    if (!store || writable)
        rv_tlb_find_block(h, va, &leaf, store);
    return true;
}

/* The four ways of va's set; a hit moves to way 0. */
static bool find_data(struct rv_hart *h, gva_t va, bool store, struct data_ref *ref)
{
    struct rv_tlb_entry *set = rv_tlb_way0(h, va);
    gva_t page = page_tag(h, va);

    for (unsigned way = 0; way < RV_TLB_WAYS; way++) {
        if ((store ? set[way].tag_w : set[way].tag_r) != page)
            continue;
        struct rv_tlb_entry e = set[way];
        move_to_front(set, way, &e);
        ref->host = (uint8_t *)(uintptr_t)(e.addend + va);
        ref->gpa = (e.info & GUEST_PAGE_MASK) | (va & ~GUEST_PAGE_MASK);
        ref->code_page = false;
        return true;
    }
    return false;
}

/* `len` bytes at va, all in one page. */
static bool data_ref(struct rv_hart *h, gva_t va, unsigned len, enum rv_walk_access access,
                     struct data_ref *ref)
{
    return find_data(h, va, access == RV_WALK_STORE, ref) || walk_data(h, va, len, access, ref);
}

/* --- single, aligned accesses: one host access each --- */

static uint64_t host_load(const void *p, unsigned size)
{
    switch (size) {
    case 1: return __atomic_load_n((const uint8_t *)p, __ATOMIC_RELAXED);
    case 2: return __atomic_load_n((const uint16_t *)p, __ATOMIC_RELAXED);
    case 4: return __atomic_load_n((const uint32_t *)p, __ATOMIC_RELAXED);
    default: return __atomic_load_n((const uint64_t *)p, __ATOMIC_RELAXED);
    }
}

static void host_store(void *p, unsigned size, uint64_t value)
{
    switch (size) {
    case 1: __atomic_store_n((uint8_t *)p, (uint8_t)value, __ATOMIC_RELAXED); break;
    case 2: __atomic_store_n((uint16_t *)p, (uint16_t)value, __ATOMIC_RELAXED); break;
    case 4: __atomic_store_n((uint32_t *)p, (uint32_t)value, __ATOMIC_RELAXED); break;
    default: __atomic_store_n((uint64_t *)p, value, __ATOMIC_RELAXED); break;
    }
}

/* On several ranks a device access may wait for other ranks (it is elsewhere, or its DMA's pages are), and
 * they for this hart to reach a safepoint. So it happens with the hart outside guest code, at an
 * instruction of its own (hart_vcpu.c). False: not now. */
static bool mmio_begin(struct rv_hart *h, uint64_t *since)
{
    h->count.mmio++;
    if (SIM_LIKELY(!mem_is_distributed(h->machine->space)))
        return true;
    if (!h->mmio_step) {
        rv_trap(h, RV_CAUSE_MMIO, 0);
        return false;
    }
    vcpu_leave(&h->vcpu);
    *since = sim_host_ns();
    return true;
}

static void mmio_end(struct rv_hart *h, uint64_t since)
{
    if (SIM_LIKELY(!mem_is_distributed(h->machine->space)))
        return;
    h->vcpu.stats.away_ns += sim_host_ns() - since;
    vcpu_enter(&h->vcpu);
}

static bool mmio_load(struct rv_hart *h, gva_t va, gpa_t gpa, unsigned size, uint64_t *value)
{
    uint64_t since = 0;

    if (!mmio_begin(h, &since))
        return false;
    enum mem_result result = mem_mmio_read(h->machine->space, gpa, size, value);
    mmio_end(h, since);
    return result == MEM_OK || access_fault(h, RV_WALK_LOAD, va);
}

static bool mmio_store(struct rv_hart *h, gva_t va, gpa_t gpa, unsigned size, uint64_t value)
{
    uint64_t since = 0;

    if (!mmio_begin(h, &since))
        return false;
    enum mem_result result = mem_mmio_write(h->machine->space, gpa, size, value);
    mmio_end(h, since);
    return result == MEM_OK || access_fault(h, RV_WALK_STORE, va);
}

static void report_code(struct rv_hart *h, const struct data_ref *ref, unsigned size)
{
    if (ref->code_page)
        mem_code_written(h->machine->space, ref->gpa, size);
}

/* For observers: the access has been done. */
static inline void tell(struct rv_hart *h, gva_t va, const struct data_ref *ref, unsigned size,
                        enum rv_access_kind kind, uint64_t value)
{
    if (SIM_UNLIKELY(h->observe & RV_OBSERVE_ACCESSES))
        rv_watch_access(h, va, ref->gpa, size, kind, value, !ref->host);
}

/* --- misaligned accesses: one or two pages, RAM only (devices refuse them) --- */

struct split {
    struct data_ref part[2];
    unsigned len[2]; /* len[1] == 0: one page */
};

static bool split_refs(struct rv_hart *h, gva_t va, unsigned size, enum rv_walk_access access,
                       struct split *s)
{
    uint64_t left = GUEST_PAGE_SIZE - (va & ~GUEST_PAGE_MASK);

    s->len[0] = size < left ? size : (unsigned)left;
    s->len[1] = size - s->len[0];
    if (!data_ref(h, va, s->len[0], access, &s->part[0]))
        return false;
    if (s->len[1] && !data_ref(h, va + left, s->len[1], access, &s->part[1]))
        return false;
    if (!s->part[0].host)
        return access_fault(h, access, va);
    if (s->len[1] && !s->part[1].host)
        return access_fault(h, access, va + left);
    return true;
}

/* Within a page: one host access here too, atomic wherever the host's are. */
static uint64_t host_load_unaligned(const void *p, unsigned size)
{
    uint64_t v = 0;

    switch (size) {
    case 2: mem_copy(&v, p, 2); break;
    case 4: mem_copy(&v, p, 4); break;
    default: mem_copy(&v, p, 8); break;
    }
    return v;
}

static void host_store_unaligned(void *p, unsigned size, uint64_t value)
{
    switch (size) {
    case 2: mem_copy(p, &value, 2); break;
    case 4: mem_copy(p, &value, 4); break;
    default: mem_copy(p, &value, 8); break;
    }
}

static SIM_NOINLINE bool load_misaligned(struct rv_hart *h, gva_t va, unsigned size,
                                         uint64_t *value)
{
    struct split s;

    if (!split_refs(h, va, size, RV_WALK_LOAD, &s))
        return false;
    *value = 0;
    if (!s.len[1]) {
        *value = host_load_unaligned(s.part[0].host, size);
    } else {
        mem_copy(value, s.part[0].host, s.len[0]);
        mem_copy((uint8_t *)value + s.len[0], s.part[1].host, s.len[1]);
    }
    tell(h, va, &s.part[0], size, RV_ACCESS_LOAD, *value);
    return true;
}

static SIM_NOINLINE bool store_misaligned(struct rv_hart *h, gva_t va, unsigned size,
                                          uint64_t value)
{
    struct split s;

    if (!split_refs(h, va, size, RV_WALK_STORE, &s))
        return false;
    if (!s.len[1]) {
        host_store_unaligned(s.part[0].host, size, value);
        report_code(h, &s.part[0], size);
    } else {
        mem_copy(s.part[0].host, &value, s.len[0]);
        mem_copy(s.part[1].host, (const uint8_t *)&value + s.len[0], s.len[1]);
        report_code(h, &s.part[0], s.len[0]);
        report_code(h, &s.part[1], s.len[1]);
    }
    tell(h, va, &s.part[0], size, RV_ACCESS_STORE, value);
    return true;
}

/* --- the slow paths proper --- */

bool rv_load_slow(struct rv_hart *h, gva_t va, unsigned size, uint64_t *value)
{
    struct data_ref ref;

    if (va & (size - 1))
        return load_misaligned(h, va, size, value);
    if (!data_ref(h, va, size, RV_WALK_LOAD, &ref))
        return false;
    if (ref.host)
        *value = host_load(ref.host, size);
    else if (!mmio_load(h, va, ref.gpa, size, value))
        return false;
    tell(h, va, &ref, size, RV_ACCESS_LOAD, *value);
    return true;
}

bool rv_store_slow(struct rv_hart *h, gva_t va, unsigned size, uint64_t value)
{
    struct data_ref ref;

    if (va & (size - 1))
        return store_misaligned(h, va, size, value);
    if (!data_ref(h, va, size, RV_WALK_STORE, &ref))
        return false;
    if (ref.host)
        host_store(ref.host, size, value);
    else if (!mmio_store(h, va, ref.gpa, size, value))
        return false;
    report_code(h, &ref, size);
    tell(h, va, &ref, size, RV_ACCESS_STORE, value);
    return true;
}

void *rv_amo_ptr(struct rv_hart *h, gva_t va, unsigned size, bool *code_page)
{
    struct data_ref ref;

    if (va & (size - 1)) {
        rv_trap(h, RV_EXC_STORE_MISALIGNED, va);
        return NULL;
    }
    if (!data_ref(h, va, size, RV_WALK_STORE, &ref))
        return NULL;
    if (!ref.host)
        access_fault(h, RV_WALK_STORE, va);
    else if (SIM_UNLIKELY(h->observe & RV_OBSERVE_ACCESSES))
        rv_watch_begin(h, va, ref.gpa, size, ref.host);
    *code_page = ref.code_page;
    return ref.host;
}

/* Asks for a page that is elsewhere to write it at once, because of the SC that follows. Whether the LR itself may be
 * done is found out later. */
static bool fetch_to_reserve(struct rv_hart *h, gva_t va)
{
    struct rv_leaf leaf;

    if (!walk_or_trap(h, h->tlb, va, RV_WALK_LOAD, &leaf))
        return false;
    return mem_page_ready(h->machine->space, leaf.gpa, true, h->vcpu.index) != MEM_WAIT || wait_for_page(h);
}

const void *rv_lr_ptr(struct rv_hart *h, gva_t va, unsigned size)
{
    struct data_ref ref;

    if (va & (size - 1)) {
        rv_trap(h, RV_EXC_LOAD_MISALIGNED, va);
        return NULL;
    }
    if (SIM_UNLIKELY(mem_is_distributed(h->machine->space)) && !find_data(h, va, false, &ref) &&
        !fetch_to_reserve(h, va))
        return NULL;
    if (!data_ref(h, va, size, RV_WALK_LOAD, &ref))
        return NULL;
    if (!ref.host)
        access_fault(h, RV_WALK_LOAD, va);
    /* A page that is only shared here would be lost between LR and SC. */
    else if (mem_page_ready(h->machine->space, ref.gpa, true, h->vcpu.index) == MEM_WAIT)
        return wait_for_page(h), NULL;
    else if (SIM_UNLIKELY(h->observe & RV_OBSERVE_ACCESSES))
        rv_watch_begin(h, va, ref.gpa, size, ref.host);
    return ref.host;
}

void rv_code_written(struct rv_hart *h, gva_t va, unsigned size)
{
    struct data_ref ref;

    /* The access itself has just succeeded and left its translation. */
    if (data_ref(h, va, size, RV_WALK_LOAD, &ref))
        mem_code_written(h->machine->space, ref.gpa, size);
}

bool rv_translate(struct rv_hart *h, gva_t va, unsigned len, enum rv_access access, gpa_t *gpa)
{
    struct data_ref ref;

    if (!data_ref(h, va, len, access == RV_LOAD ? RV_WALK_LOAD : RV_WALK_STORE, &ref))
        return false;
    *gpa = ref.gpa;
    return true;
}

/* --- fetch --- */

static const uint8_t *walk_fetch(struct rv_hart *h, gva_t va, gpa_t *gpa_page)
{
    struct rv_tlb *t = h->code_tlb;
    struct rv_fetch_entry *e = &t->fetch[va >> GUEST_PAGE_BITS & (RV_FETCH_SIZE - 1)];
    struct rv_leaf leaf;
    uint8_t *host;
    bool writable;

    if (!walk_or_trap(h, t, va, RV_WALK_FETCH, &leaf))
        return NULL;
    enum mem_result result = MEM_FAULT;
    if (rv_pmp_perm(h, leaf.gpa, 2, t->priv) & PMP_X)
        result = mem_page_acquire(h->machine->space, leaf.gpa, false, h->vcpu.index, &host, &writable);
    if (result == MEM_WAIT)
        return wait_for_page(h), NULL;
    if (result != MEM_OK) {
        access_fault(h, RV_WALK_FETCH, va);
        return NULL;
    }
    *gpa_page = leaf.gpa & GUEST_PAGE_MASK;
    uint64_t info = leaf_info(h, t, va, &leaf); /* also without an entry: jumps to it may be remembered */
    if (!rv_pmp_uniform(h, leaf.gpa))
        return host;
    if (e->tag != RV_TLB_INVALID)
        rv_tlb_fetch_displaced(t, e->tag);
    *e = (struct rv_fetch_entry){va & GUEST_PAGE_MASK, *gpa_page, host, info};
    rv_tlb_note_gpa(t, *gpa_page);
    t->used = 1;
    return host;
}

const uint8_t *rv_fetch_page(struct rv_hart *h, gva_t va, gpa_t *gpa_page)
{
    const struct rv_fetch_entry *e =
        &h->code_tlb->fetch[va >> GUEST_PAGE_BITS & (RV_FETCH_SIZE - 1)];

    if (SIM_LIKELY(e->tag == (va & GUEST_PAGE_MASK))) {
        *gpa_page = e->gpa;
        return e->host;
    }
    return walk_fetch(h, va, gpa_page);
}

static uint16_t parcel(const uint8_t *page, gva_t va)
{
    return __atomic_load_n((const uint16_t *)(page + (va & ~GUEST_PAGE_MASK)), __ATOMIC_RELAXED);
}

bool rv_fetch(struct rv_hart *h, uint32_t *raw)
{
    gpa_t gpa;
    const uint8_t *page = rv_fetch_page(h, h->pc, &gpa);

    if (SIM_UNLIKELY(!page))
        return false;
    *raw = parcel(page, h->pc);
    if (rv_insn_len(*raw) == 2)
        return true;
    /* The second half may be in another page, and PMP may cut even within this one. */
    page = rv_fetch_page(h, h->pc + 2, &gpa);
    if (!page)
        return false;
    *raw |= (uint32_t)parcel(page, h->pc + 2) << 16;
    return true;
}
