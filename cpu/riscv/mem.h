/* Guest-virtual memory access for exec functions and the JIT's slow paths.
 *
 * All take any alignment. On false the trap is recorded in the hart (cause by access kind, tval the
 * faulting address) and nothing was done. The inline part is the soft-TLB hit; the rest is mmu.c. */
#ifndef CPU_RISCV_MEM_H
#define CPU_RISCV_MEM_H

#include "hart.h"

enum rv_access { RV_LOAD, RV_STORE, RV_AMO /* needs write permission, faults as a store */ };

/* Out of line: walk, fill, MMIO, misaligned, code pages. *value is zero-extended. */
bool rv_load_slow(struct rv_hart *h, gva_t va, unsigned size, uint64_t *value);
bool rv_store_slow(struct rv_hart *h, gva_t va, unsigned size, uint64_t value);
/* Host address of naturally aligned RAM for an atomic of `size` (4, 8, 16; cbo.zero: 64) bytes, with
 * write permission. A misaligned address or one that is not RAM traps (store/AMO misaligned, access
 * fault). When *code_page is set the caller reports the store with rv_code_written afterwards. */
void *rv_amo_ptr(struct rv_hart *h, gva_t va, unsigned size, bool *code_page);
/* As rv_amo_ptr but with load permission and load causes (LR). */
const void *rv_lr_ptr(struct rv_hart *h, gva_t va, unsigned size);
void rv_code_written(struct rv_hart *h, gva_t va, unsigned size);

/* Translates and checks all of `len` bytes, in one page, for one access kind without side effects other
 * than A/D bits; false: trap recorded. Used by cbo.*. */
bool rv_translate(struct rv_hart *h, gva_t va, unsigned len, enum rv_access access, gpa_t *gpa);

/* Fetch: host pointer to the code page of pc (from the fetch TLB or a walk) and its gpa; NULL: trap
 * recorded (instruction page or access fault, tval = va). The permission holds for the two bytes at
 * va; for the whole page only if it is in the fetch TLB (rv_fetch_whole: PMP may cut a page). */
const uint8_t *rv_fetch_page(struct rv_hart *h, gva_t va, gpa_t *gpa_page);
static inline bool rv_fetch_whole(const struct rv_hart *h, gva_t va)
{
    return h->code_tlb->fetch[va >> GUEST_PAGE_BITS & (RV_FETCH_SIZE - 1)].tag ==
           (va & GUEST_PAGE_MASK);
}
/* Fetches the instruction at h->pc, over a page end if need be. */
bool rv_fetch(struct rv_hart *h, uint32_t *raw);

static inline struct rv_tlb_entry *rv_tlb_way0(struct rv_hart *h, gva_t va)
{
    return h->tlb->set[rv_tlb_set_of(va)];
}

static inline bool rv_load(struct rv_hart *h, gva_t va, unsigned size, uint64_t *value)
{
    const struct rv_tlb_entry *e = rv_tlb_way0(h, va);

    if (SIM_LIKELY(e->tag_r == (va & (GUEST_PAGE_MASK | (size - 1))))) {
        const void *p = (const void *)(uintptr_t)(e->addend + va);
        /* One host access per guest access: guest threads race, so no memcpy in pieces. */
        switch (size) {
        case 1: *value = __atomic_load_n((const uint8_t *)p, __ATOMIC_RELAXED); return true;
        case 2: *value = __atomic_load_n((const uint16_t *)p, __ATOMIC_RELAXED); return true;
        case 4: *value = __atomic_load_n((const uint32_t *)p, __ATOMIC_RELAXED); return true;
        default: *value = __atomic_load_n((const uint64_t *)p, __ATOMIC_RELAXED); return true;
        }
    }
    return rv_load_slow(h, va, size, value);
}

static inline bool rv_store(struct rv_hart *h, gva_t va, unsigned size, uint64_t value)
{
    const struct rv_tlb_entry *e = rv_tlb_way0(h, va);

    if (SIM_LIKELY(e->tag_w == (va & (GUEST_PAGE_MASK | (size - 1))))) {
        void *p = (void *)(uintptr_t)(e->addend + va);
        switch (size) {
        case 1: __atomic_store_n((uint8_t *)p, (uint8_t)value, __ATOMIC_RELAXED); return true;
        case 2: __atomic_store_n((uint16_t *)p, (uint16_t)value, __ATOMIC_RELAXED); return true;
        case 4: __atomic_store_n((uint32_t *)p, (uint32_t)value, __ATOMIC_RELAXED); return true;
        default: __atomic_store_n((uint64_t *)p, value, __ATOMIC_RELAXED); return true;
        }
    }
    return rv_store_slow(h, va, size, value);
}

#endif
