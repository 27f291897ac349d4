/* Which instructions a region has: found from its entry along direct branches inside the page. */
#ifndef CPU_JIT_SCAN_H
#define CPU_JIT_SCAN_H

#include "hart.h"
#include "insn.h"
#include "ir.h"

enum scan_end {
    SCAN_NEXT,   /* falls into the next instruction */
    SCAN_BRANCH, /* conditional */
    SCAN_IF,     /* a branch over the next few instructions, which run all the same (see `skips`) */
    SCAN_JUMP,   /* jal: direct */
    SCAN_CALL,   /* jal that links: direct */
    SCAN_INDIRECT,
    SCAN_EXEC    /* ends the block: run by the interpreter's function */
};

enum { SCAN_TARGETS = 4 };

struct scan_insn {
    struct rv_insn insn;
    uint16_t offset;  /* in the page */
    uint8_t end;      /* enum scan_end */
    uint8_t leader;   /* begins a block */
    uint8_t nr_targets; /* SCAN_INDIRECT, no return: where it is expected to go, most often first */
    uint16_t target[SCAN_TARGETS]; /* offsets in the page; not all become part of the region */
    uint8_t skips;    /* SCAN_IF: how many instructions; they are the next ones of the region */
};

enum { SCAN_SLOTS = GUEST_PAGE_SIZE / 2, SCAN_STACK = IR_MAX_BLOCKS };

struct scan {
    /* in */
    const struct rv_isa *isa;
    const uint8_t *page;
    unsigned max_insns;
    bool no_ifs; /* branches over instructions stay branches */
    /* How often has the interpreter begun a block at this offset of the page? */
    unsigned (*seen)(void *opaque, unsigned offset);
    /* Where has the indirect jump at this offset gone in the page? Returns how many. */
    unsigned (*targets)(void *opaque, unsigned offset, uint16_t target[SCAN_TARGETS]);
    void *opaque;
    /* Offsets / 2 where the region ends: there is a translation to go on in. Not the entry's. */
    uint64_t stop[GUEST_PAGE_SIZE / 2 / 64];
    /* out: in the order they were found, which is the order of the code */
    unsigned nr, nr_leaders;
    uint8_t jumps_to[SCAN_SLOTS]; /* offset / 2 -> branches and jumps of the region that lead there, up to 2 */
    struct scan_insn insn[IR_MAX_ORIGINS];
    uint64_t lines; /* 64-byte lines that instructions come from */
    /* work */
    uint16_t at[SCAN_SLOTS]; /* offset / 2 -> 1 + index */
    uint16_t stack[SCAN_STACK];
    unsigned depth, entry;
};

/* False: the entry itself cannot be translated (it straddles the page's end). */
bool scan_region(struct scan *s, unsigned entry_offset);
/* The instruction at `offset`, or NULL when it is not part of the region. */
const struct scan_insn *scan_at(const struct scan *s, unsigned offset);
/* jalr x0, 0(ra) */
bool scan_is_return(const struct scan_insn *n);
/* The place behind a call, direct or not, when it is part of the region; or NULL. */
const struct scan_insn *scan_behind_call(const struct scan *s, const struct scan_insn *n);
/* Of an LR: the offset of its SC, or RV_SC_NONE (lrsc.h). 0: its sequence is not simple. */
uint64_t scan_lr_mark(const struct scan *s, const struct scan_insn *n);
/* Of a branch that may be in such a sequence: the offset of the SC. 0: it is not. */
uint64_t scan_sc_ahead(const struct scan *s, const struct scan_insn *n);

#endif
