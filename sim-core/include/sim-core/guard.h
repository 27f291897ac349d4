/* The guard seam: what must happen before blocks of memory or of a disk are used.
 *
 * A checkpoint copies a block before its first write after the cut; a restore brings a block before its first use. Who
 * owns the blocks (guest RAM, a drive's overlay) holds one pointer, NULL nearly always, and asks the guard on its slow
 * paths only: whoever sets a guard sees to it that no fast path is open (TLB entries are revoked). */
#ifndef SIM_CORE_GUARD_H
#define SIM_CORE_GUARD_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "sim-core/compiler.h"

enum { SIM_GUARD_BLOCK_BITS = 12 };

struct sim_guard {
    /* Blocks [first, first + nr) are about to be read, or written. Context: any thread, locks of devices and back
     * ends may be held; may block for the host's disk. */
    void (*before)(struct sim_guard *g, uint64_t first, uint64_t nr, bool write);
    /* Optional; memory that is spread over ranks. From now on this rank answers for the block's contents (`comes`), or
     * another does: called before that is visible. Context: any thread, a lock of the coherent memory is held; waits
     * for nothing but the end of a copy. */
    void (*moves)(struct sim_guard *g, uint64_t block, bool comes);
};

typedef _Atomic(struct sim_guard *) sim_guard_ref;

/* Asks the guard about bytes [offset, offset + len). */
static inline void sim_guard_before(sim_guard_ref *ref, uint64_t offset, uint64_t len, bool write)
{
    struct sim_guard *g = atomic_load_explicit(ref, memory_order_acquire);

    if (SIM_UNLIKELY(g) && len) {
        uint64_t first = offset >> SIM_GUARD_BLOCK_BITS;
        g->before(g, first, ((offset + len - 1) >> SIM_GUARD_BLOCK_BITS) - first + 1, write);
    }
}

static inline void sim_guard_moves(sim_guard_ref *ref, uint64_t block, bool comes)
{
    struct sim_guard *g = atomic_load_explicit(ref, memory_order_acquire);

    if (SIM_UNLIKELY(g) && g->moves)
        g->moves(g, block, comes);
}

#endif
