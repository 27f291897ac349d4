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
#include "sim-core/log.h"

enum {
    LEAF_SHIFT_LEAST = 21, /* 64 KiB are not worth the search */
    LEAF_PPN_SHIFT = 10,
    TABLE_ENTRIES = 512,
    PATIENCE = 8 /* fills until another one is looked for */
};

#define PPN_LAST ((1ull << 44) - 1)

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

/* How many entries of the table, from the leaf's on by `step` (1, -1), continue it: accessed and dirty as it is, up to the end of the
 * table, or of guest-physical memory, or of the half of the address space. */
static unsigned count_alike(const struct rv_leaf *leaf, const _Atomic uint64_t *slot, int step)
{
    const unsigned table = leaf->in_root ? TABLE_ENTRIES / 2 : TABLE_ENTRIES;
    const unsigned index = leaf->pte_gpa / sizeof leaf->pte % table;
    const uint64_t ppn = leaf->gpa >> leaf->shift, last = PPN_LAST >> (leaf->shift - GUEST_PAGE_BITS);
    const uint64_t inside = step > 0 ? table - 1 - index : index, there = step > 0 ? last - ppn : ppn;
    const uint64_t grows = (uint64_t)step << (leaf->shift - GUEST_PAGE_BITS + LEAF_PPN_SHIFT);
    unsigned n = 0;

    for (uint64_t pte = leaf->pte + grows; n < inside && n < there; n++, pte += grows)
        if (atomic_load_explicit(slot + step * (int)(n + 1), memory_order_relaxed) != pte)
            break;
    return n;
}

/* The leaves around leaf->gpa. Without translation that is everything. */
static bool find_leaves(struct rv_hart *h, const struct rv_leaf *leaf, struct extent *x)
{
    const uint64_t size = 1ull << leaf->shift;
    const gpa_t at = leaf->gpa & ~(size - 1);

    if (!h->tlb->satp) {
        *x = (struct extent){0, UINT64_MAX};
        return true;
    }
    const _Atomic uint64_t *slot = (const void *)mem_ram_ptr(h->machine->space, leaf->pte_gpa, sizeof leaf->pte);
    if (!slot || !rv_pmp_uniform(h, leaf->pte_gpa))
        return false;
    *x = (struct extent){at - count_alike(leaf, slot, -1) * size, at + (count_alike(leaf, slot, 1) + 1) * size};
    return true;
}

/* What of it is in the region, which has gpa. */
static void clip(const struct mem_region *r, struct extent *x)
{
    if (x->first < r->base)
        x->first = r->base;
    if (x->end - r->base > r->size)
        x->end = r->base + r->size;
}

/* What of it a store may have. */
static bool open_run(struct mem_space *s, const struct mem_region *r, gpa_t gpa, struct extent *x)
{
    const uint64_t to_offset = r->ram_offset - r->base;
    uint64_t first = x->first + to_offset, end = x->end + to_offset;

    if (!mem_open_run(s, gpa + to_offset, &first, &end))
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

static bool find_extent(struct rv_hart *h, const struct rv_leaf *leaf, bool write, struct extent *x)
{
    struct mem_space *s = h->machine->space;
    const struct mem_region *r = mem_find(s, leaf->gpa);

    if (!r || r->ops || (write && !mem_may_open(s, r->ram_offset + (leaf->gpa - r->base))) || !find_leaves(h, leaf, x))
        return false;
    clip(r, x);
    return rv_pmp_uniform_range(h, x->first, x->end - 1) && (!write || open_run(s, r, leaf->gpa, x));
}

void rv_tlb_find_block(struct rv_hart *h, gva_t va, const struct rv_leaf *leaf, bool write)
{
    struct rv_tlb *t = h->tlb;
    struct extent x;

    if ((leaf->shift < LEAF_SHIFT_LEAST && t->satp) || rv_tlb_in_block(t, va, write) || t->block_age[write]++ % PATIENCE)
        return;
    if ((h->observe & RV_OBSERVE_ACCESSES) || !mem_is_plain(h->machine->space) || !find_extent(h, leaf, write, &x))
        return;
    const uint8_t *host = mem_ram_ptr(h->machine->space, x.first, x.end - x.first);
    gva_t lo = va - (leaf->gpa - x.first);
    SIM_BUG_ON(!host || leaf->gpa - x.first >= x.end - x.first, "a block of 0x%llx that has it not", (unsigned long long)leaf->gpa);
    put_block(t, write, (struct rv_tlb_slot){x.end - x.first, lo, (uint64_t)(uintptr_t)host - lo});
    if (t->satp)
        rv_tlb_note_large(t, lo, lo + (x.end - x.first - 1));
    t->wide |= write;
}
