/* Which part of a machine's execution is observed: harts, privileges, addresses. */
#ifndef CPU_OBSERVE_FILTER_H
#define CPU_OBSERVE_FILTER_H

#include <stdbool.h>
#include <stdint.h>

/* Zeroed it lets nothing through; rv_observe_filter_all lets everything. */
struct rv_observe_filter {
    uint64_t *harts;    /* bit by hart index; NULL: all. Owned by whoever made it */
    uint32_t nr_harts;  /* bits */
    uint8_t privs;      /* bit 0 U, 1 S, 3 M */
    uint64_t lo, hi;    /* virtual addresses, inclusive: of instructions, or of accesses */
};

#define RV_OBSERVE_ALL_PRIVS 0x0b

static inline struct rv_observe_filter rv_observe_filter_all(void)
{
    return (struct rv_observe_filter){.privs = RV_OBSERVE_ALL_PRIVS, .hi = UINT64_MAX};
}

static inline bool rv_observe_filter_hart(const struct rv_observe_filter *f, uint32_t hart)
{
    return !f->harts || (hart < f->nr_harts && (f->harts[hart / 64] >> (hart % 64) & 1));
}

#endif
