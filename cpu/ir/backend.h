/* The seam between IR and a host: what a back end must be told, and what it gives.
 *
 *   ir_region + ir_alloc --ir_backend.emit--> code, sites, exits in the code cache
 *
 * Sites. Wherever translated code may be left in the middle of a block it passes a site record to a
 * runtime routine, which saves all host registers in the guest state's scratch area. From record and
 * scratch C code rebuilds the guest registers: the translated code keeps no books.
 * Exits. A direct exit of kind `chain` is a jump that can be re-targeted while others run it. */
#ifndef CPU_IR_BACKEND_H
#define CPU_IR_BACKEND_H

#include "alloc.h"
#include "ir.h"

/* Offsets in the guest state, and the C side of the runtime. */
struct ir_target {
    int32_t global[IR_NR_GLOBALS];
    int32_t pc, budget, kick, host_sp, mxcsr, fs_dirty;
    int32_t spun;      /* 32 bits: a loop that may only wait is left when they are > 0; its polls count them up */
    int32_t zero_on;   /* a byte: ZERO64 is permitted; else its operation is left to exec */
    struct {           /* MASK: bits that let interrupts through are set or cleared in a word of the state */
        int32_t word;
        int32_t pending[3], enabled; /* words: by exec when something waits, that is in any of these and enabled */
        int32_t bits;  /* other bits are left to exec */
        uint64_t view; /* what is seen of the word when it is read */
    } mask;
    int32_t code_base; /* a word: guest address that the running region's offsets count from */
    int32_t scratch;  /* 32 words: 0..15 integer registers by number, 16..31 FP registers */
    int32_t result;   /* a word: values to and from helpers */
    int32_t note;     /* a word: site or exit of the last leave */
    int32_t res_addr, res_value, res_size, res_sc; /* LR reservation */
    uint64_t res_none;
    /* Vectors. Bytes: the key that ir_vec.key is compared with, behind it the one that says nothing of the length,
     * "written", "on", "saturated" (1), rounding mode. Words: length, type, first element, and 64 bytes each for a scalar operand in all elements
     * and for bits of a mask */
    int32_t vkey, vdirty, von, vxsat, vxrm, vl, vtype, vstart, vsplat, vmask;
    int32_t vmask0;    /* the bits that instructions are masked by */
    uint8_t vkey_none; /* no ir_vec has this key */
    /* Soft TLB: pointer in the state; sets of `ways` entries, see riscv/tlb.h for the protocol */
    int32_t tlb;
    uint8_t tlb_set_bits, tlb_ways;
    int32_t tlb_entry, tlb_tag_r, tlb_tag_w, tlb_addend;
    /* Words of the first slot, and the distance to the next: a slot for each of the accesses in turn (riscv/tlb.h). They
     * are dealt out in thirty equal parts: accesses of one slot touch equally many bytes and want one permission, and their addresses
     * are reckoned from the same kind of place. */
    int32_t tlb_slot_limit, tlb_slot_lo, tlb_slot_addend, tlb_slot_size;
    uint32_t tlb_nr_slots;
    uint64_t stack_globals; /* bits: what they point to is mostly on a stack */
    int32_t tlb_block[2]; /* what slots of loads and of stores are filled from first: words as slots', the limit is a size */
    uint32_t tlb_nr_blocks;
    /* Jump cache: inside the structure `code_tlb` points to; entries {pc, code} */
    int32_t code_tlb, jc; /* 1 << jc_bits sets of two {address, code}, by address >> 2 */
    uint8_t jc_bits;
    /* All get the guest state and a site. Loads return false for a trap, with *result set. */
    bool (*load)(void *state, uint64_t va, const void *site);
    bool (*store)(void *state, uint64_t va, const void *site);
    bool (*exec)(void *state, const void *site); /* true: go on; false: leave */
    bool (*vcall)(void *state, const void *site); /* true: done; false: now by exec. Registers are not in the state */
    bool (*observe)(void *state, const void *site); /* likewise, for OBSERVE */
    int32_t counters; /* a pointer: what COUNT counts in */
    /* The slot is to have this page as well, which has the slot's addend, or only this page. */
    void (*widen)(void *state, uint64_t page, uint64_t slot_offset, unsigned headroom, bool write);
};

/* Why translated code was left; the return value of ir_backend.enter. */
enum ir_leave {
    IR_LEAVE_LOOKUP, /* at state.pc */
    IR_LEAVE_LINK,   /* note: struct ir_code_exit, not linked; code_base holds */
    IR_LEAVE_BUDGET, /* note: struct ir_site; registers are in scratch */
    IR_LEAVE_HELPER  /* a helper returned false; it has put the state right */
};

