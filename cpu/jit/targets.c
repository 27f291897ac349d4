/* The profile of indirect jumps: a few targets of each, with counters, in one word. */
#include "jit_priv.h"

enum { LANE = 16, COUNT_BITS = 5, MAX_COUNT = (1 << COUNT_BITS) - 1 };

static struct jit_targets *entry_of(struct jit *jit, gpa_t site)
{
    return &jit->targets[(site >> 1) * 0x9e3779b97f4a7c15ull >> 40 & (TARGETS - 1)];
}

static unsigned lane_of(uint64_t word, unsigned n)
{
    return (unsigned)(word >> n * LANE) & ((1u << LANE) - 1);
}

static uint64_t with_lane(uint64_t word, unsigned n, unsigned lane)
{
    return (word & ~(((1ull << LANE) - 1) << n * LANE)) | (uint64_t)lane << n * LANE;
}

static unsigned count_of(unsigned lane)
{
    return lane & MAX_COUNT;
}

/* Counts the target; a new one takes the place of the rarest once that has lost its count. */
static uint64_t counted(uint64_t word, unsigned offset)
{
    unsigned slot = offset / 2, rarest = 0;

    for (unsigned n = 0; n < SCAN_TARGETS; n++) {
        unsigned lane = lane_of(word, n);
        if (count_of(lane) && lane >> COUNT_BITS == slot)
            return count_of(lane) == MAX_COUNT ? word : with_lane(word, n, lane + 1);
        if (count_of(lane) < count_of(lane_of(word, rarest)))
            rarest = n;
    }
    unsigned lane = lane_of(word, rarest);
    return with_lane(word, rarest, count_of(lane) > 1 ? lane - 1 : slot << COUNT_BITS | 1);
}

void jit_note_target(struct jit *jit, gpa_t site, unsigned offset)
{
    struct jit_targets *t = entry_of(jit, site);
    bool mine = atomic_load_explicit(&t->site, memory_order_relaxed) == site;
    uint64_t word = mine ? atomic_load_explicit(&t->target, memory_order_relaxed) : 0;

    atomic_store_explicit(&t->site, site, memory_order_relaxed);
    atomic_store_explicit(&t->target, counted(word, offset), memory_order_relaxed);
}

unsigned jit_targets_of(struct jit *jit, gpa_t site, uint16_t offset[SCAN_TARGETS])
{
    struct jit_targets *t = entry_of(jit, site);
    uint64_t word = atomic_load_explicit(&t->target, memory_order_relaxed);
    unsigned nr = 0, count[SCAN_TARGETS];

    if (atomic_load_explicit(&t->site, memory_order_relaxed) != site)
        return 0;
    for (unsigned n = 0; n < SCAN_TARGETS; n++) {
        unsigned lane = lane_of(word, n), at = nr;
        if (!count_of(lane))
            continue;
        for (nr++; at && count[at - 1] < count_of(lane); at--) {
            count[at] = count[at - 1];
            offset[at] = offset[at - 1];
        }
        count[at] = count_of(lane);
        offset[at] = (uint16_t)((lane >> COUNT_BITS) * 2);
    }
    return nr;
}
