/* The page walk: Sv39, Sv48, Sv57 (Priv. 4.3.2), Svnapot, Svpbmt, Svadu.
 *
 *   rv_walk -> canonical? -> per level: read PTE (PMP, RAM only) -> pointer | leaf
 *   leaf: reserved bits, permissions, superpage alignment, A/D by compare-and-swap */
#include "mmu.h"

#include "csr_bits.h"

enum { PTE_V = 1, PTE_R = 2, PTE_W = 4, PTE_X = 8, PTE_U = 16, PTE_G = 32, PTE_A = 64, PTE_D = 128 };
#define PTE_PPN_SHIFT 10
#define PTE_PPN ((1ull << 44) - 1)
#define PTE_RESERVED (0x7full << 54)
#define PTE_PBMT_SHIFT 61
#define PTE_PBMT (3ull << PTE_PBMT_SHIFT)
#define PTE_N (1ull << 63)
#define LEVEL_BITS 9
#define NAPOT_BITS 4 /* the only size defined: 64 KiB */

struct walk {
    struct rv_hart *h;
    const struct rv_tlb *t; /* the regime */
    gva_t va;
    enum rv_walk_access access;
    unsigned level; /* of the current PTE; 0 maps 4 KiB */
    gpa_t pte_gpa;
    _Atomic uint64_t *slot;
    uint64_t pte;
};

/* Host address of 8 bytes of RAM; one region is nearly always enough for all page tables. */
static void *table_ptr(struct rv_hart *h, gpa_t gpa)
{
    if (SIM_UNLIKELY(gpa - h->walk_ram.base >= h->walk_ram.size)) {
        struct mem_region *r = mem_find(h->machine->space, gpa);
        if (!r || r->ops)
            return NULL;
        h->walk_ram.base = r->base;
        h->walk_ram.size = r->size;
        h->walk_ram.host = mem_ram_ptr(h->machine->space, r->base, 1);
    }
    return h->walk_ram.host + (gpa - h->walk_ram.base);
}

static uint64_t table_offset(const struct walk *w)
{
    return (uint64_t)((uint8_t *)w->slot - w->h->machine->space->vram);
}

static bool ready(const struct walk *w, bool write)
{
    return mem_page_ready(w->h->machine->space, w->pte_gpa, write, w->h->vcpu.index) != MEM_WAIT;
}

/* Implicit accesses are made as S mode (Priv. 3.7.2). */
static enum rv_walk_result read_pte(struct walk *w)
{
    if (!(rv_pmp_perm(w->h, w->pte_gpa, 8, RV_S) & PMP_R))
        return RV_WALK_ACCESS_FAULT;
    w->slot = table_ptr(w->h, w->pte_gpa);
    if (!w->slot)
        return RV_WALK_ACCESS_FAULT;
    if (!ready(w, false))
        return RV_WALK_WAIT;
    sim_guard_before(&w->h->machine->space->guard, table_offset(w), 8, false);
    w->pte = atomic_load_explicit(w->slot, memory_order_acquire);
    return RV_WALK_OK;
}

static bool reserved_bits(const struct walk *w)
{
    uint64_t pbmt = (w->pte & PTE_PBMT) >> PTE_PBMT_SHIFT;

    if (w->pte & PTE_RESERVED)
        return true;
    if ((w->pte & PTE_N) && !rv_isa_has(&w->h->isa, RV_EXT_SVNAPOT))
        return true;
    return pbmt == 3 || (pbmt && !(w->h->menvcfg & ENVCFG_PBMTE));
}

static bool is_leaf(uint64_t pte)
{
    return (pte & (PTE_R | PTE_X)) != 0;
}

static bool valid_pte(const struct walk *w)
{
    if (!(w->pte & PTE_V) || (w->pte & (PTE_R | PTE_W)) == PTE_W || reserved_bits(w))
        return false;
    if (is_leaf(w->pte))
        return true;
    return !(w->pte & (PTE_A | PTE_D | PTE_U | PTE_N | PTE_PBMT));
}

static bool readable(const struct walk *w)
{
    return (w->pte & PTE_R) || (w->t->mxr && (w->pte & PTE_X));
}

/* Priv. 4.3.2 step 5 */
static bool permitted(const struct walk *w)
{
    bool user_page = w->pte & PTE_U;

    if (w->t->priv == RV_U && !user_page)
        return false;
    if (w->t->priv == RV_S && user_page && (w->access == RV_WALK_FETCH || !w->t->sum))
        return false;
    switch (w->access) {
    case RV_WALK_LOAD: return readable(w);
    case RV_WALK_STORE: return w->pte & PTE_W;
    default: return w->pte & PTE_X;
    }
}

/* Superpages are aligned to their size; NAPOT exists for 64 KiB only. */
static bool aligned_leaf(const struct walk *w)
{
    uint64_t ppn = w->pte >> PTE_PPN_SHIFT & PTE_PPN;

    if (w->pte & PTE_N)
        return w->level == 0 && sim_bits(ppn, 0, NAPOT_BITS) == 1u << (NAPOT_BITS - 1);
    return sim_bits(ppn, 0, w->level * LEVEL_BITS) == 0;
}

enum update { UPDATE_DONE, UPDATE_RETRY, UPDATE_PAGE_FAULT, UPDATE_ACCESS_FAULT, UPDATE_WAIT };

/* Sets A, and D for stores, if they are not (Svadu); the PTE must not have changed meanwhile. */
static enum update update_ad(struct walk *w)
{
    uint64_t want = PTE_A | (w->access == RV_WALK_STORE ? PTE_D : 0);
    uint64_t seen = w->pte;

