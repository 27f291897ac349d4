/* The soft TLB: what translated code and the interpreter look up inline.
 *
 * A context (struct rv_tlb) belongs to one translation regime of one hart: privilege, satp (mode,
 * ASID, root), SUM, MXR, MPRV's effective mode. Switching privilege or address space switches the
 * context pointer; nothing is flushed. A supervisor's context that has global entries only follows it. Where there are more
 * harts than executors, supervisor code has a context apart, which harts of an executor use in turn (tlb_shared.c). A hart
 * keeps up to RV_TLB_CONTEXTS, recycled LRU.
 *
 *   set = rv_tlb_set_of(va); way 0 is compared inline, ways 1..3 by a shared routine.
 *   hit for an aligned access of n bytes:  entry.tag_r == (va & (~0xfff | (n - 1)))
 *   A misaligned va has low bits set that no tag has, so it misses: the slow path splits it.
 *   host address = entry.addend + va
 *
 * Tags are page-aligned addresses or RV_TLB_INVALID (a value no masked va can take). Entries exist
 * only for RAM; MMIO, and stores to code pages, always take the slow path. The slow path moves a
 * new entry into way 0 and the old ones down.
 *
 * Owner: the hart's executor. Other threads only post requests (hart.h). */
#ifndef CPU_RISCV_TLB_H
#define CPU_RISCV_TLB_H

#include <stdint.h>

#define RV_TLB_SET_BITS 8
#define RV_TLB_SETS (1u << RV_TLB_SET_BITS)
#define RV_TLB_WAYS 4
#define RV_TLB_CONTEXTS 16
#define RV_TLB_INVALID 0xfffull /* bits that alignment masks never keep all of */
/* In the tags of pages whose accesses are observed (observe/watch.c): a bit that no alignment mask keeps, so that only
 * mem.c finds the entry. */
#define RV_TLB_WATCHED 0x800ull

static inline unsigned rv_tlb_set_of(uint64_t va)
{
    return va >> 12 & (RV_TLB_SETS - 1);
}

#define RV_JC_BITS 12
#define RV_JC_SETS (1u << RV_JC_BITS)

struct rv_tlb_entry {
    uint64_t tag_r;  /* loads */
    uint64_t tag_w;  /* stores and AMOs (implies readable by them) */
    uint64_t addend; /* host = va + addend */
    uint64_t info;   /* gpa of the page | RV_TLB_LARGE | RV_TLB_GLOBAL | log2(leaf size) << 4 */
};
#define RV_TLB_LARGE 1u
#define RV_TLB_GLOBAL 2u
#define RV_TLB_SHIFT(info) ((unsigned)((info) >> 4 & 63))

/* Where an instruction of translated code hit last: slots, dealt out by the translator, looked at before the
 * set. A slot is a range of neighbouring pages with one addend, all of which had an entry that permits the
 * access, or are a block's (tlb_block.c): address - lo < limit is a hit, aligned or not. The limit is the range's size less the bytes
 * behind the first one that the accesses of the slot may touch; 0: an empty slot. Whatever takes an entry
 * or its write permission away clears the slots that have its page. A slot may outlive the entry that a
 * fill displaced: slot_filter has the pages of displaced entries. */
#define RV_TLB_SLOTS 960u
#define RV_TLB_SLOT_FILTER_BITS 512
#define RV_TLB_BLOCKS 4u /* what slots are filled from first (tlb_block.c) */
struct rv_tlb_slot { /* words that are used together lie together: a hart that comes to its turn has none of them in the caches */
    uint64_t limit, lo, addend;
};

/* Jump cache: guest pc -> translated code, valid in this context only. Index (pc >> 2) & mask; two ways in one line of
 * the host's caches, of which the first is compared inline and has what was used last. Zeros are an empty one but for the
 * first set, where pc 0 would look: an unused cache has no memory of the host. */
#define RV_JC_WAYS 2
struct rv_jc_entry {
    uint64_t pc; /* RV_JC_EMPTY: odd, matches nothing */
    const void *code;
};
#define RV_JC_EMPTY 1ull
#define RV_JC_GROUP (RV_JC_SETS / 64)
static inline unsigned rv_jc_set(uint64_t pc)
{
    return pc >> 2 & (RV_JC_SETS - 1);
}

/* Fetch entries: va page -> host page, for the interpreter and the translator. */
#define RV_FETCH_SIZE 64u
struct rv_fetch_entry {
    uint64_t tag;    /* va page, or RV_TLB_INVALID */
    uint64_t gpa;    /* guest-physical page */
    const uint8_t *host;
    uint64_t flags;  /* RV_TLB_LARGE | RV_TLB_GLOBAL | log2(leaf size) << 4 */
};

