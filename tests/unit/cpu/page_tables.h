/* Builds page tables in the rig's RAM: a root at PT_ROOT, further tables after it. */
#ifndef PAGE_TABLES_H
#define PAGE_TABLES_H

#include "hart_fixture.h"

enum { V = 1, R = 2, W = 4, X = 8, U = 16, G = 32, A = 64, D = 128 };
#define RWXAD (V | R | W | X | A | D)
#define PTE_N_BIT (1ull << 63)
#define PTE_PBMT_OF(n) ((uint64_t)(n) << 61)

#define PT_ROOT (RAM_BASE + 0x800000)
#define PT_PAGES 64

struct tables {
    struct rig *r;
    unsigned levels; /* 3, 4, 5 */
    unsigned used;   /* pages taken, the root included */
};

static inline void pt_init(struct tables *t, struct rig *r, unsigned mode)
{
    static const uint8_t zero[4096];

    *t = (struct tables){r, mode - SATP_SV39 + 3, 1};
    for (unsigned i = 0; i < PT_PAGES; i++)
        mem_write(r->space, PT_ROOT + i * 4096, zero, 4096);
}

static inline uint64_t pt_satp(unsigned mode, unsigned asid)
{
    return (uint64_t)mode << SATP_MODE_SHIFT | (uint64_t)asid << SATP_ASID_SHIFT | PT_ROOT >> 12;
}

/* Address of the PTE for va at `level`, making the tables above it. */
static inline gpa_t pt_slot(struct tables *t, gva_t va, unsigned level)
{
    gpa_t table = PT_ROOT;

    for (unsigned l = t->levels - 1;; l--) {
        gpa_t slot = table + sim_bits(va, 12 + 9 * l, 9) * 8;
        if (l == level)
            return slot;
        uint64_t pte = rig_get64(t->r, slot);
        if (!pte) {
            assert_true(t->used < PT_PAGES);
            pte = (PT_ROOT + 4096ull * t->used++) >> 12 << 10 | V;
            rig_put64(t->r, slot, pte);
        }
        table = (pte >> 10) << 12;
    }
}

/* Maps va to pa with a leaf at `level`; returns the PTE's address. */
static inline gpa_t pt_map(struct tables *t, gva_t va, gpa_t pa, unsigned level, uint64_t flags)
{
    gpa_t slot = pt_slot(t, va, level);

    rig_put64(t->r, slot, pa >> 12 << 10 | flags);
    return slot;
}

/* S mode under built-in SBI rules with the tables active. */
static inline void pt_enter(struct rig *r, unsigned mode, unsigned asid, enum rv_priv priv)
{
    r->h->satp = pt_satp(mode, asid);
    rig_set_priv(r->h, priv);
}

#endif
