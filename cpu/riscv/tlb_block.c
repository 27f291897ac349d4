/* Blocks: what lies around a page of a superpage, in one range, which slots take over whole.
 *
 *   fill of a page whose leaf is a superpage -> neighbouring leaves that say the same and go on in guest memory -> block
 *   a slot misses -> a block has the address: the slot has its range from now on   (host/.../emit_find)
 *
 * An operating system has all of memory mapped so, and goes about in it: page by page that is a walk and an entry for each of
 * thousands, and slots that take turns. For loads a block is as long as its leaves agree. For stores only marked pages of
 * areas without code are in it, as if each had been asked for (mem_open_run): the first write of each page is still seen, and who
 * translates code there asks all harts. None where pages come and go or uses must be known (mem_is_plain), or are observed.
 *
 * A block's leaves are in the context's hull of superpages, so a fence for any of its pages takes all slots and blocks away. */
#include "hart.h"
#include "mmu.h"
#include "observe.h"

enum {
    LEAF_SHIFT_LEAST = 21, /* 64 KiB are not worth the search */
    LEAF_PPN_SHIFT = 10,
    TABLE_ENTRIES = 512,
    PATIENCE = 8 /* fills until another one is looked for */
};

/* Where va is, as guest-physical addresses. */
struct extent {
    gpa_t first, end;
};

void rv_tlb_note_large(struct rv_tlb *t, gva_t first, gva_t last)
{
    unsigned half = first >> 63;

    if (first < t->large[half].lo)
        t->large[half].lo = first;
    if (last > t->large[half].hi)
        t->large[half].hi = last;
}

/* How many entries of the table, going by `step` (1, -1) from the leaf's, continue it: accessed and dirty as it is. */
static unsigned count_alike(const struct rv_leaf *leaf, const _Atomic uint64_t *slot, int step)
{
    const unsigned index = leaf->pte_gpa / sizeof leaf->pte % TABLE_ENTRIES;
    const unsigned most = step > 0 ? TABLE_ENTRIES - 1 - index : index;
    const int64_t grows = step * (1ll << (leaf->shift - GUEST_PAGE_BITS + LEAF_PPN_SHIFT));
    unsigned n = 0;

    for (int64_t pte = (int64_t)leaf->pte + grows; n < most; n++, pte += grows)
        if (atomic_load_explicit(slot + step * (int)(n + 1), memory_order_relaxed) != (uint64_t)pte)
            break;
    return n;
}

/* The leaves around leaf->gpa. Without translation that is everything. */
static bool find_leaves(struct rv_hart *h, const struct rv_leaf *leaf, struct extent *x)
{
    const uint64_t size = 1ull << leaf->shift;
    const gpa_t at = leaf->gpa & ~(size - 1);

    if (!leaf->pte_gpa) {
        *x = (struct extent){0, UINT64_MAX};
        return true;
    }
    const _Atomic uint64_t *slot = (const void *)mem_ram_ptr(h->machine->space, leaf->pte_gpa, sizeof leaf->pte);
    if (leaf->shift < LEAF_SHIFT_LEAST || !slot || !rv_pmp_uniform(h, leaf->pte_gpa))
        return false;
    *x = (struct extent){at - count_alike(leaf, slot, -1) * size, at + (count_alike(leaf, slot, 1) + 1) * size};
    return true;
}

/* What of it is in the region, and, for stores, may be written. */
static bool cut(struct mem_space *s, const struct mem_region *r, gpa_t gpa, bool write, struct extent *x)
{
    const uint64_t to_offset = r->ram_offset - r->base;
    uint64_t first = (x->first < r->base ? r->base : x->first) + to_offset;
    uint64_t end = (x->end - r->base > r->size ? r->base + r->size : x->end) + to_offset;

    if (write && !mem_open_run(s, gpa + to_offset, &first, &end))
        return false;
    *x = (struct extent){first - to_offset, end - to_offset};
    return true;
}

bool rv_tlb_in_block(const struct rv_tlb *t, gva_t va, bool write)
{
    for (unsigned i = 0; i < RV_TLB_BLOCKS; i++)
        if (va - t->block[write][i].lo < t->block[write][i].limit)
            return true;
    return false;
}

/* The longest first: it is looked at first. One that the new block has goes, or else the last. */
static void put_block(struct rv_tlb *t, bool write, struct rv_tlb_slot new)
{
    struct rv_tlb_slot *b = t->block[write];
    unsigned n = 0;

    while (n < RV_TLB_BLOCKS - 1 && b[n].limit && b[n].lo - new.lo >= new.limit)
        n++;
    for (; n > 0 && b[n - 1].limit < new.limit; n--)
        b[n] = b[n - 1];
    for (; n < RV_TLB_BLOCKS - 1 && b[n + 1].limit > new.limit; n++)
        b[n] = b[n + 1];
    b[n] = new;
}

void rv_tlb_find_block(struct rv_hart *h, gva_t va, const struct rv_leaf *leaf, bool write)
{
    struct mem_space *s = h->machine->space;
    const struct mem_region *r;
    struct rv_tlb *t = h->tlb;
    struct extent x;

    if ((leaf->shift < LEAF_SHIFT_LEAST && leaf->pte_gpa) || rv_tlb_in_block(t, va, write) || t->block_age[write]++ % PATIENCE)
        return;
    if ((h->observe & RV_OBSERVE_ACCESSES) || !mem_is_plain(s))
        return;
    r = mem_find(s, leaf->gpa);
    if (!r || r->ops || !find_leaves(h, leaf, &x) || !cut(s, r, leaf->gpa, write, &x) || !rv_pmp_uniform_range(h, x.first, x.end - 1))
        return;
    gva_t lo = va - (leaf->gpa - x.first);
    put_block(t, write, (struct rv_tlb_slot){x.end - x.first, lo, (uint64_t)(uintptr_t)mem_ram_ptr(s, x.first, 1) - lo});
    if (leaf->pte_gpa)
        rv_tlb_note_large(t, lo, lo + (x.end - x.first - 1));
    t->wide |= write;
}