    if ((w->pte & want) == want)
        return UPDATE_DONE;
    if (!(w->h->menvcfg & ENVCFG_ADUE))
        return UPDATE_PAGE_FAULT;
    if (!(rv_pmp_perm(w->h, w->pte_gpa, 8, RV_S) & PMP_W))
        return UPDATE_ACCESS_FAULT;
    if (!ready(w, true))
        return UPDATE_WAIT;
    sim_guard_before(&w->h->machine->space->guard, table_offset(w), 8, true);
    if (!atomic_compare_exchange_strong_explicit(w->slot, &seen, seen | want, memory_order_seq_cst,
                                                 memory_order_acquire))
        return UPDATE_RETRY;
    w->pte |= want;
    mem_dma_written(w->h->machine->space, w->pte_gpa, 8);
    return UPDATE_DONE;
}

static void fill_leaf(const struct walk *w, struct rv_leaf *leaf)
{
    uint64_t base = (w->pte >> PTE_PPN_SHIFT & PTE_PPN) << GUEST_PAGE_BITS;

    leaf->shift = (uint8_t)(GUEST_PAGE_BITS + w->level * LEVEL_BITS);
    if (w->pte & PTE_N)
        leaf->shift = GUEST_PAGE_BITS + NAPOT_BITS;
    uint64_t offset = (1ull << leaf->shift) - 1;
    leaf->gpa = (base & ~offset) | (w->va & offset);
    leaf->global = w->pte & PTE_G;
    leaf->readable = readable(w);
}

static enum rv_walk_result walk_leaf(struct walk *w, struct rv_leaf *leaf)
{
    if (!permitted(w) || !aligned_leaf(w))
        return RV_WALK_PAGE_FAULT;
    fill_leaf(w, leaf);
    return RV_WALK_OK;
}

/* Reads PTEs from w->level down; a changed PTE is read again. */
static enum rv_walk_result walk_levels(struct walk *w, gpa_t table, struct rv_leaf *leaf)
{
    unsigned top = w->level;
    bool global = false;

    for (;;) {
        unsigned shift = GUEST_PAGE_BITS + w->level * LEVEL_BITS;
        w->pte_gpa = table + sim_bits(w->va, shift, LEVEL_BITS) * 8;
        enum rv_walk_result read = read_pte(w);
        if (read != RV_WALK_OK)
            return read;
        if (!valid_pte(w))
            return RV_WALK_PAGE_FAULT;
        if (w->level == top)
            leaf->root = w->pte;
        if (is_leaf(w->pte)) {
            enum rv_walk_result result = walk_leaf(w, leaf);
            enum update update = result == RV_WALK_OK ? update_ad(w) : UPDATE_DONE;
            leaf->global |= global;
            leaf->pte_gpa = w->pte_gpa;
            leaf->pte = w->pte;
            leaf->in_root = w->level == top;
            if (w->level == top)
                leaf->root = w->pte; /* with A, if that was set */
            if (update == UPDATE_RETRY)
                continue;
            return update == UPDATE_PAGE_FAULT     ? RV_WALK_PAGE_FAULT
                   : update == UPDATE_ACCESS_FAULT ? RV_WALK_ACCESS_FAULT
                   : update == UPDATE_WAIT         ? RV_WALK_WAIT
                                                   : result;
        }
        if (w->level-- == 0)
            return RV_WALK_PAGE_FAULT;
        global |= (w->pte & PTE_G) != 0;
        table = (w->pte >> PTE_PPN_SHIFT & PTE_PPN) << GUEST_PAGE_BITS;
    }
}

static unsigned nr_levels(uint64_t satp)
{
    return (unsigned)(satp >> SATP_MODE_SHIFT) - SATP_SV39 + 3;
}

unsigned rv_walk_root_index(uint64_t satp, gva_t va)
{
    return (unsigned)sim_bits(va, GUEST_PAGE_BITS + (nr_levels(satp) - 1) * LEVEL_BITS, LEVEL_BITS);
}

bool rv_walk_root(struct rv_hart *h, uint64_t satp, unsigned index, uint64_t *pte)
{
    struct mem_space *space = h->machine->space;
    const _Atomic uint64_t *slot = table_ptr(h, ((satp & SATP_PPN) << GUEST_PAGE_BITS) + 8 * (gpa_t)index);

    if (!slot)
        return false;
    sim_guard_before(&space->guard, (uint64_t)((const uint8_t *)slot - space->vram), 8, false);
    *pte = atomic_load_explicit(slot, memory_order_acquire);
    return true;
}

enum rv_walk_result rv_walk(struct rv_hart *h, const struct rv_tlb *t, gva_t va,
                            enum rv_walk_access access, struct rv_leaf *leaf)
{
    if (!t->satp) {
        *leaf = (struct rv_leaf){.gpa = va, .readable = true, .shift = GUEST_PAGE_BITS};
        return RV_WALK_OK;
    }
    unsigned levels = nr_levels(t->satp);
    unsigned va_bits = GUEST_PAGE_BITS + levels * LEVEL_BITS;
    struct walk w = {.h = h, .t = t, .va = va, .access = access, .level = levels - 1};

    if ((uint64_t)sim_sext(va, va_bits) != va)
        return RV_WALK_PAGE_FAULT;
    leaf->global = false;
    return walk_levels(&w, (t->satp & SATP_PPN) << GUEST_PAGE_BITS, leaf);
}
