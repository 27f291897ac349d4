/* The page walk (mmu.c), as mem.c uses it. */
#ifndef CPU_RISCV_MMU_H
#define CPU_RISCV_MMU_H

#include "hart.h"

enum rv_walk_access { RV_WALK_LOAD, RV_WALK_STORE, RV_WALK_FETCH };
enum rv_walk_result {
    RV_WALK_OK,
    RV_WALK_PAGE_FAULT,
    RV_WALK_ACCESS_FAULT,
    RV_WALK_WAIT /* a page of the tables is on its way from another rank */
};

struct rv_leaf {
    gpa_t gpa;     /* of va itself */
    bool readable; /* loads are allowed as well (for a store's or a load's context) */
    bool global;
    uint8_t shift; /* log2 of the leaf's size; 12 in bare mode */
    gpa_t pte_gpa; /* where the leaf is, and what it says; undefined in bare mode */
    uint64_t pte;
    bool in_root;  /* it is in the root table */
    uint64_t root; /* the entry of the root table that leads to it; 0 in bare mode */
};

/* Translates va in the regime of context t, checks permissions and sets A and D. PMP is checked for
 * the walk's own accesses, not for the result. */
enum rv_walk_result rv_walk(struct rv_hart *h, const struct rv_tlb *t, gva_t va,
                            enum rv_walk_access access, struct rv_leaf *leaf);

/* Which entry of the root table va's translation begins with, and that entry; false: there is none. */
unsigned rv_walk_root_index(uint64_t satp, gva_t va);
bool rv_walk_root(struct rv_hart *h, uint64_t satp, unsigned index, uint64_t *pte);

#endif