/* Sites of a region are an array behind a header, found from a site by its own index. */
struct ir_site {
    uint32_t dirty;  /* host registers (FP: + 16) that are newer than the guest state */
    uint16_t origin; /* the instruction that was not executed, or only tried */
    uint16_t index;
};

struct ir_site_header {
    void *region; /* the owner's */
};

static inline void *ir_site_region(const struct ir_site *s)
{
    return ((const struct ir_site_header *)(const void *)(s - s->index))[-1].region;
}

/* Lives in the code cache behind the code. */
struct ir_code_exit {
    int64_t pc;                 /* offset from the code base */
    void *region;               /* the one that leaves */
    struct ir_code_exit *next;  /* among the exits linked to one region; owner's lock */
    int32_t jump;               /* from this record to the jump's displacement */
    int32_t unlinked;           /* from this record to where it points when not linked */
    void *linked;               /* the target region, or NULL */
};

/* One emitted region; offsets into the cache. */
struct ir_code {
    uint32_t entry, end;  /* [entry, end) is used; entry is what jump caches hold: sets code_base */
    uint32_t inner;       /* entry with the same code_base: what exits are linked to */
    uint32_t dead;        /* leaves for a look-up: what the entry of a dead region jumps to */
    uint32_t host_bytes;  /* of instructions; */
    uint32_t hot_bytes;   /* those in front, up to the code that seldom runs */
    uint32_t exits, nr_exits; /* struct ir_code_exit[] */
    uint32_t map, nr_map;     /* struct ir_map_row[], by rising host address; 0 unless asked for (ir_host_want_map) */
};

/* From this host instruction of a region on (bytes behind its entry) the code belongs to that origin. */
struct ir_map_row {
    uint32_t host;
    uint32_t origin;
};

/* Executable memory, written through `rw`, run through `rx`. */
struct ir_cache {
    uint8_t *rw, *rx;
    uint64_t size, used;
    uint64_t settled; /* below this the RW pages were given back (they come again when touched) */
};

struct ir_host;

/* Creates the back end for a cache: emits the runtime routines at its start. `without` masks host
 * features (back end's own bits). Returns NULL when the host lacks the baseline. */
struct ir_host *ir_host_create(struct ir_cache *cache, const struct ir_target *target,
                               uint64_t without);
void ir_host_destroy(struct ir_host *host);
/* Writes the runtime routines again at the cache's start (after it was emptied). */
void ir_host_restart(struct ir_host *host);
const struct ir_regfile *ir_host_regfile(const struct ir_host *host);
/* Can the host do the operation? Otherwise the translator uses EXEC. VOP: type is the element's log2 of bytes, aux
 * the enum ir_vop. */
bool ir_host_has(const struct ir_host *host, enum ir_op op, enum ir_type type, unsigned aux);
/* Working storage of one emission; the host has one for ir_host_emit. */
struct emit *ir_host_emitter_create(void);
void ir_host_emitter_destroy(struct emit *e);
/* Emits at cache->used and advances it. False: the cache is full, or the region does not fit. */
bool ir_host_emit(struct ir_host *host, const struct ir_region *r, const struct ir_alloc *al,
                  void *owner, struct ir_code *out);
/* The same with other working storage into `part`, which has the cache's addresses, and of its bytes [used, size) that
 * nobody else fills: two threads may emit at once. */
bool ir_host_emit_part(struct ir_host *host, struct emit *e, struct ir_cache *part, const struct ir_region *r,
                       const struct ir_alloc *al, void *owner, struct ir_code *out);
/* From now on regions come with a map of their host code: for profilers. Context: while nobody emits. */
void ir_host_want_map(struct ir_host *host, bool on);
/* Runs code (entry of a region, an address in rx) for state.pc until it leaves. */
enum ir_leave ir_host_enter(struct ir_host *host, void *state, const void *code);
/* Patching while others run the code. `at` is the RW address of an exit's displacement. */
void ir_host_link(struct ir_host *host, struct ir_code_exit *exit_rw, uint32_t target_inner);
void ir_host_unlink(struct ir_host *host, struct ir_code_exit *exit_rw);
void ir_host_kill_entry(struct ir_host *host, const struct ir_code *code);
/* FP state for guest code: rounding mode (RISC-V numbering 0..3), and the sticky flags (NX 1, UF 2,
 * OF 4, DZ 8, NV 16) that were raised since the last call. */
uint32_t ir_host_fp_control(unsigned rounding);
unsigned ir_host_fp_flags(uint32_t control);
uint32_t ir_host_fp_clear(uint32_t control);
/* The live control word, inside helpers. */
uint32_t ir_host_fp_get(void);
void ir_host_fp_set(uint32_t control);

#endif
