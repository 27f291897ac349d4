/* When may LR/SC run beside other harts?
 *
 * SC is a host compare-and-swap against the value LR read, so it cannot see A -> B -> A. That is
 * sound when the hart did no other memory access in between: the pair then equals one atomic step at
 * the SC. A scan of the code after an LR decides:
 *
 *   LR  computing, branches (ways out)  SC   simple: only this SC may succeed (res_sc)
 *   LR  the same                        WRS  a wait, no SC needed: res_sc = RV_SC_NONE
 *   LR  anything else                        the hart must run alone: RV_STOP_EXCLUSIVE, and
 *                                            res_sc = RV_SC_ALONE: SC succeeds only while alone
 *
 * Anything else is also a loop between the two (a branch back to behind the LR), and a branch to another SC: there would be
 * more than one way from the LR to its SC, and a hart that may take one only might never come to an end.
 *
 * A trap clears the reservation (the handler accesses memory). A way out that is taken makes res_sc odd, so that no SC
 * succeeds: code out there may access memory and come back to the SC. WRS still waits. The JIT applies the same rule to its
 * decoded instructions with rv_lrsc_step(). */
#ifndef CPU_RISCV_LRSC_H
#define CPU_RISCV_LRSC_H

#include "hart.h"

/* Values of hart.res_sc that are no address of an instruction, for they are odd. */
#define RV_SC_NONE 1ull
#define RV_SC_ALONE 3ull

#define RV_LRSC_SCAN_MAX 16 /* instructions, as in constrained LR/SC loops (Unpriv. 14.3) */

enum rv_lrsc {
    RV_LRSC_GO_ON,  /* harmless between LR and SC */
    RV_LRSC_SC,     /* the SC is reached: simple */
    RV_LRSC_WRS,    /* a wait is reached: simple, no SC may succeed */
    RV_LRSC_COMPLEX /* may access memory, or jumps */
};

/* What an instruction after an LR means for the scan. Pure. */
enum rv_lrsc rv_lrsc_step(const struct rv_insn *i);

/* From a branch at `from` to `to`: does it leave a sequence whose SC is behind the branch, at `sc`? */
static inline bool rv_lrsc_leaves(uint64_t from, uint64_t to, uint64_t sc)
{
    return to <= from || to > sc;
}

/* The instruction at byte `offset` of the LR's page; false when it does not lie within the page. */
typedef bool rv_lrsc_decode_fn(const void *opaque, uint64_t offset, struct rv_insn *insn);

/* Scans from the LR of length `len` at byte `lr` of its page, in the page only. True: simple, and *sc is the offset of the SC
 * that may succeed, or RV_SC_NONE. Pure but for `decode`. */
bool rv_lrsc_scan(rv_lrsc_decode_fn *decode, const void *opaque, uint64_t lr, unsigned len, uint64_t *sc);

/* The same for the LR at h->pc; *sc is an address. Context: vcpu. */
bool rv_lrsc_simple(struct rv_hart *h, unsigned len, uint64_t *sc);

/* No other hart runs: any sequence is atomic. */
static inline bool rv_lrsc_alone(const struct rv_hart *h)
{
    return h->exclusive || h->machine->nr_harts == 1;
}

#endif