/* Jump-cache entries outlive the fetch entry of their page, so a fence must know which pages had
 * one: a filter of the va pages whose fetch entry was displaced, and the hull of them. */
#define RV_JC_FILTER_BITS 4096

#define RV_GPA_FILTER_BITS 8192

/* What a context is for, packed; no context has RV_TLB_NO_MODE. */
struct rv_tlb_key {
    uint64_t satp;
    uint64_t mode; /* priv | sum << 8 | mxr << 9, or RV_TLB_KERNEL_CODE */
};
/* Supervisor code apart from its data, where harts share it (tlb_shared.c): fetches and jumps, no data accesses. */
#define RV_TLB_KERNEL_CODE (1ull << 10 | 1)
#define RV_TLB_NO_MODE UINT64_MAX
/* What was filled into a context since it was emptied: pages of the lower and the upper half of the address space; pages
 * that are not global, and that are. Fences look here first: contexts are large and mostly in no cache. */
enum { RV_TLB_HOLDS_LOWER = 1, RV_TLB_HOLDS_UPPER = 2, RV_TLB_HOLDS_LOCAL = 4, RV_TLB_HOLDS_GLOBAL = 8 };

/* What the context of a kernel's code that harts share (tlb_shared.c) knows of where it is valid. */
#define RV_TLB_ROOTS 6u
struct rv_tlb_shared {
    struct {
        uint64_t index, pte;
    } root[RV_TLB_ROOTS]; /* the entries of the root table that its translations went through */
    uint8_t nr_roots;
    uint8_t refused;      /* there were more, or one has changed: it is not shared before it is emptied */
    uint8_t misses;       /* harts in a row that found it on the shelf and could not use it */
    uint64_t fences;      /* of rv_machine.global_fences: all those it has seen */
    uint64_t menvcfg;     /* of the hart that began to fill it */
    const struct rv_hart *last; /* who put it on the shelf */
};

struct rv_tlb {
    struct rv_tlb_entry set[RV_TLB_SETS][RV_TLB_WAYS];
    struct rv_tlb_slot slots[RV_TLB_SLOTS];
    struct rv_jc_entry jc[RV_JC_SETS][RV_JC_WAYS];
    struct rv_fetch_entry fetch[RV_FETCH_SIZE];
    struct rv_tlb_slot block[2][RV_TLB_BLOCKS]; /* for loads, and for stores; the limit is the size, 0 of those behind the last */
    /* key: the hart has it as well, in tlb_key[slot], which is what lookups read */
    uint64_t satp;     /* 0: bare */
    uint8_t priv;      /* effective privilege of accesses: 0 U, 1 S, 3 M */
    uint8_t sum, mxr;
    uint8_t kernel_code; /* its mode is RV_TLB_KERNEL_CODE */
    uint8_t slot;      /* index in the hart's pool */
    uint8_t used;      /* some entry was filled since the last flush */
    uint8_t wide;      /* slots for stores may have pages that were not asked for one by one */
    uint8_t block_age[2]; /* fills of superpages since a block was looked for */
    /* What was filled since it was emptied: a process that lives for a moment uses little of its context, and all of it is more
     * than the host's first caches hold. By whoever fills them. */
    uint64_t jc_used;  /* a bit for each RV_JC_GROUP sets of jc */
    uint64_t set_used[RV_TLB_SETS / 64];
    /* Hull of the superpages that entries came from, in the lower and the upper half of the
     * address space: a fence for an address outside needs no search. lo > hi: none. */
    struct {
        uint64_t lo, hi;
    } large[2];
    uint64_t slot_filter[RV_TLB_SLOT_FILTER_BITS / 64];
    uint64_t jc_filter[RV_JC_FILTER_BITS / 64];
    uint64_t jc_lo, jc_hi; /* hull of jc_filter's pages; lo > hi: none */
    /* The guest-physical pages that entries, fetch entries and slots stand for, and some that they stood for: a
     * revoked page that is not in it needs no search. */
    uint64_t gpa_filter[RV_GPA_FILTER_BITS / 64];
    uint64_t last_used; /* LRU stamp */
    uint64_t last_wait; /* the hart's count of waits when it was last used */
    struct rv_tlb *next_spare;
    struct rv_tlb_shared shared;
} __attribute__((aligned(64))); /* sets of jc are lines of the host */

/* Whoever writes an entry of jc for pc says so. */
static inline void rv_jc_note(struct rv_tlb *t, uint64_t pc)
{
    t->jc_used |= 1ull << rv_jc_set(pc) / RV_JC_GROUP;
}

#endif
